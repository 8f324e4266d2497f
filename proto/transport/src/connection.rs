//! One connection, as its driver keeps it and as the driver's owner handles it.

use crate::congestion::let_close_out;
use crate::driver::{Driver, SocketId};
use bytes::Bytes;
use quinn_proto::{
    ClosedStream, Connection, ConnectionError, ConnectionStats, Dir, FinishError, ReadError, ReadableError,
    SendDatagramError, StreamId, VarInt, WriteError, Written,
};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Names a connection of a driver. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ConnectionKey {
    /// A dense number, shared by no two connections at the same time: for tables beside the driver's.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Which of the connections with this index: one that is larger came later. Never zero.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// The key with these parts, which may name no connection.
    #[must_use]
    pub fn from_parts(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }
}

/// Something happened on a connection. After [`Self::Lost`] nothing more does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done.
    Connected,
    /// It is over, or was never made. Not told if its owner closed it. What came before can still be read.
    Lost(ConnectionError),
    /// There are datagrams: read until there are none.
    Datagrams,
    /// The peer has opened streams: accept until there are none. Then read them, which is not told.
    Opened(Dir),
    /// A stream has bytes, its end, or an error: read until it is [`Read::Blocked`].
    Readable(StreamId),
    /// A stream takes bytes again, or has been stopped.
    Writable(StreamId),
    /// All of a finished stream has been acknowledged.
    Finished(StreamId),
    /// The peer will not read this stream.
    Stopped(StreamId, VarInt),
    /// More streams may be opened.
    Available(Dir),
    /// The time given to [`ConnectionMut::set_alarm`] has come.
    Alarm,
}

/// What reading a stream gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The next bytes.
    Chunk(Bytes),
    /// Nothing for now.
    Blocked,
    /// The peer has finished the stream, and all was read.
    Finished,
    /// The peer has given the stream up, or it is not open.
    Reset,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Handshaking,
    Established,
    /// It is over, of which its owner is told, who may read what came before.
    Lost,
    /// Its owner has closed it. Like one that is lost it stays until its last packets are answered or out of date.
    Closed,
}

/// A connection and the driver's notes on it.
pub(crate) struct Entry {
    pub(crate) connection: Connection,
    pub(crate) generation: u32,
    pub(crate) socket: SocketId,
    /// Accepted, not made by this side.
    pub(crate) incoming: bool,
    pub(crate) life: Life,
    /// It may have something to send: it stands in the driver's queue, or waits for its socket.
    pub(crate) dirty: bool,
    /// It may have events: it stands in the driver's list.
    pub(crate) touched: bool,
    /// When its owner wants [`Event::Alarm`]; the handshake's end until it is established.
    pub(crate) alarm: Option<Instant>,
    /// The quantum of the timer that counts; later ones in the wheel are left over. Zero if there is none.
    pub(crate) wakes_at: u64,
}

impl Entry {
    /// Closes the connection; its peer is told, however much is on its way to it.
    pub(crate) fn close(&mut self, now: Instant, code: VarInt, reason: Bytes) {
        self.connection.close(now, code, reason);
        let_close_out(&self.connection);
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("generation", &self.generation)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// A connection, to do something with it. What is to be sent goes out with the driver's next turns.
#[derive(Debug)]
pub struct ConnectionMut<'a> {
    driver: &'a mut Driver,
    key: ConnectionKey,
}

impl<'a> ConnectionMut<'a> {
    pub(crate) fn new(driver: &'a mut Driver, key: ConnectionKey) -> Self {
        Self { driver, key }
    }

    /// Queues a datagram. `true` if older ones that waited had to give way to it.
    ///
    /// # Errors
    /// If the peer takes no datagrams, or none of this size.
    pub fn send_datagram(&mut self, bytes: Bytes) -> Result<bool, SendDatagramError> {
        let mut datagrams = self.changed().datagrams();
        let displaces = datagrams.send_buffer_space() < bytes.len();
        datagrams.send(bytes, true).map(|()| displaces)
    }

    /// The next datagram that arrived.
    pub fn receive_datagram(&mut self) -> Option<Bytes> {
        self.get().datagrams().recv()
    }

    /// The largest datagram that the peer takes, if it takes any.
    pub fn datagram_bytes_max(&mut self) -> Option<usize> {
        self.get().datagrams().max_size()
    }

    /// Opens a stream, if the peer allows one more.
    pub fn open(&mut self, direction: Dir) -> Option<StreamId> {
        self.changed().streams().open(direction)
    }

    /// The next stream that the peer has opened.
    pub fn accept(&mut self, direction: Dir) -> Option<StreamId> {
        self.get().streams().accept(direction)
    }

    /// The next bytes of a stream, in order and at most `bytes_max`.
    pub fn read(&mut self, stream: StreamId, bytes_max: usize) -> Read {
        let mut receive = self.get().recv_stream(stream);
        let mut chunks = match receive.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => return Read::Reset,
        };
        let read = match chunks.next(bytes_max) {
            Ok(Some(chunk)) => Read::Chunk(chunk.bytes),
            Ok(None) => Read::Finished,
            Err(ReadError::Blocked) => Read::Blocked,
            Err(ReadError::Reset(_)) => Read::Reset,
        };
        // Reading makes room, of which the peer is to be told now and then.
        if chunks.finalize().should_transmit() {
            self.changed();
        }
        read
    }

    /// Writes chunks to a stream, without copying them: takes what QUIC's send window has room for. A chunk that
    /// was taken in part is advanced. [`SendQueue`](crate::SendQueue) does this for a queue.
    ///
    /// # Errors
    /// If nothing can be taken at the moment ([`WriteError::Blocked`]; an event will tell), the peer has stopped the
    /// stream, or it is closed.
    pub fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<Written, WriteError> {
        self.changed().send_stream(stream).write_chunks(chunks)
    }

    /// Ends a stream behind what was written.
    ///
    /// # Errors
    /// If the peer has stopped the stream, or it is closed.
    pub fn finish(&mut self, stream: StreamId) -> Result<(), FinishError> {
        self.changed().send_stream(stream).finish()
    }

    /// Gives a stream up that this side writes.
    ///
    /// # Errors
    /// If it is closed.
    pub fn reset(&mut self, stream: StreamId, code: VarInt) -> Result<(), ClosedStream> {
        self.changed().send_stream(stream).reset(code)
    }

    /// Reads no more of a stream.
    ///
    /// # Errors
    /// If it is closed.
    pub fn stop(&mut self, stream: StreamId, code: VarInt) -> Result<(), ClosedStream> {
        self.changed().recv_stream(stream).stop(code)
    }

    /// Closes the connection now. What waits is not sent, and no event comes any more.
    pub fn close(&mut self, code: VarInt, reason: Bytes) {
        self.changed();
        self.entry_mut().close(Instant::now(), code, reason);
        self.driver.end(self.key.index, Life::Closed);
    }

    /// Asks for [`Event::Alarm`] at a time, to within some milliseconds, or for none. Takes the place of the one
    /// asked for before. Only once it is connected.
    pub fn set_alarm(&mut self, at: Option<Instant>) {
        debug_assert!(self.entry().life != Life::Handshaking);
        self.entry_mut().alarm = at;
        self.driver.set_timer(self.key.index);
    }

    /// The round trip time, as estimated.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.entry().connection.rtt()
    }

    /// QUIC's own counters.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.entry().connection.stats()
    }

    /// The peer's address; it may change.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.entry().connection.remote_address()
    }

    /// This side's address, where the system told it.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.entry().connection.local_ip()
    }

    /// The socket that it uses.
    #[must_use]
    pub fn socket(&self) -> SocketId {
        self.entry().socket
    }

    fn entry(&self) -> &Entry {
        self.driver
            .entry(self.key.index)
            .expect("checked when it was made")
    }

    fn entry_mut(&mut self) -> &mut Entry {
        self.driver
            .entry_mut(self.key.index)
            .expect("checked when it was made")
    }

    fn get(&mut self) -> &mut Connection {
        &mut self.entry_mut().connection
    }

    /// The connection, of which something is to be sent.
    fn changed(&mut self) -> &mut Connection {
        self.driver.mark_dirty(self.key.index);
        self.get()
    }
}
