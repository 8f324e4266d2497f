//! The engine's specification beside the engine: every event of every tick must be the same.

use crate::aoi::args::Plan;
use crate::aoi::report::OracleOutcome;
use crate::aoi::world::World;
use myriad_aoi::oracle::Oracle;
use myriad_aoi::{Edge, Engine, Event, ObserverId, SubjectId};

/// The specification of a run's engine, and what comparing came to.
#[derive(Debug)]
pub(super) struct Referee {
    oracle: Oracle,
    watched: bool,
    /// Reused from tick to tick.
    events: Vec<Event>,
    /// Events that were equal.
    pub(super) compared: u64,
    /// The first difference, told for people.
    pub(super) difference: Option<String>,
}

impl Referee {
    pub(super) fn new(plan: &Plan, world: &World) -> Self {
        let config = plan.config();
        let watched = config.watched;
        let mut oracle = Oracle::new(config);
        for (id, subject) in world.subjects() {
            oracle.insert_subject(id, subject);
        }
        for (id, observer) in world.watchers() {
            oracle.insert_observer(id, observer);
        }
        Self {
            oracle,
            watched,
            events: Vec::new(),
            compared: 0,
            difference: None,
        }
    }

    pub(super) fn follow(&mut self, world: &World) {
        for &i in &world.movers {
            let place = world.places[i as usize];
            self.oracle.move_subject(SubjectId(i), place);
            if world.directed && i < world.observers() {
                self.oracle.move_observer(ObserverId(i), place);
            }
        }
    }

    /// Updates the specification and holds the engine's last update against it; `false` if they differ.
    pub(super) fn judge(&mut self, engine: &Engine, tick: u32) -> bool {
        self.oracle.update();
        self.events.clear();
        self.events.extend(engine.events());
        self.events.sort();
        self.difference = first_difference(&self.events, self.oracle.events())
            .or_else(|| self.other_watched(engine))
            .map(|what| format!("tick {tick}: {what}"));
        self.compared += self.events.len() as u64;
        self.difference.is_none()
    }

    pub(super) fn outcome(&self) -> OracleOutcome {
        match self.difference {
            None => OracleOutcome::Equal,
            Some(_) => OracleOutcome::Different,
        }
    }

    fn other_watched(&self, engine: &Engine) -> Option<String> {
        let equal = !self.watched || engine.watched_changes() == self.oracle.watched_changes();
        (!equal).then(|| {
            format!(
                "{} subjects became watched or unwatched, {} by brute force",
                engine.watched_changes().len(),
                self.oracle.watched_changes().len()
            )
        })
    }
}

/// Both sorted.
fn first_difference(engine: &[Event], oracle: &[Event]) -> Option<String> {
    let same = engine.iter().zip(oracle).take_while(|(a, b)| a == b).count();
    let (mine, theirs) = (engine.get(same), oracle.get(same));
    if mine.is_none() && theirs.is_none() {
        return None;
    }
    Some(format!(
        "{} events, {} by brute force; the first difference is {}, by brute force {}",
        engine.len(),
        oracle.len(),
        told(mine),
        told(theirs)
    ))
}

fn told(event: Option<&Event>) -> String {
    let Some(event) = event else {
        return "nothing more".into();
    };
    let verb = match event.edge {
        Edge::Enter => "enters the view of",
        Edge::Leave => "leaves the view of",
    };
    format!("{} {verb} {}", event.subject.0, event.observer.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aoi::args::tests::parse;
    use myriad_aoi::Engine;

    fn event(observer: u32, subject: u32, edge: Edge) -> Event {
        Event {
            observer: ObserverId(observer),
            subject: SubjectId(subject),
            edge,
        }
    }

    #[test]
    fn the_first_difference_is_told() {
        let some = [event(1, 2, Edge::Enter), event(1, 3, Edge::Leave)];
        assert_eq!(first_difference(&some, &some), None);
        let told = first_difference(&some[..1], &some).expect("one is missing");
        assert!(
            told.contains("nothing more") && told.contains("3 leaves the view of 1"),
            "{told}"
        );
    }

    #[test]
    fn an_engine_that_misses_events_is_found_out() {
        let plan = Plan::of(&parse("--entities 3 --side 5")).expect("it makes sense");
        let mut referee = Referee::new(&plan, &World::new(&plan));
        let mut idle = Engine::new(plan.config());
        idle.update();
        assert!(!referee.judge(&idle, 4));
        assert_eq!(referee.outcome(), OracleOutcome::Different);
        let told = referee.difference.expect("it is different");
        assert!(told.starts_with("tick 4: 0 events, 9 by brute force"), "{told}");
    }
}
