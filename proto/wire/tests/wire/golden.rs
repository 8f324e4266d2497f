//! Golden bytes of every message that bincode encodes. Each enum has a chain of samples, one per variant: a new
//! variant does not compile until it has its place in the chain. Bytes that change break clients that are out
//! there; they change only with the version.

mod directory;
mod lanes;
mod nodes;

use crate::{hex, unhex};
use bincode::{Decode, Encode};
use lanes::{lane_message, next_parcel, next_refusal};
use myriad_wire::client::{
    Change, ClientMessage, Command, CommandResult, Enter, Event, Hello, Identify, Identity, IdentityRecord,
    Join, Joined, Leave, LeaveReason, Listed, LoggedIn, Login, OwnerUpdate, Rules, ServerMessage, ViewUpdate,
    Welcome,
};
use myriad_wire::codec;
use myriad_wire::crowd::message::{Form, Happening};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::schema::{Audience, KindSchema, PropertySchema};
use myriad_wire::value::ValueType;
use myriad_wire::{
    CloseReason, CommandSeq, EntityId, EntityName, Generation, Incarnation, IntentSeq, KindId, LaneEpoch,
    LaneHandle, Pos, PropertyIndex, SessionId, Slot, SpaceClock, SpaceId, SubjectRef, Tick, Value, WirePos,
};
use nodes::{next_envelope, next_route_state, next_to_gateway, report, truth_tick};

/// A message, its name and the bytes that it must have.
pub(crate) struct Golden<M> {
    pub(crate) name: &'static str,
    pub(crate) message: M,
    pub(crate) hex: &'static str,
}

fn golden<M>(name: &'static str, message: M, hex: &'static str) -> Option<Golden<M>> {
    Some(Golden { name, message, hex })
}

/// All samples of a chain.
fn chain<M>(next: impl Fn(Option<&M>) -> Option<Golden<M>>) -> Vec<Golden<M>> {
    let mut samples: Vec<Golden<M>> = Vec::new();
    while let Some(sample) = next(samples.last().map(|last| &last.message)) {
        assert!(samples.len() < 100, "the chain goes round");
        samples.push(sample);
    }
    samples
}

fn next_value(previous: Option<&Value>) -> Option<Golden<Value>> {
    match previous {
        None => golden("Value::Bool", Value::Bool(true), "0001"),
        Some(Value::Bool(_)) => golden("Value::Int", Value::Int(-1000), "01fbcf07"),
        Some(Value::Int(_)) => golden("Value::Float", Value::Float(1.5), "02000000000000f83f"),
        Some(Value::Float(_)) => golden("Value::Text", Value::Text("zoë".into()), "03047a6fc3ab"),
        Some(Value::Text(_)) => None,
    }
}

fn values() -> Vec<Value> {
    chain(next_value)
        .into_iter()
        .map(|sample| sample.message)
        .collect()
}

fn next_value_type(previous: Option<&ValueType>) -> Option<Golden<ValueType>> {
    match previous {
        None => golden("ValueType::Bool", ValueType::Bool, "00"),
        Some(ValueType::Bool) => golden("ValueType::Int", ValueType::Int, "01"),
        Some(ValueType::Int) => golden("ValueType::Float", ValueType::Float, "02"),
        Some(ValueType::Float) => golden("ValueType::Text", ValueType::Text, "03"),
        Some(ValueType::Text) => None,
    }
}

fn next_audience(previous: Option<&Audience>) -> Option<Golden<Audience>> {
    match previous {
        None => golden("Audience::Nobody", Audience::Nobody, "00"),
        Some(Audience::Nobody) => golden("Audience::Owner", Audience::Owner, "01"),
        Some(Audience::Owner) => golden("Audience::All", Audience::All, "02"),
        Some(Audience::All) => None,
    }
}

fn properties() -> Vec<(PropertyIndex, Value)> {
    (0u8..).map(PropertyIndex).zip(values()).collect()
}

fn subject() -> SubjectRef {
    SubjectRef {
        lane: LaneHandle(2),
        slot: Slot(300),
        generation: Generation(7),
    }
}

fn clock() -> SpaceClock {
    SpaceClock {
        origin_us: 1_700_000_000_000_000,
        base: Tick(0),
        rate_mhz: 10_000,
    }
}

fn rules() -> Rules {
    Rules {
        bounds_min: Pos { x: -1, y: 0, z: -1 },
        bounds_max: Pos {
            x: 102_400,
            y: 1024,
            z: i32::MAX,
        },
        speed_max: 7168,
        burst_ms: 500,
        radius_aoi: 3200,
        crowd_period: 10,
    }
}

fn kinds() -> Vec<KindSchema> {
    let property = |name: &str, value_type, audience| PropertySchema {
        name: name.into(),
        value_type,
        audience,
    };
    vec![KindSchema {
        name: "avatar".into(),
        hash: 0x0123_4567_89ab_cdef,
        properties: vec![
            property("name", ValueType::Text, Audience::All),
            property("waves", ValueType::Int, Audience::Owner),
            property("", ValueType::Float, Audience::Nobody),
        ],
    }]
}

fn entity() -> EntityId {
    EntityId::new(Incarnation(3), 5)
}

fn entity_name() -> EntityName {
    EntityName {
        issuer: LaneEpoch(9),
        slot: Slot(300),
        generation: Generation(7),
    }
}

fn next_client_message(previous: Option<&ClientMessage>) -> Option<Golden<ClientMessage>> {
    match previous {
        None => golden(
            "ClientMessage::Hello",
            ClientMessage::Hello(Hello {
                version_min: 2,
                version_max: 2,
                features: 0,
                agent: "example/1.0".into(),
            }),
            "000202000b6578616d706c652f312e30",
        ),
        Some(ClientMessage::Hello(_)) => golden(
            "ClientMessage::Login",
            ClientMessage::Login(Login {
                account: "zoë".into(),
                key: "open sesame".into(),
            }),
            "01047a6fc3ab0b6f70656e20736573616d65",
        ),
        Some(ClientMessage::Login(_)) => golden(
            "ClientMessage::Join",
            ClientMessage::Join(Join { space: SpaceId(1) }),
            "0201",
        ),
        Some(ClientMessage::Join(_)) => golden(
            "ClientMessage::Command",
            ClientMessage::Command(Command {
                seq: CommandSeq(251),
                name: "say".into(),
                arguments: values(),
            }),
            "03fbfb000373617904000101fbcf0702000000000000f83f03047a6fc3ab",
        ),
        Some(ClientMessage::Command(_)) => golden("ClientMessage::Leave", ClientMessage::Leave, "04"),
        Some(ClientMessage::Leave) => golden(
            "ClientMessage::Identify",
            ClientMessage::Identify(Identify {
                subjects: vec![subject()],
            }),
            "050102fb2c0107",
        ),
        Some(ClientMessage::Identify(_)) => None,
    }
}

fn next_server_message(previous: Option<&ServerMessage>) -> Option<Golden<ServerMessage>> {
    match previous {
        None => golden(
            "ServerMessage::Welcome",
            ServerMessage::Welcome(Welcome {
                version: 2,
                features: 0,
            }),
            "000200",
        ),
        Some(ServerMessage::Welcome(_)) => golden(
            "ServerMessage::LoggedIn",
            ServerMessage::LoggedIn(LoggedIn {
                session: SessionId::new(Incarnation(4), 1),
            }),
            "01fd0100000000040000",
        ),
        Some(ServerMessage::LoggedIn(_)) => golden(
            "ServerMessage::Joined",
            ServerMessage::Joined(Box::new(Joined {
                space: SpaceId(1),
                clock: clock(),
                avatar: subject(),
                entity: entity(),
                position: Pos {
                    x: 51_200,
                    y: 0,
                    z: -1,
                },
                intent_seq: IntentSeq(0),
                rules: rules(),
                kinds: kinds(),
            })),
            "0201fd00401e18240a060000fb102702fb2c0107fd0500000000030000fc00900100000100010001fc002003 \
             00fb0008fcfefffffffb001cfbf401fb800c0a0106617661746172fdefcdab896745230103046e616d650302 \
             0577617665730101000200",
        ),
        Some(ServerMessage::Joined(_)) => golden(
            "ServerMessage::View",
            ServerMessage::View(view()),
            "03fc701101000102fb2c0107fd050000000003000000fb00190001040000010101fbcf070202000000000000 \
             f83f0303047a6fc3ab0102fb2c0107010303000102fb2c010704776176650101020202fb2c01070002fb2c01 \
             0701",
        ),
        Some(ServerMessage::View(_)) => golden(
            "ServerMessage::Owner",
            ServerMessage::Owner(OwnerUpdate {
                tick: Tick(70_000),
                properties: vec![(PropertyIndex(1), Value::Int(3))],
            }),
            "04fc7011010001010106",
        ),
        Some(ServerMessage::Owner(_)) => golden(
            "ServerMessage::CommandResult",
            ServerMessage::CommandResult(CommandResult {
                seq: CommandSeq(251),
                refused: Some("too loud".into()),
            }),
            "05fbfb000108746f6f206c6f7564",
        ),
        Some(ServerMessage::CommandResult(_)) => golden(
            "ServerMessage::Listed",
            ServerMessage::Listed(Listed {
                tick: Tick(70_000),
                complete: true,
            }),
            "06fc7011010001",
        ),
        Some(ServerMessage::Listed(_)) => golden(
            "ServerMessage::Identity",
            ServerMessage::Identity(Identity {
                tick: Tick(70_000),
                records: vec![IdentityRecord {
                    subject: subject(),
                    entity: entity(),
                    kind: KindId(0),
                    version: 251,
                    properties: vec![(PropertyIndex(0), Value::Text("zoë".into()))],
                }],
            }),
            "07fc701101000102fb2c0107fd050000000003000000fb010003047a6fc3ab",
        ),
        Some(ServerMessage::Identity(_)) => None,
    }
}

fn view() -> ViewUpdate {
    ViewUpdate {
        tick: Tick(70_000),
        enters: vec![Enter {
            subject: subject(),
            entity: entity(),
            kind: KindId(0),
            position: WirePos { x: 3200, y: 0, z: -1 },
            properties: properties(),
        }],
        changes: vec![Change {
            subject: subject(),
            properties: vec![(PropertyIndex(3), Value::Text(String::new()))],
        }],
        events: vec![Event {
            subject: subject(),
            name: "wave".into(),
            arguments: vec![Value::Int(1)],
        }],
        leaves: chain(next_leave_reason)
            .into_iter()
            .map(|sample| Leave {
                subject: subject(),
                reason: sample.message,
            })
            .collect(),
    }
}

fn next_leave_reason(previous: Option<&LeaveReason>) -> Option<Golden<LeaveReason>> {
    match previous {
        None => golden("LeaveReason::OutOfView", LeaveReason::OutOfView, "00"),
        Some(LeaveReason::OutOfView) => golden("LeaveReason::Despawned", LeaveReason::Despawned, "01"),
        Some(LeaveReason::Despawned) => None,
    }
}

fn next_form(previous: Option<&Form>) -> Option<Golden<Form>> {
    match previous {
        None => golden("Form::Delta", Form::Delta, "00"),
        Some(Form::Delta) => golden("Form::Keyframe", Form::Keyframe, "01"),
        Some(Form::Keyframe) => golden("Form::Drop", Form::Drop, "02"),
        Some(Form::Drop) => golden("Form::Events", Form::Events, "03"),
        Some(Form::Events) => None,
    }
}

fn happening() -> Golden<Happening> {
    Golden {
        name: "Happening",
        message: Happening {
            slot: Slot(300),
            generation: Generation(7),
            name: "wave".into(),
            arguments: vec![Value::Int(1)],
        },
        hex: "fb2c01070477617665010102",
    }
}

/// What a test does with all samples of one type.
pub(crate) trait Visit {
    fn visit<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(&mut self, samples: Vec<Golden<M>>);
}

/// Shows every sample there is.
pub(crate) fn visit_all(visitor: &mut impl Visit) {
    visitor.visit(chain(next_value));
    visitor.visit(chain(next_value_type));
    visitor.visit(chain(next_audience));
    visitor.visit(chain(next_leave_reason));
    visitor.visit(chain(next_client_message));
    visitor.visit(chain(next_server_message));
    visitor.visit(chain(next_envelope));
    visitor.visit(vec![report()]);
    visitor.visit(chain(next_to_gateway));
    visitor.visit(chain(next_form));
    visitor.visit(vec![happening()]);
    visitor.visit(chain(next_route_state));
    visitor.visit(vec![truth_tick()]);
    visitor.visit(chain(next_refusal));
    visitor.visit(chain(next_parcel));
    visitor.visit(vec![lane_message()]);
    visitor.visit(chain(directory::next_duty));
    visitor.visit(chain(directory::next_change));
    visitor.visit(chain(directory::next_request));
    visitor.visit(chain(directory::next_reply));
}

struct Compare {
    wrong: Vec<String>,
}

impl Visit for Compare {
    fn visit<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(&mut self, samples: Vec<Golden<M>>) {
        for Golden {
            name,
            message,
            hex: expected,
        } in samples
        {
            let bytes = codec::encode(&message);
            if bytes != unhex(expected) {
                self.wrong.push(format!("{name}: {}", hex(&bytes)));
            }
            let read = codec::decode::<M>(&unhex(expected), NODE_MESSAGE_BYTES_MAX);
            if read.as_ref() != Ok(&message) {
                self.wrong.push(format!("{name} reads as {read:?}"));
            }
        }
    }
}

#[test]
fn every_message_has_its_golden_bytes_and_reads_back() {
    let mut compare = Compare { wrong: Vec::new() };
    visit_all(&mut compare);
    assert!(compare.wrong.is_empty(), "{}", compare.wrong.join("\n"));
}

#[test]
fn every_close_reason_has_its_golden_byte() {
    for (i, reason) in CloseReason::ALL.iter().enumerate() {
        assert_eq!(codec::encode(reason), [i as u8], "{reason:?}");
        assert_eq!(reason.code() as usize, i, "{reason:?}");
        assert_eq!(CloseReason::from_code(reason.code()), Some(*reason));
    }
    assert_eq!(CloseReason::from_code(CloseReason::ALL.len() as u32), None);
}
