//! Two lanes side by side, west and east of x = 0, with a gateway that reads both.

use crate::rig::{Gateway, METRE, START, lane};
use bytes::Bytes;
use myriad_cluster::Partition;
use myriad_lane::{Lane, Output};
use myriad_storage::{MemoryStorage, serve};
use myriad_wire::fabric::{Attach, Avatar, Envelope, Report, RoleId, RouteState};
use myriad_wire::{EntityId, LaneEpoch, LaneId, Pos, SessionId, Tick, Value};
use myriad_world::Handle;

pub(crate) const WEST: usize = 0;
pub(crate) const EAST: usize = 1;

const KINDS: &str = r#"
local payee
myriad.kind("payer", {
    properties = { { name = "paid", type = "int" } },
    timers = {
        each = function(self)
            if payee and payee:call("pay", 1) then self.paid += 1 end
            self:after("each", 0)
        end,
        all = function(self)
            myriad.call_area(0, 0, 12, "pay", 1)
            self:after("all", 0)
        end,
    },
})
myriad.kind("walker", {
    speed = 5,
    properties = {
        { name = "gold", type = "int", to = "all" },
        { name = "beats", type = "int", to = "all" },
        { name = "turns", type = "int", to = "nobody" },
    },
    on = {
        spawned = function(self) self:after("beat", 0.5) end,
        arrived = function(self) self.turns += 1 end,
    },
    timers = { beat = function(self) self.beats += 1; self:after("beat", 0.5) end },
    calls = { pay = function(self, coins) self.gold += coins end },
})
myriad.kind("avatar", {
    avatar = true, radius = 50, speed = 5,
    properties = {
        { name = "name", type = "text", to = "all", saved = true, default = "" },
        { name = "waves", type = "int", to = "all", saved = true },
        { name = "secret", type = "int", to = "owner" },
    },
    commands = {
        wave = function(self) self.waves += 1 end,
        vanish = function(self) self:despawn() end,
    },
})
"#;

/// The cut: two cells of 50 m x 100 m would be no squares, so they are 100 m high.
pub(crate) fn partition() -> Partition {
    let corner = |x: i32, z: i32| Pos {
        x: x * METRE,
        y: 0,
        z: z * METRE,
    };
    // The lowest corner is 100 m west and north of the origin, so the border is at x = 0.
    Partition::grid(corner(-100, -100), corner(100, 0), 100 * METRE as u32, 1).expect("two cells")
}

pub(crate) struct Lanes {
    pub(crate) lanes: Vec<Lane>,
    /// The gateway's end of its link to each lane.
    pub(crate) gateway: Vec<Gateway>,
    pub(crate) storage: MemoryStorage,
    pub(crate) now: Tick,
    /// From lane to lane, sent in the last tick.
    pub(crate) flying: Vec<(Envelope, Bytes)>,
    /// Nothing gets through from this lane to the other.
    pub(crate) cut: [bool; 2],
    pub(crate) outputs: Vec<Output>,
    /// So many ticks the eastern lane is behind.
    pub(crate) behind: u64,
}

impl Lanes {
    /// `east_max` is how many entities the eastern lane holds.
    pub(crate) fn new(west: &str, east_max: u32) -> Self {
        let make = |number: u32, more: &str, max: u32| {
            let game = format!("{KINDS}\nmyriad.on_start(function() {more} end)");
            lane(
                LaneId(number),
                LaneEpoch(u64::from(number) + 5),
                partition(),
                &game,
                max,
            )
        };
        let mut lanes = Self {
            lanes: vec![make(1, west, 1000), make(2, "", east_max)],
            gateway: vec![Gateway::new(10), Gateway::new(10)],
            storage: MemoryStorage::default(),
            now: START,
            flying: Vec::new(),
            cut: [false; 2],
            outputs: Vec::new(),
            behind: 0,
        };
        lanes.idle(3);
        lanes
    }

    /// One tick, with reports of the gateway to lanes.
    pub(crate) fn tick(&mut self, mut reports: [Report; 2]) {
        for (envelope, body) in std::mem::take(&mut self.flying) {
            let place = |role| match role {
                RoleId::Lane(LaneId(number)) => number as usize - 1,
                other => panic!("{other:?} is no lane"),
            };
            if !self.cut[place(envelope.from)] {
                self.lanes[place(envelope.to)].handle_message(&envelope, body);
            }
        }
        self.now = self.now + 1;
        self.outputs.clear();
        for place in [WEST, EAST] {
            let lane = &mut self.lanes[place];
            let mut report = std::mem::take(&mut reports[place]);
            report.epoch = lane.config().epoch;
            let (envelope, body) = self.gateway[place].report(LaneId(place as u32 + 1), report);
            lane.handle_message(&envelope, body);
            let mut output = Output::default();
            let now = if place == EAST {
                self.now - self.behind
            } else {
                self.now
            };
            if lane.space().tick() >= now {
                continue;
            }
            lane.tick(now, &mut output, |_| {});
            for request in output.storage.drain(..) {
                lane.handle_storage(serve(&mut self.storage, request));
            }
            for (envelope, body) in output.messages.drain(..) {
                match envelope.to {
                    RoleId::Lane(_) => self.flying.push((envelope, body)),
                    RoleId::Gateway(_) => self.gateway[place].receive(&envelope, &body),
                    other => panic!("a lane has nothing to say to {other:?}"),
                }
            }
            self.outputs.push(output);
        }
        assert!(self.outputs.iter().all(|output| output.faults.is_empty()));
    }

    pub(crate) fn idle(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.tick(<[Report; 2]>::default());
        }
    }

    /// Only to one lane.
    pub(crate) fn say(&mut self, place: usize, report: Report) {
        let mut reports = <[Report; 2]>::default();
        reports[place] = report;
        self.tick(reports);
    }

    /// In which lanes the entity is.
    pub(crate) fn whereabouts(&self, entity: EntityId) -> Vec<usize> {
        let there = |place: &usize| self.lanes[*place].space().find(entity).is_some();
        [WEST, EAST].into_iter().filter(there).collect()
    }

    pub(crate) fn find(&self, entity: EntityId) -> (&Lane, Handle) {
        let places = self.whereabouts(entity);
        assert_eq!(places.len(), 1, "{entity} is in lanes {places:?}");
        let lane = &self.lanes[places[0]];
        (lane, lane.space().find(entity).expect("just seen"))
    }

    /// Where the one lane that had the entity in the last tick had it.
    pub(crate) fn position(&self, entity: EntityId) -> Pos {
        let truths = self.outputs.iter().filter_map(|output| output.truth.as_ref());
        let told: Vec<Pos> = truths
            .flat_map(|truth| &truth.entities)
            .filter(|told| told.entity == entity)
            .map(|told| told.position)
            .collect();
        assert_eq!(told.len(), 1, "{entity} was published by {} lanes", told.len());
        told[0]
    }

    /// The integer property of an entity.
    pub(crate) fn int(&self, entity: EntityId, name: &str) -> i64 {
        let (lane, handle) = self.find(entity);
        let kind = lane.space().kind(handle).expect("it is there");
        let index = kind.property_index(name).expect("its kind has it");
        match lane.space().property(handle, index) {
            Ok(Value::Int(value)) => value,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Where the first entity of the western lane's script is.
    pub(crate) fn walker(&self) -> EntityId {
        let space = self.lanes[WEST].space();
        space
            .id(space.handles().next().expect("it was spawned"))
            .expect("it is there")
    }

    /// Attaches session 1 of `account`, whose home is `home`.
    pub(crate) fn attach(&mut self, home: usize, account: &str) -> Avatar {
        assert_eq!(partition().home_of(account), LaneId(home as u32 + 1));
        let attach = Attach {
            session: SessionId(1),
            account: account.into(),
        };
        self.say(
            home,
            Report {
                attach: vec![attach],
                ..Report::default()
            },
        );
        self.idle(1);
        self.announced(home).expect("the avatar is announced")
    }

    /// What a lane last said of who the avatar of session 1 is.
    pub(crate) fn announced(&self, place: usize) -> Option<Avatar> {
        let routes = self.gateway[place]
            .routes
            .iter()
            .flat_map(|routes| &routes.sessions);
        let avatar = |state: &RouteState| match state {
            RouteState::Attached(route) => route.avatar,
            RouteState::Ended(_) | RouteState::Elsewhere(_) => None,
        };
        routes.filter_map(|route| avatar(&route.state)).next_back()
    }

    /// What a lane said of session 1 in this tick.
    pub(crate) fn route(&self, place: usize) -> Option<&RouteState> {
        self.gateway[place].route(1).map(|route| &route.state)
    }
}
