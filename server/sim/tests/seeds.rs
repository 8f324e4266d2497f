//! Whole clusters from hundreds of seeds, and that the simulator itself can be believed.

use myriad_sim::{Coverage, Exercise, Failure, Scenario, Summary, run};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs a scenario from many seeds, on all cores; in the order of the seeds.
fn run_all(scenario: &Scenario, seeds: Range<u64>) -> Vec<Result<Summary, Box<Failure>>> {
    let next = AtomicU64::new(seeds.start);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            let outcome = run(scenario, seed);
            outcomes.lock().unwrap().push((seed, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// What all seeds exercised together; fails with the first that is wrong.
fn check(scenario: &Scenario, seeds: Range<u64>) -> Coverage {
    let mut coverage = Coverage::default();
    for outcome in run_all(scenario, seeds) {
        match outcome {
            Ok(summary) => coverage.merge(&summary.coverage),
            Err(failure) => panic!("{failure}"),
        }
    }
    coverage
}

#[test]
fn hundreds_of_clusters_keep_every_rule_whatever_goes_wrong() {
    let coverage = check(&Scenario::default(), 0..300);
    for &exercise in Exercise::ALL {
        assert!(
            coverage.count(exercise) > 0,
            "never exercised: {}",
            exercise.label()
        );
    }
}

/// Beyond the first 300: states of a slot's next life for a client that knows the last; steps for an avatar that has
/// departed. In crowds: near states for somebody who is carried into one; states that overtake its begin.
#[test]
fn seeds_that_were_wrong_once_are_right() {
    let listed = Scenario {
        crowds: false,
        ..Scenario::default()
    };
    for seed in [499, 877] {
        check(&listed, seed..seed + 1);
    }
    for seed in [333, 504, 772, 1474] {
        check(&Scenario::default(), seed..seed + 1);
    }
}

#[test]
fn without_faults_nothing_is_lost_or_repaired() {
    let coverage = check(&Scenario::calm(), 0..20);
    for exercise in [
        Exercise::FabricLost,
        Exercise::Resynced,
        Exercise::GatewaySilent,
        Exercise::ViewFrozen,
        Exercise::JoinedAgain,
        Exercise::Clipped,
        Exercise::DeadOwnerHeard,
    ] {
        assert_eq!(coverage.count(exercise), 0, "{}", exercise.label());
    }
    let proven = [Exercise::ViewProven, Exercise::CrowdProven];
    assert!(proven.into_iter().all(|exercise| coverage.count(exercise) > 0));
    assert!(
        proven
            .map(|exercise| coverage.count(exercise))
            .iter()
            .sum::<u64>()
            >= 100
    );
}

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_byte() {
    let scenario = Scenario::default();
    let twice = [run_all(&scenario, 1000..1008), run_all(&scenario, 1000..1008)];
    assert_eq!(twice[0], twice[1]);
    let digests: std::collections::BTreeSet<u64> =
        twice[0].iter().flatten().map(|summary| summary.digest).collect();
    assert_eq!(digests.len(), 8, "other seeds give other runs");
}
