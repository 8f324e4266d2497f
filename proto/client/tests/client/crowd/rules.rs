//! One case for each rule.

use super::stage::{Stage, edges, entity, pos};
use crate::server::{AVATAR, CROWD_PERIOD, PERIOD_US, framed, joined, own, quiet, subject};
use myriad_client::{ClientEvent, OwnTracks, Tier, TrackState, TrackStore};
use myriad_wire::client::{ClientMessage, Identity, IdentityRecord, Joined, ServerMessage};
use myriad_wire::codec::{self, Deframer};
use myriad_wire::crowd::{Join, Name, Track};
use myriad_wire::limits::CLIENT_MESSAGE_BYTES_MAX;
use myriad_wire::payload::PayloadHeader;
use myriad_wire::{Generation, IntentSeq, KindId, Pos, PropertyIndex, Slot, SubjectRef, Tick, Value};

const PERIOD: u64 = CROWD_PERIOD as u64;

/// Three others: near, far, and out of sight; the avatar and the first in track 0.
fn three() -> Stage {
    Stage::crowded(
        &[(3, 0, [5.0, 5.0]), (9, 1, [90.0, 0.0]), (14, 2, [150.0, 0.0])],
        3,
    )
}

#[test]
fn who_is_within_the_radius_enters_and_stays_within_the_leave_radius() {
    let mut stage = three();
    let (enters, _) = edges(&stage.tick(1));
    assert_eq!(enters, [AVATAR, subject(3, 0), subject(9, 0)]);
    // In metres: what happens to slot 9 there.
    for (x, enter, leave) in [
        (109.0, 0, 0),
        (111.0, 0, 1),
        (109.0, 0, 0),
        (101.0, 0, 0),
        (99.0, 1, 0),
    ] {
        stage.put(9, 0, 1, pos([x, 0.0]));
        let (enters, leaves) = edges(&stage.tick(1));
        assert_eq!((enters.len(), leaves.len()), (enter, leave), "at {x} m");
    }
    assert_eq!(stage.client.view().len(), 3);
    let far = stage.client.view().get(subject(9, 0)).unwrap();
    assert_eq!(
        (far.kind(), far.entity(), far.tier()),
        (KindId(3), None, Tier::Crowd)
    );
    assert_eq!(far.properties(), []);
    assert_eq!(far.position(), stage.beings[&9].decoded());
    assert_eq!(far.state_tick(), Tick(stage.tick));
}

#[test]
fn the_own_avatar_is_always_in_view() {
    let mut stage = three();
    stage.tick(1);
    // Told by its track to be where it is not, and then not told at all.
    stage.wanted.remove(&0);
    let (enters, leaves) = edges(&stage.tick(1));
    assert_eq!((enters, leaves), (vec![], vec![subject(3, 0)]));
    assert_eq!(
        stage.client.view().get(AVATAR).unwrap().entity(),
        Some(joined().entity)
    );
    stage.begin();
    assert_eq!(edges(&stage.tick(1)), (vec![], vec![]));
    stage.wanted.insert(0);
    assert_eq!(edges(&stage.tick(1)).0, [subject(3, 0)]);
    assert_eq!(stage.client.view().iter().count(), 3);
}

#[test]
fn going_to_another_track_is_no_edge_and_another_life_of_a_slot_is_two() {
    let mut stage = three();
    stage.tick(1);
    stage.beings.get_mut(&3).unwrap().track = 2;
    stage.wave(3);
    let events = stage.tick(PERIOD);
    assert!(matches!(events[..], [ClientEvent::Event { .. }]), "{events:?}");
    stage.put(3, 1, 2, pos([6.0, 5.0]));
    let (enters, leaves) = edges(&stage.tick(PERIOD));
    assert_eq!((enters, leaves), (vec![subject(3, 1)], vec![subject(3, 0)]));
}

#[test]
fn going_over_to_a_list_and_back_is_no_edge() {
    let mut stage = three();
    stage.tick(1);
    let all: Vec<SubjectRef> = stage.view().into_iter().collect();
    for _ in 0..3 {
        stage.listed(false);
        stage.enters(&all[..1]);
        assert_eq!(edges(&stage.drain()), (vec![], vec![]));
        assert!(stage.client.view().is_crowd());
        stage.enters(&all[1..]);
        stage.listed(true);
        let events = stage.drain();
        // The first time identities are news.
        let are_identities = events
            .iter()
            .all(|event| matches!(event, ClientEvent::Identity { .. }));
        assert!(are_identities, "{events:?}");
        assert!(!stage.client.view().is_crowd());
        assert_eq!(stage.client.view().listed().len(), all.len());
        stage.begin();
        stage.keyframes_max = 1;
        for _ in 0..3 {
            assert_eq!(stage.tick(PERIOD), []);
            assert_eq!(stage.view(), all.iter().copied().collect());
        }
        assert!(stage.complete);
        let known = stage.client.view().get(subject(9, 0)).unwrap();
        assert_eq!(known.entity(), Some(entity(subject(9, 0))));
    }
}

#[test]
fn near_states_are_of_those_in_view_and_count_for_their_tick() {
    let mut stage = three();
    stage.tick(PERIOD);
    stage.near(&[3, 9, 14]);
    let counters = *stage.client.counters();
    assert_eq!((counters.states.applied[0], counters.states.unknown), (2, 1));
    let subject_3 = subject(3, 0);
    let exact = stage.beings[&3].at.to_wire().centre();
    for ticks in 0..=5 {
        let seen = stage.client.view().get(subject_3).unwrap();
        let (tier, at) = if ticks == 0 {
            (Tier::Near, exact)
        } else {
            (Tier::Crowd, stage.beings[&3].decoded())
        };
        assert_eq!((seen.tier(), seen.position()), (tier, at), "{ticks} ticks later");
        stage.tick(PERIOD);
    }
    assert_eq!(stage.client.view().near().count(), 0);
}

#[test]
fn near_states_as_late_as_that_are_not_taken() {
    let mut stage = three();
    stage.tick(PERIOD);
    let late = PayloadHeader {
        part: 1,
        parts: 2,
        ..own(stage.tick - 5, 0, joined().position, 0)
    };
    stage.datagram(&late, &[3]);
    assert_eq!(stage.client.counters().states.stale, 1);
    assert_eq!(stage.client.view().near().count(), 0);
}

/// Whom the client asks about.
fn asked(stage: &mut Stage) -> Vec<SubjectRef> {
    let mut deframer = Deframer::new(CLIENT_MESSAGE_BYTES_MAX);
    deframer.handle_bytes(&stage.client.poll_stream().unwrap_or_default());
    let mut subjects = Vec::new();
    while let Some(message) = deframer.poll_message().unwrap() {
        if let Ok(ClientMessage::Identify(identify)) = codec::decode(&message, CLIENT_MESSAGE_BYTES_MAX) {
            subjects.extend(identify.subjects);
        }
    }
    subjects
}

fn identity(stage: &Stage, subject: SubjectRef, version: u8, name: &str) -> ServerMessage {
    ServerMessage::Identity(Identity {
        tick: Tick(stage.tick),
        records: vec![IdentityRecord {
            subject,
            entity: entity(subject),
            kind: KindId(3),
            version,
            properties: vec![(PropertyIndex(1), Value::Text(name.to_owned()))],
        }],
    })
}

#[test]
fn near_subjects_are_asked_for_their_identity_a_few_a_tick_until_it_is_known() {
    let beings: Vec<_> = (1..=6).map(|slot| (slot, 0, [f64::from(slot), 0.0])).collect();
    let mut stage = Stage::crowded(&beings, 1);
    stage.tick(1);
    asked(&mut stage);
    let mut all = Vec::new();
    for _ in 0..4 {
        stage.near(&[1, 2, 3, 4, 5, 6]);
        stage.tick(1);
        let now = asked(&mut stage);
        assert!(now.len() <= 4);
        all.extend(now);
    }
    all.sort_unstable();
    let expected: Vec<_> = (1..=6).map(|slot| subject(slot, 0)).collect();
    assert_eq!(all, expected, "each once");
    let answer = identity(&stage, subject(2, 0), 7, "ada");
    stage.stream(&framed(&answer));
    let events = stage.drain();
    assert!(
        matches!(&events[..], [ClientEvent::Identity { subject, .. }] if subject.slot == Slot(2)),
        "{events:?}"
    );
    stage.stream(&framed(&answer));
    assert_eq!(stage.drain(), [], "nothing new");
    let known = stage.client.view().get(subject(2, 0)).unwrap();
    assert_eq!(known.entity(), Some(entity(subject(2, 0))));
    assert_eq!(
        known.property(PropertyIndex(1)),
        Some(&Value::Text("ada".to_owned()))
    );
    assert!(stage.client.counters().bytes.identity > 0);
    // The others are asked for again after a while, this one is not.
    let mut again = Vec::new();
    for _ in 0..18 {
        stage.near(&[1, 2, 3, 4, 5, 6]);
        stage.tick(1);
        again.extend(asked(&mut stage));
    }
    again.sort_unstable();
    again.dedup();
    assert_eq!(again.len(), 5);
    assert!(!again.contains(&subject(2, 0)));
}

#[test]
fn another_version_of_the_properties_is_asked_for() {
    let mut stage = Stage::crowded(&[(8, 0, [1.0, 0.0])], 1);
    stage.tick(1);
    let answer = identity(&stage, subject(8, 0), 6, "before");
    stage.stream(&framed(&answer));
    stage.drain();
    asked(&mut stage);
    // The version told is 7, in one of eight ticks.
    let mut all = Vec::new();
    for _ in 0..10 {
        stage.near(&[8]);
        stage.tick(1);
        all.extend(asked(&mut stage));
    }
    assert_eq!(all, [subject(8, 0)]);
    // What was not confirmed for long counts as unknown; who it is does not change.
    let seen = |stage: &Stage| {
        let seen = stage.client.view().get(subject(8, 0)).unwrap();
        (seen.entity().is_some(), seen.properties().len())
    };
    assert_eq!(seen(&stage), (true, 1));
    (0..130).for_each(|_| drop(stage.tick(PERIOD)));
    assert_eq!(seen(&stage), (true, 0));
}

#[test]
fn a_subject_that_changes_its_tier_is_shown_without_a_jump() {
    // Slot 3 walks at 3 m/s straight on, in units of a tick; near states come for a while, twice.
    let mut stage = Stage::crowded(&[(3, 1, [2.0, -30.0])], 2);
    let step = 3 * 1024 / 10;
    let mut last: Option<Pos> = None;
    let mut steps = Vec::new();
    for i in 0..110u64 {
        stage.beings.get_mut(&3).unwrap().at.z += step;
        stage.tick(PERIOD);
        if (20..50).contains(&i) || (53..70).contains(&i) {
            stage.near(&[3]);
        }
        for quarter in 0..4 {
            let now_us = stage.now_us() + quarter * PERIOD_US / 4;
            let shown = stage.client.shown(subject(3, 0), now_us).unwrap();
            if i < 8 {
                continue;
            }
            // It is there, at the moment that is shown: half a cell of the track's grid, and rounding.
            let truth = -30.0 * 1024.0 + (shown.tick - 100.0) * f64::from(step);
            let off = (f64::from(shown.position.z) - truth).abs();
            assert!(off <= 260.0, "{off} units off at {i}, {shown:?}");
            if let Some(last) = last {
                steps.push(shown.position.z - last.z);
            }
            last = Some(shown.position);
        }
    }
    // A quarter of a tick is 77 units, half as much again while catching up; a cell's error is 128 to either side.
    let (least, most) = (steps.iter().min().unwrap(), steps.iter().max().unwrap());
    assert!(*least >= -64 && *most <= 116 + 128, "{least} to {most}");
    let seen = stage.client.view().get(subject(3, 0)).unwrap();
    let now = stage.client.tick_now(stage.now_us()).unwrap();
    assert!((seen.shown(now).tick - (now - PERIOD as f64 - 1.0)).abs() < 1e-6);
}

#[test]
fn own_records_count_again_from_the_begin_that_follows_another_join() {
    let mut stage = three();
    stage.tick(1);
    let again = Joined {
        intent_seq: IntentSeq(9),
        position: pos([1.0, 1.0]),
        ..joined()
    };
    let message = ServerMessage::Joined(Box::new(again));
    stage.stream(&framed(&message));
    stage.drain();
    stage.datagram(&own(stage.tick + 1, 4, pos([7.0, 7.0]), 0), &[]);
    assert_eq!(
        stage.client.own_authoritative(),
        Some((IntentSeq(9), pos([1.0, 1.0])))
    );
    stage.begin();
    stage.tick(1);
    let behind = PayloadHeader {
        view_seq: 9,
        ..own(stage.tick + 1, 9, pos([2.0, 1.0]), 0)
    };
    stage.datagram(&behind, &[]);
    assert_eq!(
        stage.client.own_authoritative(),
        Some((IntentSeq(9), pos([2.0, 1.0])))
    );
    assert_eq!(stage.client.counters().contradictions, 0);
}

#[test]
fn bytes_and_states_are_counted_by_kind() {
    let mut stage = three();
    stage.tick(1);
    let counters = *stage.client.counters();
    assert!(counters.bytes.crowd_keyframe > 0);
    assert_eq!((counters.bytes.crowd_membership, counters.states.crowd), (0, 0));
    stage.beings.get_mut(&3).unwrap().track = 2;
    stage.wave(9);
    stage.tick(1);
    let now = *stage.client.counters();
    assert!(now.bytes.crowd_membership > 0 && now.bytes.crowd_events > 0);
    assert!(now.bytes.crowd_state > counters.bytes.crowd_state);
    // Of four, one is out of sight.
    assert_eq!((now.states.crowd, now.states.crowd_unseen), (3, 1));
    assert_eq!(now.states.applied_total(), 3);
}

#[test]
fn edges_that_are_not_to_be_told_are_counted() {
    let mut stage = three();
    stage.client = quiet();
    stage.company.clear();
    assert_eq!(stage.tick(1), []);
    stage.put(9, 0, 1, pos([120.0, 0.0]));
    stage.wave(9);
    let events = stage.tick(1);
    assert!(matches!(events[..], [ClientEvent::Event { .. }]), "{events:?}");
    let counters = stage.client.counters();
    assert_eq!((counters.entered, counters.left), (3, 1));
    assert_eq!(stage.view().len(), 2);
}

/// What a record of a track that is told in every tick is, from its keyframe on.
fn records(count: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut track = Track::new([0; 3], Generation(0), KindId(0));
    let cell = |slot: u32, tick: u64| [slot as i32 * 3 + (tick as i32 * (slot as i32 % 5)) / 3, 0, 7];
    let joins: Vec<Join> = (0..200u32)
        .map(|slot| Join {
            name: Name {
                slot: Slot(slot),
                generation: Generation(0),
                kind: KindId(0),
            },
            cell: cell(slot, 0),
            before: None,
        })
        .collect();
    track.tell(Tick(0), &[], &joins, None, &mut Vec::new());
    let mut keyframe = Vec::new();
    track.keyframe(Tick(0), &mut keyframe);
    let deltas = (1..=count).map(|tick| {
        let cells: Vec<_> = (0..200).map(|slot| cell(slot, tick)).collect();
        let mut delta = Vec::new();
        track.tell(Tick(tick), &[], &[], Some(&cells), &mut delta);
        delta
    });
    (keyframe, deltas.collect())
}

#[test]
fn a_track_is_a_function_of_the_bytes_read_whoever_else_holds_it() {
    let (keyframe, deltas) = records(9);
    let mut alone = OwnTracks.begin(Tick(0), &keyframe).unwrap();
    let mut held = vec![alone.clone()];
    let mut late = None;
    for (tick, delta) in (1..).map(Tick).zip(&deltas) {
        let by_hand = {
            let mut state = TrackState::clone(&alone);
            state.apply(tick, delta).unwrap();
            state
        };
        alone = OwnTracks.advance(alone, tick, delta).unwrap().state;
        assert_eq!(*alone, by_hand);
        if tick == Tick(4) {
            let mut keyframe = Vec::new();
            alone.track().keyframe(tick, &mut keyframe);
            late = Some(TrackState::from_keyframe(tick, &keyframe).unwrap());
        } else if let Some(late) = &mut late {
            late.apply(tick, delta).unwrap();
            assert_eq!(*late, *alone, "after one telling a newcomer's is the same");
        }
        held.push(alone.clone());
    }
    // Those who hold an older state still hold that.
    for (tick, state) in held.iter().enumerate() {
        assert_eq!(
            (state.tick(), state.told()),
            (Tick(tick as u64), Tick(tick as u64))
        );
    }
}

#[test]
fn a_state_that_nobody_else_holds_is_changed_in_place() {
    let (keyframe, deltas) = records(1);
    let state = OwnTracks.begin(Tick(0), &keyframe).unwrap();
    let before = std::sync::Arc::as_ptr(&state);
    let after = OwnTracks.advance(state, Tick(1), &deltas[0]).unwrap().state;
    assert_eq!(before, std::sync::Arc::as_ptr(&after));
}
