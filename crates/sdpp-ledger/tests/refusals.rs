//! Every rule of the ledger, broken.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use common::*;
use sdpp_ledger::entry::{Issue, Open, Record, Transfer, asset_id};
use sdpp_ledger::{Body, Channel, ChannelState, Effect, Entry, Fold, NotConserved, Refusal, limits};
use sdpp_proto::codec::{self, ChannelId, StatementId};
use sdpp_proto::cose;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Form, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{MemoryStore, Store as _, StoreReader as _};

/// A fold at tick 1000 in which the payer has 1000 coins.
fn funded() -> Fold {
    let mut fold = Fold::new(ORIGIN, public(LOG));
    for entry in [tick(1000), issue(PAYER, 1000, 1)] {
        fold.take(&entry).unwrap();
    }
    fold
}

/// The same with channel 1: a deposit of 100 and a grace of 500.
fn with_channel() -> Fold {
    let mut fold = funded();
    fold.take(&open(100, 500, 1)).unwrap();
    fold
}

/// Parses as the ledger does, then applies; a refusal must change nothing.
fn refused(fold: &mut Fold, entry: &Entry) -> Refusal {
    let before = fold.dump().unwrap();
    let entry = Entry::parse(entry.bytes()).expect("the form is right");
    let refusal = entry.verify().and_then(|()| fold.take(&entry)).expect_err("a rule is broken");
    assert_eq!(fold.dump().unwrap(), before, "{refusal} changed something");
    refusal
}

#[test]
fn form() {
    assert_eq!(Entry::parse(&vec![0; limits::ENTRY_MAX + 1]), Err(Refusal::TooLong));
    assert_eq!(Entry::parse(b"no entry"), Err(Refusal::Malformed));
    let sign = |name: &str, payload: &[u8]| cose::sign(&test_key(PAYER), &cose::content_type(name), ORIGIN, payload).0;
    assert_eq!(Entry::parse(&sign("ledger-mint", &[0xa0])), Err(Refusal::Malformed), "an unknown kind");
    assert_eq!(Entry::parse(&sign("ledger-tick", &[0xa0])), Err(Refusal::Malformed), "a field is missing");
    let unknown_key = [0xa2, 1, 0, 2, 0];
    assert_eq!(Entry::parse(&sign("ledger-tick", &unknown_key)), Err(Refusal::Malformed), "a field too many");
    assert_eq!(Entry::parse(&sign("payment", &[0xa1, 1, 0])), Err(Refusal::Malformed), "a statement is no entry");

    let mut forged = issue(PAYER, 1, 1).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(Entry::parse(&forged).unwrap().verify(), Err(Refusal::BadSignature));
}

#[test]
fn an_entry_of_one_log_means_nothing_in_another() {
    let mut fold = funded();
    let foreign = Entry::sign(&test_key(PAYER), "other.example", transfer(PAYER, PAYEE, 1, 1).body().clone());
    assert_eq!(refused(&mut fold, &foreign), Refusal::OtherLog);
}

#[test]
fn an_entry_counts_once() {
    let mut fold = funded();
    let entry = transfer(PAYER, PAYEE, 1, 1);
    fold.take(&entry).unwrap();
    let place = fold.place_of(&entry).unwrap().unwrap();
    // Signed again by the same key: the same entry.
    assert_eq!(refused(&mut fold, &transfer(PAYER, PAYEE, 1, 1)), Refusal::KnownEntry(place));
    assert_eq!(fold.has(PAYEE), Amount::new(1));
}

#[test]
fn issues() {
    let mut fold = funded();
    let with = |symbol: &str, amount: u128, number: u64| {
        let issue = Issue {
            symbol: symbol.into(),
            to: public(PAYER),
            amount: Amount::new(amount),
            reference: reference(number),
        };
        entry(ISSUER, Body::Issue(issue))
    };
    for symbol in ["", "two words", "a@b", "é", &"x".repeat(limits::SYMBOL_MAX + 1)] {
        assert_eq!(refused(&mut fold, &with(symbol, 1, 9)), Refusal::BadSymbol, "{symbol:?}");
    }
    assert_eq!(refused(&mut fold, &with("coin", 0, 9)), Refusal::ZeroAmount);
    assert_eq!(refused(&mut fold, &with("coin", 7, 1)), Refusal::IssueReferenceUsed);
    assert_eq!(refused(&mut fold, &with("coin", u128::MAX, 9)), Refusal::SupplyOverflow);
    fold.take(&with("coin", u128::MAX - 1000, 9)).unwrap();
    assert_eq!(refused(&mut fold, &with("coin", 1, 10)), Refusal::SupplyOverflow);
    fold.is_conserved();
}

#[test]
fn nobody_issues_the_asset_of_another() {
    let mut fold = funded();
    let Body::Issue(body) = issue(STRANGER, 5, 2).body().clone() else { panic!() };
    let forged = entry(STRANGER, Body::Issue(body));
    let asset = asset_id("coin", &public(STRANGER));
    assert_eq!(fold.take(&forged), Ok(Effect::Issued { asset: asset.clone(), amount: Amount::new(5) }));
    assert_ne!(asset, coin());
    assert_eq!(fold.has(STRANGER), Amount::ZERO);
}

#[test]
fn transfers() {
    let mut fold = funded();
    assert_eq!(refused(&mut fold, &transfer(PAYER, PAYEE, 0, 1)), Refusal::ZeroAmount);
    assert_eq!(refused(&mut fold, &transfer(PAYER, PAYEE, 1001, 1)), Refusal::InsufficientFunds);
    assert_eq!(refused(&mut fold, &transfer(STRANGER, PAYEE, 1, 1)), Refusal::InsufficientFunds);
    fold.take(&transfer(PAYER, PAYEE, 10, 1)).unwrap();
    assert_eq!(refused(&mut fold, &transfer(PAYER, PAYEE, 11, 1)), Refusal::TransferReferenceUsed);
    assert_eq!(refused(&mut fold, &transfer(PAYER, STRANGER, 10, 1)), Refusal::TransferReferenceUsed);
    let Body::Transfer(body) = transfer(PAYER, PAYEE, 1, 2).body().clone() else { panic!() };
    let unknown = Transfer { asset: asset_id("gold", &public(ISSUER)), ..body };
    assert_eq!(refused(&mut fold, &entry(PAYER, Body::Transfer(unknown))), Refusal::InsufficientFunds);
    // To oneself: allowed, and money neither comes nor goes.
    fold.take(&transfer(PAYER, PAYER, 990, 3)).unwrap();
    assert_eq!(fold.has(PAYER), Amount::new(990));
    fold.is_conserved();
}

#[test]
fn opening() {
    let mut fold = funded();
    assert_eq!(refused(&mut fold, &open(0, 500, 1)), Refusal::ZeroAmount);
    assert_eq!(refused(&mut fold, &open(1, limits::GRACE_MAX_MS + 1, 1)), Refusal::GraceTooLong);
    assert_eq!(refused(&mut fold, &open(1001, 500, 1)), Refusal::InsufficientFunds);
    fold.take(&open(100, 500, 1)).unwrap();
    assert_eq!(refused(&mut fold, &open(101, 500, 1)), Refusal::ChannelExists);
    assert_eq!(fold.has(PAYER), Amount::new(900));
    fold.take(&open(100, limits::GRACE_MAX_MS, 2)).expect("the longest grace");
    fold.is_conserved();
}

#[test]
fn a_fold_tells_its_log_and_the_channels_of_both_sides() {
    let fold = with_channel();
    assert_eq!(fold.origin(), ORIGIN);
    let ids = |channels: Vec<(ChannelId, Channel)>| channels.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(fold.channels_of(&public(PAYER)).unwrap()), [channel(1)]);
    assert_eq!(ids(fold.channels_for(&public(PAYEE)).unwrap()), [channel(1)]);
    assert!(
        fold.channels_of(&public(PAYEE)).unwrap().is_empty() && fold.channels_for(&public(PAYER)).unwrap().is_empty()
    );
}

#[test]
fn money_that_the_store_lost_or_made_is_noticed() {
    let mut store = MemoryStore::new();
    let mut fold = Fold::open(ORIGIN, public(LOG), Box::new(store.clone())).unwrap();
    for entry in [tick(1000), issue(PAYER, 1000, 1), open(100, 500, 1)] {
        fold.take(&entry).unwrap();
    }
    fold.is_conserved();
    let only = |prefix: &str| store.heads(prefix, None, 9).unwrap().pop().unwrap();
    let ((balance, nine_hundred), (issued, _)) = (only("b/"), only("i/"));
    let amount = |amount: u128| codec::encode(&Amount::new(amount));
    let wrong = |held: u128, issued: u128| {
        Ok(Some(NotConserved { asset: coin(), issued: Amount::new(issued), held: Some(Amount::new(held)) }))
    };
    for other in [0, 899, 901] {
        store.put(&balance, &amount(other)).unwrap();
        assert_eq!(fold.conservation(), wrong(other + 100, 1000));
    }
    store.put(&balance, &nine_hundred).unwrap();
    store.put(&issued, &amount(999)).unwrap();
    assert_eq!(fold.conservation(), wrong(1000, 999));
    store.put(&issued, &amount(1000)).unwrap();
    fold.is_conserved();
    // Of an asset that was never issued: none of it is nothing, some of it is too much.
    let strange = balance.replace("coin@", "coim@");
    store.put(&strange, &amount(0)).unwrap();
    fold.is_conserved();
    store.put(&strange, &amount(5)).unwrap();
    let asset = AssetId::new(coin().as_str().replace("coin@", "coim@"));
    let held = Some(Amount::new(5));
    assert_eq!(fold.conservation(), Ok(Some(NotConserved { asset, issued: Amount::ZERO, held })));
}

#[test]
fn a_closed_channel_never_opens_again() {
    let mut fold = with_channel();
    fold.take(&entry(PAYEE, Body::Close(channel(1)))).unwrap();
    assert_eq!(fold.has(PAYER), Amount::new(1000));
    // The same content is a known entry; another content is a used reference.
    assert!(matches!(refused(&mut fold, &open(100, 500, 1)), Refusal::KnownEntry(_)));
    assert_eq!(refused(&mut fold, &open(50, 500, 1)), Refusal::ChannelExists);
    assert_eq!(refused(&mut fold, &redeem(channel(1), 1)), Refusal::ChannelClosed);
    assert_eq!(refused(&mut fold, &top_up(PAYER, channel(1), 1, 1)), Refusal::ChannelClosed);
    assert_eq!(refused(&mut fold, &entry(PAYER, Body::RequestClose(channel(1)))), Refusal::ChannelClosed);
    assert_eq!(refused(&mut fold, &entry(PAYER, Body::Close(channel(1)))), Refusal::ChannelClosed);
}

#[test]
fn topping_up() {
    let mut fold = with_channel();
    assert_eq!(refused(&mut fold, &top_up(PAYER, ChannelId([9; 32]), 1, 1)), Refusal::UnknownChannel);
    assert_eq!(refused(&mut fold, &top_up(STRANGER, channel(1), 1, 1)), Refusal::NotThePayer);
    assert_eq!(refused(&mut fold, &top_up(PAYER, channel(1), 0, 1)), Refusal::ZeroAmount);
    assert_eq!(refused(&mut fold, &top_up(PAYER, channel(1), 901, 1)), Refusal::InsufficientFunds);
    fold.take(&top_up(PAYER, channel(1), 50, 1)).unwrap();
    assert_eq!(refused(&mut fold, &top_up(PAYER, channel(1), 51, 1)), Refusal::TopUpReferenceUsed);
    assert_eq!(fold.known_channel(&channel(1)).unwrap().deposit, Amount::new(150));
    fold.take(&entry(PAYER, Body::RequestClose(channel(1)))).unwrap();
    assert_eq!(refused(&mut fold, &top_up(PAYER, channel(1), 1, 2)), Refusal::ClosePending);
    fold.is_conserved();
}

#[test]
fn vouchers() {
    let mut fold = with_channel();
    let id = channel(1);
    let by = |seed: u8, body| {
        let voucher = Signed::sign(&test_key(seed), body);
        entry(STRANGER, Body::Redeem { channel: id, voucher })
    };
    assert_eq!(refused(&mut fold, &redeem(ChannelId([9; 32]), 1)), Refusal::UnknownChannel);
    assert_eq!(refused(&mut fold, &by(PAYER, payment(Some(id), 1))), Refusal::VoucherWrongSigner);
    assert_eq!(refused(&mut fold, &by(SIGNER, payment(None, 1))), Refusal::VoucherWrongChannel);
    assert_eq!(refused(&mut fold, &by(SIGNER, payment(Some(channel(2)), 1))), Refusal::VoucherWrongChannel);
    let mut proved = payment(Some(id), 1);
    proved.proof = Some(vec![1]);
    assert_eq!(refused(&mut fold, &by(SIGNER, proved)), Refusal::VoucherHasProof);
    assert_eq!(refused(&mut fold, &redeem(id, 101)), Refusal::VoucherAboveDeposit);
    assert_eq!(refused(&mut fold, &redeem(id, 0)), Refusal::VoucherNotRising);
    fold.take(&redeem(id, 40)).unwrap();
    assert_eq!(refused(&mut fold, &redeem(id, 39)), Refusal::VoucherNotRising);
    let again = entry(PAYEE, Body::Redeem { channel: id, voucher: voucher(id, 40) });
    assert_eq!(refused(&mut fold, &again), Refusal::VoucherNotRising, "the same voucher by somebody else");
    assert_eq!(fold.take(&redeem(id, 100)), Ok(Effect::Redeemed { amount: Amount::new(60) }));
    assert_eq!(fold.has(PAYEE), Amount::new(100));
    fold.is_conserved();
}

#[test]
fn embedded_statements_are_verified() {
    let id = channel(1);
    let wire = |voucher: &[u8]| {
        let mut e = minicbor::Encoder::new(Vec::new());
        e.map(2).unwrap().u8(1).unwrap().bytes(&id.0).unwrap().u8(2).unwrap().bytes(voucher).unwrap();
        cose::sign(&test_key(STRANGER), &cose::content_type("ledger-redeem"), ORIGIN, &e.into_writer()).0
    };
    assert_eq!(Entry::parse(&wire(b"nothing")), Err(Refusal::VoucherMalformed));
    let mut forged = voucher(id, 5).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let entry = Entry::parse(&wire(&forged)).unwrap();
    assert_eq!(entry.verify(), Err(Refusal::VoucherBadSignature));

    let record = |form: u8, body: &[u8]| {
        let mut e = minicbor::Encoder::new(Vec::new());
        e.map(2).unwrap().u8(1).unwrap().u8(form).unwrap().u8(2).unwrap().bytes(body).unwrap();
        cose::sign(&test_key(STRANGER), &cose::content_type("ledger-record"), ORIGIN, &e.into_writer()).0
    };
    assert_eq!(Entry::parse(&record(0, b"nothing")), Err(Refusal::RecordMalformed));
    assert_eq!(Entry::parse(&record(0, tick(1).bytes())), Err(Refusal::RecordMalformed), "an entry is no statement");
    assert_eq!(Entry::parse(&record(1, &[0; 31])), Err(Refusal::RecordNotAHash));
    assert_eq!(Entry::parse(&record(0, &forged)).unwrap().verify(), Err(Refusal::RecordBadSignature));
}

#[test]
fn closing() {
    let mut fold = with_channel();
    let (id, request) = (channel(1), entry(PAYER, Body::RequestClose(channel(1))));
    let close = |seed| entry(seed, Body::Close(id));
    assert_eq!(refused(&mut fold, &entry(PAYER, Body::RequestClose(ChannelId([9; 32])))), Refusal::UnknownChannel);
    assert_eq!(refused(&mut fold, &entry(PAYEE, Body::RequestClose(id))), Refusal::NotThePayer);
    assert_eq!(refused(&mut fold, &close(PAYER)), Refusal::CloseNotRequested);
    fold.take(&request).unwrap();
    let ends = Timestamp::from_ms(1500);
    assert_eq!(fold.known_channel(&id).unwrap().state, ChannelState::Closing { ends });
    assert_eq!(refused(&mut fold, &close(PAYER)), Refusal::GraceRuns(ends));
    fold.take(&tick(1499)).unwrap();
    assert_eq!(refused(&mut fold, &close(STRANGER)), Refusal::GraceRuns(ends));
    fold.take(&redeem(id, 30)).expect("a voucher counts within the grace");
    fold.take(&tick(1500)).unwrap();
    fold.take(&redeem(id, 35)).expect("and behind it, until somebody closes");
    assert_eq!(fold.take(&close(STRANGER)), Ok(Effect::Closed { refund: Amount::new(65) }));
    assert_eq!(refused(&mut fold, &redeem(id, 40)), Refusal::ChannelClosed);
    assert_eq!(fold.has(PAYER), Amount::new(965));
    fold.is_conserved();
}

#[test]
fn a_close_is_requested_once_and_needs_time() {
    let mut fold = Fold::new(ORIGIN, public(LOG));
    fold.take(&issue(PAYER, 1000, 1)).unwrap();
    fold.take(&open(100, 500, 1)).unwrap();
    assert_eq!(refused(&mut fold, &entry(PAYER, Body::RequestClose(channel(1)))), Refusal::NoTickYet);
    fold.take(&tick(1)).unwrap();
    fold.take(&entry(PAYER, Body::RequestClose(channel(1)))).unwrap();
    // The same payer asks once more: that is the same entry. Nobody else may.
    assert!(matches!(refused(&mut fold, &entry(PAYER, Body::RequestClose(channel(1)))), Refusal::KnownEntry(_)));
    assert_eq!(refused(&mut fold, &entry(STRANGER, Body::RequestClose(channel(1)))), Refusal::ClosePending);
}

#[test]
fn ticks() {
    let mut fold = funded();
    assert_eq!(refused(&mut fold, &entry(PAYER, Body::Tick(Timestamp::from_ms(2000)))), Refusal::NotTheLog);
    assert_eq!(refused(&mut fold, &tick(999)), Refusal::TickBackward);
    assert!(matches!(refused(&mut fold, &tick(1000)), Refusal::KnownEntry(_)));
    fold.take(&tick(1001)).unwrap();
    assert_eq!(fold.time(), Some(Timestamp::from_ms(1001)));
}

#[test]
fn records() {
    let mut fold = funded();
    let statement = voucher(channel(1), 1).erase();
    let record = |seed, form| entry(seed, Body::Record(Record::of(&statement, form)));
    fold.take(&record(PAYER, Form::Full)).unwrap();
    let place = fold.record(&statement.id).unwrap().unwrap().place;
    assert!(matches!(refused(&mut fold, &record(PAYER, Form::Full)), Refusal::KnownEntry(_)));
    assert_eq!(refused(&mut fold, &record(PAYEE, Form::Full)), Refusal::KnownRecord(place));
    assert_eq!(refused(&mut fold, &record(PAYER, Form::Hash)), Refusal::KnownRecord(place));
    assert_eq!(fold.record(&StatementId([0; 32])), Ok(None));
}

#[test]
fn entries_come_back_as_they_were() {
    let statement = voucher(channel(1), 1).erase();
    let bodies = [
        issue(PAYER, u128::MAX, 1).body().clone(),
        transfer(PAYER, PAYEE, 1, 1).body().clone(),
        Body::Open(Open { deposit: Amount::new(1 << 70), ..open_body(1, 2, 3) }),
        top_up(PAYER, channel(1), 1, 1).body().clone(),
        redeem(channel(1), 1).body().clone(),
        Body::RequestClose(channel(1)),
        Body::Close(channel(1)),
        Body::Tick(Timestamp::NEVER),
        Body::Record(Record::of(&statement, Form::Full)),
        Body::Record(Record::of(&statement, Form::Hash)),
    ];
    let mut names: Vec<_> = bodies.iter().map(Body::name).collect();
    for body in bodies {
        let signed = entry(PAYER, body);
        let parsed = Entry::parse(signed.bytes()).unwrap();
        assert_eq!(parsed, signed);
        parsed.verify().unwrap();
    }
    names.dedup();
    assert_eq!(names.len(), 9);
}
