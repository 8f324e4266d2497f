//! `myriad-bench aoi-table`: the rows that the engine has to answer for, each from one command line.
//!
//! A row is measured three times: as its command line says, the same on two threads, and, shorter, against brute
//! force. What is recorded is one JSON file per row; [`verdict`](super::verdict) holds the figures against the aims.

use crate::aoi::args::AoiArgs;
use crate::aoi::measure::measure;
use crate::aoi::report::{AoiReport, Head, OracleOutcome};
use crate::aoi::verdict::{Bound, Check, EXACT, ROWS, Row, Runs, judge};
use crate::header::Header;
use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Entities of a quick run against brute force.
const QUICK_ENTITIES: u32 = 1_000;

/// What of the table is measured.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  All rows, recorded; nothing else should run beside it:
      myriad-bench aoi-table --json bench/results/aoi

  See that everything works, in a few minutes:
      myriad-bench aoi-table --quick

  Two of the rows:
      myriad-bench aoi-table --rows visible-1000,gateway

  What each row runs:
      myriad-bench aoi-table --list")]
pub struct TableArgs {
    /// Few ticks, and few entities against brute force: shows that it works, not how fast it is.
    #[arg(long)]
    pub quick: bool,
    /// Write one JSON file per row into this directory.
    #[arg(long, value_name = "DIR")]
    pub json: Option<PathBuf>,
    /// Only these rows. Limits that are told in multiples of the first row need it among them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Print the rows' command lines, and measure nothing.
    #[arg(long)]
    pub list: bool,
    /// Seed of places and ways.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// One row as it is recorded: the report of its command line, and the two others.
#[derive(Clone, Debug, Serialize)]
struct RowResult {
    /// The row's name; its file's, too.
    row: &'static str,
    /// What is measured, for people.
    title: &'static str,
    /// One thread.
    #[serde(flatten)]
    one: AoiReport,
    /// Elapsed time on one thread as a multiple of that on two: medians.
    wall_ratio: f64,
    /// The same of the update alone, without moves and events, which nobody shares out.
    update_wall_ratio: f64,
    /// The figures against the aims.
    checks: Vec<Check>,
    /// The run on two threads.
    two_threads: AoiReport,
    /// The run against brute force.
    oracle_run: AoiReport,
}

/// The rows that were measured.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<RowResult>,
    quick: bool,
}

impl Table {
    /// Whether every row is what it must be. A quick run can only be right, not fast.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        let holds = |row: &RowResult| {
            if self.quick {
                row.is_right()
            } else {
                row.is_reached()
            }
        };
        self.rows.iter().all(holds)
    }
}

impl RowResult {
    fn is_reached(&self) -> bool {
        self.checks.iter().all(|check| check.reached)
    }

    fn is_right(&self) -> bool {
        let exact = self.checks.iter().filter(|check| EXACT.contains(&check.what));
        exact.into_iter().all(|check| check.reached)
    }
}

/// The command lines of all rows, timed and against brute force.
#[must_use]
pub fn list() -> String {
    let lines = ROWS.iter().map(|row| {
        format!(
            "{}: {}\n  myriad-bench aoi {}\n  myriad-bench aoi {}\n",
            row.name, row.title, row.arguments, row.oracle_arguments
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Measures the rows and records them where asked.
///
/// # Errors
/// If a row's name is unknown, a kernel is missing, or a file can't be written.
pub fn run(args: &TableArgs) -> anyhow::Result<Table> {
    let rows = chosen(&args.rows)?;
    if let Some(directory) = &args.json {
        std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    }
    let start = Head::from(Header::collect(0.0));
    let mut results: Vec<RowResult> = Vec::new();
    for (row, number) in rows.iter().zip(1..) {
        eprintln!("{number} of {}: {}, {}", rows.len(), row.name, row.title);
        let first = results.iter().find(|result| result.row == ROWS[0].name);
        let first_ms = first.map(|first| first.one.amortised_ms);
        let mut result = measure_row(row, args, first_ms).with_context(|| format!("row {}", row.name))?;
        for report in [&mut result.one, &mut result.two_threads, &mut result.oracle_run] {
            report.head.built_as(&start);
        }
        if let Some(directory) = &args.json {
            write(&result, directory)?;
        }
        eprintln!("{}\n", result.one);
        results.push(result);
    }
    Ok(Table {
        rows: results,
        quick: args.quick,
    })
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    for name in names {
        ensure!(
            ROWS.iter().any(|row| row.name == name),
            "there is no row {name}; `myriad-bench aoi-table --list` tells the names"
        );
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(ROWS.iter().filter(wanted).collect())
}

fn measure_row(row: &'static Row, args: &TableArgs, first_ms: Option<f64>) -> anyhow::Result<RowResult> {
    let (timed, brute) = (
        arguments(row.arguments, args)?,
        arguments(row.oracle_arguments, args)?,
    );
    let brute = if args.quick { thinned(brute) } else { brute };
    let one = report_of(&timed, row.name)?;
    let two = AoiArgs {
        threads: 2,
        baselines: false,
        ..timed
    };
    let two_threads = report_of(&two, &format!("{}, 2 threads,", row.name))?;
    let oracle_run = report_of(&brute, &format!("{}, brute force,", row.name))?;
    let runs = Runs {
        one: &one,
        two: &two_threads,
        oracle: &oracle_run,
    };
    let checks = judge(row, runs, first_ms);
    Ok(RowResult {
        row: row.name,
        title: row.title,
        wall_ratio: one.wall_median_ms / two_threads.wall_median_ms,
        update_wall_ratio: one.wall_parts_ms.update / two_threads.wall_parts_ms.update,
        checks,
        one,
        two_threads,
        oracle_run,
    })
}

/// Measures, and says the command line that does the same alone.
fn report_of(args: &AoiArgs, name: &str) -> anyhow::Result<AoiReport> {
    let mut report = measure(args, name)?;
    report.head.command = format!("myriad-bench aoi {}", args.line());
    Ok(report)
}

fn arguments(line: &str, args: &TableArgs) -> anyhow::Result<AoiArgs> {
    let mut parsed = AoiArgs::parse_line(line)?;
    parsed.seed = args.seed;
    if args.quick {
        parsed.warm_up = parsed.warm_up.min(5);
        parsed.ticks = parsed.ticks.min(20);
        parsed.baseline_ticks = 1;
    }
    Ok(parsed)
}

/// Fewer entities on the same ground.
fn thinned(args: AoiArgs) -> AoiArgs {
    let entities = args.entities.min(QUICK_ENTITIES);
    let share = f64::from(entities) / f64::from(args.entities);
    AoiArgs {
        entities,
        observers: args
            .observers
            .map(|observers| (f64::from(observers) * share) as u32),
        visible: args.visible.map(|visible| (visible * share).max(2.0)),
        ..args
    }
}

fn write(result: &RowResult, directory: &Path) -> anyhow::Result<()> {
    let file = directory.join(format!("{}.json", result.row));
    let text = serde_json::to_string_pretty(result).context("the row as JSON")?;
    std::fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<21} {:>9} {:>7} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>7} {:>9}  verdict",
            "row",
            "mean ms",
            "must",
            "aim",
            "median",
            "p99.9",
            "events",
            "in view",
            "2 threads",
            "allocs",
            "x grid",
            "oracle"
        )?;
        for row in &self.rows {
            row.fmt_line(f)?;
        }
        if self.quick {
            return write!(f, "a quick run: it tells what is right, not how fast it is");
        }
        match self.rows.iter().filter(|row| !row.is_reached()).count() {
            0 => write!(f, "every row is what it must be"),
            missed => write!(
                f,
                "{missed} of {} rows are not what they must be",
                self.rows.len()
            ),
        }
    }
}

impl RowResult {
    fn fmt_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = &self.one;
        let limit = |bound: Option<Bound>| match bound {
            Some(Bound::AtMost(ms) | Bound::AtLeast(ms)) => format!("{ms:.2}"),
            None => "-".into(),
        };
        let cost = self.checks.iter().find(|check| check.what == "amortised_ms");
        let grid = one
            .baselines_ms
            .map(|baselines| baselines.grid_vec / one.amortised_ms);
        let oracle = match self.oracle_run.oracle {
            Some(OracleOutcome::Equal) => "equal",
            Some(OracleOutcome::Different) => "DIFFERENT",
            None => "-",
        };
        writeln!(
            f,
            "{:<21} {:>9.3} {:>7} {:>7} {:>9.3} {:>9.3} {:>9.0} {:>9.1} {:>7.2} x {:>6} {:>7} {oracle:>9}  {}",
            self.row,
            one.amortised_ms,
            limit(cost.map(|check| check.must)),
            limit(cost.and_then(|check| check.aim)),
            one.median_ms,
            one.p999_ms,
            one.events_per_tick,
            one.visible_mean,
            self.wall_ratio,
            one.allocs_per_tick
                .map_or_else(|| "-".into(), |count| count.to_string()),
            grid.map_or_else(|| "-".into(), |times| format!("{times:.0}")),
            self.told()
        )
    }

    fn told(&self) -> String {
        let missed: Vec<_> = self.checks.iter().filter(|check| !check.reached).collect();
        if missed.is_empty() {
            let aimed = self.checks.iter().all(|check| check.aim_reached != Some(false));
            return if aimed { "reached" } else { "reached, not the aim" }.into();
        }
        let told = missed.iter().map(|check| match check.must {
            Bound::AtMost(most) => format!("{} {:.3} > {most:.3}", check.what, check.value),
            Bound::AtLeast(least) => format!("{} {:.2} < {least:.2}", check.what, check.value),
        });
        format!("MISSED: {}", told.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aoi::args::Plan;

    fn quick() -> TableArgs {
        TableArgs {
            quick: true,
            json: None,
            rows: Vec::new(),
            list: false,
            seed: 1,
        }
    }

    #[test]
    fn every_row_is_a_command_line_that_makes_sense() {
        for row in &ROWS {
            let timed = AoiArgs::parse_line(row.arguments).expect(row.name);
            let brute = AoiArgs::parse_line(row.oracle_arguments).expect(row.name);
            assert!(
                brute.oracle && !timed.oracle && timed.ticks >= 2000,
                "{}",
                row.name
            );
            assert_eq!(
                (timed.masks, timed.radii),
                (brute.masks, brute.radii),
                "{}",
                row.name
            );
            assert_eq!(
                (timed.visible, timed.side),
                (brute.visible, brute.side),
                "{}",
                row.name
            );
            for line in [timed, brute] {
                let kernel = crate::aoi::args::KernelChoice::Auto;
                Plan::of(&AoiArgs { kernel, ..line }).expect(row.name);
            }
            assert!(list().contains(row.arguments));
        }
    }

    #[test]
    fn a_command_line_says_what_the_arguments_say() {
        for line in ROWS.iter().flat_map(|row| [row.arguments, row.oracle_arguments]) {
            let parsed = AoiArgs::parse_line(line).expect(line);
            let again = AoiArgs::parse_line(&parsed.line()).expect(line);
            assert_eq!(again.line(), parsed.line());
            assert_eq!(format!("{again:?}"), format!("{parsed:?}"), "{line}");
        }
    }

    #[test]
    fn thinned_rows_keep_their_ground() {
        let row = AoiArgs::parse_line("--entities 10000 --observers 5000 --visible 1000")
            .expect("it is well-formed");
        let thin = thinned(row.clone());
        assert_eq!(
            (thin.entities, thin.observers, thin.visible),
            (1000, Some(500), Some(100.0))
        );
        let side = |args| Plan::of(args).expect("it makes sense").side_m;
        assert!((side(&thin) / side(&row) - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_row_is_measured_three_times_and_told() {
        let row = &ROWS[1];
        let row = Row {
            arguments: "--entities 60 --side 60 --radius 20 --baselines",
            oracle_arguments: "--entities 60 --side 60 --radius 20 --oracle",
            ..*row
        };
        let result = measure_row(Box::leak(Box::new(row)), &quick(), None).expect("it makes sense");
        assert_eq!(result.two_threads.threads, 2);
        assert_eq!(result.oracle_run.oracle, Some(OracleOutcome::Equal));
        assert_eq!(
            result.two_threads.head.command,
            "myriad-bench aoi --entities 60 --side 60 --threads 2 --ticks 20 --warm-up 5 --radius 20"
        );
        let json = serde_json::to_value(&result).expect("it is plain data");
        assert!(
            json["median_ms"].is_f64() && json["row"] == "square-200",
            "{json}"
        );
        let told = Table {
            rows: vec![result],
            quick: true,
        };
        assert!(told.is_reached(), "{told}");
        let told = told.to_string();
        assert!(told.contains("square-200") && told.contains("equal"), "{told}");
    }

    #[test]
    fn an_unknown_row_is_refused() {
        assert!(chosen(&["nothing".into()]).is_err());
        assert_eq!(chosen(&["gateway".into()]).expect("it is there").len(), 1);
        assert_eq!(chosen(&[]).expect("all").len(), ROWS.len());
    }
}
