//! What a run of bots is asked to do: as a library takes it, and as a command line says it.

use crate::motion::MotionKind;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use myriad_client::quic::Fingerprint;
pub use myriad_client::quic::ServerTrust as Trust;
use serde::Serialize;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A node's admin HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminServer {
    /// Its base URL, such as `http://127.0.0.1:8080`. Only plain HTTP.
    pub url: String,
    /// Its bearer token, if it asks for one.
    pub token: Option<String>,
}

/// How clients decode tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// Every client decodes everything, on its own memory.
    Own,
    /// Clients that hold the same state and receive the same bytes share one decoded state. Some decode on their own
    /// beside it, and what they come to is compared.
    Interned,
}

/// A fault put into the bots on purpose, which a run must find: a test of the harness itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Plant {
    /// Now and then a track is decoded with one wrong bit.
    Decoder,
    /// Now and then an update of a track or a near state is not taken in.
    Skip,
    /// Now and then an enter is told twice.
    Double,
}

/// Something that goes on while a run measures, and ends the measurement.
#[derive(Debug, Default)]
pub struct Activity {
    begun: AtomicBool,
    over: AtomicBool,
}

impl Activity {
    /// Whether the measurement has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Whether it is over, or never comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Ends the measurement.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }
}

/// What a run of bots is asked to do.
#[derive(Clone, Debug)]
pub struct BotsOptions {
    /// Where clients connect, used in turn. At least one.
    pub servers: Vec<SocketAddr>,
    /// All of these lead to one gateway; else each is a gateway of its own.
    pub one_gateway: bool,
    /// How the bots know that it is them.
    pub trust: Trust,
    /// The name that the certificate must be issued for. Ignored with a fingerprint.
    pub server_name: String,
    /// The login key; empty if the server asks for none.
    pub key: String,
    /// Accounts are this and a number from 0.
    pub account_prefix: String,
    /// The space to join.
    pub space: myriad_wire::SpaceId,
    /// How many clients.
    pub clients: u32,
    /// Intents per second and client; `None` is the server's tick rate.
    pub hz: Option<f64>,
    /// How long is measured, from when all have joined.
    pub seconds: f64,
    /// Ends the measurement before that, if there is one.
    pub activity: Option<Arc<Activity>>,
    /// How long the clients may take to join. Whoever has not joined by then is lost.
    pub join_allowance: Duration,
    /// How long everybody walks after the last join before the measurement starts.
    pub warmup: Duration,
    /// Seed of everything that is random here.
    pub seed: u64,
    /// How the bots walk.
    pub motion: MotionKind,
    /// Which layers the avatars see: a subject is expected in view only if its layers meet these.
    pub sees: u32,
    /// Where the truth traces come from, one of each node with lanes. Without one only what clients can know by themselves
    /// is checked.
    pub truth: Vec<AdminServer>,
    /// Further nodes of the server, whose metrics count too: gateways.
    pub gateways: Vec<AdminServer>,
    /// Processes whose CPU time and memory count as the server's.
    pub server_pids: Vec<u32>,
    /// Threads that run the bots.
    pub workers: usize,
    /// Clients that share one UDP socket.
    pub clients_per_socket: u32,
    /// How tracks are decoded; `None`: interned above [`INTERNED_ABOVE`] clients.
    pub decode: Option<Decode>,
    /// The first so many clients read only a tenth of what they are sent. They are reported apart.
    pub slow: u32,
    /// So many clients a second leave while measuring, and as many new ones join.
    pub churn_per_s: f64,
    /// Every socket is replaced once while measuring, so that each client's address changes.
    pub rebind: bool,
    /// The fault to be found.
    pub plant: Option<Plant>,
    /// Where the report goes as JSON.
    pub json: Option<PathBuf>,
    /// Neither progress nor report for people.
    pub quiet: bool,
}

impl BotsOptions {
    /// The defaults, against one server: 100 clients for 20 s.
    #[must_use]
    pub fn new(server: SocketAddr, trust: Trust) -> Self {
        Self {
            servers: vec![server],
            one_gateway: false,
            trust,
            server_name: DEFAULT_SERVER_NAME.into(),
            key: String::new(),
            account_prefix: DEFAULT_ACCOUNT_PREFIX.into(),
            space: myriad_wire::SpaceId(DEFAULT_SPACE),
            clients: 100,
            hz: None,
            seconds: 20.0,
            activity: None,
            join_allowance: Duration::from_secs(20),
            warmup: Duration::from_secs(3),
            seed: 1,
            motion: MotionKind::Mixed,
            sees: u32::MAX,
            truth: Vec::new(),
            gateways: Vec::new(),
            server_pids: Vec::new(),
            workers: 1,
            clients_per_socket: DEFAULT_CLIENTS_PER_SOCKET,
            decode: None,
            slow: 0,
            churn_per_s: 0.0,
            rebind: false,
            plant: None,
            json: None,
            quiet: false,
        }
    }

    /// How many gateways there are. The client of account `a` is at the one of number `a` modulo this.
    #[must_use]
    pub(crate) fn gateway_count(&self) -> usize {
        if self.one_gateway { 1 } else { self.servers.len() }
    }

    /// How tracks are decoded.
    #[must_use]
    pub fn decode(&self) -> Decode {
        self.decode.unwrap_or(if self.clients > INTERNED_ABOVE {
            Decode::Interned
        } else {
            Decode::Own
        })
    }
}

/// With more clients tracks are decoded once for all, unless it is asked for otherwise.
pub const INTERNED_ABOVE: u32 = 5_000;
/// A gateway sends all of a tick at once, and a socket that the system gives only its usual 208 KiB holds some 90 full
/// packets: those of more clients would be lost in every tick.
pub const DEFAULT_CLIENTS_PER_SOCKET: u32 = 16;

/// The name that a self-signed certificate of a development server is issued for.
pub const DEFAULT_SERVER_NAME: &str = "localhost";
/// See [`BotsOptions::account_prefix`].
pub const DEFAULT_ACCOUNT_PREFIX: &str = "bot-";
/// The space that a server with one space calls its own.
pub const DEFAULT_SPACE: u32 = 1;

/// Real clients against a running server, checked against the truth.
///
/// Flatten it into a subcommand.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  100 clients for 20 s against the server on this machine, checked against its truth trace:
      myriad bots --ca data/tls/cert.pem --truth http://127.0.0.1:8080

  1,000 clients over two gateways, with the report as JSON:
      myriad bots --server 10.0.0.1:4433 --server 10.0.0.2:4433 --ca ca.pem \\
          --clients 1000 --seconds 60 --json report.json")]
pub struct BotsArgs {
    /// Gateway to connect to, HOST:PORT; several are used in turn.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4433")]
    pub server: Vec<String>,
    /// How many clients.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// Intents per second and client [default: the server's tick rate].
    #[arg(long)]
    pub hz: Option<f64>,
    /// How long to measure, in seconds, from when all clients have joined.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seed of everything random: the same seed walks the same ways.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How the clients walk.
    #[arg(long, value_enum, default_value_t = MotionKind::Mixed)]
    pub motion: MotionKind,
    /// Certificate (or authority) to trust, a PEM file.
    #[arg(long, value_name = "FILE", required_unless_present = "fingerprint")]
    pub ca: Option<PathBuf>,
    /// SHA-256 fingerprint of the server's certificate, 64 hex digits.
    #[arg(long, value_name = "HEX", conflicts_with = "ca")]
    pub fingerprint: Option<Fingerprint>,
    /// The name that the certificate must be issued for.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_SERVER_NAME)]
    pub server_name: String,
    /// Login key, if the server asks for one.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub key: String,
    /// Accounts are this and a number; two runs at the same time need different ones.
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_ACCOUNT_PREFIX)]
    pub account_prefix: String,
    /// The space to join.
    #[arg(long, default_value_t = DEFAULT_SPACE)]
    pub space: u32,
    /// Base URL of the admin server that gives the truth trace (it must be enabled there by name); repeatable, one of each
    /// node with lanes.
    #[arg(long, value_name = "URL")]
    pub truth: Vec<String>,
    /// File with the admin server's bearer token.
    #[arg(long, value_name = "FILE", requires = "truth")]
    pub truth_token_file: Option<PathBuf>,
    /// Process whose CPU time and memory are the server's; repeatable.
    #[arg(long, value_name = "PID")]
    pub server_pid: Vec<u32>,
    /// Threads that run the clients.
    #[arg(long, default_value_t = 1, value_parser = parse_workers)]
    pub workers: usize,
    /// Clients that share one UDP socket.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CLIENTS_PER_SOCKET, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients_per_socket: u32,
    /// How tracks are decoded [default: interned above 5,000 clients].
    #[arg(long, value_enum)]
    pub decode: Option<Decode>,
    /// So many of the clients read only a tenth of what they are sent.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub slow: u32,
    /// So many clients a second leave while measuring, and as many new ones join.
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub churn: f64,
    /// Replace every socket once while measuring.
    #[arg(long)]
    pub rebind: bool,
    /// Plant a fault that the run must find (a test of the harness).
    #[arg(long, value_enum, hide = true)]
    pub plant: Option<Plant>,
    /// Print neither progress nor report.
    #[arg(long)]
    pub quiet: bool,
}

impl BotsArgs {
    /// Resolves names and reads the files named.
    ///
    /// # Errors
    /// If an address does not resolve, a file can't be read, or a number makes no sense.
    pub fn into_options(self) -> anyhow::Result<BotsOptions> {
        let mut servers = Vec::new();
        for server in &self.server {
            let mut addresses = server
                .to_socket_addrs()
                .with_context(|| format!("--server {server}"))?;
            match addresses.next() {
                Some(address) => servers.push(address),
                None => bail!("--server {server}: the name has no address"),
            }
        }
        let trust = match (&self.ca, self.fingerprint) {
            (_, Some(fingerprint)) => Trust::Fingerprint(fingerprint),
            (Some(ca), None) => {
                Trust::Ca(std::fs::read(ca).with_context(|| format!("reading --ca {}", ca.display()))?)
            }
            (None, None) => bail!("either --ca or --fingerprint says which server to trust"),
        };
        let token = match &self.truth_token_file {
            Some(file) => Some(
                std::fs::read_to_string(file)
                    .with_context(|| format!("reading --truth-token-file {}", file.display()))?
                    .trim()
                    .to_owned(),
            ),
            None => None,
        };
        if let Some(hz) = self.hz
            && !(0.1..=1000.0).contains(&hz)
        {
            bail!("--hz {hz}: a rate lies between 0.1 and 1000");
        }
        if !(1.0..=86_400.0).contains(&self.seconds) {
            bail!("--seconds {}: between one second and one day", self.seconds);
        }
        if !(0.0..=10_000.0).contains(&self.churn) {
            bail!("--churn {}: between 0 and 10,000 clients a second", self.churn);
        }
        let mut options = BotsOptions::new(servers[0], trust);
        options.servers = servers;
        options.server_name = self.server_name;
        options.key = self.key;
        options.account_prefix = self.account_prefix;
        options.space = myriad_wire::SpaceId(self.space);
        options.clients = self.clients;
        options.hz = self.hz;
        options.seconds = self.seconds;
        options.seed = self.seed;
        options.motion = self.motion;
        let admin = |url| AdminServer {
            url,
            token: token.clone(),
        };
        options.truth = self.truth.into_iter().map(admin).collect();
        options.server_pids = self.server_pid;
        options.workers = self.workers;
        options.clients_per_socket = self.clients_per_socket;
        options.decode = self.decode;
        options.slow = self.slow;
        options.churn_per_s = self.churn;
        options.rebind = self.rebind;
        options.plant = self.plant;
        options.json = self.json;
        options.quiet = self.quiet;
        Ok(options)
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers) if (1..=256).contains(&workers) => Ok(workers),
        _ => Err("between 1 and 256 threads".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bots: BotsArgs,
    }

    #[test]
    fn a_full_command_line_becomes_options() {
        let fingerprint = "ab".repeat(32);
        let line = Line::try_parse_from([
            "bots",
            "--server",
            "127.0.0.1:1",
            "--server",
            "127.0.0.1:2",
            "--clients",
            "7",
            "--hz",
            "5",
            "--seconds",
            "3",
            "--seed",
            "9",
            "--motion",
            "steer",
            "--fingerprint",
            &fingerprint,
            "--truth",
            "http://127.0.0.1:8080",
        ])
        .expect("a good line");
        let options = line.bots.into_options().expect("good options");
        assert_eq!(options.servers.len(), 2);
        assert_eq!(options.trust, Trust::Fingerprint(Fingerprint([0xab; 32])));
        assert_eq!((options.clients, options.hz, options.seed), (7, Some(5.0), 9));
        assert_eq!(options.motion, MotionKind::Steer);
        assert_eq!(options.truth[0].url, "http://127.0.0.1:8080");
    }

    #[test]
    fn a_server_must_be_trusted_by_something() {
        let error = Line::try_parse_from(["bots"]).expect_err("neither --ca nor --fingerprint");
        assert!(error.to_string().contains("--ca"));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for bad in [
            ["--hz", "0"],
            ["--hz", "NaN"],
            ["--seconds", "0"],
            ["--seconds", "inf"],
        ] {
            let fingerprint = "ab".repeat(32);
            let line = Line::try_parse_from(["bots", "--fingerprint", &fingerprint, bad[0], bad[1]]);
            assert!(line.expect("it parses").bots.into_options().is_err(), "{bad:?}");
        }
    }
}
