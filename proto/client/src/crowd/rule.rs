//! The rule of sight: who is within the radius enters, and stays within the leave radius.
//!
//! Most tracks of a crowd are decided whole: their box lies within the radius, or beyond the leave radius.

use super::TrackState;
use super::mask::Mask;
use super::view::SeenTrack;
use myriad_wire::{EntityId, Pos, SubjectRef, Tick};

/// From where and how far a client sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// The own avatar, which is always in view.
    pub(crate) own: SubjectRef,
    pub(crate) entity: EntityId,
    /// Where it was in `tick`, exact.
    pub(crate) at: Pos,
    pub(crate) tick: Tick,
    pub(crate) reach: Reach,
}

/// Squared radii in interest units: who is within `enter2` enters, who is within `leave2` stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    enter2: i64,
    leave2: i64,
}

impl Reach {
    pub(crate) fn new(radius: u32) -> Self {
        let squared = u128::from(radius).pow(2);
        let bounded = |value: u128| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            enter2: bounded(squared),
            // Distances are whole: 100 d2 <= 121 R2.
            leave2: bounded(squared * 121 / 100),
        }
    }
}

impl Reach {
    /// The squared radius within which everybody is in view, in interest units.
    pub(super) fn enter2(self) -> i64 {
        self.enter2
    }
}

impl SeenTrack {
    /// Who is to be in view.
    pub(super) fn rule(&self, sight: &Sight) -> Mask {
        let (all, was) = (Mask::first(self.state.track().len()), self.in_view);
        let Some(bounds) = self.state.bounds_aoi() else {
            return all;
        };
        let at = sight.at.to_aoi();
        let Reach { enter2, leave2 } = sight.reach;
        let farthest = farthest2(bounds, at);
        let mut mask = if farthest <= enter2 || was == all && farthest <= leave2 {
            return all;
        } else if nearest2(bounds, at) > leave2 {
            Mask::default()
        } else {
            within(&self.state, at, sight.reach, was)
        };
        if self.lane == sight.own.lane
            && let Some(place) = self.state.track().place(sight.own.slot)
            && self.name(place).generation == sight.own.generation
        {
            mask.set(place);
        }
        mask
    }
}

/// The squared distance to the farthest corner.
pub(super) fn farthest2([low, high]: [[i32; 3]; 2], at: [i32; 3]) -> i64 {
    let axis = |i: usize| i64::from(at[i].abs_diff(low[i]).max(at[i].abs_diff(high[i]))).pow(2);
    axis(0) + axis(1) + axis(2)
}

/// The squared distance to the nearest point of the box.
fn nearest2([low, high]: [[i32; 3]; 2], at: [i32; 3]) -> i64 {
    let axis = |i: usize| i64::from(at[i].abs_diff(at[i].clamp(low[i], high[i]))).pow(2);
    axis(0) + axis(1) + axis(2)
}

/// Member by member: who is within the radius, or was in view and is within the leave radius.
fn within(state: &TrackState, at: [i32; 3], reach: Reach, was: Mask) -> Mask {
    let [x, y, z] = state.aoi();
    let mut mask = Mask::default();
    let lines = x.chunks(64).zip(y.chunks(64)).zip(z.chunks(64));
    for (i, (((x, y), z), was)) in lines.zip(was.words()).enumerate() {
        let (mut enter, mut stay) = (0u64, 0u64);
        for (bit, ((x, y), z)) in x.iter().zip(y).zip(z).enumerate() {
            let axis = |a: i32, b: i32| (i64::from(a) - i64::from(b)).pow(2);
            let d2 = axis(*x, at[0]) + axis(*y, at[1]) + axis(*z, at[2]);
            enter |= u64::from(d2 <= reach.enter2) << bit;
            stay |= u64::from(d2 <= reach.leave2) << bit;
        }
        mask.set_word(i, enter | was & stay);
    }
    mask
}
