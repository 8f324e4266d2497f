//! Runs a gateway on a thread of its own: hands it what clients and lanes send, ticks it when the lanes' frames
//! are in, and carries what the tick puts out to the edge and to the fabric.

use crate::layout::LayoutWatch;
use crate::metrics::{self, gateway_stage};
use crossbeam_channel::{Receiver, select};
use myriad_edge::{Arrivals, Edge, EdgeEvent};
use myriad_fabric::{Fabric, FabricMessage};
use myriad_gateway::{Gateway, Outputs, Stage};
use myriad_telemetry::metrics::GatewayMetrics;
use myriad_wire::{CloseReason, LaneId};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Into how many parts of a tick's period the gateway's thread divides its sleep. What clients send takes effect in the
/// next tick, so nobody wakes the thread for it: a thousand clients would do so ten thousand times a second. It only
/// must not fill the edge's inbox.
const LOOKS_PER_PERIOD: u32 = 8;

/// For how many periods the frames of other lanes are waited for once one of them has come. Views are true where all that
/// is in them is of one tick: what a client is told when a lane is missing may contain edges that never were.
const LANES_PATIENCE_PERIODS: f64 = 1.0;
/// For how many periods after the last tick the first frame is waited for.
const FRAME_PATIENCE_PERIODS: f64 = 1.5;

/// What a gateway's thread is connected to.
pub(crate) struct GatewayPorts {
    pub(crate) fabric: Fabric,
    pub(crate) messages: Receiver<FabricMessage>,
    pub(crate) edge: Edge,
    pub(crate) metrics: GatewayMetrics,
    /// Which lanes there are.
    pub(crate) layout: LayoutWatch,
    /// Closed when the node drains.
    pub(crate) stop: Receiver<()>,
}

/// Starts the thread. It ends once `stop` is closed, after every client has been told.
pub(crate) fn start(gateway: Gateway, hz: f64, ports: GatewayPorts) -> std::io::Result<JoinHandle<()>> {
    let period = Duration::from_secs_f64(1.0 / hz);
    std::thread::Builder::new().name("gateway".into()).spawn(move || {
        GatewayLoop {
            gateway,
            ports,
            period,
            last: Instant::now(),
            waiting_since: None,
            arrivals: Arrivals::default(),
            overruns: 0,
            outputs: Outputs::default(),
        }
        .run();
    })
}

struct GatewayLoop {
    gateway: Gateway,
    ports: GatewayPorts,
    period: Duration,
    /// When the last tick was.
    last: Instant,
    /// Since when a frame waits for those of other lanes.
    waiting_since: Option<Instant>,
    /// Reused: what the edge had.
    arrivals: Arrivals,
    overruns: u64,
    outputs: Outputs,
}

impl GatewayLoop {
    fn run(mut self) {
        loop {
            let deadline = self.deadline();
            let ports = &self.ports;
            let mut stopped = false;
            let mut message = None;
            let patience = deadline.saturating_duration_since(Instant::now());
            select! {
                recv(ports.messages) -> arrived => message = arrived.ok(),
                recv(ports.stop) -> _ => stopped = true,
                default(patience.min(self.period / LOOKS_PER_PERIOD)) => {}
            }
            if stopped {
                break;
            }
            if let Some(message) = message {
                self.handle_message(message);
            }
            self.look_at_layout();
            self.handle_waiting();
            while self.gateway.frames_ready() {
                self.tick();
            }
            if self.gateway.has_frames() {
                self.waiting_since.get_or_insert_with(Instant::now);
            }
            // Asked anew: a frame that has just come has others waited for.
            if Instant::now() >= self.deadline() {
                self.tick();
            }
        }
        self.gateway.drain(CloseReason::Shutdown);
        self.tick();
    }

    /// Adopts the layout, if it has changed.
    fn look_at_layout(&mut self) {
        let view = self.ports.layout.changed();
        if let Some(partition) = view.and_then(|view| self.ports.layout.partition(&view)) {
            let lanes: Vec<LaneId> = partition.lanes().collect();
            let homes: Vec<LaneId> = partition.homes().collect();
            self.gateway.adopt(&lanes, &homes);
        }
    }

    /// When a tick goes ahead without the frames that are missing.
    fn deadline(&self) -> Instant {
        match self.waiting_since {
            Some(since) => since + self.period.mul_f64(LANES_PATIENCE_PERIODS),
            None => self.last + self.period.mul_f64(FRAME_PATIENCE_PERIODS),
        }
    }

    /// Takes everything that waits, so that a tick sees all of it. Ends although more arrives: the channel is read as
    /// often as it was long, and the edge once.
    fn handle_waiting(&mut self) {
        for _ in 0..self.ports.messages.len() {
            let Ok(message) = self.ports.messages.try_recv() else {
                break;
            };
            self.handle_message(message);
        }
        self.ports.edge.take_arrivals(&mut self.arrivals);
        for EdgeEvent { conn, input } in self.arrivals.events.drain(..) {
            self.gateway.handle_client(conn, input);
        }
        for (conn, bytes) in self.arrivals.backlogs.drain(..) {
            self.gateway.set_backlog(conn, bytes);
        }
    }

    fn handle_message(&mut self, message: FabricMessage) {
        self.gateway.handle_fabric(&message.envelope, message.body);
    }

    fn tick(&mut self) {
        let started = Instant::now();
        let mut stage_started = started;
        let metrics = &self.ports.metrics;
        self.gateway.tick_staged(&mut self.outputs, |stage: Stage| {
            let done = Instant::now();
            metrics
                .stage_seconds
                .record(gateway_stage(stage), done - stage_started);
            stage_started = done;
        });
        for (envelope, body) in self.outputs.fabric.drain(..) {
            self.ports.fabric.send(envelope, body);
        }
        self.ports.edge.send_all(&mut self.outputs.clients);
        let elapsed = started.elapsed();
        self.overruns += u64::from(elapsed > self.period);
        self.ports.metrics.tick_seconds.record(elapsed);
        self.ports
            .metrics
            .set(&metrics::gateway(&self.gateway, self.overruns));
        self.last = Instant::now();
        self.waiting_since = None;
    }
}
