//! `sdpp quote`.

use std::process::ExitCode;

use sdpp::bound::Bound;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Menu, PayOption, Product};
use sdpp_proto::wire::{Ask, AskQuote};
use serde_json::{Value, json};

use super::{Whom, ask};
use crate::config::Rail;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::show::{Out, with};
use crate::text::symbol;
use crate::ways::{self, Chain, Tangle};
use sdpp_config::told;

/// Below so many messages on the way at once the link, and not the machine, sets the speed.
const ROOM_MESSAGES: u64 = 1_000;

/// Shows what a purchase costs, the fee of the rail, and what is at risk. Nothing is ordered.
#[derive(clap::Args)]
pub(crate) struct QuoteArgs {
    #[command(flatten)]
    whom: Whom,
    /// How many messages (bytes or seconds where the price counts those).
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// How to pay; the seller's first way that can be used here if not given.
    #[arg(long, alias = "pay", value_enum)]
    rail: Option<Rail>,
    /// Outstanding windows; as many as the product allows if not given.
    #[arg(long, value_name = "N")]
    windows: Option<u32>,
    #[command(flatten)]
    chain: Chain,
    #[command(flatten)]
    tangle: Tangle,
    #[command(flatten)]
    out: Out,
}

/// The product of this topic, or what there is instead.
pub(crate) fn product_of<'a>(menu: &'a Menu, topic: &str) -> Result<&'a Product, Failure> {
    menu.product_by_topic(topic).ok_or_else(|| {
        let all: Vec<&str> = menu.products.iter().map(|product| product.topic.as_str()).collect();
        failed(Exit::Refused, format!("the seller does not offer '{topic}'; it offers: {}", all.join(", ")))
    })
}

/// The option of this way to pay and in this asset; the first one that this program can use if none is said.
pub(crate) fn option_of<'a>(menu: &'a Menu, rail: Option<Rail>, asset: Option<&str>) -> Result<&'a PayOption, Failure> {
    let usable = |option: &&PayOption| {
        let known = ways::rail_of(option);
        known.is_some_and(|known| rail.is_none_or(|rail| rail == known))
    };
    let usable: Vec<&PayOption> = menu.options.iter().filter(usable).collect();
    if usable.is_empty() {
        let all: Vec<&str> = menu.options.iter().map(|option| option.rail.as_str()).collect();
        let what = format!("the seller is not paid in this way; it is paid by: {}", all.join(", "));
        return Err(failed(Exit::Refused, what));
    }
    let mut meant = usable.iter().filter(|option| asset.is_none_or(|said| ways::is_in(option, said)));
    meant.next().copied().ok_or_else(|| {
        let all: Vec<&str> = usable.iter().map(|option| option.asset.as_str()).collect();
        let what =
            format!("the seller is not paid in '{}'; it is paid in: {}", asset.unwrap_or_default(), all.join(", "));
        failed(Exit::Refused, what)
    })
}

pub(super) async fn run(home: &Home, args: &QuoteArgs) -> Result<ExitCode, Failure> {
    let (address, topic) = (args.whom.address()?, args.whom.topic()?);
    let rail = args.rail.or(home.config()?.buyer.rail);
    let asked = ask(home, address, |menu| {
        let product = menu.product_by_topic(topic)?.id;
        let option = option_of(menu, rail, None).ok()?.id;
        Some(Ask { product, quote: Some(AskQuote { option, quantity: args.count }) })
    })
    .await?;
    let (product, option) = (product_of(&asked.menu, topic)?, option_of(&asked.menu, rail, None)?);
    let quote = asked.quote.ok_or_else(|| failed(Exit::Refused, "the seller gave no quote"))?;
    let windows = args.windows.unwrap_or(product.windows_max).min(product.windows_max);
    let bound = Bound::of(product, option, (quote.exposure_max, quote.due), windows);
    let unit = symbol(&option.asset);
    let bound = bound.in_units(unit);
    let what = match product.unit {
        Unit::Message => "messages",
        Unit::Byte => "bytes",
        Unit::Second => "seconds",
    };
    let mut lines = format!(
        "{} {what} of {topic}\n  cost     {} {unit} ({})\n  fee      {} {unit}\n{bound}",
        args.count,
        quote.due,
        told(&product.price(), unit),
        quote.fee,
    );
    let chain = chain_cost(home, args, (option, &asked.menu, quote.due)).await?;
    let chain = match chain {
        Some(chain) => Some(chain),
        None => iota_cost(home, args, (option, product, quote.due)).await?,
    };
    if let Some((text, _)) = &chain {
        lines.push_str(&format!("\n{text}"));
    }
    let room = u64::from(product.k).saturating_mul(u64::from(windows));
    if room < ROOM_MESSAGES {
        lines.push_str(&format!(
            "\n  Speed needs room: with {room} messages outstanding, each round trip to the seller brings {room} at most."
        ));
    }
    let own = json!({
        "topic": topic, "count": args.count, "due": quote.due.to_string(), "fee": quote.fee.to_string(),
        "asset": option.asset.as_str(), "rail": option.rail, "exposure_max": quote.exposure_max.to_string(),
        "deposit": bound.buyer_deposit.to_string(), "grace_ms": bound.grace_ms, "k": product.k, "windows": windows,
        "seller_may_lose": bound.seller_exposure.to_string(), "buyer_may_lose": bound.buyer_undelivered.to_string(),
    });
    args.out.tell(&lines, &chain.into_iter().fold(own, |own, (_, more)| with(own, more)));
    Ok(ExitCode::SUCCESS)
}

/// What the chain asks for beside the seller; none where there is no chain.
#[cfg(feature = "evm")]
async fn chain_cost(
    home: &Home,
    args: &QuoteArgs,
    (option, menu, due): (&PayOption, &Menu, Amount),
) -> Result<Option<(String, Value)>, Failure> {
    if option.rail != crate::evm::RAIL {
        return Ok(None);
    }
    let costs = crate::evm::costs(home, &args.chain, option).await?;
    // The order and its end, by each side.
    let records = if menu.records.backend == crate::evm::RECORDS { 3 } else { 0 };
    let programs = json!({
        "gas_price_wei": costs.gas_price.to_string(), "open_wei": costs.open.to_string(),
        "close_wei": costs.close.to_string(), "record_wei": costs.record.to_string(), "records": records,
        "chain_wei": costs.all(records).to_string(),
    });
    Ok(Some((costs.lines(due, records), programs)))
}

#[cfg(not(feature = "evm"))]
async fn chain_cost(
    _: &Home,
    _: &QuoteArgs,
    _: (&PayOption, &Menu, Amount),
) -> Result<Option<(String, Value)>, Failure> {
    Ok(None)
}

/// What IOTA takes beside the seller; none where nothing is paid there, or nobody knows how many windows there will be.
#[cfg(feature = "iota")]
async fn iota_cost(
    home: &Home,
    args: &QuoteArgs,
    (option, product, due): (&PayOption, &Product, Amount),
) -> Result<Option<(String, Value)>, Failure> {
    if option.rail != crate::iota::RAIL || product.unit != Unit::Message {
        return Ok(None);
    }
    let bought = crate::iota::Bought { due, messages: args.count, k: product.k };
    crate::iota::cost(home, &args.tangle, (option, &bought)).await.map(Some)
}

#[cfg(not(feature = "iota"))]
async fn iota_cost(
    _: &Home,
    _: &QuoteArgs,
    _: (&PayOption, &Product, Amount),
) -> Result<Option<(String, Value)>, Failure> {
    Ok(None)
}
