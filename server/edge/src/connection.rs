//! One connection: its task reads what the client sends, a second one writes its stream.
//!
//! The rules of the transport are kept here: one bidirectional stream, opened by the client; messages and datagrams
//! within their limits. Whoever breaks one is closed with the reason that names it.

use crate::accept::close;
use crate::edge::{EdgeEvent, Inner, Intake};
use bytes::Bytes;
use crossbeam_channel::TrySendError;
use myriad_gateway::{ClientInput, ConnId};
use myriad_wire::CloseReason;
use myriad_wire::codec::Deframer;
use myriad_wire::limits::{CLIENT_MESSAGE_BYTES_MAX, DATAGRAM_BYTES_MAX};
use quinn::{
    Connection, ConnectionError, ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError,
};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, consume_budget};
use tokio::time::{Instant, sleep, timeout};

/// Most bytes taken off a stream at once.
const READ_BYTES_MAX: usize = 8 * 1024;
/// Most messages handed to QUIC at once.
const WRITE_MESSAGES_MAX: usize = 16;
/// How long to wait before the gateway's inbox is tried again when it is full.
const INBOX_PAUSE: Duration = Duration::from_millis(1);
/// How long a client may take to acknowledge what was sent before it is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads one connection to its end.
pub(crate) struct ConnectionTask<'a> {
    edge: &'a Arc<Inner>,
    conn: ConnId,
    connection: &'a Connection,
    allowance: Allowance,
    deframer: Deframer,
}

/// Why a connection is to end, and whether the gateway wants it to.
struct Ended {
    reason: CloseReason,
    by_gateway: bool,
}

impl ConnectionTask<'_> {
    /// Tells the gateway of the connection, of what the client sends, and of its end.
    pub(crate) async fn run(edge: &Arc<Inner>, connection: Connection) {
        let intake = edge.enlist(connection.clone());
        let conn = intake.conn;
        let mut task = ConnectionTask {
            edge,
            conn,
            connection: &connection,
            allowance: Allowance::new(edge.config.datagrams_per_s_max),
            deframer: Deframer::new(CLIENT_MESSAGE_BYTES_MAX),
        };
        let reason = task.serve(intake).await;
        close(&connection, reason);
        edge.delist(conn);
        edge.counters.closed(reason).increment();
        // A gateway that has gone need not be told.
        let _ = task.tell(ClientInput::Closed(reason)).await;
    }

    async fn serve(&mut self, intake: Intake) -> CloseReason {
        if let Err(reason) = self.tell(ClientInput::Connected).await {
            return reason;
        }
        let mut writer = Writer::Idle(Some((intake.messages, intake.backlog_bytes)));
        let ended = self.read(&mut writer, intake.close).await;
        if let Writer::Running(mut task) = writer {
            if ended.by_gateway {
                // The queue has ended; what is in it still goes out, if the client takes it.
                let _ = timeout(CLOSE_TIMEOUT, &mut task).await;
            }
            task.abort();
        }
        ended.reason
    }

    /// Reads until the connection is to end.
    async fn read(&mut self, writer: &mut Writer, close: oneshot::Receiver<CloseReason>) -> Ended {
        let connection = self.connection;
        let mut close = pin!(close);
        let mut datagram = pin!(connection.read_datagram());
        let mut opened = pin!(connection.accept_bi());
        let mut opened_uni = pin!(connection.accept_uni());
        let mut stream = None;
        loop {
            // A client that always has something to say must not keep the thread from the others.
            consume_budget().await;
            let went_on = tokio::select! {
                biased;
                reason = &mut close => return Ended {
                    reason: reason.unwrap_or(CloseReason::Shutdown),
                    by_gateway: true,
                },
                arrived = &mut datagram => {
                    datagram.set(connection.read_datagram());
                    self.handle_datagram(arrived)
                }
                chunk = read_chunk(&mut stream) => self.handle_chunk(chunk).await,
                streams = &mut opened => match streams {
                    Ok((send, recv)) if stream.is_none() => {
                        opened.set(connection.accept_bi());
                        writer.start(send, self.edge.clone());
                        stream = Some(recv);
                        Ok(())
                    }
                    streams => Err(self.stray(streams.err())),
                },
                streams = &mut opened_uni => Err(self.stray(streams.err())),
                error = writer.failed() => Err(self.write_failed(error)),
            };
            if let Err(reason) = went_on {
                return Ended {
                    reason,
                    by_gateway: false,
                };
            }
        }
    }

    fn handle_datagram(&mut self, arrived: Result<Bytes, ConnectionError>) -> Result<(), CloseReason> {
        let bytes = arrived.map_err(|error| self.ended(&error))?;
        let counters = &self.edge.counters;
        counters.datagrams_received.increment();
        counters.received_bytes.add(bytes.len() as u64);
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(CloseReason::Oversized);
        }
        if !self.allowance.take(Instant::now()) {
            counters.datagrams_excess.increment();
            return Ok(());
        }
        let event = EdgeEvent {
            conn: self.conn,
            input: ClientInput::Datagram(bytes),
        };
        match self.edge.events.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                counters.events_dropped.increment();
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(CloseReason::Shutdown),
        }
    }

    async fn handle_chunk(&mut self, chunk: Result<Option<Bytes>, ReadError>) -> Result<(), CloseReason> {
        let Some(bytes) = chunk.map_err(|error| self.read_ended(error))? else {
            // The client has said all it has to say: a goodbye, unless it stopped in the middle of a message.
            return Err(if self.deframer.is_empty() {
                CloseReason::Left
            } else {
                CloseReason::Malformed
            });
        };
        self.edge.counters.received_bytes.add(bytes.len() as u64);
        self.deframer.handle_bytes(&bytes);
        while let Some(message) = self.deframer.poll_message().map_err(|_| CloseReason::Oversized)? {
            self.edge.counters.messages_received.increment();
            self.tell(ClientInput::Message(message)).await?;
        }
        Ok(())
    }

    /// Tells the gateway, waiting until its inbox has room.
    async fn tell(&self, input: ClientInput) -> Result<(), CloseReason> {
        let mut event = EdgeEvent {
            conn: self.conn,
            input,
        };
        loop {
            match self.edge.events.try_send(event) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(refused)) => event = refused,
                Err(TrySendError::Disconnected(_)) => return Err(CloseReason::Shutdown),
            }
            sleep(INBOX_PAUSE).await;
        }
    }

    /// The client opened a stream that the protocol does not know, or the connection ended before it could.
    fn stray(&self, error: Option<ConnectionError>) -> CloseReason {
        error.map_or(CloseReason::Stream, |error| self.ended(&error))
    }

    fn read_ended(&self, error: ReadError) -> CloseReason {
        match error {
            ReadError::ConnectionLost(error) => self.ended(&error),
            // The client has abandoned the protocol's one stream.
            _ => CloseReason::Stream,
        }
    }

    fn write_failed(&self, error: WriteError) -> CloseReason {
        match error {
            WriteError::ConnectionLost(error) => self.ended(&error),
            // The client refuses to read the protocol's one stream.
            _ => CloseReason::Stream,
        }
    }

    /// Why the connection ended. A client has one reason to give, that it leaves.
    fn ended(&self, error: &ConnectionError) -> CloseReason {
        match error {
            ConnectionError::ApplicationClosed(closed)
                if closed.error_code.into_inner() == u64::from(CloseReason::Left.code()) =>
            {
                CloseReason::Left
            }
            ConnectionError::LocallyClosed => self.edge.closing_reason(),
            ConnectionError::TimedOut => CloseReason::TimedOut,
            ConnectionError::ApplicationClosed(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::TransportError(_)
            | ConnectionError::VersionMismatch
            | ConnectionError::Reset
            | ConnectionError::CidsExhausted => CloseReason::Lost,
        }
    }
}

/// The next bytes of the stream, once it is open.
async fn read_chunk(stream: &mut Option<RecvStream>) -> Result<Option<Bytes>, ReadError> {
    match stream {
        Some(recv) => Ok(recv
            .read_chunk(READ_BYTES_MAX, true)
            .await?
            .map(|chunk| chunk.bytes)),
        None => pending().await,
    }
}

/// The task that writes the stream.
enum Writer {
    /// The client has not opened the stream yet. `None` only while the task is being started.
    Idle(Option<(mpsc::Receiver<Bytes>, Arc<AtomicUsize>)>),
    /// It is open.
    Running(JoinHandle<Result<(), WriteError>>),
}

impl Writer {
    fn start(&mut self, send: SendStream, edge: Arc<Inner>) {
        let Self::Idle(queue) = self else {
            panic!("a connection's stream is opened once")
        };
        let (messages, backlog_bytes) = queue.take().expect("taken only here");
        *self = Self::Running(tokio::spawn(async move {
            write_messages(send, messages, &backlog_bytes, &edge).await
        }));
    }

    /// Resolves when writing has failed.
    async fn failed(&mut self) -> WriteError {
        match self {
            Self::Running(task) => match task.await {
                Ok(Err(error)) => error,
                // The queue has ended: the gateway closes the connection, which is told elsewhere.
                Ok(Ok(())) => pending().await,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
            Self::Idle(_) => pending().await,
        }
    }
}

/// Writes what is queued until the queue ends, and then waits until the client has acknowledged it.
async fn write_messages(
    mut send: SendStream,
    mut messages: mpsc::Receiver<Bytes>,
    backlog_bytes: &AtomicUsize,
    edge: &Inner,
) -> Result<(), WriteError> {
    let mut stopped = pin!(send.stopped());
    let mut batch = Vec::with_capacity(WRITE_MESSAGES_MAX);
    loop {
        let count = tokio::select! {
            count = messages.recv_many(&mut batch, WRITE_MESSAGES_MAX) => count,
            stopped = &mut stopped => return stopped_by_client(stopped),
        };
        if count == 0 {
            break;
        }
        let mut rest = batch.as_mut_slice();
        while !rest.is_empty() {
            let written = send.write_chunks(rest).await?;
            backlog_bytes.fetch_sub(written.bytes, Ordering::Relaxed);
            edge.counters.sent_bytes.add(written.bytes as u64);
            rest = &mut rest[written.chunks..];
        }
        edge.counters.messages_sent.add(count as u64);
        batch.clear();
    }
    // Fails only if the client has stopped the stream; then there is nothing to wait for.
    if send.finish().is_ok() {
        let _ = stopped.await;
    }
    Ok(())
}

fn stopped_by_client(stopped: Result<Option<VarInt>, StoppedError>) -> Result<(), WriteError> {
    match stopped {
        Ok(code) => Err(WriteError::Stopped(code.unwrap_or_default())),
        Err(StoppedError::ConnectionLost(error)) => Err(WriteError::ConnectionLost(error)),
        Err(StoppedError::ZeroRttRejected) => unreachable!("the edge accepts no early data"),
    }
}

/// How many datagrams a client may still send: earned by time, saved up for at most a second.
struct Allowance {
    per_s: u32,
    /// In thousandths of a datagram.
    saved: u64,
    since: Instant,
}

impl Allowance {
    fn new(per_s: u32) -> Self {
        Self {
            per_s,
            saved: u64::from(per_s) * 1000,
            since: Instant::now(),
        }
    }

    /// Whether one more may pass at `now`.
    fn take(&mut self, now: Instant) -> bool {
        // Whole milliseconds only, so that the rest of one is not lost to a client that sends often.
        let elapsed = now.saturating_duration_since(self.since).as_millis() as u64;
        self.since += Duration::from_millis(elapsed);
        let most = u64::from(self.per_s) * 1000;
        self.saved = elapsed
            .saturating_mul(u64::from(self.per_s))
            .saturating_add(self.saved)
            .min(most);
        let allowed = self.saved >= 1000;
        if allowed {
            self.saved -= 1000;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_send_its_rate_and_a_second_of_it_at_once() {
        let mut allowance = Allowance::new(20);
        let start = allowance.since;
        let allowed = |allowance: &mut Allowance, now| (0..100).filter(|_| allowance.take(now)).count();
        assert_eq!(allowed(&mut allowance, start), 20);
        assert_eq!(allowed(&mut allowance, start + Duration::from_millis(500)), 10);
        assert_eq!(allowed(&mut allowance, start + Duration::from_secs(3600)), 20);
        let mut passed = 0;
        for step in 1..=10_000u64 {
            let now = start + Duration::from_secs(3600) + Duration::from_micros(step * 900);
            passed += usize::from(allowance.take(now));
        }
        assert_eq!(passed, 180, "nine seconds' worth, whatever the steps");
    }
}
