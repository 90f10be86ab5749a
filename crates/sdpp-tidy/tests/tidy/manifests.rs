//! Crates: features, arrows between crates, the pure core.

use crate::house::{File, House, Problem};

const FEATURES_MAX: usize = 3;

/// Which crates of the workspace a crate may depend on; dev-dependencies are free.
const ARROWS: &[(&str, &[&str])] = &[
    ("sdpp-proto", &[]),
    ("sdpp-log", &[]),
    ("sdpp-config", &["sdpp-log", "sdpp-proto"]),
    ("sdpp-tidy", &[]),
    ("sdpp-rail", &["sdpp-proto"]),
    ("sdpp-ledger", &["sdpp-rail", "sdpp-log", "sdpp-proto"]),
    ("sdpp-evm", &["sdpp-rail", "sdpp-proto"]),
    ("sdpp-iota", &["sdpp-rail", "sdpp-proto"]),
    ("sdpp", &["sdpp-rail", "sdpp-log", "sdpp-proto"]),
    ("sdpp-mqtt", &["sdpp"]),
];

/// May see everything, but for these.
const TOP: &[(&str, &[&str])] =
    &[("sdpp-cli", &["sdpp-fuzz"]), ("sdpp-sim", &["sdpp-cli", "sdpp-fuzz"]), ("sdpp-fuzz", &["sdpp-cli"])];

const PURE: &[&str] = &["sdpp-proto", "sdpp-log"];

/// One `key = …` line of a manifest, with the table it stands in.
struct Entry<'a> {
    line: usize,
    table: &'a str,
    key: &'a str,
    value: &'a str,
}

pub(crate) fn features(house: &House) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, manifest) in manifests(house) {
        if house.file(&format!("crates/{name}/src/lib.rs")).is_none() {
            continue;
        }
        let entries = entries(manifest).into_iter();
        let features: Vec<_> = entries.filter(|entry| entry.table == "features" && entry.key != "default").collect();
        if let Some(extra) = features.get(FEATURES_MAX) {
            let what = format!("{} features, the limit is {FEATURES_MAX}: make it a crate", features.len());
            problems.push(Problem::new(&manifest.path, extra.line, what));
        }
    }
    problems
}

pub(crate) fn arrows(house: &House) -> Vec<Problem> {
    let names: Vec<&str> = manifests(house).map(|(name, _)| name).collect();
    let mut problems = Vec::new();
    for (name, manifest) in manifests(house) {
        if !ARROWS.iter().chain(TOP).any(|(known, _)| *known == name) {
            let what = format!("{name} is new: give it a line in ARROWS of crates/sdpp-tidy");
            problems.push(Problem::new(&manifest.path, 1, what));
            continue;
        }
        for (line, target) in dependencies(manifest) {
            if names.contains(&target) && !may_depend(name, target) {
                let what = format!("{name} must not depend on {target}: arrows point down only");
                problems.push(Problem::new(&manifest.path, line, what));
            }
        }
    }
    problems
}

fn may_depend(name: &str, target: &str) -> bool {
    let find = |table: &[(&str, &'static [&'static str])]| {
        table.iter().find(|(known, _)| *known == name).map(|(_, targets)| *targets)
    };
    match find(TOP) {
        Some(forbidden) => !forbidden.contains(&target),
        None => find(ARROWS).is_some_and(|targets| targets.contains(&target)),
    }
}

pub(crate) fn no_std(house: &House) -> Vec<Problem> {
    let roots = PURE.iter().map(|name| format!("crates/{name}/src/lib.rs"));
    let has_std = |path: &String| {
        let facts = house.file(path).and_then(|file| file.facts.as_ref());
        !facts.is_some_and(|facts| facts.no_std)
    };
    roots
        .filter(has_std)
        .map(|path| Problem::new(&path, 1, "the pure core is #![no_std]: add it as an attribute of the crate"))
        .collect()
}

pub(crate) fn limits(house: &House) -> Vec<Problem> {
    let path = "crates/sdpp-proto/src/limits.rs";
    let missing = house.file(path).is_none();
    let what = "every loop, queue, frame and wait has a named limit, in this file: create it";
    missing.then(|| Problem::new(path, 1, what)).into_iter().collect()
}

/// The crates of the workspace by the name of their folder.
fn manifests(house: &House) -> impl Iterator<Item = (&str, &File)> {
    house.files.iter().filter_map(|file| {
        let name = file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
        (!name.contains('/')).then_some((name, file))
    })
}

/// Enough of TOML for manifests: a table's header stands alone on its line, a key begins its line.
fn entries(manifest: &File) -> Vec<Entry<'_>> {
    let mut table = "";
    let mut found = Vec::new();
    for (line, text) in manifest.lines() {
        let text = text.trim();
        if let Some(header) = text.strip_prefix('[') {
            table = header.split_once(']').map_or(header, |(name, _)| name);
        } else if let Some((key, value)) = text.split_once('=')
            && key.trim().chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            found.push(Entry { line, table, key: key.trim(), value });
        }
    }
    found
}

/// Names of packages that are built into the crate, renamed ones by their real name.
fn dependencies(manifest: &File) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for Entry { line, table, key, value } in entries(manifest) {
        if table.contains("dev-dependencies") {
            continue;
        }
        if table.ends_with("dependencies") {
            let name = key.split_once('.').map_or(key, |(name, _)| name);
            found.push((line, renamed(value).unwrap_or(name)));
        } else if let Some((_, name)) = table.rsplit_once("dependencies.") {
            let name = if key == "package" { value.trim().trim_matches('"') } else { name };
            found.push((line, name));
        }
    }
    found
}

/// `name` of `package = "name"` in an inline table.
fn renamed(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("package")?;
    rest.split('"').nth(1)
}
