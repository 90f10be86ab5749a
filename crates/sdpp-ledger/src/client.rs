//! What buyers and sellers hold of a ledger: a replica that believes nothing.
//!
//! ```text
//! checkpoint ──► log's signature, quorum of witnesses ──► grows out of the last one ──► kept
//!            ──► entries in between ──► lead to its root ──► signatures, rules ──► replica
//! ```
//! Whatever contradicts what was signed before is kept as [`Evidence`]; from then on the client
//! refuses everything with [`RailError::Dishonest`].

use std::fmt;
use std::sync::{Arc, OnceLock};

use sdpp_log::{
    Checkpoint, Frontier, Hash, Policy, SignedCheckpoint, leaf_hash, peaks_before, verify_consistency, verify_inclusion,
};
use sdpp_proto::identity::PublicKey;
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{MemoryStore, RailError, Reply, Standing, Standings, Store, StoreError};
use tokio::sync::Mutex;

use crate::entry::{Body, Entry};
use crate::evidence::{Contradiction, Evidence};
use crate::fold::{Fold, FoldError};
use crate::keys::Verifier;
use crate::limits;
use crate::refusal::Place;
use crate::service::{LedgerService, ServiceError, Submitted};

/// Why a client does not start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// The log's key is not an acceptable Ed25519 key.
    BadKey,
    /// The store cannot be read.
    Store(StoreError),
    /// What the store remembers is not a checkpoint of this log.
    WrongState,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadKey => f.write_str("the log's key is not an acceptable Ed25519 key"),
            Self::Store(error) => error.fmt(f),
            Self::WrongState => {
                f.write_str("what the store remembers is not a checkpoint of this log: another has its name")
            }
        }
    }
}

impl std::error::Error for ClientError {}

/// A checkpoint that was accepted.
#[derive(Clone)]
struct Known {
    note: Arc<str>,
    checkpoint: Checkpoint,
    /// By the policy of now: one that is remembered may have been accepted by another.
    acceptable: bool,
}

struct Replica {
    /// The newest checkpoint accepted; the replica may still be on its way there.
    known: Option<Known>,
    frontier: Frontier,
    fold: Fold,
    /// The own store failed in the middle of a page: what is in memory is not what it has.
    broken: bool,
}

/// A follower of one ledger. Shared by all rails and records of a role.
pub struct LedgerClient {
    service: Arc<dyn LedgerService>,
    policy: Policy,
    head: String,
    peaks: String,
    replica: Mutex<Replica>,
    evidence: OnceLock<Evidence>,
}

impl LedgerClient {
    /// A client that trusts by this policy. With a store it remembers the last checkpoint, so that
    /// a ledger cannot tell it another history after a restart, and the state that it has folded, so
    /// that it goes on from there. The policy may be another than it was, about the same log: what is
    /// remembered stays, and what comes must satisfy the new one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(
        service: Arc<dyn LedgerService>,
        policy: Policy,
        store: Option<Box<dyn Store>>,
    ) -> Result<Self, ClientError> {
        let log = PublicKey::from_bytes(*policy.log().public()).map_err(|_| ClientError::BadKey)?;
        let origin = policy.log().name();
        let (head, peaks) = (format!("ledger-client/{origin}"), format!("ledger-client-peaks/{origin}"));
        let store = store.unwrap_or_else(|| Box::new(MemoryStore::new()));
        let mut known = None;
        if let Some(bytes) = store.head(&head).map_err(ClientError::Store)? {
            let note = String::from_utf8(bytes).map_err(|_| ClientError::WrongState)?;
            let checkpoint = signed(&policy, &note).ok_or(ClientError::WrongState)?;
            let acceptable = accept(&policy, &note).is_some();
            known = Some(Known { note: note.into(), checkpoint, acceptable });
        }
        let stored_peaks = store.head(&peaks).map_err(ClientError::Store)?.unwrap_or_default();
        let fold = Fold::open(origin, log, store).map_err(ClientError::Store)?;
        let frontier = read_frontier(fold.size(), &stored_peaks).ok_or(ClientError::WrongState)?;
        let behind = known.as_ref().map_or(0, |known| known.checkpoint.size());
        if fold.size() > behind {
            return Err(ClientError::WrongState);
        }
        let replica = Mutex::new(Replica { known, frontier, fold, broken: false });
        Ok(Self { service, policy, head, peaks, replica, evidence: OnceLock::new() })
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        self.policy.log().name()
    }

    /// Whom it trusts.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How the ledger was caught, if it was.
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.get()
    }

    /// Follows the log to its newest checkpoint; gives the number of entries.
    ///
    /// # Errors
    /// [`RailError::Unavailable`], [`RailError::Dishonest`].
    pub async fn follow(&self) -> Result<u64, RailError> {
        self.honest()?;
        let mut replica = self.replica.lock().await;
        let note = self.service.checkpoint().await.map_err(|_| RailError::Unavailable)?;
        self.follow_to(&mut replica, note).await?;
        Ok(replica.fold.size())
    }

    /// Follows the log, then looks at the state.
    ///
    /// # Errors
    /// Those of [`follow`](Self::follow).
    pub async fn fresh<T>(&self, look: impl FnOnce(&Fold) -> Result<T, StoreError> + Send) -> Result<T, RailError> {
        self.follow().await?;
        self.look(look).await
    }

    /// Looks at the state as of the last [`follow`](Self::follow).
    ///
    /// # Errors
    /// [`RailError::Dishonest`]; [`RailError::Unavailable`] if the own store cannot be read.
    pub async fn look<T>(&self, look: impl FnOnce(&Fold) -> Result<T, StoreError> + Send) -> Result<T, RailError> {
        self.honest()?;
        look(&self.replica.lock().await.fold).map_err(unreadable)
    }

    /// The standing of a key after a fresh look: by one look-up in the replica, which has met every
    /// entry of the log.
    ///
    /// # Errors
    /// Those of [`follow`](Self::follow).
    pub async fn standing(&self, key: &PublicKey) -> Result<Standing, RailError> {
        self.fresh(|fold| fold.standing(key)).await
    }

    /// The newest accepted checkpoint, as it was signed and cosigned.
    pub async fn checkpoint(&self) -> Option<Arc<str>> {
        self.replica.lock().await.known.as_ref().map(|known| known.note.clone())
    }

    /// Submits an entry and follows the log until it is seen there. A record that is known gives
    /// the place of the first.
    ///
    /// # Errors
    /// [`RailError`]; after [`RailError::Unknown`] submitting the same entry again is safe and tells.
    pub async fn submit(&self, entry: &Entry) -> Result<Place, RailError> {
        self.honest()?;
        failpoint::before(Deed::Submit);
        let answer = self.service.submit(entry.bytes()).await;
        failpoint::after(Deed::Submit);
        match answer {
            Ok(submitted) => self.see(entry, &submitted).await,
            Err(ServiceError::Unknown) => self.find(entry).await?.ok_or(RailError::Unknown),
            // Not to be believed either: look before saying that nothing moved.
            Err(ServiceError::Refused(refusal)) => self.find(entry).await?.ok_or(RailError::Declined(refusal.text())),
            Err(ServiceError::Unavailable | ServiceError::Frozen | ServiceError::OutOfRange) => {
                Err(RailError::Unavailable)
            }
        }
    }

    /// An entry of the replica, fetched again and proved to be in its tree; none behind its end.
    ///
    /// # Errors
    /// [`RailError::Unavailable`], [`RailError::Dishonest`].
    pub async fn entry(&self, index: u64) -> Result<Option<Entry>, RailError> {
        Ok(self.entries(index, 1).await?.pop())
    }

    /// Entries of the replica from an index on, fetched again and proved to be in its tree: at least
    /// one if there is one, at most `max` and at most [`limits::ENTRIES_PAGE_MAX`].
    ///
    /// # Errors
    /// [`RailError::Unavailable`], [`RailError::Dishonest`].
    pub async fn entries(&self, from: u64, max: usize) -> Result<Vec<Entry>, RailError> {
        self.honest()?;
        let (whole, known) = {
            let replica = self.replica.lock().await;
            (replica.frontier.clone(), replica.known.clone())
        };
        let left = usize::try_from(whole.size().saturating_sub(from)).unwrap_or(usize::MAX);
        let max = max.min(limits::ENTRIES_PAGE_MAX).min(left);
        let Some(Known { note, .. }) = known.filter(|_| max > 0) else {
            return Ok(Vec::new());
        };
        let wrong = || self.caught(Contradiction::WrongEntries, [&note], None);
        let page = self.service.entries(from, max).await;
        let mut page = page.map_err(|error| withheld(error).unwrap_or_else(wrong))?;
        page.truncate(max);
        let first = page.first().ok_or(RailError::Unavailable)?;
        let proof = self.service.inclusion(from, whole.size()).await;
        let proof = proof.map_err(|error| withheld(error).unwrap_or_else(wrong))?;
        verify_inclusion(&leaf_hash(first), from, whole.size(), &proof, &whole.root()).map_err(|_| wrong())?;
        if page.len() > 1 {
            // The way to the first one tells the tree before it: with all of them it is a part of the whole.
            let peaks = peaks_before(from, whole.size(), &proof).map_err(|_| wrong())?;
            let mut part = Frontier::from_parts(from, peaks).map_err(|_| wrong())?;
            for bytes in &page {
                part.append(leaf_hash(bytes)).map_err(|_| wrong())?;
            }
            self.is_part(&part, &whole, &note).await?;
        }
        page.iter().map(|bytes| Entry::parse(bytes).map_err(|_| wrong())).collect()
    }

    /// Has it shown that a tree of entries is a part of the whole one.
    async fn is_part(&self, part: &Frontier, whole: &Frontier, note: &Arc<str>) -> Result<(), RailError> {
        let wrong = || self.caught(Contradiction::WrongEntries, [note], None);
        if part.size() == whole.size() && part.root() != whole.root() {
            return Err(wrong());
        }
        let head = |tree: &Frontier| Checkpoint::new(self.origin(), tree.size(), tree.root()).map_err(|_| wrong());
        self.consistent(&head(part)?, &head(whole)?, Contradiction::WrongEntries, [note, note]).await
    }

    /// Where an entry is, after a fresh look.
    async fn find(&self, entry: &Entry) -> Result<Option<Place>, RailError> {
        // Somebody who asks for the fate of money is told that it is unknown, not that nothing was sent.
        self.fresh(|fold| where_is(fold, entry)).await.map_err(|error| match error {
            RailError::Unavailable | RailError::Unknown => RailError::Unknown,
            RailError::Declined(_) | RailError::Dishonest(_) => error,
        })
    }

    async fn see(&self, entry: &Entry, submitted: &Submitted) -> Result<Place, RailError> {
        for attempt in 0..limits::FOLLOW_TRIES_MAX {
            let mut replica = self.replica.lock().await;
            let note = match attempt {
                0 => Ok(submitted.checkpoint.clone()),
                _ => self.service.checkpoint().await,
            };
            let followed = match note {
                Ok(note) => self.follow_to(&mut replica, note).await,
                Err(_) => Err(RailError::Unavailable),
            };
            if let Err(error @ RailError::Dishonest(_)) = followed {
                return Err(error);
            }
            if let Some(place) = where_is(&replica.fold, entry).map_err(unreadable)? {
                return Ok(place);
            }
            if replica.fold.size() > submitted.index {
                let known = replica.known.as_ref().map(|known| known.note.clone());
                let notes = [Some(submitted.checkpoint.clone()), known];
                return Err(self.caught(Contradiction::BrokenPromise, notes.iter().flatten(), None));
            }
        }
        Err(RailError::Unknown)
    }

    async fn follow_to(&self, replica: &mut Replica, note: Arc<str>) -> Result<(), RailError> {
        if replica.broken {
            return Err(RailError::Unavailable);
        }
        if replica.known.as_ref().is_none_or(|known| !known.acceptable || known.note != note) {
            // Not signed by the log, or by too few witnesses: nobody's word, so nobody's lie.
            let checkpoint = accept(&self.policy, &note).ok_or(RailError::Unavailable)?;
            self.advance(replica, Known { note, checkpoint, acceptable: true }).await?;
        }
        if replica.known.as_ref().is_some_and(|known| !known.acceptable) {
            // What the policy of now accepts is older than what another one accepted before.
            return Err(RailError::Unavailable);
        }
        self.catch_up(replica).await
    }

    /// Makes a checkpoint the known one, if it grows out of the one before.
    async fn advance(&self, replica: &mut Replica, shown: Known) -> Result<(), RailError> {
        if let Some(known) = replica.known.clone() {
            let (old, new) = (known.checkpoint.size(), shown.checkpoint.size());
            if old == new && known.checkpoint.root() != shown.checkpoint.root() {
                return Err(self.caught(Contradiction::SplitView, [&known.note, &shown.note], None));
            }
            if new < old {
                // An old answer is no lie, as long as it is a part of what is known.
                let what = Contradiction::RolledBack;
                return self.consistent(&shown.checkpoint, &known.checkpoint, what, [&known.note, &shown.note]).await;
            }
            let what = Contradiction::NotAnExtension;
            self.consistent(&known.checkpoint, &shown.checkpoint, what, [&known.note, &shown.note]).await?;
        }
        replica.remember(&self.head, &shown.note).map_err(|_| RailError::Unavailable)?;
        replica.known = Some(shown);
        Ok(())
    }

    async fn consistent(
        &self,
        old: &Checkpoint,
        new: &Checkpoint,
        what: Contradiction,
        notes: [&Arc<str>; 2],
    ) -> Result<(), RailError> {
        if old.size() == new.size() || old.size() == 0 {
            return Ok(());
        }
        let proof = self.service.consistency(old.size(), new.size()).await;
        let proof = proof.map_err(|error| withheld(error).unwrap_or_else(|| self.caught(what, notes, None)))?;
        verify_consistency(old.size(), &old.root(), new.size(), &new.root(), &proof)
            .map_err(|_| self.caught(what, notes, None))
    }

    /// Brings the replica to the known checkpoint, a page at a time. A page is folded only when it
    /// is shown to be a part of the signed tree.
    async fn catch_up(&self, replica: &mut Replica) -> Result<(), RailError> {
        let Some(Known { note, checkpoint, .. }) = replica.known.clone() else { return Ok(()) };
        let wrong = || self.caught(Contradiction::WrongEntries, [&note], None);
        while replica.frontier.size() < checkpoint.size() {
            let from = replica.frontier.size();
            let left = usize::try_from(checkpoint.size().saturating_sub(from)).unwrap_or(usize::MAX);
            let page = self.service.entries(from, left.min(limits::ENTRIES_PAGE_MAX)).await;
            let mut page = page.map_err(|error| withheld(error).unwrap_or_else(wrong))?;
            page.truncate(left.min(limits::ENTRIES_PAGE_MAX));
            if page.is_empty() {
                return Err(RailError::Unavailable);
            }
            let mut next = replica.frontier.clone();
            for bytes in &page {
                next.append(leaf_hash(bytes)).map_err(|_| wrong())?;
            }
            let part = Checkpoint::new(self.origin(), next.size(), next.root()).map_err(|_| wrong())?;
            if part.size() == checkpoint.size() && part.root() != checkpoint.root() {
                return Err(wrong());
            }
            self.consistent(&part, &checkpoint, Contradiction::WrongEntries, [&note, &note]).await?;
            // A fault of the own store must not look like one of the ledger: nothing is added to the half.
            replica.broken = true;
            for (offset, bytes) in (from..).zip(&page) {
                fold_in(&mut replica.fold, bytes).map_err(|error| match error {
                    FoldError::Refused(refusal) => {
                        let what = Contradiction::BadEntry { index: offset, refusal };
                        self.caught(what, [&note], Some(bytes.clone()))
                    }
                    FoldError::Store(error) => unreadable(error),
                })?;
            }
            replica.frontier = next;
            replica.keep(&self.peaks).map_err(unreadable)?;
            replica.broken = false;
        }
        Ok(())
    }

    fn honest(&self) -> Result<(), RailError> {
        self.evidence.get().map_or(Ok(()), |evidence| Err(evidence.what.error()))
    }

    /// Keeps the first evidence; from now on everything is refused.
    fn caught<'n>(
        &self,
        what: Contradiction,
        notes: impl IntoIterator<Item = &'n Arc<str>>,
        entry: Option<Vec<u8>>,
    ) -> RailError {
        let mut notes: Vec<Arc<str>> = notes.into_iter().cloned().collect();
        notes.dedup();
        self.evidence.get_or_init(|| Evidence { what, notes, entry }).what.error()
    }
}

impl Standings for LedgerClient {
    fn standing<'a>(&'a self, key: &'a PublicKey) -> Reply<'a, Standing> {
        Box::pin(Self::standing(self, key))
    }
}

impl Replica {
    fn remember(&mut self, head: &str, note: &str) -> Result<(), StoreError> {
        let before = self.known.as_ref().map(|known| known.note.clone());
        let store = self.fold.store_mut();
        if !store.swap(head, before.as_ref().map(|note| note.as_bytes()), note.as_bytes())? {
            return Err(StoreError::Failed("another program follows this ledger with this store".to_owned()));
        }
        failpoint::before(Deed::Seen);
        store.flush()?;
        failpoint::after(Deed::Seen);
        Ok(())
    }

    /// Makes the state durable, with the edge of the tree that it was folded from.
    fn keep(&mut self, peaks: &str) -> Result<(), StoreError> {
        let bytes: Vec<u8> = self.frontier.peaks().iter().flat_map(|hash| hash.0).collect();
        self.fold.store_mut().put(peaks, &bytes)?;
        failpoint::before(Deed::Page);
        self.fold.flush()?;
        failpoint::after(Deed::Page);
        Ok(())
    }
}

fn read_frontier(size: u64, peaks: &[u8]) -> Option<Frontier> {
    let (peaks, rest) = peaks.as_chunks::<32>();
    let peaks = peaks.iter().copied().map(Hash).collect();
    Frontier::from_parts(size, peaks).ok().filter(|_| rest.is_empty())
}

/// What to say when the own store fails: nothing was sent, and nothing is known.
fn unreadable(_: StoreError) -> RailError {
    RailError::Unavailable
}

/// The checkpoint of a note, if the log signed it.
fn signed(policy: &Policy, note: &str) -> Option<Checkpoint> {
    let keys = std::slice::from_ref(policy.log());
    let signed = SignedCheckpoint::open(note.as_bytes(), policy.log().name(), keys, &Verifier).ok()?;
    Some(signed.checkpoint().clone())
}

/// The checkpoint of a note, if the policy accepts it.
fn accept(policy: &Policy, note: &str) -> Option<Checkpoint> {
    policy.check(note.as_bytes(), &Verifier).ok().map(|trusted| trusted.checkpoint)
}

/// What to say of a service that does not give what belongs to a signed checkpoint: nothing where it
/// says that there is no such thing, which contradicts its signature.
const fn withheld(error: ServiceError) -> Option<RailError> {
    match error {
        ServiceError::OutOfRange => None,
        ServiceError::Unavailable | ServiceError::Unknown | ServiceError::Refused(_) | ServiceError::Frozen => {
            Some(RailError::Unavailable)
        }
    }
}

/// The place of an entry, or of the first record of its statement.
fn where_is(fold: &Fold, entry: &Entry) -> Result<Option<Place>, StoreError> {
    let stands_for_it = |place: &Place| place.id == entry.id() || matches!(entry.body(), Body::Record(_));
    Ok(fold.place_of(entry)?.filter(stands_for_it))
}

/// Takes an entry of the signed tree into the replica. Records are only hashed: who relies on one
/// verifies the statement itself. The end of a key is what the replica itself relies on.
fn fold_in(fold: &mut Fold, bytes: &[u8]) -> Result<(), FoldError> {
    fold.apply(&Entry::open_unless(bytes, |body| !body.must_be_verified())?).map(|_| ())
}
