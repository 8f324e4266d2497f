//! The oracle's own shortcuts, against the rule as it is written.

use myriad_aoi::oracle::{distance2, is_in_sector, sees};
use myriad_aoi::{Observer, RADIUS_MAX, Subject};

/// In numbers that are long enough for anything.
fn is_near(place: [i32; 3], radius: u32, dy_limit: Option<u32>, was_near: bool) -> bool {
    let (distance2, radius) = (distance2([0; 3], place), i128::from(radius.min(RADIUS_MAX)));
    let dy = i128::from(place[1]).abs();
    let dy_limit = dy_limit.map_or(i128::from(u64::MAX), i128::from);
    let enters = distance2 <= radius * radius && dy <= dy_limit;
    let stays = 100 * distance2 <= 121 * radius * radius && 10 * dy <= 11 * dy_limit;
    enters || was_near && stays
}

fn check(place: [i32; 3], radius: u32, dy_limit: Option<u32>) {
    let observer = Observer {
        radius,
        sees: 1,
        ..Observer::default()
    };
    let subject = Subject {
        position: place,
        layers: 1,
        appeal: 0,
    };
    for seen in [false, true] {
        let expected = is_near(place, radius, dy_limit, seen);
        let context = (place, radius, dy_limit, seen);
        assert_eq!(sees(&observer, &subject, dy_limit, seen), expected, "{context:?}");
    }
}

#[test]
fn limits_worked_out_beforehand_are_those_of_the_rule() {
    for radius in (0..300).chain([3_200, 131_071, RADIUS_MAX - 1, RADIUS_MAX, u32::MAX]) {
        let edge = radius.min(RADIUS_MAX) as i32;
        let leave = (u64::from(edge as u32) * 11 / 10) as i32;
        let edges = [-1, 0, 1].into_iter().flat_map(|off| [edge + off, leave + off]);
        for x in edges.chain([i32::MIN, -1, 0, 1, i32::MAX]) {
            for dy_limit in [None, Some(0), Some(9), Some(10), Some(radius), Some(u32::MAX)] {
                for place in [[x, 0, 0], [0, x, 0], [0, 0, x], [x; 3]] {
                    check(place, radius, dy_limit);
                }
            }
        }
    }
}

#[test]
fn the_ends_of_the_numbers_are_far_apart() {
    let observer = Observer {
        position: [i32::MIN; 3],
        radius: RADIUS_MAX,
        sees: 1,
        avatar: None,
    };
    for place in [[i32::MAX, i32::MIN, i32::MIN], [i32::MAX; 3]] {
        let subject = Subject {
            position: place,
            layers: 1,
            appeal: RADIUS_MAX,
        };
        assert!(!sees(&observer, &subject, None, true));
    }
}

#[test]
fn a_sector_is_exact_at_its_edges_and_at_the_ends_of_the_numbers() {
    let inside = |direction, cos, [x, z]: [i32; 2]| is_in_sector([0; 3], direction, cos, [x, 7, z]);
    for (cos, x, expected) in [(0, 0, true), (0, -1, false), (-66, -1, true), (-65, -1, false)] {
        assert_eq!(inside([5, 0], cos, [x, 1_000]), expected, "{cos} {x}");
    }
    assert!(inside([3, 4], 65_536, [300, 400]) && !inside([3, 4], 65_536, [300, 401]));
    assert!(inside([3, 4], -65_536, [-300, -400]) && !inside([3, 4], -65_535, [-300, -400]));
    // The cosine is 4/5, which is between these two.
    assert!(inside([4, 3], 52_428, [5, 0]) && !inside([4, 3], 52_429, [5, 0]));
    assert!(inside([0, 0], 65_536, [-5, 3]) && inside([-1, 0], 65_536, [0, 0]));
    let (low, high) = (i32::MIN, i32::MAX);
    assert!(is_in_sector([low; 3], [high, high], 65_536, [high; 3]));
    assert!(!is_in_sector([high; 3], [high, high], -65_535, [low; 3]));
    assert!(is_in_sector([high; 3], [low, low], 65_536, [low; 3]));
}
