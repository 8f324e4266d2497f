//! A lane between hand-made gateways and storage in memory.

use bytes::Bytes;
use myriad_cluster::Partition;
use myriad_lane::{Config, Counters, Lane, Output};
use myriad_script::{ScriptHost, ScriptLimits, ScriptSources};
use myriad_storage::{MemoryStorage, StorageReply, StorageRequest, serve};
use myriad_wire::fabric::{
    Attach, Avatar, Envelope, Frame, Report, RoleId, Route, RouteState, Routes, SessionCommand,
    SessionIntents, ToGateway,
};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::link::Link;
use myriad_wire::payload::Step;
use myriad_wire::{
    CommandSeq, EntityId, GatewayId, Incarnation, IntentSeq, LaneEpoch, LaneId, Pos, SessionId, SpaceClock,
    SpaceId, Tick, Value, codec,
};
use myriad_world::{Origin, Space, SpaceConfig};

pub(crate) const LANE: LaneId = LaneId(1);
pub(crate) const EPOCH: LaneEpoch = LaneEpoch(7);
pub(crate) const METRE: i32 = 1024;

pub(crate) const GAME: &str = r#"
myriad.kind("guard", {
    notice = 10,
    properties = {
        { name = "seen", type = "int", to = "all" },
        { name = "lost", type = "int", to = "all" },
    },
    on = {
        noticed = function(self, other) if other:kind() == "avatar" then self.seen += 1 end end,
        lost = function(self, other) self.lost += 1 end,
    },
})
myriad.on_start(function() myriad.spawn("guard", { x = 45, z = 45 }) end)

myriad.kind("avatar", {
    avatar = true, radius = 50, speed = 5,
    properties = {
        { name = "name", type = "text", to = "all", saved = true, default = "" },
        { name = "mood", type = "int", to = "all", saved = true, default = 0 },
        { name = "purse", type = "int", to = "owner", saved = true, default = 10 },
    },
    commands = {
        mood = function(self, mood) self.mood = mood end,
        spend = function(self) self.purse -= 1 end,
        refuse = function(self) return nil, "not today" end,
        vanish = function(self) self:despawn() end,
        wave = function(self) self:emit("wave") end,
    },
})
"#;

/// A gateway as the lane sees one.
pub(crate) struct Gateway {
    pub(crate) id: GatewayId,
    pub(crate) link: Link,
    pub(crate) frames: Vec<Frame>,
    pub(crate) routes: Vec<Routes>,
    /// Drop the next so many messages from the lane.
    pub(crate) lose: u32,
    pub(crate) resync: bool,
    /// What a full report names.
    pub(crate) attached: Vec<Attach>,
}

impl Gateway {
    pub(crate) fn new(id: u32) -> Self {
        let link = Link::new(Incarnation(id));
        Self {
            id: GatewayId(id),
            link,
            frames: Vec::new(),
            routes: Vec::new(),
            lose: 0,
            resync: true,
            attached: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, lane: &mut Lane, report: Report) {
        let (envelope, body) = self.report(LANE, report);
        lane.handle_message(&envelope, body);
    }

    /// The report as it travels to a lane.
    pub(crate) fn report(&mut self, to: LaneId, mut report: Report) -> (Envelope, Bytes) {
        self.attached.extend(report.attach.iter().cloned());
        if std::mem::take(&mut self.resync) {
            report.full = true;
            report.attach.clone_from(&self.attached);
        }
        let from = RoleId::Gateway(self.id);
        let envelope = Envelope {
            to: RoleId::Lane(to),
            from,
            link: self.link.stamp(),
        };
        (envelope, codec::encode(&report).into())
    }

    pub(crate) fn receive(&mut self, envelope: &Envelope, body: &Bytes) {
        if self.lose > 0 {
            self.lose -= 1;
            return;
        }
        let verdict = self.link.handle(envelope.link);
        self.resync |= verdict.resync;
        if !verdict.deliver {
            return;
        }
        match codec::decode(body, NODE_MESSAGE_BYTES_MAX).expect("a lane sends messages") {
            ToGateway::Frame(frame) => self.frames.push(*frame),
            ToGateway::Routes(routes) => self.routes.push(routes),
        }
    }

    pub(crate) fn route(&self, session: u64) -> Option<&Route> {
        self.routes
            .last()?
            .sessions
            .iter()
            .find(|route| route.session == SessionId(session))
    }

    pub(crate) fn attached(&self, session: u64) -> &myriad_wire::fabric::AttachedRoute {
        match &self.route(session).expect("a route for the session").state {
            RouteState::Attached(route) => route,
            other => panic!("the session is not attached: {other:?}"),
        }
    }
}

pub(crate) fn origin(config: &Config) -> Origin {
    Origin {
        incarnation: config.incarnation,
        share: 0,
        spawned: 0,
        epoch: config.epoch,
    }
}

/// The tick before the first.
pub(crate) const START: Tick = Tick(100);

/// A lane of a space of 100 m x 100 m around the origin.
pub(crate) fn lane(
    lane: LaneId,
    epoch: LaneEpoch,
    partition: Partition,
    game: &str,
    entities_max: u32,
) -> Lane {
    let clock = SpaceClock::new(1_000_000, 10.0);
    let bounds = Pos {
        x: 50 * METRE,
        y: 0,
        z: 50 * METRE,
    };
    let bounds_min = Pos {
        x: -bounds.x,
        y: 0,
        z: -bounds.z,
    };
    let config = Config {
        lane,
        epoch,
        incarnation: Incarnation(epoch.0 as u32),
        space: SpaceId(1),
        partition,
        clock,
        bounds_min,
        bounds_max: bounds,
        spawn_side: 20 * METRE as u32,
        seed: 3,
        burst_ms: 1000,
        grace_s: 2.0,
        gateway_silence_s: 0.5,
        save_interval_s: 1.0,
        crowd_period_s: 0.5,
        sessions_max: 3,
        inbox_max: 1000,
        truth: true,
    };
    let mut sources = ScriptSources::default();
    sources.insert("main", game);
    let (script, kinds) =
        ScriptHost::load(&sources, ScriptLimits::default(), 1, &[]).expect("the test's game");
    let space = SpaceConfig {
        bounds_min,
        bounds_max: bounds,
        rate_mhz: clock.rate_mhz,
        entities_max,
        share: config.share(),
    };
    let space = Space::new(space, kinds, origin(&config));
    Lane::new(config, space, script, START)
}

pub(crate) struct Rig {
    pub(crate) lane: Lane,
    pub(crate) storage: MemoryStorage,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) now: Tick,
    pub(crate) saves: usize,
    pub(crate) storage_fails: bool,
}

impl Rig {
    pub(crate) fn new(gateways: u32) -> Self {
        Self::over(MemoryStorage::default(), gateways, EPOCH)
    }

    pub(crate) fn over(storage: MemoryStorage, gateways: u32, epoch: LaneEpoch) -> Self {
        let lane = lane(LANE, epoch, Partition::whole(LANE), GAME, 1000);
        let now = START;
        let gateways = (0..gateways).map(|i| Gateway::new(10 + i)).collect();
        Self {
            lane,
            storage,
            gateways,
            now,
            saves: 0,
            storage_fails: false,
        }
    }

    /// One tick; the gateways whose reports are given speak before it. Storage answers before the next one.
    pub(crate) fn tick(&mut self, reports: Vec<(usize, Report)>) -> Output {
        for (gateway, mut report) in reports {
            report.epoch = self.lane.config().epoch;
            self.gateways[gateway].send(&mut self.lane, report);
        }
        self.now = self.now + 1;
        let mut output = Output::default();
        self.lane.tick(self.now, &mut output, |_| {});
        for (envelope, body) in &output.messages {
            let to = self
                .gateways
                .iter_mut()
                .find(|gateway| RoleId::Gateway(gateway.id) == envelope.to);
            to.expect("the lane answers those who spoke")
                .receive(envelope, body);
        }
        for request in output.storage.drain(..) {
            self.saves += usize::from(matches!(request, StorageRequest::Save { .. }));
            let reply = match request {
                StorageRequest::Save { request, .. } if self.storage_fails => StorageReply::Saved {
                    request,
                    result: Err("the disk is full".into()),
                },
                request => serve(&mut self.storage, request),
            };
            self.lane.handle_storage(reply);
        }
        output
    }

    pub(crate) fn idle(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let all = (0..self.gateways.len())
                .map(|gateway| (gateway, Report::default()))
                .collect();
            self.tick(all);
        }
    }

    /// Attaches a session and waits for its avatar.
    pub(crate) fn attach(&mut self, gateway: usize, session: u64, account: &str) -> Avatar {
        let attach = Attach {
            session: SessionId(session),
            account: account.into(),
        };
        self.tick(vec![(
            gateway,
            Report {
                attach: vec![attach],
                ..Report::default()
            },
        )]);
        self.tick(vec![(gateway, Report::default())]);
        let avatars = self.gateways[gateway]
            .routes
            .iter()
            .flat_map(|routes| &routes.sessions);
        let of_session = avatars.filter(|route| route.session == SessionId(session));
        of_session
            .filter_map(|route| match &route.state {
                RouteState::Attached(route) => route.avatar,
                RouteState::Ended(_) | RouteState::Elsewhere(_) => None,
            })
            .next_back()
            .expect("the avatar is announced")
    }

    pub(crate) fn counters(&self) -> Counters {
        *self.lane.counters()
    }

    pub(crate) fn position(&self, entity: EntityId) -> Option<Pos> {
        self.lane.space().position(self.lane.space().find(entity)?)
    }
}

pub(crate) fn intents(session: u64, avatar: &Avatar, newest: u32, steps: &[Step]) -> Report {
    let intents = SessionIntents {
        session: SessionId(session),
        epoch: avatar.epoch,
        newest: IntentSeq(newest),
        steps: steps.into(),
    };
    Report {
        intents: vec![intents],
        ..Report::default()
    }
}

pub(crate) fn command(session: u64, avatar: &Avatar, seq: u32, name: &str, arguments: Vec<Value>) -> Report {
    let command = SessionCommand {
        session: SessionId(session),
        epoch: avatar.epoch,
        seq: CommandSeq(seq),
        name: name.into(),
        arguments,
    };
    Report {
        commands: vec![command],
        ..Report::default()
    }
}
