//! Keys that have ended, and terms that nobody agreed to.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod kit;

use std::sync::Arc;

use kit::*;
use sdpp::buyer::{BuyError, Buyer, Request};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Reason};
use sdpp_proto::statement::RevokeReason;
use sdpp_proto::time::Timestamp;
use sdpp_rail::fake::FakeMode;
use sdpp_rail::{MemoryDisk, RailError, Reply, Standing, Standings};

/// Knows of one key that has ended.
struct Known(PublicKey, Result<Standing, RailError>);

impl Standings for Known {
    fn standing<'a>(&'a self, key: &'a PublicKey) -> Reply<'a, Standing> {
        Box::pin(std::future::ready(if *key == self.0 { self.1.clone() } else { Ok(Standing::Good) }))
    }
}

const AT: Timestamp = Timestamp::from_ms(1);

fn revoked() -> Standing {
    Standing::Revoked { at: AT, reason: RevokeReason::Exposed, record: Bytes32([1; 32]) }
}

fn rotated(to: PublicKey) -> Standing {
    Standing::Rotated { to, at: AT, record: Bytes32([1; 32]) }
}

#[tokio::test]
async fn a_seller_takes_no_order_from_a_key_that_has_ended() {
    let cases = [
        (Ok(revoked()), Reason::Refused),
        (Ok(rotated(key(9).public())), Reason::Refused),
        (Err(RailError::Unavailable), Reason::RailDown),
    ];
    for (known, reason) in cases {
        let mut world = World::new(FakeMode::Voucher, product(10), 100);
        world.standings = Some(Arc::new(Known(key(2).public(), known)));
        let (at, serving) = world.serve().await;
        let request = world.request(10, 1);
        let ask = |seed| {
            let (buyer, address, stop) = (world.buyer(seed), world.address(at), world.stop.subscribe());
            let request = request.clone();
            async move { buyer.buy(&address, &request, &mut Kept::default(), stop).await }
        };
        let refused = ask(2).await.unwrap();
        assert_eq!(refused.ended, sdpp_proto::buyer::Ended::Told(Some(Fault::Reason(reason))));
        assert_eq!((refused.delivered, refused.paid), (0, Amount::ZERO));
        assert!(ask(3).await.unwrap().is_settled(), "others are served");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_buyer_orders_nothing_from_a_key_that_has_ended() {
    let world = World::new(FakeMode::Voucher, product(10), 100);
    let (at, _serving) = world.serve().await;
    for (standing, word) in [(revoked(), "revoked"), (rotated(key(9).public()), "gave way")] {
        let known: Arc<dyn Standings> = Arc::new(Known(key(1).public(), Ok(standing)));
        let settings = world.buyer_settings(2, &MemoryDisk::new());
        let buyer = Buyer::new(sdpp::buyer::Settings { standings: Some(known), ..settings });
        let bought =
            buyer.buy(&world.address(at), &world.request(10, 1), &mut Kept::default(), world.stop.subscribe()).await;
        let error = bought.unwrap_err();
        assert!(matches!(error, BuyError::KeyEnded(_)), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let events = world.seller_events.lock().unwrap();
    assert!(!events.iter().any(|event| matches!(event, sdpp::seller::Event::Live { .. })), "no order has come");
}

#[tokio::test]
async fn nothing_is_ordered_on_terms_that_nobody_has_agreed_to() {
    let world = World::new(FakeMode::Voucher, product(10), 100);
    let (at, _serving) = world.serve().await;
    let offered = world.option();
    let buy = async |product, option| {
        let agreed = sdpp::buyer::Agreed { product, option };
        let request = Request { agreed: Some(Box::new(agreed)), ..world.request(10, 1) };
        world.buyer(2).buy(&world.address(at), &request, &mut Kept::default(), world.stop.subscribe()).await
    };
    let cheaper = sdpp_proto::statement::Product { amount: Amount::new(2), ..product(10) };
    assert!(matches!(buy(cheaper, offered.clone()).await, Err(BuyError::TermsChanged)));
    let dear = sdpp_proto::statement::PayOption { grace_min_ms: 1, ..offered.clone() };
    assert!(matches!(buy(product(10), dear).await, Err(BuyError::TermsChanged)));
    // Numbers and stock are no terms.
    let other = sdpp_proto::statement::Product { id: 77, available: Some(5), ..product(10) };
    assert!(buy(other, sdpp_proto::statement::PayOption { id: 9, ..offered }).await.unwrap().is_settled());
}
