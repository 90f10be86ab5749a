//! The bond behind invoices: two digests for one window.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use sdpp_evm::abi::SdppBond::{self as b, Terms};
use sdpp_evm::bond;
use sdpp_evm::typed::Place;
use sdpp_proto::codec::{Digest, StatementId};
use sdpp_proto::cose;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Invoice, Payment, Signed};
use sdpp_proto::time::Timestamp;
use zeroize::Zeroizing;

use super::chain::{CHAIN, COIN, Chain, Done, Reverted, TestUsd, amount, key};

pub(crate) const OWNER: u8 = 1;
pub(crate) const SHOWER: u8 = 2;
pub(crate) const STRANGER: u8 = 3;
pub(crate) const BOND: u64 = 1_000;
pub(crate) const AWARD: u64 = 400;
pub(crate) const NOTICE: u32 = 100_000;
pub(crate) const STAKE: u64 = 30;
pub(crate) const ANSWER_WITHIN: u32 = 7_200;
pub(crate) const KEEP: u32 = 500_000;
/// States of a bond.
pub(crate) const STANDING: u8 = 1;
pub(crate) const LOST: u8 = 2;
pub(crate) const RELEASED: u8 = 3;
/// Nobody has its key.
pub(crate) const BURNED: Address = alloy::primitives::address!("0x000000000000000000000000000000000000dEaD");

/// An identity of a number; the same each time.
pub(crate) fn identity(number: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([number; 32]))
}

/// An invoice of the seller's, of an order and with a number.
pub(crate) fn invoice(order: u8, n: u64) -> Invoice {
    Invoice {
        order_id: StatementId([order; 32]),
        n,
        windows: 1,
        prev: StatementId([order; 32]),
        first: n * 10,
        count: 10,
        bytes: 1_000,
        t_start: None,
        t_end: None,
        digest: Digest([7; 32]),
        units_total: (n + 1) * 10,
        due: Amount::new(u128::from(n + 1) * 10),
        paid: Amount::ZERO,
        paid_by: None,
        last: false,
    }
}

/// The same with another digest.
fn lie(invoice: &Invoice, digest: u8) -> Invoice {
    Invoice { digest: Digest([digest; 32]), ..invoice.clone() }
}

pub(crate) fn signed(body: Invoice) -> Signed<Invoice> {
    Signed::sign(&identity(1), body)
}

pub(crate) fn bytes(invoice: &Signed<Invoice>) -> Bytes {
    invoice.bytes().to_vec().into()
}

pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) at: Address,
    pub(crate) terms: Terms,
}

impl World {
    /// Nothing is posted yet.
    pub(crate) fn new() -> Self {
        let mut chain = Chain::new();
        let at = chain.deploy(&b::BYTECODE);
        let terms = Terms {
            owner: key(OWNER).address(),
            token: COIN,
            key: identity(1).public().as_bytes().into(),
            award: alloy::primitives::Uint::from(AWARD),
            stake: alloy::primitives::Uint::from(STAKE),
            answerWithin: ANSWER_WITHIN,
            keep: KEEP,
            notice: NOTICE,
            salt: B256::ZERO,
        };
        Self { chain, at, terms }
    }

    pub(crate) fn posted() -> Self {
        let mut world = Self::new();
        world.post(BOND).unwrap();
        world
    }

    pub(crate) fn id(&self) -> B256 {
        bond::id(&Place { chain: CHAIN, contract: self.at }, &self.terms)
    }

    pub(crate) fn call(&mut self, who: u8, call: &impl SolCall, value: u64) -> Result<Done, Reverted> {
        self.chain.call_at((key(who).address(), self.at), call, amount(value))
    }

    pub(crate) fn post(&mut self, value: u64) -> Result<Done, Reverted> {
        let amount = alloy::primitives::Uint::from(value);
        self.call(OWNER, &b::postCall { terms: self.terms.clone(), amount }, value)
    }

    /// Time for some blocks.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.chain.now += seconds;
    }

    /// Announces, waits for the next block, and shows.
    pub(crate) fn show(&mut self, who: u8, one: Bytes, other: Bytes) -> Result<Done, Reverted> {
        let call = b::showTwoCall { terms: self.terms.clone(), one, other };
        let commitment = bond::commitment(key(who).address(), &call);
        self.call(who, &b::announceCall { commitment }, 0).unwrap();
        self.wait(12);
        self.call(who, &call, 0)
    }

    pub(crate) fn show_signed(&mut self, one: &Signed<Invoice>, other: &Signed<Invoice>) -> Result<Done, Reverted> {
        self.show(SHOWER, bytes(one), bytes(other))
    }

    pub(crate) fn bond(&mut self) -> b::Bond {
        let id = self.id();
        self.chain.look(self.at, &b::bondOfCall { id })
    }

    pub(crate) fn owned(&mut self, account: Address) -> u64 {
        let token = self.terms.token;
        self.chain.look(self.at, &b::balanceOfCall { token, account }).to()
    }

    /// What owner, shower and nobody have in the contract.
    pub(crate) fn split(&mut self) -> [u64; 3] {
        [key(OWNER).address(), key(SHOWER).address(), BURNED].map(|account| self.owned(account))
    }

    pub(crate) fn release(&mut self) -> Result<Done, Reverted> {
        self.call(STRANGER, &b::releaseCall { terms: self.terms.clone() }, 0)
    }

    pub(crate) fn request_release(&mut self) -> Result<Done, Reverted> {
        self.call(OWNER, &b::requestReleaseCall { terms: self.terms.clone() }, 0)
    }
}

#[test]
fn two_digests_for_one_window_are_paid_from_the_bond() {
    let mut world = World::posted();
    let (one, other) = (signed(invoice(5, 3)), signed(lie(&invoice(5, 3), 8)));
    let call = bond::show_two(&world.terms, &one, &other).unwrap();
    assert_eq!((&call.one, &call.other), (&bytes(&one), &bytes(&other)));
    let done = world.show_signed(&one, &other).unwrap();
    println!("showTwo: {} gas", done.gas);
    let lost: b::Lost = done.event();
    assert_eq!(
        (lost.id, lost.paid, lost.award, lost.burned),
        (world.id(), key(SHOWER).address(), amount(AWARD), amount(BOND - AWARD))
    );
    assert_eq!(world.split(), [0, AWARD, BOND - AWARD]);
    assert_eq!(world.bond().state, LOST);
    // Once: nothing is left, and the id is not used again.
    assert!(world.show_signed(&one, &other).unwrap_err().is::<b::BadState>());
    assert!(world.post(BOND).unwrap_err().is::<b::BadState>());
    let account = key(SHOWER).address();
    let before = world.chain.coins(account);
    world.call(STRANGER, &b::withdrawCall { token: COIN, account }, 0).unwrap();
    assert_eq!(world.chain.coins(account) - before, amount(AWARD));
}

/// Everything else may differ, in any order, with any field that invoices may have.
#[test]
fn invoices_of_every_form_are_read() {
    let full = Invoice {
        n: u64::MAX,
        windows: u32::MAX,
        first: 1 << 32,
        count: 65_536,
        bytes: 256,
        t_start: Some(Timestamp::from_ms(1)),
        t_end: Some(Timestamp::from_ms(1_800_000_000_000)),
        units_total: 24,
        due: Amount::new(u128::MAX),
        paid: Amount::new(1 << 64),
        paid_by: Some(StatementId([9; 32])),
        last: true,
        ..invoice(5, 0)
    };
    let bodies = [
        full.clone(),
        Invoice { t_start: None, t_end: None, due: Amount::new(u128::from(u64::MAX)), ..full.clone() },
        Invoice { paid_by: None, windows: 0, first: 23, count: 24, bytes: 255, units_total: 65_535, ..full.clone() },
        Invoice { last: false, first: 0, count: 0, bytes: u64::from(u32::MAX), paid: Amount::new(23), ..full },
    ];
    for one in &bodies {
        for other in &bodies {
            let mut world = World::posted();
            world.show_signed(&signed(one.clone()), &signed(lie(other, 8))).unwrap();
            assert_eq!(world.split(), [0, AWARD, BOND - AWARD]);
        }
    }
}

#[test]
fn what_is_no_second_digest_costs_nothing() {
    let mut world = World::posted();
    let body = invoice(5, 3);
    let one = signed(body.clone());
    // Other terms for the same bytes, other numbers, other orders: none is a second digest for one window.
    for other in [
        body.clone(),
        Invoice { due: Amount::new(99), paid: Amount::new(7), last: true, ..body.clone() },
        lie(&Invoice { n: 4, ..body.clone() }, 8),
        lie(&Invoice { order_id: StatementId([6; 32]), ..body.clone() }, 8),
    ] {
        let other = signed(other);
        assert!(bond::show_two(&world.terms, &one, &other).is_none());
        assert!(world.show_signed(&one, &other).unwrap_err().is::<b::NotTwo>());
        assert!(world.show_signed(&other, &one).unwrap_err().is::<b::NotTwo>());
    }
    assert_eq!((world.bond().state, world.split()), (STANDING, [0, 0, 0]));
}

#[test]
fn only_what_the_key_signed_counts() {
    let mut world = World::posted();
    let (one, other) = (signed(invoice(5, 3)), lie(&invoice(5, 3), 8));
    let strangers = Signed::sign(&identity(2), other.clone());
    assert!(bond::show_two(&world.terms, &one, &strangers).is_none());
    assert!(world.show_signed(&one, &strangers).unwrap_err().is::<b::BadSignature>());
    assert!(world.show_signed(&strangers, &one).unwrap_err().is::<b::BadSignature>());
    // A stranger's statement in the seller's name, and the seller's signature under something else.
    let other = signed(other);
    for place in 0..64 {
        let mut forged = other.bytes().to_vec();
        let at = forged.len() - 64 + place;
        forged[at] ^= 1;
        assert!(world.show(SHOWER, bytes(&one), forged.into()).unwrap_err().is::<b::BadSignature>());
    }
    let mut forged = other.bytes().to_vec();
    let end = forged.len();
    forged[end - 64..].copy_from_slice(&one.bytes()[one.bytes().len() - 64..]);
    assert!(world.show(SHOWER, bytes(&one), forged.into()).unwrap_err().is::<b::BadSignature>());
    assert_eq!((world.bond().state, world.split()), (STANDING, [0, 0, 0]));
}

/// With the seller's own signature under it: none of these is a statement of the protocol.
#[test]
fn a_statement_that_is_no_invoice_is_refused() {
    let mut world = World::posted();
    let good = signed(invoice(5, 3));
    let body = lie(&invoice(5, 3), 8);
    let payload = sdpp_proto::codec::encode(&body);
    let subject = format!("order:{}", body.order_id);
    let sign = |kind: &str, subject: &str, payload: &[u8]| cose::sign(&identity(1), kind, subject, payload).0;
    let kind = cose::content_type("invoice");
    assert_eq!(sign(&kind, &subject, &payload), signed(body.clone()).bytes().to_vec());
    let mut wrong = vec![
        // Of another kind, or about something else.
        sign(&cose::content_type("payment"), &subject, &payload),
        sign(&cose::content_type("default"), &subject, &payload),
        sign(&cose::content_type("acceptance"), &subject, &payload),
        sign(&kind, &format!("order:{}", StatementId([6; 32])), &payload),
        sign(&kind, &subject.to_uppercase(), &payload),
        sign(&kind, &identity(1).public().did(), &payload),
        sign(&kind, "", &payload),
        // With something missing, or left over.
        sign(&kind, &subject, &[]),
        sign(&kind, &subject, &[&payload[..], &[0]].concat()),
        sign(&kind, &subject, &payload[..payload.len() - 1]),
    ];
    let other = StatementId([5; 32]);
    let (prev, invoice_id, total, channel, proof) = (other, other, Amount::ZERO, None, None);
    let payment = Payment { order_id: other, prev, invoice_id, total, channel, proof };
    wrong.push(Signed::sign(&identity(1), payment).bytes().to_vec());
    // With a header of another length.
    let header = good.bytes()[4..173].to_vec();
    wrong.push(under(&[&header[..], &[0]].concat(), &payload));
    wrong.push(under(&header[..header.len() - 1], &payload));
    wrong.push(under(&[], &payload));
    assert_eq!(under(&header, &payload), signed(body).bytes().to_vec());
    // Spelled longer, with a field twice, or in another order.
    wrong.extend(misspelled(&payload).iter().map(|payload| sign(&kind, &subject, payload)));
    for statement in wrong {
        assert!(Signed::<Invoice>::parse(&statement).is_err(), "the program believes none of them either");
        let statement: Bytes = statement.into();
        assert!(world.show(SHOWER, bytes(&good), statement.clone()).unwrap_err().is::<b::BadStatement>());
        assert!(world.show(SHOWER, statement, bytes(&good)).unwrap_err().is::<b::BadStatement>());
    }
    assert_eq!((world.bond().state, world.split()), (STANDING, [0, 0, 0]));
}

/// What the seller has signed under any protected header.
fn under(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let text = |bytes: &[u8]| match u8::try_from(bytes.len()).unwrap() {
        length @ 0..24 => [&[0x40 | length][..], bytes].concat(),
        length => [&[0x58, length][..], bytes].concat(),
    };
    let signature = identity(1).sign(&cose::sig_structure(header, payload));
    [&[0xd2, 0x84][..], &text(header), &[0xa0], &text(payload), &text(&signature)].concat()
}

/// Second spellings of an invoice's payload: `af`, or less where fields are missing, then key and value of each field.
fn misspelled(payload: &[u8]) -> Vec<Vec<u8>> {
    let splice = |place: usize, length: usize, with: &[u8]| {
        let mut changed = payload.to_vec();
        changed.splice(place..place + length, with.iter().copied());
        changed
    };
    // Behind the order's id: 02 03 is n, 03 01 the windows.
    assert_eq!(payload[36..40], [2, 3, 3, 1]);
    let mut more = splice(0, 1, &[payload[0] + 1]);
    more.extend([16, 0]);
    let mut swapped = payload.to_vec();
    swapped[36..40].copy_from_slice(&[3, 1, 2, 3]);
    let due = payload.windows(3).rposition(|window| window == [12, 0x18, 40]).unwrap();
    vec![
        more,
        swapped,
        splice(0, 1, &[0xb8, payload[0] - 0xa0]),
        splice(0, 1, &[0xbf]),
        splice(0, 1, &[payload[0] + 1]),
        splice(0, 1, &[payload[0] - 1]),
        splice(37, 1, &[0x18, 3]),
        splice(37, 1, &[0x19, 0, 3]),
        splice(37, 1, &[0x1a, 0, 0, 0, 3]),
        splice(37, 1, &[0x1b, 0, 0, 0, 0, 0, 0, 0, 3]),
        splice(37, 1, &[0x1c]),
        splice(37, 1, &[0x23]),
        splice(39, 1, &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]),
        splice(36, 1, &[0x18, 2]),
        splice(36, 2, &[]),
        splice(36, 0, &[2, 3]),
        splice(due + 1, 2, &[0xc2, 0x41, 40]),
        splice(due + 1, 2, &[0xc2, 0x49, 0, 0, 0, 0, 0, 0, 0, 0, 40]),
        splice(due + 1, 2, &[0xc2, 0x51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        splice(payload.len() - 1, 1, &[0xf6]),
    ]
}

#[test]
fn a_statement_with_any_byte_changed_added_or_missing_is_refused() {
    let mut world = World::posted();
    let (good, other) = (signed(invoice(5, 3)), signed(lie(&invoice(5, 3), 8)));
    let whole = other.bytes().to_vec();
    let mut tries = Vec::new();
    for place in 0..whole.len() {
        tries.push(whole[..place].to_vec());
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        tries.push(changed);
    }
    tries.push([&whole[..], &[0]].concat());
    tries.push(Vec::new());
    for statement in tries {
        let error = world.show(SHOWER, statement.into(), bytes(&good)).unwrap_err();
        assert!(error.is::<b::BadStatement>() || error.is::<b::BadSignature>() || error.is::<b::NotTwo>(), "{error:?}");
    }
    assert_eq!((world.bond().state, world.split()), (STANDING, [0, 0, 0]));
}

#[test]
fn whoever_announced_first_is_paid_and_nobody_who_copies() {
    let mut world = World::posted();
    let (one, other) = (bytes(&signed(invoice(5, 3))), bytes(&signed(lie(&invoice(5, 3), 8))));
    let call = b::showTwoCall { terms: world.terms.clone(), one: one.clone(), other: other.clone() };
    assert!(world.call(SHOWER, &call, 0).unwrap_err().is::<b::TooEarly>(), "never announced");
    let commitment = bond::commitment(key(SHOWER).address(), &call);
    let announced = world.call(SHOWER, &b::announceCall { commitment }, 0).unwrap();
    println!("announce: {} gas", announced.gas);
    assert!(world.call(SHOWER, &call, 0).unwrap_err().is::<b::TooEarly>(), "in the same block");
    world.wait(12);
    // Who sees the transaction and sends the same, or announces only now, is too late; so is a second word for it.
    assert!(world.call(STRANGER, &call, 0).unwrap_err().is::<b::TooEarly>());
    let copied = bond::commitment(key(STRANGER).address(), &call);
    world.call(STRANGER, &b::announceCall { commitment: copied }, 0).unwrap();
    assert!(world.call(STRANGER, &call, 0).unwrap_err().is::<b::TooEarly>());
    world.call(STRANGER, &b::announceCall { commitment }, 0).unwrap();
    let (by, said) = (key(SHOWER).address(), b::commitmentOfCall { by: key(SHOWER).address(), one, other });
    assert_eq!(world.chain.look(world.at, &said), bond::commitment(by, &call));
    world.call(SHOWER, &call, 0).unwrap();
    assert_eq!(world.split(), [0, AWARD, BOND - AWARD]);
}

#[test]
fn a_bond_is_released_after_its_notice_and_stands_until_then() {
    let mut world = World::posted();
    assert!(world.release().unwrap_err().is::<b::TooEarly>(), "nobody has asked for it");
    let request = b::requestReleaseCall { terms: world.terms.clone() };
    assert!(world.call(STRANGER, &request, 0).unwrap_err().is::<b::NotAllowed>());
    world.request_release().unwrap();
    assert!(world.request_release().unwrap_err().is::<b::NotAllowed>(), "once");
    world.wait(u64::from(NOTICE) - 1);
    assert!(world.release().unwrap_err().is::<b::TooEarly>());
    // Whoever has a proof has the notice to show it in.
    let (one, other) = (signed(invoice(5, 3)), signed(lie(&invoice(5, 3), 8)));
    let mut shown = World::posted();
    shown.request_release().unwrap();
    shown.wait(u64::from(NOTICE) - 12);
    shown.show_signed(&one, &other).unwrap();
    assert!(shown.release().unwrap_err().is::<b::BadState>());
    assert_eq!(shown.split(), [0, AWARD, BOND - AWARD]);

    world.wait(1);
    println!("release: {} gas", world.release().unwrap().gas);
    assert_eq!((world.bond().state, world.split()), (RELEASED, [BOND, 0, 0]));
    assert!(world.show_signed(&one, &other).unwrap_err().is::<b::BadState>());
    for again in [world.release(), world.request_release(), world.post(BOND)] {
        assert!(again.unwrap_err().is::<b::BadState>());
    }
}

#[test]
fn a_bond_has_terms_that_make_sense_and_grows() {
    let mut world = World::new();
    let good = world.terms.clone();
    let small = alloy::primitives::Uint::<96, 2>::from(BOND / 2 + 1);
    let mut identity = [0; 32];
    identity[0] = 1;
    for bad in [
        Terms { award: alloy::primitives::Uint::ZERO, ..good.clone() },
        Terms { award: small, ..good.clone() },
        // Who may go before it has to answer need not answer.
        Terms { notice: ANSWER_WITHIN, ..good.clone() },
        Terms { notice: 0, answerWithin: 0, ..good.clone() },
        Terms { answerWithin: 299, ..good.clone() },
        Terms { stake: alloy::primitives::Uint::ZERO, ..good.clone() },
        // Keys of small order: anybody could sign for them.
        Terms { key: B256::ZERO, ..good.clone() },
        Terms { key: identity.into(), ..good.clone() },
    ] {
        world.terms = bad;
        assert!(world.post(BOND).unwrap_err().is::<b::BadTerms>());
    }
    world.terms = good;
    let post = b::postCall { terms: world.terms.clone(), amount: alloy::primitives::Uint::from(BOND) };
    assert!(world.call(STRANGER, &post, BOND).unwrap_err().is::<b::NotAllowed>());
    assert!(world.call(OWNER, &post, BOND - 1).unwrap_err().is::<b::BadAmount>());
    let top_up = b::topUpCall { terms: world.terms.clone(), amount: alloy::primitives::Uint::from(50) };
    assert!(world.call(STRANGER, &top_up, 50).unwrap_err().is::<b::BadState>());
    println!("post: {} gas", world.post(BOND).unwrap().gas);
    assert!(world.post(BOND).unwrap_err().is::<b::BadState>());
    assert!(world.call(STRANGER, &top_up, 49).unwrap_err().is::<b::BadAmount>());
    println!("topUp: {} gas", world.call(STRANGER, &top_up, 50).unwrap().gas);
    let bond = world.bond();
    assert_eq!((bond.amount.to::<u64>(), bond.since.to::<u64>()), (BOND + 50, world.chain.now));
    world.request_release().unwrap();
    world.wait(u64::from(NOTICE));
    world.release().unwrap();
    assert_eq!(world.split(), [BOND + 50, 0, 0]);
}

#[test]
fn a_bond_of_tokens_is_held_as_coins_are() {
    let mut world = World::new();
    let token = world.chain.deploy(&TestUsd::BYTECODE);
    world.terms.token = token;
    let account = key(OWNER).address();
    let mint = TestUsd::mintCall { to: account, amount: amount(BOND) };
    world.chain.call_at((account, token), &mint, U256::ZERO).unwrap();
    let approve = TestUsd::approveCall { spender: world.at, value: U256::MAX };
    world.chain.call_at((account, token), &approve, U256::ZERO).unwrap();
    let post = b::postCall { terms: world.terms.clone(), amount: alloy::primitives::Uint::from(BOND) };
    assert!(world.call(OWNER, &post, BOND).unwrap_err().is::<b::BadAmount>(), "coins for tokens");
    world.call(OWNER, &post, 0).unwrap();
    world.show_signed(&signed(invoice(5, 3)), &signed(lie(&invoice(5, 3), 8))).unwrap();
    let account = key(SHOWER).address();
    world.call(STRANGER, &b::withdrawCall { token, account }, 0).unwrap();
    assert_eq!(world.chain.look(token, &TestUsd::balanceOfCall { account }), amount(AWARD));
}
