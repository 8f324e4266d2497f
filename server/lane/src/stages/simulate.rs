//! Simulate: everything moves, avatars by their clients' intents and the rest by its motion. Positions are
//! committed here, once per tick.

use crate::avatars::Place;
use crate::lane::Lane;

pub(crate) fn simulate(lane: &mut Lane) {
    // A jumped-over tick is earned too: its time has passed for the clients.
    let elapsed_us = lane.config.clock.period_us() * lane.ticks_elapsed;
    for (_, avatar) in lane.avatars.iter_mut() {
        let (Place::InWorld(handle), Some(session)) = (&avatar.place, &mut avatar.session) else {
            continue;
        };
        session.budget.earn(elapsed_us);
        while let Some((seq, step)) = session.next_intent() {
            let spent = session.budget.spend(step);
            if spent.clipped {
                session.corrections += 1;
                lane.counters.intents_clipped += 1;
            }
            // An avatar that a script removed in this tick is cleared away in the next one's handoff.
            let _ = lane.space.displace(*handle, spent.step);
            session.applied = seq;
            lane.counters.intents_applied += 1;
        }
    }
    lane.space.simulate();
}
