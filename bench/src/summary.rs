//! From what was counted to the report: sums, rates and shares. Pure arithmetic, so that it can be checked.

use crate::cpu;
use crate::header::Header;
use crate::histogram::{Histogram, Percentiles};
use crate::options::BotsOptions;
use crate::report::{
    BytesPerClient, CodecError, CpuSeconds, Datagrams, Report, RssMib, Sampled, ShownError, Staleness, Ticks,
    TruthChecks, Views,
};
use crate::run::Outcome;
use crate::sample::{Rates, STEPS_PER_METRE, Tally};
use crate::truth::TraceStats;
use myriad_client::quic::{Connection, now_us};
use myriad_client::{ByteCounters, Counters};
use myriad_wire::client::Joined;
use myriad_wire::grid::UNITS_PER_METRE;
use std::collections::BTreeMap;

/// What one client received and sent: at a moment, or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    at_us: u64,
    bytes: ByteCounters,
    states: u64,
    udp_bytes: u64,
    udp_received: u64,
    udp_sent: u64,
}

impl Measured {
    /// Since the beginning of the connection.
    pub(crate) fn now(connection: &mut Connection) -> Self {
        let Counters { bytes, states, .. } = *connection.core().counters();
        let stats = connection.stats();
        Self {
            at_us: now_us(),
            bytes,
            states: states.applied_total(),
            udp_bytes: stats.udp_rx.bytes,
            udp_received: stats.udp_rx.datagrams,
            udp_sent: stats.udp_tx.datagrams,
        }
    }

    /// From `before` to `self`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            at_us: self.at_us - before.at_us,
            bytes: ByteCounters {
                near: self.bytes.near - before.bytes.near,
                crowd: self.bytes.crowd - before.bytes.crowd,
                own: self.bytes.own - before.bytes.own,
                view: self.bytes.view - before.bytes.view,
                messages: self.bytes.messages - before.bytes.messages,
            },
            states: self.states - before.states,
            udp_bytes: self.udp_bytes - before.udp_bytes,
            udp_received: self.udp_received - before.udp_received,
            udp_sent: self.udp_sent - before.udp_sent,
        }
    }

    fn seconds(&self) -> f64 {
        (self.at_us as f64 / 1e6).max(1e-6)
    }
}

/// CPU time spent so far, and memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    server_s: Option<f64>,
    bots_s: f64,
    truth_s: f64,
    server_rss_mib: Option<f64>,
    bots_rss_mib: f64,
}

impl Spent {
    /// By the server's processes, the bots' threads and the thread that reads the truth. A process that is gone
    /// leaves the server's figures out.
    pub(crate) fn now(server_pids: &[u32], bots: &[u32], truth: Option<u32>) -> Self {
        let sum = |of: fn(u32) -> Option<f64>| -> Option<f64> {
            let sum: Option<f64> = server_pids.iter().map(|pid| of(*pid)).sum();
            sum.filter(|_| !server_pids.is_empty())
        };
        Self {
            server_s: sum(cpu::process_cpu_s),
            bots_s: bots.iter().filter_map(|thread| cpu::thread_cpu_s(*thread)).sum(),
            truth_s: truth.and_then(cpu::thread_cpu_s).unwrap_or(0.0),
            server_rss_mib: sum(cpu::rss_mib),
            bots_rss_mib: cpu::rss_mib(std::process::id()).unwrap_or(0.0),
        }
    }

    /// CPU time since `before`; memory as it is in `self`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            server_s: self.server_s.zip(before.server_s).map(|(now, then)| now - then),
            bots_s: self.bots_s - before.bots_s,
            truth_s: self.truth_s - before.truth_s,
            ..*self
        }
    }
}

/// What the truth trace said while measuring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    pub(crate) stats: TraceStats,
    /// Of all entities, and of the bots' avatars.
    pub(crate) speeds: [Option<Percentiles>; 2],
    pub(crate) speeding: u64,
    pub(crate) entities: u32,
}

/// All that a run found.
pub(crate) struct Found<'a> {
    pub(crate) header: Header,
    pub(crate) options: &'a BotsOptions,
    /// What the first client was told at its join.
    pub(crate) joined: Option<Joined>,
    /// How long was measured.
    pub(crate) seconds: f64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) tally: Tally,
    pub(crate) trace: Option<Trace>,
    pub(crate) spent: Spent,
}

/// The report of what was found.
pub(crate) fn report(found: Found<'_>) -> Report {
    let Found {
        options,
        outcomes,
        tally,
        spent,
        trace,
        seconds,
        ..
    } = &found;
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let hz = found.joined.as_ref().map_or(0.0, |joined| joined.clock.hz());
    let measured: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.measured.as_ref())
        .collect();
    let has_truth = options.truth.is_some();
    let updates_per_s = measured
        .iter()
        .map(|one| one.states as f64 / one.seconds())
        .sum::<f64>();
    let server_cpu_per_s = spent.server_s.map(|cpu_s| cpu_s / seconds);
    let clients = f64::from(options.clients);
    let (coverage_min, coverage_mean) = coverage(options, outcomes);
    let in_view_max = outcomes.iter().map(|outcome| outcome.counts.in_view_max).max();
    let verify_s = tally.verify_ns as f64 / 1e9;
    Report {
        seed: options.seed,
        clients: options.clients,
        entities: trace
            .as_ref()
            .map_or(in_view_max.unwrap_or(0), |trace| trace.entities),
        hz,
        decode: "own",
        motion: options.motion,
        truth: has_truth,
        sampled: sampled(&found, options.hz.unwrap_or(hz)),
        coverage_min,
        coverage_mean,
        staleness_ms: Staleness {
            near: tally.near_ms.percentiles(1.0),
            all: tally.all_ms.percentiles(1.0),
        },
        codec_error_m: (tally.codec_states > 0).then(|| CodecError {
            near: f64::from(tally.codec_near) / f64::from(UNITS_PER_METRE),
            crowd: (tally.codec_crowd as f64).sqrt() / f64::from(UNITS_PER_METRE),
        }),
        shown_error_m: (tally.shown_all.total() > 0).then(|| ShownError {
            near: tally.shown_near.percentiles(1.0 / STEPS_PER_METRE),
            all: tally.shown_all.percentiles(1.0 / STEPS_PER_METRE),
        }),
        clients_lost: sum(|outcome| u64::from(outcome.lost.is_some())) as u32,
        lost_reasons: reasons(
            outcomes
                .iter()
                .filter_map(|outcome| Some((outcome.lost.as_ref()?, 1))),
        ),
        corrections: sum(|outcome| outcome.counts.corrections),
        intents_lost: sum(|outcome| outcome.counts.intents_lost),
        intents_sent: sum(|outcome| outcome.counts.intents_sent),
        intents_skipped: sum(|outcome| outcome.counts.intents_skipped),
        commands_refused: sum(|outcome| outcome.counts.commands_refused),
        refusals: reasons(
            outcomes
                .iter()
                .flat_map(|outcome| &outcome.refusals)
                .map(|(why, count)| (why, *count)),
        ),
        events: sum(|outcome| outcome.counts.events),
        join_s: join_s(outcomes),
        updates_per_s,
        updates_per_server_cpu_s: server_cpu_per_s.map(|cpu| updates_per_s / cpu.max(1e-9)),
        bytes_per_client_s: bytes_per_client(&measured),
        datagrams: Datagrams {
            sent: measured.iter().map(|one| one.udp_sent).sum(),
            received: measured.iter().map(|one| one.udp_received).sum(),
        },
        cpu_s: CpuSeconds {
            server: spent.server_s,
            bots_net: (spent.bots_s - verify_s).max(0.0),
            bots_verify: verify_s + spent.truth_s,
        },
        cpu_us_per_client_s: server_cpu_per_s.map(|cpu| cpu * 1e6 / clients),
        ticks: trace.as_ref().map(|trace| Ticks {
            told: trace.stats.told,
            skipped: trace.stats.skipped,
            disordered: trace.stats.disordered,
            late_ms: trace.stats.late_ms.percentiles(1.0),
        }),
        rss_mib: RssMib {
            server: spent.server_rss_mib,
            bots: spent.bots_rss_mib,
        },
        server_rss_per_client_kib: spent.server_rss_mib.map(|mib| mib * 1024.0 / clients),
        views: views(outcomes),
        checks: trace.as_ref().map(|trace| TruthChecks {
            obedience_checked: sum(|outcome| outcome.counts.obedience_checked),
            disobeyed: sum(|outcome| outcome.counts.disobeyed),
            speed_m_s: trace.speeds[0],
            avatar_speed_m_s: trace.speeds[1],
            speeding: trace.speeding,
            properties_wrong: tally.properties_wrong,
        }),
        header: Header {
            seconds: *seconds,
            ..found.header.clone()
        },
    }
}

fn sampled(found: &Found<'_>, hz: f64) -> Sampled {
    let tally = &found.tally;
    let rates = Rates::of(found.options.clients);
    let due = f64::from(found.options.clients) * found.seconds * hz;
    Sampled {
        client_ticks: tally.client_ticks,
        client_ticks_share: if due > 0.0 {
            tally.client_ticks as f64 / due
        } else {
            0.0
        },
        staleness_pairs: tally.pairs,
        codec_states: tally.codec_states,
        codec_one_in: rates.codec_one_in as u32,
        shown_positions: tally.shown_all.total(),
        shown_one_in: rates.shown_one_in as u32,
        properties: tally.properties,
    }
}

/// The worst client's worst second, and the mean. A client that did not live through the measurement covered
/// nothing at its end.
fn coverage(options: &BotsOptions, outcomes: &[Outcome]) -> (Option<f64>, Option<f64>) {
    if options.truth.is_none() {
        return (None, None);
    }
    let (mut min, mut fresh, mut pairs) = (1.0f64, 0, 0);
    for outcome in outcomes {
        match outcome.counts.coverage {
            Some(coverage) => {
                min = min.min(if outcome.lost.is_some() { 0.0 } else { coverage.min });
                fresh += coverage.fresh;
                pairs += coverage.pairs;
            }
            None => min = 0.0,
        }
    }
    (Some(min), (pairs > 0).then(|| fresh as f64 / pairs as f64))
}

/// How often each reason was given.
fn reasons<'a>(given: impl Iterator<Item = (&'a String, u32)>) -> Vec<(String, u32)> {
    let mut reasons = BTreeMap::new();
    for (why, count) in given {
        *reasons.entry(why.clone()).or_insert(0) += count;
    }
    reasons.into_iter().collect()
}

fn join_s(outcomes: &[Outcome]) -> Option<Percentiles> {
    let mut joins_ms = Histogram::new();
    for join_s in outcomes.iter().filter_map(|outcome| outcome.join_s) {
        joins_ms.record(join_s * 1000.0, 1);
    }
    joins_ms.percentiles(0.001)
}

fn bytes_per_client(measured: &[&Measured]) -> BytesPerClient {
    let mean = |of: fn(&Measured) -> u64| {
        let rates = measured.iter().map(|one| of(one) as f64 / one.seconds());
        rates.sum::<f64>() / measured.len().max(1) as f64
    };
    BytesPerClient {
        total: mean(|one| one.udp_bytes),
        near: mean(|one| one.bytes.near),
        crowd_state: mean(|one| one.bytes.crowd),
        identity: mean(|one| one.bytes.view + one.bytes.messages),
        own: mean(|one| one.bytes.own),
        transport: mean(|one| one.udp_bytes.saturating_sub(one.bytes.total())),
    }
}

fn views(outcomes: &[Outcome]) -> Views {
    let mut views = Views::default();
    for counts in outcomes.iter().map(|outcome| &outcome.counts) {
        views.entered += counts.entered;
        views.left += counts.left;
        views.doubled += counts.view.doubled;
        views.inconsistent += counts.inconsistent;
        views.unchecked += counts.unchecked;
        views.late += counts.view.late;
        views.late_joining += counts.view.late_joining;
        views.edges_missing += counts.view.edges_missing;
        views.edges_extra += counts.view.edges_extra;
        views.missing += counts.view.missing;
        views.extra += counts.view.extra;
    }
    views
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bot::BotCounts;
    use crate::options::Trust;
    use crate::options::TruthSource;
    use crate::sample::CoverageCounts;
    use crate::stage;
    use myriad_client::quic::Fingerprint;
    use myriad_wire::Pos;
    use std::net::{Ipv4Addr, SocketAddr};

    pub(crate) fn options() -> BotsOptions {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut options = BotsOptions::new(server, Trust::Fingerprint(Fingerprint([0; 32])));
        options.clients = 2;
        options.truth = Some(TruthSource {
            url: "http://x".into(),
            token: None,
        });
        options
    }

    fn outcome() -> Outcome {
        let coverage = CoverageCounts {
            min: 1.0,
            fresh: 2000,
            pairs: 2000,
        };
        Outcome {
            join_s: Some(0.25),
            lost: None,
            counts: BotCounts {
                entered: 10,
                intents_sent: 100,
                obedience_checked: 100,
                coverage: Some(coverage),
                in_view_max: 10,
                ..BotCounts::default()
            },
            refusals: Vec::new(),
            measured: Some(Measured {
                at_us: 10_000_000,
                bytes: ByteCounters {
                    near: 5000,
                    crowd: 3000,
                    own: 1000,
                    view: 500,
                    messages: 100,
                },
                states: 2000,
                udp_bytes: 12_000,
                udp_received: 150,
                udp_sent: 100,
            }),
        }
    }

    /// What a faultless run of two clients finds in 10 s.
    pub(crate) fn found(options: &BotsOptions) -> Found<'_> {
        let mut tally = Tally {
            codec_near: 8,
            client_ticks: 200,
            pairs: 4000,
            codec_states: 4000,
            properties: 50,
            verify_ns: 500_000_000,
            ..Tally::default()
        };
        tally.all_ms.record(52.5, 4000);
        tally.near_ms.record(52.5, 4000);
        tally.shown_all.record(30.0, 100);
        let mut trace = Trace {
            speeds: [Some(Percentiles {
                p50: 3.5,
                p99: 5.0,
                max: 5.0,
            }); 2],
            entities: 10,
            ..Trace::default()
        };
        trace.stats.told = 100;
        Found {
            header: Header::collect(10.0),
            options,
            joined: Some(stage::joined(Pos::default())),
            seconds: 10.0,
            outcomes: vec![outcome(), outcome()],
            tally,
            trace: Some(trace),
            spent: Spent {
                server_s: Some(2.0),
                bots_s: 3.0,
                truth_s: 0.25,
                server_rss_mib: Some(100.0),
                bots_rss_mib: 50.0,
            },
        }
    }

    #[test]
    fn rates_and_shares_are_per_client_and_second() {
        let options = options();
        let report = report(found(&options));
        assert_eq!(report.updates_per_s, 400.0);
        assert_eq!(report.updates_per_server_cpu_s, Some(2000.0));
        assert_eq!(report.cpu_us_per_client_s, Some(100_000.0));
        assert_eq!((report.cpu_s.bots_net, report.cpu_s.bots_verify), (2.5, 0.75));
        assert_eq!(report.sampled.client_ticks_share, 1.0);
        assert_eq!(
            (report.coverage_min, report.coverage_mean),
            (Some(1.0), Some(1.0))
        );
        assert_eq!(report.server_rss_per_client_kib, Some(51_200.0));
        let bytes = report.bytes_per_client_s;
        assert_eq!(
            (bytes.total, bytes.near, bytes.crowd_state),
            (1200.0, 500.0, 300.0)
        );
        assert_eq!((bytes.identity, bytes.own, bytes.transport), (60.0, 100.0, 240.0));
        assert_eq!(
            report.datagrams,
            Datagrams {
                sent: 200,
                received: 300
            }
        );
    }

    #[test]
    fn a_client_that_was_lost_or_never_came_covers_nothing() {
        let options = options();
        let mut one_lost = found(&options);
        one_lost.outcomes[0].lost = Some("flood".into());
        let lost = report(one_lost);
        assert_eq!((lost.coverage_min, lost.clients_lost), (Some(0.0), 1));
        assert_eq!(lost.lost_reasons, [("flood".to_owned(), 1)]);
        let mut one_absent = found(&options);
        one_absent.outcomes[1] = Outcome {
            lost: Some("not joined in time".into()),
            ..Outcome::default()
        };
        assert_eq!(report(one_absent).coverage_min, Some(0.0));
    }

    #[test]
    fn the_json_has_the_keys_of_every_measuring_command() {
        let options = options();
        let json = serde_json::to_value(report(found(&options))).expect("it serialises");
        for key in [
            "schema",
            "command",
            "commit",
            "dirty",
            "machine",
            "cpu",
            "kernel",
            "rustc",
            "started",
            "seconds",
            "clients",
            "entities",
            "hz",
            "decode",
            "motion",
            "coverage_min",
            "coverage_mean",
            "clients_lost",
            "corrections",
            "intents_lost",
            "updates_per_s",
            "updates_per_server_cpu_s",
            "cpu_us_per_client_s",
            "server_rss_per_client_kib",
        ] {
            assert!(!json[key].is_null(), "{key}");
        }
        for path in [
            "/staleness_ms/near/p50",
            "/staleness_ms/all/p99",
            "/staleness_ms/all/max",
            "/codec_error_m/near",
            "/codec_error_m/crowd",
            "/shown_error_m/all/p99",
            "/join_s/p50",
            "/join_s/max",
            "/bytes_per_client_s/total",
            "/bytes_per_client_s/near",
            "/bytes_per_client_s/crowd_state",
            "/bytes_per_client_s/identity",
            "/bytes_per_client_s/own",
            "/bytes_per_client_s/transport",
            "/datagrams/sent",
            "/datagrams/received",
            "/cpu_s/server",
            "/cpu_s/bots_net",
            "/cpu_s/bots_verify",
            "/ticks/told",
            "/rss_mib/server",
            "/rss_mib/bots",
            "/views/entered",
            "/views/left",
            "/views/missing",
            "/views/doubled",
            "/views/late",
            "/checks/disobeyed",
        ] {
            assert!(
                json.pointer(path).is_some_and(|value| value.is_number()),
                "{path}"
            );
        }
        assert_eq!(json["motion"], "mixed");
    }

    #[test]
    fn what_was_not_measured_is_absent_from_the_json() {
        let mut options = options();
        options.truth = None;
        let mut found = found(&options);
        found.trace = None;
        found.spent.server_s = None;
        found.tally = Tally::default();
        let json = serde_json::to_value(report(found)).expect("it serialises");
        for key in [
            "coverage_min",
            "codec_error_m",
            "shown_error_m",
            "checks",
            "ticks",
        ] {
            assert!(json.get(key).is_none(), "{key}");
        }
        assert!(json["cpu_s"].get("server").is_none());
    }

    #[test]
    fn people_are_told_the_same() {
        let options = options();
        let text = report(found(&options)).to_string();
        for part in [
            "2 clients, 10 entities, 10 Hz",
            "worst client and second 1.0000",
            "staleness  all p50 52",
            "0 lost",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
