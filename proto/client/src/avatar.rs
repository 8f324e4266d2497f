//! The own avatar: steps not yet acknowledged, and where they take it.
//!
//! The server applies steps one by one in whole units: x and z move, then the position is held within the
//! bounds. The same arithmetic here gives the same position bit for bit, so any difference is a correction.

use crate::event::IntentError;
use crate::limits::STEPS_MAX;
use myriad_wire::client::{Joined, Rules};
use myriad_wire::limits::{INTENT_STEP_MAX, INTENTS_PER_DATAGRAM_MAX};
use myriad_wire::payload::{Intents, OwnRecord, Step};
use myriad_wire::{IntentSeq, Pos, SubjectRef, Tick};
use std::collections::VecDeque;

/// The own avatar of one session.
#[derive(Clone, Debug)]
pub(crate) struct Avatar {
    subject: SubjectRef,
    rules: Rules,
    /// What the server said last, and of which tick.
    acknowledged: IntentSeq,
    position: Pos,
    tick: Option<Tick>,
    corrections: u32,
    /// The last step taken.
    newest: IntentSeq,
    /// Steps after `acknowledged`, ending with `newest`, each with the predicted position after it.
    steps: VecDeque<(Step, Pos)>,
}

/// What an own record said of the prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reconciled {
    /// As predicted, or nothing new.
    Agreed,
    /// The avatar is elsewhere, or the server says that it cut an intent short.
    Corrected { predicted: Pos, actual: Pos },
    /// The server acknowledged a step that was never taken.
    Impossible,
}

/// Where one step takes an avatar, exactly as the server computes it.
pub(crate) fn stepped(from: Pos, step: Step, rules: &Rules) -> Pos {
    let axis = |at: i32, by: i32, min: i32, max: i32| at.saturating_add(by).clamp(min, max);
    Pos {
        x: axis(from.x, step.dx, rules.bounds_min.x, rules.bounds_max.x),
        y: from.y,
        z: axis(from.z, step.dz, rules.bounds_min.z, rules.bounds_max.z),
    }
}

impl Avatar {
    /// As the join says. The bounds have been checked.
    pub(crate) fn new(joined: &Joined) -> Self {
        Self {
            subject: joined.avatar,
            rules: joined.rules,
            acknowledged: joined.intent_seq,
            position: joined.position,
            tick: None,
            corrections: 0,
            newest: joined.intent_seq,
            steps: VecDeque::new(),
        }
    }

    /// Where the avatar is when all steps have been applied.
    pub(crate) fn predicted(&self) -> Pos {
        self.steps.back().map_or(self.position, |(_, after)| *after)
    }

    /// What the server said last.
    pub(crate) fn authoritative(&self) -> (IntentSeq, Pos) {
        (self.acknowledged, self.position)
    }

    /// Whether steps wait for their acknowledgement.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Takes a step; `true` if another one fell out of the resend window by it.
    pub(crate) fn step(&mut self, step: Step) -> Result<(IntentSeq, bool), IntentError> {
        if step.dx.unsigned_abs().max(step.dz.unsigned_abs()) > INTENT_STEP_MAX.unsigned_abs() {
            return Err(IntentError::TooFar);
        }
        let newest = self.newest.0.checked_add(1).ok_or(IntentError::Exhausted)?;
        self.newest = IntentSeq(newest);
        let after = stepped(self.predicted(), step, &self.rules);
        self.steps.push_back((step, after));
        let lost = self.steps.len() > INTENTS_PER_DATAGRAM_MAX;
        if self.steps.len() > STEPS_MAX {
            // Whoever acknowledges nothing for so long has lost it. The prediction keeps its effect.
            self.steps.pop_front();
        }
        Ok((self.newest, lost))
    }

    /// Reads what the server says of `tick`.
    pub(crate) fn reconcile(&mut self, tick: Tick, own: &OwnRecord) -> Reconciled {
        if self.tick.is_some_and(|last| tick <= last) {
            return Reconciled::Agreed;
        }
        if own.intent_seq > self.newest {
            return Reconciled::Impossible;
        }
        let before_list = self.newest.0 - self.steps.len() as u32;
        let mut predicted = self.position;
        for _ in before_list..own.intent_seq.0 {
            (_, predicted) = self
                .steps
                .pop_front()
                .expect("the list ends with the newest step");
        }
        // The first record says where the count stands, not that it rose.
        let cut = self.tick.is_some() && own.corrections > self.corrections;
        let moved = own.position != predicted;
        self.tick = Some(tick);
        self.acknowledged = own.intent_seq;
        self.position = own.position;
        self.corrections = own.corrections;
        if moved {
            let mut at = own.position;
            for (step, after) in &mut self.steps {
                at = stepped(at, *step, &self.rules);
                *after = at;
            }
        }
        if moved || cut {
            Reconciled::Corrected {
                predicted,
                actual: own.position,
            }
        } else {
            Reconciled::Agreed
        }
    }

    /// The datagram with the newest unacknowledged steps, if there are any.
    pub(crate) fn datagram(&self, seen_tick: Tick) -> Option<Vec<u8>> {
        if self.steps.is_empty() {
            return None;
        }
        let skip = self.steps.len().saturating_sub(INTENTS_PER_DATAGRAM_MAX);
        let intents = Intents {
            slot: self.subject.slot,
            generation: self.subject.generation,
            seen_tick,
            newest: self.newest,
            steps: self.steps.iter().skip(skip).map(|(step, _)| *step).collect(),
        };
        let mut bytes = Vec::with_capacity(64);
        intents.encode(&mut bytes);
        Some(bytes)
    }
}
