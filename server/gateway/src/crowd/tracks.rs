//! The lanes' crowd tracks, followed record by record.
//!
//! A track has a *number* here, dense and of all lanes together, for as long as it is: seats and clients know it by that,
//! because clients must not see which lane a track is of. A number is given again no earlier than in the turn after its
//! track's end: whoever is told every turn has dropped it in the turn of the end, by an earlier message of the same stream,
//! and whoever was not begins anew, which drops everything.

use super::numbers::Numbers;
use super::pieces::PieceId;
use crate::mirror::Life;
use crate::reach::Bounds;
use myriad_wire::crowd::message::{Form, Record};
use myriad_wire::crowd::{Join, Name, Track, TrackId, origin_near, told_cell_of};
use myriad_wire::fabric::CrowdRecord;
use myriad_wire::{KindId, LaneHandle, Slot, SubjectRef, Tick, WirePos};
use std::collections::BTreeMap;

/// Nobody's number.
const NONE: u32 = u32::MAX;
/// The greatest number that clients can be told.
const NUMBER_MAX: u32 = u16::MAX as u32;

/// All lanes' tracks.
#[derive(Debug)]
pub(crate) struct Tracks {
    lanes: Vec<LaneTracks>,
    /// By handle.
    issuers: Vec<IssuerTracks>,
    /// By number.
    slots: Vec<Option<CrowdTrack>>,
    free: Vec<u32>,
    /// Numbers of the tracks that ended in this turn.
    ending: Vec<u32>,
    /// Numbers of the tracks that were told something in this turn.
    told: Numbers,
    /// Who left, in this turn, the track that they are looked up in.
    left: Vec<(LaneHandle, Name)>,
    /// The tracks of members in transit that no lane's track has, by name.
    waiting: BTreeMap<SubjectRef, u32>,
    slots_max: u32,
}

/// Somebody in transit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) name: SubjectRef,
    pub(crate) kind: KindId,
    pub(crate) layers: u32,
    pub(crate) position: WirePos,
}

#[derive(Debug, Default)]
struct LaneTracks {
    /// By the lane's own number of the track: ours, or [`NONE`].
    by_id: Vec<u32>,
    /// Something could not be applied: nothing is known until the next keyframe.
    lost: bool,
}

/// The tracks, of any lane, whose members have their names of one issuer.
#[derive(Clone, Debug, Default)]
struct IssuerTracks {
    /// By slot: the number of the track that has it, or [`NONE`].
    of: Vec<u32>,
    /// How many there are.
    tracks: u32,
}

/// One track, as its readers have it.
#[derive(Debug)]
pub(crate) struct CrowdTrack {
    /// Of whom all members have their names.
    issuer: LaneHandle,
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

    fn look_at_members(&mut self, lives: &[Life], is_over: impl Fn(SubjectRef) -> bool) {
        let mut bounds = Bounds::NOBODY;
        let mut sound = true;
        for name in self.track.names() {
            let life = lives.get(name.slot.0 as usize);
            match life.filter(|life| life.is_there()) {
                Some(life) => {
                    sound &= life.generation == name.generation && life.layers == self.layers;
                    bounds.add(life.at);
                }
                // Whose slot has no next life yet, which another track would hold.
                None => {
                    sound &= is_over(SubjectRef {
                        lane: self.issuer,
                        slot: name.slot,
                        generation: name.generation,
                    });
                }
            }
        }
        self.withheld = !sound;
        let is_somewhere = bounds != Bounds::NOBODY;
        self.bounds = (sound && is_somewhere).then_some(bounds);
    }
}

impl Tracks {
    pub(crate) fn new(lanes: usize, slots_max: u32) -> Self {
        Self {
            lanes: (0..lanes).map(|_| LaneTracks::default()).collect(),
            issuers: vec![IssuerTracks::default(); 1 << u8::BITS],
            slots: Vec::new(),
            free: Vec::new(),
            ending: Vec::new(),
            told: Numbers::default(),
            left: Vec::new(),
            waiting: BTreeMap::new(),
            slots_max,
        }
    }

    /// Looks up those who left a track: whoever is alive may be in another one still, if the source of a hand-off told after
    /// the destination that it had the member.
    pub(crate) fn find_left<'a>(&mut self, lives: impl Fn(LaneHandle) -> &'a [Life]) {
        let mut left = std::mem::take(&mut self.left);
        for (issuer, name) in left.drain(..) {
            let life = lives(issuer).get(name.slot.0 as usize);
            let is_alive = life.is_some_and(|life| life.is_there() && life.generation == name.generation);
            if !is_alive || !self.has_tracks_of(issuer) || self.of(issuer, name.slot).is_some() {
                continue;
            }
            let holder = self.living().find(|(_, track)| {
                let place = track.track.place(name.slot).filter(|_| track.issuer == issuer);
                place.is_some_and(|place| track.track.names()[place] == name)
            });
            if let Some((number, _)) = holder {
                self.enter(issuer, number, &[name]);
            }
        }
        self.left = left;
    }

    /// These are in transit in this turn. Whom no lane's track has gets a track of its own until one has: a source's frame
    /// can come before the destination's, and clients are not to lose whoever is between them. Answers the new ones'
    /// numbers.
    pub(crate) fn keep_waiting(&mut self, tick: Tick, waiting: impl Iterator<Item = Waiting>) -> Vec<u32> {
        let mut over = std::mem::take(&mut self.waiting);
        let mut begun = Vec::new();
        for one in waiting {
            let before = over.remove(&one.name);
            let of = |tracks: &Self| tracks.of(one.name.lane, one.name.slot);
            if let Some(number) = before {
                if of(self) == Some(number) && self.get(number).layers == one.layers {
                    self.waiting.insert(one.name, number);
                    continue;
                }
                self.end_number(number);
            }
            if of(self).is_none()
                && let Some(number) = self.begin_waiting(tick, one)
            {
                self.waiting.insert(one.name, number);
                begun.push(number);
            }
        }
        over.into_values().for_each(|number| self.end_number(number));
        begun
    }

    fn begin_waiting(&mut self, tick: Tick, one: Waiting) -> Option<u32> {
        let number = self.new_number(one.name.lane)?;
        let cell = told_cell_of(one.position.centre());
        let name = Name {
            slot: one.name.slot,
            generation: one.name.generation,
            kind: one.kind,
        };
        let mut track = Track::new(origin_near(cell), name.generation, name.kind);
        let join = Join {
            name,
            cell,
            before: None,
        };
        track.tell(tick, &[], &[join], None, &mut Vec::new());
        self.put(number, one.name.lane, one.layers, track);
        Some(number)
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
        let numbers = std::mem::take(&mut self.lanes[lane].by_id);
        let mut any = false;
        for number in numbers.into_iter().filter(|number| *number != NONE) {
            any = true;
            self.told.remove(number);
            self.end_number(number);
        }
        any
    }

    /// Whether members of some track have their names of this issuer.
    pub(crate) fn has_tracks_of(&self, issuer: LaneHandle) -> bool {
        self.issuers[usize::from(issuer.0)].tracks > 0
    }

    /// The handle will be another issuer's.
    pub(crate) fn forget_issuer(&mut self, issuer: LaneHandle) {
        assert!(!self.has_tracks_of(issuer), "it is in use");
        self.issuers[usize::from(issuer.0)].of = Vec::new();
    }

    /// There is a lane of this number.
    pub(crate) fn set_lane(&mut self, lane: usize) {
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, LaneTracks::default);
        }
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
    pub(crate) fn of(&self, issuer: LaneHandle, slot: Slot) -> Option<u32> {
        let number = *self.issuers[usize::from(issuer.0)].of.get(slot.0 as usize)?;
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
    pub(crate) fn change(
        &mut self,
        lane: usize,
        issuer: LaneHandle,
        tick: Tick,
        record: &CrowdRecord,
    ) -> Option<u32> {
        let number = self.by_id(lane, record.track)?;
        let track = self.get_mut(number);
        if (track.layers, track.issuer) != (record.layers, issuer) {
            return None;
        }
        let applied = track.track.apply(tick, &record.bytes).ok()?;
        self.quit(issuer, number, &applied.left);
        self.enter(issuer, number, &applied.joined);
        Some(number)
    }

    /// A keyframe came: a track begins, or is told anew. Answers its number; `None` if it can't be read, or if there is
    /// no number for it.
    pub(crate) fn start(
        &mut self,
        lane: usize,
        issuer: LaneHandle,
        tick: Tick,
        record: &CrowdRecord,
    ) -> Option<u32> {
        let track = Track::from_keyframe(tick, &record.bytes).ok()?;
        let index = usize::from(record.track.0);
        let number = if let Some(number) = self.by_id(lane, record.track) {
            let known = self.get_mut(number);
            if known.issuer != issuer {
                return None;
            }
            let before = std::mem::take(&mut known.track);
            self.quit(issuer, number, before.names());
            number
        } else {
            self.new_number(issuer)?
        };
        let by_id = &mut self.lanes[lane].by_id;
        if by_id.len() <= index {
            by_id.resize(index + 1, NONE);
        }
        by_id[index] = number;
        self.put(number, issuer, record.layers, track);
        Some(number)
    }

    /// A number for one more track of an issuer's names. `None` if there is none.
    fn new_number(&mut self, issuer: LaneHandle) -> Option<u32> {
        let next = self.slots.len() as u32;
        if self.free.is_empty() && next > NUMBER_MAX {
            return None;
        }
        self.issuers[usize::from(issuer.0)].tracks += 1;
        Some(self.free.pop().unwrap_or(next))
    }

    fn put(&mut self, number: u32, issuer: LaneHandle, layers: u32, track: Track) {
        self.enter(issuer, number, track.names());
        if self.slots.len() <= number as usize {
            self.slots.resize_with(number as usize + 1, || None);
        }
        self.slots[number as usize] = Some(CrowdTrack {
            issuer,
            layers,
            track,
            bounds: None,
            withheld: false,
            ended: false,
            record: None,
            keyframe: None,
            drop: None,
        });
    }

    /// A track ends. `None` if there is none.
    pub(crate) fn end(&mut self, lane: usize, record: &CrowdRecord) -> Option<()> {
        let number = self.by_id(lane, record.track)?;
        self.lanes[lane].by_id[usize::from(record.track.0)] = NONE;
        self.end_number(number);
        Some(())
    }

    fn end_number(&mut self, number: u32) {
        let track = self.get_mut(number);
        track.ended = true;
        let (issuer, before) = (track.issuer, std::mem::take(&mut track.track));
        self.quit(issuer, number, before.names());
        self.issuers[usize::from(issuer.0)].tracks -= 1;
        self.ending.push(number);
    }

    /// Records of one frame come by number, and frames by lane, so a member may be in its next track already.
    fn quit(&mut self, issuer: LaneHandle, number: u32, names: &[Name]) {
        let of = &mut self.issuers[usize::from(issuer.0)].of;
        for name in names {
            if let Some(of) = of.get_mut(name.slot.0 as usize)
                && *of == number
            {
                *of = NONE;
                self.left.push((issuer, *name));
            }
        }
    }

    fn enter(&mut self, issuer: LaneHandle, number: u32, names: &[Name]) {
        let of = &mut self.issuers[usize::from(issuer.0)].of;
        put_all(of, number, names, self.slots_max);
    }

    /// The track's record of this turn was framed.
    pub(crate) fn tell(&mut self, number: u32, piece: PieceId, is_keyframe: bool) {
        let track = self.get_mut(number);
        track.record = Some(piece);
        track.keyframe = is_keyframe.then_some(piece);
        self.told.insert(number);
    }

    /// Brings the boxes of all tracks up to the lives, by issuer, and finds those that must be withheld. `is_over` says of
    /// somebody who is not alive that its life ended in another lane than the track's, which has not told so yet.
    pub(crate) fn look_at_members<'a>(
        &mut self,
        lives: impl Fn(LaneHandle) -> &'a [Life],
        is_over: impl Fn(SubjectRef) -> bool,
    ) {
        let mut all_sound = true;
        for track in self.slots.iter_mut().flatten().filter(|track| !track.ended) {
            track.look_at_members(lives(track.issuer), &is_over);
            all_sound &= !track.withheld;
        }
        if !all_sound {
            self.find_members();
        }
    }

    /// A track that is withheld may hold somebody who is in another track: then that is the one to go by.
    fn find_members(&mut self) {
        for (track, number) in self.slots.iter().zip(0u32..) {
            if let Some(track) = track.as_ref().filter(|track| !track.ended && !track.withheld) {
                let of = &mut self.issuers[usize::from(track.issuer.0)].of;
                put_all(of, number, track.track.names(), self.slots_max);
            }
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
            lane: track.issuer,
            track: TrackId(number as u16),
            form,
            bytes,
        }
    }
}

/// Those of these names are in this track.
fn put_all(of: &mut Vec<u32>, number: u32, names: &[Name], slots_max: u32) {
    for name in names.iter().filter(|name| name.slot.0 < slots_max) {
        let index = name.slot.0 as usize;
        if of.len() <= index {
            of.resize(index + 1, NONE);
        }
        of[index] = number;
    }
}
