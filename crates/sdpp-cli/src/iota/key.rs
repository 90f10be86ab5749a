//! The key of a role's account on IOTA: `iota.key` in its folder, under a passphrase as its other keys.

use std::path::Path;

use sdpp_iota::{BadKey, Wallet};
use zeroize::Zeroizing;

use crate::exit::{Exit, failed};
use crate::home::{Failure, RoleHome, read_secret};
use crate::key::file::Seed;
use crate::key::passphrase;

/// Its file.
pub(super) const FILE: &str = "iota.key";
/// More than an exported key has.
const EXPORTED_BYTES_MAX: usize = 256;

/// Opens it.
pub(super) fn open(role: &RoleHome) -> Result<Wallet, Failure> {
    let file = role.key_file(FILE)?.ok_or_else(|| {
        let role = role.role();
        let what = format!(
            "the {role} has no IOTA wallet yet: make one with `sdpp wallet iota new --as {role}`, or take yours with `sdpp \
             wallet iota import FILE --as {role}`"
        );
        failed(Exit::Usage, what)
    })?;
    Ok(Wallet::from_seed(&role.open(&role.file(FILE), file)?.seed))
}

/// Makes one, unless there is one.
pub(super) fn make(role: &RoleHome) -> Result<Wallet, Failure> {
    keep(role, &sdpp::entropy::draw()?)
}

/// Takes one from a file that has it as wallets export it.
pub(super) fn import(role: &RoleHome, from: &Path) -> Result<Wallet, Failure> {
    let text: Zeroizing<String> = read_secret(from, EXPORTED_BYTES_MAX)?
        .ok_or_else(|| failed(Exit::Usage, format!("there is no {}", from.display())))?;
    let seed = Wallet::seed_of(&text);
    let seed = seed.map_err(|error: BadKey| failed(Exit::Usage, format!("{}: {error} (Ed25519)", from.display())))?;
    keep(role, &seed)
}

fn keep(role: &RoleHome, seed: &Seed) -> Result<Wallet, Failure> {
    let path = role.file(FILE);
    if path.exists() {
        let what = format!("the {} has an IOTA wallet already: move {} away first", role.role(), path.display());
        return Err(failed(Exit::Refused, what));
    }
    let passphrase = passphrase::fresh(&format!("the {}'s IOTA wallet", role.role()), false)?;
    role.lock(FILE, seed, Some(&passphrase))?;
    Ok(Wallet::from_seed(seed))
}
