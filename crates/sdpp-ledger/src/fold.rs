//! The fold: what all entries together mean. The same entries give the same state everywhere, at the
//! operator, at every client and at an auditor. It reads no clock; ticks are its only time.
//!
//! The rules are here; where the state lies is for its [`Store`] ([`state`](crate::state)). What was
//! applied is written; it is durable when the owner of the fold has flushed the store.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};
use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::Form;
use sdpp_proto::time::Timestamp;
use sdpp_rail::{Head, MemoryStore, Standing, Store, StoreError};

use crate::channel::{Channel, ChannelState, check_open};
use crate::entry::{Body, Entry, Issue, Open, TopUp, Transfer, asset_id, channel_id};
use crate::limits;
use crate::refusal::{Place, Refusal};
use crate::state::{BALANCES, Edit, ISSUED, Summary, View};

/// A record as the log tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Recorded {
    /// Where it stands.
    #[n(1)]
    pub place: Place,
    /// Whole, or the id only.
    #[n(2)]
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

/// Why an entry was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoldError {
    /// It breaks a rule; nothing has changed.
    Refused(Refusal),
    /// The state cannot be read or written: the fold must be opened again.
    Store(StoreError),
}

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FoldError {}

impl From<Refusal> for FoldError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for FoldError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The state of a ledger.
pub struct Fold {
    origin: String,
    log: PublicKey,
    summary: Summary,
    store: Box<dyn Store>,
}

impl Fold {
    /// The ledger of this origin before its first entry, in memory. Only `log` ticks.
    pub fn new(origin: &str, log: PublicKey) -> Self {
        Self { origin: origin.to_owned(), log, summary: Summary::default(), store: Box::new(MemoryStore::new()) }
    }

    /// The ledger of this origin as a store has it. One store holds one ledger.
    ///
    /// # Errors
    /// [`StoreError`], also where the store holds another ledger.
    pub fn open(origin: &str, log: PublicKey, mut store: Box<dyn Store>) -> Result<Self, StoreError> {
        match View(store.as_ref()).origin()? {
            Some(other) if other != origin => {
                let why = format!("it holds the state of the ledger {other}, not of {origin}: name another file");
                return Err(StoreError::Failed(why));
            }
            Some(_) => {}
            // Durable with whatever is flushed first.
            None => Edit(store.as_mut()).origin(origin)?,
        }
        let summary = View(store.as_ref()).summary()?;
        Ok(Self { origin: origin.to_owned(), log, summary, store })
    }

    /// The store under it, for what is to become durable together with the state.
    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(crate) fn store_mut(&mut self) -> &mut dyn Store {
        self.store.as_mut()
    }

    fn view(&self) -> View<'_, dyn Store> {
        View(self.store.as_ref())
    }

    fn edit(&mut self) -> Edit<'_> {
        Edit(self.store.as_mut())
    }

    /// Makes all that was applied durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.write_summary()?;
        self.store.flush()
    }

    /// Writes what the fold knows of itself; the caller flushes.
    pub(crate) fn write_summary(&mut self) -> Result<(), StoreError> {
        let summary = self.summary;
        self.edit().summary(&summary)
    }

    /// What an entry would change. Its signatures are the caller's: [`Entry::verify`].
    ///
    /// # Errors
    /// The first rule that it breaks, or [`FoldError::Store`].
    pub fn check(&self, entry: &Entry) -> Result<Effect, FoldError> {
        if entry.origin() != self.origin {
            return Err(Refusal::OtherLog.into());
        }
        let issuer = entry.issuer();
        if let Some(place) = self.place_of(entry)? {
            return Err(in_its_place(entry, place).into());
        }
        Ok(match entry.body() {
            Body::Issue(issue) => self.check_issue(&issuer, issue)?,
            Body::Transfer(transfer) => self.check_transfer(&issuer, transfer)?,
            Body::Open(open) => self.check_open(&issuer, open)?,
            Body::TopUp(top_up) => self.check_top_up(&issuer, top_up)?,
            Body::Redeem { channel, voucher } => {
                Effect::Redeemed { amount: self.known_channel(channel)?.can_redeem(channel, voucher)? }
            }
            Body::RequestClose(channel) => {
                let ends = self.known_channel(channel)?.can_request(&issuer, self.summary.time)?;
                Effect::CloseRequested { ends }
            }
            Body::Close(channel) => {
                Effect::Closed { refund: self.known_channel(channel)?.can_close(&issuer, self.summary.time)? }
            }
            Body::Tick(time) => self.check_tick(&issuer, *time)?,
            Body::Record(_) => Effect::Recorded,
        })
    }

    /// Takes an entry as the next one of the log.
    ///
    /// # Errors
    /// The first rule that it breaks; then nothing has changed. [`FoldError::Store`].
    pub fn apply(&mut self, entry: &Entry) -> Result<Effect, FoldError> {
        let effect = self.check(entry)?;
        let place = Place { index: self.summary.size, id: entry.id() };
        self.write(entry, &effect, place)?;
        self.summary.size = place.index.checked_add(1).expect("a tree has at most 2^63 - 1 leaves");
        Ok(effect)
    }

    /// Writes what [`check`](Self::check) has allowed.
    fn write(&mut self, entry: &Entry, effect: &Effect, place: Place) -> Result<(), StoreError> {
        let issuer = entry.issuer();
        match entry.body() {
            Body::Issue(issue) => self.issue(&issuer, issue, place),
            Body::Transfer(transfer) => self.transfer(&issuer, transfer, place),
            Body::Open(open) => self.open_channel(issuer, open, place),
            Body::TopUp(top_up) => {
                self.edit().top_up(&top_up.channel, &top_up.reference, &place)?;
                self.change(&top_up.channel, effect)
            }
            Body::Redeem { channel, .. } | Body::RequestClose(channel) | Body::Close(channel) => {
                self.edit().place(&place)?;
                self.change(channel, effect)
            }
            Body::Tick(time) => {
                self.summary.time = Some(*time);
                self.edit().place(&place)
            }
            Body::Record(record) => {
                // A record is named by its entry as well as by its statement.
                self.edit().place(&place)?;
                if let Some(notice) = &record.notice {
                    let end = self.view().key_end(notice.key())?.hear(notice, place.id);
                    self.edit().key_end(notice.key(), &end)?;
                }
                self.edit().record(&record.statement, &Recorded { place, form: record.form })
            }
        }
    }

    fn check_issue(&self, issuer: &PublicKey, issue: &Issue) -> Result<Effect, FoldError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=limits::SYMBOL_MAX).contains(&issue.symbol.len()) || !issue.symbol.chars().all(allowed) {
            return Err(Refusal::BadSymbol.into());
        }
        if issue.amount.is_zero() {
            return Err(Refusal::ZeroAmount.into());
        }
        let asset = asset_id(&issue.symbol, issuer);
        self.issued(&asset)?.checked_add(issue.amount).ok_or(Refusal::SupplyOverflow)?;
        Ok(Effect::Issued { asset, amount: issue.amount })
    }

    fn can_take(&self, asset: &AssetId, account: &PublicKey, amount: Amount) -> Result<(), FoldError> {
        self.balance(asset, account)?.checked_sub(amount).ok_or(Refusal::InsufficientFunds)?;
        Ok(())
    }

    fn check_transfer(&self, payer: &PublicKey, transfer: &Transfer) -> Result<Effect, FoldError> {
        if transfer.amount.is_zero() {
            return Err(Refusal::ZeroAmount.into());
        }
        self.can_take(&transfer.asset, payer, transfer.amount)?;
        Ok(Effect::Transferred)
    }

    fn check_open(&self, payer: &PublicKey, open: &Open) -> Result<Effect, FoldError> {
        check_open(open)?;
        let channel = channel_id(&self.origin, payer, &open.reference);
        self.can_take(&open.asset, payer, open.deposit)?;
        Ok(Effect::Opened { channel })
    }

    fn check_top_up(&self, payer: &PublicKey, top_up: &TopUp) -> Result<Effect, FoldError> {
        let channel = self.known_channel(&top_up.channel)?;
        let deposit = channel.can_top_up(payer, top_up)?;
        self.can_take(&channel.asset, payer, top_up.amount)?;
        Ok(Effect::ToppedUp { deposit })
    }

    fn check_tick(&self, issuer: &PublicKey, time: Timestamp) -> Result<Effect, Refusal> {
        if *issuer != self.log {
            return Err(Refusal::NotTheLog);
        }
        if self.summary.time.is_some_and(|last| time <= last) {
            return Err(Refusal::TickBackward);
        }
        Ok(Effect::Ticked)
    }

    fn issue(&mut self, issuer: &PublicKey, issue: &Issue, place: Place) -> Result<(), StoreError> {
        let asset = asset_id(&issue.symbol, issuer);
        let issued = self.issued(&asset)?.checked_add(issue.amount).expect("check has looked at the supply");
        self.edit().issued(&asset, issued)?;
        self.edit().issue(&asset, &issue.reference, &place)?;
        self.give(&asset, &issue.to, issue.amount)
    }

    fn transfer(&mut self, payer: &PublicKey, transfer: &Transfer, place: Place) -> Result<(), StoreError> {
        let Transfer { to, asset, amount, reference } = transfer;
        self.take(asset, payer, *amount)?;
        self.give(asset, to, *amount)?;
        self.edit().transfer(payer, reference, &place)
    }

    fn open_channel(&mut self, payer: PublicKey, open: &Open, place: Place) -> Result<(), StoreError> {
        self.take(&open.asset, &payer, open.deposit)?;
        self.summary.alive = self.summary.alive.checked_add(1).expect("there are fewer channels than entries");
        let id = channel_id(&self.origin, &payer, &open.reference);
        self.edit().new_channel(&id, &Channel::open(payer, open, place))
    }

    /// What is given was issued and then taken, so it fits.
    fn give(&mut self, asset: &AssetId, account: &PublicKey, amount: Amount) -> Result<(), StoreError> {
        if amount.is_zero() {
            return Ok(());
        }
        let balance = self.balance(asset, account)?.checked_add(amount);
        let balance = balance.expect("no balance is above what was issued, which fits");
        self.edit().balance(asset, account, balance)
    }

    /// After [`can_take`](Self::can_take).
    fn take(&mut self, asset: &AssetId, account: &PublicKey, amount: Amount) -> Result<(), StoreError> {
        let rest = self.balance(asset, account)?.checked_sub(amount).expect("check has asked can_take");
        self.edit().balance(asset, account, rest)
    }

    /// Changes a channel, and the accounts at its ends, by an effect on it.
    fn change(&mut self, id: &ChannelId, effect: &Effect) -> Result<(), StoreError> {
        let mut channel = self.channel(id)?.expect("check has found the channel");
        match effect {
            Effect::ToppedUp { deposit } => {
                let more = deposit.checked_sub(channel.deposit).expect("a top-up adds to the deposit");
                self.take(&channel.asset, &channel.payer, more)?;
                channel.deposit = *deposit;
            }
            Effect::Redeemed { amount } => {
                self.give(&channel.asset, &channel.payee, *amount)?;
                let redeemed = channel.redeemed.checked_add(*amount);
                channel.redeemed = redeemed.expect("check keeps what is redeemed within the deposit");
            }
            Effect::CloseRequested { ends } => channel.state = ChannelState::Closing { ends: *ends },
            Effect::Closed { refund } => {
                self.give(&channel.asset, &channel.payer, *refund)?;
                channel.state = ChannelState::Closed;
                self.summary.alive = self.summary.alive.saturating_sub(1);
            }
            Effect::Issued { .. } | Effect::Transferred | Effect::Opened { .. } | Effect::Ticked | Effect::Recorded => {
            }
        }
        self.edit().channel(id, &channel)
    }

    fn known_channel(&self, id: &ChannelId) -> Result<Channel, FoldError> {
        Ok(self.channel(id)?.ok_or(Refusal::UnknownChannel)?)
    }

    /// Number of entries taken.
    pub const fn size(&self) -> u64 {
        self.summary.size
    }

    /// The last tick.
    pub const fn time(&self) -> Option<Timestamp> {
        self.summary.time
    }

    /// Number of channels that are not closed.
    pub const fn channels_alive(&self) -> u64 {
        self.summary.alive
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where an entry stands, or the one that has its place: the record of the same statement, the
    /// transfer with the same reference. Compare ids to tell.
    ///
    /// # Errors
    /// [`StoreError`], as of all look-ups below.
    pub fn place_of(&self, entry: &Entry) -> Result<Option<Place>, StoreError> {
        let (view, issuer) = (self.view(), entry.issuer());
        Ok(match entry.body() {
            Body::Issue(issue) => view.issue(&asset_id(&issue.symbol, &issuer), &issue.reference)?,
            Body::Transfer(transfer) => view.transfer(&issuer, &transfer.reference)?,
            Body::Open(open) => {
                let id = channel_id(&self.origin, &issuer, &open.reference);
                view.channel(&id)?.map(|channel| channel.opened)
            }
            Body::TopUp(top_up) => view.top_up(&top_up.channel, &top_up.reference)?,
            Body::Record(record) => view.record(&record.statement)?.map(|recorded| recorded.place),
            Body::Redeem { .. } | Body::RequestClose(_) | Body::Close(_) | Body::Tick(_) => view.place(&entry.id())?,
        })
    }

    /// Where a record stands, by the id of its entry.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record_entry(&self, entry: &StatementId) -> Result<Option<Place>, StoreError> {
        self.view().place(entry)
    }

    /// What an account has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn balance(&self, asset: &AssetId, account: &PublicKey) -> Result<Amount, StoreError> {
        self.view().balance(asset, account)
    }

    /// All that an account has. Balances lie by asset, so this reads those of every account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn balances_of(&self, account: &PublicKey) -> Result<Vec<(AssetId, Amount)>, StoreError> {
        self.view().balances_of(account)
    }

    /// How much of an asset there is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn issued(&self, asset: &AssetId) -> Result<Amount, StoreError> {
        self.view().issued(asset)
    }

    /// All assets, with what was issued of each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn all_issued(&self) -> Result<Vec<(AssetId, Amount)>, StoreError> {
        let mut all = Vec::new();
        self.view().amounts(ISSUED, |asset, amount| all.push((asset, amount)))?;
        Ok(all)
    }

    /// A channel, open or closed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn channel(&self, id: &ChannelId) -> Result<Option<Channel>, StoreError> {
        self.view().channel(id)
    }

    /// Where the transfer of a payer with this reference stands. Its id commits to what it says:
    /// compare it with [`Entry::id_of`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn transfer_of(&self, payer: &PublicKey, reference: &Bytes32) -> Result<Option<Place>, StoreError> {
        self.view().transfer(payer, reference)
    }

    /// Where a statement is recorded, in whichever form came first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record(&self, statement: &StatementId) -> Result<Option<Recorded>, StoreError> {
        self.view().record(statement)
    }

    /// What the log has heard a key say of itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn standing(&self, key: &PublicKey) -> Result<Standing, StoreError> {
        Ok(self.view().key_end(key)?.standing())
    }

    /// The channels of a payer, open or closed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn channels_of(&self, payer: &PublicKey) -> Result<Vec<(ChannelId, Channel)>, StoreError> {
        self.view().channels_of(payer)
    }

    /// The channels for a payee, open or closed. Channels lie by payer, so this reads all of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn channels_for(&self, payee: &PublicKey) -> Result<Vec<(ChannelId, Channel)>, StoreError> {
        self.view().channels_for(payee)
    }

    /// The whole state, as key and value: to compare two folds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn dump(&self) -> Result<Vec<Head>, StoreError> {
        let mut all = Vec::new();
        for prefix in crate::state::PREFIXES {
            self.view().each(prefix, |key, value| {
                all.push((key.to_owned(), value.to_vec()));
                Ok(())
            })?;
        }
        Ok(all)
    }

    /// Checks that all money is somewhere: per asset, balances and locked deposits make up what was
    /// issued. Gives the first asset of which that is not so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn conservation(&self) -> Result<Option<NotConserved>, StoreError> {
        let mut held: BTreeMap<AssetId, Option<Amount>> = BTreeMap::new();
        let mut add = |asset: AssetId, amount: Amount| {
            let sum = held.entry(asset).or_insert(Some(Amount::ZERO));
            *sum = sum.and_then(|sum| sum.checked_add(amount));
        };
        self.view().amounts(BALANCES, &mut add)?;
        self.view().each_channel(|channel| {
            let locked = channel.locked();
            add(channel.asset, locked);
        })?;
        let mut wrong = None;
        self.view().amounts(ISSUED, |asset, issued| {
            let held = held.remove(&asset).unwrap_or(Some(Amount::ZERO));
            if held != Some(issued) && wrong.is_none() {
                wrong = Some(NotConserved { asset, issued, held });
            }
        })?;
        let unissued = held.into_iter().find(|(_, sum)| *sum != Some(Amount::ZERO));
        Ok(wrong.or_else(|| unissued.map(|(asset, held)| NotConserved { asset, issued: Amount::ZERO, held })))
    }
}

/// Why an entry is not taken whose place has one already: the same, or another with its reference.
fn in_its_place(entry: &Entry, place: Place) -> Refusal {
    if place.id == entry.id() {
        return Refusal::KnownEntry(place);
    }
    match entry.body() {
        Body::Issue(_) => Refusal::IssueReferenceUsed,
        Body::Transfer(_) => Refusal::TransferReferenceUsed,
        Body::Open(_) => Refusal::ChannelExists,
        Body::TopUp(_) => Refusal::TopUpReferenceUsed,
        Body::Record(_) => Refusal::KnownRecord(place),
        // Their places are found by their own ids.
        Body::Redeem { .. } | Body::RequestClose(_) | Body::Close(_) | Body::Tick(_) => Refusal::KnownEntry(place),
    }
}
