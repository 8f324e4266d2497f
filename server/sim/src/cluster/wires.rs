//! The ways between clients and gateways: a stream each way that keeps its order and loses nothing, but stands still
//! at times, and datagrams of which each goes its own way or none.

use super::{Cluster, Event};
use crate::coverage::Exercise;
use bytes::Bytes;
use myriad_gateway::ConnId;
use myriad_wire::CloseReason;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// How long anything is under way, in microseconds.
const JOURNEY_US: RangeInclusive<u64> = 500..=15_000;
/// How much later a late datagram is: younger ones overtake it.
const LATE_US: RangeInclusive<u64> = 20_000..=600_000;

/// What goes along a stream.
#[derive(Debug)]
pub(super) enum Item {
    /// The connection is there.
    Open,
    /// Some bytes.
    Bytes(Bytes),
    /// The other side has closed.
    Close(CloseReason),
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    queue: VecDeque<(u64, Item)>,
    /// Nothing arrives earlier: what was sent before, or where the stream stands still.
    pub(super) not_before_us: u64,
    bytes: usize,
}

impl Pipe {
    /// Puts something in that would arrive at `at_us` if it were alone; answers when it does.
    pub(super) fn put(&mut self, at_us: u64, item: Item) -> u64 {
        let at_us = at_us.max(self.not_before_us);
        self.not_before_us = at_us;
        if let Item::Bytes(bytes) = &item {
            self.bytes += bytes.len();
        }
        self.queue.push_back((at_us, item));
        at_us
    }

    /// The next thing that has arrived.
    pub(super) fn take(&mut self, now_us: u64) -> Option<Item> {
        if self.queue.front()?.0 > now_us {
            return None;
        }
        let (_, item) = self.queue.pop_front()?;
        if let Item::Bytes(bytes) = &item {
            self.bytes -= bytes.len();
        }
        Some(item)
    }

    /// Bytes under way or waiting to be read.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Cluster {
    /// Something is put on the stream to a client.
    pub(super) fn send_to_client(&mut self, conn: ConnId, item: Item) {
        let at_us = self.now_us + self.dice.wires.within(JOURNEY_US);
        if let Some(connection) = self.connections.get_mut(&conn) {
            let at_us = connection.to_client.put(at_us, item);
            self.agenda.put(at_us, Event::StreamToClient(conn));
        }
    }

    /// Something is put on the stream to a gateway.
    pub(super) fn send_to_gateway(&mut self, conn: ConnId, item: Item) {
        let at_us = self.now_us + self.dice.wires.within(JOURNEY_US);
        if let Some(connection) = self.connections.get_mut(&conn) {
            let at_us = connection.to_gateway.put(at_us, item);
            self.agenda.put(at_us, Event::StreamToGateway(conn));
        }
    }

    /// Sends a datagram on its way, if it gets through: `arrives` makes the event.
    pub(super) fn send_datagram(&mut self, datagram: Bytes, arrives: impl Fn(Bytes) -> Event) {
        self.digest.put(self.now_us, &datagram);
        let dice = &mut self.dice.wires;
        if dice.chance(self.strength.datagram_lost) {
            self.coverage.note(Exercise::DatagramLost);
            return;
        }
        let copies = 1 + u64::from(dice.chance(self.strength.datagram_doubled));
        self.coverage.add(Exercise::DatagramDoubled, copies - 1);
        for _ in 0..copies {
            let mut at_us = self.now_us + dice.within(JOURNEY_US);
            if dice.chance(self.strength.datagram_late) {
                at_us += dice.within(LATE_US);
                self.coverage.note(Exercise::DatagramLate);
            }
            self.agenda.put(at_us, arrives(datagram.clone()));
        }
    }
}
