//! What a shard knows of one client, and all of a shard's clients.

use crate::allowance::Allowance;
use bytes::Bytes;
use myriad_gateway::ConnId;
use myriad_transport::quic::StreamId;
use myriad_transport::{ConnectionKey, SendQueue};
use myriad_wire::CloseReason;
use myriad_wire::codec::Deframer;
use myriad_wire::limits::CLIENT_MESSAGE_BYTES_MAX;

/// A backlog that changed by less, and by less than an eighth, is not told again.
const BACKLOG_STEP_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) conn: ConnId,
    key: ConnectionKey,
    /// The protocol's one stream, once the client has opened it.
    pub(crate) stream: Option<StreamId>,
    pub(crate) deframer: Deframer,
    /// A message for which the gateway's inbox had no room. Nothing more is read until it has.
    pub(crate) held: Option<Bytes>,
    /// It stands in the shard's list of those with such a message.
    pub(crate) stalled: bool,
    pub(crate) allowance: Allowance,
    pub(crate) outbox: SendQueue,
    /// It stands in the shard's list of those with new outputs.
    pub(crate) fresh: bool,
    /// Why the gateway closes it, after what it sent before. It is read no more.
    pub(crate) closing: Option<CloseReason>,
    /// All was written, and the stream ended.
    pub(crate) finished: bool,
    /// The part of the shards' total that is this client's.
    pub(crate) backlog_counted: usize,
    backlog_told: usize,
    /// It stands in the shard's list of those whose backlog is to be told.
    pub(crate) backlog_due: bool,
}

impl Client {
    pub(crate) fn new(conn: ConnId, key: ConnectionKey, datagrams_per_s: u32) -> Self {
        Self {
            conn,
            key,
            stream: None,
            deframer: Deframer::new(CLIENT_MESSAGE_BYTES_MAX),
            held: None,
            stalled: false,
            allowance: Allowance::new(datagrams_per_s),
            outbox: SendQueue::default(),
            fresh: false,
            closing: None,
            finished: false,
            backlog_counted: 0,
            backlog_told: 0,
            backlog_due: false,
        }
    }

    /// Whether the backlog has become another than the gateway was told.
    pub(crate) fn backlog_differs(&self) -> bool {
        let (now, told) = (self.outbox.bytes(), self.backlog_told);
        (now == 0) != (told == 0) || now.abs_diff(told) >= BACKLOG_STEP_BYTES.max(told / 8)
    }

    /// The backlog, which is now told.
    pub(crate) fn tell_backlog(&mut self) -> (ConnId, usize) {
        self.backlog_told = self.outbox.bytes();
        (self.conn, self.backlog_told)
    }
}

/// By the index of the driver's key.
#[derive(Debug, Default)]
pub(crate) struct Clients(Vec<Option<Client>>);

impl Clients {
    pub(crate) fn insert(&mut self, client: Client) {
        let index = client.key.index();
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        let before = self.0[index].replace(client);
        assert!(
            before.is_none(),
            "a lost client is forgotten before its place is taken"
        );
    }

    pub(crate) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Client> {
        self.0
            .get_mut(key.index())?
            .as_mut()
            .filter(|client| client.key == key)
    }

    pub(crate) fn remove(&mut self, key: ConnectionKey) -> Option<Client> {
        self.get_mut(key)?;
        self.0[key.index()].take()
    }

    pub(crate) fn keys(&self) -> Vec<ConnectionKey> {
        self.0.iter().flatten().map(|client| client.key).collect()
    }
}
