//! What the engine promises, one example per sentence.

use myriad_aoi::{
    Config, Edge, Engine, Event, Observer, ObserverId, RADIUS_MAX, Subject, SubjectId, TrapEvent, TrapId,
};

const ME: ObserverId = ObserverId(0);
const YOU: ObserverId = ObserverId(1);
const IT: SubjectId = SubjectId(5);

fn at(x: i32) -> Subject {
    Subject {
        position: [x, 0, 0],
        layers: 1,
        appeal: 0,
    }
}

fn seeing(radius: u32) -> Observer {
    Observer {
        position: [0; 3],
        radius,
        sees: 1,
        avatar: None,
    }
}

fn enter(subject: SubjectId) -> Event {
    Event {
        observer: ME,
        subject,
        edge: Edge::Enter,
    }
}

fn leave(subject: SubjectId) -> Event {
    Event {
        observer: ME,
        subject,
        edge: Edge::Leave,
    }
}

/// An observer of radius 100 at the origin, and a subject at `x`; nothing updated yet.
fn engine(x: i32) -> Engine {
    let mut engine = Engine::new(Config::default());
    engine.insert_observer(ME, seeing(100));
    engine.insert_subject(IT, at(x));
    engine
}

/// The events of the next update, by observer and subject; the order within a pair is the engine's.
fn events(engine: &mut Engine) -> Vec<Event> {
    engine.update();
    let mut events: Vec<_> = engine.events().collect();
    assert_eq!(engine.events_len(), events.len());
    events.sort_by_key(|event| (event.observer, event.subject));
    events
}

fn observers_of(engine: &Engine, subject: SubjectId) -> Vec<ObserverId> {
    let mut found = vec![ObserverId(99)];
    engine.observers_of(subject, &mut found);
    found
}

/// Moves the subject along x and says after each update whether it is in view.
fn seen_along(engine: &mut Engine, xs: &[i32]) -> Vec<bool> {
    let step = |x: &i32| {
        engine.move_subject(IT, [*x, 0, 0]);
        engine.update();
        engine.view(ME).contains(IT)
    };
    xs.iter().map(step).collect()
}

#[test]
fn a_subject_enters_at_the_radius_and_leaves_beyond_1_1_radii() {
    let mut engine = engine(1_000);
    let seen = seen_along(&mut engine, &[101, 100, 101, 110, 111, 110, 101, 100]);
    assert_eq!(seen, [false, true, true, true, false, false, false, true]);
}

#[test]
fn distance_counts_in_three_dimensions() {
    let mut engine = engine(0);
    engine.move_subject(IT, [60, 64, 48]);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.move_subject(IT, [66, 70, 60]);
    assert_eq!(events(&mut engine), [leave(IT)]);
}

#[test]
fn nothing_happens_before_the_update_and_nothing_twice() {
    let mut engine = engine(0);
    assert!(engine.events_len() == 0 && engine.view(ME).is_empty());
    assert_eq!(events(&mut engine), [enter(IT)]);
    assert_eq!(events(&mut engine), []);
    assert!(engine.view(ME).contains(IT));
}

#[test]
fn a_subject_is_seen_only_where_masks_meet() {
    let mut engine = engine(0);
    engine.set_layers(IT, 0b110);
    assert_eq!(events(&mut engine), []);
    engine.set_sees(ME, 0b010);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.set_layers(IT, 0b101);
    assert_eq!(events(&mut engine), [leave(IT)]);
}

#[test]
fn appeal_shows_a_subject_from_further_away_with_its_own_hysteresis() {
    let mut engine = engine(1_000);
    engine.set_appeal(IT, 500);
    let seen = seen_along(&mut engine, &[501, 500, 550, 551]);
    assert_eq!(seen, [false, true, true, false]);
    engine.set_appeal(IT, 50);
    assert_eq!(seen_along(&mut engine, &[101, 100]), [false, true]);
}

#[test]
fn masks_hide_but_do_not_end_nearness() {
    let mut engine = engine(100);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.set_layers(IT, 2);
    engine.move_subject(IT, [105, 0, 0]);
    assert_eq!(events(&mut engine), [leave(IT)]);
    // It stayed near between 1.0 and 1.1 radii, unseen.
    engine.set_layers(IT, 1);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.set_sees(ME, 0);
    engine.move_subject(IT, [111, 0, 0]);
    assert_eq!(events(&mut engine), [leave(IT)]);
    engine.set_sees(ME, 1);
    engine.move_subject(IT, [105, 0, 0]);
    assert_eq!(events(&mut engine), []);
}

#[test]
fn an_appeal_remembers_for_itself_and_the_radius_goes_on_remembering() {
    let mut engine = engine(100);
    engine.update();
    engine.set_appeal(IT, 200);
    assert_eq!(
        seen_along(&mut engine, &[110, 200, 220, 221]),
        [true, true, true, false]
    );
    // It was further than 1.1 radii while it had an appeal.
    engine.set_appeal(IT, 0);
    assert_eq!(seen_along(&mut engine, &[105, 100]), [false, true]);
    // This time it stays within them, so that without the appeal it is near still.
    engine.set_appeal(IT, 1);
    assert_eq!(seen_along(&mut engine, &[100, 110]), [true, true]);
    engine.set_appeal(IT, 0);
    assert_eq!(seen_along(&mut engine, &[110, 111]), [true, false]);
    // An appeal begins without having been near by it.
    engine.set_appeal(IT, 100);
    engine.move_subject(IT, [105, 0, 0]);
    assert_eq!(events(&mut engine), []);
}

#[test]
fn an_appeal_that_begins_between_1_0_and_1_1_of_it_hides_who_was_near() {
    let mut engine = engine(100);
    assert_eq!(seen_along(&mut engine, &[100, 109]), [true, true]);
    engine.set_appeal(IT, 50);
    assert_eq!(events(&mut engine), [leave(IT)]);
    engine.set_appeal(IT, 0);
    assert_eq!(events(&mut engine), [enter(IT)]);
}

#[test]
fn what_was_manual_has_not_been_near() {
    let mut engine = engine(105);
    engine.set_manual(ME, IT, true);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.set_manual(ME, IT, false);
    assert_eq!(events(&mut engine), [leave(IT)]);
}

#[test]
fn a_changed_radius_counts_at_the_next_update() {
    let mut engine = engine(105);
    engine.set_radius(ME, 105);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.set_radius(ME, 96);
    assert_eq!(events(&mut engine), []);
    engine.set_radius(ME, 95);
    assert_eq!(events(&mut engine), [leave(IT)]);
}

#[test]
fn manual_interest_beats_distance_but_not_masks() {
    let mut engine = engine(i32::MAX);
    engine.set_manual(ME, IT, true);
    engine.set_manual(ME, IT, true);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.set_layers(IT, 2);
    assert_eq!(events(&mut engine), [leave(IT)]);
    engine.set_layers(IT, 3);
    assert_eq!(events(&mut engine), [enter(IT)]);
    engine.set_manual(ME, IT, false);
    assert_eq!(events(&mut engine), [leave(IT)]);
}

#[test]
fn manual_interest_ends_with_the_life_of_either() {
    let mut engine = engine(1_000);
    engine.set_manual(ME, IT, true);
    engine.update();
    engine.remove_subject(IT);
    engine.insert_subject(IT, at(1_000));
    assert_eq!(events(&mut engine), [leave(IT)]);

    engine.set_manual(ME, IT, true);
    engine.remove_observer(ME);
    engine.insert_observer(ME, seeing(100));
    assert_eq!(events(&mut engine), []);
}

#[test]
fn a_height_limit_has_hysteresis_too() {
    let mut engine = Engine::new(Config {
        dy_limit: Some(20),
        ..Config::default()
    });
    engine.insert_observer(ME, seeing(1_000));
    engine.insert_subject(IT, at(0));
    let heights = [21, 20, 22, 23, 22, -20, -22, -23];
    let seen = heights.map(|y| {
        engine.move_subject(IT, [0, y, 0]);
        engine.update();
        engine.view(ME).contains(IT)
    });
    assert_eq!(seen, [false, true, true, false, false, true, true, false]);
}

#[test]
fn a_removed_subject_leaves_and_a_reused_id_is_somebody_else() {
    let mut engine = engine(0);
    engine.update();
    engine.remove_subject(IT);
    engine.insert_subject(IT, at(0));
    assert_eq!(events(&mut engine), [leave(IT), enter(IT)]);
    // The new life has not been near: between 1.0 and 1.1 radii it does not stay, it does not enter.
    engine.remove_subject(IT);
    engine.insert_subject(IT, at(105));
    assert_eq!(events(&mut engine), [leave(IT)]);
    engine.remove_subject(IT);
    assert_eq!(events(&mut engine), []);
}

#[test]
fn a_life_between_two_updates_is_never_seen() {
    let mut engine = engine(0);
    engine.remove_subject(IT);
    assert_eq!(events(&mut engine), []);
}

#[test]
fn a_removed_observer_drops_its_view_without_events() {
    let mut engine = engine(0);
    engine.update();
    engine.remove_observer(ME);
    assert!(engine.view(ME).is_empty());
    engine.insert_observer(ME, seeing(100));
    assert!(engine.view(ME).is_empty());
    assert_eq!(events(&mut engine), [enter(IT)]);
}

#[test]
fn a_directed_observer_that_begins_again_has_had_nobody_near() {
    let mut engine = engine(100);
    engine.update();
    engine.move_subject(IT, [105, 0, 0]);
    engine.remove_observer(ME);
    engine.insert_observer(ME, seeing(100));
    assert_eq!(events(&mut engine), []);
}

#[test]
fn without_an_account_nobody_is_watched() {
    let mut engine = Engine::new(Config {
        watched: false,
        ..Config::default()
    });
    engine.insert_observer(ME, seeing(100));
    engine.insert_subject(IT, at(0));
    assert_eq!(events(&mut engine), [enter(IT)]);
    assert!(engine.watched_changes().is_empty() && !engine.is_watched(IT));
    assert_eq!((observers_of(&engine, IT), engine.pairs()), (vec![ME], 1));
}

#[test]
fn watched_changes_tell_whether_anybody_sees_a_subject() {
    let mut engine = engine(0);
    engine.insert_observer(YOU, seeing(100));
    engine.update();
    assert_eq!(engine.watched_changes(), [(IT, true)]);
    assert_eq!(observers_of(&engine, IT), [ME, YOU]);
    engine.remove_observer(ME);
    engine.update();
    assert_eq!(engine.watched_changes(), []);
    assert_eq!(observers_of(&engine, IT), [YOU]);
    engine.move_observer(YOU, [500; 3]);
    engine.update();
    assert_eq!(engine.watched_changes(), [(IT, false)]);
}

#[test]
fn a_watched_life_ends_unwatched_even_if_the_next_one_is_watched_at_once() {
    let mut engine = engine(0);
    engine.update();
    engine.remove_subject(IT);
    engine.insert_subject(IT, at(1));
    engine.update();
    assert_eq!(engine.watched_changes(), [(IT, false), (IT, true)]);
}

#[test]
fn an_observer_sees_its_own_avatar_like_anybody_else() {
    let mut engine = engine(0);
    engine.insert_observer(
        YOU,
        Observer {
            sees: 2,
            avatar: Some(IT),
            ..seeing(100)
        },
    );
    engine.update();
    assert!(engine.view(ME).contains(IT) && !engine.view(YOU).contains(IT));
}

#[test]
fn traps_report_who_comes_and_goes_without_hysteresis() {
    let trap = TrapId(3);
    let mut engine = engine(50);
    engine.insert_trap(trap, [0; 3], 50, 1);
    let edge = |edge| {
        [TrapEvent {
            trap,
            subject: IT,
            edge,
        }]
    };
    engine.update();
    assert_eq!(engine.trap_events(), edge(Edge::Enter));
    engine.move_subject(IT, [51, 0, 0]);
    engine.update();
    assert_eq!(engine.trap_events(), edge(Edge::Leave));
    engine.move_trap(trap, [1, 0, 0]);
    engine.update();
    assert_eq!(engine.trap_events(), edge(Edge::Enter));
    engine.remove_trap(trap);
    engine.update();
    assert_eq!(engine.trap_events(), []);
}

#[test]
fn questions_are_answered_from_the_last_update() {
    let mut engine = engine(7);
    let mut found = Vec::new();
    engine.circle([0; 3], 100, 1, &mut found);
    assert_eq!(found, []);
    engine.update();
    engine.move_subject(IT, [1_000, 0, 0]);
    engine.circle([0; 3], 100, 1, &mut found);
    assert_eq!(found, [IT]);
    engine.in_box([7, 0, 0], [7, 0, 0], 1, &mut found);
    assert_eq!(found, [IT]);
    engine.in_box([8, 0, 0], [7, 0, 0], 1, &mut found);
    assert_eq!(found, []);
}

#[test]
fn the_nearest_come_in_order_and_equals_by_id() {
    let mut engine = engine(3);
    for (id, x) in [(1, -9), (2, 4), (3, -4), (4, 5_000), (6, 3)] {
        engine.insert_subject(SubjectId(id), at(x));
    }
    engine.update();
    let mut found = Vec::new();
    engine.nearest([0; 3], 5, 1_000, 1, &mut found);
    assert_eq!(found, [5, 6, 2, 3, 1].map(SubjectId));
    engine.nearest([0; 3], 5, 4, 1, &mut found);
    assert_eq!(found, [5, 6, 2, 3].map(SubjectId));
    engine.nearest([0; 3], 99, u32::MAX, 1, &mut found);
    assert_eq!(found, [5, 6, 2, 3, 1, 4].map(SubjectId));
}

#[test]
fn a_sector_opens_to_both_sides_of_its_direction() {
    let mut engine = engine(0);
    let places = [
        (1, [30, 90, 30]),
        (2, [30, 0, -30]),
        (3, [30, 0, 31]),
        (4, [-30, 0, 0]),
        (6, [200, 0, 0]),
    ];
    for (id, position) in places {
        engine.insert_subject(SubjectId(id), Subject { position, ..at(0) });
    }
    engine.update();
    let mut found = vec![SubjectId(77)];
    // Just less than the cosine of 45 degrees, then just more; IT stands at the centre.
    engine.sector([0; 3], [7, 0], 46_340, 100, 1, &mut found);
    assert_eq!(found, [1, 2, 5].map(SubjectId));
    engine.sector([0; 3], [7, 0], 46_341, 100, 1, &mut found);
    assert_eq!(found, [IT]);
    engine.sector([0; 3], [-1, 0], 65_536, 100, 1, &mut found);
    assert_eq!(found, [4, 5].map(SubjectId));
    engine.sector([0; 3], [7, 0], -65_535, 200, 1, &mut found);
    assert_eq!(found, [1, 2, 3, 5, 6].map(SubjectId));
    engine.sector([0; 3], [0, 0], 65_536, 100, 1, &mut found);
    assert_eq!(found, [1, 2, 3, 4, 5].map(SubjectId));
}

#[test]
fn the_ends_of_the_world_are_not_next_to_each_other() {
    let mut engine = engine(0);
    engine.move_observer(ME, [i32::MIN, i32::MIN, i32::MIN]);
    engine.set_radius(ME, u32::MAX);
    engine.move_subject(IT, [i32::MAX, i32::MAX, i32::MAX]);
    assert_eq!(events(&mut engine), []);
    let edge = i32::MIN + RADIUS_MAX as i32;
    engine.move_subject(IT, [edge, i32::MIN, i32::MIN]);
    assert_eq!(events(&mut engine), [enter(IT)]);
}

#[test]
#[should_panic(expected = "inserted already")]
fn an_id_is_inserted_once() {
    engine(0).insert_subject(IT, at(0));
}

#[test]
#[should_panic(expected = "not inserted")]
fn who_is_gone_does_not_move() {
    let mut engine = engine(0);
    engine.remove_subject(IT);
    engine.move_subject(IT, [0; 3]);
}

#[test]
#[should_panic(expected = "beyond subjects_max")]
fn ids_are_bounded() {
    engine(0).insert_subject(SubjectId(Config::default().subjects_max), at(0));
}
