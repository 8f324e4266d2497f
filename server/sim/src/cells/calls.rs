//! What is known of area calls: who called whom, and whom that has reached.

use super::checks::{Seen, value};
use super::nodes::LaneNode;
use super::{Checked, METRE, demand};
use myriad_wire::{EntityId, Pos, Tick, Value};
use std::collections::{BTreeMap, BTreeSet};

/// All area calls so far.
#[derive(Debug, Default)]
pub(super) struct AreaCalls {
    /// By number.
    calls: BTreeMap<i64, AreaCall>,
    /// Which call has reached whom, by its tag.
    reached: BTreeSet<(i64, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct AreaCall {
    /// In which it is to run.
    tick: Tick,
    center: Pos,
    /// In position units.
    radius: i64,
}

impl AreaCalls {
    /// A script has called all around a place, in tick `now`.
    pub(super) fn called(&mut self, now: Tick, [x, z]: [f64; 2], radius_m: f64, number: i64) {
        let call = AreaCall {
            tick: now + 1,
            center: Pos::from_metres([x, 0.0, z].into()),
            radius: (radius_m * f64::from(METRE)) as i64,
        };
        self.calls.insert(number, call);
    }

    /// The entity with this tag was called.
    pub(super) fn ran(&mut self, tag: i64, number: i64) -> Checked {
        demand!(
            self.calls.contains_key(&number),
            "{tag} was called by {number}, which nobody said"
        );
        demand!(
            self.reached.insert((number, tag)),
            "call {number} reached {tag} twice"
        );
        Ok(())
    }

    /// Nothing goes wrong: what was called in the last tick has reached everybody who was near then, and nobody else.
    pub(super) fn all_ran(&self, now: Tick, lanes: &[LaneNode], seen: &BTreeMap<EntityId, Seen>) -> Checked {
        for (number, call) in self.calls.iter().filter(|(_, call)| call.tick == now) {
            for lane in lanes {
                let space = lane.core.space();
                for handle in space.handles() {
                    let Some(Value::Int(tag)) = value(&lane.core, handle, "tag") else {
                        continue;
                    };
                    let entity = space.id(handle).expect("a living one");
                    let places = seen.get(&entity).map(|seen| &seen.places);
                    let before = places.and_then(|places| places.iter().rev().find(|(tick, ..)| *tick < now));
                    let Some((_, place, _)) = before else { continue };
                    let [dx, dz] = [place.x - call.center.x, place.z - call.center.z].map(i64::from);
                    let is_near = dx * dx + dz * dz <= call.radius * call.radius;
                    let was_reached = self.reached.contains(&(*number, tag));
                    demand!(
                        is_near == was_reached,
                        "call {number} around {:?}: entity {entity} at {place:?}, within {}: {is_near}, reached: {was_reached}",
                        call.center,
                        call.radius
                    );
                }
            }
        }
        Ok(())
    }

    pub(super) fn count(&self) -> u64 {
        self.calls.len() as u64
    }

    pub(super) fn called_count(&self) -> u64 {
        self.reached.len() as u64
    }
}
