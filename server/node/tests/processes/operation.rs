//! What an operator sees: mistakes are reported by file and line, pages answer, and every way to stop is clean.

use crate::server::{Server, Settings, command, failure, page, run};
use crate::walker::Door;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;

/// Starts `myriad serve` with settings that it must refuse, and answers what it said.
fn refused(folder: &Path, settings: &Settings) -> String {
    failure(command(&["serve", "--config"]).arg(settings.write(folder)))
}

#[test]
fn all_mistakes_of_a_configuration_are_reported_before_a_port_is_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    // Whoever tried to bind this port would say something else.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound");
    let file = folder.path().join("wrong.toml");
    let text = format!(
        "[space]\nhz = 5000\nspwan_side_m = 3\n\n[client]\nlisten = \"nowhere\"\n[admin]\nlisten = \"{address}\"\n\
         [storage]\ndata = {:?}\n",
        folder.path().join("data")
    );
    std::fs::write(&file, text).expect("the folder can be written");
    let said = failure(
        command(&["serve", "--config"])
            .arg(&file)
            .env("MYRIAD_GATEWAY__NEAR_TARGET", "many"),
    );
    let name = file.display();
    for part in [
        "4 mistake(s)".to_owned(),
        format!("{name}:2: space.hz = 5000 is not a number from 0.5 to 100"),
        format!("{name}:3: there is no key space.spwan_side_m; did you mean space.spawn_side_m?"),
        format!("{name}:6: client.listen = \"nowhere\" is not an address"),
        "environment variable MYRIAD_GATEWAY__NEAR_TARGET: gateway.near_target = \"many\"".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} is not in:\n{said}");
    }
    assert!(!said.contains("can't listen"), "{said}");
    assert!(!folder.path().join("data").exists(), "nothing was begun");
}

#[test]
fn a_configuration_that_is_no_toml_is_reported_by_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, "[space]\nhz = = 3\n").expect("the folder can be written");
    let said = failure(command(&["serve", "--config"]).arg(&file));
    assert!(said.contains(&format!("{}:2: ", file.display())), "{said}");
    let missing = folder.path().join("missing.toml");
    let said = failure(command(&["node", "--config"]).arg(&missing));
    assert!(said.contains(&missing.display().to_string()), "{said}");
}

#[test]
fn scripts_that_do_not_load_are_reported_by_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path());
    let of_game = |main: &str| refused(folder.path(), &settings.clone().with_game(folder.path(), main));
    let said = of_game("local x = 1\nlocal y = = 2\n");
    assert!(said.contains("main.luau:2: "), "{said}");
    let said = of_game("local x = nil\n\nprint(x.y)\n");
    assert!(said.contains("main.luau:3: "), "{said}");
    let said = of_game("-- a kind\n\nmyriad.kind(\"orc\", { speeed = 3 })\n");
    assert!(
        said.contains("main.luau:3: ") && said.contains("speeed"),
        "{said}"
    );
    let said = of_game("while true do end\n");
    assert!(said.contains("main.luau:1: "), "{said}");

    std::fs::write(folder.path().join("game/part.luau"), "\n\nerror(\"broken\")\n")
        .expect("it can be written");
    let said = of_game("require(\"part\")\n");
    assert!(
        said.contains("part.luau:3: ") && said.contains("broken"),
        "{said}"
    );

    std::fs::remove_file(folder.path().join("game/main.luau")).expect("it is there");
    let scripts = folder.path().join("game");
    let said = refused(
        folder.path(),
        &settings.with("scripts.directory", scripts.to_str().expect("UTF-8")),
    );
    assert!(said.contains("has no main.luau"), "{said}");
}

/// A game whose commands go wrong in every way.
const BROKEN_GAME: &str = r#"
myriad.kind("avatar", {
    avatar = true, radius = 100, speed = 5,
    commands = {
        fail = function(self) error("on purpose") end,
        spin = function(self) while true do end end,
        work = function(self) return true end,
    },
})
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_fails_ends_its_own_call_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path()).with_game(folder.path(), BROKEN_GAME);
    let server = Server::serve(folder.path(), &settings);
    let mut ada = Door::of(&server).join("ada").await;
    for name in ["fail", "spin", "missing"] {
        assert!(ada.try_command(name, vec![]).await.is_some(), "{name} is refused");
    }
    ada.command("work", vec![]).await;
    assert_eq!(server.metric("myriad_lane_script_faults_total", ""), 2.0);
    assert!(server.log().contains("on purpose"), "{}", server.log());
    ada.for_ticks(3).await;
    assert!(server.stop().success());
}

#[test]
fn the_admin_pages_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::serve(folder.path(), &Settings::new(folder.path()).with("game.npcs", 7));
    assert_eq!(server.page("/health").0, 200);
    assert_eq!(server.page("/ready").0, 200);
    let (status, text) = server.page("/status");
    assert_eq!(status, 200);
    let said: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&said["node"], &said["ready"]),
        (&"local".into(), &true.into()),
        "{said}"
    );
    assert!(said["tick"].as_u64().is_some_and(|tick| tick > 0), "{said}");
    server.until_metric("myriad_lane_ticks_total", "", 3.0);
    server.until_metric("myriad_gateway_ticks_total", "", 3.0);
    assert_eq!(
        server.metric("myriad_lane_entities", ""),
        7.0,
        "as many as game.npcs says"
    );
    server.until_metric("myriad_node_ready", "", 1.0);
    server.until_metric("myriad_lane_stage_seconds_count", "stage=\"publish\"", 3.0);
    assert_eq!(server.page("/truth").0, 404, "only if enabled by name");
    assert_eq!(server.page("/console").0, 404);
    assert!(server.stop().success());
}

#[test]
fn the_lanes_of_a_space_share_the_pages_and_the_characters() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path())
        .with("space.cell_m", 50)
        .with("space.lanes_per_cell", 2)
        .with("game.npcs", 400);
    let server = Server::serve(folder.path(), &settings);
    assert_eq!(server.page("/ready").0, 200);
    server.until_metric("myriad_lane_ticks_total", "", 24.0);
    let (_, text) = server.page("/status");
    let said: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let lanes = said["lanes"].as_array().expect("a list");
    assert_eq!(lanes.len(), 8, "{said}");
    let figures = |key: &str| -> Vec<u64> {
        let figure = |lane: &serde_json::Value| lane[key].as_u64().expect("a number");
        lanes.iter().map(figure).collect()
    };
    assert_eq!(figures("lane"), (1..=8).collect::<Vec<_>>());
    // Some may be on their way from lane to lane just now.
    let entities = figures("entities");
    let all: u64 = entities.iter().sum();
    assert!(
        (390..=410).contains(&all) && entities.iter().all(|count| *count > 20),
        "{said}"
    );
    assert_eq!(said["tick"].as_u64(), figures("tick").into_iter().min());
    assert_eq!(server.metric("myriad_lane_lanes", ""), 8.0);
    server.until_metric("myriad_lane_handed_off_total", "", 3.0);
    assert!(server.stop().success());
}

#[test]
fn an_admin_http_that_others_can_reach_needs_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = Settings::new(folder.path()).with("admin.listen", "0.0.0.0:0");
    let said = refused(folder.path(), &open);
    assert!(
        said.contains("admin.listen") && said.contains("admin.token_file"),
        "{said}"
    );

    let token = "a-token-of-many-letters";
    let server = Server::serve(folder.path(), &open.with_token(folder.path(), token));
    for path in ["/health", "/ready", "/status", "/metrics"] {
        let url = format!("{}{path}", server.admin().replace("0.0.0.0", "127.0.0.1"));
        assert_eq!(page(&url, Some(token)).0, 200, "{path}");
        assert_eq!(page(&url, None).0, 401, "{path}");
        assert_eq!(page(&url, Some("another-token-of-many-letters")).0, 401, "{path}");
    }
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_stop_drains_and_ends_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let ways: [fn(Server) -> std::process::ExitStatus; 3] = [
        |server| server.signal(libc::SIGTERM),
        |server| server.signal(libc::SIGINT),
        Server::stop,
    ];
    for stop in ways {
        let server = Server::serve(folder.path(), &Settings::new(folder.path()));
        let mut ada = Door::of(&server).join("ada").await;
        let stopped = tokio::task::spawn_blocking(move || stop(server));
        ada.until("the server says goodbye", |ada| ada.closed().is_some())
            .await;
        assert_eq!(ada.closed(), Some(myriad_wire::CloseReason::Shutdown));
        assert!(stopped.await.expect("it ends").success());
    }
}

#[test]
fn the_printed_configuration_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let printed = run(&mut command(&["config"]));
    assert!(printed.status.success());
    let file = folder.path().join("printed.toml");
    std::fs::File::create(&file)
        .and_then(|mut file| file.write_all(&printed.stdout))
        .expect("it can be written");
    // Its ports and its data folder are those of a real server, which may run on this machine.
    let mut serve = command(&["serve", "--announce", "--until-stdin-closes", "--config"]);
    serve.arg(&file).arg("--data").arg(folder.path().join("data"));
    serve
        .env("MYRIAD_CLIENT__LISTEN", "127.0.0.1:0")
        .env("MYRIAD_ADMIN__LISTEN", "127.0.0.1:0");
    let served = run(&mut serve);
    assert!(
        served.status.success(),
        "{}",
        String::from_utf8_lossy(&served.stderr)
    );
    assert!(String::from_utf8_lossy(&served.stdout).contains("\"fingerprint\""));
}

#[test]
fn a_data_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path());
    let server = Server::serve(folder.path(), &settings);
    let second = folder.path().join("second");
    let said = refused(&second, &settings);
    let data = folder.path().join("data");
    assert!(
        said.contains(&format!("the data directory {} is in use by", data.display())),
        "{said}"
    );
    assert!(
        said.contains(&server.pid().to_string()),
        "it names the holder: {said}"
    );
    assert_eq!(server.page("/ready").0, 200, "the first one goes on");
    assert!(server.stop().success());
}
