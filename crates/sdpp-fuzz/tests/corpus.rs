//! Replays every input of the committed corpora, and every one that was ever found to break something.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sdpp_fuzz::{PeakAlloc, TARGETS, target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Names in a folder; none where there is no folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// Everything in one test: the memory of one target is not to be taken for that of another.
#[test]
fn every_committed_input_passes_its_target() {
    let known: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(known.len(), TARGETS.len(), "a name for each target");
    assert_eq!(names(&fuzz().join("corpus")), known, "a corpus for each target, and a target for each corpus");
    assert!(names(&fuzz().join("regressions")).is_subset(&known), "a target for each folder of regressions");
    let programs: BTreeSet<String> =
        known.iter().map(String::as_str).chain(["any"]).map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), programs, "a program for each target");

    for name in &known {
        let target = target(name).unwrap();
        target.warm_up();
        let mut inputs = 0;
        for folder in ["corpus", "regressions"].map(|folder| fuzz().join(folder).join(name)) {
            for file in names(&folder) {
                let path = folder.join(&file);
                // So that a failure names the file.
                let bytes = fs::read(&path).unwrap();
                let passed = std::panic::catch_unwind(|| target.run(&bytes)).is_ok();
                assert!(passed, "replay {}", path.display());
                inputs += 1;
            }
        }
        assert!(inputs >= 5, "{name} has {inputs} inputs: make the seeds again");
    }
}
