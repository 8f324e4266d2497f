//! Payload assembly: which tracks a client is told at which level, packed into datagrams.
//!
//! Tracks are shared bytes, so nothing here looks at an entity: a client's payload is its own record and ranges of
//! its lanes' packed chunks, copied. The nearest tracks are told at the near level until enough entities are, the
//! others at the crowd's best level. What exceeds the budget is degraded by plan, and always the farthest first: the
//! crowd goes to the next level, then to the last; then the near do; what is still too much is left out.
//!
//! Cost per client and tick: one distance per track around it, one sort of those in reach, one copy of the bytes sent.

use crate::counters::Counters;
use crate::crowd::near::NearIndex;
use crate::mirror::{Chunk, Mirror, Track};
use crate::reach::leave_radius2;
use bytes::{Bytes, BytesMut};
use myriad_wire::LaneHandle;
use myriad_wire::limits::DATAGRAM_BYTES_MAX;
use myriad_wire::payload::{PayloadHeader, put_group};
use myriad_wire::track::{LEVELS, Level};

/// What a client is sent of tracks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// Where the observer is, in AOI units.
    pub(crate) position: [i32; 3],
    /// Its enter radius, in AOI units.
    pub(crate) radius: u32,
    pub(crate) sees: u32,
    /// At least this many entities are told at the near level, if as many are in reach.
    pub(crate) near_target: u32,
    /// Bytes of chunks in this tick.
    pub(crate) budget_bytes: u32,
    /// Tell everything at the last level only.
    pub(crate) last_only: bool,
    /// Tell no states, only the own record.
    pub(crate) own_only: bool,
}

/// Chooses and packs. Its buffers are reused from client to client.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// Numbers of the lanes whose frame is of the tick that is told.
    lanes: Vec<usize>,
    /// Where the near tracks are, made when first asked for in a tick.
    near: NearIndex,
    picks: Vec<Pick>,
    chunks: Vec<Placed>,
    /// Bytes taken in each datagram.
    datagrams: Vec<usize>,
    header: Vec<u8>,
}

/// A track that is told.
#[derive(Clone, Copy, Debug)]
struct Pick {
    distance2: i64,
    lane: usize,
    track: usize,
    planned: Level,
    level: Level,
}

/// A chunk and the datagram that it travels in.
#[derive(Clone, Copy, Debug)]
struct Placed {
    datagram: usize,
    /// Of whom those in it have their names: clients know them by that.
    issuer: LaneHandle,
    lane: usize,
    chunk: Chunk,
}

/// Most datagrams of one payload: their number is a byte.
const DATAGRAMS_MAX: usize = u8::MAX as usize;
/// Most datagrams of one payload to a client in a crowd.
const NEAR_DATAGRAMS_MAX: usize = 2;
/// Farthest that a client in a crowd is told near states from: 32 m.
const NEAR_REACH_AOI: i64 = 32 * 32;
const NEAR_REACH2: i64 = NEAR_REACH_AOI * NEAR_REACH_AOI;
/// Bytes of the head of a group: the handle, and a count below 128.
const GROUP_HEAD_BYTES: usize = 2;

impl Assembler {
    /// A tick begins.
    pub(crate) fn begin(&mut self) {
        self.lanes.clear();
        self.near.forget();
    }

    /// The frame of lane number `lane` is of this tick: its tracks are told.
    pub(crate) fn add_lane(&mut self, lane: usize) {
        self.lanes.push(lane);
    }

    /// Puts out one client's datagrams of this tick: at least one, with its own record.
    pub(crate) fn assemble(
        &mut self,
        mirror: &Mirror,
        demand: &Demand,
        header: PayloadHeader,
        counters: &mut Counters,
        emit: impl FnMut(Bytes),
    ) {
        self.pick(mirror, demand);
        self.plan(mirror, demand);
        self.degrade(mirror, demand.budget_bytes, counters);
        let told = |pick: &&Pick| pick.level > pick.planned;
        counters.tracks_degraded += self.picks.iter().filter(told).count() as u64;
        counters.tracks_sent += self.picks.len() as u64;
        self.place(mirror, header, DATAGRAMS_MAX, counters);
        self.write(mirror, header, counters, emit);
    }

    /// Picks what a client in a crowd is told at the near level: the nearest tracks of at least `near_target` entities,
    /// no farther than [`NEAR_REACH_AOI`]. Answers their bytes.
    pub(crate) fn pick_near(&mut self, mirror: &Mirror, demand: &Demand) -> usize {
        self.picks.clear();
        if !demand.own_only {
            self.near.make(mirror, &self.lanes);
            let reach2 = leave_radius2(demand.radius).min(NEAR_REACH2);
            self.near.nearest(
                demand.position,
                reach2,
                demand.sees,
                demand.near_target,
                |distance2, lane, track| {
                    let (planned, level) = (Level::NEAR, Level::NEAR);
                    self.picks.push(Pick {
                        distance2,
                        lane,
                        track,
                        planned,
                        level,
                    });
                },
            );
        }
        self.near_bytes(mirror)
    }

    /// Leaves out the farthest of the near picks that `near_target` entities do not need. Answers the bytes that are
    /// left.
    pub(crate) fn trim_near(&mut self, mirror: &Mirror, near_target: u32) -> usize {
        let mut members = 0;
        let needed = self.picks.iter().position(|pick| {
            let enough = members >= near_target;
            members += track_of(mirror, pick).members;
            enough
        });
        self.picks.truncate(needed.unwrap_or(self.picks.len()));
        self.near_bytes(mirror)
    }

    fn near_bytes(&self, mirror: &Mirror) -> usize {
        let bytes = |pick: &Pick| track_of(mirror, pick).levels[Level::NEAR.index()].bytes as usize;
        self.picks.iter().map(bytes).sum()
    }

    /// Puts out the datagrams of what was picked: at least one, with the own record.
    pub(crate) fn assemble_near(
        &mut self,
        mirror: &Mirror,
        header: PayloadHeader,
        counters: &mut Counters,
        emit: impl FnMut(Bytes),
    ) {
        counters.tracks_sent += self.picks.len() as u64;
        self.place(mirror, header, NEAR_DATAGRAMS_MAX, counters);
        self.write(mirror, header, counters, emit);
    }

    /// Finds the tracks in reach that the client may be told of, nearest first.
    fn pick(&mut self, mirror: &Mirror, demand: &Demand) {
        self.picks.clear();
        if demand.own_only {
            return;
        }
        self.near.make(mirror, &self.lanes);
        let reach2 = leave_radius2(demand.radius);
        let level = Level::LAST;
        self.near
            .within(demand.position, reach2, demand.sees, |distance2, lane, track| {
                self.picks.push(Pick {
                    distance2,
                    lane,
                    track,
                    planned: level,
                    level,
                });
            });
        self.picks
            .sort_unstable_by_key(|pick| (pick.distance2, pick.lane, pick.track));
    }

    /// Gives each its level by distance.
    fn plan(&mut self, mirror: &Mirror, demand: &Demand) {
        let mut near = 0;
        for pick in &mut self.picks {
            pick.planned = if near < demand.near_target {
                Level::NEAR
            } else {
                Level::CROWD
            };
            near += track_of(mirror, pick).members;
            pick.level = if demand.last_only {
                Level::LAST
            } else {
                pick.planned
            };
        }
    }

    /// Makes it fit the budget.
    fn degrade(&mut self, mirror: &Mirror, budget_bytes: u32, counters: &mut Counters) {
        let bytes = |pick: &Pick, level: Level| track_of(mirror, pick).levels[level.index()].bytes;
        let mut total: u32 = self.picks.iter().map(|pick| bytes(pick, pick.level)).sum();
        for (planned, level) in ladder() {
            for pick in self
                .picks
                .iter_mut()
                .rev()
                .filter(|pick| pick.planned == planned && pick.level < level)
            {
                if total <= budget_bytes {
                    return;
                }
                // A track of few members may have nobody due at one level, so this need not be less.
                total = total - bytes(pick, pick.level) + bytes(pick, level);
                pick.level = level;
            }
        }
        while total > budget_bytes
            && let Some(pick) = self.picks.pop()
        {
            total -= bytes(&pick, pick.level);
            counters.tracks_dropped += 1;
        }
    }

    /// Puts each chunk into the first datagram that has room.
    fn place(
        &mut self,
        mirror: &Mirror,
        header: PayloadHeader,
        datagrams_max: usize,
        counters: &mut Counters,
    ) {
        self.header.clear();
        header.encode(&mut self.header);
        let empty = self.header.len() + GROUP_HEAD_BYTES * self.issuers(mirror);
        self.chunks.clear();
        self.datagrams.clear();
        self.datagrams.push(empty);
        for pick in &self.picks {
            let track = track_of(mirror, pick);
            let chunks = track.levels[pick.level.index()];
            for &chunk in mirror.lanes()[pick.lane].near().chunks(chunks) {
                let fits = |taken: &usize| taken + chunk.len() <= DATAGRAM_BYTES_MAX;
                let datagram = self
                    .datagrams
                    .iter()
                    .position(fits)
                    .unwrap_or(self.datagrams.len());
                if datagram == datagrams_max {
                    counters.chunks_dropped += 1;
                    continue;
                }
                if datagram == self.datagrams.len() {
                    self.datagrams.push(empty);
                }
                self.datagrams[datagram] += chunk.len();
                self.chunks.push(Placed {
                    datagram,
                    issuer: track.issuer,
                    lane: pick.lane,
                    chunk,
                });
            }
        }
        self.chunks.sort_by_key(|placed| (placed.datagram, placed.issuer));
    }

    /// Of how many issuers those have their names who are in the picks: so many groups a datagram has at most.
    fn issuers(&self, mirror: &Mirror) -> usize {
        let mut issuers = [0u64; 4];
        for pick in &self.picks {
            let LaneHandle(issuer) = track_of(mirror, pick).issuer;
            issuers[usize::from(issuer / 64)] |= 1 << (issuer % 64);
        }
        issuers.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Writes the datagrams: the header, then the chunks of each issuer behind the head of their group.
    fn write(
        &mut self,
        mirror: &Mirror,
        mut header: PayloadHeader,
        counters: &mut Counters,
        mut emit: impl FnMut(Bytes),
    ) {
        header.parts = self.datagrams.len() as u8;
        // One allocation for all of a client's datagrams; they share it, and nothing of another client's.
        let mut out = BytesMut::with_capacity(self.datagrams.iter().sum());
        let mut rest = self.chunks.as_slice();
        for part in 0..header.parts {
            header.part = part;
            self.header.clear();
            header.encode(&mut self.header);
            let end = rest.partition_point(|placed| placed.datagram <= usize::from(part));
            let (chunks, later) = rest.split_at(end);
            rest = later;
            for group in chunks.chunk_by(|a, b| a.issuer == b.issuer) {
                assert!(
                    group.len() < 128,
                    "a chunk has at least 9 bytes, so a datagram holds fewer than 128"
                );
                put_group(group[0].issuer, group.len(), &mut self.header);
                out.extend_from_slice(&self.header);
                self.header.clear();
                for placed in group {
                    out.extend_from_slice(mirror.lanes()[placed.lane].near().bytes(placed.chunk));
                }
            }
            out.extend_from_slice(&self.header);
            let datagram = out.split().freeze();
            assert!(
                datagram.len() <= DATAGRAM_BYTES_MAX,
                "a datagram was planned too small"
            );
            counters.datagrams_sent += 1;
            counters.datagram_bytes_sent += datagram.len() as u64;
            emit(datagram);
        }
        assert!(rest.is_empty(), "every chunk is in a datagram");
    }
}

/// In which order levels get worse, for tracks that were planned at the first.
fn ladder() -> impl Iterator<Item = (Level, Level)> {
    [Level::CROWD, Level::NEAR].into_iter().flat_map(|planned| {
        (planned.index() + 1..LEVELS).filter_map(move |k| Some((planned, Level::new(k as u8)?)))
    })
}

fn track_of<'a>(mirror: &'a Mirror, pick: &Pick) -> &'a Track {
    &mirror.lanes()[pick.lane].near().tracks()[pick.track]
}
