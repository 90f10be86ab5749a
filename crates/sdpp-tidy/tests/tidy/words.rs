//! Rules about text: what must not stand anywhere, and what must stand beside what.
//! The words looked for are put together from parts, so that this file does not contain them.

use crate::house::{File, House, Problem};

/// Work left undone, in code.
pub(crate) fn leftovers(house: &House) -> Vec<Problem> {
    let calls = [concat!("to", "do!("), concat!("unimple", "mented!(")];
    let notes = [concat!("FIX", "ME"), concat!("X", "XX")];
    let unfinished = |line: &str| {
        let call = calls.iter().find(|call| line.contains(**call));
        call.or_else(|| notes.iter().find(|note| has_word(line, note))).copied()
    };
    let mut problems = Vec::new();
    for file in house.files.iter().filter(|file| is_code(&file.path)) {
        for (line, text) in file.lines() {
            if let Some(word) = unfinished(text) {
                problems.push(Problem::new(&file.path, line, format!("`{word}` is left: finish it or remove it")));
            }
        }
    }
    problems
}

/// A test that is not always run says by which switch it runs.
pub(crate) fn ignored(house: &House) -> Vec<Problem> {
    let attribute = concat!("#[ig", "nore");
    let what = "an ignored test names the switch that runs it: a reason with SDPP_… on the same line";
    let lines = house.rust().flat_map(|file| file.lines().map(move |(line, text)| (file, line, text)));
    lines
        .filter(|(_, _, text)| text.contains(attribute) && !text.contains("SDPP_"))
        .map(|(file, line, _)| Problem::new(&file.path, line, what))
        .collect()
}

/// Paths of somebody's machine.
pub(crate) fn machine_paths(house: &House) -> Vec<Problem> {
    let needles = ["work", "root"].map(|folder| format!("/{folder}/"));
    let mut problems = Vec::new();
    for file in &house.files {
        for (line, text) in file.lines() {
            if needles.iter().any(|needle| text.contains(needle.as_str())) {
                let what = "a path of one machine: make it relative to the repository";
                problems.push(Problem::new(&file.path, line, what));
            }
        }
    }
    problems
}

/// A lint is switched off for a reason.
pub(crate) fn allows(house: &House) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, facts) in house.facts() {
        for allow in facts.allows.iter().filter(|allow| !allow.in_test) {
            let within = |line: usize| (allow.line..=allow.last_line).contains(&line);
            let explained = file.lines().any(|(line, text)| within(line) && says_why(text));
            if !explained {
                let what = "a lint is switched off without a reason: add `reason = \"…\"` or a comment behind it";
                problems.push(Problem::new(&file.path, allow.line, what));
            }
        }
    }
    problems
}

fn says_why(text: &str) -> bool {
    has_word(text, "reason") || text.contains("//")
}

fn is_code(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let kind = name.rsplit_once('.').map(|(_, kind)| kind);
    kind.is_none_or(|kind| ["rs", "py", "toml", "sol", "cddl", "sh"].contains(&kind))
}

/// Whether `word` stands in `text` with no letter, digit or `_` beside it.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, found)| {
        let (before, rest) = text.split_at(start);
        let after = rest.strip_prefix(found).unwrap_or_default();
        !before.ends_with(joins) && !after.starts_with(joins)
    })
}

/// Whether some Rust file has a function of this name, also inside a macro.
pub(crate) fn has_function(files: &[File], name: &str) -> bool {
    let starts = [format!("fn {name}("), format!("fn {name}<")];
    let mut rust = files.iter().filter(|file| file.is_rust());
    rust.any(|file| starts.iter().any(|start| file.text.contains(start.as_str())))
}
