//! The innermost loop: 64 positions against one reach.

use crate::types::{Observer, RADIUS_MAX, Subject};
use crate::view::WORD_BITS;

/// A difference along one axis counts as at most this. Three squares of it fit into a `u64`, and one square is
/// beyond every limit, so that a clamped difference is as far out as the true one.
const DIFFERENCE_MAX: u32 = i32::MAX as u32;

const _: () = assert!(leave_limit(square(RADIUS_MAX)) < square(DIFFERENCE_MAX));

const fn square(length: u32) -> u64 {
    length as u64 * length as u64
}

/// The greatest `d²` with `100 d² <= 121 enter`.
const fn leave_limit(enter: u64) -> u64 {
    (enter as u128 * 121 / 100) as u64
}

/// 64 positions, side by side for the vector units, and what is true of all of them.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    x: [i32; WORD_BITS],
    y: [i32; WORD_BITS],
    z: [i32; WORD_BITS],
    /// 0 where there is no subject: nobody sees it.
    layers: [u32; WORD_BITS],
    /// Bit `i` says that there is a subject at `i`.
    members: u64,
    /// The least coordinates of the members; meaningless without any.
    low: [i32; 3],
    /// The greatest ones.
    high: [i32; 3],
    /// The layers that some member has.
    layers_of_some: u32,
    /// The layers that every member has.
    layers_of_all: u32,
}

impl Points {
    pub(crate) const EMPTY: Self = Self {
        x: [0; WORD_BITS],
        y: [0; WORD_BITS],
        z: [0; WORD_BITS],
        layers: [0; WORD_BITS],
        members: 0,
        low: [i32::MAX; 3],
        high: [i32::MIN; 3],
        layers_of_some: 0,
        layers_of_all: u32::MAX,
    };

    /// Puts a subject at an index that has none yet.
    pub(crate) fn insert(&mut self, at: usize, position: [i32; 3], layers: u32) {
        debug_assert!(self.members >> at & 1 == 0, "two subjects at one index");
        [self.x[at], self.y[at], self.z[at]] = position;
        self.layers[at] = layers;
        self.members |= 1 << at;
        for (axis, &coordinate) in position.iter().enumerate() {
            self.low[axis] = self.low[axis].min(coordinate);
            self.high[axis] = self.high[axis].max(coordinate);
        }
        self.layers_of_some |= layers;
        self.layers_of_all &= layers;
    }

    pub(crate) fn position(&self, at: usize) -> [i32; 3] {
        [self.x[at], self.y[at], self.z[at]]
    }

    pub(crate) fn layers(&self, at: usize) -> u32 {
        self.layers[at]
    }

    /// Per axis, no member is nearer to `centre` than the first nor farther than the second.
    fn differences(&self, centre: [i32; 3]) -> ([u32; 3], [u32; 3]) {
        let nearest =
            |axis: usize| centre[axis].abs_diff(centre[axis].clamp(self.low[axis], self.high[axis]));
        let farthest = |axis: usize| {
            centre[axis]
                .abs_diff(self.low[axis])
                .max(centre[axis].abs_diff(self.high[axis]))
        };
        ([0, 1, 2].map(nearest), [0, 1, 2].map(farthest))
    }
}

#[inline]
fn differences(a: [i32; 3], b: [i32; 3]) -> [u32; 3] {
    [a[0].abs_diff(b[0]), a[1].abs_diff(b[1]), a[2].abs_diff(b[2])]
}

/// The sum of the squares: exact while no difference exceeds [`DIFFERENCE_MAX`], beyond every limit otherwise.
#[inline]
fn length2(differences: [u32; 3]) -> u64 {
    let [x, y, z] = differences.map(|difference| square(difference.min(DIFFERENCE_MAX)));
    x + y + z
}

/// The square of the distance in three dimensions, if it is not beyond every limit.
pub(crate) fn distance2(a: [i32; 3], b: [i32; 3]) -> u64 {
    length2(differences(a, b))
}

/// How far something reaches around a place: twice, because who is in stays in a little longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(crate) centre: [i32; 3],
    /// Layers it meets.
    pub(crate) layers: u32,
    enter: Limits,
    leave: Limits,
}

/// Inclusive limits of a distance's square and of a difference in height.
#[derive(Clone, Copy, Debug)]
struct Limits {
    distance2: u64,
    dy: u32,
}

impl Limits {
    /// Without a branch, for the vector units.
    #[inline]
    fn hold(self, differences: [u32; 3]) -> bool {
        (length2(differences) <= self.distance2) & (differences[1] <= self.dy)
    }
}

/// Who is within a reach's two limits, one bit per point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Within {
    /// Near enough to come in.
    pub(crate) enter: u64,
    /// Near enough to stay in. Holds all of `enter`.
    pub(crate) leave: u64,
}

impl Reach {
    /// With hysteresis, as an observer sees.
    pub(crate) fn of_observer(observer: &Observer, dy_limit: Option<u32>) -> Self {
        let dy = dy_limit.unwrap_or(u32::MAX);
        let dy_leave = u32::try_from(u64::from(dy) * 11 / 10).unwrap_or(u32::MAX);
        let enter = square(observer.radius.min(RADIUS_MAX));
        Self {
            centre: observer.position,
            layers: observer.sees,
            enter: Limits { distance2: enter, dy },
            leave: Limits {
                distance2: leave_limit(enter),
                dy: dy_leave,
            },
        }
    }

    /// Without hysteresis: a plain ball.
    pub(crate) fn ball(centre: [i32; 3], radius: u32, layers: u32) -> Self {
        let limits = Limits {
            distance2: square(radius.min(RADIUS_MAX)),
            dy: u32::MAX,
        };
        Self {
            centre,
            layers,
            enter: limits,
            leave: limits,
        }
    }

    /// The same reach, but at least this far.
    pub(crate) fn at_least(mut self, radius: u32) -> Self {
        let enter = square(radius.min(RADIUS_MAX));
        self.enter.distance2 = self.enter.distance2.max(enter);
        self.leave.distance2 = self.leave.distance2.max(leave_limit(enter));
        self
    }

    /// The square of the greatest distance at which anything can be within.
    pub(crate) fn outermost2(&self) -> u64 {
        self.leave.distance2
    }

    /// Whether one subject is within: (near enough to come in, near enough to stay).
    pub(crate) fn admits(&self, subject: &Subject) -> (bool, bool) {
        let differences = differences(self.centre, subject.position);
        let meets = self.layers & subject.layers != 0;
        (
            meets && self.enter.hold(differences),
            meets && self.leave.hold(differences),
        )
    }

    /// Which of 64 points are within. Most blocks in a crowd are all in, most elsewhere all out.
    pub(crate) fn scan(&self, points: &Points) -> Within {
        if self.layers & points.layers_of_some == 0 {
            return Within::default();
        }
        let (nearest, farthest) = points.differences(self.centre);
        if !self.leave.hold(nearest) {
            Within::default()
        } else if self.layers & points.layers_of_all != 0 && self.enter.hold(farthest) {
            Within {
                enter: points.members,
                leave: points.members,
            }
        } else {
            self.scan_each(points)
        }
    }

    /// Bytes first and bits after: the compiler turns both loops into vector code.
    fn scan_each(&self, points: &Points) -> Within {
        let mut enter = [0_u8; WORD_BITS];
        let mut leave = [0_u8; WORD_BITS];
        for i in 0..WORD_BITS {
            let differences = differences(self.centre, points.position(i));
            let meets = self.layers & points.layers[i] != 0;
            enter[i] = u8::from(meets & self.enter.hold(differences));
            leave[i] = u8::from(meets & self.leave.hold(differences));
        }
        Within {
            enter: pack(&enter),
            leave: pack(&leave),
        }
    }
}

/// 64 bytes of 0 or 1 as 64 bits.
fn pack(bytes: &[u8; WORD_BITS]) -> u64 {
    /// Moves the lowest bit of byte `i` to bit `56 + i`; the products do not overlap, so nothing carries.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, []) = bytes.as_chunks::<8>() else {
        unreachable!("64 is a multiple of 8")
    };
    let mut word = 0;
    for (i, eight) in eights.iter().enumerate() {
        word |= (u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56) << (8 * i);
    }
    word
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn coordinate() -> impl Strategy<Value = i32> {
        prop_oneof![-40..40, Just(i32::MIN), Just(i32::MAX), any::<i32>()]
    }

    fn subject() -> impl Strategy<Value = Subject> {
        let position = [coordinate(), coordinate(), coordinate()];
        (position, 0_u32..4).prop_map(|(position, layers)| Subject {
            position,
            layers,
            appeal: 0,
        })
    }

    proptest! {
        #[test]
        fn a_scan_of_64_is_64_single_tests(
            subjects in vec(proptest::option::of(subject()), WORD_BITS),
            position in [coordinate(), coordinate(), coordinate()],
            radius in prop_oneof![0_u32..90, Just(RADIUS_MAX)],
            sees in 0_u32..4,
            dy_limit in proptest::option::of(0_u32..60),
        ) {
            let observer = Observer { position, radius, sees, avatar: None };
            let reach = Reach::of_observer(&observer, dy_limit);
            let mut points = Points::EMPTY;
            let mut expected = Within::default();
            for (at, subject) in subjects.iter().enumerate() {
                let Some(subject) = subject else { continue };
                points.insert(at, subject.position, subject.layers);
                let (enter, leave) = reach.admits(subject);
                expected.enter |= u64::from(enter) << at;
                expected.leave |= u64::from(leave) << at;
            }
            prop_assert_eq!(reach.scan(&points), expected);
            prop_assert_eq!(reach.scan_each(&points), expected);
        }

        #[test]
        fn bytes_of_0_and_1_pack_into_their_bits(word: u64) {
            let bytes = std::array::from_fn(|bit| (word >> bit & 1) as u8);
            prop_assert_eq!(pack(&bytes), word);
        }
    }

    #[test]
    fn the_leave_limit_is_1_1_radii_rounded_down() {
        for radius in [0, 1, 9, 10, 11, 333, RADIUS_MAX] {
            let limit = leave_limit(square(radius));
            let holds = |distance2: u64| u128::from(distance2) * 100 <= u128::from(square(radius)) * 121;
            assert!(holds(limit) && !holds(limit + 1));
        }
    }
}
