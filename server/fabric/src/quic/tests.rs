//! Real links over loopback.

use super::*;
use crate::ca::{ClusterCa, IdentityPaths};
use crate::{Envelope, FabricMessage, RoleId};
use bytes::Bytes;
use crossbeam_channel::Receiver;
use myriad_wire::link::LinkHeader;
use myriad_wire::node::{NODE_VERSION, NodeHello, frame_hello};
use myriad_wire::{GatewayId, LaneId};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use std::sync::atomic::{AtomicU32, Ordering};

const LANE: RoleId = RoleId::Lane(LaneId(1));
const GATEWAY: RoleId = RoleId::Gateway(GatewayId(2));
/// Far beyond what any step needs; only a test that hangs gets there.
const PATIENCE: Duration = Duration::from_secs(30);

fn identity(ca: &ClusterCa, node: &str) -> NodeIdentity {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let paths = IdentityPaths {
        ca: file("ca.pem"),
        certificate: file("node.pem"),
        key: file("node-key.pem"),
    };
    std::fs::write(&paths.ca, ca.certificate_pem()).unwrap();
    ca.issue(node)
        .unwrap()
        .save(&paths.certificate, &paths.key)
        .unwrap();
    NodeIdentity::load(node, &paths).unwrap()
}

fn config(listen: Option<SocketAddr>) -> LinksConfig {
    LinksConfig {
        listen,
        // Short enough to be waited for, long enough for a busy machine.
        idle_timeout: Duration::from_secs(2),
        pause_min: Duration::from_millis(10),
        pause_max: Duration::from_millis(100),
        ..LinksConfig::default()
    }
}

struct Node {
    fabric: Fabric,
    links: NodeLinks,
    inbox: Receiver<FabricMessage>,
}

impl Node {
    /// A node that hosts `role`; with an address, it listens there and hosts the directory.
    fn start(
        ca: &ClusterCa,
        name: &str,
        role: RoleId,
        listen: Option<SocketAddr>,
    ) -> Result<Self, LinkError> {
        let fabric = Fabric::new(name);
        let (sender, inbox) = crossbeam_channel::bounded(1024);
        fabric.register(role, sender);
        let next = AtomicU32::new(1);
        let registrar: Registrar = Box::new(move |node| {
            if node == "unwelcome" {
                return Err("no more incarnations".to_owned());
            }
            Ok(Incarnation(next.fetch_add(1, Ordering::Relaxed)))
        });
        let links = NodeLinks::start(
            fabric.clone(),
            &identity(ca, name),
            config(listen),
            listen.map(|_| registrar),
            &Handle::current(),
        )?;
        Ok(Self { fabric, links, inbox })
    }

    fn listening(ca: &ClusterCa, name: &str) -> Self {
        Self::start(ca, name, LANE, Some((Ipv4Addr::LOCALHOST, 0).into())).unwrap()
    }

    fn connecting(ca: &ClusterCa, name: &str) -> Self {
        Self::start(ca, name, GATEWAY, None).unwrap()
    }

    fn address(&self) -> String {
        self.links.local_addr().unwrap().to_string()
    }

    fn send(&self, to: RoleId, body: &'static [u8]) {
        self.fabric.send(envelope(to), Bytes::from_static(body));
    }

    async fn receive(&self) -> FabricMessage {
        let inbox = self.inbox.clone();
        tokio::task::spawn_blocking(move || inbox.recv_timeout(PATIENCE))
            .await
            .unwrap()
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.fabric))
    }

    async fn until(&self, role: RoleId, reachable: bool) {
        patiently(self.fabric.until_reachable(role, reachable)).await;
    }
}

fn envelope(to: RoleId) -> Envelope {
    Envelope {
        to,
        from: if to == LANE { GATEWAY } else { LANE },
        link: LinkHeader {
            stream: 1 << 32,
            seq: 0,
            broken: None,
        },
    }
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("a step took far too long")
}

/// Waits until `condition` holds, which another task will make it do.
async fn eventually(condition: impl Fn() -> bool) {
    patiently(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_exchange_messages_by_role() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    let gateway = Node::connecting(&ca, "gateway");
    gateway.links.connect(cell.address());
    gateway.until(LANE, true).await;
    gateway.send(LANE, b"report");
    assert_eq!(
        cell.receive().await,
        FabricMessage {
            envelope: envelope(LANE),
            body: Bytes::from_static(b"report"),
        }
    );
    // A role is announced before what it says, so the answer finds its way without waiting.
    cell.send(GATEWAY, b"frame");
    assert_eq!(gateway.receive().await.body, "frame");
    let large = Bytes::from(vec![7; 5_000_000]);
    cell.fabric.send(envelope(GATEWAY), large.clone());
    assert_eq!(gateway.receive().await.body, large);
    assert_eq!(cell.fabric.linked_nodes(), ["gateway"]);
    assert_eq!(cell.fabric.counters().forwarded.get(), 2);
    assert!(gateway.fabric.counters().received_bytes.get() > 5_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_come_and_go_are_announced() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    let gateway = Node::connecting(&ca, "gateway");
    gateway.links.connect(cell.address());
    gateway.until(LANE, true).await;
    let second = RoleId::Lane(LaneId(2));
    let (sender, _inbox) = crossbeam_channel::bounded(1);
    cell.fabric.register(second, sender);
    gateway.until(second, true).await;
    cell.fabric.unregister(LANE);
    gateway.until(LANE, false).await;
    assert!(gateway.fabric.is_reachable(second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registrar_gives_each_process_its_incarnation_once() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    let first = Node::connecting(&ca, "g1");
    let second = Node::connecting(&ca, "g2");
    assert_eq!(
        patiently(first.links.join(cell.address())).await.unwrap(),
        Incarnation(1)
    );
    assert_eq!(
        patiently(second.links.join(cell.address())).await.unwrap(),
        Incarnation(2)
    );
    let unwelcome = Node::connecting(&ca, "unwelcome");
    let refused = patiently(unwelcome.links.join(cell.address())).await.unwrap_err();
    assert!(refused.to_string().contains("no more incarnations"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_before_the_directorys_waits_for_it() {
    let ca = ClusterCa::create().unwrap();
    let place = Node::listening(&ca, "cell");
    let address = place.links.local_addr().unwrap();
    place.links.close().await;
    drop(place);
    let gateway = Node::connecting(&ca, "gateway");
    let joining = gateway.links.join(address.to_string());
    let (incarnation, _cell) = patiently(async { tokio::join!(joining, restart(&ca, address)) }).await;
    assert_eq!(incarnation.unwrap(), Incarnation(1));
}

/// A node called "cell" on a port that a node before it may not have let go yet.
async fn restart(ca: &ClusterCa, address: SocketAddr) -> Node {
    loop {
        match Node::start(ca, "cell", LANE, Some(address)) {
            Ok(node) => return node,
            Err(LinkError::Bind { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_link_to_a_node_that_died_without_a_word_is_made_again() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let ca = ClusterCa::create().unwrap();
    let (ours, theirs) = (runtime(), runtime());
    let gateway = ours.block_on(async { Node::connecting(&ca, "gateway") });
    let cell = theirs.block_on(async { Node::listening(&ca, "cell") });
    let address = cell.links.local_addr().unwrap();
    ours.block_on(async {
        assert_eq!(
            patiently(gateway.links.join(address.to_string())).await.unwrap(),
            Incarnation(1)
        );
        gateway.until(LANE, true).await;
    });
    // When its socket closes, no task is left to say goodbye.
    theirs.shutdown_timeout(PATIENCE);
    drop(cell);
    ours.block_on(async {
        gateway.until(LANE, false).await;
        gateway.send(LANE, b"lost");
        assert_eq!(gateway.fabric.counters().dropped_no_route.get(), 1);

        let cell = patiently(restart(&ca, address)).await;
        gateway.until(LANE, true).await;
        gateway.send(LANE, b"here again");
        assert_eq!(cell.receive().await.body, "here again");
        cell.send(GATEWAY, b"welcome back");
        assert_eq!(gateway.receive().await.body, "welcome back");
        // The same process still, so no other incarnation was asked for.
        let other = Node::connecting(&ca, "other");
        assert_eq!(
            patiently(other.links.join(address.to_string())).await.unwrap(),
            Incarnation(1)
        );
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_tells_the_other_node_and_takes_its_roles_away() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    let gateway = Node::connecting(&ca, "gateway");
    gateway.links.connect(cell.address());
    gateway.until(LANE, true).await;
    cell.until(GATEWAY, true).await;
    gateway.links.close().await;
    cell.until(GATEWAY, false).await;
    assert!(cell.fabric.linked_nodes().is_empty());
    assert_eq!(gateway.fabric.counters().links_lost.get(), 1);
}

/// A client configuration with any certificate, or none, that trusts `trusted`.
fn stranger(trusted: &ClusterCa, certificate: Option<&NodeIdentity>) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    let ours = identity(trusted, "whoever");
    roots.roots.extend(ours.roots.roots.iter().cloned());
    let tls = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match certificate {
        Some(identity) => tls
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .unwrap(),
        None => tls.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![myriad_wire::limits::ALPN_NODE.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// Connects to `node` with `client`, says `hello`, and answers why the connection ended.
async fn refusal(node: &Node, client: quinn::ClientConfig, hello: &[u8]) -> ConnectionError {
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = node.links.local_addr().unwrap();
    patiently(async {
        let connection = match endpoint.connect_with(client, address, NODE_SAN).unwrap().await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        if let Ok((mut send, _recv)) = connection.open_bi().await {
            let _ = send.write_all(hello).await;
            return connection.closed().await;
        }
        connection.closed().await
    })
    .await
}

fn hello(version: u16, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let hello = NodeHello {
        name: name.to_owned(),
        wants_incarnation: false,
    };
    frame_hello(version, &hello, &mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_and_counted() {
    let ca = ClusterCa::create().unwrap();
    let other_ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    let strangers = || cell.fabric.counters().strangers_refused.get();

    let ended = refusal(&cell, stranger(&ca, None), &hello(NODE_VERSION, "x")).await;
    assert!(is_tls(&ended), "{ended}");
    eventually(|| strangers() == 1).await;

    let forged = identity(&other_ca, "gateway");
    let ended = refusal(
        &cell,
        stranger(&ca, Some(&forged)),
        &hello(NODE_VERSION, "gateway"),
    )
    .await;
    assert!(is_tls(&ended), "{ended}");
    eventually(|| strangers() == 2).await;

    // A whole node of another cluster: refused at both ends, with an error that says what it is about.
    let lost = Node::connecting(&other_ca, "gateway");
    let refused = patiently(lost.links.join(cell.address())).await.unwrap_err();
    assert!(matches!(refused, LinkError::Untrusted { .. }), "{refused}");
    assert_eq!(lost.fabric.counters().strangers_refused.get(), 1);
    eventually(|| strangers() == 3).await;
    assert_eq!(cell.fabric.counters().links_made.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_version_is_refused_with_both_versions_named() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    let client = stranger(&ca, Some(&identity(&ca, "gateway")));
    let ended = refusal(&cell, client, &hello(99, "gateway")).await;
    let error = link_error("the cell", Fault::Connection(ended)).to_string();
    assert!(
        error.contains("version 99") && error.contains(&format!("version {NODE_VERSION}")),
        "{error}"
    );
    eventually(|| cell.fabric.counters().versions_refused.get() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_certificate_does_not_carry_is_refused() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    for name in ["somebody-else", NODE_SAN, "cell", "No Name"] {
        let client = stranger(&ca, Some(&identity(&ca, "gateway")));
        let ended = refusal(&cell, client, &hello(NODE_VERSION, name)).await;
        let error = link_error("the cell", Fault::Connection(ended));
        assert!(
            matches!(
                error,
                LinkError::Refused {
                    close: NodeClose::Name,
                    ..
                }
            ),
            "{error}"
        );
    }
    eventually(|| cell.fabric.counters().names_refused.get() == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_instead_of_a_greeting_is_refused() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\0", b"\x02\0\0\0\x07\x07"] {
        let client = stranger(&ca, Some(&identity(&ca, "gateway")));
        let ended = refusal(&cell, client, nonsense).await;
        let error = link_error("the cell", Fault::Connection(ended));
        assert!(
            matches!(
                error,
                LinkError::Refused {
                    close: NodeClose::Malformed,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_of_the_same_name_the_newer_takes_the_place() {
    let ca = ClusterCa::create().unwrap();
    let cell = Node::listening(&ca, "cell");
    let older = Node::connecting(&ca, "gateway");
    older.links.connect(cell.address());
    older.until(LANE, true).await;
    let newer = Node::connecting(&ca, "gateway");
    newer.links.connect(cell.address());
    newer.until(LANE, true).await;
    older.until(LANE, false).await;
    assert_eq!(cell.fabric.linked_nodes(), ["gateway"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_connect_to_each_other_end_with_one_link() {
    let ca = ClusterCa::create().unwrap();
    let listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    let a = Node::start(&ca, "a", LANE, listen).unwrap();
    let b = Node::start(&ca, "b", GATEWAY, listen).unwrap();
    b.links.connect(a.address());
    a.until(GATEWAY, true).await;
    a.links.connect(b.address());
    // The one that the lesser name opened takes over, and every further attempt of the other is refused.
    eventually(|| a.fabric.counters().duplicates_refused.get() > 0).await;
    a.until(GATEWAY, true).await;
    b.until(LANE, true).await;
    b.send(LANE, b"over the one link");
    assert_eq!(a.receive().await.body, "over the one link");
}
