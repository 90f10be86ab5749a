//! `sdpp quote`.

use std::process::ExitCode;

use sdpp::bound::Bound;
use sdpp_proto::money::Unit;
use sdpp_proto::statement::{Menu, PayOption, Product};
use sdpp_proto::wire::{Ask, AskQuote};
use serde_json::json;

use super::{Whom, ask};
use crate::config::Pay;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::show::Out;
use crate::text::symbol;
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
    /// How to pay; the seller's first way if not given.
    #[arg(long, value_enum)]
    pay: Option<Pay>,
    /// Outstanding windows; as many as the product allows if not given.
    #[arg(long, value_name = "N")]
    windows: Option<u32>,
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

/// The option of this way to pay; the first one that this program can use if none is said.
pub(crate) fn option_of(menu: &Menu, pay: Option<Pay>) -> Result<&PayOption, Failure> {
    let rail = |pay| match pay {
        Pay::Voucher => sdpp_ledger::RAIL_VOUCHER,
        Pay::Direct => sdpp_ledger::RAIL_DIRECT,
    };
    let usable = |option: &&PayOption| match pay {
        Some(pay) => option.rail == rail(pay),
        None => [Pay::Voucher, Pay::Direct].into_iter().any(|pay| option.rail == rail(pay)),
    };
    menu.options.iter().find(usable).ok_or_else(|| {
        let all: Vec<&str> = menu.options.iter().map(|option| option.rail.as_str()).collect();
        failed(Exit::Refused, format!("the seller is not paid in this way; it is paid by: {}", all.join(", ")))
    })
}

pub(super) async fn run(home: &Home, args: &QuoteArgs) -> Result<ExitCode, Failure> {
    let (address, topic) = (args.whom.address()?, args.whom.topic()?);
    let pay = args.pay.or(home.config()?.buyer.pay);
    let asked = ask(home, address, |menu| {
        let product = menu.product_by_topic(topic)?.id;
        let option = option_of(menu, pay).ok()?.id;
        Some(Ask { product, quote: Some(AskQuote { option, quantity: args.count }) })
    })
    .await?;
    let (product, option) = (product_of(&asked.menu, topic)?, option_of(&asked.menu, pay)?);
    let quote = asked.quote.ok_or_else(|| failed(Exit::Refused, "the seller gave no quote"))?;
    let windows = args.windows.unwrap_or(product.windows_max).min(product.windows_max);
    let bound = Bound::of(product, option, (quote.exposure_max, quote.due), windows);
    let unit = symbol(&option.asset);
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
    args.out.tell(&lines, &own);
    Ok(ExitCode::SUCCESS)
}
