//! Whatever makes something durable has a failpoint, so that the crash matrix kills there.

use crate::house::{House, Problem};

/// Where programs write what must survive them.
const FOLDERS: &[&str] = &[
    "crates/sdpp/src/",
    "crates/sdpp-cli/src/",
    "crates/sdpp-ledger/src/",
    "crates/sdpp-mqtt/src/",
    "crates/sdpp-rail/src/store/",
];

/// What makes something durable, or gives a file its name, or takes it away.
const DURABLE: &[&str] = &[
    "store.flush()",
    "fold.flush()",
    "store_mut().flush()",
    "sync_all()",
    "sync_data()",
    "fs::rename(",
    "fs::hard_link(",
    "fs::remove_dir_all(",
];

/// Functions that do so without a point, and why they may.
const EXCEPT: &[(&str, &str, &str)] = &[
    ("crates/sdpp-cli/src/demo/house.rs", "", "the demo keeps nothing that anybody relies on"),
    ("crates/sdpp-cli/src/doctor/machine.rs", "", "a store that is made to see whether it can be"),
    ("crates/sdpp-cli/src/home.rs", "store", "nothing was written yet: it shows whether it can be"),
    ("crates/sdpp-cli/src/home.rs", "create", "`put`, which calls what it is given, has the points"),
    ("crates/sdpp-cli/src/home.rs", "replace", "`put`, which calls what it is given, has the points"),
    ("crates/sdpp-cli/src/home.rs", "sync_folder_of", "what came before it has its points"),
    ("crates/sdpp-ledger/src/fold.rs", "flush", "its callers have points, by what it is for"),
    ("crates/sdpp-ledger/src/fsck/mod.rs", "", "its store is in memory"),
    ("crates/sdpp-ledger/src/ledger.rs", "write_head", "the writer, which commits, has the points"),
    ("crates/sdpp-ledger/src/http/first_sight.rs", "", "for users of the library: no program has it"),
    ("crates/sdpp-rail/src/store/sqlite_tests.rs", "", "tests"),
    ("crates/sdpp/src/testing.rs", "", "tests"),
    ("crates/sdpp/src/identity.rs", "", "for users of the library: no program has it"),
    ("crates/sdpp/src/sink/file.rs", "sync", "the journal, which calls it, has the points"),
];

pub(crate) fn missing(house: &House) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, facts) in house.facts().filter(|(file, _)| FOLDERS.iter().any(|folder| file.path.starts_with(folder))) {
        for function in facts.functions.iter().filter(|function| !function.in_test) {
            let excepted = |(path, name, _): &(&str, &str, &str)| {
                *path == file.path && (name.is_empty() || *name == function.name)
            };
            if EXCEPT.iter().any(excepted) {
                continue;
            }
            let body: Vec<&str> =
                file.text.lines().skip(function.line.saturating_sub(1)).take(function.lines).collect();
            let durable = body.iter().position(|line| DURABLE.iter().any(|word| line.contains(word)));
            if let Some(at) = durable.filter(|_| !body.iter().any(|line| line.contains("failpoint::"))) {
                let what = format!(
                    "`{}` makes something durable: say so with `failpoint::before` and `after`, so that the crash \
                     matrix kills there",
                    function.name
                );
                problems.push(Problem::new(&file.path, function.line.saturating_add(at), what));
            }
        }
    }
    problems
}
