//! `myriad-bench cluster --case lane-cost`: the same crowd on 1, 2 and 4 lanes of one cell, one run after the other.
//!
//! What a lane costs by itself must fall as its share of the entities: each of `k` lanes may take a `k`-th of what one
//! took alone, and some more. It is the CPU time of the lanes' threads, so a machine with fewer cores than lanes says
//! the same.

use super::args::Plan;
use super::run::measure;
use crate::header::Header;
use crate::report::LaneCosts;
use crate::verdict::{Check, Verdict};
use anyhow::{Context, Result};
use serde::Serialize;
use std::process::ExitCode;

/// How many lanes share the crowd, run by run.
const LANES: [u32; 3] = [1, 2, 4];
/// How much more than its share a lane may cost.
const SLACK: f64 = 1.15;

/// What is recorded.
#[derive(Serialize)]
struct Recorded<'a> {
    #[serde(flatten)]
    header: Header,
    entities: u32,
    hz: f64,
    runs: &'a [LaneCosts],
    passed: bool,
    verdict: &'a [Check],
}

/// Makes the runs: exit code 0 if lanes cost no more than their share.
pub(super) fn run(plan: &Plan) -> Result<ExitCode> {
    let header = Header::collect(plan.run.seconds);
    let mut runs = Vec::new();
    let mut checks = Vec::new();
    for lanes in LANES {
        let mut plan = plan.clone();
        plan.cut.lanes = lanes;
        (plan.run.json, plan.run.html) = (None, None);
        let (report, verdict) = measure(&plan)?;
        runs.push(report.lanes.context("the server gave no metrics")?);
        // What the clients saw must be true, too; how fast it was is not what is asked here.
        checks.extend(verdict.checks.into_iter().filter(|check| !check.passed));
    }
    checks.extend(shares(&runs));
    let verdict = Verdict { checks };
    println!("\nlanes  CPU us per lane and tick  of a share");
    for run in &runs {
        let share = run.cpu_us_per_tick * f64::from(run.lanes) / runs[0].cpu_us_per_tick;
        println!("{:>5}  {:>24.0}  {share:>10.2}", run.lanes, run.cpu_us_per_tick);
    }
    println!("{verdict}");
    if let Some(file) = &plan.run.json {
        let recorded = Recorded {
            header,
            entities: plan.entities,
            hz: plan.run.hz,
            runs: &runs,
            passed: verdict.passed(),
            verdict: &verdict.checks,
        };
        let mut text = serde_json::to_string_pretty(&recorded).context("the report as JSON")?;
        text.push('\n');
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(ExitCode::from(verdict.exit_code()))
}

/// A check for each run but the first: what a lane cost there, as a multiple of its share.
fn shares(runs: &[LaneCosts]) -> Vec<Check> {
    let alone_us = runs[0].cpu_us_per_tick;
    let share = |run: &LaneCosts| {
        let times = run.cpu_us_per_tick * f64::from(run.lanes) / alone_us;
        Check {
            name: "lane_cost",
            passed: times <= SLACK,
            detail: format!(
                "each of {} lanes costs {times:.2} of its share, at most {SLACK}",
                run.lanes
            ),
        }
    };
    runs[1..].iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_costs_more_than_its_share_fails() {
        let run = |lanes, cpu_us_per_tick| LaneCosts {
            lanes,
            cpu_us_per_tick,
            ..LaneCosts::default()
        };
        let passed: Vec<bool> = shares(&[run(1, 1000.0), run(2, 570.0), run(4, 300.0)])
            .iter()
            .map(|check| check.passed)
            .collect();
        assert_eq!(passed, [true, false]);
    }
}
