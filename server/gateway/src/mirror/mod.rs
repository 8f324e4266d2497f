//! The mirror: a read-only copy of all lanes, as of their last frames.
//!
//! Frames go in ([`update`]); the interest engine learns who is where, and [`Records`] what happened. Who lives is kept by
//! name ([`lives`]), not by lane: an entity keeps its name for life, and to clients it is nobody's matter which lane has
//! authority over it. A hand-off is no edge. A keyframe replaces what its lane has authority over: what it has in common
//! with that goes on living, so that clients are only told the difference.
//!
//! Names are told apart by who gave them ([`issuers`]). A lane of a higher epoch gives other names, so that neither its
//! slots nor states still under way can be taken for those of the old one.
//!
//! Cost per tick: one decoding of every entity's near state, one move in the engine. Clients cost nothing here.
//! Crowd tracks are handed on to [`crate::crowd`].
//! It does not know who sees what; read [`crate::view`] next.

mod issuers;
mod lives;
mod near;
mod update;

pub(crate) use lives::{Life, Subject};
pub(crate) use near::{Chunk, NearTracks, Track};

use crate::counters::Counters;
use crate::crowd::{Crowd, LaneNow, Waiting};
use crate::records::Records;
use lives::Lives;
use myriad_aoi::{Engine, SubjectId};
use myriad_wire::fabric::{Frame, Keyframe};
use myriad_wire::track::State;
use myriad_wire::{EntityName, LaneEpoch, LaneHandle, LaneId, SubjectRef};
use update::Update;

/// All lanes of the space.
///
/// In each tick that has a frame: [`Self::begin`], then per lane [`Self::apply`], then [`Self::settle`].
#[derive(Debug)]
pub(crate) struct Mirror {
    /// By number.
    lanes: Vec<LaneMirror>,
    lives: Lives,
    scratch: Vec<State>,
}

/// What the last frame of one lane said, but for who lives.
#[derive(Debug, Default)]
pub(crate) struct LaneMirror {
    lane: LaneId,
    epoch: LaneEpoch,
    /// The last keyframe's; `None` before the first.
    keyframe: Option<Keyframe>,
    skipped_ticks: u64,
    near: NearTracks,
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
    /// Empty copies of `lanes`. Subjects have ids below `subjects_max`, and an issuer's slots are below `slots_max`.
    pub(crate) fn new(lanes: &[LaneId], slots_max: u32, subjects_max: u32) -> Self {
        let lane = |lane: &LaneId| LaneMirror {
            lane: *lane,
            ..LaneMirror::default()
        };
        Self {
            lanes: lanes.iter().map(lane).collect(),
            lives: Lives::new(lanes.len(), slots_max, subjects_max),
            scratch: Vec::new(),
        }
    }

    /// The number is this lane's from now on, of which nothing is known yet.
    pub(crate) fn set_lane(&mut self, number: usize, lane: LaneId) {
        if self.lanes.len() <= number {
            self.lanes.resize_with(number + 1, LaneMirror::default);
        }
        self.lanes[number] = LaneMirror {
            lane,
            ..LaneMirror::default()
        };
        self.lives.set_lane(number);
    }

    /// The lane has ended: whom it had authority over, which should be nobody, waits for another lane.
    pub(crate) fn drop_lane(&mut self, number: usize, sink: &mut Sink) {
        self.lanes[number] = LaneMirror::default();
        let left: Vec<Life> = self.lives.held_by(number).collect();
        for life in left {
            self.lives.depart(&life, sink.now);
        }
        sink.crowd.drop_lane(number);
    }

    /// The copies, by number.
    pub(crate) fn lanes(&self) -> &[LaneMirror] {
        &self.lanes
    }

    /// Over how many entities lane number `lane` has authority.
    pub(crate) fn held(&self, lane: usize) -> u32 {
        self.lives.held(lane)
    }

    /// The living subject with this id.
    pub(crate) fn subject(&self, id: SubjectId) -> Option<&Subject> {
        self.lives.subject(id)
    }

    /// The living subject that lanes call by this name.
    pub(crate) fn find(&self, name: EntityName) -> Option<(SubjectId, &Subject)> {
        self.named(SubjectRef {
            lane: self.lives.issuers.handle(name.issuer)?,
            slot: name.slot,
            generation: name.generation,
        })
    }

    /// The living subject that clients call by this name.
    pub(crate) fn named(&self, name: SubjectRef) -> Option<(SubjectId, &Subject)> {
        let life = self.lives.find(name.lane, name.slot)?;
        (life.generation == name.generation).then(|| (life.id, self.lives.of(&life)))
    }

    /// Whether somebody lives in the slot of this name, in whichever life.
    pub(crate) fn is_named(&self, name: SubjectRef) -> bool {
        self.lives.find(name.lane, name.slot).is_some()
    }

    /// By slot, the lives with names of one issuer.
    pub(crate) fn lives(&self, issuer: LaneHandle) -> &[Life] {
        self.lives.issuers.get(issuer).map_or(&[], |issuer| &issuer.lives)
    }

    /// Frames came, in tick `now` of the gateway.
    pub(crate) fn begin(&mut self, now: u64) {
        self.lives.begin(now);
    }

    /// Brings the copy of lane number `lane` up to `frame`, which must be the lane's next one or a keyframe. Answers
    /// whether the lane must be asked for a keyframe, because the frame does not go on where the one before ended.
    pub(crate) fn apply(&mut self, lane: usize, mut frame: Frame, sink: &mut Sink) -> bool {
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
        let is_keyframe = frame.keyframe.is_some();
        if let Some(keyframe) = frame.keyframe.take() {
            copy.keyframe = Some(keyframe);
        }
        sink.counters.frames_applied += 1;
        let (issuers, crowd) = (
            std::mem::take(&mut frame.issuers),
            std::mem::take(&mut frame.crowd),
        );
        let mut update = Update::new(
            lane,
            issuers,
            &mut self.lives,
            &mut copy.near,
            &mut self.scratch,
            sink,
        );
        update.take(frame, is_keyframe);
        let now = LaneNow {
            number: lane,
            is_keyframe,
            issuers: &update.admit_crowd(&crowd),
        };
        sink.crowd.apply(now, &crowd, sink.counters)
    }

    /// All frames of this turn were applied: ends who was let go and never claimed, and takes back the handles of which
    /// nobody has need. Everything is as clients are told it from here on.
    pub(crate) fn settle(&mut self, sink: &mut Sink) {
        while let Some(life) = self.lives.pop_unclaimed(sink.now) {
            self.lives.end(&life, sink.now, sink.engine, sink.records);
            sink.counters.transits_ended += 1;
        }
        let (lanes, now) = (&self.lanes, sink.now);
        let mut retired = Vec::new();
        self.lives.issuers.retire(
            now,
            |epoch, handle| lanes.iter().any(|lane| lane.epoch == epoch) || sink.crowd.has_tracks_of(handle),
            |handle| retired.push(handle),
        );
        for handle in retired {
            sink.crowd.forget_issuer(handle);
        }
        let waiting = self.lives.in_transit().map(|subject| Waiting {
            name: subject.name,
            kind: subject.kind,
            layers: subject.layers,
            position: subject.position,
        });
        sink.crowd.settle(
            waiting,
            |issuer| self.lives(issuer),
            |name| self.lives.is_buried(name),
            sink.counters,
        );
    }
}

impl LaneMirror {
    /// What the last keyframe said; `None` before the first.
    pub(crate) fn keyframe(&self) -> Option<&Keyframe> {
        self.keyframe.as_ref()
    }

    pub(crate) fn skipped_ticks(&self) -> u64 {
        self.skipped_ticks
    }

    /// The near tracks of the last frame.
    pub(crate) fn near(&self) -> &NearTracks {
        &self.near
    }
}
