//! Golden bytes and round trips of what is packed by hand: datagrams and the chunks of tracks.

use crate::{hex, unhex};
use myriad_wire::codec::CodecError;
use myriad_wire::limits::{CHUNK_BYTES_MAX, DATAGRAM_BYTES_MAX, INTENT_STEP_MAX, INTENTS_PER_DATAGRAM_MAX};
use myriad_wire::payload::{Intents, OwnRecord, PayloadHeader, Step, decode_payload, put_chunk, put_group};
use myriad_wire::track::{Level, State, Told, decode_chunk, encode_chunks};
use myriad_wire::{Generation, IntentSeq, LaneHandle, Pos, Slot, Tick, WirePos};
use proptest::prelude::*;

pub(crate) const INTENTS: &str = "02ac0207f0a2042a02980b01ffff01808002";
pub(crate) const PAYLOAD: &str = "01f0a204000282012a80a0060001010202250004070501004dd11c0010c800804111c940680142010040698101101280bfad400eff3832000300";
pub(crate) const CHUNKS: [&str; 4] = [
    "0004070501004dd11c0010c800804111c940680142010040698101101280bfad400eff3832",
    "010308000100cbb020503403024001000800400470db3fce8f01",
    "020208000004cbb02050f00206000000dcf68fd163",
    "030108c0020032cbb0240010007dff2c4c0c",
];

fn sample_intents() -> Intents {
    Intents {
        slot: Slot(300),
        generation: Generation(7),
        seen_tick: Tick(70_000),
        newest: IntentSeq(42),
        steps: vec![
            Step { dx: 716, dz: -1 },
            Step {
                dx: -INTENT_STEP_MAX,
                dz: INTENT_STEP_MAX,
            },
        ],
    }
}

fn sample_header() -> PayloadHeader {
    PayloadHeader {
        tick: Tick(70_000),
        part: 0,
        parts: 2,
        view_seq: 130,
        own: OwnRecord {
            intent_seq: IntentSeq(42),
            position: Pos {
                x: 51_200,
                y: 0,
                z: -1,
            },
            corrections: 1,
        },
    }
}

fn sample_payload() -> Vec<u8> {
    let mut out = Vec::new();
    sample_header().encode(&mut out);
    put_group(LaneHandle(2), 2, &mut out);
    put_chunk(&unhex(CHUNKS[0]), &mut out);
    put_chunk(&[], &mut out);
    put_group(LaneHandle(3), 0, &mut out);
    out
}

/// Entities of every phase, so that each level holds some of them. Versions are told of slots 8 and 1000, whose turn
/// it is in tick 0, and of slot 10, which changed.
fn sample_members() -> Vec<Told> {
    [
        (7, [-3, 0, 100]),
        (8, [640, 16, 100]),
        (10, [641, -1, 0]),
        (12, [0, 0, 9]),
        (1000, [6399, 0, 6399]),
    ]
    .into_iter()
    .map(|(slot, [x, y, z])| Told {
        slot: Slot(slot),
        position: WirePos { x, y, z },
        version: 200 + (slot % 50) as u8,
        changed: slot == 10,
    })
    .collect()
}

fn chunk(level: u8) -> Vec<u8> {
    let mut chunks = Vec::new();
    let level = Level::new(level).expect("one of four");
    encode_chunks(level, Tick(0), &sample_members(), |chunk| {
        chunks.push(chunk.to_vec());
    });
    assert_eq!(chunks.len(), 1);
    chunks.remove(0)
}

#[test]
fn intents_have_their_golden_bytes_and_read_back() {
    let mut out = Vec::new();
    sample_intents().encode(&mut out);
    assert_eq!(hex(&out), INTENTS);
    assert_eq!(Intents::decode(&out), Ok(sample_intents()));
}

#[test]
fn a_payload_has_its_golden_bytes_and_reads_back() {
    assert_eq!(hex(&sample_payload()), PAYLOAD);
    let bytes = sample_payload();
    let mut groups = Vec::new();
    let header = decode_payload(&bytes, |header, lane, chunk| {
        assert_eq!(*header, sample_header());
        groups.push((lane, chunk.to_vec()));
    });
    assert_eq!(header, Ok(sample_header()));
    assert_eq!(
        groups,
        [(LaneHandle(2), unhex(CHUNKS[0])), (LaneHandle(2), vec![])]
    );
}

#[test]
fn a_chunk_of_each_level_has_its_golden_bytes() {
    for (level, expected) in (0..).zip(CHUNKS) {
        assert_eq!(hex(&chunk(level)), expected, "level {level}");
    }
}

#[test]
fn what_an_intent_may_not_be_is_refused() {
    /// Where the number of steps stands in [`INTENTS`].
    const COUNT: usize = 8;
    let check = |at: usize, byte: u8, expected: &'static str| {
        let mut bytes = unhex(INTENTS);
        bytes[at] = byte;
        assert_eq!(Intents::decode(&bytes), Err(CodecError::Malformed(expected)));
    };
    check(0, 1, "not a datagram of intents");
    check(COUNT, 0, "a count of intents out of range");
    check(COUNT, 17, "a count of intents out of range");
    // The newest has number 1, so there is none before it.
    check(COUNT - 1, 1, "a count of intents out of range");
    let last = unhex(INTENTS).len() - 1;
    check(last, 3, "an intent beyond the largest step");
}

#[test]
fn a_part_beyond_the_parts_and_a_chunk_beyond_its_limit_are_refused() {
    for (part, parts) in [(0, 0), (1, 1), (5, 2)] {
        let mut out = Vec::new();
        PayloadHeader {
            part,
            parts,
            ..sample_header()
        }
        .encode(&mut out);
        assert!(decode_payload(&out, |_, _, _| {}).is_err());
    }
    let mut out = Vec::new();
    sample_header().encode(&mut out);
    put_group(LaneHandle(0), 1, &mut out);
    put_chunk(&[0; CHUNK_BYTES_MAX + 1], &mut out);
    assert_eq!(
        decode_payload(&out, |_, _, _| {}),
        Err(CodecError::Oversized {
            bytes: CHUNK_BYTES_MAX + 1,
            limit: CHUNK_BYTES_MAX
        })
    );
}

#[test]
fn the_largest_header_and_the_largest_chunk_fit_a_datagram_together() {
    let header = PayloadHeader {
        tick: Tick(u64::MAX),
        part: 254,
        parts: 255,
        view_seq: u64::MAX,
        own: OwnRecord {
            intent_seq: IntentSeq(u32::MAX),
            position: Pos {
                x: i32::MIN,
                y: i32::MIN,
                z: i32::MIN,
            },
            corrections: u32::MAX,
        },
    };
    let mut out = Vec::new();
    header.encode(&mut out);
    put_group(LaneHandle(255), 1, &mut out);
    put_chunk(&[0; CHUNK_BYTES_MAX], &mut out);
    assert!(out.len() <= DATAGRAM_BYTES_MAX, "{} bytes", out.len());
    assert_eq!(decode_payload(&out, |_, _, _| {}), Ok(header));
}

#[test]
fn the_most_intents_fit_a_datagram() {
    let intents = Intents {
        slot: Slot(u32::MAX),
        generation: Generation(u16::MAX),
        seen_tick: Tick(u64::MAX),
        newest: IntentSeq(u32::MAX),
        steps: vec![
            Step {
                dx: -INTENT_STEP_MAX,
                dz: -INTENT_STEP_MAX
            };
            INTENTS_PER_DATAGRAM_MAX
        ],
    };
    let mut out = Vec::new();
    intents.encode(&mut out);
    assert!(out.len() <= DATAGRAM_BYTES_MAX, "{} bytes", out.len());
    assert_eq!(Intents::decode(&out), Ok(intents));
}

proptest! {
    #[test]
    fn intents_of_any_size_read_back(
        slot: u32, generation: u16, seen: u64, newest in 16u32..,
        steps in prop::collection::vec((-INTENT_STEP_MAX..=INTENT_STEP_MAX, -INTENT_STEP_MAX..=INTENT_STEP_MAX), 1..=16),
    ) {
        let intents = Intents {
            slot: Slot(slot),
            generation: Generation(generation),
            seen_tick: Tick(seen),
            newest: IntentSeq(newest),
            steps: steps.into_iter().map(|(dx, dz)| Step { dx, dz }).collect(),
        };
        let mut out = Vec::new();
        intents.encode(&mut out);
        prop_assert_eq!(Intents::decode(&out), Ok(intents));
    }

    #[test]
    fn payloads_of_any_size_read_back(
        numbers: (u64, u64, u32, u32), at: [i32; 3], parts in 1u8..,
        groups in prop::collection::vec((any::<u8>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5)), 0..4),
    ) {
        let [x, y, z] = at;
        let header = PayloadHeader {
            tick: Tick(numbers.0),
            part: parts - 1,
            parts,
            view_seq: numbers.1,
            own: OwnRecord { intent_seq: IntentSeq(numbers.2), position: Pos { x, y, z }, corrections: numbers.3 },
        };
        let mut out = Vec::new();
        header.encode(&mut out);
        let mut expected = Vec::new();
        for (lane, chunks) in &groups {
            put_group(LaneHandle(*lane), chunks.len(), &mut out);
            for chunk in chunks {
                put_chunk(chunk, &mut out);
                expected.push((*lane, chunk.as_slice()));
            }
        }
        let mut read = Vec::new();
        prop_assert_eq!(decode_payload(&out, |_, lane, chunk| read.push((lane.0, chunk))), Ok(header));
        prop_assert_eq!(read, expected);
    }
}

/// The states of a chunk, for other tests.
pub(crate) fn states(chunk: &[u8]) -> Result<(Level, Vec<State>), CodecError> {
    let mut states = Vec::new();
    let level = decode_chunk(chunk, |state| states.push(state))?;
    Ok((level, states))
}
