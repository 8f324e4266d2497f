//! Entities that go to other lanes, and come from them.
//!
//! ```text
//! tick n      who has strayed out of the cell, or is too many here, is offered to another lane ([`super::offers`])
//! n + 1       that lane keeps room and accepts
//! n + 2       still this lane's: simulated, published; gateways are told where its session goes. When the tick is
//!             done it is taken out of the world, and what there is of it goes to the other lane
//! n + 3       the other lane's, from its first stage on
//! ```
//! So readers find it in every tick, and in none twice. What each lane says is in [`myriad_wire::lane`].

use crate::avatars::{Avatar, Place};
use crate::lane::{Lane, Output};
use crate::stages::handoff::{calls, homes};
use crate::whereabouts::AvatarLife;
use myriad_wire::lane::{Parcel, Refusal, Transfer};
use myriad_wire::link::LinkHeader;
use myriad_wire::{EntityId, Hop, LaneId, Tick};
use myriad_world::{HandedOver, Handle, Life, Record};
use std::collections::BTreeMap;

/// A message came from another lane. What it brings waits for [`take_parcels`].
pub(crate) fn take_message(lane: &mut Lane, from: LaneId, header: LinkHeader, body: &[u8]) {
    let Some(arrived) = lane.peers.handle(from, header, body, &mut lane.counters) else {
        return;
    };
    if arrived.renewed {
        homes::tell_anew(lane, from);
    }
    lane.peers.hold(from, arrived.parcels);
}

/// What other lanes have brought takes effect, each lane's in its order. This comes before what gateways say, who may
/// speak already of avatars that have just come. A lane that is late lets those wait who come from a later tick than its
/// own: nobody lives through a tick twice.
pub(crate) fn take_parcels(lane: &mut Lane, now: Tick) {
    while let Some((from, parcel)) = lane.peers.next_parcel(now) {
        take_parcel(lane, from, parcel, now);
    }
}

fn take_parcel(lane: &mut Lane, from: LaneId, parcel: Parcel, now: Tick) {
    match parcel {
        Parcel::Offer(entity) => answer_offer(lane, from, entity),
        Parcel::Accept(entity) => {
            lane.peers.offers.accept(entity, from);
        }
        Parcel::Refuse(entity, _) => {
            lane.counters.handoffs_refused += u64::from(lane.peers.offers.refuse(entity, from, now));
        }
        Parcel::Withdraw(entity) => {
            lane.peers.rooms.release(entity, from);
        }
        Parcel::Commit(transfer) => take_over(lane, from, *transfer, now),
        Parcel::Freed(name) => {
            lane.space.give_back(name);
        }
        Parcel::AvatarHere(place) => homes::note_here(lane, place),
        Parcel::AvatarGone(place) => homes::note_gone(lane, place),
        Parcel::AvatarKnown(place) => lane.whereabouts.forget_known(&place),
        Parcel::Call(call) => calls::take(lane, *call),
        Parcel::CallArea(call) => calls::take_area(lane, *call),
        Parcel::Adopted(version) => lane.peers.note_adopted(from, version),
        Parcel::Detach(detach) => super::sessions::detach(lane, &detach, now),
    }
}

fn answer_offer(lane: &mut Lane, from: LaneId, entity: EntityId) {
    let room = lane.space.config().entities_max as usize;
    let taken = lane.space.len() + lane.peers.rooms.len();
    let answer = if lane.draining || !lane.is_serving() {
        Parcel::Refuse(entity, Refusal::Draining)
    } else if taken >= room {
        Parcel::Refuse(entity, Refusal::Full)
    } else {
        lane.peers.rooms.keep(entity, from);
        Parcel::Accept(entity)
    };
    lane.peers.send(from, answer);
}

/// Another lane's entity is this one's from now on.
fn take_over(lane: &mut Lane, from: LaneId, transfer: Transfer, now: Tick) {
    let Transfer {
        tick,
        name,
        issuer,
        era,
        hop,
        entity,
        kind,
        position,
        arrived,
        attributes,
        version,
        told,
        avatar,
    } = transfer;
    assert!(tick < now, "{entity} goes from tick {tick} to tick {now}");
    lane.peers.rooms.release(entity, from);
    lane.peers.note_issuer(name.issuer, issuer);
    let record = Record {
        entity,
        kind,
        position,
        attributes,
    };
    let life = Life { name, era, hop };
    let Ok(restored) = lane.space.take_over(&record, life, arrived) else {
        lane.counters.handoffs_failed += 1;
        if issuer == lane.config.lane {
            lane.space.give_back(name);
        } else {
            lane.peers.send(issuer, Parcel::Freed(name));
        }
        return;
    };
    let handle = restored.handle;
    lane.departures.forget(name);
    lane.calls.note_came(handle, now);
    lane.versions.bring(handle.slot, version);
    if let Some(told) = told {
        lane.crowd.bring(name, told);
    }
    lane.counters.taken_over += 1;
    if let Some(transfer) = avatar {
        let life = AvatarLife { entity, era, hop };
        let budget = lane.budget();
        let (account, mut avatar) = Avatar::from_transfer(*transfer, (handle, life), &budget);
        if let Some(session) = &mut avatar.session {
            // The time in which no lane had it has passed for its client, too; this tick's is earned with everybody's.
            let between = now.since(tick).saturating_sub(lane.ticks_elapsed);
            session.budget.earn(between * lane.config.clock.period_us());
            // If the gateway is dead, its silence must be noticed here too.
            lane.readers.expect(session.gateway, lane.config.incarnation, now);
        }
        lane.avatars.put_in(&account, avatar);
        homes::note_came(lane, &account, life, from);
    }
}

/// Of those that other lanes have accepted, who goes at the end of this tick. From here on nothing stops them: gateways
/// are told in this tick's routes.
pub(crate) fn choose_departures(lane: &mut Lane) {
    if lane.draining {
        return;
    }
    for (entity, to) in lane.peers.offers.accepted() {
        if let Some(handle) = lane.space.find(entity) {
            lane.departures.choose(handle, to);
        }
    }
}

/// The tick is done and published: those who go give up their place here and go.
pub(crate) fn hand_over(lane: &mut Lane, now: Tick, output: &mut Output) {
    let leaving = lane.departures.take_leaving();
    if !leaving.is_empty() {
        let mut accounts: BTreeMap<Handle, String> = lane
            .avatars
            .iter()
            .filter_map(|(account, avatar)| match avatar.place {
                Place::InWorld(handle) if leaving.contains_key(&handle) => Some((handle, account.clone())),
                _ => None,
            })
            .collect();
        for (handle, to) in leaving {
            commit(lane, handle, to, accounts.remove(&handle), now);
        }
    }
    calls::send_out(lane, now);
    let load = lane.load();
    lane.peers.poll(load, &mut output.messages, &mut lane.counters);
}

fn commit(lane: &mut Lane, handle: Handle, to: LaneId, account: Option<String>, now: Tick) {
    let version = lane.versions.version(handle.slot);
    let HandedOver {
        record,
        life,
        arrived,
    } = lane
        .space
        .hand_over(handle)
        .expect("alive when it was published in this tick");
    let hop = Hop(life.hop.0 + 1);
    lane.calls.forget(handle);
    lane.peers.offers.remove(record.entity);
    lane.departures.note(life.name, life.hop, to, now);
    let avatar = account.map(|account| {
        let avatar = lane.avatars.take_out(&account);
        for session in avatar.session.iter().chain(&avatar.detached) {
            lane.whereabouts.note_session(session.id, to);
        }
        let life = AvatarLife {
            entity: record.entity,
            era: life.era,
            hop,
        };
        lane.whereabouts.insert(&account, to, life);
        Box::new(avatar.into_transfer(account))
    });
    let issuer = lane.peers.issuer(life.name.issuer);
    let transfer = Transfer {
        tick: now,
        name: life.name,
        issuer: issuer.expect("noted when the entity came"),
        era: life.era,
        hop,
        entity: record.entity,
        kind: record.kind,
        position: record.position,
        arrived,
        attributes: record.attributes,
        version,
        told: lane.crowd.told_cell(life.name, now),
        avatar,
    };
    lane.peers.send(to, Parcel::Commit(Box::new(transfer)));
    lane.counters.handed_off += 1;
}

/// The names of guests whose lives ended here go back to the lanes that gave them.
pub(crate) fn give_names_back(lane: &mut Lane) {
    for name in lane.space.take_freed() {
        match lane.peers.issuer(name.issuer) {
            Some(issuer) if issuer != lane.config.lane => lane.peers.send(issuer, Parcel::Freed(name)),
            // Given by this lane in an older life: nobody gives such names any more.
            Some(_) | None => {}
        }
    }
}
