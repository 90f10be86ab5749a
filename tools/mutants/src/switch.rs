//! Stands as `mutant.rs` in each mutated crate.
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static ON: OnceLock<usize> = OnceLock::new();
static TRACE: OnceLock<Option<std::string::String>> = OnceLock::new();
static REACHED: [AtomicBool; 1 << 14] = [const { AtomicBool::new(false) }; 1 << 14];

/// Whether this mutant is on. None is at compile time, so that a `const fn` can have some, too.
pub(crate) const fn mutant(number: usize) -> bool {
    core::intrinsics::const_eval_select((number,), never, switch)
}

const fn never(_: usize) -> bool {
    false
}

fn switch(number: usize) -> bool {
    let set = || std::env::var("SDPP_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    if let Some(trace) = TRACE.get_or_init(|| std::env::var("SDPP_MUTANT_TRACE").ok())
        && !REACHED[number].swap(true, Ordering::Relaxed)
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(trace)
    {
        let _ = file.write_all(std::format!("{number}\n").as_bytes());
    }
    *ON.get_or_init(set) == number
}
