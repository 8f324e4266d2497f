//! The client's core: bytes in, events and bytes out.

mod arrival;

use crate::avatar::Avatar;
use crate::clock::ClockMap;
use crate::counters::Counters;
use crate::crowd::rule::{Reach, Sight};
use crate::crowd::{OwnTracks, TrackStore};
use crate::event::{ClientConfig, ClientEvent, CommandError, IntentError};
use crate::limits::{COMMANDS_MAX, QUEUE_BYTES_PAUSE, TICK_MAX};
use crate::motion::{Shown, delay_ticks};
use crate::order::Order;
use crate::view::{Tier, View};
use bytes::Bytes;
use myriad_wire::client::{ClientMessage, Command, Hello, Join, Joined, Login};
use myriad_wire::codec::{self, Deframer};
use myriad_wire::limits::{
    ARGUMENTS_MAX, CLIENT_MESSAGE_BYTES_MAX, DATAGRAM_BYTES_MAX, NAME_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX,
    TEXT_BYTES_MAX, VERSION_MAX, VERSION_MIN,
};
use myriad_wire::payload::{Step, decode_payload};
use myriad_wire::track::Level;
use myriad_wire::{CloseReason, CommandSeq, IntentSeq, Pos, SubjectRef, Tick, Value};
use std::collections::VecDeque;

/// Unacknowledged steps are sent again after this many ticks without a new one.
const RESEND_TICKS: u64 = 2;

/// One client's session, without its connection: logs in, joins, predicts the own avatar, holds the view.
///
/// Calls: hand in what arrives ([`Self::handle_stream`], [`Self::handle_datagram`], [`Self::handle_closed`]) and
/// the time ([`Self::advance`]); then take events ([`Self::poll_event`]) until there is none; then send
/// what [`Self::poll_stream`] and [`Self::poll_datagram`] give. Telling is lazy: the view is exactly as of the
/// last event taken, so a client whose events are not taken stands still (and [`Self::wants_stream`] says so).
///
/// `now_us` is microseconds of any one clock that does not run back; it needs not agree with the server's.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    state: State,
    deframer: Deframer,
    order: Order,
    view: View,
    counters: Counters,
    now_us: u64,
    /// Framed messages to be sent.
    outgoing: Vec<u8>,
    /// Corrections to be told, ahead of what [`Order`] tells.
    corrections: VecDeque<ClientEvent>,
    join_told: bool,
    /// Why the session ended.
    closed: Option<CloseReason>,
    close_told: bool,
}

/// How far the session has come.
#[derive(Debug)]
enum State {
    /// `Hello` is sent.
    Greeting,
    /// `Login` is sent.
    LoggingIn,
    /// `Join` is sent.
    Joining,
    /// In the world.
    Present(Box<Present>),
}

/// What there is once the session has joined.
#[derive(Debug)]
struct Present {
    joined: Joined,
    clock: ClockMap,
    avatar: Avatar,
    /// The newest tick of which a payload was read.
    seen_tick: Tick,
    /// Steps are to be sent, again or for the first time.
    steps_due: bool,
    steps_sent_us: u64,
    command_seq: CommandSeq,
    /// Unanswered commands.
    commands: VecDeque<CommandSeq>,
    /// Goodbye is said: no more intents.
    left: bool,
    /// `View` messages received, and those with which a crowd begins.
    views: u64,
    /// So many came before the last `Joined`, if that was not the first: own records behind no more of them are of
    /// the avatar before. Behind it comes one at once, since the avatar enters by its new name.
    own_behind: Option<u64>,
    reach: Reach,
    /// The newest tick in which identities were asked for.
    asked: Tick,
}

impl Client {
    /// A client about to greet the server.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let mut client = Self {
            state: State::Greeting,
            deframer: Deframer::new(SERVER_MESSAGE_BYTES_MAX),
            order: Order::new(),
            view: View::default(),
            counters: Counters::default(),
            now_us: 0,
            outgoing: Vec::new(),
            corrections: VecDeque::new(),
            join_told: false,
            closed: None,
            close_told: false,
            config,
        };
        client.view.crowd.edges = client.config.crowd_edges;
        let agent = client.config.agent.clone();
        client.send(&ClientMessage::Hello(Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: 0,
            agent,
        }));
        // Nothing of what follows depends on the answers, each of which would take a tick of the server.
        client.send(&ClientMessage::Login(Login {
            account: client.config.account.clone(),
            key: client.config.key.clone(),
        }));
        client.send(&ClientMessage::Join(Join {
            space: client.config.space,
        }));
        client
    }

    // What arrives.

    /// Bytes of the stream arrived.
    pub fn handle_stream(&mut self, bytes: &[u8], now_us: u64) {
        self.advance(now_us);
        if self.closed.is_some() {
            return;
        }
        self.deframer.handle_bytes(bytes);
        while self.closed.is_none() {
            match self.deframer.poll_message() {
                Ok(Some(message)) => self.handle_message(message),
                Ok(None) => break,
                Err(fault) => self.fail(fault.close_reason()),
            }
        }
        if self.deframer.is_empty() {
            // Its buffer stays as large as the largest message was, which in a process of many clients is what most
            // of the memory went to.
            self.deframer = Deframer::new(SERVER_MESSAGE_BYTES_MAX);
        }
    }

    /// Whether more of the stream may be handed in: if not, take events first.
    #[must_use]
    pub fn wants_stream(&self) -> bool {
        self.order.queue_bytes() < QUEUE_BYTES_PAUSE
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, datagram: Bytes, now_us: u64) {
        self.handle_datagram_with(datagram, now_us, &mut OwnTracks);
    }

    /// As [`Self::handle_datagram`], but with near states decoded in `store`: see [`Self::poll_event_with`].
    pub fn handle_datagram_with(&mut self, datagram: Bytes, now_us: u64, store: &mut dyn TrackStore) {
        self.advance(now_us);
        if self.closed.is_some() {
            return;
        }
        self.counters.datagrams += 1;
        let (mut near, mut crowd) = (0, 0);
        let decoded = decode_payload(&datagram, |_, _, chunk| {
            let is_near = chunk.first().copied().and_then(Level::new) == Some(Level::NEAR);
            *(if is_near { &mut near } else { &mut crowd }) += chunk.len() as u64;
        });
        let header = match decoded {
            Ok(header) if header.tick.0 <= TICK_MAX && datagram.len() <= DATAGRAM_BYTES_MAX => header,
            _ => {
                self.counters.malformed += 1;
                return;
            }
        };
        self.counters.bytes.near += near;
        self.counters.bytes.crowd += crowd;
        self.counters.bytes.own += datagram.len() as u64 - near - crowd;
        self.view.note(header.tick);
        self.handle_header(&header);
        self.order
            .handle_payload(&header, datagram, &mut self.view, store, &mut self.counters);
        self.ask();
    }

    /// The connection ended. What was read is still told, then [`ClientEvent::Closed`].
    pub fn handle_closed(&mut self, reason: CloseReason) {
        self.fail(reason);
    }

    /// Time passed.
    pub fn advance(&mut self, now_us: u64) {
        self.now_us = self.now_us.max(now_us);
        if let State::Present(present) = &mut self.state
            && present.avatar.is_waiting()
            && self.now_us >= present.resend_us()
        {
            present.steps_due = true;
        }
    }

    /// When [`Self::advance`] should be called although nothing arrives.
    #[must_use]
    pub fn next_timeout_us(&self) -> Option<u64> {
        let resend_us = match &self.state {
            State::Present(present) if present.avatar.is_waiting() && !present.left => {
                Some(present.resend_us())
            }
            _ => None,
        };
        let order_us = self.order.next_timeout_us();
        order_us
            .into_iter()
            .chain(resend_us)
            .min()
            .filter(|_| self.closed.is_none())
    }

    // What is to be done.

    /// Framed bytes for the stream, if there are any.
    pub fn poll_stream(&mut self) -> Option<Vec<u8>> {
        let is_due = !self.outgoing.is_empty() && self.closed.is_none();
        is_due.then(|| std::mem::take(&mut self.outgoing))
    }

    /// A datagram to send, if there is one.
    pub fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        let State::Present(present) = &mut self.state else {
            return None;
        };
        if !present.steps_due || present.left || self.closed.is_some() {
            return None;
        }
        present.steps_due = false;
        present.steps_sent_us = self.now_us;
        present.avatar.datagram(present.seen_tick)
    }

    /// The next event, if something is to be told.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.poll_event_with(&mut OwnTracks)
    }

    /// As [`Self::poll_event`], but with tracks decoded in `store`: for a process that holds many clients. They are
    /// decoded when their turn to be told comes, so not before.
    pub fn poll_event_with(&mut self, store: &mut dyn TrackStore) -> Option<ClientEvent> {
        if !self.join_told && matches!(self.state, State::Present(_)) {
            self.join_told = true;
            return Some(ClientEvent::Joined);
        }
        if let Some(correction) = self.corrections.pop_front() {
            return Some(correction);
        }
        let is_over = self.closed.is_some();
        let state = &self.state;
        let sight = || match state {
            State::Present(present) => Some(present.sight()),
            State::Greeting | State::LoggingIn | State::Joining => None,
        };
        let (view, counters) = (&mut self.view, &mut self.counters);
        match self
            .order
            .poll(self.now_us, is_over, sight, view, store, counters)
        {
            Ok(Some(event)) => return Some(event),
            Ok(None) => {}
            Err(fault) => self.fail(fault.close_reason()),
        }
        let reason = self.closed.filter(|_| !self.close_told)?;
        self.close_told = true;
        Some(ClientEvent::Closed(reason))
    }

    // What the player does.

    /// Moves the own avatar by `dx` (east) and `dz` (south) position units: at once in [`Self::own_position`],
    /// at the server when the intent arrives there.
    ///
    /// # Errors
    /// If there is no avatar, or the step is too far.
    pub fn step(&mut self, dx: i32, dz: i32) -> Result<IntentSeq, IntentError> {
        let present = self.acting().ok_or(IntentError::NotJoined)?;
        let (seq, lost) = present.avatar.step(Step { dx, dz })?;
        present.steps_due = true;
        self.counters.intents_lost += u64::from(lost);
        Ok(seq)
    }

    /// Sends a command. [`ClientEvent::CommandResult`] with the number returned will tell what became of it.
    ///
    /// # Errors
    /// If the session is not in the world, too many commands are unanswered, or this one is beyond a limit.
    pub fn command(&mut self, name: &str, arguments: Vec<Value>) -> Result<CommandSeq, CommandError> {
        let present = self.acting().ok_or(CommandError::NotJoined)?;
        if present.commands.len() >= COMMANDS_MAX {
            return Err(CommandError::Unanswered);
        }
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(CommandError::Name);
        }
        let is_allowed = |value: &Value| match value {
            Value::Text(text) => text.len() <= TEXT_BYTES_MAX,
            Value::Float(number) => number.is_finite(),
            Value::Bool(_) | Value::Int(_) => true,
        };
        if arguments.len() > ARGUMENTS_MAX || !arguments.iter().all(is_allowed) {
            return Err(CommandError::Arguments);
        }
        let next = present
            .command_seq
            .0
            .checked_add(1)
            .ok_or(CommandError::Exhausted)?;
        let seq = CommandSeq(next);
        let message = ClientMessage::Command(Command {
            seq,
            name: name.to_owned(),
            arguments,
        });
        if codec::encode(&message).len() > CLIENT_MESSAGE_BYTES_MAX {
            return Err(CommandError::TooLong);
        }
        present.command_seq = seq;
        present.commands.push_back(seq);
        self.send(&message);
        Ok(seq)
    }

    /// Says goodbye: the avatar leaves the world at once, and the server closes the connection.
    pub fn leave(&mut self) {
        if let Some(present) = self.acting() {
            present.left = true;
            self.send(&ClientMessage::Leave);
        }
    }

    // What there is.

    /// What the server said at the join.
    #[must_use]
    pub fn joined(&self) -> Option<&Joined> {
        self.present().map(|present| &present.joined)
    }

    /// Why the session is over, if it is. A skin closes the connection with this reason's code.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// Who is in view, as of the last event taken.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The tick of the newest message about the view that was told. States may be newer.
    #[must_use]
    pub fn told_tick(&self) -> Tick {
        self.order.told_tick()
    }

    /// The newest tick of which a payload was read.
    #[must_use]
    pub fn seen_tick(&self) -> Option<Tick> {
        self.present().map(|present| present.seen_tick)
    }

    /// Where the own avatar is when all steps so far have been applied: the prediction.
    #[must_use]
    pub fn own_position(&self) -> Option<Pos> {
        self.present().map(|present| present.avatar.predicted())
    }

    /// The last step the server said it has applied, and where the avatar was then.
    #[must_use]
    pub fn own_authoritative(&self) -> Option<(IntentSeq, Pos)> {
        self.present().map(|present| present.avatar.authoritative())
    }

    /// The space's tick at `now_us` with its fraction, one quickest journey behind the server's. `None` before
    /// anything arrived.
    #[must_use]
    pub fn tick_now(&self, now_us: u64) -> Option<f64> {
        self.present()?.clock.tick_now(now_us)
    }

    /// The local clock minus the space's, in microseconds, the quickest journey included.
    #[must_use]
    pub fn offset_us(&self) -> Option<i64> {
        self.present()?.clock.offset_us()
    }

    /// Where to show a subject at `now_us`: where it was [`Self::delay_us`] earlier, between two states.
    #[must_use]
    pub fn shown(&self, subject: SubjectRef, now_us: u64) -> Option<Shown> {
        Some(self.view.get(subject)?.shown(self.tick_now(now_us)?))
    }

    /// The interpolation delay of subjects whose states come in `level`, in microseconds. Zero before the join.
    #[must_use]
    pub fn delay_us(&self, level: Option<Level>) -> u64 {
        self.present()
            .map_or(0, |present| delay_ticks(level) * present.clock.period_us())
    }

    /// The interpolation delay of subjects of this tier, in microseconds. Zero before the join. In a crowd a subject
    /// that has just changed its tier is on the way from one delay to the other: [`Shown::tick`] says where.
    #[must_use]
    pub fn tier_delay_us(&self, tier: Tier) -> u64 {
        match tier {
            Tier::Listed(level) => self.delay_us(level),
            Tier::Near => self.delay_us(Some(Level::NEAR)),
            Tier::Crowd => self.present().map_or(0, |present| {
                (u64::from(present.joined.rules.crowd_period) + 1) * present.clock.period_us()
            }),
        }
    }

    /// What was received and what became of it.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    // Inside.

    fn present(&self) -> Option<&Present> {
        match &self.state {
            State::Present(present) => Some(present),
            State::Greeting | State::LoggingIn | State::Joining => None,
        }
    }

    /// What intents need: an avatar, in a session that is not over.
    fn acting(&mut self) -> Option<&mut Present> {
        match &mut self.state {
            State::Present(present) if !present.left && self.closed.is_none() => Some(present),
            _ => None,
        }
    }

    fn send(&mut self, message: &ClientMessage) {
        codec::frame_into(message, &mut self.outgoing);
    }

    /// The session is over. The first reason stands.
    fn fail(&mut self, reason: CloseReason) {
        self.closed.get_or_insert(reason);
    }
}

impl Present {
    /// From where and how far the client sees.
    fn sight(&self) -> Sight {
        Sight {
            own: self.joined.avatar,
            entity: self.joined.entity,
            at: self.avatar.authoritative().1,
            tick: self.seen_tick,
            reach: self.reach,
        }
    }

    /// When unacknowledged steps are to be sent again.
    fn resend_us(&self) -> u64 {
        let wait_us = RESEND_TICKS * self.clock.period_us();
        self.steps_sent_us.saturating_add(wait_us)
    }
}
