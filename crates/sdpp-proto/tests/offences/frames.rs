//! Frames and control items.

use sdpp_proto::frame::{FrameHeader, FrameKind};
use sdpp_proto::limits;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Ack, Revocation, RevokeReason, Rotation, Settlement, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{self, Control};

use crate::kit::liars::{AgainstBuyer, AgainstSeller};
use crate::kit::{key, product};

fn header(code: u8, body_len: u32) -> Vec<u8> {
    let mut header = body_len.to_be_bytes().to_vec();
    header.push(code);
    header.extend_from_slice(&[0; 8]);
    header
}

#[test]
fn a_frame_of_an_unknown_type_is_refused() {
    let mut world = AgainstSeller::live(product());
    world.liar.line.raw(&header(9, 0));
    world.is_refused_with(Offence::UnknownFrame);
    let mut world = AgainstBuyer::live(product());
    world.liar.line.raw(&header(0, 0));
    world.is_refused_with(Offence::UnknownFrame);
}

#[test]
fn a_frame_above_its_limit_is_refused_by_its_header() {
    for (kind, max) in [(7, limits::FRAME_BODY_MAX), (1, limits::HELLO_MAX), (8, limits::ERROR_MAX), (3, 64)] {
        let mut world = AgainstSeller::live(product());
        world.liar.line.raw(&header(kind, max as u32 + 1));
        world.is_refused_with(Offence::FrameTooLong);
    }
    let mut world = AgainstBuyer::live(product());
    world.liar.line.raw(&header(7, u32::MAX));
    world.is_refused_with(Offence::FrameTooLong);
}

#[test]
fn a_sealed_frame_that_is_repeated_left_out_or_out_of_order_is_refused() {
    let mut world = AgainstSeller::live(product());
    world.liar.line.sealed(&[], &[]);
    let mut frame = world.liar.line.take();
    world.give(&mut frame.clone());
    world.pump();
    assert_eq!(world.ended, None);
    world.give(&mut frame);
    world.is_refused_with(Offence::WrongCounter);

    let mut world = AgainstSeller::live(product());
    world.liar.line.skip(1);
    world.liar.line.control(&Control::Exit);
    world.is_refused_with(Offence::WrongCounter);

    let mut world = AgainstBuyer::live(product());
    world.liar.line.sealed(&[], &[]);
    let first = world.liar.line.take();
    world.liar.line.sealed(&[], &[]);
    let second = world.liar.line.take();
    world.give(&mut [second, first].concat());
    world.is_refused_with(Offence::WrongCounter);
}

#[test]
fn a_frame_under_another_key_or_with_a_changed_byte_is_refused() {
    let mut world = AgainstSeller::live(product());
    world.liar.line.spoil_key();
    world.liar.line.control(&Control::Exit);
    world.is_refused_with(Offence::BadSeal);

    let mut world = AgainstBuyer::live(product());
    world.liar.line.spoil_key();
    world.liar.send_messages(&[b"one"]);
    world.is_refused_with(Offence::BadSeal);

    // Every byte behind the header; the header's are other offences.
    let length = {
        let mut world = AgainstBuyer::live(product());
        world.liar.send_messages(&[b"one"]);
        world.liar.line.take().len()
    };
    for at in limits::FRAME_HEADER_LEN..length {
        let mut world = AgainstBuyer::live(product());
        world.liar.send_messages(&[b"one"]);
        world.liar.line.outbox()[at] ^= 1;
        world.is_refused_with(Offence::BadSeal);
        assert!(world.sink.is_empty());
    }
}

#[test]
fn a_frame_whose_parts_do_not_add_up_is_refused() {
    // A clear frame with a counter.
    let mut world = AgainstSeller::live(product());
    let header = FrameHeader { kind: FrameKind::Error, body_len: 1, counter: 1 };
    world.liar.line.raw(&header.to_bytes());
    world.liar.line.raw(&[0]);
    world.is_refused_with(Offence::BadFrame);
    // Fewer bytes than the header says.
    let mut world = AgainstBuyer::live(product());
    world.liar.send_messages(&[b"one"]);
    let mut frame = world.liar.line.take();
    frame.pop();
    assert_eq!(world.buyer.handle_frame(world.now, &mut frame).unwrap_err(), Offence::BadFrame);
    world.is_refused_with(Offence::BadFrame);
    // Messages from the side that buys.
    let mut world = AgainstSeller::live(product());
    world.liar.line.sealed(b"data", &[]);
    world.is_refused_with(Offence::BadFrame);
    // An error that is no code.
    let mut world = AgainstBuyer::ordered(product());
    world.liar.line.clear(FrameKind::Error, b"\xffnot a number");
    world.is_refused_with(Offence::BadFrame);
}

#[test]
fn a_frame_that_has_no_place_in_this_state_is_refused() {
    let clear = [FrameKind::Menu, FrameKind::Answer, FrameKind::Order, FrameKind::Session];
    for kind in clear {
        let mut world = AgainstSeller::new(crate::kit::seller_config(product()));
        world.liar.line.clear(kind, &[]);
        world.is_refused_with(Offence::UnexpectedFrame);
    }
    for kind in clear.into_iter().chain([FrameKind::Hello, FrameKind::Ask]) {
        let mut world = AgainstSeller::live(product());
        world.liar.line.clear(kind, &[]);
        world.is_refused_with(Offence::UnexpectedFrame);
        let mut world = AgainstBuyer::live(product());
        world.liar.line.clear(kind, &[]);
        world.is_refused_with(Offence::UnexpectedFrame);
    }
    // A second hello, and a session before the order was sent.
    let mut world = AgainstSeller::choosing(product());
    let hello = world.liar.hello();
    world.liar.send_hello(&hello);
    world.is_refused_with(Offence::UnexpectedFrame);
    let mut world = AgainstBuyer::greeted(product());
    world.liar.line.clear(FrameKind::Session, &[]);
    world.is_refused_with(Offence::UnexpectedFrame);
}

#[test]
fn a_frame_is_refused_while_the_seller_stores_the_order_and_the_buyer_hears_why() {
    let mut world = AgainstSeller::choosing(product());
    world.journal.hold = true;
    let order = world.liar.order();
    world.liar.send_order(order);
    world.pump();
    assert!(!world.seller.is_live());
    world.liar.line.clear(FrameKind::Ask, &[]);
    world.is_refused_with(Offence::UnexpectedFrame);
}

#[test]
fn control_items_that_are_malformed_or_too_many_are_refused() {
    let mut many = Vec::new();
    (0..=limits::CONTROL_ITEMS_MAX).for_each(|_| Control::Exit.write(&mut many));
    // Not CBOR; an unknown code; an integer longer than it must be; a rest; one item too many.
    let bad: [&[u8]; 5] =
        [&[0xff], &[0x81, 0x18, 0x63], &[0x82, 0x18, 0x20, 0x18, 0x01], &[0x81, 0x18, 0x21, 0], &many];
    for items in bad {
        let mut world = AgainstSeller::live(product());
        world.liar.line.sealed(&[], items);
        world.is_refused_with(Offence::BadControl);
        let mut world = AgainstBuyer::live(product());
        let data = world.liar.count(&[b"one"]);
        world.liar.line.sealed(&data, items);
        world.is_refused_with(Offence::BadControl);
    }
}

#[test]
fn a_control_item_in_the_wrong_direction_or_state_is_refused() {
    let order_id = |world: &AgainstBuyer| world.liar.order.as_ref().unwrap().id();
    // The seller does not pay, ack or exit.
    let mut world = AgainstBuyer::live(product());
    world.liar.line.control(&Control::Exit);
    world.is_refused_with(Offence::UnexpectedControl);
    let mut world = AgainstBuyer::live(product());
    let invoice = world.sell(3);
    let ack = Ack { order_id: order_id(&world), invoice_id: invoice.id() };
    world.liar.line.statement(&Signed::sign(&key(1), ack));
    world.is_refused_with(Offence::UnexpectedControl);
    // The buyer does not cut or invoice.
    let mut world = AgainstSeller::live(product());
    world.liar.line.control(&Control::Cut(0));
    world.is_refused_with(Offence::UnexpectedControl);
    let mut world = AgainstSeller::live(product());
    let invoice = world.invoice();
    world.liar.line.control(&wire::envelope(&invoice.erase()));
    world.is_refused_with(Offence::UnexpectedControl);
    // Settlements before the end.
    let mut world = AgainstSeller::live(product());
    let settlement = world.liar.settlement(&world.invoice());
    world.liar.line.statement(&Signed::sign(&key(3), settlement));
    world.is_refused_with(Offence::UnexpectedControl);
    let mut world = AgainstBuyer::live(product());
    let invoice = world.sell(3);
    let settlement: Settlement = world.liar.settlement(&invoice);
    world.liar.line.statement(&Signed::sign(&key(1), settlement));
    world.is_refused_with(Offence::UnexpectedControl);
}

#[test]
fn the_end_of_a_key_is_not_told_in_a_conversation() {
    let at = Timestamp::from_ms(1);
    let notices =
        [Rotation::sign(&key(1), &key(9), at).erase(), Revocation::sign(&key(1), at, RevokeReason::Retired).erase()];
    for notice in notices {
        let mut world = AgainstBuyer::live(product());
        world.liar.line.control(&wire::envelope(&notice));
        world.is_refused_with(Offence::UnexpectedControl);
        let mut world = AgainstSeller::live(product());
        world.liar.line.control(&wire::envelope(&notice));
        world.is_refused_with(Offence::UnexpectedControl);
    }
}

#[test]
fn messages_before_a_wrong_control_item_are_counted_only_if_they_are_handed_out() {
    let mut world = AgainstBuyer::live(product());
    let data = world.liar.count(&[b"one", b"two"]);
    let mut control = Vec::new();
    Control::Exit.write(&mut control);
    world.liar.line.sealed(&data, &control);
    world.is_refused_with(Offence::UnexpectedControl);
    assert_eq!(world.buyer.order().unwrap().delivered(), world.sink.len() as u64);
}

#[test]
fn frames_after_the_end_change_nothing() {
    let mut world = AgainstSeller::live(product());
    world.liar.line.raw(&header(9, 0));
    world.is_refused_with(Offence::UnknownFrame);
    world.give(&mut header(9, 0));
    let mut short = header(7, 40);
    assert_eq!(world.seller.handle_frame(world.now, &mut short), Ok(()));
    world.pump();
    world.is_refused_with(Offence::UnknownFrame);
}
