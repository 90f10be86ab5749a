//! How far a purchase is: a bar on a terminal, on standard error. Standard output is for data.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sdpp::buyer::{Event, Listener};
use sdpp_proto::money::Amount;

/// Shows one purchase; cheap to clone.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    unit: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    due: Amount,
    paid: Amount,
    dishonest: Option<&'static str>,
}

impl Progress {
    /// Of so many messages, if that is known. `quiet`: only lines.
    pub(super) fn new(count: Option<u64>, unit: &str, quiet: bool) -> Self {
        // Hidden by itself where standard error is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(count, target);
        let template = match count {
            Some(_) => "{bar:24} {human_pos}/{human_len} messages  {per_sec}  {msg}",
            None => "{spinner} {human_pos} messages  {per_sec}  {msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, unit: unit.into(), state: Arc::default() }
    }

    /// Says a line on standard error, above the bar.
    pub(super) fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn money(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let State { due, paid, .. } = *state;
        let unit = &self.unit;
        self.bar.set_message(format!("paid {paid} {unit}  at risk {} {unit}", due.saturating_sub(paid)));
    }

    /// What the ledger was caught with, if it was.
    pub(super) fn dishonest(&self) -> Option<&'static str> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).dishonest
    }

    /// Hears of everything that happens.
    pub(super) fn listener(&self) -> Listener {
        let own = self.clone();
        Arc::new(move |event| match event {
            Event::Ordering { bound, .. } => own.line(&bound.to_string()),
            Event::Live { order, start: 0, .. } => own.line(&format!("order {order}")),
            Event::Live { order, start, .. } => own.line(&format!("order {order} goes on with message {start}")),
            Event::Invoiced { messages, due, .. } => {
                own.bar.set_position(*messages);
                own.money(|state| state.due = *due);
            }
            Event::Paid { total } => own.money(|state| state.paid = *total),
            Event::Dishonest(what) => {
                own.money(|state| state.dishonest = Some(what));
                own.line(&format!("warning: the ledger is not to be trusted: {what}"));
            }
            Event::Reconnecting { attempt: 0 | 1 } => own.line("connection lost; trying again"),
            Event::Reconnecting { .. } | Event::Recorded(_) => {}
        })
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
