//! What was said stays secret when long-term keys are lost afterwards, and who has one connection has no other.
//!
//! A test cannot show that nobody can read something. It shows that what the defence rests on is what opens the
//! frames, and that nothing does which is left when a session is over: each test has its control.

use sdpp_proto::codec::Bytes32;
use sdpp_proto::frame::{self, FrameKind};
use sdpp_proto::journal::Entry;
use sdpp_proto::keys::{Direction, EXPORT_TRAFFIC, INFO_ORDER, INFO_SESSION, Traffic};
use sdpp_proto::limits::EPOCH_SHIFT;
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::wire::hpke_info;
use zeroize::Zeroizing;

use crate::cbor::Value;
use crate::kit::World;
use crate::middle::{Conversation, Record, SEALING_SEED, SELLER_SEED, draws, fresh_seed};
use crate::mirror::{self, Key};

/// Encapsulation and ciphertext of a sealed body: members `enc` and `enc + 1`.
fn sealed(body: &[u8], enc: u64) -> (Vec<u8>, Vec<u8>) {
    let mut value = Value::read(body);
    (value.member(enc).unwrap().bytes().clone(), value.member(enc + 1).unwrap().bytes().clone())
}

/// What a session exports to who has this seed of the fresh key.
fn export_by_fresh_key(record: &Record, seed: Key) -> Option<Key> {
    let (enc, ct) = sealed(record.sent(FrameKind::Session), 1);
    let info = hpke_info(INFO_SESSION, &Bytes32(record.th2().0));
    let secret = SealSecret::derive(record.suite, &Zeroizing::new(seed)).0;
    secret.open(&enc, &info, (&ct, &[]), EXPORT_TRAFFIC).ok().map(|opened| *opened.export)
}

/// What a session exports to who has the seed by which the seller made the encapsulation.
fn export_by_sender(record: &Record, seed: Key) -> Option<Key> {
    let (enc, _) = sealed(record.sent(FrameKind::Session), 1);
    let public = SealSecret::derive(record.suite, &Zeroizing::new(fresh_seed(record.buyer))).1;
    let info = hpke_info(INFO_SESSION, &Bytes32(record.th2().0));
    let sender = record.suite.sender(&public, &info, &Zeroizing::new(seed)).unwrap();
    if sender.enc() != enc {
        return None;
    }
    sender.seal(b"", &[], EXPORT_TRAFFIC).ok().map(|sealed| *sealed.export)
}

/// How many of the recorded frames open under the keys that follow from an export.
fn opened(record: &Record, export: &Key) -> usize {
    let (to_buyer, to_seller) =
        (mirror::first_secret(&record.th3(), export, "s2b"), mirror::first_secret(&record.th3(), export, "b2s"));
    let open = |(is_to_buyer, frame): &&(bool, Vec<u8>)| {
        let secret = if *is_to_buyer { &to_buyer } else { &to_seller };
        mirror::open_frame(secret, frame).is_some()
    };
    record.sealed.iter().filter(open).count()
}

/// Every 32 bytes that could be a secret: CBOR strings of that length.
fn strings_in(bytes: &[u8]) -> impl Iterator<Item = Key> {
    bytes.windows(34).filter(|window| window.starts_with(&[0x58, 0x20])).map(|window| window[2..].try_into().unwrap())
}

/// All that is left when a session is over: long-term keys, both journals, and what went by.
fn what_is_left(world: &World, record: &Record) -> Vec<Key> {
    let identities = [[1; 32], [2; 32], [3; 32]];
    let order = record.open_order(SEALING_SEED, record.sent(FrameKind::Order)).expect("what is not promised");
    let (enc, ct) = sealed(record.sent(FrameKind::Order), 2);
    let info = hpke_info(INFO_ORDER, &Bytes32(record.th1().0));
    let seal = SealSecret::derive(record.suite, &Zeroizing::new(SEALING_SEED)).0;
    let export = *seal.open(&enc, &info, (&ct, &[]), EXPORT_TRAFFIC).ok().unwrap().export;
    let mut left: Vec<Key> = identities.into_iter().chain([SEALING_SEED, export]).collect();
    left.extend([record.th1().0, record.th2().0, record.th3()]);
    for entry in world.seller_journal.entries.iter().chain(&world.buyer_journal.entries) {
        match entry {
            Entry::Statement(statement) => left.extend(strings_in(&statement.bytes).chain([statement.id.0])),
            Entry::Salt(salt) => left.push(salt.0),
            Entry::Record { statement, record } => left.extend([statement.0, record.0]),
            Entry::Intent(_) => {}
        }
    }
    for kind in [FrameKind::Hello, FrameKind::Menu, FrameKind::Order, FrameKind::Session] {
        left.extend(strings_in(record.sent(kind)));
    }
    left.extend(strings_in(&order));
    left.sort_unstable();
    left.dedup();
    left
}

#[test]
fn long_term_keys_do_not_open_what_was_recorded() {
    for suite in Suite::ALL {
        let Conversation { world, record } = Conversation::recorded(suite);
        let frames = record.sealed.len();
        assert!(frames > 10, "there is something to read");
        // The control: either of the two secrets that are erased opens every frame.
        let export = export_by_fresh_key(&record, fresh_seed(record.buyer)).unwrap();
        assert_eq!(export_by_sender(&record, draws(SELLER_SEED)[2]), Some(export));
        assert_eq!(opened(&record, &export), frames, "{suite:?}");
        if suite == Suite::X25519 {
            let by_the_rfc = record.context_of(record.sent(FrameKind::Session)).export();
            assert_eq!(by_the_rfc, export, "computed without our code");
        }
        let left = what_is_left(&world, &record);
        assert!(left.len() > 40, "{} strings", left.len());
        for candidate in left {
            assert_eq!(export_by_fresh_key(&record, candidate), None, "{suite:?}: as the fresh key");
            assert_eq!(export_by_sender(&record, candidate), None, "{suite:?}: as the encapsulation's seed");
            assert_eq!(opened(&record, &candidate), 0, "{suite:?}: as the exported secret");
            let as_secret = |(_, frame): &(bool, Vec<u8>)| mirror::open_frame(&candidate, frame).is_some();
            assert!(!record.sealed.iter().any(as_secret), "{suite:?}: as the secret of a direction");
        }
    }
}

/// What is not promised: the menu's sealing key, within its life, opens orders. It opens nothing behind them.
#[test]
fn the_sealing_key_opens_the_order_and_no_session() {
    for suite in Suite::ALL {
        let record = Conversation::recorded(suite).record;
        assert!(record.open_order(SEALING_SEED, record.sent(FrameKind::Order)).is_some());
        assert!(record.open_order([10; 32], record.sent(FrameKind::Order)).is_none(), "another menu's");
        assert_eq!(export_by_fresh_key(&record, SEALING_SEED), None);
    }
}

#[test]
fn the_keys_of_one_connection_open_no_other() {
    for suite in Suite::ALL {
        let (first, mut second) = Conversation::second(suite, false);
        second.run(&mut crate::middle::honest);
        let records = [first, second.record];
        let exports = records.each_ref().map(|record| export_by_fresh_key(record, fresh_seed(record.buyer)).unwrap());
        for (at, record) in records.iter().enumerate() {
            assert!(record.sealed.len() > 4, "there is something to read");
            assert_eq!(opened(record, &exports[at]), record.sealed.len(), "{suite:?}: connection {at} by its own");
            assert_eq!(opened(record, &exports[1 - at]), 0, "{suite:?}: connection {at} by the other's");
            assert_eq!(export_by_fresh_key(record, fresh_seed(records[1 - at].buyer)), None);
        }
        assert_ne!(mirror::first_secret(&records[0].th3(), &exports[0], "s2b"), {
            mirror::first_secret(&records[1].th3(), &exports[0], "s2b")
        });
    }
}

/// A key moves on every 2^20 frames. Who has it behind a turn reads on, and not what was before.
#[test]
fn keys_behind_a_turn_do_not_open_what_was_before_it() {
    let (th3, export) = ([3; 32], [4; 32]);
    let traffic = Traffic::new(&th3, &Zeroizing::new(export));
    for (direction, label) in [(Direction::ToBuyer, "s2b"), (Direction::ToSeller, "b2s")] {
        let mut key = traffic.direction(direction);
        let mut seal = |at: u64| {
            key.skip_to(at);
            let mut out = Vec::new();
            frame::write_sealed(&mut out, &mut key, b"a reading", &[]).unwrap();
            out
        };
        let frames = [0, 1 << EPOCH_SHIFT, 2 << EPOCH_SHIFT].map(&mut seal);
        let first = mirror::first_secret(&th3, &export, label);
        let second = mirror::next_secret(&first);
        let secrets = [first, second, mirror::next_secret(&second)];
        for (of_secret, secret) in secrets.iter().enumerate() {
            for (of_frame, frame) in frames.iter().enumerate() {
                let opens = mirror::open_frame(secret, frame).is_some();
                assert_eq!(opens, of_secret == of_frame, "secret {of_secret}, frame {of_frame}");
            }
        }
        // Nothing that follows from the later secret is the earlier one, by any label there is.
        let follow = |secret: &Key| [mirror::next_secret(secret), mirror::first_secret(secret, &export, label)];
        let mut later = vec![second];
        for at in 0..32 {
            later.extend(follow(&later[at]));
        }
        assert!(later.iter().all(|secret| mirror::open_frame(secret, &frames[0]).is_none()));
        // And the machine's own key, moved on, does not go back.
        key.skip_to(2 << EPOCH_SHIFT);
        assert!(frame::open_sealed(&mut key, &mut frames[0].clone()).is_err());
    }
}
