//! The QUIC skin.
