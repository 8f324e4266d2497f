//! What a lane by hand publishes for everybody.

use super::{Entity, SPACE, TILE_SHIFT, TestLane};
use crate::crowd_lane::CROWD_PERIOD;
use myriad_wire::client::Rules;
use myriad_wire::fabric::{Frame, Issuer, JoinRecord, Keyframe, TrackRecord};
use myriad_wire::schema::{Audience, KindSchema, PropertySchema};
use myriad_wire::track::{LEVELS, Level, Told, encode_chunks};
use myriad_wire::value::ValueType;
use myriad_wire::{KindId, Pos, Slot, SpaceClock, WirePos};
use std::collections::BTreeMap;

impl TestLane {
    pub(super) fn frame(&mut self, full: bool) -> Frame {
        let crowd = if self.without_crowd {
            Vec::new()
        } else {
            self.crowd.publish(self.tick, &self.entities, &self.issuers, full)
        };
        let join = |slot: &u32| {
            let entity = &self.entities[slot];
            let (issuer, slot) = self.named(*slot);
            JoinRecord {
                issuer,
                slot,
                generation: entity.generation,
                hop: entity.hop,
                entity: entity.entity,
                kind: KindId(0),
                layers: entity.layers,
                position: entity.position.to_wire(),
                properties: entity.properties.clone(),
                version: entity.version,
            }
        };
        let joins = if full {
            self.entities.keys().map(join).collect()
        } else {
            self.joins.iter().map(join).collect()
        };
        Frame {
            lane: self.id,
            epoch: self.epoch,
            tick: self.tick,
            skipped_ticks: 0,
            issuers: self.issuers.clone(),
            keyframe: full.then(|| self.keyframe()),
            joins,
            changes: if full { Vec::new() } else { self.changes.clone() },
            layers: if full { Vec::new() } else { self.layers.clone() },
            events: self.events.clone(),
            leaves: if full {
                self.gone.clone()
            } else {
                self.leaves.clone()
            },
            tracks: self.tracks(),
            crowd,
        }
    }

    fn keyframe(&self) -> Keyframe {
        let property = |name: &str, value_type, audience| PropertySchema {
            name: name.into(),
            value_type,
            audience,
        };
        Keyframe {
            space: SPACE,
            clock: SpaceClock::new(1_700_000_000_000_000, 10.0),
            rules: Rules {
                bounds_min: Pos {
                    x: i32::MIN,
                    y: i32::MIN,
                    z: i32::MIN,
                },
                bounds_max: Pos {
                    x: i32::MAX,
                    y: i32::MAX,
                    z: i32::MAX,
                },
                speed_max: 5 * 1024,
                burst_ms: 500,
                radius_aoi: 1,
                crowd_period: CROWD_PERIOD as u32,
            },
            kinds: vec![KindSchema {
                name: "avatar".into(),
                hash: 1,
                properties: vec![
                    property("mood", ValueType::Int, Audience::All),
                    property("waves", ValueType::Int, Audience::Owner),
                    property("name", ValueType::Text, Audience::All),
                ],
            }],
        }
    }

    fn tracks(&self) -> Vec<TrackRecord> {
        let mut tiles: BTreeMap<(Issuer, u32, i32, i32), BTreeMap<Slot, &Entity>> = BTreeMap::new();
        for (key, entity) in &self.entities {
            let (issuer, slot) = self.named(*key);
            let p = entity.position;
            let tile = (issuer, entity.layers, p.x >> TILE_SHIFT, p.z >> TILE_SHIFT);
            tiles.entry(tile).or_default().insert(slot, entity);
        }
        tiles
            .into_iter()
            .map(|((issuer, layers, ..), members)| self.track(issuer, layers, &members))
            .collect()
    }

    fn track(&self, issuer: Issuer, layers: u32, members: &BTreeMap<Slot, &Entity>) -> TrackRecord {
        let told: Vec<Told> = members
            .iter()
            .map(|(slot, entity)| Told {
                slot: *slot,
                position: entity.position.to_wire(),
                version: entity.version,
                changed: false,
            })
            .collect();
        let bound = |pick: fn(i32, i32) -> i32| {
            let merge = |a: WirePos, b: WirePos| WirePos {
                x: pick(a.x, b.x),
                y: pick(a.y, b.y),
                z: pick(a.z, b.z),
            };
            let positions = members.values().map(|entity| entity.position.to_wire());
            positions.reduce(merge).unwrap()
        };
        let mut levels: [Vec<Vec<u8>>; LEVELS] = Default::default();
        for (k, chunks) in levels.iter_mut().enumerate() {
            let level = Level::new(k as u8).unwrap();
            encode_chunks(level, self.tick, &told, |chunk| chunks.push(chunk.to_vec()));
        }
        TrackRecord {
            issuer,
            layers,
            members: members.len() as u32,
            low: bound(i32::min),
            high: bound(i32::max),
            levels,
        }
    }
}
