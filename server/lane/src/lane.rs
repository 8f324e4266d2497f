//! The lane itself: what it holds, and its tick from top to bottom.

use crate::avatars::{Avatars, Place};
use crate::calls::Calls;
use crate::config::Config;
use crate::counters::Counters;
use crate::crowd::Crowd;
use crate::departures::Departures;
use crate::peers::Peers;
use crate::readers::Readers;
use crate::stages::ingest::Wish;
use crate::stages::{Stage, commands, ghosts, handoff, ingest, interest, persist, publish, simulate};
use crate::tracks::TrackBuilder;
use crate::versions::Versions;
use crate::whereabouts::Whereabouts;
use bytes::Bytes;
use myriad_cluster::Partition;
use myriad_script::{ScriptFault, ScriptHost};
use myriad_storage::{EntityEpoch, SavedEntity, StorageReply, StorageRequest};
use myriad_wire::client::Rules;
use myriad_wire::directory::Duty;
use myriad_wire::fabric::{Attach, Envelope, RoleId};
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::lane::{Parcel, Transfer};
use myriad_wire::link::LinkHeader;
use myriad_wire::truth::TruthTick;
use myriad_wire::{CloseReason, GatewayId, Hop, LaneEpoch, LaneId, Pos, SessionId, Tick, Value};
use myriad_world::{Form, Handle, Kind, MovementBudget, Record, Space, Spawn, Subject};
use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;

/// The text property that a new avatar gets its account's name in, if its kind declares it.
const NAME_PROPERTY: &str = "name";

/// One lane. Hand in what arrived with [`Self::handle_message`] and [`Self::handle_storage`], at any time and in
/// any number; call [`Self::tick`] once per tick, in ascending order.
#[derive(Debug)]
pub struct Lane {
    pub(crate) config: Config,
    pub(crate) space: Space,
    pub(crate) script: ScriptHost,
    pub(crate) inbox: Vec<Arrived>,
    pub(crate) readers: Readers,
    pub(crate) peers: Peers,
    pub(crate) departures: Departures,
    pub(crate) calls: Calls,
    pub(crate) avatars: Avatars,
    pub(crate) whereabouts: Whereabouts,
    /// Takes nothing over and hands nothing off any more.
    pub(crate) draining: bool,
    /// Sessions that wait until all lanes go by the same layout.
    pub(crate) waiting: BTreeMap<SessionId, (GatewayId, Attach)>,
    /// It has retired: it has nothing, and gets nothing any more.
    pub(crate) is_over: bool,
    /// Made by ingest, emptied by handoff in the same tick.
    pub(crate) wishes: Vec<Wish>,
    pub(crate) tracks: TrackBuilder,
    pub(crate) crowd: Crowd,
    /// Of public properties. Kept by publish.
    pub(crate) versions: Versions,
    /// Every entity, ascending by name: as of this tick's interest and publish.
    pub(crate) subjects: Vec<Subject>,
    pub(crate) interest: interest::Interest,
    /// Which accounts each save request holds.
    pub(crate) saves_in_flight: BTreeMap<u64, Vec<String>>,
    pub(crate) counters: Counters,
    pub(crate) gateway_silence_ticks: u64,
    pub(crate) grace_ticks: u64,
    pub(crate) save_interval_ticks: u64,
    /// Ticks since the one before: more than one after a jump.
    pub(crate) ticks_elapsed: u64,
    /// The next truth names all properties.
    pub(crate) whole_truth: bool,
    last_request: u64,
    last_tick: Option<Tick>,
}

/// What waits in the inbox.
#[derive(Debug)]
pub(crate) enum Arrived {
    Message {
        from: RoleId,
        header: LinkHeader,
        body: Bytes,
    },
    Storage(StorageReply),
}

/// What a tick puts out. Reuse it from tick to tick.
#[derive(Debug, Default)]
pub struct Output {
    /// For the fabric. A body that several read is one shared buffer.
    pub messages: Vec<(Envelope, Bytes)>,
    /// For storage.
    pub storage: Vec<StorageRequest>,
    /// For the load harness, if that is enabled.
    pub truth: Option<TruthTick>,
    /// Script calls that failed: for the log.
    pub faults: Vec<ScriptFault>,
    /// What scripts wrote: for the log.
    pub lines: Vec<String>,
}

impl Output {
    /// Empties it, keeping its buffers.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.storage.clear();
        self.truth = None;
        self.faults.clear();
        self.lines.clear();
    }
}

impl Lane {
    /// A lane with its space as the scripts' start function leaves it. `now` is the tick before its first.
    #[must_use]
    pub fn new(config: Config, mut space: Space, mut script: ScriptHost, now: Tick) -> Self {
        let ticks = |seconds| config.clock.ticks_in(seconds).max(1);
        space.set_tick(now);
        script.start(&mut space);
        Self {
            gateway_silence_ticks: ticks(config.gateway_silence_s),
            grace_ticks: ticks(config.grace_s),
            save_interval_ticks: ticks(config.save_interval_s),
            interest: interest::Interest::new(&space),
            space,
            script,
            inbox: Vec::new(),
            readers: Readers::default(),
            peers: Peers::new(&config.partition, config.lane, config.epoch, config.incarnation),
            departures: Departures::default(),
            calls: Calls::default(),
            avatars: Avatars::default(),
            whereabouts: Whereabouts::default(),
            draining: false,
            waiting: BTreeMap::new(),
            is_over: false,
            wishes: Vec::new(),
            tracks: TrackBuilder::default(),
            crowd: Crowd::new(config.crowd_period_ticks()),
            versions: Versions::default(),
            subjects: Vec::new(),
            saves_in_flight: BTreeMap::new(),
            counters: Counters::default(),
            ticks_elapsed: 1,
            whole_truth: true,
            last_request: 0,
            last_tick: None,
            config,
        }
    }

    /// A message arrived over the fabric. It takes effect in the next tick.
    pub fn handle_message(&mut self, envelope: &Envelope, body: Bytes) {
        let may_speak = match envelope.from {
            RoleId::Lane(lane) => self.peers.is_peer(lane),
            RoleId::Gateway(_) => true,
            RoleId::Directory | RoleId::Store | RoleId::Caller(_) => false,
        };
        if !may_speak {
            self.counters.malformed += 1;
            return;
        }
        if self.inbox.len() >= self.config.inbox_max {
            self.counters.inbox_dropped += 1;
            return;
        }
        self.inbox.push(Arrived::Message {
            from: envelope.from,
            header: envelope.link,
            body,
        });
    }

    /// Storage answered. As many answers come as were asked for, so they are never dropped.
    pub fn handle_storage(&mut self, reply: StorageReply) {
        self.inbox.push(Arrived::Storage(reply));
    }

    /// Computes tick `now`. `stage_done` is called after each stage, for whoever measures.
    ///
    /// # Panics
    /// If `now` is not later than the tick before.
    pub fn tick(&mut self, now: Tick, output: &mut Output, mut stage_done: impl FnMut(Stage)) {
        self.begin(now);
        ingest::ingest(self, now);
        stage_done(Stage::Ingest);
        handoff::handoff(self, now, &mut output.storage);
        stage_done(Stage::Handoff);
        commands::commands(self, now);
        stage_done(Stage::Commands);
        simulate::simulate(self);
        stage_done(Stage::Simulate);
        interest::interest(self);
        stage_done(Stage::Interest);
        ghosts::ghosts(self);
        stage_done(Stage::Ghosts);
        publish::publish(self, now, output);
        stage_done(Stage::Publish);
        persist::persist(self, now, &mut output.storage);
        stage_done(Stage::Persist);
        self.end(now, output);
    }

    fn begin(&mut self, now: Tick) {
        if let Some(last) = self.last_tick {
            assert!(now > last, "tick {now} after tick {last}: numbers never go back");
            self.ticks_elapsed = now.since(last);
            self.counters.skipped_ticks += self.ticks_elapsed - 1;
        }
        self.last_tick = Some(now);
        self.space.set_tick(now);
        self.counters.ticks += 1;
    }

    fn end(&mut self, now: Tick, output: &mut Output) {
        self.space.clear_changes();
        handoff::give_names_back(self);
        handoff::hand_over(self, now, output);
        let (faults, more) = self.script.take_faults();
        self.counters.script_faults += faults.len() as u64 + more;
        output.faults.extend(faults);
        output.lines.extend(self.script.take_lines().0);
        self.is_over |= self.has_retired();
    }

    /// The lanes of the space are these from now on. A version that is not higher than the present one counts nothing.
    pub fn adopt(&mut self, partition: Partition) {
        if partition.version() > self.config.partition.version() {
            handoff::homes::adopt(self, partition);
            self.counters.layouts_adopted += 1;
        }
    }

    /// Whether it takes its part of what its cell has.
    pub(crate) fn is_serving(&self) -> bool {
        self.config.partition.duty_of(self.config.lane) == Some(Duty::Serving)
    }

    /// The home lane of an account.
    pub(crate) fn home_of(&self, account: &str) -> LaneId {
        self.config.partition.home_of(account)
    }

    /// How many entities it has or keeps room for, less those that it has offered to others.
    pub(crate) fn load(&self) -> u32 {
        let has = self.space.len() + self.peers.rooms.len();
        has.saturating_sub(self.peers.offers.len()) as u32
    }

    /// Whether it has nothing, owes nothing, and no other lane believes that it may still get something.
    fn has_retired(&self) -> bool {
        let partition = &self.config.partition;
        partition.duty_of(self.config.lane) == Some(Duty::Retiring)
            && self.space.is_empty()
            && self.avatars.is_empty()
            && self.waiting.is_empty()
            && self.saves_in_flight.is_empty()
            && self.whereabouts.owes_nothing()
            && self.calls.is_empty()
            && self.peers.is_idle()
            && self.peers.all_adopted(partition.version())
    }

    /// Whether it has retired: it has nothing and gets nothing any more, and may be stopped when nobody reads it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether all of these gateways read this lane.
    pub fn is_read_by(&self, gateways: impl IntoIterator<Item = GatewayId>) -> bool {
        gateways.into_iter().all(|gateway| self.readers.has(gateway))
    }

    /// From the next tick on, no entity comes from another lane or goes to one.
    pub fn stop_handoffs(&mut self) {
        self.draining = true;
    }

    /// Saves everything that changed, whatever its turn: for a shutdown, after the last tick. That goes for avatars, too,
    /// that are on their way to or from other lanes: if these have them, what they save counts.
    pub fn drain(&mut self, requests: &mut Vec<StorageRequest>) {
        let now = self.last_tick.unwrap_or_default();
        persist::save(self, now, requests, true);
        let waiting = self.peers.unacknowledged().chain(self.peers.held());
        let on_their_way = waiting.filter_map(|parcel| match parcel {
            Parcel::Commit(transfer) => self.saved_transfer(transfer, now),
            _ => None,
        });
        let entities: Vec<SavedEntity> = on_their_way.collect();
        if !entities.is_empty() {
            let request = self.next_request();
            requests.push(StorageRequest::Save { request, entities });
        }
    }

    /// A new reader of the truth came: the next tick's truth names all properties of all entities.
    pub fn tell_whole_truth(&mut self) {
        self.whole_truth = true;
    }

    /// Totals since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many entities there are.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.space.len()
    }

    /// How many sessions are attached or about to be.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.avatars.sessions()
    }

    /// How many gateways read this lane.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.readers.len()
    }

    /// The space, for whoever checks it.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// How this lane runs.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    /// The laws that clients predict by.
    pub(crate) fn rules(&self) -> Rules {
        let kind = self.space.kinds().avatar();
        Rules {
            bounds_min: self.config.bounds_min,
            bounds_max: self.config.bounds_max,
            speed_max: kind.map_or(0, speed_max),
            burst_ms: self.config.burst_ms,
            radius_aoi: kind.map_or(0, Kind::radius_aoi),
            crowd_period: self.crowd.period_ticks() as u32,
        }
    }

    /// What a new session may move.
    pub(crate) fn budget(&self) -> MovementBudget {
        MovementBudget::new(self.rules().speed_max, self.config.burst_ms)
    }

    /// Brings an avatar into the world: as it was saved, or new. `None` if the game declares no avatar kind, or
    /// the space is full.
    pub(crate) fn spawn_avatar(&mut self, account: &str, saved: Option<SavedEntity>) -> Option<Handle> {
        if let Some(saved) = saved {
            let record = Record {
                entity: saved.entity,
                kind: saved.kind,
                position: saved.position,
                attributes: saved.properties,
            };
            let (era, hop) = (LaneEpoch(saved.epoch.era), Hop(saved.epoch.hop));
            return Some(self.space.restore(&record, era, hop).ok()?.handle);
        }
        let kind = self.space.kinds().avatar()?;
        let mut properties = Vec::new();
        if kind.property_index(NAME_PROPERTY).is_some() {
            properties.push((NAME_PROPERTY.to_owned(), Value::Text(account.to_owned())));
        }
        let kind = kind.id();
        let position = self.spawn_position(account);
        self.space.spawn(kind, Spawn { position, properties }).ok()
    }

    /// Where a new avatar appears: anywhere in the spawn square, by the seed and its account.
    fn spawn_position(&self, account: &str) -> Pos {
        let seed = self.config.seed ^ fnv1a(account.as_bytes());
        let mut random = Pcg32::seed_from_u64(seed);
        let half = i64::from(self.config.spawn_side / 2);
        let side = 2 * half as u64 + 1;
        let mut coordinate = || (((u64::from(random.next_u32()) * side) >> 32) as i64 - half) as i32;
        Pos {
            x: coordinate(),
            y: 0,
            z: coordinate(),
        }
    }

    /// What storage should hold of an avatar in the world.
    pub(crate) fn saved_form(&self, account: &str, handle: Handle, now: Tick) -> Option<SavedEntity> {
        let record = self.space.record(handle, Form::Saved)?;
        let life = self.space.life(handle)?;
        Some(SavedEntity {
            entity: record.entity,
            account: Some(account.to_owned()),
            kind: record.kind,
            position: record.position,
            properties: record.attributes,
            epoch: EntityEpoch {
                era: life.era.0,
                hop: life.hop.0,
            },
            tick: now,
        })
    }

    /// What storage should hold of an avatar that is on its way to another lane: as it went from here, so under the epoch
    /// that it had here. `None` of who is no avatar.
    fn saved_transfer(&self, transfer: &Transfer, now: Tick) -> Option<SavedEntity> {
        let account = transfer.avatar.as_ref()?.account.clone();
        let kind = self.space.kinds().find(&transfer.kind)?;
        // What begins with `@` is the engine's, and saved with everybody.
        let is_saved = |name: &str| {
            let property = kind.property_index(name).and_then(|index| kind.property(index));
            name.starts_with('@') || property.is_some_and(|property| property.saved)
        };
        let attributes = transfer.attributes.iter();
        Some(SavedEntity {
            entity: transfer.entity,
            account: Some(account),
            kind: transfer.kind.clone(),
            position: transfer.position,
            properties: attributes.filter(|(name, _)| is_saved(name)).cloned().collect(),
            epoch: EntityEpoch {
                era: transfer.era.0,
                hop: transfer.hop.0 - 1,
            },
            tick: now,
        })
    }

    /// A save request succeeded: an avatar that departed with it is no longer needed here.
    pub(crate) fn forget_departed(&mut self, account: &str, saved: u64) {
        let done = |place: &Place| matches!(place, Place::Departing { request: Some(r), .. } if *r == saved);
        if self
            .avatars
            .get_mut(account)
            .is_some_and(|avatar| done(&avatar.place))
        {
            handoff::forget_avatar(self, account, CloseReason::Left);
        }
    }

    /// A save request failed: what it held must be sent again.
    pub(crate) fn save_again(&mut self, account: &str, failed: u64) {
        let Some(avatar) = self.avatars.get_mut(account) else {
            return;
        };
        match &mut avatar.place {
            Place::Departing { request, .. } if *request == Some(failed) => *request = None,
            Place::InWorld(_) => avatar.saved.position = None,
            Place::Departing { .. } | Place::Loading { .. } => {}
        }
    }
}

/// FNV-1a of 64 bits: a stable hash for seeds, not for tables.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// A kind's greatest speed in position units per second.
fn speed_max(kind: &Kind) -> u32 {
    (kind.spec().speed_max_m_s * f64::from(UNITS_PER_METRE)).round() as u32
}
