//! Notes, checkpoints and policies with real keys: those of other people's implementations, and our own.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{Dalek, Secret};
use ed25519_dalek::SigningKey;
use sdpp_log::{
    Checkpoint, Cosignature, Hash, LogState, Note, NoteError, OpenError, Policy, SignatureType, SignedCheckpoint,
    TrustError, VerifierKey, Witness, cosign,
};

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

/// From the documentation of Go's `golang.org/x/mod/sumdb/note`.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// The example's signing key, printed on the same page.
const PETER_SEED: [u8; 32] = [
    0x81, 0x0a, 0x14, 0x02, 0xd5, 0x14, 0x6c, 0x8d, 0x84, 0xf2, 0x44, 0x33, 0x30, 0xf5, 0x40, 0x80, 0xeb, 0xf9, 0x8e,
    0xe1, 0x7d, 0x9c, 0x74, 0xf6, 0x25, 0x2f, 0xc5, 0xd5, 0xc7, 0x28, 0x31, 0x73,
];
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";

/// A checkpoint of a public log of transparency.dev with cosignatures of public witnesses.
const ARCHE_NOTE: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";
const ARCHE: &str = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const WITNESSES: [&str; 5] = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
    // Did not cosign this one.
    "rgdd.se/poc-witness+db03732e+BCjJKlo6BU0xfIb8LutqerIFTWIXEA0L5n3tW3QyPFgG",
];

fn arche_policy(quorum: usize) -> Policy {
    Policy::new(key(ARCHE), WITNESSES.map(key).to_vec(), quorum).unwrap()
}

#[test]
fn opens_the_note_of_the_go_documentation() {
    let note = Note::parse(PETER_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(&[key(PETER)], &Dalek), Ok(()));
    assert_eq!(note.to_string(), PETER_NOTE);

    // Ed25519 is deterministic: our own signature is the same.
    let mut ours = Note::new(note.text()).unwrap();
    ours.sign(&key(PETER), &Secret(SigningKey::from_bytes(&PETER_SEED))).unwrap();
    assert_eq!(ours, note);

    assert_eq!(note.verify(&[key(ARCHE)], &Dalek), Err(NoteError::NotSigned));
    assert_eq!(note.verify(&[], &Dalek), Err(NoteError::NotSigned));
    assert_eq!(note.verify(&[key(WITNESSES[0])], &Dalek), Err(NoteError::WrongKeyType));
}

#[test]
fn opens_the_note_of_the_signed_note_specification() {
    let note = "This is an example message.\n\n\u{2014} example.com/foo \
                Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let foo = key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
    assert_eq!(Note::parse(note.as_bytes()).unwrap().verify(&[foo], &Dalek), Ok(()));
}

#[test]
fn no_changed_byte_of_a_note_passes() {
    for i in 0..PETER_NOTE.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = PETER_NOTE.as_bytes().to_vec();
            bytes[i] ^= flip;
            let verified = Note::parse(&bytes).and_then(|note| note.verify(&[key(PETER)], &Dalek));
            assert!(verified.is_err(), "byte {i}");
        }
    }
    for end in 0..PETER_NOTE.len() {
        assert!(Note::parse(&PETER_NOTE.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn trusts_a_public_checkpoint_with_public_witnesses() {
    let trusted = arche_policy(4).check(ARCHE_NOTE.as_bytes(), &Dalek).unwrap();
    assert_eq!(trusted.checkpoint.size(), 1_432_088_532);
    let times: Vec<_> = trusted.cosigned_at.iter().map(|cosignature| cosignature.time_s).collect();
    assert_eq!(times, [0x6a12_2120; 4]);
    assert_eq!(Note::parse(ARCHE_NOTE.as_bytes()).unwrap().to_string(), ARCHE_NOTE);

    let error = TrustError::QuorumNotMet { valid: 4, quorum: 5 };
    assert_eq!(arche_policy(5).check(ARCHE_NOTE.as_bytes(), &Dalek), Err(error));
}

#[test]
fn does_not_trust_what_was_changed() {
    let check = |from: &str, to: &str| arche_policy(0).check(ARCHE_NOTE.replacen(from, to, 1).as_bytes(), &Dalek);
    let bad_log = TrustError::Open(OpenError::Note(NoteError::BadSignature));
    assert_eq!(check("1432088532", "1432088533"), Err(bad_log));
    assert_eq!(check("4Ro=\n", "4Ro=\nmore\n"), Err(bad_log));
    assert_eq!(check("arche", "Arche"), Err(TrustError::Open(OpenError::WrongOrigin)));
    assert_eq!(check("ui8GwC", "ui8GwD"), Err(bad_log));
    assert_eq!(check("ui8Gw", "ui8Hw"), Err(TrustError::Open(OpenError::Note(NoteError::NotSigned))));
    // The time is signed as well.
    assert_eq!(check("2net5wAAAABq", "2net5wAAAABr"), Err(TrustError::Cosignature(NoteError::BadSignature)));
    assert!(check("remora.n621.de 2", "remora.n621.dd 2").is_ok());
}

#[test]
fn one_secret_in_two_roles_gives_two_keys() {
    let secret = Secret::new(1);
    let (log, witness) = (secret.key("n", SignatureType::Ed25519), secret.key("n", SignatureType::Cosignature));
    assert_ne!(log.id(), witness.id());
    let text = Checkpoint::new("n", 0, Hash::EMPTY).unwrap().to_string();
    let mut note = Note::new(&text).unwrap();
    note.sign(&log, &secret).unwrap();
    assert_eq!(note.clone().sign(&witness, &secret), Err(NoteError::WrongKeyType));

    let signed = SignedCheckpoint::open(note.to_string().as_bytes(), "n", std::slice::from_ref(&log), &Dalek).unwrap();
    assert_eq!(signed.cosignatures(std::slice::from_ref(&witness), &Dalek), Ok(Vec::new()));

    let mut rule = Witness::new();
    rule.follow("n", vec![log.clone()], LogState::EMPTY).unwrap();
    let accepted = rule.apply(rule.check(0, &[], note.to_string().as_bytes(), &Dalek).unwrap()).unwrap();
    note.add(cosign(&accepted, &witness, 42, &secret).unwrap()).unwrap();
    let policy = Policy::new(log, vec![witness.clone()], 1).unwrap();
    let trusted = policy.check(note.to_string().as_bytes(), &Dalek).unwrap();
    assert_eq!(trusted.cosigned_at, [Cosignature { witness, time_s: 42 }]);
}
