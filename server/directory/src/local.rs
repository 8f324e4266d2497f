//! The directory kept in a store: of one process, or the one that a node serves to the others.

use crate::clock::SpaceRecord;
use crate::{ClusterView, Directory, DirectoryError, LaneClaim, LaneRecord, NodeRecord};
use bincode::{Decode, Encode};
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
const LANES_KEY: &str = "directory/lanes";

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

    fn lanes(&mut self) -> Result<Vec<LaneRecord>, DirectoryError> {
        Ok(self.read(LANES_KEY)?.unwrap_or_default())
    }

    fn set_lanes(&mut self, lanes: &Vec<LaneRecord>) -> Result<(), DirectoryError> {
        self.write(LANES_KEY, lanes)?;
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

    fn place(&mut self, places: &[(LaneId, String)]) -> Result<(), DirectoryError> {
        let mut lanes: BTreeMap<LaneId, LaneRecord> = self
            .lanes()?
            .into_iter()
            .map(|record| (record.lane, record))
            .collect();
        for (lane, node) in places {
            let record = lanes.entry(*lane).or_insert_with(|| LaneRecord {
                lane: *lane,
                node: String::new(),
                claim: None,
            });
            record.node.clone_from(node);
        }
        self.set_lanes(&lanes.into_values().collect())
    }

    fn claim_lane(&mut self, lane: LaneId, incarnation: Incarnation) -> Result<LaneEpoch, DirectoryError> {
        let node = self.name_of(incarnation)?;
        let mut lanes = self.lanes()?;
        let Some(record) = lanes.iter_mut().find(|record| record.lane == lane) else {
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
        record.claim = Some(LaneClaim { incarnation, epoch });
        self.set_lanes(&lanes)?;
        Ok(epoch)
    }

    fn view(&mut self, known: u64) -> Result<Option<ClusterView>, DirectoryError> {
        if self.revision == known {
            return Ok(None);
        }
        Ok(Some(ClusterView {
            revision: self.revision,
            nodes: self.nodes.values().cloned().collect(),
            lanes: self.lanes()?,
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
mod tests {
    use super::*;
    use crate::remote::{self, RemoteDirectory};
    use myriad_storage::{MemoryStorage, RedbStorage};
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};

    const NOW_US: u64 = 1_700_000_000_000_000;
    const SECOND_US: u64 = 1_000_000;
    const SPACE: SpaceId = SpaceId(1);

    fn record(name: &str, incarnation: Incarnation) -> NodeRecord {
        NodeRecord {
            name: name.to_owned(),
            incarnation,
            takes_lanes: true,
            ..NodeRecord::default()
        }
    }

    /// A node of that name starts.
    fn join<S: Storage>(directory: &mut LocalDirectory<S>, name: &str) -> Incarnation {
        let incarnation = directory.register_node(name).expect("kept");
        directory.announce(&record(name, incarnation)).expect("kept");
        incarnation
    }

    fn in_memory() -> LocalDirectory<MemoryStorage> {
        LocalDirectory::new(MemoryStorage::new(), Vec::new())
    }

    fn places(places: &[(u32, &str)]) -> Vec<(LaneId, String)> {
        let place = |(lane, node): &(u32, &str)| (LaneId(*lane), (*node).to_owned());
        places.iter().map(place).collect()
    }

    /// Checks the directory that `open` opens, and opens again after the one before was dropped.
    fn check<S: Storage>(mut open: impl FnMut() -> LocalDirectory<S>) {
        let mut directory = open();
        let first = join(&mut directory, "a");
        assert_eq!(first, Incarnation(1));
        directory.place(&places(&[(1, "a"), (2, "b")])).expect("kept");
        let epoch = directory.claim_lane(LaneId(1), first).expect("kept");
        let clock = directory.space_clock(SPACE, 10.0, NOW_US, first).expect("kept");
        assert_eq!(clock, SpaceClock::new(NOW_US, 10.0));
        let known = directory
            .view(0)
            .expect("readable")
            .expect("there is one")
            .revision;
        drop(directory);

        let mut directory = open();
        let second = join(&mut directory, "a");
        assert_eq!(second, Incarnation(2));
        let view = directory.view(known).expect("readable").expect("another");
        assert_eq!(view.nodes, [record("a", second)]);
        let claim = Some(LaneClaim {
            incarnation: first,
            epoch,
        });
        let lane = |lane, node: &str, claim| LaneRecord {
            lane: LaneId(lane),
            node: node.to_owned(),
            claim,
        };
        assert_eq!(view.lanes, [lane(1, "a", claim), lane(2, "b", None)]);
        assert!(directory.claim_lane(LaneId(1), second).expect("kept") > epoch);
        let later = directory.space_clock(SPACE, 10.0, NOW_US + 60 * SECOND_US, second);
        assert_eq!(later.expect("kept"), clock);
        let other = directory.space_clock(SpaceId(2), 10.0, NOW_US + 60 * SECOND_US, second);
        assert_ne!(other.expect("kept"), clock);
        directory.close_space(SPACE, Tick(601), second).expect("kept");
        drop(directory);

        let mut directory = open();
        let third = join(&mut directory, "a");
        let faster = directory
            .space_clock(SPACE, 20.0, NOW_US + 61 * SECOND_US, third)
            .expect("kept");
        assert_eq!(faster.base, Tick(611));
    }

    #[test]
    fn records_outlive_the_directory_in_memory() {
        let storage = MemoryStorage::new();
        check(|| LocalDirectory::new(storage.clone(), Vec::new()));
    }

    #[test]
    fn records_outlive_the_directory_on_disk() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let open = || RedbStorage::open(home.path()).expect("it opens again");
        check(|| LocalDirectory::new(open(), Vec::new()));
    }

    #[test]
    fn another_node_is_answered_what_this_one_is() {
        let local = Arc::new(Mutex::new(in_memory()));
        let served = local.clone();
        let mut there = RemoteDirectory::new(Box::new(move |request| {
            Ok(remote::answer(&mut *served.lock().expect("no panic"), request))
        }));
        let incarnation = local.lock().expect("no panic").register_node("b").expect("kept");
        there.announce(&record("b", incarnation)).expect("kept");
        there.place(&places(&[(7, "b")])).expect("kept");
        let early = there
            .claim_lane(LaneId(8), incarnation)
            .expect_err("no place yet");
        assert!(matches!(early, DirectoryError::NotYet(_)), "{early}");
        let epoch = there.claim_lane(LaneId(7), incarnation).expect("kept");
        let clock = there.space_clock(SPACE, 10.0, NOW_US, incarnation).expect("kept");
        there.note_tick(SPACE, Tick(5), incarnation).expect("kept");
        there.close_space(SPACE, Tick(6), incarnation).expect("kept");
        let view = there.view(0).expect("readable").expect("there is one");
        assert_eq!(there.view(view.revision).expect("readable"), None);
        assert_eq!(view.nodes, [record("b", incarnation)]);
        let claim = view.lanes[0].claim.expect("claimed");
        assert_eq!((claim.incarnation, claim.epoch), (incarnation, epoch));
        assert_eq!(clock, SpaceClock::new(NOW_US, 10.0));
        there.withdraw(incarnation).expect("kept");
        let mut local = local.lock().expect("no panic");
        assert_eq!(local.view(0).expect("readable").expect("another").nodes, []);
        let gone = local.claim_lane(LaneId(7), incarnation).expect_err("it went");
        assert!(matches!(gone, DirectoryError::UnknownIncarnation(_)), "{gone}");
    }

    #[test]
    fn who_was_replaced_may_do_nothing_any_more() {
        let mut directory = in_memory();
        let old = join(&mut directory, "a");
        directory.place(&places(&[(1, "a")])).expect("kept");
        directory.space_clock(SPACE, 10.0, NOW_US, old).expect("kept");
        let new = directory.register_node("a").expect("kept");
        let again = directory.announce(&record("a", old)).expect_err("replaced");
        assert!(
            again.to_string().contains("a newer node is called \"a\""),
            "{again}"
        );
        directory.announce(&record("a", new)).expect("kept");
        let claim = directory.claim_lane(LaneId(1), old).expect_err("replaced");
        assert!(matches!(claim, DirectoryError::UnknownIncarnation(_)), "{claim}");
        let noted = directory.note_tick(SPACE, Tick(9), old).expect_err("replaced");
        assert!(matches!(noted, DirectoryError::UnknownIncarnation(_)), "{noted}");
        let stranger = directory
            .announce(&record("b", Incarnation(9)))
            .expect_err("never registered");
        assert!(
            matches!(stranger, DirectoryError::UnknownIncarnation(_)),
            "{stranger}"
        );
    }

    #[test]
    fn a_lane_is_claimed_where_it_has_its_place() {
        let mut directory = in_memory();
        let (a, b) = (join(&mut directory, "a"), join(&mut directory, "b"));
        directory.place(&places(&[(1, "a"), (2, "a")])).expect("kept");
        let elsewhere = directory.claim_lane(LaneId(1), b).expect_err("it is a's");
        assert_eq!(elsewhere.to_string(), "lane 1 has its place at a, not at b");
        let first = directory.claim_lane(LaneId(1), a).expect("kept");
        directory.place(&places(&[(1, "b")])).expect("kept");
        assert!(directory.claim_lane(LaneId(1), a).is_err());
        assert!(directory.claim_lane(LaneId(1), b).expect("kept") > first);
        assert!(directory.claim_lane(LaneId(2), a).expect("kept") > first);
    }

    #[test]
    fn a_node_that_was_told_something_else_is_refused_with_the_key() {
        let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let settings = vec![setting("space.hz", "10"), setting("space.cell_m", "50")];
        let mut directory = LocalDirectory::new(MemoryStorage::new(), settings.clone());
        let incarnation = directory.register_node("a").expect("kept");
        let mut node = record("a", incarnation);
        node.settings = vec![setting("space.hz", "10"), setting("space.cell_m", "40")];
        let refused = directory.announce(&node).expect_err("40 is not 50").to_string();
        assert!(
            refused.contains("space.cell_m is 40 at the node called \"a\" and 50"),
            "{refused}"
        );
        node.settings = settings[..1].to_vec();
        directory
            .announce(&node)
            .expect("what it does not need it need not know");

        // What the directory's own node does not know, the others must agree on.
        node.settings.push(setting("scripts", "one"));
        directory.announce(&node).expect("nobody contradicts");
        let other = directory.register_node("b").expect("kept");
        let mut other = record("b", other);
        other.settings = vec![setting("scripts", "other")];
        let refused = directory
            .announce(&other)
            .expect_err("they contradict")
            .to_string();
        assert!(refused.contains("scripts is other"), "{refused}");
        directory.withdraw(incarnation).expect("kept");
        directory.announce(&other).expect("a is gone");
    }

    #[test]
    fn the_revision_tells_changes_and_nothing_else() {
        let mut directory = in_memory();
        assert_eq!(directory.view(0).expect("readable"), None);
        let a = join(&mut directory, "a");
        let revision = |directory: &mut LocalDirectory<_>| {
            let view = directory.view(0).expect("readable");
            view.expect("there is one").revision
        };
        let known = revision(&mut directory);
        directory.announce(&record("a", a)).expect("the same again");
        directory.withdraw(Incarnation(77)).expect("nobody");
        assert_eq!(directory.view(known).expect("readable"), None);
        directory.place(&places(&[(1, "a")])).expect("kept");
        let placed = revision(&mut directory);
        directory.claim_lane(LaneId(1), a).expect("kept");
        let claimed = revision(&mut directory);
        directory.withdraw(a).expect("kept");
        assert!(known < placed && placed < claimed && claimed < revision(&mut directory));
    }

    #[test]
    fn a_node_that_joins_a_running_space_gets_its_clock() {
        let mut directory = in_memory();
        let (a, b) = (join(&mut directory, "a"), join(&mut directory, "b"));
        // A rate that is no whole number of thousandths of a hertz.
        let hz = 7.312_345;
        let clock = directory.space_clock(SPACE, hz, NOW_US, a).expect("kept");
        directory.note_tick(SPACE, Tick(72), a).expect("kept");
        let second = directory.space_clock(SPACE, hz, NOW_US + 10 * SECOND_US, b);
        assert_eq!(second.expect("kept"), clock);
        // Whoever comes again while another runs it does not set it anew, though its own last ticks are not known.
        let a = join(&mut directory, "a");
        let again = directory.space_clock(SPACE, hz, NOW_US + 10 * SECOND_US, a);
        assert_eq!(again.expect("kept"), clock);
        let other = directory
            .space_clock(SPACE, 8.0, NOW_US, a)
            .expect_err("b runs it");
        assert!(other.to_string().starts_with("b runs space 1 at 7.3"), "{other}");
        // The last to leave closes it.
        directory.close_space(SPACE, Tick(80), b).expect("kept");
        assert!(directory.running.contains_key(&SPACE));
        directory.close_space(SPACE, Tick(81), a).expect("kept");
        assert!(!directory.running.contains_key(&SPACE));
    }

    #[test]
    fn a_directory_that_restarts_waits_for_those_who_may_be_running_the_space() {
        let storage = MemoryStorage::new();
        let open = || LocalDirectory::new(storage.clone(), Vec::new());
        let mut directory = open();
        let (a, b) = (join(&mut directory, "a"), join(&mut directory, "b"));
        let clock = directory.space_clock(SPACE, 10.0, NOW_US, a).expect("kept");
        directory.space_clock(SPACE, 10.0, NOW_US, b).expect("kept");
        directory.note_tick(SPACE, Tick(100), b).expect("kept");

        // A alone restarts with the directory, and b has not been heard yet. By itself a would begin above tick 120.
        let now_us = NOW_US + 10 * SECOND_US;
        let mut directory = open();
        let again = join(&mut directory, "a");
        let early = directory
            .space_clock(SPACE, 10.0, now_us, again)
            .expect_err("b may run it");
        assert!(early.is_passing(), "{early}");
        directory.announce(&record("b", b)).expect("it is there again");
        directory.note_tick(SPACE, Tick(101), b).expect("kept");
        assert_eq!(
            directory.space_clock(SPACE, 10.0, now_us, again).expect("kept"),
            clock
        );

        // And if b says nothing, it is gone.
        let mut directory = open();
        let again = join(&mut directory, "a");
        assert!(directory.space_clock(SPACE, 10.0, now_us, again).is_err());
        let patient = directory
            .space_clock(SPACE, 10.0, now_us + SETTLING_US, again)
            .expect("kept");
        assert_eq!(patient.base, Tick(122));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let mut directory = in_memory();
        for incarnation in [Incarnation(0), Incarnation(1)] {
            let claim = directory.claim_lane(LaneId(1), incarnation);
            assert!(matches!(claim, Err(DirectoryError::UnknownIncarnation(_))));
        }
        let a = join(&mut directory, "a");
        for hz in [0.0, -1.0, 1001.0, f64::NAN] {
            let clock = directory.space_clock(SPACE, hz, NOW_US, a);
            assert!(matches!(clock, Err(DirectoryError::Rate(_))));
        }
        let noted = directory.note_tick(SPACE, Tick(1), a);
        assert!(matches!(noted, Err(DirectoryError::UnknownSpace(SPACE))));
    }

    #[test]
    fn incarnations_end_rather_than_repeat() {
        let mut directory = in_memory();
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
            let error = LocalDirectory::new(storage.clone(), Vec::new())
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
            let open = || LocalDirectory::new(storage.clone(), Vec::new());
            let mut directory = open();
            let mut incarnation = join(&mut directory, "a");
            directory.place(&places(&[(2, "a"), (3, "a")])).expect("kept");
            let mut epoch = LaneEpoch(0);
            for step in steps {
                match step {
                    0 => {
                        directory = open();
                        directory.announce(&record("a", incarnation)).expect("it is there again");
                    }
                    1 => {
                        let next = join(&mut directory, "a");
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
