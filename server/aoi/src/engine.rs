//! The engine: what is put in, and what is read out. The update is in `update.rs`.

use crate::emit::unpack;
use crate::field::Field;
use crate::kernel::DyLimit;
use crate::manual::Manuals;
use crate::side::Side;
use crate::traps::{Trap, TrapEvent};
use crate::types::{
    Config, Event, Kernel, Memory, Observer, ObserverId, RADIUS_MAX, Shape, Subject, SubjectId,
};
use crate::update::Changes;
use crate::view::{View, seeing};
use crate::watch::Watched;

/// Subjects and observers in; views and their edges out.
///
/// Order of calls: any number of changes, then [`Engine::update`], then any number of reads, and again. Changes
/// show up in the next update only. The outcome depends on what was there at the update and on the nearness before
/// it, not on the order of the changes, nor on the number of threads or the kernel.
///
/// *Lives.* Removing a subject ends its life: whoever saw it gets a `Leave` at the next update. Inserting the id
/// again begins a new life that nobody has seen, so an observer may get `Leave` and `Enter` for one id in one
/// update, in that order. Manual interest ends with either life. Removing an observer drops its view at once and
/// without events; inserted again, it begins with an empty one.
///
/// *Mutual shape.* With [`Shape::Mutual`], observer `i` is subject `i`: see [`Engine::insert_observer`].
///
/// Ids out of range, inserted twice or not inserted are bugs of the caller: every method that changes something
/// panics on them, as its documentation says.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) kernel: Kernel,
    pub(crate) dy_limit: DyLimit,
    /// The radius of all, in the mutual shape.
    pub(crate) mutual_radius: Option<u32>,
    /// By id. Of a subject that is not in use only memory.
    pub(crate) positions: Vec<[i32; 3]>,
    /// By id.
    pub(crate) subject_lives: Vec<Option<SubjectLife>>,
    /// By id; empty in the mutual shape.
    pub(crate) observer_positions: Vec<[i32; 3]>,
    /// By id.
    pub(crate) observer_lives: Vec<Option<ObserverLife>>,
    /// Everybody who is there, by nearness to observers.
    pub(crate) subjects: Side,
    /// Empty in the mutual shape, where the subjects observe.
    pub(crate) observers: Side,
    /// Subjects with an appeal, once more.
    pub(crate) appealing: Side,
    /// Who is near by the observer's radius.
    pub(crate) near: Field,
    /// Who is near by the subject's appeal.
    pub(crate) appeal: Field,
    pub(crate) manuals: Manuals,
    pub(crate) changes: Changes,
    pub(crate) watched: Watched,
    pub(crate) traps: Vec<Trap>,
    pub(crate) trap_events: Vec<TrapEvent>,
}

/// A subject as it is now, apart from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubjectLife {
    pub(crate) layers: u32,
    pub(crate) appeal: u32,
    /// It has been through an update.
    pub(crate) was_updated: bool,
}

/// An observer as it is now, apart from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObserverLife {
    pub(crate) radius: u32,
    pub(crate) sees: u32,
    pub(crate) avatar: Option<SubjectId>,
    /// It has been through an update.
    pub(crate) was_updated: bool,
}

impl Engine {
    /// An empty engine.
    ///
    /// # Panics
    /// If `config.subjects_max` is beyond 2^31, or `config.kernel` is one that this machine lacks.
    pub fn new(config: Config) -> Self {
        assert!(config.subjects_max <= 1 << 31, "a subject's id has 31 bits");
        let kernel = config.kernel.unwrap_or_else(Kernel::best);
        assert!(
            kernel.is_available(),
            "this machine lacks the {} kernel",
            kernel.name()
        );
        let mutual_radius = match config.shape {
            Shape::Directed => None,
            Shape::Mutual { radius } => Some(radius.min(RADIUS_MAX)),
        };
        Self {
            kernel,
            // With 10 |dy| <= 11 L it stays.
            dy_limit: config.dy_limit.map(|limit| {
                let stays = u64::from(limit) * 11 / 10;
                (limit, u32::try_from(stays).unwrap_or(u32::MAX))
            }),
            mutual_radius,
            near: Field::new(mutual_radius.is_some()),
            appeal: Field::new(false),
            positions: Vec::new(),
            subject_lives: Vec::new(),
            observer_positions: Vec::new(),
            observer_lives: Vec::new(),
            subjects: Side::default(),
            observers: Side::default(),
            appealing: Side::default(),
            manuals: Manuals::default(),
            changes: Changes::default(),
            watched: Watched::default(),
            traps: Vec::new(),
            trap_events: Vec::new(),
            config,
        }
    }

    /// Begins a subject's life.
    ///
    /// # Panics
    /// If the id is in use, or not below [`Config::subjects_max`].
    pub fn insert_subject(&mut self, id: SubjectId, subject: Subject) {
        assert!(id.0 < self.config.subjects_max, "{id:?} is beyond subjects_max");
        let index = id.0 as usize;
        if index >= self.subject_lives.len() {
            self.subject_lives.resize(index + 1, None);
            self.positions.resize(index + 1, [0; 3]);
        }
        assert!(self.subject_lives[index].is_none(), "{id:?} is inserted already");
        self.subject_lives[index] = Some(SubjectLife {
            layers: subject.layers,
            appeal: subject.appeal,
            was_updated: false,
        });
        self.positions[index] = subject.position;
        self.changes.new_subjects.push(id.0);
    }

    /// Ends a subject's life: the next update takes it out of all views, and nobody has a manual interest in it. In
    /// the mutual shape the observer's life ends as well, if it has one.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn remove_subject(&mut self, id: SubjectId) {
        self.subject_life(id);
        if self.mutual_radius.is_some() && self.observer(ObserverId(id.0)).is_some() {
            self.remove_observer(ObserverId(id.0));
        }
        self.note_departure(id.0);
        self.manuals.forget_subject(id.0);
        self.subject_lives[id.0 as usize] = None;
        self.changes.removed_subjects.push(id.0);
    }

    /// Puts a subject somewhere else, near or far.
    ///
    /// # Panics
    /// If the id is not in use.
    #[inline]
    pub fn move_subject(&mut self, id: SubjectId, position: [i32; 3]) {
        self.subject_life(id);
        self.positions[id.0 as usize] = position;
    }

    /// Changes what a subject's observers must see to see it.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn set_layers(&mut self, id: SubjectId, layers: u32) {
        let life = self.subject_life(id);
        if std::mem::replace(&mut life.layers, layers) != layers {
            self.changes.changed_subjects.push(id.0);
        }
    }

    /// Changes from how far a subject is seen at least, in AOI units.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn set_appeal(&mut self, id: SubjectId, appeal: u32) {
        let life = self.subject_life(id);
        if std::mem::replace(&mut life.appeal, appeal) != appeal {
            self.changes.changed_subjects.push(id.0);
        }
    }

    /// The subject as it is now, or `None` if the id is not in use.
    pub fn subject(&self, id: SubjectId) -> Option<Subject> {
        let life = self.subject_lives.get(id.0 as usize)?.as_ref()?;
        Some(Subject {
            position: self.positions[id.0 as usize],
            layers: life.layers,
            appeal: life.appeal,
        })
    }

    /// Begins an observer's life, with an empty view and no manual interest.
    ///
    /// In the mutual shape subject `id` begins to observe: `avatar` must be that subject and `radius` the shape's;
    /// `position` is the subject's, whatever it says. Nearness belongs to the two subjects there, whether they
    /// observe or not: an observer that begins anew sees at once who has stayed near, in the width of the
    /// hysteresis too.
    ///
    /// # Panics
    /// If the id is in use, or not below [`Config::observers_max`]; in the mutual shape, if there is no such subject,
    /// or `avatar` or `radius` are others.
    pub fn insert_observer(&mut self, id: ObserverId, observer: Observer) {
        assert!(id.0 < self.config.observers_max, "{id:?} is beyond observers_max");
        if let Some(radius) = self.mutual_radius {
            assert!(self.subject(SubjectId(id.0)).is_some(), "{id:?} is no subject");
            assert_eq!(
                observer.avatar,
                Some(SubjectId(id.0)),
                "in the mutual shape {id:?} is its own avatar"
            );
            assert_eq!(
                observer.radius.min(RADIUS_MAX),
                radius,
                "in the mutual shape all radii are one"
            );
        }
        let index = id.0 as usize;
        if index >= self.observer_lives.len() {
            self.observer_lives.resize(index + 1, None);
            if self.mutual_radius.is_none() {
                self.observer_positions.resize(index + 1, [0; 3]);
            }
        }
        assert!(self.observer_lives[index].is_none(), "{id:?} is inserted already");
        self.observer_lives[index] = Some(ObserverLife {
            radius: observer.radius,
            sees: observer.sees,
            avatar: observer.avatar,
            was_updated: false,
        });
        if self.mutual_radius.is_none() {
            self.observer_positions[index] = observer.position;
        }
        self.changes.new_observers.push(id.0);
    }

    /// Ends an observer's life. Its view is empty at once, without events.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn remove_observer(&mut self, id: ObserverId) {
        self.observer_life(id);
        self.note_blindness(id.0);
        self.manuals.forget_observer(id.0);
        self.observer_lives[id.0 as usize] = None;
        self.changes.removed_observers.push(id.0);
    }

    /// Puts an observer somewhere else, near or far.
    ///
    /// # Panics
    /// If the id is not in use, or the shape is mutual: there it moves with its subject.
    #[inline]
    pub fn move_observer(&mut self, id: ObserverId, position: [i32; 3]) {
        assert!(
            self.mutual_radius.is_none(),
            "in the mutual shape an observer moves with its subject"
        );
        self.observer_life(id);
        self.observer_positions[id.0 as usize] = position;
    }

    /// Changes how far an observer sees, in AOI units.
    ///
    /// # Panics
    /// If the id is not in use, or the shape is mutual: there all radii are one.
    pub fn set_radius(&mut self, id: ObserverId, radius: u32) {
        assert!(
            self.mutual_radius.is_none(),
            "in the mutual shape all radii are one"
        );
        let life = self.observer_life(id);
        if std::mem::replace(&mut life.radius, radius) != radius {
            self.changes.changed_observers.push(id.0);
        }
    }

    /// Changes which layers an observer sees.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn set_sees(&mut self, id: ObserverId, sees: u32) {
        let life = self.observer_life(id);
        if std::mem::replace(&mut life.sees, sees) != sees {
            self.changes.changed_observers.push(id.0);
        }
    }

    /// The observer as it is now, or `None` if the id is not in use.
    pub fn observer(&self, id: ObserverId) -> Option<Observer> {
        let life = self.observer_lives.get(id.0 as usize)?.as_ref()?;
        let positions = if self.mutual_radius.is_some() {
            &self.positions
        } else {
            &self.observer_positions
        };
        Some(Observer {
            position: positions[id.0 as usize],
            radius: life.radius,
            sees: life.sees,
            avatar: life.avatar,
        })
    }

    /// Keeps a subject in an observer's view (or no longer), however far away it is. The masks must meet still.
    /// Ends with the life of either.
    ///
    /// # Panics
    /// If one of the ids is not in use.
    pub fn set_manual(&mut self, observer: ObserverId, subject: SubjectId, manual: bool) {
        let was_updated = self.subject_life(subject).was_updated;
        self.observer_life(observer);
        let was_visible = manual && was_updated && self.view(observer).contains(subject);
        self.manuals.set(observer.0, subject.0, manual, || was_visible);
    }

    /// What the last update changed in the views. The order is the engine's; for one observer and one subject a
    /// `Leave` comes before an `Enter`.
    pub fn events(&self) -> impl Iterator<Item = Event> + Clone + use<'_> {
        let fields = self.near.stripes.iter().chain(&self.appeal.stripes);
        let edges = fields.flat_map(|stripe| &stripe.events);
        self.changes
            .departures
            .iter()
            .chain(edges)
            .chain(&self.changes.specials)
            .map(|word| unpack(*word))
    }

    /// How many events there are.
    pub fn events_len(&self) -> usize {
        let fields = self.near.stripes.iter().chain(&self.appeal.stripes);
        let edges: usize = fields.map(|stripe| stripe.events.len()).sum();
        self.changes.departures.len() + edges + self.changes.specials.len()
    }

    /// What an observer saw in the last update. Empty for an id that is not in use or was inserted since.
    pub fn view(&self, id: ObserverId) -> View<'_> {
        let life = self.observer_lives.get(id.0 as usize).and_then(Option::as_ref);
        let seat = life
            .filter(|life| life.was_updated)
            .and_then(|_| self.rows().slot_of(id.0));
        View::new(self, seat.map(|slot| (id, slot)))
    }

    /// Finds who saw a subject in the last update, ascending. Any id may be asked for. `found` is emptied first.
    pub fn observers_of(&self, id: SubjectId, found: &mut Vec<ObserverId>) {
        found.clear();
        self.each_watcher(id.0, |observer| found.push(ObserverId(observer)));
        found.sort_unstable();
    }

    /// Whether anybody saw a subject in the last update; `false` without [`Config::watched`]. Any id may be asked
    /// for.
    pub fn is_watched(&self, id: SubjectId) -> bool {
        self.watched.contains(id.0)
    }

    /// The subjects for which [`Engine::is_watched`] changed in the last update, and what it is now; sorted by
    /// subject. A life begins unwatched and ends so: an id removed and inserted again may be listed with `false`
    /// and then with `true`.
    pub fn watched_changes(&self) -> &[(SubjectId, bool)] {
        self.watched.changes()
    }

    /// How many pairs of an observer and a subject are in view. Costs a look at every view.
    pub fn pairs(&self) -> u64 {
        let observers = (0..self.observer_lives.len() as u32).map(ObserverId);
        observers.map(|id| self.view(id).len() as u64).sum()
    }

    /// The instructions in use.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// What the engine has allocated.
    pub fn memory(&self) -> Memory {
        let sides = [&self.subjects, &self.observers, &self.appealing];
        let places = (self.positions.capacity() + self.observer_positions.capacity()) * size_of::<[i32; 3]>();
        let lives = self.subject_lives.capacity() * size_of::<Option<SubjectLife>>()
            + self.observer_lives.capacity() * size_of::<Option<ObserverLife>>();
        Memory {
            entities_bytes: sides.iter().map(|side| side.memory_bytes()).sum::<usize>()
                + places
                + lives
                + self.watched.memory_bytes(),
            pairs_bytes: self.near.memory_bytes() + self.appeal.memory_bytes() + self.changes.memory_bytes(),
        }
    }

    /// The side that observes.
    pub(crate) fn rows(&self) -> &Side {
        if self.mutual_radius.is_some() {
            &self.subjects
        } else {
            &self.observers
        }
    }

    /// Whether a row slot was near a subject, by whatever counts for it.
    pub(crate) fn was_near(&self, row: u32, subject: u32) -> bool {
        let near = |field: &Field, side: &Side| {
            side.slot_of(subject).map(|slot| {
                let (block, at) = side.at(slot);
                (
                    field.is_near(row, slot),
                    block.layers[at as usize] & self.seen_from(row) != 0,
                )
            })
        };
        let found = near(&self.appeal, &self.appealing).or_else(|| near(&self.near, &self.subjects));
        found.is_some_and(|(is_near, meets)| is_near && meets)
    }

    fn seen_from(&self, row: u32) -> u32 {
        let (block, at) = self.rows().at(row);
        block.sees[at as usize]
    }

    /// Whether an observer's view had a subject in the last update.
    pub(crate) fn was_visible(&self, observer: u32, row: u32, subject: u32) -> bool {
        let records = self.manuals.of(observer);
        match records.binary_search_by_key(&subject, |record| record.subject) {
            Ok(at) => records[at].was_visible,
            Err(_) => self.was_near(row, subject),
        }
    }

    /// Calls `found` with everybody who saw a subject in the last update, in no particular order.
    pub(crate) fn each_watcher(&self, subject: u32, mut found: impl FnMut(u32)) {
        let rows = self.rows();
        let is_told = |observer: u32| {
            let life = self
                .observer_lives
                .get(observer as usize)
                .and_then(Option::as_ref);
            life.is_some_and(|life| life.was_updated)
        };
        let (field, side) = if self.appealing.slot_of(subject).is_some() {
            (&self.appeal, &self.appealing)
        } else {
            (&self.near, &self.subjects)
        };
        let Some(slot) = side.slot_of(subject) else { return };
        let (block, at) = side.at(slot);
        let layers = block.layers[at as usize];
        field.each_near_row(rows, slot, |a, near| {
            let block = rows.block(a);
            for bit in crate::bits::bits(seeing(block, near, layers).into()) {
                let observer = block.id[bit as usize];
                if is_told(observer) {
                    found(observer);
                }
            }
        });
        for &observer in self.manuals.observers() {
            let records = self.manuals.of(observer);
            let record = records.binary_search_by_key(&subject, |record| record.subject);
            let was_visible = record.is_ok_and(|at| records[at].was_visible);
            let row = rows
                .slot_of(observer)
                .filter(|_| was_visible && is_told(observer));
            if row.is_some_and(|row| !self.was_near(row, subject)) {
                found(observer);
            }
        }
    }

    #[inline]
    fn subject_life(&mut self, id: SubjectId) -> &mut SubjectLife {
        let life = self.subject_lives.get_mut(id.0 as usize).and_then(Option::as_mut);
        life.unwrap_or_else(|| panic!("{id:?} is not inserted"))
    }

    #[inline]
    fn observer_life(&mut self, id: ObserverId) -> &mut ObserverLife {
        let life = self
            .observer_lives
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut);
        life.unwrap_or_else(|| panic!("{id:?} is not inserted"))
    }
}
