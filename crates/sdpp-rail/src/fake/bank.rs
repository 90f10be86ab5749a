//! The fake bank: accounts, channels, transfers, and the memory of those who use it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};

use crate::rail::{Bill, Funding, OpenRequest, Proof, RailError, RecordId};

use super::fault::Faults;
use super::{Call, Fault};

/// A fake bank in memory. Cheap to clone; all clones are one bank.
#[derive(Clone, Default)]
pub struct FakeBank {
    shared: Arc<Mutex<Book>>,
}

/// Everything the bank and its customers know.
#[derive(Default)]
pub(super) struct Book {
    pub(super) now_ms: u64,
    /// Looks that it takes until a payment is final.
    pub(super) late: u32,
    accounts: BTreeMap<(String, AssetId), Amount>,
    pub(super) channels: BTreeMap<ChannelId, Channel>,
    /// Direct payments by their proof.
    pub(super) transfers: BTreeMap<Bytes32, Transfer>,
    /// What each payer opened, by reference.
    pub(super) openings: BTreeMap<(String, Bytes32), (OpenRequest, Funding)>,
    /// What each payer paid, by invoice.
    pub(super) payments: BTreeMap<(String, StatementId), Paid>,
    pub(super) payees: BTreeMap<String, PayeeBook>,
    pub(super) records: BTreeMap<RecordId, (StatementId, Vec<u8>)>,
    faults: Faults,
}

pub(super) struct Channel {
    pub(super) payer: String,
    pub(super) payee: String,
    pub(super) asset: AssetId,
    pub(super) signer: PublicKey,
    pub(super) deposit: Amount,
    pub(super) redeemed: Amount,
    pub(super) grace_ms: u64,
    /// When a close that was asked for becomes final.
    pub(super) closes_at_ms: Option<u64>,
    pub(super) closed: bool,
}

impl Channel {
    /// Whether new vouchers count.
    pub(super) const fn is_open(&self) -> bool {
        self.closes_at_ms.is_none() && !self.closed
    }
}

pub(super) struct Transfer {
    pub(super) payee: String,
    pub(super) asset: AssetId,
    pub(super) amount: Amount,
    pub(super) order: StatementId,
    pub(super) invoice: StatementId,
}

pub(super) struct Paid {
    pub(super) bill: Bill,
    pub(super) proof: Proof,
    /// Looks until it is final.
    pub(super) waits: u32,
}

/// What one payee keeps.
#[derive(Default)]
pub(super) struct PayeeBook {
    pub(super) orders: BTreeMap<StatementId, Admitted>,
    pub(super) settled: BTreeMap<StatementId, Bill>,
    pub(super) used: BTreeMap<Bytes32, StatementId>,
    pub(super) waits: BTreeMap<StatementId, u32>,
}

#[derive(Clone)]
pub(super) struct Admitted {
    pub(super) channel: Option<ChannelId>,
    pub(super) signer: PublicKey,
    /// The highest total that counts.
    pub(super) credited: Amount,
}

impl FakeBank {
    /// An empty bank.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes money out of nothing.
    ///
    /// # Errors
    /// [`RailError::Declined`] where the account would hold more than an amount can say.
    pub fn fund(&self, account: &str, asset: &AssetId, amount: Amount) -> Result<(), RailError> {
        self.lock().add(account, asset, amount)
    }

    /// What an account holds, without what is locked in channels.
    pub fn balance(&self, account: &str, asset: &AssetId) -> Amount {
        self.lock().balance(account, asset)
    }

    /// What an account has locked in channels.
    pub fn locked(&self, account: &str, asset: &AssetId) -> Amount {
        let book = self.lock();
        let open = book.channels.values().filter(|channel| !channel.closed);
        let mine = open.filter(|channel| channel.payer == account && channel.asset == *asset);
        sum(mine.map(|channel| channel.deposit.saturating_sub(channel.redeemed)))
    }

    /// All there is of an asset, locked or not: only [`fund`](Self::fund) changes it.
    pub fn supply(&self, asset: &AssetId) -> Amount {
        let book = self.lock();
        let held = book.accounts.iter().filter(|((_, held), _)| held == asset).map(|(_, amount)| *amount);
        let channels = book.channels.values().filter(|channel| channel.asset == *asset && !channel.closed);
        let locked = channels.map(|channel| channel.deposit.saturating_sub(channel.redeemed));
        sum(held.chain(locked))
    }

    /// Lets time pass: closes whose grace has ended become final.
    pub fn advance_ms(&self, ms: u64) {
        let mut book = self.lock();
        book.now_ms = book.now_ms.saturating_add(ms);
        let now_ms = book.now_ms;
        let over = |channel: &Channel| channel.closes_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let ended: Vec<ChannelId> =
            book.channels.iter().filter(|(_, channel)| over(channel)).map(|(id, _)| *id).collect();
        for id in ended {
            // The deposit came out of this account, so it fits in again.
            drop(book.finish(&id));
        }
    }

    /// From now on a payment becomes final after so many looks: `status` and `settle` answer
    /// `Pending` as often.
    pub fn set_lateness(&self, looks: u32) {
        self.lock().late = looks;
    }

    /// The chain behind the bank reorganises: every payment that is not final yet waits for so many looks
    /// anew. What was final stays so. Says how many it has touched.
    pub fn reorganise(&self, looks: u32) -> usize {
        let mut book = self.lock();
        let Book { payments, payees, .. } = &mut *book;
        let paid = payments.values_mut().map(|paid| &mut paid.waits);
        let settled = payees.values_mut().flat_map(|payee| payee.waits.values_mut());
        let waiting = paid.chain(settled).filter(|waits| **waits > 0);
        waiting.map(|waits| *waits = looks).count()
    }

    /// Lays down what becomes of the next call of this kind that has no fault laid down yet.
    pub fn push_fault(&self, call: Call, fault: Fault) {
        self.lock().faults.script(call, fault);
    }

    /// Lets a seeded generator spoil so many of a thousand calls, each in one of three ways; calls
    /// with a fault laid down aside.
    pub fn seed_faults(&self, seed: u64, per_mille: u16) {
        self.lock().faults.seed(seed, per_mille);
    }

    /// No more faults.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// How often a call was made, spoiled ones included.
    pub fn calls(&self, call: Call) -> u64 {
        self.lock().faults.calls(call)
    }

    /// Direct transfers made so far.
    pub fn transfers(&self) -> usize {
        self.lock().transfers.len()
    }

    /// Makes one call, as its fault has it.
    pub(super) fn act<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut Book) -> Result<T, RailError>,
    ) -> Result<T, RailError> {
        let mut book = self.lock();
        let fault = book.faults.next(call);
        let answer = if fault.applied { work(&mut book) } else { Err(RailError::Unavailable) };
        if fault.answered { answer } else { Err(call.unheard()) }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    pub(super) fn balance(&self, account: &str, asset: &AssetId) -> Amount {
        self.accounts.get(&(account.to_owned(), asset.clone())).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, account: &str, asset: &AssetId, amount: Amount) -> Result<(), RailError> {
        let sum = self.balance(account, asset).checked_add(amount);
        let sum = sum.ok_or(RailError::Declined("the account cannot hold so much"))?;
        self.accounts.insert((account.to_owned(), asset.clone()), sum);
        Ok(())
    }

    pub(super) fn take(&mut self, account: &str, asset: &AssetId, amount: Amount) -> Result<(), RailError> {
        let rest = self.balance(account, asset).checked_sub(amount);
        let rest = rest.ok_or(RailError::Declined("not enough money"))?;
        self.accounts.insert((account.to_owned(), asset.clone()), rest);
        Ok(())
    }

    /// Pays the payee up to `total`, never twice and never above the deposit; gives what it has had.
    pub(super) fn redeem(&mut self, id: &ChannelId, total: Amount) -> Result<Amount, RailError> {
        let channel = self.channels.get(id).ok_or(RailError::Declined("no such channel"))?;
        let (before, total) = (channel.redeemed, total.min(channel.deposit));
        let Some(new) = total.checked_sub(before).filter(|new| !new.is_zero() && !channel.closed) else {
            return Ok(before);
        };
        let (payee, asset) = (channel.payee.clone(), channel.asset.clone());
        self.add(&payee, &asset, new)?;
        if let Some(channel) = self.channels.get_mut(id) {
            channel.redeemed = total;
        }
        Ok(total)
    }

    /// Ends a channel: the rest of the deposit goes back.
    pub(super) fn finish(&mut self, id: &ChannelId) -> Result<(), RailError> {
        let Some(channel) = self.channels.get(id).filter(|channel| !channel.closed) else {
            return Ok(());
        };
        let rest = channel.deposit.saturating_sub(channel.redeemed);
        let (payer, asset) = (channel.payer.clone(), channel.asset.clone());
        self.add(&payer, &asset, rest)?;
        if let Some(channel) = self.channels.get_mut(id) {
            channel.closed = true;
        }
        Ok(())
    }
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap_or(Amount::MAX))
}
