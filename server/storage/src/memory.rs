//! A store in memory, for the simulator and tests.

use crate::fence::judge;
use crate::record::{self, SavedEntity};
use crate::{SaveOutcome, Storage, StorageError};
use myriad_wire::EntityId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A store in memory. Its clones share one content, so what was saved outlives the role that saved it: a crash
/// is simulated by dropping the role and handing a clone to the next.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    content: Arc<Mutex<Content>>,
}

/// Everything in a store.
#[derive(Debug, Default)]
struct Content {
    /// Each entity's record, in the bytes that a disk would hold: what the simulator restores has been through
    /// them.
    entities: BTreeMap<EntityId, Vec<u8>>,
    /// Each account's avatar. Names only entities that `entities` holds.
    avatars: BTreeMap<String, EntityId>,
    meta: BTreeMap<String, Vec<u8>>,
}

impl MemoryStorage {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every entity saved, in ascending order of ids.
    #[must_use]
    pub fn entities(&self) -> Vec<SavedEntity> {
        let content = self.content();
        content
            .entities
            .keys()
            .map(|&entity| content.entity(entity))
            .collect()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no holder of this lock panics")
    }
}

impl Storage for MemoryStorage {
    fn load_avatar(&mut self, account: &str) -> Result<Option<SavedEntity>, StorageError> {
        let content = self.content();
        Ok(content.avatars.get(account).map(|&avatar| content.entity(avatar)))
    }

    fn save(&mut self, entities: &[SavedEntity]) -> Result<Vec<SaveOutcome>, StorageError> {
        let records = entities
            .iter()
            .map(record::encode)
            .collect::<Result<Vec<_>, _>>()?;
        let mut content = self.content();
        let batch = entities.iter().zip(records);
        Ok(batch
            .map(|(entity, record)| content.save(entity, record))
            .collect())
    }

    fn meta(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.content().meta.get(key).cloned())
    }

    fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        self.content().meta.insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

impl Content {
    /// The entity `entity`, which must be there.
    fn entity(&self, entity: EntityId) -> SavedEntity {
        record::decode(entity, &self.entities[&entity]).expect("only whole records are kept")
    }

    fn save(&mut self, entity: &SavedEntity, record: Vec<u8>) -> SaveOutcome {
        let known = self.entities.contains_key(&entity.entity);
        let held = known.then(|| self.entity(entity.entity));
        let avatar = entity
            .account
            .as_ref()
            .and_then(|account| self.avatars.get(account));
        let avatar_epoch = avatar.map(|&avatar| self.entity(avatar).epoch);
        let outcome = judge(entity.epoch, [held.as_ref().map(|held| held.epoch), avatar_epoch]);
        if outcome == SaveOutcome::Fenced {
            return outcome;
        }
        if let Some(account) = held.and_then(|held| held.account)
            && self.avatars.get(&account) == Some(&entity.entity)
        {
            self.avatars.remove(&account);
        }
        if let Some(account) = &entity.account {
            self.avatars.insert(account.clone(), entity.entity);
        }
        self.entities.insert(entity.entity, record);
        outcome
    }
}
