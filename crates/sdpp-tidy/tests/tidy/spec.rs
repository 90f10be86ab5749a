//! The specification: every numbered MUST stands as `**[X-NN]**` in bold, and its line (or table row) names the
//! offence a peer commits by breaking it and the test that shows it, both in backticks:
//!
//! `**[F-01]** A frame MUST NOT be longer than 128 KiB. ` + `` `Offence::FrameTooLong` `test: long_frame_is_refused` ``

use crate::house::{File, House, Problem};
use crate::words::{has_function, has_word};

pub(crate) struct Rule<'a> {
    path: &'a str,
    line: usize,
    label: &'a str,
    text: &'a str,
}

/// Every label in bold, well-formed or not.
pub(crate) fn rules(house: &House) -> Vec<Rule<'_>> {
    let pages = house.files.iter().filter(|file| file.path.starts_with("spec/") && file.path.ends_with(".md"));
    let mut found = Vec::new();
    for file in pages {
        for (line, text) in file.lines() {
            let labels = text.split("**[").skip(1).filter_map(|rest| rest.split_once("]**"));
            found.extend(labels.map(|(label, _)| Rule { path: &file.path, line, label, text }));
        }
    }
    found
}

pub(crate) fn check(house: &House) -> Vec<Problem> {
    let rules = rules(house);
    let mut problems: Vec<Problem> = rules.iter().flat_map(|rule| check_rule(house, rule)).collect();
    let mut labels: Vec<&Rule<'_>> = rules.iter().collect();
    labels.sort_by_key(|rule| rule.label);
    for pair in labels.windows(2) {
        if let [first, second] = pair
            && first.label == second.label
        {
            let what = format!("[{}] stands at {}:{} too: give it a new number", second.label, first.path, first.line);
            problems.push(Problem::new(second.path, second.line, what));
        }
    }
    problems
}

fn check_rule(house: &House, rule: &Rule<'_>) -> Vec<Problem> {
    let spans: Vec<&str> = rule.text.split('`').skip(1).step_by(2).collect();
    let offences: Vec<&str> = spans.iter().filter_map(|span| span.strip_prefix("Offence::")).map(ident).collect();
    let tests: Vec<&str> = spans.iter().filter_map(|span| span.strip_prefix("test:")).map(last_name).collect();

    let mut wrong = Vec::new();
    if !is_label(rule.label) {
        wrong.push("a label has the form X-NN: capital letters, a hyphen, two digits or more".to_owned());
    }
    if offences.is_empty() {
        wrong.push("name what a peer commits by breaking this rule: `Offence::Name`".to_owned());
    }
    if tests.is_empty() {
        wrong.push("name the test that shows it: `test: name`".to_owned());
    }
    let unknown = offences.iter().filter(|name| !is_offence(house, name));
    wrong.extend(unknown.map(|name| format!("enum Offence of sdpp-proto has no `{name}`: add it or correct the name")));
    let untested = tests.iter().filter(|name| !has_function(&house.files, name));
    wrong.extend(untested.map(|name| format!("there is no test `{name}`: write it or correct the name")));
    wrong.into_iter().map(|what| Problem::new(rule.path, rule.line, format!("[{}] {what}", rule.label))).collect()
}

fn is_label(label: &str) -> bool {
    label.split_once('-').is_some_and(|(letters, digits)| {
        let capital = !letters.is_empty() && letters.chars().all(|c| c.is_ascii_uppercase());
        capital && digits.len() >= 2 && digits.chars().all(|c| c.is_ascii_digit())
    })
}

fn ident(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(text)
}

fn last_name(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path).trim()
}

/// Whether a variant of this name stands inside `enum Offence { … }`, or inside the `Offence { … }`
/// that a table macro makes the enum from; comments aside.
fn is_offence(house: &House, name: &str) -> bool {
    let sources = house.rust().filter(|file| file.path.starts_with("crates/sdpp-proto/src/"));
    let heads = ["enum Offence ", "\n    Offence "];
    let body = |text: &'static str, file: &File| file.text.split_once(text).map(|(_, rest)| rest.to_owned());
    let mut bodies = sources.flat_map(|file| heads.iter().filter_map(|head| body(head, file)).collect::<Vec<_>>());
    bodies.any(|rest| {
        let mut depth = 0_usize;
        for line in rest.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if has_word(line, name) {
                return true;
            }
            depth = depth.saturating_add(line.matches('{').count()).saturating_sub(line.matches('}').count());
            if depth == 0 {
                return false;
            }
        }
        false
    })
}
