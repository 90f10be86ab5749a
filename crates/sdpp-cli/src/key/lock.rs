//! `sdpp key passphrase` and `sdpp key import`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::Whose;
use super::file::KeyFile;
use super::passphrase::{self, Passphrase};
use super::ring::{KEY, Unlocked, line, read};
use crate::home::{Failure, Home, RoleHome, create};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Take the passphrase away: whoever reads the files has the keys.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    whose: Whose,
}

#[derive(clap::Args)]
pub(super) struct ImportArgs {
    /// A copy of a key's file.
    file: PathBuf,
    /// Take it in place of the key that is there, which is kept as an old one.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    whose: Whose,
}

/// Locks all keys of a role, old ones too: each of them still signs.
pub(super) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let Whose { role, out } = &args.whose;
    let folder = home.role(*role)?;
    let names = folder.key_names()?;
    if names.is_empty() {
        return Err(format!("the {role} has no key yet: {}", folder.file(KEY).display()).into());
    }
    // All are open before any is changed.
    let mut open = Vec::new();
    let mut known: Option<Passphrase> = None;
    for name in &names {
        let file = folder.key_file(name)?.ok_or_else(|| format!("{} is gone", folder.file(name).display()))?;
        let Unlocked { seed, passphrase } = unlock(&folder, name, file, known.as_ref())?;
        known = passphrase.or(known);
        open.push((name, seed));
    }
    let fresh =
        if args.remove { None } else { Some(passphrase::fresh(&format!("the {role}'s keys"), known.is_some())?) };
    for (name, seed) in &open {
        folder.lock(name, seed, fresh.as_ref())?;
    }
    let path = folder.file(KEY).display().to_string();
    let people = match fresh {
        Some(_) if known.is_none() => format!(
            "{path} has a passphrase now. Copies of before have none, and a disk may keep the old bytes for a while: where \
             that matters, go on with a new key (`sdpp key rotate`). Without the passphrase the key is lost; keep it"
        ),
        Some(_) => format!("{path} has another passphrase now"),
        None => format!("{path} has no passphrase any more: whoever reads it has the key"),
    };
    let programs = json!({ "role": role.to_string(), "file": path, "files": names, "passphrase": fresh.is_some() });
    out.tell(&people, &programs);
    Ok(ExitCode::SUCCESS)
}

/// Opens a key's file, with a passphrase that opened another one if that does.
fn unlock(folder: &RoleHome, name: &str, file: KeyFile, known: Option<&Passphrase>) -> Result<Unlocked, Failure> {
    if let (KeyFile::Locked(locked), Some(known)) = (&file, known)
        && let Ok(seed) = locked.open(known)
    {
        return Ok(Unlocked { seed, passphrase: None });
    }
    folder.open(&folder.file(name), file)
}

/// Takes a key from a copy.
pub(super) fn import(home: &Home, args: &ImportArgs) -> Result<ExitCode, Failure> {
    let Whose { role, out } = &args.whose;
    let folder = home.role(*role)?;
    let from = args.file.display();
    let file = read(&args.file)?.ok_or_else(|| format!("there is no {from}"))?;
    let path = folder.file(KEY);
    let present = folder.key_file(KEY)?.map(|present| present.public());
    // Opened, so that a copy that nobody can open takes no key's place.
    let key = folder.open(&args.file, file)?;
    let public = key.key().public();
    let text = line(&key.seed, key.passphrase.as_ref())?;
    let old = match present {
        Some(present) if present == public => None,
        Some(present) if !args.replace => {
            return Err(format!(
                "the {role} has another key, {present}: with --replace it is kept as an old one, and {public} is used"
            )
            .into());
        }
        Some(_) => Some(folder.switch_to(&text)?.display().to_string()),
        None => {
            create(&path, text.as_bytes())?;
            None
        }
    };
    let mut people = format!("the {role} is {public} now: {}", path.display());
    if let Some(old) = &old {
        people.push_str(&format!("\nthe key before is kept: {old}"));
    }
    let locked = key.passphrase.is_some();
    let programs = json!({
        "role": role.to_string(), "key": public.to_string(), "file": path.display().to_string(), "passphrase": locked,
        "old": old,
    });
    out.tell(&people, &programs);
    Ok(ExitCode::SUCCESS)
}
