//! A coarse timer wheel: when to look at which connection again.
//!
//! Pure: time is a number of quanta. One ring of slots, so that setting a timer is a push, and finding the next one
//! a scan of some words. A timer may fire early, at the end of the ring, and its owner then sets it again; QUIC's
//! timers mostly move away before they are due, so its owner has to look at the true deadline anyway.

/// Slots of the ring. With 5 ms each, those that wait for an idle timeout are looked at every five seconds.
const SLOTS: usize = 1024;
const WORD_BITS: usize = u64::BITS as usize;

/// Timers of numbered owners. An owner may be in it several times; it knows which of its timers counts.
#[derive(Debug)]
pub(crate) struct TimerWheel {
    slots: Vec<Vec<u32>>,
    /// Which slots are not empty, a bit each.
    occupied: [u64; SLOTS / WORD_BITS],
    /// The last quantum whose timers have fired.
    now: u64,
}

impl TimerWheel {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Vec::new(); SLOTS],
            occupied: [0; SLOTS / WORD_BITS],
            now: 0,
        }
    }

    /// Sets a timer for the quantum `at`, or the nearest that the ring can hold. Answers which it became.
    pub(crate) fn schedule(&mut self, owner: u32, at: u64) -> u64 {
        let at = at.clamp(self.now + 1, self.now + SLOTS as u64);
        let slot = slot_of(at);
        self.slots[slot].push(owner);
        self.occupied[slot / WORD_BITS] |= 1 << (slot % WORD_BITS);
        at
    }

    /// Time has come to the quantum `now`: adds what is due to `due`, as (owner, quantum), in order of time.
    pub(crate) fn advance(&mut self, now: u64, due: &mut Vec<(u32, u64)>) {
        while let Some(at) = self.next().filter(|at| *at <= now) {
            let slot = slot_of(at);
            due.extend(self.slots[slot].drain(..).map(|owner| (owner, at)));
            self.occupied[slot / WORD_BITS] &= !(1 << (slot % WORD_BITS));
        }
        self.now = self.now.max(now);
    }

    /// The quantum of the earliest timer.
    pub(crate) fn next(&self) -> Option<u64> {
        let first = slot_of(self.now + 1);
        let (word, bit) = (first / WORD_BITS, first % WORD_BITS);
        let words = self.occupied.len();
        // The word of the first slot is looked at twice: from its bit on, and at the very end below it.
        (0..=words)
            .map(|step| {
                let index = (word + step) % words;
                let bits = match step {
                    0 => self.occupied[index] & (u64::MAX << bit),
                    _ if step == words => self.occupied[index] & !(u64::MAX << bit),
                    _ => self.occupied[index],
                };
                (index, bits)
            })
            .find(|(_, bits)| *bits != 0)
            .map(|(index, bits)| {
                let slot = index * WORD_BITS + bits.trailing_zeros() as usize;
                let distance = (slot + SLOTS - first) % SLOTS;
                self.now + 1 + distance as u64
            })
    }
}

fn slot_of(at: u64) -> usize {
    (at % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u32, u64),
        Advance(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let ahead = prop_oneof![0..4u64, 0..200u64, 0..3000u64];
        let step = prop_oneof![
            3 => (0..50u32, ahead.clone()).prop_map(|(owner, ahead)| Step::Schedule(owner, ahead)),
            1 => ahead.prop_map(Step::Advance),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn it_fires_what_a_sorted_map_fires(steps in steps()) {
            let mut wheel = TimerWheel::new();
            let mut model = BTreeMap::<u64, Vec<u32>>::new();
            let mut now = 0u64;
            for step in steps {
                match step {
                    Step::Schedule(owner, ahead) => {
                        let at = wheel.schedule(owner, now + ahead);
                        prop_assert_eq!(at, (now + ahead).clamp(now + 1, now + SLOTS as u64));
                        model.entry(at).or_default().push(owner);
                    }
                    Step::Advance(ahead) => {
                        now += ahead;
                        let mut due = Vec::new();
                        wheel.advance(now, &mut due);
                        let later = model.split_off(&(now + 1));
                        let expected: Vec<_> = model
                            .into_iter()
                            .flat_map(|(at, owners)| owners.into_iter().map(move |owner| (owner, at)))
                            .collect();
                        prop_assert_eq!(due, expected);
                        model = later;
                    }
                }
                prop_assert_eq!(wheel.next(), model.keys().next().copied());
            }
        }
    }
}
