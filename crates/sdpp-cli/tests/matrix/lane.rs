//! A market in which case after case is played.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sdpp_rail::failpoint::Point;

use crate::cases::{Again, Case, Trace};
use crate::market::{Market, Who};
use crate::proof;
use crate::scenes::{self, PLAN, Play, Played, Scene};

/// Plays of a market.
const PLAYS_MAX: usize = 12;

pub(crate) struct Lane {
    name: String,
    market: Option<Market>,
    /// Plays so far: each has a buyer of its own.
    plays: usize,
    /// Plays in this market.
    plays_here: usize,
}

impl Lane {
    pub(crate) fn open(name: &str) -> Self {
        Self { name: name.to_owned(), market: None, plays: 0, plays_here: 0 }
    }

    pub(crate) fn close(self) {
        if let Some(market) = self.market {
            proof::close(market);
        }
    }

    /// Plays a scene, in the lane's market or in one of its own.
    fn play(&mut self, scene: Scene, (who, lives): (Who, Vec<String>), label: &str, traced: bool) -> Played {
        self.plays += 1;
        let home = format!("{}-{}", self.name, self.plays);
        let play = Play { home, who, lives, label: label.to_owned() };
        if scene.has_own_market() {
            return scenes::play_apart(scene, &play, traced);
        }
        // Each buyer reads the whole log.
        if self.plays_here >= PLAYS_MAX
            && let Some(market) = self.market.take()
        {
            proof::close(market);
        }
        self.plays_here += 1;
        if self.market.is_none() {
            self.plays_here = 1;
            self.market = Some(Market::open(&format!("{}-market", play.home), PLAN));
        }
        let market = self.market.as_mut().unwrap();
        market.trace_from_now(traced);
        let before = market.buyer_lives;
        let killed = scenes::play(scene, market, &play);
        Played { killed, trace: trace_of(market), buyer_lives: market.buyer_lives - before }
    }

    /// Where everybody gets in a scene, if nobody is killed.
    pub(crate) fn survey(&mut self, scene: Scene) -> Trace {
        println!("survey {scene:?}");
        self.play(scene, (Who::Buyer, Vec::new()), &format!("survey {scene:?}"), true).trace
    }

    /// Kills a program at a point, and again in its next life: there, or where it gets first.
    fn twice(&mut self, case: &Case) -> Again {
        let Case { scene, who, point, time } = *case;
        let wanted = 2 + scene.own_deaths(who);
        let first = format!("{point}:{time}");
        let played = self.play(scene, (who, vec![first.clone(), format!("{point}:1")]), &case.to_string(), false);
        if played.deaths(who) == wanted {
            return Again::There;
        }
        // How often one gets to some points depends on the machine; the first time does not.
        if played.deaths(who) + 2 == wanted && time > 1 {
            return self.twice(&Case { time: 1, ..*case });
        }
        assert_eq!(played.deaths(who) + 1, wanted, "{case}: {:?}", played.killed);
        let played = self.play(scene, (who, vec![first, "any:1".to_owned()]), &format!("{case}, any"), false);
        if played.deaths(who) == wanted {
            return Again::Anywhere;
        }
        // A buyer that had all before it died does not come back.
        assert_eq!(played.deaths(who) + 1, wanted, "{case}, any: {:?}", played.killed);
        assert!(who == Who::Buyer && played.buyer_lives == played.deaths(who), "{case}, any: {:?}", played.killed);
        Again::Never
    }

    /// The same; a market in which it failed is left as it is, and the next case has a new one.
    pub(crate) fn try_twice(&mut self, case: Case) -> (Case, Result<Again, String>) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.twice(&case)));
        let outcome = outcome.map_err(|why| {
            let text =
                why.downcast_ref::<String>().cloned().or(why.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let place = self.market.take().map_or_else(String::new, Market::leave);
            let text = format!("{case}: {} ({place})", text.unwrap_or_default());
            text
        });
        println!(
            "{case}: {}",
            outcome.as_ref().map_or_else(|why| format!("FAILED {why}"), |again| format!("{again:?}"))
        );
        (case, outcome)
    }
}

/// What the traces of a market say.
pub(crate) fn trace_of(market: &Market) -> Trace {
    let mut trace = Trace::new();
    for who in [Who::Buyer, Who::Seller, Who::Ledger, Who::Witness] {
        let text = std::fs::read_to_string(market.trace(who)).unwrap_or_default();
        for name in text.lines() {
            let point = Point::named(name).unwrap_or_else(|| panic!("no point: {name}"));
            *trace.entry((who, point)).or_default() += 1;
        }
    }
    trace
}
