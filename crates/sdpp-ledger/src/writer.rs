//! The writer: one thread that owns the ledger, and the handle through which everybody asks.
//!
//! It takes whatever is queued, at most [`limits::GROUP_MAX`] entries, makes them durable with one
//! flush and answers. So a slow disk makes groups larger, not answers fewer.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use sdpp_log::{Hash, TileKind, TilePath, TreeError, VerifierKey};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::Store;
use tokio::sync::oneshot;

use crate::channel::Channel;
use crate::entry::Entry;
use crate::fold::Recorded;
use crate::host::LedgerHost;
use crate::ledger::{Core, LedgerConfig, Shared, StartError, read};
use crate::limits;
use crate::refusal::{Place, Refusal};
use crate::service::{Answer, LedgerService, ServiceError, Submitted};

type Reply<T> = oneshot::Sender<Result<T, ServiceError>>;

enum Job {
    Submit(Box<Entry>, Reply<Submitted>),
    Tick(Reply<Submitted>),
    Entries(u64, usize, Reply<Vec<Vec<u8>>>),
    Look(Box<dyn FnOnce(&Core) + Send>),
    Stop,
}

/// An answer that waits for its group to be durable.
type Waiting = (Reply<Submitted>, Result<Place, Refusal>);

/// A ledger in this process: a handle of its writer, cheap to clone. The writer ends with
/// [`stop`](Self::stop) or with the last handle.
#[derive(Clone)]
pub struct LocalLedger {
    queue: SyncSender<Job>,
    key: Arc<VerifierKey>,
    shared: Shared,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl LocalLedger {
    /// Replays the store, asks the witnesses and starts the writer.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: LedgerConfig, store: Box<dyn Store>) -> Result<Self, StartError> {
        let core = Core::start(config, store)?;
        let shared = core.shared();
        let key = Arc::new(core.key().clone());
        let (queue, jobs) = sync_channel(limits::QUEUE_MAX);
        let writer = thread::Builder::new().name("sdpp-ledger".to_owned()).spawn(move || run(core, &jobs));
        let writer = writer.map_err(|error| {
            StartError::Store(sdpp_rail::StoreError::Failed(format!("no thread for the writer: {error}")))
        })?;
        Ok(Self { queue, key, shared, writer: Arc::new(Mutex::new(Some(writer))) })
    }

    /// Logs what time it is, if it is later than the last tick. While a channel is open somebody
    /// should call it every 10 s.
    pub fn tick(&self) -> Answer<'_, Submitted> {
        Box::pin(self.ask(Job::Tick))
    }

    /// Ends the writer, when it has answered what is queued, and gives the store free.
    pub fn stop(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // Both fail only if the writer has ended already.
            let _ = self.queue.send(Job::Stop);
            let _ = writer.join();
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, ServiceError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(job(reply)).map_err(|error| match error {
            TrySendError::Full(_) => ServiceError::Unavailable,
            TrySendError::Disconnected(_) => ServiceError::Frozen,
        })?;
        // The writer went away with the question in its hands.
        answer.await.unwrap_or(Err(ServiceError::Unknown))
    }

    fn look<T: Send + 'static>(&self, look: impl FnOnce(&Core) -> T + Send + 'static) -> Answer<'_, T> {
        Box::pin(self.ask(|reply: Reply<T>| {
            Job::Look(Box::new(move |core| {
                let _ = reply.send(Ok(look(core)));
            }))
        }))
    }

    fn proof(&self, prove: impl FnOnce(&sdpp_log::Tree) -> Result<Vec<Hash>, TreeError>) -> Answer<'_, Vec<Hash>> {
        let proof = read(&self.shared, |published| prove(&published.tree)).map_err(|_| ServiceError::OutOfRange);
        Box::pin(std::future::ready(proof))
    }
}

impl LedgerService for LocalLedger {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        Box::pin(async move {
            // Here and not at the writer: many callers verify beside each other.
            let entry = Entry::parse(entry).and_then(|entry| entry.verify().map(|()| entry));
            let entry = Box::new(entry.map_err(ServiceError::Refused)?);
            self.ask(|reply| Job::Submit(entry, reply)).await
        })
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        let note = read(&self.shared, |published| published.note.clone());
        Box::pin(std::future::ready(Ok(note)))
    }

    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        Box::pin(self.ask(move |reply| Job::Entries(from, max, reply)))
    }

    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.proof(|tree| tree.inclusion_proof(index, size))
    }

    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.proof(|tree| tree.consistency_proof(old, new))
    }
}

impl LedgerHost for LocalLedger {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn tile(&self, path: TilePath) -> Answer<'_, Vec<u8>> {
        let width = u64::from(path.width());
        let first = path.index().saturating_mul(256);
        match path.kind() {
            TileKind::Hashes { level } => {
                let hash = |index| {
                    let hash = read(&self.shared, |published| published.tree.node(level.saturating_mul(8), index));
                    hash.ok_or(ServiceError::OutOfRange)
                };
                let hashes: Result<Vec<Hash>, _> = (first..first.saturating_add(width)).map(hash).collect();
                Box::pin(std::future::ready(hashes.map(|hashes| hashes.iter().flat_map(|hash| hash.0).collect())))
            }
            TileKind::Entries => Box::pin(async move {
                let count = usize::from(path.width());
                let rows = self.entries(first, count).await?;
                if rows.len() < count {
                    return Err(ServiceError::OutOfRange);
                }
                let mut bundle = Vec::new();
                for row in rows {
                    let length = u16::try_from(row.len()).map_err(|_| ServiceError::OutOfRange)?;
                    bundle.extend_from_slice(&length.to_be_bytes());
                    bundle.extend_from_slice(&row);
                }
                Ok(bundle)
            }),
        }
    }

    fn balance<'a>(&'a self, asset: &'a AssetId, account: &'a PublicKey) -> Answer<'a, Amount> {
        let (asset, account) = (asset.clone(), *account);
        self.look(move |core| core.fold().balance(&asset, &account))
    }

    fn channel(&self, id: ChannelId) -> Answer<'_, Option<Channel>> {
        self.look(move |core| core.fold().channel(&id).cloned())
    }

    fn place(&self, entry: StatementId) -> Answer<'_, Option<Place>> {
        self.look(move |core| core.fold().place(&entry))
    }

    fn record(&self, statement: StatementId) -> Answer<'_, Option<Recorded>> {
        self.look(move |core| core.fold().record(&statement))
    }
}

fn run(mut core: Core, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut waiting = Vec::new();
        let mut go_on = handle(&mut core, first, &mut waiting);
        // Reads count too: a crowd of readers must not keep a group from its flush.
        for _ in 1..limits::GROUP_MAX {
            if !go_on {
                break;
            }
            let Ok(job) = jobs.try_recv() else { break };
            go_on = handle(&mut core, job, &mut waiting);
        }
        finish(&mut core, waiting);
        if !go_on {
            return;
        }
    }
}

/// Handles one job; says whether to go on. Whoever has gone away needs no answer.
fn handle(core: &mut Core, job: Job, waiting: &mut Vec<Waiting>) -> bool {
    match job {
        Job::Submit(_, reply) | Job::Tick(reply) if core.is_frozen() => {
            let _ = reply.send(Err(ServiceError::Frozen));
        }
        Job::Submit(entry, reply) => waiting.push((reply, core.stage(*entry))),
        Job::Tick(reply) => waiting.push((reply, core.tick_now())),
        Job::Entries(from, max, reply) => {
            let _ = reply.send(core.entries(from, max));
        }
        Job::Look(look) => look(core),
        Job::Stop => return false,
    }
    true
}

/// Makes the group durable and answers. A refusal waits too: it may rest on an entry of the group.
fn finish(core: &mut Core, waiting: Vec<Waiting>) {
    let committed = core.commit();
    let note = read(&core.shared(), |published| published.note.clone());
    for (reply, outcome) in waiting {
        let place = outcome.or_else(|refusal| refusal.known().ok_or(refusal));
        let answer = match (&committed, place) {
            (Err(_), _) => Err(ServiceError::Unknown),
            (Ok(()), Err(refusal)) => Err(ServiceError::Refused(refusal)),
            (Ok(()), Ok(Place { index, id })) => Ok(Submitted { index, id, checkpoint: note.clone() }),
        };
        let _ = reply.send(answer);
    }
}
