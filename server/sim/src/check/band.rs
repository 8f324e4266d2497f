//! Who must be in the view of a client that is told by tracks, and who must not: what its rule says is so within a
//! band, since members are told once a period and to a quarter of a metre, and since the client goes by its own place
//! as far as it has heard of it.

use super::{Checked, demand};
use crate::truth::{History, Life};
use myriad_client::Client;
use myriad_wire::grid::AOI_SHIFT;
use myriad_wire::{LaneEpoch, Pos, Tick};
use std::collections::{BTreeSet, VecDeque};

/// By how far the distance of two may be off that are known by their cells, in position units: 0.3 m.
const SLACK: f64 = 307.0;

/// The places by which a client judged lately.
#[derive(Debug, Default)]
pub(crate) struct Band {
    /// Ascending by tick: the newest tick told by then, and where the client knew itself.
    judged: VecDeque<(Tick, Pos)>,
    checked: Tick,
}

/// Lowest and highest position per axis, x and z.
#[derive(Clone, Copy, Debug)]
struct Range([[i32; 2]; 2]);

impl Range {
    fn of(position: Pos) -> Self {
        Self([[position.x; 2], [position.z; 2]])
    }

    fn join(&mut self, position: Pos) {
        for (axis, at) in self.0.iter_mut().zip([position.x, position.z]) {
            *axis = [axis[0].min(at), axis[1].max(at)];
        }
    }

    /// The smallest and the greatest distance that two within these may have.
    fn distances(&self, other: &Self) -> [f64; 2] {
        let axis = |i: usize| {
            let ([low, high], [other_low, other_high]) = (self.0[i], other.0[i]);
            let apart = (other_low - high).max(low - other_high).max(0);
            let across = (other_high - low).max(high - other_low);
            [f64::from(apart), f64::from(across)]
        };
        let (x, z) = (axis(0), axis(1));
        [x[0].hypot(z[0]), x[1].hypot(z[1])]
    }
}

impl Band {
    /// The client, which knows itself at `at`, has told all up to `tick`. What is older than `window` is of no use.
    pub(crate) fn note(&mut self, tick: Tick, at: Pos, window: u64) {
        if self.judged.back() != Some(&(tick, at)) {
            self.judged.push_back((tick, at));
        }
        while self.judged.front().is_some_and(|(told, _)| *told + window < tick) {
            self.judged.pop_front();
        }
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&mut self, tick: Tick, period: u64) -> bool {
        let is_due = tick >= self.checked + (period / 2).max(1);
        if is_due {
            self.checked = tick;
        }
        is_due
    }

    /// The view as of the tick of that lane: all who have been near for two periods are there, nobody who has been far
    /// for two periods, and nobody whom its avatar does not see.
    pub(crate) fn check(
        &self,
        account: &str,
        client: &Client,
        (epoch, tick): (LaneEpoch, Tick),
        deferred: bool,
        history: &History,
    ) -> Checked {
        let period = client
            .joined()
            .map_or(1, |joined| u64::from(joined.rules.crowd_period));
        let now = history.demand(epoch, tick)?;
        let Some(own) = now.avatar_of(account) else {
            return Err(format!(
                "{account} is told in tick {tick}, in which it has no avatar"
            ));
        };
        let lately: Vec<_> = history.between(epoch, tick - 2 * period, tick).collect();
        let owns: Vec<Option<&Life>> = lately.iter().map(|then| then.avatar_of(account)).collect();
        let mut place = Range::of(own.position);
        for position in owns.iter().flatten().map(|own| own.position) {
            place.join(position);
        }
        for (_, position) in &self.judged {
            place.join(*position);
        }
        let names = client.view().iter().map(|held| held.subject());
        let known: BTreeSet<_> = names.map(|name| (name.slot, name.generation)).collect();
        let radius = f64::from(own.radius_aoi << AOI_SHIFT);
        for (slot, generation) in &known {
            let life = now.lives.get(slot).filter(|life| life.generation == *generation);
            demand!(
                // The own avatar stays in view whatever it sees.
                life.is_some_and(|life| own.meets(life) || life.entity == own.entity),
                "{account} sees in tick {tick} slot {slot}, in which is {life:?}, on layers {:#b}",
                own.sees
            );
        }
        for life in now.lives.values() {
            let mut range = Range::of(life.position);
            let mut always = true;
            for (then, own) in lately.iter().zip(&owns) {
                let before = then
                    .lives
                    .get(&life.slot)
                    .filter(|before| before.generation == life.generation);
                before.inspect(|before| range.join(before.position));
                always &= before.zip(*own).is_some_and(|(before, own)| own.meets(before));
            }
            let [nearest, farthest] = place.distances(&range);
            let is_own = life.entity == own.entity;
            let must = is_own && own.meets(own) || always && !deferred && farthest <= radius - SLACK;
            let may = is_own || nearest <= radius * 1.1 + SLACK;
            let is_seen = known.contains(&(life.slot, life.generation));
            demand!(
                is_seen || !must,
                "{account}: in tick {tick} entity {} is missing in the crowd, but is at most {:.3} m away (enters at {:.3} m)",
                life.entity,
                farthest / 1024.0,
                radius / 1024.0
            );
            demand!(
                may || !is_seen,
                "{account}: in tick {tick} entity {} is in view in the crowd, but is at least {:.3} m away (enters at {:.3} m)",
                life.entity,
                nearest / 1024.0,
                radius / 1024.0
            );
        }
        Ok(())
    }
}
