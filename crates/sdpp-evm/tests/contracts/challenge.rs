//! The bond behind invoices: a window that nobody can show.

use alloy::primitives::{B256, U256};
use sdpp_evm::abi::SdppBond::{self as b, Terms};
use sdpp_evm::{bond, limits};
use sdpp_proto::codec::{self, Bytes32, Digest, StatementId};
use sdpp_proto::cose;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::message::{Batch, message_to_sign};
use sdpp_proto::money::{Amount, AssetId, Price};
use sdpp_proto::span::{SpanHasher, SpanStart, span_salt};
use sdpp_proto::statement::{
    Form, Invoice, Menu, Order, PayOption, Product, RecordOffer, RecordPolicy, SealKey, Signed, Signing,
};
use sdpp_proto::suite::Suite;
use sdpp_proto::time::Timestamp;

use super::bond::{
    ANSWER_WITHIN, AWARD, BOND, KEEP, LOST, NOTICE, OWNER, SHOWER, STAKE, STANDING, STRANGER, World, bytes, identity,
    invoice,
};
use super::chain::{Done, GAS_MAX, Reverted, amount, key};

/// Stages of a challenge.
pub(crate) const PENDING: u8 = 1;
const ANSWERED: u8 = 2;
const EXPIRED: u8 = 3;
const DAY: u64 = 86_400;
const ORDER_SALT: Bytes32 = Bytes32([0x5a; 32]);

/// What a seller and a buyer hold of a sale.
pub(crate) struct Sale {
    seller: SigningKey,
    menu: Signed<Menu>,
    order: Signed<Order>,
}

/// A window that was sold.
pub(crate) struct Sold {
    pub(crate) invoice: Signed<Invoice>,
    pub(crate) messages: Vec<u8>,
    pub(crate) signing: Signing,
}

impl Sale {
    /// By a menu that is good until then, in seconds.
    pub(crate) fn new(until: u64, nonce: u8) -> Self {
        Self::of(identity(1), until, nonce)
    }

    pub(crate) fn of(seller: SigningKey, until: u64, nonce: u8) -> Self {
        let buyer = identity(2);
        let option = PayOption {
            id: 1,
            rail: "evm".into(),
            asset: AssetId::new("unit@test"),
            address: "seller".into(),
            finality: 0,
            grace_min_ms: 0,
            pay_by_ms: 20_000,
            channel: false,
            terms: Vec::new(),
        };
        let menu = Menu {
            seller: seller.public(),
            until: Timestamp::from_ms(until * 1000),
            seal: vec![SealKey { suite: Suite::X25519, public: vec![9; 32] }],
            records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            default_currency: AssetId::new("unit@test"),
            options: vec![option],
            products: vec![Product { id: 1, ..Product::new("t", Price::per_message(1)) }],
        };
        let menu = Signed::sign(&seller, menu);
        let order = Order {
            seller: menu.seller,
            menu_id: menu.id(),
            product: 1,
            option: 1,
            quantity: None,
            windows: 1,
            exposure_max: Amount::new(100),
            limit: Amount::new(1_000_000),
            channel: None,
            record: RecordPolicy { form: Form::Full, every: 1 },
            invoice_addr: None,
            sign_pk: buyer.public(),
            nonce: Bytes32([nonce; 32]),
            until: menu.until,
        };
        let order = Signed::sign(&buyer, order);
        Self { seller, menu, order }
    }

    /// The window with this number, of these payloads.
    pub(crate) fn sell(&self, n: u64, payloads: &[Vec<u8>], signing: Signing) -> Sold {
        let order_id = self.order.id();
        let first = n * 100;
        let mut messages = Vec::new();
        for (seq, payload) in (first..).zip(payloads) {
            let mut batch = Batch::new();
            batch.push(1_800_000_000_000_000, payload).unwrap();
            messages.extend_from_slice(batch.canonical());
            if signing == Signing::Message {
                let signed = message_to_sign(&order_id, seq, 1_800_000_000_000_000, payload);
                messages.extend_from_slice(&self.seller.sign(&signed));
            }
        }
        let count = u64::try_from(payloads.len()).unwrap();
        let mut hasher = SpanHasher::new(&SpanStart { order: order_id, n, first }, &span_salt(&ORDER_SALT, n));
        hasher.update(&messages);
        let digest = hasher.digest(count);
        let payload = u64::try_from(payloads.iter().map(Vec::len).sum::<usize>()).unwrap();
        let body = Invoice { order_id, first, count, bytes: payload, digest, ..invoice(0, n) };
        Sold { invoice: Signed::sign(&self.seller, body), messages, signing }
    }

    pub(crate) fn small(&self, n: u64) -> Sold {
        self.sell(n, &[vec![1; 40], vec![2; 3], Vec::new()], Signing::Window)
    }

    /// The same window, but the seller has signed for another one.
    pub(crate) fn lie(&self, n: u64) -> Sold {
        let sold = self.small(n);
        let body = Invoice { digest: Digest([7; 32]), ..sold.invoice.body().clone() };
        Sold { invoice: Signed::sign(&self.seller, body), ..sold }
    }

    pub(crate) fn origin(&self, invoice: &Signed<Invoice>) -> b::Origin {
        let (order, menu) = (self.order.bytes().to_vec().into(), self.menu.bytes().to_vec().into());
        b::Origin { invoice: bytes(invoice), order, menu }
    }
}

impl World {
    /// Of an order placed right after the bond was posted.
    fn sale(&self) -> Sale {
        Sale::new(self.chain.now + DAY, 1)
    }

    pub(crate) fn challenge(&mut self, who: u8, sale: &Sale, sold: &Sold) -> Result<Done, Reverted> {
        let call = b::challengeCall { terms: self.terms.clone(), origin: sale.origin(&sold.invoice) };
        self.call(who, &call, STAKE)
    }

    pub(crate) fn answer(&mut self, who: u8, sold: &Sold) -> Result<Done, Reverted> {
        let window = bond::Window { order_salt: &ORDER_SALT, messages: &sold.messages, signing: sold.signing };
        let call = bond::answer(&self.terms, &sold.invoice, &window);
        self.call(who, &call, 0)
    }

    pub(crate) fn expire(&mut self, sold: &Sold) -> Result<Done, Reverted> {
        let call = b::expireCall { terms: self.terms.clone(), invoice: sold.invoice.id().0.into() };
        self.call(STRANGER, &call, 0)
    }

    pub(crate) fn stage(&mut self, sold: &Sold) -> u8 {
        let (id, invoice) = (self.id(), sold.invoice.id().0.into());
        self.chain.look(self.at, &b::challengeOfCall { id, invoice }).stage
    }
}

#[test]
fn a_window_that_is_shown_pays_the_seller_for_showing_it() {
    let mut world = World::posted();
    let sale = world.sale();
    for (n, signing) in [(0, Signing::Window), (1, Signing::Message)] {
        for (n, payloads) in
            [(n, vec![vec![3; 500]; 20]), (n + 2, vec![]), (n + 4, vec![vec![]]), (n + 6, vec![vec![1; 5_000]])]
        {
            let sold = sale.sell(n, &payloads, signing);
            let call = bond::challenge(&world.terms, &sold.invoice, (&sale.order, &sale.menu)).unwrap();
            assert_eq!(call.origin.invoice, bytes(&sold.invoice));
            let done = world.challenge(SHOWER, &sale, &sold).unwrap();
            let event: b::Challenged = done.event();
            assert_eq!((event.invoice.0, event.order.0, event.n), (sold.invoice.id().0, sale.order.id().0, amount(n)));
            let before = world.split();
            // Whoever answers, the stake is the owner's.
            let answered = world.answer(STRANGER, &sold).unwrap();
            println!("challenge: {} gas; answer of {} bytes: {} gas", done.gas, sold.messages.len(), answered.gas);
            assert_eq!(world.split(), [before[0] + STAKE, 0, 0]);
            assert_eq!(world.stage(&sold), ANSWERED);
            // Never again.
            assert!(world.answer(OWNER, &sold).unwrap_err().is::<b::BadStage>());
            assert!(world.challenge(SHOWER, &sale, &sold).unwrap_err().is::<b::BadStage>());
            assert!(world.expire(&sold).unwrap_err().is::<b::BadStage>());
        }
    }
    let bond = world.bond();
    assert_eq!((bond.state, bond.amount.to::<u64>(), bond.pending), (STANDING, BOND, 0));
}

#[test]
fn silence_is_paid_from_the_bond() {
    let mut world = World::posted();
    let (sale, before) = (world.sale(), world.chain.coins(key(SHOWER).address()));
    let sold = sale.lie(4);
    world.challenge(SHOWER, &sale, &sold).unwrap();
    assert_eq!(before - world.chain.coins(key(SHOWER).address()), amount(STAKE));
    assert!(
        world.answer(OWNER, &sold).unwrap_err().is::<b::NotTheWindow>(),
        "what was sold is not what was signed for"
    );
    world.wait(u64::from(ANSWER_WITHIN));
    assert!(world.expire(&sold).unwrap_err().is::<b::TooEarly>());
    assert_eq!(world.stage(&sold), PENDING);
    world.wait(1);
    let done = world.expire(&sold).unwrap();
    println!("expire: {} gas", done.gas);
    assert_eq!(world.split(), [0, AWARD + STAKE, BOND - AWARD]);
    assert_eq!((world.bond().state, world.stage(&sold)), (LOST, EXPIRED));
    assert!(world.expire(&sold).unwrap_err().is::<b::BadStage>());
}

#[test]
fn an_answer_is_the_window_itself_and_comes_in_time() {
    let mut world = World::posted();
    let sale = world.sale();
    let sold = sale.sell(3, &vec![vec![3; 100]; 5], Signing::Message);
    assert!(world.answer(OWNER, &sold).unwrap_err().is::<b::BadStage>(), "nobody asked");
    world.challenge(SHOWER, &sale, &sold).unwrap();
    let window = bond::Window { order_salt: &ORDER_SALT, messages: &sold.messages, signing: sold.signing };
    let good = bond::answer(&world.terms, &sold.invoice, &window);
    let cut = sold.messages.len() - 176;
    let mut changed = sold.messages.clone();
    changed[300] ^= 1;
    for wrong in [
        b::answerCall { salt: B256::repeat_byte(1), ..good.clone() },
        b::answerCall { areSigned: false, ..good.clone() },
        b::answerCall { messages: changed.into(), ..good.clone() },
        b::answerCall { messages: sold.messages[..cut].to_vec().into(), ..good.clone() },
        b::answerCall { messages: sold.messages[..cut + 5].to_vec().into(), ..good.clone() },
        b::answerCall { messages: [&sold.messages[..], &[0]].concat().into(), ..good.clone() },
        b::answerCall { messages: Vec::new().into(), ..good.clone() },
    ] {
        assert!(world.call(OWNER, &wrong, 0).unwrap_err().is::<b::NotTheWindow>());
    }
    // Of another invoice nothing was asked, and in another bond neither.
    let other = b::answerCall { statement: bytes(&sale.small(4).invoice), ..good.clone() };
    assert!(world.call(OWNER, &other, 0).unwrap_err().is::<b::BadStage>());
    let other = b::answerCall { terms: Terms { salt: B256::repeat_byte(9), ..world.terms.clone() }, ..good.clone() };
    assert!(world.call(OWNER, &other, 0).unwrap_err().is::<b::BadStage>());
    world.wait(u64::from(ANSWER_WITHIN));
    let mut late = World { terms: world.terms.clone(), ..World::posted() };
    late.challenge(SHOWER, &sale, &sold).unwrap();
    late.wait(u64::from(ANSWER_WITHIN) + 1);
    assert!(late.answer(OWNER, &sold).unwrap_err().is::<b::TooLate>());
    // At the last moment.
    world.call(OWNER, &good, 0).unwrap();
}

/// A bill for more messages, or more bytes, than were hashed: the window is there and is not what was billed.
#[test]
fn a_window_that_is_not_what_its_invoice_says_is_no_answer() {
    let mut world = World::posted();
    let sale = world.sale();
    let sold = sale.small(3);
    let body = sold.invoice.body().clone();
    for body in [Invoice { bytes: body.bytes + 1, ..body.clone() }, Invoice { bytes: body.bytes - 1, ..body.clone() }] {
        let sold = Sold { invoice: Signed::sign(&identity(1), body), ..sale.small(3) };
        world.challenge(SHOWER, &sale, &sold).unwrap();
        assert!(world.answer(OWNER, &sold).unwrap_err().is::<b::NotTheWindow>());
    }
    // Bytes that are no messages, or more than those, though their hash is right.
    let mut more = sale.small(9).messages;
    more.push(0);
    for (messages, count, payload) in [(vec![0xff; 100], 2, 76), (more, 3, 43)] {
        let start = SpanStart { order: sale.order.id(), n: 9, first: 900 };
        let mut hasher = SpanHasher::new(&start, &span_salt(&ORDER_SALT, 9));
        hasher.update(&messages);
        let digest = hasher.digest(count);
        let body = Invoice { n: 9, first: 900, count, bytes: payload, digest, ..body.clone() };
        let sold = Sold { invoice: Signed::sign(&identity(1), body), messages, signing: Signing::Window };
        world.challenge(SHOWER, &sale, &sold).unwrap();
        assert!(world.answer(OWNER, &sold).unwrap_err().is::<b::NotTheWindow>());
    }
    // As messages of which a seller has signed another number.
    let body = Invoice { count: 2, ..sale.small(10).invoice.body().clone() };
    let sold = Sold { invoice: Signed::sign(&identity(1), body), ..sale.small(10) };
    world.challenge(SHOWER, &sale, &sold).unwrap();
    assert!(world.answer(OWNER, &sold).unwrap_err().is::<b::NotTheWindow>());
}

#[test]
fn the_largest_window_that_may_be_asked_for_can_be_shown() {
    let mut world = World::posted();
    let sale = world.sale();
    let most = usize::try_from(limits::REVEAL_BYTES_MAX).unwrap();
    assert_eq!(world.chain.look(world.at, &b::REVEAL_MAXCall {}), U256::from(most));
    let in_one = sale.sell(1, &[vec![3; most - 76]], Signing::Message);
    // As many messages as there may be, without payload: each is read.
    let in_many = sale.sell(2, &vec![vec![]; most / 76], Signing::Message);
    let byte_by_byte = sale.sell(3, &vec![vec![9]; most / 77], Signing::Window);
    for sold in [in_one, in_many, byte_by_byte] {
        assert!(bond::challenge(&world.terms, &sold.invoice, (&sale.order, &sale.menu)).is_some());
        world.challenge(SHOWER, &sale, &sold).unwrap();
        let done = world.answer(OWNER, &sold).unwrap();
        println!("answer of {} messages, {} bytes: {} gas", sold.invoice.count, sold.messages.len(), done.gas);
        assert!(done.gas < GAS_MAX);
    }
    for sold in [
        sale.sell(4, &[vec![3; most - 75]], Signing::Window),
        sale.sell(5, &vec![vec![]; most / 76 + 1], Signing::Window),
    ] {
        assert!(bond::challenge(&world.terms, &sold.invoice, (&sale.order, &sale.menu)).is_none());
        assert!(world.challenge(SHOWER, &sale, &sold).unwrap_err().is::<b::TooLarge>());
    }
    let absurd = Invoice { count: u64::MAX, bytes: u64::MAX, ..sale.small(6).invoice.body().clone() };
    let sold = Sold { invoice: Signed::sign(&identity(1), absurd), ..sale.small(6) };
    assert!(world.challenge(SHOWER, &sale, &sold).unwrap_err().is::<b::TooLarge>());
}

/// What a seller did not promise to keep, or not for so long, it cannot be asked for.
#[test]
fn nobody_is_asked_for_what_is_older_than_the_bond_or_was_kept_long_enough() {
    let mut world = World::posted();
    let posted = world.chain.now;
    // A menu is good for a day at most: this one may have been signed, and ordered by, before the bond was there.
    let before = Sale::new(posted + DAY - 1, 1);
    assert!(world.challenge(SHOWER, &before, &before.small(1)).unwrap_err().is::<b::TooOld>());
    let sale = world.sale();
    world.wait(DAY + u64::from(KEEP));
    world.challenge(SHOWER, &sale, &sale.small(1)).unwrap();
    world.wait(1);
    assert!(world.challenge(SHOWER, &sale, &sale.small(2)).unwrap_err().is::<b::TooLate>());
}

#[test]
fn a_challenge_names_the_order_and_the_menu_that_the_invoice_comes_from() {
    let mut world = World::posted();
    let (sale, other) = (world.sale(), Sale::new(world.chain.now + 2 * DAY, 2));
    let sold = sale.small(1);
    let good = sale.origin(&sold.invoice);
    assert!(bond::challenge(&world.terms, &sold.invoice, (&other.order, &sale.menu)).is_none());
    assert!(bond::challenge(&world.terms, &sold.invoice, (&sale.order, &other.menu)).is_none());
    let foreign = other.origin(&sold.invoice);
    let mut younger = sale.menu.bytes().to_vec();
    let place = younger.windows(2).position(|window| window == [0x02, 0x1b]).unwrap();
    younger[place + 4] ^= 1;
    for wrong in [
        b::Origin { order: foreign.order.clone(), ..good.clone() },
        b::Origin { menu: foreign.menu.clone(), ..good.clone() },
        foreign,
        b::Origin { order: good.menu.clone(), menu: good.order.clone(), ..good.clone() },
        b::Origin { order: good.invoice.clone(), ..good.clone() },
        b::Origin { menu: younger.into(), ..good.clone() },
        b::Origin { menu: Vec::new().into(), ..good.clone() },
        b::Origin { order: good.order[..good.order.len() - 1].to_vec().into(), ..good.clone() },
        b::Origin { menu: [&good.menu[..], &[0]].concat().into(), ..good.clone() },
    ] {
        let call = b::challengeCall { terms: world.terms.clone(), origin: wrong };
        assert!(world.call(SHOWER, &call, STAKE).unwrap_err().is::<b::BadStatement>());
    }
    // The seller's signature is looked at in the invoice, and covers both.
    let forged = Signed::sign(&identity(2), sold.invoice.body().clone());
    let call = b::challengeCall { terms: world.terms.clone(), origin: sale.origin(&forged) };
    assert!(world.call(SHOWER, &call, STAKE).unwrap_err().is::<b::BadSignature>());
    // The order of another seller, with an invoice by this one.
    let body = sale.order.body().clone();
    let strangers = Signed::sign(&identity(2), Order { seller: identity(3).public(), ..body });
    let invoice = Invoice { order_id: strangers.id(), ..sold.invoice.body().clone() };
    let origin =
        b::Origin { order: strangers.bytes().to_vec().into(), ..sale.origin(&Signed::sign(&identity(1), invoice)) };
    let call = b::challengeCall { terms: world.terms.clone(), origin };
    assert!(world.call(SHOWER, &call, STAKE).unwrap_err().is::<b::BadStatement>());
    let sign = |kind: &str, payload: &[u8]| cose::sign(&identity(1), &cose::content_type(kind), "", payload);
    let terms = world.terms.clone();
    let asks = |order: (Vec<u8>, StatementId), menu: Vec<u8>| {
        let invoice = Signed::sign(&identity(1), Invoice { order_id: order.1, ..sold.invoice.body().clone() });
        let origin = b::Origin { invoice: bytes(&invoice), order: order.0.into(), menu: menu.into() };
        b::challengeCall { terms: terms.clone(), origin }
    };
    // What looks like an order or a menu, and was signed as something else.
    let (order, menu) = (codec::encode(sale.order.body()), codec::encode(sale.menu.body()));
    let call = asks(sign("menu", &order), sale.menu.bytes().to_vec());
    assert!(world.call(SHOWER, &call, STAKE).unwrap_err().is::<b::BadStatement>());
    let (as_order, menu_id) = sign("order", &menu);
    let order = codec::encode(&Order { menu_id, ..sale.order.body().clone() });
    let call = asks(sign("order", &order), as_order);
    assert!(world.call(SHOWER, &call, STAKE).unwrap_err().is::<b::BadStatement>());
    for stake in [0, STAKE - 1, STAKE + 1] {
        let call = b::challengeCall { terms: world.terms.clone(), origin: good.clone() };
        assert!(world.call(SHOWER, &call, stake).unwrap_err().is::<b::BadAmount>());
    }
    assert_eq!(world.bond().pending, 0);
}

#[test]
fn a_pending_challenge_holds_the_bond_and_none_begins_once_it_may_go() {
    let mut world = World::posted();
    let sale = world.sale();
    world.request_release().unwrap();
    world.wait(u64::from(NOTICE) - 1);
    world.challenge(SHOWER, &sale, &sale.lie(1)).unwrap();
    world.wait(1);
    assert!(world.challenge(SHOWER, &sale, &sale.lie(2)).unwrap_err().is::<b::TooLate>());
    assert!(world.release().unwrap_err().is::<b::TooEarly>());
    world.wait(u64::from(ANSWER_WITHIN));
    assert!(world.release().unwrap_err().is::<b::TooEarly>());
    world.expire(&sale.lie(1)).unwrap();
    assert_eq!(world.split(), [0, AWARD + STAKE, BOND - AWARD]);

    let mut world = World::posted();
    let sale = world.sale();
    world.request_release().unwrap();
    world.challenge(SHOWER, &sale, &sale.small(1)).unwrap();
    world.wait(u64::from(ANSWER_WITHIN));
    world.answer(OWNER, &sale.small(1)).unwrap();
    world.wait(u64::from(NOTICE - ANSWER_WITHIN));
    world.release().unwrap();
    assert_eq!(world.split(), [BOND + STAKE, 0, 0]);
    assert!(world.challenge(SHOWER, &sale, &sale.lie(2)).unwrap_err().is::<b::BadState>());
}

/// Many at once leave the time to answer one after the other.
#[test]
fn challenges_end_one_after_the_other() {
    let mut world = World::posted();
    let (sale, spacing) = (world.sale(), world.chain.look(world.at, &b::SPACINGCall {}).to::<u64>());
    let asks = |world: &mut World, n: u64, before: u64| {
        let done = world.challenge(SHOWER, &sale, &sale.small(n)).unwrap();
        let event: b::Challenged = done.event();
        assert_eq!(event.answerBy, amount(world.chain.now + u64::from(ANSWER_WITHIN) + before * spacing));
    };
    for n in 0..5 {
        asks(&mut world, n, n);
    }
    // One after the other, and more of them meanwhile: none is late.
    for n in 0..40 {
        world.wait(spacing);
        world.answer(OWNER, &sale.small(n)).unwrap();
        asks(&mut world, n + 5, 4);
    }
    assert_eq!(world.split(), [40 * STAKE, 0, 0]);
}

#[test]
fn of_many_faults_one_is_paid_and_every_challenger_has_its_stake() {
    let mut world = World::posted();
    let sale = world.sale();
    for n in 0..3 {
        world.challenge(SHOWER, &sale, &sale.lie(n)).unwrap();
    }
    world.challenge(STRANGER, &sale, &sale.small(7)).unwrap();
    world.show_signed(&sale.lie(9).invoice, &sale.small(9).invoice).unwrap();
    assert_eq!(world.split(), [0, AWARD, BOND - AWARD]);
    // What was asked goes on: a window that is shown is paid for.
    world.answer(STRANGER, &sale.small(7)).unwrap();
    world.wait(u64::from(NOTICE));
    for n in 0..3 {
        world.expire(&sale.lie(n)).unwrap();
    }
    assert_eq!(world.split(), [STAKE, AWARD + 3 * STAKE, BOND - AWARD]);
    assert!(world.release().unwrap_err().is::<b::BadState>());
}

/// A seller that keeps no windows may stand behind its numbers alone.
#[test]
fn a_bond_without_challenges_answers_for_two_digests_only() {
    let mut world = World::new();
    world.terms = Terms { answerWithin: 0, stake: alloy::primitives::Uint::ZERO, ..world.terms.clone() };
    world.post(BOND).unwrap();
    let sale = world.sale();
    for stake in [0, STAKE] {
        let call = b::challengeCall { terms: world.terms.clone(), origin: sale.origin(&sale.lie(1).invoice) };
        assert!(world.call(SHOWER, &call, stake).unwrap_err().is::<b::NotAllowed>());
    }
    world.show_signed(&sale.small(1).invoice, &sale.lie(1).invoice).unwrap();
    assert_eq!(world.split(), [0, AWARD, BOND - AWARD]);
}

/// The vectors of the protocol: spans of every kind, as other implementations make them.
#[test]
fn spans_of_the_vectors_are_answers() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../../../spec/vectors/spans.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let hex = |value: &serde_json::Value| alloy::primitives::hex::decode(value.as_str().unwrap()).unwrap();
    let mut checked = 0;
    for vector in vectors["vectors"]["spans"].as_array().unwrap() {
        let messages = hex(&vector["canonical"]);
        if messages.len() > 50_000 {
            continue;
        }
        let count = vector["messages"].as_array().unwrap().len();
        let payload = vector["messages"].as_array().unwrap().iter().map(|message| hex(&message["payload"]).len()).sum();
        let checks = TestSpan {
            order: hex(&vector["order_id"]).try_into().unwrap(),
            numbers: [text(&vector["n"]), text(&vector["first"])].map(|text| text.parse().unwrap()),
            count,
            payload,
        };
        let salt = B256::from_slice(&hex(&vector["salt"]));
        let digest: [u8; 32] = hex(&vector["digest"]).try_into().unwrap();
        checks.check(messages, (salt, digest), vector["signing"] == "message");
        checked += 1;
    }
    assert!(checked > 3, "{checked}");
}

struct TestSpan {
    order: [u8; 32],
    numbers: [u64; 2],
    count: usize,
    payload: usize,
}

impl TestSpan {
    fn check(&self, messages: Vec<u8>, (salt, digest): (B256, [u8; 32]), are_signed: bool) {
        let mut chain = super::chain::Chain::new();
        let at = chain.deploy(&super::crypto::TestCrypto::BYTECODE);
        let call = super::crypto::TestCrypto::isWindowCall {
            body: super::crypto::Statements::Invoice {
                order: self.order.into(),
                n: amount(self.numbers[0]),
                first: amount(self.numbers[1]),
                count: U256::from(self.count),
                payload: U256::from(self.payload),
                digest: digest.into(),
            },
            salt,
            messages: messages.into(),
            areSigned: are_signed,
        };
        assert!(chain.look(at, &call));
    }
}
