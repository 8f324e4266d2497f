//! A set of subjects as a bitset, as long as the greatest id that was ever in it.

use myriad_aoi::SubjectId;

/// A set of subjects.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdSet {
    words: Vec<u64>,
}

impl IdSet {
    /// Adds `id`; `true` if it was not there.
    pub(crate) fn insert(&mut self, id: SubjectId) -> bool {
        let (word, bit) = split(id);
        self.grow(word + 1);
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Takes `id` out; `true` if it was there.
    pub(crate) fn remove(&mut self, id: SubjectId) -> bool {
        let (word, bit) = split(id);
        let there = self.contains(id);
        if there {
            self.words[word] &= !bit;
        }
        there
    }

    /// Whether `id` is there.
    pub(crate) fn contains(&self, id: SubjectId) -> bool {
        let (word, bit) = split(id);
        self.word(word) & bit != 0
    }

    /// Takes everybody out.
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The ids `64 w..64 w + 64`, lowest bit first.
    pub(crate) fn word(&self, w: usize) -> u64 {
        self.words.get(w).copied().unwrap_or(0)
    }

    /// All words there are: bit `i` of word `w` is id `64 w + i`.
    pub(crate) fn as_words(&self) -> &[u64] {
        &self.words
    }

    /// Says who of the ids `64 w..64 w + 64` is there.
    pub(crate) fn set_word(&mut self, w: usize, word: u64) {
        if word != 0 {
            self.grow(w + 1);
        }
        if let Some(place) = self.words.get_mut(w) {
            *place = word;
        }
    }

    /// How many words the set has; those beyond are zero.
    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    fn grow(&mut self, words: usize) {
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }
}

/// The ids of the bits of word `w`, ascending.
pub(crate) fn ids_of(w: usize, word: u64) -> impl Iterator<Item = SubjectId> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let bit = rest.trailing_zeros();
        rest &= rest - 1;
        Some(SubjectId(w as u32 * u64::BITS + bit))
    })
}

fn split(id: SubjectId) -> (usize, u64) {
    ((id.0 / u64::BITS) as usize, 1 << (id.0 % u64::BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..300), 0..200)) {
            let mut set = IdSet::default();
            let mut model = BTreeSet::new();
            for (add, id) in steps {
                if add {
                    prop_assert_eq!(set.insert(SubjectId(id)), model.insert(id));
                } else {
                    prop_assert_eq!(set.remove(SubjectId(id)), model.remove(&id));
                }
            }
            let ids: Vec<u32> = (0..set.words()).flat_map(|w| ids_of(w, set.word(w))).map(|id| id.0).collect();
            prop_assert_eq!(ids, model.iter().copied().collect::<Vec<_>>());
            prop_assert!(!set.contains(SubjectId(100_000)));
            prop_assert!(set.as_words().iter().enumerate().all(|(w, word)| *word == set.word(w)));
        }
    }
}
