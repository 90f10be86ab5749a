//! `sdpp status`: looks at a running seller or buyer, and tells it what to do.

use std::process::ExitCode;

use serde_json::Value;

use super::Request;
use crate::buy::journals::{JOURNALS, is_running};
use crate::exit::{Exit, exit_of, failed};
use crate::home::{Home, Role, RoleHome};
use crate::ledger::Failure;
use crate::ledger::show::Out;
use sdpp_config::AskedPrice;

/// Looks at a running seller or buyer: orders, money at risk, products. And tells it what to do.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which one.
    #[arg(long = "as", value_enum, default_value = "seller", value_name = "ROLE", global = true)]
    role: Role,
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Takes no new orders of a product; those that run go on.
    Pause {
        /// Its name.
        topic: String,
    },
    /// Takes new orders of a product again.
    Unpause {
        /// Its name.
        topic: String,
    },
    /// Sets the price of the next menu, for new orders.
    Price {
        /// Of which product.
        topic: String,
        /// AMOUNT/MESSAGES like 3/1000, or per bytes or time like 1/1MB, 5/1h.
        price: AskedPrice,
    },
    /// Reads the configuration again (as SIGHUP does); sessions go on.
    Reload,
    /// Settles and ends an order that is live.
    End {
        /// Its id.
        order: String,
    },
    /// Gives up hope of what an order owes: it takes no room in its pool any more.
    WriteOff {
        /// Its id.
        order: String,
    },
}

impl Verb {
    fn request(&self) -> Request {
        match self {
            Self::Pause { topic } => Request::Pause { topic: topic.clone() },
            Self::Unpause { topic } => Request::Unpause { topic: topic.clone() },
            Self::Price { topic, price } => Request::Price { topic: topic.clone(), price: price.to_string() },
            Self::Reload => Request::Reload,
            Self::End { order } => Request::End { order: order.clone() },
            Self::WriteOff { order } => Request::WriteOff { order: order.clone() },
        }
    }
}

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let request = args.verb.as_ref().map_or(Request::Status, Verb::request);
    let rows = ask(home, args.role, &request)?;
    for row in &rows {
        args.out.tell(&line(row), row);
    }
    if rows.is_empty() && !args.out.is_json() {
        crate::say("done");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(unix)]
fn ask(home: &Home, role: Role, request: &Request) -> Result<Vec<Value>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let home = home.role(role)?;
    match role {
        Role::Seller => runtime.block_on(super::call(&super::path(&home), request)),
        Role::Buyer => runtime.block_on(ask_purchases(&home, request)),
        Role::Ledger | Role::Witness | Role::Issuer => {
            Err(failed(Exit::Usage, format!("a {role} has no status: say --as seller or --as buyer")))
        }
    }
}

/// Asks all purchases that run. What is told to one of them is refused by the others.
#[cfg(unix)]
async fn ask_purchases(home: &RoleHome, request: &Request) -> Result<Vec<Value>, Failure> {
    let (mut rows, mut refused, mut done) = (Vec::new(), None, false);
    for number in 1..=JOURNALS {
        // One that was killed leaves its socket behind, with nobody there.
        if !is_running(home, number) {
            continue;
        }
        match super::call(&super::purchase(home, number), request).await {
            Ok(more) => {
                rows.extend(more);
                done = true;
            }
            // It does not listen yet, or not any more.
            Err(error) if exit_of(error.as_ref()) == Some(Exit::Unreachable) => {}
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        _ if done => Ok(rows),
        Some(error) => Err(error),
        None => Err(failed(Exit::Unreachable, "no purchase runs here: start `sdpp buy`, or name another --home")),
    }
}

#[cfg(not(unix))]
fn ask(_: &Home, _: Role, _: &Request) -> Result<Vec<Value>, Failure> {
    Err("a running program can be looked at only where there are Unix sockets; see --metrics".into())
}

/// A row for people: what it is, then its fields.
fn line(row: &Value) -> String {
    let Value::Object(fields) = row else { return row.to_string() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let kind = fields.get("kind").map(text).unwrap_or_default();
    let rest = fields.iter().filter(|(name, value)| *name != "kind" && !value.is_null());
    let rest: Vec<String> = rest.map(|(name, value)| format!("{name} {}", text(value))).collect();
    format!("{kind:<9} {}", rest.join(", "))
}
