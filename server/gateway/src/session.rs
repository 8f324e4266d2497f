//! One client's session: which message is allowed when, and what it does.
//!
//! ```text
//! Connected --Hello--> Greeted --Login--> LoggedIn --Join--> Attaching --avatar--> Joined
//!     any of them --error, goodbye, timeout, end of the connection--> Closing
//! ```
//! Messages wait in the session's inbox, bounded by rate, until the tick's ingest. A client may send the next
//! message before it has read the answer to the last. Everything a client sends is checked here,
//! in [`crate::login`] or by the wire's decoders, and nowhere later.

use crate::config::GatewayConfig;
use crate::counters::Counters;
use crate::idset::IdSet;
use crate::io::{ClientOutput, ConnId};
use crate::lanes::Lane;
use crate::login;
use crate::presence::Presence;
use crate::telling::Telling;
use crate::view::ClientView;
use bytes::Bytes;
use myriad_wire::client::{ClientMessage, Command, Hello, Identify, Join, LoggedIn, Login, ServerMessage};
use myriad_wire::codec;
use myriad_wire::fabric::{Attach, Detach};
use myriad_wire::lane::home_lane;
use myriad_wire::limits::{DATAGRAM_BYTES_MAX, IDENTIFY_MAX};
use myriad_wire::payload::Intents;
use myriad_wire::{CloseReason, LaneId, SessionId, SubjectRef};
use std::collections::VecDeque;

/// A client that sends so many times the datagrams that one tick allows is closed as `Flood`.
const DATAGRAM_FLOOD_FACTOR: u32 = 32;

/// Most messages of one tick before the join: all that is allowed then, and one more to be refused by name. Bounds
/// what strangers can make the gateway hold.
const MESSAGES_BEFORE_JOIN_MAX: usize = 5;

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    pub(crate) id: SessionId,
    pub(crate) phase: Phase,
    /// The tick of the gateway from which the present deadline counts.
    since: u64,
    inbox: VecDeque<Bytes>,
    datagrams: Vec<Bytes>,
    /// Datagrams since the last tick, dropped ones too.
    datagrams_heard: u32,
    /// More came than any inbox holds.
    flooded: bool,
    /// Thousandths of messages that the client may send now.
    allowance: u64,
    /// Reliable bytes that wait for the client to read, by the edge's last word.
    pub(crate) backlog_bytes: usize,
    account: String,
    pub(crate) presence: Presence,
    /// Whom the interest engine has in view: the sum of all edges of the session's observer, which is inserted once.
    pub(crate) in_view: IdSet,
    /// How many these are.
    pub(crate) in_view_count: u32,
    pub(crate) telling: Telling,
    /// Whom the client asked about since the last tick.
    pub(crate) asked: Vec<SubjectRef>,
    /// What the client was told of that.
    pub(crate) view: ClientView,
    /// The tick of the gateway in which its lane's routes named it last.
    pub(crate) named_at: u64,
    /// In how many of its lane's routes it has not been named since.
    pub(crate) unnamed_ticks: u32,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for `Hello`.
    Connected,
    /// Waits for `Login`.
    Greeted,
    /// Waits for `Join`.
    LoggedIn,
    /// Waits for its lane to give it its avatar.
    Attaching,
    /// Has its avatar and a view.
    Joined,
    /// Is over; the tick's send stage says so and forgets it.
    Closing(Closing),
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) reason: CloseReason,
    /// The client is there to be told.
    pub(crate) tell_client: bool,
    /// Its lane is to be told, and whether the player said goodbye.
    pub(crate) detach: Option<Detach>,
}

/// What a session's messages act upon.
pub(crate) struct Door<'a> {
    /// The tick of the gateway.
    pub(crate) now: u64,
    /// Ticks that a login, or a wait for an avatar, may take.
    pub(crate) timeout_ticks: u64,
    /// Thousandths of messages that each client earns in a tick.
    pub(crate) allowance_per_tick: u64,
    pub(crate) config: &'a GatewayConfig,
    pub(crate) homes: &'a [LaneId],
    pub(crate) lanes: &'a mut [Lane],
    pub(crate) counters: &'a mut Counters,
    pub(crate) out: &'a mut Vec<ClientOutput>,
}

/// What one message costs of the allowance.
const MESSAGE_COST: u64 = 1000;

impl Session {
    pub(crate) fn new(conn: ConnId, id: SessionId, now: u64, config: &GatewayConfig) -> Self {
        Self {
            conn,
            id,
            phase: Phase::Connected,
            since: now,
            inbox: VecDeque::new(),
            datagrams: Vec::new(),
            datagrams_heard: 0,
            flooded: false,
            allowance: u64::from(config.messages_burst) * MESSAGE_COST,
            backlog_bytes: 0,
            account: String::new(),
            presence: Presence::default(),
            in_view: IdSet::default(),
            in_view_count: 0,
            telling: Telling::Listed { complete: true },
            asked: Vec::new(),
            view: ClientView::default(),
            named_at: 0,
            unnamed_ticks: 0,
        }
    }

    /// A message arrived; it waits for the tick.
    pub(crate) fn push_message(&mut self, message: Bytes, config: &GatewayConfig) {
        // The allowance never exceeds the burst, so more than the burst is a flood whatever happens.
        let joined = matches!(self.phase, Phase::Joined);
        let most = if joined {
            config.messages_burst as usize
        } else {
            MESSAGES_BEFORE_JOIN_MAX
        };
        if self.inbox.len() >= most {
            self.flooded = true;
        } else {
            self.inbox.push_back(message);
        }
    }

    /// A datagram arrived; it waits for the tick.
    pub(crate) fn push_datagram(&mut self, datagram: Bytes, config: &GatewayConfig, counters: &mut Counters) {
        self.datagrams_heard = self.datagrams_heard.saturating_add(1);
        if self.datagrams_heard <= config.datagrams_per_tick {
            self.datagrams.push(datagram);
        } else {
            counters.datagrams_dropped += 1;
            self.flooded |= self.datagrams_heard > config.datagrams_per_tick * DATAGRAM_FLOOD_FACTOR;
        }
    }

    /// Whether the session has or wants an avatar at lane number `lane`.
    pub(crate) fn is_at(&self, lane: usize) -> bool {
        matches!(self.phase, Phase::Attaching | Phase::Joined) && self.presence.lane == lane
    }

    /// The number of the lane that is asked for its account's avatar first: the same at every gateway of the space, so that
    /// the lane sees when an account logs in twice.
    pub(crate) fn home(&self, homes: &[LaneId], lanes: &[Lane]) -> usize {
        let home = home_lane(&self.account, homes.iter().copied());
        let place = lanes.iter().position(|lane| lane.is_open() && lane.id == home);
        place.expect("a home is a lane that is open")
    }

    /// What its lane must be told to give it its avatar.
    pub(crate) fn attach(&self) -> Attach {
        Attach {
            session: self.id,
            account: self.account.clone(),
        }
    }

    /// Ends the session, for a reason of the gateway or of its client.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        let left = reason == CloseReason::Left;
        let attached = matches!(self.phase, Phase::Attaching | Phase::Joined);
        let detach = attached.then_some(Detach {
            session: self.id,
            left,
        });
        self.end(Closing {
            reason,
            tell_client: true,
            detach,
        });
    }

    /// The lane has ended the session.
    pub(crate) fn ended_by_lane(&mut self, reason: CloseReason) {
        self.end(Closing {
            reason,
            tell_client: true,
            detach: None,
        });
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, reason: CloseReason) {
        self.close(reason);
        if let Phase::Closing(closing) = &mut self.phase {
            closing.tell_client = false;
        }
    }

    /// The first reason to end is the one that counts.
    fn end(&mut self, closing: Closing) {
        if !matches!(self.phase, Phase::Closing(_)) {
            self.phase = Phase::Closing(closing);
        }
    }

    /// Takes what arrived since the last tick.
    pub(crate) fn ingest(&mut self, door: &mut Door) {
        self.datagrams_heard = 0;
        let burst = u64::from(door.config.messages_burst) * MESSAGE_COST;
        self.allowance = (self.allowance + door.allowance_per_tick).min(burst);
        let outcome = self.take_messages(door).and_then(|()| self.take_datagrams(door));
        if let Err(reason) = outcome.and_then(|()| self.check_deadline(door)) {
            self.close(reason);
        }
    }

    fn check_deadline(&self, door: &Door) -> Result<(), CloseReason> {
        let late = door.now - self.since > door.timeout_ticks;
        match self.phase {
            Phase::Connected | Phase::Greeted | Phase::LoggedIn if late => Err(CloseReason::TimedOut),
            Phase::Attaching if late => Err(CloseReason::NoSpace),
            _ => Ok(()),
        }
    }

    fn take_messages(&mut self, door: &mut Door) -> Result<(), CloseReason> {
        while let Some(bytes) = self.inbox.pop_front() {
            let message = ClientMessage::from_bytes(&bytes);
            // A client in a crowd asks every tick: that has an allowance of its own.
            if !matches!(message, Ok(ClientMessage::Identify(_))) {
                if self.allowance < MESSAGE_COST {
                    return Err(CloseReason::Flood);
                }
                self.allowance -= MESSAGE_COST;
            }
            self.take_message(message?, door)?;
        }
        if self.flooded {
            Err(CloseReason::Flood)
        } else {
            Ok(())
        }
    }

    fn take_message(&mut self, message: ClientMessage, door: &mut Door) -> Result<(), CloseReason> {
        match message {
            ClientMessage::Hello(hello) => self.take_hello(&hello, door),
            ClientMessage::Login(login) => self.take_login(login, door),
            ClientMessage::Join(join) => self.take_join(join, door),
            ClientMessage::Command(command) => self.take_command(command, door),
            ClientMessage::Identify(identify) => self.take_identify(identify, door),
            ClientMessage::Leave => Err(CloseReason::Left),
        }
    }

    fn expect(&self, phase: Phase) -> Result<(), CloseReason> {
        if self.phase == phase {
            Ok(())
        } else {
            Err(CloseReason::OutOfOrder)
        }
    }

    fn take_hello(&mut self, hello: &Hello, door: &mut Door) -> Result<(), CloseReason> {
        self.expect(Phase::Connected)?;
        let welcome = login::greet(hello)?;
        self.phase = Phase::Greeted;
        door.send(self.conn, &ServerMessage::Welcome(welcome));
        Ok(())
    }

    fn take_login(&mut self, login: Login, door: &mut Door) -> Result<(), CloseReason> {
        self.expect(Phase::Greeted)?;
        login::admit(&login, &door.config.login)?;
        self.account = login.account;
        self.phase = Phase::LoggedIn;
        door.send(self.conn, &ServerMessage::LoggedIn(LoggedIn { session: self.id }));
        Ok(())
    }

    fn take_join(&mut self, join: Join, door: &mut Door) -> Result<(), CloseReason> {
        self.expect(Phase::LoggedIn)?;
        if join.space != door.config.space {
            return Err(CloseReason::NoSpace);
        }
        self.presence = Presence::new(self.home(door.homes, door.lanes));
        self.phase = Phase::Attaching;
        self.since = door.now;
        door.lanes[self.presence.lane].report.attach.push(self.attach());
        Ok(())
    }

    fn take_command(&mut self, command: Command, door: &mut Door) -> Result<(), CloseReason> {
        self.expect(Phase::Joined)?;
        self.presence.take_command(command, door.counters)
    }

    /// Questions that come within a tick are answered together, as far as one may have asked: the network may have held
    /// up the one before.
    fn take_identify(&mut self, identify: Identify, door: &mut Door) -> Result<(), CloseReason> {
        self.expect(Phase::Joined)?;
        if self.asked.len() + identify.subjects.len() > IDENTIFY_MAX {
            door.counters.identifies_refused += 1;
        } else {
            door.counters.identities_asked += identify.subjects.len() as u64;
            self.asked.extend(identify.subjects);
        }
        Ok(())
    }

    fn take_datagrams(&mut self, door: &mut Door) -> Result<(), CloseReason> {
        for bytes in self.datagrams.drain(..) {
            if bytes.len() > DATAGRAM_BYTES_MAX {
                return Err(CloseReason::Oversized);
            }
            let intents = Intents::decode(&bytes).map_err(|error| error.close_reason())?;
            if self.phase == Phase::Joined {
                let report = &mut door.lanes[self.presence.lane].report;
                self.presence
                    .take_intents(self.id, intents, report, door.counters)?;
            } else {
                // Datagrams may overtake the stream, so this is no fault.
                door.counters.datagrams_early += 1;
            }
        }
        Ok(())
    }
}

impl Door<'_> {
    fn send(&mut self, conn: ConnId, message: &ServerMessage) {
        send_message(conn, message, self.out, self.counters);
    }
}

/// Puts a message out behind its length prefix.
pub(crate) fn send_message(
    conn: ConnId,
    message: &ServerMessage,
    out: &mut Vec<ClientOutput>,
    counters: &mut Counters,
) {
    let mut bytes = Vec::new();
    codec::frame_into(message, &mut bytes);
    counters.stream_bytes_sent += bytes.len() as u64;
    out.push(ClientOutput::Message(conn, bytes.into()));
}
