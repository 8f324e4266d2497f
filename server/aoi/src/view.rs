//! Views as bitsets, and how they are read.

use crate::types::SubjectId;

/// Subjects per word of a bitset and per [`Block`].
pub(crate) const WORD_BITS: usize = 64;

/// What one observer sees, as of the last update.
///
/// [`View::iter`] is for people and sparse use; [`View::blocks`] is the form to broadcast by: it expands nothing.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Bit `i` of word `w` says that subject `64 w + i` is in view. As long as `subjects / 64`, or empty.
    words: &'a [u64],
    /// All subject ids in ascending order: the members of block `w` are `subjects[64 w..][..64]`.
    subjects: &'a [SubjectId],
    len: u32,
}

/// A run of up to 64 subjects with fixed membership within an update, of which an observer sees some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The block's number: the same number is the same block in every view of this update.
    pub index: u32,
    /// Who belongs to the block, up to 64, in view or not; some may not exist.
    pub subjects: &'a [SubjectId],
    /// Bit `i` says that `subjects[i]` is in view. Never 0.
    pub mask: u64,
}

impl Block<'_> {
    /// The members that are in view, in the block's order.
    pub fn iter(&self) -> impl Iterator<Item = SubjectId> + '_ {
        bits(self.mask).map(|bit| self.subjects[bit as usize])
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(words: &'a [u64], subjects: &'a [SubjectId], len: u32) -> Self {
        debug_assert!(words.len() * WORD_BITS <= subjects.len());
        Self { words, subjects, len }
    }

    /// How many subjects are in view.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nobody is in view.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `subject` is in view. Any id may be asked for.
    pub fn contains(&self, subject: SubjectId) -> bool {
        contains(self.words, subject.0)
    }

    /// The subjects in view, ascending.
    pub fn iter(&self) -> impl Iterator<Item = SubjectId> + use<'a> {
        ids(self.words).map(SubjectId)
    }

    /// The blocks in which something is in view, each once. Their order is the engine's.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let subjects = self.subjects;
        let seen = self.words.iter().zip(0_u32..).filter(|(word, _)| **word != 0);
        seen.map(move |(&mask, index)| {
            let first = index as usize * WORD_BITS;
            Block {
                index,
                subjects: &subjects[first..first + WORD_BITS],
                mask,
            }
        })
    }

    /// Writes the view as a bitset over subject ids: bit `i` of `words[w]` says that subject `64 w + i` is in
    /// view. What was in `words` before is lost; its length becomes just enough for the ids in use.
    pub fn copy_words(&self, words: &mut Vec<u64>) {
        words.clear();
        words.extend_from_slice(self.words);
    }
}

/// The numbers of the bits set in `word`, ascending.
pub(crate) fn bits(word: u64) -> impl Iterator<Item = u32> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let bit = rest.trailing_zeros();
        (rest != 0).then(|| rest &= rest - 1).map(|()| bit)
    })
}

/// The numbers in a bitset, ascending.
pub(crate) fn ids<'a>(words: &'a [u64]) -> impl Iterator<Item = u32> + use<'a> {
    words
        .iter()
        .zip((0_u32..).step_by(WORD_BITS))
        .flat_map(|(&word, first)| bits(word).map(move |bit| first + bit))
}

/// Whether a bitset of any length has this number.
pub(crate) fn contains(words: &[u64], id: u32) -> bool {
    words
        .get(id as usize / WORD_BITS)
        .is_some_and(|word| word >> (id as usize % WORD_BITS) & 1 != 0)
}

/// Adds a number to a bitset that is long enough.
pub(crate) fn insert(words: &mut [u64], id: u32) {
    words[id as usize / WORD_BITS] |= 1 << (id as usize % WORD_BITS);
}
