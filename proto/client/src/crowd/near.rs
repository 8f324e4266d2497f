//! Those of a crowd who are near: told every tick, to 1/64 m.
//!
//! Near states come in chunks, one for each small square, and all clients near a square are told the same chunk. So a
//! chunk is kept as it is for some ticks ([`NearChunk`]), shared where one process holds many clients, and nothing is
//! kept per subject: where somebody is, and was, is looked up in the chunks when it is asked for.
//!
//! Cost: of a client's ten chunks a tick, an entry each; a look-up is two bits for most of those who are not near, and a
//! byte and a search in one chunk per tick for those who are.
//!
//! Read next: `near/shown.rs` for where they are shown, `near/chunk.rs` for what is kept.

mod chunk;
mod shown;

use crate::limits::NEAR_MAX;
use crate::motion::{Motion, Refused};
pub use chunk::NearChunk;
use chunk::{Filter, TickChunks};
use myriad_wire::limits::{IDENTIFY_MAX, SLOT_REST_TICKS};
use myriad_wire::track::Level;
use myriad_wire::{LaneHandle, Pos, Slot, SubjectRef, Tick};
use rustc_hash::FxHashMap;
pub(crate) use shown::{States, Waypoint, shown};
use std::collections::VecDeque;
use std::sync::Arc;

/// A near state that comes more than so many ticks late is of no use: its slot may have had another life.
pub(crate) const NEAR_TICKS: u64 = 4;
/// Ticks without an answer after which an identity is asked for again.
const ASK_AGAIN_TICKS: u32 = 16;
/// Most subjects that were asked for and not answered about: more cannot have been since that time.
const ASKED_MAX: usize = IDENTIFY_MAX * ASK_AGAIN_TICKS as usize;
/// Most subjects that wait to be asked for because something of them has changed.
const CHANGED_MAX: usize = 256;
/// Most ticks for which chunks are kept. Longer ago, a slot may have been somebody else's.
const KEPT_TICKS_MAX: u64 = 48;
const _: () = assert!(KEPT_TICKS_MAX + NEAR_TICKS < SLOT_REST_TICKS);

/// The near states of one client.
#[derive(Debug, Default)]
pub(crate) struct Near {
    /// The newest tick heard of.
    newest: Tick,
    /// Newest first, no tick twice.
    ticks: VecDeque<TickChunks>,
    /// Who is in any of them, and maybe in some before: most are not near, and are looked up as often.
    anywhen: [Filter<32>; 2],
    /// When the first of these was begun; the second one is of the time before.
    anywhen_from: Tick,
    /// Who had states of its own before the crowd.
    resumed: Vec<(SubjectRef, Motion)>,
    /// Whose identity was asked for and not told yet, and the low half of the tick.
    asked: FxHashMap<SubjectRef, u32>,
    /// Whose properties have changed since they were told.
    changed: VecDeque<SubjectRef>,
    /// Where among the near ones the next is looked at, whether it is known.
    turn: usize,
}

impl Near {
    /// Takes a chunk in.
    pub(crate) fn insert(&mut self, chunk: Arc<NearChunk>) -> Result<(), Refused> {
        if self.newest.since(chunk.tick()) > NEAR_TICKS {
            return Err(Refused::Stale);
        }
        let at = self.ticks.partition_point(|held| held.tick > chunk.tick());
        if self.ticks.get(at).is_none_or(|held| held.tick != chunk.tick()) {
            self.ticks.insert(at, TickChunks::new(chunk.tick()));
        }
        let held = &mut self.ticks[at];
        if chunk
            .slots()
            .iter()
            .any(|slot| held.position(chunk.lane(), *slot).is_some())
        {
            return Err(Refused::Duplicate);
        }
        if held.states + chunk.slots().len() > NEAR_MAX {
            return Err(Refused::Stale);
        }
        chunk
            .slots()
            .iter()
            .for_each(|slot| self.anywhen[0].insert(*slot));
        held.insert(chunk);
        Ok(())
    }

    /// It is `newest`: gives up what is too old to show anybody by.
    pub(crate) fn sweep(&mut self, newest: Tick, period: u32) {
        self.newest = newest;
        let kept = kept_ticks(period);
        while self
            .ticks
            .back()
            .is_some_and(|held| newest.since(held.tick) > kept)
        {
            self.ticks.pop_back();
        }
        if newest.since(self.anywhen_from) > kept {
            self.anywhen = [Filter::default(), self.anywhen[0]];
            self.anywhen_from = newest;
        }
        if !self.resumed.is_empty() {
            self.resumed
                .retain(|(_, motion)| newest.since(motion.tick(newest)) <= kept);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self {
            newest: self.newest,
            ..Self::default()
        };
    }

    /// The chunks of the newest tick, if some have come.
    pub(crate) fn chunks(&self) -> &[Arc<NearChunk>] {
        let held = self.ticks.front().filter(|held| held.tick == self.newest);
        held.map_or(&[], |held| &held.chunks)
    }

    /// The state of the newest tick: staler than a tick nobody is near.
    pub(crate) fn position(&self, lane: LaneHandle, slot: Slot) -> Option<Pos> {
        let held = self.ticks.front().filter(|held| held.tick == self.newest)?;
        held.position(lane, slot)
    }

    /// Takes in somebody of whom states were known before the crowd.
    pub(crate) fn resume(&mut self, subject: SubjectRef, motion: Motion) {
        if self.resumed.len() < NEAR_MAX {
            self.resumed.push((subject, motion));
        }
    }

    fn resumed(&self, subject: SubjectRef) -> Option<&Motion> {
        let resumed = self.resumed.iter().find(|(other, _)| *other == subject);
        resumed.map(|(_, motion)| motion)
    }

    /// All states of a subject, newest first: its ticks and where it was.
    fn samples(&self, subject: SubjectRef) -> impl Iterator<Item = (Tick, Pos)> {
        let SubjectRef { lane, slot, .. } = subject;
        let may_be_near = self.anywhen.iter().any(|filter| filter.may_hold(slot));
        let ticks = self.ticks.iter().take_while(move |_| may_be_near);
        let near = ticks.filter_map(move |held| Some((held.tick, held.position(lane, slot)?)));
        let before = self.resumed(subject).into_iter();
        let mut last = None;
        near.chain(before.flat_map(move |motion| motion.samples(self.newest)))
            .filter(move |(tick, _)| last.replace(*tick).is_none_or(|last| *tick < last))
    }

    /// Its last states, for another way of telling.
    pub(crate) fn motion(&self, subject: SubjectRef) -> Option<Motion> {
        let mut last = [None; 3];
        for (place, sample) in last.iter_mut().zip(self.samples(subject)) {
            *place = Some(sample);
        }
        let mut samples = last.into_iter().rev().flatten();
        let (tick, position) = samples.next()?;
        let mut motion = Motion::of_state(tick, Level::NEAR, position);
        for (tick, position) in samples {
            // Each is later than the one before.
            _ = motion.apply(tick.0 as u32, Level::NEAR, position);
        }
        Some(motion)
    }

    /// The near states of a subject, if there are any.
    pub(crate) fn states(&self, subject: SubjectRef, period: u32) -> Option<States> {
        // Who had near states before the crowd was shown as late as near ones are.
        let began = self.resumed(subject).map(|_| 0.0);
        States::of(self.samples(subject), began, period)
    }

    // Who they are.

    /// Something else was told of a subject than is known.
    pub(crate) fn note_changed(&mut self, subject: SubjectRef) {
        if self.changed.len() < CHANGED_MAX && !self.changed.contains(&subject) {
            self.changed.push_back(subject);
        }
    }

    /// The next subject of which something has changed.
    pub(crate) fn take_changed(&mut self) -> Option<SubjectRef> {
        self.changed.pop_front()
    }

    /// The next near one in turn.
    pub(crate) fn take_turn(&mut self) -> Option<(LaneHandle, Slot)> {
        let held = self.ticks.front()?;
        if self.newest.since(held.tick) > NEAR_TICKS || held.states == 0 {
            return None;
        }
        let mut at = self.turn % held.states;
        self.turn = at + 1;
        for chunk in &held.chunks {
            match chunk.slots().get(at) {
                Some(slot) => return Some((chunk.lane(), *slot)),
                None => at -= chunk.slots().len(),
            }
        }
        None
    }

    /// How many have states of the newest tick that has any.
    pub(crate) fn len(&self) -> usize {
        self.ticks.front().map_or(0, |held| held.states)
    }

    /// A subject is to be asked for now: `false` if it was of late.
    pub(crate) fn note_asked(&mut self, subject: SubjectRef) -> bool {
        let now = self.newest.0 as u32;
        let rests = |asked: u32| now.wrapping_sub(asked) < ASK_AGAIN_TICKS;
        if self.asked.get(&subject).is_some_and(|asked| rests(*asked)) {
            return false;
        }
        if now.is_multiple_of(ASK_AGAIN_TICKS) || self.asked.len() >= ASKED_MAX {
            self.asked.retain(|_, asked| rests(*asked));
        }
        self.asked.insert(subject, now);
        true
    }

    /// The answer about a subject came: what changes from now on is asked for at once.
    pub(crate) fn note_answered(&mut self, subject: SubjectRef) {
        self.asked.remove(&subject);
    }
}

/// For so long the moment shown may lie before the crowd's first cell behind the near states.
fn kept_ticks(period: u32) -> u64 {
    (2 * u64::from(period) + 2).clamp(NEAR_TICKS, KEPT_TICKS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::WirePos;
    use myriad_wire::track::{Told, encode_chunks};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const LANE: LaneHandle = LaneHandle(0);

    #[test]
    fn who_is_not_answered_about_is_asked_for_later_and_who_is_at_once() {
        let mut near = Near::default();
        let ada = SubjectRef::default();
        assert!(near.note_asked(ada));
        near.newest = Tick(u64::from(ASK_AGAIN_TICKS) - 1);
        assert!(!near.note_asked(ada));
        near.newest = Tick(u64::from(ASK_AGAIN_TICKS));
        assert!(near.note_asked(ada));
        assert!(!near.note_asked(ada));
        near.note_answered(ada);
        assert!(near.note_asked(ada));
    }

    /// Everybody somewhere else in every tick.
    fn chunk(tick: u64, slots: &BTreeSet<u32>) -> NearChunk {
        let told: Vec<Told> = slots
            .iter()
            .map(|slot| Told {
                slot: Slot(*slot),
                position: WirePos {
                    x: *slot as i32,
                    y: 0,
                    z: tick as i32,
                },
                version: 0,
                changed: false,
            })
            .collect();
        let mut made = None;
        encode_chunks(Level::NEAR, Tick(tick), &told, |bytes| {
            assert!(made.is_none(), "they fit one chunk");
            made = NearChunk::from_bytes(Tick(tick), LANE, bytes).ok();
        });
        made.expect("well-formed")
    }

    proptest! {
        #[test]
        fn states_are_found_as_in_a_table(
            chunks in prop::collection::vec((0u64..12, prop::collection::btree_set(0u32..600, 1..40)), 1..60),
        ) {
            let mut near = Near::default();
            let mut table: BTreeMap<(u64, u32), Pos> = BTreeMap::new();
            let mut newest = 0;
            for (tick, slots) in chunks {
                newest = newest.max(tick);
                near.sweep(Tick(newest), 1);
                table.retain(|(tick, _), _| newest - tick <= kept_ticks(1));
                let chunk = chunk(tick, &slots);
                let expected = if newest - tick > NEAR_TICKS {
                    Err(Refused::Stale)
                } else if slots.iter().any(|slot| table.contains_key(&(tick, *slot))) {
                    Err(Refused::Duplicate)
                } else {
                    let states = chunk.slots().iter().zip(chunk.positions());
                    table.extend(states.map(|(slot, position)| ((tick, slot.0), *position)));
                    Ok(())
                };
                prop_assert_eq!(near.insert(Arc::new(chunk)), expected);
            }
            for slot in 0..600 {
                let subject = SubjectRef {
                    lane: LANE,
                    slot: Slot(slot),
                    ..SubjectRef::default()
                };
                let known = table.iter().rev().filter(|((_, other), _)| *other == slot);
                let known: Vec<_> = known.map(|((tick, _), position)| (Tick(*tick), *position)).collect();
                prop_assert_eq!(near.samples(subject).collect::<Vec<_>>(), known);
                prop_assert_eq!(near.position(LANE, Slot(slot)), table.get(&(newest, slot)).copied());
            }
        }
    }
}
