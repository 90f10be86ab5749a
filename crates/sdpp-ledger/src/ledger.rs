//! The ledger itself, without threads: store, fold and tree under one signing key.
//!
//! ```text
//! stage: rules ──► entry, hashes, balances written ──► commit: signed head, one flush ──► Head
//! ```
//! All of it is one transaction of the store. What is not flushed leaves this module as nothing but
//! an error; after a failed write it is frozen. Opening is the same for a new store, a clean stop and
//! a crash: read the head, restore the tree's edge, compare.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sdpp_log::{
    Checkpoint, Edge, Hash, Note, SignedCheckpoint, TileKind, TilePath, TiledError, VerifierKey, leaf_hash, tiled,
};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::time::Timestamp;
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Store, StoreError};

use crate::entry::{Body, Entry};
use crate::fold::{Fold, FoldError};
use crate::keys::{Signer, Verifier, log_key};
use crate::limits;
use crate::public::{ENTRIES, tiles_stream};
use crate::refusal::{Place, Refusal};
use crate::witness::WitnessService;

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
    /// Who is asked to cosign each checkpoint. Each must answer or fail in bounded time.
    pub witnesses: Vec<Arc<dyn WitnessService>>,
    /// Start although a witness does not answer. It may know more of this log than the store, and
    /// going on would then fork the log: only for a witness that is gone for good.
    pub without_witness: bool,
    /// The folder into which checkpoint and tiles are published as files, if any.
    pub folder: Option<PathBuf>,
}

impl LedgerConfig {
    /// A ledger without witnesses that publishes no files.
    pub fn new(origin: &str, key: SigningKey, clock: Clock) -> Self {
        Self { origin: origin.to_owned(), key, clock, witnesses: Vec::new(), without_witness: false, folder: None }
    }
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
    /// Entries, hashes, balances and checkpoint in the store do not belong together.
    WrongCheckpoint,
    /// Somebody knows more of this log than the store: it was restored from a backup. Going on would
    /// fork the log.
    RolledBack {
        /// Entries here.
        size: u64,
        /// Entries that a witness vouched for, or that were published.
        witnessed: u64,
    },
    /// A witness, or the folder of published files, knows another log under this name.
    Forked,
    /// A witness does not answer, so it may know more of this log than the store.
    WitnessSilent,
    /// The folder of published files cannot be read or written, or is not this log's.
    Folder(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadOrigin => f.write_str("the ledger's origin has a space, a plus or a control character"),
            Self::TooManyWitnesses => f.write_str("more witnesses than one ledger may ask"),
            Self::Store(error) => error.fmt(f),
            Self::WrongCheckpoint => f.write_str(
                "the stored checkpoint does not fit the stored entries: restore the store, or run fsck to see where",
            ),
            Self::RolledBack { size, witnessed } => write!(
                f,
                "the store has {size} entries, {witnessed} were seen elsewhere: it is an old backup, and going on \
                 would fork the log. Restore the newest store",
            ),
            Self::Forked => f.write_str("a witness or the published files know another log of this name"),
            Self::WitnessSilent => f.write_str(
                "a witness does not answer and may know more of this log than the store: start the witness first, \
                 or say that the ledger may start without it",
            ),
            Self::Folder(why) => write!(f, "the folder of published files: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A durable tree with the checkpoint that the log signed for it.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) edge: Edge,
    pub(crate) note: Note,
}

/// The ledger, owned by its writer.
pub(crate) struct Core {
    origin: String,
    key: SigningKey,
    clock: Clock,
    log_key: VerifierKey,
    fold: Fold,
    /// Edge of the tree of all entries, those included that are not durable yet.
    edge: Edge,
    /// Entries since the last commit.
    staged: usize,
    frozen: bool,
}

impl Core {
    /// Opens a store, or begins a log in an empty one; gives the head that is durable.
    pub(crate) fn open(config: &LedgerConfig, store: Box<dyn Store>) -> Result<(Self, Head), StartError> {
        let log_key = log_key(&config.origin, &config.key).map_err(|_| StartError::BadOrigin)?;
        let fold = Fold::open(&config.origin, config.key.public(), store)?;
        let edge = restore_edge(&fold)?;
        let mut core = Self {
            origin: config.origin.clone(),
            key: config.key.clone(),
            clock: config.clock.clone(),
            log_key,
            fold,
            edge,
            staged: 0,
            frozen: false,
        };
        let note = core.open_checkpoint()?;
        let head = Head { edge: core.edge.clone(), note };
        Ok((core, head))
    }

    /// Checks the stored checkpoint against the restored tree, or stores the one of the empty log.
    fn open_checkpoint(&mut self) -> Result<Note, StartError> {
        let keys = std::slice::from_ref(&self.log_key);
        let rows_behind = self.fold.store().read(ENTRIES, self.edge.size(), 1)?;
        let Some(stored) = self.fold.store().head(CHECKPOINT)? else {
            if self.edge.size() > 0 || !rows_behind.is_empty() {
                return Err(StartError::WrongCheckpoint);
            }
            let note = self.signed_note();
            self.fold.store_mut().put(CHECKPOINT, note.to_string().as_bytes())?;
            failpoint::before(Deed::Begin);
            self.fold.store_mut().flush()?;
            failpoint::after(Deed::Begin);
            return Ok(note);
        };
        let signed = SignedCheckpoint::open(&stored, &self.origin, keys, &Verifier);
        let signed = signed.map_err(|_| StartError::WrongCheckpoint)?;
        let checkpoint = signed.checkpoint();
        let fits = checkpoint.size() == self.edge.size() && checkpoint.root() == self.edge.root();
        if fits && rows_behind.is_empty() { Ok(signed.note().clone()) } else { Err(StartError::WrongCheckpoint) }
    }

    pub(crate) const fn log_key(&self) -> &VerifierKey {
        &self.log_key
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.fold.store()
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Takes an entry whose signatures are verified; a tick stands before it if the last one is old.
    pub(crate) fn stage(&mut self, entry: &Entry) -> Result<Place, FoldError> {
        let staged = self.try_stage(entry);
        self.note(&staged);
        staged
    }

    /// After any error of the store, also of a read, nothing may be added to what is not durable.
    fn note<T>(&mut self, outcome: &Result<T, FoldError>) {
        self.frozen |= matches!(outcome, Err(FoldError::Store(_)));
    }

    fn try_stage(&mut self, entry: &Entry) -> Result<Place, FoldError> {
        let now = (self.clock)();
        match self.fold.check(entry) {
            Ok(_) => {
                if self.fold.time().is_none_or(|last| now.since_ms(last) > limits::TICK_EVERY_MS) {
                    self.tick(now)?;
                }
            }
            // An idle log has old time: look at the clock before turning somebody away for it.
            Err(FoldError::Refused(Refusal::GraceRuns(ends))) if now >= ends => self.tick(now)?,
            Err(FoldError::Refused(Refusal::NoTickYet)) => self.tick(now)?,
            Err(error) => return Err(error),
        }
        self.take(entry)
    }

    /// Logs what time it is, if it is later than the last tick.
    pub(crate) fn tick_now(&mut self) -> Result<Place, FoldError> {
        let now = (self.clock)();
        self.take(&Entry::sign(&self.key, &self.origin, Body::Tick(now)))
    }

    /// Logs what time it is, if channels wait for it and the last tick is old.
    pub(crate) fn tick_if_due(&mut self) -> Result<(), FoldError> {
        let now = (self.clock)();
        let old = self.fold.time().is_none_or(|last| now.since_ms(last) >= limits::TICK_IDLE_MS);
        if self.frozen || self.fold.channels_alive() == 0 || !old {
            return Ok(());
        }
        self.tick(now)
    }

    fn tick(&mut self, now: Timestamp) -> Result<(), FoldError> {
        match self.take(&Entry::sign(&self.key, &self.origin, Body::Tick(now))) {
            // Refused only where the clock went back; then there is no tick until it has caught up.
            Ok(_) | Err(FoldError::Refused(_)) => Ok(()),
            Err(error @ FoldError::Store(_)) => Err(error),
        }
    }

    fn take(&mut self, entry: &Entry) -> Result<Place, FoldError> {
        let taken = self.try_take(entry);
        self.note(&taken);
        taken
    }

    fn try_take(&mut self, entry: &Entry) -> Result<Place, FoldError> {
        let place = Place { index: self.fold.size(), id: entry.id() };
        failpoint::before(Deed::Stage);
        self.fold.apply(entry)?;
        let store = self.fold.store_mut();
        store.append(ENTRIES, entry.bytes())?;
        let full = self.edge.append(leaf_hash(entry.bytes()));
        for tile in full.map_err(|_| StoreError::Failed("the log has 2^63 entries".to_owned()))? {
            if let TileKind::Hashes { level } = tile.path.kind() {
                store.append(&tiles_stream(level), &tiled::tile_bytes(&tile.hashes))?;
            }
        }
        self.staged = self.staged.saturating_add(1);
        failpoint::after(Deed::Stage);
        Ok(place)
    }

    /// Makes all that was staged durable, with its signed head, in one flush. Gives the new head;
    /// none where nothing was staged.
    pub(crate) fn commit(&mut self) -> Result<Option<Head>, StoreError> {
        if self.frozen {
            return Err(StoreError::Failed("an entry could not be written".to_owned()));
        }
        if self.staged == 0 {
            return Ok(None);
        }
        let note = self.signed_note();
        if let Err(error) = self.write_head(&note) {
            self.frozen = true;
            return Err(error);
        }
        self.staged = 0;
        Ok(Some(Head { edge: self.edge.clone(), note }))
    }

    fn write_head(&mut self, note: &Note) -> Result<(), StoreError> {
        self.fold.store_mut().put(CHECKPOINT, note.to_string().as_bytes())?;
        self.fold.flush()
    }

    fn signed_note(&self) -> Note {
        let checkpoint = Checkpoint::new(&self.origin, self.edge.size(), self.edge.root());
        let text = checkpoint.expect("the origin was accepted at start").to_string();
        let mut note = Note::new(&text).expect("a checkpoint is a small text without control characters");
        note.sign(&self.log_key, &Signer(&self.key)).expect("the log's key signs notes and this is the first");
        note
    }
}

/// The right edge of the tree of all durable entries: its partial tiles are rebuilt from the entries
/// and the full tiles below.
fn restore_edge(fold: &Fold) -> Result<Edge, StartError> {
    let edge = Edge::from_tiles(fold.size(), |path| partial_tile(fold.store(), path));
    edge.map_err(|error| match error {
        TiledError::Read(error) => StartError::Store(error),
        TiledError::Tree(_) | TiledError::WrongWidth(_) => StartError::WrongCheckpoint,
    })
}

fn partial_tile(store: &dyn Store, path: TilePath) -> Result<Vec<Hash>, StoreError> {
    let TileKind::Hashes { level } = path.kind() else { return Ok(Vec::new()) };
    let (first, width) =
        (path.index().saturating_mul(u64::from(sdpp_log::limits::TILE_WIDTH)), usize::from(path.width()));
    let Some(below) = level.checked_sub(1) else {
        let entries = store.read(ENTRIES, first, width)?;
        return Ok(entries.iter().map(|row| leaf_hash(&row.body)).collect());
    };
    let damaged = || StoreError::Failed(format!("a tile of level {below} is damaged: restore the store"));
    let tiles = store.read(&tiles_stream(below), first, width)?;
    let root = |row: &sdpp_rail::Row| {
        let hashes = tiled::parse_tile(&row.body, sdpp_log::limits::TILE_WIDTH).map_err(|_| damaged())?;
        tiled::subtree_root(&hashes).ok_or_else(damaged)
    };
    tiles.iter().map(root).collect()
}
