//! Records statements beside the data path. A recorder that falls behind leaves older pairs out:
//! the newest commits to them.

use std::sync::Arc;
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_proto::statement::{AnyStatement, Form, Kind};
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{RailError, RecordId, Records};
use tokio::sync::mpsc;

/// Statements that wait before older ones are left out.
const BACKLOG_MAX: usize = 256;
/// Tries of one statement.
const TRIES: u32 = 20;

/// What became of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Recorded {
    /// It stands on the ledger.
    Done(StatementId, RecordId),
    /// Left out, because a newer one commits to it, or not to be had.
    Skipped,
    /// The ledger contradicts itself.
    Dishonest(&'static str),
}

/// Hands statements to a task of its own.
pub(crate) struct Recorder {
    queue: mpsc::UnboundedSender<AnyStatement>,
    done: mpsc::UnboundedReceiver<Recorded>,
    waiting: usize,
}

impl Recorder {
    /// Starts a recorder; without records there is none.
    pub(crate) fn start(records: Option<Arc<dyn Records>>, form: Form) -> Option<Self> {
        let records = records?;
        let (sender, done) = mpsc::unbounded_channel();
        let (queue, statements) = mpsc::unbounded_channel();
        tokio::spawn(run(records, form, statements, sender));
        Some(Self { queue, done, waiting: 0 })
    }

    /// Asks for a statement to be recorded; says whether it will be.
    pub(crate) fn record(&mut self, statement: AnyStatement) -> bool {
        let sent = self.queue.send(statement).is_ok();
        self.waiting = self.waiting.saturating_add(usize::from(sent));
        sent
    }

    /// The next result; waits for ever when nothing is under way.
    pub(crate) async fn next(&mut self) -> Recorded {
        if self.waiting == 0 {
            return std::future::pending().await;
        }
        match self.done.recv().await {
            Some(result) => {
                self.waiting = self.waiting.saturating_sub(1);
                result
            }
            None => {
                self.waiting = 0;
                Recorded::Skipped
            }
        }
    }

    /// Whether something is under way.
    pub(crate) const fn is_busy(&self) -> bool {
        self.waiting > 0
    }
}

async fn run(
    records: Arc<dyn Records>,
    form: Form,
    mut statements: mpsc::UnboundedReceiver<AnyStatement>,
    done: mpsc::UnboundedSender<Recorded>,
) {
    while let Some(statement) = statements.recv().await {
        let pair = matches!(statement.kind, Kind::Invoice | Kind::Payment);
        let result = if pair && statements.len() > BACKLOG_MAX {
            Recorded::Skipped
        } else {
            record(records.as_ref(), &statement, form).await
        };
        if done.send(result).is_err() {
            return;
        }
    }
}

async fn record(records: &dyn Records, statement: &AnyStatement, form: Form) -> Recorded {
    for attempt in 0..TRIES {
        failpoint::before(Deed::Record);
        let appended = records.append(statement, form).await;
        failpoint::after(Deed::Record);
        match appended {
            Ok(record) => return Recorded::Done(statement.id, record),
            Err(RailError::Declined(_)) => return Recorded::Skipped,
            Err(RailError::Dishonest(what)) => return Recorded::Dishonest(what),
            // Appending again is harmless: a known statement gives the record it has.
            Err(RailError::Unavailable | RailError::Unknown) => {
                tokio::time::sleep(Duration::from_millis(10u64.saturating_mul(1 << attempt.min(8)))).await;
            }
        }
    }
    Recorded::Skipped
}
