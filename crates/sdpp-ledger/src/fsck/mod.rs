//! Checking a whole ledger from public data alone: checkpoint, entries and tiles, as files or over
//! HTTP. Nothing of the operator's is believed but its signature, which is what is checked.
//!
//! ```text
//! checkpoint ──► bundles, leaf tiles ──► leaves, form, signatures ──► rules, tree, higher tiles ──► root, money
//!                └─ a round of them on all cores ─┘                  └─ the round before, in order ─┘
//! ```
//! Faults are found in the order of the log: what is named is the first thing that is wrong.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sdpp_log::{Checkpoint, Edge, Hash, Policy, TileKind, TilePath, TrustError, bundle, leaf_hash, tiled};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::StoreError;

use crate::entry::{Body, Entry, Record};
use crate::fold::{Fold, FoldError, NotConserved};
use crate::keys::Verifier;
use crate::limits;
use crate::refusal::Refusal;

mod source;

pub use source::{Folder, Source, SourceError};

/// Entries in a full bundle.
const WIDTH: u64 = sdpp_log::limits::TILE_WIDTH as u64;

/// Which signatures of entries are verified. The log's and the witnesses' always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signatures {
    /// Every one.
    All,
    /// One entry in so many, chosen by the seed: draw it afresh, and an operator cannot know which.
    OneIn {
        /// Of how many entries one is verified. 0 and 1 mean all.
        many: u64,
        /// Chooses.
        seed: u64,
    },
}

impl Signatures {
    /// SplitMix64 over the index: each entry is as likely as any other.
    const fn choose(self, index: u64) -> bool {
        let Self::OneIn { many, seed } = self else { return true };
        let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        match (z ^ (z >> 31)).checked_rem(many) {
            Some(rest) => rest == 0,
            None => true,
        }
    }
}

/// How to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose log it is, and which witnesses must have seen it.
    pub policy: Policy,
    /// Which signatures of entries are verified.
    pub signatures: Signatures,
    /// Threads that read, hash and verify. At least 1 counts.
    pub threads: usize,
}

/// What a sound ledger holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Its tree head.
    pub checkpoint: Checkpoint,
    /// Witnesses of the policy that cosigned it.
    pub witnesses: usize,
    /// Entries whose signatures were verified.
    pub verified: u64,
    /// Tiles and bundles that were read.
    pub tiles: u64,
    /// What was issued of each asset; balances and deposits make up just as much.
    pub issued: Vec<(AssetId, Amount)>,
    /// Channels that are not closed.
    pub channels_alive: u64,
}

/// The first thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The checkpoint is not one to be trusted.
    Checkpoint(TrustError),
    /// Something that a checkpoint of this size must have cannot be read.
    Missing {
        /// What.
        what: String,
        /// Why.
        why: SourceError,
    },
    /// A bundle that does not fall into its entries.
    BadBundle {
        /// Which.
        path: TilePath,
    },
    /// An entry that its leaf's hash is not the hash of: one of the two was changed.
    WrongLeaf {
        /// Its index.
        index: u64,
    },
    /// An entry that breaks a rule.
    BadEntry {
        /// Its index.
        index: u64,
        /// The rule.
        refusal: Refusal,
    },
    /// A tile whose hashes do not follow from the entries.
    WrongTile {
        /// Which.
        path: TilePath,
    },
    /// All entries and tiles fit each other, and lead to another root than the log signed.
    WrongRoot,
    /// Money was made or lost, although no entry broke a rule: a fault of this program.
    NotConserved(NotConserved),
    /// The memory of this program failed.
    Store(StoreError),
    /// The log's key is not an acceptable Ed25519 key.
    BadKey,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(error) => write!(f, "the checkpoint is not to be trusted: {error}"),
            Self::Missing { what, why } => write!(f, "{what} cannot be read: {why}"),
            Self::BadBundle { path } => write!(f, "{path} does not fall into its entries"),
            Self::WrongLeaf { index } => write!(f, "entry {index} does not have the hash that its leaf has"),
            Self::BadEntry { index, refusal } => write!(f, "entry {index} breaks a rule: {refusal}"),
            Self::WrongTile { path } => write!(f, "the hashes of {path} do not follow from the entries"),
            Self::WrongRoot => f.write_str("the entries do not lead to the root that the log signed"),
            Self::NotConserved(NotConserved { asset, issued, held }) => match held {
                Some(held) => write!(f, "of {asset} {issued} were issued and {held} are held"),
                None => write!(f, "of {asset} {issued} were issued and more are held than can be counted"),
            },
            Self::Store(error) => error.fmt(f),
            Self::BadKey => f.write_str("the log's key is not an acceptable Ed25519 key"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Checks a whole ledger. `progress` hears how many entries are done.
///
/// # Errors
/// The first [`Fault`] in the order of the log.
pub fn fsck(source: &dyn Source, options: &Options, progress: &mut dyn FnMut(u64)) -> Result<Report, Fault> {
    let note = source.checkpoint().map_err(|why| Fault::Missing { what: "checkpoint".to_owned(), why })?;
    let trusted = options.policy.check(&note, &Verifier).map_err(Fault::Checkpoint)?;
    let log = PublicKey::from_bytes(*options.policy.log().public()).map_err(|_| Fault::BadKey)?;
    let reader = Reader { source, options, size: trusted.checkpoint.size(), tiles: 0.into(), verified: 0.into() };
    let mut folded = Folded { fold: Fold::new(trusted.checkpoint.origin(), log), edge: Edge::new() };
    let bundles = reader.size.div_ceil(WIDTH);
    let step = u64::try_from(options.threads.max(1)).unwrap_or(1).saturating_mul(limits::FSCK_BUNDLES_PER_THREAD);
    let mut pages = reader.round(0, step.min(bundles));
    let mut next = step;
    while !pages.is_empty() {
        let range = (next.min(bundles), next.saturating_add(step).min(bundles));
        let ready = pages;
        let (taken, following) = thread::scope(|scope| {
            let following = scope.spawn(|| reader.round(range.0, range.1));
            (ready.into_iter().try_for_each(|page| folded.take(page, &reader)), following.join())
        });
        taken?;
        progress(folded.edge.size());
        pages = following.unwrap_or_else(|panic| resume_unwind(panic));
        next = range.1.max(next);
    }
    folded.finish(&reader, &trusted.checkpoint)?;
    Ok(Report {
        witnesses: trusted.cosigned_at.len(),
        verified: reader.verified.into_inner(),
        tiles: reader.tiles.into_inner(),
        issued: folded.fold.all_issued()?,
        channels_alive: folded.fold.channels_alive(),
        checkpoint: trusted.checkpoint,
    })
}

/// A bundle's entries up to the first fault.
struct Page {
    first: u64,
    entries: Vec<(Entry, Hash)>,
    fault: Option<Fault>,
}

/// Reads and checks what needs no state.
struct Reader<'a> {
    source: &'a dyn Source,
    options: &'a Options,
    size: u64,
    tiles: AtomicU64,
    verified: AtomicU64,
}

impl Reader<'_> {
    /// A tile, and how many hashes or entries it has: a partial one may have been replaced by the full
    /// one of its place meanwhile, whose beginning is the same.
    fn tile(&self, path: TilePath) -> Result<(Vec<u8>, u16), Fault> {
        self.tiles.fetch_add(1, Ordering::Relaxed);
        let missing = |why| Fault::Missing { what: path.to_string(), why };
        let full = TilePath::new(path.kind(), path.index(), sdpp_log::limits::TILE_WIDTH);
        match (self.source.tile(path), full) {
            (Err(SourceError::NotThere), Ok(full)) if path.is_partial() => {
                self.source.tile(full).map(|bytes| (bytes, full.width())).map_err(missing)
            }
            (answer, _) => answer.map(|bytes| (bytes, path.width())).map_err(missing),
        }
    }

    fn hashes(&self, path: TilePath) -> Result<Vec<Hash>, Fault> {
        let (bytes, width) = self.tile(path)?;
        let mut hashes = tiled::parse_tile(&bytes, width).map_err(|_| Fault::WrongTile { path })?;
        hashes.truncate(usize::from(path.width()));
        Ok(hashes)
    }

    /// Bundles of a range, on all threads; in order.
    fn round(&self, from: u64, to: u64) -> Vec<Page> {
        let threads = u64::try_from(self.options.threads.max(1)).unwrap_or(1);
        let each = to.saturating_sub(from).div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts = (0..threads).map(|thread| {
                let start = from.saturating_add(thread.saturating_mul(each)).min(to);
                let end = start.saturating_add(each).min(to);
                scope.spawn(move || (start..end).map(|index| self.page(index)).collect::<Vec<_>>())
            });
            let parts: Vec<_> = parts.collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    fn page(&self, index: u64) -> Page {
        let mut page = Page { first: index.saturating_mul(WIDTH), entries: Vec::new(), fault: None };
        page.fault = self.fill(index, &mut page).err();
        page
    }

    fn fill(&self, index: u64, page: &mut Page) -> Result<(), Fault> {
        let within = |kind| TilePath::within(kind, index, self.size).ok_or(Fault::WrongRoot);
        let path = within(TileKind::Entries)?;
        let (bytes, width) = self.tile(path)?;
        let leaves = self.hashes(within(TileKind::Hashes { level: 0 })?)?;
        let entries = bundle::parse(&bytes, width).map_err(|_| Fault::BadBundle { path })?;
        for ((index, bytes), leaf) in (page.first..).zip(entries).zip(leaves) {
            if leaf_hash(bytes) != leaf {
                return Err(Fault::WrongLeaf { index });
            }
            let verify = self.options.signatures.choose(index);
            let entry = Entry::open_unless(bytes, |body| !verify && !is_notice(body));
            page.entries.push((entry.map_err(|refusal| Fault::BadEntry { index, refusal })?, leaf));
            self.verified.fetch_add(u64::from(verify), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether it ends a key: what that says is never taken on trust.
const fn is_notice(body: &Body) -> bool {
    matches!(body, Body::Record(Record { notice: Some(_), .. }))
}

/// What has been taken in order.
struct Folded {
    fold: Fold,
    edge: Edge,
}

impl Folded {
    fn take(&mut self, page: Page, reader: &Reader<'_>) -> Result<(), Fault> {
        for (index, (entry, leaf)) in (page.first..).zip(&page.entries) {
            self.fold.apply(entry).map_err(|error| match error {
                FoldError::Refused(refusal) => Fault::BadEntry { index, refusal },
                FoldError::Store(error) => Fault::Store(error),
            })?;
            for full in self.edge.append(*leaf).map_err(|_| Fault::WrongRoot)? {
                compare(reader, full.path, &full.hashes)?;
            }
        }
        self.fold.flush()?;
        page.fault.map_or(Ok(()), Err)
    }

    fn finish(&self, reader: &Reader<'_>, checkpoint: &Checkpoint) -> Result<(), Fault> {
        for (path, hashes) in self.edge.partials() {
            compare(reader, path, hashes)?;
        }
        if self.edge.size() != checkpoint.size() || self.edge.root() != checkpoint.root() {
            return Err(Fault::WrongRoot);
        }
        self.fold.conservation()?.map_or(Ok(()), |wrong| Err(Fault::NotConserved(wrong)))
    }
}

/// Compares a tile above the leaves; those were compared one by one.
fn compare(reader: &Reader<'_>, path: TilePath, hashes: &[Hash]) -> Result<(), Fault> {
    if path.kind() == (TileKind::Hashes { level: 0 }) || reader.hashes(path)? == hashes {
        return Ok(());
    }
    Err(Fault::WrongTile { path })
}
