//! The true view and its edges, told well and badly.

use super::truth::{is_everybody_within, near_by_grid, near_word};
use super::*;
use crate::truth::tests::{told, truth};
use myriad_wire::truth::TruthTick;

/// All is told as soon as it is true.
const LISTED: Telling = Telling {
    is_crowd: false,
    through: Tick(0),
};

const TEN_METRES: Sight = Sight {
    radius: 320,
    sees: u32::MAX,
};

fn enter(tick: u64, entity: u64) -> ToldEdge {
    ToldEdge {
        tick: Tick(tick),
        subject: crate::stage::subject(entity as u32 - 1),
        entity: Some(EntityId(entity)),
        enter: true,
    }
}

fn leave(tick: u64, entity: u64) -> ToldEdge {
    ToldEdge {
        enter: false,
        ..enter(tick, entity)
    }
}

/// The observer stands at the origin as entity 1 while entity 2 walks out along x, a metre a tick from 8 m:
/// within the radius until tick 2 (10 m), within the leave radius until tick 3 (11 m), and back again.
fn there_and_back() -> Vec<TruthTick> {
    let x = [8.0, 9.0, 10.0, 11.0, 12.0, 11.0, 10.0, 9.0];
    let tick = |(tick, x): (usize, &f64)| told(tick as u64, &[(0.0, 0.0), (*x, 0.0)]);
    x.iter().enumerate().map(tick).collect()
}

fn outcome(edges: &[ToldEdge]) -> ViewCounts {
    let truth = truth(&there_and_back());
    let mut check = ViewCheck::default();
    check.start(Tick(0), 0, TEN_METRES);
    check.measure_from(Tick(3));
    for edge in edges {
        check.handle_told(*edge);
        check.advance(&truth, LISTED);
    }
    check.advance(&truth, LISTED);
    check.finish(&truth, false)
}

const HONEST: [(u64, u64, bool); 4] = [(0, 1, true), (0, 2, true), (4, 2, false), (6, 2, true)];

fn honest() -> Vec<ToldEdge> {
    let edge = |(tick, entity, is_enter)| {
        if is_enter {
            enter(tick, entity)
        } else {
            leave(tick, entity)
        }
    };
    HONEST.into_iter().map(edge).collect()
}

#[test]
fn the_true_edges_with_hysteresis_are_without_fault() {
    assert_eq!(outcome(&honest()), ViewCounts::default());
}

#[test]
fn who_was_near_unseen_is_in_view_at_once_when_it_is_seen() {
    // Entity 2 is hidden until tick 3, in which it is between the two radii.
    let mut ticks = there_and_back();
    for told in &mut ticks[..3] {
        told.entities[1].layers = 2;
    }
    let truth = truth(&ticks);
    let mut check = ViewCheck::default();
    let sight = Sight {
        sees: 1,
        ..TEN_METRES
    };
    check.start(Tick(0), 0, sight);
    for edge in [enter(0, 1), enter(3, 2), leave(4, 2), enter(6, 2)] {
        check.handle_told(edge);
    }
    check.advance(&truth, LISTED);
    assert_eq!(check.finish(&truth, false), ViewCounts::default());
}

#[test]
fn an_edge_in_the_wrong_tick_is_late() {
    let mut edges = honest();
    edges[2].tick = Tick(5);
    assert_eq!(
        outcome(&edges),
        ViewCounts {
            late: 1,
            ..ViewCounts::default()
        }
    );
}

#[test]
fn late_before_the_measurement_is_told_apart() {
    let mut edges = honest();
    edges[1].tick = Tick(1);
    let found = outcome(&edges);
    assert_eq!((found.late, found.late_joining), (0, 1));
}

#[test]
fn an_edge_left_out_is_missing_and_what_follows_is_doubled() {
    let mut edges = honest();
    edges.remove(2);
    let found = outcome(&edges);
    assert_eq!((found.edges_missing, found.doubled), (2, 1));
    edges.pop();
    let found = outcome(&edges);
    assert_eq!((found.edges_missing, found.missing, found.extra), (2, 0, 0));
}

#[test]
fn who_never_enters_is_missing_and_who_never_leaves_is_extra() {
    let mut edges = honest();
    edges.pop();
    assert_eq!(outcome(&edges).missing, 1);
    let truth = truth(&there_and_back()[..5]);
    let mut check = ViewCheck::default();
    check.start(Tick(0), 0, TEN_METRES);
    edges[..2].iter().for_each(|edge| check.handle_told(*edge));
    check.advance(&truth, LISTED);
    let found = check.finish(&truth, false);
    assert_eq!((found.extra, found.edges_missing), (1, 1));
}

#[test]
fn a_second_enter_and_a_leave_of_a_stranger_are_doubled() {
    let mut edges = honest();
    edges.insert(2, enter(1, 2));
    assert_eq!(
        outcome(&edges),
        ViewCounts {
            doubled: 1,
            ..ViewCounts::default()
        }
    );
    let mut edges = honest();
    edges.insert(3, leave(5, 2));
    assert_eq!(
        outcome(&edges),
        ViewCounts {
            doubled: 1,
            ..ViewCounts::default()
        }
    );
}

#[test]
fn an_entity_that_the_truth_does_not_know_is_extra() {
    let mut edges = honest();
    edges.push(enter(7, 99));
    assert_eq!(
        outcome(&edges),
        ViewCounts {
            edges_extra: 1,
            ..ViewCounts::default()
        }
    );
}

#[test]
fn edges_wait_for_the_truth_of_their_tick() {
    let ticks = there_and_back();
    let mut so_far = truth(&[]);
    let mut check = ViewCheck::default();
    check.start(Tick(0), 0, TEN_METRES);
    honest().into_iter().for_each(|edge| check.handle_told(edge));
    for told in &ticks {
        so_far.handle_tick(told, 0).expect("a good trace");
        check.advance(&so_far, LISTED);
    }
    assert_eq!(check.finish(&so_far, false), ViewCounts::default());
}

#[test]
fn nothing_counts_after_the_end() {
    let truth = truth(&there_and_back());
    let mut check = ViewCheck::default();
    check.start(Tick(0), 0, TEN_METRES);
    honest()[..3].iter().for_each(|edge| check.handle_told(*edge));
    check.handle_told(leave(7, 1));
    check.end_with(Tick(5));
    check.advance(&truth, LISTED);
    assert_eq!(check.finish(&truth, false), ViewCounts::default());
}

#[test]
fn layers_that_the_observer_does_not_see_are_not_expected() {
    let mut ticks = there_and_back();
    ticks.iter_mut().for_each(|told| told.entities[1].layers = 2);
    let truth = truth(&ticks);
    let mut check = ViewCheck::default();
    check.start(
        Tick(0),
        0,
        Sight {
            sees: 1,
            ..TEN_METRES
        },
    );
    check.handle_told(enter(0, 1));
    check.advance(&truth, LISTED);
    assert_eq!(check.finish(&truth, false), ViewCounts::default());
}

#[test]
fn the_short_cut_for_a_crowd_within_the_radius_gives_the_same_view() {
    let positions: Vec<_> = (0..150)
        .map(|i| (f64::from(i % 13) * 0.7, f64::from(i % 7) * 1.1))
        .collect();
    let truth = truth(&[told(0, &positions)]);
    let tick = truth.newest().expect("told");
    for radius in [1, 100, 300, 500, 1000] {
        let sight = Sight { radius, ..TEN_METRES };
        let mut view = TrueView::default();
        let mut entered = 0;
        view.advance(tick, 20, sight, |_, _| entered += 1);
        let slow: Vec<u64> = (0..3).map(|i| near_word(tick, 20, sight, i, 0)).collect();
        assert_eq!(
            (0..3).map(|i| view.members().word(i)).collect::<Vec<_>>(),
            slow,
            "{radius}"
        );
        assert_eq!(entered, slow.iter().map(|word| word.count_ones()).sum::<u32>());
    }
    assert!(is_everybody_within(tick, 20, 1000), "the short cut is taken");
    assert!(!is_everybody_within(tick, 20, 200), "and it is not always");
}

#[test]
fn looking_by_squares_finds_the_same_as_looking_at_everybody() {
    // Scattered over a kilometre, on both sides of zero, some on the very edges of squares.
    let positions: Vec<_> = (0..1500)
        .map(|i| {
            let (x, z) = (f64::from(i * 7919 % 1001), f64::from(i * 104_729 % 997));
            (
                x - 500.0,
                if i % 5 == 0 {
                    (z - 500.0).div_euclid(32.0) * 32.0
                } else {
                    z - 500.0
                },
            )
        })
        .collect();
    let truth = truth(&[told(0, &positions)]);
    let tick = truth.newest().expect("told");
    assert!(tick.grid.is_some(), "it is wide");
    let mut old = Bits::default();
    (0..1500).step_by(3).for_each(|row| _ = old.insert(row));
    for radius in [1, 320, 3_200, 14_000, 40_000] {
        let sight = Sight { radius, ..TEN_METRES };
        for observer in (0..1500).step_by(97) {
            let found = near_by_grid(tick, observer, sight, &old);
            assert_eq!(
                found.is_some(),
                radius < 14_894,
                "beyond half a kilometre everybody is looked at"
            );
            let Some(found) = found else { continue };
            for i in 0..1500usize.div_ceil(64) {
                let slow = near_word(tick, observer, sight, i, old.word(i));
                assert_eq!(found.word(i), slow, "{radius} {observer} {i}");
            }
        }
    }
}
