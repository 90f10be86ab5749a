//! Gas that somebody else pays, on the fake network.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use iota_sdk_types::{SenderSignedTransaction, TransactionDigest};
use kit::*;
use sdpp_iota::fake::{FakeNetwork, FakeStation, Fate, Way};
use sdpp_iota::{
    Answer, CallError, Deed, Gas, GasStation, IotaPayer, IotaRecords, Lasting, NotDone, Purse, Receipt, Reserved,
    Spent, Sponsored, Window, build, matched, verify,
};
use sdpp_proto::codec::Bytes32;
use sdpp_rail::suite::{self, Sale};
use sdpp_rail::{MemoryDisk, Outcome, Payee as _, Payer as _, RailError};

const STATION: u8 = 9;

fn honest() -> Way {
    Arc::new(|_| Fate::Answered)
}

fn window(number: u8) -> Deed {
    Deed::Pay(Window { payee: address(PAYEE), amount: 1_000, record: vec![number] })
}

/// A network, and a station that has coins there.
fn founded() -> (Arc<FakeNetwork>, Arc<FakeStation>) {
    let network = FakeNetwork::new(CHAIN);
    let station = FakeStation::new(&network, [STATION; 32]);
    (0..8).for_each(|_| network.grant(station.address(), FUNDS));
    (network, station)
}

fn sponsored(network: &Arc<FakeNetwork>, station: &Arc<FakeStation>, disk: &MemoryDisk) -> Arc<Purse> {
    let purse = Purse::open(nodes(network, honest()), wallet(PAYER), Box::new(disk.open())).unwrap();
    Arc::new(purse.sponsored_by(station.clone()))
}

#[tokio::test(start_paused = true)]
async fn whoever_has_no_more_than_the_price_pays_it() {
    let (network, station) = founded();
    // Three small coins, which are put together.
    for amount in [400, 500, 100] {
        network.grant(address(PAYER), amount);
    }
    let purse = sponsored(&network, &station, &MemoryDisk::new());
    let Ok(Spent::Done(digest)) = purse.spend("one", &window(1)).await else { panic!("it is not paid") };
    assert_eq!((network.balance(address(PAYER)), network.balance(address(PAYEE))), (0, 1_000));
    assert!(network.balance(station.address()) < 8 * FUNDS && network.is_conserved());
    let receipt = purse.receipt(&digest).await.unwrap().unwrap();
    assert_eq!(verify(&receipt, address(PAYER), &window(1)), Ok(digest));
    // The station sent nothing.
    assert_eq!(verify(&receipt, station.address(), &window(1)), Err(NotDone::Payer));
}

#[tokio::test(start_paused = true)]
async fn the_rail_conforms_where_a_station_pays_the_gas() {
    let (network, station) = founded();
    let mut world = World::over(network.clone(), 3, [nodes(&network, honest()), nodes(&network, honest())]);
    world.payer = IotaPayer::new(sponsored(&network, &station, &MemoryDisk::new()), 1);
    suite::payer_payee(&world).await;
    world.is_sound();
    let left = network.balance(address(PAYER)) + network.balance(address(PAYEE));
    assert!(FUNDS - left < 1_000, "no fee was the payer's: the suite pays some nanos to others");
    let sale = Sale::start(&world).await;
    let bill = sale.bill(0, 10);
    let payment = sale.payment(&bill, &world.payer.pay(&bill).await.unwrap());
    assert_eq!(world.payee.settle(&bill, &payment).await, Ok(Outcome::Settled));
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_records_and_divides() {
    let (network, station) = founded();
    let disk = MemoryDisk::new();
    for lasting in [Lasting::Transaction, Lasting::Object] {
        let records = IotaRecords::new(sponsored(&network, &station, &disk), lasting);
        let mut count = u64::from(lasting == Lasting::Object) << 32;
        let fresh = || {
            count += 1;
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&count.to_be_bytes());
            Bytes32(bytes)
        };
        suite::records(&records, fresh, || std::future::ready(())).await;
    }
    assert_eq!((network.balance(address(PAYER)), network.equivocations()), (0, 0));
    network.grant(address(PAYER), 80_000);
    let purse = sponsored(&network, &station, &disk);
    purse.prepare(8, 1_000).await.unwrap();
    assert_eq!((network.coins(address(PAYER)), network.balance(address(PAYER))), (8, 80_000));
    for number in 0..8 {
        assert!(matches!(purse.spend(&number.to_string(), &window(number)).await, Ok(Spent::Done(_))));
    }
    assert_eq!(network.balance(address(PAYER)), 72_000);
    assert!(network.is_conserved());
}

/// A station with which something goes wrong.
struct Bad {
    station: Arc<FakeStation>,
    how: AtomicU8,
}

const SILENT: u8 = 1;
const REQUEST_LOST: u8 = 2;
const ANSWER_LOST: u8 = 3;

impl GasStation for Bad {
    fn name(&self) -> String {
        "a bad station".into()
    }

    fn reserve(&self, budget: u64) -> Answer<'_, Reserved> {
        if self.how.load(Ordering::SeqCst) == SILENT {
            return Box::pin(std::future::ready(Err(CallError::Unreachable)));
        }
        self.station.reserve(budget)
    }

    fn execute<'a>(&'a self, reservation: u64, signed: &'a SenderSignedTransaction) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.how.load(Ordering::SeqCst) {
                SILENT => Err(CallError::Unreachable),
                REQUEST_LOST => Err(CallError::Lost),
                ANSWER_LOST => self.station.execute(reservation, signed).await.and(Err(CallError::Lost)),
                _ => self.station.execute(reservation, signed).await,
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_station_that_does_not_pay_is_done_without() {
    let (network, station) = founded();
    network.grant(address(PAYER), FUNDS);
    let bad = Arc::new(Bad { station, how: AtomicU8::new(SILENT) });
    let purse = Purse::open(nodes(&network, honest()), wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
    let purse = purse.sponsored_by(bad.clone());
    assert!(matches!(purse.spend("one", &window(1)).await, Ok(Spent::Done(_))));
    assert_eq!(network.balance(bad.station.address()), 8 * FUNDS);
    assert!(network.balance(address(PAYER)) < FUNDS - 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_a_station_does_with_what_it_was_sent_is_looked_up_and_never_done_twice() {
    for how in [REQUEST_LOST, ANSWER_LOST] {
        let (network, station) = founded();
        network.grant(address(PAYER), FUNDS);
        let (bad, disk) = (Arc::new(Bad { station: station.clone(), how: AtomicU8::new(how) }), MemoryDisk::new());
        let purse = Purse::open(nodes(&network, honest()), wallet(PAYER), Box::new(disk.open())).unwrap();
        let said = purse.sponsored_by(bad.clone()).spend("one", &window(1)).await;
        let is_done = how == ANSWER_LOST;
        assert_eq!(said.is_ok(), is_done, "{how}: what is there is found");
        bad.how.store(0, Ordering::SeqCst);
        // Another program goes on, which has no station, and one that has it again.
        disk.crash();
        let alone = Purse::open(nodes(&network, honest()), wallet(PAYER), Box::new(disk.open())).unwrap();
        assert_eq!(alone.look("one").await.is_ok(), is_done);
        drop(alone);
        disk.crash();
        let purse = sponsored(&network, &station, &disk);
        assert!(matches!(purse.look("one").await, Ok(Some(Spent::Done(_)))), "{how}");
        assert_eq!((network.executed(), network.equivocations(), network.balance(address(PAYEE))), (1, 0, 1_000));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_station_never_does_is_void_with_its_epoch_and_paid_with_the_same_coins() {
    let (network, station) = founded();
    network.grant(address(PAYER), FUNDS);
    let bad = Arc::new(Bad { station: station.clone(), how: AtomicU8::new(REQUEST_LOST) });
    let purse = Purse::open(nodes(&network, honest()), wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
    let purse = purse.sponsored_by(bad.clone());
    for _ in 0..3 {
        assert_eq!(purse.spend("one", &window(1)).await, Err(RailError::Unknown));
    }
    network.next_epoch(1_000);
    assert_eq!(purse.look("one").await, Ok(Some(Spent::Void)));
    bad.how.store(0, Ordering::SeqCst);
    assert!(matches!(purse.spend("one", &window(1)).await, Ok(Spent::Done(_))));
    assert_eq!((network.executed(), network.balance(address(PAYEE)), network.equivocations()), (1, 1_000, 0));
}

#[test]
fn a_sponsored_transaction_is_matched_strictly_and_wants_both_signatures() {
    let coin = |byte: u8| format!("0x{}", format!("{byte:02x}").repeat(32)).parse().unwrap();
    let reference = |byte| iota_sdk_types::ObjectReference::new(coin(byte), 3u64.into(), [byte; 32].into());
    let sponsor = Some(Sponsored { by: address(STATION), money: vec![reference(1), reference(2)] });
    let gas = Gas { coins: vec![reference(3)], sponsor, price: 1_000, budget: 5_000_000, expires: Some(7) };
    for deed in [window(1), Deed::Send { to: address(PAYEE), amount: 5 }, Deed::Divide(3)] {
        let built = build(address(PAYER), &deed, &gas).unwrap();
        assert_eq!(matched(&built), Ok((address(PAYER), deed, gas.clone())));
    }
    let without = Gas { sponsor: Some(Sponsored { by: address(STATION), money: Vec::new() }), ..gas.clone() };
    let record = build(address(PAYER), &Deed::Record(vec![1]), &without).unwrap();
    assert_eq!(matched(&record).map(|(_, deed, gas)| (deed, gas)), Ok((Deed::Record(vec![1]), without.clone())));
    assert!(build(address(PAYER), &window(1), &without).is_err(), "money comes from somewhere");
    // Money that a record does not use would be somebody's coin for nothing.
    let idle = build(address(PAYER), &Deed::Record(vec![1]), &gas).unwrap();
    assert!(matched(&idle).is_ok_and(|(_, _, gas)| gas.own().is_empty()), "it is not in the transaction");

    let transaction = build(address(PAYER), &window(1), &gas).unwrap();
    let sign = |seed| wallet(seed).sign(&transaction).unwrap().signed_transaction().signatures()[0].clone();
    let digest: TransactionDigest = transaction.digest();
    let said = |signers: &[u8]| {
        let signatures = signers.iter().map(|seed| sign(*seed)).collect();
        let signed = SenderSignedTransaction::new(transaction.clone(), signatures);
        let receipt = Receipt { transaction: bcs::to_bytes(&signed).unwrap(), effects: vec![0], checkpoint: Some(1) };
        verify(&receipt, address(PAYER), &window(1)).map(|found| found == digest)
    };
    // Both are there: only then are the effects looked at, which are none here.
    for good in [[PAYER, STATION], [STATION, PAYER]] {
        assert_eq!(said(&good), Err(NotDone::Malformed));
    }
    for bad in [&[PAYER][..], &[STATION], &[PAYER, STATION, STATION], &[]] {
        assert_eq!(said(bad), Err(NotDone::Signatures), "{bad:?}");
    }
    for bad in [[PAYER, PAYER], [STATION, STATION], [PAYER, PAYEE], [PAYEE, STATION]] {
        assert_eq!(said(&bad), Err(NotDone::Signature), "{bad:?}");
    }
}
