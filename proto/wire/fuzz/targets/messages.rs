//! Any bytes as a message on the stream, either way: what is taken is written again as the same message, and the
//! deframer hands out the same messages however the bytes come in.

#![no_main]

use myriad_wire::client::{ClientMessage, ServerMessage};
use myriad_wire::codec::{Deframer, encode};
use myriad_wire::limits::CLIENT_MESSAGE_BYTES_MAX;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Compared as bytes, since a float that is no number is not equal to itself.
    if let Ok(message) = ClientMessage::from_bytes(bytes) {
        let again = encode(&message);
        let read = ClientMessage::from_bytes(&again).expect("what was taken once");
        assert_eq!(encode(&read), again);
    }
    if let Ok(message) = ServerMessage::from_bytes(bytes) {
        let again = encode(&message);
        let read = ServerMessage::from_bytes(&again).expect("what was taken once");
        assert_eq!(encode(&read), again);
    }
    // The stream comes in pieces: at once, and byte by byte.
    let whole = deframed([bytes]);
    assert_eq!(whole, deframed(bytes.chunks(1)));
});

/// The messages of a stream that comes in these pieces, and whether it was refused.
fn deframed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let mut deframer = Deframer::new(CLIENT_MESSAGE_BYTES_MAX);
    let mut messages = Vec::new();
    for piece in pieces {
        deframer.handle_bytes(piece);
        loop {
            match deframer.poll_message() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}
