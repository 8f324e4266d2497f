//! Whether a client's view is told as it is defined: every enter and leave of the true view once, with its tick.
//!
//! The true view comes by brute force over the truth: near is who is within the radius, or was near and is within 1.1
//! times it; in view is who is near and on a layer that the observer sees. Its edges are matched with those that the SDK told.
//! What is still unmatched at the end was late (same edge, another tick), missing or extra.
//!
//! Cost: a client and tick cost nothing where everybody is within the radius, else some 2 us per 1,000 entities.

use crate::bits::{Bits, for_each_bit};
use crate::truth::{Row, TickTruth, Truth};
use myriad_wire::{EntityId, Tick};
use std::collections::VecDeque;

/// Most edges of a client that wait for their match. What comes beyond counts as unmatched at once.
const PENDING_MAX: usize = 1 << 16;

/// An enter or a leave of the view, by row. Ordered by tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    tick: Tick,
    row: Row,
    enter: bool,
}

/// An enter or a leave as the SDK told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToldEdge {
    pub(crate) tick: Tick,
    pub(crate) entity: EntityId,
    pub(crate) enter: bool,
}

/// Which part of the world an observer sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// Enter radius in interest units.
    pub(crate) radius: u32,
    /// A subject is seen only if its layers meet these.
    pub(crate) sees: u32,
}

/// The true view of one client, kept tick by tick.
#[derive(Debug, Default)]
pub(crate) struct TrueView {
    /// Whoever is near, seen or not.
    near: Bits,
    members: Bits,
    /// By row: when it entered last. Valid for members.
    entered: Vec<Tick>,
    /// The next tick to compute; `None` before the start.
    next: Option<Tick>,
}

/// Compares what one client is told of its view with the truth. Call [`Self::start`] with the tick of the first
/// view, [`Self::handle_told`] with every edge in the order told, [`Self::advance`] every now and then and
/// [`Self::finish`] once.
#[derive(Debug, Default)]
pub(crate) struct ViewCheck {
    pub(crate) truth: TrueView,
    sight: Option<(Row, Sight)>,
    /// Edges that are told late count as such from this tick on.
    measured_from: Option<Tick>,
    end: Option<Tick>,
    known: Bits,
    /// Told, but the truth of their tick has not arrived yet.
    unread: VecDeque<ToldEdge>,
    expected: Vec<Edge>,
    told: Vec<Edge>,
    counts: ViewCounts,
}

/// What was found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewCounts {
    pub(crate) doubled: u64,
    pub(crate) late: u64,
    /// Late before the measurement: a gateway may pause a client that still takes in its first view.
    pub(crate) late_joining: u64,
    pub(crate) edges_missing: u64,
    pub(crate) edges_extra: u64,
    pub(crate) missing: u64,
    pub(crate) extra: u64,
}

impl TrueView {
    /// Whether it is followed at all.
    pub(crate) fn is_known(&self) -> bool {
        self.next.is_some()
    }

    pub(crate) fn members(&self) -> &Bits {
        &self.members
    }

    /// When the member in `row` entered.
    pub(crate) fn entered(&self, row: Row) -> Tick {
        self.entered[row as usize]
    }

    /// Goes on to the next tick's truth, calling `edge` for everyone who enters (`true`) or leaves. Without its
    /// observer nobody is in view.
    fn advance(&mut self, truth: &TickTruth, observer: Row, sight: Sight, mut edge: impl FnMut(Row, bool)) {
        self.next = Some(truth.tick + 1);
        self.entered
            .resize(truth.positions.len().max(self.entered.len()), Tick(0));
        let words = truth.alive.words().max(self.near.words());
        let everybody = is_everybody_near(truth, observer, sight);
        for i in 0..words {
            let near = if everybody {
                truth.alive.word(i)
            } else {
                near_word(truth, observer, sight, i, self.near.word(i))
            };
            self.near.set_word(i, near);
            let old = self.members.word(i);
            let new = seen_word(truth, sight, i, near);
            if new == old {
                continue;
            }
            self.members.set_word(i, new);
            for_each_bit(i, new & !old, |row| {
                self.entered[row as usize] = truth.tick;
                edge(row, true);
            });
            for_each_bit(i, old & !new, |row| edge(row, false));
        }
    }
}

/// Whether all the living are surely near: the farthest corner of their box is.
fn is_everybody_near(truth: &TickTruth, observer: Row, sight: Sight) -> bool {
    if !truth.is_alive(observer) {
        return false;
    }
    let farthest: i128 = (0..3)
        .map(|axis| {
            let at = i128::from(truth.aoi[axis][observer as usize]);
            let reach = (at - i128::from(truth.low[axis])).max(i128::from(truth.high[axis]) - at);
            reach * reach
        })
        .sum();
    farthest <= i128::from(sight.radius) * i128::from(sight.radius)
}

/// Who is near among the rows of word `i`, of which `old` were before.
fn near_word(truth: &TickTruth, observer: Row, sight: Sight, i: usize, old: u64) -> u64 {
    if !truth.is_alive(observer) {
        return 0;
    }
    let centre: [i32; 3] = std::array::from_fn(|axis| truth.aoi[axis][observer as usize]);
    let enter2 = u64::from(sight.radius).pow(2);
    // 100 d2 <= 121 r2, for whole numbers.
    let leave2 = (u128::from(enter2) * 121 / 100).min(u128::from(u64::MAX)) as u64;
    let mut word = 0;
    for_each_bit(i, truth.alive.word(i), |row| {
        let (row, bit) = (row as usize, 1 << (row % u64::BITS));
        // Each square fits; a sum that does not is beyond every radius.
        let d2 = (0..3).fold(0u64, |sum, axis| {
            sum.saturating_add(u64::from(truth.aoi[axis][row].abs_diff(centre[axis])).pow(2))
        });
        if d2 <= if old & bit != 0 { leave2 } else { enter2 } {
            word |= bit;
        }
    });
    word
}

/// Who is seen of the living in `near`, rows of word `i`.
fn seen_word(truth: &TickTruth, sight: Sight, i: usize, near: u64) -> u64 {
    if truth.layers_common & sight.sees != 0 {
        return near;
    }
    let mut word = 0;
    for_each_bit(i, near, |row| {
        let meets = truth.layers[row as usize] & sight.sees != 0;
        word |= u64::from(meets) << (row % u64::BITS);
    });
    word
}

impl ViewCheck {
    /// The client's first view is that of `tick`; its own avatar is in `row`.
    pub(crate) fn start(&mut self, tick: Tick, row: Row, sight: Sight) {
        assert!(self.sight.is_none(), "a client has one first view");
        self.sight = Some((row, sight));
        self.truth.next = Some(tick);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.sight.is_some()
    }

    /// The SDK told an edge.
    pub(crate) fn handle_told(&mut self, edge: ToldEdge) {
        if self.unread.len() >= PENDING_MAX {
            self.counts.edges_extra += 1;
            return;
        }
        self.unread.push_back(edge);
    }

    /// The measurement begins with `tick`.
    pub(crate) fn measure_from(&mut self, tick: Tick) {
        self.measured_from.get_or_insert(tick);
    }

    /// Edges after `tick` are of no interest: the comparison ends with the view of that tick.
    pub(crate) fn end_with(&mut self, tick: Tick) {
        self.end = Some(tick);
    }

    /// Computes the view of all ticks told since, and matches edges.
    pub(crate) fn advance(&mut self, truth: &Truth) {
        let (Some((observer, sight)), Some(next), Some(newest)) =
            (self.sight, self.truth.next, truth.newest())
        else {
            return;
        };
        let end = self.end.map_or(newest.tick, |end| end.min(newest.tick));
        for tick_truth in truth.since(next).take_while(|truth| truth.tick <= end) {
            let tick = tick_truth.tick;
            let (expected, counts) = (&mut self.expected, &mut self.counts);
            self.truth.advance(tick_truth, observer, sight, |row, enter| {
                if expected.len() < PENDING_MAX {
                    expected.push(Edge { tick, row, enter });
                } else {
                    counts.edges_missing += 1;
                }
            });
        }
        while let Some(edge) = self
            .unread
            .front()
            .copied()
            .filter(|edge| edge.tick <= newest.tick)
        {
            self.unread.pop_front();
            if self.end.is_none_or(|end| edge.tick <= end) {
                self.read(edge, truth);
            }
        }
        self.match_edges();
    }

    fn read(&mut self, edge: ToldEdge, truth: &Truth) {
        let Some(row) = truth.row(edge.entity) else {
            // The truth has never heard of it.
            self.counts.edges_extra += 1;
            return;
        };
        let fresh = if edge.enter {
            self.known.insert(row)
        } else {
            self.known.remove(row)
        };
        if !fresh {
            self.counts.doubled += 1;
        } else if self.told.len() < PENDING_MAX {
            self.told.push(Edge {
                tick: edge.tick,
                row,
                enter: edge.enter,
            });
        } else {
            self.counts.edges_extra += 1;
        }
    }

    /// Strikes out what is in both lists.
    fn match_edges(&mut self) {
        if self.expected.is_empty() || self.told.is_empty() {
            return;
        }
        self.expected.sort_unstable();
        self.told.sort_unstable();
        strike_out(&mut self.expected, &mut self.told, |edge| *edge, |_| {});
    }

    /// The outcome, after a last [`Self::advance`]: what is unmatched now stays so.
    pub(crate) fn finish(mut self) -> ViewCounts {
        self.counts.missing = self.truth.members.count_without(&self.known);
        self.counts.extra = self.known.count_without(&self.truth.members);
        // The same edge of another tick is late; equal keys stay in the order of their ticks.
        let key = |edge: &Edge| (edge.row, edge.enter);
        self.expected.sort_unstable_by_key(|edge| (key(edge), edge.tick));
        self.told.sort_unstable_by_key(|edge| (key(edge), edge.tick));
        let (counts, measured_from) = (&mut self.counts, self.measured_from);
        strike_out(&mut self.expected, &mut self.told, key, |expected| {
            if measured_from.is_some_and(|from| expected.tick >= from) {
                counts.late += 1;
            } else {
                counts.late_joining += 1;
            }
        });
        self.counts.edges_missing += self.expected.len() as u64;
        self.counts.edges_extra += self.told.len() as u64;
        self.counts
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::tests::{told, truth};
    use myriad_wire::truth::TruthTick;

    const TEN_METRES: Sight = Sight {
        radius: 320,
        sees: u32::MAX,
    };

    fn enter(tick: u64, entity: u64) -> ToldEdge {
        ToldEdge {
            tick: Tick(tick),
            entity: EntityId(entity),
            enter: true,
        }
    }

    fn leave(tick: u64, entity: u64) -> ToldEdge {
        ToldEdge {
            enter: false,
            ..enter(tick, entity)
        }
    }

    /// The observer stands at the origin as entity 1 while entity 2 walks out along x, a metre a tick from 8 m:
    /// within the radius until tick 2 (10 m), within the leave radius until tick 3 (11 m), and back again.
    fn there_and_back() -> Vec<TruthTick> {
        let x = [8.0, 9.0, 10.0, 11.0, 12.0, 11.0, 10.0, 9.0];
        let tick = |(tick, x): (usize, &f64)| told(tick as u64, &[(0.0, 0.0), (*x, 0.0)]);
        x.iter().enumerate().map(tick).collect()
    }

    fn outcome(edges: &[ToldEdge]) -> ViewCounts {
        let truth = truth(&there_and_back());
        let mut check = ViewCheck::default();
        check.start(Tick(0), 0, TEN_METRES);
        check.measure_from(Tick(3));
        for edge in edges {
            check.handle_told(*edge);
            check.advance(&truth);
        }
        check.advance(&truth);
        check.finish()
    }

    const HONEST: [(u64, u64, bool); 4] = [(0, 1, true), (0, 2, true), (4, 2, false), (6, 2, true)];

    fn honest() -> Vec<ToldEdge> {
        let edge = |(tick, entity, is_enter)| {
            if is_enter {
                enter(tick, entity)
            } else {
                leave(tick, entity)
            }
        };
        HONEST.into_iter().map(edge).collect()
    }

    #[test]
    fn the_true_edges_with_hysteresis_are_without_fault() {
        assert_eq!(outcome(&honest()), ViewCounts::default());
    }

    #[test]
    fn who_was_near_unseen_is_in_view_at_once_when_it_is_seen() {
        // Entity 2 is hidden until tick 3, in which it is between the two radii.
        let mut ticks = there_and_back();
        for told in &mut ticks[..3] {
            told.entities[1].layers = 2;
        }
        let truth = truth(&ticks);
        let mut check = ViewCheck::default();
        let sight = Sight {
            sees: 1,
            ..TEN_METRES
        };
        check.start(Tick(0), 0, sight);
        for edge in [enter(0, 1), enter(3, 2), leave(4, 2), enter(6, 2)] {
            check.handle_told(edge);
        }
        check.advance(&truth);
        assert_eq!(check.finish(), ViewCounts::default());
    }

    #[test]
    fn an_edge_in_the_wrong_tick_is_late() {
        let mut edges = honest();
        edges[2].tick = Tick(5);
        assert_eq!(
            outcome(&edges),
            ViewCounts {
                late: 1,
                ..ViewCounts::default()
            }
        );
    }

    #[test]
    fn late_before_the_measurement_is_told_apart() {
        let mut edges = honest();
        edges[1].tick = Tick(1);
        let found = outcome(&edges);
        assert_eq!((found.late, found.late_joining), (0, 1));
    }

    #[test]
    fn an_edge_left_out_is_missing_and_what_follows_is_doubled() {
        let mut edges = honest();
        edges.remove(2);
        let found = outcome(&edges);
        assert_eq!((found.edges_missing, found.doubled), (2, 1));
        edges.pop();
        let found = outcome(&edges);
        assert_eq!((found.edges_missing, found.missing, found.extra), (2, 0, 0));
    }

    #[test]
    fn who_never_enters_is_missing_and_who_never_leaves_is_extra() {
        let mut edges = honest();
        edges.pop();
        assert_eq!(outcome(&edges).missing, 1);
        let truth = truth(&there_and_back()[..5]);
        let mut check = ViewCheck::default();
        check.start(Tick(0), 0, TEN_METRES);
        edges[..2].iter().for_each(|edge| check.handle_told(*edge));
        check.advance(&truth);
        let found = check.finish();
        assert_eq!((found.extra, found.edges_missing), (1, 1));
    }

    #[test]
    fn a_second_enter_and_a_leave_of_a_stranger_are_doubled() {
        let mut edges = honest();
        edges.insert(2, enter(1, 2));
        assert_eq!(
            outcome(&edges),
            ViewCounts {
                doubled: 1,
                ..ViewCounts::default()
            }
        );
        let mut edges = honest();
        edges.insert(3, leave(5, 2));
        assert_eq!(
            outcome(&edges),
            ViewCounts {
                doubled: 1,
                ..ViewCounts::default()
            }
        );
    }

    #[test]
    fn an_entity_that_the_truth_does_not_know_is_extra() {
        let mut edges = honest();
        edges.push(enter(7, 99));
        assert_eq!(
            outcome(&edges),
            ViewCounts {
                edges_extra: 1,
                ..ViewCounts::default()
            }
        );
    }

    #[test]
    fn edges_wait_for_the_truth_of_their_tick() {
        let ticks = there_and_back();
        let mut so_far = truth(&[]);
        let mut check = ViewCheck::default();
        check.start(Tick(0), 0, TEN_METRES);
        honest().into_iter().for_each(|edge| check.handle_told(edge));
        for told in &ticks {
            so_far.handle_tick(told, 0).expect("a good trace");
            check.advance(&so_far);
        }
        assert_eq!(check.finish(), ViewCounts::default());
    }

    #[test]
    fn nothing_counts_after_the_end() {
        let truth = truth(&there_and_back());
        let mut check = ViewCheck::default();
        check.start(Tick(0), 0, TEN_METRES);
        honest()[..3].iter().for_each(|edge| check.handle_told(*edge));
        check.handle_told(leave(7, 1));
        check.end_with(Tick(5));
        check.advance(&truth);
        assert_eq!(check.finish(), ViewCounts::default());
    }

    #[test]
    fn layers_that_the_observer_does_not_see_are_not_expected() {
        let mut ticks = there_and_back();
        ticks.iter_mut().for_each(|told| told.entities[1].layers = 2);
        let truth = truth(&ticks);
        let mut check = ViewCheck::default();
        check.start(
            Tick(0),
            0,
            Sight {
                sees: 1,
                ..TEN_METRES
            },
        );
        check.handle_told(enter(0, 1));
        check.advance(&truth);
        assert_eq!(check.finish(), ViewCounts::default());
    }

    #[test]
    fn the_short_cut_for_a_crowd_within_the_radius_gives_the_same_view() {
        let positions: Vec<_> = (0..150)
            .map(|i| (f64::from(i % 13) * 0.7, f64::from(i % 7) * 1.1))
            .collect();
        let truth = truth(&[told(0, &positions)]);
        let tick = truth.newest().expect("told");
        for radius in [1, 100, 300, 500, 1000] {
            let sight = Sight { radius, ..TEN_METRES };
            let mut view = TrueView::default();
            let mut entered = 0;
            view.advance(tick, 20, sight, |_, _| entered += 1);
            let slow: Vec<u64> = (0..3).map(|i| near_word(tick, 20, sight, i, 0)).collect();
            assert_eq!(
                (0..3).map(|i| view.members().word(i)).collect::<Vec<_>>(),
                slow,
                "{radius}"
            );
            assert_eq!(entered, slow.iter().map(|word| word.count_ones()).sum::<u32>());
        }
        assert!(
            is_everybody_near(
                tick,
                20,
                Sight {
                    radius: 1000,
                    ..TEN_METRES
                }
            ),
            "the short cut is taken"
        );
        assert!(
            !is_everybody_near(
                tick,
                20,
                Sight {
                    radius: 200,
                    ..TEN_METRES
                }
            ),
            "and it is not always"
        );
    }
}
