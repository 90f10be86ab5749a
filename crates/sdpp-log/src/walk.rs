//! Which complete subtrees a root or a proof is made of, wherever their hashes are kept.
//!
//! The functions ask for the hash of a complete subtree by `(level, index)`: the leaves
//! `index * 2^level .. (index + 1) * 2^level`. They ask only for subtrees within the size they were given, and the
//! callers have checked sizes and indexes.

use alloc::vec::Vec;

use crate::hash::{Hash, node_hash};

/// The subtrees of a tree of `size` leaves, one for every set bit: from left to right.
pub(crate) fn peaks(size: u64) -> impl Iterator<Item = (u8, u64)> {
    let set = (0..64u8).rev().filter(move |level| shr(size, *level) & 1 == 1);
    // It is the last one of its level.
    set.map(move |level| (level, shr(size, level).saturating_sub(1)))
}

/// The root of the first `size` leaves, [`Hash::EMPTY`] for none (RFC 9162 §2.1.1).
pub(crate) fn root<E>(size: u64, complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size == 0 { Ok(Hash::EMPTY) } else { ragged(0, size, complete) }
}

/// The siblings of leaf `index` up to the root (RFC 9162 §2.1.3.1).
pub(crate) fn inclusion<E>(
    index: u64,
    size: u64,
    complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    climb((0, index), size, complete, &mut proof)?;
    Ok(proof)
}

/// The proof that the tree of `old` leaves is a prefix of that of `new` (RFC 9162 §2.1.4.1). Empty if `old` is 0 or
/// equals `new`: there is nothing to prove.
pub(crate) fn consistency<E>(
    old: u64,
    new: u64,
    complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    // The last complete subtree of the old tree, as large as it gets.
    let level = u8::try_from(old.trailing_zeros()).expect("a u64 has at most 64 trailing zeros");
    let last = shr(old, level).saturating_sub(1);
    if last > 0 {
        proof.push(complete(level, last)?);
    }
    climb((level, last), new, complete, &mut proof)?;
    Ok(proof)
}

/// Collects the siblings on the way from a node to the root of the first `size` leaves.
fn climb<E>(
    (mut level, mut index): (u8, u64),
    size: u64,
    complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
    proof: &mut Vec<Hash>,
) -> Result<(), E> {
    let mut last = shr(size.saturating_sub(1), level);
    while last > 0 {
        if index & 1 == 1 {
            proof.push(complete(level, index.saturating_sub(1))?);
        } else if index < last {
            let right = index.saturating_add(1);
            let start = right.checked_shl(u32::from(level)).expect("the right sibling starts below the size");
            proof.push(if right < last { complete(level, right)? } else { ragged(start, size, complete)? });
        }
        index >>= 1;
        last >>= 1;
        level = level.saturating_add(1);
    }
    Ok(())
}

/// The root over the leaves `start..end`, where `start` is a multiple of a power of two not below `end - start`.
fn ragged<E>(start: u64, end: u64, complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let mut rest = end.saturating_sub(start);
    let mut position = end;
    let mut root = None;
    // From the smallest complete subtree (rightmost) to the largest.
    while rest > 0 {
        let level = u8::try_from(rest.trailing_zeros()).expect("below 64");
        position = position.saturating_sub(rest & rest.wrapping_neg());
        let left = complete(level, shr(position, level))?;
        root = Some(root.map_or(left, |right| node_hash(&left, &right)));
        rest &= rest.saturating_sub(1);
    }
    Ok(root.expect("the callers never ask for the root of no leaves"))
}

/// `value >> bits`, 0 when all bits are shifted out.
pub(crate) fn shr(value: u64, bits: u8) -> u64 {
    value.checked_shr(u32::from(bits)).unwrap_or(0)
}
