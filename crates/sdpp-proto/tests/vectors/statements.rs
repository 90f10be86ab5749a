//! Every kind of statement, signed.

use minicbor::{Decoder, Encoder};
use sdpp_proto::codec::{self, Bytes32, ChannelId, Digest, StatementId};
use sdpp_proto::cose;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::statement::{
    Acceptance, Ack, AnyStatement, Attach, Default as Unpaid, Forgiven, Form, Have, Invoice, Menu, Order, PayOption,
    Payment, Product, Quote, RecordOffer, RecordPolicy, Revocation, RevokeReason, Rotation, Sample, SealKey,
    Settlement, Signed, Signing, Stalled, Statement,
};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;

use crate::cddl::Cddl;
use crate::json::{Json, hex, list, object, text};
use crate::{AnyProvider, key, seed};

const SELLER: u8 = 1;
const BUYER: u8 = 2;
const PAYER: u8 = 3;
const SUCCESSOR: u8 = 4;
const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn id(byte: u8) -> StatementId {
    StatementId([byte; 32])
}

fn show<T: Statement>(provider: AnyProvider, signer: u8, name: &str, body: T) -> Json {
    let key: SigningKey = key(provider, signer);
    let signed = Signed::sign(&key, body);
    let read = Signed::<T>::parse(signed.bytes()).unwrap();
    assert!(read == signed && read.erase() == AnyStatement::parse(signed.bytes()).unwrap());
    let (protected, payload, signature) = parts(signed.bytes());
    let signed_bytes = sig_structure(&protected, &payload);
    assert!(provider.verify(key.public().as_bytes(), &signed_bytes, &signature));
    let mut changed = signature;
    changed[63] ^= 1;
    assert!(!provider.verify(key.public().as_bytes(), &signed_bytes, &changed));
    object([
        ("name", text(name)),
        ("kind", text(T::KIND.name())),
        ("code", Json::Number(codec::encode(&T::KIND)[0].into())),
        ("content_type", text(cose::content_type(T::KIND.name()))),
        ("seed", hex([signer; 32])),
        ("issuer", text(signed.issuer().did())),
        ("subject", text(signed.subject())),
        ("fields", Cddl::read().show(T::KIND.name(), &payload)),
        ("payload", hex(&payload)),
        ("sig_structure", hex(&signed_bytes)),
        ("statement", hex(signed.bytes())),
        ("id", hex(signed.id().0)),
    ])
}

fn parts(statement: &[u8]) -> (Vec<u8>, Vec<u8>, [u8; 64]) {
    let mut d = Decoder::new(statement);
    d.tag().unwrap();
    d.array().unwrap();
    let protected = d.bytes().unwrap().to_vec();
    d.map().unwrap();
    (protected, d.bytes().unwrap().to_vec(), d.bytes().unwrap().try_into().unwrap())
}

fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    e.array(4).unwrap().str("Signature1").unwrap();
    e.bytes(protected).unwrap().bytes(&[]).unwrap().bytes(payload).unwrap();
    e.into_writer()
}

fn product(full: bool) -> Product {
    Product {
        id: if full { 70_000 } else { 1 },
        topic: "weather/seattle".into(),
        schema: if full { "application/json".into() } else { String::new() },
        unit: if full { Unit::Byte } else { Unit::Message },
        amount: Amount::new(if full { 1 << 100 } else { 3 }),
        per: 1000,
        available: full.then_some(1_000_000),
        k: 100,
        window_ms: if full { 60_000 } else { 0 },
        window_bytes: if full { 65_536 } else { 0 },
        message_max: 4096,
        windows_max: 64,
        signing: if full { Signing::Message } else { Signing::Window },
        acks: full,
        when_stalled: if full { Stalled::Skip } else { Stalled::Buffer },
        sample: full,
        cadence_ms: full.then_some(1000),
        licence: full.then(|| "CC-BY-4.0".into()),
    }
}

fn option(full: bool, asset: &AssetId) -> PayOption {
    PayOption {
        id: if full { 2 } else { 1 },
        rail: if full { "ledger".into() } else { "none".into() },
        asset: asset.clone(),
        address: if full { "z6MkExample".into() } else { String::new() },
        finality: u32::from(full),
        grace_min_ms: if full { 3_600_000 } else { 0 },
        pay_by_ms: 20_000,
        channel: full,
        terms: if full { vec![1, 2, 3] } else { Vec::new() },
    }
}

/// A menu; the session sells from one like it.
pub(crate) fn menu(provider: AnyProvider, seal_seed: u8, full: bool) -> Menu {
    let asset = AssetId::new(format!("usd-cent@{}", key(provider, 9).public()));
    let suites = if full { &Suite::ALL[..] } else { &[Suite::X25519] };
    let public = |suite: &Suite| SealSecret::derive(*suite, &seed(seal_seed)).1;
    Menu {
        seller: key(provider, SELLER).public(),
        until: NOW.after_ms(3_600_000),
        seal: suites.iter().map(|suite| SealKey { suite: *suite, public: public(suite) }).collect(),
        records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
        default_currency: asset.clone(),
        options: if full { vec![option(false, &asset), option(true, &asset)] } else { vec![option(false, &asset)] },
        products: if full { vec![product(false), product(true)] } else { vec![product(false)] },
    }
}

fn order(provider: AnyProvider, full: bool) -> Order {
    Order {
        seller: key(provider, SELLER).public(),
        menu_id: id(0x11),
        product: 1,
        option: if full { 2 } else { 1 },
        quantity: full.then_some(1000),
        windows: 4,
        exposure_max: Amount::new(1000),
        limit: if full { Amount::MAX } else { Amount::new(1_000_000) },
        channel: full.then_some(ChannelId([0x22; 32])),
        record: RecordPolicy { form: if full { Form::Hash } else { Form::Full }, every: 1 },
        invoice_addr: full.then(|| "sdpp://z6MkExample@example.org:7000".into()),
        sign_pk: key(provider, PAYER).public(),
        nonce: Bytes32([0x33; 32]),
        until: NOW.after_ms(60_000),
    }
}

fn attach(suite: Suite, full: bool) -> Attach {
    let have = Have {
        next: 120,
        prefix_digest: Some(Digest([0x44; 32])),
        last_invoice: Some(id(0x55)),
        last_payment: Some(id(0x66)),
        base: 100,
    };
    Attach {
        order_id: id(0x10),
        index: if full { 2 } else { 1 },
        suite,
        kem_pk: SealSecret::derive(suite, &seed(0x77)).1,
        th1: Bytes32([0x88; 32]),
        have: if full { have } else { Have::default() },
    }
}

fn acceptance(full: bool) -> Acceptance {
    let forgiven = Forgiven { first: 100, count: 20, invoice: Some(id(0x12)), next_n: 7 };
    Acceptance {
        order_id: id(0x10),
        attach_id: id(0x13),
        index: if full { 2 } else { 1 },
        th2: Bytes32([0x99; 32]),
        enc_hash: Bytes32([0xaa; 32]),
        start: if full { 120 } else { 0 },
        forgiven: full.then_some(forgiven),
        exposure: Amount::new(1000),
        windows: 4,
        ramp: !full,
    }
}

fn invoice(full: bool) -> Invoice {
    Invoice {
        order_id: id(0x10),
        n: if full { 6 } else { 0 },
        windows: 1,
        prev: id(if full { 0x55 } else { 0x10 }),
        first: if full { 100 } else { 0 },
        count: if full { 20 } else { 1 },
        bytes: if full { 70_000 } else { 9 },
        t_start: full.then_some(NOW),
        t_end: full.then(|| NOW.after_ms(1500)),
        digest: Digest([0xbb; 32]),
        units_total: if full { 61_500 } else { 1 },
        due: Amount::new(if full { 1 << 64 } else { 3 }),
        paid: Amount::new(if full { u128::from(u64::MAX) } else { 0 }),
        paid_by: full.then_some(id(0x66)),
        last: full,
    }
}

fn payment(full: bool) -> Payment {
    Payment {
        order_id: id(0x10),
        prev: id(if full { 0x66 } else { 0x10 }),
        invoice_id: id(0x55),
        total: Amount::new(if full { 255 } else { 0 }),
        channel: full.then_some(ChannelId([0x22; 32])),
        proof: full.then(|| vec![0xde, 0xad]),
    }
}

fn settlement(full: bool) -> Settlement {
    let (due, paid) = if full { (300, 300) } else { (0, 0) };
    let payment_id = full.then_some(id(0x66));
    Settlement { order_id: id(0x10), invoice_id: id(0x55), payment_id, due: Amount::new(due), paid: Amount::new(paid) }
}

pub(crate) fn all(provider: AnyProvider) -> Json {
    const FULL: &str = "all fields";
    const LEAN: &str = "the fewest fields";
    let seller = key(provider, SELLER).public();
    let ack = Ack { order_id: id(0x10), invoice_id: id(0x55) };
    let unpaid = Unpaid {
        order_id: id(0x10),
        invoice_id: id(0x55),
        due: Amount::new(65_536),
        paid: Amount::new(65_535),
        deadline: NOW.after_ms(20_000),
    };
    let sample = Sample { seller, topic: "weather/seattle".into(), messages: vec![0; 12] };
    let quote = Quote {
        seller,
        menu_id: id(0x11),
        product: 1,
        option: 1,
        quantity: 4_294_967_296,
        due: Amount::new(12_884_902),
        exposure_max: Amount::new(64),
        fee: Amount::ZERO,
    };
    let rotation = Rotation::sign(&key(provider, SELLER), &key(provider, SUCCESSOR), NOW);
    let revocation = Revocation { key: seller, at: NOW, reason: RevokeReason::Exposed };
    list([
        show(provider, SELLER, FULL, menu(provider, 0x9a, true)),
        show(provider, SELLER, LEAN, menu(provider, 0x9a, false)),
        show(provider, BUYER, FULL, order(provider, true)),
        show(provider, BUYER, LEAN, order(provider, false)),
        show(provider, BUYER, FULL, attach(Suite::XWing, true)),
        show(provider, BUYER, LEAN, attach(Suite::X25519, false)),
        show(provider, SELLER, FULL, acceptance(true)),
        show(provider, SELLER, LEAN, acceptance(false)),
        show(provider, SELLER, FULL, invoice(true)),
        show(provider, SELLER, LEAN, invoice(false)),
        show(provider, PAYER, FULL, ack),
        show(provider, PAYER, FULL, payment(true)),
        show(provider, PAYER, LEAN, payment(false)),
        show(provider, PAYER, FULL, settlement(true)),
        show(provider, SELLER, LEAN, settlement(false)),
        show(provider, SELLER, FULL, unpaid),
        show(provider, SELLER, FULL, sample),
        show(provider, SELLER, FULL, quote),
        show(provider, SELLER, FULL, rotation.body().clone()),
        show(provider, SELLER, FULL, revocation),
    ])
}
