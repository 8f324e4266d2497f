//! Client QUIC in front of a gateway.
