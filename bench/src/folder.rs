//! Places for files of one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder below `target/`, gone when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Below a folder of this name, which stays.
    pub(crate) fn new(parent: &str) -> std::io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = target().join(parent).join(name);
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be deleted stays below target/.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(own_target, PathBuf::from)
}

/// The repository's own, where its tools put what they fetch.
pub(crate) fn own_target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}
