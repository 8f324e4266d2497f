//! `myriad-bench cluster --case split | move`: the lanes of a cell come, go and move while clients watch.
//!
//! While the bots measure, a thread asks the cluster for one change after the other, as an operator would, and waits each
//! time until it is done and the lanes' loads are alike. The measurement ends with the last of them.

use crate::options::{Activity, AdminServer};
use crate::verdict::Check;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a change may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// How long everybody walks on after each.
const REST: Duration = Duration::from_secs(1);
/// How much more than the mean a lane of a cell may have.
const IMBALANCE_MAX: f64 = 1.10;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What is done to the one cell of the space, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relayout {
    pub(super) kind: Kind,
    pub(super) rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// From one lane to two, to four, and back to one.
    Split,
    /// Its lane to the next node.
    Move,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    what: String,
    /// From the wish until all lanes do what they are there for.
    done_s: f64,
    /// From the wish until their loads are alike.
    balanced_s: f64,
    /// The most that a lane has, as a multiple of the mean, then.
    imbalance: f64,
}

/// All changes.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Changes {
    rounds: u32,
    steps: Vec<Step>,
    /// Why it went no further, if it did not.
    failed: Option<String>,
}

impl Changes {
    /// A check for whether all was done, and one for how alike the lanes came to be.
    pub(super) fn checks(&self) -> Vec<Check> {
        let worst = self.steps.iter().map(|step| step.imbalance).fold(1.0, f64::max);
        let longest = self.steps.iter().map(|step| step.balanced_s).fold(0.0, f64::max);
        let done = Check {
            name: "changes_done",
            passed: self.failed.is_none() && !self.steps.is_empty(),
            detail: match &self.failed {
                Some(why) => format!("after {} changes: {why}", self.steps.len()),
                None => format!(
                    "{} changes in {} rounds, each done within {longest:.1} s",
                    self.steps.len(),
                    self.rounds
                ),
            },
        };
        let balanced = Check {
            name: "lanes_balanced",
            passed: worst <= IMBALANCE_MAX && !self.steps.is_empty(),
            detail: format!("a lane has at most {worst:.3} of the mean, at most {IMBALANCE_MAX}"),
        };
        vec![done, balanced]
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>12}", "changes")?;
        let mut kinds: Vec<&str> = self.steps.iter().map(|step| step.what.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for what in kinds {
            let of_kind = self.steps.iter().filter(|step| step.what == what);
            let mut seconds: Vec<f64> = of_kind.map(|step| step.balanced_s).collect();
            seconds.sort_by(f64::total_cmp);
            let (median, most) = (seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
            write!(
                f,
                "  {} x {what}: median {median:.1}, max {most:.1} s;",
                seconds.len()
            )?;
        }
        Ok(())
    }
}

/// Begins as soon as the bots measure, and ends their measurement.
pub(super) fn start(
    relayout: Relayout,
    nodes: Vec<AdminServer>,
    activity: Arc<Activity>,
) -> std::io::Result<JoinHandle<Changes>> {
    std::thread::Builder::new()
        .name("relayout".into())
        .spawn(move || {
            let director = Director::new(nodes);
            let mut changes = Changes {
                rounds: relayout.rounds,
                ..Changes::default()
            };
            while !activity.has_begun() {
                if activity.is_over() {
                    changes.failed = Some("nothing was measured".to_owned());
                    return changes;
                }
                std::thread::sleep(LOOK_PERIOD);
            }
            for _ in 0..relayout.rounds {
                let done = match relayout.kind {
                    Kind::Split => director.split_and_merge(&mut changes.steps),
                    Kind::Move => director.move_on(&mut changes.steps),
                };
                if let Err(error) = done {
                    changes.failed = Some(format!("{error:#}"));
                    break;
                }
            }
            activity.end();
            changes
        })
}

/// `/status`, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
struct Status {
    lanes: Vec<LaneLoad>,
    cluster: Cluster,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct LaneLoad {
    lane: u32,
    entities: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Cluster {
    nodes: Vec<NodePlace>,
    lanes: Vec<LanePlace>,
    layout: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct NodePlace {
    node: String,
    takes_lanes: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct LanePlace {
    lane: u32,
    node: String,
    duty: String,
}

struct Director {
    agent: ureq::Agent,
    /// Those with lanes.
    nodes: Vec<AdminServer>,
}

impl Director {
    fn new(nodes: Vec<AdminServer>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false)
            .build()
            .into();
        Self { agent, nodes }
    }

    fn split_and_merge(&self, steps: &mut Vec<Step>) -> Result<()> {
        for (word, lanes) in [("split", 2), ("split", 4), ("merge", 1)] {
            let body = serde_json::json!({"cell": 0, "lanes": lanes});
            steps.push(self.step(&format!("to {lanes} lanes"), (word, &body), lanes)?);
        }
        Ok(())
    }

    fn move_on(&self, steps: &mut Vec<Step>) -> Result<()> {
        let cluster = self.status(&self.nodes[0])?.cluster;
        let lane = cluster.lanes.first().context("the space has no lane")?;
        let takers: Vec<&NodePlace> = cluster.nodes.iter().filter(|node| node.takes_lanes).collect();
        let at = takers.iter().position(|node| node.node == lane.node);
        let next = takers[(at.context("the lane's node is not there")? + 1) % takers.len()];
        let body = serde_json::json!({"lane": lane.lane, "node": next.node});
        steps.push(self.step("moved", ("move", &body), 1)?);
        Ok(())
    }

    /// Asks for a change and waits until the cell has so many lanes, which all serve, and their loads are alike.
    fn step(&self, what: &str, wish: (&str, &serde_json::Value), lanes: usize) -> Result<Step> {
        let began = Instant::now();
        let version = self.change(wish)?;
        let mut done_s = None;
        loop {
            std::thread::sleep(LOOK_PERIOD);
            let seconds = began.elapsed().as_secs_f64();
            let all = self.statuses()?;
            let is_done = all.iter().all(|status| {
                let cluster = &status.cluster;
                let all_serve = cluster.lanes.iter().all(|lane| lane.duty == "serving");
                cluster.layout >= version && all_serve && cluster.lanes.len() == lanes
            });
            if is_done {
                let imbalance = imbalance(&all);
                let done_s = *done_s.get_or_insert(seconds);
                if imbalance <= IMBALANCE_MAX {
                    std::thread::sleep(REST);
                    return Ok(Step {
                        what: what.to_owned(),
                        done_s,
                        balanced_s: seconds,
                        imbalance,
                    });
                }
            }
            if began.elapsed() > STEP_MAX {
                let state = if is_done { "out of balance" } else { "not done" };
                bail!("{what}: {state} after {} s", STEP_MAX.as_secs());
            }
        }
    }

    fn statuses(&self) -> Result<Vec<Status>> {
        self.nodes.iter().map(|node| self.status(node)).collect()
    }

    fn status(&self, node: &AdminServer) -> Result<Status> {
        let url = format!("{}/status", node.url);
        let answer = self.agent.get(&url).call();
        let text = answer
            .with_context(|| format!("asking {url}"))?
            .into_body()
            .read_to_string()?;
        serde_json::from_str(&text).with_context(|| format!("{url} answered something else than a status"))
    }

    /// Answers the layout's version after it.
    fn change(&self, (word, body): (&str, &serde_json::Value)) -> Result<u64> {
        let url = format!("{}/cluster/{word}", self.nodes[0].url);
        let request = self.agent.post(&url).header("Content-Type", "application/json");
        let answer = request
            .send(body.to_string())
            .with_context(|| format!("asking {url}"))?;
        let status = answer.status();
        let text = answer.into_body().read_to_string()?;
        if !status.is_success() {
            bail!("{url} answered {status}: {}", text.trim());
        }
        let answer: serde_json::Value = serde_json::from_str(&text)?;
        answer["layout"].as_u64().context("the answer has no version")
    }
}

/// The most that a lane has, as a multiple of the mean.
fn imbalance(statuses: &[Status]) -> f64 {
    let there = &statuses[0].cluster.lanes;
    let is_there = |load: &&LaneLoad| there.iter().any(|place| place.lane == load.lane);
    let loads: Vec<f64> = statuses
        .iter()
        .flat_map(|status| &status.lanes)
        .filter(is_there)
        .map(|load| load.entities as f64)
        .collect();
    let sum: f64 = loads.iter().sum();
    if loads.len() < there.len() || sum == 0.0 {
        return f64::INFINITY;
    }
    loads.iter().copied().fold(0.0, f64::max) * loads.len() as f64 / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(all: &[u32], here: &[(u32, u64)]) -> Status {
        let place = |lane: &u32| LanePlace {
            lane: *lane,
            node: String::new(),
            duty: "serving".into(),
        };
        Status {
            lanes: here
                .iter()
                .map(|&(lane, entities)| LaneLoad { lane, entities })
                .collect(),
            cluster: Cluster {
                nodes: Vec::new(),
                lanes: all.iter().map(place).collect(),
                layout: 1,
            },
        }
    }

    #[test]
    fn lanes_are_alike_if_none_has_much_more_than_the_mean() {
        let two = [status(&[3, 5], &[(3, 60), (2, 0)]), status(&[3, 5], &[(5, 40)])];
        assert!((imbalance(&two) - 1.2).abs() < 1e-9);
        assert!(imbalance(&two[..1]).is_infinite(), "one has not said what it has");
    }

    #[test]
    fn changes_that_were_not_done_or_left_lanes_unlike_fail() {
        let step = |imbalance| Step {
            what: "moved".into(),
            done_s: 1.0,
            balanced_s: 2.0,
            imbalance,
        };
        let passed = |steps: Vec<Step>, failed: Option<&str>| -> Vec<bool> {
            let changes = Changes {
                rounds: 1,
                steps,
                failed: failed.map(str::to_owned),
            };
            changes.checks().iter().map(|check| check.passed).collect()
        };
        assert_eq!(passed(vec![step(1.0), step(1.1)], None), [true, true]);
        assert_eq!(passed(vec![step(1.2)], None), [true, false]);
        assert_eq!(passed(vec![step(1.0)], Some("no")), [false, true]);
        assert_eq!(passed(Vec::new(), None), [false, false]);
    }
}
