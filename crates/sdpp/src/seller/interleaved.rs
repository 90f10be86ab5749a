//! What the sessions of a seller share, under many interleavings: who may come in, who has an order, what is owed
//! in all. `shuttle` decides after every step of a lock who goes on; a lost wake-up is found as a deadlock.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test that panics has failed")]

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use sdpp_proto::codec::{Bytes32, Digest, StatementId};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::journal::Entry;
use sdpp_proto::money::{Amount, AssetId, Price};
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::SellerOrder;
use sdpp_proto::statement::{
    Attach, Form, Have, Invoice, Menu, Order, PayOption, Product, RecordOffer, RecordPolicy, SealKey, Settlement,
    Signed,
};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakeWorld};
use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::thread;
use zeroize::Zeroizing;

use super::door::Door;
use super::limits::Limits;
use super::registry::{Found, Pools, Registry, Standstill};
use super::reins::{Reins, Word};
use super::stock::{House, Stock};
use super::{Offer, now};
use crate::source::Repeat;
use crate::sync::interleave;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

/// Runs these at once and gives what each came to.
fn beside<T: Send + 'static>(work: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let threads: Vec<_> = work.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// What orders are made of; signed once, because interleavings are many.
struct Orders {
    menu: Signed<Menu>,
    orders: Vec<Signed<Order>>,
    /// Three for each order, with indexes 1 to 3.
    attaches: Vec<[Signed<Attach>; 3]>,
    /// One for each order: ten messages that nobody has paid.
    invoices: Vec<Signed<Invoice>>,
}

/// A seller with one product at 1 a message, and an order of each of these buyers.
fn house(buyers: &[u8]) -> Arc<Orders> {
    let seller = key(1);
    let public = SealSecret::derive(Suite::X25519, &Zeroizing::new([9; 32])).1;
    let option = PayOption {
        id: 1,
        rail: "test".into(),
        asset: AssetId::new("unit@test"),
        address: "seller".into(),
        finality: 0,
        grace_min_ms: 0,
        pay_by_ms: 20_000,
        channel: false,
        terms: Vec::new(),
    };
    let menu = Menu {
        seller: seller.public(),
        until: now().after_ms(3_600_000),
        seal: vec![SealKey { suite: Suite::X25519, public: public.clone() }],
        records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
        default_currency: AssetId::new("unit@test"),
        options: vec![option],
        products: vec![Product { id: 1, ..Product::new("t", Price::per_message(1)) }],
    };
    let menu = Signed::sign(&seller, menu);
    let orders: Vec<_> = (0u8..).zip(buyers).map(|(number, buyer)| order(&menu, &key(*buyer), number)).collect();
    let attach = |order: &Signed<Order>, buyer: u8, index| {
        let (suite, kem_pk) = (Suite::X25519, public.clone());
        let th1 = Bytes32([0; 32]);
        Signed::sign(&key(buyer), Attach { order_id: order.id(), index, suite, kem_pk, th1, have: Have::default() })
    };
    let attaches = orders.iter().zip(buyers).map(|(order, buyer)| [1, 2, 3].map(|index| attach(order, *buyer, index)));
    let invoices = orders.iter().map(|order| Signed::sign(&seller, unpaid(order)));
    Arc::new(Orders { attaches: attaches.collect(), invoices: invoices.collect(), menu, orders })
}

fn order(menu: &Signed<Menu>, buyer: &SigningKey, number: u8) -> Signed<Order> {
    let order = Order {
        seller: menu.seller,
        menu_id: menu.id(),
        product: 1,
        option: 1,
        quantity: None,
        windows: 1,
        exposure_max: Amount::new(100),
        limit: Amount::new(1_000_000),
        channel: None,
        record: RecordPolicy { form: Form::Full, every: 1 },
        invoice_addr: None,
        sign_pk: buyer.public(),
        nonce: Bytes32([number; 32]),
        until: menu.until,
    };
    Signed::sign(buyer, order)
}

fn unpaid(order: &Signed<Order>) -> Invoice {
    Invoice {
        order_id: order.id(),
        n: 0,
        windows: 1,
        prev: order.id(),
        first: 0,
        count: 10,
        bytes: 10,
        t_start: None,
        t_end: None,
        digest: Digest([1; 32]),
        units_total: 10,
        due: Amount::new(10),
        paid: Amount::ZERO,
        paid_by: None,
        last: false,
    }
}

impl Orders {
    fn account(&self, at: usize, owes: bool) -> Box<SellerOrder> {
        let mut entries = vec![Entry::Statement(self.orders[at].erase()), Entry::Salt(Bytes32([3; 32]))];
        entries.extend(owes.then(|| Entry::Statement(self.invoices[at].erase())));
        Box::new(SellerOrder::restore(&key(1), &self.menu, &entries, now()).unwrap())
    }

    /// The seller has signed the end, and waits for the buyer's.
    fn settled(&self, at: usize) -> Box<SellerOrder> {
        let order_id = self.id(at);
        let (due, paid) = (Amount::new(10), Amount::new(10));
        let settlement = Settlement { order_id, invoice_id: self.invoices[at].id(), payment_id: None, due, paid };
        let settlement = Signed::sign(&key(1), settlement).erase();
        let order = Entry::Statement(self.orders[at].erase());
        let entries = [order, Entry::Salt(Bytes32([3; 32])), Entry::Statement(settlement)];
        Box::new(SellerOrder::restore(&key(1), &self.menu, &entries, now()).unwrap())
    }

    fn id(&self, at: usize) -> StatementId {
        self.orders[at].id()
    }
}

fn pools(each: u128) -> Pools {
    Pools { strangers: Amount::new(each), proven: Amount::new(each) }
}

#[test]
fn the_gravest_word_is_heard_whoever_says_it_when() {
    interleave(1000, || {
        let reins = Arc::new(Reins::default());
        let say = |word: Word| {
            let reins = reins.clone();
            thread::spawn(move || reins.say(word))
        };
        let sayers = [Word::Finish, Word::Closing, Word::Stop(Reason::Superseded)].map(say);
        // One that is dropped while it waits loses nothing.
        let mut heard = reins.hear().now_or_never();
        while heard != Some(Word::Stop(Reason::Superseded)) {
            heard = Some(block_on(reins.hear()));
        }
        sayers.into_iter().for_each(|sayer| sayer.join().unwrap());
    });
}

#[test]
fn no_interleaving_lets_more_in_than_the_door_has_room_for() {
    interleave(500, || {
        let limits = Limits { connections: 3, connections_per_address: 2, handshakes: 2, ..Limits::default() };
        let (door, inside) = (Door::default(), Arc::new([(); 2].map(|()| AtomicUsize::new(0))));
        let connect = |host: usize| {
            let (door, inside) = (door.clone(), inside.clone());
            let come = move || {
                let reins = Arc::new(Reins::default());
                let address = IpAddr::from([192, 0, 2, u8::try_from(host).unwrap()]);
                let Ok((ticket, _)) = door.enter(address, &reins, &limits) else { return None };
                let here = inside[host].fetch_add(1, Ordering::SeqCst) + 1;
                assert!(here <= limits.connections_per_address, "{here} of one address");
                let (all, silent) = door.count();
                assert!(all <= limits.connections && silent <= limits.handshakes, "{all} inside, {silent} silent");
                let told = reins.hear().now_or_never();
                // Those of the second address go without a word.
                if told.is_none() && host == 0 {
                    ticket.spoke();
                }
                inside[host].fetch_sub(1, Ordering::SeqCst);
                drop(ticket);
                Some(told)
            };
            Box::new(come) as Box<dyn FnOnce() -> Option<Option<Word>> + Send>
        };
        let came = beside([0, 0, 0, 1, 1].map(connect).into());
        assert!(came.iter().any(Option::is_some), "somebody comes in");
        let told = came.into_iter().flatten().flatten();
        assert!(told.into_iter().all(|word| word == Word::Stop(Reason::Busy)));
        assert_eq!(door.count(), (0, 0), "whoever went is not counted");
    });
}

/// One connection of an order: takes it, is alone with it for a while, and gives it back.
fn connection(house: &Orders, registry: &Registry, index: usize, alone: &AtomicUsize) -> bool {
    let reins = Arc::new(Reins::default());
    let Ok(found) = block_on(registry.take(&house.attaches[0][index], true, &reins)) else { return false };
    assert_eq!(alone.fetch_add(1, Ordering::SeqCst), 0, "two live sessions of one order");
    assert_eq!(registry.standstill(&house.id(0)), Standstill::Live);
    registry.reserve(&house.id(0), &reins, (Amount::new(5), Amount::ZERO)).expect("there is room");
    for _ in 0..3 {
        if reins.hear().now_or_never().is_some() {
            break;
        }
        thread::yield_now();
    }
    assert_eq!(alone.fetch_sub(1, Ordering::SeqCst), 1, "two live sessions of one order");
    let account = match found {
        Found::New => house.account(0, false),
        Found::Known(account, _) => account,
    };
    registry.park(house.id(0), (Some(account), 0), &reins);
    true
}

#[test]
fn an_order_has_one_live_session_and_the_newest_attach_gets_it() {
    let house = house(&[2]);
    interleave(500, move || {
        let registry = Arc::new(Registry::new(pools(5), Limits::default()));
        let alone = Arc::new(AtomicUsize::new(0));
        let connect = |index| {
            let (house, registry, alone) = (house.clone(), registry.clone(), alone.clone());
            Box::new(move || connection(&house, &registry, index, &alone)) as Box<dyn FnOnce() -> bool + Send>
        };
        let came = beside([0, 1, 2].map(connect).into());
        assert!(came[2], "the newest attach takes over from whoever is there");
        assert_eq!(registry.standstill(&house.id(0)), Standstill::Parked, "the account is there again");
        let (strangers, proven) = registry.pools();
        assert_eq!((strangers.used, proven.used), (Amount::ZERO, Amount::ZERO));
    });
}

/// A session of an order that reserves what it can get, with the totals of all and of its buyer beside it.
fn reserve(house: &Orders, registry: &Registry, at: usize, out: &[AtomicU64; 3]) -> bool {
    const WANTED: u64 = 100;
    let reins = Arc::new(Reins::default());
    let buyer = 1 + at % 2;
    let Ok(found) = block_on(registry.take(&house.attaches[at][0], true, &reins)) else { return false };
    let granted = registry.reserve(&house.id(at), &reins, (Amount::new(WANTED.into()), Amount::ZERO));
    if granted.is_some() {
        let (all, own) = (out[0].fetch_add(WANTED, Ordering::SeqCst), out[buyer].fetch_add(WANTED, Ordering::SeqCst));
        assert!(all + WANTED <= 250 && own + WANTED <= 150, "{all} were out, {own} of them this buyer's");
    }
    let (strangers, proven) = registry.pools();
    assert!(strangers.used <= strangers.limit && proven.used <= proven.limit);
    if granted.is_some() {
        out[0].fetch_sub(WANTED, Ordering::SeqCst);
        out[buyer].fetch_sub(WANTED, Ordering::SeqCst);
    }
    assert!(matches!(found, Found::New));
    registry.park(house.id(at), (granted.is_some().then(|| house.account(at, false)), 0), &reins);
    granted.is_some()
}

#[test]
fn no_interleaving_lends_more_than_the_pool_or_the_buyers_cap() {
    let house = house(&[2, 3, 2, 3]);
    interleave(500, move || {
        let limits = Limits { exposure_per_buyer: Amount::new(150), sessions_per_buyer: 2, ..Limits::default() };
        let registry = Arc::new(Registry::new(pools(250), limits));
        let out = Arc::new([(); 3].map(|()| AtomicU64::new(0)));
        let session = |at| {
            let (house, registry, out) = (house.clone(), registry.clone(), out.clone());
            Box::new(move || reserve(&house, &registry, at, &out)) as Box<dyn FnOnce() -> bool + Send>
        };
        let mut work: Vec<Box<dyn FnOnce() -> bool + Send>> = [0, 1, 2, 3].map(session).into();
        let prover = registry.clone();
        // It is proven between two bookings: each leaves the pool that it came from.
        work.push(Box::new(move || {
            prover.prove(key(2).public());
            true
        }));
        let came = beside(work);
        assert!(came[..4].contains(&true), "somebody gets its credit");
        let (strangers, proven) = registry.pools();
        assert_eq!((strangers.used, proven.used), (Amount::ZERO, Amount::ZERO), "all is given back");
    });
}

#[test]
fn a_debt_is_in_its_pool_until_it_is_written_off_and_then_not_twice() {
    let house = house(&[2, 3]);
    interleave(500, move || {
        let registry = Arc::new(Registry::new(pools(100), Limits::default()));
        // The second order's debt stays: what is taken out twice would be missing from it.
        for at in [0, 1] {
            let reins = Arc::new(Reins::default());
            assert!(block_on(registry.take(&house.attaches[at][0], true, &reins)).is_ok());
            registry.park(house.id(at), (Some(house.account(at, true)), 0), &reins);
        }
        assert_eq!(registry.pools().0.used, Amount::new(20));
        let (writer, returns, home) = (registry.clone(), registry.clone(), house.clone());
        let written_off = thread::spawn({
            let id = house.id(0);
            move || writer.write_off(&id).is_some()
        });
        let back = thread::spawn(move || {
            let reins = Arc::new(Reins::default());
            let Ok(Found::Known(account, _)) = block_on(returns.take(&home.attaches[0][1], false, &reins)) else {
                panic!("a debtor is let in")
            };
            let granted = returns.reserve(&home.id(0), &reins, (Amount::new(50), Amount::new(10)));
            assert!(granted.is_some_and(|granted| granted.exposure >= Amount::new(10)));
            returns.park(home.id(0), (Some(account), 0), &reins);
        });
        back.join().unwrap();
        let debt = if written_off.join().unwrap() { 10 } else { 20 };
        assert_eq!(registry.pools().0.used, Amount::new(debt));
    });
}

/// Else a buyer could leave its debts behind, or be here more often than it may; and a crowd would fill the memory.
#[test]
fn a_buyer_is_remembered_while_it_owes_or_is_here_and_no_longer() {
    let house = house(&[2, 2, 2]);
    interleave(1, move || {
        let limits = Limits { exposure_per_buyer: Amount::new(15), sessions_per_buyer: 1, ..Limits::default() };
        let registry = Registry::new(pools(100), limits);
        let come = |at: usize| {
            let reins = Arc::new(Reins::default());
            block_on(registry.take(&house.attaches[at][0], true, &reins)).map(|_| reins)
        };
        let reins = come(0).unwrap();
        registry.park(house.id(0), (Some(house.account(0, true)), 0), &reins);
        let reins = come(1).unwrap();
        let wanted = |amount| registry.reserve(&house.id(1), &reins, (Amount::new(amount), Amount::ZERO)).is_some();
        assert!(!wanted(6) && wanted(5), "ten are owed");
        assert!(wanted(0) && registry.write_off(&house.id(0)).is_some());
        assert!(come(2).is_err(), "it is here already");
        registry.park(house.id(1), (None, 0), &reins);
        assert_eq!(registry.buyers(), 0);
    });
}

#[test]
fn new_bounds_hold_from_now_on() {
    let house = house(&[2]);
    interleave(1, move || {
        let registry = Registry::new(pools(1), Limits { exposure_per_buyer: Amount::new(1), ..Limits::default() });
        let reins = Arc::new(Reins::default());
        assert!(block_on(registry.take(&house.attaches[0][0], true, &reins)).is_ok());
        let gets = || {
            let granted = registry.reserve(&house.id(0), &reins, (Amount::new(100), Amount::ZERO));
            granted.map(|granted| granted.exposure)
        };
        assert_eq!(gets(), Some(Amount::new(1)), "what a buyer may owe");
        registry.bound(pools(100), Limits::default());
        assert_eq!(gets(), Some(Amount::new(100)));
        registry.bound(pools(50), Limits::default());
        assert_eq!((gets(), registry.pools().0.limit), (None, Amount::new(50)));
    });
}

/// Its channel may be closed: nothing more is sold or paid.
#[test]
fn an_order_that_the_seller_has_settled_is_finished_although_the_buyer_is_gone() {
    let house = house(&[2]);
    interleave(1, move || {
        let registry = Registry::new(pools(100), Limits::default());
        for (account, standstill) in
            [(house.account(0, false), Standstill::Parked), (house.settled(0), Standstill::Finished)]
        {
            let reins = Arc::new(Reins::default());
            let index = usize::from(standstill == Standstill::Finished);
            assert!(block_on(registry.take(&house.attaches[0][index], true, &reins)).is_ok());
            registry.park(house.id(0), (Some(account), 0), &reins);
            assert_eq!(registry.standstill(&house.id(0)), standstill);
        }
    });
}

#[test]
fn an_order_that_goes_on_finds_its_product_while_the_offers_change() {
    let seller = key(1);
    interleave(100, move || {
        let offer = |topic: &str| {
            let product = Product::new(topic, Price::per_message(1));
            Offer::new(product, |_| Ok(Repeat::new(Vec::new(), 1))).unwrap()
        };
        let payee = FakePayee::new(&FakeBank::new(), "seller", FakeWorld::asset(), FakeMode::Voucher);
        let records = RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full };
        let house = Arc::new(House { key: seller.clone(), payees: vec![Arc::new(payee)], records });
        let stock = Arc::new(Stock::new(&house, vec![offer("a"), offer("b")], now()).unwrap());
        stock.reload(&house, vec![offer("b")], now()).unwrap();
        let (changing, offers) = (stock.clone(), vec![offer("a"), offer("b")]);
        let reload = thread::spawn(move || changing.reload(&house, offers, now()).unwrap());
        assert!(stock.known("a").is_some(), "it was taken off the menu, or is on it again");
        reload.join().unwrap();
        assert!(stock.offered("a").is_some());
    });
}
