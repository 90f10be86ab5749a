//! A whole sale between two machines, with every byte and every secret.

use std::sync::Arc;

use sdpp_proto::buyer::{self, Buyer, BuyerConfig, OrderDraft};
use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::frame::{FrameHeader, FrameKind, open_sealed};
use sdpp_proto::hash::sha256;
use sdpp_proto::journal::StoreId;
use sdpp_proto::keys::{Direction, EXPORT_TRAFFIC, INFO_SESSION, Traffic, TrafficKey};
use sdpp_proto::limits::{FRAME_HEADER_LEN, SEALED_HANDSHAKE_MAX};
use sdpp_proto::message::Batch;
use sdpp_proto::money::Amount;
use sdpp_proto::seller::{self, Admission, Seller, SellerConfig};
use sdpp_proto::statement::{Form, RecordPolicy, Signed};
use sdpp_proto::suite::{Entropy, SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{SealedSession, hpke_info, th1, th2, th3};

use crate::json::{Json, hex, large, list, object, text};
use crate::{AnyProvider, frames, key, sealing, seed, statements};

const SELLER: u8 = 1;
const BUYER: u8 = 2;
const PAYER: u8 = 3;
const SEAL: u8 = 9;
const SELLER_ENTROPY: u8 = 0x51;
const BUYER_ENTROPY: u8 = 0xb1;
const ORDER_NONCE: u8 = 0x0d;
const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

struct World {
    seller: Seller,
    buyer: Buyer,
    draft: OrderDraft,
    batch: Batch,
    /// Who sent which frame, in the order of their arrival.
    log: Vec<(Direction, Vec<u8>)>,
    ended: (Option<seller::Ended>, Option<buyer::Ended>),
}

/// Where a statement is recorded, in these vectors.
fn record_of(statement: &StatementId) -> Bytes32 {
    Bytes32(sha256(&statement.0))
}

fn messages() -> Vec<(i64, Vec<u8>)> {
    let payload = |at: i64| format!("{{\"station\":\"KSEA\",\"t\":{}}}", 10 + at).into_bytes();
    (0..5).map(|at| (1_800_000_000_000_000 + 250_000 * at, payload(at))).collect()
}

impl World {
    fn new(provider: AnyProvider, suite: Suite) -> Self {
        let mut menu = statements::menu(provider, SEAL, true);
        for product in &mut menu.products {
            (product.k, product.acks) = (2, true);
            (product.amount, product.per) = (Amount::new(3), 2);
        }
        let seller_key = key(provider, SELLER);
        let menu = Signed::sign(&seller_key, menu);
        let seals = Suite::ALL.map(|suite| SealSecret::derive(suite, &seed(SEAL)).0).into();
        let config = Arc::new(SellerConfig { key: seller_key.clone(), menu, seals, samples: Vec::new() });
        let buyer = BuyerConfig {
            key: key(provider, BUYER),
            seller: Some(seller_key.public()),
            suites: vec![suite],
            pay_moves_money: false,
        };
        let draft = OrderDraft {
            product: 1,
            option: 1,
            quantity: Some(5),
            windows: 2,
            exposure_max: Amount::new(1000),
            limit: Amount::new(1_000_000),
            channel: None,
            record: RecordPolicy { form: Form::Full, every: 1 },
            sign_key: key(provider, PAYER),
            nonce: Bytes32([ORDER_NONCE; 32]),
            until: NOW.after_ms(60_000),
        };
        let mut batch = Batch::new();
        messages().iter().for_each(|(time_us, payload)| batch.push(*time_us, payload).unwrap());
        Self {
            seller: Seller::new(config, [SELLER_ENTROPY; 32], NOW),
            buyer: Buyer::new(buyer, [BUYER_ENTROPY; 32], NOW),
            draft,
            batch,
            log: Vec::new(),
            ended: (None, None),
        }
    }

    fn run(&mut self) {
        let settled = (Some(seller::Ended::Settled { countersigned: true }), Some(buyer::Ended::Settled));
        (0..100).find(|_| !self.step()).expect("the conversation comes to rest");
        assert_eq!(self.ended, settled);
    }

    fn step(&mut self) -> bool {
        let _ = self.seller.offer(NOW, &mut self.batch);
        let mut moved = false;
        let mut stored: Option<StoreId> = None;
        while let Some(output) = self.seller.poll_output(NOW) {
            moved = true;
            self.seller_output(output, &mut stored);
        }
        stored.into_iter().for_each(|id| self.seller.stored(NOW, id));
        let mut stored: Option<StoreId> = None;
        while let Some(output) = self.buyer.poll_output(NOW) {
            moved = true;
            self.buyer_output(output, &mut stored);
        }
        stored.into_iter().for_each(|id| self.buyer.stored(NOW, id));
        self.carry() || moved
    }

    fn seller_output(&mut self, output: seller::Output, stored: &mut Option<StoreId>) {
        match output {
            seller::Output::Admit(_) => {
                let admission =
                    Admission { exposure: Amount::new(900), windows: 2, ramp: true, ceiling: Amount::new(1_000_000) };
                assert!(self.seller.admit(NOW, &admission));
            }
            seller::Output::Store { id, .. } => *stored = Some(id),
            seller::Output::Settle(settle) => self.seller.settled(NOW, &settle.payment.id(), true),
            seller::Output::Record(statement) => self.seller.recorded(statement.id, record_of(&statement.id)),
            seller::Output::Event(_) => {}
            seller::Output::Closed(ended) => self.ended.0 = Some(ended),
        }
    }

    fn buyer_output(&mut self, output: buyer::Output, stored: &mut Option<StoreId>) {
        match output {
            buyer::Output::Menu(_) => {
                self.buyer.place(NOW, self.draft.clone()).unwrap();
            }
            buyer::Output::Store { id, .. } => *stored = Some(id),
            buyer::Output::RecordOrder(order) | buyer::Output::Record(order) => {
                self.buyer.recorded(order.id, Some(record_of(&order.id)));
            }
            buyer::Output::Pay { invoice, .. } => self.buyer.paid(&invoice.id(), None),
            buyer::Output::Sample(_) | buyer::Output::Quote(_) | buyer::Output::Event(_) | buyer::Output::Recall(_) => {
            }
            buyer::Output::Closed(ended) => self.ended.1 = Some(ended),
        }
    }

    /// Carries what is ready, frame by frame.
    fn carry(&mut self) -> bool {
        let (mut to_buyer, mut to_seller) = (Vec::new(), Vec::new());
        self.seller.poll_transmit(NOW, &mut to_buyer, usize::MAX);
        self.buyer.poll_transmit(NOW, &mut to_seller);
        let before = self.log.len();
        for mut frame in split(&to_seller) {
            self.log.push((Direction::ToSeller, frame.clone()));
            self.seller.handle_frame(NOW, &mut frame).unwrap();
        }
        for mut frame in split(&to_buyer) {
            self.log.push((Direction::ToBuyer, frame.clone()));
            self.buyer.handle_frame(NOW, &mut frame).unwrap();
        }
        self.log.len() > before
    }

    fn body(&self, kind: FrameKind) -> &[u8] {
        let found = self.log.iter().find(|(_, frame)| FrameHeader::peek(frame).unwrap().unwrap().kind == kind);
        &found.unwrap().1[FRAME_HEADER_LEN..]
    }
}

fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Ok(Some(header)) = FrameHeader::peek(bytes) {
        let (frame, rest) = bytes.split_at(header.frame_len());
        frames.push(frame.to_vec());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "machines write whole frames");
    frames
}

/// What each side draws from its entropy, in order.
fn draws(entropy: u8) -> [[u8; 32]; 3] {
    let mut entropy = Entropy::new([entropy; 32]);
    [*entropy.draw(), *entropy.draw(), *entropy.draw()]
}

pub(crate) fn run(provider: AnyProvider, suite: Suite) -> Json {
    let mut world = World::new(provider, suite);
    world.run();
    let [nonce_b, kem_seed, order_seed] = draws(BUYER_ENTROPY);
    let [nonce_s, order_salt, session_seed] = draws(SELLER_ENTROPY);
    let one = th1(world.body(FrameKind::Hello), world.body(FrameKind::Menu));
    let two = th2(&one, world.body(FrameKind::Order));
    let session = world.body(FrameKind::Session);
    let three = th3(&two, session);
    let sealed: SealedSession = codec::decode(session, SEALED_HANDSHAKE_MAX).unwrap();
    let kem = SealSecret::derive(suite, &kem_seed.into()).0;
    let info = hpke_info(INFO_SESSION, &two);
    let opened = kem.open(&sealed.enc, &info, (&sealed.ct, &[]), EXPORT_TRAFFIC).unwrap();
    let traffic = Traffic::new(&three.0, &opened.export);
    let account = world.buyer.order().unwrap();
    object([
        ("suite", Json::Number(suite.code().into())),
        ("suite_name", sealing::name(suite)),
        ("now_ms", large(NOW.as_ms())),
        ("seller_seed", hex([SELLER; 32])),
        ("buyer_seed", hex([BUYER; 32])),
        ("payer_seed", hex([PAYER; 32])),
        ("seal_seed", hex([SEAL; 32])),
        ("seller_entropy", hex([SELLER_ENTROPY; 32])),
        ("buyer_entropy", hex([BUYER_ENTROPY; 32])),
        ("nonce_b", hex(nonce_b)),
        ("kem_seed", hex(kem_seed)),
        ("order_sender_seed", hex(order_seed)),
        ("nonce_s", hex(nonce_s)),
        ("order_salt", hex(order_salt)),
        ("session_sender_seed", hex(session_seed)),
        ("order_nonce", hex([ORDER_NONCE; 32])),
        ("order_id", hex(account.id().0)),
        ("th1", hex(one.0)),
        ("th2", hex(two.0)),
        ("th3", hex(three.0)),
        ("export", hex(*opened.export)),
        ("s2b", sealing::epoch(0, &sealing::secret(&three.0, &opened.export, "s2b"))),
        ("b2s", sealing::epoch(0, &sealing::secret(&three.0, &opened.export, "b2s"))),
        ("messages", shown_messages()),
        ("frames", shown_frames(provider, &world, &traffic)),
        ("due", large(account.due())),
        ("paid", large(account.paid())),
    ])
}

fn shown_messages() -> Json {
    list(messages().iter().map(|(time_us, payload)| object([("time_us", large(time_us)), ("payload", hex(payload))])))
}

fn shown_frames(provider: AnyProvider, world: &World, traffic: &Traffic) -> Json {
    let mut to_buyer = traffic.direction_by(Direction::ToBuyer, provider);
    let mut to_seller = traffic.direction_by(Direction::ToSeller, provider);
    list(world.log.iter().map(|(direction, frame)| {
        let (from, key) = match direction {
            Direction::ToBuyer => ("seller", &mut to_buyer),
            Direction::ToSeller => ("buyer", &mut to_seller),
        };
        shown_frame(from, frame, key)
    }))
}

fn shown_frame(from: &str, frame: &[u8], key: &mut TrafficKey) -> Json {
    let header = FrameHeader::peek(frame).unwrap().unwrap();
    let head = [
        ("from", text(from)),
        ("type", text(frames::name(header.kind))),
        ("counter", large(header.counter)),
        ("frame", hex(frame)),
    ];
    if header.kind != FrameKind::Sealed {
        return object(head);
    }
    let mut copy = frame.to_vec();
    let opened = open_sealed(key, &mut copy).unwrap();
    let [from, kind, counter, frame] = head;
    object([from, kind, counter, frame, ("messages", hex(opened.messages)), ("control", hex(opened.control))])
}
