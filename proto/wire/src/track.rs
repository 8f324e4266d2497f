//! Tracks: the shared, encoded-once bytes of moving entities.
//!
//! A lane groups the entities of one visibility class by where they are, and encodes each group once per tick at
//! each *level*. Level 0 is the near tier: everyone, every tick, on the wire grid. At level k only the entities
//! are due for which `(tick + slot) mod 2^k == 0`, on the crowd grid. The phase belongs to the entity, not to the
//! track, so an entity that crosses from track to track, or a track that changes its level, starves nobody: who
//! is due at level k+1 is also due at level k.
//!
//! A chunk says itself which slots it holds, so every chunk can be read without any other.
//! Cost: entities x (1 + 1/2 + 1/4 + 1/8) codings per tick and lane; observers add nothing.
//!
//! ```text
//! chunk  = level:u8  count-1:u8  first_slot:varint  base_x:zigzag base_y:zigzag base_z:zigzag
//!          bits: bits_x:6 bits_y:6 bits_z:6 rice_k:5, then at once
//!          count x { gap: Rice(rice_k), absent for the first; x:bits_x y:bits_y z:bits_z
//!                    at level 0: has_version:1 [version:8] }   zero-filled
//! ```
//! Slots ascend; `gap` is the distance to the slot before, less one. Coordinates are offsets from the base, on
//! the level's grid. A chunk travels behind its length in bytes (see [`crate::payload`]).

use crate::Tick;
use crate::bits::{
    BitReader, BitWriter, put_varint, put_zigzag, take_byte, take_varint_u32, take_zigzag_i32,
};
use crate::codec::CodecError;
use crate::grid::{CROWD_SHIFT, Pos, WIRE_SHIFT, WirePos, centre};
use crate::id::Slot;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_ENTITIES_MAX};

/// Number of levels: near, and three of the crowd.
pub const LEVELS: usize = 4;

/// How often an entity of a track is told: level k every 2^k ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// The near tier: everyone, every tick, 1/64 m.
    pub const NEAR: Self = Self(0);
    /// The crowd tier's best level.
    pub const CROWD: Self = Self(1);
    /// The crowd tier's last level, before nothing at all.
    pub const LAST: Self = Self(LEVELS as u8 - 1);

    /// Level `k`, if there is one.
    #[must_use]
    pub fn new(k: u8) -> Option<Self> {
        (usize::from(k) < LEVELS).then_some(Self(k))
    }

    /// Its number, for indexing.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Ticks between two states of one entity.
    #[must_use]
    pub fn period_ticks(self) -> u64 {
        1 << self.0
    }

    /// By how much positions are shifted down at this level.
    #[must_use]
    pub fn shift(self) -> u32 {
        if self == Self::NEAR {
            WIRE_SHIFT
        } else {
            CROWD_SHIFT
        }
    }

    /// Whether the entity in `slot` is told at this level in `tick`.
    #[must_use]
    pub fn is_due(self, tick: Tick, slot: Slot) -> bool {
        tick.0
            .wrapping_add(u64::from(slot.0))
            .is_multiple_of(self.period_ticks())
    }
}

/// An entity that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who.
    pub slot: Slot,
    /// Where it is.
    pub position: WirePos,
    /// Counts the changes of its public properties, wrapping. Told at the near level every [`VERSION_TICKS`] ticks.
    pub version: u8,
    /// It changed of late: the version is told now.
    pub changed: bool,
}

/// Ticks after which the version of an entity's properties is told again at the near level.
pub const VERSION_TICKS: u64 = 8;

/// One decoded state: where the entity in `slot` is, in the middle of its grid cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Whose.
    pub slot: Slot,
    /// The middle of the grid cell it is in: at most 1/128 m per axis off at the near level, 1/32 m at others.
    pub position: Pos,
    /// The version of its public properties, if that was told.
    pub version: Option<u8>,
}

/// Encodes those of `members` that are due at `level` in `tick`, as chunks of at most [`CHUNK_BYTES_MAX`] bytes.
/// `members` ascend by slot. Calls `emit` once per chunk with its bytes.
pub fn encode_chunks(level: Level, tick: Tick, members: &[Told], mut emit: impl FnMut(&[u8])) {
    debug_assert!(
        members.is_sorted_by(|a, b| a.slot < b.slot),
        "members ascend by slot"
    );
    let shift = level.shift() - WIRE_SHIFT;
    let due: Vec<Member> = members
        .iter()
        .filter(|told| level.is_due(tick, told.slot))
        .map(|told| {
            let WirePos { x, y, z } = told.position;
            let turn = (tick.0.wrapping_add(u64::from(told.slot.0))).is_multiple_of(VERSION_TICKS);
            Member {
                slot: told.slot.0,
                at: [x >> shift, y >> shift, z >> shift],
                version: (turn || told.changed).then_some(told.version),
            }
        })
        .collect();
    let mut bytes = Vec::with_capacity(CHUNK_BYTES_MAX);
    let mut rest = due.as_slice();
    while !rest.is_empty() {
        let mut take = rest.len().min(CHUNK_ENTITIES_MAX);
        loop {
            bytes.clear();
            encode_chunk(level, &rest[..take], &mut bytes);
            if bytes.len() <= CHUNK_BYTES_MAX {
                break;
            }
            // One entity needs at most 23 + 16 bytes, so halving ends.
            take = take.div_ceil(2);
        }
        emit(&bytes);
        rest = &rest[take..];
    }
}

struct Member {
    slot: u32,
    at: [i32; 3],
    version: Option<u8>,
}

fn encode_chunk(level: Level, members: &[Member], out: &mut Vec<u8>) {
    let axis = |i: usize| {
        let (low, high) = members.iter().fold((i32::MAX, i32::MIN), |(low, high), m| {
            (low.min(m.at[i]), high.max(m.at[i]))
        });
        (low, 32 - high.abs_diff(low).leading_zeros())
    };
    let axes = [axis(0), axis(1), axis(2)];
    let (first, last) = (members[0].slot, members[members.len() - 1].slot);
    let gaps = members.len() as u32 - 1;
    let mean_gap = (last - first - gaps).checked_div(gaps).unwrap_or(0);
    // The best Rice parameter for a geometric distribution is close to log2 of its mean.
    let rice_k = (32 - mean_gap.leading_zeros()).saturating_sub(1).min(24);

    out.push(level.0);
    out.push(u8::try_from(members.len() - 1).expect("a chunk holds at most 256 entities"));
    put_varint(out, u64::from(first));
    for (base, _) in axes {
        put_zigzag(out, i64::from(base));
    }
    let mut bits = BitWriter::new(out);
    for (_, width) in axes {
        bits.write(width, 6);
    }
    bits.write(rice_k, 5);
    let mut previous = None;
    for member in members {
        if let Some(previous) = previous {
            bits.write_rice(member.slot - previous - 1, rice_k);
        }
        previous = Some(member.slot);
        for (at, (base, width)) in member.at.iter().zip(axes) {
            bits.write(at.abs_diff(base), width);
        }
        if level == Level::NEAR {
            bits.write(u32::from(member.version.is_some()), 1);
            if let Some(version) = member.version {
                bits.write(u32::from(version), 8);
            }
        }
    }
    bits.finish();
}

/// Decodes a chunk, calling `each` for every state in ascending order of slots.
///
/// # Errors
/// If the bytes are not a chunk. States before the fault have been handed out by then; they are well-formed.
pub fn decode_chunk(mut bytes: &[u8], mut each: impl FnMut(State)) -> Result<Level, CodecError> {
    let bytes = &mut bytes;
    let level = Level::new(take_byte(bytes)?).ok_or(CodecError::Malformed("no such level"))?;
    let count = usize::from(take_byte(bytes)?) + 1;
    let mut slot = take_varint_u32(bytes)?;
    let base = [
        take_zigzag_i32(bytes)?,
        take_zigzag_i32(bytes)?,
        take_zigzag_i32(bytes)?,
    ];
    let mut bits = BitReader::new(bytes);
    let widths = [bits.read(6)?, bits.read(6)?, bits.read(6)?];
    if widths.iter().any(|w| *w > 32) {
        return Err(CodecError::Malformed("a coordinate wider than 32 bits"));
    }
    let rice_k = bits.read(5)?;
    if rice_k > 24 {
        return Err(CodecError::Malformed("a Rice parameter beyond 24"));
    }
    let grid = Grid::new(base, widths, level.shift());
    let offsets = [
        bits.read(widths[0])?,
        bits.read(widths[1])?,
        bits.read(widths[2])?,
    ];
    let has_versions = level == Level::NEAR;
    each(State {
        slot: Slot(slot),
        position: grid.position(offsets)?,
        version: take_version(has_versions, &mut bits)?,
    });
    for _ in 1..count {
        let (gap, offsets) = bits.read_rice_and_three(rice_k, widths)?;
        slot = gap
            .checked_add(1)
            .and_then(|step| slot.checked_add(step))
            .ok_or(CodecError::Malformed("a slot beyond 32 bits"))?;
        each(State {
            slot: Slot(slot),
            position: grid.position(offsets)?,
            version: take_version(has_versions, &mut bits)?,
        });
    }
    bits.finish()?;
    Ok(level)
}

#[inline(always)]
fn take_version(has_versions: bool, bits: &mut BitReader<'_>) -> Result<Option<u8>, CodecError> {
    if has_versions && bits.read(1)? == 1 {
        return Ok(Some(bits.read(8)? as u8));
    }
    Ok(None)
}

/// Where the offsets of a chunk lie.
struct Grid {
    base: [i32; 3],
    shift: u32,
    /// No offset that fits the widths leaves the range of a position on any axis: nothing to check per state.
    roomy: bool,
}

impl Grid {
    fn new(base: [i32; 3], widths: [u32; 3], shift: u32) -> Self {
        let roomy = base.iter().zip(widths).all(|(&base, width)| {
            let last = i64::from(base) + ((1i64 << width) - 1);
            let fits = |at: i64| i32::try_from((at << shift) + (1 << shift)).is_ok();
            fits(i64::from(base)) && fits(last)
        });
        Self { base, shift, roomy }
    }

    #[inline(always)]
    fn position(&self, offsets: [u32; 3]) -> Result<Pos, CodecError> {
        if !self.roomy {
            return self.position_at_the_rim(offsets);
        }
        let axis = |i: usize| ((self.base[i] + offsets[i] as i32) << self.shift) + (1 << self.shift >> 1);
        Ok(Pos {
            x: axis(0),
            y: axis(1),
            z: axis(2),
        })
    }

    #[cold]
    fn position_at_the_rim(&self, offsets: [u32; 3]) -> Result<Pos, CodecError> {
        let axis = |i: usize| {
            i32::try_from(i64::from(self.base[i]) + i64::from(offsets[i]))
                .map(|at| centre(at, self.shift))
                .map_err(|_| CodecError::Malformed("a position off the grid"))
        };
        Ok(Pos {
            x: axis(0)?,
            y: axis(1)?,
            z: axis(2)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Positions that are close together, far apart, and at the very ends of the grid.
    fn coordinate() -> impl Strategy<Value = i32> {
        prop_oneof![
            4 => -3200i32..3200,
            1 => any::<i32>(),
            1 => prop_oneof![Just(i32::MIN), Just(i32::MAX), Just(i32::MIN >> WIRE_SHIFT), Just(i32::MAX >> WIRE_SHIFT)],
        ]
    }

    /// Ascending slots, dense or sparse, up to the last one there is.
    fn members() -> impl Strategy<Value = Vec<(Slot, WirePos)>> {
        let gap = prop_oneof![6 => 1u32..3, 2 => 1u32..1000, 1 => any::<u32>()];
        let member = (gap, coordinate(), coordinate(), coordinate());
        (prop::collection::vec(member, 1..600), any::<bool>()).prop_map(|(members, from_the_end)| {
            let mut slots = Vec::new();
            let mut next = Some(0u32);
            for (gap, ..) in &members {
                next = next.and_then(|slot| slot.checked_add(*gap));
                slots.extend(next);
            }
            if from_the_end {
                slots = slots.iter().rev().map(|slot| u32::MAX - slot).collect();
            }
            let at = members.iter().map(|&(_, x, y, z)| WirePos { x, y, z });
            slots.into_iter().map(Slot).zip(at).collect()
        })
    }

    fn level() -> impl Strategy<Value = Level> {
        (0..LEVELS as u8).prop_map(|k| Level::new(k).unwrap())
    }

    fn chunks(level: Level, tick: Tick, members: &[(Slot, WirePos)]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let told: Vec<Told> = members
            .iter()
            .map(|&(slot, position)| Told {
                slot,
                position,
                version: version_of(slot),
                changed: slot.0 % 5 == 0,
            })
            .collect();
        encode_chunks(level, tick, &told, |chunk| chunks.push(chunk.to_vec()));
        chunks
    }

    fn version_of(slot: Slot) -> u8 {
        slot.0.wrapping_mul(31) as u8
    }

    fn states(chunk: &[u8]) -> Result<(Level, Vec<State>), CodecError> {
        let mut states = Vec::new();
        let level = decode_chunk(chunk, |state| states.push(state))?;
        Ok((level, states))
    }

    proptest! {
        #[test]
        fn those_who_are_due_come_back_in_the_middle_of_their_cell(
            level in level(), tick in prop_oneof![any::<u64>(), Just(u64::MAX)], members in members(),
        ) {
            let tick = Tick(tick);
            let mut read = Vec::new();
            for chunk in chunks(level, tick, &members) {
                prop_assert!(chunk.len() <= CHUNK_BYTES_MAX);
                let (read_level, states) = states(&chunk).unwrap();
                prop_assert_eq!(read_level, level);
                prop_assert!((1..=CHUNK_ENTITIES_MAX).contains(&states.len()));
                read.extend(states);
            }
            let shift = level.shift() - WIRE_SHIFT;
            let expected: Vec<_> = members.iter().filter(|(slot, _)| level.is_due(tick, *slot)).map(|&(slot, p)| {
                let axis = |v: i32| centre(v >> shift, level.shift());
                let turn = tick.0.wrapping_add(u64::from(slot.0)) % VERSION_TICKS == 0;
                let version = (level == Level::NEAR && (turn || slot.0 % 5 == 0)).then(|| version_of(slot));
                State { slot, position: Pos { x: axis(p.x), y: axis(p.y), z: axis(p.z) }, version }
            }).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn who_is_due_at_a_level_is_due_at_every_better_one_and_once_in_its_period(tick: u64, slot: u32) {
            let (tick, slot) = (Tick(tick), Slot(slot));
            for k in 0..LEVELS as u8 {
                let level = Level::new(k).unwrap();
                let due = (0..level.period_ticks())
                    .filter(|i| level.is_due(Tick(tick.0.wrapping_add(*i)), slot))
                    .count();
                prop_assert_eq!(due, 1);
                if let Some(worse) = Level::new(k + 1) {
                    prop_assert!(!worse.is_due(tick, slot) || level.is_due(tick, slot));
                }
            }
        }

        #[test]
        fn a_chunk_that_is_cut_short_or_goes_on_is_refused(level in level(), members in members(), cut: prop::sample::Index) {
            for chunk in chunks(level, Tick(0), &members) {
                prop_assert!(states(&chunk[..cut.index(chunk.len())]).is_err());
                let mut longer = chunk;
                longer.push(0);
                prop_assert!(states(&longer).is_err());
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_hand_out_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), level in 0u8..4) {
            // Half of the bytes begin like a chunk, so that the bits behind its head are reached.
            let mut head = vec![level, 255, 7, 0, 0, 0];
            head.extend(&bytes);
            for bytes in [&bytes, &head] {
                let mut count = 0;
                let mut last = None;
                let _ = decode_chunk(bytes, |state| {
                    assert!(last < Some(state.slot), "slots ascend");
                    last = Some(state.slot);
                    count += 1;
                });
                prop_assert!(count <= CHUNK_ENTITIES_MAX);
            }
        }
    }

    #[test]
    fn one_entity_at_the_worst_place_fits_a_chunk_many_times() {
        let at = WirePos {
            x: i32::MIN,
            y: i32::MAX,
            z: i32::MIN,
        };
        let chunks = chunks(Level::NEAR, Tick(0), &[(Slot(u32::MAX), at)]);
        assert_eq!(chunks.len(), 1);
        assert!(chunks[0].len() < 30, "{} bytes", chunks[0].len());
    }

    #[test]
    fn a_full_track_of_a_small_square_is_one_chunk_of_four_bytes_an_entity() {
        let members: Vec<_> = (0..256)
            .map(|i| {
                let at = |step: i32| i * step % 2048;
                (
                    Slot(i as u32),
                    WirePos {
                        x: at(7),
                        y: 0,
                        z: at(13),
                    },
                )
            })
            .collect();
        let chunks = chunks(Level::NEAR, Tick(0), &members);
        assert_eq!(chunks.len(), 1);
        assert!(chunks[0].len() < 900, "{} bytes", chunks[0].len());
    }

    #[test]
    fn nobody_makes_no_chunk() {
        assert!(chunks(Level::NEAR, Tick(0), &[]).is_empty());
    }

    #[test]
    fn each_field_of_a_chunk_out_of_its_range_is_refused() {
        let check = |name: &str, level: u8, first: u64, base: i64, widths: [u32; 3], rice_k: u32| {
            let mut chunk = vec![level, 0];
            put_varint(&mut chunk, first);
            for _ in 0..3 {
                put_zigzag(&mut chunk, base);
            }
            let mut bits = BitWriter::new(&mut chunk);
            for width in widths {
                bits.write(width, 6);
            }
            bits.write(rice_k, 5);
            for width in widths {
                bits.write(u32::MAX >> (32 - width.clamp(1, 32)), width.min(32));
            }
            bits.write(0, 1);
            bits.finish();
            assert_eq!(states(&chunk).is_ok(), name == "none", "{name}");
        };
        check("none", 0, 0, 0, [1, 31, 1], 0);
        check("the level", LEVELS as u8, 0, 0, [1, 1, 1], 0);
        check("the slot", 0, 1 << 32, 0, [1, 1, 1], 0);
        check("the base", 0, 0, 1 << 31, [1, 1, 1], 0);
        check("a width", 0, 0, 0, [1, 33, 1], 0);
        check("a position", 0, 0, 1, [1, 31, 1], 0);
        check("the Rice parameter", 0, 0, 0, [1, 1, 1], 25);
    }
}
