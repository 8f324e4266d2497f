//! How large the square must be for a view of a certain size.
//!
//! A view near the edge of the square is cut off, hysteresis adds those who are on their way out, floors and masks
//! hide some: all that is reckoned with here, so that the measured mean comes within some per cent of the wanted one.
//! The report tells the measured one.

use crate::aoi::args::Radii;
use crate::aoi::world::{FLOOR_LIMITS, FLOORS};
use std::f64::consts::PI;

/// Radius kept by hysteresis, as a multiple of the enter radius.
const LEAVE: f64 = 1.1;
/// Share of those between the enter and the leave radius who are in view, as measured with this crowd: most who are
/// on their way out, and none who are on their way in.
const BAND_SEEN: f64 = 0.43;
/// Radii that stand for all of [`Radii::Mixed`].
const MIXED: [f64; 5] = [0.8, 0.9, 1.0, 1.1, 1.2];

/// What the size of a view depends on, apart from the square's side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Density {
    pub(super) entities: u32,
    pub(super) radius_m: f64,
    pub(super) radii: Radii,
    /// Shares of pairs or entities, 0 to 1.
    pub(super) meeting: f64,
    pub(super) appealing: f64,
    pub(super) moving: f64,
    pub(super) dy_limit_m: Option<f64>,
}

impl Density {
    /// Expected subjects in a view, the observer itself included, on a square of this side.
    fn visible(&self, side_m: f64) -> f64 {
        let appeal = 2.0 * self.radius_m;
        let share = self.mean_over_radii(|radius| {
            let plain = self.share_within(radius, side_m);
            let appealing = self.share_within(radius.max(appeal), side_m);
            (1.0 - self.appealing) * plain + self.appealing * appealing
        });
        1.0 + f64::from(self.entities - 1) * share * self.meeting
    }

    /// The largest view there can be.
    pub(super) fn most(&self) -> f64 {
        self.visible(self.radius_m / 1000.0)
    }

    fn mean_over_radii(&self, share: impl Fn(f64) -> f64) -> f64 {
        match self.radii {
            Radii::Equal => share(self.radius_m),
            Radii::Mixed => {
                MIXED
                    .iter()
                    .map(|times| share(times * self.radius_m))
                    .sum::<f64>()
                    / MIXED.len() as f64
            }
        }
    }

    /// Share of pairs that are near by radius and height.
    fn share_within(&self, radius: f64, side: f64) -> f64 {
        let standing = (1.0 - self.moving).powi(2);
        let band = (LEAVE.powi(2) - 1.0) * BAND_SEEN * (1.0 - standing);
        let near = |dy: f64| {
            let ground2 = (radius.powi(2) - dy.powi(2)).max(0.0);
            pairs_within((ground2 * (1.0 + band)).sqrt() / side)
        };
        let Some(limit) = self.dy_limit_m else {
            return near(0.0);
        };
        let pairs = FLOORS.iter().flat_map(|a| FLOORS.iter().map(move |b| (a, b)));
        let shares = pairs.map(|((floor_a, share_a), (floor_b, share_b))| {
            let dy = f64::from(floor_a - floor_b).abs() * FLOOR_LIMITS * limit;
            if dy <= limit {
                share_a * share_b * near(dy)
            } else {
                0.0
            }
        });
        shares.sum()
    }
}

/// The side at which a view holds `wanted` on average, in metres. `None` if there is none.
pub(super) fn side_for(density: &Density, wanted: f64) -> Option<f64> {
    let (mut low, mut high) = (density.radius_m / 1000.0, density.radius_m * 1e6);
    if !(density.visible(high)..=density.visible(low)).contains(&wanted) {
        return None;
    }
    for _ in 0..100 {
        let middle = (low * high).sqrt();
        if density.visible(middle) > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// Share of pairs of points in a unit square that are at most `distance` apart ("square line picking").
fn pairs_within(distance: f64) -> f64 {
    let near = |t: f64| PI * t.powi(2) - 8.0 / 3.0 * t.powi(3) + t.powi(4) / 2.0;
    if distance <= 1.0 {
        return near(distance);
    }
    let end = distance.min(std::f64::consts::SQRT_2);
    let density = |t: f64| {
        let root = (t * t - 1.0).max(0.0).sqrt();
        2.0 * t * (4.0 * root - (t * t + 2.0 - PI) - 4.0 * root.atan())
    };
    let step = (end - 1.0) / 64.0;
    let middles = (0..64).map(|i| density(1.0 + (f64::from(i) + 0.5) * step) * step);
    (near(1.0) + middles.sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Density = Density {
        entities: 10_000,
        radius_m: 100.0,
        radii: Radii::Equal,
        meeting: 1.0,
        appealing: 0.0,
        moving: 1.0,
        dy_limit_m: None,
    };

    #[test]
    fn all_pairs_are_within_the_diagonal_and_half_within_the_mean() {
        assert!((pairs_within(1.5) - 1.0).abs() < 1e-4);
        assert!((pairs_within(1.0) - 0.9749).abs() < 1e-4);
        assert!((pairs_within(0.512) - 0.5).abs() < 0.005);
        assert!(pairs_within(0.0).abs() < 1e-9);
    }

    #[test]
    fn the_side_gives_back_the_view_that_was_asked_for() {
        for wanted in [60.0, 1000.0, 9000.0] {
            let side = side_for(&PLAIN, wanted).expect("there is such a square");
            assert!((PLAIN.visible(side) - wanted).abs() < 0.01, "{wanted}: {side}");
        }
        assert_eq!(side_for(&PLAIN, 10_001.0), None);
        assert_eq!(side_for(&PLAIN, 0.5), None);
    }

    #[test]
    fn what_hides_makes_the_square_smaller_and_what_shows_larger() {
        let side = |density: &Density| side_for(density, 1000.0).expect("there is such a square");
        let plain = side(&PLAIN);
        assert!(
            side(&Density {
                meeting: 0.98,
                ..PLAIN
            }) < plain
        );
        assert!(
            side(&Density {
                dy_limit_m: Some(20.0),
                ..PLAIN
            }) < plain
        );
        assert!(
            side(&Density {
                appealing: 0.01,
                ..PLAIN
            }) > plain
        );
        assert!(side(&Density { moving: 0.0, ..PLAIN }) < plain);
    }
}
