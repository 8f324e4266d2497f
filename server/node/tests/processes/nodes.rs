//! One space on several nodes: the directory and the store are elsewhere, and any of them may go and come again.

use crate::cluster::{issue, node};
use crate::demo::true_report;
use crate::server::{PATIENCE, Server, Settings, command, failure, run};
use crate::walker::{Door, Walker};
use myriad_harness::cluster::{ClusterSize, LocalCluster};
use myriad_harness::server::Configuration;
use myriad_wire::IntentSeq;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn one_space_on_several_nodes_is_one_to_every_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut up = command(&[
        "cluster",
        "up",
        "--cells",
        "2",
        "--gateways",
        "2",
        "--side",
        "100",
    ]);
    up.args(["--entities", "120", "--demo", "20", "--seconds", "4"]);
    // All see all, and nobody is too fast for a busy machine: its delays are for the benches to judge.
    up.args(["--config", "game.radius=200", "--config", "space.burst_ms=5000"]);
    let report = true_report(&mut up, &folder.path().join("report.json"));
    assert_eq!(report["entities"], 120);
    let handoffs = &report["handoffs"];
    assert!(
        handoffs["count"].as_u64().is_some_and(|count| count > 0),
        "{handoffs}"
    );
    assert_eq!((&handoffs["doubled"], &handoffs["lost"]), (&0.into(), &0.into()));
}

#[test]
fn an_operator_sees_who_runs_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut configuration = Configuration::new(folder.path());
    configuration.set("space.side_m", 100);
    configuration.set("space.spawn_side_m", 100);
    configuration.set("game.npcs", 50);
    let program = || Command::new(env!("CARGO_BIN_EXE_myriad"));
    let size = ClusterSize {
        cells: 2,
        gateways: 1,
    };
    let cluster =
        LocalCluster::start(&program, folder.path(), size, 100.0, &configuration).expect("it starts");
    // Any node answers for all, a moment after all have come.
    for asked in cluster.nodes() {
        let ctl = |what: &str| {
            let said = run(command(&["ctl", what, "--admin"]).arg(asked.admin().url));
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            String::from_utf8(said.stdout).expect("text")
        };
        let deadline = Instant::now() + PATIENCE;
        while ctl("nodes").lines().count() < 5 || ctl("lanes").lines().count() < 6 {
            assert!(Instant::now() < deadline, "{}{}", ctl("nodes"), ctl("lanes"));
        }
        let nodes = ctl("nodes");
        for name in ["cell-1", "cell-2", "directory", "gateway-1"] {
            assert!(nodes.lines().any(|line| line.starts_with(name)), "{nodes}");
        }
        let lanes = ctl("lanes");
        assert_eq!(lanes.lines().count(), 6, "{lanes}");
        assert!(lanes.contains("cell-1") && lanes.contains("cell-2"), "{lanes}");
        let cells = ctl("cells");
        assert_eq!(cells.lines().count(), 3, "{cells}");
    }
    cluster.stop().expect("it ends well");
    // A folder may be used again.
    let cluster = LocalCluster::start(&program, folder.path(), size, 100.0, &configuration);
    cluster.expect("it starts again").stop().expect("it ends well");
    let said = failure(&mut command(&["ctl", "nodes", "--admin", "http://127.0.0.1:1"]));
    assert!(said.contains("asking http://127.0.0.1:1/status"), "{said}");
}

/// A node with the directory, one with all lanes, and a gateway.
struct Nodes {
    folder: PathBuf,
    certificates: PathBuf,
    directory: Server,
    cell: Server,
    gateway: Server,
}

impl Nodes {
    fn start(folder: &Path) -> Self {
        let certificates = folder.join("certificates");
        if !certificates.exists() {
            issue(&certificates, &["directory", "cell", "gateway"]);
        }
        let directory = settings(folder, &certificates, "directory").with("cluster.listen", "127.0.0.1:0");
        let directory = Server::start("node", &folder.join("directory"), &directory);
        let cell = cell(folder, &certificates, &directory);
        let cell = Server::start("node", &folder.join("cell"), &cell);
        let gateway = settings(folder, &certificates, "gateway")
            .with("cluster.directory", directory.cluster().to_string());
        let gateway = Server::start("node", &folder.join("gateway"), &gateway);
        Self {
            folder: folder.to_owned(),
            certificates,
            directory,
            cell,
            gateway,
        }
    }

    fn stop(self) {
        for node in [self.gateway, self.cell, self.directory] {
            assert!(node.stop().success());
        }
    }
}

/// Of a node whose name is its role, or `cell`.
fn settings(folder: &Path, certificates: &Path, name: &str) -> Settings {
    let role = if name == "cell" { "lane" } else { name };
    node(folder, certificates, name, &[role]).with("space.cell_m", 50)
}

fn cell(folder: &Path, certificates: &Path, directory: &Server) -> Settings {
    settings(folder, certificates, "cell")
        .with("cluster.listen", "127.0.0.1:0")
        .with("cluster.directory", directory.cluster().to_string())
        .with("storage.save_interval_s", 3600)
}

/// Walks until the lane has applied it.
async fn walk(walker: &mut Walker) {
    let step = walker.step(100, 0);
    walker.until_applied(step).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_may_go_and_come_again_and_nobody_at_a_client_notices() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nodes = Nodes::start(folder.path());
    let door = Door::of(&nodes.gateway);
    let mut ada = door.join("ada").await;
    walk(&mut ada).await;
    let address = nodes.directory.cluster();
    nodes.directory.kill();
    walk(&mut ada).await;

    let again =
        settings(&nodes.folder, &nodes.certificates, "directory").with("cluster.listen", address.to_string());
    nodes.directory = Server::start("node", &nodes.folder.join("directory"), &again);
    // Whoever is new needs the store, to look for its avatar; and by then the old ones are back in the view.
    let mut ben = door.join("ben").await;
    walk(&mut ada).await;
    walk(&mut ben).await;
    nodes
        .directory
        .until("all have announced themselves again", |directory| {
            let (_, status) = directory.page("/status");
            let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
            let nodes = status["cluster"]["nodes"].as_array().expect("it is a member");
            ["cell", "gateway"]
                .iter()
                .all(|name| nodes.iter().any(|node| node["node"] == *name))
        });
    assert_eq!((ada.closed(), ben.closed()), (None, None));
    nodes.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_lanes_comes_again_and_the_avatars_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nodes = Nodes::start(folder.path());
    let mut ada = Door::of(&nodes.gateway).join("ada").await;
    let entity = ada.entity();
    walk(&mut ada).await;
    nodes
        .cell
        .until_metric("myriad_lane_entities_saved_total", "", 1.0);
    nodes.cell.kill();

    let again = cell(&nodes.folder, &nodes.certificates, &nodes.directory);
    nodes.cell = Server::start("node", &nodes.folder.join("cell"), &again);
    // The same session, and the same avatar out of the store of another node; its steps are counted anew.
    ada.until("the avatar is back", |ada| ada.own().0 == IntentSeq(0))
        .await;
    walk(&mut ada).await;
    assert_eq!((ada.entity(), ada.closed()), (entity, None));
    nodes.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_for_a_while_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = Nodes::start(folder.path());
    let mut ada = Door::of(&nodes.gateway).join("ada").await;
    walk(&mut ada).await;
    let stood = ada.seen_tick();
    nodes.cell.send(libc::SIGSTOP);
    // Longer than a late lane makes up for, and shorter than any link endures.
    tokio::time::sleep(Duration::from_secs(1)).await;
    nodes.cell.send(libc::SIGCONT);
    walk(&mut ada).await;
    assert!(ada.seen_tick() > stood);
    assert_eq!(ada.closed(), None);
    assert_eq!(nodes.gateway.metric("myriad_fabric_links_lost_total", ""), 0.0);
    nodes.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_may_be_stopped_at_once_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = Nodes::start(folder.path());
    let mut ada = Door::of(&nodes.gateway).join("ada").await;
    walk(&mut ada).await;
    let (_, place) = ada.own();
    for node in [&nodes.directory, &nodes.cell, &nodes.gateway] {
        node.send(libc::SIGTERM);
    }
    nodes.stop();

    let nodes = Nodes::start(folder.path());
    let mut ada = Door::of(&nodes.gateway).join("ada").await;
    assert_eq!(ada.joined().position, place);
    nodes.stop();
}

#[test]
fn a_node_that_was_told_something_else_is_refused_with_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = Nodes::start(folder.path());
    issue(&nodes.certificates, &["other"]);
    let other = node(folder.path(), &nodes.certificates, "other", &["gateway"])
        .with("space.cell_m", 25)
        .with("cluster.directory", nodes.directory.cluster().to_string());
    let file = other.write(&folder.path().join("other"));
    let said = failure(command(&["node", "--config"]).arg(file));
    assert!(
        said.contains("space.cell_m is 25 at the node called \"other\" and 50 in this cluster"),
        "{said}"
    );
    nodes.stop();
}

#[test]
fn of_two_nodes_of_one_name_the_older_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nodes = Nodes::start(folder.path());
    let again = cell(&nodes.folder, &nodes.certificates, &nodes.directory);
    let again = Server::start("node", &nodes.folder.join("again"), &again);
    let older = std::mem::replace(&mut nodes.cell, again);
    let log = older.ended();
    assert!(log.contains("a newer node is called \"cell\""), "{log}");
    nodes.stop();
}
