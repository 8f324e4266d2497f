//! What one client holds at one moment, compared with the truth: staleness and coverage over all entities of its
//! true view, decoded states against the truth of their ticks, shown positions and properties in rotation.
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
use myriad_wire::track::Level;
use myriad_wire::{Pos, SpaceClock, Tick};

/// Staleness up to which an entity counts as covered, in milliseconds.
pub const COVERED_MS: f64 = 3000.0;
/// How long a property may be told after it ceased to be true, in seconds.
const PROPERTY_LATE_S: f64 = 3.0;
/// One in so many subjects is asked for its shown position at each client and tick.
pub(crate) const SHOWN_ONE_IN: usize = 16;
/// One in so many subjects has its properties compared at each client and tick.
const PROPERTIES_ONE_IN: usize = 64;
/// Ages in ticks that are counted in an array; older states are few and told one by one.
const AGES: usize = 128;
/// Shown errors are counted in steps of a millimetre.
pub(crate) const STEPS_PER_METRE: f64 = 1000.0;
/// Position units per metre.
const UNITS: f64 = myriad_wire::grid::UNITS_PER_METRE as f64;
/// Stands for a subject that the truth has not told of (yet).
const NO_ROW: Row = Row::MAX;

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
    pub(crate) codec_crowd: i128,
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
#[derive(Debug, Default)]
pub(crate) struct Sampler {
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
    near: [u32; AGES],
    all: [u32; AGES],
    old: Vec<Tick>,
}

impl Ages {
    fn new(base: Tick) -> Self {
        Self {
            base,
            near: [0; AGES],
            all: [0; AGES],
            old: Vec::new(),
        }
    }

    fn add(&mut self, tick: Tick, near: bool) {
        let age = self.base.since(tick) as usize;
        if age < AGES {
            self.all[age] += 1;
            self.near[age] += u32::from(near);
        } else {
            self.old.push(tick);
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
        for (age, (all, near)) in self.all.iter().zip(&self.near).enumerate() {
            if *all > 0 {
                tell(self.base - age as u64, u64::from(*all), u64::from(*near));
            }
        }
        self.old.iter().for_each(|tick| tell(*tick, 1, 0));
        (fresh, pairs)
    }
}

impl Sampler {
    /// Takes a sample: staleness and codec error of all, shown error and properties of those whose turn it is.
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
        if moment.true_view.is_known() {
            self.add_true_view(moment, &mut ages);
        } else {
            for subject in moment.client.view().iter() {
                ages.add(subject.state_tick(), subject.level() == Some(Level::NEAR));
            }
        }
        let (fresh, pairs) = ages.tell(moment, measuring, tally);
        if measuring {
            tally.client_ticks += 1;
            tally.pairs += pairs;
            coverage.record(moment.now_us, fresh, pairs);
            self.compare_states(moment, tally);
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

    /// The age of every member of the true view: of its last state, or of its enter if the client has none.
    fn add_true_view(&self, moment: &Moment<'_>, ages: &mut Ages) {
        let members = moment.true_view.members();
        let all_members = *members == self.held;
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

    fn compare_states(&self, moment: &Moment<'_>, tally: &mut Tally) {
        let Some(newest) = moment.truth.newest() else {
            return;
        };
        let mut by_age: Vec<Option<&TickTruth>> = Vec::new();
        moment.truth.by_age(&mut by_age);
        let (mut compared, mut near, mut crowd) = (0, 0, 0);
        for (subject, row) in moment.client.view().iter().zip(&self.rows) {
            // A state newer than the truth's newest tick wraps round to an age beyond the end.
            let age = newest.tick.0.wrapping_sub(subject.state_tick().0);
            let Some(Some(truth)) = by_age.get(age as usize) else {
                continue;
            };
            let Some(place) = truth.positions.get(*row as usize) else {
                continue;
            };
            compared += 1;
            let error = apart(*place, subject.position());
            match subject.level() {
                None | Some(Level::NEAR) => near = near.max(error[0].max(error[1]).max(error[2])),
                Some(_) => crowd = crowd.max(square(error)),
            }
        }
        tally.codec_states += compared;
        tally.codec_near = tally.codec_near.max(near);
        tally.codec_crowd = tally.codec_crowd.max(crowd);
    }

    fn compare_shown(&self, moment: &Moment<'_>, tally: &mut Tally) {
        let Some(tick_now) = moment.client.tick_now(moment.now_us) else {
            return;
        };
        let turn = self.turn % SHOWN_ONE_IN;
        let subjects = moment.client.view().iter().zip(&self.rows);
        for (subject, row) in subjects.skip(turn).step_by(SHOWN_ONE_IN) {
            if *row == NO_ROW {
                continue;
            }
            if let Some(error) = shown_error(moment, subject, *row, tick_now) {
                tally.shown_all.record(error * STEPS_PER_METRE, 1);
                if subject.level() == Some(Level::NEAR) {
                    tally.shown_near.record(error * STEPS_PER_METRE, 1);
                }
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

/// How far, in metres, the subject is shown from where it truly was one interpolation delay ago.
fn shown_error(moment: &Moment<'_>, subject: Subject<'_>, row: Row, tick_now: f64) -> Option<f64> {
    let delay_us = moment.client.delay_us(subject.level());
    let then_us = moment.now_us.saturating_sub(delay_us);
    let tick = moment.clock.tick_at(then_us);
    let (start_us, end_us) = (moment.clock.due_us(tick), moment.clock.due_us(tick + 1));
    let share = then_us.saturating_sub(start_us) as f64 / (end_us - start_us).max(1) as f64;
    let truth = moment.truth.between(row, tick.0 as f64 + share)?;
    let shown = subject.shown(tick_now).position;
    let shown = [f64::from(shown.x), f64::from(shown.y), f64::from(shown.z)];
    let d2: f64 = (0..3).map(|axis| (shown[axis] - truth[axis]).powi(2)).sum();
    Some(d2.sqrt() / UNITS)
}

fn apart(a: Pos, b: Pos) -> [u32; 3] {
    [a.x.abs_diff(b.x), a.y.abs_diff(b.y), a.z.abs_diff(b.z)]
}

fn square(error: [u32; 3]) -> i128 {
    error.iter().map(|axis| i128::from(*axis).pow(2)).sum()
}
