//! Whole sales over sockets, against a ledger over HTTP: an operator that turns on the seller, and a
//! buyer from a backup.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use sdpp::bound::Bound;
use sdpp::buyer::{self, Address, Buyer, OrderState, Purchase, Request};
use sdpp::journal::{Journal, ORDERS};
use sdpp::seller::{self, Offer, Pools, Seller};
use sdpp::sink::Discard;
use sdpp::source::Repeat;
use sdpp_ledger::http::{HttpLedger, ServerConfig};
use sdpp_ledger::{
    Answer, DirectPayee, DirectPayer, LedgerClient, LedgerService, LocalLedger, PayeeConfig, RAIL_DIRECT, RAIL_VOUCHER,
    ServiceError, Submitted, VoucherPayee, VoucherPayer,
};
use sdpp_log::Hash;
use sdpp_proto::buyer::Ended;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::offence::{Fault, Reason};
use sdpp_proto::statement::{Form, Product, RecordOffer, RecordPolicy, Signing, Stalled};
use sdpp_proto::suite::Suite;
use sdpp_rail::{MemoryDisk, MemoryStore, Payee, Payer, Store as _, StoreReader as _};
use tokio::sync::watch;

use crate::common::*;
use crate::kit::*;

const FUNDS: u128 = 1_000_000;
const PRICE: u128 = 3;

/// What the operator does.
const HONEST: u8 = 0;
const FORKS: u8 = 1;
const CENSORS: u8 = 2;

/// A ledger as one of its users sees it.
struct View {
    honest: HttpLedger,
    fork: HttpLedger,
    mood: Arc<AtomicU8>,
}

impl View {
    fn shown(&self) -> &HttpLedger {
        if self.mood.load(Ordering::SeqCst) == FORKS { &self.fork } else { &self.honest }
    }
}

impl LedgerService for View {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        if self.mood.load(Ordering::SeqCst) == CENSORS {
            return Box::pin(std::future::ready(Err(ServiceError::Unavailable)));
        }
        self.shown().submit(entry)
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.shown().checkpoint()
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.shown().entries(from, max)
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.shown().inclusion(index, size)
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.shown().consistency(old, new)
    }
}

fn product() -> Product {
    Product {
        id: 1,
        topic: "weather".into(),
        schema: "json".into(),
        unit: Unit::Message,
        amount: Amount::new(PRICE),
        per: 1,
        available: None,
        k: 10,
        window_ms: 0,
        window_bytes: 0,
        message_max: 1000,
        windows_max: 8,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    }
}

/// A served ledger with money on it, and another history of the same name that is longer.
struct Market {
    world: World,
    fork: sdpp_ledger::http::Server,
    mood: Arc<AtomicU8>,
    stop: watch::Sender<bool>,
    heard: Arc<Mutex<Vec<buyer::Event>>>,
    /// What the seller has redeemed.
    redeemed: Arc<Mutex<Amount>>,
    seller_client: Arc<LedgerClient>,
}

impl Market {
    fn new() -> Self {
        let world = World::new();
        submit(&world.ledger, &issue(PAYER, FUNDS, 1)).unwrap();
        let other: LocalLedger = ledger(&Hand::new(), MemoryStore::new());
        for number in 0..2000 {
            submit(&other, &issue(STRANGER, 1, number)).unwrap();
        }
        let fork = serve(&world.runtime, Arc::new(other), ServerConfig::default());
        let mood = Arc::new(AtomicU8::new(HONEST));
        let view = View { honest: world.http(), fork: http(&world.runtime, fork.local_addr()), mood: mood.clone() };
        let seller_client = client(view);
        Self {
            world,
            fork,
            mood,
            stop: watch::channel(false).0,
            heard: Arc::default(),
            redeemed: Arc::default(),
            seller_client,
        }
    }

    fn config() -> PayeeConfig {
        PayeeConfig { key: test_key(PAYEE), asset: coin(), grace_min_ms: 60_000, pay_by_ms: 60_000, url: None }
    }

    /// The seller, on the operator's view.
    async fn serve(&self, rail: &str) -> (Address, tokio::task::JoinHandle<()>) {
        let (client, store) = (self.seller_client.clone(), Box::new(MemoryStore::new()));
        let payee: Arc<dyn Payee> = if rail == RAIL_DIRECT {
            Arc::new(DirectPayee::new(client, Self::config(), store))
        } else {
            Arc::new(VoucherPayee::new(client, Self::config(), store))
        };
        let redeemed = self.redeemed.clone();
        let source: seller::MakeSource = Arc::new(|_| Ok(Box::new(Repeat::new(vec![b'x'; 100], u64::MAX))));
        let settings = seller::Settings {
            key: test_key(PAYEE),
            offers: vec![Offer { product: product(), source, exposure_max: Amount::new(240), sample: Vec::new() }],
            payees: vec![payee],
            records: None,
            record_offer: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            standings: None,
            journal: Journal::start(MemoryStore::new()).unwrap(),
            pools: Pools { strangers: Amount::new(1000), proven: Amount::new(1000) },
            redeem_every: 8,
            tend_every: std::time::Duration::from_secs(3600),
            limits: seller::Limits::default(),
            listener: Arc::new(move |event| {
                if let seller::Event::Redeemed { total, .. } = event {
                    *redeemed.lock().unwrap() = *total;
                }
            }),
        };
        let seller = Seller::start(settings).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let stop = self.stop.subscribe();
        (Address { seller: Some(public(PAYEE)), host }, tokio::spawn(async move { seller.serve(listener, stop).await }))
    }

    /// A buyer, whom the ledger tells the truth.
    fn buyer(&self, rail: &str, disk: &MemoryDisk) -> Buyer {
        let (honest, key) = (self.world.client(), test_key(PAYER));
        let payer: Arc<dyn Payer> = if rail == RAIL_DIRECT {
            Arc::new(DirectPayer::new(honest, key.clone()))
        } else {
            Arc::new(VoucherPayer::new(honest, key.clone()))
        };
        let heard = self.heard.clone();
        Buyer::new(buyer::Settings {
            key,
            standings: None,
            suites: vec![Suite::X25519],
            payer,
            rail: rail.to_owned(),
            records: None,
            journal: Journal::start(disk.open()).unwrap(),
            reconnect: buyer::Reconnect { tries: Some(2), ..buyer::Reconnect::default() },
            progress: Arc::default(),
            listener: Arc::new(move |event| heard.lock().unwrap().push(event.clone())),
        })
    }

    fn buy(
        &self,
        rail: &str,
        (address, disk): (&Address, &MemoryDisk),
        quantity: u64,
    ) -> tokio::task::JoinHandle<Purchase> {
        let (buyer, address, stop) = (self.buyer(rail, disk), address.clone(), self.stop.subscribe());
        let request = Request {
            topic: "weather".into(),
            quantity: Some(quantity),
            windows: 4,
            exposure_max: Some(Amount::new(120)),
            limit: None,
            record: RecordPolicy { form: Form::Full, every: 0 },
            agreed: None,
        };
        tokio::spawn(async move { buyer.buy(&address, &request, &mut Discard::default(), stop).await.unwrap() })
    }

    async fn paid_above(&self, amount: u128) {
        let paid = |event: &buyer::Event| matches!(event, buyer::Event::Paid { total, .. } if total.get() > amount);
        while !self.heard.lock().unwrap().iter().any(paid) {
            tokio::task::yield_now().await;
        }
    }

    async fn some_redeemed(&self) {
        while self.redeemed.lock().unwrap().is_zero() {
            tokio::task::yield_now().await;
        }
    }

    /// What was printed before the first message.
    fn bound(&self) -> Bound {
        let heard = self.heard.lock().unwrap();
        let bound = heard.iter().find_map(|event| match event {
            buyer::Event::Ordering { bound, .. } => Some((**bound).clone()),
            _ => None,
        });
        bound.unwrap()
    }

    fn truth(&self, seed: u8) -> u128 {
        balance(&self.world.client(), seed)
    }
}

/// What the buyer can lose: nothing for data that was not delivered.
fn buyer_is_whole(done: &Purchase) {
    assert!(done.paid.get() <= PRICE * u128::from(done.delivered), "{done:?}");
}

#[test]
fn an_operator_that_forks_one_sellers_view_costs_no_more_than_was_printed() {
    let market = Market::new();
    let done = market.world.runtime.block_on(async {
        let (address, serving) = market.serve(RAIL_VOUCHER).await;
        let buying = market.buy(RAIL_VOUCHER, (&address, &MemoryDisk::new()), 100_000);
        market.some_redeemed().await;
        market.mood.store(FORKS, Ordering::SeqCst);
        let done = buying.await.unwrap();
        market.stop.send_replace(true);
        serving.await.unwrap();
        done
    });
    assert_eq!(done.ended, Ended::Told(Some(Fault::Reason(Reason::LedgerDishonest))), "the seller stops");
    assert!(done.delivered < 100_000);
    let evidence = market.seller_client.evidence().expect("and keeps what the operator signed");
    assert_eq!(evidence.notes.len(), 2);
    buyer_is_whole(&done);
    let bound = market.bound();
    let (redeemed, earned) = (market.truth(PAYEE), PRICE * u128::from(done.delivered));
    assert!(redeemed > 0, "vouchers were redeemed while the operator was honest");
    let lost = earned - redeemed;
    assert!(lost <= bound.seller_unredeemed.get().max(bound.seller_exposure.get()), "{lost}: {bound}");
    market.world.runtime.block_on(market.fork.stop());
}

#[test]
fn an_operator_that_censors_redemption_costs_no_more_than_was_printed() {
    let market = Market::new();
    let done = market.world.runtime.block_on(async {
        let (address, serving) = market.serve(RAIL_VOUCHER).await;
        let buying = market.buy(RAIL_VOUCHER, (&address, &MemoryDisk::new()), 20_000);
        market.paid_above(300).await;
        market.mood.store(CENSORS, Ordering::SeqCst);
        let done = buying.await.unwrap();
        market.stop.send_replace(true);
        serving.await.unwrap();
        done
    });
    assert_eq!((&done.ended, done.delivered), (&Ended::Settled, 20_000), "vouchers are as good as before");
    buyer_is_whole(&done);
    let bound = market.bound();
    let lost = done.paid.get() - market.truth(PAYEE);
    assert!(lost > 0 && lost <= bound.seller_unredeemed.get(), "{lost}: {bound}");
    // The money is not gone before the grace is over: it lies in the channel, and only there.
    let channel = done.funding.as_ref().unwrap();
    assert_eq!(market.truth(PAYER), FUNDS - channel.deposit.get());
    market.world.runtime.block_on(market.fork.stop());
}

/// What a backup of the disk holds that was made when a third of its rows were there.
fn old_backup(disk: &MemoryDisk) -> MemoryDisk {
    let (store, copy) = (disk.open(), MemoryDisk::new());
    let mut to = copy.open();
    for stream in store.streams(ORDERS).unwrap() {
        let rows = store.read(&stream, 0, 1 << 20).unwrap();
        for row in &rows[..rows.len() / 3] {
            to.append(&stream, &row.body).unwrap();
        }
    }
    to.flush().unwrap();
    copy
}

#[test]
fn a_buyer_restored_from_a_backup_makes_no_second_transfer_in_a_whole_sale() {
    let market = Market::new();
    let done = market.world.runtime.block_on(async {
        let (address, serving) = market.serve(RAIL_DIRECT).await;
        let disk = MemoryDisk::new();
        let buying = market.buy(RAIL_DIRECT, (&address, &disk), 5000);
        market.paid_above(600).await;
        buying.abort();
        let _ = buying.await;
        let old = old_backup(&disk);
        let journal = Journal::start(old.open()).unwrap();
        assert_eq!(journal.declare_restored().await.unwrap(), 1);
        drop(journal);
        let buyer = market.buyer(RAIL_DIRECT, &old);
        let known = buyer.orders().await.unwrap();
        assert!(known[0].restored && known[0].paid.get() < 600, "the backup is older: {known:?}");
        let stop = market.stop.subscribe();
        let done = buyer.resume(&address, known[0].order, &mut Discard::default(), stop).await.unwrap();
        assert_eq!(buyer.orders().await.unwrap()[0].state, OrderState::Settled);
        market.stop.send_replace(true);
        serving.await.unwrap();
        done
    });
    assert_eq!((&done.ended, done.paid), (&Ended::Settled, done.due));
    assert!(done.paid.get() > 600 && done.delivered < 5000, "settled, and nothing more was bought: {done:?}");
    assert_eq!(market.truth(PAYEE), done.paid.get(), "no second transfer");
    assert_eq!(market.truth(PAYER), FUNDS - done.paid.get());
    market.world.runtime.block_on(market.fork.stop());
}
