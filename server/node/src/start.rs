//! Starts a node: everything is read and checked first, then storage, links, roles and admin come up in the
//! order in which they need each other, and go down in the reverse.

use crate::changes;
use crate::config::{Config, Role};
use crate::control::Control;
use crate::gateway_loop::{self, GatewayPorts};
use crate::lanes::{Basis, Lanes};
use crate::layout::LayoutWatch;
use crate::membership::{self, Coordinator, Membership};
use crate::node::Told;
use crate::scripts;
use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::{Receiver, Sender, bounded};
use myriad_directory::{LocalDirectory, NodeRecord};
use myriad_edge::tls::ServerTls;
use myriad_edge::{Edge, EdgeConfig};
use myriad_fabric::ca::{IdentityPaths, NodeIdentity};
use myriad_fabric::call::{Caller, Service};
use myriad_fabric::quic::{LinksConfig, NodeLinks, Registrar};
use myriad_fabric::{Fabric, FabricMessage, RoleId};
use myriad_gateway::{Gateway, GatewayConfig, LoginPolicy};
use myriad_script::ScriptSources;
use myriad_storage::remote::RemoteStorage;
use myriad_storage::{RedbStorage, Storage};
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
/// How long a lane's storage thread waits for a store at another node before the request counts as failed; the lane asks
/// again with newer state.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a node that stops and has the store waits for other nodes with lanes, which may be stopping too.
const LAST_SAVES_PATIENCE: Duration = Duration::from_secs(10);

/// A running node.
pub(crate) struct Running {
    config: Arc<Config>,
    /// Dropped to stop the gateway's thread, which tells its clients.
    stop_gateway: Option<Sender<()>>,
    gateway: Option<JoinHandle<()>>,
    lanes: Option<Lanes>,
    edge: Option<Edge>,
    membership: Membership,
    links: Option<Arc<NodeLinks>>,
    /// The directory and the store, where this node serves them.
    services: Vec<Service>,
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

/// Starts the node that `config` describes. `told` interrupts it while it waits for others.
pub(crate) fn start(config: Config, runtime: &Runtime, told: &Told) -> Result<Running> {
    let config = Arc::new(config);
    let sources = config
        .has(Role::Lane)
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
    let store = config
        .has(Role::Directory)
        .then(|| RedbStorage::open(&config.storage.data))
        .transpose()?;
    let local = store
        .as_ref()
        .map(|store| open_directory(store, &config))
        .transpose()?;
    let services = match (&store, &local) {
        (Some(store), Some(local)) => serve(&parts.fabric, store, local)?,
        _ => Vec::new(),
    };
    let (links, incarnation) = join_cluster(&parts, local.as_ref(), told)?;
    tracing::info!(
        node = config.node.name,
        incarnation = incarnation.0,
        "node registered"
    );

    let mut control = Control::new(&parts.metrics, parts.readiness.clone(), parts.fabric.clone());
    let edge = config
        .has(Role::Gateway)
        .then(|| start_edge(&parts))
        .transpose()?;
    let admin_parts = AdminParts {
        metrics: parts.metrics.clone(),
        readiness: parts.readiness.clone(),
        status: control.status_source(&config, incarnation),
        changes: Some(changes::sink(&parts.fabric, incarnation)),
        truth: parts.truth.clone(),
    };
    let admin = runtime
        .block_on(AdminServer::start(&config.admin.server(), admin_parts))
        .context("admin.listen")?;

    let own = NodeRecord {
        name: config.node.name.clone(),
        incarnation,
        link: links
            .as_ref()
            .and_then(|links| membership::link_address(&config.cluster, links)),
        client: edge.as_ref().map(|edge| edge.local_addr().to_string()),
        admin: admin.local_addr().to_string(),
        takes_lanes: config.has(Role::Lane),
        settings: settings(&config, sources.as_ref()),
    };
    let coordinator = store.is_some().then(|| Coordinator {
        cells: config.space.partition.cells(),
        lanes_per_cell: config.space.lanes_per_cell,
        lane_nodes: config.cluster.lane_nodes as usize,
    });
    let membership = Membership::start(&parts.fabric, own, links.clone(), coordinator)?;
    control.watch_cluster(membership.view());

    let mut layout = LayoutWatch::new(config.space.partition.clone(), membership.view());
    if config.has(Role::Lane) || edge.is_some() {
        runtime.block_on(async {
            tokio::select! {
                // Who need not wait starts, and stops then.
                biased;
                lanes = membership.lanes(&mut layout) => lanes.map(|_| ()),
                why = told.told() => bail!("{why} before the space had lanes"),
            }
        })?;
    }
    let lanes = match sources {
        Some(sources) => {
            let directory = membership::directory(&parts.fabric, incarnation);
            Some(Lanes::start(Basis {
                config: Arc::clone(&config),
                sources,
                open_store: way_to_store(&parts.fabric, store.clone(), incarnation),
                incarnation,
                fabric: parts.fabric.clone(),
                metrics: parts.metrics.clone(),
                truth: parts.truth.clone(),
                layout: layout.clone(),
                watched: control.watch_lanes(directory, incarnation),
            })?)
        }
        None => None,
    };
    let mut gateway = None;
    let mut stop_gateway = None;
    if let Some(edge) = &edge {
        let (stop, stopped) = bounded(0);
        gateway = Some(start_gateway(&parts, edge, incarnation, (layout, stopped))?);
        control.watch_edge(edge.clone());
        stop_gateway = Some(stop);
    }
    control.start(runtime);
    let fingerprint = edge.as_ref().map(|edge| edge.fingerprint().to_owned());
    let running = Running {
        stop_gateway,
        gateway,
        lanes,
        edge,
        membership,
        links,
        services,
        admin,
        control,
        fingerprint,
        config,
    };
    running.say_where();
    Ok(running)
}

/// What this node was told and all of its cluster must be: its configuration, and which scripts it runs.
fn settings(config: &Config, sources: Option<&ScriptSources>) -> Vec<(String, String)> {
    let mut settings = config.settings();
    settings.extend(sources.map(|sources| ("scripts".to_owned(), scripts::fingerprint(sources))));
    settings.sort();
    settings
}

/// The directory at this node.
fn open_directory(store: &RedbStorage, config: &Config) -> Result<SharedDirectory> {
    let mut local = LocalDirectory::new(store.clone(), config.settings());
    let space = &config.space;
    local.set_cut(space.partition.cells(), space.lanes_per_cell)?;
    Ok(Arc::new(Mutex::new(local)))
}

type SharedDirectory = Arc<Mutex<LocalDirectory<RedbStorage>>>;

/// Offers the directory and the store to all nodes, this one included.
fn serve(fabric: &Fabric, store: &RedbStorage, local: &SharedDirectory) -> Result<Vec<Service>> {
    let local = Arc::clone(local);
    let directory = Service::start(fabric, RoleId::Directory, move |request| {
        myriad_directory::remote::answer(&mut *lock(&local), request)
    })?;
    let mut store = store.clone();
    let store = Service::start(fabric, RoleId::Store, move |question| {
        myriad_storage::remote::answer(&mut store, question)
    })?;
    Ok(vec![directory, store])
}

/// Makes a lane's way to the store: its file, or the node that has it.
fn way_to_store(
    fabric: &Fabric,
    store: Option<RedbStorage>,
    incarnation: Incarnation,
) -> Box<dyn Fn() -> Box<dyn Storage> + Send> {
    let fabric = fabric.clone();
    Box::new(move || -> Box<dyn Storage> {
        if let Some(store) = &store {
            return Box::new(store.clone());
        }
        let mut caller = Caller::new(&fabric, incarnation, RoleId::Store, STORE_PATIENCE);
        Box::new(RemoteStorage::new(Box::new(move |question| {
            let answer = caller.call(question).map_err(|error| error.to_string())?;
            Ok(answer.to_vec())
        })))
    })
}

/// Registers the node: at its own directory, or at the node that has it.
fn join_cluster(
    parts: &Parts<'_>,
    local: Option<&SharedDirectory>,
    told: &Told,
) -> Result<(Option<Arc<NodeLinks>>, Incarnation)> {
    let cluster = &parts.config.cluster;
    let name = &parts.config.node.name;
    let own = local.map(|local| lock(local).register_node(name)).transpose()?;
    let (Some(ca), Some(certificate), Some(key)) = (&cluster.ca, &cluster.certificate, &cluster.key) else {
        let own = own.ok_or_else(|| anyhow!("a node without a directory of its own needs a cluster"))?;
        return Ok((None, own));
    };
    let paths = IdentityPaths {
        ca: ca.clone(),
        certificate: certificate.clone(),
        key: key.clone(),
    };
    let identity = NodeIdentity::load(name, &paths)?;
    let registrar = local.cloned().map(|local| -> Registrar {
        Box::new(move |name| {
            lock(&local)
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
    let incarnation = match (own, &cluster.directory) {
        (Some(own), _) => own,
        (None, None) => bail!("a node without a directory of its own needs cluster.directory"),
        (None, Some(directory)) => {
            tracing::info!(directory, "joining the cluster");
            parts.runtime.block_on(async {
                tokio::select! {
                    joined = join_directory(parts, &links, directory) => joined,
                    why = told.told() => bail!("{why} before the node with the directory answered"),
                }
            })?
        }
    };
    Ok((Some(Arc::new(links)), incarnation))
}

/// Links to the node with the directory, which gives this one its incarnation, and waits until it offers the directory.
async fn join_directory(parts: &Parts<'_>, links: &NodeLinks, directory: &str) -> Result<Incarnation> {
    let incarnation = links.join(directory).await?;
    parts.fabric.until_reachable(RoleId::Directory, true).await;
    Ok(incarnation)
}

/// Opens the door for clients.
fn start_edge(parts: &Parts<'_>) -> Result<Edge> {
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
    Edge::start(edge_config, &tls).context("client.listen")
}

fn start_gateway(
    parts: &Parts<'_>,
    edge: &Edge,
    incarnation: Incarnation,
    (mut layout, stop): (LayoutWatch, Receiver<()>),
) -> Result<JoinHandle<()>> {
    let config = parts.config;
    let id = GatewayId(incarnation.0);
    let (inbox, messages) = bounded::<FabricMessage>(FABRIC_INBOX_MAX);
    parts.fabric.register(RoleId::Gateway(id), inbox);
    let view = layout.now();
    let partition = layout
        .partition(&view)
        .context("the space has no lanes any more")?;
    let lanes: Vec<LaneId> = partition.lanes().collect();
    let first = *lanes.first().expect("a space has a lane");
    let mut gateway = Gateway::new(GatewayConfig {
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
    let homes: Vec<LaneId> = partition.homes().collect();
    gateway.adopt(&partition.lanes().collect::<Vec<_>>(), &homes);
    let ports = GatewayPorts {
        fabric: parts.fabric.clone(),
        messages,
        edge: edge.clone(),
        metrics: GatewayMetrics::new(&parts.metrics),
        layout,
        stop,
    };
    Ok(gateway_loop::start(gateway, config.space.hz, ports)?)
}

fn lock(directory: &SharedDirectory) -> std::sync::MutexGuard<'_, LocalDirectory<RedbStorage>> {
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

    /// Waits until a role ends by itself, which none should, or the node may not go on.
    pub(crate) async fn failed(&self) {
        let mut check = tokio::time::interval(Duration::from_millis(200));
        loop {
            check.tick().await;
            let role_ended = self.gateway.as_ref().is_some_and(JoinHandle::is_finished)
                || self.lanes.as_ref().is_some_and(Lanes::has_failed)
                || self.edge.as_ref().is_some_and(Edge::has_failed)
                || self.services.iter().any(Service::has_failed);
            if role_ended || self.membership.ended().is_some() {
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
        if let Some(lanes) = self.lanes.take() {
            clean &= tokio::task::spawn_blocking(move || lanes.stop())
                .await
                .unwrap_or(false);
        }
        self.control.stop().await;
        if !self.services.is_empty() {
            self.membership.lanes_gone(LAST_SAVES_PATIENCE).await;
        }
        let membership = self.membership;
        clean &= membership.ended().is_none();
        clean &= tokio::task::spawn_blocking(move || membership.leave())
            .await
            .is_ok();
        if let Some(links) = &self.links {
            links.close().await;
        }
        let services = self.services;
        clean &= tokio::task::spawn_blocking(move || drop(services)).await.is_ok();
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
