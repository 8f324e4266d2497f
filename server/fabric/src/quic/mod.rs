//! Links between nodes over QUIC: who connects to whom, how often it is tried, who is refused.
//!
//! A node listens, connects to others, or both; a link carries messages both ways whoever opened it. A link that
//! breaks is made again, with growing pauses, for as long as the process runs. Everything a link does once it is
//! connected is in `link`.

mod link;
#[cfg(test)]
mod tests;
mod tls;

use crate::Fabric;
use crate::ca::{NODE_SAN, NodeIdentity};
use link::{Fault, Link};
use myriad_wire::Incarnation;
use myriad_wire::node::NodeClose;
use quinn::{ConnectionError, Endpoint, EndpointConfig, Incoming, VarInt};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Most connections from other nodes that may be at their greeting at once; more are refused.
const GREETINGS_MAX: usize = 64;
/// How long [`NodeLinks::close`] waits for the other nodes to have been told.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers a node that has just started with its incarnation, or with a refusal for people. Called with the name
/// from the node's certificate, on a thread that may block.
pub type Registrar = Box<dyn Fn(&str) -> Result<Incarnation, String> + Send + Sync>;

/// How a node's links run.
#[derive(Clone, Debug)]
pub struct LinksConfig {
    /// Where other nodes may connect. `None`: this node only connects to others.
    pub listen: Option<SocketAddr>,
    /// Silence after which a link counts as cut. Keep-alives are sent four times as often.
    pub idle_timeout: Duration,
    /// How long a connection may take to become a link.
    pub greeting_timeout: Duration,
    /// Pause after the first failed attempt to connect; doubles with each further one.
    pub pause_min: Duration,
    /// Longest pause between two attempts to connect.
    pub pause_max: Duration,
    /// Messages waiting for one link; more are dropped and counted. At least 1.
    pub queue_messages_max: usize,
    /// Bytes of messages waiting for one link; more are dropped and counted. One message of any size passes alone.
    pub queue_bytes_max: usize,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            listen: None,
            idle_timeout: Duration::from_secs(5),
            greeting_timeout: Duration::from_secs(5),
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
            queue_messages_max: 4096,
            queue_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Why links could not be set up or made.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The node's socket could not be bound.
    #[error("can't bind {address} for other nodes: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The identity or the settings don't make a working TLS configuration.
    #[error("can't set up TLS for other nodes: {0}")]
    Tls(String),
    /// The other node does not answer.
    #[error("can't reach the node at {address}: {problem}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        problem: String,
    },
    /// One of the two nodes does not accept the other's certificate.
    #[error("no trust between this node and the one at {address}: {problem}")]
    Untrusted {
        /// Where.
        address: String,
        /// What TLS says.
        problem: String,
    },
    /// One of the two nodes refused the other.
    #[error("no link with the node at {address}: {text}")]
    Refused {
        /// Where.
        address: String,
        /// Why.
        close: NodeClose,
        /// Why, for people.
        text: String,
    },
    /// [`NodeLinks::close`] was called.
    #[error("the links are being closed")]
    Closed,
}

impl LinkError {
    /// Trying again is of no use before somebody has changed something.
    fn is_final(&self) -> bool {
        match self {
            Self::Refused { close, .. } => {
                matches!(close, NodeClose::Version | NodeClose::Name | NodeClose::Directory)
            }
            Self::Bind { .. } | Self::Tls(_) | Self::Untrusted { .. } | Self::Closed => true,
            Self::Unreachable { .. } => false,
        }
    }
}

/// A node's links. They end when this is dropped, or in good order with [`Self::close`].
#[derive(Debug)]
pub struct NodeLinks {
    shared: Arc<Shared>,
    runtime: Handle,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    fabric: Fabric,
    config: LinksConfig,
    endpoint: Endpoint,
    client_config: quinn::ClientConfig,
    registrar: Option<Arc<Registrar>>,
    closing: watch::Sender<bool>,
    greetings: Arc<Semaphore>,
}

impl NodeLinks {
    /// Binds the socket and, if the configuration says so, lets other nodes connect. `registrar` is given at the
    /// node that hosts the directory. The work is done on `runtime`, which must have I/O and time enabled.
    ///
    /// # Errors
    /// [`LinkError::Bind`] and [`LinkError::Tls`].
    pub fn start(
        fabric: Fabric,
        identity: &NodeIdentity,
        config: LinksConfig,
        registrar: Option<Registrar>,
        runtime: &Handle,
    ) -> Result<Self, LinkError> {
        let tls_error = |error: tls::TlsError| LinkError::Tls(error.to_string());
        let client_config = tls::client_config(identity, &config).map_err(tls_error)?;
        let server_config = match config.listen {
            Some(_) => Some(tls::server_config(identity, &config).map_err(tls_error)?),
            None => None,
        };
        let endpoint = bind(config.listen, server_config, runtime)?;
        let shared = Arc::new(Shared {
            fabric,
            config,
            endpoint,
            client_config,
            registrar: registrar.map(Arc::new),
            closing: watch::Sender::new(false),
            greetings: Arc::new(Semaphore::new(GREETINGS_MAX)),
        });
        let mut tasks = JoinSet::new();
        if shared.config.listen.is_some() {
            tasks.spawn_on(accept_links(shared.clone()), runtime);
        }
        Ok(Self {
            shared,
            runtime: runtime.clone(),
            tasks: Mutex::new(tasks),
        })
    }

    /// Where the socket is bound.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// Keeps a link to the node at `address` (`host:port`) from now on, in the background, until that is aborted.
    pub fn connect(&self, address: impl Into<String>) -> AbortHandle {
        self.spawn(keep_link(self.shared.clone(), address.into(), None))
    }

    /// Like [`Self::connect`], to the node that hosts the directory: answers, once the link stands, with the
    /// incarnation of this process. Tries until the node is there.
    ///
    /// # Errors
    /// What trying again won't mend: [`LinkError::Untrusted`], [`LinkError::Refused`], [`LinkError::Closed`]. Then
    /// no link is kept.
    pub async fn join(&self, address: impl Into<String>) -> Result<Incarnation, LinkError> {
        let (answer, answered) = oneshot::channel();
        self.spawn(keep_link(self.shared.clone(), address.into(), Some(answer)));
        answered.await.unwrap_or(Err(LinkError::Closed))
    }

    /// Ends all links, tells the other nodes, and waits (two seconds at most) until they know.
    pub async fn close(&self) {
        self.shared.closing.send_replace(true);
        let code = VarInt::from_u32(NodeClose::Shutdown.code());
        self.shared.endpoint.close(code, b"the node is shutting down");
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let told = async {
            while tasks.join_next().await.is_some() {}
            self.shared.endpoint.wait_idle().await;
        };
        if timeout(CLOSE_TIMEOUT, told).await.is_err() {
            tracing::warn!("some nodes could not be told that this one is shutting down");
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime)
    }
}

impl Drop for NodeLinks {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
        let code = VarInt::from_u32(NodeClose::Shutdown.code());
        self.shared.endpoint.close(code, b"the node is shutting down");
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("node", &self.fabric.node())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The incarnation of the node called `name`, from the directory.
    async fn register(&self, name: String) -> Result<Incarnation, Fault> {
        let refuse = |text: String| Fault::Close(NodeClose::Directory, text);
        let Some(registrar) = self.registrar.clone() else {
            return Err(refuse(format!(
                "the node {:?} does not host the directory",
                self.fabric.node()
            )));
        };
        tokio::task::spawn_blocking(move || registrar(&name))
            .await
            .map_err(|error| refuse(error.to_string()))?
            .map_err(refuse)
    }

    /// Counts and logs that a connection did not become a link, or that this node ended one.
    fn note_refusal(&self, from: SocketAddr, fault: &Fault) {
        let counters = self.fabric.counters();
        match fault {
            Fault::Connection(error) if is_tls(error) => {
                counters.strangers_refused.increment();
                tracing::debug!(%from, %error, "refused a node without a certificate of this cluster");
            }
            Fault::Connection(error) => {
                counters.greetings_failed.increment();
                tracing::debug!(%from, %error, "a node's connection failed before it was a link");
            }
            Fault::Close(close, text) => {
                match close {
                    NodeClose::Version => &counters.versions_refused,
                    NodeClose::Name => &counters.names_refused,
                    NodeClose::Duplicate => &counters.duplicates_refused,
                    NodeClose::Shutdown
                    | NodeClose::Replaced
                    | NodeClose::Directory
                    | NodeClose::Malformed
                    | NodeClose::TimedOut => &counters.greetings_failed,
                }
                .increment();
                tracing::warn!(%from, ?close, "refused a node: {text}");
            }
        }
    }
}

fn bind(
    listen: Option<SocketAddr>,
    server_config: Option<quinn::ServerConfig>,
    runtime: &Handle,
) -> Result<Endpoint, LinkError> {
    let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let address = listen.unwrap_or(any_v6);
    let socket = match UdpSocket::bind(address) {
        // A machine without IPv6.
        Err(_) if listen.is_none() => UdpSocket::bind(any_v4),
        bound => bound,
    };
    let _entered = runtime.enter();
    socket
        .and_then(|socket| {
            let tokio = Arc::new(quinn::TokioRuntime);
            Endpoint::new(EndpointConfig::default(), server_config, socket, tokio)
        })
        .map_err(|source| LinkError::Bind { address, source })
}

/// Whether TLS failed: at this end, or at the other one as this one was told.
fn is_tls(error: &ConnectionError) -> bool {
    let code = match error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => return false,
    };
    (0x100..0x200).contains(&code)
}

async fn accept_links(shared: Arc<Shared>) {
    let mut links = JoinSet::new();
    while let Some(incoming) = shared.endpoint.accept().await {
        while links.try_join_next().is_some() {}
        match shared.greetings.clone().try_acquire_owned() {
            Ok(greeting) => {
                links.spawn(accept_link(shared.clone(), incoming, greeting));
            }
            Err(_) => {
                shared.fabric.counters().greetings_failed.increment();
                incoming.refuse();
            }
        }
    }
    while links.join_next().await.is_some() {}
}

async fn accept_link(shared: Arc<Shared>, incoming: Incoming, greeting: OwnedSemaphorePermit) {
    let from = incoming.remote_address();
    let answered = link::answer(&shared, incoming).await;
    drop(greeting);
    match answered {
        Ok(link) => {
            run_link(link, from).await;
        }
        Err(fault) => shared.note_refusal(from, &fault),
    }
}

async fn run_link(link: Link, address: SocketAddr) -> Fault {
    let node = link.node.clone();
    tracing::info!(node, %address, "linked");
    let fault = link.run().await;
    match &fault {
        // Somebody wanted it so: this node, or the other, which is shutting down.
        Fault::Connection(ConnectionError::LocallyClosed) => {
            tracing::info!(node, %address, "link closed");
        }
        Fault::Connection(ConnectionError::ApplicationClosed(closed))
            if closed.error_code == VarInt::from_u32(NodeClose::Shutdown.code()) =>
        {
            tracing::info!(node, %address, "link closed: the other node shuts down");
        }
        Fault::Connection(error) => tracing::warn!(node, %address, %error, "link lost"),
        Fault::Close(close, text) => tracing::warn!(node, %address, ?close, "link closed: {text}"),
    }
    fault
}

/// Keeps a link to `address` until the links are closed. With `join`, asks for an incarnation and answers there.
async fn keep_link(
    shared: Arc<Shared>,
    address: String,
    mut join: Option<oneshot::Sender<Result<Incarnation, LinkError>>>,
) {
    let mut closing = shared.closing.subscribe();
    let mut pause = shared.config.pause_min;
    let mut last_problem = String::new();
    loop {
        let error = match open_link(&shared, &address, join.is_some()).await {
            Ok((link, remote, incarnation)) => {
                if let (Some(join), Some(incarnation)) = (join.take(), incarnation) {
                    // Whoever asked may have given up; the link is of use all the same.
                    let _ = join.send(Ok(incarnation));
                }
                pause = shared.config.pause_min;
                last_problem.clear();
                link_error(&address, run_link(link, remote).await)
            }
            Err(error) => {
                shared.fabric.counters().connects_failed.increment();
                error
            }
        };
        if *closing.borrow() {
            return;
        }
        if error.is_final()
            && let Some(join) = join.take()
        {
            let _ = join.send(Err(error));
            return;
        }
        if matches!(
            error,
            LinkError::Refused {
                close: NodeClose::Replaced | NodeClose::Duplicate,
                ..
            }
        ) {
            // There is another link, or another node of the same name. Don't fight over the place.
            pause = shared.config.pause_max;
        }
        let problem = error.to_string();
        if problem != last_problem {
            match &error {
                LinkError::Refused {
                    close: NodeClose::Shutdown,
                    ..
                } => tracing::info!("{problem}; it may come again"),
                _ => tracing::warn!("{problem}; trying again"),
            }
            last_problem = problem;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        pause = (pause * 2).min(shared.config.pause_max);
    }
}

async fn open_link(
    shared: &Shared,
    address: &str,
    wants_incarnation: bool,
) -> Result<(Link, SocketAddr, Option<Incarnation>), LinkError> {
    let unreachable = |problem: String| LinkError::Unreachable {
        address: address.to_owned(),
        problem,
    };
    let resolved = timeout(shared.config.greeting_timeout, tokio::net::lookup_host(address)).await;
    let remote = match resolved {
        Ok(Ok(mut addresses)) => addresses.next().ok_or("the name has no address".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the name is not resolved in time".to_owned()),
    }
    .map_err(unreachable)?;
    let connecting = shared
        .endpoint
        .connect_with(shared.client_config.clone(), remote, NODE_SAN)
        .map_err(|error| unreachable(error.to_string()))?;
    match link::greet(shared, connecting, wants_incarnation).await {
        Ok((link, incarnation)) => Ok((link, remote, incarnation)),
        Err(fault) => {
            shared.note_refusal(remote, &fault);
            Err(link_error(address, fault))
        }
    }
}

/// What a fault means to the node that connected.
fn link_error(address: &str, fault: Fault) -> LinkError {
    let address = address.to_owned();
    match fault {
        Fault::Close(close, text) => LinkError::Refused { address, close, text },
        Fault::Connection(error) if is_tls(&error) => LinkError::Untrusted {
            address,
            problem: error.to_string(),
        },
        Fault::Connection(ConnectionError::ApplicationClosed(closed)) => {
            match NodeClose::from_code(closed.error_code.into_inner()) {
                Some(close) => LinkError::Refused {
                    address,
                    close,
                    text: String::from_utf8_lossy(&closed.reason).into_owned(),
                },
                None => LinkError::Unreachable {
                    address,
                    problem: closed.to_string(),
                },
            }
        }
        Fault::Connection(ConnectionError::LocallyClosed) => LinkError::Closed,
        Fault::Connection(error) => LinkError::Unreachable {
            address,
            problem: error.to_string(),
        },
    }
}
