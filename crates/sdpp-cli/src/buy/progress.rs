//! How far a purchase is: a bar on a terminal, on standard error. Standard output is for data.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sdpp::buyer::{Event, Listener, Progress as Counter};
use sdpp_proto::money::Amount;

/// How often the bar is drawn anew.
const LOOK: Duration = Duration::from_millis(200);

/// Shows one purchase; cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Messages as they come.
    pub(crate) counter: Arc<Counter>,
    unit: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    owed: Amount,
    paid: Amount,
}

impl Progress {
    /// Of so many messages, if that is known. `quiet`: only lines.
    pub(crate) fn new(count: Option<u64>, unit: &str, quiet: bool) -> Self {
        // Hidden by itself where standard error is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(count, target);
        let template = match count {
            Some(_) => "{bar:24} {human_pos}/{human_len} messages  {per_sec}  {msg}",
            None => "{spinner} {human_pos} messages  {per_sec}  {msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let counter = Arc::<Counter>::default();
        // Looked at now and then, and not told for every message.
        let (shown, counted) = (bar.downgrade(), Arc::downgrade(&counter));
        std::thread::spawn(move || {
            while let (Some(bar), Some(counter)) = (shown.upgrade(), counted.upgrade()) {
                bar.set_position(counter.messages());
                drop((bar, counter));
                std::thread::sleep(LOOK);
            }
        });
        Self { bar, counter, unit: unit.into(), state: Arc::default() }
    }

    /// Says a line on standard error, above the bar.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn money(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let State { owed, paid, .. } = *state;
        let unit = &self.unit;
        self.bar.set_message(format!("paid {paid} {unit}  at risk {owed} {unit}"));
    }

    /// Hears of everything that happens.
    pub(crate) fn listener(&self) -> Listener {
        let own = self.clone();
        Arc::new(move |event| match event {
            Event::Ordering { bound, .. } => own.line(&bound.to_string()),
            Event::Live { order, start: 0, .. } => own.line(&format!("order {order}")),
            Event::Live { order, start, .. } => own.line(&format!("order {order} goes on with message {start}")),
            Event::Invoiced { owed, .. } => own.money(|state| state.owed = *owed),
            Event::Paid { total, owed } => own.money(|state| (state.paid, state.owed) = (*total, *owed)),
            Event::Dishonest(what) => {
                own.line(&format!("warning: the ledger is not to be trusted: {what}"));
            }
            Event::Reconnecting { attempt: 0 | 1 } => own.line("connection lost; trying again"),
            Event::Waiting => own.line("waiting until what was bought is taken"),
            Event::Enough => own.line("the reader has enough: settling"),
            Event::Reconnecting { .. } | Event::Recorded(_) => {}
        })
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
