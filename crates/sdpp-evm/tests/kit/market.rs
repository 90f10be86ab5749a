//! A market on a chain: a real seller over TCP, real buyers, and what survives their programs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, U256};
use alloy::providers::Provider as _;
use sdpp::buyer::{self, Buyer, Purchase, Request};
use sdpp::journal::Journal;
use sdpp::seller::{self, Offer, Seller};
use sdpp::sink::Discard;
use sdpp::source::{Fill, Repeat, Source};
use sdpp_evm::abi::{SdppChannels, SdppRecords};
use sdpp_evm::{EvmPayee, EvmPayer, EvmRecords, Node, PayeeConfig, PayerKeys, RAIL};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::message::Batch;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Form, Product, RecordPolicy, Signing, Stalled};
use sdpp_rail::MemoryDisk;
use sdpp_rail::suite::test_key;
use tokio::sync::watch;

use super::world::{FINALITY, PAYEE, PAYER, VOUCHERS};
use super::{Anvil, PATIENCE, TestUsd, key};

/// Messages of a sale, and base units for one.
pub const MESSAGES: u64 = 1_000;
pub const PRICE: u64 = 3;
/// Nobody looks in between.
pub const NEVER: Duration = Duration::from_secs(86_400);

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

/// Has so many messages, and then is quiet for ever.
struct Quiet {
    messages: Repeat,
    left: u64,
}

impl Source for Quiet {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        if self.left == 0 {
            return Box::pin(std::future::pending());
        }
        self.left = 0;
        self.messages.fill(batch)
    }

    fn seek(&mut self, seq: u64) -> std::io::Result<()> {
        self.messages.seek(seq)
    }
}

pub struct Market {
    pub anvil: Anvil,
    pub token: Address,
    pub records: Address,
    pub seller: SigningKey,
    /// Messages that a seller has before it is quiet; all of them where it ends.
    pub quiet_after: Option<u64>,
    pub tend_every: Duration,
    /// Disks of the seller's journal, of its payee, and of the buyer's journal.
    pub disks: [MemoryDisk; 3],
}

pub struct Shop {
    pub seller: Seller,
    pub at: SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Market {
    pub async fn new() -> Self {
        let anvil = Anvil::start().await;
        let token = anvil.deploy(&TestUsd::BYTECODE).await;
        let records = anvil.deploy(&SdppRecords::BYTECODE).await;
        anvil.mint(token, key(PAYER).address(), 10 * MESSAGES * PRICE).await;
        anvil.keep_mining();
        let (seller, disks) = (test_key(70), [(); 3].map(|()| MemoryDisk::new()));
        Self { anvil, token, records, seller, quiet_after: None, tend_every: seller::TEND_EVERY, disks }
    }

    /// With a line of its own to the chain.
    pub fn payee_over(&self, node: Arc<Node>) -> EvmPayee {
        EvmPayee::new(node, PayeeConfig::new(key(PAYEE), Some(self.token)), Box::new(self.disks[1].open()))
    }

    pub async fn payee(&self) -> EvmPayee {
        self.payee_over(self.anvil.node(FINALITY).await)
    }

    pub async fn payer(&self) -> Arc<EvmPayer> {
        let keys = PayerKeys { account: key(PAYER), vouchers: key(VOUCHERS) };
        Arc::new(EvmPayer::new(self.anvil.node(FINALITY).await, keys))
    }

    pub async fn records(&self, account: u8) -> Arc<EvmRecords> {
        Arc::new(EvmRecords::new(self.anvil.node(FINALITY).await, key(account), self.records))
    }

    pub async fn serve(&self) -> Shop {
        let quiet_after = self.quiet_after;
        let offer = Offer::new(product(), move |_| {
            let payload = b"12.5 degrees".to_vec();
            Ok(match quiet_after {
                None => Box::new(Repeat::new(payload, MESSAGES)) as Box<dyn Source>,
                Some(left) => Box::new(Quiet { messages: Repeat::new(payload, left), left }),
            })
        });
        let journal = Journal::start(self.disks[0].open()).unwrap();
        let payees: Vec<Arc<dyn sdpp_rail::Payee>> = vec![Arc::new(self.payee().await)];
        let mut settings = seller::Settings::new(self.seller.clone(), vec![offer.unwrap()], payees, journal);
        // Each redemption is a transaction: one at the end.
        settings.redeem_every = 0;
        settings.tend_every = self.tend_every;
        let seller = Seller::start(settings).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, stop, serves) = (listener.local_addr().unwrap(), watch::channel(false).0, seller.clone());
        let stopped = stop.subscribe();
        let serving = tokio::spawn(async move { serves.serve(listener, stopped).await });
        Shop { seller, at, stop, serving }
    }

    pub async fn buy(&self, shop: &Shop, recorded: bool) -> Purchase {
        let mut request = Request::new("weather", MESSAGES);
        request.record = RecordPolicy { form: Form::Hash, every: 0 };
        let journal = Journal::start(self.disks[2].open()).unwrap();
        let mut settings = buyer::Settings::new(test_key(71), self.payer().await, RAIL, journal);
        if recorded {
            settings.records = Some(self.records(PAYER).await);
        }
        let address = buyer::Address { seller: Some(self.seller.public()), host: shop.at.to_string() };
        let (_stop, never) = watch::channel(false);
        Buyer::new(settings).buy(&address, &request, &mut Discard::default(), never).await.unwrap()
    }

    /// What an account has in the contract and outside of it.
    pub async fn owns(&self, account: Address) -> u64 {
        let channels = SdppChannels::new(self.anvil.place.contract, self.anvil.provider.clone());
        let usd = TestUsd::new(self.token, self.anvil.provider.clone());
        let inside = channels.balanceOf(self.token, account).call().await.unwrap();
        let outside = usd.balanceOf(account).call().await.unwrap();
        (inside + outside).to()
    }

    pub async fn transactions(&self, account: u8) -> u64 {
        self.anvil.provider.get_transaction_count(key(account).address()).await.unwrap()
    }
}

impl Shop {
    pub async fn close(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
    }

    /// The program dies: nothing is redeemed any more.
    pub async fn die(self, market: &Market) {
        self.serving.abort();
        let _ = self.serving.await;
        drop(self.seller);
        market.disks[..2].iter().for_each(MemoryDisk::crash);
    }

    /// Waits until so much is credited to its one order.
    pub async fn until_paid(&self, total: u64) {
        let paid = || self.seller.status().orders.first().map(|order| order.paid);
        let wanted = Some(Amount::new(u128::from(total)));
        let waiting = async {
            while paid() != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{:?}", paid());
    }
}

impl Anvil {
    /// Makes test dollars.
    pub async fn mint(&self, token: Address, to: Address, amount: u64) {
        let usd = TestUsd::new(token, self.provider.clone());
        usd.mint(to, U256::from(amount)).send().await.unwrap().get_receipt().await.unwrap();
    }
}
