//! Positions: fixed point, and every coarser grid a shift of the finest, so that lane, gateway, client and
//! oracle agree bit for bit.

use bincode::{Decode, Encode};
use glam::DVec3;

/// Position units per metre.
pub const UNITS_PER_METRE: i32 = 1024;
/// `position >> WIRE_SHIFT` is the near tier's grid: 1/64 m.
pub const WIRE_SHIFT: u32 = 4;
/// `position >> AOI_SHIFT` is the interest engine's grid: 1/32 m.
pub const AOI_SHIFT: u32 = 5;
/// `position >> CROWD_SHIFT` is the crowd tier's grid: 1/16 m.
pub const CROWD_SHIFT: u32 = 6;

/// A position in 1/1024 m. `y` is up; the ground is the x-z plane. Reaches +-2,097 km.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Pos {
    /// East, in 1/1024 m.
    pub x: i32,
    /// Up, in 1/1024 m.
    pub y: i32,
    /// South, in 1/1024 m.
    pub z: i32,
}

/// A position on the wire grid: 1/64 m, each axis `Pos >> WIRE_SHIFT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct WirePos {
    /// East, in 1/64 m.
    pub x: i32,
    /// Up, in 1/64 m.
    pub y: i32,
    /// South, in 1/64 m.
    pub z: i32,
}

impl Pos {
    /// From metres, rounded to the nearest unit and saturated at the ends of the grid.
    #[must_use]
    pub fn from_metres(metres: DVec3) -> Self {
        let unit = |v: f64| (v * f64::from(UNITS_PER_METRE)).round() as i32;
        Self {
            x: unit(metres.x),
            y: unit(metres.y),
            z: unit(metres.z),
        }
    }

    /// In metres, exact.
    #[must_use]
    pub fn to_metres(self) -> DVec3 {
        DVec3::new(f64::from(self.x), f64::from(self.y), f64::from(self.z)) / f64::from(UNITS_PER_METRE)
    }

    /// On the wire grid, rounded towards minus infinity.
    #[must_use]
    pub fn to_wire(self) -> WirePos {
        WirePos {
            x: self.x >> WIRE_SHIFT,
            y: self.y >> WIRE_SHIFT,
            z: self.z >> WIRE_SHIFT,
        }
    }

    /// On the interest engine's grid (1/32 m), `[x, y, z]`.
    #[must_use]
    pub fn to_aoi(self) -> [i32; 3] {
        self.to_wire().to_aoi()
    }
}

impl WirePos {
    /// On the interest engine's grid (1/32 m), `[x, y, z]`. Equals [`Pos::to_aoi`] of the position it came from.
    #[must_use]
    pub fn to_aoi(self) -> [i32; 3] {
        const SHIFT: u32 = AOI_SHIFT - WIRE_SHIFT;
        [self.x >> SHIFT, self.y >> SHIFT, self.z >> SHIFT]
    }

    /// The middle of the grid cell: at most 1/128 m per axis from the position it came from.
    #[must_use]
    pub fn centre(self) -> Pos {
        Pos {
            x: centre(self.x, WIRE_SHIFT),
            y: centre(self.y, WIRE_SHIFT),
            z: centre(self.z, WIRE_SHIFT),
        }
    }
}

/// The middle, in position units, of cell `v` of the grid `>> shift`. Saturates at the ends of the grid.
#[must_use]
#[inline]
pub fn centre(v: i32, shift: u32) -> i32 {
    let middle = (i64::from(v) << shift) + (1i64 << shift >> 1);
    middle.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn coarser_grids_are_shifts_of_finer_ones(x: i32, y: i32, z: i32) {
            let pos = Pos { x, y, z };
            prop_assert_eq!(pos.to_aoi(), [x >> AOI_SHIFT, y >> AOI_SHIFT, z >> AOI_SHIFT]);
            let back = pos.to_wire().centre();
            for (a, b) in [(back.x, x), (back.y, y), (back.z, z)] {
                prop_assert!((i64::from(a) - i64::from(b)).abs() <= 8);
            }
        }
    }
}
