//! Hello, menu', ask, order and attach.

use sdpp_proto::codec::{self, Bytes32, ChannelId, StatementId};
use sdpp_proto::frame::FrameKind;
use sdpp_proto::limits;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Attach, Have, Menu, Order, Quote, Sample, Signed};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::wire::{Ask, AskQuote, MenuReply, OrderPlain, SealedOrder};

use crate::kit::liars::{AgainstBuyer, AgainstSeller};
use crate::kit::{START, buyer_config, key, option, product, seller_config, seller_config_of};

fn seller() -> AgainstSeller {
    AgainstSeller::new(seller_config(product()))
}

/// A buyer that hears a menu which the caller changed.
fn menu_changed(change: impl FnOnce(&mut Menu)) -> AgainstBuyer {
    let mut menu = seller_config(product()).menu.body().clone();
    change(&mut menu);
    heard(Signed::sign(&key(1), menu))
}

fn heard(menu: Signed<Menu>) -> AgainstBuyer {
    let mut world = AgainstBuyer::new(buyer_config(Suite::X25519), menu);
    world.pump();
    let reply = world.liar.menu_reply();
    world.liar.send_menu(&reply);
    world
}

/// A seller that gets an order which the caller changed before it was signed.
fn order_changed(change: impl FnOnce(&mut Order)) -> AgainstSeller {
    let mut world = AgainstSeller::choosing(product());
    let mut order = world.liar.order();
    change(&mut order);
    world.liar.send_order(order);
    world
}

/// A seller that gets an attach which the caller changed before it was signed.
fn attach_changed(change: impl FnOnce(&mut Attach)) -> AgainstSeller {
    let mut world = AgainstSeller::choosing(product());
    let order = Signed::sign(&key(2), world.liar.order());
    let mut attach = world.liar.attach(order.id(), 1);
    change(&mut attach);
    world.liar.send_signed(Some(order), &Signed::sign(&key(2), attach));
    world
}

#[test]
fn a_malformed_hello_or_menu_reply_is_refused() {
    let mut world = seller();
    world.liar.send_hello_bytes(vec![0xff]);
    world.is_refused_with(Offence::BadHello);
    let mut world = AgainstBuyer::greeted(product());
    world.liar.line.clear(FrameKind::Menu, &[0xa0]);
    world.is_refused_with(Offence::BadHello);
}

#[test]
fn a_version_that_is_not_shared_is_refused() {
    let mut world = seller();
    let mut hello = world.liar.hello();
    hello.versions = vec![1, 3];
    world.liar.send_hello(&hello);
    world.is_refused_with(Offence::VersionMismatch);
    let mut world = AgainstBuyer::greeted(product());
    let mut reply = world.liar.menu_reply();
    reply.version = 3;
    world.liar.send_menu(&reply);
    world.is_refused_with(Offence::VersionMismatch);
}

#[test]
fn a_suite_that_is_not_shared_or_was_not_offered_is_refused() {
    for suites in [vec![], vec![3, 99]] {
        let mut world = seller();
        let mut hello = world.liar.hello();
        hello.suites = suites;
        world.liar.send_hello(&hello);
        world.is_refused_with(Offence::NoCommonSuite);
    }
    let mut world = AgainstSeller::choosing(product());
    world.liar.suite = Suite::XWing;
    let order = world.liar.order();
    world.liar.send_order(order);
    world.is_refused_with(Offence::NoCommonSuite);
    menu_changed(|menu| menu.seal.retain(|key| key.suite == Suite::XWing)).is_refused_with(Offence::NoCommonSuite);
}

#[test]
fn a_menu_that_is_malformed_or_not_signed_by_its_seller_is_refused() {
    let menu = seller_config(product()).menu.body().clone();
    heard(Signed::sign(&key(4), menu)).is_refused_with(Offence::BadMenu);
    menu_changed(|menu| menu.products.clear()).is_refused_with(Offence::BadMenu);
    // Texts: none, too long, more than a line; and the longest that may be.
    let topic = |text: &str| menu_changed(|menu| menu.products[0].topic = text.into());
    for text in ["", &"x".repeat(limits::TEXT_MAX + 1), "two\nlines"] {
        topic(text).is_refused_with(Offence::BadMenu);
    }
    let mut world = topic(&"x".repeat(limits::TEXT_MAX));
    world.pump();
    assert_eq!(world.ended, None);
    let mut world = AgainstBuyer::greeted(product());
    let mut reply = world.liar.menu_reply();
    *reply.menu.last_mut().unwrap() ^= 1;
    world.liar.send_menu(&reply);
    world.is_refused_with(Offence::BadMenu);
}

#[test]
fn a_menu_past_its_end_is_refused() {
    menu_changed(|menu| menu.until = START).is_refused_with(Offence::MenuExpired);
}

#[test]
fn a_menu_for_more_than_a_day_is_refused() {
    let day = limits::MENU_LIFE_MS + limits::CLOCK_TOLERANCE_MS;
    menu_changed(|menu| menu.until = START.after_ms(day + 1)).is_refused_with(Offence::MenuTooLong);
}

#[test]
fn a_menu_of_another_seller_is_refused() {
    let mut menu = seller_config(product()).menu.body().clone();
    menu.seller = key(4).public();
    heard(Signed::sign(&key(4), menu)).is_refused_with(Offence::WrongSeller);
}

#[test]
fn an_ask_for_what_is_not_on_the_menu_is_refused() {
    let quote = |product, option, quantity| Ask { product, quote: Some(AskQuote { option, quantity }) };
    for ask in [Ask { product: 2, quote: None }, quote(2, 1, 1), quote(1, 2, 1)] {
        let mut world = AgainstSeller::choosing(product());
        world.liar.send_ask(&ask);
        world.is_refused_with(Offence::BadAsk);
    }
    let mut world = AgainstSeller::choosing(product());
    (0..17).for_each(|_| world.liar.send_ask(&quote(1, 1, 1)));
    world.is_refused_with(Offence::BadAsk);
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let asked = AskQuote { option: 1, quantity: 10 };
    let honest = |world: &AgainstBuyer| Quote {
        seller: key(1).public(),
        menu_id: world.liar.menu.id(),
        product: 1,
        option: 1,
        quantity: 10,
        due: Default::default(),
        exposure_max: Default::default(),
        fee: Default::default(),
    };
    let changes: [fn(&mut Quote); 4] =
        [|q| q.product = 2, |q| q.option = 2, |q| q.quantity = 11, |q| q.menu_id = StatementId([9; 32])];
    let signers = [key(1), key(1), key(1), key(1), key(4)];
    for (change, signer) in changes.into_iter().chain([(|_| {}) as fn(&mut Quote)]).zip(signers) {
        let mut world = asking(Ask { product: 1, quote: Some(asked) });
        let mut quote = honest(&world);
        change(&mut quote);
        world.liar.line.clear(FrameKind::Answer, Signed::sign(&signer, quote).bytes());
        world.is_refused_with(Offence::BadAsk);
    }
    let mut world = asking(Ask { product: 1, quote: None });
    let sample = Sample { seller: key(1).public(), topic: "another".into(), messages: Vec::new() };
    world.liar.line.clear(FrameKind::Answer, Signed::sign(&key(1), sample).bytes());
    world.is_refused_with(Offence::BadAsk);
}

fn asking(ask: Ask) -> AgainstBuyer {
    let mut world = AgainstBuyer::greeted(product());
    world.places = false;
    let reply = world.liar.menu_reply();
    world.liar.send_menu(&reply);
    world.pump();
    assert!(world.buyer.ask(ask));
    world.pump();
    world
}

#[test]
fn an_order_that_does_not_open_is_refused() {
    // Garbage; a changed byte; another key; another transcript.
    let mut world = AgainstSeller::choosing(product());
    world.liar.line.clear(FrameKind::Order, &[0]);
    world.is_refused_with(Offence::BadSealedOrder);
    let changes: [fn(&mut SealedOrder); 3] = [|o| o.ct[0] ^= 1, |o| o.enc[0] ^= 1, |o| o.enc.clear()];
    for change in changes {
        let mut world = AgainstSeller::choosing(product());
        let mut sealed = world.liar.seal(&codec::encode(&OrderPlain::default()));
        change(&mut sealed);
        world.liar.send_sealed(&sealed);
        world.is_refused_with(Offence::BadSealedOrder);
    }
    let mut world = AgainstSeller::choosing(product());
    let sealed = world.liar.seal(b"no order at all");
    world.liar.send_sealed(&sealed);
    world.is_refused_with(Offence::BadSealedOrder);
}

#[test]
fn a_replayed_order_on_a_new_connection_is_refused() {
    let mut world = AgainstSeller::choosing(product());
    let order = world.liar.order();
    world.liar.send_order(order);
    let replay = world.liar.line.take();
    world.give(&mut replay.clone());
    world.pump();
    assert!(world.seller.is_live());
    world.again();
    world.give(&mut replay.clone());
    world.is_refused_with(Offence::BadSealedOrder);
}

#[test]
fn every_byte_of_the_first_words_is_part_of_the_conversation() {
    // Somebody in the middle changes hello or menu': both sides hash what they saw.
    for change in 0..3 {
        let mut world = AgainstSeller::new(seller_config(product()));
        let mut hello = world.liar.hello();
        hello.suites = vec![Suite::XWing.code(), Suite::X25519.code()];
        world.liar.send_hello(&hello);
        world.liar.line.take();
        // The liar believes it said `hello`; the seller hears another one.
        match change {
            0 => hello.suites.retain(|suite| *suite == Suite::X25519.code()),
            1 => hello.nonce = Bytes32([7; 32]),
            _ => hello.versions.push(3),
        }
        let mut middle = Vec::new();
        sdpp_proto::frame::write_clear(&mut middle, FrameKind::Hello, &codec::encode(&hello));
        world.give(&mut middle);
        world.pump();
        let order = world.liar.order();
        world.liar.send_order(order);
        world.is_refused_with(Offence::BadSealedOrder);
    }
}

#[test]
fn every_byte_of_the_menu_reply_is_part_of_the_conversation() {
    // The buyer hears another nonce, or the menu of another day, than the seller said.
    let mut another = seller_config(product()).menu.body().clone();
    another.until = another.until.after_ms(1);
    for menu in [None, Some(Signed::sign(&key(1), another))] {
        let mut world = AgainstSeller::new(seller_config(product()));
        let hello = world.liar.hello();
        world.liar.send_hello(&hello);
        let mut bytes = world.liar.line.take();
        world.give(&mut bytes);
        let mut said = Vec::new();
        world.seller.poll_transmit(world.now, &mut said, usize::MAX);
        let body = said.get(limits::FRAME_HEADER_LEN..).unwrap();
        let mut reply: MenuReply = codec::decode(body, limits::MENU_BODY_MAX).unwrap();
        match menu {
            None => reply.nonce = Bytes32([7; 32]),
            Some(menu) => reply.menu = menu.bytes().to_vec(),
        }
        let mut middle = Vec::new();
        sdpp_proto::frame::write_clear(&mut middle, FrameKind::Menu, &codec::encode(&reply));
        world.liar.receive(&middle);
        let order = world.liar.order();
        world.liar.send_order(order);
        world.is_refused_with(Offence::BadSealedOrder);
    }
}

#[test]
fn an_order_that_is_malformed_or_not_signed_by_its_buyer_is_refused() {
    for bytes in [0, 1] {
        let mut world = AgainstSeller::choosing(product());
        let order = Signed::sign(&key(2), world.liar.order());
        let attach = world.liar.attach(order.id(), 1);
        let mut order = order.bytes().to_vec();
        if bytes == 0 {
            *order.last_mut().unwrap() ^= 1;
        } else {
            order.pop();
        }
        let attach = Signed::sign(&key(2), attach).bytes().to_vec();
        let plain = OrderPlain { order: Some(order), attach, ..OrderPlain::default() };
        let sealed = world.liar.seal(&codec::encode(&plain));
        world.liar.send_sealed(&sealed);
        world.is_refused_with(Offence::BadOrder);
    }
    order_changed(|order| order.windows = 0).is_refused_with(Offence::BadOrder);
    order_changed(|order| order.quantity = Some(0)).is_refused_with(Offence::BadOrder);
}

#[test]
fn an_order_for_a_foreign_menu_is_refused() {
    order_changed(|order| order.menu_id = StatementId([1; 32])).is_refused_with(Offence::WrongMenu);
}

#[test]
fn an_order_for_an_unknown_product_or_option_is_refused() {
    order_changed(|order| order.product = 2).is_refused_with(Offence::UnknownProduct);
    order_changed(|order| order.option = 2).is_refused_with(Offence::UnknownProduct);
}

#[test]
fn an_order_past_its_end_is_refused() {
    order_changed(|order| order.until = START).is_refused_with(Offence::OrderExpired);
}

#[test]
fn an_order_for_another_seller_is_refused() {
    order_changed(|order| order.seller = key(4).public()).is_refused_with(Offence::OrderForAnother);
}

#[test]
fn an_order_for_more_than_the_menu_offers_is_refused() {
    order_changed(|order| order.windows = 65).is_refused_with(Offence::TermsNotOffered);
    order_changed(|order| order.channel = Some(ChannelId([1; 32]))).is_refused_with(Offence::TermsNotOffered);
    let mut limited = product();
    limited.available = Some(10);
    let mut world = AgainstSeller::choosing(limited);
    let order = Order { quantity: Some(11), ..world.liar.order() };
    world.liar.send_order(order);
    world.is_refused_with(Offence::TermsNotOffered);
    let mut channel = option();
    channel.channel = true;
    let mut world = AgainstSeller::new(seller_config_of(product(), channel, 9));
    world.greet();
    let order = world.liar.order();
    world.liar.send_order(order);
    world.is_refused_with(Offence::TermsNotOffered);
}

#[test]
fn an_attach_that_is_not_signed_by_the_buyer_is_refused() {
    let mut world = AgainstSeller::choosing(product());
    let order = Signed::sign(&key(2), world.liar.order());
    let attach = world.liar.attach(order.id(), 1);
    world.liar.send_signed(Some(order), &Signed::sign(&key(4), attach));
    world.is_refused_with(Offence::BadAttach);
    // Without the order, by a stranger who knows its id.
    let mut world = AgainstSeller::live(product());
    let order = world.liar.order.as_ref().unwrap().id();
    world.again();
    let attach = world.liar.attach(order, 2);
    world.liar.send_signed(None, &Signed::sign(&key(4), attach));
    world.is_refused_with(Offence::BadAttach);
    attach_changed(|attach| attach.kem_pk = vec![1; 31]).is_refused_with(Offence::BadAttach);
    let attach = Attach { kem_pk: vec![1; 31], ..world.liar.attach(order, 2) };
    assert!(Signed::<Attach>::parse(Signed::sign(&key(2), attach).bytes()).is_err(), "nor is it a statement");
}

#[test]
fn an_attach_that_holds_what_was_never_sent_is_refused() {
    let changes: [fn(&mut Have); 4] = [
        |have| have.next = 5,
        |have| (have.base, have.next) = (3, 3),
        |have| have.last_invoice = Some(StatementId([1; 32])),
        |have| have.prefix_digest = Some(codec::Digest([1; 32])),
    ];
    for change in changes {
        attach_changed(|attach| change(&mut attach.have)).is_refused_with(Offence::BadAttach);
    }
}

#[test]
fn an_attach_for_another_conversation_is_refused() {
    attach_changed(|attach| attach.th1 = Bytes32([1; 32])).is_refused_with(Offence::WrongTranscript);
}

#[test]
fn an_attach_for_another_order_is_refused() {
    attach_changed(|attach| attach.order_id = StatementId([1; 32])).is_refused_with(Offence::AttachForAnother);
}

#[test]
fn an_attach_for_another_suite_than_its_envelope_is_refused() {
    attach_changed(|attach| {
        attach.suite = Suite::XWing;
        attach.kem_pk = SealSecret::derive(Suite::XWing, &[1; 32].into()).1;
    })
    .is_refused_with(Offence::AttachSuite);
}

#[test]
fn an_attach_whose_index_does_not_rise_is_refused() {
    for index in [0, 1] {
        let mut world = AgainstSeller::live(product());
        world.again();
        let order = world.liar.order.as_ref().unwrap().id();
        let attach = world.liar.attach(order, index);
        world.liar.send_signed(None, &Signed::sign(&key(2), attach));
        world.is_refused_with(Offence::StaleAttach);
        assert!(world.seller.into_order(world.now).is_some(), "the account is kept");
    }
}

#[test]
fn an_attach_to_an_unknown_order_is_refused() {
    let mut world = AgainstSeller::choosing(product());
    let attach = world.liar.attach(StatementId([1; 32]), 1);
    world.liar.send_signed(None, &Signed::sign(&key(2), attach));
    world.is_refused_with(Offence::UnknownOrder);
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let mut world = seller();
    world.now = world.now.after_ms(limits::HANDSHAKE_MS);
    world.seller.handle_timeout(world.now);
    world.is_refused_with(Offence::HandshakeTimeout);
    for mut world in [AgainstBuyer::greeted(product()), AgainstBuyer::ordered(product())] {
        world.now = world.now.after_ms(limits::HANDSHAKE_MS);
        world.buyer.handle_timeout(world.now);
        world.is_refused_with(Offence::HandshakeTimeout);
    }
}
