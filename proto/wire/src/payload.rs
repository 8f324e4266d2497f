//! What travels in datagrams: movement intents one way, states the other. Hand-packed, each datagram readable by
//! itself; losing one loses only what it held.
//!
//! ```text
//! intents (client -> gateway)
//!     kind=2:u8  slot:varint  generation:varint  seen_tick:varint  newest_seq:varint  count:u8
//!     count x { dx:zigzag dz:zigzag }      oldest first; the last one is newest_seq
//!
//! payload (gateway -> client)
//!     kind=1:u8  tick:varint  part:u8  parts:u8  view_seq:varint
//!     own record: intent_seq:varint  x:zigzag y:zigzag z:zigzag  corrections:varint
//!     until the end: group = lane:u8  chunks:varint  chunks x { length:varint  chunk }
//! ```

use crate::Tick;
use crate::bits::{put_varint, put_zigzag, take_byte, take_varint, take_varint_u32, take_zigzag_i32};
use crate::codec::CodecError;
use crate::grid::Pos;
use crate::id::{Generation, IntentSeq, LaneHandle, Slot};
use crate::limits::{CHUNK_BYTES_MAX, INTENT_STEP_MAX, INTENTS_PER_DATAGRAM_MAX};
use bincode::{Decode, Encode};

const KIND_PAYLOAD: u8 = 1;
const KIND_INTENTS: u8 = 2;

/// One movement intent: how far the avatar went since the intent before, in position units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Step {
    /// East, in 1/1024 m.
    pub dx: i32,
    /// South, in 1/1024 m.
    pub dz: i32,
}

/// A datagram of movement intents. Those not yet acknowledged are sent again, so that a lost datagram loses none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intents {
    /// The avatar's slot; an intent for another entity closes the session.
    pub slot: Slot,
    /// The avatar's generation.
    pub generation: Generation,
    /// The newest tick of which the client has read a payload.
    pub seen_tick: Tick,
    /// The number of the last of `steps`; the others count down from it.
    pub newest: IntentSeq,
    /// 1 to [`INTENTS_PER_DATAGRAM_MAX`] steps, oldest first.
    pub steps: Vec<Step>,
}

impl Intents {
    /// Appends the datagram to `out`.
    ///
    /// # Panics
    /// If there are no steps, or too many, or more than `newest`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(
            (1..=INTENTS_PER_DATAGRAM_MAX).contains(&self.steps.len()),
            "1 to 16 intents in a datagram"
        );
        assert!(self.newest.0 as usize >= self.steps.len(), "intents count from 1");
        out.push(KIND_INTENTS);
        put_varint(out, u64::from(self.slot.0));
        put_varint(out, u64::from(self.generation.0));
        put_varint(out, self.seen_tick.0);
        put_varint(out, u64::from(self.newest.0));
        out.push(self.steps.len() as u8);
        for step in &self.steps {
            put_zigzag(out, i64::from(step.dx));
            put_zigzag(out, i64::from(step.dz));
        }
    }

    /// Reads a datagram from a client.
    ///
    /// # Errors
    /// If it is anything but one well-formed datagram of intents with steps of at most [`INTENT_STEP_MAX`].
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let bytes = &mut bytes;
        if take_byte(bytes)? != KIND_INTENTS {
            return Err(CodecError::Malformed("not a datagram of intents"));
        }
        let slot = Slot(take_varint_u32(bytes)?);
        let generation = u16::try_from(take_varint(bytes)?)
            .map(Generation)
            .map_err(|_| CodecError::Malformed("a generation beyond 16 bits"))?;
        let seen_tick = Tick(take_varint(bytes)?);
        let newest = IntentSeq(take_varint_u32(bytes)?);
        let count = usize::from(take_byte(bytes)?);
        if !(1..=INTENTS_PER_DATAGRAM_MAX).contains(&count) || count > newest.0 as usize {
            return Err(CodecError::Malformed("a count of intents out of range"));
        }
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let step = Step {
                dx: take_zigzag_i32(bytes)?,
                dz: take_zigzag_i32(bytes)?,
            };
            if step.dx.unsigned_abs().max(step.dz.unsigned_abs()) > INTENT_STEP_MAX.unsigned_abs() {
                return Err(CodecError::Malformed("an intent beyond the largest step"));
            }
            steps.push(step);
        }
        if !bytes.is_empty() {
            return Err(CodecError::Length("bytes left over behind intents"));
        }
        Ok(Self {
            slot,
            generation,
            seen_tick,
            newest,
            steps,
        })
    }
}

/// The client's own record: first in each payload, so that prediction is reconciled whatever else was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct OwnRecord {
    /// The last intent that was applied.
    pub intent_seq: IntentSeq,
    /// Where the avatar was at the payload's tick, exact.
    pub position: Pos,
    /// How often the session's intents were cut short so far. A client that sees it rise has been corrected.
    pub corrections: u32,
}

/// The header of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PayloadHeader {
    /// The tick that the states are of.
    pub tick: Tick,
    /// Which datagram of this tick's payload, from 0.
    pub part: u8,
    /// How many datagrams this tick's payload has, at least 1.
    pub parts: u8,
    /// How many `View` messages, and crowd messages that begin, the gateway has sent on the stream, this tick's
    /// included. A client that has read
    /// fewer waits for them before it tells this tick.
    pub view_seq: u64,
    /// The client's own record.
    pub own: OwnRecord,
}

impl PayloadHeader {
    /// Appends the header to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(KIND_PAYLOAD);
        put_varint(out, self.tick.0);
        out.push(self.part);
        out.push(self.parts);
        put_varint(out, self.view_seq);
        put_varint(out, u64::from(self.own.intent_seq.0));
        for v in [self.own.position.x, self.own.position.y, self.own.position.z] {
            put_zigzag(out, i64::from(v));
        }
        put_varint(out, u64::from(self.own.corrections));
    }
}

/// Appends the head of a group: `chunks` chunks of the lane follow, each put by [`put_chunk`].
pub fn put_group(lane: LaneHandle, chunks: usize, out: &mut Vec<u8>) {
    out.push(lane.0);
    put_varint(out, chunks as u64);
}

/// Appends a chunk behind its length.
pub fn put_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    put_varint(out, chunk.len() as u64);
    out.extend_from_slice(chunk);
}

/// Reads a payload: its header at once, then `each` for every chunk (not yet decoded) with its lane.
///
/// # Errors
/// If the bytes are not a payload. Chunks before the fault have been handed out by then.
pub fn decode_payload<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(&PayloadHeader, LaneHandle, &'a [u8]),
) -> Result<PayloadHeader, CodecError> {
    let bytes = &mut bytes;
    if take_byte(bytes)? != KIND_PAYLOAD {
        return Err(CodecError::Malformed("not a payload"));
    }
    let tick = Tick(take_varint(bytes)?);
    let (part, parts) = (take_byte(bytes)?, take_byte(bytes)?);
    if part >= parts {
        return Err(CodecError::Malformed("a part beyond the number of parts"));
    }
    let view_seq = take_varint(bytes)?;
    let own = OwnRecord {
        intent_seq: IntentSeq(take_varint_u32(bytes)?),
        position: Pos {
            x: take_zigzag_i32(bytes)?,
            y: take_zigzag_i32(bytes)?,
            z: take_zigzag_i32(bytes)?,
        },
        corrections: take_varint_u32(bytes)?,
    };
    let header = PayloadHeader {
        tick,
        part,
        parts,
        view_seq,
        own,
    };
    while !bytes.is_empty() {
        let lane = LaneHandle(take_byte(bytes)?);
        for _ in 0..take_varint(bytes)? {
            let length = take_varint_u32(bytes)? as usize;
            if length > CHUNK_BYTES_MAX {
                return Err(CodecError::Oversized {
                    bytes: length,
                    limit: CHUNK_BYTES_MAX,
                });
            }
            let (chunk, rest) = bytes
                .split_at_checked(length)
                .ok_or(CodecError::Length("a chunk beyond the end of its payload"))?;
            *bytes = rest;
            each(&header, lane, chunk);
        }
    }
    Ok(header)
}
