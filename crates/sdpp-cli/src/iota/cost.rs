//! What the network takes, against what a window pays.

use sdpp_iota::IotaTerms;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::PayOption;
use serde_json::{Value, json};

use super::network::Network;
use super::{Tangle, human};
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;

/// Units of gas that a payment takes, and nanos of storage for its new coin, as a real network had it.
const UNITS: u64 = 1_000;
const STORAGE: u64 = 980_400;
/// Hundredths of a window's price from which on its fee is worth a warning.
const DEAR_PERCENT: u128 = 10;

/// What is bought by windows: the price of one, and how many messages it has.
pub(crate) struct Bought {
    /// What the order may cost.
    pub(crate) due: Amount,
    /// Messages of the order.
    pub(crate) messages: u64,
    /// Messages of a window.
    pub(crate) k: u32,
}

/// What an order costs beside its price: lines for people, fields for programs.
pub(crate) async fn cost(
    home: &Home,
    tangle: &Tangle,
    (option, bought): (&PayOption, &Bought),
) -> Result<(String, Value), Failure> {
    let terms = IotaTerms::parse(&option.terms).map_err(|error| failed(Exit::Refused, error.to_string()))?;
    let network = tangle.reach_of(&home.config()?, &terms.chain).await?;
    Ok(told(fee(&network).await?, &network.name, bought))
}

/// Nanos that the network takes for a window.
pub(super) async fn fee(network: &Network) -> Result<u128, Failure> {
    if network.station.is_some() {
        return Ok(0);
    }
    let prices = network.nodes.prices().await;
    let (_, price) =
        prices.map_err(|_| failed(Exit::Unreachable, format!("{} does not say what gas costs", network.place)))?;
    Ok(u128::from(price.saturating_mul(UNITS).saturating_add(STORAGE)))
}

fn told(fee: u128, network: &str, bought: &Bought) -> (String, Value) {
    let windows = bought.messages.div_ceil(u64::from(bought.k.max(1)));
    let all = fee.saturating_mul(windows.into());
    if fee == 0 {
        let text = format!(
            "  The order is {}. A gas station pays the fees of its {windows} windows.",
            human(bought.due.get())
        );
        return (text, json!({ "fee_nano": "0", "windows": windows, "fees_nano": "0", "least_k": null }));
    }
    let mut text = format!(
        "  The order is {}. Each window is a transaction on {network}: some {} of fee, {} for {windows} windows.",
        human(bought.due.get()),
        human(fee),
        human(all)
    );
    let worth = least_k(fee, bought);
    if let Some(k) = worth.filter(|k| *k > u128::from(bought.k)) {
        text.push_str(&format!(
            "\n  warning: the fee eats {} of a window's price; from K = {k} on it is a tenth. Ask the seller for a product with \
             a larger K, or pay by vouchers.",
            share(all, bought.due)
        ));
    }
    let programs = json!({
        "fee_nano": fee.to_string(), "windows": windows, "fees_nano": all.to_string(),
        "least_k": worth.map(|k| k.to_string()),
    });
    (text, programs)
}

/// From which K on a fee is a tenth of a window's price; none where nothing is paid.
fn least_k(fee: u128, bought: &Bought) -> Option<u128> {
    let (due, messages) = (bought.due.get(), u128::from(bought.messages));
    fee.saturating_mul(100)
        .checked_div(DEAR_PERCENT)?
        .checked_mul(messages)?
        .checked_add(due)?
        .checked_sub(1)?
        .checked_div(due)
}

fn share(all: u128, due: Amount) -> String {
    let percent = all.saturating_mul(100).checked_div(due.get()).unwrap_or(0);
    if percent > 100 { "more than all".to_owned() } else { format!("{percent} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_k_makes_the_fee_a_tenth() {
        // 1,000 nano a message, 2,000,000 of fee: a window has to be worth 20,000,000.
        let bought = |k| Bought { due: Amount::new(100_000), messages: 100, k };
        assert_eq!(least_k(2_000_000, &bought(10)), Some(20_000));
        let free = Bought { due: Amount::ZERO, messages: 100, k: 10 };
        assert_eq!(least_k(2_000_000, &free), None);
        let (text, _) = told(2_000_000, "local", &bought(10));
        assert!(text.contains("The order is 0.0001 IOTA."), "{text}");
        assert!(text.contains("fee eats more than all of a window's price; from K = 20000 on it is a tenth"), "{text}");
        assert!(!told(2_000_000, "local", &bought(20_000)).0.contains("warning"));
        assert_eq!(share(500, Amount::new(1_000)), "50 %");
        assert_eq!(share(5_000, Amount::new(1_000)), "more than all");
    }
}
