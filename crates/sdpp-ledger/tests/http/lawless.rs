//! An operator without rules, over HTTP: it signs and serves whatever is in its list.

use std::sync::Arc;

use sdpp_ledger::http::ServerConfig;
use sdpp_ledger::{
    Answer, Channel, Contradiction, Entry, LedgerHost, LedgerService, Recorded, Refusal, ServiceError, Submitted,
};
use sdpp_log::{
    Checkpoint, Hash, Note, NoteSigner, TileKind, TilePath, TlogProof, Tree, VerifierKey, bundle, leaf_hash,
};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::RailError;

use crate::common::*;
use crate::kit::*;

struct Lawless {
    key: VerifierKey,
    /// What is in its tree.
    logged: Vec<Vec<u8>>,
    /// What it shows of it.
    shown: Vec<Vec<u8>>,
}

struct LogSigner;

impl NoteSigner for LogSigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        test_key(LOG).sign(message)
    }
}

fn ready<T: Send + 'static>(answer: Result<T, ServiceError>) -> Answer<'static, T> {
    Box::pin(std::future::ready(answer))
}

impl Lawless {
    fn new(entries: Vec<Vec<u8>>) -> Self {
        Self { key: log_vkey(), shown: entries.clone(), logged: entries }
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for entry in &self.logged {
            tree.append(leaf_hash(entry));
        }
        tree
    }

    fn note(&self) -> Arc<str> {
        let tree = self.tree();
        let text = Checkpoint::new(ORIGIN, tree.size(), tree.root(tree.size()).unwrap()).unwrap().to_string();
        let mut note = Note::new(&text).unwrap();
        note.sign(&self.key, &LogSigner).unwrap();
        note.to_string().into()
    }

    fn page(&self, from: u64, max: usize) -> Vec<Vec<u8>> {
        self.shown.iter().skip(usize::try_from(from).unwrap()).take(max).cloned().collect()
    }
}

impl LedgerService for Lawless {
    /// Promises, and forgets.
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        let id = Entry::parse(entry).unwrap().id();
        ready(Ok(Submitted { index: self.tree().size() - 1, id, checkpoint: self.note() }))
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        ready(Ok(self.note()))
    }

    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        ready(Ok(self.page(from, max)))
    }

    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        ready(self.tree().inclusion_proof(index, size).map_err(|_| ServiceError::OutOfRange))
    }

    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        ready(self.tree().consistency_proof(old, new).map_err(|_| ServiceError::OutOfRange))
    }
}

impl LedgerHost for Lawless {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn health(&self) -> Answer<'_, ()> {
        ready(Ok(()))
    }

    fn tile(&self, path: TilePath) -> Answer<'_, Vec<u8>> {
        let page = match path.kind() {
            TileKind::Entries => self.page(path.index() * 256, usize::from(path.width())),
            TileKind::Hashes { .. } => return ready(Err(ServiceError::OutOfRange)),
        };
        ready(bundle::encode(&page).map_err(|_| ServiceError::OutOfRange))
    }

    fn balance<'a>(&'a self, _: &'a AssetId, _: &'a PublicKey) -> Answer<'a, Amount> {
        ready(Ok(Amount::MAX))
    }

    fn channel(&self, _: ChannelId) -> Answer<'_, Option<Channel>> {
        ready(Ok(None))
    }

    fn proof(&self, _: u64) -> Answer<'_, TlogProof> {
        ready(Err(ServiceError::OutOfRange))
    }

    fn receipt(&self, _: u64) -> Answer<'_, Vec<u8>> {
        ready(Err(ServiceError::OutOfRange))
    }

    fn record(&self, _: StatementId) -> Answer<'_, Option<Recorded>> {
        ready(Ok(None))
    }
}

fn is_caught(operator: Lawless, acts: bool, what: Contradiction) {
    let runtime = runtime();
    let server = serve(&runtime, Arc::new(operator), ServerConfig::default());
    let client = client(http(&runtime, server.local_addr()));
    let refusal = Err(RailError::Dishonest(what.text()));
    if acts {
        assert_eq!(block_on(client.submit(&issue(PAYER, 1, 77))).map(|_| 0), refusal);
    } else {
        assert_eq!(block_on(client.follow()), refusal);
    }
    let evidence = client.evidence().expect("it is kept");
    assert_eq!(evidence.what, what);
    for note in &evidence.notes {
        policy().check(note.as_bytes(), &sdpp_ledger::Verifier).expect("signed by the operator");
    }
    assert_eq!(block_on(client.look(|_| Ok(()))), Err(RailError::Dishonest(what.text())), "nothing more is believed");
    runtime.block_on(server.stop());
}

#[test]
fn an_operator_without_rules_is_caught_over_http() {
    let bytes = |entries: &[Entry]| entries.iter().map(|entry| entry.bytes().to_vec()).collect::<Vec<_>>();
    let bad = |index, refusal| Contradiction::BadEntry { index, refusal };
    let spent = [tick(1), issue(PAYER, 10, 1), transfer(PAYER, PAYEE, 10, 1), transfer(PAYER, STRANGER, 10, 2)];
    is_caught(Lawless::new(bytes(&spent)), false, bad(3, Refusal::InsufficientFunds));
    is_caught(Lawless::new(bytes(&[tick(2), tick(1)])), false, bad(1, Refusal::TickBackward));
    let mut forged = bytes(&[tick(1), issue(PAYER, 10, 1)]);
    *forged[1].last_mut().unwrap() ^= 1;
    is_caught(Lawless::new(forged), false, bad(1, Refusal::BadSignature));
    // It shows something else than it has logged.
    let mut other = Lawless::new(bytes(&[tick(1), issue(PAYER, 10, 1)]));
    other.shown[1] = issue(PAYER, 1_000_000, 1).bytes().to_vec();
    is_caught(other, false, Contradiction::WrongEntries);
    // And it promises what it has not logged.
    is_caught(Lawless::new(bytes(&[tick(1), issue(PAYER, 10, 1)])), true, Contradiction::BrokenPromise);
}
