//! Boxes around blocks, and which of 64 boxes are wholly within reach of another, partly, or not at all.
//!
//! The boxes are `f32`, rounded outwards, so that the answer errs only towards "partly": exact for coordinates
//! below 2^24, and never wrong beyond. Who is in view is decided by integers, in the kernels.

use crate::types::Kernel;

/// Boxes per chunk: the bits of a word.
pub(crate) const CHUNK: usize = 64;

/// More than the relative error of a sum of three squares of differences, in `f32`.
const SLACK: f32 = 2e-6;

/// Boxes in chunks of 64, side by side for the vector units.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    chunks: Vec<Boxes>,
}

/// One chunk. A box without anybody reaches from infinity to minus infinity.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Boxes {
    low: [[f32; CHUNK]; 3],
    high: [[f32; CHUNK]; 3],
    /// Everybody in the box is seen from this far at least, whoever looks (appeal).
    enter: [f32; CHUNK],
    /// Nobody in the box stays in view beyond this by appeal.
    leave: [f32; CHUNK],
}

/// One box, and how far its members see: what 64 boxes are held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) low: [f32; 3],
    pub(crate) high: [f32; 3],
    /// All members see at least this far.
    pub(crate) enter: f32,
    /// No member keeps anybody in view beyond this.
    pub(crate) leave: f32,
    /// The limit of height to come in, and to stay; infinite if there is none.
    pub(crate) dy_enter: f32,
    pub(crate) dy_leave: f32,
}

/// The box of some coordinates, rounded outwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FloatBox {
    pub(crate) low: [f32; 3],
    pub(crate) high: [f32; 3],
}

impl FloatBox {
    pub(crate) const EMPTY: Self = Self {
        low: [f32::INFINITY; 3],
        high: [f32::NEG_INFINITY; 3],
    };

    pub(crate) fn around(low: [i32; 3], high: [i32; 3]) -> Self {
        Self {
            low: low.map(below),
            high: high.map(above),
        }
    }

    pub(crate) fn unite(&mut self, other: &Self) {
        for axis in 0..3 {
            self.low[axis] = self.low[axis].min(other.low[axis]);
            self.high[axis] = self.high[axis].max(other.high[axis]);
        }
    }
}

/// The greatest `f32` that is not above an integer.
pub(crate) fn below(value: i32) -> f32 {
    let float = value as f32;
    if float as i64 > i64::from(value) {
        float.next_down()
    } else {
        float
    }
}

/// The least `f32` that is not below an integer.
pub(crate) fn above(value: i32) -> f32 {
    let float = value as f32;
    if (float as i64) < i64::from(value) {
        float.next_up()
    } else {
        float
    }
}

/// A distance that is not above `radius`.
pub(crate) fn enter_reach(radius: u32) -> f32 {
    radius as f32 * (1.0 - SLACK)
}

/// A distance that is not below 1.1 times `radius`.
pub(crate) fn leave_reach(radius: u32) -> f32 {
    radius as f32 * (1.1 * (1.0 + SLACK))
}

impl Boxes {
    const EMPTY: Self = Self {
        low: [[f32::INFINITY; CHUNK]; 3],
        high: [[f32::NEG_INFINITY; CHUNK]; 3],
        enter: [0.0; CHUNK],
        leave: [0.0; CHUNK],
    };

    /// Which boxes are wholly within reach of the probe, and which are not wholly out of reach.
    #[inline(always)]
    fn classify_with(&self, probe: &Probe) -> (u64, u64) {
        let (mut inside, mut near) = (0_u64, 0_u64);
        for i in 0..CHUNK {
            let (least, most, dy_least, dy_most) = self.distances(probe, i);
            let enter = probe.enter.max(self.enter[i]);
            let leave = probe.leave.max(self.leave[i]);
            let is_inside = (most <= enter * enter) & (dy_most <= probe.dy_enter);
            let is_near = (least <= leave * leave) & (dy_least <= probe.dy_leave);
            inside |= u64::from(is_inside) << i;
            near |= u64::from(is_near) << i;
        }
        (inside & near, near)
    }

    /// Squares of the least and the greatest distance between members of two boxes, and their differences in height.
    #[inline(always)]
    fn distances(&self, probe: &Probe, i: usize) -> (f32, f32, f32, f32) {
        let (mut least, mut most) = ([0.0; 3], [0.0; 3]);
        for axis in 0..3 {
            let beyond = self.low[axis][i] - probe.high[axis];
            let before = probe.low[axis] - self.high[axis][i];
            least[axis] = beyond.max(before).max(0.0);
            most[axis] = (-beyond).max(-before);
        }
        let square = |d: [f32; 3]| d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        (
            square(least) * (1.0 - SLACK),
            square(most) * (1.0 + SLACK),
            least[1],
            most[1],
        )
    }
}

/// The same in the words of the vector units.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Boxes, CHUNK, Probe, SLACK};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub(super) fn classify_avx2(boxes: &Boxes, probe: &Probe) -> (u64, u64) {
        boxes.classify_with(probe)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn classify_avx512(boxes: &Boxes, probe: &Probe) -> (u64, u64) {
        let (mut inside, mut near) = (0_u64, 0_u64);
        let zero = _mm512_setzero_ps();
        for first in (0..CHUNK).step_by(16) {
            // SAFETY: every array holds 64 values, of which 16 from `first` on are read.
            let load = |values: &[f32; CHUNK]| unsafe { _mm512_loadu_ps(values[first..].as_ptr()) };
            let (mut least, mut most) = ([zero; 3], [zero; 3]);
            for axis in 0..3 {
                let beyond = _mm512_sub_ps(load(&boxes.low[axis]), _mm512_set1_ps(probe.high[axis]));
                let before = _mm512_sub_ps(_mm512_set1_ps(probe.low[axis]), load(&boxes.high[axis]));
                least[axis] = _mm512_max_ps(_mm512_max_ps(beyond, before), zero);
                most[axis] = _mm512_sub_ps(zero, _mm512_min_ps(beyond, before));
            }
            // Not fused, so that all kernels round alike: the order of events depends on who is mixed.
            let square = |d: [__m512; 3]| {
                let [x, y, z] = d.map(|d| _mm512_mul_ps(d, d));
                _mm512_add_ps(_mm512_add_ps(x, y), z)
            };
            let enter = _mm512_max_ps(_mm512_set1_ps(probe.enter), load(&boxes.enter));
            let leave = _mm512_max_ps(_mm512_set1_ps(probe.leave), load(&boxes.leave));
            let least2 = _mm512_mul_ps(square(least), _mm512_set1_ps(1.0 - SLACK));
            let most2 = _mm512_mul_ps(square(most), _mm512_set1_ps(1.0 + SLACK));
            let is_inside = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(most2, _mm512_mul_ps(enter, enter))
                & _mm512_cmp_ps_mask::<_CMP_LE_OQ>(most[1], _mm512_set1_ps(probe.dy_enter));
            let is_near = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(least2, _mm512_mul_ps(leave, leave))
                & _mm512_cmp_ps_mask::<_CMP_LE_OQ>(least[1], _mm512_set1_ps(probe.dy_leave));
            inside |= u64::from(is_inside) << first;
            near |= u64::from(is_near) << first;
        }
        (inside & near, near)
    }
}

impl Bounds {
    /// Makes room for `blocks` boxes; new ones are empty.
    pub(crate) fn resize(&mut self, blocks: usize) {
        self.chunks.resize(blocks.div_ceil(CHUNK), Boxes::EMPTY);
    }

    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) fn get(&self, index: usize) -> FloatBox {
        let (boxes, i) = (&self.chunks[index / CHUNK], index % CHUNK);
        FloatBox {
            low: [0, 1, 2].map(|axis| boxes.low[axis][i]),
            high: [0, 1, 2].map(|axis| boxes.high[axis][i]),
        }
    }

    /// Sets a box, and how far its members are seen by appeal.
    pub(crate) fn set(&mut self, index: usize, bounds: &FloatBox, enter: f32, leave: f32) {
        let (boxes, i) = (&mut self.chunks[index / CHUNK], index % CHUNK);
        for axis in 0..3 {
            boxes.low[axis][i] = bounds.low[axis];
            boxes.high[axis][i] = bounds.high[axis];
        }
        boxes.enter[i] = enter;
        boxes.leave[i] = leave;
    }

    /// The box around a chunk's boxes, and the farthest reach of any.
    pub(crate) fn unite(&self, chunk: usize) -> (FloatBox, f32) {
        let boxes = &self.chunks[chunk];
        let mut all = FloatBox::EMPTY;
        for axis in 0..3 {
            all.low[axis] = boxes.low[axis].iter().copied().fold(f32::INFINITY, f32::min);
            all.high[axis] = boxes.high[axis].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        }
        (all, boxes.leave.iter().copied().fold(0.0, f32::max))
    }

    /// Of a chunk's 64 boxes, those wholly within the probe's reach, and those not wholly out of it. Symmetric: who
    /// probes and who is probed makes no difference, if both reach equally far.
    #[inline]
    pub(crate) fn classify(&self, kernel: Kernel, chunk: usize, probe: &Probe) -> (u64, u64) {
        let boxes = &self.chunks[chunk];
        match kernel {
            // SAFETY: an engine takes no kernel that the machine lacks.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::classify_avx512(boxes, probe) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::classify_avx2(boxes, probe) },
            _ => boxes.classify_with(probe),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Boxes>()
    }
}
