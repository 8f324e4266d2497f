//! What can be asked of `myriad-bench crowd` and `spread`, and the server's configuration that follows from it.

use super::relayout::Relayout;
use crate::cluster::ClusterSize;
use crate::motion::MotionKind;
use crate::options::{BotsOptions, DEFAULT_CLIENTS_PER_SOCKET, Decode, Plant};
use crate::relay::Weather;
use crate::server::Configuration;
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Side of the square of `crowd`, in metres, and how far avatars see there: farther than its diagonal.
pub(super) const CROWD_M: (f64, f64) = (100.0, 150.0);
/// How far avatars see in `spread`, in metres.
const SPREAD_RADIUS_M: f64 = 100.0;
/// Sides of the squares of `spread` and `spread --dense`, in metres: some 160 and some 1,750 in view.
pub(super) const SPREAD_SIDES_M: (f64, f64) = (2_000.0, 600.0);
/// From so many clients on, the bots get a second thread.
const TWO_WORKERS_FROM: u32 = 800;
/// Sessions that the server takes beyond the clients: those that churn, before the ones they replace are gone.
const SESSIONS_SPARE: u32 = 500;

/// `myriad-bench crowd`: everybody in everybody's view.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  The headline: 10,000 real clients in one view
      myriad-bench crowd --clients 10000 --entities 10000 --hz 5 --seconds 30 --json crowd.json

  1,000 clients behind a network that loses 2 % and takes 80 ms each way
      myriad-bench crowd --clients 1000 --entities 10000 --hz 5 --loss 2 --delay 80

  A fault planted into the clients' decoder, which the run must find (it ends with exit code 1)
      myriad-bench crowd --clients 200 --entities 2000 --hz 5 --seconds 10 --plant decoder

The server's executable is `myriad` beside this one; `cargo build --release --workspace --bins` builds both.
Exit code: 0 if everything is what it must be, 1 if not.")]
pub struct CrowdArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Real clients, each with its own connection, keys and login.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) clients: u32,
    /// Entities in the square, the clients' avatars among them; the server moves the others.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) entities: u32,
    /// Of 100 datagrams, drop so many, in each direction.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub(super) loss: f64,
    /// Delay every datagram by so many milliseconds, in each direction.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    pub(super) delay: f64,
    /// So many of the clients read only a tenth of what they are sent.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) slow: u32,
    /// So many clients a second leave, and as many new ones join.
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub(super) churn: f64,
    /// Each client's address changes once while measuring.
    #[arg(long)]
    pub(super) rebind: bool,
}

/// `myriad-bench spread`: a world larger than a view, in which everybody enters and leaves all the time.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  2,000 clients among 20,000 entities on 2 km x 2 km, every enter and leave compared with the truth
      myriad-bench spread --json spread.json

  The same on 600 m x 600 m: some 1,750 in view, most of them in the crowd tier
      myriad-bench spread --dense --json spread-dense.json

  The space cut into nine cells of 700 m
      myriad-bench spread --clients 300 --entities 3000 --cell 700")]
pub struct SpreadArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// 600 m x 600 m in place of 2 km x 2 km.
    #[arg(long, conflicts_with = "side")]
    pub(super) dense: bool,
    /// Real clients, each with its own connection, keys and login.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) clients: u32,
    /// Entities in the square, the clients' avatars among them; the server moves the others.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) entities: u32,
    /// Side of the square in metres [default: 2000].
    #[arg(long, value_name = "METRES")]
    pub(super) side: Option<f64>,
    #[command(flatten)]
    pub(super) cut: Cut,
}

/// How a server cuts its space.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Cut {
    /// Cut the space into cells with sides of so many metres [default: one cell].
    #[arg(long, value_name = "METRES")]
    pub(super) cell: Option<f64>,
    /// Lanes of each cell, which share its entities among them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) lanes: u32,
}

impl Cut {
    /// Writes it into the server's configuration.
    pub fn configure(&self, configuration: &mut Configuration) {
        if let Some(cell) = self.cell {
            configuration.set("space.cell_m", format_args!("{cell:?}"));
        }
        if self.lanes > 1 {
            configuration.set("space.lanes_per_cell", self.lanes);
        }
    }
}

/// What both take.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArgs {
    /// Ticks per second of the server; each client sends as many intents.
    #[arg(long, default_value_t = 5.0)]
    pub(super) hz: f64,
    /// How long to measure, in seconds, after everybody has joined and walked for --warmup.
    #[arg(long, default_value_t = 30.0)]
    pub(super) seconds: f64,
    /// How everybody walks.
    #[arg(long, value_enum, default_value_t = MotionKind::Mixed)]
    pub(super) motion: MotionKind,
    /// How clients decode what many receive alike [default: own up to 5,000 clients, interned above].
    #[arg(long, value_enum)]
    pub(super) decode: Option<Decode>,
    /// UDP sockets that the clients share evenly [default: one for 16 clients].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(super) sockets: Option<u32>,
    /// Shards of the gateway: threads, each with a socket of its own [default: the server's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) shards: Option<u32>,
    /// A fault put into the clients on purpose: the run must fail.
    #[arg(long, value_enum)]
    pub(super) plant: Option<Plant>,
    /// The server's executable [default: `myriad` beside this one].
    #[arg(long, value_name = "PATH")]
    pub(super) server: Option<PathBuf>,
    /// Further configuration of the server, as `myriad config` prints it; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) config: Vec<String>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u32,
    /// How long everybody walks before the measurement begins, in seconds.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub(super) warmup: f64,
    /// How long the clients may take to join, in seconds. Whoever has not joined by then is lost.
    #[arg(long, value_name = "S", default_value_t = 20.0)]
    pub(super) join_allowance: f64,
    /// Threads that run the clients [default: 1, from 800 clients on 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) workers: Option<u32>,
    /// Write the report as JSON to this file, and the page with its plots beside it.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the page with plots to this file.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// What is asked of a run's views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Views {
    /// All see all.
    Crowd,
    /// A view holds so few that all are in the near tier, or nearly.
    Spread,
    /// Most of a view are in the crowd tier.
    Dense,
}

/// A run that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) run: RunArgs,
    pub(super) views: Views,
    pub(super) clients: u32,
    pub(super) entities: u32,
    pub(super) side_m: f64,
    pub(super) radius_m: f64,
    pub(super) weather: Option<Weather>,
    pub(super) slow: u32,
    pub(super) churn_per_s: f64,
    pub(super) rebind: bool,
    pub(super) cut: Cut,
    /// A cluster of so many processes in place of one.
    pub(super) cluster: Option<ClusterSize>,
    /// The text of a game in place of the plaza.
    pub(super) game: Option<&'static str>,
    /// What frames are made of is judged.
    pub(super) frame_bytes: bool,
    /// What becomes of the space's lanes while it is measured.
    pub(super) relayout: Option<Relayout>,
}

impl Plan {
    /// # Errors
    /// If the arguments make no sense, with what to do about it.
    pub(super) fn crowd(args: &CrowdArgs) -> Result<Self> {
        let percent = |name, value: f64| {
            ensure!((0.0..100.0).contains(&value), "{name} lies between 0 and 100");
            Ok(value / 100.0)
        };
        let loss = percent("--loss", args.loss)?;
        ensure!(
            (0.0..=5_000.0).contains(&args.delay),
            "--delay lies between 0 and 5000 ms"
        );
        ensure!(
            args.slow < args.clients,
            "--slow needs other clients to compare with: fewer than --clients ({})",
            args.clients
        );
        ensure!(
            (0.0..=f64::from(args.clients)).contains(&args.churn),
            "--churn lies between 0 and --clients ({})",
            args.clients
        );
        let weather = (loss > 0.0 || args.delay > 0.0).then(|| Weather {
            loss,
            delay: Duration::from_secs_f64(args.delay / 1000.0),
            seed: u64::from(args.run.seed),
        });
        let plan = Self {
            run: args.run.clone(),
            views: Views::Crowd,
            clients: args.clients,
            entities: args.entities,
            side_m: CROWD_M.0,
            radius_m: CROWD_M.1,
            weather,
            slow: args.slow,
            churn_per_s: args.churn,
            rebind: args.rebind,
            cut: Cut::default(),
            cluster: None,
            game: None,
            frame_bytes: false,
            relayout: None,
        };
        plan.checked()
    }

    /// # Errors
    /// If the arguments make no sense, with what to do about it.
    pub(super) fn spread(args: &SpreadArgs) -> Result<Self> {
        let (views, usual) = match args.dense {
            false => (Views::Spread, SPREAD_SIDES_M.0),
            true => (Views::Dense, SPREAD_SIDES_M.1),
        };
        let side_m = args.side.unwrap_or(usual);
        ensure!(
            (10.0..=64_000.0).contains(&side_m),
            "--side lies between 10 m and 64 km"
        );
        let plan = Self {
            run: args.run.clone(),
            views,
            clients: args.clients,
            entities: args.entities,
            side_m,
            radius_m: SPREAD_RADIUS_M,
            weather: None,
            slow: 0,
            churn_per_s: 0.0,
            rebind: false,
            cut: args.cut,
            cluster: None,
            game: None,
            frame_bytes: false,
            relayout: None,
        };
        plan.checked()
    }

    fn checked(self) -> Result<Self> {
        let run = &self.run;
        ensure!(
            self.entities >= self.clients,
            "--entities counts the clients' avatars too: at least {}",
            self.clients
        );
        ensure!((0.5..=100.0).contains(&run.hz), "--hz lies between 0.5 and 100");
        ensure!(
            (1.0..=86_400.0).contains(&run.seconds),
            "--seconds lies between one second and one day"
        );
        for (name, seconds) in [("--warmup", run.warmup), ("--join-allowance", run.join_allowance)] {
            ensure!(
                (0.0..=3600.0).contains(&seconds),
                "{name} lies between 0 and 3600 seconds"
            );
        }
        self.configuration(Path::new("data"))?;
        Ok(self)
    }

    /// The server's configuration, with its data in `data`.
    ///
    /// # Errors
    /// If a `--config` is not of the form `KEY=VALUE`.
    pub(super) fn configuration(&self, data: &Path) -> Result<Configuration> {
        let mut configuration = Configuration::new(data);
        configuration.set("space.hz", format_args!("{:?}", self.run.hz));
        configuration.set("space.side_m", format_args!("{:?}", self.side_m));
        configuration.set("space.spawn_side_m", format_args!("{:?}", self.side_m));
        configuration.set("space.seed", self.run.seed);
        configuration.set("space.sessions_max", self.clients + SESSIONS_SPARE);
        configuration.set("game.npcs", self.entities - self.clients);
        configuration.set("game.radius", format_args!("{:?}", self.radius_m));
        configuration.set("client.connections_max", self.clients + SESSIONS_SPARE);
        if let Some(shards) = self.run.shards {
            configuration.set("client.shards", shards);
        }
        if self.run.motion != MotionKind::default() {
            configuration.set("game.motion", format_args!("{:?}", self.run.motion.name()));
        }
        self.cut.configure(&mut configuration);
        for pair in &self.run.config {
            configuration.set_pair(pair)?;
        }
        Ok(configuration)
    }

    /// Has the bots do what was asked; whom they connect to is their caller's business.
    pub(super) fn instruct(&self, options: &mut BotsOptions) {
        let run = &self.run;
        options.clients = self.clients;
        options.seconds = run.seconds;
        options.seed = u64::from(run.seed);
        options.motion = run.motion;
        options.warmup = Duration::from_secs_f64(run.warmup);
        options.join_allowance = Duration::from_secs_f64(run.join_allowance);
        options.workers = match run.workers {
            Some(workers) => workers as usize,
            None if self.clients < TWO_WORKERS_FROM => 1,
            None => 2,
        };
        options.clients_per_socket = match run.sockets {
            Some(sockets) => self.clients.div_ceil(sockets),
            None => DEFAULT_CLIENTS_PER_SOCKET,
        };
        options.decode = run.decode;
        options.slow = self.slow;
        options.churn_per_s = self.churn_per_s;
        options.rebind = self.rebind;
        options.plant = run.plant;
    }

    /// Where the page with the plots goes.
    pub(super) fn html(&self) -> Option<PathBuf> {
        let beside = || self.run.json.as_ref().map(|json| json.with_extension("html"));
        self.run.html.clone().or_else(beside)
    }
}

/// A server's fingerprint, as it announces it.
pub(super) fn fingerprint(hex: &str) -> Result<crate::Trust> {
    let fingerprint = hex
        .parse()
        .with_context(|| format!("the server's fingerprint {hex:?}"))?;
    Ok(crate::Trust::Fingerprint(fingerprint))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commands::ClusterArgs;
    use clap::Parser;
    use std::net::SocketAddr;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    enum Line {
        Crowd(CrowdArgs),
        Spread(SpreadArgs),
        Cluster(ClusterArgs),
    }

    /// The plan that a command line asks for.
    pub(in crate::commands) fn plan(line: &str) -> Result<Plan> {
        match Line::try_parse_from(line.split_whitespace())? {
            Line::Crowd(args) => Plan::crowd(&args),
            Line::Spread(args) => Plan::spread(&args),
            Line::Cluster(args) => Plan::cluster(&args),
        }
    }

    fn value(line: &str, key: &str) -> Option<String> {
        let configuration = plan(line).expect(line).configuration(Path::new("d")).expect(line);
        configuration.get(key).map(str::to_owned)
    }

    fn options(line: &str) -> BotsOptions {
        let server: SocketAddr = ([127, 0, 0, 1], 1).into();
        let mut options = BotsOptions::new(server, crate::Trust::Ca(Vec::new()));
        plan(line).expect(line).instruct(&mut options);
        options
    }

    #[test]
    fn arguments_become_the_servers_configuration() {
        for (line, key, expected) in [
            ("crowd --hz 2.5", "space.hz", "2.5"),
            ("crowd", "space.side_m", "100.0"),
            ("crowd", "game.radius", "150.0"),
            ("crowd --clients 10 --entities 50", "game.npcs", "40"),
            ("crowd --clients 10", "client.connections_max", "510"),
            ("crowd --shards 4", "client.shards", "4"),
            ("crowd --motion luacluster", "game.motion", "\"luacluster\""),
            ("crowd --seed 9", "space.seed", "9"),
            ("crowd --config gateway.near_target=7", "gateway.near_target", "7"),
            ("crowd --config space.hz=3", "space.hz", "3"),
            ("spread", "space.side_m", "2000.0"),
            ("spread", "space.spawn_side_m", "2000.0"),
            ("spread --side 500", "space.spawn_side_m", "500.0"),
            ("spread --dense", "space.side_m", "600.0"),
            ("spread --dense", "game.radius", "100.0"),
            ("spread", "game.npcs", "18000"),
            ("spread --cell 700", "space.cell_m", "700.0"),
            ("spread --lanes 2", "space.lanes_per_cell", "2"),
            ("cluster --case wander", "space.side_m", "2000.0"),
            ("cluster --case wander", "game.npcs", "18000"),
            ("cluster --case handoff", "game.npcs", "4998"),
            ("cluster --case handoff", "game.radius", "5.0"),
        ] {
            assert_eq!(value(line, key).as_deref(), Some(expected), "{line}: {key}");
        }
        assert_eq!(value("crowd", "client.shards"), None);
        assert_eq!(value("spread", "space.cell_m"), None);
        assert_eq!(value("spread", "space.lanes_per_cell"), None);
        assert_eq!(value("crowd", "game.motion"), None);
    }

    #[test]
    fn arguments_become_what_the_bots_do() {
        let asked = options(
            "crowd --clients 1000 --sockets 64 --rebind --slow 3 --churn 2 --plant skip --decode own",
        );
        assert_eq!(
            (asked.clients, asked.clients_per_socket, asked.workers),
            (1000, 16, 2)
        );
        assert_eq!((asked.rebind, asked.slow, asked.churn_per_s), (true, 3, 2.0));
        assert_eq!(
            (asked.plant, asked.decode),
            (Some(Plant::Skip), Some(Decode::Own))
        );
        let asked = options("spread --clients 10 --join-allowance 7 --warmup 1.5 --seed 4");
        assert_eq!(asked.workers, 1);
        assert_eq!(asked.join_allowance, Duration::from_secs(7));
        assert_eq!((asked.warmup, asked.seed), (Duration::from_millis(1500), 4));
    }

    #[test]
    fn loss_or_delay_need_a_relay() {
        let weather = |line| plan(line).expect(line).weather;
        assert_eq!(weather("crowd"), None);
        let bad = weather("crowd --loss 2 --delay 80 --seed 3").expect("bad weather");
        assert_eq!(
            (bad.loss, bad.delay, bad.seed),
            (0.02, Duration::from_millis(80), 3)
        );
        assert!(weather("crowd --delay 1").is_some());
    }

    #[test]
    fn the_page_goes_beside_the_json() {
        let html = |line| plan(line).expect(line).html();
        assert_eq!(html("crowd"), None);
        assert_eq!(html("crowd --json a/b.json"), Some("a/b.html".into()));
        assert_eq!(html("crowd --json a/b.json --html c.html"), Some("c.html".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_way_out() {
        for (line, word) in [
            ("crowd --clients 10 --entities 9", "--entities"),
            ("crowd --hz 0", "--hz"),
            ("crowd --hz NaN", "--hz"),
            ("crowd --seconds 0", "--seconds"),
            ("crowd --loss 100", "--loss"),
            ("crowd --delay -1", "--delay"),
            ("crowd --clients 10 --slow 10", "--slow"),
            ("crowd --clients 10 --churn 11", "--churn"),
            ("crowd --warmup -1", "--warmup"),
            ("crowd --config hz", "--config"),
            ("spread --side 1", "--side"),
            ("spread --side 500 --dense", "--dense"),
        ] {
            let line = line
                .replace("--delay -1", "--delay=-1")
                .replace("--warmup -1", "--warmup=-1");
            let error = format!("{:#}", plan(&line).expect_err(&line));
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
