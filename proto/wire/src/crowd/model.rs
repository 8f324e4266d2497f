//! A track as it would be written if nobody had many of them, member by member, and random histories in which tracks
//! hold and tell what it does.

use super::motions::{Motion, Stamps};
use super::*;
use crate::bits::BitWriter;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Member {
    slot: u32,
    cells: [[i32; 3]; SAMPLES],
    ticks: [u16; SAMPLES],
    count: usize,
    steady: u32,
    still: u32,
}

impl Member {
    fn new(slot: u32, cell: [i32; 3], tick: u16) -> Self {
        Self {
            slot,
            cells: [cell, [0; 3], [0; 3]],
            ticks: [tick, 0, 0],
            count: 1,
            steady: 24,
            still: 28,
        }
    }

    /// Where it would be if it went on, and if it stayed.
    fn guesses(&self, tick: u16) -> [[i32; 3]; 2] {
        let [now, before, _] = self.cells;
        if self.count < 2 {
            return [now; 2];
        }
        let ahead = i64::from(tick.wrapping_sub(self.ticks[0]));
        let span = i64::from(self.ticks[0].wrapping_sub(self.ticks[1])).max(1);
        let axis = |i: usize| {
            let goes = i64::from(now[i] - before[i]) * ahead / span;
            (i64::from(now[i]) + goes).clamp(-32_768, 32_767) as i32
        };
        [[axis(0), now[1], axis(2)], now]
    }

    fn k(&self) -> u32 {
        32 - (self.steady.min(self.still) * 11 / 128).leading_zeros()
    }

    /// It is told in `tick`. Writes how.
    fn tell(&mut self, tick: u16, cell: [i32; 3], is_level: bool, bits: &mut BitWriter<'_>) {
        let guesses = self.guesses(tick);
        let foreseen = guesses[usize::from(self.steady > self.still)];
        let k = self.k();
        for (axis, k) in [(0, k), (2, k), (1, 1)] {
            if axis == 1 && is_level {
                continue;
            }
            let off = cell[axis] - foreseen[axis];
            let number = if off < 0 { -2 * off - 1 } else { 2 * off } as u32;
            let ones = (number >> k).min(15);
            bits.write((1 << ones) - 1, ones);
            if ones == 15 {
                bits.write(number, 18);
            } else {
                bits.write(0, 1);
                bits.write(number & ((1 << k) - 1), k);
            }
        }
        let off = |guess: [i32; 3]| (cell[0].abs_diff(guess[0]) + cell[2].abs_diff(guess[2])).min(63);
        self.steady = self.steady - self.steady / 4 + off(guesses[0]);
        self.still = self.still - self.still / 4 + off(guesses[1]);
        self.cells = [cell, self.cells[0], self.cells[1]];
        self.ticks = [tick, self.ticks[0], self.ticks[1]];
        self.count = (self.count + 1).min(SAMPLES);
    }

    fn as_motion(&self) -> Motion {
        Motion {
            cells: self.cells.map(|cell| cell.map(|axis| axis as i16)),
            stamps: Stamps {
                count: self.count as u8,
                ticks: self.ticks,
            },
            habit: Habit {
                steady: self.steady as u16,
                still: self.still as u16,
            },
        }
    }
}

/// Slot, cell, and the cell before with its age.
type Joining = (u32, [i32; 3], Option<([i32; 3], u16)>);

/// What happens in one tick.
#[derive(Clone, Debug)]
struct Step {
    ticks: u64,
    /// Of so many members one leaves, from the first on; 0: nobody.
    leaves_one_in: usize,
    joins: Vec<Joining>,
    told: Option<Walk>,
}

/// How everybody moves: by what is drawn from a seed.
#[derive(Clone, Copy, Debug)]
struct Walk {
    seed: u64,
    /// Widths of what is drawn for x and z, and for y.
    within: [i32; 2],
    /// Of so many members one goes anywhere.
    far_one_in: u64,
}

fn offset() -> impl Strategy<Value = [i32; 3]> {
    let far = -32_767..=32_767i32;
    prop_oneof![
        6 => [-200..=200i32, 0..=0i32, -200..=200i32],
        1 => [far.clone(), far.clone(), far],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ticks = prop_oneof![
        8 => Just(5u64),
        3 => 1..9u64,
        1 => 65_520..65_550u64,
        1 => Just(65_536u64),
        1 => 1..140_000u64,
    ];
    let join = || (0..400u32, offset(), prop::option::of((offset(), 1..40u16)));
    let joins = prop_oneof![
        4 => prop::collection::vec(join(), 0..=2),
        1 => prop::collection::vec(join(), 0..=300),
    ];
    let within = prop_oneof![Just(1i32), Just(4), Just(30), Just(900), Just(40_000)];
    let height = prop_oneof![3 => Just(1i32), 1 => Just(3), 1 => Just(40_000)];
    let far = prop_oneof![4 => Just(u64::MAX), 1 => 2..60u64];
    let walk = (any::<u64>(), within, height, far).prop_map(|(seed, x, y, far_one_in)| Walk {
        seed,
        within: [x, y],
        far_one_in,
    });
    let leaves_one_in = prop_oneof![5 => Just(0), 1 => 1..40usize];
    (ticks, leaves_one_in, joins, prop::option::weighted(0.8, walk)).prop_map(
        |(ticks, leaves_one_in, joins, told)| Step {
            ticks,
            leaves_one_in,
            joins,
            told,
        },
    )
}

impl Walk {
    fn walk(mut self, cell: [i32; 3]) -> [i32; 3] {
        let mut draw = |width: u64| {
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(cell[0] as u64 | 1);
            (self.seed >> 33) % width
        };
        let is_far = draw(self.far_one_in.max(2)) == 0 && self.far_one_in < u64::MAX;
        std::array::from_fn(|axis| {
            let width = self.within[usize::from(axis == 1)];
            let by = draw(width as u64 * 2 - 1) as i32 - (width - 1);
            let to = if is_far {
                draw(65_535) as i32 - 32_767
            } else {
                cell[axis] + by
            };
            to.clamp(-CELL_OFFSET_MAX, CELL_OFFSET_MAX)
        })
    }
}

/// Does the step to both, compares what is told where only states are, and answers the record.
fn step_both(step: &Step, tick: Tick, members: &mut Vec<Member>, track: &mut Track) -> Vec<u8> {
    let origin = track.origin();
    let whole = |cell: [i32; 3]| std::array::from_fn(|i| origin[i] + cell[i]);
    let low = tick.0 as u16;
    let mut leaves = Vec::new();
    if step.leaves_one_in > 0 {
        let mut place = 0;
        members.retain(|member| {
            let leaves_now = place % step.leaves_one_in == 0;
            place += 1;
            if leaves_now {
                leaves.push(Slot(member.slot));
            }
            !leaves_now
        });
    }
    let mut joins = Vec::new();
    for (slot, cell, before) in &step.joins {
        let Err(place) = members.binary_search_by_key(slot, |member| member.slot) else {
            continue;
        };
        if members.len() == TRACK_MEMBERS_MAX {
            break;
        }
        let mut member = Member::new(*slot, *cell, low);
        if let Some((cell, ago)) = before {
            member.cells[1] = *cell;
            member.ticks[1] = low.wrapping_sub(*ago);
            member.count = 2;
        }
        members.insert(place, member);
        joins.push(Join {
            name: Name {
                slot: Slot(*slot),
                generation: Generation(0),
                kind: KindId(0),
            },
            cell: whole(*cell),
            before: before.map(|(cell, ago)| (whole(cell), ago)),
        });
    }
    joins.sort_unstable_by_key(|join| join.name.slot);
    let mut expected = vec![HAS_STATES];
    let mut cells = Vec::new();
    if let Some(walk) = step.told {
        let walked = members.iter().map(|member| {
            let walk = Walk {
                seed: walk.seed ^ u64::from(member.slot) << 20,
                ..walk
            };
            if member.ticks[0] == low {
                member.cells[0]
            } else {
                walk.walk(member.cells[0])
            }
        });
        cells = walked.collect();
        let is_level = cells
            .iter()
            .zip(&*members)
            .all(|(cell, member)| cell[1] == member.cells[0][1]);
        let mut bits = BitWriter::new(&mut expected);
        bits.write(u32::from(is_level), 1);
        for (member, cell) in members.iter_mut().zip(&cells) {
            if member.ticks[0] != low {
                member.tell(low, *cell, is_level, &mut bits);
            }
        }
        bits.finish();
    }
    let told: Vec<[i32; 3]> = cells.iter().map(|cell| whole(*cell)).collect();
    let told = step.told.map(|_| told.as_slice());
    let mut record = Vec::new();
    track.tell(tick, &leaves, &joins, told, &mut record);
    if leaves.is_empty() && joins.is_empty() && told.is_some() {
        assert_eq!(record, expected);
    }
    record
}

/// Whether both hold the same, by all ways in which a track can be asked.
fn assert_same(track: &Track, members: &[Member], tick: Tick) {
    let motions: Vec<Motion> = (0..track.len()).map(|place| track.motions.get(place)).collect();
    let expected: Vec<Motion> = members.iter().map(Member::as_motion).collect();
    assert_eq!(motions, expected);
    let low = tick.0 as u16;
    let ages = members.iter().map(|member| low.wrapping_sub(member.ticks[0]));
    assert_eq!(track.age_max(tick), ages.max());
    for axis in 0..3 {
        let newest = members.iter().map(|member| member.cells[0][axis] as i16);
        assert!(track.offsets()[axis].iter().copied().eq(newest.clone()));
        let ends = newest.clone().min().zip(newest.max());
        let ends = ends.map(|(low, high)| [low, high].map(|end| track.origin()[axis] + i32::from(end)));
        assert_eq!(track.bounds().map(|bounds| bounds.map(|end| end[axis])), ends);
    }
    for (place, member) in members.iter().enumerate() {
        assert_eq!(track.samples(place), member.count);
        for i in 0..member.count {
            assert_eq!(track.age(place, i, tick), low.wrapping_sub(member.ticks[i]));
            let cell = std::array::from_fn(|axis| track.origin()[axis] + member.cells[i][axis]);
            assert_eq!(track.cell(place, i), cell);
        }
    }
}

/// A track that holds the same and came by it in another way.
fn made_anew(track: &Track) -> Track {
    let mut anew = Track::new(track.origin, track.generation, track.kind);
    for place in (0..track.len()).rev() {
        anew.insert(track.names[place], &track.motions.get(place))
            .expect("nobody has the slot");
    }
    anew
}

fn hash_of(track: &Track) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    track.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #[test]
    fn a_track_holds_and_tells_what_the_model_does(steps in prop::collection::vec(step(), 1..30)) {
        let mut members = Vec::new();
        let mut writer = Track::new([7, -20, 100_000], Generation(0), KindId(0));
        let mut reader = writer.clone();
        let mut tick = Tick(65_500);
        for step in &steps {
            tick = tick + step.ticks;
            let record = step_both(step, tick, &mut members, &mut writer);
            let short = record.len().saturating_sub(2);
            if short > 0 {
                // Whatever ends early is refused, wherever it ends.
                prop_assert!(reader.clone().apply(tick, &record[..short]).is_err());
            }
            reader.apply(tick, &record).expect("a record");
            assert_same(&writer, &members, tick);
            assert_same(&reader, &members, tick);
            prop_assert_eq!(&reader, &writer);
            let anew = made_anew(&writer);
            prop_assert_eq!(&anew, &writer);
            prop_assert_eq!(hash_of(&anew), hash_of(&writer));
            if step.leaves_one_in == 1 {
                reader = anew;
            }
        }
    }
}

#[test]
fn the_steps_of_k_are_those_of_the_formula() {
    for steady in 0..=255 {
        for still in 0..=255 {
            let habit = Habit { steady, still };
            let member = Member {
                steady: steady.into(),
                still: still.into(),
                ..Member::new(0, [0; 3], 0)
            };
            assert_eq!(u32::from(habit.k()), member.k());
            assert_eq!(habit.power(), 1 << member.k());
            assert_eq!(Habit::from_line(habit.to_line()), habit);
        }
    }
}
