//! A lane by hand: entities that tests move, sessions that get avatars, frames and routes as a lane publishes them.

use bytes::Bytes;
use myriad_wire::client::{CommandResult, Rules};
use myriad_wire::fabric::{
    AttachedRoute, Avatar, ChangeRecord, Envelope, EventRecord, Frame, JoinRecord, Keyframe, LayersRecord,
    LeaveRecord, Report, RoleId, Route, RouteState, Routes, ToGateway, TrackRecord,
};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::link::Link;
use myriad_wire::payload::OwnRecord;
use myriad_wire::schema::{Audience, KindSchema, PropertySchema};
use myriad_wire::track::{LEVELS, Level, Told, encode_chunks};
use myriad_wire::value::{PropertyList, ValueType};
use myriad_wire::{
    CloseReason, CommandSeq, EntityId, GatewayId, Generation, Incarnation, IntentSeq, KindId, LaneEpoch,
    LaneId, Pos, PropertyIndex, SessionEpoch, SessionId, Slot, SpaceClock, SpaceId, Tick, Value, WirePos,
    codec,
};
use std::collections::{BTreeMap, BTreeSet};

use crate::crowd_lane::{CROWD_PERIOD, CrowdTracks};

pub(crate) const SPACE: SpaceId = SpaceId(1);
pub(crate) const GATEWAY: GatewayId = GatewayId(7);
/// How far avatars see: 40 m.
pub(crate) const RADIUS_AOI: u32 = 40 * 32;
/// Side of the squares that share a track: 16 m.
const TILE_SHIFT: u32 = 14;

#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) generation: Generation,
    pub(crate) entity: EntityId,
    pub(crate) layers: u32,
    pub(crate) position: Pos,
    pub(crate) properties: PropertyList,
    pub(crate) version: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) account: String,
    pub(crate) slot: u32,
    pub(crate) epoch: SessionEpoch,
    pub(crate) applied: IntentSeq,
    pub(crate) answered: CommandSeq,
    announce: bool,
    owner: PropertyList,
    results: Vec<CommandResult>,
}

/// What avatars of an account begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) position: Pos,
    pub(crate) layers: u32,
    pub(crate) sees: u32,
}

pub(crate) struct TestLane {
    pub(crate) id: LaneId,
    pub(crate) epoch: LaneEpoch,
    pub(crate) tick: Tick,
    pub(crate) wants_full: bool,
    pub(crate) entities: BTreeMap<u32, Entity>,
    pub(crate) seats: BTreeMap<SessionId, Seat>,
    pub(crate) births: BTreeMap<String, Birth>,
    /// The reports that came through the link.
    pub(crate) reports: Vec<Report>,
    /// Commands in the order in which they were applied.
    pub(crate) commands: Vec<(SessionId, CommandSeq)>,
    /// Do not answer commands.
    pub(crate) mute: bool,
    pub(crate) crowd: CrowdTracks,
    /// Publish no crowd tracks.
    pub(crate) without_crowd: bool,
    /// Avatars in their grace period, by account.
    asleep: BTreeMap<String, (SessionId, Seat)>,
    link: Link,
    incarnation: u32,
    generations: Vec<u16>,
    entities_made: u64,
    attachments: u32,
    joins: BTreeSet<u32>,
    changes: Vec<ChangeRecord>,
    pub(crate) layers: Vec<LayersRecord>,
    pub(crate) events: Vec<EventRecord>,
    leaves: Vec<LeaveRecord>,
    ended: Vec<(SessionId, CloseReason)>,
    /// All that it ended: their gateways may not have heard.
    ended_before: BTreeMap<SessionId, CloseReason>,
}

impl TestLane {
    pub(crate) fn new(id: LaneId, epoch: u64) -> Self {
        let incarnation = epoch as u32;
        Self {
            id,
            epoch: LaneEpoch(epoch),
            tick: Tick(100 * epoch),
            wants_full: true,
            entities: BTreeMap::new(),
            seats: BTreeMap::new(),
            births: BTreeMap::new(),
            reports: Vec::new(),
            commands: Vec::new(),
            mute: false,
            crowd: CrowdTracks::default(),
            without_crowd: false,
            asleep: BTreeMap::new(),
            link: Link::new(Incarnation(incarnation)),
            incarnation,
            generations: Vec::new(),
            entities_made: 0,
            attachments: 0,
            joins: BTreeSet::new(),
            changes: Vec::new(),
            layers: Vec::new(),
            events: Vec::new(),
            leaves: Vec::new(),
            ended: Vec::new(),
            ended_before: BTreeMap::new(),
        }
    }

    /// The same lane in its next life: no sessions, no entities, higher epoch, later ticks.
    pub(crate) fn restarted(&self) -> Self {
        let mut next = Self::new(self.id, self.epoch.0 + 1);
        next.tick = self.tick + 5;
        next.births = self.births.clone();
        next
    }

    pub(crate) fn spawn(&mut self, position: Pos, layers: u32) -> u32 {
        let slot = (0..).find(|slot| !self.entities.contains_key(slot)).unwrap();
        self.entities_made += 1;
        if self.generations.len() <= slot as usize {
            self.generations.resize(slot as usize + 1, 0);
        }
        self.generations[slot as usize] += 1;
        let entity = Entity {
            generation: Generation(self.generations[slot as usize]),
            entity: EntityId::new(Incarnation(self.incarnation), self.entities_made),
            layers,
            position,
            properties: vec![
                (PropertyIndex(0), Value::Int(0)),
                (PropertyIndex(2), Value::Text("npc".into())),
            ],
            version: 0,
        };
        self.entities.insert(slot, entity);
        self.joins.insert(slot);
        slot
    }

    pub(crate) fn despawn(&mut self, slot: u32) {
        let entity = self.entities.remove(&slot).unwrap();
        self.layers.retain(|record| record.slot.0 != slot);
        self.changes.retain(|record| record.slot.0 != slot);
        if !self.joins.remove(&slot) {
            self.leaves.push(LeaveRecord {
                slot: Slot(slot),
                generation: entity.generation,
            });
        } else {
            self.events.retain(|event| event.slot.0 != slot);
        }
    }

    pub(crate) fn set_layers(&mut self, slot: u32, layers: u32) {
        self.entities.get_mut(&slot).unwrap().layers = layers;
        self.layers.push(LayersRecord {
            slot: Slot(slot),
            layers,
        });
    }

    pub(crate) fn change(&mut self, slot: u32, value: Value) {
        let property = (PropertyIndex(0), value);
        let again = self.changes.iter().any(|record| record.slot.0 == slot);
        let entity = self.entities.get_mut(&slot).unwrap();
        entity.properties[0] = property.clone();
        entity.version = entity.version.wrapping_add(u8::from(!again));
        self.changes.retain(|record| record.slot.0 != slot);
        self.changes.push(ChangeRecord {
            slot: Slot(slot),
            properties: vec![property],
        });
    }

    pub(crate) fn event(&mut self, slot: u32, name: &str) {
        self.events.push(EventRecord {
            slot: Slot(slot),
            name: name.into(),
            arguments: vec![Value::Int(1)],
        });
    }

    pub(crate) fn end(&mut self, session: SessionId, reason: CloseReason) {
        if self.seats.remove(&session).is_some() {
            self.ended.push((session, reason));
            self.ended_before.insert(session, reason);
        }
    }

    pub(crate) fn set_sees(&mut self, account: &str, sees: u32) {
        self.births.get_mut(account).unwrap().sees = sees;
        for seat in self.seats.values_mut().filter(|seat| seat.account == account) {
            seat.announce = true;
        }
    }

    pub(crate) fn set_owner(&mut self, session: SessionId, value: Value) {
        self.seats.get_mut(&session).unwrap().owner = vec![(PropertyIndex(1), value)];
    }

    pub(crate) fn birth(&self, account: &str) -> Birth {
        let everywhere = Birth {
            position: Pos::default(),
            layers: 1,
            sees: 1,
        };
        self.births.get(account).copied().unwrap_or(everywhere)
    }

    pub(crate) fn slot_of(&self, account: &str) -> Option<u32> {
        self.seats
            .values()
            .find(|seat| seat.account == account)
            .map(|seat| seat.slot)
    }

    pub(crate) fn handle(&mut self, envelope: &Envelope, body: &Bytes) {
        let verdict = self.link.handle(envelope.link);
        self.wants_full |= verdict.resync;
        if !verdict.deliver {
            return;
        }
        let report: Report = codec::decode(body, NODE_MESSAGE_BYTES_MAX).unwrap();
        if report.full {
            let named: BTreeSet<_> = report.attach.iter().map(|attach| attach.session).collect();
            let gone: Vec<_> = self
                .seats
                .keys()
                .filter(|session| !named.contains(session))
                .copied()
                .collect();
            for session in gone {
                self.leave(session);
            }
        }
        for detach in &report.detach {
            self.leave(detach.session);
        }
        for attach in &report.attach {
            self.attach(attach.session, &attach.account);
        }
        if report.epoch == self.epoch {
            self.apply(&report);
        }
        self.reports.push(report);
    }

    /// It heard nothing of the gateway for long: takes it for dead and lets the avatars sleep.
    pub(crate) fn forget_gateway(&mut self) {
        self.link = Link::after(Incarnation(self.incarnation), self.link.stream());
        self.wants_full = true;
        for (session, seat) in std::mem::take(&mut self.seats) {
            self.asleep.insert(seat.account.clone(), (session, seat));
        }
    }

    fn leave(&mut self, session: SessionId) {
        if let Some(seat) = self.seats.remove(&session) {
            self.despawn(seat.slot);
        }
    }

    fn attach(&mut self, session: SessionId, account: &str) {
        if let Some(seat) = self.seats.get_mut(&session) {
            seat.announce = true;
            return;
        }
        if let Some(reason) = self.ended_before.get(&session) {
            self.ended.push((session, *reason));
            return;
        }
        // A session that comes back goes on with its numbers.
        let asleep = self.asleep.remove(account);
        let (applied, answered) = match &asleep {
            Some((was, seat)) if *was == session => (seat.applied, seat.answered),
            Some(_) | None => (IntentSeq(0), CommandSeq(0)),
        };
        let older = self.seats.iter().find(|(_, seat)| seat.account == account);
        let slot = match older.map(|(session, seat)| (*session, seat.slot)) {
            Some((older, slot)) => {
                self.end(older, CloseReason::Replaced);
                slot
            }
            None => asleep.map(|(_, seat)| seat.slot).unwrap_or_else(|| {
                let birth = self.birth(account);
                self.spawn(birth.position, birth.layers)
            }),
        };
        self.attachments += 1;
        let seat = Seat {
            account: account.into(),
            slot,
            epoch: SessionEpoch(self.attachments),
            applied,
            answered,
            announce: true,
            owner: Vec::new(),
            results: Vec::new(),
        };
        self.seats.insert(session, seat);
    }

    fn apply(&mut self, report: &Report) {
        for intents in &report.intents {
            let Some(seat) = self.seats.get_mut(&intents.session) else {
                continue;
            };
            assert_eq!(seat.epoch, intents.epoch);
            let new = (intents.newest.0.saturating_sub(seat.applied.0) as usize).min(intents.steps.len());
            let position = &mut self.entities.get_mut(&seat.slot).unwrap().position;
            for step in &intents.steps[intents.steps.len() - new..] {
                position.x += step.dx;
                position.z += step.dz;
            }
            seat.applied = seat.applied.max(intents.newest);
        }
        for command in &report.commands {
            let Some(seat) = self.seats.get_mut(&command.session) else {
                continue;
            };
            if command.seq <= seat.answered || command.epoch != seat.epoch || self.mute {
                continue;
            }
            self.commands.push((command.session, command.seq));
            seat.answered = command.seq;
            let refused = (command.name == "no").then(|| "no".to_owned());
            seat.results.push(CommandResult {
                seq: command.seq,
                refused,
            });
        }
    }

    /// One tick: routes, then the frame.
    pub(crate) fn publish(&mut self) -> Vec<(Envelope, Bytes)> {
        self.tick = self.tick + 1;
        let full = std::mem::take(&mut self.wants_full);
        let routes = ToGateway::Routes(self.routes(full));
        let frame = ToGateway::Frame(Box::new(self.frame(full)));
        self.joins.clear();
        self.changes.clear();
        self.layers.clear();
        self.events.clear();
        self.leaves.clear();
        [routes, frame].map(|message| self.post(&message)).into()
    }

    pub(crate) fn post(&mut self, message: &ToGateway) -> (Envelope, Bytes) {
        let (from, to) = (RoleId::Lane(self.id), RoleId::Gateway(GATEWAY));
        (
            Envelope {
                to,
                from,
                link: self.link.stamp(),
            },
            codec::encode(message).into(),
        )
    }

    fn routes(&mut self, full: bool) -> Routes {
        let ended = std::mem::take(&mut self.ended);
        let mut sessions: Vec<Route> = ended
            .into_iter()
            .map(|(session, reason)| Route {
                session,
                state: RouteState::Ended(reason),
            })
            .collect();
        let births: Vec<Birth> = self
            .seats
            .values()
            .map(|seat| self.birth(&seat.account))
            .collect();
        for ((session, seat), birth) in self.seats.iter_mut().zip(births) {
            let entity = &self.entities[&seat.slot];
            let avatar = Avatar {
                slot: Slot(seat.slot),
                generation: entity.generation,
                entity: entity.entity,
                epoch: seat.epoch,
                command_seq: seat.answered,
                radius_aoi: RADIUS_AOI,
                sees: birth.sees,
            };
            let announce = std::mem::take(&mut seat.announce) || full;
            let route = AttachedRoute {
                avatar: announce.then_some(avatar),
                own: OwnRecord {
                    intent_seq: seat.applied,
                    position: entity.position,
                    corrections: 0,
                },
                properties: std::mem::take(&mut seat.owner),
                results: std::mem::take(&mut seat.results),
            };
            sessions.push(Route {
                session: *session,
                state: RouteState::Attached(Box::new(route)),
            });
        }
        Routes {
            epoch: self.epoch,
            tick: self.tick,
            full,
            sessions,
        }
    }

    fn frame(&mut self, full: bool) -> Frame {
        let crowd = if self.without_crowd {
            Vec::new()
        } else {
            self.crowd.publish(self.tick, &self.entities, full)
        };
        let join = |slot: &u32| {
            let entity = &self.entities[slot];
            JoinRecord {
                slot: Slot(*slot),
                generation: entity.generation,
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
            keyframe: full.then(|| self.keyframe()),
            joins,
            changes: if full { Vec::new() } else { self.changes.clone() },
            layers: if full { Vec::new() } else { self.layers.clone() },
            events: self.events.clone(),
            leaves: if full { Vec::new() } else { self.leaves.clone() },
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
        let mut tiles: BTreeMap<(u32, i32, i32), Vec<(Slot, WirePos)>> = BTreeMap::new();
        for (slot, entity) in &self.entities {
            let p = entity.position;
            let tile = (entity.layers, p.x >> TILE_SHIFT, p.z >> TILE_SHIFT);
            tiles.entry(tile).or_default().push((Slot(*slot), p.to_wire()));
        }
        tiles
            .into_iter()
            .map(|((layers, ..), members)| self.track(layers, &members))
            .collect()
    }

    fn track(&self, layers: u32, members: &[(Slot, WirePos)]) -> TrackRecord {
        let told: Vec<Told> = members
            .iter()
            .map(|&(slot, position)| Told {
                slot,
                position,
                version: self.entities[&slot.0].version,
                changed: false,
            })
            .collect();
        let bound = |pick: fn(i32, i32) -> i32| {
            let merge = |a: WirePos, b: WirePos| WirePos {
                x: pick(a.x, b.x),
                y: pick(a.y, b.y),
                z: pick(a.z, b.z),
            };
            members.iter().map(|member| member.1).reduce(merge).unwrap()
        };
        let mut levels: [Vec<Vec<u8>>; LEVELS] = Default::default();
        for (k, chunks) in levels.iter_mut().enumerate() {
            let level = Level::new(k as u8).unwrap();
            encode_chunks(level, self.tick, &told, |chunk| chunks.push(chunk.to_vec()));
        }
        TrackRecord {
            layers,
            members: members.len() as u32,
            low: bound(i32::min),
            high: bound(i32::max),
            levels,
        }
    }
}

/// A place on the ground, in metres.
pub(crate) fn at(x: i32, z: i32) -> Pos {
    Pos {
        x: x * 1024,
        y: 0,
        z: z * 1024,
    }
}
