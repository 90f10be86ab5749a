//! The start of a sale and of its connections: menu, order, attach, acceptance.

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Acceptance, Attach, Forgiven, Have, Menu, Order, Terms};

use super::case::{Book, Case, Head, Stop};
use super::chain::Chain;
use super::money::Money;
use super::report::{Missing, Party, Topic};
use super::rule::Rule;

/// One order, as far as it has been audited.
#[derive(Debug)]
pub(super) struct Sale {
    pub(super) id: StatementId,
    pub(super) seller: PublicKey,
    pub(super) buyer: PublicKey,
    pub(super) terms: Terms,
    /// Whether the menu names a log for records. What is recorded elsewhere, whoever can ask there looks for.
    pub(super) is_recorded: bool,
    /// Attaches that wait for their acceptance, with rising index.
    attaches: Vec<Waiting>,
    attach_index: Option<u32>,
    /// The exposure of the newest connection.
    pub(super) exposure: Option<Amount>,
    pub(super) chain: Chain,
    pub(super) money: Money,
}

#[derive(Debug)]
struct Waiting {
    id: StatementId,
    index: u32,
    have: Have,
}

/// Who signs with this key.
pub(super) fn party(key: &PublicKey, seller: &PublicKey, sale: Option<&Sale>) -> Party {
    if key == seller {
        Party::Seller
    } else if sale.is_some_and(|sale| *key == sale.buyer || *key == sale.terms.order.sign_pk) {
        Party::Buyer
    } else {
        Party::Exporter
    }
}

/// Checks that the menu is the seller's own.
pub(super) fn check_menu(head: &Head, menu: &Menu, seller: &PublicKey) -> Result<(), Stop> {
    let case = Case::new(head, party(&head.issuer, seller, None));
    case.equal(Rule::Issuer, "the menu's signer", *seller, head.issuer)?;
    case.equal(Rule::MenuSeller, "the menu's seller", *seller, menu.seller)
}

impl Sale {
    /// Opens a sale. The order's issuer is the buyer.
    pub(super) fn open(
        head: &Head,
        order: &Order,
        menus: &[(StatementId, Menu)],
        seller: &PublicKey,
    ) -> Result<Self, Stop> {
        let case = Case::new(head, Party::Buyer);
        case.equal(Rule::OrderSeller, "the order's seller", *seller, order.seller)?;
        let menu = menus.iter().find(|(id, _)| *id == order.menu_id).map(|(_, menu)| menu);
        let menu = menu.ok_or(Stop::Missing(Missing::Menu(Some(order.menu_id))))?;
        let terms = Terms::resolve(menu, order).ok_or_else(|| {
            let text = format!("the menu has no product {} with option {}", order.product, order.option);
            case.breaks(Rule::OrderTerms, text)
        })?;
        case.at_most(Rule::OrderWindows, "outstanding windows", terms.product.windows_max, order.windows)?;
        if terms.option.channel && order.channel.is_none() {
            return Err(case.breaks(Rule::OrderChannel, "the option needs a channel, the order names none"));
        }
        Ok(Self {
            id: head.id,
            seller: *seller,
            buyer: head.issuer,
            terms,
            is_recorded: menu.records.backend == "ledger",
            attaches: Vec::new(),
            attach_index: None,
            exposure: None,
            chain: Chain::new(head.id),
            money: Money::default(),
        })
    }

    /// Checks who signed and for which order. `ties` are statements that it names: where one of them
    /// is of this order, whoever signed meant this order too.
    pub(super) fn belongs(
        &self,
        head: &Head,
        (issuer, order): (&PublicKey, &StatementId),
        ties: &[Option<StatementId>],
        book: &Book,
    ) -> Result<(), Stop> {
        let signer = party(&head.issuer, &self.seller, Some(self));
        Case::new(head, signer).equal(Rule::Issuer, "signer", *issuer, head.issuer)?;
        if *order == self.id {
            return Ok(());
        }
        let mut is_tied = false;
        for tie in ties.iter().flatten() {
            is_tied = is_tied || book.seen.contains(tie)?;
        }
        let by = if is_tied { signer } else { Party::Exporter };
        Case::new(head, by).equal(Rule::OrderId, "order", self.id, *order)
    }

    /// Checks the buyer's start of a connection.
    pub(super) fn attach(&mut self, head: &Head, attach: &Attach, book: &Book) -> Result<(), Stop> {
        let ties = [attach.have.last_invoice, attach.have.last_payment];
        self.belongs(head, (&self.buyer, &attach.order_id), &ties, book)?;
        if let Some(before) = self.attach_index.filter(|before| attach.index <= *before) {
            let text = format!("index: expected more than {before}, found {}", attach.index);
            return Err(Case::new(head, Party::Buyer).breaks(Rule::AttachIndex, text));
        }
        self.attach_index = Some(attach.index);
        self.attaches.push(Waiting { id: head.id, index: attach.index, have: attach.have });
        Ok(())
    }

    /// Checks the seller's answer, and voids what it forgives.
    pub(super) fn acceptance(&mut self, head: &Head, acceptance: &Acceptance, book: &mut Book) -> Result<(), Stop> {
        self.belongs(head, (&self.seller, &acceptance.order_id), &[Some(acceptance.attach_id)], book)?;
        let case = Case::new(head, Party::Seller);
        let at = self.attaches.binary_search_by_key(&acceptance.index, |attach| attach.index);
        let attach = at.ok().and_then(|at| Some((at, self.attaches.get(at)?)));
        let Some((at, attach)) = attach.filter(|(_, attach)| attach.id == acceptance.attach_id) else {
            return Err(self.not_an_answer(&case, acceptance, book));
        };
        let (order, have) = (&self.terms.order, attach.have);
        case.at_most(Rule::AcceptanceExposure, "exposure", order.exposure_max, acceptance.exposure)?;
        case.at_most(Rule::AcceptanceWindows, "outstanding windows", order.windows, acceptance.windows)?;
        match &acceptance.forgiven {
            Some(forgiven) => self.forgive(&case, (acceptance.start, forgiven), book)?,
            None => self.check_start(&case, acceptance.start, (&have, book))?,
        }
        self.chain.accepted(head.id);
        self.exposure = Some(acceptance.exposure);
        for unanswered in self.attaches.drain(..=at).take(at) {
            note_unanswered(&unanswered, book);
        }
        Ok(())
    }

    fn not_an_answer(&self, case: &Case<'_>, acceptance: &Acceptance, book: &Book) -> Stop {
        let Acceptance { attach_id, index, .. } = acceptance;
        match book.seen.contains(attach_id) {
            Ok(true) => {
                let text = format!("{attach_id} is no attach number {index} that waits for its answer");
                case.breaks(Rule::AcceptanceAttach, text)
            }
            Ok(false) => {
                Stop::Missing(Missing::Statement { id: *attach_id, what: "the attach", named_by: case.head.id })
            }
            Err(lost) => lost.into(),
        }
    }

    /// Messages are repeated from the first that the buyer has no invoice for, or from a later one
    /// that it does not hold; what is paid need not be repeated.
    fn check_start(&self, case: &Case<'_>, start: u64, (have, book): (&Have, &Book)) -> Result<(), Stop> {
        let Have { base, next, last_payment, .. } = *have;
        let most = next.max(self.chain.paid_end());
        if (base..=most).contains(&start) {
            return Ok(());
        }
        if let Some(id) = last_payment.filter(|_| start > most)
            && !book.seen.contains(&id)?
        {
            return Err(Stop::Missing(Missing::Statement { id, what: "the last payment", named_by: case.head.id }));
        }
        let text = format!("start: expected {base} to {most}, found {start}");
        Err(case.breaks(Rule::AcceptanceStart, text))
    }

    fn forgive(&mut self, case: &Case<'_>, (start, forgiven): (u64, &Forgiven), book: &mut Book) -> Result<(), Stop> {
        let before = self.chain.forgiven();
        let end = forgiven.first.checked_add(forgiven.count);
        let end = end.ok_or_else(|| case.breaks(Rule::Forgiven, "the number of forgiven messages overflows"))?;
        case.equal(Rule::Forgiven, "start behind the forgiven messages", end, start)?;
        if before == Some(*forgiven) {
            // Said again, because the buyer may not have heard it.
            return Ok(());
        }
        let number = forgiven.invoice.map(|id| book.invoice_number(&id)).transpose()?.flatten();
        let void = forgiven.invoice.zip(number);
        if let Some((id, n)) = void {
            let voided = self.chain.void_from(&id, n).ok_or_else(|| {
                case.breaks(Rule::Forgiven, format!("invoice {n} is paid, or void already: it cannot be forgiven"))
            })?;
            for standing in voided {
                book.void(standing.head.id)?;
                book.totals.invoices_void = book.totals.invoices_void.saturating_add(1);
            }
        }
        // Behind what is invoiced, or behind what was forgiven since; from its start where that was not heard.
        let standing = self.chain.standing().end;
        let since = before.filter(|before| before.first >= standing);
        let behind = since.map_or(standing, |before| before.first.saturating_add(before.count));
        let said_again = since.is_some_and(|before| before.first == forgiven.first);
        if forgiven.first > behind && void.is_none() {
            return Err(Stop::Missing(Missing::Invoice(self.chain.made())));
        }
        if forgiven.first != standing && !said_again {
            case.equal(Rule::Forgiven, "first message forgiven", behind, forgiven.first)?;
        }
        if forgiven.next_n < self.chain.made() {
            let text = format!("number of the next invoice: {} is used up", forgiven.next_n);
            return Err(case.breaks(Rule::Forgiven, text));
        }
        let same = since.map_or(0, |_| self.chain.forgiven_since(forgiven.first));
        let total = &mut book.totals.forgiven;
        *total = total.saturating_sub(same).saturating_add(forgiven.count);
        self.chain.forgive(case.head.id, start, forgiven);
        Ok(())
    }

    /// What to say about attaches at the end.
    pub(super) fn note_unanswered(&self, book: &mut Book) {
        self.attaches.iter().for_each(|attach| note_unanswered(attach, book));
    }
}

fn note_unanswered(attach: &Waiting, book: &mut Book) {
    let text = format!("connection {} was asked for and not accepted", attach.index);
    book.note(Topic::Unanswered, Some(attach.id), text);
}
