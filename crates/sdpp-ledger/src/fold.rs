//! The fold: what all entries together mean. Pure: the same entries give the same state everywhere,
//! at the operator, at every client and at an auditor. It reads no clock; ticks are its only time.

use std::collections::{BTreeMap, BTreeSet};

use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::Form;
use sdpp_proto::time::Timestamp;

use crate::accounts::Accounts;
use crate::channel::{Channel, ChannelState, check_open};
use crate::entry::{Body, Entry, Issue, Open, Transfer, asset_id, channel_id};
use crate::limits;
use crate::refusal::{Place, Refusal};

/// A transfer as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transferred {
    /// Where it stands.
    pub place: Place,
    /// Who got it.
    pub to: PublicKey,
    /// Of what.
    pub asset: AssetId,
    /// How much.
    pub amount: Amount,
}

/// A record as the log tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Where it stands.
    pub place: Place,
    /// Whole, or the id only.
    pub form: Form,
}

/// What an accepted entry changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// An asset has more units.
    Issued {
        /// Which.
        asset: AssetId,
        /// How many more.
        amount: Amount,
    },
    /// Money changed hands.
    Transferred,
    /// A channel is open.
    Opened {
        /// Its id.
        channel: ChannelId,
    },
    /// A channel has more deposit.
    ToppedUp {
        /// All that was locked in it.
        deposit: Amount,
    },
    /// A payee got money out of a channel.
    Redeemed {
        /// How much this time.
        amount: Amount,
    },
    /// A grace period runs.
    CloseRequested {
        /// Until this tick.
        ends: Timestamp,
    },
    /// A channel is over.
    Closed {
        /// What its payer got back.
        refund: Amount,
    },
    /// Time went on.
    Ticked,
    /// A statement is recorded.
    Recorded,
}

/// Money that is not where it should be: a fault of this program or of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotConserved {
    /// The asset.
    pub asset: AssetId,
    /// What was issued of it.
    pub issued: Amount,
    /// What balances and channels hold; none if it cannot be counted.
    pub held: Option<Amount>,
}

/// The state of a ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fold {
    origin: String,
    log: PublicKey,
    size: u64,
    time: Option<Timestamp>,
    entries: BTreeMap<StatementId, u64>,
    records: BTreeMap<StatementId, Recorded>,
    accounts: Accounts,
    issues: BTreeSet<(AssetId, Bytes32)>,
    transfers: BTreeMap<(PublicKey, Bytes32), Transferred>,
    channels: BTreeMap<ChannelId, Channel>,
}

impl Fold {
    /// The ledger of this origin before its first entry. Only `log` ticks.
    pub fn new(origin: &str, log: PublicKey) -> Self {
        Self {
            origin: origin.to_owned(),
            log,
            size: 0,
            time: None,
            entries: BTreeMap::new(),
            records: BTreeMap::new(),
            accounts: Accounts::default(),
            issues: BTreeSet::new(),
            transfers: BTreeMap::new(),
            channels: BTreeMap::new(),
        }
    }

    /// What an entry would change. Its signatures are the caller's: [`Entry::verify`].
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, entry: &Entry) -> Result<Effect, Refusal> {
        if entry.origin() != self.origin {
            return Err(Refusal::OtherLog);
        }
        if let Some(place) = self.place(&entry.id()) {
            return Err(Refusal::KnownEntry(place));
        }
        let issuer = entry.issuer();
        match entry.body() {
            Body::Issue(issue) => self.check_issue(&issuer, issue),
            Body::Transfer(transfer) => self.check_transfer(&issuer, transfer),
            Body::Open(open) => self.check_open(&issuer, open),
            Body::TopUp(top_up) => {
                let channel = self.known_channel(&top_up.channel)?;
                let deposit = channel.can_top_up(&issuer, top_up)?;
                self.accounts.can_take(&channel.asset, &issuer, top_up.amount)?;
                Ok(Effect::ToppedUp { deposit })
            }
            Body::Redeem { channel, voucher } => {
                self.known_channel(channel)?.can_redeem(channel, voucher).map(|amount| Effect::Redeemed { amount })
            }
            Body::RequestClose(channel) => {
                let ends = self.known_channel(channel)?.can_request(&issuer, self.time)?;
                Ok(Effect::CloseRequested { ends })
            }
            Body::Close(channel) => {
                self.known_channel(channel)?.can_close(&issuer, self.time).map(|refund| Effect::Closed { refund })
            }
            Body::Tick(time) => self.check_tick(&issuer, *time),
            Body::Record(record) => match self.record(&record.statement) {
                Some(known) => Err(Refusal::KnownRecord(known.place)),
                None => Ok(Effect::Recorded),
            },
        }
    }

    /// Takes an entry as the next one of the log.
    ///
    /// # Errors
    /// The first rule that it breaks; then nothing has changed.
    pub fn apply(&mut self, entry: &Entry) -> Result<Effect, Refusal> {
        let effect = self.check(entry)?;
        let place = Place { index: self.size, id: entry.id() };
        let issuer = entry.issuer();
        match entry.body() {
            Body::Issue(issue) => self.issue(&issuer, issue),
            Body::Transfer(transfer) => self.transfer(issuer, transfer, place),
            Body::Open(open) => self.open(issuer, open),
            Body::TopUp(top_up) => self.change(&top_up.channel, |accounts, channel| {
                accounts.take(&channel.asset, &issuer, top_up.amount);
                if let Effect::ToppedUp { deposit } = &effect {
                    channel.deposit = *deposit;
                }
                channel.top_ups.insert(top_up.reference);
            }),
            Body::Redeem { channel, voucher } => self.change(channel, |accounts, channel| {
                if let Effect::Redeemed { amount } = &effect {
                    accounts.give(&channel.asset, &channel.payee, *amount);
                }
                channel.redeemed = voucher.total;
            }),
            Body::RequestClose(channel) => self.change(channel, |_, channel| {
                if let Effect::CloseRequested { ends } = &effect {
                    channel.state = ChannelState::Closing { ends: *ends };
                }
            }),
            Body::Close(channel) => self.change(channel, |accounts, channel| {
                if let Effect::Closed { refund } = &effect {
                    accounts.give(&channel.asset, &channel.payer, *refund);
                }
                channel.state = ChannelState::Closed;
            }),
            Body::Tick(time) => self.time = Some(*time),
            Body::Record(record) => {
                self.records.insert(record.statement, Recorded { place, form: record.form });
            }
        }
        self.entries.insert(place.id, place.index);
        self.size = self.size.checked_add(1).expect("a tree has at most 2^63 - 1 leaves");
        Ok(effect)
    }

    fn check_issue(&self, issuer: &PublicKey, issue: &Issue) -> Result<Effect, Refusal> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=limits::SYMBOL_MAX).contains(&issue.symbol.len()) || !issue.symbol.chars().all(allowed) {
            return Err(Refusal::BadSymbol);
        }
        if issue.amount.is_zero() {
            return Err(Refusal::ZeroAmount);
        }
        let asset = asset_id(&issue.symbol, issuer);
        let key = (asset, issue.reference);
        if self.issues.contains(&key) {
            return Err(Refusal::IssueReferenceUsed);
        }
        self.accounts.can_issue(&key.0, issue.amount)?;
        Ok(Effect::Issued { asset: key.0, amount: issue.amount })
    }

    fn check_transfer(&self, payer: &PublicKey, transfer: &Transfer) -> Result<Effect, Refusal> {
        if transfer.amount.is_zero() {
            return Err(Refusal::ZeroAmount);
        }
        if self.transfer_of(payer, &transfer.reference).is_some() {
            return Err(Refusal::TransferReferenceUsed);
        }
        self.accounts.can_take(&transfer.asset, payer, transfer.amount)?;
        Ok(Effect::Transferred)
    }

    fn check_open(&self, payer: &PublicKey, open: &Open) -> Result<Effect, Refusal> {
        check_open(open)?;
        let channel = channel_id(&self.origin, payer, &open.reference);
        if self.channels.contains_key(&channel) {
            return Err(Refusal::ChannelExists);
        }
        self.accounts.can_take(&open.asset, payer, open.deposit)?;
        Ok(Effect::Opened { channel })
    }

    fn check_tick(&self, issuer: &PublicKey, time: Timestamp) -> Result<Effect, Refusal> {
        if *issuer != self.log {
            return Err(Refusal::NotTheLog);
        }
        if self.time.is_some_and(|last| time <= last) {
            return Err(Refusal::TickBackward);
        }
        Ok(Effect::Ticked)
    }

    fn issue(&mut self, issuer: &PublicKey, issue: &Issue) {
        let asset = asset_id(&issue.symbol, issuer);
        self.accounts.issue(&asset, &issue.to, issue.amount);
        self.issues.insert((asset, issue.reference));
    }

    fn transfer(&mut self, payer: PublicKey, transfer: &Transfer, place: Place) {
        self.accounts.take(&transfer.asset, &payer, transfer.amount);
        self.accounts.give(&transfer.asset, &transfer.to, transfer.amount);
        let Transfer { to, asset, amount, reference } = transfer.clone();
        self.transfers.insert((payer, reference), Transferred { place, to, asset, amount });
    }

    fn open(&mut self, payer: PublicKey, open: &Open) {
        self.accounts.take(&open.asset, &payer, open.deposit);
        let id = channel_id(&self.origin, &payer, &open.reference);
        self.channels.insert(id, Channel::open(payer, open));
    }

    fn change(&mut self, id: &ChannelId, change: impl FnOnce(&mut Accounts, &mut Channel)) {
        let channel = self.channels.get_mut(id).expect("check has found the channel");
        change(&mut self.accounts, channel);
    }

    fn known_channel(&self, id: &ChannelId) -> Result<&Channel, Refusal> {
        self.channels.get(id).ok_or(Refusal::UnknownChannel)
    }

    /// Number of entries taken.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The last tick.
    pub const fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where an entry stands.
    pub fn place(&self, entry: &StatementId) -> Option<Place> {
        self.entries.get(entry).map(|index| Place { index: *index, id: *entry })
    }

    /// What an account has.
    pub fn balance(&self, asset: &AssetId, account: &PublicKey) -> Amount {
        self.accounts.balance(asset, account)
    }

    /// How much of an asset there is.
    pub fn issued(&self, asset: &AssetId) -> Amount {
        self.accounts.issued(asset)
    }

    /// A channel, open or closed.
    pub fn channel(&self, id: &ChannelId) -> Option<&Channel> {
        self.channels.get(id)
    }

    /// The transfer of a payer with this reference.
    pub fn transfer_of(&self, payer: &PublicKey, reference: &Bytes32) -> Option<&Transferred> {
        self.transfers.get(&(*payer, *reference))
    }

    /// Where a statement is recorded, in whichever form came first.
    pub fn record(&self, statement: &StatementId) -> Option<Recorded> {
        self.records.get(statement).copied()
    }

    /// The channels of a payer, open or closed.
    pub fn channels_of(&self, payer: &PublicKey) -> impl Iterator<Item = (&ChannelId, &Channel)> {
        self.channels.iter().filter(move |(_, channel)| channel.payer == *payer)
    }

    /// Checks that all money is somewhere: per asset, balances and locked deposits make up what was
    /// issued.
    ///
    /// # Errors
    /// The first asset of which that is not so.
    pub fn conservation(&self) -> Result<(), NotConserved> {
        let mut locked: BTreeMap<&AssetId, Option<Amount>> = BTreeMap::new();
        for channel in self.channels.values() {
            let sum = locked.entry(&channel.asset).or_insert(Some(Amount::ZERO));
            *sum = sum.and_then(|sum| sum.checked_add(channel.locked()));
        }
        for (asset, issued, balances) in self.accounts.sums() {
            let in_channels = locked.remove(asset).unwrap_or(Some(Amount::ZERO));
            let held = balances.zip(in_channels).and_then(|(a, b)| a.checked_add(b));
            if held != Some(issued) {
                return Err(NotConserved { asset: asset.clone(), issued, held });
            }
        }
        match locked.into_iter().find(|(_, sum)| *sum != Some(Amount::ZERO)) {
            Some((asset, held)) => Err(NotConserved { asset: asset.clone(), issued: Amount::ZERO, held }),
            None => Ok(()),
        }
    }
}
