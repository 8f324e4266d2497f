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

/// 64 positions, side by side for the vector units.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    x: [i32; WORD_BITS],
    y: [i32; WORD_BITS],
    z: [i32; WORD_BITS],
    /// 0 where there is no subject: nobody sees it.
    layers: [u32; WORD_BITS],
}

impl Points {
    pub(crate) const EMPTY: Self = Self {
        x: [0; WORD_BITS],
        y: [0; WORD_BITS],
        z: [0; WORD_BITS],
        layers: [0; WORD_BITS],
    };

    pub(crate) fn set(&mut self, at: usize, position: [i32; 3], layers: u32) {
        [self.x[at], self.y[at], self.z[at]] = position;
        self.layers[at] = layers;
    }

    pub(crate) fn position(&self, at: usize) -> [i32; 3] {
        [self.x[at], self.y[at], self.z[at]]
    }

    pub(crate) fn layers(&self, at: usize) -> u32 {
        self.layers[at]
    }
}

/// The square of the distance in three dimensions, exact up to [`DIFFERENCE_MAX`] per axis and beyond every
/// limit above.
#[inline]
pub(crate) fn distance2(a: [i32; 3], b: [i32; 3]) -> u64 {
    let axis = |i: usize| square(a[i].abs_diff(b[i]).min(DIFFERENCE_MAX));
    axis(0) + axis(1) + axis(2)
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
        let distance2 = distance2(self.centre, subject.position);
        let dy = self.centre[1].abs_diff(subject.position[1]);
        let within = |limits: Limits| distance2 <= limits.distance2 && dy <= limits.dy;
        let meets = self.layers & subject.layers != 0;
        (meets && within(self.enter), meets && within(self.leave))
    }

    /// Which of 64 points are within. Bytes first and bits after: the compiler turns both loops into vector code.
    pub(crate) fn scan(&self, points: &Points) -> Within {
        let mut enter = [0_u8; WORD_BITS];
        let mut leave = [0_u8; WORD_BITS];
        for i in 0..WORD_BITS {
            let distance2 = distance2(self.centre, points.position(i));
            let dy = self.centre[1].abs_diff(points.y[i]);
            let meets = self.layers & points.layers[i] != 0;
            enter[i] = u8::from(meets & (distance2 <= self.enter.distance2) & (dy <= self.enter.dy));
            leave[i] = u8::from(meets & (distance2 <= self.leave.distance2) & (dy <= self.leave.dy));
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
