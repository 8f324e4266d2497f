//! Clients that mean harm or are broken: each gets a named answer, is counted, and harms nobody else.

use crate::raw::{self, Raw, connect, hello, join, login};
use crate::server::{Server, configuration};
use crate::walker::{Door, Walker};
use bytes::Bytes;
use myriad_wire::client::{ClientMessage, Command, Hello, Joined, Login, ServerMessage};
use myriad_wire::limits::{CLIENT_MESSAGE_BYTES_MAX, INTENT_STEP_MAX};
use myriad_wire::payload::{Intents, OwnRecord, Step, decode_payload};
use myriad_wire::{CloseReason, CommandSeq, IntentSeq, Slot, Tick};
use std::path::Path;
use std::time::Duration;

/// A server, and an honest client on it that must not notice anything.
struct Scene {
    folder: tempfile::TempDir,
    server: Server,
    witness: Walker,
}

impl Scene {
    async fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::serve(folder.path(), &configuration(folder.path(), more));
        let witness = Door::of(&server).join("witness").await;
        Self {
            folder,
            server,
            witness,
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn connect(&self) -> Raw {
        connect(self.folder(), &self.server).await
    }

    /// That a client which does this is closed for `reason`, and that this is counted.
    async fn closes(&mut self, reason: CloseReason, client: Raw) {
        assert_eq!(client.closed().await, reason);
        let label = format!("reason=\"{}\"", reason.label());
        let server = &self.server;
        tokio::task::block_in_place(|| server.until_metric("myriad_edge_closes_total", &label, 1.0));
    }

    /// The witness still gets its ticks, and the server still stops cleanly.
    async fn end(mut self) {
        let payloads = |walker: &mut Walker| walker.connection.core().counters().datagrams;
        let before = payloads(&mut self.witness);
        self.witness
            .until("five more payloads", |walker| payloads(walker) >= before + 5)
            .await;
        assert_eq!(self.witness.closed(), None);
        assert_eq!(self.witness.connection.core().counters().corrections, 0);
        let stopped = tokio::task::spawn_blocking(|| self.server.stop());
        assert!(stopped.await.expect("it ends").success());
    }
}

fn intents(joined: &Joined, newest: u32, steps: Vec<Step>) -> Bytes {
    let avatar = joined.avatar;
    let (slot, generation) = (avatar.slot, avatar.generation);
    let mut bytes = Vec::new();
    Intents {
        slot,
        generation,
        seen_tick: Tick(0),
        newest: IntentSeq(newest),
        steps,
    }
    .encode(&mut bytes);
    bytes.into()
}

/// The newest own record that a client was told.
fn own(raw: &Raw) -> Option<OwnRecord> {
    raw.payloads
        .last()
        .map(|payload| decode_payload(payload, |_, _, _| ()).expect("a payload").own)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_protocol_close_the_connection_by_name() {
    let mut scene = Scene::new("").await;

    let mut random = scene.connect().await;
    random.send_bytes(&[40, 0, 0, 0]).await;
    random.send_bytes(&[0xa5; 40]).await;
    scene.closes(CloseReason::Malformed, random).await;

    let mut oversized = scene.connect().await;
    oversized
        .send_bytes(&(CLIENT_MESSAGE_BYTES_MAX as u32 + 1).to_le_bytes())
        .await;
    scene.closes(CloseReason::Oversized, oversized).await;

    let mut version = scene.connect().await;
    let future = Hello {
        version_min: 900,
        version_max: 901,
        features: 0,
        agent: "future".into(),
    };
    version.say(&[ClientMessage::Hello(future)]).await;
    scene.closes(CloseReason::Version, version).await;

    let mut hasty = scene.connect().await;
    let command = Command {
        seq: CommandSeq(1),
        name: "wave".into(),
        arguments: Vec::new(),
    };
    hasty.say(&[hello(), ClientMessage::Command(command)]).await;
    scene.closes(CloseReason::OutOfOrder, hasty).await;

    let mut nameless = scene.connect().await;
    nameless.say(&[hello(), login("")]).await;
    scene.closes(CloseReason::LoginRefused, nameless).await;

    let mut streams = scene.connect().await;
    streams.say(&[hello()]).await;
    let mut second = streams
        .connection
        .open_uni()
        .await
        .expect("one more than allowed is accepted, to be named");
    let _closed = second.write_all(b"hello").await;
    scene.closes(CloseReason::Stream, streams).await;

    let mut cut = scene.connect().await;
    cut.send_bytes(&[200, 0, 0, 0, 1, 2, 3]).await;
    cut.connection.close(0u32.into(), b"");
    let wrong_alpn = raw::connect_alpn(scene.folder(), &scene.server, b"http/3").await;
    assert!(wrong_alpn.is_err());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_needs_the_key_and_must_come_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = configuration(folder.path(), "[gateway]\nlogin_timeout_s = 1.0\n");
    let text = text.replace("[client]\n", "[client]\nlogin_key = \"sesame\"\n");
    let server = Server::serve(folder.path(), &text);
    let mut wrong = connect(folder.path(), &server).await;
    let guess = Login {
        account: "ada".into(),
        key: "open".into(),
    };
    wrong.say(&[hello(), ClientMessage::Login(guess)]).await;
    assert_eq!(wrong.closed().await, CloseReason::LoginRefused);
    let mut slow = connect(folder.path(), &server).await;
    slow.say(&[hello()]).await;
    assert_eq!(slow.closed().await, CloseReason::TimedOut);
    let mut right = connect(folder.path(), &server).await;
    let key = Login {
        account: "ada".into(),
        key: "sesame".into(),
    };
    right.say(&[hello(), ClientMessage::Login(key), join()]).await;
    right
        .until("the join", |raw| {
            raw.messages
                .iter()
                .any(|m| matches!(m, ServerMessage::Joined(_)))
                .then_some(())
        })
        .await;
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_are_no_intents_of_the_own_avatar_close_the_session() {
    let mut scene = Scene::new("").await;

    let mut random = scene.connect().await;
    random.join("random").await;
    random
        .connection
        .send_datagram(Bytes::from_static(&[0x5a; 33]))
        .expect("sent");
    scene.closes(CloseReason::Malformed, random).await;

    let mut giant = scene.connect().await;
    let joined = giant.join("giant").await;
    let step = Step {
        dx: INTENT_STEP_MAX + 1,
        dz: 0,
    };
    giant
        .connection
        .send_datagram(intents(&joined, 1, vec![step]))
        .expect("sent");
    scene.closes(CloseReason::Malformed, giant).await;

    let mut thief = scene.connect().await;
    let mut joined = thief.join("thief").await;
    let victim = scene
        .witness
        .connection
        .core()
        .joined()
        .expect("joined")
        .avatar
        .slot;
    joined.avatar.slot = victim;
    thief
        .connection
        .send_datagram(intents(&joined, 1, vec![Step { dx: 1, dz: 1 }]))
        .expect("sent");
    scene.closes(CloseReason::NotYours, thief).await;

    let mut nobody = scene.connect().await;
    let mut joined = nobody.join("nobody").await;
    joined.avatar.slot = Slot(u32::MAX);
    nobody
        .connection
        .send_datagram(intents(&joined, 1, vec![Step::default()]))
        .expect("sent");
    scene.closes(CloseReason::NotYours, nobody).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_teleports_is_corrected_and_gains_nothing() {
    let scene = Scene::new("").await;
    let mut cheat = scene.connect().await;
    let joined = cheat.join("cheat").await;
    let start = joined.position;
    for seq in 1..=8 {
        let step = Step {
            dx: INTENT_STEP_MAX,
            dz: 0,
        };
        cheat
            .connection
            .send_datagram(intents(&joined, seq, vec![step; seq as usize]))
            .expect("sent");
    }
    let told = cheat
        .until("all steps are answered", |raw| {
            own(raw).filter(|own| own.intent_seq.0 == 8)
        })
        .await;
    assert!(told.corrections >= 7, "{told:?}");
    let gained_m = (told.position.to_metres() - start.to_metres()).length();
    // Eight times 16 m asked; 5 m/s, the burst of a second, and the time that the test took.
    assert!(gained_m < 40.0, "{gained_m} m gained");
    // A tick's numbers are exported after what it says has been sent.
    let server = &scene.server;
    tokio::task::block_in_place(|| server.until_metric("myriad_lane_intents_clipped_total", "", 7.0));
    assert_eq!(cheat.connection.close_reason(), None, "it stays in the world");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_login_replaces_the_first() {
    let mut scene = Scene::new("").await;
    let mut first = scene.connect().await;
    let before = first.join("twin").await;
    let mut second = scene.connect().await;
    let after = second.join("twin").await;
    assert_eq!(before.entity, after.entity);
    scene.closes(CloseReason::Replaced, first).await;
    assert_eq!(second.connection.close_reason(), None);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_closes_the_session() {
    let mut scene = Scene::new("").await;
    let mut flood = scene.connect().await;
    flood.join("flood").await;
    for round in 0..200u32 {
        let wave = |i| {
            ClientMessage::Command(Command {
                seq: CommandSeq(i),
                name: "wave".into(),
                arguments: Vec::new(),
            })
        };
        let messages: Vec<_> = (1..=20).map(|i| wave(round * 20 + i)).collect();
        flood.say(&messages).await;
        if flood.connection.close_reason().is_some() {
            break;
        }
    }
    scene.closes(CloseReason::Flood, flood).await;
    scene.end().await;
}

/// A game in which sixty talkers say a kilobyte each in every tick.
const TALKERS: &str = r#"
local TEXT = string.rep("x", 1000)
local function talk(self)
    self:emit("noise", TEXT)
    self:after("talk", 0.1)
end
myriad.kind("avatar", { avatar = true, radius = 100, speed = 5 })
myriad.kind("talker", { on = { spawned = talk }, timers = { talk = talk } })
myriad.on_start(function()
    for _ = 1, 60 do myriad.spawn("talker", {}) end
end)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_stands_still_and_catches_up() {
    // A small backlog, and talkers who fill QUIC's own buffers, some 1.5 MB, within seconds.
    let scripts = tempfile::tempdir().expect("a folder");
    std::fs::write(scripts.path().join("main.luau"), TALKERS).expect("written");
    let scripts = scripts.path();
    let scene = Scene::new(&format!(
        "[gateway]\nbacklog_kib = 16\n[scripts]\ndirectory = {scripts:?}\n"
    ))
    .await;
    let mut slow = scene.connect().await;
    slow.join("slow").await;
    // It reads no more. QUIC's own buffers fill first, then the gateway's limit is reached. Twice: the witness
    // is not read either until the end.
    let server = &scene.server;
    tokio::task::block_in_place(|| server.until_metric("myriad_gateway_freezes_total", "", 2.0));
    assert_eq!(
        slow.connection.close_reason(),
        None,
        "it is not kicked for being slow"
    );
    // It reads again, and goes on reading until its view has caught up.
    let mut reads = 0u32;
    slow.until("the view catches up", |_| {
        reads += 1;
        let caught_up =
            reads.is_multiple_of(20) && server.metric("myriad_gateway_catch_ups_total", "") >= 1.0;
        caught_up.then_some(())
    })
    .await;
    assert_eq!(slow.connection.close_reason(), None);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_a_client_that_never_says_anything() {
    let scene = Scene::new("[gateway]\nlogin_timeout_s = 1.0\n").await;
    let mut silent = scene.connect().await;
    // A stream exists for the server once something is written on it.
    silent.send_bytes(&[0]).await;
    assert_eq!(silent.closed().await, CloseReason::TimedOut);
    assert!(silent.plaintext.is_empty());
    tokio::time::timeout(Duration::from_secs(60), scene.end())
        .await
        .expect("in time");
}
