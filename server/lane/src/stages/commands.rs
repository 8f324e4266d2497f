//! Commands: scripts run for the commands of players, for what other scripts call, for what entities noticed in the last
//! tick, for timers that are due, and for entities that arrived.

use crate::avatars::Place;
use crate::calls::{self, Calls, Waiting};
use crate::lane::Lane;
use crate::stages::handoff;
use myriad_aoi::Edge;
use myriad_wire::Tick;
use myriad_wire::lane::AreaCall;
use myriad_world::Handle;

pub(crate) fn commands(lane: &mut Lane, now: Tick) {
    for (_, avatar) in lane.avatars.iter_mut() {
        let (Place::InWorld(handle), Some(session)) = (&avatar.place, &mut avatar.session) else {
            continue;
        };
        while let Some(command) = session.next_command() {
            let outcome = lane
                .script
                .command(&mut lane.space, *handle, &command.name, &command.arguments);
            session.answer(command.seq, outcome.err(), &mut lane.counters);
        }
    }
    run_calls(lane, now);
    for (observer, subject, edge) in lane.interest.take_found() {
        match edge {
            Edge::Enter => lane.script.noticed(&mut lane.space, observer, subject),
            Edge::Leave => lane.script.lost(&mut lane.space, observer, subject),
        }
    }
    lane.script.run_timers(&mut lane.space);
    lane.script.run_arrivals(&mut lane.space);
}

/// What was called in the last tick, here or in other lanes.
fn run_calls(lane: &mut Lane, now: Tick) {
    for call in lane.calls.take(now) {
        match call {
            Waiting::Entity(call) => match lane.space.find(call.entity) {
                Some(handle) => {
                    let has_run = lane
                        .script
                        .called(&mut lane.space, handle, &call.name, &call.arguments);
                    lane.counters.calls += u64::from(has_run);
                }
                None => handoff::send_call(lane, call),
            },
            Waiting::Area(call) if Calls::is_too_late(call.tick, now) => lane.counters.calls_dropped += 1,
            Waiting::Area(call) => run_area_call(lane, &call, now),
        }
    }
    lane.calls.prune(now);
}

/// Calls those who are there as the tick begins, and were this lane's own in the call's tick.
fn run_area_call(lane: &mut Lane, call: &AreaCall, now: Tick) {
    let mut called: Vec<Handle> = lane
        .subjects
        .iter()
        .filter(|subject| calls::reaches(call, subject.position))
        .map(|subject| subject.handle)
        .collect();
    // The list is the last tick's: it has not yet who came since.
    for handle in lane.calls.came_in(now) {
        let position = lane.space.position(handle);
        if position.is_some_and(|position| calls::reaches(call, position)) {
            called.push(handle);
        }
    }
    for handle in called {
        if lane.space.alive(handle) && lane.calls.was_here(handle, call.tick) {
            let has_run = lane
                .script
                .called(&mut lane.space, handle, &call.name, &call.arguments);
            lane.counters.calls += u64::from(has_run);
        }
    }
}
