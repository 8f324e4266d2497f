//! The engine does what the oracle does: event for event, tick for tick, on one thread and on two.

mod pair;

use myriad_aoi::{Config, Observer, RADIUS_MAX, Subject, SubjectId};
use pair::{OBSERVERS, Op, Pair, SUBJECTS, TRAPS};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What a case's places, distances and masks are drawn from.
#[derive(Clone, Debug)]
struct World {
    config: Config,
    /// Where people gather.
    anchors: Vec<[i32; 3]>,
    /// How far they stand from there.
    extent: u32,
    /// The usual radius: half of all distances are right at an edge of it.
    radius: u32,
    /// Few bits or many.
    layers: Vec<u32>,
}

fn world() -> impl Strategy<Value = World> {
    let ends = select(vec![
        0,
        -1,
        1,
        i32::MAX,
        i32::MIN,
        i32::MAX - 40,
        i32::MIN + 40,
        1 << 15,
        -(1 << 15),
        4096,
    ]);
    let anchors = vec([ends.clone(), ends.clone(), ends], 1..4);
    let extent = select(vec![0_u32, 3, 60, 700, 5_000, 200_000, 1 << 30]);
    let radius = select(vec![
        0_u32,
        1,
        9,
        10,
        50,
        333,
        3_200,
        131_072,
        RADIUS_MAX - 1,
        RADIUS_MAX,
    ]);
    let cell_size = select(vec![1_u32, 7, 64, 1_000, 1 << 20, u32::MAX]);
    let dy_limit =
        prop_oneof![4 => Just(None), 1 => (0..2_000_u32).prop_map(Some), 1 => Just(Some(u32::MAX))];
    let layers = select(vec![
        vec![1],
        vec![1, 1, 1, 3, 2],
        vec![0, 1, 2, 4, 8, 1 << 31, 6, u32::MAX],
    ]);
    (anchors, extent, radius, cell_size, dy_limit, layers).prop_map(
        |(anchors, extent, radius, cell_size, dy_limit, layers)| World {
            config: Config {
                cell_size,
                dy_limit,
                ..Config::default()
            },
            anchors,
            extent,
            radius,
            layers,
        },
    )
}

impl World {
    /// Anywhere around an anchor, or off it by just so much that a comparison is about to turn.
    fn place(&self) -> impl Strategy<Value = [i32; 3]> + use<> {
        let extent = i64::from(self.extent);
        let edge = i64::from(self.radius);
        let leave = edge * 11 / 10;
        let offset = prop_oneof![
            4 => -extent..=extent,
            1 => Just(0_i64),
            2 => select(vec![edge - 1, edge, edge + 1, leave - 1, leave, leave + 1])
                .prop_flat_map(|offset| select(vec![offset, -offset])),
        ];
        (
            select(self.anchors.clone()),
            [offset.clone(), offset.clone(), offset],
        )
            // Wrapping on purpose: over the end of `i32` somebody comes out on the far side of the world.
            .prop_map(|(anchor, offset)| [0, 1, 2].map(|axis| anchor[axis].wrapping_add(offset[axis] as i32)))
    }

    fn radius(&self) -> impl Strategy<Value = u32> + use<> {
        let usual = self.radius;
        prop_oneof![
            6 => Just(usual),
            2 => select(vec![usual / 2, usual.saturating_mul(2), usual + 1]),
            1 => select(vec![0, 1, RADIUS_MAX, RADIUS_MAX + 1, u32::MAX]),
        ]
    }

    fn appeal(&self) -> impl Strategy<Value = u32> + use<> {
        prop_oneof![8 => Just(0_u32), 2 => self.radius()]
    }

    fn mask(&self) -> impl Strategy<Value = u32> + use<> {
        select(self.layers.clone())
    }

    fn subject(&self) -> impl Strategy<Value = Subject> + use<> {
        (self.place(), self.mask(), self.appeal()).prop_map(|(position, layers, appeal)| Subject {
            position,
            layers,
            appeal,
        })
    }

    fn observer(&self) -> impl Strategy<Value = Observer> + use<> {
        (
            self.place(),
            self.radius(),
            self.mask(),
            proptest::option::of((0..SUBJECTS).prop_map(SubjectId)),
        )
            .prop_map(|(position, radius, sees, avatar)| Observer {
                position,
                radius,
                sees,
                avatar,
            })
    }

    fn op(&self) -> impl Strategy<Value = Op> + use<> {
        let (subject, observer, trap) = (0..SUBJECTS, 0..OBSERVERS, 0..TRAPS);
        let steps = vec![1, 3, 40, 900, 1 << 20];
        let on_subjects = prop_oneof![
            30 => (subject.clone(), self.subject()).prop_map(|(id, subject)| Op::InsertSubject(id, subject)),
            8 => subject.clone().prop_map(Op::RemoveSubject),
            5 => (subject.clone(), self.subject()).prop_map(|(id, subject)| Op::ReplaceSubject(id, subject)),
            20 => (subject.clone(), self.place()).prop_map(|(id, place)| Op::MoveSubject(id, place)),
            5 => (subject.clone(), self.mask()).prop_map(|(id, layers)| Op::SetLayers(id, layers)),
            5 => (subject.clone(), self.appeal()).prop_map(|(id, appeal)| Op::SetAppeal(id, appeal)),
            6 => select(steps).prop_map(Op::Drift),
            2 => Just(Op::Rotate),
            1 => Just(Op::RemoveAllSubjects),
        ];
        let on_observers = prop_oneof![
            8 => (observer.clone(), self.observer()).prop_map(|(id, observer)| Op::InsertObserver(id, observer)),
            2 => observer.clone().prop_map(Op::RemoveObserver),
            2 => (observer.clone(), self.observer()).prop_map(|(id, observer)| Op::ReplaceObserver(id, observer)),
            6 => (observer.clone(), self.place()).prop_map(|(id, place)| Op::MoveObserver(id, place)),
            4 => (observer.clone(), self.radius()).prop_map(|(id, radius)| Op::SetRadius(id, radius)),
            3 => (observer.clone(), self.mask()).prop_map(|(id, sees)| Op::SetSees(id, sees)),
            4 => (observer, subject, any::<bool>())
                .prop_map(|(observer, subject, manual)| Op::SetManual(observer, subject, manual)),
        ];
        let on_traps = prop_oneof![
            3 => (trap.clone(), self.place(), self.radius(), self.mask())
                .prop_map(|(id, place, radius, layers)| Op::InsertTrap(id, place, radius, layers)),
            2 => (trap.clone(), self.place()).prop_map(|(id, place)| Op::MoveTrap(id, place)),
            1 => trap.prop_map(Op::RemoveTrap),
        ];
        let questions = prop_oneof![
            (self.place(), self.radius(), self.mask())
                .prop_map(|(at, radius, mask)| Op::Circle(at, radius, mask)),
            (self.place(), self.place(), self.mask()).prop_map(|(low, high, mask)| Op::Box(low, high, mask)),
            (self.place(), 0..40_usize, self.radius(), self.mask())
                .prop_map(|(at, count, radius, mask)| Op::Nearest(at, count, radius, mask)),
        ];
        prop_oneof![16 => on_subjects, 6 => on_observers, 1 => on_traps, 2 => questions, 4 => Just(Op::Update)]
    }

    /// A start with people in it, then anything.
    fn history(&self) -> impl Strategy<Value = Vec<Op>> + use<> {
        let subjects = vec(self.subject(), 0..SUBJECTS as usize);
        let observers = vec(self.observer(), 0..OBSERVERS as usize);
        (subjects, observers, vec(self.op(), 0..200)).prop_map(|(subjects, observers, ops)| {
            let subjects = subjects
                .into_iter()
                .zip(0..)
                .map(|(subject, id)| Op::InsertSubject(id, subject));
            let observers = observers
                .into_iter()
                .zip(0..)
                .map(|(observer, id)| Op::InsertObserver(id, observer));
            subjects
                .chain(observers)
                .chain([Op::Update])
                .chain(ops)
                .chain([Op::Update])
                .collect()
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_the_same_events_views_and_answers(
        (config, history) in world().prop_flat_map(|world| (Just(world.config.clone()), world.history()))
    ) {
        let mut pair = Pair::new(config);
        history.iter().for_each(|op| pair.apply(op));
    }
}

/// A crowd of which everybody walks and some come, go, and change, for 200 ticks. Returns the edges compared.
fn long_walk(side: i32, radius: u32, layers: &[u32]) -> u64 {
    let mut pair = Pair::new(Config {
        cell_size: 128,
        ..Config::default()
    });
    let mut state = 1_u64;
    let mut draw = |end: u32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 32) % u64::from(end)) as u32
    };
    for tick in 0..200 {
        for _ in 0..if tick == 0 { 1_000 } else { 10 } {
            let position =
                [0, 1, 2].map(|axis| draw(if axis == 1 { 60 } else { side as u32 }) as i32 - side / 2);
            let mask = layers[draw(layers.len() as u32) as usize];
            let avatar = Some(SubjectId(draw(SUBJECTS)));
            let subject = Subject {
                position,
                layers: mask,
                appeal: draw(50) / 49 * 2 * radius,
            };
            let observer = Observer {
                position,
                radius: radius + draw(radius),
                sees: mask,
                avatar,
            };
            pair.apply(&Op::InsertSubject(draw(SUBJECTS), subject));
            pair.apply(&Op::InsertObserver(draw(OBSERVERS), observer));
        }
        pair.apply(&Op::RemoveSubject(draw(SUBJECTS)));
        pair.apply(&Op::RemoveObserver(draw(4 * OBSERVERS)));
        // To and fro, or they would part for good.
        let step = 1 + radius as i32 / 30;
        pair.apply(&Op::Drift(if tick / 15 % 2 == 0 { step } else { -step }));
        pair.apply(&Op::Update);
    }
    pair.events_compared
}

#[test]
fn crowds_of_every_density_walk_for_200_ticks_alike() {
    let edges: u64 = [100, 1_000, 4_000, 30_000]
        .into_iter()
        .flat_map(|side| [60, 300, 900].map(|radius| long_walk(side, radius, &[1, 1, 1, 3, 6])))
        .sum();
    assert!(edges > 100_000, "only {edges} edges compared");
}
