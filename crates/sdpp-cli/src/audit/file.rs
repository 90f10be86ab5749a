//! Audits a bundle wherever it comes from: a file is read several times, so that its length does not matter. What can be
//! read only once, as a pipe, becomes one first.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sdpp::audit::{BundleError, Items, Report, Trust, audit_from};

use crate::exit::{Exit, failed};

/// The verdict on the bundle of this name.
pub(super) fn audit(path: &Path, trust: &Trust) -> Result<Report, Box<dyn Error>> {
    let named = |what: String| failed(Exit::Usage, format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| named(error.to_string()))?;
    let file = if file.metadata()?.is_file() { file } else { copied(file)? };
    match while_same(&file, || audit_from(|| Ok(BufReader::new(Pass { file: &file, at: 0 })), trust))? {
        Some(report) => Ok(report?),
        None => Err(named("changed while it was read; audit it again when it is whole".to_owned())),
    }
}

/// What `look` found, if the file was not written to meanwhile.
fn while_same<T>(file: &File, look: impl FnOnce() -> T) -> io::Result<Option<T>> {
    let state = || -> io::Result<(u64, SystemTime)> {
        let metadata = file.metadata()?;
        Ok((metadata.len(), metadata.modified()?))
    };
    let before = state()?;
    let found = look();
    Ok((state()? == before).then_some(found))
}

/// One reading of an open file, beside others: all of them see one file, also where another takes its name.
struct Pass<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Pass<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let length = file.read(buffer)?;
        self.at = self.at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(length)
    }
}

/// A file without a name that holds what comes, as far as it is a bundle: a stream without end does not fill the disk.
fn copied(from: File) -> Result<File, Box<dyn Error>> {
    let folder = folder();
    let room = |error: io::Error| {
        let text = format!("a pipe is first copied into {}: {error}; TMPDIR names another folder", folder.display());
        failed(Exit::Storage, text)
    };
    let to = BufWriter::new(nameless(&folder).map_err(room)?);
    let mut copy = Copy { from: BufReader::new(from), to, failed: None };
    let read = read_through(&mut copy);
    if let Some(error) = copy.failed {
        return Err(room(error));
    }
    read?;
    copy.to.into_inner().map_err(|error| room(error.into_error()))
}

fn read_through(from: impl Read) -> Result<(), BundleError> {
    let mut items = Items::new(from);
    while items.next_item()?.is_some() {}
    Ok(())
}

/// Writes down what is read of it.
struct Copy {
    from: BufReader<File>,
    to: BufWriter<File>,
    /// Why it could not be written.
    failed: Option<io::Error>,
}

impl Read for Copy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        if let Err(error) = self.to.write_all(buffer.get(..length).unwrap_or_default()) {
            let kind = error.kind();
            self.failed = Some(error);
            return Err(kind.into());
        }
        Ok(length)
    }
}

/// Where the auditor's own file lies, too: not in `/tmp` where there is a choice, for that may be memory.
fn folder() -> PathBuf {
    let named = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().find_map(std::env::var_os).map(PathBuf::from);
    let usual = || Some(PathBuf::from("/var/tmp")).filter(|folder| nameless(folder).is_ok());
    named.or_else(usual).unwrap_or_else(std::env::temp_dir)
}

/// A new file that nobody else can open, and that is gone with the program.
fn nameless(folder: &Path) -> io::Result<File> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let path = folder.join(format!("sdpp-bundle-{:032x}", u128::from_be_bytes(random)));
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sdpp::audit::Bundle;

    use super::*;

    fn trust() -> Trust {
        let seller = sdpp_proto::identity::SigningKey::from_seed(&zeroize::Zeroizing::new([1; 32])).public();
        Trust { seller, log: None }
    }

    fn holding(bytes: &[u8]) -> File {
        let mut file = nameless(&folder()).unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn bundle() -> Vec<u8> {
        Bundle { messages: vec![vec![7; 100_000].into()], ..Bundle::default() }.encode().unwrap()
    }

    #[test]
    fn a_file_that_is_written_to_while_it_is_read_has_no_verdict() {
        let whole = bundle();
        let audited = |change: &dyn Fn(&File, usize)| {
            let (file, opened) = (holding(&whole), Cell::new(0));
            let open = || {
                change(&file, opened.replace(opened.get() + 1));
                Ok(Pass { file: &file, at: 0 })
            };
            while_same(&file, || audit_from(open, &trust())).unwrap()
        };
        assert!(audited(&|_, _| {}).unwrap().is_ok());
        for reading in [0, 1] {
            let longer = |mut file: &File, now| {
                if now == reading {
                    file.seek(SeekFrom::End(0)).unwrap();
                    file.write_all(&[0]).unwrap();
                }
            };
            assert_eq!(audited(&longer), None, "what was read is not the file that is there: reading {reading}");
            let other = |file: &File, now| {
                if now == reading {
                    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
                }
            };
            assert_eq!(audited(&other), None, "reading {reading}");
        }
    }
}
