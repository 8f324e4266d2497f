//! The players: what a scripted client does with its session.

use super::lane::HALF_SIDE;
use super::{Cluster, Event};
use crate::check::Checked;
use crate::dice::Dice;
use myriad_gateway::ConnId;
use myriad_wire::payload::Step;
use myriad_wire::{CloseReason, Pos, Value};

/// How fast an honest player goes, in position units per second: a little slower than it may.
const SPEED: f64 = 5.0 * 1024.0;
/// How fast a cheater goes.
const CHEATING_SPEED: f64 = 40.0 * 1024.0;
/// Time between two acts, in microseconds.
const ACT_US: std::ops::RangeInclusive<u64> = 60_000..=120_000;
/// An honest player waits while so many of its steps are not acknowledged: a datagram holds 16.
const STEPS_WAITING_MAX: u32 = 12;
/// After this time without an avatar a player tries anew, in microseconds.
const JOIN_PATIENCE_US: u64 = 4_000_000;
/// Unanswered commands with which a player waits.
const COMMANDS_WAITING_MAX: usize = 8;

/// One player.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) account: String,
    pub(super) honest: bool,
    /// The connection that it acts through.
    pub(super) connection: Option<ConnId>,
    /// It stays away until then.
    away_until_us: u64,
    acted_us: u64,
    goal: (i32, i32),
    dice: Dice,
}

impl Player {
    pub(super) fn new(number: usize, seed: u64, cheaters: bool) -> Self {
        let mut dice = Dice::new(seed, 100 + number as u64);
        Self {
            account: format!("p{number}"),
            honest: !(cheaters && dice.chance(120)),
            connection: None,
            away_until_us: 0,
            acted_us: 0,
            goal: (0, 0),
            dice,
        }
    }

    /// The next step towards its goal, as far as it gets since its last act.
    fn step(&mut self, from: Pos, now_us: u64) -> Step {
        let to = (
            f64::from(self.goal.0) - f64::from(from.x),
            f64::from(self.goal.1) - f64::from(from.z),
        );
        let far = to.0.hypot(to.1);
        if far < 1024.0 {
            let mut coordinate = || self.dice.below(2 * HALF_SIDE as u64) as i32 - HALF_SIDE;
            self.goal = (coordinate(), coordinate());
        }
        let speed = if self.honest { SPEED } else { CHEATING_SPEED };
        let reach = speed * (now_us - self.acted_us).min(*ACT_US.end()) as f64 / 1e6;
        let part = (reach / far.max(1.0)).min(1.0);
        // Towards zero, so that no rounding makes it faster.
        Step {
            dx: (to.0 * part) as i32,
            dz: (to.1 * part) as i32,
        }
    }
}

impl Cluster {
    /// A player does something, and again later.
    pub(super) fn player_acts(&mut self, number: usize) -> Checked {
        let player = &mut self.players[number];
        let again_us = self.now_us + player.dice.within(ACT_US);
        self.agenda.put(again_us, Event::PlayerActs(number));
        let conn = player.connection;
        match conn.filter(|conn| self.connections.contains_key(conn)) {
            None => self.player_comes(number),
            Some(conn) => {
                let connection = &self.connections[&conn];
                let waited_us = self.now_us - connection.began_us;
                if connection.is_present() {
                    self.player_plays(number, conn)?;
                } else if !connection.client_over && waited_us > JOIN_PATIENCE_US {
                    self.player_gives_up(conn, CloseReason::Lost)?;
                }
            }
        }
        self.players[number].acted_us = self.now_us;
        Ok(())
    }

    fn player_comes(&mut self, number: usize) {
        if self.now_us < self.players[number].away_until_us {
            return;
        }
        let gateway = self.players[number].dice.below(self.gateways.len() as u64) as usize;
        self.players[number].connection = self.connect(number, gateway);
        if let Some(conn) = self.players[number].connection {
            // The greeting is already waiting to be sent.
            let sent = self.drive(conn);
            debug_assert!(sent.is_ok(), "a new client has told nothing");
        }
    }

    fn player_plays(&mut self, number: usize, conn: ConnId) -> Checked {
        self.player_steps(number, conn);
        let dice = &mut self.players[number].dice;
        let (commands, goes) = (dice.chance(120), dice.chance(8));
        if commands && !self.is_silent {
            self.player_commands(number, conn);
        }
        if goes && !self.is_calm {
            return self.player_goes(number, conn);
        }
        self.drive(conn)
    }

    fn player_steps(&mut self, number: usize, conn: ConnId) {
        let (player, now_us) = (&mut self.players[number], self.now_us);
        let connection = self.connections.get_mut(&conn).expect("the caller found it");
        let (Some(session), Some(joined)) = (connection.session, connection.client.joined()) else {
            return;
        };
        let Some(epoch) = connection.notes.lanes.get(&joined.avatar.lane) else {
            return;
        };
        let name = (*epoch, joined.avatar.slot, joined.avatar.generation);
        if connection.numbering != Some(name) {
            connection.numbering = Some(name);
            self.book.number_anew(session, name, joined.intent_seq.0);
        }
        let (Some(from), Some((acknowledged, _))) = (
            connection.client.own_position(),
            connection.client.own_authoritative(),
        ) else {
            return;
        };
        let step = player.step(from, now_us);
        let taken = self.book.taken(session, name);
        if player.honest && taken.saturating_sub(acknowledged.0) >= STEPS_WAITING_MAX {
            return;
        }
        if connection.client.step(step.dx, step.dz).is_ok() {
            self.book.step(session, name, step);
        }
    }

    fn player_commands(&mut self, number: usize, conn: ConnId) {
        let (player, book) = (&mut self.players[number], &mut self.book);
        let connection = self.connections.get_mut(&conn).expect("the caller found it");
        if connection.numbers.len() >= COMMANDS_WAITING_MAX {
            return;
        }
        let id = book.next_command(&player.account);
        let dice = &mut player.dice;
        let (name, mut arguments) = match dice.below(9) {
            0 => ("wave", vec![]),
            1..=4 => {
                let text = "blah ".repeat(dice.within(20..=200) as usize);
                ("say", vec![Value::Text(text)])
            }
            5 => ("mood", vec![Value::Int(dice.below(10) as i64)]),
            6 => ("refuse", vec![]),
            _ => {
                let mut mask = || Value::Int(dice.pick(&[1, 1, 1, 2, 3]));
                ("cross", vec![mask(), mask()])
            }
        };
        arguments.insert(0, Value::Int(id));
        if let Ok(seq) = connection.client.command(name, arguments) {
            connection.numbers.insert(seq, id);
        }
    }

    /// A player ends its session in one of many ways, or begins another beside it.
    fn player_goes(&mut self, number: usize, conn: ConnId) -> Checked {
        let player = &mut self.players[number];
        let away_us = player.dice.pick(&[0, 500_000, 1_500_000, 4_000_000]);
        player.away_until_us = self.now_us + away_us;
        let account = player.account.clone();
        match player.dice.below(4) {
            0 => {
                self.note(format_args!("{account} says goodbye"));
                self.book.goodbye(&account);
                let connection = self.connections.get_mut(&conn).expect("the caller found it");
                connection.client.leave();
                self.drive(conn)
            }
            1 => {
                self.note(format_args!("{account} closes"));
                self.book.goodbye(&account);
                self.player_gives_up(conn, CloseReason::Left)
            }
            2 => {
                self.note(format_args!("{account} is gone"));
                self.connection_is_lost(conn);
                Ok(())
            }
            _ => {
                self.note(format_args!("{account} logs in again"));
                self.drive(conn)?;
                self.players[number].away_until_us = 0;
                self.player_comes(number);
                Ok(())
            }
        }
    }

    fn player_gives_up(&mut self, conn: ConnId, reason: CloseReason) -> Checked {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.client.handle_closed(reason);
        }
        self.drive(conn)
    }

    /// A client of this player has told that its session is over.
    pub(super) fn player_is_closed(&mut self, number: usize, conn: ConnId, reason: CloseReason) -> Checked {
        let player = &mut self.players[number];
        match reason {
            CloseReason::Left
            | CloseReason::Lost
            | CloseReason::Replaced
            | CloseReason::NoSpace
            | CloseReason::TimedOut => {}
            other => {
                return Err(format!(
                    "{} did nothing wrong, and is closed as {other:?}",
                    player.account
                ));
            }
        }
        if player.connection == Some(conn) {
            player.connection = None;
            let later_us = player.dice.pick(&[0, 200_000, 1_000_000, 3_500_000]);
            let later_us = if self.is_calm {
                later_us.min(200_000)
            } else {
                later_us
            };
            player.away_until_us = player.away_until_us.max(self.now_us + later_us);
        }
        Ok(())
    }

    /// From now on players only walk and talk, and those who are away come back.
    pub(super) fn players_settle(&mut self) {
        for player in &mut self.players {
            player.away_until_us = player.away_until_us.min(self.now_us);
        }
    }
}
