//! The transcript and the key schedule once more, from the text of `spec/protocol.md` §4 and RFC 9180 and not from
//! the code under test: what somebody with the keys can do with the bytes that went by.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce, Tag};
use curve25519_dalek::MontgomeryPoint;
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};

pub type Key = [u8; 32];

/// `H(label; parts)`.
fn h(label: &str, parts: &[&[u8]]) -> Key {
    let mut input = label.as_bytes().to_vec();
    for part in parts {
        input.extend_from_slice(&(part.len() as u32).to_be_bytes());
        input.extend_from_slice(part);
    }
    Sha256::digest(input).into()
}

pub fn th1(hello: &[u8], menu: &[u8]) -> Key {
    h("SDPP/2 th1", &[hello, menu])
}

pub fn th2(th1: &Key, order: &[u8]) -> Key {
    h("SDPP/2 th2", &[th1, order])
}

pub fn th3(th2: &Key, session: &[u8]) -> Key {
    h("SDPP/2 th3", &[th2, session])
}

fn extract(salt: &[u8], key: &[u8]) -> Key {
    Hkdf::<Sha256>::extract(Some(salt), key).0.into()
}

fn expand<const N: usize>(prk: &Key, info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    Hkdf::<Sha256>::from_prk(prk).unwrap().expand(info, &mut out).unwrap();
    out
}

/// The first secret of a direction, `s2b` or `b2s`.
pub fn first_secret(th3: &Key, export: &Key, direction: &str) -> Key {
    expand(&extract(th3, export), direction.as_bytes())
}

/// The secret of the next epoch.
pub fn next_secret(secret: &Key) -> Key {
    expand(secret, b"next")
}

fn open(key: &Key, nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (ct, tag) = sealed.split_last_chunk::<16>()?;
    let (mut plain, aead) = (ct.to_vec(), Aes256Gcm::new(&(*key).into()));
    let opened = aead.decrypt_inout_detached(&Nonce::from(nonce), aad, plain.as_mut_slice().into(), &Tag::from(*tag));
    opened.ok().map(|()| plain)
}

/// Opens a whole sealed frame under the secret of its epoch.
pub fn open_frame(secret: &Key, frame: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = frame.split_at(13);
    let mut nonce: [u8; 12] = expand(secret, b"iv");
    nonce.iter_mut().skip(4).zip(&header[5..13]).for_each(|(byte, count)| *byte ^= count);
    open(&expand(secret, b"key"), nonce, header, body)
}

const KEM: &[u8] = b"KEM\x00\x20";
const HPKE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x02";

fn labeled_extract(suite: &[u8], salt: &[u8], label: &str, key: &[u8]) -> Key {
    extract(salt, &[b"HPKE-v1", suite, label.as_bytes(), key].concat())
}

fn labeled_expand<const N: usize>(suite: &[u8], prk: &Key, label: &str, info: &[u8]) -> [u8; N] {
    expand(prk, &[&(N as u16).to_be_bytes(), &b"HPKE-v1"[..], suite, label.as_bytes(), info].concat())
}

/// An HPKE context of suite 1, at whoever has the recipient's secret: unlike an honest recipient it can seal, too.
pub struct Context {
    key: Key,
    nonce: [u8; 12],
    exporter: Key,
}

impl Context {
    /// From the seed of the recipient's key pair.
    pub fn of_recipient(seed: &Key, enc: &[u8], info: &[u8]) -> Self {
        let secret: Key = labeled_expand(KEM, &labeled_extract(KEM, b"", "dkp_prk", seed), "sk", b"");
        let public = MontgomeryPoint::mul_base_clamped(secret);
        let shared = MontgomeryPoint(enc.try_into().unwrap()).mul_clamped(secret);
        let prk = labeled_extract(KEM, b"", "eae_prk", &shared.0);
        let shared: Key = labeled_expand(KEM, &prk, "shared_secret", &[enc, &public.0].concat());
        let id_hash = labeled_extract(HPKE, b"", "psk_id_hash", b"");
        let info_hash = labeled_extract(HPKE, b"", "info_hash", info);
        let context = [&[0][..], &id_hash, &info_hash].concat();
        let secret = labeled_extract(HPKE, &shared, "secret", b"");
        Self {
            key: labeled_expand(HPKE, &secret, "key", &context),
            nonce: labeled_expand(HPKE, &secret, "base_nonce", &context),
            exporter: labeled_expand(HPKE, &secret, "exp", &context),
        }
    }

    pub fn open(&self, ct: &[u8]) -> Option<Vec<u8>> {
        open(&self.key, self.nonce, b"", ct)
    }

    /// Another message under the same encapsulation.
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let (mut ct, aead) = (plain.to_vec(), Aes256Gcm::new(&self.key.into()));
        let tag = aead.encrypt_inout_detached(&Nonce::from(self.nonce), b"", ct.as_mut_slice().into()).unwrap();
        ct.extend_from_slice(&tag);
        ct
    }

    pub fn export(&self) -> Key {
        labeled_expand(HPKE, &self.exporter, "sec", b"SDPP/2 traffic")
    }
}
