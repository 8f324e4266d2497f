//! What led to a difference: the little of a long history that is about one observer and one subject.

use std::fmt::Write;

use myriad_aoi::{Event, oracle};

use super::trial::Trial;

impl Trial {
    /// Panics with what is known about the pair of `event`.
    pub(crate) fn fail(&self, message: &str, event: Option<Event>) -> ! {
        let mut text = format!("{}, update {}: {message}\n", self.plan.name, self.updates);
        if let Some(event) = event {
            self.tell(event, &mut text).expect("a string takes everything");
        }
        panic!("{text}");
    }

    fn tell(&self, event: Event, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "what was done to the two, the newest update last, of {:?}:",
            self.plan.config
        )?;
        let first_update = self.updates + 1 - self.done.len() as u32;
        for (ops, update) in self.done.iter().zip(first_update..) {
            let about = ops.iter().filter(|op| {
                let subject = op.subject();
                let is_avatar = self.plan.is_mutual() && subject == Some(event.observer.0);
                let is_manual = op.observer().is_some() && subject.is_some();
                let is_subject = subject == Some(event.subject.0) || is_avatar;
                let is_observer = op.observer() == Some(event.observer.0);
                if is_manual {
                    is_subject && is_observer
                } else {
                    is_subject || is_observer
                }
            });
            for op in about {
                writeln!(text, "  {update}: {op:?}")?;
            }
        }
        let observer = self.oracle.observer(event.observer);
        let subject = self.oracle.subject(event.subject);
        writeln!(text, "now {observer:?} and {subject:?}")?;
        if let (Some(observer), Some(subject)) = (observer, subject) {
            let distance2 = oracle::distance2(observer.position, subject.position);
            writeln!(text, "whose squared distance is {distance2}")?;
        }
        Ok(())
    }
}
