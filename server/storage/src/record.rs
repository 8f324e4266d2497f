//! An entity as it rests in a store, and the bytes of that.
//!
//! Layout of a record: one byte, the format's version, then a [`SavedEntity`] in the wire's encoding. A reader
//! takes its own version and those before it, and refuses a newer one by name rather than misread it.

use crate::StorageError;
use crate::fence::EntityEpoch;
use bincode::{Decode, Encode};
use myriad_wire::{EntityId, Pos, Tick, Value, codec};

/// The version that is written.
const VERSION: u8 = 1;

/// Largest record in bytes. 64 properties with texts of 1 KiB fit well.
const RECORD_BYTES_MAX: usize = 256 * 1024;

/// An entity as it is saved.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SavedEntity {
    /// Who. The same entity keeps its id over save and restore.
    pub entity: EntityId,
    /// For an avatar: the account that it belongs to. An account has at most one avatar.
    pub account: Option<String>,
    /// The name of its kind.
    pub kind: String,
    /// Where it was.
    pub position: Pos,
    /// Its saved properties by name, so that they survive a change of the kind's declaration.
    pub properties: Vec<(String, Value)>,
    /// Under which authority it was saved.
    pub epoch: EntityEpoch,
    /// When it was saved.
    pub tick: Tick,
}

/// `entity` as bytes.
///
/// # Errors
/// [`StorageError::TooLarge`]: a record that could not be read back is never written.
pub(crate) fn encode(entity: &SavedEntity) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![VERSION];
    codec::encode_into(entity, &mut bytes);
    if bytes.len() <= RECORD_BYTES_MAX {
        Ok(bytes)
    } else {
        Err(StorageError::TooLarge {
            entity: entity.entity,
            bytes: bytes.len(),
            limit: RECORD_BYTES_MAX,
        })
    }
}

/// The record of `entity`.
///
/// # Errors
/// [`StorageError::Record`] if it is damaged, belongs to another entity or was written by a newer version.
pub(crate) fn decode(entity: EntityId, bytes: &[u8]) -> Result<SavedEntity, StorageError> {
    let refuse = |detail: String| StorageError::Record { entity, detail };
    match bytes.split_first() {
        Some((&VERSION, body)) => {
            let saved: SavedEntity =
                codec::decode(body, RECORD_BYTES_MAX).map_err(|error| refuse(error.to_string()))?;
            if saved.entity == entity {
                Ok(saved)
            } else {
                Err(refuse(format!("it holds entity {}", saved.entity)))
            }
        }
        Some((&version, _)) if version > VERSION => Err(refuse(format!(
            "it has format {version}, this server knows up to {VERSION}"
        ))),
        Some((&version, _)) => Err(refuse(format!("there is no format {version}"))),
        None => Err(refuse("it is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> SavedEntity {
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

    /// Data on disk outlives the code: this is what version 1 looks like, for ever.
    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        let golden = [
            1, 7, 1, 3, b'a', b'd', b'a', 6, b'a', b'v', b'a', b't', b'a', b'r', 2, 3, 6, 1, 5, b'w', b'a',
            b'v', b'e', b's', 1, 8, 5, 6, 9,
        ];
        assert_eq!(encode(&example()).expect("small"), golden);
        assert_eq!(decode(EntityId(7), &golden).expect("a record"), example());
    }

    #[test]
    fn what_is_no_record_is_refused_by_name() {
        let mut newer = encode(&example()).expect("small");
        newer[0] = 2;
        let cases: [(&[u8], &str); 4] = [
            (&newer, "it has format 2, this server knows up to 1"),
            (&[0, 7], "there is no format 0"),
            (&[], "it is empty"),
            (&[1, 7], "not a message"),
        ];
        for (bytes, expected) in cases {
            let message = decode(EntityId(7), bytes).expect_err("refused").to_string();
            assert!(message.contains(expected), "{message}");
        }
        let swapped = decode(EntityId(8), &encode(&example()).expect("small")).expect_err("refused");
        assert!(swapped.to_string().contains("it holds entity 7"), "{swapped}");
    }

    #[test]
    fn an_entity_too_large_to_be_read_back_is_not_written() {
        let mut entity = example();
        entity.properties = vec![("text".to_owned(), Value::Text("x".repeat(RECORD_BYTES_MAX)))];
        assert!(matches!(encode(&entity), Err(StorageError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(EntityId(7), &bytes);
        }
    }
}
