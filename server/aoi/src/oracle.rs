//! The rule as obvious code: every observer against every subject, in maps and sets, with 128-bit arithmetic.
//!
//! It has the engine's methods with the engine's meaning and shares none of its code, only its vocabulary. Tests,
//! the simulator and the load harness hold the engine, and what clients see, against it. Its cost is observers x
//! subjects x logarithms: for checking, never for serving.

use std::collections::{BTreeMap, BTreeSet};

use crate::traps::{TrapEvent, TrapId};
use crate::types::{Config, Edge, Event, Observer, ObserverId, RADIUS_MAX, Subject, SubjectId};

/// Counts the lives that began: a reused id is somebody else.
type Life = u64;

/// Who is in a view: which id, and which life of it.
type Seen = BTreeSet<(SubjectId, Life)>;

/// The brute force twin of [`Engine`](crate::Engine).
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    config: Config,
    lives: Life,
    subjects: BTreeMap<SubjectId, (Life, Subject)>,
    observers: BTreeMap<ObserverId, Observer>,
    manual: BTreeSet<(ObserverId, SubjectId)>,
    traps: BTreeMap<TrapId, Trap>,
    /// The living subjects as of the last update: what the queries answer from.
    snapshot: BTreeMap<SubjectId, Subject>,
    views: BTreeMap<ObserverId, Seen>,
    insides: BTreeMap<TrapId, Seen>,
    watched: Seen,
    events: Vec<Event>,
    trap_events: Vec<TrapEvent>,
    watched_changes: Vec<(SubjectId, bool)>,
}

#[derive(Clone, Copy, Debug)]
struct Trap {
    centre: [i32; 3],
    radius: u32,
    layers: u32,
}

/// Whether an observer sees a subject, apart from manual interest; `seen` says whether it did before.
pub fn sees(observer: &Observer, subject: &Subject, dy_limit: Option<u32>, seen: bool) -> bool {
    let radius = i128::from(observer.radius.max(subject.appeal).min(RADIUS_MAX));
    let distance2 = distance2(observer.position, subject.position);
    let dy = (i128::from(observer.position[1]) - i128::from(subject.position[1])).abs();
    let dy_limit = dy_limit.map_or(i128::MAX / 100, i128::from);

    let meets = observer.sees & subject.layers != 0;
    let enters = distance2 <= radius * radius && dy <= dy_limit;
    let stays = 100 * distance2 <= 121 * radius * radius && 10 * dy <= 11 * dy_limit;
    meets && (enters || seen && stays)
}

/// The square of the distance in three dimensions.
pub fn distance2(a: [i32; 3], b: [i32; 3]) -> i128 {
    let square = |axis: usize| (i128::from(a[axis]) - i128::from(b[axis])).pow(2);
    square(0) + square(1) + square(2)
}

/// Who left and who entered, `old` to `new`, sorted by subject and then `Leave` first.
fn edges(old: &Seen, new: &Seen) -> Vec<(SubjectId, Edge)> {
    let left = old.difference(new).map(|(id, _)| (*id, Edge::Leave));
    let entered = new.difference(old).map(|(id, _)| (*id, Edge::Enter));
    let mut edges: Vec<_> = left.chain(entered).collect();
    edges.sort();
    edges
}

/// What is put in: the engine's changes, which panic where the engine's panic.
impl Oracle {
    /// See [`Engine::new`](crate::Engine::new).
    pub fn new(config: Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// See [`Engine::insert_subject`](crate::Engine::insert_subject).
    pub fn insert_subject(&mut self, id: SubjectId, subject: Subject) {
        self.lives += 1;
        let replaced = self.subjects.insert(id, (self.lives, subject));
        assert!(replaced.is_none(), "{id:?} is inserted already");
    }

    /// See [`Engine::remove_subject`](crate::Engine::remove_subject).
    pub fn remove_subject(&mut self, id: SubjectId) {
        assert!(self.subjects.remove(&id).is_some(), "{id:?} is not inserted");
        self.manual.retain(|(_, subject)| *subject != id);
    }

    /// See [`Engine::move_subject`](crate::Engine::move_subject).
    pub fn move_subject(&mut self, id: SubjectId, position: [i32; 3]) {
        self.subject_mut(id).position = position;
    }

    /// See [`Engine::set_layers`](crate::Engine::set_layers).
    pub fn set_layers(&mut self, id: SubjectId, layers: u32) {
        self.subject_mut(id).layers = layers;
    }

    /// See [`Engine::set_appeal`](crate::Engine::set_appeal).
    pub fn set_appeal(&mut self, id: SubjectId, appeal: u32) {
        self.subject_mut(id).appeal = appeal;
    }

    /// See [`Engine::subject`](crate::Engine::subject).
    pub fn subject(&self, id: SubjectId) -> Option<&Subject> {
        self.subjects.get(&id).map(|(_, subject)| subject)
    }

    /// See [`Engine::insert_observer`](crate::Engine::insert_observer).
    pub fn insert_observer(&mut self, id: ObserverId, observer: Observer) {
        let replaced = self.observers.insert(id, observer);
        assert!(replaced.is_none(), "{id:?} is inserted already");
    }

    /// See [`Engine::remove_observer`](crate::Engine::remove_observer).
    pub fn remove_observer(&mut self, id: ObserverId) {
        assert!(self.observers.remove(&id).is_some(), "{id:?} is not inserted");
        self.manual.retain(|(observer, _)| *observer != id);
        self.views.remove(&id);
    }

    /// See [`Engine::move_observer`](crate::Engine::move_observer).
    pub fn move_observer(&mut self, id: ObserverId, position: [i32; 3]) {
        self.observer_mut(id).position = position;
    }

    /// See [`Engine::set_radius`](crate::Engine::set_radius).
    pub fn set_radius(&mut self, id: ObserverId, radius: u32) {
        self.observer_mut(id).radius = radius;
    }

    /// See [`Engine::set_sees`](crate::Engine::set_sees).
    pub fn set_sees(&mut self, id: ObserverId, sees: u32) {
        self.observer_mut(id).sees = sees;
    }

    /// See [`Engine::observer`](crate::Engine::observer).
    pub fn observer(&self, id: ObserverId) -> Option<&Observer> {
        self.observers.get(&id)
    }

    /// See [`Engine::set_manual`](crate::Engine::set_manual).
    pub fn set_manual(&mut self, observer: ObserverId, subject: SubjectId, manual: bool) {
        assert!(
            self.observers.contains_key(&observer),
            "{observer:?} is not inserted"
        );
        assert!(
            self.subjects.contains_key(&subject),
            "{subject:?} is not inserted"
        );
        if manual {
            self.manual.insert((observer, subject));
        } else {
            self.manual.remove(&(observer, subject));
        }
    }

    /// See [`Engine::insert_trap`](crate::Engine::insert_trap).
    pub fn insert_trap(&mut self, id: TrapId, centre: [i32; 3], radius: u32, layers: u32) {
        let replaced = self.traps.insert(
            id,
            Trap {
                centre,
                radius,
                layers,
            },
        );
        assert!(replaced.is_none(), "{id:?} is inserted already");
    }

    /// See [`Engine::move_trap`](crate::Engine::move_trap).
    pub fn move_trap(&mut self, id: TrapId, centre: [i32; 3]) {
        self.traps.get_mut(&id).expect("the trap is inserted").centre = centre;
    }

    /// See [`Engine::remove_trap`](crate::Engine::remove_trap).
    pub fn remove_trap(&mut self, id: TrapId) {
        assert!(self.traps.remove(&id).is_some(), "{id:?} is not inserted");
        self.insides.remove(&id);
    }

    /// Whether the trap's id is in use.
    pub fn has_trap(&self, id: TrapId) -> bool {
        self.traps.contains_key(&id)
    }

    fn subject_mut(&mut self, id: SubjectId) -> &mut Subject {
        let (_, subject) = self.subjects.get_mut(&id).expect("the subject is inserted");
        subject
    }

    fn observer_mut(&mut self, id: ObserverId) -> &mut Observer {
        self.observers.get_mut(&id).expect("the observer is inserted")
    }
}

/// The update, and what is read out.
impl Oracle {
    /// See [`Engine::update`](crate::Engine::update).
    pub fn update(&mut self) {
        self.snapshot = self
            .subjects
            .iter()
            .map(|(id, (_, subject))| (*id, *subject))
            .collect();
        self.update_views();
        self.update_traps();
        let watched: Seen = self.views.values().flatten().copied().collect();
        let changes = edges(&self.watched, &watched).into_iter();
        self.watched_changes = changes.map(|(id, edge)| (id, edge == Edge::Enter)).collect();
        self.watched = watched;
    }

    fn update_views(&mut self) {
        self.events.clear();
        for (&id, observer) in &self.observers {
            let old = self.views.entry(id).or_default();
            let mut new = Seen::new();
            for (&subject_id, (life, subject)) in &self.subjects {
                let seen = old.contains(&(subject_id, *life));
                let by_rule = sees(observer, subject, self.config.dy_limit, seen);
                let by_hand = self.manual.contains(&(id, subject_id)) && observer.sees & subject.layers != 0;
                if by_rule || by_hand {
                    new.insert((subject_id, *life));
                }
            }
            let edges = edges(old, &new).into_iter();
            self.events.extend(edges.map(|(subject, edge)| Event {
                observer: id,
                subject,
                edge,
            }));
            *old = new;
        }
    }

    fn update_traps(&mut self) {
        self.trap_events.clear();
        for (&id, trap) in &self.traps {
            let old = self.insides.entry(id).or_default();
            let inside = |subject: &Subject| is_in_circle(subject, trap.centre, trap.radius, trap.layers);
            let living = self.subjects.iter().filter(|(_, (_, subject))| inside(subject));
            let new: Seen = living
                .map(|(subject_id, (life, _))| (*subject_id, *life))
                .collect();
            let edges = edges(old, &new).into_iter();
            self.trap_events.extend(edges.map(|(subject, edge)| TrapEvent {
                trap: id,
                subject,
                edge,
            }));
            *old = new;
        }
    }

    /// See [`Engine::events`](crate::Engine::events).
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// See [`Engine::view`](crate::Engine::view).
    pub fn view(&self, id: ObserverId) -> impl Iterator<Item = SubjectId> + use<'_> {
        self.views
            .get(&id)
            .into_iter()
            .flatten()
            .map(|(subject, _)| *subject)
    }

    /// See [`Engine::observers_of`](crate::Engine::observers_of).
    pub fn observers_of(&self, id: SubjectId) -> impl Iterator<Item = ObserverId> + use<'_> {
        let seeing = self
            .views
            .iter()
            .filter(move |(_, view)| view.iter().any(|(subject, _)| *subject == id));
        seeing.map(|(observer, _)| *observer)
    }

    /// See [`Engine::is_watched`](crate::Engine::is_watched).
    pub fn is_watched(&self, id: SubjectId) -> bool {
        self.watched.iter().any(|(subject, _)| *subject == id)
    }

    /// See [`Engine::watched_changes`](crate::Engine::watched_changes).
    pub fn watched_changes(&self) -> &[(SubjectId, bool)] {
        &self.watched_changes
    }

    /// See [`Engine::trap_events`](crate::Engine::trap_events).
    pub fn trap_events(&self) -> &[TrapEvent] {
        &self.trap_events
    }

    /// See [`Engine::circle`](crate::Engine::circle).
    pub fn circle(&self, centre: [i32; 3], radius: u32, layers: u32) -> Vec<SubjectId> {
        self.all(|subject| is_in_circle(subject, centre, radius, layers))
    }

    /// See [`Engine::in_box`](crate::Engine::in_box).
    pub fn in_box(&self, low: [i32; 3], high: [i32; 3], layers: u32) -> Vec<SubjectId> {
        self.all(|subject| {
            let inside = |axis: usize| (low[axis]..=high[axis]).contains(&subject.position[axis]);
            subject.layers & layers != 0 && inside(0) && inside(1) && inside(2)
        })
    }

    /// See [`Engine::nearest`](crate::Engine::nearest).
    pub fn nearest(&self, centre: [i32; 3], count: usize, radius: u32, layers: u32) -> Vec<SubjectId> {
        let mut found = self.circle(centre, radius, layers);
        found.sort_by_key(|id| (distance2(centre, self.snapshot[id].position), *id));
        found.truncate(count);
        found
    }

    fn all(&self, wanted: impl Fn(&Subject) -> bool) -> Vec<SubjectId> {
        self.snapshot
            .iter()
            .filter(|(_, subject)| wanted(subject))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// Whether a subject is in a ball around `centre` and has one of the layers.
fn is_in_circle(subject: &Subject, centre: [i32; 3], radius: u32, layers: u32) -> bool {
    let radius = i128::from(radius.min(RADIUS_MAX));
    subject.layers & layers != 0 && distance2(centre, subject.position) <= radius * radius
}
