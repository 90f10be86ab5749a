//! Reaching a ledger: its server, whom to believe about it, and the replica of a role.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sdpp_ledger::http::{ClientOptions, HttpLedger, Roots};
use sdpp_ledger::{Answer, Entry, Fold, LedgerClient, LedgerService, ServiceError, Submitted, Verifier};
use sdpp_log::{Checkpoint, Hash, Note, VerifierKey};
use sdpp_proto::hash::sha256;
use sdpp_proto::identity::SigningKey;
use sdpp_rail::{Durability, RailError, SqliteStore, StoreError};

use super::{Failure, station, trust};
use crate::config;
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, RoleHome, is_busy};
use crate::text::hex;
use crate::watch::Followed;

/// How long to wait for a replica while all are in use.
const TURN_MS: u64 = 30_000;
/// Replicas of one ledger that a role may have: commands that run at the same time.
const REPLICAS: u32 = 8;
/// How often to look whether one is free.
const TURN_LOOK_MS: u64 = 20;
/// How often progress is shown.
const PROGRESS_MS: u64 = 1_000;

/// Where a ledger is unless something else is said.
const USUAL: &str = "http://127.0.0.1:7420";

/// Which ledger, and whom to believe about it.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Reach {
    /// Where the ledger is; else the configuration says it, else http://127.0.0.1:7420.
    #[arg(long, value_name = "URL", env = "SDPP_LEDGER")]
    ledger: Option<String>,
    /// Its verifier key; if not given, the one that it shows at first is trusted and remembered.
    #[arg(long, value_name = "VKEY")]
    trust_ledger: Option<VerifierKey>,
    /// Verifier key of a witness; remembered, may be given several times.
    #[arg(long, value_name = "VKEY")]
    witness: Vec<VerifierKey>,
    /// How many witnesses must have cosigned; all that are given if not said.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    /// Certificates to believe, as PEM; else the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Reach {
    /// A ledger that was named in another way than by the option.
    pub(crate) fn at(url: &str) -> Self {
        Self { ledger: Some(url.to_owned()), ..Self::default() }
    }

    /// The one that the environment names, if it does.
    pub(crate) fn of_environment() -> Self {
        let named = std::env::var("SDPP_LEDGER").ok().filter(|url| !url.is_empty());
        named.as_deref().map_or_else(Self::default, Self::at)
    }

    /// The URL that was named, if one was.
    pub(crate) fn named(&self) -> Option<&str> {
        self.ledger.as_deref()
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        self.ledger.as_deref().unwrap_or(USUAL).trim_end_matches('/')
    }

    /// What is not said, taken from the configuration; of another ledger it says nothing.
    pub(crate) fn or(mut self, config: &config::Ledger) -> Self {
        let trimmed = |url: &Option<String>| url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        if self.ledger.is_some() && trimmed(&self.ledger) != trimmed(&config.url) {
            return self;
        }
        self.ledger = self.ledger.or_else(|| config.url.clone());
        self.trust_ledger = self.trust_ledger.or_else(|| config.trust.clone());
        self.quorum = self.quorum.or(config.quorum);
        self.ca = self.ca.or_else(|| config.ca.clone());
        if self.witness.is_empty() {
            self.witness.clone_from(&config.witnesses);
        }
        self
    }

    /// The ledger that a seller's menu names, where nobody named another.
    pub(crate) fn or_menu(mut self, url: &str) -> Self {
        self.ledger.get_or_insert_with(|| url.to_owned());
        self
    }
}

/// A ledger that was reached, followed in the name of a role.
pub(crate) struct Remote {
    pub(crate) url: String,
    pub(crate) role: RoleHome,
    pub(crate) key: SigningKey,
    pub(crate) service: Arc<Watched>,
    pub(crate) client: Arc<LedgerClient>,
}

impl Remote {
    /// Finds out who answers, decides whom to believe, and opens the role's replica.
    pub(crate) async fn open(home: &Home, role: Role, reach: &Reach) -> Result<Self, Failure> {
        Self::connect(home, role, reach, None).await
    }

    /// The same, but whoever signs has this key.
    pub(crate) async fn open_as(home: &Home, role: Role, reach: &Reach, key: SigningKey) -> Result<Self, Failure> {
        Self::connect(home, role, reach, Some(key)).await
    }

    async fn connect(home: &Home, role: Role, reach: &Reach, key: Option<SigningKey>) -> Result<Self, Failure> {
        let reach = &reach.clone().or(&home.config()?.ledger);
        let url = reach.url().to_owned();
        let mut options = ClientOptions::new(tokio::runtime::Handle::current());
        if let Some(ca) = &reach.ca {
            options.roots = Roots::Pem(station::read(ca)?);
        }
        let http = HttpLedger::new(&url, options).map_err(|error| format!("--ledger {url}: {error}"))?;
        let claimed = http.claimed_key().await.map_err(|_| unreachable(&url))?;
        let asked =
            trust::Asked { key: reach.trust_ledger.clone(), witnesses: reach.witness.clone(), quorum: reach.quorum };
        let policy = trust::policy(home, &url, &claimed, &asked)?;
        let role = home.role(role)?;
        let key = key.map_or_else(|| role.key(), Ok)?;
        // The state would be fetched again, but the checkpoint in it is the memory against forks.
        let (store, name) = open_replica(&role, &replica_name(policy.log())).await?;
        let store = store.with_cache(sdpp_ledger::limits::STORE_CACHE_KIB)?;
        let service = Arc::new(Watched::new(http));
        let client = LedgerClient::new(service.clone(), policy, Some(Box::new(store))).map_err(|error| {
            // What it remembers is what tells a replaced ledger from the right one: no advice to remove it.
            format!("{}: {error}", role.file(&format!("{name}.db")).display())
        })?;
        Ok(Self { url, role, key, service, client: Arc::new(client) })
    }

    /// For whoever watches whether it is there.
    pub(crate) fn followed(&self) -> Followed {
        let client = self.client.clone();
        Followed::new(format!("the ledger at {}", self.url), move || {
            let client = client.clone();
            Box::pin(async move { client.follow().await.map(drop) })
        })
    }

    /// The server itself, whose word is only its word.
    pub(crate) fn http(&self) -> &HttpLedger {
        &self.service.http
    }

    /// Follows the log to its newest checkpoint; gives the number of entries. Long ways are shown.
    pub(crate) async fn follow(&self) -> Result<u64, Failure> {
        let mut following = pin!(self.client.follow());
        let mut shown = false;
        let size = loop {
            let pause = tokio::time::sleep(Duration::from_millis(PROGRESS_MS));
            tokio::select! {
                size = &mut following => break size,
                () = pause => shown |= self.service.show_progress(),
            }
        };
        if shown && std::io::stderr().is_terminal() {
            eprintln!("");
        }
        size.map_err(|error| self.explain(error))
    }

    /// Looks at the own replica, as it was followed last.
    pub(crate) async fn look<T>(&self, look: impl FnOnce(&Fold) -> Result<T, StoreError> + Send) -> Result<T, Failure> {
        self.client.look(look).await.map_err(|error| self.explain(error))
    }

    /// What is wrong, and what to do next.
    pub(crate) fn explain(&self, error: RailError) -> Failure {
        match error {
            RailError::Dishonest(what) => failed(Exit::Dishonest, self.keep_evidence(what)),
            RailError::Declined(why) => failed(Exit::Refused, format!("the ledger refused: {why}")),
            RailError::Unknown => "no answer, so nobody knows whether the ledger took it. Run the same command again, \
                                   with the same --reference where there is one: it is taken once at most"
                .into(),
            RailError::Unavailable => self.unavailable(),
        }
    }

    fn unavailable(&self) -> Failure {
        let seen = self.service.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match (seen.error, &seen.note) {
            (Some(ServiceError::Frozen), _) => {
                format!("{}: the ledger could not write and takes nothing more: tell its operator", self.url).into()
            }
            (None, Some(note)) => match self.client.policy().check(note.as_bytes(), &Verifier) {
                // A witness that is started again cosigns again: nothing was sent, so trying later is harmless.
                Err(error) => failed(
                    Exit::Unreachable,
                    format!(
                        "{} shows a checkpoint that is not to be believed: {error}. Ask its operator whether its \
                         witnesses run, or say whom to believe with --witness and --quorum",
                        self.url
                    ),
                ),
                Ok(_) => {
                    format!("{}: the replica cannot be written; is the disk full?", self.role.file("").display()).into()
                }
            },
            (Some(_) | None, _) => unreachable(&self.url),
        }
    }

    /// Writes down how the ledger was caught: whoever shows it to others proves it.
    fn keep_evidence(&self, what: &str) -> String {
        let Some(evidence) = self.client.evidence() else { return format!("the ledger is not to be trusted: {what}") };
        let mut text = format!("{}: {what}\n", self.client.origin());
        for note in &evidence.notes {
            text.push_str(&format!("\n{note}"));
        }
        if let Some(entry) = &evidence.entry {
            text.push_str(&format!("\nentry {}\n", hex(entry)));
        }
        let file = self.role.file(&format!("evidence-{}.txt", hash8(text.as_bytes())));
        match std::fs::write(&file, text) {
            Ok(()) if evidence.what.is_proof() => {
                format!("the ledger is not to be trusted: {what}. The proof is in {}", file.display())
            }
            Ok(()) => {
                let file = file.display();
                format!("the ledger is not to be trusted: {what}. What was seen is in {file}; ask its witnesses")
            }
            Err(error) => format!("the ledger is not to be trusted: {what}. {}: {error}", file.display()),
        }
    }

    /// Submits an entry and sees it in the log; says whether it was there before.
    pub(crate) async fn submit(&self, entry: &Entry) -> Result<Done, Failure> {
        let before = self.follow().await?;
        let place = self.client.submit(entry).await.map_err(|error| self.explain(error))?;
        let size = self.look(|fold| Ok(fold.size())).await?;
        Ok(Done { index: place.index, id: place.id.to_string(), size, again: place.index < before })
    }
}

/// An entry that is in the log.
pub(crate) struct Done {
    pub(crate) index: u64,
    pub(crate) id: String,
    pub(crate) size: u64,
    /// It was there already.
    pub(crate) again: bool,
}

fn unreachable(url: &str) -> Failure {
    let hint = if url.starts_with("https") { " Is its certificate believed (--ca)?" } else { "" };
    failed(
        Exit::Unreachable,
        format!("{url} does not answer, or not as a ledger: does `sdpp ledger serve` run there?{hint}"),
    )
}

fn hash8(bytes: &[u8]) -> String {
    hex(&sha256(bytes)).chars().take(16).collect()
}

/// By name and key: many ledgers of beginners have the same name.
fn replica_name(log: &VerifierKey) -> String {
    format!("ledger-replica-{}", hash8(log.to_string().as_bytes()))
}

/// A role has several replicas of a ledger, so that its commands need not wait for what it runs all
/// day. Gives the first that is free, and its name. The lock of its store is what holds it, so that nobody
/// takes it for free before the last one who has it has closed it.
async fn open_replica(role: &RoleHome, name: &str) -> Result<(SqliteStore, String), Failure> {
    let start = Instant::now();
    loop {
        for number in 1..=REPLICAS {
            let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            let path = role.file(&format!("{name}.db"));
            match role.store(&name, Durability::Power) {
                Ok(store) => return Ok((store, name)),
                // Another command has it.
                Err(_) if is_busy(&path) => {}
                // Not any more; or there is something else, which shows again.
                Err(_) => return role.store(&name, Durability::Power).map(|store| (store, name)),
            }
        }
        if start.elapsed() > Duration::from_millis(TURN_MS) {
            let what = format!("{REPLICAS} other commands of this role use {}: end one", role.file(name).display());
            return Err(failed(Exit::InUse, what));
        }
        tokio::time::sleep(Duration::from_millis(TURN_LOOK_MS)).await;
    }
}

#[derive(Default)]
struct Seen {
    /// How the last question failed, if it did.
    error: Option<ServiceError>,
    /// The last checkpoint.
    note: Option<Arc<str>>,
}

/// A served ledger, with a memory of what it said last: for progress, and for what to say when it
/// fails.
pub(crate) struct Watched {
    http: HttpLedger,
    seen: Mutex<Seen>,
    /// End of the entries that came.
    reached: AtomicU64,
}

impl Watched {
    fn new(http: HttpLedger) -> Self {
        Self { http, seen: Mutex::default(), reached: AtomicU64::new(0) }
    }

    fn note<T>(&self, answer: Result<T, ServiceError>) -> Result<T, ServiceError> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).error = answer.as_ref().err().copied();
        answer
    }

    /// Says how far it is; whether there is something to say.
    fn show_progress(&self) -> bool {
        let reached = self.reached.load(Ordering::Relaxed);
        let note = self.seen.lock().unwrap_or_else(PoisonError::into_inner).note.clone();
        let note = note.and_then(|note| Note::parse(note.as_bytes()).ok());
        let checkpoint = note.and_then(|note| Checkpoint::parse(note.text()).ok());
        let Some(checkpoint) = checkpoint.filter(|_| reached > 0) else { return false };
        let line = format!("followed {reached} of {} entries of {}", checkpoint.size(), checkpoint.origin());
        if std::io::stderr().is_terminal() {
            eprint!("\r{line}");
            // Only a display.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
        true
    }
}

impl LedgerService for Watched {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        Box::pin(async move { self.note(self.http.submit(entry).await) })
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        Box::pin(async move {
            let answer = self.note(self.http.checkpoint().await);
            if let Ok(note) = &answer {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).note = Some(note.clone());
            }
            answer
        })
    }

    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let answer = self.note(self.http.entries(from, max).await);
            let count = answer.as_ref().map_or(0, Vec::len);
            self.reached.fetch_max(from.saturating_add(u64::try_from(count).unwrap_or(0)), Ordering::Relaxed);
            answer
        })
    }

    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        Box::pin(async move { self.note(self.http.inclusion(index, size).await) })
    }

    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        Box::pin(async move { self.note(self.http.consistency(old, new).await) })
    }
}
