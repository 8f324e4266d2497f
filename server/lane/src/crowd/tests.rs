use super::*;
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::limits::SLOT_REST_TICKS;
use myriad_wire::{EntityId, Incarnation, KindId, Pos};
use myriad_world::Handle;
use proptest::prelude::*;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::SeedableRng as _;

/// The lane's own epoch, and that of another whose entities are in the [`World`], too: those with some of the slots from
/// `OTHERS_FROM` on.
const ISSUERS: [LaneEpoch; 2] = [LaneEpoch(5), LaneEpoch(9)];
const OTHERS_FROM: u32 = 600;

fn name_of(slot: u32, generation: u16) -> EntityName {
    EntityName {
        issuer: ISSUERS[0],
        slot: Slot(slot),
        generation: Generation(generation),
    }
}

fn subject(slot: u32, generation: u16, layers: u32, position: Pos) -> Subject {
    Subject {
        handle: Handle {
            slot: Slot(slot),
            generation: Generation(generation),
        },
        name: name_of(slot, generation),
        entity: EntityId::new(Incarnation(1), u64::from(slot)),
        kind: KindId(slot.is_multiple_of(3).into()),
        layers,
        position,
    }
}

fn metres(x: f64, z: f64) -> Pos {
    let unit = |metres: f64| (metres * f64::from(UNITS_PER_METRE)) as i32;
    Pos {
        x: unit(x),
        y: 0,
        z: unit(z),
    }
}

/// Who reads every frame from some tick on.
#[derive(Default)]
struct Reader {
    tracks: BTreeMap<TrackId, (u32, Track)>,
    ended: BTreeMap<TrackId, Tick>,
    /// Of leaves and joins, and of everything.
    membership_bytes: usize,
    bytes: usize,
    joins: usize,
    states: usize,
}

impl Reader {
    fn of_keyframes(now: Tick, records: &[CrowdRecord]) -> Self {
        let mut reader = Self::default();
        assert!(records.iter().all(|record| record.form == Form::Keyframe));
        reader.read(now, records);
        reader
    }

    fn read(&mut self, now: Tick, records: &[CrowdRecord]) {
        assert!(
            records.is_sorted_by(|a, b| a.track < b.track),
            "ascending, one of each"
        );
        for record in records {
            self.bytes += record.bytes.len();
            match record.form {
                Form::Keyframe => {
                    let track = Track::from_keyframe(now, &record.bytes).expect("a keyframe");
                    let ended = self.ended.remove(&record.track);
                    assert!(ended.is_none_or(|ended| now.since(ended) >= SLOT_REST_TICKS));
                    self.membership_bytes += record.bytes.len();
                    self.joins += track.len();
                    let known = self.tracks.insert(record.track, (record.layers, track));
                    assert!(known.is_none(), "a track begins once");
                }
                Form::Delta => {
                    let (layers, track) = self.tracks.get_mut(&record.track).expect("a known track");
                    assert_eq!(*layers, record.layers);
                    let mut before = track.clone();
                    let applied = track.apply(now, &record.bytes).expect("a delta");
                    assert!(applied != Default::default(), "something is in it");
                    let joins: Vec<Join> = applied
                        .joined
                        .iter()
                        .map(|name| join_of(track, *name, now))
                        .collect();
                    let leaves: Vec<Slot> = applied.left.iter().map(|name| name.slot).collect();
                    if !(joins.is_empty() && leaves.is_empty()) {
                        let mut bytes = Vec::new();
                        before.tell(now, &leaves, &joins, None, &mut bytes);
                        self.membership_bytes += bytes.len();
                    }
                    self.joins += joins.len();
                    self.states += applied.states as usize - joins.len();
                }
                Form::Drop => {
                    let known = self.tracks.remove(&record.track).expect("a known track");
                    assert_eq!(known.0, record.layers);
                    assert!(record.bytes.is_empty());
                    self.ended.insert(record.track, now);
                }
                Form::Events => panic!("a lane tells events otherwise"),
            }
        }
    }

    /// What a keyframe of each track would say: all but the oldest cells.
    fn whole(&self, now: Tick) -> Vec<(TrackId, u32, Vec<u8>)> {
        let whole = |(id, (layers, track)): (&TrackId, &(u32, Track))| {
            let mut bytes = Vec::new();
            track.keyframe(now, &mut bytes);
            (*id, *layers, bytes)
        };
        self.tracks.iter().map(whole).collect()
    }
}

fn join_of(track: &Track, name: Name, now: Tick) -> Join {
    let place = track.place(name.slot).expect("just joined");
    let before = (track.samples(place) > 1).then(|| (track.cell(place, 1), track.age(place, 1, now)));
    Join {
        name,
        cell: track.cell(place, 0),
        before,
    }
}

/// The true state of the world in each tick so far.
struct World {
    crowd: Crowd,
    subjects: Vec<Subject>,
    now: Tick,
    generation: u16,
    /// Ages of cells before the newest may have wrapped.
    has_long_jump: bool,
    history: BTreeMap<Tick, BTreeMap<Name, [i32; 3]>>,
}

#[derive(Clone, Debug)]
enum Act {
    Spawn {
        first: u32,
        gap: u32,
        count: u32,
        layers: u32,
        at: Pos,
    },
    Despawn {
        first: usize,
        count: usize,
    },
    /// The same slot at once another life.
    Replace {
        first: usize,
        count: usize,
    },
    Walk {
        by: i32,
    },
    Teleport {
        first: usize,
        count: usize,
        to: Pos,
    },
    Layers {
        first: usize,
        count: usize,
        layers: u32,
    },
}

fn place() -> impl Strategy<Value = Pos> {
    let near = || -90 * UNITS_PER_METRE..90 * UNITS_PER_METRE;
    let far = || {
        prop_oneof![
            any::<i32>(),
            Just(i32::MIN),
            Just(i32::MAX),
            -9_000_000..9_000_000i32
        ]
    };
    prop_oneof![
        8 => (near(), Just(0), near()).prop_map(|(x, y, z)| Pos { x, y, z }),
        1 => (far(), far(), far()).prop_map(|(x, y, z)| Pos { x, y, z }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let some = || (any::<usize>(), 1..40usize);
    prop_oneof![
        3 => (0..900u32, 1..4u32, prop_oneof![3 => 1..60u32, 1 => 200..600u32], 1..3u32, place())
            .prop_map(|(first, gap, count, layers, at)| Act::Spawn { first, gap, count, layers, at }),
        2 => some().prop_map(|(first, count)| Act::Despawn { first, count }),
        1 => (any::<usize>(), 200..500usize).prop_map(|(first, count)| Act::Despawn { first, count }),
        1 => some().prop_map(|(first, count)| Act::Replace { first, count }),
        4 => (-40..40i32).prop_map(|metres| Act::Walk { by: metres * UNITS_PER_METRE }),
        2 => (some(), place()).prop_map(|((first, count), to)| Act::Teleport { first, count, to }),
        1 => (some(), 1..4u32).prop_map(|((first, count), layers)| Act::Layers { first, count, layers }),
    ]
}

/// Acts, and after how many ticks.
fn step() -> impl Strategy<Value = (u64, Vec<Act>)> {
    let ticks = prop_oneof![12 => Just(1u64), 2 => 2..20u64, 1 => 60..500u64, 1 => 15_000..140_000u64];
    (ticks, prop::collection::vec(act(), 0..3))
}

impl World {
    fn new(period: u64, ids: u32) -> Self {
        Self {
            crowd: Crowd::with_ids(period, Ids::with_count(ids)),
            subjects: Vec::new(),
            now: Tick(65_000),
            generation: 0,
            has_long_jump: false,
            history: BTreeMap::new(),
        }
    }

    fn some(&mut self, first: usize, count: usize) -> std::ops::Range<usize> {
        let first = first % self.subjects.len().max(1);
        first..(first + count).min(self.subjects.len())
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Spawn {
                first,
                gap,
                count,
                layers,
                at,
            } => {
                self.generation += 1;
                for i in 0..count {
                    let slot = first + i * gap;
                    let of = |name: EntityName| (name.issuer, name.slot);
                    let issuer = ISSUERS[usize::from(slot >= OTHERS_FROM && slot.is_multiple_of(2))];
                    let key = (issuer, Slot(slot));
                    let Err(place) = self.subjects.binary_search_by_key(&key, |s| of(s.name)) else {
                        continue;
                    };
                    let position = Pos {
                        x: at.x.saturating_add((i as i32 % 20) * UNITS_PER_METRE),
                        z: at.z.saturating_add((i as i32 / 20) * UNITS_PER_METRE),
                        ..at
                    };
                    let mut new = subject(slot, self.generation, layers, position);
                    new.name.issuer = issuer;
                    self.subjects.insert(place, new);
                }
            }
            Act::Despawn { first, count } => {
                let some = self.some(first, count);
                self.subjects.drain(some);
            }
            Act::Replace { first, count } => {
                self.generation += 1;
                let some = self.some(first, count);
                for subject in &mut self.subjects[some] {
                    subject.name.generation = Generation(self.generation);
                }
            }
            Act::Walk { by } => {
                for subject in &mut self.subjects {
                    let turn = subject.name.slot.0 % 4;
                    let [x, z] = [[by, 0], [0, by], [-by / 2, by], [by / 8, 3]][turn as usize];
                    subject.position.x = subject.position.x.saturating_add(x);
                    subject.position.z = subject.position.z.saturating_add(z);
                }
            }
            Act::Teleport { first, count, to } => {
                let some = self.some(first, count);
                for subject in &mut self.subjects[some] {
                    subject.position = to;
                }
            }
            Act::Layers { first, count, layers } => {
                let some = self.some(first, count);
                for subject in &mut self.subjects[some] {
                    subject.layers = layers;
                }
            }
        }
    }

    fn tick(&mut self, ticks: u64, acts: &[Act]) -> Vec<CrowdRecord> {
        self.now = self.now + ticks;
        self.has_long_jump |= ticks >= 15_000;
        for act in acts {
            self.act(act);
        }
        let cells = self
            .subjects
            .iter()
            .map(|subject| (name(subject), home::cell(subject.position)));
        self.history.insert(self.now, cells.collect());
        self.crowd
            .tick(self.now, &self.subjects, &mut Issuers::of(ISSUERS[0]))
    }

    /// That the reader knows everybody once, in a track of the right class, where it was not longer than a period ago.
    fn check(&self, reader: &Reader, unseated: u64) {
        let mut seen = BTreeMap::new();
        for (layers, track) in reader.tracks.values() {
            assert!(!track.is_empty() && track.len() <= TRACK_MEMBERS_MAX);
            for (place, name) in track.names().iter().enumerate() {
                let age = u64::from(track.age(place, 0, self.now));
                assert!(age < self.crowd.period_ticks(), "{age} ticks old");
                let then = &self.history[&Tick(self.now.0 - age)];
                assert_eq!(then.get(name), Some(&track.cell(place, 0)), "{name:?}");
                if track.samples(place) > 1 && !self.has_long_jump {
                    let age = u64::from(track.age(place, 1, self.now));
                    let then = &self.history[&Tick(self.now.0 - age)];
                    assert_eq!(then.get(name), Some(&track.cell(place, 1)), "{name:?} before");
                }
                assert!(seen.insert(*name, *layers).is_none(), "{name:?} is in two tracks");
            }
        }
        let truth: BTreeMap<Name, u32> = self.subjects.iter().map(|s| (name(s), s.layers)).collect();
        let missing = truth.iter().filter(|(name, _)| !seen.contains_key(name)).count();
        assert_eq!(missing as u64, unseated);
        for (name, layers) in seen {
            assert_eq!(
                truth.get(&name),
                Some(&layers),
                "{name:?} is of another class, or gone"
            );
        }
    }
}

fn name(subject: &Subject) -> Name {
    Name {
        slot: subject.name.slot,
        generation: subject.name.generation,
        kind: subject.kind,
    }
}

/// Readers from the start, from `late` on and of keyframes alone all know the same, and that is the truth.
fn check(period: u64, ids: u32, steps: &[(u64, Vec<Act>)], late: usize) -> Totals {
    let mut world = World::new(period, ids);
    let mut reader = Reader::default();
    let mut newcomer: Option<Reader> = None;
    for (i, (ticks, acts)) in steps.iter().enumerate() {
        let before = world.crowd.totals().unseated;
        let records = world.tick(*ticks, acts);
        let unseated = world.crowd.totals().unseated - before;
        reader.read(world.now, &records);
        world.check(&reader, unseated);
        let keyframes = world.crowd.keyframes(world.now, &mut Issuers::of(ISSUERS[0]));
        let of_keyframes = Reader::of_keyframes(world.now, &keyframes);
        assert_eq!(of_keyframes.whole(world.now), reader.whole(world.now));
        if let Some(newcomer) = &mut newcomer {
            newcomer.read(world.now, &records);
            world.check(newcomer, unseated);
            assert_eq!(newcomer.whole(world.now), reader.whole(world.now));
        }
        if i == late {
            newcomer = Some(of_keyframes);
        }
    }
    *world.crowd.totals()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_knows_everybody_once_and_not_longer_than_a_period_ago(
        period in prop_oneof![1..4u64, 10..30u64],
        steps in prop::collection::vec(step(), 1..60),
        late in 0..40usize,
    ) {
        let totals = check(period, u32::MAX, &steps, late);
        prop_assert_eq!((totals.astray, totals.unseated), (0, 0));
    }

    #[test]
    fn when_all_numbers_are_in_use_tracks_take_who_is_far_from_home(
        ids in 1..12u32,
        steps in prop::collection::vec(step(), 1..60),
        late in 0..40usize,
    ) {
        check(5, ids, &steps, late);
    }
}

fn spawn(first: u32, count: u32, layers: u32, at: Pos) -> Act {
    Act::Spawn {
        first,
        gap: 1,
        count,
        layers,
        at,
    }
}

#[test]
fn a_track_too_large_for_one_is_several_of_one_home() {
    let mut world = World::new(10, 100);
    let mut reader = Reader::default();
    reader.read(
        world.now + 1,
        &world.tick(1, &[spawn(0, 600, 1, metres(1.0, 1.0))]),
    );
    let sizes: Vec<usize> = reader.tracks.values().map(|(_, track)| track.len()).collect();
    assert_eq!(sizes, [240, 240, 120]);
}

#[test]
fn who_walks_a_little_outside_stays_and_who_goes_on_moves_with_what_was_told_of_it() {
    let mut world = World::new(4, 100);
    let mut reader = Reader::default();
    let mut go = |world: &mut World, x: f64| {
        let to = metres(x, 1.0);
        let acts = [Act::Teleport {
            first: 0,
            count: 1,
            to,
        }];
        let records = world.tick(1, &acts);
        reader.read(world.now, &records);
        world.check(&reader, 0);
        let has = |(id, (_, track)): (&TrackId, &(u32, Track))| {
            let place = track.place(Slot(0))?;
            Some((*id, track.samples(place)))
        };
        reader.tracks.iter().find_map(has).expect("in a track")
    };
    world.act(&spawn(0, 30, 1, metres(1.0, 1.0)));
    let (first, _) = go(&mut world, 20.0);
    for x in 20..64 {
        assert_eq!(go(&mut world, f64::from(x)).0, first);
    }
    let (mut second, mut samples) = (first, 0);
    for x in 64..80 {
        if second == first {
            (second, samples) = go(&mut world, f64::from(x));
        }
    }
    assert_ne!(second, first, "it has gone too far");
    assert_eq!(samples, 2, "it is known where it came from");
    for x in (33..64).rev() {
        assert_eq!(
            go(&mut world, f64::from(x)).0,
            second,
            "nor does it go back at once"
        );
    }
    assert_eq!(world.crowd.totals().moves, 1);
}

#[test]
fn leftovers_move_into_a_track_of_their_home_that_has_room() {
    let mut world = World::new(10, 100);
    let mut reader = Reader::default();
    let at = metres(1.0, 1.0);
    let steps = [
        spawn(0, 250, 1, at),
        Act::Despawn { first: 0, count: 5 },
        Act::Despawn { first: 0, count: 5 },
    ];
    let mut tracks = Vec::new();
    for act in steps {
        let records = world.tick(1, &[act]);
        reader.read(world.now, &records);
        world.check(&reader, 0);
        tracks.push(reader.tracks.len());
    }
    // 240 and 10, then 235 and 10, then all together.
    assert_eq!(tracks, [2, 2, 1]);
    assert_eq!((world.crowd.totals().merges, world.crowd.totals().moves), (1, 10));
}

#[test]
fn an_entity_that_no_number_is_left_for_is_counted_and_seated_when_there_is_one() {
    let mut world = World::new(10, 1);
    let mut reader = Reader::default();
    let acts = [
        vec![
            spawn(0, 10, 1, metres(1.0, 1.0)),
            spawn(10, 3, 2, metres(1.0, 1.0)),
        ],
        vec![spawn(20, 4, 1, metres(500.0, 1.0))],
        vec![Act::Layers {
            first: 0,
            count: 17,
            layers: 2,
        }],
    ];
    let mut missing = Vec::new();
    for ticks in [1, 1, 1, 1, SLOT_REST_TICKS] {
        let i = missing.len();
        let before = world.crowd.totals().unseated;
        let records = world.tick(ticks, acts.get(i).map_or(&[], |acts| acts));
        reader.read(world.now, &records);
        missing.push(world.crowd.totals().unseated - before);
        world.check(&reader, missing[i]);
    }
    // The only track is of class 1 and takes its newcomers, however far; it ends when all are of class 2, and rests.
    assert_eq!(missing, [3, 3, 17, 17, 0]);
    assert_eq!(reader.tracks.len(), 1);
}

/// How walkers use to walk.
enum Gait {
    /// From one place to another.
    Waypoint([f64; 2]),
    /// As somebody steers: turning slowly.
    Steer,
    /// Another direction every half second or so.
    Erratic,
}

struct Walker {
    at: [f64; 2],
    speed: f64,
    heading: f64,
    gait: Gait,
}

const HZ: u64 = 10;

/// A crowd in a square of 100 m.
struct Walkers {
    random: Pcg32,
    walkers: Vec<Walker>,
}

impl Walkers {
    fn new(count: usize) -> Self {
        let mut walkers = Self {
            random: Pcg32::seed_from_u64(5),
            walkers: Vec::new(),
        };
        for i in 0..count {
            let mut draw = |low: f64, high: f64| walkers.draw(low, high);
            let walker = Walker {
                at: [draw(-50.0, 50.0), draw(-50.0, 50.0)],
                speed: draw(2.0, 5.0),
                heading: draw(0.0, std::f64::consts::TAU),
                gait: match i % 3 {
                    0 => Gait::Waypoint([draw(-50.0, 50.0), draw(-50.0, 50.0)]),
                    1 => Gait::Steer,
                    _ => Gait::Erratic,
                },
            };
            walkers.walkers.push(walker);
        }
        walkers
    }

    fn draw(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.random.next_u32()) / f64::from(u32::MAX)
    }

    fn step(&mut self, subjects: &mut Vec<Subject>) {
        for i in 0..self.walkers.len() {
            let [turn, chance] = [self.draw(-1.0, 1.0), self.draw(0.0, 1.0)];
            let aim = [self.draw(-50.0, 50.0), self.draw(-50.0, 50.0)];
            let walker = &mut self.walkers[i];
            let stride = walker.speed / HZ as f64;
            match &mut walker.gait {
                Gait::Waypoint(target) => {
                    let way = [target[0] - walker.at[0], target[1] - walker.at[1]];
                    walker.heading = way[1].atan2(way[0]);
                    if way[0].hypot(way[1]) < stride {
                        *target = aim;
                    }
                }
                Gait::Steer => walker.heading += turn * 0.3,
                Gait::Erratic if chance < 0.2 => walker.heading += turn * std::f64::consts::PI,
                Gait::Erratic => {}
            }
            let (sin, cos) = walker.heading.sin_cos();
            walker.at[0] += stride * cos;
            walker.at[1] += stride * sin;
            if walker.at.iter().any(|axis| axis.abs() > 50.0) {
                walker.at = walker.at.map(|axis| axis.clamp(-50.0, 50.0));
                walker.heading += 2.0;
            }
        }
        subjects.clear();
        let walkers = self.walkers.iter().enumerate();
        subjects
            .extend(walkers.map(|(i, walker)| subject(i as u32, 0, 1, metres(walker.at[0], walker.at[1]))));
    }
}

#[derive(Debug)]
struct Statistic {
    joins_per_second: f64,
    membership_bytes_per_second: f64,
    state_bytes_per_second: f64,
    bits_per_state: f64,
    tracks: usize,
    records_per_tick: f64,
}

/// What a second of a crowd takes, once it has mixed.
fn measure(walkers: usize, seconds: u64) -> Statistic {
    let mut crowd = Crowd::new(HZ);
    let mut walkers = Walkers::new(walkers);
    let mut reader = Reader::default();
    let mut subjects = Vec::new();
    let mut now = Tick(1000);
    let mut records_told = 0;
    for tick in 0..(60 + seconds) * HZ {
        if tick == 60 * HZ {
            (reader.joins, reader.states, reader.bytes, reader.membership_bytes) = (0, 0, 0, 0);
            records_told = 0;
        }
        now = now + 1;
        walkers.step(&mut subjects);
        let records = crowd.tick(now, &subjects, &mut Issuers::of(ISSUERS[0]));
        records_told += records.len();
        reader.read(now, &records);
    }
    let per_second = |count: usize| count as f64 / seconds as f64;
    let state_bytes = reader.bytes - reader.membership_bytes;
    Statistic {
        joins_per_second: per_second(reader.joins),
        membership_bytes_per_second: per_second(reader.membership_bytes),
        state_bytes_per_second: per_second(state_bytes),
        bits_per_state: 8.0 * state_bytes as f64 / reader.states as f64,
        tracks: reader.tracks.len(),
        records_per_tick: per_second(records_told) / HZ as f64,
    }
}

#[test]
fn a_walking_crowd_keeps_its_seats_and_is_told_in_few_bits() {
    let statistic = measure(2000, 30);
    assert!(
        statistic.tracks < 32 && statistic.records_per_tick < 5.0,
        "{statistic:?}"
    );
    assert!(statistic.joins_per_second < 2000.0 / 30.0, "{statistic:?}");
    let share = statistic.membership_bytes_per_second / statistic.state_bytes_per_second;
    assert!(share < 0.25, "{share} {statistic:?}");
    assert!(statistic.bits_per_state < 12.0, "{statistic:?}");
}
