//! The truth trace: what lanes publish of where everything truly is, for the load harness.
//!
//! A lane never waits for a reader: each reader has a bounded queue, and one that lets it overflow is cut off,
//! so that its trace ends with an error rather than with a hole.

use axum::body::Body;
use bytes::Bytes;
use futures_core::Stream;
use myriad_wire::codec;
use myriad_wire::truth::TruthTick;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Ticks that may wait for one reader, those of all lanes together: with the most lanes of a space, some of each.
const TICKS_MAX: usize = 1024;
/// Most readers at a time. Each may hold up to [`TICKS_MAX`] ticks of about 40 bytes per entity of their lane.
const READERS_MAX: usize = 4;

/// Carries the truth from lanes to readers. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TruthFeed {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    readers: Mutex<Readers>,
    /// Readers that came so far.
    came: AtomicU64,
    cut: AtomicU64,
}

#[derive(Debug, Default)]
struct Readers {
    closed: bool,
    /// At most [`READERS_MAX`]; none once closed.
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    ticks: mpsc::Sender<Bytes>,
    /// Set before the queue is dropped because it overflowed.
    cut: Arc<AtomicBool>,
}

impl TruthFeed {
    /// A feed without readers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether anybody reads: if not, there is no need to collect the truth.
    #[must_use]
    pub fn has_readers(&self) -> bool {
        !self.readers().queues.is_empty()
    }

    /// How many readers came so far. Once it has grown, a lane's next tick should name all properties of all entities;
    /// each lane of the process looks for itself.
    #[must_use]
    pub fn readers_came(&self) -> u64 {
        self.shared.came.load(Ordering::Relaxed)
    }

    /// Readers cut off so far because they were too slow.
    #[must_use]
    pub fn readers_cut(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// Hands a tick to every reader. Never waits.
    pub fn publish(&self, tick: &TruthTick) {
        if !self.has_readers() {
            return;
        }
        let mut bytes = Vec::new();
        codec::frame_into(tick, &mut bytes);
        let bytes = Bytes::from(bytes);
        self.readers()
            .queues
            .retain(|queue| match queue.ticks.try_send(bytes.clone()) {
                Ok(()) => true,
                Err(TrySendError::Closed(_)) => false,
                Err(TrySendError::Full(_)) => {
                    queue.cut.store(true, Ordering::Release);
                    self.shared.cut.fetch_add(1, Ordering::Relaxed);
                    false
                }
            });
    }

    /// Ends all traces, and lets no new reader come.
    pub fn close(&self) {
        let mut readers = self.readers();
        readers.closed = true;
        readers.queues.clear();
    }

    /// A new trace; `None` if there are too many already.
    pub(super) fn read(&self) -> Option<Body> {
        let mut readers = self.readers();
        readers.queues.retain(|queue| !queue.ticks.is_closed());
        if readers.closed || readers.queues.len() >= READERS_MAX {
            return None;
        }
        let (ticks, receiver) = mpsc::channel(TICKS_MAX);
        let cut = Arc::new(AtomicBool::new(false));
        readers.queues.push(Queue {
            ticks,
            cut: Arc::clone(&cut),
        });
        self.shared.came.fetch_add(1, Ordering::Relaxed);
        Some(Body::from_stream(Trace { ticks: receiver, cut }))
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.shared.readers.lock().expect("no holder of this lock panics")
    }
}

/// One reader's trace.
struct Trace {
    ticks: mpsc::Receiver<Bytes>,
    cut: Arc<AtomicBool>,
}

impl Stream for Trace {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ticks.poll_recv(context).map(|tick| match tick {
            Some(bytes) => Some(Ok(bytes)),
            None if self.cut.swap(false, Ordering::Acquire) => Some(Err(io::Error::other(
                "the reader of the truth trace was too slow",
            ))),
            None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use myriad_wire::codec::Deframer;
    use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
    use myriad_wire::{LaneId, SpaceClock, Tick};

    fn tick(number: u64) -> TruthTick {
        TruthTick {
            lane: LaneId(1),
            clock: SpaceClock::new(1_700_000_000_000_000, 10.0),
            tick: Tick(number),
            skipped_ticks: 0,
            entities: Vec::new(),
            departing: Vec::new(),
            changes: Vec::new(),
            events: 0,
            is_over: false,
        }
    }

    /// All ticks of a trace that has ended, or the error that ended it.
    async fn ticks(trace: Body) -> Result<Vec<TruthTick>, axum::Error> {
        let bytes = to_bytes(trace, usize::MAX).await?;
        let mut deframer = Deframer::new(NODE_MESSAGE_BYTES_MAX);
        deframer.handle_bytes(&bytes);
        let mut ticks = Vec::new();
        while let Some(message) = deframer.poll_message().expect("framed") {
            ticks.push(codec::decode(&message, NODE_MESSAGE_BYTES_MAX).expect("a tick"));
        }
        Ok(ticks)
    }

    #[tokio::test]
    async fn each_reader_gets_every_tick_since_it_came() {
        let feed = TruthFeed::new();
        assert!(!feed.has_readers());
        feed.publish(&tick(1));
        let first = feed.read().expect("there is room");
        assert!(feed.has_readers());
        feed.publish(&tick(2));
        let second = feed.read().expect("there is room");
        feed.publish(&tick(3));
        feed.close();
        assert_eq!(ticks(first).await.expect("whole"), [tick(2), tick(3)]);
        assert_eq!(ticks(second).await.expect("whole"), [tick(3)]);
        assert!(feed.read().is_none(), "the feed is closed");
    }

    #[tokio::test]
    async fn a_reader_that_does_not_keep_up_is_cut_off_with_an_error() {
        let feed = TruthFeed::new();
        let slow = feed.read().expect("there is room");
        for number in 0..TICKS_MAX as u64 {
            feed.publish(&tick(number));
        }
        assert!(feed.has_readers(), "so many may wait");
        feed.publish(&tick(0));
        assert!(!feed.has_readers());
        assert_eq!(feed.readers_cut(), 1);
        let error = ticks(slow).await.expect_err("it has a hole");
        assert!(error.to_string().contains("too slow"), "{error}");
    }

    #[test]
    fn lanes_see_that_a_reader_came() {
        let feed = TruthFeed::new();
        assert_eq!(feed.readers_came(), 0);
        let first = feed.read().expect("there is room");
        drop(first);
        let _second = feed.read().expect("there is room");
        assert_eq!(feed.readers_came(), 2);
    }

    #[test]
    fn readers_are_bounded_and_one_that_left_makes_room() {
        let feed = TruthFeed::new();
        let mut readers: Vec<Body> = (0..READERS_MAX)
            .map(|_| feed.read().expect("there is room"))
            .collect();
        assert!(feed.read().is_none());
        readers.pop();
        readers.push(feed.read().expect("one has left"));
        drop(readers);
        feed.publish(&tick(1));
        assert!(!feed.has_readers());
    }
}
