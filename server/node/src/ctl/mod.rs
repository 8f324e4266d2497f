//! `myriad ctl`: what an operator asks a cluster, and asks of it. It speaks the admin HTTP, so any node answers for all.

mod change;
pub(crate) mod overview;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use overview::{Access, Overview};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often `top` looks again.
const TOP_PERIOD: Duration = Duration::from_secs(1);

/// Look at a running cluster, and change its lanes, through the admin HTTP of any of its nodes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad ctl nodes
  myriad ctl lanes --admin http://10.0.0.1:8080 --token-file admin.token
  myriad ctl top
  myriad ctl split 1,1 --lanes 2
  myriad ctl move 7 cell-2")]
pub(crate) struct CtlArgs {
    #[command(subcommand)]
    what: What,
    /// Base URL of some node's admin HTTP.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    admin: String,
    /// File with the token that the nodes' admin HTTP asks for.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Who is there: each node, whether it is ready, where it is reached.
    Nodes,
    /// The grid of cells: the nodes that run each, and how many entities it has.
    Cells,
    /// Each lane: its cell, its node, its epoch, and how it is doing.
    Lanes,
    /// All of it, again every second, until Ctrl-C.
    Top,
    Split(change::SplitArgs),
    Merge(change::MergeArgs),
    Move(change::MoveArgs),
}

/// Runs `myriad ctl`.
pub(crate) fn run(args: &CtlArgs) -> Result<ExitCode> {
    let token = match &args.token_file {
        Some(file) => {
            let token = std::fs::read_to_string(file);
            let token = token.with_context(|| format!("reading {}", file.display()))?;
            Some(token.trim().to_owned())
        }
        None => None,
    };
    let access = Access::new(token);
    match tell(args, &access) {
        // Whoever read it has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        told => told.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn tell(args: &CtlArgs, access: &Access) -> Result<()> {
    match &args.what {
        What::Split(split) => return change::split(access, &args.admin, split),
        What::Merge(merge) => return change::merge(access, &args.admin, merge),
        What::Move(wish) => return change::move_lane(access, &args.admin, wish),
        What::Nodes | What::Cells | What::Lanes | What::Top => {}
    }
    loop {
        let overview = Overview::ask(access, &args.admin)?;
        let table = match args.what {
            What::Nodes => overview.nodes(),
            What::Cells => overview.cells(),
            What::Lanes => overview.lanes(),
            What::Top | What::Split(_) | What::Merge(_) | What::Move(_) => {
                show(&format!(
                    "{}\n{}\n{}",
                    overview.nodes(),
                    overview.cells(),
                    overview.lanes()
                ))?;
                std::thread::sleep(TOP_PERIOD);
                continue;
            }
        };
        return Ok(std::io::stdout().write_all(table.as_bytes())?);
    }
}

/// Shows `text` in place of what was shown before, on a terminal; else behind it.
pub(crate) fn show(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        // To the top left corner; each line clears what stood behind it, the end what stood below.
        write!(out, "\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(out.flush()?)
}
