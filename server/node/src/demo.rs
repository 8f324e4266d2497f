//! `myriad demo`: a server in its own process, real clients in this one, and the report of what they verified.
//!
//! It uses what everybody can use: `myriad serve` with a configuration, and the harness behind `myriad bots`.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use myriad_harness::{BotsOptions, Thresholds, Trust, TruthSource};
use serde::Deserialize;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

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
      myriad demo --clients 1000 --json report.json")]
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
    let server = Server::start(folder.path(), &configuration(args, folder.path()))?;
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
    options.truth = Some(TruthSource {
        url: format!("http://{}", server.said.admin),
        token: None,
    });
    options.server_pids = vec![server.child.id()];
    let outcome = crate::run_bots(options, &Thresholds::promised(args.clients));
    server.stop()?;
    outcome
}

fn configuration(args: &DemoArgs, folder: &Path) -> String {
    let npcs = args.entities - args.clients;
    format!(
        "[space]\nhz = {hz:?}\nside_m = {SIDE_M}\nspawn_side_m = {SIDE_M}\nseed = {seed}\n\
         [game]\nnpcs = {npcs}\nradius = {RADIUS_M}\n\
         [storage]\ndata = {data:?}\n\
         [client]\nlisten = \"127.0.0.1:0\"\nconnections_max = {connections}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntruth = true\n\
         [log]\nfilter = \"warn\"\n",
        hz = args.hz,
        seed = args.seed,
        data = folder.join("data"),
        connections = args.clients + 100,
    )
}

/// A server that was started for the demo. Killed if it is dropped before [`Self::stop`].
struct Server {
    child: Child,
    said: Announcement,
}

/// What the server says once it is ready.
#[derive(Debug, Deserialize)]
struct Announcement {
    client: SocketAddr,
    admin: SocketAddr,
    fingerprint: String,
}

impl Server {
    fn start(folder: &Path, configuration: &str) -> Result<Self> {
        let file = folder.join("demo.toml");
        std::fs::write(&file, configuration)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--announce", "--until-stdin-closes", "--config"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("can't start the server")?;
        let stdout = child.stdout.take().expect("stdout was asked for");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let status = child.wait()?;
            bail!("the server ended before it was ready: {status}");
        }
        let said = serde_json::from_str(&line).with_context(|| format!("the server announced {line:?}"))?;
        Ok(Self { child, said })
    }

    /// Lets the server drain, and waits for its end.
    fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill, and the answer says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
