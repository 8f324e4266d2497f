//! Commands: scripts run for the commands of players, for what entities noticed in
//! the last tick, for timers that are due, and for entities that arrived.

use crate::avatars::Place;
use crate::lane::Lane;
use myriad_aoi::Edge;

pub(crate) fn commands(lane: &mut Lane) {
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
    for (observer, subject, edge) in lane.interest.take_found() {
        match edge {
            Edge::Enter => lane.script.noticed(&mut lane.space, observer, subject),
            Edge::Leave => lane.script.lost(&mut lane.space, observer, subject),
        }
    }
    lane.script.run_timers(&mut lane.space);
    lane.script.run_arrivals(&mut lane.space);
}
