//! What the nodes of a cluster say of themselves, put together, and as tables for people.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How admin HTTP is asked.
pub(crate) struct Access {
    agent: ureq::Agent,
    token: Option<String>,
}

impl Access {
    /// With this bearer token, if there is one.
    pub(crate) fn new(token: Option<String>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .build()
            .into();
        Self { agent, token }
    }

    /// Asks the node whose admin HTTP is at `admin` to change the cluster.
    ///
    /// # Errors
    /// If it does not answer, or says why it can't be changed so.
    pub(crate) fn change(&self, admin: &str, word: &str, body: &serde_json::Value) -> Result<()> {
        let url = format!("{}/cluster/{word}", admin.trim_end_matches('/'));
        let mut request = self.agent.post(&url).config().http_status_as_error(false).build();
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.header("Content-Type", "application/json");
        let mut answer = request
            .send(body.to_string())
            .with_context(|| format!("asking {url}"))?;
        if answer.status().is_success() {
            return Ok(());
        }
        let why = answer.body_mut().read_to_string().unwrap_or_default();
        match why.trim() {
            "" => bail!("{url} answered {}", answer.status()),
            why => bail!("{why}"),
        }
    }

    fn status(&self, admin: &str) -> Result<Status> {
        let url = format!("{}/status", admin.trim_end_matches('/'));
        let mut request = self.agent.get(&url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request.call().with_context(|| format!("asking {url}"))?;
        let text = answer.into_body().read_to_string()?;
        serde_json::from_str(&text)
            .with_context(|| format!("{url} answered something else than a node's status"))
    }
}

/// A node's `/status`, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
struct Status {
    roles: Vec<String>,
    ready: bool,
    uptime_s: u64,
    linked_nodes: Vec<String>,
    lanes: Vec<LaneStatus>,
    cluster: Option<ClusterStatus>,
}

/// What a node says of a lane that it runs.
#[derive(Clone, Copy, Debug, Deserialize)]
struct LaneStatus {
    lane: u32,
    tick: u64,
    entities: u64,
    tick_ms: f64,
    frame_bytes: u64,
    handed_off: u64,
}

/// What a node knows of its cluster.
#[derive(Clone, Debug, Deserialize)]
struct ClusterStatus {
    nodes: Vec<NodePlace>,
    lanes: Vec<LanePlace>,
    /// Columns of cells.
    columns: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct NodePlace {
    node: String,
    incarnation: u32,
    client: Option<String>,
    admin: String,
}

/// A lane, as the directory tells of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LanePlace {
    pub(crate) lane: u32,
    pub(crate) cell: u32,
    /// `opening`, `serving` or `retiring`.
    pub(crate) duty: String,
    pub(crate) node: String,
    pub(crate) epoch: Option<u64>,
}

/// A cluster at one moment.
pub(crate) struct Overview {
    cluster: ClusterStatus,
    /// By name; `None` of a node that does not answer.
    statuses: BTreeMap<String, Option<Status>>,
}

impl Overview {
    /// Asks the node whose admin HTTP is at `admin`, and those that it knows.
    ///
    /// # Errors
    /// If that node does not answer, or is not a member of its cluster yet.
    pub(crate) fn ask(access: &Access, admin: &str) -> Result<Self> {
        let first = access.status(admin)?;
        let cluster = first
            .cluster
            .context("the node has not joined its cluster yet; ask again")?;
        let ask = |node: &NodePlace| {
            let status = access.status(&format!("http://{}", node.admin)).ok();
            (node.node.clone(), status)
        };
        Ok(Self {
            statuses: cluster.nodes.iter().map(ask).collect(),
            cluster,
        })
    }

    /// The lanes, as the directory tells of them.
    pub(crate) fn lane_places(&self) -> &[LanePlace] {
        &self.cluster.lanes
    }

    /// How many columns of cells there are.
    pub(crate) fn columns(&self) -> u32 {
        self.cluster.columns.max(1)
    }

    /// Whether no lane is about to come or go.
    pub(crate) fn is_settled(&self) -> bool {
        self.cluster.lanes.iter().all(|lane| lane.duty == "serving")
    }

    fn lane(&self, lane: &LanePlace) -> Option<LaneStatus> {
        let status = self.statuses.get(&lane.node)?.as_ref()?;
        status
            .lanes
            .iter()
            .find(|status| status.lane == lane.lane)
            .copied()
    }

    /// A row for each node.
    pub(crate) fn nodes(&self) -> String {
        let head = [
            "node",
            "start",
            "roles",
            "state",
            "up",
            "links",
            "lanes",
            "clients at",
            "admin",
        ];
        let rows = self.cluster.nodes.iter().map(|node| {
            let status = self.statuses.get(&node.node).and_then(Option::as_ref);
            let of = |show: &dyn Fn(&Status) -> String| status.map_or("-".to_owned(), show);
            let state = match status {
                None => "no answer",
                Some(status) if status.ready => "ready",
                Some(_) => "not ready",
            };
            vec![
                node.node.clone(),
                node.incarnation.to_string(),
                of(&|status| status.roles.join(",")),
                state.to_owned(),
                of(&|status| duration(status.uptime_s)),
                of(&|status| status.linked_nodes.len().to_string()),
                of(&|status| status.lanes.len().to_string()),
                node.client.clone().unwrap_or("-".to_owned()),
                node.admin.clone(),
            ]
        });
        table(&head, rows.collect())
    }

    /// The grid of cells, north up: who runs each, and its entities.
    pub(crate) fn cells(&self) -> String {
        let mut by_cell: BTreeMap<u32, (Vec<&str>, u64, u32)> = BTreeMap::new();
        for lane in &self.cluster.lanes {
            let (nodes, entities, lanes) = by_cell.entry(lane.cell).or_default();
            if !nodes.contains(&lane.node.as_str()) {
                nodes.push(&lane.node);
            }
            *lanes += 1;
            *entities += self.lane(lane).map_or(0, |status| status.entities);
        }
        let columns = self.columns();
        let rows = by_cell.keys().next_back().map_or(0, |last| last / columns + 1);
        let head: Vec<String> = (0..columns).map(|column| format!("column {column}")).collect();
        let head: Vec<&str> = std::iter::once("cells")
            .chain(head.iter().map(String::as_str))
            .collect();
        let row = |row: u32| {
            let cells = (0..columns).map(|column| match by_cell.get(&(row * columns + column)) {
                Some((nodes, entities, 1)) => format!("{entities} on {}", nodes.join("+")),
                Some((nodes, entities, lanes)) => {
                    format!("{entities} in {lanes} lanes on {}", nodes.join("+"))
                }
                None => "-".to_owned(),
            });
            std::iter::once(format!("row {row}")).chain(cells).collect()
        };
        table(&head, (0..rows).rev().map(row).collect())
    }

    /// A row for each lane, and their sum.
    pub(crate) fn lanes(&self) -> String {
        let head = [
            "lane",
            "cell",
            "node",
            "duty",
            "epoch",
            "tick",
            "entities",
            "ms/tick",
            "bytes/tick",
            "handed on",
        ];
        let mut entities = 0;
        let mut rows: Vec<Vec<String>> = Vec::new();
        for lane in &self.cluster.lanes {
            let status = self.lane(lane);
            entities += status.map_or(0, |status| status.entities);
            let of = |show: &dyn Fn(LaneStatus) -> String| status.map_or("-".to_owned(), show);
            rows.push(vec![
                lane.lane.to_string(),
                format!("{},{}", lane.cell % self.columns(), lane.cell / self.columns()),
                lane.node.clone(),
                lane.duty.clone(),
                lane.epoch.map_or("-".to_owned(), |epoch| epoch.to_string()),
                of(&|status| status.tick.to_string()),
                of(&|status| status.entities.to_string()),
                of(&|status| format!("{:.2}", status.tick_ms)),
                of(&|status| status.frame_bytes.to_string()),
                of(&|status| status.handed_off.to_string()),
            ]);
        }
        let mut sum = vec![String::new(); head.len()];
        (sum[0], sum[6]) = ("all".to_owned(), entities.to_string());
        rows.push(sum);
        table(&head, rows)
    }
}

/// Seconds as people say them.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Columns as wide as their widest entry, numbers to the right.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = |column: usize| {
        let entries = rows.iter().map(|row| row[column].chars().count());
        entries.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let is_number = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(['.', ':', ',', ' '])
    };
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (column, (entry, width)) in row.iter().zip(&widths).enumerate() {
            let numbers = rows
                .iter()
                .any(|row| is_number(&row[column]) || row[column].parse::<f64>().is_ok());
            line += &match numbers {
                true => format!("{entry:>width$}  "),
                false => format!("{entry:<width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(lanes: &[(u32, u64)]) -> Status {
        let lane = |(lane, entities): &(u32, u64)| LaneStatus {
            lane: *lane,
            tick: 70,
            entities: *entities,
            tick_ms: 1.25,
            frame_bytes: 900,
            handed_off: 3,
        };
        Status {
            roles: vec!["lane".into()],
            ready: true,
            uptime_s: 130,
            linked_nodes: vec!["b".into()],
            lanes: lanes.iter().map(lane).collect(),
            cluster: None,
        }
    }

    fn overview() -> Overview {
        let node = |node: &str, incarnation| NodePlace {
            node: node.into(),
            incarnation,
            client: None,
            admin: "127.0.0.1:80".into(),
        };
        let lane = |lane, cell, node: &str| LanePlace {
            lane,
            cell,
            duty: "serving".into(),
            node: node.into(),
            epoch: Some(u64::from(lane)),
        };
        Overview {
            cluster: ClusterStatus {
                nodes: vec![node("a", 1), node("b", 2)],
                lanes: vec![lane(1, 0, "a"), lane(2, 1, "a"), lane(3, 2, "b"), lane(4, 3, "b")],
                columns: 2,
            },
            statuses: BTreeMap::from([
                ("a".into(), Some(status(&[(1, 10), (2, 2000)]))),
                ("b".into(), None),
            ]),
        }
    }

    #[test]
    fn a_node_that_does_not_answer_is_told() {
        let nodes = overview().nodes();
        let lines: Vec<&str> = nodes.lines().collect();
        assert_eq!(
            lines[0],
            "node  start  roles  state      up     links  lanes  clients at  admin"
        );
        assert_eq!(
            lines[1],
            "a         1  lane   ready      2 min      1      2  -           127.0.0.1:80"
        );
        assert_eq!(
            lines[2],
            "b         2  -      no answer  -          -      -  -           127.0.0.1:80"
        );
    }

    #[test]
    fn cells_are_a_map_with_the_north_up() {
        let cells = overview().cells();
        let lines: Vec<&str> = cells.lines().collect();
        assert_eq!(
            lines,
            [
                "cells  column 0  column 1",
                "row 1  0 on b    0 on b",
                "row 0  10 on a   2000 on a"
            ]
        );
    }

    #[test]
    fn lanes_are_summed_up() {
        let lanes = overview().lanes();
        let lines: Vec<&str> = lanes.lines().collect();
        assert_eq!(lines.len(), 6);
        assert!(lines[2].contains("2000") && lines[2].contains("1.25"), "{lanes}");
        assert!(lines[3].contains('-'), "{lanes}");
        assert!(
            lines[5].trim_start().starts_with("all") && lines[5].contains("2010"),
            "{lanes}"
        );
    }
}
