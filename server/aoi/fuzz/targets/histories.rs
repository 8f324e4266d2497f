//! Any bytes are a history of operations; every engine does what the oracle does.

#![no_main]

#[path = "../../tests/drive/mod.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drive::bytes::run("fuzz", bytes, false);
});
