//! A server's side of a session, by hand: messages and payloads as bytes.

use bytes::Bytes;
use myriad_client::{Client, ClientConfig, ClientEvent, CrowdEdges};
use myriad_wire::client::{Enter, Joined, LoggedIn, Rules, ServerMessage, ViewUpdate, Welcome};
use myriad_wire::codec;
use myriad_wire::limits::VERSION_MAX;
use myriad_wire::payload::{OwnRecord, PayloadHeader, put_chunk, put_group};
use myriad_wire::track::{Level, Told, encode_chunks};
use myriad_wire::{
    EntityId, Generation, IntentSeq, KindId, LaneHandle, Pos, PropertyIndex, SessionId, Slot, SpaceClock,
    SpaceId, SubjectRef, Tick, Value, WirePos,
};

pub(crate) const SPACE: SpaceId = SpaceId(1);
/// 10 Hz from time zero.
pub(crate) const PERIOD_US: u64 = 100_000;
/// Ticks between two tellings of a track.
pub(crate) const CROWD_PERIOD: u32 = 5;
pub(crate) const AVATAR: SubjectRef = subject(0, 0);

pub(crate) const fn subject(slot: u32, generation: u16) -> SubjectRef {
    SubjectRef {
        lane: LaneHandle(0),
        slot: Slot(slot),
        generation: Generation(generation),
    }
}

pub(crate) fn config() -> ClientConfig {
    ClientConfig {
        account: "ada".to_owned(),
        key: "sesame".to_owned(),
        space: SPACE,
        agent: "test".to_owned(),
        identities_per_s: 40,
        crowd_edges: CrowdEdges::OneByOne,
    }
}

pub(crate) fn joined() -> Joined {
    let corner = |at| Pos { x: at, y: at, z: at };
    Joined {
        space: SPACE,
        clock: SpaceClock::new(0, 10.0),
        avatar: AVATAR,
        entity: EntityId(1),
        position: Pos { x: 100, y: 7, z: 100 },
        intent_seq: IntentSeq(0),
        rules: Rules {
            bounds_min: corner(-50_000),
            bounds_max: corner(50_000),
            speed_max: 5 * 1024,
            burst_ms: 500,
            radius_aoi: 3_200,
            crowd_period: CROWD_PERIOD,
        },
        kinds: Vec::new(),
    }
}

pub(crate) fn framed(message: &ServerMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::frame_into(message, &mut bytes);
    bytes
}

/// A client that has just joined, with the join told and nothing else.
pub(crate) fn present(joined: Joined, now_us: u64) -> Client {
    present_as(config(), joined, now_us)
}

/// The same, of one who is not to be told the edges of a crowd.
pub(crate) fn quiet() -> Client {
    let config = ClientConfig {
        crowd_edges: CrowdEdges::Untold,
        ..config()
    };
    present_as(config, joined(), 0)
}

fn present_as(config: ClientConfig, joined: Joined, now_us: u64) -> Client {
    let mut client = Client::new(config);
    for message in [
        ServerMessage::Welcome(Welcome {
            version: VERSION_MAX,
            features: 0,
        }),
        ServerMessage::LoggedIn(LoggedIn {
            session: SessionId(1),
        }),
        ServerMessage::Joined(Box::new(joined)),
    ] {
        client.handle_stream(&framed(&message), now_us);
    }
    assert_eq!(client.poll_event(), Some(ClientEvent::Joined));
    assert_eq!(client.poll_event(), None);
    client
}

/// Of whom a chunk tells.
pub(crate) fn told(slot: Slot, position: WirePos, version: u8) -> Told {
    Told {
        slot,
        position,
        version,
        changed: false,
    }
}

/// A datagram with the states of `members` (ascending by slot) that are due at `level`.
pub(crate) fn payload(header: &PayloadHeader, level: Level, members: &[(Slot, WirePos)]) -> Bytes {
    let mut chunks = Vec::new();
    let told: Vec<Told> = members
        .iter()
        .map(|(slot, position)| told(*slot, *position, 0))
        .collect();
    encode_chunks(level, header.tick, &told, |chunk| chunks.push(chunk.to_vec()));
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    if !chunks.is_empty() {
        put_group(LaneHandle(0), chunks.len(), &mut bytes);
        chunks.iter().for_each(|chunk| put_chunk(chunk, &mut bytes));
    }
    bytes.into()
}

/// The header of a payload of one part, with nothing to say of the avatar.
pub(crate) fn header(tick: u64, view_seq: u64) -> PayloadHeader {
    PayloadHeader {
        tick: Tick(tick),
        part: 0,
        parts: 1,
        view_seq,
        own: OwnRecord {
            position: joined().position,
            ..OwnRecord::default()
        },
    }
}

pub(crate) fn wire(x: i32) -> WirePos {
    WirePos { x, y: 0, z: -x }
}

/// A message arrives at time zero.
pub(crate) fn receive(client: &mut Client, message: &ServerMessage) {
    client.handle_stream(&framed(message), 0);
}

/// The header of a payload with this own record.
pub(crate) fn own(tick: u64, intent_seq: u32, position: Pos, corrections: u32) -> PayloadHeader {
    PayloadHeader {
        own: OwnRecord {
            intent_seq: IntentSeq(intent_seq),
            position,
            corrections,
        },
        ..header(tick, 0)
    }
}

/// A payload without states arrives when its tick is due.
pub(crate) fn datagram(client: &mut Client, header: &PayloadHeader) {
    let now_us = header.tick.0 * PERIOD_US;
    client.handle_datagram(payload(header, Level::NEAR, &[]), now_us);
}

/// A view into which `count` subjects come, from slot 0.
pub(crate) fn view_of(tick: u64, count: u32) -> ServerMessage {
    let enters = (0..count).map(|slot| Enter {
        subject: subject(slot, 0),
        entity: EntityId(u64::from(slot)),
        kind: KindId(0),
        position: wire(0),
        properties: vec![(PropertyIndex(0), Value::Text("somebody".to_owned()))],
    });
    ServerMessage::View(ViewUpdate {
        tick: Tick(tick),
        enters: enters.collect(),
        ..ViewUpdate::default()
    })
}

/// All events there are.
pub(crate) fn drain(client: &mut Client) -> Vec<ClientEvent> {
    std::iter::from_fn(|| client.poll_event()).collect()
}
