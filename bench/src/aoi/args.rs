//! What can be asked of `myriad-bench aoi`, and the same in the engine's units once it is known to make sense.

use crate::aoi::density::{self, Density};
use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, ValueEnum};
use myriad_aoi::{Config, Kernel, Shape};
use serde::Serialize;
use std::path::PathBuf;

/// AOI units per metre.
pub(super) const UNITS_PER_METRE: f64 = 32.0;

/// What is measured, as the command line says it.
#[derive(Clone, Debug, Args, Serialize)]
#[command(after_help = "\
Examples:
  10,000 entities, everybody observes and has about 1,000 in view, against what else there is:
      myriad-bench aoi --entities 10000 --visible 1000 --ticks 2000 --baselines

  A gateway: 5,000 clients with radii of their own among 10,000 entities, 2 % of them in another phase:
      myriad-bench aoi --entities 10000 --observers 5000 --visible 1000 --radii mixed --masks-differing 2

  All see all on two threads:
      myriad-bench aoi --entities 10000 --side 70 --threads 2

  Every event held against brute force; a difference ends with exit code 1:
      myriad-bench aoi --entities 2000 --visible 200 --warm-up 5 --ticks 20 --oracle")]
pub struct AoiArgs {
    /// How many entities there are; all can be seen.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub entities: u32,
    /// Make the square so large that a view holds this many on average, whatever the other options are.
    #[arg(long, value_name = "K", conflicts_with = "side")]
    pub visible: Option<f64>,
    /// Side of the square that they walk in, in metres.
    #[arg(long, value_name = "METRES")]
    pub side: Option<f64>,
    /// Threads of the pool that the engine runs on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Ticks to measure.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub ticks: u32,
    /// Ticks before that, so that views and buffers are in their steady state.
    #[arg(long, value_name = "TICKS", default_value_t = 50)]
    pub warm_up: u32,
    /// Only the first M entities observe, each with a place and radius of its own (a gateway). Without it everybody
    /// observes everybody (a lane).
    #[arg(long, value_name = "M")]
    pub observers: Option<u32>,
    /// Enter radius in metres.
    #[arg(long, value_name = "METRES", default_value_t = 100.0)]
    pub radius: f64,
    /// Whether observers differ in their radii: 0.75 to 1.25 times --radius. Needs --observers.
    #[arg(long, value_enum, default_value_t = Radii::Equal)]
    pub radii: Radii,
    /// Distinct layer masks. All but one have a layer in common; see --masks-differing for the one.
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub masks: u32,
    /// How many of 100 entities have the mask that meets no other. 1 if there are masks, so that 98 % of pairs meet.
    #[arg(long, value_name = "PERCENT")]
    pub masks_differing: Option<f64>,
    /// How many of 100 entities are seen from twice --radius.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub appeal: f64,
    /// Seen only within this height; entities are then spread over floors, so that about 88 % of pairs are within.
    #[arg(long, value_name = "METRES")]
    pub dy_limit: Option<f64>,
    /// How many of 100 entities move (at 5 m/s); the others stand.
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0)]
    pub moving: f64,
    /// Instructions of the innermost loops.
    #[arg(long, value_enum, default_value_t = KernelChoice::Auto)]
    pub kernel: KernelChoice,
    /// Seed of places and ways.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also measure a grid with sorted lists, the crate rstar, and cross-linked lists, on the same crowd.
    #[arg(long)]
    pub baselines: bool,
    /// Ticks to measure of each of these.
    #[arg(long, value_name = "TICKS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub baseline_ticks: u32,
    /// Compare every event with brute force (slow: entities x observers per tick).
    #[arg(long)]
    pub oracle: bool,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub json: Option<PathBuf>,
}

/// Whether observers differ in how far they see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Radii {
    /// All see as far.
    Equal,
    /// Between 0.75 and 1.25 times as far.
    Mixed,
}

/// Which of the engine's kernels to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KernelChoice {
    /// The fastest that this machine has.
    Auto,
    /// AVX-512.
    Avx512,
    /// AVX2.
    Avx2,
    /// What every machine has.
    Portable,
}

/// Arguments on a line of their own.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(flatten)]
    args: AoiArgs,
}

impl AoiArgs {
    /// The arguments of `myriad-bench aoi` as they would be typed behind it.
    ///
    /// # Errors
    /// If the command line would be refused.
    pub fn parse_line(line: &str) -> anyhow::Result<Self> {
        Ok(Line::try_parse_from(line.split_whitespace())?.args)
    }

    /// What [`AoiArgs::parse_line`] makes these arguments of. What is the default is not said, but for the threads
    /// and ticks that a measurement depends on.
    pub(super) fn line(&self) -> String {
        let mut words = vec![format!("--entities {}", self.entities)];
        let mut say = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{name} {value}").trim_end().to_owned()));
        };
        let text = |value: &dyn std::fmt::Display| Some(value.to_string());
        say("observers", self.observers.map(|observers| observers.to_string()));
        say("visible", self.visible.map(|visible| visible.to_string()));
        say("side", self.side.map(|side| side.to_string()));
        say("threads", text(&self.threads));
        say("ticks", text(&self.ticks));
        say("warm-up", text(&self.warm_up));
        say("radius", text(&self.radius));
        say("radii", (self.radii == Radii::Mixed).then(|| "mixed".into()));
        say("masks", (self.masks > 1).then(|| self.masks.to_string()));
        say(
            "masks-differing",
            self.masks_differing.map(|percent| percent.to_string()),
        );
        say("appeal", (self.appeal > 0.0).then(|| self.appeal.to_string()));
        say("dy-limit", self.dy_limit.map(|limit| limit.to_string()));
        say("moving", (self.moving < 100.0).then(|| self.moving.to_string()));
        say("kernel", self.kernel.kernel().map(|kernel| kernel.name().into()));
        say("seed", (self.seed != 1).then(|| self.seed.to_string()));
        say("baselines", self.baselines.then(String::new));
        say(
            "baseline-ticks",
            self.baselines.then(|| self.baseline_ticks.to_string()),
        );
        say("oracle", self.oracle.then(String::new));
        words.join(" ")
    }
}

impl KernelChoice {
    fn kernel(self) -> Option<Kernel> {
        match self {
            Self::Auto => None,
            Self::Avx512 => Some(Kernel::Avx512),
            Self::Avx2 => Some(Kernel::Avx2),
            Self::Portable => Some(Kernel::Portable),
        }
    }
}

/// The arguments in the engine's units.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) entities: u32,
    /// `None`: everybody observes everybody.
    pub(super) observers: Option<u32>,
    pub(super) side_m: f64,
    pub(super) radius: u32,
    pub(super) radii: Radii,
    pub(super) masks: u32,
    /// Shares from 0 to 1.
    pub(super) differing: f64,
    pub(super) appealing: f64,
    pub(super) moving: f64,
    pub(super) dy_limit: Option<u32>,
    pub(super) kernel: Option<Kernel>,
    pub(super) seed: u64,
}

impl Plan {
    /// # Errors
    /// If the arguments make no sense, with what to do about it.
    pub(super) fn of(args: &AoiArgs) -> anyhow::Result<Self> {
        ensure!(
            (1.0..=4_000.0).contains(&args.radius),
            "--radius lies between 1 and 4000 metres"
        );
        ensure!(
            args.radii == Radii::Equal || args.observers.is_some(),
            "--radii mixed needs --observers: where everybody observes everybody, all radii are equal"
        );
        if let Some(observers) = args.observers {
            ensure!(
                (1..=args.entities).contains(&observers),
                "--observers lies between 1 and --entities ({}): an observer is one of the entities",
                args.entities
            );
        }
        if args.baselines && (args.appeal > 0.0 || args.dy_limit.is_some()) {
            bail!("the baselines know neither appeal nor a height limit; leave out --baselines or those");
        }
        let dy_limit = args.dy_limit.map(height).transpose()?;
        let kernel = args.kernel.kernel();
        if let Some(kernel) = kernel.filter(|kernel| !kernel.is_available()) {
            bail!("this machine has no {}; try --kernel auto", kernel.name());
        }
        let mut plan = Self {
            entities: args.entities,
            observers: args.observers,
            side_m: 0.0,
            radius: units(args.radius),
            radii: args.radii,
            masks: args.masks,
            differing: differing(args)?,
            appealing: share("--appeal", args.appeal)?,
            moving: share("--moving", args.moving)?,
            dy_limit,
            kernel,
            seed: args.seed,
        };
        plan.side_m = match (args.side, args.visible) {
            (Some(side), _) => side,
            (None, Some(visible)) => plan.side_for(visible)?,
            (None, None) => bail!("say how dense the crowd is: --visible K or --side METRES"),
        };
        ensure!(
            (1.0..=1_000_000.0).contains(&plan.side_m),
            "the square's side would be {:.1} m; it lies between 1 m and 1000 km",
            plan.side_m
        );
        Ok(plan)
    }

    pub(super) fn config(&self) -> Config {
        Config {
            shape: match self.observers {
                Some(_) => Shape::Directed,
                None => Shape::Mutual { radius: self.radius },
            },
            dy_limit: self.dy_limit,
            watched: self.observers.is_some(),
            kernel: self.kernel,
            subjects_max: self.entities,
            observers_max: self.entities,
            ..Config::default()
        }
    }

    /// Share of pairs whose masks meet.
    pub(super) fn meeting(&self) -> f64 {
        self.differing.powi(2) + (1.0 - self.differing).powi(2)
    }

    fn side_for(&self, visible: f64) -> anyhow::Result<f64> {
        let density = Density {
            entities: self.entities,
            radius_m: f64::from(self.radius) / UNITS_PER_METRE,
            radii: self.radii,
            meeting: self.meeting(),
            appealing: self.appealing,
            moving: self.moving,
            dy_limit_m: self.dy_limit.map(|limit| f64::from(limit) / UNITS_PER_METRE),
        };
        density::side_for(&density, visible).with_context(|| {
            format!(
                "{} entities can't give a view of {visible}: ask for --visible between 1.1 and {:.0}, or say --side",
                self.entities,
                density.most()
            )
        })
    }
}

fn units(metres: f64) -> u32 {
    (metres * UNITS_PER_METRE).round() as u32
}

fn height(metres: f64) -> anyhow::Result<u32> {
    ensure!(
        (0.1..=1_000.0).contains(&metres),
        "--dy-limit lies between 0.1 and 1000 metres"
    );
    Ok(units(metres))
}

fn share(name: &str, percent: f64) -> anyhow::Result<f64> {
    ensure!(
        (0.0..=100.0).contains(&percent),
        "{name} is a percentage: between 0 and 100"
    );
    Ok(percent / 100.0)
}

fn differing(args: &AoiArgs) -> anyhow::Result<f64> {
    match args.masks_differing {
        Some(percent) => share("--masks-differing", percent),
        None if args.masks > 1 => Ok(0.01),
        None => Ok(0.0),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The arguments of a command line, as clap reads it.
    pub(in crate::aoi) fn parse(line: &str) -> AoiArgs {
        AoiArgs::parse_line(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn density_is_said_exactly_once() {
        assert!(Plan::of(&parse("--side 70")).is_ok() && Plan::of(&parse("--visible 60")).is_ok());
        assert!(AoiArgs::parse_line("--side 70 --visible 60").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_way_out() {
        for (line, word) in [
            ("", "--visible"),
            ("--side 0.5", "side"),
            ("--side NaN", "side"),
            ("--side 70 --radius 0", "--radius"),
            ("--side 70 --radii mixed", "--observers"),
            ("--side 70 --observers 10001", "--entities"),
            ("--side 70 --appeal 101", "--appeal"),
            ("--side 70 --dy-limit 0", "--dy-limit"),
            ("--side 70 --appeal 1 --baselines", "--baselines"),
            ("--visible 20000", "--visible"),
        ] {
            let error = format!("{:#}", Plan::of(&parse(line)).expect_err(line));
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn masks_alone_let_98_percent_of_pairs_meet() {
        let plan = Plan::of(&parse("--side 70 --masks 64")).expect("it makes sense");
        assert!((plan.meeting() - 0.98).abs() < 0.001);
        let plan = Plan::of(&parse("--side 70")).expect("it makes sense");
        assert!((plan.meeting() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_gateway_is_directed_and_keeps_account_of_who_is_watched() {
        let config = |line| Plan::of(&parse(line)).expect("it makes sense").config();
        let gateway = config("--side 70 --observers 5 --radius 10");
        assert_eq!((gateway.shape, gateway.watched), (Shape::Directed, true));
        let lane = config("--side 70 --radius 10");
        assert_eq!((lane.shape, lane.watched), (Shape::Mutual { radius: 320 }, false));
    }
}
