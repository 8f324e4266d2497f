//! Real QUIC on loopback, against a server just large enough to answer the handshake.

use myriad_client::quic::{ConnectError, Connection, Connector, Fingerprint, ServerTrust, Waited, now_us};
use myriad_client::{ClientConfig, ClientEvent, CrowdEdges};
use myriad_wire::client::{
    ClientMessage, CommandResult, Enter, Joined, LoggedIn, Rules, ServerMessage, ViewUpdate, Welcome,
};
use myriad_wire::codec::{self, Deframer};
use myriad_wire::limits::{ALPN_CLIENT, CLIENT_MESSAGE_BYTES_MAX, VERSION_MAX};
use myriad_wire::payload::{Intents, OwnRecord, PayloadHeader};
use myriad_wire::{
    CloseReason, CommandSeq, EntityId, IntentSeq, KindId, Pos, SessionId, SpaceClock, SpaceId, SubjectRef,
    Tick, WirePos,
};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longer than anything here takes, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(20);
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Server {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    certificate: Vec<u8>,
    pem: String,
}

fn server() -> Server {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, LOCAL).unwrap();
    Server {
        address: endpoint.local_addr().unwrap(),
        certificate: issued.cert.der().to_vec(),
        pem: issued.cert.pem(),
        endpoint,
    }
}

fn joined() -> Joined {
    let corner = |at| Pos { x: at, y: at, z: at };
    Joined {
        space: SpaceId(1),
        clock: SpaceClock::new(now_us(), 10.0),
        avatar: SubjectRef::default(),
        entity: EntityId(7),
        position: Pos::default(),
        intent_seq: IntentSeq(0),
        rules: Rules {
            bounds_min: corner(-10_000),
            bounds_max: corner(10_000),
            speed_max: 5 * 1024,
            burst_ms: 500,
            radius_aoi: 3_200,
            crowd_period: 5,
        },
        kinds: Vec::new(),
    }
}

/// Serves one client: the handshake, a view, an answer to every command and every step; closes on goodbye.
async fn serve_one(endpoint: quinn::Endpoint) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut send, mut receive) = connection.accept_bi().await.unwrap();
    let mut deframer = Deframer::new(CLIENT_MESSAGE_BYTES_MAX);
    loop {
        let mut answers = Vec::new();
        tokio::select! {
            chunk = receive.read_chunk(1024, true) => deframer.handle_bytes(&chunk.unwrap().unwrap().bytes),
            datagram = connection.read_datagram() => {
                let intents = Intents::decode(&datagram.unwrap()).unwrap();
                let x = intents.steps.iter().map(|step| step.dx).sum();
                let header = PayloadHeader {
                    tick: Tick(2),
                    parts: 1,
                    view_seq: 1,
                    own: OwnRecord { intent_seq: intents.newest, position: Pos { x, y: 0, z: 0 }, corrections: 0 },
                    ..PayloadHeader::default()
                };
                let mut payload = Vec::new();
                header.encode(&mut payload);
                connection.send_datagram(payload.into()).unwrap();
            }
        }
        while let Some(message) = deframer.poll_message().unwrap() {
            match codec::decode(&message, CLIENT_MESSAGE_BYTES_MAX).unwrap() {
                ClientMessage::Hello(_) => {
                    answers.push(ServerMessage::Welcome(Welcome {
                        version: VERSION_MAX,
                        features: 0,
                    }));
                }
                ClientMessage::Login(login) => {
                    if login.key != "sesame" {
                        // As a server does whose last messages must arrive: the end of the stream comes first.
                        let reason = CloseReason::LoginRefused;
                        send.finish().unwrap();
                        send.stopped().await.unwrap();
                        connection.close(reason.code().into(), reason.label().as_bytes());
                        return;
                    }
                    let session = SessionId(1);
                    answers.push(ServerMessage::LoggedIn(LoggedIn { session }));
                }
                ClientMessage::Join(_) => {
                    let enter = Enter {
                        subject: SubjectRef::default(),
                        entity: EntityId(7),
                        kind: KindId(0),
                        position: WirePos::default(),
                        properties: Vec::new(),
                    };
                    answers.push(ServerMessage::Joined(Box::new(joined())));
                    answers.push(ServerMessage::View(ViewUpdate {
                        tick: Tick(1),
                        enters: vec![enter],
                        ..ViewUpdate::default()
                    }));
                }
                ClientMessage::Command(command) => {
                    let seq = command.seq;
                    answers.push(ServerMessage::CommandResult(CommandResult { seq, refused: None }));
                }
                ClientMessage::Identify(_) => panic!("nobody is in a crowd here"),
                ClientMessage::Leave => {
                    connection.close(CloseReason::Left.code().into(), b"left");
                    return;
                }
            }
        }
        let mut bytes = Vec::new();
        for answer in &answers {
            codec::frame_into(answer, &mut bytes);
        }
        send.write_all(&bytes).await.unwrap();
    }
}

fn player(key: &str) -> ClientConfig {
    ClientConfig {
        account: "ada".to_owned(),
        key: key.to_owned(),
        space: SpaceId(1),
        agent: "loopback".to_owned(),
        identities_per_s: 40,
        crowd_edges: CrowdEdges::OneByOne,
    }
}

async fn next_event(connection: &mut Connection) -> ClientEvent {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(event) = connection.core().poll_event() {
            return event;
        }
        assert_ne!(connection.wait(deadline).await, Waited::TimeUp, "no event came");
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn a_client_joins_acts_and_leaves_over_quic() {
    run(async {
        let server = server();
        let serving = tokio::spawn(serve_one(server.endpoint.clone()));
        let trust = ServerTrust::Ca(server.pem.into_bytes());
        let connector = Connector::bind(LOCAL, &trust).unwrap();
        let mut client = connector
            .connect(server.address, "localhost", player("sesame"))
            .await
            .unwrap();
        client.join(PATIENCE).await.unwrap();
        assert_eq!(next_event(&mut client).await, ClientEvent::Joined);
        assert!(matches!(next_event(&mut client).await, ClientEvent::Enter { .. }));
        assert_eq!(client.core().step(30, 0), Ok(IntentSeq(1)));
        assert_eq!(client.core().command("wave", Vec::new()), Ok(CommandSeq(1)));
        let result = ClientEvent::CommandResult {
            seq: CommandSeq(1),
            refused: None,
        };
        assert_eq!(next_event(&mut client).await, result);
        let deadline = Instant::now() + PATIENCE;
        while client.core().own_authoritative().unwrap().0 == IntentSeq(0) {
            assert_eq!(client.wait(deadline).await, Waited::Arrived);
        }
        assert_eq!(client.core().own_position(), Some(Pos { x: 30, y: 0, z: 0 }));
        assert_eq!(client.core().counters().corrections, 0);
        client.leave().await;
        serving.await.unwrap();
        connector.wait_idle().await;
    });
}

#[test]
fn whoever_reads_late_misses_nothing_that_has_arrived() {
    /// More than is read at a time.
    const PAYLOADS: u64 = 600;
    run(async {
        let server = server();
        let serving = tokio::spawn(serve_one(server.endpoint.clone()));
        let trust = ServerTrust::Ca(server.pem.into_bytes());
        let connector = Connector::bind(LOCAL, &trust).unwrap();
        let mut client = connector
            .connect(server.address, "localhost", player("sesame"))
            .await
            .unwrap();
        client.join(PATIENCE).await.unwrap();
        for _ in 0..PAYLOADS {
            client.core().step(1, 0).unwrap();
            client.flush();
        }
        // Every step is answered by a payload.
        while client.stats().frame_rx.datagram < PAYLOADS {
            tokio::task::yield_now().await;
        }
        let deadline = Instant::now() + PATIENCE;
        while client.core().counters().datagrams < client.stats().frame_rx.datagram {
            assert_eq!(client.wait(deadline).await, Waited::Arrived);
            while client.core().poll_event().is_some() {}
        }
        client.leave().await;
        serving.await.unwrap();
    });
}

#[test]
fn a_refused_login_tells_its_reason() {
    run(async {
        let server = server();
        let serving = tokio::spawn(serve_one(server.endpoint.clone()));
        let trust = ServerTrust::Fingerprint(Fingerprint::of(&server.certificate));
        let connector = Connector::bind(LOCAL, &trust).unwrap();
        // A pinned certificate need not be for the name.
        let mut client = connector
            .connect(server.address, "elsewhere.example", player("guess"))
            .await
            .unwrap();
        let refused = client.join(PATIENCE).await.unwrap_err();
        assert!(
            matches!(refused, ConnectError::Closed(CloseReason::LoginRefused)),
            "{refused}"
        );
        let told = next_event(&mut client).await;
        assert_eq!(told, ClientEvent::Closed(CloseReason::LoginRefused));
        assert_eq!(client.wait(Instant::now() + PATIENCE).await, Waited::Closed);
        serving.await.unwrap();
    });
}

#[test]
fn a_certificate_that_is_not_the_pinned_one_is_refused_with_both_fingerprints() {
    run(async {
        let server = server();
        let accepting = server.endpoint.clone();
        tokio::spawn(async move {
            let _refused = accepting.accept().await.unwrap().await;
        });
        let pinned = Fingerprint([7; 32]);
        let connector = Connector::bind(LOCAL, &ServerTrust::Fingerprint(pinned)).unwrap();
        let error = connector
            .connect(server.address, "localhost", player("sesame"))
            .await
            .unwrap_err();
        let found = Fingerprint::of(&server.certificate);
        let message = format!("the server's certificate has the fingerprint {found}, but {pinned} is pinned");
        assert_eq!(error.to_string(), message);
    });
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    run(async {
        let (server, other) = (server(), server());
        let accepting = server.endpoint.clone();
        tokio::spawn(async move {
            let _refused = accepting.accept().await.unwrap().await;
        });
        let connector = Connector::bind(LOCAL, &ServerTrust::Ca(other.pem.into_bytes())).unwrap();
        let error = connector
            .connect(server.address, "localhost", player("sesame"))
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{error}");
    });
}

#[test]
fn a_ca_file_without_certificates_is_a_clear_error() {
    run(async {
        let error = Connector::bind(LOCAL, &ServerTrust::Ca(b"not PEM".to_vec())).unwrap_err();
        let message = "the CA certificates cannot be used: there is no certificate in the PEM";
        assert_eq!(error.to_string(), message);
    });
}

#[test]
fn fingerprints_are_written_and_read_alike() {
    let fingerprint = Fingerprint::of(b"certificate");
    assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    let colons: Vec<String> = fingerprint.0.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(colons.join(":").parse(), Ok(fingerprint));
    for wrong in ["", "00", "xy", &"0".repeat(63), &"0".repeat(65)] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
}
