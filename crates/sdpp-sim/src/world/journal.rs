//! The journal of a process: what a driver's journal thread does, one commit at a time.

use std::sync::Arc;

use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_rail::{
    Barrier, Beside, FlushFault, GroupCommit, GroupWrite, MemoryDisk, MemoryStore, Store as _, StoreError,
    StoreReader as _,
};

use super::ctx::{Ctx, Event, LinkId, Party};

/// An answer to a session.
pub(crate) struct Ack {
    pub(crate) link: LinkId,
    pub(crate) id: StoreId,
    pub(crate) durable: bool,
}

struct Waiting {
    write: GroupWrite,
    link: LinkId,
    id: StoreId,
}

/// A journal over a disk that outlives the process.
pub(crate) struct Journal {
    party: Party,
    pub(crate) disk: MemoryDisk,
    commits: GroupCommit<MemoryStore>,
    waiting: Vec<Waiting>,
    boot: u32,
    planned: bool,
    /// A write has failed: the process has to be started again.
    pub(crate) failed: bool,
    /// A flush has lied and nothing honest has followed: a crash takes what was believed.
    pub(crate) lied: bool,
}

impl Journal {
    pub(crate) fn open(party: Party, disk: &MemoryDisk, boot: u32) -> Self {
        Self {
            party,
            disk: disk.clone(),
            commits: GroupCommit::new(disk.open()),
            waiting: Vec::new(),
            boot,
            planned: false,
            failed: false,
            lied: false,
        }
    }

    /// Hands rows over; gives the answer if they were committed at once.
    pub(crate) fn write(
        &mut self,
        ctx: &mut Ctx,
        order: &StatementId,
        (link, id, barrier): (LinkId, StoreId, Option<Arc<dyn Barrier>>),
        rows: &[Entry],
    ) -> Option<Ack> {
        let rows = rows.iter().map(Entry::to_bytes).collect();
        let write = GroupWrite { stream: stream(order), rows, beside: Beside { barrier, notes: Vec::new() } };
        self.waiting.push(Waiting { write, link, id });
        if !self.planned && self.waiting.len() == 1 && ctx.shared.chance(ctx.shared.weather.prompt) {
            ctx.hit("disk: committed within the turn");
            let ack = self.commit().pop();
            if self.failed {
                // Whoever looks after it hears of it there.
                ctx.after(0, Event::Commit(self.party, self.boot));
            }
            return ack;
        }
        if !self.planned {
            self.planned = true;
            let mut way = ctx.below(4);
            if ctx.shared.chance(ctx.shared.weather.late) {
                way += ctx.below(200);
            }
            ctx.after(way, Event::Commit(self.party, self.boot));
        }
        None
    }

    /// Marks an order's rows as put back from a backup; durable before anything goes on.
    pub(crate) fn declare_restored(&mut self, order: &StatementId) -> Result<(), StoreError> {
        let mark = GroupWrite {
            beside: Beside { barrier: None, notes: vec![(restored(order), "declared".into())] },
            ..GroupWrite::default()
        };
        self.commits.commit(std::iter::once(&mark))
    }

    pub(crate) fn is_restored(&self, order: &StatementId) -> bool {
        self.commits.store().head(&restored(order)).is_ok_and(|mark| mark.is_some())
    }

    /// Whether rows wait to be written.
    pub(crate) const fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// One flush for all that has gathered.
    pub(crate) fn commit(&mut self) -> Vec<Ack> {
        self.planned = false;
        let group = std::mem::take(&mut self.waiting);
        let done = self.commits.commit(group.iter().map(|waiting| &waiting.write));
        self.failed |= done.is_err();
        // Not what is unflushed: a journal that does not flush has no disk to blame.
        self.lied = self.disk.believed() > 0;
        let ack = |waiting: Waiting| Ack { link: waiting.link, id: waiting.id, durable: done.is_ok() };
        group.into_iter().map(ack).collect()
    }

    /// Spoils the next write.
    pub(crate) fn spoil(&self, ctx: &Ctx) {
        match ctx.below(4) {
            0 => {
                ctx.hit("disk: write fails");
                self.disk.fail_next_append(StoreError::Failed("the medium is tired".into()));
            }
            1 => {
                ctx.hit("disk: flush fails");
                self.disk.fail_next_flush(FlushFault::Fails);
            }
            2 => {
                ctx.hit("disk: flush fails and is durable");
                self.disk.fail_next_flush(FlushFault::FailsButDurable);
            }
            _ => {
                ctx.hit("disk: full");
                self.disk.fail_next_flush(FlushFault::Full);
            }
        }
    }

    /// The orders of the journal, each with its rows.
    pub(crate) fn orders(&self) -> Vec<Vec<Entry>> {
        let store = self.commits.store();
        let names = store.streams(ORDERS).expect("a store that was just opened can be read");
        let rows = |name: &String| -> Vec<Entry> {
            let rows = store.read(name, 0, usize::MAX).expect("a store that was just opened can be read");
            rows.iter().map(|row| Entry::from_bytes(&row.body).expect("rows are what was written")).collect()
        };
        names.iter().map(rows).collect()
    }
}

const ORDERS: &str = "order/";

fn stream(order: &StatementId) -> String {
    format!("{ORDERS}{order}")
}

fn restored(order: &StatementId) -> String {
    format!("restored/{order}")
}
