//! Inclusion proofs: made by the ledger's own read path, and verified.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sdpp_ledger::LedgerService;
use sdpp_log::{Checkpoint, Hash, leaf_hash, verify_inclusion};
use sdpp_proto::hash::sha256;

use super::World;
use crate::{Failure, per_second, since};

/// Proofs that are made one after the other, and by readers beside each other.
const COUNT: u64 = 20_000;
/// Readers at once: as many as the runtime has threads.
const READERS: u64 = 2;

/// Inclusion proofs per second.
#[derive(Clone, Copy, Debug)]
pub struct Proofs {
    /// Made for one reader.
    pub one: f64,
    /// Made for two readers at once.
    pub two: f64,
    /// Verified by one thread, from the entry's bytes to the root.
    pub verified: f64,
    /// Made for one reader by way of whatever writers go through; the same as `one` without HTTP.
    pub by_way: f64,
}

/// A proof with what it is of.
struct Proved {
    index: u64,
    entry: Vec<u8>,
    proof: Vec<Hash>,
}

pub(super) async fn measure(world: &Arc<World>, checkpoint: &Checkpoint, most: u64) -> Result<Proofs, Failure> {
    let (size, root) = (checkpoint.size(), checkpoint.root());
    let count = COUNT.min(most.saturating_mul(10));
    let ledger: Arc<dyn LedgerService> = Arc::new(world.ledger.clone());
    let one = rate(vec![ledger.clone()], count, size).await?;
    let by_way = rate(vec![world.way.clone()], count, size).await?;
    let two = rate((0..READERS).map(|_| ledger.clone()).collect(), count, size).await?;
    let mut proved = Vec::new();
    for number in 0..count.min(1_000) {
        let index = drawn(number, size);
        let entry = ledger.entries(index, 1).await?.pop().ok_or("the ledger has no such entry")?;
        proved.push(Proved { index, entry, proof: ledger.inclusion(index, size).await? });
    }
    let start = Instant::now();
    for Proved { index, entry, proof } in proved.iter().cycle().take(usize::try_from(count)?) {
        verify_inclusion(&leaf_hash(black_box(entry)), *index, size, proof, &root)?;
    }
    Ok(Proofs { one, two, verified: per_second(count, since(start)), by_way })
}

/// Each makes so many proofs of entries anywhere in the log.
async fn rate(readers: Vec<Arc<dyn LedgerService>>, count: u64, size: u64) -> Result<f64, Failure> {
    let all = count.saturating_mul(u64::try_from(readers.len())?);
    let start = Instant::now();
    let read = |reader: Arc<dyn LedgerService>| async move {
        for number in 0..count {
            reader.inclusion(drawn(number, size), size).await?;
        }
        Ok::<_, Failure>(())
    };
    let tasks: Vec<_> = readers.into_iter().map(|reader| tokio::spawn(read(reader))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(per_second(all, since(start)))
}

/// A place in the log that looks like chance.
fn drawn(number: u64, size: u64) -> u64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(sha256(&number.to_be_bytes())).for_each(|(to, from)| *to = from);
    u64::from_be_bytes(bytes).checked_rem(size).unwrap_or_default()
}
