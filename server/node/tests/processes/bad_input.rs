//! Whatever a client sends: it is answered by name, counted, and nobody else notices.

use crate::raw::{Dial, Raw, hello, hello_of, login};
use crate::server::{PATIENCE, Server, Settings};
use crate::walker::{Door, Walker};
use myriad_client::quic::now_us;
use myriad_client::{Client, ClientConfig, ClientEvent, CrowdEdges};
use myriad_wire::client::{ClientMessage, Command, Join};
use myriad_wire::limits::{CLIENT_MESSAGE_BYTES_MAX, INTENT_STEP_MAX, VERSION_MAX};
use myriad_wire::payload::{Intents, Step};
use myriad_wire::{CloseReason, CommandSeq, IntentSeq, Pos, Slot, SpaceId, SubjectRef, Tick, Value};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::time::{Instant, timeout};

/// What clients must show to log in.
const KEY: &str = "sesame";

/// A server, and an honest client that must not notice anything.
struct Scene {
    server: Server,
    door: Door,
    witness: Walker,
    /// How many connections must have been closed, by reason.
    closed: BTreeMap<CloseReason, u32>,
}

impl Scene {
    async fn new(folder: &Path, settings: &Settings) -> Self {
        let settings = settings.clone().with("client.login_key", KEY);
        let server = Server::serve(folder, &settings);
        let door = Door::of(&server).with_key(KEY);
        let witness = door.join("witness").await;
        Self {
            server,
            door,
            witness,
            closed: BTreeMap::new(),
        }
    }

    /// A client that does what `attack` does is closed for `reason`.
    async fn closes(&mut self, reason: CloseReason, attack: impl AsyncFnOnce(&mut Raw)) {
        let mut raw = Raw::connect(&self.server).await;
        attack(&mut raw).await;
        self.is_closed(reason, &mut raw).await;
    }

    /// `raw` is closed for `reason`.
    async fn is_closed(&mut self, reason: CloseReason, raw: &mut Raw) {
        assert_eq!(raw.closed().await, reason);
        self.count(reason).await;
    }

    /// One more was closed for `reason`, and the witness did not notice.
    async fn count(&mut self, reason: CloseReason) {
        let closed = self.closed.entry(reason).or_default();
        *closed += 1;
        let label = format!("reason=\"{}\"", reason.label());
        self.server
            .until_metric("myriad_gateway_closes_total", &label, f64::from(*closed));
        self.witness.for_ticks(2).await;
    }

    /// The witness has noticed nothing, the edge has counted everything, and the server ends in good order.
    async fn end(mut self) {
        let wrong =
            |event: &&ClientEvent| matches!(event, ClientEvent::Corrected { .. } | ClientEvent::Closed(_));
        assert_eq!(self.witness.events.iter().find(wrong), None);
        let own = self.witness.entity();
        assert!(self.witness.sees(own));
        assert_eq!(self.witness.connection.core().counters().malformed, 0);
        let step = self.witness.step(50, 0);
        self.witness.until_applied(step).await;
        for (reason, count) in &self.closed {
            let label = format!("reason=\"{}\"", reason.label());
            self.server
                .until_metric("myriad_edge_closes_total", &label, f64::from(*count));
        }
        assert!(self.server.stop().success());
    }
}

/// Bytes without any meaning, the same every time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// `message` behind its length.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a small message");
    [&length.to_le_bytes(), message].concat()
}

fn mood(seq: u32) -> ClientMessage {
    ClientMessage::Command(Command {
        seq: CommandSeq(seq),
        name: "mood".into(),
        arguments: vec![Value::Int(1)],
    })
}

/// One step of `whose` avatar.
fn step(whose: SubjectRef, dx: i32) -> Vec<u8> {
    let mut datagram = Vec::new();
    let intents = Intents {
        slot: whose.slot,
        generation: whose.generation,
        seen_tick: Tick(0),
        newest: IntentSeq(1),
        steps: vec![Step { dx, dz: 0 }],
    };
    intents.encode(&mut datagram);
    datagram
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_messages_close_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::new(folder.path(), &Settings::new(folder.path())).await;
    for seed in 1..=3 {
        scene
            .closes(CloseReason::Malformed, async |raw| {
                raw.join("noisy", KEY).await;
                raw.throw(noise(seed, 200));
            })
            .await;
        // Noise on the stream announces a message of some random, enormous length.
        scene
            .closes(CloseReason::Oversized, async |raw| {
                raw.say_bytes(&noise(seed, 3000)).await
            })
            .await;
        scene
            .closes(CloseReason::Malformed, async |raw| {
                raw.say_bytes(&framed(&noise(seed, 300))).await
            })
            .await;
    }
    scene
        .closes(CloseReason::Malformed, async |raw| raw.throw(vec![]))
        .await;
    scene
        .closes(CloseReason::Malformed, async |raw| {
            raw.join("noisy", KEY).await;
            raw.say_bytes(&framed(&[])).await;
        })
        .await;
    // Cut off in mid-message: the stream ends, or the whole connection.
    scene
        .closes(CloseReason::Malformed, async |raw| {
            raw.say_bytes(&framed(&noise(1, 300))[..100]).await;
            raw.send.finish().expect("it is open");
        })
        .await;
    let mut raw = Raw::connect(&scene.server).await;
    raw.join("quitter", KEY).await;
    raw.say_bytes(&framed(&noise(1, 300))[..100]).await;
    raw.connection.close(0u32.into(), b"left");
    scene.count(CloseReason::Left).await;
    // The largest message that is read, and one byte more.
    let largest = u32::try_from(CLIENT_MESSAGE_BYTES_MAX).expect("a small limit");
    scene
        .closes(CloseReason::Malformed, async |raw| {
            raw.say_bytes(&framed(&vec![0xff; largest as usize])).await;
        })
        .await;
    scene
        .closes(CloseReason::Oversized, async |raw| {
            raw.say_bytes(&(largest + 1).to_le_bytes()).await
        })
        .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_not_allowed_close_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::new(folder.path(), &Settings::new(folder.path())).await;
    scene
        .closes(CloseReason::Version, async |raw| {
            raw.say(&hello_of(VERSION_MAX + 1, 9)).await
        })
        .await;
    scene
        .closes(CloseReason::OutOfOrder, async |raw| {
            raw.say(&login("early", KEY)).await
        })
        .await;
    let orders: [&[ClientMessage]; 3] = [
        &[hello(), hello()],
        &[hello(), login("early", KEY), mood(1)],
        &[hello(), ClientMessage::Join(Join { space: SpaceId(1) })],
    ];
    for order in orders {
        scene
            .closes(CloseReason::OutOfOrder, async |raw| {
                for message in order {
                    raw.say(message).await;
                }
            })
            .await;
    }
    for (account, key) in [
        ("guest", "guess"),
        ("guest", ""),
        ("", KEY),
        ("a\nb", KEY),
        (&"x".repeat(33), KEY),
    ] {
        scene
            .closes(CloseReason::LoginRefused, async |raw| {
                raw.say_who(account, key).await
            })
            .await;
    }
    scene
        .closes(CloseReason::NoSpace, async |raw| {
            raw.say(&hello()).await;
            raw.say(&login("lost", KEY)).await;
            raw.say(&ClientMessage::Join(Join { space: SpaceId(7) })).await;
        })
        .await;
    scene
        .closes(CloseReason::Flood, async |raw| {
            raw.join("chatterbox", KEY).await;
            for seq in 1..=300 {
                raw.say(&mood(seq)).await;
            }
        })
        .await;
    scene
        .closes(CloseReason::Stream, async |raw| {
            raw.join("opener", KEY).await;
            let (mut second, _) = raw.connection.open_bi().await.expect("it may be opened, once");
            second.write_all(b"hello?").await.expect("it is open");
        })
        .await;
    scene
        .closes(CloseReason::Stream, async |raw| {
            raw.join("opener", KEY).await;
            let mut second = raw.connection.open_uni().await.expect("it may be opened, once");
            second.write_all(b"hello?").await.expect("it is open");
        })
        .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_that_are_not_allowed_close_by_name_or_are_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::new(folder.path(), &Settings::new(folder.path())).await;
    let victim = scene.witness.joined().avatar;
    let (_, place) = scene.witness.own();
    scene
        .closes(CloseReason::NotYours, async |raw| {
            raw.join("thief", KEY).await;
            raw.throw(step(victim, 100));
        })
        .await;
    scene
        .closes(CloseReason::Malformed, async |raw| {
            let own = raw.join("giant", KEY).await.avatar;
            raw.throw(step(own, INTENT_STEP_MAX + 1));
        })
        .await;
    assert_eq!(scene.witness.own().1, place, "nobody moved the witness");
    scene
        .closes(CloseReason::NotYours, async |raw| {
            let own = raw.join("nobody", KEY).await.avatar;
            raw.throw(step(
                SubjectRef {
                    slot: Slot(u32::MAX),
                    ..own
                },
                100,
            ));
        })
        .await;

    // Far more datagrams than ticks: most are dropped, and that is all.
    let mut raw = Raw::connect(&scene.server).await;
    let own = raw.join("hasty", KEY).await.avatar;
    for _ in 0..100 {
        raw.throw(step(own, 10));
    }
    scene
        .server
        .until_metric("myriad_gateway_datagrams_dropped_total", "", 20.0);
    scene.witness.for_ticks(3).await;
    assert!(raw.connection.close_reason().is_none());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teleporting_client_is_corrected_and_gains_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path())
        .with("space.side_m", 1000)
        .with("space.spawn_side_m", 10);
    let mut scene = Scene::new(folder.path(), &settings).await;
    let mut cheat = scene.door.join("cheat").await;
    let entity = cheat.entity();
    let rules = cheat.joined().rules;
    let (start, since) = (cheat.own().1, cheat.seen_tick());
    // 16 m a step, then 20 m/s for a while: far enough to leave the witness's view, if it got there.
    for _ in 0..6 {
        cheat.step(INTENT_STEP_MAX, 0);
    }
    cheat
        .until("it is corrected", |cheat| corrections(cheat) > 0)
        .await;
    let mut last = IntentSeq(0);
    for _ in 0..20 {
        last = cheat.step(2048, 0);
        cheat.for_ticks(1).await;
    }
    cheat.until_applied(last).await;
    let earned_s = f64::from(rules.burst_ms) / 1000.0 + (cheat.seen_tick().since(since) + 2) as f64 / 10.0;
    let allowed_m = earned_s * f64::from(rules.speed_max) / 1024.0;
    let gained_m = |to: Pos| (to.to_metres() - start.to_metres()).length();
    let (_, place) = cheat.own();
    assert!(
        gained_m(place) <= allowed_m,
        "{} m, {allowed_m} m are allowed",
        gained_m(place)
    );
    assert!(corrections(&cheat) > 1);
    assert_eq!(cheat.closed(), None, "it stays");
    scene.witness.for_ticks(5).await;
    let seen = scene
        .witness
        .connection
        .core()
        .view()
        .iter()
        .find(|subject| subject.entity() == Some(entity));
    let seen = seen.expect("it is still in view").position();
    assert!(
        gained_m(seen) <= allowed_m + 1.0,
        "the witness sees it {} m away",
        gained_m(seen)
    );
    assert!(scene.server.metric("myriad_lane_intents_clipped_total", "") >= 2.0);
    // Out of breath, but alive: as soon as it goes like everybody else it is followed.
    cheat.for_ticks(10).await;
    let (_, before) = cheat.own();
    let honest = cheat.step(100, 0);
    cheat.until_applied(honest).await;
    assert_eq!(
        cheat.own().1,
        Pos {
            x: before.x + 100,
            ..before
        }
    );
    scene.end().await;
}

fn corrections(walker: &Walker) -> usize {
    walker
        .events
        .iter()
        .filter(|event| matches!(event, ClientEvent::Corrected { .. }))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_log_in_in_time_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path()).with("gateway.login_timeout_s", 3);
    let mut scene = Scene::new(folder.path(), &settings).await;
    let mut silent = Raw::connect(&scene.server).await;
    let mut greeted = Raw::connect(&scene.server).await;
    greeted.say(&hello()).await;
    let mut idle = Raw::connect(&scene.server).await;
    idle.say(&hello()).await;
    idle.say(&login("idle", KEY)).await;
    for raw in [&mut silent, &mut greeted, &mut idle] {
        scene.is_closed(CloseReason::TimedOut, raw).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_login_replaces_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::new(folder.path(), &Settings::new(folder.path())).await;
    let mut older = scene.door.join("twin").await;
    let entity = older.entity();
    scene
        .witness
        .until("the twin is there", |witness| witness.sees(entity))
        .await;
    let mut newer = scene.door.join("twin").await;
    older
        .until("the first session is over", |older| older.closed().is_some())
        .await;
    assert_eq!(older.closed(), Some(CloseReason::Replaced));
    assert_eq!(newer.entity(), entity, "it is the same avatar");
    scene.count(CloseReason::Replaced).await;
    let step = newer.step(100, 0);
    newer.until_applied(step).await;
    assert_eq!(scene.witness.leaves(entity), [], "to the others it never left");
    assert_eq!(scene.witness.enters(entity), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_another_protocol_does_not_get_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::new(folder.path(), &Settings::new(folder.path())).await;
    let failed = |scene: &Scene| scene.server.metric("myriad_edge_handshakes_failed_total", "");
    assert_eq!(failed(&scene), 0.0);
    let offer = Dial {
        alpn: b"h3",
        ..Dial::default()
    };
    let refused = Raw::try_connect(&scene.server, &offer)
        .await
        .err()
        .expect("the handshake fails");
    assert!(
        refused.to_string().contains("120"),
        "no_application_protocol: {refused}"
    );
    scene.server.until("it is counted", |_| failed(&scene) >= 1.0);

    let offer = Dial {
        datagrams: false,
        ..Dial::default()
    };
    // The server may close before the stream is opened.
    match Raw::try_connect(&scene.server, &offer).await {
        Ok(mut raw) => assert_eq!(raw.closed().await, CloseReason::Version),
        Err(closed) => assert_eq!(myriad_client::quic::close_reason(&closed), CloseReason::Version),
    }
    scene.server.until("it is counted", |_| failed(&scene) >= 2.0);
    scene.witness.for_ticks(3).await;
    scene.end().await;
}

/// A game that tells its players 600 KB a second, until one says hush.
const LOUD_GAME: &str = r#"
local hushed = false

myriad.kind("avatar", {
    avatar = true, radius = 100, speed = 5,
    properties = { { name = "name", type = "text", to = "all" } },
    commands = { hush = function(self) hushed = true; return true end },
})

myriad.kind("loudspeaker", {
    properties = { { name = "text", type = "text", to = "all", max_bytes = 1000 } },
    on = { spawned = function(self) self:after("speak", 0.1) end },
    timers = { speak = function(self)
        if hushed then
            self.text = "silence"
        else
            self.text = string.rep(tostring(myriad.random(0, 9)), 1000)
            self:after("speak", 0.1)
        end
    end },
})

myriad.on_start(function()
    for i = 1, 60 do
        myriad.spawn("loudspeaker", { x = i / 10, z = 0 })
    end
end)
"#;
/// Loudspeakers in it.
const LOUDSPEAKERS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_not_closed_and_catches_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path())
        .with_game(folder.path(), LOUD_GAME)
        .with("space.side_m", 20)
        .with("gateway.backlog_kib", 16);
    let mut scene = Scene::new(folder.path(), &settings).await;
    let mut deaf = Deaf::join(&scene.server).await;
    scene.server.until_metric("myriad_gateway_frozen", "", 1.0);
    scene.witness.for_ticks(10).await;
    scene.witness.command("hush", vec![]).await;
    scene
        .witness
        .until("the witness hears the silence", |witness| {
            silent(witness.connection.core()) == LOUDSPEAKERS
        })
        .await;
    assert_eq!(scene.server.metric("myriad_gateway_frozen", ""), 1.0);
    assert!(
        deaf.raw.connection.close_reason().is_none(),
        "it is not closed for being slow"
    );

    let expected = scene.witness.connection.core().view().len();
    deaf.listen_until(|core| silent(core) == LOUDSPEAKERS && core.view().len() == expected)
        .await;
    // A tick's numbers are exported after what it says has been sent.
    scene.server.until("nobody is frozen", |server| {
        server.metric("myriad_gateway_frozen", "") == 0.0
    });
    scene
        .server
        .until_metric("myriad_gateway_catch_ups_total", "", 1.0);
    assert!(deaf.raw.connection.close_reason().is_none());
    scene.end().await;
}

/// How many loudspeakers in view are silent.
fn silent(core: &Client) -> usize {
    let is_silent = |value: &Value| *value == Value::Text("silence".into());
    let speaker = |properties: &[(_, Value)]| properties.iter().any(|(_, value)| is_silent(value));
    core.view()
        .iter()
        .filter(|subject| speaker(subject.properties()))
        .count()
}

/// The SDK's core over a connection that is read only when a test says so.
struct Deaf {
    raw: Raw,
    core: Client,
    read: usize,
}

impl Deaf {
    /// Joins, and stops to read there and then.
    async fn join(server: &Server) -> Self {
        // Little of what is not read shall be lost in the client's own buffers.
        let offer = Dial {
            window_bytes: 16 * 1024,
            ..Dial::default()
        };
        let raw = Raw::try_connect(server, &offer)
            .await
            .expect("the handshake is completed");
        let core = Client::new(ClientConfig {
            account: "deaf".into(),
            key: KEY.into(),
            space: SpaceId(1),
            agent: "myriad-test".into(),
            identities_per_s: 0,
            crowd_edges: CrowdEdges::OneByOne,
        });
        let mut deaf = Self { raw, core, read: 0 };
        deaf.listen_until(|core| core.joined().is_some()).await;
        deaf
    }

    async fn listen_until(&mut self, mut done: impl FnMut(&Client) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(bytes) = self.core.poll_stream() {
                self.raw.say_bytes(&bytes).await;
            }
            while self.core.poll_event().is_some() {}
            if done(&self.core) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain: {:?}",
                self.core.counters()
            );
            let heard = timeout(PATIENCE, self.raw.hear()).await;
            heard.expect("the server goes on").expect("the connection lives");
            self.core.handle_stream(&self.raw.stream[self.read..], now_us());
            self.read = self.raw.stream.len();
            for datagram in self.raw.datagrams.drain(..) {
                self.core.handle_datagram(datagram, now_us());
            }
        }
    }
}
