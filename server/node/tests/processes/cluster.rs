//! One cell process and two gateway processes: one crowd, and a gateway that dies.

use crate::server::{Server, myriad};
use crate::walker::{Door, Walker};
use myriad_client::ClientEvent;
use myriad_client::quic::ServerTrust;
use myriad_harness::{BotsOptions, Progress, TruthSource};
use myriad_wire::EntityId;
use myriad_wire::client::LeaveReason;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long avatars without a session stay, in seconds.
const GRACE_S: f64 = 2.0;
/// After how long a silence the cell takes a gateway for dead, in seconds.
const SILENCE_S: f64 = 1.0;

struct Cluster {
    cell: Server,
    gateways: Vec<Server>,
    _folder: tempfile::TempDir,
}

fn certificates(folder: &Path, directory: &str, nodes: &[&str]) {
    let directory = folder.join(directory);
    let mut arguments = vec!["ca", "--directory", directory.to_str().expect("UTF-8")];
    for node in nodes {
        arguments.extend(["--node", node]);
    }
    let output = myriad(&arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The parts of a node's configuration that all have.
fn node(folder: &Path, name: &str, role: &str, directory: &str) -> String {
    let file = |suffix: &str| folder.join(directory).join(suffix);
    format!(
        "[node]\nname = {name:?}\nroles = [{role:?}]\n[storage]\ndata = {:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         truth = true\n[client]\nlisten = \"127.0.0.1:0\"\n[cluster]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
        folder.join(format!("data-{name}")),
        file("ca.pem"),
        file(&format!("{name}.pem")),
        file(&format!("{name}-key.pem")),
    )
}

impl Cluster {
    fn start(more_of_cell: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        certificates(path, "certificates", &["cell", "gateway-1", "gateway-2"]);
        let cell = node(path, "cell", "lane", "certificates");
        let cell = format!(
            "{cell}listen = \"127.0.0.1:0\"\n[space]\ngrace_s = {GRACE_S:?}\ngateway_silence_s = {SILENCE_S:?}\n{more_of_cell}"
        );
        let cell = Server::start("node", path, "cell.toml", &cell);
        let gateway = |name: &str| {
            let text = node(path, name, "gateway", "certificates");
            let text = format!("{text}peers = [\"{}\"]\n", cell.cluster());
            Server::start("node", path, &format!("{name}.toml"), &text)
        };
        let gateways = vec![gateway("gateway-1"), gateway("gateway-2")];
        Self {
            cell,
            gateways,
            _folder: folder,
        }
    }
}

/// The ids of those that a walker was told have left, in order.
fn departed(walker: &Walker) -> Vec<(EntityId, LeaveReason)> {
    let leaves = walker.events.iter().filter_map(|event| match event {
        ClientEvent::Leave { entity, reason, .. } => Some((*entity, *reason)),
        _ => None,
    });
    leaves.collect()
}

fn entity(walker: &mut Walker) -> EntityId {
    walker.connection.core().joined().expect("joined").entity
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_on_two_gateways_see_each_other() {
    let cluster = Cluster::start("side_m = 60\nspawn_side_m = 60\n");
    let mut servers = cluster.gateways.iter().map(Server::client);
    let first = servers.next().expect("two gateways");
    // Each gateway has a certificate of its own; both are trusted.
    let mut pem = std::fs::read(cluster._folder.path().join("data-gateway-1/tls/cert.pem")).expect("made");
    pem.extend(std::fs::read(cluster._folder.path().join("data-gateway-2/tls/cert.pem")).expect("made"));
    let mut options = BotsOptions::new(first, ServerTrust::Ca(pem));
    options.servers.extend(servers);
    options.clients = 200;
    options.seconds = 5.0;
    options.quiet = true;
    options.truth = Some(TruthSource {
        url: cluster.cell.admin(),
        token: None,
    });
    let report = myriad_harness::run(options, Arc::new(Progress::silent()))
        .await
        .expect("a report");
    let json = serde_json::to_value(&report).expect("JSON");
    // Who is late on a busy machine is not judged here; who is missing is.
    assert_eq!(json["coverage_min"], 1.0, "{report}");
    assert_eq!(json["clients_lost"], 0, "{report}");
    assert_eq!(json["corrections"], 0, "{report}");
    for gateway in &cluster.gateways {
        assert_eq!(gateway.metric("myriad_gateway_sessions_joined_total", ""), 100.0);
    }
    let report = report.to_string();
    assert!(
        report.contains("at the end 0 subjects missing, 0 extra; 0 clients unchecked"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_takes_only_its_own_clients_and_those_once() {
    let mut cluster = Cluster::start("side_m = 20\nspawn_side_m = 20\n");
    let (door_a, door_b) = (Door::of(&cluster.gateways[0]), Door::of(&cluster.gateways[1]));
    let mut stay = Vec::new();
    let mut cut = Vec::new();
    for i in 0..5 {
        stay.push(door_a.join(&format!("stay-{i}")).await);
        cut.push(door_b.join(&format!("cut-{i}")).await);
    }
    for walker in &mut stay {
        walker
            .until("all ten are in view", |walker| {
                walker.connection.core().view().len() == 10
            })
            .await;
    }
    let lost: Vec<EntityId> = cut.iter_mut().map(entity).collect();
    let killed_at = Instant::now();
    cluster.gateways.remove(1).kill();

    // One of the dead gateway's players comes back at the other within the grace, to the same avatar.
    let mut back = door_a.join("cut-0").await;
    assert_eq!(entity(&mut back), lost[0]);
    let gone: BTreeSet<EntityId> = lost[1..].iter().copied().collect();
    for walker in &mut stay {
        walker
            .until("the other four left", |walker| {
                departed(walker).len() >= gone.len()
            })
            .await;
    }
    let after = killed_at.elapsed().as_secs_f64();
    assert!(
        after >= GRACE_S,
        "they left {after:.1} s after their gateway died, within the grace"
    );
    for walker in &mut stay {
        // Longer than another grace: nobody leaves twice, nobody else leaves.
        walker.listen(Duration::from_millis(500)).await;
        let leaves = departed(walker);
        assert_eq!(leaves.len(), gone.len(), "{leaves:?}");
        assert!(
            leaves
                .iter()
                .all(|(entity, reason)| gone.contains(entity) && *reason == LeaveReason::Despawned)
        );
        assert_eq!(walker.closed(), None);
        assert_eq!(walker.connection.core().view().len(), 6);
    }
    assert_eq!(cluster.cell.metric("myriad_lane_gateways_lost_total", ""), 1.0);
    assert_eq!(cluster.cell.metric("myriad_lane_avatars_departed_total", ""), 4.0);
    assert!(cluster.gateways.remove(0).stop().success());
    assert!(cluster.cell.stop().success());
}

#[test]
fn a_node_of_another_cluster_is_refused_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    certificates(path, "ours", &["cell"]);
    certificates(path, "theirs", &["gateway-1"]);
    let cell = node(path, "cell", "lane", "ours") + "listen = \"127.0.0.1:0\"\n";
    let cell = Server::start("node", path, "cell.toml", &cell);
    let stranger =
        node(path, "gateway-1", "gateway", "theirs") + &format!("peers = [\"{}\"]\n", cell.cluster());
    let file = path.join("stranger.toml");
    std::fs::write(&file, stranger).expect("written");
    let output = myriad(&["node", "--config", file.to_str().expect("UTF-8")]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: "), "{said}");
    cell.until_metric("myriad_fabric_refused_total", "stranger", 1.0);
}
