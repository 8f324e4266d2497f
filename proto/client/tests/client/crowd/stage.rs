//! A server of a few tracks, by hand: entities, who is in which track, what one client has been told.

use super::sharing::Sharing;
use crate::server::{AVATAR, PERIOD_US, framed, joined, own, present, subject, told};
use bytes::Bytes;
use myriad_client::{Client, ClientEvent};
use myriad_wire::client::{Enter, Listed, ServerMessage, ViewUpdate};
use myriad_wire::codec;
use myriad_wire::crowd::message::{CrowdHead, Form, Happening, Record, finish};
use myriad_wire::crowd::{Join, Name, Track, TrackId, cell_of, middle_of};
use myriad_wire::payload::{PayloadHeader, put_chunk, put_group};
use myriad_wire::track::{Level, encode_chunks};
use myriad_wire::{EntityId, Generation, KindId, LaneHandle, Pos, Slot, SubjectRef, Tick, Value};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const LANE: LaneHandle = LaneHandle(0);

/// An entity, and the track that it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Being {
    pub(crate) generation: u16,
    pub(crate) at: Pos,
    pub(crate) track: u16,
}

/// The server and its client. Slot 0 is the client's avatar.
pub(crate) struct Stage {
    pub(crate) client: Client,
    /// Are told the same, and decode in `store`.
    pub(crate) company: Vec<Client>,
    pub(crate) store: Sharing,
    pub(crate) tick: u64,
    pub(crate) beings: BTreeMap<u32, Being>,
    tracks: BTreeMap<u16, Track>,
    /// Which the client is to know, and which it knows.
    pub(crate) wanted: BTreeSet<u16>,
    pub(crate) known: BTreeSet<u16>,
    pub(crate) in_crowd: bool,
    pub(crate) begins: bool,
    pub(crate) complete: bool,
    pub(crate) views: u64,
    pub(crate) happenings: Vec<(u16, Happening)>,
    /// Keyframes in one message.
    pub(crate) keyframes_max: usize,
    /// Tracks of which the last message held a delta or a keyframe.
    pub(crate) touched: BTreeSet<u16>,
}

pub(crate) fn pos(metres: [f64; 2]) -> Pos {
    Pos {
        x: (metres[0] * 1024.0) as i32,
        y: 100,
        z: (metres[1] * 1024.0) as i32,
    }
}

pub(crate) fn entity(subject: SubjectRef) -> EntityId {
    if subject == AVATAR {
        return joined().entity;
    }
    EntityId(u64::from(subject.slot.0) * 1_000 + u64::from(subject.generation.0) + 1_000_000)
}

impl Being {
    pub(crate) fn subject(&self, slot: u32) -> SubjectRef {
        subject(slot, self.generation)
    }

    /// Where readers of its track have it.
    pub(crate) fn decoded(&self) -> Pos {
        middle_of(cell_of(self.at))
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let avatar = Being {
            generation: 0,
            at: joined().position,
            track: 0,
        };
        Self {
            client: present(joined(), 0),
            company: (0..2).map(|_| present(joined(), 0)).collect(),
            store: Sharing::default(),
            tick: 100,
            beings: BTreeMap::from([(0, avatar)]),
            tracks: BTreeMap::new(),
            wanted: BTreeSet::new(),
            known: BTreeSet::new(),
            in_crowd: false,
            begins: false,
            complete: false,
            views: 0,
            happenings: Vec::new(),
            keyframes_max: usize::MAX,
            touched: BTreeSet::new(),
        }
    }

    /// A stage in whose crowd the client is from the next tick on, with so many tracks.
    pub(crate) fn crowded(beings: &[(u32, u16, [f64; 2])], tracks: u16) -> Self {
        let mut stage = Self::new();
        for (slot, track, at) in beings {
            stage.put(*slot, 0, *track, pos(*at));
        }
        stage.wanted = (0..tracks).collect();
        stage.begin();
        stage
    }

    pub(crate) fn put(&mut self, slot: u32, generation: u16, track: u16, at: Pos) {
        let being = Being {
            generation,
            at,
            track,
        };
        self.beings.insert(slot, being);
    }

    pub(crate) fn begin(&mut self) {
        (self.in_crowd, self.begins, self.complete) = (true, true, false);
        self.known.clear();
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.tick * PERIOD_US
    }

    /// The next tick: the own record, then the tick's crowd message if there is one. Every track is told every
    /// `period` ticks. Returns what the client tells.
    pub(crate) fn tick(&mut self, period: u64) -> Vec<ClientEvent> {
        self.tick += 1;
        let records = self.tell_tracks(period);
        let avatar = self.beings[&0].at;
        let header = PayloadHeader {
            view_seq: self.views,
            ..own(self.tick, 0, avatar, 0)
        };
        self.datagram(&header, &[]);
        if self.in_crowd {
            self.tell_crowd(&records);
        }
        self.drain()
    }

    /// All tracks go on, whoever is told of them.
    fn tell_tracks(&mut self, period: u64) -> BTreeMap<u16, Vec<u8>> {
        let mut records = BTreeMap::new();
        let used = self.beings.values().map(|being| being.track);
        let all: BTreeSet<u16> = used
            .chain(self.tracks.keys().copied())
            .chain(self.wanted.clone())
            .collect();
        let before: BTreeMap<(u32, u16), (u16, [i32; 3], u16)> = self.remembered();
        for id in all {
            let track = self
                .tracks
                .entry(id)
                .or_insert_with(|| Track::new([0; 3], Generation(0), KindId(3)));
            let is_member = |name: &Name| {
                let being = self.beings.get(&name.slot.0);
                being.is_some_and(|being| being.track == id && being.generation == name.generation.0)
            };
            let leaves: Vec<Slot> = track
                .names()
                .iter()
                .filter(|name| !is_member(name))
                .map(|name| name.slot)
                .collect();
            let joins: Vec<Join> = self
                .beings
                .iter()
                .filter(|(slot, being)| {
                    let place = track.place(Slot(**slot));
                    let is_there =
                        place.is_some_and(|place| track.names()[place].generation.0 == being.generation);
                    being.track == id && !is_there
                })
                .map(|(slot, being)| Join {
                    name: Name {
                        slot: Slot(*slot),
                        generation: Generation(being.generation),
                        kind: KindId(3),
                    },
                    cell: cell_of(being.at),
                    before: before
                        .get(&(*slot, being.generation))
                        .map(|(_, cell, ago)| (*cell, (*ago).max(1))),
                })
                .collect();
            let is_told = (self.tick + u64::from(id)).is_multiple_of(period);
            if leaves.is_empty() && joins.is_empty() && !is_told {
                continue;
            }
            let members = self.beings.values().filter(|being| being.track == id);
            let cells: Vec<_> = members.map(|being| cell_of(being.at)).collect();
            let mut record = Vec::new();
            track.tell(
                Tick(self.tick),
                &leaves,
                &joins,
                is_told.then_some(&cells),
                &mut record,
            );
            records.insert(id, record);
        }
        records
    }

    fn remembered(&self) -> BTreeMap<(u32, u16), (u16, [i32; 3], u16)> {
        let mut all = BTreeMap::new();
        for (id, track) in &self.tracks {
            for (place, name) in track.names().iter().enumerate() {
                let ago = track.age(place, 0, Tick(self.tick));
                all.insert((name.slot.0, name.generation.0), (*id, track.cell(place, 0), ago));
            }
        }
        all
    }

    fn tell_crowd(&mut self, records: &BTreeMap<u16, Vec<u8>>) {
        self.touched.clear();
        let mut told: Vec<(u16, Form, Vec<u8>)> = Vec::new();
        for id in self.known.clone() {
            if !self.wanted.contains(&id) {
                self.known.remove(&id);
                told.push((id, Form::Drop, Vec::new()));
            } else if let Some(record) = records.get(&id) {
                self.touched.insert(id);
                told.push((id, Form::Delta, record.clone()));
            }
        }
        let missing: Vec<u16> = self.wanted.difference(&self.known).copied().collect();
        for id in missing.into_iter().take(self.keyframes_max) {
            let mut keyframe = Vec::new();
            self.tracks[&id].keyframe(Tick(self.tick), &mut keyframe);
            self.known.insert(id);
            self.touched.insert(id);
            told.push((id, Form::Keyframe, keyframe));
        }
        for (id, happening) in std::mem::take(&mut self.happenings) {
            if self.known.contains(&id) {
                told.push((id, Form::Events, codec::encode(&vec![happening])));
            }
        }
        let complete = !self.complete && self.known == self.wanted;
        self.complete |= complete;
        let begins = std::mem::take(&mut self.begins);
        let head = CrowdHead {
            tick: Tick(self.tick),
            begins,
            complete,
        };
        if !told.is_empty() || begins || complete {
            let bytes = message(&head, &told);
            self.stream(&bytes);
        }
    }

    /// Near states of `slots`, and the own record.
    pub(crate) fn datagram(&mut self, header: &PayloadHeader, slots: &[u32]) {
        let near: Vec<_> = slots
            .iter()
            .map(|slot| told(Slot(*slot), self.beings[slot].at.to_wire(), 7))
            .collect();
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        encode_chunks(Level::NEAR, header.tick, &near, |chunk| {
            put_group(LANE, 1, &mut bytes);
            put_chunk(chunk, &mut bytes);
        });
        self.payload(bytes.into());
    }

    pub(crate) fn near(&mut self, slots: &[u32]) {
        let header = PayloadHeader {
            part: 1,
            parts: 2,
            view_seq: self.views,
            ..own(self.tick, 0, self.beings[&0].at, 0)
        };
        self.datagram(&header, slots);
    }

    pub(crate) fn listed(&mut self, complete: bool) {
        self.in_crowd = false;
        let tick = Tick(self.tick);
        let message = ServerMessage::Listed(Listed { tick, complete });
        self.stream(&framed(&message));
    }

    pub(crate) fn enters(&mut self, subjects: &[SubjectRef]) {
        self.views += 1;
        let enters = subjects.iter().map(|subject| Enter {
            subject: *subject,
            entity: entity(*subject),
            kind: KindId(3),
            position: self.beings[&subject.slot.0].at.to_wire(),
            properties: Vec::new(),
        });
        let update = ViewUpdate {
            tick: Tick(self.tick),
            enters: enters.collect(),
            ..ViewUpdate::default()
        };
        let message = ServerMessage::View(update);
        self.stream(&framed(&message));
    }

    pub(crate) fn wave(&mut self, slot: u32) {
        let being = self.beings[&slot];
        let happening = Happening {
            slot: Slot(slot),
            generation: Generation(being.generation),
            name: "wave".to_owned(),
            arguments: vec![Value::Int(1)],
        };
        self.happenings.push((being.track, happening));
    }

    /// A keyframe, a delta or an event list of the next tick, in turn.
    pub(crate) fn record(&mut self, i: u64) -> Vec<u8> {
        let id = (i % 3) as u16;
        self.tick += 1;
        for being in self.beings.values_mut() {
            being.at.x += 300;
        }
        let mut records = self.tell_tracks(2);
        match i % 4 {
            0 => {
                let mut keyframe = Vec::new();
                self.tracks[&id].keyframe(Tick(self.tick), &mut keyframe);
                keyframe
            }
            3 => {
                self.wave(0);
                let happenings = std::mem::take(&mut self.happenings);
                codec::encode(
                    &happenings
                        .into_iter()
                        .map(|(_, happening)| happening)
                        .collect::<Vec<_>>(),
                )
            }
            _ => records.remove(&id).unwrap_or_default(),
        }
    }

    pub(crate) fn stream(&mut self, bytes: &[u8]) {
        let now_us = self.now_us();
        for client in self.company.iter_mut().chain([&mut self.client]) {
            client.handle_stream(bytes, now_us);
        }
    }

    fn payload(&mut self, datagram: Bytes) {
        let now_us = self.now_us();
        for client in self.company.iter_mut().chain([&mut self.client]) {
            client.handle_datagram(datagram.clone(), now_us);
        }
    }

    /// What the client tells. Those in its company, who share what they decode, must tell the same.
    pub(crate) fn drain(&mut self) -> Vec<ClientEvent> {
        let events: Vec<_> = std::iter::from_fn(|| self.client.poll_event()).collect();
        let view = self.view();
        for other in &mut self.company {
            let store = &mut self.store;
            let told: Vec<_> = std::iter::from_fn(|| other.poll_event_with(store)).collect();
            assert_eq!(told, events, "who shares tells the same");
            assert_eq!(other.counters(), self.client.counters());
            let seen: BTreeSet<_> = other.view().iter().map(|subject| subject.subject()).collect();
            assert_eq!(seen, view, "and sees the same");
        }
        events
    }

    pub(crate) fn view(&self) -> BTreeSet<SubjectRef> {
        self.client
            .view()
            .iter()
            .map(|subject| subject.subject())
            .collect()
    }
}

/// A framed crowd message.
pub(crate) fn message(head: &CrowdHead, records: &[(u16, Form, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    for (track, form, record) in records {
        let record = Record {
            lane: LANE,
            track: TrackId(*track),
            form: *form,
            bytes: record,
        };
        record.encode(&mut bytes);
    }
    finish(0, &mut bytes);
    bytes
}

/// Who enters and who leaves. Panics if a leave comes before an enter of its tick.
pub(crate) fn edges(events: &[ClientEvent]) -> (Vec<SubjectRef>, Vec<SubjectRef>) {
    let (mut enters, mut leaves) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            ClientEvent::Enter { subject, .. } => {
                assert!(leaves.is_empty(), "enters come first");
                enters.push(*subject);
            }
            ClientEvent::Leave { subject, .. } => leaves.push(*subject),
            _ => {}
        }
    }
    enters.sort_unstable();
    leaves.sort_unstable();
    (enters, leaves)
}
