//! Lanes come, go and move at an operator's wish, while everybody plays.

use crate::demo::TIMELY;
use crate::server::{command, failure, run};
use myriad_harness::cluster::{ClusterSize, LocalCluster};
use myriad_harness::options::Activity;
use myriad_harness::server::Configuration;
use myriad_harness::{Progress, Thresholds};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A space of one cell on two nodes with lanes, behind two gateways.
fn start(folder: &Path) -> LocalCluster {
    let mut configuration = Configuration::new(folder);
    configuration.set("space.side_m", 100);
    configuration.set("space.spawn_side_m", 100);
    configuration.set("space.cell_m", 0);
    // Nobody is too fast for a busy machine: its delays are for the benches to judge.
    configuration.set("space.burst_ms", 5000);
    configuration.set("game.npcs", 150);
    configuration.set("game.radius", 200);
    let size = ClusterSize {
        cells: 2,
        gateways: 2,
    };
    let program = || Command::new(env!("CARGO_BIN_EXE_myriad"));
    LocalCluster::start(&program, folder, size, 100.0, &configuration).expect("it starts")
}

/// What `myriad ctl` says that does what it was told to.
fn ctl(admin: &str, words: &[&str]) -> String {
    let said = run(command(&["ctl"]).args(words).args(["--admin", admin]));
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{words:?}: {error}");
    String::from_utf8(said.stdout).expect("text")
}

/// The numbers of the lanes, and the node of each.
fn lanes(admin: &str) -> Vec<(String, String)> {
    let table = ctl(admin, &["lanes"]);
    let rows = table
        .lines()
        .skip(1)
        .filter(|line| !line.trim_start().starts_with("all"));
    rows.map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        (words[0].to_owned(), words[2].to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_come_go_and_move_and_nobody_at_a_client_notices() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = start(folder.path());
    // Any node takes changes: here a gateway.
    let admin = cluster.nodes().last().expect("a gateway").admin().url;
    let activity = Arc::new(Activity::default());
    let mut options = cluster.bots().expect("it has doors");
    options.clients = 20;
    options.seconds = 120.0;
    options.activity = Some(Arc::clone(&activity));
    options.quiet = true;
    let operator = std::thread::spawn(move || {
        while !activity.has_begun() {
            assert!(!activity.is_over());
            std::thread::sleep(Duration::from_millis(50));
        }
        let split = ctl(&admin, &["split", "0,0", "--lanes", "3"]);
        assert!(split.contains("opening") && split.ends_with("done\n"), "{split}");
        let three = lanes(&admin);
        assert_eq!(three.len(), 3, "{three:?}");
        ctl(&admin, &["merge", "0", "--lanes", "2"]);
        let (lane, node) = lanes(&admin).swap_remove(0);
        let other = if node == "cell-1" { "cell-2" } else { "cell-1" };
        let moved = ctl(&admin, &["move", &lane, other]);
        assert!(moved.contains(&format!("lane {lane}: ended")), "{moved}");
        ctl(&admin, &["merge", "0"]);
        assert_eq!(lanes(&admin).len(), 1);
        activity.end();
        admin
    });
    let report = myriad_harness::run(options, Arc::new(Progress::silent()))
        .await
        .expect("a run");
    let admin = operator.join().expect("it was all done");
    let verdict = report.verdict(&Thresholds::promised(20));
    let failed = verdict.checks.iter().filter(|check| !check.passed);
    let untrue: Vec<_> = failed.filter(|check| !TIMELY.contains(&check.name)).collect();
    assert!(untrue.is_empty(), "{untrue:?}\n{report}");
    let handoffs = report.handoffs.expect("there were several lanes");
    assert!(handoffs.count > 100, "{handoffs:?}");

    for (words, why) in [
        (&["merge", "0"][..], "no more than 1 lanes"),
        (&["merge", "--lane", "99"], "there is no lane 99"),
        (&["split", "7"], "there is no cell 7"),
        (&["split", "0", "--node", "gateway-1"], "these do: cell-1, cell-2"),
        (&["move", "99", "cell-1"], "there is no lane 99"),
    ] {
        let said = failure(command(&["ctl"]).args(words).args(["--admin", &admin]));
        assert!(said.contains(why), "{words:?}: {said}");
    }
    cluster.stop().expect("it ends well");
}
