//! Messages against digests: the data is read once, piece by piece, in the order of the invoices.

use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::limits;
use sdpp_proto::message;
use sdpp_proto::span::{SpanHasher, SpanStart, span_salt};
use sdpp_proto::statement::Signing;

use super::case::{Case, Stop};
use super::chain::Standing;
use super::report::{Missing, Party};
use super::rule::Rule;

/// Appends the next piece to a buffer; false at the end.
type Refill<'a> = Box<dyn FnMut(&mut Vec<u8>) -> bool + 'a>;

/// Messages from number 0 on, cut anywhere.
pub(super) struct Data<'a> {
    refill: Refill<'a>,
    salt: Bytes32,
    buffer: Vec<u8>,
    /// Where the next message begins in `buffer`.
    at: usize,
    /// Its sequence number.
    seq: u64,
}

/// What messages are checked by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) order: StatementId,
    pub(super) seller: PublicKey,
    pub(super) signing: Signing,
    pub(super) message_max: u32,
}

/// What a run of messages adds up to.
struct Run {
    hasher: Option<SpanHasher>,
    bytes: u64,
    /// The first message whose own signature does not verify.
    unsigned: Option<u64>,
}

/// Why a run ended early.
enum Broken {
    /// The data ends.
    End,
    /// A header states a length that no message of the product has.
    Length(u32),
}

impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl<'a> Data<'a> {
    pub(super) fn new<B: AsRef<[u8]>>(salt: Bytes32, mut pieces: impl Iterator<Item = B> + 'a) -> Self {
        let refill = Box::new(move |buffer: &mut Vec<u8>| match pieces.next() {
            Some(piece) => {
                buffer.extend_from_slice(piece.as_ref());
                true
            }
            None => false,
        });
        Self { refill, salt, buffer: Vec::new(), at: 0, seq: 0 }
    }

    /// Compares the messages of an invoice with its digest. Messages before it are passed over.
    pub(super) fn check(&mut self, invoice: &Standing, by: Party, terms: &Terms) -> Result<(), Stop> {
        let mut before = Run { hasher: None, bytes: 0, unsigned: None };
        let forgiven = invoice.first.saturating_sub(self.seq);
        self.run(forgiven, &mut before, terms).map_err(|broken| self.stop(&broken, invoice, by))?;
        let start = SpanStart { order: terms.order, n: invoice.n, first: invoice.first };
        let hasher = SpanHasher::new(&start, &span_salt(&self.salt, invoice.n));
        let mut run = Run { hasher: Some(hasher), bytes: 0, unsigned: None };
        self.run(invoice.count, &mut run, terms).map_err(|broken| self.stop(&broken, invoice, by))?;
        let digest = run.hasher.as_ref().map(|hasher| hasher.digest(invoice.count)).unwrap_or_default();
        let what = format!("digest of messages {} to {}", invoice.first, invoice.totals.end);
        Case::new(&invoice.head, by).equal(Rule::Digest, &what, invoice.digest, digest)?;
        // From here on it is what the seller committed to.
        let case = Case::new(&invoice.head, Party::Seller);
        case.equal(Rule::InvoiceBytes, "bytes of the messages", run.bytes, invoice.bytes)?;
        match run.unsigned {
            None => Ok(()),
            Some(seq) => Err(case.breaks(Rule::MessageSignature, format!("message {seq} is not signed by the seller"))),
        }
    }

    fn stop(&self, broken: &Broken, invoice: &Standing, by: Party) -> Stop {
        match broken {
            Broken::End => Stop::Missing(Missing::Messages(self.seq)),
            Broken::Length(length) => {
                let text = format!("message {} states a length of {length} bytes: not what was invoiced", self.seq);
                Case::new(&invoice.head, by).breaks(Rule::Digest, text)
            }
        }
    }

    /// Takes so many messages, in slices as long as they come.
    fn run(&mut self, mut count: u64, run: &mut Run, terms: &Terms) -> Result<(), Broken> {
        while count > 0 {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let mut tail = rest;
            let mut broken = None;
            while count > 0 {
                broken = message::stated_length(tail).filter(|length| *length > terms.message_max);
                let Some((message, behind)) = message::split_first(tail, terms.signing) else { break };
                if broken.is_some() {
                    break;
                }
                if run.hasher.is_some() {
                    run.take(&message, self.seq, terms);
                }
                (tail, count, self.seq) = (behind, count.saturating_sub(1), self.seq.saturating_add(1));
            }
            let used = rest.len().saturating_sub(tail.len());
            if let Some(hasher) = &mut run.hasher {
                hasher.update(rest.get(..used).unwrap_or_default());
            }
            self.at = self.at.saturating_add(used);
            match broken {
                Some(length) => return Err(Broken::Length(length)),
                None if count > 0 && !self.fill() => return Err(Broken::End),
                None => {}
            }
        }
        Ok(())
    }

    /// Gets more, behind what is left; never more than one message and one piece are kept.
    fn fill(&mut self) -> bool {
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        (self.refill)(&mut self.buffer)
    }

    /// Whether data is left behind all that was checked.
    pub(super) fn has_more(&mut self) -> bool {
        while self.buffer.len() <= self.at {
            if !self.fill() {
                return false;
            }
        }
        true
    }
}

impl Run {
    fn take(&mut self, message: &message::Message<'_>, seq: u64, terms: &Terms) {
        let length = u64::try_from(message.bytes.len()).unwrap_or(u64::from(limits::MESSAGE_MAX));
        self.bytes = self.bytes.saturating_add(length);
        let signed = match terms.signing {
            Signing::Window => true,
            Signing::Message => message.verify(&terms.seller, &terms.order, seq),
        };
        if !signed {
            self.unsigned.get_or_insert(seq);
        }
    }
}
