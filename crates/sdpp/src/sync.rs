//! The locks of what the sessions of a seller share. In unit tests they are those of `shuttle`: it decides after each
//! step who goes on, so that a test sees many interleavings, and the same ones every time. They work inside
//! `interleave` only. Everywhere else they are the usual ones.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize};
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use tokio::sync::Notify;

#[cfg(test)]
mod shuttled;
#[cfg(test)]
pub(crate) use shuttled::{
    AtomicBool, AtomicUsize, Mutex, MutexGuard, Notify, interleave, is_past, once, receive, spawn,
};

/// Starts a thread that nobody waits for.
///
/// # Errors
/// The system's, if it gives no thread.
#[cfg(not(test))]
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Whether so much time has gone by since.
#[cfg(not(test))]
pub(crate) fn is_past(since: std::time::Instant, time: std::time::Duration) -> bool {
    since.elapsed() >= time
}

/// Waits in a thread of its own for what comes next; none when nobody can send any more.
#[cfg(not(test))]
pub(crate) fn receive<T>(queue: &mut tokio::sync::mpsc::UnboundedReceiver<T>) -> Option<T> {
    queue.blocking_recv()
}
