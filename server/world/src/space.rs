//! The entities of one lane's share of a space.
//!
//! Calls in a tick: [`Space::set_tick`] first; then whatever arrived ([`Space::displace`], scripts); then
//! [`Space::next_due`] until none is, [`Space::simulate`], [`Space::next_arrived`]; then the frame is made from
//! [`Space::changes`], and [`Space::clear_changes`] ends the tick.
//!
//! Cost: simulating is one linear walk over all entities (about 10 ns each); every other call is for one entity and
//! takes constant time, but for timers, which take the logarithm of their number.

mod course;
mod state;
#[cfg(test)]
mod tests;

use crate::changes::{Changes, EmitError, Left, SpaceEvent};
use crate::components::columns::{self, BoolColumn, FloatColumn, IntColumn, TextColumn};
use crate::components::motion::{Leg, Motion};
use crate::components::position::Position;
use crate::components::sight::Sight;
use crate::components::subject::{Identity, Life};
use crate::components::timers::{TimerIndex, Timers};
use crate::components::{Carried, Parts, TABLE};
use crate::error::{Gone, SpawnError};
use crate::issue::Issue;
use crate::kinds::{Kind, Kinds};
use crate::record::{Form, Record, Restored};
use crate::share::Share;
use crate::slots::{Handle, Slots};
use bevy_ecs::query::QueryState;
use bevy_ecs::world::{EntityRef, World};
use myriad_wire::{EntityId, EntityName, Hop, Incarnation, KindId, LaneEpoch, Pos, Slot, Tick, Value};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// The laws of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceConfig {
    /// Lowest position per axis.
    pub bounds_min: Pos,
    /// Highest position per axis.
    pub bounds_max: Pos,
    /// Ticks per second, in thousandths, as in the space's clock. Not zero.
    pub rate_mhz: u32,
    /// Most entities at a time. There are at most [`SLOTS_PER_ENTITY`] times as many slots, living and resting.
    pub entities_max: u32,
    /// What this lane is to populate.
    pub share: Share,
}

/// Under what new entities are numbered and named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node's: entities get ids of it.
    pub incarnation: Incarnation,
    /// Which of the node's lanes this is: each has a share of the incarnation's ids to itself.
    pub share: u8,
    /// How many ids of that share lanes before this one have given.
    pub spawned: u64,
    /// The lane's claim: entities get names of it.
    pub epoch: LaneEpoch,
}

/// Entities of one share of an incarnation.
const SHARE_BITS: u32 = myriad_wire::id::COUNTER_BITS - u8::BITS;

/// An entity on its way to another lane: it is in this space no more, and goes on under its name.
#[derive(Clone, Debug, PartialEq)]
pub struct HandedOver {
    /// All that there is of it.
    pub record: Record,
    /// Which life of it, under this lane's authority.
    pub life: Life,
    /// It has arrived where it went, and was not told yet.
    pub arrived: bool,
}

/// How many slots there may be for each entity that a space may hold.
pub const SLOTS_PER_ENTITY: usize = 2;

/// What a new entity begins with.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Spawn {
    /// Where. Moved into the bounds if it is outside.
    pub position: Pos,
    /// Properties that are not to have their defaults, by name.
    pub properties: Vec<(String, Value)>,
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueTimer {
    /// Whose. Alive.
    pub handle: Handle,
    /// Which.
    pub timer: TimerIndex,
}

/// What a frame says of every entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its place.
    pub handle: Handle,
    /// What it is called.
    pub name: EntityName,
    /// Who it is.
    pub entity: EntityId,
    /// Its kind.
    pub kind: KindId,
    /// On which layers it is.
    pub layers: u32,
    /// Where it is.
    pub position: Pos,
}

/// The entities of one lane's share of a space. See the module's documentation for the order of calls.
#[derive(Debug)]
pub struct Space {
    config: SpaceConfig,
    kinds: Kinds,
    origin: Origin,
    /// How many ids of the share are given.
    spawned: u64,
    issue: Issue,
    /// Names given by other lanes, whose lives ended here.
    freed: Vec<EntityName>,
    tick: Tick,
    world: World,
    slots: Slots,
    by_id: HashMap<EntityId, Slot>,
    changes: Changes,
    /// Every set timer of every living entity.
    due: BTreeSet<(Tick, Slot, TimerIndex)>,
    arrived: VecDeque<Handle>,
    moving: QueryState<(&'static Identity, &'static mut Position, &'static mut Leg)>,
    subjects: QueryState<(&'static Identity, &'static Position, &'static Sight)>,
}

impl Space {
    /// An empty space.
    ///
    /// # Panics
    /// If the bounds are the wrong way round or the rate is zero.
    #[must_use]
    pub fn new(config: SpaceConfig, kinds: Kinds, origin: Origin) -> Self {
        let (low, high) = (config.bounds_min, config.bounds_max);
        assert!(
            low.x <= high.x && low.y <= high.y && low.z <= high.z,
            "a space has some room"
        );
        assert!(config.rate_mhz > 0, "time passes in a space");
        let mut world = World::new();
        Self {
            config,
            kinds,
            issue: Issue::new(origin.epoch),
            origin,
            spawned: origin.spawned,
            freed: Vec::new(),
            tick: Tick(0),
            moving: world.query(),
            subjects: world.query(),
            world,
            slots: Slots::new(),
            by_id: HashMap::new(),
            changes: Changes::default(),
            due: BTreeSet::new(),
            arrived: VecDeque::new(),
        }
    }

    /// The laws of this space.
    #[must_use]
    pub fn config(&self) -> &SpaceConfig {
        &self.config
    }

    /// The kinds of entities.
    #[must_use]
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The tick being computed.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// Begins a tick.
    ///
    /// # Panics
    /// If it is earlier than the last one.
    pub fn set_tick(&mut self, tick: Tick) {
        assert!(
            tick >= self.tick,
            "ticks never go back: {tick} after {}",
            self.tick
        );
        self.tick = tick;
    }

    /// How many entities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.alive()
    }

    /// Whether there is no entity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the entity still exists.
    #[must_use]
    pub fn alive(&self, handle: Handle) -> bool {
        self.slots.get(handle).is_some()
    }

    /// The living entity in a slot.
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<Handle> {
        self.slots.at(slot)
    }

    /// The living entity of an id.
    #[must_use]
    pub fn find(&self, entity: EntityId) -> Option<Handle> {
        self.by_id.get(&entity).and_then(|slot| self.slots.at(*slot))
    }

    /// All living entities, ascending by slot.
    pub fn handles(&self) -> impl Iterator<Item = Handle> {
        self.slots.iter()
    }

    /// Fills `out` with what a frame says of every entity, ascending by name.
    pub fn collect_subjects(&mut self, out: &mut Vec<Subject>) {
        out.clear();
        out.extend(
            self.subjects
                .iter(&self.world)
                .map(|(identity, position, sight)| Subject {
                    handle: identity.handle,
                    name: identity.life.name,
                    entity: identity.entity,
                    kind: identity.kind,
                    layers: sight.layers,
                    position: position.0,
                }),
        );
        out.sort_unstable_by_key(|subject| subject.name);
    }

    // What exists.

    /// Whether this lane is to spawn what the game begins with at `position`, which is moved into the bounds as by
    /// [`Self::spawn`].
    #[must_use]
    pub fn owns(&self, position: Pos) -> bool {
        self.config.share.owns(self.clamped(position))
    }

    /// A new entity with a new id.
    ///
    /// # Errors
    /// If the kind, a property or the space's size forbid it.
    pub fn spawn(&mut self, kind: KindId, spawn: Spawn) -> Result<Handle, SpawnError> {
        let kinds = self.kinds.clone();
        let kind = kinds
            .get(kind)
            .ok_or_else(|| SpawnError::NoSuchKind(kind.to_string()))?;
        self.check_room()?;
        self.check_names()?;
        let counter = u64::from(self.origin.share) << SHARE_BITS | self.spawned;
        assert!(self.spawned < 1 << SHARE_BITS, "the share of ids is used up");
        let entity = EntityId::new(self.origin.incarnation, counter);
        let mut parts = self.parts(kind, entity, spawn.position);
        for (name, value) in spawn.properties {
            let property = state::checked(kind, kind.property_index(&name), &name, &value)?;
            columns::set_in(&mut parts, kind.cell(property), value);
        }
        self.spawned += 1;
        parts.identity.life = self.new_life(self.origin.epoch, Hop(0));
        Ok(self.insert(parts))
    }

    /// How many ids of the origin's share are given: by this lane, and by those before it.
    #[must_use]
    pub fn spawned(&self) -> u64 {
        self.spawned
    }

    /// An entity from its record, with its own id, in a new life. Its last one was in `era` and of `hop`, as its record
    /// was made; the new one's epoch is higher. What the record says that does not fit the kind's declaration any more
    /// is left out.
    ///
    /// # Errors
    /// If there is no such kind any more, the entity is here already, or the space is full.
    pub fn restore(&mut self, record: &Record, era: LaneEpoch, hop: Hop) -> Result<Restored, SpawnError> {
        self.check_names()?;
        let (mut parts, ignored) = self.recorded(record)?;
        let own = self.origin.epoch;
        parts.identity.life = if own > era {
            self.new_life(own, Hop(0))
        } else {
            self.new_life(era, Hop(hop.0 + 1))
        };
        let handle = self.insert(parts);
        Ok(Restored { handle, ignored })
    }

    /// Another lane has handed an entity over. It goes on in `life`.
    ///
    /// # Errors
    /// As for [`Self::restore`].
    pub fn take_over(&mut self, record: &Record, life: Life, arrived: bool) -> Result<Restored, SpawnError> {
        let (mut parts, ignored) = self.recorded(record)?;
        parts.identity.life = life;
        let handle = self.insert_silently(parts);
        self.changes.arrive(handle);
        if arrived {
            self.arrived.push_back(handle);
        }
        Ok(Restored { handle, ignored })
    }

    /// The entity goes to another lane, under its name. Its slot rests.
    ///
    /// # Errors
    /// If it is gone.
    pub fn hand_over(&mut self, handle: Handle) -> Result<HandedOver, Gone> {
        let record = self.record(handle, Form::Handoff).ok_or(Gone)?;
        let life = self.remove(handle)?;
        let arrived = self.arrived.contains(&handle);
        Ok(HandedOver {
            record,
            life,
            arrived,
        })
    }

    /// The life of this name, which was given here, has ended in another lane's hands. `false` if it was given to
    /// nobody.
    pub fn give_back(&mut self, name: EntityName) -> bool {
        self.issue.give_back(name, self.tick)
    }

    /// The names that other lanes gave and whose lives ended here since the last call.
    pub fn take_freed(&mut self) -> Vec<EntityName> {
        std::mem::take(&mut self.freed)
    }

    /// The parts of a recorded entity, whose life the caller sets; and what of the record does not fit any more.
    fn recorded(&self, record: &Record) -> Result<(Parts, Vec<String>), SpawnError> {
        let kinds = self.kinds.clone();
        let kind = kinds
            .find(&record.kind)
            .ok_or_else(|| SpawnError::NoSuchKind(record.kind.clone()))?;
        self.check_room()?;
        if self.find(record.entity).is_some() {
            return Err(SpawnError::AlreadyHere(record.entity));
        }
        let mut parts = self.parts(kind, record.entity, record.position);
        let mut ignored = Vec::new();
        for (name, value) in &record.attributes {
            let reads = |carried: &Carried, parts: &mut Parts| match carried {
                Carried::Field => false,
                Carried::Attributes { read, .. } => read(parts, kind, name, value),
            };
            if !TABLE.iter().any(|row| reads(&row.carried, &mut parts)) {
                ignored.push(name.clone());
            }
        }
        if let Motion::MoveTo { x, z, speed } = parts.leg.motion() {
            let motion = match course::speed_max(kind) {
                0 => Motion::Idle,
                speed_max => self.bounded(x, z, speed.min(speed_max)),
            };
            parts.leg = Leg::new(motion, parts.position.0);
        }
        Ok((parts, ignored))
    }

    /// An entity as plain data.
    #[must_use]
    pub fn record(&self, handle: Handle, form: Form) -> Option<Record> {
        let entity = self.entity(handle)?;
        let identity = self.identity(handle)?;
        let kind = self.kind(handle)?;
        let mut attributes = Vec::new();
        for row in TABLE {
            if let Carried::Attributes { write, .. } = row.carried {
                write(&entity, kind, form, &mut attributes);
            }
        }
        Some(Record {
            entity: identity.entity,
            kind: kind.spec().name.clone(),
            position: self.position(handle)?,
            attributes,
        })
    }

    /// The entity is no more. Its slot rests.
    ///
    /// # Errors
    /// If it is gone already.
    pub fn despawn(&mut self, handle: Handle) -> Result<(), Gone> {
        let name = self.remove(handle)?.name;
        if name.issuer == self.issue.issuer() {
            let given = self.issue.give_back(name, self.tick);
            assert!(given, "{name:?} lived and was nobody's name");
        } else {
            self.freed.push(name);
        }
        Ok(())
    }

    /// Takes an entity out, and leaves it its name.
    fn remove(&mut self, handle: Handle) -> Result<Life, Gone> {
        let entity = self.slots.get(handle).ok_or(Gone)?;
        let identity = self.identity(handle).ok_or(Gone)?;
        let timers: &Timers = self.world.get(entity).expect("every entity has all components");
        for (i, due) in timers.due.iter().enumerate() {
            if let Some(due) = due {
                self.due.remove(&(*due, handle.slot, TimerIndex(i as u8)));
            }
        }
        let existed = self.world.despawn(entity);
        assert!(existed, "a slot in use holds an entity of the world");
        self.by_id.remove(&identity.entity);
        self.slots.remove(handle, self.tick);
        self.changes.leave(Left {
            handle,
            name: identity.life.name,
            hop: identity.life.hop,
        });
        Ok(identity.life)
    }

    fn new_life(&mut self, era: LaneEpoch, hop: Hop) -> Life {
        Life {
            name: self.issue.take(self.tick),
            era,
            hop,
        }
    }

    /// Names that are out rest with their lives, wherever these are lived; there must not be ever more of them either.
    fn check_names(&self) -> Result<(), SpawnError> {
        let max = self.config.entities_max;
        if self.issue.next_len(self.tick) <= max as usize * SLOTS_PER_ENTITY {
            Ok(())
        } else {
            Err(SpawnError::Full(max))
        }
    }

    fn check_room(&self) -> Result<(), SpawnError> {
        let max = self.config.entities_max as usize;
        // Slots rest: what comes and goes within a few ticks must not make ever more of them either.
        if self.len() < max && self.slots.next_len(self.tick) <= max * SLOTS_PER_ENTITY {
            Ok(())
        } else {
            Err(SpawnError::Full(self.config.entities_max))
        }
    }

    fn parts(&self, kind: &Kind, entity: EntityId, position: Pos) -> Parts {
        let spec = kind.spec();
        let mut parts = Parts {
            identity: Identity {
                entity,
                handle: self.slots.next(self.tick),
                kind: kind.id(),
                life: Life::default(),
            },
            position: Position(self.clamped(position)),
            leg: Leg::default(),
            sight: Sight {
                layers: spec.layers,
                sees: spec.sees,
            },
            timers: Timers::none(kind),
            bools: BoolColumn::default(),
            ints: IntColumn::default(),
            floats: FloatColumn::default(),
            texts: TextColumn::default(),
        };
        for property in &spec.properties {
            columns::push(&mut parts, property.default.clone());
        }
        parts
    }

    fn insert(&mut self, parts: Parts) -> Handle {
        let handle = self.insert_silently(parts);
        self.changes.join(handle);
        handle
    }

    /// The change log does not hear of it.
    fn insert_silently(&mut self, parts: Parts) -> Handle {
        let Identity { entity, handle, .. } = parts.identity;
        for (i, due) in parts.timers.due.iter().enumerate() {
            if let Some(due) = due {
                self.due.insert((*due, handle.slot, TimerIndex(i as u8)));
            }
        }
        let inner = self.world.spawn(parts).id();
        self.slots.insert(handle, inner);
        self.by_id.insert(entity, handle.slot);
        handle
    }

    fn entity(&self, handle: Handle) -> Option<EntityRef<'_>> {
        self.slots.get(handle).map(|entity| self.world.entity(entity))
    }

    fn identity(&self, handle: Handle) -> Option<Identity> {
        self.entity(handle)?.get::<Identity>().copied()
    }

    // What changed.

    /// Something happened to an entity; those who have it in view are told.
    ///
    /// # Errors
    /// If the entity is gone, or name and arguments exceed their limits.
    pub fn emit(&mut self, subject: Handle, name: &str, arguments: Vec<Value>) -> Result<(), EmitError> {
        let identity = self.identity(subject).ok_or(EmitError::Gone)?;
        self.changes.emit(SpaceEvent {
            subject,
            entity_name: identity.life.name,
            name: name.to_owned(),
            arguments,
        })
    }

    /// What changed since [`Self::clear_changes`].
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Forgets what changed: it is published. Once per tick.
    pub fn clear_changes(&mut self) {
        self.changes.clear();
    }
}
