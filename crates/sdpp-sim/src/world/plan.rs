//! What a world is like: drawn once, before anything happens.

use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Form, Product, RecordPolicy, Signing, Stalled};
use sdpp_proto::suite::Suite;

use super::buyer::Wish;
use super::ctx::Weather;
use super::money::RailKind;
use super::seller::Caps;
use crate::dice::Dice;
use crate::liar::act::{BuyerLie, SellerLie};

/// Who lies, and how many chances he lets go by.
#[derive(Clone, Copy)]
pub(crate) enum Liar {
    Nobody,
    /// The last buyer.
    Buyer(BuyerLie, u32),
    Seller(SellerLie, u32),
}

/// A drawn world.
pub(crate) struct Plan {
    pub(crate) weather: Weather,
    pub(crate) rail: RailKind,
    pub(crate) witnessed: bool,
    pub(crate) liar: Liar,
    pub(crate) product: Product,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) caps: Caps,
    /// Messages that the source has for each order.
    pub(crate) source_end: u64,
    /// Between two helpings of the source.
    pub(crate) pace_ms: u64,
    pub(crate) pay_by_ms: u64,
    /// Looks that it takes until a payment of the fake bank is final.
    pub(crate) looks: u32,
    /// Steps of the storm.
    pub(crate) storm: u64,
    pub(crate) skew_ms: [u64; 4],
    /// Replicas and payees remember on disks.
    pub(crate) replicas: bool,
    /// Disks may say that a flush is done that is not.
    pub(crate) lies: bool,
}

/// A limit that is reached: it pays for one message of the dearest product, and for few of the others.
const TIGHT: Amount = Amount::new(25);
/// What everything of a product costs, at most: few messages are sold.
const DEPOSIT: Amount = Amount::new(100_000);

impl Plan {
    /// Draws a world; `wanted`: with this rail. Peers made by hand know no vouchers with proofs, so nobody lies there.
    pub(crate) fn draw(dice: &mut Dice, wanted: Option<RailKind>) -> Self {
        let liar = if wanted.is_some() { Liar::Nobody } else { liar(dice) };
        let rail = wanted.unwrap_or_else(|| match liar {
            Liar::Nobody => *dice.pick(&RailKind::ALL),
            Liar::Buyer(..) | Liar::Seller(..) => *dice.pick(&[RailKind::FakeVoucher, RailKind::Voucher]),
        });
        let mut product = product(dice);
        let buyers = match liar {
            Liar::Nobody | Liar::Buyer(..) => *dice.pick(&[1, 1, 1, 2, 2, 3]),
            Liar::Seller(..) => 1,
        };
        let mut wishes = Vec::new();
        for _ in 0..buyers {
            wishes.push(wish(dice, &product, rail));
        }
        if let (Liar::Seller(..), Some(wish)) = (liar, wishes.first_mut()) {
            // A seller made by hand never runs out.
            wish.quantity.get_or_insert(20);
        }
        let weather = encourage(liar, (&mut wishes, &mut product), weather(dice));
        let exposure = Amount::new(u128::from(*dice.pick(&[300u32, 60, 20_000])));
        let narrow = dice.below(4) == 1;
        let pool = if narrow { exposure } else { DEPOSIT };
        let seconds = product.unit == Unit::Second;
        Self {
            weather,
            liar,
            rail,
            witnessed: dice.below(6) == 1,
            product,
            wishes,
            caps: Caps { exposure_max: exposure, strangers: pool, proven: DEPOSIT },
            source_end: 3 + dice.below(24),
            pace_ms: if seconds { 300 } else { *dice.pick(&[0, 0, 20, 400]) },
            pay_by_ms: *dice.pick(&[20_000, 3_000, 60_000]),
            looks: *dice.pick(&[0, 0, 3, 20]),
            storm: 40 + dice.below(400),
            skew_ms: [0, 1, 2, 3].map(|_| *dice.pick(&[0, 0, 0, 900, 40_000])),
            replicas: dice.below(2) == 1,
            lies: dice.below(3) == 2,
        }
    }
}

impl Plan {
    /// One line for a person.
    pub(crate) fn summary(&self) -> String {
        let liar = match self.liar {
            Liar::Nobody => "nobody lies".to_owned(),
            Liar::Buyer(lie, at) => format!("the last buyer: {}, after {at} chances", lie.name()),
            Liar::Seller(lie, at) => format!("the seller: {}, after {at} chances", lie.name()),
        };
        let Product { unit, amount, per, k, signing, .. } = &self.product;
        let (rail, buyers, weather) = (self.rail, self.wishes.len(), self.weather);
        format!("{rail:?}, {amount} per {per} {unit:?}, K {k}, {signing:?}, {buyers} buyers, {weather:?}; {liar}")
    }

    /// What of it counts as reached.
    pub(crate) fn points(&self) -> impl Iterator<Item = &'static str> {
        let unit = match self.product.unit {
            Unit::Message => "price: message",
            Unit::Byte => "price: byte",
            Unit::Second => "price: second",
        };
        let rule = (self.product.signing == Signing::Message).then_some("rule: message");
        std::iter::once(unit).chain(rule)
    }
}

/// Some lies have their moment only after a break, or at the end of the money.
fn encourage(liar: Liar, (wishes, product): (&mut [Wish], &mut Product), mut weather: Weather) -> Weather {
    match liar {
        Liar::Seller(SellerLie::ChangesRepeated | SellerLie::LeavesOut | SellerLie::ForgivesWrongly, _) => {
            weather.cut = 700;
            product.k = 10;
            product.unit = Unit::Message;
            for wish in wishes {
                (wish.quantity, wish.windows, wish.enough_at) = (Some(40), 4, None);
            }
        }
        Liar::Seller(SellerLie::SessionReplayed | SellerLie::ChangesSalt, _)
        | Liar::Buyer(BuyerLie::AttachStale | BuyerLie::AttachReplayed | BuyerLie::OrderReplayed, _) => {
            weather.cut = 500;
        }
        Liar::Seller(SellerLie::AnswersWrong | SellerLie::AnswersUnasked, _) => {
            for wish in wishes {
                wish.asks = true;
            }
        }
        Liar::Seller(SellerLie::RunsAhead, _) => {
            product.k = 1;
            product.unit = Unit::Message;
            for wish in wishes {
                (wish.quantity, wish.windows, wish.enough_at) = (Some(60), 16, None);
                wish.exposure_max = Amount::new(7);
            }
        }
        Liar::Seller(SellerLie::MessageForged, _) => product.signing = Signing::Message,
        Liar::Nobody | Liar::Buyer(..) | Liar::Seller(..) => {}
    }
    weather
}

/// Lies whose moment comes seldom: they are drawn more often, and take the first chance.
const SELDOM_SOLD: &[SellerLie] = &[
    SellerLie::ChangesRepeated,
    SellerLie::RunsAhead,
    SellerLie::AnswersWrong,
    SellerLie::ChangesSalt,
    SellerLie::SessionReplayed,
    SellerLie::ForgivesWrongly,
    SellerLie::MessageForged,
];
const SELDOM_BOUGHT: &[BuyerLie] = &[
    BuyerLie::AttachStale,
    BuyerLie::AttachUnknown,
    BuyerLie::AttachForged,
    BuyerLie::AttachReplayed,
    BuyerLie::OrderReplayed,
    BuyerLie::SilentChoosing,
    BuyerLie::SettlementForged,
    BuyerLie::SettlementChanged,
];

fn liar(dice: &mut Dice) -> Liar {
    let who = dice.below(6);
    let seldom = dice.below(4) == 1;
    let at = if seldom { 0 } else { *dice.pick(&[0, 0, 1, 2, 4]) };
    match who {
        0..=2 => Liar::Nobody,
        3 => Liar::Buyer(*dice.pick(if seldom { SELDOM_BOUGHT } else { BuyerLie::ALL }), at),
        _ => Liar::Seller(*dice.pick(if seldom { SELDOM_SOLD } else { SellerLie::ALL }), at),
    }
}

fn weather(dice: &mut Dice) -> Weather {
    let mut much = |most: &[u16]| *dice.pick(most);
    Weather {
        fault: much(&[0, 5, 15, 40]),
        cut: much(&[0, 0, 0, 300]),
        call: much(&[0, 0, 50, 300]),
        ledger: much(&[0, 0, 20, 150]),
        late: much(&[0, 50, 300]),
        rude: much(&[0, 0, 20, 100]),
        prompt: much(&[0, 0, 500, 1000]),
    }
}

fn product(dice: &mut Dice) -> Product {
    let unit = *dice.pick(&[Unit::Message, Unit::Message, Unit::Message, Unit::Byte, Unit::Second]);
    let (amount, per) = match unit {
        Unit::Message => *dice.pick(&[(3u128, 1u64), (1, 1), (3, 1000), (7, 3)]),
        Unit::Byte => (1, 10),
        Unit::Second => (5, 1),
    };
    Product {
        id: 1,
        topic: "weather".into(),
        schema: "text".into(),
        unit,
        amount: Amount::new(amount),
        per,
        available: None,
        k: *dice.pick(&[5, 1, 3, 10]),
        window_ms: if unit == Unit::Second { 2_000 } else { *dice.pick(&[0, 0, 700]) },
        window_bytes: 0,
        message_max: 200,
        windows_max: 16,
        signing: if dice.below(5) == 1 { Signing::Message } else { Signing::Window },
        acks: dice.below(3) == 1,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    }
}

fn wish(dice: &mut Dice, product: &Product, rail: RailKind) -> Wish {
    let quantity = match dice.below(4) {
        0 => None,
        _ => Some(1 + dice.below(24)),
    };
    let tight = dice.below(8) == 1 && product.unit != Unit::Second;
    Wish {
        quantity,
        windows: *dice.pick(&[1, 2, 4, 16]),
        exposure_max: Amount::new(u128::from(*dice.pick(&[1_000u32, 150, 50_000]))),
        limit: if tight { TIGHT } else { DEPOSIT },
        record: RecordPolicy { form: Form::Full, every: 1 },
        suite: if dice.below(20) == 1 { Suite::XWing } else { Suite::X25519 },
        asks: dice.below(8) == 1,
        enough_at: (dice.below(5) == 1).then(|| 1 + dice.below(12)),
        records: rail.has_ledger() && dice.below(8) == 1,
    }
}
