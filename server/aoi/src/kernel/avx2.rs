//! The narrow kernel in 256-bit words: eight pairs by one instruction. There are no masks here, so that who comes in
//! and who stays are found apart and put together as bits.

use super::{Needs, Tile};
use crate::bits::bits;
use crate::block::{Block, SLOTS};
use std::arch::x86_64::*;

/// Eight values from an array of 32, one of its quarters.
macro_rules! quarter {
    ($array:expr, $quarter:expr) => {{
        let array: &[_; SLOTS] = &$array;
        // SAFETY: the array holds 32 values of 4 bytes, of which 8 from the quarter's first on are read.
        unsafe { _mm256_loadu_si256(array.as_ptr().add(8 * $quarter).cast()) }
    }};
}

#[target_feature(enable = "avx2")]
pub(super) fn update(
    rows: &Block,
    columns: &Block,
    needs: Needs,
    tile: &mut Tile,
    changes: &mut Tile,
) -> u32 {
    let limit = needs.dy_limit.unwrap_or((0, 0));
    match (needs.height, needs.dy_limit.is_some(), needs.appeal) {
        (false, _, false) => update_with::<false, false, false>(rows, columns, limit, tile, changes),
        (true, false, false) => update_with::<true, false, false>(rows, columns, limit, tile, changes),
        (true, true, false) => update_with::<true, true, false>(rows, columns, limit, tile, changes),
        (_, false, true) => update_with::<true, false, true>(rows, columns, limit, tile, changes),
        (_, true, true) => update_with::<true, true, true>(rows, columns, limit, tile, changes),
    }
}

/// What the rows are to the column block, and the right sides of their comparisons.
#[repr(C, align(32))]
struct Rows {
    /// Twice x and z relative to the centre, negated, 16 bits each.
    q_xz: [i32; SLOTS],
    /// Twice y relative to the centre, negated, in the lower 16 bits.
    q_y: [i32; SLOTS],
    y: [i32; SLOTS],
    square: [i32; SLOTS],
}

#[target_feature(enable = "avx2")]
fn update_with<const HEIGHT: bool, const DY: bool, const APPEAL: bool>(
    rows: &Block,
    columns: &Block,
    dy_limit: (u32, u32),
    tile: &mut Tile,
    changes: &mut Tile,
) -> u32 {
    let zero = _mm256_setzero_si256();
    let all = |value: i32| _mm256_set1_epi32(value);
    let limit = |limit: u32| _mm256_set1_epi32(limit.min(i32::MAX as u32) as i32);
    let (dy_enter, dy_leave) = (limit(dy_limit.0), limit(dy_limit.1));
    let word = |mask: __m256i| _mm256_movemask_ps(_mm256_castsi256_ps(mask)) as u32;
    let mut at = Rows {
        q_xz: [0; SLOTS],
        q_y: [0; SLOTS],
        y: [0; SLOTS],
        square: [0; SLOTS],
    };
    let (mut inside, mut outside) = (0_u32, 0_u32);
    for part in 0..4 {
        let relative = |values: &[i32; SLOTS], axis: usize| {
            _mm256_sub_epi32(quarter!(*values, part), all(columns.centre[axis]))
        };
        let (x, z) = (relative(&rows.x, 0), relative(&rows.z, 2));
        let y = if HEIGHT { relative(&rows.y, 1) } else { zero };
        let distances = |difference: __m256i, axis: usize| {
            let (apart, side) = (_mm256_abs_epi32(difference), all(columns.half[axis] as i32));
            (
                _mm256_max_epi32(_mm256_sub_epi32(apart, side), zero),
                _mm256_add_epi32(apart, side),
            )
        };
        // Two numbers of 16 bits in one lane, and the sum of the squares of two such.
        let pair = |low: __m256i, high: __m256i| _mm256_or_si256(low, _mm256_slli_epi32::<16>(high));
        let squares = |pair: __m256i| _mm256_madd_epi16(pair, pair);
        let low = all(0xffff);
        let ((x_least, x_most), (z_least, z_most)) = (distances(x, 0), distances(z, 2));
        let mut least2 = squares(pair(x_least, z_least));
        let mut most2 = squares(pair(x_most, z_most));
        let xz = pair(_mm256_and_si256(x, low), z);
        let mut square = squares(xz);
        let (dy_least, dy_most) = if HEIGHT { distances(y, 1) } else { (zero, zero) };
        if HEIGHT {
            least2 = _mm256_add_epi32(least2, squares(dy_least));
            most2 = _mm256_add_epi32(most2, squares(dy_most));
            square = _mm256_add_epi32(square, squares(_mm256_and_si256(y, low)));
        }
        let enter_all = _mm256_max_epu32(quarter!(rows.enter2, part), all(columns.enter2_min as i32));
        let leave_any = _mm256_max_epu32(quarter!(rows.leave2, part), all(columns.leave2_max as i32));
        // Without sign: a <= b if the lesser of the two is a.
        let mut is_inside = _mm256_cmpeq_epi32(_mm256_min_epu32(most2, enter_all), most2);
        let is_reached = _mm256_cmpeq_epi32(_mm256_min_epu32(least2, leave_any), least2);
        let mut is_outside = _mm256_xor_si256(is_reached, all(-1));
        if DY {
            is_inside = _mm256_andnot_si256(_mm256_cmpgt_epi32(dy_most, dy_enter), is_inside);
            is_outside = _mm256_or_si256(_mm256_cmpgt_epi32(dy_least, dy_leave), is_outside);
        }
        inside |= word(is_inside) << (8 * part);
        outside |= word(is_outside) << (8 * part);
        let minus_twice = |pair: __m256i| _mm256_sub_epi16(zero, _mm256_add_epi16(pair, pair));
        let put = |array: &mut [i32; SLOTS], value: __m256i| {
            // SAFETY: the array holds 32 values of 4 bytes, of which 8 from the quarter's first on are written.
            unsafe { _mm256_storeu_si256(array.as_mut_ptr().add(8 * part).cast(), value) };
        };
        put(&mut at.q_xz, minus_twice(xz));
        put(&mut at.square, square);
        if HEIGHT {
            put(&mut at.q_y, minus_twice(_mm256_and_si256(y, low)));
            put(&mut at.y, y);
        }
    }
    inside &= rows.members;
    let mixed = rows.members & !inside & !outside;

    let mut changed = 0;
    for r in bits((!mixed).into()) {
        let old = tile.0[r as usize];
        let new = if inside >> r & 1 != 0 { columns.members } else { 0 };
        tile.0[r as usize] = new;
        changes.0[r as usize] = old ^ new;
        changed |= u32::from(old != new) << r;
    }
    let squares = [
        quarter!(columns.near_square, 0),
        quarter!(columns.near_square, 1),
        quarter!(columns.near_square, 2),
        quarter!(columns.near_square, 3),
    ];
    let places = [
        quarter!(columns.near_xz, 0),
        quarter!(columns.near_xz, 1),
        quarter!(columns.near_xz, 2),
        quarter!(columns.near_xz, 3),
    ];
    for r in bits(mixed.into()) {
        let i = r as usize;
        let old = tile.0[i];
        let (q_xz, q_y) = (all(at.q_xz[i]), all(at.q_y[i]));
        let (row_enter, row_leave) = (rows.enter2[i] as i32, rows.leave2[i] as i32);
        let enter = all(row_enter.wrapping_sub(at.square[i]));
        let leave = all(row_leave.wrapping_sub(at.square[i]));
        let (mut beyond_enter, mut beyond_leave) = (0_u32, 0_u32);
        for part in 0..4 {
            let mut sum = _mm256_add_epi32(squares[part], _mm256_madd_epi16(places[part], q_xz));
            if HEIGHT {
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(quarter!(columns.near_y, part), q_y));
            }
            let (mut enter, mut leave) = (enter, leave);
            if APPEAL {
                let farther = |own: i32, others: __m256i| {
                    _mm256_sub_epi32(_mm256_max_epi32(all(own), others), all(at.square[i]))
                };
                enter = farther(row_enter, quarter!(columns.enter2, part));
                leave = farther(row_leave, quarter!(columns.leave2, part));
            }
            let mut beyond = _mm256_cmpgt_epi32(sum, enter);
            let mut gone = _mm256_cmpgt_epi32(sum, leave);
            if DY {
                let dy = _mm256_abs_epi32(_mm256_sub_epi32(quarter!(columns.near_y, part), all(at.y[i])));
                beyond = _mm256_or_si256(beyond, _mm256_cmpgt_epi32(dy, dy_enter));
                gone = _mm256_or_si256(gone, _mm256_cmpgt_epi32(dy, dy_leave));
            }
            beyond_enter |= word(beyond) << (8 * part);
            beyond_leave |= word(gone) << (8 * part);
        }
        let new = (!beyond_enter | !beyond_leave & old) & columns.members;
        tile.0[i] = new;
        changes.0[i] = old ^ new;
        changed |= u32::from(old != new) << r;
    }
    changed
}
