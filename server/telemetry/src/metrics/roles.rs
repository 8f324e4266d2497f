//! Every metric there is: one struct per role, one line per metric.
//!
//! Each role has two structs: its totals, plain numbers that the node's skin fills from the core's counters, and
//! its metrics, which take them with `set`. Timings are recorded by the skin one by one.

use super::instrument::{Amount, Count, CountBy, Instrument, Timing, TimingBy, Told};
use super::labels::{
    FabricDrop, FabricRefusal, GatewayStage, LaneStage, PayloadKind, StorageOperation, TrackLevel,
};
use super::{MetricInfo, Metrics};
use myriad_wire::CloseReason;

macro_rules! role {
    (
        $(#[$doc:meta])*
        $metrics:ident, $totals:ident, $prefix:literal,
        totals { $($total:ident: $kind:ty = $help:literal,)* }
        timings { $($timing:ident: $timing_kind:ty = $timing_help:literal,)* }
    ) => {
        #[doc = concat!("The plain numbers that [`", stringify!($metrics), "`] takes: totals since the core was made, or amounts now.")]
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $totals {
            $(#[doc = $help] pub $total: <$kind as Instrument>::Total,)*
        }

        $(#[$doc])*
        #[derive(Debug)]
        pub struct $metrics {
            $($total: $kind,)*
            $(#[doc = $timing_help] pub $timing: $timing_kind,)*
        }

        impl $metrics {
            /// One more role of this sort in the process. Its numbers add to those of the others.
            #[must_use]
            pub fn new(metrics: &Metrics) -> Self {
                Self {
                    $($total: <$kind>::register(metrics, &<$kind>::info(concat!($prefix, "_", stringify!($total)), $help)),)*
                    $($timing: <$timing_kind>::register(metrics, &<$timing_kind>::info(concat!($prefix, "_", stringify!($timing)), $timing_help)),)*
                }
            }

            /// Takes the role's numbers as they stand.
            pub fn set(&mut self, totals: &$totals) {
                $(self.$total.set(&totals.$total);)*
            }

            fn catalogue(list: &mut Vec<MetricInfo>) {
                $(list.push(<$kind>::info(concat!($prefix, "_", stringify!($total)), $help));)*
                $(list.push(<$timing_kind>::info(concat!($prefix, "_", stringify!($timing)), $timing_help));)*
            }
        }
    };
}

role! {
    /// What a lane counts.
    LaneMetrics, LaneTotals, "myriad_lane",
    totals {
        ticks: Count = "Ticks computed.",
        overruns: Count = "Ticks that took longer than their period.",
        skipped_ticks: Count = "Ticks jumped over because the lane was late.",
        entities: Amount = "Entities in the world.",
        sessions: Amount = "Sessions attached to an avatar now.",
        gateways: Amount = "Gateways that read this lane now.",
        intents_applied: Count = "Movement intents applied.",
        intents_clipped: Count = "Movement intents cut short by the speed budget or the bounds: each corrects a client.",
        intents_dropped: Count = "Movement intents dropped because too many waited.",
        intents_missing: Count = "Movement intents that never arrived: holes in a session's numbers.",
        repeated: Count = "Movement intents or commands seen before, or of an older session epoch.",
        commands_accepted: Count = "Commands that a script accepted.",
        commands_refused: Count = "Commands refused, by a script or because too many waited.",
        inbox_dropped: Count = "Messages dropped because the lane's inbox was full.",
        malformed: Count = "Messages from gateways that could not be decoded.",
        resyncs: Count = "Times a link to a gateway began anew with a full copy.",
        gateways_lost: Count = "Gateways taken for dead after their silence.",
        sessions_attached: Count = "Sessions attached to their avatars.",
        sessions_replaced: Count = "Sessions ended because the account logged in again.",
        avatars_departed: Count = "Avatars that left the world after their grace period or a goodbye.",
        entities_saved: Count = "Entities that storage confirmed as saved.",
        entities_fenced: Count = "Entities that storage refused because a later authority had saved them.",
        storage_errors: Count = "Save or load requests that storage answered with an error.",
        storage_refused: Count = "Save or load requests put off because the storage queue was full.",
        script_faults: Count = "Script calls that ended in an error or over budget.",
        frame_bytes: Count = "Bytes of frames, each counted once whatever the number of readers.",
        keyframe_bytes: Count = "Bytes of keyframes, each counted once per tick.",
        events: Count = "Events emitted to observers.",
    }
    timings {
        stage_seconds: TimingBy<LaneStage> = "Time spent in each stage of a tick, in seconds.",
        tick_seconds: Timing = "Time spent in a whole tick, in seconds.",
    }
}

role! {
    /// What a gateway counts.
    GatewayMetrics, GatewayTotals, "myriad_gateway",
    totals {
        ticks: Count = "Ticks computed.",
        overruns: Count = "Ticks that took longer than their period.",
        sessions: Amount = "Sessions that have joined and not ended.",
        connections: Amount = "Connections known to the gateway, joined or not.",
        frozen: Amount = "Clients frozen now, because too much reliable data waits for them.",
        mirrored: Amount = "Entities in the mirror.",
        joins: Count = "Sessions that joined.",
        closes: CountBy<CloseReason> = "Connections that ended, by reason.",
        freezes: Count = "Times a client was frozen.",
        events_dropped: Count = "Events not told to frozen clients.",
        sent_bytes: CountBy<PayloadKind> = "Bytes for clients, by what they are for, without QUIC's overhead.",
        datagrams_sent: Count = "Datagrams handed to the edge.",
        sends: CountBy<TrackLevel> = "Tracks chosen for clients, by level; beyond crowd they are degraded.",
        tracks_left_out: Count = "Tracks in sight that a client was not sent at all for want of budget.",
        messages_received: Count = "Messages from clients.",
        datagrams_received: Count = "Datagrams from clients.",
        datagrams_dropped: Count = "Datagrams from clients dropped because too many came in a tick.",
        malformed: Count = "Messages or datagrams from clients that could not be decoded.",
        commands_refused: Count = "Commands refused at the gateway because too many waited.",
        repeated: Count = "Intents or commands from clients that had been seen before.",
        frames: Count = "Frames taken from lanes.",
        resyncs: Count = "Times a link to a lane began anew with a full copy.",
        stale_frames: Count = "Messages refused because of a lower lane epoch.",
        fabric_malformed: Count = "Messages from lanes that could not be decoded.",
        inbox_dropped: Count = "Messages dropped because the gateway's inbox was full.",
    }
    timings {
        stage_seconds: TimingBy<GatewayStage> = "Time spent in each stage of a tick, in seconds.",
        tick_seconds: Timing = "Time spent in a whole tick, in seconds.",
    }
}

role! {
    /// What the edge counts.
    EdgeMetrics, EdgeTotals, "myriad_edge",
    totals {
        connections: Amount = "Client connections open now.",
        backlog_bytes: Amount = "Bytes that wait to be sent to clients.",
        accepted: Count = "Client connections accepted.",
        refused_full: Count = "Client connections refused because there were too many.",
        handshakes_failed: Count = "Client handshakes that failed or took too long.",
        closes: CountBy<CloseReason> = "Client connections that ended, by reason.",
        sent_bytes: Count = "Bytes of messages and datagrams handed to QUIC.",
        received_bytes: Count = "Bytes of messages and datagrams taken from QUIC.",
        datagrams_sent: Count = "Datagrams handed to QUIC.",
        datagrams_received: Count = "Datagrams taken from QUIC.",
        datagrams_dropped: Count = "Datagrams for clients dropped because too many waited.",
        messages_sent: Count = "Reliable messages handed to QUIC.",
        messages_received: Count = "Reliable messages taken from QUIC.",
        events_dropped: Count = "Datagrams from clients dropped because the gateway's inbox was full.",
    }
    timings {}
}

role! {
    /// What the links between nodes count.
    FabricMetrics, FabricTotals, "myriad_fabric",
    totals {
        links: Amount = "Links to other nodes that stand now.",
        delivered: Count = "Messages put into the inbox of a role of this process.",
        forwarded: Count = "Messages queued for another node.",
        received: Count = "Messages that came from other nodes.",
        sent_bytes: Count = "Bytes written to other nodes.",
        received_bytes: Count = "Bytes read from other nodes.",
        dropped: CountBy<FabricDrop> = "Messages dropped, by cause.",
        refused: CountBy<FabricRefusal> = "Nodes refused a link, by cause.",
        links_made: Count = "Links that came to stand.",
        links_lost: Count = "Links that ended, for whatever reason.",
        connects_failed: Count = "Attempts to connect to another node that failed.",
    }
    timings {}
}

role! {
    /// What the storage thread counts.
    StorageMetrics, StorageTotals, "myriad_storage",
    totals {
        batches: Count = "Save batches served.",
        loads: Count = "Avatars asked for.",
        saved: Count = "Entities saved.",
        fenced: Count = "Entities refused because the store holds a higher epoch of them.",
        errors: Count = "Requests that failed.",
        queued: Amount = "Requests that wait.",
    }
    timings {
        seconds: TimingBy<StorageOperation> = "Time from taking a request off the queue to its answer, in seconds.",
    }
}

role! {
    /// What the process as a whole counts.
    NodeMetrics, NodeTotals, "myriad_node",
    totals {
        uptime_seconds: Amount = "Seconds since the start.",
        ready: Amount = "1 if the node is ready for clients, else 0.",
        cpu_milliseconds: Count = "CPU time used by the process, in milliseconds.",
        resident_bytes: Amount = "Memory of the process that is in RAM, in bytes.",
        log_lines_dropped: Count = "Log lines dropped because their reader was too slow.",
        truth_readers_cut: Count = "Readers of the truth trace cut off because they were too slow.",
    }
    timings {}
}

/// Every metric there is, in the order of this file: for the documentation and the dashboards.
#[must_use]
pub fn catalogue() -> Vec<MetricInfo> {
    let mut list = Vec::new();
    LaneMetrics::catalogue(&mut list);
    GatewayMetrics::catalogue(&mut list);
    EdgeMetrics::catalogue(&mut list);
    FabricMetrics::catalogue(&mut list);
    StorageMetrics::catalogue(&mut list);
    NodeMetrics::catalogue(&mut list);
    list
}
