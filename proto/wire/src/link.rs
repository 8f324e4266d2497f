//! One end of a link between two roles: finds out what the network lost, repeated or reordered, and asks for a
//! fresh start when something is missing.
//!
//! Each direction is a *stream* of numbered messages. A receiver takes only the next number. An older one is a
//! repetition and is dropped; a later one means that something is missing: from then on the receiver drops all of
//! that stream and says so in the header of whatever it sends, until the sender starts a new stream with a full
//! copy of what the receiver must know (a keyframe, or all sessions). A role that restarts begins with a higher
//! stream than its last incarnation, so nothing of the dead one is taken.
//!
//! Calls: [`Link::stamp`] for every message sent, [`Link::handle`] for every header received. When `handle`
//! answers `resync`, send the full copy next. The link itself sends nothing, so each side must send something
//! regularly (both send once a tick).

use crate::id::Incarnation;
use bincode::{Decode, Encode};

/// Goes before every message between roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LinkHeader {
    /// The sender's stream.
    pub stream: u64,
    /// The message's number in its stream, from 0.
    pub seq: u64,
    /// The receiver's stream that the sender can't follow any more, if so.
    pub broken: Option<u64>,
}

/// What to do about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The message is the next one: take it. Else drop it.
    pub deliver: bool,
    /// The message is the first of a new stream: forget what the old one said, this one begins with a full copy.
    pub fresh: bool,
    /// The other side has lost something: the own stream has been restarted, send a full copy first.
    pub resync: bool,
}

/// One end of a link.
#[derive(Clone, Debug)]
pub struct Link {
    send_stream: u64,
    send_seq: u64,
    /// The stream being received, and the next number in it. `None` before the first.
    receive: Option<(u64, u64)>,
    /// The stream being received has a hole; all of it is dropped.
    receive_broken: bool,
}

impl Link {
    /// A new link of a role whose node is in `incarnation`.
    #[must_use]
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            send_stream: u64::from(incarnation.0) << 32,
            send_seq: 0,
            receive: None,
            receive_broken: false,
        }
    }

    /// The header for the next message.
    pub fn stamp(&mut self) -> LinkHeader {
        let header = LinkHeader {
            stream: self.send_stream,
            seq: self.send_seq,
            broken: if self.receive_broken {
                self.receive.map(|(stream, _)| stream)
            } else {
                None
            },
        };
        self.send_seq += 1;
        header
    }

    /// A message with this header arrived.
    pub fn handle(&mut self, header: LinkHeader) -> Verdict {
        let resync = header.broken == Some(self.send_stream);
        if resync {
            self.restart();
        }
        let fresh = self.receive.is_none_or(|(stream, _)| header.stream > stream);
        if fresh {
            self.receive = Some((header.stream, 0));
            self.receive_broken = false;
        }
        let (stream, next) = self.receive.as_mut().expect("set above if it was empty");
        if header.stream < *stream || self.receive_broken || header.seq < *next {
            return Verdict {
                deliver: false,
                fresh: false,
                resync,
            };
        }
        if header.seq > *next {
            self.receive_broken = true;
            return Verdict {
                deliver: false,
                fresh: false,
                resync,
            };
        }
        *next += 1;
        Verdict {
            deliver: true,
            fresh: header.seq == 0,
            resync,
        }
    }

    /// Starts a new stream: the next message must be a full copy. For when the transport under the link was cut.
    pub fn restart(&mut self) {
        self.send_stream += 1;
        self.send_seq = 0;
    }
}
