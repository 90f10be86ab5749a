//! Random calls around bonds by callers who try everything, and what each of two sides gains by what it does.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sdpp_evm::abi::SdppBond::{self as b, Terms};
use sdpp_proto::statement::Signed;

use super::bond::{
    ANSWER_WITHIN, BURNED, LOST, NOTICE, OWNER, SHOWER, STAKE, STANDING, STRANGER, World, bytes, identity,
};
use super::chain::{COIN, TestUsd, amount, key};
use super::challenge::{PENDING, Sale, Sold};

const CALLERS: [u8; 4] = [OWNER, SHOWER, STRANGER, 4];
const STEPS: u32 = 120;
/// Windows of each seller.
const WINDOWS: u64 = 6;
const DAY: u64 = 86_400;

/// A seller with its bond. One that is honest signs what it sells, keeps it, and answers.
struct Seller {
    terms: Terms,
    sale: Sale,
    is_honest: bool,
}

struct Play {
    world: World,
    rng: ChaCha20Rng,
    sellers: Vec<Seller>,
    tokens: [Address; 2],
    done: u32,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let tokens = [COIN, world.chain.deploy(&TestUsd::BYTECODE)];
        for who in CALLERS {
            let account = key(who).address();
            let mint = TestUsd::mintCall { to: account, amount: amount(1_000_000) };
            world.chain.call_at((account, tokens[1]), &mint, U256::ZERO).unwrap();
            let approve = TestUsd::approveCall { spender: world.at, value: U256::MAX };
            world.chain.call_at((account, tokens[1]), &approve, U256::ZERO).unwrap();
        }
        let mut sellers = Vec::new();
        for (number, (token, is_honest)) in (1..).zip([(0, true), (0, false), (1, true), (1, false)]) {
            let seller = identity(number);
            let terms = Terms {
                token: tokens[token],
                key: seller.public().as_bytes().into(),
                owner: key(if is_honest { OWNER } else { 4 }).address(),
                ..world.terms.clone()
            };
            let sale = Sale::of(seller, world.chain.now + 3 * DAY, number);
            sellers.push(Seller { terms, sale, is_honest });
        }
        Self { world, rng: ChaCha20Rng::seed_from_u64(seed), sellers, tokens, done: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    fn pick(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    /// What a seller has signed: only one that is not honest signs anything but what it sells. A stranger signs in its name.
    fn sold(&mut self, of: usize) -> Sold {
        let (n, draw) = (self.below(WINDOWS), self.below(6));
        let seller = &self.sellers[of];
        match draw {
            0 => {
                let sold = seller.sale.lie(n);
                let mut forged = sold.invoice.body().clone();
                forged.due = forged.paid;
                Sold { invoice: Signed::sign(&identity(9), forged), ..sold }
            }
            1 | 2 if !seller.is_honest => seller.sale.lie(n),
            _ => seller.sale.small(n),
        }
    }

    fn step(&mut self) {
        let of = self.pick(self.sellers.len());
        let owner = if self.sellers[of].is_honest { OWNER } else { 4 };
        let who = if self.below(2) == 0 { owner } else { CALLERS[self.pick(4)] };
        let value = self.below(3_000);
        let (one, other) = (self.sold(of), self.sold(of));
        let account = key(CALLERS[self.pick(4)]).address();
        let (wait, draw) = (self.below(2) * self.below(5_000), self.below(12));
        self.world.terms = self.sellers[of].terms.clone();
        let terms = self.world.terms.clone();
        let coins = |value: u64| if terms.token == COIN { value } else { 0 };
        let (world, sale) = (&mut self.world, &self.sellers[of].sale);
        let paid = alloy::primitives::Uint::from(value);
        let outcome = match draw {
            0..=2 => world.call(who, &b::postCall { terms: terms.clone(), amount: paid }, coins(value)),
            3 => world.call(who, &b::topUpCall { terms: terms.clone(), amount: paid }, coins(value)),
            4 if value < 200 => world.call(who, &b::requestReleaseCall { terms }, 0),
            5 => world.release(),
            6 if value < 1_500 => world.show(who, bytes(&one.invoice), bytes(&other.invoice)),
            7 | 8 => {
                let call = b::challengeCall { terms: terms.clone(), origin: sale.origin(&one.invoice) };
                world.call(who, &call, coins(STAKE))
            }
            9 => world.answer(who, &one),
            10 => world.expire(&sale.lie(value % WINDOWS)),
            _ => world.call(who, &b::withdrawCall { token: terms.token, account }, 0),
        };
        self.done += u32::from(outcome.is_ok());
        self.keep_honest();
        self.world.wait(wait);
    }

    /// Whether a challenge of this window, true or false, waits.
    fn is_pending(&mut self, sold: &Sold) -> bool {
        self.world.stage(sold) == PENDING
    }

    /// Honest sellers answer.
    fn keep_honest(&mut self) {
        for of in 0..self.sellers.len() {
            if !self.sellers[of].is_honest {
                continue;
            }
            self.world.terms = self.sellers[of].terms.clone();
            for n in 0..WINDOWS {
                let sold = self.sellers[of].sale.small(n);
                if self.is_pending(&sold) {
                    self.world.answer(OWNER, &sold).unwrap();
                }
            }
            assert_ne!(self.world.bond().state, LOST, "who is honest loses nothing");
        }
    }

    fn held(&mut self, token: Address) -> U256 {
        let at = self.world.at;
        if token == COIN {
            self.world.chain.coins(at)
        } else {
            self.world.chain.look(token, &TestUsd::balanceOfCall { account: at })
        }
    }

    /// What the contract holds is what bonds, stakes and balances say, to the base unit.
    fn check(&mut self) {
        let mut owed: BTreeMap<Address, U256> = BTreeMap::new();
        for of in 0..self.sellers.len() {
            self.world.terms = self.sellers[of].terms.clone();
            let (bond, mut pending) = (self.world.bond(), 0);
            for n in 0..WINDOWS {
                let both = [self.sellers[of].sale.small(n), self.sellers[of].sale.lie(n)];
                pending += both.iter().filter(|sold| self.is_pending(sold)).count();
            }
            assert_eq!(usize::try_from(bond.pending).unwrap(), pending);
            assert!(bond.state == STANDING || bond.amount.is_zero());
            *owed.entry(self.world.terms.token).or_default() +=
                bond.amount.to::<U256>() + U256::from(pending) * amount(STAKE);
        }
        for token in self.tokens {
            let accounts = CALLERS.into_iter().map(|who| key(who).address()).chain([BURNED]);
            let balances: U256 = accounts
                .map(|account| self.world.chain.look(self.world.at, &b::balanceOfCall { token, account }))
                .sum();
            assert_eq!(self.held(token), owed.remove(&token).unwrap_or_default() + balances, "conserved");
        }
    }

    /// Everybody leaves, and nothing is left behind.
    fn leave(&mut self) {
        for of in 0..self.sellers.len() {
            self.world.terms = self.sellers[of].terms.clone();
            let owner = if self.sellers[of].is_honest { OWNER } else { 4 };
            // Some have asked before, and some have nothing.
            let _ = self.world.call(owner, &b::requestReleaseCall { terms: self.world.terms.clone() }, 0);
        }
        self.world.wait(u64::from(NOTICE));
        for of in 0..self.sellers.len() {
            self.world.terms = self.sellers[of].terms.clone();
            for n in 0..WINDOWS {
                for sold in [self.sellers[of].sale.small(n), self.sellers[of].sale.lie(n)] {
                    if self.is_pending(&sold) {
                        self.world.expire(&sold).unwrap();
                    }
                }
            }
            if self.world.bond().state == STANDING {
                self.world.release().unwrap();
            }
        }
        for token in self.tokens {
            for account in CALLERS.into_iter().map(|who| key(who).address()).chain([BURNED]) {
                // Some have nothing.
                let _ = self.world.call(STRANGER, &b::withdrawCall { token, account }, 0);
            }
            assert_eq!(self.held(token), U256::ZERO, "nothing is stuck");
        }
    }
}

/// `SDPP_CONTRACT_SEEDS` gives more worlds.
#[test]
fn money_of_bonds_is_conserved_and_honest_sellers_lose_nothing_whatever_is_called() {
    let seeds = std::env::var("SDPP_CONTRACT_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let (mut done, mut lost) = (0, 0);
    for seed in 0..seeds {
        let mut play = Play::new(seed);
        for step in 0..STEPS {
            play.step();
            if step % 20 == 0 {
                play.check();
            }
        }
        play.check();
        for of in 0..play.sellers.len() {
            play.world.terms = play.sellers[of].terms.clone();
            lost += u64::from(play.world.bond().state == LOST);
        }
        play.leave();
        done += play.done;
    }
    println!("{done} calls did something, {lost} bonds were lost");
    assert!(done > 15 * u32::try_from(seeds).unwrap(), "most calls are refused, and not nearly all: {done}");
    assert!(lost >= seeds / 4, "some that are not honest are caught: {lost}");
}

/// What a seller signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signs {
    WhatItSold,
    SomethingElse,
    Both,
}

/// What somebody does with an invoice: another one, or the seller by another name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    Nothing,
    Shows,
    Challenges,
}

#[derive(Clone, Copy, Debug)]
struct Stakes {
    bond: u64,
    award: u64,
    stake: u64,
}

/// What seller and other have gained, by the contract itself. The seller answers where it can, if it wants to.
fn gains(stakes: Stakes, signs: Signs, does: Does, (answers, by): (bool, u8)) -> Option<[i64; 2]> {
    let mut world = World::new();
    world.terms.award = alloy::primitives::Uint::from(stakes.award);
    world.terms.stake = alloy::primitives::Uint::from(stakes.stake);
    world.post(stakes.bond).unwrap();
    let sale = Sale::new(world.chain.now + DAY, 1);
    let (truth, lie) = (sale.small(1), sale.lie(1));
    let mut locked = 0;
    match does {
        Does::Nothing => {}
        Does::Shows if signs == Signs::Both => {
            world.show(by, bytes(&truth.invoice), bytes(&lie.invoice)).unwrap();
        }
        Does::Shows => return None,
        Does::Challenges => {
            let sold = if signs == Signs::WhatItSold { truth } else { lie };
            locked = stakes.stake;
            let call = b::challengeCall { terms: world.terms.clone(), origin: sale.origin(&sold.invoice) };
            world.call(by, &call, stakes.stake).unwrap();
            if !(answers && world.answer(OWNER, &sold).is_ok()) {
                world.wait(u64::from(ANSWER_WITHIN) + 1);
                world.expire(&sold).unwrap();
            }
        }
    }
    if world.bond().state == STANDING {
        world.request_release().unwrap();
        world.wait(u64::from(NOTICE));
        world.release().unwrap();
    }
    let [owner, other, burned] = world.split();
    let deposits = stakes.bond + locked;
    assert_eq!(owner + other + burned, deposits, "conserved");
    let [owner, other, bond, locked] = [owner, other, stakes.bond, locked].map(|amount| i64::try_from(amount).unwrap());
    Some(if by == OWNER { [owner - bond - locked, other] } else { [owner - bond, other - locked] })
}

/// A seller gains nothing by lying, nor by proving its own lie before others do; nobody gains by asking an honest one, who
/// answers; and whoever proves a fault gains by it.
#[test]
fn nobody_gains_by_a_fault_but_who_proves_it() {
    let mut deals = 0;
    for (bond, award) in [(2, 1), (1_000, 1), (1_000, 500), (999, 499)] {
        for stake in [1, 10, 5_000] {
            let stakes = Stakes { bond, award, stake };
            let [bond, award, stake] = [bond, award, stake].map(|amount| i64::try_from(amount).unwrap());
            let of = |signs, does, answers, by| gains(stakes, signs, does, (answers, by));
            assert_eq!(of(Signs::WhatItSold, Does::Nothing, true, SHOWER), Some([0, 0]));
            assert_eq!(of(Signs::WhatItSold, Does::Shows, true, SHOWER), None);
            assert_eq!(of(Signs::WhatItSold, Does::Challenges, true, SHOWER), Some([stake, -stake]));
            assert_eq!(
                of(Signs::WhatItSold, Does::Challenges, false, SHOWER),
                Some([-bond, award]),
                "it has to answer"
            );
            assert_eq!(of(Signs::WhatItSold, Does::Challenges, true, OWNER), Some([0, 0]));
            for (signs, does) in
                [(Signs::SomethingElse, Does::Challenges), (Signs::Both, Does::Challenges), (Signs::Both, Does::Shows)]
            {
                for answers in [true, false] {
                    assert_eq!(of(signs, does, answers, SHOWER), Some([-bond, award]));
                    let [own, _] = of(signs, does, answers, OWNER).unwrap();
                    assert!(own == award - bond && own <= -bond / 2, "{stakes:?}: half at least is gone");
                }
            }
            deals += 1;
        }
    }
    assert_eq!(deals, 12);
}
