//! Random calls by callers who try everything: money is conserved, and everybody can leave alone.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, U256};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sdpp_evm::abi::SdppChannels::{self as c, Terms, Voucher};

use super::chain::{CLOSED, COIN, Chain, GRACE, TestUsd, UNUSED, amount, key, terms};
use super::rules::TestFeeToken;

/// Who calls: payers, payees, a signer, strangers.
const CALLERS: [u8; 5] = [1, 2, 3, 4, 5];
const SALTS: u8 = 4;
const STEPS: u32 = 150;

/// What is known of a channel from outside: its terms, what its signer signed at most, what it has paid.
struct Known {
    terms: Terms,
    signed_max: u64,
    redeemed: U256,
    is_closed: bool,
}

struct World {
    chain: Chain,
    rng: ChaCha20Rng,
    tokens: [Address; 3],
    known: BTreeMap<B256, Known>,
    /// Every voucher that was ever made.
    vouchers: Vec<Voucher>,
    /// Calls that did something.
    done: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chain = Chain::new();
        let tokens = [COIN, chain.deploy(&TestUsd::BYTECODE), chain.deploy(&TestFeeToken::BYTECODE)];
        let mut known = BTreeMap::new();
        for (payer, token, salt) in [1, 4].into_iter().flat_map(|payer| {
            tokens.into_iter().flat_map(move |token| (0..SALTS).map(move |salt| (payer, token, salt)))
        }) {
            let payee = key(if salt % 2 == 0 { 2 } else { 5 }).address();
            let terms = Terms { payer: key(payer).address(), payee, ..terms(token, salt + 1) };
            let id = chain.place().channel_id(&terms);
            known.insert(id, Known { terms, signed_max: 0, redeemed: U256::ZERO, is_closed: false });
        }
        let rng = ChaCha20Rng::seed_from_u64(seed);
        Self { chain, rng, tokens, known, vouchers: Vec::new(), done: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    fn caller(&mut self) -> u8 {
        let index = self.below(5);
        CALLERS[usize::try_from(index).unwrap()]
    }

    fn id(&mut self) -> B256 {
        let index = self.below(u64::try_from(self.known.len()).unwrap());
        *self.known.keys().nth(usize::try_from(index).unwrap()).unwrap()
    }

    fn token(&mut self) -> Address {
        let index = self.below(3);
        self.tokens[usize::try_from(index).unwrap()]
    }

    /// A voucher: new, by the signer or by somebody else, or an old one, as it is or under another channel's name.
    fn voucher(&mut self) -> Voucher {
        let id = self.id();
        if self.below(4) == 0 && !self.vouchers.is_empty() {
            let index = self.below(u64::try_from(self.vouchers.len()).unwrap());
            let old = self.vouchers[usize::try_from(index).unwrap()].clone();
            return if self.below(2) == 0 { old } else { Voucher { channelId: id, ..old } };
        }
        let total = self.below(1_500);
        let signer = if self.below(5) == 0 { self.caller() } else { 3 };
        if signer == 3 {
            let known = self.known.get_mut(&id).unwrap();
            known.signed_max = known.signed_max.max(total);
        }
        let voucher = self.chain.voucher(&key(signer), id, total);
        self.vouchers.push(voucher.clone());
        voucher
    }

    fn step(&mut self) {
        let (caller, id, token) = (self.caller(), self.id(), self.token());
        let (all, kept) = (self.below(1_000), self.below(300));
        let from = key(caller);
        let paid = (from.address(), self.chain.channels);
        let outcome = match self.below(12) {
            0 | 1 => {
                let terms = self.known[&id].terms.clone();
                self.chain.open(&terms, all)
            }
            2 => {
                let terms = self.known[&id].terms.clone();
                let open = c::openCall { terms, amount: amount(all), fromBalance: amount(kept) };
                self.chain.call_at(paid, &open, amount(all.saturating_sub(kept)))
            }
            3 => {
                let top_up = c::topUpCall { id, amount: amount(all), fromBalance: amount(kept.min(all)) };
                let value = if self.known[&id].terms.token == COIN { all - kept.min(all) } else { 0 };
                self.chain.call_at(paid, &top_up, amount(value))
            }
            4 | 5 => {
                let voucher = self.voucher();
                self.chain.call(&from, &c::redeemCall { voucher })
            }
            6 => {
                let vouchers = vec![self.voucher(), self.voucher(), self.voucher()];
                self.chain.call(&from, &c::redeemManyCall { vouchers })
            }
            7 => {
                let mut last = self.voucher();
                if self.below(3) == 0 {
                    last.signature = Bytes::new();
                }
                self.chain.call(&from, &c::closeCall { last })
            }
            8 => self.chain.call(&from, &c::requestCloseCall { id }),
            9 => self.chain.call(&from, &c::finishCloseCall { id }),
            10 => {
                let account = key(self.caller()).address();
                self.chain.call(&from, &c::withdrawCall { token, account })
            }
            _ => self.chain.call(&from, &c::withdrawToCall { token, to: key(9).address(), amount: amount(kept) }),
        };
        self.done += u32::from(outcome.is_ok());
        self.chain.now += self.below(2) * self.below(u64::from(GRACE));
    }

    fn held(&mut self, token: Address) -> U256 {
        let at = self.chain.channels;
        if token == COIN {
            self.chain.coins(at)
        } else {
            self.chain.look(token, &TestUsd::balanceOfCall { account: at })
        }
    }

    /// What the contract holds is what channels and balances say, to the base unit; nothing goes back.
    fn check(&mut self) {
        let mut owed: BTreeMap<Address, U256> = BTreeMap::new();
        for id in self.known.keys().copied().collect::<Vec<_>>() {
            let channel = self.chain.channel(id);
            let known = self.known.get_mut(&id).unwrap();
            assert!(channel.redeemed.to::<U256>() >= known.redeemed, "what was paid stays paid");
            assert!(channel.redeemed.to::<u64>() <= known.signed_max, "nothing is paid that was not signed for");
            assert!(!known.is_closed || channel.state == CLOSED, "a closed channel stays closed");
            known.redeemed = channel.redeemed.to();
            known.is_closed = channel.state == CLOSED;
            if channel.state != CLOSED && channel.state != UNUSED {
                assert!(channel.redeemed <= channel.deposit);
                *owed.entry(known.terms.token).or_default() +=
                    U256::from(channel.deposit) - U256::from(channel.redeemed);
            }
        }
        for token in self.tokens {
            let balances: U256 = [1, 2, 3, 4, 5, 9].into_iter().map(|who| self.chain.balance(token, &key(who))).sum();
            assert_eq!(self.held(token), owed.remove(&token).unwrap_or_default() + balances, "conserved");
        }
    }

    /// With all payees gone: every payer leaves alone, and nothing is left behind.
    fn leave(&mut self) {
        let open: Vec<_> = self.known.iter().filter(|(_, known)| !known.is_closed).collect();
        let open: Vec<_> = open.into_iter().map(|(id, known)| (*id, known.terms.payer)).collect();
        let at = self.chain.channels;
        for (id, payer) in &open {
            // Some were asked for before.
            let _ = self.chain.call_at((*payer, at), &c::requestCloseCall { id: *id }, U256::ZERO);
        }
        self.chain.now += u64::from(GRACE);
        for (id, payer) in open {
            if self.chain.channel(id).state != UNUSED {
                self.chain.call_at((payer, at), &c::finishCloseCall { id }, U256::ZERO).unwrap();
            }
        }
        for token in self.tokens {
            for who in [1, 2, 3, 4, 5, 9] {
                if self.chain.balance(token, &key(who)) > U256::ZERO {
                    self.chain.call(&key(who), &c::withdrawCall { token, account: key(who).address() }).unwrap();
                }
            }
            assert_eq!(self.held(token), U256::ZERO, "nothing is stuck");
        }
    }
}

/// `SDPP_CONTRACT_SEEDS` gives more worlds.
#[test]
fn money_is_conserved_whatever_is_called_and_everybody_can_leave_alone() {
    let seeds = std::env::var("SDPP_CONTRACT_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let mut done = 0;
    for seed in 0..seeds {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            world.step();
            if step % 10 == 0 {
                world.check();
            }
        }
        world.check();
        world.leave();
        done += world.done;
    }
    assert!(done > 20 * u32::try_from(seeds).unwrap(), "most calls are refused, and not nearly all: {done}");
}
