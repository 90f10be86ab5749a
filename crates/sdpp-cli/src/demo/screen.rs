//! What is shown while a sale runs: a progress bar on a terminal, a line per some windows anywhere.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sdpp_proto::money::{Amount, AssetId};

/// Least time between two lines.
const LINE_EVERY: Duration = Duration::from_millis(400);

/// Shows one sale.
#[derive(Clone)]
pub(super) struct Screen {
    shared: Arc<Shared>,
}

struct Shared {
    bar: ProgressBar,
    unit: String,
    started: Instant,
    state: Mutex<State>,
    /// Milliseconds from the start to the first paid message; 0: not yet.
    first_paid_ms: AtomicU64,
}

#[derive(Default)]
struct State {
    messages: u64,
    paid: Amount,
    owed: Amount,
    windows: u64,
    last_line: Option<Instant>,
    redeemed: Amount,
    owed_max: Amount,
    dishonest: Option<&'static str>,
}

/// What a sale showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) windows: u64,
    pub(super) redeemed: Amount,
    pub(super) owed_max: Amount,
    pub(super) first_paid_ms: u64,
    pub(super) elapsed: Duration,
    pub(super) dishonest: Option<&'static str>,
}

/// A number with thousands apart.
pub(super) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in (0..digits.len()).rev().zip(digits.chars()) {
        out.push(digit);
        if place > 0 && place % 3 == 0 {
            out.push(',');
        }
    }
    out
}

/// Name of an asset without its issuer.
pub(super) fn short(asset: &AssetId) -> String {
    asset.as_str().split('@').next().unwrap_or_default().to_owned()
}

impl Screen {
    pub(super) fn new(messages: u64, asset: &AssetId) -> Self {
        let bar = ProgressBar::with_draw_target(Some(messages), ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} messages  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !std::io::stdout().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self {
            shared: Arc::new(Shared {
                bar,
                unit: short(asset),
                started: Instant::now(),
                state: Mutex::default(),
                first_paid_ms: AtomicU64::new(0),
            }),
        }
    }

    /// A line above the bar.
    pub(super) fn line(&self, text: &str) {
        if self.shared.bar.is_hidden() {
            crate::say(text);
        } else {
            self.shared.bar.println(text);
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The buyer verified an invoice.
    pub(super) fn invoiced(&self, windows: u32) {
        self.with(|state| state.windows = state.windows.saturating_add(u64::from(windows)));
    }

    /// The seller credited a payment.
    pub(super) fn paid(&self, messages: u64, paid: Amount, owed: Amount) {
        let elapsed = self.shared.started.elapsed();
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        // Only the first one counts.
        let _ = self.shared.first_paid_ms.compare_exchange(0, ms, Ordering::Relaxed, Ordering::Relaxed);
        let line = self.with(|state| {
            (state.messages, state.paid, state.owed) = (messages, paid, owed);
            state.owed_max = state.owed_max.max(owed);
            let due = state.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY);
            if due {
                state.last_line = Some(Instant::now());
            }
            due.then_some(state.windows)
        });
        let unit = &self.shared.unit;
        self.shared.bar.set_position(messages);
        let rate = u128::from(messages).saturating_mul(1000).checked_div(u128::from(ms)).unwrap_or(0);
        let (rate, all, risk) = (grouped(rate), grouped(paid.get()), grouped(owed.get()));
        self.shared.bar.set_message(format!("{rate}/s  paid {all} {unit}  at risk {risk}"));
        if let Some(windows) = line {
            self.line(&format!(
                "  window {:>6}  {:>9} messages  paid {:>12} {unit}  at risk {:>9} {unit}",
                grouped(u128::from(windows)),
                grouped(u128::from(messages)),
                grouped(paid.get()),
                grouped(owed.get()),
            ));
        }
    }

    /// Messages paid so far.
    pub(super) fn messages(&self) -> u64 {
        self.with(|state| state.messages)
    }

    pub(super) fn redeemed(&self, total: Amount) {
        self.with(|state| state.redeemed = state.redeemed.max(total));
    }

    pub(super) fn owed(&self, owed: Amount) {
        self.with(|state| state.owed_max = state.owed_max.max(owed));
    }

    pub(super) fn dishonest(&self, what: &'static str) {
        self.with(|state| state.dishonest = Some(what));
    }

    /// Takes the bar away; gives what was seen.
    pub(super) fn finish(&self) -> Seen {
        self.shared.bar.finish_and_clear();
        let elapsed = self.shared.started.elapsed();
        let first_paid_ms = self.shared.first_paid_ms.load(Ordering::Relaxed);
        self.with(|state| Seen {
            windows: state.windows,
            redeemed: state.redeemed,
            owed_max: state.owed_max,
            first_paid_ms,
            elapsed,
            dishonest: state.dishonest,
        })
    }
}
