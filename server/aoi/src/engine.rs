//! The engine: what is put in, the update, what is read out.

use rayon::prelude::*;

use crate::grid::Grid;
use crate::points::Reach;
use crate::traps::{Trap, TrapEvent};
use crate::types::{Config, Edge, Event, Observer, ObserverId, Subject, SubjectId};
use crate::view::{View, WORD_BITS, insert};
use crate::watch::Watch;

/// Observers or traps per rayon task at least: a smaller task costs more than it saves.
const TASK_MIN: usize = 8;

/// Subjects and observers in; views and their edges out.
///
/// Order of calls: any number of changes, then [`Engine::update`], then any number of reads, and again. Changes
/// cost what the change costs and show up in the next update only. The outcome depends on what was there at the
/// update and on the view before it, not on the order of the changes, nor on the number of threads.
///
/// *Lives.* Removing a subject ends its life: whoever saw it gets a `Leave` at the next update. Inserting the id
/// again begins a new life that nobody has seen, so an observer may get `Leave` and `Enter` for one id in one
/// update, in that order. Manual interest ends with either life. Removing an observer drops its view at once and
/// without events; inserted again, it begins with an empty one.
///
/// Ids out of range, inserted twice or not inserted are bugs of the caller: every method that changes something
/// panics on them, as its documentation says.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    /// By id.
    subjects: Vec<Option<Subject>>,
    /// By id: how many observers have a manual interest in the subject.
    manual_counts: Vec<u32>,
    /// Bitset of the subjects whose life ended since the last update.
    dead: Vec<u64>,
    any_dead: bool,
    /// All ids that `grid` has bits for, in order: what a view's blocks lend out.
    ids: Vec<SubjectId>,
    /// By id.
    observers: Vec<Watcher>,
    /// By id.
    pub(crate) traps: Vec<Trap>,
    /// The subjects as of the last update.
    pub(crate) grid: Grid,
    events: Vec<Event>,
    pub(crate) trap_events: Vec<TrapEvent>,
    /// The subjects that somebody saw in the last update.
    watched: Watch,
    watched_changes: Vec<(SubjectId, bool)>,
}

/// One observer and its view.
#[derive(Debug, Default)]
struct Watcher {
    /// `None` while the id is not in use; the buffers wait for the next life.
    observer: Option<Observer>,
    /// Manual interest: living subjects, ascending.
    manual: Vec<SubjectId>,
    view: Watch,
}

impl Engine {
    /// An empty engine.
    ///
    /// # Panics
    /// If `config.cell_size` is 0.
    pub fn new(config: Config) -> Self {
        Self {
            grid: Grid::new(config.cell_size),
            config,
            subjects: Vec::new(),
            manual_counts: Vec::new(),
            dead: Vec::new(),
            any_dead: false,
            ids: Vec::new(),
            observers: Vec::new(),
            traps: Vec::new(),
            events: Vec::new(),
            trap_events: Vec::new(),
            watched: Watch::default(),
            watched_changes: Vec::new(),
        }
    }

    /// Begins a subject's life.
    ///
    /// # Panics
    /// If the id is in use, or not below [`Config::subjects_max`].
    pub fn insert_subject(&mut self, id: SubjectId, subject: Subject) {
        assert!(id.0 < self.config.subjects_max, "{id:?} is beyond subjects_max");
        let index = id.0 as usize;
        if index >= self.subjects.len() {
            self.subjects.resize(index + 1, None);
            self.manual_counts.resize(index + 1, 0);
            self.dead.resize((index + 1).div_ceil(WORD_BITS), 0);
        }
        assert!(self.subjects[index].is_none(), "{id:?} is inserted already");
        self.subjects[index] = Some(subject);
    }

    /// Ends a subject's life: the next update takes it out of all views, and nobody has a manual interest in it.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn remove_subject(&mut self, id: SubjectId) {
        self.subject_mut(id);
        self.subjects[id.0 as usize] = None;
        insert(&mut self.dead, id.0);
        self.any_dead = true;
        if std::mem::take(&mut self.manual_counts[id.0 as usize]) > 0 {
            for watcher in &mut self.observers {
                watcher.manual.retain(|manual| *manual != id);
            }
        }
    }

    /// Puts a subject somewhere else, near or far.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn move_subject(&mut self, id: SubjectId, position: [i32; 3]) {
        self.subject_mut(id).position = position;
    }

    /// Changes what a subject's observers must see to see it.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn set_layers(&mut self, id: SubjectId, layers: u32) {
        self.subject_mut(id).layers = layers;
    }

    /// Changes from how far a subject is seen at least, in AOI units.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn set_appeal(&mut self, id: SubjectId, appeal: u32) {
        self.subject_mut(id).appeal = appeal;
    }

    /// The subject as it is now, or `None` if the id is not in use.
    pub fn subject(&self, id: SubjectId) -> Option<&Subject> {
        self.subjects.get(id.0 as usize)?.as_ref()
    }

    /// Begins an observer's life, with an empty view and no manual interest.
    ///
    /// # Panics
    /// If the id is in use, or not below [`Config::observers_max`].
    pub fn insert_observer(&mut self, id: ObserverId, observer: Observer) {
        assert!(id.0 < self.config.observers_max, "{id:?} is beyond observers_max");
        let index = id.0 as usize;
        if index >= self.observers.len() {
            self.observers.resize_with(index + 1, Watcher::default);
        }
        let watcher = &mut self.observers[index];
        assert!(watcher.observer.is_none(), "{id:?} is inserted already");
        watcher.observer = Some(observer);
    }

    /// Ends an observer's life. Its view is empty at once, without events.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn remove_observer(&mut self, id: ObserverId) {
        self.observer_mut(id);
        let watcher = &mut self.observers[id.0 as usize];
        watcher.observer = None;
        watcher.view.clear();
        for subject in watcher.manual.drain(..) {
            self.manual_counts[subject.0 as usize] -= 1;
        }
    }

    /// Puts an observer somewhere else, near or far.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn move_observer(&mut self, id: ObserverId, position: [i32; 3]) {
        self.observer_mut(id).position = position;
    }

    /// Changes how far an observer sees, in AOI units.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn set_radius(&mut self, id: ObserverId, radius: u32) {
        self.observer_mut(id).radius = radius;
    }

    /// Changes which layers an observer sees.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn set_sees(&mut self, id: ObserverId, sees: u32) {
        self.observer_mut(id).sees = sees;
    }

    /// The observer as it is now, or `None` if the id is not in use.
    pub fn observer(&self, id: ObserverId) -> Option<&Observer> {
        self.observers.get(id.0 as usize)?.observer.as_ref()
    }

    /// Keeps a subject in an observer's view (or no longer), however far away it is. The masks must meet still.
    /// Ends with the life of either.
    ///
    /// # Panics
    /// If one of the ids is not in use.
    pub fn set_manual(&mut self, observer: ObserverId, subject: SubjectId, manual: bool) {
        self.subject_mut(subject);
        self.observer_mut(observer);
        let interests = &mut self.observers[observer.0 as usize].manual;
        let count = &mut self.manual_counts[subject.0 as usize];
        match (interests.binary_search(&subject), manual) {
            (Err(at), true) => {
                interests.insert(at, subject);
                *count += 1;
            }
            (Ok(at), false) => {
                interests.remove(at);
                *count -= 1;
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    /// Brings all views, traps and query answers up to date. The events of the update before are gone.
    ///
    /// Runs on the current rayon pool, parallel over observers and over traps.
    pub fn update(&mut self) {
        self.grid.rebuild(&self.subjects);
        let words_len = self.grid.words_len();
        self.ids
            .extend((self.ids.len()..words_len * WORD_BITS).map(|id| SubjectId(id as u32)));
        let dead = self.any_dead.then_some(self.dead.as_slice());

        let (grid, subjects, dy_limit) = (&self.grid, self.subjects.as_slice(), self.config.dy_limit);
        let observers = self.observers.par_iter_mut().with_min_len(TASK_MIN);
        observers.for_each(|watcher| watcher.update(grid, subjects, dead, dy_limit));
        let traps = self.traps.par_iter_mut().with_min_len(TASK_MIN);
        traps.for_each(|trap| trap.update(grid, dead));

        let observers = &self.observers;
        self.watched
            .advance(words_len, dead, |_, next| unite(observers, next));
        self.collect();
        self.dead.fill(0);
        self.any_dead = false;
    }

    /// Copies the edges of every set into the lists that are read, in the order of ids.
    fn collect(&mut self) {
        self.events.clear();
        for (watcher, observer) in self.observers.iter().zip((0..).map(ObserverId)) {
            let edges = watcher.view.edges().iter();
            self.events.extend(edges.map(|&(id, edge)| Event {
                observer,
                subject: SubjectId(id),
                edge,
            }));
        }
        self.watched_changes.clear();
        let edges = self.watched.edges().iter();
        self.watched_changes
            .extend(edges.map(|&(id, edge)| (SubjectId(id), edge == Edge::Enter)));
        self.collect_trap_events();
    }

    /// What the last update changed in the views, sorted by observer, subject, `Leave` before `Enter`.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What an observer saw in the last update. Empty for an id that is not in use or was inserted since.
    pub fn view(&self, id: ObserverId) -> View<'_> {
        match self.observers.get(id.0 as usize) {
            Some(watcher) => View::new(watcher.view.words(), &self.ids, watcher.view.len()),
            None => View::new(&[], &[], 0),
        }
    }

    /// Who saw a subject in the last update, ascending. Any id may be asked for. Costs one look at each observer.
    pub fn observers_of(&self, id: SubjectId) -> impl Iterator<Item = ObserverId> + use<'_> {
        let watchers = self.observers.iter().zip((0..).map(ObserverId));
        watchers
            .filter(move |(watcher, _)| watcher.view.contains(id.0))
            .map(|(_, observer)| observer)
    }

    /// Whether anybody saw a subject in the last update. Any id may be asked for.
    pub fn is_watched(&self, id: SubjectId) -> bool {
        self.watched.contains(id.0)
    }

    /// The subjects for which [`Engine::is_watched`] changed in the last update, and what it is now; sorted by
    /// subject. A life begins unwatched and ends so: an id removed and inserted again may be listed with `false`
    /// and then with `true`.
    pub fn watched_changes(&self) -> &[(SubjectId, bool)] {
        &self.watched_changes
    }

    fn subject_mut(&mut self, id: SubjectId) -> &mut Subject {
        let subject = self.subjects.get_mut(id.0 as usize).and_then(Option::as_mut);
        subject.unwrap_or_else(|| panic!("{id:?} is not inserted"))
    }

    fn observer_mut(&mut self, id: ObserverId) -> &mut Observer {
        let watcher = self.observers.get_mut(id.0 as usize);
        watcher
            .and_then(|watcher| watcher.observer.as_mut())
            .unwrap_or_else(|| panic!("{id:?} is not inserted"))
    }
}

impl Watcher {
    fn update(
        &mut self,
        grid: &Grid,
        subjects: &[Option<Subject>],
        dead: Option<&[u64]>,
        dy_limit: Option<u32>,
    ) {
        let Some(observer) = &self.observer else { return };
        let reach = Reach::of_observer(observer, dy_limit);
        self.view.advance(grid.words_len(), dead, |old, next| {
            grid.search(&reach, old, next);
            grid.search_appealing(&reach, observer.radius, old, next);
            for manual in &self.manual {
                let subject = subjects[manual.0 as usize].as_ref();
                let subject = subject.expect("a removed subject is taken out of every manual list");
                if subject.layers & observer.sees != 0 {
                    insert(next, manual.0);
                }
            }
        });
    }
}

/// Everybody whom anybody sees.
fn unite(observers: &[Watcher], union: &mut [u64]) {
    for watcher in observers {
        for (all, word) in union.iter_mut().zip(watcher.view.words()) {
            *all |= word;
        }
    }
}
