//! The programs around the targets of `sdpp-fuzz`: libFuzzer's loop and an allocator that counts.

use std::sync::OnceLock;

pub use libfuzzer_sys;
pub use sdpp_fuzz::PeakAlloc;
use sdpp_fuzz::Target;

static TARGET: OnceLock<&Target> = OnceLock::new();

/// Chooses what this program does, before its first input.
///
/// # Panics
/// If there is no target of this name.
pub fn begin(name: impl AsRef<str>) {
    let name = name.as_ref();
    let target = sdpp_fuzz::target(name).unwrap_or_else(|| panic!("there is no target {name}"));
    target.warm_up();
    TARGET.set(target).unwrap_or_else(|_| panic!("a program begins once"));
}

/// One input.
///
/// # Panics
/// Where the input breaks a promise.
pub fn run(data: &[u8]) {
    TARGET.get().expect("a program begins first").run(data);
}

/// The whole program of a target.
#[macro_export]
macro_rules! program {
    ($name:expr) => {
        #[global_allocator]
        static MEMORY: $crate::PeakAlloc = $crate::PeakAlloc;

        $crate::libfuzzer_sys::fuzz_target!(init: $crate::begin($name), |data: &[u8]| $crate::run(data));
    };
}
