//! What the workers of a run share: what is asked for, the truth, how far the run is, and what was found so far.

use crate::bot::BotCounts;
use crate::feed::{Feed, UNPOISONED};
use crate::options::BotsOptions;
use crate::sample::Tally;
use crate::summary::{Measured, Trace};
use myriad_client::quic::{Dialer, now_us};
use myriad_wire::client::Joined;
use myriad_wire::{EntityId, Tick};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How much truth is still compared after the measurement, in seconds: no bot has looked farther ahead by then.
const END_AHEAD_S: f64 = 0.3;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) options: BotsOptions,
    pub(crate) feed: Arc<Feed>,
    pub(crate) dialer: Dialer,
    pub(crate) started: Instant,
    /// When the measurement began, in microseconds since the epoch; zero until then.
    measuring_from_us: AtomicU64,
    pub(crate) is_measuring: AtomicBool,
    /// The last tick whose views are compared; zero until the measurement is over.
    end_tick: AtomicU64,
    pub(crate) is_settling: AtomicBool,
    pub(crate) is_done: AtomicBool,
    /// The run is given up: nobody says goodbye.
    pub(crate) is_aborted: AtomicBool,
    pub(crate) joined: AtomicU32,
    /// Clients that have held all of their true view once.
    pub(crate) covered: AtomicU32,
    pub(crate) lost: AtomicU32,
    pub(crate) settled: AtomicU32,
    /// Numbers its accounts: a client that comes in another's place is another player.
    pub(crate) next_account: AtomicU32,
    pub(crate) avatars: Mutex<Vec<EntityId>>,
    /// What the first client was told at its join.
    pub(crate) first_joined: Mutex<Option<Joined>>,
    pub(crate) threads: Mutex<Vec<u32>>,
    /// One per worker, so that they hardly ever wait for each other.
    pub(crate) tallies: Vec<Mutex<Tallies>>,
}

/// What one worker's clients found.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) main: Tally,
    /// Of the clients that read slowly.
    pub(crate) slow: Tally,
}

/// What became of one client.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) join_s: Option<f64>,
    /// From the start of its connection until it held all of its true view.
    pub(crate) covered_s: Option<f64>,
    /// The same, from the start of the run.
    pub(crate) covered_at_s: Option<f64>,
    pub(crate) lost: Option<String>,
    pub(crate) counts: BotCounts,
    /// Why commands were refused, each with how often.
    pub(crate) refusals: Vec<(String, u32)>,
    /// Absent if the client was not there for any part of the measurement.
    pub(crate) measured: Option<Measured>,
    /// It was one of those that read slowly.
    pub(crate) slow: bool,
    /// It came, or went, in the middle of the run.
    pub(crate) churned: bool,
}

impl Shared {
    pub(crate) fn new(options: BotsOptions, feed: Arc<Feed>) -> anyhow::Result<Self> {
        let flag = || AtomicBool::new(false);
        let number = || AtomicU32::new(0);
        Ok(Self {
            dialer: Dialer::new(&options.trust)?,
            feed,
            started: Instant::now(),
            measuring_from_us: AtomicU64::new(0),
            is_measuring: flag(),
            end_tick: AtomicU64::new(0),
            is_settling: flag(),
            is_done: flag(),
            is_aborted: flag(),
            joined: number(),
            covered: number(),
            lost: number(),
            settled: number(),
            next_account: AtomicU32::new(options.clients),
            avatars: Mutex::default(),
            first_joined: Mutex::default(),
            threads: Mutex::default(),
            tallies: (0..options.workers).map(|_| Mutex::default()).collect(),
            options,
        })
    }

    pub(crate) fn begin_measuring(&self) {
        let mut truth = self.feed.truth.write().expect(UNPOISONED);
        truth.restart_stats();
        if let Some(joined) = &*self.first_joined.lock().expect(UNPOISONED) {
            truth.speeds.set_rules(joined.rules);
        }
        for entity in self.avatars.lock().expect(UNPOISONED).iter() {
            if let Some(row) = truth.row(*entity) {
                truth.speeds.add_avatar(row);
            }
        }
        self.measuring_from_us.store(now_us(), Ordering::Relaxed);
        self.is_measuring.store(true, Ordering::Relaxed);
    }

    /// Takes what the trace said while measuring.
    pub(crate) fn end_measuring(&self) -> Option<Trace> {
        self.is_measuring.store(false, Ordering::Relaxed);
        let truth = self.feed.truth.read().expect(UNPOISONED);
        let trace = truth.newest().zip(truth.clock()).map(|(newest, clock)| {
            let end = newest.tick + clock.ticks_in(END_AHEAD_S).max(1);
            self.end_tick.store(end.0, Ordering::Relaxed);
            Trace {
                stats: truth.stats.clone(),
                lanes: truth.lanes(),
                speeds: truth.speeds.percentiles(),
                speeding: truth.speeds.speeding,
                entities: truth.entities_max,
            }
        });
        self.is_settling.store(true, Ordering::Relaxed);
        trace
    }

    /// The last tick whose views are compared, once it is known.
    pub(crate) fn end(&self) -> Option<Tick> {
        let end = self.end_tick.load(Ordering::Relaxed);
        (end > 0).then_some(Tick(end))
    }

    /// When the measurement began, once it has, in microseconds since the epoch.
    pub(crate) fn measuring_from_us(&self) -> Option<u64> {
        let from = self.measuring_from_us.load(Ordering::Relaxed);
        (from > 0).then_some(from)
    }
}
