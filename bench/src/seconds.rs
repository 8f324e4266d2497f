//! A row per second of the measurement, for the report's plots.

use crate::histogram::Histogram;
use crate::sample::Live;
use crate::series::{BytesByKind, Cores, Second, Spread};
use crate::summary::Spent;

/// The rows so far.
pub(crate) struct Seconds {
    rows: Vec<Second>,
    before: Spent,
}

impl Seconds {
    /// The measurement begins, with so much spent before.
    pub(crate) fn new(before: Spent) -> Self {
        Self {
            rows: Vec::new(),
            before,
        }
    }

    /// In the last `seconds` this was found by so many clients.
    pub(crate) fn push(&mut self, seconds: f64, clients: u32, live: &Live, now: Spent) {
        let spent = now.since(&self.before);
        self.before = now;
        let per_s = |ns: u64| ns as f64 / 1e9 / seconds;
        let (decode, verify) = (per_s(live.decode_ns), per_s(live.verify_ns));
        self.rows.push(Second {
            second: self.rows.len() as u32,
            staleness_near: spread(&live.near_ms),
            staleness_all: spread(&live.all_ms),
            bytes: bytes(live, seconds * f64::from(clients.max(1))),
            cores: Cores {
                server: spent.server_s.map(|cpu_s| cpu_s / seconds),
                bots_net: Some((spent.bots_s / seconds - decode - verify).max(0.0)),
                bots_decode: Some(decode),
                bots_verify: Some(verify + spent.truth_s / seconds),
                relay: None,
            },
            server_rss_mib: now.server_rss_mib,
        });
    }

    pub(crate) fn finish(self) -> Vec<Second> {
        self.rows
    }
}

fn spread(histogram: &Histogram) -> Option<Spread> {
    Some(Spread {
        p50: histogram.quantile(0.5)?,
        p99: histogram.quantile(0.99)?,
    })
}

fn bytes(live: &Live, client_seconds: f64) -> BytesByKind {
    let bytes = &live.bytes;
    let mean = |sum: u64| sum as f64 / client_seconds;
    BytesByKind {
        near: mean(bytes.near),
        crowd_state: mean(bytes.crowd + bytes.crowd_state),
        crowd_membership: mean(bytes.crowd_membership),
        crowd_keyframe: mean(bytes.crowd_keyframe),
        identity: mean(bytes.identity + bytes.view + bytes.messages + bytes.crowd_events),
        own: mean(bytes.own),
        transport: mean(live.udp_bytes.saturating_sub(bytes.total())),
    }
}
