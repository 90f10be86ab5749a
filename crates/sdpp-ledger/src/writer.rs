//! The writer: one thread that owns the ledger, and the handle through which everybody asks.
//!
//! ```text
//! submit ──► queue ──► writer: rules, one flush a group ──► publisher: witnesses, answers ──► files
//! ```
//! It takes whatever is queued, at most [`limits::GROUP_MAX`] entries, makes them durable with one
//! flush and hands them on. So a slow disk makes groups larger, not answers fewer.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, TrySendError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sdpp_log::{Hash, TilePath, TlogProof, VerifierKey};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Store, StoreError};
use tokio::sync::oneshot;

use crate::channel::Channel;
use crate::entry::Entry;
use crate::files::Files;
use crate::fold::{FoldError, Recorded};
use crate::host::LedgerHost;
use crate::ledger::{Core, LedgerConfig, StartError};
use crate::limits;
use crate::public::Public;
use crate::publisher::{Group, Publisher, Reply, Waiting};
use crate::service::{Answer, LedgerService, ServiceError, Submitted};
use crate::state::View;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Mutex, Receiver, SyncSender, sync_channel};

#[cfg(test)]
mod interleaved;

pub(crate) enum Job {
    Submit(Box<Entry>, Reply<Submitted>),
    Tick(Reply<Submitted>),
    Stop,
}

/// A ledger in this process: a handle of its writer, cheap to clone. The writer ends with
/// [`stop`](Self::stop) or with the last handle.
#[derive(Clone)]
pub struct LocalLedger {
    queue: SyncSender<Job>,
    key: Arc<VerifierKey>,
    signing_key: SigningKey,
    public: Arc<Public>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl LocalLedger {
    /// Opens the store, asks the witnesses whether they know more, and starts to write.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: LedgerConfig, store: Box<dyn Store>) -> Result<Self, StartError> {
        if config.witnesses.len() > limits::WITNESSES_MAX {
            return Err(StartError::TooManyWitnesses);
        }
        let (core, head) = Core::open(&config, store)?;
        let key = Arc::new(core.log_key().clone());
        let public = Arc::new(Public::new(core.store())?);
        let mut threads = Threads::default();
        let files = match &config.folder {
            Some(folder) => Some(start_files(folder.clone(), &key, &public, &head, &mut threads)?),
            None => None,
        };
        let mut publisher = Publisher::new(public.clone(), &config.witnesses, files);
        publisher.greet(head, config.without_witness)?;
        let (group_queue, groups) = sync_channel(limits::GROUPS_WAITING_MAX);
        threads.start("sdpp-ledger-publisher", move || publisher.run(&groups))?;
        let (queue, jobs) = sync_channel(limits::QUEUE_MAX);
        let writer = Writer { core, public: public.clone(), groups: group_queue };
        threads.start("sdpp-ledger", move || writer.run(&jobs))?;
        // The writer ends first, then the publisher, then the files.
        threads.0.reverse();
        Ok(Self { queue, key, signing_key: config.key, public, threads: Arc::new(Mutex::new(threads.0)) })
    }

    /// Logs what time it is, if it is later than the last tick. While a channel is open the writer
    /// does so by itself.
    pub fn tick(&self) -> Answer<'_, Submitted> {
        Box::pin(self.ask(Job::Tick))
    }

    /// Ends all threads, when they have answered what is queued, and gives the store free.
    pub fn stop(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if !threads.is_empty() {
            // Fails only if the writer has ended already.
            let _ = self.queue.send(Job::Stop);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, ServiceError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(job(reply)).map_err(|error| match error {
            TrySendError::Full(_) => ServiceError::Unavailable,
            TrySendError::Disconnected(_) => ServiceError::Frozen,
        })?;
        // The writer went away with the question in its hands, or in the queue that went with it.
        answer.await.unwrap_or(Err(ServiceError::Unknown))
    }
}

/// Threads in the order in which they were started.
#[derive(Default)]
struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    fn start(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        let why = |error| StartError::Store(StoreError::Failed(format!("no thread {name}: {error}")));
        self.0.push(thread.map_err(why)?);
        Ok(())
    }
}

fn start_files(
    folder: PathBuf,
    key: &Arc<VerifierKey>,
    public: &Arc<Public>,
    head: &crate::ledger::Head,
    threads: &mut Threads,
) -> Result<SyncSender<()>, StartError> {
    let files = Files::open(folder, key, public, &head.edge)?;
    let (nudge, nudges) = sync_channel(1);
    let public = public.clone();
    threads.start("sdpp-ledger-files", move || files.run(&public, &nudges))?;
    Ok(nudge)
}

/// Reads are made where they are asked for; they take well below a millisecond.
fn ready<T: Send + 'static>(answer: Result<T, ServiceError>) -> Answer<'static, T> {
    Box::pin(std::future::ready(answer))
}

impl LedgerService for LocalLedger {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        Box::pin(async move {
            // Here and not at the writer: many callers verify beside each other.
            let entry = Box::new(Entry::open(entry).map_err(ServiceError::Refused)?);
            self.ask(|reply| Job::Submit(entry, reply)).await
        })
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        ready(Ok(self.public.now().note.clone()))
    }

    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        ready(self.public.entries(from, max))
    }

    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        ready(self.public.inclusion(index, size))
    }

    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        ready(self.public.consistency(&self.public.now().edge, old, new))
    }
}

impl LedgerHost for LocalLedger {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn health(&self) -> Answer<'_, ()> {
        ready(if self.public.is_frozen() { Err(ServiceError::Frozen) } else { Ok(()) })
    }

    fn tile(&self, path: TilePath) -> Answer<'_, Vec<u8>> {
        ready(self.public.tile(path))
    }

    fn proof(&self, index: u64) -> Answer<'_, TlogProof> {
        ready(self.public.proof(index))
    }

    fn receipt(&self, index: u64) -> Answer<'_, Vec<u8>> {
        ready(self.public.receipt(index, &self.signing_key))
    }

    fn balance<'a>(&'a self, asset: &'a AssetId, account: &'a PublicKey) -> Answer<'a, Amount> {
        ready(self.public.read(|reader| View(reader).balance(asset, account)))
    }

    fn channel(&self, id: ChannelId) -> Answer<'_, Option<Channel>> {
        ready(self.public.read(|reader| View(reader).channel(&id)))
    }

    fn record(&self, statement: StatementId) -> Answer<'_, Option<Recorded>> {
        ready(self.public.read(|reader| View(reader).record(&statement)))
    }
}

/// The thread that owns the ledger.
pub(crate) struct Writer {
    pub(crate) core: Core,
    pub(crate) public: Arc<Public>,
    pub(crate) groups: SyncSender<Group>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut last_group = 0;
        loop {
            let mut waiting = Vec::new();
            let mut go_on = match jobs.recv_timeout(Duration::from_millis(limits::TICK_LOOK_MS)) {
                Ok(first) => self.handle(first, &mut waiting),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            let gather = if last_group < limits::GROUP_BUSY { 0 } else { limits::GROUP_GATHER_MS };
            let start = Instant::now();
            let until = start.checked_add(Duration::from_millis(gather)).unwrap_or(start);
            while go_on && waiting.len() < limits::GROUP_MAX {
                // As many as in the last one: nobody else is likely to come.
                let until = if waiting.len() < last_group { until } else { start };
                let Ok(job) = next(jobs, until) else { break };
                go_on = self.handle(job, &mut waiting);
            }
            last_group = waiting.len();
            // Also where everybody was refused: their number must not keep time from passing.
            self.tick_if_due();
            self.finish(waiting);
            if !go_on {
                return;
            }
        }
    }

    /// Handles one job; says whether to go on. Whoever has gone away needs no answer.
    pub(crate) fn handle(&mut self, job: Job, waiting: &mut Vec<Waiting>) -> bool {
        let (reply, outcome) = match job {
            // The publisher may have learnt that this log is not the only one of its name.
            Job::Submit(_, reply) | Job::Tick(reply) if self.core.is_frozen() || self.public.is_frozen() => {
                let _ = reply.send(Err(ServiceError::Frozen));
                return true;
            }
            Job::Submit(entry, reply) => (reply, self.core.stage(&entry)),
            Job::Tick(reply) => (reply, self.core.tick_now()),
            Job::Stop => return false,
        };
        match outcome {
            Ok(place) => waiting.push((reply, Ok(place))),
            Err(FoldError::Refused(refusal)) => waiting.push((reply, Err(refusal))),
            // Whether anything of the group is durable only opening again tells.
            Err(FoldError::Store(error)) => {
                self.freeze(&error);
                let _ = reply.send(Err(ServiceError::Unknown));
            }
        }
        true
    }

    pub(crate) fn tick_if_due(&mut self) {
        if let Err(FoldError::Store(error)) = self.core.tick_if_due() {
            self.freeze(&error);
        }
    }

    /// Makes the group durable and hands it to the publisher, which answers.
    pub(crate) fn finish(&mut self, waiting: Vec<Waiting>) {
        if !waiting.is_empty() {
            failpoint::before(Deed::Entries);
        }
        let committed = self.core.commit();
        if !waiting.is_empty() {
            failpoint::after(Deed::Entries);
        }
        match committed {
            Ok(None) if waiting.is_empty() => {}
            // Fails only if the publisher has panicked: then everybody is told that nothing is known.
            Ok(head) => drop(self.groups.send(Group { head, waiting })),
            Err(error) => {
                self.freeze(&error);
                for (reply, _) in waiting {
                    let _ = reply.send(Err(ServiceError::Unknown));
                }
            }
        }
    }

    /// The operator has to look after it: nothing is taken before the ledger is opened again. Said once.
    fn freeze(&self, error: &StoreError) {
        if !self.public.freeze() {
            tracing::error!(%error, "a write failed: the ledger takes nothing more until it is started again");
        }
    }
}

impl Drop for Writer {
    /// Whatever ended it: nothing is taken any more.
    fn drop(&mut self) {
        self.public.freeze();
    }
}

/// What is queued, or what comes in time.
fn next(jobs: &Receiver<Job>, until: Instant) -> Result<Job, RecvTimeoutError> {
    match jobs.try_recv() {
        Ok(job) => Ok(job),
        Err(_) => jobs.recv_timeout(until.saturating_duration_since(Instant::now())),
    }
}
