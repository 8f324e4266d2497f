//! Entities that go from lane to lane: in every tick in one, under their names, with all that they are.

use crate::lanes::*;
use crate::rig::{METRE, command, intents};
use myriad_storage::Storage;
use myriad_wire::fabric::{Attach, Avatar, Detach, Report, RouteState};
use myriad_wire::payload::Step;
use myriad_wire::track::decode_chunk;
use myriad_wire::{CloseReason, EntityName, Hop, IntentSeq, LaneId, SessionId, Slot, Value};

/// The western lane's script: a walker that crosses the border, in about two seconds.
const WALK_EAST: &str = r#"
    local walker = myriad.spawn("walker", { x = -5, properties = { gold = 7 } })
    walker:move_to(20, 0, 5)
"#;

/// Half a metre: a tick at full speed.
const STEP: Step = Step { dx: METRE / 2, dz: 0 };

#[test]
fn who_crosses_a_border_is_published_in_every_tick_by_one_lane_and_goes_on_as_it_was() {
    let mut lanes = Lanes::new(WALK_EAST, 1000);
    let walker = lanes.walker();
    let name = |lanes: &Lanes| {
        let truths = lanes.outputs.iter().filter_map(|output| output.truth.as_ref());
        let mut told = truths.flat_map(|truth| &truth.entities);
        told.find(|told| told.entity == walker).unwrap().name
    };
    let first_name: EntityName = name(&lanes);
    let mut x = lanes.position(walker).x;
    for _ in 0..60 {
        lanes.idle(1);
        let told: Vec<usize> = [WEST, EAST]
            .into_iter()
            .filter(|place| {
                let frame = lanes.gateway[*place].frames.last().expect("a frame a tick");
                let mut told = false;
                for track in &frame.tracks {
                    assert_eq!(frame.issuers[usize::from(track.issuer.0)], first_name.issuer);
                    for chunk in &track.levels[0] {
                        decode_chunk(chunk, |state| told |= state.slot == first_name.slot).unwrap();
                    }
                }
                told
            })
            .collect();
        assert_eq!(told.len(), 1, "told by lanes {told:?} in one tick");
        let now = lanes.position(walker).x;
        assert!(
            (0..=METRE / 2 + 1).contains(&(now - x)),
            "it goes on at its speed"
        );
        x = now;
        assert_eq!(name(&lanes), first_name);
    }
    assert_eq!(lanes.whereabouts(walker), [EAST]);
    assert_eq!(lanes.position(walker).x, 20 * METRE);
    let (lane, handle) = lanes.find(walker);
    assert_eq!(lane.space().life(handle).unwrap().hop, Hop(1));
    let kind = lane.space().kind(handle).unwrap();
    let value = |property: &str| {
        let index = kind.property_index(property).unwrap();
        lane.space().property(handle, index).unwrap()
    };
    assert_eq!(value("gold"), Value::Int(7));
    assert_eq!(value("turns"), Value::Int(1));
    // Beats every five ticks, whichever lane it is in.
    assert_eq!(
        value("beats"),
        Value::Int((lanes.now.since(crate::rig::START) as i64 - 1) / 5)
    );
}

#[test]
fn frames_say_where_it_went_and_whence_it_came() {
    let mut lanes = Lanes::new(WALK_EAST, 1000);
    let walker = lanes.walker();
    while lanes.whereabouts(walker) != [EAST] {
        lanes.idle(1);
    }
    let (west, east) = (
        lanes.gateway[WEST].frames.last().unwrap(),
        lanes.gateway[EAST].frames.last().unwrap(),
    );
    assert_eq!(west.tick, east.tick);
    assert_eq!(west.leaves.len(), 1);
    assert_eq!(west.leaves[0].to, Some(LaneId(2)));
    assert_eq!((east.joins.len(), east.joins[0].hop), (1, Hop(1)));
    assert_eq!(east.joins[0].entity, walker);
    let issuer = usize::from(east.joins[0].issuer.0);
    assert_eq!(east.issuers[issuer], lanes.lanes[WEST].config().epoch);

    // A reader that missed it is told by the keyframe.
    lanes.gateway[WEST].lose = 1;
    lanes.idle(4);
    let keyframe = lanes.gateway[WEST]
        .frames
        .iter()
        .rev()
        .find(|frame| frame.keyframe.is_some());
    let keyframe = keyframe.expect("something was lost");
    assert!(keyframe.joins.is_empty());
    assert_eq!(keyframe.leaves.len(), 1);
    assert_eq!(keyframe.leaves[0].to, Some(LaneId(2)));
}

#[test]
fn crowd_tracks_tell_it_on_from_where_it_was() {
    let mut lanes = Lanes::new(WALK_EAST, 1000);
    let walker = lanes.walker();
    while lanes.whereabouts(walker) != [EAST] {
        lanes.idle(1);
    }
    let frame = lanes.gateway[EAST].frames.last().unwrap();
    let track = myriad_wire::crowd::Track::from_keyframe(frame.tick, &frame.crowd[0].bytes).unwrap();
    assert_eq!(track.len(), 1);
    assert_eq!(
        track.samples(0),
        2,
        "the cell told last by the other lane is known, too"
    );
}

#[test]
fn an_avatar_goes_with_its_session_and_every_intent_and_command_is_applied_once() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    let entity = avatar.entity;
    let start = lanes.position(entity);
    let mut place = WEST;
    let mut x = start.x;
    let mut moved_at = None;
    let mut waves = 0;
    let mut avatar = avatar;
    for seq in 1..=80u32 {
        // The first few walk to the border; the gateway sends to whom it was told to.
        let mut report = intents(1, &avatar, seq, &[STEP]);
        // Commands under the old epoch are refused, for one before may have come too early; they come again.
        let is_told = moved_at != Some(seq - 1);
        if seq % 4 == 0 && is_told {
            waves += 1;
            report.commands = command(1, &avatar, waves, "wave", vec![]).commands;
        }
        lanes.say(place, report);
        let now = lanes.position(entity).x;
        assert_eq!(
            now,
            (x + STEP.dx).min(50 * METRE),
            "a step a tick, at tick {}",
            lanes.now
        );
        x = now;
        let Some(RouteState::Attached(route)) = lanes.route(place) else {
            panic!("the lane that has it tells of it: {:?}", lanes.route(place));
        };
        assert_eq!(route.own.intent_seq, IntentSeq(seq));
        assert_eq!(route.own.corrections, 0);
        if let Some(to) = route.moves_to {
            assert_eq!((to, place), (LaneId(2), WEST), "once, eastward");
            place = EAST;
            moved_at = Some(seq);
        } else if moved_at == Some(seq - 1) {
            let there = route.avatar.expect("the new lane says who it is");
            assert_eq!((there.name, there.hop), (avatar.name, Hop(1)));
            assert!(there.epoch > avatar.epoch);
            avatar = there;
        }
    }
    assert!(moved_at.is_some());
    let (lane, handle) = lanes.find(entity);
    let property = lane
        .space()
        .kind(handle)
        .unwrap()
        .property_index("waves")
        .unwrap();
    assert_eq!(
        lane.space().property(handle, property),
        Ok(Value::Int(i64::from(waves)))
    );
    assert_eq!(lanes.lanes[WEST].sessions() + lanes.lanes[EAST].sessions(), 1);
}

/// Walks the avatar of session 1 over the border. Answers the number of its last intent, and what the new lane says of it.
fn walk_over(lanes: &mut Lanes, avatar: &Avatar) -> (u32, Avatar) {
    let mut seq = 0;
    while lanes.whereabouts(avatar.entity) != [EAST] {
        seq += 1;
        lanes.say(WEST, intents(1, avatar, seq, &[STEP]));
        assert!(seq < 100, "it comes over the border");
    }
    (seq, lanes.announced(EAST).expect("it is announced"))
}

#[test]
fn what_waited_for_its_turn_goes_along() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    let mut seq = 0;
    loop {
        seq += 1;
        lanes.say(WEST, intents(1, &avatar, seq, &[STEP]));
        let Some(RouteState::Attached(route)) = lanes.route(WEST) else {
            panic!("attached")
        };
        if route.moves_to.is_some() {
            break;
        }
    }
    // The gateway missed it, and says the next thing to the lane that has the avatar no more: it says it again later.
    let before = lanes.position(avatar.entity).x;
    lanes.say(WEST, intents(1, &avatar, seq + 1, &[STEP]));
    assert_eq!(lanes.position(avatar.entity).x, before);
    lanes.say(EAST, intents(1, &avatar, seq + 2, &[STEP, STEP]));
    assert_eq!(lanes.position(avatar.entity).x, before + 2 * STEP.dx);
}

#[test]
fn time_between_two_lanes_is_earned() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    let mut seq = 0;
    // It spends most of what it has saved up, and then walks at full speed.
    for steps in std::iter::repeat_n(2, 9).chain(std::iter::repeat(1)) {
        seq += steps;
        lanes.say(WEST, intents(1, &avatar, seq, &[STEP, STEP][..steps as usize]));
        if lanes.whereabouts(avatar.entity) != [WEST] {
            break;
        }
    }
    // Nobody has it for some ticks.
    const BETWEEN: u32 = 9;
    lanes.cut[WEST] = true;
    lanes.idle(BETWEEN);
    lanes.cut[WEST] = false;
    while lanes.whereabouts(avatar.entity) != [EAST] {
        lanes.idle(1);
    }
    let there = lanes.announced(EAST).expect("it is announced");
    let before = lanes.position(avatar.entity).x;
    for _ in 0..BETWEEN {
        seq += 2;
        lanes.say(EAST, intents(1, &there, seq, &[STEP, STEP]));
    }
    let moved = lanes.position(avatar.entity).x - before;
    assert_eq!(
        moved,
        2 * BETWEEN as i32 * STEP.dx,
        "what its client walked meanwhile"
    );
}

#[test]
fn who_logs_in_while_the_avatar_is_elsewhere_is_sent_there() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    walk_over(&mut lanes, &avatar);
    lanes.idle(2);
    let attach = |session| Report {
        attach: vec![Attach {
            session: SessionId(session),
            account: "bob".into(),
        }],
        ..Report::default()
    };
    lanes.say(WEST, attach(2));
    let elsewhere = &lanes.gateway[WEST].route(2).expect("an answer").state;
    assert_eq!(*elsewhere, RouteState::Elsewhere(LaneId(2)));
    lanes.say(EAST, attach(2));
    let RouteState::Attached(route) = &lanes.gateway[EAST].route(2).expect("an answer").state else {
        panic!("attached there");
    };
    let there = route.avatar.expect("announced");
    assert_eq!((there.entity, there.name), (avatar.entity, avatar.name));
    assert!(
        there.epoch > avatar.epoch,
        "what the first session sends is refused from now on"
    );
    let RouteState::Ended(reason) = lanes.gateway[EAST].routes[lanes.gateway[EAST].routes.len() - 1]
        .sessions
        .iter()
        .find(|route| route.session == SessionId(1))
        .expect("the first session ends")
        .state
    else {
        panic!("ended");
    };
    assert_eq!(reason, CloseReason::Replaced);
    // A lane that knows nothing of an account sends its sessions to the account's home.
    assert_eq!(partition().home_of("ann"), LaneId(1));
    let stranger = Report {
        attach: vec![Attach {
            session: SessionId(3),
            account: "ann".into(),
        }],
        ..Report::default()
    };
    lanes.say(EAST, stranger);
    let state = &lanes.gateway[EAST].route(3).expect("an answer").state;
    assert_eq!(*state, RouteState::Elsewhere(LaneId(1)));
}

#[test]
fn an_avatar_that_departs_elsewhere_is_saved_and_loaded_at_home_again() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    let (seq, there) = walk_over(&mut lanes, &avatar);
    lanes.say(EAST, command(1, &there, 1, "wave", vec![]));
    lanes.say(EAST, intents(1, &there, seq + 1, &[STEP]));
    let position = lanes.position(avatar.entity);
    let detach = Detach {
        session: SessionId(1),
        left: true,
    };
    // The gateway has not heard yet that the avatar went: the word is passed on.
    lanes.say(
        WEST,
        Report {
            detach: vec![detach],
            ..Report::default()
        },
    );
    lanes.idle(4);
    assert_eq!(lanes.whereabouts(avatar.entity), [] as [usize; 0]);
    let saved = lanes.storage.load_avatar("bob").unwrap().expect("it was saved");
    assert_eq!((saved.entity, saved.position), (avatar.entity, position));
    assert!(saved.properties.contains(&("waves".into(), Value::Int(1))));
    lanes.gateway[WEST].routes.clear();
    let again = lanes.attach(WEST, "bob");
    assert_eq!(again.entity, avatar.entity);
    assert_eq!(lanes.position(avatar.entity), position);
    lanes.say(WEST, command(1, &again, 1, "wave", vec![]));
    // It is in the eastern cell, so it goes there, and saves that come later than the first are not fenced.
    lanes.idle(40);
    assert_eq!(lanes.whereabouts(avatar.entity), [EAST]);
    let later = lanes.storage.load_avatar("bob").unwrap().expect("saved");
    assert!(
        later.epoch > saved.epoch,
        "{:?} after {:?}",
        later.epoch,
        saved.epoch
    );
    let fenced = |place: usize| lanes.lanes[place].counters().entities_fenced;
    assert_eq!(fenced(WEST) + fenced(EAST), 0);
}

#[test]
fn a_lane_without_room_refuses_and_the_entity_stays_where_it_is() {
    let mut lanes = Lanes::new(WALK_EAST, 0);
    let walker = lanes.walker();
    lanes.idle(60);
    assert_eq!(lanes.whereabouts(walker), [WEST]);
    assert_eq!(
        lanes.position(walker).x,
        20 * METRE,
        "it is not kept from going on"
    );
    let counters = lanes.lanes[WEST].counters();
    assert!(
        (2..6).contains(&counters.handoffs_refused),
        "asked again, but not all the time: {counters:?}"
    );
}

#[test]
fn who_turns_back_is_not_handed_off() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    let mut seq = 0;
    let mut walk = |lanes: &mut Lanes, dx: i32| {
        seq += 1;
        lanes.say(WEST, intents(1, &avatar, seq, &[Step { dx, dz: 0 }]));
    };
    while lanes.position(avatar.entity).x < -METRE {
        walk(&mut lanes, METRE / 2);
    }
    // Nobody answers while it is across; then it is back.
    lanes.cut = [true; 2];
    while lanes.position(avatar.entity).x < 3 * METRE {
        walk(&mut lanes, METRE / 2);
    }
    while lanes.position(avatar.entity).x >= -METRE {
        walk(&mut lanes, -METRE / 2);
    }
    lanes.cut = [false; 2];
    lanes.idle(20);
    assert_eq!(lanes.whereabouts(avatar.entity), [WEST]);
    let (west, east) = (lanes.lanes[WEST].counters(), lanes.lanes[EAST].counters());
    assert_eq!(
        (west.handoffs_withdrawn, west.handed_off, east.taken_over),
        (1, 0, 0)
    );
}

#[test]
fn what_is_lost_between_lanes_is_said_again_and_nothing_is_done_twice() {
    for from in [WEST, EAST] {
        for begin in 0..24 {
            let mut lanes = Lanes::new(WALK_EAST, 1000);
            let walker = lanes.walker();
            lanes.idle(begin);
            lanes.cut[from] = true;
            for _ in 0..9 {
                lanes.idle(1);
                assert!(lanes.whereabouts(walker).len() <= 1, "never in both");
            }
            lanes.cut[from] = false;
            lanes.idle(40);
            assert_eq!(
                lanes.whereabouts(walker),
                [EAST],
                "cut off from {from} at {begin}"
            );
            assert_eq!(lanes.lanes[EAST].counters().taken_over, 1);
        }
    }
}

#[test]
fn the_name_of_who_ends_elsewhere_goes_home_and_rests() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    assert_eq!(avatar.name.slot, Slot(0));
    let (_, there) = walk_over(&mut lanes, &avatar);
    lanes.say(EAST, command(1, &there, 1, "vanish", vec![]));
    lanes.idle(3);
    assert_eq!(lanes.whereabouts(avatar.entity), [] as [usize; 0]);
    let mut slot_of = |session: u64, account: &str| {
        let attach = Attach {
            session: SessionId(session),
            account: account.into(),
        };
        lanes.say(
            WEST,
            Report {
                attach: vec![attach],
                ..Report::default()
            },
        );
        lanes.idle(70);
        lanes.announced(WEST).expect("announced").name.slot
    };
    assert_eq!(slot_of(2, "ann"), Slot(1), "it rests");
    assert_eq!(slot_of(3, "bob"), Slot(0));
}

#[test]
fn a_shutdown_loses_nobody_who_is_on_the_way() {
    let mut lanes = Lanes::new("", 1000);
    let avatar = lanes.attach(WEST, "bob");
    lanes.say(WEST, command(1, &avatar, 1, "wave", vec![]));
    lanes.cut[WEST] = true;
    lanes.cut[WEST] = false;
    let mut seq = 0;
    while lanes.whereabouts(avatar.entity) == [WEST] {
        seq += 1;
        lanes.say(WEST, intents(1, &avatar, seq, &[STEP]));
    }
    // On its way: in neither lane, and what carries it is lost.
    if lanes.whereabouts(avatar.entity).is_empty() {
        lanes.flying.clear();
    }
    let mut requests = Vec::new();
    lanes.lanes[WEST].drain(&mut requests);
    for request in requests {
        myriad_storage::serve(&mut lanes.storage, request);
    }
    let saved = lanes.storage.load_avatar("bob").unwrap().expect("saved");
    assert!(saved.position.x > 0, "as it went: {:?}", saved.position);
    assert!(saved.properties.contains(&("waves".into(), Value::Int(1))));
    assert!(!saved.properties.iter().any(|(name, _)| name == "secret"));
}

#[test]
fn a_lane_that_stops_neither_takes_nor_gives() {
    for stopping in [WEST, EAST] {
        let mut lanes = Lanes::new(WALK_EAST, 1000);
        let walker = lanes.walker();
        lanes.lanes[stopping].stop_handoffs();
        lanes.idle(60);
        assert_eq!(lanes.whereabouts(walker), [WEST]);
    }
}

#[test]
fn a_lane_that_is_behind_lets_those_wait_who_come_from_a_later_tick() {
    let mut lanes = Lanes::new(WALK_EAST, 1000);
    let walker = lanes.walker();
    let mut told: Vec<u64> = Vec::new();
    // From some tick on the eastern lane is two ticks behind, until it jumps.
    for tick in 0..60 {
        lanes.behind = if (10..45).contains(&tick) { 2 } else { 0 };
        lanes.idle(1);
        for output in &lanes.outputs {
            let truth = output.truth.as_ref().expect("enabled");
            if truth.entities.iter().any(|told| told.entity == walker) {
                told.push(truth.tick.0);
            }
        }
    }
    assert_eq!(lanes.whereabouts(walker), [EAST]);
    assert!(told.is_sorted_by(|a, b| a < b), "each tick once: {told:?}");
}
