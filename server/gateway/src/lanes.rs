//! The gateway's ends of its links to lanes: what waits to be taken, and what will be reported.
//!
//! On arrival a message passes the link (next in its stream?), the epoch's fence (of no dead owner?) and, for
//! frames, the order of ticks. What passes waits for [`crate::gateway`]'s ingest, one tick's routes and frame at a
//! time. It does not know sessions.

use crate::counters::Counters;
use bytes::Bytes;
use myriad_wire::fabric::{Frame, Report, Routes, ToGateway};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::link::{Link, LinkHeader};
use myriad_wire::{Incarnation, LaneEpoch, LaneId, Tick, codec};
use std::collections::VecDeque;

/// Most frames of one lane that wait for a tick. One more is dropped, and the link asks for a full copy.
const FRAMES_WAITING_MAX: usize = 16;
/// Ticks of the gateway after which it waits no longer for a silent lane's frame.
const SILENT_TICKS_MAX: u64 = 3;

/// One lane, as the gateway speaks to it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) state: LaneState,
    link: Link,
    /// The highest epoch heard. What is of a lower one is refused.
    heard_epoch: LaneEpoch,
    /// The tick of the last frame that passed.
    heard_tick: Tick,
    /// A keyframe must come before any other frame.
    needs_keyframe: bool,
    /// This tick's routes, until its frame comes.
    routes: Option<Routes>,
    waiting: VecDeque<Arrival>,
    /// A message came since the last tick of the gateway.
    heard: bool,
    /// Ticks of the gateway without a message. Starts high: a lane never heard is silent.
    silent_ticks: u64,
    /// The epoch of what was taken last.
    epoch: LaneEpoch,
    /// The next report. Its `full`, `epoch`, and in a full one its `attach` and `commands`, are written last.
    pub(crate) report: Report,
    /// The next report must tell everything.
    full: bool,
}

/// Whether a lane's number is a lane's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneState {
    /// It is spoken to.
    Open,
    /// The lane has ended: its number becomes vacant in the next tick that has frames.
    Closing,
    /// It is for the next lane that comes.
    Vacant,
}

/// What a lane said of one tick.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// `None` if they were refused.
    pub(crate) routes: Option<Routes>,
    pub(crate) frame: Frame,
}

impl Lane {
    pub(crate) fn new(id: LaneId, incarnation: Incarnation) -> Self {
        Self {
            id,
            state: LaneState::Open,
            link: Link::new(incarnation),
            heard_epoch: LaneEpoch(0),
            heard_tick: Tick(0),
            needs_keyframe: true,
            routes: None,
            waiting: VecDeque::new(),
            heard: false,
            silent_ticks: SILENT_TICKS_MAX + 1,
            epoch: LaneEpoch(0),
            report: Report::default(),
            full: true,
        }
    }

    /// Nobody will be heard of it any more.
    pub(crate) fn vacate(&mut self) {
        self.state = LaneState::Vacant;
        self.waiting.clear();
        self.report = Report::default();
    }

    /// Whether it is spoken to.
    pub(crate) fn is_open(&self) -> bool {
        self.state == LaneState::Open
    }

    /// A message from the lane arrived.
    pub(crate) fn handle(&mut self, header: LinkHeader, body: &Bytes, counters: &mut Counters) {
        self.heard = true;
        // What is refused before the link has seen it leaves a gap there, and so comes again.
        let Ok(message) = codec::decode::<ToGateway>(body, NODE_MESSAGE_BYTES_MAX) else {
            counters.fabric_malformed += 1;
            return;
        };
        if matches!(message, ToGateway::Frame(_)) && self.waiting.len() >= FRAMES_WAITING_MAX {
            counters.fabric_overflows += 1;
            return;
        }
        let verdict = self.link.handle(header);
        if verdict.resync {
            self.full = true;
            counters.resyncs += 1;
        }
        if !verdict.deliver {
            counters.fabric_dropped += 1;
            return;
        }
        if verdict.fresh {
            self.routes = None;
            self.needs_keyframe = true;
        }
        match message {
            ToGateway::Routes(routes) => self.handle_routes(routes, counters),
            ToGateway::Frame(frame) => self.handle_frame(*frame, counters),
        }
    }

    fn handle_routes(&mut self, routes: Routes, counters: &mut Counters) {
        if self.passes_fence(routes.epoch, counters) {
            self.routes = Some(routes);
        }
    }

    fn handle_frame(&mut self, frame: Frame, counters: &mut Counters) {
        let routes = self.routes.take().filter(|routes| routes.epoch == frame.epoch);
        if !self.passes_fence(frame.epoch, counters) {
            return;
        }
        // A lane of a new epoch goes on with the space's ticks; if its clock was behind, its keyframe counts still.
        let in_order = match &frame.keyframe {
            Some(_) => frame.tick > self.heard_tick || self.needs_keyframe,
            None => frame.tick > self.heard_tick && !self.needs_keyframe,
        };
        if frame.lane != self.id || !in_order {
            counters.frames_refused += 1;
            return;
        }
        self.needs_keyframe = false;
        self.heard_tick = frame.tick;
        self.waiting.push_back(Arrival { routes, frame });
    }

    /// What was taken does not go on where what came before ended: asks for a full copy, and takes nothing until it comes.
    pub(crate) fn lose(&mut self) {
        self.link.lose();
        self.routes = None;
        self.waiting.clear();
        self.needs_keyframe = true;
    }

    fn passes_fence(&mut self, epoch: LaneEpoch, counters: &mut Counters) -> bool {
        if epoch < self.heard_epoch {
            counters.epochs_refused += 1;
            return false;
        }
        if epoch > self.heard_epoch {
            self.heard_epoch = epoch;
            self.needs_keyframe = true;
        }
        true
    }

    /// The tick of the last frame that passed.
    pub(crate) fn heard_tick(&self) -> Tick {
        self.heard_tick
    }

    /// Whether nothing came for so long that nobody waits for it, or nothing is to come.
    pub(crate) fn is_silent(&self) -> bool {
        !self.is_open() || !self.heard && self.silent_ticks > SILENT_TICKS_MAX
    }

    /// Ticks of the gateway since a message came.
    pub(crate) fn silent_ticks(&self) -> u64 {
        self.silent_ticks
    }

    /// How many frames wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The tick of the first frame that waits.
    pub(crate) fn next_tick(&self) -> Option<Tick> {
        self.waiting.front().map(|arrival| arrival.frame.tick)
    }

    /// A tick of the gateway: takes what waits, if it is of `tick`.
    pub(crate) fn take(&mut self, tick: Option<Tick>) -> Option<Arrival> {
        self.silent_ticks = if std::mem::take(&mut self.heard) {
            0
        } else {
            self.silent_ticks + 1
        };
        if tick.is_some() && self.next_tick() == tick {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    /// The epoch of what was taken last.
    pub(crate) fn epoch(&self) -> LaneEpoch {
        self.epoch
    }

    /// What is taken now is of `epoch`. Answers whether it is a new one: all attachments are void then.
    pub(crate) fn adopt(&mut self, epoch: LaneEpoch) -> bool {
        assert!(epoch >= self.epoch, "a lower epoch passed the fence");
        let new = epoch > self.epoch;
        self.epoch = epoch;
        self.full |= new;
        new
    }

    /// The lane lacks something: the next report tells everything.
    pub(crate) fn tell_all(&mut self) {
        self.full = true;
    }

    /// Whether the next report must tell everything.
    pub(crate) fn wants_full(&self) -> bool {
        self.full
    }

    /// The report of this tick, to be sent behind the header. The next one begins empty.
    pub(crate) fn take_report(&mut self) -> (LinkHeader, Bytes) {
        self.report.full = std::mem::take(&mut self.full);
        self.report.epoch = self.epoch;
        let report = std::mem::take(&mut self.report);
        (self.link.stamp(), codec::encode(&report).into())
    }
}
