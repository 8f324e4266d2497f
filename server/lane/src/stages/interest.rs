//! Interest: what scripts want to notice is computed, from the positions that were just committed.
//!
//! Only for kinds that declare a distance, over this lane's own entities: views of clients are the gateways' work and
//! are never reported to scripts pair by pair. What is found is told to scripts in the next tick's commands stage,
//! never in the middle of an update.
//!
//! Cost: one move per entity and tick, and the engine's update for the observers; nothing at all in a game whose kinds
//! notice nobody.

use crate::lane::Lane;
use myriad_aoi::{Config, Edge, Engine, Observer, ObserverId, Subject, SubjectId};
use myriad_world::{Handle, Space};
use std::collections::BTreeMap;

/// What scripts notice.
#[derive(Debug)]
pub(crate) struct Interest {
    /// `None` in a game whose kinds notice nobody.
    engine: Option<Engine>,
    /// Who is in the engine, by slot. An entity stays in it, and here, until the update after its end.
    known: BTreeMap<u32, Handle>,
    /// What the commands stage of the next tick tells, in the engine's order.
    found: Vec<(Handle, Handle, Edge)>,
}

impl Interest {
    /// For the kinds of `space`.
    pub(crate) fn new(space: &Space) -> Self {
        let notice = space
            .kinds()
            .iter()
            .map(|kind| kind.notice_aoi())
            .max()
            .unwrap_or(0);
        let engine = (notice > 0).then(|| {
            let config = Config {
                observers_max: Config::default().subjects_max,
                ..Config::default()
            };
            Engine::new(config)
        });
        Self {
            engine,
            known: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    /// Takes what was found in the last tick.
    pub(crate) fn take_found(&mut self) -> Vec<(Handle, Handle, Edge)> {
        std::mem::take(&mut self.found)
    }
}

pub(crate) fn interest(lane: &mut Lane) {
    lane.space.collect_subjects(&mut lane.subjects);
    let Interest {
        engine: Some(engine),
        known,
        found,
    } = &mut lane.interest
    else {
        return;
    };
    let changes = lane.space.changes();
    let mut gone: BTreeMap<u32, Handle> = BTreeMap::new();
    for left in changes.leaves() {
        let slot = left.handle.slot.0;
        if known.remove(&slot).is_some() {
            gone.insert(slot, left.handle);
            engine.remove_subject(SubjectId(slot));
            if engine.observer(ObserverId(slot)).is_some() {
                engine.remove_observer(ObserverId(slot));
            }
        }
    }
    for subject in &lane.subjects {
        let (handle, position) = (subject.handle, subject.position.to_aoi());
        let (id, observer) = (SubjectId(handle.slot.0), ObserverId(handle.slot.0));
        let sees = lane.space.sight(handle).map_or(0, |sight| sight.sees);
        if known.insert(handle.slot.0, handle).is_none() {
            engine.insert_subject(
                id,
                Subject {
                    position,
                    layers: subject.layers,
                    appeal: 0,
                },
            );
            let radius = lane.space.kind(handle).map_or(0, |kind| kind.notice_aoi());
            if radius > 0 {
                engine.insert_observer(
                    observer,
                    Observer {
                        position,
                        radius,
                        sees,
                        avatar: Some(id),
                    },
                );
            }
            continue;
        }
        engine.move_subject(id, position);
        engine.set_layers(id, subject.layers);
        if engine.observer(observer).is_some() {
            engine.move_observer(observer, position);
            engine.set_sees(observer, sees);
        }
    }
    engine.update();
    let handle = |slot: u32| known.get(&slot).or_else(|| gone.get(&slot)).copied();
    let pairs = engine
        .events()
        .filter(|event| event.observer.0 != event.subject.0);
    found.extend(
        pairs.filter_map(|event| Some((handle(event.observer.0)?, handle(event.subject.0)?, event.edge))),
    );
}
