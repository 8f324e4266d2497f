//! Which lanes a space has, and how that changes.
//!
//! ```text
//!            Split, Move             Serve                  Merge, or Serve
//!                                                          of what replaces it        End
//!  (nothing) ───────────► opening ───────────► serving ───────────────────► retiring ─────► (nothing)
//!                            │   its readers read it                 ▲        has nothing any more
//!                            └───────────────────────────────────────┘
//!                                          Merge
//! ```
//! Each change is another version. What holds in all of them: a lane's number is never given again, and every cell has a
//! lane that serves it. A move is one step of this: a lane that replaces another opens, and when it begins to serve, the
//! other retires.
//!
//! Everybody goes by a version as soon as it is heard, some before others. Nothing is wrong in between: who thinks that an
//! entity belongs to a lane offers it, and the other refuses or hands it on.

use crate::partition::{Cell, LANES_MAX, Partition, PartitionError};
use crate::placement::place_lanes;
use myriad_wire::directory::{Duty, LaneClaim, LaneRecord, LayoutChange};
use myriad_wire::{LaneEpoch, LaneId};
use std::collections::BTreeMap;
use thiserror::Error;

/// The lanes of a space, as the directory has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Rises with every change but claims; zero before there are lanes.
    pub version: u64,
    /// How many cells there are.
    pub cells: u32,
    /// With how many lanes each cell began.
    pub lanes_per_cell: u32,
    /// The highest number that a lane ever had.
    pub last_lane: u32,
    /// The lanes, by number.
    pub lanes: BTreeMap<LaneId, LaneRecord>,
}

/// Why the lanes can't change so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// No node would run the lanes.
    #[error("there is no node to run lanes")]
    NoNode,
    /// There is no such cell.
    #[error("there is no cell {0}; `myriad ctl cells` shows them")]
    NoCell(u32),
    /// There is no such lane.
    #[error("there is no lane {0}; `myriad ctl lanes` shows them")]
    NoLane(LaneId),
    /// More lanes than a space may have.
    #[error("the space would have {0} lanes; there may be {LANES_MAX}")]
    TooManyLanes(u64),
    /// The last lane that serves its cell can't retire.
    #[error("lane {0} is the only one that serves its cell")]
    LastLane(LaneId),
    /// The lane is already on its way out, or not yet in.
    #[error("lane {0} is {1}")]
    NotServing(LaneId, &'static str),
    /// Another lane is about to replace it.
    #[error("lane {0} is about to be replaced by lane {1}")]
    Replaced(LaneId, LaneId),
    /// The lane is there.
    #[error("lane {0} is at {1} already")]
    AlreadyThere(LaneId, String),
    /// Who said so does not run the lane (any more).
    #[error("lane {0} is not claimed under epoch {1}")]
    Stale(LaneId, LaneEpoch),
}

/// What a lane is there for, as people read it.
#[must_use]
pub fn duty_name(duty: Duty) -> &'static str {
    match duty {
        Duty::Opening => "opening",
        Duty::Serving => "serving",
        Duty::Retiring => "retiring",
    }
}

impl Layout {
    /// Changes the lanes; `version` rises if that had an effect.
    ///
    /// # Errors
    /// If they can't change so. Nothing has changed then.
    pub fn change(&mut self, change: &LayoutChange) -> Result<(), LayoutError> {
        match change {
            LayoutChange::Found {
                cells,
                lanes_per_cell,
                nodes,
            } => self.found(*cells, *lanes_per_cell, nodes)?,
            LayoutChange::Split { cell, node } => {
                if *cell >= self.cells {
                    return Err(LayoutError::NoCell(*cell));
                }
                self.open(*cell, node, None)?;
            }
            LayoutChange::Merge(lane) => self.merge(*lane)?,
            LayoutChange::Move { lane, node } => self.start_move(*lane, node)?,
            LayoutChange::Serve { lane, epoch } => self.serve(*lane, *epoch)?,
            LayoutChange::End { lane, epoch } => {
                let record = self.claimed(*lane, *epoch)?;
                if record.duty != Duty::Retiring {
                    return Err(LayoutError::NotServing(*lane, duty_name(record.duty)));
                }
                self.lanes.remove(lane);
                self.version += 1;
            }
        }
        Ok(())
    }

    /// The lane's claim is this one from now on.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn claim(&mut self, lane: LaneId, claim: LaneClaim) -> Result<(), LayoutError> {
        self.record(lane)?.claim = Some(claim);
        Ok(())
    }

    /// The lanes on the ground of `grid`.
    ///
    /// # Errors
    /// If they are none of that grid.
    pub fn partition(&self, grid: &Partition) -> Result<Partition, PartitionError> {
        partition(grid, self.version, self.lanes.values())
    }

    fn record(&mut self, lane: LaneId) -> Result<&mut LaneRecord, LayoutError> {
        self.lanes.get_mut(&lane).ok_or(LayoutError::NoLane(lane))
    }

    fn claimed(&mut self, lane: LaneId, epoch: LaneEpoch) -> Result<&mut LaneRecord, LayoutError> {
        let record = self.record(lane)?;
        let is_claimed = record.claim.is_some_and(|claim| claim.epoch == epoch);
        is_claimed
            .then_some(record)
            .ok_or(LayoutError::Stale(lane, epoch))
    }

    fn found(&mut self, cells: u32, lanes_per_cell: u32, nodes: &[String]) -> Result<(), LayoutError> {
        if !self.lanes.is_empty() && (self.cells, self.lanes_per_cell) == (cells, lanes_per_cell) {
            return Ok(());
        }
        let all = u64::from(cells) * u64::from(lanes_per_cell);
        if all > LANES_MAX {
            return Err(LayoutError::TooManyLanes(all));
        }
        if nodes.is_empty() || all == 0 {
            return Err(LayoutError::NoNode);
        }
        // Numbers of an earlier founding are not given again.
        let first = self.last_lane + 1;
        let record = |(place, node): (u32, String)| LaneRecord {
            lane: LaneId(first + place),
            cell: place / lanes_per_cell,
            duty: Duty::Serving,
            replaces: None,
            node,
            claim: None,
        };
        let records = (0..).zip(place_lanes(all as u32, nodes)).map(record);
        self.lanes = records.map(|record| (record.lane, record)).collect();
        (self.cells, self.lanes_per_cell) = (cells, lanes_per_cell);
        self.last_lane += all as u32;
        self.version += 1;
        Ok(())
    }

    fn open(&mut self, cell: u32, node: &str, replaces: Option<LaneId>) -> Result<(), LayoutError> {
        let all = self.lanes.len() as u64 + 1;
        if all > LANES_MAX {
            return Err(LayoutError::TooManyLanes(all));
        }
        self.last_lane += 1;
        let lane = LaneId(self.last_lane);
        let record = LaneRecord {
            lane,
            cell,
            duty: Duty::Opening,
            replaces,
            node: node.to_owned(),
            claim: None,
        };
        self.lanes.insert(lane, record);
        self.version += 1;
        Ok(())
    }

    fn start_move(&mut self, lane: LaneId, node: &str) -> Result<(), LayoutError> {
        let record = self.record(lane)?;
        let cell = record.cell;
        if record.duty != Duty::Serving {
            return Err(LayoutError::NotServing(lane, duty_name(record.duty)));
        }
        if record.node == node {
            return Err(LayoutError::AlreadyThere(lane, node.to_owned()));
        }
        self.check_unreplaced(lane)?;
        self.open(cell, node, Some(lane))
    }

    fn check_unreplaced(&self, lane: LaneId) -> Result<(), LayoutError> {
        match self.lanes.values().find(|other| other.replaces == Some(lane)) {
            Some(other) => Err(LayoutError::Replaced(lane, other.lane)),
            None => Ok(()),
        }
    }

    fn merge(&mut self, lane: LaneId) -> Result<(), LayoutError> {
        let record = self.record(lane)?;
        let (cell, duty, is_claimed) = (record.cell, record.duty, record.claim.is_some());
        if duty == Duty::Retiring {
            return Err(LayoutError::NotServing(lane, duty_name(duty)));
        }
        self.check_unreplaced(lane)?;
        if duty == Duty::Opening && !is_claimed {
            self.lanes.remove(&lane);
        } else if duty == Duty::Serving && !self.is_served(cell, lane) {
            return Err(LayoutError::LastLane(lane));
        } else {
            let record = self.record(lane)?;
            record.duty = Duty::Retiring;
            record.replaces = None;
        }
        self.version += 1;
        Ok(())
    }

    /// Whether another lane than `without` serves the cell.
    fn is_served(&self, cell: u32, without: LaneId) -> bool {
        let serves = |record: &LaneRecord| {
            record.cell == cell && record.duty == Duty::Serving && record.lane != without
        };
        self.lanes.values().any(serves)
    }

    fn serve(&mut self, lane: LaneId, epoch: LaneEpoch) -> Result<(), LayoutError> {
        let record = self.claimed(lane, epoch)?;
        if record.duty != Duty::Opening {
            return Err(LayoutError::NotServing(lane, duty_name(record.duty)));
        }
        record.duty = Duty::Serving;
        let replaced = record.replaces.take();
        if let Some(replaced) = replaced.and_then(|lane| self.lanes.get_mut(&lane)) {
            replaced.duty = Duty::Retiring;
        }
        self.version += 1;
        Ok(())
    }
}

/// The lanes of these records on the ground of `grid`.
///
/// # Errors
/// If they are none of that grid.
pub fn partition<'a>(
    grid: &Partition,
    version: u64,
    lanes: impl IntoIterator<Item = &'a LaneRecord>,
) -> Result<Partition, PartitionError> {
    let lanes = lanes
        .into_iter()
        .map(|record| (record.lane, Cell(record.cell), record.duty));
    grid.with_lanes(version, lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::{Incarnation, Pos};
    use proptest::prelude::*;

    fn nodes(count: u32) -> Vec<String> {
        (1..=count).map(|node| format!("cell-{node}")).collect()
    }

    fn founded(cells: u32, lanes_per_cell: u32) -> Layout {
        let mut layout = Layout::default();
        let found = LayoutChange::Found {
            cells,
            lanes_per_cell,
            nodes: nodes(2),
        };
        layout.change(&found).expect("few lanes");
        layout
    }

    fn claim(layout: &mut Layout, lane: u32, epoch: u64) -> LaneEpoch {
        let epoch = LaneEpoch(epoch);
        let claim = LaneClaim {
            incarnation: Incarnation(1),
            epoch,
        };
        layout.claim(LaneId(lane), claim).expect("there is such a lane");
        epoch
    }

    fn split(cell: u32) -> LayoutChange {
        LayoutChange::Split {
            cell,
            node: "cell-2".into(),
        }
    }

    fn duties(layout: &Layout) -> Vec<(u32, u32, Duty)> {
        let lanes = layout.lanes.values();
        lanes
            .map(|record| (record.lane.0, record.cell, record.duty))
            .collect()
    }

    #[test]
    fn a_cell_is_split_and_merged_again() {
        let mut layout = founded(2, 1);
        layout.change(&split(1)).expect("there is room");
        assert_eq!(
            duties(&layout),
            [
                (1, 0, Duty::Serving),
                (2, 1, Duty::Serving),
                (3, 1, Duty::Opening)
            ]
        );
        let lane = LaneId(3);
        let early = LayoutChange::Serve {
            lane,
            epoch: LaneEpoch(9),
        };
        assert_eq!(layout.change(&early), Err(LayoutError::Stale(lane, LaneEpoch(9))));
        let epoch = claim(&mut layout, 3, 9);
        layout.change(&early).expect("claimed");
        layout
            .change(&LayoutChange::Merge(LaneId(2)))
            .expect("lane 3 serves the cell");
        assert_eq!(
            layout.change(&LayoutChange::Merge(lane)),
            Err(LayoutError::LastLane(lane))
        );
        assert_eq!(
            layout.change(&LayoutChange::End { lane, epoch }),
            Err(LayoutError::NotServing(lane, "serving"))
        );
        let epoch = claim(&mut layout, 2, 10);
        layout
            .change(&LayoutChange::End {
                lane: LaneId(2),
                epoch,
            })
            .expect("it retires");
        assert_eq!(duties(&layout), [(1, 0, Duty::Serving), (3, 1, Duty::Serving)]);
        layout.change(&split(1)).expect("there is room");
        assert_eq!(
            layout.lanes.keys().last(),
            Some(&LaneId(4)),
            "a number is not given again"
        );
        assert_eq!(layout.version, 6);
    }

    #[test]
    fn a_lane_is_moved_in_one_step() {
        let mut layout = founded(1, 1);
        let there = |node: &str| LayoutChange::Move {
            lane: LaneId(1),
            node: node.into(),
        };
        assert_eq!(
            layout.change(&there("cell-1")),
            Err(LayoutError::AlreadyThere(LaneId(1), "cell-1".into()))
        );
        layout.change(&there("cell-2")).expect("another node");
        let replaced = Err(LayoutError::Replaced(LaneId(1), LaneId(2)));
        assert_eq!(layout.change(&there("cell-3")), replaced);
        assert_eq!(layout.change(&LayoutChange::Merge(LaneId(1))), replaced);
        let epoch = claim(&mut layout, 2, 5);
        layout
            .change(&LayoutChange::Serve {
                lane: LaneId(2),
                epoch,
            })
            .expect("claimed");
        assert_eq!(duties(&layout), [(1, 0, Duty::Retiring), (2, 0, Duty::Serving)]);
        assert_eq!(
            layout.change(&there("cell-3")),
            Err(LayoutError::NotServing(LaneId(1), "retiring"))
        );
    }

    #[test]
    fn a_lane_that_never_opened_can_be_called_off() {
        let mut layout = founded(1, 1);
        layout.change(&split(0)).expect("there is room");
        layout
            .change(&LayoutChange::Merge(LaneId(2)))
            .expect("it takes nobody");
        assert_eq!(duties(&layout), [(1, 0, Duty::Serving)], "nobody ran it");
        layout.change(&split(0)).expect("there is room");
        claim(&mut layout, 3, 5);
        layout
            .change(&LayoutChange::Merge(LaneId(3)))
            .expect("it takes nobody");
        assert_eq!(duties(&layout)[1], (3, 0, Duty::Retiring), "who runs it ends it");
    }

    #[test]
    fn a_space_is_founded_anew_only_if_it_is_cut_otherwise() {
        let mut layout = founded(2, 2);
        layout.change(&split(0)).expect("there is room");
        let before = layout.clone();
        let found = |cells, lanes_per_cell, nodes| LayoutChange::Found {
            cells,
            lanes_per_cell,
            nodes,
        };
        layout.change(&found(2, 2, nodes(3))).expect("as it is");
        assert_eq!(layout, before);
        assert_eq!(layout.change(&found(2, 1, nodes(0))), Err(LayoutError::NoNode));
        assert_eq!(
            layout.change(&found(9, 9, nodes(1))),
            Err(LayoutError::TooManyLanes(81))
        );
        layout.change(&found(2, 1, nodes(1))).expect("another cut");
        assert_eq!(duties(&layout), [(6, 0, Duty::Serving), (7, 1, Duty::Serving)]);
    }

    fn step() -> impl Strategy<Value = (u8, u32, u32)> {
        (0..6u8, 0..12u32, 0..3u32)
    }

    proptest! {
        #[test]
        fn whatever_is_asked_every_cell_is_served(steps in prop::collection::vec(step(), 0..60)) {
            let corner = |at: i32| Pos { x: at, y: 0, z: 0 };
            let grid = Partition::grid(corner(0), corner(20), 10, 1).expect("two cells");
            let mut layout = founded(2, 1);
            let mut epochs = 0;
            let mut given = layout.last_lane;
            for (what, lane, node) in steps {
                let (lane, node) = (LaneId(lane), format!("cell-{node}"));
                epochs += 1;
                let epoch = layout.lanes.get(&lane).and_then(|record| record.claim);
                let epoch = epoch.map_or(LaneEpoch(0), |claim| claim.epoch);
                let before = layout.clone();
                let done = match what {
                    0 => layout.change(&LayoutChange::Split { cell: lane.0 % 3, node }),
                    1 => layout.change(&LayoutChange::Merge(lane)),
                    2 => layout.change(&LayoutChange::Move { lane, node }),
                    3 => layout.change(&LayoutChange::Serve { lane, epoch }),
                    4 => layout.change(&LayoutChange::End { lane, epoch }),
                    _ => layout.claim(lane, LaneClaim { incarnation: Incarnation(1), epoch: LaneEpoch(epochs) }),
                };
                if done.is_err() {
                    prop_assert_eq!(&layout, &before);
                } else {
                    prop_assert_eq!(layout.version, before.version + u64::from(what != 5));
                }
                prop_assert!(layout.last_lane >= given);
                given = layout.last_lane;
                prop_assert!(layout.lanes.keys().all(|lane| lane.0 <= given));
                prop_assert!(layout.partition(&grid).is_ok(), "{:?}", layout);
            }
        }
    }
}
