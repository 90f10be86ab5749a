//! The transaction of a window: split, transfer, record.

use std::fmt;

use iota_sdk_transaction_builder::unresolved::Argument;
use iota_sdk_transaction_builder::{TransactionBuilder, assigned};
use iota_sdk_types::{
    Address, Input, ObjectReference, ProgrammableTransaction, Transaction, TransactionExpiration, TransactionKind,
};

use crate::limits;

/// What one transaction pays, and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// In nanos: 10^9 of them are one IOTA.
    pub amount: u64,
    /// What it is for: the invoice's reference, readable in the transaction.
    pub record: Vec<u8>,
}

/// What a transaction's gas is paid with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gas {
    /// Coins, each at the version that it has. The money comes from them, too.
    pub coins: Vec<ObjectReference>,
    /// Who they belong to: the payer, or a sponsor.
    pub owner: Address,
    /// Nanos for a unit of gas.
    pub price: u64,
    /// Most nanos that may be spent.
    pub budget: u64,
}

/// Why a transaction cannot be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadWindow {
    /// Nothing is paid.
    NoAmount,
    /// The record is longer than [`limits::RECORD_BYTES_MAX`].
    LongRecord,
    /// No gas coin, or more than [`limits::GAS_COINS_MAX`].
    BadGas,
    /// The builder's word.
    Refused(String),
}

impl fmt::Display for BadWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAmount => f.write_str("a window of nothing is not paid"),
            Self::LongRecord => write!(f, "a record has at most {} bytes", limits::RECORD_BYTES_MAX),
            Self::BadGas => write!(f, "a transaction has 1 to {} gas coins", limits::GAS_COINS_MAX),
            Self::Refused(why) => write!(f, "the transaction cannot be built: {why}"),
        }
    }
}

impl std::error::Error for BadWindow {}

/// Builds the transaction of a window. The same window and gas make the same bytes.
///
/// # Errors
/// [`BadWindow`].
pub fn build(window: &Window, gas: &Gas) -> Result<Transaction, BadWindow> {
    if window.amount == 0 {
        return Err(BadWindow::NoAmount);
    }
    if window.record.len() > limits::RECORD_BYTES_MAX {
        return Err(BadWindow::LongRecord);
    }
    if gas.coins.is_empty() || gas.coins.len() > limits::GAS_COINS_MAX {
        return Err(BadWindow::BadGas);
    }
    let mut builder = TransactionBuilder::new(window.payer);
    builder.split_coins(Argument::Gas, [window.amount]).assign("coin");
    builder.transfer_objects(window.payee, [assigned("coin")]);
    // Whoever reads the transaction sees a call with the record as its typed argument; its result is of no use.
    builder.move_call(Address::STD, "hash", "sha2_256").arguments([window.record.clone()]);
    builder.gas(gas.coins.iter().cloned()).gas_budget(gas.budget).gas_price(gas.price);
    if gas.owner != window.payer {
        builder.sponsor(gas.owner);
    }
    builder.finish().map_err(|error| BadWindow::Refused(error.to_string()))
}

/// A transaction that is not that of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoWindow;

impl fmt::Display for NoWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transaction is not one split, one transfer and one record, and nothing else")
    }
}

impl std::error::Error for NoWindow {}

/// Reads the window of a transaction. It has to be the very one that [`build`] makes of it: whatever else a transaction
/// could do, it does not.
///
/// # Errors
/// [`NoWindow`].
pub fn matched(transaction: &Transaction) -> Result<(Window, Gas), NoWindow> {
    let Transaction::V1(inner) = transaction else { return Err(NoWindow) };
    let TransactionKind::Programmable(program) = &inner.kind else { return Err(NoWindow) };
    let (amount, payee, record) = inputs(program).ok_or(NoWindow)?;
    let window = Window { payer: inner.sender, payee, amount, record };
    let payment = &inner.gas_payment;
    let gas =
        Gas { coins: payment.objects.clone(), owner: payment.owner, price: payment.price, budget: payment.budget };
    let expires = inner.expiration != TransactionExpiration::None;
    if expires || build(&window, &gas).ok().as_ref() != Some(transaction) {
        return Err(NoWindow);
    }
    Ok((window, gas))
}

/// What the three inputs say, if they are three of the right lengths.
fn inputs(program: &ProgrammableTransaction) -> Option<(u64, Address, Vec<u8>)> {
    let [Input::Pure(amount), Input::Pure(payee), Input::Pure(record)] = program.inputs.as_slice() else { return None };
    let amount = u64::from_le_bytes(amount.as_slice().try_into().ok()?);
    let payee = Address::new(payee.as_slice().try_into().ok()?);
    Some((amount, payee, bcs::from_bytes(record).ok()?))
}
