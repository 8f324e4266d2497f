//! A client in a crowd: its tracks and the near ones among their members.
//!
//! A track's members have all one age but those that joined since it was told, which are counted once for all who share
//! the state. So a view of 10,000 is some forty tracks and a hundred near ones, and who should be in view and is not is
//! added one by one.

use super::ages::Ages;
use super::shown::ShownNow;
use super::{Moment, Rates, Tally};
use crate::tracks::{CrowdFacts, Tracks, key, told_later};
use myriad_client::{NearChunk, SeenTrack};
use myriad_wire::{LaneHandle, Pos, Slot, SubjectRef, Tick};
use std::sync::Arc;

/// A subject's properties are compared if it was near for so many ticks without a break: by then every change must have
/// been heard of, asked about and answered.
const SETTLED_TICKS: u64 = 32;
/// Then another one is watched.
const WATCHED_TICKS: u64 = 96;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CrowdSampler {
    /// Of a client that decodes on its own: what is kept of its tracks, in their order.
    own: Vec<OwnTrack>,
    watched: Option<Watched>,
}

#[derive(Debug)]
struct OwnTrack {
    key: u32,
    tick: Tick,
    others: Box<[(Tick, u32)]>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    subject: SubjectRef,
    since: Tick,
}

/// A client's tracks, and their keys beside them.
struct Seen<'a> {
    tracks: Vec<&'a SeenTrack>,
    keys: Vec<u32>,
    /// If clients share them.
    facts: Option<Arc<CrowdFacts>>,
    /// Near states of the newest tick.
    near: &'a [Arc<NearChunk>],
}

impl<'a> Seen<'a> {
    fn of(moment: &Moment<'a>, tracks: &mut Tracks) -> Self {
        let view = moment.client.view();
        let facts = view.whole().and_then(|whole| tracks.crowd(whole));
        let mut tracks: Vec<&SeenTrack> = Vec::with_capacity(64);
        tracks.extend(view.tracks());
        let keys = match facts {
            Some(_) => Vec::new(),
            None => tracks.iter().map(|track| key(track)).collect(),
        };
        Self {
            tracks,
            keys,
            facts,
            near: view.near_chunks(),
        }
    }

    /// Which of the tracks holds the slot in view, the place there, and when it was told.
    fn find(&self, tracks: &mut Tracks, subject: (LaneHandle, Slot)) -> Option<(usize, usize, Tick)> {
        if let Some(facts) = &self.facts {
            return facts.find(subject);
        }
        let (i, place) = tracks.find((&self.tracks, &self.keys), subject)?;
        Some((i, place, self.tracks[i].state().state_tick(place)))
    }

    /// Near ones are as old as their near states, unless their track has told them since.
    fn count_near(&self, tracks: &mut Tracks, ages: &mut Ages) {
        for chunk in self.near {
            if let Some(facts) = &self.facts {
                for (told, count) in tracks.near(chunk, facts) {
                    ages.remove(*told, *count);
                    ages.add(chunk.tick(), true, *count);
                }
                continue;
            }
            for slot in chunk.slots() {
                if let Some((.., told)) = self.find(tracks, (chunk.lane(), *slot))
                    && chunk.tick() >= told
                {
                    ages.remove(told, 1);
                    ages.add(chunk.tick(), true, 1);
                }
            }
        }
    }

    /// Every `one_in`-th near state from the `first` on: whose, by track and place there, when and where.
    fn each_near(
        &self,
        (first, one_in): (usize, usize),
        tracks: &mut Tracks,
        mut each: impl FnMut((usize, usize), SubjectRef, Tick, Pos),
    ) {
        let mut next = first;
        for chunk in self.near {
            while let Some(slot) = chunk.slots().get(next) {
                if let Some((i, place, _)) = self.find(tracks, (chunk.lane(), *slot)) {
                    let subject = SubjectRef {
                        lane: chunk.lane(),
                        slot: *slot,
                        generation: self.tracks[i].state().track().names()[place].generation,
                    };
                    each((i, place), subject, chunk.tick(), chunk.positions()[next]);
                }
                next = next.saturating_add(one_in);
            }
            next -= chunk.slots().len();
        }
    }
}

impl CrowdSampler {
    /// Gives its memory back: the client is in no crowd now.
    pub(super) fn clear(&mut self) {
        if self.own.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// Ages of all, then what of it is compared with the truth in this turn.
    pub(super) fn sample(
        &mut self,
        moment: &Moment<'_>,
        (turn, rates): (usize, Rates),
        tracks: &mut Tracks,
        measuring: bool,
        (ages, tally): (&mut Ages, &mut Tally),
    ) {
        let seen = Seen::of(moment, tracks);
        self.count_tracks(&seen, tracks, ages);
        seen.count_near(tracks, ages);
        for subject in moment.client.view().listed() {
            ages.add(subject.state_tick(), false, 1);
        }
        // About as far as the radius somebody may be in view or not: only those are lacked who must be.
        for (_, since) in moment.check.lacks() {
            ages.add(since, false, 1);
        }
        if measuring {
            self.compare_states(moment, &seen, (turn, rates), tracks, tally);
            self.compare_shown(moment, &seen, (turn, rates), tracks, tally);
            self.compare_properties(moment, &seen, turn, tracks, tally);
        }
    }

    fn count_tracks(&mut self, seen: &Seen<'_>, tracks: &mut Tracks, ages: &mut Ages) {
        if let Some(facts) = &seen.facts {
            for (tick, count) in &facts.ages {
                ages.add(*tick, false, *count);
            }
            return;
        }
        let is_interned = tracks.is_interned();
        if !is_interned {
            self.keep_own(seen);
        }
        for (i, track) in seen.tracks.iter().enumerate() {
            let state = track.state();
            let count = track.in_view().len();
            if count < state.track().len() {
                for place in track.in_view().iter() {
                    ages.add(state.state_tick(place), false, 1);
                }
            } else if count > 0 {
                let others = if is_interned {
                    tracks.others(state)
                } else {
                    &self.own[i].others
                };
                let mut told = count as u32;
                for (tick, count) in others {
                    ages.add(*tick, false, *count);
                    told -= count;
                }
                ages.add(state.told(), false, told);
            }
        }
    }

    /// Looks again at own tracks that have changed.
    fn keep_own(&mut self, seen: &Seen<'_>) {
        self.own.truncate(seen.tracks.len());
        for (i, track) in seen.tracks.iter().enumerate() {
            let (key, tick) = (key(track), track.state().tick());
            if self
                .own
                .get(i)
                .is_some_and(|own| own.key == key && own.tick == tick)
            {
                continue;
            }
            let others = told_later(track.state());
            let fresh = OwnTrack { key, tick, others };
            match self.own.get_mut(i) {
                Some(own) => *own = fresh,
                None => self.own.push(fresh),
            }
        }
    }

    fn compare_states(
        &self,
        moment: &Moment<'_>,
        seen: &Seen<'_>,
        (turn, rates): (usize, Rates),
        tracks: &mut Tracks,
        tally: &mut Tally,
    ) {
        let one_in = rates.track_one_in;
        // Shared states are compared once for all who share them.
        if !tracks.is_interned() {
            for track in seen.tracks.iter().skip(turn % one_in).step_by(one_in) {
                tally.codec.compare_track(track.state(), moment.truth);
            }
        }
        let turn = (turn % rates.codec_one_in, rates.codec_one_in);
        seen.each_near(turn, tracks, |_, subject, tick, decoded| {
            let row = moment.truth.row_in(subject.slot, subject.generation);
            let at = moment.truth.at(tick);
            if let Some(position) = at.zip(row).and_then(|(at, row)| at.position(row)) {
                tally.codec.compare_near(position, decoded);
            }
        });
    }

    /// Of all members one in so many, and beside them of the near ones.
    fn compare_shown(
        &self,
        moment: &Moment<'_>,
        seen: &Seen<'_>,
        (turn, rates): (usize, Rates),
        tracks: &mut Tracks,
        tally: &mut Tally,
    ) {
        let Some(now) = ShownNow::new(moment) else { return };
        tally.behind_ms.record(now.behind_ms(moment), 1);
        let view = moment.client.view();
        let one_in = rates.crowd_shown_one_in;
        // An odd stride over the turns meets every place sooner or later.
        let mut next = turn.wrapping_mul(367) % one_in;
        for track in &seen.tracks {
            let names = track.state().track().names();
            while let Some(name) = names.get(next) {
                if track.in_view().contains(next)
                    && let Some(row) = moment.truth.row_in(name.slot, name.generation)
                {
                    now.compare(moment, (view.member(track, next), row), (true, true), tally);
                }
                next += one_in;
            }
            next -= names.len();
        }
        let turn = (turn % rates.near_shown_one_in, rates.near_shown_one_in);
        seen.each_near(turn, tracks, |(i, place), subject, _, _| {
            if let Some(row) = moment.truth.row_in(subject.slot, subject.generation) {
                let member = view.member(seen.tracks[i], place);
                now.compare(moment, (member, row), (false, false), tally);
            }
        });
    }

    /// Watches one near subject after the other.
    fn compare_properties(
        &mut self,
        moment: &Moment<'_>,
        seen: &Seen<'_>,
        turn: usize,
        tracks: &mut Tracks,
        tally: &mut Tally,
    ) {
        let Some(now) = moment.client.seen_tick() else {
            return;
        };
        let watched = self.watched.filter(|watched| {
            let SubjectRef { lane, slot, .. } = watched.subject;
            let mut near = seen.near.iter().filter(|chunk| chunk.lane() == lane);
            now.since(watched.since) <= WATCHED_TICKS && near.any(|chunk| chunk.position(slot).is_some())
        });
        let Some(watched) = watched else {
            let near: usize = seen.near.iter().map(|chunk| chunk.slots().len()).sum();
            let next = turn.wrapping_mul(7) % near.max(1);
            self.watched = None;
            seen.each_near((next, usize::MAX), tracks, |_, subject, _, _| {
                self.watched = Some(Watched { subject, since: now });
            });
            return;
        };
        if now.since(watched.since) < SETTLED_TICKS || !turn.is_multiple_of(4) {
            return;
        }
        let SubjectRef { slot, generation, .. } = watched.subject;
        if let Some(subject) = moment.client.view().get(watched.subject)
            && let Some(row) = moment.truth.row_in(slot, generation)
        {
            moment.compare_properties(subject, row, tally);
        }
    }
}
