//! Bytes that wait for a stream.

use crate::ConnectionMut;
use bytes::Bytes;
use quinn_proto::{StreamId, WriteError};
use std::collections::VecDeque;

/// What is to be written to a stream and QUIC has not taken yet. QUIC takes as much as its send window holds, sent
/// or not yet acknowledged; what is here is beyond that. It has no limit of its own: its owner looks at
/// [`Self::bytes`] before it adds to it.
#[derive(Debug, Default)]
pub struct SendQueue {
    chunks: VecDeque<Bytes>,
    /// The sum of the chunks' lengths.
    bytes: usize,
}

impl SendQueue {
    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Chunks that wait; the first may be the rest of one.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds a chunk. It is not copied.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Writes what the stream takes, and answers how many bytes that was. If something is left, a
    /// [`Writable`](crate::Event::Writable) event says when to go on.
    ///
    /// # Errors
    /// If the peer has stopped the stream, or it is closed.
    pub fn write(
        &mut self,
        connection: &mut ConnectionMut<'_>,
        stream: StreamId,
    ) -> Result<usize, WriteError> {
        let mut bytes = 0;
        while !self.chunks.is_empty() {
            let written = match connection.write(stream, self.chunks.as_mut_slices().0) {
                Ok(written) => written,
                Err(WriteError::Blocked) => break,
                Err(error) => return Err(error),
            };
            self.chunks.drain(..written.chunks);
            self.bytes -= written.bytes;
            bytes += written.bytes;
        }
        Ok(bytes)
    }
}
