//! `sdpp bench`: how fast this machine sells, with the shipped seller and buyer, real journals and a ledger,
//! over TCP on this machine. `bench/` compares with other tools; this is for whoever sizes a station.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser as _;
use sdpp::buyer::{Address, Buyer};
use sdpp::seller::MakeSource;
use sdpp::sink::Discard;
use sdpp::source::Repeat;
use sdpp_proto::money::Amount;
use serde_json::json;
use tokio::sync::watch;

use super::house::{Failure, House};
use super::sale::{request, serve_with};
use super::screen::grouped;
use crate::ledger::show::Out;

/// How fast this machine sells.
#[derive(clap::Args, Clone)]
pub(crate) struct BenchArgs {
    /// Messages to sell.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    size: u32,
    /// Messages per window.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    k: u32,
    /// Outstanding windows.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    windows: u32,
    /// What a flush of the journals survives: power or process.
    #[arg(long, default_value = "power", value_parser = ["power", "process"])]
    journal: String,
    #[command(flatten)]
    out: Out,
}

/// The demo's own words, for the parts that both have.
#[derive(clap::Parser)]
struct Words {
    #[command(flatten)]
    args: super::Args,
}

impl BenchArgs {
    fn demo(&self) -> Result<super::Args, Failure> {
        let (k, windows) = (self.k.to_string(), self.windows.to_string());
        let words = ["bench", "--k", &k, "--windows", &windows, "--journal", &self.journal, "--record", "ends"];
        Ok(Words::try_parse_from(words)?.args)
    }
}

/// Sells once and says how fast that was.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args))
}

async fn measure(args: &BenchArgs) -> Result<ExitCode, Failure> {
    let house = House::build(&args.demo()?).await?;
    let (size, messages) = (usize::try_from(args.size)?, args.messages);
    let client = house.client(house.honest())?;
    let mut selling = house.seller_settings(&client, Arc::new(|_| {}))?;
    let source: MakeSource = Arc::new(move |_| Ok(Box::new(Repeat::new(vec![b'x'; size], messages))));
    for offer in &mut selling.offers {
        offer.source = source.clone();
        offer.product.available = None;
    }
    let serving = serve_with(selling)?;
    let mut sink = Discard::default();
    let buying = house.buyer_settings(&client, house.buyer_journal()?, Arc::new(|_| {}));
    let mut wanted = request(&house);
    wanted.quantity = Some(messages);
    wanted.limit = Some(Amount::new(1_000_000_000_000));
    let address = Address { seller: Some(house.seller.public()), host: serving.address.to_string() };
    let started = Instant::now();
    let bought = Buyer::new(buying).buy(&address, &wanted, &mut sink, watch::channel(false).1).await;
    let elapsed = started.elapsed();
    serving.stop();
    let bought = bought?;
    if !bought.is_settled() || bought.delivered != messages {
        return Err(format!("the sale ended early: {:?} after {} messages", bought.ended, bought.delivered).into());
    }
    tell(args, elapsed, bought.paid);
    Ok(ExitCode::SUCCESS)
}

fn tell(args: &BenchArgs, elapsed: std::time::Duration, paid: Amount) {
    let ms = elapsed.as_millis().max(1);
    let per_second = u128::from(args.messages).saturating_mul(1000).checked_div(ms).unwrap_or(0);
    let bytes = per_second.saturating_mul(u128::from(args.size));
    let windows = per_second.checked_div(u128::from(args.k)).unwrap_or(0);
    let BenchArgs { messages, size, k, windows: outstanding, journal, .. } = args;
    let line = format!(
        "{} messages of {size} B in {ms} ms, ordered, encrypted, metered, paid and settled\n  {} messages a second, {} kB a \
         second, {} windows a second\n  K = {k}, {outstanding} outstanding windows, journals of class {journal}",
        grouped(u128::from(*messages)),
        grouped(per_second),
        grouped(bytes / 1000),
        grouped(windows),
    );
    let own = json!({
        "messages": messages, "bytes": size, "ms": u64::try_from(ms).unwrap_or(u64::MAX), "k": k, "windows": outstanding,
        "journal": journal, "messages_per_second": per_second.to_string(), "bytes_per_second": bytes.to_string(),
        "paid": paid.to_string(),
    });
    args.out.tell(&line, &own);
}
