//! What an engine of one set of entities promises, one example per sentence. What it has in common with the other
//! shape is in `rules.rs`.

use myriad_aoi::{Config, Edge, Engine, Event, Observer, ObserverId, Shape, Subject, SubjectId};

const RADIUS: u32 = 100;

fn entity(engine: &mut Engine, id: u32, x: i32) {
    let subject = Subject {
        position: [x, 0, 0],
        layers: 1,
        appeal: 0,
    };
    engine.insert_subject(SubjectId(id), subject);
}

fn observer(id: u32) -> Observer {
    Observer {
        position: [0; 3],
        radius: RADIUS,
        sees: 1,
        avatar: Some(SubjectId(id)),
    }
}

fn observe(engine: &mut Engine, id: u32) {
    engine.insert_observer(ObserverId(id), observer(id));
}

/// Entity 0 at the origin and entity 1 at `x`, who both observe; nothing updated yet.
fn two(x: i32) -> Engine {
    let mut engine = Engine::new(Config {
        shape: Shape::Mutual { radius: RADIUS },
        ..Config::default()
    });
    for (id, x) in [(0, 0), (1, x)] {
        entity(&mut engine, id, x);
        observe(&mut engine, id);
    }
    engine
}

/// The events of the next update: who saw whom enter (`true`) or leave, one's own avatar left out.
fn events(engine: &mut Engine) -> Vec<(u32, u32, bool)> {
    engine.update();
    let others = |event: &Event| event.observer.0 != event.subject.0;
    let mut events: Vec<_> = engine.events().filter(others).collect();
    events.sort_by_key(|event| (event.observer, event.subject));
    let plain = |event: Event| (event.observer.0, event.subject.0, event.edge == Edge::Enter);
    events.into_iter().map(plain).collect()
}

#[test]
fn two_entities_see_each_other_and_themselves() {
    let mut engine = two(100);
    engine.update();
    for id in [0, 1] {
        let mut seen: Vec<_> = engine.view(ObserverId(id)).iter().collect();
        seen.sort();
        assert_eq!(seen, [SubjectId(0), SubjectId(1)]);
    }
    assert_eq!((engine.events_len(), engine.pairs()), (4, 4));
}

#[test]
fn a_move_takes_the_observer_along() {
    let mut engine = two(1_000);
    assert_eq!(events(&mut engine), []);
    engine.move_subject(SubjectId(0), [900, 0, 0]);
    assert_eq!(events(&mut engine), [(0, 1, true), (1, 0, true)]);
    assert_eq!(
        engine.observer(ObserverId(0)).map(|observer| observer.position),
        Some([900, 0, 0])
    );
    engine.move_subject(SubjectId(1), [1_010, 0, 0]);
    assert_eq!(events(&mut engine), []);
    engine.move_subject(SubjectId(1), [1_011, 0, 0]);
    assert_eq!(events(&mut engine), [(0, 1, false), (1, 0, false)]);
}

#[test]
fn masks_are_one_way() {
    let mut engine = two(10);
    engine.set_sees(ObserverId(1), 2);
    assert_eq!(events(&mut engine), [(0, 1, true)]);
    engine.set_layers(SubjectId(0), 2);
    assert_eq!(events(&mut engine), [(1, 0, true)]);
}

#[test]
fn an_appeal_is_one_way() {
    let mut engine = two(500);
    engine.set_appeal(SubjectId(1), 500);
    assert_eq!(events(&mut engine), [(0, 1, true)]);
    engine.move_subject(SubjectId(0), [-50, 0, 0]);
    assert_eq!(events(&mut engine), []);
    engine.move_subject(SubjectId(0), [-51, 0, 0]);
    assert_eq!(events(&mut engine), [(0, 1, false)]);
}

#[test]
fn who_does_not_observe_sees_nobody_and_is_seen() {
    let mut engine = two(10);
    engine.update();
    engine.remove_observer(ObserverId(1));
    assert!(engine.view(ObserverId(1)).is_empty());
    assert_eq!(events(&mut engine), []);
    assert!(engine.view(ObserverId(0)).contains(SubjectId(1)));
}

#[test]
fn nearness_belongs_to_the_entities_not_to_the_observer() {
    let mut engine = two(100);
    engine.update();
    engine.remove_observer(ObserverId(1));
    engine.move_subject(SubjectId(1), [110, 0, 0]);
    assert_eq!(events(&mut engine), []);
    observe(&mut engine, 1);
    assert!(engine.view(ObserverId(1)).is_empty());
    assert_eq!(events(&mut engine), [(1, 0, true)]);
}

#[test]
fn nearness_begins_before_anybody_observes() {
    let mut engine = two(100);
    engine.remove_observer(ObserverId(0));
    engine.remove_observer(ObserverId(1));
    engine.set_appeal(SubjectId(1), 200);
    assert_eq!(events(&mut engine), []);
    engine.move_subject(SubjectId(1), [220, 0, 0]);
    assert_eq!(events(&mut engine), []);
    observe(&mut engine, 0);
    assert_eq!(events(&mut engine), [(0, 1, true)]);
}

#[test]
fn a_removed_entity_observes_no_more_and_a_new_one_has_been_near_to_nobody() {
    let mut engine = two(100);
    engine.update();
    engine.remove_subject(SubjectId(1));
    assert!(engine.observer(ObserverId(1)).is_none() && engine.view(ObserverId(1)).is_empty());
    entity(&mut engine, 1, 105);
    observe(&mut engine, 1);
    assert_eq!(events(&mut engine), [(0, 1, false)]);
    engine.remove_subject(SubjectId(1));
    entity(&mut engine, 1, 100);
    observe(&mut engine, 1);
    assert_eq!(events(&mut engine), [(0, 1, true), (1, 0, true)]);
}

#[test]
fn an_id_reused_at_once_leaves_and_enters() {
    let mut engine = two(50);
    engine.update();
    engine.remove_subject(SubjectId(1));
    entity(&mut engine, 1, 50);
    assert_eq!(events(&mut engine), [(0, 1, false), (0, 1, true)]);
}

#[test]
fn manual_interest_is_one_way_and_ends_with_the_observing() {
    let mut engine = two(1_000);
    engine.set_manual(ObserverId(0), SubjectId(1), true);
    assert_eq!(events(&mut engine), [(0, 1, true)]);
    engine.remove_observer(ObserverId(0));
    observe(&mut engine, 0);
    assert_eq!(events(&mut engine), []);
    assert!(!engine.view(ObserverId(0)).contains(SubjectId(1)));
}

#[test]
fn the_place_that_an_observer_brings_is_not_asked_for() {
    let mut engine = two(1_000);
    engine.remove_observer(ObserverId(1));
    engine.insert_observer(
        ObserverId(1),
        Observer {
            position: [5; 3],
            ..observer(1)
        },
    );
    assert_eq!(events(&mut engine), []);
    assert_eq!(
        engine.observer(ObserverId(1)).map(|observer| observer.position),
        Some([1_000, 0, 0])
    );
}

#[test]
#[should_panic]
fn an_observer_needs_an_entity() {
    observe(&mut two(0), 2);
}

#[test]
#[should_panic]
fn an_observer_has_the_radius_of_the_shape() {
    let mut engine = two(0);
    entity(&mut engine, 2, 0);
    engine.insert_observer(
        ObserverId(2),
        Observer {
            radius: RADIUS + 1,
            ..observer(2)
        },
    );
}

#[test]
#[should_panic]
fn an_observer_is_its_own_avatar() {
    let mut engine = two(0);
    entity(&mut engine, 2, 0);
    engine.insert_observer(ObserverId(2), observer(1));
}

#[test]
#[should_panic]
fn an_observer_does_not_move_by_itself() {
    two(0).move_observer(ObserverId(0), [0; 3]);
}

#[test]
#[should_panic]
fn an_observer_has_no_radius_of_its_own() {
    two(0).set_radius(ObserverId(0), RADIUS);
}
