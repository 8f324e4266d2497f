//! A set of track numbers as a bitset.

/// A set of numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// Bit `i` of word `w` is number `64 w + i`; words beyond the last are zero.
    words: Vec<u64>,
}

impl Numbers {
    pub(crate) fn insert(&mut self, number: u32) {
        let word = (number / u64::BITS) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (number % u64::BITS);
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut((number / u64::BITS) as usize) {
            *word &= !(1 << (number % u64::BITS));
        }
    }

    #[inline]
    pub(crate) fn contains(&self, number: u32) -> bool {
        self.word((number / u64::BITS) as usize) >> (number % u64::BITS) & 1 != 0
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// All of them, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        numbers(self.words.iter().copied())
    }

    /// Those that are in `other` too, ascending.
    pub(crate) fn and<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        numbers(self.words.iter().zip(&other.words).map(|(a, b)| a & b))
    }

    /// Those that are not in `other`, ascending.
    pub(crate) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        let words = self.words.iter().enumerate();
        numbers(words.map(|(w, word)| word & !other.word(w)))
    }

    #[inline]
    fn word(&self, w: usize) -> u64 {
        self.words.get(w).copied().unwrap_or(0)
    }
}

fn numbers(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    words.zip(0u32..).flat_map(|(mut rest, w)| {
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            Some(w * u64::BITS + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(of: &BTreeSet<u32>) -> Numbers {
        let mut numbers = Numbers::default();
        of.iter().for_each(|number| numbers.insert(*number));
        numbers
    }

    proptest! {
        #[test]
        fn it_is_a_set(a in prop::collection::btree_set(0..300u32, 0..40), b in prop::collection::btree_set(0..300u32, 0..40)) {
            let (mut left, right) = (set(&a), set(&b));
            prop_assert!(left.iter().eq(a.iter().copied()));
            prop_assert!(left.and(&right).eq(a.intersection(&b).copied()));
            prop_assert!(left.without(&right).eq(a.difference(&b).copied()));
            prop_assert_eq!(left.count() as usize, a.len());
            for number in &b {
                left.remove(*number);
            }
            prop_assert!((0..400).all(|number| left.contains(number) == (a.contains(&number) && !b.contains(&number))));
        }
    }
}
