//! Crowds: what a client with many in view is told, track by track, of bytes that all clients share.
//!
//! A lane's crowd tracks are followed here as every client follows them ([`tracks`]), so that a newcomer can be given a
//! keyframe. The [`roster`] says where they are and who may see them, [`pieces`] frames each record once per tick and
//! each message once per list of records. A [`seat`] is one client's place in the crowd: which tracks it was told of.
//! [`near`] finds the states that go in datagrams.
//!
//! A track is told only to those whose layers meet its class, and only while every member is whom the mirror has in that
//! slot, of that class: else it is *withheld*, as if it were not there. A record that can't be applied voids all tracks of
//! its lane until its next keyframe; clients begin anew then.
//!
//! Of a hand-off clients are told nothing. In the turn in which the source's track loses the member the destination's
//! gains it, if both frames are there. If the destination's is not yet, the member waits in a track of the gateway's own
//! until it comes. If it is the source's that is late, two tracks hold the member for a while; clients go by the one that
//! it joined last.
//!
//! Cost per tick: one decoding of each record, one look at every member's place. Per client: one distance per track in
//! the worst case, a few per class if all of them are within reach; a hash of the records told.

pub(crate) mod near;
mod numbers;
mod pieces;
mod roster;
pub(crate) mod seat;
mod tracks;

use crate::counters::Counters;
use crate::mirror::Life;
use bytes::Bytes;
use myriad_wire::crowd::message::{CrowdHead, Form, Happening};
use myriad_wire::fabric::{CrowdRecord, EventRecord};
use myriad_wire::{LaneHandle, Slot, SubjectRef, Tick, codec};
use numbers::Numbers;
use pieces::{Messages, PieceId, Pieces};
use roster::Roster;
use tracks::Tracks;
pub(crate) use tracks::Waiting;

/// Bytes of happenings in one record, if it has more than one: clients are told as many records as they have room for.
const EVENT_PIECE_BYTES: usize = 256;

/// All lanes' crowd tracks, and what is told of them in this tick.
///
/// In each tick that has a frame: [`Self::begin`], then per lane [`Self::put_event`] and [`Self::apply`], then
/// [`Self::settle`], then the seats.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// Counts the ticks that had a frame.
    turn: u64,
    /// The tick of this turn's frames.
    tick: Tick,
    /// One more whenever tracks became void: what clients know of them is of no use.
    era: u64,
    tracks: Tracks,
    pieces: Pieces,
    roster: Roster,
    messages: Messages,
    /// Numbers of the tracks with events in this turn.
    evented: Numbers,
    /// By track and then as they came; each track's are one range of it.
    events: Vec<EventPiece>,
    /// Of this turn, until [`Self::settle`].
    happened: Vec<Happened>,
    /// The encoded happenings of those.
    happenings: Vec<u8>,
    scratch: Vec<u8>,
}

/// A record of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventPiece {
    track: u32,
    piece: PieceId,
    /// How many events it tells.
    count: u32,
}

/// An event of one of this turn's frames.
#[derive(Clone, Copy, Debug)]
struct Happened {
    subject: SubjectRef,
    /// The class of the entity when it happened.
    layers: u32,
    /// The entity's track before the frame's records, and from [`Crowd::settle`] on that whose clients are told.
    track: Option<u32>,
    start: usize,
    end: usize,
}

/// Whose tracks [`Crowd::apply`] takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneNow<'a> {
    /// The lane's number.
    pub(crate) number: usize,
    /// The frame is a keyframe: what was known of the lane is void.
    pub(crate) is_keyframe: bool,
    /// The handles of the frame's issuers.
    pub(crate) issuers: &'a [Option<LaneHandle>],
}

impl Crowd {
    /// For so many lanes of so many slots at most.
    pub(crate) fn new(lanes: usize, slots_max: u32) -> Self {
        Self {
            turn: 0,
            tick: Tick(0),
            era: 0,
            tracks: Tracks::new(lanes, slots_max),
            pieces: Pieces::default(),
            roster: Roster::default(),
            messages: Messages::default(),
            evented: Numbers::default(),
            events: Vec::new(),
            happened: Vec::new(),
            happenings: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Frames of `tick` came; the last turn's pieces are forgotten.
    pub(crate) fn begin(&mut self, tick: Tick) {
        self.turn += 1;
        self.tick = tick;
        self.tracks.begin();
        self.pieces.clear();
        self.messages.clear();
        self.evented.clear();
        self.events.clear();
        self.happened.clear();
        self.happenings.clear();
    }

    /// Something happened to a subject of class `layers`, which is sound to tell.
    pub(crate) fn put_event(&mut self, subject: SubjectRef, layers: u32, event: &EventRecord) {
        let start = self.happenings.len();
        // As `Happening` is encoded, without a copy of it.
        codec::encode_into(
            &(subject.slot, subject.generation, &event.name, &event.arguments),
            &mut self.happenings,
        );
        self.happened.push(Happened {
            subject,
            layers,
            track: self.tracks.of(subject.lane, subject.slot),
            start,
            end: self.happenings.len(),
        });
    }

    /// Takes a frame's records, after all else in it. Answers whether the lane must be asked for a keyframe.
    pub(crate) fn apply(
        &mut self,
        lane: LaneNow<'_>,
        records: &[CrowdRecord],
        counters: &mut Counters,
    ) -> bool {
        if lane.is_keyframe {
            self.void(lane.number);
            self.tracks.found(lane.number);
        } else if self.tracks.is_lost(lane.number) {
            return false;
        }
        let ascend = records.is_sorted_by(|a, b| a.track < b.track);
        let taken = ascend && records.iter().all(|record| self.take(&lane, record).is_some());
        if !taken {
            counters.crowd_streams_lost += 1;
            self.void(lane.number);
            self.tracks.lose(lane.number);
            // The same keyframe would be no better: then the next one is waited for.
            return !lane.is_keyframe;
        }
        false
    }

    /// Whether members of some track have their names of this issuer.
    pub(crate) fn has_tracks_of(&self, issuer: LaneHandle) -> bool {
        self.tracks.has_tracks_of(issuer)
    }

    /// The issuer's handle is given up.
    pub(crate) fn forget_issuer(&mut self, issuer: LaneHandle) {
        self.tracks.forget_issuer(issuer);
    }

    /// The number is a lane's of which nothing is known yet.
    pub(crate) fn set_lane(&mut self, lane: usize) {
        self.tracks.set_lane(lane);
    }

    /// The lane has ended.
    pub(crate) fn drop_lane(&mut self, lane: usize) {
        self.void(lane);
        self.tracks.found(lane);
    }

    fn void(&mut self, lane: usize) {
        if self.tracks.void(lane) {
            self.era += 1;
        }
    }

    /// `None` if it can't be applied.
    fn take(&mut self, lane: &LaneNow<'_>, record: &CrowdRecord) -> Option<()> {
        let issuer = lane.issuers.get(usize::from(record.issuer.0)).copied().flatten();
        let number = match record.form {
            Form::Delta => self.tracks.change(lane.number, issuer?, self.tick, record)?,
            Form::Keyframe => self.tracks.start(lane.number, issuer?, self.tick, record)?,
            Form::Drop => return self.tracks.end(lane.number, record),
            Form::Events => return None,
        };
        let told = self.tracks.record(number, record.form, &record.bytes);
        let piece = self.pieces.put(&told);
        self.tracks.tell(number, piece, record.form == Form::Keyframe);
        Some(())
    }

    /// All frames of this turn were applied; these are in transit, these are the lives by issuer and slot, and of these it is
    /// known that they ended after they had been handed off.
    pub(crate) fn settle<'a>(
        &mut self,
        waiting: impl Iterator<Item = Waiting>,
        lives: impl Fn(LaneHandle) -> &'a [Life],
        is_over: impl Fn(SubjectRef) -> bool,
        counters: &mut Counters,
    ) {
        self.tracks.find_left(&lives);
        for number in self.tracks.keep_waiting(self.tick, waiting) {
            let piece = self.keyframe(number);
            self.tracks.tell(number, piece, true);
        }
        self.tracks.look_at_members(lives, is_over);
        let tracks = &self.tracks;
        for Happened { subject, track, .. } in &mut self.happened {
            // Last words are told to those who were told of the entity; they are in no track any more.
            *track = tracks.of(subject.lane, subject.slot).or(*track);
        }
        self.roster.begin();
        for (number, track) in self.tracks.living() {
            match track.bounds() {
                Some(bounds) => self.roster.put(track.layers(), number, bounds),
                None if track.is_withheld() => counters.crowd_withheld += 1,
                None => {}
            }
        }
        self.roster.settle();
        self.frame_events(counters);
    }

    fn frame_events(&mut self, counters: &mut Counters) {
        let tracks = &self.tracks;
        let before = self.happened.len();
        // One that became hidden, or shown, between its event and its end is told to nobody.
        self.happened
            .retain(|h| h.track.is_some_and(|track| tracks.class(track) == Some(h.layers)));
        counters.events_untold += (before - self.happened.len()) as u64;
        // Stable: those of a track stay in the frame's order.
        self.happened.sort_by_key(|happened| happened.track);
        let mut rest = self.happened.as_slice();
        while let Some(track) = rest.first().and_then(|happened| happened.track) {
            let mut bytes = 0;
            let fits = |happened: &&Happened| {
                let first = bytes == 0;
                bytes += happened.end - happened.start;
                happened.track == Some(track) && (first || bytes <= EVENT_PIECE_BYTES)
            };
            let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
            rest = later;
            self.scratch.clear();
            codec::encode_into(&(now.len() as u64), &mut self.scratch);
            for happened in now {
                self.scratch
                    .extend_from_slice(&self.happenings[happened.start..happened.end]);
            }
            let piece = self
                .pieces
                .put(&tracks.record(track, Form::Events, &self.scratch));
            let count = now.len() as u32;
            self.events.push(EventPiece { track, piece, count });
            self.evented.insert(track);
        }
    }

    /// The number of the track that has the slot of this name.
    pub(crate) fn track_of(&self, name: SubjectRef) -> Option<u32> {
        self.tracks.of(name.lane, name.slot)
    }

    /// What happened in a track, as records.
    fn events_of(&self, track: u32) -> &[EventPiece] {
        let start = self.events.partition_point(|event| event.track < track);
        let end = self.events.partition_point(|event| event.track <= track);
        &self.events[start..end]
    }

    /// A keyframe of the track as it is after this tick, framed when first asked for.
    fn keyframe(&mut self, number: u32) -> PieceId {
        if let Some(piece) = self.tracks.keyframe(number) {
            return piece;
        }
        self.scratch.clear();
        self.tracks.write_keyframe(number, self.tick, &mut self.scratch);
        let record = self.tracks.record(number, Form::Keyframe, &self.scratch);
        let piece = self.pieces.put(&record);
        self.tracks.keep_keyframe(number, piece);
        piece
    }

    /// That the client is told no more of the track.
    fn drop_record(&mut self, number: u32) -> PieceId {
        if let Some(piece) = self.tracks.drop_record(number) {
            return piece;
        }
        let piece = self.pieces.put(&self.tracks.record(number, Form::Drop, &[]));
        self.tracks.keep_drop(number, piece);
        piece
    }

    /// The message of these pieces, with its length prefix, and whether somebody else has it.
    fn message(&mut self, begins: bool, complete: bool, list: &[PieceId]) -> (Bytes, bool) {
        let head = CrowdHead {
            tick: self.tick,
            begins,
            complete,
        };
        self.messages.message(head, list, &self.pieces)
    }
}

// What `put_event` writes must be what a client reads.
const _: fn(Happening) -> (Slot, myriad_wire::Generation, String, Vec<myriad_wire::Value>) = |happening| {
    let Happening {
        slot,
        generation,
        name,
        arguments,
    } = happening;
    (slot, generation, name, arguments)
};
