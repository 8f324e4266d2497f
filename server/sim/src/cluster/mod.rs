//! The cluster: one lane, two gateways, storage, players, and the events between them in virtual time.
//!
//! [`Cluster::run`] takes one event after the other. `fabric` and `wires` are the networks, `lane`, `gateway` and
//! `storage` the nodes, `connection` and `player` the clients, `mishaps` what goes wrong.

mod connection;
mod fabric;
mod gateway;
mod lane;
mod mishaps;
mod player;
mod storage;
mod wires;

use crate::agenda::Agenda;
use crate::book::Book;
use crate::check::authority::check_durable;
use crate::check::finale::{Finale, Proof};
use crate::check::{Checked, demand};
use crate::coverage::{Coverage, Exercise};
use crate::dice::Dice;
use crate::record::{Digest, Failure, Summary, Trail};
use crate::scenario::{Scenario, Strength};
use crate::truth::History;
use bytes::Bytes;
use connection::Connection;
use gateway::GatewayNode;
use lane::{LaneNode, SAVE_INTERVAL_S};
use myriad_gateway::ConnId;
use myriad_storage::{MemoryStorage, Storage as _, StorageReply, StorageRequest};
use myriad_wire::fabric::{Envelope, RoleId};
use myriad_wire::{Incarnation, LaneEpoch, SpaceClock};
use player::Player;
use std::collections::BTreeMap;

/// When virtual time begins, in microseconds.
const BEGIN_US: u64 = 1_000_000_000;
/// How many gateways there are.
const GATEWAYS: usize = 2;

/// How long before the end players stop giving commands.
const SILENCE_US: u64 = 1_000_000;

/// A save is under way for so long at most.
const SAVE_SLACK_TICKS: u64 = 2;

/// What happens at a moment.
#[derive(Debug)]
enum Event {
    /// A lane's tick may be due.
    LanePulse(Incarnation),
    /// A gateway ticks if it has not for a period.
    GatewayPulse(usize, Incarnation),
    /// A message between roles arrives.
    FabricArrives(Envelope, Bytes),
    /// A node's storage thread comes to a request.
    StorageServes(Incarnation, StorageRequest),
    /// A node's storage thread has answered.
    StorageAnswers(Incarnation, StorageReply),
    /// What is ready on a client's stream arrives.
    StreamToClient(ConnId),
    /// What is ready on the stream to a gateway arrives.
    StreamToGateway(ConnId),
    /// A datagram arrives at a client.
    DatagramToClient(ConnId, Bytes),
    /// A datagram arrives at a gateway.
    DatagramToGateway(ConnId, Bytes),
    /// A client has something to do although nothing arrives.
    ClientTimer(ConnId),
    /// A client notices that its connection is lost.
    ClientNotices(ConnId),
    /// A player does something.
    PlayerActs(usize),
    /// Something goes wrong.
    MishapStrikes,
    /// A gateway's node starts.
    GatewayStarts(usize),
    /// The lane's node starts.
    LaneStarts,
    /// A lane that was replaced stops at last.
    LingererStops(Incarnation),
    /// Nothing goes wrong any more.
    TroubleEnds,
    /// The cluster should have come to rest: brute force begins.
    WatchBegins,
    /// Players give no more commands, so that all are answered at the end.
    SilenceFalls,
}

/// The dice, one for each that throws them.
#[derive(Debug)]
struct AllDice {
    fabric: Dice,
    wires: Dice,
    storage: Dice,
    mishaps: Dice,
    nodes: Dice,
}

/// What differs from seed to seed and is no fault.
#[derive(Clone, Debug)]
struct Settings {
    near_target: u32,
    view_bytes_max: usize,
    crowd_from: u32,
    crowd_period_s: f64,
    keyframe_bytes_max: usize,
    event_bytes_per_tick: usize,
    identity_bytes_per_tick: usize,
    /// How many of each kind of wanderers.
    wanderers: [(&'static str, i64); 4],
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    seed: u64,
    scenario: Scenario,
    strength: Strength,
    settings: Settings,
    is_calm: bool,
    is_silent: bool,
    now_us: u64,
    steps: u64,
    agenda: Agenda<Event>,
    dice: AllDice,
    clock: SpaceClock,
    incarnations: u32,
    epochs: u64,
    lane: Option<LaneNode>,
    lingerer: Option<LaneNode>,
    gateways: Vec<GatewayNode>,
    connections: BTreeMap<ConnId, Connection>,
    connections_made: u64,
    players: Vec<Player>,
    storage: MemoryStorage,
    storage_fails_until_us: u64,
    /// When the last message arrives between two roles.
    fabric_last_us: BTreeMap<(RoleId, RoleId), u64>,
    history: History,
    book: Book,
    finale: Option<Finale>,
    coverage: Coverage,
    trail: Trail,
    digest: Digest,
}

impl Cluster {
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let hz = dice.pick(&[10.0, 20.0]);
        let mut crowd = Dice::new(seed, 6);
        let mut of_crowd = |small: u64, usual: u64| crowd.pick(&[small, usual, usual]) as usize;
        let budgets = [of_crowd(64, 24 * 1024), of_crowd(0, 512), of_crowd(16, 2048)];
        let crowds = scenario.crowds;
        let settings = Settings {
            crowd_from: if crowds { crowd.pick(&[3, 6, 256]) } else { 256 },
            crowd_period_s: if crowds { crowd.pick(&[0.2, 0.5, 1.0]) } else { 0.5 },
            keyframe_bytes_max: budgets[0],
            event_bytes_per_tick: budgets[1],
            identity_bytes_per_tick: budgets[2],
            near_target: dice.pick(&[4, 12, 100]) as u32,
            view_bytes_max: dice.pick(&[1024, 48 * 1024, 48 * 1024]),
            wanderers: ["fox", "ghost", "shifter", "mayfly"].map(|kind| (kind, dice.within(0..=8) as i64)),
        };
        let mut cluster = Self {
            strength: Strength::draw(scenario, &mut dice),
            is_calm: false,
            is_silent: false,
            now_us: BEGIN_US,
            steps: 0,
            agenda: Agenda::new(),
            dice: AllDice {
                fabric: Dice::new(seed, 1),
                wires: Dice::new(seed, 2),
                storage: Dice::new(seed, 3),
                mishaps: Dice::new(seed, 4),
                nodes: Dice::new(seed, 5),
            },
            clock: SpaceClock::new(BEGIN_US, hz),
            incarnations: 0,
            epochs: 0,
            lane: None,
            lingerer: None,
            gateways: (0..GATEWAYS).map(|_| GatewayNode::down()).collect(),
            connections: BTreeMap::new(),
            connections_made: 0,
            players: Vec::new(),
            storage: MemoryStorage::new(),
            storage_fails_until_us: 0,
            fabric_last_us: BTreeMap::new(),
            history: History::default(),
            book: Book::default(),
            finale: None,
            coverage: Coverage::default(),
            trail: Trail::default(),
            digest: Digest::new(),
            settings,
            scenario: scenario.clone(),
            seed,
        };
        cluster.begin(dice.within(scenario.players.clone()));
        cluster
    }

    fn begin(&mut self, players: u64) {
        let now_us = self.now_us;
        self.agenda.put(now_us, Event::LaneStarts);
        for gateway in 0..GATEWAYS {
            self.agenda.put(now_us, Event::GatewayStarts(gateway));
        }
        for number in 0..players as usize {
            let player = Player::new(number, self.seed, self.scenario.cheaters);
            self.players.push(player);
            let first_us = now_us + self.dice.nodes.below(3_000_000);
            self.agenda.put(first_us, Event::PlayerActs(number));
        }
        let trouble_us = now_us + self.scenario.trouble_ms * 1000;
        self.agenda.put(now_us + 1_000_000, Event::MishapStrikes);
        self.agenda.put(trouble_us, Event::TroubleEnds);
        let settled_us = trouble_us + self.scenario.settle_ms * 1000;
        self.agenda.put(settled_us, Event::WatchBegins);
        let end_us = settled_us + self.scenario.watch_ms * 1000;
        self.agenda.put(end_us - SILENCE_US, Event::SilenceFalls);
    }

    /// To the end, or to the first thing that is wrong.
    pub(crate) fn run(&mut self) -> Checked {
        let scenario = &self.scenario;
        let whole_ms = scenario.trouble_ms + scenario.settle_ms + scenario.watch_ms;
        // Just before a tick is due, when all of the tick before has arrived.
        let last = self.clock.tick_at(BEGIN_US + whole_ms * 1000);
        let end_us = self.clock.due_us(last + 1) - 1;
        while let Some((at_us, event)) = self.agenda.next(end_us) {
            self.now_us = at_us;
            self.book.now_us = at_us;
            self.steps += 1;
            self.take(event)?;
        }
        self.prove()
    }

    fn take(&mut self, event: Event) -> Checked {
        match event {
            Event::LanePulse(node) => self.lane_pulse(node),
            Event::GatewayPulse(gateway, node) => self.gateway_pulse(gateway, node),
            Event::FabricArrives(envelope, body) => self.fabric_arrives(&envelope, body),
            Event::StorageServes(node, request) => self.storage_serves(node, request),
            Event::StorageAnswers(node, reply) => self.storage_answers(node, reply),
            Event::StreamToClient(conn) => self.stream_to_client(conn),
            Event::StreamToGateway(conn) => self.stream_to_gateway(conn),
            Event::DatagramToClient(conn, datagram) => self.datagram_to_client(conn, datagram),
            Event::DatagramToGateway(conn, datagram) => self.datagram_to_gateway(conn, datagram),
            Event::ClientTimer(conn) => self.client_timer(conn),
            Event::ClientNotices(conn) => self.client_notices(conn),
            Event::PlayerActs(player) => self.player_acts(player),
            Event::MishapStrikes => self.mishap_strikes(),
            Event::GatewayStarts(gateway) => self.gateway_starts(gateway),
            Event::LaneStarts => self.lane_starts(),
            Event::LingererStops(node) => self.lingerer_stops(node),
            Event::TroubleEnds => self.trouble_ends(),
            Event::WatchBegins => self.watch_begins(),
            Event::SilenceFalls => {
                self.is_silent = true;
                Ok(())
            }
        }
    }

    /// Brute force begins.
    fn watch_begins(&mut self) -> Checked {
        let mut finale = Finale::default();
        for connection in self
            .connections
            .values()
            .filter(|connection| connection.is_present())
        {
            let near = connection.told.near(&connection.notes, &self.history)?;
            finale.begin(&connection.account, near);
        }
        self.finale = Some(finale);
        Ok(())
    }

    /// The end: every player is there and knows what the rule says.
    fn prove(&mut self) -> Checked {
        let epoch = self.lane.as_ref().map_or(LaneEpoch(0), |lane| lane.epoch);
        let now = self.history.last(epoch).ok_or("there is no lane at the end")?;
        let finale = self.finale.as_ref().ok_or("the watch never began")?;
        let interval_ticks = self.clock.ticks_in(SAVE_INTERVAL_S) + SAVE_SLACK_TICKS;
        for player in &self.players {
            let connection = player.connection.and_then(|conn| self.connections.get_mut(&conn));
            let Some(connection) = connection.filter(|connection| connection.is_present()) else {
                return Err(format!("{} is not in the world at the end", player.account));
            };
            connection.told.complete(&connection.notes, &self.history)?;
            let is_crowd = connection.client.view().is_crowd();
            let proof = Proof {
                account: &player.account,
                client: &connection.client,
                told: &connection.told,
                notes: &connection.notes,
                honest: player.honest,
                answers_all: self.settings.identity_bytes_per_tick > 1024,
            };
            if finale.prove(&proof, now, &self.history)? {
                self.coverage.note(match is_crowd {
                    true => Exercise::CrowdProven,
                    false => Exercise::ViewProven,
                });
            }
            let stored = self.storage.load_avatar(&player.account);
            let stored = stored.map_err(|fault| fault.to_string())?;
            check_durable(stored.as_ref(), &player.account, now, interval_ticks)?;
            demand!(
                connection.numbers.is_empty(),
                "{} has commands without an answer at the end: {:?}",
                player.account,
                connection.numbers
            );
        }
        Ok(())
    }

    /// A number that no node has had.
    fn next_incarnation(&mut self) -> Incarnation {
        self.incarnations += 1;
        Incarnation(self.incarnations)
    }

    fn note(&mut self, what: std::fmt::Arguments) {
        self.trail.note(self.now_us - BEGIN_US, what);
    }

    pub(crate) fn summary(&mut self) -> Summary {
        if let Some(lane) = self.lane.take() {
            self.count_lane(&lane);
        }
        for gateway in 0..GATEWAYS {
            self.count_gateway(gateway);
        }
        Summary {
            seed: self.seed,
            digest: self.digest.value(),
            steps: self.steps,
            ticks: self.clock.tick_at(self.now_us).0,
            coverage: self.coverage.clone(),
        }
    }

    pub(crate) fn failure(&self, message: String) -> Failure {
        Failure {
            seed: self.seed,
            step: self.steps,
            at_us: self.now_us - BEGIN_US,
            message,
            last: self.trail.lines(),
            options: "",
        }
    }
}
