//! A stage for tests: a client of the SDK, the truth, and between them a server that says whatever a test wants,
//! without a network and in virtual time.

mod crowd;

use crate::truth::Truth;
use crate::truth::tests::{CLOCK, told};
use myriad_client::{Client, ClientConfig, CrowdEdges};
use myriad_wire::client::{Change, Enter, Joined, LoggedIn, Rules, ServerMessage, ViewUpdate, Welcome};
use myriad_wire::crowd::Track;
use myriad_wire::limits::VERSION_MAX;
use myriad_wire::payload::{Intents, OwnRecord, PayloadHeader, put_chunk, put_group};
use myriad_wire::track::{Level, Told, encode_chunks};
use myriad_wire::truth::TruthTick;
use myriad_wire::{
    EntityId, Generation, IntentSeq, KindId, LaneHandle, Pos, PropertyIndex, SessionId, Slot, SpaceId,
    SubjectRef, Tick, Value, codec,
};

/// The property that changes on the stage.
pub(crate) const MOOD: PropertyIndex = PropertyIndex(1);
/// From a tick's due time to its arrival at the client.
pub(crate) const JOURNEY_US: u64 = 3_000;

/// One client and its world of a few entities at 10 Hz; the first one is its avatar.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) truth: Truth,
    pub(crate) tick: Tick,
    view_seq: u64,
    own: OwnRecord,
    /// Tells the view once the crowd has begun.
    track: Option<Track>,
}

pub(crate) fn subject(row: u32) -> SubjectRef {
    SubjectRef {
        lane: LaneHandle(0),
        slot: Slot(row),
        generation: Generation(0),
    }
}

pub(crate) fn entity(row: u32) -> EntityId {
    EntityId(u64::from(row) + 1)
}

pub(crate) fn joined(position: Pos) -> Joined {
    let far = Pos {
        x: 1 << 20,
        y: 1 << 20,
        z: 1 << 20,
    };
    Joined {
        space: SpaceId(1),
        clock: CLOCK,
        avatar: subject(0),
        entity: entity(0),
        position,
        intent_seq: IntentSeq(0),
        rules: Rules {
            bounds_min: Pos {
                x: -far.x,
                y: -far.y,
                z: -far.z,
            },
            bounds_max: far,
            speed_max: 6 * 1024,
            burst_ms: 500,
            radius_aoi: 3200,
            crowd_period: 5,
        },
        kinds: Vec::new(),
    }
}

impl Stage {
    /// The client has joined at tick 0 and has in view whoever is at `metres`, all in the mood 0.
    pub(crate) fn new(metres: &[(f64, f64)]) -> Self {
        let mut first = told(0, metres);
        let moods = |entity: &_| (*entity, vec![(MOOD, Value::Int(0))]);
        first.changes = first.entities.iter().map(|told| moods(&told.entity)).collect();
        let mut stage = Self {
            client: Client::new(ClientConfig {
                account: "bot-0".into(),
                key: String::new(),
                space: SpaceId(1),
                agent: "stage".into(),
                identities_per_s: 0,
                crowd_edges: CrowdEdges::OneByOne,
            }),
            truth: Truth::default(),
            tick: Tick(0),
            view_seq: 0,
            own: OwnRecord {
                position: first.entities[0].position,
                ..OwnRecord::default()
            },
            track: None,
        };
        stage.send(&ServerMessage::Welcome(Welcome {
            version: VERSION_MAX,
            features: 0,
        }));
        stage.send(&ServerMessage::LoggedIn(LoggedIn {
            session: SessionId(1),
        }));
        let joined = joined(first.entities[0].position);
        stage.send(&ServerMessage::Joined(Box::new(joined)));
        stage.tell_truth(&first);
        stage.send_view(ViewUpdate {
            enters: first
                .entities
                .iter()
                .map(|told| enter(told.name.slot.0, told.position))
                .collect(),
            ..ViewUpdate::default()
        });
        stage
    }

    /// When the current tick has just arrived.
    pub(crate) fn now_us(&self) -> u64 {
        CLOCK.due_us(self.tick) + JOURNEY_US
    }

    /// The next tick's truth: everybody at `metres`. The client is not told anything yet.
    pub(crate) fn next_tick(&mut self, metres: &[(f64, f64)]) -> TruthTick {
        self.tick = self.tick + 1;
        let mut next = told(self.tick.0, metres);
        next.entities[0].intent_seq = self.own.intent_seq;
        next
    }

    pub(crate) fn tell_truth(&mut self, told: &TruthTick) {
        let now_us = self.now_us();
        self.truth.handle_tick(told, now_us).expect("a good trace");
        self.own.position = told.entities[0].position;
    }

    /// Truth and states of the next tick, as an honest server tells them.
    pub(crate) fn honest_tick(&mut self, metres: &[(f64, f64)], level: Level) {
        let told = self.next_tick(metres);
        self.tell_truth(&told);
        let states: Vec<_> = told
            .entities
            .iter()
            .map(|told| (told.name.slot, told.position))
            .collect();
        self.send_states(level, &states);
    }

    /// The client takes `steps` that the server applies at once.
    pub(crate) fn take_intents(&mut self) -> Option<Intents> {
        let datagram = self.client.poll_datagram()?;
        let intents = Intents::decode(&datagram).expect("the SDK encodes well");
        self.own.intent_seq = intents.newest;
        Some(intents)
    }

    pub(crate) fn send(&mut self, message: &ServerMessage) {
        let mut bytes = Vec::new();
        codec::frame_into(message, &mut bytes);
        let now_us = self.now_us();
        self.client.handle_stream(&bytes, now_us);
    }

    pub(crate) fn send_view(&mut self, view: ViewUpdate) {
        self.view_seq += 1;
        let tick = self.tick;
        self.send(&ServerMessage::View(ViewUpdate { tick, ..view }));
    }

    pub(crate) fn send_mood(&mut self, row: u32, mood: i64) {
        self.send_view(ViewUpdate {
            changes: vec![Change {
                subject: subject(row),
                properties: vec![(MOOD, Value::Int(mood))],
            }],
            ..ViewUpdate::default()
        });
    }

    /// Sends those of `states` that are due at `level` in the current tick.
    pub(crate) fn send_states(&mut self, level: Level, states: &[(Slot, Pos)]) {
        let members: Vec<_> = states
            .iter()
            .map(|(slot, position)| Told {
                slot: *slot,
                position: position.to_wire(),
                version: 0,
                changed: false,
            })
            .collect();
        let mut chunks: Vec<Vec<u8>> = Vec::new();
        encode_chunks(level, self.tick, &members, |chunk| chunks.push(chunk.to_vec()));
        let parts = chunks.len().max(1) as u8;
        for part in 0..parts {
            let header = PayloadHeader {
                tick: self.tick,
                part,
                parts,
                view_seq: self.view_seq,
                own: self.own,
            };
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            if let Some(chunk) = chunks.get(usize::from(part)) {
                put_group(LaneHandle(0), 1, &mut bytes);
                put_chunk(chunk, &mut bytes);
            }
            let now_us = self.now_us();
            self.client.handle_datagram(bytes.into(), now_us);
        }
    }
}

pub(crate) fn enter(row: u32, position: Pos) -> Enter {
    Enter {
        subject: subject(row),
        entity: entity(row),
        kind: KindId(0),
        position: position.to_wire(),
        properties: vec![(MOOD, Value::Int(0))],
    }
}
