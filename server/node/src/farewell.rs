//! Where the lanes of a node wait for each other when they stop, so that nobody is on the way between two of them.
//!
//! Each lane is a [`Guest`]. One that ends before is not waited for.

use myriad_wire::Tick;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A meeting that takes place once.
#[derive(Debug, Default)]
pub(crate) struct Meeting {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    expected: usize,
    there: usize,
    /// Of those who are there.
    latest: Tick,
}

/// One who is expected at the meeting.
#[derive(Debug)]
pub(crate) struct Guest {
    meeting: Arc<Meeting>,
    has_met: bool,
}

impl Meeting {
    /// One more is expected.
    pub(crate) fn invite(self: &Arc<Self>) -> Guest {
        self.lock().expected += 1;
        Guest {
            meeting: Arc::clone(self),
            has_met: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Whether nobody else is expected.
    pub(crate) fn is_alone(&self) -> bool {
        self.meeting.lock().expected <= 1
    }

    /// Waits until all are there and answers the latest tick that one of them has computed, where this one's last was
    /// `last`. `None` if somebody did not come in time.
    pub(crate) fn meet(mut self, last: Tick, patience: Duration) -> Option<Tick> {
        let mut state = self.meeting.lock();
        state.there += 1;
        state.latest = state.latest.max(last);
        self.has_met = true;
        self.meeting.came.notify_all();
        let is_missing = |state: &mut State| state.there < state.expected;
        let (state, _) = self
            .meeting
            .came
            .wait_timeout_while(state, patience, is_missing)
            .unwrap_or_else(PoisonError::into_inner);
        (state.there >= state.expected).then_some(state.latest)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !self.has_met {
            self.meeting.lock().expected -= 1;
            self.meeting.came.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn invite(guests: usize) -> Vec<Guest> {
        let meeting = Arc::new(Meeting::default());
        (0..guests).map(|_| meeting.invite()).collect()
    }

    #[test]
    fn all_who_meet_learn_the_latest_tick() {
        let guests = invite(3);
        let latest: Vec<Option<Tick>> = std::thread::scope(|scope| {
            let threads: Vec<_> = guests
                .into_iter()
                .zip([7, 9, 8])
                .map(|(guest, last)| scope.spawn(move || guest.meet(Tick(last), PATIENCE)))
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
            threads.into_iter().map(join).collect()
        });
        assert_eq!(latest, [Some(Tick(9)); 3]);
    }

    #[test]
    fn who_has_ended_is_not_waited_for() {
        let mut guests = invite(2);
        drop(guests.pop());
        let last = guests.pop().expect("two were invited");
        assert!(last.is_alone());
        assert_eq!(last.meet(Tick(5), PATIENCE), Some(Tick(5)));
    }

    #[test]
    fn who_does_not_come_is_not_waited_for_for_ever() {
        let mut guests = invite(2);
        let first = guests.pop().expect("two were invited");
        assert_eq!(first.meet(Tick(5), Duration::ZERO), None);
    }
}
