//! The rule of sight: who is within the radius enters, and stays within the leave radius.
//!
//! Most tracks of a crowd are decided whole: their box lies within the radius, or beyond the leave radius.

use super::CELL_AOI_SHIFT;
use super::mask::Mask;
use super::view::SeenTrack;
use myriad_wire::crowd::Track;
use myriad_wire::{EntityId, Pos, SubjectRef, Tick};
use std::ops::Add;

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
            within(self.state.track(), at, farthest, sight.reach, was)
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

/// Squared distances up to this one are computed with 32 bits.
const NEAR2: i64 = (i16::MAX as i64).pow(2);

/// Member by member: who is within the radius, or was in view and is within the leave radius. Nobody is farther than
/// `farthest2`.
fn within(track: &Track, at: [i32; 3], farthest2: i64, reach: Reach, was: Mask) -> Mask {
    let origin = track.origin();
    // Where the track's origin is, as seen from the observer: a cell's middle less `at`.
    let from: [i64; 3] = std::array::from_fn(|axis| {
        let middle = (i64::from(origin[axis]) << CELL_AOI_SHIFT) + (1 << (CELL_AOI_SHIFT - 1));
        middle - i64::from(at[axis])
    });
    let lines = track.offsets();
    if farthest2 <= NEAR2 {
        // All differences are of 16 bits, so what does not fit in between comes right again.
        let square = |offset: i16, from: i64| {
            let distance = (offset << CELL_AOI_SHIFT).wrapping_add(from as i16);
            i32::from(distance) * i32::from(distance)
        };
        let bounded = |radius2: i64| radius2.min(i64::from(i32::MAX)) as i32;
        mask_of(
            lines,
            from,
            square,
            [reach.enter2, reach.leave2].map(bounded),
            was,
        )
    } else {
        let square = |offset: i16, from: i64| ((i64::from(offset) << CELL_AOI_SHIFT) + from).pow(2);
        mask_of(lines, from, square, [reach.enter2, reach.leave2], was)
    }
}

#[inline(always)]
fn mask_of<T: Copy + Ord + Add<Output = T>>(
    [x, y, z]: [&[i16]; 3],
    from: [i64; 3],
    square: impl Fn(i16, i64) -> T,
    [enter2, leave2]: [T; 2],
    was: Mask,
) -> Mask {
    let mut mask = Mask::default();
    let lines = x.chunks(64).zip(y.chunks(64)).zip(z.chunks(64));
    for (i, (((x, y), z), was)) in lines.zip(was.words()).enumerate() {
        // First a loop of vectors, then one that makes words of its answers.
        let mut is_near = [[0u8; 64]; 2];
        let [enter, stay] = &mut is_near;
        for (((x, y), z), (enter, stay)) in x.iter().zip(y).zip(z).zip(enter.iter_mut().zip(stay)) {
            let d2 = square(*x, from[0]) + square(*y, from[1]) + square(*z, from[2]);
            *enter = u8::from(d2 <= enter2);
            *stay = u8::from(d2 <= leave2);
        }
        let [enter, stay] = is_near.map(|bytes| word_of(&bytes));
        mask.set_word(i, enter | was & stay);
    }
    mask
}

/// One bit for each of the bytes, which are 0 or 1.
#[inline(always)]
fn word_of(bytes: &[u8; 64]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    // Every byte's bit comes to stand in the highest byte, and none in another's way.
    let bits = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    eights.iter().rev().fold(0, |word, eight| word << 8 | bits(eight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::crowd::{Join, Name, cell_of, middle_of};
    use myriad_wire::{Generation, KindId, Slot};
    use proptest::prelude::*;

    fn cells() -> impl Strategy<Value = Vec<[i32; 3]>> {
        let near = prop::collection::vec([-300..300i32, -9..9i32, -300..300i32], 1..=256);
        let far = -32_767..=32_767i32;
        prop_oneof![
            near,
            prop::collection::vec([far.clone(), far.clone(), far], 1..=256)
        ]
    }

    proptest! {
        #[test]
        fn who_is_near_is_whoever_is_at_most_that_far(
            cells in cells(),
            corner in prop_oneof![Just(0i32), Just(8_355_000), Just(-8_355_000), -9_000..9_000i32],
            at in prop_oneof![[-400..400i32, -20..20i32, -400..400i32], [-40_000..40_000i32, -40_000..40_000i32, 0..9i32]],
            radius in prop_oneof![100..6_000u32, any::<u32>()],
            was in any::<[u64; 4]>(),
        ) {
            let origin = [corner; 3];
            let whole = |cell: [i32; 3]| std::array::from_fn(|i| origin[i].saturating_add(cell[i]));
            let joins: Vec<Join> = (0..)
                .map(Slot)
                .zip(&cells)
                .map(|(slot, cell)| Join {
                    name: Name { slot, generation: Generation(0), kind: KindId(0) },
                    cell: whole(*cell),
                    before: None,
                })
                .collect();
            let mut track = Track::new(origin, Generation(0), KindId(0));
            track.tell(Tick(1), &[], &joins, None, &mut Vec::new());
            let at = middle_of(whole(at).map(|axis: i32| axis.clamp(-8_388_608, 8_388_607)));
            prop_assume!(cell_of(at).iter().all(|axis| axis.abs() < 8_388_607));
            let at = at.to_aoi();
            let distance2 = |place: usize| -> i64 {
                let member = track.position(place, 0).to_aoi();
                (0..3).map(|i| i64::from(member[i].abs_diff(at[i])).pow(2)).sum()
            };
            let farthest = (0..track.len()).map(distance2).max().expect("somebody");
            let reach = Reach::new(radius);
            let mut before = Mask::default();
            was.iter().enumerate().for_each(|(i, word)| before.set_word(i, *word));
            // Both ways of computing, where both will do.
            let bounds = track.bounds().map(|ends| ends.map(|cell| middle_of(cell).to_aoi())).expect("somebody");
            let farthest2 = farthest2(bounds, at);
            prop_assert!(farthest2 >= farthest);
            for bound in [farthest2, i64::MAX] {
                let mask = within(&track, at, bound, reach, before);
                for (place, cell) in cells.iter().enumerate() {
                    let d2 = distance2(place);
                    let expected = d2 <= reach.enter2 || before.contains(place) && d2 <= reach.leave2;
                    prop_assert_eq!(mask.contains(place), expected, "{} at {:?}", place, cell);
                }
                prop_assert!((track.len()..256).all(|place| !mask.contains(place)));
            }
        }
    }
}
