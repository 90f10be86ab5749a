//! `sdpp ledger prove`: an entry with its proofs, as files that travel.

use std::path::{Path, PathBuf};

use sdpp_ledger::{Entry, Receipt, Verifier};
use sdpp_log::leaf_hash;
use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::statement::AnyStatement;
use serde_json::json;

use super::reach::{Reach, Remote};
use super::show::Out;
use super::{Failure, station};
use crate::home::{Home, Role};
use crate::text::hex32;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The entry: its index, the id of a recorded statement, or a file with the entry or the statement.
    #[arg(value_name = "INDEX|STATEMENT_ID|FILE.cose")]
    what: String,
    /// The files are called PREFIX.cose, PREFIX.tlog-proof and PREFIX.receipt; `entry-INDEX` if not given.
    #[arg(long, value_name = "PREFIX")]
    out: Option<PathBuf>,
    /// Who asks, with its own replica.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    show: Out,
}

/// Fetches, verifies, writes.
pub(super) async fn run(home: &Home, args: &Args) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
    let size = remote.follow().await?;
    let index = find(&remote, &args.what).await?;
    let entry = remote.client.entry(index).await.map_err(|error| remote.explain(error))?;
    let entry = entry.ok_or_else(|| format!("{} has {size} entries, none at {index}", remote.client.origin()))?;
    entry.verify()?;
    let lost = |error| format!("the ledger gives no proof: {error}");
    let proof = remote.http().proof_of(index).await.map_err(lost)?;
    let receipt = remote.http().receipt_of(index).await.map_err(lost)?;

    let policy = remote.client.policy();
    let trusted = proof.verify(&leaf_hash(entry.bytes()), policy, &Verifier)?;
    if proof.index() != index {
        return Err(format!("the ledger proves entry {} for entry {index}", proof.index()).into());
    }
    let log = PublicKey::from_bytes(*policy.log().public()).map_err(|_| "the log's key is not acceptable")?;
    Receipt::parse(&receipt)?.verify(entry.bytes(), &log)?;

    let prefix = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("entry-{index}")));
    let (cose, tlog, cbor) = (with(&prefix, "cose"), with(&prefix, "tlog-proof"), with(&prefix, "receipt"));
    write(&cose, entry.bytes())?;
    write(&tlog, proof.to_string().as_bytes())?;
    write(&cbor, &receipt)?;
    let mut check = format!("sdpp ledger verify {} --log {}", cose.display(), policy.log());
    for cosigned in &trusted.cosigned_at {
        check.push_str(&format!(" --witness {}", cosigned.witness));
    }
    let files = [&cose, &tlog, &cbor].map(|path| path.display().to_string());
    let people = format!(
        "entry     {index}, proved in the tree of {} entries, cosigned by {} of {} witnesses\nfiles     {}\nanybody checks them, off line:\n  {check}",
        trusted.checkpoint.size(),
        trusted.cosigned_at.len(),
        policy.witnesses().len(),
        files.join(" ")
    );
    let cosigned: Vec<String> = trusted.cosigned_at.iter().map(|cosigned| cosigned.witness.to_string()).collect();
    let programs = json!({
        "index": index, "id": entry.id().to_string(), "size": trusted.checkpoint.size(), "files": files,
        "log": policy.log().to_string(), "cosigned_by": cosigned,
    });
    args.show.tell(&people, &programs);
    Ok(())
}

/// The index of what was asked for.
async fn find(remote: &Remote, what: &str) -> Result<u64, Failure> {
    // An id may have digits only.
    if let Some(id) = hex32(what).map(StatementId) {
        return by_id(remote, id).await;
    }
    if let Ok(index) = what.parse() {
        return Ok(index);
    }
    let bytes = station::read(Path::new(what))?;
    if let Ok(entry) = Entry::parse(&bytes) {
        let place = remote.look(|fold| fold.place_of(&entry)).await?.filter(|place| place.id == entry.id());
        let place = place.ok_or_else(|| format!("{what}: this entry is not in {}", remote.client.origin()))?;
        return Ok(place.index);
    }
    let statement = AnyStatement::parse(&bytes);
    let id = statement.map_err(|error| format!("{what}: neither an entry nor a statement ({error})"))?.id;
    by_id(remote, id).await
}

/// The place of a statement's record, by the own replica; else of an entry with this id.
async fn by_id(remote: &Remote, id: StatementId) -> Result<u64, Failure> {
    let recorded = remote.look(|fold| fold.record(&id)).await?;
    if let Some(recorded) = recorded {
        return Ok(recorded.place.index);
    }
    let entry = remote.look(|fold| fold.record_entry(&id)).await?;
    let place = entry.ok_or_else(|| format!("{} has no record of statement {id}", remote.client.origin()))?;
    Ok(place.index)
}

fn with(prefix: &Path, end: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()).into())
}
