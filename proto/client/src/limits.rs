//! What a client holds at most, whatever the server sends.

/// Most subjects in a view. A server that lets more enter is at fault; the session ends with `Oversized`.
pub const SUBJECTS_MAX: usize = 1 << 16;
/// Most slots, over all lanes, that the slot tables reach up to: 4 bytes each.
pub const SLOTS_MAX: usize = 1 << 21;
/// Most bytes of property values in a view, counted as [`crate::view`] does.
pub const PROPERTY_BYTES_MAX: usize = 64 << 20;
/// Datagrams that wait for the stream to catch up; beyond that the oldest is dropped.
pub const HELD_DATAGRAMS_MAX: usize = 64;
/// Bytes of messages waiting to be told at which [`crate::Client::wants_stream`] asks for a pause.
pub const QUEUE_BYTES_PAUSE: usize = 1 << 20;
/// Bytes of messages waiting to be told at which a caller that ignores the pause loses its session.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Commands that wait for their answers; [`crate::Client::command`] refuses more.
pub const COMMANDS_MAX: usize = 64;
/// Corrections that wait to be told; beyond that the oldest is dropped (the counter still counts it).
pub const CORRECTIONS_MAX: usize = 16;
/// Unacknowledged steps that the prediction replays: four seconds at 60 Hz. Older ones are taken for lost.
pub const STEPS_MAX: usize = 256;
/// Highest tick believed: beyond it a payload is malformed. 8,900 years at 1 kHz.
pub const TICK_MAX: u64 = 1 << 48;
/// Shortest and longest wait for the states of a tick that has events or leaves, in microseconds. Between them
/// it is one tick period.
pub const STATES_WAIT_US: std::ops::RangeInclusive<u64> = 20_000..=250_000;
/// Window of the clock mapping's minimum, in microseconds: half of it is forgotten at a time.
pub const CLOCK_WINDOW_US: u64 = 20_000_000;
/// Most tracks that a client in a crowd is told. A server that tells more is at fault; the session ends with `Oversized`.
pub const TRACKS_MAX: usize = 1 << 12;
/// Most members of all tracks together that a client is told, in view or not.
pub const MEMBERS_MAX: usize = 1 << 17;
/// Most near states of a tick in a crowd; more are refused.
pub const NEAR_MAX: usize = 1 << 10;
/// Most identities remembered in a crowd; beyond that the one not heard of for longest is given up. With a name each
/// they are some 20 KiB.
pub const IDENTITIES_MAX: usize = 1 << 7;
