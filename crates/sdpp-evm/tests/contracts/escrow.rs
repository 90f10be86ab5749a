//! The dual-deposit escrow: its rules, and that nobody gains by leaving them.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::{Eip712Domain, SolCall, SolStruct as _, SolValue as _};
use sdpp_evm::abi::SdppDualDeposit::{self as e, Terms};

use super::chain::{CHAIN, COIN, Chain, Done, Reverted, TestUsd, amount, key, sign_digest};

alloy::sol! {
    struct Delivery {
        bytes32 dealId;
        uint256 piece;
        bytes32 digest;
    }
}

const SELLER: u8 = 1;
const BUYER: u8 = 2;
const SIGNER: u8 = 3;
/// Nobody has its key.
const BURNED: Address = alloy::primitives::address!("0x000000000000000000000000000000000000dEaD");

/// Amounts of a deal.
#[derive(Clone, Copy, Debug)]
struct Stakes {
    price: u64,
    seller: u64,
    buyer: u64,
    cost: u64,
}

const STAKES: Stakes = Stakes { price: 100, seller: 50, buyer: 40, cost: 10 };

fn digest(piece: u8) -> B256 {
    keccak256([piece; 100])
}

fn leaf(piece: u64, digest: B256) -> B256 {
    keccak256(keccak256((amount(piece), digest).abi_encode()))
}

fn pair(one: B256, other: B256) -> B256 {
    keccak256([one.min(other), one.max(other)].concat())
}

struct World {
    chain: Chain,
    escrow: Address,
    terms: Terms,
    id: B256,
}

impl World {
    /// A good of two pieces.
    fn new(token: Address, stakes: Stakes) -> Self {
        let mut chain = Chain::new();
        let escrow = chain.deploy(&e::BYTECODE);
        let now = chain.now;
        let whole = |value: u64| alloy::primitives::Uint::<96, 2>::from(value);
        let time = |after: u64| alloy::primitives::Uint::<40, 1>::from(now + after);
        let terms = Terms {
            seller: key(SELLER).address(),
            buyer: key(BUYER).address(),
            token,
            price: whole(stakes.price),
            sellerDeposit: whole(stakes.seller),
            buyerDeposit: whole(stakes.buyer),
            cost: whole(stakes.cost),
            good: pair(leaf(0, digest(0)), leaf(1, digest(1))),
            signer: key(SIGNER).address(),
            lockBy: time(100),
            answerBy: time(200),
            salt: B256::ZERO,
        };
        let id = chain.look(escrow, &e::idOfCall { terms: terms.clone() });
        Self { chain, escrow, terms, id }
    }

    fn locked(stakes: Stakes) -> Self {
        let mut world = Self::new(COIN, stakes);
        world.offer().unwrap();
        world.lock().unwrap();
        world
    }

    fn call(&mut self, who: u8, call: &impl SolCall, value: u64) -> Result<Done, Reverted> {
        self.chain.call_at((key(who).address(), self.escrow), call, amount(value))
    }

    fn offer(&mut self) -> Result<Done, Reverted> {
        let value = self.terms.sellerDeposit.to();
        self.call(SELLER, &e::offerCall { terms: self.terms.clone() }, value)
    }

    fn lock(&mut self) -> Result<Done, Reverted> {
        let value = self.terms.price.to::<u64>() + self.terms.buyerDeposit.to::<u64>();
        self.call(BUYER, &e::lockCall { terms: self.terms.clone() }, value)
    }

    fn accept(&mut self) -> Result<Done, Reverted> {
        self.call(BUYER, &e::acceptCall { terms: self.terms.clone() }, 0)
    }

    fn signature(&self, signer: u8, piece: u64, digest: B256) -> Bytes {
        let domain = Eip712Domain::new(
            Some("SDPP Dual Deposit".into()),
            Some("1".into()),
            Some(U256::from(CHAIN)),
            Some(self.escrow),
            None,
        );
        let delivery = Delivery { dealId: self.id, piece: amount(piece), digest };
        sign_digest(&key(signer), delivery.eip712_signing_hash(&domain))
    }

    /// Complains of piece 1, of which the good has `digest(1)`.
    fn complain(&mut self, delivered: B256, signature: Bytes) -> Result<Done, Reverted> {
        let terms = self.terms.clone();
        let (piece, digest, expected) = (amount(1), delivered, digest(1));
        let proof = vec![leaf(0, self::digest(0))];
        self.call(BUYER, &e::complainCall { terms, piece, digest, signature, expected, proof }, 0)
    }

    fn owned(&mut self, account: Address) -> u64 {
        let token = self.terms.token;
        self.chain.look(self.escrow, &e::balanceOfCall { token, account }).to()
    }

    /// What seller, buyer and nobody have in the contract.
    fn split(&mut self) -> [u64; 3] {
        [key(SELLER).address(), key(BUYER).address(), BURNED].map(|account| self.owned(account))
    }
}

#[test]
fn an_accepted_good_is_paid_and_both_deposits_go_back() {
    let mut world = World::locked(STAKES);
    world.accept().unwrap();
    assert_eq!(world.split(), [150, 40, 0]);
    for who in [SELLER, BUYER] {
        let account = key(who).address();
        let before = world.chain.coins(account);
        let owned = world.owned(account);
        world.call(9, &e::withdrawCall { token: COIN, account }, 0).unwrap();
        assert_eq!(world.chain.coins(account) - before, amount(owned));
    }
    assert!(world.accept().unwrap_err().is::<e::BadState>());
}

#[test]
fn a_wrong_delivery_makes_the_buyer_whole_from_the_sellers_deposit() {
    let mut world = World::locked(STAKES);
    let signature = world.signature(SIGNER, 1, digest(7));
    world.complain(digest(7), signature).unwrap();
    // The price, its deposit, and what the complaint cost; the rest is burned.
    assert_eq!(world.split(), [0, 150, 40]);
}

#[test]
fn a_false_complaint_costs_the_buyers_deposit() {
    let mut world = World::locked(STAKES);
    let signature = world.signature(SIGNER, 1, digest(1));
    world.complain(digest(1), signature).unwrap();
    assert_eq!(world.split(), [160, 0, 30]);
}

#[test]
fn a_complaint_without_the_sellers_signature_burns_all() {
    for (signer, piece, signed) in [(BUYER, 1, digest(7)), (SIGNER, 0, digest(7)), (SIGNER, 1, digest(8))] {
        let mut world = World::locked(STAKES);
        let signature = world.signature(signer, piece, signed);
        world.complain(digest(7), signature).unwrap();
        assert_eq!(world.split(), [0, 0, 190]);
    }
    let mut world = World::locked(STAKES);
    world.complain(digest(7), Bytes::new()).unwrap();
    assert_eq!(world.split(), [0, 0, 190]);
}

#[test]
fn a_complaint_about_another_good_says_nothing() {
    let mut world = World::locked(STAKES);
    let terms = world.terms.clone();
    let signature = world.signature(SIGNER, 1, digest(7));
    for (piece, expected, proof) in
        [(1, digest(7), vec![leaf(0, digest(0))]), (0, digest(1), vec![leaf(0, digest(0))]), (1, digest(1), vec![])]
    {
        let complain = e::complainCall {
            terms: terms.clone(),
            piece: amount(piece),
            digest: digest(7),
            signature: signature.clone(),
            expected,
            proof,
        };
        assert!(world.call(BUYER, &complain, 0).unwrap_err().is::<e::NotOfTheGood>());
    }
    // And may still be answered.
    world.accept().unwrap();
}

#[test]
fn silence_before_the_lock_gives_the_seller_its_deposit_back_and_afterwards_burns_all() {
    let mut world = World::new(COIN, STAKES);
    world.offer().unwrap();
    let cancel = e::cancelCall { terms: world.terms.clone() };
    assert!(world.call(SELLER, &cancel, 0).unwrap_err().is::<e::TooEarly>());
    world.chain.now += 101;
    assert!(world.lock().unwrap_err().is::<e::TooLate>());
    assert!(world.call(BUYER, &cancel, 0).unwrap_err().is::<e::NotAllowed>());
    world.call(SELLER, &cancel, 0).unwrap();
    assert_eq!(world.split(), [50, 0, 0]);

    let mut world = World::locked(STAKES);
    let expire = e::expireCall { terms: world.terms.clone() };
    world.chain.now += 200;
    assert!(world.call(9, &expire, 0).unwrap_err().is::<e::TooEarly>());
    world.chain.now += 1;
    assert!(world.accept().unwrap_err().is::<e::TooLate>());
    world.call(9, &expire, 0).unwrap();
    assert_eq!(world.split(), [0, 0, 190]);
    assert!(world.call(9, &expire, 0).unwrap_err().is::<e::BadState>());
}

#[test]
fn only_the_two_of_a_deal_act_in_it_and_terms_make_sense() {
    let mut world = World::new(COIN, STAKES);
    let good = world.terms.clone();
    let zero = alloy::primitives::Uint::<96, 2>::from(9u8);
    for bad in [
        Terms { buyer: good.seller, ..good.clone() },
        Terms { buyer: Address::ZERO, ..good.clone() },
        Terms { signer: Address::ZERO, ..good.clone() },
        Terms { sellerDeposit: zero, ..good.clone() },
        Terms { buyerDeposit: zero, ..good.clone() },
        Terms { answerBy: good.lockBy, ..good.clone() },
        Terms { lockBy: alloy::primitives::Uint::<40, 1>::from(world.chain.now), ..good.clone() },
    ] {
        let value = bad.sellerDeposit.to();
        assert!(world.call(SELLER, &e::offerCall { terms: bad }, value).unwrap_err().is::<e::BadTerms>());
    }
    assert!(world.call(9, &e::offerCall { terms: good.clone() }, 50).unwrap_err().is::<e::NotAllowed>());
    assert!(world.call(SELLER, &e::offerCall { terms: good.clone() }, 49).unwrap_err().is::<e::BadAmount>());
    world.offer().unwrap();
    assert!(world.offer().unwrap_err().is::<e::BadState>());
    assert!(world.call(9, &e::lockCall { terms: good.clone() }, 140).unwrap_err().is::<e::NotAllowed>());
    assert!(world.call(BUYER, &e::lockCall { terms: good.clone() }, 139).unwrap_err().is::<e::BadAmount>());
    world.lock().unwrap();
    for stranger in [SELLER, SIGNER, 9] {
        assert!(world.call(stranger, &e::acceptCall { terms: good.clone() }, 0).unwrap_err().is::<e::NotAllowed>());
    }
}

#[test]
fn tokens_are_held_as_coins_are() {
    let mut chain = Chain::new();
    let token = chain.deploy(&TestUsd::BYTECODE);
    let mut world = World::new(COIN, STAKES);
    // The same chain, so that the token is there.
    world.chain = chain;
    world.escrow = world.chain.deploy(&e::BYTECODE);
    world.terms.token = token;
    world.id = world.chain.look(world.escrow, &e::idOfCall { terms: world.terms.clone() });
    for who in [SELLER, BUYER] {
        let account = key(who).address();
        let mint = TestUsd::mintCall { to: account, amount: amount(500) };
        world.chain.call_at((account, token), &mint, U256::ZERO).unwrap();
        let approve = TestUsd::approveCall { spender: world.escrow, value: U256::MAX };
        world.chain.call_at((account, token), &approve, U256::ZERO).unwrap();
    }
    world.call(SELLER, &e::offerCall { terms: world.terms.clone() }, 0).unwrap();
    world.call(BUYER, &e::lockCall { terms: world.terms.clone() }, 0).unwrap();
    world.accept().unwrap();
    let account = key(SELLER).address();
    world.call(9, &e::withdrawCall { token, account }, 0).unwrap();
    assert_eq!(world.chain.look(token, &TestUsd::balanceOfCall { account }), amount(600));
}

/// What the seller does once both have locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Delivers {
    Right,
    Wrong,
    Nothing,
}

/// What the buyer answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answers {
    Accepts,
    /// With what the seller has signed.
    Complains,
    Invents,
    Silent,
}

/// What seller and buyer have gained, by the contract itself: the good is worth `value` to the buyer and costs the seller
/// `work` to deliver; a complaint costs the buyer the deal's `cost`.
fn gains(stakes: Stakes, (value, work): (i64, i64), delivers: Delivers, answers: Answers) -> Option<[i64; 2]> {
    let mut world = World::locked(stakes);
    let delivered = match delivers {
        Delivers::Right => Some(digest(1)),
        Delivers::Wrong => Some(digest(7)),
        Delivers::Nothing => None,
    };
    let mut gas = 0;
    match answers {
        Answers::Accepts => drop(world.accept().unwrap()),
        Answers::Complains => {
            let signature = world.signature(SIGNER, 1, delivered?);
            world.complain(delivered?, signature).unwrap();
            gas = i64::try_from(stakes.cost).unwrap();
        }
        Answers::Invents => {
            let signature = world.signature(BUYER, 1, digest(8));
            world.complain(digest(8), signature).unwrap();
            gas = i64::try_from(stakes.cost).unwrap();
        }
        Answers::Silent => {
            world.chain.now += 201;
            world.call(9, &e::expireCall { terms: world.terms.clone() }, 0).unwrap();
        }
    }
    let [seller, buyer, _] = world.split().map(|owned| i64::try_from(owned).unwrap());
    let [price, seller_deposit, buyer_deposit] =
        [stakes.price, stakes.seller, stakes.buyer].map(|stake| i64::try_from(stake).unwrap());
    let has = if delivers == Delivers::Right { value } else { 0 };
    let worked = if delivers == Delivers::Nothing { 0 } else { work };
    Some([seller - seller_deposit - worked, buyer - price - buyer_deposit + has - gas])
}

/// The paper's claim: where both keep to the protocol, neither gains by leaving it alone. The seller delivers what was agreed;
/// the buyer accepts that, complains of anything else, and pays for nothing it has not got.
#[test]
fn nobody_gains_by_leaving_the_protocol_alone() {
    let keeps = |delivers| match delivers {
        Delivers::Right => Answers::Accepts,
        Delivers::Wrong => Answers::Complains,
        Delivers::Nothing => Answers::Silent,
    };
    let mut deals = 0;
    for (price, value) in [(10, 12), (100, 110), (100, 1_000), (1_000, 1_001)] {
        for work in [0, 1, price / 2] {
            for deposit in [1, 10, price] {
                for cost in [0, 1, deposit] {
                    let [price, seller, cost] = [price, deposit, cost].map(|stake| u64::try_from(stake).unwrap());
                    let stakes = Stakes { price, seller, buyer: seller, cost };
                    let outcome = |delivers, answers| gains(stakes, (value, work), delivers, answers);
                    let [honest_seller, honest_buyer] = outcome(Delivers::Right, Answers::Accepts).unwrap();
                    assert!(honest_seller >= 0 && honest_buyer > 0, "both gain by the deal");
                    for delivers in [Delivers::Wrong, Delivers::Nothing] {
                        let [other, _] = outcome(delivers, keeps(delivers)).unwrap();
                        assert!(other < honest_seller, "{stakes:?}: a seller gains by {delivers:?}");
                    }
                    for answers in [Answers::Complains, Answers::Invents, Answers::Silent] {
                        let [_, other] = outcome(Delivers::Right, answers).unwrap();
                        assert!(other < honest_buyer, "{stakes:?}: a buyer gains by {answers:?}");
                    }
                    // Who was delivered something else loses nothing by saying so, and much by anything else.
                    let [_, whole] = outcome(Delivers::Wrong, Answers::Complains).unwrap();
                    assert_eq!(whole, 0, "{stakes:?}: made whole");
                    for answers in [Answers::Accepts, Answers::Invents, Answers::Silent] {
                        let [_, other] = outcome(Delivers::Wrong, answers).unwrap();
                        assert!(other < whole, "{stakes:?}: a cheated buyer gains by {answers:?}");
                    }
                    deals += 1;
                }
            }
        }
    }
    assert!(deals > 100);
}
