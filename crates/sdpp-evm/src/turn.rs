//! Whose turn it is to send a transaction of an account: one after the other, for all that a process does with one key.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex as Lock, PoisonError, Weak};

use alloy::primitives::Address;
use tokio::sync::{Mutex, MutexGuard, Notify};

type Turns = BTreeMap<(String, Address), Weak<Turn>>;

/// The turns of accounts, by node. Two that send with one nonce would replace each other's transactions.
static TURNS: LazyLock<Lock<Turns>> = LazyLock::new(Lock::default);

/// An account's turn.
#[derive(Default)]
pub(crate) struct Turn {
    turn: Mutex<()>,
    /// Those in a hurry that wait.
    pressing: AtomicUsize,
    /// Nobody in a hurry waits any more.
    calm: Notify,
}

/// One in a hurry, until it has its turn or has given up.
struct Pressing<'a>(&'a Turn);

impl Drop for Pressing<'_> {
    fn drop(&mut self) {
        if self.0.pressing.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.calm.notify_waiters();
        }
    }
}

impl Turn {
    /// Of this account, at this node.
    pub(crate) fn of(line: &str, account: Address) -> Arc<Self> {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(known) = turns.get(&(line.to_owned(), account)).and_then(Weak::upgrade) {
            return known;
        }
        let turn = Arc::new(Self::default());
        turns.insert((line.to_owned(), account), Arc::downgrade(&turn));
        turn
    }

    /// Waits for it; those in a hurry go before the others.
    pub(crate) async fn take(&self, in_a_hurry: bool) -> MutexGuard<'_, ()> {
        if in_a_hurry {
            self.pressing.fetch_add(1, Ordering::SeqCst);
            let pressing = Pressing(self);
            let turn = self.turn.lock().await;
            drop(pressing);
            return turn;
        }
        loop {
            let calm = self.calm.notified();
            let turn = self.turn.lock().await;
            if self.pressing.load(Ordering::SeqCst) == 0 {
                return turn;
            }
            drop(turn);
            calm.await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_in_a_hurry_goes_before_all_that_wait() {
        let (one, same) = (Turn::of("here", Address::ZERO), Turn::of("here", Address::ZERO));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &Turn::of("there", Address::ZERO)));
        let order = Arc::new(Lock::new(Vec::new()));
        let first = one.take(false).await;
        let mut waiting = Vec::new();
        for number in 0..4 {
            let (turn, order) = (same.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let _turn = turn.take(number == 3).await;
                order.lock().unwrap().push(number);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for one in waiting {
            one.await.unwrap();
        }
        assert_eq!(order.lock().unwrap().first(), Some(&3));
        assert_eq!(order.lock().unwrap().len(), 4);
    }
}
