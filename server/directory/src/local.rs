//! The directory kept in a store: of one process, or the one that a node serves to the others.

use crate::clock::SpaceRecord;
use crate::{ClusterView, Directory, DirectoryError, LaneClaim, LaneRecord, LayoutChange, NodeRecord};
use bincode::{Decode, Encode};
use myriad_cluster::Layout;
use myriad_storage::Storage;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceClock, SpaceId, Tick, codec};
use std::collections::BTreeMap;

/// The version of every record here; it is the record's first byte.
const VERSION: u8 = 1;
/// Largest record in bytes.
const RECORD_BYTES_MAX: usize = 64 * 1024;
/// The highest incarnation: entity ids have 24 bits for it.
const INCARNATION_MAX: u32 = (1 << 24) - 1;

const INCARNATION_KEY: &str = "directory/incarnation";
const REVISION_KEY: &str = "directory/revision";
const LAYOUT_KEY: &str = "directory/layout";

/// How long a directory that has restarted waits for those who may be running a space to say so, in microseconds: they
/// note their ticks at least every [`crate::CLOCK_NOTE_SECONDS_MAX`].
const SETTLING_US: u64 = 2_000_000;

/// A directory that keeps its records in a store.
#[derive(Debug)]
pub struct LocalDirectory<S> {
    storage: S,
    /// What all nodes of the cluster must be told alike.
    settings: Vec<(String, String)>,
    /// Of the view. Begins anew with each registration, above all that were before: so a restart is noticed too.
    revision: u64,
    /// Who is there, by name.
    nodes: BTreeMap<String, NodeRecord>,
    running: BTreeMap<SpaceId, Running>,
    /// Since when it is waited for those who ran a space before this directory was made.
    settling: BTreeMap<SpaceId, u64>,
}

/// A space that runs.
#[derive(Debug)]
struct Running {
    record: SpaceRecord,
    /// Who runs it, by the names of nodes. Heard since this directory was made.
    runners: BTreeMap<String, Incarnation>,
}

/// A layout as it is kept.
#[derive(Debug, Encode, Decode)]
struct LayoutRecord {
    version: u64,
    cells: u32,
    lanes_per_cell: u32,
    last_lane: u32,
    lanes: Vec<LaneRecord>,
}

impl LayoutRecord {
    fn of(layout: Layout) -> Self {
        Self {
            version: layout.version,
            cells: layout.cells,
            lanes_per_cell: layout.lanes_per_cell,
            last_lane: layout.last_lane,
            lanes: layout.lanes.into_values().collect(),
        }
    }

    fn layout(self) -> Layout {
        let lanes = self.lanes.into_iter();
        Layout {
            version: self.version,
            cells: self.cells,
            lanes_per_cell: self.lanes_per_cell,
            last_lane: self.last_lane,
            lanes: lanes.map(|record| (record.lane, record)).collect(),
        }
    }
}

impl<S: Storage> LocalDirectory<S> {
    /// The directory whose records `storage` holds, of a cluster with these settings: keys and values.
    pub fn new(storage: S, settings: Vec<(String, String)>) -> Self {
        Self {
            storage,
            settings,
            revision: 0,
            nodes: BTreeMap::new(),
            running: BTreeMap::new(),
            settling: BTreeMap::new(),
        }
    }

    /// A node starts: gives it an incarnation that no node ever had. The first is 1. Whoever had the name before has
    /// been replaced.
    ///
    /// # Errors
    /// If the record can't be kept, or all 2^24 - 1 incarnations are used up.
    pub fn register_node(&mut self, name: &str) -> Result<Incarnation, DirectoryError> {
        let last: u32 = self.read(INCARNATION_KEY)?.unwrap_or(0);
        if last >= INCARNATION_MAX {
            return Err(DirectoryError::IncarnationsExhausted);
        }
        let incarnation = Incarnation(last + 1);
        // The number is used up before anybody may see it.
        self.write(INCARNATION_KEY, &incarnation.0)?;
        self.write(&node_key(name), &incarnation)?;
        self.nodes.remove(name);
        self.revision = u64::from(incarnation.0) << 32;
        Ok(incarnation)
    }

    /// The space is cut into so many cells with so many lanes each. If it was cut otherwise before, it has no lanes until it is
    /// founded anew.
    ///
    /// # Errors
    /// If the record can't be kept.
    pub fn set_cut(&mut self, cells: u32, lanes_per_cell: u32) -> Result<(), DirectoryError> {
        let mut layout = self.layout()?;
        if (layout.cells, layout.lanes_per_cell) != (cells, lanes_per_cell) && !layout.lanes.is_empty() {
            layout.lanes.clear();
            self.set_layout(layout)?;
        }
        Ok(())
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

    fn layout(&mut self) -> Result<Layout, DirectoryError> {
        let record = self.read::<LayoutRecord>(LAYOUT_KEY)?;
        Ok(record.map(LayoutRecord::layout).unwrap_or_default())
    }

    fn set_layout(&mut self, layout: Layout) -> Result<(), DirectoryError> {
        self.write(LAYOUT_KEY, &LayoutRecord::of(layout))?;
        self.revision += 1;
        Ok(())
    }

    /// That nobody here was told something else than `node`.
    fn check_settings(&self, node: &NodeRecord) -> Result<(), DirectoryError> {
        let others = self.nodes.values().filter(|other| other.name != node.name);
        let others = others.flat_map(|other| &other.settings);
        for (key, ours) in self.settings.iter().chain(others) {
            let theirs = node.settings.iter().find(|(theirs, _)| theirs == key);
            if let Some((_, theirs)) = theirs.filter(|(_, theirs)| theirs != ours) {
                return Err(DirectoryError::Setting {
                    key: key.clone(),
                    node: node.name.clone(),
                    theirs: theirs.clone(),
                    ours: ours.clone(),
                });
            }
        }
        Ok(())
    }

    /// The name of the node that is there in `incarnation`.
    fn name_of(&self, incarnation: Incarnation) -> Result<String, DirectoryError> {
        let node = self.nodes.values().find(|node| node.incarnation == incarnation);
        node.map(|node| node.name.clone())
            .ok_or(DirectoryError::UnknownIncarnation(incarnation))
    }

    fn space(&mut self, space: SpaceId) -> Result<Option<SpaceRecord>, DirectoryError> {
        match self.running.get(&space) {
            Some(running) => Ok(Some(running.record)),
            None => self.read(&space_key(space)),
        }
    }

    /// Whether somebody other than `name` may have run the space when the directory before this one ended, and may still
    /// not have said so at `now_us`.
    fn is_settling(&mut self, space: SpaceId, name: &str, now_us: u64) -> Result<bool, DirectoryError> {
        let runners: Vec<String> = self.read(&runners_key(space))?.unwrap_or_default();
        let since = *self.settling.entry(space).or_insert(now_us);
        Ok(runners.iter().any(|runner| runner != name) && now_us.abs_diff(since) < SETTLING_US)
    }

    /// `name` runs the space, which has come as far as `record` says.
    fn set_running(
        &mut self,
        space: SpaceId,
        record: SpaceRecord,
        name: String,
        incarnation: Incarnation,
    ) -> Result<(), DirectoryError> {
        let running = self.running.entry(space).or_insert_with(|| Running {
            record,
            runners: BTreeMap::new(),
        });
        running.record = record;
        let is_known = running.runners.insert(name, incarnation).is_some();
        if !is_known {
            let runners: Vec<String> = running.runners.keys().cloned().collect();
            self.write(&runners_key(space), &runners)?;
        }
        self.write(&space_key(space), &record)
    }
}

fn node_key(name: &str) -> String {
    format!("directory/node/{name}")
}

fn space_key(space: SpaceId) -> String {
    format!("directory/space/{space}")
}

fn runners_key(space: SpaceId) -> String {
    format!("directory/runners/{space}")
}

impl<S: Storage> Directory for LocalDirectory<S> {
    fn announce(&mut self, node: &NodeRecord) -> Result<(), DirectoryError> {
        let incarnation = node.incarnation;
        let newest: Option<Incarnation> = self.read(&node_key(&node.name))?;
        match newest {
            Some(newest) if newest == incarnation => {}
            Some(newer) => {
                return Err(DirectoryError::Replaced {
                    name: node.name.clone(),
                    incarnation,
                    newer,
                });
            }
            None => return Err(DirectoryError::UnknownIncarnation(incarnation)),
        }
        self.check_settings(node)?;
        if self.nodes.get(&node.name) != Some(node) {
            self.nodes.insert(node.name.clone(), node.clone());
            self.revision += 1;
        }
        Ok(())
    }

    fn withdraw(&mut self, incarnation: Incarnation) -> Result<(), DirectoryError> {
        let before = self.nodes.len();
        self.nodes.retain(|_, node| node.incarnation != incarnation);
        self.revision += u64::from(self.nodes.len() != before);
        Ok(())
    }

    fn change(&mut self, change: &LayoutChange) -> Result<(), DirectoryError> {
        let mut layout = self.layout()?;
        let before = layout.version;
        layout.change(change)?;
        if layout.version != before {
            self.set_layout(layout)?;
        }
        Ok(())
    }

    fn claim_lane(&mut self, lane: LaneId, incarnation: Incarnation) -> Result<LaneEpoch, DirectoryError> {
        let node = self.name_of(incarnation)?;
        let mut layout = self.layout()?;
        let Some(record) = layout.lanes.get(&lane) else {
            return Err(DirectoryError::NotYet(format!("lane {lane} has no place")));
        };
        if record.node != node {
            return Err(DirectoryError::Elsewhere {
                lane,
                place: record.node.clone(),
                node,
            });
        }
        let epoch = LaneEpoch(self.read::<u64>(REVISION_KEY)?.unwrap_or(0) + 1);
        self.write(REVISION_KEY, &epoch.0)?;
        layout.claim(lane, LaneClaim { incarnation, epoch })?;
        self.set_layout(layout)?;
        Ok(epoch)
    }

    fn view(&mut self, known: u64) -> Result<Option<ClusterView>, DirectoryError> {
        if self.revision == known {
            return Ok(None);
        }
        let layout = self.layout()?;
        Ok(Some(ClusterView {
            revision: self.revision,
            nodes: self.nodes.values().cloned().collect(),
            layout: layout.version,
            lanes: layout.lanes.into_values().collect(),
        }))
    }

    fn space_clock(
        &mut self,
        space: SpaceId,
        hz: f64,
        now_us: u64,
        incarnation: Incarnation,
    ) -> Result<SpaceClock, DirectoryError> {
        if !(0.1..=1000.0).contains(&hz) {
            return Err(DirectoryError::Rate(hz));
        }
        let name = self.name_of(incarnation)?;
        if !self.running.contains_key(&space) && self.is_settling(space, &name, now_us)? {
            let why = format!("others may be running space {space}; they have two seconds to say so");
            return Err(DirectoryError::NotYet(why));
        }
        let record = match self.running.get(&space) {
            None => match self.read::<SpaceRecord>(&space_key(space))? {
                Some(record) => record.restarted(hz, now_us),
                None => SpaceRecord::new(hz, now_us),
            },
            Some(Running { record, runners }) => match runners.keys().find(|runner| **runner != name) {
                Some(runner) if !record.runs_at(hz) => {
                    return Err(DirectoryError::OtherRate {
                        space,
                        runner: runner.clone(),
                        theirs: record.clock.hz(),
                        ours: hz,
                    });
                }
                // They run by it now.
                Some(_) => *record,
                None if runners.get(&name) == Some(&incarnation) && record.runs_at(hz) => *record,
                None => record.restarted(hz, now_us),
            },
        };
        self.set_running(space, record, name, incarnation)?;
        Ok(record.clock)
    }

    fn note_tick(
        &mut self,
        space: SpaceId,
        tick: Tick,
        incarnation: Incarnation,
    ) -> Result<(), DirectoryError> {
        let name = self.name_of(incarnation)?;
        let record = self.space(space)?.ok_or(DirectoryError::UnknownSpace(space))?;
        self.set_running(space, record.noted(tick), name, incarnation)
    }

    fn close_space(
        &mut self,
        space: SpaceId,
        tick: Tick,
        incarnation: Incarnation,
    ) -> Result<(), DirectoryError> {
        let record = self.space(space)?.ok_or(DirectoryError::UnknownSpace(space))?;
        let mut runners = self
            .running
            .remove(&space)
            .map(|running| running.runners)
            .unwrap_or_default();
        runners.retain(|_, runner| *runner != incarnation);
        self.write(&runners_key(space), &runners.keys().cloned().collect::<Vec<_>>())?;
        if runners.is_empty() {
            return self.write(&space_key(space), &record.closed(tick));
        }
        let record = record.noted(tick);
        self.write(&space_key(space), &record)?;
        self.running.insert(space, Running { record, runners });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
