//! What one client holds at one moment, compared with the truth: staleness and coverage over all entities of its
//! true view; decoded states against the truth of their ticks, shown positions and properties in rotation.
//!
//! Cost: 1,000 clients x 2,000 entities x 10 Hz are 2e7 pairs a second, so a pair may cost some 20 ns on half a
//! core. One pass over the SDK's view touches one cache line of it per pair; the row of a subject is looked up
//! again only after enters and leaves; stalenesses are counted by age in ticks and become milliseconds once per
//! client and tick.

use crate::bits::{Bits, for_each_bit};
use crate::histogram::Histogram;
use crate::truth::{Row, TickTruth, Truth};
use crate::view::TrueView;
use myriad_client::{Client, Subject};
use myriad_wire::track::{LEVELS, Level};
use myriad_wire::{Pos, SpaceClock, Tick};

/// Staleness up to which an entity counts as covered, in milliseconds.
pub const COVERED_MS: f64 = 3000.0;
/// How long a property may be told after it ceased to be true, in seconds.
const PROPERTY_LATE_S: f64 = 3.0;
/// Up to so many clients [`Rates::FEW_CLIENTS`] count, beyond them [`Rates::MANY_CLIENTS`].
const FEW_CLIENTS_MAX: u32 = 500;
/// One in so many subjects has its properties compared at each client and tick.
const PROPERTIES_ONE_IN: usize = 128;
/// Ages in ticks that are counted in an array; older states are few and told one by one.
const AGES: usize = 128;
/// Shown errors are counted in steps of a millimetre.
pub(crate) const STEPS_PER_METRE: f64 = 1000.0;
/// Position units per metre.
const UNITS: f64 = myriad_wire::grid::UNITS_PER_METRE as f64;
/// Stands for a subject that the truth has not told of (yet).
const NO_ROW: Row = Row::MAX;

/// How much is looked at more closely at each client and tick, in turn. Staleness and coverage are of everybody always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// One in so many subjects has its state compared.
    pub(crate) codec_one_in: usize,
    /// One in so many subjects is asked for its shown position.
    pub(crate) shown_one_in: usize,
}

impl Rates {
    /// A state of the crowd tier is held for two ticks or more, so each is compared about once.
    const FEW_CLIENTS: Self = Self {
        codec_one_in: 2,
        shown_one_in: 16,
    };
    /// More clients find as much with less at each: it is 2.5 million states a second of 1,000 clients that see 2,000.
    const MANY_CLIENTS: Self = Self {
        codec_one_in: 8,
        shown_one_in: 64,
    };

    /// Of a run with so many clients.
    pub(crate) fn of(clients: u32) -> Self {
        if clients <= FEW_CLIENTS_MAX {
            Self::FEW_CLIENTS
        } else {
            Self::MANY_CLIENTS
        }
    }
}

/// What was found, over any number of clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) near_ms: Histogram,
    pub(crate) all_ms: Histogram,
    /// Of the last second, for the progress display.
    pub(crate) live_ms: Histogram,
    pub(crate) live_bytes: u64,
    /// Largest error per axis, in position units.
    pub(crate) codec_near: u32,
    /// Largest squared distance, in position units.
    pub(crate) codec_crowd: u64,
    pub(crate) shown_near: Histogram,
    pub(crate) shown_all: Histogram,
    pub(crate) client_ticks: u64,
    pub(crate) pairs: u64,
    pub(crate) codec_states: u64,
    pub(crate) properties: u64,
    pub(crate) properties_wrong: u64,
    /// CPU time of checking, in nanoseconds.
    pub(crate) verify_ns: u64,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.near_ms.merge(&other.near_ms);
        self.all_ms.merge(&other.all_ms);
        self.shown_near.merge(&other.shown_near);
        self.shown_all.merge(&other.shown_all);
        self.codec_near = self.codec_near.max(other.codec_near);
        self.codec_crowd = self.codec_crowd.max(other.codec_crowd);
        self.client_ticks += other.client_ticks;
        self.pairs += other.pairs;
        self.codec_states += other.codec_states;
        self.properties += other.properties;
        self.properties_wrong += other.properties_wrong;
        self.verify_ns += other.verify_ns;
    }
}

/// One client's coverage, second by second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coverage {
    second: u64,
    fresh: u64,
    pairs: u64,
    /// Of the seconds that are over.
    min: f64,
    fresh_total: u64,
    pairs_total: u64,
}

/// What one client's coverage came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CoverageCounts {
    /// Share of the fresh in the worst second.
    pub(crate) min: f64,
    pub(crate) fresh: u64,
    pub(crate) pairs: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            second: 0,
            fresh: 0,
            pairs: 0,
            min: 1.0,
            fresh_total: 0,
            pairs_total: 0,
        }
    }
}

impl Coverage {
    /// Of `pairs` entities in view `fresh` were fresh, at `now_us`.
    pub(crate) fn record(&mut self, now_us: u64, fresh: u64, pairs: u64) {
        let second = now_us / 1_000_000;
        if second != self.second {
            self.close_second();
            self.second = second;
        }
        self.fresh += fresh;
        self.pairs += pairs;
    }

    fn close_second(&mut self) {
        if self.pairs > 0 {
            self.min = self.min.min(self.fresh as f64 / self.pairs as f64);
        }
        self.fresh_total += std::mem::take(&mut self.fresh);
        self.pairs_total += std::mem::take(&mut self.pairs);
    }

    /// The outcome. `None` if nothing was ever in view.
    pub(crate) fn finish(mut self) -> Option<CoverageCounts> {
        self.close_second();
        (self.pairs_total > 0).then_some(CoverageCounts {
            min: self.min,
            fresh: self.fresh_total,
            pairs: self.pairs_total,
        })
    }
}

/// Takes samples of one client.
#[derive(Debug)]
pub(crate) struct Sampler {
    rates: Rates,
    /// By place in the SDK's order of iteration, which stays as it is between enters and leaves.
    rows: Vec<Row>,
    held: Bits,
    /// The number of enters and leaves at which `rows` was made.
    made_at: Option<u64>,
    turn: usize,
}

/// What a sample is taken of.
pub(crate) struct Moment<'a> {
    pub(crate) client: &'a Client,
    /// Enters and leaves told so far.
    pub(crate) edges: u64,
    pub(crate) clock: &'a SpaceClock,
    /// Now, since the Unix epoch.
    pub(crate) now_us: u64,
    pub(crate) truth: &'a Truth,
    pub(crate) true_view: &'a TrueView,
}

/// Counts of stalenesses by age in ticks.
struct Ages {
    /// The tick due now: age 0.
    base: Tick,
    /// Of each age two counts: without the near tier, and the near tier.
    counts: [[u32; 2]; AGES],
    /// Of which each is one.
    old: Vec<Tick>,
}

impl Ages {
    fn new(base: Tick) -> Self {
        Self {
            base,
            counts: [[0; 2]; AGES],
            old: Vec::new(),
        }
    }

    #[inline]
    fn add(&mut self, tick: Tick, near: bool) {
        match self.counts.get_mut(self.base.since(tick) as usize) {
            Some(counts) => counts[usize::from(near)] += 1,
            None => self.old.push(tick),
        }
    }

    /// Enters all into the histograms. Returns how many were fresh, and how many there are.
    fn tell(&self, moment: &Moment<'_>, measuring: bool, tally: &mut Tally) -> (u64, u64) {
        let (mut fresh, mut pairs) = (0, 0);
        let mut tell = |tick: Tick, all: u64, near: u64| {
            let ms = moment.now_us.saturating_sub(moment.clock.due_us(tick)) as f64 / 1000.0;
            tally.live_ms.record(ms, all);
            if measuring {
                tally.all_ms.record(ms, all);
                tally.near_ms.record(ms, near);
            }
            pairs += all;
            fresh += if ms <= COVERED_MS { all } else { 0 };
        };
        for (age, [crowd, near]) in self.counts.iter().enumerate() {
            if crowd + near > 0 {
                tell(self.base - age as u64, u64::from(crowd + near), u64::from(*near));
            }
        }
        self.old.iter().for_each(|tick| tell(*tick, 1, 0));
        (fresh, pairs)
    }
}

/// Errors of decoded states.
#[derive(Default)]
struct CodecErrors {
    compared: u64,
    near: u32,
    crowd: u64,
}

impl CodecErrors {
    #[inline]
    fn add(&mut self, truth: Pos, subject: Subject<'_>) {
        self.compared += 1;
        let decoded = subject.position();
        let error = [
            truth.x.abs_diff(decoded.x),
            truth.y.abs_diff(decoded.y),
            truth.z.abs_diff(decoded.z),
        ];
        match subject.level() {
            None | Some(Level::NEAR) => self.near = self.near.max(error[0].max(error[1]).max(error[2])),
            Some(_) => {
                let squares = error.map(|axis| u64::from(axis).pow(2));
                let sum = squares[0].saturating_add(squares[1]).saturating_add(squares[2]);
                self.crowd = self.crowd.max(sum);
            }
        }
    }
}

/// The moment that a client shows, by the level of a subject: the two ticks around it, and where between.
type ShownMoments<'a> = [Option<(&'a TickTruth, &'a TickTruth, f64)>; LEVELS + 1];

impl Sampler {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            rates,
            rows: Vec::new(),
            held: Bits::default(),
            made_at: None,
            turn: 0,
        }
    }

    /// Takes a sample: staleness of all, codec error, shown error and properties of those whose turn it is.
    /// Without `measuring` only the live figures are kept.
    pub(crate) fn sample(
        &mut self,
        moment: &Moment<'_>,
        measuring: bool,
        coverage: &mut Coverage,
        tally: &mut Tally,
    ) {
        self.find_rows(moment);
        let mut ages = Ages::new(moment.clock.tick_at(moment.now_us));
        self.look(moment, &mut ages);
        let errors = self.compare_states(moment);
        let (fresh, pairs) = ages.tell(moment, measuring, tally);
        if measuring {
            tally.client_ticks += 1;
            tally.pairs += pairs;
            tally.codec_states += errors.compared;
            tally.codec_near = tally.codec_near.max(errors.near);
            tally.codec_crowd = tally.codec_crowd.max(errors.crowd);
            coverage.record(moment.now_us, fresh, pairs);
            self.compare_shown(moment, tally);
            self.compare_properties(moment, self.turn % PROPERTIES_ONE_IN, PROPERTIES_ONE_IN, tally);
        }
        self.turn = self.turn.wrapping_add(1);
    }

    fn find_rows(&mut self, moment: &Moment<'_>) {
        if self.made_at == Some(moment.edges) {
            return;
        }
        self.rows.clear();
        self.held = Bits::default();
        for subject in moment.client.view().iter() {
            let row = moment.truth.row(subject.entity());
            self.rows.push(row.unwrap_or(NO_ROW));
            if let Some(row) = row {
                self.held.insert(row);
            }
        }
        // A subject that the trace has yet to tell of is looked up again at the next sample.
        self.made_at = (!self.rows.contains(&NO_ROW)).then_some(moment.edges);
    }

    /// One pass over all subjects: the age of every member of the true view (of its last state, or of its enter if
    /// the client has none).
    fn look(&self, moment: &Moment<'_>, ages: &mut Ages) {
        let members = moment.true_view.members();
        let has_truth = moment.true_view.is_known();
        let all_members = !has_truth || *members == self.held;
        for (subject, row) in moment.client.view().iter().zip(&self.rows) {
            if all_members || members.contains(*row) {
                ages.add(subject.state_tick(), subject.level() == Some(Level::NEAR));
            }
        }
        if !all_members {
            for i in 0..members.words() {
                for_each_bit(i, members.word(i) & !self.held.word(i), |row| {
                    ages.add(moment.true_view.entered(row), false);
                });
            }
        }
    }

    /// The errors of the states whose turn it is and whose tick's truth is remembered.
    fn compare_states(&self, moment: &Moment<'_>) -> CodecErrors {
        let mut errors = CodecErrors::default();
        let newest = moment.truth.newest().map_or(Tick(0), |newest| newest.tick);
        let mut by_age: Vec<Option<&TickTruth>> = Vec::new();
        moment.truth.by_age(&mut by_age);
        let one_in = self.rates.codec_one_in;
        let subjects = moment.client.view().iter().zip(&self.rows);
        for (subject, row) in subjects.skip(self.turn % one_in).step_by(one_in) {
            // A state newer than the truth's newest tick wraps round to an age beyond the end.
            let age = newest.0.wrapping_sub(subject.state_tick().0) as usize;
            if let Some(Some(truth)) = by_age.get(age)
                && let Some(place) = truth.positions.get(*row as usize)
            {
                errors.add(*place, subject);
            }
        }
        errors
    }

    fn compare_shown(&self, moment: &Moment<'_>, tally: &mut Tally) {
        let Some(tick_now) = moment.client.tick_now(moment.now_us) else {
            return;
        };
        let moments = shown_moments(moment);
        let one_in = self.rates.shown_one_in;
        let subjects = moment.client.view().iter().zip(&self.rows);
        for (subject, row) in subjects.skip(self.turn % one_in).step_by(one_in) {
            let level = subject.level();
            let around = moments[level.map_or(LEVELS, Level::index)];
            let Some(truth) = around.and_then(|(older, newer, share)| between(older, newer, share, *row))
            else {
                continue;
            };
            let shown = subject.shown(tick_now).position;
            let shown = [f64::from(shown.x), f64::from(shown.y), f64::from(shown.z)];
            let d2: f64 = (0..3).map(|axis| (shown[axis] - truth[axis]).powi(2)).sum();
            let error = d2.sqrt() / UNITS * STEPS_PER_METRE;
            tally.shown_all.record(error, 1);
            if level == Some(Level::NEAR) {
                tally.shown_near.record(error, 1);
            }
        }
    }

    /// Compares the properties of every `one_in`-th subject from the `first` on.
    pub(crate) fn compare_properties(
        &mut self,
        moment: &Moment<'_>,
        first: usize,
        one_in: usize,
        tally: &mut Tally,
    ) {
        let Some(newest) = moment.truth.newest() else {
            return;
        };
        // The trace may be behind the client by a tick: what is news to the truth is judged another time.
        if moment.client.told_tick() > newest.tick {
            return;
        }
        self.find_rows(moment);
        let since = newest.tick - moment.clock.ticks_in(PROPERTY_LATE_S);
        let subjects = moment.client.view().iter().zip(&self.rows);
        for (subject, row) in subjects.skip(first).step_by(one_in) {
            for (index, value) in subject.properties() {
                if let Some(is_right) = moment.truth.properties.was_true(*row, *index, value, since) {
                    tally.properties += 1;
                    tally.properties_wrong += u64::from(!is_right);
                }
            }
        }
    }
}

/// What each level's subjects should show now: the truth one interpolation delay ago.
fn shown_moments<'a>(moment: &Moment<'a>) -> ShownMoments<'a> {
    std::array::from_fn(|level| {
        // Behind the levels stand subjects of which only the enter is known.
        let level = u8::try_from(level).ok().and_then(Level::new);
        let then_us = moment.now_us.saturating_sub(moment.client.delay_us(level));
        let tick = moment.clock.tick_at(then_us);
        let (start_us, end_us) = (moment.clock.due_us(tick), moment.clock.due_us(tick + 1));
        let share = then_us.saturating_sub(start_us) as f64 / (end_us - start_us).max(1) as f64;
        moment.truth.around(tick.0 as f64 + share)
    })
}

/// Where the entity in `row` was, in position units. `None` if it was not alive in both ticks.
fn between(older: &TickTruth, newer: &TickTruth, share: f64, row: Row) -> Option<[f64; 3]> {
    let (a, b) = (older.position(row)?, newer.position(row)?);
    let axis = |a: i32, b: i32| f64::from(a) + (f64::from(b) - f64::from(a)) * share;
    Some([axis(a.x, b.x), axis(a.y, b.y), axis(a.z, b.z)])
}

#[cfg(test)]
mod tests;
