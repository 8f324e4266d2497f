//! Speed as a budget that time earns and steps spend.
//!
//! Intents arrive in bunches: two in one tick, none in the next. A limit per tick would clip honest clients, a limit
//! per second would be late. A budget does neither: over any span of time a client goes at most speed x time plus
//! the burst that it saved up, and one that keeps to the speed is never clipped while its intents come no later
//! than the burst allows. Whole numbers only, so that nothing drifts.

use myriad_wire::payload::Step;

/// Budgets are kept in millionths of a position unit: units per second times microseconds.
const MICRO: u128 = 1_000_000;
/// Fractional bits of a step's length under the square root.
const LENGTH_BITS: u32 = 17;

/// How far an avatar may still go.
///
/// Rounding is the client's affair: one that rounds its steps towards zero never spends more than it walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovementBudget {
    speed_max: u32,
    /// In millionths of a position unit. Between zero and `balance_max`.
    balance: i64,
    balance_max: i64,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The step that is allowed: the one asked for, or a shorter one in its direction.
    pub step: Step,
    /// The step asked for was too long.
    pub clipped: bool,
}

impl MovementBudget {
    /// A full budget of `burst_ms` milliseconds at `speed_max` position units per second.
    #[must_use]
    pub fn new(speed_max: u32, burst_ms: u32) -> Self {
        let balance_max = i64::from(speed_max).saturating_mul(i64::from(burst_ms) * 1000);
        Self {
            speed_max,
            balance: balance_max,
            balance_max,
        }
    }

    /// What is left, in millionths of a position unit.
    #[must_use]
    pub fn balance(&self) -> i64 {
        self.balance
    }

    /// This budget with so much left of it, in millionths of a position unit, as far as it may hold so much.
    #[must_use]
    pub fn with_balance(mut self, balance: i64) -> Self {
        self.balance = balance.clamp(0, self.balance_max);
        self
    }

    /// `period_us` microseconds have passed: of every tick, and of every tick that was jumped over.
    pub fn earn(&mut self, period_us: u64) {
        let earned = i64::try_from(u128::from(self.speed_max) * u128::from(period_us)).unwrap_or(i64::MAX);
        self.balance = self.balance.saturating_add(earned).min(self.balance_max);
    }

    /// Takes `step` out of the budget, shortened to what is left. Any step is taken, however long.
    pub fn spend(&mut self, step: Step) -> Spent {
        let length = length_micro(step);
        if length <= self.balance {
            self.balance -= length;
            return Spent { step, clipped: false };
        }
        // Rounded towards zero, so the shorter step is not longer than the balance.
        let part = |v: i32| (i128::from(v) * i128::from(self.balance) / i128::from(length)) as i32;
        let shorter = Step {
            dx: part(step.dx),
            dz: part(step.dz),
        };
        self.balance = (self.balance - length_micro(shorter)).max(0);
        Spent {
            step: shorter,
            clipped: true,
        }
    }
}

/// The length of a step in millionths of a unit, rounded down by at most 1/131,072 unit.
fn length_micro(step: Step) -> i64 {
    let square = |v: i32| u128::from(v.unsigned_abs()).pow(2);
    let length = ((square(step.dx) + square(step.dz)) << (2 * LENGTH_BITS)).isqrt();
    ((length * MICRO) >> LENGTH_BITS) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::limits::INTENT_STEP_MAX;
    use proptest::prelude::*;

    const SPEED: u32 = 5 * 1024;
    const PERIOD_US: u64 = 100_000;

    fn heading(angle: f64, units: f64) -> Step {
        Step {
            dx: (angle.cos() * units) as i32,
            dz: (angle.sin() * units) as i32,
        }
    }

    fn length(step: Step) -> f64 {
        f64::from(step.dx).hypot(f64::from(step.dz))
    }

    proptest! {
        #[test]
        fn an_honest_client_is_never_clipped_whatever_the_jitter(
            angles in prop::collection::vec(0.0..std::f64::consts::TAU, 1..200),
            late in prop::collection::vec(0usize..4, 200),
        ) {
            let mut budget = MovementBudget::new(SPEED, 500);
            let per_tick = f64::from(SPEED) * PERIOD_US as f64 / 1e6;
            let mut waiting = 0;
            for (i, angle) in angles.iter().enumerate() {
                budget.earn(PERIOD_US);
                waiting += 1;
                // Up to three ticks without an intent, then all that were late at once.
                if late[i] > 0 && waiting < 4 {
                    continue;
                }
                for _ in 0..waiting {
                    prop_assert!(!budget.spend(heading(*angle, per_tick)).clipped);
                }
                waiting = 0;
            }
        }

        #[test]
        fn a_cheater_never_goes_farther_than_speed_times_time_plus_burst(
            steps in prop::collection::vec((any::<i32>(), any::<i32>(), 0u64..300_000), 1..300),
            near in any::<bool>(),
            burst_ms in 0u32..2000,
        ) {
            let mut budget = MovementBudget::new(SPEED, burst_ms);
            let (mut gone, mut passed_us) = (0.0, 0u64);
            for (dx, dz, wait_us) in steps {
                budget.earn(wait_us);
                passed_us += wait_us;
                let limit = if near { 600 } else { INTENT_STEP_MAX };
                let asked = Step { dx: dx % limit, dz: dz % limit };
                let spent = budget.spend(asked);
                gone += length(spent.step);
                let allowed = f64::from(SPEED) * (passed_us as f64 / 1e6 + f64::from(burst_ms) / 1e3);
                prop_assert!(gone <= allowed + 0.01, "{gone} of {allowed}");
                prop_assert!(spent.clipped || spent.step == asked);
                prop_assert!(spent.step.dx.signum() * asked.dx.signum() >= 0);
                prop_assert!(spent.step.dz.signum() * asked.dz.signum() >= 0);
            }
        }

        #[test]
        fn no_step_and_no_wait_panics(dx: i32, dz: i32, speed: u32, burst_ms: u32, wait_us: u64) {
            let mut budget = MovementBudget::new(speed, burst_ms);
            budget.earn(wait_us);
            let _ = budget.spend(Step { dx, dz });
            budget.earn(wait_us);
            let spent = budget.spend(Step { dx, dz });
            prop_assert!(spent.step.dx.unsigned_abs() <= dx.unsigned_abs());
        }
    }

    #[test]
    fn two_intents_in_one_tick_and_none_in_the_next_are_honest() {
        let mut budget = MovementBudget::new(SPEED, 500);
        let step = Step { dx: 512, dz: 0 };
        for _ in 0..10_000 {
            budget.earn(PERIOD_US);
            budget.earn(PERIOD_US);
            for _ in 0..2 {
                assert_eq!(budget.spend(step), Spent { step, clipped: false });
            }
        }
    }

    #[test]
    fn a_clipped_step_keeps_its_direction() {
        let mut budget = MovementBudget::new(1000, 1000);
        let spent = budget.spend(Step { dx: 1600, dz: -1200 });
        assert!(spent.clipped);
        assert_eq!(spent.step, Step { dx: 800, dz: -600 });
        assert_eq!(budget.spend(Step { dx: 1, dz: 0 }).step, Step::default());
    }
}
