//! Who gave the names that the mirror knows: each issuer's handle towards clients, and its lives by slot.
//!
//! An issuer is one life of one lane. It gets a handle with the first of its names, and gives it up when nobody lives by
//! such a name any more and no lane goes on giving them. A handle that was given up rests: states of its last owner's
//! subjects may still be under way.

use super::lives::Life;
use myriad_wire::limits::SLOT_REST_TICKS;
use myriad_wire::{LaneEpoch, LaneHandle, Slot};

/// Handles are bytes.
const HANDLES: usize = 1 << u8::BITS;

/// All issuers whose names live.
#[derive(Debug)]
pub(super) struct Issuers {
    /// By handle.
    all: Vec<Place>,
    /// Those there are, ascending.
    by_epoch: Vec<(LaneEpoch, LaneHandle)>,
    /// The handle that was given last: the search for the next one begins behind it.
    last: LaneHandle,
}

#[derive(Debug, Default)]
struct Place {
    issuer: Option<Issuer>,
    /// The tick of the gateway from which on the handle may be given, while nobody has it.
    free_from: u64,
}

/// One life of one lane, as far as it gave names.
#[derive(Debug, Default)]
pub(super) struct Issuer {
    pub(super) epoch: LaneEpoch,
    /// By slot.
    pub(super) lives: Vec<Life>,
    /// How many of these there are.
    pub(super) living: u32,
}

impl Issuers {
    pub(super) fn new() -> Self {
        Self {
            all: (0..HANDLES).map(|_| Place::default()).collect(),
            by_epoch: Vec::new(),
            last: LaneHandle(u8::MAX),
        }
    }

    /// The handle of the issuer with this epoch, if it has one.
    #[inline]
    pub(super) fn handle(&self, epoch: LaneEpoch) -> Option<LaneHandle> {
        let place = self.by_epoch.binary_search_by_key(&epoch, |(epoch, _)| *epoch);
        Some(self.by_epoch[place.ok()?].1)
    }

    /// The handle of the issuer with this epoch, in tick `now` of the gateway: a new one, if it has none. `None` if all
    /// are in use or rest.
    pub(super) fn admit(&mut self, epoch: LaneEpoch, now: u64) -> Option<LaneHandle> {
        let place = match self.by_epoch.binary_search_by_key(&epoch, |(epoch, _)| *epoch) {
            Ok(place) => return Some(self.by_epoch[place].1),
            Err(place) => place,
        };
        let handle = (1..=HANDLES)
            .map(|ahead| LaneHandle(self.last.0.wrapping_add(ahead as u8)))
            .find(|handle| {
                let place = &self.all[usize::from(handle.0)];
                place.issuer.is_none() && place.free_from <= now
            })?;
        self.last = handle;
        self.all[usize::from(handle.0)].issuer = Some(Issuer {
            epoch,
            ..Issuer::default()
        });
        self.by_epoch.insert(place, (epoch, handle));
        Some(handle)
    }

    /// Those of whom nobody lives give their handles up in tick `now` of the gateway, unless they are to be kept.
    /// Answers whose handles these were.
    pub(super) fn retire(
        &mut self,
        now: u64,
        is_kept: impl Fn(LaneEpoch, LaneHandle) -> bool,
        mut each: impl FnMut(LaneHandle),
    ) {
        let all = &mut self.all;
        self.by_epoch.retain(|&(epoch, handle)| {
            let place = &mut all[usize::from(handle.0)];
            let issuer = place.issuer.as_ref().expect("it has the handle");
            let stays = issuer.living > 0 || is_kept(epoch, handle);
            if !stays {
                place.issuer = None;
                place.free_from = now + SLOT_REST_TICKS;
                each(handle);
            }
            stays
        });
    }

    #[inline]
    pub(super) fn get(&self, handle: LaneHandle) -> Option<&Issuer> {
        self.all[usize::from(handle.0)].issuer.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: LaneHandle) -> Option<&mut Issuer> {
        self.all[usize::from(handle.0)].issuer.as_mut()
    }
}

impl Issuer {
    /// The life in `slot`, if there is one.
    #[inline]
    pub(super) fn life(&self, slot: Slot) -> Option<&Life> {
        self.lives.get(slot.0 as usize).filter(|life| life.is_there())
    }

    #[inline]
    pub(super) fn life_mut(&mut self, slot: Slot) -> Option<&mut Life> {
        self.lives.get_mut(slot.0 as usize).filter(|life| life.is_there())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_that_was_given_up_rests_and_the_next_one_is_given_before_it() {
        let mut issuers = Issuers::new();
        let nobody = |_: LaneEpoch, _: LaneHandle| false;
        let first = issuers.admit(LaneEpoch(7), 1).unwrap();
        assert_eq!(issuers.admit(LaneEpoch(7), 1), Some(first), "known by now");
        assert_eq!(issuers.handle(LaneEpoch(7)), Some(first));
        let mut retired = Vec::new();
        issuers.retire(1, |epoch, _| epoch == LaneEpoch(7), |handle| retired.push(handle));
        assert!(retired.is_empty(), "kept");
        issuers.retire(1, nobody, |handle| retired.push(handle));
        assert_eq!((retired, issuers.handle(LaneEpoch(7))), (vec![first], None));
        // One after the other is given and given up: 256 in a row are others.
        let mut given = vec![first];
        for epoch in 8..8 + HANDLES as u64 - 1 {
            given.push(issuers.admit(LaneEpoch(epoch), 1).unwrap());
            issuers.retire(1, nobody, |_| ());
        }
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), HANDLES);
        assert_eq!(
            issuers.admit(LaneEpoch(999), SLOT_REST_TICKS),
            None,
            "all of them rest"
        );
        let again = issuers.admit(LaneEpoch(999), 1 + SLOT_REST_TICKS);
        assert_eq!(again, Some(first), "the one that rested longest");
    }

    #[test]
    fn when_all_handles_are_in_use_nobody_else_gets_one() {
        let mut issuers = Issuers::new();
        for epoch in 0..HANDLES as u64 {
            assert!(issuers.admit(LaneEpoch(epoch), 1).is_some());
        }
        assert_eq!(issuers.admit(LaneEpoch(256), 1), None);
        issuers.retire(1, |epoch, _| epoch != LaneEpoch(9), |_| ());
        assert_eq!(issuers.admit(LaneEpoch(256), 2), None, "it rests");
        assert!(issuers.admit(LaneEpoch(256), 1 + SLOT_REST_TICKS).is_some());
    }
}
