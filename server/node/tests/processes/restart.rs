//! A server that is killed loses no more than its save interval, one that is stopped loses nothing.

use crate::server::{Server, Settings};
use crate::walker::{Door, Walker};
use myriad_client::ClientEvent;
use myriad_wire::{CloseReason, EntityId, Pos, PropertyIndex, Value};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Avatars in the test.
const AVATARS: usize = 20;
/// How often a changed avatar is saved, in seconds.
const SAVE_INTERVAL_S: f64 = 1.0;
/// How long a save may take on a busy machine, and how old the last payload may be, in seconds.
const SLACK_S: f64 = 0.5;
/// One every tick of 100 ms at most: 4 m/s.
const STEP: i32 = 409;
const SPEED_M_S: f64 = 4.0;
/// Steps before the kill: 20 m, much farther than may be lost.
const STEPS: usize = 50;

/// What a walker's next life is compared with.
struct Before {
    entity: EntityId,
    position: Pos,
    waves: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_every_avatar_is_back_near_its_last_true_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path())
        .with("storage.save_interval_s", SAVE_INTERVAL_S)
        .with("space.spawn_side_m", 10);
    let server = Server::serve(folder.path(), &settings);
    let door = Door::of(&server);
    let mut walkers = door.join_all((0..AVATARS).map(account)).await;
    for (i, walker) in walkers.iter_mut().enumerate() {
        for _ in 0..i % 4 {
            walker
                .connection
                .core()
                .command("wave", vec![])
                .expect("room for a command");
        }
    }
    walk(&mut walkers).await;
    let mut before = Vec::new();
    for (i, walker) in walkers.iter_mut().enumerate() {
        walker.catch_up().await;
        before.push(Before {
            entity: walker.entity(),
            position: walker.own().1,
            waves: i as i64 % 4,
        });
    }
    server.kill();

    let server = Server::serve(folder.path(), &settings);
    let door = Door::of(&server);
    let allowed_m = (SAVE_INTERVAL_S + SLACK_S) * SPEED_M_S;
    let walkers = door.join_all((0..AVATARS).map(account)).await;
    for (i, (before, mut walker)) in before.iter().zip(walkers).enumerate() {
        let joined = walker.joined();
        assert_eq!(joined.entity, before.entity, "the same avatar, not a new one");
        let away_m = (joined.position.to_metres() - before.position.to_metres()).length();
        assert!(away_m <= allowed_m, "{} came back {away_m:.2} m away", account(i));
        walker
            .until("it is told its waves", |walker| waves(walker).is_some())
            .await;
        assert_eq!(waves(&mut walker), Some(before.waves), "{}", account(i));
        walker
            .until("it sees itself", |walker| walker.sees(joined.entity))
            .await;
        assert_eq!(
            walker.property(joined.entity, "name"),
            Some(Value::Text(account(i)))
        );
    }
    assert!(server.stop().success());
}

fn account(i: usize) -> String {
    format!("walker-{i}")
}

/// Half of them walk east, the others north, up to the moment at which this returns.
async fn walk(walkers: &mut [Walker]) {
    let mut due = interval(Duration::from_millis(100));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..STEPS {
        due.tick().await;
        for (i, walker) in walkers.iter_mut().enumerate() {
            let (dx, dz) = if i % 2 == 0 { (STEP, 0) } else { (0, -STEP) };
            walker.step(dx, dz);
            walker.catch_up().await;
            assert_eq!(walker.closed(), None);
        }
    }
}

/// The property that only the owner is told.
fn waves(walker: &mut Walker) -> Option<i64> {
    let joined = walker.joined();
    let kind = joined
        .kinds
        .iter()
        .find(|kind| kind.name == "avatar")
        .expect("the plaza has it");
    let index = kind
        .properties
        .iter()
        .position(|property| property.name == "waves")
        .expect("it is declared");
    let told = walker.events.iter().rev().find_map(|event| match event {
        ClientEvent::Owner { properties, .. } => properties
            .iter()
            .find(|(told, _)| *told == PropertyIndex(index as u8)),
        _ => None,
    })?;
    match told.1 {
        Value::Int(waves) => Some(waves),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_tells_the_clients_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path()).with("storage.save_interval_s", 3600);
    let server = Server::serve(folder.path(), &settings);
    let mut ada = Door::of(&server).join("ada").await;
    let mut last = ada.step(200, 100);
    for _ in 0..4 {
        last = ada.step(200, 100);
    }
    ada.command("wave", vec![]).await;
    ada.until_applied(last).await;
    let (_, place) = ada.own();
    let stopped = tokio::task::spawn_blocking(|| server.signal(libc::SIGTERM));
    ada.until("the server says goodbye", |ada| ada.closed().is_some())
        .await;
    assert_eq!(ada.closed(), Some(CloseReason::Shutdown));
    assert!(stopped.await.expect("it ends").success());

    let server = Server::serve(folder.path(), &settings);
    let mut ada = Door::of(&server).join("ada").await;
    assert_eq!(ada.joined().position, place);
    ada.until("it is told its waves", |ada| waves(ada).is_some())
        .await;
    assert_eq!(waves(&mut ada), Some(1));
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_of_several_lanes_loses_nobody_who_is_between_them() {
    let folder = tempfile::tempdir().expect("a folder");
    // Four cells meet where all begin.
    let settings = Settings::new(folder.path())
        .with("storage.save_interval_s", 3600)
        .with("space.spawn_side_m", 10)
        .with("space.cell_m", 50)
        .with("space.lanes_per_cell", 2);
    let server = Server::serve(folder.path(), &settings);
    let door = Door::of(&server);
    let mut walkers = door.join_all((0..AVATARS).map(account)).await;
    walk(&mut walkers).await;
    let mut before = Vec::new();
    for walker in &mut walkers {
        let last = walker.step(STEP, STEP);
        walker.until_applied(last).await;
        before.push((walker.entity(), walker.own().1));
    }
    assert!(server.metric("myriad_lane_handed_off_total", "") > 0.0);
    assert!(server.stop().success());

    let server = Server::serve(folder.path(), &settings);
    let door = Door::of(&server);
    let mut walkers = door.join_all((0..AVATARS).map(account)).await;
    for ((entity, place), walker) in before.into_iter().zip(&mut walkers) {
        let joined = walker.joined();
        assert_eq!((joined.entity, joined.position), (entity, place));
        walker.until("it sees itself", |walker| walker.sees(entity)).await;
    }
    assert!(server.stop().success());
}
