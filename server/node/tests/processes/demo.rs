//! The demo and the bots do what the README says of them.

use crate::server::{Server, Settings, command, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What every report says of where and how it was made.
const HEADER: &[&str] = &[
    "schema", "command", "commit", "dirty", "machine", "cpu", "kernel", "rustc", "started", "seconds",
];
/// What a report of bots says.
const KEYS: &[&str] = &[
    "seed",
    "clients",
    "entities",
    "hz",
    "decode",
    "motion",
    "coverage_min",
    "coverage_mean",
    "staleness_ms",
    "codec_error_m",
    "shown_error_m",
    "clients_lost",
    "corrections",
    "intents_lost",
    "join_s",
    "updates_per_s",
    "updates_per_server_cpu_s",
    "bytes_per_client_s",
    "datagrams",
    "cpu_s",
    "cpu_us_per_client_s",
    "ticks",
    "rss_mib",
    "server_rss_per_client_kib",
];
/// Checks of the verdict that a machine with other work to do may fail: they are about time, not about truth.
pub(crate) const TIMELY: &[&str] = &[
    "client_ticks_share",
    "staleness_all_p99",
    "ticks_skipped",
    "handoff_pause_p99",
    "walking",
];

#[test]
fn the_demo_ends_with_a_verified_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = command(&["demo", "--clients", "20", "--entities", "120", "--seconds", "4"]);
    let report = true_report(&mut demo, &folder.path().join("report.json"));
    for key in HEADER.iter().chain(KEYS) {
        assert!(!report[*key].is_null(), "{key} is missing in {report:#}");
    }
    assert_eq!(report["clients"], 20);
    assert_eq!(report["entities"], 120);
    assert!(report["codec_error_m"]["near"].as_f64().expect("measured") <= 1.0 / 64.0);
    assert!(report["codec_error_m"]["crowd"].as_f64().expect("measured") <= 0.25);
    for percentile in ["p50", "p99", "max"] {
        assert!(
            report["staleness_ms"]["all"][percentile].is_number(),
            "{percentile}"
        );
        assert!(report["join_s"][percentile].is_number(), "{percentile}");
    }
}

#[test]
fn the_demo_over_several_cells_is_as_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = command(&["demo", "--clients", "20", "--entities", "120", "--seconds", "4"]);
    demo.args(["--cell", "50"]);
    let report = true_report(&mut demo, &folder.path().join("report.json"));
    assert_eq!(report["entities"], 120);
    let handoffs = &report["handoffs"];
    assert!(
        handoffs["count"].as_u64().is_some_and(|count| count > 0),
        "{handoffs}"
    );
    assert_eq!((&handoffs["doubled"], &handoffs["lost"]), (&0.into(), &0.into()));
}

#[test]
fn bots_check_a_running_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path())
        .with("game.npcs", 50)
        .with("admin.truth", true);
    let server = Server::serve(folder.path(), &settings);
    let mut bots = command(&["bots", "--clients", "10", "--seconds", "3"]);
    bots.args([
        "--server",
        &server.client().to_string(),
        "--truth",
        &server.admin(),
    ]);
    bots.args(["--server-pid", &server.pid().to_string(), "--ca"])
        .arg(folder.path().join("data/tls/cert.pem"));
    let report = true_report(&mut bots, &folder.path().join("report.json"));
    assert_eq!(report["clients"], 10);
    assert_eq!(report["entities"], 60);
    assert!(server.stop().success());
}

/// The report of a run of bots, which may be late on a busy machine but must be true.
pub(crate) fn true_report(command: &mut Command, file: &Path) -> Value {
    let ended = run(command.arg("--json").arg(file));
    let said = String::from_utf8(ended.stdout).expect("text");
    let failed = failed_checks(&said);
    let untrue: Vec<_> = failed
        .iter()
        .filter(|check| !TIMELY.contains(&check.as_str()))
        .collect();
    assert!(
        untrue.is_empty(),
        "{untrue:?} failed:\n{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert_eq!(
        ended.status.code(),
        Some(i32::from(!failed.is_empty())),
        "the exit code is the verdict:\n{said}"
    );
    let report: Value = serde_json::from_slice(&std::fs::read(file).expect("a report")).expect("JSON");
    assert_eq!(report["coverage_min"], 1.0);
    for none in ["clients_lost", "corrections", "intents_lost"] {
        assert_eq!(report[none], 0, "{none}");
    }
    report
}

/// The names of the verdict's checks that did not hold. There is a verdict.
fn failed_checks(said: &str) -> Vec<String> {
    assert!(
        said.contains(" checks passed") || said.contains(" checks failed"),
        "no verdict:\n{said}"
    );
    let failed = said.lines().filter_map(|line| line.strip_prefix("FAILED "));
    failed
        .map(|line| line.split(':').next().unwrap_or(line).to_owned())
        .collect()
}
