//! A rail of your own: debts between people who know each other. Nobody moves money; a book that both sides see says
//! who owes whom, up to what the payee trusts a payer with. It passes the conformance suite of rails, which is what
//! makes it one: `cargo test -p sdpp --example custom_rail`. A sale on it: `cargo run -p sdpp --example custom_rail`.
//!
//! The book is in memory here. A real one keeps the same maps in a [`sdpp::rail::Store`] and flushes before it answers.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sdpp::buyer::{self, Buyer, Request};
use sdpp::proto::codec::StatementId;
use sdpp::proto::identity::PublicKey;
use sdpp::proto::money::{Amount, AssetId, Price};
use sdpp::proto::statement::{Order, PayOption, Payment, Product, Signed};
use sdpp::rail::{
    Backing, Bill, CloseStatus, Funding, MemoryStore, OpenRequest, Outcome, Payee, Payer, PaymentStatus, Proof,
    RailError, Redeemed, Reply, suite,
};
use sdpp::seller::{self, Offer, Seller};
use sdpp::{address::Address, journal::Journal, sink::Discard, source::Repeat};

/// The rail's name in menus. A rail for others gets a line in the registry of `spec/rails.md`.
const RAIL: &str = "x-iou";
/// Time from an invoice to `default`.
const PAY_BY_MS: u64 = 60_000;

/// What a payee knows of an order: who signs its payments, and how much of it is settled.
#[derive(Clone)]
struct Admitted {
    signer: PublicKey,
    settled: Amount,
}

#[derive(Default)]
struct Debts {
    /// What a payer owes a payee.
    owed: HashMap<(String, String), Amount>,
    /// Notes by the invoice that they answer, which is also their proof.
    notes: HashMap<StatementId, Bill>,
    /// What payees know.
    orders: HashMap<StatementId, Admitted>,
    settled: HashSet<StatementId>,
}

/// The book of debts. Clones are the same book.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Debts>>);

impl Book {
    fn open(&self) -> MutexGuard<'_, Debts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owed(&self, payer: &str, payee: &str) -> Amount {
        self.open().owed.get(&(payer.to_owned(), payee.to_owned())).copied().unwrap_or(Amount::ZERO)
    }
}

/// The buyer's half.
struct IouPayer {
    book: Book,
    name: String,
    /// Most that it may owe one payee.
    trusted_with: Amount,
}

impl IouPayer {
    fn write_note(&self, bill: &Bill) -> Result<Proof, RailError> {
        let mut debts = self.book.open();
        let proof = Proof::Bytes(bill.invoice.as_bytes().to_vec());
        // The invoice is the idempotency key: asked again, it is the same note, or no note at all.
        if let Some(note) = debts.notes.get(&bill.invoice) {
            return if note == bill { Ok(proof) } else { Err(RailError::Declined("one invoice, two bills")) };
        }
        let more = bill.total.checked_sub(bill.before).ok_or(RailError::Declined("the total is below the last one"))?;
        let owed = debts.owed.entry((self.name.clone(), bill.payee.clone())).or_default();
        let sum = owed.checked_add(more).filter(|sum| *sum <= self.trusted_with);
        *owed = sum.ok_or(RailError::Declined("more than this payer is trusted with"))?;
        debts.notes.insert(bill.invoice, bill.clone());
        Ok(proof)
    }
}

impl Payer for IouPayer {
    // A note is a debt as soon as it is written: the intent to write it must be durable before.
    fn moves_money(&self) -> bool {
        true
    }

    fn open<'a>(&'a self, _: &'a OpenRequest) -> Reply<'a, Funding> {
        Box::pin(async { Ok(Funding { channel: None, deposit: Amount::ZERO }) })
    }

    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof> {
        Box::pin(async { self.write_note(bill) })
    }

    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        Box::pin(async {
            let known = self.book.open().notes.contains_key(invoice);
            let paid = || PaymentStatus::Paid(Proof::Bytes(invoice.as_bytes().to_vec()));
            Ok(if known { paid() } else { PaymentStatus::NotPaid })
        })
    }

    fn close<'a>(&'a self, _: &'a Funding) -> Reply<'a, CloseStatus> {
        Box::pin(async { Ok(CloseStatus::Closed) })
    }
}

/// The seller's half.
struct IouPayee {
    book: Book,
    name: String,
    asset: AssetId,
}

impl IouPayee {
    fn take_note(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<Outcome, RailError> {
        let mut debts = self.book.open();
        let known = debts.orders.get(&bill.order).ok_or(RailError::Declined("the order was never admitted"))?;
        let (signer, settled) = (known.signer, known.settled);
        let answers = payment.order_id == bill.order
            && payment.invoice_id == bill.invoice
            && payment.total == bill.total
            && payment.channel.is_none()
            && payment.proof.as_deref() == Some(bill.invoice.as_bytes().as_slice());
        if !answers || bill.payee != self.name || bill.asset != self.asset {
            return Err(RailError::Declined("the payment does not answer this bill"));
        }
        payment.verify(&signer).map_err(|_| RailError::Declined("not signed by the order's signer"))?;
        if debts.notes.get(&bill.invoice) != Some(bill) {
            return Err(RailError::Declined("there is no such note"));
        }
        // An invoice that is settled stays so, also behind a newer one.
        if debts.settled.contains(&bill.invoice) {
            return Ok(Outcome::Settled);
        }
        if bill.total < settled {
            return Err(RailError::Declined("the total is below what is settled"));
        }
        if bill.before > settled {
            // An earlier note is not settled yet: its total cannot count before it.
            return Ok(Outcome::Pending);
        }
        debts.settled.insert(bill.invoice);
        debts.orders.insert(bill.order, Admitted { signer, settled: bill.total });
        Ok(Outcome::Settled)
    }
}

impl Payee for IouPayee {
    fn option(&self) -> PayOption {
        PayOption {
            id: 0,
            rail: RAIL.to_owned(),
            asset: self.asset.clone(),
            address: self.name.clone(),
            finality: 0,
            grace_min_ms: 0,
            pay_by_ms: PAY_BY_MS,
            channel: false,
            terms: Vec::new(),
        }
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        Box::pin(async {
            if order.channel.is_some() {
                return Err(RailError::Declined("this rail has no channels"));
            }
            let fresh = Admitted { signer: order.sign_pk, settled: Amount::ZERO };
            self.book.open().orders.entry(order.id()).or_insert(fresh);
            Ok(Backing { deposit: None })
        })
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        Box::pin(async { self.take_note(bill, payment) })
    }

    // A note is all there will be: nothing is turned into money here.
    fn redeem<'a>(&'a self, _: &'a StatementId, _finished: bool) -> Reply<'a, Redeemed> {
        Box::pin(async { Ok(Redeemed { total: Amount::ZERO }) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (book, asset) = (Book::default(), AssetId::new("favours"));
    let (key, buyer_key) = (suite::test_key(1), suite::test_key(2));

    let offer = Offer::new(Product::new("greetings", Price::per_message(2)), |_| {
        Ok(Repeat::new(b"good morning".to_vec(), 1_000))
    })?;
    let payee = Arc::new(IouPayee { book: book.clone(), name: "anna".into(), asset });
    let journal = Journal::start(MemoryStore::new())?;
    let seller = Seller::start(seller::Settings::new(key.clone(), vec![offer], vec![payee], journal)).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = Address::new(key.public(), listener.local_addr()?, "greetings");
    tokio::spawn(async move { seller.serve(listener, sdpp::never()).await });

    let payer = Arc::new(IouPayer { book: book.clone(), name: "ben".into(), trusted_with: Amount::new(1_000) });
    let buyer = Buyer::new(buyer::Settings::new(buyer_key, payer, RAIL, Journal::start(MemoryStore::new())?));
    let request = Request::new("greetings", 400);
    let bought = buyer.buy(&address.peer(), &request, &mut Discard::default(), sdpp::never()).await?;
    println!("{} messages; ben owes anna {} favours", bought.delivered, book.owed("ben", "anna"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use sdpp::proto::codec::Bytes32;
    use sdpp::proto::identity::SigningKey;
    use sdpp::rail::suite::{RailWorld, Step, block_on, payer_payee, test_key};

    use super::*;

    /// What the suite needs: both halves, and a look at the book.
    struct World {
        payer: IouPayer,
        payee: IouPayee,
        buyer: SigningKey,
        signer: SigningKey,
        count: AtomicU64,
    }

    impl RailWorld for World {
        fn payer(&self) -> &dyn Payer {
            &self.payer
        }

        fn payee(&self) -> &dyn Payee {
            &self.payee
        }

        fn buyer(&self) -> &SigningKey {
            &self.buyer
        }

        fn signer(&self) -> &SigningKey {
            &self.signer
        }

        fn fresh(&self) -> Bytes32 {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            Bytes32(bytes)
        }

        fn other_address(&self) -> String {
            "carla".into()
        }

        fn other_asset(&self) -> Option<AssetId> {
            None
        }

        fn received(&self) -> Step<'_, Amount> {
            Box::pin(async { self.payer.book.owed("ben", "anna") })
        }

        fn locked(&self) -> Step<'_, Amount> {
            Box::pin(async { Amount::ZERO })
        }

        // Notes are final, and no time passes.
        fn finalise(&self) -> Step<'_, ()> {
            Box::pin(async {})
        }

        fn pass_ms(&self, _ms: u64) -> Step<'_, ()> {
            Box::pin(async {})
        }
    }

    #[test]
    fn it_carries_a_sale() {
        main().unwrap();
    }

    #[test]
    fn it_is_a_rail() {
        let book = Book::default();
        let world = World {
            payer: IouPayer { book: book.clone(), name: "ben".into(), trusted_with: Amount::new(100_000) },
            payee: IouPayee { book, name: "anna".into(), asset: AssetId::new("favours") },
            buyer: test_key(3),
            signer: test_key(4),
            count: AtomicU64::new(0),
        };
        block_on(payer_payee(&world));
    }
}
