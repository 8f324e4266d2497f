//! The admin HTTP, asked over real connections on loopback.

use myriad_telemetry::admin::{ChangeError, ChangeSink};
use myriad_telemetry::metrics::{LaneMetrics, LaneTotals};
use myriad_telemetry::{AdminConfig, AdminError, AdminParts, AdminServer, Metrics, Readiness, TruthFeed};
use myriad_wire::truth::TruthTick;
use myriad_wire::{LaneId, SpaceClock, Tick, codec};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TOKEN: &str = "a-token-of-twenty-eight-bytes";

fn loopback() -> AdminConfig {
    AdminConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        token_file: None,
    }
}

fn parts() -> AdminParts {
    AdminParts {
        metrics: Metrics::new(),
        readiness: Readiness::new(),
        status: Arc::new(|| serde_json::json!({ "sessions": 3 })),
        changes: None,
        truth: None,
    }
}

async fn start(config: &AdminConfig, parts: AdminParts) -> AdminServer {
    AdminServer::start(config, parts).await.expect("it starts")
}

/// An answer: its status, its head and its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn connect(server: &AdminServer, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.local_addr()).await.expect("listening");
    stream.write_all(request.as_bytes()).await.expect("connected");
    stream
}

async fn ask(server: &AdminServer, method: &str, path: &str, headers: &str) -> Answer {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
    let mut stream = connect(server, &request).await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

async fn get(server: &AdminServer, path: &str) -> Answer {
    ask(server, "GET", path, "").await
}

fn token_file(home: &tempfile::TempDir) -> PathBuf {
    let path = home.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).expect("writable");
    path
}

#[tokio::test]
async fn a_living_process_is_healthy_and_unknown_paths_are_not_found() {
    let server = start(&loopback(), parts()).await;
    let health = get(&server, "/health").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    for path in ["/", "/healthy", "/console", "/../etc/passwd"] {
        assert_eq!(get(&server, path).await.status, 404, "{path}");
    }
    assert_eq!(ask(&server, "POST", "/health", "").await.status, 405);
    server.shutdown().await;
}

#[tokio::test]
async fn changes_are_carried_out_but_not_at_the_wish_of_a_page() {
    let changes: ChangeSink = Arc::new(|word, body| match word {
        "split" => Ok(serde_json::json!({ "cell": body["cell"] })),
        "merge" => Err(ChangeError::Refused("it is the last".to_owned())),
        _ => Err(ChangeError::Unknown),
    });
    let parts = AdminParts {
        changes: Some(changes),
        ..parts()
    };
    let server = start(&loopback(), parts).await;
    let post = async |host: &str, path: &str, content: &str| {
        let body = "{\"cell\":4}";
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {content}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut text = String::new();
        let mut stream = connect(&server, &request).await;
        stream.read_to_string(&mut text).await.expect("an answer");
        text
    };
    let json = "application/json";
    let done = post("127.0.0.1:8080", "/cluster/split", json).await;
    assert!(done.contains(" 200 ") && done.ends_with("{\"cell\":4}"), "{done}");
    let refused = post("localhost", "/cluster/merge", json).await;
    assert!(
        refused.contains(" 409 ") && refused.ends_with("it is the last\n"),
        "{refused}"
    );
    for (host, path, content, status) in [
        ("localhost", "/cluster/other", json, " 404 "),
        ("evil.example", "/cluster/split", json, " 403 "),
        ("localhost", "/cluster/split", "text/plain", " 415 "),
    ] {
        let answer = post(host, path, content).await;
        assert!(answer.contains(status), "{host} {path} {content}: {answer}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn readiness_follows_its_conditions() {
    let parts = parts();
    let readiness = parts.readiness.clone();
    readiness.unmet("lane", "loading scripts");
    let server = start(&loopback(), parts).await;
    let not_yet = get(&server, "/ready").await;
    assert_eq!(not_yet.status, 503);
    assert_eq!(not_yet.body, "not ready\nlane: loading scripts\n");
    readiness.met("lane");
    let ready = get(&server, "/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    readiness.unmet("node", "draining");
    assert_eq!(get(&server, "/ready").await.status, 503);
    server.shutdown().await;
}

#[tokio::test]
async fn metrics_and_status_are_served() {
    let parts = parts();
    let mut lane = LaneMetrics::new(&parts.metrics);
    lane.set(&LaneTotals {
        ticks: 12,
        ..LaneTotals::default()
    });
    let server = start(&loopback(), parts).await;
    let metrics = get(&server, "/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.head.contains("text/plain; version=0.0.4"),
        "{}",
        metrics.head
    );
    assert!(
        metrics.body.contains("\nmyriad_lane_ticks_total 12\n"),
        "{}",
        metrics.body
    );
    let status = get(&server, "/status").await;
    assert!(status.head.contains("application/json"), "{}", status.head);
    assert_eq!(status.body, "{\"sessions\":3}");
    server.shutdown().await;
}

#[tokio::test]
async fn without_a_token_file_only_loopback_is_let_in() {
    for (listen, good) in [
        ("127.0.0.1:0", true),
        ("127.8.9.1:0", true),
        ("[::1]:0", true),
        ("[::ffff:127.0.0.1]:0", true),
        ("0.0.0.0:0", false),
        ("[::]:0", false),
        ("192.0.2.1:0", false),
        ("[::ffff:192.0.2.1]:0", false),
    ] {
        let config = AdminConfig {
            listen: listen.parse().expect("an address"),
            token_file: None,
        };
        assert_eq!(config.check().is_ok(), good, "{listen}");
    }
    let open = AdminConfig {
        listen: "0.0.0.0:0".parse().expect("an address"),
        token_file: None,
    };
    let error = AdminServer::start(&open, parts()).await.expect_err("open to all");
    assert!(matches!(error, AdminError::Exposed(_)), "{error}");
    assert!(error.to_string().contains("set admin.token_file"), "{error}");

    let home = tempfile::tempdir().expect("a temporary directory");
    let guarded = AdminConfig {
        token_file: Some(token_file(&home)),
        ..open
    };
    start(&guarded, parts()).await.shutdown().await;
}

#[tokio::test]
async fn with_a_token_every_path_asks_for_it() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let config = AdminConfig {
        token_file: Some(token_file(&home)),
        ..loopback()
    };
    let server = start(&config, parts()).await;
    for path in ["/health", "/ready", "/metrics", "/status", "/truth", "/nothing"] {
        let without = get(&server, path).await;
        assert_eq!((without.status, without.body.as_str()), (401, ""), "{path}");
        assert!(
            without.head.to_lowercase().contains("www-authenticate: bearer"),
            "{}",
            without.head
        );
    }
    for (header, status) in [
        (format!("Authorization: Bearer {TOKEN}\r\n"), 200),
        (format!("Authorization: Bearer {TOKEN}x\r\n"), 401),
        (format!("Authorization: Basic {TOKEN}\r\n"), 401),
        (format!("X-Token: {TOKEN}\r\n"), 401),
    ] {
        assert_eq!(
            ask(&server, "GET", "/status", &header).await.status,
            status,
            "{header}"
        );
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_token_file_that_can_not_be_used_is_named() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let config = AdminConfig {
        token_file: Some(home.path().join("none")),
        ..loopback()
    };
    let message = config.check().expect_err("no such file").to_string();
    assert!(message.contains("none: No such file"), "{message}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = start(&loopback(), parts()).await;
    let config = AdminConfig {
        listen: server.local_addr(),
        token_file: None,
    };
    let message = AdminServer::start(&config, parts())
        .await
        .expect_err("in use")
        .to_string();
    let expected = format!("the admin HTTP can't listen on {}: ", server.local_addr());
    assert!(message.starts_with(&expected), "{message}");
    server.shutdown().await;
}

#[tokio::test]
async fn the_truth_is_not_told_unless_enabled() {
    let server = start(&loopback(), parts()).await;
    assert_eq!(get(&server, "/truth").await.status, 404);
    server.shutdown().await;
}

#[tokio::test]
async fn the_truth_streams_until_the_server_shuts_down() {
    let feed = TruthFeed::new();
    let with_truth = AdminParts {
        truth: Some(feed.clone()),
        ..parts()
    };
    let server = start(&loopback(), with_truth).await;
    // Neither a reader of the trace nor a connection that asks nothing may hold the shutdown up.
    let _silent = connect(&server, "").await;
    let mut reader = connect(&server, "GET /truth HTTP/1.0\r\n\r\n").await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reader.read_u8().await.expect("a head"));
    }
    assert!(
        head.starts_with(b"HTTP/1.0 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    assert_eq!(feed.readers_came(), 1);

    let tick = TruthTick {
        lane: LaneId(1),
        clock: SpaceClock::new(1_700_000_000_000_000, 10.0),
        tick: Tick(5),
        skipped_ticks: 0,
        entities: Vec::new(),
        departing: Vec::new(),
        changes: Vec::new(),
        events: 0,
        is_over: false,
    };
    let mut expected = Vec::new();
    codec::frame_into(&tick, &mut expected);
    feed.publish(&tick);
    let mut first = vec![0; expected.len()];
    reader.read_exact(&mut first).await.expect("a tick");
    assert_eq!(first, expected);

    feed.publish(&tick);
    server.shutdown().await;
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.expect("it ends cleanly");
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn bytes_that_are_no_http_harm_nobody() {
    let server = start(&loopback(), parts()).await;
    for bytes in [
        "\0\x01\x02\r\n\r\n".to_owned(),
        "GET ".to_owned() + &"/x".repeat(500_000),
    ] {
        let mut stream = TcpStream::connect(server.local_addr()).await.expect("listening");
        // The server may close the connection while this is still being written.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(get(&server, "/health").await.status, 200);
    }
    server.shutdown().await;
}
