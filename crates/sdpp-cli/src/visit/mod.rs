//! Visiting a seller without buying: `sdpp menu`, `sdpp quote`, `sdpp sample`.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use sdpp::address::Address;
use sdpp::buyer::{self, Asked, BuyError};
use sdpp_proto::buyer::{BuyerConfig, Ended as How};
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::statement::Menu;
use sdpp_proto::suite::Suite;
use sdpp_proto::wire::Ask;
use sdpp_rail::RailError;
use tokio::net::TcpStream;

mod menu;
mod quote;
mod sample;

pub(crate) use menu::MenuArgs;
pub(crate) use quote::{QuoteArgs, option_of, product_of};
pub(crate) use sample::SampleArgs;

use crate::exit::{Exit, failed};
use crate::home::{Home, Role};
use crate::ledger::Failure;

/// How long a seller has to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Which seller, and how sure to be that it is the right one.
#[derive(clap::Args, Clone)]
pub(crate) struct Whom {
    /// Where it is, and who it must be: sdpp://KEY@HOST:PORT/TOPIC.
    address: Address,
    /// Take an address without a key, and with it whoever answers there.
    #[arg(long)]
    any_seller: bool,
}

impl Whom {
    /// The address, which names a key or was said to need none.
    pub(crate) fn address(&self) -> Result<&Address, Failure> {
        if self.address.seller.is_none() && !self.any_seller {
            return Err(no_key(&self.address));
        }
        Ok(&self.address)
    }

    /// Its product.
    pub(crate) fn topic(&self) -> Result<&str, Failure> {
        self.address.topic().map_err(|what| failed(Exit::Usage, what.to_string()))
    }
}

/// What to say of an address without a key.
pub(crate) fn no_key(address: &Address) -> Failure {
    failed(
        Exit::Usage,
        format!(
            "{address} has no key, so anybody could answer there: write sdpp://KEY@…, as the seller gave it to you, or \
             say --any-seller"
        ),
    )
}

/// Asks a seller for its menu and, if `pick` says so, for something more.
pub(crate) async fn ask(
    home: &Home,
    address: &Address,
    pick: impl FnOnce(&Menu) -> Option<Ask>,
) -> Result<Asked, Failure> {
    let config = BuyerConfig {
        key: home.role(Role::Buyer)?.key()?,
        seller: address.seller,
        suites: Suite::ALL.to_vec(),
        pay_moves_money: false,
    };
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address.socket())).await;
    let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let stream = connected.map_err(|error| explain(address, &BuyError::Connection(error)))?;
    buyer::ask(config, stream, pick).await.map_err(|error| explain(address, &error))
}

/// What is wrong, what to do next, and the exit code.
pub(crate) fn explain(address: &Address, error: &BuyError) -> Failure {
    explain_at(&Address { topic: None, ..address.clone() }.to_string(), error)
}

/// The same, for a seller of which no more is known.
pub(crate) fn explain_at(at: &str, error: &BuyError) -> Failure {
    let exit = match error {
        BuyError::Connection(_) => Exit::Unreachable,
        BuyError::Journal(_) | BuyError::Restore(_) | BuyError::NoEntropy(_) => Exit::Storage,
        BuyError::Rail(error) => exit_of_rail(error),
        BuyError::NotOffered(_) | BuyError::Place(_) | BuyError::KeyEnded(_) | BuyError::TermsChanged => Exit::Refused,
        BuyError::Ended(how) => exit_of(how),
        BuyError::Overflow => Exit::Usage,
        BuyError::Sink(_) => Exit::Data,
        BuyError::UnknownOrder(_) => Exit::Refused,
        BuyError::Stopped => Exit::Failed,
    };
    if let BuyError::Ended(How::Offence(Offence::WrongSeller)) = error {
        let what = "another seller answers there, with another key than the address has: nothing was ordered; ask \
                    yours for its new address";
        return failed(exit, format!("{at}: {what}"));
    }
    failed(exit, format!("{at}: {error}"))
}

/// The exit code of how a connection ended.
pub(crate) const fn exit_of(how: &How) -> Exit {
    match how {
        How::Offence(_) => Exit::Offence,
        How::Stopped(Reason::LedgerDishonest) | How::Told(Some(Fault::Reason(Reason::LedgerDishonest))) => {
            Exit::Dishonest
        }
        How::Stopped(Reason::Frozen) => Exit::Storage,
        How::Told(Some(_)) => Exit::Refused,
        How::Stopped(_) | How::Told(None) | How::Settled | How::Withheld => Exit::Unfinished,
    }
}

/// The exit code of what a rail said.
pub(crate) fn exit_of_rail(error: &RailError) -> Exit {
    match error {
        RailError::Unavailable | RailError::Unknown => Exit::Unreachable,
        RailError::Declined(why) if is_of_money(why) => Exit::Money,
        RailError::Declined(_) => Exit::Refused,
        RailError::Dishonest(_) => Exit::Dishonest,
    }
}

/// Whether a rail refused for want of money; its reasons are fixed texts.
fn is_of_money(why: &str) -> bool {
    ["not enough coins", "not enough IOTA", "less than that", "above the deposit"]
        .iter()
        .any(|words| why.contains(words))
}

/// Runs a verb to its end on this thread.
pub(crate) fn wait(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Shows what a seller has.
pub(crate) fn menu(home: &Home, args: &MenuArgs) -> Result<ExitCode, Failure> {
    wait(menu::run(home, args))
}

/// Shows what a purchase would cost, and what would be at risk.
pub(crate) fn quote(home: &Home, args: &QuoteArgs) -> Result<ExitCode, Failure> {
    wait(quote::run(home, args))
}

/// Shows a free sample.
pub(crate) fn sample(home: &Home, args: &SampleArgs) -> Result<ExitCode, Failure> {
    wait(sample::run(home, args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_want_of_money_ends_with_the_code_of_money() {
        for why in [
            "the account has not enough coins for this and its gas",
            sdpp_ledger::Refusal::InsufficientFunds.text(),
            sdpp_ledger::Refusal::VoucherAboveDeposit.text(),
        ] {
            assert_eq!(exit_of_rail(&RailError::Declined(why)), Exit::Money, "{why}");
        }
        for why in ["the channel of this order was closed before", "the contract or its token refuses the call"] {
            assert_eq!(exit_of_rail(&RailError::Declined(why)), Exit::Refused, "{why}");
        }
        assert_eq!(exit_of_rail(&RailError::Unknown), Exit::Unreachable);
    }
}
