//! What a run must reach, by what was asked of it: the project's table, as data.
//!
//! Beside [`Thresholds`], which hold for every run of bots, there are limits on single figures of the report. They
//! name the figure by its key in the JSON, so that a recorded report is checked like a fresh one. A figure that is
//! absent fails its check.

use crate::commands::args::{Plan, Views};
use crate::series::Series;
use crate::verdict::{Check, Thresholds, Verdict};
use serde_json::Value;

/// Staleness of the near tier: a tick and a half, but never less than this, in ms.
const NEAR_P99_MS: f64 = 300.0;
/// Staleness of everything, in ms: without loss, and with it.
const ALL_P99_MS: (f64, f64) = (2_000.0, 3_000.0);
/// Shown error near and overall, p99 in metres.
const SHOWN_P99_M: (f64, f64) = (0.15, 1.0);
/// Bytes of the crowd's memberships for each byte of its states.
const MEMBERSHIP_SHARE: f64 = 0.2;
/// Share of the ticks that may take longer than their period.
const OVERRUN_SHARE: f64 = 0.001;
/// Updates that each second of the server's CPU time must bring to clients, in a crowd of [`LARGE`].
const UPDATES_PER_CPU_S: f64 = 80e6;
/// Memory of the server for each client in a crowd of [`LARGE`], in KiB.
const MEMORY_KIB: f64 = 120.0;
/// From so many clients and entities on, figures for each client or CPU second are those of the crowd and not of what
/// a server costs by itself.
const LARGE: (u32, u32) = (5_000, 10_000);
/// Hand-offs between nodes that each second of the server's CPU time must do, everything that the server does beside them
/// included.
const HANDOFFS_PER_CPU_S: f64 = 5_000.0;
/// Bytes of the near tier's states, for each entity in each tick.
const NEAR_BYTES: f64 = 6.0;
/// How much of the server's memory may come on top between the first and the last third of a run with churn.
const CHURN_GROWTH: f64 = 1.05;

/// A limit on one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    name: &'static str,
    /// The figure's place in the JSON.
    key: &'static str,
    /// Another that it is divided by.
    per: Option<&'static str>,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Most(f64),
    Least(f64),
}

/// The limits on single figures.
pub(super) fn limits(plan: &Plan) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut most = |name, key, per, bound| {
        limits.push(Limit {
            name,
            key,
            per,
            bound: Bound::Most(bound),
        });
    };
    most("overruns", "/overruns", Some("/ticks/told"), OVERRUN_SHARE);
    most("decode_differences", "/decoding/decode_differences", None, 0.0);
    if plan.slow > 0 {
        most("slow_lost", "/slow/lost", None, 0.0);
    }
    if plan.churn_per_s > 0.0 {
        most("ghosts", "/churn/ghosts", None, 0.0);
    }
    // Bad weather, newcomers and lanes that change have their own; those who are spread over a space are asked for edges.
    let is_steady = plan.weather.is_none() && plan.churn_per_s == 0.0 && plan.relayout.is_none();
    if is_steady && plan.views == Views::Crowd {
        most("all_covered", "/all_covered_s", None, plan.run.join_allowance);
        let near_ms = NEAR_P99_MS.max(1_500.0 / plan.run.hz);
        most("staleness_near_p99", "/staleness_ms/near/p99", None, near_ms);
        most("shown_near_p99", "/shown_error_m/near/p99", None, SHOWN_P99_M.0);
        most("shown_all_p99", "/shown_error_m/all/p99", None, SHOWN_P99_M.1);
    }
    // Who goes to another lane comes into another track: that is what these runs are full of.
    if plan.views != Views::Spread && plan.relayout.is_none() {
        let (membership, state) = (
            "/bytes_per_client_s/crowd_membership",
            "/bytes_per_client_s/crowd_state",
        );
        most("membership_share", membership, Some(state), MEMBERSHIP_SHARE);
    }
    if plan.views == Views::Dense {
        most("late_near", "/views/late_near", None, 0.0);
        most("late_beyond_period", "/views/late_beyond_period", None, 0.0);
    }
    if plan.views == Views::Crowd && plan.clients >= LARGE.0 && plan.entities >= LARGE.1 {
        most(
            "memory_per_client",
            "/server_rss_per_client_kib",
            None,
            MEMORY_KIB,
        );
        limits.push(Limit {
            name: "updates_per_cpu_s",
            key: "/updates_per_server_cpu_s",
            per: None,
            bound: Bound::Least(UPDATES_PER_CPU_S),
        });
    }
    if plan.frame_bytes {
        let near = "/lanes/near_bytes_per_entity_tick";
        limits.push(Limit {
            name: "near_bytes",
            key: near,
            per: None,
            bound: Bound::Most(NEAR_BYTES),
        });
    }
    if plan.game.is_some() {
        limits.push(Limit {
            name: "handoffs_per_cpu_s",
            key: "/handoffs/count",
            per: Some("/cpu_s/server"),
            bound: Bound::Least(HANDOFFS_PER_CPU_S),
        });
    }
    limits
}

/// What holds for every run of bots.
pub(super) fn thresholds(plan: &Plan) -> Thresholds {
    Thresholds {
        staleness_all_p99_ms: Some(match plan.weather {
            None => ALL_P99_MS.0,
            Some(_) => ALL_P99_MS.1,
        }),
        ticks_skipped_share: OVERRUN_SHARE,
        ..Thresholds::promised(plan.clients)
    }
}

/// Adds to the verdict what `report`, as JSON, comes to.
pub(super) fn judge(plan: &Plan, report: &Value, verdict: &mut Verdict) {
    if plan.views == Views::Dense {
        // In the crowd tier an edge is told within a period, not with its very tick; `late_near` and
        // `late_beyond_period` take this check's place.
        verdict.checks.retain(|check| check.name != "views_late");
    }
    verdict
        .checks
        .extend(limits(plan).iter().map(|limit| limit.check(report)));
    if plan.churn_per_s > 0.0 {
        verdict.checks.push(memory_is_flat(report));
    }
}

impl Limit {
    fn check(&self, report: &Value) -> Check {
        let figure = |key| report.pointer(key).and_then(Value::as_f64);
        let found = match self.per {
            None => figure(self.key),
            // Nothing of nothing is nothing; something of nothing is too much.
            Some(per) => figure(self.key).zip(figure(per)).map(|(part, whole)| match part {
                0.0 => 0.0,
                part => part / whole,
            }),
        };
        let (passed, asked) = match (self.bound, found) {
            (_, None) => (false, String::new()),
            (Bound::Most(most), Some(found)) => (
                found <= most,
                format!("{}, at most {}", short(found), short(most)),
            ),
            (Bound::Least(least), Some(found)) => (
                found >= least,
                format!("{}, at least {}", short(found), short(least)),
            ),
        };
        let detail = match found {
            None => format!("not measured: {}", self.key),
            Some(_) => asked,
        };
        Check {
            name: self.name,
            passed,
            detail,
        }
    }
}

/// Figures between a thousandth and a hundred million, as people read them.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1e6 => format!("{:.1} million", figure / 1e6),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size == size.round() => format!("{figure:.0}"),
        _ => format!("{figure:.4}"),
    }
}

fn memory_is_flat(report: &Value) -> Check {
    let series = report.get("series").cloned().unwrap_or_default();
    let series: Series = serde_json::from_value(series).unwrap_or_default();
    let memory: Vec<f64> = series
        .seconds
        .iter()
        .filter_map(|second| second.server_rss_mib)
        .collect();
    let third = memory.len() / 3;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (passed, detail) = match third {
        0 => (false, "not measured: /series/seconds/server_rss_mib".into()),
        _ => {
            let (first, last) = (mean(&memory[..third]), mean(&memory[memory.len() - third..]));
            let detail =
                format!("{first:.0} MiB in the first third, {last:.0} MiB in the last, at most 5 % more");
            (last <= first * CHURN_GROWTH, detail)
        }
    };
    Check {
        name: "memory_flat",
        passed,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::args::tests::plan;
    use serde_json::json;

    fn bound(line: &str, name: &str) -> Option<Bound> {
        let plan = plan(line).expect(line);
        limits(&plan)
            .iter()
            .find(|limit| limit.name == name)
            .map(|limit| limit.bound)
    }

    #[test]
    fn near_may_be_a_tick_and_a_half_stale() {
        for (line, ms) in [
            ("crowd --hz 5", 300.0),
            ("crowd --hz 2.5", 600.0),
            ("crowd --hz 10", 300.0),
        ] {
            assert_eq!(bound(line, "staleness_near_p99"), Some(Bound::Most(ms)), "{line}");
        }
        assert_eq!(bound("crowd --loss 2", "staleness_near_p99"), None);
    }

    #[test]
    fn loss_allows_three_seconds_in_place_of_two() {
        let all = |line| thresholds(&plan(line).expect(line)).staleness_all_p99_ms;
        assert_eq!(
            (all("crowd"), all("crowd --loss 2 --delay 80")),
            (Some(2000.0), Some(3000.0))
        );
    }

    #[test]
    fn figures_for_each_client_are_asked_of_large_crowds() {
        assert_eq!(bound("crowd --clients 4999", "memory_per_client"), None);
        let large = "crowd --clients 5000 --entities 10000";
        assert_eq!(bound(large, "memory_per_client"), Some(Bound::Most(120.0)));
        assert_eq!(bound(large, "updates_per_cpu_s"), Some(Bound::Least(80e6)));
    }

    #[test]
    fn what_a_cluster_costs_is_asked_where_it_is_measured() {
        let (handoff, frame) = ("cluster --case handoff", "cluster --case frame-bytes");
        assert_eq!(bound(handoff, "handoffs_per_cpu_s"), Some(Bound::Least(5000.0)));
        assert_eq!(bound(frame, "near_bytes"), Some(Bound::Most(6.0)));
        for other in ["cluster --case wander", "cluster --case lane-cost"] {
            assert_eq!(bound(other, "handoffs_per_cpu_s"), None, "{other}");
            assert_eq!(bound(other, "near_bytes"), None, "{other}");
        }
        let limits = limits(&plan(handoff).expect(handoff));
        let limit = limits.iter().find(|limit| limit.name == "handoffs_per_cpu_s");
        let report = |count| json!({"handoffs": {"count": count}, "cpu_s": {"server": 2.0}});
        let passes = |count| limit.expect("just found").check(&report(count)).passed;
        assert!(passes(10_000) && !passes(9_999));
    }

    #[test]
    fn only_a_dense_spread_may_tell_an_edge_after_its_tick() {
        let judged = |line| {
            let mut verdict = Verdict {
                checks: vec![Check {
                    name: "views_late",
                    passed: true,
                    detail: String::new(),
                }],
            };
            judge(&plan(line).expect(line), &json!({}), &mut verdict);
            verdict.checks.iter().map(|check| check.name).collect::<Vec<_>>()
        };
        assert!(judged("spread").contains(&"views_late") && !judged("spread").contains(&"late_near"));
        assert!(!judged("spread --dense").contains(&"views_late"));
        assert!(judged("spread --dense").contains(&"late_beyond_period"));
        assert!(
            !judged("spread").contains(&"membership_share"),
            "all are in the near tier"
        );
        assert!(judged("crowd --churn 1").contains(&"memory_flat"));
    }

    #[test]
    fn a_figure_is_compared_with_its_bound_and_its_absence_fails() {
        let check = |name, report: Value| {
            let plan = plan("crowd --clients 5000 --entities 10000").expect("a plan");
            let limits = limits(&plan);
            let limit = limits.iter().find(|limit| limit.name == name).expect(name);
            limit.check(&report)
        };
        let overruns = |overruns, told| json!({"overruns": overruns, "ticks": {"told": told}});
        assert!(check("overruns", overruns(1, 1000)).passed && !check("overruns", overruns(2, 1000)).passed);
        assert!(check("overruns", overruns(0, 0)).passed && !check("overruns", overruns(1, 0)).passed);
        let absent = check("overruns", json!({}));
        assert!(
            !absent.passed && absent.detail == "not measured: /overruns",
            "{absent:?}"
        );
        let updates = |updates| json!({"updates_per_server_cpu_s": updates});
        assert!(check("updates_per_cpu_s", updates(8e7)).passed);
        let few = check("updates_per_cpu_s", updates(7e7));
        assert_eq!(
            (few.passed, few.detail.as_str()),
            (false, "70.0 million, at least 80.0 million")
        );
    }

    #[test]
    fn memory_is_flat_if_its_last_third_is_like_its_first() {
        let memory = |mib: &[f64]| {
            let seconds: Vec<_> = mib
                .iter()
                .map(|mib| json!({"second": 0, "server_rss_mib": mib}))
                .collect();
            memory_is_flat(&json!({"series": {"seconds": seconds, "distances": []}})).passed
        };
        assert!(memory(&[100.0, 150.0, 104.0]) && !memory(&[100.0, 100.0, 106.0]));
        assert!(!memory(&[]));
    }
}
