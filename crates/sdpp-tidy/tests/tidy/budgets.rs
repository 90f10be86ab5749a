//! Sizes: lines, parameters, fields.

use crate::facts::Function;
use crate::house::{File, House, Problem};

const FUNCTION_LINES_MAX: usize = 70;
/// 95 of 100 functions stay below this; tests may use all of `FUNCTION_LINES_MAX`.
const FUNCTION_LINES_MOST: usize = 50;
const FILE_LINES_MAX: usize = 1_000;
const FILE_LINES_MOST: usize = 600;
const LONG_FILES_MAX: usize = 8;
const PARAMETERS_MAX: usize = 5;
const FIELDS_MAX: usize = 15;
const WIRE_FIELDS_MAX: usize = 24;

pub(crate) fn function_lines(house: &House) -> Vec<Problem> {
    let mut problems = too_long(house);
    let checked: Vec<_> = functions(house).filter(|(_, function)| !function.in_test).collect();
    let long: Vec<_> = checked.iter().filter(|(_, function)| function.lines >= FUNCTION_LINES_MOST).collect();
    if long.len().saturating_mul(100) > checked.len().saturating_mul(5) {
        problems.extend(long.iter().map(|(file, function)| {
            let share = format!("{} of {} functions", long.len(), checked.len());
            let rule = format!("have {FUNCTION_LINES_MOST} lines or more, at most 5% may: split some of them");
            let what = format!("fn {} has {} lines; {share} {rule}", function.name, function.lines);
            Problem::new(&file.path, function.line, what)
        }));
    }
    problems
}

fn too_long(house: &House) -> Vec<Problem> {
    let long = functions(house).filter(|(_, function)| function.lines > FUNCTION_LINES_MAX);
    long.map(|(file, function)| {
        let Function { name, lines, .. } = function;
        let what = format!("fn {name} has {lines} lines, the limit is {FUNCTION_LINES_MAX}: split it");
        Problem::new(&file.path, function.line, what)
    })
    .collect()
}

pub(crate) fn file_lines(house: &House) -> Vec<Problem> {
    let sized: Vec<_> = house.rust().map(|file| (file, file.text.lines().count())).collect();
    let mut problems = Vec::new();
    for (file, lines) in sized.iter().filter(|(_, lines)| *lines > FILE_LINES_MAX) {
        let what = format!("{lines} lines, the limit is {FILE_LINES_MAX}: split the file");
        problems.push(Problem::new(&file.path, *lines, what));
    }
    let long: Vec<_> = sized.iter().filter(|(_, lines)| *lines > FILE_LINES_MOST).collect();
    if long.len() > LONG_FILES_MAX {
        problems.extend(long.iter().map(|(file, lines)| {
            let rule = format!("{} files are over {FILE_LINES_MOST}, {LONG_FILES_MAX} may be", long.len());
            Problem::new(&file.path, *lines, format!("{lines} lines; {rule}: split some of them"))
        }));
    }
    problems
}

pub(crate) fn parameters(house: &House) -> Vec<Problem> {
    let local: Vec<&str> = house.facts().flat_map(|(_, facts)| facts.traits.iter().map(String::as_str)).collect();
    // The shape of a foreign trait's method is not ours to choose.
    let ours = |function: &Function| function.of_trait.as_deref().is_none_or(|of_trait| local.contains(&of_trait));
    let many = functions(house).filter(|(_, function)| function.parameters > PARAMETERS_MAX && ours(function));
    many.map(|(file, function)| {
        let Function { name, parameters, .. } = function;
        let what = format!("fn {name} has {parameters} parameters, the limit is {PARAMETERS_MAX}: pass a struct");
        Problem::new(&file.path, function.line, what)
    })
    .collect()
}

pub(crate) fn fields(house: &House) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, facts) in house.facts() {
        for item in facts.structs.iter().filter(|item| !item.in_test) {
            let max = if item.on_the_wire { WIRE_FIELDS_MAX } else { FIELDS_MAX };
            if item.fields > max {
                let what = format!("struct {} has {} fields, the limit is {max}", item.name, item.fields);
                problems.push(Problem::new(&file.path, item.line, what + ": group some of them"));
            }
        }
    }
    problems
}

fn functions(house: &House) -> impl Iterator<Item = (&File, &Function)> {
    house.facts().flat_map(|(file, facts)| facts.functions.iter().map(move |function| (file, function)))
}
