//! Every lie of [`sdpp_sim::liar::act`] against the shipped machines: it is told, the machine names it,
//! nobody loses more than was agreed, and when the liar comes back the sale is settled.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "helpers of tests may panic"
)]

mod worlds;

use std::collections::BTreeSet;

use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::Signing;
use sdpp_sim::liar::act::{BuyerLie, SellerLie};

use worlds::{BuyerWorld, SellerWorld, Setup, Story};

/// Which lies wait for a later chance, on which link. Each number of chances has its own kind of
/// product, see [`Setup::new`].
const PLANS: [(u32, bool); 4] = [(0, false), (0, true), (1, true), (3, false)];

/// The honest signing rule is tried in both forms.
fn signing(at: u32, always: bool) -> Signing {
    if always || at == 1 { Signing::Message } else { Signing::Window }
}

/// How all plans of one lie went.
#[derive(Default)]
struct Verdicts {
    named: BTreeSet<Offence>,
    /// Chances let go by, of the lies that were told.
    told: BTreeSet<u32>,
}

impl Verdicts {
    /// The lie was named, once, after it was told, and nothing else; then the sale went on to its end.
    fn judge(&mut self, who: &str, story: &Story, offences: &[Offence]) {
        let expected = usize::from(story.lied && !offences.is_empty());
        assert_eq!(story.named.len(), expected, "{who}: {story:?}");
        assert!(story.settled, "{who}: {story:?}");
        self.note(who, story, offences);
    }

    fn note(&mut self, who: &str, story: &Story, offences: &[Offence]) {
        for (offence, lied) in &story.named {
            assert!(*lied && offences.contains(offence), "{who}: {story:?}");
            self.named.insert(*offence);
        }
    }
}

/// Lies about what an order has once.
const ONCE_BUYER: &[BuyerLie] = &[
    BuyerLie::OrderMalformed,
    BuyerLie::OrderForged,
    BuyerLie::OrderOtherMenu,
    BuyerLie::OrderOtherProduct,
    BuyerLie::OrderExpired,
    BuyerLie::OrderOtherSeller,
    BuyerLie::OrderTooMuch,
    BuyerLie::AttachOtherOrder,
    BuyerLie::SettlementForged,
    BuyerLie::SettlementChanged,
    BuyerLie::SettlementWithheld,
];

/// The same for sellers. A span that was half held when the link broke is rare enough to count.
const ONCE_SELLER: &[SellerLie] = &[
    SellerLie::ChangesRepeated,
    SellerLie::SendsAfterLast,
    SellerLie::InvoicesAfterLast,
    SellerLie::SettlementForged,
    SellerLie::SettlementChanged,
    SellerLie::SettlementWithheld,
];

/// All lies of buyers: which offences were named.
fn buyers_lie() -> BTreeSet<Offence> {
    let mut named = BTreeSet::new();
    for lie in BuyerLie::ALL {
        let mut verdicts = Verdicts::default();
        for (at, cuts) in PLANS {
            let story = SellerWorld::new(Setup::new(at, signing(at, false), cuts), *lie, at).run();
            let who = format!("{}, {at}, cuts {cuts}", lie.name());
            verdicts.told.extend(story.lied.then_some(at));
            if *lie == BuyerLie::ClosesChannel && story.lied {
                // It stays closed: whatever it pays is refused, and nothing settles.
                assert!(!story.named.is_empty() && !story.settled, "{who}: {story:?}");
                verdicts.note(&who, &story, lie.offences());
            } else {
                verdicts.judge(&who, &story, lie.offences());
            }
        }
        let chances = if ONCE_BUYER.contains(lie) { 1 } else { 2 };
        assert!(verdicts.told.len() >= chances, "{}: {:?}", lie.name(), verdicts.told);
        named.extend(verdicts.named);
    }
    named
}

/// All lies of sellers: which offences were named.
fn sellers_lie() -> BTreeSet<Offence> {
    let mut named = BTreeSet::new();
    for lie in SellerLie::ALL {
        let mut verdicts = Verdicts::default();
        for (at, cuts) in PLANS {
            let signing = signing(at, *lie == SellerLie::MessageForged);
            let setup = Setup { asks: *lie == SellerLie::AnswersWrong, ..Setup::new(at, signing, cuts) };
            let story = BuyerWorld::new(setup, *lie, at).run();
            verdicts.judge(&format!("{}, {at}, cuts {cuts}", lie.name()), &story, lie.offences());
            verdicts.told.extend(story.lied.then_some(at));
        }
        let chances = if ONCE_SELLER.contains(lie) { 1 } else { 2 };
        assert!(verdicts.told.len() >= chances, "{}: {:?}", lie.name(), verdicts.told);
        named.extend(verdicts.named);
    }
    named
}

#[test]
fn every_lie_is_told_and_named_and_every_offence_is_reached() {
    let mut named = buyers_lie();
    named.extend(sellers_lie());
    let missing: Vec<_> = Offence::ALL.iter().filter(|offence| !named.contains(offence)).collect();
    assert!(missing.is_empty(), "no lie reaches {missing:?}");
}

#[test]
fn a_liar_whose_moment_never_comes_is_honest() {
    for at in [0, 1, 3] {
        for cuts in [false, true] {
            let setup = Setup::new(at, signing(at, false), cuts);
            let bought = SellerWorld::new(setup.clone(), BuyerLie::Withholds, u32::MAX).run();
            let sold = BuyerWorld::new(setup, SellerLie::OtherDigest, u32::MAX).run();
            for story in [bought, sold] {
                assert_eq!((story.lied, story.named.as_slice(), story.settled), (false, &[][..], true), "{at} {cuts}");
                assert_eq!(story.connections > 2, cuts, "{story:?}");
            }
        }
    }
}

#[test]
fn a_liar_that_hears_nonsense_falls_silent_and_goes_on_with_the_next_connection() {
    let mut came_back = 0;
    // A hello or a menu' that was changed on the way shows in the order', which then does not open.
    let silence = [Offence::HandshakeTimeout, Offence::IdleTimeout, Offence::NotPaid, Offence::BadSealedOrder];
    for at in [0, 4, 20, 60, 200, 900, 2_000] {
        let setup = Setup { garbles: Some(at), ..Setup::new(0, Signing::Window, false) };
        let bought = SellerWorld::new(setup.clone(), BuyerLie::Withholds, u32::MAX).run();
        let sold = BuyerWorld::new(setup, SellerLie::OtherDigest, u32::MAX).run();
        for story in [bought, sold] {
            assert!(story.settled, "{at}: {story:?}");
            came_back += usize::from(story.connections > 1);
            assert!(story.named.iter().all(|(offence, _)| silence.contains(offence)), "{at}: {story:?}");
        }
    }
    // Nobody reads the counter of a clear frame.
    assert!(came_back > 9, "{came_back}");
}

/// Numbers from a seed, each below its bound.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn lies_in_drawn_sales_are_named_and_the_sales_go_on() {
    // Those that have found something, and some others.
    for seed in (0..25).chain([311, 420, 750]) {
        let mut dice = Dice(seed);
        let at = dice.roll(6) as u32;
        let kind = [0, 1, 3][dice.roll(3) as usize];
        let mut setup = Setup::new(kind, signing(dice.roll(2) as u32, false), dice.roll(2) == 0);
        setup.product.windows_max = 1 + dice.roll(8) as u32;
        setup.product.k = 1 + dice.roll(12) as u32;
        setup.product.acks = dice.roll(2) == 0;
        setup.exposure = Amount::new(u128::from(20 + dice.roll(400)));
        setup.cut_from = 1 + dice.roll(4) as usize;
        let exit_after = (dice.roll(2) == 0).then(|| dice.roll(80));
        let buyer = BuyerLie::ALL[dice.roll(BuyerLie::ALL.len() as u64) as usize];
        let seller = SellerLie::ALL[dice.roll(SellerLie::ALL.len() as u64) as usize];
        let mut world = SellerWorld::new(setup.clone(), buyer, at);
        world.liar.exit_after = exit_after;
        let story = world.run();
        let who = format!("{seed} {}, {at} {exit_after:?} {setup:?}", buyer.name());
        if buyer == BuyerLie::ClosesChannel && story.lied {
            Verdicts::default().note(&who, &story, buyer.offences());
        } else {
            Verdicts::default().judge(&who, &story, buyer.offences());
        }
        setup.asks = seller == SellerLie::AnswersWrong;
        let story = BuyerWorld::new(setup.clone(), seller, at).run();
        Verdicts::default().judge(&format!("{seed} {}, {at} {setup:?}", seller.name()), &story, seller.offences());
    }
}
