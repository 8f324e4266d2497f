//! Any bytes as a datagram, either way, and as a chunk: what is taken keeps to what its type promises, and is written
//! again as the same bytes.

#![no_main]

use myriad_wire::limits::{CHUNK_BYTES_MAX, CHUNK_ENTITIES_MAX, INTENTS_PER_DATAGRAM_MAX};
use myriad_wire::payload::{Intents, decode_payload};
use myriad_wire::track::{Level, decode_chunk};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(intents) = Intents::decode(bytes) {
        assert!((1..=INTENTS_PER_DATAGRAM_MAX).contains(&intents.steps.len()));
        let mut again = Vec::new();
        intents.encode(&mut again);
        assert_eq!(again, bytes);
    }
    let header = decode_payload(bytes, |header, _, chunk| {
        assert!(header.part < header.parts && chunk.len() <= CHUNK_BYTES_MAX);
        read_chunk(chunk);
    });
    if let Ok(header) = header {
        let mut again = Vec::new();
        header.encode(&mut again);
        assert!(bytes.starts_with(&again));
    }
    read_chunk(bytes);
});

fn read_chunk(chunk: &[u8]) {
    let mut slots = Vec::new();
    let mut versions = 0;
    let read = decode_chunk(chunk, |state| {
        assert!(slots.last().is_none_or(|last| *last < state.slot), "slots ascend");
        slots.push(state.slot);
        versions += usize::from(state.version.is_some());
    });
    assert!(slots.len() <= CHUNK_ENTITIES_MAX);
    if let Ok(level) = read {
        assert!(!slots.is_empty());
        assert!(level == Level::NEAR || versions == 0);
    }
}
