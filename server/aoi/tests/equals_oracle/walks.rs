//! Long walks of many: long enough for whatever an engine does little by little over tens of ticks.

use myriad_aoi::{Config, Observer, RADIUS_MAX, Shape, Subject, SubjectId};

use crate::drive::op::Op;
use crate::drive::trial::{Plan, Trial};

/// How many events the walks compare at least, half of them in each shape; for longer runs than the ordinary one.
const EVENTS_MIN_VARIABLE: &str = "MYRIAD_AOI_EVENTS_MIN";
const EVENTS_MIN: u64 = 10_000_000;

/// A linear congruential generator: the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.below(1);
        random
    }

    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * u64::from(end)) >> 32) as u32
    }

    /// From `-extent` to `extent`.
    pub(crate) fn around(&mut self, extent: u32) -> i64 {
        i64::from(self.below(extent.saturating_mul(2).saturating_add(1))) - i64::from(extent)
    }

    pub(crate) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u32) as usize]
    }
}

/// Where the walkers stand at first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    Anywhere,
    /// Around so many points.
    Clusters(u32),
    /// All in one point.
    Point,
    /// One behind another along x, so far apart.
    Line(u32),
    /// In a square of rows, so far apart, each off its crossing by at most 1.
    Crossings(u32),
}

/// One walk. Lengths are in AOI units, `[x, y, z]`.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) is_mutual: bool,
    pub(crate) entities: u32,
    /// Of the entities; the others are subjects only.
    pub(crate) observers: u32,
    pub(crate) ticks: u32,
    pub(crate) layout: Layout,
    pub(crate) centre: [i32; 3],
    /// How far they walk from the centre.
    pub(crate) extent: [u32; 3],
    pub(crate) radius: u32,
    /// Per tick and axis.
    pub(crate) speed: u32,
    pub(crate) layers: &'static [u32],
    pub(crate) dy_limit: Option<u32>,
    /// How many of each kind of change there are in a tick.
    pub(crate) churn: u32,
    /// Every so many ticks everybody teleports, vanishes, changes; 0 for never.
    pub(crate) storm_ticks: u32,
    pub(crate) view_stride: u32,
}

/// 1,500 entities, 400 of them observers, in half a kilometre, who see 100 m and walk 5 m/s at 10 Hz.
const USUAL: Walk = Walk {
    is_mutual: false,
    entities: 1_500,
    observers: 400,
    ticks: 300,
    layout: Layout::Anywhere,
    centre: [0; 3],
    extent: [8_000, 60, 8_000],
    radius: 3_200,
    speed: 16,
    layers: &[1],
    dy_limit: None,
    churn: 2,
    storm_ticks: 0,
    view_stride: 40,
};

/// A walk under way.
struct Walkers {
    walk: Walk,
    random: Random,
    trial: Trial,
    /// By id, whether it lives or not.
    places: Vec<[i32; 3]>,
    steps: Vec<[i64; 3]>,
    /// By id: which tick brings the dead back.
    rebirths: Vec<Option<u32>>,
}

impl Walk {
    /// Walks, and returns how many events were compared.
    pub(crate) fn run(&self, scene: &str, seed: u64) -> u64 {
        let config = Config {
            shape: if self.is_mutual {
                Shape::Mutual { radius: self.radius }
            } else {
                Shape::Directed
            },
            dy_limit: self.dy_limit,
            ..Config::default()
        };
        let trial = Trial::new(Plan {
            name: format!("{scene}, seed {seed}"),
            config,
            subjects: self.entities,
            observers: self.observers,
            view_stride: self.view_stride,
            two_threads: true,
        });
        let len = self.entities as usize;
        let mut walkers = Walkers {
            walk: self.clone(),
            random: Random::new(seed),
            trial,
            places: vec![[0; 3]; len],
            steps: vec![[0; 3]; len],
            rebirths: vec![None; len],
        };
        walkers.start();
        (1..=self.ticks).for_each(|tick| walkers.tick(tick));
        walkers.trial.events_compared
    }
}

impl Walkers {
    fn start(&mut self) {
        let clusters: Vec<_> = match self.walk.layout {
            Layout::Clusters(count) => (0..count).map(|_| self.place()).collect(),
            _ => Vec::new(),
        };
        for id in 0..self.walk.entities {
            let centre = self.walk.centre.map(i64::from);
            let place = match self.walk.layout {
                Layout::Anywhere => self.place(),
                Layout::Clusters(_) => {
                    let cluster = self.random.of(&clusters).map(i64::from);
                    let extent = self.walk.radius / 3;
                    cluster.map(|coordinate| clamp(coordinate + self.random.around(extent)))
                }
                Layout::Point => self.walk.centre,
                Layout::Line(pitch) => {
                    let x =
                        centre[0] + i64::from(pitch) * (i64::from(id) - i64::from(self.walk.entities / 2));
                    [x, centre[1], centre[2]].map(clamp)
                }
                Layout::Crossings(pitch) => {
                    let side = self.walk.entities.isqrt().max(1);
                    let [x, z] = [id % side, id / side].map(|nth| {
                        i64::from(pitch) * (i64::from(nth) - i64::from(side / 2)) + self.random.around(1)
                    });
                    [centre[0] + x, centre[1], centre[2] + z].map(clamp)
                }
            };
            self.places[id as usize] = place;
            self.steps[id as usize] = self.step();
            self.be_born(id);
        }
        for trap in 0..4 {
            let (place, layers) = (self.place(), self.random.of(self.walk.layers));
            self.trial
                .apply(&Op::InsertTrap(trap, place, self.walk.radius >> trap, layers));
        }
        self.trial.apply(&Op::Update);
    }

    fn tick(&mut self, tick: u32) {
        for id in 0..self.walk.entities {
            if self.rebirths[id as usize] == Some(tick) {
                self.rebirths[id as usize] = None;
                self.places[id as usize] = self.place();
                self.be_born(id);
            }
            self.walk_on(id);
        }
        for _ in 0..self.walk.churn {
            self.change_somebody(tick);
        }
        if self.walk.storm_ticks > 0 && tick.is_multiple_of(self.walk.storm_ticks) {
            self.storm(tick, tick / self.walk.storm_ticks);
        }
        self.trial.apply(&Op::Update);
        if tick.is_multiple_of(8) {
            self.ask();
        }
    }

    fn walk_on(&mut self, id: u32) {
        let index = id as usize;
        if self.random.below(60) == 0 {
            self.steps[index] = self.step();
        }
        for axis in 0..3 {
            let (centre, extent) = (
                i64::from(self.walk.centre[axis]),
                i64::from(self.walk.extent[axis]),
            );
            let step = &mut self.steps[index][axis];
            let next = i64::from(self.places[index][axis]) + *step;
            if (next - centre).abs() > extent && (next - centre).signum() == step.signum() {
                *step = -*step;
            }
            self.places[index][axis] = clamp(next);
        }
        self.put(id);
    }

    /// Subject and, of a directed engine, observer; but every eighth of these stays where it is.
    fn put(&mut self, id: u32) {
        let place = self.places[id as usize];
        self.trial.apply(&Op::MoveSubject(id, place));
        if !self.walk.is_mutual && id < self.walk.observers && id % 8 != 7 {
            self.trial.apply(&Op::MoveObserver(id, place));
        }
    }

    fn be_born(&mut self, id: u32) {
        let layers = self.random.of(self.walk.layers);
        // An appeal at birth is rare; more come by change.
        let appeal = if self.random.below(100) == 0 {
            self.appeal()
        } else {
            0
        };
        let position = self.places[id as usize];
        self.trial.apply(&Op::InsertSubject(
            id,
            Subject {
                position,
                layers,
                appeal,
            },
        ));
        self.observe(id);
    }

    fn observe(&mut self, id: u32) {
        if id < self.walk.observers {
            let observer = Observer {
                position: self.places[id as usize],
                radius: self.radius(),
                sees: self.random.of(self.walk.layers),
                avatar: Some(SubjectId(id)),
            };
            self.trial.apply(&Op::InsertObserver(id, observer));
        }
    }

    /// One change of each kind, to whomever it hits.
    fn change_somebody(&mut self, tick: u32) {
        let mut anybody = [0; 8];
        anybody.fill_with(|| self.random.below(self.walk.entities));
        let [gone, reborn, far, masked, wanted, manual, other, replaced] = anybody;
        let observers = self.walk.observers.max(1);
        let (watcher, seeing, blind, sighted) = (
            self.random.below(observers),
            self.random.below(observers),
            self.random.below(observers),
            self.random.below(observers),
        );
        let rebirth = tick + 1 + self.random.below(40);
        self.die(gone, rebirth);
        let subject = Subject {
            position: self.places[reborn as usize],
            layers: self.random.of(self.walk.layers),
            appeal: 0,
        };
        self.trial.apply(&Op::ReplaceSubject(reborn, subject));
        self.places[far as usize] = self.place();
        self.put(far);
        let (layers, sees) = (self.random.of(self.walk.layers), self.random.of(self.walk.layers));
        self.trial.apply(&Op::SetLayers(masked, layers));
        self.trial.apply(&Op::SetSees(seeing, sees));
        let (appeal, radius) = (self.appeal(), self.radius());
        self.trial.apply(&Op::SetAppeal(wanted, appeal));
        self.trial.apply(&Op::SetAppeal(other, 0));
        self.trial.apply(&Op::SetRadius(watcher, radius));
        self.trial.apply(&Op::SetManual(watcher, manual, true));
        self.trial.apply(&Op::SetManual(watcher, other, false));
        self.trial.apply(&Op::RemoveObserver(blind));
        self.observe(sighted);
        let observer = Observer {
            position: self.places[replaced as usize],
            radius,
            sees,
            avatar: None,
        };
        self.trial
            .apply(&Op::ReplaceObserver(replaced % observers, observer));
    }

    /// Removed, with its observer, until some tick.
    fn die(&mut self, id: u32, rebirth: u32) {
        self.trial.apply(&Op::RemoveSubject(id));
        self.trial
            .apply(&Op::RemoveObserver(id % self.walk.observers.max(1)));
        self.rebirths[id as usize] = Some(rebirth);
    }

    /// Something happens to many at once.
    fn storm(&mut self, tick: u32, nth: u32) {
        let gathering = self.place();
        for id in 0..self.walk.entities {
            match nth % 6 {
                0 => {
                    self.places[id as usize] = self.place();
                    self.put(id);
                }
                1 if self.random.below(2) == 0 => self.die(id, tick + 1),
                2 => {
                    self.places[id as usize] = gathering;
                    self.put(id);
                }
                3 => {
                    let (layers, radius) = (self.random.of(self.walk.layers), self.radius());
                    self.trial.apply(&Op::SetLayers(id, layers));
                    self.trial.apply(&Op::SetRadius(id, radius));
                }
                4 => {
                    let position = self.places[id as usize];
                    let subject = Subject {
                        position,
                        layers: self.random.of(self.walk.layers),
                        appeal: 0,
                    };
                    self.trial.apply(&Op::ReplaceSubject(id, subject));
                }
                5 => {
                    let rebirth = tick + 2 + self.random.below(20);
                    self.die(id, rebirth);
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self) {
        let (place, other, radius) = (self.place(), self.place(), self.radius());
        self.trial.apply(&Op::MoveTrap(0, place));
        let layers = self.random.of(self.walk.layers);
        let low = [0, 1, 2].map(|axis| place[axis].min(other[axis]));
        let high = [0, 1, 2].map(|axis| place[axis].max(other[axis]));
        let direction = [self.random.around(1_000) as i32, self.random.around(1_000) as i32];
        let cos = self.random.around(65_536) as i32;
        let count = self.random.below(70) as usize;
        self.trial.apply(&Op::Circle(place, radius, layers));
        self.trial.apply(&Op::Box(low, high, layers));
        self.trial.apply(&Op::Nearest(place, count, radius, layers));
        self.trial
            .apply(&Op::Sector(place, direction, cos, radius, layers));
    }

    fn place(&mut self) -> [i32; 3] {
        let Walk { centre, extent, .. } = self.walk;
        [0, 1, 2].map(|axis| clamp(i64::from(centre[axis]) + self.random.around(extent[axis])))
    }

    fn step(&mut self) -> [i64; 3] {
        let speed = self.walk.speed;
        [
            self.random.around(speed),
            self.random.around(speed / 8),
            self.random.around(speed),
        ]
    }

    fn radius(&mut self) -> u32 {
        let radius = self.walk.radius;
        let double = radius.saturating_mul(2);
        self.random
            .of(&[radius, radius, radius, radius, radius / 2, radius + 1, double, 0])
    }

    fn appeal(&mut self) -> u32 {
        let radius = self.walk.radius;
        self.random.of(&[
            radius * 2,
            radius.saturating_mul(5),
            radius / 2,
            1,
            radius + radius / 16,
        ])
    }
}

/// At the ends of the world everybody stands still.
fn clamp(coordinate: i64) -> i32 {
    coordinate.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// From nobody in view to everybody, slow and fast, flat and high, near and far from the origin.
fn walks() -> Vec<(&'static str, Walk)> {
    let flat = |extent: u32| [extent, 60, extent];
    const MIXED: &[u32] = &[1, 1, 1, 3, 2];
    const MANY: &[u32] = &[0, 1, 2, 4, 8, 1 << 31, 6, u32::MAX];
    vec![
        ("a crowd", USUAL),
        (
            "a dense crowd",
            Walk {
                extent: flat(4_000),
                layers: MIXED,
                ..USUAL
            },
        ),
        (
            "all in view",
            Walk {
                extent: flat(1_300),
                ticks: 100,
                layers: MIXED,
                ..USUAL
            },
        ),
        (
            "runners far apart",
            Walk {
                extent: flat(60_000),
                speed: 160,
                centre: [1 << 16, 0, -(1 << 15)],
                ..USUAL
            },
        ),
        (
            "nearly nobody",
            Walk {
                extent: flat(900_000),
                speed: 400,
                centre: [1 << 24, 7, -(1 << 24)],
                ..USUAL
            },
        ),
        (
            "4 km",
            Walk {
                extent: flat(300_000),
                radius: 128_000,
                speed: 1_600,
                ..USUAL
            },
        ),
        (
            "clusters",
            Walk {
                layout: Layout::Clusters(9),
                extent: flat(40_000),
                layers: MANY,
                ..USUAL
            },
        ),
        (
            "in the air",
            Walk {
                extent: [6_000; 3],
                speed: 60,
                dy_limit: Some(2_000),
                ..USUAL
            },
        ),
        (
            "the whole world",
            Walk {
                extent: [u32::MAX / 2; 3],
                radius: RADIUS_MAX,
                speed: 1 << 23,
                layers: MIXED,
                ..USUAL
            },
        ),
        (
            "a corner of the world",
            Walk {
                centre: [i32::MAX, i32::MIN, i32::MIN],
                speed: 40,
                ..USUAL
            },
        ),
        (
            "ants",
            Walk {
                extent: [40, 3, 40],
                radius: 9,
                speed: 2,
                layers: MIXED,
                ..USUAL
            },
        ),
        (
            "storms",
            Walk {
                extent: flat(5_000),
                storm_ticks: 9,
                layers: MIXED,
                churn: 20,
                ticks: 200,
                ..USUAL
            },
        ),
    ]
}

/// Walks on, with new seeds, until half of the events are compared.
fn walk_all(is_mutual: bool) {
    let wanted = std::env::var(EVENTS_MIN_VARIABLE).map_or(EVENTS_MIN, |text| {
        text.replace('_', "")
            .parse()
            .unwrap_or_else(|_| panic!("{EVENTS_MIN_VARIABLE} is a number"))
    });
    let mut compared = 0;
    for seed in 1.. {
        for (scene, walk) in walks() {
            // Most of whom there is observe here, so that fewer entities make more pairs.
            let walk = match is_mutual {
                false => walk,
                true => Walk {
                    is_mutual,
                    entities: 1_050,
                    observers: 700,
                    ticks: walk.ticks * 2 / 3,
                    ..walk
                },
            };
            let events = walk.run(scene, seed);
            println!("{scene}, seed {seed}: {events} events");
            assert!(events > 0, "{scene}, seed {seed}: nothing happened");
            compared += events;
        }
        if compared >= wanted / 2 {
            break;
        }
    }
    println!("{compared} events compared");
    assert!(compared >= wanted / 2);
}

#[test]
fn millions_of_events_of_directed_walks_agree() {
    walk_all(false);
}

#[test]
fn millions_of_events_of_mutual_walks_agree() {
    walk_all(true);
}
