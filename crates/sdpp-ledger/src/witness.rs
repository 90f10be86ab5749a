//! The witness: somebody else's memory of a log, against forked and rolled back histories.
//!
//! It persists what it vouches for before it answers, so it refuses a fork across its own restart
//! too. Of a fork it keeps the note that it had accepted and the one it was shown: both are signed
//! by the log, and together they are the proof.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use sdpp_log::{Checkpoint, Hash, LogState, Note, Refusal, Signature, VerifierKey, cosign};
use sdpp_proto::identity::SigningKey;
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Row, Store, StoreError};

use crate::keys::{Signer, Verifier, witness_key};
use crate::ledger::Clock;

/// Why a witness does not cosign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WitnessError {
    /// It cannot be reached, or could not persist.
    Unavailable,
    /// Its rule says no.
    Refused(Refusal),
}

impl fmt::Display for WitnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("the witness cannot be reached or could not write"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for WitnessError {}

/// A boxed cosignature.
pub type Cosigning<'a> = Pin<Box<dyn Future<Output = Result<Signature, WitnessError>> + Send + 'a>>;

/// A witness, as ledgers see it (C2SP tlog-witness, "add-checkpoint").
pub trait WitnessService: Send + Sync {
    /// Asks to cosign a checkpoint note that grows, as the proof shows, from the tree of `old`
    /// entries which the witness is believed to know.
    fn cosign<'a>(&'a self, old: u64, proof: &'a [Hash], note: &'a str) -> Cosigning<'a>;
}

/// Why a witness does not start or follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WitnessStartError {
    /// Its name is not a key name, or a log's key is not a log's.
    BadKey,
    /// The store cannot be read.
    Store(StoreError),
    /// What it stored of a log is not a checkpoint of that log.
    WrongState,
}

impl fmt::Display for WitnessStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadKey => f.write_str("not a key for a witness, or not one for a log"),
            Self::Store(error) => error.fmt(f),
            Self::WrongState => f.write_str("the stored checkpoint of a log cannot be read"),
        }
    }
}

impl std::error::Error for WitnessStartError {}

impl From<StoreError> for WitnessStartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct State {
    rule: sdpp_log::Witness,
    store: Box<dyn Store>,
    /// The last note that it cosigned of each log since it started, with its signature.
    cosigned: BTreeMap<String, String>,
    frozen: bool,
}

/// A witness in this process.
pub struct Witness {
    key: SigningKey,
    verifier_key: VerifierKey,
    clock: Clock,
    logs: Vec<VerifierKey>,
    state: Mutex<State>,
}

/// Head with the last accepted note of a log.
fn accepted_head(origin: &str) -> String {
    format!("witness/{origin}")
}

/// Stream of the forks seen of a log: for each, the accepted note and then the other.
fn forks_stream(origin: &str) -> String {
    format!("witness-forks/{origin}")
}

impl Witness {
    /// A witness that follows these logs, from what the store remembers of them. Its name is best a
    /// URL without schema.
    ///
    /// # Errors
    /// [`WitnessStartError`].
    pub fn start(
        name: &str,
        key: SigningKey,
        clock: Clock,
        store: Box<dyn Store>,
        logs: &[VerifierKey],
    ) -> Result<Self, WitnessStartError> {
        let verifier_key = witness_key(name, &key).map_err(|_| WitnessStartError::BadKey)?;
        let mut rule = sdpp_log::Witness::new();
        for log in logs {
            let state = match store.head(&accepted_head(log.name()))? {
                Some(note) => stored_state(&note).ok_or(WitnessStartError::WrongState)?,
                None => LogState::EMPTY,
            };
            rule.follow(log.name(), vec![log.clone()], state).map_err(|_| WitnessStartError::BadKey)?;
        }
        let state = Mutex::new(State { rule, store, cosigned: BTreeMap::new(), frozen: false });
        Ok(Self { key, verifier_key, clock, logs: logs.to_vec(), state })
    }

    /// Its key, for policies.
    pub const fn key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    /// The forks it has seen of a log: pairs of notes, both signed by the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forks(&self, origin: &str) -> Result<Vec<(String, String)>, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = state.store.read(&forks_stream(origin), 0, crate::limits::REPLAY_PAGE_MAX)?;
        let text = |row: &sdpp_rail::Row| String::from_utf8_lossy(&row.body).into_owned();
        Ok(rows.chunks_exact(2).filter_map(|pair| Some((text(pair.first()?), text(pair.last()?)))).collect())
    }

    /// The logs that it follows.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.logs.iter().map(VerifierKey::name)
    }

    /// The last note that it vouched for of a log: the log's signature and its own, nobody else's.
    /// After a restart it signs the note that it remembers again. None before the first.
    ///
    /// # Errors
    /// [`WitnessError`], where it cannot sign any more.
    pub fn latest(&self, origin: &str) -> Result<Option<String>, WitnessError> {
        let known = || self.state.lock().unwrap_or_else(PoisonError::into_inner).cosigned.get(origin).cloned();
        if let Some(note) = known() {
            return Ok(Some(note));
        }
        if !self.origins().any(|followed| followed == origin) {
            return Ok(None);
        }
        let stored = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.store.head(&accepted_head(origin)).map_err(|_| WitnessError::Unavailable)?
        };
        let Some(note) = stored else { return Ok(None) };
        let size = stored_state(&note).ok_or(WitnessError::Unavailable)?.size;
        let note = String::from_utf8(note).map_err(|_| WitnessError::Unavailable)?;
        let signed = self.answer(size, &[], &note);
        // If a log came between, it has a newer one.
        known().map_or_else(|| signed.map(|_| None), |note| Ok(Some(note)))
    }

    pub(crate) fn answer(&self, old: u64, proof: &[Hash], note: &str) -> Result<Signature, WitnessError> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        if state.frozen {
            return Err(WitnessError::Unavailable);
        }
        let next = match state.rule.check(old, proof, note.as_bytes(), &Verifier) {
            Ok(next) => next,
            Err(refusal) => {
                // A proof is whoever asks', so a bad one says nothing about the log.
                if matches!(refusal, Refusal::Fork { .. }) {
                    state.keep_fork(note);
                }
                return Err(WitnessError::Refused(refusal));
            }
        };
        if state.persist(next.origin(), note).is_err() {
            // What was written may come true after a restart, so nothing else may be signed now.
            state.frozen = true;
            return Err(WitnessError::Unavailable);
        }
        let accepted = state.rule.apply(next).map_err(WitnessError::Refused)?;
        let time_s = (self.clock)().as_ms() / 1000;
        let signature = cosign(&accepted, &self.verifier_key, time_s, &Signer(&self.key));
        let signature = signature.map_err(|_| WitnessError::Unavailable)?;
        let origin = accepted.signed().checkpoint().origin();
        if let Some(note) = self.cosigned(origin, accepted.signed().note(), &signature) {
            state.cosigned.insert(origin.to_owned(), note);
        }
        Ok(signature)
    }

    /// A note with the signatures that this witness has checked or made. Others in it could be
    /// anybody's.
    fn cosigned(&self, origin: &str, note: &Note, signature: &Signature) -> Option<String> {
        let mut checked = Note::new(note.text()).ok()?;
        let log = self.logs.iter().find(|log| log.name() == origin)?;
        for by_log in note.signatures().iter().filter(|by| by.is_by(log)) {
            checked.add(by_log.clone()).ok()?;
        }
        checked.add(signature.clone()).ok()?;
        Some(checked.to_string())
    }
}

impl State {
    fn persist(&mut self, origin: &str, note: &str) -> Result<(), StoreError> {
        let head = accepted_head(origin);
        let before = self.store.head(&head)?;
        if before.as_deref() == Some(note.as_bytes()) {
            return Ok(());
        }
        if !self.store.swap(&head, before.as_deref(), note.as_bytes())? {
            return Err(StoreError::Failed("another program writes this witness".to_owned()));
        }
        failpoint::before(Deed::Vouch);
        self.store.flush()?;
        failpoint::after(Deed::Vouch);
        Ok(())
    }

    /// Keeps the two notes of a contradiction. It is evidence, not a promise: a failed write changes
    /// no answer.
    fn keep_fork(&mut self, note: &str) {
        let checkpoint = Note::parse(note.as_bytes()).ok().and_then(|note| Checkpoint::parse(note.text()).ok());
        let Some(checkpoint) = checkpoint else { return };
        let stream = forks_stream(checkpoint.origin());
        let accepted = self.store.head(&accepted_head(checkpoint.origin())).ok().flatten();
        let full = self.store.read(&stream, 0, crate::limits::REPLAY_PAGE_MAX);
        // The same other history again is no news, whoever signed along.
        let known = |row: &Row| stored_state(&row.body).map(|state| (state.size, state.root));
        let shown = Some((checkpoint.size(), checkpoint.root()));
        if let (Some(accepted), Ok(rows)) = (accepted, full)
            && rows.len() < crate::limits::FORK_ROWS_MAX
            && !rows.iter().any(|row| known(row) == shown)
        {
            let kept = self.store.append(&stream, &accepted).and_then(|_| self.store.append(&stream, note.as_bytes()));
            failpoint::before(Deed::Fork);
            self.frozen = kept.and_then(|_| self.store.flush()).is_err();
            failpoint::after(Deed::Fork);
        }
    }
}

/// Size and root of a stored note. It was verified before it was stored.
fn stored_state(note: &[u8]) -> Option<LogState> {
    let note = Note::parse(note).ok()?;
    let checkpoint = Checkpoint::parse(note.text()).ok()?;
    Some(LogState { size: checkpoint.size(), root: checkpoint.root() })
}

impl WitnessService for Witness {
    fn cosign<'a>(&'a self, old: u64, proof: &'a [Hash], note: &'a str) -> Cosigning<'a> {
        Box::pin(async move { self.answer(old, proof, note) })
    }
}
