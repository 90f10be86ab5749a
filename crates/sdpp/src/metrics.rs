//! What a running program counts and measures, through the facade [`metrics`]: a program that installs
//! no recorder pays almost nothing. Nothing is reported per message; sessions report when an invoice
//! is durable, when a payment is credited, and when they end.
//!
//! Amounts are base units as `f64`, for displays and alarms only: above 2^53 they are rounded. What
//! is owed and paid stands in the journal, as integers.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::offence::{Offence, Reason};

/// Messages invoiced or verified; label `role`.
pub const MESSAGES: &str = "sdpp_messages_total";
/// Payload bytes of these messages; label `role`.
pub const BYTES: &str = "sdpp_bytes_total";
/// Windows invoiced or verified; label `role`.
pub const WINDOWS: &str = "sdpp_windows_total";
/// Base units credited or paid; labels `role` and `asset`. A gauge that only rises: a counter holds
/// 64 bits, which are few for an asset with 18 decimals.
pub const PAID: &str = "sdpp_paid_total";
/// Base units owed for data sent or received and not paid; labels `role` and `asset`.
pub const EXPOSURE: &str = "sdpp_unpaid_exposure";
/// Connections ended without blame by the own side; labels `role` and `reason`.
pub const REFUSALS: &str = "sdpp_refusals_total";
/// Offences of the other side; labels `role` and `code`.
pub const OFFENCES: &str = "sdpp_offences_total";
/// Live sessions; label `role`.
pub const SESSIONS: &str = "sdpp_sessions";
/// Time in seconds until a rail has answered about a payment; label `role`.
pub const SETTLE_SECONDS: &str = "sdpp_settle_seconds";
/// Time in seconds until the journal holds what it was given; label `role`.
pub const STORE_SECONDS: &str = "sdpp_store_seconds";
/// Live messages dropped while credit was used up (`when_stalled = skip`).
pub const SKIPPED: &str = "sdpp_skipped_total";
/// Live messages that an order did not get because more waited for it, or for all orders of its source, than may; and those
/// that its product cannot sell.
pub const DROPPED: &str = "sdpp_dropped_total";
/// Connections refused or dropped before a session, for want of room; label `limit`.
pub const CONNECTIONS_REFUSED: &str = "sdpp_connections_refused_total";

/// Whose numbers they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Of sales.
    Seller,
    /// Of purchases.
    Buyer,
}

impl Role {
    /// The value of the label `role`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seller => "seller",
            Self::Buyer => "buyer",
        }
    }
}

/// Tells the recorder what all these numbers mean. To be called once, after it is installed.
pub fn describe() {
    use metrics::Unit::{Bytes, Count, Seconds};
    describe_counter!(MESSAGES, Count, "messages invoiced (seller) or verified (buyer)");
    describe_counter!(BYTES, Bytes, "payload bytes of these messages");
    describe_counter!(WINDOWS, Count, "windows invoiced (seller) or verified (buyer)");
    describe_gauge!(PAID, "base units credited (seller) or paid (buyer) since the start, rounded for display");
    describe_gauge!(EXPOSURE, "base units owed for data and not paid, rounded for display");
    describe_counter!(REFUSALS, Count, "connections ended without blame by the own side");
    describe_counter!(OFFENCES, Count, "offences of the other side, by their code on the wire");
    describe_gauge!(SESSIONS, Count, "live sessions");
    describe_histogram!(SETTLE_SECONDS, Seconds, "until a rail has answered about a payment");
    describe_histogram!(STORE_SECONDS, Seconds, "until the journal holds what it was given");
    describe_counter!(SKIPPED, Count, "live messages dropped while credit was used up");
    describe_counter!(DROPPED, Count, "live messages dropped because more waited than may");
    describe_counter!(CONNECTIONS_REFUSED, Count, "connections refused or dropped for want of room");
}

/// A span was invoiced or verified.
pub(crate) fn delivered(role: Role, (messages, bytes, windows): (u64, u64, u64)) {
    counter!(MESSAGES, "role" => role.name()).increment(messages);
    counter!(BYTES, "role" => role.name()).increment(bytes);
    counter!(WINDOWS, "role" => role.name()).increment(windows);
}

/// So much more was paid.
pub(crate) fn paid(role: Role, asset: &AssetId, more: Amount) {
    gauge!(PAID, "role" => role.name(), "asset" => asset.as_str().to_owned()).increment(for_display(more));
}

/// So much is owed now, over all orders.
pub(crate) fn exposure(role: Role, asset: &AssetId, owed: Amount) {
    gauge!(EXPOSURE, "role" => role.name(), "asset" => asset.as_str().to_owned()).set(for_display(owed));
}

/// The own side ended a connection without blame.
pub(crate) fn refused(role: Role, reason: Reason) {
    counter!(REFUSALS, "role" => role.name(), "reason" => reason.name()).increment(1);
}

/// The other side broke a rule.
pub(crate) fn offended(role: Role, offence: Offence) {
    counter!(OFFENCES, "role" => role.name(), "code" => offence.code().to_string()).increment(1);
}

/// A session has become live.
pub(crate) fn session_begins(role: Role) {
    gauge!(SESSIONS, "role" => role.name()).increment(1.0);
}

/// A session that was live has ended.
pub(crate) fn session_ends(role: Role) {
    gauge!(SESSIONS, "role" => role.name()).decrement(1.0);
}

/// A rail has answered about a payment.
pub(crate) fn settled(role: Role, took: Duration) {
    histogram!(SETTLE_SECONDS, "role" => role.name()).record(took);
}

/// The journal holds what it was given.
pub(crate) fn stored(role: Role, took: Duration) {
    histogram!(STORE_SECONDS, "role" => role.name()).record(took);
}

/// Live messages were dropped.
pub(crate) fn skipped(messages: u64) {
    counter!(SKIPPED).increment(messages);
}

/// An order did not get live messages.
pub(crate) fn dropped(messages: u64) {
    counter!(DROPPED).increment(messages);
}

/// There was no room for a connection.
pub(crate) fn connection_refused(limit: &'static str) {
    counter!(CONNECTIONS_REFUSED, "limit" => limit).increment(1);
}

/// Rounded: never counted with.
const fn for_display(amount: Amount) -> f64 {
    amount.get() as f64
}
