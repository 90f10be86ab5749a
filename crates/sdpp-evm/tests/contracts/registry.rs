//! Products on the chain, and ratings by those who have paid or were paid.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::{SolCall, SolValue as _};
use sdpp_evm::abi::SdppChannels::{self as c, Terms};
use sdpp_evm::abi::registry::{SdppChannels::Terms as Named, SdppRegistry as r};

use super::chain::{COIN, Chain, Done, Reverted, amount, key, terms};

struct World {
    chain: Chain,
    registry: Address,
}

impl World {
    fn new() -> Self {
        let mut chain = Chain::new();
        let channels = chain.channels;
        let registry = chain.deploy_with(&r::BYTECODE, &channels.abi_encode());
        Self { chain, registry }
    }

    fn call(&mut self, who: u8, call: &impl SolCall) -> Result<Done, Reverted> {
        self.chain.call_at((key(who).address(), self.registry), call, U256::ZERO)
    }

    fn look<C: SolCall>(&mut self, call: &C) -> C::Return {
        self.chain.look(self.registry, call)
    }

    /// A channel that was closed after it had brought so much.
    fn settled(&mut self, salt: u8, paid: u64) -> Terms {
        let terms = terms(COIN, salt);
        let id = self.chain.place().channel_id(&terms);
        self.chain.open(&terms, 1_000).unwrap();
        let last = self.chain.voucher(&key(3), id, paid);
        self.chain.call(&key(2), &c::closeCall { last }).unwrap();
        terms
    }

    fn rate(&mut self, who: u8, terms: &Terms, points: u8) -> Result<Done, Reverted> {
        let terms = Named {
            payer: terms.payer,
            payee: terms.payee,
            token: terms.token,
            signer: terms.signer,
            grace: terms.grace,
            salt: terms.salt,
        };
        self.call(who, &r::rateCall { terms, points, review: B256::ZERO })
    }
}

fn post(name: u8, location: &str) -> r::postCall {
    r::postCall { name: B256::repeat_byte(name), listing: B256::repeat_byte(9), location: location.into() }
}

#[test]
fn products_are_posted_changed_and_retired_by_their_owners_only() {
    let mut world = World::new();
    world.call(1, &post(1, "https://one.example/menu")).unwrap();
    world.call(2, &post(1, "https://two.example/menu")).unwrap();
    assert!(world.call(1, &post(1, "again")).unwrap_err().is::<r::Known>());
    assert!(world.call(1, &post(2, &"x".repeat(257))).unwrap_err().is::<r::TooLong>());
    let update =
        r::updateCall { index: amount(0), listing: B256::repeat_byte(8), location: "https://new.example".into() };
    assert!(world.call(2, &update).unwrap_err().is::<r::NotAllowed>());
    world.call(1, &update).unwrap();
    let retire = r::retireCall { index: amount(1) };
    assert!(world.call(1, &retire).unwrap_err().is::<r::NotAllowed>());
    world.call(2, &retire).unwrap();
    assert!(world.call(2, &retire).unwrap_err().is::<r::AlreadyRetired>());
    assert!(world.call(1, &r::retireCall { index: amount(2) }).unwrap_err().is::<r::NotAllowed>());

    assert_eq!(world.look(&r::countCall {}), amount(2));
    let all = world.look(&r::productsCall { first: U256::ZERO, most: amount(10) });
    assert_eq!((all[0].owner, all[0].version, all[0].isRetired), (key(1).address(), 1, false));
    assert_eq!((all[0].listing, all[0].location.as_str()), (B256::repeat_byte(8), "https://new.example"));
    assert_eq!((all[1].owner, all[1].isRetired), (key(2).address(), true));
    let page = |first, most| r::productsCall { first: amount(first), most: amount(most) };
    for (first, most, found) in [(0, 1, 1), (1, 1, 1), (1, 5, 1), (2, 5, 0), (9, 5, 0), (0, 0, 0)] {
        assert_eq!(world.look(&page(first, most)).len(), found);
    }
}

#[test]
fn both_parties_to_a_settled_channel_rate_each_other_once() {
    let mut world = World::new();
    let terms = world.settled(1, 300);
    for stranger in [3, 9] {
        assert!(world.rate(stranger, &terms, 5).unwrap_err().is::<r::NotAllowed>());
    }
    for points in [0, 6] {
        assert!(world.rate(1, &terms, points).unwrap_err().is::<r::BadPoints>());
    }
    let rated: r::Rated = world.rate(1, &terms, 4).unwrap().event();
    assert_eq!((rated.by, rated.about, rated.paid), (key(1).address(), key(2).address(), amount(300)));
    world.rate(2, &terms, 5).unwrap();
    for party in [1, 2] {
        assert!(world.rate(party, &terms, 1).unwrap_err().is::<r::AlreadyRated>());
    }
    for (about, points) in [(2, 4), (1, 5)] {
        let score = world.look(&r::scoreOfCall { account: key(about).address() });
        assert_eq!((score.ratings, score.points), (1, points));
    }
}

#[test]
fn no_channel_no_rating() {
    let mut world = World::new();
    // Open, though paid from.
    let open = terms(COIN, 1);
    world.chain.open(&open, 1_000).unwrap();
    let id = world.chain.place().channel_id(&open);
    let voucher = world.chain.voucher(&key(3), id, 300);
    world.chain.call(&key(2), &c::redeemCall { voucher }).unwrap();
    // Never opened; closed with nothing paid.
    let unknown = terms(COIN, 2);
    let unpaid = world.settled(3, 0);
    // With other terms it is another channel.
    let other = Terms { payee: key(9).address(), ..world.settled(4, 300) };
    for (who, terms) in [(1, open), (1, unknown), (1, unpaid), (9, other)] {
        assert!(world.rate(who, &terms, 5).unwrap_err().is::<r::NotSettled>());
    }
    // Who pays itself.
    let alone = Terms { payee: key(1).address(), ..terms(COIN, 5) };
    let id = world.chain.place().channel_id(&alone);
    world.chain.open(&alone, 1_000).unwrap();
    let last = world.chain.voucher(&key(3), id, 300);
    world.chain.call(&key(1), &c::closeCall { last }).unwrap();
    assert!(world.rate(1, &alone, 5).unwrap_err().is::<r::NotAllowed>());
}
