//! A run from its first connection to its report: its phases, and what they came to.
//!
//! The clients live in [`crate::worker`]s, threads that know nothing of each other; this thread only tells them how
//! far the run is, shows it, and adds up at the end. What a run comes to is decided in [`crate::summary`].

use crate::feed::{Feed, UNPOISONED};
use crate::header::Header;
use crate::metrics::{self, Scrape};
use crate::options::BotsOptions;
use crate::progress::{Live, Phase, Progress};
use crate::report::Report;
use crate::sample::Tally;
use crate::seconds::Seconds;
use crate::shared::{Outcome, Shared};
use crate::summary::{self, Spent};
use crate::worker::Worker;
use anyhow::{Context, anyhow, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long the truth trace may take to bring its first tick.
const FIRST_TICK_MAX: Duration = Duration::from_secs(10);
/// How long clients may take after the measurement until all they sent is applied.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at how the run stands.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// Runs bots against a server and says what they found. Writes the report as JSON where the options say so.
///
/// The bots live on threads of their own, so the caller's runtime is not measured along. Dropping the future
/// ends them.
///
/// # Errors
/// If the options make no sense, no socket can be had, or the truth trace can't be read. Clients that are lost
/// are not an error but a figure of the report.
pub async fn run(options: BotsOptions, progress: Arc<Progress>) -> anyhow::Result<Report> {
    let (done_tx, done) = oneshot::channel();
    let given_up = GivenUp::default();
    let is_given_up = Arc::clone(&given_up.0);
    std::thread::Builder::new()
        .name("bots".into())
        .spawn(move || {
            let report = drive(options, &progress, &is_given_up);
            progress.finish();
            // Nobody listens if the caller gave up.
            let _unheard = done_tx.send(report);
        })
        .context("a thread for the bots")?;
    done.await.context("the bots' thread panicked")?
}

/// Says that nobody waits for the report any more.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The workers' threads. However the run ends, they do.
struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<anyhow::Result<Vec<Outcome>>>>,
}

impl Workers {
    fn start(shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let mut workers = Self {
            shared: Arc::clone(shared),
            threads: Vec::new(),
        };
        for index in 0..shared.options.workers {
            let worker = Worker::new(Arc::clone(shared), index as u32)?;
            let thread = std::thread::Builder::new()
                .name("bots-net".into())
                .spawn(move || worker.run())
                .context("a thread for clients")?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Whether one has ended before its time.
    fn has_failed(&self) -> bool {
        !self.shared.is_done.load(Ordering::Relaxed) && self.threads.iter().any(JoinHandle::is_finished)
    }

    fn finish(mut self) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for thread in self.threads.drain(..) {
            let found = thread.join().map_err(|_| anyhow!("a bots' thread panicked"))??;
            outcomes.extend(found);
        }
        Ok(outcomes)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.shared.is_aborted.store(true, Ordering::Relaxed);
        }
    }
}

fn drive(options: BotsOptions, progress: &Progress, is_given_up: &AtomicBool) -> anyhow::Result<Report> {
    if options.servers.is_empty() || options.clients == 0 || options.workers == 0 {
        bail!("a run needs at least one server, one client and one worker");
    }
    let header = Header::collect(options.seconds);
    let has_truth = !options.truth.is_empty();
    let feed = match has_truth {
        true => first_tick(Feed::start(&options.truth)?)?,
        false => Arc::default(),
    };
    let shared = Arc::new(Shared::new(options, feed)?);
    let workers = Workers::start(&shared)?;
    let mut watch = Watch::new(&shared, &workers, progress, is_given_up);
    let clients = shared.options.clients;
    let all = |count: u32| count + shared.lost.load(Ordering::Relaxed) >= clients;
    let all_joined = || {
        let covered = shared.covered.load(Ordering::Relaxed) + shared.options.slow;
        all(shared.joined.load(Ordering::Relaxed)) && (!has_truth || all(covered))
    };
    watch.phase(Phase::Joining, shared.options.join_allowance, all_joined)?;
    watch.phase(Phase::Warmup, shared.options.warmup, || false)?;

    let scraped = metrics::scrape(&shared.options);
    shared.begin_measuring();
    let before = watch.begin_measuring();
    let began = Instant::now();
    let measure = Duration::from_secs_f64(shared.options.seconds);
    let activity = shared.options.activity.clone();
    if let Some(activity) = &activity {
        activity.begin();
    }
    let is_over = || activity.as_ref().is_some_and(|activity| activity.is_over());
    watch.phase(Phase::Measuring, measure, is_over)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = spent(&shared);
    let trace = shared.end_measuring();
    let rows = watch.end_measuring();
    let scraped = scraped.zip(metrics::scrape(&shared.options));

    let all_settled = || all(shared.settled.load(Ordering::Relaxed));
    watch.phase(Phase::Settling, SETTLE_MAX, all_settled)?;
    shared.is_done.store(true, Ordering::Relaxed);
    let outcomes = workers.finish()?;

    let (mut tally, mut slow) = (Tally::default(), Tally::default());
    for part in &shared.tallies {
        let part = part.lock().expect(UNPOISONED);
        tally.merge(&part.main);
        slow.merge(&part.slow);
    }
    let found = summary::Found {
        header,
        options: &shared.options,
        joined: shared.first_joined.lock().expect(UNPOISONED).clone(),
        seconds,
        outcomes,
        tally,
        slow,
        trace,
        spent: after.since(&before),
        server: scraped.map(|(before, after)| Scrape::since(&after, &before)),
        rows,
    };
    let report = summary::report(found);
    if let Some(file) = &shared.options.json {
        report.write_json(file)?;
    }
    Ok(report)
}

fn spent(shared: &Shared) -> Spent {
    let threads = shared.threads.lock().expect(UNPOISONED);
    Spent::now(&shared.options.server_pids, &threads, &shared.feed.threads())
}

/// Waits until the trace has told its first tick.
fn first_tick(feed: Arc<Feed>) -> anyhow::Result<Arc<Feed>> {
    let deadline = Instant::now() + FIRST_TICK_MAX;
    while feed.truth.read().expect(UNPOISONED).newest().is_none() {
        if let Some(why) = feed.ended() {
            bail!("the truth trace ended at once: {why}");
        }
        if Instant::now() > deadline {
            bail!("the truth trace told no tick in {} s", FIRST_TICK_MAX.as_secs());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(feed)
}

/// Shows how the run stands, and notices when it can't go on.
struct Watch<'a> {
    shared: &'a Shared,
    workers: &'a Workers,
    progress: &'a Progress,
    is_given_up: &'a AtomicBool,
    live: Live,
    looked: Instant,
    /// The rows of the measurement, while it lasts.
    seconds: Option<Seconds>,
}

impl<'a> Watch<'a> {
    fn new(
        shared: &'a Shared,
        workers: &'a Workers,
        progress: &'a Progress,
        is_given_up: &'a AtomicBool,
    ) -> Self {
        Self {
            shared,
            workers,
            progress,
            is_given_up,
            live: Live {
                clients: shared.options.clients,
                ..Live::default()
            },
            looked: Instant::now(),
            seconds: None,
        }
    }

    /// Waits until the phase is over: after `total`, or once `is_over`.
    fn phase(&mut self, phase: Phase, total: Duration, is_over: impl Fn() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < total && !is_over() {
            if self.is_given_up.load(Ordering::Relaxed) {
                bail!("the run was given up");
            }
            if let Some(why) = self.shared.feed.ended() {
                bail!("the truth trace ended before the run did: {why}");
            }
            if self.workers.has_failed() {
                bail!("a thread of clients ended before the run did");
            }
            self.live.phase = phase;
            self.live.elapsed_s = began.elapsed().as_secs_f64();
            self.live.total_s = total.as_secs_f64();
            self.live.joined = self.shared.joined.load(Ordering::Relaxed);
            self.live.lost = self.shared.lost.load(Ordering::Relaxed);
            if self.looked.elapsed() >= Duration::from_secs(1) {
                self.look();
            }
            self.progress.show(&self.live);
            sleep(WATCH_PERIOD.min(total.saturating_sub(began.elapsed())));
        }
        Ok(())
    }

    fn begin_measuring(&mut self) -> Spent {
        self.look();
        let before = spent(self.shared);
        self.seconds = Some(Seconds::new(before));
        before
    }

    fn end_measuring(&mut self) -> Vec<crate::series::Second> {
        if self.looked.elapsed() >= Duration::from_millis(500) {
            self.look();
        }
        self.seconds.take().map_or_else(Vec::new, Seconds::finish)
    }

    /// Takes the last second's figures out of the tallies.
    fn look(&mut self) {
        let seconds = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let mut tally = Tally::default();
        for part in &self.shared.tallies {
            let live = std::mem::take(&mut part.lock().expect(UNPOISONED).main.live);
            tally.live.merge(&live);
        }
        let quantile = |share| tally.live.all_ms.quantile(share);
        self.live.staleness_ms = quantile(0.5).zip(quantile(0.99));
        self.live.bytes_per_s = tally.live.bytes.total() as f64 / seconds;
        if let Some(rows) = &mut self.seconds {
            let clients = self.shared.joined.load(Ordering::Relaxed);
            rows.push(seconds, clients, &tally.live, spent(self.shared));
        }
    }
}
