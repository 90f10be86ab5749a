//! `sdpp menu`.

use std::process::ExitCode;

use sdpp::address::Address;
use sdpp_ledger::LedgerTerms;
use sdpp_proto::statement::{Menu, PayOption, Product, Signing, Stalled};
use serde_json::{Value, json};

use super::{Whom, ask};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::show::Out;
use crate::text::{symbol, time};
use sdpp_config::told;

/// Shows what a seller has, for what, and how it is paid.
#[derive(clap::Args)]
pub(crate) struct MenuArgs {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    out: Out,
}

pub(super) async fn run(home: &Home, args: &MenuArgs) -> Result<ExitCode, Failure> {
    let address = args.whom.address()?;
    let asked = ask(home, address, |_| None).await?;
    let menu = &*asked.menu;
    if args.out.is_json() {
        for product in &menu.products {
            crate::say(&product_json(address, menu, product).to_string());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Menu { seller, until, records, options, products, default_currency, .. } = menu;
    crate::say(&format!("seller    {seller}\nvalid     until {}", time(*until)));
    crate::say(&format!("records   {} {}", records.backend, records.origin));
    for option in options {
        crate::say(&format!("pay       {}", option_line(option)));
    }
    let unit = symbol(default_currency);
    for product in products {
        crate::say(&product_lines(address, menu, product, unit));
    }
    Ok(ExitCode::SUCCESS)
}

fn option_line(option: &PayOption) -> String {
    let PayOption { rail, asset, grace_min_ms, pay_by_ms, channel, .. } = option;
    let how = if *channel {
        format!("by voucher against a deposit, which may stay locked for {} s", grace_min_ms / 1000)
    } else {
        "by a transfer for every invoice".to_owned()
    };
    let place = place_of(option).unwrap_or_default();
    format!("{rail}: {asset} {how}; within {} s; {place}", pay_by_ms / 1000)
}

/// Where the money is.
fn place_of(option: &PayOption) -> Option<String> {
    #[cfg(feature = "evm")]
    if option.rail == crate::evm::RAIL {
        return crate::evm::place_of(option);
    }
    #[cfg(feature = "iota")]
    if option.rail == crate::iota::RAIL {
        return crate::iota::place_of(option);
    }
    LedgerTerms::parse(&option.terms).ok().and_then(|terms| terms.url)
}

fn address_of(address: &Address, menu: &Menu, product: &Product) -> Address {
    Address { seller: Some(menu.seller), topic: Some(product.topic.clone()), ..address.clone() }
}

fn product_lines(address: &Address, menu: &Menu, product: &Product, unit: &str) -> String {
    let Product { topic, k, windows_max, schema, licence, available, .. } = product;
    let mut lines =
        format!("\n{topic}\n  {}; K = {k}, up to {windows_max} outstanding windows", told(&product.price(), unit));
    let mut more = |name: &str, text: String| lines.push_str(&format!("\n  {name:<9} {text}"));
    if !schema.is_empty() {
        more("schema", schema.clone());
    }
    match available {
        Some(0) => more("paused", "takes no new orders at the moment".to_owned()),
        Some(available) => more("available", format!("{available} messages")),
        None => {}
    }
    if let Some(cadence) = product.cadence_ms {
        more("cadence", format!("a message every {} s or so", cadence / 1000));
    }
    if product.signing == Signing::Message {
        more("signed", "every message, so that a wrong one is proof to others".to_owned());
    }
    if product.when_stalled == Stalled::Skip {
        more("stalled", "live data moves on while credit is used up".to_owned());
    }
    if let Some(licence) = licence {
        more("licence", licence.clone());
    }
    let address = address_of(address, menu, product);
    if product.sample {
        more("sample", format!("sdpp sample '{address}'"));
    }
    more("buy", format!("sdpp buy '{address}' --count 1000"));
    lines
}

fn product_json(address: &Address, menu: &Menu, product: &Product) -> Value {
    let options: Vec<Value> = menu.options.iter().map(option_json).collect();
    json!({
        "address": address_of(address, menu, product).to_string(),
        "seller": menu.seller.to_string(), "until_ms": menu.until.as_ms(),
        "topic": product.topic, "schema": product.schema, "unit": format!("{:?}", product.unit).to_lowercase(),
        "amount": product.amount.to_string(), "per": product.per, "currency": menu.default_currency.as_str(),
        "k": product.k, "windows": product.windows_max, "window_ms": product.window_ms,
        "window_bytes": product.window_bytes, "message_max": product.message_max, "available": product.available,
        "cadence_ms": product.cadence_ms, "licence": product.licence, "sample": product.sample,
        "signs_messages": product.signing == Signing::Message,
        "skips_when_stalled": product.when_stalled == Stalled::Skip,
        "records": menu.records.backend, "records_origin": menu.records.origin, "options": options,
    })
}

fn option_json(option: &PayOption) -> Value {
    let terms = LedgerTerms::parse(&option.terms).ok();
    json!({
        "id": option.id, "rail": option.rail, "asset": option.asset.as_str(), "address": option.address,
        "grace_ms": option.grace_min_ms, "pay_by_ms": option.pay_by_ms, "channel": option.channel,
        "ledger": terms.as_ref().and_then(|terms| terms.url.clone()),
        "ledger_key": terms.as_ref().map(|terms| terms.log.clone()),
    })
}
