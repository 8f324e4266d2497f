//! Packets out: a phase at a time, so that between two of them arriving packets are taken in. Thousands of
//! connections have something to send at a tick; sent in one go, the clients' packets and acknowledgements would
//! overflow the socket meanwhile.

use crate::driver::{Driver, SocketId};
use crate::socket::Sent;
use quinn_proto::Transmit;
use std::time::Instant;

/// Connections served in a phase: about a millisecond, in which fewer packets arrive than the smallest socket
/// buffer holds.
const PHASE_CONNECTIONS: usize = 128;
/// Bursts of one connection before the others have theirs.
const BURSTS_MAX: usize = 4;

impl Driver {
    /// Sends what the next connections have to send.
    pub(crate) fn transmit_phase(&mut self) {
        for _ in 0..PHASE_CONNECTIONS {
            let Some(index) = self.dirty.pop_front() else {
                break;
            };
            self.transmit(index);
        }
    }

    /// Sends what a connection has to send. It stays dirty if something is left.
    fn transmit(&mut self, index: u32) {
        let Some(socket) = self
            .entry(index)
            .filter(|entry| entry.dirty)
            .map(|entry| entry.socket)
        else {
            return;
        };
        if self.sockets[socket.index()].is_blocked() {
            self.sockets[socket.index()].waiting.push(index);
            return;
        }
        if let Some(entry) = self.entry_mut(index) {
            entry.dirty = false;
        }
        self.settle(index);
        let now = Instant::now();
        let mut sent_all = false;
        for _ in 0..BURSTS_MAX {
            let Some(transmit) = self.build_burst(index, socket, now) else {
                sent_all = true;
                break;
            };
            if self.send_packet(socket, transmit) == Sent::Held {
                break;
            }
        }
        // Before the settling: that marks it once more if the endpoint has given it something new to send.
        if !sent_all {
            self.mark_dirty(index);
        }
        self.settle(index);
    }

    /// Writes the connection's next burst into `packet`.
    fn build_burst(&mut self, index: u32, socket: SocketId, now: Instant) -> Option<Transmit> {
        let mut packet = std::mem::take(&mut self.packet);
        packet.clear();
        let packets_max = self
            .entry(index)
            .map(|entry| self.sockets[socket.index()].burst_packets_max(entry.connection.current_mtu()));
        let transmit = self
            .entry_mut(index)
            .zip(packets_max)
            .and_then(|(entry, packets_max)| entry.connection.poll_transmit(now, packets_max, &mut packet));
        self.packet = packet;
        transmit
    }

    /// Sends the burst in `packet`.
    pub(crate) fn send_packet(&mut self, socket: SocketId, transmit: Transmit) -> Sent {
        self.sockets[socket.index()].send(
            transmit,
            &mut self.packet,
            self.poll.registry(),
            socket.token(),
            &mut self.counters,
        )
    }
}
