//! The key of a role's account: `wallet.json` in its folder, in the encrypted format of wallets.

use std::path::Path;

use sdpp_evm::{BadKeystore, Keystore, PrivateKeySigner};
use zeroize::Zeroizing;

use crate::exit::{Exit, failed};
use crate::home::{Failure, RoleHome, create, read_secret};
use crate::key::passphrase::{self, Passphrase};

/// Its file.
pub(super) const WALLET: &str = "wallet.json";
/// More than a key in hexadecimal digits has.
const KEY_BYTES_MAX: usize = 128;

/// Opens it.
pub(super) fn open(role: &RoleHome) -> Result<PrivateKeySigner, Failure> {
    let path = role.file(WALLET);
    if !path.exists() {
        let role = role.role();
        let what = format!(
            "the {role} has no wallet yet: make one with `sdpp wallet new --as {role}`, or take yours with `sdpp wallet \
             import FILE --as {role}`"
        );
        return Err(failed(Exit::Usage, what));
    }
    unlock(&path)
}

fn unlock(path: &Path) -> Result<PrivateKeySigner, Failure> {
    let wrong = |error: BadKeystore| failed(Exit::Storage, format!("{}: {error}", path.display()));
    let locked = Keystore::look(path).map_err(wrong)?;
    let may_retry = |error: &Refused| error.0 == BadKeystore::Refused;
    let whose = format!("the wallet {}", path.display());
    let open = |passphrase: &Passphrase| locked.open(passphrase.as_bytes()).map_err(Refused);
    passphrase::open(&whose, may_retry, open).map(|(key, _)| key)
}

/// Why it did not open.
struct Refused(BadKeystore);

impl From<Refused> for Failure {
    fn from(Refused(error): Refused) -> Self {
        failed(Exit::Storage, error.to_string())
    }
}

/// The account, where its file says it: no passphrase is needed for that.
pub(super) fn look(role: &RoleHome) -> Result<Option<String>, Failure> {
    let path = role.file(WALLET);
    if !path.exists() {
        return Ok(None);
    }
    let found = Keystore::look(&path);
    let found = found.map_err(|error| failed(Exit::Storage, format!("{}: {error}", path.display())))?;
    Ok(found.address().map(|address| address.to_checksum(None)))
}

/// Makes one, unless there is one.
pub(super) fn make(role: &RoleHome) -> Result<PrivateKeySigner, Failure> {
    keep(role, PrivateKeySigner::random())
}

/// Takes one from elsewhere: an encrypted key, or the hexadecimal digits of one in clear.
pub(super) fn import(role: &RoleHome, from: &Path) -> Result<PrivateKeySigner, Failure> {
    let clear = clear_key(from)?;
    let key = match clear {
        Some(key) => key,
        None => unlock(from)?,
    };
    keep(role, key)
}

/// The key of a file that has it in clear.
fn clear_key(from: &Path) -> Result<Option<PrivateKeySigner>, Failure> {
    let text: Zeroizing<String> = read_secret(from, KEY_BYTES_MAX)?
        .ok_or_else(|| failed(Exit::Usage, format!("there is no {}", from.display())))?;
    let digits = text.trim().trim_start_matches("0x");
    if digits.len() != 64 {
        return Ok(None);
    }
    Ok(digits.parse().ok())
}

fn keep(role: &RoleHome, key: PrivateKeySigner) -> Result<PrivateKeySigner, Failure> {
    let path = role.file(WALLET);
    let there = || format!("the {} has a wallet already: move {} away first", role.role(), path.display());
    if path.exists() {
        return Err(failed(Exit::Refused, there()));
    }
    let passphrase = passphrase::fresh(&format!("the {}'s wallet", role.role()), false)?;
    let text = Keystore::lock(&key, passphrase.as_bytes(), &role.file(""));
    let text = text.map_err(|error| failed(Exit::Storage, error.to_string()))?;
    if create(&path, text.as_bytes())? { Ok(key) } else { Err(failed(Exit::Refused, there())) }
}
