//! Which tracks there are to be seen, and where: flat arrays, class by class, looked at by every client of a crowd.

use crate::reach::Bounds;
use std::ops::Range;

/// The tracks that somebody may be told of, as of this tick.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// By class, and within it by number. The other list goes along.
    numbers: Vec<u32>,
    bounds: Vec<Bounds>,
    classes: Vec<Class>,
    /// One more whenever `numbers` or the classes' layers are others than in the tick before.
    version: u64,
    /// Of this tick until [`Self::settle`]: layers, number, bounds.
    entries: Vec<(u32, u32, Bounds)>,
    /// Of the tick before: layers and number.
    before: Vec<(u32, u32)>,
}

/// All tracks with the same layers.
#[derive(Debug)]
pub(crate) struct Class {
    layers: u32,
    range: Range<usize>,
    /// Around all of them.
    bounds: Bounds,
}

impl Roster {
    /// Forgets everything but what it must notice changes by.
    pub(crate) fn begin(&mut self) {
        self.entries.clear();
    }

    /// A track that whoever sees `layers` may be told of.
    pub(crate) fn put(&mut self, layers: u32, number: u32, bounds: Bounds) {
        self.entries.push((layers, number, bounds));
    }

    /// All tracks were put.
    pub(crate) fn settle(&mut self) {
        self.entries
            .sort_unstable_by_key(|(layers, number, _)| (*layers, *number));
        self.numbers.clear();
        self.bounds.clear();
        self.classes.clear();
        for class in self.entries.chunk_by(|a, b| a.0 == b.0) {
            let start = self.numbers.len();
            let mut around = Bounds::NOBODY;
            for (_, number, bounds) in class {
                around.join(bounds);
                self.numbers.push(*number);
                self.bounds.push(*bounds);
            }
            self.classes.push(Class {
                layers: class[0].0,
                range: start..self.numbers.len(),
                bounds: around,
            });
        }
        let now = self.entries.iter().map(|(layers, number, _)| (*layers, *number));
        if !now.clone().eq(self.before.iter().copied()) {
            self.version += 1;
            self.before = now.collect();
        }
    }

    /// Two ticks with the same version have the same tracks of the same classes, at other places perhaps.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// How many tracks somebody who sees `sees` may be told of.
    pub(crate) fn visible(&self, sees: u32) -> usize {
        self.seen(sees).map(|class| class.range.len()).sum()
    }

    /// Whether every track that may be told to somebody who sees `sees` lies wholly within this distance of `from`.
    #[inline]
    pub(crate) fn all_within(&self, from: [i32; 3], distance2: i64, sees: u32) -> bool {
        self.seen(sees)
            .all(|class| class.bounds.farthest2(from) <= distance2)
    }

    /// Calls `each` with the number and the squared distance of every track that may be told to somebody who sees `sees`.
    #[inline]
    pub(crate) fn look(&self, from: [i32; 3], sees: u32, mut each: impl FnMut(u32, i64)) {
        for class in self.seen(sees) {
            let numbers = &self.numbers[class.range.clone()];
            for (number, bounds) in numbers.iter().zip(&self.bounds[class.range.clone()]) {
                each(*number, bounds.distance2(from));
            }
        }
    }

    #[inline]
    fn seen(&self, sees: u32) -> impl Iterator<Item = &Class> {
        self.classes.iter().filter(move |class| class.layers & sees != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: i32) -> Bounds {
        Bounds {
            low: [x, 0, 0],
            high: [x + 10, 0, 10],
        }
    }

    #[test]
    fn classes_that_are_not_seen_are_not_looked_at_and_a_change_of_class_is_a_change() {
        let mut roster = Roster::default();
        let mut fill = |entries: &[(u32, u32, i32)]| {
            roster.begin();
            for (layers, number, x) in entries {
                roster.put(*layers, *number, at(*x));
            }
            roster.settle();
            let mut looked = Vec::new();
            roster.look([0; 3], 1, |number, distance2| looked.push((number, distance2)));
            (
                roster.version(),
                looked,
                roster.all_within([0; 3], 200 * 200, 1),
                roster.visible(1),
            )
        };
        let (first, looked, within, visible) = fill(&[(2, 0, 500), (3, 1, 100), (1, 2, 0)]);
        assert_eq!((looked, within, visible), (vec![(2, 0), (1, 100 * 100)], true, 2));
        let (second, _, within, _) = fill(&[(2, 0, 500), (3, 1, 195), (1, 2, 0)]);
        assert_eq!((second, within), (first, false), "they only moved");
        assert_ne!(fill(&[(2, 0, 500), (2, 1, 195), (1, 2, 0)]).0, first);
    }
}
