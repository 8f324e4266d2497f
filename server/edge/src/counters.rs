//! What the edge counts, for the metrics.

use myriad_transport::Counters;
use myriad_wire::CloseReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}

/// Totals since the edge's start.
#[derive(Debug, Default)]
pub struct EdgeCounters {
    /// Connections accepted: each was told to the gateway.
    pub accepted: Counter,
    /// Connections refused because there were too many.
    pub refused_full: Counter,
    /// Handshakes that failed or took too long.
    pub handshakes_failed: Counter,
    /// Handshakes answered with a request to prove the address first.
    pub handshakes_retried: Counter,
    /// Handshakes left unanswered because too many were under way.
    pub handshakes_ignored: Counter,
    /// Bytes of messages and datagrams handed to QUIC.
    pub sent_bytes: Counter,
    /// Bytes of the stream and of datagrams taken from QUIC.
    pub received_bytes: Counter,
    /// Messages handed to QUIC.
    pub messages_sent: Counter,
    /// Messages taken from QUIC.
    pub messages_received: Counter,
    /// Messages refused, and their client closed, because too much waited for it.
    pub messages_refused: Counter,
    /// Datagrams handed to QUIC.
    pub datagrams_sent: Counter,
    /// Datagrams taken from QUIC.
    pub datagrams_received: Counter,
    /// Datagrams handed over although older ones of the client still waited: that many of those were dropped.
    pub datagrams_dropped: Counter,
    /// Datagrams from clients dropped because the client sent more than its share.
    pub datagrams_excess: Counter,
    /// Datagrams from clients dropped because the gateway's inbox was full.
    pub events_dropped: Counter,
    /// Packets taken from the system.
    pub packets_received: Counter,
    /// Calls that took them, each a batch.
    pub receive_calls: Counter,
    /// Packets given to the system.
    pub packets_sent: Counter,
    /// Calls that gave them, each with a burst of one client's packets.
    pub send_calls: Counter,
    /// Times that the system took no packets for a moment.
    pub sends_blocked: Counter,
    /// Packets that the system refused to send.
    pub sends_failed: Counter,
    /// Packets received by another shard than their client's, and handed over.
    pub packets_handed_over: Counter,
    /// Packets for another shard that had more waiting than it may.
    pub packets_dropped: Counter,
    /// Indexed by the reason's code.
    closed: [Counter; CloseReason::ALL.len()],
}

impl EdgeCounters {
    /// Accepted connections that ended for `reason`.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> &Counter {
        &self.closed[reason.code() as usize]
    }

    /// A shard's driver has come from `before` to `now`.
    pub(crate) fn add_driver(&self, before: &Counters, now: &Counters) {
        for (counter, before, now) in [
            (
                &self.packets_received,
                before.packets_received,
                now.packets_received,
            ),
            (&self.receive_calls, before.receive_calls, now.receive_calls),
            (&self.packets_sent, before.packets_sent, now.packets_sent),
            (&self.send_calls, before.send_calls, now.send_calls),
            (&self.sends_blocked, before.sends_blocked, now.sends_blocked),
            (&self.sends_failed, before.sends_failed, now.sends_failed),
            (
                &self.packets_handed_over,
                before.packets_foreign,
                now.packets_foreign,
            ),
            (
                &self.handshakes_failed,
                before.handshakes_failed,
                now.handshakes_failed,
            ),
            (
                &self.handshakes_retried,
                before.handshakes_retried,
                now.handshakes_retried,
            ),
            (
                &self.handshakes_ignored,
                before.handshakes_ignored,
                now.handshakes_ignored,
            ),
        ] {
            if now != before {
                counter.add(now - before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let counters = EdgeCounters::default();
        for reason in CloseReason::ALL {
            counters.closed(*reason).increment();
        }
        assert!(counters.closed.iter().all(|counter| counter.get() == 1));
    }
}
