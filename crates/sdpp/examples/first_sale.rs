//! Sells every line of a file for one unit each. First, in another terminal: `sdpp ledger serve --dev-grant 1000000`.
//! Then `cargo run -p sdpp --example first_sale -- FILE [HOME [LEDGER]]`: it prints the address to buy at.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::{env, error::Error, path::PathBuf, sync::Arc};

use sdpp::proto::{money::Price, statement::Product};
use sdpp::rail::{Durability, SqliteStore};
use sdpp::seller::{Offer, Seller, Settings};
use sdpp::{address::Address, identity, journal::Journal, source::Lines};
use sdpp_ledger::http::{ClientOptions, HttpLedger};
use sdpp_ledger::{LedgerClient, PayeeConfig, VoucherPayee};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = PathBuf::from(env::args().nth(1).ok_or("name a file")?);
    let home = PathBuf::from(env::args().nth(2).unwrap_or_else(|| ".".into()));
    let url = env::args().nth(3).unwrap_or_else(|| "http://127.0.0.1:7420".into());
    let store = |name| SqliteStore::open(home.join(name), Durability::Power);
    let key = identity::read_or_create(home.join("seller.key"))?;

    // The ledger, as its own replica sees it; its key is trusted at first sight and remembered.
    let ledger = HttpLedger::new(&url, ClientOptions::new(tokio::runtime::Handle::current()))?;
    let (asset, _) = ledger.trial().await?.ok_or("the ledger gives no trial money")?;
    let client = Arc::new(LedgerClient::at_first_sight(ledger, Box::new(store("seller-ledger.db")?)).await?);
    let config = PayeeConfig::new(key.clone(), asset, Some(url));
    let payee = VoucherPayee::new(client, config, Box::new(store("seller-rail.db")?));

    let offer = Offer::new(Product::new("lines", Price::per_message(1)), move |_| Lines::open(&file, None, None))?;
    let journal = Journal::start(store("seller.db")?)?;
    let seller = Seller::start(Settings::new(key.clone(), vec![offer], vec![Arc::new(payee)], journal)).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", Address::new(key.public(), listener.local_addr()?, "lines"));
    seller.serve(listener, sdpp::never()).await;
    Ok(())
}
