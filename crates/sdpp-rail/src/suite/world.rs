//! What a rail brings to its suite, and how a careful caller uses a rail.

use std::future::Future;
use std::pin::Pin;

use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Form, Order, PayOption, Payment, RecordPolicy, Signed};
use sdpp_proto::time::Timestamp;

use crate::rail::{
    Backing, Bill, CloseStatus, Funding, OpenRequest, Outcome, Payee, Payer, PaymentStatus, Proof, RailError, Reply,
};

/// How often a careful caller tries before the suite calls the rail dead.
const TRIES_MAX: usize = 100;
/// Deposit of a sale, in coins of the world.
const DEPOSIT_COINS: u64 = 100;

/// A boxed future of a world: it cannot fail, it may only take its time.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// One rail with a funded payer, a payee, and a clock that the suite can move.
pub trait RailWorld {
    /// The buyer's half. Its account can pay some thousand [`coin`](Self::coin)s.
    fn payer(&self) -> &dyn Payer;

    /// The seller's half.
    fn payee(&self) -> &dyn Payee;

    /// The buyer's identity: it signs orders.
    fn buyer(&self) -> &SigningKey;

    /// The key that signs payments.
    fn signer(&self) -> &SigningKey;

    /// Base units of the smallest amount the suite moves.
    fn coin(&self) -> Amount {
        Amount::new(1)
    }

    /// 32 bytes that this ledger has never seen: orders and invoices are named by them.
    fn fresh(&self) -> Bytes32;

    /// A payee's address of the same form that is not the payee's.
    fn other_address(&self) -> String;

    /// Another asset of which the payer has some, if the rail can carry two.
    fn other_asset(&self) -> Option<AssetId>;

    /// A voucher for a bill as a payer without scruples signs it: the rail's own payer may refuse to.
    fn voucher(&self, _bill: &Bill) -> Proof {
        Proof::Voucher
    }

    /// What the payee's account has taken in of the option's asset so far; fees are not subtracted.
    fn received(&self) -> Step<'_, Amount>;

    /// What the payer has locked in channels now.
    fn locked(&self) -> Step<'_, Amount>;

    /// Lets all that was sent become final, and both halves see it.
    fn finalise(&self) -> Step<'_, ()>;

    /// Lets so much time pass on the ledger, and both halves see what came of it.
    fn pass_ms(&self, ms: u64) -> Step<'_, ()>;
}

/// Repeats a call that is idempotent until the rail gives a clear answer: after
/// [`RailError::Unavailable`] nothing was sent, and after [`RailError::Unknown`] a repetition is
/// harmless, since the call is named by its reference, invoice or order.
///
/// # Errors
/// Any other [`RailError`]; the last one when the rail stays silent.
pub async fn insist<'a, T>(world: &dyn RailWorld, mut call: impl FnMut() -> Reply<'a, T>) -> Result<T, RailError> {
    let mut last = RailError::Unavailable;
    for _ in 0..TRIES_MAX {
        match call().await {
            Err(error @ (RailError::Unavailable | RailError::Unknown)) => last = error,
            clear => return clear,
        }
        world.finalise().await;
    }
    Err(last)
}

/// Pays as a careful caller does: tries again where nothing was sent, and asks for the status where
/// money may have moved.
///
/// # Errors
/// [`RailError`]; `Unavailable` and `Unknown` only when the rail stays silent.
pub async fn pay_carefully(world: &dyn RailWorld, bill: &Bill) -> Result<Proof, RailError> {
    let mut last = RailError::Unavailable;
    for _ in 0..TRIES_MAX {
        match world.payer().pay(bill).await {
            Err(RailError::Unavailable) => last = RailError::Unavailable,
            Err(RailError::Unknown) => {
                last = RailError::Unknown;
                if let PaymentStatus::Paid(proof) = outcome_of(world, &bill.invoice).await? {
                    return Ok(proof);
                }
            }
            clear => return clear,
        }
        world.finalise().await;
    }
    Err(last)
}

/// Asks for a payment's status until it is not pending any more.
async fn outcome_of(world: &dyn RailWorld, invoice: &StatementId) -> Result<PaymentStatus, RailError> {
    for _ in 0..TRIES_MAX {
        match insist(world, || world.payer().status(invoice)).await? {
            PaymentStatus::Pending => world.finalise().await,
            clear @ (PaymentStatus::NotPaid | PaymentStatus::Paid(_)) => return Ok(clear),
        }
    }
    Err(RailError::Unknown)
}

/// Settles, asking again while the payment is pending.
///
/// # Errors
/// [`RailError`]; `Unknown` where it stays pending.
pub async fn settle_finally(world: &dyn RailWorld, bill: &Bill, payment: &Signed<Payment>) -> Result<(), RailError> {
    for _ in 0..TRIES_MAX {
        match insist(world, || world.payee().settle(bill, payment)).await? {
            Outcome::Settled => return Ok(()),
            Outcome::Pending => world.finalise().await,
        }
    }
    Err(RailError::Unknown)
}

/// One order on a rail, as the buyer and the seller of a test see it.
pub struct Sale<'a> {
    world: &'a dyn RailWorld,
    /// The payee's option.
    pub option: PayOption,
    /// What the payer opened.
    pub funding: Funding,
    /// The order.
    pub order: Signed<Order>,
}

impl<'a> Sale<'a> {
    /// Opens and orders. The payee has not looked at it yet.
    ///
    /// # Panics
    /// Where the rail does not open.
    pub async fn open(world: &'a dyn RailWorld) -> Self {
        Self::open_by(world, world.payee().option()).await.expect("a funded payer opens by the payee's own option")
    }

    /// The same by an option that is not quite the payee's.
    ///
    /// # Errors
    /// [`RailError`] of the payer.
    pub async fn open_by(world: &'a dyn RailWorld, option: PayOption) -> Result<Self, RailError> {
        let request = request(world, option.clone());
        let funding = insist(world, || world.payer().open(&request)).await?;
        world.finalise().await;
        let order = order(world, (funding.channel, request.reference), world.signer());
        Ok(Self { world, option, funding, order })
    }

    /// Opens, orders and is admitted.
    ///
    /// # Panics
    /// Where the rail refuses.
    pub async fn start(world: &'a dyn RailWorld) -> Self {
        let sale = Self::open(world).await;
        sale.admit().await.expect("the payee admits an order that fits its option");
        sale
    }

    /// Shows the order to the payee.
    ///
    /// # Errors
    /// [`RailError`] of the payee.
    pub async fn admit(&self) -> Result<Backing, RailError> {
        insist(self.world, || self.world.payee().admit(&self.order)).await
    }

    /// So many coins.
    pub fn coins(&self, count: u64) -> Amount {
        coins(self.world, count)
    }

    /// A bill of a fresh invoice that raises the total from `before` coins to `total`.
    pub fn bill(&self, before: u64, total: u64) -> Bill {
        Bill {
            order: self.order.id(),
            invoice: StatementId(self.world.fresh().0),
            payee: self.option.address.clone(),
            asset: self.option.asset.clone(),
            total: self.coins(total),
            before: self.coins(before),
            messages: Some(total),
            channel: self.funding.channel,
        }
    }

    /// The buyer's signed payment of a bill.
    pub fn payment(&self, bill: &Bill, proof: &Proof) -> Signed<Payment> {
        Signed::sign(self.world.signer(), payment(bill, proof))
    }

    /// Pays a bill and settles it.
    ///
    /// # Panics
    /// Where either half refuses.
    pub async fn pay_and_settle(&self, bill: &Bill) -> Signed<Payment> {
        let proof = pay_carefully(self.world, bill).await.expect("the payer pays a bill within its limit");
        let payment = self.payment(bill, &proof);
        settle_finally(self.world, bill, &payment).await.expect("the payee settles what was paid");
        payment
    }

    /// Turns vouchers into money; gives the total.
    ///
    /// # Errors
    /// [`RailError`] of the payee.
    pub async fn redeem(&self, finished: bool) -> Result<Amount, RailError> {
        let id = self.order.id();
        let redeemed = insist(self.world, || self.world.payee().redeem(&id, finished)).await?;
        self.world.finalise().await;
        Ok(redeemed.total)
    }

    /// Gives up the channel from the payer's side.
    ///
    /// # Errors
    /// [`RailError`] of the payer.
    pub async fn close(&self) -> Result<CloseStatus, RailError> {
        let closed = insist(self.world, || self.world.payer().close(&self.funding)).await?;
        self.world.finalise().await;
        Ok(closed)
    }
}

/// What is locked once closes that other cases asked for are through.
pub(super) async fn locked_at_rest(world: &dyn RailWorld) -> Amount {
    world.pass_ms(world.payee().option().grace_min_ms).await;
    world.locked().await
}

pub(super) fn coins(world: &dyn RailWorld, count: u64) -> Amount {
    world.coin().checked_mul(count).expect("the amounts of a suite are small")
}

/// The seller that all orders of a suite go to.
pub fn test_seller() -> sdpp_proto::identity::PublicKey {
    super::test_key(200).public()
}

/// A request to open with the usual deposit, under a fresh reference.
pub(super) fn request(world: &dyn RailWorld, option: PayOption) -> OpenRequest {
    OpenRequest {
        reference: world.fresh(),
        option,
        limit: coins(world, DEPOSIT_COINS),
        signer: world.signer().public(),
        seller: test_seller(),
    }
}

/// An order that names this channel, with the nonce that the channel was opened for.
pub(super) fn order(
    world: &dyn RailWorld,
    (channel, nonce): (Option<ChannelId>, Bytes32),
    signer: &SigningKey,
) -> Signed<Order> {
    let order = Order {
        seller: test_seller(),
        menu_id: StatementId([9; 32]),
        product: 1,
        option: 0,
        quantity: None,
        windows: 2,
        exposure_max: coins(world, 10),
        limit: coins(world, DEPOSIT_COINS),
        channel,
        record: RecordPolicy { form: Form::Full, every: 1 },
        invoice_addr: None,
        sign_pk: signer.public(),
        nonce,
        until: Timestamp::NEVER,
    };
    Signed::sign(world.buyer(), order)
}

/// The payload of the payment that answers a bill.
pub(super) fn payment(bill: &Bill, proof: &Proof) -> Payment {
    Payment {
        order_id: bill.order,
        prev: bill.order,
        invoice_id: bill.invoice,
        total: bill.total,
        channel: bill.channel,
        proof: match proof {
            Proof::Voucher => None,
            Proof::Bytes(bytes) => Some(bytes.clone()),
        },
    }
}

/// Whether an answer is a refusal for good.
pub(super) fn refused<T>(answer: &Result<T, RailError>) -> bool {
    matches!(answer, Err(RailError::Declined(_)))
}
