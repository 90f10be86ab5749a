//! Randomness from the operating system: the only place that asks for it.

use zeroize::Zeroizing;

/// The operating system gave no randomness: nothing safe can be done without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoEntropy;

impl std::fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the operating system gives no random bytes: check that getrandom or /dev/urandom works")
    }
}

impl std::error::Error for NoEntropy {}

/// 32 fresh bytes.
///
/// # Errors
/// [`NoEntropy`].
pub fn draw() -> Result<Zeroizing<[u8; 32]>, NoEntropy> {
    let mut out = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *out).map_err(|_| NoEntropy)?;
    Ok(out)
}
