//! Reading a track: its deltas and keyframes. Their layout stands in [`super`].

use super::{
    AXES, Applied, CELL_OFFSET_MAX, CELL_SHIFT, HAS_JOINS, HAS_LEAVES, HAS_STATES, Habit, Motion, Name,
    SHORT_BITS, SHORT_ONES, TRACK_MEMBERS_MAX, Track, unzigzag,
};
use crate::Tick;
use crate::bits::{BitReader, take_byte, take_varint, take_varint_u32, take_zigzag_i32};
use crate::codec::CodecError;
use crate::id::{Generation, KindId, Slot};

impl Track {
    /// The track of a keyframe of `tick`.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn from_keyframe(tick: Tick, mut bytes: &[u8]) -> Result<Self, CodecError> {
        let bytes = &mut bytes;
        let origin = [
            take_zigzag_i32(bytes)?,
            take_zigzag_i32(bytes)?,
            take_zigzag_i32(bytes)?,
        ];
        let reach = i64::from(i32::MAX >> CELL_SHIFT) - i64::from(CELL_OFFSET_MAX) - 1;
        if origin.iter().any(|axis| i64::from(*axis).abs() > reach) {
            return Err(CodecError::Malformed("a track beyond the grid"));
        }
        let sixteen =
            |value: u64| u16::try_from(value).map_err(|_| CodecError::Malformed("a number beyond 16 bits"));
        let generation = Generation(sixteen(take_varint(bytes)?)?);
        let kind = KindId(sixteen(take_varint(bytes)?)?);
        let count = take_varint_u32(bytes)? as usize;
        let mut track = Self::new(origin, generation, kind);
        if count > TRACK_MEMBERS_MAX {
            return Err(CodecError::Malformed("a track of more than 256 members"));
        }
        if count == 0 {
            return if bytes.is_empty() {
                Ok(track)
            } else {
                Err(CodecError::Length("bytes left over behind an empty track"))
            };
        }
        track.names.reserve_exact(count);
        track.motions.reserve_exact(count);
        let mut bits = BitReader::new(bytes);
        let gap_k = bits.read(5)?;
        if gap_k > 24 {
            return Err(CodecError::Malformed("a Rice parameter beyond 24"));
        }
        let widths = read_widths(&mut bits)?;
        let mut next = Some(0u32);
        for _ in 0..count {
            let gap = bits.read_rice(gap_k)?;
            let slot = next
                .and_then(|next| next.checked_add(gap))
                .ok_or(CodecError::Malformed("a slot beyond 32 bits"))?;
            next = slot.checked_add(1);
            let name = track.read_name(Slot(slot), &mut bits)?;
            let cell = read_offset(widths, &mut bits)?;
            let age = read_short(3, &mut bits)?;
            let age = u16::try_from(age).map_err(|_| CodecError::Malformed("an age beyond 16 bits"))?;
            let mut motion = Motion::new(cell, tick);
            motion.ticks[0] = (tick.0 as u16).wrapping_sub(age);
            if bits.read(1)? == 1 {
                read_before(&mut motion, &mut bits)?;
            }
            motion.habit = Habit {
                steady: bits.read(8)? as u8,
                still: bits.read(8)? as u8,
            };
            track.names.push(name);
            track.motions.push(motion);
        }
        bits.finish()?;
        Ok(track)
    }

    /// Takes a delta of `tick` in.
    ///
    /// # Errors
    /// If the bytes are none for this track. What is then known of it is of no use.
    pub fn apply(&mut self, tick: Tick, mut bytes: &[u8]) -> Result<Applied, CodecError> {
        let flags = take_byte(&mut bytes)?;
        if flags & !(HAS_LEAVES | HAS_JOINS | HAS_STATES) != 0 {
            return Err(CodecError::Malformed("unknown flags of a track's record"));
        }
        let mut bits = BitReader::new(bytes);
        let all_bits = bits.bits_left();
        let mut applied = Applied::default();
        if flags & HAS_LEAVES != 0 {
            self.take_leaves(&mut bits, &mut applied)?;
        }
        if flags & HAS_JOINS != 0 {
            self.take_joins(tick, &mut bits, &mut applied)?;
        }
        applied.membership_bits = (all_bits - bits.bits_left()) as u32;
        applied.states = applied.joined.len() as u32;
        if flags & HAS_STATES != 0 {
            applied.states += self.take_states(tick, &mut bits)?;
            applied.told = true;
        }
        bits.finish()?;
        Ok(applied)
    }

    fn take_leaves(&mut self, bits: &mut BitReader<'_>, applied: &mut Applied) -> Result<(), CodecError> {
        let count = bits.read(8)? + 1;
        let k = bits.read(4)?;
        let mut next = 0usize;
        for _ in 0..count {
            let place = next.saturating_add(bits.read_rice(k)? as usize);
            let name = self.names.get(place);
            applied
                .left
                .push(*name.ok_or(CodecError::Malformed("who leaves is not in the track"))?);
            next = place + 1;
        }
        let left = &applied.left;
        self.remove(|name| left.binary_search(name).is_ok());
        Ok(())
    }

    fn take_joins(
        &mut self,
        tick: Tick,
        bits: &mut BitReader<'_>,
        applied: &mut Applied,
    ) -> Result<(), CodecError> {
        let count = bits.read(8)? as usize + 1;
        if self.len() + count > TRACK_MEMBERS_MAX {
            return Err(CodecError::Malformed("a track of more than 256 members"));
        }
        let slot_width = bits.read(6)?;
        if slot_width > 32 {
            return Err(CodecError::Malformed("a slot wider than 32 bits"));
        }
        let widths = read_widths(bits)?;
        for _ in 0..count {
            let slot = Slot(bits.read(slot_width)?);
            if applied.joined.last().is_some_and(|last| last.slot >= slot) {
                return Err(CodecError::Malformed("joins that do not ascend"));
            }
            let name = self.read_name(slot, bits)?;
            let mut motion = Motion::new(read_offset(widths, bits)?, tick);
            if bits.read(1)? == 1 {
                read_before(&mut motion, bits)?;
            }
            self.insert(name, motion)
                .ok_or(CodecError::Malformed("who joins is in the track already"))?;
            applied.joined.push(name);
        }
        Ok(())
    }

    fn read_name(&self, slot: Slot, bits: &mut BitReader<'_>) -> Result<Name, CodecError> {
        let mut read = |common: u16| -> Result<u16, CodecError> {
            Ok(if bits.read(1)? == 1 {
                bits.read(16)? as u16
            } else {
                common
            })
        };
        Ok(Name {
            slot,
            generation: Generation(read(self.generation.0)?),
            kind: KindId(read(self.kind.0)?),
        })
    }

    /// The hot loop of every reader.
    fn take_states(&mut self, tick: Tick, source: &mut BitReader<'_>) -> Result<u32, CodecError> {
        // A reader of the loop's own stays in registers.
        let mut own = *source;
        let bits = &mut own;
        let is_level = bits.read(1)? == 1;
        let mut told = 0;
        for motion in &mut self.motions {
            if motion.ticks[0] == tick.0 as u16 {
                continue;
            }
            let guesses = motion.guesses(tick);
            let foreseen = motion.foreseen(guesses);
            let k = motion.habit.k();
            let [x, z] = bits.read_two_shorts(k, SHORT_ONES, SHORT_BITS)?;
            let y = if is_level { 0 } else { read_short(1, bits)? };
            let axis = |i: usize, off: u32| foreseen[i] + unzigzag(off);
            let wide = [axis(0, x), axis(1, y), axis(2, z)];
            let cell = wide.map(|axis| axis as i16);
            if cell.map(i32::from) != wide {
                return Err(CodecError::Malformed("a cell beyond the track's reach"));
            }
            motion.habit.learn(cell, guesses);
            motion.push(cell, tick);
            told += 1;
        }
        *source = own;
        Ok(told)
    }
}

fn read_before(motion: &mut Motion, bits: &mut BitReader<'_>) -> Result<(), CodecError> {
    let ago = u16::try_from(read_short(3, bits)?);
    let ago = ago.map_err(|_| CodecError::Malformed("an age beyond 16 bits"))?;
    let mut cell = motion.cells[0];
    for (axis, k) in AXES {
        let difference = unzigzag(read_short(k, bits)?);
        cell[axis] = i16::try_from(i32::from(cell[axis]) + difference)
            .map_err(|_| CodecError::Malformed("a cell beyond the track's reach"))?;
    }
    motion.set_before(cell, ago);
    Ok(())
}

fn read_widths(bits: &mut BitReader<'_>) -> Result<[u32; 3], CodecError> {
    let widths = [bits.read(5)?, bits.read(5)?, bits.read(5)?];
    if widths.iter().any(|width| *width > 16) {
        return Err(CodecError::Malformed("a cell wider than 16 bits"));
    }
    Ok(widths)
}

fn read_offset(widths: [u32; 3], bits: &mut BitReader<'_>) -> Result<[i16; 3], CodecError> {
    let mut axis = |width: u32| Ok::<_, CodecError>(unzigzag(bits.read(width)?) as i16);
    Ok([axis(widths[0])?, axis(widths[1])?, axis(widths[2])?])
}

#[inline]
fn read_short(k: u32, bits: &mut BitReader<'_>) -> Result<u32, CodecError> {
    bits.read_short(k, SHORT_ONES, SHORT_BITS)
}
