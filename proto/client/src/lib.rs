//! The client SDK: connect, log in, send intents, hold the view.
