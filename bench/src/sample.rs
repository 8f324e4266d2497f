//! What one client holds at one moment, compared with the truth: staleness and coverage over all entities of its
//! true view; decoded states against the truth of their ticks, shown positions and properties in rotation.
//!
//! Cost per client and tick, of a view of 10,000 by shared tracks: some forty tracks at 20 ns each, a hundred near ones
//! at 20 ns, a dozen near states and shown positions at 100 ns: 4 us, which is 0.2 of a core for 10,000 clients at
//! 5 Hz. Told one by one, a pair costs some 20 ns: 1,000 clients x 2,000 entities x 10 Hz half a core. A client keeps
//! its true view, who it knows and who is near: three bits and a few bytes per entity, 6 KiB of 10,000.

mod ages;
mod coverage;
mod crowd;
mod listed;
mod shown;
mod tally;

#[cfg(test)]
mod tests;

pub(crate) use coverage::{Coverage, CoverageCounts};
#[cfg(test)]
pub(crate) use tally::CodecErrors;
pub(crate) use tally::{Live, Tally, add_bytes, bytes_since};

use crate::tracks::Tracks;
use crate::truth::{Row, Truth};
use crate::view::ViewCheck;
use ages::Ages;
use crowd::CrowdSampler;
use listed::ListedSampler;
use myriad_client::{Client, Subject};
use myriad_wire::{SpaceClock, Tick};

/// Staleness up to which an entity counts as covered, in milliseconds.
pub const COVERED_MS: f64 = 3000.0;
/// How long a property may be told after it ceased to be true, in seconds.
const PROPERTY_LATE_S: f64 = 3.0;
/// The same in a crowd, where a change is heard of, asked about and answered.
const PROPERTY_LATE_CROWD_S: f64 = 7.0;
/// Up to so many clients [`Rates::FEW_CLIENTS`] count, beyond them [`Rates::MANY_CLIENTS`].
const FEW_CLIENTS_MAX: u32 = 500;
/// Beyond so many [`Rates::MOST_CLIENTS`].
const MANY_CLIENTS_MAX: u32 = 2_500;
/// One in so many subjects has its properties compared at each client and tick.
const PROPERTIES_ONE_IN: usize = 128;
/// Shown errors are counted in steps of a millimetre.
pub(crate) const STEPS_PER_METRE: f64 = 1000.0;
/// Position units per metre.
const UNITS: f64 = myriad_wire::grid::UNITS_PER_METRE as f64;

/// How much is looked at more closely at each client and tick, in turn. Staleness and coverage are of everybody always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// One in so many subjects (in a crowd: of the near ones) has its state compared.
    pub(crate) codec_one_in: usize,
    /// One in so many tracks has the states of all its members compared, if every client decodes its own.
    pub(crate) track_one_in: usize,
    /// One in so many subjects told one by one is asked for its shown position.
    pub(crate) shown_one_in: usize,
    /// The same of the members of tracks.
    pub(crate) crowd_shown_one_in: usize,
    /// And of the near ones among them.
    pub(crate) near_shown_one_in: usize,
}

impl Rates {
    /// A state of the crowd tier is held for two ticks or more, so each is compared about once.
    const FEW_CLIENTS: Self = Self {
        codec_one_in: 2,
        track_one_in: 2,
        shown_one_in: 16,
        crowd_shown_one_in: 64,
        near_shown_one_in: 8,
    };
    /// More clients find as much with less at each: it is 2.5 million states a second of 1,000 clients that see 2,000.
    const MANY_CLIENTS: Self = Self {
        codec_one_in: 8,
        track_one_in: 128,
        shown_one_in: 64,
        crowd_shown_one_in: 1024,
        near_shown_one_in: 32,
    };
    /// 10,000 clients that see 10,000 at 5 Hz: half a million shown positions a second.
    const MOST_CLIENTS: Self = Self {
        track_one_in: 256,
        crowd_shown_one_in: 2048,
        near_shown_one_in: 64,
        ..Self::MANY_CLIENTS
    };

    /// Of a run with so many clients.
    pub(crate) fn of(clients: u32) -> Self {
        if clients <= FEW_CLIENTS_MAX {
            Self::FEW_CLIENTS
        } else if clients <= MANY_CLIENTS_MAX {
            Self::MANY_CLIENTS
        } else {
            Self::MOST_CLIENTS
        }
    }
}

/// Takes samples of one client.
#[derive(Debug)]
pub(crate) struct Sampler {
    rates: Rates,
    listed: ListedSampler,
    crowd: CrowdSampler,
    turn: usize,
}

/// What a sample is taken of.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) client: &'a Client,
    /// Enters and leaves told so far.
    pub(crate) edges: u64,
    pub(crate) clock: &'a SpaceClock,
    /// Now, since the Unix epoch.
    pub(crate) now_us: u64,
    pub(crate) truth: &'a Truth,
    pub(crate) check: &'a ViewCheck,
    /// The own avatar.
    pub(crate) own: Option<Row>,
}

impl Moment<'_> {
    /// Since when a member of the true view is lacked: not known is as of now.
    fn lacked_since(&self, row: Row) -> Tick {
        let newest = self.truth.newest().map_or(Tick(0), |newest| newest.tick);
        self.check.lacked_since(row).unwrap_or(newest)
    }

    fn compare_properties(&self, subject: Subject<'_>, row: Row, tally: &mut Tally) {
        let Some(newest) = self.truth.newest() else { return };
        let late_s = if self.client.view().is_crowd() {
            PROPERTY_LATE_CROWD_S
        } else {
            PROPERTY_LATE_S
        };
        let since = newest.tick - self.clock.ticks_in(late_s);
        for (index, value) in subject.properties() {
            if let Some(is_right) = self.truth.properties.was_true(row, *index, value, since) {
                tally.properties += 1;
                tally.properties_wrong += u64::from(!is_right);
            }
        }
    }
}

impl Sampler {
    pub(crate) fn new(rates: Rates, turn: usize) -> Self {
        Self {
            rates,
            listed: ListedSampler::default(),
            crowd: CrowdSampler::default(),
            turn,
        }
    }

    /// Takes a sample: staleness of all, codec error, shown error and properties of those whose turn it is.
    /// Without `measuring` only the live figures are kept. Answers whether all of the view is fresh.
    pub(crate) fn sample(
        &mut self,
        moment: &Moment<'_>,
        measuring: bool,
        tracks: &mut Tracks,
        coverage: &mut Coverage,
        tally: &mut Tally,
    ) -> bool {
        let mut ages = Ages::new(moment.clock.tick_at(moment.now_us));
        if moment.client.view().is_crowd() {
            self.listed.clear();
            let turn = (self.turn, self.rates);
            self.crowd
                .sample(moment, turn, tracks, measuring, (&mut ages, tally));
        } else {
            self.crowd.clear();
            self.listed.find_rows(moment);
            self.listed.look(moment, &mut ages);
            if measuring {
                self.listed.compare_states(moment, self.turn, self.rates, tally);
                self.listed.compare_shown(moment, self.turn, self.rates, tally);
                self.compare_properties(moment, self.turn % PROPERTIES_ONE_IN, PROPERTIES_ONE_IN, tally);
            }
        }
        let (fresh, pairs) = ages.tell(moment, measuring, tally);
        if measuring {
            tally.client_ticks += 1;
            tally.pairs += pairs;
            coverage.record(moment.now_us, fresh, pairs);
        }
        self.turn = self.turn.wrapping_add(1);
        fresh == pairs && pairs > 0
    }

    /// Compares the properties of every `one_in`-th subject that is told one by one, from the `first` on.
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
        if moment.client.told_tick() > newest.tick || moment.client.view().is_crowd() {
            return;
        }
        self.listed.find_rows(moment);
        self.listed.compare_properties(moment, (first, one_in), tally);
    }
}
