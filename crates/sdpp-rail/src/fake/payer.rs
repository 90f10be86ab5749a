//! The fake buyer's half.

use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::hash::labelled;
use sdpp_proto::money::Amount;

use crate::rail::{Bill, CloseStatus, Funding, OpenRequest, Payer, PaymentStatus, Proof, RailError, Reply};

use super::bank::{Book, Channel, Paid, Transfer};
use super::{Call, FakeBank, FakeMode};

/// A payer on a [`FakeBank`].
#[derive(Clone)]
pub struct FakePayer {
    bank: FakeBank,
    account: String,
    mode: FakeMode,
}

impl FakePayer {
    /// A payer that spends from this account.
    pub fn new(bank: &FakeBank, account: impl Into<String>, mode: FakeMode) -> Self {
        Self { bank: bank.clone(), account: account.into(), mode }
    }

    fn do_open(&self, book: &mut Book, request: &OpenRequest) -> Result<Funding, RailError> {
        let key = (self.account.clone(), request.reference);
        if let Some((known, funding)) = book.openings.get(&key) {
            let same = known == request;
            return if same { Ok(funding.clone()) } else { Err(RailError::Declined("one reference, two requests")) };
        }
        let funding = match self.mode {
            FakeMode::Direct => Funding { channel: None, deposit: Amount::ZERO },
            FakeMode::Voucher => self.lock_deposit(book, request)?,
        };
        book.openings.insert(key, (request.clone(), funding.clone()));
        Ok(funding)
    }

    fn lock_deposit(&self, book: &mut Book, request: &OpenRequest) -> Result<Funding, RailError> {
        let option = &request.option;
        book.take(&self.account, &option.asset, request.limit)?;
        let id = labelled("fake channel", &[self.account.as_bytes(), request.reference.as_bytes()]);
        let channel = Channel {
            payer: self.account.clone(),
            payee: option.address.clone(),
            asset: option.asset.clone(),
            signer: request.signer,
            deposit: request.limit,
            redeemed: Amount::ZERO,
            grace_ms: option.grace_min_ms,
            closes_at_ms: None,
            closed: false,
        };
        book.channels.insert(ChannelId(id), channel);
        Ok(Funding { channel: Some(ChannelId(id)), deposit: request.limit })
    }

    fn do_pay(&self, book: &mut Book, bill: &Bill) -> Result<Proof, RailError> {
        let key = (self.account.clone(), bill.invoice);
        if let Some(paid) = book.payments.get(&key) {
            // A voucher is worth its total, whatever was paid before: a payer that lost a signature in a crash
            // may come by another way to the same invoice.
            let before = if self.mode == FakeMode::Voucher { paid.bill.before } else { bill.before };
            let same = paid.bill == Bill { before, ..bill.clone() };
            return if same { Ok(paid.proof.clone()) } else { Err(RailError::Declined("one invoice, two bills")) };
        }
        let amount = bill.total.checked_sub(bill.before);
        let amount = amount.ok_or(RailError::Declined("the total is below the one before"))?;
        let proof = match self.mode {
            FakeMode::Voucher => self.promise(book, bill)?,
            FakeMode::Direct => self.transfer(book, bill, amount)?,
        };
        let waits = book.late;
        book.payments.insert(key, Paid { bill: bill.clone(), proof: proof.clone(), waits });
        Ok(proof)
    }

    fn promise(&self, book: &Book, bill: &Bill) -> Result<Proof, RailError> {
        let channel = bill.channel.and_then(|id| book.channels.get(&id));
        let channel = channel.filter(|channel| channel.payer == self.account);
        let channel = channel.ok_or(RailError::Declined("not a channel of this payer"))?;
        if channel.payee != bill.payee || channel.asset != bill.asset {
            return Err(RailError::Declined("the channel is for another payee or asset"));
        }
        if !channel.is_open() {
            return Err(RailError::Declined("the channel is closed or about to be"));
        }
        if bill.total > channel.deposit {
            return Err(RailError::Declined("more than the deposit"));
        }
        Ok(Proof::Voucher)
    }

    fn transfer(&self, book: &mut Book, bill: &Bill, amount: Amount) -> Result<Proof, RailError> {
        book.take(&self.account, &bill.asset, amount)?;
        book.add(&bill.payee, &bill.asset, amount)?;
        let id = labelled("fake transfer", &[self.account.as_bytes(), bill.invoice.as_bytes()]);
        let transfer = Transfer {
            payee: bill.payee.clone(),
            asset: bill.asset.clone(),
            amount,
            order: bill.order,
            invoice: bill.invoice,
        };
        book.transfers.insert(Bytes32(id), transfer);
        Ok(Proof::Bytes(id.to_vec()))
    }

    fn do_status(&self, book: &mut Book, invoice: &StatementId) -> PaymentStatus {
        match book.payments.get_mut(&(self.account.clone(), *invoice)) {
            None => PaymentStatus::NotPaid,
            Some(paid) => match paid.waits.checked_sub(1) {
                Some(left) => {
                    paid.waits = left;
                    PaymentStatus::Pending
                }
                None => PaymentStatus::Paid(paid.proof.clone()),
            },
        }
    }

    fn do_close(&self, book: &mut Book, funding: &Funding) -> Result<CloseStatus, RailError> {
        let Some(id) = funding.channel else {
            return Ok(CloseStatus::Closed);
        };
        let now_ms = book.now_ms;
        let mine = book.channels.get_mut(&id).filter(|channel| channel.payer == self.account);
        let channel = mine.ok_or(RailError::Declined("not a channel of this payer"))?;
        if channel.is_open() {
            channel.closes_at_ms = Some(now_ms.saturating_add(channel.grace_ms));
        }
        Ok(if channel.closed { CloseStatus::Closed } else { CloseStatus::Pending })
    }
}

impl Payer for FakePayer {
    fn moves_money(&self) -> bool {
        self.mode == FakeMode::Direct
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        Box::pin(async move { self.bank.act(Call::Open, |book| self.do_open(book, request)) })
    }

    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof> {
        Box::pin(async move { self.bank.act(Call::Pay, |book| self.do_pay(book, bill)) })
    }

    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        Box::pin(async move { self.bank.act(Call::Status, |book| Ok(self.do_status(book, invoice))) })
    }

    fn close<'a>(&'a self, funding: &'a Funding) -> Reply<'a, CloseStatus> {
        Box::pin(async move { self.bank.act(Call::Close, |book| self.do_close(book, funding)) })
    }
}
