//! What the lane takes from its readers and tells them.

use crate::rig::*;
use myriad_wire::fabric::{Detach, Report, RouteState};
use myriad_wire::payload::Step;
use myriad_wire::track::decode_chunk;
use myriad_wire::{IntentSeq, LaneEpoch, Pos, PropertyIndex, SessionId, Value};

#[test]
fn a_new_account_gets_an_avatar_with_its_name_in_a_keyframe() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let frames = &rig.gateways[0].frames;
    assert!(
        frames[0].keyframe.is_some(),
        "the first frame for a reader is a keyframe"
    );
    assert!(frames[1].keyframe.is_none());
    let join = frames
        .iter()
        .flat_map(|frame| &frame.joins)
        .find(|join| join.entity == avatar.entity);
    assert_eq!(
        join.expect("the avatar joined").properties[0].1,
        Value::Text("ada".into())
    );
    let owner =
        &rig.gateways[0]
            .routes
            .iter()
            .rev()
            .find_map(|routes| match &routes.sessions.first()?.state {
                RouteState::Attached(route) if route.avatar.is_some() => Some(route.properties.clone()),
                _ => None,
            });
    assert_eq!(
        owner.as_ref().expect("announced").first().map(|(_, value)| value),
        Some(&Value::Int(10))
    );
    let public = join.map(|join| join.properties.len());
    assert_eq!(
        public,
        Some(2),
        "what only the owner is told never gets into a frame"
    );
}

#[test]
fn intents_are_applied_once_and_in_order() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let start = rig.position(avatar.entity).expect("in the world");
    let steps = [Step { dx: 300, dz: 0 }, Step { dx: 0, dz: -200 }];
    rig.tick(vec![(0, intents(1, &avatar, 2, &steps))]);
    // The same again, with one more: as a client that saw no answer sends it.
    rig.tick(vec![(
        0,
        intents(1, &avatar, 3, &[steps[0], steps[1], Step { dx: 7, dz: 7 }]),
    )]);
    let end = rig.position(avatar.entity).expect("in the world");
    assert_eq!(
        end,
        Pos {
            x: start.x + 307,
            y: 0,
            z: start.z - 193
        }
    );
    let own = rig.gateways[0].attached(1).own;
    assert_eq!(
        (own.intent_seq, own.position, own.corrections),
        (IntentSeq(3), end, 0)
    );
    assert_eq!(rig.counters().repeated, 2);
}

#[test]
fn a_client_that_goes_too_fast_is_corrected_and_gains_nothing() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let start = rig.position(avatar.entity).expect("in the world");
    for seq in 1..=20 {
        rig.tick(vec![(
            0,
            intents(1, &avatar, seq, &[Step { dx: 4 * METRE, dz: 0 }]),
        )]);
    }
    let gone = rig.position(avatar.entity).expect("in the world").x - start.x;
    // 5 m/s for 2 s and at most the burst of one second on top.
    assert!(gone <= 15 * METRE + METRE, "{gone}");
    assert!(rig.gateways[0].attached(1).own.corrections > 10);
    assert_eq!(
        u64::from(rig.gateways[0].attached(1).own.corrections),
        rig.counters().intents_clipped
    );
}

#[test]
fn commands_are_answered_once_each() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(0, command(1, &avatar, 1, "mood", vec![Value::Int(4)]))]);
    assert_eq!(rig.gateways[0].attached(1).results.len(), 1);
    let change = rig.gateways[0].frames.last().expect("a frame").changes.clone();
    assert_eq!(
        change.first().map(|change| change.properties[0].1.clone()),
        Some(Value::Int(4))
    );
    rig.tick(vec![(0, command(1, &avatar, 1, "mood", vec![Value::Int(9)]))]);
    assert!(
        rig.gateways[0].attached(1).results.is_empty(),
        "a repeated command is not run again"
    );
    rig.tick(vec![(0, command(1, &avatar, 2, "refuse", vec![]))]);
    assert_eq!(
        rig.gateways[0].attached(1).results[0].refused.as_deref(),
        Some("not today")
    );
    rig.tick(vec![(0, command(1, &avatar, 3, "nonsense", vec![]))]);
    assert!(rig.gateways[0].attached(1).results[0].refused.is_some());
    rig.tick(vec![(0, command(1, &avatar, 4, "wave", vec![]))]);
    assert_eq!(
        rig.gateways[0].frames.last().expect("a frame").events[0].name,
        "wave"
    );
}

#[test]
fn a_gateway_that_was_taken_for_dead_can_come_back() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    rig.gateways[0].lose = 1;
    rig.idle(2);
    for _ in 0..10 {
        rig.tick(vec![]);
    }
    assert_eq!(rig.counters().gateways_lost, 1);
    let frames = rig.gateways[0].frames.len();
    rig.idle(4);
    let frame = &rig.gateways[0].frames[frames];
    assert!(frame.keyframe.is_some());
    assert_eq!(rig.gateways[0].frames.last().expect("a frame").tick, rig.now);
}

#[test]
fn a_reader_that_lost_a_frame_gets_a_keyframe() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    let frames = rig.gateways[0].frames.len();
    rig.gateways[0].lose = 1;
    rig.idle(1);
    assert_eq!(
        rig.gateways[0].frames.len(),
        frames,
        "all that follows a gap is refused"
    );
    rig.idle(1);
    let frame = rig.gateways[0].frames.last().expect("a frame");
    assert!(frame.keyframe.is_some());
    assert!(rig.gateways[0].routes.last().expect("routes").full);
    assert_eq!(frame.tick, rig.now);
    assert_eq!(rig.counters().resyncs, 1);
    rig.idle(1);
    assert!(rig.gateways[0].frames.last().expect("a frame").keyframe.is_none());
}

#[test]
fn reports_of_another_lane_epoch_move_nobody() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let before = rig.position(avatar.entity);
    let report = Report {
        epoch: LaneEpoch(6),
        ..intents(1, &avatar, 1, &[Step { dx: 100, dz: 0 }])
    };
    rig.gateways[0].send(&mut rig.lane, report);
    rig.tick(vec![]);
    assert_eq!(rig.position(avatar.entity), before);
}

#[test]
fn jumped_over_ticks_are_counted_and_published() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    rig.now = rig.now + 5;
    rig.idle(1);
    assert_eq!(rig.gateways[0].frames.last().expect("a frame").skipped_ticks, 5);
}

#[test]
fn frames_say_where_the_truth_says_everything_is() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    for seq in 1..30 {
        let step = Step {
            dx: seq as i32 * 13 % 400,
            dz: -(seq as i32 * 7 % 300),
        };
        let output = rig.tick(vec![(0, intents(1, &avatar, seq, &[step]))]);
        let truth = output.truth.expect("enabled");
        let mut decoded = Vec::new();
        for track in &rig.gateways[0].frames.last().expect("a frame").tracks {
            for chunk in &track.levels[0] {
                decode_chunk(chunk, |state| decoded.push((state.slot, state.position))).expect("a chunk");
            }
        }
        decoded.sort_unstable_by_key(|(slot, _)| *slot);
        let expected = truth
            .entities
            .iter()
            .map(|entity| (entity.name.slot, entity.position.to_wire().centre()));
        assert!(decoded.into_iter().eq(expected));
    }
}

#[test]
fn an_inbox_that_is_full_drops_and_the_link_recovers() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    for _ in 0..1100 {
        rig.gateways[0].send(&mut rig.lane, Report::default());
    }
    rig.idle(4);
    assert!(rig.counters().inbox_dropped >= 100);
    assert!(rig.gateways[0].route(1).is_some(), "the session survived");
}

#[test]
fn a_script_is_told_once_who_comes_near_and_who_goes() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let guard = rig
        .lane
        .space()
        .handles()
        .next()
        .expect("the guard was spawned first");
    let read = |rig: &Rig, index| {
        rig.lane
            .space()
            .property(guard, PropertyIndex(index))
            .expect("declared")
    };
    assert_eq!((read(&rig, 0), read(&rig, 1)), (Value::Int(0), Value::Int(0)));
    // To the guard's corner at walking pace, and back.
    let mut seq = 0;
    let mut go = |rig: &mut Rig, target: i32| loop {
        let at = rig.position(avatar.entity).expect("in the world");
        let step = |from: i32| (target - from).clamp(-300, 300);
        let step = Step {
            dx: step(at.x),
            dz: step(at.z),
        };
        if step == Step::default() {
            return;
        }
        seq += 1;
        rig.tick(vec![(0, intents(1, &avatar, seq, &[step]))]);
    };
    go(&mut rig, 44 * METRE);
    rig.idle(2);
    assert_eq!((read(&rig, 0), read(&rig, 1)), (Value::Int(1), Value::Int(0)));
    go(&mut rig, 0);
    rig.idle(2);
    assert_eq!((read(&rig, 0), read(&rig, 1)), (Value::Int(1), Value::Int(1)));
    go(&mut rig, 44 * METRE);
    let detach = Detach {
        session: SessionId(1),
        left: true,
    };
    rig.tick(vec![(
        0,
        Report {
            detach: vec![detach],
            ..Report::default()
        },
    )]);
    rig.idle(2);
    assert_eq!(
        (read(&rig, 0), read(&rig, 1)),
        (Value::Int(2), Value::Int(2)),
        "one that is gone is lost too"
    );
}
