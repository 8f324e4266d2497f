//! The names that a lane gives to the entities it spawns.
//!
//! A name is its entity's for life, wherever in the cluster that is lived. So a slot is given out again only when the
//! life under it is known to be over, and has rested.

use myriad_wire::limits::SLOT_REST_TICKS;
use myriad_wire::{EntityName, Generation, LaneEpoch, Slot, Tick};
use std::collections::VecDeque;

/// Far from all its small multiples, so that the generations of claims that follow each other lie far apart.
const FIRST_STRIDE: u16 = 40_503;

/// Names given out by one lane under one claim.
#[derive(Debug)]
pub(crate) struct Issue {
    issuer: LaneEpoch,
    /// Of each slot's first life.
    first: Generation,
    /// By slot.
    lives: Vec<Life>,
    /// Slots of lives that are over, with the tick from which each may be used again, ascending.
    resting: VecDeque<(Tick, Slot)>,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    /// Of the present life, or of the next if there is none.
    generation: Generation,
    taken: bool,
}

impl Issue {
    /// No name is given out. Under each claim the generations begin elsewhere: an intent that is still under way to an
    /// avatar named under the last one must not name one of this.
    pub(crate) fn new(issuer: LaneEpoch) -> Self {
        Self {
            issuer,
            // The first claim is 1.
            first: Generation((issuer.0.wrapping_sub(1) as u16).wrapping_mul(FIRST_STRIDE)),
            lives: Vec::new(),
            resting: VecDeque::new(),
        }
    }

    /// Who gives them.
    pub(crate) fn issuer(&self) -> LaneEpoch {
        self.issuer
    }

    /// How many slots there will be after the next [`Self::take`] at `now`.
    pub(crate) fn next_len(&self, now: Tick) -> usize {
        self.lives.len() + usize::from(!self.has_rested(now))
    }

    fn has_rested(&self, now: Tick) -> bool {
        self.resting.front().is_some_and(|(ready, _)| *ready <= now)
    }

    /// A name that nobody has.
    pub(crate) fn take(&mut self, now: Tick) -> EntityName {
        let slot = if self.has_rested(now) {
            let (_, slot) = self.resting.pop_front().expect("one has rested");
            slot
        } else {
            let next = u32::try_from(self.lives.len()).expect("a lane gives fewer than 2^32 names");
            self.lives.push(Life {
                generation: self.first,
                taken: false,
            });
            Slot(next)
        };
        let life = &mut self.lives[slot.0 as usize];
        assert!(!life.taken, "a slot that rests is nobody's");
        life.taken = true;
        EntityName {
            issuer: self.issuer,
            slot,
            generation: life.generation,
        }
    }

    /// The life under `name` is over. `false` if it was none of the present lives.
    pub(crate) fn give_back(&mut self, name: EntityName, now: Tick) -> bool {
        let Some(life) = self.lives.get_mut(name.slot.0 as usize) else {
            return false;
        };
        let present = name.issuer == self.issuer && life.taken && life.generation == name.generation;
        if present {
            life.taken = false;
            life.generation = Generation(life.generation.0.wrapping_add(1));
            self.resting.push_back((now + SLOT_REST_TICKS, name.slot));
        }
        present
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn nobody_has_a_name_twice_and_slots_rest(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0..40u64), 0..200)) {
            let mut issue = Issue::new(LaneEpoch(5));
            let (mut now, mut present, mut over) = (Tick(9), Vec::new(), BTreeMap::new());
            let mut given = std::collections::BTreeSet::new();
            for (takes, which, elapsed) in steps {
                now = now + elapsed;
                if takes || present.is_empty() {
                    let len = issue.next_len(now);
                    let name = issue.take(now);
                    prop_assert_eq!(len, issue.lives.len());
                    prop_assert!(given.insert(name), "{:?} was given before", name);
                    if let Some(since) = over.remove(&name.slot) {
                        prop_assert!(now.since(since) >= SLOT_REST_TICKS);
                    }
                    present.push(name);
                } else {
                    let name = present.swap_remove(which.index(present.len()));
                    prop_assert!(issue.give_back(name, now));
                    prop_assert!(!issue.give_back(name, now), "once");
                    over.insert(name.slot, now);
                }
            }
        }
    }

    #[test]
    fn names_of_others_are_not_taken_back() {
        let mut issue = Issue::new(LaneEpoch(5));
        let name = issue.take(Tick(1));
        let others = [
            EntityName {
                issuer: LaneEpoch(4),
                ..name
            },
            EntityName {
                generation: Generation(name.generation.0.wrapping_add(1)),
                ..name
            },
            EntityName {
                slot: Slot(9),
                ..name
            },
        ];
        assert!(others.into_iter().all(|other| !issue.give_back(other, Tick(2))));
        assert!(issue.give_back(name, Tick(2)));
    }
}
