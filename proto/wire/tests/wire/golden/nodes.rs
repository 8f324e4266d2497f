//! What nodes say to each other, and what a lane says to whoever checks it.

use super::{Golden, chain, clock, entity, entity_name, golden, kinds, next_form, properties, rules};
use myriad_wire::client::CommandResult;
use myriad_wire::crowd::TrackId;
use myriad_wire::fabric::{
    Attach, AttachedRoute, Avatar, ChangeRecord, CrowdRecord, Detach, Envelope, EventRecord, Frame, Issuer,
    JoinRecord, Keyframe, LayersRecord, LeaveRecord, Report, RoleId, Route, RouteState, Routes,
    SessionCommand, SessionIntents, ToGateway, TrackRecord,
};
use myriad_wire::link::LinkHeader;
use myriad_wire::payload::{OwnRecord, Step};
use myriad_wire::truth::{TruthEntity, TruthTick};
use myriad_wire::{
    CallerId, CloseReason, CommandSeq, GatewayId, Generation, Hop, Incarnation, IntentSeq, KindId, LaneEpoch,
    LaneId, Pos, PropertyIndex, SessionEpoch, SessionId, Slot, SpaceId, Tick, Value, WirePos,
};

pub(super) fn next_envelope(previous: Option<&Envelope>) -> Option<Golden<Envelope>> {
    let link = |broken| LinkHeader {
        stream: 3 << 32,
        seq: 65_536,
        broken,
    };
    let (lane, gateway) = (RoleId::Lane(LaneId(1)), RoleId::Gateway(GatewayId(9)));
    let caller = RoleId::Caller(CallerId::new(Incarnation(4), 2));
    match previous.map(|envelope| envelope.to) {
        None => golden(
            "Envelope to RoleId::Lane",
            Envelope {
                to: lane,
                from: gateway,
                link: link(None),
            },
            "00010109fd0000000003000000fc0000010000",
        ),
        Some(RoleId::Lane(_)) => golden(
            "Envelope to RoleId::Gateway",
            Envelope {
                to: gateway,
                from: lane,
                link: link(Some(7)),
            },
            "01090001fd0000000003000000fc000001000107",
        ),
        Some(RoleId::Gateway(_)) => golden(
            "Envelope to RoleId::Directory",
            Envelope {
                to: RoleId::Directory,
                from: caller,
                link: link(None),
            },
            "0204fd0200000000040000fd0000000003000000fc0000010000",
        ),
        Some(RoleId::Directory) => golden(
            "Envelope to RoleId::Store",
            Envelope {
                to: RoleId::Store,
                from: caller,
                link: link(None),
            },
            "0304fd0200000000040000fd0000000003000000fc0000010000",
        ),
        Some(RoleId::Store) => golden(
            "Envelope to RoleId::Caller",
            Envelope {
                to: caller,
                from: RoleId::Store,
                link: link(None),
            },
            "04fd020000000004000003fd0000000003000000fc0000010000",
        ),
        Some(RoleId::Caller(_)) => None,
    }
}

pub(super) fn report() -> Golden<Report> {
    let session = SessionId::new(Incarnation(4), 1);
    let message = Report {
        full: true,
        epoch: LaneEpoch(12),
        attach: vec![Attach {
            session,
            account: "zoë".into(),
        }],
        detach: vec![Detach { session, left: true }],
        intents: vec![SessionIntents {
            session,
            epoch: SessionEpoch(2),
            newest: IntentSeq(41),
            steps: vec![
                Step { dx: 716, dz: -1 },
                Step {
                    dx: i32::MIN,
                    dz: i32::MAX,
                },
            ],
        }],
        commands: vec![SessionCommand {
            session,
            epoch: SessionEpoch(2),
            seq: CommandSeq(1),
            name: "wave".into(),
            arguments: vec![Value::Bool(false)],
        }],
    };
    Golden {
        name: "Report",
        message,
        hex: "010c01fd0100000000040000047a6fc3ab01fd01000000000400000101fd0100000000040000022902fb9805 \
             01fcfffffffffcfeffffff01fd010000000004000002010477617665010000",
    }
}

pub(super) fn next_to_gateway(previous: Option<&ToGateway>) -> Option<Golden<ToGateway>> {
    match previous {
        None => golden(
            "ToGateway::Routes",
            ToGateway::Routes(routes()),
            "000cfc701101000003fd0100000000040000000109fb2c010701fd05000000000300000200fb800c \
             012902030600010101060101000102fd0100000000040000010cfd01000000000400000203",
        ),
        Some(ToGateway::Routes(_)) => golden(
            "ToGateway::Frame",
            ToGateway::Frame(Box::new(frame())),
            "01010cfc7011010002020c090101fd00401e18240a060000fb1027010001fc00200300fb0008fcfe \
             fffffffb001cfbf401fb800c0a0106617661746172fdefcdab896745230103046e616d6503020577 \
             6176657301010002000101fb2c010701fd050000000003000000fcfffffffffb0019000104000001 \
             0101fbcf070202000000000000f83f0303047a6fc3abfb0101fb2c01010000000101fb2c01030101 \
             fb2c010477617665000101fb2c010701010201010101fb00190001fb001900010103010203000201 \
             0400000401fbf40101000201fb01fbf40101010201fb01fbf40101020201fb01fbf40101030201fb",
        ),
        Some(ToGateway::Frame(_)) => None,
    }
}

fn routes() -> Routes {
    let session = SessionId::new(Incarnation(4), 1);
    Routes {
        epoch: LaneEpoch(12),
        tick: Tick(70_000),
        full: false,
        sessions: chain(next_route_state)
            .into_iter()
            .map(|sample| Route {
                session,
                state: sample.message,
            })
            .collect(),
    }
}

pub(super) fn next_route_state(previous: Option<&RouteState>) -> Option<Golden<RouteState>> {
    match previous {
        None => golden(
            "RouteState::Attached",
            RouteState::Attached(Box::new(AttachedRoute {
                avatar: Some(Avatar {
                    name: entity_name(),
                    hop: Hop(1),
                    entity: entity(),
                    epoch: SessionEpoch(2),
                    command_seq: CommandSeq(0),
                    radius_aoi: 3200,
                    sees: 1,
                }),
                own: OwnRecord {
                    intent_seq: IntentSeq(41),
                    position: Pos { x: 1, y: -2, z: 3 },
                    corrections: 0,
                },
                properties: vec![(PropertyIndex(1), Value::Int(3))],
                results: vec![CommandResult {
                    seq: CommandSeq(1),
                    refused: None,
                }],
                moves_to: Some(LaneId(2)),
            })),
            "000109fb2c010701fd05000000000300000200fb800c012902030600010101060101000102",
        ),
        Some(RouteState::Attached(_)) => golden(
            "RouteState::Ended",
            RouteState::Ended(CloseReason::Removed),
            "010c",
        ),
        Some(RouteState::Ended(_)) => {
            golden("RouteState::Elsewhere", RouteState::Elsewhere(LaneId(3)), "0203")
        }
        Some(RouteState::Elsewhere(_)) => None,
    }
}

fn frame() -> Frame {
    let (slot, generation) = (Slot(300), Generation(7));
    let issuer = Issuer(1);
    let position = WirePos { x: 3200, y: 0, z: -1 };
    Frame {
        lane: LaneId(1),
        epoch: LaneEpoch(12),
        tick: Tick(70_000),
        skipped_ticks: 2,
        issuers: vec![LaneEpoch(12), LaneEpoch(9)],
        keyframe: Some(Keyframe {
            space: SpaceId(1),
            clock: clock(),
            rules: rules(),
            kinds: kinds(),
        }),
        joins: vec![JoinRecord {
            issuer,
            slot,
            generation,
            hop: Hop(1),
            entity: entity(),
            kind: KindId(0),
            layers: u32::MAX,
            position,
            properties: properties(),
            version: 251,
        }],
        changes: vec![ChangeRecord {
            issuer,
            slot,
            properties: vec![(PropertyIndex(0), Value::Bool(false))],
        }],
        layers: vec![LayersRecord {
            issuer,
            slot,
            layers: 3,
        }],
        events: vec![EventRecord {
            issuer,
            slot,
            name: "wave".into(),
            arguments: vec![],
        }],
        leaves: vec![LeaveRecord {
            issuer,
            slot,
            generation,
            hop: Hop(1),
            to: Some(LaneId(2)),
        }],
        tracks: vec![TrackRecord {
            issuer,
            layers: 1,
            members: 1,
            low: position,
            high: position,
            levels: [vec![vec![1, 2, 3]], vec![], vec![vec![4], vec![]], vec![]],
        }],
        crowd: chain(next_form)
            .into_iter()
            .map(|sample| CrowdRecord {
                issuer,
                track: TrackId(500),
                layers: 1,
                form: sample.message,
                bytes: vec![1, 251],
            })
            .collect(),
    }
}

pub(super) fn truth_tick() -> Golden<TruthTick> {
    let message = TruthTick {
        lane: LaneId(1),
        clock: clock(),
        tick: Tick(70_000),
        skipped_ticks: 0,
        entities: vec![TruthEntity {
            entity: entity(),
            name: entity_name(),
            layers: 1,
            position: Pos {
                x: i32::MIN,
                y: 0,
                z: i32::MAX,
            },
            intent_seq: IntentSeq(41),
        }],
        departing: vec![entity()],
        changes: vec![(entity(), vec![(PropertyIndex(1), Value::Int(-1))])],
        events: 1,
        is_over: false,
    };
    Golden {
        name: "TruthTick",
        message,
        hex: "01fd00401e18240a060000fb1027fc701101000001fd050000000003000009fb2c010701fcffffff \
             ff00fcfeffffff2901fd050000000003000001fd0500000000030000010101010100",
    }
}
