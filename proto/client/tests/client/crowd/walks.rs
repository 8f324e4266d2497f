//! Random walks of a small crowd, and everything that may happen to its tracks: the client's view is the rule applied
//! to decoded positions, by a slow obvious model, and its events are the differences.

use super::stage::{Stage, edges, message};
use crate::hostile::{Op as HostileOp, exercise};
use crate::server::{AVATAR, CROWD_PERIOD};
use myriad_client::Tier;
use myriad_wire::crowd::message::{CrowdHead, Form};
use myriad_wire::{Pos, SubjectRef, Tick};
use proptest::prelude::*;
use std::collections::BTreeSet;

const SLOTS: u32 = 24;
const TRACKS: u16 = 4;

#[derive(Clone, Debug)]
enum Op {
    /// Is born, or dies.
    Toggle(u32, [i32; 2]),
    /// Dies, and its slot's next life is born elsewhere: the rest of the slot is not of interest here.
    Replace(u32, u16, [i32; 2]),
    /// Goes to another track.
    Shift(u32, u16),
    Jump(u32, [i32; 2]),
    /// Is told no more, or again.
    Want(u16),
    Begin,
    /// Goes over to a list, some of whom are left out; not at once if so.
    List(u32, bool),
    Near(u32),
    Wave(u32),
}

fn place() -> impl Strategy<Value = [i32; 2]> {
    // A square of 320 m around a radius of 100 m.
    [-160..160i32, -160..160i32]
}

fn op() -> impl Strategy<Value = Op> {
    let (slot, track) = (0..SLOTS, 0..TRACKS);
    prop_oneof![
        4 => (1..SLOTS, place()).prop_map(|(slot, at)| Op::Toggle(slot, at)),
        2 => (1..SLOTS, track.clone(), place()).prop_map(|(slot, track, at)| Op::Replace(slot, track, at)),
        4 => (slot.clone(), track.clone()).prop_map(|(slot, track)| Op::Shift(slot, track)),
        3 => (slot.clone(), place()).prop_map(|(slot, at)| Op::Jump(slot, at)),
        2 => track.prop_map(Op::Want),
        1 => Just(Op::Begin),
        1 => (any::<u32>(), any::<bool>()).prop_map(|(left_out, slow)| Op::List(left_out, slow)),
        2 => any::<u32>().prop_map(Op::Near),
        2 => slot.prop_map(Op::Wave),
    ]
}

/// What the view must be.
#[derive(Default)]
struct Model {
    view: BTreeSet<SubjectRef>,
}

fn d2(a: Pos, b: Pos) -> i64 {
    let (a, b) = (a.to_aoi(), b.to_aoi());
    (0..3).map(|i| (i64::from(a[i]) - i64::from(b[i])).pow(2)).sum()
}

impl Model {
    /// After the crowd message of a tick. `positions` are as decoded: of the last telling.
    fn crowd(&mut self, stage: &Stage, decoded: &[(SubjectRef, u16, Pos)]) {
        let own = stage.beings[&0].at;
        let r2 = 3_200i64.pow(2);
        let mut now = BTreeSet::new();
        for (subject, track, at) in decoded {
            if !stage.known.contains(track) {
                continue;
            }
            let was = self.view.contains(subject);
            let distance = d2(own, *at);
            let by_rule = distance <= r2 || was && 100 * distance <= 121 * r2;
            let is_in = if stage.touched.contains(track) {
                by_rule
            } else {
                was
            };
            if *subject == AVATAR || is_in {
                now.insert(*subject);
            }
        }
        if !stage.complete {
            // Whoever is in no track that has been told may be in one that has not.
            let placed = |subject: &SubjectRef| {
                let of = |(other, track, _): &(SubjectRef, u16, Pos)| {
                    other.slot == subject.slot && stage.known.contains(track)
                };
                decoded.iter().any(of)
            };
            let kept = self.view.iter().filter(|subject| !placed(subject)).copied();
            now.extend(kept);
        }
        if self.view.contains(&AVATAR) {
            now.insert(AVATAR);
        }
        self.view = now;
    }
}

/// All places lie within this share of the square. Returns how many steps were found again by those who share them.
fn check(ticks: Vec<Vec<Op>>, keyframes_max: usize, period: u64, share: i32) -> Result<usize, TestCaseError> {
    let mut stage = Stage::new();
    stage.keyframes_max = keyframes_max;
    for slot in 1..SLOTS / 2 {
        stage.put(
            slot,
            0,
            (slot % 3) as u16,
            Pos {
                x: 8_000 * slot as i32 / share,
                y: 100,
                z: 500,
            },
        );
    }
    stage.wanted = (0..TRACKS - 1).collect();
    stage.begin();
    let mut model = Model::default();
    // What each track last told of its members.
    let mut decoded: Vec<(SubjectRef, u16, Pos)> = Vec::new();
    let mut generation = 100;
    for ops in ticks {
        let mut list: Option<(u32, bool)> = None;
        let mut near = 0;
        for op in ops {
            let at = |[x, z]: [i32; 2]| Pos {
                x: x * 1024 / share,
                y: 100,
                z: z * 1024 / share,
            };
            generation += 1;
            match op {
                Op::Toggle(slot, place) => {
                    if stage.beings.remove(&slot).is_none() {
                        stage.put(slot, generation, (slot % u32::from(TRACKS)) as u16, at(place));
                    }
                }
                Op::Replace(slot, track, place) => {
                    if stage.beings.contains_key(&slot) {
                        stage.put(slot, generation, track, at(place));
                    }
                }
                Op::Shift(slot, track) => {
                    if let Some(being) = stage.beings.get_mut(&slot) {
                        being.track = track;
                    }
                }
                Op::Jump(slot, place) => {
                    if let Some(being) = stage.beings.get_mut(&slot) {
                        being.at = at(place);
                    }
                }
                Op::Want(track) => {
                    if stage.complete && !stage.wanted.remove(&track) {
                        stage.wanted.insert(track);
                    }
                }
                Op::Begin => stage.begin(),
                Op::List(left_out, slow) => list = Some((left_out, slow)),
                Op::Near(slots) => near = slots,
                Op::Wave(slot) => {
                    if stage.beings.contains_key(&slot) {
                        stage.wave(slot);
                    }
                }
            }
        }
        // Everybody walks a little; the avatar too.
        for (slot, being) in &mut stage.beings {
            being.at.x += (*slot as i32 * 37 + stage.tick as i32 * 13) % 700 - 350;
            being.at.z += (*slot as i32 * 91 + stage.tick as i32 * 29) % 700 - 350;
        }
        if stage.in_crowd || stage.begins {
            let before = model.view.clone();
            let events = stage.tick(period);
            decoded.retain(|(subject, track, _)| {
                let being = stage.beings.get(&subject.slot.0);
                being.is_some_and(|being| being.subject(subject.slot.0) == *subject && being.track == *track)
            });
            for (slot, being) in &stage.beings {
                let is_told = (stage.tick + u64::from(being.track)).is_multiple_of(period);
                let known = decoded
                    .iter_mut()
                    .find(|(subject, ..)| *subject == being.subject(*slot));
                match known {
                    Some((_, _, at)) if is_told => *at = being.decoded(),
                    Some(_) => {}
                    None => decoded.push((being.subject(*slot), being.track, being.decoded())),
                }
            }
            model.crowd(&stage, &decoded);
            prop_assert_eq!(stage.view(), model.view.clone());
            let (enters, leaves) = edges(&events);
            prop_assert_eq!(
                enters,
                model.view.difference(&before).copied().collect::<Vec<_>>()
            );
            prop_assert_eq!(
                leaves,
                before.difference(&model.view).copied().collect::<Vec<_>>()
            );
            stage.near(
                &stage
                    .beings
                    .keys()
                    .copied()
                    .filter(|slot| near & 1 << slot != 0)
                    .collect::<Vec<_>>(),
            );
            for subject in stage.client.view().iter() {
                let name = subject.subject();
                let Some((_, _, at)) = decoded.iter().find(|(other, ..)| *other == name) else {
                    continue;
                };
                let track = stage.beings[&name.slot.0].track;
                if subject.tier() == Tier::Crowd && stage.known.contains(&track) {
                    prop_assert_eq!(subject.position(), *at);
                }
                if subject.tier() == Tier::Near && subject.state_tick() == Tick(stage.tick) {
                    let being = stage.beings[&name.slot.0];
                    prop_assert_eq!(subject.position(), being.at.to_wire().centre());
                }
            }
        } else {
            // Told one by one: tracks go on all the same.
            let events = stage.tick(period);
            prop_assert!(edges(&events).0.is_empty());
            decoded.clear();
            for (slot, being) in &stage.beings {
                decoded.push((being.subject(*slot), being.track, being.decoded()));
            }
        }
        if let Some((left_out, slow)) = list.filter(|_| stage.complete && !stage.begins) {
            let before = model.view.clone();
            let told: Vec<SubjectRef> = stage
                .beings
                .iter()
                .filter(|(slot, _)| **slot == 0 || left_out & 1 << **slot == 0)
                .map(|(slot, being)| being.subject(*slot))
                .collect();
            stage.listed(false);
            stage.enters(&told);
            let mut events = stage.drain();
            if !slow {
                stage.listed(true);
                events.extend(stage.drain());
            }
            model.view = if slow {
                &before | &told.iter().copied().collect()
            } else {
                told.into_iter().collect()
            };
            let (enters, leaves) = edges(&events);
            prop_assert_eq!(
                enters,
                model.view.difference(&before).copied().collect::<Vec<_>>()
            );
            prop_assert_eq!(
                leaves,
                before.difference(&model.view).copied().collect::<Vec<_>>()
            );
            prop_assert_eq!(stage.view(), model.view.clone());
            // Sooner or later it is a crowd again.
            stage.begin();
        }
        prop_assert_eq!(stage.client.view().len(), model.view.len());
        let counters = stage.client.counters();
        prop_assert_eq!(counters.entered - counters.left, model.view.len() as u64);
        prop_assert_eq!(stage.client.counters().contradictions, 0);
    }
    Ok(stage.store.recalled)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_view_is_the_rule_applied_to_decoded_positions_and_edges_are_its_differences(
        ticks in prop::collection::vec(prop::collection::vec(op(), 0..6), 1..40),
        keyframes_max in 1..5usize,
    ) {
        check(ticks, keyframes_max, u64::from(CROWD_PERIOD), 1)?;
    }

    #[test]
    fn where_all_that_is_told_is_in_view_whole_steps_are_shared_and_tell_the_same(
        ticks in prop::collection::vec(prop::collection::vec(op(), 0..4), 12..40),
    ) {
        check(ticks, 4, u64::from(CROWD_PERIOD), 4)?;
    }

    #[test]
    fn no_crowd_message_makes_the_client_panic(
        messages in prop::collection::vec(
            (any::<bool>(), any::<bool>(), prop::collection::vec((0..3u16, 0..4usize, any::<u8>(), any::<usize>(), any::<u8>()), 0..5)),
            1..12,
        ),
    ) {
        let mut stage = Stage::crowded(&[(3, 0, [5.0, 5.0]), (9, 1, [50.0, -5.0]), (14, 2, [-90.0, 20.0])], 3);
        // Honest bytes of many kinds, to be damaged.
        let honest: Vec<Vec<u8>> = (0..12).map(|i| stage.record(i)).collect();
        let mut ops = vec![HostileOp::Stream(message(&CrowdHead { tick: Tick(1), begins: true, complete: false }, &[]))];
        for (i, (begins, complete, records)) in messages.into_iter().enumerate() {
            let head = CrowdHead { tick: Tick(i as u64), begins, complete };
            let records: Vec<_> = records.into_iter().map(|(track, form, which, at, byte)| {
                let form = [Form::Delta, Form::Keyframe, Form::Drop, Form::Events][form];
                let mut bytes = honest[usize::from(which) % honest.len()].clone();
                if byte % 2 == 0 && !bytes.is_empty() {
                    let at = at % bytes.len();
                    bytes[at] = byte;
                }
                (track, form, bytes)
            }).collect();
            ops.push(HostileOp::Stream(message(&head, &records)));
            ops.push(HostileOp::Poll(200));
        }
        exercise(&mut stage.client, ops);
    }
}

#[test]
fn a_quiet_crowd_is_almost_all_shared_steps() {
    let ticks = vec![vec![Op::Shift(3, 1)]; 30];
    let recalled = check(ticks, 4, u64::from(CROWD_PERIOD), 4).expect("the view is right");
    assert!(recalled >= 10, "only {recalled} steps were found again");
}
