//! What everybody may read of a ledger: the newest published tree and the rows under it. Readers do
//! not ask the thread that writes; they read the store beside it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, TryLockError};

use sdpp_log::{Edge, Hash, TileKind, TilePath, TiledError, TlogProof, bundle, tiled};
use sdpp_proto::identity::SigningKey;
use sdpp_rail::{Store, StoreError, StoreReader};

use crate::limits;
use crate::receipt::{Inclusion, Receipt};
use crate::service::ServiceError;
use crate::sync::{AtomicBool, Mutex, MutexGuard, RwLock};

/// Stream of the entries: a row's position is its index in the log.
pub(crate) const ENTRIES: &str = "ledger/entries";

/// Stream of the full tiles of a level: a row's position is the tile's index.
pub(crate) fn tiles_stream(level: u8) -> String {
    format!("ledger/tiles/{level}")
}

/// The newest published tree: never more than is durable.
pub(crate) struct Published {
    pub(crate) edge: Edge,
    /// Its checkpoint, with all cosignatures that could be had.
    pub(crate) note: Arc<str>,
}

/// The public face of a ledger, shared by its threads and handles.
pub(crate) struct Public {
    published: RwLock<Arc<Published>>,
    /// A write failed: nothing more is taken.
    frozen: AtomicBool,
    readers: Vec<Mutex<Box<dyn StoreReader>>>,
}

impl Public {
    /// Shows an empty tree until [`show`](Self::show) is called.
    pub(crate) fn new(store: &dyn Store) -> Result<Self, StoreError> {
        let reader = || store.reader().map(Mutex::new);
        let readers = (0..limits::READERS).map(|_| reader()).collect::<Result<_, _>>()?;
        let nothing = Published { edge: Edge::new(), note: Arc::from("") };
        Ok(Self { published: RwLock::new(Arc::new(nothing)), frozen: AtomicBool::new(false), readers })
    }

    pub(crate) fn now(&self) -> Arc<Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn show(&self, published: Published) {
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(published);
    }

    /// Notes that nothing more is taken; says whether that was known.
    pub(crate) fn freeze(&self) -> bool {
        self.frozen.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    /// Reads durable rows and state with whichever reader is free.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&dyn StoreReader) -> Result<T, StoreError>,
    ) -> Result<T, ServiceError> {
        look(self.reader().as_ref()).map_err(|_| ServiceError::Unavailable)
    }

    fn reader(&self) -> MutexGuard<'_, Box<dyn StoreReader>> {
        for reader in &self.readers {
            match reader.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(free)) => return free.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let first = self.readers.first().expect("there is at least one reader");
        first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hashes of a tile of a tree with this edge.
    pub(crate) fn hashes(&self, edge: &Edge, path: TilePath) -> Result<Vec<Hash>, ServiceError> {
        let TileKind::Hashes { level } = path.kind() else { return Err(ServiceError::OutOfRange) };
        let width = usize::from(path.width());
        let full = match TilePath::last(TileKind::Hashes { level }, edge.size()) {
            Some(last) if last.is_partial() => last.index(),
            Some(last) => last.index().saturating_add(1),
            None => 0,
        };
        if path.index() >= full {
            let partial = Some(edge.partial(level)).filter(|_| path.index() == full);
            let hashes = partial.and_then(|hashes| hashes.get(..width)).ok_or(ServiceError::OutOfRange)?;
            return Ok(hashes.to_vec());
        }
        let rows = self.read(|reader| reader.read(&tiles_stream(level), path.index(), 1))?;
        let row =
            rows.into_iter().next().filter(|row| row.position == path.index()).ok_or(ServiceError::Unavailable)?;
        let mut hashes =
            tiled::parse_tile(&row.body, sdpp_log::limits::TILE_WIDTH).map_err(|_| ServiceError::Unavailable)?;
        hashes.truncate(width);
        Ok(hashes)
    }

    /// The bytes of a tile or bundle of the newest published tree.
    pub(crate) fn tile(&self, path: TilePath) -> Result<Vec<u8>, ServiceError> {
        let published = self.now();
        match path.kind() {
            TileKind::Hashes { .. } => self.hashes(&published.edge, path).map(|hashes| tiled::tile_bytes(&hashes)),
            TileKind::Entries => {
                let first = path.index().saturating_mul(u64::from(sdpp_log::limits::TILE_WIDTH));
                let entries = self.entries(first, usize::from(path.width()))?;
                if entries.len() != usize::from(path.width()) {
                    return Err(ServiceError::OutOfRange);
                }
                bundle::encode(&entries).map_err(|_| ServiceError::Unavailable)
            }
        }
    }

    /// The proof of an entry that travels.
    pub(crate) fn proof(&self, index: u64) -> Result<TlogProof, ServiceError> {
        let published = self.now();
        let hashes = self.inclusion_in(&published.edge, index, published.edge.size())?;
        TlogProof::new(index, hashes, published.note.as_bytes()).map_err(|_| ServiceError::Unavailable)
    }

    /// The receipt of an entry: only a published root is signed.
    pub(crate) fn receipt(&self, index: u64, key: &SigningKey) -> Result<Vec<u8>, ServiceError> {
        let edge = &self.now().edge;
        let (size, root) = (edge.size(), edge.root());
        let proof = self.inclusion_in(edge, index, size)?;
        let entry = self.entries(index, 1)?.pop().ok_or(ServiceError::Unavailable)?;
        let inclusion = Inclusion { entry: &entry, index, size, proof: &proof, root };
        Receipt::sign(key, &inclusion).map_err(|_| ServiceError::Unavailable)
    }

    /// Published entries from an index on.
    pub(crate) fn entries(&self, from: u64, max: usize) -> Result<Vec<Vec<u8>>, ServiceError> {
        let size = self.now().edge.size();
        if from >= size {
            return Err(ServiceError::OutOfRange);
        }
        let left = usize::try_from(size.saturating_sub(from)).unwrap_or(usize::MAX);
        let max = max.min(limits::ENTRIES_PAGE_MAX).min(left);
        let rows = self.read(|reader| reader.read(ENTRIES, from, max))?;
        Ok(rows.into_iter().map(|row| row.body).collect())
    }

    /// Proof that an entry is in the tree of the first `size` entries.
    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, ServiceError> {
        self.inclusion_in(&self.now().edge, index, size)
    }

    fn inclusion_in(&self, edge: &Edge, index: u64, size: u64) -> Result<Vec<Hash>, ServiceError> {
        if size > edge.size() {
            return Err(ServiceError::OutOfRange);
        }
        tiled::inclusion_proof(index, size, |path| self.hashes(edge, path)).map_err(service_error)
    }

    /// Proof that the tree of `old` entries is a part of that of `new` ones, in a tree of this edge.
    pub(crate) fn consistency(&self, edge: &Edge, old: u64, new: u64) -> Result<Vec<Hash>, ServiceError> {
        if new > edge.size() {
            return Err(ServiceError::OutOfRange);
        }
        tiled::consistency_proof(old, new, |path| self.hashes(edge, path)).map_err(service_error)
    }

    /// The root that the tree of this edge had at an earlier size.
    pub(crate) fn root(&self, edge: &Edge, size: u64) -> Result<Hash, ServiceError> {
        if size > edge.size() {
            return Err(ServiceError::OutOfRange);
        }
        tiled::root(size, |path| self.hashes(edge, path)).map_err(service_error)
    }
}

fn service_error(error: TiledError<ServiceError>) -> ServiceError {
    match error {
        TiledError::Read(error) => error,
        TiledError::Tree(_) => ServiceError::OutOfRange,
        TiledError::WrongWidth(_) => ServiceError::Unavailable,
    }
}
