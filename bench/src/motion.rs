//! How a bot walks: a pure walker that answers each tick with one step, the same steps for the same seed.
//!
//! It never goes faster than it was told, never off its ground, and keeps to whole position units, so that the
//! sum of its steps is exactly where it is. It knows no clock and no network; [`crate::bot`] calls it once a
//! tick.

use clap::ValueEnum;
use myriad_wire::Pos;
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::payload::Step;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::Serialize;

/// How bots walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MotionKind {
    /// A third each of waypoint, steer and erratic.
    #[default]
    Mixed,
    /// Straight to a random place at 2-5 m/s, then to the next: click-to-move.
    Waypoint,
    /// 2-5 m/s, a new heading every 0.3-2 s.
    Steer,
    /// 2-5 m/s, a new heading and a new speed every tick or few.
    Erratic,
    /// Straight legs of about 26 s at 2 m/s.
    Luacluster,
}

impl MotionKind {
    /// As the command line and the report call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Waypoint => "waypoint",
            Self::Steer => "steer",
            Self::Erratic => "erratic",
            Self::Luacluster => "luacluster",
        }
    }
}

/// Slowest and fastest walk, in metres per second.
const SPEED_M_S: (f64, f64) = (2.0, 5.0);
/// The speed and the length of a leg of [`MotionKind::Luacluster`].
const LUACLUSTER: (f64, f64) = (2.0, 52.0);
/// How far from its bounds a walker stays, in position units: a quarter of a metre.
const MARGIN: i32 = UNITS_PER_METRE / 4;

/// Where a walker may be and how far it may go in one step.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// Lowest position.
    pub min: Pos,
    /// Highest position.
    pub max: Pos,
    /// Fastest it may go, in position units per second.
    pub speed_max: u32,
    /// Steps per second.
    pub hz: f64,
}

/// One bot's way through the world.
#[derive(Clone, Debug)]
pub struct Walker {
    style: Style,
    rng: Pcg32,
    ground: Ground,
    /// In position units per step.
    pace: f64,
    heading: f64,
    target: (f64, f64),
    /// Steps until the next decision.
    steps_left: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Waypoint,
    Steer,
    Erratic,
    Luacluster,
}

impl Walker {
    /// The walker of bot `index`: with [`MotionKind::Mixed`] every third walks alike.
    #[must_use]
    pub fn new(kind: MotionKind, index: u32, seed: u64, ground: Ground) -> Self {
        let style = match (kind, index % 3) {
            (MotionKind::Waypoint, _) | (MotionKind::Mixed, 0) => Style::Waypoint,
            (MotionKind::Steer, _) | (MotionKind::Mixed, 1) => Style::Steer,
            (MotionKind::Erratic, _) | (MotionKind::Mixed, _) => Style::Erratic,
            (MotionKind::Luacluster, _) => Style::Luacluster,
        };
        Self {
            style,
            rng: Pcg32::seed_from_u64(seed ^ u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            ground,
            pace: 0.0,
            heading: 0.0,
            target: (0.0, 0.0),
            steps_left: 0,
        }
    }

    /// The next step from `at`, once a tick. Inside the bounds if `at` is, and never longer than the speed limit
    /// allows for one tick.
    pub fn step(&mut self, at: Pos) -> Step {
        if self.steps_left == 0 {
            self.decide(at);
        }
        self.steps_left -= 1;
        let (dx, dz) = match self.style {
            Style::Waypoint | Style::Luacluster => self.towards_target(at),
            Style::Steer | Style::Erratic => (self.heading.cos() * self.pace, self.heading.sin() * self.pace),
        };
        let (min, max) = (self.ground.min, self.ground.max);
        let step = Step {
            dx: inside(at.x, dx, min.x, max.x),
            dz: inside(at.z, dz, min.z, max.z),
        };
        if (step.dx, step.dz) != (dx as i32, dz as i32) {
            // At the edge of the world: turn round instead of rubbing along it.
            self.steps_left = 0;
        }
        step
    }

    fn decide(&mut self, at: Pos) {
        let seconds = match self.style {
            Style::Waypoint => {
                let (min, max) = (self.ground.min, self.ground.max);
                self.target = (self.place(min.x, max.x), self.place(min.z, max.z));
                self.pace = self.random_pace();
                let way = (self.target.0 - f64::from(at.x)).hypot(self.target.1 - f64::from(at.z));
                way / self.pace / self.ground.hz
            }
            Style::Luacluster => {
                self.pace = self.pace_at(LUACLUSTER.0);
                let heading = self.rng.random_range(0.0..std::f64::consts::TAU);
                let way = LUACLUSTER.1 * f64::from(UNITS_PER_METRE);
                self.target = (
                    f64::from(at.x) + heading.cos() * way,
                    f64::from(at.z) + heading.sin() * way,
                );
                LUACLUSTER.1 / LUACLUSTER.0
            }
            Style::Steer => {
                self.pace = self.random_pace();
                self.heading = self.rng.random_range(0.0..std::f64::consts::TAU);
                self.rng.random_range(0.3..2.0)
            }
            Style::Erratic => {
                self.pace = self.random_pace();
                self.heading = self.rng.random_range(0.0..std::f64::consts::TAU);
                self.rng.random_range(0.05..0.35)
            }
        };
        self.steps_left = (seconds * self.ground.hz).ceil().clamp(1.0, 1e6) as u32;
    }

    fn towards_target(&self, at: Pos) -> (f64, f64) {
        let (dx, dz) = (self.target.0 - f64::from(at.x), self.target.1 - f64::from(at.z));
        let way = dx.hypot(dz);
        let share = if way <= self.pace { 1.0 } else { self.pace / way };
        (dx * share, dz * share)
    }

    /// A coordinate well inside the bounds; their middle where they are too narrow for that.
    fn place(&mut self, min: i32, max: i32) -> f64 {
        let (low, high) = (min.saturating_add(MARGIN), max.saturating_sub(MARGIN));
        if low < high {
            f64::from(self.rng.random_range(low..high))
        } else {
            (f64::from(min) + f64::from(max)) / 2.0
        }
    }

    fn random_pace(&mut self) -> f64 {
        let speed = self.rng.random_range(SPEED_M_S.0..SPEED_M_S.1);
        self.pace_at(speed)
    }

    /// Position units per step at `speed` metres per second, or at the limit if that is lower.
    fn pace_at(&self, speed: f64) -> f64 {
        (speed * f64::from(UNITS_PER_METRE)).min(f64::from(self.ground.speed_max)) / self.ground.hz
    }
}

/// The step `by`, rounded towards zero, cut so that `at` and the step stay within `min + MARGIN ..= max - MARGIN`;
/// from outside of that, no farther out.
fn inside(at: i32, by: f64, min: i32, max: i32) -> i32 {
    let by = by as i32;
    let low = (i64::from(min) + i64::from(MARGIN) - i64::from(at)).min(0);
    let high = (i64::from(max) - i64::from(MARGIN) - i64::from(at)).max(0);
    // `by` is an i32 and zero lies between the ends, so the result lies between `by` and zero.
    i64::from(by).clamp(low, high) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [MotionKind; 5] = [
        MotionKind::Mixed,
        MotionKind::Waypoint,
        MotionKind::Steer,
        MotionKind::Erratic,
        MotionKind::Luacluster,
    ];

    fn ground(speed_max_m_s: f64, hz: f64) -> Ground {
        let side = 50 * UNITS_PER_METRE;
        Ground {
            min: Pos {
                x: -side,
                y: 0,
                z: -side,
            },
            max: Pos {
                x: side,
                y: 0,
                z: side,
            },
            speed_max: (speed_max_m_s * f64::from(UNITS_PER_METRE)) as u32,
            hz,
        }
    }

    fn walk(kind: MotionKind, index: u32, seed: u64, ground: Ground, steps: u32) -> Vec<Pos> {
        let mut walker = Walker::new(kind, index, seed, ground);
        let mut at = Pos {
            x: 100 * index as i32,
            y: 0,
            z: 7,
        };
        let mut way = vec![at];
        for _ in 0..steps {
            let step = walker.step(at);
            at.x += step.dx;
            at.z += step.dz;
            way.push(at);
        }
        way
    }

    fn metres(a: Pos, b: Pos) -> f64 {
        a.to_metres().distance(b.to_metres())
    }

    #[test]
    fn nobody_is_faster_than_five_metres_per_second_or_leaves_the_bounds() {
        for kind in KINDS {
            for index in 0..30 {
                let ground = ground(10.0, 10.0);
                for pair in walk(kind, index, 3, ground, 3000).windows(2) {
                    assert!(metres(pair[0], pair[1]) <= 0.5, "{kind:?} {index}: {pair:?}");
                    let p = pair[1];
                    assert!(
                        p.x.max(p.z) <= ground.max.x && p.x.min(p.z) >= ground.min.x,
                        "{p:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_lower_limit_of_the_space_is_kept() {
        for kind in KINDS {
            for pair in walk(kind, 1, 3, ground(1.5, 20.0), 3000).windows(2) {
                assert!(metres(pair[0], pair[1]) <= 1.5 / 20.0, "{kind:?}: {pair:?}");
            }
        }
    }

    #[test]
    fn everyone_really_walks() {
        for kind in KINDS {
            for index in 0..9 {
                let way = walk(kind, index, 5, ground(10.0, 10.0), 1000);
                let length: f64 = way.windows(2).map(|pair| metres(pair[0], pair[1])).sum();
                let speed = length / 100.0;
                let low = if kind == MotionKind::Luacluster { 1.5 } else { 2.0 };
                assert!((low..5.0).contains(&speed), "{kind:?} {index}: {speed} m/s");
            }
        }
    }

    #[test]
    fn the_same_seed_walks_the_same_way_and_another_does_not() {
        for kind in KINDS {
            let a = walk(kind, 4, 11, ground(10.0, 10.0), 200);
            assert_eq!(a, walk(kind, 4, 11, ground(10.0, 10.0), 200));
            assert_ne!(a, walk(kind, 4, 12, ground(10.0, 10.0), 200));
        }
    }

    #[test]
    fn a_third_of_a_mixed_crowd_walks_like_each() {
        let mixed = |index| walk(MotionKind::Mixed, index, 1, ground(10.0, 10.0), 50);
        assert_eq!(mixed(3), walk(MotionKind::Waypoint, 3, 1, ground(10.0, 10.0), 50));
        assert_eq!(mixed(4), walk(MotionKind::Steer, 4, 1, ground(10.0, 10.0), 50));
        assert_eq!(mixed(5), walk(MotionKind::Erratic, 5, 1, ground(10.0, 10.0), 50));
    }

    #[test]
    fn outside_of_the_bounds_no_step_leads_farther_out() {
        let ground = ground(10.0, 10.0);
        let mut walker = Walker::new(MotionKind::Erratic, 0, 1, ground);
        let mut at = Pos {
            x: ground.max.x + 5000,
            y: 0,
            z: ground.min.z - 5000,
        };
        for _ in 0..5000 {
            let step = walker.step(at);
            assert!(at.x <= ground.max.x - MARGIN || step.dx <= 0);
            assert!(at.z >= ground.min.z + MARGIN || step.dz >= 0);
            at.x += step.dx;
            at.z += step.dz;
        }
        assert!(
            at.x <= ground.max.x && at.z >= ground.min.z,
            "it came back: {at:?}"
        );
    }

    #[test]
    fn a_ground_too_narrow_to_walk_on_is_stood_on() {
        let at = Pos { x: 5, y: 0, z: 5 };
        let ground = Ground {
            min: at,
            max: at,
            speed_max: 10_000,
            hz: 10.0,
        };
        for kind in KINDS {
            assert_eq!(Walker::new(kind, 0, 1, ground).step(at), Step::default());
        }
    }
}
