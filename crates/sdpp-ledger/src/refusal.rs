//! Why the ledger does not take an entry: one variant per rule.

use std::fmt;

use minicbor::{Decode, Encode};
use sdpp_proto::codec::StatementId;
use sdpp_proto::time::Timestamp;

/// Where an entry stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Place {
    /// Its index, from 0.
    #[n(1)]
    pub index: u64,
    /// Its id.
    #[n(2)]
    pub id: StatementId,
}

/// The rule that an entry breaks. An entry that was refused changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Longer than [`limits::ENTRY_MAX`](crate::limits::ENTRY_MAX).
    TooLong,
    /// Not an entry: its COSE wrapping, its content type or its payload.
    Malformed,
    /// The issuer's signature does not verify.
    BadSignature,
    /// Meant for another log.
    OtherLog,
    /// Not a rule broken: this very entry is in the log. Never a second time.
    KnownEntry(Place),
    /// Not a rule broken: the same statement is recorded, whole or by its id.
    KnownRecord(Place),

    /// An amount of nothing.
    ZeroAmount,
    /// A symbol that is empty, too long or not of letters, digits, `-`, `_` and `.`.
    BadSymbol,
    /// The issuer used this reference before, for this asset.
    IssueReferenceUsed,
    /// More of one asset than an amount can count.
    SupplyOverflow,
    /// The account has less than that.
    InsufficientFunds,
    /// The payer used this reference before, in a transfer.
    TransferReferenceUsed,

    /// The grace period is above [`limits::GRACE_MAX_MS`](crate::limits::GRACE_MAX_MS).
    GraceTooLong,
    /// The payer opened a channel with this reference before; it may be closed by now.
    ChannelExists,
    /// There is no such channel.
    UnknownChannel,
    /// The channel is closed, for ever.
    ChannelClosed,
    /// The channel's close has been requested already.
    ClosePending,
    /// Only the channel's payer may.
    NotThePayer,
    /// The payer used this reference before, in a top-up of this channel.
    TopUpReferenceUsed,
    /// Only the payee may close a channel whose close was not requested.
    CloseNotRequested,
    /// The grace period runs until then.
    GraceRuns(Timestamp),
    /// No tick was logged yet, so a grace period cannot start.
    NoTickYet,

    /// The embedded bytes are not a payment.
    VoucherMalformed,
    /// The payment's signature does not verify.
    VoucherBadSignature,
    /// The payment is not signed by the channel's signer.
    VoucherWrongSigner,
    /// The payment names another channel, or none.
    VoucherWrongChannel,
    /// The payment carries the proof of another rail.
    VoucherHasProof,
    /// The total is not above what was redeemed before.
    VoucherNotRising,
    /// The total is above the deposit.
    VoucherAboveDeposit,

    /// Only the log's own key ticks.
    NotTheLog,
    /// The time is not after the last tick's.
    TickBackward,

    /// The recorded bytes are not a statement.
    RecordMalformed,
    /// The recorded statement's signature does not verify.
    RecordBadSignature,
    /// A record of a hash that has not 32 bytes.
    RecordNotAHash,
}

impl Refusal {
    /// The rule, in fixed words for people.
    pub const fn text(&self) -> &'static str {
        match self {
            Self::TooLong => "the entry is too long",
            Self::Malformed => "not an entry of this ledger's kinds",
            Self::BadSignature => "the entry's signature does not verify",
            Self::OtherLog => "the entry is meant for another log",
            Self::KnownEntry(_) => "the entry is in the log already",
            Self::KnownRecord(_) => "the statement is recorded already",
            Self::ZeroAmount => "an amount of nothing",
            Self::BadSymbol => "not an acceptable symbol for an asset",
            Self::IssueReferenceUsed => "the issuer used this reference before",
            Self::SupplyOverflow => "more of one asset than can be counted",
            Self::InsufficientFunds => "the account has less than that",
            Self::TransferReferenceUsed => "the payer used this reference before",
            Self::GraceTooLong => "the grace period is too long",
            Self::ChannelExists => "the payer used this channel reference before",
            Self::UnknownChannel => "there is no such channel",
            Self::ChannelClosed => "the channel is closed",
            Self::ClosePending => "the channel is about to be closed",
            Self::NotThePayer => "only the channel's payer may",
            Self::TopUpReferenceUsed => "the payer used this top-up reference before",
            Self::CloseNotRequested => "nobody but the payee may close before a close was requested",
            Self::GraceRuns(_) => "the grace period is not over",
            Self::NoTickYet => "the log has no time yet",
            Self::VoucherMalformed => "the voucher is not a payment",
            Self::VoucherBadSignature => "the voucher's signature does not verify",
            Self::VoucherWrongSigner => "the voucher is not by the channel's signer",
            Self::VoucherWrongChannel => "the voucher is for another channel",
            Self::VoucherHasProof => "the voucher carries a proof of another rail",
            Self::VoucherNotRising => "the voucher is not above what was redeemed",
            Self::VoucherAboveDeposit => "the voucher is above the deposit",
            Self::NotTheLog => "only the log ticks",
            Self::TickBackward => "time does not go backward",
            Self::RecordMalformed => "the record is not a statement",
            Self::RecordBadSignature => "the recorded statement's signature does not verify",
            Self::RecordNotAHash => "the recorded hash has not 32 bytes",
        }
    }

    /// The first entry, where this one says nothing new.
    pub const fn known(&self) -> Option<Place> {
        if let Self::KnownEntry(place) | Self::KnownRecord(place) = self { Some(*place) } else { None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}
