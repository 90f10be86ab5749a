//! The home of all roles on a machine: below it each has a folder with its key, its stores and
//! their locks, so that nobody signs or books in another's name by mistake.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Durability, SqliteStore, Store as _};
use zeroize::Zeroizing;

use crate::config::{self, Config};
use crate::exit::{self, Exit};

/// More than any of the small files of a home has.
const FILE_BYTES_MAX: u64 = 64 * 1024;

pub(crate) type Failure = Box<dyn Error>;

/// Somebody with a key of its own.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Writes the log.
    Ledger,
    /// Cosigns it.
    Witness,
    /// Buys data.
    Buyer,
    /// Sells data.
    Seller,
    /// Makes money.
    Issuer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ledger => "ledger",
            Self::Witness => "witness",
            Self::Buyer => "buyer",
            Self::Seller => "seller",
            Self::Issuer => "issuer",
        })
    }
}

/// The folder of all roles.
#[derive(Clone)]
pub(crate) struct Home {
    folder: PathBuf,
    /// The configuration file, if one was named.
    config: Option<PathBuf>,
}

/// The folder of one role. It exists.
pub(crate) struct RoleHome {
    role: Role,
    folder: PathBuf,
}

impl Home {
    /// The folder that was given, else `SDPP_HOME`, else `sdpp` in the platform's folder for data.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self, Failure> {
        let chosen = given.map(Path::to_owned).or_else(|| env_path("SDPP_HOME"));
        let folder = chosen.or_else(|| data_folder().map(|data| data.join("sdpp")));
        let folder = folder.ok_or("there is no home folder here: say where keys are kept with --home or SDPP_HOME")?;
        Ok(Self { folder, config: env_path("SDPP_CONFIG") })
    }

    /// The same with another configuration file.
    pub(crate) fn with_config(self, config: Option<PathBuf>) -> Self {
        Self { config: config.or(self.config), ..self }
    }

    /// The configuration: of the file that was named, else of the home.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        config::read(self.config.as_deref(), &self.folder)
    }

    /// A file of all roles.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a small file of all roles, whole or not at all.
    pub(crate) fn replace(&self, name: &str, text: &str) -> Result<(), Failure> {
        make_folder(&self.folder)?;
        replace(&self.file(name), text.as_bytes())
    }

    /// The folder of a role; made if need be, for its owner only.
    pub(crate) fn role(&self, role: Role) -> Result<RoleHome, Failure> {
        let folder = self.folder.join(role.to_string());
        make_folder(&folder)?;
        Ok(RoleHome { role, folder })
    }
}

impl RoleHome {
    /// Where a file of this role is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whose folder it is.
    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// A small text that the role keeps.
    pub(crate) fn kept(&self, name: &str) -> Result<Option<String>, Failure> {
        read_text(&self.file(name))
    }

    /// Keeps a small text for ever; gives the one that was there first.
    pub(crate) fn keep(&self, name: &str, text: &str) -> Result<String, Failure> {
        let path = self.file(name);
        create(&path, format!("{text}\n").as_bytes())?;
        let kept = read_text(&path)?.ok_or_else(|| format!("{} is gone again", path.display()))?;
        Ok(kept.trim_end().to_owned())
    }

    /// Adds a line to a small text that the role keeps.
    pub(crate) fn add_line(&self, name: &str, line: &str) -> Result<(), Failure> {
        let path = self.file(name);
        let add = || {
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_all()
        };
        failpoint::before(Deed::Line);
        let added = add();
        failpoint::after(Deed::Line);
        added.map_err(|error| failed(&path, &error).into())
    }

    /// Opens the role's store of this name; another process must not have it open.
    pub(crate) fn store(&self, name: &str, durability: Durability) -> Result<SqliteStore, Failure> {
        let path = self.file(&format!("{name}.db"));
        let opened = SqliteStore::open(&path, durability).and_then(|mut store| store.flush().map(|()| store));
        opened.map_err(|error| {
            if is_busy(&path) {
                let looked_at = if self.role == Role::Seller { "look at it with `sdpp status`, " } else { "" };
                return exit::failed(Exit::InUse, format!("{error}: {looked_at}end it, or name another --home"));
            }
            exit::failed(Exit::Storage, error.to_string())
        })
    }
}

/// Whether a running program has this store.
pub(crate) fn is_busy(path: &Path) -> bool {
    let mut lock = path.to_owned().into_os_string();
    lock.push(".lock");
    File::open(lock).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

fn env_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where programs keep their data on this platform.
fn data_folder() -> Option<PathBuf> {
    if cfg!(target_os = "macos") {
        return env_path("HOME").map(|home| home.join("Library/Application Support"));
    }
    if cfg!(windows) {
        return env_path("LOCALAPPDATA");
    }
    let chosen = env_path("XDG_DATA_HOME").filter(|path| path.is_absolute());
    chosen.or_else(|| env_path("HOME").map(|home| home.join(".local/share")))
}

pub(crate) fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Makes a folder that only its owner may look into; one that is there stays as it is.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| failed(folder, &error).into())
}

/// Ends the name of a file that is not whole yet; the number of its process follows.
const BESIDE: &str = ".new-";
/// Tries to write a file that others sweep away.
const PUT_TRIES: u32 = 5;

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{BESIDE}{}", std::process::id()));
    PathBuf::from(name)
}

/// Writes a file for its owner only, and holds it: until it is dropped nobody takes it for left over.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    failpoint::before(Deed::File);
    let mut file = options.open(path)?;
    file.lock()?;
    file.write_all(bytes)?;
    file.sync_all()?;
    failpoint::after(Deed::File);
    Ok(file)
}

/// Writes a file beside its place and puts it there; nothing of it is left beside.
fn put(path: &Path, bytes: &[u8], into_place: fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    sweep(path);
    let beside = beside(path);
    let once = || {
        let held = write_private(&beside, bytes)?;
        failpoint::before(Deed::PlaceFile);
        let placed = into_place(&beside, path);
        failpoint::after(Deed::PlaceFile);
        drop(held);
        placed
    };
    let mut done = once();
    for _ in 1..PUT_TRIES {
        // Somebody swept in the moment before it was held.
        if !matches!(&done, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            break;
        }
        done = once();
    }
    // It may hold a secret.
    let _ = fs::remove_file(&beside);
    done
}

/// Removes what processes have left in the folder that died while they wrote a file: it may hold a secret,
/// and no passphrase would ever lock it. What cannot be removed now is removed the next time.
fn sweep(path: &Path) {
    let Some(Ok(names)) = path.parent().map(fs::read_dir) else { return };
    for left in names.flatten().map(|entry| entry.path()) {
        let name = left.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once(BESIDE));
        let is_ours = name.is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
        if is_ours && File::open(&left).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(&left);
        }
    }
}

/// Makes a file, whole and durable, unless there is one; says whether it did.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    match put(path, bytes, |from, to| fs::hard_link(from, to)) {
        Ok(()) => {
            sync_folder_of(path)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(path, &error).into()),
    }
}

/// Replaces a file by a whole and durable one that only its owner may read.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    put(path, bytes, |from, to| fs::rename(from, to)).map_err(|error| failed(path, &error))?;
    sync_folder_of(path)
}

/// Makes durable which files a folder has.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), Failure> {
    let Some(folder) = path.parent().filter(|_| cfg!(unix)) else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error).into())
}

fn read_text(path: &Path) -> Result<Option<String>, Failure> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error).into()),
    }
}

/// A small secret that nobody else may read; erased when it is dropped.
pub(crate) fn read_secret(path: &Path, bytes_max: usize) -> Result<Option<Zeroizing<String>>, Failure> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut text = Zeroizing::new(String::with_capacity(bytes_max));
    let mut file = match File::open(path) {
        Ok(file) => file.take(limit),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error).into()),
    };
    private(path, file.get_ref())?;
    file.read_to_string(&mut text).map_err(|error| failed(path, &error))?;
    Ok(Some(text))
}

/// A key that others can read may be theirs by now.
#[cfg(unix)]
fn private(path: &Path, file: &File) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().map_err(|error| failed(path, &error))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(format!("others can use {path}: if nobody did, run `chmod 600 {path}`; else make a new key").into())
}

#[cfg(not(unix))]
fn private(_: &Path, _: &File) -> Result<(), Failure> {
    Ok(())
}
