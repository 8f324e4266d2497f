//! A run from its first connection to its report: the only part of the harness with a clock and a network.
//!
//! Each bot is a task that owns its connection and a [`Bot`]; they share the truth, a tally per worker thread and
//! the phase of the run. What is decided about a client stands in [`crate::bot`]; what a run comes to, in
//! [`crate::summary`].

use crate::bot::{Bot, BotCounts};
use crate::cpu;
use crate::feed::{Feed, UNPOISONED};
use crate::header::Header;
use crate::options::BotsOptions;
use crate::progress::{Live, Phase, Progress};
use crate::report::Report;
use crate::sample::Tally;
use crate::summary::{self, Measured, Spent};
use anyhow::{Context, bail};
use myriad_client::ClientConfig;
use myriad_client::quic::{Connection, Connector, Waited, now_us};
use myriad_wire::client::Joined;
use myriad_wire::{EntityId, Tick};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Clients that share one UDP socket. A gateway sends all of a tick at once, and a socket that the system gives only
/// its usual 208 KiB holds some 90 full packets: those of more clients would be lost in every tick.
const CLIENTS_PER_SOCKET: u32 = 16;
/// Clients that join at the same time: more only wait for the server's handshakes.
const JOINING_MAX: usize = 64;
/// How long the truth trace may take to bring its first tick.
const FIRST_TICK_MAX: Duration = Duration::from_secs(10);
/// How long clients may take after the measurement until all they sent is applied.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// How much truth is still compared after the measurement, in seconds: no bot has looked farther ahead by then.
const END_AHEAD_S: f64 = 0.3;
/// How long all clients together may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at how the run stands.
const WATCH_PERIOD: Duration = Duration::from_millis(250);
/// The golden ratio's fraction: spreads the bots' ticks evenly whatever their number.
const SPREAD: f64 = 0.618_033_988_749_895;

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
    let (_wanted, mut unwanted) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("bots".into())
        .spawn(move || {
            let report = on_own_runtime(options, &progress, &mut unwanted);
            progress.finish();
            // Nobody listens if the caller gave up.
            let _unheard = done_tx.send(report);
        })
        .context("a thread for the bots")?;
    done.await.context("the bots' thread panicked")?
}

fn on_own_runtime(
    options: BotsOptions,
    progress: &Progress,
    unwanted: &mut oneshot::Receiver<()>,
) -> anyhow::Result<Report> {
    if options.servers.is_empty() || options.clients == 0 || options.workers == 0 {
        bail!("a run needs at least one server, one client and one worker");
    }
    let threads = Arc::new(Mutex::new(Vec::new()));
    let started = Arc::clone(&threads);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.workers)
        .thread_name("bots-net")
        .on_thread_start(move || started.lock().expect(UNPOISONED).push(cpu::thread_id()))
        .enable_all()
        .build()
        .context("the bots' runtime")?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = drive(options, progress, threads) => report,
            _ = unwanted => Err(anyhow::anyhow!("the run was given up")),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    report
}

/// What all bots share.
struct Shared {
    options: BotsOptions,
    feed: Arc<Feed>,
    connectors: Vec<Connector>,
    joining: Semaphore,
    is_measuring: AtomicBool,
    /// The last tick whose views are compared; zero until the measurement is over.
    end_tick: AtomicU64,
    is_settling: AtomicBool,
    is_done: AtomicBool,
    joined: AtomicU32,
    lost: AtomicU32,
    settled: AtomicU32,
    avatars: Mutex<Vec<(EntityId, Joined)>>,
    /// One per worker, so that they hardly ever wait for each other.
    tallies: Vec<Mutex<Tally>>,
}

/// What became of one client.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) join_s: Option<f64>,
    pub(crate) lost: Option<String>,
    pub(crate) counts: BotCounts,
    /// Why commands were refused, each with how often.
    pub(crate) refusals: Vec<(String, u32)>,
    /// Absent if the client did not live through the measurement.
    pub(crate) measured: Option<Measured>,
}

async fn drive(
    options: BotsOptions,
    progress: &Progress,
    threads: Arc<Mutex<Vec<u32>>>,
) -> anyhow::Result<Report> {
    let header = Header::collect(options.seconds);
    let feed = match &options.truth {
        Some(source) => first_tick(Feed::start(source)?).await?,
        None => Arc::default(),
    };
    let shared = Arc::new(Shared::new(options, feed)?);
    let mut sessions = JoinSet::new();
    for index in 0..shared.options.clients {
        sessions.spawn(session(Arc::clone(&shared), index));
    }
    let mut watch = Watch::new(&shared, progress);
    let clients = shared.options.clients;
    let all_joined =
        || shared.joined.load(Ordering::Relaxed) + shared.lost.load(Ordering::Relaxed) >= clients;
    watch
        .phase(Phase::Joining, shared.options.join_allowance, all_joined)
        .await?;
    watch
        .phase(Phase::Warmup, shared.options.warmup, || false)
        .await?;

    shared.begin_measuring();
    let threads = threads.lock().expect(UNPOISONED).clone();
    let before = Spent::now(&shared.options.server_pids, &threads, shared.feed.thread());
    let began = Instant::now();
    let measure = Duration::from_secs_f64(shared.options.seconds);
    watch.phase(Phase::Measuring, measure, || false).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = Spent::now(&shared.options.server_pids, &threads, shared.feed.thread());
    let trace = shared.end_measuring();

    let all_settled =
        || shared.settled.load(Ordering::Relaxed) + shared.lost.load(Ordering::Relaxed) >= clients;
    watch.phase(Phase::Settling, SETTLE_MAX, all_settled).await?;
    shared.is_done.store(true, Ordering::Relaxed);
    let outcomes = collect(sessions).await;

    let mut tally = Tally::default();
    for part in &shared.tallies {
        tally.merge(&part.lock().expect(UNPOISONED));
    }
    let found = summary::Found {
        header,
        options: &shared.options,
        joined: shared
            .avatars
            .lock()
            .expect(UNPOISONED)
            .first()
            .map(|(_, joined)| joined.clone()),
        seconds,
        outcomes,
        tally,
        trace,
        spent: after.since(&before),
    };
    let report = summary::report(found);
    if let Some(file) = &shared.options.json {
        report.write_json(file)?;
    }
    Ok(report)
}

/// Waits until the trace has told its first tick.
async fn first_tick(feed: Arc<Feed>) -> anyhow::Result<Arc<Feed>> {
    let deadline = Instant::now() + FIRST_TICK_MAX;
    while feed.truth.read().expect(UNPOISONED).newest().is_none() {
        if let Some(why) = feed.ended() {
            bail!("the truth trace ended at once: {why}");
        }
        if Instant::now() > deadline {
            bail!("the truth trace told no tick in {} s", FIRST_TICK_MAX.as_secs());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(feed)
}

async fn collect(mut sessions: JoinSet<Outcome>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let deadline = Instant::now() + GOODBYE_MAX;
    loop {
        match tokio::time::timeout_at(deadline, sessions.join_next()).await {
            Ok(Some(Ok(outcome))) => outcomes.push(outcome),
            Ok(Some(Err(error))) => outcomes.push(Outcome::lost(format!("harness: {error}"))),
            Ok(None) => return outcomes,
            Err(_) => {
                let stuck = sessions.len();
                outcomes.extend((0..stuck).map(|_| Outcome::lost("harness: stuck".into())));
                return outcomes;
            }
        }
    }
}

impl Outcome {
    fn lost(why: String) -> Self {
        Self {
            lost: Some(why),
            ..Self::default()
        }
    }
}

impl Shared {
    fn new(options: BotsOptions, feed: Arc<Feed>) -> anyhow::Result<Self> {
        let v6 = options.servers.iter().any(SocketAddr::is_ipv6);
        let local: SocketAddr = if v6 {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        };
        let connectors = (0..options.clients.div_ceil(CLIENTS_PER_SOCKET))
            .map(|_| Connector::bind(local, &options.trust))
            .collect::<Result<_, _>>()?;
        let tallies = (0..options.workers).map(|_| Mutex::default()).collect();
        Ok(Self {
            feed,
            connectors,
            joining: Semaphore::new(JOINING_MAX),
            is_measuring: AtomicBool::new(false),
            end_tick: AtomicU64::new(0),
            is_settling: AtomicBool::new(false),
            is_done: AtomicBool::new(false),
            joined: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            settled: AtomicU32::new(0),
            avatars: Mutex::default(),
            tallies,
            options,
        })
    }

    fn begin_measuring(&self) {
        let mut truth = self.feed.truth.write().expect(UNPOISONED);
        truth.restart_stats();
        let avatars = self.avatars.lock().expect(UNPOISONED);
        for (entity, joined) in avatars.iter() {
            truth.speeds.set_rules(joined.rules);
            if let Some(row) = truth.row(*entity) {
                truth.speeds.add_avatar(row);
            }
        }
        self.is_measuring.store(true, Ordering::Relaxed);
    }

    /// Takes what the trace said while measuring.
    fn end_measuring(&self) -> Option<summary::Trace> {
        self.is_measuring.store(false, Ordering::Relaxed);
        let truth = self.feed.truth.read().expect(UNPOISONED);
        let trace = truth.newest().zip(truth.clock()).map(|(newest, clock)| {
            let end = newest.tick + clock.ticks_in(END_AHEAD_S).max(1);
            self.end_tick.store(end.0, Ordering::Relaxed);
            summary::Trace {
                stats: truth.stats.clone(),
                speeds: truth.speeds.percentiles(),
                speeding: truth.speeds.speeding,
                entities: truth.entities_max,
            }
        });
        self.is_settling.store(true, Ordering::Relaxed);
        trace
    }

    fn end(&self) -> Option<Tick> {
        let end = self.end_tick.load(Ordering::Relaxed);
        (end > 0).then_some(Tick(end))
    }

    fn tally(&self, index: u32) -> &Mutex<Tally> {
        &self.tallies[index as usize % self.tallies.len()]
    }
}

/// Shows how the run stands, and notices when the truth trace ends too early.
struct Watch<'a> {
    shared: &'a Shared,
    progress: &'a Progress,
    live: Live,
    looked: Instant,
}

impl<'a> Watch<'a> {
    fn new(shared: &'a Shared, progress: &'a Progress) -> Self {
        let live = Live {
            clients: shared.options.clients,
            ..Live::default()
        };
        Self {
            shared,
            progress,
            live,
            looked: Instant::now(),
        }
    }

    /// Waits until the phase is over: after `total`, or once `is_over`.
    async fn phase(
        &mut self,
        phase: Phase,
        total: Duration,
        is_over: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < total && !is_over() {
            if let Some(why) = self.shared.feed.ended() {
                bail!("the truth trace ended before the run did: {why}");
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
            sleep(WATCH_PERIOD.min(total.saturating_sub(began.elapsed()))).await;
        }
        Ok(())
    }

    /// Takes the last second's figures out of the tallies.
    fn look(&mut self) {
        let seconds = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let mut tally = Tally::default();
        for part in &self.shared.tallies {
            let mut part = part.lock().expect(UNPOISONED);
            tally.live_ms.merge(&std::mem::take(&mut part.live_ms));
            tally.live_bytes += std::mem::take(&mut part.live_bytes);
        }
        let quantile = |share| tally.live_ms.quantile(share);
        self.live.staleness_ms = quantile(0.5).zip(quantile(0.99));
        self.live.bytes_per_s = tally.live_bytes as f64 / seconds;
    }
}

/// One client's life.
async fn session(shared: Arc<Shared>, index: u32) -> Outcome {
    let (mut connection, joined, join_s) = match join(&shared, index).await {
        Ok(joined) => joined,
        Err(why) => {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return Outcome::lost(why);
        }
    };
    shared.joined.fetch_add(1, Ordering::Relaxed);
    shared
        .avatars
        .lock()
        .expect(UNPOISONED)
        .push((joined.entity, joined.clone()));
    let mut life = Life::new(
        index,
        Bot::new(index, &shared.options, &joined),
        &joined,
        &shared.options,
    );
    let lost = life.live(&mut connection, &shared).await;
    if lost.is_some() {
        shared.lost.fetch_add(1, Ordering::Relaxed);
    }
    let refusals = std::mem::take(&mut life.bot.refusals);
    let counts = {
        let truth = shared.feed.truth.read().expect(UNPOISONED);
        let mut tally = shared.tally(index).lock().expect(UNPOISONED);
        life.bot.finish(connection.core(), now_us(), &truth, &mut tally)
    };
    if lost.is_none() {
        connection.leave().await;
    }
    Outcome {
        join_s: Some(join_s),
        lost,
        counts,
        refusals,
        measured: life.measured,
    }
}

/// Connects, logs in and joins, not too many at a time.
async fn join(shared: &Shared, index: u32) -> Result<(Connection, Joined, f64), String> {
    let allowance = shared.options.join_allowance;
    let deadline = Instant::now() + allowance;
    let _turn = timeout(allowance, shared.joining.acquire())
        .await
        .map_err(|_| "no turn to join in time".to_owned())?
        .map_err(|_| "the run is over".to_owned())?;
    let began = Instant::now();
    let options = &shared.options;
    let server = options.servers[index as usize % options.servers.len()];
    let connector = &shared.connectors[index as usize % shared.connectors.len()];
    let config = ClientConfig {
        account: format!("{}{index}", options.account_prefix),
        key: options.key.clone(),
        space: options.space,
        agent: concat!("myriad-bots/", env!("CARGO_PKG_VERSION")).into(),
    };
    let connecting = connector.connect(server, &options.server_name, config);
    let mut connection = tokio::time::timeout_at(deadline, connecting)
        .await
        .map_err(|_| "not connected in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let left = deadline.saturating_duration_since(Instant::now());
    connection.join(left).await.map_err(|error| error.to_string())?;
    let joined = connection.core().joined().cloned();
    let joined = joined.ok_or("joined without having joined")?;
    Ok((connection, joined, began.elapsed().as_secs_f64()))
}

/// A bot between its join and its goodbye.
struct Life {
    index: u32,
    bot: Bot,
    period: Duration,
    next: Instant,
    walks: bool,
    settled: bool,
    /// The counters at the start of the measurement.
    baseline: Option<Measured>,
    measured: Option<Measured>,
}

impl Life {
    fn new(index: u32, bot: Bot, joined: &Joined, options: &BotsOptions) -> Self {
        let hz = options.hz.unwrap_or_else(|| joined.clock.hz());
        let period = Duration::from_secs_f64(1.0 / hz);
        Self {
            index,
            bot,
            period,
            next: Instant::now() + period.mul_f64((f64::from(index) * SPREAD).fract()),
            walks: false,
            settled: false,
            baseline: None,
            measured: None,
        }
    }

    /// Until the run is done, or the session is over: then why.
    async fn live(&mut self, connection: &mut Connection, shared: &Shared) -> Option<String> {
        while !shared.is_done.load(Ordering::Relaxed) {
            let waited = connection.wait(self.next).await;
            if !self.bot.take_events(connection.core()) || waited == Waited::Closed {
                let reason = connection.core().closed();
                return Some(reason.map_or("closed", |reason| reason.label()).to_owned());
            }
            if Instant::now() >= self.next {
                self.tick(connection, shared);
                self.schedule();
            }
        }
        None
    }

    /// The time of the next tick. Ticks that are over already are left out: an honest client does not hurry.
    fn schedule(&mut self) {
        let late = Instant::now().saturating_duration_since(self.next);
        let skipped = (late.as_secs_f64() / self.period.as_secs_f64()) as u32;
        self.bot.counts.intents_skipped += u64::from(skipped);
        self.next += self.period * (skipped + 1);
    }

    fn tick(&mut self, connection: &mut Connection, shared: &Shared) {
        let is_measuring = shared.is_measuring.load(Ordering::Relaxed);
        let is_settling = shared.is_settling.load(Ordering::Relaxed);
        if is_measuring && self.baseline.is_none() {
            self.baseline = Some(Measured::now(connection));
        }
        if is_settling && self.measured.is_none() {
            let now = Measured::now(connection);
            self.measured = self.baseline.as_ref().map(|baseline| now.since(baseline));
        }
        let truth = shared.feed.truth.read().expect(UNPOISONED);
        if !self.walks {
            self.walks = self.bot.begin_walk(&truth);
        }
        if self.walks && !is_settling {
            self.bot.walk(connection.core());
            connection.flush();
        }
        let began_ns = cpu::thread_cpu_ns();
        let mut tally = shared.tally(self.index).lock().expect(UNPOISONED);
        let end = shared.end();
        self.bot
            .check(connection.core(), now_us(), &truth, is_measuring, end, &mut tally);
        if is_measuring {
            tally.verify_ns += cpu::thread_cpu_ns() - began_ns;
        }
        drop(tally);
        if is_settling && !self.settled && self.bot.is_settled(connection.core(), &truth, end) {
            self.settled = true;
            shared.settled.fetch_add(1, Ordering::Relaxed);
        }
    }
}
