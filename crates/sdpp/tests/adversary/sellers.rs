//! Sellers that lie to a real buyer: it names the lie, pays for what it holds and for nothing else.

use std::future::Future;
use std::pin::Pin;

use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::{Bytes32, Digest, StatementId};
use sdpp_proto::frame::FrameKind;
use sdpp_proto::limits::CONTROL_ITEMS_MAX;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Invoice, Product, Settlement, Signed, Signing};
use sdpp_proto::wire::Control;
use sdpp_rail::MemoryDisk;
use sdpp_rail::fake::{FakeMode, FakeWorld};
use sdpp_sim::liar::Heard;

use crate::crook::{Crook, Stall};
use crate::kit::*;
use crate::tap::Buying;

type Lie = for<'a> fn(&'a mut Crook) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A lie, and what the buyer calls it.
struct Case {
    name: &'static str,
    lie: Lie,
    offence: Offence,
}

const fn case(name: &'static str, offence: Offence, lie: Lie) -> Case {
    Case { name, lie, offence }
}

/// Another window, with an invoice that is not right.
fn false_invoice(crook: &mut Crook, change: impl FnOnce(&mut Invoice)) {
    crook.send(5);
    let mut invoice = crook.liar.invoice();
    change(&mut invoice);
    crook.liar.send_invoice(invoice);
}

fn about_money() -> Vec<Case> {
    vec![
        case("a price that rose in the middle", Offence::InvoiceDue, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.due = Amount::new(25 * 4)) })
        }),
        case("one unit more", Offence::InvoiceDue, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.due = Amount::new(invoice.due.get() + 1)) })
        }),
        case("a K that grew in the middle", Offence::InvoiceWindows, |crook| {
            Box::pin(async move {
                crook.send(11);
                let invoice = crook.liar.invoice();
                crook.liar.send_invoice(invoice);
            })
        }),
        case("more windows than were agreed", Offence::InvoiceWindows, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.windows = 5) })
        }),
        case("windows that hold nothing", Offence::InvoiceWindows, |crook| {
            Box::pin(async move {
                crook.send(0);
                let invoice = crook.liar.invoice();
                crook.liar.send_invoice(invoice);
            })
        }),
        case("an amount that nobody can count", Offence::InvoiceDue, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.due = Amount::MAX) })
        }),
        case("time where none is sold", Offence::InvoiceTime, |crook| {
            Box::pin(async move {
                let (start, end) = (sdpp::now(), sdpp::now().after_ms(60_000));
                false_invoice(crook, |invoice| (invoice.t_start, invoice.t_end) = (Some(start), Some(end)));
            })
        }),
        case("units that were not delivered", Offence::InvoiceUnits, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.units_total += 1) })
        }),
        case("a payment denied", Offence::InvoiceCredit, |crook| {
            Box::pin(async move { false_invoice(crook, |i| (i.paid, i.paid_by) = (Amount::ZERO, None)) })
        }),
        case("a payment made smaller", Offence::InvoiceCredit, |crook| {
            Box::pin(async move { false_invoice(crook, |i| i.paid = Amount::new(i.paid.get() - 1)) })
        }),
        case("a payment that was never made", Offence::InvoiceCredit, |crook| {
            Box::pin(async move { false_invoice(crook, |i| i.paid_by = Some(StatementId([7; 32]))) })
        }),
        case("more than the order's limit", Offence::InvoiceOverLimit, |crook| {
            Box::pin(async move {
                // Twenty were sold; thirty is all that the order has money for.
                crook.sell(10).await;
                false_invoice(crook, |_| {});
            })
        }),
    ]
}

fn about_data() -> Vec<Case> {
    vec![
        case("a message that was never sent", Offence::InvoiceRange, |crook| {
            Box::pin(async move {
                crook.send(5);
                crook.liar.count(&[b"never sent"]);
                let invoice = crook.liar.invoice();
                crook.liar.send_invoice(invoice);
            })
        }),
        case("the digest of other bytes", Offence::InvoiceDigest, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.digest = Digest([7; 32])) })
        }),
        case("an invoice of another order", Offence::InvoiceForAnother, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.order_id = StatementId([7; 32])) })
        }),
        case("an invoice that leaves one out", Offence::InvoiceChain, |crook| {
            Box::pin(async move { false_invoice(crook, |invoice| invoice.n += 1) })
        }),
        case("an invoice that was sent before", Offence::InvoiceChain, |crook| {
            Box::pin(async move {
                let (invoice, _) = crook.sell(5).await;
                crook.liar.line.statement(&invoice);
            })
        }),
        case("an invoice of a span that goes on", Offence::InvoiceWithoutCut, |crook| {
            Box::pin(async move {
                crook.liar.send_messages(&[b"one"]);
                let invoice = crook.liar.invoice();
                crook.liar.send_invoice(invoice);
            })
        }),
        case("an invoice that somebody else signed", Offence::BadInvoice, |crook| {
            Box::pin(async move {
                crook.send(5);
                let invoice = crook.liar.invoice();
                crook.liar.line.statement(&Signed::sign(&key(77), invoice));
            })
        }),
        case("a cut out of order", Offence::WrongCut, |crook| {
            Box::pin(async move { crook.liar.line.control(&Control::Cut(77)) })
        }),
        case("a message above the product's length", Offence::MessageTooLong, |crook| {
            Box::pin(async move { crook.liar.send_messages(&[&[0; 100_001]]) })
        }),
        case("a payment from a seller", Offence::UnexpectedControl, |crook| {
            Box::pin(async move {
                crook.liar.line.control(&Control::Exit);
            })
        }),
        case("a control item that is none", Offence::BadControl, |crook| {
            Box::pin(async move { crook.liar.line.sealed(&[], b"???") })
        }),
    ]
}

fn about_ends() -> Vec<Case> {
    vec![
        case("an end with other totals", Offence::SettlementMismatch, |crook| {
            Box::pin(async move {
                let last = crook.deliver(5, true);
                crook.paid().await;
                let settlement = Settlement { due: Amount::new(1), ..crook.liar.settlement(&last) };
                let settlement = Signed::sign(&crook.liar.key, settlement);
                crook.liar.line.statement(&settlement);
            })
        }),
        case("more after the last invoice", Offence::InvoiceAfterLast, |crook| {
            Box::pin(async move {
                crook.deliver(5, true);
                crook.paid().await;
                crook.liar.send_messages(&[b"one more"]);
            })
        }),
    ]
}

#[tokio::test]
async fn each_lie_of_a_seller_is_named_and_costs_the_buyer_nothing() {
    for case in about_money().into_iter().chain(about_data()).chain(about_ends()) {
        let world = World::new(FakeMode::Direct, product(10), 0);
        let stall = Stall::open(&world, product(10)).await;
        let request = sdpp::buyer::Request { limit: Some(Amount::new(90)), ..world.request(1000, 4) };
        let buying = Buying::start(&world, stall.at(), world.buyer(2), request);
        let mut crook = stall.live().await;
        crook.sell(10).await;
        crook.sell(10).await;
        (case.lie)(&mut crook).await;
        let told = crook.error().await;
        let held = buying.kept.clone();
        let done = buying.done().await;
        assert_eq!(done.ended, Ended::Offence(case.offence), "{}", case.name);
        assert_eq!(told, Some(case.offence.code()), "{}: the seller is told", case.name);
        // It paid what its seller was honest about, and holds every message of it.
        assert_eq!(done.paid, crook.total(), "{}", case.name);
        assert!(held.0.lock().unwrap().len() as u128 * 3 >= done.paid.get(), "{}", case.name);
        assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), done.paid, "{}", case.name);
    }
}

#[tokio::test]
async fn other_data_after_a_cut_is_named_and_not_paid_for() {
    for signing in [Signing::Window, Signing::Message] {
        let world = World::new(FakeMode::Direct, product(10), 0);
        let stall = Stall::open(&world, Product { signing, ..product(10) }).await;
        let buying = Buying::start(&world, stall.at(), world.buyer(2), world.request(1000, 4));
        let mut crook = stall.live().await;
        crook.sell(10).await;
        let before = crook.liar.totals;
        crook.liar.send_messages(&[b"what was sent before the cut"]);
        crook.say().await;
        while buying.count() < 11 {
            tokio::task::yield_now().await;
        }
        crook.liar.totals = before;
        let mut crook = stall.again(crook).await;
        crook.liar.send_messages(&[b"what is sent behind it"]);
        assert_eq!(crook.error().await, Some(Offence::PrefixChanged.code()));
        let kept = buying.kept.clone();
        let done = buying.done().await;
        assert_eq!((done.ended, done.paid), (Ended::Offence(Offence::PrefixChanged), Amount::new(30)));
        assert_eq!(kept.0.lock().unwrap().len(), 11, "what was delivered stays as it was");
        assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(30));
    }
}

/// A seller that is paid and never signs the end: the buyer has its data and its last pair.
#[tokio::test]
async fn a_withheld_last_signature_changes_no_money() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let stall = Stall::open(&world, product(10)).await;
    let disk = MemoryDisk::new();
    let buying = Buying::start(&world, stall.at(), world.buyer_on(2, &disk), world.request(15, 4));
    let mut crook = stall.live().await;
    crook.sell(10).await;
    crook.deliver(5, true);
    crook.paid().await;
    drop((crook, stall));
    let kept = buying.kept.clone();
    let done = buying.done().await;
    assert_ne!(done.ended, Ended::Settled);
    assert_eq!((done.paid, done.due, done.delivered), (Amount::new(45), Amount::new(45), 15));
    assert_eq!(kept.0.lock().unwrap().len(), 15);
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(45), "and nothing is paid again");
    // The same from the buyer's side: the seller keeps what it was paid.
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![crate::tap::offer(product(10), crate::tap::flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let mut rogue = crate::rogue::Rogue::greeted(at, 3, 3).await;
    let order = sdpp_proto::statement::Order { quantity: Some(1), ..rogue.liar.order() };
    rogue.liar.send_order(order);
    let invoice = rogue.invoice().await;
    crate::rogue::pay(&world, &mut rogue, &invoice).await;
    let last = rogue.invoice().await;
    assert!(last.last && last.due == Amount::new(3));
    crate::rogue::pay(&world, &mut rogue, &last).await;
    rogue.hear(|heard| heard.statement::<Settlement>().is_some()).await.unwrap();
    drop(rogue);
    let paid = |order: &sdpp::seller::OrderStatus| order.paid == Amount::new(3) && order.owed.is_zero();
    crate::tap::until(|| {
        let status = seller.status();
        status.connections == 0 && status.orders.iter().all(paid) && status.strangers.used.is_zero()
    })
    .await;
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Places of records, defaults, cuts: the buyer's journal takes a bounded part of them and the sale goes on.
#[tokio::test]
async fn a_seller_that_talks_without_end_does_not_fill_the_buyers_journal() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let stall = Stall::open(&world, product(10)).await;
    let disk = MemoryDisk::new();
    let buying = Buying::start(&world, stall.at(), world.buyer_on(2, &disk), world.request(1000, 4));
    let mut crook = stall.live().await;
    let (invoice, _) = crook.sell(10).await;
    let before = disk.appends();
    let unpaid = Signed::sign(&crook.liar.key, crook.liar.unpaid(&invoice, sdpp::now()));
    for number in 0..200u64 {
        let mut items = Vec::new();
        for at in 0..CONTROL_ITEMS_MAX as u64 - 1 {
            let statement = StatementId(sdpp_proto::hash::sha256(&(number << 32 | at).to_be_bytes()));
            Control::Recorded { statement, record: Bytes32([1; 32]) }.write(&mut items);
        }
        sdpp_proto::wire::envelope(&unpaid.erase()).write(&mut items);
        crook.liar.line.sealed(&[], &items);
    }
    // It still listens, pays, and holds what it bought.
    crook.sell(10).await;
    let taken = disk.appends() - before;
    assert!(taken <= sdpp_proto::limits::INVOICES_WAITING_MAX as u64 + 10, "{taken} rows of 12800");
    drop((crook, stall));
    assert_eq!(buying.done().await.paid, Amount::new(60));
}

/// Whatever a seller answers a hello with, and wherever it falls silent, the buyer has ordered nothing.
#[tokio::test]
async fn rubbish_from_a_seller_is_named_and_costs_nothing() {
    let clear = |kind, body: &[u8]| {
        let mut bytes = Vec::new();
        sdpp_proto::frame::write_clear(&mut bytes, kind, body);
        bytes
    };
    for (bytes, offence) in [
        (vec![0xff; 64], Offence::UnknownFrame),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Offence::UnknownFrame),
        (vec![0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0], Offence::FrameTooLong),
        (clear(FrameKind::Menu, b"no menu"), Offence::BadHello),
        (clear(FrameKind::Session, b"too early"), Offence::UnexpectedFrame),
    ] {
        let world = World::new(FakeMode::Voucher, product(10), 0);
        let stall = Stall::open(&world, product(10)).await;
        let buying = Buying::start(&world, stall.at(), world.buyer(2), world.request(1000, 4));
        let mut crook = stall.accept().await;
        crook.hear(|heard| matches!(heard, Heard::Hello(_))).await.unwrap();
        crook.liar.line.raw(&bytes);
        assert_eq!(crook.error().await, Some(offence.code()));
        let told = crate::tap::told(buying.task.await.unwrap());
        assert_eq!(told, Ended::Offence(offence));
        let account = key(2).public().multibase();
        assert_eq!(world.bank.locked(&account, &FakeWorld::asset()), Amount::ZERO);
    }
}
