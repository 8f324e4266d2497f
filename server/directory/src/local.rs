//! The directory of one process, kept in a store.

use crate::clock::SpaceRecord;
use crate::{Directory, DirectoryError, LaneClaim};
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

fn node_key(name: &str) -> String {
    format!("directory/node/{name}")
}

fn lane_key(lane: LaneId) -> String {
    format!("directory/lane/{lane}")
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
        self.write(&node_key(name), &incarnation)?;
        Ok(incarnation)
    }

    fn node(&mut self, name: &str) -> Result<Option<Incarnation>, DirectoryError> {
        self.read(&node_key(name))
    }

    fn claim_lane(&mut self, lane: LaneId, incarnation: Incarnation) -> Result<LaneEpoch, DirectoryError> {
        if incarnation.0 == 0 || incarnation.0 > self.last_incarnation()? {
            return Err(DirectoryError::UnknownIncarnation(incarnation));
        }
        let revision = self.read::<u64>(REVISION_KEY)?.unwrap_or(0) + 1;
        self.write(REVISION_KEY, &revision)?;
        let epoch = LaneEpoch(revision);
        self.write(&lane_key(lane), &LaneClaim { incarnation, epoch })?;
        Ok(epoch)
    }

    fn lane(&mut self, lane: LaneId) -> Result<Option<LaneClaim>, DirectoryError> {
        self.read(&lane_key(lane))
    }

    fn space_clock(&mut self, space: SpaceId, hz: f64, now_us: u64) -> Result<SpaceClock, DirectoryError> {
        if !(0.1..=1000.0).contains(&hz) {
            return Err(DirectoryError::Rate(hz));
        }
        let record = match self.space(space)? {
            None => SpaceRecord::new(hz, now_us),
            Some(record) if self.running.contains_key(&space) && record.runs_at(hz) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_storage::{MemoryStorage, RedbStorage};
    use proptest::prelude::*;

    const NOW_US: u64 = 1_700_000_000_000_000;
    const SECOND_US: u64 = 1_000_000;

    /// Checks the directory that `open` opens, and opens again after the one before was dropped.
    fn check<S: Storage>(mut open: impl FnMut() -> LocalDirectory<S>) {
        let first = open().register_node("a").expect("kept");
        assert_eq!(first, Incarnation(1));
        let second = open().register_node("a").expect("kept");
        assert_eq!(second, Incarnation(2));
        assert_eq!(open().node("a").expect("readable"), Some(second));
        assert_eq!(open().node("b").expect("readable"), None);

        let epoch = open().claim_lane(LaneId(1), first).expect("kept");
        let other = open().claim_lane(LaneId(2), second).expect("kept");
        let again = open().claim_lane(LaneId(1), second).expect("kept");
        assert!(epoch < other && other < again, "{epoch} {other} {again}");

        let claim = LaneClaim {
            incarnation: second,
            epoch: again,
        };
        assert_eq!(open().lane(LaneId(1)).expect("readable"), Some(claim));
        assert_eq!(open().lane(LaneId(3)).expect("readable"), None);

        let clock = open().space_clock(SpaceId(1), 10.0, NOW_US).expect("kept");
        assert_eq!(clock, SpaceClock::new(NOW_US, 10.0));
        let later = open().space_clock(SpaceId(1), 10.0, NOW_US + 60 * SECOND_US);
        assert_eq!(later.expect("kept"), clock);
        let other = open().space_clock(SpaceId(2), 10.0, NOW_US + 60 * SECOND_US);
        assert_ne!(other.expect("kept"), clock);
        open().close_space(SpaceId(1), Tick(601)).expect("kept");
        let faster = open()
            .space_clock(SpaceId(1), 20.0, NOW_US + 61 * SECOND_US)
            .expect("kept");
        assert_eq!(faster.base, Tick(611));
    }

    #[test]
    fn records_outlive_the_directory_in_memory() {
        let storage = MemoryStorage::new();
        check(|| LocalDirectory::new(storage.clone()));
    }

    #[test]
    fn records_outlive_the_directory_on_disk() {
        let home = tempfile::tempdir().expect("a temporary directory");
        check(|| LocalDirectory::new(RedbStorage::open(home.path()).expect("it opens again")));
    }

    #[test]
    fn a_lane_that_joins_a_running_space_gets_its_clock() {
        let mut directory = LocalDirectory::new(MemoryStorage::new());
        // A rate that is no whole number of thousandths of a hertz.
        let clock = directory
            .space_clock(SpaceId(1), 7.312_345, NOW_US)
            .expect("kept");
        directory.note_tick(SpaceId(1), Tick(72)).expect("kept");
        let second = directory.space_clock(SpaceId(1), 7.312_345, NOW_US + 10 * SECOND_US);
        assert_eq!(second.expect("kept"), clock);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let mut directory = LocalDirectory::new(MemoryStorage::new());
        for incarnation in [Incarnation(0), Incarnation(1)] {
            let claim = directory.claim_lane(LaneId(1), incarnation);
            assert!(matches!(claim, Err(DirectoryError::UnknownIncarnation(_))));
        }
        for hz in [0.0, -1.0, 1001.0, f64::NAN] {
            let clock = directory.space_clock(SpaceId(1), hz, NOW_US);
            assert!(matches!(clock, Err(DirectoryError::Rate(_))));
        }
        let noted = directory.note_tick(SpaceId(1), Tick(1));
        assert!(matches!(noted, Err(DirectoryError::UnknownSpace(SpaceId(1)))));
    }

    #[test]
    fn incarnations_end_rather_than_repeat() {
        let mut directory = LocalDirectory::new(MemoryStorage::new());
        directory
            .write(INCARNATION_KEY, &(INCARNATION_MAX - 1))
            .expect("kept");
        assert_eq!(
            directory.register_node("a").expect("the last"),
            Incarnation(INCARNATION_MAX)
        );
        for _ in 0..2 {
            let none = directory.register_node("a");
            assert!(matches!(none, Err(DirectoryError::IncarnationsExhausted)));
        }
    }

    #[test]
    fn a_damaged_record_is_named() {
        let mut storage = MemoryStorage::new();
        for (bytes, expected) in [
            (&[2, 1][..], "it has format 2, this server knows 1"),
            (&[][..], "it is empty"),
            (&[1][..], "malformed"),
        ] {
            storage.set_meta(INCARNATION_KEY, bytes).expect("kept");
            let error = LocalDirectory::new(storage.clone())
                .register_node("a")
                .expect_err("damaged");
            let message = error.to_string();
            assert!(
                message.contains(INCARNATION_KEY) && message.contains(expected),
                "{message}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_given_out_is_ever_given_again(steps in proptest::collection::vec(0u32..4, 0..40)) {
            let storage = MemoryStorage::new();
            let mut directory = LocalDirectory::new(storage.clone());
            let mut incarnation = directory.register_node("a").expect("kept");
            let mut epoch = LaneEpoch(0);
            for step in steps {
                match step {
                    0 => directory = LocalDirectory::new(storage.clone()),
                    1 => {
                        let next = directory.register_node("a").expect("kept");
                        prop_assert!(next > incarnation);
                        incarnation = next;
                    }
                    lane => {
                        let next = directory.claim_lane(LaneId(lane), incarnation).expect("kept");
                        prop_assert!(next > epoch);
                        epoch = next;
                    }
                }
            }
        }
    }
}
