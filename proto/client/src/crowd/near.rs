//! Those of a crowd who are near: told every tick, to 1/64 m.
//!
//! Cost: some hundred states per client and tick, so a client's table is a few short lists in the order of slots, as the
//! states of a chunk are: one pass over both finds them.
//!
//! **Which moment is shown.** A near subject is shown [`NEAR_DELAY_TICKS`] late, one of the crowd a period and a tick,
//! and a subject that goes from one to the other must neither jump nor run backwards. So it is shown on one line
//! through all that is known of it, near states where there are some and the track's cells before and behind them, and
//! only the moment on that line differs: when near states begin, it catches up by half a tick per tick; when they end,
//! it waits at the last one until the crowd's moment has come there. The entry is kept for so long, though the subject
//! counts as one of the crowd again as soon as a newer tick was heard of without it.

use crate::limits::NEAR_MAX;
use crate::motion::{Motion, NEAR_DELAY_TICKS, Refused, Shown};
use myriad_wire::track::Level;
use myriad_wire::{Generation, LaneHandle, Pos, Slot, SubjectRef, Tick};

/// A near state that comes more than so many ticks late is of no use: its slot may have had another life.
pub(crate) const NEAR_TICKS: u64 = 4;
/// Ticks after which an identity is asked for again.
const ASK_AGAIN_TICKS: u32 = 16;
/// Ticks between two looks for those of whom nothing comes any more.
const SWEEP_TICKS: u64 = 4;
/// By how much the moment shown catches up, in ticks per tick.
const CATCH_UP: f64 = 0.5;
/// Most ticks beyond the newest cell for which movement is assumed to go on.
const EXTRAPOLATION_TICKS_MAX: f64 = 4.0;

/// What of a near subject few states touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) generation: Generation,
    /// The version of its properties that was heard last.
    pub(crate) version: Option<u8>,
    /// Its identity is known, and the version heard is that of the properties known.
    pub(crate) is_known: bool,
    /// The low half of the tick in which its identity was asked for.
    asked: Option<u32>,
    /// From when on the moment shown catches up: a tick with its fraction.
    since: f64,
}

/// The near subjects of one client.
#[derive(Debug, Default)]
pub(crate) struct Near {
    /// Ascending, no duplicates. The other lists go along.
    keys: Vec<u64>,
    motions: Vec<Motion>,
    notes: Vec<Note>,
    /// Of the one whose identity was asked for last.
    asked_last: u64,
    /// When those of whom nothing came were looked for last.
    swept: Tick,
}

/// One near subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) motion: &'a Motion,
    note: &'a Note,
}

/// A cell or state on the way of a subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waypoint {
    pub(crate) tick: f64,
    pub(crate) position: Pos,
}

fn key(lane: LaneHandle, slot: Slot) -> u64 {
    u64::from(lane.0) << 32 | u64::from(slot.0)
}

fn subject(key: u64, note: &Note) -> SubjectRef {
    SubjectRef {
        lane: LaneHandle((key >> 32) as u8),
        slot: Slot(key as u32),
        generation: note.generation,
    }
}

/// Ticks since the newest state.
fn age(motion: &Motion, newest: Tick) -> u64 {
    newest.since(motion.tick(newest))
}

impl Near {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    fn at(&self, lane: LaneHandle, slot: Slot) -> Option<usize> {
        self.keys.binary_search(&key(lane, slot)).ok()
    }

    pub(crate) fn get(&self, lane: LaneHandle, slot: Slot) -> Option<Entry<'_>> {
        let at = self.at(lane, slot)?;
        Some(Entry {
            motion: &self.motions[at],
            note: &self.notes[at],
        })
    }

    /// The note of the one at a place.
    pub(crate) fn note_mut(&mut self, at: usize) -> &mut Note {
        &mut self.notes[at]
    }

    pub(crate) fn note_of(&mut self, lane: LaneHandle, slot: Slot) -> Option<&mut Note> {
        let at = self.at(lane, slot)?;
        Some(&mut self.notes[at])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SubjectRef, Entry<'_>)> {
        let all = self.keys.iter().zip(self.motions.iter().zip(&self.notes));
        all.map(|(key, (motion, note))| (subject(*key, note), Entry { motion, note }))
    }

    pub(crate) fn remove(&mut self, lane: LaneHandle, slot: Slot) -> Option<Motion> {
        let at = self.at(lane, slot)?;
        self.keys.remove(at);
        self.notes.remove(at);
        Some(self.motions.remove(at))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes in somebody of whom states were known before the crowd.
    pub(crate) fn resume(&mut self, subject: SubjectRef, motion: Motion) {
        let key = key(subject.lane, subject.slot);
        if let Err(at) = self.keys.binary_search(&key)
            && self.keys.len() < NEAR_MAX
        {
            // It was shown as late as near ones are.
            self.insert(at, key, motion, Note::new(subject.generation, 0.0));
        }
    }

    fn insert(&mut self, at: usize, key: u64, motion: Motion, note: Note) {
        self.keys.insert(at, key);
        self.motions.insert(at, motion);
        self.notes.insert(at, note);
    }

    /// Where the slot's subject is. `from` is where the one before it in the chunk was looked for, or 0; afterwards
    /// where this one is, or would be.
    #[inline]
    pub(crate) fn find(&self, (lane, slot): (LaneHandle, Slot), from: &mut usize) -> Option<usize> {
        let key = key(lane, slot);
        while self.keys.get(*from).is_some_and(|other| *other < key) {
            *from += 1;
        }
        (self.keys.get(*from) == Some(&key)).then_some(*from)
    }

    /// The one at a place gets a state.
    #[inline]
    pub(crate) fn apply(&mut self, at: usize, tick: Tick, position: Pos, period: u32) -> Result<(), Refused> {
        let motion = &mut self.motions[at];
        let last = motion.tick(tick);
        motion.apply(tick.0 as u32, Level::NEAR, position)?;
        if tick.since(last) > NEAR_DELAY_TICKS {
            // From where it has been shown in the meantime.
            let (now, note) = (tick.0 as f64, &mut self.notes[at]);
            let delay = now - moment(now, last.0 as f64, note.since, period);
            note.since = now - (crowd_delay(period) - delay) / CATCH_UP;
        }
        Ok(())
    }

    /// Takes in a subject at its place, with its first state. `false` if there are too many.
    #[cold]
    pub(crate) fn begin(&mut self, at: usize, subject: SubjectRef, tick: Tick, position: Pos) -> bool {
        if self.keys.len() >= NEAR_MAX {
            return false;
        }
        let key = key(subject.lane, subject.slot);
        let motion = Motion::of_state(tick, Level::NEAR, position);
        self.insert(at, key, motion, Note::new(subject.generation, tick.0 as f64));
        true
    }

    /// It is `newest`: gives up those of whom nothing came for long. Looks every few ticks.
    pub(crate) fn sweep(&mut self, newest: Tick, period: u32) {
        if newest.since(self.swept) < SWEEP_TICKS {
            return;
        }
        self.swept = newest;
        let keep = |motion: &Motion| age(motion, newest) <= kept_ticks(period);
        if self.motions.iter().all(keep) {
            return;
        }
        let mut kept = 0;
        for i in 0..self.motions.len() {
            if keep(&self.motions[i]) {
                self.motions[kept] = self.motions[i];
                self.notes[kept] = self.notes[i];
                self.keys[kept] = self.keys[i];
                kept += 1;
            }
        }
        self.motions.truncate(kept);
        self.notes.truncate(kept);
        self.keys.truncate(kept);
    }

    /// Up to `count` near subjects whose identity is to be asked for in `newest`. Notes that it is. First those of whom
    /// something else `is_told`, which is wrong now. Goes round, from behind the one that was asked for last: where many
    /// come and go, nobody is passed over.
    pub(crate) fn ask(
        &mut self,
        newest: Tick,
        count: usize,
        is_told: impl Fn(SubjectRef) -> bool,
        out: &mut Vec<SubjectRef>,
    ) {
        let now = newest.0 as u32;
        let rests = |asked| now.wrapping_sub(asked) < ASK_AGAIN_TICKS;
        let first = self.keys.partition_point(|key| *key <= self.asked_last);
        let mut others = Vec::new();
        for i in (first..self.keys.len()).chain(0..first) {
            let note = &self.notes[i];
            if note.is_known || note.asked.is_some_and(rests) || age(&self.motions[i], newest) > NEAR_TICKS {
                continue;
            }
            if !is_told(subject(self.keys[i], note)) {
                others.push(i);
            } else if out.len() < count {
                self.notes[i].asked = Some(now);
                out.push(subject(self.keys[i], &self.notes[i]));
            }
        }
        for i in others.into_iter().take(count.saturating_sub(out.len())) {
            self.notes[i].asked = Some(now);
            self.asked_last = self.keys[i];
            out.push(subject(self.keys[i], &self.notes[i]));
        }
    }
}

impl Note {
    fn new(generation: Generation, since: f64) -> Self {
        Self {
            generation,
            version: None,
            is_known: false,
            asked: None,
            since,
        }
    }
}

impl Entry<'_> {
    /// Its state of the newest tick heard of has come. Else it is one of the crowd, whatever came before: staler than a
    /// tick nobody is near.
    pub(crate) fn is_near(&self, newest: Tick) -> bool {
        age(self.motion, newest) == 0
    }
}

/// For so long the moment shown may lie before the crowd's first cell behind the near states.
fn kept_ticks(period: u32) -> u64 {
    NEAR_TICKS.max(2 * u64::from(period) + 2)
}

/// By how many ticks members of tracks are shown late: for the next telling, and jitter.
pub(crate) fn crowd_delay(period: u32) -> f64 {
    f64::from(period) + 1.0
}

/// The moment shown of a subject whose newest near state is of `newest`, and whose near states began in `since`.
fn moment(now: f64, newest: f64, since: f64, period: u32) -> f64 {
    let crowd = crowd_delay(period);
    let delay =
        (crowd - (now - since) * CATCH_UP).clamp(NEAR_DELAY_TICKS as f64, crowd.max(NEAR_DELAY_TICKS as f64));
    (now - delay).min(newest.max(now - crowd))
}

/// Where a member of a track is shown at `now`. `cells` are the track's, newest first, at least one; `near` what is
/// known of it as a near one.
pub(crate) fn shown(
    cells: &[Waypoint],
    near: Option<Entry<'_>>,
    newest: Tick,
    now: f64,
    period: u32,
) -> Shown {
    let Some(entry) = near else {
        let tick = now - crowd_delay(period);
        let beyond = f64::from(period).min(EXTRAPOLATION_TICKS_MAX);
        return along(cells, tick, beyond);
    };
    let mut states = [cells[0]; 3];
    let mut count = 0;
    for (tick, position) in entry.motion.samples(newest) {
        states[count] = Waypoint {
            tick: tick.0 as f64,
            position,
        };
        count += 1;
    }
    // Between states that do not follow each other the track's cells know better.
    let apart = |pair: &[Waypoint]| pair[0].tick - pair[1].tick > NEAR_DELAY_TICKS as f64;
    let run = states[..count]
        .windows(2)
        .position(apart)
        .map_or(count, |at| at + 1);
    let states = &states[..run];
    let (last, first) = (states[0].tick, states[run - 1].tick);
    let mut way = [cells[0]; 6];
    let newer = cells.iter().filter(|cell| cell.tick > last);
    let older = cells.iter().filter(|cell| cell.tick < first);
    let mut length = 0;
    for waypoint in newer.chain(states).chain(older) {
        way[length] = *waypoint;
        length += 1;
    }
    let tick = moment(now, last, entry.note.since, period);
    let follow = |pair: &[Waypoint]| {
        pair[0].tick - pair[1].tick <= 1.0 && (pair[1].tick..=pair[0].tick).contains(&tick)
    };
    let is_newest = tick >= last && way[0].tick == last;
    Shown {
        near: is_newest || states.windows(2).any(follow),
        ..along(&way[..length], tick, 0.0)
    }
}

/// On the line through `way`, newest first, and up to `beyond` ticks straight on.
fn along(way: &[Waypoint], tick: f64, beyond: f64) -> Shown {
    let last = way[0];
    let extrapolated = tick > last.tick;
    let pair = if extrapolated && beyond > 0.0 {
        way.first().zip(way.get(1))
    } else {
        way.windows(2)
            .map(|pair| (&pair[0], &pair[1]))
            .find(|(_, older)| tick >= older.tick)
    };
    let position = match pair {
        Some((newer, older)) => {
            let reach = if extrapolated { beyond } else { 0.0 };
            let span = (newer.tick - older.tick).max(1.0);
            between(older, newer, (tick.min(newer.tick + reach) - older.tick) / span)
        }
        None if extrapolated => last.position,
        None => way[way.len() - 1].position,
    };
    Shown {
        position,
        tick,
        extrapolated,
        near: false,
    }
}

fn between(older: &Waypoint, newer: &Waypoint, at: f64) -> Pos {
    let axis = |a: i32, b: i32| (f64::from(a) + (f64::from(b) - f64::from(a)) * at).round() as i32;
    Pos {
        x: axis(older.position.x, newer.position.x),
        y: axis(older.position.y, newer.position.y),
        z: axis(older.position.z, newer.position.z),
    }
}
