//! The grid of cells, and which lanes each has.

use myriad_wire::directory::Duty;
use myriad_wire::lane::{home_lane, lane_by_weight};
use myriad_wire::{EntityId, LaneId, Pos};
use std::collections::BTreeMap;

/// A cell's number: row by row from the lowest corner, west to east within a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(pub u32);

/// How a space is cut: a grid of square cells, each of which has one or more lanes.
///
/// Every position belongs to exactly one cell; what lies beyond the outer cells belongs to the nearest of them. The grid
/// stays; lanes come and go, and each such change is another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Lowest corner: x and z, in position units.
    corner: [i32; 2],
    /// Of a cell, in position units.
    side: u32,
    columns: u32,
    rows: u32,
    version: u64,
    lanes: BTreeMap<LaneId, (Cell, Duty)>,
    /// By cell, ascending.
    by_cell: Vec<CellLanes>,
}

/// The lanes of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CellLanes {
    all: Vec<LaneId>,
    /// Of those. There is at least one.
    serving: Vec<LaneId>,
}

/// The ground of a lane: its cell as numbers, and its place among the cell's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Lowest x and z, in position units; beyond an outer cell there is none.
    pub low: [i64; 2],
    /// Highest x and z; they belong to the next cell.
    pub high: [i64; 2],
    /// Which of the cell's serving lanes it is, from 0.
    pub lane: u32,
    /// How many lanes serve the cell.
    pub lanes: u32,
}

/// Why a space can't be cut so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// Cells without area.
    NoSide,
    /// Cells without lanes.
    NoLanes,
    /// More lanes than a space may have.
    TooManyLanes(u64),
    /// A lane of a cell that there is not.
    NoCell(Cell),
    /// A cell that no lane serves.
    Unserved(Cell),
}

/// Most lanes of a space, as many as a gateway follows: it has 256 handles for those who give names, and lanes that
/// begin anew need others.
pub const LANES_MAX: u64 = 64;

impl std::error::Error for PartitionError {}

impl std::fmt::Display for PartitionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSide => write!(f, "a cell has some area"),
            Self::NoLanes => write!(f, "a cell has at least one lane"),
            Self::TooManyLanes(lanes) => {
                write!(f, "the space would have {lanes} lanes; there may be {LANES_MAX}")
            }
            Self::NoCell(Cell(cell)) => write!(f, "there is no cell {cell}"),
            Self::Unserved(Cell(cell)) => write!(f, "no lane serves cell {cell}"),
        }
    }
}

impl Partition {
    /// Cells of `side` position units from the lowest corner of the bounds until they are covered, with so many lanes
    /// each; what is left over, if it is less than a 64th of a side, belongs to the last. Lanes are numbered from 1, cell
    /// by cell.
    ///
    /// # Errors
    /// If that is no partition.
    pub fn grid(
        bounds_min: Pos,
        bounds_max: Pos,
        side: u32,
        lanes_per_cell: u32,
    ) -> Result<Self, PartitionError> {
        if side == 0 {
            return Err(PartitionError::NoSide);
        }
        if lanes_per_cell == 0 {
            return Err(PartitionError::NoLanes);
        }
        // A third of a space in metres is a third only nearly: no cells of a hand's breadth.
        let count = |low: i32, high: i32| {
            let (extent, side) = (u64::from(high.abs_diff(low)), u64::from(side));
            (extent / side + u64::from(extent % side > side / 64)).max(1)
        };
        let columns = count(bounds_min.x, bounds_max.x);
        let rows = count(bounds_min.z, bounds_max.z);
        let all = columns
            .saturating_mul(rows)
            .saturating_mul(u64::from(lanes_per_cell));
        if all > LANES_MAX {
            return Err(PartitionError::TooManyLanes(all));
        }
        let grid = Self {
            corner: [bounds_min.x, bounds_min.z],
            side,
            columns: columns as u32,
            rows: rows as u32,
            version: 0,
            lanes: BTreeMap::new(),
            by_cell: Vec::new(),
        };
        let lanes =
            (0..all as u32).map(|lane| (LaneId(lane + 1), Cell(lane / lanes_per_cell), Duty::Serving));
        grid.with_lanes(0, lanes)
    }

    /// One cell with one lane, which has everything.
    #[must_use]
    pub fn whole(lane: LaneId) -> Self {
        let grid = Self {
            corner: [i32::MIN; 2],
            side: u32::MAX,
            columns: 1,
            rows: 1,
            version: 0,
            lanes: BTreeMap::new(),
            by_cell: Vec::new(),
        };
        let lanes = [(lane, Cell(0), Duty::Serving)];
        grid.with_lanes(0, lanes).expect("its cell has a lane")
    }

    /// The same grid with these lanes.
    ///
    /// # Errors
    /// If there are too many, one is of a cell that there is not, or a cell has none that serves.
    pub fn with_lanes(
        &self,
        version: u64,
        lanes: impl IntoIterator<Item = (LaneId, Cell, Duty)>,
    ) -> Result<Self, PartitionError> {
        let lanes: BTreeMap<LaneId, (Cell, Duty)> = lanes
            .into_iter()
            .map(|(lane, cell, duty)| (lane, (cell, duty)))
            .collect();
        if lanes.len() as u64 > LANES_MAX {
            return Err(PartitionError::TooManyLanes(lanes.len() as u64));
        }
        let mut by_cell = vec![CellLanes::default(); (self.columns * self.rows) as usize];
        for (lane, (cell, duty)) in &lanes {
            let of = by_cell
                .get_mut(cell.0 as usize)
                .ok_or(PartitionError::NoCell(*cell))?;
            of.all.push(*lane);
            if *duty == Duty::Serving {
                of.serving.push(*lane);
            }
        }
        if let Some(cell) = by_cell.iter().position(|of| of.serving.is_empty()) {
            return Err(PartitionError::Unserved(Cell(cell as u32)));
        }
        Ok(Self {
            version,
            lanes,
            by_cell,
            ..self.clone()
        })
    }

    /// Which version of the layout this is.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All lanes, ascending.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> {
        self.lanes.keys().copied()
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> u32 {
        self.columns * self.rows
    }

    /// How many columns and rows of cells there are.
    #[must_use]
    pub fn size(&self) -> [u32; 2] {
        [self.columns, self.rows]
    }

    /// The cell that a position belongs to.
    #[must_use]
    pub fn cell_at(&self, position: Pos) -> Cell {
        let at = |at: i32, corner: i32, count: u32| {
            let offset = (i64::from(at) - i64::from(corner)).max(0) as u64;
            (offset / u64::from(self.side)).min(u64::from(count) - 1) as u32
        };
        let column = at(position.x, self.corner[0], self.columns);
        let row = at(position.z, self.corner[1], self.rows);
        Cell(row * self.columns + column)
    }

    /// The cell of a lane, if the lane is of this space.
    #[must_use]
    pub fn cell_of(&self, lane: LaneId) -> Option<Cell> {
        self.lanes.get(&lane).map(|(cell, _)| *cell)
    }

    /// What a lane is there for, if the lane is of this space.
    #[must_use]
    pub fn duty_of(&self, lane: LaneId) -> Option<Duty> {
        self.lanes.get(&lane).map(|(_, duty)| *duty)
    }

    /// Lowest and highest corner of a cell, x and z, in position units. The highest belongs to the next one.
    ///
    /// # Panics
    /// If there is no such cell.
    #[must_use]
    pub fn corners(&self, cell: Cell) -> [[i64; 2]; 2] {
        assert!(
            (cell.0 as usize) < self.by_cell.len(),
            "{cell:?} is no cell of this space"
        );
        let low = [cell.0 % self.columns, cell.0 / self.columns];
        let corner =
            |axis: usize, index: u32| i64::from(self.corner[axis]) + i64::from(index) * i64::from(self.side);
        [
            [corner(0, low[0]), corner(1, low[1])],
            [corner(0, low[0] + 1), corner(1, low[1] + 1)],
        ]
    }

    /// The ground of a lane that serves; `None` of any other.
    #[must_use]
    pub fn ground_of(&self, lane: LaneId) -> Option<Ground> {
        let cell = self.cell_of(lane)?;
        let lanes = self.serving(cell);
        let place = lanes.binary_search(&lane).ok()?;
        let [mut low, mut high] = self.corners(cell);
        let index = [cell.0 % self.columns, cell.0 / self.columns];
        let count = [self.columns, self.rows];
        for axis in 0..2 {
            if index[axis] == 0 {
                low[axis] = i64::MIN;
            }
            if index[axis] + 1 == count[axis] {
                high[axis] = i64::MAX;
            }
        }
        Some(Ground {
            low,
            high,
            lane: place as u32,
            lanes: lanes.len() as u32,
        })
    }

    /// Whether a position is in a cell, or no farther than `slack` position units outside of it. Beyond the outer cells
    /// there is no outside.
    #[must_use]
    pub fn is_near(&self, cell: Cell, position: Pos, slack: u32) -> bool {
        let slack = i64::from(slack);
        let [low, high] = self.corners(cell);
        let index = [cell.0 % self.columns, cell.0 / self.columns];
        let count = [self.columns, self.rows];
        [position.x, position.z]
            .into_iter()
            .enumerate()
            .all(|(axis, at)| {
                let at = i64::from(at);
                let is_first = index[axis] == 0;
                let is_last = index[axis] + 1 == count[axis];
                (is_first || at >= low[axis] - slack) && (is_last || at < high[axis] + slack)
            })
    }

    /// The lanes that serve a cell, ascending.
    ///
    /// # Panics
    /// If there is no such cell.
    #[must_use]
    pub fn serving(&self, cell: Cell) -> &[LaneId] {
        &self.by_cell[cell.0 as usize].serving
    }

    /// Which of the lanes that serve a cell an entity that comes there from another belongs to. It spreads them evenly, and
    /// when a lane is added only those that go to it change theirs.
    ///
    /// # Panics
    /// If there is no such cell.
    #[must_use]
    pub fn lane_for(&self, cell: Cell, entity: EntityId) -> LaneId {
        let lane = lane_by_weight(entity.0, self.serving(cell).iter().copied());
        lane.expect("every cell is served")
    }

    /// The lanes that accounts may have their home at, ascending.
    pub fn homes(&self) -> impl Iterator<Item = LaneId> {
        let serves = |(lane, (_, duty)): (&LaneId, &(Cell, Duty))| (*duty == Duty::Serving).then_some(*lane);
        self.lanes.iter().filter_map(serves)
    }

    /// The lane where an account's avatar is looked for first: the same for everybody who asks.
    #[must_use]
    pub fn home_of(&self, account: &str) -> LaneId {
        home_lane(account, self.homes())
    }

    /// The other lanes of a lane's cell and those of the eight cells around it, ascending; none if the lane is not of
    /// this space.
    #[must_use]
    pub fn neighbours(&self, lane: LaneId) -> Vec<LaneId> {
        let Some(cell) = self.cell_of(lane) else {
            return Vec::new();
        };
        let (column, row) = (cell.0 % self.columns, cell.0 / self.columns);
        let around = |at: u32, count: u32| at.saturating_sub(1)..=(at + 1).min(count - 1);
        let mut near: Vec<LaneId> = around(row, self.rows)
            .flat_map(|row| around(column, self.columns).map(move |column| row * self.columns + column))
            .flat_map(|cell| self.by_cell[cell as usize].all.iter().copied())
            .filter(|other| *other != lane)
            .collect();
        near.sort_unstable();
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(x: i32, z: i32) -> Pos {
        Pos { x, y: 7, z }
    }

    fn partition() -> impl Strategy<Value = Partition> {
        (-5000..0i32, 1..5000i32, 3_000..20_000u32, 1..4u32).prop_map(|(low, high, side, lanes)| {
            Partition::grid(at(low, low - 300), at(high, high), side, lanes).expect("few cells")
        })
    }

    proptest! {
        #[test]
        fn every_position_is_in_one_cell_and_near_it(partition in partition(), x in any::<i32>(), z in any::<i32>(), slack in 0..9000u32) {
            let position = at(x, z);
            let cell = partition.cell_at(position);
            let all: Vec<Cell> = partition.lanes().filter_map(|lane| partition.cell_of(lane)).collect();
            let holding: BTreeSet<Cell> = all.iter().copied().filter(|cell| partition.is_near(*cell, position, 0)).collect();
            prop_assert_eq!(holding, BTreeSet::from([cell]));
            prop_assert!(partition.is_near(cell, position, slack));
        }

        #[test]
        fn neighbours_are_mutual_and_touch(partition in partition()) {
            for lane in partition.lanes() {
                let near = partition.neighbours(lane);
                prop_assert!(near.is_sorted() && !near.contains(&lane));
                let [low, high] = partition.corners(partition.cell_of(lane).unwrap());
                for other in partition.lanes().filter(|other| *other != lane) {
                    let [other_low, other_high] = partition.corners(partition.cell_of(other).unwrap());
                    let touch = (0..2).all(|axis| other_low[axis] <= high[axis] && low[axis] <= other_high[axis]);
                    prop_assert_eq!(near.contains(&other), touch);
                    prop_assert_eq!(partition.neighbours(other).contains(&lane), touch);
                }
            }
        }
    }

    #[test]
    fn the_lanes_of_a_cell_get_even_shares_and_a_new_one_takes_only_its_own() {
        let cut = |lanes| Partition::grid(at(0, 0), at(1, 1), 10, lanes).unwrap();
        let (three, four) = (cut(3), cut(4));
        let mut shares = [0u32; 5];
        for entity in 0..40_000u64 {
            let (before, after) = (
                three.lane_for(Cell(0), EntityId(entity)),
                four.lane_for(Cell(0), EntityId(entity)),
            );
            assert!(before == after || after == LaneId(4));
            shares[after.0 as usize] += 1;
        }
        assert!(
            shares[1..].iter().all(|share| (9_500..10_500).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn lanes_come_and_go_and_only_those_that_serve_get_something() {
        let two = Partition::grid(at(0, 0), at(20, 10), 10, 1).expect("two cells");
        assert_eq!((two.version(), two.cells()), (0, 2));
        let (west, east) = (Cell(0), Cell(1));
        let lanes = [
            (LaneId(1), west, Duty::Retiring),
            (LaneId(2), east, Duty::Serving),
            (LaneId(3), west, Duty::Serving),
            (LaneId(4), east, Duty::Opening),
        ];
        let cut = two.with_lanes(7, lanes).expect("both are served");
        assert_eq!((cut.version(), cut.lanes().count()), (7, 4));
        assert_eq!(
            (cut.serving(west), cut.serving(east)),
            (&[LaneId(3)][..], &[LaneId(2)][..])
        );
        assert!(cut.homes().eq([LaneId(2), LaneId(3)]));
        assert_eq!(cut.neighbours(LaneId(4)), [1, 2, 3].map(LaneId));
        assert_eq!(cut.duty_of(LaneId(1)), Some(Duty::Retiring));
        assert_eq!(cut.ground_of(LaneId(1)), None, "it gets nothing");
        let ground = cut.ground_of(LaneId(3)).expect("it serves");
        assert_eq!((ground.lane, ground.lanes), (0, 1));
        for entity in 0..50 {
            assert_eq!(cut.lane_for(west, EntityId(entity)), LaneId(3));
        }
        let refused = |lanes: &[(LaneId, Cell, Duty)]| two.with_lanes(8, lanes.iter().copied()).unwrap_err();
        assert_eq!(refused(&lanes[..1]), PartitionError::Unserved(west));
        assert_eq!(
            refused(&[(LaneId(1), Cell(2), Duty::Serving)]),
            PartitionError::NoCell(Cell(2))
        );
        let many: Vec<_> = (1..66).map(|lane| (LaneId(lane), west, Duty::Serving)).collect();
        assert_eq!(refused(&many), PartitionError::TooManyLanes(65));
    }

    #[test]
    fn few_homes_move_when_a_lane_comes() {
        let cut = |lanes| Partition::grid(at(0, 0), at(1, 1), 10, lanes).unwrap();
        let (three, four) = (cut(3), cut(4));
        let mut homes = [0; 5];
        for account in (0..8_000).map(|number| format!("bot-{number}")) {
            let (before, after) = (three.home_of(&account), four.home_of(&account));
            assert!(before == after || after == LaneId(4));
            homes[after.0 as usize] += 1;
        }
        assert!(
            homes[1..].iter().all(|count| (1_850..2_150).contains(count)),
            "{homes:?}"
        );
    }

    #[test]
    fn what_is_left_over_gets_cells_only_if_it_is_worth_it() {
        let size = |side| Partition::grid(at(-1000, -1000), at(1000, 1000), side, 1).map(|cut| cut.size());
        assert_eq!(size(667), Ok([3, 3]));
        assert_eq!(size(666), Ok([3, 3]));
        assert_eq!(size(640), Ok([4, 4]));
        assert_eq!(size(2001), Ok([1, 1]));
        let cut = Partition::grid(at(-1000, -1000), at(1000, 1000), 666, 1).expect("a partition");
        assert_eq!(cut.cell_at(at(1000, 1000)), Cell(8));
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        let (low, high) = (at(-1000, -1000), at(1000, 1000));
        assert_eq!(Partition::grid(low, high, 0, 1), Err(PartitionError::NoSide));
        assert_eq!(Partition::grid(low, high, 1000, 0), Err(PartitionError::NoLanes));
        assert_eq!(
            Partition::grid(low, high, 100, 1),
            Err(PartitionError::TooManyLanes(400))
        );
        assert_eq!(
            Partition::grid(at(i32::MIN, i32::MIN), at(i32::MAX, i32::MAX), 1, u32::MAX),
            Err(PartitionError::TooManyLanes(u64::MAX))
        );
        assert_eq!(Partition::grid(low, high, 1000, 2).unwrap().size(), [2, 2]);
    }

    #[test]
    fn a_whole_space_has_no_borders() {
        let whole = Partition::whole(LaneId(3));
        for corner in [i32::MIN, 0, i32::MAX] {
            assert_eq!(whole.cell_at(at(corner, corner)), Cell(0));
            assert!(whole.is_near(Cell(0), at(corner, corner), 0));
        }
        assert_eq!(whole.lane_for(Cell(0), EntityId(9)), LaneId(3));
        assert_eq!(whole.home_of("ada"), LaneId(3));
        assert!(whole.neighbours(LaneId(3)).is_empty());
        assert!(whole.neighbours(LaneId(4)).is_empty());
    }
}
