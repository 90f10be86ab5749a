//! A whole world whose every choice is the input's.

use sdpp_sim::world::simulate_bytes;

/// The bytes choose what happens in the simulator: who crashes, what breaks, what rails and disks answer, how peers lie.
///
/// Its invariants hold after every step: money is conserved, nobody owes or pays more than was agreed, nothing counts
/// twice, what was credited survives, and whoever lies is named and nobody honest is.
pub(crate) fn money_consistency(data: &[u8]) {
    if let Err(failure) = simulate_bytes(data) {
        panic!("{failure}");
    }
}
