//! A ledger's operator that shows the seller another history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sdpp_ledger::{Answer, LedgerService, LocalLedger, Submitted, WitnessService as _};
use sdpp_log::Hash;
use sdpp_proto::money::Amount;

use super::super::Args;
use super::super::house::{Failure, House};
use super::super::sale;
use super::super::screen::{Screen, grouped};
use super::Outcome;

/// The operator's server: honest until it turns.
struct TwoFaced {
    honest: LocalLedger,
    fork: LocalLedger,
    turned: AtomicBool,
}

impl TwoFaced {
    fn shown(&self) -> &LocalLedger {
        if self.turned.load(Ordering::Relaxed) { &self.fork } else { &self.honest }
    }
}

impl LedgerService for TwoFaced {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        self.shown().submit(entry)
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.shown().checkpoint()
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.shown().entries(from, max)
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.shown().inclusion(index, size)
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.shown().consistency(old, new)
    }
}

pub(in super::super) async fn run(args: &Args) -> Result<bool, Failure> {
    let house = House::build(args).await?;
    sale::introduce(&house);
    crate::say("  In the middle of the sale the ledger's operator shows the seller another history.\n");
    let screen = Screen::new(house.messages(), &house.asset);
    let service = Arc::new(TwoFaced {
        honest: house.ledger.clone(),
        fork: house.forked_ledger().await?,
        turned: AtomicBool::new(false),
    });
    let seller_client = house.client(service.clone())?;
    let serving = sale::serve_with(house.seller_settings(&seller_client, sale::seller_listener(&screen))?)?;
    let journal = house.buyer_journal()?;
    let client = house.client(house.honest())?;
    let settings = house.buyer_settings(&client, journal.clone(), sale::buyer_listener(&screen));
    let turning = tokio::spawn(turn(service.clone(), screen.clone(), house.messages() / 3));
    let stop = tokio::sync::watch::channel(false).0;
    let purchase = sale::buy(&house, settings, serving.address, stop.subscribe()).await?;
    turning.abort();
    serving.stop();
    let seen = screen.finish();
    let fork_refused = ask_witness(&house, &service.fork).await?;
    let evidence = seller_client.evidence();
    // What the seller has on a ledger it can no longer believe: nothing but what it redeemed before.
    let redeemed = seen.redeemed;
    let loss = purchase.due.max(purchase.paid).saturating_sub(redeemed);
    let bound = sale::bound(&house, &house.product());
    let limit = bound.seller_unredeemed.max(bound.seller_exposure);
    let stopped = service.turned.load(Ordering::Relaxed) && purchase.delivered < house.messages();
    let outcome = Outcome {
        thief: format!("the ledger's operator {}", house.policy.log()),
        stopped: format!(
            "after {} messages: the seller refuses to go on{}",
            grouped(u128::from(purchase.delivered)),
            seen.dishonest.map(|what| format!(": {what}")).unwrap_or_default()
        ),
        evidence: match evidence {
            Some(evidence) => format!(
                "the seller keeps {} notes that the operator signed: {}; the witness refused the fork: {}",
                evidence.notes.len(),
                evidence.what.text(),
                if fork_refused { "yes" } else { "NO" },
            ),
            None => "NONE".to_owned(),
        },
        loss,
        bound: limit,
        caught: stopped && fork_refused && evidence.is_some() && purchase.paid > Amount::ZERO,
    };
    let good = outcome.print(&house);
    service.fork.stop();
    Ok(good)
}

/// Turns once a part of the messages is sold.
async fn turn(service: Arc<TwoFaced>, screen: Screen, at: u64) {
    while screen.messages() < at.max(1) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    screen.line("  -- the operator turns --");
    service.turned.store(true, Ordering::Relaxed);
}

/// The operator asks the witness to sign the other history, too.
async fn ask_witness(house: &House, fork: &LocalLedger) -> Result<bool, Failure> {
    let known = house.ledger.checkpoint().await?;
    let size = |note: &str| note.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
    let note = fork.checkpoint().await?;
    let old = size(&known).unwrap_or(0);
    let proof = fork.consistency(old, old).await.unwrap_or_default();
    Ok(house.witness.cosign(old, &proof, &note).await.is_err())
}
