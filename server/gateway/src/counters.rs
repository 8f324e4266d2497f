//! What a gateway counts, for the skin to export. All of it only ever rises.

use myriad_wire::CloseReason;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// What a gateway has counted since its start.
        #[derive(Clone, Debug, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)*
            /// Sessions ended by the gateway or by their client, by the code of the reason. See [`Self::closed`].
            pub closes: [u64; CloseReason::ALL.len()],
        }

        impl Counters {
            /// Name, help text and value of each, for the exporter; without [`Self::closes`].
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Ticks.
    ticks,
    /// Connections that were given a session.
    sessions_opened,
    /// Sessions that got their avatar for the first time.
    sessions_joined,
    /// Inputs for connections that the gateway does not know (any more).
    inputs_unknown,
    /// Messages from clients.
    messages_received,
    /// Datagrams from clients.
    datagrams_received,
    /// Datagrams dropped, because their client sent too many in one tick.
    datagrams_dropped,
    /// Datagrams dropped, because their session had no avatar or had just been given another one.
    datagrams_early,
    /// Movement intents passed on to lanes.
    intents_forwarded,
    /// Movement intents that came again after they had been passed on.
    intents_repeated,
    /// Commands passed on to lanes.
    commands_forwarded,
    /// Commands that came again under a number already taken.
    commands_repeated,
    /// Commands that the gateway refused, because too many of their session were unanswered.
    commands_refused,
    /// Views sent.
    views_sent,
    /// Subjects that entered a view.
    enters_sent,
    /// Subjects that left a view.
    leaves_sent,
    /// Changes of properties told.
    changes_sent,
    /// Events told.
    events_sent,
    /// Ticks in which a client's enters did not all fit its view, and waited.
    enters_deferred,
    /// Changes that did not fit a view, and waited.
    changes_deferred,
    /// Events that a client was never told, because it was frozen or its view was full.
    events_dropped,
    /// Events that no client in a crowd was told, because their entity is in no track that may be told.
    events_untold,
    /// Times that a client began to be told its view as a crowd, or did so anew.
    crowds_begun,
    /// Times that a client in a crowd began to be told its view subject by subject.
    crowds_left,
    /// Crowd messages sent.
    crowd_messages_sent,
    /// Those of them that another client was sent too: they cost no more than a look.
    crowd_messages_shared,
    /// Crowd messages that grew beyond the largest message, so that their client began anew.
    crowd_messages_oversized,
    /// Bytes of crowd messages sent; a part of those sent on streams.
    crowd_bytes_sent,
    /// Keyframes of crowd tracks sent.
    crowd_keyframes_sent,
    /// Ticks in which a client's keyframes did not all fit, and waited.
    crowd_keyframes_deferred,
    /// Crowd tracks that clients were told the end of.
    crowd_drops_sent,
    /// Crowd tracks told to nobody, because a member is not whom the mirror has: once per track and tick.
    crowd_withheld,
    /// Frames whose crowd records could not be applied, so that a full copy was asked for.
    crowd_streams_lost,
    /// Ticks in which a client in a crowd was told fewer near states, or no events, for want of budget.
    crowds_degraded,
    /// Subjects that clients asked about.
    identities_asked,
    /// Identities sent.
    identities_sent,
    /// Questions not answered, because they came too fast: about more than 64 subjects in a tick.
    identifies_refused,
    /// Views frozen, because their client did not read.
    freezes,
    /// Frozen views that caught up.
    catch_ups,
    /// Bytes sent on streams.
    stream_bytes_sent,
    /// Datagrams sent.
    datagrams_sent,
    /// Bytes sent in datagrams.
    datagram_bytes_sent,
    /// Tracks told to clients, once per track, client and tick.
    tracks_sent,
    /// Tracks told to clients at a worse level than their distance asks for.
    tracks_degraded,
    /// Tracks in reach that clients were not told at all, for want of budget.
    tracks_dropped,
    /// Chunks that did not fit the most datagrams of a payload.
    chunks_dropped,
    /// Frames taken from lanes.
    frames_applied,
    /// Frames that were keyframes.
    keyframes_applied,
    /// Frames and routes refused, because their lane's epoch was lower than one seen before.
    epochs_refused,
    /// Frames refused, because their tick was not newer or a keyframe was missing.
    frames_refused,
    /// Chunks of frames that could not be decoded.
    chunks_refused,
    /// Entities refused, because their slot was out of range or not alive.
    records_refused,
    /// Records ignored, because another lane has authority over their entity.
    records_foreign,
    /// Entities refused, because another lane has them, or had them to their end, after a later hand-off.
    entities_fenced,
    /// Entities that ended, because they were handed off and no lane had them for too long.
    transits_ended,
    /// Entities and crowd tracks refused, because names of too many lives of lanes were alive.
    issuers_refused,
    /// Sessions that were to go on at a lane that the gateway does not know.
    lanes_unknown,
    /// Messages over the fabric that could not be decoded.
    fabric_malformed,
    /// Messages over the fabric from a role that the gateway has nothing to do with.
    fabric_strangers,
    /// Frames dropped, because too many waited for a tick.
    fabric_overflows,
    /// Messages over the fabric dropped, because one before them was missing or they came again.
    fabric_dropped,
    /// Full copies sent to lanes that had lost something.
    resyncs,
    /// Reports sent to lanes.
    reports_sent,
}

impl Counters {
    /// How many sessions ended for this reason.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closes[reason.code() as usize]
    }

    pub(crate) fn count_close(&mut self, reason: CloseReason) {
        self.closes[reason.code() as usize] += 1;
    }
}
