//! Whether a report is good enough: limits, and one named check for each.
//!
//! A figure that a check needs and that was not measured fails it: a check that cannot fail is worth nothing.

use crate::options::Decode;
use crate::report::Report;
use serde::Serialize;
use std::fmt;

/// What a run must reach. `None` leaves a check out.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Least [`Report::coverage_min`], 0 to 1.
    pub coverage_min: Option<f64>,
    /// Most 99th percentile of the staleness over all entities, in ms.
    pub staleness_all_p99_ms: Option<f64>,
    /// Most error of a decoded state of the near tier per axis, in m.
    pub codec_near_m: Option<f64>,
    /// Most error of a decoded state of the crowd tier, in m.
    pub codec_crowd_m: Option<f64>,
    /// Most clients lost.
    pub clients_lost: Option<u32>,
    /// No client was corrected, no intent was lost, no command was refused.
    pub honest: bool,
    /// Each client's own view was consistent: nothing doubled, nothing left that had not entered.
    pub consistent: bool,
    /// Views, avatars, speeds, properties and the clock against the truth trace.
    pub truth: bool,
    /// Most share of the ticks that the lane may have jumped over, checked with `truth`.
    pub ticks_skipped_share: f64,
    /// Least share of the client-ticks at which the bots really looked.
    pub client_ticks_share: f64,
}

/// Staleness that a crowd of a few hundred clients must keep, p99 in ms: a period of the crowd tier, and the way.
pub const STALENESS_SMALL_MS: f64 = 1000.0;
/// Staleness that a thousand clients on a machine shared with the bots must keep, p99 in ms.
pub const STALENESS_LARGE_MS: f64 = 2000.0;
/// Up to how many clients [`STALENESS_SMALL_MS`] is asked for.
const SMALL_CLIENTS: u32 = 500;
/// Bounds of the codec: near per axis, crowd as distance, in m.
const CODEC_M: (f64, f64) = (1.0 / 64.0, 0.25);

impl Thresholds {
    /// What is promised for a run with the truth trace.
    #[must_use]
    pub fn promised(clients: u32) -> Self {
        Self {
            coverage_min: Some(1.0),
            staleness_all_p99_ms: Some(if clients <= SMALL_CLIENTS {
                STALENESS_SMALL_MS
            } else {
                STALENESS_LARGE_MS
            }),
            codec_near_m: Some(CODEC_M.0),
            codec_crowd_m: Some(CODEC_M.1),
            clients_lost: Some(0),
            honest: true,
            consistent: true,
            truth: true,
            ticks_skipped_share: 0.01,
            client_ticks_share: 0.9,
        }
    }

    /// What clients can see by themselves, without the truth trace.
    #[must_use]
    pub fn without_truth(clients: u32) -> Self {
        Self {
            coverage_min: None,
            codec_near_m: None,
            codec_crowd_m: None,
            truth: false,
            ..Self::promised(clients)
        }
    }
}

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, stable: for scripts and people.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was found and what was asked.
    pub detail: String,
}

/// All checks' outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In the order of the report.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Whether all hold.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// Those that do not hold.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }

    /// For the process: 0 if all hold, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.passed())
    }

    fn zero(&mut self, name: &'static str, found: u64) {
        self.push(name, found == 0, format!("{found}, none allowed"));
    }

    fn at_most(&mut self, name: &'static str, found: Option<f64>, limit: f64, unit: &str) {
        match found {
            Some(found) => self.push(
                name,
                found <= limit,
                format!("{found:.4} {unit}, at most {limit:.4}"),
            ),
            None => self.push(name, false, "not measured".into()),
        }
    }

    fn at_least(&mut self, name: &'static str, found: Option<f64>, limit: f64, unit: &str) {
        match found {
            Some(found) => self.push(
                name,
                found >= limit,
                format!("{found:.4} {unit}, at least {limit:.4}"),
            ),
            None => self.push(name, false, "not measured".into()),
        }
    }

    fn push(&mut self, name: &'static str, passed: bool, detail: String) {
        self.checks.push(Check { name, passed, detail });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in self.failed() {
            writeln!(f, "FAILED {}: {}", check.name, check.detail)?;
        }
        let failed = self.failed().count();
        match failed {
            0 => write!(f, "all {} checks passed", self.checks.len()),
            _ => write!(f, "{failed} of {} checks failed", self.checks.len()),
        }
    }
}

/// Slowest median speed of the bots' avatars that counts as walking, in m/s.
const WALKING_M_S: f64 = 1.0;

/// For how many ticks an entity that goes to another lane may be in none, p99.
const HANDOFF_PAUSE_TICKS: f64 = 1.0;

impl Report {
    /// Checks the report against `limits`.
    #[must_use]
    pub fn verdict(&self, limits: &Thresholds) -> Verdict {
        let mut verdict = Verdict { checks: Vec::new() };
        verdict.at_least(
            "client_ticks_share",
            Some(self.sampled.client_ticks_share),
            limits.client_ticks_share,
            "of the client-ticks looked at",
        );
        if let Some(limit) = limits.coverage_min {
            verdict.at_least("coverage_min", self.coverage_min, limit, "");
        }
        if let Some(limit) = limits.staleness_all_p99_ms {
            let p99 = self.staleness_ms.all.map(|all| all.p99);
            verdict.at_most("staleness_all_p99", p99, limit, "ms");
        }
        if let Some(limit) = limits.codec_near_m {
            let near = self.codec_error_m.map(|error| error.near);
            verdict.at_most("codec_near", near, limit, "m");
        }
        if let Some(limit) = limits.codec_crowd_m {
            let crowd = self.codec_error_m.map(|error| error.crowd);
            verdict.at_most("codec_crowd", crowd, limit, "m");
        }
        if let Some(limit) = limits.clients_lost {
            let detail = format!("{}, at most {limit} {:?}", self.clients_lost, self.lost_reasons);
            verdict.push("clients_lost", self.clients_lost <= limit, detail);
        }
        if limits.honest {
            verdict.at_least("intents_sent", Some(self.intents_sent as f64), 1.0, "intents");
            verdict.zero("corrections", self.corrections);
            verdict.zero("intents_lost", self.intents_lost);
            let detail = format!("{}, none allowed {:?}", self.commands_refused, self.refusals);
            verdict.push("commands_refused", self.commands_refused == 0, detail);
        }
        if limits.consistent {
            verdict.at_least("entered", Some(self.views.entered as f64), 1.0, "enters");
            verdict.zero("doubled", self.views.doubled);
            verdict.zero("inconsistent", self.views.inconsistent);
        }
        if limits.truth {
            self.truth_verdict(limits, &mut verdict);
        }
        verdict
    }

    fn truth_verdict(&self, limits: &Thresholds, verdict: &mut Verdict) {
        let (Some(checks), Some(ticks)) = (&self.checks, &self.ticks) else {
            verdict.push("truth", false, "not measured: there was no truth trace".into());
            return;
        };
        verdict.zero("views_unchecked", self.views.unchecked);
        verdict.zero("views_late", self.views.late);
        verdict.zero("views_edges_missing", self.views.edges_missing);
        verdict.zero("views_edges_extra", self.views.edges_extra);
        verdict.zero("views_missing", self.views.missing);
        verdict.zero("views_extra", self.views.extra);
        verdict.zero("ghosts", self.churn.map_or(0, |churn| churn.ghosts));
        if self.decode == Decode::Interned {
            verdict.at_least(
                "decode_compared",
                Some(self.decoding.compared as f64),
                1.0,
                "records decoded twice",
            );
        }
        verdict.zero("decode_differences", self.decoding.decode_differences);
        let looked = |count: u64| Some(count as f64);
        verdict.at_least(
            "codec_states",
            looked(self.sampled.codec_states),
            1.0,
            "states compared",
        );
        verdict.at_least(
            "obedience_checked",
            looked(checks.obedience_checked),
            1.0,
            "client-ticks",
        );
        verdict.zero("disobeyed", checks.disobeyed);
        verdict.at_least(
            "properties_checked",
            looked(self.sampled.properties),
            1.0,
            "values compared",
        );
        verdict.zero("properties_wrong", checks.properties_wrong);
        verdict.zero("speeding", checks.speeding);
        let median = checks.avatar_speed_m_s.map(|speed| speed.p50);
        verdict.at_least("walking", median, WALKING_M_S, "m/s in the median");
        verdict.at_least("ticks", looked(ticks.told), 1.0, "ticks");
        let skipped = ticks.skipped as f64 / ticks.told.max(1) as f64;
        verdict.at_most(
            "ticks_skipped",
            Some(skipped),
            limits.ticks_skipped_share,
            "of the ticks",
        );
        verdict.zero("ticks_disordered", ticks.disordered);
        if let Some(handoffs) = &self.handoffs {
            verdict.zero("handoffs_doubled", handoffs.doubled);
            verdict.zero("handoffs_lost", handoffs.lost);
            let p99 = Some(handoffs.pause_ticks.p99 as f64);
            verdict.at_most("handoff_pause_p99", p99, HANDOFF_PAUSE_TICKS, "ticks");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary;

    fn good() -> Report {
        let options = summary::tests::options();
        summary::report(summary::tests::found(&options))
    }

    fn failed(report: &Report, limits: &Thresholds) -> Vec<&'static str> {
        report.verdict(limits).failed().map(|check| check.name).collect()
    }

    #[test]
    fn a_faultless_run_passes() {
        let verdict = good().verdict(&Thresholds::promised(2));
        assert!(verdict.passed(), "{verdict}");
        assert_eq!(verdict.exit_code(), 0);
        assert!(verdict.to_string().starts_with("all "));
    }

    #[test]
    fn every_fault_fails_the_check_that_is_named_after_it() {
        type Fault = fn(&mut Report);
        let faults: &[(&str, Fault)] = &[
            ("client_ticks_share", |report| {
                report.sampled.client_ticks_share = 0.5
            }),
            ("coverage_min", |report| report.coverage_min = Some(0.9999)),
            ("coverage_min", |report| report.coverage_min = None),
            ("staleness_all_p99", |report| {
                report.staleness_ms.all.as_mut().expect("measured").p99 = 1001.0;
            }),
            ("staleness_all_p99", |report| report.staleness_ms.all = None),
            ("codec_near", |report| {
                report.codec_error_m.as_mut().expect("measured").near = 0.016
            }),
            ("codec_crowd", |report| {
                report.codec_error_m.as_mut().expect("measured").crowd = 0.26
            }),
            ("clients_lost", |report| report.clients_lost = 1),
            ("intents_sent", |report| report.intents_sent = 0),
            ("corrections", |report| report.corrections = 1),
            ("intents_lost", |report| report.intents_lost = 1),
            ("commands_refused", |report| report.commands_refused = 1),
            ("entered", |report| report.views.entered = 0),
            ("doubled", |report| report.views.doubled = 1),
            ("inconsistent", |report| report.views.inconsistent = 1),
            ("views_unchecked", |report| report.views.unchecked = 1),
            ("views_late", |report| report.views.late = 1),
            ("views_edges_missing", |report| report.views.edges_missing = 1),
            ("views_edges_extra", |report| report.views.edges_extra = 1),
            ("views_missing", |report| report.views.missing = 1),
            ("views_extra", |report| report.views.extra = 1),
            ("ghosts", |report| {
                report.churn = Some(crate::report::Churn { left: 1, ghosts: 1 });
            }),
            ("decode_compared", |report| report.decode = Decode::Interned),
            ("decode_differences", |report| {
                report.decoding.decode_differences = 1
            }),
            ("truth", |report| report.checks = None),
            ("codec_states", |report| report.sampled.codec_states = 0),
            ("obedience_checked", |report| checks(report).obedience_checked = 0),
            ("disobeyed", |report| checks(report).disobeyed = 1),
            ("properties_checked", |report| report.sampled.properties = 0),
            ("properties_wrong", |report| checks(report).properties_wrong = 1),
            ("speeding", |report| checks(report).speeding = 1),
            ("walking", |report| {
                checks(report).avatar_speed_m_s.as_mut().expect("measured").p50 = 0.1
            }),
            ("walking", |report| checks(report).avatar_speed_m_s = None),
            ("ticks", |report| {
                report.ticks.as_mut().expect("measured").told = 0
            }),
            ("ticks_skipped", |report| {
                report.ticks.as_mut().expect("measured").skipped = 2
            }),
            ("ticks_disordered", |report| {
                report.ticks.as_mut().expect("measured").disordered = 1
            }),
            ("handoffs_doubled", |report| handoffs(report).doubled = 1),
            ("handoffs_lost", |report| handoffs(report).lost = 1),
            ("handoff_pause_p99", |report| handoffs(report).pause_ticks.p99 = 2),
        ];
        for (name, fault) in faults {
            let mut report = good();
            fault(&mut report);
            assert_eq!(failed(&report, &Thresholds::promised(2)), [*name]);
        }
        let verdict = good().verdict(&Thresholds::promised(2));
        for check in &verdict.checks {
            assert!(
                faults.iter().any(|(name, _)| *name == check.name),
                "{} has no fault",
                check.name
            );
        }
    }

    fn checks(report: &mut Report) -> &mut crate::report::TruthChecks {
        report.checks.as_mut().expect("measured")
    }

    /// As if there had been several lanes.
    fn handoffs(report: &mut Report) -> &mut crate::report::Handoffs {
        report.handoffs.get_or_insert_default()
    }

    #[test]
    fn a_thousand_clients_may_be_staler() {
        let mut report = good();
        report.staleness_ms.all.as_mut().expect("measured").p99 = 1999.0;
        assert_eq!(failed(&report, &Thresholds::promised(1000)), [""; 0]);
        assert_eq!(failed(&report, &Thresholds::promised(300)), ["staleness_all_p99"]);
    }

    #[test]
    fn without_truth_only_what_clients_know_is_asked() {
        let mut report = good();
        report.checks = None;
        report.coverage_min = None;
        report.codec_error_m = None;
        assert!(report.verdict(&Thresholds::without_truth(2)).passed());
        report.corrections = 1;
        assert_eq!(failed(&report, &Thresholds::without_truth(2)), ["corrections"]);
    }
}
