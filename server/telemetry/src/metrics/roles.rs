//! Every metric there is: one struct per role, one line per metric.
//!
//! Each role has two structs: its totals, plain numbers that the node's skin fills from the core's counters, and
//! its metrics, which take them with `set`. Timings are recorded by the skin one by one.

use super::instrument::{Amount, Count, CountBy, Instrument, Timing, TimingBy, Told};
use super::labels::{FabricDrop, FabricRefusal, GatewayStage, LaneStage, StorageOperation};
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
    /// What a lane counts. Lanes of one process add up; an amount that is of each lane says so.
    LaneMetrics, LaneTotals, "myriad_lane",
    totals {
        ticks: Count = "Ticks computed.",
        overruns: Count = "Ticks that took longer than their period.",
        skipped_ticks: Count = "Ticks jumped over because the lane was late.",
        entities: Amount = "Entities in the world.",
        sessions: Amount = "Sessions attached to an avatar now.",
        lanes: Amount = "Lanes that run in this process.",
        gateways: Amount = "Gateways that read lanes now, each counted once for every lane that it reads.",
        intents_applied: Count = "Movement intents applied.",
        intents_clipped: Count = "Movement intents cut short by the speed budget or the bounds: each corrects a client.",
        intents_dropped: Count = "Movement intents dropped because too many waited.",
        intents_missing: Count = "Movement intents that never arrived: holes in a session's numbers.",
        repeated: Count = "Movement intents or commands seen before, or of an older session epoch.",
        commands_accepted: Count = "Commands that a script accepted.",
        commands_refused: Count = "Commands refused, by a script or because too many waited.",
        inbox_dropped: Count = "Messages dropped because the lane's inbox was full.",
        malformed: Count = "Messages from gateways and other lanes that could not be decoded.",
        resyncs: Count = "Times a link to a gateway began anew with a full copy.",
        gateways_lost: Count = "Gateways taken for dead after their silence, counted by each lane that they read.",
        sessions_attached: Count = "Sessions attached to their avatars.",
        sessions_replaced: Count = "Sessions ended because the account logged in again.",
        avatars_departed: Count = "Avatars that left the world after their grace period or a goodbye.",
        handed_off: Count = "Entities handed off to other lanes.",
        taken_over: Count = "Entities taken over from other lanes.",
        handoffs_failed: Count = "Entities that were handed off to a lane and could not be, because their kind is not declared there.",
        handoffs_refused: Count = "Hand-offs that another lane refused, because it is full or stopping.",
        handoffs_withdrawn: Count = "Hand-offs called off before the entity went.",
        lane_messages: Count = "Messages to other lanes.",
        lane_message_bytes: Count = "Bytes of messages to other lanes.",
        lanes_fenced: Count = "Messages refused because they came from an old life of another lane.",
        parcels_returned: Count = "Parcels on their way to a lane that began a new life meanwhile.",
        sessions_redirected: Count = "Sessions sent to the lane that has their avatar.",
        sessions_held: Count = "Sessions and ticks that waited until all lanes go by the same layout.",
        layouts_adopted: Count = "Layouts adopted after the first.",
        entities_given: Count = "Entities offered to other lanes of the cell because this one had too many.",
        calls: Count = "Calls of scripts that ran: an entity that is called is one.",
        calls_sent: Count = "Calls of scripts sent to other lanes: an area call counts once for each.",
        calls_gone: Count = "Calls of scripts for an entity that is gone.",
        calls_dropped: Count = "Calls of scripts dropped because too many waited, or because they came too late.",
        entities_saved: Count = "Entities that storage confirmed as saved.",
        entities_fenced: Count = "Entities that storage refused because a later authority had saved them.",
        storage_errors: Count = "Save or load requests that storage answered with an error.",
        storage_refused: Count = "Save or load requests put off because the storage queue was full.",
        script_faults: Count = "Script calls that ended in an error or over budget.",
        frame_bytes: Count = "Bytes of frames, each counted once whatever the number of readers.",
        near_bytes: Count = "Bytes in frames of the near tier's states of everybody.",
        near_states: Count = "States told in the near tier: an entity in a tick is one.",
        far_bytes: Count = "Bytes in frames of the near tier's levels that are told less often and less exactly.",
        crowd_bytes: Count = "Bytes in frames of crowd tracks: those that begin, and deltas.",
        crowd_states: Count = "Positions told in crowd tracks.",
        keyframe_bytes: Count = "Bytes of keyframes, each counted once per tick.",
        cpu_microseconds: Count = "CPU time of the lanes' threads.",
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
        closes: CountBy<CloseReason> = "Sessions ended by the gateway or by their client, by reason.",
        sessions_opened: Count = "Connections that were given a session.",
        sessions_joined: Count = "Sessions that got their avatar for the first time.",
        inputs_unknown: Count = "Inputs for connections that the gateway does not know (any more).",
        messages_received: Count = "Messages from clients.",
        datagrams_received: Count = "Datagrams from clients.",
        datagrams_dropped: Count = "Datagrams dropped, because their client sent too many in one tick.",
        datagrams_early: Count = "Datagrams dropped, because their session had no avatar or had just been given another one.",
        intents_forwarded: Count = "Movement intents passed on to lanes.",
        intents_repeated: Count = "Movement intents that came again after they had been passed on.",
        commands_forwarded: Count = "Commands passed on to lanes.",
        commands_repeated: Count = "Commands that came again under a number already taken.",
        commands_refused: Count = "Commands that the gateway refused, because too many of their session were unanswered.",
        views_sent: Count = "Views sent.",
        enters_sent: Count = "Subjects that entered a view.",
        leaves_sent: Count = "Subjects that left a view.",
        changes_sent: Count = "Changes of properties told.",
        events_sent: Count = "Events told.",
        enters_deferred: Count = "Ticks in which a client's enters did not all fit its view, and waited.",
        changes_deferred: Count = "Changes that did not fit a view, and waited.",
        events_dropped: Count = "Events that a client was never told, because it was frozen or its view was full.",
        events_untold: Count = "Events that no client in a crowd was told, because their entity is in no track that may be told.",
        crowds_begun: Count = "Times that a client began to be told its view as a crowd, or did so anew.",
        crowds_left: Count = "Times that a client in a crowd began to be told its view subject by subject.",
        crowd_messages_sent: Count = "Crowd messages sent.",
        crowd_messages_shared: Count = "Those of them that another client was sent too: they cost no more than a look.",
        crowd_messages_oversized: Count = "Crowd messages that grew beyond the largest message, so that their client began anew.",
        crowd_bytes_sent: Count = "Bytes of crowd messages sent; a part of those sent on streams.",
        crowd_keyframes_sent: Count = "Keyframes of crowd tracks sent.",
        crowd_keyframes_deferred: Count = "Ticks in which a client's keyframes did not all fit, and waited.",
        crowd_drops_sent: Count = "Crowd tracks that clients were told the end of.",
        crowd_withheld: Count = "Crowd tracks told to nobody, because a member is not whom the mirror has: once per track and tick.",
        crowd_streams_lost: Count = "Frames whose crowd records could not be applied, so that a full copy was asked for.",
        crowds_degraded: Count = "Ticks in which a client in a crowd was told fewer near states, or no events, for want of budget.",
        identities_asked: Count = "Subjects that clients asked about.",
        identities_sent: Count = "Identities sent.",
        identifies_refused: Count = "Questions not answered, because they came too fast: about more than 64 subjects in a tick.",
        freezes: Count = "Views frozen, because their client did not read.",
        catch_ups: Count = "Frozen views that caught up.",
        stream_bytes_sent: Count = "Bytes sent on streams.",
        datagrams_sent: Count = "Datagrams sent.",
        datagram_bytes_sent: Count = "Bytes sent in datagrams.",
        tracks_sent: Count = "Tracks told to clients, once per track, client and tick.",
        tracks_degraded: Count = "Tracks told to clients at a worse level than their distance asks for.",
        tracks_dropped: Count = "Tracks in reach that clients were not told at all, for want of budget.",
        chunks_dropped: Count = "Chunks that did not fit the most datagrams of a payload.",
        frames_applied: Count = "Frames taken from lanes.",
        keyframes_applied: Count = "Frames that were keyframes.",
        epochs_refused: Count = "Frames and routes refused, because their lane's epoch was lower than one seen before.",
        frames_refused: Count = "Frames refused, because their tick was not newer or a keyframe was missing.",
        chunks_refused: Count = "Chunks of frames that could not be decoded.",
        records_refused: Count = "Entities refused, because their slot was out of range or not alive.",
        records_foreign: Count = "Records ignored, because another lane has authority over their entity.",
        entities_fenced: Count = "Entities refused, because another lane has them, or had them to their end, after a later hand-off.",
        transits_ended: Count = "Entities that ended, because they were handed off and no lane had them for too long.",
        issuers_refused: Count = "Entities and crowd tracks refused, because names of too many lives of lanes were alive.",
        lanes_unknown: Count = "Sessions that were to go on at a lane that the gateway does not know.",
        fabric_malformed: Count = "Messages over the fabric that could not be decoded.",
        fabric_strangers: Count = "Messages over the fabric from a role that the gateway has nothing to do with.",
        fabric_overflows: Count = "Frames dropped, because too many waited for a tick.",
        fabric_dropped: Count = "Messages over the fabric dropped, because one before them was missing or they came again.",
        resyncs: Count = "Full copies sent to lanes that had lost something.",
        reports_sent: Count = "Reports sent to lanes.",
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
        closes: CountBy<CloseReason> = "Accepted connections that ended, by reason.",
        accepted: Count = "Connections accepted: each was told to the gateway.",
        refused_full: Count = "Connections refused because there were too many.",
        handshakes_failed: Count = "Handshakes that failed or took too long.",
        handshakes_retried: Count = "Handshakes answered with a request to prove the address first.",
        handshakes_ignored: Count = "Handshakes left unanswered because too many were under way.",
        sent_bytes: Count = "Bytes of messages and datagrams handed to QUIC.",
        received_bytes: Count = "Bytes of the stream and of datagrams taken from QUIC.",
        messages_sent: Count = "Messages handed to QUIC.",
        messages_received: Count = "Messages taken from QUIC.",
        messages_refused: Count = "Messages refused, and their client closed, because too much waited for it.",
        datagrams_sent: Count = "Datagrams handed to QUIC.",
        datagrams_received: Count = "Datagrams taken from QUIC.",
        datagrams_dropped: Count = "Datagrams handed over although older ones of the client still waited: that many of those were dropped.",
        datagrams_excess: Count = "Datagrams from clients dropped because the client sent more than its share.",
        events_dropped: Count = "Datagrams from clients dropped because the gateway's inbox was full.",
        events_waiting: Amount = "What clients sent and the gateway has not taken yet.",
        packets_received: Count = "UDP packets taken from the system.",
        receive_calls: Count = "Calls that took UDP packets, each a batch.",
        packets_sent: Count = "UDP packets given to the system.",
        send_calls: Count = "Calls that gave UDP packets, each a burst of one client's.",
        sends_blocked: Count = "Times that the system took no packets for a moment.",
        sends_failed: Count = "UDP packets that the system refused to send.",
        packets_handed_over: Count = "UDP packets received by another shard than their client's, and handed over.",
        packets_dropped: Count = "UDP packets for another shard that had no room for them.",
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
