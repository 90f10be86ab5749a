//! The auditor itself: takes statements one by one and sends each to its rules.

use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::cose::{self, Parsed};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{KeyNotice, Kind, Menu, Order, Payment, Quote, Sample, Statement};

use sdpp_log::Policy;

use super::bundle::RecordProof;
use super::case::{Book, Case, Head, Seen, Stop};
use super::chain::Standing;
use super::data::{self, Data};
use super::ledger::Ledger;
use super::limits;
use super::report::{Finding, Missing, Party, Report, Topic, Verdict};
use super::rule::Rule;
use super::sale::{Sale, check_menu, party};

/// What the auditor is told and does not find out: everything else is proved or not believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    /// The seller's key, from its address.
    pub seller: PublicKey,
    /// The log that records are to be in, its witnesses and their quorum. None: records are not checked.
    pub log: Option<Policy>,
}

/// Audits one order, statement by statement, off line.
///
/// Memory grows neither with the statements' sizes nor with their number. What is kept of each is its id and a number or
/// two, of the newest [`limits::RECENT_MAX`] in memory and of older ones in a temporary file; the same holds for records.
/// A little more is kept of every invoice that is not paid, of every payment that is not credited, and of every attach that
/// is not answered. A digest is compared when its invoice is paid, or at the end: until then the seller may still void it.
///
/// The file has no name, is gone with the auditor, and lies in the folder of the environment variable `SQLITE_TMPDIR` or
/// `TMPDIR`, else in `/var/tmp` or `/tmp`: a folder that is itself memory (`tmpfs`) saves none. There are some 50 bytes of a
/// statement in it, none of which is a message or a price. Where it cannot be made, or takes no more, and without the
/// feature `sqlite`, the rest stays in memory; where it cannot be read, the verdict is [`Missing::Memory`].
#[derive(Debug)]
pub struct Auditor<'a> {
    seller: PublicKey,
    menus: Vec<(StatementId, Menu)>,
    sale: Option<Sale>,
    book: Book,
    data: Option<Data<'a>>,
    data_missing: Option<Missing>,
    ledger: Ledger,
    stop: Option<Stop>,
    /// Statements fed.
    fed: u64,
    /// Statements behind the point where the audit ended.
    unchecked: u64,
}

impl<'a> Auditor<'a> {
    /// An auditor for one order.
    pub fn new(trust: &Trust) -> Self {
        Self {
            seller: trust.seller,
            menus: Vec::new(),
            sale: None,
            book: Book::default(),
            data: None,
            data_missing: None,
            ledger: Ledger::new(trust.log.clone()),
            stop: None,
            fed: 0,
            unchecked: 0,
        }
    }

    /// Compares digests with data: all messages that the buyer holds, forgiven ones among them, from
    /// number 0 on, in canonical form, one behind the other, in pieces of any size. They are read as
    /// the statements come.
    #[must_use]
    pub fn with_data<B: AsRef<[u8]>>(mut self, order_salt: Bytes32, pieces: impl Iterator<Item = B> + 'a) -> Self {
        self.data = Some(Data::new(order_salt, pieces));
        self
    }

    /// Keeps so many statements, and as many records, in memory, in place of [`limits::RECENT_MAX`]: with `usize::MAX` no
    /// file is ever made.
    #[must_use]
    pub fn keeping(mut self, statements: usize) -> Self {
        self.book.seen.keep(statements);
        self.ledger.keep(statements);
        self
    }

    /// There is data to compare, and no salt to do it with.
    #[must_use]
    pub fn without_salt(mut self) -> Self {
        self.data_missing = Some(Missing::Salt);
        self
    }

    /// Takes the next statement, in the order in which they were made; one that was fed before
    /// changes nothing. Gives the finding, once there is one.
    pub fn feed(&mut self, statement: &[u8]) -> Option<&Finding> {
        if self.stop.is_none() {
            self.stop = self.step(statement).err();
        } else {
            self.unchecked = self.unchecked.saturating_add(1);
        }
        self.fed = self.fed.saturating_add(1);
        match &self.stop {
            Some(Stop::False(finding)) => Some(finding),
            Some(Stop::Missing(_)) | None => None,
        }
    }

    /// Takes the ledger's signed checkpoint; before its records.
    pub fn checkpoint(&mut self, note: &[u8]) {
        self.ledger.checkpoint(note);
    }

    /// Takes the proof that a statement is recorded.
    pub fn record(&mut self, record: &RecordProof) {
        self.ledger.record(record);
    }

    fn step(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let unreadable = |text: String| Stop::False(Box::new(unreadable(self.fed, text)));
        let parsed = cose::parse(bytes).map_err(|error| unreadable(error.to_string()))?;
        let kind = Kind::of_content_type(parsed.content_type)
            .ok_or_else(|| unreadable(format!("{:?} is no statement of a sale", parsed.content_type)))?;
        let head = Head { id: parsed.id(), kind, issuer: parsed.issuer, position: self.fed };
        if self.book.seen.contains(&head.id)? {
            return Ok(());
        }
        if parsed.verify().is_err() {
            let text = format!("{} did not sign this: the signature does not verify", head.issuer);
            return Err(Case::new(&head, Party::Exporter).breaks(Rule::Signature, text));
        }
        let seen = self.judge(&head, &parsed, bytes)?;
        self.book.seen.insert(head.id, seen);
        self.book.totals.statements = self.book.totals.statements.saturating_add(1);
        Ok(())
    }

    fn judge(&mut self, head: &Head, parsed: &Parsed<'_>, bytes: &[u8]) -> Result<Seen, Stop> {
        let by = party(&head.issuer, &self.seller, self.sale.as_ref());
        match head.kind {
            Kind::Menu => self.menu(head, read(head, parsed, by)?),
            Kind::Order => self.order(head, &read(head, parsed, by)?),
            Kind::Payment => self.payment(head, &read(head, parsed, by)?),
            Kind::Sample => self.aside(head, &read::<Sample>(head, parsed, by)?.seller),
            Kind::Quote => self.aside(head, &read::<Quote>(head, parsed, by)?.seller),
            Kind::Rotation | Kind::Revocation => self.key_notice(head, bytes, by),
            Kind::Attach | Kind::Acceptance | Kind::Invoice | Kind::Ack | Kind::Settlement | Kind::Default => {
                let sale = self.sale.as_mut().ok_or(Stop::Missing(Missing::Order(None)))?;
                judge_of_order(head, parsed, sale, &mut self.book)
            }
        }
    }

    fn menu(&mut self, head: &Head, menu: Menu) -> Result<Seen, Stop> {
        check_menu(head, &menu, &self.seller)?;
        if self.menus.len() >= limits::MENUS_MAX {
            self.menus.remove(0);
        }
        self.menus.push((head.id, menu));
        Ok(Seen::Other)
    }

    fn order(&mut self, head: &Head, order: &Order) -> Result<Seen, Stop> {
        if let Some(sale) = &self.sale {
            let text = format!("expected one order, {}, found another", sale.id);
            return Err(Case::new(head, Party::Exporter).breaks(Rule::OrderId, text));
        }
        self.sale = Some(Sale::open(head, order, &self.menus, &self.seller)?);
        Ok(Seen::Other)
    }

    /// A statement outside orders: it changes nothing.
    fn aside(&self, head: &Head, seller: &PublicKey) -> Result<Seen, Stop> {
        let case = Case::new(head, party(&head.issuer, &self.seller, self.sale.as_ref()));
        case.equal(Rule::Issuer, "signer", self.seller, head.issuer)?;
        case.equal(Rule::Issuer, "seller", self.seller, *seller)?;
        Ok(Seen::Other)
    }

    /// The end of a key: it changes nothing that was signed before, and is worth knowing.
    fn key_notice(&mut self, head: &Head, bytes: &[u8], by: Party) -> Result<Seen, Stop> {
        let notice =
            KeyNotice::parse(bytes).map_err(|error| Case::new(head, by).breaks(Rule::Form, error.to_string()))?;
        let text = match &notice {
            KeyNotice::Rotation(rotation) => {
                format!("the key {} gave way to {} at {}", rotation.key, rotation.successor, rotation.at)
            }
            KeyNotice::Revocation(revocation) => {
                format!("the key {} is revoked from {} on", revocation.key, revocation.at)
            }
        };
        self.book.note(Topic::Key, Some(head.id), text);
        Ok(Seen::Other)
    }

    fn payment(&mut self, head: &Head, payment: &Payment) -> Result<Seen, Stop> {
        let Self { sale, book, data, data_missing, .. } = self;
        let sale = sale.as_mut().ok_or(Stop::Missing(Missing::Order(None)))?;
        sale.payment_belongs(head, payment, book)?;
        if let Some(n) = book.invoice_number(&payment.invoice_id)?
            && let Some(invoices) = sale.chain.unpaid_through(&payment.invoice_id, n)
        {
            // Both sides signed for these: a mismatch is in the data.
            let checked = check_data(data, data_missing, (invoices, Party::Exporter), sale)?;
            book.totals.digests = book.totals.digests.saturating_add(checked);
        }
        sale.payment(head, payment, book)
    }

    /// Ends the audit.
    pub fn finish(mut self) -> Report {
        if self.stop.is_none() && self.sale.is_none() {
            let missing = if self.menus.is_empty() { Missing::Menu(None) } else { Missing::Order(None) };
            self.stop = Some(Stop::Missing(missing));
        }
        let verdict = self.finish_sale();
        let Self { sale, book, .. } = self;
        let Book { totals, notes, notes_left_out, .. } = book;
        Report {
            verdict,
            order: sale.as_ref().map(|sale| sale.id),
            seller: self.seller,
            buyer: sale.as_ref().map(|sale| sale.buyer),
            asset: sale.as_ref().map(|sale| sale.terms.option.asset.clone()),
            totals,
            notes,
            notes_left_out,
        }
    }

    fn finish_sale(&mut self) -> Verdict {
        self.finish_data();
        if self.unchecked > 0 {
            let text = format!("{} statements behind this point were not looked at", self.unchecked);
            self.book.note(Topic::Unchecked, None, text);
        }
        if let Some(sale) = &self.sale {
            sale.note_unanswered(&mut self.book);
            sum_up(sale, &mut self.book);
            if self.stop.is_none() {
                self.ledger.finish(sale, &mut self.book);
            }
        }
        let stops = [self.stop.take(), self.data_missing.take().map(Stop::Missing), self.ledger.take_stop()];
        let mut missing = None;
        for stop in stops.into_iter().flatten() {
            match stop {
                Stop::False(finding) => return Verdict::False(finding),
                Stop::Missing(what) => missing = missing.or(Some(what)),
            }
        }
        missing.map_or(Verdict::Clean, Verdict::Incomplete)
    }

    /// Compares the digests of invoices that nobody paid: nothing can void them any more.
    fn finish_data(&mut self) {
        let Self { sale, book, data, data_missing, stop, .. } = self;
        let Some(sale) = sale.as_ref().filter(|_| stop.is_none()) else { return };
        match check_data(data, data_missing, (sale.chain.unpaid(), Party::Seller), sale) {
            Ok(checked) => book.totals.digests = book.totals.digests.saturating_add(checked),
            Err(found) => *stop = Some(found),
        }
        if stop.is_none() && data.as_mut().is_some_and(Data::has_more) {
            let text = "there is data behind the last invoice: delivered, and not charged";
            book.note(Topic::Uninvoiced, None, text);
        }
    }
}

fn judge_of_order(head: &Head, parsed: &Parsed<'_>, sale: &mut Sale, book: &mut Book) -> Result<Seen, Stop> {
    let by = party(&head.issuer, &sale.seller, Some(sale));
    match head.kind {
        Kind::Attach => sale.attach(head, &read(head, parsed, by)?, book)?,
        Kind::Acceptance => sale.acceptance(head, &read(head, parsed, by)?, book)?,
        Kind::Ack => sale.ack(head, &read(head, parsed, by)?, book)?,
        Kind::Invoice => return sale.invoice(head, &read(head, parsed, by)?, book),
        Kind::Settlement => return sale.settlement(head, &read(head, parsed, by)?, book),
        Kind::Default => return sale.default(head, &read(head, parsed, by)?, book),
        Kind::Menu | Kind::Order | Kind::Payment | Kind::Sample | Kind::Quote | Kind::Rotation | Kind::Revocation => {}
    }
    Ok(Seen::Other)
}

/// The payload of a statement whose signature is verified.
fn read<T: Statement>(head: &Head, parsed: &Parsed<'_>, by: Party) -> Result<T, Stop> {
    let case = Case::new(head, by);
    let body: T = codec::decode(parsed.payload, limits::STATEMENT_MAX)
        .map_err(|error| case.breaks(Rule::Form, error.to_string()))?;
    case.equal(Rule::Form, "subject", body.subject().as_str(), parsed.subject)?;
    if body.is_within_limits() { Ok(body) } else { Err(case.breaks(Rule::Form, "a field is outside its limits")) }
}

/// Compares digests, as far as there is data.
fn check_data<'s>(
    data: &mut Option<Data<'_>>,
    missing: &mut Option<Missing>,
    (invoices, by): (impl Iterator<Item = &'s Standing>, Party),
    sale: &Sale,
) -> Result<u64, Stop> {
    let mut checked = 0u64;
    let Some(messages) = data else { return Ok(checked) };
    let terms = data::Terms {
        order: sale.id,
        seller: sale.seller,
        signing: sale.terms.product.signing,
        message_max: sale.terms.product.message_max,
    };
    for invoice in invoices {
        match messages.check(invoice, by, &terms) {
            Ok(()) => checked = checked.saturating_add(1),
            Err(Stop::Missing(what)) => {
                // Statements can still be judged without data.
                *missing = Some(what);
                *data = None;
                return Ok(checked);
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(checked)
}

fn sum_up(sale: &Sale, book: &mut Book) {
    let (sums, money) = (sale.chain.standing(), &sale.money);
    let totals = &mut book.totals;
    totals.messages = sums.messages;
    totals.bytes = sums.bytes;
    totals.windows = sums.windows;
    totals.invoices = sums.invoices;
    totals.payments = money.made();
    totals.due = sums.due;
    totals.paid = money.paid();
    totals.credited = money.credited();
    totals.unpaid = sums.due.saturating_sub(money.paid());
    if totals.unpaid > Amount::ZERO {
        let newest = sale.chain.newest().map(|newest| newest.head.id);
        let text = format!("{} of {} due are not paid", totals.unpaid, totals.due);
        book.note(Topic::Unpaid, newest, text);
    }
}

fn unreadable(position: u64, text: String) -> Finding {
    Finding {
        statement: None,
        kind: None,
        position: Some(position),
        by: Party::Exporter,
        rule: Rule::Form,
        conflicts_with: None,
        text,
    }
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use sdpp_log::{SignatureType, VerifierKey};
    use sdpp_proto::money::Unit;

    use super::*;
    use crate::audit::world::{Edits, Sale, converse, seller, trust};

    fn sale() -> Sale {
        converse(Unit::Message, &Edits::default())
    }

    fn is_lost(report: &Report) -> bool {
        let said = report.to_string();
        matches!(&report.verdict, Verdict::Incomplete(Missing::Memory(why)) if said.contains(why))
    }

    #[test]
    fn whoever_cannot_read_its_own_file_calls_nothing_clean_and_nobody_false() {
        let sale = sale();
        for at in 1..sale.bundle.statements.len() {
            let mut auditor = Auditor::new(&trust()).keeping(0);
            for (place, statement) in sale.bundle.statements.iter().enumerate() {
                if place == at {
                    auditor.book.seen.lose();
                    // Only the file knows that it came before.
                    assert_eq!(auditor.feed(&sale.bundle.statements[at - 1]), None, "{at}");
                }
                assert_eq!(auditor.feed(statement), None, "{at}");
            }
            let report = auditor.finish();
            assert!(is_lost(&report), "{at}: {report}");
            assert_eq!(report.totals.statements, u64::try_from(at).unwrap());
        }
    }

    #[test]
    fn so_it_is_with_records() {
        let sale = sale();
        let key = VerifierKey::new("log.example", SignatureType::Ed25519, *seller().public().as_bytes()).unwrap();
        let policy = Policy::new(key, vec![], 0).unwrap();
        let mut auditor = Auditor::new(&trust());
        auditor.ledger = Ledger::that_lost(sale.ctx.id("order"), policy);
        sale.bundle.statements.iter().for_each(|statement| assert_eq!(auditor.feed(statement), None));
        let report = auditor.finish();
        assert!(is_lost(&report), "{report}");
    }
}
