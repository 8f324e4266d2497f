//! Saved state behind one trait: redb, here or at another node, and memory for the simulator.
//!
//! This crate knows entities as they rest on disk ([`SavedEntity`]), the fence that keeps a replaced authority
//! from overwriting a newer one's work ([`EntityEpoch`]), and small records by name (`meta`) for the directory.
//! It deliberately knows no tick, no session and no entity kind: properties go by name, so that a changed kind
//! still finds its old values. Nothing here runs on a lane's thread: a lane sends [`StorageRequest`]s to a
//! [`StorageThread`] and reads [`StorageReply`]s in a later tick.
//!
//! The store on disk is behind the feature `redb` (on by default), so that the pure crates, which only speak these
//! words, do not carry a database.
//!
//! Start with [`Storage`], then `redb_store.rs` for how it rests on disk, `thread.rs` for the queue, and [`remote`] for a
//! store that another node serves.

mod error;
mod fence;
#[cfg(feature = "redb")]
mod lock;
mod memory;
mod record;
#[cfg(feature = "redb")]
mod redb_store;
pub mod remote;
mod request;
mod thread;

#[cfg(all(test, feature = "redb"))]
mod conformance;

pub use error::StorageError;
pub use fence::{EntityEpoch, SaveOutcome};
#[cfg(feature = "redb")]
pub use lock::DirectoryLock;
pub use memory::MemoryStorage;
pub use record::SavedEntity;
#[cfg(feature = "redb")]
pub use redb_store::RedbStorage;
pub use request::{StorageReply, StorageRequest, serve};
pub use thread::{JoinError, Observer, Served, StorageThread, SubmitError};

/// A store of entities and of small records by name.
///
/// Every method returns only after its effect is durable: what a call answered survives `kill -9`. Methods
/// block on the disk, so they are called on a thread that may wait.
pub trait Storage: Send {
    /// The avatar last saved for `account`, if any.
    ///
    /// # Errors
    /// If the store can't be read, or its record is damaged or written by a newer version.
    fn load_avatar(&mut self, account: &str) -> Result<Option<SavedEntity>, StorageError>;

    /// Saves `entities` in order, all or none, with one answer for each.
    ///
    /// A lower epoch than the store holds for the same entity, or for another avatar of the same account, is
    /// answered with [`SaveOutcome::Fenced`] and changes nothing; the rest of the batch is saved all the same.
    ///
    /// # Errors
    /// If the store can't be read or written. Then nothing of the batch was saved.
    fn save(&mut self, entities: &[SavedEntity]) -> Result<Vec<SaveOutcome>, StorageError>;

    /// The record called `key`.
    ///
    /// # Errors
    /// If the store can't be read.
    fn meta(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Sets the record called `key`.
    ///
    /// # Errors
    /// If the store can't be written. Then the old record stands.
    fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError>;
}
