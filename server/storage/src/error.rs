//! What goes wrong with a store, in words for the operator.

use myriad_wire::EntityId;
use std::path::PathBuf;
use thiserror::Error;

/// Why a store could not be opened, read or written.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Another process, or another store in this one, holds the data directory.
    #[error(
        "the data directory {} is in use by {holder}; stop that first, or choose another with --data",
        path.display()
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Who holds it, as far as its lock file says.
        holder: String,
    },
    /// A file or directory could not be used.
    #[error("{}: can't {action}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The store's file is no store, or is damaged.
    #[error("{} is damaged or no store of ours ({detail}); restore it from a backup, or move it away to begin anew", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The store was written by a newer version of the server.
    #[error("{} has format {found}, this server knows up to {known}: use the server that wrote it or a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The store's format.
        found: u32,
        /// The newest format this server knows.
        known: u32,
    },
    /// One entity's record is damaged or was written by a newer version.
    #[error("the record of entity {entity} can't be read: {detail}")]
    Record {
        /// The entity.
        entity: EntityId,
        /// What is wrong with it.
        detail: String,
    },
    /// An entity is too large to be saved.
    #[error("entity {entity} needs {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The entity.
        entity: EntityId,
        /// What it needs.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The database failed while running: a full disk, a broken disk.
    #[error("the store failed to {action}: {detail}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database's answer.
        detail: String,
    },
    /// The node that serves the store did not answer, or answered that it can't.
    #[error("the store at another node: {detail}")]
    Remote {
        /// Why.
        detail: String,
    },
}
