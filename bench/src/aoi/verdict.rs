//! The rows that the engine has to answer for, and what must be reached in each.

use crate::aoi::report::{AoiReport, OracleOutcome};
use serde::Serialize;

/// The tail: at most so many medians, and so many ms.
const TAIL_MEDIANS: f64 = 3.0;
const TAIL_MS: f64 = 0.3;
/// Elapsed time on one thread over that on two.
const WALL_RATIO: f64 = 1.7;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// One word; the file's name, too.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What `myriad-bench aoi` is given.
    pub arguments: &'static str,
    /// What it is given for the run against brute force. Brute force looks at every pair there could be, so the
    /// sparse rows have fewer entities there, with as many in view.
    pub oracle_arguments: &'static str,
    /// What the mean tick may cost at most.
    pub must: Limit,
    /// What it had better cost.
    pub aim: Option<Limit>,
    /// How many times faster than the grid with sorted lists it must be.
    pub over_grid: Option<f64>,
}

/// A cost per tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// In ms.
    Ms(f64),
    /// In multiples of the first row.
    TimesFirst(f64),
}

impl Limit {
    fn ms(self, first_ms: Option<f64>) -> Option<f64> {
        match self {
            Self::Ms(ms) => Some(ms),
            Self::TimesFirst(times) => first_ms.map(|first| times * first),
        }
    }
}

/// All rows. The first is the measure of some others.
pub const ROWS: [Row; 9] = [
    Row {
        name: "visible-1000",
        title: "10k entities, ~1000 in view of each",
        arguments: "--entities 10000 --visible 1000 --ticks 2000 --baselines",
        oracle_arguments: "--entities 10000 --visible 1000 --warm-up 2 --ticks 8 --oracle",
        must: Limit::Ms(1.0),
        aim: Some(Limit::Ms(0.5)),
        over_grid: Some(100.0),
    },
    Row {
        name: "square-200",
        title: "10k entities in 200 m x 200 m, ~7000 in view of each",
        arguments: "--entities 10000 --side 200 --radius 126 --ticks 2000 --baselines --baseline-ticks 5",
        oracle_arguments: "--entities 10000 --side 200 --radius 126 --warm-up 1 --ticks 4 --oracle",
        must: Limit::Ms(3.0),
        aim: Some(Limit::Ms(1.5)),
        over_grid: None,
    },
    Row {
        name: "all-see-all",
        title: "10k entities, all see all",
        arguments: "--entities 10000 --side 70 --ticks 2000 --baselines --baseline-ticks 5",
        oracle_arguments: "--entities 10000 --side 70 --warm-up 1 --ticks 4 --oracle",
        must: Limit::Ms(1.0),
        aim: Some(Limit::Ms(0.2)),
        over_grid: None,
    },
    Row {
        name: "gateway",
        title: "A gateway: 5k observers of 10k entities, ~1000 in view of each",
        arguments: "--entities 10000 --observers 5000 --visible 1000 --radii mixed --masks-differing 2 --ticks 2000 --baselines",
        oracle_arguments: "--entities 10000 --observers 5000 --visible 1000 --radii mixed --masks-differing 2 --warm-up 2 --ticks 8 --oracle",
        must: Limit::Ms(1.5),
        aim: Some(Limit::Ms(0.8)),
        over_grid: None,
    },
    Row {
        name: "masks-appeal-height",
        title: "10k entities, ~1000 in view of each, 64 masks, 1 % with appeal, height limit",
        arguments: "--entities 10000 --visible 1000 --masks 64 --appeal 1 --dy-limit 20 --ticks 2000",
        oracle_arguments: "--entities 10000 --visible 1000 --masks 64 --appeal 1 --dy-limit 20 --warm-up 2 --ticks 8 --oracle",
        must: Limit::TimesFirst(1.6),
        aim: Some(Limit::TimesFirst(1.2)),
        over_grid: None,
    },
    Row {
        name: "sparse-100k",
        title: "100k entities, ~60 in view of each",
        arguments: "--entities 100000 --visible 60 --ticks 2000 --baselines --baseline-ticks 5",
        oracle_arguments: "--entities 10000 --visible 60 --warm-up 2 --ticks 8 --oracle",
        must: Limit::Ms(2.5),
        aim: Some(Limit::Ms(1.5)),
        over_grid: None,
    },
    Row {
        name: "sparse-1m",
        title: "1M entities, ~60 in view of each",
        arguments: "--entities 1000000 --visible 60 --ticks 2000 --baselines --baseline-ticks 3",
        oracle_arguments: "--entities 20000 --visible 60 --warm-up 2 --ticks 3 --oracle",
        must: Limit::Ms(40.0),
        aim: Some(Limit::Ms(15.0)),
        over_grid: None,
    },
    Row {
        name: "visible-1000-avx2",
        title: "10k entities, ~1000 in view of each, AVX2",
        arguments: "--entities 10000 --visible 1000 --ticks 2000 --kernel avx2",
        oracle_arguments: "--entities 10000 --visible 1000 --warm-up 2 --ticks 8 --kernel avx2 --oracle",
        must: Limit::TimesFirst(2.5),
        aim: None,
        over_grid: None,
    },
    Row {
        name: "visible-1000-portable",
        title: "10k entities, ~1000 in view of each, portable",
        arguments: "--entities 10000 --visible 1000 --ticks 2000 --kernel portable",
        oracle_arguments: "--entities 10000 --visible 1000 --warm-up 2 --ticks 8 --kernel portable --oracle",
        must: Limit::TimesFirst(12.0),
        aim: None,
        over_grid: None,
    },
];

/// One figure and what it had to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Which figure.
    pub what: &'static str,
    /// As measured.
    pub value: f64,
    /// What it must be: at most, or at least.
    pub must: Bound,
    /// The aim, where there is one.
    pub aim: Option<Bound>,
    /// Whether it is what it must be.
    pub reached: bool,
    /// Whether it is what it aims at.
    pub aim_reached: Option<bool>,
}

/// One side of a range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Not more.
    AtMost(f64),
    /// Not less.
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Check {
    fn new(what: &'static str, value: f64, must: Bound, aim: Option<Bound>) -> Self {
        Self {
            what,
            value,
            must,
            aim,
            reached: must.holds(value),
            aim_reached: aim.map(|aim| aim.holds(value)),
        }
    }
}

/// The checks that are about being right.
pub(super) const EXACT: [&str; 2] = ["same_on_two_threads", "oracle_equal"];

/// The three runs of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs<'a> {
    pub(super) one: &'a AoiReport,
    pub(super) two: &'a AoiReport,
    pub(super) oracle: &'a AoiReport,
}

/// Holds a row's figures against what they must be. A limit in multiples of the first row needs that row's mean.
pub(super) fn judge(row: &Row, runs: Runs<'_>, first_ms: Option<f64>) -> Vec<Check> {
    let one = runs.one;
    let mut checks = Vec::new();
    if let Some(must) = row.must.ms(first_ms) {
        let aim = row.aim.and_then(|aim| aim.ms(first_ms));
        checks.push(Check::new(
            "amortised_ms",
            one.amortised_ms,
            Bound::AtMost(must),
            aim.map(Bound::AtMost),
        ));
    }
    if let (Some(times), Some(baselines)) = (row.over_grid, &one.baselines_ms) {
        let measured = baselines.grid_vec / one.amortised_ms;
        checks.push(Check::new(
            "times_grid_vec",
            measured,
            Bound::AtLeast(times),
            None,
        ));
    }
    let tail = TAIL_MEDIANS * one.median_ms + TAIL_MS;
    checks.push(Check::new("p999_ms", one.p999_ms, Bound::AtMost(tail), None));
    let ratio = one.wall_median_ms / runs.two.wall_median_ms;
    checks.push(Check::new("wall_ratio", ratio, Bound::AtLeast(WALL_RATIO), None));
    if let Some(allocations) = one.allocs_per_tick {
        checks.push(Check::new(
            "allocs_per_tick",
            allocations as f64,
            Bound::AtMost(0.0),
            None,
        ));
    }
    let same = one.events_checksum == runs.two.events_checksum;
    let yes_or_no = |what, yes| Check::new(what, f64::from(u8::from(yes)), Bound::AtLeast(1.0), None);
    checks.push(yes_or_no(EXACT[0], same));
    let equal = runs.oracle.oracle == Some(OracleOutcome::Equal);
    checks.push(yes_or_no(EXACT[1], equal));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aoi::args::AoiArgs;
    use crate::aoi::measure::measure;

    fn small() -> AoiReport {
        let args = AoiArgs::parse_line("--entities 50 --side 50 --ticks 3 --warm-up 0 --oracle");
        measure(&args.expect("it is well-formed"), "").expect("it makes sense")
    }

    fn reached(checks: &[Check], what: &str) -> Option<bool> {
        let check = checks.iter().find(|check| check.what == what);
        check.map(|check| check.reached)
    }

    #[test]
    fn a_row_within_its_limits_is_reached_and_one_beyond_is_not() {
        let mut one = AoiReport {
            amortised_ms: 0.9,
            median_ms: 0.8,
            p999_ms: 2.7,
            wall_median_ms: 1.7,
            allocs_per_tick: Some(0),
            ..small()
        };
        let two = AoiReport {
            wall_median_ms: 1.0,
            ..one.clone()
        };
        let judged = |one: &AoiReport| {
            let runs = Runs {
                one,
                two: &two,
                oracle: &two,
            };
            judge(&ROWS[0], runs, None)
        };
        let checks = judged(&one);
        assert!(checks.iter().all(|check| check.reached), "{checks:?}");
        assert_eq!(checks[0].aim_reached, Some(false));

        one.amortised_ms = 1.1;
        one.p999_ms = 2.8;
        one.wall_median_ms = 1.6;
        one.allocs_per_tick = Some(1);
        one.events_checksum += 1;
        let checks = judged(&one);
        let missed: Vec<_> = checks.iter().filter(|check| !check.reached).collect();
        assert_eq!(missed.len(), 5, "{missed:?}");
        assert_eq!(reached(&checks, "oracle_equal"), Some(true));
    }

    #[test]
    fn limits_relative_to_the_first_row_need_it() {
        let report = small();
        let runs = Runs {
            one: &report,
            two: &report,
            oracle: &report,
        };
        let row = ROWS
            .iter()
            .find(|row| row.name == "visible-1000-avx2")
            .expect("it is there");
        let first_ms = report.amortised_ms / 2.0;
        assert_eq!(
            reached(&judge(row, runs, Some(first_ms)), "amortised_ms"),
            Some(true)
        );
        assert_eq!(reached(&judge(row, runs, None), "amortised_ms"), None);
    }
}
