//! What goes in and out of a gateway, and how it says how it stands.

use bytes::Bytes;
use myriad_wire::fabric::Envelope;
use myriad_wire::{CloseReason, LaneEpoch, LaneId, Tick};

/// A client's connection. Given by the edge, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What arrived from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientInput {
    /// It has connected.
    Connected,
    /// A message on its stream, without the length prefix.
    Message(Bytes),
    /// A datagram.
    Datagram(Bytes),
    /// The connection is over; nothing more comes from it.
    Closed(CloseReason),
}

/// What is to be sent to a client, in this order per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// A message on its stream, with its length prefix.
    Message(ConnId, Bytes),
    /// A datagram.
    Datagram(ConnId, Bytes),
    /// Close the connection, after what was sent before. The gateway has forgotten it.
    Close(ConnId, CloseReason),
}

/// What a tick puts out. The caller takes it away and hands the emptied buffers in again.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To clients.
    pub clients: Vec<ClientOutput>,
    /// To lanes.
    pub fabric: Vec<(Envelope, Bytes)>,
}

/// A part of the tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Takes what arrived from clients and lanes.
    Ingest,
    /// Brings mirrors and views up to date.
    Interest,
    /// Packs each client's messages and datagrams.
    Assemble,
    /// Reports to lanes and ends sessions.
    Send,
}

impl Stage {
    /// All of them, in the order of the tick.
    pub const ALL: &[Self] = &[Self::Ingest, Self::Interest, Self::Assemble, Self::Send];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Interest => "interest",
            Self::Assemble => "assemble",
            Self::Send => "send",
        }
    }
}

/// How a gateway stands, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Sessions, joined or not.
    pub sessions: u32,
    /// Sessions that have been given their avatar.
    pub joined: u32,
    /// Joined sessions whose view is frozen, because they do not read.
    pub frozen: u32,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
}

/// How a gateway's copy of a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// The lane.
    pub lane: LaneId,
    /// Its epoch, zero before the first frame.
    pub epoch: LaneEpoch,
    /// The tick of the last frame.
    pub tick: Tick,
    /// Entities that it has.
    pub subjects: u32,
    /// Ticks of the gateway since the lane was heard.
    pub silent_ticks: u64,
    /// Ticks that the lane had to jump over so far.
    pub skipped_ticks: u64,
}
