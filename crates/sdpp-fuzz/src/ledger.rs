//! The embedded ledger: entries, receipts, terms, and what all entries together mean.

use sdpp_ledger::entry::{Issue, Open, Record, TopUp, Transfer, asset_id, channel_id};
use sdpp_ledger::{Body, Entry, Fold, FoldError, Inclusion, LedgerTerms, Receipt, limits};
use sdpp_log::{Tree, leaf_hash};
use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::cose;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{AnyStatement, Form, Payment, Signed};
use sdpp_proto::time::Timestamp;

use crate::choices::{Choices, flip};
use crate::kit::key;
use crate::log::{LOG, ORIGIN};

const NAMES: [&str; 10] = [
    "ledger-issue",
    "ledger-transfer",
    "ledger-open",
    "ledger-top-up",
    "ledger-redeem",
    "ledger-request-close",
    "ledger-close",
    "ledger-tick",
    "ledger-record",
    "ledger-mint",
];

/// Entries as they come, and entries of any kind and payload that are signed here.
///
/// An entry is written again as it was read; to open it is to parse and to verify it; one bit changed, and it is not
/// opened.
pub(crate) fn ledger_entry(data: &[u8]) {
    entry(data);
    let mut choices = Choices::new(data);
    let (name, signer) = (*choices.pick(&NAMES), key(choices.byte()));
    let (mut bytes, id) = cose::sign(&signer, &cose::content_type(name), ORIGIN, choices.rest());
    if let Some(entry) = entry(&bytes) {
        assert_eq!((entry.id(), entry.issuer(), entry.origin()), (id, signer.public(), ORIGIN));
        assert_eq!(Entry::sign(&signer, ORIGIN, entry.body().clone()), entry, "signing again gives the same");
        assert_eq!(Entry::id_of(&signer.public(), ORIGIN, entry.body()), id);
        let opened = entry.verify().is_ok();
        flip(&mut bytes, &mut Choices::new(data));
        assert!(Entry::open(&bytes).is_err() || !opened, "every bit is signed");
    }
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let parsed = Entry::parse(bytes);
    let opened = Entry::open(bytes);
    match &parsed {
        Ok(entry) => {
            assert!(**entry.bytes() == *bytes && bytes.len() <= limits::ENTRY_MAX);
            assert_eq!(entry.verify().map(|()| entry.clone()), opened, "opened is parsed and verified");
        }
        Err(refusal) => assert_eq!(opened.as_ref(), Err(refusal)),
    }
    parsed.ok()
}

/// A receipt as it comes: it shows an entry only if the log signed a root that leads there.
pub(crate) fn receipt(data: &[u8]) {
    let Ok(receipt) = Receipt::parse(data) else { return };
    let log = key(LOG).public();
    let mut shown = 0;
    for entry in logged() {
        if receipt.verify(entry.bytes(), &log).is_ok() {
            shown += 1;
            assert_eq!(receipt.subject(), ORIGIN);
        }
    }
    assert!(shown <= 1, "one entry for each receipt");
    assert!(receipt.verify(tick(99).bytes(), &log).is_err(), "an entry that was never logged");
}

/// Entries of the log that receipts speak of.
fn logged() -> Vec<Entry> {
    (0..5).map(tick).collect()
}

fn tick(ms: u64) -> Entry {
    Entry::sign(&key(LOG), ORIGIN, Body::Tick(Timestamp::from_ms(ms)))
}

/// The receipt of one of the entries.
pub(crate) fn receipt_of(index: usize) -> Vec<u8> {
    let (mut tree, entries) = (Tree::new(), logged());
    for entry in &entries {
        tree.append(leaf_hash(entry.bytes()));
    }
    let (at, size) = (index as u64, entries.len() as u64);
    let proof = tree.inclusion_proof(at, size).expect("the entry is there");
    let root = tree.root(size).expect("its size");
    let inclusion = Inclusion { entry: entries[index].bytes(), index: at, size, proof: &proof, root };
    Receipt::sign(&key(LOG), &inclusion).expect("a receipt")
}

/// The opaque terms of an option on the embedded ledger.
pub(crate) fn rail_terms(data: &[u8]) {
    let Ok(terms) = LedgerTerms::parse(data) else { return };
    assert_eq!(terms.encode(), data, "one encoding for these terms");
    if let Ok(policy) = terms.policy() {
        assert!(terms.is_of(&policy));
        assert_eq!(LedgerTerms::of(&policy, terms.url.clone()), terms, "one way to ask for this policy");
    }
}

/// A ledger in which the bytes choose who says what: issues, transfers, channels, vouchers, ticks, records.
///
/// Whatever happens, every asset is held by somebody to the last unit, a refusal changes nothing, and an entry counts
/// once.
pub(crate) fn ledger_fold(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut fold = Fold::new(ORIGIN, key(LOG).public());
    let mut said: Vec<Entry> = Vec::new();
    for _ in 0..60 {
        if choices.is_over() {
            break;
        }
        let entry = match said.len() {
            known @ 1.. if choices.byte() == 0xff => said[choices.below(known)].clone(),
            _ => Entry::sign(&key(choices.below(4) as u8), ORIGIN, body(&mut choices)),
        };
        take(&mut fold, &entry, said.contains(&entry));
        said.push(entry);
    }
}

fn take(fold: &mut Fold, entry: &Entry, again: bool) {
    let before = fold.dump().expect("a fold in memory");
    let size = fold.size();
    match fold.apply(entry) {
        Ok(_) => {
            assert_eq!(fold.size(), size + 1);
            assert!(entry.verify().is_ok() || !entry.body().must_be_verified());
            let place = fold.place_of(entry).expect("a fold in memory").expect("it is there");
            assert_eq!((place.index, place.id), (size, entry.id()));
        }
        Err(FoldError::Refused(_)) => assert_eq!(fold.dump(), Ok(before), "a refusal changes nothing"),
        Err(FoldError::Store(error)) => panic!("{error}"),
    }
    if again {
        assert!(matches!(fold.apply(entry), Err(FoldError::Refused(_))), "an entry counts once");
    }
    assert_eq!(fold.conservation(), Ok(None), "money is held by somebody");
}

fn coin(choices: &mut Choices<'_>) -> AssetId {
    asset_id(["coin", "point"][choices.below(2)], &key(choices.below(2) as u8).public())
}

/// Small amounts mostly, so that some fit; the largest too.
fn amount(choices: &mut Choices<'_>) -> Amount {
    let byte = choices.byte();
    Amount::new(if byte == 0xff { u128::MAX } else { u128::from(byte) })
}

fn reference(choices: &mut Choices<'_>) -> Bytes32 {
    Bytes32([choices.below(4) as u8; 32])
}

fn channel(choices: &mut Choices<'_>) -> ChannelId {
    let payer = key(choices.below(4) as u8).public();
    channel_id(ORIGIN, &payer, &reference(choices))
}

fn body(choices: &mut Choices<'_>) -> Body {
    match choices.below(9) {
        0 => Body::Issue(Issue {
            symbol: (*choices.pick(&["coin", "point", "", "a b"])).to_owned(),
            to: key(choices.below(4) as u8).public(),
            amount: amount(choices),
            reference: reference(choices),
        }),
        1 => Body::Transfer(Transfer {
            to: key(choices.below(4) as u8).public(),
            asset: coin(choices),
            amount: amount(choices),
            reference: reference(choices),
        }),
        2 => Body::Open(Open {
            payee: key(choices.below(4) as u8).public(),
            asset: coin(choices),
            deposit: amount(choices),
            signer: key(choices.below(4) as u8).public(),
            grace_ms: u64::from(choices.byte()) << choices.below(40),
            reference: reference(choices),
        }),
        3 => Body::TopUp(TopUp { channel: channel(choices), amount: amount(choices), reference: reference(choices) }),
        4 => redeem(choices),
        5 => Body::RequestClose(channel(choices)),
        6 => Body::Close(channel(choices)),
        7 => Body::Tick(Timestamp::from_ms(u64::from(choices.byte()) << choices.below(40))),
        _ => record(choices),
    }
}

fn redeem(choices: &mut Choices<'_>) -> Body {
    let channel = channel(choices);
    let voucher = voucher(choices);
    Body::Redeem { channel, voucher }
}

fn voucher(choices: &mut Choices<'_>) -> Signed<Payment> {
    let order = StatementId([choices.below(2) as u8; 32]);
    let channel = choices.yes().then(|| channel(choices));
    let body =
        Payment { order_id: order, prev: order, invoice_id: order, total: amount(choices), channel, proof: None };
    Signed::sign(&key(choices.below(4) as u8), body)
}

fn record(choices: &mut Choices<'_>) -> Body {
    let statement: AnyStatement = voucher(choices).erase();
    Body::Record(Record::of(&statement, if choices.yes() { Form::Full } else { Form::Hash }))
}
