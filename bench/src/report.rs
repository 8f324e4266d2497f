//! What a run found out: the JSON keys of every measuring command, as far as a run of bots knows them.
//!
//! A key is absent where nothing was measured; [`crate::verdict`] treats an absent figure as a failed check when
//! the check was asked for. [`crate::text`] tells the same to people.

use crate::header::Header;
use crate::histogram::Percentiles;
use crate::motion::MotionKind;
use anyhow::Context;
use serde::Serialize;
use std::path::Path;

/// What a run of bots found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where and with what.
    #[serde(flatten)]
    pub header: Header,
    /// Seed of everything random.
    pub seed: u64,
    /// Clients asked for.
    pub clients: u32,
    /// Most entities that the truth held at once; without truth, that one client had in view.
    pub entities: u32,
    /// Ticks per second of the space.
    pub hz: f64,
    /// How states were decoded: `own` means that every client decoded everything by itself.
    pub decode: &'static str,
    /// How the bots walked.
    pub motion: MotionKind,
    /// Whether a truth trace was there to compare with.
    pub truth: bool,
    /// What was compared where not everything was, in words.
    pub sampled: Sampled,

    /// The worst client's share of fresh entities in its worst second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage_min: Option<f64>,
    /// The mean share of entities in view not staler than 3 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage_mean: Option<f64>,
    /// Now less the due time of the tick last decoded, over all entities in view, clients and ticks.
    pub staleness_ms: Staleness,
    /// Largest distance between a decoded state and the truth of its tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec_error_m: Option<CodecError>,
    /// Distance between what a client shows and the truth at the time it says it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_error_m: Option<ShownError>,

    /// Clients that never joined, or whose session ended before the run did.
    pub clients_lost: u32,
    /// Why they were lost, each with how many.
    pub lost_reasons: Vec<(String, u32)>,
    /// How often the server cut an honest client's movement short.
    pub corrections: u64,
    /// Intents sent and never applied, counted after the clients stood still.
    pub intents_lost: u64,
    /// Intents sent, from the first join to the last.
    pub intents_sent: u64,
    /// Steps left out because the bots' own machine was late.
    pub intents_skipped: u64,
    /// Commands that a script refused.
    pub commands_refused: u64,
    /// Why, each with how often: the first few reasons of each client.
    pub refusals: Vec<(String, u32)>,
    /// Events that clients were told.
    pub events: u64,
    /// From the start of a client's connection to its avatar in the world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_s: Option<Percentiles>,

    /// States of one entity and one new tick that one client decoded, per second over all clients.
    pub updates_per_s: f64,
    /// The same for each second of the server's CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates_per_server_cpu_s: Option<f64>,
    /// What one client received.
    pub bytes_per_client_s: BytesPerClient,
    /// UDP datagrams, as the clients count them.
    pub datagrams: Datagrams,

    /// CPU time while measuring.
    pub cpu_s: CpuSeconds,
    /// The server's CPU time per client, in microseconds per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_client_s: Option<f64>,
    /// Ticks of the truth trace while measuring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticks: Option<Ticks>,
    /// Memory at the end.
    pub rss_mib: RssMib,
    /// The server's memory divided by its clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_per_client_kib: Option<f64>,

    /// Whether each view was told as it is defined.
    pub views: Views,
    /// What was compared with the truth beside the states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<TruthChecks>,
}

/// How much was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sampled {
    /// Client-ticks at which all of a view's stalenesses were taken.
    pub client_ticks: u64,
    /// Share of the client-ticks that should have been: less than one where the bots' machine was late.
    pub client_ticks_share: f64,
    /// Pairs of client and entity whose staleness was taken.
    pub staleness_pairs: u64,
    /// Decoded states that were compared with the truth.
    pub codec_states: u64,
    /// One in how many entities has its state compared at each client and tick, in rotation.
    pub codec_one_in: u32,
    /// Shown positions that were compared with the truth.
    pub shown_positions: u64,
    /// One in how many entities is asked for its shown position at each client and tick, in rotation.
    pub shown_one_in: u32,
    /// Properties compared with the truth.
    pub properties: u64,
}

/// Stalenesses, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Staleness {
    /// Of entities whose last state came in the near tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Percentiles>,
    /// Of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Percentiles>,
}

/// Largest errors of decoded states, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CodecError {
    /// Near tier: per axis.
    pub near: f64,
    /// Crowd tier: distance.
    pub crowd: f64,
}

/// Errors of shown positions, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ShownError {
    /// Entities whose last state came in the near tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Percentiles>,
    /// All entities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Percentiles>,
}

/// Bytes per client and second, received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BytesPerClient {
    /// UDP payloads, everything in them.
    pub total: f64,
    /// Chunks of the near tier.
    pub near: f64,
    /// Chunks of the crowd tier.
    pub crowd_state: f64,
    /// Messages on the stream: enters, leaves, properties, events, owner updates.
    pub identity: f64,
    /// Payload headers with the own record.
    pub own: f64,
    /// The rest: QUIC's headers, acknowledgements and authentication tags.
    pub transport: f64,
}

/// UDP datagrams over all clients, while measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Datagrams {
    /// By the clients.
    pub sent: u64,
    /// By the clients.
    pub received: u64,
}

/// CPU time in seconds, while measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CpuSeconds {
    /// The server's processes, user and system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<f64>,
    /// The bots' threads less their checks: network, cryptography, decoding, walking.
    pub bots_net: f64,
    /// The checks: in the bots' threads, and the thread that reads the truth.
    pub bots_verify: f64,
}

/// The lane's ticks while measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ticks {
    /// How many the trace told.
    pub told: u64,
    /// How many the lane jumped over.
    pub skipped: u64,
    /// How many neither came nor were said to be jumped over, came twice or went back.
    pub disordered: u64,
    /// From a tick's due time to its truth's arrival, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<Percentiles>,
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RssMib {
    /// The server's processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<f64>,
    /// This process.
    pub bots: f64,
}

/// Whether each view was told as it is defined, summed over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Views {
    /// Enters told.
    pub entered: u64,
    /// Leaves told.
    pub left: u64,
    /// Enters of subjects already in view, and leaves of subjects that were not.
    pub doubled: u64,
    /// Times at which the SDK's view was not what its enters and leaves add up to.
    pub inconsistent: u64,
    /// Edges of the true view that were told with a later or earlier tick, while measuring.
    pub late: u64,
    /// The same before the measurement: a gateway may pause a client that still takes in its first view.
    pub late_joining: u64,
    /// Edges of the true view that were never told.
    pub edges_missing: u64,
    /// Edges told that the true view does not have.
    pub edges_extra: u64,
    /// Subjects of the true view at the end that clients did not have.
    pub missing: u64,
    /// Subjects that clients had at the end and the true view has not.
    pub extra: u64,
    /// Clients whose view could not be compared, because the trace does not reach back to its beginning.
    pub unchecked: u64,
}

/// What was compared with the truth beside the states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TruthChecks {
    /// Client-ticks at which the avatar's true place was compared with the sum of its client's steps.
    pub obedience_checked: u64,
    /// Those at which it was another.
    pub disobeyed: u64,
    /// Path lengths of entities over a second of ticks, in metres per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_m_s: Option<Percentiles>,
    /// The same of the bots' avatars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_speed_m_s: Option<Percentiles>,
    /// Entities and seconds in which the path was longer than the space's laws allow.
    pub speeding: u64,
    /// Property values that had not been true for more than 3 s.
    pub properties_wrong: u64,
}

impl Report {
    /// Writes the report as JSON.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write_json(&self, file: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("the report as JSON")?;
        text.push('\n');
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
    }
}
