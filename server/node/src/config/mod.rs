//! What a node is told at its start: a TOML file, environment overrides, defaults. See [`keys`] for the mechanism.
//!
//! Everything is parsed, and every mistake reported, before a port is bound.

pub(crate) mod keys;
mod sections;

use anyhow::{Context as _, Result, bail};
use keys::Keys;
use myriad_cluster::Partition;
use myriad_telemetry::admin::AdminConfig;
use myriad_telemetry::logs::{LogConfig, LogFormat};
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
    /// Runs all lanes of the space and keeps the directory and the store.
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
    pub(crate) partition: Partition,
    pub(crate) spawn_side: u32,
    pub(crate) seed: u64,
    pub(crate) burst_ms: u32,
    pub(crate) grace_s: f64,
    pub(crate) gateway_silence_s: f64,
    pub(crate) crowd_period_s: f64,
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
    pub(crate) shards: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) near_target: u32,
    pub(crate) budget_kib_s: u32,
    pub(crate) crowd_from: u32,
    pub(crate) keyframe_kib: u32,
    pub(crate) event_bytes_per_tick: u32,
    pub(crate) identity_bytes_per_tick: u32,
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
            game: sections::read_game(keys),
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

    /// What `text` says of the space.
    fn space(text: &str) -> Space {
        let text = format!("[space]\nside_m = 1000\n{text}");
        Config::parse("x.toml", &text, []).expect("a configuration").space
    }

    #[test]
    fn a_space_is_one_lane_unless_it_is_cut() {
        let whole = Partition::whole(myriad_wire::LaneId(1));
        assert_eq!(space("").partition, whole);
        assert_eq!(space("cell_m = 0\nlanes_per_cell = 1").partition, whole);
        let cut = space("cell_m = 400.5").partition;
        assert_eq!((cut.size(), cut.lanes().count()), ([3, 3], 9));
        let shared = space("lanes_per_cell = 3").partition;
        assert_eq!((shared.size(), shared.lanes().count()), ([1, 1], 3));
        let both = space("cell_m = 500\nlanes_per_cell = 2").partition;
        assert_eq!((both.size(), both.lanes().count()), ([2, 2], 8));
    }

    #[test]
    fn what_is_no_partition_is_a_mistake() {
        for (text, part) in [
            (
                "cell_m = 100",
                "x.toml:3: space.cell_m: the space would have 100 lanes; there may be 64",
            ),
            ("cell_m = 0.0001", "x.toml:3: space.cell_m: a cell has some area"),
            (
                "cell_m = -1",
                "x.toml:3: space.cell_m = -1 is not a number from 0 to 64000",
            ),
            (
                "lanes_per_cell = 0",
                "space.lanes_per_cell = 0 is not a whole number from 1 to 64",
            ),
        ] {
            let text = format!("[space]\nside_m = 1000\n{text}");
            let error = Config::parse("x.toml", &text, [])
                .expect_err("no partition")
                .to_string();
            assert!(error.contains(part) && error.contains("1 mistake"), "{error}");
        }
        let environment = [("MYRIAD_SPACE__CELL_M".to_owned(), "1".to_owned())];
        let error = Config::parse("x.toml", "", environment)
            .expect_err("10,000 cells")
            .to_string();
        assert!(
            error.contains("environment variable MYRIAD_SPACE__CELL_M: space.cell_m: the space"),
            "{error}"
        );
    }

    #[test]
    fn a_gateway_can_follow_as_many_lanes_as_a_space_may_have() {
        use myriad_wire::{GatewayId, Incarnation, SpaceId};
        let lanes: Vec<_> = space("cell_m = 125").partition.lanes().collect();
        assert_eq!(lanes.len() as u64, myriad_cluster::LANES_MAX);
        let new = myriad_gateway::GatewayConfig::new;
        let config = myriad_gateway::GatewayConfig {
            lanes,
            ..new(GatewayId(1), Incarnation(1), SpaceId(1), myriad_wire::LaneId(1))
        };
        assert!(config.mistakes().is_empty(), "{:?}", config.mistakes());
    }

    #[test]
    fn what_a_role_would_refuse_at_its_start_is_a_mistake() {
        let key = "x".repeat(myriad_wire::limits::LOGIN_KEY_BYTES_MAX + 1);
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
