//! Numbers of tracks. One that was given back rests, so that no reader takes the next track for the last.

use myriad_wire::Tick;
use myriad_wire::crowd::TrackId;
use myriad_wire::limits::SLOT_REST_TICKS;
use std::collections::VecDeque;

/// How many numbers there are.
const IDS: u32 = 1 << 16;

#[derive(Debug)]
pub(super) struct Ids {
    /// The lowest that was never taken.
    next: u32,
    /// How many there are.
    count: u32,
    /// Those given back and since when, oldest first.
    resting: VecDeque<(Tick, TrackId)>,
}

impl Default for Ids {
    fn default() -> Self {
        Self::with_count(IDS)
    }
}

impl Ids {
    /// The first `count` numbers.
    pub(super) fn with_count(count: u32) -> Self {
        Self {
            next: 0,
            count: count.min(IDS),
            resting: VecDeque::new(),
        }
    }

    /// A number that no track has and none had for [`SLOT_REST_TICKS`]; `None` if there is none.
    pub(super) fn take(&mut self, now: Tick) -> Option<TrackId> {
        let rested = |since: Tick| now.since(since) >= SLOT_REST_TICKS;
        if let Some((_, id)) = self.resting.pop_front_if(|(since, _)| rested(*since)) {
            return Some(id);
        }
        if self.next == self.count {
            return None;
        }
        let id = u16::try_from(self.next).expect("there are no more numbers than 16 bits hold");
        self.next += 1;
        Some(TrackId(id))
    }

    pub(super) fn give_back(&mut self, id: TrackId, now: Tick) {
        self.resting.push_back((now, id));
    }
}
