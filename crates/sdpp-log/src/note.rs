//! Signed notes: a text and the signatures under it (C2SP signed-note).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::key::{KeyId, NoteSigner, NoteVerifier, SignatureType, VerifierKey};
use crate::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};
use crate::text::{decode_base64, encode_base64, is_key_name};

/// Em dash and space: how each signature line begins.
const LINE_PREFIX: &str = "\u{2014} ";

/// Why a note or a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// More than [`NOTE_BYTES_MAX`] bytes.
    TooLarge,
    /// Not UTF-8.
    NotUtf8,
    /// An ASCII control character other than newline; carriage return is one.
    ControlCharacter,
    /// The text does not end with a newline.
    UnfinishedText,
    /// No blank line followed by signatures.
    NoSignatures,
    /// The last signature line does not end with a newline.
    UnfinishedLine,
    /// More than [`NOTE_SIGNATURES_MAX`] signatures.
    TooManySignatures,
    /// A line after the last blank line that is not `— name base64`.
    MalformedSignature,
    /// A signature with an empty or overlong name, or one with a space or a plus.
    InvalidName,
    /// Not a single signature by a known key.
    NotSigned,
    /// A signature by a known key that does not verify.
    BadSignature,
    /// The key is of the wrong [`SignatureType`] for this.
    WrongKeyType,
    /// A cosignature's time is above [`TIME_MAX_S`](crate::limits::TIME_MAX_S).
    TimeOutOfRange,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "note is too large",
            Self::NotUtf8 => "note is not UTF-8",
            Self::ControlCharacter => "note has a control character",
            Self::UnfinishedText => "text does not end with a newline",
            Self::NoSignatures => "note has no signatures",
            Self::UnfinishedLine => "signature line does not end with a newline",
            Self::TooManySignatures => "note has too many signatures",
            Self::MalformedSignature => "malformed signature line",
            Self::InvalidName => "invalid key name",
            Self::NotSigned => "no signature by a known key",
            Self::BadSignature => "signature does not verify",
            Self::WrongKeyType => "wrong type of key",
            Self::TimeOutOfRange => "time of the cosignature is out of range",
        })
    }
}

impl core::error::Error for NoteError {}

/// One signature line. What the bytes mean depends on the key; nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: String,
    key_id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    pub(crate) fn new(key: &VerifierKey, bytes: Vec<u8>) -> Self {
        Self { name: key.name().to_string(), key_id: key.id(), bytes }
    }

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::MalformedSignature`], [`NoteError::InvalidName`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(LINE_PREFIX).ok_or(NoteError::MalformedSignature)?;
        let (name, base64) = rest.split_once(' ').ok_or(NoteError::MalformedSignature)?;
        if !is_key_name(name) {
            return Err(NoteError::InvalidName);
        }
        let blob = decode_base64(base64).ok_or(NoteError::MalformedSignature)?;
        match blob.split_first_chunk::<4>() {
            Some((id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name: name.to_string(), key_id: KeyId(*id), bytes: bytes.to_vec() })
            }
            Some(_) | None => Err(NoteError::MalformedSignature),
        }
    }

    /// The signing key's claimed name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The signing key's claimed id.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature without the key id.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the line claims to be by this key: name and id, never one of them alone.
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.key_id == key.id() && self.name == key.name()
    }
}

/// The line without its newline: `— name base64(id || signature)`.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.key_id.0[..], &self.bytes].concat();
        write!(f, "{LINE_PREFIX}{} {}", self.name, encode_base64(&blob))
    }
}

/// A text and its signatures. Believe the text only after [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// A note still without signatures.
    ///
    /// # Errors
    /// [`NoteError::TooLarge`], [`NoteError::ControlCharacter`], [`NoteError::UnfinishedText`].
    pub fn new(text: &str) -> Result<Self, NoteError> {
        // One more byte for the blank line.
        if text.len() >= NOTE_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        check_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::UnfinishedText);
        }
        Ok(Self { text: text.to_string(), signatures: Vec::new() })
    }

    /// Reads a note with at least one signature. Strict: `parse` then `to_string` gives the same bytes.
    ///
    /// # Errors
    /// All of [`NoteError`] down to [`NoteError::InvalidName`], except [`NoteError::UnfinishedText`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let note = core::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        check_characters(note)?;
        // The text may have blank lines of its own: the last one counts.
        let (unended, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let signatures = parse_lines(lines)?;
        let mut text = unended.to_string();
        text.push('\n');
        Ok(Self { text, signatures })
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, verified or not, in the note's order.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature made elsewhere, for instance by a witness.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`], [`NoteError::TooLarge`]; the note stays as it was.
    pub fn add(&mut self, signature: Signature) -> Result<(), NoteError> {
        if self.signatures.len() >= NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        if self.to_string().len() > NOTE_BYTES_MAX {
            self.signatures.pop();
            return Err(NoteError::TooLarge);
        }
        Ok(())
    }

    /// Signs the text with a log's key and adds the signature (C2SP signed-note, "Ed25519 signatures").
    ///
    /// # Errors
    /// [`NoteError::WrongKeyType`] unless the key is [`SignatureType::Ed25519`], and those of [`Note::add`].
    pub fn sign(&mut self, key: &VerifierKey, signer: &dyn NoteSigner) -> Result<(), NoteError> {
        if key.signature_type() != SignatureType::Ed25519 {
            return Err(NoteError::WrongKeyType);
        }
        self.add(Signature::new(key, signer.sign(self.text.as_bytes()).to_vec()))
    }

    /// Checks that one of these keys signed the text. Signatures by other keys are ignored; a bad one by a known key
    /// spoils the note (C2SP signed-note, "Signatures").
    ///
    /// # Errors
    /// [`NoteError::NotSigned`], [`NoteError::BadSignature`], and [`NoteError::WrongKeyType`] unless all keys are
    /// [`SignatureType::Ed25519`].
    pub fn verify(&self, keys: &[VerifierKey], verifier: &dyn NoteVerifier) -> Result<(), NoteError> {
        if keys.iter().any(|key| key.signature_type() != SignatureType::Ed25519) {
            return Err(NoteError::WrongKeyType);
        }
        let mut signed = false;
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| signature.is_by(key)) {
                let bytes = signature.bytes().try_into().map_err(|_| NoteError::BadSignature)?;
                if !verifier.verify(key.public(), self.text.as_bytes(), bytes) {
                    return Err(NoteError::BadSignature);
                }
                signed = true;
            }
        }
        if signed { Ok(()) } else { Err(NoteError::NotSigned) }
    }
}

/// The whole note: text, blank line, signature lines.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Signature lines, each with its newline; at least one.
pub(crate) fn parse_lines(lines: &str) -> Result<Vec<Signature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::UnfinishedLine)?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        signatures.push(Signature::parse(line)?);
    }
    Ok(signatures)
}

pub(crate) fn check_characters(text: &str) -> Result<(), NoteError> {
    let forbidden = |byte: u8| byte < 0x20 && byte != b'\n';
    if text.bytes().any(forbidden) { Err(NoteError::ControlCharacter) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a panic is how a test fails"
    )]

    use alloc::format;

    use super::*;

    const LINE: &str = "\u{2014} a AAAAAAA=\n";

    fn parse(note: &str) -> Result<Note, NoteError> {
        Note::parse(note.as_bytes())
    }

    #[test]
    fn the_last_blank_line_counts() {
        let note = parse(&format!("one\n\ntwo\n\n{LINE}{LINE}")).unwrap();
        assert_eq!(note.text(), "one\n\ntwo\n");
        assert_eq!(note.signatures().len(), 2);
        assert_eq!(note.to_string(), format!("one\n\ntwo\n\n{LINE}{LINE}"));
    }

    #[test]
    fn each_mistake_has_its_error() {
        assert_eq!(Note::parse(&[0xff]), Err(NoteError::NotUtf8));
        assert_eq!(parse(""), Err(NoteError::NoSignatures));
        assert_eq!(parse("t\n"), Err(NoteError::NoSignatures));
        assert_eq!(parse("t\n\n"), Err(NoteError::NoSignatures));
        assert_eq!(parse(&format!("t\n{LINE}")), Err(NoteError::NoSignatures));
        assert_eq!(parse(&format!("t\n\n{}", LINE.trim_end())), Err(NoteError::UnfinishedLine));
        assert_eq!(parse(&format!("t\n\n{LINE}junk")), Err(NoteError::UnfinishedLine));
        assert_eq!(parse(&format!("t\n\n{LINE}junk\n")), Err(NoteError::MalformedSignature));
        assert_eq!(parse(&format!("t\n\n{LINE}\n")), Err(NoteError::NoSignatures));
        for control in ["t\r\n\n", "t\t\n\n", "\0\n\n", "t\n\u{1b}\n\n"] {
            assert_eq!(parse(&format!("{control}{LINE}")), Err(NoteError::ControlCharacter));
        }
        for line in ["- a AAAAAAA=", "\u{2014} a", "\u{2014} a AAAAAA==", "\u{2014} a AAAAAAA", "\u{2014} a b AAAAAAA="]
        {
            assert_eq!(parse(&format!("t\n\n{line}\n")), Err(NoteError::MalformedSignature), "{line}");
        }
        for line in ["\u{2014} a+b AAAAAAA=", "\u{2014}  AAAAAAA=", "\u{2014} a\u{2003}b AAAAAAA="] {
            assert_eq!(parse(&format!("t\n\n{line}\n")), Err(NoteError::InvalidName), "{line}");
        }
    }

    #[test]
    fn limits_hold() {
        let most = parse(&format!("t\n\n{}", LINE.repeat(NOTE_SIGNATURES_MAX))).unwrap();
        let over = format!("t\n\n{}", LINE.repeat(NOTE_SIGNATURES_MAX + 1));
        assert_eq!(parse(&over), Err(NoteError::TooManySignatures));
        let signature = most.signatures()[0].clone();
        assert_eq!(most.clone().add(signature.clone()), Err(NoteError::TooManySignatures));

        let room = NOTE_BYTES_MAX - "\n\n".len() - LINE.len();
        let largest = format!("{}\n\n{LINE}", "t".repeat(room));
        assert!(parse(&largest).is_ok());
        assert_eq!(parse(&format!("t{largest}")), Err(NoteError::TooLarge));
        let mut note = Note::new(&format!("{}\n", "t".repeat(room))).unwrap();
        assert_eq!(note.add(signature.clone()), Ok(()));
        assert_eq!(note.add(signature), Err(NoteError::TooLarge));
        assert_eq!(note.to_string(), largest);
    }

    #[test]
    fn a_new_note_needs_a_finished_text() {
        assert_eq!(Note::new(""), Err(NoteError::UnfinishedText));
        assert_eq!(Note::new("a"), Err(NoteError::UnfinishedText));
        assert_eq!(Note::new("a\r\n"), Err(NoteError::ControlCharacter));
        assert_eq!(Note::new(&"\n".repeat(NOTE_BYTES_MAX)), Err(NoteError::TooLarge));
    }
}
