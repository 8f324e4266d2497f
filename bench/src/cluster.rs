//! A cluster of processes on this machine: a node with the directory, nodes with lanes, gateways.
//!
//! It uses what everybody can use: `myriad ca` and `myriad node` with configuration files. The space is cut into as many
//! rows and columns of cells as there are nodes with lanes, so that each has a strip.

use crate::options::AdminServer;
use crate::server::{Configuration, Node, NodeSaid};
use crate::{BotsOptions, Trust};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How large a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSize {
    /// Nodes with lanes.
    pub cells: u32,
    /// Nodes that hold client connections.
    pub gateways: u32,
}

/// Most nodes with lanes: the space has as many cells per side, and at most 64 lanes.
pub const CELLS_MAX: u32 = 8;

/// The node with the directory and the store.
const DIRECTORY: &str = "directory";

/// A node of the cluster.
#[derive(Debug)]
pub struct ClusterNode {
    /// Its name.
    pub name: String,
    /// What it said when it was ready.
    pub said: NodeSaid,
    node: Node,
    data: PathBuf,
}

/// A running cluster. Its processes are killed if it is dropped before [`Self::stop`].
#[derive(Debug)]
pub struct LocalCluster {
    directory: ClusterNode,
    cells: Vec<ClusterNode>,
    gateways: Vec<ClusterNode>,
}

impl LocalCluster {
    /// Starts a cluster of the executable `program`, whose space and game are as `configuration` says, with all its files in
    /// `folder`, and waits until all nodes are ready. `side_m` is the side of the space, in metres.
    ///
    /// # Errors
    /// If a node can't be started, or ends before it is ready.
    pub fn start(
        program: &dyn Fn() -> Command,
        folder: &Path,
        size: ClusterSize,
        side_m: f64,
        configuration: &Configuration,
    ) -> Result<Self> {
        ensure!(
            (1..=CELLS_MAX).contains(&size.cells) && size.gateways > 0,
            "a cluster has 1 to {CELLS_MAX} nodes with lanes, and a gateway"
        );
        let names = |kind: &'static str, count| (1..=count).map(move |number| format!("{kind}-{number}"));
        let cells: Vec<String> = names("cell", size.cells).collect();
        let gateways: Vec<String> = names("gateway", size.gateways).collect();
        let certificates = folder.join("certificates");
        let all = cells.iter().chain(&gateways).map(String::as_str);
        issue(program(), &certificates, all.chain([DIRECTORY]))?;
        let mut common = configuration.clone();
        if size.cells > 1 && common.get("space.cell_m").is_none() {
            common.set(
                "space.cell_m",
                format_args!("{:?}", side_m / f64::from(size.cells)),
            );
        }
        let plan = Plan {
            folder,
            certificates: &certificates,
            configuration: &common,
        };

        let mut own = plan.of(DIRECTORY, "directory");
        own.set("cluster.listen", "\"127.0.0.1:0\"");
        own.set("cluster.lane_nodes", size.cells);
        let directory = starting(program(), DIRECTORY, &plan, &own)?.ready()?;
        let link = directory.said.cluster.context("the directory does not listen")?;

        // All at once: nodes with lanes wait for each other.
        let mut cell = |name: &String| {
            let mut own = plan.of(name, "lane");
            own.set("cluster.listen", "\"127.0.0.1:0\"");
            own.set("cluster.directory", format_args!("\"{link}\""));
            starting(program(), name, &plan, &own)
        };
        let cells: Vec<Starting> = cells.iter().map(&mut cell).collect::<Result<_>>()?;
        let mut gateway = |name: &String| {
            let mut own = plan.of(name, "gateway");
            own.set("admin.truth", false);
            own.set("cluster.directory", format_args!("\"{link}\""));
            starting(program(), name, &plan, &own)
        };
        let gateways: Vec<Starting> = gateways.iter().map(&mut gateway).collect::<Result<_>>()?;
        let ready = |nodes: Vec<Starting>| nodes.into_iter().map(Starting::ready).collect::<Result<Vec<_>>>();
        Ok(Self {
            directory,
            cells: ready(cells)?,
            gateways: ready(gateways)?,
        })
    }

    /// All nodes: the one with the directory, those with lanes, the gateways.
    pub fn nodes(&self) -> impl Iterator<Item = &ClusterNode> {
        std::iter::once(&self.directory)
            .chain(&self.cells)
            .chain(&self.gateways)
    }

    /// The name of a node that has ended by itself, if one has.
    pub fn ended(&mut self) -> Option<&str> {
        let nodes = std::iter::once(&mut self.directory)
            .chain(&mut self.cells)
            .chain(&mut self.gateways);
        for node in nodes {
            if !node.node.is_running() {
                return Some(&node.name);
            }
        }
        None
    }

    /// Where clients connect, each address a gateway's.
    ///
    /// # Errors
    /// If a gateway takes no clients.
    pub fn doors(&self) -> Result<Vec<SocketAddr>> {
        let door = |node: &ClusterNode| node.said.client.context("a gateway takes no clients");
        self.gateways.iter().map(door).collect()
    }

    /// Bots for this cluster: they connect to its gateways in turn, and know the truth of all its lanes.
    ///
    /// # Errors
    /// If the gateways' certificates can't be read.
    pub fn bots(&self) -> Result<BotsOptions> {
        let mut certificates = Vec::new();
        for gateway in &self.gateways {
            let file = gateway.data.join("tls/cert.pem");
            certificates.extend(std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
        }
        let doors = self.doors()?;
        let mut options = BotsOptions::new(doors[0], Trust::Ca(certificates));
        options.servers = doors;
        options.truth = self.cells.iter().map(ClusterNode::admin).collect();
        options.gateways = self.gateways.iter().map(ClusterNode::admin).collect();
        options.server_pids = self.nodes().map(|node| node.node.pid()).collect();
        Ok(options)
    }

    /// Lets the cluster drain: first the gateways, then those with lanes, which save, last the one with the store.
    ///
    /// # Errors
    /// If a node did not end well.
    pub fn stop(self) -> Result<()> {
        let mut ended = Vec::new();
        for mut group in [self.gateways, self.cells, vec![self.directory]] {
            group.iter_mut().for_each(|node| node.node.drain());
            ended.extend(group.into_iter().map(|node| {
                let stopped = node.node.stopped();
                stopped.with_context(|| node.name)
            }));
        }
        ended.into_iter().collect()
    }
}

impl ClusterNode {
    /// Its admin HTTP.
    #[must_use]
    pub fn admin(&self) -> AdminServer {
        AdminServer {
            url: format!("http://{}", self.said.admin),
            token: None,
        }
    }
}

/// What all configurations are made from.
#[derive(Clone, Copy)]
struct Plan<'a> {
    folder: &'a Path,
    certificates: &'a Path,
    configuration: &'a Configuration,
}

impl Plan<'_> {
    /// The configuration of the node called `name`, with one role.
    fn of(&self, name: &str, role: &str) -> Configuration {
        let mut own = self.configuration.clone();
        let path = |file: String| format!("{:?}", self.certificates.join(file));
        own.set("node.name", format_args!("{name:?}"));
        own.set("node.roles", format_args!("[{role:?}]"));
        own.set("storage.data", format_args!("{:?}", self.data(name)));
        own.set("cluster.ca", path("ca.pem".into()));
        own.set("cluster.certificate", path(format!("{name}.pem")));
        own.set("cluster.key", path(format!("{name}-key.pem")));
        own
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A node that has been started and is not ready yet.
struct Starting {
    name: String,
    node: Node,
    data: PathBuf,
}

fn starting(program: Command, name: &str, plan: &Plan<'_>, own: &Configuration) -> Result<Starting> {
    let file = plan.folder.join(format!("{name}.toml"));
    Ok(Starting {
        name: name.to_owned(),
        node: Node::start(program, "node", &file, own)?,
        data: plan.data(name),
    })
}

impl Starting {
    fn ready(mut self) -> Result<ClusterNode> {
        let said = self.node.ready().with_context(|| self.name.clone())?;
        Ok(ClusterNode {
            name: self.name,
            said,
            node: self.node,
            data: self.data,
        })
    }
}

/// Makes an authority, and a certificate for each node that has none: a folder may be used again.
fn issue<'a>(mut program: Command, certificates: &Path, names: impl Iterator<Item = &'a str>) -> Result<()> {
    program.args(["ca", "--directory"]).arg(certificates);
    let has_none = |name: &&str| !certificates.join(format!("{name}.pem")).exists();
    for name in names.filter(has_none) {
        program.args(["--node", name]);
    }
    let made = program
        .output()
        .context("can't make the cluster's certificates")?;
    ensure!(
        made.status.success(),
        "can't make the cluster's certificates: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(())
}
