//! A store that another node serves: the words of a call, and both ends of it.
//!
//! [`RemoteStorage`] is the asking end, [`answer`] the serving one; how the bytes travel is the caller's affair, who
//! hands in a function. A call that is repeated must take effect once, and none after a later one of the same caller:
//! else an older save could overwrite a younger one of the same epoch.

use crate::{SaveOutcome, SavedEntity, Storage, StorageError};
use bincode::{Decode, Encode};
use myriad_wire::codec;
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;

/// Asks the serving node and answers its reply, or why there is none.
pub type Call = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, String> + Send>;

/// One question to a store.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
enum Question {
    LoadAvatar(String),
    Save(Vec<SavedEntity>),
    Meta(String),
    SetMeta(String, Vec<u8>),
}

/// The store's answer.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
enum Answer {
    Avatar(Option<SavedEntity>),
    Saved(Vec<SaveOutcome>),
    Meta(Option<Vec<u8>>),
    Set,
    Failed(String),
}

/// The answer of `storage` to a question of some [`RemoteStorage`].
pub fn answer(storage: &mut dyn Storage, question: &[u8]) -> Vec<u8> {
    let answer = match codec::decode(question, NODE_MESSAGE_BYTES_MAX) {
        Ok(question) => match answer_to(storage, question) {
            Ok(answer) => answer,
            Err(error) => Answer::Failed(error.to_string()),
        },
        Err(error) => Answer::Failed(format!("the question is none: {error}")),
    };
    codec::encode(&answer)
}

fn answer_to(storage: &mut dyn Storage, question: Question) -> Result<Answer, StorageError> {
    Ok(match question {
        Question::LoadAvatar(account) => Answer::Avatar(storage.load_avatar(&account)?),
        Question::Save(entities) => Answer::Saved(storage.save(&entities)?),
        Question::Meta(key) => Answer::Meta(storage.meta(&key)?),
        Question::SetMeta(key, value) => {
            storage.set_meta(&key, &value)?;
            Answer::Set
        }
    })
}

/// A store at another node.
pub struct RemoteStorage {
    call: Call,
}

impl RemoteStorage {
    /// The store that `call` asks.
    #[must_use]
    pub fn new(call: Call) -> Self {
        Self { call }
    }

    fn ask(&mut self, question: &Question) -> Result<Answer, StorageError> {
        let remote = |detail: String| StorageError::Remote { detail };
        let reply = (self.call)(&codec::encode(question)).map_err(remote)?;
        match codec::decode(&reply, NODE_MESSAGE_BYTES_MAX) {
            Ok(Answer::Failed(detail)) => Err(remote(detail)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(remote(format!("its answer is none: {error}"))),
        }
    }
}

impl std::fmt::Debug for RemoteStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteStorage").finish_non_exhaustive()
    }
}

fn misplaced<T>(answer: &Answer) -> Result<T, StorageError> {
    let detail = format!("it answered another question: {answer:?}");
    Err(StorageError::Remote { detail })
}

impl Storage for RemoteStorage {
    fn load_avatar(&mut self, account: &str) -> Result<Option<SavedEntity>, StorageError> {
        match self.ask(&Question::LoadAvatar(account.to_owned()))? {
            Answer::Avatar(avatar) => Ok(avatar),
            other => misplaced(&other),
        }
    }

    fn save(&mut self, entities: &[SavedEntity]) -> Result<Vec<SaveOutcome>, StorageError> {
        match self.ask(&Question::Save(entities.to_vec()))? {
            Answer::Saved(outcomes) if outcomes.len() == entities.len() => Ok(outcomes),
            other => misplaced(&other),
        }
    }

    fn meta(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        match self.ask(&Question::Meta(key.to_owned()))? {
            Answer::Meta(value) => Ok(value),
            other => misplaced(&other),
        }
    }

    fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        match self.ask(&Question::SetMeta(key.to_owned(), value.to_vec()))? {
            Answer::Set => Ok(()),
            other => misplaced(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntityEpoch, MemoryStorage};
    use myriad_wire::{EntityId, Pos, Tick, Value};
    use proptest::prelude::*;

    fn ada() -> SavedEntity {
        SavedEntity {
            entity: EntityId(7),
            account: Some("ada".to_owned()),
            kind: "avatar".to_owned(),
            position: Pos { x: 1, y: -2, z: 3 },
            properties: vec![("waves".to_owned(), Value::Int(4))],
            epoch: EntityEpoch { era: 5, hop: 6 },
            tick: Tick(9),
        }
    }

    /// Both ends of all versions in between must agree on these bytes.
    #[test]
    fn the_words_have_their_bytes() {
        let saved = "0701036164610661766174617202030601057761766573010805 0609".replace(' ', "");
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let questions = [
            (Question::LoadAvatar("ada".into()), "0003616461".to_owned()),
            (Question::Save(vec![ada()]), format!("0101{saved}")),
            (Question::Meta("k".into()), "02016b".to_owned()),
            (Question::SetMeta("k".into(), vec![9]), "03016b0109".to_owned()),
        ];
        for (question, bytes) in questions {
            assert_eq!(hex(codec::encode(&question)), bytes, "{question:?}");
        }
        let answers = [
            (Answer::Avatar(Some(ada())), format!("0001{saved}")),
            (
                Answer::Saved(vec![SaveOutcome::Saved, SaveOutcome::Fenced]),
                "01020001".to_owned(),
            ),
            (Answer::Meta(None), "0200".to_owned()),
            (Answer::Set, "03".to_owned()),
            (Answer::Failed("no".into()), "04026e6f".to_owned()),
        ];
        for (answer, bytes) in answers {
            assert_eq!(hex(codec::encode(&answer)), bytes, "{answer:?}");
        }
    }

    #[test]
    fn silence_nonsense_and_the_wrong_answer_are_errors() {
        let replies: [(Result<Vec<u8>, String>, &str); 4] = [
            (Err("no answer".into()), "no answer"),
            (Ok(vec![255; 3]), "its answer is none"),
            (Ok(codec::encode(&Answer::Set)), "answered another question"),
            (
                Ok(codec::encode(&Answer::Saved(vec![]))),
                "answered another question",
            ),
        ];
        for (reply, expected) in replies {
            let mut storage = RemoteStorage::new(Box::new(move |_| reply.clone()));
            let error = storage.save(&[ada()]).expect_err("no answer").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_answered_and_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            // A save of no entities is a question too.
            let mut storage = MemoryStorage::new();
            let reply = answer(&mut storage, &bytes);
            let answer: Answer = codec::decode(&reply, NODE_MESSAGE_BYTES_MAX).expect("an answer");
            prop_assert!(matches!(answer, Answer::Failed(_)) || codec::decode::<Question>(&bytes, 64).is_ok());
        }
    }
}
