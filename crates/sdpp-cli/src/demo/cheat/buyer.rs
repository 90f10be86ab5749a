//! A buyer that takes data and does not pay.

use std::sync::{Arc, Mutex, PoisonError};

use sdpp::seller;
use sdpp_ledger::LedgerClient;
use sdpp_proto::money::Amount;
use sdpp_proto::seller::Ended;
use sdpp_proto::statement::{Menu, Order, Signed};
use sdpp_rail::{Funding, OpenRequest};
use sdpp_sim::liar::tcp::{BuyerTheft, Loot, thieving_buyer};
use sdpp_sim::liar::{BuyerKeys, RawBuyer};

use super::super::house::{Failure, House, PAY_BY_MS};
use super::super::screen::{Screen, grouped};
use super::super::{Args, Pay, sale};
use super::Outcome;

/// Invoices that it pays, so that it is trusted with more.
const PAYS_FOR: u64 = 9;

pub(in super::super) async fn run(args: &Args) -> Result<bool, Failure> {
    let house = House::build(args).await?;
    sale::introduce(&house);
    // A transfer cannot be made up; only a voucher's signature comes from the thief itself.
    let pays_for = if args.pay == Pay::Voucher { PAYS_FOR } else { 0 };
    crate::say(&format!("  The buyer pays {pays_for} invoices, then takes data and does not pay.\n"));
    let screen = Screen::new(house.messages(), &house.asset);
    let ended = Arc::new(Mutex::new(None));
    let (inner, hears) = (sale::seller_listener(&screen), ended.clone());
    let listener: seller::Listener = Arc::new(move |event| {
        if let seller::Event::Ended { ended, sent, due, paid, .. } = event {
            *hears.lock().unwrap_or_else(PoisonError::into_inner) = Some((ended.clone(), *sent, *due, *paid));
        }
        inner(event);
    });
    let seller_client = house.client(house.honest())?;
    let serving = sale::serve_with(house.seller_settings(&seller_client, listener)?)?;
    let loot = steal(&house, serving.address, pays_for).await?;
    serving.stop();
    screen.finish();
    let end = ended.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (end, sent, due, paid) = end.ok_or("the seller did not say how it ended")?;
    let good = judge(&house, &loot, (&end, sent), due.saturating_sub(paid)).print(&house);
    Ok(good)
}

fn judge(house: &House, loot: &Loot, (end, sent): (&Ended, u64), owed: Amount) -> Outcome {
    let unpaid = house.product().price().affordable(owed).min(house.messages());
    Outcome {
        thief: format!("the buyer {}", house.buyer.public()),
        stopped: format!(
            "after {} messages, {} of them taken unpaid; the seller sent no more and waited {} s",
            grouped(u128::from(sent)),
            grouped(u128::from(unpaid)),
            PAY_BY_MS / 1000,
        ),
        evidence: match &loot.unpaid {
            Some(unpaid) => format!("a signed default: {} due, {} paid; it is recorded", unpaid.due, unpaid.paid),
            None => "NONE".to_owned(),
        },
        loss: owed,
        bound: sale::bound(house, &house.product()).seller_exposure,
        caught: *end == Ended::Defaulted && loot.unpaid.is_some() && loot.messages == sent,
    }
}

async fn steal(house: &House, address: std::net::SocketAddr, after: u64) -> Result<Loot, Failure> {
    let keys = BuyerKeys { identity: house.buyer.clone(), pays: house.buyer.clone() };
    let liar = RawBuyer::new(keys, house.args.suite(), *sdpp::entropy::draw()?);
    // What it orders is honest: it needs a menu and a channel for that.
    let menu = sale::menu(house, address).await?;
    let client = house.client(house.honest())?;
    let order = order(house, &client, &menu).await?;
    let theft = BuyerTheft::StopsPaying { after };
    let stealing = move || thieving_buyer(address, liar, theft, move |_| order);
    Ok(tokio::task::spawn_blocking(stealing).await??)
}

async fn order(house: &House, client: &Arc<LedgerClient>, menu: &Signed<Menu>) -> Result<Order, Failure> {
    let (payer, rail) = house.payer(client);
    let option = menu.options.iter().find(|option| option.rail == rail).ok_or("the menu has no such rail")?;
    let request = sale::request(house);
    let limit = house.product().price().due(house.messages()).ok_or("the price overflows")?;
    let nonce = sdpp_proto::codec::Bytes32(*sdpp::entropy::draw()?);
    let signer = house.buyer.public();
    let open = OpenRequest { reference: nonce, option: option.clone(), limit, signer, seller: menu.seller };
    let Funding { channel, .. } = payer.open(&open).await?;
    Ok(Order {
        seller: menu.seller,
        menu_id: menu.id(),
        product: 1,
        option: option.id,
        quantity: request.quantity,
        windows: request.windows,
        exposure_max: house.exposure(),
        limit,
        channel,
        record: request.record,
        invoice_addr: None,
        sign_pk: signer,
        nonce,
        until: sdpp::now().after_ms(60_000),
    })
}
