//! The one place where messages become bytes and bytes become messages.
//!
//! bincode 2 with its standard configuration: little endian, variable-length integers. Every decode has a limit.
//! On a stream each message has a length prefix of four bytes, little endian, and [`Deframer`] takes it off.

use crate::CloseReason;
use crate::limits::{CLIENT_MESSAGE_BYTES_MAX, NODE_MESSAGE_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX};
use bincode::config;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};
use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Why bytes were refused. Every decoder of this crate answers with it; none panics.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes are not a message of the expected type.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The message ended early, or bytes were left over.
    #[error("wrong length: {0}")]
    Length(&'static str),
    /// A well-formed message that breaks one of [`crate::limits`].
    #[error("beyond a limit: {0}")]
    Limit(&'static str),
    /// A message beyond its limit in bytes.
    #[error("a message of {bytes} bytes exceeds the limit of {limit}")]
    Oversized {
        /// The size announced or found.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl CodecError {
    /// What a connection is closed with on which it arrived.
    #[must_use]
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::Malformed(_) | Self::Length(_) | Self::Limit(_) => CloseReason::Malformed,
            Self::Oversized { .. } => CloseReason::Oversized,
        }
    }
}

/// bincode sets aside what a length on the wire announces, before it looks whether so much follows; its limit is
/// what stops it. An element takes at least one byte on the wire and at most 24 in memory for each of them (an
/// empty vector in a vector), so this many times a message's size is enough for an honest one, and a few bytes
/// that announce millions fail cheaply.
const MEMORY_PER_BYTE_MAX: usize = 32;

fn decode_within<M: Decode<()>, const MEMORY_BYTES_MAX: usize>(
    bytes: &[u8],
) -> Result<(M, usize), DecodeError> {
    bincode::decode_from_slice(bytes, config::standard().with_limit::<MEMORY_BYTES_MAX>())
}

/// Appends `message` to `out`.
pub fn encode_into<M: Encode>(message: &M, out: &mut Vec<u8>) {
    bincode::encode_into_std_write(message, out, config::standard())
        .expect("writing to a Vec does not fail, and no message holds a type that bincode refuses");
}

/// `message` as bytes.
#[must_use]
pub fn encode<M: Encode>(message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(message, &mut out);
    out
}

/// Appends `message` to `out` behind its length prefix, as it travels on a stream.
pub fn frame_into<M: Encode>(message: &M, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    encode_into(message, out);
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).expect("a message is smaller than 4 GiB");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// The one message that `bytes` are.
///
/// # Errors
/// If they are longer than `limit`, no such message, or more than one.
pub fn decode<M: Decode<()>>(bytes: &[u8], limit: usize) -> Result<M, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::Oversized {
            bytes: bytes.len(),
            limit,
        });
    }
    // bincode takes its limit only as a constant; these are the sizes that messages are limited to.
    let decoded = if bytes.len() <= CLIENT_MESSAGE_BYTES_MAX {
        decode_within::<M, { MEMORY_PER_BYTE_MAX * CLIENT_MESSAGE_BYTES_MAX }>(bytes)
    } else if bytes.len() <= SERVER_MESSAGE_BYTES_MAX {
        decode_within::<M, { MEMORY_PER_BYTE_MAX * SERVER_MESSAGE_BYTES_MAX }>(bytes)
    } else {
        decode_within::<M, { MEMORY_PER_BYTE_MAX * NODE_MESSAGE_BYTES_MAX }>(bytes)
    };
    let (message, used) = decoded.map_err(|_| CodecError::Malformed("not a message of the expected type"))?;
    if used == bytes.len() {
        Ok(message)
    } else {
        Err(CodecError::Length("bytes left over behind a message"))
    }
}

/// Bytes of the length prefix of a message on a stream.
pub const LENGTH_BYTES: usize = 4;

/// Takes messages off a stream: bytes in as they come, whole messages out. Holds at most one message.
#[derive(Debug)]
pub struct Deframer {
    limit: usize,
    buffer: BytesMut,
}

impl Deframer {
    /// For messages of at most `limit` bytes each.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: BytesMut::new(),
        }
    }

    /// Bytes arrived on the stream. Call [`Self::poll_message`] until it has none before handing in more.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        if self.buffer.is_empty()
            && let Some(prefix) = bytes.first_chunk::<LENGTH_BYTES>()
        {
            // At once as much as the whole message takes, which comes in several packets.
            let length = (u32::from_le_bytes(*prefix) as usize).min(self.limit);
            self.buffer.reserve((LENGTH_BYTES + length).max(bytes.len()));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Nothing is held: the stream stands between two messages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole message, if it has arrived.
    ///
    /// # Errors
    /// If the message's announced length exceeds the limit: the stream is then of no further use.
    pub fn poll_message(&mut self) -> Result<Option<Bytes>, CodecError> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > self.limit {
            return Err(CodecError::Oversized {
                bytes: length,
                limit: self.limit,
            });
        }
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_few_bytes_that_announce_millions_are_refused() {
        // 253 stands before a length of eight bytes.
        for announced in [1u64 << 20, 1 << 32, u64::MAX] {
            let mut bytes = vec![253];
            bytes.extend(announced.to_le_bytes());
            assert!(decode::<Vec<u8>>(&bytes, 100).is_err());
            assert!(decode::<Vec<Vec<u64>>>(&bytes, 100).is_err());
            assert!(decode::<String>(&bytes, 100).is_err());
        }
    }

    #[test]
    fn the_message_that_grows_most_in_memory_is_read_at_every_size() {
        for size in [
            1,
            CLIENT_MESSAGE_BYTES_MAX,
            CLIENT_MESSAGE_BYTES_MAX + 1,
            SERVER_MESSAGE_BYTES_MAX,
            2 * SERVER_MESSAGE_BYTES_MAX,
        ] {
            let mut message: Vec<Vec<u8>> = Vec::new();
            while encode(&message).len() < size {
                let missing = size - encode(&message).len();
                message.resize(message.len() + missing.div_ceil(2), Vec::new());
            }
            assert_eq!(decode(&encode(&message), size + 8), Ok(message));
        }
    }

    #[test]
    fn a_message_beyond_its_limit_is_refused_unread() {
        assert_eq!(
            decode::<Vec<u8>>(&[0; 5], 4),
            Err(CodecError::Oversized { bytes: 5, limit: 4 })
        );
    }

    #[test]
    fn an_announced_length_beyond_the_limit_ends_the_stream() {
        let mut deframer = Deframer::new(100);
        deframer.handle_bytes(&101u32.to_le_bytes());
        let refused = Err(CodecError::Oversized {
            bytes: 101,
            limit: 100,
        });
        assert_eq!(deframer.poll_message(), refused);
        deframer.handle_bytes(&[0; 200]);
        assert_eq!(deframer.poll_message(), refused);
    }

    #[test]
    fn every_fault_has_a_close_reason() {
        let oversized = CodecError::Oversized { bytes: 2, limit: 1 };
        assert_eq!(oversized.close_reason(), CloseReason::Oversized);
        assert_eq!(CodecError::Length("").close_reason(), CloseReason::Malformed);
    }

    proptest! {
        #[test]
        fn messages_come_off_a_stream_however_it_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            cuts in prop::collection::vec(1usize..40, 1..20),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                frame_into(message, &mut stream);
            }
            let mut deframer = Deframer::new(64);
            let mut read = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                deframer.handle_bytes(piece);
                while let Some(message) = deframer.poll_message().unwrap() {
                    read.push(decode::<Vec<u8>>(&message, 64).unwrap());
                }
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read, messages);
        }
    }
}
