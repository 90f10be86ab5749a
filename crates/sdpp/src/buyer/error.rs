//! Why a call of the buyer gave nothing.

use std::io;

use sdpp_proto::buyer::{self as core, PlaceError};
use sdpp_proto::codec::StatementId;
use sdpp_rail::{RailError, Standing};

use crate::entropy::NoEntropy;
use crate::journal::ReadError;

/// Why a purchase did not come to be, or was given up.
#[derive(Debug)]
pub enum BuyError {
    /// The seller cannot be reached, or the connection was lost for good.
    Connection(io::Error),
    /// No randomness.
    NoEntropy(NoEntropy),
    /// The journal.
    Journal(ReadError),
    /// The journal's order cannot be rebuilt.
    Restore(sdpp_proto::seller::RestoreError),
    /// The rail.
    Rail(RailError),
    /// The menu has no such product, or no option of this rail.
    NotOffered(String),
    /// The product is no longer what was agreed to: another price, other windows.
    TermsChanged,
    /// The seller's key has ended: it was revoked, or gave way to another.
    KeyEnded(Box<Standing>),
    /// The order makes no sense against the menu.
    Place(PlaceError),
    /// The connection ended before there was an order.
    Ended(core::Ended),
    /// What the quantity costs at most does not fit an amount, or nobody knows it, for the price counts
    /// time: name a limit.
    Overflow,
    /// The sink cannot take this stream, or holds less than was paid for.
    Sink(io::Error),
    /// The journal has no such order.
    UnknownOrder(StatementId),
    /// It was told to stop while the rail was opening a channel: there is no order.
    Stopped,
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(error) => {
                write!(f, "cannot talk to the seller: {error}; check the address, and that the seller runs")
            }
            Self::NoEntropy(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Restore(error) => error.fmt(f),
            Self::Rail(error) => error.fmt(f),
            Self::NotOffered(what) => write!(f, "the seller's menu does not offer {what}: see `sdpp menu`"),
            Self::TermsChanged => {
                f.write_str("the seller has changed price or terms meanwhile: look again and decide anew")
            }
            Self::KeyEnded(standing) => match standing.as_ref() {
                Standing::Rotated { to, .. } => {
                    write!(f, "the seller's key gave way to {to}: if you trust that one too, put it into the address")
                }
                Standing::Revoked { .. } | Standing::Good => {
                    f.write_str("the seller has revoked its key: ask it for its new address, by another way")
                }
            },
            Self::Place(error) => error.fmt(f),
            Self::Ended(core::Ended::Offence(offence)) => write!(f, "the seller broke a rule: {offence}"),
            Self::Ended(core::Ended::Told(Some(fault))) => write!(f, "the seller refused: {fault}"),
            Self::Ended(_) => f.write_str("the connection ended before there was an order: try again"),
            Self::Overflow => {
                f.write_str("nobody can say what this quantity costs at most: order less, or set a limit")
            }
            Self::Sink(error) => write!(f, "the messages cannot be kept: {error}"),
            Self::Stopped => f.write_str(
                "stopped while the rail was opening a channel: nothing was ordered; a deposit that was locked comes back with \
                 the next purchase",
            ),
            Self::UnknownOrder(order) => write!(f, "the journal has no order {order}: see `sdpp orders`"),
        }
    }
}

impl std::error::Error for BuyError {}
