//! Keys, a product and a seller: what all conversations here are about.

use std::sync::{Arc, LazyLock};

use sdpp_proto::buyer::{BuyerConfig, OrderDraft};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::seller::{Admission, SellerConfig};
use sdpp_proto::statement::{
    Form, Menu, PayOption, Product, RecordOffer, RecordPolicy, Sample, SealKey, Signed, Signing, Stalled,
};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use zeroize::Zeroizing;

pub(crate) const START: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// Seeds of keys.
pub(crate) const SELLER: u8 = 1;
pub(crate) const BUYER: u8 = 2;
pub(crate) const PAYER: u8 = 3;
pub(crate) const STRANGER: u8 = 4;
const SEAL: u8 = 9;

pub(crate) fn key(seed: u8) -> SigningKey {
    static KEYS: LazyLock<Vec<SigningKey>> =
        LazyLock::new(|| (0..16).map(|seed| SigningKey::from_seed(&Zeroizing::new([seed; 32]))).collect());
    KEYS[usize::from(seed % 16)].clone()
}

/// Products that differ in all that a machine looks at: unit, signing rule, acks, limits of a window.
pub(crate) fn products() -> Vec<Product> {
    let plain = Product {
        id: 1,
        topic: "weather".into(),
        schema: "json".into(),
        unit: Unit::Message,
        amount: Amount::new(3),
        per: 1,
        available: None,
        k: 3,
        window_ms: 0,
        window_bytes: 0,
        message_max: 1000,
        windows_max: 16,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: true,
        cadence_ms: None,
        licence: None,
    };
    vec![
        plain.clone(),
        Product { unit: Unit::Byte, per: 7, ..plain.clone() },
        Product { unit: Unit::Second, window_ms: 1000, ..plain.clone() },
        Product { signing: Signing::Message, acks: true, k: 2, ..plain.clone() },
        Product { amount: Amount::new(u128::MAX / 100), per: 2, window_bytes: 40, ..plain },
    ]
}

fn option() -> PayOption {
    PayOption {
        id: 1,
        rail: "test".into(),
        asset: AssetId::new("unit@test"),
        address: "seller".into(),
        finality: 0,
        grace_min_ms: 0,
        pay_by_ms: 20_000,
        channel: false,
        terms: Vec::new(),
    }
}

pub(crate) fn seals() -> Vec<SealSecret> {
    Suite::ALL.map(|suite| SealSecret::derive(suite, &Zeroizing::new([SEAL; 32])).0).into()
}

fn seller_of(product: Product) -> SellerConfig {
    let key = key(SELLER);
    let public = |suite| SealSecret::derive(suite, &Zeroizing::new([SEAL; 32])).1;
    let sample = Sample { seller: key.public(), topic: product.topic.clone(), messages: Vec::new() };
    let menu = Menu {
        seller: key.public(),
        until: START.after_ms(12 * 60 * 60 * 1000),
        seal: Suite::ALL.map(|suite| SealKey { suite, public: public(suite) }).into(),
        records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
        default_currency: AssetId::new("unit@test"),
        options: vec![option()],
        products: vec![product],
    };
    let (menu, sample) = (Signed::sign(&key, menu), Signed::sign(&key, sample));
    SellerConfig { key, menu, seals: seals(), samples: vec![sample] }
}

/// A seller of each product.
pub(crate) fn sellers() -> &'static [Arc<SellerConfig>] {
    static SELLERS: LazyLock<Vec<Arc<SellerConfig>>> =
        LazyLock::new(|| products().into_iter().map(|product| Arc::new(seller_of(product))).collect());
    &SELLERS
}

pub(crate) fn buyer(moves: bool) -> BuyerConfig {
    let seller = Some(key(SELLER).public());
    BuyerConfig { key: key(BUYER), seller, suites: vec![Suite::X25519], pay_moves_money: moves }
}

/// An order that leaves room for some windows of any of the products.
pub(crate) fn draft(product: &Product) -> OrderDraft {
    let exposure_max = product.exposure(4).unwrap_or(Amount::MAX);
    OrderDraft {
        product: product.id,
        option: 1,
        quantity: (product.unit != Unit::Second).then_some(60),
        windows: 4,
        exposure_max,
        limit: Amount::new(u128::MAX / 2),
        channel: None,
        record: RecordPolicy { form: Form::Full, every: 1 },
        sign_key: key(PAYER),
        nonce: Bytes32([5; 32]),
        until: START.after_ms(60_000),
    }
}

pub(crate) fn admission(draft: &OrderDraft, ramp: bool) -> Admission {
    Admission { exposure: draft.exposure_max, windows: draft.windows, ramp, ceiling: draft.limit }
}

/// A message whose content follows from its number.
pub(crate) fn message(seq: u64) -> Vec<u8> {
    let tail = usize::try_from(seq % 11).unwrap_or_default();
    format!("reading {seq} {}", "x".repeat(tail)).into_bytes()
}
