//! Publish: the frame is encoded once for all readers, the routes once for each.

mod frame;
mod routes;
mod truth;

use crate::issuers::Issuers;
use crate::lane::{Lane, Output};
use crate::stages::handoff;
use bytes::Bytes;
use myriad_wire::fabric::{Envelope, Frame, RoleId, Route, Routes, ToGateway, TrackRecord};
use myriad_wire::schema::Audience;
use myriad_wire::value::PropertyList;
use myriad_wire::{GatewayId, Tick, codec};
use myriad_world::{Handle, PropertyMask};
use std::collections::BTreeMap;

pub(crate) fn publish(lane: &mut Lane, now: Tick, output: &mut Output) {
    handoff::choose_departures(lane);
    let routes = routes::collect(lane);
    frame::versions(lane);
    let mut issuers = Issuers::of(lane.config.epoch);
    let tracks = frame::tracks(lane, now, &mut issuers);
    count_tracks(lane, &tracks);
    let crowd = lane.crowd.tick(now, &lane.subjects, &mut issuers);
    count_crowd(lane);
    let keyframe_wanted = lane.readers.iter_mut().any(|(_, reader)| reader.wants_full);
    let keyframe = keyframe_wanted.then(|| {
        let frame = frame::keyframe(lane, now, tracks.clone(), &mut issuers);
        let bytes = encode(frame);
        lane.counters.keyframe_bytes += bytes.len() as u64;
        bytes
    });
    let frame = encode(frame::delta(lane, now, tracks, crowd, &mut issuers));
    lane.counters.frame_bytes += frame.len() as u64;
    lane.counters.events += lane.space.changes().events().count() as u64;
    send(lane, now, routes, &frame, keyframe.as_ref(), output);
    if lane.config.truth {
        let whole = std::mem::take(&mut lane.whole_truth);
        output.truth = Some(truth::collect(lane, now, whole));
    }
    for (_, avatar) in lane.avatars.iter_mut() {
        if let Some(session) = &mut avatar.session {
            session.results.clear();
        }
    }
}

/// What the near tier costs: in each tick the level that holds everybody, and beside it what is told less often.
fn count_tracks(lane: &mut Lane, tracks: &[TrackRecord]) {
    let bytes = |levels: &[Vec<Vec<u8>>]| {
        levels
            .iter()
            .flatten()
            .map(|chunk| chunk.len() as u64)
            .sum::<u64>()
    };
    let counters = &mut lane.counters;
    for track in tracks {
        let (near, far) = track.levels.split_at(1);
        counters.near_bytes += bytes(near);
        counters.far_bytes += bytes(far);
        counters.near_states += u64::from(track.members);
    }
}

fn count_crowd(lane: &mut Lane) {
    let totals = lane.crowd.totals();
    let counters = &mut lane.counters;
    counters.crowd_tracks_begun = totals.begun;
    counters.crowd_tracks_ended = totals.ended;
    counters.crowd_joins = totals.joins;
    counters.crowd_moves = totals.moves;
    counters.crowd_merges = totals.merges;
    counters.crowd_astray = totals.astray;
    counters.crowd_unseated = totals.unseated;
    counters.crowd_states = totals.states;
    counters.crowd_begun_bytes = totals.begun_bytes;
    counters.crowd_delta_bytes = totals.delta_bytes;
    counters.crowd_membership_bytes = totals.membership_bytes;
}

/// A frame as it travels.
fn encode(frame: Frame) -> Bytes {
    codec::encode(&ToGateway::Frame(Box::new(frame))).into()
}

fn send(
    lane: &mut Lane,
    now: Tick,
    mut routes: BTreeMap<GatewayId, Vec<Route>>,
    frame: &Bytes,
    keyframe: Option<&Bytes>,
    output: &mut Output,
) {
    let from = RoleId::Lane(lane.config.lane);
    for (gateway, reader) in lane.readers.iter_mut() {
        let full = std::mem::take(&mut reader.wants_full);
        let sessions = routes.remove(&gateway).unwrap_or_default();
        let routes = ToGateway::Routes(Routes {
            epoch: lane.config.epoch,
            tick: now,
            full,
            sessions,
        });
        let frame = if full {
            keyframe.expect("made if any reader wants it")
        } else {
            frame
        };
        let to = RoleId::Gateway(gateway);
        let mut post = |body: Bytes| {
            output.messages.push((
                Envelope {
                    to,
                    from,
                    link: reader.link.stamp(),
                },
                body,
            ))
        };
        post(codec::encode(&routes).into());
        post(frame.clone());
    }
}

/// Those of an entity's properties in `mask` that `audience` is told.
fn properties(lane: &Lane, handle: Handle, audience: Audience, mask: PropertyMask) -> PropertyList {
    let kind = lane.space.kind(handle).expect("of a living entity");
    lane.space.properties(handle, kind.audience(audience).and(mask))
}
