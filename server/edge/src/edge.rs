//! The seam: start, send, ask for backlogs, close.

use crate::accept::accept_connections;
use crate::tls::ServerTls;
use crate::{EdgeConfig, EdgeCounters, EdgeError, transport};
use bytes::Bytes;
use crossbeam_channel::Sender;
use myriad_gateway::{ClientInput, ClientOutput, ConnId};
use myriad_wire::CloseReason;
use quinn::{Connection, Endpoint, VarInt};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Most messages that wait for one client, whatever their size.
const QUEUE_MESSAGES_MAX: usize = 1024;
/// How long [`Edge::close_all`] waits for the clients to have been told.
const CLOSE_ALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Something arrived from a client. Per connection: `Connected` first, `Closed` last, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeEvent {
    /// The connection; never reused.
    pub conn: ConnId,
    /// What arrived.
    pub input: ClientInput,
}

/// The clients' side of a gateway. Clones are the same edge; it runs until [`Self::close_all`].
///
/// Events go into a bounded channel. When it is full, datagrams are dropped and counted, and everything else waits,
/// so that a client's stream is read no faster than the gateway takes it.
#[derive(Clone, Debug)]
pub struct Edge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: EdgeConfig,
    pub(crate) counters: EdgeCounters,
    pub(crate) endpoint: Endpoint,
    pub(crate) events: Sender<EdgeEvent>,
    /// One permit per connection that may still be accepted.
    pub(crate) places: Arc<Semaphore>,
    /// One permit per handshake that may still begin.
    pub(crate) handshakes: Arc<Semaphore>,
    connections: RwLock<HashMap<ConnId, Outlet>>,
    next_conn: AtomicU64,
    fingerprint: String,
    /// Set by `close_all`.
    closing: OnceLock<CloseReason>,
}

/// The sending side of a connection.
#[derive(Debug)]
struct Outlet {
    connection: Connection,
    messages: mpsc::Sender<Bytes>,
    backlog_bytes: Arc<AtomicUsize>,
    close: oneshot::Sender<CloseReason>,
}

/// The other ends of an outlet, for the connection's task.
pub(crate) struct Intake {
    pub(crate) conn: ConnId,
    /// Ends, after what was queued before, when the gateway closes the connection.
    pub(crate) messages: mpsc::Receiver<Bytes>,
    /// What was queued and has not yet been handed to QUIC, in bytes.
    pub(crate) backlog_bytes: Arc<AtomicUsize>,
    /// Resolves when the gateway closes the connection.
    pub(crate) close: oneshot::Receiver<CloseReason>,
}

impl Edge {
    /// Listens for clients. What they send goes to `events`. The work is done on `runtime`, which must have I/O and
    /// time enabled.
    ///
    /// # Errors
    /// If the address can't be bound, or certificate and key don't fit.
    pub fn start(
        config: EdgeConfig,
        tls: &ServerTls,
        events: Sender<EdgeEvent>,
        runtime: &Handle,
    ) -> Result<Self, EdgeError> {
        let endpoint = transport::bind(&config, tls, runtime)?;
        let inner = Arc::new(Inner {
            counters: EdgeCounters::default(),
            endpoint,
            events,
            places: Arc::new(Semaphore::new(config.connections_max as usize)),
            handshakes: Arc::new(Semaphore::new(config.handshakes_max as usize)),
            connections: RwLock::default(),
            next_conn: AtomicU64::new(1),
            fingerprint: tls.fingerprint(),
            closing: OnceLock::new(),
            config,
        });
        runtime.spawn(accept_connections(inner.clone()));
        Ok(Self { inner })
    }

    /// Where the edge listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.endpoint.local_addr()
    }

    /// The SHA-256 of the certificate in lowercase hexadecimal, for clients to pin.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &EdgeCounters {
        &self.inner.counters
    }

    /// Clients connected now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.read().len()
    }

    /// Sends something to a client, or closes its connection. Never waits. What is for a connection that has ended
    /// is dropped.
    ///
    /// - A message beyond the connection's limit is refused and counted, and the connection closed as `Flood`: a
    ///   stream with a hole is of no use to the client.
    /// - A datagram may displace older ones that still wait; that is counted.
    /// - A close comes after the messages queued before it, if the client takes them within a second.
    pub fn send(&self, output: ClientOutput) {
        match output {
            ClientOutput::Message(conn, bytes) => {
                let refused =
                    self.inner.read().get(&conn).is_some_and(|outlet| {
                        !outlet.queue(bytes, self.inner.config.backlog_bytes_max as usize)
                    });
                if refused {
                    self.inner.counters.messages_refused.increment();
                    self.inner.close(conn, CloseReason::Flood);
                }
            }
            ClientOutput::Datagram(conn, bytes) => {
                if let Some(outlet) = self.inner.read().get(&conn) {
                    self.inner.send_datagram(outlet, bytes);
                }
            }
            ClientOutput::Close(conn, reason) => self.inner.close(conn, reason),
        }
    }

    /// Bytes of messages that wait for this client and that QUIC has not taken yet; 0 if it has gone.
    #[must_use]
    pub fn backlog(&self, conn: ConnId) -> usize {
        self.inner.read().get(&conn).map_or(0, Outlet::backlog)
    }

    /// The sum of all backlogs, in bytes. Visits every connection.
    #[must_use]
    pub fn backlog_total(&self) -> usize {
        self.inner.read().values().map(Outlet::backlog).sum()
    }

    /// Closes every connection with `reason` at once, takes no more, and waits (two seconds at most) until the
    /// clients have been told.
    pub async fn close_all(&self, reason: CloseReason) {
        let reason = *self.inner.closing.get_or_init(|| reason);
        let code = VarInt::from_u32(reason.code());
        self.inner.endpoint.close(code, reason.label().as_bytes());
        if timeout(CLOSE_ALL_TIMEOUT, self.inner.endpoint.wait_idle())
            .await
            .is_err()
        {
            tracing::warn!("some clients could not be told that the server is closing");
        }
    }
}

impl Outlet {
    /// Whether there was room.
    fn queue(&self, bytes: Bytes, backlog_bytes_max: usize) -> bool {
        let length = bytes.len();
        let before = self.backlog_bytes.fetch_add(length, Ordering::Relaxed);
        let queued = before + length <= backlog_bytes_max && self.messages.try_send(bytes).is_ok();
        if !queued {
            self.backlog_bytes.fetch_sub(length, Ordering::Relaxed);
        }
        queued
    }

    fn backlog(&self) -> usize {
        self.backlog_bytes.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// A connection has been accepted.
    pub(crate) fn enlist(&self, connection: Connection) -> Intake {
        let conn = ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed));
        let (messages, queued) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (close, closed) = oneshot::channel();
        let backlog_bytes = Arc::new(AtomicUsize::new(0));
        let outlet = Outlet {
            connection,
            messages,
            backlog_bytes: backlog_bytes.clone(),
            close,
        };
        self.write().insert(conn, outlet);
        Intake {
            conn,
            messages: queued,
            backlog_bytes,
            close: closed,
        }
    }

    /// A connection has ended.
    pub(crate) fn delist(&self, conn: ConnId) {
        self.write().remove(&conn);
    }

    /// Why connections end that the edge itself closed without a reason of their own.
    pub(crate) fn closing_reason(&self) -> CloseReason {
        self.closing.get().copied().unwrap_or(CloseReason::Shutdown)
    }

    fn close(&self, conn: ConnId, reason: CloseReason) {
        // Taking the outlet away ends the queue behind what is in it.
        if let Some(outlet) = self.write().remove(&conn) {
            // The task is gone if the connection ended by itself in this moment.
            let _ = outlet.close.send(reason);
        }
    }

    fn send_datagram(&self, outlet: &Outlet, bytes: Bytes) {
        let length = bytes.len();
        if outlet.connection.datagram_send_buffer_space() < length {
            self.counters.datagrams_dropped.increment();
        }
        // Fails only if the connection ends in this moment: its support for datagrams of every size we send was
        // checked when it was accepted.
        if outlet.connection.send_datagram(bytes).is_ok() {
            self.counters.datagrams_sent.increment();
            self.counters.sent_bytes.add(length as u64);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<ConnId, Outlet>> {
        self.connections.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ConnId, Outlet>> {
        self.connections.write().unwrap_or_else(PoisonError::into_inner)
    }
}
