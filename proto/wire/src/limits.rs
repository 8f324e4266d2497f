//! Limits that both ends of the wire share. Reaching one is a named error, never a silent cut.

/// ALPN of the client protocol. The number is that of the handshake, not of the message version.
pub const ALPN_CLIENT: &[u8] = b"myriad/1";
/// ALPN of the links between nodes.
pub const ALPN_NODE: &[u8] = b"myriad-node/1";
/// The oldest and newest version of the client messages that this build speaks.
pub const VERSION_MIN: u16 = 2;
/// See [`VERSION_MIN`].
pub const VERSION_MAX: u16 = 2;

/// Largest message from a client on its stream, without the length prefix, in bytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Largest message from a gateway to a client on its stream, without the length prefix, in bytes.
pub const SERVER_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Largest datagram in either direction, in bytes. Fits a QUIC packet of 1,200 bytes with its overhead.
pub const DATAGRAM_BYTES_MAX: usize = 1150;
/// Largest chunk of a track, in bytes: leaves room for the payload's header in a datagram.
pub const CHUNK_BYTES_MAX: usize = 1000;
/// Most entities in one chunk of a track.
pub const CHUNK_ENTITIES_MAX: usize = 256;

/// Longest account name, in bytes of UTF-8.
pub const ACCOUNT_BYTES_MAX: usize = 32;
/// Longest login key, in bytes.
pub const LOGIN_KEY_BYTES_MAX: usize = 256;
/// Longest name of a client's software, in bytes.
pub const AGENT_BYTES_MAX: usize = 64;
/// Longest name of a command or an event, in bytes.
pub const NAME_BYTES_MAX: usize = 32;
/// Most arguments of a command or an event.
pub const ARGUMENTS_MAX: usize = 8;
/// Longest text value, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Most properties of an entity kind.
pub const PROPERTIES_MAX: usize = 64;

/// Most movement intents in one datagram: the newest and those not yet acknowledged before it.
pub const INTENTS_PER_DATAGRAM_MAX: usize = 16;
/// Farthest displacement of one intent per axis, in position units: 16 m.
pub const INTENT_STEP_MAX: i32 = 16 * crate::grid::UNITS_PER_METRE;

/// Most subjects that a client asks about in one message.
pub const IDENTIFY_MAX: usize = 64;

/// Ticks for which a slot rests after a despawn before it is given to another entity. Clients tell lives of a
/// slot apart by the tick of a state, which is sound while no reliable message is that late.
pub const SLOT_REST_TICKS: u64 = 64;
/// Largest message between nodes, in bytes.
pub const NODE_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
