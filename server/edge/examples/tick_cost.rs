//! What a tick costs per client, on the edge's side and on the clients': N clients on one thread, an edge of one
//! shard on another, over loopback. Each tick every client gets a datagram and a message, and answers with a
//! datagram, as a player's input does.
//!
//! `cargo run --release -p myriad-edge --example tick_cost -- 1000 10` (clients, seconds; then, if they
//! are to be others, the bytes of the datagram and of the message, 0 for none).

use bytes::Bytes;
use myriad_edge::tls::ServerTls;
use myriad_edge::{Arrivals, Edge, EdgeConfig};
use myriad_gateway::{ClientInput, ClientOutput};
use myriad_transport::quic::crypto::rustls::QuicClientConfig;
use myriad_transport::quic::{ClientConfig, Dir, StreamId, TransportConfig, VarInt};
use myriad_transport::{ConnectionKey, Driver, DriverConfig, Event, Read, SocketId, bind_udp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(200);
const DATAGRAM_BYTES: u64 = 600;
/// With its length.
const MESSAGE_BYTES: u64 = 2400;
const INPUT_BYTES: usize = 40;
/// Sockets of the clients.
const SOCKETS: usize = 16;
/// Handshakes that the clients have under way at once.
const HANDSHAKES: usize = 64;
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What the clients got.
#[derive(Default)]
struct Got {
    datagrams: AtomicU64,
    stream_bytes: AtomicU64,
    sends: AtomicU64,
    packets: AtomicU64,
    stop: AtomicBool,
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let mut argument = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (clients, seconds) = (argument(1000) as usize, argument(10));
    let (datagram_bytes, message_bytes) = (argument(DATAGRAM_BYTES), argument(MESSAGE_BYTES));
    let directory = tempfile::tempdir().expect("a folder");
    let tls = ServerTls::load_or_create(directory.path(), &[]).expect("a certificate");
    let edge = Edge::start(EdgeConfig::new((Ipv4Addr::LOCALHOST, 0).into()), &tls).expect("an edge");
    let pem = std::fs::read(directory.path().join("cert.pem")).expect("just made");
    let config = client_config(CertificateDer::from_pem_slice(&pem).expect("just made"));

    let got = Arc::new(Got::default());
    let (address, noted) = (edge.local_addr(), got.clone());
    let bots = std::thread::Builder::new()
        .name("bots".into())
        .spawn(move || Bots::new(address, config, clients, &noted).run())
        .expect("a thread");

    let mut arrivals = Arrivals::default();
    let mut conns = Vec::new();
    let mut inputs = 0u64;
    let began = Instant::now();
    while conns.len() < clients {
        edge.take_arrivals(&mut arrivals);
        for event in arrivals.events.drain(..) {
            // The first message says that the stream is open.
            if let ClientInput::Message(_) = event.input {
                conns.push(event.conn);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{clients} clients in {:.1} s", began.elapsed().as_secs_f64());

    let datagram = Bytes::from(vec![1; datagram_bytes as usize]);
    let length = u32::try_from(message_bytes.saturating_sub(4)).expect("a small one");
    let message = Bytes::from([length.to_le_bytes().to_vec(), vec![2; length as usize]].concat());
    let ticks = seconds * 1000 / PERIOD.as_millis() as u64;
    let mut outputs = Vec::new();
    let (mut edge_before, mut bots_before) = (0, 0);
    let counters = edge.counters();
    let counts = || {
        [
            &counters.packets_sent,
            &counters.send_calls,
            &counters.packets_received,
            &counters.receive_calls,
        ]
        .map(myriad_edge::Counter::get)
    };
    let mut before = counts();
    let mut next = Instant::now();
    // The first ticks warm up.
    const WARM: u64 = 5;
    for tick in 0..ticks + WARM {
        if tick == WARM {
            (edge_before, bots_before) = (cpu_ns("edge-0"), cpu_ns("bots"));
            before = counts();
            inputs = 0;
        }
        for conn in &conns {
            outputs.push(ClientOutput::Datagram(*conn, datagram.clone()));
            if message_bytes > 0 {
                outputs.push(ClientOutput::Message(*conn, message.clone()));
            }
        }
        edge.send_all(&mut outputs);
        next += PERIOD;
        while let Some(rest) = next.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest.min(Duration::from_millis(25)));
            edge.take_arrivals(&mut arrivals);
            inputs += arrivals.events.len() as u64;
        }
    }
    let per = |ns: u64| ns as f64 / 1000.0 / (ticks * clients as u64) as f64;
    let (edge_us, bots_us) = (
        per(cpu_ns("edge-0") - edge_before),
        per(cpu_ns("bots") - bots_before),
    );
    let share = |us: f64| us * clients as f64 * 1e-4 / PERIOD.as_secs_f64();
    println!(
        "edge {edge_us:.1} us per client and tick ({:.1} % of a core), clients {bots_us:.1} us ({:.1} %)",
        share(edge_us),
        share(bots_us)
    );
    let each = |at: usize| (counts()[at] - before[at]) as f64 / (ticks * clients as u64) as f64;
    println!(
        "per client and tick: {:.2} packets sent in {:.2} calls, {:.2} received in {:.3} calls, {:.2} inputs",
        each(0),
        each(1),
        each(2),
        each(3),
        inputs as f64 / (ticks * clients as u64) as f64
    );
    let all = (ticks + WARM) * clients as u64;
    println!(
        "clients got {:.2} % of datagrams, {:.2} % of stream bytes; blocked {}, failed {}, dropped {}",
        got.datagrams.load(Ordering::Relaxed) as f64 * 100.0 / all as f64,
        got.stream_bytes.load(Ordering::Relaxed) as f64 * 100.0 / (all * message_bytes).max(1) as f64,
        counters.sends_blocked.get(),
        counters.sends_failed.get(),
        counters.datagrams_dropped.get(),
    );
    got.stop.store(true, Ordering::Relaxed);
    bots.join().expect("the clients' thread");
    println!(
        "clients sent {} packets in {} calls",
        got.packets.load(Ordering::Relaxed),
        got.sends.load(Ordering::Relaxed)
    );
}

/// All clients, on one thread.
struct Bots<'a> {
    driver: Driver,
    address: SocketAddr,
    config: ClientConfig,
    clients: usize,
    dialled: usize,
    handshakes: usize,
    /// By the key's index.
    streams: Vec<Option<StreamId>>,
    got: &'a Got,
}

impl<'a> Bots<'a> {
    fn new(address: SocketAddr, config: ClientConfig, clients: usize, got: &'a Got) -> Self {
        let mut driver = Driver::new(DriverConfig::default()).expect("a driver");
        for _ in 0..SOCKETS {
            let local = (Ipv4Addr::LOCALHOST, 0).into();
            let socket = bind_udp(local, SOCKET_BUFFER_BYTES, false).expect("a socket");
            driver.add_socket(socket).expect("a driver's socket");
        }
        Self {
            driver,
            address,
            config,
            clients,
            dialled: 0,
            handshakes: 0,
            streams: Vec::new(),
            got,
        }
    }

    fn run(mut self) {
        while !self.got.stop.load(Ordering::Relaxed) {
            while self.dialled < self.clients && self.handshakes < HANDSHAKES {
                let socket = SocketId((self.dialled % SOCKETS) as u32);
                self.driver
                    .connect(socket, self.config.clone(), self.address, "localhost")
                    .expect("a good address");
                self.dialled += 1;
                self.handshakes += 1;
            }
            let soon = Instant::now() + PERIOD;
            self.driver.turn(Some(soon)).expect("turns");
            while let Some((key, event)) = self.driver.poll_event() {
                self.handle_event(key, &event);
            }
        }
        let counters = self.driver.counters();
        self.got.sends.store(counters.send_calls, Ordering::Relaxed);
        self.got.packets.store(counters.packets_sent, Ordering::Relaxed);
    }

    fn handle_event(&mut self, key: ConnectionKey, event: &Event) {
        let Some(mut connection) = self.driver.connection(key) else {
            return;
        };
        match event {
            Event::Connected => {
                self.handshakes -= 1;
                let stream = connection.open(Dir::Bi).expect("the server allows it");
                let hello = Bytes::from_static(&[1, 0, 0, 0, 7]);
                connection.write(stream, &mut [hello]).expect("a fresh stream");
                self.streams.resize(self.streams.len().max(key.index() + 1), None);
                self.streams[key.index()] = Some(stream);
            }
            Event::Datagrams => {
                while connection.receive_datagram().is_some() {
                    self.got.datagrams.fetch_add(1, Ordering::Relaxed);
                }
                connection
                    .send_datagram(Bytes::from_static(&[3; INPUT_BYTES]))
                    .expect("the server takes them");
            }
            Event::Readable(stream) => {
                while let Read::Chunk(bytes) = connection.read(*stream, 64 * 1024) {
                    self.got
                        .stream_bytes
                        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
            }
            Event::Lost(error) => panic!("a client was lost: {error}"),
            _ => {}
        }
    }
}

fn client_config(certificate: CertificateDer<'static>) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a good certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut crypto = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    crypto.alpn_protocols = vec![myriad_wire::limits::ALPN_CLIENT.to_vec()];
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(256 * 1024))
        .datagram_send_buffer_size(64 * 1024)
        .datagram_receive_buffer_size(Some(64 * 1024))
        .initial_mtu(1200)
        .mtu_discovery_config(None);
    let crypto = QuicClientConfig::try_from(crypto).expect("TLS 1.3 with the suite of first packets");
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    config
}

/// The CPU time of this process's thread of that name, by Linux; elsewhere 0.
fn cpu_ns(name: &str) -> u64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    tasks
        .flatten()
        .map(|task| task.path())
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .filter_map(|task| std::fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum()
}
