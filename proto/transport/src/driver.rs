//! The driver: its turns, its timers and its connections. Packets in are `receive`'s, packets out `transmit`'s.

use crate::cid::ShardCids;
use crate::connection::{ConnectionKey, ConnectionMut, Entry, Event, Life};
use crate::receive::{Knock, Packet, ReceiveBuffers};
use crate::socket::Socket;
use crate::wheel::TimerWheel;
use crate::{Counters, DriverConfig, ShardId};
use bytes::Bytes;
use mio::{Events, Poll, Token};
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionError, ConnectionHandle, Endpoint, Event as QuicEvent,
    StreamEvent, VarInt,
};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// To this the timers are rounded up. QUIC's shortest, the delay of an acknowledgement, is five times as long.
const QUANTUM: Duration = Duration::from_millis(5);
/// Most sockets that the system names as ready at once; the others are named the next time.
const READY_MAX: usize = 256;
/// Wakes the thread; no socket has this number.
const WAKER: Token = Token(usize::MAX);

/// A socket of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

impl SocketId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn token(self) -> Token {
        Token(self.index())
    }
}

/// Ends a driver's wait, from any thread. Clones wake the same driver.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Lets the driver's current or next [`turn`](Driver::turn) return without waiting.
    pub fn wake(&self) {
        // Fails only if the system is out of memory; the driver then wakes by itself when its time is up.
        if let Err(error) = self.0.wake() {
            tracing::warn!("can't wake a driver: {error}");
        }
    }
}

/// The connections of one thread.
///
/// Its owner calls, again and again: [`Self::turn`]; then [`Self::poll_event`] until there are none, doing what
/// they call for through [`Self::connection`]; then, if it is a shard, [`Self::poll_foreign`].
#[derive(Debug)]
pub struct Driver {
    pub(crate) config: DriverConfig,
    pub(crate) endpoint: Endpoint,
    pub(crate) poll: Poll,
    pub(crate) sockets: Vec<Socket>,
    /// By the endpoint's handle.
    connections: Vec<Option<Box<Entry>>>,
    /// Connections that may have something to send, in the order in which they came to it.
    pub(crate) dirty: VecDeque<u32>,
    /// Connections that may have events.
    touched: Vec<u32>,
    /// Those whose handshake has not begun, in the order in which they came.
    pub(crate) door: VecDeque<Knock>,
    pub(crate) foreign: VecDeque<(ShardId, Packet)>,
    pub(crate) receive: Option<Box<ReceiveBuffers>>,
    /// Reused for each burst.
    pub(crate) packet: Vec<u8>,
    pub(crate) counters: Counters,
    pub(crate) handshakes: u32,
    ready: Events,
    waker: Waker,
    events: VecDeque<(ConnectionKey, Event)>,
    timers: TimerWheel,
    /// Reused: timers that are due.
    due: Vec<(u32, u64)>,
    started: Instant,
    generation: u32,
    open: u32,
}

impl Driver {
    /// Without sockets yet.
    ///
    /// # Errors
    /// If the system gives no means to wait for sockets.
    pub fn new(mut config: DriverConfig) -> io::Result<Self> {
        if let Some((shard, key)) = config.shard.clone() {
            config
                .endpoint
                .cid_generator(move || Box::new(ShardCids::new(key.clone(), shard)));
        }
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        // No packet is larger than the smallest that every path carries unless a configuration asks for probes.
        let endpoint = Endpoint::new(
            Arc::new(config.endpoint.clone()),
            config.server.clone(),
            true,
            None,
        );
        Ok(Self {
            config,
            endpoint,
            poll,
            sockets: Vec::new(),
            connections: Vec::new(),
            dirty: VecDeque::new(),
            touched: Vec::new(),
            door: VecDeque::new(),
            foreign: VecDeque::new(),
            receive: Some(Box::default()),
            packet: Vec::new(),
            counters: Counters::default(),
            handshakes: 0,
            ready: Events::with_capacity(READY_MAX),
            waker,
            events: VecDeque::new(),
            timers: TimerWheel::new(),
            due: Vec::new(),
            started: Instant::now(),
            generation: 0,
            open: 0,
        })
    }

    /// Adds a bound socket. One that accepts connections is the only one, or the only one of its address: answers
    /// leave by the socket at which a connection began.
    ///
    /// # Errors
    /// If the system can't set it up or wait for it.
    pub fn add_socket(&mut self, socket: std::net::UdpSocket) -> io::Result<SocketId> {
        let id = SocketId(u32::try_from(self.sockets.len()).expect("fewer sockets than the system can open"));
        let socket = Socket::new(socket, self.poll.registry(), id.token())?;
        if socket.may_fragment() {
            tracing::warn!(
                "the system may cut packets up; larger ones than 1,200 bytes should not be asked for"
            );
        }
        self.sockets.push(socket);
        Ok(id)
    }

    /// Puts another socket in the place of one: its connections go on with the new address.
    ///
    /// # Errors
    /// If the system can't set it up or wait for it. Then all is as before.
    pub fn rebind(&mut self, id: SocketId, socket: std::net::UdpSocket) -> io::Result<()> {
        let fresh = Socket::new(socket, self.poll.registry(), id.token())?;
        let mut old = std::mem::replace(&mut self.sockets[id.index()], fresh);
        if let Err(error) = old.deregister(self.poll.registry()) {
            tracing::debug!("an old socket is still waited for: {error}");
        }
        for index in old.waiting.drain(..) {
            self.dirty.push_back(index);
        }
        for index in 0..self.connections.len() as u32 {
            if let Some(entry) = self.entry_mut(index).filter(|entry| entry.socket == id) {
                entry.connection.local_address_changed();
                self.mark_dirty(index);
            }
        }
        Ok(())
    }

    /// The address of a socket.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self, socket: SocketId) -> io::Result<SocketAddr> {
        self.sockets[socket.index()].local_addr()
    }

    /// Ends the wait of this driver from other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections that are not known to be over, handshakes included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.open as usize
    }

    /// Whether every connection is over and its last packets are answered or out of date.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.endpoint.open_connections() == 0
    }

    /// Begins a connection to `remote` over `socket`. Events tell whether it is made.
    ///
    /// # Errors
    /// If the address or the name is of no use.
    pub fn connect(
        &mut self,
        socket: SocketId,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<ConnectionKey, ConnectError> {
        assert!(socket.index() < self.sockets.len(), "a socket of this driver");
        let now = Instant::now();
        let (handle, connection) = self.endpoint.connect(now, config, remote, server_name)?;
        Ok(self.insert(handle, connection, socket, false, now))
    }

    /// A connection, unless it was closed. One that was lost is here until the turn after its [`Event::Lost`], to
    /// read what came before.
    pub fn connection(&mut self, key: ConnectionKey) -> Option<ConnectionMut<'_>> {
        let entry = self.entry(key.index)?;
        let known = entry.generation == key.generation && entry.life != Life::Closed;
        known.then(|| ConnectionMut::new(self, key))
    }

    /// Accepts no connections any more: whoever asks, or waits for an answer, gets none.
    pub fn stop_accepting(&mut self) {
        self.config.handshakes_max = 0;
        self.config.handshakes_retry_from = u32::MAX;
        for knock in self.door.drain(..) {
            knock.ignore(&mut self.endpoint);
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<(ConnectionKey, Event)> {
        self.events.pop_front()
    }

    /// The next packet for another shard, to be given to its [`Self::handle_packet`].
    pub fn poll_foreign(&mut self) -> Option<(ShardId, Packet)> {
        self.foreign.pop_front()
    }

    /// Sends a phase of what is to be sent; if nothing is left, waits until a packet comes, a timer is due, someone
    /// wakes the driver, or it is `until`; takes in what has come. Then there may be events.
    ///
    /// # Errors
    /// If the system can't wait for sockets, which it always can.
    pub fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        self.transmit_phase();
        self.wait(until)?;
        let now = Instant::now();
        self.receive_batches(now);
        self.answer_door(now);
        self.fire_timers(now);
        self.collect_events();
        Ok(())
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let timeout = self.timeout(until);
        match self.poll.poll(&mut self.ready, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for ready in &self.ready {
            let Some(socket) = self.sockets.get_mut(ready.token().0) else {
                // The waker.
                continue;
            };
            socket.readable |= ready.is_readable();
            if ready.is_writable()
                && socket.handle_writable(self.poll.registry(), ready.token(), &mut self.counters)
            {
                self.dirty.extend(socket.waiting.drain(..));
            }
        }
        Ok(())
    }

    /// How long to wait. None is for ever.
    fn timeout(&self, until: Option<Instant>) -> Option<Duration> {
        let busy = !self.dirty.is_empty()
            || !self.events.is_empty()
            || !self.door.is_empty()
            || self.sockets.iter().any(|socket| socket.readable);
        if busy {
            return Some(Duration::ZERO);
        }
        let timer = self
            .timers
            .next()
            .map(|quantum| self.started + QUANTUM * u32::try_from(quantum).unwrap_or(u32::MAX));
        let wake = match (timer, until) {
            (Some(timer), Some(until)) => Some(timer.min(until)),
            (timer, until) => timer.or(until),
        };
        wake.map(|wake| wake.saturating_duration_since(Instant::now()))
    }

    /// The quantum that has begun at `at`; of a deadline, the first that is not before it if rounded up.
    fn quantum(&self, at: Instant, round_up: bool) -> u64 {
        let elapsed = at.saturating_duration_since(self.started).as_micros();
        let quantum = QUANTUM.as_micros();
        (if round_up {
            elapsed.div_ceil(quantum)
        } else {
            elapsed / quantum
        }) as u64
    }

    fn fire_timers(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.timers.advance(self.quantum(now, false), &mut due);
        for (index, quantum) in due.drain(..) {
            let Some(entry) = self.entry_mut(index).filter(|entry| entry.wakes_at == quantum) else {
                continue;
            };
            entry.wakes_at = 0;
            if entry.connection.poll_timeout().is_some_and(|at| at <= now) {
                entry.connection.handle_timeout(now);
                self.touch(index);
                self.mark_dirty(index);
            }
            self.fire_alarm(index, now);
            self.set_timer(index);
        }
        self.due = due;
    }

    fn fire_alarm(&mut self, index: u32, now: Instant) {
        let Some(entry) = self.entry_mut(index) else {
            return;
        };
        if entry.alarm.is_none_or(|at| at > now) {
            return;
        }
        entry.alarm = None;
        let (key, incoming, life) = (entry.key(index), entry.incoming, entry.life);
        match life {
            Life::Established => self.events.push_back((key, Event::Alarm)),
            Life::Handshaking => {
                entry.close(now, VarInt::from_u32(0), Bytes::new());
                if !incoming {
                    self.events
                        .push_back((key, Event::Lost(ConnectionError::TimedOut)));
                }
                self.end(index, Life::Closed);
                self.mark_dirty(index);
            }
            Life::Lost | Life::Closed => {}
        }
    }

    /// Turns what QUIC says of the connections that were touched into events.
    pub(crate) fn collect_events(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for index in touched.drain(..) {
            let Some(entry) = self.entry_mut(index) else {
                continue;
            };
            entry.touched = false;
            while let Some(event) = self.entry_mut(index).and_then(|entry| entry.connection.poll()) {
                self.handle_quic_event(index, event);
            }
        }
        self.touched = touched;
    }

    fn handle_quic_event(&mut self, index: u32, event: QuicEvent) {
        let Some(entry) = self.entry_mut(index) else {
            return;
        };
        let (key, incoming, life) = (entry.key(index), entry.incoming, entry.life);
        if matches!(life, Life::Lost | Life::Closed) {
            return;
        }
        let told = match event {
            QuicEvent::HandshakeDataReady | QuicEvent::DatagramsUnblocked => return,
            QuicEvent::Connected => {
                entry.life = Life::Established;
                entry.alarm = None;
                self.handshakes -= u32::from(incoming);
                Event::Connected
            }
            QuicEvent::ConnectionLost { reason } => {
                self.end(index, Life::Lost);
                if incoming && life == Life::Handshaking {
                    return;
                }
                Event::Lost(reason)
            }
            QuicEvent::DatagramReceived => Event::Datagrams,
            QuicEvent::Stream(StreamEvent::Opened { dir }) => Event::Opened(dir),
            QuicEvent::Stream(StreamEvent::Readable { id }) => Event::Readable(id),
            QuicEvent::Stream(StreamEvent::Writable { id }) => Event::Writable(id),
            QuicEvent::Stream(StreamEvent::Finished { id }) => Event::Finished(id),
            QuicEvent::Stream(StreamEvent::Stopped { id, error_code }) => Event::Stopped(id, error_code),
            QuicEvent::Stream(StreamEvent::Available { dir }) => Event::Available(dir),
        };
        self.events.push_back((key, told));
    }

    /// A new connection.
    pub(crate) fn insert(
        &mut self,
        handle: ConnectionHandle,
        connection: Connection,
        socket: SocketId,
        incoming: bool,
        now: Instant,
    ) -> ConnectionKey {
        let index = u32::try_from(handle.0).expect("fewer connections than memory holds");
        // Zero is never one, so that a key can be packed into something that is not zero.
        self.generation = self.generation.wrapping_add(1).max(1);
        let entry = Entry {
            connection,
            generation: self.generation,
            socket,
            incoming,
            life: Life::Handshaking,
            dirty: false,
            touched: false,
            alarm: Some(now + self.config.handshake_timeout),
            wakes_at: 0,
        };
        let key = entry.key(index);
        if self.connections.len() <= handle.0 {
            self.connections.resize_with(handle.0 + 1, || None);
        }
        let place = &mut self.connections[handle.0];
        assert!(place.is_none(), "the endpoint gives a handle once at a time");
        *place = Some(Box::new(entry));
        self.open += 1;
        self.handshakes += u32::from(incoming);
        self.touch(index);
        self.mark_dirty(index);
        key
    }

    /// The connection is over.
    pub(crate) fn end(&mut self, index: u32, how: Life) {
        let Some(entry) = self.entry_mut(index) else {
            return;
        };
        let (incoming, life) = (entry.incoming, entry.life);
        entry.life = how;
        entry.alarm = None;
        self.open -= u32::from(matches!(life, Life::Handshaking | Life::Established));
        if incoming && life == Life::Handshaking {
            self.handshakes -= 1;
            self.counters.handshakes_failed += 1;
        }
    }

    /// Carries what the connection has for the endpoint, and back, and sets its timer. It may be gone afterwards.
    pub(crate) fn settle(&mut self, index: u32) {
        let handle = ConnectionHandle(index as usize);
        while let Some(event) = self
            .entry_mut(index)
            .and_then(|entry| entry.connection.poll_endpoint_events())
        {
            let drained = event.is_drained();
            let answer = self.endpoint.handle_event(handle, event);
            if drained {
                self.end(index, Life::Lost);
                self.connections[handle.0] = None;
                return;
            }
            if let (Some(answer), Some(entry)) = (answer, self.entry_mut(index)) {
                entry.connection.handle_event(answer);
                self.mark_dirty(index);
            }
        }
        self.set_timer(index);
    }

    /// Sees to it that the wheel names the connection no later than at its next deadline.
    pub(crate) fn set_timer(&mut self, index: u32) {
        let Some(entry) = self.entry_mut(index) else {
            return;
        };
        let deadline = match (entry.connection.poll_timeout(), entry.alarm) {
            (Some(timeout), Some(alarm)) => timeout.min(alarm),
            (timeout, alarm) => match timeout.or(alarm) {
                Some(deadline) => deadline,
                None => return,
            },
        };
        let wakes_at = entry.wakes_at;
        let quantum = self.quantum(deadline, true);
        // Most deadlines move away; the timer that is set finds that out when it fires.
        if wakes_at == 0 || quantum < wakes_at {
            let quantum = self.timers.schedule(index, quantum);
            if let Some(entry) = self.entry_mut(index) {
                entry.wakes_at = quantum;
            }
        }
    }

    pub(crate) fn mark_dirty(&mut self, index: u32) {
        if let Some(entry) = self.entry_mut(index)
            && !entry.dirty
        {
            entry.dirty = true;
            self.dirty.push_back(index);
        }
    }

    pub(crate) fn touch(&mut self, index: u32) {
        if let Some(entry) = self.entry_mut(index)
            && !entry.touched
        {
            entry.touched = true;
            self.touched.push(index);
        }
    }

    pub(crate) fn entry(&self, index: u32) -> Option<&Entry> {
        self.connections.get(index as usize)?.as_deref()
    }

    pub(crate) fn entry_mut(&mut self, index: u32) -> Option<&mut Entry> {
        self.connections.get_mut(index as usize)?.as_deref_mut()
    }
}

impl Entry {
    fn key(&self, index: u32) -> ConnectionKey {
        ConnectionKey {
            index,
            generation: self.generation,
        }
    }
}
