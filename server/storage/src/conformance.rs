//! What every store must do, checked against each of them by the same function.

use crate::remote::{RemoteStorage, answer};
use crate::{
    EntityEpoch, MemoryStorage, RedbStorage, SaveOutcome, SavedEntity, Storage, StorageReply, StorageRequest,
    serve,
};
use myriad_wire::{EntityId, Pos, Tick, Value};
use proptest::prelude::*;

/// An entity with something in every field.
pub(crate) fn entity(id: u64, account: Option<&str>, epoch: (u64, u32)) -> SavedEntity {
    SavedEntity {
        entity: EntityId(id),
        account: account.map(str::to_owned),
        kind: "avatar".to_owned(),
        position: Pos {
            x: i32::MIN,
            y: -1,
            z: i32::MAX,
        },
        properties: vec![
            ("mood".to_owned(), Value::Int(i64::MIN)),
            ("name".to_owned(), Value::Text("Ada \u{1f44b}".to_owned())),
            ("pace".to_owned(), Value::Float(0.1)),
            ("shy".to_owned(), Value::Bool(true)),
        ],
        epoch: EntityEpoch {
            era: epoch.0,
            hop: epoch.1,
        },
        tick: Tick(u64::MAX),
    }
}

/// Checks the store that `open` opens, and opens again after the one before was dropped.
fn check(mut open: impl FnMut() -> Box<dyn Storage>) {
    an_empty_store_holds_nothing(open().as_mut());
    what_was_saved_is_loaded_after_reopening(&mut open);
    a_lower_epoch_is_fenced_and_loses_nothing(open().as_mut());
    a_batch_is_answered_one_by_one(open().as_mut());
    an_account_has_one_avatar(open().as_mut());
    records_by_name_outlive_the_store(&mut open);
    requests_are_answered(open().as_mut());
    one_entity_too_large_keeps_its_batch_out(open().as_mut());
}

fn an_empty_store_holds_nothing(store: &mut dyn Storage) {
    assert_eq!(store.load_avatar("ada").expect("readable"), None);
    assert_eq!(store.meta("key").expect("readable"), None);
    assert_eq!(store.save(&[]).expect("nothing to do"), []);
}

fn what_was_saved_is_loaded_after_reopening(open: &mut impl FnMut() -> Box<dyn Storage>) {
    let ada = entity(1, Some("ada"), (1, 0));
    let long = entity(u64::MAX, Some(&"\u{e4}".repeat(16)), (u64::MAX, u32::MAX));
    let outcomes = open().save(&[ada.clone(), long.clone()]).expect("writable");
    assert_eq!(outcomes, [SaveOutcome::Saved; 2]);
    let mut store = open();
    assert_eq!(store.load_avatar("ada").expect("readable"), Some(ada));
    let loaded = store.load_avatar(&"\u{e4}".repeat(16)).expect("readable");
    assert_eq!(loaded, Some(long));
    assert_eq!(store.load_avatar("").expect("readable"), None);
}

fn a_lower_epoch_is_fenced_and_loses_nothing(store: &mut dyn Storage) {
    let save = |store: &mut dyn Storage, entity: &SavedEntity| {
        let outcomes = store.save(std::slice::from_ref(entity)).expect("writable");
        assert_eq!(outcomes.len(), 1);
        outcomes[0]
    };
    let held = entity(2, Some("bea"), (5, 5));
    assert_eq!(save(store, &held), SaveOutcome::Saved);
    for lower in [(5, 4), (4, 6), (0, 0)] {
        let stale = entity(2, Some("bea"), lower);
        assert_eq!(save(store, &stale), SaveOutcome::Fenced, "{lower:?}");
        assert_eq!(store.load_avatar("bea").expect("readable").as_ref(), Some(&held));
    }
    for higher in [(5, 5), (5, 6), (6, 0)] {
        let newer = entity(2, Some("bea"), higher);
        assert_eq!(save(store, &newer), SaveOutcome::Saved, "{higher:?}");
        assert_eq!(store.load_avatar("bea").expect("readable"), Some(newer));
    }
}

fn a_batch_is_answered_one_by_one(store: &mut dyn Storage) {
    let first = [entity(3, Some("cat"), (2, 0)), entity(4, None, (2, 0))];
    store.save(&first).expect("writable");
    let batch = [
        entity(4, None, (1, 9)),
        entity(3, Some("cat"), (2, 1)),
        entity(3, Some("cat"), (2, 0)),
        entity(5, None, (0, 0)),
    ];
    let outcomes = store.save(&batch).expect("writable");
    let expected = [
        SaveOutcome::Fenced,
        SaveOutcome::Saved,
        SaveOutcome::Fenced,
        SaveOutcome::Saved,
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(
        store.load_avatar("cat").expect("readable"),
        Some(batch[1].clone())
    );
}

fn an_account_has_one_avatar(store: &mut dyn Storage) {
    store.save(&[entity(6, Some("dan"), (3, 0))]).expect("writable");
    let stale = store.save(&[entity(7, Some("dan"), (2, 0))]).expect("writable");
    assert_eq!(
        stale,
        [SaveOutcome::Fenced],
        "another avatar, of a replaced authority"
    );
    let newer = entity(7, Some("dan"), (4, 0));
    assert_eq!(
        store.save(std::slice::from_ref(&newer)).expect("writable"),
        [SaveOutcome::Saved]
    );
    assert_eq!(store.load_avatar("dan").expect("readable"), Some(newer));
    // The avatar before no longer speaks for the account when it loses it.
    store.save(&[entity(6, None, (5, 0))]).expect("writable");
    assert!(store.load_avatar("dan").expect("readable").is_some());
    store.save(&[entity(7, None, (5, 0))]).expect("writable");
    assert_eq!(store.load_avatar("dan").expect("readable"), None);
}

fn records_by_name_outlive_the_store(open: &mut impl FnMut() -> Box<dyn Storage>) {
    open().set_meta("directory/a", &[1, 2, 3]).expect("writable");
    open().set_meta("directory/b", &[]).expect("writable");
    open().set_meta("directory/a", &[4]).expect("writable");
    let mut store = open();
    assert_eq!(store.meta("directory/a").expect("readable"), Some(vec![4]));
    assert_eq!(store.meta("directory/b").expect("readable"), Some(vec![]));
    assert_eq!(store.meta("directory").expect("readable"), None);
}

fn requests_are_answered(store: &mut dyn Storage) {
    let eve = entity(8, Some("eve"), (1, 1));
    let save = StorageRequest::Save {
        request: 70,
        entities: vec![eve.clone()],
    };
    let saved = StorageReply::Saved {
        request: 70,
        result: Ok(vec![SaveOutcome::Saved]),
    };
    assert_eq!(serve(store, save), saved);
    let load = StorageRequest::LoadAvatar {
        request: 71,
        account: "eve".to_owned(),
    };
    let loaded = StorageReply::Avatar {
        request: 71,
        account: "eve".to_owned(),
        result: Ok(Some(eve)),
    };
    assert_eq!(serve(store, load), loaded);
}

fn one_entity_too_large_keeps_its_batch_out(store: &mut dyn Storage) {
    let mut large = entity(10, None, (1, 0));
    large.properties[1].1 = Value::Text("x".repeat(1 << 20));
    let batch = [entity(9, Some("fay"), (1, 0)), large];
    let message = store.save(&batch).expect_err("too large").to_string();
    assert!(message.contains("entity 10 needs "), "{message}");
    assert_eq!(store.load_avatar("fay").expect("readable"), None);
}

#[test]
fn memory_does_what_a_store_must() {
    let storage = MemoryStorage::new();
    check(|| Box::new(storage.clone()));
}

#[test]
fn redb_does_what_a_store_must() {
    let home = tempfile::tempdir().expect("a temporary directory");
    check(|| Box::new(RedbStorage::open(home.path()).expect("it opens again")));
}

#[test]
fn a_store_at_another_node_does_what_a_store_must() {
    let mut served = MemoryStorage::new();
    let open = || {
        let mut served = served.clone();
        RemoteStorage::new(Box::new(move |question| Ok(answer(&mut served, question))))
    };
    check(|| Box::new(open()));
    assert!(served.load_avatar("eve").expect("readable").is_some());
}

/// What may be done to a store.
#[derive(Clone, Debug)]
enum Step {
    Save(Vec<(u64, Option<&'static str>, (u64, u32))>),
    Load(&'static str),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let account = prop_oneof![Just("ada"), Just("bea"), Just("cat")];
    let saved = (0u64..4, proptest::option::of(account.clone()), (0u64..3, 0u32..3));
    prop_oneof![
        4 => proptest::collection::vec(saved, 0..4).prop_map(Step::Save),
        4 => account.prop_map(Step::Load),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn redb_answers_as_memory_does(steps in proptest::collection::vec(any_step(), 0..12)) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut memory = MemoryStorage::new();
        let mut redb = RedbStorage::open(home.path()).expect("it opens");
        for step in steps {
            match step {
                Step::Save(saves) => {
                    let batch: Vec<_> =
                        saves.into_iter().map(|(id, account, epoch)| entity(id, account, epoch)).collect();
                    let expected = memory.save(&batch).expect("writable");
                    prop_assert_eq!(redb.save(&batch).expect("writable"), expected);
                }
                Step::Load(account) => {
                    let expected = memory.load_avatar(account).expect("readable");
                    prop_assert_eq!(redb.load_avatar(account).expect("readable"), expected);
                }
                Step::Reopen => {
                    drop(redb);
                    redb = RedbStorage::open(home.path()).expect("it opens again");
                }
            }
        }
    }
}
