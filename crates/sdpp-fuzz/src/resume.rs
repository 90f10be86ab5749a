//! Journals that are not as they were written: cut, repeated, in another order, mixed, flipped.

use std::collections::BTreeMap;

use sdpp_proto::buyer::{self, BuyerOrder};
use sdpp_proto::codec::Digest;
use sdpp_proto::journal::Entry;
use sdpp_proto::money::Amount;
use sdpp_proto::seller::{self, SellerOrder};
use sdpp_proto::statement::{AnyStatement, Invoice, Kind, Payment, Signed, Statement};

use crate::choices::{Choices, flip};
use crate::kit::{self, key};
use crate::sale::{Plan, Sale, sales};

/// Rows that an account is restored from.
const ROWS_MAX: usize = 200;

/// The bytes choose a sale and what became of both its journals; both accounts are restored, and a connection is made
/// with what there is.
///
/// Whatever the rows: no account says that more was paid than some payment in them says, nothing panics, and the
/// connection comes to rest. Where journals were only cut at a row, as by a crash, or put back from a backup that was
/// declared: both accounts are there, no invoice number is signed with two digests, and nobody is blamed.
pub(crate) fn resume(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (plan, sale) = choices.pick(sales());
    let cut_only = choices.yes();
    let rows = if cut_only {
        (cut(&mut choices, &sale.rows.0, Kind::Acceptance), cut(&mut choices, &sale.rows.1, Kind::Attach))
    } else {
        (mangled(&mut choices, (&sale.rows.0, &sale.rows.1)), mangled(&mut choices, (&sale.rows.1, &sale.rows.0)))
    };
    // Journals of both that were cut are old ones, and whoever puts an old one back says so.
    let declared = [cut_only || choices.yes(), cut_only || choices.yes()];
    let (seller, buyer) = restored(&rows, sale, declared);
    assert!(!cut_only || (seller.is_some() && buyer.is_some()), "a journal that was only cut is an account");
    let (Some(seller), Some(buyer)) = (seller, buyer) else { return };
    connect(*plan, sale, (seller, buyer), cut_only);
}

/// The first rows only, but all through the first statement of this kind: a backup without them has no order.
fn cut(choices: &mut Choices<'_>, rows: &[Entry], opening: Kind) -> Vec<Entry> {
    let opened = |row: &Entry| matches!(row, Entry::Statement(statement) if statement.kind == opening);
    let least = rows.iter().position(opened).map_or(rows.len(), |at| at + 1);
    rows[..least + choices.below(rows.len() - least + 1)].to_vec()
}

fn mangled(choices: &mut Choices<'_>, (own, other): (&[Entry], &[Entry])) -> Vec<Entry> {
    let mut rows = own.to_vec();
    for _ in 0..choices.below(6) {
        let at = choices.below(rows.len().max(1));
        let other_at = choices.below(rows.len().max(1));
        match (choices.below(6), rows.len()) {
            (0, 1..) => drop(rows.remove(at)),
            (1, 1..) => rows.truncate(at),
            (2, 1..) => rows.swap(at, other_at),
            (3, 1..ROWS_MAX) => rows.insert(other_at, rows[at].clone()),
            (4, 1..) => flipped(choices, &mut rows[at]),
            (_, ..ROWS_MAX) => rows.insert(at, choices.pick(other).clone()),
            _ => {}
        }
    }
    rows
}

/// A row with one bit changed on disk, if it is still a row. Its signature is then wrong, so mostly it is not.
fn flipped(choices: &mut Choices<'_>, row: &mut Entry) {
    let mut bytes = row.to_bytes();
    flip(&mut bytes, choices);
    if let Ok(other) = Entry::from_bytes(&bytes) {
        *row = other;
    }
}

type Accounts = (Option<SellerOrder>, Option<BuyerOrder>);

fn restored(rows: &(Vec<Entry>, Vec<Entry>), sale: &Sale, declared: [bool; 2]) -> Accounts {
    let seller = SellerOrder::restore(&sale.config.key, &sale.config.menu, &rows.0, sale.now).ok();
    let buyer = BuyerOrder::restore(&key(kit::PAYER), &sale.config.menu, &rows.1).ok();
    if let Some(account) = &seller {
        assert!(account.paid() <= most_paid(&rows.0), "credit without a payment");
    }
    if let Some(account) = &buyer {
        assert!(account.paid() <= most_paid(&rows.1), "a payment that was never made");
    }
    let seller = seller.map(|mut account| {
        if declared[0] {
            account.declare_restored();
        }
        account
    });
    let buyer = buyer.map(|mut account| {
        if declared[1] {
            account.declare_restored();
        }
        account
    });
    (seller, buyer)
}

/// The largest total of a payment, or of one that an own invoice says was credited.
fn most_paid(rows: &[Entry]) -> Amount {
    let payments = statements::<Payment>(rows).into_iter().map(|payment| payment.total);
    let credited = statements::<Invoice>(rows).into_iter().map(|invoice| invoice.paid);
    payments.chain(credited).max().unwrap_or(Amount::ZERO)
}

fn statements<T: Statement>(rows: &[Entry]) -> Vec<Signed<T>> {
    of_kind(rows, T::KIND).filter_map(|statement| Signed::parse(&statement.bytes).ok()).collect()
}

fn of_kind(rows: &[Entry], kind: Kind) -> impl Iterator<Item = &AnyStatement> {
    rows.iter().filter_map(move |row| match row {
        Entry::Statement(statement) if statement.kind == kind => Some(statement),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    })
}

/// A new connection of what was restored.
fn connect(plan: Plan, sale: &Sale, (seller, buyer): (SellerOrder, BuyerOrder), honest: bool) {
    let limit = sale.draft.limit;
    let paid = buyer.paid();
    let mut next = Sale::new(plan, [3, 4]);
    next.rail = sale.rail.clone();
    next.known = (Some(Box::new(seller)), Some(Box::new(buyer)));
    next.run(u64::MAX);
    if let Some(buyer) = next.buyer.order() {
        let now = buyer.paid();
        assert!(now >= paid && now <= limit, "what was paid stays paid: {paid}, then {now} of {limit}");
    }
    if honest {
        let blamed = |offence| panic!("an honest side is blamed: {offence:?}");
        if let Some(seller::Ended::Offence(offence)) = &next.ended.0 {
            blamed(offence);
        }
        if let Some(buyer::Ended::Offence(offence)) = &next.ended.1 {
            blamed(offence);
        }
        one_digest_per_number(&[&sale.rows.0, &sale.rows.1, &next.rows.0, &next.rows.1]);
    }
}

/// Invoices of all times: no number has two digests.
fn one_digest_per_number(journals: &[&[Entry]]) {
    let mut digests: BTreeMap<u64, Digest> = BTreeMap::new();
    for invoice in journals.iter().flat_map(|rows| statements::<Invoice>(rows)) {
        let first = *digests.entry(invoice.n).or_insert(invoice.digest);
        assert_eq!(first, invoice.digest, "invoice {} was signed twice", invoice.n);
    }
}
