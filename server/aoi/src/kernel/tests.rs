//! Every kernel against the rule, pair by pair.

use super::*;
use crate::block::{Member, NONE};

fn block(positions: impl Iterator<Item = [i32; 3]>, radius: u32) -> Block {
    let mut block = Block::EMPTY;
    for (position, at) in positions.zip(0..) {
        let member = Member {
            id: at,
            position,
            radius: radius + at % 3 * (radius / 9),
            layers: 1,
            sees: 1,
            origin: NONE,
        };
        block.put(at, &member);
    }
    block.summarise();
    block.fit();
    block
}

/// The rule of the crate's documentation in 128 bits.
fn is_near(rows: &Block, columns: &Block, r: u32, c: u32, dy_limit: DyLimit, was: bool) -> bool {
    let (p, q) = (rows.position(r), columns.position(c));
    let difference = |axis: usize| i128::from(p[axis]) - i128::from(q[axis]);
    let distance2: i128 = (0..3).map(|axis| difference(axis).pow(2)).sum();
    let radius = i128::from(rows.radius[r as usize].max(columns.radius[c as usize]));
    let (enter, leave) = dy_limit.map_or((i128::MAX, i128::MAX), |(enter, leave)| {
        (enter.into(), leave.into())
    });
    let dy = difference(1).abs();
    distance2 <= radius * radius && dy <= enter
        || was && 100 * distance2 <= 121 * radius * radius && dy <= leave
}

#[test]
fn every_kernel_keeps_the_rule_for_every_pair_of_blocks() {
    let mut state = 7_u64;
    let mut draw = move |end: i64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as i64 % end.max(1)) as i32
    };
    let mut changes_seen = 0;
    for round in 0..12_000 {
        let side = [1, 40, 900, 3_000, 16_000, 40_000, 3_000_000][draw(7) as usize];
        let apart = [0, 1_000, 4_000, 14_000, 33_000, 200_000][draw(6) as usize];
        let radius = [0, 1, 300, 3_200, 14_000, 14_900, 128_000][draw(7) as usize];
        let appeal = [0, 0, 0, 400, 5_000, 140_000][draw(6) as usize];
        let height = [0, 0, 3, 200, 9_000][draw(5) as usize];
        let base = [0, 32_767, i32::MAX - 1, i32::MIN][draw(4) as usize];
        let dy_limit = [None, None, Some((0, 0)), Some((100, 110)), Some((2_000, 2_200))][draw(5) as usize];
        let count = 1 + draw(32);
        let place = |draw: &mut dyn FnMut(i64) -> i32, x: i32| {
            [
                x.wrapping_add(draw(side)),
                draw(height + 1),
                base.wrapping_add(draw(side)),
            ]
        };
        let rows = block(
            (0..count)
                .map(|_| place(&mut draw, base))
                .collect::<Vec<_>>()
                .into_iter(),
            radius,
        );
        let x = base.wrapping_add(apart);
        let columns = block(
            (0..33 - count)
                .map(|_| place(&mut draw, x))
                .collect::<Vec<_>>()
                .into_iter(),
            appeal,
        );
        let mut before = Tile::EMPTY;
        for r in bits(rows.members.into()) {
            before.0[r as usize] = draw(1 << 31) as u32 & columns.members;
        }
        let mut expected = Tile::EMPTY;
        for r in bits(rows.members.into()) {
            for c in bits(columns.members.into()) {
                let was = before.0[r as usize] >> c & 1 != 0;
                let is = is_near(&rows, &columns, r, c, dy_limit, was);
                expected.0[r as usize] |= u32::from(is) << c;
            }
        }
        // Blocks that are out of each other's reach never meet in a kernel.
        let reach = rows.radius_max.max(columns.radius_max);
        let gap = |axis: usize| {
            let least = |a: i32, b: i32| i64::from(a) - i64::from(b);
            least(columns.low[axis], rows.high[axis]).max(least(rows.low[axis], columns.high[axis]))
        };
        if (0..3).any(|axis| gap(axis) > i64::from(reach) + i64::from(reach / 10)) {
            continue;
        }
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
            let (mut tile, mut changes) = (before, Tile([u32::MAX; SLOTS]));
            let changed = update(kernel, &rows, &columns, dy_limit, &mut tile, &mut changes);
            assert_eq!(tile, expected, "round {round}, {kernel:?}");
            for r in 0..SLOTS {
                let change = before.0[r] ^ expected.0[r];
                assert_eq!(
                    changed >> r & 1 != 0,
                    change != 0,
                    "round {round}, {kernel:?}, row {r}"
                );
                if change != 0 {
                    assert_eq!(changes.0[r], change, "round {round}, {kernel:?}, row {r}");
                    changes_seen += change.count_ones();
                }
            }
        }
    }
    assert!(changes_seen > 100_000, "only {changes_seen} changes");
}
