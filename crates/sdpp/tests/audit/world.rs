//! A conversation of two connections, in which every statement can be edited before it is signed.

use std::sync::Arc;

use sdpp::audit::{Bundle, Trust};
use sdpp_proto::codec::{Bytes32, ChannelId, Digest, StatementId};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::message::message_to_sign;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::span::{SpanHasher, SpanStart, span_salt};
use sdpp_proto::statement::{
    Acceptance, Ack, Attach, Default as Unpaid, Forgiven, Form, Have, Invoice, Menu, Order, PayOption, Payment,
    Product, RecordOffer, RecordPolicy, SealKey, Settlement, Signed, Signing, Stalled, Statement,
};
use sdpp_proto::suite::Suite;
use sdpp_proto::time::Timestamp;
use zeroize::Zeroizing;

pub(crate) const SALT: Bytes32 = Bytes32([9; 32]);

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

pub(crate) fn seller() -> SigningKey {
    key(1)
}

pub(crate) fn buyer() -> SigningKey {
    key(2)
}

/// The order's key, which signs payments.
pub(crate) fn payer() -> SigningKey {
    key(3)
}

pub(crate) fn trust() -> Trust {
    Trust { seller: seller().public(), log: None }
}

/// What was said so far, by label: `invoice 2`.
#[derive(Clone, Default)]
pub(crate) struct Ctx {
    pub(crate) said: Vec<(String, StatementId)>,
}

impl Ctx {
    pub(crate) fn id(&self, label: &str) -> StatementId {
        self.said.iter().find(|(said, _)| said == label).unwrap_or_else(|| panic!("no {label}")).1
    }
}

/// Edits of statements, by their number among those of their kind.
pub(crate) struct Edits {
    pub(crate) unit: Option<Unit>,
    pub(crate) signing: Signing,
    pub(crate) with_default: bool,
    /// Messages that are forgiven behind the first ones that were, after another crash.
    pub(crate) crashes_again: u64,
    pub(crate) menu: fn(&Ctx, &mut Menu),
    pub(crate) order: fn(&Ctx, &mut Order),
    pub(crate) attach: fn(&Ctx, u32, &mut Attach),
    pub(crate) acceptance: fn(&Ctx, u32, &mut Acceptance),
    pub(crate) invoice: fn(&Ctx, u64, &mut Invoice),
    pub(crate) ack: fn(&Ctx, &mut Ack),
    pub(crate) payment: fn(&Ctx, u32, &mut Payment),
    pub(crate) settlement: fn(&Ctx, u32, &mut Settlement),
    pub(crate) default: fn(&Ctx, &mut Unpaid),
}

impl Default for Edits {
    fn default() -> Self {
        Self {
            unit: None,
            signing: Signing::Window,
            with_default: false,
            crashes_again: 0,
            menu: |_, _| {},
            order: |_, _| {},
            attach: |_, _, _| {},
            acceptance: |_, _, _| {},
            invoice: |_, _, _| {},
            ack: |_, _| {},
            payment: |_, _, _| {},
            settlement: |_, _, _| {},
            default: |_, _| {},
        }
    }
}

#[derive(Clone)]
pub(crate) struct Sale {
    pub(crate) bundle: Bundle,
    pub(crate) ctx: Ctx,
    /// End of each message in the data.
    pub(crate) ends: Vec<usize>,
}

impl Sale {
    fn say<T: Statement>(&mut self, label: impl Into<String>, key: &SigningKey, body: T) -> StatementId {
        let signed = Signed::sign(key, body);
        self.bundle.statements.push(signed.bytes().clone());
        self.ctx.said.push((label.into(), signed.id()));
        signed.id()
    }

    pub(crate) fn position(&self, label: &str) -> usize {
        self.ctx.said.iter().position(|(said, _)| said == label).unwrap_or_else(|| panic!("no {label}"))
    }

    /// Leaves a statement out.
    pub(crate) fn drop(&mut self, label: &str) {
        let at = self.position(label);
        self.bundle.statements.remove(at);
        self.ctx.said.remove(at);
    }

    pub(crate) fn body<T: Statement>(&self, label: &str) -> T {
        Signed::<T>::parse_unverified(&self.bundle.statements[self.position(label)]).unwrap().body().clone()
    }

    /// Puts a statement of these contents behind another one.
    pub(crate) fn insert<T: Statement>(&mut self, behind: &str, label: &str, key: &SigningKey, body: T) {
        let at = self.position(behind) + 1;
        let signed = Signed::sign(key, body);
        self.bundle.statements.insert(at, signed.bytes().clone());
        self.ctx.said.insert(at, (label.into(), signed.id()));
    }

    /// The same contents, signed by somebody else.
    pub(crate) fn sign_by<T: Statement>(&mut self, label: &str, key: &SigningKey) {
        let (at, body) = (self.position(label), self.body::<T>(label));
        let signed = Signed::sign(key, body);
        self.bundle.statements[at] = signed.bytes().clone();
        self.ctx.said[at].1 = signed.id();
    }

    /// The message that a byte of the data belongs to.
    pub(crate) fn message_at(&self, byte: usize) -> usize {
        self.ends.partition_point(|end| *end <= byte)
    }

    /// The invoice that stands and covers a message.
    pub(crate) fn invoice_of(&self, message: usize) -> String {
        let n = [(10, 0), (30, 1), (37, 2), (42, 3), (52, 4), (55, 5)].iter().find(|(end, _)| message < *end);
        format!("invoice {}", n.unwrap().1)
    }
}

fn menu(unit: Unit, signing: Signing) -> Menu {
    let product = Product {
        id: 7,
        topic: "air/pm25".into(),
        schema: "json".into(),
        unit,
        amount: Amount::new(3),
        per: 10,
        available: None,
        k: 10,
        window_ms: 1000,
        window_bytes: 0,
        message_max: 100,
        windows_max: 8,
        signing,
        acks: true,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    };
    let option = PayOption {
        id: 1,
        rail: "ledger".into(),
        asset: AssetId::new("cent"),
        address: "a".into(),
        finality: 0,
        grace_min_ms: 1,
        pay_by_ms: 1,
        channel: true,
        terms: vec![],
    };
    Menu {
        seller: seller().public(),
        until: Timestamp::from_ms(1),
        seal: vec![SealKey { suite: Suite::X25519, public: vec![1; 32] }],
        records: RecordOffer { backend: "ledger".into(), origin: "log.example".into(), form: Form::Full },
        default_currency: AssetId::new("cent"),
        options: vec![option],
        products: vec![product],
    }
}

fn order(menu_id: StatementId) -> Order {
    Order {
        seller: seller().public(),
        menu_id,
        product: 7,
        option: 1,
        quantity: Some(55),
        windows: 4,
        exposure_max: Amount::new(100),
        limit: Amount::new(1000),
        channel: Some(ChannelId([5; 32])),
        record: RecordPolicy { form: Form::Full, every: 1 },
        invoice_addr: None,
        sign_pk: payer().public(),
        nonce: Bytes32([6; 32]),
        until: Timestamp::from_ms(1),
    }
}

/// Message `seq` in canonical form, and its payload's length.
fn message(order: &StatementId, seq: u64, signing: Signing) -> (Vec<u8>, u64) {
    let payload = vec![b'x'; (seq % 7 + 1) as usize];
    let time_us = seq as i64;
    let mut out = time_us.to_be_bytes().to_vec();
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(&payload);
    if signing == Signing::Message {
        out.extend_from_slice(&seller().sign(&message_to_sign(order, seq, time_us, &payload)));
    }
    (out, payload.len() as u64)
}

struct Talk<'e> {
    sale: Sale,
    edits: &'e Edits,
    unit: Unit,
    order: StatementId,
    prev: StatementId,
    units: u64,
    paid: (Option<StatementId>, Amount),
    time: u64,
}

/// Windows, first message, count.
type Span = (u32, u64, u64);

impl Talk<'_> {
    fn attach(&mut self, index: u32, have: Have) {
        let mut attach = Attach {
            order_id: self.order,
            index: index + 1,
            suite: Suite::X25519,
            kem_pk: vec![2; 32],
            th1: Bytes32([3; 32]),
            have,
        };
        (self.edits.attach)(&self.sale.ctx, index, &mut attach);
        self.sale.say(format!("attach {index}"), &buyer(), attach);
    }

    fn accept(&mut self, index: u32, start: u64, forgiven: Option<Forgiven>) {
        let mut acceptance = Acceptance {
            order_id: self.order,
            attach_id: self.sale.ctx.id(&format!("attach {index}")),
            index: index + 1,
            th2: Bytes32([4; 32]),
            enc_hash: Bytes32([5; 32]),
            start,
            forgiven,
            exposure: Amount::new(100),
            windows: 4,
            ramp: false,
        };
        (self.edits.acceptance)(&self.sale.ctx, index, &mut acceptance);
        self.sale.say(format!("acceptance {index}"), &seller(), acceptance);
    }

    fn span(&self, n: u64, (_, first, count): Span) -> (Digest, u64) {
        let mut hasher = SpanHasher::new(&SpanStart { order: self.order, n, first }, &span_salt(&SALT, n));
        let mut bytes = 0;
        for seq in first..first + count {
            let (message, length) = message(&self.order, seq, self.edits.signing);
            hasher.update(&message);
            bytes += length;
        }
        (hasher.digest(count), bytes)
    }

    fn invoice(&mut self, n: u64, span: Span, last: bool) {
        let ((windows, first, count), (digest, bytes)) = (span, self.span(n, span));
        let (start, end) = (self.time, self.time + 1000 * u64::from(windows));
        self.time = end + 5;
        let timed = self.unit == Unit::Second;
        self.units += match self.unit {
            Unit::Message => count,
            Unit::Byte => bytes,
            Unit::Second => end - start,
        };
        let price = menu(self.unit, self.edits.signing).products[0].price();
        let mut invoice = Invoice {
            order_id: self.order,
            n,
            windows,
            prev: self.prev,
            first,
            count,
            bytes,
            t_start: timed.then(|| Timestamp::from_ms(start)),
            t_end: timed.then(|| Timestamp::from_ms(end)),
            digest,
            units_total: self.units,
            due: price.due(self.units).unwrap(),
            paid: self.paid.1,
            paid_by: self.paid.0,
            last,
        };
        (self.edits.invoice)(&self.sale.ctx, n, &mut invoice);
        self.prev = self.sale.say(format!("invoice {n}"), &seller(), invoice);
    }

    fn due(&self, n: u64) -> (StatementId, Amount) {
        let label = format!("invoice {n}");
        (self.sale.ctx.id(&label), self.sale.body::<Invoice>(&label).due)
    }

    fn pay(&mut self, index: u32, n: u64) {
        let (invoice_id, total) = self.due(n);
        let prev = index.checked_sub(1).map_or(self.order, |before| self.sale.ctx.id(&format!("payment {before}")));
        let channel = Some(ChannelId([5; 32]));
        let mut payment = Payment { order_id: self.order, prev, invoice_id, total, channel, proof: None };
        (self.edits.payment)(&self.sale.ctx, index, &mut payment);
        let id = self.sale.say(format!("payment {index}"), &payer(), payment);
        self.paid = (Some(id), total);
    }

    fn default(&mut self, n: u64) {
        let (invoice_id, due) = self.due(n);
        let deadline = Timestamp::from_ms(1);
        let mut default = Unpaid { order_id: self.order, invoice_id, due, paid: self.paid.1, deadline };
        (self.edits.default)(&self.sale.ctx, &mut default);
        self.sale.say("default", &seller(), default);
    }

    fn settle(&mut self, n: u64) {
        let (invoice_id, due) = self.due(n);
        let (payment_id, paid) = self.paid;
        for (index, key) in [(0, seller()), (1, payer())] {
            let mut settlement = Settlement { order_id: self.order, invoice_id, payment_id, due, paid };
            (self.edits.settlement)(&self.sale.ctx, index, &mut settlement);
            self.sale.say(format!("settlement {index}"), &key, settlement);
        }
    }

    /// Two connections: coalesced invoices, a cut with messages forgiven, the end.
    fn talk(&mut self) {
        self.attach(0, Have::default());
        self.accept(0, 0, None);
        self.invoice(0, (1, 0, 10), false);
        self.pay(0, 0);
        self.invoice(1, (2, 10, 20), false);
        self.invoice(2, (1, 30, 7), false);
        let mut ack = Ack { order_id: self.order, invoice_id: self.sale.ctx.id("invoice 1") };
        (self.edits.ack)(&self.sale.ctx, &mut ack);
        self.sale.say("ack", &payer(), ack);
        self.pay(1, 2);
        let (units, prev) = (self.units, self.prev);
        self.invoice(3, (1, 37, 10), false);
        let last_invoice = Some(prev);
        self.attach(1, Have { next: 42, prefix_digest: None, last_invoice, last_payment: self.paid.0, base: 37 });
        let invoice = Some(self.sale.ctx.id("invoice 3"));
        self.accept(1, 42, Some(Forgiven { first: 37, count: 5, invoice, next_n: 4 }));
        (self.units, self.prev) = (units, prev);
        let more = self.edits.crashes_again;
        if more > 0 {
            self.attach(
                2,
                Have { next: 42 + more, prefix_digest: None, last_invoice, last_payment: self.paid.0, base: 42 },
            );
            self.accept(2, 42 + more, Some(Forgiven { first: 42, count: more, invoice: None, next_n: 4 }));
        }
        self.invoice(4, (1, 42 + more, 10 - more), false);
        self.pay(2, 4);
        self.invoice(5, (1, 52, 3), true);
        if self.edits.with_default {
            self.default(5);
        }
        self.pay(3, 5);
        self.settle(5);
    }
}

pub(crate) fn converse(unit: Unit, edits: &Edits) -> Sale {
    let unit = edits.unit.unwrap_or(unit);
    let bundle = Bundle { order_salt: Some(SALT), ..Bundle::default() };
    let mut sale = Sale { bundle, ctx: Ctx::default(), ends: vec![] };
    let mut menu = menu(unit, edits.signing);
    (edits.menu)(&sale.ctx, &mut menu);
    let menu_id = sale.say("menu", &seller(), menu);
    let mut order = order(menu_id);
    (edits.order)(&sale.ctx, &mut order);
    let order = sale.say("order", &buyer(), order);
    let (paid, time) = ((None, Amount::ZERO), 1000);
    let mut talk = Talk { sale, edits, unit, order, prev: order, units: 0, paid, time };
    talk.talk();
    let mut sale = talk.sale;
    let mut data = vec![];
    for seq in 0..55 {
        data.extend_from_slice(&message(&order, seq, edits.signing).0);
        sale.ends.push(data.len());
    }
    sale.bundle.messages = vec![Arc::from(data)];
    sale
}
