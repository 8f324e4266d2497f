//! The one place where messages become bytes and bytes become messages.
//!
//! bincode 2 with its standard configuration: little endian, variable-length integers. Every decode has a limit.
//! On a stream each message has a length prefix of four bytes, little endian, and [`Deframer`] takes it off.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
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
    /// A message beyond its limit in bytes.
    #[error("a message of {bytes} bytes exceeds the limit of {limit}")]
    Oversized {
        /// The size announced or found.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// bincode's decoder counts what it reads and allocates against this limit.
const ALLOCATION_BYTES_MAX: usize = crate::limits::NODE_MESSAGE_BYTES_MAX;

fn decode_config() -> Configuration<LittleEndian, Varint, Limit<ALLOCATION_BYTES_MAX>> {
    config::standard().with_limit::<ALLOCATION_BYTES_MAX>()
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
    let (message, used) = bincode::decode_from_slice(bytes, decode_config())
        .map_err(|_| CodecError::Malformed("not a message of the expected type"))?;
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
        self.buffer.extend_from_slice(bytes);
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
