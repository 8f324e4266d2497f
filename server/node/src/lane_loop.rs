//! Runs a lane on a thread of its own: waits for what arrives and for the next tick to be due, and carries what
//! the tick puts out to the fabric, to storage and to the load harness.

use crate::clock::{now_us, thread_cpu_us, until};
use crate::farewell::Guest;
use crate::layout::{self, LayoutWatch};
use crate::metrics::{self, lane_stage};
use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use myriad_directory::ClusterView;
use myriad_fabric::{Fabric, FabricMessage};
use myriad_lane::{Lane, Output, Stage};
use myriad_storage::{StorageReply, StorageRequest, StorageThread, SubmitError};
use myriad_telemetry::admin::TruthFeed;
use myriad_telemetry::metrics::LaneMetrics;
use myriad_wire::{GatewayId, LaneId, SpaceClock, Tick};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many ticks a late lane computes back to back before it jumps to the present one.
const CATCH_UP_TICKS_MAX: u64 = 3;

/// Ticks of a lane after the last one in which another of the node's lanes let an entity go: in the first it takes who
/// has come, and a second is to spare.
const LAST_TICKS: u64 = 2;

/// How long a draining lane waits for the others of its node. They are in the midst of a tick at most.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a draining lane waits for storage to make room.
const LAST_SAVES_TIMEOUT: Duration = Duration::from_secs(10);

/// What a lane's thread is connected to.
pub(crate) struct LanePorts {
    pub(crate) fabric: Fabric,
    pub(crate) messages: Receiver<FabricMessage>,
    pub(crate) storage: StorageThread,
    pub(crate) replies: Receiver<StorageReply>,
    pub(crate) truth: Option<TruthFeed>,
    pub(crate) metrics: LaneMetrics,
    /// How far the lane is, for whoever watches.
    pub(crate) progress: Arc<LaneProgress>,
    /// Which lanes there are.
    pub(crate) layout: LayoutWatch,
    /// Closed when the lane is to end: the node drains, or the lane has retired.
    pub(crate) stop: Receiver<()>,
    /// Where it meets the other lanes of the node then.
    pub(crate) farewell: Option<Guest>,
}

/// How far a lane is, for whoever watches.
#[derive(Debug)]
pub(crate) struct LaneProgress {
    pub(crate) lane: LaneId,
    /// The last tick that was computed; zero before the first.
    tick: AtomicU64,
    entities: AtomicU64,
    /// Of the last ticks, smoothed.
    tick_us: AtomicU64,
    frame_bytes: AtomicU64,
    frame_bytes_total: AtomicU64,
    handed_off: AtomicU64,
    readers: AtomicU64,
    /// All gateways that are known read it.
    is_read: AtomicBool,
    is_over: AtomicBool,
    spawned: AtomicU64,
}

impl LaneProgress {
    /// Of a lane that has not ticked yet.
    pub(crate) fn new(lane: LaneId) -> Self {
        Self {
            lane,
            tick: AtomicU64::new(0),
            entities: AtomicU64::new(0),
            tick_us: AtomicU64::new(0),
            frame_bytes: AtomicU64::new(0),
            frame_bytes_total: AtomicU64::new(0),
            handed_off: AtomicU64::new(0),
            readers: AtomicU64::new(0),
            is_read: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            spawned: AtomicU64::new(0),
        }
    }

    /// The last tick that was computed; zero before the first.
    pub(crate) fn tick(&self) -> Tick {
        Tick(self.tick.load(Ordering::Relaxed))
    }

    /// How many entities the lane has authority over.
    pub(crate) fn entities(&self) -> u64 {
        self.entities.load(Ordering::Relaxed)
    }

    /// How long a tick takes, in microseconds, over the last ticks.
    pub(crate) fn tick_us(&self) -> u64 {
        self.tick_us.load(Ordering::Relaxed)
    }

    /// Bytes of a tick's frame, over the last ticks.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.frame_bytes.load(Ordering::Relaxed)
    }

    /// How many entities went to other lanes.
    pub(crate) fn handed_off(&self) -> u64 {
        self.handed_off.load(Ordering::Relaxed)
    }

    /// How many gateways read the lane.
    pub(crate) fn readers(&self) -> u64 {
        self.readers.load(Ordering::Relaxed)
    }

    /// Whether all gateways that are known to be there read the lane.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
    }

    /// Whether the lane has retired: it has nothing, and gets nothing any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// How many of its share of the node's entity ids are given out.
    pub(crate) fn spawned(&self) -> u64 {
        self.spawned.load(Ordering::Relaxed)
    }

    fn note(&self, now: Tick, lane: &Lane, took: Duration) {
        let smooth = |smoothed: &AtomicU64, value: u64| {
            let before = smoothed.load(Ordering::Relaxed);
            let weighed = if before == 0 {
                value
            } else {
                (before * 7 + value) / 8
            };
            smoothed.store(weighed, Ordering::Relaxed);
        };
        smooth(&self.tick_us, took.as_micros() as u64);
        let bytes = lane.counters().frame_bytes;
        let before = self.frame_bytes_total.swap(bytes, Ordering::Relaxed);
        smooth(&self.frame_bytes, bytes - before);
        self.handed_off
            .store(lane.counters().handed_off, Ordering::Relaxed);
        self.entities.store(lane.entities() as u64, Ordering::Relaxed);
        self.readers.store(lane.readers() as u64, Ordering::Relaxed);
        self.is_over.store(lane.is_over(), Ordering::Relaxed);
        self.spawned.store(lane.space().spawned(), Ordering::Relaxed);
        self.tick.store(now.0, Ordering::Relaxed);
    }
}

/// Starts the thread. `make` builds the lane on it, because a script VM stays on its thread. The thread ends once
/// `stop` is closed, after a last save.
pub(crate) fn start<E: Send + 'static>(
    make: impl FnOnce(Tick) -> Result<Lane, E> + Send + 'static,
    clock: SpaceClock,
    ports: LanePorts,
    started: Sender<Result<(), E>>,
) -> std::io::Result<JoinHandle<()>> {
    let name = format!("lane-{}", ports.progress.lane);
    std::thread::Builder::new().name(name).spawn(move || {
        let now = clock.tick_at(now_us());
        match make(now) {
            Ok(lane) => {
                let _ = started.send(Ok(()));
                LaneLoop {
                    lane,
                    clock,
                    ports,
                    output: Output::default(),
                    waiting: VecDeque::new(),
                    overruns: 0,
                    storage_refused: 0,
                    truth_readers: 0,
                    gateways: Vec::new(),
                }
                .run(now);
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })
}

struct LaneLoop {
    lane: Lane,
    clock: SpaceClock,
    ports: LanePorts,
    output: Output,
    /// Requests that storage's queue had no room for. The lane bounds how many it makes.
    waiting: VecDeque<StorageRequest>,
    overruns: u64,
    storage_refused: u64,
    /// How many readers of the truth were told all of it.
    truth_readers: u64,
    /// Those that are known to be there.
    gateways: Vec<GatewayId>,
}

impl LaneLoop {
    fn run(mut self, mut last: Tick) {
        // Whatever has been seen of the layout before, by whomever.
        let view = self.ports.layout.now();
        self.adopt(&view);
        loop {
            let next = self.next_tick(last);
            if !self.wait_until_due(next) {
                break;
            }
            self.tick(next);
            last = next;
        }
        // A second wish to stop does not hurry it.
        self.ports.stop = crossbeam_channel::never();
        if !self.lane.is_over() {
            self.part(last);
        }
        self.drain();
    }

    /// Lets nobody go to another lane any more, and takes in who is on the way here, so that each entity is in exactly one
    /// lane when all save.
    ///
    /// In this order: no lane lets anybody go after the tick that it is at; then all meet. What had been sent by then
    /// waits in inboxes, for in a process sending is putting there. So the lanes compute the same few ticks more, up to
    /// [`LAST_TICKS`] beyond the latest of them: each has then passed every tick in which somebody set out for it. If a
    /// lane does not come to the meeting, or a message found its inbox full, nothing is lost either: who is not known to
    /// have arrived is saved by the lane that it left.
    fn part(&mut self, mut last: Tick) {
        let Some(farewell) = self.ports.farewell.take().filter(|guest| !guest.is_alone()) else {
            return;
        };
        self.lane.stop_handoffs();
        let lane = self.ports.progress.lane.0;
        let Some(latest) = farewell.meet(last, FAREWELL_TIMEOUT) else {
            tracing::error!(
                lane,
                "another lane does not stop; those on the way to it are saved here"
            );
            return;
        };
        while last < latest + LAST_TICKS {
            let next = self.next_tick(last);
            self.wait_until_due(next);
            self.tick(next);
            last = next;
        }
    }

    fn next_tick(&self, last: Tick) -> Tick {
        let present = self.clock.tick_at(now_us());
        if present.since(last) > CATCH_UP_TICKS_MAX {
            present
        } else {
            last + 1
        }
    }

    /// Takes what arrives until `next` is due. False if the node drains.
    fn wait_until_due(&mut self, next: Tick) -> bool {
        let due_us = self.clock.due_us(next);
        loop {
            let left = until(due_us);
            if left.is_zero() {
                // A lane that is late still takes what has come.
                while let Ok(message) = self.ports.messages.try_recv() {
                    self.lane.handle_message(&message.envelope, message.body);
                }
                while let Ok(reply) = self.ports.replies.try_recv() {
                    self.lane.handle_storage(reply);
                }
                // And it still drains.
                return self.ports.stop.try_recv() != Err(TryRecvError::Disconnected);
            }
            select! {
                recv(self.ports.messages) -> message => if let Ok(message) = message {
                    self.lane.handle_message(&message.envelope, message.body);
                },
                recv(self.ports.replies) -> reply => match reply {
                    Ok(reply) => self.lane.handle_storage(reply),
                    Err(_) => {
                        let lane = self.ports.progress.lane.0;
                        tracing::error!(lane, "storage has stopped; what changes from now on is not saved");
                        self.ports.replies = crossbeam_channel::never();
                    }
                },
                recv(self.ports.stop) -> _ => return false,
                default(left) => {}
            }
        }
    }

    fn adopt(&mut self, view: &ClusterView) {
        self.gateways = layout::gateways(view);
        if let Some(partition) = self.ports.layout.partition(view) {
            self.lane.adopt(partition);
        }
    }

    /// Adopts the layout, if it has changed.
    fn look_at_layout(&mut self) {
        if let Some(view) = self.ports.layout.changed() {
            self.adopt(&view);
        }
        let is_read = self.lane.is_read_by(self.gateways.iter().copied());
        self.ports.progress.is_read.store(is_read, Ordering::Relaxed);
    }

    fn tick(&mut self, now: Tick) {
        self.look_at_layout();
        let started = Instant::now();
        let mut stage_started = started;
        let readers = self.ports.truth.as_ref().map_or(0, TruthFeed::readers_came);
        if readers > self.truth_readers {
            self.truth_readers = readers;
            self.lane.tell_whole_truth();
        }
        let metrics = &self.ports.metrics;
        self.lane.tick(now, &mut self.output, |stage: Stage| {
            let done = Instant::now();
            metrics
                .stage_seconds
                .record(lane_stage(stage), done - stage_started);
            stage_started = done;
        });
        for (envelope, body) in self.output.messages.drain(..) {
            self.ports.fabric.send(envelope, body);
        }
        if let (Some(truth), Some(feed)) = (&self.output.truth, &self.ports.truth) {
            feed.publish(truth);
        }
        let lane = self.ports.progress.lane.0;
        for line in &self.output.lines {
            tracing::info!(lane, "script: {line}");
        }
        for fault in &self.output.faults {
            tracing::warn!(lane, file = %fault.file, line = fault.line, "script fault: {}", fault.message);
        }
        self.submit();
        self.output.clear();
        self.report(started);
        self.ports.progress.note(now, &self.lane, started.elapsed());
    }

    fn submit(&mut self) {
        self.waiting.extend(self.output.storage.drain(..));
        while let Some(request) = self.waiting.pop_front() {
            match self.ports.storage.try_submit(request) {
                Ok(()) => {}
                Err(SubmitError::Full(request)) => {
                    self.storage_refused += 1;
                    self.waiting.push_front(request);
                    break;
                }
                Err(SubmitError::Stopped(_)) => {
                    // The closed channel of its replies has been reported.
                    break;
                }
            }
        }
    }

    fn report(&mut self, started: Instant) {
        let elapsed = started.elapsed();
        self.overruns += u64::from(elapsed.as_micros() as u64 > self.clock.period_us());
        self.ports.metrics.tick_seconds.record(elapsed);
        self.ports.metrics.set(&metrics::lane(
            &self.lane,
            self.overruns,
            self.storage_refused,
            thread_cpu_us(),
        ));
    }

    /// Saves everything and waits until storage has it.
    fn drain(mut self) {
        let lane = self.ports.progress.lane.0;
        self.lane.drain(&mut self.output.storage);
        self.submit();
        while !self.waiting.is_empty() {
            // The queue was full: it has room again once storage has answered.
            if self.ports.replies.recv_timeout(LAST_SAVES_TIMEOUT).is_err() {
                tracing::error!(
                    lane,
                    requests = self.waiting.len(),
                    "storage does not answer, the last saves are lost"
                );
                break;
            }
            self.submit();
        }
        match self.ports.storage.join() {
            Ok(()) => tracing::info!(lane, "lane stopped, everything saved"),
            Err(error) => tracing::error!(lane, "the last saves failed: {error}"),
        }
    }
}
