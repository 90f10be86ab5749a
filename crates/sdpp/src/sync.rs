//! The locks of what the sessions of a seller share. In unit tests they are those of `shuttle`: it decides after each
//! step who goes on, so that a test sees many interleavings, and the same ones every time. They work inside
//! `interleave` only. Everywhere else they are the usual ones.

#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use tokio::sync::Notify;

#[cfg(test)]
mod shuttled;
#[cfg(test)]
pub(crate) use shuttled::{Mutex, MutexGuard, Notify, interleave, once};
