//! What a node has to do with its cluster: it tells the directory that it is there, watches who else is and whose is
//! which lane, and keeps links to the others. The node that serves the directory also gives lanes their places.
//!
//! All of that goes on on a thread of its own, which asks the directory several times a second: what has changed is one
//! small answer, and after a restart of the directory everything is told again by itself.

use crate::config::Cluster;
use crate::layout::LayoutWatch;
use crate::start::SPACE;
use anyhow::{Context as _, Result, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use myriad_cluster::Partition;
use myriad_directory::remote::RemoteDirectory;
use myriad_directory::{ClusterView, Directory as _, DirectoryError, LayoutChange, NodeRecord};
use myriad_fabric::call::Caller;
use myriad_fabric::quic::NodeLinks;
use myriad_fabric::{Fabric, RoleId};
use myriad_wire::{Incarnation, SpaceClock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How often the directory is asked what has changed.
const PERIOD: Duration = Duration::from_millis(200);
/// How long an answer of the directory is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a start asks again while the directory says "not yet".
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A node's way to the directory, wherever that is.
pub(crate) fn directory(fabric: &Fabric, incarnation: Incarnation) -> RemoteDirectory {
    let mut caller = Caller::new(fabric, incarnation, RoleId::Directory, PATIENCE);
    RemoteDirectory::new(Box::new(move |request| {
        let reply = caller.call(request).map_err(|error| error.to_string())?;
        Ok(reply.to_vec())
    }))
}

/// The clock of the space, once the directory can tell it.
pub(crate) fn space_clock(
    directory: &mut RemoteDirectory,
    hz: f64,
    now_us: impl Fn() -> u64,
    incarnation: Incarnation,
) -> Result<SpaceClock, DirectoryError> {
    let started = Instant::now();
    loop {
        match directory.space_clock(SPACE, hz, now_us(), incarnation) {
            Err(error) if error.is_passing() && started.elapsed() < START_PATIENCE => {
                tracing::info!("{error}");
                std::thread::sleep(PERIOD);
            }
            answer => return answer,
        }
    }
}

/// What gives the space its first lanes, at the node with the directory.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) cells: u32,
    pub(crate) lanes_per_cell: u32,
    /// With so many nodes that take lanes the cluster begins.
    pub(crate) lane_nodes: usize,
}

/// A node's membership of its cluster. It ends, in good order, with [`Self::leave`].
#[derive(Debug)]
pub(crate) struct Membership {
    fabric: Fabric,
    view: watch::Receiver<Arc<ClusterView>>,
    /// Why this node may not go on, once that is so.
    ended: watch::Receiver<Option<String>>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Membership {
    /// Announces the node as `own`, and starts watching.
    ///
    /// # Errors
    /// If the directory refuses it.
    pub(crate) fn start(
        fabric: &Fabric,
        own: NodeRecord,
        links: Option<Arc<NodeLinks>>,
        coordinator: Option<Coordinator>,
    ) -> Result<Self> {
        let mut directory = directory(fabric, own.incarnation);
        directory.announce(&own)?;
        let (told, view) = watch::channel(Arc::default());
        let (end, ended) = watch::channel(None);
        let (stop, stopped) = bounded(0);
        let mut watching = Watching {
            fabric: fabric.clone(),
            own,
            directory,
            links,
            coordinator,
            kept: BTreeMap::new(),
            view: told,
            last_problem: None,
        };
        // What can be known at once is: of a node by itself that all lanes have their place here.
        for _ in 0..2 {
            watching.round()?;
        }
        let thread = std::thread::Builder::new()
            .name("membership".to_owned())
            .spawn(move || watching.run(&stopped, &end))?;
        Ok(Self {
            fabric: fabric.clone(),
            view,
            ended,
            stop,
            thread,
        })
    }

    /// The view, as it changes.
    pub(crate) fn view(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.clone()
    }

    /// Waits until the space has lanes, and answers these.
    ///
    /// # Errors
    /// If this node may not go on.
    pub(crate) async fn lanes(&self, layout: &mut LayoutWatch) -> Result<Partition> {
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            why = ended.wait_for(Option::is_some) => match why.ok().and_then(|why| why.clone()) {
                Some(why) => bail!(why),
                None => bail!("the node left its cluster"),
            },
            lanes = layout.first() => lanes.context("the node left its cluster"),
        }
    }

    /// Waits until no other linked node runs lanes, or for `patience`: whoever is stopped together with this node, which has
    /// the store, saves there last.
    pub(crate) async fn lanes_gone(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let linked = self.fabric.linked_nodes();
            let runs_lanes = |node: &NodeRecord| node.takes_lanes && linked.contains(&node.name);
            if !self.view.borrow().nodes.iter().any(runs_lanes) {
                return;
            }
            if Instant::now() >= deadline {
                tracing::info!(
                    "other nodes with lanes go on; what they save waits until the store is there again"
                );
                return;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Why this node may not go on, if that is so.
    pub(crate) fn ended(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Tells the directory that the node goes. Blocks.
    pub(crate) fn leave(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the membership's thread panicked");
        }
    }
}

/// What the thread works with.
struct Watching {
    fabric: Fabric,
    own: NodeRecord,
    directory: RemoteDirectory,
    links: Option<Arc<NodeLinks>>,
    coordinator: Option<Coordinator>,
    /// The links that this node keeps, by the name of the other: where to, and how to give it up.
    kept: BTreeMap<String, (String, AbortHandle)>,
    view: watch::Sender<Arc<ClusterView>>,
    last_problem: Option<String>,
}

impl Watching {
    fn run(mut self, stop: &Receiver<()>, end: &watch::Sender<Option<String>>) {
        loop {
            match self.round() {
                Ok(()) => {
                    if self.last_problem.take().is_some() {
                        tracing::info!("the directory answers again");
                    }
                }
                Err(error) if error.is_passing() => self.say_once(error.to_string()),
                Err(error) => {
                    tracing::error!("this node may not go on: {error}");
                    end.send_replace(Some(error.to_string()));
                    return;
                }
            }
            if stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        // Whose directory has gone before it has nobody to tell.
        if self.fabric.is_reachable(RoleId::Directory)
            && let Err(error) = self.directory.withdraw(self.own.incarnation)
        {
            tracing::warn!("the directory was not told that this node goes: {error}");
        }
    }

    fn say_once(&mut self, problem: String) {
        if self.last_problem.as_ref() != Some(&problem) {
            tracing::warn!("{problem}; asking again");
            self.last_problem = Some(problem);
        }
    }

    fn round(&mut self) -> Result<(), DirectoryError> {
        let known = self.view.borrow().revision;
        if let Some(view) = self.directory.view(known)? {
            if !view.nodes.contains(&self.own) {
                // The directory has restarted, or this node has been replaced, which this tells.
                self.directory.announce(&self.own)?;
            }
            self.coordinate(&view)?;
            self.view.send_replace(Arc::new(view));
        }
        // Also if nothing has changed: a link that somebody else had opened may be gone.
        let view = Arc::clone(&self.view.borrow());
        self.keep_links(&view);
        Ok(())
    }

    /// Links to who is there. Of two nodes that both listen, the one of the lesser name connects.
    fn keep_links(&mut self, view: &ClusterView) {
        let Some(links) = &self.links else { return };
        let own = &self.own;
        let is_mine = |node: &&NodeRecord| {
            node.name != own.name && (own.link.is_none() || own.name < node.name) && node.link.is_some()
        };
        let mut wanted: BTreeMap<String, String> = view
            .nodes
            .iter()
            .filter(is_mine)
            .map(|node| (node.name.clone(), node.link.clone().expect("filtered")))
            .collect();
        let linked = self.fabric.linked_nodes();
        self.kept.retain(|name, (address, task)| {
            let stays = match wanted.get(name) {
                Some(wanted) => wanted == address,
                // A directory that has restarted does not know of everybody yet: what works is left alone.
                None => linked.contains(name),
            };
            if stays {
                wanted.remove(name);
            } else {
                task.abort();
            }
            stays
        });
        for (name, address) in wanted {
            // The link to the directory's node, made at the start, or one that the other opened.
            if !linked.contains(&name) {
                let task = links.connect(address.clone());
                self.kept.insert(name, (address, task));
            }
        }
    }

    /// Founds the space, if it has no lanes.
    fn coordinate(&mut self, view: &ClusterView) -> Result<(), DirectoryError> {
        let Some(coordinator) = &self.coordinator else {
            return Ok(());
        };
        let takers = view.nodes.iter().filter(|node| node.takes_lanes);
        let takers: Vec<String> = takers.map(|node| node.name.clone()).collect();
        if !view.lanes.is_empty() || takers.len() < coordinator.lane_nodes {
            return Ok(());
        }
        tracing::info!(nodes = takers.len(), "the space gets its lanes");
        self.directory.change(&LayoutChange::Found {
            cells: coordinator.cells,
            lanes_per_cell: coordinator.lanes_per_cell,
            nodes: takers,
        })
    }
}

/// Where other nodes connect to this one, if they may.
pub(crate) fn link_address(cluster: &Cluster, links: &NodeLinks) -> Option<String> {
    cluster.listen?;
    let bound = || links.local_addr().ok().map(|bound| bound.to_string());
    cluster.address.clone().or_else(bound)
}
