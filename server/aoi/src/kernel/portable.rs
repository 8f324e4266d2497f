//! The narrow kernel without any vector instruction of its own, in loops that compilers turn into such.

use super::{Needs, Tile};
use crate::bits::bits;
use crate::block::{Block, SLOTS};

/// The column block's places relative to its centre.
struct Places {
    x: [i16; SLOTS],
    y: [i16; SLOTS],
    z: [i16; SLOTS],
}

#[expect(
    clippy::needless_range_loop,
    reason = "several arrays by one index, in loops for the vectoriser"
)]
pub(super) fn update(
    rows: &Block,
    columns: &Block,
    needs: Needs,
    tile: &mut Tile,
    changes: &mut Tile,
) -> u32 {
    let (dy_enter, dy_leave) = needs.dy_limit.unwrap_or((u32::MAX, u32::MAX));
    let mut places = Places {
        x: [0; SLOTS],
        y: [0; SLOTS],
        z: [0; SLOTS],
    };
    for c in 0..SLOTS {
        places.x[c] = columns.near_xz[c] as i16;
        places.y[c] = columns.near_y[c] as i16;
        places.z[c] = (columns.near_xz[c] >> 16) as i16;
    }
    let mut changed = 0;
    for r in bits(rows.members.into()) {
        let i = r as usize;
        let relative = [0, 1, 2].map(|axis| rows.position(r)[axis].wrapping_sub(columns.centre[axis]));
        let (enter2, leave2) = (rows.enter2[i], rows.leave2[i]);
        let (mut least2, mut most2) = (0_u32, 0_u32);
        for axis in 0..3 {
            let apart = relative[axis].unsigned_abs();
            let least = apart.saturating_sub(columns.half[axis]);
            let most = apart + columns.half[axis];
            least2 += least * least;
            most2 += most * most;
        }
        let dy = relative[1].unsigned_abs();
        let is_inside = most2 <= enter2.max(columns.enter2_min) && dy + columns.half[1] <= dy_enter;
        let is_outside =
            least2 > leave2.max(columns.leave2_max) || dy.saturating_sub(columns.half[1]) > dy_leave;
        let old = tile.0[i];
        let new = if is_inside {
            columns.members
        } else if is_outside {
            0
        } else {
            let (mut enters, mut stays) = within(columns, &places, relative, enter2, leave2, needs.appeal);
            if needs.dy_limit.is_some() {
                for c in 0..SLOTS {
                    let dy = relative[1].wrapping_sub(columns.near_y[c]).unsigned_abs();
                    enters &= !(u32::from(dy > dy_enter) << c);
                    stays &= !(u32::from(dy > dy_leave) << c);
                }
            }
            (enters | stays & old) & columns.members
        };
        tile.0[i] = new;
        changes.0[i] = old ^ new;
        changed |= u32::from(old != new) << r;
    }
    changed
}

/// Who is near enough to a row to come in, and to stay, by distance alone.
#[expect(
    clippy::needless_range_loop,
    reason = "several arrays by one index, in loops for the vectoriser"
)]
#[inline]
fn within(
    columns: &Block,
    places: &Places,
    relative: [i32; 3],
    enter2: u32,
    leave2: u32,
    appeal: bool,
) -> (u32, u32) {
    let square = relative
        .map(|difference| difference * difference)
        .iter()
        .sum::<i32>();
    let [qx, qy, qz] = relative.map(|difference| (-2 * difference) as i16);
    let mut distance2 = [0_i32; SLOTS];
    for c in 0..SLOTS {
        // Slots without members have places of any kind.
        distance2[c] = columns.near_square[c]
            .wrapping_add(square)
            .wrapping_add(i32::from(qx) * i32::from(places.x[c]))
            .wrapping_add(i32::from(qz) * i32::from(places.z[c]))
            .wrapping_add(i32::from(qy) * i32::from(places.y[c]));
    }
    let (mut enters, mut stays) = ([0_u8; SLOTS], [0_u8; SLOTS]);
    if appeal {
        for c in 0..SLOTS {
            enters[c] = u8::from(distance2[c] <= enter2.max(columns.enter2[c]) as i32);
            stays[c] = u8::from(distance2[c] <= leave2.max(columns.leave2[c]) as i32);
        }
    } else {
        for c in 0..SLOTS {
            enters[c] = u8::from(distance2[c] <= enter2 as i32);
            stays[c] = u8::from(distance2[c] <= leave2 as i32);
        }
    }
    (pack(&enters), pack(&stays))
}

/// Bytes of 0 or 1 as bits, eight at a time: the product brings the eight into its upper byte.
#[inline]
fn pack(flags: &[u8; SLOTS]) -> u32 {
    let mut word = 0;
    for (eight, first) in flags.chunks_exact(8).zip((0..).step_by(8)) {
        let bytes = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
        word |= ((bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32) << first;
    }
    word
}
