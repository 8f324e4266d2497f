//! Every fuzz target for a bounded time, each built and started by the `run` script beside it, which needs no nightly
//! toolchain. A new finding ends the task; the corpus that was found stays in the working copy.

use crate::command::script;
use anyhow::{Result, bail, ensure};

/// Folders with a `run` script, and their targets.
const TARGETS: &[(&str, &[&str])] = &[
    ("server/aoi/fuzz", &["histories"]),
    (
        "proto/wire/fuzz",
        &["crowd_track", "crowd_message", "payload", "messages"],
    ),
];

/// How long each target runs if nothing else is said.
const SECONDS: u32 = 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each target runs, in seconds, once it is built.
    #[arg(long, default_value_t = SECONDS)]
    seconds: u32,
    /// Only this target; may be given several times.
    #[arg(long)]
    target: Vec<String>,
}

impl Default for Options {
    /// In CI: long enough to notice what a change broke plainly, short enough to wait for.
    fn default() -> Self {
        Self {
            seconds: SECONDS,
            target: Vec::new(),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let known: Vec<&str> = TARGETS
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    if let Some(unknown) = options.target.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no fuzz target {unknown}");
    }
    for (folder, names) in TARGETS {
        let is_wanted =
            |name: &&str| options.target.is_empty() || options.target.iter().any(|one| one == name);
        let names: Vec<&str> = names.iter().copied().filter(is_wanted).collect();
        if names.is_empty() {
            continue;
        }
        let run = format!("{folder}/run");
        // Built apart, so that a machine which can't do it is told from a finding.
        if let Err(error) = script(&run).args(["--build"]).args(names.iter().copied()).run() {
            let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            ensure!(!is_ci, "the fuzz targets in {folder} can't be built: {error:#}");
            eprintln!("\nSKIPPED the fuzz targets in {folder}: they can't be built here ({error:#})");
            continue;
        }
        for name in names {
            let seconds = format!("-max_total_time={}", options.seconds);
            // Without a line for each new path or function.
            script(&run)
                .args([
                    name,
                    &seconds,
                    "-verbosity=0",
                    "-print_funcs=0",
                    "-print_final_stats=1",
                ])
                .run()?;
        }
    }
    Ok(())
}
