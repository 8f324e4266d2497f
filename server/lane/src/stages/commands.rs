//! Commands: scripts run for the commands of players, for timers that are due, and for entities that arrived.

use crate::avatars::Place;
use crate::lane::Lane;

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
    lane.script.run_timers(&mut lane.space);
    lane.script.run_arrivals(&mut lane.space);
}
