//! A program without an operating system that uses the two pure crates. `tools/purity` builds it and looks at
//! what it still asks the linker for: nothing but memory copies may remain.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use sdpp_proto::money::Amount;

/// Has no memory to give: the probe is linked, never run.
struct NoMemory;

// SAFETY: a null pointer is the documented answer of an allocator that has nothing left.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _memory: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn stop(_info: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Refers to both crates; the whole of them is linked, not only what this reaches.
#[unsafe(no_mangle)]
pub extern "C" fn sdpp_purity_probe(first: u8, second: u8) -> u8 {
    let due = Amount::new(u128::from(first)).checked_add(Amount::new(u128::from(second)));
    let text = alloc::format!("{due:?}");
    let sdpp_log::Hash(digest) = sdpp_log::leaf_hash(text.as_bytes());
    digest.into_iter().fold(0, |all, byte| all ^ byte)
}
