//! Who is observed by anybody, and what the last update changed in that.

use crate::types::{Edge, Event, SubjectId};

/// A count of observers per subject.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// By subject: how many observers have it in view.
    counts: Vec<u32>,
    /// By subject: as of the last update, and during an update of the one before.
    was: Vec<bool>,
    /// Subjects whose count went to or from 0, perhaps more than once and back. Empty between updates.
    crossed: Vec<u32>,
    changes: Vec<(SubjectId, bool)>,
}

impl Watched {
    /// Takes in an update: `ended`, the subjects whose lives have ended, ascending; `blinded`, subjects that an
    /// observer saw when it was removed; then the edges, of which the first `departures` are the leaves of `ended`.
    pub(crate) fn update(
        &mut self,
        blinded: &mut Vec<u32>,
        ended: &[u32],
        departures: usize,
        events: impl Iterator<Item = Event>,
    ) {
        self.changes.clear();
        // Whoever has such an id now, if anybody, is somebody else: the old life's end is told before its beginning.
        for &subject in ended {
            if let Some(count) = self.counts.get_mut(subject as usize) {
                *count = 0;
                if std::mem::take(&mut self.was[subject as usize]) {
                    self.changes.push((SubjectId(subject), false));
                }
            }
        }
        for subject in blinded
            .drain(..)
            .filter(|subject| ended.binary_search(subject).is_err())
        {
            self.add(subject, false);
        }
        events
            .skip(departures)
            .for_each(|event| self.add(event.subject.0, event.edge == Edge::Enter));
        for subject in self.crossed.drain(..) {
            let is = self.counts[subject as usize] > 0;
            if std::mem::replace(&mut self.was[subject as usize], is) != is {
                self.changes.push((SubjectId(subject), is));
            }
        }
        self.changes.sort_unstable();
    }

    #[inline]
    fn add(&mut self, subject: u32, enters: bool) {
        let index = subject as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
            self.was.resize(index + 1, false);
        }
        let count = &mut self.counts[index];
        if enters {
            *count += 1;
            if *count == 1 {
                self.crossed.push(subject);
            }
        } else {
            *count -= 1;
            if *count == 0 {
                self.crossed.push(subject);
            }
        }
    }

    pub(crate) fn contains(&self, subject: u32) -> bool {
        self.was.get(subject as usize).copied().unwrap_or(false)
    }

    pub(crate) fn changes(&self) -> &[(SubjectId, bool)] {
        &self.changes
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>() + self.was.capacity()
    }
}
