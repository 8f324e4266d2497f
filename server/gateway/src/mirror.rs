//! The mirror: a read-only copy of each lane, as of its last frame.
//!
//! Frames go in; the interest engine learns who is where, and [`Records`] what happened. A keyframe replaces the
//! copy: what it has in common with the old one goes on living, so that clients are only told the difference.
//! A lane of a higher epoch is another lane to clients: it gets another [`LaneHandle`], so that neither its slots
//! nor states still under way can be taken for those of the old one.
//!
//! Cost per tick: one decoding of every entity's near state, one move in the engine. Clients cost nothing here.
//! Crowd tracks are handed on to [`crate::crowd`].
//! It does not know who sees what; read [`crate::view`] next.

use crate::counters::Counters;
use crate::crowd::{Crowd, LaneNow};
use crate::reach::Bounds;
use crate::records::{Ended, Records};
use myriad_aoi::{Engine, SubjectId};
use myriad_wire::bits::put_varint;
use myriad_wire::fabric::{EventRecord, Frame, JoinRecord, Keyframe, TrackRecord};
use myriad_wire::limits::{ARGUMENTS_MAX, CHUNK_BYTES_MAX, NAME_BYTES_MAX, PROPERTIES_MAX, TEXT_BYTES_MAX};
use myriad_wire::track::{LEVELS, Level, State, decode_chunk};
use myriad_wire::value::PropertyList;
use myriad_wire::{
    EntityId, Generation, KindId, LaneEpoch, LaneHandle, LaneId, Slot, SubjectRef, Value, WirePos,
};

/// All lanes of the space, by number.
#[derive(Debug)]
pub(crate) struct Mirror {
    lanes: Vec<LaneMirror>,
    slots_max: u32,
    /// The handle that was given last.
    last_handle: u8,
}

/// The copy of one lane.
#[derive(Debug, Default)]
pub(crate) struct LaneMirror {
    /// The number of the lane in the gateway's list.
    number: usize,
    lane: LaneId,
    epoch: LaneEpoch,
    handle: LaneHandle,
    /// The last keyframe's; `None` before the first.
    keyframe: Option<Keyframe>,
    skipped_ticks: u64,
    /// By slot.
    subjects: Vec<Option<Subject>>,
    /// By slot, what of `subjects` is read for every member of every crowd track.
    lives: Vec<Life>,
    living: u32,
    tracks: Vec<Track>,
    /// The tracks' chunks, each behind its length as in a payload; those of one track and level one after the other.
    packed: Vec<u8>,
    chunks: Vec<Chunk>,
    scratch: Vec<State>,
}

/// One life of one slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subject {
    /// Its name on the wire.
    pub(crate) name: SubjectRef,
    pub(crate) entity: EntityId,
    pub(crate) kind: KindId,
    pub(crate) layers: u32,
    pub(crate) position: WirePos,
    /// Public ones, ascending by number.
    pub(crate) properties: PropertyList,
    /// Counts the ticks in which its public properties changed, wrapping.
    pub(crate) version: u8,
    /// The tick of the gateway in which `version` was told or last rose: it rises once a tick.
    pub(crate) versioned: u64,
    /// The tick of the gateway in which it came: until that tick's end no client knows it.
    pub(crate) born: u64,
}

/// Where the subject in a slot is, of which life and class. Of an empty slot: of no class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    /// In AOI units.
    pub(crate) at: [i32; 3],
    pub(crate) layers: u32,
    pub(crate) generation: Generation,
}

/// The states of one track in the current frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
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

/// Where a frame's consequences go.
pub(crate) struct Sink<'a> {
    /// The tick of the gateway.
    pub(crate) now: u64,
    pub(crate) engine: &'a mut Engine,
    pub(crate) records: &'a mut Records,
    pub(crate) crowd: &'a mut Crowd,
    pub(crate) counters: &'a mut Counters,
}

impl Mirror {
    /// Empty copies of `lanes`.
    pub(crate) fn new(lanes: &[LaneId], slots_max: u32) -> Self {
        let lane = |(number, lane): (usize, &LaneId)| LaneMirror {
            number,
            lane: *lane,
            handle: LaneHandle(number as u8),
            ..LaneMirror::default()
        };
        Self {
            lanes: lanes.iter().enumerate().map(lane).collect(),
            slots_max,
            last_handle: lanes.len() as u8 - 1,
        }
    }

    /// The copies, by number.
    pub(crate) fn lanes(&self) -> &[LaneMirror] {
        &self.lanes
    }

    /// Under which id the engine and the views know a slot: the lanes' slots interleave, so ids stay dense.
    pub(crate) fn id(&self, lane: usize, slot: Slot) -> SubjectId {
        id_of(self.lanes.len(), lane, slot)
    }

    /// The living subject with this id.
    pub(crate) fn subject(&self, id: SubjectId) -> Option<&Subject> {
        let lanes = self.lanes.len() as u32;
        self.lanes[(id.0 % lanes) as usize].subject(Slot(id.0 / lanes))
    }

    /// Whether somebody lives in the lane and slot of this name, in whichever life.
    pub(crate) fn is_named(&self, subject: SubjectRef) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.handle == subject.lane);
        lane.is_some_and(|lane| lane.subject(subject.slot).is_some())
    }

    /// Brings the copy of lane number `lane` up to `frame`, which must be the lane's next one or a keyframe. Answers
    /// whether the lane must be asked for a keyframe, because the frame does not go on where the one before ended.
    pub(crate) fn apply(&mut self, lane: usize, frame: Frame, sink: &mut Sink) -> bool {
        let lanes = self.lanes.len();
        let renamed = frame.epoch > self.lanes[lane].epoch && self.lanes[lane].keyframe.is_some();
        let handle = if renamed {
            self.free_handle()
        } else {
            self.lanes[lane].handle
        };
        let copy = &mut self.lanes[lane];
        assert_eq!(copy.lane, frame.lane, "a frame is applied to its own lane's copy");
        assert!(
            frame.epoch >= copy.epoch,
            "the frame of a lower epoch was not refused"
        );
        assert!(
            frame.keyframe.is_some() || copy.keyframe.is_some(),
            "a frame without a keyframe before it"
        );
        copy.epoch = frame.epoch;
        copy.skipped_ticks = frame.skipped_ticks;
        let mut update = Update {
            lanes,
            slots_max: self.slots_max,
            copy,
            sink,
        };
        let is_keyframe = frame.keyframe.is_some();
        if let Some(keyframe) = frame.keyframe {
            update.replace(keyframe, handle, &frame.joins);
        }
        update.join(frame.joins);
        for record in frame.layers {
            update.set_layers(record.slot, record.layers);
        }
        for record in frame.changes {
            update.change(record.slot, &record.properties);
        }
        update.take_tracks(&frame.tracks);
        update.take_events(&frame.events);
        for record in frame.leaves {
            update.leave(record.slot, record.generation);
        }
        sink.counters.frames_applied += 1;
        let now = LaneNow {
            number: lane,
            handle,
            is_keyframe,
            lives: &copy.lives,
        };
        sink.crowd.apply(now, &frame.crowd, sink.counters)
    }

    /// The living subject of this name.
    pub(crate) fn named(&self, name: SubjectRef) -> Option<(SubjectId, &Subject)> {
        let lane = self.lanes.iter().position(|lane| lane.handle == name.lane)?;
        let subject = self.lanes[lane].subject(name.slot)?;
        (subject.name == name).then_some((self.id(lane, name.slot), subject))
    }

    fn free_handle(&mut self) -> LaneHandle {
        loop {
            self.last_handle = self.last_handle.wrapping_add(1);
            let handle = LaneHandle(self.last_handle);
            // Lanes have far fewer handles than there are, so this ends, and one just given up rests.
            if self.lanes.iter().all(|lane| lane.handle != handle) {
                return handle;
            }
        }
    }
}

fn id_of(lanes: usize, lane: usize, slot: Slot) -> SubjectId {
    SubjectId(slot.0 * lanes as u32 + lane as u32)
}

impl LaneMirror {
    /// The lane's name towards clients.
    pub(crate) fn handle(&self) -> LaneHandle {
        self.handle
    }

    /// What the last keyframe said; `None` before the first.
    pub(crate) fn keyframe(&self) -> Option<&Keyframe> {
        self.keyframe.as_ref()
    }

    pub(crate) fn skipped_ticks(&self) -> u64 {
        self.skipped_ticks
    }

    /// How many entities it has.
    pub(crate) fn living(&self) -> u32 {
        self.living
    }

    /// The living subject in `slot`.
    pub(crate) fn subject(&self, slot: Slot) -> Option<&Subject> {
        self.subjects.get(slot.0 as usize)?.as_ref()
    }

    /// The tracks of the last frame.
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
}

/// One frame on its way into one copy.
struct Update<'a, 'b> {
    /// How many lanes there are.
    lanes: usize,
    slots_max: u32,
    copy: &'a mut LaneMirror,
    sink: &'a mut Sink<'b>,
}

impl Update<'_, '_> {
    fn id(&self, slot: Slot) -> SubjectId {
        id_of(self.lanes, self.copy.number, slot)
    }

    /// Ends all lives that go on neither under the same name nor as the same entity.
    fn replace(&mut self, keyframe: Keyframe, handle: LaneHandle, joins: &[JoinRecord]) {
        self.sink.counters.keyframes_applied += 1;
        let mut goes_on = vec![false; self.copy.subjects.len()];
        for join in joins {
            if let Some(subject) = self.copy.subject(join.slot) {
                goes_on[join.slot.0 as usize] = handle == subject.name.lane
                    && join.generation == subject.name.generation
                    && join.entity == subject.entity
                    && join.kind == subject.kind;
            }
        }
        for (slot, goes_on) in goes_on.into_iter().enumerate() {
            if !goes_on {
                self.end(Slot(slot as u32), false);
            }
        }
        self.copy.handle = handle;
        self.copy.keyframe = Some(keyframe);
    }

    fn join(&mut self, joins: Vec<JoinRecord>) {
        for join in joins {
            if join.slot.0 >= self.slots_max || !sound(&join.properties) {
                self.sink.counters.records_refused += 1;
                continue;
            }
            match self.copy.subject(join.slot) {
                // Only a keyframe names those who are alive already.
                Some(subject)
                    if (subject.name.generation, subject.entity) == (join.generation, join.entity) =>
                {
                    self.renew(join);
                }
                Some(_) => {
                    self.end(join.slot, false);
                    self.start(join);
                }
                None => self.start(join),
            }
        }
    }

    fn start(&mut self, join: JoinRecord) {
        let id = self.id(join.slot);
        let position = join.position.to_aoi();
        self.sink.engine.insert_subject(
            id,
            myriad_aoi::Subject {
                position,
                layers: join.layers,
                appeal: 0,
            },
        );
        let index = join.slot.0 as usize;
        if self.copy.subjects.len() <= index {
            self.copy.subjects.resize(index + 1, None);
            self.copy.lives.resize(index + 1, Life::default());
        }
        self.copy.lives[index] = Life {
            at: position,
            layers: join.layers,
            generation: join.generation,
        };
        self.copy.subjects[index] = Some(Subject {
            name: SubjectRef {
                lane: self.copy.handle,
                slot: join.slot,
                generation: join.generation,
            },
            entity: join.entity,
            kind: join.kind,
            layers: join.layers,
            position: join.position,
            properties: join.properties,
            version: join.version,
            versioned: self.sink.now,
            born: self.sink.now,
        });
        self.copy.living += 1;
    }

    /// The life in `join.slot` goes on; the keyframe says how.
    fn renew(&mut self, join: JoinRecord) {
        self.set_layers(join.slot, join.layers);
        self.set_position(join.slot, join.position);
        let now = self.sink.now;
        let subject = self.living(join.slot).expect("the caller found it");
        (subject.version, subject.versioned) = (join.version, now);
        let changed: PropertyList = join
            .properties
            .into_iter()
            .filter(|property| !subject.properties.contains(property))
            .collect();
        if !changed.is_empty() {
            self.change(join.slot, &changed);
        }
    }

    /// Ends the life in `slot`, if there is one. `told` says that this frame's events of the slot are taken.
    fn end(&mut self, slot: Slot, told: bool) {
        let id = self.id(slot);
        let Some(subject) = self.copy.subjects[slot.0 as usize].take() else {
            return;
        };
        self.copy.lives[slot.0 as usize] = Life::default();
        self.copy.living -= 1;
        self.sink.engine.remove_subject(id);
        if subject.born != self.sink.now {
            let last_words = told && self.sink.records.evented().contains(id);
            let (subject, layers) = (subject.name, subject.layers);
            self.sink.records.put_ended(Ended {
                id,
                subject,
                layers,
                last_words,
            });
        }
    }

    fn leave(&mut self, slot: Slot, generation: Generation) {
        match self.copy.subject(slot) {
            Some(subject) if subject.name.generation == generation => self.end(slot, true),
            _ => self.sink.counters.records_refused += 1,
        }
    }

    fn living(&mut self, slot: Slot) -> Option<&mut Subject> {
        let subject = self
            .copy
            .subjects
            .get_mut(slot.0 as usize)
            .and_then(Option::as_mut);
        if subject.is_none() {
            self.sink.counters.records_refused += 1;
        }
        subject
    }

    fn set_layers(&mut self, slot: Slot, layers: u32) {
        let id = self.id(slot);
        let Some(subject) = self.living(slot) else { return };
        if subject.layers != layers {
            subject.layers = layers;
            self.copy.lives[slot.0 as usize].layers = layers;
            self.sink.engine.set_layers(id, layers);
        }
    }

    fn set_position(&mut self, slot: Slot, position: WirePos) {
        let id = self.id(slot);
        let Some(subject) = self.living(slot) else { return };
        let (before, now) = (subject.position.to_aoi(), position.to_aoi());
        subject.position = position;
        if before != now {
            self.copy.lives[slot.0 as usize].at = now;
            self.sink.engine.move_subject(id, now);
        }
    }

    fn change(&mut self, slot: Slot, properties: &PropertyList) {
        if !sound(properties) {
            self.sink.counters.records_refused += 1;
            return;
        }
        let (id, now) = (self.id(slot), self.sink.now);
        let Some(subject) = self.living(slot) else { return };
        if subject.versioned != now {
            subject.version = subject.version.wrapping_add(1);
            subject.versioned = now;
        }
        for (index, value) in properties {
            match subject
                .properties
                .binary_search_by_key(index, |property| property.0)
            {
                Ok(place) => subject.properties[place].1.clone_from(value),
                Err(place) => subject.properties.insert(place, (*index, value.clone())),
            }
        }
        let subject = self.copy.subject(slot).expect("found above");
        self.sink.records.put_change(id, subject, properties);
    }

    fn take_events(&mut self, events: &[EventRecord]) {
        // By subject, and within it in the frame's order.
        let mut order: Vec<&EventRecord> = events.iter().collect();
        order.sort_by_key(|event| event.slot);
        for event in order {
            let sound = (1..=NAME_BYTES_MAX).contains(&event.name.len())
                && event.arguments.len() <= ARGUMENTS_MAX
                && event.arguments.iter().all(is_short);
            match self.copy.subject(event.slot) {
                Some(subject) if sound => {
                    let (name, layers) = (subject.name, subject.layers);
                    self.sink.crowd.put_event(self.copy.number, name, layers, event);
                    self.sink.records.put_event(self.id(event.slot), name, event);
                }
                _ => self.sink.counters.records_refused += 1,
            }
        }
    }

    /// Takes the positions out of the near level, and all chunks for sending.
    fn take_tracks(&mut self, tracks: &[TrackRecord]) {
        self.copy.tracks.clear();
        self.copy.packed.clear();
        self.copy.chunks.clear();
        for track in tracks {
            // A track that holds somebody of another class would show them to those who must not see them.
            if self.take_positions(track) {
                self.pack(track);
            }
        }
    }

    /// Whether all members that are alive are of the track's class.
    fn take_positions(&mut self, track: &TrackRecord) -> bool {
        let mut states = std::mem::take(&mut self.copy.scratch);
        let mut of_one_class = true;
        for chunk in &track.levels[Level::NEAR.index()] {
            states.clear();
            if decode_chunk(chunk, |state| states.push(state)) != Ok(Level::NEAR) {
                self.sink.counters.chunks_refused += 1;
                continue;
            }
            for state in &states {
                self.set_position(state.slot, state.position.to_wire());
                of_one_class &= self
                    .copy
                    .subject(state.slot)
                    .is_none_or(|subject| subject.layers == track.layers);
            }
        }
        self.copy.scratch = states;
        if !of_one_class {
            self.sink.counters.chunks_refused += 1;
        }
        of_one_class
    }

    fn pack(&mut self, track: &TrackRecord) {
        let copy = &mut *self.copy;
        let mut levels = [LevelChunks::default(); LEVELS];
        for (level, chunks) in levels.iter_mut().zip(&track.levels) {
            level.first = copy.chunks.len() as u32;
            for chunk in chunks {
                if !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk.len()) {
                    self.sink.counters.chunks_refused += 1;
                    continue;
                }
                let start = copy.packed.len() as u32;
                put_varint(&mut copy.packed, chunk.len() as u64);
                copy.packed.extend_from_slice(chunk);
                copy.chunks.push(Chunk {
                    start,
                    end: copy.packed.len() as u32,
                });
                level.count += 1;
                level.bytes += copy.packed.len() as u32 - start;
            }
        }
        copy.tracks.push(Track {
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

/// A chunk's head has two bytes and four numbers, its bits begin with 23.
const CHUNK_BYTES_MIN: usize = 9;

/// That properties keep to the limits of the wire: a client closes on a view that does not.
fn sound(properties: &PropertyList) -> bool {
    properties.is_sorted_by(|a, b| a.0 < b.0)
        && properties
            .iter()
            .all(|(index, value)| usize::from(index.0) < PROPERTIES_MAX && is_short(value))
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.len() <= TEXT_BYTES_MAX,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => true,
    }
}
