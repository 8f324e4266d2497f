//! The narrow kernel in 512-bit words: 16 pairs by one instruction.

use super::{Needs, Tile};
use crate::block::{Block, SLOTS};
use std::arch::x86_64::*;

/// Sixteen values from an array of 32, the first or the second half.
macro_rules! half {
    ($array:expr, $half:expr) => {{
        let array: &[_; SLOTS] = &$array;
        // SAFETY: the array holds 32 values of 4 bytes, of which 16 from the half's first on are read.
        unsafe { _mm512_loadu_si512(array.as_ptr().add(16 * $half).cast()) }
    }};
}

/// What the rows are to the column block, and the right sides of their comparisons.
#[repr(C, align(64))]
struct Rows {
    /// Twice x and z relative to the centre, negated, 16 bits each.
    q_xz: [i32; SLOTS],
    /// Twice y relative to the centre, negated, in the lower 16 bits.
    q_y: [i32; SLOTS],
    y: [i32; SLOTS],
    square: [i32; SLOTS],
    enter: [i32; SLOTS],
    leave: [i32; SLOTS],
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn update(
    rows: &Block,
    columns: &Block,
    needs: Needs,
    tile: &mut Tile,
    changes: &mut Tile,
) -> u32 {
    match (needs.height, needs.dy_limit, needs.appeal) {
        (false, _, false) => update_with::<false, false, false>(rows, columns, (0, 0), tile, changes),
        (true, None, false) => update_with::<true, false, false>(rows, columns, (0, 0), tile, changes),
        (true, Some(limit), false) => update_with::<true, true, false>(rows, columns, limit, tile, changes),
        (_, None, true) => update_with::<true, false, true>(rows, columns, (0, 0), tile, changes),
        (_, Some(limit), true) => update_with::<true, true, true>(rows, columns, limit, tile, changes),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn update_with<const HEIGHT: bool, const DY: bool, const APPEAL: bool>(
    rows: &Block,
    columns: &Block,
    dy_limit: (u32, u32),
    tile: &mut Tile,
    changes: &mut Tile,
) -> u32 {
    let zero = _mm512_setzero_si512();
    let dy_enter = _mm512_set1_epi32(dy_limit.0.min(i32::MAX as u32) as i32);
    let dy_leave = _mm512_set1_epi32(dy_limit.1.min(i32::MAX as u32) as i32);
    let column_members = _mm512_set1_epi32(columns.members as i32);
    let mut at = std::mem::MaybeUninit::<Rows>::uninit();
    let at = at.as_mut_ptr();
    let (mut mixed, mut changed) = (0_u32, 0_u32);

    for half in 0..2 {
        let members = (rows.members >> (16 * half)) as u16;
        let relative = |values: &[i32; SLOTS], axis: usize| {
            _mm512_sub_epi32(half!(*values, half), _mm512_set1_epi32(columns.centre[axis]))
        };
        let (x, z) = (relative(&rows.x, 0), relative(&rows.z, 2));
        let y = if HEIGHT { relative(&rows.y, 1) } else { zero };
        let distances = |difference: __m512i, axis: usize| {
            let (apart, side) = (
                _mm512_abs_epi32(difference),
                _mm512_set1_epi32(columns.half[axis] as i32),
            );
            (
                _mm512_max_epi32(_mm512_sub_epi32(apart, side), zero),
                _mm512_add_epi32(apart, side),
            )
        };
        // Two numbers of 16 bits in one lane, and the sum of the squares of two such.
        let pair = |low: __m512i, high: __m512i| _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
        let squares = |pair: __m512i| _mm512_madd_epi16(pair, pair);
        let low = _mm512_set1_epi32(0xffff);
        let ((x_least, x_most), (z_least, z_most)) = (distances(x, 0), distances(z, 2));
        let mut least2 = squares(pair(x_least, z_least));
        let mut most2 = squares(pair(x_most, z_most));
        let xz = pair(_mm512_and_si512(x, low), z);
        let mut square = squares(xz);
        let (dy_least, dy_most) = if HEIGHT { distances(y, 1) } else { (zero, zero) };
        if HEIGHT {
            least2 = _mm512_add_epi32(least2, squares(dy_least));
            most2 = _mm512_add_epi32(most2, squares(dy_most));
            square = _mm512_add_epi32(square, squares(_mm512_and_si512(y, low)));
        }
        let (enter2, leave2) = (half!(rows.enter2, half), half!(rows.leave2, half));
        let (mut enter_all, mut leave_any) = (enter2, leave2);
        if APPEAL {
            enter_all = _mm512_max_epu32(enter2, _mm512_set1_epi32(columns.enter2_min as i32));
            leave_any = _mm512_max_epu32(leave2, _mm512_set1_epi32(columns.leave2_max as i32));
        }
        let mut inside = _mm512_cmple_epu32_mask(most2, enter_all);
        let mut outside = _mm512_cmpgt_epu32_mask(least2, leave_any);
        if DY {
            inside &= _mm512_cmple_epi32_mask(dy_most, dy_enter);
            outside |= _mm512_cmpgt_epi32_mask(dy_least, dy_leave);
        }
        inside &= members;
        outside |= !members;
        let settled = inside | outside;
        mixed |= u32::from(!settled) << (16 * half);

        let old = half!(tile.0, half);
        let new = _mm512_maskz_mov_epi32(inside, column_members);
        let difference = _mm512_maskz_xor_epi32(settled, old, new);
        changed |= u32::from(_mm512_test_epi32_mask(difference, difference)) << (16 * half);
        let minus_twice = |pair: __m512i| _mm512_sub_epi16(zero, _mm512_add_epi16(pair, pair));
        // SAFETY: the arrays hold 32 values of 4 bytes, of which 16 from the half's first on are written. Of `at`
        // no reference is made, and every field is written here before it is read below.
        unsafe {
            let put =
                |array: *mut i32, value: __m512i| _mm512_storeu_si512(array.add(16 * half).cast(), value);
            put(changes.0.as_mut_ptr().cast(), difference);
            put(
                tile.0.as_mut_ptr().cast(),
                _mm512_mask_mov_epi32(old, settled, new),
            );
            put((&raw mut (*at).q_xz).cast(), minus_twice(xz));
            if HEIGHT {
                put((&raw mut (*at).q_y).cast(), minus_twice(_mm512_and_si512(y, low)));
                put((&raw mut (*at).y).cast(), y);
            }
            if APPEAL {
                put((&raw mut (*at).square).cast(), square);
                put((&raw mut (*at).enter).cast(), enter2);
                put((&raw mut (*at).leave).cast(), leave2);
            } else {
                put((&raw mut (*at).enter).cast(), _mm512_sub_epi32(enter2, square));
                put((&raw mut (*at).leave).cast(), _mm512_sub_epi32(leave2, square));
            }
        }
    }

    let squares = [half!(columns.near_square, 0), half!(columns.near_square, 1)];
    let places = [half!(columns.near_xz, 0), half!(columns.near_xz, 1)];
    let heights = if HEIGHT {
        [half!(columns.near_y, 0), half!(columns.near_y, 1)]
    } else {
        [zero; 2]
    };
    let appeals = if APPEAL {
        [0, 1].map(|half| (half!(columns.enter2, half), half!(columns.leave2, half)))
    } else {
        [(zero, zero); 2]
    };
    while mixed != 0 {
        let r = mixed.trailing_zeros() as usize;
        let row = mixed & mixed.wrapping_neg();
        mixed &= mixed - 1;
        let old = tile.0[r];
        // SAFETY: the fields were written above, those of heights and squares if and only if they are used here.
        let (q_xz, q_y, y, square, enter, leave) = unsafe {
            let get = |array: *const i32| _mm512_set1_epi32(*array.add(r));
            (
                get((&raw const (*at).q_xz).cast()),
                if HEIGHT {
                    get((&raw const (*at).q_y).cast())
                } else {
                    zero
                },
                if DY {
                    get((&raw const (*at).y).cast())
                } else {
                    zero
                },
                if APPEAL {
                    get((&raw const (*at).square).cast())
                } else {
                    zero
                },
                get((&raw const (*at).enter).cast()),
                get((&raw const (*at).leave).cast()),
            )
        };
        let mut new = 0;
        for half in 0..2 {
            let old = (old >> (16 * half)) as u16;
            let mut sum = _mm512_dpwssd_epi32(squares[half], places[half], q_xz);
            if HEIGHT {
                sum = _mm512_dpwssd_epi32(sum, heights[half], q_y);
            }
            let (mut enter, mut leave) = (enter, leave);
            if APPEAL {
                enter = _mm512_sub_epi32(_mm512_max_epu32(enter, appeals[half].0), square);
                leave = _mm512_sub_epi32(_mm512_max_epu32(leave, appeals[half].1), square);
            }
            let limit = _mm512_mask_mov_epi32(enter, old, leave);
            let mut near = _mm512_cmple_epi32_mask(sum, limit);
            if DY {
                let dy = _mm512_abs_epi32(_mm512_sub_epi32(heights[half], y));
                let limit = _mm512_mask_mov_epi32(dy_enter, old, dy_leave);
                near = _mm512_mask_cmple_epi32_mask(near, dy, limit);
            }
            new |= u32::from(near) << (16 * half);
        }
        new &= columns.members;
        let change = old ^ new;
        tile.0[r] = new;
        changes.0[r] = change;
        changed |= if change != 0 { row } else { 0 };
    }
    changed
}
