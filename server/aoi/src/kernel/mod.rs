//! The innermost loops: the 32 x 32 pairs of two blocks, who is near whom.
//!
//! A tile is 32 words: bit `c` of word `r` says that slot `c` of the column block is near slot `r` of the row block.
//! Bits of slots without members are 0. A kernel brings a tile up to date and says which bits changed.
//!
//! *Narrow* kernels take 16-bit differences from the column block's centre `o` and never form a difference between
//! two members: `|p - q|² <= R²` is `|q|² - 2 p·q <= R² - |p|²` with all places relative to `o`. The left side is one
//! multiply-add per pair onto a sum known per column, the right side one number per row. Before that, rows that are
//! wholly within reach of the column block's box, or wholly out of it, are dealt with by their distance from the box.
//! The *wide* kernel takes what does not fit: radii, blocks or differences beyond some 500 m.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod wide;

use crate::bits::bits;
use crate::block::{Block, NARROW_HALF, NARROW_REACH, NARROW_SPAN, SLOTS};
use crate::types::Kernel;

/// The nearness of 32 x 32 pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [u32; SLOTS]);

impl Tile {
    pub(crate) const EMPTY: Self = Self([0; SLOTS]);

    /// Nobody is near anybody.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// Everybody is near everybody.
    pub(crate) fn full(rows: u32, columns: u32) -> Self {
        let mut tile = Self::EMPTY;
        for (r, word) in tile.0.iter_mut().enumerate() {
            *word = if rows >> r & 1 != 0 { columns } else { 0 };
        }
        tile
    }
}

/// The limits of a difference in height, to come in and to stay, in AOI units.
pub(crate) type DyLimit = Option<(u32, u32)>;

/// Brings `tile` up to date, of two blocks whose boxes are within reach of each other, and puts the bits that changed into `changes`, of which the rows that are told have a
/// meaning. Returns the rows with changes.
#[inline]
pub(crate) fn update(
    kernel: Kernel,
    rows: &Block,
    columns: &Block,
    dy_limit: DyLimit,
    tile: &mut Tile,
    changes: &mut Tile,
) -> u32 {
    let Some(needs) = needs(rows, columns, dy_limit) else {
        return wide::update(kernel, rows, columns, dy_limit, tile, changes);
    };
    match kernel {
        // SAFETY: an engine takes no kernel that the machine lacks.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => unsafe { avx512::update(rows, columns, needs, tile, changes) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => unsafe { avx2::update(rows, columns, needs, tile, changes) },
        _ => portable::update(rows, columns, needs, tile, changes),
    }
}

/// What a pair of blocks needs apart from the distance on the ground.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Some member is higher or lower than some other.
    height: bool,
    /// The limits of the difference in height, if they can matter.
    dy_limit: DyLimit,
    /// Some column is seen from further than some row sees.
    appeal: bool,
}

/// What the narrow kernels need for two blocks, some of whose members may be near each other; `None` if they can't do
/// with them.
#[inline]
fn needs(rows: &Block, columns: &Block, dy_limit: DyLimit) -> Option<Needs> {
    let reach = leave_reach(rows.radius_max.max(columns.radius_max));
    let beyond = reach.saturating_add(columns.half_max);
    // The blocks' boxes are no farther from each other than they reach.
    let is_narrow = columns.half_max <= NARROW_HALF
        && beyond <= NARROW_REACH
        && beyond.saturating_add(rows.side_max) <= NARROW_SPAN;
    let is_flat = rows.low[1] == rows.high[1] && columns.half[1] == 0 && columns.centre[1] == rows.low[1];
    is_narrow.then(|| Needs {
        height: !is_flat,
        dy_limit: dy_limit.filter(|_| !is_flat),
        appeal: columns.radius_max > rows.radius_min,
    })
}

/// At least 1.1 times `radius`.
#[inline]
fn leave_reach(radius: u32) -> u32 {
    radius.saturating_add(radius / 10).saturating_add(1)
}

/// Makes a tile full or empty, as [`update`] does.
pub(crate) fn settle(tile: &mut Tile, full: &Tile, changes: &mut Tile) -> u32 {
    let mut changed = 0;
    for r in 0..SLOTS {
        let change = tile.0[r] ^ full.0[r];
        changes.0[r] = change;
        changed |= u32::from(change != 0) << r;
    }
    *tile = *full;
    changed
}

/// Asks the memory for a value that will be needed soon.
#[inline]
fn fetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Asks for a tile that will be needed soon.
#[inline]
pub(crate) fn prefetch_tile(tile: &Tile) {
    fetch(&tile.0[0]);
    fetch(&tile.0[SLOTS / 2]);
}

/// Asks for what [`update`] reads of a column block first.
#[inline]
pub(crate) fn prefetch_columns(columns: &Block) {
    fetch(&columns.members);
    fetch(&columns.half_max);
    for first in [0, SLOTS / 2] {
        fetch(&columns.near_xz[first]);
        fetch(&columns.near_square[first]);
    }
}

/// Asks for the places of a block's members, by id.
#[inline]
pub(crate) fn prefetch_places(block: &Block, positions: &[[i32; 3]]) {
    for at in bits(block.members.into()) {
        if let Some(position) = positions.get(block.id[at as usize] as usize) {
            fetch(position);
        }
    }
}

#[cfg(test)]
mod tests;
