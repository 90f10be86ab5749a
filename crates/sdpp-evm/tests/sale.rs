//! Whole sales over TCP that are paid on a chain.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::too_many_arguments,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::net::SocketAddr;
use std::sync::Arc;

use alloy::primitives::{Address, U256};
use kit::world::{FINALITY, PAYEE, PAYER, VOUCHERS};
use kit::{Anvil, PATIENCE, key};
use sdpp::buyer::{self, Buyer, Purchase, Request};
use sdpp::journal::Journal;
use sdpp::seller::{self, Offer, Seller};
use sdpp::sink::Discard;
use sdpp::source::Repeat;
use sdpp_evm::abi::{SdppChannels, SdppRecords};
use sdpp_evm::{EvmPayee, EvmPayer, EvmRecords, PayeeConfig, PayerKeys, RAIL, asset};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Form, Product, RecordPolicy, Signing, Stalled};
use sdpp_rail::suite::test_key;
use sdpp_rail::{MemoryDisk, Payee as _};
use tokio::sync::watch;

alloy::sol!(
    #[allow(missing_docs)]
    #[sol(rpc)]
    TestUsd,
    "../../contracts/artifacts/TestUsd.json"
);

/// Messages of a sale, and base units for one.
const MESSAGES: u64 = 1_000;
const PRICE: u64 = 3;

fn product() -> Product {
    Product {
        id: 1,
        topic: "weather".into(),
        schema: String::new(),
        unit: Unit::Message,
        amount: Amount::new(u128::from(PRICE)),
        per: 1,
        available: None,
        k: 10,
        window_ms: 0,
        window_bytes: 0,
        message_max: 1_000,
        windows_max: 8,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    }
}

/// A market on a chain: what survives programs.
struct Market {
    anvil: Anvil,
    token: Address,
    records: Address,
    seller: SigningKey,
    /// Disks of the seller's journal, of its payee, and of the buyer's journal.
    disks: [MemoryDisk; 3],
}

struct Shop {
    at: SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Market {
    async fn new() -> Self {
        let anvil = Anvil::start().await;
        let token = anvil.deploy(&TestUsd::BYTECODE).await;
        let records = anvil.deploy(&SdppRecords::BYTECODE).await;
        let usd = TestUsd::new(token, anvil.provider.clone());
        let mint = usd.mint(key(PAYER).address(), U256::from(10 * MESSAGES * PRICE));
        mint.send().await.unwrap().get_receipt().await.unwrap();
        anvil.keep_mining();
        Self { anvil, token, records, seller: test_key(70), disks: [(); 3].map(|()| MemoryDisk::new()) }
    }

    async fn payee(&self) -> EvmPayee {
        let node = self.anvil.node(FINALITY).await;
        EvmPayee::new(node, PayeeConfig::new(key(PAYEE), Some(self.token)), Box::new(self.disks[1].open()))
    }

    async fn payer(&self) -> Arc<EvmPayer> {
        let keys = PayerKeys { account: key(PAYER), vouchers: key(VOUCHERS) };
        Arc::new(EvmPayer::new(self.anvil.node(FINALITY).await, keys))
    }

    async fn records(&self, account: u8) -> Arc<EvmRecords> {
        Arc::new(EvmRecords::new(self.anvil.node(FINALITY).await, key(account), self.records, 0))
    }

    async fn serve(&self) -> Shop {
        let offer = Offer::new(product(), |_| Ok(Repeat::new(b"12.5 degrees".to_vec(), MESSAGES))).unwrap();
        let journal = Journal::start(self.disks[0].open()).unwrap();
        let mut settings =
            seller::Settings::new(self.seller.clone(), vec![offer], vec![Arc::new(self.payee().await)], journal);
        // Each redemption is a transaction: one at the end.
        settings.redeem_every = 0;
        let seller = Seller::start(settings).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, stop) = (listener.local_addr().unwrap(), watch::channel(false).0);
        let stopped = stop.subscribe();
        let serving = tokio::spawn(async move { seller.serve(listener, stopped).await });
        Shop { at, stop, serving }
    }

    async fn buy(&self, shop: &Shop, recorded: bool) -> Purchase {
        let journal = Journal::start(self.disks[2].open()).unwrap();
        let mut settings = buyer::Settings::new(test_key(71), self.payer().await, RAIL, journal);
        let mut request = Request::new("weather", MESSAGES);
        request.record = RecordPolicy { form: Form::Hash, every: 0 };
        if recorded {
            settings.records = Some(self.records(PAYER).await);
        }
        let buyer = Buyer::new(settings);
        let address = buyer::Address { seller: Some(self.seller.public()), host: shop.at.to_string() };
        let (_stop, never) = watch::channel(false);
        buyer.buy(&address, &request, &mut Discard::default(), never).await.unwrap()
    }

    /// What an account has in the contract and outside of it.
    async fn owns(&self, account: u8) -> u64 {
        let channels = SdppChannels::new(self.anvil.place.contract, self.anvil.provider.clone());
        let usd = TestUsd::new(self.token, self.anvil.provider.clone());
        let account = key(account).address();
        let inside = channels.balanceOf(self.token, account).call().await.unwrap();
        let outside = usd.balanceOf(account).call().await.unwrap();
        (inside + outside).to()
    }

    async fn transactions(&self, account: u8) -> u64 {
        use alloy::providers::Provider as _;
        self.anvil.provider.get_transaction_count(key(account).address()).await.unwrap()
    }
}

impl Shop {
    async fn close(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_thousand_messages_are_bought_and_settled_with_two_transactions() {
    let market = Market::new().await;
    let shop = market.serve().await;
    let bought = tokio::time::timeout(PATIENCE, market.buy(&shop, false)).await.unwrap();
    assert!(bought.is_settled(), "{bought:?}");
    let paid = MESSAGES * PRICE;
    assert_eq!((bought.delivered, bought.paid), (MESSAGES, Amount::new(u128::from(paid))));
    // The seller closes the channel with the last voucher.
    while market.owns(PAYEE).await < paid {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    shop.close().await;
    assert_eq!((market.owns(PAYEE).await, market.owns(PAYER).await), (paid, 9 * MESSAGES * PRICE));
    assert_eq!((market.transactions(PAYER).await, market.transactions(PAYEE).await), (1, 1));
    let asset = asset(market.anvil.place.chain, Some(market.token));
    assert_eq!(market.payee().await.option().asset, asset);
}

#[tokio::test]
async fn a_sale_is_recorded_where_it_is_paid() {
    let market = Market::new().await;
    let shop = market.serve().await;
    let bought = tokio::time::timeout(PATIENCE, market.buy(&shop, true)).await.unwrap();
    assert!(bought.is_settled(), "{bought:?}");
    shop.close().await;
    let records = SdppRecords::new(market.records, market.anvil.provider.clone());
    let anchored = records.Anchored_filter().from_block(0).query().await.unwrap();
    let order = bought.order.0;
    assert!(anchored.iter().any(|(event, _)| event.digest.0 == order), "the order is on the chain");
    assert!(anchored.iter().all(|(event, _)| event.by == key(PAYER).address()));
}
