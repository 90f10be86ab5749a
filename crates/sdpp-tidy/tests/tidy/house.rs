//! The repository as the rules see it: every tracked text file, and the Rust files parsed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::facts::Facts;

/// Something to put right.
#[derive(Debug)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    what: String,
}

impl Problem {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// One text file; `facts` is there when it is Rust and parses.
pub(crate) struct File {
    /// Relative to the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) facts: Option<Facts>,
}

impl File {
    fn new(path: String, text: String) -> Self {
        let facts = if path.ends_with(".rs") { Facts::read(&path, &text) } else { None };
        Self { path, text, facts }
    }

    /// Lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

pub(crate) struct House {
    pub(crate) files: Vec<File>,
}

impl House {
    /// The repository this crate stands in.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let paths = tracked(&root).unwrap_or_else(|| walk(&root));
        // Files that are not UTF-8 (images) or were just deleted are no concern of these rules.
        let texts = paths.into_iter().filter_map(|path| Some((fs::read_to_string(root.join(&path)).ok()?, path)));
        Self { files: texts.map(|(text, path)| File::new(path, text)).collect() }
    }

    /// A house made up for a test of the rules.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File::new((*path).to_owned(), (*text).to_owned()));
        Self { files: files.collect() }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub(crate) fn facts(&self) -> impl Iterator<Item = (&File, &Facts)> {
        self.files.iter().filter_map(|file| Some((file, file.facts.as_ref()?)))
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn unparsed(&self) -> Vec<Problem> {
        let broken = self.rust().filter(|file| file.facts.is_none());
        broken.map(|file| Problem::new(&file.path, 1, "this file does not parse: run cargo check")).collect()
    }
}

/// What git tracks, and what it would track after `git add`.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let names = String::from_utf8(output.stdout).ok()?;
    Some(names.split_terminator('\0').map(str::to_owned).collect())
}

/// Without git (an unpacked archive): everything but build output.
fn walk(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            let skipped = [".git", "target", "node_modules"].iter().any(|name| path.ends_with(name));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !skipped => folders.push(path),
                Ok(kind) if kind.is_file() => found.push(path.to_string_lossy().replace('\\', "/")),
                _ => {}
            }
        }
    }
    found.sort();
    found
}
