//! What clients send, and the rules of the transport: one bidirectional stream, opened by the client; messages and
//! datagrams within their limits. Whoever breaks one is closed with the reason that names it.

use crate::client::Client;
use crate::inbox::EdgeEvent;
use crate::shard::Shard;
use myriad_gateway::ClientInput;
use myriad_transport::quic::{ConnectionError, Dir};
use myriad_transport::{ConnectionKey, Event, Read};
use myriad_wire::CloseReason;
use myriad_wire::limits::DATAGRAM_BYTES_MAX;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Most bytes taken off a stream at once.
const READ_BYTES_MAX: usize = 8 * 1024;

impl Shard {
    /// Something happened on a connection.
    pub(crate) fn handle_event(&mut self, key: ConnectionKey, event: Event) {
        if event == Event::Connected {
            self.welcome(key);
            return;
        }
        // One that was refused, or has ended, may still have events on their way.
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let closing = client.closing;
        let went_on = match event {
            Event::Connected | Event::Available(_) => Ok(()),
            Event::Lost(error) => Err(self.why_lost(&error)),
            Event::Datagrams => self.read_datagrams(key),
            Event::Opened(Dir::Bi) => self.accept_stream(key),
            // The client opened a stream that the protocol does not know, or refuses to read the one that it does.
            Event::Opened(Dir::Uni) | Event::Stopped(..) => Err(CloseReason::Stream),
            Event::Readable(_) => self.read_stream(key),
            Event::Writable(_) => {
                self.write(key);
                Ok(())
            }
            // The client has what was sent before its close, or has had the time.
            Event::Finished(_) | Event::Alarm => closing.map_or(Ok(()), Err),
        };
        if let Err(reason) = went_on {
            self.end(key, reason);
        }
    }

    /// A handshake is done.
    fn welcome(&mut self, key: ConnectionKey) {
        let counters = &self.shared.counters;
        if let Some(reason) = self.shared.closing.get().copied() {
            self.close_connection(key, reason);
            return;
        }
        let datagram_bytes_max = self
            .driver
            .connection(key)
            .and_then(|mut connection| connection.datagram_bytes_max());
        if datagram_bytes_max.is_none_or(|bytes| bytes < DATAGRAM_BYTES_MAX) {
            // It can't be sent states: not a client of this protocol.
            counters.handshakes_failed.increment();
            self.close_connection(key, CloseReason::Version);
            return;
        }
        let connections_max = self.shared.config.connections_max as usize;
        let before = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if before >= connections_max {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            counters.refused_full.increment();
            self.close_connection(key, CloseReason::Full);
            return;
        }
        counters.accepted.increment();
        let conn = self.conn(key);
        let datagrams_per_s = self.shared.config.datagrams_per_s_max;
        self.clients.insert(Client::new(conn, key, datagrams_per_s));
        self.tell(EdgeEvent {
            conn,
            input: ClientInput::Connected,
        });
    }

    fn read_datagrams(&mut self, key: ConnectionKey) -> Result<(), CloseReason> {
        let (Some(client), Some(mut connection)) = (self.clients.get_mut(key), self.driver.connection(key))
        else {
            return Ok(());
        };
        let counters = &self.shared.counters;
        let now = Instant::now();
        while let Some(bytes) = connection.receive_datagram() {
            if client.closing.is_some() {
                continue;
            }
            counters.datagrams_received.increment();
            counters.received_bytes.add(bytes.len() as u64);
            if bytes.len() > DATAGRAM_BYTES_MAX {
                return Err(CloseReason::Oversized);
            }
            if !client.allowance.take(now) {
                counters.datagrams_excess.increment();
            } else if self.owed.is_empty() && self.shared.inbox.reserve() {
                self.arrivals.events.push(EdgeEvent {
                    conn: client.conn,
                    input: ClientInput::Datagram(bytes),
                });
            } else {
                counters.events_dropped.increment();
            }
        }
        Ok(())
    }

    fn accept_stream(&mut self, key: ConnectionKey) -> Result<(), CloseReason> {
        let (Some(client), Some(mut connection)) = (self.clients.get_mut(key), self.driver.connection(key))
        else {
            return Ok(());
        };
        while let Some(stream) = connection.accept(Dir::Bi) {
            if client.stream.replace(stream).is_some() {
                return Err(CloseReason::Stream);
            }
        }
        self.write(key);
        self.read_stream(key)
    }

    /// The inbox has room again.
    pub(crate) fn resume(&mut self, key: ConnectionKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.stalled = false;
        }
        if let Err(reason) = self.read_stream(key) {
            self.end(key, reason);
        }
    }

    /// Reads a stream until it has no more, or the gateway's inbox has no room for a message.
    fn read_stream(&mut self, key: ConnectionKey) -> Result<(), CloseReason> {
        let (Some(client), Some(mut connection)) = (self.clients.get_mut(key), self.driver.connection(key))
        else {
            return Ok(());
        };
        let Some(stream) = client.stream.filter(|_| client.closing.is_none()) else {
            return Ok(());
        };
        let counters = &self.shared.counters;
        loop {
            let message = match client.held.take() {
                Some(message) => Some(message),
                None => client
                    .deframer
                    .poll_message()
                    .map_err(|_| CloseReason::Oversized)?,
            };
            if let Some(message) = message {
                if !self.owed.is_empty() || !self.shared.inbox.reserve() {
                    client.held = Some(message);
                    if !client.stalled {
                        client.stalled = true;
                        self.stalled.push(key);
                    }
                    return Ok(());
                }
                counters.messages_received.increment();
                self.arrivals.events.push(EdgeEvent {
                    conn: client.conn,
                    input: ClientInput::Message(message),
                });
                continue;
            }
            match connection.read(stream, READ_BYTES_MAX) {
                Read::Chunk(bytes) => {
                    counters.received_bytes.add(bytes.len() as u64);
                    client.deframer.handle_bytes(&bytes);
                }
                Read::Blocked => return Ok(()),
                // The client has said all it has to say: a goodbye, unless it stopped in the middle of a message.
                Read::Finished if client.deframer.is_empty() => return Err(CloseReason::Left),
                Read::Finished => return Err(CloseReason::Malformed),
                // The client has abandoned the protocol's one stream.
                Read::Reset => return Err(CloseReason::Stream),
            }
        }
    }

    /// Why a connection was lost. A client has one reason to give, that it leaves.
    fn why_lost(&self, error: &ConnectionError) -> CloseReason {
        match error {
            ConnectionError::ApplicationClosed(closed)
                if closed.error_code.into_inner() == u64::from(CloseReason::Left.code()) =>
            {
                CloseReason::Left
            }
            ConnectionError::LocallyClosed => self
                .shared
                .closing
                .get()
                .copied()
                .unwrap_or(CloseReason::Shutdown),
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
