//! What the server's own metrics say of the measurement, if it gives them: stages, ticks, overruns. The only figures
//! of a report that are not measured at the clients or told by the system, and so none that a check relies on.

use crate::histogram::Percentiles;
use crate::options::{AdminServer, BotsOptions};
use crate::report::{LaneCosts, TickTimes};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the admin server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The metrics at one moment: each series with its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

/// What they say of the time between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServerStages {
    /// By role and stage, such as `lane_simulate`, in seconds.
    pub(crate) stages_s: BTreeMap<String, f64>,
    pub(crate) tick_ms: TickTimes,
    pub(crate) overruns: u64,
    pub(crate) lanes: LaneCosts,
}

/// Asks the admin servers of all nodes, and adds up what they say. `None` if one has no answer, or there is none.
pub(crate) fn scrape(options: &BotsOptions) -> Option<Scrape> {
    let mut nodes = options.truth.iter().chain(&options.gateways);
    let mut all = scrape_node(nodes.next()?)?;
    for node in nodes {
        for (series, value) in scrape_node(node)?.0 {
            *all.0.entry(series).or_default() += value;
        }
    }
    Some(all)
}

fn scrape_node(source: &AdminServer) -> Option<Scrape> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_MAX))
        .build()
        .into();
    let mut request = agent.get(format!("{}/metrics", source.url.trim_end_matches('/')));
    if let Some(token) = &source.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let text = request.call().ok()?.into_body().read_to_string().ok()?;
    Some(Scrape::parse(&text))
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(series.filter_map(pair).collect())
    }

    /// What happened from `before` to `self`.
    pub(crate) fn since(&self, before: &Self) -> ServerStages {
        let change = |name: &str, value: f64| value - before.0.get(name).copied().unwrap_or(0.0);
        let mut stages = ServerStages::default();
        let mut buckets: [Vec<(f64, f64)>; 2] = Default::default();
        for (name, value) in &self.0 {
            let value = change(name, *value);
            for (role, buckets) in ["lane", "gateway"].into_iter().zip(&mut buckets) {
                let Some(rest) = name
                    .strip_prefix("myriad_")
                    .and_then(|rest| rest.strip_prefix(role))
                else {
                    continue;
                };
                if let Some(stage) = rest.strip_prefix("_stage_seconds_sum") {
                    let stage = label(stage, "stage").unwrap_or_default();
                    *stages.stages_s.entry(format!("{role}_{stage}")).or_default() += value;
                } else if let Some(bucket) = rest.strip_prefix("_tick_seconds_bucket") {
                    let bound = label(bucket, "le").and_then(|bound| bound.parse().ok());
                    buckets.push((bound.unwrap_or(f64::INFINITY), value));
                } else if rest.starts_with("_overruns_total") {
                    stages.overruns += value as u64;
                }
            }
        }
        stages.lanes = self.lane_costs(before);
        let [lane, gateway] = buckets.map(percentiles_ms);
        stages.tick_ms = TickTimes { lane, gateway };
        stages
    }
}

impl Scrape {
    /// What lanes cost per tick and per entity since `before`.
    fn lane_costs(&self, before: &Self) -> LaneCosts {
        let now = |name: &str| self.0.get(&format!("myriad_lane_{name}")).copied();
        let change = |name: &str| {
            let name = format!("myriad_lane_{name}_total");
            let value = |scrape: &Self| scrape.0.get(&name).copied().unwrap_or(0.0);
            value(self) - value(before)
        };
        let per = |amount: f64, of: f64| if of > 0.0 { amount / of } else { 0.0 };
        let (ticks, states) = (change("ticks"), change("near_states"));
        LaneCosts {
            lanes: now("lanes").unwrap_or(0.0) as u32,
            cpu_us_per_tick: per(change("cpu_microseconds"), ticks),
            near_bytes_per_entity_tick: per(change("near_bytes"), states),
            far_bytes_per_entity_tick: per(change("far_bytes"), states),
            crowd_bytes_per_entity_tick: per(change("crowd_bytes"), states),
            frame_bytes_per_entity_tick: per(change("frame_bytes"), states),
        }
    }
}

/// The value of a label in `{name="value",...}`.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0)
}

/// Of a histogram's cumulative buckets in seconds: each figure as the upper end of its bucket.
fn percentiles_ms(buckets: Vec<(f64, f64)>) -> Option<Percentiles> {
    // The roles of several processes, or labels, come with the same bounds.
    let mut by_bound: Vec<(f64, f64)> = Vec::new();
    let mut sorted = buckets;
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (bound, count) in sorted {
        match by_bound.last_mut().filter(|(last, _)| *last == bound) {
            Some((_, sum)) => *sum += count,
            None => by_bound.push((bound, count)),
        }
    }
    let total = by_bound.last()?.1;
    let finite = by_bound.iter().rev().find(|(bound, _)| bound.is_finite())?.0;
    let at = |share: f64| {
        let found = by_bound.iter().find(|(_, count)| *count >= share * total);
        found.map_or(finite, |(bound, _)| bound.min(finite)) * 1000.0
    };
    (total > 0.0).then(|| Percentiles {
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lanes_cost_is_by_tick_and_by_entity_and_tick() {
        let text = |ticks: u32, states: u32, cpu_us: u32, near: u32| {
            format!(
                "myriad_lane_lanes 2\nmyriad_lane_ticks_total {ticks}\nmyriad_lane_near_states_total {states}\n\
                 myriad_lane_cpu_microseconds_total {cpu_us}\nmyriad_lane_near_bytes_total {near}\n\
                 myriad_lane_frame_bytes_total {near}\n"
            )
        };
        let before = Scrape::parse(&text(10, 1000, 500, 100));
        let costs = Scrape::parse(&text(30, 5000, 4500, 16_100)).since(&before).lanes;
        assert_eq!((costs.lanes, costs.cpu_us_per_tick), (2, 200.0));
        assert_eq!(
            (
                costs.near_bytes_per_entity_tick,
                costs.crowd_bytes_per_entity_tick
            ),
            (4.0, 0.0)
        );
        assert_eq!(before.since(&before).lanes.cpu_us_per_tick, 0.0);
    }

    #[test]
    fn stages_ticks_and_overruns_are_those_since_the_first_look() {
        let text = |sum: f64, counts: [u32; 3], overruns: u32| {
            format!(
                "# HELP x\nmyriad_lane_stage_seconds_sum{{stage=\"simulate\"}} {sum}\n\
                 myriad_lane_tick_seconds_bucket{{le=\"0.001\"}} {}\n\
                 myriad_lane_tick_seconds_bucket{{le=\"0.01\"}} {}\n\
                 myriad_lane_tick_seconds_bucket{{le=\"+Inf\"}} {}\n\
                 myriad_lane_overruns_total {overruns}\nmyriad_edge_things 7\n",
                counts[0], counts[1], counts[2]
            )
        };
        let before = Scrape::parse(&text(1.0, [5, 5, 5], 1));
        let after = Scrape::parse(&text(3.5, [5, 104, 105], 3));
        let since = after.since(&before);
        assert_eq!(
            since.stages_s,
            BTreeMap::from([("lane_simulate".to_owned(), 2.5)])
        );
        assert_eq!(since.overruns, 2);
        let lane = since.tick_ms.lane.expect("there were ticks");
        assert_eq!((lane.p50, lane.p99, lane.max), (10.0, 10.0, 10.0));
        assert_eq!(since.tick_ms.gateway, None);
    }
}
