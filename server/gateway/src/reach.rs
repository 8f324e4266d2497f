//! How far a box is from an observer, and whether that is in reach: exact, in AOI units and their squares.

use myriad_aoi::RADIUS_MAX;

/// A box around subjects, in AOI units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Lowest position per axis.
    pub(crate) low: [i32; 3],
    /// Highest position per axis.
    pub(crate) high: [i32; 3],
}

/// Farther than any leave radius; three squares of it fit an `i64`.
const FAR: i64 = 1 << 30;

/// The square of the greatest distance at which a subject comes into view of an observer with this radius.
pub(crate) fn enter_radius2(radius: u32) -> i64 {
    let radius = i64::from(radius.min(RADIUS_MAX));
    radius * radius
}

/// The square of the greatest distance at which a subject stays in view of an observer with this radius.
pub(crate) fn leave_radius2(radius: u32) -> i64 {
    // Squares are whole, so rounding down loses none of `100 d2 <= 121 r2`; in two parts, because 121 of the greatest
    // would not fit.
    let radius2 = enter_radius2(radius);
    radius2 / 100 * 121 + radius2 % 100 * 121 / 100
}

impl Bounds {
    /// Around nobody: the first point makes it a box.
    pub(crate) const NOBODY: Self = Self {
        low: [i32::MAX; 3],
        high: [i32::MIN; 3],
    };

    /// Takes a point in.
    #[inline]
    pub(crate) fn add(&mut self, point: [i32; 3]) {
        for (axis, at) in point.into_iter().enumerate() {
            self.low[axis] = self.low[axis].min(at);
            self.high[axis] = self.high[axis].max(at);
        }
    }

    /// Takes another box in.
    pub(crate) fn join(&mut self, other: &Self) {
        self.add(other.low);
        self.add(other.high);
    }

    /// Squared distance from a point, exact as far as any leave radius reaches.
    #[inline]
    pub(crate) fn distance2(&self, point: [i32; 3]) -> i64 {
        let axis = |i: usize| {
            let at = i64::from(point[i]);
            let off = (i64::from(self.low[i]) - at)
                .max(at - i64::from(self.high[i]))
                .clamp(0, FAR);
            off * off
        };
        axis(0) + axis(1) + axis(2)
    }

    /// Squared distance of its farthest corner from a point; as exact.
    #[inline]
    pub(crate) fn farthest2(&self, point: [i32; 3]) -> i64 {
        let axis = |i: usize| {
            let at = i64::from(point[i]);
            let off = (at - i64::from(self.low[i]))
                .max(i64::from(self.high[i]) - at)
                .clamp(0, FAR);
            off * off
        };
        axis(0) + axis(1) + axis(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_aoi::oracle::distance2;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = [i32; 3]> {
        let axis = || prop_oneof![-3000..3000i32, -(1 << 26)..(1 << 26)];
        [axis(), axis(), axis()]
    }

    proptest! {
        #[test]
        fn whoever_is_in_a_box_is_no_nearer_than_it_and_no_farther_than_its_farthest_corner(
            from in point(), members in prop::collection::vec(point(), 1..8),
        ) {
            let mut bounds = Bounds::NOBODY;
            for member in &members {
                bounds.add(*member);
            }
            for member in &members {
                let distance = distance2(from, *member);
                prop_assert!(i128::from(bounds.distance2(from)) <= distance);
                prop_assert!(i128::from(bounds.farthest2(from)) >= distance);
            }
            let mut one = Bounds::NOBODY;
            one.add(members[0]);
            prop_assert_eq!(i128::from(one.distance2(from)), distance2(from, members[0]));
            prop_assert_eq!(one.distance2(from), one.farthest2(from));
        }

        #[test]
        fn the_leave_radius_is_that_of_the_rule(radius in 0..=RADIUS_MAX, off in -2..3i64) {
            let distance2 = (leave_radius2(radius) + off).max(0);
            let stays = 100 * i128::from(distance2) <= 121 * i128::from(radius) * i128::from(radius);
            prop_assert_eq!(distance2 <= leave_radius2(radius), stays);
        }
    }
}
