//! What a purse has signed: durable before it leaves, so that it is never signed twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use iota_sdk_types::{ObjectId, SenderSignedTransaction, TransactionDigest};
use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, Bytes32};
use sdpp_proto::hash::labelled;
use sdpp_rail::{RailError, Store, StoreError};

use crate::deed::{Deed, Gas, Window, gas_of};
use crate::limits;
use crate::receipt::Receipt;

/// Prefix of what was sent, by its name.
const SENT: &str = "iota/sent/";
/// Prefix of the highest version of each coin that was signed away.
const SPENT: &str = "iota/spent/";
/// Prefix of the proofs that are kept.
const PROOF: &str = "iota/proof/";
/// What is recorded has a name that begins so: its proof is kept.
pub(crate) const RECORD: &str = "record/";
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
    /// It was not executed in its epoch, and no node of a later one knows it. Another one takes its place, which takes the same
    /// coins: whatever nodes say, one of the two is executed at most.
    #[n(2)]
    Void,
    /// Its coins went elsewhere, and nobody knows by what: nodes have dropped it, or somebody else has the key. Nothing takes its
    /// place.
    #[n(3)]
    Lost,
    /// It was executed and failed: nothing moved but gas. Nothing takes its place, for that it failed is a node's word.
    #[n(4)]
    Failed,
    /// Done, and whoever asked for it has heard so: of a record, its proof is kept.
    #[n(5)]
    Closed,
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
    /// The signed transaction (BCS), while its coins matter.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) signed: Option<Vec<u8>>,
    /// Under which number a gas station has set its gas aside; none where the payer pays it.
    #[n(5)]
    pub(crate) reservation: Option<u64>,
    /// Digests of what was signed for it before and called void.
    #[n(6)]
    #[cbor(default)]
    pub(crate) earlier: Vec<Bytes32>,
}

/// What was begun under a name and not closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begun {
    /// Its name.
    pub name: String,
    /// The transaction that was signed for it last.
    pub digest: TransactionDigest,
    /// It is done or still can be. Otherwise it failed by a node's word, or nobody knows: it is never done anew.
    pub can_be: bool,
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

    /// The coins that it takes.
    ///
    /// # Errors
    /// [`RailError::Dishonest`].
    pub(crate) fn gas(&self) -> Result<Gas, RailError> {
        let transaction = self.transaction()?;
        gas_of(transaction.signed_transaction().transaction())
            .ok_or(RailError::Dishonest("the purse holds a transaction of another kind"))
    }

    /// The digest, as nodes name it.
    pub(crate) const fn digest(&self) -> TransactionDigest {
        TransactionDigest::new(self.digest.0)
    }

    /// Digests of what was signed before.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = TransactionDigest> {
        self.earlier.iter().map(|digest| TransactionDigest::new(digest.0))
    }

    /// The same with its own, for what takes its place.
    pub(crate) fn with_earlier(&self) -> Vec<Bytes32> {
        let last = limits::EARLIER_MAX.saturating_sub(1);
        let kept = self.earlier.len().saturating_sub(last);
        self.earlier.iter().skip(kept).copied().chain([self.digest]).collect()
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
    /// What an earlier life has left open.
    left: Vec<String>,
    /// The version of each coin that was signed away last, and the epoch in which it was.
    spent: BTreeMap<ObjectId, (u64, u64)>,
    /// Records whose proof is not kept yet, the oldest first.
    unproven: VecDeque<(String, Bytes32)>,
    frozen: bool,
}

fn decoded(value: &[u8]) -> Option<Sent> {
    codec::decode(value, limits::SENT_BYTES_MAX).ok()
}

impl Sheets {
    /// Reads what is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn open(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let bad = || StoreError::Failed("the purse's store holds something else".into());
        let (mut open, mut spent, mut unproven) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        for (key, value) in heads(store.as_ref(), SENT)? {
            let (name, sent) = (key.get(SENT.len()..).unwrap_or_default().to_owned(), decoded(&value).ok_or_else(bad)?);
            match sent.fate {
                Fate::Open => drop(open.insert(name, sent)),
                Fate::Done if name.starts_with(RECORD) => unproven.push_back((name, sent.digest)),
                Fate::Done | Fate::Void | Fate::Lost | Fate::Failed | Fate::Closed => {}
            }
        }
        for (key, value) in heads(store.as_ref(), SPENT)? {
            let id = key.get(SPENT.len()..).and_then(|id| id.parse().ok()).ok_or_else(bad)?;
            let (version, epoch) = value.as_slice().split_first_chunk().ok_or_else(bad)?;
            let epoch = epoch.try_into().map_err(|_| bad())?;
            spent.insert(id, (u64::from_be_bytes(*version), u64::from_be_bytes(epoch)));
        }
        let left = open.keys().cloned().collect();
        Ok(Self { store, open, left, spent, unproven, frozen: false })
    }

    /// What was sent under a name, if anything.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: the store cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Sent>, RailError> {
        if let Some(sent) = self.open.get(name) {
            return Ok(Some(sent.clone()));
        }
        let Some(head) = self.store.head(&format!("{SENT}{name}")).map_err(|_| RailError::Unavailable)? else {
            return Ok(None);
        };
        decoded(&head).map(Some).ok_or(RailError::Dishonest("the purse's store holds something else"))
    }

    /// Names of what is not over.
    pub(crate) fn open_names(&self) -> impl Iterator<Item = &String> {
        self.open.keys()
    }

    /// What begins so and is not closed.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: the store cannot be read.
    pub(crate) fn begun(&self, prefix: &str) -> Result<Vec<Begun>, RailError> {
        let found = heads(self.store.as_ref(), &format!("{SENT}{prefix}")).map_err(|_| RailError::Unavailable)?;
        let begun = |(key, value): (String, Vec<u8>)| {
            let sent = decoded(&value).filter(|sent| sent.fate != Fate::Closed)?;
            let can_be = matches!(sent.fate, Fate::Open | Fate::Void | Fate::Done);
            Some(Begun { name: key.get(SENT.len()..)?.to_owned(), digest: sent.digest(), can_be })
        };
        Ok(found.into_iter().filter_map(begun).collect())
    }

    /// Names of what an earlier life has left open. They are told once.
    pub(crate) fn take_left(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left)
    }

    /// Records whose proofs are to be fetched: the oldest, which go to the end of the line.
    pub(crate) fn next_unproven(&mut self, max: usize) -> Vec<TransactionDigest> {
        let count = self.unproven.len().min(max);
        self.unproven.rotate_left(count);
        let next = self.unproven.iter().rev().take(count);
        next.map(|(_, digest)| TransactionDigest::new(digest.0)).collect()
    }

    /// Coins of what is not over: nothing else is signed with them.
    pub(crate) fn coins(&self) -> BTreeSet<ObjectId> {
        let gas = self.open.values().filter_map(|sent| sent.gas().ok());
        gas.flat_map(|gas| gas.versions()).map(|(id, _)| id).collect()
    }

    /// Whether this version of a coin was signed away before, in this epoch or later. Behind that it locks nothing: of all that
    /// was signed with it one is executed at most.
    pub(crate) fn is_spent(&self, coin: &ObjectId, version: u64, epoch: u64) -> bool {
        self.spent.get(coin).is_some_and(|(spent, of)| *spent >= version && *of >= epoch)
    }

    /// A transaction that was signed, with its coins: durable before this comes back.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: it is not durable, and must not leave. Nothing is signed any more then.
    pub(crate) fn sign(
        &mut self,
        name: &str,
        sent: &Sent,
        (coins, epoch): (&[(ObjectId, u64)], u64),
    ) -> Result<(), RailError> {
        if coins.iter().any(|(id, version)| self.is_spent(id, *version, epoch)) {
            return Err(RailError::Unavailable);
        }
        self.write(|store| {
            for (id, version) in coins {
                store.put(&format!("{SPENT}{id}"), &[version.to_be_bytes(), epoch.to_be_bytes()].concat())?;
            }
            store.put(&format!("{SENT}{name}"), &codec::encode(sent))
        })?;
        self.spent.extend(coins.iter().map(|(id, version)| (*id, (*version, epoch))));
        self.open.insert(name.to_owned(), sent.clone());
        Ok(())
    }

    /// How this transaction ended, durably; false where the name has another one by now, or that was known. What was called void
    /// may turn out to be done, also after another one has taken its place.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub(crate) fn end(&mut self, name: &str, digest: &TransactionDigest, fate: Fate) -> Result<bool, RailError> {
        let Some(sent) = self.get(name)? else { return Ok(false) };
        let is_free = match sent.fate {
            Fate::Open | Fate::Lost => sent.fate != fate,
            Fate::Void => matches!(fate, Fate::Done | Fate::Failed | Fate::Lost),
            Fate::Done | Fate::Failed | Fate::Closed => false,
        };
        let is_earlier = fate == Fate::Done && sent.earlier().any(|earlier| earlier == *digest);
        if !is_free || (sent.digest() != *digest && !is_earlier) {
            return Ok(false);
        }
        let signed = sent.signed.clone().filter(|_| matches!(fate, Fate::Void | Fate::Lost));
        let sent = Sent { fate, signed, digest: Bytes32((*digest).into()), ..sent };
        self.write(|store| store.put(&format!("{SENT}{name}"), &codec::encode(&sent)))?;
        self.open.remove(name);
        if fate == Fate::Done && name.starts_with(RECORD) {
            self.unproven.push_back((name.to_owned(), sent.digest));
        }
        Ok(true)
    }

    /// Whoever asked for this has heard what became of it.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub(crate) fn close(&mut self, name: &str) -> Result<(), RailError> {
        let is_over = |sent: &Sent| matches!(sent.fate, Fate::Done | Fate::Failed | Fate::Lost);
        let Some(sent) = self.get(name)?.filter(is_over) else { return Ok(()) };
        self.write(|store| store.put(&format!("{SENT}{name}"), &codec::encode(&Sent { fate: Fate::Closed, ..sent })))
    }

    /// What is kept of a transaction that was executed.
    ///
    /// # Errors
    /// [`RailError`].
    pub(crate) fn proof(&self, digest: &TransactionDigest) -> Result<Option<Receipt>, RailError> {
        kept_proof(self.store.as_ref(), digest)
    }

    /// Keeps it, durably.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub(crate) fn keep_proof(&mut self, digest: &TransactionDigest, receipt: &Receipt) -> Result<(), RailError> {
        let of = self.unproven.iter().position(|(_, of)| TransactionDigest::new(of.0) == *digest);
        let name = of.and_then(|of| self.unproven.get(of)).map(|(name, _)| name.clone());
        let sent = name.as_deref().map(|name| self.get(name)).transpose()?.flatten();
        self.write(|store| {
            if let (Some(name), Some(sent)) = (&name, sent) {
                store.put(&format!("{SENT}{name}"), &codec::encode(&Sent { fate: Fate::Closed, ..sent }))?;
            }
            store.put(&key_of(digest), &codec::encode(receipt))
        })?;
        of.and_then(|of| self.unproven.remove(of));
        Ok(())
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Store) -> Result<(), StoreError>) -> Result<(), RailError> {
        if self.frozen {
            return Err(RailError::Unavailable);
        }
        let written = write(self.store.as_mut()).and_then(|()| self.store.flush());
        written.map_err(|error| {
            tracing::error!(%error, "the purse cannot be written: nothing is signed any more until the program is started again");
            self.frozen = true;
            RailError::Unavailable
        })
    }
}

/// What a purse's store has kept of a transaction that recorded something, for whoever has the store and no purse.
///
/// # Errors
/// [`RailError`]: the store cannot be read, or holds something else.
pub fn kept_proof(store: &dyn Store, digest: &TransactionDigest) -> Result<Option<Receipt>, RailError> {
    let kept = store.head(&key_of(digest)).map_err(|_| RailError::Unavailable)?;
    let kept = kept.map(|kept| codec::decode(&kept, limits::RECEIPT_BYTES_MAX)).transpose();
    kept.map_err(|_| RailError::Dishonest("the proof that is kept is none"))
}

fn key_of(digest: &TransactionDigest) -> String {
    format!("{PROOF}{digest}")
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

#[cfg(test)]
mod tests {
    use sdpp_rail::MemoryDisk;

    use super::*;

    fn sent(number: u8) -> Sent {
        Sent {
            what: Bytes32([1; 32]),
            digest: Bytes32([number; 32]),
            fate: Fate::Open,
            signed: None,
            reservation: None,
            earlier: Vec::new(),
        }
    }

    #[test]
    fn a_late_word_about_one_transaction_does_not_end_the_next_one_of_its_name() {
        let disk = MemoryDisk::new();
        let mut sheets = Sheets::open(Box::new(disk.open())).unwrap();
        sheets.sign("pay", &sent(1), (&[], 0)).unwrap();
        let [first, second] = [1, 2].map(|number| TransactionDigest::new([number; 32]));
        assert_eq!(sheets.end("pay", &first, Fate::Failed), Ok(true));
        sheets.sign("pay", &sent(2), (&[], 0)).unwrap();
        for fate in [Fate::Done, Fate::Failed, Fate::Lost] {
            assert_eq!(sheets.end("pay", &first, fate), Ok(false));
        }
        assert_eq!(sheets.end("pay", &second, Fate::Done), Ok(true));
        assert_eq!(sheets.end("pay", &second, Fate::Failed), Ok(false), "it is over");
        // A crash takes none of it.
        disk.crash();
        let sheets = Sheets::open(Box::new(disk.open())).unwrap();
        assert_eq!(sheets.get("pay").unwrap().map(|sent| sent.fate), Some(Fate::Done));
    }

    #[test]
    fn what_is_unproven_is_asked_for_in_turn_and_once_it_is_kept_no_more() {
        let disk = MemoryDisk::new();
        let mut sheets = Sheets::open(Box::new(disk.open())).unwrap();
        for number in 1..=3 {
            let name = format!("{RECORD}{number}");
            sheets.sign(&name, &sent(number), (&[], 0)).unwrap();
            sheets.end(&name, &TransactionDigest::new([number; 32]), Fate::Done).unwrap();
        }
        let mut asked: Vec<_> = (0..3).flat_map(|_| sheets.next_unproven(1)).collect();
        asked.sort_unstable_by_key(|digest| *digest.bytes());
        assert_eq!(asked, [1, 2, 3].map(|number| TransactionDigest::new([number; 32])));
        let receipt = Receipt { transaction: vec![1], effects: vec![2], checkpoint: Some(3) };
        sheets.keep_proof(&asked[0], &receipt).unwrap();
        drop(sheets);
        disk.crash();
        let mut sheets = Sheets::open(Box::new(disk.open())).unwrap();
        assert_eq!((sheets.next_unproven(9).len(), sheets.proof(&asked[0])), (2, Ok(Some(receipt))));
    }
}
