//! What waits for a shard: outputs of the gateway, and packets that other shards received.

use crate::EdgeCounters;
use myriad_gateway::ClientOutput;
use myriad_transport::{Packet, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most outputs that wait for a shard: some ticks' for ten thousand clients. Beyond it datagrams are dropped; messages
/// are what a client must get, and the gateway limits them.
const OUTPUTS_MAX: usize = 1 << 18;
/// Most packets from other shards that wait for one. Only clients that change their address cause them.
const PACKETS_MAX: usize = 1 << 14;

#[derive(Debug)]
pub(crate) struct Mailbox {
    waker: Waker,
    outputs: Mutex<Outputs>,
    packets: Mutex<Vec<Packet>>,
}

#[derive(Debug, Default)]
struct Outputs {
    waiting: Vec<ClientOutput>,
    /// The shard has ended: nobody takes them.
    closed: bool,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            waker,
            outputs: Mutex::default(),
            packets: Mutex::default(),
        }
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Hands outputs over; `batch` is empty afterwards, but not without room.
    pub(crate) fn post(&self, batch: &mut Vec<ClientOutput>, counters: &EdgeCounters) {
        if batch.is_empty() {
            return;
        }
        let mut outputs = lock(&self.outputs);
        if outputs.closed {
            batch.clear();
            return;
        }
        if outputs.waiting.len() + batch.len() > OUTPUTS_MAX {
            let before = batch.len();
            batch.retain(|output| !matches!(output, ClientOutput::Datagram(..)));
            counters.datagrams_dropped.add((before - batch.len()) as u64);
        }
        if outputs.waiting.is_empty() {
            std::mem::swap(&mut outputs.waiting, batch);
        } else {
            outputs.waiting.append(batch);
        }
        drop(outputs);
        self.waker.wake();
    }

    /// Puts the outputs that wait in the place of `taken`, which is empty.
    pub(crate) fn take_outputs(&self, taken: &mut Vec<ClientOutput>) {
        debug_assert!(taken.is_empty());
        std::mem::swap(&mut lock(&self.outputs).waiting, taken);
    }

    /// Hands packets over; `batch` is empty afterwards.
    pub(crate) fn post_packets(&self, batch: &mut Vec<Packet>, counters: &EdgeCounters) {
        if batch.is_empty() {
            return;
        }
        let mut packets = lock(&self.packets);
        let room = PACKETS_MAX.saturating_sub(packets.len());
        if batch.len() > room {
            counters.packets_dropped.add((batch.len() - room) as u64);
            batch.truncate(room);
        }
        packets.append(batch);
        drop(packets);
        self.waker.wake();
    }

    /// Puts the packets that wait in the place of `taken`, which is empty.
    pub(crate) fn take_packets(&self, taken: &mut Vec<Packet>) {
        debug_assert!(taken.is_empty());
        std::mem::swap(&mut *lock(&self.packets), taken);
    }

    /// The shard has ended.
    pub(crate) fn close(&self) {
        let mut outputs = lock(&self.outputs);
        outputs.closed = true;
        outputs.waiting = Vec::new();
        drop(outputs);
        *lock(&self.packets) = Vec::new();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
