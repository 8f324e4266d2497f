//! Whether a client's view is told as it is defined: every enter and leave of the true view once, with its tick.
//!
//! The true view comes by brute force over the truth: near is who is within the radius, or was near and is within 1.1
//! times it; in view is who is near and on a layer that the observer sees. A client that is told its view subject by
//! subject must be told exactly its edges, each with its tick ([`lists`]); one in a crowd applies the rule itself to
//! what it knows, and is judged with what is tolerated ([`band`]). That holds also for a while after it has ceased to
//! be in a crowd.

mod band;
mod lists;
mod truth;

#[cfg(test)]
mod tests;

pub(crate) use band::Tolerance;
pub(crate) use truth::{Sight, TrueView};

use crate::bits::{Bits, for_each_bit};
use crate::truth::{Row, TickTruth, Truth};
use band::Band;
use lists::{Edge, EdgeLists};
use myriad_client::{Mask, TrackState};
use myriad_wire::{EntityId, SubjectRef, Tick};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most edges of a client that wait for the truth of their tick.
const UNREAD_MAX: usize = 1 << 17;

/// An enter or a leave as the SDK told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToldEdge {
    pub(crate) tick: Tick,
    pub(crate) subject: SubjectRef,
    /// Unknown of most of a crowd.
    pub(crate) entity: Option<EntityId>,
    pub(crate) enter: bool,
}

/// What was told and waits for the truth of its tick.
#[derive(Debug)]
enum Unread {
    Edge(ToldEdge),
    /// These members of a track came into view.
    Enters(Tick, Arc<TrackState>, Mask),
}

impl Unread {
    fn tick(&self) -> Tick {
        match self {
            Self::Edge(edge) => edge.tick,
            Self::Enters(tick, ..) => *tick,
        }
    }
}

/// How a client is told its view, and how far it has been told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    /// By tracks.
    pub(crate) is_crowd: bool,
    /// All edges of this tick and earlier ones have been told, or are late.
    pub(crate) through: Tick,
}

/// Compares what one client is told of its view with the truth. Call [`Self::start`] with the tick of the first
/// view, [`Self::handle_told`] with every edge in the order told, [`Self::advance`] every now and then and
/// [`Self::finish`] once.
#[derive(Debug)]
pub(crate) struct ViewCheck {
    pub(crate) truth: TrueView,
    /// Who is in view by what was told and read.
    pub(crate) known: Bits,
    /// Edges read.
    pub(crate) edges: u64,
    /// When members of the true view entered it that were not known then, and when members were lost, but not before
    /// the measurement: to be looked up by [`Self::lacked_since`]. Sorted by [`Self::advance`].
    lacked: Vec<(Row, Tick)>,
    lacked_sorted: usize,
    sight: Option<(Row, Sight)>,
    tolerance: Tolerance,
    /// Edges of earlier ticks are judged by the band; `None`: the view is told by tracks now.
    exact_from: Option<Tick>,
    /// The next tick that the band is to judge.
    band_next: Tick,
    /// Edges that are told late count as such from this tick on.
    measured_from: Option<Tick>,
    end: Option<Tick>,
    /// Told, but the truth of their tick has not arrived yet.
    unread: VecDeque<Unread>,
    lists: EdgeLists,
    band: Band,
    counts: ViewCounts,
}

/// What was found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewCounts {
    pub(crate) doubled: u64,
    pub(crate) late: u64,
    /// Of the late: those of a crowd, told later than a crowd period and two ticks.
    pub(crate) late_crowd: u64,
    /// Late before the measurement: a gateway may pause a client that still takes in its first view.
    pub(crate) late_joining: u64,
    pub(crate) edges_missing: u64,
    pub(crate) edges_extra: u64,
    pub(crate) missing: u64,
    pub(crate) extra: u64,
    /// Of the extra: those who are no more.
    pub(crate) ghosts: u64,
}

impl Default for ViewCheck {
    fn default() -> Self {
        Self::new(Tolerance::new(10.0, 1))
    }
}

impl ViewCheck {
    pub(crate) fn new(tolerance: Tolerance) -> Self {
        Self {
            truth: TrueView::default(),
            known: Bits::default(),
            edges: 0,
            lacked: Vec::new(),
            lacked_sorted: 0,
            sight: None,
            tolerance,
            exact_from: Some(Tick(0)),
            band_next: Tick(0),
            measured_from: None,
            end: None,
            unread: VecDeque::new(),
            lists: EdgeLists::default(),
            band: Band::default(),
            counts: ViewCounts::default(),
        }
    }

    /// The client's first view is that of `tick`; its own avatar is in `row`.
    pub(crate) fn start(&mut self, tick: Tick, row: Row, sight: Sight) {
        assert!(self.sight.is_none(), "a client has one first view");
        self.sight = Some((row, sight));
        self.truth.next = Some(tick);
        self.band_next = tick;
    }

    pub(crate) fn is_started(&self) -> bool {
        self.sight.is_some()
    }

    /// Whether the client knows exactly the members of the true view. If tracks tell it: at least those who must be in
    /// view, wherever in the band the others are.
    pub(crate) fn is_complete(&self, truth: &Truth) -> bool {
        let Some((observer, sight)) = self.sight else {
            return false;
        };
        self.known == *self.truth.members()
            || self.exact_from.is_none()
                && truth.newest().is_some_and(|newest| {
                    band::knows_all(newest, observer, (sight, self.tolerance), &self.known)
                })
    }

    /// If tracks tell the view: who must be in view and is not, and since when.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = (Row, Tick)> {
        self.band.lacks()
    }

    /// The SDK told an edge.
    pub(crate) fn handle_told(&mut self, edge: ToldEdge) {
        if self.unread.len() >= UNREAD_MAX {
            self.counts.edges_extra += 1;
            return;
        }
        self.unread.push_back(Unread::Edge(edge));
    }

    /// The SDK told that these members of a track enter.
    pub(crate) fn handle_told_together(&mut self, tick: Tick, track: &Arc<TrackState>, places: Mask) {
        if self.unread.len() >= UNREAD_MAX {
            self.counts.edges_extra += places.len() as u64;
            return;
        }
        self.unread
            .push_back(Unread::Enters(tick, Arc::clone(track), places));
    }

    /// The measurement begins with `tick`.
    pub(crate) fn measure_from(&mut self, tick: Tick) {
        if self.measured_from.is_some() {
            return;
        }
        self.measured_from = Some(tick);
        if self.exact_from.is_none() {
            return;
        }
        let (members, known) = (self.truth.members(), &self.known);
        for i in 0..members.words() {
            for_each_bit(i, members.word(i) & !known.word(i), |row| {
                self.lacked.push((row, tick));
            });
        }
    }

    /// Edges after `tick` are of no interest: the comparison ends with the view of that tick.
    pub(crate) fn end_with(&mut self, tick: Tick) {
        self.end = Some(tick);
    }

    /// Since when the client lacks a member of the true view.
    pub(crate) fn lacked_since(&self, row: Row) -> Option<Tick> {
        let behind = self.lacked.partition_point(|(lacked, _)| *lacked <= row);
        let (lacked, since) = *self.lacked.get(behind.checked_sub(1)?)?;
        (lacked == row).then_some(since)
    }

    /// Computes the view of all ticks told since, and matches edges.
    pub(crate) fn advance(&mut self, truth: &Truth, telling: Telling) {
        let (Some((observer, sight)), Some(next), Some(newest)) =
            (self.sight, self.truth.next, truth.newest())
        else {
            return;
        };
        self.follow(telling);
        let end = self.end.unwrap_or(Tick(u64::MAX));
        for tick_truth in truth.since(next).take_while(|truth| truth.tick <= end) {
            let tick = tick_truth.tick;
            let is_exact = self.exact_from.is_some_and(|from| tick >= from);
            let (known, lacked) = (&self.known, &mut self.lacked);
            let is_measured = self.measured_from.is_some();
            let (lists, counts) = (&mut self.lists, &mut self.counts);
            self.truth.advance(tick_truth, observer, sight, |row, enter| {
                if !is_exact {
                    return;
                }
                if is_measured && enter && !known.contains(row) {
                    lacked.push((row, tick));
                }
                lists.expect(Edge { tick, row, enter }, counts);
            });
        }
        self.judge_band(truth, end.min(newest.tick).min(telling.through));
        // Without a band nothing waits for what else was told.
        if self.exact_from.is_some_and(|from| self.band_next >= from) {
            self.read_through(newest.tick, truth);
            self.lists.match_edges();
        }
        if !self.lacked.is_empty() && self.known == *self.truth.members() {
            self.lacked = Vec::new();
        }
        if self.lacked.len() != self.lacked_sorted {
            self.lacked.sort_unstable();
            self.lacked_sorted = self.lacked.len();
        }
    }

    /// The way of telling may have changed.
    fn follow(&mut self, telling: Telling) {
        match (telling.is_crowd, self.exact_from) {
            (true, Some(_)) => {
                let from = telling.through - self.tolerance.ticks;
                self.lists.forget_from(from);
                self.band_next = self.band_next.max(from);
                self.band = Band::default();
                self.lacked = Vec::new();
                self.exact_from = None;
            }
            (false, None) => self.exact_from = Some(telling.through + self.tolerance.ticks),
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Judges the ticks up to `through` that the band is to judge.
    fn judge_band(&mut self, truth: &Truth, through: Tick) {
        let Some((observer, sight)) = self.sight else {
            return;
        };
        if self.exact_from.is_some_and(|from| self.band_next >= from) {
            return;
        }
        let exact_from = self.exact_from.unwrap_or(Tick(u64::MAX));
        if self.measured_from.is_none() {
            // What is late while it takes in its first view is of no interest, but for what is told twice.
            self.read_through(through.min(exact_from - 1), truth);
            self.band_next = self.band_next.max((through + 1).min(exact_from));
            return;
        }
        for tick_truth in truth.since(self.band_next) {
            if tick_truth.tick > through || tick_truth.tick >= exact_from {
                break;
            }
            self.read_through(tick_truth.tick, truth);
            self.band_next = tick_truth.tick + 1;
            self.band.advance(
                tick_truth,
                observer,
                (sight, self.tolerance),
                (&self.known, self.edges),
                self.measured_from,
                &mut self.counts,
            );
        }
        if through >= exact_from {
            self.band_next = self.band_next.max(exact_from);
        }
    }

    fn read_through(&mut self, tick: Tick, truth: &Truth) {
        while self.unread.front().is_some_and(|told| told.tick() <= tick)
            && let Some(told) = self.unread.pop_front()
        {
            if self.end.is_some_and(|end| told.tick() > end) {
                continue;
            }
            match told {
                Unread::Edge(edge) => match truth.row_of(edge.entity, edge.subject) {
                    Some(row) => self.read((edge.tick, truth.at(edge.tick)), row, edge.enter),
                    // The truth has never heard of it.
                    None => self.counts.edges_extra += 1,
                },
                Unread::Enters(tick, track, places) => self.read_together(tick, &track, places, truth),
            }
        }
        if self.unread.is_empty() && self.unread.capacity() > 256 {
            self.unread = VecDeque::new();
        }
    }

    fn read_together(&mut self, tick: Tick, track: &TrackState, places: Mask, truth: &Truth) {
        let at = truth.at(tick);
        let names = track.track().names();
        for place in places.iter() {
            match truth.row_in(names[place].slot, names[place].generation) {
                Some(row) => self.read((tick, at), row, true),
                None => self.counts.edges_extra += 1,
            }
        }
    }

    fn read(&mut self, (tick, at): (Tick, Option<&TickTruth>), row: Row, enter: bool) {
        self.edges += 1;
        let is_news = if enter {
            self.known.insert(row)
        } else {
            self.known.remove(row)
        };
        let is_exact = self.exact_from.is_some_and(|from| tick >= from);
        if !enter && is_exact && self.measured_from.is_some() && self.truth.members().contains(row) {
            self.lacked.push((row, tick));
        }
        if !is_news {
            self.counts.doubled += 1;
        } else if is_exact {
            self.lists.tell(Edge { tick, row, enter }, &mut self.counts);
        } else if let Some((observer, sight)) = self.sight
            && let Some(at) = at
            && !band::is_possible(at, observer, (sight, self.tolerance), row, enter)
        {
            self.counts.edges_extra += 1;
        }
    }

    /// The outcome, after a last [`Self::advance`]: what is unmatched now stays so. `early`: what was told last may
    /// still be under way.
    pub(crate) fn finish(mut self, truth: &Truth, early: bool) -> ViewCounts {
        let exact = self.exact_from.is_some_and(|from| self.band_next >= from);
        if early {
            let now = truth.newest().map_or(Tick(0), |newest| newest.tick);
            self.lists.forget_from(now - self.tolerance.ticks);
        } else if exact {
            self.counts.missing += self.truth.members().count_without(&self.known);
            self.counts.extra += self.known.count_without(self.truth.members());
            if let Some(newest) = truth.newest() {
                self.counts.ghosts += self.known.count_without(&newest.alive);
            }
        }
        if !exact {
            let judged = truth.at(self.band_next - 1);
            self.band.finish(judged, self.tolerance, &mut self.counts);
        }
        self.lists.finish(self.measured_from, &mut self.counts);
        self.counts
    }
}
