//! What must hold after every step, and at the end.

use sdpp_proto::buyer as buys;
use sdpp_proto::buyer::BuyerOrder;
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::seller as sells;
use sdpp_proto::time::Timestamp;

use super::buyer;
use super::ctx::{LinkId, Party};
use super::liars::is_named_rightly;
use super::link::Links;
use super::model::Account;
use super::run::World;
use super::seller;

/// Calm for so long, nobody is late or silent any more because of the storm.
const SETTLED_MS: u64 = 300_000;

impl World {
    /// Takes note of what processes have done since the last step, and holds it against the reference.
    pub(super) fn notice(&mut self) -> Result<(), String> {
        let is_calm = self.is_calm();
        self.notice_buyers(is_calm)?;
        let Some(seller) = &mut self.seller else { return Ok(()) };
        let mut declare = false;
        for deed in std::mem::take(&mut seller.deeds) {
            match deed {
                seller::Deed::Invoiced(invoice) => {
                    self.accounts.entry(invoice.order_id).or_default().invoiced(&invoice);
                }
                seller::Deed::Forgiven { order, end } => {
                    let account = self.accounts.entry(order).or_default();
                    account.forgiven = account.forgiven.max(end);
                }
                seller::Deed::Credited { order, invoice, total } => {
                    let account = self.accounts.entry(order).or_default();
                    account.credits(total, self.storm.forgot)?;
                    if !self.storm.forgot {
                        account.answers(&invoice, total)?;
                    }
                }
                seller::Deed::Ended { ended, link } => {
                    let buyer = self.links.get(&link).map_or(0, |link| link.buyer);
                    let liar = self.buyers[buyer].liar.as_ref();
                    if ended == sells::Ended::Stopped(Reason::Frozen) && !seller.journal.failed {
                        // It has seen a newer signature of its own: the operator says what happened.
                        if !self.storm.forgot {
                            return Err("a seller's journal is older than its signatures, and no disk lied".to_owned());
                        }
                        declare = true;
                    }
                    if let sells::Ended::Settled { countersigned } = ended {
                        self.ctx.hit(if countersigned { "end: settled" } else { "end: countersignature withheld" });
                    }
                    if ended == sells::Ended::Defaulted {
                        self.ctx.hit("end: default");
                    }
                    if let Some(offence) = seller::blames(&ended) {
                        self.ctx.shared.coverage().named(offence);
                        let is_right = match liar {
                            Some(_) if self.storm.forgot => Ok(()),
                            // Made by hand, it does not pay again what a seller has lost since it paid it.
                            Some(_) if offence == Offence::PaymentRefused && came_before(&self.links, link) => Ok(()),
                            Some(liar) => is_named_rightly(offence, liar.lie.offences(), liar.has_lied()),
                            // What it sent on an older connection came behind what it sent on a newer one.
                            None if offence == Offence::StaleAttach && is_overtaken(&self.links, link) => Ok(()),
                            None => is_fair(offence, self.storm.forgot, is_calm),
                        };
                        if let Some(liar) = liar.filter(|liar| liar.lie.offences().contains(&offence)) {
                            self.ctx.hit(liar.lie.point());
                        }
                        let who = liar.map_or("an honest buyer", |liar| liar.lie.name());
                        is_right.map_err(|why| format!("the seller blames {who}: {offence}: {why}"))?;
                    }
                }
            }
        }
        if declare {
            seller.declare_restored(&self.ctx);
            if seller.journal.failed {
                self.operator(Party::Seller);
            }
        }
        Ok(())
    }

    fn notice_buyers(&mut self, is_calm: bool) -> Result<(), String> {
        for seat in &mut self.buyers {
            if let Some((order, total)) = seat.liar.as_ref().and_then(super::liars::BuyerSeat::signed) {
                let account = self.accounts.entry(order).or_default();
                account.signed = account.signed.max(total.get());
            }
            let Some(buyer) = &mut seat.process else { continue };
            for deed in std::mem::take(&mut buyer.deeds) {
                match deed {
                    buyer::Deed::Pays { invoice, total } => {
                        let Some(order) = buyer.order() else { continue };
                        if !self.storm.forgot {
                            self.accounts.entry(invoice.order_id).or_default().pays(&invoice, total)?;
                            Account::is_earned(order, &invoice, &seat.house)?;
                        }
                        let terms = order.terms();
                        if total > terms.order.limit {
                            return Err(format!("a buyer pays {total}, its limit is {}", terms.order.limit));
                        }
                        if Account::worth(terms, &seat.house.sink).is_some_and(|worth| total.get() > worth) {
                            return Err(format!("a buyer pays {total} for {} messages", seat.house.sink.len()));
                        }
                    }
                    buyer::Deed::Signed { order, total } => {
                        let account = self.accounts.entry(order).or_default();
                        account.signed = account.signed.max(total.get());
                    }
                    buyer::Deed::Ended { ended } => {
                        if let buys::Ended::Offence(offence) = ended {
                            self.ctx.shared.coverage().named(offence);
                            let liar = self.lying_seller.as_ref();
                            let is_right = match liar {
                                Some(_) if self.storm.forgot => Ok(()),
                                Some(liar) => is_named_rightly(offence, liar.lie.offences(), liar.has_lied()),
                                None => is_fair(offence, self.storm.forgot, is_calm),
                            };
                            if let Some(liar) = liar.filter(|liar| liar.lie.offences().contains(&offence)) {
                                self.ctx.hit(liar.lie.point());
                            }
                            let who = liar.map_or("an honest seller", |liar| liar.lie.name());
                            is_right.map_err(|why| format!("a buyer blames {who}: {offence}: {why}"))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The invariants of every step.
    pub(super) fn check(&mut self) -> Result<(), String> {
        self.money.check()?;
        if let Some(what) = self.storm.last_words.take() {
            return Err(what);
        }
        if self.ctx.shared.is_accused() {
            return Err("an honest ledger is called dishonest".to_owned());
        }
        if let Some(seller) = &self.seller {
            for account in seller.accounts() {
                let owed = account.due().saturating_sub(account.paid());
                let terms = account.terms();
                let known = self.accounts.entry(account.id()).or_default();
                known.books(account.paid(), self.storm.forgot)?;
                let window = u64::from(terms.product.k) * u64::from(terms.order.windows);
                if account.sent().saturating_sub(known.behind()) > window && !self.storm.forgot {
                    return Err(format!("more than {window} messages are sent and not paid"));
                }
                let most = self.plan.caps.exposure_max.min(terms.order.exposure_max);
                if owed > most {
                    return Err(format!("{owed} are owed, and {most} were agreed at most"));
                }
                if account.due() > terms.order.limit {
                    return Err(format!("{} are due, and the limit is {}", account.due(), terms.order.limit));
                }
            }
            let (strangers, proven) = seller.pools.all_out();
            // Who comes back to pay a debt that was written off is let in all the same.
            let is_full = strangers > seller.pools.strangers || proven > seller.pools.proven;
            if is_full && !self.ctx.shared.is_calm() {
                return Err(format!("pools overflow: {strangers} and {proven}"));
            }
        }
        for seat in &self.buyers {
            if seat.house.keeps_all {
                continue;
            }
            let mut next = 0;
            for (seq, _) in &seat.house.sink {
                let lost = |(first, end): &(u64, u64)| *first <= next && *seq <= *end;
                if *seq != next && !seat.house.forgiven.iter().any(lost) {
                    return Err(format!("buyer {} holds message {seq} behind {next}", seat.house.number));
                }
                next = seq + 1;
            }
        }
        Ok(())
    }

    /// Everybody has come to an end: channels are closed, and every cent is where it belongs.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.ends_well()?;
        // Chains go on replacing blocks when all is calm: once more for what was undone so.
        let unsettled = usize::from(self.money.chain.is_some());
        for round in 0..3 + unsettled {
            if let Some(chain) = &self.money.chain {
                chain.unsettle(round < unsettled);
            }
            // The seller redeems what it has, then buyers take back what is left when the grace is over.
            self.run_for(65_000)?;
            for seat in &self.buyers {
                if let Some(liar) = &seat.liar {
                    liar.close();
                }
                if let Some(buyer) = &seat.process {
                    buyer.close_all(&mut self.ctx, &seat.house);
                }
            }
            self.run_for(2_000)?;
            let grace = self.money.pass_grace();
            self.run_for(grace)?;
        }
        self.balances()
    }

    fn run_for(&mut self, ms: u64) -> Result<(), String> {
        let until = self.ctx.now().after_ms(ms);
        while self.step(until)? {}
        Ok(())
    }

    /// Each pair of accounts is settled, or somebody has signed why not.
    fn ends_well(&self) -> Result<(), String> {
        for seat in &self.buyers {
            let mut texts: Vec<&[u8]> = seat.house.sink.iter().map(|(_, bytes)| bytes.as_slice()).collect();
            texts.sort_unstable();
            texts.dedup();
            if texts.len() != seat.house.sink.len() && !seat.house.keeps_all {
                return Err(format!("buyer {} holds a message twice", seat.house.number));
            }
            let Some(order) = seat.process.as_ref().and_then(|buyer| buyer.order()) else { continue };
            let Some(seller) = &self.seller else { continue };
            self.pair(seat.house.number, seller, order)?;
        }
        Ok(())
    }

    /// Nothing ever went wrong, or all has been well for so long that nobody has a reason to be late.
    fn is_calm(&self) -> bool {
        let settled = |since: Timestamp| self.ctx.now() > since.after_ms(SETTLED_MS);
        self.plan.weather.is_calm() || self.storm.calm_since.is_some_and(settled)
    }

    const fn has_no_liar(&self) -> bool {
        matches!(self.plan.liar, super::plan::Liar::Nobody)
    }

    fn pair(&self, number: usize, seller: &seller::Seller, order: &BuyerOrder) -> Result<(), String> {
        let known = self.accounts.get(&order.id()).cloned().unwrap_or_default();
        if order.is_settled() && order.paid() != order.due() {
            return Err(format!("a settled order owes: {} of {}", order.paid(), order.due()));
        }
        let terms = order.terms();
        if order.due().get() + terms.product.amount.get() > terms.order.limit.get() {
            self.ctx.hit("end: limit");
        }
        if !order.is_settled() && order.salt().is_some() && self.has_no_liar() && !self.storm.forgot {
            let how = &self.buyers[number].house.ended;
            let is_declared = matches!(how, Some(buys::Ended::Told(Some(Fault::Offence(Offence::NotPaid)))));
            // The seller does not sign the end: the last pair stands alone.
            let is_paid = *how == Some(buys::Ended::Withheld) && order.paid() == order.due();
            if !(is_declared || is_paid) || self.plan.weather.is_calm() {
                return Err(format!("an accepted order is given up without evidence: {how:?}"));
            }
        }
        if order.is_settled() && known.credited < order.paid().get() && !self.storm.forgot {
            return Err(format!("{} were paid, {} credited", order.paid(), known.credited));
        }
        if order.is_settled()
            && !seller.is_over(&order.id())
            && !seller.accounts().any(|account| account.id() == order.id() && account.is_settled())
            && !self.storm.forgot
        {
            return Err("the buyer's order is settled, the seller's is not".to_owned());
        }
        Ok(())
    }

    fn balances(&mut self) -> Result<(), String> {
        if self.money.all() != self.money.issued() {
            return Err(format!("{} were issued, {} are there", self.money.issued(), self.money.all()));
        }
        let got = self.money.balance(&self.seller_house.key.public()).get() - 1;
        let credited: u128 = self.accounts.values().map(|account| account.credited).sum();
        let most = |account: &Account| account.asked.values().copied().max().unwrap_or(0).max(account.signed);
        let signed: u128 = self.accounts.values().map(most).sum();
        // A buyer that forgot a payment which moved money may make it again, for another invoice (SECURITY.md).
        if got < credited || (got > signed && !self.storm.forgot) {
            return Err(format!("the seller has {got}: {credited} were credited, {signed} signed"));
        }
        for seat in &self.buyers {
            let locked = self.money.locked(&seat.house.key.public());
            if !locked.is_zero() {
                return Err(format!("{locked} of buyer {} stay locked", seat.house.number));
            }
        }
        Ok(())
    }
}

/// Whether its buyer has made another connection before.
fn came_before(links: &Links, id: LinkId) -> bool {
    let buyer = links.get(&id).map(|link| link.buyer);
    links.iter().any(|(other, link)| *other < id && Some(link.buyer) == buyer)
}

/// Whether its buyer has made another connection since.
fn is_overtaken(links: &Links, id: LinkId) -> bool {
    let buyer = links.get(&id).map(|link| link.buyer);
    links.iter().any(|(other, link)| *other > id && Some(link.buyer) == buyer)
}

/// Whether an honest side may be named so: for being late or silent, where something made it so.
fn is_fair(offence: Offence, forgot: bool, is_calm: bool) -> Result<(), &'static str> {
    match offence {
        _ if offence.is_lateness() && !is_calm => Ok(()),
        // Its order was made for the menu of an earlier life of the seller, which never took it.
        Offence::WrongMenu if !is_calm => Ok(()),
        // That, or there was no room for it for too long.
        Offence::OrderExpired => Ok(()),
        _ if forgot => Ok(()),
        _ => Err("it was neither late nor silent"),
    }
}
