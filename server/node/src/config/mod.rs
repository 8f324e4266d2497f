//! What a node is told at its start: a TOML file, environment overrides, defaults. See [`keys`] for the mechanism.
//!
//! Everything is parsed, and every mistake reported, before a port is bound.

pub(crate) mod keys;

use anyhow::{Context as _, Result, bail};
use keys::Keys;
use myriad_telemetry::admin::AdminConfig;
use myriad_telemetry::logs::{LogConfig, LogFormat};
use myriad_wire::limits::LOGIN_KEY_BYTES_MAX;
use myriad_wire::{Pos, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Configuration of one node.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) node: Node,
    pub(crate) space: Space,
    pub(crate) scripts: Scripts,
    pub(crate) game: Vec<(String, Value)>,
    pub(crate) storage: Storage,
    pub(crate) client: Client,
    pub(crate) gateway: Gateway,
    pub(crate) admin: Admin,
    pub(crate) cluster: Cluster,
    pub(crate) log: Log,
}

/// The roles a node can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs the lanes and keeps the directory and the store.
    Lane,
    /// Holds client connections.
    Gateway,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) roles: Vec<Role>,
}

#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub(crate) hz: f64,
    pub(crate) bounds_min: Pos,
    pub(crate) bounds_max: Pos,
    pub(crate) spawn_side: u32,
    pub(crate) seed: u64,
    pub(crate) burst_ms: u32,
    pub(crate) grace_s: f64,
    pub(crate) gateway_silence_s: f64,
    pub(crate) sessions_max: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Scripts {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) steps_per_call: u32,
    pub(crate) steps_at_start: u32,
    pub(crate) memory_mib: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) data: PathBuf,
    pub(crate) save_interval_s: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) names: Vec<String>,
    pub(crate) login_key: Option<String>,
    pub(crate) idle_timeout_s: f64,
    pub(crate) connections_max: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) near_target: u32,
    pub(crate) budget_kib_s: u32,
    pub(crate) backlog_kib: u32,
    pub(crate) login_timeout_s: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) listen: SocketAddr,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) truth: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) format: &'static str,
    pub(crate) filter: String,
}

impl Config {
    /// Reads `file`, if one is given, and the process's environment.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        let (name, text) = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("can't read the configuration file {}", path.display()))?;
                (path.display().to_string(), text)
            }
            None => ("configuration".into(), String::new()),
        };
        Self::parse(&name, &text, std::env::vars())
    }

    /// Reads a configuration from its text.
    pub(crate) fn parse(
        file: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut keys = Keys::new(file, text, environment);
        let config = Self::read(&mut keys);
        let mistakes = keys.finish();
        if !mistakes.is_empty() {
            bail!(
                "the configuration has {} mistake(s):\n  {}",
                mistakes.len(),
                mistakes.join("\n  ")
            );
        }
        Ok(config)
    }

    /// A configuration file with every key, its default and its meaning.
    pub(crate) fn reference() -> String {
        let mut keys = Keys::new("reference", "", []);
        Self::read(&mut keys);
        keys.reference()
    }

    fn read(keys: &mut Keys) -> Self {
        Self {
            node: Node::read(keys),
            space: Space::read(keys),
            scripts: Scripts::read(keys),
            game: read_game(keys),
            storage: Storage::read(keys),
            client: Client::read(keys),
            gateway: Gateway::read(keys),
            admin: Admin::read(keys),
            cluster: Cluster::read(keys),
            log: Log::read(keys),
        }
        .checked(keys)
    }

    /// What only several keys together can get wrong.
    fn checked(self, keys: &mut Keys) -> Self {
        let clustered = self.cluster.listen.is_some() || !self.cluster.peers.is_empty();
        let credentials = [&self.cluster.ca, &self.cluster.certificate, &self.cluster.key];
        if clustered && credentials.iter().any(|path| path.is_none()) {
            keys.mistake(
                "cluster.ca",
                "links between nodes need cluster.ca, cluster.certificate and cluster.key; \
                 `myriad ca` makes them",
            );
        }
        if !self.node.roles.contains(&Role::Lane) && self.cluster.peers.is_empty() {
            keys.mistake(
                "cluster.peers",
                "a gateway without a lane in its own process needs a peer that has one",
            );
        }
        if self.client.certificate.is_some() != self.client.key.is_some() {
            keys.mistake(
                "client.certificate",
                "client.certificate and client.key go together",
            );
        }
        if let Err(error) = self.admin.server().check() {
            let key = if self.admin.token_file.is_some() {
                "admin.token_file"
            } else {
                "admin.listen"
            };
            keys.mistake(key, &error.to_string());
        }
        if let Err(error) = self.log.logs().check() {
            keys.mistake("log.filter", &error.to_string());
        }
        let periods_ms = 2000.0 / self.space.hz;
        if f64::from(self.space.burst_ms) < periods_ms {
            keys.mistake(
                "space.burst_ms",
                &format!("less than two tick periods ({periods_ms:.0} ms at this rate)"),
            );
        }
        self
    }
}

impl Admin {
    /// As the admin HTTP takes it.
    pub(crate) fn server(&self) -> AdminConfig {
        AdminConfig {
            listen: self.listen,
            token_file: self.token_file.clone(),
        }
    }
}

impl Log {
    /// As the logs take it.
    pub(crate) fn logs(&self) -> LogConfig {
        let format = if self.format == "json" {
            LogFormat::Json
        } else {
            LogFormat::Text
        };
        LogConfig {
            format,
            filter: self.filter.clone(),
        }
    }
}

impl Node {
    fn read(keys: &mut Keys) -> Self {
        let name = keys.text(
            "node.name",
            "local",
            "The node's name: in logs, and on its cluster certificate.",
        );
        let words = keys.texts(
            "node.roles",
            &["lane", "gateway"],
            "What this process does: \"lane\" runs the space and keeps its store, \"gateway\" holds client connections.",
        );
        let mut roles = Vec::new();
        for word in words {
            match word.as_str() {
                "lane" => roles.push(Role::Lane),
                "gateway" => roles.push(Role::Gateway),
                _ => keys.mistake(
                    "node.roles",
                    &format!("there is no role {word:?}, only \"lane\" and \"gateway\""),
                ),
            }
        }
        if roles.is_empty() {
            keys.mistake("node.roles", "a node needs a role");
        }
        Self { name, roles }
    }
}

impl Space {
    fn read(keys: &mut Keys) -> Self {
        let hz = keys.number("space.hz", 10.0, 0.5..=100.0, "Ticks per second.");
        let side = keys.number(
            "space.side_m",
            100.0,
            1.0..=64_000.0,
            "Side of the square that is the space, in metres; it is centred on the origin.",
        );
        let spawn_side = keys.number(
            "space.spawn_side_m",
            100.0,
            0.0..=64_000.0,
            "Side of the square around the origin in which new avatars appear, in metres.",
        );
        let half = (side / 2.0 * f64::from(myriad_wire::grid::UNITS_PER_METRE)) as i32;
        Self {
            hz,
            bounds_min: Pos {
                x: -half,
                y: 0,
                z: -half,
            },
            bounds_max: Pos {
                x: half,
                y: 0,
                z: half,
            },
            spawn_side: (spawn_side.min(side) * f64::from(myriad_wire::grid::UNITS_PER_METRE)) as u32,
            seed: u64::from(keys.count(
                "space.seed",
                1,
                0..=u32::MAX,
                "Seed of everything random in the space.",
            )),
            burst_ms: keys.count(
                "space.burst_ms",
                1000,
                0..=10_000,
                "How much unused movement an avatar saves up for later, in milliseconds at full speed.\n\
                 At least two tick periods: the network delivers unevenly.",
            ),
            grace_s: keys.number(
                "space.grace_s",
                10.0,
                0.0..=3600.0,
                "How long an avatar whose client was lost stays in the world, in seconds.",
            ),
            gateway_silence_s: keys.number(
                "space.gateway_silence_s",
                2.0,
                0.5..=60.0,
                "After how long a silence a gateway is taken for dead, in seconds.",
            ),
            sessions_max: keys.count(
                "space.sessions_max",
                10_000,
                1..=100_000,
                "Most sessions at a time; one more is refused.",
            ),
        }
    }
}

impl Scripts {
    fn read(keys: &mut Keys) -> Self {
        Self {
            directory: keys.optional_path(
                "scripts.directory",
                "Folder with the game's scripts; its main.luau is run first. Empty: the plaza that comes with Myriad.",
            ),
            steps_per_call: keys.count(
                "scripts.steps_per_call",
                100_000,
                100..=100_000_000,
                "How long one script call may run, in steps: turns of loops, function calls, steps of a pattern match.",
            ),
            steps_at_start: keys.count(
                "scripts.steps_at_start",
                10_000_000,
                1000..=1_000_000_000,
                "How long the scripts may take to load, and again to start, in steps.",
            ),
            memory_mib: keys.count("scripts.memory_mib", 256, 1..=16_384, "Most memory of the script VM, in MiB."),
        }
    }
}

fn read_game(keys: &mut Keys) -> Vec<(String, Value)> {
    let free = keys.free(
        "game",
        "Constants for the scripts, which see them as myriad.game.NAME: numbers, texts, true or false.",
    );
    let mut game = Vec::new();
    for (name, value) in free {
        match value {
            toml::Value::Boolean(v) => game.push((name, Value::Bool(v))),
            toml::Value::Integer(v) => game.push((name, Value::Int(v))),
            toml::Value::Float(v) => game.push((name, Value::Float(v))),
            toml::Value::String(v) => game.push((name, Value::Text(v))),
            _ => keys.mistake(&format!("game.{name}"), "only numbers, texts, true and false"),
        }
    }
    game
}

impl Storage {
    fn read(keys: &mut Keys) -> Self {
        Self {
            data: PathBuf::from(keys.text(
                "storage.data",
                "data",
                "Folder for what must survive a restart: the store, the node's certificate. Made if it is missing.",
            )),
            save_interval_s: keys.number(
                "storage.save_interval_s",
                5.0,
                0.1..=3600.0,
                "How often an avatar that changed is saved, in seconds: the most that a crash can lose.",
            ),
        }
    }
}

impl Client {
    fn read(keys: &mut Keys) -> Self {
        let client = Self {
            listen: keys.address("client.listen", "127.0.0.1:4433", "Where clients connect: QUIC, so a UDP port."),
            certificate: keys.optional_path(
                "client.certificate",
                "PEM file with the server's certificate chain. Empty: a self-signed one is made in the data folder.",
            ),
            key: keys.optional_path("client.key", "PEM file with the certificate's private key."),
            names: keys.texts(
                "client.names",
                &[],
                "Further host names and addresses for the self-signed certificate, beside localhost.",
            ),
            login_key: keys.optional_text(
                "client.login_key",
                "What clients must present to log in, at most 256 bytes. Empty: any account name is let in; for\n\
                 development.",
            ),
            idle_timeout_s: keys.number(
                "client.idle_timeout_s",
                15.0,
                1.0..=600.0,
                "After how long a silence a client's connection is given up, in seconds.",
            ),
            connections_max: keys.count(
                "client.connections_max",
                12_000,
                1..=100_000,
                "Most client connections of this gateway; one more is refused.",
            ),
        };
        if client
            .login_key
            .as_ref()
            .is_some_and(|key| key.len() > LOGIN_KEY_BYTES_MAX)
        {
            keys.mistake(
                "client.login_key",
                &format!("more than {LOGIN_KEY_BYTES_MAX} bytes, which no client can present"),
            );
        }
        client
    }
}

impl Gateway {
    fn read(keys: &mut Keys) -> Self {
        Self {
            near_target: keys.count(
                "gateway.near_target",
                100,
                1..=10_000,
                "How many of the nearest subjects a client is told every tick; the others less often.",
            ),
            budget_kib_s: keys.count(
                "gateway.budget_kib_s",
                64,
                1..=100_000,
                "Most bytes of states for one client, in KiB per second. Beyond it the farthest are told less often.",
            ),
            backlog_kib: keys.count(
                "gateway.backlog_kib",
                512,
                16..=65_536,
                "Most bytes that may wait for a client that reads slowly, in KiB. Beyond it its view stands still\n\
                 until it has read half of them, then catches up.",
            ),
            login_timeout_s: keys.number(
                "gateway.login_timeout_s",
                10.0,
                1.0..=600.0,
                "How long a client may take from its connection to its join, in seconds.",
            ),
        }
    }
}

impl Admin {
    fn read(keys: &mut Keys) -> Self {
        Self {
            listen: keys.address(
                "admin.listen",
                "127.0.0.1:8080",
                "Where the admin HTTP answers. Anything but loopback needs a token file.",
            ),
            token_file: keys.optional_path(
                "admin.token_file",
                "File with the token that admin requests must bring (Authorization: Bearer TOKEN).",
            ),
            truth: keys.flag(
                "admin.truth",
                false,
                "Whether /truth tells where everything truly is, for the load harness. Never in production.",
            ),
        }
    }
}

impl Cluster {
    fn read(keys: &mut Keys) -> Self {
        let listen = keys.optional_text(
            "cluster.listen",
            "Where other nodes connect: QUIC with mutual TLS. Empty: nowhere, a node on its own.",
        );
        let listen = listen.and_then(|text| parse_address(keys, "cluster.listen", &text));
        let peers = keys.texts(
            "cluster.peers",
            &[],
            "Addresses of the nodes that this one connects to.",
        );
        let peers = peers
            .iter()
            .filter_map(|text| parse_address(keys, "cluster.peers", text))
            .collect();
        Self {
            listen,
            peers,
            ca: keys.optional_path("cluster.ca", "PEM file with the cluster's certificate authority."),
            certificate: keys.optional_path(
                "cluster.certificate",
                "PEM file with this node's cluster certificate.",
            ),
            key: keys.optional_path(
                "cluster.key",
                "PEM file with the private key of the cluster certificate.",
            ),
        }
    }
}

fn parse_address(keys: &mut Keys, key: &str, text: &str) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        keys.mistake(
            key,
            &format!("{text:?} is not an address such as \"127.0.0.1:4500\""),
        );
    }
    address
}

impl Log {
    fn read(keys: &mut Keys) -> Self {
        Self {
            format: keys.choice(
                "log.format",
                &["text", "json"],
                "How logs are written: \"text\" for people, or \"json\".",
            ),
            filter: keys.text(
                "log.filter",
                "info",
                "Which logs are written: a level, or directives such as \"info,myriad_edge=debug\".",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_parses_and_equals_the_defaults() {
        let reference = Config::reference();
        let parsed =
            Config::parse("reference", &reference, []).expect("the reference is a valid configuration");
        let defaults = Config::parse("empty", "", []).expect("the defaults are valid");
        assert_eq!(format!("{parsed:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn keys_that_contradict_each_other_are_mistakes() {
        let text =
            "[node]\nroles = [\"gateway\"]\n[space]\nburst_ms = 10\n[cluster]\nlisten = \"127.0.0.1:1\"\n";
        let error = Config::parse("x.toml", text, [])
            .expect_err("three contradictions")
            .to_string();
        for part in [
            "3 mistake(s)",
            "cluster.ca",
            "cluster.peers",
            "x.toml:4: space.burst_ms",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn what_a_role_would_refuse_at_its_start_is_a_mistake() {
        let key = "x".repeat(LOGIN_KEY_BYTES_MAX + 1);
        let text = format!(
            "[client]\nlogin_key = {key:?}\n[admin]\nlisten = \"0.0.0.0:1\"\n[log]\nfilter = \"a=b=c\"\n"
        );
        let error = Config::parse("x.toml", &text, [])
            .expect_err("three mistakes")
            .to_string();
        for part in [
            "3 mistake(s)",
            "x.toml:2: client.login_key",
            "x.toml:4: admin.listen",
            "x.toml:6: log.filter",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
