//! Plain totals since the lane's start, for whoever exports them.

/// Totals since the lane's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Ticks computed.
    pub ticks: u64,
    /// Ticks jumped over because the lane was late.
    pub skipped_ticks: u64,
    /// Movement intents applied.
    pub intents_applied: u64,
    /// Movement intents cut short by the speed budget or the bounds: each is a correction at a client.
    pub intents_clipped: u64,
    /// Movement intents dropped because too many waited.
    pub intents_dropped: u64,
    /// Movement intents that never arrived (holes in a session's numbers).
    pub intents_missing: u64,
    /// Movement intents or commands that had been seen before, or came from an older session epoch.
    pub repeated: u64,
    /// Commands that a script accepted.
    pub commands_accepted: u64,
    /// Commands refused, by a script or because too many waited.
    pub commands_refused: u64,
    /// Messages dropped because the inbox was full.
    pub inbox_dropped: u64,
    /// Messages that no decoder could read. Nodes do not send such; a bug or a foreign node does.
    pub malformed: u64,
    /// Times a link to a gateway was made anew with a full copy.
    pub resyncs: u64,
    /// Gateways taken for dead after their silence.
    pub gateways_lost: u64,
    /// Sessions attached to their avatars.
    pub sessions_attached: u64,
    /// Sessions ended because the account logged in again.
    pub sessions_replaced: u64,
    /// Avatars that left the world after their grace period or a goodbye.
    pub avatars_departed: u64,
    /// Entities handed off to other lanes.
    pub handed_off: u64,
    /// Entities taken over from other lanes.
    pub taken_over: u64,
    /// Entities that were handed off to this lane and could not be: their kind is not declared here.
    pub handoffs_failed: u64,
    /// Hand-offs that another lane refused.
    pub handoffs_refused: u64,
    /// Hand-offs called off before the entity went.
    pub handoffs_withdrawn: u64,
    /// Messages to other lanes.
    pub lane_messages: u64,
    /// Their bytes.
    pub lane_message_bytes: u64,
    /// Messages refused because they came from an old life of another lane.
    pub lanes_fenced: u64,
    /// What was on its way to a lane that began a new life meanwhile.
    pub parcels_returned: u64,
    /// Sessions sent to the lane that has their avatar.
    pub sessions_redirected: u64,
    /// Sessions and ticks that waited until all lanes go by the same layout.
    pub sessions_held: u64,
    /// Layouts adopted after the first.
    pub layouts_adopted: u64,
    /// Entities offered to other lanes of the cell because this one had too many.
    pub entities_given: u64,
    /// Calls of scripts that ran.
    pub calls: u64,
    /// Calls of scripts sent to other lanes: an area call counts once for each.
    pub calls_sent: u64,
    /// Calls of scripts for an entity that is gone, or on its way for too long.
    pub calls_gone: u64,
    /// Calls of scripts dropped because too many waited, or because they came too late.
    pub calls_dropped: u64,
    /// Entities written to storage.
    pub entities_saved: u64,
    /// Entities that storage refused because a later owner had saved them.
    pub entities_fenced: u64,
    /// Save or load requests that storage answered with an error.
    pub storage_errors: u64,
    /// Script calls that ended in an error or over budget.
    pub script_faults: u64,
    /// Bytes of frames, each counted once whatever the number of readers.
    pub frame_bytes: u64,
    /// Bytes of keyframes, each counted once per tick.
    pub keyframe_bytes: u64,
    /// Of those, bytes of the near tier's states of everybody.
    pub near_bytes: u64,
    /// Of those, bytes of the near tier's levels that are told less often and less exactly.
    pub far_bytes: u64,
    /// States told in the near tier: an entity in a tick is one.
    pub near_states: u64,
    /// Events emitted to observers.
    pub events: u64,
    /// Crowd tracks begun.
    pub crowd_tracks_begun: u64,
    /// Crowd tracks ended. The difference is how many there are.
    pub crowd_tracks_ended: u64,
    /// Entities that became members of a crowd track without having been in one.
    pub crowd_joins: u64,
    /// Entities that moved from one crowd track to another.
    pub crowd_moves: u64,
    /// Crowd tracks with few members that moved into another.
    pub crowd_merges: u64,
    /// Entities and ticks without a crowd track of their own region, because all numbers of tracks are in use.
    pub crowd_astray: u64,
    /// Entities and ticks without any crowd track, for the same reason: clients in a crowd do not see them.
    pub crowd_unseated: u64,
    /// Positions told in crowd tracks, those of members that joined left out.
    pub crowd_states: u64,
    /// Bytes of keyframes of crowd tracks that began.
    pub crowd_begun_bytes: u64,
    /// Bytes of deltas of crowd tracks.
    pub crowd_delta_bytes: u64,
    /// Of those, bytes of deltas that told nothing but who left and joined.
    pub crowd_membership_bytes: u64,
}
