//! Avatars and sessions: who steers whom, who leaves when, what is saved.

use crate::rig::*;
use myriad_storage::Storage as _;
use myriad_wire::fabric::{Attach, Detach, Report, Route, RouteState};
use myriad_wire::payload::Step;
use myriad_wire::{CloseReason, LaneEpoch, SessionId, Value};

#[test]
fn a_second_login_takes_the_avatar_over() {
    let mut rig = Rig::new(2);
    let first = rig.attach(0, 1, "ada");
    let second = rig.attach(1, 2, "ada");
    assert_eq!(first.entity, second.entity);
    assert!(second.epoch > first.epoch);
    rig.tick(vec![(0, Report::default()), (1, Report::default())]);
    let ended = rig.gateways[0].routes.iter().flat_map(|routes| &routes.sessions);
    let reasons: Vec<_> = ended
        .filter_map(|route| match route.state {
            RouteState::Ended(reason) => Some((route.session, reason)),
            RouteState::Attached(_) | RouteState::Elsewhere(_) => None,
        })
        .collect();
    assert_eq!(reasons, [(SessionId(1), CloseReason::Replaced)]);
    let before = rig.position(first.entity);
    rig.tick(vec![(0, intents(1, &first, 1, &[Step { dx: 100, dz: 0 }]))]);
    assert_eq!(
        rig.position(first.entity),
        before,
        "intents of the older session are dropped"
    );
}

#[test]
fn a_replaced_session_whose_gateway_missed_it_does_not_take_the_avatar_back() {
    let mut rig = Rig::new(2);
    rig.attach(0, 1, "ada");
    rig.gateways[0].lose = 100;
    let second = rig.attach(1, 2, "ada");
    rig.gateways[0].lose = 0;
    rig.gateways[0].resync = true;
    rig.tick(vec![(0, Report::default()), (1, Report::default())]);
    rig.idle(2);
    let own = rig.attach(1, 2, "ada");
    assert_eq!(own.epoch, second.epoch, "nobody was attached in between");
    assert!(rig.gateways[1].route(2).is_some());
}

#[test]
fn a_session_attached_and_detached_within_one_tick_is_gone() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    let attach = Attach {
        session: SessionId(2),
        account: "bob".into(),
    };
    let detach = Detach {
        session: SessionId(2),
        left: true,
    };
    let attaching = Report {
        attach: vec![attach],
        ..Report::default()
    };
    let detaching = Report {
        detach: vec![detach],
        ..Report::default()
    };
    rig.tick(vec![(0, attaching), (0, detaching)]);
    rig.idle(3);
    assert!(rig.gateways[0].route(2).is_none());
    assert_eq!(rig.lane.sessions(), 1);
}

#[test]
fn a_silent_gateways_avatars_leave_once_after_the_grace_period() {
    let mut rig = Rig::new(2);
    let lost = rig.attach(0, 1, "ada");
    let other = rig.attach(1, 2, "bob");
    let mut left_at = Vec::new();
    for tick in 1..60 {
        rig.tick(vec![(1, Report::default())]);
        let frame = rig.gateways[1].frames.last().expect("a frame");
        left_at.extend(frame.leaves.iter().map(|leave| (tick, leave.slot)));
    }
    assert_eq!(left_at.len(), 1, "{left_at:?}");
    assert_eq!(left_at[0].1, lost.name.slot);
    // Half a second of silence and two of grace.
    assert!((24..=28).contains(&left_at[0].0), "{left_at:?}");
    assert!(rig.position(other.entity).is_some());
    assert_eq!(
        (rig.counters().gateways_lost, rig.counters().avatars_departed),
        (1, 1)
    );
}

#[test]
fn within_the_grace_period_a_player_finds_the_avatar_where_it_stands() {
    let mut rig = Rig::new(2);
    let before = rig.attach(0, 1, "ada");
    for _ in 0..20 {
        rig.tick(vec![(1, Report::default())]);
    }
    let after = rig.attach(1, 2, "ada");
    assert_eq!(
        (before.entity, before.name.slot, before.name.generation),
        (after.entity, after.name.slot, after.name.generation)
    );
    rig.idle(30);
    assert_eq!(rig.counters().avatars_departed, 0);
}

/// Gateway 0 speaks to nobody until it is taken for dead.
fn fall_silent(rig: &mut Rig) {
    for _ in 0..8 {
        rig.tick(vec![(1, Report::default())]);
    }
    assert_eq!(rig.counters().gateways_lost, 1);
}

#[test]
fn a_session_whose_gateway_was_silent_goes_on_with_its_numbers() {
    let mut rig = Rig::new(2);
    let avatar = rig.attach(0, 1, "ada");
    let east = Step { dx: 100, dz: 0 };
    rig.tick(vec![(0, intents(1, &avatar, 2, &[east, east]))]);
    rig.tick(vec![(0, command(1, &avatar, 1, "mood", vec![Value::Int(4)]))]);
    let before = rig.position(avatar.entity).expect("in the world");
    fall_silent(&mut rig);
    rig.idle(3);
    let back = rig.attach(0, 1, "ada");
    assert_eq!(back.name, avatar.name);
    assert_eq!(back.command_seq.0, 1, "the command is known to have run");
    rig.tick(vec![(0, intents(1, &back, 3, &[east, east, east]))]);
    rig.tick(vec![(0, command(1, &back, 1, "mood", vec![Value::Int(5)]))]);
    let after = rig.position(avatar.entity).expect("in the world");
    assert_eq!(after.x - before.x, 100, "two of the steps had been applied");
    assert_eq!(rig.counters().commands_accepted, 1);
}

#[test]
fn a_session_whose_gateway_was_silent_does_not_take_the_avatar_from_a_newer_login() {
    let mut rig = Rig::new(2);
    rig.attach(0, 1, "ada");
    fall_silent(&mut rig);
    let newer = rig.attach(1, 2, "ada");
    rig.idle(3);
    let told = rig.gateways[0].routes.iter().flat_map(|routes| &routes.sessions);
    let last = told.last().expect("it is told something");
    assert_eq!(last.session, SessionId(1));
    assert!(matches!(last.state, RouteState::Ended(CloseReason::Replaced)));
    assert_eq!(rig.attach(1, 2, "ada").epoch, newer.epoch);
}

#[test]
fn what_was_meant_for_an_avatar_that_departed_is_not_taken_for_the_next() {
    let mut rig = Rig::new(1);
    let gone = rig.attach(0, 1, "ada");
    let detach = Detach {
        session: SessionId(1),
        left: true,
    };
    let goodbye = Report {
        detach: vec![detach],
        ..Report::default()
    };
    rig.tick(vec![(0, goodbye)]);
    rig.idle(3);
    let back = rig.attach(0, 1, "ada");
    let before = rig.position(back.entity);
    rig.tick(vec![(0, intents(1, &gone, 1, &[Step { dx: 100, dz: 0 }]))]);
    assert_eq!(rig.position(back.entity), before);
}

#[test]
fn a_goodbye_needs_no_grace_and_what_was_saved_comes_back() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(0, intents(1, &avatar, 1, &[Step { dx: 2000, dz: 1000 }]))]);
    rig.tick(vec![(0, command(1, &avatar, 1, "mood", vec![Value::Int(4)]))]);
    let place = rig.position(avatar.entity);
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
    assert_eq!(rig.position(avatar.entity), None, "gone at once");
    // Back before storage has answered, and once more after it has.
    let again = rig.attach(0, 2, "ada");
    assert_eq!((again.entity, rig.position(again.entity)), (avatar.entity, place));
    let detach = Detach {
        session: SessionId(2),
        left: true,
    };
    rig.tick(vec![(
        0,
        Report {
            detach: vec![detach],
            ..Report::default()
        },
    )]);
    rig.idle(5);
    let third = rig.attach(0, 3, "ada");
    assert_eq!((third.entity, rig.position(third.entity)), (avatar.entity, place));
    let mut later = Rig::over(rig.storage.clone(), 1, LaneEpoch(8));
    let restarted = later.attach(0, 9, "ada");
    assert_eq!(
        (restarted.entity, later.position(restarted.entity)),
        (avatar.entity, place)
    );
    let mut joins = later.gateways[0].frames.iter().flat_map(|frame| &frame.joins);
    let join = joins
        .find(|join| join.entity == avatar.entity)
        .expect("the avatar joined");
    assert_eq!(join.properties[1].1, Value::Int(4));
}

#[test]
fn what_changed_is_saved_within_the_interval_and_again_if_storage_failed() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.idle(3);
    assert_eq!(rig.saves, 1, "a new avatar is saved at once");
    rig.idle(30);
    assert_eq!(rig.saves, 1, "what did not change is not saved again");
    rig.storage_fails = true;
    rig.tick(vec![(0, intents(1, &avatar, 1, &[Step { dx: 500, dz: 0 }]))]);
    rig.idle(10);
    assert!(rig.counters().storage_errors > 0);
    rig.storage_fails = false;
    rig.idle(10);
    let saved = rig
        .storage
        .load_avatar("ada")
        .expect("memory does not fail")
        .expect("saved");
    assert_eq!(Some(saved.position), rig.position(avatar.entity));
    assert_eq!(saved.epoch.era, EPOCH.0);
}

#[test]
fn a_full_report_ends_the_sessions_it_does_not_name() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(
        0,
        Report {
            full: true,
            ..Report::default()
        },
    )]);
    assert!(rig.gateways[0].route(1).is_none());
    rig.idle(25);
    assert_eq!(rig.position(avatar.entity), None);
}

#[test]
fn a_session_too_many_is_refused() {
    let mut rig = Rig::new(1);
    for (session, account) in (1..).zip(["a", "b", "c"]) {
        rig.attach(0, session, account);
    }
    let attach = Attach {
        session: SessionId(4),
        account: "d".into(),
    };
    rig.tick(vec![(
        0,
        Report {
            attach: vec![attach],
            ..Report::default()
        },
    )]);
    assert!(matches!(
        rig.gateways[0].route(4),
        Some(Route {
            state: RouteState::Ended(CloseReason::Full),
            ..
        })
    ));
}

#[test]
fn an_avatar_that_its_script_removes_ends_the_session() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(0, command(1, &avatar, 1, "vanish", vec![]))]);
    rig.tick(vec![(0, Report::default())]);
    assert!(matches!(
        rig.gateways[0].route(1),
        Some(Route {
            state: RouteState::Ended(CloseReason::Removed),
            ..
        })
    ));
}
