//! Stalenesses by age in ticks: counted in an array, and made milliseconds once per client and tick.

use super::{Moment, Tally};
use myriad_wire::Tick;

/// Ages in ticks that are counted in an array; older states are few and told one by one.
const AGES: usize = 64;

/// Counts of stalenesses by age.
pub(super) struct Ages {
    /// The tick due now: age 0. Older than any state may be by a moment, so that newer ones count as of now.
    base: Tick,
    /// Of each age two counts: without the near tier, and the near tier.
    counts: [[u32; 2]; AGES],
    /// Ages from this one on were never counted.
    end: usize,
    /// Each with how many there are; in the near tier nobody is so old.
    old: Vec<(Tick, u32)>,
}

impl Ages {
    pub(super) fn new(base: Tick) -> Self {
        Self {
            base,
            counts: [[0; 2]; AGES],
            end: 0,
            old: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, tick: Tick, near: bool, count: u32) {
        let age = self.base.since(tick) as usize;
        match self.counts.get_mut(age) {
            Some(counts) => {
                counts[usize::from(near)] += count;
                self.end = self.end.max(age + 1);
            }
            None => self.old.push((tick, count)),
        }
    }

    /// Some of those added without the near tier count no more.
    #[inline]
    pub(super) fn remove(&mut self, tick: Tick, count: u32) {
        let counted = match self.counts.get_mut(self.base.since(tick) as usize) {
            Some(counts) => Some(&mut counts[0]),
            None => {
                let old = self.old.iter_mut().find(|(old, _)| *old == tick);
                old.map(|(_, counted)| counted)
            }
        };
        if let Some(counted) = counted {
            *counted = counted.saturating_sub(count);
        }
    }

    /// Enters all into the histograms. Returns how many were fresh, and how many there are.
    pub(super) fn tell(&self, moment: &Moment<'_>, measuring: bool, tally: &mut Tally) -> (u64, u64) {
        let (mut fresh, mut pairs) = (0, 0);
        let mut tell = |tick: Tick, all: u64, near: u64| {
            let ms = moment.now_us.saturating_sub(moment.clock.due_us(tick)) as f64 / 1000.0;
            fresh += tally.record(ms, (all, near), measuring);
            pairs += all;
        };
        for (age, [crowd, near]) in self.counts[..self.end].iter().enumerate() {
            if crowd + near > 0 {
                tell(self.base - age as u64, u64::from(crowd + near), u64::from(*near));
            }
        }
        self.old
            .iter()
            .for_each(|(tick, count)| tell(*tick, u64::from(*count), 0));
        (fresh, pairs)
    }
}
