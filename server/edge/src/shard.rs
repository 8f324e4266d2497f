//! One thread's share of the clients: its loop, the gateway's outputs, and what goes to the gateway and the other
//! shards. What clients send is read in `session`.

use crate::client::Clients;
use crate::conn::{conn_of, key_of};
use crate::edge::Shared;
use crate::inbox::{Arrivals, EdgeEvent};
use bytes::Bytes;
use myriad_gateway::{ClientInput, ClientOutput};
use myriad_transport::quic::VarInt;
use myriad_transport::{ConnectionKey, Counters, Driver, Packet, ShardId};
use myriad_wire::CloseReason;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Most messages that wait for one client, whatever their size.
const QUEUE_MESSAGES_MAX: usize = 1024;
/// How long to wait before the gateway's inbox is tried again when it is full.
const INBOX_PAUSE: Duration = Duration::from_millis(1);
/// How long a client may take to acknowledge what was sent before it is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the clients have to answer when all are closed.
pub(crate) const CLOSE_ALL_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) driver: Driver,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clients: Clients,
    /// What goes to the gateway at the turn's end. Each has its place in the inbox.
    pub(crate) arrivals: Arrivals,
    /// What must reach the gateway, and had no place yet. While there is any, nothing else may pass it.
    pub(crate) owed: VecDeque<EdgeEvent>,
    /// Clients with a message that had no place.
    pub(crate) stalled: Vec<ConnectionKey>,
    /// Clients with outputs that were not yet written.
    fresh: Vec<ConnectionKey>,
    /// Clients whose backlog is to be told.
    backlogs_due: Vec<ConnectionKey>,
    /// Reused.
    outputs: Vec<ClientOutput>,
    /// Reused: packets for this shard.
    packets: Vec<Packet>,
    /// Reused: packets for each shard.
    foreign: Vec<Vec<Packet>>,
    /// The driver's counters as they were added to the shared ones.
    counted: Counters,
    /// When the thread ends at the latest, once the edge is closing.
    ends_by: Option<Instant>,
}

impl Shard {
    pub(crate) fn new(id: ShardId, driver: Driver, shared: Arc<Shared>) -> Self {
        let foreign = shared.mailboxes.iter().map(|_| Vec::new()).collect();
        Self {
            id,
            driver,
            shared,
            clients: Clients::default(),
            arrivals: Arrivals::default(),
            owed: VecDeque::new(),
            stalled: Vec::new(),
            fresh: Vec::new(),
            backlogs_due: Vec::new(),
            outputs: Vec::new(),
            packets: Vec::new(),
            foreign,
            counted: Counters::default(),
            ends_by: None,
        }
    }

    /// Serves until the edge is closed.
    pub(crate) fn run(mut self) {
        while !self.has_ended() {
            if let Err(error) = self.driver.turn(self.wakes_by()) {
                // Nothing can be received any more; the node notices that the thread has ended.
                tracing::error!(shard = self.id.0, "can't wait for packets: {error}");
                break;
            }
            self.handle_packets();
            self.handle_arrivals();
            self.handle_outputs();
            self.handle_closing();
            self.hand_over();
            self.report();
        }
        self.shared.mailboxes[usize::from(self.id.0)].close();
    }

    /// When to look again although nothing came.
    fn wakes_by(&self) -> Option<Instant> {
        let waits = !self.owed.is_empty() || !self.stalled.is_empty() || !self.backlogs_due.is_empty();
        let pause = waits.then(|| Instant::now() + INBOX_PAUSE);
        pause.or(self.ends_by)
    }

    fn has_ended(&self) -> bool {
        let Some(ends_by) = self.ends_by else { return false };
        if self.driver.is_idle() && self.owed.is_empty() {
            return true;
        }
        let late = Instant::now() >= ends_by;
        if late && !self.driver.is_idle() {
            tracing::warn!("some clients could not be told that the server is closing");
        }
        late
    }

    /// Takes in what other shards received for this one.
    fn handle_packets(&mut self) {
        let mut packets = std::mem::take(&mut self.packets);
        self.shared.mailboxes[usize::from(self.id.0)].take_packets(&mut packets);
        for packet in packets.drain(..) {
            self.driver.handle_packet(packet);
        }
        self.packets = packets;
    }

    fn handle_arrivals(&mut self) {
        while !self.owed.is_empty() && self.shared.inbox.reserve() {
            let event = self.owed.pop_front().expect("just looked at");
            self.pass_on(event);
        }
        if !self.stalled.is_empty() && self.owed.is_empty() && self.shared.inbox.has_room() {
            for key in std::mem::take(&mut self.stalled) {
                self.resume(key);
            }
        }
        while let Some((key, event)) = self.driver.poll_event() {
            self.handle_event(key, event);
        }
    }

    /// Takes what the gateway has put out: first all of it, so that each client's leaves in one burst.
    fn handle_outputs(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.shared.mailboxes[usize::from(self.id.0)].take_outputs(&mut outputs);
        for output in outputs.drain(..) {
            match output {
                ClientOutput::Message(conn, bytes) => self.queue_message(key_of(conn), bytes),
                ClientOutput::Datagram(conn, bytes) => self.send_datagram(key_of(conn), bytes),
                ClientOutput::Close(conn, reason) => self.begin_close(key_of(conn), reason),
            }
        }
        self.outputs = outputs;
        let mut fresh = std::mem::take(&mut self.fresh);
        for key in fresh.drain(..) {
            if let Some(client) = self.clients.get_mut(key) {
                client.fresh = false;
                self.write(key);
            }
        }
        self.fresh = fresh;
    }

    fn queue_message(&mut self, key: ConnectionKey, bytes: Bytes) {
        let backlog_bytes_max = self.shared.config.backlog_bytes_max as usize;
        let fits = |shard: &mut Self| {
            shard.clients.get_mut(key).is_some_and(|client| {
                client.outbox.bytes() + bytes.len() <= backlog_bytes_max
                    && client.outbox.chunks() < QUEUE_MESSAGES_MAX
            })
        };
        if self
            .clients
            .get_mut(key)
            .is_none_or(|client| client.closing.is_some())
        {
            return;
        }
        if !fits(self) {
            // What came before in this batch may not have been written.
            self.write(key);
            if !fits(self) {
                self.shared.counters.messages_refused.increment();
                self.end(key, CloseReason::Flood);
                return;
            }
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.outbox.push(bytes);
        }
        self.mark_fresh(key);
    }

    fn send_datagram(&mut self, key: ConnectionKey, bytes: Bytes) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(mut connection) = self.driver.connection(key).filter(|_| client.closing.is_none()) else {
            return;
        };
        let counters = &self.shared.counters;
        let length = bytes.len() as u64;
        // Fails only if the connection was just lost: its support for datagrams of every size we send was checked
        // when it was accepted.
        if let Ok(displaces) = connection.send_datagram(bytes) {
            counters.datagrams_sent.increment();
            counters.sent_bytes.add(length);
            counters.datagrams_dropped.add(u64::from(displaces));
        }
    }

    fn begin_close(&mut self, key: ConnectionKey, reason: CloseReason) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.closing.get_or_insert(reason);
        if let Some(mut connection) = self.driver.connection(key) {
            connection.set_alarm(Some(Instant::now() + CLOSE_TIMEOUT));
        }
        self.mark_fresh(key);
    }

    fn mark_fresh(&mut self, key: ConnectionKey) {
        if let Some(client) = self.clients.get_mut(key)
            && !client.fresh
        {
            client.fresh = true;
            self.fresh.push(key);
        }
    }

    /// Writes what QUIC takes of what waits for a client.
    pub(crate) fn write(&mut self, key: ConnectionKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let closing = client.closing;
        let (Some(stream), Some(mut connection)) = (client.stream, self.driver.connection(key)) else {
            // Its client has not opened the stream, so nothing can be told before the end.
            match closing {
                Some(reason) => self.end(key, reason),
                None => self.note_backlog(key),
            }
            return;
        };
        let chunks = client.outbox.chunks();
        let Ok(bytes) = client.outbox.write(&mut connection, stream) else {
            // The client refuses to read the protocol's one stream.
            self.end(key, CloseReason::Stream);
            return;
        };
        let counters = &self.shared.counters;
        if bytes > 0 {
            counters.sent_bytes.add(bytes as u64);
            counters
                .messages_sent
                .add((chunks - client.outbox.chunks()) as u64);
        }
        if let Some(reason) = closing
            && client.outbox.is_empty()
            && !client.finished
        {
            client.finished = true;
            if connection.finish(stream).is_err() {
                self.end(key, reason);
                return;
            }
        }
        self.note_backlog(key);
    }

    fn note_backlog(&mut self, key: ConnectionKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let bytes = client.outbox.bytes();
        let total = &self.shared.backlog_bytes;
        total.fetch_add(bytes, Ordering::Relaxed);
        total.fetch_sub(client.backlog_counted, Ordering::Relaxed);
        client.backlog_counted = bytes;
        if !client.backlog_due && client.backlog_differs() {
            client.backlog_due = true;
            self.backlogs_due.push(key);
        }
    }

    /// Closes a connection now. If the gateway has given a reason before, that is the reason.
    pub(crate) fn end(&mut self, key: ConnectionKey, reason: CloseReason) {
        let Some(client) = self.clients.remove(key) else {
            return;
        };
        let reason = client.closing.unwrap_or(reason);
        self.close_connection(key, reason);
        self.shared
            .backlog_bytes
            .fetch_sub(client.backlog_counted, Ordering::Relaxed);
        self.shared.counters.closed(reason).increment();
        self.tell(EdgeEvent {
            conn: client.conn,
            input: ClientInput::Closed(reason),
        });
    }

    pub(crate) fn close_connection(&mut self, key: ConnectionKey, reason: CloseReason) {
        if let Some(mut connection) = self.driver.connection(key) {
            let label = Bytes::from_static(reason.label().as_bytes());
            connection.close(VarInt::from_u32(reason.code()), label);
        }
    }

    /// Tells the gateway something that it must know, at once or as soon as there is room.
    pub(crate) fn tell(&mut self, event: EdgeEvent) {
        if self.owed.is_empty() && self.shared.inbox.reserve() {
            self.pass_on(event);
        } else {
            self.owed.push_back(event);
        }
    }

    fn pass_on(&mut self, event: EdgeEvent) {
        // Only now may another take its place: so what is owed to the gateway has a limit too.
        if let ClientInput::Closed(_) = event.input {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
        self.arrivals.events.push(event);
    }

    /// Once the edge is closing, closes everything.
    fn handle_closing(&mut self) {
        let Some(reason) = self.shared.closing.get().copied() else {
            return;
        };
        if self.ends_by.is_none() {
            self.ends_by = Some(Instant::now() + CLOSE_ALL_TIMEOUT);
            self.driver.stop_accepting();
            for key in self.clients.keys() {
                self.end(key, reason);
            }
        }
    }

    /// Gives the other shards the packets of their clients.
    fn hand_over(&mut self) {
        let mut any = false;
        while let Some((shard, packet)) = self.driver.poll_foreign() {
            match self.foreign.get_mut(usize::from(shard.0)) {
                Some(packets) => packets.push(packet),
                // Made up by somebody: there is no such shard.
                None => self.shared.counters.packets_dropped.increment(),
            }
            any = true;
        }
        if any {
            for (mailbox, packets) in self.shared.mailboxes.iter().zip(&mut self.foreign) {
                mailbox.post_packets(packets, &self.shared.counters);
            }
        }
    }

    /// Hands the turn's arrivals to the gateway, and the counters to whoever reads them.
    fn report(&mut self) {
        while let Some(key) = self.backlogs_due.last().copied() {
            if self.clients.get_mut(key).is_some() && !self.shared.inbox.reserve() {
                break;
            }
            self.backlogs_due.pop();
            if let Some(client) = self.clients.get_mut(key) {
                client.backlog_due = false;
                self.arrivals.backlogs.push(client.tell_backlog());
            }
        }
        self.shared.inbox.append(&mut self.arrivals);
        let counted = *self.driver.counters();
        if counted != self.counted {
            self.shared.counters.add_driver(&self.counted, &counted);
            self.counted = counted;
        }
    }

    /// The id of a new connection.
    pub(crate) fn conn(&self, key: ConnectionKey) -> myriad_gateway::ConnId {
        conn_of(self.id, key)
    }
}
