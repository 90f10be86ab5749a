//! Signatures on which libraries differ: both providers give one answer, and it is the strict one.
//!
//! The cases follow Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), table 5: points
//! of small and of mixed order for A and R, S beyond L, encodings that are not canonical.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "arithmetic of a finite group, and a test"
)]

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity};
use sdpp_proto::crypto::{self, Provider};
use sdpp_proto::identity::PublicKey;
use sha2::{Digest, Sha512};

type Case = ([u8; 32], Vec<u8>, [u8; 64]);

fn providers() -> Vec<&'static dyn Provider> {
    vec![
        crypto::portable(),
        #[cfg(feature = "fast")]
        crypto::fast(),
    ]
}

fn accepted((public, message, signature): &Case) -> bool {
    let answers: Vec<bool> = providers().iter().map(|p| p.verify(public, message, signature)).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "providers differ: {answers:?}");
    answers[0]
}

/// The challenge of RFC 8032: `SHA-512(R || A || M)` modulo L.
fn challenge(r: &[u8; 32], public: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(public).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

/// Signs with `A = aB + T` and `R = rB + U`, as somebody who knows `a` and `r`.
fn sign(a: Scalar, t: EdwardsPoint, (r, u): (Scalar, EdwardsPoint), message: &[u8]) -> (Case, bool) {
    let (public, nonce) = (a * B + t, r * B + u);
    let (public, nonce) = (public.compress().to_bytes(), nonce.compress().to_bytes());
    let k = challenge(&nonce, &public, message);
    let s = r + k * a;
    let signature = join(nonce, s.to_bytes());
    // Without a cofactor the equation is `SB = R + kA`: the torsion parts must cancel.
    let cancels = (u + times(k, t)).is_identity();
    ((public, message.to_vec(), signature), cancels)
}

/// `k·T` for a point of order at most eight: `k` counts as an integer below L.
fn times(k: Scalar, t: EdwardsPoint) -> EdwardsPoint {
    (0..k.to_bytes()[0] & 7).fold(EdwardsPoint::identity(), |sum, _| sum + t)
}

fn join(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(&r);
    out[32..].copy_from_slice(&s);
    out
}

fn scalar(n: u8) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&[n.wrapping_add(3); 64])
}

fn message(n: u8) -> Vec<u8> {
    vec![n, 0x5d, n]
}

#[test]
fn honest_signatures_are_accepted_by_both_providers_and_are_the_same() {
    for n in 0..20 {
        let (case, _) = sign(scalar(n), EdwardsPoint::identity(), (scalar(n + 50), EdwardsPoint::identity()), b"m");
        assert!(accepted(&case));
        let signatures: Vec<_> = providers().iter().map(|p| p.signer(&[n; 32]).sign(&message(n))).collect();
        let publics: Vec<_> = providers().iter().map(|p| p.signer(&[n; 32]).public()).collect();
        assert!(signatures.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(publics.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(accepted(&(publics[0], message(n), signatures[0])));
        assert!(!accepted(&(publics[0], message(n + 1), signatures[0])));
    }
}

#[test]
fn points_of_mixed_order_are_accepted_only_where_the_equation_without_cofactor_holds() {
    let (mut yes, mut no) = (0, 0);
    for t in EIGHT_TORSION {
        for u in EIGHT_TORSION {
            for n in 0..24 {
                let (case, cancels) = sign(scalar(1), t, (scalar(2), u), &message(n));
                assert_eq!(accepted(&case), cancels);
                if cancels { yes += 1 } else { no += 1 }
            }
        }
    }
    // Cases 3 (both equations) and 4 (only the one with a cofactor) of the table.
    assert!(yes > 24 && no > 24, "{yes} {no}");
}

#[test]
fn keys_and_nonces_of_small_order_are_refused() {
    for t in EIGHT_TORSION {
        let small = t.compress().to_bytes();
        assert!(PublicKey::from_bytes(small).is_err());
        for u in EIGHT_TORSION {
            for n in 0..8 {
                // A of small order: S = r verifies without knowing any key where the torsion cancels.
                for r in [Scalar::ZERO, scalar(n)] {
                    let (case, _) = sign(Scalar::ZERO, t, (r, u), &message(n));
                    assert!(!accepted(&case), "A of small order");
                }
                // R of small order.
                let (case, _) = sign(scalar(n), t, (Scalar::ZERO, u), &message(n));
                assert!(!accepted(&case), "R of small order");
            }
        }
    }
    let zero: Case = ([0; 32], Vec::new(), [0; 64]);
    assert!(!accepted(&zero));
}

#[test]
fn s_beyond_the_group_order_is_refused() {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let identity = EdwardsPoint::identity();
    for n in 0..10 {
        let ((public, message, signature), _) = sign(scalar(n), identity, (scalar(n + 60), identity), &message(n));
        let mut s: [u8; 32] = signature[32..].try_into().unwrap();
        let nonce: [u8; 32] = signature[..32].try_into().unwrap();
        assert!(accepted(&(public, message.clone(), signature)));
        // S + L, S + 2L, … as long as it fits: the same scalar, so a lax library accepts it.
        for times in 1..16 {
            let mut carry = 0u16;
            for (byte, add) in s.iter_mut().zip(L) {
                carry += u16::from(*byte) + u16::from(add);
                *byte = carry as u8;
                carry >>= 8;
            }
            if carry > 0 {
                break;
            }
            assert!(!accepted(&(public, message.clone(), join(nonce, s))), "S + {times} L");
        }
        for high in [0x10, 0x20, 0x40, 0x80, 0xe0] {
            let mut signature = signature;
            signature[63] |= high;
            assert!(!accepted(&(public, message.clone(), signature)), "a high bit of S");
        }
    }
    // S = L and S = L − 1 as bare values.
    let (public, _) = (scalar(1) * B, ());
    let nonce = (scalar(2) * B).compress().to_bytes();
    assert!(!accepted(&(public.compress().to_bytes(), vec![1], join(nonce, L))));
}

/// The encodings of `y` in `p..2^255`, with both signs: 19 values that name a point twice.
fn not_canonical() -> Vec<[u8; 32]> {
    let encode = |above: u8, sign: u8| {
        let mut y = [0xff; 32];
        y[0] = 0xed + above;
        y[31] = 0x7f | sign;
        y
    };
    (0..19).flat_map(|above| [encode(above, 0), encode(above, 0x80)]).collect()
}

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    let identity = EdwardsPoint::identity();
    for encoding in not_canonical() {
        assert!(PublicKey::from_bytes(encoding).is_err());
        for n in 0..4 {
            // As R: S fits the challenge over the encoding as it stands, and over the reduced one.
            let public = (scalar(n) * B).compress().to_bytes();
            let message = message(n);
            let k = challenge(&encoding, &public, &message);
            for r in [Scalar::ZERO, scalar(n)] {
                let s = r + k * scalar(n);
                assert!(!accepted(&(public, message.clone(), join(encoding, s.to_bytes()))), "R");
            }
            // As A.
            let nonce = (scalar(n + 9) * B).compress().to_bytes();
            assert!(!accepted(&(encoding, message.clone(), join(nonce, scalar(n + 9).to_bytes()))), "A");
        }
    }
    // x = 0 with the sign bit set: another spelling of (0, 1) and (0, −1).
    for t in EIGHT_TORSION {
        let mut encoding = t.compress().to_bytes();
        encoding[31] ^= 0x80;
        assert!(PublicKey::from_bytes(encoding).is_err());
        let (case, _) = sign(scalar(1), identity, (scalar(2), identity), b"m");
        let s: [u8; 32] = case.2[32..].try_into().unwrap();
        assert!(!accepted(&(encoding, case.1.clone(), case.2)));
        assert!(!accepted(&(case.0, case.1, join(encoding, s))));
    }
}

#[test]
fn bytes_that_are_no_point_are_refused() {
    let mut none = 0;
    for n in 0..64 {
        let encoding = [n; 32];
        let point = curve25519_dalek::edwards::CompressedEdwardsY(encoding).decompress();
        let (case, _) = sign(scalar(n), EdwardsPoint::identity(), (scalar(2), EdwardsPoint::identity()), b"m");
        let s: [u8; 32] = case.2[32..].try_into().unwrap();
        none += usize::from(point.is_none());
        assert!(!accepted(&(encoding, case.1.clone(), case.2)));
        assert!(!accepted(&(case.0, case.1, join(encoding, s))));
    }
    assert!(none > 10, "about half of all encodings are no point");
}

#[test]
fn every_changed_bit_is_refused() {
    let (case, _) = sign(scalar(1), EdwardsPoint::identity(), (scalar(2), EdwardsPoint::identity()), b"message");
    for bit in 0..512 {
        let mut changed = case.clone();
        changed.2[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepted(&changed), "signature bit {bit}");
    }
    for bit in 0..256 {
        let mut changed = case.clone();
        changed.0[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepted(&changed), "key bit {bit}");
    }
}
