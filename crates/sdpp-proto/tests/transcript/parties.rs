//! Who speaks with whom: stolen keys, other people's orders, weaker suites, old words.

use sdpp_proto::buyer::{Buyer, BuyerConfig};
use sdpp_proto::codec::{self, Bytes32};
use sdpp_proto::frame::FrameKind;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::limits::{FRAME_HEADER_LEN, SEALED_HANDSHAKE_MAX};
use sdpp_proto::offence::Offence;
use sdpp_proto::seller::Seller;
use sdpp_proto::statement::{Attach, Menu, Order, Signed};
use sdpp_proto::suite::Suite;
use sdpp_proto::wire::{Ask, AskQuote, OrderPlain};
use sdpp_sim::liar::Heard;

use crate::cbor::{Value, fields};
use crate::kit::liars::{AgainstBuyer, AgainstSeller, seals};
use crate::kit::{START, buyer_config, key, product, seller_config};
use crate::middle::{Conversation, Record};
use crate::table::Outcome;

fn order_and_attach(plain: &[u8]) -> (Signed<Order>, Signed<Attach>) {
    let plain: OrderPlain = codec::decode(plain, SEALED_HANDSHAKE_MAX).unwrap();
    (Signed::parse(&plain.order.unwrap()).unwrap(), Signed::parse(&plain.attach).unwrap())
}

/// A seller at which a buyer's order is on record, and a new connection to it.
fn with_a_record() -> (AgainstSeller, Signed<Order>, Signed<Attach>) {
    let mut world = AgainstSeller::live(product());
    let order = world.liar.order.clone().unwrap();
    let attaches = world.journal.statements().into_iter().filter_map(|one| Signed::<Attach>::parse(&one.bytes).ok());
    let attach = attaches.last().unwrap();
    world.again();
    (world, order, attach)
}

/// Key-compromise impersonation: with the seller's own keys nobody is a buyer to it.
#[test]
fn the_sellers_keys_do_not_make_a_buyer() {
    // What was said before, said again.
    let (mut world, order, attach) = with_a_record();
    world.liar.send_signed(Some(order), &attach);
    world.is_refused_with(Offence::WrongTranscript);
    // In the buyer's name, or in the seller's, with the seller's signature. The sealing keys are of no use:
    // anybody can seal to them.
    for with_order in [false, true] {
        let (mut world, order, _) = with_a_record();
        let attach = world.liar.attach(order.id(), 2);
        world.liar.send_signed(with_order.then_some(order.clone()), &Signed::sign(&key(1), attach.clone()));
        world.is_refused_with(Offence::BadAttach);
        let (mut world, order, _) = with_a_record();
        let attach = world.liar.attach(order.id(), 2);
        let genuine = Signed::sign(&key(2), attach.clone());
        let header = |_| sdpp_proto_header(&genuine);
        let forged = crate::middle::in_statement(Signed::sign(&key(1), attach).bytes(), 0, header);
        let order = with_order.then(|| order.bytes().to_vec());
        let plain = OrderPlain { order, attach: forged, ..OrderPlain::default() };
        let sealed = world.liar.seal(&codec::encode(&plain));
        world.liar.send_sealed(&sealed);
        world.is_refused_with(Offence::BadAttach);
    }
    // With the buyer's key: this is what the tests above would have to notice.
    let (mut world, order, _) = with_a_record();
    let attach = world.liar.attach(order.id(), 2);
    world.liar.send_signed(Some(order), &Signed::sign(&key(2), attach));
    world.pump();
    assert!(world.seller.is_live());
}

/// The protected header of a statement: who says what about what.
fn sdpp_proto_header(statement: &Signed<Attach>) -> Value {
    crate::middle::part_of(statement.bytes(), 0)
}

/// A buyer that wants the seller of `key(1)`, and whoever answers with these keys.
fn answered_by(signer: SigningKey, menu: Signed<Menu>, sealing_seed: u8) -> AgainstBuyer {
    let mut world = AgainstBuyer::new(buyer_config(Suite::X25519), menu.clone());
    world.liar = sdpp_sim::liar::RawSeller::new(signer, menu, seals(sealing_seed), [21; 32]);
    world.pump();
    let reply = world.liar.menu_reply();
    world.liar.send_menu(&reply);
    world
}

/// The other way round: with the buyer's own keys nobody is the seller to it.
#[test]
fn the_buyers_keys_do_not_make_a_seller() {
    let genuine = seller_config(product()).menu.clone();
    let forged = Signed::sign(&key(2), genuine.body().clone());
    answered_by(key(2), forged, 9).is_refused_with(Offence::BadMenu);
    // With the genuine menu, which is public: the order does not even open.
    let mut world = answered_by(key(2), genuine.clone(), 10);
    world.pump();
    assert!(world.heard.contains(&Heard::Noise(FrameKind::Order)));
    assert!(world.liar.order.is_none());
    // And where the sealing key is stolen, too, the acceptance is not signed.
    for (signer, live) in [(key(2), false), (key(1), true)] {
        let mut world = answered_by(signer, genuine.clone(), 9);
        world.pump();
        let acceptance = world.liar.acceptance();
        world.liar.send_acceptance(acceptance);
        if live {
            world.pump();
            assert!(world.buyer.is_live(), "with the seller's key: this is what must be noticed");
        } else {
            world.is_refused_with(Offence::BadAcceptance);
        }
    }
}

/// A seller that is honest to nobody gets an order of a buyer and takes it to another seller.
#[test]
fn an_order_is_not_passed_on_to_another_seller() {
    let mut menu = seller_config(product()).menu.body().clone();
    menu.seller = key(4).public();
    let menu = Signed::sign(&key(4), menu);
    let config = BuyerConfig { seller: Some(key(4).public()), ..buyer_config(Suite::X25519) };
    let mut buyer = AgainstBuyer::new(config, menu);
    buyer.liar.key = key(4);
    buyer.pump();
    let reply = buyer.liar.menu_reply();
    buyer.liar.send_menu(&reply);
    buyer.pump();
    let plain =
        buyer.heard.iter().find_map(|one| if let Heard::Order(plain) = one { Some(plain.clone()) } else { None });
    let (order, attach) = order_and_attach(&codec::encode(plain.unwrap().as_ref()));
    let mut other = AgainstSeller::choosing(product());
    other.liar.send_signed(Some(order.clone()), &attach);
    other.is_refused_with(Offence::WrongTranscript);
    // With an attach of its own, in this conversation.
    let mut other = AgainstSeller::choosing(product());
    let own = other.liar.attach(order.id(), 1);
    other.liar.send_signed(Some(order), &Signed::sign(&key(4), own));
    other.is_refused_with(Offence::OrderForAnother);
}

/// Who has the sealing key puts an order of its own in the buyer's place, with the buyer's fresh key in it: the
/// seller would think that it sells to the thief, the buyer that it buys itself.
fn in_its_own_name(record: &Record, body: &[u8]) -> Vec<u8> {
    record.in_order(body, |mut plain| {
        let (order, attach) = order_and_attach(&plain.write());
        let order = Signed::sign(&key(4), order.body().clone());
        let attach = Signed::sign(&key(4), Attach { order_id: order.id(), ..attach.body().clone() });
        *plain.member(1).unwrap() = Value::Bytes(order.bytes().to_vec());
        *plain.member(3).unwrap() = Value::Bytes(attach.bytes().to_vec());
        plain
    })
}

#[test]
fn nobody_puts_its_own_name_on_another_buyers_session() {
    for (has_fresh_key, offence) in [(false, Offence::BadSession), (true, Offence::AcceptanceForAnother)] {
        let mut conversation = Conversation::new(Suite::X25519);
        conversation.run(&mut |record, kind, body| match kind {
            FrameKind::Order => in_its_own_name(record, &body),
            FrameKind::Session if has_fresh_key => record.reseal_session(&body),
            _ => body,
        });
        assert_eq!(conversation.refused(), Some(offence));
        assert!(conversation.world.sink.is_empty(), "nothing was delivered");
    }
}

#[test]
fn nobody_is_brought_to_the_weaker_suite() {
    // The hello loses the stronger one on its way: the buyer goes by the menu, the seller by the hello.
    let mut conversation = Conversation::new(Suite::XWing);
    conversation.run(&mut |_, kind, body| match kind {
        FrameKind::Hello => {
            let mut hello = Value::read(&body);
            *hello.member(2).unwrap() = Value::List(vec![Value::Number(1)]);
            hello.write()
        }
        _ => body,
    });
    assert_eq!(conversation.refused(), Some(Offence::NoCommonSuite));
    // The menu loses its key: it is signed.
    let mut conversation = Conversation::new(Suite::XWing);
    conversation.run(&mut |_, kind, body| match kind {
        FrameKind::Menu => {
            let mut reply = Value::read(&body);
            let weaker = |mut menu: Value| {
                let Some(Value::List(seal)) = menu.member(3) else { panic!("keys") };
                seal.retain_mut(|key| key.member(1) == Some(&mut Value::Number(1)));
                menu
            };
            let menu = reply.member(3).unwrap().bytes();
            *menu = crate::middle::in_statement(menu, 2, weaker);
            reply.write()
        }
        _ => body,
    });
    assert_eq!(conversation.refused(), Some(Offence::BadMenu));
    // Left alone, the stronger one is taken.
    let record = Conversation::recorded(Suite::XWing).record;
    let mut order = Value::read(record.sent(FrameKind::Order));
    assert_eq!(order.member(1), Some(&mut Value::Number(2)));
}

/// Two machines up to an answered ask; gives the answer that the buyer heard, or the offence.
fn asked(nonce_seed: u8, change: impl FnOnce(Value) -> Value, old: Option<Vec<u8>>) -> Result<Vec<u8>, Offence> {
    let mut seller = Seller::new(seller_config(product()), [nonce_seed; 32], START);
    let mut buyer = Buyer::new(buyer_config(Suite::X25519), [nonce_seed + 1; 32], START);
    let said = |buyer: &mut Buyer| {
        let mut out = Vec::new();
        buyer.poll_transmit(START, &mut out);
        out
    };
    seller.handle_frame(START, &mut said(&mut buyer))?;
    let mut menu = Vec::new();
    seller.poll_transmit(START, &mut menu, usize::MAX);
    buyer.handle_frame(START, &mut menu)?;
    assert!(buyer.ask(Ask { product: 1, quote: Some(AskQuote { option: 1, quantity: 10 }) }));
    let body = Value::read(&said(&mut buyer)[FRAME_HEADER_LEN..]);
    let mut ask = Vec::new();
    sdpp_proto::frame::write_clear(&mut ask, FrameKind::Ask, &change(body).write());
    seller.handle_frame(START, &mut ask)?;
    let mut answer = Vec::new();
    seller.poll_transmit(START, &mut answer, usize::MAX);
    let mut answer = old.unwrap_or(answer);
    let heard = answer.clone();
    buyer.handle_frame(START, &mut answer)?;
    Ok(heard)
}

pub fn asks_are_answered_by_what_fits(check: impl Fn(&str, Outcome)) {
    assert!(asked(50, |ask| ask, None).is_ok());
    for field in fields("ask") {
        let came = asked(50, |ask| ask.with_other(&field), None);
        check(&field.name, came.map_or_else(Outcome::Refused, |_| Outcome::ComesAbout));
    }
    assert_eq!(asked(50, |ask| ask.without(&[2]), None), Err(Offence::BadAsk), "a sample for a quote");
}

/// What the handshake does not give: a quote is the seller's word for its menu, in whatever conversation.
#[test]
fn an_answer_belongs_to_a_menu_and_not_to_a_conversation() {
    let before = asked(50, |ask| ask, None).unwrap();
    assert_eq!(asked(60, |ask| ask, Some(before.clone())), Ok(before));
}

/// A whole conversation is said again to a buyer, and to a seller: both are fresh.
#[test]
fn a_recorded_conversation_is_of_no_use_to_either_side() {
    let old = Conversation::recorded(Suite::X25519).record;
    for (replayed, offence) in [
        (vec![FrameKind::Hello, FrameKind::Order], Offence::BadSealedOrder),
        // Its order' is answered by nobody: the key that was attached is another one now.
        (vec![FrameKind::Menu, FrameKind::Session], Offence::BadSealedOrder),
        (vec![FrameKind::Session], Offence::BadSession),
    ] {
        let mut conversation = Conversation::new(Suite::X25519);
        // Other nonces and keys than on record.
        conversation.world.buyer = Buyer::new(buyer_config(Suite::X25519), [42; 32], START);
        conversation.world.seller = Seller::new(seller_config(product()), [43; 32], START);
        conversation.run(&mut |_, kind, body| if replayed.contains(&kind) { old.sent(kind).to_vec() } else { body });
        assert_eq!(conversation.refused(), Some(offence), "{replayed:?}");
    }
}

/// Which hello and menu' an attach answers stands in it, whoever knows the keys: two conversations never have one hash.
#[test]
fn fresh_words_of_either_side_make_another_conversation() {
    let hash = |buyer: u8, seller: u8| {
        let mut conversation = Conversation::new(Suite::X25519);
        conversation.world.buyer = Buyer::new(buyer_config(Suite::X25519), [buyer; 32], START);
        conversation.world.seller = Seller::new(seller_config(product()), [seller; 32], START);
        conversation.run(&mut crate::middle::honest);
        Bytes32(conversation.record.th1().0)
    };
    assert_eq!(hash(42, 43), hash(42, 43));
    assert_ne!(hash(42, 43), hash(44, 43), "the buyer's nonce");
    assert_ne!(hash(42, 43), hash(42, 44), "the seller's nonce");
}
