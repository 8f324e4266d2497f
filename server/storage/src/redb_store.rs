//! The store on disk: one redb file in the data directory.
//!
//! Tables: `entities` (entity id to record, see `record.rs`), `avatars` (account to entity id), `meta` (name to
//! bytes), `store` (the format's version). A save is one transaction with one fsync, so a batch of a hundred
//! entities costs as much as one (about 4.5 ms on the development machine).
//!
//! A new file is made under another name and renamed when it is whole. So a file of the right name that is
//! empty or cut short is damage, and is reported rather than taken for a new world.

use crate::fence::judge;
use crate::lock::{DirectoryLock, file_error};
use crate::record::{self, SavedEntity};
use crate::{SaveOutcome, Storage, StorageError};
use myriad_wire::EntityId;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ENTITIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entities");
const AVATARS: TableDefinition<'_, &str, u64> = TableDefinition::new("avatars");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const STORE: TableDefinition<'_, &str, u32> = TableDefinition::new("store");

/// The version of the tables' layout that is written.
const FORMAT: u32 = 1;
/// The key of [`FORMAT`] in the `store` table.
const FORMAT_KEY: &str = "format";

/// The store's file in the data directory.
const FILE_NAME: &str = "world.redb";
/// Under this name it is made.
const NEW_FILE_NAME: &str = "world.redb.new";

/// redb would take a gigabyte for its cache; the avatars of one lane fit in this.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The store on disk. Clones share one open file: a lane saves through one, the directory through another.
#[derive(Clone)]
pub struct RedbStorage {
    shared: Arc<Shared>,
}

/// Fields drop in this order: the database is closed before the directory is given free.
struct Shared {
    database: Database,
    path: PathBuf,
    _lock: DirectoryLock,
}

impl std::fmt::Debug for RedbStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStorage")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl RedbStorage {
    /// Opens the store in the data directory `directory`, making both where they do not exist. Blocks.
    ///
    /// Reads the whole file once to check it (0.2 s for 130 MB on the development machine), so that damage is found here
    /// and not by a player.
    ///
    /// # Errors
    /// [`StorageError::Locked`] if another process has it, [`StorageError::Corrupt`] if the file is damaged or
    /// something else, [`StorageError::Newer`] if a newer server wrote it, [`StorageError::File`] if the
    /// directory can't be used.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        let lock = DirectoryLock::acquire(directory)?;
        let path = directory.join(FILE_NAME);
        let exists = path
            .try_exists()
            .map_err(|source| file_error("look for the store", &path, source))?;
        if !exists {
            create(directory, &path)?;
        }
        let database = open_whole(&path)?;
        check_format(&database, &path)?;
        Ok(Self {
            shared: Arc::new(Shared {
                database,
                path,
                _lock: lock,
            }),
        })
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    fn database(&self) -> &Database {
        &self.shared.database
    }
}

impl Storage for RedbStorage {
    fn load_avatar(&mut self, account: &str) -> Result<Option<SavedEntity>, StorageError> {
        let read = self.database().begin_read().map_err(failed("begin reading"))?;
        let avatars = read.open_table(AVATARS).map_err(failed("open its avatars"))?;
        let Some(entity) = avatars.get(account).map_err(failed("read an avatar"))? else {
            return Ok(None);
        };
        let entity = EntityId(entity.value());
        let entities = read.open_table(ENTITIES).map_err(failed("open its entities"))?;
        load(&entities, entity)
    }

    fn save(&mut self, entities: &[SavedEntity]) -> Result<Vec<SaveOutcome>, StorageError> {
        if entities.is_empty() {
            return Ok(Vec::new());
        }
        let write = self.database().begin_write().map_err(failed("begin writing"))?;
        let outcomes = {
            let mut tables = Tables::open(&write)?;
            let outcomes = entities.iter().map(|entity| tables.save(entity));
            outcomes.collect::<Result<Vec<_>, _>>()?
        };
        write.commit().map_err(failed("commit"))?;
        Ok(outcomes)
    }

    fn meta(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let read = self.database().begin_read().map_err(failed("begin reading"))?;
        let meta = read.open_table(META).map_err(failed("open its records"))?;
        let value = meta.get(key).map_err(failed("read a record"))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        let write = self.database().begin_write().map_err(failed("begin writing"))?;
        write
            .open_table(META)
            .map_err(failed("open its records"))?
            .insert(key, value)
            .map_err(failed("write a record"))?;
        write.commit().map_err(failed("commit"))
    }
}

/// The tables that a save touches.
struct Tables<'a> {
    entities: Table<'a, u64, &'static [u8]>,
    avatars: Table<'a, &'static str, u64>,
}

impl<'a> Tables<'a> {
    fn open(write: &'a WriteTransaction) -> Result<Self, StorageError> {
        Ok(Self {
            entities: write.open_table(ENTITIES).map_err(failed("open its entities"))?,
            avatars: write.open_table(AVATARS).map_err(failed("open its avatars"))?,
        })
    }

    fn save(&mut self, entity: &SavedEntity) -> Result<SaveOutcome, StorageError> {
        let bytes = record::encode(entity)?;
        let held = load(&self.entities, entity.entity)?;
        let avatar = match &entity.account {
            Some(account) => self.avatar_of(account)?,
            None => None,
        };
        // Mostly the account's avatar is the entity itself; another one is looked up.
        let avatar_epoch = match avatar {
            Some(avatar) if avatar != entity.entity => load(&self.entities, avatar)?.map(|held| held.epoch),
            _ => None,
        };
        let outcome = judge(entity.epoch, [held.as_ref().map(|held| held.epoch), avatar_epoch]);
        if outcome == SaveOutcome::Fenced {
            return Ok(outcome);
        }
        if let Some(account) = held.and_then(|held| held.account)
            && entity.account.as_ref() != Some(&account)
            && self.avatar_of(&account)? == Some(entity.entity)
        {
            self.avatars
                .remove(account.as_str())
                .map_err(failed("forget an avatar"))?;
        }
        if let Some(account) = &entity.account
            && avatar != Some(entity.entity)
        {
            self.avatars
                .insert(account.as_str(), entity.entity.0)
                .map_err(failed("write an avatar"))?;
        }
        self.entities
            .insert(entity.entity.0, bytes.as_slice())
            .map_err(failed("write an entity"))?;
        Ok(outcome)
    }

    fn avatar_of(&self, account: &str) -> Result<Option<EntityId>, StorageError> {
        let entity = self.avatars.get(account).map_err(failed("read an avatar"))?;
        Ok(entity.map(|entity| EntityId(entity.value())))
    }
}

fn load(
    entities: &impl ReadableTable<u64, &'static [u8]>,
    entity: EntityId,
) -> Result<Option<SavedEntity>, StorageError> {
    let Some(bytes) = entities.get(entity.0).map_err(failed("read an entity"))? else {
        return Ok(None);
    };
    record::decode(entity, bytes.value()).map(Some)
}

/// Makes an empty store under another name and gives it its own once it is whole on disk.
fn create(directory: &Path, path: &Path) -> Result<(), StorageError> {
    let new = directory.join(NEW_FILE_NAME);
    if let Err(source) = fs::remove_file(&new)
        && source.kind() != ErrorKind::NotFound
    {
        return Err(file_error("remove what is left of a store", &new, source));
    }
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(&new)
        .map_err(|error| cannot_open(&new, error))?;
    let write = database.begin_write().map_err(failed("begin writing"))?;
    write.open_table(ENTITIES).map_err(failed("make its tables"))?;
    write.open_table(AVATARS).map_err(failed("make its tables"))?;
    write.open_table(META).map_err(failed("make its tables"))?;
    write
        .open_table(STORE)
        .map_err(failed("make its tables"))?
        .insert(FORMAT_KEY, FORMAT)
        .map_err(failed("write its format"))?;
    write.commit().map_err(failed("commit"))?;
    drop(database);
    fs::rename(&new, path).map_err(|source| file_error("name the new store", path, source))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| file_error("write the data directory", directory, source))
}

fn check_format(database: &Database, path: &Path) -> Result<(), StorageError> {
    let corrupt = |detail: String| StorageError::Corrupt {
        path: path.to_owned(),
        detail,
    };
    let read = database.begin_read().map_err(failed("begin reading"))?;
    let store = read
        .open_table(STORE)
        .map_err(|error| corrupt(error.to_string()))?;
    let found = store.get(FORMAT_KEY).map_err(failed("read its format"))?;
    match found.map(|found| found.value()) {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(StorageError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        }),
        other => Err(corrupt(format!("its format is {other:?}"))),
    }
}

fn failed<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> StorageError {
    move |error| StorageError::Database {
        action,
        detail: error.to_string(),
    }
}

/// Opens a store that exists, and checks all of it.
fn open_whole(path: &Path) -> Result<Database, StorageError> {
    // redb reports most damage, but some makes it panic. That must not look like a bug of the server.
    let opened = catch_unwind(|| {
        let mut database = Database::builder().set_cache_size(CACHE_BYTES).open(path)?;
        let whole = database.check_integrity()?;
        Ok((database, whole))
    });
    let (database, whole) = opened
        .map_err(|_| StorageError::Corrupt {
            path: path.to_owned(),
            detail: "the database panicked over it".to_owned(),
        })?
        .map_err(|error| cannot_open(path, error))?;
    if !whole {
        tracing::warn!(path = %path.display(), "the store was damaged and has been repaired; its last save may be missing");
    }
    Ok(database)
}

fn cannot_open(path: &Path, error: DatabaseError) -> StorageError {
    match error {
        DatabaseError::Storage(redb::StorageError::Io(source))
            if !matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            file_error("open the store", path, source)
        }
        other => StorageError::Corrupt {
            path: path.to_owned(),
            detail: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::entity;

    /// A data directory whose store holds one avatar, and the store's bytes.
    fn filled() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut store = RedbStorage::open(home.path()).expect("it opens");
        store.save(&[entity(1, Some("ada"), (1, 0))]).expect("writable");
        let path = store.path().to_owned();
        drop(store);
        let bytes = fs::read(&path).expect("readable");
        (home, path, bytes)
    }

    #[test]
    fn a_second_opener_is_told_who_holds_the_store() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let store = RedbStorage::open(home.path()).expect("it opens");
        let clone = store.clone();
        drop(store);
        let error = RedbStorage::open(home.path()).expect_err("a clone still holds it");
        assert!(matches!(error, StorageError::Locked { .. }), "{error}");
        assert!(error.to_string().contains("is in use by process"), "{error}");
        drop(clone);
        RedbStorage::open(home.path()).expect("it is free again");
    }

    #[test]
    fn a_file_that_is_no_store_is_reported_and_left_alone() {
        let (home, path, whole) = filled();
        let cases = [
            Vec::new(),
            b"just some text".to_vec(),
            vec![0; 8192],
            vec![0xff; 1 << 16],
            whole[..whole.len() / 2].to_vec(),
            whole[..100].to_vec(),
        ];
        for bytes in cases {
            fs::write(&path, &bytes).expect("writable");
            let error = RedbStorage::open(home.path()).expect_err("no store");
            assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains("world.redb is damaged"), "{error}");
            assert!(fs::read(&path).expect("readable") == bytes, "it was written to");
        }
        fs::write(&path, &whole).expect("writable");
        RedbStorage::open(home.path()).expect("the backup opens");
    }

    #[test]
    fn a_damaged_store_is_refused_or_tells_the_truth() {
        let (home, path, whole) = filled();
        let used = whole
            .iter()
            .rposition(|&byte| byte != 0)
            .expect("it is not empty");
        for at in (0..used).step_by(97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x5a;
            fs::write(&path, &bytes).expect("writable");
            // Damage may hit unused space, or cost the last commit; it never makes another avatar.
            if let Ok(mut store) = RedbStorage::open(home.path())
                && let Some(loaded) = store.load_avatar("ada").expect("it was checked")
            {
                assert_eq!(loaded, entity(1, Some("ada"), (1, 0)));
            }
        }
    }

    #[test]
    fn a_store_of_a_newer_server_is_refused_by_name() {
        let (home, path, _) = filled();
        let database = Database::open(&path).expect("it opens");
        let write = database.begin_write().expect("writable");
        write
            .open_table(STORE)
            .expect("there")
            .insert(FORMAT_KEY, FORMAT + 1)
            .expect("writable");
        write.commit().expect("writable");
        drop(database);
        let error = RedbStorage::open(home.path()).expect_err("newer");
        assert!(
            error
                .to_string()
                .contains("has format 2, this server knows up to 1"),
            "{error}"
        );
    }

    #[test]
    fn a_store_that_was_never_finished_is_begun_anew() {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs::write(home.path().join(NEW_FILE_NAME), b"half a store").expect("writable");
        let mut store = RedbStorage::open(home.path()).expect("it opens");
        assert_eq!(store.load_avatar("ada").expect("readable"), None);
        assert!(!home.path().join(NEW_FILE_NAME).exists());
    }

    #[test]
    fn what_was_saved_survives_a_process_that_never_closes_its_store() {
        let (home, path, _) = filled();
        let mut store = RedbStorage::open(home.path()).expect("it opens");
        store.save(&[entity(2, Some("bea"), (1, 0))]).expect("writable");
        // What the disk holds while the store is open is what a killed process leaves behind.
        let left = fs::read(&path).expect("readable");
        let other = tempfile::tempdir().expect("a temporary directory");
        fs::write(other.path().join(FILE_NAME), left).expect("writable");
        let mut store = RedbStorage::open(other.path()).expect("it is repaired");
        for account in ["ada", "bea"] {
            assert!(
                store.load_avatar(account).expect("readable").is_some(),
                "{account}"
            );
        }
    }
}
