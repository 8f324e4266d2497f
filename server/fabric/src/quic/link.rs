//! One link's life: greet, then carry announcements and messages until it breaks.
//!
//! The words are those of `myriad_wire::node`. Nothing here decides about retries; see [`super::NodeLinks`].

use super::Shared;
use crate::ca::{NODE_SAN, carries_name, check_node_name};
use crate::routes::{Attachment, Fabric, LinkPlace, LinkQueue, Opener, QueueLimits};
use bytes::Bytes;
use myriad_wire::Incarnation;
use myriad_wire::codec::Deframer;
use myriad_wire::fabric::RoleId;
use myriad_wire::node::{
    Announce, NODE_FRAME_BYTES_MAX, NODE_VERSION, NodeClose, NodeFrame, NodeFrameError, NodeHello,
    NodeWelcome, frame_announce, frame_forward, frame_hello, frame_welcome,
};
use quinn::{
    Connecting, Connection, ConnectionError, Incoming, ReadError, RecvStream, SendStream, VarInt, WriteError,
};
use rustls::pki_types::CertificateDer;
use std::future::pending;
use std::sync::Arc;
use tokio::time::timeout;

/// Most bytes taken off a stream at once.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Why a link ended or never stood.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection ended: the network's doing or the other node's.
    Connection(ConnectionError),
    /// This node ends it.
    Close(NodeClose, String),
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Connection(error),
            other => Self::Close(NodeClose::Malformed, other.to_string()),
        }
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Connection(error),
            other => Self::Close(NodeClose::Malformed, other.to_string()),
        }
    }
}

impl From<NodeFrameError> for Fault {
    fn from(error: NodeFrameError) -> Self {
        let close = match error {
            NodeFrameError::Version { .. } => NodeClose::Version,
            NodeFrameError::Codec(_) => NodeClose::Malformed,
        };
        Self::Close(close, error.to_string())
    }
}

/// A link that stands.
#[derive(Debug)]
pub(super) struct Link {
    /// The name of the node at the other end, proved by its certificate.
    pub(super) node: String,
    connection: Connection,
    send: SendStream,
    frames: FrameReader,
    attachment: Attachment,
}

/// Greets as the node that connects. With the incarnation, if `wants_incarnation`.
pub(super) async fn greet(
    shared: &Shared,
    connecting: Connecting,
    wants_incarnation: bool,
) -> Result<(Link, Option<Incarnation>), Fault> {
    let connection = within(shared, connecting).await?;
    let greeted = within::<_, Fault>(shared, async {
        let (mut send, recv) = connection.open_bi().await?;
        let mut frames = FrameReader::new(recv, shared.fabric.clone());
        let hello = NodeHello {
            name: shared.fabric.node().to_owned(),
            wants_incarnation,
        };
        let mut bytes = Vec::new();
        frame_hello(NODE_VERSION, &hello, &mut bytes);
        send.write_all(&bytes).await?;
        let NodeFrame::Welcome(welcome) = frames.next().await? else {
            return Err(out_of_place("a welcome"));
        };
        if wants_incarnation && welcome.incarnation.is_none() {
            return Err(out_of_place("a welcome with an incarnation"));
        }
        check_name(shared, &connection, &welcome.name)?;
        let attachment = attach(shared, &welcome.name, Opener::ThisNode)?;
        Ok((send, frames, welcome, attachment))
    })
    .await;
    let (send, frames, welcome, attachment) = close_on_fault(&connection, greeted)?;
    let link = Link {
        node: welcome.name,
        connection,
        send,
        frames,
        attachment,
    };
    Ok((link, welcome.incarnation))
}

/// Answers the greeting of a node that connected.
pub(super) async fn answer(shared: &Shared, incoming: Incoming) -> Result<Link, Fault> {
    let connection = within(shared, async { incoming.accept()?.await }).await?;
    let answered = within::<_, Fault>(shared, async {
        let (mut send, recv) = connection.accept_bi().await?;
        let mut frames = FrameReader::new(recv, shared.fabric.clone());
        let NodeFrame::Hello(hello) = frames.next().await? else {
            return Err(out_of_place("a greeting"));
        };
        check_name(shared, &connection, &hello.name)?;
        let incarnation = if hello.wants_incarnation {
            Some(shared.register(hello.name.clone()).await?)
        } else {
            None
        };
        let attachment = attach(shared, &hello.name, Opener::OtherNode)?;
        let mut bytes = Vec::new();
        let welcome = NodeWelcome {
            name: shared.fabric.node().to_owned(),
            incarnation,
        };
        frame_welcome(&welcome, &mut bytes);
        send.write_all(&bytes).await?;
        Ok((send, frames, hello.name, attachment))
    })
    .await;
    let (send, frames, node, attachment) = close_on_fault(&connection, answered)?;
    Ok(Link {
        node,
        connection,
        send,
        frames,
        attachment,
    })
}

impl Link {
    /// Carries announcements and messages until the link ends.
    pub(super) async fn run(self) -> Fault {
        let Attachment {
            place,
            queue,
            replaced,
        } = self.attachment;
        let fabric = place.fabric().clone();
        let ended = tokio::select! {
            ended = read_frames(self.frames, &place) => ended,
            ended = write_frames(self.send, queue, &fabric) => ended,
            _ = replaced => Err(Fault::Close(
                NodeClose::Replaced,
                format!("another link from a node called {:?} took this one's place", self.node),
            )),
        };
        let Err(fault) = close_on_fault(&self.connection, ended);
        fault
    }
}

async fn read_frames(mut frames: FrameReader, place: &LinkPlace) -> Result<std::convert::Infallible, Fault> {
    loop {
        match frames.next().await? {
            NodeFrame::Forward(envelope, body) => place.fabric().receive(envelope, body),
            NodeFrame::Announce(announce) => place.announced(&announce.roles),
            NodeFrame::Hello(_) | NodeFrame::Welcome(_) => {
                return Err(out_of_place("a message or an announcement"));
            }
        }
    }
}

async fn write_frames(
    mut send: SendStream,
    mut queue: LinkQueue,
    fabric: &Fabric,
) -> Result<std::convert::Infallible, Fault> {
    let mut hosted = fabric.hosted();
    hosted.mark_changed();
    loop {
        let message = tokio::select! {
            biased;
            changed = hosted.changed() => {
                changed.expect("the fabric holds the sender");
                hosted.mark_changed();
                None
            }
            message = queue.next() => match message {
                Some(message) => Some(message),
                None => pending().await, // Replaced: `Link::run` hears of it too, and ends.
            },
        };
        // Checked for every message, so that a role is always announced before what it says.
        if hosted.has_changed().expect("the fabric holds the sender") {
            let roles = hosted.borrow_and_update().clone();
            write_announce(&mut send, &roles, fabric).await?;
        }
        if let Some(message) = message {
            let mut head = Vec::with_capacity(64);
            frame_forward(&message.envelope, message.body.len(), &mut head);
            let body_bytes = message.body.len();
            let bytes = (head.len() + body_bytes) as u64;
            send.write_all_chunks(&mut [Bytes::from(head), message.body])
                .await?;
            queue.release(body_bytes);
            fabric.counters().sent_bytes.add(bytes);
        }
    }
}

async fn write_announce(send: &mut SendStream, roles: &Arc<[RoleId]>, fabric: &Fabric) -> Result<(), Fault> {
    let announce = Announce {
        roles: roles.to_vec(),
    };
    let mut bytes = Vec::new();
    frame_announce(&announce, &mut bytes);
    send.write_all(&bytes).await?;
    fabric.counters().sent_bytes.add(bytes.len() as u64);
    Ok(())
}

/// Takes frames off a link's stream.
#[derive(Debug)]
struct FrameReader {
    recv: RecvStream,
    deframer: Deframer,
    fabric: Fabric,
}

impl FrameReader {
    fn new(recv: RecvStream, fabric: Fabric) -> Self {
        Self {
            recv,
            deframer: Deframer::new(NODE_FRAME_BYTES_MAX),
            fabric,
        }
    }

    async fn next(&mut self) -> Result<NodeFrame, Fault> {
        loop {
            let whole = self.deframer.poll_message().map_err(NodeFrameError::from)?;
            if let Some(frame) = whole {
                return Ok(NodeFrame::decode(frame)?);
            }
            let Some(chunk) = self.recv.read_chunk(READ_BYTES_MAX, true).await? else {
                return Err(out_of_place("more, but the stream ended"));
            };
            self.fabric
                .counters()
                .received_bytes
                .add(chunk.bytes.len() as u64);
            self.deframer.handle_bytes(&chunk.bytes);
        }
    }
}

fn out_of_place(expected: &str) -> Fault {
    Fault::Close(NodeClose::Malformed, format!("expected {expected}"))
}

/// That the other node may call itself `name`.
fn check_name(shared: &Shared, connection: &Connection, name: &str) -> Result<(), Fault> {
    let refuse = |text: String| Err(Fault::Close(NodeClose::Name, text));
    if let Err(error) = check_node_name(name) {
        return refuse(error.to_string());
    }
    if name == shared.fabric.node() {
        return refuse(format!("both nodes are called {name:?}"));
    }
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.as_ref().and_then(|chain| chain.first());
    match leaf {
        Some(leaf) if carries_name(leaf, name) && carries_name(leaf, NODE_SAN) => Ok(()),
        _ => refuse(format!("the certificate is not that of a node called {name:?}")),
    }
}

fn attach(shared: &Shared, node: &str, opener: Opener) -> Result<Attachment, Fault> {
    let limits = QueueLimits {
        messages: shared.config.queue_messages_max,
        bytes: shared.config.queue_bytes_max,
    };
    shared.fabric.attach(node, opener, limits).map_err(|_| {
        Fault::Close(
            NodeClose::Duplicate,
            format!("{:?} and {node:?} are linked already", shared.fabric.node()),
        )
    })
}

/// One part of a greeting, which may take only so long.
async fn within<T, E: Into<Fault>>(
    shared: &Shared,
    part: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match timeout(shared.config.greeting_timeout, part).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Fault::Close(
            NodeClose::TimedOut,
            "the greeting took too long".to_owned(),
        )),
    }
}

/// If this node ends the connection, says so to the other one.
fn close_on_fault<T>(connection: &Connection, result: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(Fault::Close(close, text)) = &result {
        connection.close(VarInt::from_u32(close.code()), text.as_bytes());
    }
    result
}
