//! Session and acceptance.

use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::frame::FrameKind;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Acceptance, Forgiven, Signed};
use sdpp_proto::wire::{SealedSession, SessionPlain};

use crate::kit::liars::{AgainstBuyer, spoilt};
use crate::kit::{key, product};

fn acceptance_changed(change: impl FnOnce(&mut Acceptance)) -> AgainstBuyer {
    let mut world = AgainstBuyer::ordered(product());
    let mut acceptance = world.liar.acceptance();
    change(&mut acceptance);
    world.liar.send_acceptance(acceptance);
    world
}

#[test]
fn a_session_that_does_not_open_is_refused() {
    let mut world = AgainstBuyer::ordered(product());
    world.liar.line.clear(FrameKind::Session, &[0]);
    world.is_refused_with(Offence::BadSession);
    let mut world = AgainstBuyer::ordered(product());
    let sealed = SealedSession { enc: vec![9; 32], ct: vec![1; 64] };
    world.liar.line.clear(FrameKind::Session, &codec::encode(&sealed));
    world.is_refused_with(Offence::BadSession);
    let mut world = AgainstBuyer::ordered(product());
    world.liar.acceptance();
    world.liar.send_session_bytes(b"no session");
    world.is_refused_with(Offence::BadSession);
}

#[test]
fn an_acceptance_that_is_not_signed_by_the_seller_is_refused() {
    for cut in [false, true] {
        let mut world = AgainstBuyer::ordered(product());
        let acceptance = Signed::sign(&key(1), world.liar.acceptance());
        let mut acceptance = spoilt(&acceptance.erase()).bytes.to_vec();
        if cut {
            acceptance.pop();
        }
        let order_salt = world.liar.salt;
        world.liar.send_session(&SessionPlain { acceptance, order_salt, last_invoice: None, last_payment: None });
        world.is_refused_with(Offence::BadAcceptance);
    }
    let mut world = AgainstBuyer::ordered(product());
    let acceptance = world.liar.acceptance();
    world.liar.key = key(4);
    world.liar.send_acceptance(acceptance);
    world.is_refused_with(Offence::BadAcceptance);
}

#[test]
fn an_acceptance_of_another_order_attach_or_index_is_refused() {
    acceptance_changed(|a| a.order_id = StatementId([1; 32])).is_refused_with(Offence::AcceptanceForAnother);
    acceptance_changed(|a| a.attach_id = StatementId([1; 32])).is_refused_with(Offence::AcceptanceForAnother);
    acceptance_changed(|a| a.index = 2).is_refused_with(Offence::AcceptanceForAnother);
}

#[test]
fn another_salt_for_a_known_order_is_refused() {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.again();
    world.liar.salt = Bytes32([1; 32]);
    let acceptance = world.liar.acceptance();
    world.liar.send_acceptance(acceptance);
    world.is_refused_with(Offence::AcceptanceForAnother);
}

#[test]
fn an_acceptance_for_another_transcript_is_refused() {
    acceptance_changed(|a| a.th2 = Bytes32([1; 32])).is_refused_with(Offence::AcceptanceTranscript);
}

#[test]
fn an_acceptance_for_another_key_is_refused() {
    acceptance_changed(|a| a.enc_hash = Bytes32([1; 32])).is_refused_with(Offence::AcceptanceKey);
}

#[test]
fn an_acceptance_wider_than_the_order_is_refused() {
    acceptance_changed(|a| a.windows += 1).is_refused_with(Offence::AcceptanceWidened);
    acceptance_changed(|a| a.exposure = Amount::new(a.exposure.get() + 1)).is_refused_with(Offence::AcceptanceWidened);
}

#[test]
fn a_start_that_leaves_something_out_is_refused() {
    acceptance_changed(|a| a.start = 1).is_refused_with(Offence::WrongStart);
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.again();
    for start in [0, 2, 4] {
        let mut world = AgainstBuyer::live(product());
        world.sell(3);
        world.again();
        let acceptance = Acceptance { start, ..world.liar.acceptance() };
        world.liar.send_acceptance(acceptance);
        world.is_refused_with(Offence::WrongStart);
    }
}

#[test]
fn forgiven_messages_that_are_not_those_held_are_refused() {
    let honest = Forgiven { first: 3, count: 2, invoice: None, next_n: 1 };
    let wrong = [
        (Forgiven { first: 2, ..honest }, 5),
        // All but its first agrees: a message of an invoice is forgiven again.
        (Forgiven { first: 2, count: 3, ..honest }, 5),
        (Forgiven { count: 1, ..honest }, 4),
        (Forgiven { count: 1, ..honest }, 5),
        (Forgiven { count: 1000, ..honest }, 1003),
        (Forgiven { next_n: 0, ..honest }, 5),
        (honest, 4),
    ];
    for (forgiven, start) in wrong {
        let mut world = AgainstBuyer::live(product());
        world.sell(3);
        world.liar.send_messages(&[b"four", b"five"]);
        world.pump();
        world.again();
        let acceptance = Acceptance { start, forgiven: Some(forgiven), ..world.liar.acceptance() };
        world.liar.send_acceptance(acceptance);
        world.is_refused_with(Offence::WrongForgiven);
    }
}

#[test]
fn what_was_forgiven_stays_forgiven_after_a_restart_of_the_buyer() {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.liar.send_messages(&[b"four", b"five"]);
    world.pump();
    world.again();
    let forgiven = Forgiven { first: 3, count: 2, invoice: None, next_n: 1 };
    let acceptance = Acceptance { start: 5, forgiven: Some(forgiven), ..world.liar.acceptance() };
    world.liar.send_acceptance(acceptance);
    world.pump();
    assert!(world.buyer.is_live());
    world.restarted();
    assert_eq!(world.liar.attach.as_ref().unwrap().have.base, 5);
}

#[test]
fn a_payment_that_the_seller_does_not_show_is_sent_again_after_a_restart() {
    let mut world = AgainstBuyer::live(product());
    world.deliver(3, false);
    let payment = world.credit();
    world.restarted();
    world.accept();
    assert_eq!(world.credit().id(), payment.id());
}

#[test]
fn a_session_is_refused_after_the_order_of_another_connection() {
    // A session of the first connection, replayed on the second: another key was attached.
    let mut world = AgainstBuyer::ordered(product());
    let acceptance = world.liar.acceptance();
    world.liar.send_acceptance(acceptance);
    let replay = world.liar.line.take();
    world.give(&mut replay.clone());
    world.pump();
    assert!(world.buyer.is_live());
    world.again();
    world.give(&mut replay.clone());
    world.is_refused_with(Offence::BadSession);
}
