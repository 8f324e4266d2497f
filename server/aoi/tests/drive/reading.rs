//! Everything that can be read out of an engine, held against the oracle.

use myriad_aoi::{Event, ObserverId, SubjectId};

use super::op::Op;
use super::trial::{Contender, Trial};

impl Trial {
    /// After an update.
    pub(crate) fn compare(&self) {
        self.compare_events();
        let pairs = self.oracle.pairs();
        for (contender, nth) in self.contenders.iter().zip(0..) {
            assert_eq!(contender.engine.pairs(), pairs, "{}: pairs", contender.name);
            self.compare_counts(contender);
            self.compare_views(contender, nth);
        }
    }

    fn compare_events(&self) {
        let (first, others) = self.contenders.split_first().expect("one kernel runs everywhere");
        let mut events: Vec<Event> = first.engine.events().collect();
        for other in others {
            let mut pairs = other.engine.events().zip(&events);
            let same_len = other.engine.events_len() == events.len();
            if !same_len || !other.engine.events().eq(events.iter().copied()) {
                let event = pairs.find(|(theirs, ours)| theirs != *ours);
                self.fail(&format!(
                    "{} and {} do not tell the same events in the same order: {} and {}, the first difference {event:?}",
                    other.name,
                    first.name,
                    other.engine.events_len(),
                    events.len(),
                ), event.map(|(event, _)| event));
            }
        }
        assert_eq!(first.engine.events_len(), events.len());
        // A stable sort that leaves the order of a pair's edges as it is told.
        events.sort_by_key(|event| (event.observer, event.subject));
        let expected = self.oracle.events();
        if events != expected {
            let at = events.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let (told, true_event) = (events.get(at), expected.get(at));
            // Of two sorted lists the lesser head is the one that the other does not have.
            let event = [told, true_event].into_iter().flatten().min();
            self.fail(
                &format!("all engines tell {told:?}, the oracle {true_event:?}"),
                event.copied(),
            );
        }
    }

    fn compare_counts(&self, Contender { name, engine, .. }: &Contender) {
        let oracle = &self.oracle;
        assert_eq!(
            engine.watched_changes(),
            oracle.watched_changes(),
            "{name}: watched changes"
        );
        assert_eq!(engine.trap_events(), oracle.trap_events(), "{name}: trap events");
        let (ids, stride) = (0..self.plan.subjects + 70, self.plan.view_stride as usize);
        for id in ids.clone().map(SubjectId) {
            assert_eq!(
                engine.is_watched(id),
                oracle.is_watched(id),
                "{name}: {id:?} is watched"
            );
        }
        let mut found = vec![ObserverId(7)];
        for id in ids
            .skip(self.updates as usize % stride)
            .step_by(stride)
            .map(SubjectId)
        {
            engine.observers_of(id, &mut found);
            let expected: Vec<_> = oracle.observers_of(id).collect();
            assert_eq!(found, expected, "{name}: observers of {id:?}");
            assert_eq!(engine.subject(id), oracle.subject(id).copied(), "{name}");
        }
    }

    /// Views of every `view_stride`th observer, different ones for every engine and every update.
    fn compare_views(&self, contender: &Contender, nth: u32) {
        let stride = self.plan.view_stride;
        let mut homes = Homes::default();
        let first = (self.updates + nth) % stride;
        for id in (first..self.plan.observers + 1)
            .step_by(stride as usize)
            .map(ObserverId)
        {
            self.compare_view(contender, id, &mut homes);
            let observer = contender.engine.observer(id);
            assert_eq!(observer, self.oracle.observer(id).copied(), "{}", contender.name);
        }
    }

    /// Reads one view in every way there is.
    fn compare_view(&self, Contender { name, engine, .. }: &Contender, id: ObserverId, homes: &mut Homes) {
        let expected: Vec<_> = self.oracle.view(id).collect();
        let view = engine.view(id);
        let mut members: Vec<_> = view.iter().collect();
        members.sort();
        assert_eq!(members, expected, "{name}: view of {id:?}");
        assert_eq!(
            (view.len(), view.is_empty()),
            (expected.len(), expected.is_empty()),
            "{name}: view of {id:?}"
        );
        // Of an empty view a few are asked for: most views are empty, and have been compared by their counts.
        let stride = if expected.is_empty() { 61 } else { 1 };
        let ids = (0..self.plan.subjects + 70).chain([u32::MAX]).map(SubjectId);
        let contained = ids.step_by(stride).filter(|subject| view.contains(*subject));
        assert!(
            contained.eq(expected.iter().copied()),
            "{name}: what the view of {id:?} contains"
        );

        let mut from_blocks = Vec::new();
        for block in view.blocks() {
            assert!(block.mask != 0, "{name}: a block of which nothing is in view");
            let members = block.iter().count();
            assert_eq!(
                members,
                block.mask.count_ones() as usize,
                "{name}: a block's members"
            );
            let bits = (0..u32::BITS).filter(|bit| block.mask >> bit & 1 != 0);
            for (subject, bit) in block.iter().zip(bits) {
                homes.expect(name, subject, (block.index, bit));
            }
            from_blocks.extend(block.iter());
        }
        from_blocks.sort();
        assert_eq!(from_blocks, expected, "{name}: blocks of the view of {id:?}");
    }

    /// Asks everybody the same question.
    pub(crate) fn ask(&self, question: &Op) {
        let oracle = &self.oracle;
        for Contender { name, engine, .. } in &self.contenders {
            let mut found = vec![SubjectId(7)];
            let expected = match *question {
                Op::Circle(centre, radius, layers) => {
                    engine.circle(centre, radius, layers, &mut found);
                    oracle.circle(centre, radius, layers)
                }
                Op::Box(low, high, layers) => {
                    engine.in_box(low, high, layers, &mut found);
                    oracle.in_box(low, high, layers)
                }
                Op::Nearest(centre, count, radius, layers) => {
                    engine.nearest(centre, count, radius, layers, &mut found);
                    oracle.nearest(centre, count, radius, layers)
                }
                Op::Sector(centre, direction, cos, radius, layers) => {
                    engine.sector(centre, direction, cos, radius, layers, &mut found);
                    oracle.sector(centre, direction, cos, radius, layers)
                }
                _ => unreachable!("not a question"),
            };
            assert_eq!(found, expected, "{name}: {question:?}");
        }
    }
}

/// In which block, and where in it, each subject was found in this update: the same in all views.
#[derive(Default)]
struct Homes(Vec<Option<(u32, u32)>>);

impl Homes {
    fn expect(&mut self, name: &str, subject: SubjectId, home: (u32, u32)) {
        let index = subject.0 as usize;
        if index >= self.0.len() {
            self.0.resize(index + 1, None);
        }
        let known = *self.0[index].get_or_insert(home);
        assert_eq!(known, home, "{name}: {subject:?} is in two blocks");
    }
}
