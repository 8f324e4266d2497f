//! The second step of a crowd message: who of those who joined a track is in view already, and who leaves of those
//! who are in none any more.

use super::Done;
use super::mask::Mask;
use super::rule::Sight;
use super::view::{Crowd, SeenTrack, subject};
use crate::counters::Counters;
use crate::listed::{Listed, Overfull};
use myriad_wire::crowd::message::Happening;
use myriad_wire::crowd::{Applied, Name};
use myriad_wire::{EntityId, LaneHandle, Slot, SubjectRef, Tick};
use std::sync::Arc;

/// Who joined a track.
pub(super) enum Joined {
    /// Everybody: it is new.
    All,
    Some(Done),
}

/// A message while it takes effect.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) touched: Vec<(u32, Joined)>,
    /// Were in view in a track that holds them no more. Sorted once all records are taken in.
    pub(super) limbo: Vec<Lost>,
    pub(super) happenings: Vec<(u32, LaneHandle, Arc<[Happening]>)>,
    pub(super) leaves: Vec<(SubjectRef, Option<EntityId>)>,
    /// By track.
    pub(super) enters: Vec<(u32, Mask)>,
    /// Tracks as they were before they lost members, while not all have been told.
    pub(super) before: Vec<SeenTrack>,
    /// Which of the carried tracks held a slot in view when the message began: ascending, made when first needed.
    carriers: Option<Vec<(LaneHandle, Slot, usize)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lost {
    subject: SubjectRef,
    name: Name,
    /// Its place in [`Turn::before`], if its track is there.
    before: Option<usize>,
    /// It is in view in another track now, or has left for the slot's next life.
    found: bool,
}

impl SeenTrack {
    /// Its members are others now, as `applied` says: places move. Those who left and were in view go to limbo.
    pub(super) fn regroup(&mut self, applied: &Applied, before: Option<usize>, limbo: &mut Vec<Lost>) {
        let names = self.state.track().names();
        let now_before = |name: &Name| names.partition_point(|other| other.slot < name.slot);
        let joined_before = |name: &Name| applied.joined.partition_point(|other| other.slot < name.slot);
        for (i, name) in applied.left.iter().enumerate().rev() {
            // Before it there were those who are there now, less who joined, and those who left too.
            let place = now_before(name) - joined_before(name) + i;
            if self.in_view.remove_place(place) {
                limbo.push(Lost {
                    before,
                    ..Lost::new(self.lane, *name)
                });
            }
        }
        for name in &applied.joined {
            self.in_view.insert_place(now_before(name));
        }
    }
}

impl Turn {
    /// Where in limbo a life of the slot is.
    fn find_lost(&self, lane: LaneHandle, slot: Slot) -> Option<usize> {
        let of = |lost: &Lost| (lost.subject.lane, lost.subject.slot);
        let at = self
            .limbo
            .binary_search_by(|lost| of(lost).cmp(&(lane, slot)))
            .ok();
        at.filter(|at| !self.limbo[*at].found)
    }
}

impl Lost {
    pub(super) fn new(lane: LaneHandle, name: Name) -> Self {
        Self {
            subject: subject(lane, name),
            name,
            before: None,
            found: false,
        }
    }
}

impl Crowd {
    /// Second step: who of those who joined is in view already.
    pub(super) fn settle_joins(
        &mut self,
        turn: &mut Turn,
        tick: Tick,
        listed: &mut Listed,
        counters: &mut Counters,
    ) -> Result<(), Overfull> {
        turn.limbo.sort_unstable();
        let touched = std::mem::take(&mut turn.touched);
        for (key, joined) in &touched {
            let Ok(at) = self.find(*key) else { continue };
            let state = Arc::clone(&self.tracks[at].state);
            match joined {
                Joined::All => {
                    for (place, name) in state.track().names().iter().enumerate() {
                        self.settle_join(at, place, *name, turn, tick, listed, counters)?;
                    }
                }
                Joined::Some(done) => {
                    for name in done.regrouped().map_or(&[][..], |applied| &applied.joined) {
                        let place = state.track().place(name.slot);
                        // It may have left again within the message.
                        if let Some(place) = place.filter(|place| state.track().names()[*place] == *name) {
                            self.settle_join(at, place, *name, turn, tick, listed, counters)?;
                        }
                    }
                }
            }
        }
        turn.touched = touched;
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one step, all of them needed"
    )]
    fn settle_join(
        &mut self,
        at: usize,
        place: usize,
        name: Name,
        turn: &mut Turn,
        tick: Tick,
        listed: &mut Listed,
        counters: &mut Counters,
    ) -> Result<(), Overfull> {
        let lane = self.tracks[at].lane;
        let subject = subject(lane, name);
        if !self.slots.contains(lane, name.slot) {
            if let Some((identity, motion)) = listed.take(subject, tick) {
                self.identities.insert(subject, identity);
                if let Some(motion) = motion {
                    self.near.resume(subject, motion);
                }
                self.slots.insert(lane, name.slot)?;
                self.in_view += 1;
                self.hold(at, place, name);
            } else if let Some(old) = listed.other_life(subject) {
                let entity = listed.leave(old);
                turn.leaves.push((old, entity));
            }
            return Ok(());
        }
        // Some life of the slot is in view: which, and who holds it?
        if let Some(lost) = turn.find_lost(lane, name.slot) {
            let lost = &mut turn.limbo[lost];
            lost.found = true;
            if lost.subject == subject {
                self.hold(at, place, name);
            } else {
                let old = lost.subject;
                self.leave(old, &mut turn.leaves);
            }
            return Ok(());
        }
        let holder = self.carrier(self.tracks[at].key(), lane, name.slot, &mut turn.carriers);
        if let Some(holder) = holder {
            let track = &mut self.carried[holder];
            let old_place = track.seen_place(name.slot).expect("it was found there");
            let old = track.subject(old_place);
            track.in_view.clear(old_place);
            if old == subject {
                self.hold(at, place, name);
            } else {
                self.leave(old, &mut turn.leaves);
            }
        } else if !self.tracks[at].in_view.contains(place) {
            match self.holder_among_tracks(lane, name.slot) {
                // It goes from lane to lane, and the one that it comes from still tells of it: this one knows better.
                Some((holder, old_place)) if self.tracks[holder].name(old_place) == name => {
                    self.tracks[holder].in_view.clear(old_place);
                    self.hold(at, place, name);
                }
                _ => counters.contradictions += 1,
            }
        }
        Ok(())
    }

    /// Which of the tracks that are told holds the slot in view, and where.
    fn holder_among_tracks(&self, lane: LaneHandle, slot: Slot) -> Option<(usize, usize)> {
        let tracks = self.tracks.iter().enumerate();
        tracks
            .filter(|(_, track)| track.lane == lane)
            .find_map(|(at, track)| Some((at, track.seen_place(slot)?)))
    }

    /// Which of the tracks that are told has the life as a member, in view or not, and where.
    pub(super) fn member_of(&self, lane: LaneHandle, name: Name) -> Option<(usize, usize)> {
        let tracks = self.tracks.iter().enumerate();
        let place = |track: &SeenTrack| {
            let place = track.state.track().place(name.slot)?;
            (track.name(place) == name).then_some(place)
        };
        tracks
            .filter(|(_, track)| track.lane == lane)
            .find_map(|(at, track)| Some((at, place(track)?)))
    }

    /// The member of the track at `at` is in view there.
    fn hold(&mut self, at: usize, place: usize, name: Name) {
        let (lane, track) = (self.tracks[at].lane, self.tracks[at].track);
        self.tracks.set_hint(lane, name.slot, track);
        self.tracks[at].in_view.set(place);
    }

    /// Which carried track holds the slot in view: most often the one that was told under the same name.
    fn carrier(
        &self,
        key: u32,
        lane: LaneHandle,
        slot: Slot,
        carriers: &mut Option<Vec<(LaneHandle, Slot, usize)>>,
    ) -> Option<usize> {
        let same = self.carried.iter().position(|track| track.key() == key);
        if let Some(same) = same
            && self.carried[same].seen_place(slot).is_some()
        {
            return Some(same);
        }
        let carriers = carriers.get_or_insert_with(|| {
            let mut all = Vec::new();
            for (i, track) in self.carried.iter().enumerate() {
                all.extend(
                    track
                        .in_view
                        .iter()
                        .map(|place| (track.lane, track.name(place).slot, i)),
                );
            }
            all.sort_unstable();
            all
        });
        let at = carriers
            .binary_search_by_key(&(lane, slot), |(lane, slot, _)| (*lane, *slot))
            .ok()?;
        Some(carriers[at].2).filter(|i| self.carried[*i].seen_place(slot).is_some())
    }

    /// A subject leaves that no track holds any more.
    pub(super) fn leave(&mut self, subject: SubjectRef, leaves: &mut Vec<(SubjectRef, Option<EntityId>)>) {
        leaves.push((subject, self.entity(subject)));
        self.let_go(subject);
    }

    fn let_go(&mut self, subject: SubjectRef) {
        self.slots.remove(subject.lane, subject.slot);
        self.in_view -= 1;
    }

    /// Who is left in limbo leaves; the own avatar stays, in the list. While not all tracks have been told, who was in
    /// one that is told may have gone to one that is not yet, so it is carried like the others.
    pub(super) fn settle_limbo(
        &mut self,
        turn: &mut Turn,
        sight: &Sight,
        listed: &mut Listed,
    ) -> Result<(), Overfull> {
        for lost in turn.limbo.iter_mut().filter(|lost| !lost.found) {
            // In two tracks, as it goes from lane to lane, and out of the one that had it in view.
            if let Some((at, place)) = self.member_of(lost.subject.lane, lost.name) {
                lost.found = true;
                self.hold(at, place, lost.name);
            }
        }
        let mut kept = vec![Mask::default(); turn.before.len()];
        for lost in std::mem::take(&mut turn.limbo)
            .into_iter()
            .filter(|lost| !lost.found)
        {
            match lost.before {
                Some(i) => {
                    let place = turn.before[i].seen_place(lost.subject.slot);
                    kept[i].set(place.expect("it was in view there"));
                }
                None => self.leave_or_keep(lost.subject, lost.name, &mut turn.leaves, sight, listed)?,
            }
        }
        for (track, in_view) in std::mem::take(&mut turn.before).into_iter().zip(kept) {
            if !in_view.is_empty() {
                self.carried.push(SeenTrack { in_view, ..track });
            }
        }
        self.check_carried()
    }

    pub(super) fn leave_or_keep(
        &mut self,
        subject: SubjectRef,
        name: Name,
        leaves: &mut Vec<(SubjectRef, Option<EntityId>)>,
        sight: &Sight,
        listed: &mut Listed,
    ) -> Result<(), Overfull> {
        if subject != sight.own {
            self.leave(subject, leaves);
            return Ok(());
        }
        let motion = self.near.motion(subject);
        let identity = self.identities.remove(subject);
        self.let_go(subject);
        listed.keep(subject, name.kind, sight, identity, motion)
    }
}
