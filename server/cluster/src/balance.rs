//! How the lanes of one cell keep their loads alike: who gives how many entities to whom.
//!
//! Each lane decides for itself, by what the others have said of their loads a tick or two before. A lane with more than its
//! share gives to those with less; what lanes with too much give to one with too little they divide among themselves, or
//! all of them would fill the same gap.

use myriad_wire::LaneId;

/// By so many hundredths a lane's load may exceed the mean before it gives: it is called balanced within 10.
const SLACK_PERCENT: u64 = 5;

/// Another lane that serves the same cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sister {
    /// Which.
    pub lane: LaneId,
    /// How many entities it has or keeps room for, less those that it has offered to others; and those that were offered
    /// to it.
    pub load: u32,
}

/// How many entities a lane with `load` gives to which of its `sisters`: more than none each, those with the least first.
/// One that `retires` gives all that it has.
#[must_use]
pub fn gifts(load: u32, sisters: &[Sister], retires: bool) -> Vec<(LaneId, u32)> {
    let own = u64::from(load);
    let loads = sisters.iter().map(|sister| u64::from(sister.load));
    let (count, sum) = (sisters.len() as u64, loads.clone().sum::<u64>());
    if count == 0 || load == 0 {
        return Vec::new();
    }
    let mean = if retires {
        (own + sum).div_ceil(count)
    } else {
        (own + sum).div_ceil(count + 1)
    };
    let surplus = if retires { own } else { own.saturating_sub(mean) };
    if surplus == 0 || !retires && own * 100 <= mean * (100 + SLACK_PERCENT) {
        return Vec::new();
    }
    // A lane that retires gives regardless of what the others do: these balance what comes of it.
    let others = loads.map(|load| load.saturating_sub(mean)).sum::<u64>();
    let all = if retires { surplus } else { surplus + others };
    let mut sisters = sisters.to_vec();
    sisters.sort_by_key(|sister| (sister.load, sister.lane));
    let mut left = surplus;
    let mut gifts = Vec::new();
    for sister in sisters {
        let lacks = mean.saturating_sub(u64::from(sister.load));
        let gift = (lacks * surplus / all).min(left);
        if gift > 0 {
            left -= gift;
            gifts.push((sister.lane, gift as u32));
        }
    }
    if let (true, 1.., Some((_, most))) = (retires, left, gifts.first_mut()) {
        // Of divisions that left a rest.
        *most += left as u32;
    }
    gifts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sisters(loads: &[u32]) -> Vec<Sister> {
        let lanes = (2..).map(LaneId);
        lanes
            .zip(loads)
            .map(|(lane, load)| Sister { lane, load: *load })
            .collect()
    }

    fn check(load: u32, others: &[u32], retires: bool, expected: &[(u32, u32)]) {
        let expected: Vec<(LaneId, u32)> = expected
            .iter()
            .map(|(lane, gift)| (LaneId(*lane), *gift))
            .collect();
        assert_eq!(gifts(load, &sisters(others), retires), expected);
    }

    #[test]
    fn who_has_too_much_gives_to_who_has_too_little() {
        check(1000, &[0], false, &[(2, 500)]);
        check(1000, &[0, 0, 0], false, &[(2, 250), (3, 250), (4, 250)]);
        check(1000, &[900, 0], false, &[(3, 366)]);
        check(500, &[500], false, &[]);
        check(505, &[495], false, &[]);
        check(400, &[600], false, &[]);
        check(1, &[0], false, &[]);
        check(2, &[0], false, &[(2, 1)]);
        check(9, &[], false, &[]);
    }

    #[test]
    fn who_retires_gives_everything() {
        check(1000, &[500, 300], true, &[(3, 600), (2, 400)]);
        check(10, &[1000, 0], true, &[(3, 10)]);
        check(1, &[7], true, &[(2, 1)]);
        check(0, &[7], true, &[]);
        check(5, &[], true, &[]);
    }

    proptest! {
        #[test]
        fn lanes_come_to_be_alike_and_none_gives_back(mut loads in prop::collection::vec(0..5000u32, 2..8)) {
            let sum: u32 = loads.iter().sum();
            for round in 0..2 {
                let before = loads.clone();
                for giver in 0..before.len() {
                    let others: Vec<Sister> = (0..before.len())
                        .filter(|other| *other != giver)
                        .map(|other| Sister { lane: LaneId(other as u32), load: before[other] })
                        .collect();
                    for (lane, gift) in gifts(before[giver], &others, false) {
                        prop_assert!(round == 0, "{:?}", before);
                        loads[giver] -= gift;
                        loads[lane.0 as usize] += gift;
                    }
                }
            }
            prop_assert_eq!(loads.iter().sum::<u32>(), sum);
            let mean = f64::from(sum) / loads.len() as f64;
            let most = f64::from(*loads.iter().max().unwrap());
            prop_assert!(most <= mean * 1.05 + loads.len() as f64 + 2.0, "{:?}", loads);
        }

        #[test]
        fn who_retires_keeps_nothing(load in 0..5000u32, others in prop::collection::vec(0..5000u32, 1..8)) {
            let given: u32 = gifts(load, &sisters(&others), true).iter().map(|(_, gift)| *gift).sum();
            prop_assert_eq!(given, load);
        }
    }
}
