//! Audits all orders of a buyer's journal, off line: rebuilds every charge, and names the first false statement and who
//! made it. `cargo run -p sdpp --example audit_purchases -- HOME`, where `first_purchase` has bought.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::{env, error::Error, path::PathBuf};

use sdpp::audit::Trust;
use sdpp::journal::{Journal, order_stream};
use sdpp::rail::{Durability, SqliteStore};
use sdpp::{bundle, buyer, identity};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let home = PathBuf::from(env::args().nth(1).unwrap_or_else(|| ".".into()));
    let key = identity::read(home.join("buyer.key"))?;
    let journal = Journal::start(SqliteStore::open(home.join("buyer.db"), Durability::Power)?)?;
    for order in buyer::orders(&journal, &key).await? {
        let entries = journal.read(order_stream(&order.order)).await?;
        // Nobody is believed but the seller's key. With the ledger's key in `log`, and its evidence in the bundle, its
        // records are checked too; with the messages, every digest.
        let report = bundle::of(&entries).audit(&Trust { seller: order.seller, log: None });
        println!("order {} of {}\n{report}", order.order, order.topic);
    }
    Ok(())
}
