//! The crowd: who stands where, sees how far and which layers, and how everybody walks.
//!
//! It walks at 5 m/s in straight legs of random heading and length and is mirrored at the edges of the square,
//! which keeps it spread evenly for ever (a heading drawn anew there would crowd the edges). Places are kept in
//! 1/1024 m, as a lane keeps them, and given out in AOI units. The same seed is the same crowd, tick for tick.

use crate::aoi::args::{Plan, Radii};
use myriad_aoi::{Observer, ObserverId, Subject, SubjectId};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// Position units (1/1024 m) per metre, and the shift from them to AOI units.
const FINE_PER_METRE: f64 = 1024.0;
const AOI_SHIFT: u32 = 5;
/// 5 m/s at 10 Hz, and half as fast up and down, in position units per tick.
const STEP: f64 = 512.0;
const CLIMB: i32 = 256;
/// Longest leg in ticks.
const LEG_MAX: u32 = 400;
/// One leg in so many ends with a change of floor.
const LEGS_PER_FLOOR: u32 = 20;

/// Height of a floor, in height limits.
pub(super) const FLOOR_LIMITS: f64 = 2.0 / 3.0;
/// Floors, and the share of the entities on each: next-door floors are within the limit, others are not, and the
/// outermost are two limits from the middle. 88 % of pairs are within it.
pub(super) const FLOORS: [(i32, f64); 7] = [
    (0, 0.86),
    (1, 0.04),
    (-1, 0.04),
    (2, 0.02),
    (-2, 0.02),
    (3, 0.01),
    (-3, 0.01),
];

/// The layer that all masks but one have, and the one that this one has.
const COMMON: u32 = 1;
const APART: u32 = 1 << 31;

/// The crowd.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// By entity, `[x, y, z]` in AOI units: where it is now.
    pub(super) places: Vec<[i32; 3]>,
    /// By entity: the layers that it is on, and that it sees.
    pub(super) layers: Vec<u32>,
    /// By entity, in AOI units.
    appeals: Vec<u32>,
    /// By observer, in AOI units. The first entities observe, as many as there are radii.
    pub(super) radii: Vec<u32>,
    /// Whether observers are told their places apart from the subjects'.
    pub(super) directed: bool,
    /// Who walks, ascending.
    pub(super) movers: Vec<u32>,
    walkers: Vec<Walker>,
    /// Half the side, in position units.
    half: i32,
    /// Height of a floor in position units; 0 for a flat world.
    floor: i32,
    rng: Pcg32,
}

/// One entity's way, in position units.
#[derive(Clone, Copy, Debug, Default)]
struct Walker {
    x: i32,
    y: i32,
    z: i32,
    dx: i32,
    dz: i32,
    /// The height that it climbs to.
    floor: i32,
    ticks_left: u32,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let count = plan.entities as usize;
        let mut rng = Pcg32::seed_from_u64(plan.seed);
        let limit = plan.dy_limit.map_or(0.0, f64::from);
        let observers = plan.observers.unwrap_or(plan.entities);
        let layers = (0..count).map(|_| draw_layers(&mut rng, plan)).collect();
        let appeals = (0..count).map(|_| {
            let appealing = rng.random_bool(plan.appealing);
            if appealing { 2 * plan.radius } else { 0 }
        });
        let appeals = appeals.collect();
        let radii = (0..observers).map(|_| draw_radius(&mut rng, plan)).collect();
        let movers = (0..plan.entities)
            .filter(|_| rng.random_bool(plan.moving))
            .collect();
        let mut world = Self {
            places: vec![[0; 3]; count],
            layers,
            appeals,
            radii,
            directed: plan.observers.is_some(),
            movers,
            walkers: vec![Walker::default(); count],
            half: (plan.side_m * FINE_PER_METRE / 2.0) as i32,
            floor: (FLOOR_LIMITS * limit) as i32 * (1 << AOI_SHIFT),
            rng,
        };
        for i in 0..count {
            let mut walker = Walker {
                x: world.rng.random_range(-world.half..=world.half),
                z: world.rng.random_range(-world.half..=world.half),
                ..Walker::default()
            };
            walker.floor = draw_floor(&mut world.rng) * world.floor;
            walker.y = walker.floor;
            walker.draw_leg(&mut world.rng);
            // Nobody is at the beginning of a leg in particular.
            walker.ticks_left = world.rng.random_range(0..=walker.ticks_left);
            world.walkers[i] = walker;
            world.places[i] = walker.place();
        }
        world
    }

    /// One tick of everybody's way.
    pub(super) fn walk(&mut self) {
        for &i in &self.movers {
            let walker = &mut self.walkers[i as usize];
            if walker.ticks_left == 0 {
                walker.draw_leg(&mut self.rng);
                if self.floor > 0 && self.rng.random_range(0..LEGS_PER_FLOOR) == 0 {
                    walker.floor = draw_floor(&mut self.rng) * self.floor;
                }
            }
            walker.ticks_left -= 1;
            (walker.x, walker.dx) = mirrored(walker.x + walker.dx, walker.dx, self.half);
            (walker.z, walker.dz) = mirrored(walker.z + walker.dz, walker.dz, self.half);
            walker.y += (walker.floor - walker.y).clamp(-CLIMB, CLIMB);
            self.places[i as usize] = walker.place();
        }
    }

    pub(super) fn observers(&self) -> u32 {
        self.radii.len() as u32
    }

    /// All entities, as the engine is told of them.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (SubjectId, Subject)> {
        let each = self.places.iter().zip(&self.layers).zip(&self.appeals);
        each.zip(0..).map(|(((&position, &layers), &appeal), i)| {
            let subject = Subject {
                position,
                layers,
                appeal,
            };
            (SubjectId(i), subject)
        })
    }

    /// All observers, as the engine is told of them.
    pub(super) fn watchers(&self) -> impl Iterator<Item = (ObserverId, Observer)> {
        let each = self.places.iter().zip(&self.layers).zip(&self.radii);
        each.zip(0..).map(|(((&position, &sees), &radius), i)| {
            let observer = Observer {
                position,
                radius,
                sees,
                avatar: Some(SubjectId(i)),
            };
            (ObserverId(i), observer)
        })
    }
}

impl Walker {
    fn draw_leg(&mut self, rng: &mut Pcg32) {
        let heading = rng.random_range(0.0..std::f64::consts::TAU);
        self.dx = (heading.cos() * STEP).round() as i32;
        self.dz = (heading.sin() * STEP).round() as i32;
        self.ticks_left = rng.random_range(1..=LEG_MAX);
    }

    fn place(&self) -> [i32; 3] {
        [self.x >> AOI_SHIFT, self.y >> AOI_SHIFT, self.z >> AOI_SHIFT]
    }
}

/// The place and the step, both turned back at the edges if the place is beyond them.
fn mirrored(at: i32, step: i32, half: i32) -> (i32, i32) {
    let edge = if at > half {
        half
    } else if at < -half {
        -half
    } else {
        return (at, step);
    };
    // A square smaller than a step has no room for the way back.
    ((2 * edge - at).clamp(-half, half), -step)
}

fn draw_floor(rng: &mut Pcg32) -> i32 {
    let mut drawn = rng.random_range(0.0..1.0);
    for (floor, share) in FLOORS {
        if drawn < share {
            return floor;
        }
        drawn -= share;
    }
    0
}

/// One of the plan's masks. The common ones are numbered in the bits above the common layer.
fn draw_layers(rng: &mut Pcg32, plan: &Plan) -> u32 {
    let apart = rng.random_bool(plan.differing);
    let number = rng.random_range(0..plan.masks.saturating_sub(1).max(1));
    if apart { APART } else { COMMON | number << 1 }
}

fn draw_radius(rng: &mut Pcg32, plan: &Plan) -> u32 {
    match plan.radii {
        Radii::Equal => plan.radius,
        Radii::Mixed => (f64::from(plan.radius) * rng.random_range(0.75..1.25)).round() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aoi::args::tests::parse;

    fn world(line: &str) -> World {
        World::new(&Plan::of(&parse(line)).expect("it makes sense"))
    }

    #[test]
    fn everybody_keeps_moving_at_five_metres_per_second_within_the_square() {
        let mut world = world("--entities 300 --side 50");
        let mut before = world.walkers.clone();
        for _ in 0..200 {
            world.walk();
            for (old, new) in before.iter().zip(&world.walkers) {
                assert!(new.x.abs().max(new.z.abs()) <= world.half, "{new:?}");
                let pace = f64::from(new.dx).hypot(f64::from(new.dz));
                assert!((pace - STEP).abs() < 1.0, "{new:?}");
                let way = f64::from(new.x - old.x).hypot(f64::from(new.z - old.z));
                assert!(way <= STEP + 1.0, "{old:?} to {new:?}");
            }
            before.clone_from(&world.walkers);
        }
    }

    #[test]
    fn the_crowd_stays_spread_evenly() {
        let mut world = world("--entities 20000 --side 100");
        for _ in 0..300 {
            world.walk();
        }
        let mut counts = [0u32; 100];
        for place in &world.places {
            let tile = |v: i32| ((v + 1600) * 10 / 3201) as usize;
            counts[tile(place[0]) * 10 + tile(place[2])] += 1;
        }
        // 200 in each, give or take 14.
        assert!(
            counts.iter().all(|count| (130..270).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_same_seed_is_the_same_crowd_and_another_is_not() {
        let run = |seed| {
            let mut world = world(&format!(
                "--entities 100 --side 50 --masks 8 --dy-limit 5 --seed {seed}"
            ));
            (0..100).for_each(|_| world.walk());
            world.places
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn standing_entities_stand() {
        let mut world = world("--entities 1000 --side 500 --moving 30");
        let before = world.places.clone();
        (0..10).for_each(|_| world.walk());
        let moved = before.iter().zip(&world.places).filter(|(a, b)| a != b).count();
        assert!((240..360).contains(&moved) && moved <= world.movers.len());
    }

    #[test]
    fn there_are_as_many_masks_as_were_asked_for() {
        for masks in [2, 64] {
            let world = world(&format!("--entities 20000 --side 500 --masks {masks}"));
            let mut all = world.layers.clone();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), masks);
            let apart = world.layers.iter().filter(|&&layers| layers == APART).count();
            assert!((140..260).contains(&apart), "about 1 %, not {apart} of 20,000");
        }
    }

    #[test]
    fn most_pairs_are_within_the_height_limit_and_some_are_not() {
        let mut world = world("--entities 1000 --side 500 --dy-limit 5");
        for _ in 0..100 {
            world.walk();
        }
        let within = |a: &[i32; 3], b: &[i32; 3]| (a[1] - b[1]).abs() <= 160;
        let all = world.places.iter();
        let count: usize = all
            .map(|a| world.places.iter().filter(|b| within(a, b)).count())
            .sum();
        assert!((800_000..950_000).contains(&count), "{count}");
        let highest = world.places.iter().map(|place| place[1]).max();
        assert!(highest.is_some_and(|y| (300..=320).contains(&y)), "{highest:?}");
    }

    #[test]
    fn mixed_radii_differ_and_keep_their_mean() {
        let world = world("--entities 2000 --side 500 --observers 1000 --radii mixed");
        let mean = world.radii.iter().map(|&r| f64::from(r)).sum::<f64>() / 1000.0;
        assert_eq!(world.observers(), 1000);
        assert!((mean - 3200.0).abs() < 100.0, "{mean}");
        assert!(world.radii.iter().any(|&r| r < 2600) && world.radii.iter().any(|&r| r > 3800));
    }
}
