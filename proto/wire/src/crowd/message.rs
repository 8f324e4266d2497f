//! The crowd message: what of a tick's tracks a client in a crowd is told, on the session's stream.
//!
//! ```text
//! crowd  = 8:u8  tick:varint  flags:u8 (1 begins, 2 complete)  until the end: record
//! record = lane:u8  track:varint  form:u8  length:varint  that many bytes
//! form     0 delta, 1 keyframe (both: see crate::crowd), 2 drop (no bytes), 3 events (see Happenings)
//! ```
//! It stands among the [`ServerMessage`](crate::client::ServerMessage)s as one more variant, packed by hand because
//! its records are bytes that many clients share.

use super::TrackId;
use crate::Tick;
use crate::bits::{put_varint, take_byte, take_varint, take_varint_u32};
use crate::codec::{CodecError, LENGTH_BYTES};
use crate::id::{Generation, LaneHandle, Slot};
use crate::value::Value;
use bincode::{Decode, Encode};

/// The first byte of a crowd message: the number behind the last variant of
/// [`ServerMessage`](crate::client::ServerMessage).
pub const CROWD_VARIANT: u8 = 8;

const BEGINS: u8 = 1;
const COMPLETE: u8 = 2;

/// The head of a crowd message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CrowdHead {
    /// The tick that everything in it is of.
    pub tick: Tick,
    /// From here on tracks tell the view, and no track that was told before is known any more. What the client has in
    /// view stays there until it is found in a track, or `complete`.
    pub begins: bool,
    /// With this message all tracks in reach have been told: who is in view and in none of them leaves.
    pub complete: bool,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Form {
    /// What changed in a track that the client knows.
    Delta,
    /// A track that the client knows nothing of.
    Keyframe,
    /// The client is told no more of the track: its members leave.
    Drop,
    /// What happened to members of the track: a list of [`Happening`], in the message encoding.
    Events,
}

/// Something happened to a member of a track.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Happening {
    /// Its slot.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
    /// The event's name: at most [`crate::limits::NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Its arguments: at most [`crate::limits::ARGUMENTS_MAX`] values.
    pub arguments: Vec<Value>,
}

/// One record of a crowd message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Of which lane.
    pub lane: LaneHandle,
    /// Of which track of it.
    pub track: TrackId,
    /// What the bytes are.
    pub form: Form,
    /// Not yet decoded.
    pub bytes: &'a [u8],
}

impl CrowdHead {
    /// Begins a message in `out`: room for its length, and the head. Records follow, then [`finish`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        out.push(CROWD_VARIANT);
        put_varint(out, self.tick.0);
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        out.push(flag(self.begins, BEGINS) | flag(self.complete, COMPLETE));
    }
}

impl Record<'_> {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.lane.0);
        put_varint(out, u64::from(self.track.0));
        out.push(self.form as u8);
        put_varint(out, self.bytes.len() as u64);
        out.extend_from_slice(self.bytes);
    }
}

/// Ends the message that begins at `start` of `out`: writes its length.
///
/// # Panics
/// If it is larger than 4 GiB.
pub fn finish(start: usize, out: &mut [u8]) {
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).expect("a message is smaller than 4 GiB");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// Whether a message off the stream, without its length, is a crowd message.
#[must_use]
pub fn is_crowd(message: &[u8]) -> bool {
    message.first() == Some(&CROWD_VARIANT)
}

/// Reads the head of a crowd message; the records are behind it, for [`take_record`].
///
/// # Errors
/// If it is no crowd message.
pub fn take_head(bytes: &mut &[u8]) -> Result<CrowdHead, CodecError> {
    if take_byte(bytes)? != CROWD_VARIANT {
        return Err(CodecError::Malformed("not a crowd message"));
    }
    let tick = Tick(take_varint(bytes)?);
    let flags = take_byte(bytes)?;
    if flags & !(BEGINS | COMPLETE) != 0 {
        return Err(CodecError::Malformed("unknown flags of a crowd message"));
    }
    Ok(CrowdHead {
        tick,
        begins: flags & BEGINS != 0,
        complete: flags & COMPLETE != 0,
    })
}

/// Takes the next record; `None` at the end of the message.
///
/// # Errors
/// If what stands there is no record.
pub fn take_record<'a>(bytes: &mut &'a [u8]) -> Result<Option<Record<'a>>, CodecError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let lane = LaneHandle(take_byte(bytes)?);
    let track = u16::try_from(take_varint(bytes)?)
        .map(TrackId)
        .map_err(|_| CodecError::Malformed("a track beyond 16 bits"))?;
    let form = match take_byte(bytes)? {
        0 => Form::Delta,
        1 => Form::Keyframe,
        2 => Form::Drop,
        3 => Form::Events,
        _ => return Err(CodecError::Malformed("no such form of a record")),
    };
    let length = take_varint_u32(bytes)? as usize;
    let (record, rest) = bytes
        .split_at_checked(length)
        .ok_or(CodecError::Length("a record beyond the end of its message"))?;
    *bytes = rest;
    Ok(Some(Record {
        lane,
        track,
        form,
        bytes: record,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form() -> impl Strategy<Value = Form> {
        prop_oneof![
            Just(Form::Delta),
            Just(Form::Keyframe),
            Just(Form::Drop),
            Just(Form::Events)
        ]
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was_written(
            tick: u64,
            begins: bool,
            complete: bool,
            records in prop::collection::vec((any::<u8>(), any::<u16>(), form(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
            cut in 0..8usize,
        ) {
            let head = CrowdHead { tick: Tick(tick), begins, complete };
            let mut out = vec![0xaa; 3];
            head.encode(&mut out);
            for (lane, track, form, bytes) in &records {
                Record { lane: LaneHandle(*lane), track: TrackId(*track), form: *form, bytes }.encode(&mut out);
            }
            finish(3, &mut out);
            prop_assert_eq!(&out[3..7], &((out.len() - 7) as u32).to_le_bytes());
            let message = &out[7..];
            prop_assert!(is_crowd(message));
            let mut rest = message;
            prop_assert_eq!(take_head(&mut rest), Ok(head));
            for (lane, track, form, bytes) in &records {
                let record = Record { lane: LaneHandle(*lane), track: TrackId(*track), form: *form, bytes };
                prop_assert_eq!(take_record(&mut rest), Ok(Some(record)));
            }
            prop_assert_eq!(take_record(&mut rest), Ok(None));
            // Shortened, it is a shorter message or none; it never panics.
            let mut rest = &message[..message.len().saturating_sub(cut)];
            if take_head(&mut rest).is_ok() {
                while let Ok(Some(_)) = take_record(&mut rest) {}
            }
        }

        #[test]
        fn no_bytes_stop_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut rest = &bytes[..];
            if take_head(&mut rest).is_ok() {
                while let Ok(Some(_)) = take_record(&mut rest) {}
            }
        }
    }
}
