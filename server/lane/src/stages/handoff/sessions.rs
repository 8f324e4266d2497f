//! Avatars come into the world when their player comes, and leave it when the player is gone.
//!
//! The home lane of an account loads its avatar. If another lane has it, sessions are sent there.

use crate::avatars::{Place, Saved, Session};
use crate::lane::Lane;
use crate::stages::handoff::homes;
use crate::stages::ingest::Wish;
use crate::whereabouts::AvatarLife;
use myriad_storage::{SavedEntity, StorageReply, StorageRequest};
use myriad_wire::fabric::{Attach, Detach};
use myriad_wire::lane::Parcel;
use myriad_wire::{CloseReason, GatewayId, Tick};
use myriad_world::Handle;

pub(super) fn take_wishes(lane: &mut Lane, now: Tick, requests: &mut Vec<StorageRequest>) {
    for (_, (gateway, attach)) in std::mem::take(&mut lane.waiting) {
        // A gateway that was lost in the meantime asks again.
        if lane.readers.has(gateway) {
            handle_attach(lane, now, gateway, &attach, requests);
        }
    }
    for wish in std::mem::take(&mut lane.wishes) {
        match wish {
            Wish::Attach(gateway, attach) => handle_attach(lane, now, gateway, &attach, requests),
            Wish::Detach(detach) => self::detach(lane, &detach, now),
            Wish::Loaded(reply) => handle_loaded(lane, reply),
        }
    }
}

/// A session is over. If its avatar went to another lane, that one is told.
pub(super) fn detach(lane: &mut Lane, detach: &Detach, now: Tick) {
    lane.waiting.remove(&detach.session);
    if lane.avatars.detach(detach.session, detach.left, now) {
        return;
    }
    if let Some(to) = lane.whereabouts.session(detach.session) {
        lane.peers.send(to, Parcel::Detach(*detach));
    }
}

fn handle_attach(
    lane: &mut Lane,
    now: Tick,
    gateway: GatewayId,
    attach: &Attach,
    requests: &mut Vec<StorageRequest>,
) {
    if lane.avatars.knows(attach.session) {
        lane.avatars.announce_again(attach.session);
        return;
    }
    if let Some(reason) = lane.avatars.ended_before(&attach.account, attach.session) {
        // Its gateway has not heard of the end: it must not take the avatar back from a newer session.
        lane.avatars.refuse(gateway, attach.session, reason);
        return;
    }
    if lane.avatars.sessions() + lane.waiting.len() >= lane.config.sessions_max as usize {
        lane.avatars.refuse(gateway, attach.session, CloseReason::Full);
        return;
    }
    if lane.avatars.get_mut(&attach.account).is_none() {
        let home = lane.home_of(&attach.account);
        let there = lane.whereabouts.of(&attach.account);
        let elsewhere = home != lane.config.lane;
        if elsewhere && there.is_none() {
            homes::deny(lane, &attach.account, home);
        }
        if let Some(there) = there.or(elsewhere.then_some(home)) {
            lane.avatars.redirect(gateway, attach.session, there);
            lane.counters.sessions_redirected += 1;
            return;
        }
        if !lane.peers.all_adopted(lane.config.partition.version()) {
            // Some lane may have the avatar, and not have said so yet.
            lane.counters.sessions_held += 1;
            lane.waiting.insert(attach.session, (gateway, attach.clone()));
            return;
        }
        let request = lane.next_request();
        requests.push(StorageRequest::LoadAvatar {
            request,
            account: attach.account.clone(),
        });
        lane.avatars.insert_loading(&attach.account, request, now);
    }
    let session = Session::new(attach.session, gateway, lane.budget());
    lane.avatars.attach(&attach.account, session);
    let avatar = lane
        .avatars
        .get_mut(&attach.account)
        .expect("a record, as made above");
    match &avatar.place {
        Place::Loading { .. } => {}
        Place::InWorld(handle) => {
            let handle = *handle;
            attached(lane, handle);
        }
        Place::Departing { last, .. } => {
            let last = (**last).clone();
            bring_in(lane, &attach.account, Some(last));
        }
    }
}

fn handle_loaded(lane: &mut Lane, reply: StorageReply) {
    let StorageReply::Avatar {
        request,
        account,
        result,
    } = reply
    else {
        return;
    };
    let Some(avatar) = lane.avatars.get_mut(&account) else {
        return;
    };
    if !matches!(avatar.place, Place::Loading { request: wanted } if wanted == request) {
        return;
    }
    match result {
        // The player went while storage was asked.
        Ok(_) if avatar.session.is_none() => forget_avatar(lane, &account, CloseReason::Left),
        Ok(saved) => bring_in(lane, &account, saved),
        Err(_) => {
            lane.counters.storage_errors += 1;
            forget_avatar(lane, &account, CloseReason::NoSpace);
        }
    }
}

/// Brings the avatar of `account` into the world, as it was saved or new.
fn bring_in(lane: &mut Lane, account: &str, saved: Option<SavedEntity>) {
    let restored = saved.is_some();
    let Some(handle) = lane.spawn_avatar(account, saved) else {
        forget_avatar(lane, account, CloseReason::NoSpace);
        return;
    };
    let avatar = lane
        .avatars
        .get_mut(account)
        .expect("the record of an account that is brought in");
    let life = lane.space.life(handle).expect("just brought in");
    let life = AvatarLife {
        entity: lane.space.id(handle).expect("just brought in"),
        era: life.era,
        hop: life.hop,
    };
    avatar.place = Place::InWorld(handle);
    avatar.life = life;
    avatar.saved = Saved::default();
    if restored {
        // What storage holds is what was just restored.
        avatar.saved.position = lane.space.position(handle);
    }
    // Its home may have moved while storage was asked.
    homes::note_came(lane, account, life, lane.config.lane);
    if !restored {
        lane.script.spawned(&mut lane.space, handle);
    }
    attached(lane, handle);
}

fn attached(lane: &mut Lane, handle: Handle) {
    lane.counters.sessions_attached += 1;
    lane.script.attached(&mut lane.space, handle);
}

/// Forgets an avatar that is in the world no more, and tells the home lane of its account; its session, if it has one,
/// ends for `reason`.
pub(crate) fn forget_avatar(lane: &mut Lane, account: &str, reason: CloseReason) {
    let life = lane.avatars.remove(account, reason);
    homes::note_ended(lane, account, life);
}

/// Ends the sessions of avatars that a script removed.
pub(super) fn remove_despawned(lane: &mut Lane) {
    let gone: Vec<String> = lane
        .avatars
        .iter()
        .filter(|(_, avatar)| matches!(avatar.place, Place::InWorld(handle) if !lane.space.alive(handle)))
        .map(|(account, _)| account.clone())
        .collect();
    for account in gone {
        forget_avatar(lane, &account, CloseReason::Removed);
    }
}

/// Takes avatars out of the world whose grace period is over; persist sends them to storage.
pub(super) fn depart(lane: &mut Lane, now: Tick) {
    let mut leaving = Vec::new();
    for (account, avatar) in lane.avatars.iter_mut() {
        let Place::InWorld(handle) = avatar.place else {
            continue;
        };
        let over = avatar.left || now.since(avatar.detached_since) >= lane.grace_ticks;
        if avatar.session.is_none() && over {
            leaving.push((account.clone(), handle));
        }
    }
    for (account, handle) in leaving {
        lane.script.detached(&mut lane.space, handle);
        let last = lane.saved_form(&account, handle, now);
        let avatar = lane.avatars.get_mut(&account).expect("listed above");
        match last {
            Some(last) => {
                avatar.place = Place::Departing {
                    last: Box::new(last),
                    request: None,
                }
            }
            None => forget_avatar(lane, &account, CloseReason::Removed),
        }
        if lane.space.alive(handle) {
            lane.space.despawn(handle).expect("alive, as just seen");
        }
        lane.counters.avatars_departed += 1;
    }
}
