//! The house rules that a machine can check. A failure names the file, the line and what to do.
//!
//! `house` reads the repository, `facts` reads one Rust file, the other modules hold the rules; `samples` shows
//! that every rule catches what it is for.

mod budgets;
mod facts;
mod house;
mod manifests;
mod planted;
mod points;
mod samples;
mod spec;
mod words;

use house::{House, Problem};

/// Fails with all problems at once, one per line.
#[track_caller]
fn none(problems: Vec<Problem>) {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n\n{}\n", lines.join("\n"));
}

#[test]
fn rust_files_parse() {
    none(House::read().unparsed());
}

#[test]
fn functions_are_short() {
    none(budgets::function_lines(&House::read()));
}

#[test]
fn files_are_short() {
    none(budgets::file_lines(&House::read()));
}

#[test]
fn parameters_are_few() {
    none(budgets::parameters(&House::read()));
}

#[test]
fn fields_are_few() {
    none(budgets::fields(&House::read()));
}

#[test]
fn features_are_few() {
    none(manifests::features(&House::read()));
}

#[test]
fn planted_bugs_still_apply() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    none(planted::patches(&House::read(), &root));
}

#[test]
fn arrows_point_down() {
    none(manifests::arrows(&House::read()));
}

#[test]
fn core_is_without_std() {
    none(manifests::no_std(&House::read()));
}

#[test]
fn limits_have_one_place() {
    none(manifests::limits(&House::read()));
}

#[test]
fn nothing_is_left_unfinished() {
    none(words::leftovers(&House::read()));
}

#[test]
fn ignored_tests_name_their_switch() {
    none(words::ignored(&House::read()));
}

#[test]
fn no_machine_paths() {
    none(words::machine_paths(&House::read()));
}

#[test]
fn allowed_lints_have_reasons() {
    none(words::allows(&House::read()));
}

#[test]
fn durable_writes_have_failpoints() {
    none(points::missing(&House::read()));
}

#[test]
fn spec_rules_have_offence_and_test() {
    let house = House::read();
    let rules = spec::rules(&house);
    if rules.is_empty() {
        println!("note: no numbered rule in spec/*.md yet, nothing to check");
    }
    none(spec::check(&house));
}
