//! `sdpp sample`.

use std::io::Write as _;
use std::process::ExitCode;

use sdpp_proto::message::split_first;
use sdpp_proto::statement::Signing;
use sdpp_proto::wire::Ask;

use super::quote::product_of;
use super::{Whom, ask};
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;

/// Prints a product's free sample, signed by its seller, a message a line.
#[derive(clap::Args)]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    whom: Whom,
}

pub(super) async fn run(home: &Home, args: &SampleArgs) -> Result<ExitCode, Failure> {
    let (address, topic) = (args.whom.address()?, args.whom.topic()?);
    let asked = ask(home, address, |menu| {
        let product = menu.product_by_topic(topic).filter(|product| product.sample)?;
        Some(Ask { product: product.id, quote: None })
    })
    .await?;
    product_of(&asked.menu, topic)?;
    let none = || failed(Exit::Refused, format!("the seller gives no sample of '{topic}'"));
    let sample = asked.sample.ok_or_else(none)?;
    let mut rest = sample.messages.as_slice();
    let mut out = std::io::stdout().lock();
    while !rest.is_empty() {
        let first = split_first(rest, Signing::Window);
        let (message, after) =
            first.ok_or_else(|| failed(Exit::Offence, "the sample is not whole messages: tell the seller"))?;
        rest = after;
        let written = out.write_all(message.bytes).and_then(|()| out.write_all(b"\n"));
        // Whoever closed the pipe has seen enough.
        if written.is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}
