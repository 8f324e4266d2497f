//! What the edge counts, for the metrics.

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
    /// Indexed by the reason's code.
    closed: [Counter; CloseReason::ALL.len()],
}

impl EdgeCounters {
    /// Accepted connections that ended for `reason`.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> &Counter {
        &self.closed[reason.code() as usize]
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
