//! Which public properties were true when: what a client holds must have been true a short while ago.
//!
//! A trace that starts in the middle does not know a property before its first change; such a property is not
//! judged, and the report counts those that were.

use crate::truth::Row;
use myriad_wire::value::PropertyList;
use myriad_wire::{PropertyIndex, Tick, Value};

/// The recent values of every property of every row.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    rows: Vec<Vec<History>>,
    /// Those with more than one value: the only ones that can have something to forget.
    several: Vec<(Row, PropertyIndex)>,
}

#[derive(Debug)]
struct History {
    index: PropertyIndex,
    /// From which tick on each was true, ascending. Never empty.
    values: Vec<(Tick, Value)>,
}

impl Properties {
    pub(crate) fn handle_change(&mut self, row: Row, tick: Tick, properties: &PropertyList) {
        let row_index = row as usize;
        if self.rows.len() <= row_index {
            self.rows.resize_with(row_index + 1, Vec::new);
        }
        let histories = &mut self.rows[row_index];
        for (index, value) in properties {
            let entry = (tick, value.clone());
            match histories.iter_mut().find(|history| history.index == *index) {
                Some(history) => {
                    history.values.push(entry);
                    self.several.push((row, *index));
                }
                None => histories.push(History {
                    index: *index,
                    values: vec![entry],
                }),
            }
        }
    }

    /// Forgets what had ceased to be true before `tick`.
    pub(crate) fn forget_before(&mut self, tick: Tick) {
        let rows = &mut self.rows;
        self.several.retain(|(row, index)| {
            let history = rows[*row as usize]
                .iter_mut()
                .find(|history| history.index == *index);
            let values = &mut history.expect("whoever is listed has a history").values;
            let first = values
                .partition_point(|(from, _)| *from <= tick)
                .saturating_sub(1);
            values.drain(..first);
            values.len() > 1
        });
    }

    /// Whether `value` was true at any time since `since`. `None` if the trace does not know.
    pub(crate) fn was_true(
        &self,
        row: Row,
        index: PropertyIndex,
        value: &Value,
        since: Tick,
    ) -> Option<bool> {
        let histories = self.rows.get(row as usize)?;
        let values = &histories.iter().find(|history| history.index == index)?.values;
        let ends = values.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        let found = values
            .iter()
            .zip(ends)
            .any(|((_, held), end)| held == value && end.is_none_or(|end| end > since));
        // Before the first change that was told anything may have been true.
        let knows = values.first().is_some_and(|(from, _)| *from <= since);
        (found || knows).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOOD: PropertyIndex = PropertyIndex(1);

    fn moods(changes: &[(u64, i64)]) -> Properties {
        let mut properties = Properties::default();
        for (tick, mood) in changes {
            properties.handle_change(3, Tick(*tick), &vec![(MOOD, Value::Int(*mood))]);
        }
        properties
    }

    #[test]
    fn a_value_is_right_while_it_is_true_and_a_while_after() {
        let properties = moods(&[(10, 1), (60, 2)]);
        let was = |mood, since| properties.was_true(3, MOOD, &Value::Int(mood), Tick(since));
        assert_eq!(was(2, 70), Some(true));
        assert_eq!(was(1, 59), Some(true));
        assert_eq!(was(1, 60), Some(false), "it ceased to be true at 60");
        assert_eq!(was(7, 70), Some(false), "it never was true");
    }

    #[test]
    fn what_was_before_the_first_change_is_not_judged() {
        let properties = moods(&[(10, 1)]);
        assert_eq!(properties.was_true(3, MOOD, &Value::Int(9), Tick(5)), None);
        assert_eq!(
            properties.was_true(3, PropertyIndex(0), &Value::Int(9), Tick(50)),
            None
        );
        assert_eq!(properties.was_true(4, MOOD, &Value::Int(9), Tick(50)), None);
    }

    #[test]
    fn forgetting_keeps_what_is_true_and_what_was_until_lately() {
        let mut properties = moods(&[(10, 1), (60, 2), (110, 3)]);
        properties.forget_before(Tick(80));
        assert_eq!(properties.rows[3][0].values.len(), 2);
        assert_eq!(properties.was_true(3, MOOD, &Value::Int(2), Tick(80)), Some(true));
        properties.forget_before(Tick(200));
        assert_eq!(properties.rows[3][0].values.len(), 1);
        assert!(properties.several.is_empty());
        assert_eq!(
            properties.was_true(3, MOOD, &Value::Int(2), Tick(200)),
            Some(false)
        );
    }
}
