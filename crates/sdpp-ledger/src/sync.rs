//! Locks, channels and threads of the ledger. In unit tests they are those of `shuttle`: it decides after each step who
//! goes on, so that a test sees many interleavings, and the same ones every time. They work inside `interleave` only.
//! Everywhere else they are those of `std`.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::AtomicBool;
#[cfg(not(test))]
pub(crate) use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock};
#[cfg(not(test))]
pub(crate) use std::thread;

#[cfg(test)]
mod shuttled;
#[cfg(test)]
pub(crate) use shuttled::{
    AtomicBool, Mutex, MutexGuard, Receiver, RwLock, SyncSender, interleave, sync_channel, thread,
};
