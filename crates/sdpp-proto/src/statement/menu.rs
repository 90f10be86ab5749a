//! What the seller offers: menu, products, payment options, samples and quotes.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::{Form, Kind, Order, Statement, text_ok};
use crate::codec::StatementId;
use crate::identity::PublicKey;
use crate::limits;
use crate::money::{Amount, AssetId, Price, Unit};
use crate::suite::Suite;
use crate::time::Timestamp;

/// The seller's signed list of products, payment options and terms. May be cached until `until`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Menu {
    /// The seller's identity.
    #[n(1)]
    pub seller: PublicKey,
    /// End of validity; at most 24 h ahead.
    #[n(2)]
    pub until: Timestamp,
    /// Keys to seal orders to, one per suite.
    #[n(3)]
    pub seal: Vec<SealKey>,
    /// Where and how the seller records.
    #[n(4)]
    pub records: RecordOffer,
    /// Asset in which prices are usually shown.
    #[n(5)]
    pub default_currency: AssetId,
    /// Ways to pay.
    #[n(6)]
    pub options: Vec<PayOption>,
    /// Streams for sale.
    #[n(7)]
    pub products: Vec<Product>,
}

/// An HPKE public key of the menu.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SealKey {
    /// The suite it belongs to.
    #[n(1)]
    pub suite: Suite,
    /// The key's bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub public: Vec<u8>,
}

/// Where statements are recorded, and how.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RecordOffer {
    /// Kind of records, from the registry of `spec/rails.md`; `none` where nothing is recorded.
    #[n(1)]
    pub backend: String,
    /// Which one: the ledger's origin, a contract.
    #[n(2)]
    pub origin: String,
    /// Whole statements or only their ids.
    #[n(3)]
    pub form: Form,
}

/// One way to pay.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct PayOption {
    /// Number of the option within the menu.
    #[n(1)]
    pub id: u16,
    /// Rail, from the registry of `spec/rails.md`.
    #[n(2)]
    pub rail: String,
    /// What is paid.
    #[n(3)]
    pub asset: AssetId,
    /// Where to: the payee's account.
    #[n(4)]
    pub address: String,
    /// What counts as final, in the rail's own unit (blocks, checkpoints); 0: at once.
    #[n(5)]
    pub finality: u32,
    /// Shortest grace period of a channel.
    #[n(6)]
    pub grace_min_ms: u64,
    /// Time from an invoice to `default`.
    #[n(7)]
    pub pay_by_ms: u64,
    /// Whether a channel with a locked deposit is needed.
    #[n(8)]
    pub channel: bool,
    /// The rail's own terms, opaque to the protocol.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub terms: Vec<u8>,
}

/// How contents are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Signing {
    /// The invoice's digest covers every byte.
    #[n(0)]
    Window,
    /// In addition every message carries a signature, which proves its content to others.
    #[n(1)]
    Message,
}

/// What happens to live data while credit is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Stalled {
    /// Waits in a bounded buffer.
    #[n(0)]
    Buffer,
    /// Is dropped before it gets a sequence number.
    #[n(1)]
    Skip,
}

/// A stream for sale.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Product {
    /// Number of the product within the menu.
    #[n(1)]
    pub id: u32,
    /// Name in addresses: `sdpp://KEY@HOST:PORT/TOPIC`.
    #[n(2)]
    pub topic: String,
    /// What a message looks like, for people and programs.
    #[n(3)]
    pub schema: String,
    /// What the price counts.
    #[n(4)]
    pub unit: Unit,
    /// Base units…
    #[n(5)]
    pub amount: Amount,
    /// …for so many units.
    #[n(6)]
    pub per: u64,
    /// Messages on hand, if the stream ends.
    #[n(7)]
    pub available: Option<u64>,
    /// Messages per window.
    #[n(8)]
    pub k: u32,
    /// A window ends after so long, too. 0: never.
    #[n(9)]
    pub window_ms: u64,
    /// A window ends after so many payload bytes, too. 0: never.
    #[n(10)]
    pub window_bytes: u64,
    /// Largest payload of a message.
    #[n(11)]
    pub message_max: u32,
    /// Largest number of outstanding windows an order may ask for.
    #[n(12)]
    pub windows_max: u32,
    /// How contents are signed.
    #[n(13)]
    pub signing: Signing,
    /// Whether the buyer acknowledges digests before it pays.
    #[n(14)]
    pub acks: bool,
    /// What happens while credit is used up.
    #[n(15)]
    pub when_stalled: Stalled,
    /// Whether a free sample can be had.
    #[n(16)]
    pub sample: bool,
    /// Usual time between two messages.
    #[n(17)]
    pub cadence_ms: Option<u64>,
    /// Licence of the data.
    #[n(18)]
    pub licence: Option<String>,
}

impl Product {
    /// Messages per window of a [`new`](Self::new) product.
    pub const K: u32 = 100;
    /// Outstanding windows of a [`new`](Self::new) product.
    pub const WINDOWS: u32 = 2;
    /// A window of a [`new`](Self::new) product ends after so long: slow streams are paid for too.
    pub const WINDOW_MS: u64 = 1_000;
    /// Largest message of a [`new`](Self::new) product, in bytes.
    pub const MESSAGE_MAX: u32 = 64 * 1024;

    /// A product of this topic and price: windows of [`K`](Self::K) messages or
    /// [`WINDOW_MS`](Self::WINDOW_MS), of which [`WINDOWS`](Self::WINDOWS) may be outstanding; messages
    /// of at most [`MESSAGE_MAX`](Self::MESSAGE_MAX) bytes, signed with their window; without end,
    /// sample, schema and licence. While credit is used up, live data waits. Its number is 1; a
    /// seller gives each topic one of its own.
    pub fn new(topic: impl Into<String>, price: Price) -> Self {
        let Price { unit, amount, per } = price;
        Self {
            id: 1,
            topic: topic.into(),
            schema: String::new(),
            unit,
            amount,
            per,
            available: None,
            k: Self::K,
            window_ms: Self::WINDOW_MS,
            window_bytes: 0,
            message_max: Self::MESSAGE_MAX,
            windows_max: Self::WINDOWS,
            signing: Signing::Window,
            acks: false,
            when_stalled: Stalled::Buffer,
            sample: false,
            cadence_ms: None,
            licence: None,
        }
    }

    /// The price.
    pub const fn price(&self) -> Price {
        Price { unit: self.unit, amount: self.amount, per: self.per }
    }

    /// What so many outstanding windows cost at most, which is what a buyer of them may owe; `None`
    /// where that does not fit an amount.
    #[must_use]
    pub fn exposure(&self, windows: u32) -> Option<Amount> {
        let windows = u64::from(windows);
        match self.unit {
            Unit::Message | Unit::Byte => self.cost(u64::from(self.k).checked_mul(windows)?),
            Unit::Second => self.price().due(self.window_ms.checked_mul(windows)?),
        }
    }

    /// What so many messages cost at most; `None` where that does not fit an amount, or where the
    /// price counts time: nobody knows how long they take.
    #[must_use]
    pub fn cost(&self, messages: u64) -> Option<Amount> {
        let units = match self.unit {
            Unit::Message => messages,
            Unit::Byte => messages.checked_mul(u64::from(self.message_max))?,
            Unit::Second => return None,
        };
        self.price().due(units)
    }

    fn is_within_limits(&self) -> bool {
        text_ok(&self.topic)
            && self.schema.len() <= limits::TEXT_MAX
            && self.licence.as_ref().is_none_or(|text| text_ok(text))
            && self.per > 0
            && (1..=limits::K_MAX).contains(&self.k)
            && (1..=limits::MESSAGE_MAX).contains(&self.message_max)
            && (1..=limits::WINDOWS_MAX).contains(&self.windows_max)
            && (self.unit != Unit::Second || self.window_ms > 0)
    }
}

impl Statement for Menu {
    const KIND: Kind = Kind::Menu;

    fn subject(&self) -> String {
        self.seller.did()
    }

    fn is_within_limits(&self) -> bool {
        let unique = |ids: &mut dyn Iterator<Item = u64>| {
            let mut seen: Vec<u64> = ids.collect();
            let all = seen.len();
            seen.sort_unstable();
            seen.dedup();
            seen.len() == all
        };
        (1..=2).contains(&self.seal.len())
            && unique(&mut self.seal.iter().map(|key| u64::from(key.suite.code())))
            && (1..=limits::OPTIONS_MAX).contains(&self.options.len())
            && unique(&mut self.options.iter().map(|option| u64::from(option.id)))
            && (1..=limits::PRODUCTS_MAX).contains(&self.products.len())
            && unique(&mut self.products.iter().map(|product| u64::from(product.id)))
            && self.products.iter().all(Product::is_within_limits)
            && self.options.iter().all(|option| {
                text_ok(&option.rail)
                    && text_ok(option.asset.as_str())
                    && option.address.len() <= limits::TEXT_MAX
                    && option.terms.len() <= limits::OPAQUE_MAX
            })
            && text_ok(&self.records.backend)
            && self.records.origin.len() <= limits::TEXT_MAX
    }
}

impl Menu {
    /// The product of this topic.
    pub fn product_by_topic(&self, topic: &str) -> Option<&Product> {
        self.products.iter().find(|product| product.topic == topic)
    }

    /// The payment option of this number.
    pub fn option(&self, id: u16) -> Option<&PayOption> {
        self.options.iter().find(|option| option.id == id)
    }

    /// The product of this number.
    pub fn product(&self, id: u32) -> Option<&Product> {
        self.products.iter().find(|product| product.id == id)
    }

    /// The sealing key of a suite.
    pub fn seal_key(&self, suite: Suite) -> Option<&[u8]> {
        self.seal.iter().find(|key| key.suite == suite).map(|key| key.public.as_slice())
    }
}

/// All terms of an order, resolved against its menu: what both machines and the auditor count by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The product as the menu described it.
    pub product: Product,
    /// The chosen way to pay.
    pub option: PayOption,
    /// The order.
    pub order: Order,
}

impl Terms {
    /// Resolves an order against its menu; `None` where it names what the menu does not have.
    pub fn resolve(menu: &Menu, order: &Order) -> Option<Self> {
        Some(Self {
            product: menu.product(order.product)?.clone(),
            option: menu.option(order.option)?.clone(),
            order: order.clone(),
        })
    }

    /// The price.
    pub const fn price(&self) -> Price {
        self.product.price()
    }
}

/// Fixed free messages, the same for everybody.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Sample {
    /// The seller.
    #[n(1)]
    pub seller: PublicKey,
    /// Topic of the product.
    #[n(2)]
    pub topic: String,
    /// Messages in their canonical form, one behind the other.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub messages: Vec<u8>,
}

impl Statement for Sample {
    const KIND: Kind = Kind::Sample;

    fn subject(&self) -> String {
        self.seller.did()
    }

    fn is_within_limits(&self) -> bool {
        text_ok(&self.topic) && self.messages.len() <= limits::SAMPLE_BYTES_MAX
    }
}

/// What an order would cost, and put at risk, at most.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Quote {
    /// The seller.
    #[n(1)]
    pub seller: PublicKey,
    /// The menu it holds for.
    #[n(2)]
    pub menu_id: StatementId,
    /// Product.
    #[n(3)]
    pub product: u32,
    /// Way to pay.
    #[n(4)]
    pub option: u16,
    /// Messages, bytes or seconds by the product's unit.
    #[n(5)]
    pub quantity: u64,
    /// What the data costs.
    #[n(6)]
    pub due: Amount,
    /// The most that the seller would extend as credit.
    #[n(7)]
    pub exposure_max: Amount,
    /// What the rail takes on top, by the seller's knowledge.
    #[n(8)]
    pub fee: Amount,
}

impl Statement for Quote {
    const KIND: Kind = Kind::Quote;

    fn subject(&self) -> String {
        self.seller.did()
    }
}
