//! The channels of an account: those that the chain's newest logs name, and those of the own orders, however long ago they
//! were opened. A node looks through its logs only so far back, and what is locked stays locked for ever unless somebody
//! remembers it.

use std::collections::{BTreeMap, BTreeSet};

use sdpp::bundle::terms_of;
use sdpp::journal::{Journal, ORDERS};
use sdpp_evm::typed::Place;
use sdpp_evm::{Address, Channel, ChannelState, EvmPayer, EvmTerms, Node};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::statement::Terms;
use sdpp_rail::{Funding, Payer as _, RailError};

use super::{Account, RAIL};
use crate::buy::journals::Journals;
use crate::home::Home;
use crate::ledger::Failure;
use crate::text::hex32;

/// Blocks in which channels are looked for; `SDPP_CHANNEL_BLOCKS` says otherwise, for tests.
const BLOCKS: u64 = 50_000;

fn blocks() -> u64 {
    std::env::var("SDPP_CHANNEL_BLOCKS").ok().and_then(|blocks| blocks.parse().ok()).unwrap_or(BLOCKS)
}

/// The channel of an order.
pub(super) struct Ordered {
    pub(super) order: StatementId,
    pub(super) channel: ChannelId,
    pub(super) token: Option<Address>,
    place: Place,
}

impl Ordered {
    fn of(order: StatementId, terms: &Terms) -> Option<Self> {
        let option = Some(&terms.option).filter(|option| option.rail == RAIL)?;
        let evm = EvmTerms::parse(&option.terms).ok()?;
        Some(Self { order, channel: terms.order.channel?, token: evm.token(), place: evm.place() })
    }
}

/// What a buyer's journals know of a contract's channels.
#[derive(Default)]
pub(super) struct Known {
    pub(super) ordered: Vec<Ordered>,
    /// Other contracts of the same chain, and how many orders have their channels there.
    pub(super) elsewhere: BTreeMap<Address, u64>,
}

impl Known {
    /// Reads the journals, for which no key is needed. Those of running purchases are left out: their channels are young.
    pub(super) async fn of(journals: &Journals, place: Place) -> Result<Self, Failure> {
        let mut known = Self::default();
        for (_, journal) in &journals.free {
            known.add(journal, place).await?;
        }
        Ok(known)
    }

    async fn add(&mut self, journal: &Journal, place: Place) -> Result<(), Failure> {
        for stream in journal.streams(ORDERS).await? {
            let order = stream.strip_prefix(ORDERS).and_then(hex32).map(StatementId);
            let terms = terms_of(&journal.read(stream).await?);
            let Some(ordered) = order.zip(terms).and_then(|(order, terms)| Ordered::of(order, &terms)) else {
                continue;
            };
            if ordered.place == place {
                self.ordered.push(ordered);
            } else if ordered.place.chain == place.chain {
                let orders = self.elsewhere.entry(ordered.place.contract).or_insert(0);
                *orders = orders.saturating_add(1);
            }
        }
        Ok(())
    }

    /// The tokens of these orders; none for the coin.
    pub(super) fn tokens(&self) -> BTreeSet<Option<Address>> {
        self.ordered.iter().map(|ordered| ordered.token).collect()
    }

    /// The account's channels as they stand now.
    pub(super) async fn channels(&self, node: &Node, account: Address) -> Result<Vec<(ChannelId, Channel)>, RailError> {
        let mut found = node.channels_of(account, blocks()).await?;
        let mut seen: BTreeSet<ChannelId> = found.iter().map(|(id, _)| *id).collect();
        for Ordered { channel: id, .. } in &self.ordered {
            if !seen.insert(*id) {
                continue;
            }
            let channel = node.channel(id).await?;
            // One that a reorganisation has dropped locks nothing.
            if channel.state != ChannelState::Unused {
                found.push((*id, channel));
            }
        }
        Ok(found)
    }
}

impl Account {
    /// Asks for the close of channels whose orders are over and whose sellers have not closed them: else what is left in
    /// them stays there until a seller comes back, which may be never.
    pub(super) async fn end_what_is_over(
        &self,
        home: &Home,
        (journals, known): (&Journals, &Known),
        payer: &EvmPayer,
    ) -> Result<(), Failure> {
        let mut over = BTreeSet::new();
        for found in journals.orders(home).await?.iter().filter(|found| found.order.state.is_over()) {
            over.insert(found.order.order);
        }
        for Ordered { order, channel: id, .. } in known.ordered.iter().filter(|one| over.contains(&one.order)) {
            let channel = self.node.channel(id).await.map_err(|error| self.explain(error))?;
            if channel.state == ChannelState::Open && channel.payer == payer.account() {
                let funding = Funding { channel: Some(*id), deposit: channel.deposit };
                payer.close(&funding).await.map_err(|error| self.explain(error))?;
                eprintln!(
                    "asked for the close of channel {id}: order {order} is over, and its seller has not closed it"
                );
            }
        }
        Ok(())
    }
}
