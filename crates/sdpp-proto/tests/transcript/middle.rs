//! Two shipped machines and somebody in the middle, who sees every frame and puts others in their place.

use std::collections::BTreeMap;

use sdpp_proto::buyer::BuyerConfig;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::frame::{FrameHeader, FrameKind, write_clear};
use sdpp_proto::keys::{EXPORT_TRAFFIC, INFO_ORDER, INFO_SESSION};
use sdpp_proto::limits::FRAME_HEADER_LEN;
use sdpp_proto::offence::Offence;
use sdpp_proto::suite::{Entropy, SealSecret, Suite};
use sdpp_proto::wire::hpke_info;
use zeroize::Zeroizing;

use crate::cbor::Value;
use crate::kit::{World, buyer_config, draft, product, seller_config};
use crate::mirror::{self, Context, Key};

/// Seeds of the two machines of [`World`], and of the menu's sealing keys.
pub const SELLER_SEED: Key = [1; 32];
pub const BUYER_SEED: Key = [2; 32];
pub const SEALING_SEED: Key = [9; 32];
/// Seed of the buyer's machine on the second connection of a [`World`].
const SECOND_BUYER_SEED: Key = {
    let mut seed = [0xab; 32];
    (seed[0], seed[1]) = (0, 5);
    seed
};

/// What a machine of this seed draws, the first one first.
pub fn draws(seed: Key) -> [Key; 3] {
    let mut entropy = Entropy::new(seed);
    [(); 3].map(|()| *entropy.draw())
}

/// The seed of the fresh key that the buyer attaches: its second draw, after the nonce.
pub fn fresh_seed(buyer: Key) -> Key {
    draws(buyer)[1]
}

/// What went by on one connection: what each side sent, and what the other one heard.
pub struct Record {
    pub suite: Suite,
    /// Seed of the buyer's machine.
    pub buyer: Key,
    sent: BTreeMap<u8, Vec<u8>>,
    heard: BTreeMap<u8, Vec<u8>>,
    /// Sealed frames, and whether they go to the buyer.
    pub sealed: Vec<(bool, Vec<u8>)>,
}

/// One connection between the shipped machines.
pub struct Conversation {
    pub world: World,
    pub record: Record,
}

/// What the middle makes of a frame's body.
pub type Change<'a> = &'a mut dyn FnMut(&Record, FrameKind, Vec<u8>) -> Vec<u8>;

pub fn honest(_: &Record, _: FrameKind, body: Vec<u8>) -> Vec<u8> {
    body
}

impl Conversation {
    /// A buyer that takes this suite first, and offers both.
    pub fn new(suite: Suite) -> Self {
        let other = Suite::ALL.into_iter().find(|other| *other != suite).unwrap();
        let buyer = BuyerConfig { suites: vec![suite, other], ..buyer_config(suite) };
        let world = World::with(seller_config(product()), buyer, draft());
        Self { world, record: Record::new(suite, BUYER_SEED) }
    }

    /// A first connection that stands still in the middle of a window, and the next one.
    pub fn second(suite: Suite, seller_dies: bool) -> (Record, Self) {
        let mut first = Self::new(suite);
        first.world.suite = suite;
        (first.world.source_end, first.world.endless) = (38, true);
        first.run(&mut honest);
        let Self { mut world, record } = first;
        assert_eq!(world.sink.len(), 38);
        if seller_dies {
            world.restart_seller();
        } else {
            world.reconnect();
        }
        (world.source_end, world.endless) = (u64::MAX, false);
        (record, Self { world, record: Record::new(suite, SECOND_BUYER_SEED) })
    }

    /// An honest conversation with everything on record.
    pub fn recorded(suite: Suite) -> Self {
        let mut conversation = Self::new(suite);
        conversation.run(&mut honest);
        conversation.world.both_settled();
        conversation
    }

    /// Runs until nothing moves.
    pub fn run(&mut self, change: Change<'_>) {
        for _ in 0..100_000 {
            if !self.turn(change) {
                return;
            }
        }
        panic!("the conversation does not come to rest");
    }

    fn turn(&mut self, change: Change<'_>) -> bool {
        while self.world.drive_seller() | self.world.drive_buyer() {}
        let now = self.world.now;
        let (mut to_seller, mut to_buyer) = (Vec::new(), Vec::new());
        self.world.buyer.poll_transmit(now, &mut to_seller);
        self.world.seller.poll_transmit(now, &mut to_buyer, 64 * 1024);
        self.world.to_seller = self.record.pass(&to_seller, false, change);
        self.world.to_buyer = self.record.pass(&to_buyer, true, change);
        self.world.step()
    }

    /// Why there is no session, or `None` where it came about: both live, and messages arrived.
    pub fn refused(&self) -> Option<Offence> {
        let refused = self.world.refused();
        assert!(refused.is_some() || !self.world.sink.is_empty(), "it neither failed nor came about");
        refused
    }
}

impl Record {
    fn new(suite: Suite, buyer: Key) -> Self {
        Self { suite, buyer, sent: BTreeMap::new(), heard: BTreeMap::new(), sealed: Vec::new() }
    }

    fn pass(&mut self, mut bytes: &[u8], to_buyer: bool, change: Change<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let header = FrameHeader::peek(bytes).unwrap().unwrap();
            let (frame, behind) = bytes.split_at(header.frame_len());
            bytes = behind;
            if header.kind == FrameKind::Sealed {
                self.sealed.push((to_buyer, frame.to_vec()));
                out.extend_from_slice(frame);
                continue;
            }
            let body = frame[FRAME_HEADER_LEN..].to_vec();
            self.sent.insert(header.kind.code(), body.clone());
            let body = change(self, header.kind, body);
            write_clear(&mut out, header.kind, &body);
            self.heard.insert(header.kind.code(), body);
        }
        out
    }

    pub fn sent(&self, kind: FrameKind) -> &[u8] {
        &self.sent[&kind.code()]
    }

    pub fn heard(&self, kind: FrameKind) -> &[u8] {
        &self.heard[&kind.code()]
    }

    /// The hash after menu', as the buyer has it and as the seller has it.
    pub fn th1(&self) -> (Key, Key) {
        let buyer = mirror::th1(self.sent(FrameKind::Hello), self.heard(FrameKind::Menu));
        (buyer, mirror::th1(self.heard(FrameKind::Hello), self.sent(FrameKind::Menu)))
    }

    /// The hash after order', likewise.
    pub fn th2(&self) -> (Key, Key) {
        let (buyer, seller) = self.th1();
        (mirror::th2(&buyer, self.sent(FrameKind::Order)), mirror::th2(&seller, self.heard(FrameKind::Order)))
    }

    /// The hash after session, at the seller.
    pub fn th3(&self) -> Key {
        mirror::th3(&self.th2().1, self.sent(FrameKind::Session))
    }

    /// Opens order' with the menu's sealing key: gives what is inside.
    pub fn open_order(&self, sealing_seed: Key, body: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Value::read(body);
        let suite = if sealed.member(1) == Some(&mut Value::Number(1)) { Suite::X25519 } else { Suite::XWing };
        let (enc, ct) = (sealed.member(2).unwrap().bytes().clone(), sealed.member(3).unwrap().bytes().clone());
        let secret = SealSecret::derive(suite, &Zeroizing::new(sealing_seed)).0;
        let info = hpke_info(INFO_ORDER, &Bytes32(self.th1().0));
        secret.open(&enc, &info, (&ct, &[]), EXPORT_TRAFFIC).ok().map(|opened| opened.plain.to_vec())
    }

    /// Seals what stands for an order to the menu's key, under the seller's view of the conversation.
    pub fn seal_order(&self, suite: Suite, plain: &[u8]) -> Vec<u8> {
        let public = SealSecret::derive(suite, &Zeroizing::new(SEALING_SEED)).1;
        let info = hpke_info(INFO_ORDER, &Bytes32(self.th1().1));
        let sender = suite.sender(&public, &info, &Zeroizing::new([77; 32])).unwrap();
        let sealed = sender.seal(plain, &[], EXPORT_TRAFFIC).unwrap();
        let suite = Value::Number(suite.code().into());
        Value::Map(vec![(1, suite), (2, Value::Bytes(sealed.enc)), (3, Value::Bytes(sealed.ct))]).write()
    }

    /// Changes what is inside order', with the menu's sealing key.
    pub fn in_order(&self, body: &[u8], change: impl FnOnce(Value) -> Value) -> Vec<u8> {
        let plain = self.open_order(SEALING_SEED, body).expect("the sealing key opens the order");
        self.seal_order(self.suite, &change(Value::read(&plain)).write())
    }

    /// The HPKE context of a session, at who has the buyer's fresh key (suite 1).
    pub fn context_of(&self, body: &[u8]) -> Context {
        let enc = Value::read(body).member(1).unwrap().bytes().clone();
        let info = hpke_info(INFO_SESSION, &Bytes32(self.th2().1));
        Context::of_recipient(&fresh_seed(self.buyer), &enc, &info)
    }

    /// Changes what is inside session under the same encapsulation, with the buyer's fresh key (suite 1).
    pub fn in_session(&self, body: &[u8], change: impl FnOnce(Value) -> Value) -> Vec<u8> {
        let (mut sealed, context) = (Value::read(body), self.context_of(body));
        let ct = sealed.member(2).unwrap().bytes();
        let plain = context.open(ct).expect("the fresh key opens the session");
        *ct = context.seal(&change(Value::read(&plain)).write());
        sealed.write()
    }

    /// Seals what is inside session anew to the buyer's fresh key, under the buyer's view of the conversation.
    pub fn reseal_session(&self, body: &[u8]) -> Vec<u8> {
        let mut sealed = Value::read(body);
        let (enc, ct) = (sealed.member(1).unwrap().bytes().clone(), sealed.member(2).unwrap().bytes().clone());
        let (secret, public) = SealSecret::derive(self.suite, &Zeroizing::new(fresh_seed(self.buyer)));
        let (buyer, seller) = self.th2();
        let opened = secret.open(&enc, &hpke_info(INFO_SESSION, &Bytes32(seller)), (&ct, &[]), EXPORT_TRAFFIC);
        let plain = opened.expect("the fresh key opens the session").plain;
        let info = hpke_info(INFO_SESSION, &Bytes32(buyer));
        let sender = self.suite.sender(&public, &info, &Zeroizing::new([78; 32])).unwrap();
        let sealed = sender.seal(&plain, &[], EXPORT_TRAFFIC).unwrap();
        Value::Map(vec![(1, Value::Bytes(sealed.enc)), (2, Value::Bytes(sealed.ct))]).write()
    }
}

/// Changes a signed statement and leaves its signature as it was: `0` its protected header, `2` its payload.
pub fn in_statement(statement: &[u8], part: usize, change: impl FnOnce(Value) -> Value) -> Vec<u8> {
    let mut value = Value::read(statement);
    let Value::Tagged(18, inner) = &mut value else { panic!("not a statement") };
    let Value::List(parts) = inner.as_mut() else { panic!("not a statement") };
    let bytes = parts[part].bytes();
    *bytes = change(Value::read(bytes)).write();
    value.write()
}

/// The part of a statement: `0` its protected header, `2` its payload.
pub fn part_of(statement: &[u8], part: usize) -> Value {
    let Value::Tagged(18, inner) = Value::read(statement) else { panic!("not a statement") };
    let Value::List(mut parts) = *inner else { panic!("not a statement") };
    Value::read(parts[part].bytes())
}
