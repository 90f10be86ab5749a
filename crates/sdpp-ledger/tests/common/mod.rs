//! What the tests of this crate share: keys, entries, a ledger with a clock that is moved by hand.
#![allow(dead_code, unreachable_pub, reason = "every test takes what it needs")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use sdpp_ledger::entry::{Issue, Open, TopUp, Transfer, asset_id, channel_id};
use sdpp_ledger::{
    Body, Channel, Clock, Effect, Entry, Fold, FoldError, LedgerClient, LedgerConfig, LedgerService, LocalLedger,
    Place, Refusal, ServiceError, WitnessService, log_key,
};
use sdpp_log::{Policy, VerifierKey};
use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Payment, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{MemoryStore, Store};

pub use sdpp_rail::suite::block_on;

pub const ORIGIN: &str = "ledger.example/test";
pub const LOG: u8 = 1;
pub const ISSUER: u8 = 2;
pub const PAYER: u8 = 3;
pub const PAYEE: u8 = 4;
pub const SIGNER: u8 = 5;
pub const STRANGER: u8 = 6;

/// The same keys as in the suites, made once.
pub fn test_key(seed: u8) -> SigningKey {
    static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| (0..=255).map(sdpp_rail::suite::test_key).collect());
    KEYS[usize::from(seed)].clone()
}

pub fn public(seed: u8) -> PublicKey {
    test_key(seed).public()
}

pub fn coin() -> AssetId {
    static COIN: LazyLock<AssetId> = LazyLock::new(|| asset_id("coin", &public(ISSUER)));
    COIN.clone()
}

pub fn reference(number: u64) -> Bytes32 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Bytes32(bytes)
}

pub fn entry(seed: u8, body: Body) -> Entry {
    Entry::sign(&test_key(seed), ORIGIN, body)
}

pub fn issue(to: u8, amount: u128, number: u64) -> Entry {
    let issue =
        Issue { symbol: "coin".into(), to: public(to), amount: Amount::new(amount), reference: reference(number) };
    entry(ISSUER, Body::Issue(issue))
}

pub fn transfer(from: u8, to: u8, amount: u128, number: u64) -> Entry {
    let transfer =
        Transfer { to: public(to), asset: coin(), amount: Amount::new(amount), reference: reference(number) };
    entry(from, Body::Transfer(transfer))
}

pub fn open_body(deposit: u128, grace_ms: u64, number: u64) -> Open {
    Open {
        payee: public(PAYEE),
        asset: coin(),
        deposit: Amount::new(deposit),
        signer: public(SIGNER),
        grace_ms,
        reference: reference(number),
    }
}

pub fn open(deposit: u128, grace_ms: u64, number: u64) -> Entry {
    entry(PAYER, Body::Open(open_body(deposit, grace_ms, number)))
}

pub fn channel(number: u64) -> ChannelId {
    channel_id(ORIGIN, &public(PAYER), &reference(number))
}

pub fn top_up(seed: u8, channel: ChannelId, amount: u128, number: u64) -> Entry {
    entry(seed, Body::TopUp(TopUp { channel, amount: Amount::new(amount), reference: reference(number) }))
}

pub fn payment(channel: Option<ChannelId>, total: u128) -> Payment {
    Payment {
        order_id: StatementId([7; 32]),
        prev: StatementId([7; 32]),
        invoice_id: StatementId([8; 32]),
        total: Amount::new(total),
        channel,
        proof: None,
    }
}

pub fn voucher(channel: ChannelId, total: u128) -> Signed<Payment> {
    Signed::sign(&test_key(SIGNER), payment(Some(channel), total))
}

pub fn redeem(channel: ChannelId, total: u128) -> Entry {
    entry(STRANGER, Body::Redeem { channel, voucher: voucher(channel, total) })
}

pub fn tick(ms: u64) -> Entry {
    entry(LOG, Body::Tick(Timestamp::from_ms(ms)))
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub struct Hand(Arc<AtomicU64>);

impl Hand {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000)))
    }

    pub fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let time = self.0.clone();
        Arc::new(move || Timestamp::from_ms(time.load(Ordering::SeqCst)))
    }
}

pub fn config(hand: &Hand, witnesses: Vec<Arc<dyn WitnessService>>) -> LedgerConfig {
    LedgerConfig { witnesses, ..LedgerConfig::new(ORIGIN, test_key(LOG), hand.clock()) }
}

pub fn ledger(hand: &Hand, store: impl Store + 'static) -> LocalLedger {
    LocalLedger::start(config(hand, Vec::new()), Box::new(store)).expect("starts")
}

pub fn fresh_ledger() -> LocalLedger {
    ledger(&Hand::new(), MemoryStore::new())
}

pub fn submit(ledger: &dyn LedgerService, entry: &Entry) -> Result<Place, ServiceError> {
    let submitted = block_on(ledger.submit(entry.bytes()))?;
    Ok(Place { index: submitted.index, id: submitted.id })
}

pub fn log_vkey() -> VerifierKey {
    log_key(ORIGIN, &test_key(LOG)).unwrap()
}

pub fn policy() -> Policy {
    Policy::new(log_vkey(), Vec::new(), 0).unwrap()
}

pub fn client(service: impl LedgerService + 'static) -> Arc<LedgerClient> {
    Arc::new(LedgerClient::new(Arc::new(service), policy(), None).unwrap())
}

pub fn balance(client: &LedgerClient, seed: u8) -> u128 {
    let account = public(seed);
    block_on(client.fresh(|fold| fold.balance(&coin(), &account))).unwrap().get()
}

/// A fold in memory always answers; what is left is the rule that was broken.
pub trait Sure {
    fn take(&mut self, entry: &Entry) -> Result<Effect, Refusal>;
    fn has(&self, seed: u8) -> Amount;
    fn known_channel(&self, id: &ChannelId) -> Option<Channel>;
    fn is_conserved(&self);
}

impl Sure for Fold {
    fn take(&mut self, entry: &Entry) -> Result<Effect, Refusal> {
        self.apply(entry).map_err(|error| match error {
            FoldError::Refused(refusal) => refusal,
            FoldError::Store(error) => panic!("{error}"),
        })
    }

    fn has(&self, seed: u8) -> Amount {
        self.balance(&coin(), &public(seed)).unwrap()
    }

    fn known_channel(&self, id: &ChannelId) -> Option<Channel> {
        self.channel(id).unwrap()
    }

    fn is_conserved(&self) {
        assert_eq!(self.conservation(), Ok(None));
    }
}

/// SplitMix64: small, fast and the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
