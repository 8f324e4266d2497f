//! Whether an avatar did exactly what its client asked: its true place after each tick is the sum of the steps
//! up to the last one applied, and that count never goes back.

use crate::truth::{Row, Truth};
use myriad_wire::{IntentSeq, Pos, Tick};
use std::collections::VecDeque;

/// Most places of steps that are not yet known as applied. A client so far behind is not judged further.
const PATH_MAX: usize = 4096;

/// Follows one avatar. Call [`Self::handle_step`] for every step and [`Self::advance`] every now and then.
#[derive(Debug)]
pub(crate) struct Obedience {
    row: Row,
    /// The next tick to look at.
    next: Tick,
    /// The step after which the avatar is at the front of `path`.
    first: IntentSeq,
    /// Where each step leads, in order. Never empty.
    path: VecDeque<Pos>,
    /// The client was corrected or is too far behind: the sum of its steps says nothing any more.
    is_over: bool,
    pub(crate) checked: u64,
    pub(crate) disobeyed: u64,
}

impl Obedience {
    /// An avatar that was at `start` when the step numbered `seq` was its last, judged from `tick` on.
    pub(crate) fn new(row: Row, tick: Tick, seq: IntentSeq, start: Pos) -> Self {
        Self {
            row,
            next: tick,
            first: seq,
            path: VecDeque::from([start]),
            is_over: false,
            checked: 0,
            disobeyed: 0,
        }
    }

    /// The client took a step, which leads to `to`.
    pub(crate) fn handle_step(&mut self, to: Pos) {
        if self.path.len() >= PATH_MAX {
            self.is_over = true;
        }
        if !self.is_over {
            self.path.push_back(to);
        }
    }

    /// The client was corrected: its steps no longer add up.
    pub(crate) fn stop(&mut self) {
        self.is_over = true;
    }

    /// Compares with the ticks told since.
    pub(crate) fn advance(&mut self, truth: &Truth) {
        for tick in truth.since(self.next) {
            self.next = tick.tick + 1;
            let Some(place) = tick.position(self.row).filter(|_| !self.is_over) else {
                continue;
            };
            self.checked += 1;
            let seq = tick.intents[self.row as usize];
            let applied = seq.0.checked_sub(self.first.0).map(|steps| steps as usize);
            match applied.filter(|applied| *applied < self.path.len()) {
                Some(applied) => {
                    let asked = self.path[applied];
                    self.disobeyed += u64::from((asked.x, asked.z) != (place.x, place.z));
                    self.path.drain(..applied);
                    self.first = seq;
                }
                // Steps taken back, or steps that were never sent.
                None => self.disobeyed += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::tests::{told, truth};

    /// The avatar walks a metre east per step; the truth has it at `places` (metres) after `applied` steps.
    fn disobeyed(course: &[(u32, f64)]) -> (u64, u64) {
        let mut truth = truth(&[]);
        let start = Pos { x: 0, y: 0, z: 1024 };
        let mut obedience = Obedience::new(0, Tick(0), IntentSeq(0), start);
        for metres in 1..=5 {
            obedience.handle_step(Pos {
                x: metres * 1024,
                ..start
            });
        }
        for (tick, (applied, x)) in course.iter().enumerate() {
            let mut told = told(tick as u64, &[(*x, 1.0)]);
            told.entities[0].intent_seq = IntentSeq(*applied);
            truth.handle_tick(&told, 0).expect("a good trace");
            obedience.advance(&truth);
        }
        (obedience.checked, obedience.disobeyed)
    }

    #[test]
    fn the_sum_of_the_applied_steps_is_obedience() {
        assert_eq!(
            disobeyed(&[(0, 0.0), (1, 1.0), (1, 1.0), (3, 3.0), (5, 5.0)]),
            (5, 0)
        );
    }

    #[test]
    fn another_place_is_disobedience() {
        assert_eq!(disobeyed(&[(0, 0.0), (1, 1.5), (2, 2.0)]), (3, 1));
        assert_eq!(
            disobeyed(&[(0, 0.0), (2, 1.0)]).1,
            1,
            "a step was lost on the way"
        );
    }

    #[test]
    fn steps_taken_back_and_steps_never_sent_are_disobedience() {
        assert_eq!(disobeyed(&[(2, 2.0), (1, 1.0), (2, 2.0)]).1, 1);
        assert_eq!(disobeyed(&[(6, 6.0)]).1, 1);
    }

    #[test]
    fn a_corrected_client_is_not_judged_further() {
        let truth = truth(&[told(0, &[(9.0, 9.0)])]);
        let mut obedience = Obedience::new(0, Tick(0), IntentSeq(0), Pos::default());
        obedience.stop();
        obedience.advance(&truth);
        assert_eq!((obedience.checked, obedience.disobeyed), (0, 0));
    }
}
