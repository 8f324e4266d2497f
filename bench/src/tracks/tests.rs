//! Shared states against own ones.

use super::*;
use crate::options::Plant;
use crate::summary::tests::options;
use myriad_wire::crowd::{Join, Name, Track};
use myriad_wire::{Generation, KindId};

/// A track of `count` who walk, and its records up to tick `ticks`, the first one a keyframe.
fn records(count: u32, ticks: u64) -> Vec<(Tick, Vec<u8>)> {
    let cell = |slot: u32, tick: u64| {
        [
            slot as i32 * 3 + (tick * u64::from(slot % 5)) as i32 / 2,
            0,
            tick as i32,
        ]
    };
    let mut track = Track::new([0; 3], Generation(0), KindId(0));
    let joins: Vec<Join> = (0..count)
        .map(|slot| Join {
            name: Name {
                slot: Slot(slot * 2),
                generation: Generation(0),
                kind: KindId(0),
            },
            cell: cell(slot, 0),
            before: None,
        })
        .collect();
    track.tell(Tick(0), &[], &joins, None, &mut Vec::new());
    let mut keyframe = Vec::new();
    track.keyframe(Tick(0), &mut keyframe);
    let mut records = vec![(Tick(0), keyframe)];
    for tick in 1..=ticks {
        let cells: Vec<_> = (0..count).map(|slot| cell(slot, tick)).collect();
        let mut record = Vec::new();
        track.tell(Tick(tick), &[], &[], Some(&cells), &mut record);
        records.push((Tick(tick), record));
    }
    records
}

fn tracks(plant: Option<Plant>) -> Tracks {
    let mut options = options();
    options.plant = plant;
    Tracks::new(true, &options)
}

fn store<'a>(tracks: &'a mut Tracks, copies: Option<&'a mut OwnCopies>) -> Store<'a> {
    Store { tracks, copies }
}

#[test]
fn whoever_reads_the_same_holds_the_same_state_and_it_is_what_an_own_decoder_gives() {
    let mut tracks = tracks(None);
    let records = records(40, 20);
    let mut states: Vec<Arc<TrackState>> = Vec::new();
    let mut own: Option<TrackState> = None;
    for (tick, bytes) in &records {
        for client in 0..3 {
            let mut store = store(&mut tracks, None);
            match states.get(client).cloned() {
                None => states.push(store.begin(*tick, bytes).expect("a keyframe")),
                Some(before) => {
                    states[client] = store.advance(before, *tick, bytes).expect("a delta").state;
                }
            }
        }
        match &mut own {
            None => own = Some(TrackState::from_keyframe(*tick, bytes).expect("a keyframe")),
            Some(own) => drop(own.apply(*tick, bytes).expect("a delta")),
        }
        assert!(states.iter().all(|state| Arc::ptr_eq(state, &states[0])));
        assert_eq!(Some(&*states[0]), own.as_ref());
    }
    let counts = tracks.interner.as_ref().expect("interned").counts;
    assert_eq!((counts.decoded, counts.shared), (21, 42));
}

#[test]
fn one_that_begins_later_comes_to_the_same_state() {
    let mut tracks = tracks(None);
    let records = records(40, 10);
    let (tick, keyframe) = &records[0];
    let mut first = store(&mut tracks, None)
        .begin(*tick, keyframe)
        .expect("a keyframe");
    for (tick, bytes) in &records[1..6] {
        first = store(&mut tracks, None)
            .advance(first, *tick, bytes)
            .expect("a delta")
            .state;
    }
    let mut keyframe = Vec::new();
    first.track().keyframe(Tick(5), &mut keyframe);
    let mut second = store(&mut tracks, None)
        .begin(Tick(5), &keyframe)
        .expect("a keyframe");
    assert!(!Arc::ptr_eq(&first, &second), "the oldest cells are not told");
    for (tick, bytes) in &records[6..8] {
        first = store(&mut tracks, None)
            .advance(first, *tick, bytes)
            .expect("a delta")
            .state;
        second = store(&mut tracks, None)
            .advance(second, *tick, bytes)
            .expect("a delta")
            .state;
    }
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn what_nobody_holds_is_forgotten() {
    let mut tracks = tracks(None);
    let mut state = None;
    for (tick, bytes) in &records(40, 200) {
        let mut store = store(&mut tracks, None);
        state = Some(match state {
            None => store.begin(*tick, bytes).expect("a keyframe"),
            Some(before) => store.advance(before, *tick, bytes).expect("a delta").state,
        });
        if let Some(interner) = &mut tracks.interner {
            interner.fresh.clear();
            interner.sweep();
            interner.sweep();
        }
    }
    let entries = tracks.interner.as_ref().expect("interned").entries();
    assert!(entries.iter().all(|entries| *entries <= 2), "{entries:?}");
    drop(state);
}

#[test]
fn the_same_record_with_other_bytes_is_another_one() {
    let mut tracks = tracks(None);
    let (one, other) = (records(40, 1), records(41, 1));
    let state = store(&mut tracks, None)
        .begin(one[0].0, &one[0].1)
        .expect("a keyframe");
    let good = store(&mut tracks, None).advance(Arc::clone(&state), Tick(1), &one[1].1);
    let bad = store(&mut tracks, None).advance(state, Tick(1), &other[1].1);
    let good = good.expect("a delta").state;
    assert!(bad.map_or(true, |bad| !Arc::ptr_eq(&bad.state, &good)));
}

#[test]
fn an_own_copy_finds_every_planted_fault_and_nothing_else() {
    for (plant, finds) in [
        (None, false),
        (Some(Plant::Decoder), true),
        (Some(Plant::Skip), true),
    ] {
        let mut tracks = tracks(plant);
        let mut copies = OwnCopies::new(0);
        let mut state: Option<Arc<TrackState>> = None;
        for (tick, bytes) in &records(40, 150) {
            let mut store = store(&mut tracks, Some(&mut copies));
            state = match state {
                None => store.begin(*tick, bytes).ok(),
                Some(before) => store.advance(before, *tick, bytes).ok().map(|to| to.state),
            };
        }
        let counts = tracks.interner.as_ref().expect("interned").counts;
        assert_eq!(counts.differences > 0, finds, "{plant:?}");
        assert!(counts.compared > 90);
    }
}

#[test]
fn who_decodes_on_its_own_is_drawn_anew_and_never_too_few() {
    let mut options = options();
    options.clients = 10_000;
    let mut tracks = Tracks::new(true, &options);
    let mut drawn = Vec::new();
    for stint in 0..20 {
        tracks.draw(stint * STINT_US);
        let clients: Vec<u32> = (0..10_000)
            .filter(|client| tracks.stint(*client).is_some())
            .collect();
        assert!(clients.len() >= 200);
        drawn.push(clients);
    }
    drawn.sort();
    drawn.dedup();
    assert!(drawn.len() > 10, "others each time");
}
