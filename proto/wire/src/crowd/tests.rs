use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Slot, generation, kind, cell, and the cell before with its age.
type Joining = (u32, u16, u16, [i32; 3], Option<([i32; 3], u16)>);

/// What a lane does to one track in one tick.
#[derive(Clone, Debug)]
struct Step {
    ticks: u64,
    leaves: Vec<usize>,
    joins: Vec<Joining>,
    /// By how much everybody moves, if the track is told.
    told: Option<[i32; 3]>,
}

fn cell() -> impl Strategy<Value = [i32; 3]> {
    prop_oneof![
        6 => [-200..200i32, 0..1i32, -200..200i32],
        1 => [-3000..3000i32, -3000..3000i32, -3000..3000i32],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let slot = prop_oneof![8 => 0..2000u32, 1 => any::<u32>()];
    let before = prop::option::of((cell(), 1..40u16));
    let join = (
        slot,
        prop_oneof![9 => Just(7u16), 1 => any::<u16>()],
        prop_oneof![9 => Just(1u16), 1 => any::<u16>()],
        cell(),
        before,
    );
    (
        prop_oneof![9 => 1..3u64, 1 => 1..70_000u64],
        prop::collection::vec(any::<usize>(), 0..4),
        prop::collection::vec(join, 0..30),
        prop::option::of([-20..20i32, -1..2i32, -20..20i32]),
    )
        .prop_map(|(ticks, leaves, joins, told)| Step {
            ticks,
            leaves,
            joins,
            told,
        })
}

/// The track as a plain map, and what is told of it.
struct Writer {
    track: Track,
    model: BTreeMap<Slot, (Name, [i32; 3])>,
    tick: Tick,
}

impl Writer {
    fn new() -> Self {
        Self {
            track: Track::new([40, 0, -1000], Generation(7), KindId(1)),
            model: BTreeMap::new(),
            tick: Tick(65_530),
        }
    }

    fn step(&mut self, step: &Step) -> Vec<u8> {
        self.tick = self.tick + step.ticks;
        // Who was told 65,536 ticks ago passes for one that has just joined, and waits for the next telling.
        while (0..self.track.len()).any(|place| self.track.age(place, 0, self.tick) == 0) {
            self.tick = self.tick + 1;
        }
        let origin = self.track.origin();
        let at = |cell: [i32; 3]| -> [i32; 3] { std::array::from_fn(|i| origin[i] + cell[i]) };
        let mut leaves: Vec<Slot> = Vec::new();
        for pick in &step.leaves {
            if let Some(slot) = self.model.keys().nth(pick % self.model.len().max(1)).copied() {
                self.model.remove(&slot);
                leaves.push(slot);
            }
        }
        leaves.sort_unstable();
        let mut joins: BTreeMap<u32, Join> = BTreeMap::new();
        for (slot, generation, kind, cell, before) in &step.joins {
            if self.model.contains_key(&Slot(*slot)) || self.model.len() + joins.len() >= TRACK_MEMBERS_MAX {
                continue;
            }
            let name = Name {
                slot: Slot(*slot),
                generation: Generation(*generation),
                kind: KindId(*kind),
            };
            let before = before.map(|(cell, ago)| (at(cell), ago));
            joins.insert(
                *slot,
                Join {
                    name,
                    cell: at(*cell),
                    before,
                },
            );
        }
        let joins: Vec<Join> = joins.into_values().collect();
        for join in &joins {
            self.model.insert(join.name.slot, (join.name, join.cell));
        }
        if let Some(by) = step.told {
            for (name, cell) in self.model.values_mut() {
                if joins.iter().all(|join| join.name != *name) {
                    for axis in 0..3 {
                        let moved = cell[axis] - origin[axis] + by[axis] * (1 + (name.slot.0 % 3) as i32);
                        cell[axis] = origin[axis] + moved.clamp(-32_000, 32_000);
                    }
                }
            }
        }
        let cells: Vec<[i32; 3]> = self.model.values().map(|(_, cell)| *cell).collect();
        let mut out = Vec::new();
        let told = step.told.map(|_| cells.as_slice());
        self.track.tell(self.tick, &leaves, &joins, told, &mut out);
        out
    }
}

proptest! {
    #[test]
    fn every_reader_holds_what_the_writer_holds(steps in prop::collection::vec(step(), 1..40), late in 0..40usize) {
        let mut writer = Writer::new();
        let mut first = Vec::new();
        writer.track.keyframe(writer.tick, &mut first);
        let mut reader = Track::from_keyframe(writer.tick, &first).expect("a keyframe");
        let mut newcomer: Option<(Track, bool)> = None;
        for (i, step) in steps.iter().enumerate() {
            let record = writer.step(step);
            let applied = reader.apply(writer.tick, &record).expect("a record");
            prop_assert_eq!(&reader, &writer.track);
            prop_assert_eq!(applied.told, step.told.is_some());
            let names: Vec<Name> = writer.model.values().map(|(name, _)| *name).collect();
            prop_assert_eq!(reader.names(), &names[..]);
            if step.told.is_some() {
                for (place, (_, cell)) in writer.model.values().enumerate() {
                    prop_assert_eq!(reader.cell(place, 0), *cell);
                    prop_assert_eq!(reader.age(place, 0, writer.tick), 0);
                }
            }
            if let Some((track, is_equal)) = &mut newcomer {
                track.apply(writer.tick, &record).expect("a record");
                *is_equal |= step.told.is_some();
                if *is_equal {
                    prop_assert_eq!(&*track, &writer.track, "after one telling a newcomer knows all");
                }
                prop_assert_eq!(track.names(), writer.track.names());
            }
            if i == late {
                let mut bytes = Vec::new();
                writer.track.keyframe(writer.tick, &mut bytes);
                let track = Track::from_keyframe(writer.tick, &bytes).expect("a keyframe");
                let mut again = Vec::new();
                track.keyframe(writer.tick, &mut again);
                prop_assert_eq!(bytes, again);
                newcomer = Some((track, false));
            }
        }
    }

    #[test]
    fn no_bytes_stop_a_reader(
        steps in prop::collection::vec(step(), 1..6),
        noise in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut writer = Writer::new();
        for step in &steps {
            let mut reader = writer.track.clone();
            let mut record = writer.step(step);
            for (at, byte) in &noise {
                let at = at % record.len();
                record[at] = *byte;
            }
            let _ = reader.apply(writer.tick, &record);
            prop_assert!(reader.len() <= TRACK_MEMBERS_MAX);
            let _ = reader.apply(writer.tick, &junk);
            prop_assert!(reader.len() <= TRACK_MEMBERS_MAX && reader.names().is_sorted());
            let mut keyframe = Vec::new();
            writer.track.keyframe(writer.tick, &mut keyframe);
            for (at, byte) in &noise {
                let at = at % keyframe.len();
                keyframe[at] = *byte;
            }
            let _ = Track::from_keyframe(writer.tick, &keyframe);
        }
        let _ = Track::from_keyframe(Tick(1), &junk);
    }
}

#[test]
fn a_crowd_of_walkers_takes_a_few_bits_each() {
    // Straight on at 3 m/s, told once a second: foreseen but for the rounding to cells.
    let mut track = Track::new([0; 3], Generation(0), KindId(0));
    let cell = |slot: u32, tick: u64| {
        [
            (slot as i32 % 16) * 4 + (tick as i32 * 12 * 3) / 50,
            0,
            slot as i32 / 16 * 4,
        ]
    };
    let joins: Vec<Join> = (0..256u32)
        .map(|slot| Join {
            name: Name {
                slot: Slot(slot * 39),
                generation: Generation(0),
                kind: KindId(0),
            },
            cell: cell(slot, 0),
            before: None,
        })
        .collect();
    let mut out = Vec::new();
    track.tell(Tick(0), &[], &joins, None, &mut out);
    let mut bits = 0;
    for tick in (5..=50).step_by(5) {
        let cells: Vec<_> = (0..256).map(|slot| cell(slot, tick)).collect();
        out.clear();
        track.tell(Tick(tick), &[], &[], Some(&cells), &mut out);
        bits = out.len() * 8;
    }
    assert!(bits <= 256 * 4, "{bits} bits for 256 members");
}
