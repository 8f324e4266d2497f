//! One cell and two gateways, each a process of its own: the crowd is one, and a gateway dies alone.

use crate::raw;
use crate::server::{Server, Settings, command, failure};
use crate::walker::{Door, Walker};
use myriad_harness::{AdminServer, BotsOptions, Progress, Thresholds, Trust};
use myriad_wire::EntityId;
use myriad_wire::client::LeaveReason;
use myriad_wire::limits::ALPN_NODE;
use quinn::{ConnectionError, TransportConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bots, half of them on each gateway.
const BOTS: u32 = 200;
/// Ticks per second.
const HZ: f64 = 10.0;
/// After how long a silence a gateway counts as dead, in seconds.
const SILENCE_S: f64 = 1.0;
/// How long an avatar without a client stays, in seconds.
const GRACE_S: f64 = 4.0;

/// One cell and two gateways.
struct Cluster {
    cell: Server,
    gateways: [Server; 2],
    certificates: PathBuf,
}

impl Cluster {
    /// `cell` are settings of the cell beside those that every test has.
    fn start(folder: &Path, cell: impl FnOnce(Settings) -> Settings) -> Self {
        let certificates = folder.join("certificates");
        issue(&certificates, &["cell", "gateway-1", "gateway-2"]);
        let settings =
            node(folder, &certificates, "cell", &["directory", "lane"]).with("cluster.listen", "127.0.0.1:0");
        let cell = Server::start("node", &folder.join("cell"), &cell(settings));
        let gateway = |name: &str| {
            let directory = cell.cluster().to_string();
            let settings =
                node(folder, &certificates, name, &["gateway"]).with("cluster.directory", directory);
            Server::start("node", &folder.join(name), &settings)
        };
        let gateways = [gateway("gateway-1"), gateway("gateway-2")];
        Self {
            cell,
            gateways,
            certificates,
        }
    }
}

/// Makes an authority, if there is none, and certificates for nodes.
pub(crate) fn issue(certificates: &Path, nodes: &[&str]) {
    let mut ca = command(&["ca", "--directory"]);
    ca.arg(certificates);
    for node in nodes {
        ca.args(["--node", node]);
    }
    let made = crate::server::run(&mut ca);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub(crate) fn node(folder: &Path, certificates: &Path, name: &str, roles: &[&str]) -> Settings {
    let file = |file: String| {
        certificates
            .join(file)
            .to_str()
            .expect("a path in UTF-8")
            .to_owned()
    };
    Settings::new(&folder.join(name))
        .with("node.name", name)
        .with("node.roles", roles.to_vec())
        .with("cluster.ca", file("ca.pem".into()))
        .with("cluster.certificate", file(format!("{name}.pem")))
        .with("cluster.key", file(format!("{name}-key.pem")))
}

#[test]
fn every_client_sees_all_the_others_across_gateways() {
    let folder = tempfile::tempdir().expect("a folder");
    // Everybody is in everybody's view: the square is smaller than the avatars' radius of 100 m. A busy machine
    // must not make an honest bot look too fast.
    let cluster = Cluster::start(folder.path(), |cell| {
        cell.with("admin.truth", true)
            .with("space.side_m", 60)
            .with("space.spawn_side_m", 60)
            .with("space.burst_ms", 5000)
    });
    let [first, second] = &cluster.gateways;
    let trust = Trust::Ca([first.certificate(), second.certificate()].concat());
    let mut options = BotsOptions::new(first.client(), trust);
    options.servers.push(second.client());
    options.clients = BOTS;
    options.seconds = 5.0;
    options.quiet = true;
    options.truth = vec![AdminServer {
        url: cluster.cell.admin(),
        token: None,
    }];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let run = myriad_harness::run(options, Arc::new(Progress::silent()));
    let report = runtime.block_on(run).expect("the bots run");

    // How fast all this goes is for the benches to say.
    let limits = Thresholds {
        staleness_all_p99_ms: None,
        ticks_skipped_share: 0.5,
        client_ticks_share: 0.1,
        ..Thresholds::promised(BOTS)
    };
    let verdict = report.verdict(&limits);
    let slow = |name: &str| name == "walking";
    assert!(
        verdict.failed().all(|check| slow(check.name)),
        "{verdict}\n{report}"
    );
    assert_eq!(report.entities, BOTS);
    assert!(
        report.views.entered >= u64::from(BOTS * BOTS),
        "{:?}",
        report.views
    );
    for gateway in &cluster.gateways {
        assert_eq!(
            gateway.metric("myriad_gateway_sessions_joined_total", ""),
            f64::from(BOTS / 2)
        );
    }
    for server in cluster.gateways.into_iter().chain([cluster.cell]) {
        assert!(server.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_alone_and_its_avatars_leave_once_after_the_grace() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(folder.path(), |cell| {
        cell.with("space.hz", HZ)
            .with("space.gateway_silence_s", SILENCE_S)
            .with("space.grace_s", GRACE_S)
            .with("space.side_m", 60)
    });
    let Cluster {
        cell,
        gateways: [staying, dying],
        ..
    } = cluster;
    let door = Door::of(&staying);
    let mut here = door.join_all(["ada", "ben", "cleo"].map(String::from)).await;
    let mut there = Door::of(&dying)
        .join_all(["dora", "emil", "fritz"].map(String::from))
        .await;
    let ours: Vec<EntityId> = here.iter_mut().map(Walker::entity).collect();
    let theirs: Vec<EntityId> = there.iter_mut().map(Walker::entity).collect();
    for walker in here.iter_mut().chain(&mut there) {
        walker
            .until("everybody sees everybody", |walker| {
                ours.iter().chain(&theirs).all(|one| walker.sees(*one))
            })
            .await;
    }

    here[0].catch_up().await;
    let dies = here[0].seen_tick();
    dying.kill();
    // Dora is back before the lane has even noticed.
    let mut dora = door.join("dora").await;
    assert_eq!(
        dora.entity(),
        theirs[0],
        "the avatar that still stands there, not a new one"
    );
    let (dora_entity, lost) = (theirs[0], &theirs[1..]);
    for walker in &mut here {
        walker
            .until("the dead gateway's avatars leave", |walker| {
                !lost.iter().any(|one| walker.sees(*one))
            })
            .await;
        // Whatever would come twice comes now.
        walker.for_ticks(20).await;
        for gone in lost {
            let leaves = walker.leaves(*gone);
            assert_eq!(leaves.len(), 1, "it leaves once: {leaves:?}");
            assert_eq!(walker.enters(*gone), 1);
            let (tick, reason) = leaves[0];
            assert_eq!(reason, LeaveReason::Despawned);
            // The dead gateway's last report may have come a few ticks before this gateway's last frame.
            let earliest = dies + ((SILENCE_S + GRACE_S) * HZ) as u64 - 5;
            assert!(tick >= earliest, "it left at {tick}, its gateway died at {dies}");
        }
        for present in ours.iter().chain([&dora_entity]) {
            assert!(walker.sees(*present));
            assert_eq!((walker.enters(*present), walker.leaves(*present)), (1, vec![]));
        }
    }
    let step = here[0].step(100, 0);
    here[0].until_applied(step).await;
    let step = dora.step(100, 0);
    dora.until_applied(step).await;
    assert_eq!(dora.closed(), None);
    assert_eq!(cell.metric("myriad_lane_gateways_lost_total", ""), 1.0);
    assert_eq!(cell.metric("myriad_lane_avatars_departed_total", ""), 2.0);
    assert_eq!(cell.metric("myriad_lane_sessions", ""), 4.0);
    assert!(staying.stop().success());
    assert!(cell.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_authority_is_refused_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(folder.path(), |cell| cell);
    let refused = || cluster.cell.metric("myriad_fabric_refused_total", "stranger");
    assert_eq!(refused(), 0.0);
    let strange = folder.path().join("strange");
    issue(&strange, &["gateway-3"]);
    let directory = cluster.cell.cluster().to_string();
    let settings =
        node(folder.path(), &strange, "gateway-3", &["gateway"]).with("cluster.directory", directory);
    let file = settings.write(&folder.path().join("gateway-3"));
    let said = failure(command(&["node", "--config"]).arg(file));
    assert!(
        said.contains("no trust between this node and the one at"),
        "{said}"
    );
    cluster
        .cell
        .until("the stranger is counted", |_| refused() >= 1.0);

    // That one did not trust the cell either. One that does is refused all the same.
    let closed = trusting_stranger(&cluster, &strange).await;
    assert!(
        matches!(
            closed,
            ConnectionError::ConnectionClosed(_) | ConnectionError::TransportError(_)
        ),
        "{closed:?}"
    );
    cluster
        .cell
        .until("the stranger is counted", |_| refused() >= 2.0);
    assert_eq!(
        cluster.cell.metric("myriad_fabric_links", ""),
        2.0,
        "the others' links stand"
    );
}

/// Connects to the cell, which it trusts, with a certificate of another authority; answers what became of it.
async fn trusting_stranger(cluster: &Cluster, strange: &Path) -> ConnectionError {
    let ca = std::fs::read(cluster.certificates.join("ca.pem")).expect("the cluster's authority");
    let chain = CertificateDer::pem_file_iter(strange.join("gateway-3.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(strange.join("gateway-3-key.pem")).expect("its key");
    let mut tls = raw::tls()
        .with_root_certificates(raw::roots(&ca))
        .with_client_auth_cert(chain.map(|one| one.expect("PEM")).collect(), key)
        .expect("they belong together");
    tls.alpn_protocols = vec![ALPN_NODE.to_vec()];
    let address = cluster.cell.cluster();
    match raw::dial(address, "cell", tls, TransportConfig::default()).await {
        // At this end the handshake is over before the cell has looked at the certificate.
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    }
}
