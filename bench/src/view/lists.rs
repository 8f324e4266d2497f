//! Edges tick by tick: those of the true view and those that were told, struck out where they are the same.
//!
//! What is still unmatched at the end was late (same edge, another tick), missing or extra.

use super::ViewCounts;
use crate::truth::Row;
use myriad_wire::Tick;

/// Most edges of a client that wait for their match. What comes beyond counts as unmatched at once.
const PENDING_MAX: usize = 1 << 16;

/// An enter or a leave of the view, by row. Ordered by tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) tick: Tick,
    pub(super) row: Row,
    pub(super) enter: bool,
}

/// Edges that wait for their match.
#[derive(Debug, Default)]
pub(super) struct EdgeLists {
    expected: Vec<Edge>,
    told: Vec<Edge>,
}

impl EdgeLists {
    pub(super) fn expect(&mut self, edge: Edge, counts: &mut ViewCounts) {
        if self.expected.len() < PENDING_MAX {
            self.expected.push(edge);
        } else {
            counts.edges_missing += 1;
        }
    }

    pub(super) fn tell(&mut self, edge: Edge, counts: &mut ViewCounts) {
        if self.told.len() < PENDING_MAX {
            self.told.push(edge);
        } else {
            counts.edges_extra += 1;
        }
    }

    /// Strikes out what is in both lists.
    pub(super) fn match_edges(&mut self) {
        if self.expected.is_empty() || self.told.is_empty() {
            return;
        }
        self.expected.sort_unstable();
        self.told.sort_unstable();
        strike_out(&mut self.expected, &mut self.told, |edge| *edge, |_| {});
    }

    /// What is of `tick` or later is judged in another way.
    pub(super) fn forget_from(&mut self, tick: Tick) {
        self.expected.retain(|edge| edge.tick < tick);
        self.told.retain(|edge| edge.tick < tick);
    }

    /// What is unmatched now stays so.
    pub(super) fn finish(mut self, measured_from: Option<Tick>, counts: &mut ViewCounts) {
        // The same edge of another tick is late; equal keys stay in the order of their ticks.
        let key = |edge: &Edge| (edge.row, edge.enter);
        self.expected.sort_unstable_by_key(|edge| (key(edge), edge.tick));
        self.told.sort_unstable_by_key(|edge| (key(edge), edge.tick));
        strike_out(&mut self.expected, &mut self.told, key, |expected| {
            if measured_from.is_some_and(|from| expected.tick >= from) {
                counts.late += 1;
            } else {
                counts.late_joining += 1;
            }
        });
        counts.edges_missing += self.expected.len() as u64;
        counts.edges_extra += self.told.len() as u64;
    }
}

/// Takes out of two lists, ascending by `key`, what has the same key in both; one for one. Calls `each` with what
/// was taken out of `a`.
fn strike_out<K: Ord>(
    a: &mut Vec<Edge>,
    b: &mut Vec<Edge>,
    key: impl Fn(&Edge) -> K,
    mut each: impl FnMut(&Edge),
) {
    let (mut left_a, mut left_b) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match key(&a[i]).cmp(&key(&b[j])) {
            std::cmp::Ordering::Less => {
                left_a.push(a[i]);
                i += 1;
            }
            std::cmp::Ordering::Greater => {
                left_b.push(b[j]);
                j += 1;
            }
            std::cmp::Ordering::Equal => {
                each(&a[i]);
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    left_a.extend_from_slice(&a[i..]);
    left_b.extend_from_slice(&b[j..]);
    (*a, *b) = (left_a, left_b);
}
