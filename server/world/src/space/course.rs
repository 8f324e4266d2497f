//! Where entities go by themselves, and what is to happen to them.

use super::{DueTimer, Space};
use crate::components::motion::{Leg, Motion};
use crate::components::timers::{TimerIndex, Timers};
use crate::error::{MotionError, TimerError};
use crate::kinds::Kind;
use crate::slots::Handle;
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::{Pos, Tick};

impl Space {
    /// Where it goes by itself.
    #[must_use]
    pub fn motion(&self, handle: Handle) -> Option<Motion> {
        self.entity(handle)?.get::<Leg>().map(Leg::motion)
    }

    /// Begins a motion, in place of the one under way. A target out of bounds becomes the nearest within. When the
    /// entity is there, [`Self::next_arrived`] says so once.
    ///
    /// # Errors
    /// If the entity is gone, or the speed is zero or beyond the kind's.
    pub fn set_motion(&mut self, handle: Handle, motion: Motion) -> Result<(), MotionError> {
        let entity = self.slots.get(handle).ok_or(MotionError::Gone)?;
        let kind = self.kind(handle).ok_or(MotionError::Gone)?;
        let position = self.position(handle).ok_or(MotionError::Gone)?;
        let speed_max = speed_max(kind);
        let motion = match motion {
            Motion::Idle => Motion::Idle,
            Motion::MoveTo { speed, .. } if !(1..=speed_max).contains(&speed) => {
                return Err(MotionError::BadSpeed { speed_max });
            }
            Motion::MoveTo { x, z, speed } => self.bounded(x, z, speed),
        };
        let leg = self.world.get_mut::<Leg>(entity);
        *leg.expect("every entity has all components") = Leg::new(motion, position);
        Ok(())
    }

    pub(super) fn bounded(&self, x: i32, z: i32, speed: u32) -> Motion {
        let Pos { x, z, .. } = self.clamped(Pos { x, y: 0, z });
        Motion::MoveTo { x, z, speed }
    }

    /// Moves everyone who goes by himself by one tick. Positions are committed here, once.
    pub fn simulate(&mut self) {
        let rate_mhz = self.config.rate_mhz;
        let start = self.arrived.len();
        for (identity, mut position, mut leg) in self.moving.iter_mut(&mut self.world) {
            if leg.motion() == Motion::Idle {
                continue;
            }
            if leg.advance(&mut position.0, rate_mhz) {
                self.arrived.push_back(identity.handle);
            }
        }
        // The walk is in the ECS's order, which depends on history; what follows from it must not.
        self.arrived.make_contiguous()[start..].sort_unstable();
    }

    /// Takes the next entity that arrived and still exists, ascending by slot within a tick.
    pub fn next_arrived(&mut self) -> Option<Handle> {
        loop {
            let handle = self.arrived.pop_front()?;
            if self.alive(handle) {
                return Some(handle);
            }
        }
    }

    // Timers.

    /// Sets a timer, in place of the same one set before.
    ///
    /// # Errors
    /// If the entity is gone, has no such timer, or `due` is not after the tick being computed.
    pub fn set_timer(&mut self, handle: Handle, name: &str, due: Tick) -> Result<(), TimerError> {
        if due <= self.tick {
            return Err(TimerError::NotLater);
        }
        self.change_timer(handle, name, Some(due))
    }

    /// Cancels a timer, if it is set.
    ///
    /// # Errors
    /// If the entity is gone or has no such timer.
    pub fn cancel_timer(&mut self, handle: Handle, name: &str) -> Result<(), TimerError> {
        self.change_timer(handle, name, None)
    }

    /// When a timer is due, if it is set.
    ///
    /// # Errors
    /// If the entity is gone or has no such timer.
    pub fn timer(&self, handle: Handle, name: &str) -> Result<Option<Tick>, TimerError> {
        let index = self.timer_index(handle, name)?;
        let entity = self.entity(handle).ok_or(TimerError::Gone)?;
        let timers: &Timers = entity.get().expect("every entity has all components");
        Ok(timers.due[usize::from(index.0)])
    }

    /// Takes the next timer that is due, in the order of (due tick, slot, name). One that is set meanwhile is due in
    /// a later tick, so this ends.
    pub fn next_due(&mut self) -> Option<DueTimer> {
        let &(due, slot, timer) = self.due.first()?;
        if due > self.tick {
            return None;
        }
        self.due.pop_first();
        let handle = self.slots.at(slot).expect("only the living have timers");
        let timers = self.timers_mut(handle).expect("it is alive");
        let taken = timers.due[usize::from(timer.0)].take();
        assert_eq!(taken, Some(due), "the index says what the entities say");
        Some(DueTimer { handle, timer })
    }

    fn timer_index(&self, handle: Handle, name: &str) -> Result<TimerIndex, TimerError> {
        let kind = self.kind(handle).ok_or(TimerError::Gone)?;
        kind.timer_index(name).ok_or_else(|| TimerError::NoSuchTimer {
            kind: kind.spec().name.clone(),
            timer: name.to_owned(),
        })
    }

    fn timers_mut(&mut self, handle: Handle) -> Option<&mut Timers> {
        let entity = self.slots.get(handle)?;
        let timers = self.world.get_mut::<Timers>(entity);
        Some(timers.expect("every entity has all components").into_inner())
    }

    fn change_timer(&mut self, handle: Handle, name: &str, due: Option<Tick>) -> Result<(), TimerError> {
        let index = self.timer_index(handle, name)?;
        let timers = self.timers_mut(handle).ok_or(TimerError::Gone)?;
        let before = std::mem::replace(&mut timers.due[usize::from(index.0)], due);
        if let Some(before) = before {
            self.due.remove(&(before, handle.slot, index));
        }
        if let Some(due) = due {
            self.due.insert((due, handle.slot, index));
        }
        Ok(())
    }
}

/// The fastest a kind goes, in position units per second.
pub(super) fn speed_max(kind: &Kind) -> u32 {
    (kind.spec().speed_max_m_s * f64::from(UNITS_PER_METRE)).round() as u32
}
