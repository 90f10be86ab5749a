//! Hashing with labels and exact lengths (`spec/protocol.md` §3, §4).

use sha2::{Digest as _, Sha256};

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 over a label and length-prefixed parts: `H(label || lp(part)…)`, where `lp` is a 32-bit
/// big-endian length and the exact bytes. No two lists of parts give the same input.
pub fn labelled(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    for part in parts {
        // No part of the protocol is longer than a frame, far below 4 GiB.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        hash.update(length.to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
