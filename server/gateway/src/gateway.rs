//! The gateway: connections and frames in, views and payloads out.

use crate::assemble::Assembler;
use crate::config::{GatewayConfig, LANES_MAX};
use crate::counters::Counters;
use crate::crowd::Crowd;
use crate::crowd::seat::CrowdDraft;
use crate::io::{ClientInput, ClientOutput, ConnId, LaneStatus, Outputs, Stage, Status};
use crate::lanes::Lane;
use crate::mirror::{Mirror, Sink};
use crate::records::Records;
use crate::seat::{place_observer, tell_joined, tell_owner};
use crate::session::{Door, Phase, Session};
use crate::sessions::Sessions;
use crate::telling::TellTick;
use crate::view::{Draft, ViewTick};
use bytes::Bytes;
use myriad_aoi::{Engine, ObserverId};
use myriad_wire::fabric::{AttachedRoute, Detach, Envelope, Frame, RoleId, Route, RouteState, Routes};
use myriad_wire::limits::DATAGRAM_BYTES_MAX;
use myriad_wire::{CloseReason, LaneEpoch, LaneId, Tick};

mod layout;

/// A lane names every session that it has in every tick. After so many in which the lane that should have it did not, it
/// is asked for it again. More than a hand-off takes whose message must be sent again.
const UNNAMED_TICKS_MAX: u32 = 8;
/// As many frames of a lane may wait for the frames of the others, so that what belongs together is told together. With
/// one more they are told without those of a lane that is late: one lane must not hold up all.
const FRAMES_AHEAD_MAX: usize = 2;
/// Most connections refused in one tick that are told so; the edge's idle timeout ends the others.
const REFUSED_MAX: usize = 1024;

/// The gateway.
///
/// Hand in what arrives at any time: [`Self::handle_client`], [`Self::set_backlog`], [`Self::handle_fabric`] are
/// cheap and take effect in the next tick. Call [`Self::tick`] as long as [`Self::frames_ready`] says so, and once a
/// period when it does not: logins, timeouts and reports to lanes go on without frames. Each tick takes one frame of
/// each lane at most.
pub struct Gateway {
    config: GatewayConfig,
    counters: Counters,
    sessions: Sessions,
    /// A lane's number is its place.
    lanes: Vec<Lane>,
    /// Those where accounts may have their home.
    homes: Vec<LaneId>,
    /// By number of the lane: what ingest took and interest will apply.
    frames: Vec<Option<Frame>>,
    mirror: Mirror,
    engine: Engine,
    records: Records,
    draft: Draft,
    crowd: Crowd,
    crowd_draft: CrowdDraft,
    assembler: Assembler,
    /// The gateway's own count of its ticks. Never sent; frames carry the space's.
    now: u64,
    /// The newest tick of the space of which clients have been told. Never goes back.
    told: Tick,
    /// What this tick of the gateway tells of the space.
    news: News,
    /// Ticks per second, in thousandths.
    rate_mhz: u32,
    draining: Option<CloseReason>,
    refused: Vec<(ConnId, CloseReason)>,
}

/// What one tick of the gateway tells of the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// No frame came: views stand still.
    Nothing,
    /// Frames of a tick that was told already, of lanes that lag: views follow, states would come too late.
    Views,
    /// Frames of a new tick.
    ViewsAndStates,
}

impl Gateway {
    /// A gateway without clients, that has heard of no lane yet.
    ///
    /// # Panics
    /// If the configuration has [`GatewayConfig::mistakes`].
    #[must_use]
    pub fn new(mut config: GatewayConfig) -> Self {
        let mistakes = config.mistakes();
        assert!(
            mistakes.is_empty(),
            "a gateway's configuration was not checked: {mistakes:?}"
        );
        config.lanes.sort_unstable();
        // Twice as many as may live: a lane's restart ends all its lives and begins others in one tick.
        let subjects_max = (2 * u64::from(config.slots_max) * LANES_MAX as u64).min(1 << 31) as u32;
        let engine = Engine::new(myriad_aoi::Config {
            subjects_max,
            observers_max: config.sessions_max.max(1),
            ..myriad_aoi::Config::default()
        });
        Self {
            counters: Counters::default(),
            sessions: Sessions::default(),
            lanes: config
                .lanes
                .iter()
                .map(|lane| Lane::new(*lane, config.incarnation))
                .collect(),
            homes: config.lanes.clone(),
            frames: config.lanes.iter().map(|_| None).collect(),
            mirror: Mirror::new(&config.lanes, config.slots_max, subjects_max),
            engine,
            records: Records::default(),
            draft: Draft::default(),
            crowd: Crowd::new(config.lanes.len(), config.slots_max),
            crowd_draft: CrowdDraft::default(),
            assembler: Assembler::default(),
            now: 0,
            told: Tick(0),
            news: News::Nothing,
            rate_mhz: (config.hz * 1000.0).round() as u32,
            draining: None,
            refused: Vec::new(),
            config,
        }
    }

    /// Something arrived from a client.
    pub fn handle_client(&mut self, conn: ConnId, input: ClientInput) {
        let counters = &mut self.counters;
        match (input, self.sessions.of_conn(conn)) {
            (ClientInput::Connected, None) => self.open_session(conn),
            (ClientInput::Message(message), Some(session)) => {
                counters.messages_received += 1;
                session.push_message(message, &self.config);
            }
            (ClientInput::Datagram(datagram), Some(session)) => {
                counters.datagrams_received += 1;
                session.push_datagram(datagram, &self.config, counters);
            }
            (ClientInput::Closed(reason), Some(session)) => session.disconnected(reason),
            (ClientInput::Connected, Some(_)) | (_, None) => counters.inputs_unknown += 1,
        }
    }

    fn open_session(&mut self, conn: ConnId) {
        let full = self.sessions.len() >= self.config.sessions_max as usize;
        if let Some(reason) = self.draining.or(full.then_some(CloseReason::Full)) {
            self.counters.count_close(reason);
            if self.refused.len() < REFUSED_MAX {
                self.refused.push((conn, reason));
            }
        } else {
            self.counters.sessions_opened += 1;
            self.sessions.open(conn, self.now, &self.config);
        }
    }

    /// So many reliable bytes wait for this client to read them.
    pub fn set_backlog(&mut self, conn: ConnId, bytes: usize) {
        if let Some(session) = self.sessions.of_conn(conn) {
            session.backlog_bytes = bytes;
        }
    }

    /// A message arrived over the fabric.
    pub fn handle_fabric(&mut self, envelope: &Envelope, body: Bytes) {
        let lane = match envelope.from {
            RoleId::Lane(id) if envelope.to == RoleId::Gateway(self.config.id) => {
                let is_it = |lane: &&mut Lane| lane.is_open() && lane.id == id;
                self.lanes.iter_mut().find(is_it)
            }
            RoleId::Lane(_) | RoleId::Gateway(_) | RoleId::Directory | RoleId::Store | RoleId::Caller(_) => {
                None
            }
        };
        match lane {
            Some(lane) => lane.handle(envelope.link, &body, &mut self.counters),
            None => self.counters.fabric_strangers += 1,
        }
    }

    /// Whether a frame of some lane waits.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        self.lanes.iter().any(|lane| lane.next_tick().is_some())
    }

    /// Whether it is time to tick: a frame waits of every lane that is not silent, or so many of some lane that the others
    /// are not waited for any longer.
    #[must_use]
    pub fn frames_ready(&self) -> bool {
        let is_there = |lane: &Lane| lane.next_tick().is_some();
        self.has_frames()
            && (self.lanes.iter().all(|lane| is_there(lane) || lane.is_silent())
                || self.lanes.iter().any(|lane| lane.waiting() > FRAMES_AHEAD_MAX))
    }

    /// One tick. Appends to `out`.
    pub fn tick(&mut self, out: &mut Outputs) {
        self.tick_staged(out, |_| ());
    }

    /// One tick; `ended` is called at the end of each stage. Appends to `out`.
    pub fn tick_staged(&mut self, out: &mut Outputs, mut ended: impl FnMut(Stage)) {
        self.now += 1;
        self.counters.ticks += 1;
        self.records.begin(self.now);
        self.ingest(&mut out.clients);
        ended(Stage::Ingest);
        self.interest();
        ended(Stage::Interest);
        self.assemble(&mut out.clients);
        ended(Stage::Assemble);
        self.send(out);
        ended(Stage::Send);
    }

    /// From the next tick on: ends all sessions, and refuses new ones, for this reason.
    pub fn drain(&mut self, reason: CloseReason) {
        self.draining = Some(reason);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How the gateway stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let joined = || {
            self.sessions
                .iter()
                .filter(|session| session.phase == Phase::Joined)
        };
        let lane = |(number, lane): (usize, &Lane)| LaneStatus {
            lane: lane.id,
            epoch: lane.epoch(),
            tick: lane.heard_tick(),
            subjects: self.mirror.held(number),
            silent_ticks: lane.silent_ticks(),
            skipped_ticks: self.mirror.lanes()[number].skipped_ticks(),
        };
        Status {
            sessions: self.sessions.len() as u32,
            joined: joined().count() as u32,
            frozen: joined().filter(|session| session.view.is_frozen()).count() as u32,
            lanes: self
                .lanes
                .iter()
                .enumerate()
                .filter(|(_, lane)| lane.is_open())
                .map(lane)
                .collect(),
        }
    }

    /// Ingest: takes what arrived from lanes and clients.
    fn ingest(&mut self, out: &mut Vec<ClientOutput>) {
        let tick = self.lanes.iter().filter_map(Lane::next_tick).min();
        for number in 0..self.lanes.len() {
            let Some(arrival) = self.lanes[number].take(tick) else {
                continue;
            };
            self.take_epoch(number, arrival.frame.epoch);
            if let Some(routes) = arrival.routes {
                self.take_routes(number, routes);
            }
            self.frames[number] = Some(arrival.frame);
        }
        self.take_losses();
        let rate = u64::from(self.rate_mhz);
        let mut door = Door {
            now: self.now,
            timeout_ticks: (self.config.login_timeout_s * f64::from(self.rate_mhz) / 1000.0).ceil() as u64,
            allowance_per_tick: u64::from(self.config.messages_per_s) * 1_000_000 / rate,
            config: &self.config,
            homes: &self.homes,
            lanes: &mut self.lanes,
            counters: &mut self.counters,
            out,
        };
        for (_, session) in self.sessions.iter_mut() {
            if let Some(reason) = self.draining {
                session.close(reason);
            }
            session.ingest(&mut door);
        }
    }

    /// Lanes that have lost something are told again what they may lack. This comes before anything new is taken from
    /// clients, or a lane would be told newer steps without those that it lost, and never take these.
    fn take_losses(&mut self) {
        for (number, _) in self
            .lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| lane.wants_full())
        {
            for (_, session) in self
                .sessions
                .iter_mut()
                .filter(|(_, session)| session.is_at(number))
            {
                session.presence.resend();
            }
        }
    }

    /// What is taken of a lane now is of `epoch`; if that is a new one, its sessions must be attached anew.
    fn take_epoch(&mut self, number: usize, epoch: LaneEpoch) {
        if self.lanes[number].adopt(epoch) {
            for (_, session) in self
                .sessions
                .iter_mut()
                .filter(|(_, session)| session.is_at(number))
            {
                session.presence.void();
            }
        }
    }

    fn take_routes(&mut self, number: usize, routes: Routes) {
        let now = self.now;
        for Route { session: id, state } in routes.sessions {
            let Some(session) = self.sessions.of_id(id) else {
                // It ended here while the lane was about to attach it, or the lane has not heard of its end yet.
                if let RouteState::Attached(_) = state {
                    let detach = Detach {
                        session: id,
                        left: false,
                    };
                    self.lanes[number].report.detach.push(detach);
                }
                continue;
            };
            match state {
                RouteState::Attached(attached) => {
                    take_attached(session, number, *attached, now, &self.lanes, &mut self.counters);
                }
                RouteState::Ended(reason) if session.is_at(number) => session.ended_by_lane(reason),
                RouteState::Elsewhere(lane) if session.is_at(number) => {
                    // Of a lane that is not known yet the same one is asked again.
                    let there = number_of(&self.lanes, lane, &mut self.counters).unwrap_or(number);
                    if session.presence.send_elsewhere(there, now) {
                        self.lanes[there].report.attach.push(session.attach());
                    }
                }
                // It is another lane's matter by now.
                RouteState::Ended(_) | RouteState::Elsewhere(_) => {}
            }
        }
        let unnamed = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| session.is_at(number) && session.named_at != now);
        for (_, session) in unnamed {
            session.unnamed_ticks += 1;
            if routes.full {
                // The lane took this gateway for dead, or ended the session and the word was lost, or is still
                // loading the avatar. The full report names the session: if need be it is attached anew, or its end
                // is told again.
                session.presence.detach();
                self.lanes[number].tell_all();
            } else if session.unnamed_ticks >= UNNAMED_TICKS_MAX && session.presence.avatar().is_some() {
                // Its avatar is not there, and may have gone on from there: the lane knows whom to ask.
                session.unnamed_ticks = 0;
                session.presence.detach();
                self.lanes[number].report.attach.push(session.attach());
            }
        }
    }

    /// Interest: brings the mirrors up to their frames, and the views up to the mirrors.
    fn interest(&mut self) {
        let tick = self.frames.iter().flatten().map(|frame| frame.tick).next();
        self.assembler.begin();
        if let Some(tick) = tick {
            self.crowd.begin(tick);
            self.mirror.begin(self.now);
        }
        let mut sink = Sink {
            now: self.now,
            engine: &mut self.engine,
            records: &mut self.records,
            crowd: &mut self.crowd,
            counters: &mut self.counters,
        };
        for number in 0..self.frames.len() {
            let Some(frame) = self.frames[number].take() else {
                continue;
            };
            self.assembler.add_lane(number);
            if self.mirror.apply(number, frame, &mut sink) {
                self.lanes[number].lose();
            }
            let keyframe = self.mirror.lanes()[number]
                .keyframe()
                .expect("a frame was just applied");
            self.rate_mhz = keyframe.clock.rate_mhz.max(1);
        }
        if tick.is_some() {
            layout::close_lanes(&mut self.lanes, &self.homes, &mut self.sessions, |number| {
                self.mirror.drop_lane(number, &mut sink);
            });
        }
        self.news = match tick {
            None => News::Nothing,
            Some(tick) if tick <= self.told => News::Views,
            Some(tick) => {
                self.told = tick;
                News::ViewsAndStates
            }
        };
        if self.news != News::Nothing {
            self.mirror.settle(&mut sink);
            for (observer, session) in self.sessions.iter_mut() {
                place_observer(
                    observer,
                    session,
                    &self.mirror,
                    &mut self.engine,
                    &mut self.counters,
                );
            }
            self.engine.update();
            self.sessions.take_edges(self.engine.events());
        }
    }

    /// Assemble: packs each client's messages and datagrams.
    fn assemble(&mut self, out: &mut Vec<ClientOutput>) {
        let per_tick = u64::from(self.config.budget_bytes_per_s) * 1000 / u64::from(self.rate_mhz);
        let budget_bytes = u32::try_from(per_tick)
            .unwrap_or(u32::MAX)
            .max(DATAGRAM_BYTES_MAX as u32);
        for (observer, session) in self.sessions.iter_mut() {
            if session.phase != Phase::Joined {
                continue;
            }
            let max = self.config.backlog_bytes_max;
            session
                .view
                .set_backlog(session.backlog_bytes, max, &mut self.counters);
            tell_joined(
                session,
                &self.mirror,
                self.now,
                self.told,
                out,
                &mut self.counters,
            );
            tell_owner(session, self.told, out, &mut self.counters);
            let seat = self.engine.observer(observer).expect("a joined session observes");
            let mut at = TellTick {
                tick: self.told,
                with_states: self.news == News::ViewsAndStates,
                config: &self.config,
                budget_bytes,
                view: ViewTick {
                    tick: self.told,
                    mirror: &self.mirror,
                    records: &mut self.records,
                    counters: &mut self.counters,
                    enter_bytes_max: self.config.view_bytes_max,
                    draft: &mut self.draft,
                },
                crowd: &mut self.crowd,
                crowd_draft: &mut self.crowd_draft,
                assembler: &mut self.assembler,
                out,
            };
            if self.news != News::Nothing {
                let own = session.presence.own(self.now);
                session.tell_view(&seat, own, &mut at);
            }
            session.tell_identities(seat.sees, &mut at);
        }
    }

    /// Send: ends sessions, and reports to lanes.
    fn send(&mut self, out: &mut Outputs) {
        for (conn, reason) in self.refused.drain(..) {
            out.clients.push(ClientOutput::Close(conn, reason));
        }
        self.end_sessions(&mut out.clients);
        let lanes = self.lanes.iter_mut().enumerate();
        for (number, lane) in lanes.filter(|(_, lane)| lane.is_open()) {
            let at_lane = self
                .sessions
                .iter_mut()
                .filter(|(_, session)| session.is_at(number));
            let full = lane.wants_full();
            if full {
                lane.report.attach.clear();
            }
            for (_, session) in at_lane {
                if full {
                    lane.report.attach.push(session.attach());
                }
                session
                    .presence
                    .report(session.id, &mut lane.report, &mut self.counters);
            }
            let (link, body) = lane.take_report();
            let (from, to) = (RoleId::Gateway(self.config.id), RoleId::Lane(lane.id));
            self.counters.reports_sent += 1;
            out.fabric.push((Envelope { to, from, link }, body));
        }
    }

    fn end_sessions(&mut self, out: &mut Vec<ClientOutput>) {
        let closing = |(observer, session): (ObserverId, &mut Session)| match session.phase {
            Phase::Closing(closing) => Some((observer, session.conn, session.presence.lane, closing)),
            _ => None,
        };
        let ending: Vec<_> = self.sessions.iter_mut().filter_map(closing).collect();
        for (observer, conn, lane, closing) in ending {
            if let Some(detach) = closing.detach {
                let report = &mut self.lanes[lane].report;
                report.attach.retain(|attach| attach.session != detach.session);
                report.detach.push(detach);
            }
            if closing.tell_client {
                out.push(ClientOutput::Close(conn, closing.reason));
            }
            if self.engine.observer(observer).is_some() {
                self.engine.remove_observer(observer);
            }
            self.counters.count_close(closing.reason);
            self.sessions.remove(observer);
        }
    }
}

/// A lane says that a session is attached there.
fn take_attached(
    session: &mut Session,
    number: usize,
    attached: AttachedRoute,
    now: u64,
    lanes: &[Lane],
    counters: &mut Counters,
) {
    if !matches!(session.phase, Phase::Attaching | Phase::Joined) {
        // It is about to end here, or has.
        return;
    }
    let comes = !session.is_at(number);
    if comes {
        // The word that it would go there was lost, or that lane is one that did not notice that it lost it.
        let announced = attached.avatar.as_ref();
        if !announced.is_some_and(|avatar| session.presence.is_outdated_by(avatar)) {
            return;
        }
        session.presence.move_to(number);
    }
    let goes_on = attached.moves_to;
    session.presence.take_route(attached, now);
    session.named_at = now;
    session.unnamed_ticks = 0;
    let goes_to = goes_on.and_then(|lane| number_of(lanes, lane, counters));
    if let Some(there) = goes_to {
        session.presence.move_to(there);
    }
    if comes || goes_to.is_some() {
        // What is on its way to the lane before may come too late to go along.
        session.presence.resend();
    }
}

/// The number of a lane that a session goes to.
fn number_of(lanes: &[Lane], lane: LaneId, counters: &mut Counters) -> Option<usize> {
    let number = lanes.iter().position(|other| other.is_open() && other.id == lane);
    counters.lanes_unknown += u64::from(number.is_none());
    number
}
