//! Any bytes as a list of operations on one crowd track: a lane tells what it does to its track, and a reader, and a
//! newcomer who came in between, hold what the lane holds; in between come records that nobody honest tells.

#![no_main]

use myriad_wire::crowd::{CELL_OFFSET_MAX, Join, Name, TRACK_MEMBERS_MAX, Track};
use myriad_wire::{Generation, KindId, Slot, Tick};
use std::collections::BTreeMap;

/// Operations after which a history ends.
const OPERATIONS_MAX: usize = 200;
/// Origins: near the middle, and as far out as a track can be.
const ORIGINS: [i32; 4] = [0, 1000, -8_355_839, 8_355_839];
/// Slots that wrap, or need all their bits.
const SLOTS: [u32; 4] = [u32::MAX, u32::MAX - 1, 0, 1 << 31];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut source = Source(bytes);
    let mut history = History::new(&mut source);
    for _ in 0..OPERATIONS_MAX {
        if source.0.is_empty() {
            break;
        }
        match source.byte() % 8 {
            0..=4 => history.tell(&mut source),
            5 => history.let_a_newcomer_in(),
            6 => history.hear_noise(&mut source),
            _ => history.hear_junk(&mut source),
        }
    }
});

/// Bytes as choices; 0 when they have ended.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn slot(&mut self) -> Slot {
        let low = self.byte();
        Slot(match low {
            250..=253 => SLOTS[usize::from(low - 250)],
            254.. => u32::from(self.u16()) << 16 | u32::from(self.u16()),
            _ => u32::from(low) * 3,
        })
    }

    /// Less the origin: mostly near by, now and then anywhere in reach.
    fn offset(&mut self) -> [i32; 3] {
        let far = self.byte() >= 240;
        std::array::from_fn(|_| {
            if far {
                i32::from(self.u16() as i16).max(-CELL_OFFSET_MAX)
            } else {
                i32::from(self.byte() as i8)
            }
        })
    }
}

struct History {
    tick: Tick,
    /// The lane's.
    track: Track,
    /// Who is in it, and in which cell: what is to come out.
    model: BTreeMap<Slot, (Name, [i32; 3])>,
    reader: Track,
    newcomer: Option<Track>,
    /// The newest record, and the track before it.
    last: (Track, Vec<u8>),
}

impl History {
    fn new(source: &mut Source<'_>) -> Self {
        let origin = std::array::from_fn(|_| ORIGINS[usize::from(source.byte() % 4)]);
        let track = Track::new(origin, Generation(7), KindId(1));
        let tick = Tick(65_500 + u64::from(source.byte()));
        let mut history = Self {
            tick,
            reader: track.clone(),
            last: (track.clone(), vec![0]),
            track,
            model: BTreeMap::new(),
            newcomer: None,
        };
        history.reader = history.keyframe();
        assert_eq!(history.reader, history.track);
        history
    }

    fn cell(&self, offset: [i32; 3]) -> [i32; 3] {
        std::array::from_fn(|i| self.track.origin()[i] + offset[i])
    }

    /// A newcomer's track, which writes the same keyframe.
    fn keyframe(&self) -> Track {
        let mut bytes = Vec::new();
        self.track.keyframe(self.tick, &mut bytes);
        let track = Track::from_keyframe(self.tick, &bytes).expect("a keyframe");
        let mut again = Vec::new();
        track.keyframe(self.tick, &mut again);
        assert_eq!(again, bytes);
        assert_eq!(track.names(), self.track.names());
        track
    }

    fn tell(&mut self, source: &mut Source<'_>) {
        let ticks = source.byte();
        self.tick = self.tick + if ticks >= 250 { u64::from(source.u16()).max(1) } else { u64::from(ticks % 16) + 1 };
        let (leaving, joining, telling) = (source.byte() % 4, source.byte() % 8, source.byte());
        let mut leaves = Vec::new();
        for _ in 0..leaving {
            let nth = usize::from(source.byte()) % self.model.len().max(1);
            if let Some(slot) = self.model.keys().nth(nth).copied() {
                self.model.remove(&slot);
                leaves.push(slot);
            }
        }
        leaves.sort_unstable();
        let mut joins = BTreeMap::new();
        for _ in 0..joining {
            let (slot, flags) = (source.slot(), source.byte());
            let cell = self.cell(source.offset());
            let before = (flags & 1 == 1).then(|| (self.cell(source.offset()), source.u16().max(1)));
            if self.model.contains_key(&slot) || self.model.len() >= TRACK_MEMBERS_MAX {
                continue;
            }
            let name = Name {
                slot,
                generation: Generation(if flags & 2 == 0 { 7 } else { source.u16() }),
                kind: KindId(if flags & 4 == 0 { 1 } else { source.u16() }),
            };
            self.model.insert(slot, (name, cell));
            joins.insert(slot, Join { name, cell, before });
        }
        let joins: Vec<Join> = joins.into_values().collect();
        let told = telling & 1 == 1;
        if told {
            self.walk(&joins, telling, source);
        }
        let cells: Vec<[i32; 3]> = self.model.values().map(|(_, cell)| *cell).collect();
        let mut record = Vec::new();
        let before = self.track.clone();
        let told_cells = told.then_some(&cells[..]);
        self.track.tell(self.tick, &leaves, &joins, told_cells, &mut record);
        self.hear(&record, told, &cells);
        self.last = (before, record);
    }

    /// Moves everybody who has not just joined.
    fn walk(&mut self, joins: &[Join], how: u8, source: &mut Source<'_>) {
        let by = source.offset();
        let origin = self.track.origin();
        for (name, cell) in self.model.values_mut() {
            if joins.iter().any(|join| join.name == *name) {
                continue;
            }
            // The same way for all, or each its own.
            let by = if how & 2 == 0 { by } else { source.offset() };
            for axis in 0..3 {
                if axis != 1 || how & 4 == 4 {
                    let offset = cell[axis] - origin[axis] + by[axis];
                    cell[axis] = origin[axis] + offset.clamp(-CELL_OFFSET_MAX, CELL_OFFSET_MAX);
                }
            }
        }
    }

    fn hear(&mut self, record: &[u8], told: bool, cells: &[[i32; 3]]) {
        let applied = self.reader.apply(self.tick, record).expect("a record");
        assert_eq!(applied.told, told);
        assert_eq!(self.reader, self.track);
        assert!(self.reader.names().iter().eq(self.model.values().map(|(name, _)| name)));
        if told {
            for (place, cell) in cells.iter().enumerate() {
                // Who was told 65,536 ticks ago counts as told just now.
                assert!(self.reader.cell(place, 0) == *cell || self.reader.age(place, 0, self.tick) == 0);
            }
        }
        if let Some(newcomer) = &mut self.newcomer {
            let heard = newcomer.apply(self.tick, record).expect("a record");
            assert_eq!(heard, applied);
            let mut keyframes = [Vec::new(), Vec::new()];
            newcomer.keyframe(self.tick, &mut keyframes[0]);
            self.track.keyframe(self.tick, &mut keyframes[1]);
            assert_eq!(keyframes[0], keyframes[1], "but for the oldest cells they are equal");
        }
    }

    fn let_a_newcomer_in(&mut self) {
        self.newcomer = Some(self.keyframe());
    }

    /// The newest record with some of its bytes changed.
    fn hear_noise(&mut self, source: &mut Source<'_>) {
        let (mut track, mut record) = self.last.clone();
        for _ in 0..=source.byte() % 4 {
            let at = usize::from(source.u16()) % record.len();
            record[at] ^= source.byte();
        }
        record.truncate(record.len() - usize::from(source.byte() % 3).min(record.len()));
        hear(&mut track, self.tick, &record);

        let mut keyframe = Vec::new();
        self.track.keyframe(self.tick, &mut keyframe);
        for _ in 0..=source.byte() % 4 {
            let at = usize::from(source.u16()) % keyframe.len();
            keyframe[at] ^= source.byte();
        }
        if let Ok(track) = Track::from_keyframe(self.tick, &keyframe) {
            look_at(&track, self.tick);
        }
    }

    /// Bytes that nobody wrote.
    fn hear_junk(&mut self, source: &mut Source<'_>) {
        let length = usize::from(source.byte()).min(source.0.len());
        let (junk, rest) = source.0.split_at(length);
        source.0 = rest;
        hear(&mut self.reader.clone(), self.tick, junk);
        if let Ok(mut track) = Track::from_keyframe(self.tick, junk) {
            look_at(&track, self.tick);
            hear(&mut track, self.tick, rest);
        }
    }
}

fn hear(track: &mut Track, tick: Tick, record: &[u8]) {
    if track.apply(tick, record).is_ok() {
        look_at(track, tick);
    }
    assert!(track.len() <= TRACK_MEMBERS_MAX);
}

/// That a track which was read can be used as any other.
fn look_at(track: &Track, tick: Tick) {
    assert!(track.len() <= TRACK_MEMBERS_MAX && track.names().is_sorted_by(|a, b| a.slot < b.slot));
    assert_eq!(track.bounds().is_some(), !track.is_empty());
    for place in 0..track.len() {
        for i in 0..track.samples(place) {
            let _ = (track.position(place, i), track.age(place, i, tick));
        }
    }
    let mut keyframe = Vec::new();
    track.keyframe(tick, &mut keyframe);
    let read = Track::from_keyframe(tick, &keyframe).expect("what was read can be written");
    let mut again = Vec::new();
    read.keyframe(tick, &mut again);
    assert_eq!(again, keyframe);
}
