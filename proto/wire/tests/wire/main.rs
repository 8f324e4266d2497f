//! The wire as seen from outside: golden bytes of every message, decoders against hostile bytes, and the protocol
//! document against the code.

mod allocation;
mod crowd;
mod document;
mod fuzz_seeds;
mod golden;
mod hand_packed;
mod hostile;

use std::fmt::Write;

/// Bytes as the tables write them: two digits a byte.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a String takes everything");
        out
    })
}

/// The bytes of a table's entry; blanks are for the reader.
fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("hex digits and blanks") as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "two digits a byte: {text}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
