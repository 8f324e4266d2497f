//! What arrives: messages of the stream in their order, and the head of each payload, which waits for none.

use super::{Client, Present, State};
use crate::avatar::{Avatar, Reconciled};
use crate::clock::ClockMap;
use crate::crowd::rule::Reach;
use crate::event::ClientEvent;
use crate::limits::{CORRECTIONS_MAX, QUEUE_BYTES_MAX, TICK_MAX};
use crate::order::Message;
use bytes::Bytes;
use myriad_wire::client::{ClientMessage, Identify, Joined, ServerMessage};
use myriad_wire::codec::LENGTH_BYTES;
use myriad_wire::crowd::message::{is_crowd, take_head};
use myriad_wire::limits::{VERSION_MAX, VERSION_MIN};
use myriad_wire::payload::{OwnRecord, PayloadHeader};
use myriad_wire::{CloseReason, CommandSeq, Tick};
use std::collections::VecDeque;

impl Client {
    pub(super) fn handle_message(&mut self, bytes: Bytes) {
        let size = LENGTH_BYTES + bytes.len();
        self.counters.messages += 1;
        if is_crowd(&bytes) {
            self.handle_crowd(bytes, size);
            return;
        }
        let message = match ServerMessage::from_bytes(&bytes) {
            Ok(message) => message,
            Err(fault) => {
                self.counters.malformed += 1;
                self.fail(fault.close_reason());
                return;
            }
        };
        let bytes = &mut self.counters.bytes;
        *match message {
            ServerMessage::View(_) => &mut bytes.view,
            ServerMessage::Identity(_) => &mut bytes.identity,
            _ => &mut bytes.messages,
        } += size as u64;
        match (&mut self.state, message) {
            (State::Greeting, ServerMessage::Welcome(welcome)) => {
                if (VERSION_MIN..=VERSION_MAX).contains(&welcome.version) {
                    self.state = State::LoggingIn;
                } else {
                    self.fail(CloseReason::Version);
                }
            }
            (State::LoggingIn, ServerMessage::LoggedIn(_)) => {
                self.state = State::Joining;
            }
            (State::Joining, ServerMessage::Joined(joined)) => self.handle_joined(*joined),
            (State::Present(_), ServerMessage::Joined(joined)) => self.handle_joined_again(*joined),
            (State::Present(present), ServerMessage::View(update)) => {
                if update.tick.0 > TICK_MAX {
                    self.fail(CloseReason::Malformed);
                    return;
                }
                present.views += 1;
                present.clock.note(update.tick, self.now_us);
                self.view.note(update.tick);
                self.enqueue(Message::View(update), size);
            }
            (State::Present(_), ServerMessage::Listed(listed)) => {
                if listed.tick.0 > TICK_MAX {
                    self.fail(CloseReason::Malformed);
                    return;
                }
                self.view.note(listed.tick);
                self.enqueue(Message::Listed(listed), size);
            }
            (State::Present(_), ServerMessage::Identity(identity)) => {
                if identity.tick.0 > TICK_MAX {
                    self.fail(CloseReason::Malformed);
                    return;
                }
                self.enqueue(Message::Identity(identity), size);
            }
            (State::Present(_), ServerMessage::Owner(update)) => self.enqueue(Message::Owner(update), size),
            (State::Present(present), ServerMessage::CommandResult(result)) => {
                match present.commands.iter().position(|seq| *seq == result.seq) {
                    Some(at) => {
                        present.commands.remove(at);
                        self.enqueue(Message::Result(result), size);
                    }
                    None => self.counters.contradictions += 1,
                }
            }
            _ => self.fail(CloseReason::OutOfOrder),
        }
    }

    /// A crowd message: its head is read at once, the rest when its turn comes.
    fn handle_crowd(&mut self, bytes: Bytes, size: usize) {
        let State::Present(present) = &mut self.state else {
            self.fail(CloseReason::OutOfOrder);
            return;
        };
        let head = match take_head(&mut &bytes[..]) {
            Ok(head) if head.tick.0 <= TICK_MAX => head,
            _ => {
                self.counters.malformed += 1;
                self.fail(CloseReason::Malformed);
                return;
            }
        };
        present.views += u64::from(head.begins);
        present.clock.note(head.tick, self.now_us);
        self.view.note(head.tick);
        self.enqueue(Message::Crowd(head.tick, bytes), size);
    }

    /// Asks who near subjects are, once a tick.
    pub(super) fn ask(&mut self) {
        let per_s = u64::from(self.config.identities_per_s);
        let State::Present(present) = &mut self.state else {
            return;
        };
        let newest = self.view.newest;
        let count = (per_s * present.clock.period_us()).div_ceil(1_000_000) as usize;
        if count == 0 || present.left || newest <= present.asked {
            return;
        }
        present.asked = newest;
        let subjects = self.view.crowd.ask(newest, count);
        if !subjects.is_empty() {
            self.send(&ClientMessage::Identify(Identify { subjects }));
        }
    }

    fn handle_joined(&mut self, joined: Joined) {
        if joined.space != self.config.space {
            self.fail(CloseReason::Malformed);
            return;
        }
        let clock = ClockMap::new(joined.clock);
        let reach = Reach::new(joined.rules.radius_aoi);
        self.order.set_period_us(clock.period_us());
        self.view.crowd.set_joined(&joined);
        self.state = State::Present(Box::new(Present {
            avatar: Avatar::new(&joined),
            clock,
            joined,
            seen_tick: Tick(0),
            steps_due: false,
            steps_sent_us: 0,
            command_seq: CommandSeq(0),
            commands: VecDeque::new(),
            left: false,
            views: 0,
            own_behind: None,
            reach,
            asked: Tick(0),
        }));
    }

    /// The part of the server that held the avatar was replaced: avatar, numbers and laws are new, the view and the
    /// unanswered commands stand.
    fn handle_joined_again(&mut self, joined: Joined) {
        let State::Present(present) = &mut self.state else {
            return;
        };
        if joined.space != self.config.space {
            self.fail(CloseReason::Malformed);
            return;
        }
        present.avatar = Avatar::new(&joined);
        if present.joined.clock != joined.clock {
            present.clock = ClockMap::new(joined.clock);
            self.order.set_period_us(present.clock.period_us());
        }
        present.own_behind = Some(present.views);
        present.reach = Reach::new(joined.rules.radius_aoi);
        self.view.crowd.set_joined(&joined);
        present.steps_due = false;
        present.joined = joined;
        self.join_told = false;
    }

    fn enqueue(&mut self, message: Message, bytes: usize) {
        self.order.handle_message(message, bytes, self.now_us);
        if self.order.queue_bytes() > QUEUE_BYTES_MAX {
            self.fail(CloseReason::Oversized);
        }
    }

    /// The clock and the own record do not wait for the stream.
    pub(super) fn handle_header(&mut self, header: &PayloadHeader) {
        let State::Present(present) = &mut self.state else {
            return;
        };
        present.clock.note(header.tick, self.now_us);
        present.seen_tick = present.seen_tick.max(header.tick);
        let behind = present.own_behind.is_none_or(|views| header.view_seq > views);
        if behind {
            self.handle_own(header.tick, &header.own);
        }
    }

    fn handle_own(&mut self, tick: Tick, own: &OwnRecord) {
        let State::Present(present) = &mut self.state else {
            return;
        };
        match present.avatar.reconcile(tick, own) {
            Reconciled::Agreed => {}
            Reconciled::Impossible => self.counters.contradictions += 1,
            Reconciled::Corrected { predicted, actual } => {
                self.counters.corrections += 1;
                if self.corrections.len() >= CORRECTIONS_MAX {
                    self.corrections.pop_front();
                }
                self.corrections.push_back(ClientEvent::Corrected {
                    tick,
                    predicted,
                    actual,
                });
            }
        }
    }
}
