//! One client's place in the crowd: which tracks it was told of, and what it must be told next.
//!
//! A seat is told of every turn, or begins anew: what it missed is of no use to it. So a frozen client, one whose lane
//! knows nothing of it, and one whose lane's tracks became void, simply miss a turn or an era.
//!
//! A track is told while its box is in reach, with the interest engine's own radii: nobody who is in view is in a track
//! that is not told, save those that the keyframes' budget holds back.

use super::numbers::Numbers;
use super::pieces::PieceId;
use super::{Crowd, EventPiece};
use crate::counters::Counters;
use crate::reach::{enter_radius2, leave_radius2};
use bytes::Bytes;
use myriad_wire::limits::SERVER_MESSAGE_BYTES_MAX;

/// One client's seat.
#[derive(Debug, Default)]
pub(crate) struct CrowdSeat {
    /// Numbers of the tracks that the client is told of.
    subscribed: Numbers,
    /// Up to which turn and in which era; `None` before it was told anything.
    told: Option<(u64, u64)>,
    /// Since it began it was told of all tracks in reach.
    complete: bool,
    /// It is told of all tracks of this version of the roster that whoever sees this may be told of.
    of_all: Option<(u64, u32)>,
}

/// Who sits there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looker {
    /// Where it is, in AOI units.
    pub(crate) position: [i32; 3],
    /// Its enter radius, in AOI units.
    pub(crate) radius: u32,
    pub(crate) sees: u32,
    /// The number of the track that its avatar is in: told first.
    pub(crate) own: Option<u32>,
}

/// A message that is being put together. Reused from client to client.
#[derive(Debug, Default)]
pub(crate) struct CrowdDraft {
    begins: bool,
    completes: bool,
    /// Keyframes, records, drops, events.
    list: Vec<PieceId>,
    /// Bytes of keyframes, and of all in the list.
    keyframe_bytes: usize,
    bytes: usize,
    /// Tracks that the client is told of from this turn on: it gets their keyframe, not their record.
    new: Numbers,
    wanted: Numbers,
    /// Tracks in reach that it is not told of yet: not its own, squared distance, number.
    fresh: Vec<(bool, i64, u32)>,
    /// The same of those with events.
    eventful: Vec<(i64, u32)>,
}

impl CrowdDraft {
    /// The message begins a crowd.
    pub(crate) fn begins(&self) -> bool {
        self.begins
    }

    /// Bytes of what can't be left out: neither keyframes, which have a budget of their own, nor events.
    pub(crate) fn steady_bytes(&self) -> usize {
        self.bytes - self.keyframe_bytes
    }
}

/// Bytes of a message's length, variant, tick and flags at most.
const HEAD_BYTES_MAX: usize = 32;

impl CrowdSeat {
    /// Begins this turn's message: all but the events.
    pub(crate) fn update(
        &mut self,
        crowd: &mut Crowd,
        looker: &Looker,
        keyframe_bytes_max: usize,
        draft: &mut CrowdDraft,
        counters: &mut Counters,
    ) {
        draft.begins = self.told != Some((crowd.turn - 1, crowd.era));
        draft.completes = false;
        draft.list.clear();
        draft.new.clear();
        draft.wanted.clear();
        (draft.keyframe_bytes, draft.bytes) = (0, 0);
        if draft.begins {
            self.subscribed.clear();
            self.complete = false;
            self.of_all = None;
            counters.crowds_begun += 1;
        }
        self.told = Some((crowd.turn, crowd.era));
        let stays = self.complete
            && self.of_all == Some((crowd.roster.version(), looker.sees))
            && crowd
                .roster
                .all_within(looker.position, leave_radius2(looker.radius), looker.sees);
        if !stays {
            self.look(crowd, looker, keyframe_bytes_max, draft, counters);
        }
        // Whoever is not wanted any more is told nothing of what changed: it may be of another class now.
        let told_of = if stays { &self.subscribed } else { &draft.wanted };
        for number in told_of.and(crowd.tracks.told()) {
            if !draft.new.contains(number) {
                let piece = crowd.tracks.told_record(number);
                draft.bytes += crowd.pieces.len(piece);
                draft.list.push(piece);
            }
        }
        if !stays {
            self.drop_tracks(crowd, draft, counters);
        }
    }

    /// Finds out which tracks are in reach, and begins as many of the new ones as the budget allows.
    fn look(
        &mut self,
        crowd: &mut Crowd,
        looker: &Looker,
        keyframe_bytes_max: usize,
        draft: &mut CrowdDraft,
        counters: &mut Counters,
    ) {
        let (enter2, leave2) = (enter_radius2(looker.radius), leave_radius2(looker.radius));
        let (fresh, wanted) = (&mut draft.fresh, &mut draft.wanted);
        fresh.clear();
        crowd
            .roster
            .look(looker.position, looker.sees, |number, distance2| {
                if self.subscribed.contains(number) {
                    if distance2 <= leave2 {
                        wanted.insert(number);
                    }
                } else if distance2 <= enter2 {
                    fresh.push((looker.own != Some(number), distance2, number));
                }
            });
        fresh.sort_unstable();
        let mut begun = 0;
        for (_, _, number) in fresh.iter() {
            let piece = crowd.keyframe(*number);
            let bytes = crowd.pieces.len(piece);
            if begun > 0 && draft.keyframe_bytes + bytes > keyframe_bytes_max {
                counters.crowd_keyframes_deferred += 1;
                break;
            }
            draft.keyframe_bytes += bytes;
            draft.new.insert(*number);
            begun += 1;
        }
        // In the order of numbers, so that clients who begin the same tracks get the same message.
        for number in draft.new.iter() {
            draft.list.push(crowd.keyframe(number));
            wanted.insert(number);
            self.subscribed.insert(number);
        }
        draft.bytes += draft.keyframe_bytes;
        counters.crowd_keyframes_sent += begun as u64;
        let all_told = begun == fresh.len();
        if !self.complete && all_told && !crowd.tracks.any_lost() {
            self.complete = true;
            draft.completes = true;
        }
        let of_all = all_told && wanted.count() as usize == crowd.roster.visible(looker.sees);
        self.of_all = of_all.then_some((crowd.roster.version(), looker.sees));
    }

    /// Drops what is out of reach, not to be seen any more, or has ended. Nothing holds that back.
    fn drop_tracks(&mut self, crowd: &mut Crowd, draft: &mut CrowdDraft, counters: &mut Counters) {
        let kept = draft.list.len();
        for number in self.subscribed.without(&draft.wanted) {
            let piece = crowd.drop_record(number);
            draft.bytes += crowd.pieces.len(piece);
            draft.list.push(piece);
        }
        if draft.list.len() > kept {
            counters.crowd_drops_sent += (draft.list.len() - kept) as u64;
            std::mem::swap(&mut self.subscribed, &mut draft.wanted);
        }
    }

    /// Adds events, those of the nearest tracks first, and ends the message: with its length prefix, if there is
    /// something to say. At least one record of events is told, unless `event_bytes_max` is 0.
    pub(crate) fn finish(
        &mut self,
        crowd: &mut Crowd,
        looker: &Looker,
        event_bytes_max: usize,
        draft: &mut CrowdDraft,
        counters: &mut Counters,
    ) -> Option<Bytes> {
        self.add_events(crowd, looker, event_bytes_max, draft, counters);
        if draft.list.is_empty() && !draft.begins && !draft.completes {
            return None;
        }
        if draft.bytes + HEAD_BYTES_MAX > SERVER_MESSAGE_BYTES_MAX {
            counters.crowd_messages_oversized += 1;
            self.told = None;
            return None;
        }
        let (message, shared) = crowd.message(draft.begins, draft.completes, &draft.list);
        counters.crowd_messages_sent += 1;
        counters.crowd_messages_shared += u64::from(shared);
        counters.crowd_bytes_sent += message.len() as u64;
        Some(message)
    }

    fn add_events(
        &mut self,
        crowd: &Crowd,
        looker: &Looker,
        event_bytes_max: usize,
        draft: &mut CrowdDraft,
        counters: &mut Counters,
    ) {
        let bytes = |event: &EventPiece| crowd.pieces.len(event.piece);
        let tracks = || self.subscribed.and(&crowd.evented);
        let all: usize = tracks().flat_map(|track| crowd.events_of(track)).map(bytes).sum();
        draft.eventful.clear();
        if all <= event_bytes_max {
            // In the order of numbers, as keyframes are.
            draft.eventful.extend(tracks().map(|track| (0, track)));
        } else {
            let eventful = &mut draft.eventful;
            crowd
                .roster
                .look(looker.position, looker.sees, |track, distance2| {
                    if self.subscribed.contains(track) && crowd.evented.contains(track) {
                        eventful.push((distance2, track));
                    }
                });
            eventful.sort_unstable();
        }
        let mut used = 0;
        for (_, track) in &draft.eventful {
            for event in crowd.events_of(*track) {
                if used + bytes(event) > event_bytes_max && (used > 0 || event_bytes_max == 0) {
                    counters.events_dropped += u64::from(event.count);
                    continue;
                }
                used += bytes(event);
                draft.list.push(event.piece);
                counters.events_sent += u64::from(event.count);
            }
        }
        draft.bytes += used;
    }
}
