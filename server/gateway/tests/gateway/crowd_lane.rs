//! A lane's crowd tracks by hand: one per class, tile and 256 slots, made by the real [`Track::tell`].

use crate::lane::Entity;
use myriad_wire::crowd::message::Form;
use myriad_wire::crowd::{Join, Name, Track, TrackId, origin_near, told_cell_of};
use myriad_wire::fabric::{CrowdRecord, Issuer};
use myriad_wire::{KindId, LaneEpoch, Slot, Tick};
use std::collections::BTreeMap;

/// Every so many ticks a track is told.
pub(crate) const CROWD_PERIOD: u64 = 4;
/// Side of the squares that share a track: 16 m.
const TILE_SHIFT: u32 = 14;
/// Ticks that a number rests before another track gets it.
const REST_TICKS: u64 = 64;

/// Class and place.
type Tile = (u32, i32, i32);
/// With the issuer, and the part of the slots, so that no track overflows.
type Key = (Tile, Issuer, u32);

#[derive(Default)]
pub(crate) struct CrowdTracks {
    pub(crate) tracks: BTreeMap<TrackId, LaneTrack>,
    /// The ticks in which numbers were given up.
    rested: BTreeMap<TrackId, Tick>,
    /// Where members go, if not by place: as a lane whose tracks hold whoever it likes.
    pub(crate) tile_of: Option<fn(&Entity) -> Tile>,
    /// Changes the records before they are published: a lane with a fault.
    pub(crate) spoil: Option<fn(&mut Vec<CrowdRecord>)>,
}

pub(crate) struct LaneTrack {
    pub(crate) key: Key,
    pub(crate) track: Track,
}

impl LaneTrack {
    pub(crate) fn layers(&self) -> u32 {
        self.key.0.0
    }

    fn record(&self, track: TrackId, form: Form, bytes: Vec<u8>) -> CrowdRecord {
        CrowdRecord {
            issuer: self.key.1,
            track,
            layers: self.layers(),
            form,
            bytes,
        }
    }
}

impl CrowdTracks {
    pub(crate) fn publish(
        &mut self,
        tick: Tick,
        entities: &BTreeMap<u32, Entity>,
        issuers: &[LaneEpoch],
        full: bool,
    ) -> Vec<CrowdRecord> {
        let mut tiles: BTreeMap<Key, BTreeMap<Slot, &Entity>> = BTreeMap::new();
        for entity in entities.values() {
            let issuer = issuers.iter().position(|issuer| *issuer == entity.issuer);
            let issuer = Issuer(issuer.unwrap() as u16);
            let by_place = |entity: &Entity| {
                let (x, z) = (entity.position.x >> TILE_SHIFT, entity.position.z >> TILE_SHIFT);
                (entity.layers, x, z)
            };
            let tile = self.tile_of.unwrap_or(by_place)(entity);
            let key = (tile, issuer, entity.slot >> 8);
            tiles.entry(key).or_default().insert(Slot(entity.slot), entity);
        }
        let mut records = Vec::new();
        self.tracks.retain(|id, track| {
            let lives = tiles.contains_key(&track.key);
            if !lives {
                self.rested.insert(*id, tick);
                records.push(track.record(*id, Form::Drop, Vec::new()));
            }
            lives
        });
        for (id, track) in &mut self.tracks {
            let members = tiles.remove(&track.key).unwrap();
            let is_due = (tick.0 + u64::from(id.0)).is_multiple_of(CROWD_PERIOD);
            let mut bytes = Vec::new();
            if tell(&mut track.track, tick, &members, is_due, &mut bytes) && !full {
                records.push(track.record(*id, Form::Delta, bytes));
            }
        }
        for (key, members) in tiles {
            let id = self.free_id(tick);
            let first = members.values().next().unwrap();
            let origin = origin_near(told_cell_of(first.position));
            let track = Track::new(origin, first.generation, KindId(0));
            let mut track = LaneTrack { key, track };
            tell(&mut track.track, tick, &members, false, &mut Vec::new());
            let mut bytes = Vec::new();
            track.track.keyframe(tick, &mut bytes);
            records.push(track.record(id, Form::Keyframe, bytes));
            self.tracks.insert(id, track);
        }
        if full {
            records.clear();
            for (id, track) in &self.tracks {
                let mut bytes = Vec::new();
                track.track.keyframe(tick, &mut bytes);
                records.push(track.record(*id, Form::Keyframe, bytes));
            }
        }
        records.sort_by_key(|record| record.track);
        if let Some(spoil) = self.spoil {
            spoil(&mut records);
        }
        records
    }

    fn free_id(&self, tick: Tick) -> TrackId {
        let is_free = |id: &TrackId| {
            let rested = self.rested.get(id).is_none_or(|at| tick.0 - at.0 >= REST_TICKS);
            rested && !self.tracks.contains_key(id)
        };
        (0..u16::MAX).map(TrackId).find(is_free).unwrap()
    }
}

/// Whether there was something to tell.
fn tell(
    track: &mut Track,
    tick: Tick,
    members: &BTreeMap<Slot, &Entity>,
    is_due: bool,
    out: &mut Vec<u8>,
) -> bool {
    let is = |name: &Name| {
        members
            .get(&name.slot)
            .is_some_and(|member| member.generation == name.generation)
    };
    let leaves: Vec<Slot> = track
        .names()
        .iter()
        .filter(|name| !is(name))
        .map(|name| name.slot)
        .collect();
    let stays = |slot: &Slot| track.place(*slot).is_some_and(|place| is(&track.names()[place]));
    let joins: Vec<Join> = members
        .iter()
        .filter(|(slot, _)| !stays(slot))
        .map(|(slot, member)| Join {
            name: Name {
                slot: *slot,
                generation: member.generation,
                kind: KindId(0),
            },
            cell: told_cell_of(member.position),
            before: None,
        })
        .collect();
    let cells: Vec<[i32; 3]> = members
        .values()
        .map(|member| told_cell_of(member.position))
        .collect();
    if leaves.is_empty() && joins.is_empty() && !is_due {
        return false;
    }
    track.tell(tick, &leaves, &joins, is_due.then_some(&cells), out);
    true
}
