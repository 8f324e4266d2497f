//! The `myriad` binary: one server, one cluster node, the demo, or the load harness.

mod ca;
mod changes;
mod clock;
mod cluster_up;
mod config;
mod control;
mod ctl;
mod demo;
mod farewell;
mod gateway_loop;
mod lane_loop;
mod lanes;
mod layout;
mod membership;
mod metrics;
mod node;
mod scripts;
mod start;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use config::Config;
use myriad_harness::{BotsArgs, BotsOptions, Progress, Thresholds};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Thousands of connections allocate and free small buffers all the time, across threads; the system's allocator took
/// a tenth of the server's and the bots' time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An authoritative game server for very large crowds.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  See it work: a server, 300 real clients, and the verified report
      myriad demo

  A cluster of six processes on this machine, and what each of them does
      myriad cluster up --cells 3 --gateways 2

  A server of your own, with the game in ./mygame
      MYRIAD_SCRIPTS__DIRECTORY=mygame myriad serve --data world

  Every configuration key, with its default and meaning
      myriad config > myriad.toml")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server with real clients among its entities, and report what the clients verified.
    Demo(demo::DemoArgs),
    /// Run all roles in one process: clients on 127.0.0.1:4433 (UDP), admin HTTP on 127.0.0.1:8080.
    Serve(ServeArgs),
    /// Run one node of a cluster, with the roles of its configuration file.
    Node(NodeArgs),
    /// Run the load harness against a running server.
    Bots(Box<BotsArgs>),
    /// Print every configuration key, with its default and its meaning, as a configuration file.
    Config,
    /// Start a whole cluster on this machine.
    Cluster(cluster_up::ClusterArgs),
    /// Look at a running cluster, and change its lanes.
    Ctl(ctl::CtlArgs),
    /// Make the certificates with which the nodes of a cluster know each other.
    Ca(ca::CaArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad serve
  myriad serve --config myriad.toml --data /var/lib/myriad
  MYRIAD_SPACE__HZ=20 myriad serve")]
struct ServeArgs {
    /// Configuration file (TOML); see `myriad config`. Without one: the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for what must survive a restart, in place of the configuration's storage.data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    supervision: node::Supervision,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad ca --directory certificates --node directory --node cell-1 --node gateway-1
  myriad node --config directory.toml
  myriad node --config cell-1.toml
  myriad node --config gateway-1.toml")]
struct NodeArgs {
    /// Configuration file (TOML); see `myriad config`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    supervision: node::Supervision,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve(args),
        Command::Node(args) => node(&args),
        Command::Bots(args) => bots(*args),
        Command::Config => {
            print!("{}", Config::reference());
            Ok(ExitCode::SUCCESS)
        }
        Command::Cluster(args) => cluster_up::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Ca(args) => ca::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn serve(args: ServeArgs) -> Result<ExitCode> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(data) = args.data {
        config.storage.data = data;
    }
    node::run(config, &args.supervision)
}

fn node(args: &NodeArgs) -> Result<ExitCode> {
    node::run(Config::load(Some(&args.config))?, &args.supervision)
}

fn bots(args: BotsArgs) -> Result<ExitCode> {
    let options = args.into_options()?;
    let thresholds = if options.truth.is_empty() {
        Thresholds::without_truth(options.clients)
    } else {
        Thresholds::promised(options.clients)
    };
    run_bots(options, &thresholds)
}

/// Runs the harness to its end and prints what it found.
fn run_bots(options: BotsOptions, thresholds: &Thresholds) -> Result<ExitCode> {
    let quiet = options.quiet;
    let progress = Arc::new(if quiet {
        Progress::silent()
    } else {
        Progress::for_people()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = myriad_harness::run(options, progress) => report,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    })?;
    let verdict = report.verdict(thresholds);
    if !quiet {
        println!("{report}");
        println!("{verdict}");
    }
    Ok(ExitCode::from(verdict.exit_code()))
}
