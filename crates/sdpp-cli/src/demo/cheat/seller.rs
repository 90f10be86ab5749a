//! A seller that bills data it did not send.

use sdpp_proto::buyer::Ended;
use sdpp_proto::offence::{Fault, Offence};
use sdpp_proto::statement::{Form, Menu, PayOption, RecordOffer, SealKey, Signed};
use sdpp_proto::suite::SealSecret;
use sdpp_sim::liar::RawSeller;
use sdpp_sim::liar::tcp::{SellerPlan, SellerTheft, thieving_seller};

use super::super::house::{Failure, House};
use super::super::screen::{Screen, grouped};
use super::super::{Args, sale};
use super::Outcome;

/// Windows that it serves honestly, to be trusted.
const HONEST_WINDOWS: u64 = 5;

pub(in super::super) async fn run(args: &Args) -> Result<bool, Failure> {
    let house = House::build(args).await?;
    sale::introduce(&house);
    crate::say(&format!("  After {HONEST_WINDOWS} honest windows the seller bills a message that it did not send.\n"));
    let screen = Screen::new(house.messages(), &house.asset);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (liar, plan) = (thief(&house)?, plan(&house)?);
    let thieving = tokio::task::spawn_blocking(move || thieving_seller(&listener, liar, &plan));
    let journal = house.buyer_journal()?;
    let client = house.client(house.honest())?;
    let settings = house.buyer_settings(&client, journal.clone(), sale::buyer_listener(&screen));
    let stop = tokio::sync::watch::channel(false).0;
    let purchase = sale::buy(&house, settings, address, stop.subscribe()).await?;
    let haul = thieving.await??;
    screen.finish();
    let report = sale::audit(&house, &journal, &client, &purchase).await?;
    let price = house.product().price();
    let fault = haul.error.and_then(Fault::of_code);
    let outcome = Outcome {
        thief: format!("the seller {}", house.seller.public()),
        stopped: format!(
            "at its invoice number {}: {}",
            haul.invoices,
            fault.map_or("NOT AT ALL".to_owned(), |fault| fault.to_string())
        ),
        evidence: format!(
            "{} messages held, {} paid for; {}",
            grouped(u128::from(purchase.delivered)),
            grouped(u128::from(price.affordable(purchase.paid).min(purchase.delivered))),
            sale::verdict_line(&report)
        ),
        loss: purchase.paid.saturating_sub(price.due(purchase.delivered).unwrap_or_default()),
        bound: sale::bound(&house, &house.product()).buyer_undelivered,
        caught: purchase.ended == Ended::Offence(Offence::InvoiceRange)
            && fault == Some(Fault::Offence(Offence::InvoiceRange)),
    };
    let good = outcome.print(&house);
    Ok(good)
}

/// What it delivers: the first K lines, again and again.
fn plan(house: &House) -> Result<SellerPlan, Failure> {
    let bytes = std::fs::read(house.data())?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec);
    let window = lines.take(usize::try_from(house.args.k)?).collect();
    Ok(SellerPlan { honest_windows: HONEST_WINDOWS, window, theft: SellerTheft::Undelivered })
}

/// A seller with the house's key and a menu of its own.
fn thief(house: &House) -> Result<RawSeller, Failure> {
    let suite = house.args.suite();
    let (secret, public) = SealSecret::derive(suite, &sdpp::entropy::draw()?);
    let client = house.client(house.honest())?;
    let option = PayOption { id: 1, ..house.payee(&client)?.option() };
    let origin = house.origin().to_owned();
    let menu = Menu {
        seller: house.seller.public(),
        until: sdpp::now().after_ms(3_600_000),
        seal: vec![SealKey { suite, public }],
        records: RecordOffer { backend: "ledger".to_owned(), origin, form: Form::Full },
        default_currency: house.asset.clone(),
        options: vec![option],
        products: vec![house.product()],
    };
    let menu = Signed::sign(&house.seller, menu);
    Ok(RawSeller::new(house.seller.clone(), menu, vec![secret], *sdpp::entropy::draw()?))
}
