//! Completions and manual pages: of every verb there is.

use crate::kit::*;
use crate::market::*;

/// The verbs that a help text lists.
pub(crate) fn verbs(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let words = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs: Vec<String> = words.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(verbs.len() > 10, "{help}");
    verbs.into_iter().filter(|verb| verb != "help").collect()
}

fn help(folder: &Folder) -> Vec<String> {
    let output = run(program(&folder.path("home"), &["--help"]));
    verbs(&String::from_utf8(output.stdout).unwrap())
}

#[test]
fn completions_know_every_verb() {
    let folder = Folder::new("trade-completions");
    for (shell, looks_like) in [("bash", "complete -F"), ("zsh", "#compdef sdpp"), ("fish", "complete -c sdpp")] {
        let output = run(program(&folder.path("home"), &["completions", shell]));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(looks_like), "{shell}");
        for word in help(&folder).iter().map(String::as_str).chain(["--resume", "--budget"]) {
            assert!(text.contains(word) || text.contains(word.trim_start_matches('-')), "{shell} does not know {word}");
        }
    }
    assert!(fails(program(&folder.path("home"), &["completions", "cmd"]), 2).contains("bash"));
    assert!(!folder.path("home").exists(), "nobody needs a home for it");
}

#[test]
fn every_verb_has_a_page() {
    let folder = Folder::new("trade-man");
    ends(program(&folder.path("home"), &["man", &folder.text("man")]), 0);
    let page = |name: &str| std::fs::read_to_string(folder.path("man").join(name)).unwrap();
    let whole = page("sdpp.1");
    for verb in help(&folder) {
        assert!(whole.contains(&format!("sdpp\\-{verb}(1)")), "{verb}");
        assert!(page(&format!("sdpp-{verb}.1")).starts_with(".ie"), "{verb}");
    }
    assert!(page("sdpp-buy.1").contains("\\-\\-resume"));
}
