//! What the directory remembers, and whom it refuses.

use super::*;
use crate::Duty;
use crate::remote::{self, RemoteDirectory};
use myriad_storage::{MemoryStorage, RedbStorage};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const NOW_US: u64 = 1_700_000_000_000_000;
const SECOND_US: u64 = 1_000_000;
const SPACE: SpaceId = SpaceId(1);

fn record(name: &str, incarnation: Incarnation) -> NodeRecord {
    NodeRecord {
        name: name.to_owned(),
        incarnation,
        takes_lanes: true,
        ..NodeRecord::default()
    }
}

/// A node of that name starts.
fn join<S: Storage>(directory: &mut LocalDirectory<S>, name: &str) -> Incarnation {
    let incarnation = directory.register_node(name).expect("kept");
    directory.announce(&record(name, incarnation)).expect("kept");
    incarnation
}

fn in_memory() -> LocalDirectory<MemoryStorage> {
    LocalDirectory::new(MemoryStorage::new(), Vec::new())
}

/// A space of so many cells gets its lanes, one per cell, at these nodes.
fn found(directory: &mut dyn Directory, cells: u32, nodes: &[&str]) {
    let found = LayoutChange::Found {
        cells,
        lanes_per_cell: 1,
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    };
    directory.change(&found).expect("kept");
}

/// Checks the directory that `open` opens, and opens again after the one before was dropped.
fn check<S: Storage>(mut open: impl FnMut() -> LocalDirectory<S>) {
    let mut directory = open();
    let first = join(&mut directory, "a");
    assert_eq!(first, Incarnation(1));
    found(&mut directory, 2, &["a", "b"]);
    let epoch = directory.claim_lane(LaneId(1), first).expect("kept");
    let clock = directory.space_clock(SPACE, 10.0, NOW_US, first).expect("kept");
    assert_eq!(clock, SpaceClock::new(NOW_US, 10.0));
    let known = directory
        .view(0)
        .expect("readable")
        .expect("there is one")
        .revision;
    drop(directory);

    let mut directory = open();
    let second = join(&mut directory, "a");
    assert_eq!(second, Incarnation(2));
    let view = directory.view(known).expect("readable").expect("another");
    assert_eq!(view.nodes, [record("a", second)]);
    let claim = Some(LaneClaim {
        incarnation: first,
        epoch,
    });
    let lane = |lane, node: &str, claim| LaneRecord {
        lane: LaneId(lane),
        cell: lane - 1,
        node: node.to_owned(),
        claim,
        ..LaneRecord::default()
    };
    assert_eq!(view.lanes, [lane(1, "a", claim), lane(2, "b", None)]);
    assert!(directory.claim_lane(LaneId(1), second).expect("kept") > epoch);
    let later = directory.space_clock(SPACE, 10.0, NOW_US + 60 * SECOND_US, second);
    assert_eq!(later.expect("kept"), clock);
    let other = directory.space_clock(SpaceId(2), 10.0, NOW_US + 60 * SECOND_US, second);
    assert_ne!(other.expect("kept"), clock);
    directory.close_space(SPACE, Tick(601), second).expect("kept");
    drop(directory);

    let mut directory = open();
    let third = join(&mut directory, "a");
    let faster = directory
        .space_clock(SPACE, 20.0, NOW_US + 61 * SECOND_US, third)
        .expect("kept");
    assert_eq!(faster.base, Tick(611));
}

#[test]
fn records_outlive_the_directory_in_memory() {
    let storage = MemoryStorage::new();
    check(|| LocalDirectory::new(storage.clone(), Vec::new()));
}

#[test]
fn records_outlive_the_directory_on_disk() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let open = || RedbStorage::open(home.path()).expect("it opens again");
    check(|| LocalDirectory::new(open(), Vec::new()));
}

#[test]
fn another_node_is_answered_what_this_one_is() {
    let local = Arc::new(Mutex::new(in_memory()));
    let served = local.clone();
    let mut there = RemoteDirectory::new(Box::new(move |request| {
        Ok(remote::answer(&mut *served.lock().expect("no panic"), request))
    }));
    let incarnation = local.lock().expect("no panic").register_node("b").expect("kept");
    there.announce(&record("b", incarnation)).expect("kept");
    found(&mut there, 7, &["b"]);
    let early = there
        .claim_lane(LaneId(8), incarnation)
        .expect_err("no place yet");
    assert!(matches!(early, DirectoryError::NotYet(_)), "{early}");
    let epoch = there.claim_lane(LaneId(7), incarnation).expect("kept");
    let clock = there.space_clock(SPACE, 10.0, NOW_US, incarnation).expect("kept");
    there.note_tick(SPACE, Tick(5), incarnation).expect("kept");
    there.close_space(SPACE, Tick(6), incarnation).expect("kept");
    let view = there.view(0).expect("readable").expect("there is one");
    assert_eq!(there.view(view.revision).expect("readable"), None);
    assert_eq!(view.nodes, [record("b", incarnation)]);
    let claim = view.lanes[6].claim.expect("claimed");
    assert_eq!((claim.incarnation, claim.epoch), (incarnation, epoch));
    assert_eq!(clock, SpaceClock::new(NOW_US, 10.0));
    there.withdraw(incarnation).expect("kept");
    let mut local = local.lock().expect("no panic");
    assert_eq!(local.view(0).expect("readable").expect("another").nodes, []);
    let gone = local.claim_lane(LaneId(7), incarnation).expect_err("it went");
    assert!(matches!(gone, DirectoryError::UnknownIncarnation(_)), "{gone}");
}

#[test]
fn who_was_replaced_may_do_nothing_any_more() {
    let mut directory = in_memory();
    let old = join(&mut directory, "a");
    found(&mut directory, 1, &["a"]);
    directory.space_clock(SPACE, 10.0, NOW_US, old).expect("kept");
    let new = directory.register_node("a").expect("kept");
    let again = directory.announce(&record("a", old)).expect_err("replaced");
    assert!(
        again.to_string().contains("a newer node is called \"a\""),
        "{again}"
    );
    directory.announce(&record("a", new)).expect("kept");
    let claim = directory.claim_lane(LaneId(1), old).expect_err("replaced");
    assert!(matches!(claim, DirectoryError::UnknownIncarnation(_)), "{claim}");
    let noted = directory.note_tick(SPACE, Tick(9), old).expect_err("replaced");
    assert!(matches!(noted, DirectoryError::UnknownIncarnation(_)), "{noted}");
    let stranger = directory
        .announce(&record("b", Incarnation(9)))
        .expect_err("never registered");
    assert!(
        matches!(stranger, DirectoryError::UnknownIncarnation(_)),
        "{stranger}"
    );
}

#[test]
fn a_lane_is_claimed_where_it_has_its_place() {
    let mut directory = in_memory();
    let (a, b) = (join(&mut directory, "a"), join(&mut directory, "b"));
    found(&mut directory, 2, &["a"]);
    let elsewhere = directory.claim_lane(LaneId(1), b).expect_err("it is a's");
    assert_eq!(elsewhere.to_string(), "lane 1 has its place at a, not at b");
    let first = directory.claim_lane(LaneId(1), a).expect("kept");
    assert!(directory.claim_lane(LaneId(2), a).expect("kept") > first);
    assert!(directory.claim_lane(LaneId(1), a).expect("kept") > first);
}

#[test]
fn lanes_change_as_the_layout_allows_and_who_runs_them_says() {
    let storage = MemoryStorage::new();
    let mut directory = LocalDirectory::new(storage.clone(), Vec::new());
    let (a, b) = (join(&mut directory, "a"), join(&mut directory, "b"));
    found(&mut directory, 1, &["a"]);
    directory.claim_lane(LaneId(1), a).expect("kept");
    let moved = LayoutChange::Move {
        lane: LaneId(1),
        node: "b".to_owned(),
    };
    directory.change(&moved).expect("kept");
    let lane = LaneId(2);
    let early = directory.claim_lane(lane, a).expect_err("it is b's");
    assert!(matches!(early, DirectoryError::Elsewhere { .. }), "{early}");
    let stale = directory.claim_lane(lane, b).expect("kept");
    let epoch = directory.claim_lane(lane, b).expect("kept");
    let known = directory.view(0).expect("readable").expect("there is one");
    // A claim that was overtaken changes nothing, nor does what was refused.
    let refused = directory.change(&LayoutChange::Serve { lane, epoch: stale });
    assert!(matches!(refused, Err(DirectoryError::Layout(_))), "{refused:?}");
    assert_eq!(directory.view(known.revision).expect("readable"), None);
    directory
        .change(&LayoutChange::Serve { lane, epoch })
        .expect("kept");
    let mut directory = LocalDirectory::new(storage, Vec::new());
    directory.announce(&record("b", b)).expect("kept");
    let view = directory
        .view(known.revision)
        .expect("readable")
        .expect("another");
    assert_eq!(view.layout, known.layout + 1);
    let duties: Vec<_> = view.lanes.iter().map(|lane| (lane.lane.0, lane.duty)).collect();
    assert_eq!(duties, [(1, Duty::Retiring), (2, Duty::Serving)]);
}

#[test]
fn a_space_that_is_cut_otherwise_is_founded_anew() {
    let mut directory = in_memory();
    found(&mut directory, 2, &["a"]);
    let lanes = |directory: &mut LocalDirectory<MemoryStorage>| {
        let view = directory.view(0).expect("readable").expect("there is one");
        view.lanes.iter().map(|lane| lane.lane.0).collect::<Vec<_>>()
    };
    directory.set_cut(2, 1).expect("kept");
    assert_eq!(lanes(&mut directory), [1, 2], "as it was");
    directory.set_cut(1, 1).expect("kept");
    assert_eq!(lanes(&mut directory), [0; 0]);
    found(&mut directory, 1, &["a"]);
    assert_eq!(lanes(&mut directory), [3], "numbers are not given again");
}

#[test]
fn a_node_that_was_told_something_else_is_refused_with_the_key() {
    let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let settings = vec![setting("space.hz", "10"), setting("space.cell_m", "50")];
    let mut directory = LocalDirectory::new(MemoryStorage::new(), settings.clone());
    let incarnation = directory.register_node("a").expect("kept");
    let mut node = record("a", incarnation);
    node.settings = vec![setting("space.hz", "10"), setting("space.cell_m", "40")];
    let refused = directory.announce(&node).expect_err("40 is not 50").to_string();
    assert!(
        refused.contains("space.cell_m is 40 at the node called \"a\" and 50"),
        "{refused}"
    );
    node.settings = settings[..1].to_vec();
    directory
        .announce(&node)
        .expect("what it does not need it need not know");

    // What the directory's own node does not know, the others must agree on.
    node.settings.push(setting("scripts", "one"));
    directory.announce(&node).expect("nobody contradicts");
    let other = directory.register_node("b").expect("kept");
    let mut other = record("b", other);
    other.settings = vec![setting("scripts", "other")];
    let refused = directory
        .announce(&other)
        .expect_err("they contradict")
        .to_string();
    assert!(refused.contains("scripts is other"), "{refused}");
    directory.withdraw(incarnation).expect("kept");
    directory.announce(&other).expect("a is gone");
}

#[test]
fn the_revision_tells_changes_and_nothing_else() {
    let mut directory = in_memory();
    assert_eq!(directory.view(0).expect("readable"), None);
    let a = join(&mut directory, "a");
    let revision = |directory: &mut LocalDirectory<_>| {
        let view = directory.view(0).expect("readable");
        view.expect("there is one").revision
    };
    let known = revision(&mut directory);
    directory.announce(&record("a", a)).expect("the same again");
    directory.withdraw(Incarnation(77)).expect("nobody");
    assert_eq!(directory.view(known).expect("readable"), None);
    found(&mut directory, 1, &["a"]);
    let placed = revision(&mut directory);
    directory.claim_lane(LaneId(1), a).expect("kept");
    let claimed = revision(&mut directory);
    directory.withdraw(a).expect("kept");
    assert!(known < placed && placed < claimed && claimed < revision(&mut directory));
}

#[test]
fn a_node_that_joins_a_running_space_gets_its_clock() {
    let mut directory = in_memory();
    let (a, b) = (join(&mut directory, "a"), join(&mut directory, "b"));
    // A rate that is no whole number of thousandths of a hertz.
    let hz = 7.312_345;
    let clock = directory.space_clock(SPACE, hz, NOW_US, a).expect("kept");
    directory.note_tick(SPACE, Tick(72), a).expect("kept");
    let second = directory.space_clock(SPACE, hz, NOW_US + 10 * SECOND_US, b);
    assert_eq!(second.expect("kept"), clock);
    // Whoever comes again while another runs it does not set it anew, though its own last ticks are not known.
    let a = join(&mut directory, "a");
    let again = directory.space_clock(SPACE, hz, NOW_US + 10 * SECOND_US, a);
    assert_eq!(again.expect("kept"), clock);
    let other = directory
        .space_clock(SPACE, 8.0, NOW_US, a)
        .expect_err("b runs it");
    assert!(other.to_string().starts_with("b runs space 1 at 7.3"), "{other}");
    // The last to leave closes it.
    directory.close_space(SPACE, Tick(80), b).expect("kept");
    assert!(directory.running.contains_key(&SPACE));
    directory.close_space(SPACE, Tick(81), a).expect("kept");
    assert!(!directory.running.contains_key(&SPACE));
}

#[test]
fn a_directory_that_restarts_waits_for_those_who_may_be_running_the_space() {
    let storage = MemoryStorage::new();
    let open = || LocalDirectory::new(storage.clone(), Vec::new());
    let mut directory = open();
    let (a, b) = (join(&mut directory, "a"), join(&mut directory, "b"));
    let clock = directory.space_clock(SPACE, 10.0, NOW_US, a).expect("kept");
    directory.space_clock(SPACE, 10.0, NOW_US, b).expect("kept");
    directory.note_tick(SPACE, Tick(100), b).expect("kept");

    // A alone restarts with the directory, and b has not been heard yet. By itself a would begin above tick 120.
    let now_us = NOW_US + 10 * SECOND_US;
    let mut directory = open();
    let again = join(&mut directory, "a");
    let early = directory
        .space_clock(SPACE, 10.0, now_us, again)
        .expect_err("b may run it");
    assert!(early.is_passing(), "{early}");
    directory.announce(&record("b", b)).expect("it is there again");
    directory.note_tick(SPACE, Tick(101), b).expect("kept");
    assert_eq!(
        directory.space_clock(SPACE, 10.0, now_us, again).expect("kept"),
        clock
    );

    // And if b says nothing, it is gone.
    let mut directory = open();
    let again = join(&mut directory, "a");
    assert!(directory.space_clock(SPACE, 10.0, now_us, again).is_err());
    let patient = directory
        .space_clock(SPACE, 10.0, now_us + SETTLING_US, again)
        .expect("kept");
    assert_eq!(patient.base, Tick(122));
}

#[test]
fn nonsense_is_refused_by_name() {
    let mut directory = in_memory();
    for incarnation in [Incarnation(0), Incarnation(1)] {
        let claim = directory.claim_lane(LaneId(1), incarnation);
        assert!(matches!(claim, Err(DirectoryError::UnknownIncarnation(_))));
    }
    let a = join(&mut directory, "a");
    for hz in [0.0, -1.0, 1001.0, f64::NAN] {
        let clock = directory.space_clock(SPACE, hz, NOW_US, a);
        assert!(matches!(clock, Err(DirectoryError::Rate(_))));
    }
    let noted = directory.note_tick(SPACE, Tick(1), a);
    assert!(matches!(noted, Err(DirectoryError::UnknownSpace(SPACE))));
}

#[test]
fn incarnations_end_rather_than_repeat() {
    let mut directory = in_memory();
    directory
        .write(INCARNATION_KEY, &(INCARNATION_MAX - 1))
        .expect("kept");
    assert_eq!(
        directory.register_node("a").expect("the last"),
        Incarnation(INCARNATION_MAX)
    );
    for _ in 0..2 {
        let none = directory.register_node("a");
        assert!(matches!(none, Err(DirectoryError::IncarnationsExhausted)));
    }
}

#[test]
fn a_damaged_record_is_named() {
    let mut storage = MemoryStorage::new();
    for (bytes, expected) in [
        (&[2, 1][..], "it has format 2, this server knows 1"),
        (&[][..], "it is empty"),
        (&[1][..], "malformed"),
    ] {
        storage.set_meta(INCARNATION_KEY, bytes).expect("kept");
        let error = LocalDirectory::new(storage.clone(), Vec::new())
            .register_node("a")
            .expect_err("damaged");
        let message = error.to_string();
        assert!(
            message.contains(INCARNATION_KEY) && message.contains(expected),
            "{message}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_given_out_is_ever_given_again(steps in proptest::collection::vec(0u32..4, 0..40)) {
        let storage = MemoryStorage::new();
        let open = || LocalDirectory::new(storage.clone(), Vec::new());
        let mut directory = open();
        let mut incarnation = join(&mut directory, "a");
        found(&mut directory, 3, &["a"]);
        let mut epoch = LaneEpoch(0);
        for step in steps {
            match step {
                0 => {
                    directory = open();
                    directory.announce(&record("a", incarnation)).expect("it is there again");
                }
                1 => {
                    let next = join(&mut directory, "a");
                    prop_assert!(next > incarnation);
                    incarnation = next;
                }
                lane => {
                    let next = directory.claim_lane(LaneId(lane), incarnation).expect("kept");
                    prop_assert!(next > epoch);
                    epoch = next;
                }
            }
        }
    }
}
