//! Special places: edges of whatever an engine divides the world into, ends of numbers, everybody in one point.

use myriad_aoi::RADIUS_MAX;

use crate::walks::{Layout, Walk};

/// A small walk, in which all views are read after every update.
const SMALL: Walk = Walk {
    is_mutual: false,
    entities: 100,
    observers: 30,
    ticks: 40,
    layout: Layout::Anywhere,
    centre: [0; 3],
    extent: [2_000, 40, 2_000],
    radius: 600,
    speed: 16,
    layers: &[1, 1, 1, 3, 2],
    dy_limit: None,
    churn: 1,
    storm_ticks: 13,
    view_stride: 1,
};

/// In both shapes.
fn check(scene: &str, walk: Walk) {
    for is_mutual in [false, true] {
        for seed in 1..3 {
            Walk {
                is_mutual,
                ..walk.clone()
            }
            .run(&format!("{scene} of {walk:?}"), seed);
        }
    }
}

#[test]
fn everybody_in_one_point() {
    for (radius, speed) in [(0, 0), (0, 1), (1, 1), (600, 0), (RADIUS_MAX, 1)] {
        check(
            "a point",
            Walk {
                layout: Layout::Point,
                radius,
                speed,
                ..SMALL
            },
        );
    }
}

#[test]
fn lines_whose_pitch_is_the_radius_or_a_fraction_of_it() {
    for pitch in [1, 2, 30, 32, 300, 600, 601, 660, 661] {
        check(
            "a line",
            Walk {
                layout: Layout::Line(pitch),
                extent: [40_000, 40, 40],
                speed: 1,
                ..SMALL
            },
        );
    }
}

#[test]
fn grids_on_every_power_of_two() {
    for power in 0..20 {
        let pitch = 1 << power;
        for radius in [pitch, pitch * 3 / 2 + 1] {
            let extent = [pitch * 16, 40, pitch * 16];
            let layout = Layout::Crossings(pitch);
            let ticks = 14;
            check(
                "a grid",
                Walk {
                    layout,
                    extent,
                    radius,
                    speed: 1,
                    ticks,
                    storm_ticks: 11,
                    ..SMALL
                },
            );
        }
    }
}

#[test]
fn walks_across_every_boundary_of_the_numbers() {
    for end in [
        0,
        1 << 15,
        -(1 << 15),
        1 << 16,
        -(1 << 16),
        1 << 24,
        -(1 << 24),
        1 << 30,
        i32::MAX,
        i32::MIN,
    ] {
        for centre in [[end, 0, 0], [0, end, 0], [0, 0, end], [end; 3]] {
            check(
                "a boundary",
                Walk {
                    centre,
                    extent: [700; 3],
                    radius: 300,
                    ticks: 24,
                    ..SMALL
                },
            );
        }
    }
}

#[test]
fn two_crowds_far_apart_that_change_places() {
    for extent in [33_000, 70_000, 1 << 20, 1 << 26, u32::MAX / 2] {
        let layout = Layout::Clusters(2);
        check(
            "two crowds",
            Walk {
                layout,
                extent: [extent, 40, extent],
                storm_ticks: 5,
                ..SMALL
            },
        );
    }
}

#[test]
fn every_radius_from_none_to_the_greatest() {
    let radii = [
        0, 1, 2, 9, 10, 11, 31, 32, 33, 100, 1_023, 1_024, 3_200, 32_767, 32_768, 65_535, 65_536,
    ];
    for radius in radii
        .into_iter()
        .chain([100_000, 128_000, 1 << 20, 1 << 26, RADIUS_MAX - 1, RADIUS_MAX])
    {
        let extent = radius.saturating_mul(2).clamp(3, u32::MAX / 2);
        let speed = radius / 40 + 1;
        check(
            "a radius",
            Walk {
                extent: [extent, extent / 4, extent],
                radius,
                speed,
                ticks: 24,
                ..SMALL
            },
        );
    }
}

#[test]
fn every_density_from_alone_to_all_in_view() {
    for extent in [1, 100, 300, 600, 1_000, 3_000, 10_000, 100_000] {
        for entities in [1, 2, 31, 32, 33, 64, 65, 257] {
            let observers = entities / 2 + 1;
            let extent = [extent, 40, extent];
            check(
                "a density",
                Walk {
                    entities,
                    observers,
                    extent,
                    ticks: 16,
                    storm_ticks: 6,
                    ..SMALL
                },
            );
        }
    }
}

#[test]
fn limits_of_height() {
    for limit in [0, 1, 9, 10, 100, 599, 600, 5_000, u32::MAX] {
        check(
            "a height",
            Walk {
                dy_limit: Some(limit),
                extent: [600, 500, 600],
                speed: 48,
                ..SMALL
            },
        );
    }
}
