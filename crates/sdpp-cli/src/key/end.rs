//! `sdpp key rotate`, `revoke`, `record`, `check`: how a key ends, and who is told (`spec/records.md` §5).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sdpp_ledger::LedgerRecords;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::statement::{Form, KeyNotice, Revocation, RevokeReason, Rotation};
use sdpp_rail::{Records as _, Standing};
use serde_json::{Value, json};

use super::Whose;
use crate::home::{Failure, Home, Role, RoleHome, replace};
use crate::ledger::reach::{Reach, Remote};
use crate::ledger::show::{self, Out};
use crate::text::time;

/// Exit code of `check` for a key that gave way to another.
const EXIT_ROTATED: u8 = 3;
/// Exit code of `check` for a key that is over.
const EXIT_REVOKED: u8 = 4;

#[derive(clap::Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    telling: Telling,
}

#[derive(clap::Args)]
pub(super) struct RevokeArgs {
    /// Yes, for ever: no key comes back from this.
    #[arg(long, required = true)]
    yes: bool,
    /// Why.
    #[arg(long, value_enum, default_value = "unspecified")]
    reason: Reason,
    /// Put the key by, so that the next use makes a new one.
    #[arg(long)]
    renew: bool,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    telling: Telling,
}

#[derive(clap::Args)]
pub(super) struct RecordArgs {
    /// The statement, as `rotate` or `revoke` wrote it.
    file: PathBuf,
    /// Who records it, with its own replica.
    #[arg(long, value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Args)]
pub(super) struct CheckArgs {
    /// The key (z6Mk… or did:key:…).
    key: PublicKey,
    /// Who asks, with its own replica.
    #[arg(long, value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

/// Who is told.
#[derive(clap::Args)]
struct Telling {
    #[command(flatten)]
    reach: Reach,
    /// Record it nowhere: only write the statement's file, to be handed out.
    #[arg(long, conflicts_with = "ledger")]
    no_ledger: bool,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Reason {
    /// Not said.
    Unspecified,
    /// It is not used any more.
    Retired,
    /// Somebody else has it, or may have it.
    Exposed,
}

impl From<Reason> for RevokeReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::Retired => Self::Retired,
            Reason::Exposed => Self::Exposed,
        }
    }
}

/// Makes a new key, has both sign, tells the ledger, and only then uses it.
pub(super) async fn rotate(home: &Home, args: &RotateArgs) -> Result<ExitCode, Failure> {
    let Whose { role, out } = &args.whose;
    let folder = home.role(*role)?;
    let unlocked = folder.unlocked_current()?;
    let key = unlocked.key();
    let remote = args.telling.remote(home, *role, &key).await;
    let remote = remote.map_err(|error| format!("{error}\nNothing was changed; without a ledger: --no-ledger"))?;
    let before = standing(remote.as_ref(), &key.public()).await?;
    if let Standing::Revoked { at, .. } = before {
        return Err(format!("{} was revoked, from {} on: nothing follows it", key.public(), time(at)).into());
    }
    let next = folder.next(&unlocked)?;
    let again = match before {
        Standing::Rotated { to, .. } if to == next.public() => true,
        Standing::Rotated { to, .. } => return Err(format!("{} gave way to {to} already", key.public()).into()),
        Standing::Good | Standing::Revoked { .. } => false,
    };
    let notice = KeyNotice::Rotation(Rotation::sign(&key, &next, sdpp::now()));
    let file = write(&folder, &notice)?;
    let told = match &remote {
        // It was recorded, and then the program ended.
        Some(_) if again => json!({ "ledger": args.telling.reach.url() }),
        Some(remote) => tell_ledger(remote, &key, &notice, &file).await?,
        None => Value::Null,
    };
    let old = folder.switch()?.display().to_string();
    let people = format!(
        "the {role} is {} now: keep a copy of the new key\nit was {}, whose key is kept: {old}\n\
         Old orders are settled and old vouchers redeemed with the old key, and its money and channels stay its own:\n  \
         SDPP_KEY={} sdpp ledger balance --as {role}\nstatement   {}\n{}",
        next.public(),
        key.public(),
        Path::new(&old).file_name().unwrap_or_default().display(),
        file.display(),
        recorded_line(&told, &file),
    );
    let programs = json!({
        "role": role.to_string(), "key": next.public().to_string(), "old": key.public().to_string(), "old_file": old,
        "statement": file.display().to_string(), "id": notice.id().to_string(), "recorded": told,
    });
    out.tell(&people, &programs);
    Ok(ExitCode::SUCCESS)
}

/// Signs the end of a key, writes that down, then tells the ledger.
pub(super) async fn revoke(home: &Home, args: &RevokeArgs) -> Result<ExitCode, Failure> {
    let Whose { role, out } = &args.whose;
    let folder = home.role(*role)?;
    let unlocked = if args.renew { folder.unlocked_current()? } else { folder.unlocked()? };
    let key = unlocked.key();
    let notice = KeyNotice::Revocation(Revocation::sign(&key, sdpp::now(), args.reason.into()));
    let file = write(&folder, &notice)?;
    let told = match args.telling.remote(home, *role, &key).await {
        Ok(None) => Value::Null,
        Ok(Some(remote)) => tell_ledger(&remote, &key, &notice, &file).await?,
        Err(error) => return Err(not_recorded(&error, &file)),
    };
    let old = if args.renew { Some(folder.retire()?.display().to_string()) } else { None };
    let public = key.public();
    let kept = match &old {
        Some(old) => format!("the key is kept as {old}; the next use makes a new one"),
        None => {
            "the key stays where it is, for what is still to be settled; money on its account is still its own".into()
        }
    };
    let people = format!(
        "{public} is over: nobody is to believe anything new by it\n{kept}\nstatement   {}\n{}",
        file.display(),
        recorded_line(&told, &file)
    );
    let programs = json!({
        "role": role.to_string(), "key": public.to_string(), "statement": file.display().to_string(),
        "id": notice.id().to_string(), "old_file": old, "recorded": told,
    });
    out.tell(&people, &programs);
    Ok(ExitCode::SUCCESS)
}

/// Records a statement from its file.
pub(super) async fn record(home: &Home, args: &RecordArgs) -> Result<ExitCode, Failure> {
    let path = args.file.display();
    let bytes = std::fs::read(&args.file).map_err(|error| format!("{path}: {error}"))?;
    let notice = KeyNotice::parse(&bytes).map_err(|error| format!("{path} does not end a key: {error}"))?;
    let remote = Remote::open(home, args.role, &args.reach).await?;
    let told = tell_ledger(&remote, &remote.key, &notice, &args.file).await?;
    let people = format!("{}\n{}", said(&notice), recorded_line(&told, &args.file));
    let programs = json!({ "key": notice.key().to_string(), "id": notice.id().to_string(), "recorded": told });
    args.out.tell(&people, &programs);
    Ok(ExitCode::SUCCESS)
}

/// Asks the ledger for a key, by the role's own replica.
pub(super) async fn check(home: &Home, args: &CheckArgs) -> Result<ExitCode, Failure> {
    // Looking needs nobody's key, so nobody's passphrase.
    let nobody = SigningKey::from_seed(&sdpp::entropy::draw()?);
    let remote = Remote::open_as(home, args.role, &args.reach, nobody).await?;
    let found = standing(Some(&remote), &args.key).await?;
    let size = remote.look(|fold| Ok(fold.size())).await?;
    let key = args.key;
    let (people, more, code) = match found {
        Standing::Good => (format!("{key} stands"), json!({ "standing": "good" }), 0),
        Standing::Rotated { to, at, record } => (
            format!("{key} gave way\n  to  {to}\n  at  {}, by its own word", time(at)),
            json!({ "standing": "rotated", "to": to.to_string(), "at_ms": at.as_ms(), "record": record.to_string() }),
            EXIT_ROTATED,
        ),
        Standing::Revoked { at, reason, record } => (
            format!("{key} is over\n  from  {}, by its own word\n  why   {}", time(at), reason.name()),
            json!({
                "standing": "revoked", "at_ms": at.as_ms(), "reason": reason.name(), "record": record.to_string(),
            }),
            EXIT_REVOKED,
        ),
    };
    let people = format!("{people}\nafter {size} entries of {}, checked here", remote.client.origin());
    let common = json!({ "key": key.to_string(), "ledger": args.reach.url(), "size": size });
    args.out.tell(&people, &show::with(common, more));
    Ok(ExitCode::from(code))
}

impl Telling {
    async fn remote(&self, home: &Home, role: Role, key: &SigningKey) -> Result<Option<Remote>, Failure> {
        if self.no_ledger {
            return Ok(None);
        }
        Remote::open_as(home, role, &self.reach, key.clone()).await.map(Some)
    }
}

/// The standing by a ledger; where none is asked, nothing is known against the key.
async fn standing(remote: Option<&Remote>, key: &PublicKey) -> Result<Standing, Failure> {
    let Some(remote) = remote else { return Ok(Standing::Good) };
    remote.follow().await?;
    remote.look(|fold| fold.standing(key)).await
}

/// Records a statement and looks whether it counts.
async fn tell_ledger(remote: &Remote, key: &SigningKey, notice: &KeyNotice, file: &Path) -> Result<Value, Failure> {
    remote.follow().await.map_err(|error| not_recorded(&error, file))?;
    let records = LedgerRecords::new(remote.client.clone(), key.clone());
    let record = records.append(&notice.erase(), Form::Full).await;
    let record = record.map_err(|error| not_recorded(&remote.explain(error), file))?;
    let found = standing(Some(remote), notice.key()).await?;
    let counts = match (notice, found) {
        (_, Standing::Revoked { .. }) => true,
        (KeyNotice::Rotation(rotation), Standing::Rotated { to, .. }) => to == rotation.successor,
        (KeyNotice::Rotation(_) | KeyNotice::Revocation(_), Standing::Rotated { .. } | Standing::Good) => false,
    };
    if !counts {
        // Somebody had recorded its hash before, or another rotation.
        return Err(format!(
            "the ledger has something else about {} already, so {} does not count there: see `sdpp key check`, and run \
             this again",
            notice.key(),
            file.display()
        )
        .into());
    }
    Ok(json!({ "ledger": remote.client.origin(), "record": record.to_string() }))
}

fn not_recorded(error: &Failure, file: &Path) -> Failure {
    let file = file.display();
    format!(
        "{error}\nThe statement is signed and in {file}, and no ledger has it: run this again, or \
         `sdpp key record {file} --ledger URL`, or hand it out (--no-ledger)"
    )
    .into()
}

fn recorded_line(told: &Value, file: &Path) -> String {
    match told.get("ledger").and_then(Value::as_str) {
        Some(ledger) => format!("recorded    on {ledger}"),
        None => {
            format!("recorded    nowhere: hand the statement out, or `sdpp key record {} --ledger URL`", file.display())
        }
    }
}

fn said(notice: &KeyNotice) -> String {
    match notice {
        KeyNotice::Rotation(said) => format!("{} gave way to {}", said.key, said.successor),
        KeyNotice::Revocation(said) => format!("{} is over, from {} on", said.key, time(said.at)),
    }
}

/// Writes a statement where its key is.
fn write(folder: &RoleHome, notice: &KeyNotice) -> Result<PathBuf, Failure> {
    let id: String = notice.id().to_string().chars().take(16).collect();
    let statement = notice.erase();
    let path = folder.file(&format!("{}-{id}.cose", statement.kind.name()));
    replace(&path, &statement.bytes)?;
    Ok(path)
}
