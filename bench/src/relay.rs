//! A lossy network in one thread: a UDP relay between bots and server that drops and delays datagrams, both ways.
//!
//! Each address that sends to one of the relay's gets a socket of its own towards the server, so that the server sees
//! at least as many addresses as there are, and an answer comes from where its question went: a QUIC client takes none
//! from elsewhere. What is decided about a datagram stands in [`Path`], which knows neither socket nor clock.
//! Datagrams go on one by one as they came; cost: two system calls each, some 6 us on loopback. What the relay's own
//! full buffers lose comes on top of the loss asked for and is told apart.

use crate::cpu;
use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

/// Sockets that the bots send to: one's receive buffer would not hold what ten thousand clients send in a burst.
const FRONTS: usize = 8;
/// Most datagrams under way. One more is dropped and counted.
const QUEUE_MAX: usize = 1 << 16;
/// Most addresses that get a socket towards the server. What others send is dropped and counted.
const ADDRESSES_MAX: usize = 16_384;
/// Datagrams that one socket may bring in before the others have their turn.
const BATCH: usize = 64;
/// Longer than any datagram that QUIC sends, its search for a larger path included. What is sent with GSO comes in parts.
const DATAGRAM_MAX: usize = 2048;
/// Buffers that are kept for reuse.
const SPARE_MAX: usize = 4096;

/// What the relay does to datagrams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Share of the datagrams that is dropped, 0 to 1, in each direction.
    pub loss: f64,
    /// How long each takes one way, on top of what the machine needs.
    pub delay: Duration,
    /// Seed of what is dropped.
    pub seed: u64,
}

/// What became of the datagrams of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Sent on.
    pub forwarded: u64,
    /// Dropped on purpose.
    pub dropped: u64,
    /// Lost because the relay was full, or the system did not take them.
    pub overflowed: u64,
}

/// What a relay did, from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Passage {
    /// From the bots to the server.
    pub up: Passed,
    /// From the server to the bots.
    pub down: Passed,
    /// Most datagrams that were under way at once.
    pub queue_max: u64,
    /// Datagrams that the system dropped because the relay read too slowly, as far as it tells.
    pub unread: u64,
    /// CPU time of the relay's thread, in seconds: neither the server's nor the bots'.
    pub cpu_s: f64,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Both directions' datagrams under way: dropped at random, and in order of their due time because all take as long.
#[derive(Debug)]
struct Path<To> {
    weather: Weather,
    random: Pcg32,
    queue: VecDeque<Parcel<To>>,
    spare: Vec<Vec<u8>>,
    passage: Passage,
}

#[derive(Debug)]
struct Parcel<To> {
    due: Instant,
    way: Way,
    to: To,
    bytes: Vec<u8>,
}

impl<To> Path<To> {
    fn new(weather: Weather) -> Self {
        Self {
            weather,
            random: Pcg32::seed_from_u64(weather.seed),
            queue: VecDeque::new(),
            spare: Vec::new(),
            passage: Passage::default(),
        }
    }

    /// A datagram came at `now`. Whether it is under way.
    fn handle(&mut self, now: Instant, way: Way, to: To, bytes: &[u8]) -> bool {
        if self.random.random::<f64>() < self.weather.loss {
            self.passed(way).dropped += 1;
            return false;
        }
        if self.queue.len() >= QUEUE_MAX {
            self.passed(way).overflowed += 1;
            return false;
        }
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(bytes);
        self.queue.push_back(Parcel {
            due: now + self.weather.delay,
            way,
            to,
            bytes: kept,
        });
        self.passage.queue_max = self.passage.queue_max.max(self.queue.len() as u64);
        true
    }

    /// The next datagram that is due at `now`.
    fn poll(&mut self, now: Instant) -> Option<Parcel<To>> {
        self.queue.pop_front_if(|parcel| parcel.due <= now)
    }

    /// When the next one is due.
    fn due(&self) -> Option<Instant> {
        self.queue.front().map(|parcel| parcel.due)
    }

    /// What became of a datagram that was polled.
    fn done(&mut self, parcel: Parcel<To>, was_sent: bool) {
        let passed = self.passed(parcel.way);
        match was_sent {
            true => passed.forwarded += 1,
            false => passed.overflowed += 1,
        }
        if self.spare.len() < SPARE_MAX {
            self.spare.push(parcel.bytes);
        }
    }

    fn passed(&mut self, way: Way) -> &mut Passed {
        match way {
            Way::Up => &mut self.passage.up,
            Way::Down => &mut self.passage.down,
        }
    }
}

/// A relay that runs. Ends when it is stopped or dropped.
#[derive(Debug)]
pub struct Relay {
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<Passage>>>,
}

impl Relay {
    /// Starts a relay to `server`, which must be on this machine.
    ///
    /// # Errors
    /// If the weather makes no sense, or no socket or thread can be had.
    pub fn start(server: SocketAddr, weather: Weather) -> Result<Self> {
        ensure!(
            server.ip().is_loopback() && server.is_ipv4(),
            "the relay goes to 127.0.0.1 only, not to {server}"
        );
        ensure!(
            (0.0..1.0).contains(&weather.loss),
            "a relay that drops everything relays nothing"
        );
        let mut addresses = Vec::new();
        let mut fronts = Vec::new();
        for _ in 0..FRONTS {
            let front =
                std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a socket for the relay")?;
            front.set_nonblocking(true)?;
            addresses.push(front.local_addr()?);
            fronts.push(front);
        }
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || on_own_thread(server, weather, fronts, stopped))
            .context("a thread for the relay")?;
        Ok(Self {
            addresses,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where the bots connect in place of the server: any of them, in turn.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends the relay and says what it did. What is under way is lost.
    ///
    /// # Errors
    /// If the relay had failed.
    pub fn stop(mut self) -> Result<Passage> {
        drop(self.stop.take());
        let thread = self.thread.take().expect("only `stop` and the end take it");
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the relay's thread panicked")))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Whoever drops it does not want to know.
            let _unheard = thread.join();
        }
    }
}

/// Where a datagram goes: over which socket, and to whom if that is not the socket's own peer.
type To = (Rc<UdpSocket>, Option<SocketAddr>);

/// What the relay's tasks share.
struct Shared {
    server: SocketAddr,
    path: RefCell<Path<To>>,
    /// Told when a datagram is under way where none was.
    begun: Notify,
    /// By the front's port and the bot's address.
    upstreams: RefCell<HashMap<(u16, SocketAddr), Rc<UdpSocket>>>,
    failed: Cell<bool>,
}

fn on_own_thread(
    server: SocketAddr,
    weather: Weather,
    fronts: Vec<std::net::UdpSocket>,
    stopped: oneshot::Receiver<()>,
) -> Result<Passage> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the relay's runtime")?;
    let shared = Rc::new(Shared {
        server,
        path: RefCell::new(Path::new(weather)),
        begun: Notify::new(),
        upstreams: RefCell::default(),
        failed: Cell::new(false),
    });
    let tasks = LocalSet::new();
    let ports = tasks.block_on(&runtime, async {
        let mut ports = Vec::new();
        for front in fronts {
            let port = front.local_addr()?.port();
            ports.push(port);
            let front = Rc::new(UdpSocket::from_std(front)?);
            tokio::task::spawn_local(from_bots(Rc::clone(&shared), front, port));
        }
        tokio::task::spawn_local(forward(Rc::clone(&shared)));
        // An error is the sender's end.
        let _ended = stopped.await;
        let upstreams = shared.upstreams.borrow();
        for socket in upstreams.values() {
            ports.push(socket.local_addr()?.port());
        }
        anyhow::Ok(ports)
    })?;
    let mut passage = shared.path.borrow().passage;
    // Before the sockets are closed: the system forgets their counts with them.
    passage.unread = unread(&ports);
    passage.cpu_s = cpu::thread_cpu_ns() as f64 / 1e9;
    ensure!(
        !shared.failed.get(),
        "the relay could not get all the sockets that it needs"
    );
    Ok(passage)
}

/// Takes what bots send to one of the relay's addresses.
async fn from_bots(shared: Rc<Shared>, front: Rc<UdpSocket>, port: u16) {
    let mut bytes = [0; DATAGRAM_MAX];
    while front.readable().await.is_ok() {
        for _ in 0..BATCH {
            let Ok((len, bot)) = front.try_recv_from(&mut bytes) else {
                break;
            };
            match upstream(&shared, &front, (port, bot)) {
                Some(socket) => shared.take(Way::Up, (socket, None), &bytes[..len]),
                None => shared.path.borrow_mut().passed(Way::Up).overflowed += 1,
            }
        }
        tokio::task::yield_now().await;
    }
}

/// The socket towards the server that stands for the bot where it sends to this front.
fn upstream(
    shared: &Rc<Shared>,
    front: &Rc<UdpSocket>,
    (port, bot): (u16, SocketAddr),
) -> Option<Rc<UdpSocket>> {
    let mut upstreams = shared.upstreams.borrow_mut();
    if let Some(socket) = upstreams.get(&(port, bot)) {
        return Some(Rc::clone(socket));
    }
    let socket = (upstreams.len() < ADDRESSES_MAX)
        .then(|| connected(shared.server).ok())
        .flatten();
    let Some(socket) = socket.map(Rc::new) else {
        shared.failed.set(true);
        return None;
    };
    upstreams.insert((port, bot), Rc::clone(&socket));
    tokio::task::spawn_local(from_server(
        Rc::clone(shared),
        Rc::clone(&socket),
        (Rc::clone(front), Some(bot)),
    ));
    Some(socket)
}

fn connected(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Takes what the server sends to one bot's address. An error is an answer from a server that went away.
async fn from_server(shared: Rc<Shared>, socket: Rc<UdpSocket>, to: To) {
    let mut bytes = [0; DATAGRAM_MAX];
    while socket.readable().await.is_ok() {
        for _ in 0..BATCH {
            let Ok(len) = socket.try_recv(&mut bytes) else {
                break;
            };
            shared.take(Way::Down, to.clone(), &bytes[..len]);
        }
        tokio::task::yield_now().await;
    }
}

impl Shared {
    fn take(&self, way: Way, to: To, bytes: &[u8]) {
        let mut path = self.path.borrow_mut();
        let was_idle = path.due().is_none();
        if path.handle(Instant::now(), way, to, bytes) && was_idle {
            self.begun.notify_one();
        }
    }
}

/// Sends on what is due.
async fn forward(shared: Rc<Shared>) {
    loop {
        let due = shared.path.borrow().due();
        match due {
            None => shared.begun.notified().await,
            Some(due) => tokio::time::sleep_until(due.into()).await,
        }
        let now = Instant::now();
        loop {
            let parcel = shared.path.borrow_mut().poll(now);
            let Some(parcel) = parcel else { break };
            let (socket, to) = &parcel.to;
            let sent = match to {
                Some(to) => socket.try_send_to(&parcel.bytes, *to),
                None => socket.try_send(&parcel.bytes),
            };
            shared.path.borrow_mut().done(parcel, sent.is_ok());
        }
        tokio::task::yield_now().await;
    }
}

/// Datagrams that the system dropped at these ports of ours because nobody read them in time.
fn unread(ports: &[u16]) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let drops = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let port = fields.nth(1)?.rsplit_once(':')?.1;
        let port = u16::from_str_radix(port, 16).ok()?;
        let drops: u64 = fields.last()?.parse().ok()?;
        ports.contains(&port).then_some(drops)
    });
    drops.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Weather = Weather {
        loss: 0.0,
        delay: Duration::ZERO,
        seed: 1,
    };

    fn lost(weather: Weather, datagrams: u32) -> Vec<u32> {
        let mut path = Path::new(weather);
        let now = Instant::now();
        let lost = (0..datagrams).filter(|number| {
            let way = if number % 2 == 0 { Way::Up } else { Way::Down };
            let is_under_way = path.handle(now, way, (), &[0; 10]);
            while let Some(parcel) = path.poll(now + weather.delay) {
                path.done(parcel, true);
            }
            !is_under_way
        });
        let lost: Vec<u32> = lost.collect();
        let passage = path.passage;
        assert_eq!(
            passage.up.dropped + passage.down.dropped,
            lost.len() as u64,
            "each is counted"
        );
        assert_eq!(
            passage.up.forwarded + passage.down.forwarded + lost.len() as u64,
            u64::from(datagrams)
        );
        lost
    }

    #[test]
    fn as_many_are_lost_as_asked_for_in_both_directions_and_the_same_for_a_seed() {
        let two_percent = Weather { loss: 0.02, ..STILL };
        let found = lost(two_percent, 100_000);
        assert!((1_800..2_200).contains(&found.len()), "{}", found.len());
        let up = found.iter().filter(|number| *number % 2 == 0).count();
        assert!((850..1_150).contains(&up), "{up} of {} upwards", found.len());
        assert_eq!(found, lost(two_percent, 100_000));
        assert_ne!(
            found,
            lost(
                Weather {
                    seed: 2,
                    ..two_percent
                },
                100_000
            )
        );
        assert!(lost(STILL, 1000).is_empty());
    }

    #[test]
    fn nothing_is_due_before_its_delay_is_over_and_the_order_is_kept() {
        let mut path = Path::new(Weather {
            delay: Duration::from_millis(80),
            ..STILL
        });
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert!(path.handle(at(0), Way::Up, 1, b"a") && path.handle(at(1), Way::Down, 2, b"bc"));
        assert_eq!(path.due(), Some(at(80)));
        assert!(path.poll(at(79)).is_none());
        let first = path.poll(at(80)).expect("it is due");
        assert_eq!((first.to, first.bytes.as_slice()), (1, b"a".as_slice()));
        assert!(path.poll(at(80)).is_none());
        let second = path.poll(at(81)).expect("it is due");
        assert_eq!(
            (second.way, second.to, second.bytes.as_slice()),
            (Way::Down, 2, b"bc".as_slice())
        );
        assert_eq!(path.passage.queue_max, 2);
    }

    #[test]
    fn a_full_queue_drops_what_comes_and_counts_it() {
        let mut path = Path::new(STILL);
        let now = Instant::now();
        for _ in 0..QUEUE_MAX {
            assert!(path.handle(now, Way::Up, (), &[]));
        }
        assert!(!path.handle(now, Way::Down, (), &[]));
        assert_eq!(path.passage.down.overflowed, 1);
    }

    /// Sockets, because what is tested is that they are wired to each other; the waiting is bounded by time-outs.
    #[test]
    fn answers_come_late_from_where_the_question_went_and_stop_ends_the_thread() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let delay = Duration::from_millis(30);
        let to = server.local_addr().expect("bound");
        let relay = Relay::start(to, Weather { delay, ..STILL }).expect("a relay");
        let bots: Vec<_> = (0..2)
            .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a port"))
            .collect();
        for socket in bots.iter().chain([&server]) {
            let long = Duration::from_secs(20);
            socket.set_read_timeout(Some(long)).expect("a time-out");
        }
        let began = Instant::now();
        let mut seen = Vec::new();
        let mut bytes = [0; 16];
        // Both bots by the same front, and the first by another, too.
        for (number, (bot, front)) in [(0, 0), (1, 0), (0, 1)].into_iter().enumerate() {
            let front = relay.addresses()[front];
            bots[bot].send_to(&[number as u8], front).expect("sent");
            let (len, from) = server.recv_from(&mut bytes).expect("relayed");
            assert_eq!(&bytes[..len], [number as u8]);
            server.send_to(&[number as u8, 9], from).expect("answered");
            let (len, answered) = bots[bot].recv_from(&mut bytes).expect("answered");
            assert_eq!((&bytes[..len], answered), ([number as u8, 9].as_slice(), front));
            assert!(!seen.contains(&from), "the server sees one address twice");
            seen.push(from);
        }
        assert!(began.elapsed() >= 6 * delay);
        let passage = relay.stop().expect("it ends");
        assert_eq!(
            (passage.up.forwarded, passage.down.forwarded, passage.unread),
            (3, 3, 0)
        );
    }
}
