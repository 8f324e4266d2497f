//! The directory of one process, kept in a store.

use crate::clock::SpaceRecord;
use crate::{Directory, DirectoryError};
use bincode::{Decode, Encode};
use myriad_storage::Storage;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceClock, SpaceId, Tick, codec};
use std::collections::BTreeMap;

/// The version of every record here; it is the record's first byte.
const VERSION: u8 = 1;
/// Largest record in bytes.
const RECORD_BYTES_MAX: usize = 1024;
/// The highest incarnation: entity ids have 24 bits for it.
const INCARNATION_MAX: u32 = (1 << 24) - 1;

const INCARNATION_KEY: &str = "directory/incarnation";
const REVISION_KEY: &str = "directory/revision";

/// A directory that keeps its records in a store.
#[derive(Debug)]
pub struct LocalDirectory<S> {
    storage: S,
    /// Spaces that have been given a clock since this directory was made: others run by that clock now, so a
    /// second lane of the space gets the same one.
    running: BTreeMap<SpaceId, SpaceRecord>,
}

/// Who holds a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct LaneRecord {
    holder: Incarnation,
    epoch: LaneEpoch,
}

/// The last start of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct NodeRecord {
    incarnation: Incarnation,
}

impl<S: Storage> LocalDirectory<S> {
    /// The directory whose records `storage` holds.
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            running: BTreeMap::new(),
        }
    }

    fn read<R: Decode<()>>(&mut self, key: &str) -> Result<Option<R>, DirectoryError> {
        let refuse = |detail: String| DirectoryError::Record {
            key: key.to_owned(),
            detail,
        };
        let Some(bytes) = self.storage.meta(key)? else {
            return Ok(None);
        };
        match bytes.split_first() {
            Some((&VERSION, body)) => {
                let record = codec::decode(body, RECORD_BYTES_MAX);
                Ok(Some(record.map_err(|error| refuse(error.to_string()))?))
            }
            Some((version, _)) => Err(refuse(format!(
                "it has format {version}, this server knows {VERSION}"
            ))),
            None => Err(refuse("it is empty".to_owned())),
        }
    }

    fn write<R: Encode>(&mut self, key: &str, record: &R) -> Result<(), DirectoryError> {
        let mut bytes = vec![VERSION];
        codec::encode_into(record, &mut bytes);
        assert!(
            bytes.len() <= RECORD_BYTES_MAX,
            "a record that could not be read back"
        );
        Ok(self.storage.set_meta(key, &bytes)?)
    }

    fn last_incarnation(&mut self) -> Result<u32, DirectoryError> {
        Ok(self.read(INCARNATION_KEY)?.unwrap_or(0))
    }

    fn space(&mut self, space: SpaceId) -> Result<Option<SpaceRecord>, DirectoryError> {
        match self.running.get(&space) {
            Some(record) => Ok(Some(*record)),
            None => self.read(&space_key(space)),
        }
    }

    fn set_space(&mut self, space: SpaceId, record: SpaceRecord) -> Result<(), DirectoryError> {
        self.write(&space_key(space), &record)?;
        if record.running {
            self.running.insert(space, record);
        } else {
            self.running.remove(&space);
        }
        Ok(())
    }
}

fn space_key(space: SpaceId) -> String {
    format!("directory/space/{space}")
}

impl<S: Storage> Directory for LocalDirectory<S> {
    fn register_node(&mut self, name: &str) -> Result<Incarnation, DirectoryError> {
        let last = self.last_incarnation()?;
        if last >= INCARNATION_MAX {
            return Err(DirectoryError::IncarnationsExhausted);
        }
        let incarnation = Incarnation(last + 1);
        // The number is used up before anybody may see it.
        self.write(INCARNATION_KEY, &incarnation.0)?;
        self.write(&format!("directory/node/{name}"), &NodeRecord { incarnation })?;
        Ok(incarnation)
    }

    fn claim_lane(&mut self, lane: LaneId, incarnation: Incarnation) -> Result<LaneEpoch, DirectoryError> {
        if incarnation.0 == 0 || incarnation.0 > self.last_incarnation()? {
            return Err(DirectoryError::UnknownIncarnation(incarnation));
        }
        let revision = self.read::<u64>(REVISION_KEY)?.unwrap_or(0) + 1;
        self.write(REVISION_KEY, &revision)?;
        let epoch = LaneEpoch(revision);
        let record = LaneRecord {
            holder: incarnation,
            epoch,
        };
        self.write(&format!("directory/lane/{lane}"), &record)?;
        Ok(epoch)
    }

    fn space_clock(&mut self, space: SpaceId, hz: f64, now_us: u64) -> Result<SpaceClock, DirectoryError> {
        if !(0.1..=1000.0).contains(&hz) {
            return Err(DirectoryError::Rate(hz));
        }
        let record = match self.space(space)? {
            None => SpaceRecord::new(hz, now_us),
            Some(record) if self.running.contains_key(&space) && record.clock.hz() == hz => {
                return Ok(record.clock);
            }
            Some(record) => record.restarted(hz, now_us),
        };
        self.set_space(space, record)?;
        Ok(record.clock)
    }

    fn note_tick(&mut self, space: SpaceId, tick: Tick) -> Result<(), DirectoryError> {
        let record = self.space(space)?.ok_or(DirectoryError::UnknownSpace(space))?;
        self.set_space(space, record.noted(tick))
    }

    fn close_space(&mut self, space: SpaceId, tick: Tick) -> Result<(), DirectoryError> {
        let record = self.space(space)?.ok_or(DirectoryError::UnknownSpace(space))?;
        self.set_space(space, record.closed(tick))
    }
}
