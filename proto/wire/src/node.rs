//! How two nodes greet each other and what they then say, on the one bidirectional stream of their QUIC link.
//!
//! The connecting node opens the stream and sends `Hello`; the other answers `Welcome` or closes the connection
//! with a [`NodeClose`] code and a text for people. From then on both send `Announce` whenever the roles they host
//! change (first of all, even if they host none) and `Forward` for every message between roles.
//!
//! ```text
//! frame    = length:u32  kind:u8  body                  length counts kind and body
//! Hello    = kind 1  version:u16  bincode NodeHello     the version stands here in every version
//! Welcome  = kind 2  bincode NodeWelcome
//! Announce = kind 3  bincode Announce
//! Forward  = kind 4  envelope_length:u8  bincode Envelope  message body to the end
//! ```
//! Numbers of fixed width are little endian.

use crate::codec::{CodecError, LENGTH_BYTES, decode, encode_into};
use crate::fabric::{Envelope, RoleId};
use crate::id::Incarnation;
use crate::limits::NODE_MESSAGE_BYTES_MAX;
use bincode::{Decode, Encode};
use bytes::{Buf, Bytes};

/// The version of these messages and of those in [`crate::fabric`]: both ends must speak the same.
pub const NODE_VERSION: u16 = 4;
/// Longest name of a node, in bytes. A name is a DNS name, since it stands in the node's certificate.
pub const NODE_NAME_BYTES_MAX: usize = 63;
/// Most roles that one node hosts.
pub const NODE_ROLES_MAX: usize = 1024;
/// Largest frame, without its length prefix: a message of the largest size behind its envelope.
pub const NODE_FRAME_BYTES_MAX: usize = NODE_MESSAGE_BYTES_MAX + 2 + u8::MAX as usize;
/// Largest frame before the link stands, and largest `Announce`, without the length prefix.
pub const NODE_CONTROL_BYTES_MAX: usize = 16 * 1024;

/// First of all, from the node that connects.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NodeHello {
    /// The name in its certificate.
    pub name: String,
    /// It has just started and asks the directory behind the other node for an incarnation.
    pub wants_incarnation: bool,
}

/// Answer to [`NodeHello`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NodeWelcome {
    /// The name in the answering node's certificate.
    pub name: String,
    /// The incarnation, if it was asked for.
    pub incarnation: Option<Incarnation>,
}

/// All roles that the sender hosts now.
#[derive(Clone, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Announce {
    /// The roles; at most [`NODE_ROLES_MAX`].
    pub roles: Vec<RoleId>,
}

/// One frame of a link, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeFrame {
    /// See [`NodeHello`].
    Hello(NodeHello),
    /// See [`NodeWelcome`].
    Welcome(NodeWelcome),
    /// See [`Announce`].
    Announce(Announce),
    /// A message from role to role.
    Forward(Envelope, Bytes),
}

/// Why a frame was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFrameError {
    /// The other node speaks another version.
    #[error("the other node speaks version {theirs} of the node protocol, this one version {NODE_VERSION}")]
    Version {
        /// The other node's version.
        theirs: u16,
    },
    /// The bytes are no frame.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

const KIND_HELLO: u8 = 1;
const KIND_WELCOME: u8 = 2;
const KIND_ANNOUNCE: u8 = 3;
const KIND_FORWARD: u8 = 4;

/// Appends a `Hello` that claims `version`, behind its length prefix.
pub fn frame_hello(version: u16, hello: &NodeHello, out: &mut Vec<u8>) {
    frame(KIND_HELLO, out, |out| {
        out.extend_from_slice(&version.to_le_bytes());
        encode_into(hello, out);
    });
}

/// Appends a `Welcome` behind its length prefix.
pub fn frame_welcome(welcome: &NodeWelcome, out: &mut Vec<u8>) {
    frame(KIND_WELCOME, out, |out| encode_into(welcome, out));
}

/// Appends an `Announce` behind its length prefix.
pub fn frame_announce(announce: &Announce, out: &mut Vec<u8>) {
    assert!(
        announce.roles.len() <= NODE_ROLES_MAX,
        "a node hosts at most {NODE_ROLES_MAX} roles"
    );
    frame(KIND_ANNOUNCE, out, |out| encode_into(announce, out));
}

/// Appends all of a `Forward` but the message itself, which must follow: `body_bytes` of it.
///
/// # Panics
/// If the message exceeds [`NODE_MESSAGE_BYTES_MAX`].
pub fn frame_forward(envelope: &Envelope, body_bytes: usize, out: &mut Vec<u8>) {
    assert!(
        body_bytes <= NODE_MESSAGE_BYTES_MAX,
        "the sender checks the size of messages"
    );
    let start = out.len();
    frame(KIND_FORWARD, out, |out| {
        let length_at = out.len();
        out.push(0);
        encode_into(envelope, out);
        out[length_at] =
            u8::try_from(out.len() - length_at - 1).expect("an envelope is a handful of integers");
    });
    set_length(&mut out[start..], body_bytes);
}

fn frame(kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(kind);
    body(out);
    set_length(&mut out[start..], 0);
}

/// `frame` begins with room for its length prefix; `more_bytes` will follow it.
fn set_length(frame: &mut [u8], more_bytes: usize) {
    let length =
        u32::try_from(frame.len() - LENGTH_BYTES + more_bytes).expect("a frame is smaller than 4 GiB");
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

impl NodeFrame {
    /// The frame that `bytes` are, without the length prefix. A forwarded message shares their memory.
    ///
    /// # Errors
    /// If they are none, or a `Hello` of another version.
    pub fn decode(mut bytes: Bytes) -> Result<Self, NodeFrameError> {
        if bytes.is_empty() {
            return Err(CodecError::Length("an empty frame").into());
        }
        let kind = bytes.get_u8();
        if kind == KIND_FORWARD {
            return Self::decode_forward(bytes);
        }
        if kind == KIND_HELLO {
            let version = bytes
                .try_get_u16_le()
                .map_err(|_| CodecError::Length("a greeting without a version"))?;
            if version != NODE_VERSION {
                return Err(NodeFrameError::Version { theirs: version });
            }
        }
        let frame = match kind {
            KIND_ANNOUNCE => {
                let announce: Announce = decode(&bytes, NODE_CONTROL_BYTES_MAX)?;
                if announce.roles.len() > NODE_ROLES_MAX {
                    return Err(CodecError::Limit("roles of a node").into());
                }
                Self::Announce(announce)
            }
            KIND_HELLO => Self::Hello(decode(&bytes, NODE_CONTROL_BYTES_MAX)?),
            KIND_WELCOME => Self::Welcome(decode(&bytes, NODE_CONTROL_BYTES_MAX)?),
            _ => return Err(CodecError::Malformed("no such kind of frame").into()),
        };
        Ok(frame)
    }

    fn decode_forward(mut bytes: Bytes) -> Result<Self, NodeFrameError> {
        let length = bytes
            .try_get_u8()
            .map_err(|_| CodecError::Length("a message without an envelope"))?;
        if bytes.len() < usize::from(length) {
            return Err(CodecError::Length("an envelope that ends early").into());
        }
        let envelope = decode(&bytes.split_to(usize::from(length)), usize::from(u8::MAX))?;
        Ok(Self::Forward(envelope, bytes))
    }
}

/// Why a node ended a link: the QUIC application error code. The text that goes with it is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeClose {
    /// The node is shutting down.
    Shutdown,
    /// Another version of the node protocol.
    Version,
    /// The name is not the one in the certificate, is no name, or is this node's own.
    Name,
    /// These two nodes are linked already, and that link stands.
    Duplicate,
    /// A newer link of the same name took this one's place.
    Replaced,
    /// An incarnation was asked for, and the node can't give one.
    Directory,
    /// A frame that can't be decoded or stands in the wrong place.
    Malformed,
    /// The greeting took too long.
    TimedOut,
}

impl NodeClose {
    /// All of them, in the order of their codes, which count from 1.
    pub const ALL: &[Self] = &[
        Self::Shutdown,
        Self::Version,
        Self::Name,
        Self::Duplicate,
        Self::Replaced,
        Self::Directory,
        Self::Malformed,
        Self::TimedOut,
    ];

    /// The application error code on the wire.
    #[must_use]
    pub fn code(self) -> u32 {
        self as u32 + 1
    }

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|close| u64::from(close.code()) == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{GatewayId, LaneId};
    use crate::link::LinkHeader;
    use proptest::prelude::*;

    fn envelope() -> Envelope {
        Envelope {
            to: RoleId::Lane(LaneId(3)),
            from: RoleId::Gateway(GatewayId(7)),
            link: LinkHeader {
                stream: 1 << 32,
                seq: 5,
                broken: None,
            },
        }
    }

    /// `bytes` is one frame behind its length prefix; its golden form is `golden`.
    fn check(bytes: &[u8], golden: &[u8], expected: &NodeFrame) {
        assert_eq!(bytes, golden);
        let (length, frame) = bytes.split_at(LENGTH_BYTES);
        assert_eq!(
            u32::from_le_bytes(length.try_into().unwrap()) as usize,
            frame.len()
        );
        assert_eq!(
            &NodeFrame::decode(Bytes::copy_from_slice(frame)).unwrap(),
            expected
        );
    }

    #[test]
    fn frames_have_their_golden_bytes() {
        let hello = NodeHello {
            name: "g1".into(),
            wants_incarnation: true,
        };
        let mut out = Vec::new();
        frame_hello(NODE_VERSION, &hello, &mut out);
        check(&out, b"\x07\0\0\0\x01\x04\0\x02g1\x01", &NodeFrame::Hello(hello));

        let welcome = NodeWelcome {
            name: "c".into(),
            incarnation: Some(Incarnation(9)),
        };
        out.clear();
        frame_welcome(&welcome, &mut out);
        check(&out, b"\x05\0\0\0\x02\x01c\x01\x09", &NodeFrame::Welcome(welcome));

        let announce = Announce {
            roles: vec![RoleId::Lane(LaneId(3)), RoleId::Gateway(GatewayId(7))],
        };
        out.clear();
        frame_announce(&announce, &mut out);
        check(
            &out,
            b"\x06\0\0\0\x03\x02\0\x03\x01\x07",
            &NodeFrame::Announce(announce),
        );

        out.clear();
        frame_forward(&envelope(), 2, &mut out);
        out.extend_from_slice(b"hi");
        check(
            &out,
            b"\x13\0\0\0\x04\x0f\0\x03\x01\x07\xfd\0\0\0\0\x01\0\0\0\x05\0hi",
            &NodeFrame::Forward(envelope(), Bytes::from_static(b"hi")),
        );
    }

    #[test]
    fn a_greeting_of_another_version_is_told_apart_from_nonsense() {
        let refused = NodeFrame::decode(Bytes::from_static(b"\x01\x63\0whatever that version says"));
        assert_eq!(refused, Err(NodeFrameError::Version { theirs: 99 }));
        let refused = NodeFrame::decode(Bytes::from_static(b"\x09whatever"));
        assert!(matches!(refused, Err(NodeFrameError::Codec(_))));
    }

    #[test]
    fn a_node_that_claims_too_many_roles_is_refused() {
        let announce = |count| {
            let roles = vec![RoleId::Lane(LaneId(1)); count];
            let mut bytes = vec![KIND_ANNOUNCE];
            encode_into(&Announce { roles }, &mut bytes);
            NodeFrame::decode(bytes.into())
        };
        assert!(announce(NODE_ROLES_MAX).is_ok());
        assert!(matches!(
            announce(NODE_ROLES_MAX + 1),
            Err(NodeFrameError::Codec(CodecError::Limit(_)))
        ));
    }

    #[test]
    fn close_codes_read_back() {
        for close in NodeClose::ALL {
            assert_eq!(NodeClose::from_code(u64::from(close.code())), Some(*close));
        }
        assert_eq!(NodeClose::from_code(0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = NodeFrame::decode(Bytes::from(bytes));
        }
    }
}
