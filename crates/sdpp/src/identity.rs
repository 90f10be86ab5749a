//! An identity's file: one line with the seed, as the program `sdpp` keeps it without a passphrase.
//!
//! Whoever reads the file has the key, so it is for its owner only. Keys under a passphrase, rotation
//! and revocation are the program's (`docs/keys.md`); a key that lives in hardware or in a vault is a
//! [`Signer`](sdpp_proto::crypto::Signer) behind
//! [`SigningKey::from_signer`](sdpp_proto::identity::SigningKey::from_signer).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sdpp_proto::identity::SigningKey;
use zeroize::Zeroizing;

use crate::entropy;

/// What a file of a key in clear begins with, so that nobody takes it for anything but a secret.
pub const CLEAR: &str = "SDPP-SECRET-KEY-1";
/// Longer than the line of a key in clear.
const LINE_MAX: usize = 128;

/// The key of a file; makes the file with a fresh key if there is none.
///
/// # Errors
/// The system's, with the path in it; [`InvalidData`](io::ErrorKind::InvalidData) where the file is no
/// key in clear, [`PermissionDenied`](io::ErrorKind::PermissionDenied) also where others may read it.
pub fn read_or_create(path: impl AsRef<Path>) -> io::Result<SigningKey> {
    let path = path.as_ref();
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    match create(path).map_err(|error| named(path, &error)) {
        // Somebody else was faster: theirs is the key.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => read(path),
    }
}

/// The key of a file.
///
/// # Errors
/// As [`read_or_create`]; [`NotFound`](io::ErrorKind::NotFound) where there is none.
pub fn read(path: impl AsRef<Path>) -> io::Result<SigningKey> {
    let path = path.as_ref();
    let mut line = Zeroizing::new(String::with_capacity(LINE_MAX));
    let file = File::open(path).map_err(|error| named(path, &error))?;
    refuse_shared(&file).map_err(|error| named(path, &error))?;
    let limit = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    file.take(limit).read_to_string(&mut line).map_err(|error| named(path, &error))?;
    let seed = parse(&line).ok_or_else(|| {
        let what = "no key in clear: one with a passphrase is opened by the program sdpp";
        named(path, &io::Error::new(io::ErrorKind::InvalidData, what))
    })?;
    Ok(SigningKey::from_seed(&seed))
}

/// The seed of a line; none where it is no line of this form.
fn parse(line: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = line.strip_suffix('\n').unwrap_or(line).strip_prefix(CLEAR)?.strip_prefix(' ')?;
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let mut seed = Zeroizing::new([0; 32]);
    if pairs.len() != seed.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in seed.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(seed)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.saturating_sub(b'a').checked_add(10),
        _ => None,
    }
}

/// Makes the file, whole and durable, or not at all.
fn create(path: &Path) -> io::Result<()> {
    let seed = entropy::draw().map_err(io::Error::other)?;
    let mut line = Zeroizing::new(String::with_capacity(LINE_MAX));
    line.push_str(CLEAR);
    line.push(' ');
    // Digit by digit: a formatted copy would stay behind in memory.
    for nibble in seed.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        line.push(char::from_digit(nibble.into(), 16).unwrap_or_default());
    }
    line.push('\n');
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let made = write_private(&beside, line.as_bytes()).and_then(|()| fs::hard_link(&beside, path));
    // What is left over of it is not the file.
    let _ = fs::remove_file(&beside);
    made?;
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())?;
    }
    Ok(())
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A key that others can read may be theirs by now.
#[cfg(unix)]
fn refuse_shared(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if file.metadata()?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    let what = "others can use this key: if nobody did, give the file the mode 600; else make a new key";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

#[cfg(not(unix))]
fn refuse_shared(_: &File) -> io::Result<()> {
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sdpp-identity-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = Folder::new("once");
        let path = folder.0.join("key");
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let key = read_or_create(&path).unwrap().public();
        assert_eq!(read_or_create(&path).unwrap().public(), key);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_key_stays_as_it_is() {
        let folder = Folder::new("bad");
        let path = folder.0.join("key");
        let zeros = "0".repeat(64);
        let short = zeros.get(1..).unwrap();
        for bad in [String::new(), zeros.clone(), format!("SDPP-SECRET-KEY-2 {zeros}"), format!("{CLEAR} {short}")] {
            let _ = fs::remove_file(&path);
            write_private(&path, bad.as_bytes()).unwrap();
            let error = read_or_create(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad}: {error}");
            assert!(!error.to_string().contains(&zeros), "nothing of the file is told");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::new("shared");
        let path = folder.0.join("key");
        read_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_or_create(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }
}
