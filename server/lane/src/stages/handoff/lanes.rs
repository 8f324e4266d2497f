//! Entities that go to other lanes, and come from them.
//!
//! ```text
//! tick n      who has strayed out of the cell is offered to the lane that it belongs to
//! n + 1       that lane keeps room and accepts
//! n + 2       still this lane's: simulated, published; gateways are told where its session goes. When the tick is
//!             done it is taken out of the world, and what there is of it goes to the other lane
//! n + 3       the other lane's, from its first stage on
//! ```
//! So readers find it in every tick, and in none twice. What each lane says is in [`myriad_wire::lane`].

use crate::avatars::{Avatar, Place};
use crate::lane::{Lane, Output};
use crate::whereabouts::Whereabout;
use myriad_wire::lane::{AvatarPlace, Parcel, Refusal, Transfer};
use myriad_wire::link::LinkHeader;
use myriad_wire::{EntityId, Hop, LaneId, Tick};
use myriad_world::{HandedOver, Handle, Life, Record};
use std::collections::BTreeMap;

/// How far outside of its cell an entity must be to be offered, in position units: 2 m. Less would hand those who walk
/// along a border back and forth.
const STRAY_SLACK: u32 = 2 * myriad_wire::grid::UNITS_PER_METRE as u32;
/// Most entities that are under way to other lanes at a time. More stray until these have gone.
const OFFERS_MAX: usize = 1024;

/// A message came from another lane. What it brings waits for [`take_parcels`].
pub(crate) fn take_message(lane: &mut Lane, from: LaneId, header: LinkHeader, body: &[u8]) {
    let Some(arrived) = lane.peers.handle(from, header, body, &mut lane.counters) else {
        return;
    };
    if arrived.renewed {
        lane.whereabouts.forget_lane(from);
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
        Parcel::AvatarHere(place) => note_avatar(lane, from, place),
        Parcel::AvatarGone(place) => lane.whereabouts.forget_gone(&place, from),
        Parcel::AvatarKnown(place) => lane.whereabouts.forget_known(&place),
        Parcel::Detach(detach) => super::sessions::detach(lane, &detach, now),
    }
}

fn answer_offer(lane: &mut Lane, from: LaneId, entity: EntityId) {
    let room = lane.space.config().entities_max as usize;
    let taken = lane.space.len() + lane.peers.rooms.len();
    let answer = if lane.draining {
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
        if lane.peers.is_peer(issuer) {
            lane.peers.send(issuer, Parcel::Freed(name));
        } else {
            lane.space.give_back(name);
        }
        return;
    };
    let handle = restored.handle;
    lane.departures.forget(name);
    lane.versions.bring(handle.slot, version);
    if let Some(told) = told {
        lane.crowd.bring(name, told);
    }
    lane.counters.taken_over += 1;
    if let Some(transfer) = avatar {
        let place = AvatarPlace {
            account: transfer.account.clone(),
            entity,
            era,
            hop,
            from,
        };
        let budget = lane.budget();
        let (account, avatar) = Avatar::from_transfer(*transfer, handle, &budget);
        if let Some(session) = &avatar.session {
            // If the gateway is dead, its silence must be noticed here too.
            lane.readers.expect(session.gateway, lane.config.incarnation, now);
        }
        lane.avatars.put_in(&account, avatar);
        settle_whereabouts(lane, place);
    }
}

/// An avatar is here: tells its home lane so, or, if that is this lane, the lane that it came from.
fn settle_whereabouts(lane: &mut Lane, place: AvatarPlace) {
    lane.whereabouts.forget(&place.account);
    let home = lane.config.partition.home_of(&place.account);
    if home != lane.config.lane {
        lane.peers.send(home, Parcel::AvatarHere(place));
    } else if place.from != lane.config.lane {
        let from = place.from;
        lane.peers.send(from, Parcel::AvatarKnown(place));
    }
}

/// Another lane says that it has the avatar of an account whose home is here.
fn note_avatar(lane: &mut Lane, at: LaneId, place: AvatarPlace) {
    if !lane.avatars.is_here(&place.account) {
        lane.whereabouts.note(&place, at);
    }
    // Who had it before need not remember where it went: sessions come here first, and this lane knows as much now.
    let from = place.from;
    if lane.peers.is_peer(from) && from != at {
        lane.peers.send(from, Parcel::AvatarKnown(place));
    }
}

/// Offers those who are out of this lane's cell to the lanes that they belong to, as they stood after the last tick, and
/// calls off the offers of those who have come back.
pub(super) fn offer_strays(lane: &mut Lane, now: Tick) {
    lane.departures.prune(now);
    if lane.peers.is_alone() || lane.draining {
        return;
    }
    let partition = &lane.config.partition;
    let cell = partition
        .cell_of(lane.config.lane)
        .expect("a lane is of its own space");
    for (entity, to) in lane.peers.offers.iter().collect::<Vec<_>>() {
        let position = lane
            .space
            .find(entity)
            .and_then(|handle| lane.space.position(handle));
        let stays = position.is_none_or(|position| {
            let there = partition.cell_at(position);
            there == cell || Some(there) != partition.cell_of(to)
        });
        if stays {
            lane.peers.offers.remove(entity);
            lane.peers.send(to, Parcel::Withdraw(entity));
            lane.counters.handoffs_withdrawn += 1;
        }
    }
    for subject in &lane.subjects {
        if partition.is_near(cell, subject.position, STRAY_SLACK) {
            continue;
        }
        if lane.peers.offers.len() >= OFFERS_MAX {
            break;
        }
        if lane.space.alive(subject.handle) && lane.peers.offers.may_offer(subject.entity, now) {
            let to = partition.lane_for(partition.cell_at(subject.position), subject.entity);
            lane.peers.offers.offer(subject.entity, to);
            lane.peers.send(to, Parcel::Offer(subject.entity));
        }
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
    lane.peers.poll(&mut output.messages, &mut lane.counters);
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
    lane.peers.offers.remove(record.entity);
    lane.departures.note(life.name, life.hop, to, now);
    let avatar = account.map(|account| {
        let avatar = lane.avatars.take_out(&account);
        for session in avatar.session.iter().chain(&avatar.detached) {
            lane.whereabouts.note_session(session.id, to);
        }
        let whereabout = Whereabout {
            lane: to,
            entity: record.entity,
            era: life.era,
            hop,
        };
        lane.whereabouts.insert(&account, whereabout);
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
            Some(issuer) if lane.peers.is_peer(issuer) => lane.peers.send(issuer, Parcel::Freed(name)),
            // Given by this lane in an older life: nobody gives such names any more.
            Some(_) | None => {}
        }
    }
}
