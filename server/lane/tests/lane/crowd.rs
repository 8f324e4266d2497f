//! Crowd tracks and versions, as readers of frames hold them.

use crate::rig::*;
use myriad_wire::crowd::message::Form;
use myriad_wire::crowd::{Track, TrackId, cell_of};
use myriad_wire::fabric::{Detach, Frame, Report};
use myriad_wire::payload::Step;
use myriad_wire::track::decode_chunk;
use myriad_wire::truth::TruthTick;
use myriad_wire::{Generation, SessionId, Slot, Tick, Value};
use std::collections::BTreeMap;

/// What a gateway makes of frames.
#[derive(Default)]
struct Mirror {
    tick: Tick,
    keyframes: usize,
    lives: BTreeMap<Slot, (Generation, u8)>,
    tracks: BTreeMap<TrackId, (u32, Track)>,
}

impl Mirror {
    fn read(&mut self, frame: &Frame) {
        self.tick = frame.tick;
        if frame.keyframe.is_some() {
            self.keyframes += 1;
            self.lives.clear();
            self.tracks.clear();
            assert!(frame.changes.is_empty() && frame.leaves.is_empty());
        }
        for leave in &frame.leaves {
            let life = self.lives.remove(&leave.slot).expect("who leaves has joined");
            assert_eq!(life.0, leave.generation);
        }
        for join in &frame.joins {
            let life = (join.generation, join.version);
            assert!(self.lives.insert(join.slot, life).is_none());
        }
        for change in &frame.changes {
            let is_join = frame.joins.iter().any(|join| join.slot == change.slot);
            assert!(!is_join, "what is new of who joins is in its join");
            let (_, version) = self.lives.get_mut(&change.slot).expect("who changes has joined");
            *version = version.wrapping_add(1);
        }
        for record in &frame.crowd {
            match record.form {
                Form::Keyframe => {
                    let track = Track::from_keyframe(frame.tick, &record.bytes).expect("a keyframe");
                    self.tracks.insert(record.track, (record.layers, track));
                }
                Form::Delta => {
                    let (layers, track) = self.tracks.get_mut(&record.track).expect("a known track");
                    assert_eq!(*layers, record.layers);
                    track.apply(frame.tick, &record.bytes).expect("a delta");
                }
                Form::Drop => drop(self.tracks.remove(&record.track).expect("a known track")),
                Form::Events => panic!("events are told as such"),
            }
        }
    }

    /// Everything but tracks' oldest cells.
    fn whole(&self) -> impl PartialEq + std::fmt::Debug {
        let whole = |(id, (layers, track)): (&TrackId, &(u32, Track))| {
            let mut bytes = Vec::new();
            track.keyframe(self.tick, &mut bytes);
            (*id, *layers, bytes)
        };
        let tracks: Vec<_> = self.tracks.iter().map(whole).collect();
        (self.lives.clone(), tracks)
    }

    fn check(&self, truth: &TruthTick, period: u16) {
        let mut members = BTreeMap::new();
        for (layers, track) in self.tracks.values() {
            for (place, name) in track.names().iter().enumerate() {
                let age = track.age(place, 0, self.tick);
                assert!(age < period);
                let known = members.insert(name.slot, (name.generation, *layers, track.cell(place, 0), age));
                assert!(known.is_none(), "in one track");
            }
        }
        assert_eq!(members.len(), truth.entities.len());
        for entity in &truth.entities {
            let (generation, layers, cell, age) = members[&entity.name.slot];
            assert_eq!((generation, layers), (entity.name.generation, entity.layers));
            assert!(age > 0 || cell == cell_of(entity.position));
            assert_eq!(self.lives[&entity.name.slot].0, entity.name.generation);
        }
    }
}

#[test]
fn readers_of_deltas_and_of_keyframes_hold_the_same_tracks_and_versions() {
    let mut rig = Rig::new(2);
    let ada = rig.attach(0, 1, "ada");
    rig.attach(0, 2, "bob");
    let mut mirrors = [Mirror::default(), Mirror::default()];
    let mut read = [0, 0];
    for seq in 1..120u32 {
        // The second reader loses something every few ticks, and so gets keyframes in all kinds of ticks.
        rig.gateways[1].lose = u32::from(seq % 7 == 0);
        if seq % 31 == 0 {
            rig.now = rig.now + 13;
        }
        let step = Step {
            dx: seq as i32 * 13 % 400,
            dz: -(seq as i32 * 7 % 300),
        };
        let mut reports = vec![(1, Report::default()), (0, intents(1, &ada, seq, &[step]))];
        if seq % 3 == 0 {
            reports.push((0, command(1, &ada, seq, "mood", vec![Value::Int(i64::from(seq))])));
        }
        if seq == 60 {
            let detach = Detach {
                session: SessionId(2),
                left: true,
            };
            reports[0].1.detach.push(detach);
            let left = reports[0].1.detach.clone();
            reports.push((
                0,
                Report {
                    detach: left,
                    ..Report::default()
                },
            ));
        }
        let output = rig.tick(reports);
        for ((mirror, gateway), read) in mirrors.iter_mut().zip(&rig.gateways).zip(&mut read) {
            for frame in &gateway.frames[*read..] {
                mirror.read(frame);
            }
            *read = gateway.frames.len();
            if mirror.tick == rig.now {
                mirror.check(output.truth.as_ref().expect("enabled"), 5);
            }
        }
        assert_eq!(mirrors[0].tick, rig.now);
        if mirrors[1].tick == rig.now {
            assert_eq!(mirrors[0].whole(), mirrors[1].whole());
        }
    }
    assert_eq!(mirrors[0].keyframes, 1);
    assert!(mirrors[1].keyframes > 5);
    assert_eq!(mirrors[0].lives[&ada.name.slot], (ada.name.generation, 39));
    assert_eq!(mirrors[0].lives.len(), 2, "bob has left");
    let counters = rig.counters();
    assert_eq!((counters.crowd_joins, counters.crowd_unseated), (3, 0));
    assert!(counters.crowd_states > 50 && counters.crowd_delta_bytes > counters.crowd_membership_bytes);
}

#[test]
fn a_keyframe_says_how_often_the_crowd_is_told() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    let keyframe = rig.gateways[0].frames[0].keyframe.as_ref();
    assert_eq!(keyframe.expect("the first is one").rules.crowd_period, 5);
}

#[test]
fn a_changed_version_is_told_in_two_ticks_and_then_in_turn() {
    let mut rig = Rig::new(1);
    let ada = rig.attach(0, 1, "ada");
    let told = |rig: &Rig| {
        let mut told = None;
        for track in &rig.gateways[0].frames.last().expect("a frame").tracks {
            for chunk in &track.levels[0] {
                let own = |state: myriad_wire::track::State| {
                    if state.slot == ada.name.slot {
                        told = state.version;
                    }
                };
                decode_chunk(chunk, own).expect("a chunk");
            }
        }
        told
    };
    let turn = |rig: &Rig| (rig.now.0 + u64::from(ada.name.slot.0)).is_multiple_of(8);
    for _ in 0..10 {
        rig.tick(vec![(0, Report::default())]);
        assert_eq!(told(&rig), turn(&rig).then_some(0));
    }
    rig.tick(vec![(0, command(1, &ada, 1, "mood", vec![Value::Int(4)]))]);
    assert_eq!(told(&rig), Some(1));
    rig.tick(vec![(0, Report::default())]);
    assert_eq!(told(&rig), Some(1));
    for _ in 0..10 {
        rig.tick(vec![(0, Report::default())]);
        assert_eq!(told(&rig), turn(&rig).then_some(1));
    }
    rig.tick(vec![(0, command(1, &ada, 2, "spend", vec![]))]);
    assert_eq!(
        told(&rig),
        turn(&rig).then_some(1),
        "what only the owner is told has no version"
    );
}
