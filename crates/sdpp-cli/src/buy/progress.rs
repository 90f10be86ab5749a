//! How far a purchase is: a bar on a terminal, on standard error. Standard output is for data.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use sdpp::buyer::{Event, Listener, Progress as Counter};
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;

/// How often the bar is drawn anew.
const LOOK: Duration = Duration::from_millis(200);

/// Shows one purchase; cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Messages as they come.
    pub(crate) counter: Arc<Counter>,
    /// Messages of the order that came before this process counted.
    before: Arc<AtomicU64>,
    unit: Arc<str>,
    state: Arc<Mutex<State>>,
}

struct State {
    order: Option<StatementId>,
    /// How it stands with the seller, in a word.
    connection: &'static str,
    owed: Amount,
    paid: Amount,
}

/// How far a purchase is at this moment.
pub(super) struct Now {
    pub(super) order: Option<StatementId>,
    pub(super) connection: &'static str,
    pub(super) messages: u64,
    pub(super) owed: Amount,
    pub(super) paid: Amount,
    pub(super) unit: Arc<str>,
}

impl Progress {
    /// Of so many messages, if that is known. `quiet`: only lines.
    pub(crate) fn new(count: Option<u64>, unit: &str, quiet: bool) -> Self {
        // Hidden by itself where standard error is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(count, target);
        let template = match count {
            Some(_) => "{bar:24} {human_pos}/{human_len} messages  {rate}  {msg}",
            None => "{spinner} {human_pos} messages  {rate}  {msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.with_key("rate", |bar: &ProgressState, out: &mut dyn fmt::Write| {
            // A display that fails shows nothing.
            let _ = write!(out, "{:.0}/s", bar.per_sec());
        }));
        let counter = Arc::<Counter>::default();
        // Looked at now and then, and not told for every message.
        let (shown, counted, before) = (bar.downgrade(), Arc::downgrade(&counter), Arc::<AtomicU64>::default());
        let earlier = before.clone();
        std::thread::spawn(move || {
            while let (Some(bar), Some(counter)) = (shown.upgrade(), counted.upgrade()) {
                bar.set_position(earlier.load(Ordering::Relaxed).saturating_add(counter.messages()));
                drop((bar, counter));
                std::thread::sleep(LOOK);
            }
        });
        let (owed, paid) = (Amount::ZERO, Amount::ZERO);
        let state = State { order: None, connection: "connecting", owed, paid };
        Self { bar, counter, before, unit: unit.into(), state: Arc::new(Mutex::new(state)) }
    }

    /// The same for an order that goes on, with so much due and paid.
    pub(super) fn behind(self, due: Amount, paid: Amount) -> Self {
        self.money(|state| (state.paid, state.owed) = (paid, due.saturating_sub(paid)));
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is shown, and decides nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    pub(super) fn now(&self) -> Now {
        let State { order, connection, owed, paid } = *self.state();
        Now { order, connection, messages: self.messages(), owed, paid, unit: self.unit.clone() }
    }

    /// Messages of the order so far.
    fn messages(&self) -> u64 {
        self.before.load(Ordering::Relaxed).saturating_add(self.counter.messages())
    }

    /// Says a line on standard error, above the bar.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn money(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let State { owed, paid, .. } = *state;
        let unit = &self.unit;
        // Nobody is to think that more was paid for than has come.
        self.bar.set_position(self.messages());
        self.bar.set_message(format!("paid {paid} {unit}  at risk {owed} {unit}"));
    }

    fn live(&self, order: StatementId, start: u64) {
        // What comes again was counted once already.
        self.before.store(start.saturating_sub(self.counter.messages()), Ordering::Relaxed);
        let mut state = self.state();
        (state.order, state.connection) = (Some(order), "live");
    }

    /// Hears of everything that happens.
    pub(crate) fn listener(&self) -> Listener {
        let own = self.clone();
        Arc::new(move |event| match event {
            Event::Ordering { bound, .. } => own.line(&bound.as_ref().clone().in_units(&own.unit).to_string()),
            Event::Live { order, start, .. } => {
                own.live(*order, *start);
                let from = if *start == 0 { String::new() } else { format!(" goes on with message {start}") };
                own.line(&format!("order {order}{from}"));
            }
            Event::Invoiced { owed, .. } => own.money(|state| state.owed = *owed),
            Event::Paid { total, owed } => own.money(|state| (state.paid, state.owed) = (*total, *owed)),
            Event::Dishonest(what) => {
                own.line(&format!("warning: the ledger is not to be trusted: {what}"));
            }
            Event::Reconnecting { attempt } => {
                own.state().connection = "reconnecting";
                if *attempt <= 1 {
                    own.line("connection lost; trying again");
                }
            }
            Event::Waiting => {
                own.state().connection = "waiting";
                own.line("waiting until what was bought is taken");
            }
            Event::Enough => own.line("the reader has enough: settling"),
            Event::Recorded(_) => {}
        })
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
