//! A chain in memory, for simulations and tests: the real contracts, run in the caller's thread, by the caller's clock.
//!
//! ```text
//! Node ──► line (JSON-RPC, and what goes wrong with it) ──► question ──► blocks ──► machine (revm)
//! ```
//! Each transaction has a block of its own. Nothing here looks at a clock or draws a number, so the same questions in the
//! same order get the same answers. Time passes on the chain with its blocks: one is made where a question comes some
//! seconds after the last one, and at every third question for the newest block, so that what waits for more blocks does
//! not wait for ever.

mod blocks;
mod line;
mod machine;
mod question;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, B256, TxKind, U256};
use alloy::sol_types::{SolCall, SolConstructor as _, SolEvent as _};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::money::Amount;
use sdpp_proto::time::Timestamp;

use self::blocks::{Blocks, Transaction};
pub use self::blocks::{Dropped, FORGET_AFTER};
pub use self::line::{Fate, Way};
use crate::abi::SdppChannels as c;
use crate::node::{Channel, ChannelState, Node};
use crate::typed::Place;

alloy::sol!(
    #[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "made by a macro")]
    TestUsd,
    "../../contracts/artifacts/TestUsd.json"
);

/// The chain's id.
pub const CHAIN: u64 = 31_337;
/// Coins of every account that has some, in wei. Gas costs nothing here.
const COINS: u128 = 1_000_000_000_000_000_000_000;
/// Puts the contracts there.
const DEPLOYS: Address = Address::repeat_byte(0xd0);

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A chain with the contract of channels and a token on it. Clones of its [`Arc`] are the same chain.
pub struct InlineChain {
    blocks: Mutex<Blocks>,
    clock: Clock,
    place: Place,
    token: Address,
}

impl InlineChain {
    /// A new chain.
    ///
    /// # Panics
    /// Where the contracts do not run.
    pub fn new(clock: Clock) -> Arc<Self> {
        let mut blocks = Blocks::new(seconds(clock()));
        let mut deploy = |code: Vec<u8>| {
            let deployed = blocks.run(&Transaction::of(DEPLOYS, TxKind::Create, code.into(), U256::ZERO));
            deployed.expect("the contracts run").created.expect("a contract was made")
        };
        let contract = deploy(c::BYTECODE.to_vec());
        let token = deploy([TestUsd::BYTECODE.to_vec(), TestUsd::constructorCall {}.abi_encode()].concat());
        Arc::new(Self { blocks: Mutex::new(blocks), clock, place: Place { chain: CHAIN, contract }, token })
    }

    /// The chain and the contract of channels.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// A token with permits, of which everybody gets as much as is minted.
    pub const fn token(&self) -> Address {
        self.token
    }

    /// Gives an account coins, and so much of the token.
    ///
    /// # Panics
    /// Where there is more of the token than its contract can count.
    pub fn fund(&self, account: Address, tokens: Amount) {
        let mut blocks = self.lock();
        blocks.give_coins(account, U256::from(COINS));
        let call = TestUsd::mintCall { to: account, amount: U256::from(tokens.get()) };
        let minted = Transaction::of(DEPLOYS, TxKind::Call(self.token), call.abi_encode().into(), U256::ZERO);
        blocks.run(&minted).expect("anybody may mint");
    }

    /// The chain as somebody reaches it over this way.
    pub fn node(self: &Arc<Self>, finality: u32, way: Way) -> Node {
        Node::over(line::provider(self.clone(), way), self.place, finality)
    }

    /// Makes empty blocks.
    pub fn mine(&self, blocks: u32) {
        let now = seconds((self.clock)());
        let mut chain = self.lock();
        (0..blocks).for_each(|_| chain.mine(now));
    }

    /// The newest blocks are replaced by as many others without transactions. With `keep`, the transactions of the old ones
    /// wait to be mined again; else they are gone for good.
    pub fn reorganise(&self, depth: u32, keep: bool) -> Dropped {
        let now = seconds((self.clock)());
        self.lock().reorganise(depth, keep, now)
    }

    /// What an account has: tokens, and what the contract keeps for it.
    pub fn owned(&self, account: Address) -> Amount {
        let outside: U256 = self.look(self.token, &TestUsd::balanceOfCall { account });
        let inside: U256 = self.look(self.place.contract, &c::balanceOfCall { token: self.token, account });
        amount(outside.saturating_add(inside))
    }

    /// What is locked in channels that an account pays by, without what was redeemed.
    pub fn locked(&self, account: Address) -> Amount {
        let look = |id: ChannelId| self.look(self.place.contract, &c::channelCall { id: B256::new(id.0) });
        let own = self.channels().into_iter().map(|id| Channel::of(&look(id)));
        let own = own.filter(|channel| channel.payer == account && channel.state != ChannelState::Closed);
        let locked = own.map(|channel| channel.deposit.saturating_sub(channel.redeemed));
        locked.fold(Amount::ZERO, |sum, one| sum.checked_add(one).unwrap_or(Amount::MAX))
    }

    /// All channels that were ever opened on this branch.
    pub fn channels(&self) -> Vec<ChannelId> {
        let blocks = self.lock();
        let opened = blocks.logs().filter_map(|log| c::Opened::decode_log(log).ok());
        opened.map(|opened| ChannelId(opened.id.0)).collect()
    }

    /// Blocks that were made so far, also of branches that are gone: where it is the same as before, nothing has changed.
    pub fn turns(&self) -> u64 {
        self.lock().made()
    }

    /// All tokens that there are.
    pub fn supply(&self) -> Amount {
        amount(self.look(self.token, &TestUsd::totalSupplyCall {}))
    }

    /// What the contract of channels holds of the token.
    pub fn kept(&self) -> Amount {
        amount(self.look(self.token, &TestUsd::balanceOfCall { account: self.place.contract }))
    }

    fn look<C: SolCall>(&self, at: Address, call: &C) -> C::Return {
        let asked = Transaction::of(DEPLOYS, TxKind::Call(at), call.abi_encode().into(), U256::ZERO);
        let answer = self.lock().try_out(&asked).expect("a look is not refused");
        C::abi_decode_returns(&answer.output).expect("the contract answers what it says")
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn seconds(now: Timestamp) -> u64 {
    now.as_ms() / 1000
}

fn is_opened(log: &alloy::primitives::Log) -> bool {
    c::Opened::decode_log(log).is_ok()
}

fn amount(units: U256) -> Amount {
    u128::try_from(units).map_or(Amount::MAX, Amount::new)
}
