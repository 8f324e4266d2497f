//! From what was counted to the report: sums, rates and shares. Pure arithmetic, so that it can be checked.

use crate::cpu;
use crate::header::Header;
use crate::histogram::{Histogram, Percentiles};
use crate::metrics::ServerStages;
use crate::options::BotsOptions;
use crate::report::{
    BytesPerClient, Churn, CodecError, CpuSeconds, Datagrams, Decoding, Handoffs, PauseTicks, Report, RssMib,
    Sampled, ShownError, Slow, Staleness, Ticks, TruthChecks, Views,
};
use crate::sample::bytes_since;
use crate::sample::{Rates, STEPS_PER_METRE, Tally};
use crate::series::{Second, Series};
use crate::shared::Outcome;
use crate::truth::{HandoffStats, TraceStats};
use myriad_client::quic::now_us;
use myriad_client::{ByteCounters, Client, Counters};
use myriad_transport::quic::ConnectionStats;
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
    pub(crate) fn now(core: &Client, stats: &ConnectionStats) -> Self {
        let Counters { bytes, states, .. } = *core.counters();
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
            bytes: bytes_since(&self.bytes, &before.bytes),
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
    pub(crate) server_s: Option<f64>,
    pub(crate) bots_s: f64,
    pub(crate) truth_s: f64,
    pub(crate) server_rss_mib: Option<f64>,
    bots_rss_mib: f64,
}

impl Spent {
    /// By the server's processes, the bots' threads and those that read the truth. A process that is gone
    /// leaves the server's figures out.
    pub(crate) fn now(server_pids: &[u32], bots: &[u32], truth: &[u32]) -> Self {
        let sum = |of: fn(u32) -> Option<f64>| -> Option<f64> {
            let sum: Option<f64> = server_pids.iter().map(|pid| of(*pid)).sum();
            sum.filter(|_| !server_pids.is_empty())
        };
        Self {
            server_s: sum(cpu::process_cpu_s),
            bots_s: bots.iter().filter_map(|thread| cpu::thread_cpu_s(*thread)).sum(),
            truth_s: truth.iter().filter_map(|thread| cpu::thread_cpu_s(*thread)).sum(),
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
    /// How many lanes told it.
    pub(crate) lanes: usize,
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
    /// Of the clients that read slowly.
    pub(crate) slow: Tally,
    pub(crate) trace: Option<Trace>,
    pub(crate) spent: Spent,
    /// What the server's own metrics say of the time of the measurement.
    pub(crate) server: Option<ServerStages>,
    /// A row per second.
    pub(crate) rows: Vec<Second>,
}

/// The report of what was found. Who reads slowly, or comes and goes, is left out where it would say something else
/// than of the others.
pub(crate) fn report(mut found: Found<'_>) -> Report {
    let rows = std::mem::take(&mut found.rows);
    let Found {
        options,
        outcomes,
        tally,
        spent,
        trace,
        seconds,
        ..
    } = &found;
    let others = || outcomes.iter().filter(|outcome| !outcome.slow);
    let sum = |of: fn(&Outcome) -> u64| others().map(of).sum::<u64>();
    let hz = found.joined.as_ref().map_or(0.0, |joined| joined.clock.hz());
    let measured: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.measured.as_ref())
        .collect();
    let stayed: Vec<_> = others().filter(|outcome| !outcome.churned).collect();
    let stayed = stayed.iter().filter_map(|outcome| outcome.measured.as_ref());
    let updates_per_s = measured.iter().map(|one| one.states as f64).sum::<f64>() / seconds;
    let server_cpu_per_s = spent.server_s.map(|cpu_s| cpu_s / seconds);
    let clients = f64::from(options.clients);
    let (coverage_min, coverage_mean) = coverage(options, others());
    let in_view_max = outcomes.iter().map(|outcome| outcome.counts.in_view_max).max();
    let (verify_s, decode_s) = (tally.verify_ns as f64 / 1e9, tally.decode_ns as f64 / 1e9);
    Report {
        seed: options.seed,
        clients: options.clients,
        entities: trace
            .as_ref()
            .map_or(in_view_max.unwrap_or(0), |trace| trace.entities),
        hz,
        decode: options.decode(),
        motion: options.motion,
        plant: options.plant,
        truth: !options.truth.is_empty(),
        sampled: sampled(&found, options.hz.unwrap_or(hz)),
        coverage_min,
        coverage_mean,
        staleness_ms: staleness(tally),
        codec_error_m: (tally.codec.compared > 0).then(|| CodecError {
            near: f64::from(tally.codec.near) / f64::from(UNITS_PER_METRE),
            crowd: (tally.codec.crowd as f64).sqrt() / f64::from(UNITS_PER_METRE),
        }),
        shown_error_m: (tally.shown_all.total() > 0).then(|| ShownError {
            near: tally.shown_near.percentiles(1.0 / STEPS_PER_METRE),
            all: tally.shown_all.percentiles(1.0 / STEPS_PER_METRE),
        }),
        clock_behind_ms: tally.behind_ms.percentiles(1.0),
        clients_lost: sum(|outcome| u64::from(outcome.lost.is_some())) as u32,
        lost_reasons: reasons(others().filter_map(|outcome| Some((outcome.lost.as_ref()?, 1)))),
        corrections: sum(|outcome| outcome.counts.corrections),
        intents_lost: sum(|outcome| outcome.counts.intents_lost),
        intents_sent: sum(|outcome| outcome.counts.intents_sent),
        intents_skipped: sum(|outcome| outcome.counts.intents_skipped),
        commands_refused: sum(|outcome| outcome.counts.commands_refused),
        refusals: reasons(
            others()
                .flat_map(|outcome| &outcome.refusals)
                .map(|(why, count)| (why, *count)),
        ),
        events: sum(|outcome| outcome.counts.events),
        join_s: percentiles_s(outcomes.iter().filter_map(|outcome| outcome.join_s)),
        covered_s: percentiles_s(others().filter_map(|outcome| outcome.covered_s)),
        all_covered_s: all_covered_s(options, outcomes),
        updates_per_s,
        updates_per_server_cpu_s: server_cpu_per_s.map(|cpu| updates_per_s / cpu.max(1e-9)),
        bytes_per_client_s: bytes_per_client(&stayed.collect::<Vec<_>>()),
        datagrams: Datagrams {
            sent: measured.iter().map(|one| one.udp_sent).sum(),
            received: measured.iter().map(|one| one.udp_received).sum(),
        },
        cpu_s: CpuSeconds {
            server: spent.server_s,
            bots_net: (spent.bots_s - verify_s - decode_s).max(0.0),
            bots_decode: decode_s,
            bots_verify: verify_s + spent.truth_s,
        },
        cpu_us_per_client_s: server_cpu_per_s.map(|cpu| cpu * 1e6 / clients),
        stages_cpu_s: found.server.as_ref().map(|server| server.stages_s.clone()),
        lanes: found.server.as_ref().map(|server| server.lanes),
        tick_ms: found.server.as_ref().map(|server| server.tick_ms),
        overruns: found.server.as_ref().map(|server| server.overruns),
        ticks: trace.as_ref().map(|trace| Ticks {
            told: trace.stats.told,
            skipped: trace.stats.skipped,
            disordered: trace.stats.disordered,
            late_ms: trace.stats.late_ms.percentiles(1.0),
        }),
        handoffs: trace
            .as_ref()
            .filter(|trace| trace.lanes > 1)
            .map(|trace| handoffs(&trace.stats.handoffs)),
        rss_mib: RssMib {
            server: spent.server_rss_mib,
            bots: spent.bots_rss_mib,
        },
        server_rss_per_client_kib: spent.server_rss_mib.map(|mib| mib * 1024.0 / clients),
        views: views(others()),
        checks: trace.as_ref().map(|trace| TruthChecks {
            obedience_checked: sum(|outcome| outcome.counts.obedience_checked),
            disobeyed: sum(|outcome| outcome.counts.disobeyed),
            speed_m_s: trace.speeds[0],
            avatar_speed_m_s: trace.speeds[1],
            speeding: trace.speeding,
            properties_wrong: tally.properties_wrong,
        }),
        decoding: Decoding::of(&tally.decode),
        slow: slow(&found),
        churn: churn(options, outcomes),
        series: Series {
            seconds: rows,
            distances: tally.rings(),
        },
        header: Header {
            seconds: *seconds,
            ..found.header.clone()
        },
    }
}

fn handoffs(stats: &HandoffStats) -> Handoffs {
    Handoffs {
        count: stats.count,
        pause_ticks: PauseTicks {
            p99: stats.pause_quantile(0.99),
            max: stats.pause_max(),
        },
        doubled: stats.doubled,
        lost: stats.lost,
    }
}

fn staleness(tally: &Tally) -> Staleness {
    Staleness {
        near: tally.near_ms.percentiles(1.0),
        all: tally.all_ms.percentiles(1.0),
    }
}

fn slow(found: &Found<'_>) -> Option<Slow> {
    let of_slow = || found.outcomes.iter().filter(|outcome| outcome.slow);
    (found.options.slow > 0).then(|| Slow {
        clients: of_slow().count() as u32,
        lost: of_slow().filter(|outcome| outcome.lost.is_some()).count() as u32,
        staleness_ms: staleness(&found.slow),
    })
}

fn churn(options: &BotsOptions, outcomes: &[Outcome]) -> Option<Churn> {
    (options.churn_per_s > 0.0).then(|| Churn {
        left: outcomes
            .iter()
            .filter(|outcome| outcome.churned && outcome.lost.is_none())
            .count() as u64,
        ghosts: outcomes.iter().map(|outcome| outcome.counts.view.ghosts).sum(),
    })
}

/// When the last of the clients that the run began with held all of its view. Absent if one never did.
fn all_covered_s(options: &BotsOptions, outcomes: &[Outcome]) -> Option<f64> {
    let covered = outcomes
        .iter()
        .filter(|outcome| !outcome.slow)
        .filter_map(|outcome| outcome.covered_at_s);
    let (count, last) = covered.fold((0, 0.0f64), |(count, last), at| (count + 1, last.max(at)));
    (count > 0 && count + options.slow >= options.clients).then_some(last)
}

fn sampled(found: &Found<'_>, hz: f64) -> Sampled {
    let tally = &found.tally;
    let rates = Rates::of(found.options.clients);
    let clients = found.options.clients.saturating_sub(found.options.slow);
    let due = f64::from(clients) * found.seconds * hz - tally.client_ticks_joining;
    Sampled {
        client_ticks: tally.client_ticks,
        client_ticks_share: if due > 0.0 {
            tally.client_ticks as f64 / due
        } else {
            0.0
        },
        staleness_pairs: tally.pairs,
        codec_states: tally.codec.compared,
        codec_one_in: rates.codec_one_in as u32,
        track_one_in: rates.track_one_in as u32,
        shown_positions: tally.shown_all.total(),
        shown_one_in: rates.shown_one_in as u32,
        crowd_shown_one_in: rates.crowd_shown_one_in as u32,
        properties: tally.properties,
    }
}

/// The worst client's worst second, and the mean. A client that did not live through the measurement covered
/// nothing at its end.
fn coverage<'a>(
    options: &BotsOptions,
    outcomes: impl Iterator<Item = &'a Outcome>,
) -> (Option<f64>, Option<f64>) {
    if options.truth.is_empty() {
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
            // Who came and went before it held all of its view, within what it may take, is not judged.
            None if outcome.churned => {}
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

fn percentiles_s(seconds: impl Iterator<Item = f64>) -> Option<Percentiles> {
    let mut milliseconds = Histogram::new();
    seconds.for_each(|seconds| milliseconds.record(seconds * 1000.0, 1));
    milliseconds.percentiles(0.001)
}

fn bytes_per_client(measured: &[&Measured]) -> BytesPerClient {
    let mean = |of: fn(&Measured) -> u64| {
        let rates = measured.iter().map(|one| of(one) as f64 / one.seconds());
        rates.sum::<f64>() / measured.len().max(1) as f64
    };
    BytesPerClient {
        total: mean(|one| one.udp_bytes),
        near: mean(|one| one.bytes.near),
        crowd_state: mean(|one| one.bytes.crowd + one.bytes.crowd_state),
        crowd_membership: mean(|one| one.bytes.crowd_membership),
        crowd_keyframe: mean(|one| one.bytes.crowd_keyframe),
        identity: mean(|one| {
            one.bytes.identity + one.bytes.view + one.bytes.messages + one.bytes.crowd_events
        }),
        own: mean(|one| one.bytes.own),
        transport: mean(|one| one.udp_bytes.saturating_sub(one.bytes.total())),
    }
}

fn views<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Views {
    let mut views = Views::default();
    for counts in outcomes.map(|outcome| &outcome.counts) {
        views.entered += counts.entered;
        views.left += counts.left;
        views.doubled += counts.view.doubled;
        views.inconsistent += counts.inconsistent;
        views.unchecked += counts.unchecked;
        views.late += counts.view.late;
        views.late_near += counts.view.late - counts.view.late_crowd;
        views.late_beyond_period += counts.view.late_crowd;
        views.late_joining += counts.view.late_joining;
        views.edges_missing += counts.view.edges_missing;
        views.edges_extra += counts.view.edges_extra;
        views.missing += counts.view.missing;
        views.extra += counts.view.extra;
        views.ghosts += counts.view.ghosts;
    }
    views
}

#[cfg(test)]
pub(crate) mod tests;
