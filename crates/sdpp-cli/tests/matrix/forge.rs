//! What no user of the programs does: a crowd of accounts, and a ledger's key in the wrong hands.

use std::sync::Arc;

use sdpp_ledger::http::{ClientOptions, HttpLedger, HttpWitness};
use sdpp_ledger::{LedgerService as _, WitnessError, WitnessService as _};
use sdpp_log::{Checkpoint, Hash, Note, NoteSigner, Refusal, VerifierKey};
use sdpp_proto::identity::SigningKey;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::kit::*;
use crate::market::{Market, Who};

/// Entries that are there before a sale which has more than what is left to a full tile.
const NEARLY_FULL: u64 = 245;

struct Forger(SigningKey);

impl NoteSigner for Forger {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// Has the ledger give its money to one account after the other, until a tile is nearly full.
pub(crate) fn fill(market: &mut Market) {
    let runtime = Runtime::new().unwrap();
    let http = HttpLedger::new(&market.url(Who::Ledger), ClientOptions::new(runtime.handle().clone())).unwrap();
    let size = |note: Arc<str>| Checkpoint::parse(Note::parse(note.as_bytes()).unwrap().text()).unwrap().size();
    let now = runtime.block_on(http.checkpoint()).unwrap();
    for number in size(now)..NEARLY_FULL {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let account = SigningKey::from_seed(&Zeroizing::new(seed)).public();
        let given = runtime.block_on(http.grant(&account)).unwrap();
        assert!(given.is_some());
    }
}

/// Shows the witness another history of the same size, until it has said what it thinks of that.
pub(crate) fn fork(market: &mut Market) {
    let runtime = Runtime::new().unwrap();
    let options = || ClientOptions::new(runtime.handle().clone());
    let log: VerifierKey = market.log.parse().unwrap();
    let http = HttpLedger::new(&market.url(Who::Ledger), options()).unwrap();
    // An empty log has one root only.
    let account = SigningKey::from_seed(&Zeroizing::new([7; 32])).public();
    runtime.block_on(http.grant(&account)).unwrap();
    let note = runtime.block_on(http.checkpoint()).unwrap();
    let size = Checkpoint::parse(Note::parse(note.as_bytes()).unwrap().text()).unwrap().size();
    let key = sdpp::identity::read(market.folder.path("ledger/ledger/key")).unwrap();
    let forged = Checkpoint::new(log.name(), size, Hash([7; 32])).unwrap();
    let mut forged = Note::new(&forged.to_string()).unwrap();
    forged.sign(&log, &Forger(key)).unwrap();
    let witness = HttpWitness::new(&market.url(Who::Witness), market.cosigner.parse().unwrap(), options()).unwrap();
    until(|| {
        market.tend();
        match runtime.block_on(witness.cosign(size, &[], &forged.to_string())) {
            Err(WitnessError::Refused(Refusal::Fork { .. })) => true,
            Err(WitnessError::Unavailable) => false,
            other => panic!("a fork was met by {other:?}"),
        }
    });
    // Whoever looks after the witness is told once, with both notes.
    market.disarm();
    market.restart(Who::Witness);
    until(|| market.said_by(Who::Witness).contains("ledger     sdpp ledger serve"));
    let said = market.said_by(Who::Witness);
    assert_eq!(said.matches("signed two histories").count(), 1, "{said}");
}
