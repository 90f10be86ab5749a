//! The ledger itself, without threads: store, fold and tree under one signing key.
//!
//! ```text
//! stage (rules) ──► commit: append + head, one flush ──► publish: tree, cosignatures, note ──► answer
//! ```
//! What is not flushed is not published and not answered. After a failed write it is frozen.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use sdpp_log::{Checkpoint, Frontier, Hash, Note, Signature, SignedCheckpoint, Tree, VerifierKey, leaf_hash};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::time::Timestamp;
use sdpp_rail::{Store, StoreError};

use crate::entry::{Body, Entry};
use crate::fold::Fold;
use crate::keys::{Signer, Verifier, log_key};
use crate::limits;
use crate::refusal::{Place, Refusal};
use crate::service::ServiceError;
use crate::wait::block_on;
use crate::witness::{WitnessError, WitnessService};

/// Stream of the entries: a row's position is its index in the log.
const ENTRIES: &str = "ledger/entries";
/// Head with the newest checkpoint, signed by the log alone.
const CHECKPOINT: &str = "ledger/checkpoint";

/// What time it is: the only clock of a ledger or a witness.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a ledger needs to start.
pub struct LedgerConfig {
    /// Its name, best a URL without schema: letters, digits and such, no space and no plus.
    pub origin: String,
    /// Its key: signs checkpoints and ticks.
    pub key: SigningKey,
    /// Its clock, for ticks.
    pub clock: Clock,
    /// Who is asked to cosign each checkpoint. Each must answer or fail in bounded time: it is
    /// asked between two groups.
    pub witnesses: Vec<Arc<dyn WitnessService>>,
}

/// Why a ledger does not start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartError {
    /// The origin cannot name a log.
    BadOrigin,
    /// More than [`limits::WITNESSES_MAX`].
    TooManyWitnesses,
    /// The store cannot be read or written.
    Store(StoreError),
    /// An entry in the store breaks a rule.
    BadEntry {
        /// Which.
        index: u64,
        /// The rule.
        refusal: Refusal,
    },
    /// The stored entries and the stored checkpoint do not belong together.
    WrongCheckpoint,
    /// A witness knows more of this log than the store: it was restored from a backup. Going on
    /// would fork the log.
    RolledBack {
        /// Entries here.
        size: u64,
        /// Entries that the witness vouched for.
        witnessed: u64,
    },
    /// A witness knows another log under this name.
    Forked,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadOrigin => f.write_str("the ledger's origin has a space, a plus or a control character"),
            Self::TooManyWitnesses => f.write_str("more witnesses than one ledger may ask"),
            Self::Store(error) => error.fmt(f),
            Self::BadEntry { index, refusal } => write!(f, "entry {index} in the store is wrong: {refusal}"),
            Self::WrongCheckpoint => f.write_str("the stored checkpoint does not fit the stored entries"),
            Self::RolledBack { size, witnessed } => {
                write!(f, "the store has {size} entries, a witness has seen {witnessed}: it is an old backup")
            }
            Self::Forked => f.write_str("a witness knows another log of this name"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What everybody may read: never more than is durable.
pub(crate) struct Published {
    pub(crate) tree: Tree,
    pub(crate) note: Arc<str>,
}

/// Shared between the writer and its handles.
pub(crate) type Shared = Arc<RwLock<Published>>;

/// Reads what is published; a panic elsewhere cannot have left it half-written.
pub(crate) fn read<T>(shared: &Shared, look: impl FnOnce(&Published) -> T) -> T {
    look(&shared.read().unwrap_or_else(PoisonError::into_inner))
}

/// The ledger, owned by its writer.
pub(crate) struct Core {
    config: LedgerConfig,
    log_key: VerifierKey,
    store: Box<dyn Store>,
    fold: Fold,
    /// Edge of the tree of all durable entries.
    frontier: Frontier,
    /// Size of the last published checkpoint: what the witnesses should know.
    published: u64,
    shared: Shared,
    /// Entries taken by the fold and not yet durable.
    staged: Vec<Entry>,
    frozen: bool,
}

impl Core {
    /// Replays the store through the rules.
    pub(crate) fn start(config: LedgerConfig, store: Box<dyn Store>) -> Result<Self, StartError> {
        let log_key = log_key(&config.origin, &config.key).map_err(|_| StartError::BadOrigin)?;
        if config.witnesses.len() > limits::WITNESSES_MAX {
            return Err(StartError::TooManyWitnesses);
        }
        let fold = Fold::new(&config.origin, config.key.public());
        let shared = Arc::new(RwLock::new(Published { tree: Tree::new(), note: Arc::from("") }));
        let mut core = Self {
            config,
            log_key,
            store,
            fold,
            frontier: Frontier::new(),
            published: 0,
            shared,
            staged: Vec::new(),
            frozen: false,
        };
        core.replay()?;
        core.open_checkpoint()?;
        core.greet()?;
        core.publish(&core.signed_note(&core.frontier));
        Ok(core)
    }

    fn replay(&mut self) -> Result<(), StartError> {
        let mut leaves = Vec::new();
        loop {
            let rows = self.store.read(ENTRIES, self.fold.size(), limits::REPLAY_PAGE_MAX)?;
            if rows.is_empty() {
                self.frontier = self.grown(&leaves);
                self.grow(&leaves);
                return Ok(());
            }
            for row in rows {
                let bad = |refusal| StartError::BadEntry { index: row.position, refusal };
                let entry = Entry::parse(&row.body).map_err(bad)?;
                entry.verify().map_err(bad)?;
                self.fold.apply(&entry).map_err(bad)?;
                leaves.push(leaf_hash(&row.body));
            }
        }
    }

    /// Checks the stored checkpoint against the replayed tree, or stores the one of the empty log.
    fn open_checkpoint(&mut self) -> Result<(), StartError> {
        let keys = std::slice::from_ref(&self.log_key);
        let Some(stored) = self.store.head(CHECKPOINT)? else {
            if self.frontier.size() > 0 {
                return Err(StartError::WrongCheckpoint);
            }
            let note = self.signed_note(&self.frontier).to_string();
            self.store.swap(CHECKPOINT, None, note.as_bytes())?;
            return Ok(self.store.flush()?);
        };
        let signed = SignedCheckpoint::open(&stored, &self.config.origin, keys, &Verifier);
        let checkpoint = signed.map_err(|_| StartError::WrongCheckpoint)?;
        let checkpoint = checkpoint.checkpoint();
        if checkpoint.size() == self.frontier.size() && checkpoint.root() == self.frontier.root() {
            Ok(())
        } else {
            Err(StartError::WrongCheckpoint)
        }
    }

    /// Asks the witnesses whether they know more than the store does.
    fn greet(&self) -> Result<(), StartError> {
        let size = self.frontier.size();
        let note = self.signed_note(&self.frontier).to_string();
        for witness in &self.config.witnesses {
            match self.ask(witness.as_ref(), size, &note) {
                Err(WitnessError::Refused(sdpp_log::Refusal::Conflict { known_size })) if known_size > size => {
                    return Err(StartError::RolledBack { size, witnessed: known_size });
                }
                Err(WitnessError::Refused(sdpp_log::Refusal::Fork { .. } | sdpp_log::Refusal::BadProof(_))) => {
                    return Err(StartError::Forked);
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    pub(crate) const fn key(&self) -> &VerifierKey {
        &self.log_key
    }

    pub(crate) const fn fold(&self) -> &Fold {
        &self.fold
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Takes an entry whose signatures are verified; a tick stands before it if the last one is old.
    pub(crate) fn stage(&mut self, entry: Entry) -> Result<Place, Refusal> {
        let now = (self.config.clock)();
        match self.fold.check(&entry) {
            Ok(_) => {
                if self.fold.time().is_none_or(|last| now.since_ms(last) > limits::TICK_EVERY_MS) {
                    self.tick(now);
                }
            }
            // An idle log has old time: look at the clock before turning somebody away for it.
            Err(Refusal::GraceRuns(ends)) if now >= ends => self.tick(now),
            Err(Refusal::NoTickYet) => self.tick(now),
            Err(refusal) => return Err(refusal),
        }
        self.take(entry)
    }

    /// Logs what time it is, if it is later than the last tick.
    pub(crate) fn tick_now(&mut self) -> Result<Place, Refusal> {
        let now = (self.config.clock)();
        let entry = Entry::sign(&self.config.key, &self.config.origin, Body::Tick(now));
        self.take(entry)
    }

    fn tick(&mut self, now: Timestamp) {
        // Refused only where the clock went back; then there is no tick until it has caught up.
        let _ = self.take(Entry::sign(&self.config.key, &self.config.origin, Body::Tick(now)));
    }

    fn take(&mut self, entry: Entry) -> Result<Place, Refusal> {
        let place = Place { index: self.fold.size(), id: entry.id() };
        self.fold.apply(&entry)?;
        self.staged.push(entry);
        Ok(place)
    }

    /// Makes all staged entries durable with one flush, then public. Nothing staged: nothing to do.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        if self.staged.is_empty() {
            return Ok(());
        }
        let staged = std::mem::take(&mut self.staged);
        let leaves: Vec<Hash> = staged.iter().map(|entry| leaf_hash(entry.bytes())).collect();
        let frontier = self.grown(&leaves);
        let note = self.signed_note(&frontier);
        if let Err(error) = self.write(&staged, &note) {
            self.frozen = true;
            return Err(error);
        }
        self.frontier = frontier;
        self.grow(&leaves);
        self.publish(&note);
        Ok(())
    }

    /// The edge of the tree with these leaves more.
    fn grown(&self, leaves: &[Hash]) -> Frontier {
        let mut frontier = self.frontier.clone();
        for leaf in leaves {
            frontier.append(*leaf).expect("no store holds 2^63 entries");
        }
        frontier
    }

    /// Adds durable leaves to the tree that everybody reads.
    fn grow(&self, leaves: &[Hash]) {
        let mut published = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        for leaf in leaves {
            published.tree.append(*leaf);
        }
    }

    fn write(&mut self, staged: &[Entry], note: &Note) -> Result<(), StoreError> {
        for entry in staged {
            self.store.append(ENTRIES, entry.bytes())?;
        }
        let before = self.store.head(CHECKPOINT)?;
        if !self.store.swap(CHECKPOINT, before.as_deref(), note.to_string().as_bytes())? {
            return Err(StoreError::Failed("another program writes this ledger".to_owned()));
        }
        self.store.flush()
    }

    /// Has the witnesses cosign a note of what is durable, and shows it to everybody.
    fn publish(&mut self, note: &Note) {
        let full = self.cosigned(note);
        self.shared.write().unwrap_or_else(PoisonError::into_inner).note = full;
        self.published = self.frontier.size();
    }

    fn signed_note(&self, frontier: &Frontier) -> Note {
        let checkpoint = Checkpoint::new(&self.config.origin, frontier.size(), frontier.root());
        let text = checkpoint.expect("the origin was accepted at start").to_string();
        let mut note = Note::new(&text).expect("a checkpoint is a small text without control characters");
        note.sign(&self.log_key, &Signer(&self.config.key)).expect("the log's key signs notes and this is the first");
        note
    }

    /// The note with every cosignature that could be had.
    fn cosigned(&self, note: &Note) -> Arc<str> {
        let bare = note.to_string();
        let mut full = note.clone();
        for witness in &self.config.witnesses {
            if let Ok(signature) = self.ask(witness.as_ref(), self.frontier.size(), &bare) {
                // A note with too many signatures stays as it is: the quorum then decides.
                let _ = full.add(signature);
            }
        }
        full.to_string().into()
    }

    /// Asks a witness, again if it knows another size than the last published one.
    fn ask(&self, witness: &dyn WitnessService, size: u64, note: &str) -> Result<Signature, WitnessError> {
        let mut old = self.published;
        for _ in 0..limits::WITNESS_RETRIES_MAX {
            match self.ask_from(witness, (old, size), note) {
                Err(WitnessError::Refused(sdpp_log::Refusal::Conflict { known_size })) => old = known_size,
                answer => return answer,
            }
        }
        self.ask_from(witness, (old, size), note)
    }

    fn ask_from(
        &self,
        witness: &dyn WitnessService,
        (old, size): (u64, u64),
        note: &str,
    ) -> Result<Signature, WitnessError> {
        let conflict = WitnessError::Refused(sdpp_log::Refusal::Conflict { known_size: old });
        let proof = read(&self.shared, |published| published.tree.consistency_proof(old, size));
        block_on(witness.cosign(old, &proof.map_err(|_| conflict)?, note))
    }

    /// Published entries from an index on.
    pub(crate) fn entries(&self, from: u64, max: usize) -> Result<Vec<Vec<u8>>, ServiceError> {
        let size = read(&self.shared, |published| published.tree.size());
        if from >= size {
            return Err(ServiceError::OutOfRange);
        }
        let left = usize::try_from(size.saturating_sub(from)).unwrap_or(usize::MAX);
        let max = max.min(limits::ENTRIES_PAGE_MAX).min(left);
        let rows = self.store.read(ENTRIES, from, max).map_err(|_| ServiceError::Unavailable)?;
        Ok(rows.into_iter().map(|row| row.body).collect())
    }
}
