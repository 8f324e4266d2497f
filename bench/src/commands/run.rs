//! A run from the server's start to the exit code.

use crate::cluster::LocalCluster;
use crate::commands::args::{self, CrowdArgs, Plan, SpreadArgs, Views};
use crate::commands::cluster_args::{ClusterArgs, ClusterCase};
use crate::commands::program::{self, Program};
use crate::commands::relayout::{self, Changes};
use crate::commands::{lane_cost, limits};
use crate::html;
use crate::relay::{Passage, Relay};
use crate::report::Report;
use crate::server::{Configuration, Server};
use crate::verdict::{Check, Verdict};
use crate::{AdminServer, BotsOptions, Progress};
use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Runs `myriad-bench crowd`: exit code 0 if everything is what it must be.
///
/// # Errors
/// If the arguments make no sense, or the run could not be made.
pub fn crowd(args: &CrowdArgs) -> Result<ExitCode> {
    run(&Plan::crowd(args)?)
}

/// Runs `myriad-bench spread`: exit code 0 if everything is what it must be.
///
/// # Errors
/// If the arguments make no sense, or the run could not be made.
pub fn spread(args: &SpreadArgs) -> Result<ExitCode> {
    run(&Plan::spread(args)?)
}

/// Runs `myriad-bench cluster`: exit code 0 if everything is what it must be.
///
/// # Errors
/// If the arguments make no sense, or the run could not be made.
pub fn cluster(args: &ClusterArgs) -> Result<ExitCode> {
    let plan = Plan::cluster(args)?;
    match args.case {
        ClusterCase::LaneCost => lane_cost::run(&plan),
        ClusterCase::Wander
        | ClusterCase::Handoff
        | ClusterCase::Split
        | ClusterCase::Move
        | ClusterCase::FrameBytes => run(&plan),
    }
}

/// What is recorded of a run.
#[derive(Serialize)]
struct Recorded<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// What the relay did, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<Passage>,
    /// What became of the lanes, if anything was to.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a Changes>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    edges: Option<Edges>,
    /// The server's configuration.
    server_configuration: String,
    passed: bool,
    verdict: &'a [Check],
}

/// The edges of all views in a word: what `spread` is about.
#[derive(Clone, Copy, Debug, Serialize)]
struct Edges {
    entered: u64,
    left: u64,
    missing: u64,
    doubled: u64,
    late: u64,
}

fn run(plan: &Plan) -> Result<ExitCode> {
    let (_, verdict) = measure(plan)?;
    Ok(ExitCode::from(verdict.exit_code()))
}

/// Makes the run, tells and records what came of it.
pub(super) fn measure(plan: &Plan) -> Result<(Report, Verdict)> {
    let program = program::server(plan.run.server.as_deref())?;
    let folder = tempfile::tempdir().context("can't make a temporary folder")?;
    let mut configuration = plan.configuration(&folder.path().join("data"))?;
    if let Some(game) = plan.game {
        let scripts = folder.path().join("game");
        std::fs::create_dir(&scripts)?;
        std::fs::write(scripts.join("main.luau"), game)?;
        configuration.set("scripts.directory", format_args!("{scripts:?}"));
    }
    let server = Measured::start(plan, &program, folder.path(), &configuration)?;
    let mut options = server.bots()?;
    eprintln!(
        "A server with {} entities in {1} m x {1} m runs at {2} Hz on {3}; {4} clients join it.",
        plan.entities, plan.side_m, plan.run.hz, options.servers[0], plan.clients
    );
    let relay = match plan.weather {
        Some(weather) => Some(Relay::start(options.servers[0], weather)?),
        None => None,
    };
    plan.instruct(&mut options);
    if let Some(relay) = &relay {
        options.servers = relay.addresses().to_vec();
        options.one_gateway = true;
    }
    let director = plan.relayout.map(|relayout| {
        let activity = options.activity.insert(Arc::default());
        relayout::start(relayout, options.truth.clone(), Arc::clone(activity))
    });
    let director = director.transpose()?;
    let report = bots(options)?;
    let passage = relay.map(Relay::stop).transpose()?;
    let mut verdict = judged(plan, &report)?;
    let changes = match director.map(JoinHandle::join) {
        Some(changes) => Some(changes.map_err(|_| anyhow!("the thread that changes the lanes panicked"))?),
        None => None,
    };
    verdict.checks.extend(changes.iter().flat_map(Changes::checks));
    println!("{report}");
    if let Some(changes) = &changes {
        println!("{changes}");
    }
    if let Some(passage) = passage {
        println!("{}", told(&passage));
    }
    println!("{verdict}");
    record(
        plan,
        &report,
        (passage, changes.as_ref()),
        &verdict,
        configuration.text(),
    )?;
    server.stop()?;
    Ok((report, verdict))
}

/// What is measured.
enum Measured {
    Server(Server),
    Cluster(LocalCluster),
}

impl Measured {
    fn start(plan: &Plan, program: &Program, folder: &Path, configuration: &Configuration) -> Result<Self> {
        Ok(match plan.cluster {
            None => Self::Server(Server::start(program.command(), folder, configuration)?),
            Some(size) => {
                let command = || program.command();
                Self::Cluster(LocalCluster::start(
                    &command,
                    folder,
                    size,
                    plan.side_m,
                    configuration,
                )?)
            }
        })
    }

    /// Bots that connect to it and know its truth.
    fn bots(&self) -> Result<BotsOptions> {
        match self {
            Self::Cluster(cluster) => cluster.bots(),
            Self::Server(server) => {
                let trust = args::fingerprint(&server.said.fingerprint)?;
                let mut options = BotsOptions::new(server.said.client, trust);
                options.truth = vec![AdminServer {
                    url: format!("http://{}", server.said.admin),
                    token: None,
                }];
                options.server_pids = vec![server.pid()];
                Ok(options)
            }
        }
    }

    fn stop(self) -> Result<()> {
        match self {
            Self::Server(server) => server.stop(),
            Self::Cluster(cluster) => cluster.stop(),
        }
    }
}

fn bots(options: BotsOptions) -> Result<Report> {
    let progress = Arc::new(Progress::for_people());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            report = crate::run(options, progress) => report,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

fn judged(plan: &Plan, report: &Report) -> Result<Verdict> {
    let mut verdict = report.verdict(&limits::thresholds(plan));
    let json = serde_json::to_value(report).context("the report as JSON")?;
    limits::judge(plan, &json, &mut verdict);
    Ok(verdict)
}

/// Writes the JSON and the page, where they are asked for.
fn record(
    plan: &Plan,
    report: &Report,
    (relay, changes): (Option<Passage>, Option<&Changes>),
    verdict: &Verdict,
    server_configuration: String,
) -> Result<()> {
    let views = &report.views;
    let edges = (plan.views != Views::Crowd).then_some(Edges {
        entered: views.entered,
        left: views.left,
        missing: views.missing + views.edges_missing,
        doubled: views.doubled,
        late: views.late,
    });
    let recorded = Recorded {
        report,
        relay,
        changes,
        edges,
        server_configuration,
        passed: verdict.passed(),
        verdict: &verdict.checks,
    };
    if let Some(file) = &plan.run.json {
        let mut text = serde_json::to_string_pretty(&recorded).context("the report as JSON")?;
        text.push('\n');
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = plan.html() {
        let page = html::page(&serde_json::to_value(&recorded)?)?;
        std::fs::write(&file, page).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn told(passage: &Passage) -> String {
    let (up, down) = (&passage.up, &passage.down);
    format!(
        "{:>12}  {} datagrams up, {} down; dropped {} and {}; {} more lost in the relay; at most {} under way; CPU {:.2} s",
        "relay",
        up.forwarded,
        down.forwarded,
        up.dropped,
        down.dropped,
        up.overflowed + down.overflowed + passage.unread,
        passage.queue_max,
        passage.cpu_s
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::args::tests::plan;
    use crate::summary;

    fn recorded(line: &str) -> (serde_json::Value, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("run.json");
        let plan = plan(&format!("{line} --json {}", file.display())).expect(line);
        let report = summary::report(summary::tests::found(&summary::tests::options()));
        let verdict = judged(&plan, &report).expect("a report");
        let relay = plan.weather.map(|_| Passage::default());
        record(&plan, &report, (relay, None), &verdict, "space.hz = 5.0\n".into()).expect("recorded");
        let read = |file| std::fs::read_to_string(file).expect("it was written");
        let json = serde_json::from_str(&read(file.clone())).expect("JSON");
        (json, read(file.with_extension("html")))
    }

    #[test]
    fn a_run_is_recorded_with_its_verdict_and_as_a_page() {
        let (json, page) = recorded("crowd --loss 1");
        assert_eq!(json["server_configuration"], "space.hz = 5.0\n");
        assert!(json["verdict"][0]["name"].is_string() && json["relay"]["cpu_s"].is_number());
        assert!(json.get("entered").is_none() && page.starts_with("<!doctype html>"));
    }

    #[test]
    fn a_spread_tells_its_edges() {
        let (json, _) = recorded("spread");
        for key in ["entered", "left", "missing", "doubled", "late"] {
            assert!(json[key].is_number(), "{key}");
        }
        assert!(json.get("relay").is_none());
    }
}
