//! `proto/PROTOCOL.md` against the code: its examples in hex, its tables of limits and close codes, and that it
//! names every field.

use crate::golden::{Golden, Visit, visit_all};
use crate::{crowd, hand_packed, hex, unhex};
use bincode::{Decode, Encode};
use myriad_wire::codec::frame_into;
use myriad_wire::payload::{OwnRecord, PayloadHeader, put_chunk, put_group};
use myriad_wire::track::{Level, Told, encode_chunks};
use myriad_wire::{
    CloseReason, IntentSeq, LaneHandle, Pos, Slot, Tick, WirePos, crowd as crowd_wire, limits, track,
};
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../../PROTOCOL.md");
const FIELDS: &[&str] = &[
    include_str!("../../src/client.rs"),
    include_str!("../../src/crowd/message.rs"),
    include_str!("../../src/schema.rs"),
    include_str!("../../src/value.rs"),
];

/// The document's examples by name.
fn examples() -> BTreeMap<&'static str, Vec<u8>> {
    let mut examples = BTreeMap::new();
    for block in DOCUMENT.split("\n```hex ").skip(1) {
        let (name, rest) = block.split_once('\n').expect("a block has lines");
        let (lines, _) = rest.split_once("\n```").expect("a block ends");
        let bytes: String = lines.lines().filter_map(|line| line.split(';').next()).collect();
        let before = examples.insert(name, unhex(&bytes));
        assert!(before.is_none(), "{name} stands there twice");
    }
    examples
}

/// The golden messages between client and server, framed, by the name of their variant.
#[derive(Default)]
struct Framed(BTreeMap<String, Vec<u8>>);

impl Visit for Framed {
    fn visit<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(&mut self, samples: Vec<Golden<M>>) {
        for Golden { name, message, .. } in samples {
            let sides = ["ClientMessage::", "ServerMessage::"];
            if let Some(name) = sides.iter().find_map(|side| name.strip_prefix(side)) {
                let mut out = Vec::new();
                frame_into(&message, &mut out);
                self.0.insert(name.to_owned(), out);
            }
        }
    }
}

fn example_payload() -> Vec<u8> {
    let header = PayloadHeader {
        tick: Tick(70_000),
        part: 0,
        parts: 1,
        view_seq: 1,
        own: OwnRecord {
            intent_seq: IntentSeq(42),
            position: Pos {
                x: 51_200,
                y: 0,
                z: -1,
            },
            corrections: 0,
        },
    };
    let told = |slot, x, z, changed| Told {
        slot: Slot(slot),
        position: WirePos { x, y: 0, z },
        version: 251,
        changed,
    };
    // Of slot 302 the version is told, since it changed.
    let members = [told(300, 3200, -1, false), told(302, 3264, 15, true)];
    let mut out = Vec::new();
    header.encode(&mut out);
    put_group(LaneHandle(2), 1, &mut out);
    encode_chunks(Level::NEAR, header.tick, &members, |chunk| {
        put_chunk(chunk, &mut out);
    });
    out
}

#[test]
fn every_message_has_its_example_and_every_example_is_right() {
    let mut expected = Framed::default();
    visit_all(&mut expected);
    let mut expected = expected.0;
    expected.insert("intents".into(), unhex(hand_packed::INTENTS));
    expected.insert("payload".into(), example_payload());
    for (name, message) in crowd::messages() {
        expected.insert(name.into(), message);
    }
    let examples = examples();
    for (name, bytes) in &expected {
        let example = examples.get(name.as_str()).map(|bytes| hex(bytes));
        assert_eq!(example, Some(hex(bytes)), "{name}");
    }
    assert_eq!(examples.len(), expected.len());
}

/// The cells of the table rows of a section, without the head.
fn rows(section: &str) -> Vec<Vec<String>> {
    let (_, text) = DOCUMENT
        .split_once(&format!("\n## {section}\n"))
        .expect("the section exists");
    let text = text.split("\n## ").next().unwrap_or(text);
    text.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|--"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

#[test]
fn the_table_of_close_codes_is_complete_and_right() {
    let rows = rows("12. Close codes");
    let table: Vec<_> = rows[1..]
        .iter()
        .map(|cells| (cells[0].as_str(), cells[1].as_str()))
        .collect();
    let codes: Vec<String> = CloseReason::ALL
        .iter()
        .map(|reason| reason.code().to_string())
        .collect();
    let expected: Vec<_> = codes
        .iter()
        .zip(CloseReason::ALL)
        .map(|(code, reason)| (code.as_str(), reason.label()))
        .collect();
    assert_eq!(table, expected);
}

#[test]
fn the_table_of_limits_is_right() {
    let expected = [
        ("CLIENT_MESSAGE_BYTES_MAX", limits::CLIENT_MESSAGE_BYTES_MAX),
        ("SERVER_MESSAGE_BYTES_MAX", limits::SERVER_MESSAGE_BYTES_MAX),
        ("DATAGRAM_BYTES_MAX", limits::DATAGRAM_BYTES_MAX),
        ("CHUNK_BYTES_MAX", limits::CHUNK_BYTES_MAX),
        ("CHUNK_ENTITIES_MAX", limits::CHUNK_ENTITIES_MAX),
        ("ACCOUNT_BYTES_MAX", limits::ACCOUNT_BYTES_MAX),
        ("LOGIN_KEY_BYTES_MAX", limits::LOGIN_KEY_BYTES_MAX),
        ("AGENT_BYTES_MAX", limits::AGENT_BYTES_MAX),
        ("NAME_BYTES_MAX", limits::NAME_BYTES_MAX),
        ("ARGUMENTS_MAX", limits::ARGUMENTS_MAX),
        ("TEXT_BYTES_MAX", limits::TEXT_BYTES_MAX),
        ("PROPERTIES_MAX", limits::PROPERTIES_MAX),
        ("INTENTS_PER_DATAGRAM_MAX", limits::INTENTS_PER_DATAGRAM_MAX),
        ("INTENT_STEP_MAX", limits::INTENT_STEP_MAX as usize),
        ("IDENTIFY_MAX", limits::IDENTIFY_MAX),
        ("TRACK_MEMBERS_MAX", crowd_wire::TRACK_MEMBERS_MAX),
        ("CELL_OFFSET_MAX", crowd_wire::CELL_OFFSET_MAX as usize),
        ("VERSION_TICKS", track::VERSION_TICKS as usize),
        ("SLOT_REST_TICKS", limits::SLOT_REST_TICKS as usize),
    ];
    let rows = rows("13. Limits");
    for (name, value) in expected {
        let row = rows.iter().find(|cells| cells[0] == name);
        assert_eq!(
            row.map(|cells| cells[1].clone()),
            Some(value.to_string()),
            "{name}"
        );
    }
}

#[test]
fn the_alpn_and_the_version_are_the_ones_described() {
    let alpn = std::str::from_utf8(limits::ALPN_CLIENT).unwrap();
    assert!(DOCUMENT.contains(&format!(
        "message version {} over ALPN `{alpn}`",
        limits::VERSION_MAX
    )));
}

#[test]
fn every_field_and_variant_is_named() {
    let code = FIELDS
        .iter()
        .map(|source| source.split("#[cfg(test)]").next().unwrap_or(source));
    for line in code.flat_map(str::lines) {
        let field = line
            .strip_prefix("    pub ")
            .filter(|rest| !rest.starts_with("fn "));
        let variant = line
            .strip_prefix("    ")
            .filter(|rest| rest.starts_with(char::is_uppercase) && rest.ends_with(','));
        let Some(name) = field
            .or(variant)
            .and_then(|rest| rest.split([':', '(', ',', ' ']).next())
        else {
            continue;
        };
        assert!(
            DOCUMENT.contains(&format!("`{name}`")),
            "PROTOCOL.md does not name `{name}`"
        );
    }
}

#[test]
fn the_chunk_of_the_example_holds_the_states_that_the_document_says() {
    let mut states = Vec::new();
    let payload = examples().remove("payload").expect("it is there");
    myriad_wire::payload::decode_payload(&payload, |_, _, chunk| {
        states.extend(hand_packed::states(chunk).expect("it can be read").1);
    })
    .expect("it can be read");
    for state in states {
        let Pos { x, y, z } = state.position;
        let said = DOCUMENT.lines().any(|line| {
            line.contains(&format!("slot {}: x", state.slot))
                && line.ends_with(&format!("position ({x}, {y}, {z})"))
        });
        assert!(said, "{state:?}");
    }
}
