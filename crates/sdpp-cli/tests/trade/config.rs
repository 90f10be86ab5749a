//! What is said in several places: the command line counts most, then the environment, then the file.

use crate::kit::*;
use crate::market::*;

/// The ledger that a command looks for, where nobody listens.
fn asked(folder: &Folder, flag: bool, variable: bool, file: bool) -> String {
    let home = folder.path("home");
    std::fs::create_dir_all(&home).unwrap();
    let text = if file { "[ledger]\nurl = \"http://127.0.0.1:3\"" } else { "" };
    std::fs::write(home.join("sdpp.toml"), text).unwrap();
    let mut command = program(&home, if flag { &["wallet", "--ledger", "http://127.0.0.1:1"] } else { &["wallet"] });
    if variable {
        command.env("SDPP_LEDGER", "http://127.0.0.1:2");
    }
    ends(command, 4)
}

#[test]
fn the_command_line_counts_most_then_the_environment_then_the_file() {
    let folder = Folder::new("trade-precedence");
    assert!(asked(&folder, true, true, true).contains("127.0.0.1:1 "));
    assert!(asked(&folder, false, true, true).contains("127.0.0.1:2 "));
    assert!(asked(&folder, false, false, true).contains("127.0.0.1:3 "));
    assert!(asked(&folder, true, false, true).contains("127.0.0.1:1 "));
}

#[test]
fn files_are_found_in_the_same_order() {
    let folder = Folder::new("trade-files");
    let write = |name: &str, topic: &str| {
        let path = folder.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!("[sources.s]\nstdin = true\n[[products]]\ntopic = \"{topic}\"\nprice = \"1/1\"");
        std::fs::write(&path, text).unwrap();
        path
    };
    let (flag, variable) = (write("flag.toml", "flag"), write("variable.toml", "variable"));
    write("home/sdpp.toml", "home");
    write("other/sdpp.toml", "other");
    let home = folder.path("home");
    let topic = |args: &[&str], variable: Option<&std::path::Path>| {
        let mut command = program(&home, &[&["validate"], args].concat());
        if let Some(variable) = variable {
            command.env("SDPP_CONFIG", variable);
        }
        let rows = rows(command);
        // Where nothing is said, the default counts.
        assert_eq!((rows.len(), &rows[0]["k"], &rows[0]["windows"]), (1, &100.into(), &2.into()));
        text(&rows[0]["topic"]).to_owned()
    };
    assert_eq!(topic(&["--config", &flag.display().to_string()], Some(&variable)), "flag");
    assert_eq!(topic(&[], Some(&variable)), "variable");
    assert_eq!(topic(&[], None), "home");
    // The home, too: what is said counts more than the variable.
    let mut command = program(&home, &["validate"]);
    command.env("SDPP_HOME", folder.path("other"));
    assert_eq!(text(&rows(command)[0]["topic"]), "home");
}

#[test]
fn a_buyer_has_habits_of_its_own() {
    let market = Market::open("habits");
    let (seller, address) = market.sell_weather();
    let look =
        |args: &[&str]| ends(market.command(&[&["buy", &address, "--count", "100", "--dry-run"], args].concat()), 0);
    assert!(look(&[]).contains("2 outstanding windows"));
    market.configure("windows = 1\nrail = \"direct\"");
    assert!(look(&["--rail", "voucher"]).contains("1 outstanding windows"));
    assert!(look(&["--rail", "voucher", "--windows", "2"]).contains("2 outstanding windows"));
    let said = ends(market.command(&["buy", &address, "--count", "100"]), 5);
    assert!(said.contains("it is paid by: ledger"), "{said}");
    seller.stop();
}

#[test]
fn a_typo_is_found_by_its_line() {
    let folder = Folder::new("trade-typo");
    let home = folder.path("home");
    std::fs::create_dir_all(&home).unwrap();
    let file = home.join("sdpp.toml");
    let product = "[sources.s]\nstdin = true\n[[products]]\ntopic = \"t\"\nprice = \"1/1\"\n";
    for (text, words) in [
        ("[seler]\nlisten = \"127.0.0.1:1\"", &["line 1", "seler"][..]),
        ("[seller]\nlissten = \"127.0.0.1:1\"", &["line 2", "lissten", "listen"]),
        ("[seller]\nlisten = \"7400\"", &["line 2"]),
        ("[seller]\ngrace = \"1 hour\"", &["line 2", "90s"]),
        (&format!("{product}exposur = 5\n"), &["exposur"]),
        (&format!("{product}[[products]]\ntopic = \"u\"\nprice = \"free\"\n"), &["line 8", "3/1000"]),
        (&format!("{product}[[products]]\ntopic = \"t\"\nprice = \"1/1\"\n"), &["two products"]),
        (&format!("{product}source = \"x\"\n"), &["[sources.x]", "there are: s"]),
        ("[sources.s]\nfile = \"a\"\nstdin = true", &["[sources.s]", "exactly one"]),
    ] {
        std::fs::write(&file, text).unwrap();
        for verb in ["validate", "sell", "wallet"] {
            let said = ends(program(&home, &[verb]), 2);
            assert!(said.contains("sdpp.toml"), "{said}");
            for word in words {
                assert!(said.contains(word), "{text}: {said}");
            }
        }
    }
    let said = ends(program(&home, &["wallet", "--config", "/nowhere.toml"]), 2);
    assert!(said.contains("/nowhere.toml"), "{said}");
}

/// A part of a text, from a line that has this on.
fn part<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let text = &text[text.find(from).unwrap_or_else(|| panic!("no {from}"))..];
    &text[..text.find(to).unwrap_or(text.len())]
}

/// The names that the configuration knows, by its code.
fn keys(code: &str) -> Vec<String> {
    let (mut keys, mut renamed) = (Vec::new(), None);
    for line in part(code, "pub struct Config", "\nimpl Config").lines().map(str::trim) {
        if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        }
        let field = line.strip_prefix("pub ").filter(|rest| !rest.starts_with("struct") && !rest.starts_with("enum"));
        if let Some((name, _)) = field.and_then(|field| field.split_once(": ")) {
            keys.push(renamed.take().unwrap_or_else(|| name.to_owned()));
        }
    }
    // The rarer keys of a product stand among the others.
    keys.retain(|key| key != "limits");
    keys
}

#[test]
fn the_reference_has_every_key_code_and_variable() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}{name}")).unwrap();
    let page = read("../../docs/cli.md");
    let keys = keys(&read("../sdpp-config/src/lib.rs"));
    assert!(
        keys.len() > 50 && keys.iter().any(|key| key == "loop") && keys.iter().any(|key| key == "where"),
        "{keys:?}"
    );
    let reference = part(&page, "## Configuration", "## Files");
    for key in keys {
        let named = [format!("`{key}`"), format!("`[{key}]`"), format!("`[{key}.NAME]`"), format!("`[[{key}]]`")];
        assert!(named.iter().any(|name| reference.contains(name)), "docs/cli.md does not explain {key}");
    }
    let exits = read("src/exit.rs");
    for line in part(&exits, "pub(crate) enum Exit", "impl From").lines().filter_map(|line| line.split_once(" = ")) {
        let row = format!("| {} |", line.1.trim_end_matches(','));
        assert!(page.contains(&row), "docs/cli.md has no row {row}");
    }
    for name in VARIABLES {
        assert!(page.contains(&format!("`{name}`")), "docs/cli.md does not explain {name}");
    }
    let help = run(program(std::path::Path::new(folder), &["--help"]));
    for verb in crate::manual::verbs(&String::from_utf8(help.stdout).unwrap()) {
        assert!(page.contains(&format!("| `{verb}` |")), "docs/cli.md does not explain {verb}");
    }
}
