//! ECDSA on secp256k1 for vouchers, by libsecp256k1: a seller checks one for every few windows, and with the library that
//! transactions are signed with that took five times as long.

use std::sync::LazyLock;

use alloy::primitives::{Address, B256, Signature, U256};
use alloy::signers::Error;
use alloy::signers::local::PrivateKeySigner;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{All, Message, Secp256k1, SecretKey};

/// Blinded, as its authors advise for signing. Without randomness it still takes the same time for every key.
static CURVE: LazyLock<Secp256k1<All>> = LazyLock::new(|| {
    let (mut curve, mut seed) = (Secp256k1::new(), [0; 32]);
    if getrandom::fill(&mut seed).is_ok() {
        curve.seeded_randomize(&seed);
    }
    curve
});

/// Signs a digest; the same one has the same signature (RFC 6979), with the lower s.
pub(crate) fn sign(signer: &PrivateKeySigner, digest: B256) -> Result<Signature, Error> {
    let mut key = SecretKey::from_byte_array(signer.to_bytes().0).map_err(Error::other)?;
    let signed = CURVE.sign_ecdsa_recoverable(Message::from_digest(digest.0), &key);
    key.non_secure_erase();
    let (parity, compact) = signed.serialize_compact();
    let (r, s) = compact.split_at(32);
    let is_odd = matches!(parity, RecoveryId::One | RecoveryId::Three);
    Ok(Signature::new(U256::from_be_slice(r), U256::from_be_slice(s), is_odd))
}

/// Whose signature of a digest it is.
pub(crate) fn signer_of(signature: &Signature, digest: B256) -> Option<Address> {
    let parity = if signature.v() { RecoveryId::One } else { RecoveryId::Zero };
    let compact = [signature.r().to_be_bytes::<32>(), signature.s().to_be_bytes::<32>()].concat();
    let signature = RecoverableSignature::from_compact(&compact, parity).ok()?;
    let key = CURVE.recover_ecdsa(Message::from_digest(digest.0), &signature).ok()?;
    let [_, key @ ..] = key.serialize_uncompressed();
    Some(Address::from_raw_public_key(&key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use alloy::primitives::keccak256;
    use alloy::signers::SignerSync as _;

    use super::*;

    #[test]
    fn both_libraries_sign_the_same_and_find_the_same_signer() {
        for number in 1..=100u8 {
            let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap();
            let (digest, other) = (keccak256([number]), keccak256([number, 1]));
            let signature = sign(&key, digest).unwrap();
            assert_eq!(signature, key.sign_hash_sync(&digest).unwrap());
            assert_eq!(signer_of(&signature, digest), Some(key.address()));
            // Of another digest it is anybody's, and the same anybody's.
            assert_eq!(signer_of(&signature, other), signature.recover_address_from_prehash(&other).ok());
        }
    }

    #[test]
    fn what_is_no_signature_is_nobodys() {
        for (r, s) in
            [(U256::ZERO, U256::ZERO), (U256::MAX, U256::ONE), (U256::ONE, U256::MAX), (U256::ZERO, U256::ONE)]
        {
            for v in [false, true] {
                let signature = Signature::new(r, s, v);
                assert_eq!(signer_of(&signature, B256::ZERO), None);
                assert!(signature.recover_address_from_prehash(&B256::ZERO).is_err());
            }
        }
    }
}
