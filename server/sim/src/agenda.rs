//! What happens when: a heap of events in virtual time. Two of the same microsecond happen in the order in which
//! they were put in, so that every run is alike.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The events to come.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    put: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at_us: u64,
    order: u64,
    event: E,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            put: 0,
        }
    }

    /// `event` happens at `at_us`.
    pub(crate) fn put(&mut self, at_us: u64, event: E) {
        let order = self.put;
        self.put += 1;
        self.heap.push(Reverse(Entry { at_us, order, event }));
    }

    /// The next event, if it comes before `end_us`.
    pub(crate) fn next(&mut self, end_us: u64) -> Option<(u64, E)> {
        if self.heap.peek()?.0.at_us >= end_us {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at_us, entry.event))
    }
}

impl<E> Entry<E> {
    fn key(&self) -> (u64, u64) {
        (self.at_us, self.order)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_in_the_order_of_time_and_then_of_putting() {
        let mut agenda = Agenda::new();
        for (at_us, name) in [(5, "c"), (3, "a"), (5, "d"), (4, "b"), (9, "too late")] {
            agenda.put(at_us, name);
        }
        let told: Vec<_> = std::iter::from_fn(|| agenda.next(9)).collect();
        assert_eq!(told, [(3, "a"), (4, "b"), (5, "c"), (5, "d")]);
    }
}
