//! Groups entities into tracks and encodes each once per level.
//!
//! A track is what stands in one 16 m square of one visibility class. The phase of a state belongs to the entity
//! (see [`myriad_wire::track`]), so an entity that crosses into another square keeps its rhythm.

use crate::config::TRACK_TILE_SHIFT;
use myriad_wire::fabric::TrackRecord;
use myriad_wire::track::{LEVELS, Level, encode_chunks};
use myriad_wire::{Pos, Slot, Tick, WirePos};

/// Groups entities into tracks. Keeps its buffers between ticks.
#[derive(Debug, Default)]
pub(crate) struct TrackBuilder {
    entries: Vec<Entry>,
    members: Vec<(Slot, WirePos)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Class and square, then slot: sorting brings the members of a track together in ascending order of slots.
    layers: u32,
    tile_x: i32,
    tile_z: i32,
    slot: u32,
    at: [i32; 3],
}

impl TrackBuilder {
    /// Starts a tick.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds an entity.
    pub(crate) fn add(&mut self, slot: Slot, layers: u32, position: Pos) {
        let wire = position.to_wire();
        self.entries.push(Entry {
            layers,
            tile_x: position.x >> TRACK_TILE_SHIFT,
            tile_z: position.z >> TRACK_TILE_SHIFT,
            slot: slot.0,
            at: [wire.x, wire.y, wire.z],
        });
    }

    /// Encodes all tracks of `tick`.
    pub(crate) fn build(&mut self, tick: Tick) -> Vec<TrackRecord> {
        self.entries.sort_unstable();
        let same_track =
            |a: &Entry, b: &Entry| (a.layers, a.tile_x, a.tile_z) == (b.layers, b.tile_x, b.tile_z);
        let mut records = Vec::new();
        for group in self.entries.chunk_by(same_track) {
            self.members.clear();
            let place = |at: [i32; 3]| WirePos {
                x: at[0],
                y: at[1],
                z: at[2],
            };
            self.members
                .extend(group.iter().map(|entry| (Slot(entry.slot), place(entry.at))));
            records.push(encode(group[0].layers, tick, &self.members));
        }
        records
    }
}

fn encode(layers: u32, tick: Tick, members: &[(Slot, WirePos)]) -> TrackRecord {
    let mut low = members[0].1;
    let mut high = low;
    for (_, at) in members {
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
    use myriad_wire::track::decode_chunk;

    #[test]
    fn every_entity_is_in_one_track_of_its_class_and_square() {
        let mut builder = TrackBuilder::default();
        let metre = 1024;
        for slot in 0..300u32 {
            let position = Pos {
                x: (slot as i32 * 37 % 100 - 50) * metre,
                y: 0,
                z: (slot as i32 * 61 % 100) * metre,
            };
            builder.add(Slot(slot), 1 + slot % 2, position);
        }
        let tracks = builder.build(Tick(7));
        let mut seen = Vec::new();
        for track in &tracks {
            for chunk in &track.levels[0] {
                decode_chunk(chunk, |state| {
                    assert_eq!(1 + state.slot.0 % 2, track.layers);
                    seen.push(state.slot.0);
                })
                .expect("a chunk of our own");
            }
        }
        assert_eq!(tracks.iter().map(|track| track.members).sum::<u32>(), 300);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..300));
    }
}
