//! Which entity has which name, or had it lately.
//!
//! A client tells a subject by slot and generation; which claim of a lane gave them it does not know. Under each claim
//! the generations begin elsewhere, so two of them are alike only by a very rare chance.

use super::Row;
use myriad_wire::{EntityName, Generation, LaneEpoch, Slot};

/// The names of a trace. Looked up once per member of a crowd, client and look: a few arrays by slot.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In order of appearance. One, if the space is one lane that does not begin anew.
    issuers: Vec<Issued>,
    /// Which of them was noted last: names come sorted by it.
    last: usize,
}

#[derive(Debug)]
struct Issued {
    issuer: LaneEpoch,
    /// By slot: the last two lives that it had, the newer one first.
    slots: Vec<[Option<(Generation, Row)>; 2]>,
}

impl Names {
    /// The entity in `row` has this name.
    #[inline]
    pub(super) fn note(&mut self, name: EntityName, row: Row) {
        if self
            .issuers
            .get(self.last)
            .is_none_or(|issued| issued.issuer != name.issuer)
        {
            self.turn_to(name.issuer);
        }
        let slots = &mut self.issuers[self.last].slots;
        let at = name.slot.0 as usize;
        if slots.len() <= at {
            slots.resize(at + 1, [None; 2]);
        }
        let lives = &mut slots[at];
        let life = Some((name.generation, row));
        if lives[0] != life {
            *lives = [life, lives[0]];
        }
    }

    fn turn_to(&mut self, issuer: LaneEpoch) {
        let known = self.issuers.iter().position(|issued| issued.issuer == issuer);
        self.last = known.unwrap_or_else(|| {
            self.issuers.push(Issued {
                issuer,
                slots: Vec::new(),
            });
            self.issuers.len() - 1
        });
    }

    /// The row of the entity that has, or had lately, this life of a slot.
    #[inline]
    pub(super) fn row_in(&self, slot: Slot, generation: Generation) -> Option<Row> {
        let of_life = |life: &Option<(Generation, Row)>| life.filter(|(other, _)| *other == generation);
        self.issuers.iter().find_map(|issued| {
            let lives = issued.slots.get(slot.0 as usize)?;
            lives.iter().find_map(of_life).map(|(_, row)| row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_lives_of_a_slot_are_known_of_each_issuer() {
        let mut names = Names::default();
        let name = |issuer, generation| EntityName {
            issuer: LaneEpoch(issuer),
            slot: Slot(3),
            generation: Generation(generation),
        };
        for (row, (issuer, generation)) in [(7, 100), (8, 900), (7, 101), (7, 101), (7, 102), (8, 901)]
            .into_iter()
            .enumerate()
        {
            names.note(name(issuer, generation), row as Row);
        }
        let row = |generation| names.row_in(Slot(3), Generation(generation));
        assert_eq!(
            [900, 901, 101, 102].map(row),
            [Some(1), Some(5), Some(3), Some(4)]
        );
        assert_eq!((row(100), row(5)), (None, None), "long gone, and never there");
        assert_eq!(names.row_in(Slot(4), Generation(100)), None);
    }
}
