//! What `myriad ctl` changes: it asks a node's admin HTTP to, and shows what comes of it.

use super::overview::{Access, LanePlace, Overview};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often it is looked what has become of a change.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// Give a cell more lanes: what it has is shared out among them while everybody plays on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad ctl split 4
  myriad ctl split 1,1 --lanes 4
  myriad ctl split 1,1 --node cell-2")]
pub(super) struct SplitArgs {
    /// The cell: its number, or its column and row as `myriad ctl lanes` shows them.
    cell: String,
    /// How many lanes it is to have [default: one more than it has]
    #[arg(long, value_name = "LANES")]
    lanes: Option<u32>,
    /// The node that runs the new lanes [default: those with the fewest]
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Leave a cell fewer lanes: those that go hand all they have to those that stay.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad ctl merge 1,1
  myriad ctl merge 4 --lanes 2
  myriad ctl merge --lane 7")]
pub(super) struct MergeArgs {
    /// The cell: its number, or its column and row as `myriad ctl lanes` shows them.
    #[arg(required_unless_present = "lane", conflicts_with = "lane")]
    cell: Option<String>,
    /// How many lanes it keeps [default: one]
    #[arg(long, value_name = "LANES", conflicts_with = "lane")]
    lanes: Option<u32>,
    /// The one lane that goes.
    #[arg(long, value_name = "LANE")]
    lane: Option<u32>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Let another node run what a lane has. A new lane at that node takes it over; the old one ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad ctl move 7 cell-2")]
pub(super) struct MoveArgs {
    /// The lane.
    lane: u32,
    /// The node.
    node: String,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Clone, Copy, Debug, Args)]
struct WaitArgs {
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
    /// How long it is waited, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    patience: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("between 0.1 and 3600 s".to_owned())
    }
}

pub(super) fn split(access: &Access, admin: &str, args: &SplitArgs) -> Result<()> {
    let before = Overview::ask(access, admin)?;
    let cell = cell(&args.cell, before.columns())?;
    let body = serde_json::json!({"cell": cell, "lanes": args.lanes, "node": args.node});
    carry_out(access, admin, ("split", &body), args.wait)
}

pub(super) fn merge(access: &Access, admin: &str, args: &MergeArgs) -> Result<()> {
    let body = match &args.cell {
        Some(name) => {
            let columns = Overview::ask(access, admin)?.columns();
            serde_json::json!({"cell": cell(name, columns)?, "lanes": args.lanes})
        }
        None => serde_json::json!({"lane": args.lane}),
    };
    carry_out(access, admin, ("merge", &body), args.wait)
}

pub(super) fn move_lane(access: &Access, admin: &str, args: &MoveArgs) -> Result<()> {
    let body = serde_json::json!({"lane": args.lane, "node": args.node});
    carry_out(access, admin, ("move", &body), args.wait)
}

/// The number of a cell that is called by it, or by column and row.
fn cell(name: &str, columns: u32) -> Result<u32> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let cell = match name.split_once(',') {
        None => number(name),
        Some((column, row)) => {
            let (column, row) = (number(column), number(row));
            if let Some(column) = column {
                ensure!(
                    column < columns,
                    "{name}: there are {columns} columns, counted from 0"
                );
            }
            column.zip(row).map(|(column, row)| row * columns + column)
        }
    };
    cell.with_context(|| format!("{name:?} is no cell: a number, or a column and a row, as in 1,2"))
}

/// Asks for a change, and tells how it goes until no lane is opening or retiring any more.
fn carry_out(
    access: &Access,
    admin: &str,
    (word, body): (&str, &serde_json::Value),
    wait: WaitArgs,
) -> Result<()> {
    let before = Overview::ask(access, admin)?;
    access.change(admin, word, body)?;
    if wait.no_wait {
        println!("it is being done; `myriad ctl lanes` shows how far it is");
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs_f64(wait.patience);
    let mut known = states(before.lane_places());
    let mut has_begun = false;
    loop {
        let overview = Overview::ask(access, admin)?;
        let now = states(overview.lane_places());
        for line in news(&known, &now) {
            println!("{line}");
        }
        has_begun |= known != now;
        known = now;
        if has_begun && overview.is_settled() {
            println!("done");
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "it is not done after {} s and goes on; `myriad ctl lanes` shows how far it is",
                wait.patience
            );
        }
        std::thread::sleep(LOOK_PERIOD);
    }
}

/// By lane: what it is there for, and where.
type States = BTreeMap<u32, (String, String)>;

fn states(lanes: &[LanePlace]) -> States {
    let state = |lane: &LanePlace| (lane.lane, (lane.duty.clone(), lane.node.clone()));
    lanes.iter().map(state).collect()
}

fn news(before: &States, now: &States) -> Vec<String> {
    let mut lines = Vec::new();
    for (lane, (duty, node)) in now {
        match before.get(lane) {
            None => lines.push(format!("lane {lane} at {node}: {duty}")),
            Some((was, _)) if was != duty => lines.push(format!("lane {lane} at {node}: {duty}")),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|lane| !now.contains_key(lane));
    lines.extend(gone.map(|lane| format!("lane {lane}: ended")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_called_by_its_number_or_its_place() {
        assert_eq!(cell("7", 3).unwrap(), 7);
        assert_eq!(cell("1,2", 3).unwrap(), 7);
        assert_eq!(cell(" 1, 2", 3).unwrap(), 7);
        for wrong in ["", "x", "1,", "3,0", "-1"] {
            assert!(cell(wrong, 3).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_has_changed_is_told() {
        let state = |lanes: &[(u32, &str)]| -> States {
            let state = |(lane, duty): &(u32, &str)| (*lane, ((*duty).to_owned(), "a".to_owned()));
            lanes.iter().map(state).collect()
        };
        let before = state(&[(1, "serving"), (2, "retiring")]);
        let now = state(&[(1, "retiring"), (3, "opening")]);
        assert_eq!(
            news(&before, &now),
            ["lane 1 at a: retiring", "lane 3 at a: opening", "lane 2: ended"]
        );
        assert!(news(&now, &now).is_empty());
    }
}
