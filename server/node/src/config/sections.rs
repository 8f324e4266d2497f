//! The sections of the configuration: every key with its default, its bounds and its meaning.

use super::keys::Keys;
use super::{Admin, Client, Cluster, Gateway, Log, Node, Role, Scripts, Space, Storage};
use myriad_cluster::{LANES_MAX, Partition};
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::limits::LOGIN_KEY_BYTES_MAX;
use myriad_wire::{LaneId, Pos, Value};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Ticks for which unused movement is saved up by default, if that is longer than a second.
const BURST_TICKS_MIN: f64 = 5.0;

impl Node {
    pub(super) fn read(keys: &mut Keys) -> Self {
        let name = keys.text(
            "node.name",
            "local",
            "The node's name: in logs, and on its cluster certificate.",
        );
        let words = keys.texts(
            "node.roles",
            &["directory", "lane", "gateway"],
            "What this process does: \"directory\" keeps the store, who is there, and whose is which lane; \"lane\" runs lanes\n\
             of the space; \"gateway\" holds client connections.",
        );
        let mut roles = Vec::new();
        for word in words {
            match word.as_str() {
                "directory" => roles.push(Role::Directory),
                "lane" => roles.push(Role::Lane),
                "gateway" => roles.push(Role::Gateway),
                _ => keys.mistake(
                    "node.roles",
                    &format!("there is no role {word:?}, only \"directory\", \"lane\" and \"gateway\""),
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
    pub(super) fn read(keys: &mut Keys) -> Self {
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
        let half = (side / 2.0 * f64::from(UNITS_PER_METRE)) as i32;
        let corner = |at| Pos { x: at, y: 0, z: at };
        let (bounds_min, bounds_max) = (corner(-half), corner(half));
        let (cell_m, lanes_per_cell, partition) = read_partition(keys, bounds_min, bounds_max);
        Self {
            hz,
            bounds_min,
            bounds_max,
            cell_m,
            lanes_per_cell,
            partition,
            spawn_side: (spawn_side.min(side) * f64::from(UNITS_PER_METRE)) as u32,
            seed: u64::from(keys.count(
                "space.seed",
                1,
                0..=u32::MAX,
                "Seed of everything random in the space.",
            )),
            burst_ms: keys.count(
                "space.burst_ms",
                (BURST_TICKS_MIN * 1000.0 / hz).ceil().max(1000.0) as u32,
                0..=10_000,
                "How much unused movement an avatar saves up for later, in milliseconds at full speed: so late its steps may\n\
                 come. At least two tick periods, since the network delivers unevenly. By default a second, or five ticks if\n\
                 they are longer.",
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
            crowd_period_s: keys.number(
                "space.crowd_period_s",
                0.6,
                0.05..=10.0,
                "How often each subject of a crowd is told to those who have the crowd in view, in seconds; the nearest are\n\
                 told in every tick anyway. Rounded to ticks, at least one. What a client in a crowd receives is in inverse\n\
                 proportion to it, and so is how far off a subject far away may be.",
            ),
            sessions_max: keys.count(
                "space.sessions_max",
                10_000,
                1..=100_000,
                "Most sessions of a lane at a time; one more is refused.",
            ),
        }
    }
}

/// How the space is cut: side of a cell, lanes of each, and what comes of it. What is no partition is a mistake.
fn read_partition(keys: &mut Keys, bounds_min: Pos, bounds_max: Pos) -> (f64, u32, Partition) {
    let cell_m = keys.number(
        "space.cell_m",
        0.0,
        0.0..=64_000.0,
        "Side of a cell, in metres: the space is cut into square cells from its lowest corner on, each simulated by its\n\
         own lanes, which hand entities to each other as these go. 0: the whole space is one cell. All nodes must be\n\
         told the same, gateways too: from it they know which lanes there are.",
    );
    let lanes_per_cell = keys.count(
        "space.lanes_per_cell",
        1,
        1..=LANES_MAX as u32,
        "Lanes of each cell, each a thread, which share the cell's entities among them. All nodes must be told the same.",
    );
    let whole = Partition::whole(LaneId(1));
    let side = match cell_m {
        0.0 if lanes_per_cell == 1 => return (cell_m, lanes_per_cell, whole),
        0.0 => bounds_max.x.abs_diff(bounds_min.x).max(1),
        cell_m => (cell_m * f64::from(UNITS_PER_METRE)) as u32,
    };
    let cut = Partition::grid(bounds_min, bounds_max, side, lanes_per_cell).unwrap_or_else(|error| {
        let key = if cell_m == 0.0 {
            "space.lanes_per_cell"
        } else {
            "space.cell_m"
        };
        keys.mistake(key, &error.to_string());
        whole
    });
    (cell_m, lanes_per_cell, cut)
}

impl Scripts {
    pub(super) fn read(keys: &mut Keys) -> Self {
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
            memory_mib: keys.count(
                "scripts.memory_mib",
                256,
                1..=16_384,
                "Most memory of the script VM of each lane, in MiB.",
            ),
        }
    }
}

pub(super) fn read_game(keys: &mut Keys) -> Vec<(String, Value)> {
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
    pub(super) fn read(keys: &mut Keys) -> Self {
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
    pub(super) fn read(keys: &mut Keys) -> Self {
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
            shards: keys.count(
                "client.shards",
                1,
                1..=64,
                "Threads that carry the clients' packets, each with its share of the clients. One does for about ten\n\
                 thousand clients; no more than there are cores.",
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
    pub(super) fn read(keys: &mut Keys) -> Self {
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
                "Most bytes of states for one client, in KiB per second. Beyond it the farthest are told less often; a\n\
                 client in a crowd is told fewer of the nearest, then no events.",
            ),
            crowd_from: keys.count(
                "gateway.crowd_from",
                256,
                0..=1_000_000_000,
                "A client with more subjects in view than this is told them as a crowd, at much less cost, until it has\n\
                 fewer than 5/8 of it. 0: always.",
            ),
            keyframe_kib: keys.count(
                "gateway.keyframe_kib",
                24,
                1..=512,
                "Most bytes in one tick that tell a client of parts of a crowd new to it, in KiB.",
            ),
            event_bytes_per_tick: keys.count(
                "gateway.event_bytes_per_tick",
                512,
                0..=131_072,
                "Most bytes of events that a client in a crowd is told in one tick; those farther away are left out.",
            ),
            identity_bytes_per_tick: keys.count(
                "gateway.identity_bytes_per_tick",
                2048,
                0..=131_072,
                "Most bytes in one tick that tell a client in a crowd who those near it are.",
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
    pub(super) fn read(keys: &mut Keys) -> Self {
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
    pub(super) fn read(keys: &mut Keys) -> Self {
        let listen = keys.optional_text(
            "cluster.listen",
            "Where other nodes connect: QUIC with mutual TLS. Empty: nowhere, a node on its own.",
        );
        let listen = listen.and_then(|text| parse_address(keys, "cluster.listen", &text));
        Self {
            listen,
            address: keys.optional_text(
                "cluster.address",
                "What other nodes are told to connect to, \"host:port\". Empty: where this one listens.",
            ),
            directory: keys.optional_text(
                "cluster.directory",
                "Where the node with the directory listens, \"host:port\". Empty at that node itself.",
            ),
            lane_nodes: keys.count(
                "cluster.lane_nodes",
                1,
                1..=LANES_MAX as u32,
                "With so many nodes that run lanes the cluster begins: the first time so many are there, the lanes are\n\
                 spread over them, and keep their places from then on. Asked at the node with the directory.",
            ),
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
    pub(super) fn read(keys: &mut Keys) -> Self {
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
