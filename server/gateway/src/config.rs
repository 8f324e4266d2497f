//! What a gateway is told at its start.

use myriad_wire::limits::{CLIENT_MESSAGE_BYTES_MAX, LOGIN_KEY_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX};
use myriad_wire::{GatewayId, Incarnation, LaneId, SpaceId};

/// How a gateway runs. Times are in seconds and become ticks by the space's clock, rounded up.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The gateway's name on the fabric.
    pub id: GatewayId,
    /// The node's incarnation: sessions and links are numbered under it.
    pub incarnation: Incarnation,
    /// The one space that clients can join here.
    pub space: SpaceId,
    /// The lanes of that space when the gateway starts, at most [`LANES_MAX`], in any order, each once. All of them are taken
    /// for homes of accounts until [`crate::Gateway::adopt`] says otherwise.
    pub lanes: Vec<LaneId>,
    /// Who may log in.
    pub login: LoginPolicy,
    /// Ticks per second until the first keyframe says the space's own rate. Greater than zero.
    pub hz: f64,
    /// Most clients; one more is refused as `Full`. Zero refuses everybody.
    pub sessions_max: u32,
    /// Slots of each lane's names that the gateway follows: an entity in a slot beyond it is refused and counted, and no
    /// client sees it. Bounds the memory of the mirror and of every view.
    pub slots_max: u32,
    /// How long a client may take from its connection to its login, and from its join to its avatar, in seconds.
    pub login_timeout_s: f64,
    /// Messages per second that a client may send on its stream. One that saved up none of [`Self::messages_burst`]
    /// is closed as `Flood` with the next message.
    pub messages_per_s: u32,
    /// Messages that a client may send at once.
    pub messages_burst: u32,
    /// Datagrams that a client may send in one tick; more are dropped and counted.
    pub datagrams_per_tick: u32,
    /// Each client is told at least this many entities at the near level, as long as as many are in reach.
    pub near_target: u32,
    /// Bytes of datagrams per second and client. Beyond it the farthest tracks are told more seldom. At least 1,150
    /// per tick are sent in any case. A client in a crowd: with its crowd messages, less their keyframes. Beyond it fewer
    /// near states are told, down to a quarter of [`Self::near_target`], then no events; the crowd is told in any case.
    pub budget_bytes_per_s: u32,
    /// A client with more subjects in view is told them as a crowd, until it has fewer than 5/8 of this. 0: always, as
    /// long as its lane has crowd tracks. `u32::MAX`: never.
    pub crowd_from: u32,
    /// Bytes of keyframes of crowd tracks in one tick and for one client; at least one is told, and what does not fit
    /// comes in the next ticks. Bounds the burst when a client comes into a crowd. At most [`KEYFRAME_BYTES_CEILING`].
    pub keyframe_bytes_max: usize,
    /// Bytes of events that a client in a crowd is told in one tick, those of the nearest tracks first; the others it is
    /// never told. One record of them, usually of 256 bytes, is told in any case. At most [`EVENT_BYTES_CEILING`].
    pub event_bytes_per_tick: usize,
    /// Bytes of identities that a client is told in one tick, when it asks; at least one is told, and for the others it
    /// must ask again. At most [`IDENTITY_BYTES_CEILING`].
    pub identity_bytes_per_tick: usize,
    /// Bytes of enters in one `View`; what does not fit comes in the next ticks. Bounds the burst after a join or a
    /// lane's restart. At most [`VIEW_BYTES_CEILING`].
    pub view_bytes_max: usize,
    /// Unsent reliable bytes beyond which a client's view is frozen, until half of it.
    pub backlog_bytes_max: usize,
}

/// Most lanes of one gateway: those who gave the names of all that lives need handles of one byte towards clients, and a
/// restarted lane is another one.
pub const LANES_MAX: usize = 64;
/// Greatest [`GatewayConfig::view_bytes_max`], in bytes: leaves room for changes and events in the same message.
pub const VIEW_BYTES_CEILING: usize = SERVER_MESSAGE_BYTES_MAX / 2;
/// Greatest [`GatewayConfig::keyframe_bytes_max`], in bytes: half of the largest message.
pub const KEYFRAME_BYTES_CEILING: usize = SERVER_MESSAGE_BYTES_MAX / 2;
/// Greatest [`GatewayConfig::event_bytes_per_tick`], in bytes.
pub const EVENT_BYTES_CEILING: usize = 128 * 1024;
/// Greatest [`GatewayConfig::identity_bytes_per_tick`], in bytes.
pub const IDENTITY_BYTES_CEILING: usize = 128 * 1024;

/// Who may log in.
#[derive(Clone, Default)]
pub struct LoginPolicy {
    /// The key that every client must show; `None` lets everybody in. At most
    /// [`myriad_wire::limits::LOGIN_KEY_BYTES_MAX`] bytes.
    pub key: Option<String>,
}

impl std::fmt::Debug for LoginPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret; it must not reach a log.
        f.debug_struct("LoginPolicy")
            .field("asks_for_key", &self.key.is_some())
            .finish()
    }
}

impl GatewayConfig {
    /// The defaults for a gateway of one lane.
    #[must_use]
    pub fn new(id: GatewayId, incarnation: Incarnation, space: SpaceId, lane: LaneId) -> Self {
        Self {
            id,
            incarnation,
            space,
            lanes: vec![lane],
            login: LoginPolicy::default(),
            hz: 10.0,
            sessions_max: 4096,
            slots_max: 1 << 17,
            login_timeout_s: 10.0,
            messages_per_s: 40,
            messages_burst: 80,
            datagrams_per_tick: 8,
            near_target: 100,
            budget_bytes_per_s: 160_000,
            crowd_from: 256,
            keyframe_bytes_max: 24 * 1024,
            event_bytes_per_tick: 512,
            identity_bytes_per_tick: 2048,
            view_bytes_max: 48 * 1024,
            backlog_bytes_max: 256 * 1024,
        }
    }

    /// All that is wrong with it, in words for the operator.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut check = |ok: bool, mistake: &str| {
            if !ok {
                mistakes.push(mistake.to_owned());
            }
        };
        let mut lanes = self.lanes.clone();
        lanes.sort_unstable();
        lanes.dedup();
        check(lanes.len() == self.lanes.len(), "lanes: a lane is named twice");
        check(
            (1..=LANES_MAX).contains(&self.lanes.len()),
            "lanes: between 1 and 64 are needed",
        );
        check(
            (0.1..=1000.0).contains(&self.hz),
            "hz: must lie between 0.1 and 1000",
        );
        check(self.sessions_max <= 1 << 17, "sessions_max: at most 131072");
        check(
            (1..=1 << 20).contains(&self.slots_max),
            "slots_max: must lie between 1 and 1048576",
        );
        check(
            (0.1..=3600.0).contains(&self.login_timeout_s),
            "login_timeout_s: must lie between 0.1 and 3600",
        );
        check(
            self.messages_per_s > 0,
            "messages_per_s: must be greater than zero",
        );
        check(
            (1..=MESSAGES_BURST_CEILING).contains(&self.messages_burst),
            "messages_burst: must lie between 1 and 256",
        );
        check(
            (1..=64).contains(&self.datagrams_per_tick),
            "datagrams_per_tick: must lie between 1 and 64",
        );
        check(
            (1024..=VIEW_BYTES_CEILING).contains(&self.view_bytes_max),
            "view_bytes_max: must lie between 1024 and 524288",
        );
        check(
            (1..=KEYFRAME_BYTES_CEILING).contains(&self.keyframe_bytes_max),
            "keyframe_bytes_max: must lie between 1 and 524288",
        );
        check(
            self.event_bytes_per_tick <= EVENT_BYTES_CEILING,
            "event_bytes_per_tick: at most 131072",
        );
        check(
            self.identity_bytes_per_tick <= IDENTITY_BYTES_CEILING,
            "identity_bytes_per_tick: at most 131072",
        );
        check(
            self.backlog_bytes_max > CLIENT_MESSAGE_BYTES_MAX,
            "backlog_bytes_max: must be greater than 4096",
        );
        check(
            self.login
                .key
                .as_ref()
                .is_none_or(|key| (1..=LOGIN_KEY_BYTES_MAX).contains(&key.len())),
            "login.key: must have 1 to 256 bytes, or be left out",
        );
        mistakes
    }
}

/// Greatest [`GatewayConfig::messages_burst`]: bounds what waits for one tick to 1 MiB per client.
const MESSAGES_BURST_CEILING: u32 = 256;
