//! The engine, twice, and the oracle, driven by the same operations and compared after every update.

use std::sync::LazyLock;

use myriad_aoi::oracle::Oracle;
use myriad_aoi::{Config, Engine, Observer, ObserverId, Subject, SubjectId, TrapId};
use rayon::{ThreadPool, ThreadPoolBuilder};

static ONE_THREAD: LazyLock<ThreadPool> = LazyLock::new(|| pool(1));
static TWO_THREADS: LazyLock<ThreadPool> = LazyLock::new(|| pool(2));

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads can be started")
}

/// Ids the operations use: few, so that they are reused often.
pub(crate) const SUBJECTS: u32 = 400;
pub(crate) const OBSERVERS: u32 = 24;
pub(crate) const TRAPS: u32 = 6;

/// One change, one question, or the update. What makes no sense at the moment, such as moving somebody who is not
/// there, is skipped by [`Pair::apply`].
#[derive(Clone, Debug)]
pub(crate) enum Op {
    InsertSubject(u32, Subject),
    RemoveSubject(u32),
    /// Removed and inserted again before anybody looks.
    ReplaceSubject(u32, Subject),
    MoveSubject(u32, [i32; 3]),
    SetLayers(u32, u32),
    SetAppeal(u32, u32),
    InsertObserver(u32, Observer),
    RemoveObserver(u32),
    ReplaceObserver(u32, Observer),
    MoveObserver(u32, [i32; 3]),
    SetRadius(u32, u32),
    SetSees(u32, u32),
    SetManual(u32, u32, bool),
    InsertTrap(u32, [i32; 3], u32, u32),
    MoveTrap(u32, [i32; 3]),
    RemoveTrap(u32),
    /// Everybody steps by a little, each in its own direction, wrapping at the ends of `i32`.
    Drift(i32),
    /// Everybody is put where the next one was.
    Rotate,
    RemoveAllSubjects,
    Update,
    Circle([i32; 3], u32, u32),
    Box([i32; 3], [i32; 3], u32),
    Nearest([i32; 3], usize, u32, u32),
}

/// One and the same world three times.
pub(crate) struct Pair {
    one: Engine,
    two: Engine,
    oracle: Oracle,
    pub(crate) events_compared: u64,
}

/// Calls the same method on the three.
macro_rules! all {
    ($pair:ident . $method:ident ( $($argument:expr),* )) => {{
        $pair.one.$method($($argument),*);
        $pair.two.$method($($argument),*);
        $pair.oracle.$method($($argument),*);
    }};
}

impl Pair {
    pub(crate) fn new(config: Config) -> Self {
        let (one, two) = (Engine::new(config.clone()), Engine::new(config.clone()));
        Self {
            one,
            two,
            oracle: Oracle::new(config),
            events_compared: 0,
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::InsertSubject(..)
            | Op::RemoveSubject(_)
            | Op::ReplaceSubject(..)
            | Op::MoveSubject(..)
            | Op::SetLayers(..)
            | Op::SetAppeal(..) => self.apply_to_subject(op),
            Op::InsertTrap(..) | Op::MoveTrap(..) | Op::RemoveTrap(_) => self.apply_to_trap(op),
            Op::Drift(step) => self.put_everybody(|id, [x, y, z]| {
                let turn = |axis: u32| {
                    step.wrapping_mul((id.wrapping_mul(0x9e37_79b9) >> (3 * axis) & 7) as i32 - 3)
                };
                [
                    x.wrapping_add(turn(0)),
                    y.wrapping_add(turn(1)),
                    z.wrapping_add(turn(2)),
                ]
            }),
            Op::Rotate => {
                let positions: Vec<_> = self.subjects().map(|(_, subject)| subject.position).collect();
                let mut next = positions.iter().cycle().skip(1);
                self.put_everybody(|_, _| *next.next().expect("a cycle"));
            }
            Op::RemoveAllSubjects => {
                let ids: Vec<_> = self.subjects().map(|(id, _)| id).collect();
                ids.into_iter().for_each(|id| all!(self.remove_subject(id)));
            }
            Op::Update => self.update(),
            Op::Circle(..) | Op::Box(..) | Op::Nearest(..) => self.ask(op),
            _ => self.apply_to_observer(op),
        }
    }

    fn apply_to_subject(&mut self, op: &Op) {
        let exists = |id: u32| self.oracle.subject(SubjectId(id)).is_some();
        match *op {
            Op::InsertSubject(id, subject) if !exists(id) => {
                all!(self.insert_subject(SubjectId(id), subject))
            }
            Op::RemoveSubject(id) if exists(id) => all!(self.remove_subject(SubjectId(id))),
            Op::ReplaceSubject(id, subject) if exists(id) => {
                all!(self.remove_subject(SubjectId(id)));
                all!(self.insert_subject(SubjectId(id), subject));
            }
            Op::MoveSubject(id, position) if exists(id) => all!(self.move_subject(SubjectId(id), position)),
            Op::SetLayers(id, layers) if exists(id) => all!(self.set_layers(SubjectId(id), layers)),
            Op::SetAppeal(id, appeal) if exists(id) => all!(self.set_appeal(SubjectId(id), appeal)),
            _ => {}
        }
    }

    fn apply_to_observer(&mut self, op: &Op) {
        let exists = |id: u32| self.oracle.observer(ObserverId(id)).is_some();
        match *op {
            Op::InsertObserver(id, observer) if !exists(id) => {
                all!(self.insert_observer(ObserverId(id), observer));
            }
            Op::RemoveObserver(id) if exists(id) => {
                all!(self.remove_observer(ObserverId(id)));
                assert!(self.one.view(ObserverId(id)).is_empty(), "no observer, no view");
            }
            Op::ReplaceObserver(id, observer) if exists(id) => {
                all!(self.remove_observer(ObserverId(id)));
                all!(self.insert_observer(ObserverId(id), observer));
            }
            Op::MoveObserver(id, position) if exists(id) => {
                all!(self.move_observer(ObserverId(id), position))
            }
            Op::SetRadius(id, radius) if exists(id) => all!(self.set_radius(ObserverId(id), radius)),
            Op::SetSees(id, sees) if exists(id) => all!(self.set_sees(ObserverId(id), sees)),
            Op::SetManual(id, subject, manual)
                if exists(id) && self.oracle.subject(SubjectId(subject)).is_some() =>
            {
                all!(self.set_manual(ObserverId(id), SubjectId(subject), manual));
            }
            _ => {}
        }
    }

    fn apply_to_trap(&mut self, op: &Op) {
        let exists = |id: u32| self.oracle.has_trap(TrapId(id));
        match *op {
            Op::InsertTrap(id, centre, radius, layers) if !exists(id) => {
                all!(self.insert_trap(TrapId(id), centre, radius, layers));
            }
            Op::MoveTrap(id, centre) if exists(id) => all!(self.move_trap(TrapId(id), centre)),
            Op::RemoveTrap(id) if exists(id) => all!(self.remove_trap(TrapId(id))),
            _ => {}
        }
    }

    fn subjects(&self) -> impl Iterator<Item = (SubjectId, Subject)> + '_ {
        (0..SUBJECTS)
            .map(SubjectId)
            .filter_map(|id| Some((id, *self.oracle.subject(id)?)))
    }

    fn put_everybody(&mut self, mut place: impl FnMut(u32, [i32; 3]) -> [i32; 3]) {
        let places: Vec<_> = self
            .subjects()
            .map(|(id, subject)| (id, place(id.0, subject.position)))
            .collect();
        places
            .into_iter()
            .for_each(|(id, position)| all!(self.move_subject(id, position)));
        for id in (0..OBSERVERS).map(ObserverId) {
            let avatar = self.oracle.observer(id).and_then(|observer| observer.avatar);
            if let Some(subject) = avatar.and_then(|avatar| self.oracle.subject(avatar).copied()) {
                all!(self.move_observer(id, subject.position));
            }
        }
    }

    fn update(&mut self) {
        ONE_THREAD.install(|| self.one.update());
        TWO_THREADS.install(|| self.two.update());
        self.oracle.update();
        for engine in [&self.one, &self.two] {
            assert_eq!(engine.events(), self.oracle.events());
            assert_eq!(engine.watched_changes(), self.oracle.watched_changes());
            assert_eq!(engine.trap_events(), self.oracle.trap_events());
        }
        self.events_compared += self.oracle.events().len() as u64;
        (0..OBSERVERS)
            .map(ObserverId)
            .for_each(|id| self.compare_view(id));
        for id in (0..SUBJECTS).step_by(7).map(SubjectId) {
            assert!(self.one.observers_of(id).eq(self.oracle.observers_of(id)));
            assert_eq!(self.one.is_watched(id), self.oracle.is_watched(id));
        }
    }

    /// Reads one view in every way there is.
    fn compare_view(&self, id: ObserverId) {
        let expected: Vec<_> = self.oracle.view(id).collect();
        assert!(self.two.view(id).iter().eq(expected.iter().copied()));
        let view = self.one.view(id);
        assert_eq!(view.iter().collect::<Vec<_>>(), expected);
        assert_eq!(
            (view.len(), view.is_empty()),
            (expected.len(), expected.is_empty())
        );
        assert!(
            (0..SUBJECTS)
                .map(SubjectId)
                .all(|id| view.contains(id) == expected.binary_search(&id).is_ok())
        );

        let mut from_blocks: Vec<_> = view
            .blocks()
            .flat_map(|block| block.iter().collect::<Vec<_>>())
            .collect();
        from_blocks.sort();
        assert_eq!(from_blocks, expected);

        let mut words = vec![u64::MAX; 3];
        view.copy_words(&mut words);
        let bits = (0..words.len() as u32 * 64).filter(|id| words[*id as usize / 64] >> (id % 64) & 1 != 0);
        assert!(bits.map(SubjectId).eq(expected.iter().copied()));
    }

    fn ask(&self, op: &Op) {
        let mut found = vec![SubjectId(7)];
        let expected = match *op {
            Op::Circle(centre, radius, layers) => {
                self.one.circle(centre, radius, layers, &mut found);
                self.oracle.circle(centre, radius, layers)
            }
            Op::Box(low, high, layers) => {
                self.one.in_box(low, high, layers, &mut found);
                self.oracle.in_box(low, high, layers)
            }
            Op::Nearest(centre, count, radius, layers) => {
                self.one.nearest(centre, count, radius, layers, &mut found);
                self.oracle.nearest(centre, count, radius, layers)
            }
            _ => unreachable!("not a question"),
        };
        assert_eq!(found, expected);
    }
}
