//! For radii, blocks and differences of any size: 64-bit squares of clamped differences.

use super::{DyLimit, Tile};
use crate::bits::bits;
use crate::block::{Block, SLOTS, leave2, square};
use crate::types::{Kernel, RADIUS_MAX};

/// A difference along one axis counts as at most this. Three squares of it fit into a `u64`, and one square is
/// beyond every limit, so that a clamped difference is as far out as the true one.
const DIFFERENCE_MAX: u32 = i32::MAX as u32;

const _: () = assert!(leave2(square(RADIUS_MAX)) < square(DIFFERENCE_MAX));

#[inline]
pub(super) fn update(
    kernel: Kernel,
    rows: &Block,
    columns: &Block,
    dy_limit: DyLimit,
    tile: &mut Tile,
    changes: &mut Tile,
) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn update_avx2(
            rows: &Block,
            columns: &Block,
            dy_limit: DyLimit,
            tile: &mut Tile,
            changes: &mut Tile,
        ) -> u32 {
            update_with(rows, columns, dy_limit, tile, changes)
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn update_avx512(
            rows: &Block,
            columns: &Block,
            dy_limit: DyLimit,
            tile: &mut Tile,
            changes: &mut Tile,
        ) -> u32 {
            update_with(rows, columns, dy_limit, tile, changes)
        }
        match kernel {
            // SAFETY: an engine takes no kernel that the machine lacks.
            Kernel::Avx512 => return unsafe { update_avx512(rows, columns, dy_limit, tile, changes) },
            // SAFETY: as above.
            Kernel::Avx2 => return unsafe { update_avx2(rows, columns, dy_limit, tile, changes) },
            Kernel::Portable => {}
        }
    }
    let _ = kernel;
    update_with(rows, columns, dy_limit, tile, changes)
}

#[inline(always)]
fn update_with(rows: &Block, columns: &Block, dy_limit: DyLimit, tile: &mut Tile, changes: &mut Tile) -> u32 {
    let (dy_enter, dy_leave) = dy_limit.unwrap_or((u32::MAX, u32::MAX));
    let enter2: [u64; SLOTS] = std::array::from_fn(|c| square(columns.radius[c]));
    let leave2s: [u64; SLOTS] = std::array::from_fn(|c| leave2(enter2[c]));
    let mut changed = 0;
    for r in bits(rows.members.into()) {
        let [x, y, z] = rows.position(r);
        let row_enter2 = square(rows.radius[r as usize]);
        let row_leave2 = leave2(row_enter2);
        let (mut enters, mut stays) = (0_u32, 0_u32);
        for c in 0..SLOTS {
            let dx = x.abs_diff(columns.x[c]);
            let dy = y.abs_diff(columns.y[c]);
            let dz = z.abs_diff(columns.z[c]);
            let clamped = |difference: u32| square(difference.min(DIFFERENCE_MAX));
            let distance2 = clamped(dx) + clamped(dy) + clamped(dz);
            let enter = (distance2 <= enter2[c].max(row_enter2)) & (dy <= dy_enter);
            let stay = (distance2 <= leave2s[c].max(row_leave2)) & (dy <= dy_leave);
            enters |= u32::from(enter) << c;
            stays |= u32::from(stay) << c;
        }
        let old = tile.0[r as usize];
        let new = (enters | stays & old) & columns.members;
        tile.0[r as usize] = new;
        changes.0[r as usize] = old ^ new;
        changed |= u32::from(old != new) << r;
    }
    changed
}
