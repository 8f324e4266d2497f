//! The update, top to bottom.

use crate::block::{Block, Member, NONE};
use crate::emit::{Ground, pack};
use crate::engine::{Engine, SubjectLife};
use crate::side::Side;

/// What was changed since the last update, and the edges of the update that no field tells.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Ids, in the order of the calls, perhaps more than once each.
    pub(crate) new_subjects: Vec<u32>,
    pub(crate) removed_subjects: Vec<u32>,
    pub(crate) changed_subjects: Vec<u32>,
    pub(crate) new_observers: Vec<u32>,
    pub(crate) removed_observers: Vec<u32>,
    pub(crate) changed_observers: Vec<u32>,
    /// Leaves of those who were removed, for the next update.
    leaving: Vec<u64>,
    /// The same, of this update.
    pub(crate) departures: Vec<u64>,
    /// Edges of those whose masks changed, and of manual interest.
    pub(crate) specials: Vec<u64>,
    /// Subjects whose lives ended, ascending once the update has begun.
    ended: Vec<u32>,
    /// Subjects that an observer saw when it was removed, once for each.
    blinded: Vec<u32>,
    /// Observers and subjects whose edges are told by comparing.
    muted_observers: Vec<u32>,
    muted_subjects: Vec<u32>,
    /// What is in view before and after, of the muted.
    before: Vec<u64>,
    after: Vec<u64>,
}

impl Changes {
    /// The subjects whose lives ended in this update, ascending.
    pub(crate) fn ended(&self) -> &[u32] {
        &self.ended
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let words = [
            &self.leaving,
            &self.departures,
            &self.specials,
            &self.before,
            &self.after,
        ];
        words.iter().map(|list| list.capacity() * size_of::<u64>()).sum()
    }
}

impl Engine {
    /// Brings all views, traps and query answers up to date. The events of the update before are gone.
    ///
    /// Runs on the current rayon pool, parallel over blocks of observers and over traps.
    pub fn update(&mut self) {
        self.begin();
        self.capture_before();
        self.apply();
        self.settle();
        self.relocate();
        self.mark(true);
        self.update_fields();
        self.mark(false);
        self.tell_specials();
        self.count_watchers();
        self.update_traps();
        self.end();
    }

    /// Everybody who was removed leaves the views that are left.
    fn begin(&mut self) {
        let Changes {
            leaving,
            departures,
            specials,
            ended,
            ..
        } = &mut self.changes;
        ended.sort_unstable();
        departures.clear();
        specials.clear();
        for word in leaving.drain(..) {
            let observer = self.observer_lives[(word >> 32) as usize];
            if observer.is_some_and(|life| life.was_updated) {
                departures.push(word);
            }
        }
    }

    /// A subject is being removed: notes who will see it leave.
    pub(crate) fn note_departure(&mut self, subject: u32) {
        if self.subject_lives[subject as usize].is_some_and(|life| life.was_updated) {
            let mut leaving = std::mem::take(&mut self.changes.leaving);
            self.each_watcher(subject, |observer| leaving.push(pack(observer, subject, false)));
            self.changes.leaving = leaving;
            self.changes.ended.push(subject);
        }
    }

    /// An observer is being removed: notes whom it sees no longer.
    pub(crate) fn note_blindness(&mut self, observer: u32) {
        if self.config.watched {
            let mut blinded = std::mem::take(&mut self.changes.blinded);
            blinded.extend(
                self.view(crate::ObserverId(observer))
                    .iter()
                    .map(|subject| subject.0),
            );
            self.changes.blinded = blinded;
        }
    }

    /// Finds whose masks or kind of nearness have changed, and what they saw or who saw them.
    fn capture_before(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.muted_subjects.clear();
        changes.muted_observers.clear();
        for &id in &changes.changed_subjects {
            let Some(life) = self.subject_lives[id as usize].filter(|life| life.was_updated) else {
                continue;
            };
            let appealing = self.appealing.slot_of(id);
            let slot = appealing.or(self.subjects.slot_of(id)).expect("it was updated");
            let side = if appealing.is_some() {
                &self.appealing
            } else {
                &self.subjects
            };
            let (block, at) = side.at(slot);
            if block.layers[at as usize] != life.layers || appealing.is_some() != (life.appeal > 0) {
                changes.muted_subjects.push(id);
            }
        }
        for &id in &changes.changed_observers {
            let Some(life) = self.observer_lives[id as usize].filter(|life| life.was_updated) else {
                continue;
            };
            let (block, at) = self.rows().at(self.rows().slot_of(id).expect("it was updated"));
            if block.sees[at as usize] != life.sees {
                changes.muted_observers.push(id);
            }
        }
        if self.mutual_radius.is_some() {
            // Somebody who is there already begins to observe: the fields have nothing to tell.
            let alive = |id: &&u32| {
                let was_there = self.subject_lives[**id as usize].is_some_and(|life| life.was_updated);
                was_there && self.observer_lives[**id as usize].is_some()
            };
            changes
                .muted_observers
                .extend(changes.new_observers.iter().filter(alive));
        }
        for list in [&mut changes.muted_subjects, &mut changes.muted_observers] {
            list.sort_unstable();
            list.dedup();
        }
        self.capture(
            &changes.muted_observers,
            &changes.muted_subjects,
            &mut changes.before,
        );
        self.changes = changes;
    }

    /// All pairs in view of some observers and of some subjects, sorted.
    fn capture(&self, observers: &[u32], subjects: &[u32], pairs: &mut Vec<u64>) {
        pairs.clear();
        for &observer in observers {
            let view = self.view(crate::ObserverId(observer));
            pairs.extend(view.iter().map(|subject| pack(observer, subject.0, false)));
        }
        for &subject in subjects {
            self.each_watcher(subject, |observer| pairs.push(pack(observer, subject, false)));
        }
        pairs.sort_unstable();
        pairs.dedup();
    }

    /// Takes in all changes but places.
    fn apply(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        for id in changes.removed_subjects.drain(..) {
            self.subjects.remove(id);
            self.appealing.remove(id);
        }
        for id in changes.removed_observers.drain(..) {
            if self.mutual_radius.is_none() {
                self.observers.remove(id);
            } else if let Some(slot) = self.subjects.slot_of(id) {
                let (block, at) = self.subjects.at_mut(slot);
                block.sees[at as usize] = 0;
                block.summarise();
            }
        }
        changes.changed_subjects.sort_unstable();
        changes.changed_subjects.dedup();
        for id in changes.changed_subjects.drain(..) {
            self.apply_to_subject(id);
        }
        for id in changes.changed_observers.drain(..) {
            self.apply_to_observer(id);
        }
        changes.new_subjects.sort_unstable();
        changes.new_subjects.dedup();
        for &id in &changes.new_subjects {
            let Some(life) = &mut self.subject_lives[id as usize] else {
                continue;
            };
            life.was_updated = true;
            let life = *life;
            let member = self.subject_member(id, &life);
            self.subjects.add(member);
            if life.appeal > 0 {
                self.appealing.add(appealing_member(member, &life));
            }
        }
        changes.new_subjects.clear();
        changes.new_observers.sort_unstable();
        changes.new_observers.dedup();
        for &id in &changes.new_observers {
            let Some(life) = &mut self.observer_lives[id as usize] else {
                continue;
            };
            life.was_updated = true;
            let life = *life;
            if self.mutual_radius.is_some() {
                self.apply_to_observer(id);
                continue;
            }
            self.observers.add(Member {
                id,
                position: self.observer_positions[id as usize],
                radius: life.radius,
                layers: 0,
                sees: life.sees,
                origin: NONE,
            });
        }
        changes.new_observers.clear();
        self.changes = changes;
    }

    /// A subject as a member of the side that is searched by the observers' radii.
    fn subject_member(&self, id: u32, life: &SubjectLife) -> Member {
        let observer = self
            .mutual_radius
            .and_then(|_| *self.observer_lives.get(id as usize)?);
        Member {
            id,
            position: self.positions[id as usize],
            radius: self.mutual_radius.unwrap_or(0),
            layers: if life.appeal > 0 { 0 } else { life.layers },
            sees: observer.map_or(0, |observer| observer.sees),
            origin: NONE,
        }
    }

    fn apply_to_subject(&mut self, id: u32) {
        let Some(life) = self.subject_lives[id as usize].filter(|life| life.was_updated) else {
            return;
        };
        let slot = self.subjects.slot_of(id).expect("it was updated");
        let (block, at) = self.subjects.at_mut(slot);
        block.layers[at as usize] = if life.appeal > 0 { 0 } else { life.layers };
        block.summarise();
        match (self.appealing.slot_of(id), life.appeal > 0) {
            (Some(_), false) => self.appealing.remove(id),
            (Some(slot), true) => {
                let (block, at) = self.appealing.at_mut(slot);
                block.layers[at as usize] = life.layers;
                block.set_radius(at, life.appeal);
                block.summarise();
            }
            (None, true) => {
                let member = self.subject_member(id, &life);
                self.appealing.add(appealing_member(member, &life));
            }
            (None, false) => {}
        }
    }

    fn apply_to_observer(&mut self, id: u32) {
        let Some(life) = self.observer_lives[id as usize].filter(|life| life.was_updated) else {
            return;
        };
        let radius = life.radius;
        let is_mutual = self.mutual_radius.is_some();
        let rows = if is_mutual {
            &mut self.subjects
        } else {
            &mut self.observers
        };
        // A subject that begins its life in this update is no member yet, and takes its mask along.
        let Some(slot) = rows.slot_of(id) else { return };
        let (block, at) = rows.at_mut(slot);
        block.sees[at as usize] = life.sees;
        if !is_mutual {
            block.set_radius(at, radius);
        }
        block.summarise();
    }

    /// Everybody finds a slot.
    fn settle(&mut self) {
        let observers = self.observers.blocks.iter();
        let farthest = observers.map(|block| block.radius_max).max().unwrap_or(0);
        let reach = self.mutual_radius.unwrap_or(farthest);
        for side in [&mut self.subjects, &mut self.observers, &mut self.appealing] {
            side.reach = reach;
        }
        self.subjects.settle(&self.positions);
        self.observers.settle(&self.observer_positions);
        self.appealing.settle(&self.positions);
    }

    /// The fields' bits follow.
    fn relocate(&mut self) {
        let rows = if self.mutual_radius.is_some() {
            &self.subjects
        } else {
            &self.observers
        };
        self.near.relocate(rows, &self.subjects);
        self.appeal.relocate(rows, &self.appealing);
    }

    /// Marks in the blocks whose edges are not the fields' to tell, or takes the marks away.
    fn mark(&mut self, is_set: bool) {
        let set = |word: &mut u32, at: u32| *word = *word & !(1 << at) | u32::from(is_set) << at;
        let is_mutual = self.mutual_radius.is_some();
        for &id in &self.changes.muted_subjects {
            for side in [&mut self.subjects, &mut self.appealing] {
                if let Some(slot) = side.slot_of(id) {
                    let (block, at) = side.at_mut(slot);
                    set(&mut block.muted_subjects, at);
                }
            }
        }
        let mut mark_row = |id: u32, word: fn(&mut Block) -> &mut u32| {
            let rows: &mut Side = if is_mutual {
                &mut self.subjects
            } else {
                &mut self.observers
            };
            let slot = rows.slot_of(id).expect("it observes");
            let (block, at) = rows.at_mut(slot);
            set(word(block), at);
        };
        for &id in &self.changes.muted_observers {
            mark_row(id, |block| &mut block.muted_observers);
        }
        for &id in self.manuals.observers() {
            mark_row(id, |block| &mut block.careful);
        }
    }

    fn update_fields(&mut self) {
        let rows = if self.mutual_radius.is_some() {
            &self.subjects
        } else {
            &self.observers
        };
        let ground = Ground {
            rows,
            columns: &self.subjects,
            dy_limit: self.dy_limit,
            kernel: self.kernel,
            manuals: &self.manuals,
        };
        self.near.update(&ground);
        self.appeal.update(&Ground {
            columns: &self.appealing,
            ..ground
        });
        for side in [&mut self.subjects, &mut self.observers, &mut self.appealing] {
            side.plan.clear();
        }
        self.count_mixed();
    }

    /// Tells the sides which of their blocks are worth regrouping.
    fn count_mixed(&mut self) {
        let rows = if self.mutual_radius.is_some() {
            &mut self.subjects
        } else {
            &mut self.observers
        };
        rows.mixed.clear();
        rows.mixed.extend(self.near.mixed());
        if self.mutual_radius.is_none() {
            // Nobody counts by column: while anybody is mixed, all are taken to be.
            let all = self
                .observers
                .mixed
                .iter()
                .fold(0, |all: u32, mixed| all.saturating_add(*mixed));
            self.subjects.mixed.clear();
            self.subjects.mixed.resize(self.subjects.blocks.len(), all);
        }
    }

    /// The edges of those whose masks changed, and of manual interest.
    fn tell_specials(&mut self) {
        self.resolve_manuals();
        let mut changes = std::mem::take(&mut self.changes);
        if !changes.muted_observers.is_empty() || !changes.muted_subjects.is_empty() {
            self.capture(
                &changes.muted_observers,
                &changes.muted_subjects,
                &mut changes.after,
            );
            // Who was removed has left already.
            let ended = &changes.ended;
            changes
                .before
                .retain(|pair| ended.binary_search(&(*pair as u32 >> 1)).is_err());
            difference(&changes.before, &changes.after, |pair| {
                changes.specials.push(pair)
            });
            difference(&changes.after, &changes.before, |pair| {
                changes.specials.push(pair | 1)
            });
        }
        self.changes = changes;
    }

    /// Brings the records of manual interest up to date, and tells the edges of those pairs that nobody compares.
    fn resolve_manuals(&mut self) {
        if self.manuals.observers().is_empty() {
            return;
        }
        let mut manuals = std::mem::take(&mut self.manuals);
        for index in 0..manuals.observers().len() {
            let observer = manuals.observers()[index];
            let is_muted = self.changes.muted_observers.binary_search(&observer).is_ok();
            let row = self.rows().slot_of(observer).expect("it observes");
            let sees = self.observer_lives[observer as usize]
                .expect("it has interests")
                .sees;
            for record in manuals.of_mut(observer) {
                let life = self.subject_lives[record.subject as usize].expect("interest ends with the life");
                let is_near = self.was_near(row, record.subject);
                let is_visible = is_near || record.is_set && life.layers & sees != 0;
                let is_compared =
                    is_muted || self.changes.muted_subjects.binary_search(&record.subject).is_ok();
                if is_visible != record.was_visible && !is_compared {
                    self.changes
                        .specials
                        .push(pack(observer, record.subject, is_visible));
                }
                record.was_visible = is_visible;
            }
        }
        manuals.drop_resolved();
        self.manuals = manuals;
    }

    fn count_watchers(&mut self) {
        if self.config.watched {
            let mut watched = std::mem::take(&mut self.watched);
            let mut blinded = std::mem::take(&mut self.changes.blinded);
            watched.update(
                &mut blinded,
                &self.changes.ended,
                self.changes.departures.len(),
                self.events(),
            );
            self.changes.blinded = blinded;
            self.watched = watched;
        }
    }

    fn end(&mut self) {
        self.changes.before.clear();
        self.changes.after.clear();
        self.changes.ended.clear();
    }
}

/// A subject as a member of the side that is searched by appeal.
fn appealing_member(member: Member, life: &SubjectLife) -> Member {
    Member {
        radius: life.appeal,
        layers: life.layers,
        sees: 0,
        ..member
    }
}

/// Calls `found` with what is in `of` and not in `without`; both are sorted.
fn difference(of: &[u64], without: &[u64], mut found: impl FnMut(u64)) {
    let mut rest = without.iter().peekable();
    for word in of {
        while rest.next_if(|other| *other < word).is_some() {}
        if rest.peek() != Some(&word) {
            found(*word);
        }
    }
}
