//! Who is near to one session's observer, reckoned from the truth: the memory behind the rule's two radii.
//!
//! It begins with the session and with each subject's life, and goes on whoever sees whom: of two who were near before
//! their masks met, one sees the other at once.

use crate::truth::{Life, Snapshot};
use myriad_wire::{Generation, LaneEpoch, Slot};

/// A life of one lane.
pub(crate) type Name = (Slot, Generation);

/// Who is near, as far as it can be known. A gateway whose session has no avatar for the moment keeps the observer
/// where it was, which no truth tells; so who is surely near and who may be near are two sets, until a view says more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nearness {
    epoch: LaneEpoch,
    /// Ascending.
    surely: Vec<Name>,
    /// Ascending; `None` for everybody.
    maybe: Option<Vec<Name>>,
}

impl Nearness {
    /// A frame came while the observer was anywhere.
    pub(crate) fn lose(&mut self) {
        self.surely.clear();
        self.maybe = None;
    }

    /// The frame of `now` came, and the observer is where its avatar `own` is.
    pub(crate) fn step(&mut self, own: &Life, now: &Snapshot) {
        if self.epoch != now.epoch {
            // All of these lives are new to the gateway.
            self.epoch = now.epoch;
            self.surely.clear();
            self.maybe = self.maybe.take().map(|_| Vec::new());
        }
        // By slot, so the lists ascend.
        let near = |was: &dyn Fn(&Name) -> bool| -> Vec<Name> {
            let lives = now.lives.values().map(|life| (name_of(life), life));
            let near = lives.filter(|(name, life)| own.is_near(life, was(name)));
            near.map(|(name, _)| name).collect()
        };
        let surely = near(&|name| self.surely.binary_search(name).is_ok());
        let maybe = near(&|name| self.may(name));
        self.surely = surely;
        self.maybe = Some(maybe);
    }

    /// The view after that frame is known: of those whom `own` may see it has all who are near, or, if it is crowded,
    /// some of them.
    pub(crate) fn settle(&mut self, own: &Life, now: &Snapshot, view: impl Fn(&Name) -> bool, crowded: bool) {
        for life in now.lives.values().filter(|life| own.meets(life)) {
            let name = name_of(life);
            match (view(&name), self.surely.binary_search(&name)) {
                (true, Err(at)) => self.surely.insert(at, name),
                (true, Ok(_)) => {}
                (false, _) if crowded => {}
                (false, found) => {
                    if let Ok(at) = found {
                        self.surely.remove(at);
                    }
                    if let Some(maybe) = &mut self.maybe {
                        maybe.retain(|other| *other != name);
                    }
                }
            }
        }
    }

    /// Whether `own` must see this life.
    pub(crate) fn must_see(&self, own: &Life, life: &Life) -> bool {
        own.meets(life) && self.surely.binary_search(&name_of(life)).is_ok()
    }

    /// Whether `own` may see this life.
    pub(crate) fn may_see(&self, own: &Life, life: &Life) -> bool {
        own.meets(life) && self.may(&name_of(life))
    }

    fn may(&self, name: &Name) -> bool {
        self.maybe
            .as_ref()
            .is_none_or(|maybe| maybe.binary_search(name).is_ok())
    }
}

/// What a life is called in its lane.
pub(crate) fn name_of(life: &Life) -> Name {
    (life.slot, life.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::{EntityId, KindId, Pos, Tick};

    /// One at the origin who sees layer 1 up to 30 m, and another so far away on `layers`.
    fn world(metres: i32, layers: u32) -> (Life, Life, Snapshot) {
        let life = |slot: u32, x: i32, layers: u32| Life {
            slot: Slot(slot),
            generation: Generation(0),
            entity: EntityId(u64::from(slot)),
            kind: KindId(0),
            position: Pos {
                x: x * 1024,
                y: 0,
                z: 0,
            },
            layers,
            sees: 1,
            radius_aoi: 30 * 32,
            speed_max: 0.0,
            properties: Vec::new(),
            version: None,
            avatar: None,
        };
        let (own, other) = (life(0, 0, 1), life(1, metres, layers));
        let snapshot = Snapshot {
            epoch: LaneEpoch(1),
            tick: Tick(1),
            lives: [&own, &other].map(|life| (life.slot, life.clone())).into(),
            died: Default::default(),
            happened: Vec::new(),
        };
        (own, other, snapshot)
    }

    #[test]
    fn who_was_near_before_the_masks_met_is_seen_at_once() {
        let mut near = Nearness::default();
        let tells =
            |near: &Nearness, own: &Life, other: &Life| (near.must_see(own, other), near.may_see(own, other));
        for (metres, layers, seen) in [
            // Nobody knows yet where the observer was before.
            (32, 1, (false, true)),
            (34, 1, (false, false)),
            (32, 1, (false, false)),
            (29, 2, (false, false)),
            (32, 2, (false, false)),
            (32, 1, (true, true)),
            (34, 2, (false, false)),
            (32, 1, (false, false)),
        ] {
            let (own, other, snapshot) = world(metres, layers);
            near.step(&own, &snapshot);
            assert_eq!(
                tells(&near, &own, &other),
                seen,
                "at {metres} m on layers {layers}"
            );
        }
    }

    #[test]
    fn a_view_settles_what_cannot_be_known() {
        let (own, other, snapshot) = world(32, 1);
        for (in_view, crowded, must, may) in [
            (true, false, true, true),
            (false, false, false, false),
            (false, true, false, true),
        ] {
            let mut near = Nearness::default();
            near.step(&own, &snapshot);
            let itself = name_of(&own);
            near.settle(&own, &snapshot, |name| in_view || *name == itself, crowded);
            near.step(&own, &snapshot);
            assert!(near.must_see(&own, &own));
            assert_eq!(
                (near.must_see(&own, &other), near.may_see(&own, &other)),
                (must, may)
            );
            near.lose();
            near.step(&own, &snapshot);
            assert_eq!(
                (near.must_see(&own, &other), near.may_see(&own, &other)),
                (false, true)
            );
        }
    }
}
