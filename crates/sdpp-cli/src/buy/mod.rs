//! `sdpp buy`: places an order and sees it through.

use std::process::ExitCode;

use sdpp::address::Address;
use sdpp::bound::Bound;
use sdpp::buyer::{Agreed, Buyer, Purchase, Reconnect, Request};
use sdpp::journal::{Journal, order_stream};
use sdpp_proto::buyer::Ended as How;
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::statement::{Form, PayOption, Product, RecordOffer, RecordPolicy, Terms};
use serde_json::json;
use tokio::sync::watch;

mod args;
mod desk;
pub(crate) mod journals;
mod progress;
mod running;
pub(crate) mod sinks;

pub(crate) use args::{Args, Which};
pub(crate) use desk::{Desk, Wanted, fetch_deposits_of, ledger_of};
pub(crate) use progress::Progress;

use self::journals::Journals;
use self::running::Running;
use crate::config;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::station::Ending;
use crate::text::{coin, symbol};
use crate::visit::{self, exit_of, explain, option_of, product_of};
use crate::watch::Watch;
use crate::ways::chain_of;

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
    let config = home.config()?.buyer;
    let product = for_sale(product_of(&asked.menu, topic)?)?;
    let option = option_of(&asked.menu, args.how.rail.or(config.rail), args.how.asset.as_deref())?;
    let limit = limit(args, (product, &option.asset))?;
    let wanted = Wanted { option, offer: &asked.menu.records, records: args.how.records };
    let record = record(args, wanted.records(&config)?);
    let request = request((args, &config), (product, option), (limit, record))?;
    if let Some(chain) = chain_of(option) {
        let (asset, unit) = (&option.asset, symbol(&option.asset));
        let how = if option.channel { "locked" } else { "paid" };
        eprintln!("paid in    {asset} on {chain}; at most {limit} {unit} are {how}");
    }
    if args.dry_run {
        let bound = Bound::of(product, option, (request.exposure_max.unwrap_or(limit), limit), request.windows);
        let bound = bound.in_units(symbol(&option.asset));
        eprintln!("{bound}\nat most {limit} {} would be spent; nothing was ordered", symbol(&option.asset));
        return Ok(ExitCode::SUCCESS);
    }
    let desk = Desk::open(home, &args.ways, &wanted).await?;
    let window = product.exposure(1).map_or(1, Amount::get);
    desk.fund(limit, limit.get().div_ceil(window.max(1))).await?;
    let mut watch = Watch::open(args.how.metrics.or(config.metrics)).await?;
    watch.follow(desk.followed());
    let (journal, number) = journals::fresh(home, args.how.journal)?;
    let progress = Progress::new(args.want.count, symbol(&desk.asset), args.how.quiet);
    let heard = (progress.counter.clone(), watch.buyer(progress.listener()));
    let buyer = Buyer::new(desk.settings(args.suite(), journal, heard, desk::reconnect(args))?);
    let mut place = sinks::open(args.how.to.as_deref().unwrap_or("-"), home).await?;
    if args.how.keep {
        place = place.keeping(&sinks::new_kept(home)?)?;
    }
    // Whoever answered without a key is the one that the order goes to.
    let peer = Address { seller: Some(asked.menu.seller), ..address.clone() };
    let stop = stop_on_signals()?;
    let running = Running {
        topic: topic.to_owned(),
        seller: peer.to_string(),
        quantity: args.want.count,
        progress: progress.clone(),
        stop: stop.clone(),
    };
    let _control = running.listen(&desk.role, number);
    let bought = buyer.buy(&peer.peer(), &request, place.sink.as_mut(), stop.subscribe()).await;
    progress.finish();
    watch.stop().await;
    let purchase = bought.map_err(|error| explain(&peer, &error))?;
    let code = conclude(args.json, args.want.count, &desk, &purchase);
    place.finish().await?;
    Ok(code)
}

/// Goes on with an order of the journal, into what it went to before.
async fn resume(home: &Home, args: &Args, (which, address): (&Which, Option<&Address>)) -> Result<ExitCode, Failure> {
    let journals = Journals::open(home)?;
    let found = journals.find(home, which, true).await?;
    if args.how.to.is_none() {
        journals.file_is_its_own(home, &found).await?;
    }
    drop(journals);
    let (order, note) = (found.order.order, &found.order.note);
    let (terms, offer) = terms_of(&found.journal, &order).await?;
    let wanted = Wanted { option: &terms.option, offer: &offer, records: args.how.records };
    let desk = Desk::open(home, &args.ways, &wanted).await?;
    let mut place = sinks::of_order(args.how.to.as_deref(), note.sink.as_deref(), home).await?;
    let peer = address.map_or_else(|| note.address(), Address::peer);
    // Whatever was said, the order is this seller's.
    let peer = sdpp::buyer::Address { seller: Some(found.order.seller), ..peer };
    let mut watch = Watch::open(args.how.metrics.or(home.config()?.buyer.metrics)).await?;
    watch.follow(desk.followed());
    let progress = Progress::new(found.order.quantity, symbol(&desk.asset), args.how.quiet);
    let progress = progress.behind(found.order.due, found.order.paid);
    let reconnect = Reconnect { wait_for_seller: true, ..desk::reconnect(args) };
    let heard = (progress.counter.clone(), watch.buyer(progress.listener()));
    let buyer = Buyer::new(desk.settings(args.suite(), found.journal, heard, reconnect)?);
    let stop = stop_on_signals()?;
    let running = Running {
        topic: found.order.topic.clone(),
        seller: format!("sdpp://{}@{}", found.order.seller, peer.host),
        quantity: found.order.quantity,
        progress: progress.clone(),
        stop: stop.clone(),
    };
    let _control = running.listen(&desk.role, found.number);
    let bought = buyer.resume(&peer, order, place.sink.as_mut(), stop.subscribe()).await;
    progress.finish();
    watch.stop().await;
    let purchase = bought.map_err(|error| visit::explain_at(&peer.host, &error))?;
    let code = conclude(args.json, found.order.quantity, &desk, &purchase);
    place.finish().await?;
    Ok(code)
}

/// The terms of an order, and where its seller records, as its journal has them.
pub(crate) async fn terms_of(journal: &Journal, order: &StatementId) -> Result<(Terms, RecordOffer), Failure> {
    let entries = journal.read(order_stream(order)).await?;
    let found = sdpp::bundle::terms_of(&entries).zip(sdpp::bundle::records_of(&entries));
    found.ok_or_else(|| failed(Exit::Storage, format!("the journal's order {order} is not whole")))
}

/// Most that will be spent.
fn limit(args: &Args, (product, asset): (&Product, &AssetId)) -> Result<Amount, Failure> {
    match (args.want.budget, args.want.count) {
        (Some(budget), _) => {
            budget.check(coin(asset), symbol(asset)).map_err(|what| failed(Exit::Usage, what))?;
            Ok(budget.amount)
        }
        (None, Some(count)) => product.cost(count).ok_or_else(|| {
            let what = match product.unit {
                Unit::Second => "what messages cost is not known before, where time is paid".to_owned(),
                Unit::Message | Unit::Byte => format!("what {count} messages cost does not fit an amount: order less"),
            };
            failed(Exit::Usage, format!("{what}; say how much to spend at most: --budget AMOUNT"))
        }),
        (None, None) => Err(failed(
            Exit::Usage,
            "say how much: --count N messages, or --budget AMOUNT to buy until it is spent, or until Ctrl-C",
        )),
    }
}

/// What is recorded. On a chain each record and each byte of it costs gas, and the id of a statement says the same.
fn record(args: &Args, records: config::Records) -> RecordPolicy {
    let (form, every) = match records {
        config::Records::Evm => (Form::Hash, 0),
        // There a byte costs nothing, and each transaction does.
        config::Records::Iota => (Form::Full, 0),
        config::Records::Ledger | config::Records::None => (Form::Full, 1),
    };
    RecordPolicy { form, every: args.how.record.map_or(every, |cadence| cadence.0) }
}

/// The product, if it takes new orders: asked for before a deposit is locked for nothing.
fn for_sale(product: &Product) -> Result<&Product, Failure> {
    if product.available == Some(0) {
        let what = format!("the seller takes no new orders of '{}' at the moment: try again later", product.topic);
        return Err(failed(Exit::Refused, what));
    }
    Ok(product)
}

fn request(
    (args, config): (&Args, &config::Buyer),
    (product, option): (&Product, &PayOption),
    (limit, record): (Amount, RecordPolicy),
) -> Result<Request, Failure> {
    let most = product.windows_max;
    let windows = args.want.windows.or_else(|| config.windows.map(|wished| wished.min(most))).unwrap_or(most);
    if windows > most {
        return Err(failed(Exit::Refused, format!("the product allows {most} outstanding windows: --windows {most}")));
    }
    if let (Some(count), Some(available)) = (args.want.count, product.available)
        && count > available
    {
        return Err(failed(Exit::Refused, format!("the seller has {available} messages: --count {available}")));
    }
    Ok(Request {
        topic: product.topic.clone(),
        quantity: args.want.count,
        windows,
        exposure_max: args.want.owe,
        limit: Some(limit),
        record,
        // What was shown is what is ordered, or nothing is.
        agreed: Some(Box::new(Agreed { product: product.clone(), option: option.clone() })),
    })
}

/// Ctrl-C, and what a supervisor sends, settle; a second one leaves at once.
fn stop_on_signals() -> Result<watch::Sender<bool>, Failure> {
    let ending = Ending::listen()?;
    let stop = watch::Sender::new(false);
    let told = stop.clone();
    tokio::spawn(async move {
        ending.wait("left at once; go on with: sdpp buy --resume").await;
        told.send_replace(true);
    });
    Ok(stop)
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
            let way = desk.way_back();
            eprintln!("note: when the channel's grace period is over the deposit comes back, with {way}");
        }
        if !settled && purchase.parked {
            eprintln!("go on with: sdpp buy --resume {order}");
        }
    }
    let exit = exit_of(ended);
    if settled {
        return ExitCode::SUCCESS;
    }
    // Whoever reads the code wants to know what to do; why it stopped stands above.
    if purchase.parked && exit != Exit::Storage { Exit::Unfinished.into() } else { exit.into() }
}

fn how(ended: &How) -> String {
    match ended {
        How::Settled => "settled".to_owned(),
        How::Withheld => "paid in full, without the seller's last signature".to_owned(),
        How::Offence(offence) => format!("the seller broke a rule: {offence}"),
        How::Stopped(Reason::Frozen) => {
            "stopped: the journal, or the place where messages go, cannot be written (is the disk full?); or the journal \
             was put back from a backup: then say so with `sdpp orders restored`"
                .to_owned()
        }
        How::Stopped(reason) => format!("stopped: {reason}"),
        How::Told(Some(Fault::Offence(Offence::StaleAttach))) => {
            "the seller knows newer connections of this order than this journal does: if it was put back from a backup, \
             say so with `sdpp orders restored`; if not, who else has a copy of it?"
                .to_owned()
        }
        How::Told(Some(fault)) => format!("the seller stopped: {fault}"),
        How::Told(None) => "the connection was lost".to_owned(),
    }
}
