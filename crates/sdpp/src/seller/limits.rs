//! How many, and how much, a seller takes at one time. Every number of it stands here.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sdpp_proto::money::Amount;

/// Frames that one session reads in one turn: a payment costs two signatures to check.
pub(crate) const FRAMES_PER_TURN: usize = 16;
/// Messages that one session signs in one turn, under the signing rule `message`.
pub(crate) const SIGNED_PER_TURN: usize = 512;
/// How often vouchers are looked after, unless the settings say otherwise.
pub const TEND_EVERY: Duration = Duration::from_secs(30);
/// Invoices between two redemptions of an order's vouchers, unless the settings say otherwise.
pub const REDEEM_EVERY: u64 = 100;
/// So many buyers with all their credit used fit into the strangers' pool of [`Pools::of`](super::Pools::of)…
pub(crate) const STRANGERS: u64 = 16;
/// …and so many into that of proven buyers.
pub(crate) const PROVEN: u64 = 1024;
/// How long a connection that ended by an offence counts among those of its address: so an address can
/// be wrong so often a second and not as often as it can connect.
pub(crate) const PENALTY: Duration = Duration::from_secs(1);
/// Time that the other side has to read why a connection ended before it had a session.
pub(crate) const GOODBYE: Duration = Duration::from_millis(200);

/// What a seller takes at one time. Whoever comes above it is told `Busy`; [`Pools`](super::Pools)
/// bound the money.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IP address; an IPv6 network of 64 bits is one. One that ended by an offence
    /// counts for a second more.
    pub connections_per_address: usize,
    /// Whether [`connections_per_address`](Self::connections_per_address) leaves this machine out:
    /// behind a proxy on it everybody comes from there.
    pub loopback_exempt: bool,
    /// Connections that have not sent their order yet. One more, and the oldest of the address that
    /// has most of them is dropped: whoever opens many and says nothing keeps out only its own.
    pub handshakes: usize,
    /// Live sessions of one buyer.
    pub sessions_per_buyer: usize,
    /// Most that one buyer may owe over all its orders.
    pub exposure_per_buyer: Amount,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            connections_per_address: 64,
            loopback_exempt: true,
            handshakes: 256,
            sessions_per_buyer: 16,
            exposure_per_buyer: Amount::MAX,
        }
    }
}

/// An address as caps count it.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if !six.is_loopback() => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    }
}
