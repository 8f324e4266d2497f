//! A run over time and over distance: what the report's plots are drawn from, and the JSON key `series`.
//!
//! Whoever measures fills the rows; nothing here knows how. A figure that was not measured is absent, never zero, so
//! that a plot shows a gap where nothing is known.

use serde::{Deserialize, Serialize};

/// A run over time and over distance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// One row per second of the measurement, in order.
    pub seconds: Vec<Second>,
    /// One row per ring around the observers, from the nearest to the farthest.
    pub distances: Vec<Ring>,
}

/// One second of the measurement, over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Which: the first is 0.
    pub second: u32,
    /// Staleness of what the near tier told last, in ms. Absent if nobody looked in this second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness_near: Option<Spread>,
    /// Staleness of everything in view, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness_all: Option<Spread>,
    /// What one client received in this second, on average.
    pub bytes: BytesByKind,
    /// CPU time in this second: as many cores were busy.
    pub cores: Cores,
    /// Resident memory of the server's processes at the end of this second, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_mib: Option<f64>,
}

/// The middle of many figures, and where only one in a hundred is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// Bytes that one client received in a second, by what they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BytesByKind {
    /// Chunks of the near tier.
    pub near: f64,
    /// States of the crowd tier in its chained frames.
    pub crowd_state: f64,
    /// Who joins and leaves the crowd's tracks.
    pub crowd_membership: f64,
    /// The crowd tracks' keyframes.
    pub crowd_keyframe: f64,
    /// Enters, leaves, properties, events and owner updates.
    pub identity: f64,
    /// Payload headers with the own record.
    pub own: f64,
    /// QUIC's headers, acknowledgements and authentication tags.
    pub transport: f64,
}

/// CPU time in one second, by who spent it. Absent where it could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cores {
    /// The server's processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<f64>,
    /// The bots' threads less decoding and checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bots_net: Option<f64>,
    /// The bots' decoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bots_decode: Option<f64>,
    /// The bots' checks, and the thread that reads the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bots_verify: Option<f64>,
    /// The lossy relay between server and bots, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<f64>,
}

/// What is known of subjects at one distance from their observers, over all clients and the whole measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ring {
    /// The ring's outer edge in metres; it begins where the one before ends, the first at the observer.
    pub metres: f64,
    /// Pairs of client and subject that were looked at.
    pub pairs: u64,
    /// Staleness in ms, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness_mean: Option<f64>,
    /// Staleness in ms that one in a hundred exceeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness_p99: Option<f64>,
    /// Distance between what clients show and the truth, in metres, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_mean: Option<f64>,
    /// The same that one in a hundred exceeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_p99: Option<f64>,
}

impl Series {
    /// Whether there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty() && self.distances.is_empty()
    }
}

impl BytesByKind {
    /// Each kind's name as in the JSON, and its bytes, in the order in which they are told.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, f64); 7] {
        [
            ("near", self.near),
            ("crowd_state", self.crowd_state),
            ("crowd_membership", self.crowd_membership),
            ("crowd_keyframe", self.crowd_keyframe),
            ("identity", self.identity),
            ("own", self.own),
            ("transport", self.transport),
        ]
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.kinds().iter().map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_absent_in_the_json_and_comes_back_as_absent() {
        let series = Series {
            seconds: vec![Second {
                second: 3,
                staleness_all: Some(Spread {
                    p50: 90.0,
                    p99: 180.0,
                }),
                cores: Cores {
                    server: Some(0.5),
                    ..Cores::default()
                },
                ..Second::default()
            }],
            distances: vec![Ring {
                metres: 10.0,
                ..Ring::default()
            }],
        };
        let text = serde_json::to_string(&series).expect("plain figures");
        assert!(!text.contains("staleness_near") && !text.contains("relay") && !text.contains("null"));
        let again: Series = serde_json::from_str(&text).expect("what was just written");
        assert_eq!(again, series);
    }

    #[test]
    fn kinds_add_up_to_the_total() {
        let bytes = BytesByKind {
            near: 1.0,
            crowd_state: 2.0,
            crowd_membership: 4.0,
            crowd_keyframe: 8.0,
            identity: 16.0,
            own: 32.0,
            transport: 64.0,
        };
        assert_eq!(bytes.total(), 127.0);
    }
}
