//! The lanes' crowd tracks, followed record by record.
//!
//! A track has a *number* here, dense and of all lanes together, for as long as it is: seats know it by that. A number is
//! given again no earlier than in the turn after its track's end, when whoever is told every turn has dropped it.

use super::numbers::Numbers;
use super::pieces::PieceId;
use crate::mirror::Life;
use crate::reach::Bounds;
use myriad_wire::crowd::message::{Form, Record};
use myriad_wire::crowd::{Name, Track, TrackId};
use myriad_wire::fabric::CrowdRecord;
use myriad_wire::{LaneHandle, Slot, Tick};

/// Nobody's number.
const NONE: u32 = u32::MAX;

/// All lanes' tracks.
#[derive(Debug)]
pub(crate) struct Tracks {
    lanes: Vec<LaneTracks>,
    /// By number.
    slots: Vec<Option<CrowdTrack>>,
    free: Vec<u32>,
    /// Numbers of the tracks that ended in this turn.
    ending: Vec<u32>,
    /// Numbers of the tracks that were told something in this turn.
    told: Numbers,
    slots_max: u32,
}

#[derive(Debug, Default)]
struct LaneTracks {
    /// By the lane's own number of the track: ours, or [`NONE`].
    by_id: Vec<u32>,
    /// By slot: the number of the track that has it, or [`NONE`].
    of: Vec<u32>,
    /// Something could not be applied: nothing is known until the next keyframe.
    lost: bool,
}

/// One track, as its readers have it.
#[derive(Debug)]
pub(crate) struct CrowdTrack {
    lane: usize,
    handle: LaneHandle,
    id: TrackId,
    layers: u32,
    track: Track,
    /// Around its members as they are; `None` if there are none, or it is withheld.
    bounds: Option<Bounds>,
    withheld: bool,
    ended: bool,
    /// This turn's.
    record: Option<PieceId>,
    keyframe: Option<PieceId>,
    drop: Option<PieceId>,
}

impl CrowdTrack {
    /// Where it is, if anybody may be told of it.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// Some member is not whom the mirror has in its slot, or of another class.
    pub(crate) fn is_withheld(&self) -> bool {
        self.withheld
    }

    pub(crate) fn layers(&self) -> u32 {
        self.layers
    }

    fn look_at_members(&mut self, lives: &[Life]) {
        let mut bounds = Bounds::NOBODY;
        let mut sound = true;
        for name in self.track.names() {
            let Some(life) = lives.get(name.slot.0 as usize) else {
                sound = false;
                break;
            };
            sound &= life.layers == self.layers && life.generation == name.generation;
            bounds.add(life.at);
        }
        self.withheld = !sound;
        self.bounds = (sound && !self.track.is_empty()).then_some(bounds);
    }
}

impl Tracks {
    pub(crate) fn new(lanes: usize, slots_max: u32) -> Self {
        Self {
            lanes: (0..lanes).map(|_| LaneTracks::default()).collect(),
            slots: Vec::new(),
            free: Vec::new(),
            ending: Vec::new(),
            told: Numbers::default(),
            slots_max,
        }
    }

    /// A turn begins: frees the numbers of the last one's ends.
    pub(crate) fn begin(&mut self) {
        for number in self.ending.drain(..) {
            self.slots[number as usize] = None;
            self.free.push(number);
        }
        for track in self.slots.iter_mut().flatten() {
            track.record = None;
            track.keyframe = None;
            track.drop = None;
        }
        self.told.clear();
    }

    /// Ends all tracks of a lane. Answers whether there were any.
    pub(crate) fn void(&mut self, lane: usize) -> bool {
        let there = &mut self.lanes[lane];
        there.of.clear();
        let mut any = false;
        for number in there.by_id.drain(..).filter(|number| *number != NONE) {
            any = true;
            self.told.remove(number);
            self.slots[number as usize]
                .as_mut()
                .expect("a living track")
                .ended = true;
            self.ending.push(number);
        }
        any
    }

    /// Nothing is known of the lane until its next keyframe.
    pub(crate) fn lose(&mut self, lane: usize) {
        self.lanes[lane].lost = true;
    }

    /// The lane's keyframe came.
    pub(crate) fn found(&mut self, lane: usize) {
        self.lanes[lane].lost = false;
    }

    pub(crate) fn is_lost(&self, lane: usize) -> bool {
        self.lanes[lane].lost
    }

    /// Whether of some lane nothing is known.
    pub(crate) fn any_lost(&self) -> bool {
        self.lanes.iter().any(|lane| lane.lost)
    }

    /// The number of the track that has `slot`.
    pub(crate) fn of(&self, lane: usize, slot: Slot) -> Option<u32> {
        let number = *self.lanes[lane].of.get(slot.0 as usize)?;
        (number != NONE).then_some(number)
    }

    fn by_id(&self, lane: usize, id: TrackId) -> Option<u32> {
        let number = *self.lanes[lane].by_id.get(usize::from(id.0))?;
        (number != NONE).then_some(number)
    }

    fn get(&self, number: u32) -> &CrowdTrack {
        self.slots[number as usize]
            .as_ref()
            .expect("a track that there is")
    }

    fn get_mut(&mut self, number: u32) -> &mut CrowdTrack {
        self.slots[number as usize]
            .as_mut()
            .expect("a track that there is")
    }

    /// A delta came. Answers the number of its track; `None` if it can't be applied.
    pub(crate) fn change(&mut self, lane: usize, tick: Tick, record: &CrowdRecord) -> Option<u32> {
        let number = self.by_id(lane, record.track)?;
        let track = self.get_mut(number);
        if track.layers != record.layers {
            return None;
        }
        let applied = track.track.apply(tick, &record.bytes).ok()?;
        self.quit(lane, number, &applied.left);
        self.enter(lane, number, &applied.joined);
        Some(number)
    }

    /// A keyframe came: a track begins, or is told anew. Answers its number; `None` if it can't be read.
    pub(crate) fn start(
        &mut self,
        lane: usize,
        handle: LaneHandle,
        tick: Tick,
        record: &CrowdRecord,
    ) -> Option<u32> {
        let track = Track::from_keyframe(tick, &record.bytes).ok()?;
        let index = usize::from(record.track.0);
        let number = if let Some(number) = self.by_id(lane, record.track) {
            let before = std::mem::take(&mut self.get_mut(number).track);
            self.quit(lane, number, before.names());
            number
        } else {
            self.free.pop().unwrap_or(self.slots.len() as u32)
        };
        self.enter(lane, number, track.names());
        let by_id = &mut self.lanes[lane].by_id;
        if by_id.len() <= index {
            by_id.resize(index + 1, NONE);
        }
        by_id[index] = number;
        if self.slots.len() <= number as usize {
            self.slots.resize_with(number as usize + 1, || None);
        }
        self.slots[number as usize] = Some(CrowdTrack {
            lane,
            handle,
            id: record.track,
            layers: record.layers,
            track,
            bounds: None,
            withheld: false,
            ended: false,
            record: None,
            keyframe: None,
            drop: None,
        });
        Some(number)
    }

    /// A track ends. `None` if there is none.
    pub(crate) fn end(&mut self, lane: usize, record: &CrowdRecord) -> Option<()> {
        let number = self.by_id(lane, record.track)?;
        self.lanes[lane].by_id[usize::from(record.track.0)] = NONE;
        let track = self.get_mut(number);
        track.ended = true;
        let before = std::mem::take(&mut track.track);
        self.quit(lane, number, before.names());
        self.ending.push(number);
        Some(())
    }

    /// Records of one frame come by number, so a member may be in its next track already.
    fn quit(&mut self, lane: usize, number: u32, names: &[Name]) {
        for name in names {
            if let Some(of) = self.lanes[lane].of.get_mut(name.slot.0 as usize)
                && *of == number
            {
                *of = NONE;
            }
        }
    }

    fn enter(&mut self, lane: usize, number: u32, names: &[Name]) {
        let of = &mut self.lanes[lane].of;
        for name in names.iter().filter(|name| name.slot.0 < self.slots_max) {
            let index = name.slot.0 as usize;
            if of.len() <= index {
                of.resize(index + 1, NONE);
            }
            of[index] = number;
        }
    }

    /// The track's record of this turn was framed.
    pub(crate) fn tell(&mut self, number: u32, piece: PieceId, is_keyframe: bool) {
        let track = self.get_mut(number);
        track.record = Some(piece);
        track.keyframe = is_keyframe.then_some(piece);
        self.told.insert(number);
    }

    /// Brings the boxes of a lane's tracks up to its lives, and finds those that must be withheld.
    pub(crate) fn look_at_members(&mut self, lane: usize, lives: &[Life]) {
        let tracks = self.slots.iter_mut().flatten();
        for track in tracks.filter(|track| track.lane == lane && !track.ended) {
            track.look_at_members(lives);
        }
    }

    /// All tracks that have not ended, by number.
    pub(crate) fn living(&self) -> impl Iterator<Item = (u32, &CrowdTrack)> {
        let numbered = self.slots.iter().zip(0u32..);
        numbered
            .filter_map(|(track, number)| Some((number, track.as_ref()?)))
            .filter(|(_, track)| !track.ended)
    }

    /// The class of a track, if somebody may be told of it.
    pub(crate) fn class(&self, number: u32) -> Option<u32> {
        let track = self.slots.get(number as usize)?.as_ref()?;
        (!track.ended && track.bounds.is_some()).then_some(track.layers)
    }

    /// Numbers of the tracks with a [`Self::told_record`].
    pub(crate) fn told(&self) -> &Numbers {
        &self.told
    }

    /// This turn's record of a track.
    pub(crate) fn told_record(&self, number: u32) -> PieceId {
        self.get(number).record.expect("a track that was told something")
    }

    pub(crate) fn keyframe(&self, number: u32) -> Option<PieceId> {
        self.get(number).keyframe
    }

    pub(crate) fn keep_keyframe(&mut self, number: u32, piece: PieceId) {
        self.get_mut(number).keyframe = Some(piece);
    }

    pub(crate) fn write_keyframe(&self, number: u32, tick: Tick, out: &mut Vec<u8>) {
        self.get(number).track.keyframe(tick, out);
    }

    pub(crate) fn drop_record(&self, number: u32) -> Option<PieceId> {
        self.get(number).drop
    }

    pub(crate) fn keep_drop(&mut self, number: u32, piece: PieceId) {
        self.get_mut(number).drop = Some(piece);
    }

    /// A record of a track under its name on the wire.
    pub(crate) fn record<'a>(&self, number: u32, form: Form, bytes: &'a [u8]) -> Record<'a> {
        let track = self.get(number);
        Record {
            lane: track.handle,
            track: track.id,
            form,
            bytes,
        }
    }
}
