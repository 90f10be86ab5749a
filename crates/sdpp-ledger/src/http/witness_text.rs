//! The body of a request to a witness (C2SP tlog-witness, "add-checkpoint").

use std::fmt::Write;

use sdpp_log::Hash;
use sdpp_log::limits::PROOF_HASHES_MAX;

use super::json::{hash, hash_text, size};

/// What a log asks a witness.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Request<'a> {
    /// The size that the witness is believed to know.
    pub(super) old: u64,
    /// From there to the checkpoint.
    pub(super) proof: Vec<Hash>,
    /// The checkpoint note.
    pub(super) note: &'a str,
}

impl<'a> Request<'a> {
    /// Reads a body, strictly: `read` then `write` gives the same bytes. The note is not looked at.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let (first, mut rest) = text.split_once('\n')?;
        let old = size(first.strip_prefix("old ")?)?;
        let mut proof = Vec::new();
        loop {
            let (line, behind) = rest.split_once('\n')?;
            rest = behind;
            if line.is_empty() {
                return Some(Self { old, proof, note: rest });
            }
            if proof.len() >= PROOF_HASHES_MAX {
                return None;
            }
            proof.push(hash(line)?);
        }
    }

    /// The body.
    pub(super) fn write(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            // Text grows without errors.
            let _ = writeln!(text, "{}", hash_text(hash));
        }
        text.push('\n');
        text.push_str(self.note);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_one_form() {
        let proof = vec![Hash([1; 32]), Hash([2; 32])];
        for request in [
            Request { old: 0, proof: Vec::new(), note: "" },
            Request { old: 20_852_014, proof, note: "a\n\nb\n" },
            Request { old: 1, proof: vec![Hash::EMPTY; PROOF_HASHES_MAX], note: "x" },
        ] {
            assert_eq!(Request::read(request.write().as_bytes()), Some(request));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let line = hash_text(&Hash::EMPTY);
        let many = format!("old 1\n{}\nnote", format!("{line}\n").repeat(PROOF_HASHES_MAX + 1));
        for bad in [
            "",
            "old 1",
            "old 1\n",
            "old 01\n\nnote",
            "old +1\n\nnote",
            "old  1\n\nnote",
            "old 1 \n\nnote",
            "old 1\r\n\r\nnote",
            "OLD 1\n\nnote",
            "old 9223372036854775808\n\nnote",
            "\nold 1\n\nnote",
            "old 1\nAAAA\n\nnote",
            &format!("old 1\n{line}"),
            &format!("old 1\n{line}\n"),
            &format!("old 1\n {line}\n\nnote"),
            &many,
        ] {
            assert_eq!(Request::read(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Request::read(b"old 1\n\n\xff"), None);
    }
}
