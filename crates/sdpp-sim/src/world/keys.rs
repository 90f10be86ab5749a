//! Keys of all worlds, made once.

use std::sync::LazyLock;

use sdpp_proto::identity::SigningKey;
use zeroize::Zeroizing;

pub(crate) const SELLER: u8 = 1;
pub(crate) const ISSUER: u8 = 2;
pub(crate) const LOG: u8 = 3;
pub(crate) const WITNESS: u8 = 4;
/// The first buyer; others follow.
pub(crate) const BUYER: u8 = 10;

/// The key of a number.
pub(crate) fn key(number: u8) -> SigningKey {
    static KEYS: LazyLock<Vec<SigningKey>> =
        LazyLock::new(|| (0..=63).map(|number| SigningKey::from_seed(&Zeroizing::new([number; 32]))).collect());
    KEYS.get(usize::from(number)).expect("a world has few people").clone()
}
