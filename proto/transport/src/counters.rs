//! What a driver counts.

/// Totals since the driver's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// UDP datagrams received.
    pub packets_received: u64,
    /// Calls that received them.
    pub receive_calls: u64,
    /// Bytes in them.
    pub received_bytes: u64,
    /// UDP datagrams handed to the system.
    pub packets_sent: u64,
    /// Calls that handed them over: each a burst of one connection's packets.
    pub send_calls: u64,
    /// Bytes in them.
    pub sent_bytes: u64,
    /// Times that the system took no more for a moment.
    pub sends_blocked: u64,
    /// UDP datagrams that the system refused for another reason, or that had no room while it took none.
    pub sends_failed: u64,
    /// Packets set aside for another shard.
    pub packets_foreign: u64,
    /// Packets that came from another shard.
    pub packets_adopted: u64,
    /// Handshakes of incoming connections that failed or took too long.
    pub handshakes_failed: u64,
    /// Handshakes answered with a request to prove the address first.
    pub handshakes_retried: u64,
    /// Handshakes left unanswered because too many were under way.
    pub handshakes_ignored: u64,
}
