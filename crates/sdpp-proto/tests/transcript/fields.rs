//! Somebody in the middle changes exactly one field. The table says what must come of it.

use sdpp_proto::cose;
use sdpp_proto::frame::FrameKind;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::Signed;
use sdpp_proto::suite::Suite;

use crate::cbor::{Field, Value, fields};
use crate::kit::{key, seller_config};
use crate::middle::{Change, Conversation, Record, SEALING_SEED, honest, in_statement, part_of};
use crate::mirror;
use crate::table::{Outcome, row, rows};

/// Runs a conversation with this change and says what came of it.
fn outcome(change: Change<'_>) -> Outcome {
    outcome_of(Conversation::new(Suite::X25519), change)
}

fn outcome_of(mut conversation: Conversation, change: Change<'_>) -> Outcome {
    conversation.world.sink.clear();
    conversation.run(change);
    conversation.refused().map_or(Outcome::ComesAbout, Outcome::Refused)
}

/// Changes every field of a structure in turn, and compares with one column of the table. `change` gets the
/// structure's value and gives the changed one.
struct Sweep<'a> {
    root: &'a str,
    kind: FrameKind,
    with_keys: bool,
    test: &'a str,
    connection: Connection,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// The first one of an order.
    First,
    /// The seller died with messages on credit: there is something to have, and something to forgive.
    AfterADeath,
}

impl Connection {
    fn begin(self) -> Conversation {
        match self {
            Self::First => Conversation::new(Suite::X25519),
            Self::AfterADeath => Conversation::second(Suite::X25519, true).1,
        }
    }
}

/// Puts a changed structure where the honest one was, in the body of a frame.
type Put = fn(&Record, &[u8], &mut dyn FnMut(Value) -> Value) -> Vec<u8>;

impl Sweep<'_> {
    fn run(&self, put: Put) {
        let mut wrong = Vec::new();
        for field in fields(self.root).into_iter().filter(|field| self.is_reached(field)) {
            let row = row(&field.name);
            let wanted = if self.with_keys { row.with_keys } else { row.anybody };
            assert_eq!(row.test, self.test, "the row of {} names another test", field.name);
            if wanted == Outcome::Nothing {
                continue;
            }
            let mut changed = 0;
            let came = outcome_of(self.connection.begin(), &mut |record, kind, body| {
                if kind != self.kind {
                    return body;
                }
                put(record, &body, &mut |value| {
                    changed += 1;
                    let other = value.with_other(&field);
                    assert_ne!(other, value, "{}: nothing was changed", field.name);
                    // A transcript, or a statement, that left this field out would be the same for both.
                    assert_eq!(other.without(&field.path), value.without(&field.path), "{}", field.name);
                    other
                })
            });
            assert_eq!(changed, 1, "{}: changed once", field.name);
            if came != wanted {
                wrong.push(format!("{}: {came:?}, the table says {wanted:?}", field.name));
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    /// What is forgiven has members only where something is.
    fn is_reached(&self, field: &Field) -> bool {
        self.connection == Connection::AfterADeath || !field.name.starts_with("forgiven.")
    }
}

#[test]
fn an_unchanged_conversation_comes_about() {
    for suite in Suite::ALL {
        let mut conversation = Conversation::new(suite);
        conversation.run(&mut honest);
        assert_eq!(conversation.refused(), None);
        conversation.world.both_settled();
    }
}

/// The mirror is true: it gives what the machines signed and sealed.
#[test]
fn the_transcript_computed_without_our_code_is_the_one_that_was_signed() {
    let record = Conversation::recorded(Suite::X25519).record;
    let plain = record.open_order(SEALING_SEED, record.sent(FrameKind::Order)).unwrap();
    let attach = Value::read(&plain).member(3).unwrap().bytes().clone();
    let signed = part_of(&attach, 2).member(5).unwrap().bytes().clone();
    let (buyer, seller) = record.th1();
    assert_eq!((&signed[..], buyer), (&buyer[..], seller));
    let mut acceptance = Vec::new();
    record.in_session(record.sent(FrameKind::Session), |mut session| {
        acceptance = session.member(1).unwrap().bytes().clone();
        session
    });
    let signed = part_of(&acceptance, 2).member(4).unwrap().bytes().clone();
    let (buyer, seller) = record.th2();
    assert_eq!((&signed[..], buyer), (&buyer[..], seller));
    // Another hello, another menu', another order' gives other hashes; and where one begins cannot be moved.
    let (hello, menu) = (record.sent(FrameKind::Hello), record.sent(FrameKind::Menu));
    let (first, rest) = menu.split_at(1);
    assert_ne!(mirror::th1(hello, menu), mirror::th1(&[hello, first].concat(), rest));
}

#[test]
fn whoever_changes_the_hello_is_noticed() {
    let put: Put = |_, body, change| change(Value::read(body)).write();
    let sweep = Sweep {
        root: "hello",
        kind: FrameKind::Hello,
        with_keys: false,
        test: "whoever_changes_the_hello_is_noticed",
        connection: Connection::First,
    };
    sweep.run(put);
    for field in fields("hello") {
        with_sealing_key(&field, FrameKind::Hello, |value| value.with_other(&field));
    }
}

#[test]
fn whoever_changes_the_menu_reply_is_noticed() {
    let put: Put = |_, body, change| {
        let mut changed = change(Value::read(body));
        // Another menu that the seller signed, too: a cut one is refused by its signature already.
        if changed.member(3) != Value::read(body).member(3) {
            *changed.member(3).unwrap() = Value::Bytes(another_menu());
        }
        changed.write()
    };
    let test = "whoever_changes_the_menu_reply_is_noticed";
    Sweep { root: "menu-reply", kind: FrameKind::Menu, with_keys: false, test, connection: Connection::First }.run(put);
    for field in fields("menu-reply") {
        with_sealing_key(&field, FrameKind::Menu, |value| {
            let mut changed = value.with_other(&field);
            if field.name == "menu-reply.menu" {
                *changed.member(3).unwrap() = Value::Bytes(another_menu());
            }
            changed
        });
    }
}

/// A menu of the same seller with the same sealing keys: yesterday's.
fn another_menu() -> Vec<u8> {
    let mut menu = seller_config(crate::kit::product()).menu.body().clone();
    menu.until = menu.until.after_ms(1);
    Signed::sign(&key(1), menu).bytes().to_vec()
}

/// The middle opens the order with the menu's sealing key and seals it again, so that the envelope fits what the
/// seller heard: only the signed attach is left to notice.
fn with_sealing_key(field: &Field, at: FrameKind, change: impl Fn(&Value) -> Value) {
    let came = outcome(&mut |record, kind, body| match kind {
        kind if kind == at => change(&Value::read(&body)).write(),
        FrameKind::Order => record.in_order(&body, |value| value),
        _ => body,
    });
    assert_eq!(came, row(&field.name).with_keys, "{} with the sealing key", field.name);
}

#[test]
fn whoever_changes_the_menu_is_noticed() {
    let put: Put = |_, body, change| {
        let mut reply = Value::read(body);
        let menu = reply.member(3).unwrap().bytes();
        *menu = in_statement(menu, 2, change);
        reply.write()
    };
    let test = "whoever_changes_the_menu_is_noticed";
    Sweep { root: "menu", kind: FrameKind::Menu, with_keys: false, test, connection: Connection::First }.run(put);
}

#[test]
fn whoever_changes_the_sealed_order_is_noticed() {
    let put: Put = |_, body, change| change(Value::read(body)).write();
    let test = "whoever_changes_the_sealed_order_is_noticed";
    Sweep { root: "sealed-order", kind: FrameKind::Order, with_keys: false, test, connection: Connection::First }
        .run(put);
    // With the sealing key: the same order, sealed again. Both sides signed other bytes than the other one has.
    let came = outcome(&mut |record, kind, body| match kind {
        FrameKind::Order => record.in_order(&body, |value| value),
        _ => body,
    });
    assert_eq!([row("sealed-order.enc").with_keys, row("sealed-order.ct").with_keys], [came, came]);
    // In the other suite's envelope: the attach names its own.
    let came = outcome(&mut |record, kind, body| match kind {
        FrameKind::Order => {
            let plain = record.open_order(SEALING_SEED, &body).unwrap();
            record.seal_order(Suite::XWing, &plain)
        }
        _ => body,
    });
    assert_eq!(row("sealed-order.suite").with_keys, came);
}

#[test]
fn who_has_the_sealing_key_and_changes_an_order_is_noticed() {
    let test = "who_has_the_sealing_key_and_changes_an_order_is_noticed";
    let plain: Put = |record, body, change| record.in_order(body, change);
    Sweep { root: "order-plain", kind: FrameKind::Order, with_keys: true, test, connection: Connection::First }
        .run(plain);
    let order: Put = |record, body, change| {
        record.in_order(body, |mut plain| {
            let order = plain.member(1).unwrap().bytes();
            *order = in_statement(order, 2, change);
            plain
        })
    };
    Sweep { root: "order", kind: FrameKind::Order, with_keys: true, test, connection: Connection::First }.run(order);
}

#[test]
fn who_has_the_sealing_key_and_changes_an_attach_is_noticed() {
    let test = "who_has_the_sealing_key_and_changes_an_attach_is_noticed";
    let attach: Put = |record, body, change| {
        record.in_order(body, |mut plain| {
            let attach = plain.member(3).unwrap().bytes();
            *attach = in_statement(attach, 2, change);
            plain
        })
    };
    for connection in [Connection::First, Connection::AfterADeath] {
        Sweep { root: "attach", kind: FrameKind::Order, with_keys: true, test, connection }.run(attach);
    }
}

#[test]
fn whoever_changes_the_sealed_session_is_noticed() {
    let put: Put = |_, body, change| change(Value::read(body)).write();
    let test = "whoever_changes_the_sealed_session_is_noticed";
    Sweep { root: "sealed-session", kind: FrameKind::Session, with_keys: false, test, connection: Connection::First }
        .run(put);
    // With the buyer's fresh key: the same session in another encapsulation, as if it were a key of the middle's own.
    let came = outcome(&mut |record, kind, body| match kind {
        FrameKind::Session => record.reseal_session(&body),
        _ => body,
    });
    assert_eq!(row("sealed-session.enc").with_keys, came);
}

/// The buyer's fresh key is lost, and the middle writes under the seller's own encapsulation: only what was signed,
/// and the hash of the session in the key schedule, is left to notice.
#[test]
fn who_has_the_fresh_key_and_changes_a_session_is_noticed() {
    let test = "who_has_the_fresh_key_and_changes_a_session_is_noticed";
    let plain: Put = |record, body, change| record.in_session(body, change);
    Sweep { root: "session-plain", kind: FrameKind::Session, with_keys: true, test, connection: Connection::First }
        .run(plain);
    let acceptance: Put = |record, body, change| {
        record.in_session(body, |mut session| {
            let acceptance = session.member(1).unwrap().bytes();
            *acceptance = in_statement(acceptance, 2, change);
            session
        })
    };
    for connection in [Connection::First, Connection::AfterADeath] {
        Sweep { root: "acceptance", kind: FrameKind::Session, with_keys: true, test, connection }.run(acceptance);
    }
    // Its ciphertext is what is inside: the salt stands for all that is not signed.
    assert_eq!(row("sealed-session.ct").with_keys, row("session-plain.order_salt").with_keys);
}

/// With both keys the middle makes the envelopes fit on both sides. The acceptance says for which order' it was.
#[test]
fn who_has_both_keys_is_noticed_by_what_was_signed() {
    let came = outcome(&mut |record, kind, body| match kind {
        FrameKind::Order => record.in_order(&body, |value| value),
        FrameKind::Session => record.reseal_session(&body),
        _ => body,
    });
    assert_eq!(came, Outcome::Refused(Offence::AcceptanceTranscript));
}

/// Where the statements stand, and what refuses one whose wrapping was changed.
const STATEMENTS: [(FrameKind, u64, Offence); 4] = [
    (FrameKind::Menu, 3, Offence::BadMenu),
    (FrameKind::Order, 1, Offence::BadOrder),
    (FrameKind::Order, 3, Offence::BadAttach),
    (FrameKind::Session, 1, Offence::BadAcceptance),
];

#[test]
fn every_part_of_a_statement_is_signed() {
    let spoil = |statement: &[u8]| {
        let mut statement = statement.to_vec();
        *statement.last_mut().unwrap() ^= 1;
        statement
    };
    for (at, member, offence) in STATEMENTS {
        let refused = |spoil: &dyn Fn(&[u8]) -> Vec<u8>, what: &str| {
            let spoilt = |mut value: Value| {
                let statement = value.member(member).unwrap().bytes();
                *statement = spoil(statement);
                value
            };
            let came = outcome(&mut |record, kind, body| match kind {
                kind if kind != at => body,
                FrameKind::Order => record.in_order(&body, spoilt),
                FrameKind::Session => record.in_session(&body, spoilt),
                _ => spoilt(Value::read(&body)).write(),
            });
            assert_eq!(came, Outcome::Refused(offence), "{what} of a statement in {at:?}");
        };
        refused(&spoil, "the signature");
        for field in fields("protected-header").into_iter().filter(|field| !field.has_members) {
            refused(&|statement| in_statement(statement, 0, |header| header.with_other(&field)), &field.name);
        }
        // A name that is somebody's: who signed it did not sign it in that name.
        let stranger = Value::Text(key(4).public().did());
        let in_another_name = |mut header: Value| {
            *header.member(15).unwrap().member(1).unwrap() = stranger.clone();
            header
        };
        refused(&|statement| in_statement(statement, 0, in_another_name), "the issuer");
    }
    let wrapping = rows().into_iter().filter(|row| row.test == "every_part_of_a_statement_is_signed");
    assert_eq!(wrapping.count(), 8, "three parts and five members of the header");
}

/// Kind and subject follow from the payload where a statement is read. They are signed all the same: a payload that two
/// kinds share says only what its signer meant.
#[test]
fn a_statement_of_one_kind_or_about_one_thing_is_none_of_another() {
    let (statement, id) = cose::sign(&key(2), &cose::content_type("ack"), "order:1", b"payload");
    for (member, other) in [(3, cose::content_type("payment")), (15, "order:2".to_owned())] {
        let changed = in_statement(&statement, 0, |mut header| {
            let field = header.member(member).unwrap();
            let text = if member == 3 { field } else { field.member(2).unwrap() };
            *text = Value::Text(other.clone());
            header
        });
        let parsed = cose::parse(&changed).unwrap();
        assert_ne!(parsed.id(), id);
        assert_eq!(parsed.verify(), Err(cose::CoseError::BadSignature), "{other}");
    }
}

/// Asks and answers are in no transcript: what comes back must fit what was asked, and no order rests on it.
#[test]
fn a_changed_ask_gets_an_answer_that_does_not_fit() {
    crate::parties::asks_are_answered_by_what_fits(|field, came| {
        assert_eq!(row(field).anybody, came, "{field}");
    });
}
