//! The honest sale: everybody does what they signed, and the auditor says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use sdpp::audit::{Report, Trust};
use sdpp::bound::Bound;
use sdpp::buyer::{self, Address, Buyer, Purchase, Request};
use sdpp::journal::{Journal, order_stream};
use sdpp::seller::{self, Seller};
use sdpp::sink::{FileSink, Tee};
use sdpp_ledger::{LedgerClient, LedgerService};
use sdpp_proto::buyer::BuyerConfig;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Form, Menu, RecordPolicy, Signed};
use tokio::sync::watch;

use super::house::{Failure, House};
use super::screen::{Screen, Seen, grouped, short};
use super::table::Table;
use super::{Args, Record};
use crate::export;

/// Runs the sale; true if all is clean.
pub(super) async fn run(args: &Args) -> Result<bool, Failure> {
    let house = House::build(args).await?;
    introduce(&house);
    let screen = Screen::new(house.messages(), &house.asset);
    let stop = stop_on_ctrl_c();
    let ticking = tokio::spawn(tick(house.ledger.clone()));
    let serving = serve(&house, house.honest(), &screen)?;
    let journal = house.buyer_journal()?;
    let client = house.client(house.honest())?;
    let settings = house.buyer_settings(&client, journal.clone(), buyer_listener(&screen));
    let purchase = buy(&house, settings, serving.address, stop.subscribe()).await;
    serving.stop();
    ticking.abort();
    let purchase = purchase?;
    let seen = screen.finish();
    let report = audit(&house, &journal, &client, &purchase).await?;
    let clean = conclude(&house, &client, &purchase, (&seen, &report)).await?;
    drop(journal);
    Ok(clean)
}

pub(super) fn introduce(house: &House) {
    let (product, args) = (house.product(), &house.args);
    let name = args.data.as_ref().map_or("Seattle weather (NOAA)".to_owned(), |path| path.display().to_string());
    crate::say(&format!("SDPP demo: {} messages of {name}", grouped(u128::from(house.messages()))));
    crate::say(&format!("  ledger  {}  with one witness", house.origin()));
    crate::say(&format!("  seller  {}", house.seller.public()));
    crate::say(&format!("  buyer   {}", house.buyer.public()));
    crate::say(&format!(
        "  price   {} {} for {}, paid every K = {} messages by {}",
        grouped(product.amount.get()),
        short(&house.asset),
        if product.per == 1 { "a message".to_owned() } else { format!("{} messages", product.per) },
        args.k,
        match args.pay {
            super::Pay::Voucher => "voucher against a locked deposit",
            super::Pay::Direct => "a transfer on the ledger",
        }
    ));
    crate::say(&format!(
        "  folder  {}{}",
        house.folder().display(),
        if args.home.is_none() { "  (removed at the end; keep it with --home)" } else { "" }
    ));
    crate::say("");
}

/// A seller on a thread of its own.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Lets live sessions settle, then ends the seller.
    pub(super) fn stop(mut self) {
        // Nobody listens when all sessions have ended; a thread that panicked has said why.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the shipped seller.
pub(super) fn serve(house: &House, ledger: Arc<dyn LedgerService>, screen: &Screen) -> Result<Serving, Failure> {
    let client = house.client(ledger)?;
    serve_with(house.seller_settings(&client, seller_listener(screen))?)
}

/// The same with settings of one's own.
pub(super) fn serve_with(settings: seller::Settings) -> Result<Serving, Failure> {
    let (stop, stopped) = watch::channel(false);
    let (ready, address) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("sdpp-seller".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let started = runtime.map_err(|error| error.to_string()).map(|runtime| {
            runtime.block_on(async {
                match listen(settings).await {
                    Ok((seller, listener, address)) => {
                        // The receiver waits right below.
                        let _ = ready.send(Ok(address));
                        seller.serve(listener, stopped).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        });
        if let Err(error) = started {
            eprintln!("sdpp: the seller cannot start: {error}");
        }
    })?;
    let address = address.recv()??;
    Ok(Serving { address, stop, thread: Some(thread) })
}

type Listening = (Seller, tokio::net::TcpListener, SocketAddr);

async fn listen(settings: seller::Settings) -> Result<Listening, String> {
    let seller = Seller::start(settings).await.map_err(|error| error.to_string())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok((seller, listener, address))
}

pub(super) fn seller_listener(screen: &Screen) -> seller::Listener {
    let screen = screen.clone();
    Arc::new(move |event| match event {
        seller::Event::Paid { messages, total, owed, .. } => screen.paid(*messages, *total, *owed),
        seller::Event::Redeemed { total, .. } => screen.redeemed(*total),
        seller::Event::Dishonest(what) => screen.dishonest(what),
        seller::Event::Ended { due, paid, .. } => screen.owed(due.saturating_sub(*paid)),
        seller::Event::Live { .. } | seller::Event::Recorded(_) | seller::Event::Skipped { .. } => {}
    })
}

pub(super) fn buyer_listener(screen: &Screen) -> buyer::Listener {
    let screen = screen.clone();
    Arc::new(move |event| match event {
        buyer::Event::Ordering { bound, .. } => {
            for line in bound.to_string().lines() {
                screen.line(&format!("  {line}"));
            }
            screen.line("");
        }
        buyer::Event::Invoiced { windows, .. } => screen.invoiced(*windows),
        buyer::Event::Dishonest(what) => screen.dishonest(what),
        buyer::Event::Reconnecting { attempt } => screen.line(&format!("  connection lost, trying again ({attempt})")),
        buyer::Event::Live { .. }
        | buyer::Event::Paid { .. }
        | buyer::Event::Recorded(_)
        | buyer::Event::Waiting
        | buyer::Event::Enough => {}
    })
}

/// The menu of the seller at an address.
pub(super) async fn menu(house: &House, address: SocketAddr) -> Result<Signed<Menu>, Failure> {
    let config = BuyerConfig {
        key: house.buyer.clone(),
        seller: Some(house.seller.public()),
        suites: vec![house.args.suite()],
        pay_moves_money: false,
    };
    let stream = tokio::net::TcpStream::connect(address).await?;
    Ok(buyer::ask(config, stream, |_| None).await?.menu)
}

/// What the buyer asks for.
pub(super) fn request(house: &House) -> Request {
    Request {
        topic: house.product().topic,
        quantity: Some(house.messages()),
        windows: house.args.windows,
        exposure_max: Some(house.exposure()),
        limit: None,
        record: RecordPolicy {
            form: Form::Full,
            every: match house.args.record {
                Record::Each => 1,
                Record::Ends => 0,
            },
        },
        agreed: None,
    }
}

/// Buys with the shipped buyer.
pub(super) async fn buy(
    house: &House,
    settings: buyer::Settings,
    address: SocketAddr,
    stop: watch::Receiver<bool>,
) -> Result<Purchase, Failure> {
    let mut sink = Tee::new(FileSink::lines(&house.bought())?, FileSink::canonical(&house.canonical())?);
    let address = Address { seller: Some(house.seller.public()), host: address.to_string() };
    Ok(Buyer::new(settings).buy(&address, &request(house), &mut sink, stop).await?)
}

/// The clock of the ledger, as its operator would keep it going.
pub(super) async fn tick(ledger: sdpp_ledger::LocalLedger) {
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        // A tick that fails is made up for by the next one.
        let _ = ledger.tick().await;
    }
}

/// Ctrl-C settles what was delivered; a second one ends the program.
pub(super) fn stop_on_ctrl_c() -> Arc<watch::Sender<bool>> {
    let stop = Arc::new(watch::channel(false).0);
    let sender = stop.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if *sender.borrow() {
                std::process::exit(130);
            }
            eprintln!("settling; once more to leave at once");
            sender.send_replace(true);
        }
    });
    stop
}

/// Exports the buyer's bundle and audits it, with the ledger's proofs.
pub(super) async fn audit(
    house: &House,
    journal: &Journal,
    client: &LedgerClient,
    purchase: &Purchase,
) -> Result<Report, Failure> {
    let entries = journal.read(order_stream(&purchase.order)).await?;
    let mut bundle = export::bundle(&entries, Some(&house.canonical()))?;
    bundle.log = Some(export::evidence(&entries, client, &house.ledger).await?);
    std::fs::write(house.folder().join("order.bundle"), bundle.encode()?)?;
    Ok(bundle.audit(&Trust { seller: house.seller.public(), log: Some(house.policy.clone()) }))
}

async fn conclude(
    house: &House,
    client: &LedgerClient,
    purchase: &Purchase,
    (seen, report): (&Seen, &Report),
) -> Result<bool, Failure> {
    let unit = short(&house.asset);
    let money = |amount: Amount| format!("{} {unit}", grouped(amount.get()));
    let earned = client.fresh(|fold| fold.balance(&house.asset, &house.seller.public())).await?;
    let conserved = client.look(|fold| Ok(fold.conservation()?.is_none())).await?;
    let product = house.product();
    let option_bound = bound(house, &product);
    let clean = report.is_clean() && earned == purchase.paid && conserved && purchase.is_settled();
    let per_second = rate(purchase.delivered, seen.elapsed);
    let mut table = Table::default();
    table
        .row("delivered", format!("{} messages, {per_second} a second", grouped(u128::from(purchase.delivered))))
        .row("windows", grouped(u128::from(seen.windows)))
        .row("paid", format!("{}, the first after {} ms", money(purchase.paid), seen.first_paid_ms))
        .row("redeemed", format!("{} stand in the seller's account", money(earned)))
        .row("recorded", format!("{} statements on the ledger", grouped(u128::from(report.totals.records))))
        .row(
            "seller could lose",
            format!(
                "{}, did lose {}",
                money(option_bound.seller_exposure),
                money(purchase.due.saturating_sub(purchase.paid))
            ),
        )
        .row("        it lent", format!("{} at most", money(seen.owed_max)))
        .row(
            "buyer could lose",
            format!(
                "{}, did lose {}",
                money(option_bound.buyer_undelivered),
                money(purchase.paid.saturating_sub(purchase.due))
            ),
        )
        .row("ledger", if conserved { "every coin accounted for".to_owned() } else { "MONEY IS MISSING".to_owned() })
        .row("auditor", verdict_line(report));
    table.print();
    for note in report.notes.iter().take(5) {
        crate::say(&format!("  note: {}", note.text));
    }
    if house.args.home.is_some() {
        crate::say(&format!(
            "\n  check it again, off line:\n  sdpp audit {} --seller {} --ledger '{log}' --witness '{witness}'\n  \
             sdpp ledger fsck {} --log '{log}' --witness '{witness}'",
            house.folder().join("order.bundle").display(),
            house.seller.public(),
            house.folder().join("ledger/public").display(),
            log = house.policy.log(),
            witness = house.witness.key(),
        ));
    }
    Ok(clean)
}

/// The auditor's answer in a line.
pub(super) fn verdict_line(report: &Report) -> String {
    let totals = &report.totals;
    match &report.verdict {
        sdpp::audit::Verdict::Clean => format!(
            "clean: {} statements, {} digests and {} records agree",
            grouped(u128::from(totals.statements)),
            grouped(u128::from(totals.digests)),
            grouped(u128::from(totals.records)),
        ),
        sdpp::audit::Verdict::False(finding) => format!("FALSE: {finding}"),
        sdpp::audit::Verdict::Incomplete(missing) => format!("incomplete: {missing}"),
    }
}

/// The bound of the demo's order.
pub(super) fn bound(house: &House, product: &sdpp_proto::statement::Product) -> Bound {
    let limit = product.price().due(house.messages()).unwrap_or(Amount::MAX);
    let option = sdpp_proto::statement::PayOption {
        id: 1,
        rail: String::new(),
        asset: house.asset.clone(),
        address: String::new(),
        finality: 0,
        grace_min_ms: 0,
        pay_by_ms: super::house::PAY_BY_MS,
        channel: house.args.pay == super::Pay::Voucher,
        terms: Vec::new(),
    };
    Bound::of(product, &option, (house.exposure(), limit), house.args.windows)
}

fn rate(messages: u64, elapsed: std::time::Duration) -> String {
    let ms = u128::from(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)).max(1);
    grouped(u128::from(messages).saturating_mul(1000).checked_div(ms).unwrap_or(0))
}
