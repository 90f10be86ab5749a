//! The rail on a chain in memory, under virtual time.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, B256};
use sdpp_evm::inline::{Fate, InlineChain, Way};
use sdpp_evm::{ChannelState, Claim, EvmPayee, EvmPayer, Node, PayeeConfig, PayerKeys, PrivateKeySigner};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::time::Timestamp;
use sdpp_rail::suite::{self, RailWorld, Sale, Step, test_key};
use sdpp_rail::{Bill, CloseStatus, MemoryDisk, OpenRequest, Payee, Payer, Proof, RailError};

const FINALITY: u32 = 2;
const PAYER: u8 = 1;
const PAYEE: u8 = 2;
const VOUCHERS: u8 = 3;
const START_MS: u64 = 1_800_000_000_000;
/// What the payer has.
const FUNDS: u128 = 1_000_000;

fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

struct World {
    chain: Arc<InlineChain>,
    passed_ms: Arc<AtomicU64>,
    payer: EvmPayer,
    payee: EvmPayee,
    token: Option<Address>,
    buyer: SigningKey,
    signer: SigningKey,
    count: AtomicU64,
}

fn honest() -> Way {
    Arc::new(|_| Fate::Answered)
}

/// Something goes wrong with every fourth question, in another way each time.
fn storm(chain: &Arc<InlineChain>, seed: u64) -> Way {
    let (state, chain) = (Mutex::new(seed), chain.clone());
    Arc::new(move |_| {
        let mut state = state.lock().unwrap();
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = *state >> 33;
        match drawn % 32 {
            0 => Fate::Refused,
            1 => Fate::Busy,
            2 => Fate::RequestLost,
            3 => Fate::AnswerLost,
            4 => Fate::Behind(1 + drawn / 32 % 2),
            5 | 6 => Fate::Waits((drawn / 32 % 300) as u32),
            7 => {
                chain.reorganise(1 + (drawn / 32 % 2) as u32, drawn / 64 % 2 == 0);
                Fate::Answered
            }
            _ => Fate::Answered,
        }
    })
}

impl World {
    fn new(native: bool, way: impl Fn(&Arc<InlineChain>) -> Way) -> Self {
        let passed_ms = Arc::new(AtomicU64::new(0));
        let passed = passed_ms.clone();
        let chain = InlineChain::new(Arc::new(move || Timestamp::from_ms(START_MS + passed.load(Ordering::SeqCst))));
        chain.fund(key(PAYER).address(), Amount::new(FUNDS));
        chain.fund(key(PAYEE).address(), Amount::ZERO);
        chain.mine(FINALITY + 1);
        let node = |way| Arc::new(chain.node(FINALITY, way));
        let token = (!native).then(|| chain.token());
        let keys = PayerKeys { account: key(PAYER), vouchers: key(VOUCHERS) };
        let payer = EvmPayer::new(node(way(&chain)), keys);
        let mut config = PayeeConfig::new(key(PAYEE), token);
        config.grace_min_ms = 60_000;
        let payee = EvmPayee::new(node(way(&chain)), config, Box::new(MemoryDisk::new().open()));
        let (buyer, signer, count) = (test_key(50), test_key(51), AtomicU64::new(1000));
        Self { chain, passed_ms, payer, payee, token, buyer, signer, count }
    }

    fn node(&self) -> Node {
        self.chain.node(FINALITY, honest())
    }

    fn request(&self) -> OpenRequest {
        let (reference, option) = (self.fresh(), self.payee.option());
        OpenRequest {
            reference,
            option,
            limit: Amount::new(100),
            signer: self.signer.public(),
            seller: sdpp_rail::suite::test_seller(),
        }
    }

    /// All tokens are where they belong.
    fn is_conserved(&self) {
        let owned = [PAYER, PAYEE].map(|who| self.chain.owned(key(who).address()).get());
        let locked = self.chain.locked(key(PAYER).address()).get();
        assert_eq!((owned[0] + owned[1] + locked, self.chain.supply().get()), (FUNDS, FUNDS));
    }
}

impl RailWorld for World {
    fn payer(&self) -> &dyn Payer {
        &self.payer
    }
    fn payee(&self) -> &dyn Payee {
        &self.payee
    }
    fn buyer(&self) -> &SigningKey {
        &self.buyer
    }
    fn signer(&self) -> &SigningKey {
        &self.signer
    }
    fn fresh(&self) -> Bytes32 {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&self.count.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        Bytes32(bytes)
    }
    fn other_address(&self) -> String {
        key(8).address().to_checksum(None)
    }
    fn other_asset(&self) -> Option<AssetId> {
        None
    }
    fn voucher(&self, bill: &Bill) -> Proof {
        let (channel, total, invoice) = (bill.channel.unwrap(), bill.total, bill.invoice);
        let claim = Claim { channel, total, messages: bill.messages.unwrap(), invoice };
        claim.sign(&self.chain.place(), &key(VOUCHERS)).unwrap().encode()
    }
    fn received(&self) -> Step<'_, Amount> {
        Box::pin(async { self.node().balance(self.token.unwrap_or_default(), key(PAYEE).address()).await.unwrap() })
    }
    fn locked(&self) -> Step<'_, Amount> {
        Box::pin(std::future::ready(self.chain.locked(key(PAYER).address())))
    }
    fn finalise(&self) -> Step<'_, ()> {
        self.chain.mine(FINALITY);
        self.payer.look_again();
        self.payee.look_again();
        Box::pin(std::future::ready(()))
    }
    fn pass_ms(&self, ms: u64) -> Step<'_, ()> {
        Box::pin(async move {
            self.passed_ms.fetch_add(ms.div_ceil(1000).max(1) * 1000, Ordering::SeqCst);
            self.chain.mine(1);
            // Somebody without faults on the way finishes what is over.
            let keys = PayerKeys { account: key(PAYER), vouchers: key(VOUCHERS) };
            let other = EvmPayer::new(Arc::new(self.node()), keys);
            other.finish(self.chain.channels()).await.unwrap();
            self.payer.look_again();
            self.payee.look_again();
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_rail_conforms_in_memory_with_a_token_and_with_coins() {
    for native in [false, true] {
        let world = World::new(native, |_| honest());
        suite::payer_payee(&world).await;
        if !native {
            world.is_conserved();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_that_is_reorganised_away_before_it_is_final_is_made_again() {
    for keep in [false, true] {
        let world = World::new(false, |chain| {
            let (chain, asked) = (chain.clone(), AtomicU64::new(0));
            Arc::new(move |method| {
                // Once the open is mined, while it is waited for.
                if method == "eth_blockNumber" && asked.fetch_add(1, Ordering::SeqCst) == 0 {
                    let dropped = chain.reorganise(1, keep);
                    assert_eq!((dropped.transactions, dropped.opened), (1, 1));
                }
                Fate::Answered
            })
        });
        let request = world.request();
        let funding = world.payer.open(&request).await.unwrap();
        assert_eq!((funding.deposit, world.chain.channels().len()), (Amount::new(100), 1));
        let id = funding.channel.unwrap();
        assert_eq!(world.node().channel_below(&id, FINALITY).await.unwrap().state, ChannelState::Open);
        world.is_conserved();
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_reorganised_away_is_made_again() {
    let world = World::new(false, |_| honest());
    let sale = Sale::start(&world).await;
    sale.pay_and_settle(&sale.bill(0, 10)).await;
    assert_eq!(world.payee.redeem(&sale.order.id(), true).await.unwrap().total, Amount::new(10));
    assert_eq!(world.chain.reorganise(FINALITY, false).transactions, 1);
    let found = world.payee.outstanding().await.unwrap();
    assert_eq!((found[0].order, found[0].amount), (sale.order.id(), Amount::new(10)));
    assert_eq!(world.payee.redeem(&sale.order.id(), true).await.unwrap().total, Amount::new(10));
    assert_eq!(world.locked().await, Amount::ZERO);
    world.is_conserved();
}

#[tokio::test(start_paused = true)]
async fn a_payer_that_gives_up_is_done_when_its_close_is_final() {
    let world = World::new(false, |_| honest());
    let funding = world.payer.open(&world.request()).await.unwrap();
    let closed = async || {
        world.payer.look_again();
        world.payer.close(&funding).await.unwrap()
    };
    assert_eq!(closed().await, CloseStatus::Pending);
    world.passed_ms.fetch_add(60_000, Ordering::SeqCst);
    world.chain.mine(1);
    for _ in 0..2 {
        assert_eq!(closed().await, CloseStatus::Pending, "the last block may be replaced");
        assert_eq!(world.locked().await, Amount::ZERO);
        assert_eq!(world.chain.reorganise(FINALITY, false).transactions, 1);
        assert_eq!(world.locked().await, Amount::new(100));
    }
    assert_eq!(closed().await, CloseStatus::Pending);
    world.chain.mine(FINALITY);
    assert_eq!((closed().await, world.locked().await), (CloseStatus::Closed, Amount::ZERO));
    world.is_conserved();
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_node_that_is_away_is_an_outage() {
    let is_away = Arc::new(AtomicU64::new(0));
    let world = World::new(false, |_| {
        let is_away = is_away.clone();
        Arc::new(move |_| if is_away.load(Ordering::SeqCst) > 0 { Fate::Refused } else { Fate::Answered })
    });
    let request = world.request();
    is_away.store(1, Ordering::SeqCst);
    assert_eq!(world.payer.open(&request).await, Err(RailError::Unavailable));
    is_away.store(0, Ordering::SeqCst);
    assert_eq!(world.payer.open(&request).await.unwrap().deposit, Amount::new(100));
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_opened_once_in_a_storm() {
    // Answers, transactions and blocks get lost: calls are made until they succeed, as everybody does.
    for seed in 0..20 {
        let world = World::new(false, |chain| storm(chain, seed));
        let request = world.request();
        let mut funding = world.payer.open(&request).await;
        while let Err(RailError::Unavailable | RailError::Unknown) = funding {
            funding = world.payer.open(&request).await;
        }
        assert_eq!(funding.unwrap().deposit, Amount::new(100), "seed {seed}");
        assert_eq!(world.chain.channels().len(), 1, "seed {seed}");
        world.is_conserved();
    }
}

/// Found by the simulator: the rest of such a channel went back to its payer, and with it what the seller had earned.
#[tokio::test(start_paused = true)]
async fn a_close_brings_what_was_redeemed_before_where_that_is_reorganised_away() {
    let asked = Arc::new(AtomicU64::new(0));
    let world = World::new(false, |chain| {
        let (chain, asked) = (chain.clone(), asked.clone());
        Arc::new(move |method| {
            // The close was decided on by what the chain said before.
            if method == "eth_estimateGas"
                && asked.fetch_sub(asked.load(Ordering::SeqCst).min(1), Ordering::SeqCst) == 1
            {
                assert_eq!(chain.reorganise(FINALITY, false).transactions, 1);
            }
            Fate::Answered
        })
    });
    let sale = Sale::start(&world).await;
    sale.pay_and_settle(&sale.bill(0, 10)).await;
    assert_eq!(world.payee.redeem(&sale.order.id(), false).await.unwrap().total, Amount::new(10));
    asked.store(1, Ordering::SeqCst);
    assert_eq!(world.payee.redeem(&sale.order.id(), true).await.unwrap().total, Amount::new(10));
    assert_eq!((world.received().await, world.locked().await), (Amount::new(10), Amount::ZERO));
    world.is_conserved();
}
