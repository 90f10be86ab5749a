//! The rail on a real node.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use kit::Anvil;
use kit::world::World;
use sdpp_rail::suite;

#[tokio::test]
async fn the_rail_conforms_with_native_coins() {
    let world = World::new(Anvil::start().await, None).await;
    world.anvil.keep_mining();
    suite::payer_payee(&world).await;
}
