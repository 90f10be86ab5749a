//! The rails of a world: the embedded ledger with all that can happen to it, a chain, or a fake bank.

use std::sync::{Arc, Mutex, PoisonError};

use sdpp_ledger::entry::{Issue, asset_id};
use sdpp_ledger::{
    Answer, Body, DirectPayee, DirectPayer, Entry, InlineLedger, LedgerClient, LedgerConfig, LedgerRecords,
    LedgerService, PayeeConfig, ServiceError, Submitted, VoucherPayee, VoucherPayer, Witness, log_key,
};
use sdpp_log::{Hash, Policy};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::PayOption;
use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakePayer};
use sdpp_rail::{FlushFault, MemoryDisk, MemoryStore, Payee, Payer, RailError, Records};

use super::call::now_or_never;
use super::chain::Chain;
use super::ctx::Shared;
use super::keys::{ISSUER, LOG, WITNESS, key};

/// Grace of channels on the ledger: short, so that many runs fit into little time.
const GRACE_MS: u64 = 90_000;
const ORIGIN: &str = "ledger.example/sim";

/// How a world pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RailKind {
    Voucher,
    Direct,
    FakeVoucher,
    FakeDirect,
    /// In worlds of their own, beside those that a seed always meant.
    Evm,
}

impl RailKind {
    pub(crate) const ALL: [Self; 4] = [Self::Voucher, Self::Direct, Self::FakeVoucher, Self::FakeDirect];

    pub(crate) const fn has_ledger(self) -> bool {
        matches!(self, Self::Voucher | Self::Direct)
    }

    pub(crate) const fn has_channel(self) -> bool {
        matches!(self, Self::Voucher | Self::FakeVoucher | Self::Evm)
    }

    pub(crate) const fn point(self) -> &'static str {
        match self {
            Self::Voucher => "rail: ledger",
            Self::Direct => "rail: ledger-direct",
            Self::FakeVoucher => "rail: fake voucher",
            Self::FakeDirect => "rail: fake direct",
            Self::Evm => "rail: evm",
        }
    }
}

/// Where the ledger of a world runs, if it does.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    ledger: Mutex<Option<Arc<InlineLedger>>>,
}

impl Seat {
    fn get(&self) -> Result<Arc<InlineLedger>, ServiceError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(ServiceError::Unavailable)
    }
}

/// A ledger as its users reach it; `honest_wire`: over a way on which nothing is lost.
struct Way {
    seat: Arc<Seat>,
    honest_wire: bool,
}

impl Way {
    /// Asks what only looks.
    fn look<'a, T: Send + 'static>(
        &'a self,
        ask: impl FnOnce(&InlineLedger) -> Result<T, ServiceError>,
    ) -> Answer<'a, T> {
        let shared = &self.seat.shared;
        let lost = !self.honest_wire && shared.chance(shared.weather.ledger);
        if lost {
            shared.hit("ledger: refused");
        }
        let answer =
            if lost { Err(ServiceError::Unavailable) } else { self.seat.get().and_then(|ledger| ask(&ledger)) };
        Box::pin(std::future::ready(answer))
    }
}

impl LedgerService for Way {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        let shared = &self.seat.shared;
        let fate =
            if self.honest_wire || !shared.chance(shared.weather.ledger) { 0 } else { 1 + shared.dice().below(3) };
        let answer = match (fate, self.seat.get()) {
            (1, _) => {
                shared.hit("ledger: refused");
                Err(ServiceError::Unavailable)
            }
            (2, _) => {
                shared.hit("ledger: request lost");
                Err(ServiceError::Unknown)
            }
            (_, Err(error)) => Err(error),
            (fate, Ok(ledger)) => {
                let answer = now_or_never(ledger.submit(entry));
                if fate == 3 {
                    shared.hit("ledger: reply lost");
                    Err(ServiceError::Unknown)
                } else {
                    answer
                }
            }
        };
        Box::pin(std::future::ready(answer))
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.look(|ledger| now_or_never(ledger.checkpoint()))
    }

    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.look(|ledger| now_or_never(ledger.entries(from, max)))
    }

    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.look(|ledger| now_or_never(ledger.inclusion(index, size)))
    }

    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.look(|ledger| now_or_never(ledger.consistency(old, new)))
    }
}

/// A ledger with its disk, its witness and somebody who watches it all the time.
pub(crate) struct House {
    disk: MemoryDisk,
    config: LedgerConfig,
    seat: Arc<Seat>,
    policy: Policy,
    observer: LedgerClient,
    seen: u64,
}

impl House {
    fn new(shared: &Arc<Shared>, witnessed: bool) -> Self {
        let disk = MemoryDisk::new();
        let time = shared.clone();
        let mut config = LedgerConfig::new(ORIGIN, key(LOG), Arc::new(move || time.now()));
        let log = log_key(ORIGIN, &key(LOG)).expect("the origin names a log");
        let mut policy = Policy::new(log.clone(), Vec::new(), 0).expect("a log alone is a policy");
        if witnessed {
            shared.hit("ledger: witnessed");
            let time = shared.clone();
            let store = Box::new(MemoryStore::new());
            let witness = Witness::start(
                "witness.example",
                key(WITNESS),
                Arc::new(move || time.now()),
                store,
                std::slice::from_ref(&log),
            );
            let witness = Arc::new(witness.expect("an empty store remembers nothing wrong"));
            policy = Policy::new(log, vec![witness.key().clone()], 1).expect("one of one is a quorum");
            config.witnesses.push(witness);
        }
        let seat = Arc::new(Seat { shared: shared.clone(), ledger: Mutex::new(None) });
        let way = Arc::new(Way { seat: seat.clone(), honest_wire: true });
        let observer = LedgerClient::new(way, policy.clone(), None).expect("an empty store remembers nothing wrong");
        let house = Self { disk, config, seat, policy, observer, seen: 0 };
        house.start().expect("an empty ledger starts");
        house
    }

    fn put(&self, ledger: Option<Arc<InlineLedger>>) {
        *self.seat.ledger.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// Starts the ledger from what is durable.
    pub(crate) fn start(&self) -> Result<(), String> {
        self.put(None);
        let ledger = InlineLedger::open(&self.config, Box::new(self.disk.open()));
        let ledger = ledger.map_err(|error| format!("the ledger does not start again: {error}"))?;
        self.put(Some(Arc::new(ledger)));
        Ok(())
    }

    /// The power goes.
    pub(crate) fn crash(&self) {
        self.put(None);
        self.disk.crash();
    }

    /// The next write of the disk fails, in one way or another. Lies are left out: what a ledger has
    /// acknowledged and its disk forgets is a fork, and that has tests of its own.
    pub(crate) fn spoil(&self, how: u64) {
        self.disk.fail_next_flush(match how {
            0 => FlushFault::Fails,
            1 => FlushFault::FailsButDurable,
            _ => FlushFault::Full,
        });
    }

    /// No fault that was laid down comes any more.
    pub(crate) fn heal(&self) {
        self.disk.heal();
    }

    /// Whether the ledger takes nothing more until somebody has looked after it.
    pub(crate) fn tick(&self) {
        if let Ok(ledger) = self.seat.get() {
            ledger.tick_if_due();
        }
    }

    fn client(&self, store: Option<MemoryStore>) -> Arc<LedgerClient> {
        let way = Arc::new(Way { seat: self.seat.clone(), honest_wire: false });
        let store = store.map(|store| -> Box<dyn sdpp_rail::Store> { Box::new(store) });
        Arc::new(LedgerClient::new(way, self.policy.clone(), store).expect("the store is this world's own"))
    }

    /// Every head is an extension of the one before, every entry keeps the rules, and no money is made or
    /// lost: the observer is a client that believes nothing.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match now_or_never(self.observer.follow()) {
            Ok(size) => {
                if size == self.seen {
                    return Ok(());
                }
                self.seen = size;
                let conserved = now_or_never(self.observer.look(sdpp_ledger::Fold::conservation));
                match conserved {
                    Ok(None) => Ok(()),
                    Ok(Some(wrong)) => Err(format!("money is not conserved on the ledger: {wrong:?}")),
                    Err(error) => Err(format!("the observer cannot read: {error}")),
                }
            }
            Err(RailError::Unavailable) => Ok(()),
            Err(error) => Err(format!("the ledger contradicts itself: {error}, {:?}", self.observer.evidence())),
        }
    }
}

/// All the money of a world.
pub(crate) struct Money {
    pub(crate) kind: RailKind,
    pub(crate) house: Option<House>,
    pub(crate) chain: Option<Chain>,
    bank: FakeBank,
    asset: AssetId,
    issued: Amount,
    accounts: Vec<PublicKey>,
    pay_by_ms: u64,
    grace_ms: u64,
}

impl Money {
    pub(crate) fn new(shared: &Arc<Shared>, kind: RailKind, (witnessed, pay_by_ms): (bool, u64)) -> Self {
        shared.hit(kind.point());
        let issuer = key(ISSUER);
        let house = kind.has_ledger().then(|| House::new(shared, witnessed));
        Self {
            kind,
            house,
            chain: (kind == RailKind::Evm).then(|| Chain::new(shared)),
            bank: FakeBank::new(),
            asset: asset_id("coin", &issuer.public()),
            issued: Amount::ZERO,
            accounts: Vec::new(),
            pay_by_ms,
            grace_ms: match kind {
                RailKind::Voucher | RailKind::Evm => GRACE_MS,
                RailKind::FakeVoucher => FakePayee::GRACE_MIN_MS,
                RailKind::Direct | RailKind::FakeDirect => 0,
            },
        }
    }

    /// Gives an account its first money.
    pub(crate) fn fund(&mut self, account: &PublicKey, amount: Amount) {
        self.issued = self.issued.checked_add(amount).unwrap_or(Amount::MAX);
        self.accounts.push(*account);
        if let Some(chain) = &self.chain {
            return chain.fund(account, amount);
        }
        match &self.house {
            Some(house) => {
                let reference = Bytes32(*account.as_bytes());
                let issue = Issue { symbol: "coin".into(), to: *account, amount, reference };
                let entry = Entry::sign(&key(ISSUER), ORIGIN, Body::Issue(issue));
                let ledger = house.seat.get().expect("it was just started");
                now_or_never(ledger.submit(entry.bytes())).expect("an issue breaks no rule");
            }
            None => self.bank.fund(&account.multibase(), &self.asset, amount).expect("an empty account has room"),
        }
    }

    const fn mode(&self) -> FakeMode {
        if self.kind.has_channel() { FakeMode::Voucher } else { FakeMode::Direct }
    }

    /// A payer of a process that has just started, and where it records.
    pub(crate) fn payer(
        &self,
        key: &SigningKey,
        replica: Option<MemoryStore>,
    ) -> (Arc<dyn Payer>, Option<Arc<dyn Records>>) {
        if let Some(chain) = &self.chain {
            return (chain.payer(&key.public()), None);
        }
        let Some(house) = &self.house else {
            return (Arc::new(FakePayer::new(&self.bank, key.public().multibase(), self.mode())), None);
        };
        let client = house.client(replica);
        let records = Arc::new(LedgerRecords::new(client.clone(), key.clone()));
        match self.kind {
            RailKind::Direct => (Arc::new(DirectPayer::new(client, key.clone())), Some(records)),
            RailKind::Voucher | RailKind::FakeVoucher | RailKind::FakeDirect | RailKind::Evm => {
                (Arc::new(VoucherPayer::new(client, key.clone())), Some(records))
            }
        }
    }

    /// A payee of a process that has just started; its book is on the disk that is given.
    pub(crate) fn payee(
        &self,
        key: &SigningKey,
        (book, replica): (MemoryStore, Option<MemoryStore>),
    ) -> (Arc<dyn Payee>, Option<Arc<dyn Records>>) {
        if let Some(chain) = &self.chain {
            return (chain.payee(&key.public(), book, (self.grace_ms, self.pay_by_ms)), None);
        }
        let Some(house) = &self.house else {
            let address = key.public().multibase();
            return (Arc::new(FakePayee::new(&self.bank, address, self.asset.clone(), self.mode())), None);
        };
        let client = house.client(replica);
        let records = Arc::new(LedgerRecords::new(client.clone(), key.clone()));
        let config = PayeeConfig {
            key: key.clone(),
            asset: self.asset.clone(),
            grace_min_ms: self.grace_ms,
            pay_by_ms: self.pay_by_ms,
            url: None,
        };
        match self.kind {
            RailKind::Direct => (Arc::new(DirectPayee::new(client, config, Box::new(book))), Some(records)),
            RailKind::Voucher | RailKind::FakeVoucher | RailKind::FakeDirect | RailKind::Evm => {
                (Arc::new(VoucherPayee::new(client, config, Box::new(book))), Some(records))
            }
        }
    }

    /// The option for the seller's menu.
    pub(crate) fn option(payee: &Arc<dyn Payee>) -> PayOption {
        PayOption { id: 1, ..payee.option() }
    }

    /// What an account holds, without what is locked.
    pub(crate) fn balance(&self, account: &PublicKey) -> Amount {
        if let Some(chain) = &self.chain {
            return chain.balance(account);
        }
        match &self.house {
            Some(house) => {
                let balance = house.observer.fresh(|fold| fold.balance(&self.asset, account));
                now_or_never(balance).unwrap_or(Amount::ZERO)
            }
            None => self.bank.balance(&account.multibase(), &self.asset),
        }
    }

    /// What is locked in channels.
    pub(crate) fn locked(&self, account: &PublicKey) -> Amount {
        if let Some(chain) = &self.chain {
            return chain.locked(account);
        }
        match &self.house {
            Some(house) => {
                let channels = now_or_never(house.observer.fresh(|fold| fold.channels_of(account))).unwrap_or_default();
                let locked = channels.iter().map(|(_, channel)| channel.locked());
                locked.fold(Amount::ZERO, |sum, one| sum.checked_add(one).unwrap_or(Amount::MAX))
            }
            None => self.bank.locked(&account.multibase(), &self.asset),
        }
    }

    /// The grace of all channels ends, at once where the bank is a fake; says how long it takes.
    pub(crate) fn pass_grace(&self) -> u64 {
        if self.house.is_none() && self.chain.is_none() {
            self.bank.advance_ms(self.grace_ms);
            return 0;
        }
        self.grace_ms
    }

    pub(crate) fn be_late(&self, looks: u32) {
        self.bank.set_lateness(looks);
    }

    /// What was not final is final later; says whether there was something.
    pub(crate) fn reorganise(&self, looks: u32) -> bool {
        self.bank.reorganise(looks) > 0
    }

    /// Nothing is made and nothing lost.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        if let Some(chain) = &mut self.chain {
            let (has_moved, supply) = (chain.has_moved(), chain.supply());
            if has_moved && (supply, self.all()) != (self.issued, self.issued) {
                return Err(format!(
                    "{} were issued, {supply} are there, {} of them accounted for",
                    self.issued,
                    self.all()
                ));
            }
            return Ok(());
        }
        match &mut self.house {
            Some(house) => house.check(),
            None if self.bank.supply(&self.asset) == self.issued => Ok(()),
            None => Err(format!("{} were issued, {} are there", self.issued, self.bank.supply(&self.asset))),
        }
    }

    /// All money of everybody, locked or not, as at the start.
    pub(crate) fn all(&self) -> Amount {
        let each = |account: &PublicKey| self.balance(account).checked_add(self.locked(account)).unwrap_or(Amount::MAX);
        self.accounts.iter().map(each).fold(Amount::ZERO, |sum, one| sum.checked_add(one).unwrap_or(Amount::MAX))
    }

    pub(crate) const fn issued(&self) -> Amount {
        self.issued
    }
}
