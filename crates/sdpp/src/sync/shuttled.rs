//! The same names by `shuttle`.

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::Ordering;
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize};
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
use shuttle::{Config, MaxSteps, Runner};
use tokio::sync::futures::Notified;

/// Steps after which an execution hangs.
const STEPS_MAX: usize = 100_000;
/// Signing and sealing need more stack than threads of `shuttle` usually have.
const STACK_BYTES: usize = 1024 * 1024;

/// The real [`tokio::sync::Notify`], each call one step. Its own insides are tested by its makers, under loom.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    real: tokio::sync::Notify,
    steps: AtomicUsize,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn notify_one(&self) {
        self.step();
        self.real.notify_one();
    }

    pub(crate) fn notify_waiters(&self) {
        self.step();
        self.real.notify_waiters();
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        self.step();
        let notified = self.real.notified();
        self.step();
        notified
    }
}

/// A number from the environment.
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs a test under so many random interleavings, and under as many in which few switches are chosen with care (PCT).
/// The clock of the runtime stands still: whoever is not woken waits for ever, and that is found as a deadlock.
///
/// `SDPP_INTERLEAVINGS` multiplies their number, `SDPP_INTERLEAVING_SEED` gives others. A failure prints its schedule.
pub(crate) fn interleave(rounds: usize, test: impl Fn() + Send + Sync + 'static) {
    let times = usize::try_from(number("SDPP_INTERLEAVINGS", 1)).unwrap_or(1);
    let (rounds, seed) = (rounds.saturating_mul(times), number("SDPP_INTERLEAVING_SEED", 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    let (random, pct) = (Arc::new(test), RandomScheduler::new_from_seed(seed, rounds));
    let test = random.clone();
    assert_eq!(Runner::new(pct, config.clone()).run(move || random()), rounds);
    assert_eq!(Runner::new(PctScheduler::new_from_seed(seed, 3, rounds), config).run(move || test()), rounds);
}

/// Runs a test that looks at no interleavings.
pub(crate) fn once(test: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    Runner::new(RandomScheduler::new_from_seed(1, 1), config).run(test);
}

/// A thread of the interleaving.
#[expect(clippy::unnecessary_wraps, reason = "as the real one")]
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    drop(shuttle::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread"));
    Ok(())
}

/// Waits as the real one does. Each look is a step.
pub(crate) fn receive<T>(queue: &mut tokio::sync::mpsc::UnboundedReceiver<T>) -> Option<T> {
    shuttle::future::block_on(queue.recv())
}

/// By chance: no clock runs here, and a schedule has to come again.
pub(crate) fn is_past(_: std::time::Instant, _: std::time::Duration) -> bool {
    use shuttle::rand::Rng as _;
    shuttle::rand::thread_rng().r#gen()
}
