//! A lane by hand: entities that tests move, sessions that get avatars, routes as a lane publishes them; `frame` makes its
//! frames.

mod frame;

use bytes::Bytes;
use myriad_wire::client::{Command, CommandResult};
use myriad_wire::fabric::{
    AttachedRoute, Avatar, ChangeRecord, Envelope, EventRecord, Issuer, LayersRecord, LeaveRecord, Report,
    RoleId, Route, RouteState, Routes, ToGateway,
};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::link::Link;
use myriad_wire::payload::OwnRecord;
use myriad_wire::value::PropertyList;
use myriad_wire::{
    CloseReason, CommandSeq, EntityId, EntityName, GatewayId, Generation, Hop, Incarnation, IntentSeq,
    LaneEpoch, LaneId, Pos, PropertyIndex, SessionEpoch, SessionId, Slot, SpaceId, Tick, Value, codec,
};
use std::collections::{BTreeMap, BTreeSet};

use crate::crowd_lane::CrowdTracks;

pub(crate) const SPACE: SpaceId = SpaceId(1);
pub(crate) const GATEWAY: GatewayId = GatewayId(7);
/// How far avatars see: 40 m.
pub(crate) const RADIUS_AOI: u32 = 40 * 32;
/// Side of the squares that share a track: 16 m.
const TILE_SHIFT: u32 = 14;
/// Where [`TestLane::entities`] has those with another lane's names.
const FOREIGN: u32 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Entity {
    /// Who gave the name.
    pub(crate) issuer: LaneEpoch,
    pub(crate) slot: u32,
    pub(crate) hop: Hop,
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
    pub(crate) announce: bool,
    /// The next routes say that it goes there.
    pub(crate) moves_to: Option<LaneId>,
    /// The epoch in the lane that it came from.
    former: Option<SessionEpoch>,
    /// The last command taken, and those taken that have not had their effect.
    taken: CommandSeq,
    pub(crate) queue: Vec<Command>,
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
    /// By slot; those with another lane's names from [`FOREIGN`] on.
    pub(crate) entities: BTreeMap<u32, Entity>,
    pub(crate) seats: BTreeMap<SessionId, Seat>,
    pub(crate) births: BTreeMap<String, Birth>,
    /// The reports that came through the link.
    pub(crate) reports: Vec<Report>,
    /// Commands in the order in which they were applied.
    pub(crate) commands: Vec<(SessionId, CommandSeq)>,
    /// Leave commands in their queue.
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
    /// Whose names are told.
    issuers: Vec<LaneEpoch>,
    /// Whom other lanes have now.
    gone: Vec<LeaveRecord>,
    /// Where the avatars of accounts are that are not here.
    pub(crate) elsewhere: BTreeMap<String, LaneId>,
    /// Sessions that are told so in the next routes.
    sent_away: Vec<(SessionId, LaneId)>,
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
            issuers: vec![LaneEpoch(epoch)],
            gone: Vec::new(),
            elsewhere: BTreeMap::new(),
            sent_away: Vec::new(),
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
        // Whoever is elsewhere keeps the name.
        let is_away = |slot: &u32| {
            let own = self.gone.iter().filter(|gone| gone.issuer == Issuer(0));
            own.into_iter().any(|gone| gone.slot.0 == *slot)
        };
        let is_free = |slot: &u32| !self.entities.contains_key(slot) && !is_away(slot);
        let slot = (0..).find(is_free).unwrap();
        self.entities_made += 1;
        if self.generations.len() <= slot as usize {
            self.generations.resize(slot as usize + 1, 0);
        }
        self.generations[slot as usize] += 1;
        let entity = Entity {
            issuer: self.epoch,
            slot,
            hop: Hop(0),
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
        let (issuer, name) = self.named(slot);
        let is_it = |other: (Issuer, Slot)| other == (issuer, name);
        self.layers.retain(|record| !is_it((record.issuer, record.slot)));
        self.changes.retain(|record| !is_it((record.issuer, record.slot)));
        let entity = self.entities.remove(&slot).unwrap();
        // Of one that came from another lane there is something to end.
        if !self.joins.remove(&slot) || entity.hop > Hop(0) {
            self.leaves.push(LeaveRecord {
                issuer,
                slot: name,
                generation: entity.generation,
                hop: entity.hop,
                to: None,
            });
        } else {
            self.events.retain(|event| !is_it((event.issuer, event.slot)));
        }
    }

    /// How records name the entity.
    fn named(&self, key: u32) -> (Issuer, Slot) {
        let entity = &self.entities[&key];
        let place = self.issuers.iter().position(|issuer| *issuer == entity.issuer);
        (Issuer(place.unwrap() as u16), Slot(entity.slot))
    }

    /// The next frames say that `to` has the entity: this one's that it is gone, the other's that it came. An avatar's
    /// session goes along. Answers where it is there.
    pub(crate) fn hand_off(&mut self, key: u32, to: &mut TestLane) -> u32 {
        self.let_go(key, to.id);
        let mut entity = self.entities.remove(&key).unwrap();
        entity.hop.0 += 1;
        let there = to.adopt(entity);
        let session = self.seats.iter().find(|(_, seat)| seat.slot == key);
        if let Some(session) = session.map(|(session, _)| *session) {
            let mut seat = self.seats.remove(&session).unwrap();
            (seat.slot, seat.announce, seat.moves_to) = (there, true, None);
            // What was sent under the epoch before may be lost, so the gateway is to send it again.
            to.attachments = to.attachments.max(seat.epoch.0) + 1;
            seat.former = Some(std::mem::replace(&mut seat.epoch, SessionEpoch(to.attachments)));
            to.births.insert(seat.account.clone(), self.birth(&seat.account));
            self.elsewhere.insert(seat.account.clone(), to.id);
            to.elsewhere.remove(&seat.account);
            to.seats.insert(session, seat);
        }
        there
    }

    /// The next frame says that `to` has the entity, and it does not.
    pub(crate) fn let_go(&mut self, key: u32, to: LaneId) {
        let (issuer, slot) = self.named(key);
        let leave = LeaveRecord {
            issuer,
            slot,
            generation: self.entities[&key].generation,
            hop: self.entities[&key].hop,
            to: Some(to),
        };
        self.joins.remove(&key);
        self.leaves.push(leave);
        self.gone.push(leave);
    }

    /// The next routes say that the session is to be attached at `lane`.
    pub(crate) fn send_away(&mut self, session: SessionId, lane: LaneId) {
        self.sent_away.push((session, lane));
    }

    /// Whether the entity came since the last frame. A lane says that it came before it says anything else of it.
    pub(crate) fn is_new(&self, key: u32) -> bool {
        self.joins.contains(&key)
    }

    /// The next frame says that the entity came.
    pub(crate) fn adopt(&mut self, entity: Entity) -> u32 {
        let own = (entity.issuer == self.epoch).then_some(entity.slot);
        let free = (FOREIGN..).find(|key| !self.entities.contains_key(key));
        let key = own.or(free).unwrap();
        if !self.issuers.contains(&entity.issuer) {
            self.issuers.push(entity.issuer);
        }
        self.gone.retain(|gone| {
            (self.issuers[usize::from(gone.issuer.0)], gone.slot.0) != (entity.issuer, entity.slot)
        });
        self.entities.insert(key, entity);
        self.joins.insert(key);
        key
    }

    pub(crate) fn set_layers(&mut self, slot: u32, layers: u32) {
        self.entities.get_mut(&slot).unwrap().layers = layers;
        let (issuer, slot) = self.named(slot);
        self.layers.push(LayersRecord { issuer, slot, layers });
    }

    pub(crate) fn change(&mut self, slot: u32, value: Value) {
        let property = (PropertyIndex(0), value);
        let name = self.named(slot);
        let is_it = |record: &ChangeRecord| (record.issuer, record.slot) == name;
        let again = self.changes.iter().any(is_it);
        let entity = self.entities.get_mut(&slot).unwrap();
        entity.properties[0] = property.clone();
        entity.version = entity.version.wrapping_add(u8::from(!again));
        self.changes.retain(|record| !is_it(record));
        self.changes.push(ChangeRecord {
            issuer: name.0,
            slot: name.1,
            properties: vec![property],
        });
    }

    pub(crate) fn event(&mut self, slot: u32, name: &str) {
        let (issuer, slot) = self.named(slot);
        self.events.push(EventRecord {
            issuer,
            slot,
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
        if let Some(lane) = self.elsewhere.get(account) {
            self.send_away(session, *lane);
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
            moves_to: None,
            former: None,
            taken: answered,
            queue: Vec::new(),
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
            if seat.epoch == intents.epoch {
                seat.former = None;
            } else {
                assert_eq!(seat.former, Some(intents.epoch));
                let first = intents.newest.0 - intents.steps.len() as u32;
                if first > seat.applied.0 {
                    continue;
                }
            }
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
            if command.seq <= seat.taken || command.epoch != seat.epoch {
                continue;
            }
            seat.taken = command.seq;
            seat.queue.push(Command {
                seq: command.seq,
                name: command.name.clone(),
                arguments: command.arguments.clone(),
            });
        }
        self.run_commands();
    }

    fn run_commands(&mut self) {
        for (session, seat) in self.seats.iter_mut().filter(|_| !self.mute) {
            for Command { seq, name, .. } in seat.queue.drain(..) {
                self.commands.push((*session, seq));
                seat.answered = seq;
                let refused = (name == "no").then(|| "no".to_owned());
                seat.results.push(CommandResult { seq, refused });
            }
        }
    }

    /// One tick: routes, then the frame.
    pub(crate) fn publish(&mut self) -> Vec<(Envelope, Bytes)> {
        self.tick = self.tick + 1;
        self.run_commands();
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
        for (session, lane) in std::mem::take(&mut self.sent_away) {
            let state = RouteState::Elsewhere(lane);
            sessions.push(Route { session, state });
        }
        let births: Vec<Birth> = self
            .seats
            .values()
            .map(|seat| self.birth(&seat.account))
            .collect();
        for ((session, seat), birth) in self.seats.iter_mut().zip(births) {
            let entity = &self.entities[&seat.slot];
            let avatar = Avatar {
                name: EntityName {
                    issuer: entity.issuer,
                    slot: Slot(entity.slot),
                    generation: entity.generation,
                },
                hop: entity.hop,
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
                moves_to: seat.moves_to,
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
}

/// A place on the ground, in metres.
pub(crate) fn at(x: i32, z: i32) -> Pos {
    Pos {
        x: x * 1024,
        y: 0,
        z: z * 1024,
    }
}
