//! What waits for the gateway: one list for all shards, taken away whole.

use myriad_gateway::{ClientInput, ConnId};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Something arrived from a client. Per connection: `Connected` first, `Closed` last, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeEvent {
    /// The connection; never reused.
    pub conn: ConnId,
    /// What arrived.
    pub input: ClientInput,
}

/// What came of the clients since it was last taken.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// What they sent, in order per connection.
    pub events: Vec<EdgeEvent>,
    /// Whose backlog has changed, and to how many bytes: once it is no longer nothing, is nothing again, or has
    /// become quite another. To be applied behind the events. A backlog is what QUIC has not taken: the client has
    /// not acknowledged the 256 KiB before it, or has not opened its stream.
    pub backlogs: Vec<(ConnId, usize)>,
}

impl Arrivals {
    fn len(&self) -> usize {
        self.events.len() + self.backlogs.len()
    }
}

#[derive(Debug)]
pub(crate) struct Inbox {
    arrivals: Mutex<Arrivals>,
    /// What is in it, and what shards have reserved a place for.
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Inbox {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            arrivals: Mutex::default(),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether there was room for one more, which must then be appended.
    pub(crate) fn reserve(&self) -> bool {
        let room = self.waiting.fetch_add(1, Ordering::Relaxed) < self.waiting_max;
        if !room {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        room
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < self.waiting_max
    }

    /// Adds what has reserved places.
    pub(crate) fn append(&self, fresh: &mut Arrivals) {
        if fresh.len() == 0 {
            return;
        }
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.events.append(&mut fresh.events);
        arrivals.backlogs.append(&mut fresh.backlogs);
    }

    /// Puts what waits in the place of what is in `taken`.
    pub(crate) fn take(&self, taken: &mut Arrivals) {
        taken.events.clear();
        taken.backlogs.clear();
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *arrivals, taken);
        drop(arrivals);
        self.waiting.fetch_sub(taken.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> EdgeEvent {
        EdgeEvent {
            conn: ConnId(number),
            input: ClientInput::Connected,
        }
    }

    #[test]
    fn it_holds_no_more_than_its_limit_until_it_is_taken() {
        let inbox = Inbox::new(2);
        let mut fresh = Arrivals::default();
        assert!(inbox.reserve());
        fresh.events.push(event(1));
        assert!(inbox.reserve());
        fresh.backlogs.push((ConnId(1), 5));
        assert!(!inbox.reserve());
        assert!(!inbox.has_room());
        inbox.append(&mut fresh);
        assert_eq!(fresh.len(), 0);
        let mut taken = Arrivals {
            events: vec![event(7)],
            backlogs: Vec::new(),
        };
        inbox.take(&mut taken);
        assert_eq!(
            (taken.events, taken.backlogs),
            (vec![event(1)], vec![(ConnId(1), 5)])
        );
        assert_eq!(inbox.waiting(), 0);
        assert!(inbox.reserve());
    }
}
