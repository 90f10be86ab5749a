//! What a payee does by itself about closes that are requested.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use kit::market::{Market, NEVER, PRICE, Shop};
use kit::proxy::{Mode, Proxy};
use kit::world::{FINALITY, PAYEE, PAYER, VOUCHERS, World};
use kit::{Anvil, PATIENCE, key};
use sdpp::buyer::{self, Request};
use sdpp::journal::Journal;
use sdpp_evm::abi::SdppChannels;
use sdpp_evm::{Channel, ChannelState, Claim, RAIL, limits};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::Amount;
use sdpp_rail::suite::{RailWorld as _, Sale, test_key};
use sdpp_rail::{Funding, MemoryDisk, Outstanding, Payee as _, Payer as _, RailError};
use tokio::task::JoinHandle;

/// Messages that are there before the seller is quiet, and what they cost.
const MESSAGES: u64 = 25;
const PAID: u64 = MESSAGES * PRICE;
/// A buyer's limit, in messages.
const WANTED: u64 = 100;

/// A seller that has gone quiet and a buyer that has paid for everything: nothing was redeemed.
async fn quiet_sale(market: &mut Market) -> (Shop, JoinHandle<()>, ChannelId) {
    market.quiet_after = Some(MESSAGES);
    let shop = market.serve().await;
    let (at, seller, payer) = (shop.at, market.seller.public(), market.payer().await);
    let buying = tokio::spawn(async move {
        let journal = Journal::start(MemoryDisk::new().open()).unwrap();
        let settings = buyer::Settings::new(test_key(71), payer, RAIL, journal);
        let address = buyer::Address { seller: Some(seller), host: at.to_string() };
        let (_stop, never) = tokio::sync::watch::channel(false);
        let (request, mut sink) = (Request::new("weather", WANTED), sdpp::sink::Discard::default());
        let _ = buyer::Buyer::new(settings).buy(&address, &request, &mut sink, never).await;
    });
    shop.until_paid(PAID).await;
    let channels = SdppChannels::new(market.anvil.place.contract, market.anvil.provider.clone());
    let opened = channels.Opened_filter().from_block(0).query().await.unwrap();
    let [(opened, _)] = opened.as_slice() else { panic!("one channel") };
    (shop, buying, ChannelId(opened.id.0))
}

/// The buyer brings in a voucher of the first window, so that it looks paid, and asks for the close.
async fn ask_for_the_close(market: &Market, channel: ChannelId) {
    let (total, messages, invoice) = (Amount::new(30), 10, StatementId([5; 32]));
    let claim = Claim { channel, total, messages, invoice };
    let proof = claim.sign(&market.anvil.place, &key(VOUCHERS)).unwrap();
    let channels = SdppChannels::new(market.anvil.place.contract, market.anvil.provider.clone());
    channels.redeem(claim.call(&proof)).send().await.unwrap().get_receipt().await.unwrap();
    let funding = Funding { channel: Some(channel), deposit: Amount::new(u128::from(WANTED * PRICE)) };
    market.payer().await.close(&funding).await.unwrap();
}

async fn channel_of(market: &Market, id: ChannelId) -> Channel {
    market.anvil.node(0).await.channel(&id).await.unwrap()
}

/// All that was paid is redeemed while the grace period runs; when it is over each has what is its own.
async fn ends_well(market: &Market, id: ChannelId) {
    let redeemed = async {
        while channel_of(market, id).await.redeemed != Amount::new(u128::from(PAID)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, redeemed).await.unwrap();
    let ChannelState::Closing(at) = channel_of(market, id).await.state else { panic!("still in its grace period") };
    assert!(market.anvil.node(0).await.now().await.unwrap() < at, "in time");
    market.anvil.pass(2 * 3600).await;
    let channels = SdppChannels::new(market.anvil.place.contract, market.anvil.provider.clone());
    channels.finishClose(B256::new(id.0)).send().await.unwrap().get_receipt().await.unwrap();
    let [payer, payee] = [PAYER, PAYEE].map(|account| key(account).address());
    let all = 10 * kit::market::MESSAGES * PRICE;
    assert_eq!((market.owns(payee).await, market.owns(payer).await), (PAID, all - PAID));
}

#[tokio::test]
async fn a_close_requested_with_an_old_voucher_is_answered_while_the_session_is_quiet() {
    let mut market = Market::new().await;
    market.tend_every = Duration::from_millis(20);
    let (shop, buying, channel) = quiet_sale(&mut market).await;
    assert_eq!(channel_of(&market, channel).await.redeemed, Amount::ZERO);
    ask_for_the_close(&market, channel).await;
    ends_well(&market, channel).await;
    buying.abort();
    shop.close().await;
}

#[tokio::test]
async fn a_close_requested_while_the_seller_is_away_is_answered_when_it_is_back() {
    let mut market = Market::new().await;
    market.tend_every = NEVER;
    let (shop, buying, channel) = quiet_sale(&mut market).await;
    buying.abort();
    shop.die(&market).await;
    ask_for_the_close(&market, channel).await;
    // A whole evening: more than is asked for at once.
    market.anvil.mine(limits::EVENT_BLOCKS_MAX + 1).await;
    assert_eq!(channel_of(&market, channel).await.redeemed, Amount::new(30));
    let again = market.serve().await;
    ends_well(&market, channel).await;
    again.close().await;
}

fn closing(found: &[Outstanding]) -> usize {
    found.iter().filter(|one| one.closing).count()
}

/// The buyer asks for the close, and nobody tells the payee.
async fn ask(world: &World, sale: &Sale<'_>) {
    world.payer.close(&sale.funding).await.unwrap();
}

/// Time passes for this program, and not for the chain.
async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn many_channels_are_followed_by_as_many_questions_as_one() {
    let anvil = Anvil::start().await;
    let line = Proxy::to(&anvil.url).await;
    let node = anvil.node_over(&line, FINALITY).await;
    let world = World::with_grace(anvil, [node.clone(), node.clone()], None, limits::GRACE_MIN_MS);
    world.anvil.keep_mining();
    let sales = [Sale::start(&world).await, Sale::start(&world).await, Sale::start(&world).await];
    for sale in &sales {
        sale.pay_and_settle(&sale.bill(0, 10)).await;
    }
    assert_eq!(world.payee.outstanding().await.unwrap().len(), 3);
    let ([looks, others], start) = (questions(&line), Instant::now());
    for _ in 0..10 {
        world.anvil.mine(1).await;
        // What was seen would be too old long since.
        let_pass(limits::VIEW_FRESH.mul_f64(0.4)).await;
        assert_eq!(closing(&world.payee.outstanding().await.unwrap()), 0);
    }
    let passed = limits::VIEW_FRESH.mul_f64(4.0) + start.elapsed();
    // The payee looks by itself meanwhile, too.
    let looked = 10 + passed.as_secs() / limits::WATCH_EVERY.as_secs() + 1;
    let [looks_now, others_now] = questions(&line);
    assert_eq!(looks_now - looks, 0, "no channel was looked at");
    assert!(others_now - others <= 2 * looked, "{others_now} - {others}, {looked}");
    // What is there to be seen is seen, and a voucher is not taken any more.
    ask(&world, &sales[1]).await;
    // The buyer's own look goes over the same line.
    let [looks, _] = questions(&line);
    let found = world.payee.outstanding().await.unwrap();
    assert_eq!((found.len(), closing(&found), found[0].order), (3, 1, sales[1].order.id()));
    assert_eq!(questions(&line)[0], looks, "by an event");
    let bill = sales[1].bill(10, 20);
    let payment = sales[1].payment(&bill, &world.voucher(&bill));
    assert!(world.payee.settle(&bill, &payment).await.is_err());
    // Nobody looks any more when there is no payee.
    drop(sales);
    let World { payee, payer, .. } = world;
    assert!(Arc::strong_count(&node) > 1);
    drop((payee, payer));
    let alone = async {
        while Arc::strong_count(&node) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, alone).await.unwrap();
}

/// Looks at channels, and what else a payee asks for.
fn questions(line: &Proxy) -> [u64; 2] {
    [line.asked("eth_call"), line.asked("eth_blockNumber") + line.asked("eth_getLogs")]
}

#[tokio::test]
async fn a_close_requested_in_an_outage_is_seen_after_it() {
    let anvil = Anvil::start().await;
    let line = Proxy::to(&anvil.url).await;
    let nodes = [anvil.node(FINALITY).await, anvil.node_over(&line, FINALITY).await];
    let world = World::over(anvil, nodes, None);
    world.anvil.keep_mining();
    // A short one, whose events are read, and one after which all channels are looked at.
    for blocks in [1, limits::EVENT_BLOCKS_MAX + 1] {
        let sales = [Sale::start(&world).await, Sale::start(&world).await];
        assert_eq!(closing(&world.payee.outstanding().await.unwrap()), 0);
        line.set(Mode::Refuse);
        assert!(world.payee.outstanding().await.is_err());
        ask(&world, &sales[0]).await;
        world.anvil.mine(blocks).await;
        line.set(Mode::Pass);
        let found = world.payee.outstanding().await.unwrap();
        assert_eq!((closing(&found), found[0].order), (1, sales[0].order.id()));
        for sale in &sales {
            sale.redeem(true).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_payee_sees_a_close_by_itself_between_two_tendings() {
    let anvil = Anvil::start().await;
    let line = Proxy::to(&anvil.url).await;
    let nodes = [anvil.node(FINALITY).await, anvil.node_over(&line, FINALITY).await];
    let world = World::with_grace(anvil, nodes, None, limits::GRACE_MIN_MS);
    world.anvil.keep_mining();
    let sale = Sale::start(&world).await;
    sale.pay_and_settle(&sale.bill(0, 10)).await;
    assert_eq!(closing(&world.payee.outstanding().await.unwrap()), 0);
    let read = line.asked("eth_getLogs");
    ask(&world, &sale).await;
    let by_itself = async {
        while line.asked("eth_getLogs") == read {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, by_itself).await.unwrap();
    // Vouchers for one unit more each, until the answer is there.
    let refused = async {
        for total in 11.. {
            let bill = sale.bill(total - 1, total);
            let payment = sale.payment(&bill, &world.voucher(&bill));
            if let Err(error) = world.payee.settle(&bill, &payment).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!()
    };
    let why = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(why, RailError::Declined("the channel is about to be closed"));
}
