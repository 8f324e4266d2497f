//! Real QUIC clients over loopback, with a test in the gateway's place.

mod shards;

use crate::tls::ServerTls;
use crate::{Arrivals, Edge, EdgeConfig, EdgeEvent};
use bytes::Bytes;
use myriad_gateway::{ClientInput, ClientOutput, ConnId};
use myriad_wire::CloseReason;
use myriad_wire::codec::LENGTH_BYTES;
use myriad_wire::limits::{ALPN_CLIENT, CLIENT_MESSAGE_BYTES_MAX, DATAGRAM_BYTES_MAX};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::RootCertStore;
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Far beyond what any step needs; only a test that hangs gets there.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often something is looked for that another thread does.
const PAUSE: Duration = Duration::from_millis(1);

struct Server {
    edge: Edge,
    taken: Mutex<Taken>,
    client_config: quinn::ClientConfig,
}

/// What was taken from the edge.
#[derive(Default)]
struct Taken {
    arrivals: Arrivals,
    /// Those that no test has seen yet.
    events: VecDeque<EdgeEvent>,
    /// The backlogs as they were last told.
    backlogs: HashMap<ConnId, usize>,
}

impl Server {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(configure: impl FnOnce(&mut EdgeConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tls = ServerTls::load_or_create(directory.path(), &[]).unwrap();
        let mut config = EdgeConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        configure(&mut config);
        Self {
            edge: Edge::start(config, &tls).unwrap(),
            taken: Mutex::default(),
            client_config: client_config(&tls),
        }
    }

    /// Takes what the edge has.
    fn take(&self) -> std::sync::MutexGuard<'_, Taken> {
        let mut guard = self.taken.lock().unwrap();
        let taken = &mut *guard;
        self.edge.take_arrivals(&mut taken.arrivals);
        taken.events.extend(taken.arrivals.events.drain(..));
        taken.backlogs.extend(taken.arrivals.backlogs.drain(..));
        guard
    }

    fn backlog(&self, conn: ConnId) -> usize {
        self.take().backlogs.get(&conn).copied().unwrap_or(0)
    }

    fn address(&self) -> SocketAddr {
        self.edge.local_addr()
    }

    async fn dial(&self) -> Connection {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let connecting = endpoint.connect_with(self.client_config.clone(), self.address(), "localhost");
        patiently(connecting.unwrap()).await.unwrap()
    }

    /// A client whose connection the gateway has been told of.
    async fn connect(&self) -> Client {
        let connection = self.dial().await;
        let event = self.event().await;
        assert_eq!(event.input, ClientInput::Connected);
        Client {
            connection,
            conn: event.conn,
        }
    }

    async fn event(&self) -> EdgeEvent {
        patiently(async {
            loop {
                let event = self.take().events.pop_front();
                match event {
                    Some(event) => break event,
                    None => sleep(PAUSE).await,
                }
            }
        })
        .await
    }

    /// The next event is this one.
    async fn expect(&self, conn: ConnId, input: ClientInput) {
        assert_eq!(self.event().await, EdgeEvent { conn, input });
    }

    fn send(&self, conn: ConnId, message: &[u8]) {
        self.put_out(ClientOutput::Message(conn, framed(message).into()));
    }

    fn put_out(&self, output: ClientOutput) {
        self.edge.send_all(&mut vec![output]);
    }
}

struct Client {
    connection: Connection,
    conn: ConnId,
}

impl Client {
    /// Opens the stream with a first message that the gateway has been told of.
    async fn open(&self, server: &Server) -> (SendStream, RecvStream) {
        let (mut send, recv) = self.connection.open_bi().await.unwrap();
        send.write_all(&framed(b"hello")).await.unwrap();
        server
            .expect(self.conn, ClientInput::Message(Bytes::from_static(b"hello")))
            .await;
        (send, recv)
    }

    /// The code and text with which the server closes this connection.
    async fn closed(&self) -> (u64, String) {
        match patiently(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(closed) => (
                closed.error_code.into_inner(),
                String::from_utf8(closed.reason.to_vec()).unwrap(),
            ),
            other => panic!("closed otherwise: {other}"),
        }
    }

    /// Client and gateway are told `reason`, and it is counted.
    async fn expect_closed(&self, server: &Server, reason: CloseReason) {
        assert_eq!(self.closed().await, told(reason));
        server.expect(self.conn, ClientInput::Closed(reason)).await;
        assert_eq!(server.edge.counters().closed(reason).get(), 1);
    }
}

fn told(reason: CloseReason) -> (u64, String) {
    (u64::from(reason.code()), reason.label().to_owned())
}

/// Trusts the server's own certificate as its authority.
fn client_config(tls: &ServerTls) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(tls.chain()[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut crypto = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    crypto.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    let mut transport = TransportConfig::default();
    // Little room for what the client does not read.
    transport.stream_receive_window(VarInt::from_u32(32 * 1024));
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(crypto).unwrap()));
    config.transport_config(Arc::new(transport));
    config
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&length.to_le_bytes(), message].concat()
}

async fn read_message(recv: &mut RecvStream) -> Vec<u8> {
    let mut length = [0; LENGTH_BYTES];
    patiently(recv.read_exact(&mut length)).await.unwrap();
    let mut message = vec![0; u32::from_le_bytes(length) as usize];
    patiently(recv.read_exact(&mut message)).await.unwrap();
    message
}

async fn patiently<T>(future: impl IntoFuture<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("a step took far too long")
}

/// Waits until `condition` holds, which another task will make it do.
async fn eventually(condition: impl Fn() -> bool) {
    patiently(async {
        while !condition() {
            sleep(PAUSE).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_datagrams_go_both_ways() {
    let server = Server::start();
    let client = server.connect().await;
    // Before the client has opened its stream: waits for it.
    server.send(client.conn, b"welcome");
    eventually(|| server.backlog(client.conn) == 11).await;
    assert_eq!(server.edge.backlog_total(), 11);
    let (mut send, mut recv) = client.open(&server).await;
    assert_eq!(read_message(&mut recv).await, b"welcome");
    eventually(|| server.backlog(client.conn) == 0).await;
    assert_eq!(server.edge.backlog_total(), 0);

    let largest = vec![7; CLIENT_MESSAGE_BYTES_MAX];
    send.write_all(&framed(&largest)).await.unwrap();
    server
        .expect(client.conn, ClientInput::Message(largest.into()))
        .await;

    let datagram = Bytes::from(vec![1; DATAGRAM_BYTES_MAX]);
    client.connection.send_datagram(datagram.clone()).unwrap();
    server
        .expect(client.conn, ClientInput::Datagram(datagram.clone()))
        .await;
    server.put_out(ClientOutput::Datagram(client.conn, datagram.clone()));
    assert_eq!(
        patiently(client.connection.read_datagram()).await.unwrap(),
        datagram
    );

    let counters = server.edge.counters();
    assert_eq!(counters.accepted.get(), 1);
    assert_eq!(
        (counters.messages_sent.get(), counters.messages_received.get()),
        (1, 2)
    );
    assert!(counters.packets_received.get() > 0 && counters.packets_sent.get() > 0);
    assert_eq!(
        (counters.datagrams_sent.get(), counters.datagrams_received.get()),
        (1, 1)
    );
    assert_eq!(counters.datagrams_dropped.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stream_closes_the_connection() {
    let server = Server::start();
    let client = server.connect().await;
    let _first = client.open(&server).await;
    let (mut second, _recv) = client.connection.open_bi().await.unwrap();
    second.write_all(b"x").await.unwrap();
    client.expect_closed(&server, CloseReason::Stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unidirectional_stream_closes_the_connection() {
    let server = Server::start();
    let client = server.connect().await;
    let mut stream = client.connection.open_uni().await.unwrap();
    stream.write_all(b"x").await.unwrap();
    client.expect_closed(&server, CloseReason::Stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_its_stream_off_is_closed() {
    let server = Server::start();
    let client = server.connect().await;
    let (mut send, _recv) = client.open(&server).await;
    send.reset(VarInt::from_u32(1)).unwrap();
    client.expect_closed(&server, CloseReason::Stream).await;

    let server = Server::start();
    let client = server.connect().await;
    let (_send, mut recv) = client.open(&server).await;
    recv.stop(VarInt::from_u32(1)).unwrap();
    client.expect_closed(&server, CloseReason::Stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_message_or_datagram_closes_the_connection() {
    let server = Server::start();
    let client = server.connect().await;
    let (mut send, _recv) = client.open(&server).await;
    let length = u32::try_from(CLIENT_MESSAGE_BYTES_MAX + 1).unwrap();
    send.write_all(&length.to_le_bytes()).await.unwrap();
    client.expect_closed(&server, CloseReason::Oversized).await;

    let server = Server::start();
    let client = server.connect().await;
    let datagram = Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1]);
    client.connection.send_datagram(datagram).unwrap();
    client.expect_closed(&server, CloseReason::Oversized).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_stream_is_a_goodbye_unless_a_message_is_cut_off() {
    let server = Server::start();
    let client = server.connect().await;
    let (mut send, _recv) = client.open(&server).await;
    send.finish().unwrap();
    client.expect_closed(&server, CloseReason::Left).await;

    let client = server.connect().await;
    let (mut send, _recv) = client.open(&server).await;
    send.write_all(&framed(b"cut off")[..6]).await.unwrap();
    send.finish().unwrap();
    client.expect_closed(&server, CloseReason::Malformed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_can_say_that_it_leaves_and_nothing_else() {
    let server = Server::start();
    for (code, reason) in [
        (CloseReason::Left.code(), CloseReason::Left),
        (CloseReason::Replaced.code(), CloseReason::Lost),
        (1_000_000, CloseReason::Lost),
    ] {
        let client = server.connect().await;
        client.connection.close(VarInt::from_u32(code), b"");
        server.expect(client.conn, ClientInput::Closed(reason)).await;
    }
    eventually(|| server.edge.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_times_out() {
    let server = Server::start_with(|config| {
        config.idle_timeout = Duration::from_millis(200);
    });
    let client = server.connect().await;
    server
        .expect(client.conn, ClientInput::Closed(CloseReason::TimedOut))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_harm_nobody_else() {
    let server = Server::start();
    let honest = server.connect().await;
    // A generator of nonsense, the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = |bytes: usize| -> Vec<u8> {
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    };
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for length in [0, 1, 20, 1200, 1400, 9000] {
        stranger.send_to(&noise(length), server.address()).unwrap();
    }
    let client = server.connect().await;
    // As datagrams they are the gateway's to judge.
    let datagram = Bytes::from(noise(100));
    client.connection.send_datagram(datagram.clone()).unwrap();
    server.expect(client.conn, ClientInput::Datagram(datagram)).await;
    let (mut send, _recv) = client.open(&server).await;
    send.write_all(&noise(100)).await.unwrap();
    client.expect_closed(&server, CloseReason::Oversized).await;

    let _stream = honest.open(&server).await;
    assert_eq!(server.edge.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_fills_its_own_backlog_only() {
    const BACKLOG_BYTES_MAX: u32 = 1024 * 1024;
    let server = Server::start_with(|config| {
        config.backlog_bytes_max = BACKLOG_BYTES_MAX;
    });
    let slow = server.connect().await;
    let _slow_stream = slow.open(&server).await;
    let reader = server.connect().await;
    let (_send, mut recv) = reader.open(&server).await;

    let refused = || server.edge.counters().messages_refused.get();
    let message = vec![5; 16 * 1024];
    let mut highest = 0;
    while refused() == 0 {
        server.send(slow.conn, &message);
        highest = highest.max(server.backlog(slow.conn));
        assert!(highest <= BACKLOG_BYTES_MAX as usize);
        server.send(reader.conn, &message);
        assert_eq!(read_message(&mut recv).await, message);
        eventually(|| server.backlog(reader.conn) == 0).await;
    }
    // A change of less than an eighth is not told.
    assert!(
        highest > BACKLOG_BYTES_MAX as usize * 7 / 8 - 2 * message.len(),
        "{highest}"
    );
    // A stream with a hole is of no use.
    slow.expect_closed(&server, CloseReason::Flood).await;
    server.send(reader.conn, b"still here");
    assert_eq!(read_message(&mut recv).await, b"still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_asked_for_fewer_acknowledgements() {
    let server = Server::start();
    let client = server.connect().await;
    eventually(|| client.connection.stats().frame_rx.ack_frequency > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_that_wait_too_long_give_way_to_newer_ones() {
    let server = Server::start();
    let client = server.connect().await;
    let dropped = || server.edge.counters().datagrams_dropped.get();
    let mut number = 0u64;
    while dropped() == 0 {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        server.put_out(ClientOutput::Datagram(client.conn, bytes.into()));
        number += 1;
    }
    let newest = number - 1;
    loop {
        let datagram = patiently(client.connection.read_datagram()).await.unwrap();
        if datagram[..8] == newest.to_le_bytes() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_gateways_inbox_is_full_datagrams_are_dropped_and_messages_wait() {
    let server = Server::start_with(|config| config.events_max = 2);
    let (client, other) = (server.connect().await, server.connect().await);
    let (mut send, _recv) = client.open(&server).await;
    for number in 0..10u8 {
        send.write_all(&framed(&[number])).await.unwrap();
    }
    eventually(|| server.edge.arrivals_waiting() == 2).await;
    other.connection.send_datagram(Bytes::from_static(b"x")).unwrap();
    eventually(|| server.edge.counters().events_dropped.get() == 1).await;
    for number in 0..10u8 {
        let message = Bytes::copy_from_slice(&[number]);
        server.expect(client.conn, ClientInput::Message(message)).await;
    }
    other.connection.send_datagram(Bytes::from_static(b"y")).unwrap();
    server
        .expect(other.conn, ClientInput::Datagram(Bytes::from_static(b"y")))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cannot_fill_the_inbox_with_datagrams() {
    let server = Server::start_with(|config| config.datagrams_per_s_max = 5);
    let client = server.connect().await;
    eventually(|| {
        client.connection.send_datagram(Bytes::from_static(b"x")).unwrap();
        server.edge.counters().datagrams_excess.get() >= 5
    })
    .await;
    assert!(server.edge.arrivals_waiting() < 200);
    assert_eq!(server.edge.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_too_many_is_told_that_the_server_is_full() {
    let server = Server::start_with(|config| config.connections_max = 1);
    let first = server.connect().await;
    let second = Client {
        connection: server.dial().await,
        conn: ConnId(0),
    };
    assert_eq!(second.closed().await, told(CloseReason::Full));
    assert_eq!(server.edge.counters().refused_full.get(), 1);

    first.connection.close(VarInt::from_u32(0), b"");
    server
        .expect(first.conn, ClientInput::Closed(CloseReason::Left))
        .await;
    eventually(|| server.edge.connections() == 0).await;
    let third = server.connect().await;
    assert_ne!(third.conn, first.conn);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_rush_of_handshakes_a_client_proves_its_address_first() {
    let server = Server::start_with(|config| config.handshakes_retry_from = 0);
    server.connect().await;
    assert_eq!(server.edge.counters().handshakes_retried.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_never_finished_makes_room_again() {
    let server = Server::start_with(|config| {
        config.handshake_timeout = Duration::from_millis(200);
        config.handshakes_max = 1;
    });
    // Passes on what the client sends first and nothing of what the server answers.
    let relay = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = relay.local_addr().unwrap();
    let _connecting = endpoint
        .connect_with(server.client_config.clone(), address, "localhost")
        .unwrap();
    let mut packet = vec![0; 2048];
    let length = patiently(relay.recv(&mut packet)).await.unwrap();
    relay.send_to(&packet[..length], server.address()).await.unwrap();
    // Gets no answer while the only place is taken, and is served when it is free again.
    server.connect().await;
    assert_eq!(server.edge.counters().handshakes_failed.get(), 1);
    assert!(server.edge.counters().handshakes_ignored.get() >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_speaks_another_protocol_is_refused() {
    let server = Server::start();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let crypto = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(crypto).unwrap()));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = endpoint
        .connect_with(config, server.address(), "localhost")
        .unwrap();
    assert!(patiently(connecting).await.is_err());
    eventually(|| server.edge.counters().handshakes_failed.get() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_close_arrives_before_it() {
    let server = Server::start();
    let client = server.connect().await;
    let (_send, mut recv) = client.open(&server).await;
    for _ in 0..20 {
        server.send(client.conn, &[9; 10_000]);
    }
    server.put_out(ClientOutput::Close(client.conn, CloseReason::Removed));
    // Too late, and of no harm.
    server.send(client.conn, b"x");
    for _ in 0..20 {
        assert_eq!(read_message(&mut recv).await.len(), 10_000);
    }
    client.expect_closed(&server, CloseReason::Removed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_everything_tells_every_client_why() {
    let server = Server::start();
    let clients = [server.connect().await, server.connect().await];
    let edge = server.edge.clone();
    let closed = tokio::task::spawn_blocking(move || edge.close_all(CloseReason::Shutdown));
    patiently(closed).await.unwrap();
    assert!(!server.edge.has_failed());
    for client in &clients {
        assert_eq!(client.closed().await, told(CloseReason::Shutdown));
    }
    for _ in &clients {
        assert_eq!(
            server.event().await.input,
            ClientInput::Closed(CloseReason::Shutdown)
        );
    }
    assert_eq!(server.edge.connections(), 0);
}
