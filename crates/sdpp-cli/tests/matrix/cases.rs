//! Who gets where in which scene, the cases that follow from it, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sdpp_rail::failpoint::Point;

use crate::market::Who;
use crate::scenes::Scene;

/// How often somebody got to each point.
pub(crate) type Trace = BTreeMap<(Who, Point), usize>;

/// A program that is to be killed at a point, twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Case {
    pub(crate) scene: Scene,
    pub(crate) who: Who,
    pub(crate) point: Point,
    /// How often it has got there then, in its first life.
    pub(crate) time: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, who, point, time } = self;
        write!(f, "{scene:?} {who:?} {point} {time}")
    }
}

/// How the second death came about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Again {
    /// At the same point.
    There,
    /// At the first point that it got to: it did not get to the same one again.
    Anywhere,
    /// There was no second life: all was done.
    Never,
}

/// Who got where.
pub(crate) struct Reached(BTreeMap<(Who, Point), Vec<(Scene, usize)>>);

impl Reached {
    pub(crate) fn of(mut traces: Vec<(Scene, Trace)>) -> Self {
        traces.sort_by_key(|(scene, _)| *scene);
        let mut reached: BTreeMap<(Who, Point), Vec<(Scene, usize)>> = BTreeMap::new();
        for (scene, trace) in traces {
            for (at, count) in trace {
                reached.entry(at).or_default().push((scene, count));
            }
        }
        Self(reached)
    }

    /// Points that nobody got to.
    pub(crate) fn missed(&self) -> Vec<&'static str> {
        let got: BTreeSet<Point> = self.0.keys().map(|(_, point)| *point).collect();
        Point::all().filter(|point| !got.contains(point)).map(Point::name).collect()
    }

    /// All cases: each program at each of its points, by both ways to pay where it gets there, the first
    /// time and in the middle.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for ((who, point), scenes) in &self.0 {
            let case = |(scene, time): (Scene, usize)| Case { scene, who: *who, point: *point, time };
            let sales: Vec<_> = scenes.iter().filter(|(scene, _)| scene.is_whole_sale()).collect();
            let first = scenes.first().filter(|_| sales.is_empty());
            for (scene, count) in sales.into_iter().chain(first) {
                cases.push(case((*scene, 1)));
                if *count >= 4 {
                    cases.push(case((*scene, count.div_ceil(2))));
                }
            }
        }
        cases
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "who gets where, and how often in a scene:")?;
        for point in Point::all() {
            for ((who, _), scenes) in self.0.iter().filter(|((_, at), _)| *at == point) {
                let scenes: Vec<String> = scenes.iter().map(|(scene, count)| format!("{scene:?} {count}")).collect();
                writeln!(f, "  {:<22}{:<9}{}", point.name(), format!("{who:?}"), scenes.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Kills, by point and program: at the point, and in the second life there or anywhere.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<(Point, Who), [usize; 4]>);

impl Table {
    pub(crate) fn of(outcomes: &[(Case, Result<Again, String>)]) -> Self {
        let mut table = Self::default();
        for (case, outcome) in outcomes {
            let row = table.0.entry((case.point, case.who)).or_default();
            row[0] += 1;
            match outcome {
                Ok(Again::There) => row[1] += 1,
                Ok(Again::Anywhere) => row[2] += 1,
                Ok(Again::Never) => row[3] += 1,
                Err(_) => {}
            }
        }
        table
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| point | killed | cases | again there | again elsewhere | all was done |\n|---|---|---|---|---|---|"
        )?;
        for ((point, who), [cases, there, elsewhere, never]) in &self.0 {
            let who = format!("{who:?}").to_lowercase();
            writeln!(f, "| `{point}` | {who} | {cases} | {there} | {elsewhere} | {never} |")?;
        }
        Ok(())
    }
}
