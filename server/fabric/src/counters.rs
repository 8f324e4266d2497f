//! What the fabric counts, for the metrics.

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

/// Totals since the start of the process.
#[derive(Debug, Default)]
pub struct FabricCounters {
    /// Messages put into the inbox of a role of this process, wherever they came from.
    pub delivered: Counter,
    /// Messages queued for another node.
    pub forwarded: Counter,
    /// Messages that came from other nodes.
    pub received: Counter,
    /// Bytes written to other nodes: messages, envelopes and announcements.
    pub sent_bytes: Counter,
    /// Bytes read from other nodes.
    pub received_bytes: Counter,
    /// Messages dropped because nobody hosts the role they are for.
    pub dropped_no_route: Counter,
    /// Messages dropped because the role's inbox was full.
    pub dropped_inbox_full: Counter,
    /// Messages dropped because the link's queue was full, in messages or in bytes.
    pub dropped_queue_full: Counter,
    /// Messages dropped because they exceed the largest message between nodes.
    pub dropped_oversized: Counter,
    /// Links that came to stand.
    pub links_made: Counter,
    /// Links that ended, for whatever reason.
    pub links_lost: Counter,
    /// Attempts to connect to another node that failed.
    pub connects_failed: Counter,
    /// Nodes refused, at either end, because their certificate is missing or not of this cluster.
    pub strangers_refused: Counter,
    /// Nodes refused because they speak another version of the node protocol.
    pub versions_refused: Counter,
    /// Nodes refused because of their name: not in their certificate, or this node's own.
    pub names_refused: Counter,
    /// Nodes refused because they are linked already.
    pub duplicates_refused: Counter,
    /// Connections, from either end, that failed before the link stood for any other reason; and those refused
    /// because too many were at their greeting.
    pub greetings_failed: Counter,
}
