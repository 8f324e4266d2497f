//! What all tests of crowds need: rigs, and whether a client holds what it must.

use crate::crowd_client::same;
use crate::crowd_lane::LaneTrack;
use crate::lane::{Entity, RADIUS_AOI};
use crate::rig::{Rig, config};
use myriad_gateway::GatewayConfig;
use myriad_wire::crowd::Track;

pub(crate) fn from(crowd_from: u32) -> GatewayConfig {
    let mut config = config();
    config.crowd_from = crowd_from;
    config
}

/// Each entity in a track of its own, wherever it goes: in the order in which they came.
pub(crate) fn alone(entity: &Entity) -> (u32, i32, i32) {
    (entity.layers, entity.entity.0 as i32, 0)
}

/// A rig whose clients are always told a crowd.
pub(crate) fn rig(config: GatewayConfig) -> Rig {
    Rig::with(GatewayConfig {
        crowd_from: 0,
        ..config
    })
}

/// A lane's track, as it is, of whose members a client was told.
pub(crate) fn truth<'a>(rig: &'a Rig, track: &Track) -> &'a LaneTrack {
    let mut tracks = rig.lanes().flat_map(|lane| lane.crowd.tracks.values());
    let truth = tracks.find(|truth| truth.track.names() == track.names());
    truth.unwrap_or_else(|| panic!("no lane has a track of {:?}", track.names()))
}

/// From a place to the box around a track's members.
pub(crate) fn distance2(rig: &Rig, track: &Track, from: [i32; 3]) -> i64 {
    let members = track.names().iter();
    let at: Vec<[i32; 3]> = members
        .map(|name| rig.lane.entities[&name.slot.0].position.to_aoi())
        .collect();
    let off = |axis: usize| {
        let low = at.iter().map(|p| p[axis]).min().unwrap();
        let high = at.iter().map(|p| p[axis]).max().unwrap();
        i64::from((low - from[axis]).max(from[axis] - high).max(0))
    };
    off(0).pow(2) + off(1).pow(2) + off(2).pow(2)
}

/// Clients that have been told everything hold what the lane holds of whom they may see, and no one else.
pub(crate) fn check(rig: &Rig, client: usize) {
    let model = &rig.clients[client].crowd;
    let sees = rig.lane.birth(&rig.clients[client].account).sees;
    let own = rig.lane.slot_of(&rig.clients[client].account).unwrap();
    let from = rig.lane.entities[&own].position.to_aoi();
    for ((_, id), track) in &model.tracks {
        let truth = truth(rig, track);
        assert!(same(track, &truth.track, rig.lane.tick), "{id:?}");
        assert_ne!(truth.layers() & sees, 0, "{id:?} is not to be seen");
        let distance2 = distance2(rig, track, from);
        assert!(
            100 * distance2 <= 121 * i64::from(RADIUS_AOI).pow(2),
            "{id:?} is out of reach"
        );
    }
    if model.complete {
        for (slot, entity) in &rig.lane.entities {
            let to = entity.position.to_aoi();
            let distance2: i64 = (0..3).map(|i| i64::from(to[i] - from[i]).pow(2)).sum();
            let in_view = entity.layers & sees != 0 && distance2 <= i64::from(RADIUS_AOI).pow(2);
            assert!(!in_view || model.has(*slot), "{slot} is in view and in no track");
        }
    }
}
