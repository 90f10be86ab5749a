//! What a channel costs, against what is bought by it.

use sdpp_evm::{Address, EvmTerms, Node, limits};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::PayOption;
use sdpp_rail::RailError;

use super::{Chain, connect, plus};
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::text::decimal;

/// Hundredths of an order's value from which on its gas is worth a warning.
const DEAR_PERCENT: u128 = 10;

/// The gas of an order, in wei of the native coin.
pub(crate) struct Costs {
    /// What a unit of gas costs now.
    pub(crate) gas_price: u128,
    /// What the buyer pays to open the channel.
    pub(crate) open: Amount,
    /// What the seller pays to close it.
    pub(crate) close: Amount,
    /// What each side pays for a record.
    pub(crate) record: Amount,
    /// The coin's name.
    coin: String,
    /// The asset of the order is the coin itself: then gas and order can be compared.
    native: bool,
}

fn fee(gas: u64, price: u128) -> Amount {
    Amount::new(price.saturating_mul(u128::from(gas)))
}

const fn opening(token: Option<Address>) -> u64 {
    if token.is_some() { limits::GAS_OPEN_TOKEN } else { limits::GAS_OPEN_COINS }
}

/// What opening a channel costs now, in wei.
pub(super) async fn gas_of_opening(node: &Node, token: Option<Address>) -> Result<Amount, RailError> {
    Ok(fee(opening(token), node.gas_price().await?))
}

/// What closing a channel costs now, in wei.
pub(super) async fn gas_of_closing(node: &Node) -> Result<Amount, RailError> {
    Ok(fee(limits::GAS_CLOSE, node.gas_price().await?))
}

/// Asks the chain of a payment option.
pub(crate) async fn costs(home: &Home, chain: &Chain, option: &PayOption) -> Result<Costs, Failure> {
    let terms = EvmTerms::parse(&option.terms).map_err(|error| failed(Exit::Refused, error.to_string()))?;
    let network = chain.of_terms(&home.config()?, &terms)?;
    let node = connect(&network).await?;
    let gas_price = node
        .gas_price()
        .await
        .map_err(|error| failed(Exit::Unreachable, format!("{} does not say what gas costs: {error}", network.rpc)))?;
    Ok(Costs {
        gas_price,
        open: fee(opening(terms.token()), gas_price),
        close: fee(limits::GAS_CLOSE, gas_price),
        record: fee(limits::GAS_ANCHOR, gas_price),
        coin: network.coin,
        native: terms.token().is_none(),
    })
}

impl Costs {
    /// What both sides pay in all, with so many records.
    pub(crate) fn all(&self, records: u64) -> Amount {
        let records = self.record.checked_mul(records).unwrap_or(Amount::MAX);
        plus(plus(self.open, self.close), records)
    }

    /// For people: what an order of this value has to bear.
    pub(crate) fn lines(&self, due: Amount, records: u64) -> String {
        let coins = |amount: Amount| format!("{} {}", decimal(amount.get(), 18), self.coin);
        let mut lines = format!(
            "  gas      {} to open a channel (you), {} to close it (the seller)",
            coins(self.open),
            coins(self.close)
        );
        if records > 0 {
            lines.push_str(&format!(", {} a record", coins(self.record)));
        }
        lines.push_str(&format!(
            "; {} gwei a unit now. However many windows: two transactions. A rollup adds its fee for data",
            decimal(self.gas_price, 9)
        ));
        let all = self.all(records).get();
        if self.native && due.get() > 0 {
            let percent = all.saturating_mul(100).checked_div(due.get()).unwrap_or(u128::MAX);
            let share = match percent.checked_div(100) {
                Some(times) if times >= 2 => format!("{times} times the order's value"),
                _ => format!("{percent} % of the order's value"),
            };
            lines.push_str(&format!("\n           in all {share}"));
            if percent >= DEAR_PERCENT {
                lines.push_str(": order more at once, so that the order bears its channel");
            }
        }
        lines
    }
}
