//! The routing table: which role is where, and the bounded queue of each link.

use crate::FabricCounters;
use bytes::Bytes;
use crossbeam_channel::{Sender, TrySendError};
use myriad_wire::fabric::{Envelope, RoleId};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::node::NODE_ROLES_MAX;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{mpsc, oneshot, watch};

/// A message as a role finds it in its inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricMessage {
    /// From whom, to whom, and the link's header.
    pub envelope: Envelope,
    /// The encoded message. Shared with other readers in this process.
    pub body: Bytes,
}

/// One node's end of the fabric. Clones are the same fabric.
#[derive(Clone, Debug)]
pub struct Fabric {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: String,
    counters: FabricCounters,
    routes: RwLock<Routes>,
    next_link: AtomicU64,
    next_caller: AtomicU64,
    /// The roles of this process, ascending: what links announce.
    hosted: watch::Sender<Arc<[RoleId]>>,
    /// Signals that a role or a link came or went.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Routes {
    local: BTreeMap<RoleId, Sender<FabricMessage>>,
    /// Roles that other nodes announced. Each link here also stands in `links`.
    remote: HashMap<RoleId, Arc<RemoteLink>>,
    /// Links by the name of the node at the other end.
    links: BTreeMap<String, Arc<RemoteLink>>,
}

#[derive(Debug)]
struct RemoteLink {
    id: LinkId,
    opener: Opener,
    queue: mpsc::Sender<FabricMessage>,
    queued_bytes: Arc<AtomicUsize>,
    queue_bytes_max: usize,
    /// Dropped with the link's last route, which tells its task that another took its place.
    _standing: oneshot::Sender<()>,
}

/// Tells links apart; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkId(u64);

/// Which end of a link connected to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opener {
    ThisNode,
    OtherNode,
}

/// How much a link's queue holds; beyond it messages are dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// These two nodes are linked already, and that link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate;

impl Fabric {
    /// The fabric of the node called `node`, with no roles and no links yet.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                node: node.into(),
                counters: FabricCounters::default(),
                routes: RwLock::default(),
                next_link: AtomicU64::new(0),
                next_caller: AtomicU64::new(0),
                hosted: watch::Sender::new(Arc::default()),
                changes: watch::Sender::new(()),
            }),
        }
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// A number that no caller of this node had.
    pub(crate) fn next_caller(&self) -> u64 {
        self.inner.next_caller.fetch_add(1, Ordering::Relaxed)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &FabricCounters {
        &self.inner.counters
    }

    /// This process hosts `role` from now on: its messages go into `inbox`, and every link announces it. Replaces
    /// the inbox if the role is registered already.
    ///
    /// # Panics
    /// If this process hosts more than [`NODE_ROLES_MAX`] roles.
    pub fn register(&self, role: RoleId, inbox: Sender<FabricMessage>) {
        let mut routes = self.write();
        routes.local.insert(role, inbox);
        assert!(
            routes.local.len() <= NODE_ROLES_MAX,
            "a node hosts at most {NODE_ROLES_MAX} roles"
        );
        self.announce_hosted(&routes);
    }

    /// This process hosts `role` no more.
    pub fn unregister(&self, role: RoleId) {
        let mut routes = self.write();
        if routes.local.remove(&role).is_some() {
            self.announce_hosted(&routes);
        }
    }

    /// Sends `body` to the role that the envelope names. Never waits; what can't be passed on is dropped and
    /// counted, and the receiving role's link notices the gap.
    pub fn send(&self, envelope: Envelope, body: Bytes) {
        let counters = self.counters();
        if body.len() > NODE_MESSAGE_BYTES_MAX {
            counters.dropped_oversized.increment();
            return;
        }
        let message = FabricMessage { envelope, body };
        let routes = self.read();
        if let Some(inbox) = routes.local.get(&envelope.to) {
            self.put(inbox, message);
        } else if let Some(link) = routes.remote.get(&envelope.to) {
            if link.push(message) {
                counters.forwarded.increment();
            } else {
                counters.dropped_queue_full.increment();
            }
        } else {
            counters.dropped_no_route.increment();
        }
    }

    /// Whether `role` is hosted here or announced by a linked node.
    #[must_use]
    pub fn is_reachable(&self, role: RoleId) -> bool {
        let routes = self.read();
        routes.local.contains_key(&role) || routes.remote.contains_key(&role)
    }

    /// Waits until [`Self::is_reachable`] answers `reachable`.
    pub async fn until_reachable(&self, role: RoleId, reachable: bool) {
        let mut changes = self.inner.changes.subscribe();
        while self.is_reachable(role) != reachable {
            changes.changed().await.expect("the fabric holds the sender");
        }
    }

    /// The names of the nodes that are linked to this one, ascending.
    #[must_use]
    pub fn linked_nodes(&self) -> Vec<String> {
        self.read().links.keys().cloned().collect()
    }

    /// A message came from another node. It is for a role of this process: nodes pass nothing on.
    pub(crate) fn receive(&self, envelope: Envelope, body: Bytes) {
        self.counters().received.increment();
        match self.read().local.get(&envelope.to) {
            Some(inbox) => self.put(inbox, FabricMessage { envelope, body }),
            None => self.counters().dropped_no_route.increment(),
        }
    }

    fn put(&self, inbox: &Sender<FabricMessage>, message: FabricMessage) {
        let counter = match inbox.try_send(message) {
            Ok(()) => &self.counters().delivered,
            Err(TrySendError::Full(_)) => &self.counters().dropped_inbox_full,
            Err(TrySendError::Disconnected(_)) => &self.counters().dropped_no_route,
        };
        counter.increment();
    }

    /// The roles of this process, for a link to announce.
    pub(crate) fn hosted(&self) -> watch::Receiver<Arc<[RoleId]>> {
        self.inner.hosted.subscribe()
    }

    fn announce_hosted(&self, routes: &Routes) {
        self.inner
            .hosted
            .send_replace(routes.local.keys().copied().collect());
        self.inner.changes.send_replace(());
    }

    /// A link to the node called `node` stands. It carries nothing before the other node announces its roles.
    ///
    /// A link that the same end had opened before is replaced. Of two links opened from both ends, both nodes keep
    /// the one that the lesser name opened, so that they agree without talking.
    pub(crate) fn attach(
        &self,
        node: &str,
        opener: Opener,
        limits: QueueLimits,
    ) -> Result<Attachment, Duplicate> {
        let mut routes = self.write();
        if let Some(standing) = routes.links.get(node) {
            let lesser = if self.node() < node {
                Opener::ThisNode
            } else {
                Opener::OtherNode
            };
            if standing.opener != opener && opener != lesser {
                return Err(Duplicate);
            }
            let id = standing.id;
            routes.remove_link(id);
        }
        let (queue, messages) = mpsc::channel(limits.messages);
        let (standing, replaced) = oneshot::channel();
        let link = Arc::new(RemoteLink {
            id: LinkId(self.inner.next_link.fetch_add(1, Ordering::Relaxed)),
            opener,
            queue,
            queued_bytes: Arc::default(),
            queue_bytes_max: limits.bytes,
            _standing: standing,
        });
        let attachment = Attachment {
            place: LinkPlace {
                fabric: self.clone(),
                id: link.id,
            },
            queue: LinkQueue {
                messages,
                queued_bytes: link.queued_bytes.clone(),
            },
            replaced,
        };
        routes.links.insert(node.to_owned(), link);
        self.counters().links_made.increment();
        self.inner.changes.send_replace(());
        Ok(attachment)
    }

    fn read(&self) -> RwLockReadGuard<'_, Routes> {
        self.inner.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Routes> {
        self.inner.routes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    fn remove_link(&mut self, id: LinkId) {
        self.links.retain(|_, link| link.id != id);
        self.remote.retain(|_, link| link.id != id);
    }
}

impl RemoteLink {
    /// Whether there was room.
    fn push(&self, message: FabricMessage) -> bool {
        let bytes = message.body.len();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A message larger than the whole queue may pass alone, else it never could.
        let fits = before == 0 || before + bytes <= self.queue_bytes_max;
        let queued = fits && self.queue.try_send(message).is_ok();
        if !queued {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        queued
    }
}

/// What the task that carries a link holds of it.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) place: LinkPlace,
    pub(crate) queue: LinkQueue,
    /// Resolves, with an error, when another link took this one's place.
    pub(crate) replaced: oneshot::Receiver<()>,
}

/// A link's place in the routing table. Dropping it takes the link and the roles behind it off the table.
#[derive(Debug)]
pub(crate) struct LinkPlace {
    fabric: Fabric,
    id: LinkId,
}

impl LinkPlace {
    pub(crate) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The other node hosts `roles`, and no others. A role of this process stays here whoever announces it; of two
    /// nodes that announce the same role, the later one gets its messages.
    pub(crate) fn announced(&self, roles: &[RoleId]) {
        let mut routes = self.fabric.write();
        let Some(link) = routes.links.values().find(|link| link.id == self.id).cloned() else {
            return; // Replaced a moment ago.
        };
        routes.remote.retain(|_, at| at.id != self.id);
        for role in roles {
            routes.remote.insert(*role, link.clone());
        }
        self.fabric.inner.changes.send_replace(());
    }
}

impl Drop for LinkPlace {
    fn drop(&mut self) {
        self.fabric.write().remove_link(self.id);
        self.fabric.counters().links_lost.increment();
        self.fabric.inner.changes.send_replace(());
    }
}

/// The end of a link's queue that its task reads.
#[derive(Debug)]
pub(crate) struct LinkQueue {
    messages: mpsc::Receiver<FabricMessage>,
    queued_bytes: Arc<AtomicUsize>,
}

impl LinkQueue {
    /// The next message; `None` when another link took this one's place. May be cancelled.
    pub(crate) async fn next(&mut self) -> Option<FabricMessage> {
        self.messages.recv().await
    }

    /// A message with a body of `bytes` has been written: its room in the queue is free again.
    pub(crate) fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::link::LinkHeader;
    use myriad_wire::{GatewayId, LaneId};

    const LANE: RoleId = RoleId::Lane(LaneId(1));
    const GATEWAY: RoleId = RoleId::Gateway(GatewayId(2));
    const LIMITS: QueueLimits = QueueLimits {
        messages: 2,
        bytes: 100,
    };

    fn to(role: RoleId) -> Envelope {
        Envelope {
            to: role,
            from: GATEWAY,
            link: LinkHeader {
                stream: 1,
                seq: 0,
                broken: None,
            },
        }
    }

    #[test]
    fn a_message_to_a_role_of_this_process_arrives_in_its_inbox_uncopied() {
        let fabric = Fabric::new("a");
        let (inbox, messages) = crossbeam_channel::bounded(1);
        fabric.register(LANE, inbox);
        let body = Bytes::from(vec![7; 10]);
        fabric.send(to(LANE), body.clone());
        let message = messages.try_recv().unwrap();
        assert_eq!(message.envelope, to(LANE));
        assert_eq!(message.body.as_ptr(), body.as_ptr());
    }

    #[test]
    fn what_cannot_be_delivered_is_dropped_and_counted() {
        let fabric = Fabric::new("a");
        fabric.send(to(LANE), Bytes::new());
        assert_eq!(fabric.counters().dropped_no_route.get(), 1);

        let (inbox, messages) = crossbeam_channel::bounded(1);
        fabric.register(LANE, inbox);
        fabric.send(to(LANE), Bytes::new());
        fabric.send(to(LANE), Bytes::new());
        assert_eq!(fabric.counters().delivered.get(), 1);
        assert_eq!(fabric.counters().dropped_inbox_full.get(), 1);

        drop(messages);
        fabric.send(to(LANE), Bytes::new());
        fabric.unregister(LANE);
        fabric.send(to(LANE), Bytes::new());
        assert_eq!(fabric.counters().dropped_no_route.get(), 3);

        fabric.send(to(LANE), Bytes::from(vec![0; NODE_MESSAGE_BYTES_MAX + 1]));
        assert_eq!(fabric.counters().dropped_oversized.get(), 1);
    }

    #[test]
    fn a_links_queue_is_bounded_in_messages_and_in_bytes() {
        let fabric = Fabric::new("a");
        let mut link = fabric.attach("b", Opener::ThisNode, LIMITS).unwrap();
        link.place.announced(&[LANE]);
        let dropped = || fabric.counters().dropped_queue_full.get();
        // Larger than the whole queue: passes alone.
        fabric.send(to(LANE), Bytes::from(vec![0; 101]));
        fabric.send(to(LANE), Bytes::from(vec![0; 1]));
        assert_eq!(dropped(), 1);
        link.queue.messages.try_recv().unwrap();
        link.queue.release(101);
        for _ in 0..3 {
            fabric.send(to(LANE), Bytes::from(vec![0; 10]));
        }
        assert_eq!(dropped(), 2);
        assert_eq!(fabric.counters().forwarded.get(), 3);
        link.queue.release(20);
        assert_eq!(link.queue.queued_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_roles_behind_a_link_go_with_it() {
        let fabric = Fabric::new("a");
        let link = fabric.attach("b", Opener::ThisNode, LIMITS).unwrap();
        link.place.announced(&[LANE, GATEWAY]);
        link.place.announced(&[LANE]);
        assert!(fabric.is_reachable(LANE) && !fabric.is_reachable(GATEWAY));
        assert_eq!(fabric.linked_nodes(), ["b"]);
        drop(link);
        assert!(!fabric.is_reachable(LANE));
        assert!(fabric.linked_nodes().is_empty());
    }

    #[test]
    fn a_newer_link_of_the_same_name_replaces_the_older() {
        let fabric = Fabric::new("b");
        let mut old = fabric.attach("a", Opener::OtherNode, LIMITS).unwrap();
        old.place.announced(&[LANE]);
        let new = fabric.attach("a", Opener::OtherNode, LIMITS).unwrap();
        assert_eq!(old.replaced.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        new.place.announced(&[GATEWAY]);
        old.place.announced(&[LANE]);
        drop(old);
        assert!(fabric.is_reachable(GATEWAY) && !fabric.is_reachable(LANE));
    }

    #[test]
    fn of_links_opened_from_both_ends_the_lesser_names_one_stands_in_any_order() {
        for (first, second) in [
            (Opener::ThisNode, Opener::OtherNode),
            (Opener::OtherNode, Opener::ThisNode),
        ] {
            for (node, lesser) in [("a", Opener::ThisNode), ("c", Opener::OtherNode)] {
                let fabric = Fabric::new(node);
                let _first = fabric.attach("b", first, LIMITS).unwrap();
                let second_stands = fabric.attach("b", second, LIMITS).is_ok();
                assert_eq!(second_stands, second == lesser);
            }
        }
    }
}
