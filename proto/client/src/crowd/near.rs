//! Those of a crowd who are near: told every tick, to 1/64 m.
//!
//! Near states come in chunks, one for each small square, and all clients near a square are told the same chunk. So a
//! chunk is kept as it is for some ticks ([`NearChunk`]), shared where one process holds many clients, and nothing is
//! kept per subject: where somebody is, and was, is looked up in the chunks when it is asked for.
//!
//! Cost: of a client's ten chunks a tick, an entry each; a look-up is one bit per tick kept for those who are not near,
//! and a search in a chunk or two for those who are.
//!
//! **Which moment is shown.** A near subject is shown [`NEAR_DELAY_TICKS`] late, one of the crowd a period and a tick,
//! and a subject that goes from one to the other must neither jump nor run backwards. So it is shown on one line
//! through all that is known of it, near states where there are some and the track's cells before and behind them, and
//! only the moment on that line differs: when near states begin, it catches up by half a tick per tick; when they end,
//! it waits at the last one until the crowd's moment has come there. Chunks are kept for so long, though the subject
//! counts as one of the crowd again as soon as a newer tick was heard of without it.

use crate::limits::NEAR_MAX;
use crate::motion::{Motion, NEAR_DELAY_TICKS, Refused, Shown};
use myriad_wire::codec::CodecError;
use myriad_wire::crowd::SAMPLES;
use myriad_wire::limits::SLOT_REST_TICKS;
use myriad_wire::track::{Level, VERSION_TICKS, decode_chunk};
use myriad_wire::{LaneHandle, Pos, Slot, SubjectRef, Tick};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A near state that comes more than so many ticks late is of no use: its slot may have had another life.
pub(crate) const NEAR_TICKS: u64 = 4;
/// Ticks after which an identity is asked for again.
const ASK_AGAIN_TICKS: u32 = 16;
/// Most subjects that wait to be asked for because something of them has changed.
const CHANGED_MAX: usize = 256;
/// By how much the moment shown catches up, in ticks per tick.
const CATCH_UP: f64 = 0.5;
/// Most ticks beyond the newest cell for which movement is assumed to go on.
const EXTRAPOLATION_TICKS_MAX: f64 = 4.0;
/// Most ticks for which chunks are kept. Longer ago, a slot may have been somebody else's.
const KEPT_TICKS_MAX: u64 = 48;
const _: () = assert!(KEPT_TICKS_MAX + NEAR_TICKS < SLOT_REST_TICKS);
/// Chunks of a tick, most often.
const CHUNKS_USUAL: usize = 12;
/// Near states that a subject is shown between: with the crowd's delay, the moment shown lies behind so many.
const STATES_MAX: usize = 12;

/// Near states of a tick: one chunk. A pure function of its bytes and its tick.
#[derive(Debug, PartialEq, Eq)]
pub struct NearChunk {
    tick: Tick,
    lane: LaneHandle,
    filter: Filter<4>,
    /// Ascending.
    slots: Box<[Slot]>,
    positions: Box<[Pos]>,
    /// Versions of properties that were told, and whether because they had changed.
    versions: Box<[(Slot, u8, bool)]>,
}

/// Which slots there may be: one bit for some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Filter<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Filter<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Filter<WORDS> {
    fn bit(slot: Slot) -> (usize, u64) {
        let mixed = slot.0.wrapping_mul(0x9e37_79b9);
        ((mixed >> 26) as usize % WORDS, 1 << (mixed >> 20 & 63))
    }

    fn insert(&mut self, slot: Slot) {
        let (word, bit) = Self::bit(slot);
        self.0[word] |= bit;
    }

    fn may_hold(&self, slot: Slot) -> bool {
        let (word, bit) = Self::bit(slot);
        self.0[word] & bit != 0
    }
}

impl NearChunk {
    /// Reads a chunk of `tick`.
    ///
    /// # Errors
    /// If the bytes are no chunk.
    pub fn from_bytes(tick: Tick, lane: LaneHandle, chunk: &[u8]) -> Result<Self, CodecError> {
        let count = chunk.get(1).map_or(0, |count| usize::from(*count) + 1);
        let (mut slots, mut positions) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut versions, mut filter) = (Vec::new(), Filter::default());
        decode_chunk(chunk, |state| {
            slots.push(state.slot);
            positions.push(state.position);
            filter.insert(state.slot);
            if let Some(version) = state.version {
                let turn = (tick.0.wrapping_add(u64::from(state.slot.0))).is_multiple_of(VERSION_TICKS);
                versions.push((state.slot, version, !turn));
            }
        })?;
        Ok(Self {
            tick,
            lane,
            filter,
            slots: slots.into_boxed_slice(),
            positions: positions.into_boxed_slice(),
            versions: versions.into_boxed_slice(),
        })
    }

    /// The tick whose states these are.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The lane whose slots these are.
    #[must_use]
    pub fn lane(&self) -> LaneHandle {
        self.lane
    }

    /// Whose states these are, ascending.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Where they are, in the same order.
    #[must_use]
    pub fn positions(&self) -> &[Pos] {
        &self.positions
    }

    /// Where the one in `slot` is, if it is among them.
    #[must_use]
    pub fn position(&self, slot: Slot) -> Option<Pos> {
        if !self.filter.may_hold(slot) {
            return None;
        }
        let at = self.slots.binary_search(&slot).ok()?;
        Some(self.positions[at])
    }

    /// Versions of properties to be heard: all that have changed, and of the others each every second time.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (Slot, u8)> {
        let round = self.tick.0 / VERSION_TICKS;
        let due = move |slot: Slot| (round ^ u64::from(slot.0)) & 1 == 0;
        let versions = self.versions.iter();
        versions.filter_map(move |(slot, version, has_changed)| {
            (*has_changed || due(*slot)).then_some((*slot, *version))
        })
    }
}

/// The chunks of a tick.
#[derive(Debug)]
struct TickChunks {
    tick: Tick,
    chunks: Vec<Arc<NearChunk>>,
    /// States in all of them.
    states: usize,
    finder: Finder,
}

/// Which of a tick's chunks may hold a slot.
#[derive(Debug)]
struct Finder([u8; Self::LEN]);

enum Found {
    Nowhere,
    /// In this one or in none.
    Maybe(usize),
    /// In any.
    Any,
}

impl Finder {
    const LEN: usize = 512;
    const NOWHERE: u8 = u8::MAX;
    const ANY: u8 = u8::MAX - 1;

    fn entry(slot: Slot) -> usize {
        (slot.0.wrapping_mul(0x9e37_79b9) >> 23) as usize % Self::LEN
    }

    fn insert(&mut self, slot: Slot, chunk: usize) {
        let chunk = u8::try_from(chunk).unwrap_or(Self::ANY).min(Self::ANY);
        let entry = &mut self.0[Self::entry(slot)];
        *entry = match *entry {
            Self::NOWHERE => chunk,
            other if other == chunk => chunk,
            _ => Self::ANY,
        };
    }

    fn find(&self, slot: Slot) -> Found {
        match self.0[Self::entry(slot)] {
            Self::NOWHERE => Found::Nowhere,
            Self::ANY => Found::Any,
            chunk => Found::Maybe(usize::from(chunk)),
        }
    }
}

impl TickChunks {
    fn new(tick: Tick) -> Self {
        Self {
            tick,
            chunks: Vec::with_capacity(CHUNKS_USUAL),
            states: 0,
            finder: Finder([Finder::NOWHERE; Finder::LEN]),
        }
    }

    fn insert(&mut self, chunk: Arc<NearChunk>) {
        for slot in &chunk.slots {
            self.finder.insert(*slot, self.chunks.len());
        }
        self.states += chunk.slots.len();
        self.chunks.push(chunk);
    }

    fn position(&self, lane: LaneHandle, slot: Slot) -> Option<Pos> {
        let in_chunk = |chunk: &Arc<NearChunk>| chunk.position(slot).filter(|_| chunk.lane == lane);
        match self.finder.find(slot) {
            Found::Nowhere => None,
            Found::Maybe(chunk) => in_chunk(&self.chunks[chunk]),
            Found::Any => self.chunks.iter().find_map(in_chunk),
        }
    }
}

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
    /// Whose identity was asked for, and the low half of the tick.
    asked: FxHashMap<SubjectRef, u32>,
    /// Whose properties have changed since they were told.
    changed: VecDeque<SubjectRef>,
    /// Where among the near ones the next is looked at, whether it is known.
    turn: usize,
}

/// A cell or state on the way of a subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waypoint {
    pub(crate) tick: f64,
    pub(crate) position: Pos,
}

/// The near states of one subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct States {
    /// Newest first; the first `count` are valid.
    states: [Waypoint; STATES_MAX],
    count: usize,
    /// From when on the moment shown catches up: a tick with its fraction.
    since: f64,
}

impl Near {
    /// Takes a chunk in.
    pub(crate) fn insert(&mut self, chunk: Arc<NearChunk>) -> Result<(), Refused> {
        if self.newest.since(chunk.tick) > NEAR_TICKS {
            return Err(Refused::Stale);
        }
        let at = self.ticks.partition_point(|held| held.tick > chunk.tick);
        if self.ticks.get(at).is_none_or(|held| held.tick != chunk.tick) {
            self.ticks.insert(at, TickChunks::new(chunk.tick));
        }
        let held = &mut self.ticks[at];
        if chunk
            .slots
            .iter()
            .any(|slot| held.position(chunk.lane, *slot).is_some())
        {
            return Err(Refused::Duplicate);
        }
        if held.states + chunk.slots.len() > NEAR_MAX {
            return Err(Refused::Stale);
        }
        chunk.slots.iter().for_each(|slot| self.anywhen[0].insert(*slot));
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
        let mut samples = self.samples(subject).peekable();
        samples.peek()?;
        let mut states = [Waypoint {
            tick: 0.0,
            position: Pos::default(),
        }; STATES_MAX];
        let (mut count, mut runs) = (0, Runs::default());
        for (tick, position) in samples {
            if let Some(place) = states.get_mut(count) {
                *place = Waypoint {
                    tick: tick.0 as f64,
                    position,
                };
                count += 1;
            }
            runs.add(tick.0 as f64);
            if runs.is_settled(period) {
                break;
            }
        }
        // Who had near states before the crowd was shown as late as near ones are.
        let began = self.resumed(subject).map(|_| 0.0);
        Some(States {
            states,
            count,
            since: runs.since(began, period),
        })
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
            match chunk.slots.get(at) {
                Some(slot) => return Some((chunk.lane, *slot)),
                None => at -= chunk.slots.len(),
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
        if now.is_multiple_of(ASK_AGAIN_TICKS) {
            self.asked.retain(|_, asked| rests(*asked));
        }
        self.asked.insert(subject, now);
        true
    }
}

/// The runs of ticks of a subject's states, from the newest back: between two of them more than
/// [`NEAR_DELAY_TICKS`] are missing.
#[derive(Default)]
struct Runs {
    /// First and last tick of each, newest first; of older ones than these nothing is shown any more.
    runs: [(f64, f64); 4],
    count: usize,
}

impl Runs {
    fn add(&mut self, tick: f64) {
        if let Some((first, _)) = self.count.checked_sub(1).and_then(|last| self.runs.get_mut(last))
            && *first - tick <= NEAR_DELAY_TICKS as f64
        {
            *first = tick;
        } else {
            if let Some(run) = self.runs.get_mut(self.count) {
                *run = (tick, tick);
            }
            self.count += 1;
        }
    }

    /// The moment shown has caught up, and lies behind the first state looked at: no older ones matter.
    fn is_settled(&self, period: u32) -> bool {
        let (first, last) = self.runs[0];
        let caught_up = (crowd_delay(period) - NEAR_DELAY_TICKS as f64) / CATCH_UP;
        self.count == 1 && last - first >= caught_up.max(NEAR_DELAY_TICKS as f64 + 1.0)
    }

    /// From when on the moment shown catches up: from the first state on, or `began`, and after a gap from where the
    /// subject has been shown in the meantime.
    fn since(&self, began: Option<f64>, period: u32) -> f64 {
        let known = &self.runs[..self.count.min(self.runs.len())];
        let mut before: Option<(f64, f64)> = None;
        for (first, last) in known.iter().rev() {
            let since = match before {
                None => began.unwrap_or(*first),
                Some((since, ended)) => {
                    let delay = first - moment(*first, ended, since, period);
                    first - (crowd_delay(period) - delay) / CATCH_UP
                }
            };
            before = Some((since, *last));
        }
        before.map_or(0.0, |(since, _)| since)
    }
}

/// For so long the moment shown may lie before the crowd's first cell behind the near states.
fn kept_ticks(period: u32) -> u64 {
    (2 * u64::from(period) + 2).clamp(NEAR_TICKS, KEPT_TICKS_MAX)
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
pub(crate) fn shown(cells: &[Waypoint], near: Option<&States>, now: f64, period: u32) -> Shown {
    let Some(near) = near else {
        let tick = now - crowd_delay(period);
        let beyond = f64::from(period).min(EXTRAPOLATION_TICKS_MAX);
        return along(cells, tick, beyond);
    };
    let states = &near.states[..near.count];
    // Between states that do not follow each other the track's cells know better.
    let apart = |pair: &[Waypoint]| pair[0].tick - pair[1].tick > NEAR_DELAY_TICKS as f64;
    let run = states
        .windows(2)
        .position(apart)
        .map_or(states.len(), |at| at + 1);
    let states = &states[..run];
    let (last, first) = (states[0].tick, states[run - 1].tick);
    let mut way = [cells[0]; STATES_MAX + SAMPLES];
    let newer = cells.iter().filter(|cell| cell.tick > last);
    let older = cells.iter().filter(|cell| cell.tick < first);
    let mut length = 0;
    for waypoint in newer.chain(states).chain(older) {
        way[length] = *waypoint;
        length += 1;
    }
    let tick = moment(now, last, near.since, period);
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
