//! What travels besides statements: hello, menu', ask, order', session and control items
//! (`spec/protocol.md` §4, §5).

use alloc::vec::Vec;

use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::codec::{self, Bytes32, StatementId};
use crate::hash::labelled;
use crate::limits;
use crate::offence::Offence;
use crate::statement::{AnyStatement, Kind};

/// The buyer's first words.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// Versions it speaks.
    #[n(1)]
    pub versions: Vec<u16>,
    /// Suites it speaks, by number.
    #[n(2)]
    pub suites: Vec<u8>,
    /// Fresh nonce of the buyer.
    #[n(3)]
    pub nonce: Bytes32,
}

/// The seller's answer: its nonce and its menu.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct MenuReply {
    /// The version chosen.
    #[n(1)]
    pub version: u16,
    /// Fresh nonce of the seller.
    #[n(2)]
    pub nonce: Bytes32,
    /// The signed menu.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub menu: Vec<u8>,
}

/// What a buyer may ask for before it orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Ask {
    /// Number of the product.
    #[n(1)]
    pub product: u32,
    /// With an option and a quantity: a quote; without: the sample.
    #[n(2)]
    pub quote: Option<AskQuote>,
}

/// What a quote is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AskQuote {
    /// Number of the payment option.
    #[n(1)]
    pub option: u16,
    /// Messages, bytes or seconds.
    #[n(2)]
    pub quantity: u64,
}

/// The sealed order'.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SealedOrder {
    /// Number of the suite.
    #[n(1)]
    pub suite: u8,
    /// HPKE encapsulation.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub enc: Vec<u8>,
    /// Ciphertext of an [`OrderPlain`].
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ct: Vec<u8>,
}

/// What is inside an order'.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct OrderPlain {
    /// The signed order; absent when the seller knows it already.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub order: Option<Vec<u8>>,
    /// Id of the order's record on the ledger: the paper's `verification`.
    #[n(2)]
    pub verification: Option<Bytes32>,
    /// The signed attach.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub attach: Vec<u8>,
    /// The last invoice that the buyer verified.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub last_invoice: Option<Vec<u8>>,
    /// The last payment that the buyer signed.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub last_payment: Option<Vec<u8>>,
}

/// The sealed session: the paper's `session_key`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SealedSession {
    /// HPKE encapsulation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub enc: Vec<u8>,
    /// Ciphertext of a [`SessionPlain`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ct: Vec<u8>,
}

/// What is inside a session.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SessionPlain {
    /// The signed acceptance.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub acceptance: Vec<u8>,
    /// Salts the digests of this order.
    #[n(2)]
    pub order_salt: Bytes32,
    /// The last invoice that the seller signed.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub last_invoice: Option<Vec<u8>>,
    /// The last payment that the seller credited.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub last_payment: Option<Vec<u8>>,
}

/// Hash of the conversation after menu'.
pub fn th1(hello: &[u8], menu_reply: &[u8]) -> Bytes32 {
    Bytes32(labelled("SDPP/2 th1", &[hello, menu_reply]))
}

/// Hash of the conversation after order'.
pub fn th2(th1: &Bytes32, order: &[u8]) -> Bytes32 {
    Bytes32(labelled("SDPP/2 th2", &[th1.as_bytes(), order]))
}

/// Hash of the conversation after session.
pub fn th3(th2: &Bytes32, session: &[u8]) -> Bytes32 {
    Bytes32(labelled("SDPP/2 th3", &[th2.as_bytes(), session]))
}

/// `info` of an HPKE context: what it is for, and the conversation it belongs to.
pub fn hpke_info(label: &[u8], transcript: &Bytes32) -> Vec<u8> {
    let mut info = Vec::from(label);
    info.extend_from_slice(transcript.as_bytes());
    info
}

const CUT: u64 = 32;
const EXIT: u64 = 33;
const ERROR: u64 = 34;
const RECORDED: u64 = 35;

/// One control item of a sealed frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control<'a> {
    /// A statement in its envelope.
    Statement {
        /// Its kind, by the envelope.
        kind: Kind,
        /// Its bytes.
        statement: &'a [u8],
        /// Id of its record, where it has one already.
        verification: Option<Bytes32>,
    },
    /// The span of invoice `n` ends behind the messages of this frame.
    Cut(u64),
    /// The buyer wants no more.
    Exit,
    /// The connection ends; a code of `spec/errors.md`.
    Error(u16),
    /// A statement was recorded after it was sent.
    Recorded {
        /// The statement.
        statement: StatementId,
        /// Its record.
        record: Bytes32,
    },
}

impl Control<'_> {
    /// Appends the item.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut e = Encoder::new(out);
        let done = self.encode_into(&mut e);
        debug_assert!(done.is_ok(), "writing to memory");
    }

    fn encode_into<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Statement { kind, statement, verification } => {
                e.array(if verification.is_some() { 3 } else { 2 })?.encode(kind)?.bytes(statement)?;
                if let Some(record) = verification {
                    e.bytes(record.as_bytes())?;
                }
                e.ok()
            }
            Self::Cut(n) => e.array(2)?.u64(CUT)?.u64(*n)?.ok(),
            Self::Exit => e.array(1)?.u64(EXIT)?.ok(),
            Self::Error(code) => e.array(2)?.u64(ERROR)?.u16(*code)?.ok(),
            Self::Recorded { statement, record } => {
                e.array(3)?.u64(RECORDED)?.bytes(statement.as_bytes())?.bytes(record.as_bytes())?.ok()
            }
        }
    }
}

/// The envelope of a statement that has no record yet.
pub fn envelope(statement: &AnyStatement) -> Control<'_> {
    Control::Statement { kind: statement.kind, statement: &statement.bytes, verification: None }
}

/// Reads the control items of a frame.
///
/// # Errors
/// [`Offence::BadControl`].
pub fn read_controls(bytes: &[u8]) -> Result<Vec<Control<'_>>, Offence> {
    let mut d = Decoder::new(bytes);
    let mut items = Vec::new();
    while d.position() < bytes.len() {
        if items.len() >= limits::CONTROL_ITEMS_MAX {
            return Err(Offence::BadControl);
        }
        items.push(read_control(&mut d).map_err(|_| Offence::BadControl)?);
    }
    let mut again = Vec::with_capacity(bytes.len());
    items.iter().for_each(|item| item.write(&mut again));
    if again == bytes { Ok(items) } else { Err(Offence::BadControl) }
}

fn read_control<'a>(d: &mut Decoder<'a>) -> Result<Control<'a>, minicbor::decode::Error> {
    let wrong = || minicbor::decode::Error::message("not a control item");
    let length = d.array()?.ok_or_else(wrong)?;
    let code = d.probe().u64()?;
    let bytes32 = |d: &mut Decoder<'a>| d.bytes()?.try_into().map_err(|_| wrong());
    if code < CUT {
        let kind: Kind = d.decode()?;
        let statement = d.bytes()?;
        let verification = match length {
            2 => None,
            3 => Some(Bytes32(bytes32(d)?)),
            _ => return Err(wrong()),
        };
        return Ok(Control::Statement { kind, statement, verification });
    }
    d.u64()?;
    match (code, length) {
        (CUT, 2) => Ok(Control::Cut(d.u64()?)),
        (EXIT, 1) => Ok(Control::Exit),
        (ERROR, 2) => Ok(Control::Error(d.u16()?)),
        (RECORDED, 3) => Ok(Control::Recorded { statement: StatementId(bytes32(d)?), record: Bytes32(bytes32(d)?) }),
        _ => Err(wrong()),
    }
}

/// The body of a clear error frame.
pub fn error_body(code: u16) -> Vec<u8> {
    codec::encode(&code)
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
mod tests {
    use super::*;

    #[test]
    fn controls_come_back_and_bad_ones_do_not() {
        let items = [
            Control::Statement { kind: Kind::Invoice, statement: b"x", verification: None },
            Control::Statement { kind: Kind::Payment, statement: b"y", verification: Some(Bytes32([1; 32])) },
            Control::Cut(7),
            Control::Exit,
            Control::Error(164),
            Control::Recorded { statement: StatementId([2; 32]), record: Bytes32([3; 32]) },
        ];
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.write(&mut bytes));
        assert_eq!(read_controls(&bytes).unwrap(), items);
        for cut in 1..bytes.len() {
            let read = read_controls(&bytes[..cut]);
            assert!(read.is_err() || read.unwrap().len() < items.len());
        }
        for bad in [&[0x80][..], &[0x81, 0x18, 0x22], &[0x82, 0x0e, 0x40], &[0x82, 0x18, 0x20, 0x18, 0x01], &[0xff]] {
            assert_eq!(read_controls(bad), Err(Offence::BadControl), "{bad:?}");
        }
        let mut many = Vec::new();
        (0..=limits::CONTROL_ITEMS_MAX).for_each(|_| Control::Exit.write(&mut many));
        assert_eq!(read_controls(&many), Err(Offence::BadControl));
    }
}
