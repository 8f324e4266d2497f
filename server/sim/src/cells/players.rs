//! The players: clients that walk across borders, give commands, go and come back, by whichever gateway.

use super::checks::Told;
use super::nodes::SPACE;
use super::{CELL, CORNER, Cells, Checked, METRE, demand};
use crate::dice::Dice;
use bytes::Bytes;
use myriad_client::{Client, ClientConfig, ClientEvent, CrowdEdges};
use myriad_gateway::{ClientInput, ConnId};
use myriad_wire::codec::Deframer;
use myriad_wire::limits::CLIENT_MESSAGE_BYTES_MAX;
use myriad_wire::{CloseReason, CommandSeq, Incarnation, Pos, Value};
use std::collections::{BTreeMap, VecDeque};

/// How far an honest player goes in a step, in position units: a little less than it may.
const STRIDE: f64 = 0.55 * METRE as f64;
/// A player waits while so many of its steps are not acknowledged: a datagram holds 16.
const STEPS_WAITING_MAX: u32 = 12;
/// After so many steps without an avatar a player tries anew.
const JOIN_PATIENCE_STEPS: u64 = 50;

/// One player.
pub(super) struct Player {
    pub(super) account: String,
    /// The last one is that through which it acts; those before are about to end.
    pub(super) connections: Vec<Connection>,
    away_until: u64,
    goal: [i32; 2],
    pub(super) dice: Dice,
}

/// One connection, with its client at one end.
pub(super) struct Connection {
    id: ConnId,
    gateway: usize,
    node: Incarnation,
    pub(super) client: Client,
    deframer: Deframer,
    began: u64,
    to_client: VecDeque<(u64, ToClient)>,
    to_gateway: VecDeque<(u64, ClientInput)>,
    client_over: bool,
    gateway_over: bool,
    steps_taken: u32,
    /// The numbers of commands that have no answer.
    unanswered: BTreeMap<CommandSeq, i64>,
    pub(super) told: Told,
}

enum ToClient {
    Bytes(Bytes),
    Datagram(Bytes),
    Close(CloseReason),
}

impl Connection {
    /// Whether the session is in the world, as far as its client knows.
    pub(super) fn is_present(&self) -> bool {
        !self.client_over && self.client.joined().is_some() && self.client.closed().is_none()
    }
}

impl Player {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1000 + number);
        Self {
            account: format!("p{number}"),
            connections: Vec::new(),
            away_until: dice.below(30),
            goal: [0, 0],
            dice,
        }
    }

    fn step(&mut self, from: Pos, [columns, rows]: [u32; 2]) -> [i32; 2] {
        let to = [
            f64::from(self.goal[0]) - f64::from(from.x),
            f64::from(self.goal[1]) - f64::from(from.z),
        ];
        let far = to[0].hypot(to[1]);
        if far < 1024.0 {
            let mut coordinate =
                |cells: u32| -CORNER + self.dice.below(u64::from(cells) * CELL as u64) as i32;
            self.goal = [coordinate(columns), coordinate(rows)];
        }
        let part = (STRIDE / far.max(1.0)).min(1.0);
        // Towards zero, so that no rounding makes it faster.
        to.map(|way| (way * part) as i32)
    }
}

impl Cells {
    fn connection(&mut self, conn: ConnId) -> Option<&mut Connection> {
        let all = self.players.iter_mut().flat_map(|player| &mut player.connections);
        all.into_iter().find(|connection| connection.id == conn)
    }

    pub(super) fn stream_to_client(&mut self, conn: ConnId, bytes: Bytes) {
        let due = self.step + self.dice.below(2);
        self.put_to_client(conn, due, ToClient::Bytes(bytes));
    }

    pub(super) fn datagram_to_client(&mut self, conn: ConnId, datagram: Bytes) {
        let due = self.step + self.dice.below(3);
        self.put_to_client(conn, due, ToClient::Datagram(datagram));
    }

    pub(super) fn close_to_client(&mut self, conn: ConnId, reason: CloseReason) {
        let due = self.step + self.dice.below(2);
        self.put_to_client(conn, due, ToClient::Close(reason));
        if let Some(connection) = self.connection(conn) {
            connection.gateway_over = true;
        }
    }

    fn put_to_client(&mut self, conn: ConnId, due: u64, item: ToClient) {
        if let Some(connection) = self.connection(conn) {
            connection.to_client.push_back((due, item));
        }
    }

    /// What has arrived at a gateway from its clients.
    pub(super) fn clients_send(&mut self, gateway: usize) {
        let node = self.gateways[gateway].node;
        let Some(core) = &mut self.gateways[gateway].core else {
            return;
        };
        let all = self.players.iter_mut().flat_map(|player| &mut player.connections);
        for connection in all.filter(|connection| connection.node == node && !connection.gateway_over) {
            while let Some((_, input)) = connection.to_gateway.pop_front_if(|(due, _)| *due <= self.step) {
                connection.gateway_over |= matches!(input, ClientInput::Closed(_));
                core.handle_client(connection.id, input);
            }
        }
    }

    /// A gateway has crashed: its clients notice at once.
    pub(super) fn connections_end(&mut self, gateway: usize) {
        let node = self.gateways[gateway].node;
        let all = self.players.iter_mut().flat_map(|player| &mut player.connections);
        for connection in all.filter(|connection| connection.node == node) {
            connection.gateway_over = true;
            connection.client.handle_closed(CloseReason::Lost);
        }
    }

    /// Clients read what has arrived, and say what they make of it.
    pub(super) fn clients_read(&mut self) -> Checked {
        let (step, now_us) = (self.step, self.now_us());
        for number in 0..self.players.len() {
            let mut connections = std::mem::take(&mut self.players[number].connections);
            for connection in &mut connections {
                // A stream keeps its order; datagrams overtake it, and each other.
                let arrived = std::mem::take(&mut connection.to_client);
                let mut stream_waits = false;
                for (due, item) in arrived {
                    let is_datagram = matches!(item, ToClient::Datagram(_));
                    if due > step || stream_waits && !is_datagram {
                        stream_waits |= !is_datagram;
                        connection.to_client.push_back((due, item));
                        continue;
                    }
                    match item {
                        ToClient::Bytes(bytes) => connection.client.handle_stream(&bytes, now_us),
                        ToClient::Datagram(datagram) => connection.client.handle_datagram(datagram, now_us),
                        ToClient::Close(reason) => connection.client.handle_closed(reason),
                    }
                }
                self.drive(number, connection)?;
            }
            connections.retain(|connection| !(connection.client_over && connection.gateway_over));
            self.players[number].connections = connections;
        }
        Ok(())
    }

    fn drive(&mut self, number: usize, connection: &mut Connection) -> Checked {
        let (step, now_us) = (self.step, self.now_us());
        connection.client.advance(now_us);
        while let Some(event) = connection.client.poll_event() {
            self.watch
                .hear(&event, &self.players[number].account, connection)?;
            match event {
                ClientEvent::CommandResult { seq, refused } => {
                    let number = connection
                        .unanswered
                        .remove(&seq)
                        .ok_or("a command is answered twice")?;
                    if refused.is_none() {
                        self.watch.accepted(number)?;
                    }
                }
                ClientEvent::Closed(reason) => {
                    connection.client_over = true;
                    self.is_closed(number, reason)?;
                }
                _ => {}
            }
        }
        let due = step + 1 + self.dice.below(2);
        if let Some(bytes) = connection.client.poll_stream() {
            connection.deframer.handle_bytes(&bytes);
            while let Some(message) = connection
                .deframer
                .poll_message()
                .map_err(|fault| fault.to_string())?
            {
                let due = connection
                    .to_gateway
                    .back()
                    .map_or(due, |(last, _)| due.max(*last));
                connection
                    .to_gateway
                    .push_back((due, ClientInput::Message(message)));
            }
        }
        while let Some(datagram) = connection.client.poll_datagram() {
            if !self.dice.chance(self.strength.datagram_lost) {
                let due = connection.to_gateway.back().map_or(step + 1, |(last, _)| *last);
                connection
                    .to_gateway
                    .push_back((due, ClientInput::Datagram(datagram.into())));
            }
        }
        if connection.client_over && !connection.gateway_over {
            let over = matches!(connection.to_gateway.back(), Some((_, ClientInput::Closed(_))));
            if !over {
                let reason = connection.client.closed().unwrap_or(CloseReason::Lost);
                connection
                    .to_gateway
                    .push_back((due, ClientInput::Closed(reason)));
            }
        }
        Ok(())
    }

    fn is_closed(&mut self, number: usize, reason: CloseReason) -> Checked {
        let player = &mut self.players[number];
        let harmless = matches!(
            reason,
            CloseReason::Left
                | CloseReason::Lost
                | CloseReason::Replaced
                | CloseReason::NoSpace
                | CloseReason::TimedOut
        );
        demand!(
            harmless,
            "{} did nothing wrong, and is closed as {reason:?}",
            player.account
        );
        let later = player.dice.pick(&[0, 2, 10, 30]);
        player.away_until = player.away_until.max(self.step + later);
        Ok(())
    }

    pub(super) fn players_act(&mut self, comes_and_goes: bool, talks: bool) -> Checked {
        for number in 0..self.players.len() {
            let player = &mut self.players[number];
            if !comes_and_goes {
                player.away_until = player.away_until.min(self.step);
            }
            let acting = player.connections.pop_if(|connection| !connection.client_over);
            let Some(mut connection) = acting else {
                if self.step >= self.players[number].away_until {
                    self.comes(number)?;
                }
                continue;
            };
            if connection.is_present() {
                self.plays(number, &mut connection, comes_and_goes, talks);
            } else if self.step - connection.began > JOIN_PATIENCE_STEPS {
                connection.client.handle_closed(CloseReason::Lost);
            }
            self.drive(number, &mut connection)?;
            let again = comes_and_goes && connection.is_present() && self.players[number].dice.chance(3);
            self.players[number].connections.push(connection);
            if again {
                self.note(format_args!("p{number} logs in again"));
                self.comes(number)?;
            }
        }
        Ok(())
    }

    fn comes(&mut self, number: usize) -> Checked {
        let gateway = self.dice.below(self.gateways.len() as u64) as usize;
        let node = &self.gateways[gateway];
        if node.core.is_none() {
            return Ok(());
        }
        let node = node.node;
        let id = ConnId(self.watch.next_number() as u64);
        let account = self.players[number].account.clone();
        let home = self.partition.home_of(&account);
        let there = self.watch.lane_of_avatar(&account, &self.lanes);
        if there.is_some_and(|there| there != home) {
            self.table.note("logins while the avatar was elsewhere");
        }
        self.note(format_args!("{account} connects to gateway {gateway} as {id:?}"));
        let config = ClientConfig {
            account,
            key: String::new(),
            space: SPACE,
            agent: "sim".to_owned(),
            identities_per_s: 40,
            crowd_edges: CrowdEdges::OneByOne,
        };
        let mut connection = Connection {
            id,
            gateway,
            node,
            client: Client::new(config),
            deframer: Deframer::new(CLIENT_MESSAGE_BYTES_MAX),
            began: self.step,
            to_client: VecDeque::new(),
            to_gateway: VecDeque::from([(self.step + 1, ClientInput::Connected)]),
            client_over: false,
            gateway_over: false,
            steps_taken: 0,
            unanswered: BTreeMap::new(),
            told: Told::default(),
        };
        self.drive(number, &mut connection)?;
        debug_assert_eq!(connection.gateway, gateway);
        self.players[number].connections.push(connection);
        Ok(())
    }

    fn plays(&mut self, number: usize, connection: &mut Connection, goes: bool, talks: bool) {
        let player = &mut self.players[number];
        if let (Some(from), Some((acknowledged, _)), Some(joined)) = (
            connection.client.own_position(),
            connection.client.own_authoritative(),
            connection.client.joined(),
        ) {
            connection.steps_taken = connection.steps_taken.max(joined.intent_seq.0);
            let waiting = connection.steps_taken.saturating_sub(acknowledged.0);
            let [dx, dz] = player.step(from, self.grid.size());
            if waiting < STEPS_WAITING_MAX
                && let Ok(seq) = connection.client.step(dx, dz)
            {
                connection.steps_taken = seq.0;
            }
        }
        if talks && player.dice.chance(100) && connection.unanswered.len() < 8 {
            let id = self.watch.next_number();
            if let Ok(seq) = connection.client.command("wave", vec![Value::Int(id)]) {
                connection.unanswered.insert(seq, id);
            }
        }
        if goes && player.dice.chance(8) {
            player.away_until = self.step + player.dice.pick(&[0, 5, 15, 40]);
            if player.dice.chance(500) {
                connection.client.leave();
            } else {
                connection.client.handle_closed(CloseReason::Lost);
            }
            let account = player.account.clone();
            self.note(format_args!("{account} goes"));
        }
    }
}
