//! The rule as obvious code: every observer against every subject, in plain tables.
//!
//! It has the engine's methods with the engine's meaning and shares none of its code, only its vocabulary. Tests,
//! the simulator and the load harness hold the engine, and what clients see, against it. An update costs a few ns
//! for every observer and subject, and it remembers 4 bytes for each such pair of ids: for checking, never for
//! serving.

use crate::traps::{TrapEvent, TrapId};
use crate::types::{Config, Edge, Event, Observer, ObserverId, RADIUS_MAX, Shape, Subject, SubjectId};

/// The brute force twin of [`Engine`](crate::Engine).
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    config: Config,
    /// By id.
    subjects: Vec<Life>,
    /// By id.
    observers: Vec<Option<Observer>>,
    /// By observer, then by subject; a row is as long as the greatest subject that it was needed for.
    pairs: Vec<Vec<Pair>>,
    /// By id.
    traps: Vec<Option<Trap>>,
    /// The living subjects as of the last update, ascending: what the queries answer from.
    snapshot: Vec<(SubjectId, Subject)>,
    /// By id: whether anybody saw the subject in the last update.
    watched: Vec<bool>,
    events: Vec<Event>,
    trap_events: Vec<TrapEvent>,
    watched_changes: Vec<(SubjectId, bool)>,
}

/// What there is of one subject id.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// `None` while the id is not in use.
    subject: Option<Subject>,
    /// Whether it is the life that was there in the last update. What is remembered of another one counts for
    /// nothing, but that whoever saw it must be told that it left.
    goes_on: bool,
}

/// What is remembered of one observer and one subject.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    near_radius: bool,
    near_appeal: bool,
    /// Manual interest, as of now.
    manual: bool,
    /// In view in the last update.
    visible: bool,
}

#[derive(Clone, Debug)]
struct Trap {
    centre: [i32; 3],
    radius: u32,
    layers: u32,
    /// By subject: who was inside in the last update.
    inside: Vec<bool>,
}

/// How far is near: one limit for who comes, a greater one for who stays.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// The greatest d² and `|dy|` of who comes near.
    enter: (u64, u64),
    /// The same of who stays near.
    stay: (u64, u64),
}

impl Reach {
    /// Whole numbers make `100 d² <= 121 R²` the same as `d² <= 121 R² / 100` rounded down, and `10 |dy| <= 11 L`
    /// the same as `|dy| <= 11 L / 10` rounded down.
    fn new(radius: u32, dy_limit: Option<u32>) -> Self {
        let radius2 = u64::from(radius.min(RADIUS_MAX)).pow(2);
        let stay2 = u128::from(radius2) * 121 / 100;
        let dy_limit = dy_limit.map_or(u64::MAX / 11, u64::from);
        Self {
            enter: (radius2, dy_limit),
            stay: (stay2 as u64, dy_limit * 11 / 10),
        }
    }

    fn is_near(&self, apart: Apart, was_near: bool) -> bool {
        let (distance2, dy) = if was_near { self.stay } else { self.enter };
        apart.distance2 <= distance2 && apart.dy <= dy
    }
}

/// How far two places are from each other.
#[derive(Clone, Copy, Debug)]
struct Apart {
    /// `u64::MAX` if it is more, which is beyond every reach.
    distance2: u64,
    dy: u64,
}

impl Apart {
    fn new(a: [i32; 3], b: [i32; 3]) -> Self {
        let [x, y, z] = [0, 1, 2].map(|axis| u64::from(a[axis].abs_diff(b[axis])));
        Self {
            distance2: (x * x).saturating_add(y * y).saturating_add(z * z),
            dy: y,
        }
    }
}

/// Whether an observer sees a subject, apart from manual interest; `seen` says whether it was near before, in the
/// sense that counts now: by its appeal if it has one, else by the observer's radius.
pub fn sees(observer: &Observer, subject: &Subject, dy_limit: Option<u32>, seen: bool) -> bool {
    let reach = Reach::new(observer.radius.max(subject.appeal), dy_limit);
    let near = reach.is_near(Apart::new(observer.position, subject.position), seen);
    observer.sees & subject.layers != 0 && near
}

/// The square of the distance in three dimensions.
pub fn distance2(a: [i32; 3], b: [i32; 3]) -> i128 {
    let square = |axis: usize| (i128::from(a[axis]) - i128::from(b[axis])).pow(2);
    square(0) + square(1) + square(2)
}

/// Whether `position` is in the sector that opens at `centre` along `direction` (x and z), by the angle on the
/// ground: the cosine of the angle between the two is at least `half_angle_cos / 65536`. Where there is no angle,
/// it is.
pub fn is_in_sector(centre: [i32; 3], direction: [i32; 2], half_angle_cos: i32, position: [i32; 3]) -> bool {
    let x = i128::from(position[0]) - i128::from(centre[0]);
    let z = i128::from(position[2]) - i128::from(centre[2]);
    let [towards_x, towards_z] = direction.map(i128::from);
    let dot = x * towards_x + z * towards_z;
    let lengths2 = (x * x + z * z) as u128 * (towards_x * towards_x + towards_z * towards_z) as u128;

    // 65536 dot >= cos |v| |direction|, where both sides are squared once their signs are known.
    let left2 = wide_product(dot.unsigned_abs().pow(2), 1 << 32);
    let right2 = wide_product(lengths2, u64::from(half_angle_cos.unsigned_abs()).pow(2));
    match (dot >= 0, half_angle_cos >= 0) {
        (true, true) => left2 >= right2,
        (true, false) => true,
        (false, true) => false,
        (false, false) => left2 <= right2,
    }
}

/// `a b` in two parts, the high one first: it has up to 192 bits.
fn wide_product(a: u128, b: u64) -> (u128, u64) {
    let low = (a & u128::from(u64::MAX)) * u128::from(b);
    let high = (a >> 64) * u128::from(b) + (low >> 64);
    (high, low as u64)
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
        let life = at(&mut self.subjects, id.0);
        assert!(life.subject.is_none(), "{id:?} is inserted already");
        *life = Life {
            subject: Some(subject),
            goes_on: false,
        };
    }

    /// See [`Engine::remove_subject`](crate::Engine::remove_subject).
    pub fn remove_subject(&mut self, id: SubjectId) {
        self.subject_mut(id);
        self.subjects[id.0 as usize] = Life::default();
        for row in &mut self.pairs {
            at(row, id.0).manual = false;
        }
        if self.is_mutual() && self.observer(ObserverId(id.0)).is_some() {
            self.remove_observer(ObserverId(id.0));
        }
    }

    /// See [`Engine::move_subject`](crate::Engine::move_subject).
    pub fn move_subject(&mut self, id: SubjectId, position: [i32; 3]) {
        self.subject_mut(id).position = position;
        if self.is_mutual()
            && let Some(Some(observer)) = self.observers.get_mut(id.0 as usize)
        {
            observer.position = position;
        }
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
        self.subjects.get(id.0 as usize)?.subject.as_ref()
    }

    /// See [`Engine::insert_observer`](crate::Engine::insert_observer).
    pub fn insert_observer(&mut self, id: ObserverId, mut observer: Observer) {
        if let Shape::Mutual { radius } = self.config.shape {
            let subject = *self.subject_mut(SubjectId(id.0));
            assert_eq!(observer.radius, radius, "the radius is the shape's");
            assert_eq!(observer.avatar, Some(SubjectId(id.0)), "{id:?} is its own avatar");
            observer.position = subject.position;
        }
        let place = at(&mut self.observers, id.0);
        assert!(place.is_none(), "{id:?} is inserted already");
        *place = Some(observer);
    }

    /// See [`Engine::remove_observer`](crate::Engine::remove_observer).
    pub fn remove_observer(&mut self, id: ObserverId) {
        self.observer_mut(id);
        self.observers[id.0 as usize] = None;
        let is_mutual = self.is_mutual();
        for pair in at(&mut self.pairs, id.0) {
            *pair = Pair {
                // What is near to a mutual observer's entity does not depend on whether it observes.
                near_radius: pair.near_radius && is_mutual,
                near_appeal: pair.near_appeal && is_mutual,
                manual: false,
                visible: false,
            };
        }
    }

    /// See [`Engine::move_observer`](crate::Engine::move_observer).
    pub fn move_observer(&mut self, id: ObserverId, position: [i32; 3]) {
        assert!(!self.is_mutual(), "a mutual observer moves with its subject");
        self.observer_mut(id).position = position;
    }

    /// See [`Engine::set_radius`](crate::Engine::set_radius).
    pub fn set_radius(&mut self, id: ObserverId, radius: u32) {
        assert!(!self.is_mutual(), "a mutual observer's radius is the shape's");
        self.observer_mut(id).radius = radius;
    }

    /// See [`Engine::set_sees`](crate::Engine::set_sees).
    pub fn set_sees(&mut self, id: ObserverId, sees: u32) {
        self.observer_mut(id).sees = sees;
    }

    /// See [`Engine::observer`](crate::Engine::observer).
    pub fn observer(&self, id: ObserverId) -> Option<&Observer> {
        self.observers.get(id.0 as usize)?.as_ref()
    }

    /// See [`Engine::set_manual`](crate::Engine::set_manual).
    pub fn set_manual(&mut self, observer: ObserverId, subject: SubjectId, manual: bool) {
        self.observer_mut(observer);
        self.subject_mut(subject);
        at(at(&mut self.pairs, observer.0), subject.0).manual = manual;
    }

    /// See [`Engine::insert_trap`](crate::Engine::insert_trap).
    pub fn insert_trap(&mut self, id: TrapId, centre: [i32; 3], radius: u32, layers: u32) {
        let place = at(&mut self.traps, id.0);
        assert!(place.is_none(), "{id:?} is inserted already");
        *place = Some(Trap {
            centre,
            radius,
            layers,
            inside: Vec::new(),
        });
    }

    /// See [`Engine::move_trap`](crate::Engine::move_trap).
    pub fn move_trap(&mut self, id: TrapId, centre: [i32; 3]) {
        let trap = at(&mut self.traps, id.0).as_mut();
        trap.expect("the trap is inserted").centre = centre;
    }

    /// See [`Engine::remove_trap`](crate::Engine::remove_trap).
    pub fn remove_trap(&mut self, id: TrapId) {
        let trap = at(&mut self.traps, id.0).take();
        assert!(trap.is_some(), "{id:?} is not inserted");
    }

    /// Whether the trap's id is in use.
    pub fn has_trap(&self, id: TrapId) -> bool {
        self.traps.get(id.0 as usize).is_some_and(Option::is_some)
    }

    fn is_mutual(&self) -> bool {
        matches!(self.config.shape, Shape::Mutual { .. })
    }

    fn subject_mut(&mut self, id: SubjectId) -> &mut Subject {
        let subject = at(&mut self.subjects, id.0).subject.as_mut();
        subject.unwrap_or_else(|| panic!("{id:?} is not inserted"))
    }

    fn observer_mut(&mut self, id: ObserverId) -> &mut Observer {
        let observer = at(&mut self.observers, id.0).as_mut();
        observer.unwrap_or_else(|| panic!("{id:?} is not inserted"))
    }
}

/// The entry of an id in a table, which grows as needed.
fn at<T: Default>(table: &mut Vec<T>, id: u32) -> &mut T {
    let index = id as usize;
    if index >= table.len() {
        table.resize_with(index + 1, T::default);
    }
    &mut table[index]
}

/// The update.
impl Oracle {
    /// See [`Engine::update`](crate::Engine::update).
    pub fn update(&mut self) {
        let living = (0..).map(SubjectId).zip(&self.subjects);
        self.snapshot = living
            .filter_map(|(id, life)| Some((id, life.subject?)))
            .collect();
        self.update_views();
        self.update_traps();
        self.update_watched();
        for life in &mut self.subjects {
            life.goes_on = life.subject.is_some();
        }
    }

    fn update_views(&mut self) {
        self.events.clear();
        let rows = self.observers.len().max(self.subjects.len()) as u32;
        for id in 0..rows {
            let observer = self.observers.get(id as usize).copied().flatten();
            match self.config.shape {
                Shape::Directed => {
                    if let Some(observer) = observer {
                        self.update_view(ObserverId(id), Some(observer), observer.position, observer.radius);
                    }
                }
                Shape::Mutual { radius } => {
                    let Some(&Life { subject, goes_on }) = self.subjects.get(id as usize) else {
                        continue;
                    };
                    let row = at(&mut self.pairs, id);
                    if !goes_on {
                        row.iter_mut().for_each(Pair::forget_nearness);
                    }
                    if let Some(subject) = subject {
                        self.update_view(ObserverId(id), observer, subject.position, radius);
                    }
                }
            }
        }
    }

    /// One row of pairs. `observer` is `None` for the entity of a mutual engine that does not observe: it has
    /// nearness, but sees nothing.
    fn update_view(&mut self, id: ObserverId, observer: Option<Observer>, position: [i32; 3], radius: u32) {
        let dy_limit = self.config.dy_limit;
        let by_radius = Reach::new(radius, dy_limit);
        let sees = observer.map_or(0, |observer| observer.sees);
        let row = at(&mut self.pairs, id.0);
        row.resize_with(row.len().max(self.subjects.len()), Pair::default);
        for ((life, pair), subject_id) in self.subjects.iter().zip(row).zip((0..).map(SubjectId)) {
            let was_visible = pair.visible;
            if !life.goes_on {
                pair.forget_nearness();
            }
            match life.subject {
                None => *pair = Pair::default(),
                Some(subject) => {
                    let apart = Apart::new(position, subject.position);
                    pair.near_radius = by_radius.is_near(apart, pair.near_radius);
                    pair.near_appeal = subject.appeal > 0
                        && Reach::new(radius.max(subject.appeal), dy_limit).is_near(apart, pair.near_appeal);
                    let near = match subject.appeal {
                        0 => pair.near_radius,
                        _ => pair.near_appeal,
                    };
                    pair.visible = sees & subject.layers != 0 && (near || pair.manual);
                }
            }
            let edges = edges(was_visible, pair.visible, life.goes_on);
            self.events.extend(edges.map(|edge| Event {
                observer: id,
                subject: subject_id,
                edge,
            }));
        }
    }

    fn update_traps(&mut self) {
        self.trap_events.clear();
        for (trap, id) in self.traps.iter_mut().zip((0..).map(TrapId)) {
            let Some(trap) = trap else { continue };
            for (life, subject_id) in self.subjects.iter().zip((0..).map(SubjectId)) {
                let is_inside = life
                    .subject
                    .is_some_and(|subject| is_in_circle(&subject, trap.centre, trap.radius, trap.layers));
                let was_inside = std::mem::replace(at(&mut trap.inside, subject_id.0), is_inside);
                let edges = edges(was_inside, is_inside, life.goes_on);
                self.trap_events.extend(edges.map(|edge| TrapEvent {
                    trap: id,
                    subject: subject_id,
                    edge,
                }));
            }
        }
    }

    fn update_watched(&mut self) {
        self.watched_changes.clear();
        if !self.config.watched {
            return;
        }
        let mut watched = vec![false; self.subjects.len()];
        for row in &self.pairs {
            for (watched, pair) in watched.iter_mut().zip(row) {
                *watched |= pair.visible;
            }
        }
        for (life, id) in self.subjects.iter().zip((0..).map(SubjectId)) {
            let was_watched = *at(&mut self.watched, id.0);
            let edges = edges(was_watched, watched[id.0 as usize], life.goes_on);
            self.watched_changes
                .extend(edges.map(|edge| (id, edge == Edge::Enter)));
        }
        self.watched = watched;
    }
}

impl Pair {
    fn forget_nearness(&mut self) {
        self.near_radius = false;
        self.near_appeal = false;
    }
}

/// What happened to somebody who `was` in and `is` in, in this order. A life that does not go on leaves, and
/// another one enters.
fn edges(was: bool, is: bool, goes_on: bool) -> impl Iterator<Item = Edge> {
    let leave = was && !(is && goes_on);
    let enter = is && !(was && goes_on);
    let leave = leave.then_some(Edge::Leave);
    leave.into_iter().chain(enter.then_some(Edge::Enter))
}

/// What is read out. Everything is sorted, by observer or trap first, then by subject, `Leave` before `Enter`.
impl Oracle {
    /// See [`Engine::events`](crate::Engine::events).
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// See [`Engine::view`](crate::Engine::view).
    pub fn view(&self, id: ObserverId) -> impl Iterator<Item = SubjectId> + use<'_> {
        let row = self.pairs.get(id.0 as usize).into_iter().flatten();
        let seen = row.zip((0..).map(SubjectId)).filter(|(pair, _)| pair.visible);
        seen.map(|(_, subject)| subject)
    }

    /// Whether a subject is in an observer's view.
    pub fn is_visible(&self, observer: ObserverId, subject: SubjectId) -> bool {
        let row = self.pairs.get(observer.0 as usize);
        let pair = row.and_then(|row| row.get(subject.0 as usize));
        pair.is_some_and(|pair| pair.visible)
    }

    /// See [`Engine::pairs`](crate::Engine::pairs).
    pub fn pairs(&self) -> u64 {
        let visible = self.pairs.iter().flatten().filter(|pair| pair.visible);
        visible.count() as u64
    }

    /// See [`Engine::observers_of`](crate::Engine::observers_of).
    pub fn observers_of(&self, id: SubjectId) -> impl Iterator<Item = ObserverId> + use<'_> {
        let observers = (0..self.pairs.len() as u32).map(ObserverId);
        observers.filter(move |observer| self.is_visible(*observer, id))
    }

    /// See [`Engine::is_watched`](crate::Engine::is_watched).
    pub fn is_watched(&self, id: SubjectId) -> bool {
        self.watched.get(id.0 as usize) == Some(&true)
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

    /// See [`Engine::sector`](crate::Engine::sector).
    pub fn sector(
        &self,
        centre: [i32; 3],
        direction: [i32; 2],
        half_angle_cos: i32,
        radius: u32,
        layers: u32,
    ) -> Vec<SubjectId> {
        self.all(|subject| {
            is_in_circle(subject, centre, radius, layers)
                && is_in_sector(centre, direction, half_angle_cos, subject.position)
        })
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
        let inside = |subject: &Subject| is_in_circle(subject, centre, radius, layers);
        let found = self.snapshot.iter().filter(|(_, subject)| inside(subject));
        let mut found: Vec<_> = found
            .map(|(id, subject)| (distance2(centre, subject.position), *id))
            .collect();
        found.sort();
        found.into_iter().map(|(_, id)| id).take(count).collect()
    }

    fn all(&self, wanted: impl Fn(&Subject) -> bool) -> Vec<SubjectId> {
        let found = self.snapshot.iter().filter(|(_, subject)| wanted(subject));
        found.map(|(id, _)| *id).collect()
    }
}

/// Whether a subject is in a ball around `centre` and has one of the layers.
fn is_in_circle(subject: &Subject, centre: [i32; 3], radius: u32, layers: u32) -> bool {
    let radius = i128::from(radius.min(RADIUS_MAX));
    subject.layers & layers != 0 && distance2(centre, subject.position) <= radius * radius
}
