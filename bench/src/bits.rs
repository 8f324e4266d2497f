//! A set of rows as bits: 64 to a word, so that two views are compared 64 entities at a time.

/// A growing set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn contains(&self, bit: u32) -> bool {
        self.words
            .get(bit as usize / 64)
            .is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// `false` if it was in already.
    pub(crate) fn insert(&mut self, bit: u32) -> bool {
        let word = bit as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let mask = 1 << (bit % 64);
        let was = self.words[word] & mask != 0;
        self.words[word] |= mask;
        !was
    }

    /// `false` if it was not in.
    pub(crate) fn remove(&mut self, bit: u32) -> bool {
        let was = self.contains(bit);
        if was {
            self.words[bit as usize / 64] &= !(1 << (bit % 64));
        }
        was
    }

    /// Word `i`; zero beyond the end.
    pub(crate) fn word(&self, i: usize) -> u64 {
        self.words.get(i).copied().unwrap_or(0)
    }

    /// Sets word `i`, which grows the set up to it.
    pub(crate) fn set_word(&mut self, i: usize, word: u64) {
        if self.words.len() <= i {
            self.words.resize(i + 1, 0);
        }
        self.words[i] = word;
    }

    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    /// How many are in `self` and not in `other`.
    pub(crate) fn count_without(&self, other: &Self) -> u64 {
        let left = |(i, word): (usize, &u64)| u64::from((word & !other.word(i)).count_ones());
        self.words.iter().enumerate().map(left).sum()
    }
}

/// Calls `each` for every bit of the `i`-th word.
pub(crate) fn for_each_bit(i: usize, mut word: u64, mut each: impl FnMut(u32)) {
    while word != 0 {
        each(i as u32 * 64 + word.trailing_zeros());
        word &= word - 1;
    }
}
