//! The conformance suites: what the traits of this crate mean, as functions that other crates' tests
//! call. A suite panics with a message that names the broken rule.
//!
//! The suites for rails and records are futures, to be run on whatever the adapter needs;
//! [`block_on`] runs them where it needs nothing.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use sdpp_proto::crypto;
use sdpp_proto::identity::SigningKey;

mod channel;
mod payee;
mod payer;
mod records;
mod store;
mod world;

pub use records::records;
pub use store::store;
pub use world::{RailWorld, Sale, Step, insist, pay_carefully, settle_finally, test_seller};

/// What a rail must do: runs all cases on one world, each with orders of its own. Cases about
/// channels run where the payee's option asks for one, cases about used proofs where it does not.
///
/// All calls are made as a careful caller makes them, so the suite holds with faults set as well.
///
/// # Panics
/// Where the rail breaks its contract.
pub async fn payer_payee(world: &dyn RailWorld) {
    payer::cases(world).await;
    payee::cases(world).await;
    channel::cases(world).await;
}

/// A signing key for tests, from one byte.
pub fn test_key(seed: u8) -> SigningKey {
    SigningKey::from_signer(Arc::from(crypto::provider().signer(&[seed; 32])))
}

/// Runs a future on this thread, which sleeps while it waits.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // A wake between poll and park makes park return at once; a stray one polls once more.
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_future_woken_from_another_thread_is_finished() {
        let (send, receive) = mpsc::channel::<Waker>();
        let helper = thread::spawn(move || {
            let waker = receive.recv().unwrap();
            thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        let mut polls = 0;
        let output = block_on(std::future::poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                send.send(context.waker().clone()).unwrap();
                return Poll::Pending;
            }
            Poll::Ready(7)
        }));
        helper.join().unwrap();
        assert_eq!((output, polls), (7, 2));
    }
}
