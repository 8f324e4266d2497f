//! One client's connection: whoever owns it waits on it and finds the core up to date.

use super::{ConnectError, close_reason, now_us};
use crate::Client;
use bytes::Bytes;
use myriad_wire::CloseReason;
use quinn::{Chunk, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use std::future::ready;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Most bytes taken off the stream at a time.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Most arrivals read in one [`Connection::wait`] before the owner gets its turn.
const ARRIVALS_MAX: usize = 256;
/// How long a goodbye waits for the server to close.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long after the end of the stream the server may take to say why it closes: longer than it waits for its last
/// words to be acknowledged.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A client and its connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    core: Client,
    connection: quinn::Connection,
    send: SendStream,
    receive: RecvStream,
    /// Bytes for the stream that it did not take yet. Bounded by the core's limit of unanswered commands.
    unsent: Vec<u8>,
    /// The server has ended the stream; until then it may say why. It ends the stream before it closes, so that its
    /// last messages are not lost.
    closes_by: Option<Instant>,
}

/// Why [`Connection::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Something arrived or is due: the core may have events.
    Arrived,
    /// It is time.
    TimeUp,
    /// The connection is closed; the core's last event says why.
    Closed,
}

/// What the network did.
enum Arrival {
    Datagram(Result<Bytes, ConnectionError>),
    Stream(Result<Option<Chunk>, ReadError>),
    Written(Result<usize, WriteError>),
    Overdue,
    Nothing,
}

impl Connection {
    pub(super) fn new(
        connection: quinn::Connection,
        (send, receive): (SendStream, RecvStream),
        core: Client,
    ) -> Self {
        let mut connection = Self {
            core,
            connection,
            send,
            receive,
            unsent: Vec::new(),
            closes_by: None,
        };
        connection.flush();
        connection
    }

    /// The client's core: take its events, take its steps. What that gives to send goes out with the next
    /// [`Self::wait`] or [`Self::flush`].
    pub fn core(&mut self) -> &mut Client {
        &mut self.core
    }

    /// The transport's own counters.
    #[must_use]
    pub fn stats(&self) -> quinn::ConnectionStats {
        self.connection.stats()
    }

    /// Sends what the core has to send, then waits until something arrives, but not beyond `until`, and hands
    /// all that is there to the core. With an `until` in the past it reads what is there and returns at once.
    /// Take the core's events between two calls: while something is due and not taken, it does not wait.
    /// May be dropped at any await without harm.
    pub async fn wait(&mut self, until: Instant) -> Waited {
        self.core.advance(now_us());
        self.flush();
        if let Some(reason) = self.core.closed() {
            self.close(reason);
            return Waited::Closed;
        }
        let wake = self.wake(until);
        let first = self.arrival(sleep_until(wake)).await;
        if matches!(first, Arrival::Nothing) {
            self.core.advance(now_us());
            return if wake < until {
                Waited::Arrived
            } else {
                Waited::TimeUp
            };
        }
        let mut more = self.take(first);
        for _ in 1..ARRIVALS_MAX {
            if !more {
                break;
            }
            // What has been read must be taken: a lost piece of the stream is a hole in it.
            let next = self.arrival(ready(())).await;
            more = self.take(next);
        }
        self.flush();
        match self.core.closed() {
            Some(reason) => {
                self.close(reason);
                Waited::Closed
            }
            None => Waited::Arrived,
        }
    }

    /// Waits until the session has joined. Takes no events.
    ///
    /// # Errors
    /// If the session is closed or the time is up first.
    pub async fn join(&mut self, within: Duration) -> Result<(), ConnectError> {
        let deadline = Instant::now() + within;
        while self.core.joined().is_none() {
            match self.wait(deadline).await {
                Waited::Arrived => {}
                Waited::TimeUp => return Err(ConnectError::TimedOut),
                Waited::Closed => break,
            }
        }
        self.core
            .closed()
            .map_or(Ok(()), |reason| Err(ConnectError::Closed(reason)))
    }

    /// Says goodbye: the avatar leaves the world at once. Waits a moment for the server to agree.
    pub async fn leave(mut self) {
        self.core.leave();
        let deadline = Instant::now() + GOODBYE;
        while self.wait(deadline).await == Waited::Arrived {
            while self.core.poll_event().is_some() {}
        }
        self.close(CloseReason::Left);
    }

    /// Hands what the core has to send to the transport.
    pub fn flush(&mut self) {
        while let Some(datagram) = self.core.poll_datagram() {
            // If it cannot be sent it is lost, as any datagram may be; a lost connection shows when reading.
            let _lost = self.connection.send_datagram(datagram.into());
        }
        if let Some(bytes) = self.core.poll_stream() {
            self.unsent.extend_from_slice(&bytes);
        }
    }

    /// When to stop waiting: at `until`, or when the core wants the time.
    fn wake(&self, until: Instant) -> Instant {
        let Some(timeout_us) = self.core.next_timeout_us() else {
            return until;
        };
        let wait = Duration::from_micros(timeout_us.saturating_sub(now_us()));
        until.min(Instant::now() + wait)
    }

    /// The next thing the network does, or nothing if `enough` comes first.
    async fn arrival(&mut self, enough: impl Future<Output = ()>) -> Arrival {
        let closes_by = self.closes_by;
        let reads = closes_by.is_none() && self.core.wants_stream();
        tokio::select! {
            // The stream first: it is what states wait for, and it ends with the server's last words.
            biased;
            written = self.send.write(&self.unsent), if !self.unsent.is_empty() => Arrival::Written(written),
            chunk = self.receive.read_chunk(READ_BYTES_MAX, true), if reads => Arrival::Stream(chunk),
            datagram = self.connection.read_datagram() => Arrival::Datagram(datagram),
            () = sleep_until(closes_by.unwrap_or_else(Instant::now)), if closes_by.is_some() => Arrival::Overdue,
            () = enough => Arrival::Nothing,
        }
    }

    /// Hands an arrival to the core. `false` if there is nothing more to be had for now.
    fn take(&mut self, arrival: Arrival) -> bool {
        match arrival {
            Arrival::Datagram(Ok(datagram)) => self.core.handle_datagram(datagram, now_us()),
            Arrival::Stream(Ok(Some(chunk))) => self.core.handle_stream(&chunk.bytes, now_us()),
            Arrival::Written(Ok(count)) => {
                self.unsent.drain(..count);
            }
            Arrival::Datagram(Err(error))
            | Arrival::Stream(Err(ReadError::ConnectionLost(error)))
            | Arrival::Written(Err(WriteError::ConnectionLost(error))) => {
                self.core.handle_closed(close_reason(&error));
            }
            Arrival::Stream(Ok(None)) => self.closes_by = Some(Instant::now() + LAST_WORDS),
            // The server ended the stream but not the connection; there is no session without it.
            Arrival::Stream(Err(_)) | Arrival::Written(Err(_)) | Arrival::Overdue => {
                self.core.handle_closed(CloseReason::Lost);
            }
            Arrival::Nothing => return false,
        }
        self.core.closed().is_none()
    }

    fn close(&self, reason: CloseReason) {
        self.connection
            .close(VarInt::from_u32(reason.code()), reason.label().as_bytes());
    }
}
