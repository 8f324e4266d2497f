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
use myriad_wire::grid::UNITS_PER_METRE;
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
    /// Keeps the store, and serves it and the directory to the other nodes.
    Directory,
    /// Runs lanes of the space: those that have their place at this node.
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
    /// As it was written: zero if the space is one cell.
    pub(crate) cell_m: f64,
    pub(crate) lanes_per_cell: u32,
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
    /// What other nodes are told to connect to; by default where it listens.
    pub(crate) address: Option<String>,
    /// Where the node with the directory listens, `host:port`.
    pub(crate) directory: Option<String>,
    /// With so many nodes that run lanes the cluster begins.
    pub(crate) lane_nodes: u32,
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

    /// Whether the node has this role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.node.roles.contains(&role)
    }

    /// What all nodes of a cluster must be told alike, ascending by key.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let space = &self.space;
        let metres = |units: u32| f64::from(units) / f64::from(UNITS_PER_METRE);
        let side = metres(space.bounds_max.x.abs_diff(space.bounds_min.x));
        let of_all = [
            ("space.cell_m", space.cell_m.to_string()),
            ("space.hz", space.hz.to_string()),
            ("space.lanes_per_cell", space.lanes_per_cell.to_string()),
        ];
        let mut settings: Vec<(String, String)> = of_all.map(|(key, value)| (key.to_owned(), value)).to_vec();
        if self.has(Role::Lane) || space.cell_m > 0.0 {
            // How many lanes there are depends on it only where the space is cut into cells.
            settings.push(("space.side_m".to_owned(), side.to_string()));
        }
        if self.has(Role::Lane) {
            let of_lanes = [
                ("space.burst_ms", space.burst_ms.to_string()),
                ("space.crowd_period_s", space.crowd_period_s.to_string()),
                ("space.seed", space.seed.to_string()),
                ("space.spawn_side_m", metres(space.spawn_side).to_string()),
            ];
            settings.extend(of_lanes.map(|(key, value)| (key.to_owned(), value)));
            let game = self.game.iter();
            settings.extend(game.map(|(name, value)| (format!("game.{name}"), format!("{value:?}"))));
        }
        settings.sort();
        settings
    }

    /// What only several keys together can get wrong.
    fn checked(self, keys: &mut Keys) -> Self {
        let cluster = &self.cluster;
        let clustered = cluster.listen.is_some() || cluster.directory.is_some();
        let credentials = [&cluster.ca, &cluster.certificate, &cluster.key];
        if clustered && credentials.iter().any(|path| path.is_none()) {
            keys.mistake(
                "cluster.ca",
                "links between nodes need cluster.ca, cluster.certificate and cluster.key; \
                 `myriad ca` makes them",
            );
        }
        match (self.has(Role::Directory), &cluster.directory) {
            (false, None) => keys.mistake(
                "cluster.directory",
                "a node without the role \"directory\" needs the address of the one that has it",
            ),
            (true, Some(_)) => keys.mistake(
                "cluster.directory",
                "this node has the role \"directory\" itself; there is one in a cluster",
            ),
            (true, None) | (false, Some(_)) => {}
        }
        if self.has(Role::Lane) && !self.has(Role::Directory) && cluster.listen.is_none() {
            keys.mistake(
                "cluster.listen",
                "a node with lanes is connected to by others, so it needs an address",
            );
        }
        if cluster.address.is_none() && cluster.listen.is_some_and(|listen| listen.ip().is_unspecified()) {
            keys.mistake(
                "cluster.address",
                "a node that listens on all its addresses must say which one the others should use",
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
            "cluster.directory",
            "x.toml:4: space.burst_ms",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_node_that_others_connect_to_says_where() {
        let text = "[node]\nroles = [\"lane\"]\n[cluster]\ndirectory = \"a:1\"\nca = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n";
        let error = |more: &str| {
            let error = Config::parse("x.toml", &format!("{text}{more}"), []);
            error.expect_err("a mistake").to_string()
        };
        assert!(
            error("").contains("x.toml: cluster.listen: a node with lanes"),
            "{}",
            error("")
        );
        let all = error("listen = \"0.0.0.0:1\"");
        assert!(
            all.contains("cluster.address: a node that listens on all"),
            "{all}"
        );
        let said = format!("{text}listen = \"0.0.0.0:1\"\naddress = \"cell-1:1\"");
        Config::parse("x.toml", &said, []).expect("complete");
        let both = Config::parse("x.toml", "[cluster]\ndirectory = \"a:1\"", []).expect_err("two of them");
        assert!(both.to_string().contains("there is one in a cluster"), "{both}");
    }

    #[test]
    fn what_nodes_must_agree_on_is_told_by_key() {
        let text = "[space]\ncell_m = 50\nhz = 5\n[game]\nnpcs = 7\n";
        let config = Config::parse("x.toml", text, []).expect("a configuration");
        let settings = config.settings();
        for (key, value) in [
            ("space.cell_m", "50"),
            ("space.hz", "5"),
            ("space.side_m", "100"),
            ("game.npcs", "Int(7)"),
        ] {
            assert!(
                settings.contains(&(key.to_owned(), value.to_owned())),
                "{key} in {settings:?}"
            );
        }
        assert!(settings.is_sorted());
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
