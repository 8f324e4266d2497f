//! The seam: start, take what arrived, send, close.

use crate::conn::shard_of;
use crate::inbox::Inbox;
use crate::mailbox::Mailbox;
use crate::shard::{CLOSE_ALL_TIMEOUT, Shard};
use crate::tls::ServerTls;
use crate::{Arrivals, EdgeConfig, EdgeCounters, EdgeError, transport};
use myriad_gateway::{ClientOutput, ConnId};
use myriad_transport::{ShardId, SocketId};
use myriad_wire::CloseReason;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often [`Edge::close_all`] looks whether the shards have ended.
const END_PAUSE: Duration = Duration::from_millis(2);

/// The clients' side of a gateway. Clones are the same edge; it runs until [`Self::close_all`], or until the last of
/// them is dropped.
///
/// What clients send waits in a bounded inbox until it is taken. When that is full, datagrams are dropped and
/// counted, and everything else waits, so that a client's stream is read no faster than the gateway takes it.
#[derive(Clone, Debug)]
pub struct Edge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    address: SocketAddr,
    fingerprint: String,
    /// Reused by [`Edge::send_all`]: each shard's part.
    parts: Mutex<Vec<Vec<ClientOutput>>>,
}

/// What the edge and its shards share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: EdgeConfig,
    pub(crate) counters: EdgeCounters,
    pub(crate) inbox: Inbox,
    /// Of each shard.
    pub(crate) mailboxes: Vec<Mailbox>,
    /// Clients whose end the gateway was not told.
    pub(crate) connections: AtomicUsize,
    /// The sum of the clients' backlogs.
    pub(crate) backlog_bytes: AtomicUsize,
    /// Set by `close_all`.
    pub(crate) closing: OnceLock<CloseReason>,
}

impl Edge {
    /// Listens for clients, on threads of its own.
    ///
    /// # Errors
    /// If the address can't be bound, certificate and key don't fit, or the system gives no threads.
    pub fn start(config: EdgeConfig, tls: &ServerTls) -> Result<Self, EdgeError> {
        let drivers = transport::bind(&config, tls)?;
        let address = drivers[0]
            .local_addr(SocketId(0))
            .map_err(|source| EdgeError::Bind {
                address: config.listen,
                source,
            })?;
        let shared = Arc::new(Shared {
            counters: EdgeCounters::default(),
            inbox: Inbox::new(config.events_max as usize),
            mailboxes: drivers
                .iter()
                .map(|driver| Mailbox::new(driver.waker()))
                .collect(),
            connections: AtomicUsize::new(0),
            backlog_bytes: AtomicUsize::new(0),
            closing: OnceLock::new(),
            config,
        });
        let mut inner = Inner {
            parts: Mutex::new(drivers.iter().map(|_| Vec::new()).collect()),
            shared: shared.clone(),
            threads: Vec::new(),
            address,
            fingerprint: tls.fingerprint(),
        };
        for (number, driver) in (0..=u8::MAX).zip(drivers) {
            let shard = Shard::new(ShardId(number), driver, shared.clone());
            let thread = std::thread::Builder::new().name(format!("edge-{number}"));
            inner.threads.push(thread.spawn(move || shard.run())?);
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where the edge listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.address
    }

    /// The SHA-256 of the certificate in lowercase hexadecimal, for clients to pin.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &EdgeCounters {
        &self.inner.shared.counters
    }

    /// Clients connected now, and those whose end still waits to be told.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.shared.connections.load(Ordering::Relaxed)
    }

    /// The sum of all backlogs, in bytes.
    #[must_use]
    pub fn backlog_total(&self) -> usize {
        self.inner.shared.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Events and changed backlogs that wait to be taken.
    #[must_use]
    pub fn arrivals_waiting(&self) -> usize {
        self.inner.shared.inbox.waiting()
    }

    /// Takes what arrived since the last time, in the place of what is in `arrivals`. Never waits: the gateway looks
    /// some times per tick, and nobody wakes it for a single client.
    pub fn take_arrivals(&self, arrivals: &mut Arrivals) {
        self.inner.shared.inbox.take(arrivals);
    }

    /// Sends to clients, or closes their connections. Never waits; leaves `outputs` empty. What is for a connection
    /// that has ended is dropped.
    ///
    /// - A message beyond the connection's limit is refused and counted, and the connection closed as `Flood`: a
    ///   stream with a hole is of no use to the client.
    /// - A datagram may displace older ones that still wait; that is counted.
    /// - A close comes after the messages queued before it, if the client takes them within a second.
    pub fn send_all(&self, outputs: &mut Vec<ClientOutput>) {
        let shared = &self.inner.shared;
        if let [mailbox] = shared.mailboxes.as_slice() {
            mailbox.post(outputs, &shared.counters);
            return;
        }
        let mut parts = self.inner.parts.lock().unwrap_or_else(PoisonError::into_inner);
        for output in outputs.drain(..) {
            if let Some(part) = parts.get_mut(shard_of(conn_of(&output))) {
                part.push(output);
            }
        }
        for (mailbox, part) in shared.mailboxes.iter().zip(parts.iter_mut()) {
            mailbox.post(part, &shared.counters);
        }
    }

    /// Whether a shard has ended although nobody closed the edge.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.inner.shared.closing.get().is_none() && self.inner.threads.iter().any(JoinHandle::is_finished)
    }

    /// Closes every connection with `reason` at once, takes no more, and waits (two seconds at most) until the
    /// clients have been told.
    pub fn close_all(&self, reason: CloseReason) {
        self.inner.begin_close(reason);
        // A shard that hangs must not hang the node.
        let deadline = Instant::now() + CLOSE_ALL_TIMEOUT + CLOSE_ALL_TIMEOUT / 2;
        while Instant::now() < deadline && !self.inner.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(END_PAUSE);
        }
    }
}

impl Inner {
    fn begin_close(&self, reason: CloseReason) {
        self.shared.closing.get_or_init(|| reason);
        for mailbox in &self.shared.mailboxes {
            mailbox.wake();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.begin_close(CloseReason::Shutdown);
    }
}

fn conn_of(output: &ClientOutput) -> ConnId {
    match output {
        ClientOutput::Message(conn, _) | ClientOutput::Datagram(conn, _) | ClientOutput::Close(conn, _) => {
            *conn
        }
    }
}
