//! Starts a node: everything is read and checked first, then storage, links, roles and admin come up in the
//! order in which they need each other, and go down in the reverse.

use crate::clock::now_us;
use crate::config::{Config, Role};
use crate::control::Control;
use crate::gateway_loop::{self, GatewayPorts};
use crate::lane_loop::{self, LanePorts};
use crate::scripts;
use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use myriad_directory::{Directory, LocalDirectory};
use myriad_edge::tls::ServerTls;
use myriad_edge::{Edge, EdgeConfig};
use myriad_fabric::ca::{IdentityPaths, NodeIdentity};
use myriad_fabric::quic::{LinksConfig, NodeLinks, Registrar};
use myriad_fabric::{Fabric, FabricMessage, RoleId};
use myriad_gateway::{Gateway, GatewayConfig, LoginPolicy};
use myriad_lane::Lane;
use myriad_script::{ScriptHost, ScriptLimits, ScriptSources};
use myriad_storage::{RedbStorage, StorageThread};
use myriad_telemetry::Metrics;
use myriad_telemetry::admin::{AdminParts, AdminServer, Readiness, TruthFeed};
use myriad_telemetry::metrics::{GatewayMetrics, LaneMetrics};
use myriad_wire::{CloseReason, GatewayId, Incarnation, LaneEpoch, LaneId, SpaceClock, SpaceId};
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The one space, and its one lane, of this version.
const SPACE: SpaceId = SpaceId(1);
/// See [`SPACE`].
const LANE: LaneId = LaneId(1);
/// Most messages that wait for a role. A frame a tick and a report a tick are usual.
const FABRIC_INBOX_MAX: usize = 4096;
/// Most requests that wait for storage.
const STORAGE_REQUESTS_MAX: usize = 16_384;
/// How long a start waits for the lane's scripts.
const LANE_START_TIMEOUT: Duration = Duration::from_secs(60);

/// The directory, as the roles of this process share it.
pub(crate) type SharedDirectory = Arc<Mutex<LocalDirectory<RedbStorage>>>;

/// A running node.
pub(crate) struct Running {
    config: Config,
    /// Dropped to stop the gateway's thread, which tells its clients.
    stop_gateway: Option<Sender<()>>,
    /// Dropped to stop the lane's thread, which saves everything.
    stop_lane: Option<Sender<()>>,
    gateway: Option<JoinHandle<()>>,
    lane: Option<JoinHandle<()>>,
    edge: Option<Edge>,
    links: Option<NodeLinks>,
    admin: AdminServer,
    control: Control,
    fingerprint: Option<String>,
}

/// What the roles share.
struct Parts<'a> {
    config: &'a Config,
    runtime: &'a Runtime,
    metrics: Metrics,
    readiness: Readiness,
    fabric: Fabric,
    truth: Option<TruthFeed>,
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
    let mut lane = None;
    let mut stop_lane = None;
    if let (Some(sources), Some(store), Some(directory)) = (sources, store, &directory) {
        let (stop, stopped) = bounded(0);
        lane = Some(start_lane(
            &parts,
            sources,
            store,
            directory,
            incarnation,
            stopped,
            &mut control,
        )?);
        stop_lane = Some(stop);
    }
    let mut edge = None;
    let mut gateway = None;
    let mut stop_gateway = None;
    if has(Role::Gateway) {
        let (stop, stopped) = bounded(0);
        let (started, thread) = start_gateway(&parts, incarnation, stopped)?;
        control.watch_edge(started.clone(), LANE);
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
        stop_lane,
        gateway,
        lane,
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

fn start_lane(
    parts: &Parts<'_>,
    sources: ScriptSources,
    store: RedbStorage,
    directory: &SharedDirectory,
    incarnation: Incarnation,
    stop: Receiver<()>,
    control: &mut Control,
) -> Result<JoinHandle<()>> {
    let (clock, epoch) = {
        let mut directory = lock(directory);
        let clock = directory.space_clock(SPACE, parts.config.space.hz, now_us())?;
        (clock, directory.claim_lane(LANE, incarnation)?)
    };
    let (reply_sender, replies) = unbounded();
    let storage = StorageThread::start(
        Box::new(store),
        reply_sender,
        STORAGE_REQUESTS_MAX,
        control.storage_observer(),
    )?;
    let (inbox, messages) = bounded::<FabricMessage>(FABRIC_INBOX_MAX);
    parts.fabric.register(RoleId::Lane(LANE), inbox);
    let reached = Arc::new(AtomicU64::new(0));
    let ports = LanePorts {
        fabric: parts.fabric.clone(),
        messages,
        storage,
        replies,
        truth: parts.truth.clone(),
        metrics: LaneMetrics::new(&parts.metrics),
        reached: reached.clone(),
        stop,
    };
    let config = lane_config(parts, clock, epoch, incarnation);
    let limits = ScriptLimits {
        steps_per_call: parts.config.scripts.steps_per_call,
        steps_at_start: parts.config.scripts.steps_at_start,
        memory_bytes: parts.config.scripts.memory_mib as usize * 1024 * 1024,
    };
    let (seed, game) = (parts.config.space.seed, parts.config.game.clone());
    let make = move |now| {
        let (script, kinds) = ScriptHost::load(&sources, limits, seed, &game)?;
        let space = myriad_world::SpaceConfig {
            bounds_min: config.bounds_min,
            bounds_max: config.bounds_max,
            rate_mhz: clock.rate_mhz,
            entities_max: ENTITIES_MAX,
        };
        let space = myriad_world::Space::new(space, kinds, incarnation);
        Ok::<_, myriad_script::ScriptError>(Lane::new(config, space, script, now))
    };
    let (started, wait) = bounded(1);
    let thread = lane_loop::start(make, clock, ports, started)?;
    wait.recv_timeout(LANE_START_TIMEOUT)
        .context("the lane did not start")?
        .context("the scripts")?;
    control.watch_lane(directory.clone(), SPACE, reached);
    tracing::info!(lane = LANE.0, epoch = epoch.0, hz = clock.hz(), "lane started");
    Ok(thread)
}

/// Most entities of a lane.
const ENTITIES_MAX: u32 = 1 << 17;

fn lane_config(
    parts: &Parts<'_>,
    clock: SpaceClock,
    epoch: LaneEpoch,
    incarnation: Incarnation,
) -> myriad_lane::Config {
    let space = &parts.config.space;
    myriad_lane::Config {
        lane: LANE,
        epoch,
        incarnation,
        space: SPACE,
        clock,
        bounds_min: space.bounds_min,
        bounds_max: space.bounds_max,
        spawn_side: space.spawn_side,
        seed: space.seed,
        burst_ms: space.burst_ms,
        grace_s: space.grace_s,
        gateway_silence_s: space.gateway_silence_s,
        save_interval_s: parts.config.storage.save_interval_s,
        crowd_period_s: space.crowd_period_s,
        sessions_max: space.sessions_max,
        inbox_max: FABRIC_INBOX_MAX,
        truth: parts.config.admin.truth,
    }
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
    let gateway = Gateway::new(GatewayConfig {
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
        ..GatewayConfig::new(id, incarnation, SPACE, LANE)
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

    /// Waits until a role ends by itself, which none should.
    pub(crate) async fn failed(&self) {
        let mut check = tokio::time::interval(Duration::from_millis(200));
        loop {
            check.tick().await;
            if [&self.lane, &self.gateway]
                .into_iter()
                .flatten()
                .any(JoinHandle::is_finished)
                || self.edge.as_ref().is_some_and(Edge::has_failed)
            {
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
        drop(self.stop_lane.take());
        clean &= join(self.lane.take(), "lane").await;
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
