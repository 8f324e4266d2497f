//! Why a connection or session ended: one variant, one wire code, one metric label.

use bincode::{Decode, Encode};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $label:literal;)*) => {
        /// Why a connection ended. The code is QUIC's application error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
        }

        impl CloseReason {
            /// All of them, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The application error code on the wire.
            #[must_use]
            pub fn code(self) -> u32 {
                match self { $(Self::$name => $code,)* }
            }

            /// The metric label, and the text that goes with the code.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The reason with this code.
            #[must_use]
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The client said it leaves.
    Left = 0, "left";
    /// The server is shutting down; reconnect later.
    Shutdown = 1, "shutdown";
    /// No common version of the messages.
    Version = 2, "version";
    /// A message that can't be decoded, on the stream or in a datagram.
    Malformed = 3, "malformed";
    /// A message or datagram larger than its limit.
    Oversized = 4, "oversized";
    /// A well-formed message at the wrong time, such as a command before the join.
    OutOfOrder = 5, "out_of_order";
    /// The login was refused: bad account name or key.
    LoginRefused = 6, "login_refused";
    /// The same account logged in again; this session is the older one.
    Replaced = 7, "replaced";
    /// The space does not exist, or its lane can't be reached.
    NoSpace = 8, "no_space";
    /// The gateway or the lane has no room for another session.
    Full = 9, "full";
    /// More messages per second than any honest client sends.
    Flood = 10, "flood";
    /// Nothing was heard of the client, or its handshake or login took too long.
    TimedOut = 11, "timed_out";
    /// The avatar was removed by the game.
    Removed = 12, "removed";
    /// The client opened a stream that the protocol does not know.
    Stream = 13, "stream";
    /// The connection was lost without a word.
    Lost = 14, "lost";
    /// An intent for an entity that is not the session's avatar.
    NotYours = 15, "not_yours";
}
