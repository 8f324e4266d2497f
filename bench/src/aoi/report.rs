//! What `myriad-bench aoi` answers.

use crate::aoi::args::AoiArgs;
use crate::header::Header;
use serde::Serialize;
use std::fmt;

/// Where and with what a measurement was made: [`Header`], but for one name. Here `kernel` is the engine's.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    /// Version of the keys.
    pub schema: u32,
    /// The command line.
    pub command: String,
    /// The commit of the source tree.
    pub commit: String,
    /// Whether the source tree had changes that are in no commit.
    pub dirty: bool,
    /// The host's name and number of CPUs.
    pub machine: String,
    /// The CPU's model.
    pub cpu: String,
    /// The operating system kernel's release.
    pub os_kernel: String,
    /// The compiler that built this.
    pub rustc: String,
    /// When the command started, in seconds since the Unix epoch.
    pub started: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl From<Header> for Head {
    fn from(header: Header) -> Self {
        Self {
            schema: header.schema,
            command: without_directory(&header.command),
            commit: header.commit,
            dirty: header.dirty,
            machine: header.machine,
            cpu: header.cpu,
            os_kernel: header.kernel,
            rustc: header.rustc,
            started: header.started,
            seconds: header.seconds,
        }
    }
}

impl Head {
    /// Takes the source tree's state from `start`: a run that records several reports changes it on its way.
    pub(super) fn built_as(&mut self, start: &Self) {
        self.commit.clone_from(&start.commit);
        self.dirty = start.dirty;
    }
}

/// Where the binary lay says nothing to anybody else.
fn without_directory(command: &str) -> String {
    let (binary, arguments) = command.split_once(' ').unwrap_or((command, ""));
    let name = binary.rsplit('/').next().unwrap_or(binary);
    format!("{name} {arguments}").trim_end().to_owned()
}

/// What was measured. Times are milliseconds per tick; a tick is the moves, the update, and one pass over the events.
#[derive(Clone, Debug, Serialize)]
pub struct AoiReport {
    /// Where and with what.
    #[serde(flatten)]
    pub head: Head,
    /// What was asked for.
    pub arguments: AoiArgs,
    /// Side of the square in metres, given or computed.
    pub side_m: f64,
    /// Subjects in a view, the observer itself included: mean over observers, at the end.
    pub visible_mean: f64,
    /// Share of pairs whose masks meet.
    pub meeting_share: f64,

    /// CPU time of all threads: median.
    pub median_ms: f64,
    /// CPU time of all threads: mean, so that work which is put off counts.
    pub amortised_ms: f64,
    /// CPU time of all threads: 99.9th percentile.
    pub p999_ms: f64,
    /// CPU time of all threads: the longest.
    pub max_ms: f64,
    /// Elapsed time: median.
    pub wall_median_ms: f64,
    /// Elapsed time: mean.
    pub wall_mean_ms: f64,
    /// Elapsed time by parts of the tick.
    pub wall_parts_ms: Parts,
    /// CPU time of the tick that built all views.
    pub first_ms: f64,
    /// Enters and leaves per tick, mean.
    pub events_per_tick: f64,
    /// Pairs in view, at the end.
    pub pairs: u64,
    /// The engine's kernel.
    pub kernel: &'static str,
    /// Threads of the pool.
    pub threads: u32,
    /// Allocations in a tick: median; `None` if nobody counts.
    pub allocs_per_tick: Option<u64>,
    /// Allocations in a tick: the most.
    pub allocs_max: Option<u64>,
    /// Memory that grows with the entities, per entity.
    pub bytes_per_entity: f64,
    /// Memory that grows with the pairs in view, per pair.
    pub bytes_per_pair: f64,
    /// Medians of other ways on the same crowd, on one thread.
    pub baselines_ms: Option<BaselinesMs>,
    /// Whether every event was the same by brute force; `None` if not compared.
    pub oracle: Option<OracleOutcome>,
    /// Events that were compared, those of the first tick and the warm-up included.
    pub events_compared: Option<u64>,
    /// The first difference from brute force.
    pub difference: Option<String>,
    /// A sum over all events: the same for every number of threads and every kernel.
    pub events_checksum: u64,
}

/// Elapsed time in the parts of a tick: medians in ms.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Parts {
    /// Telling the engine who moved.
    pub moves: f64,
    /// The update.
    pub update: f64,
    /// Reading the events.
    pub events: f64,
}

/// CPU time of other ways, medians in ms.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BaselinesMs {
    /// A uniform grid, and sorted lists compared.
    pub grid_vec: f64,
    /// The crate `rstar`, and sorted lists compared.
    pub rstar: f64,
    /// Cross-linked lists; `None` for a gateway, which they can't do.
    pub cross_list: Option<f64>,
    /// The part of `cross_list` that keeps the lists and the boxes, without telling the circle from the box.
    pub cross_list_boxes: Option<f64>,
}

/// What comparing with brute force came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OracleOutcome {
    /// All events were the same.
    Equal,
    /// Some were not.
    Different,
}

impl fmt::Display for AoiReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = &self.arguments;
        let observers = arguments.observers.unwrap_or(arguments.entities);
        let side = self.side_m;
        writeln!(
            f,
            "{observers} observers of {} entities in {side:.0} m x {side:.0} m: {:.1} in view ({} pairs), {:.0} events per tick",
            arguments.entities, self.visible_mean, self.pairs, self.events_per_tick
        )?;
        if self.meeting_share < 1.0 {
            let percent = self.meeting_share * 100.0;
            writeln!(f, "     masks  {percent:.1} % of pairs meet")?;
        }
        writeln!(
            f,
            "       CPU  median {:.3}, mean {:.3}, p99.9 {:.3}, max {:.3} ms per tick ({} ticks, {}, {} thread{})",
            self.median_ms,
            self.amortised_ms,
            self.p999_ms,
            self.max_ms,
            arguments.ticks,
            self.kernel,
            self.threads,
            if self.threads == 1 { "" } else { "s" }
        )?;
        let Parts {
            moves,
            update,
            events,
        } = self.wall_parts_ms;
        writeln!(
            f,
            "   elapsed  median {:.3}: moves {moves:.3}, update {update:.3}, events {events:.3} ms; first tick {:.1} ms of CPU",
            self.wall_median_ms, self.first_ms
        )?;
        write!(
            f,
            "    memory  {:.1} bytes per entity, {:.3} per pair",
            self.bytes_per_entity, self.bytes_per_pair
        )?;
        if let (Some(median), Some(most)) = (self.allocs_per_tick, self.allocs_max) {
            write!(f, "; {median} allocations per tick, {most} at most")?;
        }
        if let Some(baselines) = &self.baselines_ms {
            let times = |ms: f64| format!("{ms:.1} ms ({:.0} x)", ms / self.amortised_ms);
            write!(
                f,
                "\n baselines  grid + sorted Vec {}, rstar {}",
                times(baselines.grid_vec),
                times(baselines.rstar)
            )?;
            if let (Some(all), Some(boxes)) = (baselines.cross_list, baselines.cross_list_boxes) {
                write!(f, ", cross-linked lists {} of which boxes {boxes:.1}", times(all))?;
            }
        }
        match (&self.oracle, &self.difference) {
            (Some(OracleOutcome::Equal), _) => {
                let compared = self.events_compared.unwrap_or_default();
                write!(f, "\n    oracle  equal: {compared} events compared")
            }
            (Some(OracleOutcome::Different), Some(what)) => write!(f, "\n    oracle  DIFFERENT: {what}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_told_without_its_directory() {
        assert_eq!(
            without_directory("/a/b/myriad-bench aoi --side 70"),
            "myriad-bench aoi --side 70"
        );
        assert_eq!(without_directory("myriad-bench"), "myriad-bench");
    }
}
