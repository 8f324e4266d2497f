//! Crowd tracks: every entity of the lane has a seat in one of them, and keeps it as long as it can.
//!
//! A track belongs to a *home*: one square of the ground, one visibility class and one issuer of names. Who comes sits down at home, in the
//! fullest track that has room. Who walks away stays in its track until it is well outside of the home's square, since
//! a move is told to every client and costs as much as a dozen states. All who have strayed move in the same tick of a
//! period: together they take half of the bytes that they would take one by one. A track that has become small moves into another of
//! its home. Positions are told once per period, each track in its own tick.
//!
//! [`Crowd::tick`] takes every entity and gives the records of the frame; [`Crowd::keyframes`] gives the same tick's
//! tracks in full, for readers who know nothing. Both are functions of what went before and of no clock. What a track
//! and its bytes are is in [`myriad_wire::crowd`]. Observers are not known here.
//!
//! Cost: per entity and tick one look at its seat, and one coding in the ticks in which its track is told. There are
//! tables by the slots of each issuer and by number of track; the map of homes is asked only for those who sit down and who have strayed.

mod home;
mod ids;
#[cfg(test)]
mod tests;

use crate::issuers::Issuers;
use home::Home;
use ids::Ids;
use myriad_wire::crowd::message::Form;
use myriad_wire::crowd::{Join, Name, TRACK_MEMBERS_MAX, Track, TrackId};
use myriad_wire::fabric::CrowdRecord;
use myriad_wire::lane::ToldCell;
use myriad_wire::{EntityName, Generation, LaneEpoch, Slot, Tick};
use myriad_world::Subject;
use std::collections::BTreeMap;

/// Members beyond which newcomers are sent to another track. What is left is for those who find no track at home when
/// all numbers are in use.
const TRACK_MEMBERS_WANTED: usize = 240;
/// A track of at most so many members moves into another of its home.
const TRACK_MEMBERS_FEW: usize = 16;
/// Longest period of telling, in ticks. A member's age is told in 16 bits, and must not wrap even when ticks were
/// jumped over.
pub(crate) const PERIOD_TICKS_MAX: u64 = 16 * 1024;
/// After a longer jump it is not told where those who move were before: they have been elsewhere in the meantime.
const JUMP_TICKS_MAX: u64 = 16 * 1024;

/// All crowd tracks of a lane.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// At least 1.
    period_ticks: u64,
    ids: Ids,
    /// By number; `None` where no track has it.
    tracks: Vec<Option<Live>>,
    /// The tracks of each home, in the order in which they began. No home is without one.
    homes: BTreeMap<Home, Vec<TrackId>>,
    /// By issuer, and then by slot.
    seats: BTreeMap<LaneEpoch, Vec<Seat>>,
    /// Of entities that come from another lane in this tick: what was told of them there.
    brought: BTreeMap<EntityName, ToldCell>,
    last_tick: Option<Tick>,
    /// When those who had strayed moved last.
    moved: Tick,
    /// They move in this tick.
    is_moving: bool,
    /// After a jump too long for ages.
    is_long_jump: bool,
    totals: Totals,
    arrivals: Vec<Arrival>,
    scratch: Vec<u8>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) joins: u64,
    pub(crate) moves: u64,
    pub(crate) merges: u64,
    /// Entities and ticks without a track of their home because all numbers are in use.
    pub(crate) astray: u64,
    /// Entities and ticks without any track.
    pub(crate) unseated: u64,
    /// Members told where they are in tellings of whole tracks.
    pub(crate) states: u64,
    /// Bytes of keyframes of new tracks.
    pub(crate) begun_bytes: u64,
    pub(crate) delta_bytes: u64,
    /// Of those, in records that tell nothing but who leaves and joins.
    pub(crate) membership_bytes: u64,
}

/// Where the entity in a slot is a member, and which life of the slot it is.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    track: Option<TrackId>,
    generation: Generation,
    /// Somebody of this name was there in the last tick.
    present: bool,
}

/// One that needs a seat in this tick, or wants another.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// Its place among this tick's subjects.
    subject: usize,
    /// The track that it would leave, if it finds a better one.
    stays_in: Option<TrackId>,
    before: Option<([i32; 3], u16)>,
}

/// A track, and what becomes of it in this tick.
#[derive(Debug)]
struct Live {
    home: Home,
    track: Track,
    /// When everybody was told last.
    told: Tick,
    /// Members after this tick's changes.
    size: usize,
    is_new: bool,
    /// Everybody is told in this tick.
    is_due: bool,
    leaves: Vec<Slot>,
    joins: Vec<Join>,
    /// Where everybody is, in the order of slots, if it is due.
    cells: Vec<[i32; 3]>,
}

impl Crowd {
    /// No tracks yet. A period of none or more than [`PERIOD_TICKS_MAX`] ticks becomes the next that there is.
    pub(crate) fn new(period_ticks: u64) -> Self {
        Self::with_ids(period_ticks, Ids::default())
    }

    fn with_ids(period_ticks: u64, ids: Ids) -> Self {
        Self {
            period_ticks: period_ticks.clamp(1, PERIOD_TICKS_MAX),
            ids,
            tracks: Vec::new(),
            homes: BTreeMap::new(),
            seats: BTreeMap::new(),
            brought: BTreeMap::new(),
            last_tick: None,
            moved: Tick(0),
            is_moving: false,
            is_long_jump: false,
            totals: Totals::default(),
            arrivals: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Ticks between two tellings of a track.
    pub(crate) fn period_ticks(&self) -> u64 {
        self.period_ticks
    }

    /// What has happened so far.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// An entity comes from another lane in this tick, where this was told of it last: those who watch see it go on.
    pub(crate) fn bring(&mut self, name: EntityName, told: ToldCell) {
        self.brought.insert(name, told);
    }

    /// The track that an entity is a member of, if it is of one.
    pub(crate) fn track_of(&self, name: EntityName) -> Option<TrackId> {
        self.seats.get(&name.issuer)?.get(name.slot.0 as usize)?.track
    }

    /// What was told last of an entity that is there, as of the tick `now` that was told.
    pub(crate) fn told_cell(&self, name: EntityName, now: Tick) -> Option<ToldCell> {
        let seat = *self.seats.get(&name.issuer)?.get(name.slot.0 as usize)?;
        let track = &self.live(seat.track?).track;
        let place = track.place(name.slot)?;
        Some(ToldCell {
            cell: track.cell(place, 0),
            tick: now - u64::from(track.age(place, 0, now)),
        })
    }

    /// Takes the entities of tick `now`, ascending by name, and gives what readers of the tick before must be told,
    /// ascending by track. Call it once per tick.
    pub(crate) fn tick(
        &mut self,
        now: Tick,
        subjects: &[Subject],
        issuers: &mut Issuers,
    ) -> Vec<CrowdRecord> {
        self.begin(now);
        self.unseat(now, subjects);
        self.seat(now, subjects);
        self.merge(now, subjects);
        self.locate(subjects);
        self.brought.clear();
        self.tell(now, issuers)
    }

    /// All tracks as they are after the tick `now`, ascending: for readers who know nothing.
    pub(crate) fn keyframes(&self, now: Tick, issuers: &mut Issuers) -> Vec<CrowdRecord> {
        let keyframe = |(id, live): (TrackId, &Live)| {
            let mut bytes = Vec::new();
            live.track.keyframe(now, &mut bytes);
            live.record(id, Form::Keyframe, bytes, issuers)
        };
        numbered(&self.tracks).map(keyframe).collect()
    }

    fn begin(&mut self, now: Tick) {
        let elapsed = self.last_tick.map_or(1, |last| now.since(last));
        self.last_tick = Some(now);
        self.is_long_jump = elapsed > JUMP_TICKS_MAX;
        let period = self.period_ticks;
        // After a jump a turn may have been missed.
        let is_due = |phase: u16, last: Tick| {
            let turn = now.0.wrapping_add(u64::from(phase)).is_multiple_of(period);
            turn || now.since(last) >= period
        };
        self.is_moving = is_due(0, self.moved);
        if self.is_moving {
            self.moved = now;
        }
        for (id, live) in numbered_mut(&mut self.tracks) {
            live.is_due = is_due(id.0, live.told);
            live.leaves.clear();
            live.joins.clear();
            live.cells.clear();
        }
    }

    /// Takes their seats from those who are gone or cannot keep them, and lists who needs one.
    fn unseat(&mut self, now: Tick, subjects: &[Subject]) {
        self.arrivals.clear();
        for group in by_issuer(subjects) {
            let slots = group.last().expect("no group is empty").name.slot.0 as usize + 1;
            let seats = self.seats.entry(group[0].name.issuer).or_default();
            if seats.len() < slots {
                seats.resize(slots, Seat::default());
            }
        }
        let mut seats = std::mem::take(&mut self.seats);
        let mut first = 0;
        for (issuer, seats) in &mut seats {
            let rest = &subjects[first..];
            let count = rest.partition_point(|subject| subject.name.issuer <= *issuer);
            self.unseat_issuer(now, seats, first, &rest[..count]);
            first += count;
        }
        assert_eq!(first, subjects.len(), "subjects ascend by name");
        seats.retain(|_, seats| seats.iter().any(|seat| seat.track.is_some() || seat.present));
        self.seats = seats;
    }

    /// `subjects` are all of one issuer; the first of them has the place `first` among all.
    fn unseat_issuer(&mut self, now: Tick, seats: &mut [Seat], first: usize, subjects: &[Subject]) {
        let mut present = (first..).zip(subjects).peekable();
        for (slot, seat) in (0..).map(Slot).zip(seats) {
            let subject = present.next_if(|(_, subject)| subject.name.slot == slot);
            let Seat {
                track, generation, ..
            } = *seat;
            seat.present = subject.is_some();
            let Some((place, subject)) = subject else {
                if let Some(id) = seat.track.take() {
                    self.live_mut(id).leave(slot);
                }
                continue;
            };
            seat.generation = subject.name.generation;
            let mut arrival = Arrival {
                subject: place,
                stays_in: None,
                before: None,
            };
            if let Some(id) = track {
                let live = self.live(id);
                let is_same_life = generation == subject.name.generation;
                let is_reached =
                    is_same_life && live.home.reaches(subject.layers, home::cell(subject.position));
                if is_reached && (!self.is_moving || live.home.is_near(subject.position)) {
                    continue;
                }
                if is_same_life {
                    arrival.before = self.before(id, slot, now);
                }
                if is_reached {
                    arrival.stays_in = Some(id);
                } else {
                    seat.track = None;
                    self.live_mut(id).leave(slot);
                }
            } else if let Some(told) = self.brought.get(&subject.name) {
                let age = u16::try_from(now.since(told.tick)).ok();
                arrival.before = age.filter(|_| !self.is_long_jump).map(|age| (told.cell, age));
            }
            self.arrivals.push(arrival);
        }
        assert!(present.next().is_none(), "subjects ascend by name");
    }

    fn leave(&mut self, id: TrackId, slot: Slot) {
        self.live_mut(id).leave(slot);
        let issuer = self.live(id).home.issuer();
        self.seat_mut(issuer, slot).track = None;
    }

    fn seat_of(&self, issuer: LaneEpoch, slot: Slot) -> Seat {
        self.seats[&issuer][slot.0 as usize]
    }

    fn seat_mut(&mut self, issuer: LaneEpoch, slot: Slot) -> &mut Seat {
        let seats = self.seats.get_mut(&issuer).expect("whoever is there has a seat");
        &mut seats[slot.0 as usize]
    }

    /// The cell last told of a member, and how many ticks ago.
    fn before(&self, id: TrackId, slot: Slot, now: Tick) -> Option<([i32; 3], u16)> {
        if self.is_long_jump {
            return None;
        }
        let track = &self.live(id).track;
        let place = track.place(slot).expect("a seat is a membership");
        Some((track.cell(place, 0), track.age(place, 0, now)))
    }

    /// Gives seats to those who need one.
    fn seat(&mut self, now: Tick, subjects: &[Subject]) {
        for i in 0..self.arrivals.len() {
            let arrival = self.arrivals[i];
            let subject = &subjects[arrival.subject];
            let home = Home::of(subject.layers, subject.name.issuer, subject.position);
            let at_home = self
                .fullest_with_room(home)
                .or_else(|| self.begin_track(home, now, subject));
            match (at_home, arrival.stays_in) {
                (Some(id), Some(old)) => {
                    self.leave(old, subject.name.slot);
                    self.join(id, subject, arrival.before);
                }
                (Some(id), None) => self.join(id, subject, arrival.before),
                (None, Some(_)) => self.totals.astray += 1,
                (None, None) => match self.any_with_room(home, subject) {
                    Some(id) => {
                        self.totals.astray += 1;
                        self.join(id, subject, arrival.before);
                    }
                    None => self.totals.unseated += 1,
                },
            }
        }
    }

    /// Counted as a move if it was a member before.
    fn join(&mut self, id: TrackId, subject: &Subject, before: Option<([i32; 3], u16)>) {
        let live = self.tracks[usize::from(id.0)]
            .as_mut()
            .expect("a track that lives");
        let reach = |(cell, _): &([i32; 3], u16)| live.home.is_within_reach(*cell);
        let join = Join {
            name: Name {
                slot: subject.name.slot,
                generation: subject.name.generation,
                kind: subject.kind,
            },
            cell: home::cell(subject.position),
            before: before.filter(reach),
        };
        live.joins.push(join);
        live.size += 1;
        self.seat_mut(subject.name.issuer, subject.name.slot).track = Some(id);
        if before.is_some() {
            self.totals.moves += 1;
        } else {
            self.totals.joins += 1;
        }
    }

    fn fullest_with_room(&self, home: Home) -> Option<TrackId> {
        let tracks = self.homes.get(&home)?.iter().copied();
        tracks
            .filter(|id| self.live(*id).size < TRACK_MEMBERS_WANTED)
            .max_by_key(|id| (self.live(*id).size, std::cmp::Reverse(*id)))
    }

    /// `None` if all numbers are in use.
    fn begin_track(&mut self, home: Home, now: Tick, first: &Subject) -> Option<TrackId> {
        let id = self.ids.take(now)?;
        let place = usize::from(id.0);
        if self.tracks.len() <= place {
            self.tracks.resize_with(place + 1, || None);
        }
        self.tracks[place] = Some(Live {
            home,
            track: Track::new(home.origin(), first.name.generation, first.kind),
            told: now,
            size: 0,
            is_new: true,
            is_due: false,
            leaves: Vec::new(),
            joins: Vec::new(),
            cells: Vec::new(),
        });
        self.homes.entry(home).or_default().push(id);
        self.totals.begun += 1;
        Some(id)
    }

    /// Any track of the class that reaches so far, from those of nearby homes on. For when all numbers are in use.
    fn any_with_room(&self, home: Home, subject: &Subject) -> Option<TrackId> {
        let [first, last] = home.all_like();
        let up = self.homes.range(home..=last);
        let down = self.homes.range(first..home).rev();
        let cell = home::cell(subject.position);
        up.chain(down)
            .filter(|(home, _)| home.is_within_reach(cell))
            .flat_map(|(_, tracks)| tracks.iter().copied())
            .find(|id| self.live(*id).size < TRACK_MEMBERS_MAX)
    }

    /// Moves the members of the smallest track that has few into another of its home, if one has room for them. One
    /// per tick: it is for order, and in no hurry.
    fn merge(&mut self, now: Tick, subjects: &[Subject]) {
        let Some((small, into)) = self.find_merge() else {
            return;
        };
        let slots: Vec<Slot> = self.remaining(small).collect();
        let issuer = self.live(small).home.issuer();
        for slot in slots {
            let of = |subject: &Subject| (subject.name.issuer, subject.name.slot);
            let place = subjects.binary_search_by_key(&(issuer, slot), of);
            let subject = &subjects[place.expect("who has a seat is there")];
            let before = self.before(small, slot, now);
            self.leave(small, slot);
            self.join(into, subject, before);
        }
        self.totals.merges += 1;
    }

    fn find_merge(&self) -> Option<(TrackId, TrackId)> {
        let few = |id: &TrackId| {
            let live = self.live(*id);
            // Who joins in this tick has no cell told before, and need not be told twice.
            (1..=TRACK_MEMBERS_FEW).contains(&live.size) && live.joins.is_empty()
        };
        let mut best: Option<(usize, TrackId, TrackId)> = None;
        for tracks in self.homes.values().filter(|tracks| tracks.len() > 1) {
            for small in tracks.iter().copied().filter(few) {
                let size = self.live(small).size;
                let room = |id: &TrackId| {
                    let other = self.live(*id).size;
                    *id != small && other > 0 && other + size <= TRACK_MEMBERS_WANTED
                };
                let into = tracks.iter().copied().filter(room);
                let into = into.max_by_key(|id| (self.live(*id).size, std::cmp::Reverse(*id)));
                if let Some(into) = into {
                    best = best.into_iter().chain([(size, small, into)]).min();
                }
            }
        }
        best.map(|(_, small, into)| (small, into))
    }

    /// Members of a track who do not leave it in this tick.
    fn remaining(&self, id: TrackId) -> impl Iterator<Item = Slot> {
        let live = self.live(id);
        let names = live.track.names().iter().map(|name| name.slot);
        names.filter(move |slot| self.seat_of(live.home.issuer(), *slot).track == Some(id))
    }

    /// Notes where the members of those tracks are that are due.
    fn locate(&mut self, subjects: &[Subject]) {
        let tracks = &mut self.tracks;
        for group in by_issuer(subjects) {
            let seats = &self.seats[&group[0].name.issuer];
            for subject in group {
                let Some(id) = seats[subject.name.slot.0 as usize].track else {
                    continue;
                };
                let live = tracks[usize::from(id.0)].as_mut().expect("a track that lives");
                if live.is_due {
                    live.cells.push(home::cell(subject.position));
                }
            }
        }
    }

    fn tell(&mut self, now: Tick, issuers: &mut Issuers) -> Vec<CrowdRecord> {
        let mut records = Vec::new();
        for place in 0..self.tracks.len() {
            let Some(live) = &mut self.tracks[place] else {
                continue;
            };
            let id = TrackId(place as u16);
            if live.size == 0 {
                records.push(live.record(id, Form::Drop, Vec::new(), issuers));
                self.end(id, now);
            } else if let Some((form, bytes)) = live.tell(now, &mut self.scratch, &mut self.totals) {
                records.push(live.record(id, form, bytes, issuers));
            }
        }
        records
    }

    fn end(&mut self, id: TrackId, now: Tick) {
        let ended = self.tracks[usize::from(id.0)].take().expect("a track that lives");
        let tracks = self.homes.get_mut(&ended.home).expect("a track is at home");
        tracks.retain(|other| *other != id);
        if tracks.is_empty() {
            self.homes.remove(&ended.home);
        }
        self.ids.give_back(id, now);
        self.totals.ended += 1;
    }

    fn live(&self, id: TrackId) -> &Live {
        self.tracks[usize::from(id.0)]
            .as_ref()
            .expect("a track that lives")
    }

    fn live_mut(&mut self, id: TrackId) -> &mut Live {
        self.tracks[usize::from(id.0)]
            .as_mut()
            .expect("a track that lives")
    }
}

impl Live {
    /// What readers must be told of it, if anything. It has members.
    fn tell(&mut self, now: Tick, scratch: &mut Vec<u8>, totals: &mut Totals) -> Option<(Form, Vec<u8>)> {
        self.leaves.sort_unstable();
        self.joins.sort_unstable_by_key(|join| join.name.slot);
        scratch.clear();
        if std::mem::take(&mut self.is_new) {
            self.track.tell(now, &[], &self.joins, None, scratch);
            scratch.clear();
            self.track.keyframe(now, scratch);
            totals.begun_bytes += scratch.len() as u64;
            return Some((Form::Keyframe, scratch.clone()));
        }
        if self.leaves.is_empty() && self.joins.is_empty() && !self.is_due {
            return None;
        }
        let cells = self.is_due.then_some(&self.cells[..]);
        self.track.tell(now, &self.leaves, &self.joins, cells, scratch);
        totals.delta_bytes += scratch.len() as u64;
        if self.is_due {
            self.told = now;
            totals.states += self.cells.len() as u64;
        } else {
            totals.membership_bytes += scratch.len() as u64;
        }
        Some((Form::Delta, scratch.clone()))
    }

    fn leave(&mut self, slot: Slot) {
        self.leaves.push(slot);
        self.size -= 1;
    }

    fn record(&self, track: TrackId, form: Form, bytes: Vec<u8>, issuers: &mut Issuers) -> CrowdRecord {
        CrowdRecord {
            issuer: issuers.index(self.home.issuer()),
            track,
            layers: self.home.layers(),
            form,
            bytes,
        }
    }
}

/// The subjects of each issuer. They ascend by name.
fn by_issuer(subjects: &[Subject]) -> impl Iterator<Item = &[Subject]> {
    subjects.chunk_by(|a, b| a.name.issuer == b.name.issuer)
}

fn numbered(tracks: &[Option<Live>]) -> impl Iterator<Item = (TrackId, &Live)> {
    (0..=u16::MAX)
        .map(TrackId)
        .zip(tracks)
        .filter_map(|(id, live)| Some((id, live.as_ref()?)))
}

fn numbered_mut(tracks: &mut [Option<Live>]) -> impl Iterator<Item = (TrackId, &mut Live)> {
    (0..=u16::MAX)
        .map(TrackId)
        .zip(tracks)
        .filter_map(|(id, live)| Some((id, live.as_mut()?)))
}
