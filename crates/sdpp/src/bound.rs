//! What each side can lose at most, line by line, before the first message (`spec/protocol.md` §7).

use std::fmt;

use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{PayOption, Product};

/// The bound on loss of one order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// What amounts count.
    pub asset: AssetId,
    /// What a unit of it is called.
    pub unit: String,
    /// Somebody runs the place of the money, and could steal it: a ledger, unlike a chain.
    pub has_operator: bool,
    /// Most that the seller may be owed: its loss if the buyer never pays.
    pub seller_exposure: Amount,
    /// The seller's vouchers that are not redeemed yet: lost if the buyer asks for the close and the seller is away for the
    /// whole grace period, or where there is an operator and it is a thief.
    pub seller_unredeemed: Amount,
    /// What the buyer pays for data it did not get.
    pub buyer_undelivered: Amount,
    /// The buyer's deposit, locked until the seller closes the channel or the grace is over.
    pub buyer_deposit: Amount,
    /// Grace period in milliseconds.
    pub grace_ms: u64,
    /// Messages per window.
    pub k: u32,
    /// Outstanding windows.
    pub windows: u32,
}

impl Bound {
    /// The bound of an order of this product with this option.
    pub fn of(product: &Product, option: &PayOption, (exposure, limit): (Amount, Amount), windows: u32) -> Self {
        let locked = if option.channel { limit } else { Amount::ZERO };
        Self {
            asset: option.asset.clone(),
            unit: option.asset.unit().to_owned(),
            has_operator: option.rail.starts_with("ledger"),
            seller_exposure: exposure.min(limit),
            seller_unredeemed: locked,
            buyer_undelivered: Amount::ZERO,
            buyer_deposit: locked,
            grace_ms: option.grace_min_ms,
            k: product.k,
            windows,
        }
    }

    /// The same for people who call a unit so.
    #[must_use]
    pub fn in_units(self, unit: &str) -> Self {
        Self { unit: unit.to_owned(), ..self }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asset, seconds) = (&self.unit, self.grace_ms / 1000);
        writeln!(f, "What can be lost at most (K = {}, {} outstanding windows):", self.k, self.windows)?;
        writeln!(f, "  seller  {} {asset} if the buyer takes data and does not pay", self.seller_exposure)?;
        writeln!(f, "  seller  the same again each time it crashes: what both sides lost is not charged")?;
        if self.seller_unredeemed > Amount::ZERO {
            let most = self.seller_unredeemed;
            writeln!(
                f,
                "  seller  {most} {asset} of vouchers not yet redeemed, if it is away for {seconds} s and more"
            )?;
            if self.has_operator {
                writeln!(f, "  seller  the same, if the ledger's operator is a thief")?;
            }
        }
        writeln!(f, "  buyer   {} {asset} for data that is not delivered", self.buyer_undelivered)?;
        if self.buyer_deposit > Amount::ZERO {
            let deposit = self.buyer_deposit;
            writeln!(
                f,
                "  buyer   nothing of its deposit of {deposit} {asset}, which may stay locked for {seconds} s"
            )?;
            if self.has_operator {
                writeln!(f, "  buyer   its balance, if the ledger's operator is a thief")?;
            }
        }
        write!(f, "  Worthless content is not refunded.")
    }
}
