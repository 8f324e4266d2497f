//! Which places of a space a lane is to populate at the beginning.
//!
//! Every lane runs the same start of the game and spawns what begins on its own share; so there must be no place that
//! two lanes own, or none. Who has an entity later is not decided here.

use myriad_wire::Pos;

/// A part of a space: the ground of a cell, and of its places those of one of its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Lowest x and z, in position units.
    pub low: [i64; 2],
    /// Highest x and z; they belong to the next cell.
    pub high: [i64; 2],
    /// Which of the cell's lanes it is, below `lanes`.
    pub lane: u32,
    /// How many lanes the cell has. Not zero.
    pub lanes: u32,
}

impl Share {
    /// Of a space of one lane: everything.
    pub const WHOLE: Self = Self {
        low: [i64::MIN; 2],
        high: [i64::MAX; 2],
        lane: 0,
        lanes: 1,
    };

    /// No place at all.
    pub const NOTHING: Self = Self {
        low: [0; 2],
        high: [0; 2],
        lane: 0,
        lanes: 1,
    };

    /// Whether what begins at `position` is this lane's to spawn.
    #[must_use]
    pub fn owns(&self, position: Pos) -> bool {
        let [x, z] = [position.x, position.z].map(i64::from);
        let is_on_it = |axis: usize, at: i64| self.low[axis] <= at && at < self.high[axis];
        is_on_it(0, x) && is_on_it(1, z) && hash(position) % u64::from(self.lanes) == u64::from(self.lane)
    }
}

/// Of x and z, with all bits spread over all (the finaliser of MurmurHash3): games put things on whole metres, and these
/// must not all fall to one lane. Written out because all lanes must agree, whatever they were built with.
fn hash(position: Pos) -> u64 {
    let mut v = u64::from(position.x as u32) << 32 | u64::from(position.z as u32);
    v = (v ^ v >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    v = (v ^ v >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    v ^ v >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_owns_every_place() {
        for x in [i32::MIN, -1, 0, i32::MAX] {
            assert!(Share::WHOLE.owns(Pos {
                x,
                y: 0,
                z: -x.max(-9)
            }));
        }
    }

    #[test]
    fn a_border_belongs_to_the_higher_side() {
        let west = Share {
            high: [100, i64::MAX],
            ..Share::WHOLE
        };
        let east = Share {
            low: [100, i64::MIN],
            ..Share::WHOLE
        };
        for (x, expected) in [(99, (true, false)), (100, (false, true))] {
            let place = Pos { x, y: 0, z: 7 };
            assert_eq!((west.owns(place), east.owns(place)), expected, "{x}");
        }
    }

    #[test]
    fn the_lanes_of_a_cell_share_whole_metres_evenly() {
        let lanes = 4;
        let mut shares = [0u32; 4];
        for place in 0..40_000 {
            let place = Pos {
                x: place % 200 * 1024,
                y: 0,
                z: place / 200 * 1024,
            };
            let owners = (0..lanes).filter(|lane| {
                let share = Share {
                    lane: *lane,
                    lanes,
                    ..Share::WHOLE
                };
                share.owns(place)
            });
            let [owner] = owners.collect::<Vec<_>>()[..] else {
                panic!("{place:?} has not one owner")
            };
            shares[owner as usize] += 1;
        }
        assert!(
            shares.iter().all(|share| (9_500..10_500).contains(share)),
            "{shares:?}"
        );
    }
}
