//! Plain counters of one client: what it received and what became of it.

use myriad_wire::track::LEVELS;

/// What one client received and what became of it. All counts are since the client was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// States.
    pub states: StateCounters,
    /// Bytes received, by kind, without what the transport adds.
    pub bytes: ByteCounters,
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams, or chunks in them, that were malformed.
    pub malformed: u64,
    /// Datagrams that came twice, as far as noticed before reading them (only the newest tick's are).
    pub datagrams_duplicate: u64,
    /// Datagrams that waited for the stream and were dropped because too many did.
    pub datagrams_dropped: u64,
    /// Messages received on the stream.
    pub messages: u64,
    /// Subjects that came into view, and that left it, told one by one or not: the difference is in view.
    pub entered: u64,
    /// See [`Self::entered`].
    pub left: u64,
    /// Things the server told that can't be: a second enter of a subject, a change, event or leave of a subject
    /// not in view, a result of no command, an acknowledgement of a step never sent.
    pub contradictions: u64,
    /// Views whose events were told after waiting in vain for their tick's states.
    pub waits_expired: u64,
    /// How often the own avatar was not where it was predicted, or the server said that it cut an intent short.
    pub corrections: u64,
    /// Steps that fell out of the resend window before they were acknowledged.
    pub intents_lost: u64,
}

/// What became of the states received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounters {
    /// Applied, by level.
    pub applied: [u64; LEVELS],
    /// Told by tracks of members in view: those who joined, and everybody when a track is told.
    pub crowd: u64,
    /// The same of members not in view.
    pub crowd_unseen: u64,
    /// Not applied: the subject's state of this very tick was known.
    pub duplicate: u64,
    /// Not applied: older than the subject's last state, or than what has been told of it since; in a crowd also
    /// what is of several ticks ago, or of more near subjects than are kept.
    pub stale: u64,
    /// Not applied: nobody in view has that slot.
    pub unknown: u64,
}

impl StateCounters {
    /// Applied, over all levels and tracks, to subjects in view.
    #[must_use]
    pub fn applied_total(&self) -> u64 {
        self.applied.iter().sum::<u64>() + self.crowd
    }
}

/// Bytes received, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteCounters {
    /// Chunks of the near level.
    pub near: u64,
    /// Chunks of the crowd levels, told one by one.
    pub crowd: u64,
    /// Of crowd messages, once they take effect: where members of tracks are, and the heads of messages.
    pub crowd_state: u64,
    /// The same: who leaves and joins tracks, and which are told no more.
    pub crowd_membership: u64,
    /// The same: tracks that are new.
    pub crowd_keyframe: u64,
    /// The same: what happened to members.
    pub crowd_events: u64,
    /// Answers to who somebody is, with their length prefixes.
    pub identity: u64,
    /// Payload headers with the own record, and the heads of groups and chunks.
    pub own: u64,
    /// View messages with their length prefixes.
    pub view: u64,
    /// All other messages with their length prefixes: handshake, owner properties, results.
    pub messages: u64,
}

impl ByteCounters {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self {
            near,
            crowd,
            crowd_state,
            crowd_membership,
            crowd_keyframe,
            crowd_events,
            identity,
            own,
            view,
            messages,
        } = self;
        let tracks = crowd_state + crowd_membership + crowd_keyframe + crowd_events;
        near + crowd + tracks + identity + own + view + messages
    }
}
