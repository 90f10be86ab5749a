//! Against a real network, by one command (`docs/iota.md`):
//!
//! ```sh
//! SDPP_IOTA_RPC=http://127.0.0.1:9000 SDPP_IOTA_KEY=iotaprivkey1… cargo test -p sdpp-iota --test live -- --ignored --nocapture
//! ```
//!
//! The key's account has some IOTA, 2 are plenty, and nobody else uses it meanwhile. The same steps run on the fake network
//! behind a port, so that they are known to work.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
#[path = "../../sdpp-cli/tests/iota/fake.rs"]
mod fake;

use std::sync::Arc;
use std::time::Duration;

use sdpp::buyer::{self, Buyer, Request};
use sdpp::journal::Journal;
use sdpp::seller::{self, Offer, Seller};
use sdpp::sink::Discard;
use sdpp::source::{Repeat, Source};
use sdpp_iota::{
    Committee, Deed, Grpc, HttpLine, IotaPayee, IotaPayer, IotaRecords, JsonRpc, Lasting, Nodes, PayeeConfig, Purse,
    RAIL, Receipt, Spent, Transport, Wallet, Window, digest_of, verify,
};
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Form, Product, RecordPolicy, Signing, Stalled};
use sdpp_rail::suite::test_key;
use sdpp_rail::{MemoryDisk, Records as _};
use tokio::sync::watch;

/// Messages of the conversation, and nanos for one.
const MESSAGES: u64 = 100;
const PRICE: u64 = 1_000;
/// How long a real network may take for anything here.
const PATIENCE: Duration = Duration::from_secs(600);

/// The network, the account that pays, and what of it survives a crash.
struct Place {
    rpc: String,
    seed: [u8; 32],
    purse: MemoryDisk,
    journal: MemoryDisk,
}

impl Place {
    fn new(rpc: &str, key: &str) -> Self {
        let seed = *Wallet::seed_of(key).expect("SDPP_IOTA_KEY is an Ed25519 key as wallets export it");
        Self { rpc: rpc.to_owned(), seed, purse: MemoryDisk::new(), journal: MemoryDisk::new() }
    }

    async fn nodes(&self) -> Arc<Nodes> {
        let urls = self.rpc.split(',');
        let node = |url: &str| -> Arc<dyn Transport> {
            if Grpc::is_for(url) {
                return Arc::new(Grpc::new(url).unwrap());
            }
            Arc::new(JsonRpc::new(Arc::new(HttpLine::new(url).unwrap())))
        };
        Arc::new(Nodes::connect(None, urls.map(node).collect()).await.expect("SDPP_IOTA_RPC answers as a node"))
    }

    /// The purse, as the next life of a program opens it.
    async fn purse(&self) -> Arc<Purse> {
        let wallet = Wallet::from_seed(&self.seed);
        Arc::new(Purse::open(self.nodes().await, wallet, Box::new(self.purse.open())).unwrap())
    }

    /// A transaction as it stands in a checkpoint, by its digest, from a node.
    async fn settled(&self, record: &sdpp_rail::RecordId) -> Receipt {
        let nodes = self.nodes().await;
        loop {
            match nodes.find(&digest_of(record)).await.unwrap() {
                Some(receipt) if receipt.checkpoint.is_some() => return receipt,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

fn somebody() -> Wallet {
    Wallet::from_seed(&[9; 32])
}

async fn done(purse: &Purse, name: &str, deed: &Deed) -> sdpp_rail::RecordId {
    loop {
        match purse.spend(name, deed).await {
            Ok(Spent::Done(digest)) => return sdpp_proto::codec::Bytes32(digest.into()),
            Ok(Spent::Failed) => panic!("it failed on the network"),
            Ok(Spent::Void) | Err(sdpp_rail::RailError::Unavailable | sdpp_rail::RailError::Unknown) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A transfer with its record, verified by its digest; made twice, it is one.
async fn a_transfer(place: &Place) {
    let purse = place.purse().await;
    let window = Window { payee: somebody().address(), amount: PRICE, record: b"SDPP live test".to_vec() };
    let deed = Deed::Pay(window);
    let estimate = purse.estimate(&deed).await.unwrap();
    println!("a payment takes {} nano, and a budget of {}", estimate.cost, estimate.budget);
    let id = done(&purse, "live/transfer", &deed).await;
    assert_eq!(done(&purse, "live/transfer", &deed).await, id);
    let receipt = place.settled(&id).await;
    assert_eq!(verify(&receipt, purse.address(), &deed), Ok(digest_of(&id)));
    println!("transferred by {}, checkpoint {}", digest_of(&id), receipt.checkpoint.unwrap());
}

/// A coin is divided, and several windows are paid at once.
async fn many_at_once(place: &Place) {
    let purse = place.purse().await;
    purse.prepare(4, PRICE).await.unwrap();
    let deed = |number: u8| Deed::Pay(Window { payee: somebody().address(), amount: PRICE, record: vec![number; 40] });
    let paying: Vec<_> = (0..4)
        .map(|number| {
            let purse = purse.clone();
            tokio::spawn(async move { done(&purse, &format!("live/{number}"), &deed(number)).await })
        })
        .collect();
    for (number, paid) in (0..4).zip(paying) {
        let id = paid.await.unwrap();
        assert!(verify(&place.settled(&id).await, purse.address(), &deed(number)).is_ok());
    }
    println!("four windows were paid at once");
}

fn product() -> Product {
    Product {
        id: 1,
        topic: "live".into(),
        schema: String::new(),
        unit: Unit::Message,
        amount: Amount::new(u128::from(PRICE)),
        per: 1,
        available: None,
        k: 10,
        window_ms: 0,
        window_bytes: 0,
        message_max: 1_000,
        windows_max: 2,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    }
}

async fn buyer(place: &Place) -> Buyer {
    let purse = place.purse().await;
    let journal = Journal::start(place.journal.open()).unwrap();
    let payer = Arc::new(IotaPayer::new(purse.clone(), 2));
    let mut settings = buyer::Settings::new(test_key(71), payer, RAIL, journal);
    settings.records = Some(Arc::new(IotaRecords::new(purse, Lasting::Transaction)));
    Buyer::new(settings)
}

/// A conversation over TCP, with records; the buyer's program dies in the middle and goes on.
async fn a_conversation(place: &Place) {
    let offer =
        Offer::new(product(), |_| Ok(Box::new(Repeat::new(b"12.5 degrees".to_vec(), MESSAGES)) as Box<dyn Source>));
    // Over gRPC, the validators' signatures are verified.
    let nodes = place.nodes().await;
    let committee = Committee::of_nodes(&nodes, Box::new(MemoryDisk::new().open())).await.unwrap();
    println!("the validators: {:?}", committee.as_ref().map(Committee::fingerprint));
    let config = PayeeConfig { account: somebody().address(), pay_by_ms: 600_000, committee: committee.map(Arc::new) };
    let payee = IotaPayee::new(nodes, config, Box::new(MemoryDisk::new().open()));
    let payees: Vec<Arc<dyn sdpp_rail::Payee>> = vec![Arc::new(payee)];
    let journal = Journal::start(MemoryDisk::new().open()).unwrap();
    let settings = seller::Settings::new(test_key(70), vec![offer.unwrap()], payees, journal);
    let seller = Seller::start(settings).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, (stop, stopped)) = (listener.local_addr().unwrap(), watch::channel(false));
    let serves = seller.clone();
    let serving = tokio::spawn(async move { serves.serve(listener, stopped).await });
    let address = buyer::Address { seller: Some(test_key(70).public()), host: at.to_string() };

    let mut request = Request::new("live", MESSAGES);
    request.record = RecordPolicy { form: Form::Full, every: 0 };
    let (dies, to) = (buyer(place).await, address.clone());
    let (_stop, never) = watch::channel(false);
    let buying = tokio::spawn(async move { dies.buy(&to, &request, &mut Discard::default(), never).await });
    let paid = || seller.status().orders.first().map_or(Amount::ZERO, |order| order.paid);
    while paid() < Amount::new(u128::from(30 * PRICE)) && !buying.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    buying.abort();
    let _ = buying.await;
    place.purse.crash();
    place.journal.crash();
    println!("the buyer died when {} nano were paid", paid());

    let resumes = buyer(place).await;
    let order = resumes.orders().await.unwrap()[0].order;
    let (_stop, never) = watch::channel(false);
    let bought = resumes.resume(&address, order, &mut Discard::default(), never).await.unwrap();
    assert!(bought.is_settled(), "{bought:?}");
    assert_eq!(bought.paid, Amount::new(u128::from(MESSAGES * PRICE)));
    println!("settled: {} messages, {} nano", MESSAGES, bought.paid);
    stop.send(true).unwrap();
    serving.await.unwrap();
}

/// A statement is recorded, and whoever knows the record's id verifies it.
async fn a_record(place: &Place) {
    use sdpp_proto::statement::{Settlement, Signed};
    let (order, number) = (sdpp_proto::codec::StatementId([3; 32]), std::process::id());
    let body = Settlement {
        order_id: order,
        invoice_id: order,
        payment_id: None,
        due: Amount::new(u128::from(number)),
        paid: Amount::new(u128::from(number)),
    };
    let statement = Signed::sign(&test_key(72), body).erase();
    for (lasting, disk) in [(Lasting::Transaction, &place.purse), (Lasting::Object, &MemoryDisk::new())] {
        let wallet = Wallet::from_seed(&place.seed);
        let purse = Arc::new(Purse::open(place.nodes().await, wallet, Box::new(disk.open())).unwrap());
        let records = IotaRecords::new(purse, lasting);
        let id = loop {
            match records.append(&statement, Form::Full).await {
                Ok(id) => break id,
                Err(sdpp_rail::RailError::Declined(why)) => panic!("{why}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        place.settled(&id).await;
        assert_eq!(records.verify(&id, &statement).await, Ok(true));
        assert_eq!(records.fetch(&id).await, Ok(Some(statement.bytes.to_vec())));
        println!("recorded by {} ({lasting:?})", digest_of(&id));
    }
}

async fn all(rpc: &str, key: &str) {
    let place = Place::new(rpc, key);
    let steps = async {
        a_transfer(&place).await;
        many_at_once(&place).await;
        a_conversation(&place).await;
        a_record(&place).await;
    };
    tokio::time::timeout(PATIENCE, steps).await.expect("the network is too slow for all of it");
}

#[tokio::test]
#[ignore = "SDPP_IOTA_RPC and SDPP_IOTA_KEY not set"]
async fn on_a_real_network() {
    let named = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: see the top of this file"));
    all(&named("SDPP_IOTA_RPC"), &named("SDPP_IOTA_KEY")).await;
}

#[tokio::test]
async fn on_the_fake_network_behind_a_port() {
    let node = fake::FakeNode::start();
    // The key of 32 bytes 0x07.
    let key = "iotaprivkey1qqrswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qursw6y8fr7";
    let account = Wallet::from_seed(&[7; 32]).address();
    for (times, rpc) in [(1, node.url()), (2, node.grpc())] {
        node.network.grant(account, 2_000_000_000);
        all(&rpc, key).await;
        assert_eq!(node.network.equivocations(), 0);
        assert!(node.network.is_conserved());
        assert_eq!(node.network.balance(somebody().address()), times * PRICE * (1 + 4 + MESSAGES));
    }
}
