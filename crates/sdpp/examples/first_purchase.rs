//! Buys messages and writes them to standard output, a line each. It pays with the trial money of a ledger:
//! `cargo run -p sdpp --example first_purchase -- ADDRESS COUNT [HOME [LEDGER]]`, with the address that `first_sale` prints.
#![allow(clippy::print_stderr, reason = "it is a program")]

use std::{env, error::Error, path::PathBuf, sync::Arc};

use sdpp::buyer::{Buyer, Request, Settings};
use sdpp::rail::{Durability, SqliteStore};
use sdpp::sink::{Encoding, Form, PipeSink};
use sdpp::{address::Address, identity, journal::Journal};
use sdpp_ledger::http::{ClientOptions, HttpLedger};
use sdpp_ledger::{LedgerClient, RAIL_VOUCHER, VoucherPayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: Address = env::args().nth(1).ok_or("say where to buy: sdpp://KEY@HOST:PORT/TOPIC")?.parse()?;
    let count = env::args().nth(2).ok_or("say how many messages")?.parse()?;
    let home = PathBuf::from(env::args().nth(3).unwrap_or_else(|| ".".into()));
    let url = env::args().nth(4).unwrap_or_else(|| "http://127.0.0.1:7420".into());
    let store = |name| SqliteStore::open(home.join(name), Durability::Power);
    let key = identity::read_or_create(home.join("buyer.key"))?;

    let ledger = HttpLedger::new(&url, ClientOptions::new(tokio::runtime::Handle::current()))?;
    ledger.grant(&key.public()).await?.ok_or("the ledger gives no trial money")?;
    let client = Arc::new(LedgerClient::at_first_sight(ledger, Box::new(store("buyer-ledger.db")?)).await?);
    let payer = Arc::new(VoucherPayer::new(client, key.clone()));

    let listener = Arc::new(|event: &_| eprintln!("{event:?}"));
    let journal = Journal::start(store("buyer.db")?)?;
    let buyer = Buyer::new(Settings { listener, ..Settings::new(key, payer, RAIL_VOUCHER, journal) });
    let mut sink = PipeSink::stdout(Form::Lines(Encoding::Raw))?;
    let request = Request::new(address.topic()?, count);
    let bought = buyer.buy(&address.peer(), &request, &mut sink, sdpp::never()).await?;
    eprintln!("{} messages for {}, settled: {}", bought.delivered, bought.paid, bought.is_settled());
    Ok(())
}
