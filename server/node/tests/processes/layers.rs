//! What a client does not see, it never receives a byte of.

use crate::raw::{self, Raw};
use crate::server::{Server, configuration};
use myriad_wire::client::ServerMessage;
use myriad_wire::payload::decode_payload;
use myriad_wire::track::decode_chunk;
use myriad_wire::{EntityId, Pos, Slot, codec};
use std::collections::BTreeSet;

/// Accounts beginning with `b-` live on layer 2, others on layer 1; `c-` sees both. On layer 2 there are scripted
/// entities with names, properties, events and places that nothing else has.
const GAME: &str = r#"
local function planted(self)
    self.secret_mood += 1
    self:emit("planted-event-quetzal", "planted-argument-xylem")
    self:after("act", 0.2)
end
myriad.kind("ghost", {
    layers = 2, speed = 5,
    properties = {
        { name = "title", type = "text", to = "all", default = "planted-name-zephyr" },
        { name = "secret_mood", type = "int", to = "all" },
    },
    on = { spawned = function(self) self:after("act", 0.2) end },
    timers = { act = planted },
})
myriad.kind("avatar", {
    avatar = true, radius = 100, speed = 5,
    properties = { { name = "name", type = "text", to = "all", saved = true } },
    on = { spawned = function(self)
        local first = string.sub(self.name, 1, 2)
        if first == "b-" then self:set_layers(2) self:set_sees(2) end
        if first == "c-" then self:set_sees(3) end
    end },
})
myriad.on_start(function()
    for i = 1, 20 do
        local ghost = myriad.spawn("ghost", { x = 31.25 + i / 64, z = -27.5 - i / 32 })
    end
end)
"#;

/// What must not be found.
struct Planted {
    texts: Vec<Vec<u8>>,
    slots: BTreeSet<Slot>,
    entities: BTreeSet<EntityId>,
    positions: Vec<Pos>,
}

/// Where in what a client received something of `planted` stands, in words.
fn traces(raw: &Raw, planted: &Planted) -> Vec<String> {
    let mut found = Vec::new();
    let mut search = |what: &str, needle: &[u8]| {
        if raw.plaintext.windows(needle.len()).any(|window| window == needle) {
            found.push(format!("{what} as bytes {needle:02x?}"));
        }
    };
    for text in &planted.texts {
        search("a text", text);
    }
    // Sessions are numbered like entities, and everybody is told the own session's number.
    let sessions: Vec<u64> = raw
        .messages
        .iter()
        .filter_map(|message| match message {
            ServerMessage::LoggedIn(told) => Some(told.session.0),
            _ => None,
        })
        .collect();
    for entity in planted
        .entities
        .iter()
        .filter(|entity| !sessions.contains(&entity.0))
    {
        search("an id", &codec::encode(entity));
        search("an id", &entity.0.to_le_bytes());
    }
    for position in &planted.positions {
        search("a place", &codec::encode(&position.to_wire()));
    }
    for message in &raw.messages {
        let ServerMessage::View(view) = message else {
            continue;
        };
        let entered = view
            .enters
            .iter()
            .filter(|enter| planted.entities.contains(&enter.entity));
        found.extend(entered.map(|enter| format!("enter of {:?}", enter.subject)));
        let subjects = view.events.iter().map(|event| event.subject);
        let subjects = subjects.chain(view.changes.iter().map(|change| change.subject));
        let subjects = subjects.chain(view.leaves.iter().map(|leave| leave.subject));
        found.extend(
            subjects
                .filter(|s| planted.slots.contains(&s.slot))
                .map(|s| format!("told of {s:?}")),
        );
    }
    for payload in &raw.payloads {
        decode_payload(payload, |header, _, chunk| {
            decode_chunk(chunk, |state| {
                if planted.slots.contains(&state.slot) {
                    found.push(format!("state of slot {} in tick {}", state.slot, header.tick));
                }
            })
            .expect("a chunk");
        })
        .expect("a payload");
    }
    found
}

/// What only those on layer 2 may know, as a client that sees it found it.
fn planted(seer: &Raw) -> Planted {
    let enters = seer.messages.iter().filter_map(|message| match message {
        ServerMessage::View(view) => Some(&view.enters),
        _ => None,
    });
    let hidden = |enter: &&myriad_wire::client::Enter| {
        let text = format!("{:?}", enter.properties);
        text.contains("planted-name-zephyr") || text.contains("b-hidden")
    };
    let enters: Vec<_> = enters.flatten().filter(hidden).collect();
    assert_eq!(
        enters.len(),
        21,
        "the seer sees twenty ghosts and the player among them"
    );
    let texts = [
        "planted-name-zephyr",
        "planted-event-quetzal",
        "planted-argument-xylem",
        "b-hidden",
    ];
    Planted {
        texts: texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
        slots: enters.iter().map(|enter| enter.subject.slot).collect(),
        entities: enters.iter().map(|enter| enter.entity).collect(),
        positions: enters.iter().map(|enter| enter.position.centre()).collect(),
    }
}

fn views_with_events(raw: &Raw) -> usize {
    let with_events =
        |message: &&ServerMessage| matches!(message, ServerMessage::View(view) if !view.events.is_empty());
    raw.messages.iter().filter(with_events).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_on_one_layer_receives_nothing_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let scripts = folder.path().join("scripts");
    std::fs::create_dir(&scripts).expect("a folder");
    std::fs::write(scripts.join("main.luau"), GAME).expect("written");
    let more = format!("[space]\nspawn_side_m = 10\n[scripts]\ndirectory = {scripts:?}\n");
    let server = Server::serve(folder.path(), &configuration(folder.path(), &more));

    let mut blind = raw::connect(folder.path(), &server).await;
    blind.join("a-watcher").await;
    let mut hidden = raw::connect(folder.path(), &server).await;
    hidden.join("b-hidden").await;
    let mut seer = raw::connect(folder.path(), &server).await;
    seer.join("c-seer").await;
    // Long enough for events, changes and many states of what is hidden.
    seer.until("twenty events and states", |seer| {
        (views_with_events(seer) >= 20 && seer.payloads.len() >= 50).then_some(())
    })
    .await;
    blind
        .until("as many states", |blind| {
            (blind.payloads.len() >= 50).then_some(())
        })
        .await;

    let planted = planted(&seer);
    assert_eq!(
        traces(&blind, &planted),
        [""; 0],
        "somebody on layer 1 received something of layer 2"
    );
    let found = traces(&seer, &planted);
    for what in ["a text", "an id", "a place", "enter of", "told of", "state of"] {
        assert!(
            found.iter().any(|trace| trace.starts_with(what)),
            "the search finds {what} where it is"
        );
    }
    assert!(server.stop().success());
}
