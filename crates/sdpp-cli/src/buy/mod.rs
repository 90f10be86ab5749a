//! `sdpp buy`: places an order and sees it through.

use std::process::ExitCode;

use sdpp::address::Address;
use sdpp::bound::Bound;
use sdpp::buyer::{Agreed, Buyer, Purchase, Reconnect, Request};
use sdpp::journal::{Journal, order_stream};
use sdpp_proto::buyer::Ended as How;
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Form, PayOption, Product, RecordPolicy, Terms};
use serde_json::json;
use tokio::sync::watch;

mod args;
mod desk;
pub(crate) mod journals;
mod progress;
pub(crate) mod sinks;

pub(crate) use args::{Args, Which};
pub(crate) use desk::Desk;
pub(crate) use progress::Progress;

use self::journals::Journals;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::station::Ending;
use crate::text::symbol;
use crate::visit::{self, exit_of, explain, option_of, product_of};
use crate::watch::Watch;

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    visit::wait(async {
        match (&args.resume, &args.address) {
            (None, Some(address)) => place(home, args, address).await,
            (Some(which), address) => resume(home, args, (which, address.as_ref())).await,
            (None, None) => Err(failed(Exit::Usage, "say where it is sold: sdpp://KEY@HOST:PORT/TOPIC")),
        }
    })
}

async fn place(home: &Home, args: &Args, address: &Address) -> Result<ExitCode, Failure> {
    if address.seller.is_none() && !args.how.any_seller {
        return Err(visit::no_key(address));
    }
    let topic = address.topic().map_err(|what| failed(Exit::Usage, what.to_string()))?;
    let asked = visit::ask(home, address, |_| None).await?;
    let (product, option) = (product_of(&asked.menu, topic)?, option_of(&asked.menu, args.how.pay)?);
    let limit = limit(args, product)?;
    let request = request(args, (product, option), limit)?;
    if args.dry_run {
        let bound = Bound::of(product, option, (request.exposure_max.unwrap_or(limit), limit), request.windows);
        eprintln!("{bound}\nat most {limit} {} would be spent; nothing was ordered", symbol(&option.asset));
        return Ok(ExitCode::SUCCESS);
    }
    let desk = Desk::open(home, &args.reach, option).await?;
    desk.fund(limit).await?;
    let mut watch = Watch::open(args.how.metrics.or(home.config()?.buyer.metrics)).await?;
    watch.follow(&desk.remote);
    let journal = journals::fresh(home, args.how.journal)?;
    let progress = Progress::new(args.want.count, symbol(&desk.asset), args.how.quiet);
    let heard = (progress.counter.clone(), watch.buyer(progress.listener()));
    let buyer = Buyer::new(desk.settings(args.suite(), journal, heard, desk::reconnect(args)));
    let mut sink = sinks::open(args.how.to.as_deref().unwrap_or("-"), home).await?;
    if args.how.keep {
        sink = sinks::keeping(sink, &sinks::new_kept(home)?)?;
    }
    // Whoever answered without a key is the one that the order goes to.
    let peer = Address { seller: Some(asked.menu.seller), ..address.clone() };
    let stop = stop_on_signals()?;
    let bought = buyer.buy(&peer.peer(), &request, sink.as_mut(), stop).await;
    progress.finish();
    watch.stop().await;
    let purchase = bought.map_err(|error| explain(&peer, &error))?;
    Ok(conclude(args.json, args.want.count, &desk, &purchase))
}

/// Goes on with an order of the journal, into what it went to before.
async fn resume(home: &Home, args: &Args, (which, address): (&Which, Option<&Address>)) -> Result<ExitCode, Failure> {
    let found = Journals::open(home, args.how.journal)?.find(home, which, true).await?;
    let (order, note) = (found.order.order, &found.order.note);
    let terms = terms_of(&found.journal, &order).await?;
    let desk = Desk::open(home, &args.reach, &terms.option).await?;
    let mut sink = match (&args.how.to, &note.sink) {
        (Some(to), _) => sinks::open(to, home).await?,
        (None, Some(described)) => sinks::again(described, home).await?,
        (None, None) => sinks::open("-", home).await?,
    };
    let peer = address.map_or_else(|| note.address(), Address::peer);
    // Whatever was said, the order is this seller's.
    let peer = sdpp::buyer::Address { seller: Some(found.order.seller), ..peer };
    let mut watch = Watch::open(args.how.metrics.or(home.config()?.buyer.metrics)).await?;
    watch.follow(&desk.remote);
    let progress = Progress::new(found.order.quantity, symbol(&desk.asset), args.how.quiet);
    let reconnect = Reconnect { wait_for_seller: true, ..desk::reconnect(args) };
    let heard = (progress.counter.clone(), watch.buyer(progress.listener()));
    let buyer = Buyer::new(desk.settings(args.suite(), found.journal, heard, reconnect));
    let bought = buyer.resume(&peer, order, sink.as_mut(), stop_on_signals()?).await;
    progress.finish();
    watch.stop().await;
    let purchase = bought.map_err(|error| visit::explain_at(&peer.host, &error))?;
    Ok(conclude(args.json, found.order.quantity, &desk, &purchase))
}

/// The terms of an order, as its journal has them.
pub(crate) async fn terms_of(journal: &Journal, order: &StatementId) -> Result<Terms, Failure> {
    let entries = journal.read(order_stream(order)).await?;
    let terms = sdpp::bundle::terms_of(&entries);
    terms.ok_or_else(|| failed(Exit::Storage, format!("the journal's order {order} is not whole")))
}

/// Most that will be spent.
fn limit(args: &Args, product: &Product) -> Result<Amount, Failure> {
    match (args.want.budget, args.want.count) {
        (Some(budget), _) => Ok(budget),
        (None, Some(count)) => {
            let cost = product.cost(count);
            cost.ok_or_else(|| failed(Exit::Usage, "say how much to spend at most: --budget AMOUNT"))
        }
        (None, None) => Err(failed(
            Exit::Usage,
            "say how much: --count N messages, or --budget AMOUNT to buy until it is spent, or until Ctrl-C",
        )),
    }
}

fn request(args: &Args, (product, option): (&Product, &PayOption), limit: Amount) -> Result<Request, Failure> {
    let windows = args.want.windows.unwrap_or(product.windows_max);
    if windows > product.windows_max {
        let most = product.windows_max;
        return Err(failed(Exit::Refused, format!("the product allows {most} outstanding windows: --windows {most}")));
    }
    Ok(Request {
        topic: product.topic.clone(),
        quantity: args.want.count,
        windows,
        exposure_max: args.want.owe,
        limit: Some(limit),
        record: RecordPolicy { form: Form::Full, every: args.how.record.0 },
        // What was shown is what is ordered, or nothing is.
        agreed: Some(Box::new(Agreed { product: product.clone(), option: option.clone() })),
    })
}

/// Ctrl-C, and what a supervisor sends, settle; a second one leaves at once.
fn stop_on_signals() -> Result<watch::Receiver<bool>, Failure> {
    let ending = Ending::listen()?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        ending.wait().await;
        stop.send_replace(true);
    });
    Ok(stopped)
}

/// Says how it ended; the exit code is for scripts.
pub(crate) fn conclude(as_json: bool, count: Option<u64>, desk: &Desk, purchase: &Purchase) -> ExitCode {
    let Purchase { order, ended, delivered, due, paid, closing, .. } = purchase;
    let unit = symbol(&desk.asset);
    let settled = purchase.is_settled();
    let how = how(ended);
    if as_json {
        let line = json!({
            "order": order.to_string(), "settled": settled, "ended": how, "delivered": delivered,
            "due": due.to_string(), "paid": paid.to_string(), "asset": desk.asset.as_str(),
            "goes_on": purchase.parked, "closing": closing,
        });
        eprintln!("{line}");
    } else {
        eprintln!("{how}: {delivered} messages, due {due} {unit}, paid {paid} {unit}");
        if settled && count.is_some_and(|count| *delivered < count) {
            eprintln!("note: fewer than ordered; the stream ended, somebody stopped it, or the budget is spent");
        }
        if *closing {
            eprintln!("note: the deposit comes back when the channel's grace period is over");
        }
        if !settled && purchase.parked {
            eprintln!("go on with: sdpp buy --resume {order}");
        }
    }
    if settled { ExitCode::SUCCESS } else { exit_of(ended).into() }
}

fn how(ended: &How) -> String {
    match ended {
        How::Settled => "settled".to_owned(),
        How::Withheld => "paid in full, without the seller's last signature".to_owned(),
        How::Offence(offence) => format!("the seller broke a rule: {offence}"),
        How::Stopped(reason) => format!("stopped: {reason}"),
        How::Told(Some(fault)) => format!("the seller stopped: {fault}"),
        How::Told(None) => "the connection was lost".to_owned(),
    }
}
