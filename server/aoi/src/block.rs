//! 32 entities that stand near each other, as the kernels read them.

use crate::bits::bits;
use crate::bounds::FloatBox;
use crate::types::RADIUS_MAX;

/// Entities per block: the bits of a row of a tile.
pub(crate) const SLOTS: usize = 32;

/// No slot, no id.
pub(crate) const NONE: u32 = u32::MAX;

/// Half the side of the largest block whose positions, relative to its centre, the narrow kernels can do with. With
/// [`NARROW_REACH`] it keeps every sum within 32 bits.
pub(crate) const NARROW_HALF: u32 = 8_191;

/// How far from a block's centre a position may be along an axis for the narrow kernels: twice of it fits into 16
/// bits.
pub(crate) const NARROW_REACH: u32 = 16_383;

/// How far from a block's centre any member of the other block may be along an axis: with half a block it fits into
/// 16 bits.
pub(crate) const NARROW_SPAN: u32 = 24_500;

const _: () = assert!(NARROW_SPAN + NARROW_HALF <= i16::MAX as u32);

/// The members of a block, side by side for the vector units, whose words the arrays fill: aligned,
/// none of them spreads over more lines of the cache than it must. A slot keeps its member until the block is regrouped.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Block {
    /// x and z relative to `centre`, 16 bits each, x in the lower half. Of use only in a narrow block, like the two
    /// that follow.
    pub(crate) near_xz: [u32; SLOTS],
    /// The square of the distance from `centre`.
    pub(crate) near_square: [i32; SLOTS],
    /// y relative to `centre`.
    pub(crate) near_y: [i32; SLOTS],
    pub(crate) x: [i32; SLOTS],
    pub(crate) y: [i32; SLOTS],
    pub(crate) z: [i32; SLOTS],
    /// How far the member sees (of observers) or is seen (of subjects with an appeal), in AOI units.
    pub(crate) radius: [u32; SLOTS],
    /// The square of `radius`, and the greatest square at which somebody stays; both at most `i32::MAX`.
    pub(crate) enter2: [u32; SLOTS],
    pub(crate) leave2: [u32; SLOTS],
    pub(crate) id: [u32; SLOTS],
    /// As they were told in the last update; 0 for subjects that are seen by appeal, in the block that has them for
    /// their nearness by radius.
    pub(crate) layers: [u32; SLOTS],
    pub(crate) sees: [u32; SLOTS],
    /// Slots in use.
    pub(crate) members: u32,
    /// Observers that have manual interests.
    pub(crate) careful: u32,
    /// Observers whose edges of this update are told by comparing their views before and after.
    pub(crate) muted_observers: u32,
    /// The same for subjects.
    pub(crate) muted_subjects: u32,
    /// The least and the greatest coordinates of members; meaningless without any.
    pub(crate) low: [i32; 3],
    pub(crate) high: [i32; 3],
    pub(crate) centre: [i32; 3],
    /// Half the box's sides, rounded up.
    pub(crate) half: [u32; 3],
    /// The greatest of `half`.
    pub(crate) half_max: u32,
    /// The greatest of the box's sides.
    pub(crate) side_max: u32,
    pub(crate) radius_min: u32,
    pub(crate) radius_max: u32,
    pub(crate) enter2_min: u32,
    pub(crate) leave2_max: u32,
    /// Bits that the layers of all members have.
    pub(crate) layers_of_all: u32,
    /// Bits that all members see.
    pub(crate) seen_by_all: u32,
    /// Sum of the box's sides when the block was last put together.
    pub(crate) girth_at_start: u64,
}

/// What a member is, apart from where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: u32,
    pub(crate) position: [i32; 3],
    pub(crate) radius: u32,
    pub(crate) layers: u32,
    pub(crate) sees: u32,
    /// The slot at whose place the fields have its bits; [`NONE`] for a newcomer.
    pub(crate) origin: u32,
}

/// The greatest `d²` with `100 d² <= 121 enter`.
pub(crate) const fn leave2(enter2: u64) -> u64 {
    (enter2 as u128 * 121 / 100) as u64
}

pub(crate) const fn square(length: u32) -> u64 {
    length as u64 * length as u64
}

/// At most `i32::MAX`: the narrow kernels compare with sign.
fn narrow(square: u64) -> u32 {
    square.min(i32::MAX as u64) as u32
}

impl Block {
    pub(crate) const EMPTY: Self = Self {
        x: [0; SLOTS],
        y: [0; SLOTS],
        z: [0; SLOTS],
        near_xz: [0; SLOTS],
        near_y: [0; SLOTS],
        near_square: [0; SLOTS],
        radius: [0; SLOTS],
        enter2: [0; SLOTS],
        leave2: [0; SLOTS],
        id: [NONE; SLOTS],
        layers: [0; SLOTS],
        sees: [0; SLOTS],
        members: 0,
        careful: 0,
        muted_observers: 0,
        muted_subjects: 0,
        low: [0; 3],
        high: [0; 3],
        centre: [0; 3],
        half: [0; 3],
        half_max: 0,
        side_max: 0,
        radius_min: 0,
        radius_max: 0,
        enter2_min: 0,
        leave2_max: 0,
        layers_of_all: 0,
        seen_by_all: 0,
        girth_at_start: 0,
    };

    pub(crate) fn has(&self, at: u32) -> bool {
        self.members >> at & 1 != 0
    }

    pub(crate) fn position(&self, at: u32) -> [i32; 3] {
        [self.x[at as usize], self.y[at as usize], self.z[at as usize]]
    }

    /// The slots in use, ascending.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + use<> {
        bits(self.members.into())
    }

    pub(crate) fn member(&self, at: u32) -> Member {
        let i = at as usize;
        Member {
            id: self.id[i],
            position: self.position(at),
            radius: self.radius[i],
            layers: self.layers[i],
            sees: self.sees[i],
            origin: NONE,
        }
    }

    /// Puts a member into a slot that is free.
    pub(crate) fn put(&mut self, at: u32, member: &Member) {
        debug_assert!(!self.has(at), "two members in one slot");
        let i = at as usize;
        self.members |= 1 << at;
        self.id[i] = member.id;
        [self.x[i], self.y[i], self.z[i]] = member.position;
        self.layers[i] = member.layers;
        self.sees[i] = member.sees;
        self.set_radius(at, member.radius);
    }

    /// Frees a slot.
    pub(crate) fn take(&mut self, at: u32) {
        self.members &= !(1 << at);
        self.id[at as usize] = NONE;
    }

    /// Sets how far a member sees or is seen, at most [`RADIUS_MAX`]. Before the next look at the block it needs a [`Block::summarise`].
    pub(crate) fn set_radius(&mut self, at: u32, radius: u32) {
        let (i, radius) = (at as usize, radius.min(RADIUS_MAX));
        self.radius[i] = radius;
        self.enter2[i] = narrow(square(radius));
        self.leave2[i] = narrow(leave2(square(radius)));
    }

    /// Derives what is true of all members, apart from where they are.
    pub(crate) fn summarise(&mut self) {
        let slots = || bits(self.members.into()).map(|at| at as usize);
        let of_all = |values: &[u32; SLOTS]| slots().map(|i| values[i]).fold(u32::MAX, |all, one| all & one);
        let (layers, sees) = (of_all(&self.layers), of_all(&self.sees));
        let radius_min = slots().map(|i| self.radius[i]).min().unwrap_or(0);
        let radius_max = slots().map(|i| self.radius[i]).max().unwrap_or(0);
        self.layers_of_all = layers;
        self.seen_by_all = sees;
        self.radius_min = radius_min;
        self.radius_max = radius_max;
        self.enter2_min = narrow(square(radius_min));
        self.leave2_max = narrow(leave2(square(radius_max)));
    }

    /// Takes in where the members are now: the box, and their places relative to its centre.
    #[inline(always)]
    pub(crate) fn fit(&mut self) {
        let (mut low, mut high) = ([i32::MAX; 3], [i32::MIN; 3]);
        for (axis, values) in [&self.x, &self.y, &self.z].into_iter().enumerate() {
            for (i, &value) in values.iter().enumerate() {
                let is_member = self.members >> i & 1 != 0;
                low[axis] = low[axis].min(if is_member { value } else { i32::MAX });
                high[axis] = high[axis].max(if is_member { value } else { i32::MIN });
            }
        }
        self.low = low;
        self.high = high;
        if self.members == 0 {
            return;
        }
        for axis in 0..3 {
            let middle = (i64::from(low[axis]) + i64::from(high[axis])) >> 1;
            self.centre[axis] = middle as i32;
            self.half[axis] = high[axis].abs_diff(middle as i32);
        }
        self.half_max = self.half[0].max(self.half[1]).max(self.half[2]);
        self.side_max = (0..3).fold(0, |most, axis| most.max(high[axis].abs_diff(low[axis])));
        let [cx, cy, cz] = self.centre;
        for i in 0..SLOTS {
            let x = self.x[i].wrapping_sub(cx);
            let y = self.y[i].wrapping_sub(cy);
            let z = self.z[i].wrapping_sub(cz);
            self.near_xz[i] = (x & 0xffff) as u32 | (z as u32) << 16;
            self.near_y[i] = y;
            self.near_square[i] = x
                .wrapping_mul(x)
                .wrapping_add(y.wrapping_mul(y))
                .wrapping_add(z.wrapping_mul(z));
        }
    }

    /// Sum of the box's sides in AOI units.
    pub(crate) fn girth(&self) -> u64 {
        if self.members == 0 {
            return 0;
        }
        (0..3)
            .map(|axis| u64::from(self.high[axis].abs_diff(self.low[axis])))
            .sum()
    }

    pub(crate) fn float_box(&self) -> FloatBox {
        if self.members == 0 {
            FloatBox::EMPTY
        } else {
            FloatBox::around(self.low, self.high)
        }
    }
}
