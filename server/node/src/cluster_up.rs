//! `myriad cluster up`: a whole cluster of processes on this machine, for trying, demonstrating and measuring.

use crate::ctl::overview::{Access, Overview};
use crate::ctl::show;
use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use myriad_harness::Thresholds;
use myriad_harness::cluster::{CELLS_MAX, ClusterSize, LocalCluster};
use myriad_harness::server::Configuration;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// How far avatars see by default, in metres.
const RADIUS_M: f64 = 100.0;
/// How often the cluster is looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// From so many clients on, the bots get a second thread: at ten ticks a second, and with views like these.
const TWO_WORKERS_FROM: u32 = 300;

/// Clusters on this machine.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Start a cluster of processes on this machine, and show its state until Ctrl-C.
    Up(UpArgs),
}

/// Start a cluster of processes on this machine: one with the directory, and as many with lanes and with clients as asked.
/// Certificates, configurations and ports are made for it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  Three processes with three cells each, two gateways; shows who runs what until Ctrl-C
      myriad cluster up --cells 3 --gateways 2

  The same with 500 real clients for 20 seconds, and the report of what they verified
      myriad cluster up --cells 3 --gateways 2 --demo 500 --seconds 20

  One to keep: its store, certificates and configurations stay in ./world
      myriad cluster up --cells 2 --gateways 1 --data world --config scripts.directory=mygame")]
struct UpArgs {
    /// Processes with lanes. The space is cut into as many rows and columns of cells.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(CELLS_MAX)))]
    cells: u32,
    /// Processes that hold client connections.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    gateways: u32,
    /// Side of the square that is the space, in metres.
    #[arg(long, value_name = "METRES", default_value_t = 300.0)]
    side: f64,
    /// Entities in the square, the demo's avatars among them; the game's scripts move the others.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    entities: u32,
    /// Ticks per second.
    #[arg(long, default_value_t = 10.0)]
    hz: f64,
    /// Folder for everything that the cluster writes, kept [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Further configuration of all nodes, as `myriad config` prints it; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Run so many real clients against it and report what they verified, then tear it down.
    #[arg(long, value_name = "CLIENTS", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    demo: Option<u32>,
    /// How long the demo measures, in seconds, after everybody has joined.
    #[arg(long, default_value_t = 20.0, requires = "demo")]
    seconds: f64,
    /// Write the demo's report as JSON to this file.
    #[arg(long, value_name = "FILE", requires = "demo")]
    json: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// Runs `myriad cluster`.
pub(crate) fn run(args: &ClusterArgs) -> Result<ExitCode> {
    let ClusterCommand::Up(args) = &args.command;
    let avatars = args.demo.unwrap_or(0);
    ensure!(
        args.entities >= avatars,
        "--entities counts the clients' avatars too: at least {avatars}"
    );
    let temporary = tempfile::tempdir().context("can't make a temporary folder")?;
    let folder = match &args.data {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
            folder.canonicalize()?
        }
        None => temporary.path().to_owned(),
    };
    let program = std::env::current_exe()?;
    let size = ClusterSize {
        cells: args.cells,
        gateways: args.gateways,
    };
    let configuration = configuration(args, &folder)?;
    let start = || {
        LocalCluster::start(
            &|| Command::new(&program),
            &folder,
            size,
            args.side,
            &configuration,
        )
    };
    let cluster = start().context("the cluster did not start")?;
    for node in cluster.nodes() {
        let door = node.said.client.map(|client| format!(", clients at {client}"));
        eprintln!(
            "{:<12} admin http://{}{}",
            node.name,
            node.said.admin,
            door.unwrap_or_default()
        );
    }
    match args.demo {
        Some(clients) => demo(args, cluster, clients),
        None => watch(cluster),
    }
}

fn configuration(args: &UpArgs, folder: &Path) -> Result<Configuration> {
    let mut configuration = Configuration::new(folder);
    configuration.set("space.hz", format_args!("{:?}", args.hz));
    configuration.set("space.side_m", format_args!("{:?}", args.side));
    configuration.set("space.spawn_side_m", format_args!("{:?}", args.side));
    configuration.set("space.seed", args.seed);
    configuration.set("game.npcs", args.entities - args.demo.unwrap_or(0));
    configuration.set("game.radius", format_args!("{RADIUS_M:?}"));
    for pair in &args.config {
        configuration.set_pair(pair)?;
    }
    Ok(configuration)
}

/// Shows the cluster's state until Ctrl-C, then lets it drain.
fn watch(mut cluster: LocalCluster) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let admin = cluster
        .nodes()
        .next()
        .expect("the one with the directory")
        .admin()
        .url;
    let access = Access::new(None);
    let ended = runtime.block_on(async {
        loop {
            // It asks and waits; nothing else goes on here.
            if let Ok(overview) = Overview::ask(&access, &admin) {
                show(&format!(
                    "{}\n{}\n{}\nCtrl-C stops the cluster.",
                    overview.nodes(),
                    overview.cells(),
                    overview.lanes()
                ))?;
            }
            if let Some(name) = cluster.ended() {
                return anyhow::Ok(Some(name.to_owned()));
            }
            tokio::select! {
                told = &mut interrupted => {
                    told?;
                    return Ok(None);
                }
                () = tokio::time::sleep(LOOK_PERIOD) => {}
            }
        }
    })?;
    if let Some(name) = ended {
        bail!("{name} has ended by itself; the others are stopped");
    }
    eprintln!("\nstopping");
    cluster.stop()?;
    Ok(ExitCode::SUCCESS)
}

fn demo(args: &UpArgs, cluster: LocalCluster, clients: u32) -> Result<ExitCode> {
    let mut options = cluster.bots()?;
    options.clients = clients;
    options.workers = if clients < TWO_WORKERS_FROM { 1 } else { 2 };
    options.seconds = args.seconds;
    options.seed = u64::from(args.seed);
    options.json.clone_from(&args.json);
    let outcome = crate::run_bots(options, &Thresholds::promised(clients));
    cluster.stop()?;
    outcome
}
