//! When things are told: the stream's messages and the datagrams' states, in one order whatever the packets did.
//!
//! Of one tick: enters, property changes, states, events, leaves. The stream keeps its own order; a datagram says
//! how many `View` messages came before its states, and waits until they are told. The other way round, a view
//! with events or leaves waits for the states of its tick, until all their datagrams are in, or one of a later
//! tick, or [`crate::limits::STATES_WAIT_US`] is over. States that come later still are taken subject by subject,
//! unless something of that tick or a later one has been told of the subject ([`crate::motion`] knows).
//!
//! A crowd message takes effect whole when its turn comes. While tracks tell the view no `View` messages are sent, so
//! datagrams wait for none, but for the message with which the crowd begins: it counts as a view. Near states take effect
//! as they come.
//!
//! Nothing is told before it is asked for: [`Order::poll`] moves on by one event, so that the view is always
//! exactly as of the last event told (of a crowd: as of the tick of the last event told).

use crate::counters::Counters;
use crate::crowd::TrackStore;
use crate::crowd::message::Fault;
use crate::crowd::rule::Sight;
use crate::crowd::view::Mode;
use crate::event::ClientEvent;
use crate::limits::{HELD_DATAGRAMS_MAX, STATES_WAIT_US};
use crate::listed::{Entered, Overfull};
use crate::view::View;
use bytes::Bytes;
use myriad_wire::Tick;
use myriad_wire::client::{
    Change, CommandResult, Enter, Event, Identity, IdentityRecord, Leave, LeaveReason, Listed, OwnerUpdate,
    ViewUpdate,
};
use myriad_wire::payload::{PayloadHeader, decode_payload};
use std::collections::VecDeque;
use std::vec::IntoIter;

/// A message of the stream that is to be told.
#[derive(Debug)]
pub(crate) enum Message {
    View(ViewUpdate),
    Owner(OwnerUpdate),
    Result(CommandResult),
    /// Not yet decoded.
    Crowd(Tick, Bytes),
    Listed(Listed),
    Identity(Identity),
}

#[derive(Debug)]
struct Queued {
    message: Message,
    /// Its size on the wire.
    bytes: usize,
    arrived_us: u64,
}

/// A view being told. Each list is drained before the next one begins.
#[derive(Debug)]
struct Open {
    tick: Tick,
    enters: IntoIter<Enter>,
    changes: IntoIter<Change>,
    /// Enters and changes are told; it is the turn of the states, or theirs is over.
    at_states: bool,
    /// The states' turn ends then, whatever is missing.
    deadline_us: u64,
    /// The states' turn is over.
    past_states: bool,
    events: IntoIter<Event>,
    leaves: IntoIter<Leave>,
}

/// A datagram that waits for its turn.
#[derive(Debug)]
struct Held {
    tick: Tick,
    part: u8,
    view_seq: u64,
    datagram: Bytes,
}

/// Which datagrams of the newest tick are in.
#[derive(Debug)]
struct Arrived {
    tick: Tick,
    parts: u8,
    /// One bit for each part that is in.
    seen: [u64; 4],
}

impl Arrived {
    fn new(tick: Tick, parts: u8) -> Self {
        Self {
            tick,
            parts,
            seen: [0; 4],
        }
    }

    /// `false` if the part was in already.
    fn insert(&mut self, part: u8) -> bool {
        let (word, bit) = (&mut self.seen[usize::from(part / 64)], 1 << (part % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn is_complete(&self) -> bool {
        let seen: u32 = self.seen.iter().map(|word| word.count_ones()).sum();
        seen >= u32::from(self.parts)
    }
}

/// The order of telling of one session.
#[derive(Debug)]
pub(crate) struct Order {
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    open: Option<Open>,
    /// News of an answer to who somebody is, to be told.
    identities: (Tick, IntoIter<IdentityRecord>),
    /// Views told as far as the turn of their states, and crowds begun.
    views_told: u64,
    told_tick: Tick,
    /// By ascending (tick, part), no duplicates.
    held: VecDeque<Held>,
    arrived: Option<Arrived>,
    wait_us: u64,
}

impl Order {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            queue_bytes: 0,
            open: None,
            identities: (Tick(0), Vec::new().into_iter()),
            views_told: 0,
            told_tick: Tick(0),
            held: VecDeque::new(),
            arrived: None,
            wait_us: *STATES_WAIT_US.end(),
        }
    }

    /// The length of a tick is known.
    pub(crate) fn set_period_us(&mut self, period_us: u64) {
        self.wait_us = period_us.clamp(*STATES_WAIT_US.start(), *STATES_WAIT_US.end());
    }

    /// Bytes of messages that wait to be told.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// The tick of the newest message about the view whose telling has begun.
    pub(crate) fn told_tick(&self) -> Tick {
        self.told_tick
    }

    /// When [`Self::poll`] may have something to tell although nothing arrives.
    pub(crate) fn next_timeout_us(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.deadline_us)
    }

    /// A message of `bytes` bytes arrived on the stream.
    pub(crate) fn handle_message(&mut self, message: Message, bytes: usize, now_us: u64) {
        self.queue_bytes += bytes;
        self.queue.push_back(Queued {
            message,
            bytes,
            arrived_us: now_us,
        });
    }

    /// A well-formed payload arrived.
    pub(crate) fn handle_payload(
        &mut self,
        header: &PayloadHeader,
        datagram: Bytes,
        view: &mut View,
        store: &mut dyn TrackStore,
        counters: &mut Counters,
    ) {
        if !self.note_arrival(header) {
            counters.datagrams_duplicate += 1;
        } else if self.is_turn_of(header.tick, header.view_seq) {
            apply(&datagram, view, store, counters);
        } else {
            self.hold(header, datagram, counters);
        }
    }

    /// `false` if it is known to have been in already.
    fn note_arrival(&mut self, header: &PayloadHeader) -> bool {
        match &mut self.arrived {
            Some(arrived) if header.tick < arrived.tick => true,
            Some(arrived) if header.tick == arrived.tick => arrived.insert(header.part),
            arrived => arrived
                .insert(Arrived::new(header.tick, header.parts))
                .insert(header.part),
        }
    }

    /// Whether all that comes before states of `tick` behind `view_seq` views has been told.
    fn is_turn_of(&self, tick: Tick, view_seq: u64) -> bool {
        let behind_open = self
            .open
            .as_ref()
            .is_some_and(|open| open.at_states && tick > open.tick);
        view_seq < self.views_told || view_seq == self.views_told && !behind_open
    }

    fn hold(&mut self, header: &PayloadHeader, datagram: Bytes, counters: &mut Counters) {
        let key = (header.tick, header.part);
        let Err(at) = self
            .held
            .binary_search_by_key(&key, |held| (held.tick, held.part))
        else {
            counters.datagrams_duplicate += 1;
            return;
        };
        self.held.insert(
            at,
            Held {
                tick: header.tick,
                part: header.part,
                view_seq: header.view_seq,
                datagram,
            },
        );
        if self.held.len() > HELD_DATAGRAMS_MAX {
            self.held.pop_front();
            counters.datagrams_dropped += 1;
        }
    }

    /// Applies the held datagrams whose turn it is.
    fn apply_held(&mut self, view: &mut View, store: &mut dyn TrackStore, counters: &mut Counters) {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|one| {
            let is_turn = self.is_turn_of(one.tick, one.view_seq);
            if is_turn {
                apply(&one.datagram, view, store, counters);
            }
            !is_turn
        });
        self.held = held;
    }

    /// Tells one thing, if it is its turn. `is_over`: nothing will arrive any more, so nothing is waited for. `sight`
    /// is given once there is an avatar, before which there is nothing to tell.
    pub(crate) fn poll(
        &mut self,
        now_us: u64,
        is_over: bool,
        sight: impl Fn() -> Option<Sight>,
        view: &mut View,
        store: &mut dyn TrackStore,
        counters: &mut Counters,
    ) -> Result<Option<ClientEvent>, Fault> {
        loop {
            if let Some(event) = view.crowd.poll() {
                return Ok(Some(event));
            }
            if let Some(event) = self.tell_identity() {
                return Ok(Some(event));
            }
            let Some(open) = &mut self.open else {
                let Some(queued) = self.queue.pop_front() else {
                    return Ok(None);
                };
                self.queue_bytes -= queued.bytes;
                match queued.message {
                    Message::View(update) => {
                        prefetch(&update, view);
                        self.begin(update, queued.arrived_us, view, counters);
                    }
                    Message::Owner(OwnerUpdate { tick, properties }) => {
                        return Ok(Some(ClientEvent::Owner { tick, properties }));
                    }
                    Message::Result(CommandResult { seq, refused }) => {
                        return Ok(Some(ClientEvent::CommandResult { seq, refused }));
                    }
                    Message::Crowd(tick, bytes) => {
                        self.note_told(tick, counters);
                        let (Some(sight), View { listed, crowd, .. }) = (sight(), &mut *view) else {
                            continue;
                        };
                        if crowd.handle(&bytes, &sight, listed, store, counters)?.begins {
                            self.views_told += 1;
                            self.apply_held(view, store, counters);
                        }
                    }
                    Message::Listed(Listed { tick, complete }) => {
                        self.note_told(tick, counters);
                        let (Some(sight), View { listed, crowd, .. }) = (sight(), &mut *view) else {
                            continue;
                        };
                        crowd.handle_listed(tick, complete, &sight, listed, counters)?;
                    }
                    Message::Identity(identity) => {
                        let tick = identity.tick;
                        let news = view.crowd.learn(identity);
                        self.identities = (tick, news.into_iter());
                    }
                }
                continue;
            };
            if !open.at_states {
                if let Some(event) = open.tell_before_states(view, counters)? {
                    return Ok(Some(event));
                }
                open.at_states = true;
                self.views_told += 1;
                self.apply_held(view, store, counters);
            } else if !open.past_states {
                if !open.awaits_nothing() && !states_are_in(open, self.arrived.as_ref()) && !is_over {
                    if now_us < open.deadline_us {
                        return Ok(None);
                    }
                    counters.waits_expired += 1;
                }
                open.past_states = true;
            } else if let Some(event) = open.tell_behind_states(view, counters) {
                return Ok(Some(event));
            } else {
                self.open = None;
                self.apply_held(view, store, counters);
            }
        }
    }

    fn tell_identity(&mut self) -> Option<ClientEvent> {
        let (tick, news) = &mut self.identities;
        let record = news.next()?;
        Some(ClientEvent::Identity {
            tick: *tick,
            subject: record.subject,
            entity: record.entity,
            properties: record.properties,
        })
    }

    fn note_told(&mut self, tick: Tick, counters: &mut Counters) {
        // Ticks do not go back; a server that says so is told apart by the counter, not believed.
        counters.contradictions += u64::from(tick < self.told_tick);
        self.told_tick = self.told_tick.max(tick);
    }

    fn begin(&mut self, mut update: ViewUpdate, arrived_us: u64, view: &mut View, counters: &mut Counters) {
        self.note_told(update.tick, counters);
        if view.crowd.mode == Mode::Crowd {
            // Tracks tell the view.
            counters.contradictions += 1;
            update = ViewUpdate::default();
        } else if view.crowd.is_idle() && !view.listed.is_carried() {
            view.crowd.lived = self.told_tick;
        }
        self.open = Some(Open {
            tick: self.told_tick,
            enters: update.enters.into_iter(),
            changes: update.changes.into_iter(),
            at_states: false,
            deadline_us: arrived_us.saturating_add(self.wait_us),
            past_states: false,
            events: update.events.into_iter(),
            leaves: update.leaves.into_iter(),
        });
    }
}

impl Open {
    /// The next enter or change.
    fn tell_before_states(
        &mut self,
        view: &mut View,
        counters: &mut Counters,
    ) -> Result<Option<ClientEvent>, Overfull> {
        let tick = self.tick;
        for enter in self.enters.by_ref() {
            let (subject, entity) = (enter.subject, enter.entity);
            let (kind, position) = (enter.kind, enter.position.centre());
            let told = (view.is_crowd() || view.listed.is_carried()).then(|| enter.properties.clone());
            match view.enter(tick, enter)? {
                Entered::New => {
                    counters.entered += 1;
                    return Ok(Some(ClientEvent::Enter {
                        tick,
                        subject,
                        entity: Some(entity),
                        kind,
                        position,
                    }));
                }
                Entered::Found { news: true } => {
                    return Ok(Some(ClientEvent::Identity {
                        tick,
                        subject,
                        entity,
                        properties: told.unwrap_or_default(),
                    }));
                }
                Entered::Found { news: false } => {}
                Entered::Again => counters.contradictions += 1,
            }
        }
        for Change { subject, properties } in self.changes.by_ref() {
            if view.change(tick, subject, &properties)? {
                return Ok(Some(ClientEvent::Change {
                    tick,
                    subject,
                    properties,
                }));
            }
            counters.contradictions += 1;
        }
        Ok(None)
    }

    /// Whether there is nothing behind the states that would have to wait for them.
    fn awaits_nothing(&self) -> bool {
        self.events.len() == 0 && self.leaves.len() == 0
    }

    /// The next event or leave.
    fn tell_behind_states(&mut self, view: &mut View, counters: &mut Counters) -> Option<ClientEvent> {
        let tick = self.tick;
        for event in self.events.by_ref() {
            if view.event(tick, event.subject) {
                return Some(ClientEvent::Event {
                    tick,
                    subject: event.subject,
                    name: event.name,
                    arguments: event.arguments,
                });
            }
            counters.contradictions += 1;
        }
        for Leave { subject, reason } in self.leaves.by_ref() {
            if let Some(entity) = view.leave(subject) {
                counters.left += 1;
                return Some(ClientEvent::Leave {
                    tick,
                    subject,
                    entity: Some(entity),
                    reason,
                });
            }
            counters.contradictions += 1;
        }
        let (subject, entity) = view.take_replaced()?;
        counters.left += 1;
        Some(ClientEvent::Leave {
            tick,
            subject,
            entity,
            reason: LeaveReason::OutOfView,
        })
    }
}

/// A view is about to be told: asks for the memory of those of whom it tells, but for those who enter.
fn prefetch(update: &ViewUpdate, view: &View) {
    let changes = update.changes.iter().map(|change| change.subject);
    let events = update.events.iter().map(|event| event.subject);
    view.prefetch(changes.chain(events));
}

/// Whether no state of the open view's tick is to be expected any more.
fn states_are_in(open: &Open, arrived: Option<&Arrived>) -> bool {
    arrived
        .is_some_and(|arrived| arrived.tick > open.tick || arrived.tick == open.tick && arrived.is_complete())
}

/// Applies the states of a payload that has been found well-formed.
fn apply(datagram: &[u8], view: &mut View, store: &mut dyn TrackStore, counters: &mut Counters) {
    let mut malformed = 0;
    let decoded = decode_payload(datagram, |header, lane, chunk| {
        if view
            .apply_chunk(header.tick, lane, chunk, store, &mut counters.states)
            .is_err()
        {
            malformed += 1;
        }
    });
    debug_assert!(decoded.is_ok(), "checked on arrival");
    counters.malformed += malformed;
}
