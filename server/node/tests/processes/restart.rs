//! A server that is killed loses no more than its save interval.

use crate::server::{Server, configuration};
use crate::walker::Door;
use myriad_client::ClientEvent;
use myriad_wire::{Pos, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Avatars in the test.
const AVATARS: usize = 20;
/// What the configuration of the tests says.
const SAVE_INTERVAL_S: f64 = 0.5;
/// 0.3 m every 100 ms.
const STEP: i32 = 307;

/// How often a walker waves: its kind declares that as saved.
fn waves(walker: usize) -> i64 {
    walker as i64 % 4
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_every_avatar_is_back_near_its_last_true_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = configuration(folder.path(), "");
    let server = Server::serve(folder.path(), &text);
    let door = Door::of(&server);
    let mut walkers = Vec::new();
    for i in 0..AVATARS {
        walkers.push(door.join(&format!("walker-{i}")).await);
    }
    for (i, walker) in walkers.iter_mut().enumerate() {
        for _ in 0..waves(i) {
            walker
                .connection
                .core()
                .command("wave", Vec::new())
                .expect("room for a command");
        }
    }
    for _ in 0..15 {
        for (i, walker) in walkers.iter_mut().enumerate() {
            let (dx, dz) = if i % 2 == 0 { (STEP, 0) } else { (0, -STEP) };
            walker.connection.core().step(dx, dz).expect("an honest step");
            walker.connection.flush();
            walker.listen(Duration::from_millis(100 / AVATARS as u64)).await;
        }
    }
    let mut last: BTreeMap<usize, (u64, Pos)> = BTreeMap::new();
    for (i, walker) in walkers.iter_mut().enumerate() {
        walker.listen(Duration::from_millis(20)).await;
        let joined = walker.connection.core().joined().expect("joined").entity;
        let (_, position) = walker
            .connection
            .core()
            .own_authoritative()
            .expect("told every tick");
        last.insert(i, (joined.0, position));
    }
    server.kill();

    let server = Server::serve(folder.path(), &text);
    let door = Door::of(&server);
    // The save interval, a tick, and what was told after the last payload.
    let allowed_m = (SAVE_INTERVAL_S + 0.5) * 3.0;
    for (i, (entity, before)) in last {
        let mut walker = door.join(&format!("walker-{i}")).await;
        walker.listen(Duration::from_millis(200)).await;
        let core = walker.connection.core();
        let joined = core.joined().expect("joined").clone();
        assert_eq!(joined.entity.0, entity, "the same avatar, not a new one");
        let away = (joined.position.to_metres() - before.to_metres()).length();
        assert!(away <= allowed_m, "walker-{i} came back {away:.2} m away");
        let schema = &joined.kinds;
        let subject = core.view().get(joined.avatar).expect("the own avatar is in view");
        let kind = &schema[usize::from(subject.kind().0)];
        let named = |name: &str| kind.properties.iter().position(|property| property.name == name);
        let index = |name: &str| myriad_wire::PropertyIndex(named(name).expect("declared") as u8);
        let name = subject.property(index("name")).cloned();
        assert_eq!(name, Some(Value::Text(format!("walker-{i}"))));
        let waved = (index("waves"), Value::Int(waves(i)));
        let told = walker.events.iter().any(|event| match event {
            ClientEvent::Owner { properties, .. } => properties.contains(&waved),
            _ => false,
        });
        assert!(told, "{waved:?} in {:?}", walker.events);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_tells_the_clients_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = configuration(folder.path(), "");
    let server = Server::serve(folder.path(), &text);
    let mut walker = Door::of(&server).join("ada").await;
    walker.walk(5, Duration::from_millis(100), 200, 100).await;
    walker
        .until("all steps are applied", |walker| {
            walker
                .connection
                .core()
                .own_authoritative()
                .is_some_and(|(applied, _)| applied.0 == 5)
        })
        .await;
    let (_, place) = walker.connection.core().own_authoritative().expect("told");
    let stopped = tokio::task::spawn_blocking(|| server.terminate());
    walker
        .until("the server says goodbye", |walker| walker.closed().is_some())
        .await;
    assert_eq!(walker.closed(), Some(myriad_wire::CloseReason::Shutdown));
    assert!(stopped.await.expect("it ends").success());

    let server = Server::serve(folder.path(), &text);
    let mut walker = Door::of(&server).join("ada").await;
    assert_eq!(walker.connection.core().joined().expect("joined").position, place);
}
