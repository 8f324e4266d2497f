//! Groups entities into near tracks and encodes each once per level.
//!
//! A near track is a leaf of a quadtree over the ground, one tree per visibility class and issuer of names: a square of 64 m is split while
//! more than 40 stand in it, down to squares of 4 m. So a track in a crowd is small enough to send the nearest few, and
//! one in an empty field large enough to be worth its head. The tree is made anew each tick, by sorting; nothing
//! depends on the tick before. The phase of a state belongs to the entity (see [`myriad_wire::track`]), so an entity
//! that comes into another square keeps its rhythm.
//!
//! Tracks ascend by class, then along the Morton curve of their squares, which keeps neighbours close together. A
//! reader needs none of it: a track's box says where it is.

use myriad_wire::fabric::{Issuer, TrackRecord};
use myriad_wire::track::{LEVELS, Level, Told, encode_chunks};
use myriad_wire::{Pos, Tick, WirePos};

/// Most entities of a square that is not split, if it can be. Of the hundred that a client is told it then has at least
/// three squares to choose from, so that a step takes few of them away.
const SQUARE_ENTITIES_MAX: usize = 40;
/// Side of the smallest square, as a shift of position units: 4 m.
const SQUARE_SHIFT: u32 = 12;
/// How often the largest square, of 64 m, can be split.
const SPLITS: u32 = 4;

/// Groups entities into tracks. Keeps its buffers between ticks.
#[derive(Debug, Default)]
pub(crate) struct TrackBuilder {
    /// Ascending by slot within each issuer.
    told: Vec<Told>,
    /// Of each entity: its class and issuer, the Morton code of its smallest square, and its place in `told`; see [`key`].
    keys: Vec<u128>,
    members: Vec<Told>,
}

/// Class (32 bits), issuer (16), Morton code (48, of which 40 are used), place (32): sorted, the entities of any square
/// are together, ascending by slot within a smallest one.
fn key(layers: u32, issuer: Issuer, position: Pos, place: usize) -> u128 {
    u128::from(layers) << 96 | u128::from(issuer.0) << 80 | u128::from(morton(position)) << 32 | place as u128
}

/// The bits of both axes of a smallest square in turn, lowest corner of the grid first.
fn morton(position: Pos) -> u64 {
    let axis = |at: i32| spread((at as u32 ^ 1 << 31) >> SQUARE_SHIFT);
    axis(position.x) | axis(position.z) << 1
}

/// Puts a zero before each bit.
fn spread(bits: u32) -> u64 {
    let mut spread = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

impl TrackBuilder {
    /// Starts a tick.
    pub(crate) fn clear(&mut self) {
        self.told.clear();
        self.keys.clear();
    }

    /// Adds an entity. Those of an issuer come ascending by slot.
    pub(crate) fn add(&mut self, layers: u32, issuer: Issuer, position: Pos, told: Told) {
        self.keys.push(key(layers, issuer, position, self.told.len()));
        self.told.push(told);
    }

    /// Encodes all tracks of `tick`.
    pub(crate) fn build(&mut self, tick: Tick) -> Vec<TrackRecord> {
        self.keys.sort_unstable();
        let mut records = Vec::new();
        let (told, members) = (&self.told, &mut self.members);
        let mut leaf = |keys: &[u128]| {
            members.clear();
            members.extend(keys.iter().map(|key| told[*key as u32 as usize]));
            members.sort_unstable_by_key(|told| told.slot);
            let issuer = Issuer((keys[0] >> 80) as u16);
            records.push(encode((keys[0] >> 96) as u32, issuer, tick, members));
        };
        for square in squares(&self.keys, SPLITS) {
            split(square, SPLITS, &mut leaf);
        }
        records
    }
}

/// The squares that have come apart `SPLITS - splits` times, each with those who stand in it.
fn squares(keys: &[u128], splits: u32) -> impl Iterator<Item = &[u128]> {
    let square = move |key: &u128| *key >> (32 + 2 * splits);
    keys.chunk_by(move |a, b| square(a) == square(b))
}

fn split(square: &[u128], splits: u32, leaf: &mut impl FnMut(&[u128])) {
    if square.len() <= SQUARE_ENTITIES_MAX || splits == 0 {
        leaf(square);
        return;
    }
    for quarter in squares(square, splits - 1) {
        split(quarter, splits - 1, leaf);
    }
}

fn encode(layers: u32, issuer: Issuer, tick: Tick, members: &[Told]) -> TrackRecord {
    let mut low = members[0].position;
    let mut high = low;
    for Told { position: at, .. } in members {
        low = WirePos {
            x: low.x.min(at.x),
            y: low.y.min(at.y),
            z: low.z.min(at.z),
        };
        high = WirePos {
            x: high.x.max(at.x),
            y: high.y.max(at.y),
            z: high.z.max(at.z),
        };
    }
    let mut levels: [Vec<Vec<u8>>; LEVELS] = Default::default();
    for (k, chunks) in (0u8..).zip(&mut levels) {
        let level = Level::new(k).expect("as many levels as there are");
        encode_chunks(level, tick, members, |chunk| chunks.push(chunk.to_vec()));
    }
    let members = u32::try_from(members.len()).expect("a lane has fewer than 2^32 entities");
    TrackRecord {
        issuer,
        layers,
        members,
        low,
        high,
        levels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::Slot;
    use myriad_wire::grid::UNITS_PER_METRE;
    use myriad_wire::track::decode_chunk;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Class and position of each entity.
    fn entities() -> impl Strategy<Value = Vec<(u32, Pos)>> {
        let metres = |metres: i32| -metres * UNITS_PER_METRE..metres * UNITS_PER_METRE;
        let position = prop_oneof![
            4 => (metres(3), metres(3)),
            4 => (metres(40), metres(40)),
            2 => (metres(200), metres(200)),
            1 => (any::<i32>(), any::<i32>()),
        ];
        let entity = (1..3u32, position, metres(2)).prop_map(|(layers, (x, z), y)| (layers, Pos { x, y, z }));
        prop::collection::vec(entity, 0..600)
    }

    fn build(entities: &[(u32, Pos)], tick: Tick) -> Vec<TrackRecord> {
        let mut builder = TrackBuilder::default();
        for (slot, (layers, position)) in (0..).zip(entities) {
            let told = Told {
                slot: Slot(slot),
                position: position.to_wire(),
                version: slot as u8,
                changed: slot.is_multiple_of(3),
            };
            builder.add(*layers, Issuer(0), *position, told);
        }
        builder.build(tick)
    }

    /// The class, and the square's corner and side in position units.
    type Square = (u32, i32, i32, i64);

    /// The leaves, found by asking of each square for each entity whether it is split.
    fn obvious_squares(entities: &[(u32, Pos)]) -> BTreeMap<Square, Vec<Slot>> {
        let mut squares: BTreeMap<Square, Vec<Slot>> = BTreeMap::new();
        for (slot, (layers, at)) in (0..).zip(entities) {
            for side in [64, 32, 16, 8, 4].map(|metres: i32| metres * UNITS_PER_METRE) {
                let corner = |at: i32| at.div_euclid(side);
                let inside = |(class, other): &&(u32, Pos)| {
                    (*class, corner(other.x), corner(other.z)) == (*layers, corner(at.x), corner(at.z))
                };
                if entities.iter().filter(inside).count() <= 40 || side == 4 * UNITS_PER_METRE {
                    let square = (*layers, corner(at.x), corner(at.z), i64::from(side));
                    squares.entry(square).or_default().push(Slot(slot));
                    break;
                }
            }
        }
        squares
    }

    proptest! {
        #[test]
        fn tracks_are_the_squares_that_are_not_split(entities in entities(), tick in 0..100u64) {
            let tick = Tick(tick);
            let tracks = build(&entities, tick);
            let mut found = Vec::new();
            for track in &tracks {
                let mut slots = Vec::new();
                for chunk in &track.levels[0] {
                    decode_chunk(chunk, |state| slots.push(state.slot)).expect("a chunk of our own");
                }
                prop_assert_eq!(slots.len(), track.members as usize);
                prop_assert!(slots.iter().all(|slot| entities[slot.0 as usize].0 == track.layers));
                let at = |slot: &Slot| entities[slot.0 as usize].1.to_wire();
                let low = |axis: fn(WirePos) -> i32| slots.iter().map(|slot| axis(at(slot))).min();
                let high = |axis: fn(WirePos) -> i32| slots.iter().map(|slot| axis(at(slot))).max();
                prop_assert_eq!([low(|p| p.x), low(|p| p.y), low(|p| p.z)], [track.low.x, track.low.y, track.low.z].map(Some));
                prop_assert_eq!([high(|p| p.x), high(|p| p.y), high(|p| p.z)], [track.high.x, track.high.y, track.high.z].map(Some));
                found.push(slots);
            }
            found.sort_unstable();
            let mut squares: Vec<_> = obvious_squares(&entities).into_values().collect();
            squares.sort_unstable();
            prop_assert_eq!(found, squares);
            prop_assert!(tracks.is_sorted_by_key(|track| track.layers));
        }
    }

    #[test]
    fn tracks_ascend_along_the_curve() {
        let side = 64 * UNITS_PER_METRE;
        let at = |x: i32, z: i32| {
            (
                1,
                Pos {
                    x: x * side,
                    y: 0,
                    z: z * side,
                },
            )
        };
        let places = [at(1, 1), at(0, 1), at(-1, 0), at(1, 0), at(0, 0), at(-1, -1)];
        let tracks = build(&places, Tick(0));
        let order: Vec<_> = tracks
            .iter()
            .map(|track| (track.low.x / (side >> 4), track.low.z / (side >> 4)))
            .collect();
        assert_eq!(order, [(-1, -1), (-1, 0), (0, 0), (1, 0), (0, 1), (1, 1)]);
    }

    #[test]
    fn versions_are_told_of_who_changed_and_of_everybody_in_turn() {
        let entities: Vec<_> = (0..90)
            .map(|i| {
                (
                    1,
                    Pos {
                        x: i * 100,
                        y: 0,
                        z: 0,
                    },
                )
            })
            .collect();
        for tick in 0..16u64 {
            for track in build(&entities, Tick(tick)) {
                let check = |state: myriad_wire::track::State| {
                    let turn = (tick + u64::from(state.slot.0)) % 8 == 0;
                    let told = (turn || state.slot.0.is_multiple_of(3)).then_some(state.slot.0 as u8);
                    assert_eq!(state.version, told);
                };
                decode_chunk(&track.levels[0][0], check).expect("a chunk of our own");
            }
        }
    }
}
