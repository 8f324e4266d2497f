//! Sets as bits: of a track's members by their place, of a lane's slots.

use crate::limits::SLOTS_MAX;
use crate::listed::Overfull;
use myriad_wire::crowd::TRACK_MEMBERS_MAX;
use myriad_wire::{LaneHandle, Slot};

const WORDS: usize = TRACK_MEMBERS_MAX / 64;

/// Some of a track's members, by their place in the order of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mask([u64; WORDS]);

impl Mask {
    /// The first `count` places.
    #[must_use]
    pub fn first(count: usize) -> Self {
        Self(std::array::from_fn(|i| match count.saturating_sub(i * 64) {
            64.. => u64::MAX,
            some => (1 << some) - 1,
        }))
    }

    /// How many there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Whether the member at `place` is among them.
    #[inline]
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        self.0[place / 64] & 1 << (place % 64) != 0
    }

    /// The places, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self;
        std::iter::from_fn(move || rest.take_first())
    }

    /// 64 places a word, the first one lowest.
    #[must_use]
    pub fn words(&self) -> [u64; WORDS] {
        self.0
    }

    /// Takes the first place out.
    pub(crate) fn take_first(&mut self) -> Option<usize> {
        let word = self.0.iter().position(|word| *word != 0)?;
        let bit = self.0[word].trailing_zeros() as usize;
        self.0[word] &= self.0[word] - 1;
        Some(word * 64 + bit)
    }

    /// One place.
    #[must_use]
    pub fn of(place: usize) -> Self {
        let mut mask = Self::default();
        mask.set(place);
        mask
    }

    #[inline]
    pub(crate) fn set(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    #[inline]
    pub(crate) fn clear(&mut self, place: usize) {
        self.0[place / 64] &= !(1 << (place % 64));
    }

    pub(crate) fn set_word(&mut self, i: usize, word: u64) {
        self.0[i] = word;
    }

    /// Who is in this one and not in `other`.
    #[inline]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    /// The place is no more: those behind it move down. Whether it was among them.
    pub(crate) fn remove_place(&mut self, place: usize) -> bool {
        let was = self.contains(place);
        let (word, bit) = (place / 64, place % 64);
        let low = (1 << bit) - 1;
        for i in word..WORDS {
            let carry = self.0.get(i + 1).map_or(0, |next| next << 63);
            let moved = self.0[i] >> 1 | carry;
            self.0[i] = if i == word {
                self.0[i] & low | moved & !low
            } else {
                moved
            };
        }
        was
    }

    /// There is a new place, not among them: those from it on move up.
    pub(crate) fn insert_place(&mut self, place: usize) {
        let (word, bit) = (place / 64, place % 64);
        let low = (1 << bit) - 1;
        for i in (word..WORDS).rev() {
            if i == word {
                self.0[i] = self.0[i] & low | (self.0[i] & !low) << 1;
            } else {
                self.0[i] = self.0[i] << 1 | self.0[i - 1] >> 63;
            }
        }
    }
}

/// Slots of all lanes: one bit for each up to the highest that was ever among them.
#[derive(Debug, Default)]
pub(crate) struct SlotBits {
    lanes: Vec<Vec<u64>>,
    words: usize,
}

impl SlotBits {
    #[inline]
    pub(crate) fn contains(&self, lane: LaneHandle, slot: Slot) -> bool {
        let words = self.lanes.get(usize::from(lane.0));
        let word = words.and_then(|words| words.get(slot.0 as usize / 64));
        word.is_some_and(|word| word & 1 << (slot.0 % 64) != 0)
    }

    /// The bits of one lane, 64 a word.
    pub(crate) fn lane(&self, lane: LaneHandle) -> &[u64] {
        self.lanes.get(usize::from(lane.0)).map_or(&[], Vec::as_slice)
    }

    /// `Ok(false)` if it was there already.
    pub(crate) fn insert(&mut self, lane: LaneHandle, slot: Slot) -> Result<bool, Overfull> {
        let (lane, word) = (usize::from(lane.0), slot.0 as usize / 64);
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Vec::new);
        }
        let words = &mut self.lanes[lane];
        if words.len() <= word {
            let more = word + 1 - words.len();
            if self.words + more > SLOTS_MAX / 64 {
                return Err(Overfull);
            }
            self.words += more;
            words.resize(word + 1, 0);
        }
        let bit = 1 << (slot.0 % 64);
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        Ok(is_new)
    }

    pub(crate) fn remove(&mut self, lane: LaneHandle, slot: Slot) {
        let words = self.lanes.get_mut(usize::from(lane.0));
        if let Some(word) = words.and_then(|words| words.get_mut(slot.0 as usize / 64)) {
            *word &= !(1 << (slot.0 % 64));
        }
    }

    /// Gives back the memory of lanes of which nobody is among them.
    pub(crate) fn trim(&mut self) {
        for words in &mut self.lanes {
            if words.iter().all(|word| *word == 0) {
                self.words -= words.len();
                *words = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_come_and_go_as_in_a_list(ops in prop::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 0..400)) {
            let (mut mask, mut model) = (Mask::default(), Vec::new());
            for (place, insert, is_set) in ops {
                let place = usize::from(place);
                if insert && model.len() < TRACK_MEMBERS_MAX {
                    let place = place.min(model.len());
                    mask.insert_place(place);
                    model.insert(place, is_set);
                    if is_set {
                        mask.set(place);
                    }
                } else if place < model.len() {
                    prop_assert_eq!(mask.remove_place(place), model.remove(place));
                }
                let places: Vec<usize> = (0..model.len()).filter(|place| model[*place]).collect();
                prop_assert_eq!(mask.iter().collect::<Vec<_>>(), places.clone());
                prop_assert_eq!(mask.len(), places.len());
                prop_assert_eq!(Mask::first(model.len()).without(mask).len(), model.len() - places.len());
            }
        }
    }

    #[test]
    fn slots_beyond_the_limit_are_refused_and_memory_comes_back() {
        let mut bits = SlotBits::default();
        let lane = LaneHandle(3);
        assert_eq!(bits.insert(lane, Slot(SLOTS_MAX as u32 - 1)), Ok(true));
        assert_eq!(bits.insert(lane, Slot(SLOTS_MAX as u32 - 1)), Ok(false));
        assert_eq!(bits.insert(LaneHandle(0), Slot(0)), Err(Overfull));
        bits.remove(lane, Slot(SLOTS_MAX as u32 - 1));
        bits.trim();
        assert_eq!(bits.insert(LaneHandle(0), Slot(0)), Ok(true));
    }
}
