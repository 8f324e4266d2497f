//! What was found, over any number of clients: histograms and maxima, merged by adding.

use super::{COVERED_MS, STEPS_PER_METRE};
use crate::histogram::Histogram;
use crate::series::Ring;
use crate::tracks::DecodeCounts;
use crate::truth::{TickTruth, Truth};
use myriad_client::{ByteCounters, TrackState};
use myriad_wire::Pos;

/// The width of a ring around an observer, in metres.
const RING_M: f64 = 10.0;
/// Rings that are told apart; what is farther counts to the last one.
const RINGS_MAX: usize = 40;

/// What was found, over any number of clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) near_ms: Histogram,
    pub(crate) all_ms: Histogram,
    pub(crate) shown_near: Histogram,
    pub(crate) shown_all: Histogram,
    /// By how much clients' clocks are behind the space's.
    pub(crate) behind_ms: Histogram,
    pub(crate) codec: CodecErrors,
    pub(crate) rings: Vec<RingTally>,
    pub(crate) client_ticks: u64,
    /// Client-ticks of those that came while others were measured, until they held their view.
    pub(crate) client_ticks_joining: f64,
    pub(crate) pairs: u64,
    pub(crate) properties: u64,
    pub(crate) properties_wrong: u64,
    pub(crate) decode: DecodeCounts,
    /// CPU time, in nanoseconds: of decoding, of the comparisons, and of everything else.
    pub(crate) decode_ns: u64,
    pub(crate) verify_ns: u64,
    pub(crate) net_ns: u64,
    /// Since somebody looked last.
    pub(crate) live: Live,
}

/// What was found since somebody looked last.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) near_ms: Histogram,
    pub(crate) all_ms: Histogram,
    pub(crate) bytes: ByteCounters,
    /// All that came, transport included.
    pub(crate) udp_bytes: u64,
    pub(crate) decode_ns: u64,
    pub(crate) verify_ns: u64,
}

/// Errors of decoded states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CodecErrors {
    pub(crate) compared: u64,
    /// Largest error per axis, in position units.
    pub(crate) near: u32,
    /// Largest squared distance, in position units.
    pub(crate) crowd: u64,
    /// Members of tracks: lives that the truth has never heard of.
    pub(crate) unknown: u64,
}

/// What is known of subjects at one distance.
#[derive(Debug, Default)]
pub(crate) struct RingTally {
    pairs: u64,
    staleness_sum_ms: f64,
    shown_sum: f64,
    staleness_ms: Histogram,
    shown: Histogram,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.near_ms.merge(&other.near_ms);
        self.all_ms.merge(&other.all_ms);
        self.shown_near.merge(&other.shown_near);
        self.shown_all.merge(&other.shown_all);
        self.behind_ms.merge(&other.behind_ms);
        self.codec.merge(&other.codec);
        if self.rings.len() < other.rings.len() {
            self.rings.resize_with(other.rings.len(), RingTally::default);
        }
        for (mine, theirs) in self.rings.iter_mut().zip(&other.rings) {
            mine.merge(theirs);
        }
        self.client_ticks += other.client_ticks;
        self.client_ticks_joining += other.client_ticks_joining;
        self.pairs += other.pairs;
        self.properties += other.properties;
        self.properties_wrong += other.properties_wrong;
        self.decode.add(&other.decode);
        self.decode_ns += other.decode_ns;
        self.verify_ns += other.verify_ns;
        self.net_ns += other.net_ns;
        self.live.merge(&other.live);
    }

    /// CPU time of a turn.
    pub(crate) fn spend(&mut self, net_ns: u64, decode_ns: u64, verify_ns: u64) {
        self.net_ns += net_ns;
        self.decode_ns += decode_ns;
        self.verify_ns += verify_ns;
        self.live.decode_ns += decode_ns;
        self.live.verify_ns += verify_ns;
    }

    /// `all` stalenesses of `ms`, `near` of them in the near tier. Answers how many are fresh.
    pub(crate) fn record(&mut self, ms: f64, (all, near): (u64, u64), measuring: bool) -> u64 {
        self.live.all_ms.record(ms, all);
        self.live.near_ms.record(ms, near);
        if measuring {
            self.all_ms.record(ms, all);
            self.near_ms.record(ms, near);
        }
        if ms <= COVERED_MS { all } else { 0 }
    }

    /// A subject `distance_m` away was shown so far off and is so stale.
    pub(crate) fn record_ring(&mut self, distance_m: f64, staleness_ms: f64, error_m: f64) {
        let ring = ((distance_m / RING_M) as usize).min(RINGS_MAX - 1);
        if self.rings.len() <= ring {
            self.rings.resize_with(ring + 1, RingTally::default);
        }
        let ring = &mut self.rings[ring];
        ring.pairs += 1;
        ring.staleness_sum_ms += staleness_ms;
        ring.shown_sum += error_m;
        ring.staleness_ms.record(staleness_ms, 1);
        ring.shown.record(error_m * STEPS_PER_METRE, 1);
    }

    /// For the report's plots.
    pub(crate) fn rings(&self) -> Vec<Ring> {
        let rings = self.rings.iter().enumerate();
        rings
            .filter(|(_, ring)| ring.pairs > 0)
            .map(|(i, ring)| Ring {
                metres: (i + 1) as f64 * RING_M,
                pairs: ring.pairs,
                staleness_mean: Some(ring.staleness_sum_ms / ring.pairs as f64),
                staleness_p99: ring.staleness_ms.quantile(0.99),
                shown_mean: Some(ring.shown_sum / ring.pairs as f64),
                shown_p99: ring.shown.quantile(0.99).map(|steps| steps / STEPS_PER_METRE),
            })
            .collect()
    }
}

impl Live {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.near_ms.merge(&other.near_ms);
        self.all_ms.merge(&other.all_ms);
        add_bytes(&mut self.bytes, &other.bytes);
        self.udp_bytes += other.udp_bytes;
        self.decode_ns += other.decode_ns;
        self.verify_ns += other.verify_ns;
    }
}

/// Adds each kind.
pub(crate) fn add_bytes(to: &mut ByteCounters, more: &ByteCounters) {
    *to = zip_bytes(to, more, |a, b| a + b);
}

/// What came of each kind since `before`.
pub(crate) fn bytes_since(now: &ByteCounters, before: &ByteCounters) -> ByteCounters {
    zip_bytes(now, before, |a, b| a - b)
}

fn zip_bytes(a: &ByteCounters, b: &ByteCounters, f: impl Fn(u64, u64) -> u64) -> ByteCounters {
    ByteCounters {
        near: f(a.near, b.near),
        crowd: f(a.crowd, b.crowd),
        crowd_state: f(a.crowd_state, b.crowd_state),
        crowd_membership: f(a.crowd_membership, b.crowd_membership),
        crowd_keyframe: f(a.crowd_keyframe, b.crowd_keyframe),
        crowd_events: f(a.crowd_events, b.crowd_events),
        identity: f(a.identity, b.identity),
        own: f(a.own, b.own),
        view: f(a.view, b.view),
        messages: f(a.messages, b.messages),
    }
}

impl CodecErrors {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.compared += other.compared;
        self.unknown += other.unknown;
        self.near = self.near.max(other.near);
        self.crowd = self.crowd.max(other.crowd);
    }

    /// A state of the near tier.
    #[inline]
    pub(crate) fn compare_near(&mut self, truth: Pos, decoded: Pos) {
        self.compared += 1;
        let [x, y, z] = errors(truth, decoded);
        self.near = self.near.max(x.max(y).max(z));
    }

    /// A state of any other level, or a member of a track.
    #[inline]
    pub(crate) fn compare_crowd(&mut self, truth: Pos, decoded: Pos) {
        self.compared += 1;
        let squares = errors(truth, decoded).map(|axis| u64::from(axis).pow(2));
        let sum = squares[0].saturating_add(squares[1]).saturating_add(squares[2]);
        self.crowd = self.crowd.max(sum);
    }

    /// All members of a track, each with the truth of the tick that it was told in.
    pub(crate) fn compare_track(&mut self, state: &TrackState, truth: &Truth) {
        let mut at: Option<&TickTruth> = None;
        for (place, name) in state.track().names().iter().enumerate() {
            let tick = state.state_tick(place);
            if at.is_none_or(|at| at.tick != tick) {
                at = truth.at(tick);
            }
            let Some(at) = at else { continue };
            match truth.row_in(name.slot, name.generation) {
                Some(row) => {
                    // A member that is no more stays in its track until the lane has told so.
                    if let Some(position) = at.position(row) {
                        self.compare_crowd(position, state.position(place));
                    }
                }
                None => self.unknown += 1,
            }
        }
    }
}

fn errors(truth: Pos, decoded: Pos) -> [u32; 3] {
    [
        truth.x.abs_diff(decoded.x),
        truth.y.abs_diff(decoded.y),
        truth.z.abs_diff(decoded.z),
    ]
}

impl RingTally {
    fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.staleness_sum_ms += other.staleness_sum_ms;
        self.shown_sum += other.shown_sum;
        self.staleness_ms.merge(&other.staleness_ms);
        self.shown.merge(&other.shown);
    }
}
