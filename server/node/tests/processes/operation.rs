//! What an operator meets: configuration, scripts, admin HTTP, stopping.

use crate::server::{Server, configuration, myriad};
use std::path::Path;

/// Runs `myriad serve` with a configuration that must not start; what it says.
fn refused(folder: &Path, configuration: &str) -> String {
    let file = folder.join("bad.toml");
    std::fs::write(&file, configuration).expect("written");
    let output = myriad(&["serve", "--config", file.to_str().expect("UTF-8")]);
    assert!(!output.status.success(), "it started");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once_with_their_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = refused(
        folder.path(),
        "[space]\nhz = 0\nside = 5\n\n[client]\nlisten = \"here\"\n",
    );
    for part in [
        "bad.toml:2: space.hz",
        "bad.toml:3: there is no key space.side",
        "did you mean",
        "bad.toml:6: client.listen",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn a_wrong_script_is_told_with_its_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let scripts = folder.path().join("scripts");
    std::fs::create_dir(&scripts).expect("a folder");
    let start = |text: &str| {
        std::fs::write(scripts.join("main.luau"), text).expect("written");
        refused(
            folder.path(),
            &configuration(folder.path(), &format!("[scripts]\ndirectory = {scripts:?}\n")),
        )
    };
    let said = start("local a = 1\nlocal b = = 2\n");
    assert!(said.contains("main.luau:2"), "{said}");
    let said = start("-- a kind\n\nmyriad.kind(\"orc\", { speeed = 3 })\n");
    assert!(said.contains("main.luau:3") && said.contains("speeed"), "{said}");
}

#[test]
fn the_admin_http_is_not_shown_to_strangers() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = refused(folder.path(), "[admin]\nlisten = \"0.0.0.0:0\"\n");
    assert!(said.contains("admin.listen") && said.contains("token"), "{said}");
}

#[test]
fn a_data_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = configuration(folder.path(), "");
    let server = Server::serve(folder.path(), &text);
    let said = refused(folder.path(), &text);
    assert!(
        said.contains(&server.pid().to_string()),
        "the owner's pid in {said}"
    );
    assert!(server.terminate().success());
}

#[test]
fn the_admin_http_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::serve(folder.path(), &configuration(folder.path(), "[game]\nnpcs = 7\n"));
    server.until_metric("myriad_lane_ticks_total", "", 3.0);
    assert_eq!(server.metric("myriad_lane_entities", ""), 7.0);
    server.until_metric("myriad_node_ready", "", 1.0);
    assert!(!server.get("/health").is_empty());
    server.get("/ready");
    let status: serde_json::Value = serde_json::from_str(&server.get("/status")).expect("JSON");
    assert_eq!(status["ready"], true);
    assert!(server.stop().success());
}

#[test]
fn the_reference_configuration_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = myriad(&["config"]);
    assert!(output.status.success());
    let reference = String::from_utf8(output.stdout).expect("UTF-8");
    let local = configuration(folder.path(), "");
    // The reference has the tables already: take its values for everything but where things are.
    let reference = reference.replace("\"data\"", &format!("{:?}", folder.path().join("data")));
    let reference = reference.replace(":4433\"", ":0\"").replace(":8080\"", ":0\"");
    assert!(local.contains("[storage]") && reference.contains("[storage]"));
    let server = Server::serve(folder.path(), &reference);
    assert!(server.stop().success());
}
