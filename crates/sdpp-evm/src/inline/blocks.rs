//! Blocks, one transaction in each at most; what waits to be mined; and states of the last blocks.

use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, Log, TxKind, U256};

use super::machine::{Done, In, Reverted, State, hash_of};

/// Blocks behind the newest one whose state is known.
pub const FORGET_AFTER: usize = 128;
/// So many seconds after a block there is another one.
const BLOCK_S: u64 = 5;
/// So often somebody asks for the newest block until there is one.
const ASKED_BLOCK: u64 = 3;
/// A replacement pays so many hundredths of what it replaces.
const REPLACES_FROM: u128 = 110;

/// What is sent, or only tried out.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) hash: B256,
    pub(super) from: Address,
    pub(super) to: TxKind,
    pub(super) data: Bytes,
    pub(super) value: U256,
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    pub(super) fee: u128,
}

/// One that is mined.
#[derive(Clone)]
pub(super) struct Mined {
    pub(super) transaction: Transaction,
    pub(super) success: bool,
    pub(super) gas: u64,
    pub(super) logs: Vec<Log>,
}

pub(super) struct Block {
    pub(super) at: In,
    pub(super) hash: B256,
    pub(super) mined: Option<Mined>,
    /// After it; none where it is too old.
    state: Option<Arc<State>>,
}

/// One that waits, and questions until it is mined.
struct Waiting {
    transaction: Transaction,
    questions: u32,
}

/// What a reorganisation has thrown out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// Blocks.
    pub blocks: u32,
    /// Transactions in them.
    pub transactions: u32,
    /// How many of those opened a channel.
    pub opened: u32,
}

/// Why a transaction is not taken, in the words of geth.
pub(super) type NotTaken = &'static str;

pub(super) struct Blocks {
    blocks: Vec<Block>,
    waiting: Vec<Waiting>,
    /// Reorganisations so far: the same block on another branch has another name.
    forks: u64,
    made: u64,
    asked_for_newest: u64,
}

impl Blocks {
    pub(super) fn new(now: u64) -> Self {
        let at = In { number: 0, timestamp: now };
        let hash = hash_of(B256::ZERO, at, (0, B256::ZERO));
        let first = Block { at, hash, mined: None, state: Some(Arc::new(State::new())) };
        Self { blocks: vec![first], waiting: Vec::new(), forks: 0, made: 0, asked_for_newest: 0 }
    }

    fn newest(&self) -> &Block {
        self.blocks.last().expect("there is a first block")
    }

    /// The number of the newest block, for somebody who sees it so many blocks late.
    pub(super) fn height(&self, behind: u64) -> u64 {
        self.newest().at.number.saturating_sub(behind)
    }

    pub(super) fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    /// The state after a block; none where it is too old or not there yet.
    pub(super) fn state(&self, number: u64) -> Option<&Arc<State>> {
        self.block(number)?.state.as_ref()
    }

    fn newest_state(&self) -> &Arc<State> {
        self.newest().state.as_ref().expect("the newest state is kept")
    }

    pub(super) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.blocks.iter().filter_map(|block| block.mined.as_ref()).flat_map(|mined| &mined.logs)
    }

    /// A block with this transaction, and where it is.
    pub(super) fn find(&self, transaction: B256) -> Option<&Block> {
        let is_it = |block: &&Block| block.mined.as_ref().is_some_and(|mined| mined.transaction.hash == transaction);
        self.blocks.iter().rev().find(is_it)
    }

    pub(super) fn give_coins(&mut self, account: Address, coins: U256) {
        let mut state = State::clone(self.newest_state());
        state.give_coins(account, coins);
        if let Some(newest) = self.blocks.last_mut() {
            newest.state = Some(Arc::new(state));
        }
    }

    /// The block that would be made now.
    pub(super) fn next(&self, now: u64) -> In {
        let In { number, timestamp } = self.newest().at;
        In { number: number.saturating_add(1), timestamp: timestamp.max(now) }
    }

    pub(super) fn try_out(&self, transaction: &Transaction) -> Result<Done, Reverted> {
        self.newest_state().try_out(transaction, self.next(0))
    }

    /// Mines a transaction at once.
    pub(super) fn run(&mut self, transaction: &Transaction) -> Result<Done, Reverted> {
        let at = self.next(0);
        self.mine_with(transaction.clone(), at)
    }

    fn mine_with(&mut self, transaction: Transaction, at: In) -> Result<Done, Reverted> {
        let mut state = State::clone(self.newest_state());
        let done = state.run(&transaction, at);
        let mined = match &done {
            Ok(done) => Mined { transaction, success: true, gas: done.gas, logs: done.logs.clone() },
            Err(reverted) => Mined { transaction, success: false, gas: reverted.gas, logs: Vec::new() },
        };
        self.push(at, Some(mined), Arc::new(state));
        done
    }

    /// Blocks that were made so far.
    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    fn push(&mut self, at: In, mined: Option<Mined>, state: Arc<State>) {
        let transaction = mined.as_ref().map_or(B256::ZERO, |mined| mined.transaction.hash);
        let hash = hash_of(self.newest().hash, at, (self.forks, transaction));
        self.blocks.push(Block { at, hash, mined, state: Some(state) });
        self.made = self.made.saturating_add(1);
        let old = self.blocks.len().checked_sub(FORGET_AFTER.saturating_add(1));
        if let Some(old) = old.and_then(|old| self.blocks.get_mut(old)) {
            old.state = None;
        }
    }

    /// An empty block.
    pub(super) fn mine(&mut self, now: u64) {
        let (at, state) = (self.next(now), self.newest_state().clone());
        self.push(at, None, state);
    }

    /// A question comes: what has waited long enough is mined, and time passes.
    pub(super) fn tick(&mut self, now: u64, for_newest: bool) {
        self.waiting.iter_mut().for_each(|one| one.questions = one.questions.saturating_sub(1));
        let nonce = |one: &Waiting| self.newest_state().nonce(one.transaction.from);
        let due = self.waiting.iter().position(|one| one.questions == 0 && one.transaction.nonce <= nonce(one));
        if let Some(due) = due {
            let Waiting { transaction, .. } = self.waiting.remove(due);
            if self.newest_state().nonce(transaction.from) == transaction.nonce {
                let _ = self.mine_with(transaction, self.next(now));
            }
        }
        self.asked_for_newest = self.asked_for_newest.saturating_add(u64::from(for_newest));
        let is_asked = for_newest && self.asked_for_newest.is_multiple_of(ASKED_BLOCK);
        if is_asked || now >= self.newest().at.timestamp.saturating_add(BLOCK_S) {
            self.mine(now);
        }
    }

    /// Takes a transaction: into a block, or to wait for so many questions.
    pub(super) fn take(&mut self, transaction: Transaction, (now, questions): (u64, u32)) -> Result<(), NotTaken> {
        if self.find(transaction.hash).is_some() {
            return Err("already known");
        }
        let nonce = self.newest_state().nonce(transaction.from);
        if transaction.nonce < nonce {
            return Err("nonce too low");
        }
        let same =
            |one: &Waiting| (one.transaction.from, one.transaction.nonce) == (transaction.from, transaction.nonce);
        if let Some(at) = self.waiting.iter().position(same) {
            let other = self.waiting.get(at).map(|one| (one.transaction.hash, one.transaction.fee));
            let (hash, fee) = other.unwrap_or_default();
            if hash == transaction.hash {
                return Err("already known");
            }
            if transaction.fee < fee.saturating_mul(REPLACES_FROM).div_ceil(100) {
                return Err("replacement transaction underpriced");
            }
            self.waiting.remove(at);
        }
        if questions == 0 && transaction.nonce == nonce {
            let _ = self.mine_with(transaction, self.next(now));
        } else {
            self.waiting.push(Waiting { transaction, questions });
        }
        Ok(())
    }

    /// Transactions of an account that are mined or wait.
    pub(super) fn pending_nonce(&self, account: Address) -> u64 {
        let waiting = self.waiting.iter().filter(|one| one.transaction.from == account);
        let behind = waiting.map(|one| one.transaction.nonce.saturating_add(1)).max().unwrap_or(0);
        self.newest_state().nonce(account).max(behind)
    }

    pub(super) fn reorganise(&mut self, depth: u32, keep: bool, now: u64) -> Dropped {
        let mut dropped = Dropped::default();
        let mut again = Vec::new();
        while dropped.blocks < depth && self.blocks.len() > 1 {
            // What is under it has to be known.
            if self.state(self.height(1)).is_none() {
                break;
            }
            let Some(block) = self.blocks.pop() else { break };
            dropped.blocks = dropped.blocks.saturating_add(1);
            if let Some(Mined { transaction, logs, .. }) = block.mined {
                dropped.transactions = dropped.transactions.saturating_add(1);
                dropped.opened = dropped.opened.saturating_add(u32::from(logs.iter().any(super::is_opened)));
                again.push(transaction);
            }
        }
        self.forks = self.forks.saturating_add(1);
        if keep {
            // In their old order, from the next question on.
            let again = again.into_iter().rev().map(|transaction| Waiting { transaction, questions: 1 });
            self.waiting.extend(again);
        }
        (0..dropped.blocks).for_each(|_| self.mine(now));
        dropped
    }
}
