//! A ledger without threads, for simulations and tests of a single thread: the same writer and the same
//! publisher, one after the other where somebody asks. Every answer is there when the question returns.

use std::sync::{Arc, PoisonError};

use sdpp_log::{Hash, VerifierKey};
use sdpp_rail::Store;
use tokio::sync::oneshot;

use crate::entry::Entry;
use crate::ledger::{Core, LedgerConfig, StartError};
use crate::limits;
use crate::public::Public;
use crate::publisher::{Group, Publisher};
use crate::service::{Answer, LedgerService, ServiceError, Submitted};
use crate::sync::{Mutex, MutexGuard, Receiver, sync_channel};
use crate::writer::{Job, Writer};

struct Works {
    writer: Writer,
    groups: Receiver<Group>,
    publisher: Publisher,
}

/// A ledger that works where it is asked. It publishes no files.
pub struct InlineLedger {
    key: VerifierKey,
    public: Arc<Public>,
    works: Mutex<Works>,
}

impl InlineLedger {
    /// Opens the store and asks the witnesses whether they know more.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(config: &LedgerConfig, store: Box<dyn Store>) -> Result<Self, StartError> {
        if config.witnesses.len() > limits::WITNESSES_MAX {
            return Err(StartError::TooManyWitnesses);
        }
        let (core, head) = Core::open(config, store)?;
        let key = core.log_key().clone();
        let public = Arc::new(Public::new(core.store())?);
        let mut publisher = Publisher::new(public.clone(), &config.witnesses, None);
        publisher.greet(head, config.without_witness)?;
        let (send, groups) = sync_channel(1);
        let writer = Writer { core, public: public.clone(), groups: send };
        Ok(Self { key, public, works: Mutex::new(Works { writer, groups, publisher }) })
    }

    /// The log's key; its name is the origin.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Logs what time it is, if channels wait for it and the last tick is old: a served ledger does so by itself.
    pub fn tick_if_due(&self) {
        let mut works = self.lock();
        works.writer.tick_if_due();
        works.writer.finish(Vec::new());
        works.publish();
    }

    fn lock(&self) -> MutexGuard<'_, Works> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<Submitted, ServiceError>>) -> Job,
    ) -> Result<Submitted, ServiceError> {
        let (reply, mut answer) = oneshot::channel();
        let mut works = self.lock();
        let mut waiting = Vec::new();
        works.writer.handle(job(reply), &mut waiting);
        works.writer.finish(waiting);
        works.publish();
        // A write failed: nobody was answered.
        answer.try_recv().unwrap_or(Err(ServiceError::Unknown))
    }
}

impl Works {
    fn publish(&mut self) {
        while let Ok(group) = self.groups.try_recv() {
            self.publisher.take(group, std::iter::empty());
        }
    }
}

fn ready<T: Send + 'static>(answer: Result<T, ServiceError>) -> Answer<'static, T> {
    Box::pin(std::future::ready(answer))
}

impl LedgerService for InlineLedger {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        let entry = Entry::open(entry).map_err(ServiceError::Refused);
        ready(entry.and_then(|entry| self.ask(|reply| Job::Submit(Box::new(entry), reply))))
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
