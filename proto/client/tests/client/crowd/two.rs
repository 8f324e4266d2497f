//! A member that is in two tracks for some ticks, as it goes from lane to lane.

use super::stage::{Stage, edges, message, pos};
use crate::server::{AVATAR, own, subject};
use myriad_client::ClientEvent;
use myriad_wire::crowd::message::{CrowdHead, Form, Happening};
use myriad_wire::crowd::{Join, Name, Track, cell_of, middle_of};
use myriad_wire::{Generation, KindId, Pos, Slot, SubjectRef, Tick, codec};
use std::collections::{BTreeMap, BTreeSet};

/// Who goes from lane to lane, from the one track to the other. The avatar is in a third one.
const WHO: u32 = 3;
const FROM: u16 = 0;
const TO: u16 = 1;
const OTHER: u16 = 2;
/// Somebody who stays in [`FROM`], and somebody in [`TO`].
const STAYS: [u32; 2] = [5, 9];

type Record = (u16, Form, Vec<u8>);

/// A client and those in its company, and the tracks that they are told of.
struct Two {
    stage: Stage,
    tracks: BTreeMap<u16, Track>,
}

fn place(track: u16) -> Pos {
    pos([4.0 + f64::from(track), 2.0])
}

fn join(slot: u32, generation: u16, at: Pos) -> Join {
    Join {
        name: Name {
            slot: Slot(slot),
            generation: Generation(generation),
            kind: KindId(3),
        },
        cell: cell_of(at),
        before: None,
    }
}

impl Two {
    /// All is told, and nobody is in two tracks.
    fn new() -> Self {
        let mut two = Self::untold();
        let keyframes = two.keyframes(&[FROM, TO, OTHER]);
        let events = two.tell(true, true, &keyframes);
        let everybody = [AVATAR, who(), subject(5, 0), subject(9, 0)];
        assert_eq!(edges(&events), (everybody.into(), vec![]));
        two
    }

    fn untold() -> Self {
        let mut two = Self {
            stage: Stage::new(),
            tracks: BTreeMap::new(),
        };
        let avatar = two.stage.beings[&0].at;
        let members = [
            (FROM, WHO, place(FROM)),
            (FROM, STAYS[0], place(9)),
            (TO, STAYS[1], place(8)),
            (OTHER, 0, avatar),
        ];
        for (id, slot, at) in members {
            two.tracks
                .entry(id)
                .or_insert_with(|| Track::new([0; 3], Generation(0), KindId(3)));
            two.delta(id, &[], &[join(slot, 0, at)]);
        }
        two
    }

    fn keyframes(&self, ids: &[u16]) -> Vec<Record> {
        let keyframe = |id: &u16| {
            let mut bytes = Vec::new();
            self.tracks[id].keyframe(Tick(self.stage.tick), &mut bytes);
            (*id, Form::Keyframe, bytes)
        };
        ids.iter().map(keyframe).collect()
    }

    fn delta(&mut self, id: u16, leaves: &[u32], joins: &[Join]) -> Record {
        let leaves: Vec<Slot> = leaves.iter().copied().map(Slot).collect();
        let mut bytes = Vec::new();
        let track = self.tracks.get_mut(&id).unwrap();
        track.tell(Tick(self.stage.tick), &leaves, joins, None, &mut bytes);
        (id, Form::Delta, bytes)
    }

    /// It stands still where it is.
    fn telling(&mut self, id: u16) -> Record {
        let track = self.tracks.get_mut(&id).unwrap();
        let cells: Vec<_> = (0..track.len()).map(|place| track.cell(place, 0)).collect();
        let mut bytes = Vec::new();
        track.tell(Tick(self.stage.tick), &[], &[], Some(&cells), &mut bytes);
        (id, Form::Delta, bytes)
    }

    fn joins(&mut self, generation: u16) -> Record {
        self.delta(TO, &[], &[join(WHO, generation, place(TO))])
    }

    fn tell(&mut self, begins: bool, complete: bool, records: &[Record]) -> Vec<ClientEvent> {
        let tick = self.stage.tick;
        let header = own(tick, 0, self.stage.beings[&0].at, 0);
        self.stage.datagram(&header, &[]);
        let head = CrowdHead {
            tick: Tick(tick),
            begins,
            complete,
        };
        self.stage.stream(&message(&head, records));
        self.stage.tick += 1;
        self.stage.drain()
    }

    /// No edge; it is in view where `track` has it.
    fn is_by(&mut self, track: u16, events: &[ClientEvent]) {
        assert_eq!(events, []);
        let seen = self.stage.client.view().get(who()).expect("it is in view");
        assert_eq!(seen.position(), middle_of(cell_of(place(track))));
        let view: BTreeSet<SubjectRef> = self.stage.view();
        assert_eq!(view, [AVATAR, who(), subject(5, 0), subject(9, 0)].into());
        assert_eq!(self.stage.client.counters().contradictions, 0);
    }

    /// The one track that has it loses it: only now it leaves, once. And from then on steps are shared again.
    fn ends(&mut self, track: u16) {
        let telling = [self.telling(track)];
        let events = self.tell(false, false, &telling);
        self.is_by(track, &events);
        let recalled = self.stage.store.recalled;
        let last = [self.delta(track, &[WHO], &[])];
        assert_eq!(edges(&self.tell(false, false, &last)), (vec![], vec![who()]));
        assert!(
            self.stage.store.recalled > recalled,
            "whoever is told the same shares"
        );
        assert_eq!(self.stage.client.counters().contradictions, 0);
    }
}

fn who() -> SubjectRef {
    subject(WHO, 0)
}

/// It has joined the other track, and is in view by that.
fn in_two() -> Two {
    let mut two = Two::new();
    let joins = [two.joins(0)];
    let events = two.tell(false, false, &joins);
    two.is_by(TO, &events);
    // Both go on telling, in whichever order.
    for id in [FROM, TO, FROM] {
        let telling = [two.telling(id)];
        let events = two.tell(false, false, &telling);
        two.is_by(TO, &events);
    }
    let tellings = [two.telling(FROM), two.telling(TO)];
    let events = two.tell(false, false, &tellings);
    two.is_by(TO, &events);
    two
}

#[test]
fn it_leaves_the_track_that_it_comes_from() {
    let mut two = in_two();
    let leaves = [two.delta(FROM, &[WHO], &[])];
    let events = two.tell(false, false, &leaves);
    two.is_by(TO, &events);
    two.ends(TO);
}

#[test]
fn it_leaves_the_track_that_it_went_to_first() {
    let mut two = in_two();
    let leaves = [two.delta(TO, &[WHO], &[])];
    let events = two.tell(false, false, &leaves);
    two.is_by(FROM, &events);
    two.ends(FROM);
}

#[test]
fn one_of_the_tracks_is_dropped() {
    for (dropped, stays) in [(FROM, TO), (TO, FROM)] {
        let mut two = in_two();
        // So that it alone is meant.
        let lone = if dropped == FROM { STAYS[0] } else { STAYS[1] };
        let at = place(if dropped == FROM { 9 } else { 8 });
        let goes = [
            two.delta(dropped, &[lone], &[]),
            two.delta(OTHER, &[], &[join(lone, 0, at)]),
        ];
        let events = two.tell(false, false, &goes);
        two.is_by(TO, &events);
        let events = two.tell(false, false, &[(dropped, Form::Drop, Vec::new())]);
        two.is_by(stays, &events);
        two.ends(stays);
    }
}

#[test]
fn it_joins_and_leaves_within_one_message() {
    for order in [[FROM, TO], [TO, FROM]] {
        let mut two = Two::new();
        let mut records = vec![two.joins(0), two.delta(FROM, &[WHO], &[])];
        records.sort_by_key(|(id, ..)| order.iter().position(|other| other == id));
        let events = two.tell(false, false, &records);
        two.is_by(TO, &events);
        two.ends(TO);
    }
}

#[test]
fn a_message_that_begins_may_hold_both() {
    for ids in [[FROM, TO, OTHER], [TO, FROM, OTHER]] {
        // For a newcomer, and for one who has it in view by a track of before.
        for known in [false, true] {
            for (leaves, stays) in [(FROM, TO), (TO, FROM)] {
                let mut two = if known { in_two() } else { Two::untold() };
                if !known {
                    two.joins(0);
                    two.stage.tick += 1;
                }
                let keyframes = two.keyframes(&ids);
                let events = two.tell(true, true, &keyframes);
                let enters = if known { 0 } else { 4 };
                assert_eq!((edges(&events).0.len(), edges(&events).1.len()), (enters, 0));
                assert_eq!(two.stage.client.counters().contradictions, 0);
                let leaves = [two.delta(leaves, &[WHO], &[])];
                let events = two.tell(false, false, &leaves);
                two.is_by(stays, &events);
                two.ends(stays);
            }
        }
    }
}

#[test]
fn it_stays_while_not_all_tracks_have_been_told_again() {
    for (leaves, stays) in [(FROM, TO), (TO, FROM)] {
        let mut two = in_two();
        // The third track is not told yet, so who leaves is carried; whom a track has is not.
        let keyframes = two.keyframes(&[FROM, TO]);
        let events = two.tell(true, false, &keyframes);
        assert_eq!(events, []);
        let records = [two.delta(leaves, &[WHO], &[])];
        let events = two.tell(false, false, &records);
        two.is_by(stays, &events);
        let rest = two.keyframes(&[OTHER]);
        let events = two.tell(false, true, &rest);
        two.is_by(stays, &events);
        two.ends(stays);
    }
}

#[test]
fn what_happens_to_it_is_told_whichever_track_tells_it() {
    let happening = Happening {
        slot: Slot(WHO),
        generation: Generation(0),
        name: "wave".to_owned(),
        arguments: Vec::new(),
    };
    let waves = |id: u16| (id, Form::Events, codec::encode(&vec![happening.clone()]));
    for ids in [[FROM, TO, OTHER], [TO, FROM, OTHER]] {
        let mut two = in_two();
        let keyframes = two.keyframes(&ids);
        two.tell(true, true, &keyframes);
        for id in [FROM, TO] {
            let events = two.tell(false, false, &[waves(id)]);
            let [ClientEvent::Event { subject, .. }] = &events[..] else {
                panic!("{events:?}, told by {id}")
            };
            assert_eq!(*subject, who());
        }
    }
}

#[test]
fn another_life_of_its_slot_is_not_it() {
    let mut two = Two::new();
    let joins = [two.joins(1)];
    assert_eq!(two.tell(false, false, &joins), []);
    assert!(two.stage.client.counters().contradictions > 0);
    let view: Vec<_> = two
        .stage
        .view()
        .into_iter()
        .filter(|s| s.slot == Slot(WHO))
        .collect();
    assert_eq!(view, [who()]);
    // It is not in view by that other life when its own track loses it.
    let leaves = [two.delta(FROM, &[WHO], &[])];
    let (_, left) = edges(&two.tell(false, false, &leaves));
    assert_eq!(left, [who()]);
    assert!(!two.stage.view().contains(&who()));
}
