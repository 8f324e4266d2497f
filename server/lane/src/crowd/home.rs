//! A track's home: one square of the ground, one visibility class, and one issuer of names.

use myriad_wire::crowd::{CELL_OFFSET_MAX, CELL_SHIFT, origin_near, told_cell_of};
use myriad_wire::{LaneEpoch, Pos};

/// Side of a home's square, as a shift of position units: 32 m. Larger ones are left by fewer, but their tracks reach
/// farther out of the sight of those who are told.
const HOME_SHIFT: u32 = 15;
/// How far outside of its home's square a member keeps its seat, in position units: 32 m.
const TRACK_SLACK: i32 = 32 * myriad_wire::grid::UNITS_PER_METRE;
/// Height of a home, as a shift: 4 km. Its middle reaches all of it, and as much again above and below.
const HEIGHT_SHIFT: u32 = 22;

/// Ordered by class and issuer, then by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Home {
    layers: u32,
    /// Who gave the names of all members: in a track they stand as mere slots.
    issuer: LaneEpoch,
    x: i32,
    z: i32,
    height: i32,
}

/// The cell that is told of a position.
pub(super) fn cell(position: Pos) -> [i32; 3] {
    told_cell_of(position)
}

impl Home {
    /// The one that a position, class and issuer belong to.
    pub(super) fn of(layers: u32, issuer: LaneEpoch, position: Pos) -> Self {
        Self {
            layers,
            issuer,
            x: position.x >> HOME_SHIFT,
            z: position.z >> HOME_SHIFT,
            height: position.y >> HEIGHT_SHIFT,
        }
    }

    /// The first and the last that there could be of this one's class and issuer.
    pub(super) fn all_like(self) -> [Self; 2] {
        [i32::MIN, i32::MAX].map(|at| Self {
            layers: self.layers,
            issuer: self.issuer,
            x: at,
            z: at,
            height: at,
        })
    }

    pub(super) fn layers(self) -> u32 {
        self.layers
    }

    pub(super) fn issuer(self) -> LaneEpoch {
        self.issuer
    }

    /// The origin of its tracks: the cell in its middle, as far as origins may go.
    pub(super) fn origin(self) -> [i32; 3] {
        let middle = |at: i32, shift: u32| {
            let cells = shift - CELL_SHIFT;
            (at << cells) + (1 << (cells - 1))
        };
        origin_near([
            middle(self.x, HOME_SHIFT),
            middle(self.height, HEIGHT_SHIFT),
            middle(self.z, HOME_SHIFT),
        ])
    }

    /// Whether a track of this home could hold one of this class in this cell.
    pub(super) fn reaches(self, layers: u32, cell: [i32; 3]) -> bool {
        self.layers == layers && self.is_within_reach(cell)
    }

    /// Whether a track of this home could tell of this cell.
    pub(super) fn is_within_reach(self, cell: [i32; 3]) -> bool {
        let origin = self.origin();
        (0..3).all(|axis| cell[axis].abs_diff(origin[axis]) <= CELL_OFFSET_MAX.unsigned_abs())
    }

    /// Whether a member there keeps its seat.
    pub(super) fn is_near(self, position: Pos) -> bool {
        let near = |at: i32, home: i32| {
            let low = i64::from(home) << HOME_SHIFT;
            let slack = i64::from(TRACK_SLACK);
            (low - slack..=low + (1 << HOME_SHIFT) + slack).contains(&i64::from(at))
        };
        near(position.x, self.x) && near(position.z, self.z)
    }
}
