//! Mutation testing with one build. All mutants that `cargo mutants --list` names are written into a copy of the tree,
//! each behind a switch, `crate::mutant(N)`. The environment variable `SDPP_MUTANT` says which one is on. A traced run
//! tells which tests reach which mutants; then each mutant is run with the tests that reach it.
//!
//! `tools/mutants/run` makes the copy and the list, and calls this in the directory that holds them:
//!
//! - `write`: the mutants into the copy, without those that do not compile;
//! - `trace`: every test once, to learn what it reaches and how long it takes;
//! - `try SECONDS [WORD…]`: the mutants that had no turn yet and whose names have one of the words, each for at most
//!   so long; `again SECONDS [WORD…]`: those that were not caught;
//! - `table`, `missed`: what was found.

mod schema;
mod tests;
mod verdict;

use std::fs;
use std::path::Path;

use serde_json::Value;

/// One line of `list.json`; its number is its place there.
pub struct Mutant {
    pub number: usize,
    pub name: String,
    pub package: String,
    pub file: String,
    pub genre: String,
    pub replacement: String,
    span: [usize; 4],
}

impl Mutant {
    /// The replaced bytes of its file's text.
    pub fn range(&self, text: &str) -> std::ops::Range<usize> {
        let [line, column, end_line, end_column] = self.span;
        offset(text, line, column)..offset(text, end_line, end_column)
    }
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    start + text[start..].chars().take(column - 1).map(char::len_utf8).sum::<usize>()
}

pub fn mutants() -> Vec<Mutant> {
    let list: Value = serde_json::from_str(&read("list.json")).expect("list.json is what cargo mutants wrote");
    let string = |value: &Value| value.as_str().expect("a string").to_owned();
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    let mutant = |(index, one): (usize, &Value)| Mutant {
        number: index,
        name: string(&one["name"]),
        package: string(&one["package"]),
        file: string(&one["file"]),
        genre: string(&one["genre"]),
        replacement: string(&one["replacement"]),
        span: [("start", "line"), ("start", "column"), ("end", "line"), ("end", "column")]
            .map(|(end, part)| number(&one["span"][end][part])),
    };
    list.as_array().expect("a list").iter().enumerate().map(mutant).collect()
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of a file of JSON lines; none if it does not exist.
pub fn lines(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a whole line of JSON")).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = || arguments.get(1).and_then(|text| text.parse().ok()).expect("SECONDS");
    match arguments.first().map(String::as_str) {
        Some("write") => schema::write(&mutants()),
        Some("trace") => tests::trace(),
        Some("try") => verdict::seek(&mutants(), seconds(), false, &arguments[2..]),
        Some("again") => verdict::seek(&mutants(), seconds(), true, &arguments[2..]),
        Some("table") => verdict::table(&mutants()),
        Some("missed") => verdict::missed(&mutants()),
        _ => panic!("write, trace, try, again, table or missed: see the head of tools/mutants/src/main.rs"),
    }
}
