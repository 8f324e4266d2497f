//! Whoever sees one layer is sent nothing of another: neither names nor ids nor places, in no byte of plaintext.

use crate::raw::Raw;
use crate::server::{Server, Settings};
use crate::walker::Door;
use myriad_wire::bits::{put_varint, put_zigzag};
use myriad_wire::client::{Enter, Joined, ServerMessage, ViewUpdate};
use myriad_wire::codec::{self, Deframer};
use myriad_wire::grid::{CROWD_SHIFT, WIRE_SHIFT};
use myriad_wire::limits::SERVER_MESSAGE_BYTES_MAX;
use myriad_wire::payload::decode_payload;
use myriad_wire::track::{Level, State, decode_chunk};
use myriad_wire::{LaneHandle, Pos, Slot, SubjectRef, Tick, Value, WirePos};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Accounts a-* are on layer A and see it, b-* on B, and x-* on B but see both. Guards stand and walk among rangers,
/// who are on layer B: what rangers say and are called begins with "planted". Nobody ever comes where one stands.
const GAME: &str = r#"
local A, B = 1, 2

myriad.kind("avatar", {
    avatar = true, radius = 100, speed = 5,
    properties = {
        { name = "name", type = "text", to = "all", saved = true },
        { name = "secret", type = "text", to = "all" },
    },
    on = { spawned = function(self)
        local layer = string.sub(self.name, 1, 2)
        if layer == "b-" or layer == "x-" then
            self:set_layers(B)
            self:set_sees(if layer == "x-" then A + B else B)
        end
    end },
    commands = {
        say = function(self, text)
            self.secret = text
            self:emit("said", text)
            return true
        end,
        -- Changes sides, and gives itself away in the same breath.
        turn = function(self, text)
            self:emit("turned", text)
            self.secret = text
            self:set_layers(B)
            self:set_sees(B)
            return true
        end,
    },
})

local function guard(kind, layer, word)
    myriad.kind(kind, {
        speed = 3, layers = layer,
        properties = {
            { name = "title", type = "text", to = "all" },
            { name = "number", type = "int", to = "nobody" },
            { name = "post", type = "float", to = "nobody" },
            { name = "rounds", type = "int", to = "nobody" },
        },
        on = { spawned = function(self) self:after("speak", 0.2) end },
        timers = { speak = function(self)
            self.rounds += 1
            self.title = `{word}-title-{self.number}-{self.rounds}`
            self:emit(`{word}-event`, `{word}-word-{self.number}`)
            if self.number > 10 then
                self:move_to(self.post + myriad.random(-2, 2), self.post + myriad.random(-2, 2), 3)
            end
            self:after("speak", 0.2)
        end },
    })
end
guard("guard", A, "open")
guard("ranger", B, "planted")

myriad.on_start(function()
    -- Entities are numbered like sessions: let their numbers be others, so that one is not taken for the other.
    for _ = 1, 100 do
        myriad.spawn("guard", {}):despawn()
    end
    for i = 1, 20 do
        local at = 5 + i / 2 + (if i > 10 then 5 else 0)
        local function post(word)
            return { title = `{word}-title-{i}`, number = i, post = at }
        end
        myriad.spawn("guard", { x = at, z = at, properties = post("open") })
        myriad.spawn("ranger", { x = at + 0.25, z = at - 0.125, properties = post("planted") })
    end
end)
"#;
/// Guards, and rangers, that never move.
const STANDING: usize = 10;

/// A client that does nothing but keep what it is told.
struct Recorder {
    stop: watch::Sender<bool>,
    task: JoinHandle<Raw>,
}

impl Recorder {
    async fn start(server: &Server, account: &str) -> Self {
        let mut raw = Raw::connect(server).await;
        raw.join(account, "").await;
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    heard = raw.hear() => heard.expect("the connection lives"),
                    _ = stopped.changed() => return raw,
                }
            }
        });
        Self { stop, task }
    }

    async fn stop(self) -> Told {
        self.stop.send_replace(true);
        Told::decode(&self.task.await.expect("it records"))
    }
}

/// What a client was told, decoded, and the bytes that it was in.
struct Told {
    /// The stream, and each datagram.
    plaintext: Vec<Vec<u8>>,
    joined: Joined,
    views: Vec<ViewUpdate>,
    /// The states of all chunks, whether in view or not.
    states: Vec<(Tick, (LaneHandle, Slot), Level, Pos)>,
}

impl Told {
    fn decode(raw: &Raw) -> Self {
        let mut deframer = Deframer::new(SERVER_MESSAGE_BYTES_MAX);
        deframer.handle_bytes(&raw.stream);
        let (mut joined, mut views) = (None, Vec::new());
        while let Some(message) = deframer.poll_message().expect("the server keeps to its limit") {
            match codec::decode(&message, SERVER_MESSAGE_BYTES_MAX).expect("a message of a server") {
                ServerMessage::Joined(told) => joined = Some(*told),
                ServerMessage::View(view) => views.push(view),
                ServerMessage::Welcome(_)
                | ServerMessage::LoggedIn(_)
                | ServerMessage::Owner(_)
                | ServerMessage::Listed(_)
                | ServerMessage::Identity(_)
                | ServerMessage::CommandResult(_) => {}
            }
        }
        let mut states = Vec::new();
        for datagram in &raw.datagrams {
            let read = decode_payload(datagram, |header, lane, chunk| {
                let mut held = Vec::new();
                let level = decode_chunk(chunk, |state: State| held.push(state)).expect("a chunk");
                states.extend(
                    held.iter()
                        .map(|state| (header.tick, (lane, state.slot), level, state.position)),
                );
            });
            read.expect("a payload");
        }
        let datagrams = raw.datagrams.iter().map(|datagram| datagram.to_vec());
        Self {
            plaintext: std::iter::once(raw.stream.clone()).chain(datagrams).collect(),
            joined: joined.expect("it has joined"),
            views,
            states,
        }
    }

    fn holds(&self, needle: &[u8]) -> bool {
        self.plaintext
            .iter()
            .any(|text| text.windows(needle.len()).any(|window| window == needle))
    }

    fn enters(&self) -> impl Iterator<Item = &Enter> {
        self.views.iter().flat_map(|view| &view.enters)
    }

    /// Name or title of a subject that entered.
    fn called(&self, enter: &Enter) -> String {
        let kind = &self.joined.kinds[usize::from(enter.kind.0)];
        let named = |(index, _): &&(myriad_wire::PropertyIndex, Value)| {
            ["name", "title"].contains(&kind.properties[usize::from(index.0)].name.as_str())
        };
        match enter.properties.iter().find(named) {
            Some((_, Value::Text(name))) => name.clone(),
            other => panic!("{} without a name: {other:?}", kind.name),
        }
    }

    /// Every subject that is named in a view of a tick from `since` on.
    fn named(&self, since: Tick) -> BTreeSet<(LaneHandle, Slot)> {
        let views = self.views.iter().filter(|view| view.tick >= since);
        let subjects = views.flat_map(|view| {
            let enters = view.enters.iter().map(|enter| enter.subject);
            let changes = view.changes.iter().map(|change| change.subject);
            let events = view.events.iter().map(|event| event.subject);
            enters.chain(changes).chain(events)
        });
        subjects.map(place).collect()
    }

    /// Every subject that a chunk of a tick from `since` on holds.
    fn stated(&self, since: Tick) -> BTreeSet<(LaneHandle, Slot)> {
        self.states
            .iter()
            .filter(|(tick, ..)| *tick >= since)
            .map(|(_, place, ..)| *place)
            .collect()
    }

    fn last_tick(&self) -> Tick {
        self.states
            .iter()
            .map(|(tick, ..)| *tick)
            .max()
            .expect("it was sent states")
    }
}

/// What addresses a subject in states.
fn place(subject: SubjectRef) -> (LaneHandle, Slot) {
    (subject.lane, subject.slot)
}

/// The hidden layer, as somebody who sees it knows it.
struct Hidden {
    subjects: BTreeMap<(LaneHandle, Slot), Enter>,
    /// Where those are that never move.
    standing: Vec<WirePos>,
    /// Names, and ids and positions as they stand in messages.
    plain: Vec<Vec<u8>>,
    /// Ids and positions in all other ways in which they could be written.
    otherwise: Vec<Vec<u8>>,
}

impl Hidden {
    fn of(control: &Told) -> Self {
        let is_hidden = |enter: &&Enter| {
            let name = control.called(enter);
            ["planted", "b-", "x-"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        let subjects: BTreeMap<_, _> = control
            .enters()
            .filter(is_hidden)
            .map(|enter| (place(enter.subject), enter.clone()))
            .collect();
        let mut hidden = Self {
            subjects,
            standing: Vec::new(),
            plain: Vec::new(),
            otherwise: Vec::new(),
        };
        for enter in hidden.subjects.values() {
            let name = control.called(enter);
            let id = enter.entity.0;
            hidden
                .plain
                .extend([name.clone().into_bytes(), codec::encode(&enter.entity)]);
            let mut varint = Vec::new();
            put_varint(&mut varint, id);
            hidden
                .otherwise
                .extend([varint, id.to_le_bytes().into(), id.to_be_bytes().into()]);
            hidden.plain.push(codec::encode(&enter.position));
            if stands(&name) {
                hidden.standing.push(enter.position);
                hidden.otherwise.extend(written(enter.position));
            }
        }
        hidden.plain.extend(
            [
                "planted-event",
                "planted-word",
                "planted by carl",
                "planted by tom",
            ]
            .map(Vec::from),
        );
        hidden
    }

    /// Whether a state is of somebody who stands there, on the grid of its level.
    fn stands_at(&self, level: Level, at: Pos) -> bool {
        let cell = |v: i32| v >> level.shift();
        let shift = level.shift() - WIRE_SHIFT;
        self.standing
            .iter()
            .any(|standing| (standing.x >> shift, standing.z >> shift) == (cell(at.x), cell(at.z)))
    }
}

/// Whether the ranger with this title, such as planted-title-7 or planted-title-7-31, is one that never moves.
fn stands(title: &str) -> bool {
    let number = title.split('-').nth(2).and_then(|number| number.parse().ok());
    number.is_some_and(|number: usize| number <= STANDING)
}

/// A position on both grids of states, packed as in a chunk's base or as plain integers.
fn written(at: WirePos) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for shift in [0, CROWD_SHIFT - WIRE_SHIFT] {
        let axes = [at.x >> shift, at.y >> shift, at.z >> shift];
        let mut zigzag = Vec::new();
        axes.iter()
            .for_each(|axis| put_zigzag(&mut zigzag, i64::from(*axis)));
        all.extend([
            zigzag,
            axes.map(i32::to_le_bytes).concat(),
            axes.map(i32::to_be_bytes).concat(),
        ]);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_sent_nothing_of_a_layer_that_it_does_not_see() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::new(folder.path())
        .with_game(folder.path(), GAME)
        .with("space.side_m", 60)
        .with("space.spawn_side_m", 8);
    let server = Server::serve(folder.path(), &settings);
    let spy = Recorder::start(&server, "a-spy").await;
    let control = Recorder::start(&server, "x-control").await;
    let door = Door::of(&server);
    let mut ada = door.join("a-ada").await;
    let mut carl = door.join("b-carl").await;
    let mut tom = door.join("a-tom").await;
    let (tom_entity, tom_place) = (tom.entity(), place(tom.joined().avatar));
    for walker in [&mut ada, &mut carl, &mut tom] {
        for _ in 0..5 {
            walker.step(150, 150);
            walker.for_ticks(1).await;
        }
    }
    ada.command("say", vec![Value::Text("open by ada".into())]).await;
    carl.command("say", vec![Value::Text("planted by carl".into())])
        .await;
    ada.until("ada sees tom", |ada| ada.sees(tom_entity)).await;
    tom.command("turn", vec![Value::Text("planted by tom".into())])
        .await;
    ada.until("ada sees tom no more", |ada| !ada.sees(tom_entity))
        .await;
    tom.step(150, 150);
    ada.for_ticks(20).await;
    let (spy, control) = (spy.stop().await, control.stop().await);
    let hidden = Hidden::of(&control);
    assert!(
        hidden.standing.len() == STANDING && hidden.subjects.len() == 22,
        "{:?}",
        hidden.subjects
    );

    // The search finds what is there: somebody who sees both layers was sent all of it.
    let missed = hidden.plain.iter().find(|needle| !control.holds(needle));
    assert_eq!(missed, None, "the search is blind");
    assert!(
        hidden.otherwise.iter().any(|needle| control.holds(needle)),
        "the search is blind to chunks"
    );
    let start = Tick(0);
    let all: BTreeSet<_> = hidden.subjects.keys().copied().collect();
    assert!(all.is_subset(&control.named(start)) && all.is_subset(&control.stated(start)));
    assert!(
        control
            .states
            .iter()
            .any(|(_, _, level, at)| hidden.stands_at(*level, *at))
    );

    // Who sees one layer was sent nothing of the other, though much of its own.
    for needle in hidden.plain.iter().chain(&hidden.otherwise) {
        assert!(
            !spy.holds(needle),
            "{needle:02x?} ({:?}) was sent",
            String::from_utf8_lossy(needle)
        );
    }
    for own in ["a-ada", "open by ada", "open-event", "open-title-7"] {
        assert!(spy.holds(own.as_bytes()), "{own} was not sent");
    }
    for told in [spy.named(start), spy.stated(start)] {
        assert!(
            told.is_disjoint(&all),
            "subjects of the other layer: {told:?}, {all:?}"
        );
        assert_eq!(
            told.len(),
            20 + 3,
            "the guards, the spy, ada, and tom before he turned"
        );
    }
    assert!(
        !spy.states
            .iter()
            .any(|(_, _, level, at)| hidden.stands_at(*level, *at))
    );

    // From the moment of his turn, tom belongs to the other layer.
    let leave = |view: &&ViewUpdate| view.leaves.iter().any(|leave| place(leave.subject) == tom_place);
    let turned = spy
        .views
        .iter()
        .find(leave)
        .expect("the spy was told that tom left")
        .tick;
    assert!(spy.last_tick() >= turned + 10);
    assert!(!spy.named(turned).contains(&tom_place) && !spy.stated(turned).contains(&tom_place));
    assert!(control.named(turned).contains(&tom_place) && control.stated(turned).contains(&tom_place));
    assert!(server.stop().success());
}
