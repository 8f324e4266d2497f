//! Two drivers over loopback, turned by one thread.

use crate::quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use crate::quic::{
    ClientConfig, ConnectionError, Dir, EndpointConfig, ServerConfig, StreamId, TransportConfig, VarInt,
};
use crate::{
    ConnectionKey, Cubic, Driver, DriverConfig, Event, Read, SendQueue, ShardId, ShardKey, SocketId,
};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Far beyond what any step needs; only a test that hangs gets there.
const PATIENCE: Duration = Duration::from_secs(30);
const ALPN: &[u8] = b"test";

struct Tls {
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

fn tls() -> Tls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = [&rustls::version::TLS13];
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![ALPN.to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![ALPN.to_vec()];
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(1200)
        .mtu_discovery_config(None)
        .congestion_controller_factory(Arc::new(Cubic::default()));
    let transport = Arc::new(transport);
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
    server.transport_config(transport.clone());
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
    client.transport_config(transport);
    Tls {
        server: Arc::new(server),
        client,
    }
}

fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A driver with the events that came of it so far.
struct Side {
    driver: Driver,
    events: Vec<(ConnectionKey, Event)>,
}

impl Side {
    fn new(config: DriverConfig) -> Self {
        let mut driver = Driver::new(config).unwrap();
        driver.add_socket(socket()).unwrap();
        Self {
            driver,
            events: Vec::new(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.driver.local_addr(SocketId(0)).unwrap()
    }

    fn turn(&mut self) {
        let soon = Instant::now() + Duration::from_millis(1);
        self.driver.turn(Some(soon)).unwrap();
        while let Some(event) = self.driver.poll_event() {
            self.events.push(event);
        }
    }

    fn take_event(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<ConnectionKey> {
        let at = self.events.iter().position(|(_, event)| wanted(event))?;
        Some(self.events.remove(at).0)
    }
}

struct Pair {
    server: Side,
    client: Side,
    tls: Tls,
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(configure: impl FnOnce(&mut DriverConfig)) -> Self {
        let tls = tls();
        let mut config = DriverConfig {
            server: Some(tls.server.clone()),
            ..DriverConfig::default()
        };
        configure(&mut config);
        Self {
            server: Side::new(config),
            client: Side::new(DriverConfig::default()),
            tls,
        }
    }

    /// Turns both until `done` answers.
    fn until<T>(&mut self, mut done: impl FnMut(&mut Side, &mut Side) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.client.turn();
            self.server.turn();
            if let Some(answer) = done(&mut self.server, &mut self.client) {
                return answer;
            }
            assert!(Instant::now() < deadline, "a step took far too long");
        }
    }

    fn dial(&mut self) -> ConnectionKey {
        let address = self.server.address();
        let config = self.tls.client.clone();
        self.client
            .driver
            .connect(SocketId(0), config, address, "localhost")
            .unwrap()
    }

    /// Both sides' keys of a new connection.
    fn connect(&mut self) -> (ConnectionKey, ConnectionKey) {
        let dialled = self.dial();
        let connected = |event: &Event| *event == Event::Connected;
        let mut theirs = None;
        let mut ours = None;
        let theirs = self.until(|server, client| {
            theirs = theirs.or_else(|| server.take_event(connected));
            ours = ours.or_else(|| client.take_event(connected));
            ours.and(theirs)
        });
        (theirs, dialled)
    }
}

fn read_all(side: &mut Side, key: ConnectionKey, stream: StreamId, into: &mut Vec<u8>) -> bool {
    let Some(mut connection) = side.driver.connection(key) else {
        return true;
    };
    loop {
        match connection.read(stream, 64 * 1024) {
            Read::Chunk(bytes) => into.extend_from_slice(&bytes),
            Read::Blocked => return false,
            Read::Finished | Read::Reset => return true,
        }
    }
}

#[test]
fn datagrams_and_streams_go_both_ways() {
    let mut pair = Pair::new();
    let (theirs, ours) = pair.connect();
    let hello = Bytes::from_static(b"hello");
    let mut connection = pair.client.driver.connection(ours).unwrap();
    assert!(!connection.send_datagram(hello.clone()).unwrap());
    let stream = connection.open(Dir::Bi).unwrap();
    let mut queue = SendQueue::default();
    queue.push(Bytes::from_static(b"ping"));
    assert_eq!(queue.write(&mut connection, stream).unwrap(), 4);
    connection.finish(stream).unwrap();

    let key = pair.until(|server, _| server.take_event(|event| *event == Event::Datagrams));
    assert_eq!(key, theirs);
    let mut connection = pair.server.driver.connection(theirs).unwrap();
    assert_eq!(connection.receive_datagram(), Some(hello));
    assert_eq!(connection.receive_datagram(), None);
    pair.until(|server, _| server.take_event(|event| *event == Event::Opened(Dir::Bi)));
    let mut connection = pair.server.driver.connection(theirs).unwrap();
    assert_eq!(connection.accept(Dir::Bi), Some(stream));
    let mut read = Vec::new();
    pair.until(|server, _| read_all(server, theirs, stream, &mut read).then_some(()));
    assert_eq!(read, b"ping");

    // More than any window: goes on as it is read.
    let large: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
    queue.push(large.clone().into());
    let mut read = Vec::new();
    pair.until(|server, client| {
        let mut connection = server.driver.connection(theirs).unwrap();
        queue.write(&mut connection, stream).unwrap();
        read_all(client, ours, stream, &mut read);
        (read.len() == large.len()).then_some(())
    });
    assert_eq!(read, large);
    let counters = pair.server.driver.counters();
    assert!(counters.send_calls <= counters.packets_sent);
    assert_eq!(counters.sends_failed, 0);
}

/// The server closes the connection, and the client is told with code and reason.
fn expect_close_arrives(pair: &mut Pair, (theirs, ours): (ConnectionKey, ConnectionKey)) {
    let mut connection = pair.server.driver.connection(theirs).unwrap();
    connection.close(VarInt::from_u32(7), Bytes::from_static(b"enough"));
    assert!(pair.server.driver.connection(theirs).is_none());
    let lost = pair.until(|_, client| {
        client.events.iter().find_map(|(key, event)| match event {
            Event::Lost(error) => Some((*key, error.clone())),
            _ => None,
        })
    });
    let (key, ConnectionError::ApplicationClosed(closed)) = lost else {
        panic!("lost otherwise: {lost:?}");
    };
    assert_eq!(key, ours);
    assert_eq!(
        (closed.error_code.into_inner(), closed.reason.as_ref()),
        (7, &b"enough"[..])
    );
}

#[test]
fn a_close_reaches_the_other_side_with_code_and_reason() {
    let mut pair = Pair::new();
    let keys = pair.connect();
    expect_close_arrives(&mut pair, keys);
    pair.until(|server, client| (server.driver.is_idle() && client.driver.is_idle()).then_some(()));
    assert_eq!(pair.server.driver.open_connections(), 0);
    assert!(pair.server.events.is_empty(), "its own close is not news to it");
}

#[test]
fn a_close_goes_out_though_the_window_is_full() {
    let mut pair = Pair::new();
    let (theirs, ours) = pair.connect();
    let mut connection = pair.server.driver.connection(theirs).unwrap();
    let stream = connection.open(Dir::Bi).unwrap();
    let window = connection.stats().path.cwnd;
    let sent_before = connection.stats().udp_tx.bytes;
    let mut queue = SendQueue::default();
    queue.push(vec![7; 4 * window as usize].into());
    queue.write(&mut connection, stream).unwrap();
    // Nothing is acknowledged, for the client has no turn.
    let deadline = Instant::now() + PATIENCE;
    loop {
        pair.server.turn();
        let stats = pair.server.driver.connection(theirs).unwrap().stats();
        if stats.udp_tx.bytes - sent_before + 2 * u64::from(stats.path.current_mtu) > window {
            break;
        }
        assert!(Instant::now() < deadline, "the window does not fill");
    }
    expect_close_arrives(&mut pair, (theirs, ours));
}

#[test]
fn an_alarm_comes_once_and_not_early() {
    let mut pair = Pair::new();
    let (theirs, _) = pair.connect();
    let at = Instant::now() + Duration::from_millis(30);
    let mut connection = pair.server.driver.connection(theirs).unwrap();
    connection.set_alarm(Some(at + PATIENCE));
    connection.set_alarm(Some(at));
    let key = pair.until(|server, _| server.take_event(|event| *event == Event::Alarm));
    assert_eq!(key, theirs);
    assert!(Instant::now() >= at);
}

#[test]
fn a_new_socket_keeps_its_connections() {
    let mut pair = Pair::new();
    let (theirs, ours) = pair.connect();
    let before = pair.server.driver.connection(theirs).unwrap().remote_address();
    pair.client.driver.rebind(SocketId(0), socket()).unwrap();
    let after = pair.client.address();
    assert_ne!(before, after);
    pair.until(|server, _| {
        let connection = server.driver.connection(theirs)?;
        (connection.remote_address() == after).then_some(())
    });
    let mut connection = pair.client.driver.connection(ours).unwrap();
    connection.send_datagram(Bytes::from_static(b"moved")).unwrap();
    pair.until(|server, _| server.take_event(|event| *event == Event::Datagrams));
}

#[test]
fn nobody_at_the_address_is_a_lost_connection_when_the_time_is_up() {
    let mut client = Side::new(DriverConfig {
        handshake_timeout: Duration::from_millis(50),
        ..DriverConfig::default()
    });
    let silent = socket();
    let key = client
        .driver
        .connect(
            SocketId(0),
            tls().client,
            silent.local_addr().unwrap(),
            "localhost",
        )
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while client.events.is_empty() && Instant::now() < deadline {
        client.turn();
    }
    assert_eq!(client.events, [(key, Event::Lost(ConnectionError::TimedOut))]);
}

#[test]
fn a_rush_is_asked_for_proof_and_a_greater_one_ignored() {
    let mut pair = Pair::with(|config| config.handshakes_retry_from = 0);
    pair.connect();
    assert_eq!(pair.server.driver.counters().handshakes_retried, 1);

    let mut pair = Pair::with(|config| config.handshakes_max = 0);
    pair.dial();
    pair.until(|server, _| (server.driver.counters().handshakes_ignored > 0).then_some(()));
    assert_eq!(pair.server.driver.open_connections(), 0);
}

#[test]
fn a_rush_is_let_in_a_few_at_a_time() {
    let mut pair = Pair::new();
    for _ in 0..10 {
        pair.dial();
    }
    pair.client.turn();
    for open in [4, 8, 10, 10] {
        pair.server.turn();
        assert_eq!(pair.server.driver.open_connections(), open);
    }
    let mut connected = 0;
    pair.until(|_, client| {
        while client.take_event(|event| *event == Event::Connected).is_some() {
            connected += 1;
        }
        (connected == 10).then_some(())
    });

    // Who waits at a closing door gets no answer.
    let mut pair = Pair::new();
    for _ in 0..10 {
        pair.dial();
    }
    pair.client.turn();
    pair.server.turn();
    pair.server.driver.stop_accepting();
    pair.server.turn();
    assert_eq!(pair.server.driver.open_connections(), 4);
}

#[test]
fn a_packet_finds_its_shard_wherever_it_arrives() {
    let key = ShardKey::new();
    let endpoint = EndpointConfig::default();
    let mut pair = Pair::with(|config| {
        config.shard = Some((ShardId(0), key.clone()));
        config.endpoint = endpoint.clone();
    });
    let mut other = Side::new(DriverConfig {
        server: Some(pair.tls.server.clone()),
        shard: Some((ShardId(1), key)),
        endpoint,
        ..DriverConfig::default()
    });
    let (theirs, ours) = pair.connect();
    // The second shard takes the first's address over; what it receives is for the first.
    let address = pair.server.address();
    pair.server.driver.rebind(SocketId(0), socket()).unwrap();
    other
        .driver
        .rebind(SocketId(0), UdpSocket::bind(address).unwrap())
        .unwrap();
    let mut connection = pair.client.driver.connection(ours).unwrap();
    connection.send_datagram(Bytes::from_static(b"detour")).unwrap();
    let key = pair.until(|server, _| {
        other.turn();
        while let Some((shard, packet)) = other.driver.poll_foreign() {
            assert_eq!(shard, ShardId(0));
            server.driver.handle_packet(packet);
        }
        server.take_event(|event| *event == Event::Datagrams)
    });
    assert_eq!(key, theirs);
    assert!(pair.server.driver.counters().packets_adopted > 0);
    assert_eq!(other.driver.open_connections(), 0);
}

#[test]
fn a_waker_ends_the_wait() {
    let mut driver = Driver::new(DriverConfig::default()).unwrap();
    let waker = driver.waker();
    let thread = std::thread::spawn(move || waker.wake());
    driver.turn(Some(Instant::now() + PATIENCE)).unwrap();
    thread.join().unwrap();
}
