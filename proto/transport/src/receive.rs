//! Packets in: batches from the sockets, each packet to its connection, its shard, or the door.

use crate::cid::CID_BYTES;
use crate::driver::{Driver, SocketId};
use bytes::BytesMut;
use quinn_proto::{ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, Incoming, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta};
use std::io::{ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Room for the largest that the system can give at once: packets of one sender, glued together. Not a power of two,
/// so that the beginnings of the buffers don't compete for the same lines of the cache.
const BUFFER_BYTES: usize = 65_536 + 1_280;
/// Most batches from one socket in a turn, so that what they call for gets its turn as well.
const BATCHES_MAX: usize = 8;
/// Most handshakes begun in a turn: about a millisecond's work.
const HANDSHAKES_BEGUN_MAX: usize = 4;

/// Reused for each batch.
#[derive(Debug)]
pub(crate) struct ReceiveBuffers {
    bytes: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self {
            bytes: vec![0; BUFFER_BYTES * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

/// Someone who waits for its handshake to begin. What more comes of it meanwhile the endpoint keeps.
#[derive(Debug)]
pub(crate) struct Knock {
    socket: SocketId,
    incoming: Incoming,
    at: Instant,
}

/// A packet on its way from the shard that received it to the one whose connection it belongs to.
#[derive(Clone, Debug)]
pub struct Packet {
    remote: SocketAddr,
    local_ip: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    bytes: BytesMut,
}

impl Packet {
    /// Its length.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is in it. None that is handed over is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Knock {
    /// Gives no answer: it tries again by itself, or gives up.
    pub(crate) fn ignore(self, endpoint: &mut Endpoint) {
        endpoint.ignore(self.incoming);
    }
}

impl Driver {
    /// Takes in what the sockets have, within limits.
    pub(crate) fn receive_batches(&mut self, now: Instant) {
        let mut buffers = self.receive.take().expect("put back below");
        for index in 0..self.sockets.len() {
            for _ in 0..BATCHES_MAX {
                if !self.sockets[index].readable {
                    break;
                }
                self.receive_batch(SocketId(index as u32), &mut buffers, now);
            }
        }
        self.receive = Some(buffers);
    }

    fn receive_batch(&mut self, socket: SocketId, buffers: &mut ReceiveBuffers, now: Instant) {
        let mut chunks = buffers.bytes.chunks_exact_mut(BUFFER_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().expect("one for each")));
        let received = self.sockets[socket.index()].receive(&mut slices, &mut buffers.metas);
        let count = match received {
            Ok(count) => count,
            Err(error) => {
                // The system says when there is more. Other errors are of a single packet, such as that nobody
                // listens where an earlier one went.
                let over = error.kind() == ErrorKind::WouldBlock;
                self.sockets[socket.index()].readable = !over;
                if !over {
                    tracing::debug!("receiving: {error}");
                }
                return;
            }
        };
        self.counters.receive_calls += 1;
        // Fewer than asked for: there were no more, and the system says when there are.
        self.sockets[socket.index()].readable = count == BATCH_SIZE;
        for (meta, bytes) in buffers.metas[..count]
            .iter()
            .zip(buffers.bytes.chunks_exact(BUFFER_BYTES))
        {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            for bytes in bytes[..meta.len].chunks(meta.stride.max(1)) {
                self.counters.packets_received += 1;
                self.counters.received_bytes += bytes.len() as u64;
                self.sort_packet(socket, (meta.addr, meta.dst_ip, ecn), bytes, now);
            }
        }
    }

    /// Sets a packet for another shard aside, and takes in any other.
    fn sort_packet(
        &mut self,
        socket: SocketId,
        (remote, local_ip, ecn): (SocketAddr, Option<IpAddr>, Option<EcnCodepoint>),
        bytes: &[u8],
        now: Instant,
    ) {
        if bytes.len() <= CID_BYTES {
            return;
        }
        let packet = Packet {
            remote,
            local_ip,
            ecn,
            bytes: bytes.into(),
        };
        if let Some((own, key)) = &self.config.shard
            && let Some(shard) = key.shard_of(bytes)
            && shard != *own
        {
            self.counters.packets_foreign += 1;
            self.foreign.push_back((shard, packet));
            return;
        }
        self.take_in(socket, packet, now);
    }

    /// Takes in a packet that another shard received.
    pub fn handle_packet(&mut self, packet: Packet) {
        self.counters.packets_adopted += 1;
        self.take_in(SocketId(0), packet, Instant::now());
        self.collect_events();
    }

    fn take_in(&mut self, socket: SocketId, packet: Packet, now: Instant) {
        self.packet.clear();
        let event = self.endpoint.handle(
            now,
            packet.remote,
            packet.local_ip,
            packet.ecn,
            packet.bytes,
            &mut self.packet,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(ConnectionHandle(index), event)) => {
                let index = index as u32;
                if let Some(entry) = self.entry_mut(index) {
                    entry.connection.handle_event(event);
                    self.touch(index);
                    self.mark_dirty(index);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.knock(socket, incoming, now),
            Some(DatagramEvent::Response(transmit)) => self.respond(socket, transmit),
            None => {}
        }
    }

    /// Someone wants to connect: waits at the door, unless too many do or it is to prove its address first.
    fn knock(&mut self, socket: SocketId, incoming: Incoming, now: Instant) {
        let handshakes = self.handshakes as usize + self.door.len();
        if handshakes >= self.config.handshakes_retry_from as usize && !incoming.remote_address_validated() {
            self.counters.handshakes_retried += 1;
            self.packet.clear();
            match self.endpoint.retry(incoming, &mut self.packet) {
                Ok(transmit) => self.respond(socket, transmit),
                // Only one whose address is validated.
                Err(refused) => self.endpoint.ignore(refused.into_incoming()),
            }
        } else if handshakes >= self.config.handshakes_max as usize {
            self.counters.handshakes_ignored += 1;
            self.endpoint.ignore(incoming);
        } else {
            self.door.push_back(Knock {
                socket,
                incoming,
                at: now,
            });
        }
    }

    /// Begins the next handshakes, a few: each costs as much as a hundred packets of those who are in, who would wait
    /// for all of a rush.
    pub(crate) fn answer_door(&mut self, now: Instant) {
        for _ in 0..HANDSHAKES_BEGUN_MAX {
            let Some(Knock { socket, incoming, at }) = self.door.pop_front() else {
                return;
            };
            if now.duration_since(at) >= self.config.handshake_timeout {
                self.counters.handshakes_ignored += 1;
                self.endpoint.ignore(incoming);
                continue;
            }
            self.packet.clear();
            match self.endpoint.accept(incoming, now, &mut self.packet, None) {
                Ok((handle, connection)) => _ = self.insert(handle, connection, socket, true, now),
                Err(refused) => {
                    self.counters.handshakes_failed += 1;
                    if let Some(transmit) = refused.response {
                        self.respond(socket, transmit);
                    }
                }
            }
        }
    }

    /// Sends an answer that belongs to no connection. There is no room for it while the socket is blocked.
    fn respond(&mut self, socket: SocketId, transmit: Transmit) {
        if self.sockets[socket.index()].is_blocked() {
            self.counters.sends_failed += 1;
            return;
        }
        self.send_packet(socket, transmit);
    }
}
