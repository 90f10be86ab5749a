//! Hostile callers at random: money is never made, lost or moved by anybody but its owner.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use common::*;
use sdpp_ledger::entry::{Open, channel_id};
use sdpp_ledger::{Body, ChannelState, Entry, Fold, Refusal};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Signed;

const PEOPLE: [u8; 5] = [ISSUER, PAYER, PAYEE, SIGNER, STRANGER];

fn amount(dice: &mut Dice) -> u128 {
    match dice.below(10) {
        0 => 0,
        1 => u128::MAX,
        2 => u128::MAX - u128::from(dice.below(1000)),
        _ => u128::from(dice.below(200)),
    }
}

fn somebody(dice: &mut Dice) -> u8 {
    PEOPLE[usize::try_from(dice.below(5)).unwrap()]
}

fn some_channel(dice: &mut Dice) -> ChannelId {
    channel_id(ORIGIN, &public(somebody(dice)), &reference(dice.below(20)))
}

fn some_entry(dice: &mut Dice) -> Entry {
    let (who, to, number) = (somebody(dice), somebody(dice), dice.below(20));
    let id = some_channel(dice);
    match dice.below(12) {
        0 => issue(to, amount(dice), dice.below(1000)),
        1..=3 => transfer(who, to, amount(dice), dice.below(1000)),
        4 => {
            let deposit = Amount::new(amount(dice));
            let (payee, signer) = (public(to), public(somebody(dice)));
            entry(who, Body::Open(Open { payee, signer, deposit, ..open_body(0, dice.below(50), number) }))
        }
        5 => top_up(who, id, amount(dice), dice.below(100)),
        6..=8 => {
            let named = if dice.below(8) == 0 { some_channel(dice) } else { id };
            let voucher = Signed::sign(&test_key(to), payment(Some(named), amount(dice)));
            entry(who, Body::Redeem { channel: id, voucher })
        }
        9 => entry(who, Body::RequestClose(id)),
        10 => entry(who, Body::Close(id)),
        _ => entry(
            if dice.below(3) == 0 { who } else { LOG },
            Body::Tick(sdpp_proto::time::Timestamp::from_ms(dice.below(5000))),
        ),
    }
}

fn balances(fold: &Fold) -> [Amount; 5] {
    PEOPLE.map(|seed| fold.has(seed))
}

#[test]
fn money_is_conserved_whatever_is_tried() {
    let people = PEOPLE.map(public);
    for seed in 0..4 {
        let mut dice = Dice(seed);
        let mut fold = Fold::new(ORIGIN, public(LOG));
        fold.take(&tick(1)).unwrap();
        fold.take(&issue(PAYER, 5000, 100_000)).unwrap();
        let (mut accepted, mut seen) = (0, std::collections::BTreeSet::new());
        for step in 0..4000 {
            let entry = some_entry(&mut dice);
            let before = balances(&fold);
            let whole = (step % 64 == 0).then(|| fold.dump().unwrap());
            let outcome = fold.take(&entry);
            for ((had, has), account) in before.iter().zip(balances(&fold)).zip(people) {
                let spent = has < *had;
                assert!(!spent || account == entry.issuer(), "{:?} took from {account}", entry.body());
                assert!(!spent || outcome.is_ok(), "a refused entry spent money");
            }
            match outcome {
                Ok(_) => accepted += 1,
                Err(refusal) => {
                    assert!(whole.is_none_or(|before| before == fold.dump().unwrap()), "{refusal} changed something");
                    seen.insert(refusal.text());
                }
            }
            fold.is_conserved();
        }
        assert!(accepted > 200, "only {accepted} of 4000 were any good");
        assert!(seen.len() > 15, "the callers tried too little: {seen:?}");
    }
}

#[test]
fn a_closed_channel_stays_closed_whatever_is_tried() {
    let mut dice = Dice(99);
    let mut fold = Fold::new(ORIGIN, public(LOG));
    for entry in [tick(1), issue(PAYER, 5000, 100_000), open(100, 10, 1), entry(PAYEE, Body::Close(channel(1)))] {
        fold.take(&entry).unwrap();
    }
    let closed = fold.known_channel(&channel(1)).unwrap().clone();
    for _ in 0..3000 {
        let entry = some_entry(&mut dice);
        let _: Result<_, Refusal> = fold.take(&entry);
        assert_eq!(fold.known_channel(&channel(1)).as_ref(), Some(&closed));
    }
    assert_eq!(closed.state, ChannelState::Closed);
}
