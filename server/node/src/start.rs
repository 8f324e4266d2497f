//! Starts a node: everything is read and checked first, then storage, links, roles and admin come up in the
//! order in which they need each other, and go down in the reverse.

use crate::config::{Config, Role};
use crate::control::Control;
use crate::gateway_loop::{self, GatewayPorts};
use crate::lanes;
use crate::scripts;
use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded};
use myriad_directory::{Directory, LocalDirectory};
use myriad_edge::tls::ServerTls;
use myriad_edge::{Edge, EdgeConfig};
use myriad_fabric::ca::{IdentityPaths, NodeIdentity};
use myriad_fabric::quic::{LinksConfig, NodeLinks, Registrar};
use myriad_fabric::{Fabric, FabricMessage, RoleId};
use myriad_gateway::{Gateway, GatewayConfig, LoginPolicy};
use myriad_storage::RedbStorage;
use myriad_telemetry::Metrics;
use myriad_telemetry::admin::{AdminParts, AdminServer, Readiness, TruthFeed};
use myriad_telemetry::metrics::GatewayMetrics;
use myriad_wire::{CloseReason, GatewayId, Incarnation, LaneId, SpaceId};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The one space of this version.
pub(crate) const SPACE: SpaceId = SpaceId(1);
/// Most messages that wait for a role. A frame a tick and a report a tick are usual from each other role.
pub(crate) const FABRIC_INBOX_MAX: usize = 4096;

/// The directory, as the roles of this process share it.
pub(crate) type SharedDirectory = Arc<Mutex<LocalDirectory<RedbStorage>>>;

/// A running node.
pub(crate) struct Running {
    config: Config,
    /// Dropped to stop the gateway's thread, which tells its clients.
    stop_gateway: Option<Sender<()>>,
    /// Dropped to stop the lanes' threads, which save everything.
    stop_lanes: Option<Sender<()>>,
    gateway: Option<JoinHandle<()>>,
    lanes: Vec<JoinHandle<()>>,
    edge: Option<Edge>,
    links: Option<NodeLinks>,
    admin: AdminServer,
    control: Control,
    fingerprint: Option<String>,
}

/// What the roles share.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    runtime: &'a Runtime,
    pub(crate) metrics: Metrics,
    readiness: Readiness,
    pub(crate) fabric: Fabric,
    pub(crate) truth: Option<TruthFeed>,
}

/// Starts the node that `config` describes.
pub(crate) fn start(config: Config, runtime: &Runtime) -> Result<Running> {
    let has = |role| config.node.roles.contains(&role);
    let sources = has(Role::Lane)
        .then(|| scripts::load(config.scripts.directory.as_deref()))
        .transpose()?;
    let parts = Parts {
        config: &config,
        runtime,
        metrics: Metrics::new(),
        readiness: Readiness::new(),
        fabric: Fabric::new(config.node.name.clone()),
        truth: config.admin.truth.then(TruthFeed::new),
    };
    let store = has(Role::Lane)
        .then(|| RedbStorage::open(&config.storage.data))
        .transpose()?;
    let directory = store
        .as_ref()
        .map(|store| Arc::new(Mutex::new(LocalDirectory::new(store.clone()))));
    let (links, incarnation) = join_cluster(&parts, directory.as_ref())?;
    tracing::info!(
        node = config.node.name,
        incarnation = incarnation.0,
        "node registered"
    );

    let mut control = Control::new(&parts.metrics, parts.readiness.clone(), parts.fabric.clone());
    let mut lanes = Vec::new();
    let mut stop_lanes = None;
    if let (Some(sources), Some(store), Some(directory)) = (sources, store, &directory) {
        let (stop, stopped) = bounded(0);
        let basis = lanes::Basis {
            sources,
            store,
            directory,
            incarnation,
            stop: stopped,
        };
        lanes = lanes::start(&parts, &basis, &mut control)?;
        stop_lanes = Some(stop);
    }
    let mut edge = None;
    let mut gateway = None;
    let mut stop_gateway = None;
    if has(Role::Gateway) {
        let (stop, stopped) = bounded(0);
        let (started, thread) = start_gateway(&parts, incarnation, stopped)?;
        let lanes = config.space.partition.lanes();
        control.watch_edge(started.clone(), lanes.collect());
        (edge, gateway, stop_gateway) = (Some(started), Some(thread), Some(stop));
    }
    let admin_parts = AdminParts {
        metrics: parts.metrics.clone(),
        readiness: parts.readiness.clone(),
        status: control.status_source(&config, incarnation),
        truth: parts.truth.clone(),
    };
    let admin = runtime
        .block_on(AdminServer::start(&config.admin.server(), admin_parts))
        .context("admin.listen")?;
    control.start(runtime);
    let fingerprint = edge.as_ref().map(|edge| edge.fingerprint().to_owned());
    let running = Running {
        stop_gateway,
        stop_lanes,
        gateway,
        lanes,
        edge,
        links,
        admin,
        control,
        fingerprint,
        config,
    };
    running.say_where();
    Ok(running)
}

/// Registers the node: at its own directory, or at that of the first peer.
fn join_cluster(
    parts: &Parts<'_>,
    directory: Option<&SharedDirectory>,
) -> Result<(Option<NodeLinks>, Incarnation)> {
    let cluster = &parts.config.cluster;
    let name = &parts.config.node.name;
    let own = match directory {
        Some(directory) => Some(lock(directory).register_node(name)?),
        None => None,
    };
    let (Some(ca), Some(certificate), Some(key)) = (&cluster.ca, &cluster.certificate, &cluster.key) else {
        return Ok((
            None,
            own.ok_or_else(|| anyhow!("a node without a lane needs a cluster"))?,
        ));
    };
    let paths = IdentityPaths {
        ca: ca.clone(),
        certificate: certificate.clone(),
        key: key.clone(),
    };
    let identity = NodeIdentity::load(name, &paths)?;
    let registrar = directory.cloned().map(|directory| -> Registrar {
        Box::new(move |name| {
            lock(&directory)
                .register_node(name)
                .map_err(|error| error.to_string())
        })
    });
    let config = LinksConfig {
        listen: cluster.listen,
        ..LinksConfig::default()
    };
    let links = NodeLinks::start(
        parts.fabric.clone(),
        &identity,
        config,
        registrar,
        parts.runtime.handle(),
    )?;
    let mut peers = cluster.peers.iter();
    let incarnation = match own {
        Some(own) => own,
        None => {
            let first = peers
                .next()
                .ok_or_else(|| anyhow!("a node without a lane needs a peer"))?;
            tracing::info!(peer = %first, "joining the cluster");
            parts.runtime.block_on(links.join(first.to_string()))?
        }
    };
    for peer in peers {
        links.connect(peer.to_string());
    }
    Ok((Some(links), incarnation))
}

fn start_gateway(
    parts: &Parts<'_>,
    incarnation: Incarnation,
    stop: Receiver<()>,
) -> Result<(Edge, JoinHandle<()>)> {
    let config = parts.config;
    let tls = match (&config.client.certificate, &config.client.key) {
        (Some(certificate), Some(key)) => ServerTls::load(certificate, key)?,
        _ => ServerTls::load_or_create(&config.storage.data.join("tls"), &config.client.names)?,
    };
    let edge_config = EdgeConfig {
        idle_timeout: Duration::from_secs_f64(config.client.idle_timeout_s),
        connections_max: config.client.connections_max,
        shards: config.client.shards,
        // Above the gateway's own limit, at which it stops sending, there must be room for its largest messages.
        backlog_bytes_max: (config.gateway.backlog_kib + 4096) * 1024,
        ..EdgeConfig::new(config.client.listen)
    };
    let edge = Edge::start(edge_config, &tls).context("client.listen")?;
    let id = GatewayId(incarnation.0);
    let (inbox, messages) = bounded::<FabricMessage>(FABRIC_INBOX_MAX);
    parts.fabric.register(RoleId::Gateway(id), inbox);
    let lanes: Vec<LaneId> = config.space.partition.lanes().collect();
    let first = *lanes.first().expect("a space has a lane");
    let gateway = Gateway::new(GatewayConfig {
        lanes,
        login: LoginPolicy {
            key: config.client.login_key.clone(),
        },
        hz: config.space.hz,
        sessions_max: config.client.connections_max,
        login_timeout_s: config.gateway.login_timeout_s,
        near_target: config.gateway.near_target,
        budget_bytes_per_s: config.gateway.budget_kib_s * 1024,
        crowd_from: config.gateway.crowd_from,
        keyframe_bytes_max: config.gateway.keyframe_kib as usize * 1024,
        event_bytes_per_tick: config.gateway.event_bytes_per_tick as usize,
        identity_bytes_per_tick: config.gateway.identity_bytes_per_tick as usize,
        backlog_bytes_max: config.gateway.backlog_kib as usize * 1024,
        ..GatewayConfig::new(id, incarnation, SPACE, first)
    });
    let ports = GatewayPorts {
        fabric: parts.fabric.clone(),
        messages,
        edge: edge.clone(),
        metrics: GatewayMetrics::new(&parts.metrics),
        stop,
    };
    let thread = gateway_loop::start(gateway, config.space.hz, ports)?;
    Ok((edge, thread))
}

pub(crate) fn lock(directory: &SharedDirectory) -> std::sync::MutexGuard<'_, LocalDirectory<RedbStorage>> {
    directory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// One line of JSON for whoever started the node: where it listens, and how to know it.
    pub(crate) fn announcement(&self) -> String {
        let link = self.links.as_ref().and_then(|links| links.local_addr().ok());
        serde_json::json!({
            "client": self.client_address().map(|address| address.to_string()),
            "admin": self.admin.local_addr().to_string(),
            "cluster": link.map(|address| address.to_string()),
            "fingerprint": self.fingerprint,
        })
        .to_string()
    }

    fn client_address(&self) -> Option<SocketAddr> {
        self.edge.as_ref().map(Edge::local_addr)
    }

    fn say_where(&self) {
        if self.edge.is_some() {
            let certificate = self.config.client.certificate.clone();
            let certificate = certificate.unwrap_or_else(|| self.config.storage.data.join("tls/cert.pem"));
            tracing::info!(
                address = self.client_address().map(|address| address.to_string()).unwrap_or_default(),
                certificate = %certificate.display(),
                fingerprint = self.fingerprint.as_deref().unwrap_or_default(),
                "clients may connect"
            );
        }
        tracing::info!("admin HTTP on http://{}", self.admin.local_addr());
    }

    /// Waits until a role ends by itself, which none should.
    pub(crate) async fn failed(&self) {
        let mut check = tokio::time::interval(Duration::from_millis(200));
        loop {
            check.tick().await;
            let mut threads = self.lanes.iter().chain(&self.gateway);
            if threads.any(JoinHandle::is_finished) || self.edge.as_ref().is_some_and(Edge::has_failed) {
                return;
            }
        }
    }

    /// Stops in good order: clients are told, everything is saved. Answers whether all went well.
    pub(crate) async fn drain(mut self) -> bool {
        let mut clean = true;
        drop(self.stop_gateway.take());
        clean &= join(self.gateway.take(), "gateway").await;
        if let Some(edge) = self.edge.take() {
            let closed = tokio::task::spawn_blocking(move || edge.close_all(CloseReason::Shutdown));
            clean &= closed.await.is_ok();
        }
        drop(self.stop_lanes.take());
        for lane in self.lanes {
            clean &= join(Some(lane), "lane").await;
        }
        self.control.stop().await;
        if let Some(links) = &self.links {
            links.close().await;
        }
        self.admin.shutdown().await;
        clean
    }
}

async fn join(thread: Option<JoinHandle<()>>, role: &'static str) -> bool {
    let Some(thread) = thread else { return true };
    let ended = tokio::task::spawn_blocking(|| thread.join()).await;
    let clean = matches!(ended, Ok(Ok(())));
    if !clean {
        tracing::error!(role, "the role's thread panicked");
    }
    clean
}
