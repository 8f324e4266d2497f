//! A client by hand: reads what the gateway sends and holds it to the protocol.

use bytes::Bytes;
use myriad_gateway::ConnId;
use myriad_wire::client::{
    ClientMessage, Command, CommandResult, Event, Hello, Identify, Identity, Join, Joined, Leave,
    LeaveReason, Listed, Login, OwnerUpdate, ServerMessage, ViewUpdate,
};
use myriad_wire::codec::{self, LENGTH_BYTES};
use myriad_wire::crowd::message::{is_crowd, take_head};
use myriad_wire::limits::{DATAGRAM_BYTES_MAX, VERSION_MAX, VERSION_MIN};
use myriad_wire::payload::{Intents, PayloadHeader, Step, decode_payload};
use myriad_wire::track::{Level, State, decode_chunk};
use myriad_wire::value::PropertyList;
use myriad_wire::{
    CloseReason, CommandSeq, EntityId, IntentSeq, LaneHandle, SessionId, SubjectRef, Tick, Value,
};
use std::collections::BTreeMap;

use crate::crowd_client::CrowdModel;
use crate::lane::SPACE;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) entity: EntityId,
    pub(crate) properties: PropertyList,
}

/// One tick's payload, of all its datagrams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    pub(crate) header: PayloadHeader,
    pub(crate) datagrams: usize,
    pub(crate) chunk_bytes: usize,
    pub(crate) states: Vec<(LaneHandle, Level, State)>,
}

pub(crate) struct TestClient {
    pub(crate) conn: ConnId,
    pub(crate) account: String,
    pub(crate) session: Option<SessionId>,
    pub(crate) joined: Option<Joined>,
    /// How often a `Joined` came.
    pub(crate) joins: u32,
    pub(crate) view: BTreeMap<SubjectRef, Seen>,
    pub(crate) views: u64,
    pub(crate) owner: Vec<OwnerUpdate>,
    pub(crate) results: Vec<CommandResult>,
    pub(crate) closed: Option<CloseReason>,
    /// Of the last step only.
    pub(crate) update: Option<ViewUpdate>,
    pub(crate) payload: Option<Payload>,
    pub(crate) listed: Vec<Listed>,
    pub(crate) identities: Vec<Identity>,
    /// What crowd messages told, in this step and before.
    pub(crate) crowd: CrowdModel,
    /// Everything that came, for searches.
    pub(crate) received: Vec<Bytes>,
    last_tick: Tick,
    commands: u32,
    pub(crate) steps: Vec<Step>,
}

impl TestClient {
    pub(crate) fn new(conn: u64, account: &str) -> Self {
        Self {
            conn: ConnId(conn),
            account: account.into(),
            session: None,
            joined: None,
            joins: 0,
            view: BTreeMap::new(),
            views: 0,
            owner: Vec::new(),
            results: Vec::new(),
            closed: None,
            update: None,
            payload: None,
            listed: Vec::new(),
            identities: Vec::new(),
            crowd: CrowdModel::default(),
            received: Vec::new(),
            last_tick: Tick(0),
            commands: 0,
            steps: Vec::new(),
        }
    }

    /// What a client says to get in, all at once.
    pub(crate) fn greeting(&self) -> [Bytes; 3] {
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: 0,
            agent: "test".into(),
        };
        let login = Login {
            account: self.account.clone(),
            key: String::new(),
        };
        [
            ClientMessage::Hello(hello),
            ClientMessage::Login(login),
            ClientMessage::Join(Join { space: SPACE }),
        ]
        .map(|message| bytes(&message))
    }

    pub(crate) fn command(&mut self, name: &str) -> Bytes {
        self.commands += 1;
        command(self.commands, name)
    }

    /// A datagram with one more step, and those before it that fit.
    pub(crate) fn step(&mut self, dx: i32, dz: i32) -> Bytes {
        self.steps.push(Step { dx, dz });
        let joined = self.joined.as_ref().unwrap();
        let newest = IntentSeq(self.steps.len() as u32);
        let steps = self.steps[self.steps.len().saturating_sub(16)..].to_vec();
        intents(joined.avatar, self.last_tick, newest, steps)
    }

    pub(crate) fn begin_step(&mut self) {
        self.update = None;
        self.payload = None;
        self.listed.clear();
        self.identities.clear();
        self.crowd.begin_step();
    }

    pub(crate) fn handle_message(&mut self, framed: &Bytes) {
        assert_eq!(self.closed, None, "nothing comes after the close");
        self.received.push(framed.clone());
        let (prefix, body) = framed.split_at(LENGTH_BYTES);
        assert_eq!(
            u32::from_le_bytes(prefix.try_into().unwrap()) as usize,
            body.len()
        );
        if is_crowd(body) {
            assert!(self.joined.is_some(), "a crowd before the join");
            let head = take_head(&mut &body[..]).unwrap();
            // A crowd that begins counts as a view.
            self.views += u64::from(head.begins);
            if self.crowd.take(framed) {
                self.view.clear();
            }
            return;
        }
        match ServerMessage::from_bytes(body).unwrap() {
            ServerMessage::Welcome(welcome) => assert_eq!(welcome.version, VERSION_MAX),
            ServerMessage::LoggedIn(logged_in) => self.session = Some(logged_in.session),
            ServerMessage::Joined(joined) => {
                self.joins += 1;
                self.steps.clear();
                self.joined = Some(*joined);
            }
            ServerMessage::View(update) => {
                // The gateway puts views together from ranges; they must be what the plain codec writes.
                assert_eq!(codec::encode(&ServerMessage::View(update.clone())), body);
                self.apply(&update);
                assert!(self.update.replace(update).is_none(), "one view a tick");
            }
            ServerMessage::Owner(owner) => self.owner.push(owner),
            ServerMessage::CommandResult(result) => self.results.push(result),
            ServerMessage::Listed(listed) => {
                self.listed.push(listed);
                if !listed.complete {
                    self.view.clear();
                    self.crowd = CrowdModel::default();
                }
            }
            ServerMessage::Identity(identity) => {
                assert_eq!(codec::encode(&ServerMessage::Identity(identity.clone())), body);
                self.identities.push(identity);
            }
        }
    }

    fn apply(&mut self, update: &ViewUpdate) {
        assert!(self.joined.is_some(), "a view before the join");
        assert!(update.tick >= self.last_tick, "ticks never go back");
        self.last_tick = update.tick;
        self.views += 1;
        for enter in &update.enters {
            let seen = Seen {
                entity: enter.entity,
                properties: enter.properties.clone(),
            };
            let before = self.view.insert(enter.subject, seen);
            assert_eq!(before, None, "{:?} entered twice", enter.subject);
        }
        for change in &update.changes {
            let seen = self
                .view
                .get_mut(&change.subject)
                .expect("a change of a subject in view");
            for (index, value) in &change.properties {
                let place = seen
                    .properties
                    .iter_mut()
                    .find(|property| property.0 == *index)
                    .unwrap();
                place.1 = value.clone();
            }
        }
        for Event { subject, .. } in &update.events {
            assert!(self.view.contains_key(subject), "an event of a subject in view");
        }
        for Leave { subject, .. } in &update.leaves {
            assert!(self.view.remove(subject).is_some(), "{subject:?} left twice");
        }
    }

    pub(crate) fn handle_datagram(&mut self, bytes: &Bytes) {
        assert_eq!(self.closed, None, "nothing comes after the close");
        assert!(self.joined.is_some(), "a payload before the join");
        assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
        self.received.push(bytes.clone());
        let payload = self.payload.get_or_insert_default();
        let header = decode_payload(bytes, |_, lane, chunk| {
            payload.chunk_bytes += chunk.len();
            let mut states = Vec::new();
            let level = decode_chunk(chunk, |state| states.push(state)).unwrap();
            payload
                .states
                .extend(states.into_iter().map(|state| (lane, level, state)));
        })
        .unwrap();
        assert_eq!(usize::from(header.part), payload.datagrams, "parts come in order");
        if payload.datagrams > 0 {
            assert_eq!(
                PayloadHeader { part: 0, ..header },
                payload.header,
                "every part has the same header"
            );
        }
        payload.header = PayloadHeader { part: 0, ..header };
        payload.datagrams += 1;
    }

    pub(crate) fn end_step(&mut self) {
        if let Some(payload) = &self.payload {
            assert_eq!(
                usize::from(payload.header.parts),
                payload.datagrams,
                "all parts came"
            );
            assert_eq!(
                payload.header.view_seq, self.views,
                "the payload says how many views were sent"
            );
            assert!(payload.header.tick >= self.last_tick, "ticks never go back");
            self.last_tick = payload.header.tick;
        }
    }

    /// How many events of this name the last step brought, by subject.
    pub(crate) fn events(&self, name: &str) -> Vec<SubjectRef> {
        let events = self.update.iter().flat_map(|update| &update.events);
        events
            .filter(|event| event.name == name)
            .map(|event| event.subject)
            .collect()
    }

    pub(crate) fn leave_reasons(&self) -> Vec<LeaveReason> {
        self.update
            .iter()
            .flat_map(|update| &update.leaves)
            .map(|leave| leave.reason)
            .collect()
    }
}

pub(crate) fn bytes(message: &ClientMessage) -> Bytes {
    codec::encode(message).into()
}

pub(crate) fn command(seq: u32, name: &str) -> Bytes {
    let arguments = vec![Value::Int(1)];
    bytes(&ClientMessage::Command(Command {
        seq: CommandSeq(seq),
        name: name.into(),
        arguments,
    }))
}

pub(crate) fn identify(subjects: &[SubjectRef]) -> Bytes {
    let subjects = subjects.to_vec();
    bytes(&ClientMessage::Identify(Identify { subjects }))
}

pub(crate) fn intents(avatar: SubjectRef, seen_tick: Tick, newest: IntentSeq, steps: Vec<Step>) -> Bytes {
    let mut out = Vec::new();
    Intents {
        slot: avatar.slot,
        generation: avatar.generation,
        seen_tick,
        newest,
        steps,
    }
    .encode(&mut out);
    out.into()
}
