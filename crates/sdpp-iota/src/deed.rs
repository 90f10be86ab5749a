//! What a transaction does: pay a window, record a statement, divide a coin.

use std::fmt;

use iota_sdk_transaction_builder::unresolved::Argument;
use iota_sdk_transaction_builder::{TransactionBuilder, assigned};
use iota_sdk_types::{
    Address, Input, ObjectId, ObjectReference, ProgrammableTransaction, StructTag, Transaction, TransactionExpiration,
    TransactionKind, TypeTag,
};

use crate::limits;

/// What one transaction does. Each has one template, and a transaction that differs from it anywhere is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Pays a window: split, transfer, record.
    Pay(Window),
    /// Records something, readable in the transaction for as long as nodes keep it.
    Record(Vec<u8>),
    /// Records something in an immutable object that no node drops; its storage is paid for good.
    Keep(Vec<u8>),
    /// Divides the gas coin into so many equal ones, so that as many windows can be paid at once.
    Divide(u64),
    /// Sends money to somebody.
    Send {
        /// To whom.
        to: Address,
        /// Nanos.
        amount: u64,
    },
}

/// A payment and what it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Who is paid.
    pub payee: Address,
    /// In nanos: 10^9 of them are one IOTA.
    pub amount: u64,
    /// What it is for: the invoice's reference, readable in the transaction.
    pub record: Vec<u8>,
}

impl Window {
    /// One of nothing, by which others are measured.
    pub(crate) const fn nothing() -> Self {
        Self { payee: Address::ZERO, amount: 0, record: Vec::new() }
    }
}

/// What a transaction's gas is paid with. The money comes from the same coins, unless somebody else pays the gas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gas {
    /// Coins, each at the version that it has; what is left of them is one coin, the first.
    pub coins: Vec<ObjectReference>,
    /// Somebody else whose coins they are.
    pub sponsor: Option<Sponsored>,
    /// Nanos for a unit of gas.
    pub price: u64,
    /// Most nanos that may be spent.
    pub budget: u64,
    /// The last epoch in which it may be executed: behind that it is void for sure.
    pub expires: Option<u64>,
}

/// Who pays the gas of somebody else's transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sponsored {
    /// Who does.
    pub by: Address,
    /// The payer's own coins, which the money comes from; what is left of them is one coin, the first. None where no money
    /// moves.
    pub money: Vec<ObjectReference>,
}

impl Gas {
    /// The payer's own coins.
    pub fn own(&self) -> &[ObjectReference] {
        self.sponsor.as_ref().map_or(&self.coins, |sponsor| &sponsor.money)
    }

    /// Which of the payer's own coins, at which versions.
    pub fn versions(&self) -> Vec<(ObjectId, u64)> {
        self.own().iter().map(|coin| (coin.object_id, coin.version.as_u64())).collect()
    }
}

/// Why a transaction cannot be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadDeed {
    /// Nothing is paid, or nothing divided.
    Nothing,
    /// The record is longer than [`limits::RECORD_BYTES_MAX`].
    LongRecord,
    /// No gas coin, or more than [`limits::GAS_COINS_MAX`].
    BadGas,
    /// The builder's word.
    Refused(String),
}

impl fmt::Display for BadDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("a transaction that does nothing is not made"),
            Self::LongRecord => write!(f, "a record has at most {} bytes", limits::RECORD_BYTES_MAX),
            Self::BadGas => write!(f, "a transaction has 1 to {} gas coins", limits::GAS_COINS_MAX),
            Self::Refused(why) => write!(f, "the transaction cannot be built: {why}"),
        }
    }
}

impl std::error::Error for BadDeed {}

impl Deed {
    /// What it takes out of its coins, besides gas.
    pub const fn amount(&self) -> u64 {
        match self {
            Self::Pay(Window { amount, .. }) | Self::Send { amount, .. } => *amount,
            Self::Record(_) | Self::Keep(_) | Self::Divide(_) => 0,
        }
    }

    fn check(&self) -> Result<(), BadDeed> {
        let (record, is_something) = match self {
            Self::Pay(Window { amount, record, .. }) => (record.as_slice(), *amount > 0),
            Self::Record(record) | Self::Keep(record) => (record.as_slice(), true),
            Self::Divide(parts) => (&[] as &[u8], *parts > 1),
            Self::Send { amount, .. } => (&[] as &[u8], *amount > 0),
        };
        if !is_something {
            return Err(BadDeed::Nothing);
        }
        if record.len() > limits::RECORD_BYTES_MAX { Err(BadDeed::LongRecord) } else { Ok(()) }
    }
}

/// The coin that money comes from, with all others put into it.
fn source(builder: &mut TransactionBuilder, gas: &Gas) -> Result<Argument, BadDeed> {
    let Some(sponsor) = &gas.sponsor else { return Ok(Argument::Gas) };
    let (first, rest) = sponsor.money.split_first().ok_or(BadDeed::BadGas)?;
    let coin = builder.input(Input::ImmutableOrOwned(*first));
    if !rest.is_empty() {
        builder.merge_coins(coin, rest.to_vec());
    }
    Ok(coin)
}

fn transfer(builder: &mut TransactionBuilder, gas: &Gas, (to, amount): (Address, u64)) -> Result<(), BadDeed> {
    let source = source(builder, gas)?;
    builder.split_coins(source, [amount]).assign("coin");
    builder.transfer_objects(to, [assigned("coin")]);
    Ok(())
}

/// Whoever reads the transaction sees a call with the record as its typed argument; its result is of no use.
fn record(builder: &mut TransactionBuilder, bytes: &[u8]) {
    builder.move_call(Address::STD, "hash", "sha2_256").arguments([bytes.to_vec()]);
}

fn keep(builder: &mut TransactionBuilder, bytes: &[u8]) -> Result<(), BadDeed> {
    let bag = "0x2::bag::Bag".parse::<StructTag>().map_err(|error| BadDeed::Refused(error.to_string()))?;
    builder.move_call(Address::FRAMEWORK, "bag", "new").assign("bag");
    builder
        .move_call(Address::FRAMEWORK, "bag", "add")
        .arguments((assigned("bag"), 0u8, bytes.to_vec()))
        .type_tags([TypeTag::U8, TypeTag::Vector(Box::new(TypeTag::U8))]);
    builder
        .move_call(Address::FRAMEWORK, "transfer", "public_freeze_object")
        .arguments([assigned("bag")])
        .type_tags([TypeTag::Struct(Box::new(bag))]);
    Ok(())
}

/// Builds a transaction. The same deed and gas make the same bytes.
///
/// # Errors
/// [`BadDeed`].
pub fn build(payer: Address, deed: &Deed, gas: &Gas) -> Result<Transaction, BadDeed> {
    deed.check()?;
    if gas.coins.is_empty() || gas.coins.len().max(gas.own().len()) > limits::GAS_COINS_MAX {
        return Err(BadDeed::BadGas);
    }
    let mut builder = TransactionBuilder::new(payer);
    match deed {
        Deed::Pay(window) => {
            transfer(&mut builder, gas, (window.payee, window.amount))?;
            record(&mut builder, &window.record);
        }
        Deed::Record(bytes) => record(&mut builder, bytes),
        Deed::Keep(bytes) => keep(&mut builder, bytes)?,
        Deed::Divide(parts) => {
            let source = source(&mut builder, gas)?;
            builder.divide_coin(source, *parts);
        }
        Deed::Send { to, amount } => transfer(&mut builder, gas, (*to, *amount))?,
    }
    if let Some(sponsor) = &gas.sponsor {
        builder.sponsor(sponsor.by);
    }
    builder.gas(gas.coins.iter().cloned()).gas_budget(gas.budget).gas_price(gas.price);
    if let Some(epoch) = gas.expires {
        builder.expiration(epoch);
    }
    builder.finish().map_err(|error| BadDeed::Refused(error.to_string()))
}

/// A transaction that follows none of the templates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoDeed;

impl fmt::Display for NoDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transaction is not exactly one of those that are made here")
    }
}

impl std::error::Error for NoDeed {}

/// The gas of a transaction, whatever it does.
pub(crate) fn gas_of(transaction: &Transaction) -> Option<Gas> {
    let Transaction::V1(inner) = transaction else { return None };
    let payment = &inner.gas_payment;
    let expires = match inner.expiration {
        TransactionExpiration::None => None,
        TransactionExpiration::Epoch(epoch) => Some(epoch),
        _ => return None,
    };
    let TransactionKind::Programmable(program) = &inner.kind else { return None };
    let owned = |input: &Input| if let Input::ImmutableOrOwned(coin) = input { Some(*coin) } else { None };
    let money = || program.inputs.iter().filter_map(owned).collect();
    let sponsor = (payment.owner != inner.sender).then(|| Sponsored { by: payment.owner, money: money() });
    Some(Gas { coins: payment.objects.clone(), sponsor, price: payment.price, budget: payment.budget, expires })
}

/// Reads who does what in a transaction. It has to be the very one that [`build`] makes
/// of it: whatever else a transaction could do, it does not.
///
/// # Errors
/// [`NoDeed`].
pub fn matched(transaction: &Transaction) -> Result<(Address, Deed, Gas), NoDeed> {
    let Transaction::V1(inner) = transaction else { return Err(NoDeed) };
    let TransactionKind::Programmable(program) = &inner.kind else { return Err(NoDeed) };
    let gas = gas_of(transaction).ok_or(NoDeed)?;
    let is_it = |deed: &Deed| build(inner.sender, deed, &gas).ok().as_ref() == Some(transaction);
    guesses(program).into_iter().find(is_it).map(|deed| (inner.sender, deed, gas.clone())).ok_or(NoDeed)
}

/// What the inputs may be of, whatever is done with them.
fn guesses(program: &ProgrammableTransaction) -> Vec<Deed> {
    let pure = |input: &Input| if let Input::Pure(bytes) = input { Some(bytes.clone()) } else { None };
    let inputs: Vec<_> = program.inputs.iter().filter_map(pure).collect();
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    let address = |bytes: &[u8]| bytes.try_into().ok().map(Address::new);
    let bytes = |bytes: &[u8]| bcs::from_bytes::<Vec<u8>>(bytes).ok();
    match inputs.as_slice() {
        [one] => bytes(one).map(Deed::Record).into_iter().chain(number(one).map(Deed::Divide)).collect(),
        [one, other] => {
            let sent = number(one).zip(address(other)).map(|(amount, to)| Deed::Send { to, amount });
            sent.into_iter().chain(bytes(other).map(Deed::Keep)).collect()
        }
        [amount, payee, record] => {
            let window = number(amount).zip(address(payee)).zip(bytes(record));
            window.map(|((amount, payee), record)| Deed::Pay(Window { payee, amount, record })).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
