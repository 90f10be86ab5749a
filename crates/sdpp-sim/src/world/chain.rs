//! The rail `evm` of a world: an EVM chain in memory, and what goes wrong with it.
//!
//! Each process has a runtime of its own, whose clock stands still while nobody waits in it: what a rail waits for is there at
//! once, and its answer is late by the time that it took.

use std::future::{Future, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use sdpp_evm::inline::{Fate, InlineChain, Way};
use sdpp_evm::{Address, EvmPayee, EvmPayer, Node, PayeeConfig, PayerKeys, PrivateKeySigner};
use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{
    Backing, Bill, CloseStatus, Funding, MemoryStore, OpenRequest, Outcome, Outstanding, Payee, Payer, PaymentStatus,
    Proof, RailError, Redeemed, Reply,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance};

use super::ctx::Shared;

/// Blocks on top of what is final: no reorganisation goes deeper.
const FINALITY: u32 = 2;
/// Questions that a transaction waits at most: long enough for its fees to be raised.
const WAITS_MAX: u64 = 300;
/// How often blocks are replaced where the chain is unsettled, of a thousand questions.
const UNSETTLED: u16 = 100;
/// Questions of a call within which it is given up, where it is.
const GIVEN_UP_WITHIN: u64 = 24;

/// A key on the chain of somebody's own, for a purpose: nobody here steals, so any 32 bytes of theirs will do.
fn key_of(account: &PublicKey, purpose: u8) -> PrivateKeySigner {
    let mut seed = *account.as_bytes();
    seed[31] ^= purpose;
    PrivateKeySigner::from_slice(&seed).expect("nearly all numbers are keys")
}

fn address_of(account: &PublicKey) -> Address {
    key_of(account, 0).address()
}

/// What happens to the chain and on the ways to it.
struct Trouble {
    shared: Arc<Shared>,
    chain: Arc<InlineChain>,
    /// Nobody's node answers before this.
    away_until_ms: AtomicU64,
    /// All is well but for the last blocks, which are replaced now and then.
    is_unsettled: AtomicBool,
}

impl Trouble {
    /// What becomes of a question.
    fn fate(&self, method: &str) -> Fate {
        let shared = &self.shared;
        if self.is_unsettled.load(Ordering::Relaxed) && shared.dice().chance(UNSETTLED) {
            self.reorganise();
            return Fate::Answered;
        }
        if !shared.is_calm() && shared.now().as_ms() < self.away_until_ms.load(Ordering::Relaxed) {
            shared.hit("chain: away");
            return Fate::Refused;
        }
        if method == "eth_sendRawTransaction" && shared.chance(shared.weather.ledger) {
            shared.hit("chain: transaction waits");
            let questions = 1 + shared.dice().below(WAITS_MAX);
            return Fate::Waits(questions.try_into().unwrap_or(1));
        }
        if !shared.chance(shared.weather.ledger) {
            return Fate::Answered;
        }
        let drawn = shared.dice().below(8);
        let (point, fate) = match drawn {
            0 => ("chain: refused", Fate::Refused),
            1 => ("chain: busy", Fate::Busy),
            2 => ("chain: request lost", Fate::RequestLost),
            3 => ("chain: answer lost", Fate::AnswerLost),
            4 | 5 => ("chain: node is behind", Fate::Behind(drawn - 3)),
            _ => {
                self.reorganise();
                return Fate::Answered;
            }
        };
        shared.hit(point);
        fate
    }

    /// The last blocks are replaced by others; what was in them is gone, or comes back.
    fn reorganise(&self) {
        let depth = 1 + self.shared.dice().below(u64::from(FINALITY));
        let keep = self.shared.dice().below(2) == 0;
        let dropped = self.chain.reorganise(depth.try_into().unwrap_or(1), keep);
        self.shared.hit("chain: reorganised");
        if dropped.transactions > 0 {
            self.shared.hit(if keep { "chain: transaction comes back" } else { "chain: transaction dropped" });
        }
        if dropped.opened > 0 {
            self.shared.hit("chain: open dropped");
        }
    }
}

/// A chain, and who watches over all of its money.
pub(crate) struct Chain {
    chain: Arc<InlineChain>,
    trouble: Arc<Trouble>,
    /// The newest block when all was counted last.
    counted: u64,
}

impl Chain {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let time = shared.clone();
        let chain = InlineChain::new(Arc::new(move || time.now()));
        let (shared, away_until_ms, is_unsettled) = (shared.clone(), AtomicU64::new(0), AtomicBool::new(false));
        let trouble = Arc::new(Trouble { shared, chain: chain.clone(), away_until_ms, is_unsettled });
        Self { chain, trouble, counted: 0 }
    }

    pub(crate) fn fund(&self, account: &PublicKey, amount: Amount) {
        self.chain.fund(address_of(account), amount);
        // What everybody has from the start is final.
        self.chain.mine(FINALITY + 1);
    }

    /// A program, and its way to the chain.
    fn program(&self) -> (Program, Arc<Node>) {
        let program = Program::start(&self.trouble.shared);
        let (trouble, patience) = (self.trouble.clone(), program.patience.clone());
        let way: Way = Arc::new(move |method| if patience.ends() { Fate::Never } else { trouble.fate(method) });
        (program, Arc::new(self.chain.node(FINALITY, way)))
    }

    pub(crate) fn payer(&self, account: &PublicKey) -> Arc<dyn Payer> {
        let keys = PayerKeys { account: key_of(account, 0), vouchers: key_of(account, 1) };
        let (program, node) = self.program();
        Arc::new(ChainPayer { rail: EvmPayer::new(node, keys), program })
    }

    pub(crate) fn payee(
        &self,
        account: &PublicKey,
        book: MemoryStore,
        (grace_min_ms, pay_by_ms): (u64, u64),
    ) -> Arc<dyn Payee> {
        let config =
            PayeeConfig { account: key_of(account, 0), token: Some(self.chain.token()), grace_min_ms, pay_by_ms };
        let (program, node) = self.program();
        Arc::new(ChainPayee { rail: EvmPayee::new(node, config, Box::new(book)), program })
    }

    /// Tokens, and what the contract keeps.
    pub(crate) fn balance(&self, account: &PublicKey) -> Amount {
        self.chain.owned(address_of(account))
    }

    pub(crate) fn locked(&self, account: &PublicKey) -> Amount {
        self.chain.locked(address_of(account))
    }

    /// Whether something may have changed since this was asked last.
    pub(crate) fn has_moved(&mut self) -> bool {
        let newest = self.chain.turns();
        std::mem::replace(&mut self.counted, newest) != newest
    }

    pub(crate) fn supply(&self) -> Amount {
        self.chain.supply()
    }

    /// Whether the last blocks are replaced now and then from here on, though nothing else goes wrong.
    pub(crate) fn unsettle(&self, yes: bool) {
        self.trouble.is_unsettled.store(yes, Ordering::Relaxed);
    }

    /// Something goes wrong with all nodes for a while, or with the last blocks.
    pub(crate) fn suffer(&self) {
        let shared = &self.trouble.shared;
        if shared.dice().below(3) == 0 {
            let away_ms = shared.dice().below(60_000);
            let until = shared.now().after_ms(away_ms);
            self.trouble.away_until_ms.store(until.as_ms(), Ordering::Relaxed);
        } else {
            self.trouble.reorganise();
        }
    }
}

/// After how many questions a call is given up in the middle, as by a program that is asked to stop.
#[derive(Default)]
struct Patience {
    /// Questions until then, and one; none where it is seen through.
    left: AtomicU64,
    /// The call asks, and not what runs beside it.
    asks: AtomicBool,
    is_over: AtomicBool,
}

impl Patience {
    /// A question of the program: whether it is the one in which the call is given up.
    fn ends(&self) -> bool {
        if !self.asks.load(Ordering::Relaxed) || self.left.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let is_over = self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        self.is_over.fetch_or(is_over, Ordering::Relaxed);
        is_over
    }
}

/// What a process runs its rail in.
struct Program {
    runtime: Runtime,
    shared: Arc<Shared>,
    patience: Arc<Patience>,
    born: (Timestamp, Instant),
}

impl Program {
    fn start(shared: &Arc<Shared>) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets starts");
        let born = (shared.now(), runtime.block_on(async { Instant::now() }));
        Self { runtime, shared: shared.clone(), patience: Arc::default(), born }
    }

    /// Asks the rail, and gives up in the middle sometimes.
    fn ask<T>(&self, ask: impl Future<Output = Result<T, RailError>>) -> Result<T, RailError> {
        if !self.shared.chance(self.shared.weather.ledger) {
            return self.run(ask);
        }
        let (patience, mut ask) = (&self.patience, pin!(ask));
        patience.left.store(1 + self.shared.dice().below(GIVEN_UP_WITHIN), Ordering::Relaxed);
        let answer = self.run(poll_fn(|context| {
            patience.asks.store(true, Ordering::Relaxed);
            let answer = ask.as_mut().poll(context);
            patience.asks.store(false, Ordering::Relaxed);
            // What was asked for may be done, or half of it.
            if patience.is_over.swap(false, Ordering::Relaxed) {
                return Poll::Ready(None);
            }
            answer.map(Some)
        }));
        patience.left.store(0, Ordering::Relaxed);
        answer.unwrap_or_else(|| {
            self.shared.hit("chain: given up in the middle");
            Err(RailError::Unknown)
        })
    }

    /// Runs something. The rail's clock is that of the world before, and as far ahead of it after as it took.
    fn run<T>(&self, ask: impl Future<Output = T>) -> T {
        let passed = Duration::from_millis(self.shared.now().since_ms(self.born.0));
        self.runtime.block_on(async {
            let behind = passed.saturating_sub(self.born.1.elapsed());
            if !behind.is_zero() {
                advance(behind).await;
            }
            let asked = Instant::now();
            let answer = ask.await;
            self.shared.spend_ms(asked.elapsed().as_millis() as u64);
            answer
        })
    }
}

/// The rail ends before what it runs in.
struct ChainPayer {
    rail: EvmPayer,
    program: Program,
}

impl Payer for ChainPayer {
    fn moves_money(&self) -> bool {
        self.rail.moves_money()
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        Box::pin(ready(self.program.ask(self.rail.open(request))))
    }

    fn opened<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Option<Funding>> {
        Box::pin(ready(self.program.ask(self.rail.opened(request))))
    }

    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof> {
        Box::pin(ready(self.program.ask(self.rail.pay(bill))))
    }

    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        Box::pin(ready(self.program.ask(self.rail.status(invoice))))
    }

    fn close<'a>(&'a self, funding: &'a Funding) -> Reply<'a, CloseStatus> {
        Box::pin(ready(self.program.ask(self.rail.close(funding))))
    }
}

struct ChainPayee {
    rail: EvmPayee,
    program: Program,
}

impl Payee for ChainPayee {
    fn option(&self) -> PayOption {
        self.rail.option()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        Box::pin(ready(self.program.ask(self.rail.admit(order))))
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        Box::pin(ready(self.program.ask(self.rail.settle(bill, payment))))
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        Box::pin(ready(self.program.ask(self.rail.redeem(order, finished))))
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        let shared = &self.program.shared;
        if shared.chance(shared.weather.rude) {
            // As somebody does by hand, before a seller is away for long.
            shared.hit("chain: all redeemed at once");
            let _ = self.program.ask(self.rail.redeem_all());
        }
        Box::pin(ready(self.program.ask(self.rail.outstanding())))
    }
}
