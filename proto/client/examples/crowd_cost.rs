//! What a client in a crowd of 10,000 costs: `cargo run --release -p myriad-client --example crowd_cost`. A word behind
//! that is part of a run's name, such as `many`, chooses runs.

use bytes::Bytes;
use myriad_client::{
    Advanced, Client, ClientConfig, ClientEvent, CrowdEdges, OwnTracks, TrackState, TrackStore,
};
use myriad_wire::client::{Joined, LoggedIn, Rules, ServerMessage, Welcome};
use myriad_wire::codec::{self, CodecError};
use myriad_wire::crowd::message::{CrowdHead, Form, Record, finish};
use myriad_wire::crowd::{Join, Name, Track, TrackId};
use myriad_wire::limits::VERSION_MAX;
use myriad_wire::payload::{OwnRecord, PayloadHeader, put_chunk, put_group};
use myriad_wire::track::{Level, Told, encode_chunks};
use myriad_wire::{
    EntityId, Generation, IntentSeq, KindId, LaneHandle, Pos, SessionId, Slot, SpaceClock, SpaceId,
    SubjectRef, Tick, WirePos,
};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

const TRACKS: u16 = 50;
const MEMBERS: u32 = 200;
const PERIOD: u64 = 5;
/// Clients whose copies of the tracks stay in the caches for the most part, that share them, and that have far more
/// copies than any cache holds.
const CLIENTS_FEW: usize = 2;
const CLIENTS_SHARED: usize = 100;
const CLIENTS_MANY: usize = 1000;
const NEAR: u32 = 120;

/// Clients that hold the same state and read the same bytes share what comes of it.
#[derive(Default)]
struct Shared {
    begun: HashMap<Vec<u8>, Arc<TrackState>>,
    advanced: HashMap<(usize, Vec<u8>), Advanced>,
}

impl TrackStore for Shared {
    fn begin(&mut self, tick: Tick, keyframe: &[u8]) -> Result<Arc<TrackState>, CodecError> {
        if let Some(known) = self.begun.get(keyframe) {
            return Ok(Arc::clone(known));
        }
        let state = OwnTracks.begin(tick, keyframe)?;
        self.begun.insert(keyframe.to_vec(), Arc::clone(&state));
        Ok(state)
    }

    fn advance(
        &mut self,
        previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
    ) -> Result<Advanced, CodecError> {
        let key = (Arc::as_ptr(&previous) as usize, delta.to_vec());
        if let Some(known) = self.advanced.get(&key) {
            return Ok(known.clone());
        }
        // The old one stays, so that no other gets its address while it is a key.
        self.begun
            .insert(key.0.to_le_bytes().to_vec(), Arc::clone(&previous));
        let advanced = OwnTracks.advance(previous, tick, delta)?;
        self.advanced.insert(key, advanced.clone());
        Ok(advanced)
    }
}

/// Nanoseconds of CPU of this thread so far, as Linux counts them; of any clock elsewhere.
fn cpu_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let of_thread = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let of_thread = of_thread.and_then(|text| text.split(' ').next()?.parse().ok());
    of_thread.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}

/// Resident memory of this process in bytes, as Linux counts it; 0 elsewhere.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Everybody walks straight on, and turns now and then: about 9 bits are told of each.
struct Walkers {
    /// On the ground, in 1/64 cells, and by how much they go on in a tick.
    ways: Vec<[[i32; 2]; 2]>,
    random: u64,
}

impl Walkers {
    fn new() -> Self {
        let place = |slot: u32| [slot as i32 % 100 * 4 - 200, slot as i32 / 100 * 4 - 200];
        let all = 0..u32::from(TRACKS) * MEMBERS;
        Self {
            ways: all.map(|slot| [place(slot).map(|at| at * 64), [0; 2]]).collect(),
            random: 1,
        }
    }

    fn step(&mut self) {
        for [at, by] in &mut self.ways {
            let mut draw = |below: u64| {
                // Knuth's.
                self.random = self
                    .random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                ((self.random >> 33) % below) as i32
            };
            if draw(20) == 0 {
                // Up to some 5 m/s a way.
                *by = [draw(257) - 128, draw(257) - 128];
            }
            *at = [at[0] + by[0], at[1] + by[1]];
        }
    }

    fn cell(&self, slot: u32) -> [i32; 3] {
        let [[x, z], _] = self.ways[slot as usize];
        [x >> 6, 0, z >> 6]
    }
}

fn config() -> ClientConfig {
    ClientConfig {
        account: "cost".to_owned(),
        key: String::new(),
        space: SpaceId(1),
        agent: "cost".to_owned(),
        identities_per_s: 40,
        crowd_edges: CrowdEdges::OneByOne,
    }
}

fn client() -> Client {
    let mut client = Client::new(config());
    let corner = |at| Pos { x: at, y: at, z: at };
    let joined = Joined {
        space: SpaceId(1),
        clock: SpaceClock::new(0, 10.0),
        avatar: SubjectRef::default(),
        entity: EntityId(1),
        position: Pos::default(),
        intent_seq: IntentSeq(0),
        rules: Rules {
            bounds_min: corner(-500_000),
            bounds_max: corner(500_000),
            speed_max: 5 * 1024,
            burst_ms: 500,
            radius_aoi: 5_000,
            crowd_period: PERIOD as u32,
        },
        kinds: Vec::new(),
    };
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
        let mut bytes = Vec::new();
        codec::frame_into(&message, &mut bytes);
        client.handle_stream(&bytes, 0);
    }
    assert_eq!(client.poll_event(), Some(ClientEvent::Joined));
    client
}

fn message(head: &CrowdHead, form: Form, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    for (track, record) in records {
        let record = Record {
            lane: LaneHandle(0),
            track: TrackId(*track),
            form,
            bytes: record,
        };
        record.encode(&mut bytes);
    }
    finish(0, &mut bytes);
    bytes
}

fn near(tick: u64) -> Bytes {
    let told: Vec<Told> = (5_000..5_000 + NEAR)
        .map(|slot| {
            let (row, column) = ((slot / 100) as i32, (slot % 100) as i32);
            let position = WirePos {
                x: (column * 4 - 200 + tick as i32) << 4,
                y: 0,
                z: (row * 4 - 200) << 4,
            };
            Told {
                slot: Slot(slot),
                position,
                version: 0,
                changed: false,
            }
        })
        .collect();
    let header = PayloadHeader {
        tick: Tick(tick),
        parts: 1,
        own: OwnRecord::default(),
        ..PayloadHeader::default()
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    encode_chunks(Level::NEAR, Tick(tick), &told, |chunk| {
        put_group(LaneHandle(0), 1, &mut bytes);
        put_chunk(chunk, &mut bytes);
    });
    bytes.into()
}

/// All records of `ticks` ticks: keyframes, then deltas.
fn script(ticks: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut tracks: Vec<Track> = Vec::new();
    let slots = |track: u16| (0..MEMBERS).map(move |i| i * u32::from(TRACKS) + u32::from(track));
    let mut keyframes = Vec::new();
    let mut walkers = Walkers::new();
    for track in 0..TRACKS {
        let mut state = Track::new([0; 3], Generation(0), KindId(0));
        let joins: Vec<Join> = slots(track)
            .map(|slot| Join {
                name: Name {
                    slot: Slot(slot),
                    generation: Generation(0),
                    kind: KindId(0),
                },
                cell: walkers.cell(slot),
                before: None,
            })
            .collect();
        state.tell(Tick(0), &[], &joins, None, &mut Vec::new());
        let mut keyframe = Vec::new();
        state.keyframe(Tick(0), &mut keyframe);
        keyframes.push((track, keyframe));
        tracks.push(state);
    }
    let head = CrowdHead {
        tick: Tick(0),
        begins: true,
        complete: true,
    };
    let first = message(&head, Form::Keyframe, &keyframes);
    let deltas = (1..=ticks).map(|tick| {
        walkers.step();
        let mut records = Vec::new();
        for track in 0..TRACKS {
            if (tick + u64::from(track)).is_multiple_of(PERIOD) {
                let cells: Vec<_> = slots(track).map(|slot| walkers.cell(slot)).collect();
                let mut record = Vec::new();
                tracks[usize::from(track)].tell(Tick(tick), &[], &[], Some(&cells), &mut record);
                records.push((track, record));
            }
        }
        let head = CrowdHead {
            tick: Tick(tick),
            ..CrowdHead::default()
        };
        message(&head, Form::Delta, &records)
    });
    (first, deltas.collect())
}

/// Clients that have been told all tracks.
fn begun(name: &str, clients: usize, first: &[u8], store: &mut dyn TrackStore) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..clients).map(|_| client()).collect();
    let (start, before) = (cpu_ns(), resident());
    let mut enters = 0u64;
    for client in &mut clients {
        client.handle_stream(first, 0);
        while client.poll_event_with(store).is_some() {
            enters += 1;
        }
    }
    println!(
        "{name}: {enters} enters, {:.1} ns each with decoding; {} KiB a client with {} members",
        ns_each(start, enters),
        resident().saturating_sub(before) / clients.len() / 1024,
        enters / clients.len() as u64,
    );
    clients
}

fn ns_each(start: u64, count: u64) -> f64 {
    (cpu_ns() - start) as f64 / count as f64
}

fn tell(name: &str, clients: &mut [Client], first: u64, deltas: &[Vec<u8>], store: &mut dyn TrackStore) {
    let states = |clients: &[Client]| -> u64 {
        let of = |client: &Client| client.counters().states.crowd;
        clients.iter().map(of).sum()
    };
    let before = states(clients);
    let start = cpu_ns();
    for (tick, delta) in (first..).zip(deltas) {
        for client in &mut *clients {
            client.handle_stream(delta, tick * 100_000);
            while client.poll_event_with(store).is_some() {}
        }
    }
    let states = states(clients) - before;
    let bytes: usize = deltas.iter().map(Vec::len).sum();
    println!(
        "{name}: {states} crowd states, {:.2} ns each; {:.1} bits each; {:.1} us a client and tick",
        ns_each(start, states),
        bytes as f64 * 8.0 * clients.len() as f64 / states as f64,
        ns_each(start, (clients.len() * deltas.len()) as u64) / 1000.0
    );
}

fn run(name: &str, clients: usize, store: &mut dyn TrackStore, ticks: u64) {
    let (first, deltas) = script(ticks);
    let mut clients = begun(name, clients, &first, store);
    // A keyframe tells less than a telling: who has just begun is not what a crowd costs.
    let (new, usual) = deltas.split_at(3 * PERIOD as usize);
    tell(&format!("{name}, begun"), &mut clients, 1, new, store);
    tell(name, &mut clients, 1 + new.len() as u64, usual, store);
    if clients.len() > CLIENTS_SHARED {
        return;
    }
    let start = cpu_ns();
    for tick in ticks + 1..ticks + 301 {
        let datagram = near(tick);
        for client in &mut clients {
            client.handle_datagram(datagram.clone(), tick * 100_000);
            drop(client.poll_stream());
        }
    }
    let near: u64 = clients
        .iter()
        .map(|client| client.counters().states.applied[0])
        .sum();
    println!("{name}: {near} near states, {:.1} ns each", ns_each(start, near));
    let start = cpu_ns();
    let seen: usize = clients[0]
        .view()
        .iter()
        .map(|subject| subject.position().x as usize & 1)
        .sum();
    let len = clients[0].view().len() as u64;
    println!(
        "{name}: {len} subjects looked at, {:.1} ns each ({seen})",
        ns_each(start, len)
    );
}

fn main() {
    let only = std::env::args().nth(1);
    let run = |name: &str, clients, store: &mut dyn TrackStore, ticks| {
        if only.as_ref().is_none_or(|only| name.contains(only)) {
            run(name, clients, store, ticks);
        }
    };
    run("own, few", CLIENTS_FEW, &mut OwnTracks, 1_015);
    run("own, many", CLIENTS_MANY, &mut OwnTracks, 65);
    run("shared", CLIENTS_SHARED, &mut Shared::default(), 65);
}
