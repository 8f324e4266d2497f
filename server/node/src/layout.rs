//! The layout of the space as a node's roles watch it: which lanes there are, and who reads them.

use myriad_cluster::{Partition, layout};
use myriad_directory::ClusterView;
use myriad_wire::GatewayId;
use std::sync::Arc;
use tokio::sync::watch;

/// A role's way to the layout. Asking costs next to nothing while nothing changes.
#[derive(Clone, Debug)]
pub(crate) struct LayoutWatch {
    grid: Partition,
    view: watch::Receiver<Arc<ClusterView>>,
}

impl LayoutWatch {
    /// For a space on the ground of `grid`.
    pub(crate) fn new(grid: Partition, view: watch::Receiver<Arc<ClusterView>>) -> Self {
        Self { grid, view }
    }

    /// The view, if it has changed since it was asked for last.
    pub(crate) fn changed(&mut self) -> Option<Arc<ClusterView>> {
        // Of a membership that has ended the last view stands.
        let has_changed = self.view.has_changed().unwrap_or(false);
        has_changed.then(|| Arc::clone(&self.view.borrow_and_update()))
    }

    /// The view as it is.
    pub(crate) fn now(&mut self) -> Arc<ClusterView> {
        Arc::clone(&self.view.borrow_and_update())
    }

    /// The lanes of a view; `None` if it has none for this space yet.
    pub(crate) fn partition(&self, view: &ClusterView) -> Option<Partition> {
        if view.lanes.is_empty() {
            return None;
        }
        layout::partition(&self.grid, view.layout, &view.lanes).ok()
    }

    /// Waits until there are lanes. `None` if the membership has ended.
    pub(crate) async fn first(&mut self) -> Option<Partition> {
        let (grid, mut view) = (self.clone(), self.view.clone());
        let is_there = |view: &Arc<ClusterView>| grid.partition(view).is_some();
        if !is_there(&view.borrow_and_update()) {
            tracing::info!("waiting for the space's lanes: more nodes with lanes are to come");
        }
        let view = view.wait_for(is_there).await.ok()?;
        grid.partition(&view)
    }
}

/// The gateways of a view.
pub(crate) fn gateways(view: &ClusterView) -> Vec<GatewayId> {
    let gateways = view.nodes.iter().filter(|node| node.client.is_some());
    gateways.map(|node| GatewayId(node.incarnation.0)).collect()
}
