//! The sampler against a view that is wrong in known ways.

use super::*;
use crate::stage::Stage;
use crate::truth::tests::CLOCK;
use crate::view::{Sight, Telling, ToldEdge, ViewCheck};
use myriad_client::ClientEvent;
use myriad_wire::Slot;
use myriad_wire::track::Level;

/// A client whose samples are taken, and the server that it believes.
struct Run {
    stage: Stage,
    view: ViewCheck,
    sampler: Sampler,
    coverage: Coverage,
    tally: Tally,
    tracks: Tracks,
    edges: u64,
}

const PLACES: [(f64, f64); 4] = [(0.0, 0.0), (10.0, 0.0), (20.0, 5.0), (30.0, -5.0)];

impl Run {
    fn new() -> Self {
        let mut view = ViewCheck::default();
        let sight = Sight {
            radius: 3200,
            sees: u32::MAX,
        };
        view.start(Tick(0), 0, sight);
        view.measure_from(Tick(0));
        Self {
            stage: Stage::new(&PLACES),
            view,
            sampler: Sampler::new(Rates::of(1), 0),
            coverage: Coverage::default(),
            tally: Tally::default(),
            tracks: Tracks::new(false, &crate::summary::tests::options()),
            edges: 0,
        }
    }

    /// A sample `late_us` after the arrival of the current tick.
    fn sample(&mut self, late_us: u64) {
        while let Some(event) = self.stage.client.poll_event() {
            if let ClientEvent::Enter {
                tick,
                subject,
                entity,
                ..
            } = event
            {
                self.edges += 1;
                self.view.handle_told(ToldEdge {
                    tick,
                    subject,
                    entity,
                    enter: true,
                });
            }
        }
        let telling = Telling {
            is_crowd: false,
            through: self.stage.tick,
        };
        self.view.advance(&self.stage.truth, telling);
        let moment = Moment {
            client: &self.stage.client,
            edges: self.edges,
            clock: &CLOCK,
            now_us: self.stage.now_us() + late_us,
            truth: &self.stage.truth,
            check: &self.view,
            own: Some(0),
        };
        self.sampler.sample(
            &moment,
            true,
            &mut self.tracks,
            &mut self.coverage,
            &mut self.tally,
        );
    }
}

/// Everybody at `PLACES`, walking east at 5 m/s.
fn walking(tick: u64) -> Vec<(f64, f64)> {
    PLACES.iter().map(|(x, z)| (x + 0.5 * tick as f64, *z)).collect()
}

fn honest(level: Level, ticks: u64) -> Run {
    let mut run = Run::new();
    for tick in 1..=ticks {
        run.stage.honest_tick(&walking(tick), level);
        run.sample(0);
    }
    run
}

#[test]
fn an_honest_near_tier_is_as_fresh_as_its_journey_and_exact_to_its_grid() {
    let run = honest(Level::NEAR, 40);
    // The very first sample shows enters of which no state is known: older than the near tier's states.
    assert_eq!(run.tally.all_ms.max(), 3.0);
    assert_eq!(run.tally.near_ms.total(), 160);
    assert!(run.tally.codec.near <= 8 && run.tally.codec.compared == 80);
    assert_eq!(run.coverage.finish().expect("measured").min, 1.0);
    let shown = run.tally.shown_all.quantile(0.99).expect("measured");
    // Three milliseconds' walk and the grid.
    assert!(shown / STEPS_PER_METRE < 0.05, "{shown}");
}

#[test]
fn among_many_clients_each_is_asked_for_less_but_for_its_stalenesses() {
    let count = |rates: Rates| {
        let mut run = Run::new();
        run.sampler = Sampler::new(rates, 0);
        for tick in 1..=64 {
            run.stage.honest_tick(&walking(tick), Level::NEAR);
            run.sample(0);
        }
        let tally = &run.tally;
        (tally.pairs, tally.codec.compared, tally.shown_all.total() > 0)
    };
    assert_eq!(Rates::of(500), Rates::FEW_CLIENTS);
    assert_eq!(count(Rates::of(500)), (256, 128, true));
    assert_eq!(count(Rates::of(501)), (256, 32, true));
}

#[test]
fn the_crowd_tier_is_a_tick_staler_and_coarser() {
    let run = honest(Level::CROWD, 40);
    assert_eq!(run.tally.all_ms.max(), 103.0);
    assert!(run.tally.codec.crowd > 0 && run.tally.codec.crowd <= 3 * 32 * 32);
}

#[test]
fn a_silent_server_is_found_stale_and_then_uncovered() {
    let mut run = honest(Level::NEAR, 5);
    for tick in 6..=34 {
        let told = run.stage.next_tick(&walking(tick));
        run.stage.tell_truth(&told);
        run.sample(0);
    }
    assert_eq!(run.tally.all_ms.max(), 2903.0);
    assert_eq!(run.coverage.finish().expect("measured").min, 1.0);
    for tick in 35..=60 {
        let told = run.stage.next_tick(&walking(tick));
        run.stage.tell_truth(&told);
        run.sample(0);
    }
    assert_eq!(run.tally.all_ms.max(), 5503.0);
    let coverage = run.coverage.finish().expect("measured");
    assert_eq!(coverage.min, 0.0);
    assert_eq!((coverage.pairs, coverage.fresh), (240, 4 * 34));
}

#[test]
fn states_older_than_the_array_of_ages_are_counted_too() {
    let mut run = honest(Level::NEAR, 5);
    run.sample(20_000_000);
    assert_eq!(run.tally.all_ms.max(), 20_003.0);
    assert_eq!(run.tally.all_ms.total(), 24);
}

#[test]
fn who_should_be_in_view_and_is_not_ages_from_its_true_enter() {
    let mut run = honest(Level::NEAR, 5);
    for tick in 6..=10 {
        let mut places = walking(tick);
        places.push((1.0, 1.0));
        let told = run.stage.next_tick(&places);
        run.stage.tell_truth(&told);
        let told: Vec<_> = told.entities[..4]
            .iter()
            .map(|told| (told.name.slot, told.position))
            .collect();
        run.stage.send_states(Level::NEAR, &told);
        run.sample(0);
    }
    assert_eq!(run.tally.all_ms.max(), 403.0, "it is there since tick 6");
    assert_eq!(run.tally.pairs, 4 * 5 + 5 * 5);
}

#[test]
fn who_has_left_the_true_view_counts_no_more() {
    let mut run = honest(Level::NEAR, 5);
    let mut places = walking(6);
    places[3] = (500.0, 0.0);
    run.stage.honest_tick(&places, Level::NEAR);
    run.sample(0);
    assert_eq!(run.tally.pairs, 4 * 5 + 3);
}

#[test]
fn a_displaced_state_is_a_codec_error_and_a_shown_error() {
    let mut run = honest(Level::NEAR, 5);
    for tick in 6..=30 {
        let told = run.stage.next_tick(&walking(tick));
        run.stage.tell_truth(&told);
        let mut states: Vec<_> = told
            .entities
            .iter()
            .map(|told| (told.name.slot, told.position))
            .collect();
        states[2].1.z += 1024;
        run.stage.send_states(Level::NEAR, &states);
        run.sample(0);
    }
    assert!(
        (1016..=1032).contains(&run.tally.codec.near),
        "{}",
        run.tally.codec.near
    );
    assert!(run.tally.shown_all.max() > 900.0);
}

#[test]
fn states_swapped_between_two_entities_are_a_codec_error() {
    let mut run = honest(Level::CROWD, 5);
    for tick in 6..=8 {
        let told = run.stage.next_tick(&walking(tick));
        run.stage.tell_truth(&told);
        let place = |row: usize| told.entities[row].position;
        let states = [
            (Slot(0), place(0)),
            (Slot(1), place(2)),
            (Slot(2), place(1)),
            (Slot(3), place(3)),
        ];
        run.stage.send_states(Level::CROWD, &states);
        run.sample(0);
    }
    let metres = (run.tally.codec.crowd as f64).sqrt() / UNITS;
    assert!((11.0..11.5).contains(&metres), "{metres}");
}

#[test]
fn without_truth_staleness_is_over_the_clients_own_view() {
    let mut run = Run::new();
    run.view = ViewCheck::default();
    run.stage.honest_tick(&walking(1), Level::NEAR);
    run.stage.truth = Truth::default();
    run.sample(0);
    assert_eq!(run.tally.all_ms.total(), 4);
    assert_eq!((run.tally.codec.compared, run.tally.shown_all.total()), (0, 0));
}

#[test]
fn coverage_is_the_worst_second_and_the_sum() {
    let mut coverage = Coverage::default();
    for (now_us, fresh) in [
        (1_000_000, 10),
        (1_500_000, 10),
        (2_000_000, 5),
        (2_900_000, 9),
        (3_000_000, 10),
    ] {
        coverage.record(now_us, fresh, 10);
    }
    let found = coverage.finish().expect("measured");
    assert_eq!((found.min, found.fresh, found.pairs), (0.7, 44, 50));
    assert_eq!(Coverage::default().finish(), None);
}
