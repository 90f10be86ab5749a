//! What this process has in memory.

use crate::Failure;

/// Bytes in memory now.
pub(crate) fn resident() -> Result<u64, Failure> {
    read("VmRSS:")
}

/// Bytes in memory when they were most.
pub(crate) fn highest() -> Result<u64, Failure> {
    read("VmHWM:")
}

fn read(field: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let line = line.ok_or_else(|| format!("no {field} in /proc/self/status"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib.saturating_mul(1024))
}
