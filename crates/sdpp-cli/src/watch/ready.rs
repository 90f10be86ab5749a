//! Whether the program can do its work, and if not, why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether a seller can sell or a buyer can pay. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readiness {
    /// How long the ledger, or the node of a chain, may be silent.
    patience: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Which place answered, and when last; none: it was not reached yet.
    answered: Option<(String, Instant)>,
    /// What the ledger was caught with.
    dishonest: Option<&'static str>,
    /// The journal has failed: it takes nothing more until a restart.
    frozen: bool,
    /// It was told to end.
    ending: bool,
}

impl Readiness {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This place has answered, and what it said was right.
    pub(super) fn answered(&self, place: &str) {
        self.state().answered = Some((place.to_owned(), Instant::now()));
    }

    /// The ledger contradicts itself; that is for good.
    pub(super) fn dishonest(&self, what: &'static str) {
        self.state().dishonest.get_or_insert(what);
    }

    /// The journal has failed; that is for good too.
    pub(super) fn frozen(&self) {
        self.state().frozen = true;
    }

    /// It ends.
    pub(super) fn ending(&self) {
        self.state().ending = true;
    }

    /// What is wrong, each with what to do next; empty: ready.
    pub(super) fn problems(&self) -> Vec<String> {
        self.problems_at(Instant::now())
    }

    fn problems_at(&self, now: Instant) -> Vec<String> {
        let state = self.state();
        let mut problems = Vec::new();
        if state.ending {
            problems.push("it was told to end: what runs is settled, nothing new is taken".to_owned());
        }
        if state.frozen {
            problems
                .push("the journal cannot be written: make room on its disk, then start the program again".to_owned());
        }
        if let Some(what) = state.dishonest {
            problems.push(format!("the ledger is not to be trusted: {what}; see the logs, and ask its witnesses"));
        }
        match &state.answered {
            None => problems.push("the place of money was not reached yet".to_owned()),
            Some((place, at)) => {
                let silent = now.saturating_duration_since(*at);
                if silent > self.patience {
                    let silent = silent.as_secs();
                    problems.push(format!(
                        "{place} has not answered for {silent} s: does it run, and can it be reached from here?"
                    ));
                }
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_ledger_that_is_silent_for_long_is_a_problem_until_it_answers() {
        let ready = Readiness::new(PATIENCE);
        assert_eq!(ready.problems(), ["the place of money was not reached yet"]);
        ready.answered("the ledger at http://there");
        let (soon, late) = (Instant::now() + PATIENCE / 2, Instant::now() + PATIENCE * 2);
        assert!(ready.problems_at(soon).is_empty());
        let problems = ready.problems_at(late);
        assert!(problems.len() == 1 && problems[0].starts_with("the ledger at http://there has not"), "{problems:?}");
        ready.answered("the ledger at http://there");
        assert!(ready.problems().is_empty());
    }

    #[test]
    fn what_is_for_good_stays() {
        let ready = Readiness::new(PATIENCE);
        ready.dishonest("two heads of one size");
        ready.dishonest("something else");
        ready.frozen();
        ready.answered("the ledger at http://there");
        let problems = ready.problems();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("journal") && problems[1].contains("two heads"), "{problems:?}");
        ready.ending();
        assert_eq!(ready.problems().len(), 3);
    }
}
