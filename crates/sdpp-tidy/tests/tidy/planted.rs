//! Planted bugs: `tools/planted/run` takes minutes, so that their patches still apply is seen here.

use std::path::Path;
use std::process::Command;

use crate::house::{File, House, Problem};

/// As many as were promised.
const BUGS_MIN: usize = 20;

pub(crate) fn patches(house: &House, root: &Path) -> Vec<Problem> {
    let bugs: Vec<&File> = house.files.iter().filter(|file| is_patch(&file.path)).collect();
    let mut problems: Vec<Problem> = bugs.iter().flat_map(|file| headers(file)).collect();
    problems.extend(bugs.iter().filter(|file| !applies(root, &file.path)).map(|file| {
        let what = "does not apply any more: plant its bug anew in the code of now, make the patch by `git diff`, \
                    keep the lines above it, and run `tools/planted/run` with its number";
        Problem::new(&file.path, 1, what)
    }));
    if bugs.len() < BUGS_MIN {
        let what = format!("{} patches of planted bugs, {BUGS_MIN} are promised: plant more", bugs.len());
        problems.push(Problem::new("tools/planted", 0, what));
    }
    problems
}

fn is_patch(path: &str) -> bool {
    path.starts_with("tools/planted/") && path.ends_with(".patch")
}

/// What stands above the diff: what the bug is, and what catches it.
pub(crate) fn headers(file: &File) -> Vec<Problem> {
    let above = |word: &str| {
        let mut lines = file.text.lines().take_while(|line| !line.starts_with("diff --git "));
        lines.any(|line| line.starts_with(word))
    };
    let missing = ["check: ", "expects: "].into_iter().filter(|word| !above(word));
    missing.map(|word| Problem::new(&file.path, 1, format!("no line `{word}...` above the diff: add it"))).collect()
}

fn applies(root: &Path, path: &str) -> bool {
    let checked = Command::new("git").args(["apply", "--check", path]).current_dir(root).output();
    checked.expect("git is there: the patches need it").status.success()
}
