//! `sdpp ledger log`.

use super::Failure;
use super::reach::{Reach, Remote};
use super::show::{self, Out};
use crate::home::{Home, Role};
use crate::text::short_key;

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
        let left = usize::try_from(end.saturating_sub(next)).unwrap_or(usize::MAX);
        let page = remote.client.entries(next, left).await.map_err(|error| remote.explain(error))?;
        if page.is_empty() {
            return Err("the replica ends before its own size".into());
        }
        for entry in page {
            let (kind, what) = (show::kind(entry.body()), show::what(&entry, false));
            let line = format!("{next:>8}  {kind:<13}  {}  {what}", short_key(&entry.issuer()));
            args.out.tell(&line, &show::entry_json(next, &entry));
            next = next.saturating_add(1);
        }
    }
    if !args.out.is_json() {
        let shown = end.saturating_sub(first);
        eprintln!("{shown} of {size} entries of {}, each proved to be in its tree", remote.client.origin());
    }
    Ok(())
}
