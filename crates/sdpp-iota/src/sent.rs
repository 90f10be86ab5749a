//! What a purse has signed: durable before it leaves, so that it is never signed twice.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk_types::{ObjectId, SenderSignedTransaction, TransactionDigest};
use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, Bytes32};
use sdpp_proto::hash::labelled;
use sdpp_rail::{RailError, Store, StoreError};

use crate::deed::{Deed, Window, gas_of};
use crate::limits;
use crate::receipt::Receipt;

/// Prefix of what was sent, by its name.
const SENT: &str = "iota/sent/";
/// Prefix of the highest version of each coin that was signed away.
const SPENT: &str = "iota/spent/";
/// Prefix of the proofs that are kept.
const PROOF: &str = "iota/proof/";
/// Heads read at once.
const PAGE: usize = 1_000;

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Fate {
    /// It is not known yet.
    #[n(0)]
    Open,
    /// It did what it was signed for.
    #[n(1)]
    Done,
    /// It failed on the network, or can never be executed: nothing moved but gas.
    #[n(2)]
    Void,
}

/// One transaction, under the name of what it is for.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Sent {
    /// A digest of what it does: the same name never does anything else.
    #[n(1)]
    pub(crate) what: Bytes32,
    /// The transaction's digest.
    #[n(2)]
    pub(crate) digest: Bytes32,
    /// How it ended.
    #[n(3)]
    pub(crate) fate: Fate,
    /// How many before it failed.
    #[n(4)]
    pub(crate) failed: u8,
    /// The signed transaction (BCS), while its end is not known.
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) signed: Option<Vec<u8>>,
}

impl Sent {
    /// The signed transaction.
    ///
    /// # Errors
    /// [`RailError::Dishonest`]: the store holds something else.
    pub(crate) fn transaction(&self) -> Result<SenderSignedTransaction, RailError> {
        let bytes = self.signed.as_deref().unwrap_or_default();
        bcs::from_bytes(bytes).map_err(|_| RailError::Dishonest("the purse holds no transaction where one should be"))
    }

    /// The digest, as nodes name it.
    pub(crate) const fn digest(&self) -> TransactionDigest {
        TransactionDigest::new(self.digest.0)
    }
}

/// A digest of a deed.
pub(crate) fn what(deed: &Deed) -> Bytes32 {
    let (kind, to, amount, record): (&[u8], [u8; 32], u64, &[u8]) = match deed {
        Deed::Pay(Window { payee, amount, record }) => (b"pay", (*payee).into(), *amount, record),
        Deed::Record(record) => (b"record", [0; 32], 0, record),
        Deed::Keep(record) => (b"keep", [0; 32], 0, record),
        Deed::Divide(parts) => (b"divide", [0; 32], *parts, &[]),
        Deed::Send { to, amount } => (b"send", (*to).into(), *amount, &[]),
    };
    Bytes32(labelled("SDPP/2 iota deed", &[kind, &to, &amount.to_be_bytes(), record]))
}

/// The durable part of a purse.
pub(crate) struct Sheets {
    store: Box<dyn Store>,
    /// What is not over, by name.
    open: BTreeMap<String, Sent>,
    spent: BTreeMap<ObjectId, u64>,
    frozen: bool,
}

impl Sheets {
    /// Reads what is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn open(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let bad = || StoreError::Failed("the purse's store holds something else".into());
        let (mut open, mut spent) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in heads(store.as_ref(), SENT)? {
            let sent: Sent = codec::decode(&value, limits::TRANSACTION_BYTES_MAX).map_err(|_| bad())?;
            if sent.fate == Fate::Open {
                open.insert(key.get(SENT.len()..).unwrap_or_default().to_owned(), sent);
            }
        }
        for (key, value) in heads(store.as_ref(), SPENT)? {
            let id = key.get(SPENT.len()..).and_then(|id| id.parse().ok()).ok_or_else(bad)?;
            spent.insert(id, u64::from_be_bytes(value.as_slice().try_into().map_err(|_| bad())?));
        }
        Ok(Self { store, open, spent, frozen: false })
    }

    /// What was sent under a name, if anything.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: the store cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Sent>, RailError> {
        if let Some(sent) = self.open.get(name) {
            return Ok(Some(sent.clone()));
        }
        let head = self.store.head(&format!("{SENT}{name}")).map_err(|_| RailError::Unavailable)?;
        let decoded = head.map(|bytes| codec::decode(&bytes, limits::TRANSACTION_BYTES_MAX));
        decoded.transpose().map_err(|_| RailError::Dishonest("the purse's store holds something else"))
    }

    /// Names of what is not over.
    pub(crate) fn names(&self) -> Vec<String> {
        self.open.keys().cloned().collect()
    }

    /// Coins of what is not over: nothing else is signed with them.
    pub(crate) fn coins(&self) -> BTreeSet<ObjectId> {
        let signed = self.open.values().filter_map(|sent| sent.transaction().ok());
        let gas = signed.filter_map(|signed| gas_of(signed.signed_transaction().transaction()));
        gas.flat_map(|gas| gas.coins.into_iter().map(|coin| coin.object_id)).collect()
    }

    /// Whether this version of a coin was signed away before.
    pub(crate) fn is_spent(&self, coin: &ObjectId, version: u64) -> bool {
        self.spent.get(coin).is_some_and(|spent| *spent >= version)
    }

    /// A transaction that was signed, with its coins: durable before this comes back.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: it is not durable, and must not leave. Nothing is signed any more then.
    pub(crate) fn sign(&mut self, name: &str, sent: &Sent, coins: &[(ObjectId, u64)]) -> Result<(), RailError> {
        if self.frozen || coins.iter().any(|(id, version)| self.is_spent(id, *version)) {
            return Err(RailError::Unavailable);
        }
        let written = self.write(|store| {
            for (id, version) in coins {
                store.put(&format!("{SPENT}{id}"), &version.to_be_bytes())?;
            }
            store.put(&format!("{SENT}{name}"), &codec::encode(sent))
        });
        self.spent.extend(coins.iter().copied());
        written?;
        self.open.insert(name.to_owned(), sent.clone());
        Ok(())
    }

    /// A transaction was not executed in its epoch and never will be. Its coins are free, at the versions that they had.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub(crate) fn void(&mut self, name: &str, coins: &[(ObjectId, u64)]) -> Result<(), RailError> {
        for (id, version) in coins {
            let before = version.saturating_sub(1);
            if self.store.put(&format!("{SPENT}{id}"), &before.to_be_bytes()).is_err() {
                self.frozen = true;
                return Err(RailError::Unavailable);
            }
            self.spent.insert(*id, before);
        }
        self.end(name, Fate::Void, 0)
    }

    /// How a transaction ended, and whether that is one more failure. Not flushed: what is lost of it is asked for again.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub(crate) fn end(&mut self, name: &str, fate: Fate, failures: u8) -> Result<(), RailError> {
        let Some(sent) = self.open.get(name) else { return Ok(()) };
        let failed = sent.failed.saturating_add(failures);
        let sent = Sent { fate, failed, signed: None, ..sent.clone() };
        if self.store.put(&format!("{SENT}{name}"), &codec::encode(&sent)).is_err() {
            self.frozen = true;
            return Err(RailError::Unavailable);
        }
        self.open.remove(name);
        Ok(())
    }

    /// What is kept of a transaction that was executed.
    ///
    /// # Errors
    /// [`RailError`].
    pub(crate) fn proof(&self, digest: &Bytes32) -> Result<Option<Receipt>, RailError> {
        let kept = self.store.head(&format!("{PROOF}{digest}")).map_err(|_| RailError::Unavailable)?;
        let kept = kept.map(|kept| codec::decode(&kept, limits::RECEIPT_BYTES_MAX)).transpose();
        kept.map_err(|_| RailError::Dishonest("the proof that is kept is none"))
    }

    /// Keeps it, durably.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub(crate) fn keep_proof(&mut self, digest: &Bytes32, receipt: &Receipt) -> Result<(), RailError> {
        let key = format!("{PROOF}{digest}");
        self.write(|store| store.put(&key, &codec::encode(receipt)))
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Store) -> Result<(), StoreError>) -> Result<(), RailError> {
        let written = write(self.store.as_mut()).and_then(|()| self.store.flush());
        written.map_err(|error| {
            tracing::error!(%error, "the purse cannot be written: nothing is signed any more until the program is started again");
            self.frozen = true;
            RailError::Unavailable
        })
    }
}

/// All heads that begin so.
fn heads(store: &dyn Store, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| key.clone());
        let page = store.heads(prefix, after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
