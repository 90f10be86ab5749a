//! `sdpp buy`: places an order and sees it through.

use std::process::ExitCode;

use sdpp::bound::Bound;
use sdpp::buyer::{Buyer, Purchase, Request};
use sdpp::sink::{LineFile, Sink};
use sdpp_proto::buyer::Ended as How;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Form, Product, RecordPolicy};
use serde_json::json;
use tokio::sync::watch;

mod args;
mod desk;
mod progress;

pub(crate) use args::Args;

use self::desk::Desk;
use self::progress::Progress;
use crate::address::Address;
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
            _ => Err(failed(Exit::Usage, "--resume is not there yet")),
        }
    })
}

async fn place(home: &Home, args: &Args, address: &Address) -> Result<ExitCode, Failure> {
    if address.seller.is_none() && !args.how.any_seller {
        return Err(visit::no_key(address));
    }
    let topic = address.topic().map_err(|what| failed(Exit::Usage, what))?;
    let asked = visit::ask(home, address, |_| None).await?;
    let (product, option) = (product_of(&asked.menu, topic)?, option_of(&asked.menu, args.how.pay)?);
    let limit = limit(args, product)?;
    let request = request(args, product, limit)?;
    if args.dry_run {
        let bound = Bound::of(product, option, (request.exposure_max.unwrap_or(limit), limit), request.windows);
        eprintln!("{bound}\nat most {limit} {} would be spent; nothing was ordered", symbol(&option.asset));
        return Ok(ExitCode::SUCCESS);
    }
    let desk = Desk::open(home, args, option).await?;
    desk.fund(limit).await?;
    let mut watch = Watch::open(args.how.metrics.or(home.config()?.buyer.metrics)).await?;
    watch.follow(&desk.remote);
    let journal = desk::journal(home, args.how.journal)?;
    let progress = Progress::new(args.want.count, symbol(&desk.asset), args.how.quiet);
    let buyer = Buyer::new(desk.settings(args, journal, watch.buyer(progress.listener())));
    let mut sink = sink(args)?;
    // Whoever answered without a key is the one that the order goes to.
    let peer = Address { seller: Some(asked.menu.seller), ..address.clone() };
    let stop = stop_on_signals()?;
    let bought = buyer.buy(&peer.peer(), &request, sink.as_mut(), stop).await;
    progress.finish();
    watch.stop().await;
    let purchase = bought.map_err(|error| explain(&peer, &error))?;
    Ok(conclude(args, &desk, &purchase))
}

/// Most that will be spent.
fn limit(args: &Args, product: &Product) -> Result<Amount, Failure> {
    match (args.want.budget, args.want.count) {
        (Some(budget), _) => Ok(budget),
        (None, Some(count)) => {
            let units = match product.unit {
                Unit::Message => Some(count),
                Unit::Byte => count.checked_mul(u64::from(product.message_max)),
                Unit::Second => None,
            };
            let due = units.and_then(|units| product.price().due(units));
            due.ok_or_else(|| failed(Exit::Usage, "say how much to spend at most: --budget AMOUNT"))
        }
        (None, None) => Err(failed(
            Exit::Usage,
            "say how much: --count N messages, or --budget AMOUNT to buy until it is spent, or until Ctrl-C",
        )),
    }
}

fn request(args: &Args, product: &Product, limit: Amount) -> Result<Request, Failure> {
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
    })
}

fn sink(args: &Args) -> Result<Box<dyn Sink>, Failure> {
    let path = std::path::Path::new(&args.how.to);
    let file = LineFile::open(path).map_err(|error| failed(Exit::Data, format!("{}: {error}", path.display())))?;
    Ok(Box::new(file))
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
fn conclude(args: &Args, desk: &Desk, purchase: &Purchase) -> ExitCode {
    let Purchase { order, ended, delivered, due, paid, .. } = purchase;
    let unit = symbol(&desk.asset);
    let settled = purchase.is_settled();
    let how = match ended {
        How::Settled => "settled".to_owned(),
        How::Withheld => "paid in full, without the seller's last signature".to_owned(),
        How::Offence(offence) => format!("the seller broke a rule: {offence}"),
        How::Stopped(reason) => format!("stopped: {reason}"),
        How::Told(Some(fault)) => format!("the seller stopped: {fault}"),
        How::Told(None) => "the connection was lost".to_owned(),
    };
    if args.json {
        let line = json!({
            "order": order.to_string(), "settled": settled, "ended": how, "delivered": delivered,
            "due": due.to_string(), "paid": paid.to_string(), "asset": desk.asset.as_str(),
        });
        eprintln!("{line}");
    } else {
        eprintln!("{how}: {delivered} messages, due {due} {unit}, paid {paid} {unit}");
    }
    if settled {
        if args.want.count.is_some_and(|count| *delivered < count) && !args.json {
            eprintln!("note: fewer than ordered; the stream ended, somebody stopped it, or the budget is spent");
        }
        return ExitCode::SUCCESS;
    }
    if !args.json {
        eprintln!("go on with: sdpp buy --resume {order}");
    }
    exit_of(ended).into()
}
