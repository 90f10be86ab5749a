//! A seller that bills data it did not send.

use std::io;

use sdpp_proto::offence::{Fault, Offence};
use sdpp_proto::statement::{Menu, PayOption, RecordOffer, SealKey, Signed};
use sdpp_proto::suite::SealSecret;
use sdpp_sim::liar::{Heard, RawSeller};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::Args;
use super::super::house::{Failure, House};
use super::super::sale;
use super::super::screen::Screen;
use super::Outcome;

/// Windows that it serves honestly, to be trusted.
const HONEST_WINDOWS: u32 = 5;

/// What became of the thief's session.
struct Told {
    code: Option<u16>,
    invoices: u32,
}

pub(in super::super) async fn run(args: &Args) -> Result<bool, Failure> {
    let house = House::build(args).await?;
    sale::introduce(&house);
    crate::say(&format!("  After {HONEST_WINDOWS} honest windows the seller bills twice the messages it sent.\n"));
    let screen = Screen::new(house.messages(), &house.asset);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let thief = thief(&house)?;
    let lines = lines(&house)?;
    let thieving = tokio::spawn(async move { thieve(listener, thief, lines).await });
    let journal = house.buyer_journal()?;
    let client = house.client(house.honest())?;
    let settings = house.buyer_settings(&client, journal.clone(), sale::buyer_listener(&screen));
    let stop = tokio::sync::watch::channel(false).0;
    let purchase = sale::buy(&house, settings, address, stop.subscribe()).await?;
    let told = thieving.await??;
    screen.finish();
    let report = sale::audit(&house, &journal, &client, &purchase).await?;
    let paid_for = house.product().price().affordable(purchase.paid);
    let fault = told.code.and_then(Fault::of_code);
    let refused = sdpp_proto::buyer::Ended::Offence(Offence::InvoiceRange);
    let outcome = Outcome {
        thief: format!("the seller {}", house.seller.public()),
        stopped: format!(
            "at its {}th invoice: {}",
            told.invoices,
            fault.map_or("NOT AT ALL".to_owned(), |fault| fault.to_string())
        ),
        evidence: format!(
            "{} messages held, {} paid for; {}",
            purchase.delivered,
            paid_for,
            sale::verdict_line(&report)
        ),
        loss: purchase.paid.saturating_sub(house.product().price().due(purchase.delivered).unwrap_or_default()),
        bound: sale::bound(&house, &house.product()).buyer_undelivered,
        caught: purchase.ended == refused && fault == Some(Fault::Offence(Offence::InvoiceRange)),
    };
    let good = outcome.print(&house);
    house.clean_up();
    Ok(good)
}

/// Lines to serve.
fn lines(house: &House) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = std::fs::read(house.data())?;
    Ok(bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}

/// A seller with the house's key and a menu of its own.
fn thief(house: &House) -> Result<RawSeller, Failure> {
    let suite = house.args.suite();
    let (secret, public) = SealSecret::derive(suite, &sdpp::entropy::draw()?);
    let client = house.client(house.honest())?;
    let option = PayOption { id: 1, ..house.payee(&client)?.option() };
    let menu = Menu {
        seller: house.seller.public(),
        until: sdpp::now().after_ms(3_600_000),
        seal: vec![SealKey { suite, public }],
        records: RecordOffer {
            backend: "ledger".to_owned(),
            origin: house.origin().to_owned(),
            form: sdpp_proto::statement::Form::Full,
        },
        default_currency: house.asset.clone(),
        options: vec![option],
        products: vec![house.product()],
    };
    let menu = Signed::sign(&house.seller, menu);
    Ok(RawSeller::new(house.seller.clone(), menu, vec![secret], *sdpp::entropy::draw()?))
}

/// Serves one buyer: honestly at first.
async fn thieve(listener: TcpListener, mut thief: RawSeller, lines: Vec<Vec<u8>>) -> io::Result<Told> {
    let (mut stream, _) = listener.accept().await?;
    let mut told = Told { code: None, invoices: 0 };
    let mut lines = lines.iter().map(Vec::as_slice);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(told);
        }
        for heard in thief.receive(buffer.get(..length).unwrap_or_default()) {
            answer(&mut thief, &heard, &mut told, &mut lines);
        }
        write(&mut stream, &mut thief).await?;
    }
}

async fn write(stream: &mut TcpStream, thief: &mut RawSeller) -> io::Result<()> {
    let out = thief.line.take();
    stream.write_all(&out).await
}

fn answer<'a>(thief: &mut RawSeller, heard: &Heard, told: &mut Told, lines: &mut impl Iterator<Item = &'a [u8]>) {
    match heard {
        Heard::Hello(_) => {
            let reply = thief.menu_reply();
            thief.send_menu(&reply);
        }
        Heard::Order(_) => {
            let acceptance = thief.acceptance();
            thief.send_acceptance(acceptance);
            serve_window(thief, told, lines);
        }
        Heard::Statement(..) => {
            if let Some(payment) = heard.statement() {
                thief.credit(&payment);
                serve_window(thief, told, lines);
            }
        }
        Heard::Error(code) => told.code = Some(*code),
        Heard::Ask(_)
        | Heard::Menu(_)
        | Heard::Answer(_)
        | Heard::Session(_)
        | Heard::Message(..)
        | Heard::Cut(_)
        | Heard::Exit
        | Heard::Recorded(_)
        | Heard::Noise(_) => {}
    }
}

fn serve_window<'a>(thief: &mut RawSeller, told: &mut Told, lines: &mut impl Iterator<Item = &'a [u8]>) {
    let k = usize::try_from(thief.terms().product.k).unwrap_or(1);
    let window: Vec<&[u8]> = lines.take(k).collect();
    told.invoices = told.invoices.saturating_add(1);
    if told.invoices <= HONEST_WINDOWS {
        thief.deliver(&window, false);
        return;
    }
    thief.send_messages(&window);
    thief.send_cut();
    let mut invoice = thief.invoice();
    invoice.count = invoice.count.saturating_mul(2);
    invoice.windows = invoice.windows.saturating_mul(2);
    invoice.units_total = invoice.units_total.saturating_add(invoice.count / 2);
    invoice.due = thief.terms().price().due(invoice.units_total).unwrap_or(invoice.due);
    thief.send_invoice(invoice);
}
