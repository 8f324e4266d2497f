//! How fast everybody truly went: the length of each entity's path over a second of ticks.

use crate::bits::Bits;
use crate::histogram::{Histogram, Percentiles};
use crate::truth::{Row, TickTruth};
use myriad_wire::client::Rules;
use myriad_wire::grid::UNITS_PER_METRE;

/// Length of a window, in seconds. Shorter ones would judge the burst that the space's laws allow.
const WINDOW_S: f64 = 1.0;
/// Speeds are counted in steps of a hundredth of a metre per second.
const STEPS_PER_M_S: f64 = 100.0;
/// Rounding that is forgiven in a window, in position units: one per tick at 60 Hz.
const ROUNDING_UNITS: f64 = 64.0;

/// The speeds of all entities, and of avatars among them.
#[derive(Debug, Default)]
pub(crate) struct Speeds {
    rules: Option<Rules>,
    avatars: Bits,
    /// By row: path since the window began, in position units; negative: was not alive all the time.
    paths: Vec<f64>,
    window_s: f64,
    all: Histogram,
    of_avatars: Histogram,
    pub(crate) speeding: u64,
}

impl Speeds {
    /// The laws to judge by.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = Some(rules);
    }

    /// The entity in `row` is a bot's avatar.
    pub(crate) fn add_avatar(&mut self, row: Row) {
        self.avatars.insert(row);
    }

    /// Everybody went from `last` to `next` in `seconds`.
    pub(crate) fn handle_tick(&mut self, last: &TickTruth, next: &TickTruth, seconds: f64) {
        let rows = next.positions.len().max(last.positions.len());
        if self.paths.len() < rows {
            // Whoever appears within a window is judged from the next one on.
            self.paths.resize(rows, f64::NEG_INFINITY);
        }
        for (row, path) in self.paths.iter_mut().enumerate() {
            *path += match (last.position(row as Row), next.position(row as Row)) {
                (Some(a), Some(b)) => {
                    let (dx, dy, dz) = (a.x.abs_diff(b.x), a.y.abs_diff(b.y), a.z.abs_diff(b.z));
                    (f64::from(dx).powi(2) + f64::from(dy).powi(2) + f64::from(dz).powi(2)).sqrt()
                }
                _ => f64::NEG_INFINITY,
            };
        }
        self.window_s += seconds;
        if self.window_s >= WINDOW_S - 1e-9 {
            self.close_window();
        }
    }

    fn close_window(&mut self) {
        let limit = self.rules.map_or(f64::INFINITY, |rules| {
            let speed_max = f64::from(rules.speed_max);
            speed_max * (self.window_s + f64::from(rules.burst_ms) / 1000.0) + ROUNDING_UNITS
        });
        for (row, path) in self.paths.iter_mut().enumerate() {
            if *path >= 0.0 {
                let speed = *path / self.window_s / f64::from(UNITS_PER_METRE);
                self.all.record(speed * STEPS_PER_M_S, 1);
                if self.avatars.contains(row as Row) {
                    self.of_avatars.record(speed * STEPS_PER_M_S, 1);
                }
                self.speeding += u64::from(*path > limit);
            }
            *path = 0.0;
        }
        self.window_s = 0.0;
    }

    /// Speeds of all entities and of the avatars, in m/s.
    pub(crate) fn percentiles(&self) -> [Option<Percentiles>; 2] {
        [&self.all, &self.of_avatars].map(|speeds| speeds.percentiles(1.0 / STEPS_PER_M_S))
    }

    /// Counts anew; laws and avatars stay.
    pub(crate) fn restart(&mut self) {
        self.all = Histogram::new();
        self.of_avatars = Histogram::new();
        self.speeding = 0;
        self.window_s = 0.0;
        self.paths.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::tests::{told, truth};
    use myriad_wire::Pos;

    fn rules(speed_max_m_s: u32) -> Rules {
        Rules {
            bounds_min: Pos::default(),
            bounds_max: Pos::default(),
            speed_max: speed_max_m_s * 1024,
            burst_ms: 200,
            radius_aoi: 0,
            crowd_period: 1,
        }
    }

    /// Speeds after 31 ticks at 10 Hz in which entity 0 goes `metres` a tick, and jumps `jump` metres once.
    fn walked(metres: f64, jump: f64) -> Speeds {
        let mut truth = truth(&[told(0, &[(0.0, 0.0)])]);
        truth.speeds.set_rules(rules(6));
        truth.speeds.add_avatar(0);
        for tick in 1..=31 {
            let x = metres * tick as f64 + if tick > 15 { jump } else { 0.0 };
            truth
                .handle_tick(&told(tick, &[(x, 0.0)]), 0)
                .expect("a good trace");
        }
        std::mem::take(&mut truth.speeds)
    }

    #[test]
    fn a_walker_within_the_law_is_not_speeding() {
        let speeds = walked(0.5, 0.0);
        assert_eq!(speeds.speeding, 0);
        let [all, avatars] = speeds.percentiles();
        assert!((all.expect("walked").p50 - 5.0).abs() < 0.03, "{all:?}");
        assert_eq!(all, avatars);
    }

    #[test]
    fn a_runner_and_a_jumper_are_speeding() {
        assert_eq!(walked(0.75, 0.0).speeding, 2);
        assert_eq!(walked(0.5, 5.0).speeding, 1);
    }

    #[test]
    fn who_appears_within_a_second_is_judged_from_the_next_one_on() {
        let mut truth = truth(&[told(0, &[])]);
        for tick in 1..=20 {
            let there = [(0.1 * tick as f64, 0.0)];
            let told = told(tick, if tick < 5 { &[] } else { &there });
            truth.handle_tick(&told, 0).expect("a good trace");
        }
        let [all, _] = truth.speeds.percentiles();
        assert!((all.expect("one window").max - 1.0).abs() < 0.02);
    }
}
