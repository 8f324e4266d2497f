//! The stage as a crowd: one track of everybody, told every [`PERIOD`] ticks.

use super::Stage;
use myriad_wire::crowd::message::{CrowdHead, Form, Record, finish};
use myriad_wire::crowd::{Join, Name, Track, TrackId, cell_of};
use myriad_wire::track::Level;
use myriad_wire::truth::TruthTick;
use myriad_wire::{Generation, KindId, LaneHandle, Slot};

/// Ticks between two tellings, as the stage's rules say.
pub(crate) const PERIOD: u64 = 5;

impl Stage {
    /// The view is told by a track from here on: of all whom `told` tells of.
    pub(crate) fn begin_crowd(&mut self, told: &TruthTick) {
        let mut track = Track::new([0; 3], Generation(0), KindId(0));
        let members: Vec<_> = told.entities.iter().map(join).collect();
        track.tell(self.tick, &[], &members, None, &mut Vec::new());
        let mut keyframe = Vec::new();
        track.keyframe(self.tick, &mut keyframe);
        self.track = Some(track);
        self.send_states(Level::NEAR, &[]);
        self.send_crowd(true, Form::Keyframe, &keyframe);
    }

    /// The track is told of a tick: everybody's cells if it is time, and who came and went in any case.
    pub(crate) fn send_track(&mut self, told: &TruthTick) {
        let tick = self.tick;
        let track = self.track.as_mut().expect("the crowd has begun");
        let is_there = |slot: Slot| told.entities.iter().any(|entity| entity.name.slot == slot);
        let names = track.names().iter().map(|name| name.slot);
        let leaves: Vec<Slot> = names.filter(|slot| !is_there(*slot)).collect();
        let fresh = told
            .entities
            .iter()
            .filter(|entity| track.place(entity.name.slot).is_none());
        let joins: Vec<Join> = fresh.map(join).collect();
        let is_told = tick.0.is_multiple_of(PERIOD);
        let cells: Vec<_> = told
            .entities
            .iter()
            .map(|entity| cell_of(entity.position))
            .collect();
        let mut record = Vec::new();
        if is_told || !leaves.is_empty() || !joins.is_empty() {
            track.tell(tick, &leaves, &joins, is_told.then_some(&cells), &mut record);
        }
        self.send_states(Level::NEAR, &[]);
        if !record.is_empty() {
            self.send_crowd(false, Form::Delta, &record);
        }
    }

    fn send_crowd(&mut self, begins: bool, form: Form, bytes: &[u8]) {
        let head = CrowdHead {
            tick: self.tick,
            begins,
            complete: begins,
        };
        let mut message = Vec::new();
        head.encode(&mut message);
        let record = Record {
            lane: LaneHandle(0),
            track: TrackId(0),
            form,
            bytes,
        };
        record.encode(&mut message);
        finish(0, &mut message);
        let now_us = self.now_us();
        self.client.handle_stream(&message, now_us);
    }
}

fn join(entity: &myriad_wire::truth::TruthEntity) -> Join {
    Join {
        name: Name {
            slot: entity.name.slot,
            generation: entity.name.generation,
            kind: KindId(0),
        },
        cell: cell_of(entity.position),
        before: None,
    }
}
