//! The routes: what only one gateway's sessions are told.

use super::properties;
use crate::avatars::{Avatar, Place, Session};
use crate::lane::Lane;
use myriad_wire::fabric::{AttachedRoute, Route, RouteState};
use myriad_wire::payload::OwnRecord;
use myriad_wire::schema::Audience;
use myriad_wire::{GatewayId, SessionId};
use myriad_world::{Handle, PropertyMask};
use std::collections::{BTreeMap, BTreeSet};

/// What each gateway's sessions are told: all of them where it wants a full copy.
pub(super) fn collect(lane: &mut Lane) -> BTreeMap<GatewayId, Vec<Route>> {
    let mut routes: BTreeMap<GatewayId, Vec<Route>> = BTreeMap::new();
    for (gateway, session, state) in lane.avatars.take_dismissed() {
        routes.entry(gateway).or_default().push(Route { session, state });
    }
    let wants_full: BTreeMap<GatewayId, bool> = lane
        .readers
        .iter_mut()
        .map(|(gateway, reader)| (gateway, reader.wants_full))
        .collect();
    let changed: BTreeMap<Handle, PropertyMask> = lane.space.changes().changed().collect();
    let resighted: Vec<Handle> = lane.space.changes().sees().collect();
    let mut announced: BTreeSet<SessionId> = BTreeSet::new();
    for (_, avatar) in lane.avatars.iter() {
        let (Place::InWorld(handle), Some(session)) = (&avatar.place, &avatar.session) else {
            continue;
        };
        if !lane.space.alive(*handle) {
            continue;
        }
        let announce = session.announce
            || resighted.contains(handle)
            || wants_full.get(&session.gateway).copied().unwrap_or(false);
        if announce {
            announced.insert(session.id);
        }
        let mask = if announce {
            PropertyMask::ALL
        } else {
            changed.get(handle).copied().unwrap_or_default()
        };
        let state = attached_route(lane, avatar, *handle, session, announce, mask);
        let route = Route {
            session: session.id,
            state: RouteState::Attached(Box::new(state)),
        };
        routes.entry(session.gateway).or_default().push(route);
    }
    for (_, avatar) in lane.avatars.iter_mut() {
        if let Some(session) = &mut avatar.session {
            session.announce &= !announced.contains(&session.id);
        }
    }
    routes
}

fn attached_route(
    lane: &Lane,
    avatar: &Avatar,
    handle: Handle,
    session: &Session,
    announce: bool,
    mask: PropertyMask,
) -> AttachedRoute {
    let alive = "alive, as the caller saw";
    let kind = lane.space.kind(handle).expect(alive);
    let life = lane.space.life(handle).expect(alive);
    let who = myriad_wire::fabric::Avatar {
        name: life.name,
        hop: life.hop,
        entity: lane.space.id(handle).expect(alive),
        epoch: avatar.epoch,
        command_seq: session.answered,
        radius_aoi: kind.radius_aoi(),
        sees: lane.space.sight(handle).expect(alive).sees,
    };
    AttachedRoute {
        avatar: announce.then_some(who),
        own: OwnRecord {
            intent_seq: session.applied,
            position: lane.space.position(handle).expect(alive),
            corrections: session.corrections,
        },
        properties: properties(lane, handle, Audience::Owner, mask),
        results: session.results.clone(),
        moves_to: lane.departures.leaving_to(handle),
    }
}
