//! Runs a lane on a thread of its own: waits for what arrives and for the next tick to be due, and carries what
//! the tick puts out to the fabric, to storage and to the load harness.

use crate::clock::{now_us, until};
use crate::metrics::{self, lane_stage};
use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use myriad_fabric::{Fabric, FabricMessage};
use myriad_lane::{Lane, Output, Stage};
use myriad_storage::{StorageReply, StorageRequest, StorageThread, SubmitError};
use myriad_telemetry::admin::TruthFeed;
use myriad_telemetry::metrics::LaneMetrics;
use myriad_wire::{SpaceClock, Tick};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many ticks a late lane computes back to back before it jumps to the present one.
const CATCH_UP_TICKS_MAX: u64 = 3;

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
    /// The last tick that was computed, for whoever watches.
    pub(crate) reached: Arc<AtomicU64>,
    /// Closed when the node drains.
    pub(crate) stop: Receiver<()>,
}

/// Starts the thread. `make` builds the lane on it, because a script VM stays on its thread. The thread ends once
/// `stop` is closed, after a last save.
pub(crate) fn start<E: Send + 'static>(
    make: impl FnOnce(Tick) -> Result<Lane, E> + Send + 'static,
    clock: SpaceClock,
    ports: LanePorts,
    started: Sender<Result<(), E>>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("lane".into()).spawn(move || {
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
}

impl LaneLoop {
    fn run(mut self, mut last: Tick) {
        loop {
            let next = self.next_tick(last);
            if !self.wait_until_due(next) {
                break;
            }
            self.tick(next);
            last = next;
        }
        self.drain();
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
                        tracing::error!("storage has stopped; what changes from now on is not saved");
                        self.ports.replies = crossbeam_channel::never();
                    }
                },
                recv(self.ports.stop) -> _ => return false,
                default(left) => {}
            }
        }
    }

    fn tick(&mut self, now: Tick) {
        let started = Instant::now();
        let mut stage_started = started;
        if self.ports.truth.as_ref().is_some_and(TruthFeed::take_new_reader) {
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
        for line in &self.output.lines {
            tracing::info!("script: {line}");
        }
        for fault in &self.output.faults {
            tracing::warn!(file = %fault.file, line = fault.line, "script fault: {}", fault.message);
        }
        self.submit();
        self.output.clear();
        self.report(started);
        self.ports.reached.store(now.0, Ordering::Relaxed);
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
        self.ports
            .metrics
            .set(&metrics::lane(&self.lane, self.overruns, self.storage_refused));
    }

    /// Saves everything and waits until storage has it.
    fn drain(mut self) {
        self.lane.drain(&mut self.output.storage);
        self.submit();
        while !self.waiting.is_empty() {
            // The queue was full: it has room again once storage has answered.
            if self.ports.replies.recv_timeout(LAST_SAVES_TIMEOUT).is_err() {
                tracing::error!(
                    requests = self.waiting.len(),
                    "storage does not answer, the last saves are lost"
                );
                break;
            }
            self.submit();
        }
        match self.ports.storage.join() {
            Ok(()) => tracing::info!("lane stopped, everything saved"),
            Err(error) => tracing::error!("the last saves failed: {error}"),
        }
    }
}
