//! The thieves over TCP against the shipped machines.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests may panic"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sdpp_proto::buyer::{self, Buyer, BuyerConfig, OrderDraft};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::message::Batch;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::offence::Offence;
use sdpp_proto::seller::{self, Admission, Seller, SellerConfig};
use sdpp_proto::statement::{
    Form, Menu, PayOption, Product, RecordOffer, RecordPolicy, SealKey, Signed, Signing, Stalled,
};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_sim::liar::tcp::{BuyerTheft, SellerPlan, SellerTheft, thieving_buyer, thieving_seller};
use sdpp_sim::liar::{BuyerKeys, RawBuyer, RawSeller};
use zeroize::Zeroizing;

const START: Timestamp = Timestamp::from_ms(1_800_000_000_000);
const PAY_BY_MS: u64 = 20_000;
/// What the thieving buyer pays: 1, 2, 4, 8 and 10 messages.
const PAID: Amount = Amount::new(75);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn seals() -> Vec<SealSecret> {
    vec![SealSecret::derive(Suite::X25519, &Zeroizing::new([9; 32])).0]
}

fn menu() -> Signed<Menu> {
    let product = Product {
        id: 1,
        topic: "weather".into(),
        schema: "json".into(),
        unit: Unit::Message,
        amount: Amount::new(3),
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
    };
    let option = PayOption {
        id: 1,
        rail: "test".into(),
        asset: AssetId::new("unit@test"),
        address: String::new(),
        finality: 0,
        grace_min_ms: 0,
        pay_by_ms: PAY_BY_MS,
        channel: false,
        terms: Vec::new(),
    };
    let public = SealSecret::derive(Suite::X25519, &Zeroizing::new([9; 32])).1;
    let menu = Menu {
        seller: key(1).public(),
        until: START.after_ms(3_600_000),
        seal: vec![SealKey { suite: Suite::X25519, public }],
        records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
        default_currency: AssetId::new("unit@test"),
        options: vec![option],
        products: vec![product],
    };
    Signed::sign(&key(1), menu)
}

/// What a blocking driver needs of a machine.
trait Machine {
    fn outputs(&mut self, now: Timestamp) -> bool;
    fn transmit(&mut self, now: Timestamp, out: &mut Vec<u8>);
    fn frame(&mut self, now: Timestamp, frame: &mut [u8]);
    /// Nothing comes: time passes to the machine's next timeout.
    fn wait(&mut self, now: Timestamp) -> Timestamp;
}

fn drive(stream: &mut TcpStream, machine: &mut impl Machine) {
    stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    let (mut now, mut inbox, mut buffer) = (START, Vec::new(), [0; 4096]);
    loop {
        let over = machine.outputs(now);
        let mut out = Vec::new();
        machine.transmit(now, &mut out);
        if stream.write_all(&out).is_err() || over {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => inbox.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                now = machine.wait(now);
            }
            Err(_) => return,
        }
        while let Some(header) = FrameHeader::peek(&inbox).unwrap().filter(|h| h.frame_len() <= inbox.len()) {
            let mut frame: Vec<u8> = inbox.drain(..header.frame_len()).collect();
            machine.frame(now, &mut frame);
        }
    }
}

struct HonestSeller {
    machine: Seller,
    ended: Option<seller::Ended>,
}

impl Machine for HonestSeller {
    fn outputs(&mut self, now: Timestamp) -> bool {
        let mut batch = Batch::new();
        (0..50).for_each(|at| batch.push(at, b"reading").unwrap());
        self.machine.offer(now, &mut batch);
        while let Some(output) = self.machine.poll_output(now) {
            match output {
                seller::Output::Admit(_) => {
                    let (exposure, ceiling) = (Amount::new(1000), Amount::MAX);
                    self.machine.admit(now, &Admission { exposure, windows: 2, ramp: true, ceiling });
                }
                seller::Output::Store { id, .. } => self.machine.stored(now, id),
                seller::Output::Settle(settle) => self.machine.settled(now, &settle.payment.id(), true),
                seller::Output::Closed(ended) => self.ended = Some(ended),
                seller::Output::Record(_) | seller::Output::Event(_) => {}
            }
        }
        self.ended.is_some()
    }

    fn transmit(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        self.machine.poll_transmit(now, out, usize::MAX);
    }

    fn frame(&mut self, now: Timestamp, frame: &mut [u8]) {
        let _ = self.machine.handle_frame(now, frame);
    }

    /// Patience ends with the last payment that will come: a slow thief changes nothing.
    fn wait(&mut self, now: Timestamp) -> Timestamp {
        if self.machine.order().is_none_or(|order| order.paid() < PAID) {
            return now;
        }
        let now = self.machine.poll_timeout().map_or(now, |next| next.max(now));
        self.machine.handle_timeout(now);
        now
    }
}

struct HonestBuyer {
    machine: Buyer,
    messages: u64,
    paid: Amount,
    ended: Option<buyer::Ended>,
}

impl Machine for HonestBuyer {
    fn outputs(&mut self, now: Timestamp) -> bool {
        while let Some(output) = self.machine.poll_output(now) {
            match output {
                buyer::Output::Menu(_) => {
                    self.machine.place(now, draft()).unwrap();
                }
                buyer::Output::Store { id, .. } => self.machine.stored(now, id),
                buyer::Output::RecordOrder(order) => self.machine.recorded(order.id, None),
                buyer::Output::Pay { invoice, .. } => {
                    self.paid = invoice.due;
                    self.machine.paid(&invoice.id(), None);
                }
                buyer::Output::Closed(ended) => self.ended = Some(ended),
                buyer::Output::Sample(_)
                | buyer::Output::Quote(_)
                | buyer::Output::Record(_)
                | buyer::Output::Recall(_)
                | buyer::Output::Event(_) => {}
            }
        }
        self.ended.is_some()
    }

    fn transmit(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        self.machine.poll_transmit(now, out);
    }

    fn frame(&mut self, now: Timestamp, frame: &mut [u8]) {
        if let Ok(delivery) = self.machine.handle_frame(now, frame) {
            self.messages += delivery.messages().count() as u64;
        }
    }

    fn wait(&mut self, now: Timestamp) -> Timestamp {
        now
    }
}

fn draft() -> OrderDraft {
    OrderDraft {
        product: 1,
        option: 1,
        quantity: None,
        windows: 2,
        exposure_max: Amount::new(1000),
        limit: Amount::new(1_000_000),
        channel: None,
        record: RecordPolicy { form: Form::Full, every: 1 },
        sign_key: key(3),
        nonce: Bytes32([5; 32]),
        until: START.after_ms(60_000),
    }
}

#[test]
fn a_thieving_buyer_gets_the_windows_it_was_trusted_with_and_a_default() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thief = thread::spawn(move || {
        let keys = BuyerKeys { identity: key(2), pays: key(3) };
        let liar = RawBuyer::new(keys, Suite::X25519, [7; 32]);
        thieving_buyer(address, liar, BuyerTheft::StopsPaying { after: 5 }, |liar| {
            let mut order = liar.order();
            order.windows = 2;
            order
        })
    });
    let config = Arc::new(SellerConfig { key: key(1), menu: menu(), seals: seals(), samples: Vec::new() });
    let mut seller = HonestSeller { machine: Seller::new(config, [1; 32], START), ended: None };
    drive(&mut listener.accept().unwrap().0, &mut seller);
    let loot = thief.join().unwrap().unwrap();
    assert_eq!(seller.ended, Some(seller::Ended::Defaulted));
    // 1, 2, 4, 8 and 10 messages are paid; two windows of ten are trusted and lost.
    assert_eq!((loot.messages, loot.paid, loot.due), (45, PAID, Amount::new(135)));
    assert_eq!(loot.error, Some(Offence::NotPaid.code()));
    let unpaid = loot.unpaid.unwrap();
    assert_eq!((unpaid.due, unpaid.paid, unpaid.issuer()), (loot.due, loot.paid, key(1).public()));
}

#[test]
fn a_thieving_seller_is_paid_for_what_it_delivered_before() {
    for (theft, offence) in [
        (SellerTheft::Undelivered, Offence::InvoiceRange),
        (SellerTheft::WrongDigest, Offence::InvoiceDigest),
        (SellerTheft::HigherPrice, Offence::InvoiceDue),
        (SellerTheft::DeniesPayment, Offence::InvoiceCredit),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thief = thread::spawn(move || {
            let liar = RawSeller::new(key(1), menu(), seals(), [8; 32]);
            let window = (0..10).map(|at| format!("reading {at}").into_bytes()).collect();
            thieving_seller(&listener, liar, &SellerPlan { honest_windows: 3, window, theft })
        });
        let suites = vec![Suite::X25519];
        let config = BuyerConfig { key: key(2), seller: Some(key(1).public()), suites, pay_moves_money: false };
        let machine = Buyer::new(config, [2; 32], START);
        let mut buyer = HonestBuyer { machine, messages: 0, paid: Amount::ZERO, ended: None };
        drive(&mut TcpStream::connect(address).unwrap(), &mut buyer);
        let haul = thief.join().unwrap().unwrap();
        assert_eq!(buyer.ended, Some(buyer::Ended::Offence(offence)));
        assert_eq!((haul.paid, haul.error), (Amount::new(90), Some(offence.code())), "{theft:?}");
        assert_eq!((buyer.paid, buyer.messages, haul.messages), (Amount::new(90), 40, 40));
    }
}
