//! The gateway: connections and frames in, views and payloads out.

use crate::config::GatewayConfig;
use crate::counters::Counters;
use bytes::Bytes;
use myriad_wire::fabric::Envelope;
use myriad_wire::{CloseReason, LaneEpoch, LaneId, Tick};
use std::collections::BTreeSet;

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

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    config: GatewayConfig,
    counters: Counters,
    connections: BTreeSet<ConnId>,
    draining: Option<CloseReason>,
}

impl Gateway {
    /// A gateway without clients, that has heard of no lane yet.
    ///
    /// # Panics
    /// If the configuration has [`GatewayConfig::mistakes`].
    #[must_use]
    pub fn new(config: GatewayConfig) -> Self {
        let mistakes = config.mistakes();
        assert!(
            mistakes.is_empty(),
            "a gateway's configuration was not checked: {mistakes:?}"
        );
        Self {
            config,
            counters: Counters::default(),
            connections: BTreeSet::new(),
            draining: None,
        }
    }

    /// Something arrived from a client.
    pub fn handle_client(&mut self, conn: ConnId, input: ClientInput) {
        match input {
            ClientInput::Connected => _ = self.connections.insert(conn),
            ClientInput::Closed(_) => _ = self.connections.remove(&conn),
            ClientInput::Message(_) => self.counters.messages_received += 1,
            ClientInput::Datagram(_) => self.counters.datagrams_received += 1,
        }
    }

    /// So many reliable bytes of this client wait to be sent.
    pub fn set_backlog(&mut self, _conn: ConnId, _bytes: usize) {}

    /// A message arrived over the fabric.
    pub fn handle_fabric(&mut self, _envelope: &Envelope, _body: Bytes) {}

    /// Whether every lane that is alive has sent its frame: time to tick.
    #[must_use]
    pub fn frames_ready(&self) -> bool {
        false
    }

    /// One tick.
    pub fn tick(&mut self, out: &mut Outputs) {
        self.tick_staged(out, |_| ());
    }

    /// One tick; `ended` is called at the end of each stage.
    pub fn tick_staged(&mut self, out: &mut Outputs, mut ended: impl FnMut(Stage)) {
        self.counters.ticks += 1;
        if let Some(reason) = self.draining {
            out.clients.extend(
                self.connections
                    .iter()
                    .map(|conn| ClientOutput::Close(*conn, reason)),
            );
            self.connections.clear();
        }
        for stage in Stage::ALL {
            ended(*stage);
        }
    }

    /// From the next tick on: ends all sessions, and refuses new ones, for this reason.
    pub fn drain(&mut self, reason: CloseReason) {
        self.draining = Some(reason);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How the gateway stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            sessions: self.config.sessions_max.min(self.connections.len() as u32),
            ..Status::default()
        }
    }
}
