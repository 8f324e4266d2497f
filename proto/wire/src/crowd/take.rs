//! Reading a track: its deltas and keyframes. Their layout stands in [`super`].

use super::motions::BLOCK;
use super::telling::{Differences, Prophet, aside_in, climb, expected, learn};
use super::{
    AXES, Applied, HAS_JOINS, HAS_LEAVES, HAS_STATES, Habit, Motion, Name, ORIGIN_MAX, SHORT_BITS,
    SHORT_ONES, TRACK_MEMBERS_MAX, Track, unzigzag, zigzag,
};
use crate::Tick;
use crate::bits::{BitReader, PADDING, ShortParts, take_byte, take_varint, take_varint_u32, take_zigzag_i32};
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
        if origin
            .iter()
            .any(|axis| axis.unsigned_abs() > ORIGIN_MAX.unsigned_abs())
        {
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
        track.motions.reserve(count);
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
            let mut motion = Motion::new(cell, (tick.0 as u16).wrapping_sub(age));
            if bits.read(1)? == 1 {
                read_before(&mut motion, &mut bits)?;
            }
            motion.habit = Habit {
                steady: bits.read(8)? as u16,
                still: bits.read(8)? as u16,
            };
            track.names.push(name);
            track.motions.insert(track.motions.len(), &motion);
        }
        bits.finish()?;
        track.motions.count_usual();
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
        let count = bits.read(8)? as usize + 1;
        let k = bits.read(4)?;
        let mut next = 0usize;
        let mut gone = [0; TRACK_MEMBERS_MAX];
        for gone in &mut gone[..count] {
            let place = next.saturating_add(bits.read_rice(k)? as usize);
            let name = self.names.get(place);
            applied
                .left
                .push(*name.ok_or(CodecError::Malformed("who leaves is not in the track"))?);
            *gone = place as u8;
            next = place + 1;
        }
        self.remove(&gone[..count]);
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
        self.motions.reserve(count);
        for _ in 0..count {
            let slot = Slot(bits.read(slot_width)?);
            if applied.joined.last().is_some_and(|last| last.slot >= slot) {
                return Err(CodecError::Malformed("joins that do not ascend"));
            }
            let name = self.read_name(slot, bits)?;
            let mut motion = Motion::new(read_offset(widths, bits)?, tick.0 as u16);
            if bits.read(1)? == 1 {
                read_before(&mut motion, bits)?;
            }
            self.insert(name, &motion)
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

    /// The hot loop of every reader: see [`super::telling`].
    fn take_states(&mut self, tick: Tick, source: &mut BitReader<'_>) -> Result<u32, CodecError> {
        let is_level = source.read(1)? == 1;
        let len = self.len();
        let aside = self.motions.told_in(tick);
        let is_shared = is_level && aside.is_empty();
        let mut rows = self.motions.rows();
        let mut prophet = Prophet::new(tick, &rows);
        // Usual records fit with what else they tell; longer ones take a little longer.
        let mut buffer = [0; PADDED_BYTES];
        let original = *source;
        let (mut bits, padding) = match original.padded(&mut buffer) {
            Some(padded) => (padded, PADDING),
            None => (original, 0),
        };
        for block in 0..len.div_ceil(BLOCK) {
            let foreseen = prophet.foresee(&rows, block);
            let first = block * BLOCK;
            let mut taken = Taken::new(BLOCK.min(len - first), aside_in(first, &aside));
            let before = bits;
            let mut read = taken.read_axes(is_level, &mut bits, &foreseen.k);
            if bits.bits_left() < padding * 8 {
                // They end within this block: up to where is known without the padding.
                let mut exact = before
                    .without_padding(&original, padding)
                    .expect("they have not ended yet");
                taken = Taken::new(taken.members, taken.aside);
                read = taken.read_axes(is_level, &mut exact, &foreseen.k);
            }
            let is_far_beyond = taken.far.iter().any(|(i, differences)| {
                let expected = expected(&rows, block, &foreseen, *i);
                let mut told = AXES.iter().zip(differences);
                told.any(|((axis, _), off)| {
                    i16::try_from(i32::from(expected[*axis]) + unzigzag(*off)).is_err()
                })
            });
            let mut beyond = learn(&mut rows, block, &foreseen, &taken.differences);
            if !is_shared {
                let above = climb(&mut rows, block, &taken.differences);
                beyond = std::array::from_fn(|i| beyond[i] | above[i]);
            }
            let is_far = |i: usize| taken.far.iter().any(|(far, _)| *far == i);
            if is_far_beyond || beyond != [0; BLOCK] && (0..BLOCK).any(|i| beyond[i] != 0 && !is_far(i)) {
                return Err(BEYOND);
            }
            // Whoever comes before those who can't be read has been looked at.
            read?;
        }
        *source = bits
            .without_padding(&original, padding)
            .expect("they have not ended");
        self.motions.push(tick, is_shared, &aside);
        Ok((len - aside.len()) as u32)
    }
}

/// What is told of a block.
struct Taken {
    /// How many members it has.
    members: usize,
    /// One bit for each of them of whom nothing is told.
    aside: u32,
    differences: Differences,
    /// Differences of members that have one of more than 16 bits: who jumped farther than 8 km. In 16 bits they give
    /// the right cell too, but do not tell whether it is within reach.
    far: Vec<(usize, [u32; 3])>,
}

/// Of the record of a track whose members all take 12 bits.
const PADDED_BYTES: usize = 384;

impl Taken {
    fn new(members: usize, aside: u32) -> Self {
        Self {
            members,
            aside,
            differences: [ShortParts::ZEROS; 3],
            far: Vec::new(),
        }
    }

    #[inline(always)]
    fn read_axes(
        &mut self,
        is_level: bool,
        bits: &mut BitReader<'_>,
        ks: &[u8; BLOCK],
    ) -> Result<(), CodecError> {
        if is_level {
            self.read::<2>(bits, ks)
        } else {
            self.read::<3>(bits, ks)
        }
    }

    /// Of `N` axes.
    #[inline(always)]
    fn read<const N: usize>(&mut self, bits: &mut BitReader<'_>, ks: &[u8; BLOCK]) -> Result<(), CodecError> {
        let ks_of = |k: u32| std::array::from_fn(|n| if n < 2 { k } else { 1 });
        let mut i = 0;
        while i < self.members {
            if self.aside >> i & 1 == 1 {
                i += 1;
                continue;
            }
            let end = if self.aside == 0 { self.members } else { i + 1 };
            i = bits.read_lines::<N, _>(ks, ks_of, (SHORT_ONES, SHORT_BITS), i, end, &mut self.differences);
            if i < end {
                let (rest, numbers) = self.read_one_by_one::<N>(i, *bits, ks_of(ks[i].into()))?;
                *bits = rest;
                let ks = ks_of(ks[i].into());
                for ((line, number), k) in self.differences.iter_mut().zip(numbers).zip(ks) {
                    line.set(i, number as u16, k);
                }
                i += 1;
            }
        }
        Ok(())
    }

    /// The last members of a record, and those who jump. Takes and returns the reader, so that it can live in registers.
    #[cold]
    #[inline(never)]
    fn read_one_by_one<'a, const N: usize>(
        &mut self,
        i: usize,
        mut bits: BitReader<'a>,
        ks: [u32; N],
    ) -> Result<(BitReader<'a>, [u32; N]), CodecError> {
        let mut numbers = [0; N];
        for (number, k) in numbers.iter_mut().zip(ks) {
            *number = read_short(k, &mut bits)?;
        }
        if numbers.iter().any(|number| *number > u16::MAX.into()) {
            let mut far = [0; 3];
            far[..N].copy_from_slice(&numbers);
            self.far.push((i, far));
            numbers = numbers.map(|number| zigzag(i32::from(unzigzag(number) as i16)));
        }
        Ok((bits, numbers))
    }
}
const BEYOND: CodecError = CodecError::Malformed("a cell beyond the track's reach");

fn read_before(motion: &mut Motion, bits: &mut BitReader<'_>) -> Result<(), CodecError> {
    let ago = u16::try_from(read_short(3, bits)?);
    let ago = ago.map_err(|_| CodecError::Malformed("an age beyond 16 bits"))?;
    let mut cell = motion.cells[0];
    for (axis, k) in AXES {
        let difference = unzigzag(read_short(k, bits)?);
        cell[axis] = i16::try_from(i32::from(cell[axis]) + difference).map_err(|_| BEYOND)?;
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
