//! Congestion control that does not hold a close back.
//!
//! QUIC exempts a packet that only closes the connection (RFC 9002, section 7). `quinn_proto` judges that packet by
//! what waits to be sent beside it, which will never be sent: of a connection whose window is full the close would
//! stay behind for good, because nothing is acknowledged any more, and its peer would find out by its own time limit.

use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::{Connection, RttEstimator};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The window of a connection that is closed: room for its last packet, whatever is in flight, and no pacing.
const CLOSING_WINDOW_BYTES: u64 = 1 << 40;

/// Cubic, for the `congestion_controller_factory` of a driver's connections: each connection's close goes out at once.
/// With any other factory it may never go out.
#[derive(Clone, Debug, Default)]
pub struct Cubic(Arc<CubicConfig>);

impl ControllerFactory for Cubic {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(UntilClosed {
            inner: self.0.clone().build(now, current_mtu),
            closed: Arc::default(),
        })
    }
}

/// A controller that rules until its connection is closed.
struct UntilClosed {
    inner: Box<dyn Controller>,
    /// Shared by a connection's paths, and with the copy by which it is set: QUIC shows its controller read-only.
    closed: Arc<AtomicBool>,
}

/// The connection is closed: makes room for the packet that says so.
pub(crate) fn let_close_out(connection: &Connection) {
    let copy = connection.congestion_state().clone_box().into_any();
    if let Ok(controller) = copy.downcast::<UntilClosed>() {
        controller.closed.store(true, Ordering::Relaxed);
    }
}

impl Controller for UntilClosed {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.inner
            .on_congestion_event(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.closed.load(Ordering::Relaxed) {
            CLOSING_WINDOW_BYTES
        } else {
            self.inner.window()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            closed: self.closed.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
