//! `sdpp ledger log`.

use std::sync::Arc;

use sdpp_ledger::Entry;
use tokio::task::JoinSet;

use super::Failure;
use super::reach::{Reach, Remote};
use super::show::{self, Out};
use crate::home::{Home, Role};
use crate::text::short_key;

/// Entries that are fetched and proved at the same time.
const AT_ONCE: u64 = 32;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Index of the first entry; if not given, the last COUNT are shown.
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_name = "N")]
    count: u64,
    /// Who asks, with its own replica.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

/// Shows entries, each proved to be in the tree that was followed.
pub(super) async fn run(home: &Home, args: &Args) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
    let size = remote.follow().await?;
    let first = args.from.unwrap_or_else(|| size.saturating_sub(args.count));
    if args.from.is_some_and(|from| from > size) {
        return Err(format!(
            "{} has {size} entries, the last one is {}",
            remote.client.origin(),
            size.saturating_sub(1)
        )
        .into());
    }
    let end = first.saturating_add(args.count).min(size);
    let mut next = first;
    while next < end {
        let until = next.saturating_add(AT_ONCE).min(end);
        for (index, entry) in (next..until).zip(fetch(&remote, next..until).await?) {
            let (kind, what) = (show::kind(entry.body()), show::what(&entry, false));
            let line = format!("{index:>8}  {kind:<13}  {}  {what}", short_key(&entry.issuer()));
            args.out.tell(&line, &show::entry_json(index, &entry));
        }
        next = until;
    }
    if !args.out.is_json() {
        let shown = end.saturating_sub(first);
        eprintln!("{shown} of {size} entries of {}, each proved to be in its tree", remote.client.origin());
    }
    Ok(())
}

/// Entries in order, fetched beside each other.
async fn fetch(remote: &Remote, range: std::ops::Range<u64>) -> Result<Vec<Entry>, Failure> {
    let mut asking = JoinSet::new();
    for index in range {
        let client = Arc::clone(&remote.client);
        asking.spawn(async move { (index, client.entry(index).await) });
    }
    let mut found = Vec::new();
    for (index, entry) in asking.join_all().await {
        let entry = entry.map_err(|error| remote.explain(error))?;
        found.push((index, entry.ok_or("the replica ends before its own size")?));
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}
