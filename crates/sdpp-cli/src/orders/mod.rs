//! `sdpp orders`: what was ordered, and what became of it.

use std::path::PathBuf;
use std::process::ExitCode;

use sdpp::address::Address;
use sdpp::buyer::{Buyer, OrderInfo, OrderState, Reconnect};
use sdpp_proto::suite::Suite;
use serde_json::{Value, json};

mod export;
mod restored;

pub(crate) use export::bundle_of;

use crate::buy::journals::{Found, Journals};
use crate::buy::{Desk, Progress, Wanted, Which, conclude, sinks, terms_of};
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::reach::Reach;
use crate::ledger::show::Out;
use crate::text::{short_key, symbol};
use crate::visit::{explain_at, wait};
use crate::ways::Ways;

/// Shows what you have ordered, hands its evidence on, and ends what is unfinished.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Lists all orders.
    List {
        /// Only those that are not over.
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        out: Out,
    },
    /// Shows one order.
    Show {
        /// Its id, or the first characters of it.
        order: Which,
        #[command(flatten)]
        out: Out,
    },
    /// Writes an order's evidence into a file that anybody can audit, off line.
    Export {
        /// Its id, or the first characters of it.
        order: Which,
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Leave the ledger's proofs out: it is not asked then.
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Settles and ends an order that is not over.
    Close(CloseArgs),
    /// Says that the journals were put back from a backup: their orders are only settled.
    Restored(restored::RestoredArgs),
}

#[derive(clap::Args)]
struct CloseArgs {
    /// Its id, or the first characters of it.
    order: Which,
    /// Where the seller is now, if it has moved.
    #[arg(long, value_name = "ADDRESS")]
    at: Option<Address>,
    /// Where messages go that still come; where they went before if not given.
    #[arg(long, value_name = "SINK")]
    to: Option<String>,
    /// The seller is gone for good: have the rail give the deposit back after the grace period.
    #[arg(long)]
    give_up: bool,
    /// Tell the end as a line of JSON, on standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ways: Ways,
}

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    wait(async {
        match &args.verb {
            Verb::List { open, out } => list(home, *open, *out).await,
            Verb::Show { order, out } => {
                let found = Journals::open(home)?.find(home, order, false).await?;
                out.tell(&lines(&found.order), &json_of(&found.order));
                Ok(ExitCode::SUCCESS)
            }
            Verb::Export { order, out, offline, reach } => {
                let found = Journals::open(home)?.find(home, order, false).await?;
                let reach = (!offline).then_some(reach);
                let (bundle, _) = bundle_of(home, &found, reach).await?;
                let written = std::fs::write(out, bundle.encode()?);
                written.map_err(|error| failed(Exit::Storage, format!("{}: {error}", out.display())))?;
                eprintln!("check it anywhere: sdpp audit {} --seller {}", out.display(), found.order.seller);
                Ok(ExitCode::SUCCESS)
            }
            Verb::Close(args) => close(home, args).await,
            Verb::Restored(args) => restored::run(home, args).await,
        }
    })
}

async fn list(home: &Home, open: bool, out: Out) -> Result<ExitCode, Failure> {
    let journals = Journals::open(home)?;
    let all = journals.orders(home).await?;
    for Found { order, .. } in all.iter().filter(|found| !open || !found.order.state.is_over()) {
        out.tell(&line(order), &json_of(order));
    }
    if !journals.busy.is_empty() {
        eprintln!("not shown: orders of purchases that run now; see `sdpp status --as buyer`");
    }
    Ok(ExitCode::SUCCESS)
}

/// The state of an order, as one word.
const fn state(order: &OrderInfo) -> &'static str {
    match order.state {
        OrderState::Open => "open",
        OrderState::Unpaid => "unpaid",
        OrderState::Settled => "settled",
        OrderState::Defaulted => "defaulted",
        OrderState::Void => "void",
    }
}

fn line(order: &OrderInfo) -> String {
    let short: String = order.order.to_string().chars().take(12).collect();
    let of = order.quantity.map(|quantity| format!(" of {quantity}")).unwrap_or_default();
    format!(
        "{short} {:<9} {}  {}{of} messages, paid {} of {} {}  {}",
        state(order),
        order.topic,
        order.verified,
        order.paid,
        order.due,
        symbol(&order.asset),
        short_key(&order.seller)
    )
}

fn lines(order: &OrderInfo) -> String {
    let OrderInfo { topic, seller, verified, due, paid, limit, asset, note, .. } = order;
    let unit = symbol(asset);
    let mut lines = format!(
        "order     {}\nstate     {}\nproduct   {topic}\nseller    {seller} at {}\nmessages  {verified}",
        order.order,
        state(order),
        note.host
    );
    let mut more = |name: &str, text: String| lines.push_str(&format!("\n{name:<9} {text}"));
    if let Some(quantity) = order.quantity {
        more("ordered", quantity.to_string());
    }
    more("money", format!("due {due} {unit}, paid {paid}, at most {limit}"));
    if let Some(channel) = &order.channel {
        more("channel", channel.to_string());
    }
    if let Some(sink) = &note.sink {
        more("goes to", format!("{sink}, durable through {} messages", note.mark.messages));
    }
    if !order.state.is_over() {
        more("go on", format!("sdpp buy --resume {}", order.order));
        more("or end", format!("sdpp orders close {}", order.order));
    }
    lines
}

fn json_of(order: &OrderInfo) -> Value {
    json!({
        "order": order.order.to_string(), "state": state(order), "topic": order.topic,
        "seller": order.seller.to_string(), "host": order.note.host, "quantity": order.quantity,
        "verified": order.verified, "due": order.due.to_string(), "paid": order.paid.to_string(),
        "limit": order.limit.to_string(), "asset": order.asset.as_str(),
        "channel": order.channel.map(|channel| channel.to_string()), "sink": order.note.sink,
        "durable": order.note.mark.messages,
    })
}

async fn close(home: &Home, args: &CloseArgs) -> Result<ExitCode, Failure> {
    let journals = Journals::open(home)?;
    let found = journals.find(home, &args.order, true).await?;
    if args.to.is_none() {
        journals.file_is_its_own(home, &found).await?;
    }
    drop(journals);
    let (order, note) = (found.order.order, &found.order.note);
    let (terms, offer) = terms_of(&found.journal, &order).await?;
    let wanted = Wanted { option: &terms.option, offer: &offer, records: None };
    let desk = Desk::open(home, &args.ways, &wanted).await?;
    let mut place = sinks::of_order(args.to.as_deref(), note.sink.as_deref(), home).await?;
    let peer = args.at.as_ref().map_or_else(|| note.address(), Address::peer);
    let peer = sdpp::buyer::Address { seller: Some(found.order.seller), ..peer };
    let progress = Progress::new(None, symbol(&desk.asset), true);
    let heard = (progress.counter.clone(), progress.listener());
    let buyer = Buyer::new(desk.settings(Suite::X25519, found.journal, heard, Reconnect::default())?);
    let closed = buyer.close(&peer, order, (place.sink.as_mut(), args.give_up)).await;
    let purchase = closed.map_err(|error| {
        let error = explain_at(&peer.host, &error);
        eprintln!("note: if the seller is gone for good, say --give-up: the deposit can be had after the grace period");
        error
    })?;
    let code = conclude(args.json, None, &desk, &purchase);
    place.finish().await?;
    // Given up as it was told to, whatever became of the connection.
    Ok(if args.give_up && purchase.closing { ExitCode::SUCCESS } else { code })
}
