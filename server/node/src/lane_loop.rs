//! Runs a lane on a thread of its own: waits for what arrives and for the next tick to be due, and carries what
//! the tick puts out to the fabric, to storage and to the load harness.

use crate::clock::{now_us, until};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, select};
use myriad_fabric::{Fabric, FabricMessage};
use myriad_lane::{Lane, Output, Stage};
use myriad_storage::{StorageReply, StorageRequest, StorageThread, SubmitError};
use myriad_telemetry::LaneMetrics;
use myriad_wire::{SpaceClock, Tick, codec};
use std::collections::VecDeque;
use std::thread::JoinHandle;
use std::time::Instant;

/// How many ticks a late lane computes back to back before it jumps to the present one.
const CATCH_UP_TICKS_MAX: u64 = 3;

/// What a lane's thread is connected to.
pub struct LanePorts {
    pub fabric: Fabric,
    pub messages: Receiver<FabricMessage>,
    pub storage: StorageThread,
    pub replies: Receiver<StorageReply>,
    pub truth: Option<tokio::sync::broadcast::Sender<Bytes>>,
    pub metrics: LaneMetrics,
    /// Closed when the node drains.
    pub stop: Receiver<()>,
}

/// Starts the thread. `make` builds the lane on it, because a script VM stays on its thread. The thread ends once
/// `stop` is closed, after a last save.
pub fn start<E: Send + 'static>(
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
                LaneLoop { lane, clock, ports, output: Output::default(), waiting: VecDeque::new() }.run(now);
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
        if present.since(last) > CATCH_UP_TICKS_MAX { present } else { last + 1 }
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
                return true;
            }
            select! {
                recv(self.ports.messages) -> message => if let Ok(message) = message {
                    self.lane.handle_message(&message.envelope, message.body);
                },
                recv(self.ports.replies) -> reply => if let Ok(reply) = reply {
                    self.lane.handle_storage(reply);
                },
                recv(self.ports.stop) -> _ => return false,
                default(left) => {}
            }
        }
    }

    fn tick(&mut self, now: Tick) {
        let started = Instant::now();
        let mut stage_started = started;
        let metrics = &self.ports.metrics;
        self.lane.tick(now, &mut self.output, |stage: Stage| {
            let done = Instant::now();
            metrics.stage(stage.label(), done - stage_started);
            stage_started = done;
        });
        for (envelope, body) in self.output.messages.drain(..) {
            self.ports.fabric.send(envelope, body);
        }
        if let (Some(truth), Some(sender)) = (self.output.truth.take(), &self.ports.truth) {
            let mut record = Vec::new();
            codec::frame_into(&truth, &mut record);
            // No receiver is no fault: nobody is looking.
            let _ = sender.send(record.into());
        }
        for fault in &self.output.faults {
            tracing::warn!(file = %fault.file, line = fault.line, "script fault: {}", fault.message);
        }
        self.submit();
        self.output.clear();
        self.report(started);
    }

    fn submit(&mut self) {
        self.waiting.extend(self.output.storage.drain(..));
        while let Some(request) = self.waiting.pop_front() {
            match self.ports.storage.try_submit(request) {
                Ok(()) => {}
                Err(SubmitError::Full(request)) => {
                    self.waiting.push_front(request);
                    break;
                }
                Err(SubmitError::Stopped(_)) => {
                    tracing::error!("storage has stopped; what changes from now on is not saved");
                    break;
                }
            }
        }
    }

    fn report(&self, started: Instant) {
        let elapsed = started.elapsed();
        let overrun = elapsed.as_micros() as u64 > self.clock.period_us();
        self.ports.metrics.tick(elapsed, overrun);
        self.ports.metrics.totals(&crate::metrics::lane_totals(&self.lane));
    }

    /// Saves everything and waits until storage has it.
    fn drain(mut self) {
        self.lane.drain(&mut self.output.storage);
        self.waiting.extend(self.output.storage.drain(..));
        let requests = std::mem::take(&mut self.waiting);
        let saves = requests.len();
        match self.ports.storage.join(requests) {
            Ok(()) => tracing::info!(saves, "lane stopped, everything saved"),
            Err(error) => tracing::error!("the last saves failed: {error}"),
        }
    }
}
