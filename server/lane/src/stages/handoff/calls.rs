//! Calls of scripts that leave this lane, and those that come from others.

use crate::calls::{SENT_ON_MAX, Waiting};
use crate::lane::Lane;
use myriad_script::{Callee, ScriptCall};
use myriad_wire::lane::{AreaCall, EntityCall, Parcel};
use myriad_wire::{LaneId, Pos, Tick};

/// How far outside of its cell somebody may be who is a lane's own still, in position units: 10 m. Beyond that an area call
/// may miss whoever waits for another lane to take it.
const OUTSIDE_MAX: u32 = 10 * myriad_wire::grid::UNITS_PER_METRE as u32;

/// The tick is done, and those who leave have left: what scripts called goes where it is to run.
pub(super) fn send_out(lane: &mut Lane, now: Tick) {
    for ScriptCall { to, name, arguments } in lane.script.take_calls() {
        match to {
            Callee::Entity(entity, entity_name) => {
                let call = EntityCall {
                    entity,
                    entity_name,
                    name,
                    arguments,
                    sent_on: 0,
                };
                take(lane, call);
            }
            Callee::Area { center, radius } => {
                let call = AreaCall {
                    tick: now + 1,
                    center,
                    radius,
                    name,
                    arguments,
                };
                send_area(lane, call);
            }
        }
    }
}

fn send_area(lane: &mut Lane, call: AreaCall) {
    let [x, z] = call.center;
    let center = Pos { x, y: 0, z };
    let partition = &lane.config.partition;
    let reach = call.radius.saturating_add(OUTSIDE_MAX);
    let is_near = |other: &LaneId| {
        let cell = partition.cell_of(*other);
        *other != lane.config.lane && cell.is_some_and(|cell| partition.is_near(cell, center, reach))
    };
    let others: Vec<LaneId> = partition.lanes().filter(is_near).collect();
    for other in others {
        lane.counters.calls_sent += 1;
        lane.peers.send(other, Parcel::CallArea(Box::new(call.clone())));
    }
    lane.calls.wait(Waiting::Area(call), &mut lane.counters);
}

/// An entity is called: it waits here if that is here, or follows it.
pub(super) fn take(lane: &mut Lane, call: EntityCall) {
    if lane.space.find(call.entity).is_some() {
        lane.calls.wait(Waiting::Entity(call), &mut lane.counters);
    } else {
        send(lane, call);
    }
}

/// Sends a call after an entity that is not here.
pub(crate) fn send(lane: &mut Lane, mut call: EntityCall) {
    match lane.departures.to(call.entity_name) {
        Some(to) if call.sent_on < SENT_ON_MAX => {
            call.sent_on += 1;
            lane.counters.calls_sent += 1;
            lane.peers.send(to, Parcel::Call(Box::new(call)));
        }
        Some(_) | None => lane.counters.calls_gone += 1,
    }
}

/// Another lane has called all who are in some place.
pub(super) fn take_area(lane: &mut Lane, call: AreaCall) {
    lane.calls.wait(Waiting::Area(call), &mut lane.counters);
}
