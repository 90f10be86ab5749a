//! The same names by `shuttle`.

use std::sync::Arc;
use std::sync::mpsc::{RecvError, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
pub(crate) use shuttle::sync::atomic::AtomicBool;
use shuttle::sync::mpsc;
pub(crate) use shuttle::sync::mpsc::SyncSender;
pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock};
pub(crate) use shuttle::thread;
use shuttle::{Config, MaxSteps, Runner};

/// Steps after which an execution hangs: an idle writer that waits for nobody takes some, too.
const STEPS_MAX: usize = 50_000;
/// Signing needs more stack than threads of `shuttle` usually have.
const STACK_BYTES: usize = 1024 * 1024;

/// A receiver whose patience ends when the dice say so: time passes as fast or as slowly as it likes.
pub(crate) struct Receiver<T>(mpsc::Receiver<T>);

pub(crate) fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(bound);
    (sender, Receiver(receiver))
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        self.0.recv()
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        loop {
            match self.0.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if timeout.is_zero() || thread_rng().gen_bool(0.3) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => thread::yield_now(),
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    /// Nobody receives any more what waits: `std` drops it here, `shuttle` with the last sender.
    fn drop(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

/// A number from the environment.
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs a test under so many random interleavings, and under as many in which few switches are chosen with care (PCT).
/// `SDPP_INTERLEAVINGS` multiplies their number, `SDPP_INTERLEAVING_SEED` gives others. A failure prints its schedule.
pub(crate) fn interleave(rounds: usize, test: impl Fn() + Send + Sync + 'static) {
    let times = usize::try_from(number("SDPP_INTERLEAVINGS", 1)).unwrap_or(1);
    let (rounds, seed) = (rounds.saturating_mul(times), number("SDPP_INTERLEAVING_SEED", 1));
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    let random = Arc::new(test);
    let test = random.clone();
    let scheduler = RandomScheduler::new_from_seed(seed, rounds);
    assert_eq!(Runner::new(scheduler, config.clone()).run(move || random()), rounds);
    assert_eq!(Runner::new(PctScheduler::new_from_seed(seed, 3, rounds), config).run(move || test()), rounds);
}
