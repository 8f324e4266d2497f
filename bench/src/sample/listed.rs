//! A client that is told its view subject by subject.
//!
//! One pass over the SDK's view touches one cache line of it per pair; the row of a subject is looked up again only
//! after enters and leaves.

use super::ages::Ages;
use super::shown::ShownNow;
use super::{Moment, Rates, Tally};
use crate::bits::{Bits, for_each_bit};
use crate::truth::{Row, TickTruth};
use myriad_client::Subject;
use myriad_wire::Tick;
use myriad_wire::track::Level;

/// Stands for a subject that the truth has not told of (yet).
const NO_ROW: Row = Row::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ListedSampler {
    /// By place in the SDK's order of iteration, which stays as it is between enters and leaves.
    rows: Vec<Row>,
    held: Bits,
    /// The number of enters and leaves at which `rows` was made.
    made_at: Option<u64>,
}

impl ListedSampler {
    /// Gives its memory back: the client is in a crowd now.
    pub(super) fn clear(&mut self) {
        if self.made_at.is_some() {
            *self = Self::default();
        }
    }

    pub(super) fn find_rows(&mut self, moment: &Moment<'_>) {
        if self.made_at == Some(moment.edges) {
            return;
        }
        self.rows.clear();
        self.held = Bits::default();
        for subject in moment.client.view().iter() {
            let row = moment.truth.row_of(subject.entity(), subject.subject());
            self.rows.push(row.unwrap_or(NO_ROW));
            if let Some(row) = row {
                self.held.insert(row);
            }
        }
        // A subject that the trace has yet to tell of is looked up again at the next sample.
        self.made_at = (!self.rows.contains(&NO_ROW)).then_some(moment.edges);
    }

    fn subjects<'a>(&'a self, moment: &Moment<'a>) -> impl Iterator<Item = (Subject<'a>, Row)> {
        moment.client.view().iter().zip(self.rows.iter().copied())
    }

    /// One pass over all subjects: the age of every member of the true view (of its last state, or of its enter if
    /// the client has none).
    pub(super) fn look(&self, moment: &Moment<'_>, ages: &mut Ages) {
        let members = moment.check.truth.members();
        let all_members = !moment.check.truth.is_known() || *members == self.held;
        for (subject, row) in self.subjects(moment) {
            if all_members || members.contains(row) {
                ages.add(subject.state_tick(), subject.level() == Some(Level::NEAR), 1);
            }
        }
        if !all_members {
            for i in 0..members.words() {
                for_each_bit(i, members.word(i) & !self.held.word(i), |row| {
                    ages.add(moment.lacked_since(row), false, 1);
                });
            }
        }
    }

    /// The errors of the states whose turn it is and whose tick's truth is remembered.
    pub(super) fn compare_states(&self, moment: &Moment<'_>, turn: usize, rates: Rates, tally: &mut Tally) {
        let newest = moment.truth.newest().map_or(Tick(0), |newest| newest.tick);
        let mut by_age: Vec<Option<&TickTruth>> = Vec::new();
        moment.truth.by_age(&mut by_age);
        let one_in = rates.codec_one_in;
        for (subject, row) in self.subjects(moment).skip(turn % one_in).step_by(one_in) {
            // A state newer than the truth's newest tick wraps round to an age beyond the end.
            let age = newest.0.wrapping_sub(subject.state_tick().0) as usize;
            if let Some(Some(truth)) = by_age.get(age)
                && let Some(place) = truth.positions.get(row as usize)
            {
                match subject.level() {
                    None | Some(Level::NEAR) => tally.codec.compare_near(*place, subject.position()),
                    Some(_) => tally.codec.compare_crowd(*place, subject.position()),
                }
            }
        }
    }

    pub(super) fn compare_shown(&self, moment: &Moment<'_>, turn: usize, rates: Rates, tally: &mut Tally) {
        let Some(now) = ShownNow::new(moment) else { return };
        tally.behind_ms.record(now.behind_ms(moment), 1);
        let one_in = rates.shown_one_in;
        for one in self.subjects(moment).skip(turn % one_in).step_by(one_in) {
            now.compare(moment, one, (true, true), tally);
        }
    }

    /// Compares the properties of every `one_in`-th subject from the `first` on.
    pub(super) fn compare_properties(
        &self,
        moment: &Moment<'_>,
        (first, one_in): (usize, usize),
        tally: &mut Tally,
    ) {
        for (subject, row) in self.subjects(moment).skip(first).step_by(one_in) {
            moment.compare_properties(subject, row, tally);
        }
    }
}
