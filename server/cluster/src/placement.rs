//! Which node runs which lane.

use crate::Partition;
use myriad_wire::LaneId;
use std::collections::BTreeMap;

/// Places for the lanes of a space that have none yet, `placed` being the others: each node gets lanes of neighbouring
/// cells, so that most borders lie within a node, and as many as the next one, give or take one. None without nodes.
///
/// `nodes` are names in some order that does not change from call to call.
#[must_use]
pub fn place_lanes(
    partition: &Partition,
    placed: &BTreeMap<LaneId, String>,
    nodes: &[String],
) -> Vec<(LaneId, String)> {
    if nodes.is_empty() {
        return Vec::new();
    }
    let mut room: Vec<usize> = shares(partition.lanes().count(), nodes.len());
    for node in placed.values() {
        if let Some(at) = nodes.iter().position(|name| name == node) {
            room[at] = room[at].saturating_sub(1);
        }
    }
    let mut at = 0;
    let homeless = partition.lanes().filter(|lane| !placed.contains_key(lane));
    homeless
        .map(|lane| {
            // Where nodes that are not there hold places, the shares of those that are do not suffice.
            while room.get(at) == Some(&0) {
                at += 1;
            }
            match room.get_mut(at) {
                Some(left) => *left -= 1,
                None => {
                    room = shares(nodes.len(), nodes.len());
                    room[0] -= 1;
                    at = 0;
                }
            }
            (lane, nodes[at].clone())
        })
        .collect()
}

/// `count` cut into so many parts, as equal as can be, the greater first.
fn shares(count: usize, parts: usize) -> Vec<usize> {
    (0..parts)
        .map(|part| count / parts + usize::from(part < count % parts))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::Pos;
    use proptest::prelude::*;

    fn strip(lanes: u32) -> Partition {
        let at = |x| Pos { x, y: 0, z: x };
        Partition::grid(at(0), at(100), 100, lanes).expect("a partition")
    }

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|node| format!("cell-{node}")).collect()
    }

    fn check(lanes: u32, placed: &[(u32, &str)], nodes: usize, expected: &[(u32, usize)]) {
        let placed = placed
            .iter()
            .map(|(lane, node)| (LaneId(*lane), (*node).to_owned()))
            .collect();
        let nodes = names(nodes);
        let expected: Vec<(LaneId, String)> = expected
            .iter()
            .map(|(lane, node)| (LaneId(*lane), nodes[*node - 1].clone()))
            .collect();
        assert_eq!(place_lanes(&strip(lanes), &placed, &nodes), expected);
    }

    #[test]
    fn each_node_gets_a_run_of_lanes() {
        check(1, &[], 1, &[(1, 1)]);
        check(4, &[], 2, &[(1, 1), (2, 1), (3, 2), (4, 2)]);
        check(5, &[], 3, &[(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)]);
        check(2, &[], 3, &[(1, 1), (2, 2)]);
        check(3, &[], 0, &[]);
    }

    #[test]
    fn what_has_a_place_keeps_it() {
        check(4, &[(2, "cell-2")], 2, &[(1, 1), (3, 1), (4, 2)]);
        check(2, &[(1, "cell-1"), (2, "cell-1")], 2, &[]);
        check(3, &[(1, "gone"), (2, "cell-1")], 2, &[(3, 1)]);
        check(4, &[(1, "cell-1"), (2, "cell-1"), (3, "cell-1")], 2, &[(4, 2)]);
    }

    proptest! {
        #[test]
        fn all_get_a_place_and_the_shares_are_even(lanes in 1u32..64, nodes in 1usize..20) {
            let nodes = names(nodes);
            let places = place_lanes(&strip(lanes), &BTreeMap::new(), &nodes);
            prop_assert!(places.iter().map(|(lane, _)| *lane).eq(strip(lanes).lanes()));
            prop_assert!(places.is_sorted_by_key(|(_, node)| nodes.iter().position(|name| name == node)));
            let count = |node: &String| places.iter().filter(|(_, at)| at == node).count();
            let counts: Vec<usize> = nodes.iter().map(count).collect();
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(spread <= 1, "{:?}", counts);
        }

        #[test]
        fn all_get_a_place_whoever_has_some_and_whoever_is_gone(
            held in proptest::collection::btree_map(1u32..40, 0usize..8, 0..40),
            nodes in 1usize..5,
        ) {
            let placed: BTreeMap<LaneId, String> =
                held.into_iter().map(|(lane, node)| (LaneId(lane), format!("cell-{node}"))).collect();
            let nodes = names(nodes);
            let places = place_lanes(&strip(39), &placed, &nodes);
            prop_assert_eq!(places.len() + placed.len(), 39);
            for (lane, node) in places {
                prop_assert!(!placed.contains_key(&lane) && nodes.contains(&node));
            }
        }
    }
}
