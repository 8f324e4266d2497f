//! What the admin HTTP lets operators change: how many lanes a cell has, and at which node a lane is.
//!
//! | POST | body | does |
//! |---|---|---|
//! | `/cluster/split` | `{"cell": 4, "lanes": 2, "node": "cell-2"}` | gives the cell so many lanes; without `lanes` one more; without `node` where the fewest are |
//! | `/cluster/merge` | `{"cell": 4, "lanes": 1}` or `{"lane": 7}` | leaves the cell so many lanes, without `lanes` one; or retires that lane |
//! | `/cluster/move` | `{"lane": 7, "node": "cell-2"}` | lets another node run what the lane has |
//!
//! Any node takes them: it asks the directory. The answer is the layout's version; what comes of it, `/status` shows.

use crate::membership;
use myriad_cluster::place_for_one;
use myriad_directory::remote::RemoteDirectory;
use myriad_directory::{ClusterView, Directory as _, DirectoryError, Duty, LaneRecord, LayoutChange};
use myriad_fabric::Fabric;
use myriad_telemetry::admin::{ChangeError, ChangeSink};
use myriad_wire::{Incarnation, LaneId};
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    cell: u32,
    lanes: Option<u32>,
    node: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    cell: Option<u32>,
    lanes: Option<u32>,
    lane: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    lane: u32,
    node: String,
}

/// Takes changes at the node in `incarnation`.
pub(crate) fn sink(fabric: &Fabric, incarnation: Incarnation) -> ChangeSink {
    let directory = Mutex::new(membership::directory(fabric, incarnation));
    Arc::new(move |word, body| {
        let mut directory = directory.lock().unwrap_or_else(PoisonError::into_inner);
        let view = view(&mut directory)?;
        let changes = match word {
            "split" => split(&view, parse(body)?)?,
            "merge" => merge(&view, &parse(body)?)?,
            "move" => vec![move_lane(&view, parse(body)?)?],
            _ => return Err(ChangeError::Unknown),
        };
        for change in &changes {
            tracing::info!("told to: {change:?}");
            directory.change(change).map_err(refusal)?;
        }
        let layout = self::view(&mut directory)?.layout;
        Ok(serde_json::json!({ "layout": layout, "changes": changes.len() }))
    })
}

fn parse<T: serde::de::DeserializeOwned>(body: serde_json::Value) -> Result<T, ChangeError> {
    serde_json::from_value(body).map_err(|error| ChangeError::Malformed(error.to_string()))
}

fn refusal(error: DirectoryError) -> ChangeError {
    if error.is_passing() {
        ChangeError::Unavailable(error.to_string())
    } else {
        ChangeError::Refused(error.to_string())
    }
}

fn view(directory: &mut RemoteDirectory) -> Result<ClusterView, ChangeError> {
    let view = directory.view(0).map_err(refusal)?;
    view.ok_or_else(|| ChangeError::Unavailable("the directory does not say who is there".to_owned()))
}

/// The lanes of a cell that stay, ascending; those included that are about to open.
fn staying(view: &ClusterView, cell: u32) -> Vec<&LaneRecord> {
    let of_cell = view.lanes.iter().filter(|record| record.cell == cell);
    of_cell.filter(|record| record.duty != Duty::Retiring).collect()
}

fn takers(view: &ClusterView) -> Vec<String> {
    let takers = view.nodes.iter().filter(|node| node.takes_lanes);
    takers.map(|node| node.name.clone()).collect()
}

fn check_taker(view: &ClusterView, node: &str) -> Result<(), ChangeError> {
    let takers = takers(view);
    if takers.iter().any(|taker| taker == node) {
        return Ok(());
    }
    let takers = takers.join(", ");
    Err(ChangeError::Refused(format!(
        "no node called {node:?} that takes lanes is there; these do: {takers}"
    )))
}

fn split(view: &ClusterView, wish: Split) -> Result<Vec<LayoutChange>, ChangeError> {
    if let Some(node) = &wish.node {
        check_taker(view, node)?;
    }
    let has = staying(view, wish.cell).len();
    let wanted = wish.lanes.map_or(has + 1, |lanes| lanes as usize);
    if wanted <= has {
        return Err(ChangeError::Refused(format!(
            "cell {} has {has} lanes already",
            wish.cell
        )));
    }
    let takers = takers(view);
    let mut placed: Vec<&str> = view.lanes.iter().map(|record| record.node.as_str()).collect();
    let mut changes = Vec::new();
    for _ in has..wanted {
        let node = wish.node.as_ref().or_else(|| place_for_one(&takers, &placed));
        let node =
            node.ok_or_else(|| ChangeError::Refused("no node that takes lanes is there".to_owned()))?;
        placed.push(node);
        changes.push(LayoutChange::Split {
            cell: wish.cell,
            node: node.clone(),
        });
    }
    Ok(changes)
}

fn merge(view: &ClusterView, wish: &Merge) -> Result<Vec<LayoutChange>, ChangeError> {
    match (wish.cell, wish.lane) {
        (None, Some(lane)) if wish.lanes.is_none() => Ok(vec![LayoutChange::Merge(LaneId(lane))]),
        (Some(cell), None) => {
            let staying = staying(view, cell);
            let wanted = wish.lanes.unwrap_or(1).max(1) as usize;
            if staying.len() <= wanted {
                let has = staying.len();
                return Err(ChangeError::Refused(format!(
                    "cell {cell} has no more than {has} lanes"
                )));
            }
            // Those that came last go first.
            let over = staying[wanted..].iter().rev();
            Ok(over.map(|record| LayoutChange::Merge(record.lane)).collect())
        }
        _ => Err(ChangeError::Malformed(
            "either a cell and how many lanes it keeps, or a lane".to_owned(),
        )),
    }
}

fn move_lane(view: &ClusterView, wish: Move) -> Result<LayoutChange, ChangeError> {
    check_taker(view, &wish.node)?;
    Ok(LayoutChange::Move {
        lane: LaneId(wish.lane),
        node: wish.node,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_directory::NodeRecord;

    fn view() -> ClusterView {
        let node = |name: &str, takes_lanes| NodeRecord {
            name: name.to_owned(),
            takes_lanes,
            ..NodeRecord::default()
        };
        let lane = |lane, cell, duty, node: &str| LaneRecord {
            lane: LaneId(lane),
            cell,
            duty,
            node: node.to_owned(),
            ..LaneRecord::default()
        };
        ClusterView {
            nodes: vec![node("cell-1", true), node("cell-2", true), node("door", false)],
            lanes: vec![
                lane(1, 0, Duty::Serving, "cell-1"),
                lane(2, 1, Duty::Serving, "cell-1"),
                lane(3, 1, Duty::Retiring, "cell-2"),
                lane(4, 1, Duty::Opening, "cell-1"),
            ],
            ..ClusterView::default()
        }
    }

    fn at(cell: u32, node: &str) -> LayoutChange {
        LayoutChange::Split {
            cell,
            node: node.to_owned(),
        }
    }

    fn splits(body: serde_json::Value) -> Result<Vec<LayoutChange>, String> {
        let wish = parse(body).map_err(|error| error.to_string())?;
        split(&view(), wish).map_err(|error| error.to_string())
    }

    fn merges(body: serde_json::Value) -> Result<Vec<LayoutChange>, String> {
        let wish = parse(body).map_err(|error| error.to_string())?;
        merge(&view(), &wish).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cell_gets_as_many_lanes_as_it_lacks_where_the_fewest_are() {
        assert_eq!(splits(serde_json::json!({"cell": 0})), Ok(vec![at(0, "cell-2")]));
        assert_eq!(
            splits(serde_json::json!({"cell": 0, "lanes": 4})),
            Ok(vec![at(0, "cell-2"), at(0, "cell-2"), at(0, "cell-1")])
        );
        assert_eq!(
            splits(serde_json::json!({"cell": 1, "lanes": 3, "node": "cell-1"})),
            Ok(vec![at(1, "cell-1")]),
            "one that retires does not count"
        );
        let refused = |body| splits(body).expect_err("refused");
        assert_eq!(
            refused(serde_json::json!({"cell": 1, "lanes": 2})),
            "cell 1 has 2 lanes already"
        );
        let stranger = refused(serde_json::json!({"cell": 1, "node": "door"}));
        assert!(stranger.contains("cell-1, cell-2"), "{stranger}");
        assert!(refused(serde_json::json!({"sell": 1})).contains("unknown field `sell`"));
    }

    #[test]
    fn the_lanes_that_came_last_go_first() {
        let gone = |lane| LayoutChange::Merge(LaneId(lane));
        assert_eq!(merges(serde_json::json!({"cell": 1})), Ok(vec![gone(4)]));
        assert_eq!(merges(serde_json::json!({"lane": 2})), Ok(vec![gone(2)]));
        let refused = |body| merges(body).expect_err("refused");
        assert_eq!(
            refused(serde_json::json!({"cell": 0})),
            "cell 0 has no more than 1 lanes"
        );
        assert!(refused(serde_json::json!({"cell": 0, "lane": 1})).contains("either"));
        assert!(refused(serde_json::json!({})).contains("either"));
    }

    #[test]
    fn a_lane_is_moved_only_to_who_takes_lanes() {
        let wish = |node: &str| Move {
            lane: 1,
            node: node.to_owned(),
        };
        assert!(move_lane(&view(), wish("cell-2")).is_ok());
        assert!(move_lane(&view(), wish("nobody")).is_err());
    }
}
