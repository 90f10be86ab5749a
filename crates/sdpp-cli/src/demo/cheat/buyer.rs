//! A buyer that takes data and does not pay.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use sdpp::seller;
use sdpp_proto::buyer::{Buyer, BuyerConfig, Event, OrderDraft, Output};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::money::Amount;
use sdpp_proto::seller::Ended;
use sdpp_proto::statement::{Default as Unpaid, Menu, Signed};
use sdpp_rail::OpenRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::Args;
use super::super::house::{Failure, House};
use super::super::sale;
use super::super::screen::{Screen, grouped};
use super::Outcome;

/// Windows that it pays for, so that it is trusted with more.
const PAYS_FOR: u64 = 9;

/// What the thief got away with.
#[derive(Default)]
struct Loot {
    messages: u64,
    payments: u64,
    unpaid: Option<Box<Signed<Unpaid>>>,
}

pub(in super::super) async fn run(args: &Args) -> Result<bool, Failure> {
    let house = House::build(args).await?;
    sale::introduce(&house);
    crate::say(&format!("  The buyer pays for {PAYS_FOR} invoices, then takes data and does not pay.\n"));
    let screen = Screen::new(house.messages(), &house.asset);
    let ended = Arc::new(Mutex::new(None));
    let client = house.client(house.honest())?;
    let seller_client = house.client(house.honest())?;
    let inner = sale::seller_listener(&screen);
    let hears = ended.clone();
    let listener: seller::Listener = Arc::new(move |event| {
        if let seller::Event::Ended { ended, sent, due, paid, .. } = event {
            *hears.lock().unwrap_or_else(PoisonError::into_inner) = Some((ended.clone(), *sent, *due, *paid));
        }
        inner(event);
    });
    let serving = sale::serve_with(house.seller_settings(&seller_client, listener)?)?;
    let loot = steal(&house, &client, serving.address).await?;
    serving.stop();
    screen.finish();
    let end = ended.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((end, sent, due, paid)) = end else { return Err("the seller did not say how it ended".into()) };
    let named = loot.unpaid.as_ref().is_some_and(|unpaid| unpaid.due == due);
    let bound = sale::bound(&house, &house.product()).seller_exposure;
    let outcome = Outcome {
        thief: format!("the buyer {}", house.buyer.public()),
        stopped: format!(
            "after {} messages, {} of them taken unpaid; the seller sent no more and waited {} s",
            grouped(u128::from(sent)),
            grouped(u128::from(unpaid_messages(&house, due.saturating_sub(paid)))),
            super::super::house::PAY_BY_MS / 1000,
        ),
        evidence: match &loot.unpaid {
            Some(unpaid) => format!("a signed default over {} due, {} paid; it is recorded", unpaid.due, unpaid.paid),
            None => "NONE".to_owned(),
        },
        loss: due.saturating_sub(paid),
        bound,
        caught: end == Ended::Defaulted && named && loot.messages == sent,
    };
    let good = outcome.print(&house);
    house.clean_up();
    Ok(good)
}

fn unpaid_messages(house: &House, owed: Amount) -> u64 {
    house.product().price().affordable(owed).min(house.messages())
}

/// A buyer's driver without a conscience: it says that everything is stored and stops paying.
async fn steal(
    house: &House,
    client: &Arc<sdpp_ledger::LedgerClient>,
    address: std::net::SocketAddr,
) -> Result<Loot, Failure> {
    let config = BuyerConfig {
        key: house.buyer.clone(),
        seller: Some(house.seller.public()),
        suites: vec![house.args.suite()],
        pay_moves_money: false,
    };
    let mut machine = Buyer::new(config, *sdpp::entropy::draw()?, sdpp::now());
    let mut stream = TcpStream::connect(address).await?;
    let (mut loot, mut buffer, mut out) = (Loot::default(), Vec::new(), Vec::new());
    let mut menu = None;
    loop {
        let mut closed = false;
        while let Some(output) = machine.poll_output(sdpp::now()) {
            match output {
                Output::Menu(found) => menu = Some(found),
                Output::Store { id, .. } => machine.stored(sdpp::now(), id),
                Output::RecordOrder(order) => machine.recorded(order.id, None),
                Output::Pay { invoice, .. }
                    if loot.payments < PAYS_FOR && house.args.pay == super::super::Pay::Voucher =>
                {
                    loot.payments = loot.payments.saturating_add(1);
                    machine.paid(&invoice.id(), None);
                }
                Output::Event(Event::Defaulted(unpaid)) => loot.unpaid = Some(unpaid),
                Output::Closed(_) => closed = true,
                Output::Pay { .. } | Output::Event(_) | Output::Record(_) | Output::Sample(_) | Output::Quote(_) => {}
            }
        }
        if let Some(menu) = menu.take() {
            let draft = draft(house, client, &menu).await?;
            machine.place(sdpp::now(), draft)?;
            continue;
        }
        out.clear();
        machine.poll_transmit(sdpp::now(), &mut out);
        stream.write_all(&out).await?;
        if closed || stream.read_buf(&mut buffer).await? == 0 {
            return Ok(loot);
        }
        take(&mut machine, &mut buffer, &mut loot)?;
    }
}

fn take(machine: &mut Buyer, buffer: &mut Vec<u8>, loot: &mut Loot) -> io::Result<()> {
    loop {
        let header = FrameHeader::peek(buffer).map_err(io::Error::other)?;
        let Some(length) = header.map(|header| header.frame_len()).filter(|length| *length <= buffer.len()) else {
            return Ok(());
        };
        let mut frame: Vec<u8> = buffer.drain(..length).collect();
        let delivery = machine.handle_frame(sdpp::now(), &mut frame).map_err(io::Error::other)?;
        let count = u64::try_from(delivery.messages().count()).unwrap_or(u64::MAX);
        loot.messages = loot.messages.saturating_add(count);
    }
}

async fn draft(
    house: &House,
    client: &Arc<sdpp_ledger::LedgerClient>,
    menu: &Signed<Menu>,
) -> Result<OrderDraft, Failure> {
    let (payer, rail) = house.payer(client);
    let option = menu.options.iter().find(|option| option.rail == rail).ok_or("the menu has no such rail")?;
    let request = sale::request(house);
    let limit = house.product().price().due(house.messages()).ok_or("the price overflows")?;
    let nonce = Bytes32(*sdpp::entropy::draw()?);
    let signer = house.buyer.public();
    let funding = payer.open(&OpenRequest { reference: nonce, option: option.clone(), limit, signer }).await?;
    Ok(OrderDraft {
        product: 1,
        option: option.id,
        quantity: request.quantity,
        windows: request.windows,
        exposure_max: house.exposure(),
        limit,
        channel: funding.channel,
        record: request.record,
        sign_key: house.buyer.clone(),
        nonce,
        until: sdpp::now().after_ms(60_000),
    })
}
