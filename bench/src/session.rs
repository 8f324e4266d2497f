//! One client on its connection: from the first packet to its goodbye.
//!
//! It carries bytes between the connection and the SDK's core, and gives its [`Bot`] its ticks. The worker says when;
//! nothing here waits.

use crate::bot::Bot;
use crate::feed::UNPOISONED;
use crate::options::BotsOptions;
use crate::sample::Tally;
use crate::shared::{Outcome, Shared};
use crate::summary::Measured;
use crate::tracks::Tracks;
use crate::truth::Truth;
use bytes::Bytes;
use myriad_client::quic::{close_reason, now_us};
use myriad_client::{Client, ClientConfig, CrowdEdges, DEFAULT_IDENTITIES_PER_S};
use myriad_transport::quic::{ConnectionError, Dir, StreamId, VarInt};
use myriad_transport::{ConnectionKey, ConnectionMut, Read, SendQueue};
use myriad_wire::{CloseReason, Tick};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Most bytes taken off the stream at a time.
const READ_BYTES_MAX: usize = 64 * 1024;
/// How long a goodbye waits for the server to close.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long after the end of the stream the server may take to say why it closes: longer than it waits for its last
/// words to be acknowledged.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The golden ratio's fraction: spreads the bots' ticks evenly whatever their number.
const SPREAD: f64 = 0.618_033_988_749_895;
/// Periods that a client waits for a tick before it acts without one.
const ANSWER_PERIODS: f64 = 1.5;
/// Steps that a client may take in a row after it was held up: it does not make up for more. The server grants five, for
/// what the network holds up besides.
const HURRY_STEPS_MAX: f64 = 2.0;
/// What a slow client reads of what it is sent: one part in so many.
const SLOW_ONE_IN: u64 = 10;

/// Something that came for a client.
pub(crate) enum Arrival {
    Stream(Bytes),
    Datagram(Bytes),
    /// The server has ended the stream; it may still say why.
    StreamEnd,
    /// The stream is of no use any more.
    Broken,
    /// The deadline has passed that was set last.
    TimeUp,
    Lost(ConnectionError),
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Until its avatar is in the world.
    Joining,
    Living,
    /// It has said goodbye; the comparisons are over.
    Leaving,
}

/// One client on its connection.
pub(crate) struct Session {
    pub(crate) key: ConnectionKey,
    pub(crate) account: u32,
    pub(crate) stage: Stage,
    pub(crate) began: Instant,
    /// Reads slowly, and does so now.
    pub(crate) is_slow: bool,
    /// Is one of those that read slowly while it is measured.
    pub(crate) is_slow_reader: bool,
    pub(crate) has_unread: bool,
    pub(crate) has_datagrams: bool,
    /// From its join to its goodbye.
    pub(crate) life: Option<Box<Life>>,
    core: Client,
    stream: Option<StreamId>,
    /// The server has ended the stream.
    has_ended: bool,
    unsent: SendQueue,
    /// Bytes that a slow client may read.
    allowance: f64,
    /// What it came to, once it has said goodbye.
    outcome: Option<Outcome>,
    lost: Option<String>,
}

/// A bot between its join and its goodbye.
pub(crate) struct Life {
    pub(crate) bot: Bot,
    pub(crate) period: Duration,
    joined_s: f64,
    ticks: u64,
    walks: bool,
    /// It acts when a tick's payload comes: it has as many ticks a second as the server.
    answers: bool,
    /// The newest tick that it has acted in.
    acted: Option<Tick>,
    acted_at: Instant,
    /// Steps that it may take: one more each period.
    steps_due: f64,
    settled: bool,
    covered: Option<(f64, f64)>,
    /// The counters at the start of the measurement.
    baseline: Option<Measured>,
    measured: Option<Measured>,
}

impl Session {
    pub(crate) fn new(account: u32, key: ConnectionKey, options: &BotsOptions, now: Instant) -> Self {
        let config = ClientConfig {
            account: format!("{}{account}", options.account_prefix),
            key: options.key.clone(),
            space: options.space,
            agent: concat!("myriad-bots/", env!("CARGO_PKG_VERSION")).into(),
            identities_per_s: DEFAULT_IDENTITIES_PER_S,
            // Each is compared with the truth.
            crowd_edges: CrowdEdges::Together,
        };
        Self {
            key,
            account,
            stage: Stage::Joining,
            began: now,
            is_slow: false,
            is_slow_reader: account < options.slow,
            has_unread: false,
            has_datagrams: false,
            life: None,
            core: Client::new(config),
            stream: None,
            has_ended: false,
            unsent: SendQueue::default(),
            allowance: 0.0,
            outcome: None,
            lost: None,
        }
    }

    /// The handshake is done.
    pub(crate) fn connected(
        &mut self,
        connection: &mut ConnectionMut<'_>,
        options: &BotsOptions,
        now: Instant,
    ) -> Result<(), &'static str> {
        if connection.datagram_bytes_max().is_none() {
            return Err("the server takes no datagrams");
        }
        self.stream = Some(connection.open(Dir::Bi).ok_or("the server allows no stream")?);
        connection.set_alarm(Some(self.began.max(now) + options.join_allowance));
        self.flush(connection);
        Ok(())
    }

    /// Reads at most `bytes_max` off the stream. Answers how many it were.
    pub(crate) fn read_stream(
        &mut self,
        connection: &mut ConnectionMut<'_>,
        bytes_max: usize,
        mut each: impl FnMut(Arrival),
    ) -> u64 {
        let Some(stream) = self.stream else { return 0 };
        let mut left = bytes_max;
        while left > 0 {
            match connection.read(stream, READ_BYTES_MAX.min(left)) {
                Read::Chunk(bytes) => {
                    left -= bytes.len();
                    each(Arrival::Stream(bytes));
                }
                Read::Blocked => {
                    self.has_unread = false;
                    break;
                }
                Read::Finished => {
                    // It ends the stream before it closes, so that its last messages are not lost.
                    connection.set_alarm(Some(Instant::now() + LAST_WORDS));
                    each(Arrival::StreamEnd);
                    break;
                }
                Read::Reset => {
                    each(Arrival::Broken);
                    break;
                }
            }
        }
        (bytes_max - left) as u64
    }

    /// A tick of a slow client: it reads a tenth of what others read, and one datagram in ten ticks.
    pub(crate) fn read_slowly(
        &mut self,
        connection: &mut ConnectionMut<'_>,
        bytes_per_tick: f64,
        is_settling: bool,
        mut each: impl FnMut(Arrival),
    ) {
        let ticks = self.life.as_ref().map_or(0, |life| life.ticks);
        // Before the measurement and after it, it reads like everybody else.
        let was_measured = self.life.as_ref().is_some_and(|life| life.baseline.is_some());
        self.is_slow = was_measured && !is_settling;
        if !self.is_slow {
            if self.has_unread {
                self.read_stream(connection, usize::MAX, &mut each);
            }
            if std::mem::take(&mut self.has_datagrams) {
                while let Some(datagram) = connection.receive_datagram() {
                    each(Arrival::Datagram(datagram));
                }
            }
            return;
        }
        let most = 2.0 * bytes_per_tick + 1024.0;
        self.allowance = (self.allowance + bytes_per_tick / SLOW_ONE_IN as f64).min(most);
        if self.has_unread && self.allowance >= 1.0 {
            let read = self.read_stream(connection, self.allowance as usize, &mut each);
            self.allowance -= read as f64;
        }
        if self.has_datagrams && ticks.is_multiple_of(SLOW_ONE_IN) {
            self.has_datagrams = false;
            let mut newest = None;
            while let Some(datagram) = connection.receive_datagram() {
                newest = Some(datagram);
            }
            if let Some(datagram) = newest {
                each(Arrival::Datagram(datagram));
            }
        }
    }

    /// The core takes in what came, and tells the bot what it makes of it.
    pub(crate) fn take(&mut self, arrival: Arrival, now_us: u64, tracks: &mut Tracks) {
        match arrival {
            Arrival::Stream(bytes) => self.core.handle_stream(&bytes, now_us),
            Arrival::Datagram(datagram) => match &mut self.life {
                Some(life) => life.bot.take_datagram(&mut self.core, datagram, now_us, tracks),
                None => self.core.handle_datagram(datagram, now_us),
            },
            Arrival::StreamEnd => self.has_ended = true,
            Arrival::Broken => self.core.handle_closed(CloseReason::Lost),
            // Of one that has not joined yet the join took too long.
            Arrival::TimeUp if self.stage == Stage::Joining => {
                self.lost.get_or_insert_with(|| "not joined in time".into());
            }
            // The deadline of its join is of no interest any more.
            Arrival::TimeUp if self.stage == Stage::Living && !self.has_ended => {}
            Arrival::TimeUp => self.core.handle_closed(CloseReason::Lost),
            Arrival::Lost(error) => {
                if self.stage == Stage::Joining && self.core.joined().is_none() && self.stream.is_none() {
                    self.lost.get_or_insert_with(|| format!("connecting: {error}"));
                }
                self.core.handle_closed(close_reason(&error));
            }
        }
        if let Some(life) = &mut self.life {
            life.bot.take_events(&mut self.core, tracks);
        } else if self.stage == Stage::Leaving {
            while self.core.poll_event().is_some() {}
        }
    }

    /// Whether the avatar has just come into the world: then ticks begin.
    pub(crate) fn begin_life(&mut self, shared: &Shared, now: Instant) -> bool {
        if self.stage != Stage::Joining || self.lost.is_some() {
            return false;
        }
        let Some(joined) = self.core.joined() else {
            return false;
        };
        shared.joined.fetch_add(1, Ordering::Relaxed);
        shared.avatars.lock().expect(UNPOISONED).push(joined.entity);
        shared
            .first_joined
            .lock()
            .expect(UNPOISONED)
            .get_or_insert_with(|| joined.clone());
        let hz = shared.options.hz.unwrap_or_else(|| joined.clock.hz());
        let joined_s = now.duration_since(self.began).as_secs_f64();
        let mut bot = Bot::new(self.account, &shared.options, joined);
        if self.account >= shared.options.clients {
            bot.set_replacement(joined_s);
        }
        self.life = Some(Box::new(Life {
            bot,
            period: Duration::from_secs_f64(1.0 / hz),
            joined_s,
            ticks: 0,
            walks: false,
            answers: !self.is_slow_reader && hz == joined.clock.hz(),
            acted: None,
            acted_at: now,
            steps_due: HURRY_STEPS_MAX,
            settled: false,
            covered: None,
            baseline: None,
            measured: None,
        }));
        self.stage = Stage::Living;
        true
    }

    /// When its first tick is.
    pub(crate) fn next_tick(&self, now: Instant) -> Instant {
        let period = self.life.as_ref().map_or(Duration::ZERO, |life| life.period);
        now + period.mul_f64((f64::from(self.account) * SPREAD).fract())
    }

    /// The tick that was due at `at` is its turn now: when the next one is. Ticks that are over already are left out:
    /// an honest client does not hurry. `None` once there are none.
    pub(crate) fn schedule(&mut self, at: Instant, now: Instant) -> Option<Instant> {
        let life = self.life.as_mut()?;
        life.ticks += 1;
        let late = now.saturating_duration_since(at);
        let skipped = (late.as_secs_f64() / life.period.as_secs_f64()) as u32;
        if !life.answers {
            life.bot.counts.intents_skipped += u64::from(skipped);
        }
        Some(at + life.period * (skipped + 1))
    }

    /// Notes what it had received when the measurement began, and when it ended.
    pub(crate) fn note_measured(&mut self, shared: &Shared, connection: &ConnectionMut<'_>) {
        let Some(life) = &mut self.life else { return };
        if life.baseline.is_none() && shared.is_measuring.load(Ordering::Relaxed) {
            life.baseline = Some(Measured::now(&self.core, &connection.stats()));
        }
        if life.measured.is_none() && shared.is_settling.load(Ordering::Relaxed) {
            life.note_end(&self.core, connection);
        }
    }

    /// If a tick's payload has come, the player takes its step at once: the acknowledgement then travels with it, one
    /// packet less. Ticks that came late together are answered once, since an honest client does not hurry.
    pub(crate) fn answer(&mut self, is_settling: bool, now: Instant) {
        let (Some(life), Some(seen)) = (&mut self.life, self.core.seen_tick()) else {
            return;
        };
        if !life.answers || !life.walks || is_settling || life.acted.is_some_and(|acted| acted >= seen) {
            return;
        }
        if let Some(acted) = life.acted {
            life.bot.counts.intents_skipped += seen.since(acted) - 1;
        }
        life.acted = Some(seen);
        life.act(&mut self.core, now);
    }

    /// A tick of its own: a step if no payload has called for one lately, and now and then a command. Nobody walks while
    /// what is under way still arrives.
    pub(crate) fn walk(
        &mut self,
        connection: &mut ConnectionMut<'_>,
        truth: &Truth,
        is_settling: bool,
        now: Instant,
    ) {
        let Some(life) = &mut self.life else { return };
        self.core.advance(now_us());
        if !life.walks {
            life.walks = life.bot.begin_walk(truth);
            if life.walks {
                connection.set_alarm(None);
            }
        }
        let waits = life.answers && now.duration_since(life.acted_at) < life.period.mul_f64(ANSWER_PERIODS);
        if life.walks && !is_settling && !waits {
            // In place of the answer to a tick that did not come.
            life.acted = life.acted.map(|acted| acted + 1).or(self.core.seen_tick());
            life.act(&mut self.core, now);
        }
        self.flush(connection);
    }

    /// The comparison with the truth.
    pub(crate) fn verify(
        &mut self,
        shared: &Shared,
        truth: &Truth,
        tracks: &mut Tracks,
        (at_us, now): (u64, Instant),
        tally: &mut Tally,
    ) {
        let Some(life) = &mut self.life else { return };
        let is_measuring = shared.is_measuring.load(Ordering::Relaxed);
        let end = shared.end();
        life.bot.take_events(&mut self.core, tracks);
        life.bot
            .check(&self.core, at_us, truth, is_measuring, end, tracks, tally);
        if life.covered.is_none() && life.bot.is_covered() {
            let since = |from: Instant| now.duration_since(from).as_secs_f64();
            life.covered = Some((since(self.began), since(shared.started)));
            if self.account < shared.options.clients && !self.is_slow_reader {
                shared.covered.fetch_add(1, Ordering::Relaxed);
            }
        }
        let is_settling = shared.is_settling.load(Ordering::Relaxed);
        if is_settling && !life.settled && life.bot.is_settled(&self.core, truth, end) {
            life.settled = true;
            shared.settled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says goodbye: what the client found stands. `early`: the run goes on without it.
    pub(crate) fn leave(
        &mut self,
        early: bool,
        connection: &mut ConnectionMut<'_>,
        shared: &Shared,
        worker: u32,
    ) {
        let Some(mut life) = self.life.take() else { return };
        if early && life.measured.is_none() {
            life.note_end(&self.core, connection);
        }
        self.outcome = Some(self.outcome_of(*life, early, shared, worker));
        self.stage = Stage::Leaving;
        if early {
            shared.joined.fetch_sub(1, Ordering::Relaxed);
        }
        self.core.leave();
        self.flush(connection);
        connection.set_alarm(Some(Instant::now() + GOODBYE));
    }

    fn outcome_of(&self, life: Life, early: bool, shared: &Shared, worker: u32) -> Outcome {
        let truth = shared.feed.truth.read().expect(UNPOISONED);
        let mut tallies = shared.tallies[worker as usize].lock().expect(UNPOISONED);
        let Life { mut bot, .. } = life;
        let refusals = std::mem::take(&mut bot.refusals);
        let tally = if self.is_slow_reader {
            &mut tallies.slow
        } else {
            &mut tallies.main
        };
        Outcome {
            join_s: Some(life.joined_s),
            covered_s: life.covered.map(|(own, _)| own),
            covered_at_s: life
                .covered
                .map(|(_, at)| at)
                .filter(|_| self.account < shared.options.clients),
            lost: None,
            counts: bot.finish(&self.core, now_us(), &truth, early, tally),
            refusals,
            measured: life.measured,
            slow: self.is_slow_reader,
            churned: early || self.account >= shared.options.clients,
        }
    }

    /// `Some` once the session is over: `Some(None)` if it was its own wish.
    #[expect(clippy::option_option, reason = "over or not, and if it is, lost or not")]
    pub(crate) fn fate(&mut self) -> Option<Option<String>> {
        if let Some(lost) = self.lost.take() {
            return Some(Some(lost));
        }
        let reason = self.core.closed()?;
        Some((self.stage != Stage::Leaving).then(|| reason.label().to_owned()))
    }

    /// Hands what the core has to send to the connection.
    pub(crate) fn flush(&mut self, connection: &mut ConnectionMut<'_>) {
        while let Some(datagram) = self.core.poll_datagram() {
            // If it cannot be sent it is lost, as any datagram may be; a lost connection shows when reading.
            let _lost = connection.send_datagram(datagram.into());
        }
        if let Some(bytes) = self.core.poll_stream() {
            self.unsent.push(bytes.into());
        }
        if let Some(stream) = self.stream
            && !self.unsent.is_empty()
        {
            // A stream that the server has stopped ends the session, which shows when reading.
            let _unwritten = self.unsent.write(connection, stream);
        }
    }

    pub(crate) fn close(&self, connection: &mut ConnectionMut<'_>) {
        let reason = self.core.closed().unwrap_or(CloseReason::Left);
        connection.close(VarInt::from_u32(reason.code()), Bytes::new());
    }

    /// What became of it.
    pub(crate) fn finish(mut self: Box<Self>, lost: Option<String>, shared: &Shared, worker: u32) -> Outcome {
        if lost.is_some() && self.stage != Stage::Leaving {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        let outcome = match (self.outcome.take(), self.life.take()) {
            (Some(outcome), _) => return outcome,
            (None, Some(life)) => self.outcome_of(*life, false, shared, worker),
            (None, None) => Outcome {
                slow: self.is_slow_reader,
                churned: self.account >= shared.options.clients,
                ..Outcome::default()
            },
        };
        Outcome { lost, ..outcome }
    }
}

impl Life {
    /// The player takes a step, unless too many came just before.
    fn act(&mut self, core: &mut Client, now: Instant) {
        let periods = now.duration_since(self.acted_at).as_secs_f64() / self.period.as_secs_f64();
        self.acted_at = now;
        self.steps_due = (self.steps_due + periods).min(HURRY_STEPS_MAX);
        if self.steps_due < 1.0 {
            self.bot.counts.intents_skipped += 1;
            return;
        }
        self.steps_due -= 1.0;
        self.bot.walk(core);
    }

    fn note_end(&mut self, core: &Client, connection: &ConnectionMut<'_>) {
        let now = Measured::now(core, &connection.stats());
        self.measured = self.baseline.as_ref().map(|baseline| now.since(baseline));
    }
}
