//! Any string of bytes is a history: twelve bytes for the world, then twelve for every operation.
//!
//! Records of one length keep an operation what it is when others are cut out or put in between, and 0 is the plain
//! choice everywhere; so property tests and fuzzers shrink and mutate histories as they do bytes.

use myriad_aoi::{Config, Observer, RADIUS_MAX, Shape, Subject, SubjectId};

use super::op::Op;
use super::trial::{ONE_THREAD, Plan, Trial};

/// Bytes of the world, and of each operation.
pub(crate) const RECORD_LEN: usize = 12;

/// Ids in use are below these: few, so that they are reused often.
const SUBJECTS: u32 = 300;
const OBSERVERS: u32 = 24;
const TRAPS: u32 = 5;

/// Every update a fifth of each engine's views is read, in turn; more histories find more than more reading.
const VIEW_STRIDE: u32 = 5;

/// Operations, mass ones counted as they cost, after which a history ends.
const WORK_MAX: u32 = 4_000;

/// Where numbers wrap, change their sign, or lose bits in a narrower type.
const ENDS: [i32; 23] = [
    0,
    -1,
    1,
    i32::MAX,
    i32::MIN,
    i32::MAX - 40,
    i32::MIN + 40,
    1 << 15,
    -(1 << 15),
    (1 << 15) - 1,
    1 << 16,
    -(1 << 16),
    (1 << 16) - 1,
    1 << 24,
    -(1 << 24),
    1 << 30,
    -(1 << 30),
    4_096,
    -1_024,
    1_000,
    300_000,
    -70_000,
    31,
];
const EXTENTS: [u32; 8] = [60, 0, 3, 700, 5_000, 40_000, 200_000, 1 << 30];
const RADII: [u32; 12] = [
    50,
    0,
    1,
    9,
    10,
    333,
    3_200,
    32_767,
    65_536,
    131_072,
    RADIUS_MAX - 1,
    RADIUS_MAX,
];
const STEPS: [i32; 6] = [1, 3, 16, 40, 900, 1 << 20];
/// Few bits or many.
const LAYERS: [&[u32]; 3] = [&[1], &[1, 1, 1, 3, 2], &[0, 1, 2, 4, 8, 1 << 31, 6, u32::MAX]];

/// What an operation's record is read with.
#[derive(Clone, Copy, Debug)]
struct World {
    /// Where people gather.
    anchors: [[i32; 3]; 3],
    /// How far they stand from there.
    extent: u32,
    /// The usual radius: half of all places are right at an edge of it.
    radius: u32,
    layers: &'static [u32],
    observers: u32,
}

/// Runs a history in every engine and in the oracle. Panics if they differ. Returns how many events there were.
pub(crate) fn run(name: &str, bytes: &[u8], two_threads: bool) -> u64 {
    let (plan, ops) = decode(name, bytes, two_threads);
    let play = || {
        let mut trial = Trial::new(plan);
        ops.iter().for_each(|op| trial.apply(op));
        trial.events_compared
    };
    // On the one thread that updates, so that nothing is handed over.
    if two_threads {
        play()
    } else {
        ONE_THREAD.install(play)
    }
}

/// The history that the bytes stand for. Its last operation is an update.
pub(crate) fn decode(name: &str, bytes: &[u8], two_threads: bool) -> (Plan, Vec<Op>) {
    let mut records = bytes.chunks(RECORD_LEN).map(|chunk| {
        let mut record = [0; RECORD_LEN];
        record[..chunk.len()].copy_from_slice(chunk);
        Record(record)
    });
    let header = records.next().unwrap_or(Record([0; RECORD_LEN]));
    let (world, config) = header.world();
    let plan = Plan {
        name: name.to_owned(),
        subjects: SUBJECTS,
        observers: world.observers,
        view_stride: VIEW_STRIDE,
        two_threads,
        config,
    };
    let (mut ops, mut work) = (Vec::new(), 0);
    for record in records {
        work += record.decode(&world, &mut ops);
        if work > WORK_MAX {
            break;
        }
    }
    ops.push(Op::Update);
    (plan, ops)
}

/// Twelve bytes, each with a meaning of its own.
#[derive(Clone, Copy, Debug)]
struct Record([u8; RECORD_LEN]);

impl Record {
    fn world(self) -> (World, Config) {
        let Self(bytes) = self;
        let end = |at: usize| *pick(&ENDS, bytes[at]);
        let radius = *pick(&RADII, bytes[1]);
        let is_mutual = bytes[0] & 1 != 0;
        let dy_limit = match bytes[0] >> 1 & 7 {
            0..=4 => None,
            5 => Some(u32::from(bytes[2])),
            6 => Some(radius / 2),
            _ => Some(u32::MAX),
        };
        let config = Config {
            shape: if is_mutual {
                Shape::Mutual { radius }
            } else {
                Shape::Directed
            },
            dy_limit,
            watched: bytes[0] >> 4 != 15,
            ..Config::default()
        };
        let world = World {
            anchors: [
                [end(4), end(5), end(6)],
                [end(7), end(8), end(9)],
                [end(10), end(11), end(4)],
            ],
            extent: *pick(&EXTENTS, bytes[2]),
            radius,
            layers: pick::<&[u32]>(&LAYERS, bytes[3]),
            observers: if is_mutual { SUBJECTS } else { OBSERVERS },
        };
        (world, config)
    }

    /// Adds what it stands for, and returns about how much work that is.
    fn decode(self, world: &World, ops: &mut Vec<Op>) -> u32 {
        let Self([code, .., amount]) = self;
        let single = match code {
            0..40 => Op::Update,
            40..60 => return self.decode_crowd(world, ops),
            60..76 => return self.decode_walk(ops),
            76..=255 => self.single(world, code),
        };
        ops.push(single);
        match single {
            Op::Update | Op::Drift(_) | Op::Rotate | Op::Gather(_) => 10 + u32::from(amount & 1),
            _ => 1,
        }
    }

    /// Up to 64 subjects with ids in a row, of whom some observe.
    fn decode_crowd(self, world: &World, ops: &mut Vec<Op>) -> u32 {
        let count = 1 + u32::from(self.0[11] % 64);
        let mut record = self;
        for nth in 0..count {
            let id = (self.subject() + nth) % SUBJECTS;
            ops.push(Op::InsertSubject(id, record.as_subject(world)));
            if !record.0[10].is_multiple_of(3) {
                let observer = Observer {
                    avatar: Some(SubjectId(id)),
                    ..record.as_observer(world)
                };
                ops.push(Op::InsertObserver(id % world.observers, observer));
            }
            record = record.next();
        }
        count
    }

    /// Everybody drifts for up to 64 updates, long enough for whatever an engine does little by little.
    fn decode_walk(self, ops: &mut Vec<Op>) -> u32 {
        let ticks = 1 + u32::from(self.0[11] % 64);
        let step = *pick(&STEPS, self.0[8]);
        for tick in 0..ticks {
            // To and fro, or they would part for good.
            ops.push(Op::Drift(if tick / 12 % 2 == 0 { step } else { -step }));
            ops.push(Op::Update);
        }
        20 * ticks
    }

    fn single(self, world: &World, code: u8) -> Op {
        let Self([.., mask, _, _]) = self;
        let (subject, observer) = (self.subject(), self.observer(world));
        let (trap, place, mask) = (subject % TRAPS, self.place(world), *pick(world.layers, mask));
        match code {
            ..90 => Op::InsertSubject(subject, self.as_subject(world)),
            90..102 => Op::RemoveSubject(subject),
            102..110 => Op::ReplaceSubject(subject, self.as_subject(world)),
            110..134 => Op::MoveSubject(subject, place),
            134..142 => Op::SetLayers(subject, mask),
            142..154 => Op::SetAppeal(subject, self.appeal(world)),
            154..166 => Op::InsertObserver(observer, self.as_observer(world)),
            166..174 => Op::RemoveObserver(observer),
            174..180 => Op::ReplaceObserver(observer, self.as_observer(world)),
            180..190 => Op::MoveObserver(observer, place),
            190..196 => Op::SetRadius(observer, self.radius(world)),
            196..204 => Op::SetSees(observer, mask),
            204..212 => Op::SetManual(observer, subject, self.0[11] & 1 == 0),
            212..215 => Op::InsertTrap(trap, place, self.radius(world), mask),
            215..217 => Op::MoveTrap(trap, place),
            217 => Op::RemoveTrap(trap),
            218..226 => Op::Drift(*pick(&STEPS, self.0[8])),
            226..228 => Op::Rotate,
            228..230 => Op::Gather(place),
            230 => Op::RemoveAllSubjects,
            231 => Op::RemoveAllObservers,
            232..238 => Op::Circle(place, self.radius(world), mask),
            238..243 => {
                let other = self.next().place(world);
                let low = [0, 1, 2].map(|axis| place[axis].min(other[axis]));
                let high = [0, 1, 2].map(|axis| place[axis].max(other[axis]));
                // Now and then the wrong way round.
                if self.0[11] % 8 == 7 {
                    Op::Box(high, low, mask)
                } else {
                    Op::Box(low, high, mask)
                }
            }
            243..248 => Op::Nearest(place, usize::from(self.0[11] % 40), self.radius(world), mask),
            248.. => self.sector(world, place, mask),
        }
    }

    fn sector(self, world: &World, centre: [i32; 3], layers: u32) -> Op {
        let next = self.next();
        let small = |byte: u8| i32::from(byte as i8) / 16;
        let direction = match self.0[10] % 4 {
            0 => [small(next.0[1]), small(next.0[2])],
            1 => [*pick(&ENDS, next.0[1]), *pick(&ENDS, next.0[2])],
            _ => [i32::from(next.0[1] as i8) * 999, i32::from(next.0[2] as i8) * 999],
        };
        let cosines = [
            0, 1, -1, 65_536, -65_536, 65_535, 32_768, -32_768, 46_341, -46_341, 60_000,
        ];
        Op::Sector(
            centre,
            direction,
            *pick(&cosines, self.0[11]),
            self.radius(world),
            layers,
        )
    }

    fn subject(self) -> u32 {
        u32::from(u16::from_le_bytes([self.0[1], self.0[2]])) % SUBJECTS
    }

    fn observer(self, world: &World) -> u32 {
        // The greater half of a mutual world's ids do as subjects only.
        u32::from(u16::from_le_bytes([self.0[3], self.0[2]])) % world.observers
    }

    /// At an anchor, anywhere around it, or off it by just so much that a comparison is about to turn.
    fn place(self, world: &World) -> [i32; 3] {
        let anchor = *pick(&world.anchors, self.0[4]);
        let (radius, extent) = (i64::from(world.radius), i64::from(world.extent));
        let edges = [
            radius,
            radius - 1,
            radius + 1,
            radius * 11 / 10,
            radius * 11 / 10 + 1,
            radius / 2,
        ];
        let offset = |byte: u8| match byte {
            0..64 => 0,
            64..192 => (i64::from(byte) - 128) * extent / 64,
            192..224 => *pick(&edges, byte),
            224.. => -*pick(&edges, byte),
        };
        // Wrapping on purpose: over the end of `i32` somebody comes out on the far side of the world.
        [0, 1, 2].map(|axis| anchor[axis].wrapping_add(offset(self.0[5 + axis]) as i32))
    }

    fn radius(self, world: &World) -> u32 {
        let usual = world.radius;
        let radii = [
            usual,
            usual,
            usual,
            usual / 2,
            usual.saturating_mul(2),
            usual + 1,
            0,
            1,
        ];
        match self.0[8] {
            ..240 => *pick(&radii, self.0[8]),
            240.. => *pick(&[RADIUS_MAX, RADIUS_MAX + 1, u32::MAX, 200], self.0[8]),
        }
    }

    fn appeal(self, world: &World) -> u32 {
        if self.0[10].is_multiple_of(4) {
            0
        } else {
            self.radius(world)
        }
    }

    fn as_subject(self, world: &World) -> Subject {
        Subject {
            position: self.place(world),
            layers: *pick(world.layers, self.0[9]),
            // Rarer at birth than later on.
            appeal: if self.0[10] < 200 { 0 } else { self.radius(world) },
        }
    }

    fn as_observer(self, world: &World) -> Observer {
        Observer {
            position: self.place(world),
            radius: self.radius(world),
            sees: *pick(world.layers, self.0[9]),
            avatar: (self.0[10] & 1 == 0).then_some(SubjectId(self.subject())),
        }
    }

    /// Another record that depends on this one alone.
    fn next(self) -> Self {
        let Self(mut bytes) = self;
        let mut state = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        for byte in &mut bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        Self(bytes)
    }
}

/// The bytes' pick of a list.
fn pick<T>(list: &[T], byte: u8) -> &T {
    &list[usize::from(byte) % list.len()]
}
