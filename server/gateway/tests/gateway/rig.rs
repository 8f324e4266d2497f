//! A gateway, a lane and clients, stepped together.

use crate::client::TestClient;
use crate::lane::{GATEWAY, SPACE, TestLane};
use bytes::Bytes;
use myriad_gateway::{ClientInput, ClientOutput, ConnId, Gateway, GatewayConfig, Outputs};
use myriad_wire::fabric::{Envelope, RoleId};
use myriad_wire::{CloseReason, Incarnation, LaneId, SubjectRef};
use std::collections::BTreeSet;

pub(crate) const LANE: LaneId = LaneId(3);

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) lane: TestLane,
    /// More lanes of the space.
    pub(crate) others: Vec<TestLane>,
    /// What these lanes send is held up until they are not late any more.
    pub(crate) late: BTreeSet<LaneId>,
    held_up: Vec<(Envelope, Bytes)>,
    /// Drop what this lane sends.
    pub(crate) lose_of: Option<LaneId>,
    pub(crate) clients: Vec<TestClient>,
    /// Drop what the lane sends, or what the gateway sends to it.
    pub(crate) lose_frames: bool,
    pub(crate) lose_reports: bool,
    pub(crate) lose_reports_to: Option<LaneId>,
    /// Some lane has not noticed that it lost an entity.
    pub(crate) is_stale: bool,
    out: Outputs,
}

pub(crate) fn config() -> GatewayConfig {
    let mut config = GatewayConfig::new(GATEWAY, Incarnation(9), SPACE, LANE);
    // Tests of exactness want every enter at once.
    config.view_bytes_max = 512 * 1024;
    config
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: GatewayConfig) -> Self {
        Self {
            gateway: Gateway::new(config),
            lane: TestLane::new(LANE, 1),
            others: Vec::new(),
            late: BTreeSet::new(),
            held_up: Vec::new(),
            lose_of: None,
            clients: Vec::new(),
            lose_frames: false,
            lose_reports: false,
            lose_reports_to: None,
            is_stale: false,
            out: Outputs::default(),
        }
    }

    /// A rig of two lanes, of which nobody has heard; the first is [`Self::lane`].
    pub(crate) fn of_two(lanes: [LaneId; 2], config: GatewayConfig) -> Self {
        let mut rig = Self::with(GatewayConfig {
            lanes: lanes.into(),
            ..config
        });
        let mut others = lanes
            .iter()
            .zip([11, 12])
            .map(|(lane, epoch)| TestLane::new(*lane, epoch));
        rig.lane = others.next().unwrap();
        rig.others = others.collect();
        rig.others[0].tick = rig.lane.tick;
        rig
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = &TestLane> {
        std::iter::once(&self.lane).chain(&self.others)
    }

    pub(crate) fn connect(&mut self, account: &str) -> usize {
        let client = TestClient::new(self.clients.len() as u64 + 1, account);
        self.gateway.handle_client(client.conn, ClientInput::Connected);
        self.clients.push(client);
        self.clients.len() - 1
    }

    pub(crate) fn say(&mut self, client: usize, message: Bytes) {
        self.gateway
            .handle_client(self.clients[client].conn, ClientInput::Message(message));
    }

    pub(crate) fn throw(&mut self, client: usize, datagram: Bytes) {
        self.gateway
            .handle_client(self.clients[client].conn, ClientInput::Datagram(datagram));
    }

    pub(crate) fn command(&mut self, client: usize, name: &str) {
        let message = self.clients[client].command(name);
        self.say(client, message);
    }

    pub(crate) fn walk(&mut self, client: usize, dx: i32, dz: i32) {
        let datagram = self.clients[client].step(dx, dz);
        self.throw(client, datagram);
    }

    pub(crate) fn set_backlog(&mut self, client: usize, bytes: usize) {
        self.gateway.set_backlog(self.clients[client].conn, bytes);
    }

    /// Connects and greets, without waiting for the join.
    pub(crate) fn enter(&mut self, account: &str) -> usize {
        let client = self.connect(account);
        for message in self.clients[client].greeting() {
            self.say(client, message);
        }
        client
    }

    /// Connects, greets and steps until the client has joined.
    pub(crate) fn join(&mut self, account: &str) -> usize {
        let client = self.enter(account);
        for _ in 0..5 {
            if self.clients[client].joined.is_some() {
                return client;
            }
            self.step();
        }
        panic!("{account} did not join: {:?}", self.clients[client].closed);
    }

    /// One tick of each lane, then one of the gateway.
    pub(crate) fn step(&mut self) {
        self.publish();
        self.tick();
    }

    /// One tick of each lane.
    pub(crate) fn publish(&mut self) {
        let before = std::mem::take(&mut self.held_up).into_iter();
        let now = std::iter::once(&mut self.lane).chain(&mut self.others);
        let messages: Vec<_> = before.chain(now.flat_map(TestLane::publish)).collect();
        for message in messages.into_iter().filter(|_| !self.lose_frames) {
            let RoleId::Lane(from) = message.0.from else {
                panic!("lanes speak")
            };
            if self.lose_of == Some(from) {
                continue;
            }
            if self.late.contains(&from) {
                self.held_up.push(message);
            } else {
                self.gateway.handle_fabric(&message.0, message.1);
            }
        }
    }

    /// One tick of each lane, in which the first says that the account's avatar goes to the second.
    pub(crate) fn publish_moves(&mut self, account: &str) {
        let to = self.others[0].id;
        let mut seats = self.lane.seats.values_mut();
        seats.find(|seat| seat.account == account).unwrap().moves_to = Some(to);
        self.publish();
    }

    /// One tick of the gateway.
    pub(crate) fn tick(&mut self) {
        for client in &mut self.clients {
            client.begin_step();
        }
        self.gateway.tick(&mut self.out);
        let (outputs, reports): (Vec<_>, Vec<_>) = (
            self.out.clients.drain(..).collect(),
            self.out.fabric.drain(..).collect(),
        );
        for output in outputs {
            self.deliver(&output);
        }
        for client in &mut self.clients {
            client.end_step();
        }
        for (envelope, body) in reports {
            self.report(&envelope, &body);
        }
        let all_heard = !self.gateway.frames_ready() && !self.any_late();
        for client in self.clients.iter().filter(|_| all_heard && !self.is_stale) {
            let in_two = &client.crowd.in_two;
            assert!(in_two.is_empty(), "nobody goes from lane to lane: {in_two:?}");
        }
    }

    /// Whether the gateway has not heard the last of some lane.
    fn any_late(&self) -> bool {
        let status = self.gateway.status();
        let heard = |lane: &TestLane| {
            let heard = status.lanes.iter().find(|heard| heard.lane == lane.id);
            heard.is_some_and(|heard| heard.tick == lane.tick)
        };
        !self.lanes().all(heard)
    }

    fn report(&mut self, envelope: &Envelope, body: &Bytes) {
        let lanes = std::iter::once(&mut self.lane).chain(&mut self.others);
        for lane in lanes.filter(|lane| envelope.to == RoleId::Lane(lane.id)) {
            if !self.lose_reports && self.lose_reports_to != Some(lane.id) {
                lane.handle(envelope, body);
            }
        }
    }

    fn deliver(&mut self, output: &ClientOutput) {
        let conn = match output {
            ClientOutput::Message(conn, _)
            | ClientOutput::Datagram(conn, _)
            | ClientOutput::Close(conn, _) => *conn,
        };
        let client = self.client(conn);
        match output {
            ClientOutput::Message(_, bytes) => client.handle_message(bytes),
            ClientOutput::Datagram(_, bytes) => client.handle_datagram(bytes),
            ClientOutput::Close(_, reason) => {
                assert_eq!(client.closed.replace(*reason), None, "closed once");
            }
        }
    }

    fn client(&mut self, conn: ConnId) -> &mut TestClient {
        self.clients
            .iter_mut()
            .find(|client| client.conn == conn)
            .unwrap()
    }

    pub(crate) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    /// By which name a client knows the entity in `slot`.
    pub(crate) fn name_of(&self, slot: u32) -> SubjectRef {
        let lane = self
            .clients
            .iter()
            .find_map(|client| client.joined.as_ref())
            .unwrap()
            .avatar
            .lane;
        let generation = self.lane.entities[&slot].generation;
        SubjectRef {
            lane,
            slot: myriad_wire::Slot(slot),
            generation,
        }
    }

    pub(crate) fn sees(&self, client: usize, slot: u32) -> bool {
        let name = self.name_of(slot);
        self.clients[client].view.contains_key(&name)
    }

    pub(crate) fn closed(&self, client: usize) -> Option<CloseReason> {
        self.clients[client].closed
    }
}
