//! Other ways to find out who sees whom, for comparison: what servers commonly do.
//!
//! All tell the same events as the engine (an enter and a leave radius, layer masks; tests hold them against brute
//! force), on one thread. They know neither appeal nor a height limit, and take the world as flat.

mod cross_list;
mod grid_vec;
mod rtree;

use crate::aoi::progress::Ticks;
use crate::aoi::report::BaselinesMs;
use crate::aoi::statistics::Sorted;
use crate::aoi::world::World;
use crate::cpu;
use cross_list::CrossList;
use grid_vec::GridVec;
use myriad_aoi::{Edge, Event, ObserverId, SubjectId};
use rtree::RTreeVec;
use std::hint::black_box;

/// One way, after its first tick.
trait Baseline {
    /// Brings everything up to the crowd's places and appends what changed.
    fn tick(&mut self, world: &World, events: &mut Vec<Event>);
}

/// Lets the crowd walk on from where it is, once for each way. Medians of `ticks` ticks.
pub(super) fn measure(crowd: &World, ticks: u32, name: &str) -> BaselinesMs {
    let timed = |baseline: &mut dyn Baseline, what: &str| {
        let mut progress = Ticks::new(format!("{name} {what}").trim_start(), ticks);
        timed_ticks(baseline, crowd.clone(), ticks, &mut progress)
    };
    let cross_list = (!crowd.directed).then(|| {
        let mut lists = CrossList::new(crowd);
        let all = timed(&mut lists, "cross-linked lists");
        (all, Sorted::new(lists.boxes_ms.iter().copied()).median())
    });
    BaselinesMs {
        grid_vec: timed(&mut GridVec::new(crowd), "grid + sorted Vec"),
        rstar: timed(&mut RTreeVec::new(crowd), "rstar"),
        cross_list: cross_list.map(|(all, _)| all),
        cross_list_boxes: cross_list.map(|(_, boxes)| boxes),
    }
}

fn timed_ticks(baseline: &mut dyn Baseline, mut crowd: World, ticks: u32, progress: &mut Ticks) -> f64 {
    let mut events = Vec::new();
    let samples = (0..ticks).map(|_| {
        crowd.walk();
        events.clear();
        let before = cpu::thread_cpu_ns();
        baseline.tick(&crowd, &mut events);
        let sum = events.iter().fold(0, |sum: u64, event| {
            sum.wrapping_add(u64::from(event.observer.0 ^ event.subject.0))
        });
        black_box(sum);
        let took = cpu::thread_cpu_ns() - before;
        progress.step();
        took as f64 / 1e6
    });
    Sorted::new(samples).median()
}

/// Squares of the radii: to come into view, and to stay there.
#[derive(Clone, Copy, Debug)]
struct Reach {
    enter2: i64,
    leave2: i64,
}

impl Reach {
    fn of(radius: u32) -> Self {
        let enter2 = i64::from(radius).pow(2);
        Self {
            enter2,
            leave2: 121 * enter2 / 100,
        }
    }

    /// The leave radius in whole units: nobody in view is farther on any axis.
    fn leave(self) -> i32 {
        self.leave2.isqrt() as i32
    }
}

fn distance2(dx: i32, dz: i32) -> i64 {
    let (dx, dz) = (i64::from(dx), i64::from(dz));
    dx * dx + dz * dz
}

/// Merges two ascending lists of who was and who is in view.
fn compare(observer: u32, old: &[u32], new: &[u32], events: &mut Vec<Event>) {
    let event = |subject, edge| Event {
        observer: ObserverId(observer),
        subject: SubjectId(subject),
        edge,
    };
    let (mut i, mut k) = (0, 0);
    while i < old.len() && k < new.len() {
        let (was, is) = (old[i], new[k]);
        if was < is {
            events.push(event(was, Edge::Leave));
        } else if is < was {
            events.push(event(is, Edge::Enter));
        }
        i += usize::from(was <= is);
        k += usize::from(is <= was);
    }
    events.extend(old[i..].iter().map(|&subject| event(subject, Edge::Leave)));
    events.extend(new[k..].iter().map(|&subject| event(subject, Edge::Enter)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aoi::args::Plan;
    use crate::aoi::args::tests::parse;
    use std::collections::BTreeSet;

    /// Everybody against everybody, from the same first tick on.
    #[derive(Default)]
    struct BruteForce(BTreeSet<(u32, u32)>);

    impl Baseline for BruteForce {
        fn tick(&mut self, world: &World, events: &mut Vec<Event>) {
            let mut now = BTreeSet::new();
            for (o, &radius) in world.radii.iter().enumerate() {
                let reach = Reach::of(radius);
                for s in 0..world.places.len() {
                    let (a, b) = (world.places[o], world.places[s]);
                    let d2 = distance2(a[0] - b[0], a[2] - b[2]);
                    let pair = (o as u32, s as u32);
                    let near = d2 <= reach.enter2 || d2 <= reach.leave2 && self.0.contains(&pair);
                    if near && world.layers[o] & world.layers[s] != 0 {
                        now.insert(pair);
                    }
                }
            }
            let event = |&(observer, subject): &(u32, u32), edge| Event {
                observer: ObserverId(observer),
                subject: SubjectId(subject),
                edge,
            };
            events.extend(self.0.difference(&now).map(|pair| event(pair, Edge::Leave)));
            events.extend(now.difference(&self.0).map(|pair| event(pair, Edge::Enter)));
            self.0 = now;
        }
    }

    fn check(line: &str) {
        let mut world = World::new(&Plan::of(&parse(line)).expect("it makes sense"));
        let mut brute = BruteForce::default();
        brute.tick(&world, &mut Vec::new());
        let mut all: Vec<(&str, Box<dyn Baseline>)> = vec![
            ("grid", Box::new(GridVec::new(&world))),
            ("rstar", Box::new(RTreeVec::new(&world))),
        ];
        if !world.directed {
            all.push(("lists", Box::new(CrossList::new(&world))));
        }
        let mut events_sum = 0;
        for tick in 0..60 {
            world.walk();
            let sorted = |baseline: &mut dyn Baseline| {
                let mut events = Vec::new();
                baseline.tick(&world, &mut events);
                events.sort();
                events
            };
            let truth = sorted(&mut brute);
            for (name, baseline) in &mut all {
                assert_eq!(
                    sorted(baseline.as_mut()),
                    truth,
                    "{name} in tick {tick} of {line}"
                );
            }
            events_sum += truth.len();
        }
        assert!(
            events_sum > 0 || line.contains("--side 5"),
            "{line}: something happened"
        );
    }

    #[test]
    fn every_way_tells_the_events_of_brute_force() {
        check("--entities 200 --side 100 --radius 20");
        check("--entities 150 --side 30 --radius 20 --masks 3 --masks-differing 20");
        check("--entities 100 --side 400 --radius 30 --moving 50");
        check("--entities 40 --side 5 --radius 20");
        check("--entities 200 --side 100 --radius 20 --observers 60 --radii mixed --masks-differing 10");
    }

    #[test]
    fn ties_on_an_axis_are_inside() {
        // Two-metre squares with radii of whole metres: many coordinates are equal to somebody's box edge.
        check("--entities 60 --side 4 --radius 1");
    }

    #[test]
    fn comparing_two_lists_tells_who_came_and_went() {
        let mut events = Vec::new();
        compare(7, &[1, 2, 5], &[2, 3, 6], &mut events);
        let told: Vec<_> = events.iter().map(|event| (event.subject.0, event.edge)).collect();
        assert_eq!(
            told,
            [
                (1, Edge::Leave),
                (3, Edge::Enter),
                (5, Edge::Leave),
                (6, Edge::Enter)
            ]
        );
    }
}
