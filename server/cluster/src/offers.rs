//! Who has offered what to whom, and who keeps room for what.
//!
//! ```text
//!            offer            accept             last frame, then commit
//!  kept ───────────► offered ────────► accepted ──────────────────────────► gone
//!    ▲                  │                  │
//!    └──────────────────┴──────────────────┘
//!      refuse, withdraw, or the other lane begins a new life
//! ```
//! Until the commit the entity is the source's. After it the source never takes it back: a moment in which nobody has it
//! is possible, one in which two have it is not.

use myriad_wire::{EntityId, LaneId, Tick};
use std::collections::BTreeMap;

/// Ticks for which a refused entity is not offered again.
const REFUSED_REST_TICKS: u64 = 16;

/// What a lane has offered to others.
#[derive(Debug, Default)]
pub struct Offers {
    by_entity: BTreeMap<EntityId, Offer>,
    /// Refused of late, with the tick from which each may be offered again.
    resting: BTreeMap<EntityId, Tick>,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    to: LaneId,
    accepted: bool,
}

impl Offers {
    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    /// How many are under way to a lane.
    #[must_use]
    pub fn count_to(&self, lane: LaneId) -> usize {
        self.by_entity.values().filter(|offer| offer.to == lane).count()
    }

    /// To whom the entity is offered.
    #[must_use]
    pub fn to(&self, entity: EntityId) -> Option<LaneId> {
        self.by_entity.get(&entity).map(|offer| offer.to)
    }

    /// Whether the entity may be offered at `now`: it is not, and was not refused of late.
    #[must_use]
    pub fn may_offer(&self, entity: EntityId, now: Tick) -> bool {
        !self.by_entity.contains_key(&entity) && self.resting.get(&entity).is_none_or(|ready| *ready <= now)
    }

    /// The entity is offered to a lane.
    ///
    /// # Panics
    /// If it is offered already.
    pub fn offer(&mut self, entity: EntityId, to: LaneId) {
        let before = self.by_entity.insert(entity, Offer { to, accepted: false });
        assert!(before.is_none(), "{entity} is offered to one lane at a time");
        self.resting.remove(&entity);
    }

    /// `from` accepts. `false` if nothing was offered to it, any more.
    pub fn accept(&mut self, entity: EntityId, from: LaneId) -> bool {
        match self.by_entity.get_mut(&entity) {
            Some(offer) if offer.to == from => {
                offer.accepted = true;
                true
            }
            _ => false,
        }
    }

    /// `from` refuses, at `now`. `false` if nothing was offered to it, any more.
    pub fn refuse(&mut self, entity: EntityId, from: LaneId, now: Tick) -> bool {
        let offered = self.to(entity) == Some(from);
        if offered {
            self.by_entity.remove(&entity);
            self.resting.retain(|_, ready| *ready > now);
            self.resting.insert(entity, now + REFUSED_REST_TICKS);
        }
        offered
    }

    /// The offer is void, or done with. Answers to whom it was.
    pub fn remove(&mut self, entity: EntityId) -> Option<LaneId> {
        self.by_entity.remove(&entity).map(|offer| offer.to)
    }

    /// A lane has begun a new life: what was offered to the old one is void.
    pub fn forget_lane(&mut self, lane: LaneId) {
        self.by_entity.retain(|_, offer| offer.to != lane);
    }

    /// What was accepted, ascending by entity.
    pub fn accepted(&self) -> impl Iterator<Item = (EntityId, LaneId)> {
        let accepted = self.by_entity.iter().filter(|(_, offer)| offer.accepted);
        accepted.map(|(entity, offer)| (*entity, offer.to))
    }

    /// All that are under way, ascending by entity.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, LaneId)> {
        self.by_entity.iter().map(|(entity, offer)| (*entity, offer.to))
    }
}

/// The room that a lane keeps for what it has accepted.
#[derive(Debug, Default)]
pub struct Rooms {
    kept: BTreeMap<EntityId, LaneId>,
}

impl Rooms {
    /// For how many room is kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Room is kept for an entity of `from`.
    pub fn keep(&mut self, entity: EntityId, from: LaneId) {
        self.kept.insert(entity, from);
    }

    /// No room need be kept for the entity of `from` any more. `false` if none was.
    pub fn release(&mut self, entity: EntityId, from: LaneId) -> bool {
        let kept = self.kept.get(&entity) == Some(&from);
        if kept {
            self.kept.remove(&entity);
        }
        kept
    }

    /// A lane has begun a new life, which knows nothing of what the old one offered.
    pub fn forget_lane(&mut self, lane: LaneId) {
        self.kept.retain(|_, from| *from != lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: EntityId = EntityId(1);
    const BOB: EntityId = EntityId(2);
    const EAST: LaneId = LaneId(2);
    const WEST: LaneId = LaneId(3);

    #[test]
    fn an_offer_is_answered_by_whom_it_was_made_to() {
        let mut offers = Offers::default();
        offers.offer(ADA, EAST);
        assert!(!offers.accept(ADA, WEST) && !offers.refuse(ADA, WEST, Tick(1)));
        assert!(!offers.accept(BOB, EAST));
        assert_eq!(offers.accepted().count(), 0);
        assert!(offers.accept(ADA, EAST));
        assert_eq!(offers.accepted().collect::<Vec<_>>(), [(ADA, EAST)]);
        assert_eq!(offers.remove(ADA), Some(EAST));
        assert!(!offers.accept(ADA, EAST), "withdrawn before the answer came");
        assert!(offers.is_empty());
    }

    #[test]
    fn who_was_refused_waits() {
        let mut offers = Offers::default();
        offers.offer(ADA, EAST);
        assert!(!offers.may_offer(ADA, Tick(10)));
        assert!(offers.refuse(ADA, EAST, Tick(10)));
        assert!(!offers.may_offer(ADA, Tick(10 + REFUSED_REST_TICKS - 1)));
        assert!(offers.may_offer(ADA, Tick(10 + REFUSED_REST_TICKS)));
        assert!(offers.may_offer(BOB, Tick(10)));
    }

    #[test]
    fn a_new_life_of_a_lane_voids_what_concerned_the_old_one() {
        let (mut offers, mut rooms) = (Offers::default(), Rooms::default());
        offers.offer(ADA, EAST);
        offers.offer(BOB, WEST);
        offers.forget_lane(EAST);
        assert_eq!(offers.iter().collect::<Vec<_>>(), [(BOB, WEST)]);
        rooms.keep(ADA, EAST);
        rooms.keep(BOB, WEST);
        rooms.forget_lane(EAST);
        assert!(!rooms.release(ADA, EAST));
        assert!(!rooms.release(BOB, EAST) && rooms.release(BOB, WEST) && !rooms.release(BOB, WEST));
        assert!(rooms.is_empty());
    }
}
