//! Writing a track: its deltas and keyframes. Their layout stands in [`super`].

use super::motions::BLOCK;
use super::telling::{Prophet, aside_in, climb, expected, learn};
use super::{
    AXES, HAS_JOINS, HAS_LEAVES, HAS_STATES, Join, Motion, Name, SHORT_BITS, SHORT_ONES, TRACK_MEMBERS_MAX,
    Track, zigzag,
};
use crate::Tick;
use crate::bits::{BitWriter, ShortParts, put_varint, put_zigzag};
use crate::id::Slot;

impl Track {
    /// Writes what changes in `tick` and takes it into account, so that writer and readers stay equal: `leaves`, then
    /// `joins`, then, if `cells` is given, where everybody is. Appends the record to `out`.
    ///
    /// `leaves` and `joins` ascend by slot; `cells` are those of all members after leaves and joins, in the order of
    /// slots. A slot may leave and join in the same tick, as another life. Who was told exactly 65,536 ticks ago is passed
    /// over until the next telling, since ticks are kept in 16 bits.
    ///
    /// # Panics
    /// If who leaves is not a member or who joins is one, the track would have more than [`TRACK_MEMBERS_MAX`] members,
    /// a cell is farther than [`CELL_OFFSET_MAX`] from the origin, or `cells` are not as many as members.
    pub fn tell(
        &mut self,
        tick: Tick,
        leaves: &[Slot],
        joins: &[Join],
        cells: Option<&[[i32; 3]]>,
        out: &mut Vec<u8>,
    ) {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        out.push(
            flag(!leaves.is_empty(), HAS_LEAVES)
                | flag(!joins.is_empty(), HAS_JOINS)
                | flag(cells.is_some(), HAS_STATES),
        );
        let mut bits = BitWriter::new(out);
        if !leaves.is_empty() {
            self.tell_leaves(leaves, &mut bits);
        }
        if !joins.is_empty() {
            self.tell_joins(tick, joins, &mut bits);
        }
        if let Some(cells) = cells {
            self.tell_states(tick, cells, &mut bits);
        }
        bits.finish();
    }

    fn tell_leaves(&mut self, leaves: &[Slot], bits: &mut BitWriter<'_>) {
        assert!(leaves.is_sorted_by(|a, b| a < b), "leaves ascend by slot");
        let mean_gap = (self.len() - leaves.len()) as u32 / leaves.len() as u32;
        let k = rice_k(mean_gap).min(15);
        bits.write(leaves.len() as u32 - 1, 8);
        bits.write(k, 4);
        let mut next = 0;
        let mut gone = Vec::with_capacity(leaves.len());
        for slot in leaves {
            let place = self.place(*slot).expect("who leaves is a member");
            bits.write_rice((place - next) as u32, k);
            gone.push(place as u8);
            next = place + 1;
        }
        self.remove(&gone);
    }

    fn tell_joins(&mut self, tick: Tick, joins: &[Join], bits: &mut BitWriter<'_>) {
        assert!(
            joins.is_sorted_by(|a, b| a.name.slot < b.name.slot),
            "joins ascend by slot"
        );
        assert!(
            self.len() + joins.len() <= TRACK_MEMBERS_MAX,
            "a track has at most 256 members"
        );
        let last = joins[joins.len() - 1].name.slot.0;
        let slot_width = 32 - last.leading_zeros();
        let offsets: Vec<[i16; 3]> = joins.iter().map(|join| self.offset_of(join.cell)).collect();
        let widths = widths_of(offsets.iter());
        bits.write(joins.len() as u32 - 1, 8);
        bits.write(slot_width, 6);
        self.motions.reserve(joins.len());
        for width in widths {
            bits.write(width, 5);
        }
        for (join, offset) in joins.iter().zip(offsets) {
            bits.write(join.name.slot.0, slot_width);
            self.write_name(join.name, bits);
            write_offset(offset, widths, bits);
            let mut motion = Motion::new(offset, tick.0 as u16);
            bits.write(u32::from(join.before.is_some()), 1);
            if let Some((cell, ago)) = join.before {
                assert!(ago > 0, "a cell before is of a tick before");
                motion.set_before(self.offset_of(cell), ago);
                write_before(&motion, bits);
            }
            self.insert(join.name, &motion)
                .expect("who joins is not a member yet");
        }
    }

    fn offset_of(&self, cell: [i32; 3]) -> [i16; 3] {
        std::array::from_fn(|i| {
            i16::try_from(i64::from(cell[i]) - i64::from(self.origin[i]))
                .expect("a cell within the track's reach")
        })
    }

    fn write_name(&self, name: Name, bits: &mut BitWriter<'_>) {
        let mut write = |common: u16, value: u16| {
            bits.write(u32::from(common != value), 1);
            if common != value {
                bits.write(u32::from(value), 16);
            }
        };
        write(self.generation.0, name.generation.0);
        write(self.kind.0, name.kind.0);
    }

    fn tell_states(&mut self, tick: Tick, cells: &[[i32; 3]], bits: &mut BitWriter<'_>) {
        assert_eq!(cells.len(), self.len(), "a cell for each member");
        let offsets: Vec<[i16; 3]> = cells.iter().map(|cell| self.offset_of(*cell)).collect();
        let heights = offsets.iter().map(|offset| offset[1]);
        let is_level = heights.eq(self.motions.newest()[1].iter().copied());
        bits.write(u32::from(is_level), 1);
        let aside = self.motions.told_in(tick);
        let is_shared = is_level && aside.is_empty();
        let mut rows = self.motions.rows();
        let mut prophet = Prophet::new(tick, &rows);
        for (block, offsets) in offsets.chunks(BLOCK).enumerate() {
            let foreseen = prophet.foresee(&rows, block);
            let is_aside = aside_in(block * BLOCK, &aside);
            let mut differences = [ShortParts::ZEROS; 3];
            for (i, offset) in offsets.iter().enumerate() {
                if is_aside >> i & 1 == 1 {
                    continue;
                }
                let expected = expected(&rows, block, &foreseen, i);
                let off = |axis: usize| zigzag(i32::from(offset[axis]) - i32::from(expected[axis]));
                let k = u32::from(foreseen.k[i]);
                write_short(off(0), k, bits);
                write_short(off(2), k, bits);
                if !is_level {
                    write_short(off(1), 1, bits);
                }
                for (line, (axis, n)) in differences.iter_mut().zip([(0, k), (2, k), (1, 1)]) {
                    // Those that need more bits come back as the same cell.
                    let off = i32::from(offset[axis].wrapping_sub(expected[axis]));
                    line.set(i, zigzag(off) as u16, n);
                }
            }
            learn(&mut rows, block, &foreseen, &differences);
            if !is_shared {
                climb(&mut rows, block, &differences);
            }
        }
        self.motions.push(tick, is_shared, &aside);
    }

    /// Appends everything that a newcomer in `tick` must know: [`Self::from_keyframe`] gives the track as it is, but
    /// without its members' oldest cells. After one telling it is equal to that of who was there before.
    pub fn keyframe(&self, tick: Tick, out: &mut Vec<u8>) {
        for axis in self.origin {
            put_zigzag(out, i64::from(axis));
        }
        put_varint(out, u64::from(self.generation.0));
        put_varint(out, u64::from(self.kind.0));
        put_varint(out, self.len() as u64);
        let Some(last) = self.names.last() else { return };
        let gap_k = rice_k((last.slot.0 - (self.len() as u32 - 1)) / self.len() as u32);
        let motions: Vec<Motion> = (0..self.len()).map(|place| self.motions.get(place)).collect();
        let widths = widths_of(motions.iter().map(|motion| &motion.cells[0]));
        let mut bits = BitWriter::new(out);
        bits.write(gap_k, 5);
        for width in widths {
            bits.write(width, 5);
        }
        let mut next = 0;
        for (name, motion) in self.names.iter().zip(&motions) {
            bits.write_rice(name.slot.0 - next, gap_k);
            // Behind the last slot there is comes none.
            next = name.slot.0.wrapping_add(1);
            self.write_name(*name, &mut bits);
            write_offset(motion.cells[0], widths, &mut bits);
            write_short(
                u32::from((tick.0 as u16).wrapping_sub(motion.stamps.ticks[0])),
                3,
                &mut bits,
            );
            bits.write(u32::from(motion.stamps.count > 1), 1);
            if motion.stamps.count > 1 {
                write_before(motion, &mut bits);
            }
            bits.write(u32::from(motion.habit.steady), 8);
            bits.write(u32::from(motion.habit.still), 8);
        }
        bits.finish();
    }
}

fn write_before(motion: &Motion, bits: &mut BitWriter<'_>) {
    let ticks = motion.stamps.ticks;
    write_short(u32::from(ticks[0].wrapping_sub(ticks[1])), 3, bits);
    for (axis, k) in AXES {
        let difference = i32::from(motion.cells[1][axis]) - i32::from(motion.cells[0][axis]);
        write_short(zigzag(difference), k, bits);
    }
}

fn widths_of<'a>(offsets: impl Iterator<Item = &'a [i16; 3]>) -> [u32; 3] {
    let all = offsets.fold([0; 3], |all: [u32; 3], offset| {
        std::array::from_fn(|i| all[i] | zigzag(i32::from(offset[i])))
    });
    all.map(|bits| 32 - bits.leading_zeros())
}

fn write_offset(offset: [i16; 3], widths: [u32; 3], bits: &mut BitWriter<'_>) {
    for (axis, width) in offset.into_iter().zip(widths) {
        bits.write(zigzag(i32::from(axis)), width);
    }
}

/// The best Rice parameter for a geometric distribution is close to the binary logarithm of its mean.
fn rice_k(mean: u32) -> u32 {
    (32 - mean.leading_zeros()).saturating_sub(1).min(24)
}

#[inline]
fn write_short(value: u32, k: u32, bits: &mut BitWriter<'_>) {
    let quotient = value >> k;
    if quotient < SHORT_ONES {
        bits.write((1 << quotient) - 1, quotient + 1);
        bits.write(value & ((1 << k) - 1), k);
    } else {
        bits.write((1 << SHORT_ONES) - 1, SHORT_ONES);
        bits.write(value, SHORT_BITS);
    }
}
