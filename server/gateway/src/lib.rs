//! Sessions, mirrors, views and payload assembly: pure.
