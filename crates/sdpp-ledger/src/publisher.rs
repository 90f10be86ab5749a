//! The publisher: takes durable heads, has the witnesses cosign the newest one, shows it to everybody
//! and answers who waited for it. It works beside the writer, so a slow witness makes groups larger
//! and answers later; only where it falls many groups behind does the writer wait, and the queue fill.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sdpp_log::{Edge, Hash, Signature};
use sdpp_rail::failpoint::{self, Deed};
use tokio::sync::oneshot;

use crate::ledger::{Head, StartError};
use crate::limits;
use crate::public::{Public, Published};
use crate::refusal::{Place, Refusal};
use crate::service::{ServiceError, Submitted};
use crate::sync::{Receiver, SyncSender};
use crate::wait::block_on;
use crate::witness::{WitnessError, WitnessService};

/// Who waits for an answer.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ServiceError>>;

/// An answer that waits for its group to be published.
pub(crate) type Waiting = (Reply<Submitted>, Result<Place, Refusal>);

/// A group that is durable: its head, if it has news, and who waits.
pub(crate) struct Group {
    pub(crate) head: Option<Head>,
    pub(crate) waiting: Vec<Waiting>,
}

/// A witness as the publisher knows it.
struct Asked {
    service: Arc<dyn WitnessService>,
    /// Size that it cosigned last, as far as we know.
    known: u64,
    /// Failures in a row, and until when it is left alone for them.
    failures: u32,
    rest_until: Option<Instant>,
    /// What it signed last, and the size of that tree.
    given: Option<(u64, Signature)>,
    /// The operator was told that its signature is missing.
    told: bool,
}

pub(crate) struct Publisher {
    public: Arc<Public>,
    witnesses: Vec<Asked>,
    /// The shown head, while a cosignature of it is missing, and how often it was asked for in vain.
    missing: Option<(Head, u32)>,
    /// A witness knows another log of this name: nothing is shown any more.
    contradicted: bool,
    /// Tells the thread that writes files; it looks for itself what is new.
    files: Option<SyncSender<()>>,
}

impl Drop for Publisher {
    /// Whatever ended it: nobody would be answered any more.
    fn drop(&mut self) {
        self.public.freeze();
    }
}

/// What witnesses say that this log cannot be the only one of its name.
fn contradiction(size: u64, answers: &[Result<Signature, WitnessError>]) -> Option<StartError> {
    answers.iter().find_map(|answer| match answer {
        Err(WitnessError::Refused(sdpp_log::Refusal::Conflict { known_size })) if *known_size > size => {
            Some(StartError::RolledBack { size, witnessed: *known_size })
        }
        Err(WitnessError::Refused(sdpp_log::Refusal::Fork { .. } | sdpp_log::Refusal::BadProof(_))) => {
            Some(StartError::Forked)
        }
        Ok(_) | Err(_) => None,
    })
}

impl Publisher {
    pub(crate) fn new(
        public: Arc<Public>,
        witnesses: &[Arc<dyn WitnessService>],
        files: Option<SyncSender<()>>,
    ) -> Self {
        let asked = |service: &Arc<dyn WitnessService>| Asked {
            service: service.clone(),
            known: 0,
            failures: 0,
            rest_until: None,
            given: None,
            told: false,
        };
        Self { public, witnesses: witnesses.iter().map(asked).collect(), missing: None, contradicted: false, files }
    }

    /// Asks the witnesses whether they know more than the store does, then shows the head.
    pub(crate) fn greet(&mut self, head: Head, without_witness: bool) -> Result<(), StartError> {
        let answers = self.ask_all(&head);
        if let Some(contradiction) = contradiction(head.edge.size(), &answers) {
            return Err(contradiction);
        }
        if !without_witness && answers.contains(&Err(WitnessError::Unavailable)) {
            return Err(StartError::WitnessSilent);
        }
        self.show(head, answers);
        Ok(())
    }

    /// Publishes until the writer ends. While a cosignature is missing it is asked for now and then, so
    /// that an idle log becomes believable again too.
    pub(crate) fn run(mut self, groups: &Receiver<Group>) {
        loop {
            let first = match &self.missing {
                None => groups.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some((_, tries)) => groups.recv_timeout(rest(*tries)),
            };
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.ask_again();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.take(first, std::iter::from_fn(|| groups.try_recv().ok()));
        }
    }

    /// Publishes the newest head of these groups and answers who waits in them.
    pub(crate) fn take(&mut self, first: Group, more: impl Iterator<Item = Group>) {
        let mut waiting = first.waiting;
        let mut newest = first.head;
        for group in more {
            waiting.extend(group.waiting);
            newest = group.head.or(newest);
        }
        if let Some(head) = newest {
            self.publish(head);
        }
        let note = self.public.now().note.clone();
        answer_all(waiting, if self.contradicted { None } else { Some(&note) });
    }

    fn ask_again(&mut self) {
        let Some((head, tries)) = self.missing.take() else { return };
        self.publish(head);
        if let Some((_, count)) = &mut self.missing {
            *count = tries.saturating_add(1);
        }
    }

    /// Shows a head, unless a witness knows another log of this name: going on would fork it.
    fn publish(&mut self, head: Head) {
        if self.contradicted {
            return;
        }
        let answers = self.ask_all(&head);
        if let Some(contradiction) = contradiction(head.edge.size(), &answers) {
            self.contradicted = true;
            self.public.freeze();
            tracing::error!(%contradiction, "the ledger takes nothing more: stop it and find out which log is the right one");
            return;
        }
        self.show(head, answers);
    }

    fn show(&mut self, head: Head, answers: Vec<Result<Signature, WitnessError>>) {
        self.missing = answers.iter().any(Result::is_err).then(|| (head.clone(), 0));
        let Head { edge, mut note } = head;
        for signature in answers.into_iter().flatten() {
            // A note with too many signatures stays as it is: the quorum then decides.
            let _ = note.add(signature);
        }
        failpoint::before(Deed::Show);
        self.public.show(Published { edge, note: note.to_string().into() });
        failpoint::after(Deed::Show);
        if let Some(files) = &self.files {
            // Full: it is told already.
            let _ = files.try_send(());
        }
    }

    /// Asks all witnesses at once.
    fn ask_all(&mut self, head: &Head) -> Vec<Result<Signature, WitnessError>> {
        let (public, bare) = (&self.public, head.note.to_string());
        let asking = self.witnesses.iter_mut().map(|witness| witness.ask(public, &head.edge, &bare));
        block_on(join_all(asking))
    }
}

impl Asked {
    /// Asks for a cosignature, again if the witness knows another size than we thought. One that
    /// failed is left alone for a while, so that it does not hold up everybody each time.
    async fn ask(&mut self, public: &Public, edge: &Edge, note: &str) -> Result<Signature, WitnessError> {
        if let Some((_, signature)) = self.given.as_ref().filter(|(size, _)| *size == edge.size()) {
            return Ok(signature.clone());
        }
        if self.rest_until.is_some_and(|until| Instant::now() < until) {
            return Err(WitnessError::Unavailable);
        }
        let mut answer = self.ask_once(public, edge, note).await;
        for _ in 0..limits::WITNESS_RETRIES_MAX {
            let Err(WitnessError::Refused(sdpp_log::Refusal::Conflict { known_size })) = answer else { break };
            if known_size > edge.size() {
                break;
            }
            self.known = known_size;
            answer = self.ask_once(public, edge, note).await;
        }
        match &answer {
            Ok(signature) => {
                self.known = edge.size();
                self.given = Some((edge.size(), signature.clone()));
                (self.failures, self.rest_until) = (0, None);
            }
            Err(WitnessError::Unavailable) => {
                self.rest_until = Instant::now().checked_add(rest(self.failures));
                self.failures = self.failures.saturating_add(1);
            }
            Err(WitnessError::Refused(_)) => {}
        }
        self.tell(&answer);
        answer
    }

    /// Tells the operator once that a cosignature is missing, and once that it is there again.
    fn tell(&mut self, answer: &Result<Signature, WitnessError>) {
        match answer {
            Ok(_) if self.told => tracing::warn!(size = self.known, "a witness cosigns again"),
            Err(error) if !self.told => tracing::warn!(%error, "a cosignature is missing: clients may want it"),
            Ok(_) | Err(_) => {}
        }
        self.told = answer.is_err();
    }

    async fn ask_once(&self, public: &Public, edge: &Edge, note: &str) -> Result<Signature, WitnessError> {
        let proof: Vec<Hash> =
            public.consistency(edge, self.known, edge.size()).map_err(|_| WitnessError::Unavailable)?;
        failpoint::before(Deed::Cosign);
        let answer = self.service.cosign(self.known, &proof, note).await;
        failpoint::after(Deed::Cosign);
        answer
    }
}

/// How long a witness is left alone after so many failures before.
fn rest(failures: u32) -> Duration {
    Duration::from_millis(limits::WITNESS_REST_MS << failures.min(limits::WITNESS_REST_DOUBLINGS))
}

/// A refusal waits too: it may rest on an entry of its group. Whoever has gone away needs no answer.
/// Without a note nobody knows what becomes of the group.
fn answer_all(waiting: Vec<Waiting>, note: Option<&Arc<str>>) {
    if waiting.is_empty() {
        return;
    }
    failpoint::before(Deed::Entered);
    for (reply, outcome) in waiting {
        let place = outcome.or_else(|refusal| refusal.known().ok_or(refusal));
        let answer = match (place, note) {
            (_, None) => Err(ServiceError::Unknown),
            (Err(refusal), Some(_)) => Err(ServiceError::Refused(refusal)),
            (Ok(Place { index, id }), Some(note)) => Ok(Submitted { index, id, checkpoint: note.clone() }),
        };
        let _ = reply.send(answer);
    }
    failpoint::after(Deed::Entered);
}
