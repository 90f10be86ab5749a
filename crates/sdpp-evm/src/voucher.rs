//! Vouchers: what a payer signs for a bill, and what a payee takes.

use alloy::primitives::{Address, B256, Signature, U256};
use alloy::signers::local::PrivateKeySigner;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, ChannelId, StatementId};
use sdpp_proto::money::Amount;
use sdpp_rail::Proof;

use crate::abi::SdppChannels;
use crate::curve;
use crate::limits;
use crate::typed::{self, Place};

/// The proof of a payment: what the payment itself does not say.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct VoucherProof {
    /// Messages that the total pays for.
    #[n(1)]
    pub messages: u64,
    /// The signer's signature: r, s, v.
    #[n(2)]
    pub signature: ByteArray<65>,
}

/// A claim for a channel: the total, for how many messages, and the newest invoice, which commits to all receipts before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The channel.
    pub channel: ChannelId,
    /// Owed in all.
    pub total: Amount,
    /// For so many messages.
    pub messages: u64,
    /// The invoice that asks for it.
    pub invoice: StatementId,
}

impl Claim {
    fn typed(&self) -> typed::Voucher {
        typed::Voucher {
            channelId: B256::new(self.channel.0),
            cumulative: U256::from(self.total.get()),
            messages: self.messages,
            commitment: B256::new(self.invoice.0),
        }
    }

    /// Signs it. The same claim has the same signature (RFC 6979).
    ///
    /// # Errors
    /// The library's, which no key of this curve gives.
    pub fn sign(&self, place: &Place, signer: &PrivateKeySigner) -> Result<VoucherProof, alloy::signers::Error> {
        let signature = curve::sign(signer, place.digest(&self.typed()))?;
        Ok(VoucherProof { messages: self.messages, signature: signature.as_bytes().into() })
    }

    /// Whether `signer` signed it. A second spelling of the same signature is refused, as by the contract.
    pub fn is_signed(&self, place: &Place, signer: &Address, proof: &VoucherProof) -> bool {
        let Ok(signature) = Signature::from_raw_array(&proof.signature) else { return false };
        let spelling = signature.as_bytes() == *proof.signature && signature.normalize_s().is_none();
        spelling
            && proof.messages == self.messages
            && curve::signer_of(&signature, place.digest(&self.typed())).is_some_and(|found| found == *signer)
    }

    /// For the contract.
    pub fn call(&self, proof: &VoucherProof) -> SdppChannels::Voucher {
        let typed::Voucher { channelId, cumulative, messages, commitment } = self.typed();
        let signature = proof.signature.to_vec().into();
        SdppChannels::Voucher { channelId, cumulative, messages, commitment, signature }
    }
}

impl VoucherProof {
    /// As it travels with a payment.
    pub fn encode(&self) -> Proof {
        Proof::Bytes(codec::encode(self))
    }

    /// Reads a payment's proof.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes, limits::PROOF_BYTES_MAX).ok()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn key(number: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
    }

    #[test]
    fn a_claim_is_signed_by_one_key_for_one_place_and_nothing_of_it_changes() {
        let place = Place { chain: 1, contract: Address::repeat_byte(4) };
        let (channel, invoice) = (ChannelId([1; 32]), StatementId([2; 32]));
        let claim = Claim { channel, total: Amount::new(500), messages: 100, invoice };
        let (signer, proof) = (key(3).address(), claim.sign(&place, &key(3)).unwrap());
        let travelled = match proof.encode() {
            Proof::Bytes(bytes) => VoucherProof::parse(&bytes).unwrap(),
            Proof::Voucher => panic!("it has a proof"),
        };
        assert!(claim.is_signed(&place, &signer, &travelled));
        assert_eq!(claim.sign(&place, &key(3)).unwrap(), proof);
        for other in [
            Claim { channel: ChannelId([9; 32]), ..claim },
            Claim { total: Amount::new(501), ..claim },
            Claim { messages: 101, ..claim },
            Claim { invoice: StatementId([9; 32]), ..claim },
        ] {
            assert!(!other.is_signed(&place, &signer, &proof));
        }
        assert!(!claim.is_signed(&place, &key(4).address(), &proof));
        assert!(!claim.is_signed(&Place { chain: 2, ..place }, &signer, &proof));
        assert!(!claim.is_signed(&Place { contract: Address::repeat_byte(5), ..place }, &signer, &proof));
        for byte in 0..proof.signature.len() {
            let mut changed = proof.clone();
            changed.signature[byte] ^= 1;
            assert!(!claim.is_signed(&place, &signer, &changed), "byte {byte}");
        }
        assert!(!claim.is_signed(&place, &signer, &VoucherProof { messages: 99, ..proof }));
    }

    #[test]
    fn a_second_spelling_of_a_signature_is_refused() {
        let place = Place { chain: 1, contract: Address::repeat_byte(4) };
        let (channel, invoice) = (ChannelId([1; 32]), StatementId([2; 32]));
        let claim = Claim { channel, total: Amount::new(500), messages: 100, invoice };
        let proof = claim.sign(&place, &key(3)).unwrap();
        let good = Signature::from_raw_array(&proof.signature).unwrap();
        let order = alloy::primitives::uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
        let other = Signature::new(good.r(), order.wrapping_sub(good.s()), !good.v());
        let digest = place.digest(&claim.typed());
        assert_eq!(other.recover_address_from_prehash(&digest).unwrap(), key(3).address(), "the curve takes it");
        let spelt = VoucherProof { signature: other.as_bytes().into(), ..proof.clone() };
        assert!(!claim.is_signed(&place, &key(3).address(), &spelt));
        // 0 and 1 for 27 and 28.
        let mut spelt = proof;
        spelt.signature[64] = u8::from(good.v());
        assert!(!claim.is_signed(&place, &key(3).address(), &spelt));
    }
}
