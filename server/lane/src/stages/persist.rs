//! Persist: what changed goes to storage, each avatar at its own turn of the save interval.

use crate::avatars::Place;
use crate::config::SAVES_IN_FLIGHT_MAX;
use crate::lane::Lane;
use myriad_storage::StorageRequest;
use myriad_wire::Tick;
use myriad_world::Handle;
use std::collections::BTreeSet;

pub(crate) fn persist(lane: &mut Lane, now: Tick, requests: &mut Vec<StorageRequest>) {
    note_changed_properties(lane);
    if lane.saves_in_flight.len() >= SAVES_IN_FLIGHT_MAX {
        return;
    }
    save(lane, now, requests, false);
}

/// Sends to storage all that changed and is due, or, at shutdown, all that changed.
pub(crate) fn save(lane: &mut Lane, now: Tick, requests: &mut Vec<StorageRequest>, all: bool) {
    let due: Vec<String> = lane
        .avatars
        .iter()
        .filter(|(_, avatar)| match &avatar.place {
            Place::Loading { .. } => false,
            Place::Departing { request, .. } => request.is_none(),
            Place::InWorld(handle) => {
                let position = lane.space.position(*handle);
                let never = avatar.saved.position.is_none();
                let turn = (now.0 + u64::from(handle.slot.0)).is_multiple_of(lane.save_interval_ticks);
                let changed = avatar.saved.properties_changed || avatar.saved.position != position;
                position.is_some() && (never || changed && (turn || all))
            }
        })
        .map(|(account, _)| account.clone())
        .collect();
    if due.is_empty() {
        return;
    }
    let request = lane.next_request();
    let mut entities = Vec::with_capacity(due.len());
    for account in &due {
        let handle = match &lane.avatars.get_mut(account).expect("listed above").place {
            Place::InWorld(handle) => Some(*handle),
            Place::Departing { .. } | Place::Loading { .. } => None,
        };
        let form = handle.map(|handle| {
            lane.saved_form(account, handle, now)
                .expect("alive, as just seen")
        });
        let avatar = lane.avatars.get_mut(account).expect("listed above");
        match (&mut avatar.place, form) {
            (
                Place::Departing {
                    last,
                    request: wanted,
                },
                _,
            ) => {
                *wanted = Some(request);
                entities.push((**last).clone());
            }
            (_, Some(form)) => {
                avatar.saved.position = Some(form.position);
                avatar.saved.properties_changed = false;
                entities.push(form);
            }
            (_, None) => {}
        }
    }
    lane.saves_in_flight.insert(request, due);
    requests.push(StorageRequest::Save { request, entities });
}

/// One look at each avatar, whatever the number of changes.
fn note_changed_properties(lane: &mut Lane) {
    let space = &lane.space;
    let is_saved = |handle, mask| {
        let kind = space.kind(handle);
        kind.is_some_and(|kind| !kind.saved().and(mask).is_empty())
    };
    let changed = space.changes().changed();
    let changed: BTreeSet<Handle> = changed
        .filter(|(handle, mask)| is_saved(*handle, *mask))
        .map(|(handle, _)| handle)
        .collect();
    if changed.is_empty() {
        return;
    }
    for (_, avatar) in lane.avatars.iter_mut() {
        if matches!(&avatar.place, Place::InWorld(handle) if changed.contains(handle)) {
            avatar.saved.properties_changed = true;
        }
    }
}
