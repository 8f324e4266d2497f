//! Every decoder against bytes that nobody honest sends: cut short, continued, with a bit flipped, and random.
//! None panics, and none asks for more memory than a multiple of what it was given.

use crate::allocation::largest_in;
use crate::golden::{Golden, Visit, visit_all};
use crate::{crowd, hand_packed, unhex};
use bincode::{Decode, Encode};
use myriad_wire::Tick;
use myriad_wire::client::{ClientMessage, ServerMessage};
use myriad_wire::codec::{self, Deframer};
use myriad_wire::crowd::Track;
use myriad_wire::crowd::message::{Form, Happening, take_head, take_record};
use myriad_wire::directory::{DIRECTORY_BYTES_MAX, DirectoryReply, DirectoryRequest};
use myriad_wire::fabric::{Envelope, Report, ToGateway};
use myriad_wire::lane::LaneMessage;
use myriad_wire::limits::{CLIENT_MESSAGE_BYTES_MAX, NODE_MESSAGE_BYTES_MAX};
use myriad_wire::payload::{Intents, decode_payload};
use myriad_wire::truth::TruthTick;
use proptest::prelude::*;

/// The most memory in one piece that any decoder may ask for on account of a message of a client's size.
const PIECE_BYTES_MAX: usize = 32 * CLIENT_MESSAGE_BYTES_MAX;

/// Reads a record as each form, whatever it says that it is.
fn decode_as_record(tick: Tick, bytes: &[u8]) {
    let mut track = crowd::sample_track();
    if track.apply(tick, bytes).is_ok() {
        let mut keyframe = Vec::new();
        track.keyframe(tick, &mut keyframe);
        Track::from_keyframe(tick, &keyframe).expect("what was read can be written");
    }
    let _ = Track::from_keyframe(tick, bytes);
    let _ = Happening::list_from_bytes(bytes);
}

/// As a client does that holds a track for every delta.
fn decode_as_crowd_message(mut bytes: &[u8]) {
    let Ok(head) = take_head(&mut bytes) else { return };
    while let Ok(Some(record)) = take_record(&mut bytes) {
        match record.form {
            Form::Delta | Form::Keyframe | Form::Events => decode_as_record(head.tick, record.bytes),
            Form::Drop => {}
        }
    }
}

/// Feeds every decoder there is.
fn decode_as_everything(bytes: &[u8]) {
    let _ = ClientMessage::from_bytes(bytes);
    let _ = ServerMessage::from_bytes(bytes);
    let _ = codec::decode::<Envelope>(bytes, NODE_MESSAGE_BYTES_MAX);
    let _ = codec::decode::<Report>(bytes, NODE_MESSAGE_BYTES_MAX);
    let _ = codec::decode::<ToGateway>(bytes, NODE_MESSAGE_BYTES_MAX);
    let _ = LaneMessage::from_bytes(bytes);
    let _ = codec::decode::<DirectoryRequest>(bytes, DIRECTORY_BYTES_MAX);
    let _ = codec::decode::<DirectoryReply>(bytes, DIRECTORY_BYTES_MAX);
    let _ = codec::decode::<TruthTick>(bytes, NODE_MESSAGE_BYTES_MAX);
    decode_as_record(Tick(70_005), bytes);
    decode_as_crowd_message(bytes);
    let _ = Intents::decode(bytes);
    let _ = hand_packed::states(bytes);
    let _ = decode_payload(bytes, |_, _, chunk| {
        let _ = hand_packed::states(chunk);
    });
    let mut deframer = Deframer::new(CLIENT_MESSAGE_BYTES_MAX);
    deframer.handle_bytes(bytes);
    while let Ok(Some(_)) = deframer.poll_message() {}
}

fn decode_cheaply(bytes: &[u8]) {
    let largest = largest_in(|| decode_as_everything(bytes));
    assert!(
        largest <= PIECE_BYTES_MAX,
        "{} bytes made a decoder ask for {largest}",
        bytes.len()
    );
}

/// The bytes of every golden message.
struct Corpus(Vec<Vec<u8>>);

impl Visit for Corpus {
    fn visit<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(&mut self, samples: Vec<Golden<M>>) {
        self.0.extend(samples.iter().map(|sample| unhex(sample.hex)));
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Corpus(Vec::new());
    visit_all(&mut corpus);
    corpus.0.push(unhex(hand_packed::INTENTS));
    corpus.0.push(unhex(hand_packed::PAYLOAD));
    corpus.0.extend(hand_packed::CHUNKS.map(unhex));
    corpus.0.extend(crowd::RECORDS.map(|(_, bytes)| unhex(bytes)));
    corpus.0.extend(crowd::MESSAGES.map(|(_, bytes)| unhex(bytes)));
    corpus.0
}

#[test]
fn a_message_with_any_bit_flipped_harms_nobody() {
    for message in corpus() {
        for bit in 0..8 * message.len() {
            let mut bytes = message.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            decode_cheaply(&bytes);
        }
    }
}

#[test]
fn a_message_with_any_byte_replaced_by_a_huge_number_harms_nobody() {
    // 252 and 253 announce integers of four and eight bytes.
    for message in corpus() {
        for at in 0..message.len() {
            for huge in [
                &[252, 255, 255, 255, 127][..],
                &[253, 255, 255, 255, 255, 255, 255, 255, 127],
            ] {
                let bytes = [&message[..at], huge, &message[at + 1..]].concat();
                decode_cheaply(&bytes);
            }
        }
    }
}

/// Refuses every part of each message, and each message with more behind it.
struct CutAndContinue;

impl Visit for CutAndContinue {
    fn visit<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(&mut self, samples: Vec<Golden<M>>) {
        for Golden { name, hex, .. } in samples {
            let bytes = unhex(hex);
            for end in 0..bytes.len() {
                let read = codec::decode::<M>(&bytes[..end], NODE_MESSAGE_BYTES_MAX);
                assert!(read.is_err(), "{end} bytes of {name}");
            }
            let longer = [&bytes[..], &[0]].concat();
            let read = codec::decode::<M>(&longer, NODE_MESSAGE_BYTES_MAX);
            assert!(read.is_err(), "a byte more than {name}");
        }
    }
}

#[test]
fn a_message_that_is_cut_short_or_goes_on_is_refused() {
    visit_all(&mut CutAndContinue);
    let intents = unhex(hand_packed::INTENTS);
    for end in 0..intents.len() {
        assert!(
            Intents::decode(&intents[..end]).is_err(),
            "{end} bytes of intents"
        );
    }
    assert!(Intents::decode(&[&intents[..], &[0]].concat()).is_err());
}

proptest! {
    #[test]
    fn random_bytes_harm_nobody(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_cheaply(&bytes);
    }

    #[test]
    fn random_bytes_behind_the_beginning_of_a_message_harm_nobody(
        which: prop::sample::Index, at: prop::sample::Index,
        bytes in prop::collection::vec(prop_oneof![2 => any::<u8>(), 1 => 250u8..], 0..60),
    ) {
        let corpus = corpus();
        let message = &corpus[which.index(corpus.len())];
        let kept = at.index(message.len() + 1);
        decode_cheaply(&[&message[..kept], &bytes].concat());
    }
}
