//! Node links: in-process and QUIC with mutual TLS.
