//! A live source is let go when its order wants no more.

use std::sync::Arc;

use sdpp::feed::{Hub, Overflow, Start, Take};
use sdpp::seller::Event;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Order;
use sdpp_proto::wire::Control;
use sdpp_rail::fake::FakeMode;

use crate::kit::*;
use crate::pools::pay;
use crate::rogue::Rogue;
use crate::tap::*;

/// Bought whole, or left by the buyer, who pays and goes without the last signature.
#[tokio::test]
async fn an_order_that_wants_no_more_holds_no_upstream() {
    for leaves in [false, true] {
        let world = World::new(FakeMode::Direct, product(10), 0);
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        (0..10).for_each(|number| say.send(number).unwrap());
        let hub = Hub::start(Said(said), Start::FirstOrder);
        let take = Take { overflow: Overflow::Wait, queue_messages: 2, ..Take::default() };
        let (shared, wanted) = (hub.clone(), take.clone());
        let source: sdpp::seller::MakeSource = Arc::new(move |_| Ok(Box::new(shared.subscribe(wanted.clone()))));
        let seller = world.seller(vec![offer(named("weather", 1), source)]).await;
        let (at, serving) = world.listen(&seller).await;
        let mut rogue = Rogue::greeted(at, 2, 2).await;
        let quantity = Some(if leaves { 8 } else { 1 });
        let order = Order { exposure_max: Amount::new(3), quantity, ..rogue.liar.order() };
        rogue.liar.send_order(order);
        let invoice = rogue.invoice().await;
        if leaves {
            rogue.liar.line.control(&Control::Exit);
        }
        pay(&world, &mut rogue, &invoice).await;
        rogue.say().await;
        let paid = |event: &Event| matches!(event, Event::Paid { .. });
        until(|| world.seller_events.lock().unwrap().iter().any(paid)).await;
        if !leaves {
            until(|| hub.status().orders == 0).await;
        }
        drop(rogue);
        let ended = |event: &Event| matches!(event, Event::Ended { .. });
        until(|| world.seller_events.lock().unwrap().iter().any(ended)).await;
        until(|| hub.status().orders == 0).await;
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}
