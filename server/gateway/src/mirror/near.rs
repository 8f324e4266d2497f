//! The near tracks of one lane's last frame: their chunks, packed for sending.

use crate::counters::Counters;
use crate::reach::Bounds;
use myriad_wire::LaneHandle;
use myriad_wire::bits::put_varint;
use myriad_wire::fabric::TrackRecord;
use myriad_wire::limits::CHUNK_BYTES_MAX;
use myriad_wire::track::LEVELS;

/// One lane's near tracks.
#[derive(Debug, Default)]
pub(crate) struct NearTracks {
    tracks: Vec<Track>,
    /// The tracks' chunks, each behind its length as in a payload; those of one track and level one after the other.
    packed: Vec<u8>,
    chunks: Vec<Chunk>,
}

/// The states of one track in the current frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    /// Of those who gave its members' names.
    pub(crate) issuer: LaneHandle,
    /// Only clients that see one of these may be sent its chunks.
    pub(crate) layers: u32,
    pub(crate) members: u32,
    /// Around its members.
    pub(crate) bounds: Bounds,
    pub(crate) levels: [LevelChunks; LEVELS],
}

/// The chunks of one level of a track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LevelChunks {
    /// Sum of their bytes, with their lengths.
    pub(crate) bytes: u32,
    first: u32,
    count: u32,
}

/// One chunk behind its length: a range of its lane's packed bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    start: u32,
    end: u32,
}

impl Chunk {
    /// Bytes, with the length.
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// A chunk's head has two bytes and four numbers, its bits begin with 23.
const CHUNK_BYTES_MIN: usize = 9;

impl NearTracks {
    /// The tracks.
    pub(crate) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The chunks of one level of one of [`Self::tracks`].
    pub(crate) fn chunks(&self, level: LevelChunks) -> &[Chunk] {
        &self.chunks[level.first as usize..(level.first + level.count) as usize]
    }

    /// A chunk's bytes, behind its length.
    pub(crate) fn bytes(&self, chunk: Chunk) -> &[u8] {
        &self.packed[chunk.start as usize..chunk.end as usize]
    }

    /// The next frame came.
    pub(super) fn clear(&mut self) {
        self.tracks.clear();
        self.packed.clear();
        self.chunks.clear();
    }

    /// Takes all chunks of a track.
    pub(super) fn pack(&mut self, issuer: LaneHandle, track: &TrackRecord, counters: &mut Counters) {
        let mut levels = [LevelChunks::default(); LEVELS];
        for (level, chunks) in levels.iter_mut().zip(&track.levels) {
            level.first = self.chunks.len() as u32;
            for chunk in chunks {
                if !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk.len()) {
                    counters.chunks_refused += 1;
                    continue;
                }
                let start = self.packed.len() as u32;
                put_varint(&mut self.packed, chunk.len() as u64);
                self.packed.extend_from_slice(chunk);
                self.chunks.push(Chunk {
                    start,
                    end: self.packed.len() as u32,
                });
                level.count += 1;
                level.bytes += self.packed.len() as u32 - start;
            }
        }
        self.tracks.push(Track {
            issuer,
            layers: track.layers,
            members: track.members,
            bounds: Bounds {
                low: track.low.to_aoi(),
                high: track.high.to_aoi(),
            },
            levels,
        });
    }
}
