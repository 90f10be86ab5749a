//! What the shared suite does not ask of these rails.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use sdpp_ledger::entry::TopUp;
use sdpp_ledger::{
    Answer, Body, DirectPayee, DirectPayer, Entry, LedgerClient, LedgerService, LedgerTerms, LocalLedger, PayeeConfig,
    RAIL_DIRECT, RAIL_VOUCHER, Refusal, ServiceError, Submitted, TermsError, VoucherPayee, VoucherPayer, log_key,
    witness_key,
};
use sdpp_log::{Hash, Policy};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Form, Order, PayOption, Payment, RecordPolicy, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{
    Bill, CloseStatus, FlushFault, MemoryDisk, MemoryStore, OpenRequest, Outcome, Outstanding, Payee, Payer,
    PaymentStatus, Proof, RailError,
};

const GRACE_MS: u64 = 60_000;

fn payee_config() -> PayeeConfig {
    PayeeConfig { key: test_key(PAYEE), asset: coin(), grace_min_ms: GRACE_MS, pay_by_ms: 5000, url: None }
}

/// A ledger on which the payer has 1000 coins.
fn funded(hand: &Hand) -> LocalLedger {
    let ledger = ledger(hand, MemoryStore::new());
    submit(&ledger, &issue(PAYER, 1000, 1)).unwrap();
    ledger
}

fn payee(ledger: &LocalLedger, disk: &MemoryDisk) -> VoucherPayee {
    VoucherPayee::new(client(ledger.clone()), payee_config(), Box::new(disk.open()))
}

fn request(option: PayOption, number: u64) -> OpenRequest {
    OpenRequest {
        reference: reference(number),
        option,
        limit: Amount::new(100),
        signer: public(SIGNER),
        seller: public(SIGNER),
    }
}

fn order(buyer: u8, channel: Option<ChannelId>) -> Signed<Order> {
    let order = Order {
        seller: public(PAYEE),
        menu_id: StatementId([9; 32]),
        product: 1,
        option: 0,
        quantity: None,
        windows: 2,
        exposure_max: Amount::new(10),
        limit: Amount::new(100),
        channel,
        record: RecordPolicy { form: Form::Full, every: 1 },
        invoice_addr: None,
        sign_pk: public(SIGNER),
        nonce: reference(77),
        until: Timestamp::NEVER,
    };
    Signed::sign(&test_key(buyer), order)
}

fn bill(order: &Signed<Order>, number: u64, before: u128, total: u128) -> Bill {
    Bill {
        order: order.id(),
        invoice: StatementId(reference(number).0),
        payee: public(PAYEE).multibase(),
        asset: coin(),
        total: Amount::new(total),
        before: Amount::new(before),
        messages: Some(number),
        channel: order.channel,
    }
}

fn answer(bill: &Bill, proof: Proof) -> Signed<Payment> {
    let payment = Payment {
        order_id: bill.order,
        prev: bill.order,
        invoice_id: bill.invoice,
        total: bill.total,
        channel: bill.channel,
        proof: if let Proof::Bytes(bytes) = proof { Some(bytes) } else { None },
    };
    Signed::sign(&test_key(SIGNER), payment)
}

fn declined<T: std::fmt::Debug>(answer: Result<T, RailError>) -> &'static str {
    match answer {
        Err(RailError::Declined(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_voucher_that_one_for_more_went_before_is_settled_after_a_crash() {
    let (hand, disk) = (Hand::new(), MemoryDisk::new());
    let ledger = funded(&hand);
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let before = payee(&ledger, &disk);
    let funding = block_on(payer.open(&request(before.option(), 1))).unwrap();
    let order = order(PAYER, funding.channel);
    block_on(before.admit(&order)).unwrap();
    let bills = [bill(&order, 1, 0, 10), bill(&order, 2, 10, 20), bill(&order, 3, 20, 30)];
    // Two vouchers waited: the last one alone was settled, and the seller died before it wrote any of them down.
    for bill in [&bills[0], &bills[2]] {
        assert_eq!(block_on(before.settle(bill, &answer(bill, Proof::Voucher))), Ok(Outcome::Settled));
    }
    drop(before);
    disk.crash();
    let after = payee(&ledger, &disk);
    for bill in &bills {
        assert_eq!(block_on(after.settle(bill, &answer(bill, Proof::Voucher))), Ok(Outcome::Settled));
    }
    // Another word about an invoice that is settled is none, as ever, nor is one of somebody else.
    let other = bill(&order, 1, 0, 11);
    declined(block_on(after.settle(&other, &answer(&other, Proof::Voucher))));
    let mut forged = answer(&bills[1], Proof::Voucher).body().clone();
    forged.total = Amount::new(5);
    declined(block_on(after.settle(&bills[1], &Signed::sign(&test_key(200), forged))));
    assert_eq!(block_on(after.redeem(&order.id(), true)).unwrap().total, Amount::new(30));
}

#[test]
fn a_payee_forgets_nothing_in_a_crash() {
    let (hand, disk) = (Hand::new(), MemoryDisk::new());
    let ledger = funded(&hand);
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let before = payee(&ledger, &disk);
    let funding = block_on(payer.open(&request(before.option(), 1))).unwrap();
    let order_1 = order(PAYER, funding.channel);
    block_on(before.admit(&order_1)).unwrap();
    let bills = [bill(&order_1, 1, 0, 10), bill(&order_1, 2, 10, 30)];
    for bill in &bills {
        assert_eq!(block_on(before.settle(bill, &answer(bill, Proof::Voucher))), Ok(Outcome::Settled));
    }
    // What cannot be made durable is not credited, and nothing after it.
    disk.fail_next_flush(FlushFault::Fails);
    let lost = bill(&order_1, 3, 30, 50);
    for _ in 0..2 {
        let answer = block_on(before.settle(&lost, &answer(&lost, Proof::Voucher)));
        assert_eq!(answer, Err(RailError::Unavailable));
    }

    let after = payee(&ledger, &disk);
    let known = Outstanding { order: order_1.id(), amount: Amount::new(30), closing: false };
    assert_eq!(block_on(after.outstanding()), Ok(vec![known]), "what is no money yet is known after a restart");
    for bill in &bills {
        let again = block_on(after.settle(bill, &answer(bill, Proof::Voucher)));
        assert_eq!(again, Ok(Outcome::Settled), "settled before, settled now");
    }
    let lower = bill(&order_1, 4, 0, 20);
    assert_eq!(block_on(after.settle(&lower, &answer(&lower, Proof::Voucher))), Ok(Outcome::Settled), "it is covered");
    let mut second = order_1.body().clone();
    second.nonce = reference(78);
    declined(block_on(after.admit(&Signed::sign(&test_key(PAYER), second))));
    assert_eq!(block_on(after.redeem(&order_1.id(), true)).unwrap().total, Amount::new(30));
    assert_eq!(block_on(after.outstanding()), Ok(Vec::new()));
    let auditor = client(ledger);
    assert_eq!((balance(&auditor, PAYER), balance(&auditor, PAYEE)), (970, 30), "and the rest went back");
}

#[test]
fn a_voucher_that_the_ledger_would_refuse_is_refused() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let payee = payee(&ledger, &MemoryDisk::new());
    let order = order(PAYER, block_on(payer.open(&request(payee.option(), 1))).unwrap().channel);
    block_on(payee.admit(&order)).unwrap();
    let first = bill(&order, 1, 0, 10);
    declined(block_on(payee.settle(&first, &answer(&first, Proof::Bytes(vec![1])))));
    let good = answer(&first, Proof::Voucher);
    block_on(payee.settle(&first, &good)).unwrap();
    // The same bill by another payment: it would be a second word about one invoice.
    let second = Payment { prev: StatementId([1; 32]), ..good.body().clone() };
    declined(block_on(payee.settle(&first, &Signed::sign(&test_key(SIGNER), second))));
}

#[test]
fn whoever_asks_what_was_opened_locks_nothing() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let request = request(payee(&ledger, &MemoryDisk::new()).option(), 1);
    let has = || balance(&client(ledger.clone()), PAYER);
    let before = has();
    assert_eq!((block_on(payer.opened(&request)), has()), (Ok(None), before));
    let funding = block_on(payer.open(&request)).unwrap();
    assert_eq!(block_on(payer.opened(&request)), Ok(Some(funding)));
    assert!(has() < before);
}

#[test]
fn a_stranger_cannot_lock_the_channel_of_a_buyer() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let payee = payee(&ledger, &MemoryDisk::new());
    let funding = block_on(payer.open(&request(payee.option(), 1))).unwrap();
    declined(block_on(payee.admit(&order(STRANGER, funding.channel))));
    block_on(payee.admit(&order(PAYER, funding.channel))).expect("the buyer itself");
}

#[test]
fn a_channel_that_was_used_is_not_admitted_by_a_payee_that_forgot() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let funding = block_on(payer.open(&request(payee(&ledger, &MemoryDisk::new()).option(), 1))).unwrap();
    submit(&ledger, &redeem(funding.channel.unwrap(), 5)).unwrap();
    declined(block_on(payee(&ledger, &MemoryDisk::new()).admit(&order(PAYER, funding.channel))));
}

#[test]
fn a_top_up_carries_on() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let payee = payee(&ledger, &MemoryDisk::new());
    let channel = block_on(payer.open(&request(payee.option(), 1))).unwrap().channel;
    let order = order(PAYER, channel);
    block_on(payee.admit(&order)).unwrap();
    let large = bill(&order, 1, 0, 150);
    declined(block_on(payer.pay(&large)));
    declined(block_on(payee.settle(&large, &answer(&large, Proof::Voucher))));
    let top_up = TopUp { channel: channel.unwrap(), amount: Amount::new(60), reference: reference(2) };
    for _ in 0..2 {
        block_on(payer.top_up(top_up.clone())).unwrap();
    }
    assert_eq!(block_on(payer.pay(&large)), Ok(Proof::Voucher));
    assert_eq!(block_on(payee.settle(&large, &answer(&large, Proof::Voucher))), Ok(Outcome::Settled));
    assert_eq!(block_on(payee.redeem(&order.id(), true)).unwrap().total, Amount::new(150));
    assert_eq!(balance(&client(ledger), PAYER), 850, "topped up once");
}

#[test]
fn a_payer_looks_again_where_the_deposit_it_knows_does_not_cover() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let channel = block_on(payer.open(&request(payee(&ledger, &MemoryDisk::new()).option(), 1))).unwrap().channel;
    submit(&ledger, &top_up(PAYER, channel.unwrap(), 60, 2)).unwrap();
    assert_eq!(block_on(payer.pay(&bill(&order(PAYER, channel), 1, 0, 150))), Ok(Proof::Voucher));
}

#[test]
fn a_payer_signs_for_its_own_channel_its_payee_and_its_asset_only() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let funding = block_on(payer.open(&request(payee(&ledger, &MemoryDisk::new()).option(), 1))).unwrap();
    let bill = bill(&order(PAYER, funding.channel), 1, 10, 10);
    let stranger = VoucherPayer::new(client(ledger), test_key(STRANGER));
    declined(block_on(stranger.pay(&bill)));
    declined(block_on(payer.pay(&Bill { payee: public(STRANGER).multibase(), ..bill.clone() })));
    declined(block_on(payer.pay(&Bill { asset: AssetId::new("other"), ..bill.clone() })));
    assert_eq!(block_on(payer.pay(&bill)), Ok(Proof::Voucher), "also where nothing new is due");
}

#[test]
fn a_payer_that_gives_up_while_the_payee_closes_has_its_rest() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let funding = block_on(payer.open(&request(payee(&ledger, &MemoryDisk::new()).option(), 1))).unwrap();
    let stranger = VoucherPayer::new(client(ledger.clone()), test_key(STRANGER));
    declined(block_on(stranger.close(&funding)));
    let by = |body: &Body| match body {
        Body::RequestClose(id) => entry(PAYEE, Body::Close(*id)),
        other => panic!("{other:?}"),
    };
    let overtaken =
        VoucherPayer::new(client(Lossy(ledger.clone(), First::Overtaken(by), false.into())), test_key(PAYER));
    assert_eq!(block_on(overtaken.close(&funding)), Ok(CloseStatus::Closed));
    assert_eq!(balance(&client(ledger), PAYER), 1000);
}

#[test]
fn a_channel_without_a_grace_period_is_closed_at_once() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let option = PayOption { grace_min_ms: 0, ..payee(&ledger, &MemoryDisk::new()).option() };
    let funding = block_on(payer.open(&request(option, 1))).unwrap();
    block_on(payer.close(&funding)).unwrap();
    assert_eq!(balance(&client(ledger), PAYER), 1000);
}

#[test]
fn a_payer_signs_nothing_new_once_it_gave_up() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let funding = block_on(payer.open(&request(payee(&ledger, &MemoryDisk::new()).option(), 1))).unwrap();
    let order = order(PAYER, funding.channel);
    let first = bill(&order, 1, 0, 10);
    block_on(payer.pay(&first)).unwrap();
    block_on(payer.close(&funding)).unwrap();
    assert_eq!(block_on(payer.pay(&first)), Ok(Proof::Voucher), "what is signed is signed");
    declined(block_on(payer.pay(&bill(&order, 2, 10, 20))));
    let reused = OpenRequest { limit: Amount::new(101), ..request(payee(&ledger, &MemoryDisk::new()).option(), 1) };
    declined(block_on(payer.open(&reused)));
}

#[test]
fn a_payer_that_finishes_late_still_gets_its_rest() {
    let hand = Hand::new();
    let ledger = funded(&hand);
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let funding = block_on(payer.open(&request(payee(&ledger, &MemoryDisk::new()).option(), 1))).unwrap();
    block_on(payer.close(&funding)).unwrap();
    assert_eq!(block_on(payer.tend()), Ok(1), "the grace period runs");
    hand.pass(GRACE_MS);
    // Nobody has ticked: the ledger looks at its clock before it turns the payer away.
    assert_eq!(block_on(payer.tend()), Ok(0));
    assert_eq!(balance(&client(ledger), PAYER), 1000);
}

#[test]
fn a_buyer_restored_from_a_backup_pays_no_second_time() {
    let ledger = funded(&Hand::new());
    let payer = || DirectPayer::new(client(ledger.clone()), test_key(PAYER));
    let order = order(PAYER, None);
    let first = bill(&order, 1, 0, 10);
    let proof = block_on(payer().pay(&first)).unwrap();
    assert_eq!(block_on(payer().pay(&first)), Ok(proof.clone()));
    assert_eq!(block_on(payer().status(&first.invoice)), Ok(PaymentStatus::Paid(proof)));
    declined(block_on(payer().pay(&bill(&order, 1, 0, 11))));
    assert_eq!(balance(&client(ledger.clone()), PAYEE), 10);
    declined(block_on(payer().pay(&bill(&order, 2, 0, 1000))));
    assert_eq!(block_on(payer().status(&StatementId(reference(2).0))), Ok(PaymentStatus::NotPaid));
}

#[test]
fn a_direct_payee_counts_only_what_joins_up() {
    let (ledger, disk) = (funded(&Hand::new()), MemoryDisk::new());
    let payer = DirectPayer::new(client(ledger.clone()), test_key(PAYER));
    let payee = || DirectPayee::new(client(ledger.clone()), payee_config(), Box::new(disk.open()));
    let order = order(PAYER, None);
    block_on(payee().admit(&order)).unwrap();
    // Pays 5 and claims that another 10 were paid before.
    let gap = bill(&order, 1, 10, 15);
    let proof = block_on(payer.pay(&gap)).unwrap();
    declined(block_on(payee().settle(&gap, &answer(&gap, proof))));
    let first = bill(&order, 2, 0, 10);
    let paid = answer(&first, block_on(payer.pay(&first)).unwrap());
    for _ in 0..2 {
        assert_eq!(block_on(payee().settle(&first, &paid)), Ok(Outcome::Settled));
    }
    assert_eq!(block_on(payee().redeem(&order.id(), true)).unwrap().total, Amount::new(10));
    // The proof of one transfer does not stand for another, though both were made.
    let (third, fourth) = (bill(&order, 4, 10, 20), bill(&order, 5, 10, 20));
    let (_, other) = (block_on(payer.pay(&third)).unwrap(), block_on(payer.pay(&fourth)).unwrap());
    declined(block_on(payee().settle(&third, &answer(&third, other))));
    // A stranger paid the same invoice: not the order's buyer, not this proof.
    submit(&ledger, &issue(STRANGER, 10, 2)).unwrap();
    let third = bill(&order, 3, 10, 20);
    let stranger = DirectPayer::new(client(ledger.clone()), test_key(STRANGER));
    let proof = block_on(stranger.pay(&third)).unwrap();
    declined(block_on(payee().settle(&third, &answer(&third, proof))));
    // Nothing new is due: there is nothing to prove.
    let nothing = bill(&order, 6, 10, 10);
    assert_eq!(block_on(payee().settle(&nothing, &answer(&nothing, Proof::Voucher))), Ok(Outcome::Settled));
}

#[test]
fn a_transfer_behind_all_that_the_payee_has_seen_is_pending() {
    let (behind, ahead) = (funded(&Hand::new()), funded(&Hand::new()));
    let payee = DirectPayee::new(client(behind.clone()), payee_config(), Box::new(MemoryStore::new()));
    let (order, payer) = (order(PAYER, None), DirectPayer::new(client(ahead), test_key(PAYER)));
    block_on(payee.admit(&order)).unwrap();
    let bill = bill(&order, 1, 0, 10);
    let payment = answer(&bill, block_on(payer.pay(&bill)).unwrap());
    assert_eq!(block_on(payee.settle(&bill, &payment)), Ok(Outcome::Pending));
    submit(&behind, &issue(STRANGER, 1, 2)).unwrap();
    declined(block_on(payee.settle(&bill, &payment)));
}

/// What a bad line, or a liar, does with the first submission.
#[derive(Clone, Copy)]
enum First {
    /// It never arrives, and nobody knows.
    Lost,
    /// It is logged, and said to be refused.
    LoggedAndDenied,
    /// Somebody else submits this just before.
    Overtaken(fn(&Body) -> Entry),
}

struct Lossy(LocalLedger, First, AtomicBool);

impl LedgerService for Lossy {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        if self.2.swap(true, Ordering::SeqCst) {
            return self.0.submit(entry);
        }
        Box::pin(async move {
            match self.1 {
                First::Lost => Err(ServiceError::Unknown),
                First::LoggedAndDenied => {
                    self.0.submit(entry).await.and(Err(ServiceError::Refused(Refusal::InsufficientFunds)))
                }
                First::Overtaken(by) => {
                    self.0.submit(by(Entry::parse(entry).unwrap().body()).bytes()).await?;
                    self.0.submit(entry).await
                }
            }
        })
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.0.checkpoint()
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.0.entries(from, max)
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.0.inclusion(index, size)
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.0.consistency(old, new)
    }
}

#[test]
fn a_transfer_in_doubt_is_never_called_unpaid() {
    let ledger = funded(&Hand::new());
    let payer = DirectPayer::new(client(Lossy(ledger.clone(), First::Lost, false.into())), test_key(PAYER));
    let bill = bill(&order(PAYER, None), 1, 0, 10);
    assert_eq!(block_on(payer.pay(&bill)), Err(RailError::Unknown));
    let status = block_on(payer.status(&bill.invoice)).unwrap();
    assert!(matches!(status, PaymentStatus::Paid(_)), "it may still arrive: {status:?}");
    assert_eq!(balance(&client(ledger), PAYEE), 10);
}

#[test]
fn a_transfer_that_was_logged_is_not_called_refused() {
    let ledger = funded(&Hand::new());
    let liar = Lossy(ledger.clone(), First::LoggedAndDenied, false.into());
    let payer = DirectPayer::new(client(liar), test_key(PAYER));
    let bill = bill(&order(PAYER, None), 1, 0, 10);
    let proof = block_on(payer.pay(&bill)).expect("the log says otherwise than its operator");
    assert_eq!(block_on(payer.status(&bill.invoice)), Ok(PaymentStatus::Paid(proof)));
}

#[test]
fn terms_say_whom_to_trust() {
    let witness = witness_key("witness.example", &test_key(50)).unwrap();
    let policy = Policy::new(log_vkey(), vec![witness], 1).unwrap();
    let terms = LedgerTerms::of(&policy, Some("https://ledger.example".into()));
    let parsed = LedgerTerms::parse(&terms.encode()).unwrap();
    assert_eq!((&parsed, parsed.policy()), (&terms, Ok(policy.clone())));
    assert!(parsed.is_of(&policy) && parsed.is_of(&common::policy()), "witnesses are everybody's own choice");
    let with = |change: &dyn Fn(&mut LedgerTerms)| {
        let mut changed = terms.clone();
        change(&mut changed);
        changed.policy()
    };
    assert_eq!(with(&|terms| terms.origin.push('x')), Err(TermsError::WrongOrigin));
    assert_eq!(with(&|terms| terms.log.push('x')), Err(TermsError::BadKey));
    assert_eq!(with(&|terms| terms.quorum = 2), Err(TermsError::BadPolicy));
    assert_eq!(LedgerTerms::parse(b"no terms"), Err(TermsError::Malformed));
}

#[test]
fn a_payer_uses_no_other_ledger_and_no_other_rail() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let direct = DirectPayer::new(client(ledger.clone()), test_key(PAYER));
    let option = payee(&ledger, &MemoryDisk::new()).option();
    assert_eq!((option.rail.as_str(), option.channel), (RAIL_VOUCHER, true));
    let elsewhere = Policy::new(log_key("other.example", &test_key(LOG)).unwrap(), Vec::new(), 0).unwrap();
    let mut options = [option.clone(), option.clone(), option.clone(), option.clone()];
    options[0].terms = LedgerTerms::of(&elsewhere, None).encode();
    options[1].terms = b"no terms".to_vec();
    options[2].rail = RAIL_DIRECT.into();
    options[3].address = public(PAYEE).did();
    for option in options {
        declined(block_on(payer.open(&request(option, 9))));
    }
    declined(block_on(direct.open(&request(option, 9))));
    assert_eq!(balance(&client(ledger), PAYER), 1000);
}

#[test]
fn a_dishonest_ledger_stops_the_rail() {
    let ledger = funded(&Hand::new());
    let other = fresh_ledger();
    submit(&other, &issue(STRANGER, 1000, 1)).unwrap();
    let disk = MemoryDisk::new();
    let open = |ledger: &LocalLedger| {
        let store = Box::new(disk.open());
        Arc::new(LedgerClient::new(Arc::new(ledger.clone()), policy(), Some(store)).unwrap())
    };
    let first = VoucherPayer::new(open(&ledger), test_key(PAYER));
    let option = payee(&ledger, &MemoryDisk::new()).option();
    block_on(first.open(&request(option.clone(), 1))).unwrap();
    let cheated = VoucherPayer::new(open(&other), test_key(PAYER));
    let answer = block_on(cheated.open(&request(option, 2)));
    assert!(matches!(answer, Err(RailError::Dishonest(_))), "{answer:?}");
}

#[test]
fn a_payee_that_is_overtaken_with_its_own_voucher_has_its_money() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let by = |body: &Body| entry(STRANGER, body.clone());
    let overtaken = client(Lossy(ledger, First::Overtaken(by), false.into()));
    let payee = VoucherPayee::new(overtaken, payee_config(), Box::new(MemoryStore::new()));
    let order = order(PAYER, block_on(payer.open(&request(payee.option(), 1))).unwrap().channel);
    block_on(payee.admit(&order)).unwrap();
    let bill = bill(&order, 1, 0, 40);
    block_on(payee.settle(&bill, &answer(&bill, Proof::Voucher))).unwrap();
    assert_eq!(block_on(payee.redeem(&order.id(), false)).unwrap().total, Amount::new(40));
}

#[test]
fn anybody_may_redeem_for_the_payee() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let payee = payee(&ledger, &MemoryDisk::new());
    let channel = block_on(payer.open(&request(payee.option(), 1))).unwrap().channel;
    let order = order(PAYER, channel);
    block_on(payee.admit(&order)).unwrap();
    let bill = bill(&order, 1, 0, 40);
    let payment = answer(&bill, Proof::Voucher);
    block_on(payee.settle(&bill, &payment)).unwrap();
    let watchtower = entry(STRANGER, Body::Redeem { channel: channel.unwrap(), voucher: payment });
    submit(&ledger, &watchtower).unwrap();
    assert_eq!(block_on(payee.redeem(&order.id(), false)).unwrap().total, Amount::new(40));
    assert_eq!(balance(&client(ledger), PAYEE), 40);
}

#[test]
fn a_channel_that_nobody_asked_to_close_is_left_alone() {
    let ledger = funded(&Hand::new());
    let payer = VoucherPayer::new(client(ledger.clone()), test_key(PAYER));
    let funding = block_on(payer.open(&request(payee(&ledger, &MemoryDisk::new()).option(), 1))).unwrap();
    assert_eq!(block_on(payer.tend()), Ok(0), "none is waiting");
    block_on(payer.close(&funding)).unwrap();
    assert_eq!(block_on(payer.tend()), Ok(1), "its grace period runs");
}

#[test]
fn a_client_shows_the_checkpoint_that_it_has_accepted() {
    let ledger = funded(&Hand::new());
    let client = client(ledger.clone());
    assert_eq!(balance(&client, PAYER), 1_000);
    assert_eq!(block_on(client.checkpoint()), Some(block_on(ledger.checkpoint()).unwrap()));
}
