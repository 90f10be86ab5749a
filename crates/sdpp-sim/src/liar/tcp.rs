//! Thieves over TCP, blocking, one connection each: for demos and tests of whole programs.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use sdpp_proto::codec::Digest;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Default as Unpaid, Invoice, Order, Payment, Settlement, Signed};

use super::{Heard, Line, RawBuyer, RawSeller};

/// Longest silence of the other side that a thief waits through.
const PATIENCE: Duration = Duration::from_secs(90);
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// What a thieving buyer came away with.
#[derive(Clone, Debug, Default)]
pub struct Loot {
    /// Messages taken.
    pub messages: u64,
    /// Invoices heard.
    pub invoices: u64,
    /// Cumulative amount paid.
    pub paid: Amount,
    /// The newest amount due that was heard.
    pub due: Amount,
    /// The seller's word about it.
    pub unpaid: Option<Box<Signed<Unpaid>>>,
    /// Why the seller ended the connection.
    pub error: Option<u16>,
}

/// How a buyer steals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuyerTheft {
    /// Pays so many invoices, then takes what it is given and pays no more.
    StopsPaying {
        /// Invoices paid.
        after: u64,
    },
}

/// Orders what `order` says, takes everything until the seller ends the connection, and pays as the
/// theft has it.
///
/// # Errors
/// The connection's; its end is none.
pub fn thieving_buyer(
    address: SocketAddr,
    mut liar: RawBuyer,
    theft: BuyerTheft,
    order: impl FnOnce(&mut RawBuyer) -> Order,
) -> io::Result<Loot> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let BuyerTheft::StopsPaying { after } = theft;
    let (mut loot, mut order) = (Loot::default(), Some(order));
    let hello = liar.hello();
    liar.send_hello(&hello);
    while let Some(bytes) = exchange(&mut stream, &mut liar.line)? {
        for heard in liar.receive(&bytes) {
            if let (Heard::Menu(_), Some(order)) = (&heard, order.take_if(|_| matches!(heard, Heard::Menu(_)))) {
                let order = order(&mut liar);
                liar.send_order(order);
            }
            take(&mut liar, &mut loot, (&heard, after));
        }
        if loot.error.is_some() {
            break;
        }
    }
    Ok(loot)
}

fn take(liar: &mut RawBuyer, loot: &mut Loot, (heard, after): (&Heard, u64)) {
    if let Heard::Message(..) = heard {
        loot.messages = loot.messages.saturating_add(1);
    }
    if let Heard::Error(code) = heard {
        loot.error = Some(*code);
    }
    if let Some(invoice) = heard.statement::<Invoice>() {
        loot.due = invoice.due;
        if loot.invoices < after {
            liar.pay(&invoice);
            loot.paid = invoice.due;
        }
        loot.invoices = loot.invoices.saturating_add(1);
    }
    if let Some(unpaid) = heard.statement::<Unpaid>() {
        loot.unpaid = Some(Box::new(unpaid));
    }
}

/// How a seller steals, in the invoice that follows the honest ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SellerTheft {
    /// It counts a message that was never sent; count and digest agree with each other.
    Undelivered,
    /// Its digest is of other bytes.
    WrongDigest,
    /// It asks for one unit more than the price.
    HigherPrice,
    /// It denies all payments. Needs two honest windows: the second invoice credits the first.
    DeniesPayment,
}

/// What a thieving seller delivers.
#[derive(Clone, Debug)]
pub struct SellerPlan {
    /// Windows delivered and invoiced honestly.
    pub honest_windows: u64,
    /// Payloads of the messages of each window.
    pub window: Vec<Vec<u8>>,
    /// What follows.
    pub theft: SellerTheft,
}

/// What a thieving seller came away with.
#[derive(Clone, Debug, Default)]
pub struct Haul {
    /// Messages delivered.
    pub messages: u64,
    /// Invoices sent, the false one among them.
    pub invoices: u64,
    /// Cumulative amount paid by the buyer.
    pub paid: Amount,
    /// Cumulative amount due for what was delivered.
    pub due: Amount,
    /// Why the buyer ended the connection.
    pub error: Option<u16>,
    /// Whether the buyer signed an end after all.
    pub settled: bool,
}

/// Serves one buyer, window by window in lock step, and cheats.
///
/// # Errors
/// The connection's; its end is none.
pub fn thieving_seller(listener: &TcpListener, mut liar: RawSeller, plan: &SellerPlan) -> io::Result<Haul> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut haul = Haul::default();
    while let Some(bytes) = exchange(&mut stream, &mut liar.line)? {
        for heard in liar.receive(&bytes) {
            serve(&mut liar, &mut haul, (&heard, plan));
        }
        if haul.error.is_some() {
            break;
        }
    }
    Ok(haul)
}

fn serve(liar: &mut RawSeller, haul: &mut Haul, (heard, plan): (&Heard, &SellerPlan)) {
    if let Heard::Hello(_) = heard {
        let reply = liar.menu_reply();
        liar.send_menu(&reply);
    }
    if let Heard::Order(_) = heard {
        let acceptance = liar.acceptance();
        liar.send_acceptance(acceptance);
        deliver(liar, haul, plan);
    }
    if let Heard::Error(code) = heard {
        haul.error = Some(*code);
    }
    haul.settled |= heard.statement::<Settlement>().is_some();
    if let Some(payment) = heard.statement::<Payment>() {
        haul.paid = payment.total;
        liar.credit(&payment);
        if haul.invoices <= plan.honest_windows {
            deliver(liar, haul, plan);
        }
    }
}

/// One window; the one behind the honest ones has the false invoice.
fn deliver(liar: &mut RawSeller, haul: &mut Haul, plan: &SellerPlan) {
    let payloads: Vec<&[u8]> = plan.window.iter().map(Vec::as_slice).collect();
    liar.send_messages(&payloads);
    liar.send_cut();
    let honest = liar.invoice();
    haul.due = honest.due;
    haul.messages = honest.end();
    let invoice = if haul.invoices < plan.honest_windows { honest } else { falsify(liar, honest, plan.theft) };
    liar.send_invoice(invoice);
    haul.invoices = haul.invoices.saturating_add(1);
}

fn falsify(liar: &mut RawSeller, mut invoice: Invoice, theft: SellerTheft) -> Invoice {
    match theft {
        SellerTheft::Undelivered => {
            liar.count(&[b"never sent"]);
            invoice = liar.invoice();
        }
        SellerTheft::WrongDigest => invoice.digest = Digest([0x5a; 32]),
        SellerTheft::HigherPrice => invoice.due = Amount::new(invoice.due.get().saturating_add(1)),
        SellerTheft::DeniesPayment => (invoice.paid, invoice.paid_by) = (Amount::ZERO, None),
    }
    invoice
}

/// Writes what waits, then reads something; `None` at the end of the connection.
fn exchange(stream: &mut TcpStream, line: &mut Line) -> io::Result<Option<Vec<u8>>> {
    let gone = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
        )
    };
    let mut buffer = vec![0; READ];
    let read = match stream.write_all(&line.take()) {
        Err(error) if !gone(&error) => return Err(error),
        // What the other side wrote before it went can still be read.
        Ok(()) | Err(_) => stream.read(&mut buffer),
    };
    match read {
        Ok(0) => Ok(None),
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
