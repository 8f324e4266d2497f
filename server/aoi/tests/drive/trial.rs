//! One world many times: in the oracle, and in an engine for each kernel and each number of threads.

use std::collections::VecDeque;
use std::sync::LazyLock;

use myriad_aoi::oracle::Oracle;
use myriad_aoi::{Config, Engine, Kernel, Observer, ObserverId, Shape, Subject, SubjectId, TrapId};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::op::Op;

pub(crate) static ONE_THREAD: LazyLock<ThreadPool> = LazyLock::new(|| pool(1));
static TWO_THREADS: LazyLock<ThreadPool> = LazyLock::new(|| pool(2));

fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().expect("threads can be started")
}

/// Updates of which the operations are remembered, to be told when something differs.
const UPDATES_REMEMBERED: usize = 12;

/// What a trial compares, and what it calls itself in a failure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Seed and scene: enough to run it again.
    pub(crate) name: String,
    /// Its kernel is replaced by each of those that the machine has.
    pub(crate) config: Config,
    /// Ids in use are below these.
    pub(crate) subjects: u32,
    pub(crate) observers: u32,
    /// Every how-manieth view of every engine is read after an update, in turn; 1 for all.
    pub(crate) view_stride: u32,
    /// Whether there are engines on two threads too.
    pub(crate) two_threads: bool,
}

impl Plan {
    pub(crate) fn is_mutual(&self) -> bool {
        matches!(self.config.shape, Shape::Mutual { .. })
    }
}

/// An engine and where it runs.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pool: &'static ThreadPool,
}

/// A world in the making. Whatever differs panics, with what led to it.
pub(crate) struct Trial {
    pub(crate) plan: Plan,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) oracle: Oracle,
    /// By update, the newest last: what was done, mass operations one by one.
    pub(crate) done: VecDeque<Vec<Op>>,
    pub(crate) updates: u32,
    pub(crate) events_compared: u64,
}

impl Drop for Trial {
    /// An engine's own assertion does not know the seed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: failed at update {}", self.plan.name, self.updates);
        }
    }
}

/// Calls the same method of everybody.
macro_rules! all {
    ($trial:ident . $method:ident ( $($argument:expr),* )) => {{
        $trial.oracle.$method($($argument),*);
        for contender in &mut $trial.contenders {
            contender.engine.$method($($argument),*);
        }
    }};
}

impl Trial {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut contenders = Vec::new();
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
            let pools = [(1, &*ONE_THREAD), (2, &*TWO_THREADS)];
            for (threads, pool) in pools.into_iter().take(1 + usize::from(plan.two_threads)) {
                let engine = Engine::new(Config {
                    kernel: Some(kernel),
                    ..plan.config.clone()
                });
                assert_eq!(engine.kernel(), kernel);
                let name = format!("{} on {threads}", kernel.name());
                contenders.push(Contender { name, engine, pool });
            }
        }
        Self {
            contenders,
            oracle: Oracle::new(plan.config.clone()),
            done: VecDeque::from([Vec::new()]),
            updates: 0,
            events_compared: 0,
            plan,
        }
    }

    /// Does it to the oracle and to all engines, and compares what can be read then.
    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Drift(_) | Op::Rotate | Op::Gather(_) | Op::RemoveAllSubjects | Op::RemoveAllObservers => {
                let each = self.each(op);
                return each.iter().for_each(|op| self.apply(op));
            }
            Op::Update => return self.update(),
            Op::Circle(..) | Op::Box(..) | Op::Nearest(..) | Op::Sector(..) => return self.ask(op),
            _ => {}
        }
        let ops = self.done.back_mut().expect("there is an update to come");
        ops.push(*op);
        match op {
            Op::InsertTrap(..) | Op::MoveTrap(..) | Op::RemoveTrap(_) => self.apply_to_trap(op),
            _ if op.observer().is_some() => self.apply_to_observer(op),
            _ => self.apply_to_subject(op),
        }
    }

    fn apply_to_subject(&mut self, op: &Op) {
        let id = SubjectId(op.subject().expect("it is about a subject"));
        let exists = self.oracle.subject(id).is_some();
        match *op {
            Op::InsertSubject(_, subject) if !exists => all!(self.insert_subject(id, subject)),
            Op::RemoveSubject(_) if exists => self.remove_subject(id),
            Op::ReplaceSubject(_, subject) if exists => {
                let observer = self.oracle.observer(ObserverId(id.0)).copied();
                self.remove_subject(id);
                all!(self.insert_subject(id, subject));
                if let Some(observer) = observer.filter(|_| self.plan.is_mutual()) {
                    self.insert_observer(ObserverId(id.0), observer);
                }
            }
            Op::MoveSubject(_, position) if exists => all!(self.move_subject(id, position)),
            Op::SetLayers(_, layers) if exists => all!(self.set_layers(id, layers)),
            Op::SetAppeal(_, appeal) if exists => all!(self.set_appeal(id, appeal)),
            _ => {}
        }
    }

    fn apply_to_observer(&mut self, op: &Op) {
        let id = ObserverId(op.observer().expect("it is about an observer"));
        let exists = self.oracle.observer(id).is_some();
        let is_directed = !self.plan.is_mutual();
        match *op {
            Op::InsertObserver(_, observer) if !exists => self.insert_observer(id, observer),
            Op::RemoveObserver(_) if exists => self.remove_observer(id),
            Op::ReplaceObserver(_, observer) if exists => {
                self.remove_observer(id);
                self.insert_observer(id, observer);
            }
            Op::MoveObserver(_, position) if exists && is_directed => all!(self.move_observer(id, position)),
            Op::SetRadius(_, radius) if exists && is_directed => all!(self.set_radius(id, radius)),
            Op::SetSees(_, sees) if exists => all!(self.set_sees(id, sees)),
            Op::SetManual(_, subject, manual)
                if exists && self.oracle.subject(SubjectId(subject)).is_some() =>
            {
                all!(self.set_manual(id, SubjectId(subject), manual));
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

    fn remove_subject(&mut self, id: SubjectId) {
        all!(self.remove_subject(id));
        if self.plan.is_mutual() {
            self.expect_no_view(ObserverId(id.0));
        }
    }

    fn insert_observer(&mut self, id: ObserverId, mut observer: Observer) {
        if let Shape::Mutual { radius } = self.plan.config.shape {
            let avatar = SubjectId(id.0);
            let Some(subject) = self.oracle.subject(avatar) else {
                return;
            };
            observer = Observer {
                position: subject.position,
                radius,
                sees: observer.sees,
                avatar: Some(avatar),
            };
        }
        all!(self.insert_observer(id, observer));
        self.expect_no_view(id);
    }

    fn remove_observer(&mut self, id: ObserverId) {
        all!(self.remove_observer(id));
        self.expect_no_view(id);
    }

    fn expect_no_view(&self, id: ObserverId) {
        for Contender { name, engine, .. } in &self.contenders {
            let view = engine.view(id);
            let nobody = view.is_empty() && view.iter().next().is_none();
            assert!(
                nobody && view.blocks().next().is_none(),
                "{name}: {id:?} has a view that it must not have"
            );
        }
    }

    /// A mass operation, one by one.
    fn each(&self, op: &Op) -> Vec<Op> {
        match *op {
            Op::Drift(step) => {
                let turn = |id: u32, axis: u32| (id.wrapping_mul(0x9e37_79b9) >> (3 * axis) & 7) as i32 - 3;
                let drifted = |id: u32, position: [i32; 3]| {
                    [0, 1, 2].map(|axis| {
                        let step = step.wrapping_mul(turn(id, axis));
                        position[axis as usize].wrapping_add(step)
                    })
                };
                let places = self
                    .subjects()
                    .map(|(id, subject)| (id, drifted(id, subject.position)));
                self.moves(places)
            }
            Op::Rotate => {
                let positions = self.subjects().map(|(_, subject)| subject.position);
                let rotated: Vec<_> = positions.clone().skip(1).chain(positions.take(1)).collect();
                self.moves(self.subjects().map(|(id, _)| id).zip(rotated))
            }
            Op::Gather(position) => self.moves(self.subjects().map(|(id, _)| (id, position))),
            Op::RemoveAllSubjects => self.subjects().map(|(id, _)| Op::RemoveSubject(id)).collect(),
            Op::RemoveAllObservers => (0..self.plan.observers).map(Op::RemoveObserver).collect(),
            _ => unreachable!("not a mass operation"),
        }
    }

    /// Puts subjects somewhere, and with them the observers whose avatars they are.
    fn moves(&self, places: impl Iterator<Item = (u32, [i32; 3])>) -> Vec<Op> {
        let places: Vec<_> = places.collect();
        let mut ops: Vec<_> = places.iter().map(|(id, at)| Op::MoveSubject(*id, *at)).collect();
        if !self.plan.is_mutual() {
            for id in 0..self.plan.observers {
                let observer = self.oracle.observer(ObserverId(id));
                let avatar = observer.and_then(|observer| observer.avatar);
                let place = avatar.and_then(|avatar| places.iter().find(|(id, _)| *id == avatar.0));
                ops.extend(place.map(|(_, position)| Op::MoveObserver(id, *position)));
            }
        }
        ops
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = (u32, Subject)> + Clone + '_ {
        let ids = 0..self.plan.subjects;
        ids.filter_map(|id| Some((id, *self.oracle.subject(SubjectId(id))?)))
    }

    fn update(&mut self) {
        for contender in &mut self.contenders {
            let Contender { engine, pool, .. } = contender;
            pool.install(|| engine.update());
        }
        self.oracle.update();
        self.compare();
        self.events_compared += self.oracle.events().len() as u64;
        self.updates += 1;
        self.done.push_back(Vec::new());
        if self.done.len() > UPDATES_REMEMBERED {
            self.done.pop_front();
        }
    }
}
