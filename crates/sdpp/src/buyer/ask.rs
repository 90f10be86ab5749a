//! What can be had of a seller before there is an order.

use sdpp_proto::buyer::{self as core, Output};
use sdpp_proto::statement::{Menu, Quote, Sample, Signed};
use sdpp_proto::wire::Ask;
use tokio::net::TcpStream;

use super::BuyError;
use crate::link::{Link, Read};
use crate::{entropy, now, sleep_until};

/// What a seller answers before there is an order.
#[derive(Debug)]
pub struct Asked {
    /// The menu.
    pub menu: Signed<Menu>,
    /// The sample, if asked for.
    pub sample: Option<Signed<Sample>>,
    /// The quote, if asked for.
    pub quote: Option<Signed<Quote>>,
}

/// Fetches a menu, and the sample or quote that `pick` asks for, if any.
///
/// # Errors
/// [`BuyError`].
pub async fn ask(
    config: sdpp_proto::buyer::BuyerConfig,
    stream: TcpStream,
    pick: impl FnOnce(&Menu) -> Option<Ask>,
) -> Result<Asked, BuyError> {
    let seed = entropy::draw().map_err(BuyError::NoEntropy)?;
    let mut machine = core::Buyer::new(config, *seed, now());
    let mut link = Link::new(stream).map_err(BuyError::Connection)?;
    let strange = || BuyError::Ended(core::Ended::Told(None));
    let Output::Menu(menu) = next_answer(&mut machine, &mut link).await? else { return Err(strange()) };
    let mut asked = Asked { menu: *menu, sample: None, quote: None };
    if let Some(question) = pick(&asked.menu) {
        machine.ask(question);
        let answer = next_answer(&mut machine, &mut link).await?;
        if let Output::Sample(sample) = answer {
            asked.sample = Some(*sample);
        } else if let Output::Quote(quote) = answer {
            asked.quote = Some(*quote);
        } else {
            return Err(strange());
        }
    }
    link.close().await;
    Ok(asked)
}

/// The machine's next output; frames are moved until there is one.
async fn next_answer(machine: &mut core::Buyer, link: &mut Link) -> Result<Output, BuyError> {
    loop {
        if let Some(output) = machine.poll_output(now()) {
            if let Output::Closed(ended) = output {
                return Err(BuyError::Ended(ended));
            }
            return Ok(output);
        }
        machine.poll_transmit(now(), link.output());
        link.try_write().map_err(BuyError::Connection)?;
        let read = link.try_read().map_err(BuyError::Connection)?;
        let mut moved = false;
        while let Ok(Some(frame)) = link.next_frame() {
            moved = true;
            // An offence shows in the machine's output.
            let _ = machine.handle_frame(now(), frame);
        }
        if read == Read::Closed && !moved {
            machine.hang_up();
        } else if !moved {
            tokio::select! {
                ready = link.ready() => ready.map_err(BuyError::Connection)?,
                () = sleep_until(machine.poll_timeout()) => machine.handle_timeout(now()),
            }
        }
    }
}
