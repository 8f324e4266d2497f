//! The fence: which of two saves of an entity may stand.

use bincode::{Decode, Encode};

/// The revision of an entity's authority, ordered by era, then hop. Storage refuses a lower one than it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct EntityEpoch {
    /// The lane epoch under which the entity was last spawned, restored or taken over.
    pub era: u64,
    /// Hand-offs within that era.
    pub hop: u32,
}

/// What became of one entity of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SaveOutcome {
    /// It is durable.
    Saved,
    /// The store holds a higher epoch: another authority has taken over. The sender must stop.
    Fenced,
}

/// Whether a save under `epoch` may stand where the store holds `held`: the epoch of the same entity's record,
/// and that of the account's avatar, each if there is one.
pub(crate) fn judge(epoch: EntityEpoch, held: [Option<EntityEpoch>; 2]) -> SaveOutcome {
    if held.into_iter().flatten().any(|held| epoch < held) {
        SaveOutcome::Fenced
    } else {
        SaveOutcome::Saved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_era_counts_more_than_any_number_of_hops() {
        let old = EntityEpoch {
            era: 1,
            hop: u32::MAX,
        };
        let new = EntityEpoch { era: 2, hop: 0 };
        assert!(old < new);
        assert_eq!(judge(old, [Some(new), None]), SaveOutcome::Fenced);
        assert_eq!(judge(new, [Some(old), None]), SaveOutcome::Saved);
    }

    proptest! {
        #[test]
        fn only_an_epoch_as_high_as_all_that_is_held_may_stand(
            epoch in (0u64..4, 0u32..4),
            record in proptest::option::of((0u64..4, 0u32..4)),
            avatar in proptest::option::of((0u64..4, 0u32..4)),
        ) {
            let make = |(era, hop)| EntityEpoch { era, hop };
            let stands = record.is_none_or(|r| epoch >= r) && avatar.is_none_or(|a| epoch >= a);
            let outcome = judge(make(epoch), [record.map(make), avatar.map(make)]);
            prop_assert_eq!(outcome == SaveOutcome::Saved, stands);
        }
    }
}
