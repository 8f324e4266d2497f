//! What a run found out: the JSON keys of every measuring command, as far as a run of bots knows them.
//!
//! A key is absent where nothing was measured; [`crate::verdict`] treats an absent figure as a failed check when
//! the check was asked for. [`crate::text`] tells the same to people.

use crate::header::Header;
use crate::histogram::Percentiles;
use crate::motion::MotionKind;
use crate::options::{Decode, Plant};
use crate::series::Series;
use crate::tracks::DecodeCounts;
use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// How tracks were decoded.
    pub decode: Decode,
    /// How the bots walked.
    pub motion: MotionKind,
    /// The fault planted into the bots, of a test of the harness itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plant: Option<Plant>,
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
    /// Distance between what a client shows and the truth at the time it says it shows: its clock less its stated
    /// interpolation delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_error_m: Option<ShownError>,
    /// By how much that clock, which each client sets by the quickest payload it has seen, is behind the space's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_behind_ms: Option<Percentiles>,

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

    /// From the start of a client's connection until it held all of its true view, none of it stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covered_s: Option<Percentiles>,
    /// From the start of the run until all clients did. Absent if one never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_covered_s: Option<f64>,

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
    /// Time that each stage of the server took while measuring, in seconds, as the server's metrics say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages_cpu_s: Option<BTreeMap<String, f64>>,
    /// What lanes cost, as the server's metrics say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<LaneCosts>,
    /// How long the ticks of the server's roles took, as the server's metrics say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick_ms: Option<TickTimes>,
    /// Ticks that took longer than their period, as the server's metrics say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overruns: Option<u64>,
    /// Ticks of the truth trace while measuring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticks: Option<Ticks>,
    /// What became of entities that went from lane to lane while measuring. Absent if the trace is of one lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handoffs: Option<Handoffs>,
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
    /// What came of decoding tracks.
    pub decoding: Decoding,
    /// The clients that read slowly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// The clients that came and went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// The run over time and over distance.
    #[serde(skip_serializing_if = "Series::is_empty")]
    pub series: Series,
}

/// How much was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sampled {
    /// Client-ticks at which all of a view's stalenesses were taken.
    pub client_ticks: u64,
    /// Share of the client-ticks that should have been, those of clients that replace others not counted until they hold
    /// their view: less than one where the bots' machine was late.
    pub client_ticks_share: f64,
    /// Pairs of client and entity whose staleness was taken.
    pub staleness_pairs: u64,
    /// Decoded states that were compared with the truth.
    pub codec_states: u64,
    /// One in how many entities has its state compared at each client and tick, in rotation.
    pub codec_one_in: u32,
    /// The same of tracks, all members of which are compared, if every client decodes its own. Of those that clients
    /// share all are.
    pub track_one_in: u32,
    /// Shown positions that were compared with the truth.
    pub shown_positions: u64,
    /// One in how many entities is asked for its shown position at each client and tick, in rotation.
    pub shown_one_in: u32,
    /// The same of members of tracks.
    pub crowd_shown_one_in: u32,
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
    /// States of the crowd tier.
    pub crowd_state: f64,
    /// Who joins and leaves the crowd's tracks.
    pub crowd_membership: f64,
    /// Tracks that are new to a client.
    pub crowd_keyframe: f64,
    /// All other messages on the stream: enters, leaves, identities, properties, events, owner updates.
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
    /// The bots' threads less decoding and checks: network, cryptography, walking.
    pub bots_net: f64,
    /// The SDK's part: what came is taken in and told. Decoding beside the interner counts to it.
    pub bots_decode: f64,
    /// The checks: in the bots' threads, and the thread that reads the truth.
    pub bots_verify: f64,
}

/// The space's ticks while measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ticks {
    /// How many the trace told.
    pub told: u64,
    /// How many the lane that did so most jumped over.
    pub skipped: u64,
    /// How many neither came nor were said to be jumped over, came twice or went back.
    pub disordered: u64,
    /// From a tick's due time to its truth's arrival, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<Percentiles>,
}

/// What became of entities that went from lane to lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Handoffs {
    /// How many came to another lane.
    pub count: u64,
    /// For how many ticks they were in no lane meanwhile.
    pub pause_ticks: PauseTicks,
    /// Entities and ticks in two lanes.
    pub doubled: u64,
    /// Entities that went and never came.
    pub lost: u64,
}

/// Pauses of entities on their way, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PauseTicks {
    /// Of 99 % at most.
    pub p99: u64,
    /// The longest.
    pub max: u64,
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
    /// Edges of the true view that were told with another tick, or in a crowd beyond what is tolerated, while measuring.
    pub late: u64,
    /// Of the late: those that were told subject by subject.
    pub late_near: u64,
    /// Of the late: those of a crowd, which may take a crowd period and two ticks.
    pub late_beyond_period: u64,
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
    /// Of the extra: those that are no more.
    pub ghosts: u64,
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

/// What lanes cost. Bytes are of frames, each counted once whatever the number of readers, for each entity in each tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LaneCosts {
    /// How many lanes there are.
    pub lanes: u32,
    /// CPU time of a lane's thread in one tick, in microseconds, the mean of all lanes.
    pub cpu_us_per_tick: f64,
    /// The near tier's states of everybody.
    pub near_bytes_per_entity_tick: f64,
    /// The near tier's levels that are told less often.
    pub far_bytes_per_entity_tick: f64,
    /// Crowd tracks.
    pub crowd_bytes_per_entity_tick: f64,
    /// All of a frame.
    pub frame_bytes_per_entity_tick: f64,
}

/// How long ticks took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TickTimes {
    /// A lane's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<Percentiles>,
    /// A gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Percentiles>,
}

/// What came of decoding tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Decoding {
    /// Records decoded for all clients that share what comes of them.
    pub shared_decoded: u64,
    /// Records for which that was there already.
    pub shared_found: u64,
    /// Messages that did to a client what they had done to others that held the same tracks.
    pub shared_messages: u64,
    /// Records that clients decoded on their own as well, and compared.
    pub compared: u64,
    /// Those of which something else came.
    pub decode_differences: u64,
    /// Shared states that were not compared with the truth, because that did not come in time.
    pub unverified: u64,
}

impl Decoding {
    pub(crate) fn of(counts: &DecodeCounts) -> Self {
        Self {
            shared_decoded: counts.decoded,
            shared_found: counts.shared,
            shared_messages: counts.steps,
            compared: counts.compared,
            decode_differences: counts.differences,
            unverified: counts.unverified,
        }
    }
}

/// Clients that read a tenth of what they are sent while the others are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Slow {
    /// How many.
    pub clients: u32,
    /// Of which were lost.
    pub lost: u32,
    /// How stale what they held was.
    pub staleness_ms: Staleness,
}

/// Clients that left or joined while others were measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Churn {
    /// Clients that left, or came, in the middle of the run.
    pub left: u64,
    /// Entities that were no more and that a client still had in view, at its end.
    pub ghosts: u64,
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
