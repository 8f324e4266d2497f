//! One thread of clients: a driver of their connections, and their turns.
//!
//! A turn of the loop has four sections, one after the other over all clients that have something to do, so that the
//! thread's CPU clock is read five times a turn whatever the number of clients, and what each section cost is
//! measured, not estimated: *net* (packets, acknowledgements, bytes off the streams), *decode* (the SDK takes in what
//! came and tells it), *walk* (steps of those whose tick it is; counts as net), *verify* (the comparison with the
//! truth). What is decided about one client stands in [`crate::session`] and [`crate::bot`].
//!
//! Cost per client and tick beside QUIC: finding its turn ~0.3 us, handing on what came ~0.3 us; see
//! [`crate::sample`] for the rest.

use crate::cpu;
use crate::feed::UNPOISONED;
use crate::options::Decode;
use crate::session::{Arrival, Session, Stage};
use crate::shared::{Outcome, Shared};
use crate::tracks::Tracks;
use anyhow::Context;
use myriad_client::quic::now_us;
use myriad_transport::{ConnectionKey, Driver, DriverConfig, Event, SocketId, bind_udp};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Clients of a worker that join at the same time: more only wait for the server's handshakes.
const JOINING_MAX: u32 = 400;
/// Asked of the system for each socket, each way. It may give less (on Linux, `net.core.rmem_max`).
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How long all clients together may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(10);
/// The longest wait: how far the run is must be noticed.
const TURN_MAX: Duration = Duration::from_millis(20);
/// Sockets are replaced one after the other between these shares of the measurement.
const REBIND_SHARES: (f64, f64) = (0.2, 0.6);
/// How long a client of a churning crowd stays at least.
const STAY_MIN: Duration = Duration::from_secs(3);

/// One thread of clients.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    index: u32,
    driver: Driver,
    sockets: Vec<SocketId>,
    /// Those that were not yet replaced, if they are to be.
    rebinding: VecDeque<SocketId>,
    /// Places are reused; who is over is taken out.
    sessions: Vec<Option<Box<Session>>>,
    /// By the connection's dense number: the session's place.
    places: Vec<u32>,
    /// Clients that have not begun to connect: place and account.
    waiting: VecDeque<(u32, u32)>,
    joining: u32,
    /// Whose tick is due when.
    ticks: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Reused: what came in this turn, and whose turn it is.
    arrivals: Vec<(u32, Arrival)>,
    due: Vec<u32>,
    /// By gateway: each has handles and tracks of its own.
    tracks: Vec<Tracks>,
    /// Bytes per client and tick off the streams of those that read normally, lately.
    stream_bytes_per_tick: f64,
    stream_bytes: u64,
    stream_from: Instant,
    udp_bytes_shown: u64,
    rng: Pcg32,
    churned: f64,
    churn_from: Option<Instant>,
    /// Since when everybody says goodbye.
    leaving_since: Option<Instant>,
    outcomes: Vec<Outcome>,
}

impl Worker {
    /// Worker `index`, with its share of the clients.
    pub(crate) fn new(shared: Arc<Shared>, index: u32) -> anyhow::Result<Self> {
        let options = &shared.options;
        let config = DriverConfig {
            handshake_timeout: options.join_allowance,
            ..DriverConfig::default()
        };
        let mut driver = Driver::new(config).context("a driver of connections")?;
        let workers = options.workers as u32;
        let waiting: VecDeque<_> = (index..options.clients)
            .step_by(options.workers)
            .enumerate()
            .map(|(place, client)| (place as u32, client))
            .collect();
        let count = (waiting.len() as u32).div_ceil(options.clients_per_socket).max(1);
        let sockets = (0..count)
            .map(|_| driver.add_socket(bind(&options.servers)?))
            .collect::<Result<Vec<_>, _>>()
            .context("a UDP socket")?;
        let decode = options.decode();
        let now = Instant::now();
        Ok(Self {
            rebinding: if options.rebind {
                sockets.iter().copied().collect()
            } else {
                VecDeque::new()
            },
            sessions: (0..waiting.len()).map(|_| None).collect(),
            places: Vec::new(),
            joining: 0,
            ticks: BinaryHeap::new(),
            arrivals: Vec::new(),
            due: Vec::new(),
            tracks: (0..options.gateway_count())
                .map(|_| Tracks::new(decode == Decode::Interned, options))
                .collect(),
            stream_bytes_per_tick: 0.0,
            stream_bytes: 0,
            stream_from: now,
            udp_bytes_shown: 0,
            rng: Pcg32::seed_from_u64(options.seed ^ u64::from(index + workers)),
            churned: 0.0,
            churn_from: None,
            leaving_since: None,
            outcomes: Vec::new(),
            sockets,
            waiting,
            driver,
            index,
            shared,
        })
    }

    /// Until the run is over, and everybody has said goodbye.
    pub(crate) fn run(mut self) -> anyhow::Result<Vec<Outcome>> {
        self.shared
            .threads
            .lock()
            .expect(UNPOISONED)
            .push(cpu::thread_id());
        while !self.shared.is_aborted.load(Ordering::Relaxed) && !self.is_over() {
            self.turn()?;
        }
        // What was sent last goes out.
        self.driver
            .turn(Some(Instant::now()))
            .context("a driver's turn")?;
        for place in 0..self.sessions.len() as u32 {
            self.end(place, Some("harness: stuck".into()));
        }
        Ok(self.outcomes)
    }

    fn is_over(&self) -> bool {
        let is_late = self
            .leaving_since
            .is_some_and(|since| since.elapsed() > GOODBYE_MAX);
        is_late || self.leaving_since.is_some() && self.sessions.iter().all(Option::is_none)
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        let began_ns = cpu::thread_cpu_ns();
        let soon = Instant::now() + TURN_MAX;
        let until = self.ticks.peek().map_or(soon, |Reverse((at, _))| soon.min(*at));
        self.driver.turn(Some(until)).context("a driver's turn")?;
        self.take_driver_events();
        let netted_ns = cpu::thread_cpu_ns();
        self.decode();
        let decoded_ns = cpu::thread_cpu_ns();
        let now = Instant::now();
        self.follow_run(now);
        self.begin_joins(now);
        self.walk(now);
        let walked_ns = cpu::thread_cpu_ns();
        self.verify(now);
        let verified_ns = cpu::thread_cpu_ns();
        if self.shared.is_measuring.load(Ordering::Relaxed) {
            let mut tallies = self.shared.tallies[self.index as usize].lock().expect(UNPOISONED);
            let tally = &mut tallies.main;
            let bots_ns = (walked_ns - decoded_ns) + (netted_ns - began_ns);
            tally.spend(bots_ns, decoded_ns - netted_ns, verified_ns - walked_ns);
        }
        Ok(())
    }

    // Net.

    fn take_driver_events(&mut self) {
        while let Some((key, event)) = self.driver.poll_event() {
            let Some(place) = self.place(key) else { continue };
            match event {
                Event::Connected => self.connected(place),
                Event::Readable(_) => self.read_stream(place),
                Event::Datagrams => self.read_datagrams(place),
                Event::Writable(_) => self.flush(place),
                Event::Lost(error) => {
                    self.read_stream(place);
                    self.arrivals.push((place, Arrival::Lost(error)));
                }
                Event::Alarm => self.arrivals.push((place, Arrival::TimeUp)),
                Event::Stopped(..) => self.arrivals.push((place, Arrival::Broken)),
                Event::Opened(_) | Event::Finished(_) | Event::Available(_) => {}
            }
        }
        let received = self.driver.counters().received_bytes;
        let fresh = received - std::mem::replace(&mut self.udp_bytes_shown, received);
        if fresh > 0 {
            let mut tallies = self.shared.tallies[self.index as usize].lock().expect(UNPOISONED);
            tallies.main.live.udp_bytes += fresh;
        }
    }

    fn place(&self, key: ConnectionKey) -> Option<u32> {
        let place = *self.places.get(key.index())?;
        let session = self.sessions.get(place as usize)?.as_ref()?;
        (session.key == key).then_some(place)
    }

    fn connected(&mut self, place: u32) {
        let Some(session) = &mut self.sessions[place as usize] else {
            return;
        };
        let opened = match self.driver.connection(session.key) {
            Some(mut connection) => session.connected(&mut connection, &self.shared.options, Instant::now()),
            None => Err("closed"),
        };
        if let Err(why) = opened {
            self.end(place, Some(why.to_owned()));
        }
    }

    fn read_stream(&mut self, place: u32) {
        let Some(session) = &mut self.sessions[place as usize] else {
            return;
        };
        if session.is_slow {
            session.has_unread = true;
        } else if let Some(mut connection) = self.driver.connection(session.key) {
            let arrivals = &mut self.arrivals;
            self.stream_bytes += session.read_stream(&mut connection, usize::MAX, |arrival| {
                arrivals.push((place, arrival));
            });
        }
    }

    fn read_datagrams(&mut self, place: u32) {
        let Some(session) = &mut self.sessions[place as usize] else {
            return;
        };
        if session.is_slow {
            session.has_datagrams = true;
        } else if let Some(mut connection) = self.driver.connection(session.key) {
            while let Some(datagram) = connection.receive_datagram() {
                self.arrivals.push((place, Arrival::Datagram(datagram)));
            }
        }
    }

    /// Sends what the client has to send.
    fn flush(&mut self, place: u32) {
        if let Some(session) = &mut self.sessions[place as usize]
            && let Some(mut connection) = self.driver.connection(session.key)
        {
            session.flush(&mut connection);
        }
    }

    // Decode.

    fn decode(&mut self) {
        if self.arrivals.is_empty() {
            return;
        }
        let arrived_us = now_us();
        for tracks in &mut self.tracks {
            tracks.draw(arrived_us);
        }
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut last = None;
        for (place, arrival) in arrivals.drain(..) {
            if last.is_some_and(|last| last != place) {
                self.settle_arrivals(last);
            }
            last = Some(place);
            let Some(session) = &mut self.sessions[place as usize] else {
                continue;
            };
            let gateway = session.account as usize % self.tracks.len();
            session.take(arrival, arrived_us, &mut self.tracks[gateway]);
        }
        self.settle_arrivals(last);
        self.arrivals = arrivals;
    }

    /// What came for a client has been taken in: what it has to say, and what has become of it.
    fn settle_arrivals(&mut self, place: Option<u32>) {
        let Some(place) = place else { return };
        let Some(session) = &mut self.sessions[place as usize] else {
            return;
        };
        let now = Instant::now();
        if session.begin_life(&self.shared, now) {
            let next = session.next_tick(now);
            self.ticks.push(Reverse((next, place)));
            self.joining -= 1;
        }
        session.answer(self.shared.is_settling.load(Ordering::Relaxed), now);
        match session.fate() {
            Some(lost) => self.end(place, lost),
            None => self.flush(place),
        }
    }

    /// The session is over; `lost`: before its time.
    fn end(&mut self, place: u32, lost: Option<String>) {
        let Some(session) = self.sessions[place as usize].take() else {
            return;
        };
        self.joining -= u32::from(matches!(session.stage, Stage::Joining));
        if let Some(mut connection) = self.driver.connection(session.key) {
            session.close(&mut connection);
        }
        let outcome = session.finish(lost, &self.shared, self.index);
        self.outcomes.push(outcome);
    }

    // Walk.

    /// Does what the phase of the run calls for.
    fn follow_run(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        if shared.is_done.load(Ordering::Relaxed) {
            if self.leaving_since.is_none() {
                self.leaving_since = Some(now);
                self.leave_all();
            }
            return;
        }
        let seconds = now.duration_since(self.stream_from).as_secs_f64();
        if seconds >= 1.0 {
            self.note_stream_rate(seconds, now);
        }
        if let Some(from_us) = shared
            .measuring_from_us()
            .filter(|_| shared.is_measuring.load(Ordering::Relaxed))
        {
            let share = now_us().saturating_sub(from_us) as f64 / 1e6 / shared.options.seconds;
            self.rebind(share);
            self.churn(now);
        }
    }

    fn note_stream_rate(&mut self, seconds: f64, now: Instant) {
        let mut ticks_per_s = 0.0;
        for session in self.sessions.iter().flatten() {
            if let Some(life) = session.life.as_ref().filter(|_| !session.is_slow) {
                ticks_per_s += 1.0 / life.period.as_secs_f64();
            }
        }
        if ticks_per_s > 0.0 {
            self.stream_bytes_per_tick = self.stream_bytes as f64 / seconds / ticks_per_s;
        }
        self.stream_bytes = 0;
        self.stream_from = now;
    }

    fn rebind(&mut self, share: f64) {
        let (from, to) = REBIND_SHARES;
        let done = ((share - from) / (to - from)).clamp(0.0, 1.0);
        let left = (self.sockets.len() as f64 * (1.0 - done)) as usize;
        while self.rebinding.len() > left {
            let Some(id) = self.rebinding.pop_front() else {
                return;
            };
            // Without a fresh socket the clients go on with the old one; `datagrams` then shows no new address.
            if let Ok(socket) = bind(&self.shared.options.servers) {
                let _kept = self.driver.rebind(id, socket);
            }
        }
    }

    /// Lets clients go and new ones come, in their places.
    fn churn(&mut self, now: Instant) {
        let rate = self.shared.options.churn_per_s / self.shared.options.workers as f64;
        if rate <= 0.0 {
            return;
        }
        let from = *self.churn_from.get_or_insert(now);
        let wanted = now.duration_since(from).as_secs_f64() * rate;
        while self.churned < wanted {
            self.churned += 1.0;
            let place = self.rng.random_range(0..self.sessions.len()) as u32;
            let can_leave = |session: &Session| {
                session.life.is_some() && !session.is_slow_reader && session.began.elapsed() >= STAY_MIN
            };
            if self.sessions[place as usize].as_deref().is_some_and(can_leave) {
                self.leave(place, true);
                let account = self.shared.next_account.fetch_add(1, Ordering::Relaxed);
                self.waiting.push_back((self.sessions.len() as u32, account));
                self.sessions.push(None);
            }
        }
    }

    fn leave_all(&mut self) {
        let never = std::mem::take(&mut self.waiting);
        for (_, account) in never {
            if account < self.shared.options.clients {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
                self.outcomes.push(Outcome {
                    lost: Some("no turn to join in time".into()),
                    ..Outcome::default()
                });
            }
        }
        for place in 0..self.sessions.len() as u32 {
            self.leave(place, false);
        }
    }

    /// A client says goodbye; one that has not joined is lost.
    fn leave(&mut self, place: u32, early: bool) {
        let Some(session) = &mut self.sessions[place as usize] else {
            return;
        };
        if session.life.is_none() && !matches!(session.stage, Stage::Leaving) {
            let is_newcomer = session.account >= self.shared.options.clients;
            self.end(place, (!is_newcomer).then(|| "not joined in time".into()));
            return;
        }
        if let Some(mut connection) = self.driver.connection(session.key) {
            session.leave(early, &mut connection, &self.shared, self.index);
        }
    }

    fn begin_joins(&mut self, now: Instant) {
        while self.joining < JOINING_MAX {
            let Some((place, account)) = self.waiting.pop_front() else {
                return;
            };
            let socket =
                self.sockets[(place / self.shared.options.clients_per_socket) as usize % self.sockets.len()];
            let options = &self.shared.options;
            let server = options.servers[account as usize % options.servers.len()];
            let config = self.shared.dialer.config();
            match self.driver.connect(socket, config, server, &options.server_name) {
                Ok(key) => {
                    if self.places.len() <= key.index() {
                        self.places.resize(key.index() + 1, u32::MAX);
                    }
                    self.places[key.index()] = place;
                    self.sessions[place as usize] = Some(Box::new(Session::new(account, key, options, now)));
                    self.joining += 1;
                }
                Err(error) => {
                    self.shared.lost.fetch_add(1, Ordering::Relaxed);
                    self.outcomes.push(Outcome {
                        lost: Some(error.to_string()),
                        ..Outcome::default()
                    });
                }
            }
        }
    }

    /// Steps of those whose tick it is.
    fn walk(&mut self, now: Instant) {
        self.due.clear();
        while let Some(Reverse((at, place))) = self.ticks.peek().copied()
            && at <= now
        {
            self.ticks.pop();
            let Some(session) = &mut self.sessions[place as usize] else {
                continue;
            };
            if let Some(next) = session.schedule(at, now) {
                self.ticks.push(Reverse((next, place)));
                self.due.push(place);
            }
        }
        if self.due.is_empty() {
            return;
        }
        let is_settling = self.shared.is_settling.load(Ordering::Relaxed);
        let truth = self.shared.feed.truth.read().expect(UNPOISONED);
        for place in &self.due {
            let Some(session) = &mut self.sessions[*place as usize] else {
                continue;
            };
            let Some(mut connection) = self.driver.connection(session.key) else {
                continue;
            };
            session.note_measured(&self.shared, &connection);
            session.walk(&mut connection, &truth, is_settling, now);
            if session.is_slow_reader {
                let bytes = self.stream_bytes_per_tick;
                let place = *place;
                let arrivals = &mut self.arrivals;
                session.read_slowly(&mut connection, bytes, is_settling, |arrival| {
                    arrivals.push((place, arrival));
                });
            }
        }
    }

    // Verify.

    fn verify(&mut self, now: Instant) {
        let is_measuring = self.shared.is_measuring.load(Ordering::Relaxed);
        let truth = self.shared.feed.truth.read().expect(UNPOISONED);
        let mut tallies = self.shared.tallies[self.index as usize].lock().expect(UNPOISONED);
        for tracks in &mut self.tracks {
            tracks.verify(&truth, is_measuring, &mut tallies.main);
        }
        if self.due.is_empty() {
            return;
        }
        let at_us = now_us();
        for place in &self.due {
            let Some(session) = &mut self.sessions[*place as usize] else {
                continue;
            };
            let tally = if session.is_slow_reader {
                &mut tallies.slow
            } else {
                &mut tallies.main
            };
            let gateway = session.account as usize % self.tracks.len();
            session.verify(
                &self.shared,
                &truth,
                &mut self.tracks[gateway],
                (at_us, now),
                tally,
            );
        }
    }
}

fn bind(servers: &[SocketAddr]) -> std::io::Result<UdpSocket> {
    let v6 = servers.iter().any(SocketAddr::is_ipv6);
    let local: SocketAddr = if v6 {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    };
    bind_udp(local, SOCKET_BUFFER_BYTES, false)
}
