//! The demo and the bots, from their command lines.

use crate::server::{Server, configuration, myriad};
use serde_json::Value;

/// The JSON report of a run of the binary, which may have missed a limit of time on a busy machine.
fn report(arguments: &[&str], file: &std::path::Path) -> Value {
    let output = myriad(arguments);
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(&text).expect("JSON")
}

fn nobody_was_wronged(report: &Value) {
    assert_eq!(report["coverage_min"], 1.0, "{report:#}");
    for key in ["clients_lost", "corrections", "intents_lost"] {
        assert_eq!(report[key], 0, "{key} in {report:#}");
    }
}

#[test]
fn the_demo_verifies_a_crowd_and_writes_its_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let path = file.to_str().expect("UTF-8");
    let demo = [
        "demo",
        "--clients",
        "20",
        "--entities",
        "120",
        "--seconds",
        "4",
        "--json",
        path,
    ];
    let report = report(&demo, &file);
    nobody_was_wronged(&report);
    assert_eq!(
        (&report["clients"], &report["entities"]),
        (&Value::from(20), &Value::from(120))
    );
    for key in [
        "staleness_ms",
        "codec_error_m",
        "updates_per_s",
        "bytes_per_client_s",
        "cpu_s",
        "rss_mib",
        "join_s",
    ] {
        assert!(!report[key].is_null(), "{key} is reported");
    }
    for key in [
        "schema", "command", "commit", "machine", "cpu", "kernel", "rustc", "started", "seconds",
    ] {
        assert!(
            !report[key].is_null() || !report["header"][key].is_null(),
            "{key} is in the header"
        );
    }
}

#[test]
fn bots_check_a_running_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::serve(
        folder.path(),
        &configuration(folder.path(), "[game]\nnpcs = 50\n"),
    );
    let file = folder.path().join("report.json");
    let address = server.client().to_string();
    let certificate = folder.path().join("data/tls/cert.pem");
    let (pid, admin) = (server.pid().to_string(), server.admin());
    let bots = [
        "bots",
        "--server",
        &address,
        "--ca",
        certificate.to_str().expect("UTF-8"),
        "--clients",
        "10",
        "--seconds",
        "3",
        "--truth",
        &admin,
        "--server-pid",
        &pid,
        "--json",
        file.to_str().expect("UTF-8"),
        "--quiet",
    ];
    nobody_was_wronged(&report(&bots, &file));
    assert!(server.stop().success());
}
