//! Versions of entities' public properties, by which clients of a crowd notice that what they know is out of date.

use myriad_wire::Slot;
use std::collections::BTreeMap;

/// The version of each entity, by slot. Zero at its spawn, and one more, wrapping, in each tick in which public
/// properties of it changed.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    by_slot: Vec<Version>,
    /// Of entities that come from another lane in this tick, by slot: what they had there.
    brought: BTreeMap<Slot, u8>,
    /// Ticks begun.
    round: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Version {
    version: u8,
    /// The round of its last change; zero if there was none.
    changed: u64,
}

impl Versions {
    /// Begins a tick.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
    }

    /// The entity that comes into this slot in this tick has had this version in another lane.
    pub(crate) fn bring(&mut self, slot: Slot, version: u8) {
        self.brought.insert(slot, version);
    }

    /// An entity came into this slot. If it came from another lane, `changed` says that public properties of it changed
    /// since.
    pub(crate) fn begin_life(&mut self, slot: Slot, changed: bool) {
        *self.of(slot) = Version::default();
        if let Some(version) = self.brought.remove(&slot) {
            self.of(slot).version = version;
            if changed {
                self.count(slot);
            }
        }
    }

    /// Public properties of the entity in this slot changed. Call it once for each entity and tick.
    pub(crate) fn count(&mut self, slot: Slot) {
        let round = self.round;
        let version = self.of(slot);
        assert!(version.changed < round, "a tick changes a version once");
        version.version = version.version.wrapping_add(1);
        version.changed = round;
    }

    /// The version now.
    pub(crate) fn version(&self, slot: Slot) -> u8 {
        self.get(slot).version
    }

    /// Whether it changed in this tick or the one before.
    pub(crate) fn changed_of_late(&self, slot: Slot) -> bool {
        let changed = self.get(slot).changed;
        changed > 0 && self.round - changed <= 1
    }

    fn get(&self, slot: Slot) -> Version {
        self.by_slot.get(slot.0 as usize).copied().unwrap_or_default()
    }

    fn of(&mut self, slot: Slot) -> &mut Version {
        let place = slot.0 as usize;
        if self.by_slot.len() <= place {
            self.by_slot.resize(place + 1, Version::default());
        }
        &mut self.by_slot[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_counts_ticks_with_changes_and_begins_anew_with_a_life() {
        let mut versions = Versions::default();
        let mut tick = |changes: bool| {
            versions.begin();
            if changes {
                versions.count(Slot(3));
            }
            (versions.version(Slot(3)), versions.changed_of_late(Slot(3)))
        };
        let told = [false, true, false, false, true, true, false].map(&mut tick);
        assert_eq!(
            told,
            [
                (0, false),
                (1, true),
                (1, true),
                (1, false),
                (2, true),
                (3, true),
                (3, true)
            ]
        );
        for _ in 0..253 {
            tick(true);
        }
        assert_eq!(tick(false), (0, true), "it wraps");
        tick(true);
        let mut begin_life = |changed| {
            versions.begin();
            versions.begin_life(Slot(3), changed);
            (versions.version(Slot(3)), versions.changed_of_late(Slot(3)))
        };
        assert_eq!(begin_life(true), (0, false));
        versions.bring(Slot(3), 255);
        let mut begin_life = |changed| {
            versions.begin();
            versions.begin_life(Slot(3), changed);
            (versions.version(Slot(3)), versions.changed_of_late(Slot(3)))
        };
        assert_eq!(begin_life(true), (0, true), "what it brought counts on");
        assert_eq!(begin_life(false), (0, false));
        assert_eq!(versions.version(Slot(9)), 0);
    }
}
