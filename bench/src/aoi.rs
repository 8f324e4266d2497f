//! `myriad-bench aoi`: what the interest engine costs per tick.
//!
//! Everybody moves and everybody observes, in a square of ground. Timed are the calls that a gateway makes in a
//! tick: a move of each subject and each observer, and the update; walking and comparing are not. The first tick,
//! in which all views are built, is told apart.

use crate::cpu;
use crate::header::Header;
use crate::histogram::Percentiles;
use crate::motion::{Ground, MotionKind, Walker};
use anyhow::{Context, bail};
use clap::Args;
use myriad_aoi::oracle::Oracle;
use myriad_aoi::{Config, Engine, Observer, ObserverId, Subject, SubjectId};
use myriad_wire::Pos;
use myriad_wire::grid::UNITS_PER_METRE;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

/// Ticks per second that the walkers' steps are made for.
const HZ: f64 = 10.0;
/// AOI units per metre.
const AOI_UNITS_PER_METRE: f64 = 32.0;

/// What is measured, as the command line says it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  10,000 entities of which about 60 are in view:
      myriad-bench aoi --entities 10000 --side 1000 --radius 44

  All see all, compared with brute force tick by tick (slow):
      myriad-bench aoi --entities 500 --side 100 --radius 150 --ticks 20 --oracle

The engine uses all CPUs; RAYON_NUM_THREADS=1 measures one thread.")]
pub struct AoiArgs {
    /// How many entities; each is subject and observer.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub entities: u32,
    /// Side of the square that they walk in, in metres.
    #[arg(long, default_value_t = 1000.0)]
    pub side: f64,
    /// Enter radius of every observer, in metres.
    #[arg(long, default_value_t = 44.0)]
    pub radius: f64,
    /// Ticks to measure, after the first one.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub ticks: u32,
    /// Seed of places and ways.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How they walk.
    #[arg(long, value_enum, default_value_t = MotionKind::Mixed)]
    pub motion: MotionKind,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Compare every event with brute force; the first difference fails the run.
    #[arg(long)]
    pub oracle: bool,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct AoiReport {
    /// Where and with what.
    #[serde(flatten)]
    pub header: Header,
    /// Seed of places and ways.
    pub seed: u64,
    /// Entities.
    pub entities: u32,
    /// Side of the square in metres.
    pub side_m: f64,
    /// Enter radius in metres.
    pub radius_m: f64,
    /// How they walked.
    pub motion: MotionKind,
    /// Ticks measured.
    pub ticks: u32,
    /// CPU time per tick over all threads, in ms.
    pub cpu_ms: Percentiles,
    /// Elapsed time per tick, in ms.
    pub elapsed_ms: Percentiles,
    /// CPU time of the tick that built all views, in ms.
    pub first_tick_cpu_ms: f64,
    /// Enters and leaves in the measured ticks.
    pub events: u64,
    /// Subjects in view, mean over observers, at the end.
    pub in_view_mean: f64,
    /// Events that were compared with brute force; absent without `--oracle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_compared: Option<u64>,
}

struct Crowd {
    places: Vec<Pos>,
    walkers: Vec<Walker>,
}

impl Crowd {
    fn new(args: &AoiArgs) -> Self {
        let side = (args.side * f64::from(UNITS_PER_METRE)) as i32;
        let ground = Ground {
            min: Pos::default(),
            max: Pos {
                x: side,
                y: 0,
                z: side,
            },
            speed_max: u32::MAX,
            hz: HZ,
        };
        let mut rng = Pcg32::seed_from_u64(args.seed);
        let place = |_| Pos {
            x: rng.random_range(0..=side),
            y: 0,
            z: rng.random_range(0..=side),
        };
        Self {
            places: (0..args.entities).map(place).collect(),
            walkers: (0..args.entities)
                .map(|index| Walker::new(args.motion, index, args.seed, ground))
                .collect(),
        }
    }

    fn walk(&mut self) {
        for (place, walker) in self.places.iter_mut().zip(&mut self.walkers) {
            let step = walker.step(*place);
            place.x += step.dx;
            place.z += step.dz;
        }
    }

    fn each(&self) -> impl Iterator<Item = (u32, [i32; 3])> {
        self.places
            .iter()
            .map(|place| place.to_aoi())
            .enumerate()
            .map(|(i, at)| (i as u32, at))
    }
}

/// Measures, and writes the JSON where asked.
///
/// # Errors
/// If the arguments make no sense, the engine differs from brute force, or the file can't be written.
pub fn run(args: &AoiArgs) -> anyhow::Result<AoiReport> {
    if !(1.0..=100_000.0).contains(&args.side) || !(0.0..=100_000.0).contains(&args.radius) {
        bail!("side and radius lie within 100 km, and the side is at least a metre");
    }
    let header = Header::collect(0.0);
    let began = Instant::now();
    let radius = (args.radius * AOI_UNITS_PER_METRE).round() as u32;
    let mut crowd = Crowd::new(args);
    let mut engine = Engine::new(Config::default());
    let mut oracle = args.oracle.then(|| Oracle::new(Config::default()));
    for (i, position) in crowd.each() {
        let (subject, observer) = citizen(i, position, radius);
        engine.insert_subject(SubjectId(i), subject);
        engine.insert_observer(ObserverId(i), observer);
        if let Some(oracle) = &mut oracle {
            oracle.insert_subject(SubjectId(i), subject);
            oracle.insert_observer(ObserverId(i), observer);
        }
    }
    let before_ns = cpu::own_cpu_ns();
    engine.update();
    let first_tick_cpu_ms = ms(cpu::own_cpu_ns() - before_ns);
    let mut compared = compare(&engine, oracle.as_mut(), 0)?;

    let (mut cpu_ms, mut elapsed_ms, mut events) = (Vec::new(), Vec::new(), 0);
    for tick in 1..=args.ticks {
        crowd.walk();
        let (before_ns, before) = (cpu::own_cpu_ns(), Instant::now());
        for (i, position) in crowd.each() {
            engine.move_subject(SubjectId(i), position);
            engine.move_observer(ObserverId(i), position);
        }
        engine.update();
        cpu_ms.push(ms(cpu::own_cpu_ns() - before_ns));
        elapsed_ms.push(before.elapsed().as_secs_f64() * 1000.0);
        events += engine.events().len() as u64;
        if let Some(oracle) = &mut oracle {
            for (i, position) in crowd.each() {
                oracle.move_subject(SubjectId(i), position);
                oracle.move_observer(ObserverId(i), position);
            }
        }
        compared += compare(&engine, oracle.as_mut(), tick)?;
    }
    let in_view: u64 = (0..args.entities)
        .map(|i| engine.view(ObserverId(i)).len() as u64)
        .sum();
    let report = AoiReport {
        header: Header {
            seconds: began.elapsed().as_secs_f64(),
            ..header
        },
        seed: args.seed,
        entities: args.entities,
        side_m: args.side,
        radius_m: args.radius,
        motion: args.motion,
        ticks: args.ticks,
        cpu_ms: percentiles(&mut cpu_ms),
        elapsed_ms: percentiles(&mut elapsed_ms),
        first_tick_cpu_ms,
        events,
        in_view_mean: in_view as f64 / f64::from(args.entities),
        events_compared: args.oracle.then_some(compared),
    };
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report).context("the report as JSON")?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(report)
}

fn citizen(i: u32, position: [i32; 3], radius: u32) -> (Subject, Observer) {
    let subject = Subject {
        position,
        layers: 1,
        appeal: 0,
    };
    let observer = Observer {
        position,
        radius,
        sees: 1,
        avatar: Some(SubjectId(i)),
    };
    (subject, observer)
}

/// Updates the oracle and holds the engine's events against its events. Returns how many there were.
fn compare(engine: &Engine, oracle: Option<&mut Oracle>, tick: u32) -> anyhow::Result<u64> {
    let Some(oracle) = oracle else { return Ok(0) };
    oracle.update();
    if engine.events() != oracle.events() {
        bail!(
            "tick {tick}: the engine told {} events, brute force {}, and they differ",
            engine.events().len(),
            oracle.events().len()
        );
    }
    Ok(engine.events().len() as u64)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Exact: the samples are few.
fn percentiles(samples: &mut [f64]) -> Percentiles {
    samples.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() as f64 * share).ceil() as usize).max(1) - 1];
    Percentiles {
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    }
}

impl fmt::Display for AoiReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} entities in {} m x {} m, radius {} m: {:.1} in view, {} ticks, {} enters and leaves",
            self.entities,
            self.side_m,
            self.side_m,
            self.radius_m,
            self.in_view_mean,
            self.ticks,
            self.events
        )?;
        for (name, ms) in [("CPU", self.cpu_ms), ("elapsed", self.elapsed_ms)] {
            let Percentiles { p50, p99, max } = ms;
            writeln!(
                f,
                "{name:>12}  p50 {p50:.3}, p99 {p99:.3}, max {max:.3} ms per tick"
            )?;
        }
        write!(f, "  first tick  {:.3} ms of CPU", self.first_tick_cpu_ms)?;
        match self.events_compared {
            Some(events) => write!(f, "\n      oracle  {events} events, all equal"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(seed: u64) -> AoiArgs {
        AoiArgs {
            entities: 60,
            side: 100.0,
            radius: 30.0,
            ticks: 30,
            seed,
            motion: MotionKind::Mixed,
            json: None,
            oracle: true,
        }
    }

    #[test]
    fn a_small_run_is_compared_in_full_and_repeats_itself() {
        let report = run(&small(3)).expect("the engine agrees with brute force");
        assert!(report.events > 0 && report.events_compared >= Some(report.events));
        assert!((1.0..60.0).contains(&report.in_view_mean));
        let again = run(&small(3)).expect("as before");
        assert_eq!(
            (report.events, report.events_compared),
            (again.events, again.events_compared)
        );
    }

    #[test]
    fn a_difference_from_brute_force_is_an_error() {
        let mut engine = Engine::new(Config::default());
        let (subject, observer) = citizen(0, [0; 3], 10);
        engine.insert_subject(SubjectId(0), subject);
        engine.insert_observer(ObserverId(0), observer);
        engine.update();
        let mut empty = Oracle::new(Config::default());
        assert!(compare(&engine, Some(&mut empty), 1).is_err());
    }

    #[test]
    fn percentiles_of_few_samples_are_exact() {
        let mut samples = [3.0, 1.0, 2.0];
        let found = percentiles(&mut samples);
        assert_eq!((found.p50, found.p99, found.max), (2.0, 3.0, 3.0));
    }

    #[test]
    fn ground_without_room_is_refused() {
        assert!(
            run(&AoiArgs {
                side: 0.0,
                ..small(1)
            })
            .is_err()
        );
        assert!(
            run(&AoiArgs {
                radius: f64::NAN,
                ..small(1)
            })
            .is_err()
        );
    }
}
