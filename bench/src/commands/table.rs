//! `myriad-bench crowd-table`: the project's promises about crowds, one after the other.
//!
//! Each run is a process of its own with the very command line that the row says, so that no run inherits another's
//! memory and every figure can be had again by hand. What is compared here is read from the runs' JSON.

use crate::commands::table_rows::{Compare, Kind, ROWS, Row};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Most that the others' staleness may grow for slow clients: a share of it, or so many ms.
const SLOW_GROWTH: (f64, f64) = (0.1, 20.0);
/// Most that a slow client may cost the server, in KiB: its backlog (gateway.backlog_kib) and what else belongs to it.
const SLOW_KIB: f64 = 512.0 + 128.0;
/// Most CPU time for each client in the large crowd, as a multiple of that in the small one.
const CPU_RATIO: f64 = 1.25;

/// `myriad-bench crowd-table`: every promise about crowds, run and compared.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  What there is, with the command line of each row
      myriad-bench crowd-table --list

  Two of the rows
      myriad-bench crowd-table --only loss churn --json bench/results/crowd

Exit code: 0 if every row is what it must be, 1 if not.")]
pub struct TableArgs {
    /// Print the rows and their command lines; run nothing.
    #[arg(long)]
    pub list: bool,
    /// Run only these rows.
    #[arg(long, value_name = "ROW", num_args = 1.., value_parser = row_names())]
    only: Vec<String>,
    /// Keep each run's report here, as JSON and as a page.
    #[arg(long, value_name = "DIR")]
    json: Option<PathBuf>,
    /// The server's executable [default: `myriad` beside this one].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
}

fn row_names() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

/// The rows, for people.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    for row in &ROWS {
        writeln!(text, "{:<16}  {}", row.name, row.title).expect("a String takes everything");
        for (line, _) in lines(row) {
            writeln!(text, "{:16}  myriad-bench {line}", "").expect("a String takes everything");
        }
    }
    text
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    reached: bool,
    detail: String,
}

/// Runs the rows that are asked for.
///
/// # Errors
/// If a folder can't be made or this program can't be started. A run that fails is a row that is not reached.
pub fn run(args: &TableArgs) -> Result<ExitCode> {
    let scratch = tempfile::tempdir().context("can't make a temporary folder")?;
    let folder = args.json.as_deref().unwrap_or(scratch.path());
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut told = Vec::new();
    let wanted = |row: &&Row| args.only.is_empty() || args.only.iter().any(|name| name == row.name);
    for row in ROWS.iter().filter(wanted) {
        let mut reports = Vec::new();
        for (line, file) in lines(row) {
            eprintln!("\n{}: myriad-bench {line}", row.name);
            reports.push(report(line, &folder.join(file), args.server.as_deref())?);
        }
        told.push((row, outcome(row.kind, &reports)));
    }
    println!("\n{}", summary(&told));
    let reached = told.iter().all(|(_, outcome)| outcome.reached);
    Ok(ExitCode::from(u8::from(!reached)))
}

/// The runs of a row, in order: each command line and its file.
fn lines(row: &Row) -> Vec<(&'static str, String)> {
    match row.kind {
        Kind::Passes(line) | Kind::Finds(line, _) => vec![(line, format!("{}.json", row.name))],
        Kind::Pairs {
            pairs, without, with, ..
        } => (1..=pairs)
            .flat_map(|pair| {
                [
                    (without, format!("{}-{pair}-without.json", row.name)),
                    (with, format!("{}-{pair}-with.json", row.name)),
                ]
            })
            .collect(),
    }
}

/// Makes a run, and reads what it recorded. `None` if it recorded nothing.
fn report(line: &str, file: &Path, server: Option<&Path>) -> Result<Option<Value>> {
    // What an earlier run left there is not this run's.
    let _absent = std::fs::remove_file(file);
    let mut command = Command::new(std::env::current_exe()?);
    command.args(line.split_whitespace()).arg("--json").arg(file);
    if let Some(server) = server {
        command.arg("--server").arg(server);
    }
    // The exit code says no more than the record.
    command.status().context("can't start this program again")?;
    let Ok(text) = std::fs::read_to_string(file) else {
        return Ok(None);
    };
    let value = serde_json::from_str(&text).with_context(|| format!("{} is no report", file.display()))?;
    Ok(Some(value))
}

fn outcome(kind: Kind, reports: &[Option<Value>]) -> Outcome {
    let reports: Option<Vec<&Value>> = reports.iter().map(Option::as_ref).collect();
    let Some(reports) = reports else {
        return Outcome {
            reached: false,
            detail: "a run ended without a report".into(),
        };
    };
    let compared = match kind {
        Kind::Passes(_) => return passes(reports[0]),
        Kind::Finds(_, any_of) => return finds(reports[0], any_of),
        Kind::Pairs { compare, .. } => {
            let pairs: Vec<_> = reports.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            match compare {
                Compare::Slow { clients } => slow(&pairs, clients),
                Compare::CpuPerClient => cpu_per_client(&pairs),
            }
        }
    };
    compared.unwrap_or_else(|error| Outcome {
        reached: false,
        detail: error.to_string(),
    })
}

/// The names of the checks that failed in a recorded run.
fn failed(report: &Value) -> Vec<&str> {
    let checks = report.get("verdict").and_then(Value::as_array);
    let failed = checks
        .into_iter()
        .flatten()
        .filter(|check| check["passed"] != true);
    failed.filter_map(|check| check["name"].as_str()).collect()
}

fn passes(report: &Value) -> Outcome {
    let failed = failed(report);
    let reached = failed.is_empty() && report["passed"] == true;
    let mut detail = figures(report);
    if !reached {
        write!(detail, "; failed: {}", failed.join(", ")).expect("a String takes everything");
    }
    Outcome { reached, detail }
}

fn finds(report: &Value, any_of: &[&str]) -> Outcome {
    let failed = failed(report);
    let found: Vec<_> = failed
        .iter()
        .filter(|name| any_of.contains(name))
        .copied()
        .collect();
    Outcome {
        reached: !found.is_empty(),
        detail: match found.is_empty() {
            true => format!("not found; failed: {}", failed.join(", ")),
            false => format!("found by {}", found.join(", ")),
        },
    }
}

fn figure(report: &Value, key: &str) -> Result<f64> {
    let figure = report.pointer(key).and_then(Value::as_f64);
    figure.with_context(|| format!("not measured: {key}"))
}

fn slow(pairs: &[(&Value, &Value)], clients: u32) -> Result<Outcome> {
    let mut grown = Vec::new();
    let mut allowed = Vec::new();
    let mut memory_mib = Vec::new();
    for (without, with) in pairs {
        let p99 = |report| figure(report, "/staleness_ms/all/p99");
        grown.push(p99(with)? - p99(without)?);
        allowed.push((p99(without)? * SLOW_GROWTH.0).max(SLOW_GROWTH.1));
        memory_mib.push(figure(with, "/rss_mib/server")? - figure(without, "/rss_mib/server")?);
    }
    let memory_max = f64::from(clients) * SLOW_KIB / 1024.0;
    let (grown, allowed, memory) = (median(grown)?, median(allowed)?, median(memory_mib)?);
    Ok(Outcome {
        reached: grown <= allowed && memory <= memory_max,
        detail: format!(
            "the others' staleness p99 {grown:+.0} ms (at most {allowed:+.0}), server memory {memory:+.0} MiB (at \
             most {memory_max:+.0}), medians of {} pairs",
            pairs.len()
        ),
    })
}

fn cpu_per_client(pairs: &[(&Value, &Value)]) -> Result<Outcome> {
    let mut ratios = Vec::new();
    for (small, large) in pairs {
        let cpu = |report| figure(report, "/cpu_us_per_client_s");
        ratios.push(cpu(large)? / cpu(small)?);
    }
    let ratio = median(ratios)?;
    Ok(Outcome {
        reached: ratio <= CPU_RATIO,
        detail: format!("{ratio:.2} times as much for each client (at most {CPU_RATIO})"),
    })
}

fn median(mut figures: Vec<f64>) -> Result<f64> {
    ensure!(!figures.is_empty(), "no pair was run");
    figures.sort_unstable_by(f64::total_cmp);
    Ok(figures[figures.len() / 2])
}

/// What people want to know of a run, as far as it was measured.
fn figures(report: &Value) -> String {
    let told = [
        ("coverage", "/coverage_min", 1.0, 4, ""),
        ("near p99", "/staleness_ms/near/p99", 1.0, 0, " ms"),
        ("all p99", "/staleness_ms/all/p99", 1.0, 0, " ms"),
        ("lost", "/clients_lost", 1.0, 0, ""),
        ("server", "/cpu_us_per_client_s", 1.0, 0, " us/client/s"),
        ("memory", "/server_rss_per_client_kib", 1.0, 0, " KiB/client"),
        ("bytes", "/bytes_per_client_s/total", 1e-3, 1, " kB/s"),
        ("updates", "/updates_per_server_cpu_s", 1e-6, 1, " million/CPU s"),
    ];
    let told = told.iter().filter_map(|(name, key, scale, digits, unit)| {
        let figure = figure(report, key).ok()? * scale;
        Some(format!("{name} {figure:.digits$}{unit}"))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn summary(told: &[(&Row, Outcome)]) -> String {
    let mut text = String::new();
    for (row, outcome) in told {
        let word = if outcome.reached { "reached" } else { "MISSED" };
        writeln!(text, "{word:<8} {:<16}  {}", row.name, row.title).expect("a String takes everything");
        writeln!(text, "{:27}{}", "", outcome.detail).expect("a String takes everything");
    }
    let reached = told.iter().filter(|(_, outcome)| outcome.reached).count();
    write!(text, "{reached} of {} rows reached", told.len()).expect("a String takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::args::tests::plan;
    use serde_json::json;

    #[test]
    fn every_row_is_a_command_line_that_makes_sense_and_has_a_name_of_its_own() {
        let mut files = Vec::new();
        for row in &ROWS {
            for (line, file) in lines(row) {
                if let Err(error) = plan(line) {
                    panic!("{}: {error:#}", row.name);
                }
                assert!(list().contains(line));
                files.push(file);
            }
        }
        let runs = files.len();
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), runs);
    }

    #[test]
    fn a_run_passes_only_with_its_own_word_and_no_failed_check() {
        let kind = Kind::Passes("crowd");
        let good = json!({"passed": true, "verdict": [{"name": "a", "passed": true}], "clients_lost": 0});
        let told = outcome(kind, &[Some(good)]);
        assert_eq!((told.reached, told.detail.as_str()), (true, "lost 0"));
        let bad = json!({"passed": false, "verdict": [{"name": "a", "passed": false}]});
        assert_eq!(outcome(kind, &[Some(bad)]).detail, "; failed: a");
        assert!(!outcome(kind, &[Some(json!({}))]).reached);
        assert!(!outcome(kind, &[None]).reached);
    }

    #[test]
    fn a_planted_fault_is_found_only_by_a_check_that_is_about_it() {
        let run =
            |failed: &str| Some(json!({"passed": false, "verdict": [{"name": failed, "passed": false}]}));
        let kind = Kind::Finds("crowd --plant double", &["doubled"]);
        assert!(outcome(kind, &[run("doubled")]).reached);
        assert!(!outcome(kind, &[run("walking")]).reached);
        assert!(!outcome(kind, &[Some(json!({"passed": true, "verdict": []}))]).reached);
    }

    #[test]
    fn of_pairs_the_median_counts() {
        let run = |p99: f64, mib: f64| {
            Some(json!({"staleness_ms": {"all": {"p99": p99}}, "rss_mib": {"server": mib}}))
        };
        let kind = Kind::Pairs {
            pairs: 3,
            without: "",
            with: "",
            compare: Compare::Slow { clients: 100 },
        };
        let reached = |grown: [f64; 3], mib: f64| {
            let reports: Vec<_> = grown
                .iter()
                .flat_map(|grown| [run(100.0, 200.0), run(100.0 + grown, 200.0 + mib)])
                .collect();
            outcome(kind, &reports).reached
        };
        assert!(reached([0.0, 20.0, 900.0], 60.0));
        assert!(!reached([0.0, 21.0, 22.0], 60.0));
        assert!(!reached([0.0, 0.0, 0.0], 63.0), "memory is bounded");
        let unmeasured = outcome(kind, &[Some(json!({})), Some(json!({}))]);
        assert_eq!(unmeasured.detail, "not measured: /staleness_ms/all/p99");
    }

    #[test]
    fn a_client_of_a_large_crowd_may_cost_a_quarter_more() {
        let kind = Kind::Pairs {
            pairs: 1,
            without: "",
            with: "",
            compare: Compare::CpuPerClient,
        };
        let run = |us: f64| Some(json!({"cpu_us_per_client_s": us}));
        assert!(outcome(kind, &[run(100.0), run(125.0)]).reached);
        assert!(!outcome(kind, &[run(100.0), run(126.0)]).reached);
    }
}
