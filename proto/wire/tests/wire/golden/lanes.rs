//! What lanes say to each other.

use super::{Golden, chain, entity, entity_name, golden, values};
use myriad_wire::fabric::{Detach, SessionCommand};
use myriad_wire::lane::{
    AreaCall, AvatarPlace, AvatarTransfer, EntityCall, LaneMessage, Parcel, Refusal, SessionTransfer,
    ToldCell, Transfer,
};
use myriad_wire::payload::Step;
use myriad_wire::{
    CommandSeq, GatewayId, Hop, Incarnation, IntentSeq, LaneEpoch, LaneId, Pos, SessionEpoch, SessionId,
    Tick, Value,
};

pub(super) fn next_refusal(previous: Option<&Refusal>) -> Option<Golden<Refusal>> {
    match previous {
        None => golden("Refusal::Full", Refusal::Full, "00"),
        Some(Refusal::Full) => golden("Refusal::Draining", Refusal::Draining, "01"),
        Some(Refusal::Draining) => None,
    }
}

fn session() -> SessionId {
    SessionId::new(Incarnation(4), 1)
}

fn session_transfer() -> SessionTransfer {
    SessionTransfer {
        session: session(),
        gateway: GatewayId(4),
        applied: IntentSeq(41),
        corrections: 0,
        balance: 5_120_000_000,
        answered: CommandSeq(1),
        intents: vec![(IntentSeq(42), Step { dx: 716, dz: -1 })],
        commands: vec![SessionCommand {
            session: session(),
            epoch: SessionEpoch(2),
            seq: CommandSeq(2),
            name: "wave".into(),
            arguments: vec![Value::Bool(false)],
        }],
    }
}

fn transfer() -> Transfer {
    Transfer {
        tick: Tick(70_000),
        name: entity_name(),
        issuer: LaneId(2),
        era: LaneEpoch(9),
        hop: Hop(1),
        entity: entity(),
        kind: "avatar".into(),
        position: Pos { x: 1, y: -2, z: 3 },
        arrived: true,
        attributes: ["@layers", "gold", "size", "name"]
            .map(String::from)
            .into_iter()
            .zip(values())
            .collect(),
        version: 251,
        told: Some(ToldCell {
            cell: [-3, 0, 400],
            tick: Tick(70_000),
        }),
        avatar: Some(Box::new(AvatarTransfer {
            account: "zoë".into(),
            epoch: SessionEpoch(2),
            session: Some(session_transfer()),
            detached: None,
            replaced: vec![SessionId::new(Incarnation(4), 2)],
            detached_since: Tick(60_000),
            left: false,
            saved_position: Some(Pos { x: 0, y: 0, z: 0 }),
            properties_changed: true,
        })),
    }
}

fn place() -> AvatarPlace {
    AvatarPlace {
        account: "zoë".into(),
        entity: entity(),
        era: LaneEpoch(9),
        hop: Hop(1),
        at: LaneId(3),
        from: LaneId(2),
        layout: 300,
    }
}

pub(super) fn next_parcel(previous: Option<&Parcel>) -> Option<Golden<Parcel>> {
    match previous {
        None => golden("Parcel::Offer", Parcel::Offer(entity()), "00fd0500000000030000"),
        Some(Parcel::Offer(_)) => golden("Parcel::Accept", Parcel::Accept(entity()), "01fd0500000000030000"),
        Some(Parcel::Accept(_)) => golden(
            "Parcel::Refuse",
            Parcel::Refuse(entity(), Refusal::Draining),
            "02fd050000000003000001",
        ),
        Some(Parcel::Refuse(..)) => golden(
            "Parcel::Withdraw",
            Parcel::Withdraw(entity()),
            "03fd0500000000030000",
        ),
        Some(Parcel::Withdraw(_)) => golden(
            "Parcel::Commit",
            Parcel::Commit(Box::new(transfer())),
            "04fc7011010009fb2c0107020901fd050000000003000006617661746172020306010407406c6179 \
             657273000104676f6c6401fbcf070473697a6502000000000000f83f046e616d6503047a6fc3abfb \
             010500fb2003fc7011010001047a6fc3ab0201fd0100000000040000042900fd00005a6202000000 \
             01012afb98050101fd0100000000040000020204776176650100000001fd0200000000040000fb60 \
             ea000100000001",
        ),
        Some(Parcel::Commit(_)) => golden("Parcel::Freed", Parcel::Freed(entity_name()), "0509fb2c0107"),
        Some(Parcel::Freed(_)) => golden(
            "Parcel::AvatarHere",
            Parcel::AvatarHere(place()),
            "06047a6fc3abfd050000000003000009010302fb2c01",
        ),
        Some(Parcel::AvatarHere(_)) => golden(
            "Parcel::AvatarGone",
            Parcel::AvatarGone(place()),
            "07047a6fc3abfd050000000003000009010302fb2c01",
        ),
        Some(Parcel::AvatarGone(_)) => golden(
            "Parcel::AvatarKnown",
            Parcel::AvatarKnown(place()),
            "08047a6fc3abfd050000000003000009010302fb2c01",
        ),
        Some(Parcel::AvatarKnown(_)) => golden(
            "Parcel::Detach",
            Parcel::Detach(Detach {
                session: session(),
                left: true,
            }),
            "09fd010000000004000001",
        ),
        Some(Parcel::Detach(_)) => golden(
            "Parcel::Call",
            Parcel::Call(Box::new(EntityCall {
                entity: entity(),
                entity_name: entity_name(),
                name: "hit".into(),
                arguments: vec![Value::Int(3)],
                sent_on: 1,
            })),
            "0afd050000000003000009fb2c01070368697401010601",
        ),
        Some(Parcel::Call(_)) => golden(
            "Parcel::CallArea",
            Parcel::CallArea(Box::new(AreaCall {
                tick: Tick(70_000),
                center: [1024, -2048],
                radius: 5120,
                name: "hit".into(),
                arguments: vec![Value::Int(3)],
            })),
            "0bfc70110100fb0008fbff0ffb001403686974010106",
        ),
        Some(Parcel::CallArea(_)) => golden("Parcel::Adopted", Parcel::Adopted(300), "0cfb2c01"),
        Some(Parcel::Adopted(_)) => None,
    }
}

pub(super) fn lane_message() -> Golden<LaneMessage> {
    let message = LaneMessage {
        epoch: LaneEpoch(9),
        to_epoch: LaneEpoch(12),
        taken: 300,
        asks: true,
        load: 5000,
        first: 7,
        parcels: chain(next_parcel)
            .into_iter()
            .take(2)
            .map(|sample| sample.message)
            .collect(),
    };
    Golden {
        name: "LaneMessage",
        message,
        hex: "090cfb2c0101fb8813070200fd050000000003000001fd0500000000030000",
    }
}
