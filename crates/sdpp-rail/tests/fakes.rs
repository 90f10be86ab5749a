//! The fakes pass the suites, without faults and with them, and a careful caller never pays twice
//! and never loses.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used, reason = "a test panics where it fails")]

use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Payment, Signed};
use sdpp_rail::fake::{Call, FakeMode, FakePayee, FakePayer, FakeRecords, FakeWorld, Fault};
use sdpp_rail::suite::{self, RailWorld, Sale, block_on, insist, pay_carefully, settle_finally};
use sdpp_rail::{Bill, Outcome, Payee, Payer, PaymentStatus, Proof, RailError};

const MODES: [FakeMode; 2] = [FakeMode::Voucher, FakeMode::Direct];
const CALLS: [Call; 7] = [Call::Open, Call::Pay, Call::Status, Call::Close, Call::Admit, Call::Settle, Call::Redeem];

#[test]
fn the_fake_rails_pass_the_suite() {
    for mode in MODES {
        for looks in [0, 3] {
            let world = FakeWorld::new(mode);
            world.bank().set_lateness(looks);
            block_on(suite::payer_payee(&world));
        }
    }
}

#[test]
fn the_fake_rails_pass_the_suite_under_seeded_faults() {
    for mode in MODES {
        for seed in 0..20 {
            let world = FakeWorld::new(mode);
            world.bank().set_lateness(u32::try_from(seed % 3).unwrap());
            world.bank().seed_faults(seed, 300);
            let supply = world.bank().supply(&FakeWorld::asset());
            block_on(suite::payer_payee(&world));
            assert_eq!(world.bank().supply(&FakeWorld::asset()), supply, "money is neither made nor lost");
        }
    }
}

#[test]
fn the_fake_records_pass_the_suite_with_and_without_faults() {
    for per_mille in [0, 300] {
        let world = FakeWorld::new(FakeMode::Direct);
        world.bank().seed_faults(7, per_mille);
        let records = FakeRecords::new(world.bank());
        block_on(suite::records(&records, || world.fresh(), || async {}));
    }
}

/// A small sale by a careful caller: three bills, settled and redeemed; gives what the payee got.
async fn sale_of_30(world: &dyn RailWorld) -> Amount {
    let before = world.received().await;
    let sale = Sale::start(world).await;
    for (from, to) in [(0, 10), (10, 25), (25, 30)] {
        sale.pay_and_settle(&sale.bill(from, to)).await;
    }
    sale.redeem(true).await.unwrap();
    sale.close().await.unwrap();
    world.pass_ms(FakePayee::GRACE_MIN_MS).await;
    world.received().await.checked_sub(before).unwrap()
}

#[test]
fn each_fault_of_each_call_is_survived_once_and_in_a_row() {
    for mode in MODES {
        for call in CALLS {
            for fault in Fault::ALL {
                for times in [1, 2, 5] {
                    let world = FakeWorld::new(mode);
                    (0..times).for_each(|_| world.bank().push_fault(call, fault));
                    let supply = world.bank().supply(&FakeWorld::asset());
                    let got = block_on(sale_of_30(&world));
                    let what = format!("{mode:?} {call:?} {fault:?} {times} times");
                    assert_eq!(got, Amount::new(30), "{what}: paid once, and all of it");
                    assert_eq!(block_on(world.locked()), Amount::ZERO, "{what}: nothing stays locked");
                    let left = supply.checked_sub(world.bank().supply(&FakeWorld::asset()));
                    assert_eq!(left, Some(Amount::ZERO), "{what}: nothing is lost");
                }
            }
        }
    }
}

#[test]
fn each_pair_of_faults_around_a_payment_is_survived() {
    for mode in MODES {
        for first in Fault::ALL {
            for second in Fault::ALL {
                for status in Fault::ALL {
                    let world = FakeWorld::new(mode);
                    world.bank().set_lateness(2);
                    world.bank().push_fault(Call::Pay, first);
                    world.bank().push_fault(Call::Pay, second);
                    world.bank().push_fault(Call::Status, status);
                    assert_eq!(block_on(sale_of_30(&world)), Amount::new(30), "{first:?} {second:?} {status:?}");
                }
            }
        }
    }
}

#[test]
fn a_caller_gets_what_each_fault_says() {
    let cases = [
        (Fault::NONE, None, 1),
        (Fault::REFUSED, Some(RailError::Unavailable), 0),
        (Fault::REPLY_LOST, Some(RailError::Unknown), 1),
        (Fault::REQUEST_LOST, Some(RailError::Unknown), 0),
    ];
    for (fault, error, transfers) in cases {
        let world = FakeWorld::new(FakeMode::Direct);
        let sale = block_on(Sale::start(&world));
        let bill = sale.bill(0, 5);
        world.bank().push_fault(Call::Pay, fault);
        assert_eq!(block_on(world.payer().pay(&bill)).err(), error, "{fault:?}");
        assert_eq!(world.bank().transfers(), transfers, "{fault:?}");
        let paid = matches!(block_on(world.payer().status(&bill.invoice)), Ok(PaymentStatus::Paid(_)));
        assert_eq!(paid, transfers == 1, "{fault:?}: the status tells the two silent ones apart");
        assert_eq!(world.bank().calls(Call::Pay), 1);
    }
}

/// The suite and the tests above have teeth only if a careless caller fails: this one bills anew
/// after a silence.
#[test]
fn a_careless_caller_pays_twice() {
    let world = FakeWorld::new(FakeMode::Direct);
    let sale = block_on(Sale::start(&world));
    world.bank().push_fault(Call::Pay, Fault::REPLY_LOST);
    let first = block_on(world.payer().pay(&sale.bill(0, 5)));
    assert_eq!(first, Err(RailError::Unknown));
    block_on(world.payer().pay(&sale.bill(0, 5))).unwrap();
    assert_eq!(block_on(world.received()), Amount::new(10));
}

#[test]
fn a_crash_after_a_lost_reply_finds_the_payment() {
    let world = FakeWorld::new(FakeMode::Direct);
    let sale = block_on(Sale::start(&world));
    let bill = sale.bill(0, 5);
    world.bank().push_fault(Call::Pay, Fault::REPLY_LOST);
    assert_eq!(block_on(world.payer().pay(&bill)), Err(RailError::Unknown));
    let reborn = FakePayer::new(world.bank(), "fake-buyer", FakeMode::Direct);
    let PaymentStatus::Paid(proof) = block_on(reborn.status(&bill.invoice)).unwrap() else {
        panic!("the payment is known");
    };
    let payee = FakePayee::new(world.bank(), "fake-seller", FakeWorld::asset(), FakeMode::Direct);
    let payment = sale.payment(&bill, &proof);
    assert_eq!(block_on(payee.settle(&bill, &payment)), Ok(Outcome::Settled));
    assert_eq!(block_on(world.received()), Amount::new(5));
}

#[test]
fn lateness_is_pending_so_many_times() {
    for mode in MODES {
        let world = FakeWorld::new(mode);
        world.bank().set_lateness(3);
        let sale = block_on(Sale::start(&world));
        let bill = sale.bill(0, 5);
        let proof = block_on(world.payer().pay(&bill)).unwrap();
        let payment = sale.payment(&bill, &proof);
        let outcomes: Vec<_> = (0..5).map(|_| block_on(world.payee().settle(&bill, &payment)).unwrap()).collect();
        let (p, s) = (Outcome::Pending, Outcome::Settled);
        assert_eq!(outcomes, [p, p, p, s, s]);
        let statuses: Vec<_> = (0..5).map(|_| block_on(world.payer().status(&bill.invoice)).unwrap()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == PaymentStatus::Pending).count(), 3);
        assert_eq!(statuses.last(), Some(&PaymentStatus::Paid(proof)));
    }
}

/// A later bill waits for an earlier one: its total would count money that has not come.
#[test]
fn a_later_direct_payment_counts_only_behind_the_earlier_one() {
    let world = FakeWorld::new(FakeMode::Direct);
    block_on(async {
        let sale = Sale::start(&world).await;
        let (first, second) = (sale.bill(0, 5), sale.bill(5, 9));
        let mut payments = Vec::new();
        for bill in [&first, &second] {
            let proof = pay_carefully(&world, bill).await.unwrap();
            payments.push(sale.payment(bill, &proof));
        }
        let [first_payment, second_payment] = &payments[..] else { panic!("two payments") };
        let early = world.payee().settle(&second, second_payment).await;
        assert_eq!(early, Ok(Outcome::Pending));
        settle_finally(&world, &first, first_payment).await.unwrap();
        settle_finally(&world, &second, second_payment).await.unwrap();
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let world = FakeWorld::new(FakeMode::Voucher);
        world.bank().seed_faults(seed, 400);
        block_on(sale_of_30(&world));
        CALLS.map(|call| world.bank().calls(call))
    };
    assert_eq!(run(1), run(1));
    assert!((2..50).any(|seed| run(seed) != run(1)), "another seed gives another run");
}

/// A payer that breaks one rule, to see that the suite notices.
struct Liar<'a>(&'a FakeWorld, Lie);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    PaysAgain,
    OpensAgain,
    ForgetsStatus,
    SettlesAnything,
    AdmitsAnything,
    RedeemsNothing,
    HasNothingOutstanding,
    Honest,
}

impl Payer for Liar<'_> {
    fn moves_money(&self) -> bool {
        self.0.payer().moves_money()
    }
    fn open<'a>(&'a self, request: &'a sdpp_rail::OpenRequest) -> sdpp_rail::Reply<'a, sdpp_rail::Funding> {
        Box::pin(async move {
            let mut request = request.clone();
            if self.1 == Lie::OpensAgain {
                request.reference = self.0.fresh();
            }
            self.0.payer().open(&request).await
        })
    }
    fn pay<'a>(&'a self, bill: &'a Bill) -> sdpp_rail::Reply<'a, Proof> {
        Box::pin(async move {
            let mut bill = bill.clone();
            if self.1 == Lie::PaysAgain {
                bill.invoice = StatementId(self.0.fresh().0);
            }
            self.0.payer().pay(&bill).await
        })
    }
    fn status<'a>(&'a self, invoice: &'a StatementId) -> sdpp_rail::Reply<'a, PaymentStatus> {
        if self.1 == Lie::ForgetsStatus {
            return Box::pin(async { Ok(PaymentStatus::NotPaid) });
        }
        self.0.payer().status(invoice)
    }
    fn close<'a>(&'a self, funding: &'a sdpp_rail::Funding) -> sdpp_rail::Reply<'a, sdpp_rail::CloseStatus> {
        self.0.payer().close(funding)
    }
}

impl Payee for Liar<'_> {
    fn option(&self) -> sdpp_proto::statement::PayOption {
        self.0.payee().option()
    }
    fn admit<'a>(
        &'a self,
        order: &'a Signed<sdpp_proto::statement::Order>,
    ) -> sdpp_rail::Reply<'a, sdpp_rail::Backing> {
        Box::pin(async move {
            let answer = self.0.payee().admit(order).await;
            let deposit = Some(Amount::new(100));
            if self.1 == Lie::AdmitsAnything { Ok(sdpp_rail::Backing { deposit }) } else { answer }
        })
    }
    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> sdpp_rail::Reply<'a, Outcome> {
        Box::pin(async move {
            let answer = self.0.payee().settle(bill, payment).await;
            if self.1 == Lie::SettlesAnything { Ok(Outcome::Settled) } else { answer }
        })
    }
    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> sdpp_rail::Reply<'a, sdpp_rail::Redeemed> {
        if self.1 == Lie::RedeemsNothing {
            return Box::pin(async { Ok(sdpp_rail::Redeemed { total: Amount::ZERO }) });
        }
        self.0.payee().redeem(order, finished)
    }
    fn outstanding(&self) -> sdpp_rail::Reply<'_, Vec<sdpp_rail::Outstanding>> {
        if self.1 == Lie::HasNothingOutstanding {
            return Box::pin(async { Ok(Vec::new()) });
        }
        self.0.payee().outstanding()
    }
}

struct LiarWorld<'a>(&'a FakeWorld, Liar<'a>);

impl RailWorld for LiarWorld<'_> {
    fn payer(&self) -> &dyn Payer {
        &self.1
    }
    fn payee(&self) -> &dyn Payee {
        &self.1
    }
    fn buyer(&self) -> &sdpp_proto::identity::SigningKey {
        self.0.buyer()
    }
    fn signer(&self) -> &sdpp_proto::identity::SigningKey {
        self.0.signer()
    }
    fn fresh(&self) -> Bytes32 {
        self.0.fresh()
    }
    fn other_address(&self) -> String {
        self.0.other_address()
    }
    fn other_asset(&self) -> Option<sdpp_proto::money::AssetId> {
        self.0.other_asset()
    }
    fn received(&self) -> suite::Step<'_, Amount> {
        self.0.received()
    }
    fn locked(&self) -> suite::Step<'_, Amount> {
        self.0.locked()
    }
    fn finalise(&self) -> suite::Step<'_, ()> {
        self.0.finalise()
    }
    fn pass_ms(&self, ms: u64) -> suite::Step<'_, ()> {
        self.0.pass_ms(ms)
    }
}

#[test]
fn the_suite_catches_rails_that_break_a_rule() {
    let passes = |mode: FakeMode, lie: Lie| {
        let fake = FakeWorld::new(mode);
        let world = LiarWorld(&fake, Liar(&fake, lie));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(suite::payer_payee(&world)))).is_ok()
    };
    for mode in MODES {
        assert!(passes(mode, Lie::Honest), "{mode:?}: the wrapping itself is no fault");
        for lie in [Lie::PaysAgain, Lie::ForgetsStatus, Lie::SettlesAnything] {
            assert!(!passes(mode, lie), "{mode:?} {lie:?}");
        }
    }
    for lie in [Lie::OpensAgain, Lie::AdmitsAnything, Lie::RedeemsNothing, Lie::HasNothingOutstanding] {
        assert!(!passes(FakeMode::Voucher, lie), "{lie:?}");
    }
}

#[test]
fn an_idempotent_call_is_repeated_until_the_rail_speaks() {
    let world = FakeWorld::new(FakeMode::Direct);
    for fault in [Fault::REFUSED, Fault::REPLY_LOST, Fault::REQUEST_LOST] {
        world.bank().push_fault(Call::Redeem, fault);
    }
    let order = StatementId([3; 32]);
    block_on(insist(&world, || world.payee().redeem(&order, false))).unwrap();
    assert_eq!(world.bank().calls(Call::Redeem), 4);
}
