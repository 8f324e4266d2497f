//! The cores' plain counters, as the metrics that telemetry exports.

use myriad_edge::Edge;
use myriad_fabric::Fabric;
use myriad_gateway::Gateway;
use myriad_lane::Lane;
use myriad_telemetry::metrics::{
    EdgeTotals, FabricDrop, FabricRefusal, FabricTotals, GatewayStage, GatewayTotals, LaneStage, LaneTotals,
    PerLabel,
};

/// A lane's numbers. What is not the lane's own is counted by its loop.
pub(crate) fn lane(lane: &Lane, overruns: u64, storage_refused: u64, cpu_microseconds: u64) -> LaneTotals {
    let counters = lane.counters();
    LaneTotals {
        ticks: counters.ticks,
        overruns,
        skipped_ticks: counters.skipped_ticks,
        entities: lane.entities() as u64,
        sessions: lane.sessions() as u64,
        lanes: 1,
        gateways: lane.readers() as u64,
        intents_applied: counters.intents_applied,
        intents_clipped: counters.intents_clipped,
        intents_dropped: counters.intents_dropped,
        intents_missing: counters.intents_missing,
        repeated: counters.repeated,
        commands_accepted: counters.commands_accepted,
        commands_refused: counters.commands_refused,
        inbox_dropped: counters.inbox_dropped,
        malformed: counters.malformed,
        resyncs: counters.resyncs,
        gateways_lost: counters.gateways_lost,
        sessions_attached: counters.sessions_attached,
        sessions_replaced: counters.sessions_replaced,
        avatars_departed: counters.avatars_departed,
        handed_off: counters.handed_off,
        taken_over: counters.taken_over,
        handoffs_failed: counters.handoffs_failed,
        handoffs_refused: counters.handoffs_refused,
        handoffs_withdrawn: counters.handoffs_withdrawn,
        lane_messages: counters.lane_messages,
        lane_message_bytes: counters.lane_message_bytes,
        lanes_fenced: counters.lanes_fenced,
        parcels_returned: counters.parcels_returned,
        sessions_redirected: counters.sessions_redirected,
        sessions_held: counters.sessions_held,
        layouts_adopted: counters.layouts_adopted,
        entities_given: counters.entities_given,
        calls: counters.calls,
        calls_sent: counters.calls_sent,
        calls_gone: counters.calls_gone,
        calls_dropped: counters.calls_dropped,
        entities_saved: counters.entities_saved,
        entities_fenced: counters.entities_fenced,
        storage_errors: counters.storage_errors,
        storage_refused,
        script_faults: counters.script_faults,
        frame_bytes: counters.frame_bytes,
        near_bytes: counters.near_bytes,
        near_states: counters.near_states,
        far_bytes: counters.far_bytes,
        crowd_bytes: counters.crowd_begun_bytes + counters.crowd_delta_bytes,
        crowd_states: counters.crowd_states,
        keyframe_bytes: counters.keyframe_bytes,
        cpu_microseconds,
        events: counters.events,
    }
}

/// The metric label of a lane's stage.
pub(crate) fn lane_stage(stage: myriad_lane::Stage) -> LaneStage {
    use myriad_lane::Stage;
    match stage {
        Stage::Ingest => LaneStage::Ingest,
        Stage::Handoff => LaneStage::Handoff,
        Stage::Commands => LaneStage::Commands,
        Stage::Simulate => LaneStage::Simulate,
        Stage::Interest => LaneStage::Interest,
        Stage::Ghosts => LaneStage::Ghosts,
        Stage::Publish => LaneStage::Publish,
        Stage::Persist => LaneStage::Persist,
    }
}

/// The metric label of a gateway's stage.
pub(crate) fn gateway_stage(stage: myriad_gateway::Stage) -> GatewayStage {
    use myriad_gateway::Stage;
    match stage {
        Stage::Ingest => GatewayStage::Ingest,
        Stage::Interest => GatewayStage::Interest,
        Stage::Assemble => GatewayStage::Assemble,
        Stage::Send => GatewayStage::Send,
    }
}

/// The fabric's numbers.
pub(crate) fn fabric(fabric: &Fabric) -> FabricTotals {
    let counters = fabric.counters();
    FabricTotals {
        links: fabric.linked_nodes().len() as u64,
        delivered: counters.delivered.get(),
        forwarded: counters.forwarded.get(),
        received: counters.received.get(),
        sent_bytes: counters.sent_bytes.get(),
        received_bytes: counters.received_bytes.get(),
        dropped: PerLabel::from_fn(|cause| match cause {
            FabricDrop::NoRoute => counters.dropped_no_route.get(),
            FabricDrop::InboxFull => counters.dropped_inbox_full.get(),
            FabricDrop::QueueFull => counters.dropped_queue_full.get(),
            FabricDrop::Oversized => counters.dropped_oversized.get(),
        }),
        refused: PerLabel::from_fn(|cause| match cause {
            FabricRefusal::Stranger => counters.strangers_refused.get(),
            FabricRefusal::Version => counters.versions_refused.get(),
            FabricRefusal::Name => counters.names_refused.get(),
            FabricRefusal::Duplicate => counters.duplicates_refused.get(),
            FabricRefusal::Greeting => counters.greetings_failed.get(),
        }),
        links_made: counters.links_made.get(),
        links_lost: counters.links_lost.get(),
        connects_failed: counters.connects_failed.get(),
    }
}

/// A gateway's numbers. `overruns` is counted by its loop.
pub(crate) fn gateway(gateway: &Gateway, overruns: u64) -> GatewayTotals {
    let counters = gateway.counters();
    let status = gateway.status();
    GatewayTotals {
        overruns,
        sessions: u64::from(status.joined),
        connections: u64::from(status.sessions),
        frozen: u64::from(status.frozen),
        mirrored: status.lanes.iter().map(|lane| u64::from(lane.subjects)).sum(),
        closes: PerLabel::from_fn(|reason| counters.closed(reason)),
        ticks: counters.ticks,
        sessions_opened: counters.sessions_opened,
        sessions_joined: counters.sessions_joined,
        inputs_unknown: counters.inputs_unknown,
        messages_received: counters.messages_received,
        datagrams_received: counters.datagrams_received,
        datagrams_dropped: counters.datagrams_dropped,
        datagrams_early: counters.datagrams_early,
        intents_forwarded: counters.intents_forwarded,
        intents_repeated: counters.intents_repeated,
        commands_forwarded: counters.commands_forwarded,
        commands_repeated: counters.commands_repeated,
        commands_refused: counters.commands_refused,
        views_sent: counters.views_sent,
        enters_sent: counters.enters_sent,
        leaves_sent: counters.leaves_sent,
        changes_sent: counters.changes_sent,
        events_sent: counters.events_sent,
        enters_deferred: counters.enters_deferred,
        changes_deferred: counters.changes_deferred,
        events_dropped: counters.events_dropped,
        events_untold: counters.events_untold,
        crowds_begun: counters.crowds_begun,
        crowds_left: counters.crowds_left,
        crowd_messages_sent: counters.crowd_messages_sent,
        crowd_messages_shared: counters.crowd_messages_shared,
        crowd_messages_oversized: counters.crowd_messages_oversized,
        crowd_bytes_sent: counters.crowd_bytes_sent,
        crowd_keyframes_sent: counters.crowd_keyframes_sent,
        crowd_keyframes_deferred: counters.crowd_keyframes_deferred,
        crowd_drops_sent: counters.crowd_drops_sent,
        crowd_withheld: counters.crowd_withheld,
        crowd_streams_lost: counters.crowd_streams_lost,
        crowds_degraded: counters.crowds_degraded,
        identities_asked: counters.identities_asked,
        identities_sent: counters.identities_sent,
        identifies_refused: counters.identifies_refused,
        freezes: counters.freezes,
        catch_ups: counters.catch_ups,
        stream_bytes_sent: counters.stream_bytes_sent,
        datagrams_sent: counters.datagrams_sent,
        datagram_bytes_sent: counters.datagram_bytes_sent,
        tracks_sent: counters.tracks_sent,
        tracks_degraded: counters.tracks_degraded,
        tracks_dropped: counters.tracks_dropped,
        chunks_dropped: counters.chunks_dropped,
        frames_applied: counters.frames_applied,
        keyframes_applied: counters.keyframes_applied,
        epochs_refused: counters.epochs_refused,
        frames_refused: counters.frames_refused,
        chunks_refused: counters.chunks_refused,
        records_refused: counters.records_refused,
        records_foreign: counters.records_foreign,
        entities_fenced: counters.entities_fenced,
        transits_ended: counters.transits_ended,
        issuers_refused: counters.issuers_refused,
        lanes_unknown: counters.lanes_unknown,
        fabric_malformed: counters.fabric_malformed,
        fabric_strangers: counters.fabric_strangers,
        fabric_overflows: counters.fabric_overflows,
        fabric_dropped: counters.fabric_dropped,
        resyncs: counters.resyncs,
        reports_sent: counters.reports_sent,
    }
}

/// An edge's numbers.
pub(crate) fn edge(edge: &Edge) -> EdgeTotals {
    let counters = edge.counters();
    EdgeTotals {
        connections: edge.connections() as u64,
        backlog_bytes: edge.backlog_total() as u64,
        closes: PerLabel::from_fn(|reason| counters.closed(reason).get()),
        accepted: counters.accepted.get(),
        refused_full: counters.refused_full.get(),
        handshakes_failed: counters.handshakes_failed.get(),
        handshakes_retried: counters.handshakes_retried.get(),
        handshakes_ignored: counters.handshakes_ignored.get(),
        sent_bytes: counters.sent_bytes.get(),
        received_bytes: counters.received_bytes.get(),
        messages_sent: counters.messages_sent.get(),
        messages_received: counters.messages_received.get(),
        messages_refused: counters.messages_refused.get(),
        datagrams_sent: counters.datagrams_sent.get(),
        datagrams_received: counters.datagrams_received.get(),
        datagrams_dropped: counters.datagrams_dropped.get(),
        datagrams_excess: counters.datagrams_excess.get(),
        events_dropped: counters.events_dropped.get(),
        events_waiting: edge.arrivals_waiting() as u64,
        packets_received: counters.packets_received.get(),
        receive_calls: counters.receive_calls.get(),
        packets_sent: counters.packets_sent.get(),
        send_calls: counters.send_calls.get(),
        sends_blocked: counters.sends_blocked.get(),
        sends_failed: counters.sends_failed.get(),
        packets_handed_over: counters.packets_handed_over.get(),
        packets_dropped: counters.packets_dropped.get(),
    }
}
