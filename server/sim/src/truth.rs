//! The truth: what every lane's world was after every tick, copied out of the lane itself.

use myriad_aoi::{Observer, Subject, oracle};
use myriad_lane::Lane;
use myriad_wire::schema::Audience;
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, Generation, KindId, LaneEpoch, Pos, Slot, Tick, Value};
use myriad_world::PropertyMask;
use std::collections::BTreeMap;

/// Position units per metre, to say where something is.
const METRE: f64 = 1024.0;

/// One entity after one tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Life {
    pub(crate) slot: Slot,
    pub(crate) generation: Generation,
    pub(crate) entity: EntityId,
    pub(crate) kind: KindId,
    pub(crate) position: Pos,
    pub(crate) layers: u32,
    pub(crate) sees: u32,
    pub(crate) radius_aoi: u32,
    /// Position units per second.
    pub(crate) speed_max: f64,
    /// The public ones.
    pub(crate) properties: PropertyList,
    /// Counts the ticks in which they were set. Not known of one that lived while nobody read the lane.
    pub(crate) version: Option<u8>,
    /// For an avatar: its account, and its saved count of commands.
    pub(crate) avatar: Option<(String, i64)>,
}

/// Something that happened to an entity in a tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happening {
    pub(crate) slot: Slot,
    pub(crate) name: String,
    pub(crate) arguments: Vec<Value>,
}

/// A lane's world after one tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) epoch: LaneEpoch,
    pub(crate) tick: Tick,
    pub(crate) lives: BTreeMap<Slot, Life>,
    /// Those that died in this tick, as they were before it.
    pub(crate) died: BTreeMap<Slot, Life>,
    /// In the order in which they happened. Empty if nobody reads the lane.
    pub(crate) happened: Vec<Happening>,
}

/// Everything that was, by epoch and tick.
#[derive(Debug, Default)]
pub(crate) struct History {
    snapshots: BTreeMap<(LaneEpoch, Tick), Snapshot>,
}

impl Life {
    /// Whether this avatar sees `other` when it is near.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.sees & other.layers != 0
    }

    /// Whether `other` is near to this avatar after a tick, by whether it was before. Their masks have no say.
    pub(crate) fn is_near(&self, other: &Self, was_near: bool) -> bool {
        let (sees, layers) = (1, 1);
        let observer = Observer {
            position: self.position.to_aoi(),
            radius: self.radius_aoi,
            sees,
            avatar: None,
        };
        let subject = Subject {
            position: other.position.to_aoi(),
            layers,
            appeal: 0,
        };
        oracle::sees(&observer, &subject, None, was_near)
    }

    /// How far `other` is, in metres, to be read.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        (self.position.to_metres() - other.position.to_metres()).length()
    }
}

impl Snapshot {
    /// Copies the world out of `lane`, which has just computed `tick`.
    /// `changed` are the slots whose public properties were set, if somebody reads the lane.
    pub(crate) fn of(
        lane: &Lane,
        tick: Tick,
        before: Option<&Self>,
        happened: Vec<Happening>,
        changed: Option<&[Slot]>,
    ) -> Self {
        let space = lane.space();
        let living = "the space lists the living";
        let mut lives = BTreeMap::new();
        for handle in space.handles() {
            let kind = space.kind(handle).expect(living);
            let value = |name: &str| {
                let index = kind.property_index(name)?;
                space.property(handle, index).ok()
            };
            let avatar = match (kind.spec().avatar, value("name"), value("done")) {
                (true, Some(Value::Text(name)), Some(Value::Int(done))) => Some((name, done)),
                _ => None,
            };
            let sight = space.sight(handle).expect(living);
            let name = space.life(handle).expect(living).name;
            let public = kind.audience(Audience::All).and(PropertyMask::ALL);
            let life = Life {
                slot: name.slot,
                generation: name.generation,
                entity: space.id(handle).expect(living),
                kind: kind.id(),
                position: space.position(handle).expect(living),
                layers: sight.layers,
                sees: sight.sees,
                radius_aoi: kind.radius_aoi(),
                speed_max: kind.spec().speed_max_m_s * METRE,
                properties: space.properties(handle, public),
                version: None,
                avatar,
            };
            let before = before.and_then(|before| before.lives.get(&name.slot));
            let before = before.filter(|before| before.generation == life.generation);
            // One that was set to what it was before counts too.
            let differs = before.is_some_and(|before| before.properties != life.properties);
            let is_set = changed.map(|changed| changed.contains(&life.slot));
            let is_set = is_set.or(differs.then_some(true));
            let version = match before {
                None => Some(0),
                Some(before) => before
                    .version
                    .zip(is_set)
                    .map(|(v, is_set)| v.wrapping_add(u8::from(is_set))),
            };
            let life = Life { version, ..life };
            lives.insert(life.slot, life);
        }
        let lives_on = |life: &Life| {
            lives
                .get(&life.slot)
                .is_some_and(|now: &Life| now.generation == life.generation)
        };
        let died = before
            .into_iter()
            .flat_map(|before| before.lives.values())
            .filter(|life| !lives_on(life))
            .map(|life| (life.slot, life.clone()))
            .collect();
        Self {
            epoch: lane.config().epoch,
            tick,
            lives,
            died,
            happened,
        }
    }

    /// The living entity of this id.
    pub(crate) fn find(&self, entity: EntityId) -> Option<&Life> {
        self.lives.values().find(|life| life.entity == entity)
    }

    /// The avatar of an account, if it is in the world.
    pub(crate) fn avatar_of(&self, account: &str) -> Option<&Life> {
        let is_its = |life: &&Life| life.avatar.as_ref().is_some_and(|(name, _)| name == account);
        self.lives.values().find(is_its)
    }

    /// The life that a subject's name means in this tick: living, or dead since this very tick.
    pub(crate) fn named(&self, slot: Slot, generation: Generation) -> Option<&Life> {
        [self.lives.get(&slot), self.died.get(&slot)]
            .into_iter()
            .flatten()
            .find(|life| life.generation == generation)
    }
}

impl History {
    /// A tick was computed.
    pub(crate) fn put(&mut self, snapshot: Snapshot) {
        self.snapshots.insert((snapshot.epoch, snapshot.tick), snapshot);
    }

    /// The world of the lane of `epoch` after `tick`.
    pub(crate) fn at(&self, epoch: LaneEpoch, tick: Tick) -> Option<&Snapshot> {
        self.snapshots.get(&(epoch, tick))
    }

    /// The same, or why not.
    pub(crate) fn demand(&self, epoch: LaneEpoch, tick: Tick) -> Result<&Snapshot, String> {
        self.at(epoch, tick)
            .ok_or_else(|| format!("tick {tick} is told, which the lane of epoch {epoch} never computed"))
    }

    /// The worlds of the lane of `epoch` from `first` to `last`.
    pub(crate) fn between(
        &self,
        epoch: LaneEpoch,
        first: Tick,
        last: Tick,
    ) -> impl Iterator<Item = &Snapshot> {
        let range = self.snapshots.range((epoch, first)..=(epoch, last));
        range.map(|(_, snapshot)| snapshot)
    }

    /// The last world of the lane of `epoch`.
    pub(crate) fn last(&self, epoch: LaneEpoch) -> Option<&Snapshot> {
        let of_epoch = (epoch, Tick(0))..=(epoch, Tick(u64::MAX));
        self.snapshots
            .range(of_epoch)
            .next_back()
            .map(|(_, snapshot)| snapshot)
    }
}
