//! The measurement: a crowd walks, the engine is told, and every tick is timed.

use crate::aoi::allocations;
use crate::aoi::args::{AoiArgs, Plan};
use crate::aoi::baselines;
use crate::aoi::oracle::Referee;
use crate::aoi::progress::Ticks;
use crate::aoi::report::{AoiReport, Parts};
use crate::aoi::statistics::Sorted;
use crate::aoi::world::World;
use crate::cpu;
use crate::header::Header;
use anyhow::Context;
use myriad_aoi::{Edge, Engine, ObserverId, SubjectId};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Measures, and writes the JSON where asked. A difference from brute force is in the report.
///
/// # Errors
/// If the arguments make no sense, threads can't be started, or the file can't be written.
pub fn run(args: &AoiArgs) -> anyhow::Result<AoiReport> {
    let report = measure(args, "")?;
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report).context("the report as JSON")?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(report)
}

/// Measures on a pool of its own; `name` is told with the progress.
pub(super) fn measure(args: &AoiArgs, name: &str) -> anyhow::Result<AoiReport> {
    let plan = Plan::of(args)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads as usize)
        .build()
        .context("starting the threads")?;
    Ok(pool.install(|| measure_here(args, &plan, name)))
}

/// What one tick took.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    cpu: Duration,
    moves: Duration,
    update: Duration,
    events: Duration,
    events_count: u64,
    checksum: u64,
    allocations: Option<u64>,
}

impl Sample {
    fn wall(&self) -> Duration {
        self.moves + self.update
    }
}

fn measure_here(args: &AoiArgs, plan: &Plan, name: &str) -> AoiReport {
    let header = Header::collect(0.0);
    let began = Instant::now();
    let mut world = World::new(plan);
    let mut engine = Engine::new(plan.config());
    for (id, subject) in world.subjects() {
        engine.insert_subject(id, subject);
    }
    for (id, observer) in world.watchers() {
        engine.insert_observer(id, observer);
    }
    let mut referee = args.oracle.then(|| Referee::new(plan, &world));
    let mut agreed = true;
    let first = timed_tick(&mut engine, &world);
    if let Some(referee) = &mut referee {
        agreed = referee.judge(&engine, 0);
    }

    let mut samples = Vec::with_capacity(args.ticks as usize);
    let mut crowd_for_baselines = None;
    let mut progress = Ticks::new(format!("{name} engine").trim_start(), args.warm_up + args.ticks);
    for tick in 1..=args.warm_up + args.ticks {
        if tick > args.warm_up && args.baselines && crowd_for_baselines.is_none() {
            crowd_for_baselines = Some(world.clone());
        }
        world.walk();
        let sample = timed_tick(&mut engine, &world);
        if tick > args.warm_up {
            samples.push(sample);
        }
        if let Some(referee) = &mut referee {
            referee.follow(&world);
            agreed = agreed && referee.judge(&engine, tick);
        }
        progress.step();
        if !agreed {
            break;
        }
    }
    drop(progress);
    if samples.is_empty() {
        // Only brute force, by differing, ends a run before its first measured tick.
        samples.push(first);
    }
    let baselines_ms = crowd_for_baselines.map(|crowd| baselines::measure(&crowd, args.baseline_ticks, name));

    let engine_memory = engine.memory();
    let ms = |part: fn(&Sample) -> Duration| {
        Sorted::new(samples.iter().map(|sample| part(sample).as_secs_f64() * 1000.0))
    };
    let (cpu_ms, wall_ms) = (ms(|sample| sample.cpu), ms(Sample::wall));
    let allocations: Option<Vec<u64>> = samples.iter().map(|sample| sample.allocations).collect();
    let allocations = allocations.map(|counts| Sorted::new(counts.into_iter().map(|count| count as f64)));
    AoiReport {
        head: Header {
            seconds: began.elapsed().as_secs_f64(),
            ..header
        }
        .into(),
        arguments: args.clone(),
        side_m: plan.side_m,
        visible_mean: engine.pairs() as f64 / f64::from(world.observers()),
        meeting_share: plan.meeting(),
        median_ms: cpu_ms.median(),
        amortised_ms: cpu_ms.mean(),
        p999_ms: cpu_ms.quantile(0.999),
        max_ms: cpu_ms.max(),
        wall_median_ms: wall_ms.median(),
        wall_mean_ms: wall_ms.mean(),
        wall_parts_ms: Parts {
            moves: ms(|sample| sample.moves).median(),
            update: ms(|sample| sample.update).median(),
            events: ms(|sample| sample.events).median(),
        },
        first_ms: first.cpu.as_secs_f64() * 1000.0,
        events_per_tick: samples.iter().map(|sample| sample.events_count).sum::<u64>() as f64
            / samples.len() as f64,
        pairs: engine.pairs(),
        kernel: engine.kernel().name(),
        threads: args.threads,
        allocs_per_tick: allocations.as_ref().map(|counts| counts.median() as u64),
        allocs_max: allocations.as_ref().map(|counts| counts.max() as u64),
        bytes_per_entity: engine_memory.entities_bytes as f64 / f64::from(plan.entities),
        bytes_per_pair: engine_memory.pairs_bytes as f64 / engine.pairs().max(1) as f64,
        baselines_ms,
        oracle: referee.as_ref().map(Referee::outcome),
        events_compared: referee.as_ref().map(|referee| referee.compared),
        difference: referee.and_then(|referee| referee.difference),
        events_checksum: samples
            .iter()
            .fold(0, |sum, sample| sum.wrapping_add(sample.checksum)),
    }
}

/// What the engine's owner does in a tick, timed: the moves and the update. What reading the events costs is told
/// apart, since it depends on the reader.
fn timed_tick(engine: &mut Engine, world: &World) -> Sample {
    let allocations_before = allocations::count();
    let cpu_before = cpu::own_cpu_ns();
    let start = Instant::now();
    tell_moves(engine, world);
    let moved = Instant::now();
    engine.update();
    let updated = Instant::now();
    let cpu_after = cpu::own_cpu_ns();
    let allocations_after = allocations::count();
    let (events_count, checksum) = black_box(read_events(engine));
    let end = Instant::now();
    Sample {
        cpu: Duration::from_nanos(cpu_after - cpu_before),
        moves: moved - start,
        update: updated - moved,
        events: end - updated,
        events_count,
        checksum,
        allocations: allocations_after
            .zip(allocations_before)
            .map(|(after, before)| after - before),
    }
}

fn tell_moves(engine: &mut Engine, world: &World) {
    let observers = if world.directed { world.observers() } else { 0 };
    for &i in &world.movers {
        let place = world.places[i as usize];
        engine.move_subject(SubjectId(i), place);
        if i < observers {
            engine.move_observer(ObserverId(i), place);
        }
    }
}

/// How many events there are, and a sum in which each has its share whatever their order.
fn read_events(engine: &Engine) -> (u64, u64) {
    let (mut count, mut sum) = (0, 0u64);
    for event in engine.events() {
        let pair = u64::from(event.observer.0) << 32 | u64::from(event.subject.0);
        let weight = if event.edge == Edge::Enter { 3 } else { 5 };
        sum = sum.wrapping_add(pair.wrapping_mul(weight));
        count += 1;
    }
    (count, sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aoi::args::tests::parse;
    use crate::aoi::report::OracleOutcome;

    fn measured(line: &str) -> AoiReport {
        measure(&parse(line), "").unwrap_or_else(|error| panic!("{line}: {error:#}"))
    }

    #[test]
    fn small_runs_of_all_kinds_equal_brute_force() {
        for line in [
            "--entities 80 --visible 20",
            "--entities 80 --side 60",
            "--entities 120 --observers 40 --visible 30 --radii mixed --masks-differing 10",
            "--entities 120 --visible 30 --masks 4 --appeal 10 --dy-limit 5 --moving 60",
        ] {
            let report = measured(&format!("{line} --warm-up 5 --ticks 25 --oracle"));
            assert_eq!(report.oracle, Some(OracleOutcome::Equal), "{line}: {report}");
            assert!(report.events_compared > Some(0) && report.pairs > 0, "{line}");
        }
    }

    #[test]
    fn the_measured_view_comes_close_to_the_wanted_one() {
        for (line, wanted) in [
            ("--entities 1500 --observers 1500 --visible 60", 60.0),
            (
                "--entities 1500 --observers 1500 --visible 700 --radii mixed",
                700.0,
            ),
            (
                "--entities 1500 --observers 700 --visible 100 --masks 64 --appeal 1 --dy-limit 20",
                100.0,
            ),
        ] {
            let found = measured(&format!("{line} --ticks 1")).visible_mean;
            assert!((found / wanted - 1.0).abs() < 0.1, "{line}: {found}");
        }
    }

    #[test]
    fn the_events_are_the_same_on_two_threads() {
        let line = "--entities 300 --observers 300 --visible 40 --ticks 20 --warm-up 0";
        let (one, two) = (measured(line), measured(&format!("{line} --threads 2")));
        assert_eq!(one.events_checksum, two.events_checksum);
        assert!(one.events_per_tick > 0.0 && (one.events_per_tick - two.events_per_tick).abs() < 1e-9);
        assert_eq!(two.threads, 2);
    }

    #[test]
    fn baselines_are_measured_where_asked() {
        let report =
            measured("--entities 200 --visible 40 --ticks 2 --warm-up 2 --baselines --baseline-ticks 3");
        let baselines = report.baselines_ms.expect("they were asked for");
        assert!(baselines.grid_vec > 0.0 && baselines.rstar > 0.0);
        assert!(baselines.cross_list > baselines.cross_list_boxes);
        let gateway = measured("--entities 200 --observers 50 --visible 40 --ticks 2 --baselines");
        assert_eq!(
            gateway.baselines_ms.expect("they were asked for").cross_list,
            None
        );
    }

    #[test]
    fn the_json_has_the_keys_that_others_read() {
        let report = measured("--entities 50 --side 50 --ticks 3");
        let json = serde_json::to_value(&report).expect("it is plain data");
        for key in [
            "schema",
            "command",
            "commit",
            "machine",
            "seconds",
            "median_ms",
            "amortised_ms",
            "p999_ms",
            "max_ms",
            "wall_median_ms",
            "events_per_tick",
            "pairs",
            "kernel",
            "threads",
            "allocs_per_tick",
            "bytes_per_entity",
            "bytes_per_pair",
            "baselines_ms",
            "oracle",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["oracle"], serde_json::Value::Null);
        assert_eq!(json["arguments"]["entities"], 50);
    }
}
