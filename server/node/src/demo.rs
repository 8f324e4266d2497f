//! `myriad demo`: a server in its own process, real clients in this one, and the report of what they verified.
//!
//! It uses what everybody can use: `myriad serve` with a configuration, and the harness behind `myriad bots`.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use myriad_harness::commands::args::Cut;
use myriad_harness::server::{Configuration, Server};
use myriad_harness::{AdminServer, BotsOptions, Thresholds, Trust};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Side of the square in which the crowd stands, in metres.
const SIDE_M: u32 = 100;
/// How far avatars see, in metres: farther than the square's diagonal, so that everybody is in everybody's view.
const RADIUS_M: u32 = 150;

/// Start a server with real clients among its entities, and report what the clients verified.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  300 clients among 2,000 entities for 20 seconds
      myriad demo

  1,000 clients, and the report as JSON
      myriad demo --clients 1000 --json report.json

  The square cut into four cells, whose borders everybody crosses
      myriad demo --cell 50")]
pub(crate) struct DemoArgs {
    /// Real clients, each with its own connection, keys and login.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
    /// Entities in the square, the clients' avatars among them; the others are moved by the game's scripts.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    entities: u32,
    /// Ticks per second of the server; each client sends as many intents.
    #[arg(long, default_value_t = 10.0)]
    hz: f64,
    /// How long to measure, in seconds, after everybody has joined.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    #[command(flatten)]
    cut: Cut,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// From so many clients on, the bots get a second thread.
const TWO_WORKERS_FROM: u32 = 800;

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    ensure!(
        args.entities >= args.clients,
        "--entities counts the clients' avatars too: at least {}",
        args.clients
    );
    let folder = tempfile::tempdir().context("can't make a temporary folder")?;
    let program = Command::new(std::env::current_exe()?);
    let server = Server::start(program, folder.path(), &configuration(args, folder.path()))?;
    eprintln!(
        "A server with {} entities in {SIDE_M} m x {SIDE_M} m runs at {} Hz on {}; {} clients join it.",
        args.entities, args.hz, server.said.client, args.clients
    );
    let mut options = BotsOptions::new(
        server.said.client,
        Trust::Fingerprint(server.said.fingerprint.parse()?),
    );
    options.clients = args.clients;
    options.workers = if args.clients < TWO_WORKERS_FROM { 1 } else { 2 };
    options.seconds = args.seconds;
    options.seed = u64::from(args.seed);
    options.json = args.json.clone();
    options.truth = vec![AdminServer {
        url: format!("http://{}", server.said.admin),
        token: None,
    }];
    options.server_pids = vec![server.pid()];
    let outcome = crate::run_bots(options, &Thresholds::promised(args.clients));
    server.stop()?;
    outcome
}

fn configuration(args: &DemoArgs, folder: &Path) -> Configuration {
    let mut configuration = Configuration::new(&folder.join("data"));
    configuration.set("space.hz", format_args!("{:?}", args.hz));
    configuration.set("space.side_m", SIDE_M);
    configuration.set("space.spawn_side_m", SIDE_M);
    configuration.set("space.seed", args.seed);
    args.cut.configure(&mut configuration);
    configuration.set("game.npcs", args.entities - args.clients);
    configuration.set("game.radius", RADIUS_M);
    configuration.set("client.connections_max", args.clients + 100);
    configuration
}
