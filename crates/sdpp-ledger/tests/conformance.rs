//! The shared suites, on calm and on stormy ledgers.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use sdpp_ledger::entry::{Issue, asset_id};
use sdpp_ledger::{
    Answer, Body, DirectPayee, DirectPayer, LedgerClient, LedgerRecords, LedgerService, LocalLedger, PayeeConfig,
    ServiceError, Submitted, VoucherPayee, VoucherPayer,
};
use sdpp_log::Hash;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::suite::{self, RailWorld, Step};
use sdpp_rail::{MemoryStore, Payee, Payer};

/// A ledger at the end of a bad line: every call may fail before or after it has worked.
struct Stormy {
    ledger: LocalLedger,
    dice: Mutex<Dice>,
}

impl Stormy {
    fn roll(&self, faces: u64) -> u64 {
        self.dice.lock().unwrap().below(faces)
    }

    fn read<'a, T>(&self, answer: Answer<'a, T>) -> Answer<'a, T>
    where
        T: Send + 'a,
    {
        if self.roll(8) == 0 { Box::pin(std::future::ready(Err(ServiceError::Unavailable))) } else { answer }
    }
}

impl LedgerService for Stormy {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        Box::pin(async move {
            match self.roll(8) {
                0 => Err(ServiceError::Unavailable),
                1 => Err(ServiceError::Unknown),
                2 => self.ledger.submit(entry).await.and(Err(ServiceError::Unknown)),
                _ => self.ledger.submit(entry).await,
            }
        })
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.read(self.ledger.checkpoint())
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.read(self.ledger.entries(from, max))
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.read(self.ledger.inclusion(index, size))
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.read(self.ledger.consistency(old, new))
    }
}

struct World {
    hand: Hand,
    ledger: LocalLedger,
    /// Sees the ledger without storm.
    auditor: Arc<LedgerClient>,
    tender: VoucherPayer,
    payer: Box<dyn Payer>,
    payee: Box<dyn Payee>,
    buyer: SigningKey,
    signer: SigningKey,
    count: AtomicU64,
}

fn gold() -> AssetId {
    asset_id("gold", &public(ISSUER))
}

impl World {
    fn new(channel: bool, storm: Option<u64>) -> Self {
        let hand = Hand::new();
        let ledger = ledger(&hand, MemoryStore::new());
        let inner = ledger.clone();
        Self::over(channel, hand, ledger, move |seed| match storm {
            Some(storm) => client(Stormy { ledger: inner.clone(), dice: Mutex::new(Dice(storm ^ seed)) }),
            None => client(inner.clone()),
        })
    }

    /// The same, with lines to the ledger of any kind.
    fn over(channel: bool, hand: Hand, ledger: LocalLedger, line: impl Fn(u64) -> Arc<LedgerClient>) -> Self {
        submit(&ledger, &issue(PAYER, 100_000, 1)).unwrap();
        let gold =
            Issue { symbol: "gold".into(), to: public(PAYER), amount: Amount::new(100_000), reference: reference(1) };
        submit(&ledger, &entry(ISSUER, Body::Issue(gold))).unwrap();
        let config =
            PayeeConfig { key: test_key(PAYEE), asset: coin(), grace_min_ms: 60_000, pay_by_ms: 5_000, url: None };
        let store = Box::new(MemoryStore::new());
        let (payer, payee): (Box<dyn Payer>, Box<dyn Payee>) = if channel {
            (Box::new(VoucherPayer::new(line(1), test_key(PAYER))), Box::new(VoucherPayee::new(line(2), config, store)))
        } else {
            (Box::new(DirectPayer::new(line(1), test_key(PAYER))), Box::new(DirectPayee::new(line(2), config, store)))
        };
        Self {
            hand,
            auditor: client(ledger.clone()),
            tender: VoucherPayer::new(client(ledger.clone()), test_key(PAYER)),
            ledger,
            payer,
            payee,
            buyer: test_key(PAYER),
            signer: test_key(SIGNER),
            count: AtomicU64::new(1000),
        }
    }

    fn audit(&self) {
        assert_eq!(block_on(self.auditor.fresh(|fold| fold.conservation())), Ok(None));
    }
}

impl RailWorld for World {
    fn payer(&self) -> &dyn Payer {
        self.payer.as_ref()
    }
    fn payee(&self) -> &dyn Payee {
        self.payee.as_ref()
    }
    fn buyer(&self) -> &SigningKey {
        &self.buyer
    }
    fn signer(&self) -> &SigningKey {
        &self.signer
    }
    fn fresh(&self) -> Bytes32 {
        reference(self.count.fetch_add(1, Ordering::SeqCst))
    }
    fn other_address(&self) -> String {
        public(STRANGER).multibase()
    }
    fn other_asset(&self) -> Option<AssetId> {
        Some(gold())
    }
    fn received(&self) -> Step<'_, Amount> {
        Box::pin(async { self.auditor.fresh(|fold| fold.balance(&coin(), &public(PAYEE))).await.unwrap() })
    }
    fn locked(&self) -> Step<'_, Amount> {
        Box::pin(async {
            let sum = self.auditor.fresh(|fold| {
                let payer = public(PAYER);
                let channels = fold.channels_of(&payer)?;
                Ok(channels.iter().map(|(_, channel)| channel.locked().get()).sum::<u128>())
            });
            Amount::new(sum.await.unwrap())
        })
    }
    fn finalise(&self) -> Step<'_, ()> {
        Box::pin(async {})
    }
    fn pass_ms(&self, ms: u64) -> Step<'_, ()> {
        Box::pin(async move {
            self.hand.pass(ms.max(1));
            self.ledger.tick().await.unwrap();
            self.tender.tend().await.unwrap();
        })
    }
}

#[test]
fn the_voucher_rail_conforms() {
    let world = World::new(true, None);
    block_on(suite::payer_payee(&world));
    world.audit();
}

#[test]
fn the_direct_rail_conforms() {
    let world = World::new(false, None);
    block_on(suite::payer_payee(&world));
    world.audit();
}

#[test]
fn both_rails_conform_in_a_storm() {
    for seed in 0..6 {
        for channel in [true, false] {
            let world = World::new(channel, Some(seed));
            block_on(suite::payer_payee(&world));
            world.audit();
        }
    }
}

#[test]
fn the_records_conform() {
    let ledger = fresh_ledger();
    let storm = |seed| client(Stormy { ledger: ledger.clone(), dice: Mutex::new(Dice(seed)) });
    let mut number = 0;
    for line in [client(ledger.clone()), storm(1), storm(2), storm(3)] {
        let records = LedgerRecords::new(line, test_key(PAYER));
        let fresh = || {
            number += 1;
            reference(number)
        };
        block_on(suite::records(&records, fresh, || std::future::ready(())));
    }
}

#[cfg(feature = "http")]
#[test]
fn both_rails_and_the_records_conform_over_http() {
    use sdpp_ledger::http::{ClientOptions, HttpLedger, ServerConfig, serve_ledger};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let serve = |ledger: &LocalLedger| {
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let _inside = runtime.enter();
        let config = ServerConfig { exempt: vec!["127.0.0.1".parse().unwrap()], ..ServerConfig::default() };
        serve_ledger(Arc::new(ledger.clone()), listener, config).unwrap()
    };
    let line = |url: &str| client(HttpLedger::new(url, ClientOptions::new(runtime.handle().clone())).unwrap());
    for channel in [true, false] {
        let hand = Hand::new();
        let ledger = ledger(&hand, MemoryStore::new());
        let server = serve(&ledger);
        let url = format!("http://{}", server.local_addr());
        let world = World::over(channel, hand, ledger, |_| line(&url));
        block_on(suite::payer_payee(&world));
        world.audit();
    }
    let ledger = fresh_ledger();
    let server = serve(&ledger);
    let records = LedgerRecords::new(line(&format!("http://{}", server.local_addr())), test_key(PAYER));
    let mut number = 0;
    let fresh = || {
        number += 1;
        reference(number)
    };
    block_on(suite::records(&records, fresh, || std::future::ready(())));
}
