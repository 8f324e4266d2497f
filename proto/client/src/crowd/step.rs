//! What a message does to a client that sees every member of every track that it is told.
//!
//! In a dense crowd that is almost everybody, at almost every message: all that is known then, tracks and who of them is
//! in view, is the same for all who have read the same, and so is what a message makes of it ([`Step`]). A process that
//! holds many clients therefore takes the step once, and the others find it again: a look and a comparison of the
//! message's some thousand bytes take the place of fifty records. What is a client's own (near states, the slots in
//! view, identities) follows from the step's few enters and leaves. [`super::TrackStore`] keeps the steps; with
//! [`super::OwnTracks`] nothing is kept.

use super::mask::Mask;
use super::rule::{Sight, farthest2};
use super::settle::Turn;
use super::view::{Crowd, SeenTrack, SeenTracks};
use crate::counters::Counters;
use crate::listed::Overfull;
use myriad_wire::SubjectRef;
use myriad_wire::crowd::message::{Form, take_record};

/// What some records do to a client that sees all members of all its tracks, before and after.
#[derive(Debug)]
pub struct Step {
    tracks: SeenTracks,
    /// Lowest and highest of all members per axis, in interest units.
    bounds: Option<[[i32; 3]; 2]>,
    members: usize,
    /// By track, as they are told.
    enters: Vec<(u32, Mask)>,
    leaves: Vec<SubjectRef>,
    counts: Counts,
}

/// What of the counters a step raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    state_bytes: u64,
    membership_bytes: u64,
    keyframe_bytes: u64,
    states: u64,
    states_unseen: u64,
    contradictions: u64,
}

impl Counts {
    pub(super) fn of(counters: &Counters) -> Self {
        Self {
            state_bytes: counters.bytes.crowd_state,
            membership_bytes: counters.bytes.crowd_membership,
            keyframe_bytes: counters.bytes.crowd_keyframe,
            states: counters.states.crowd,
            states_unseen: counters.states.crowd_unseen,
            contradictions: counters.contradictions,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            state_bytes: self.state_bytes - before.state_bytes,
            membership_bytes: self.membership_bytes - before.membership_bytes,
            keyframe_bytes: self.keyframe_bytes - before.keyframe_bytes,
            states: self.states - before.states,
            states_unseen: self.states_unseen - before.states_unseen,
            contradictions: self.contradictions - before.contradictions,
        }
    }

    fn add_to(self, counters: &mut Counters) {
        counters.bytes.crowd_state += self.state_bytes;
        counters.bytes.crowd_membership += self.membership_bytes;
        counters.bytes.crowd_keyframe += self.keyframe_bytes;
        counters.states.crowd += self.states;
        counters.states.crowd_unseen += self.states_unseen;
        counters.contradictions += self.contradictions;
    }
}

impl Step {
    /// The tracks after it.
    #[must_use]
    pub fn tracks(&self) -> &SeenTracks {
        &self.tracks
    }

    /// Whether it is this client's step too: all that is told lies within its radius, and it is not itself that leaves
    /// all tracks, since a client keeps its own avatar.
    fn is_of(&self, sight: &Sight) -> bool {
        let at = sight.at.to_aoi();
        let is_within = |bounds| farthest2(bounds, at) <= sight.reach.enter2();
        self.bounds.is_none_or(is_within) && !self.leaves.contains(&sight.own)
    }
}

/// Where the records of what happened to members begin: behind all others. `None` if they are not.
pub(super) fn split(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut rest, mut states) = (records, None);
    loop {
        let here = rest;
        let Some(record) = take_record(&mut rest).ok()? else {
            let at = records.len() - states.unwrap_or(here).len();
            return Some(records.split_at(at));
        };
        match (record.form, states) {
            (Form::Events, None) => states = Some(here),
            (Form::Events, Some(_)) | (Form::Delta | Form::Keyframe | Form::Drop, None) => {}
            (Form::Delta | Form::Keyframe | Form::Drop, Some(_)) => return None,
        }
    }
}

impl Crowd {
    /// Whether all members of all tracks are in view, and nobody else is by anything else.
    pub(super) fn is_whole(&mut self) -> bool {
        let (tracks, carried) = (&self.tracks, &self.carried);
        let all = || carried.is_empty() && tracks.iter().all(SeenTrack::all_in_view);
        self.complete && *self.whole.get_or_insert_with(all)
    }

    /// Takes a step that another client has taken before. `false`: it is not this client's.
    pub(super) fn take_step(
        &mut self,
        step: &Step,
        sight: &Sight,
        turn: &mut Turn,
        counters: &mut Counters,
    ) -> Result<bool, Overfull> {
        if !step.is_of(sight) {
            return Ok(false);
        }
        self.tracks = step.tracks.clone();
        self.members = step.members;
        for subject in &step.leaves {
            self.leave(*subject, &mut turn.leaves);
        }
        for (key, places) in &step.enters {
            let Ok(at) = self.find(*key) else { continue };
            for place in places.iter() {
                let track = &self.tracks[at];
                self.slots.insert(track.lane, track.name(place).slot)?;
                self.in_view += 1;
            }
        }
        turn.enters.clone_from(&step.enters);
        step.counts.add_to(counters);
        Ok(true)
    }

    /// The step just taken, by records that raised the counters from `before`. `None` if it is not the same for all.
    pub(super) fn step_taken(
        &self,
        turn: &Turn,
        sight: &Sight,
        before: Counts,
        counters: &Counters,
    ) -> Option<Step> {
        let counts = Counts::of(counters).since(before);
        // Who keeps its own avatar although no track has it any more is a case of its own.
        if counts.contradictions > 0 || self.get(sight.own).is_none() {
            return None;
        }
        let bounds = self.tracks.iter().filter_map(|track| track.state.bounds_aoi());
        let bounds = bounds.reduce(|[low, high], [other_low, other_high]| {
            [
                std::array::from_fn(|axis| low[axis].min(other_low[axis])),
                std::array::from_fn(|axis| high[axis].max(other_high[axis])),
            ]
        });
        Some(Step {
            tracks: self.tracks.clone(),
            bounds,
            members: self.members,
            enters: turn.enters.clone(),
            leaves: turn.leaves.iter().map(|(subject, _)| *subject).collect(),
            counts,
        })
    }
}
