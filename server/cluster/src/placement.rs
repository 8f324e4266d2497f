//! Which node runs which lane.

/// Places for lanes, ascending by cell: each node gets lanes of neighbouring cells, so that most borders lie within a
/// node, and as many as the next one, give or take one. None without nodes.
#[must_use]
pub fn place_lanes(lanes: u32, nodes: &[String]) -> Vec<String> {
    let counts = shares(lanes as usize, nodes.len());
    let of_node = |(node, count): (&String, usize)| std::iter::repeat_n(node.clone(), count);
    nodes.iter().zip(counts).flat_map(of_node).collect()
}

/// The node for one lane more: of `nodes` that with the fewest lanes, given where the lanes are; of several the first.
#[must_use]
pub fn place_for_one<'a>(nodes: &'a [String], placed: &[&str]) -> Option<&'a String> {
    let has = |node: &&String| placed.iter().filter(|at| *at == *node).count();
    nodes.iter().min_by_key(has)
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
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|node| format!("cell-{node}")).collect()
    }

    #[test]
    fn each_node_gets_a_run_of_lanes() {
        let check = |lanes, nodes, expected: &[usize]| {
            let names = names(nodes);
            let expected: Vec<String> = expected.iter().map(|node| names[*node - 1].clone()).collect();
            assert_eq!(place_lanes(lanes, &names), expected);
        };
        check(1, 1, &[1]);
        check(4, 2, &[1, 1, 2, 2]);
        check(5, 3, &[1, 1, 2, 2, 3]);
        check(2, 3, &[1, 2]);
        check(3, 0, &[]);
    }

    #[test]
    fn one_lane_more_goes_where_the_fewest_are() {
        let nodes = names(3);
        let place = |placed: &[&str]| place_for_one(&nodes, placed).map(String::as_str);
        assert_eq!(place(&[]), Some("cell-1"));
        assert_eq!(place(&["cell-1", "cell-2"]), Some("cell-3"));
        assert_eq!(place(&["cell-1", "cell-3", "gone", "cell-1"]), Some("cell-2"));
        assert_eq!(place_for_one(&[], &[]), None);
    }

    proptest! {
        #[test]
        fn all_get_a_place_and_the_shares_are_even(lanes in 1u32..64, nodes in 1usize..20) {
            let nodes = names(nodes);
            let places = place_lanes(lanes, &nodes);
            prop_assert_eq!(places.len(), lanes as usize);
            prop_assert!(places.is_sorted_by_key(|at| nodes.iter().position(|name| name == at)));
            let count = |node: &String| places.iter().filter(|at| *at == node).count();
            let counts: Vec<usize> = nodes.iter().map(count).collect();
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(spread <= 1, "{:?}", counts);
        }
    }
}
