//! The entities of one lane's share of a space.
//!
//! Calls in a tick: [`Space::set_tick`] first; then whatever arrived ([`Space::displace`], scripts); then
//! [`Space::next_due`] until none is, [`Space::simulate`], [`Space::next_arrived`]; then the frame is made from
//! [`Space::changes`], and [`Space::clear_changes`] ends the tick.
//!
//! Cost: simulating is one linear walk over all entities (about 10 ns each); every other call is for one entity and
//! takes constant time, but for timers, which take the logarithm of their number.

use crate::changes::{Changes, EmitError, SpaceEvent};
use crate::components::columns::{self, BoolColumn, FloatColumn, IntColumn, TextColumn};
use crate::components::motion::{Leg, Motion};
use crate::components::position::Position;
use crate::components::sight::Sight;
use crate::components::subject::Identity;
use crate::components::timers::{TimerIndex, Timers};
use crate::components::{Carried, Parts, TABLE};
use crate::kinds::{DomainError, Kind, Kinds, PropertyMask};
use crate::record::{Form, Record, Restored};
use crate::slots::{Handle, Slots};
use bevy_ecs::query::QueryState;
use bevy_ecs::world::{EntityRef, World};
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::payload::Step;
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, Incarnation, KindId, Pos, PropertyIndex, Slot, Tick, Value};
use std::collections::{BTreeSet, HashMap, VecDeque};
use thiserror::Error;

/// The laws of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceConfig {
    /// Lowest position per axis.
    pub bounds_min: Pos,
    /// Highest position per axis.
    pub bounds_max: Pos,
    /// Ticks per second, in thousandths, as in the space's clock. Not zero.
    pub rate_mhz: u32,
    /// Most entities at a time.
    pub entities_max: u32,
}

/// What a new entity begins with.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Spawn {
    /// Where. Moved into the bounds if it is outside.
    pub position: Pos,
    /// Properties that are not to have their defaults, by name.
    pub properties: Vec<(String, Value)>,
}

/// Why an entity was not spawned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpawnError {
    /// No kind has this number or name.
    #[error("there is no kind {0}")]
    NoSuchKind(String),
    /// The space holds as many entities as it may.
    #[error("the space is full: it holds {0} entities")]
    Full(u32),
    /// The entity of this id is in the space already.
    #[error("entity {0} is in the space already")]
    AlreadyHere(EntityId),
    /// A property is not what its kind declares.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// Why a property was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PropertyError {
    /// The entity is gone.
    #[error("the entity is gone")]
    Gone,
    /// The kind declares no such property.
    #[error("kind '{kind}' has no property '{property}'")]
    NoSuchProperty {
        /// The kind.
        kind: String,
        /// The property's name or number.
        property: String,
    },
    /// The value is not in the property's domain.
    #[error("property '{property}' {error}")]
    Domain {
        /// The property.
        property: String,
        /// Why.
        error: DomainError,
    },
}

/// Why a motion was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MotionError {
    /// The entity is gone.
    #[error("the entity is gone")]
    Gone,
    /// No speed, or one beyond the kind's.
    #[error("a speed lies between 1 and {speed_max} position units (1/1024 m) per second")]
    BadSpeed {
        /// The kind's highest speed, in position units per second.
        speed_max: u32,
    },
}

/// Why a timer was not set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimerError {
    /// The entity is gone.
    #[error("the entity is gone")]
    Gone,
    /// The kind declares no such timer.
    #[error("kind '{kind}' has no timer '{timer}'")]
    NoSuchTimer {
        /// The kind.
        kind: String,
        /// The timer.
        timer: String,
    },
    /// Due in this tick or earlier.
    #[error("a timer is due in a later tick")]
    NotLater,
}

/// The entity is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the entity is gone")]
pub struct Gone;

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
    incarnation: Incarnation,
    /// Entities spawned so far: the next id's counter.
    spawned: u64,
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
    /// An empty space. `incarnation` is the node's: new entities get ids of it.
    ///
    /// # Panics
    /// If the bounds are the wrong way round or the rate is zero.
    #[must_use]
    pub fn new(config: SpaceConfig, kinds: Kinds, incarnation: Incarnation) -> Self {
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
            incarnation,
            spawned: 0,
            tick: Tick(0),
            moving: world.query(),
            subjects: world.query(),
            world,
            slots: Slots::default(),
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

    /// Fills `out` with what a frame says of every entity, ascending by slot.
    pub fn collect_subjects(&mut self, out: &mut Vec<Subject>) {
        out.clear();
        out.extend(
            self.subjects
                .iter(&self.world)
                .map(|(identity, position, sight)| Subject {
                    handle: identity.handle,
                    entity: identity.entity,
                    kind: identity.kind,
                    layers: sight.layers,
                    position: position.0,
                }),
        );
        out.sort_unstable_by_key(|subject| subject.handle.slot);
    }

    // What exists.

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
        let entity = EntityId::new(self.incarnation, self.spawned);
        let mut parts = self.parts(kind, entity, spawn.position);
        for (name, value) in spawn.properties {
            let property = checked(kind, kind.property_index(&name), &name, &value)?;
            columns::set_in(&mut parts, kind.cell(property), value);
        }
        self.spawned += 1;
        Ok(self.insert(parts))
    }

    /// An entity from its record, with its own id. What the record says that does not fit the kind's declaration
    /// any more is left out.
    ///
    /// # Errors
    /// If there is no such kind any more, the entity is here already, or the space is full.
    pub fn restore(&mut self, record: &Record) -> Result<Restored, SpawnError> {
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
            let motion = self.bounded(x, z, speed.min(speed_max(kind)));
            parts.leg = Leg::new(motion, parts.position.0);
        }
        let handle = self.insert(parts);
        Ok(Restored { handle, ignored })
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
        self.changes.leave(handle);
        Ok(())
    }

    fn check_room(&self) -> Result<(), SpawnError> {
        if self.len() < self.config.entities_max as usize {
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
        let Identity { entity, handle, .. } = parts.identity;
        for (i, due) in parts.timers.due.iter().enumerate() {
            if let Some(due) = due {
                self.due.insert((*due, handle.slot, TimerIndex(i as u8)));
            }
        }
        let inner = self.world.spawn(parts).id();
        self.slots.insert(handle, inner);
        self.by_id.insert(entity, handle.slot);
        self.changes.join(handle);
        handle
    }

    fn entity(&self, handle: Handle) -> Option<EntityRef<'_>> {
        self.slots.get(handle).map(|entity| self.world.entity(entity))
    }

    fn identity(&self, handle: Handle) -> Option<Identity> {
        self.entity(handle)?.get::<Identity>().copied()
    }

    // Who and where.

    /// Its id.
    #[must_use]
    pub fn id(&self, handle: Handle) -> Option<EntityId> {
        self.identity(handle).map(|identity| identity.entity)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self, handle: Handle) -> Option<&Kind> {
        let kind = self.identity(handle)?.kind;
        Some(self.kinds.get(kind).expect("entities are of declared kinds"))
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self, handle: Handle) -> Option<Pos> {
        self.entity(handle)?.get::<Position>().map(|position| position.0)
    }

    /// Puts it somewhere else, into the bounds, and ends its motion. Returns where it is now.
    ///
    /// # Errors
    /// If it is gone.
    pub fn set_position(&mut self, handle: Handle, position: Pos) -> Result<Pos, Gone> {
        let entity = self.slots.get(handle).ok_or(Gone)?;
        let position = self.clamped(position);
        let mut entity = self.world.entity_mut(entity);
        entity
            .get_mut::<Position>()
            .expect("every entity has all components")
            .0 = position;
        *entity.get_mut::<Leg>().expect("every entity has all components") = Leg::default();
        Ok(position)
    }

    /// Moves it by a step, as far as the bounds allow, and ends its motion. Returns where it is now.
    ///
    /// # Errors
    /// If it is gone.
    pub fn displace(&mut self, handle: Handle, step: Step) -> Result<Pos, Gone> {
        let from = self.position(handle).ok_or(Gone)?;
        let to = Pos {
            x: from.x.saturating_add(step.dx),
            y: from.y,
            z: from.z.saturating_add(step.dz),
        };
        self.set_position(handle, to)
    }

    fn clamped(&self, p: Pos) -> Pos {
        let (low, high) = (self.config.bounds_min, self.config.bounds_max);
        Pos {
            x: p.x.clamp(low.x, high.x),
            y: p.y.clamp(low.y, high.y),
            z: p.z.clamp(low.z, high.z),
        }
    }

    // Sight.

    /// On which layers it is, and which it sees.
    #[must_use]
    pub fn sight(&self, handle: Handle) -> Option<Sight> {
        self.entity(handle)?.get::<Sight>().copied()
    }

    /// Puts it on these layers.
    ///
    /// # Errors
    /// If it is gone.
    pub fn set_layers(&mut self, handle: Handle, layers: u32) -> Result<(), Gone> {
        let sight = self.sight_mut(handle)?;
        if std::mem::replace(&mut sight.layers, layers) != layers {
            self.changes.change_layers(handle);
        }
        Ok(())
    }

    /// Lets it see these layers.
    ///
    /// # Errors
    /// If it is gone.
    pub fn set_sees(&mut self, handle: Handle, sees: u32) -> Result<(), Gone> {
        let sight = self.sight_mut(handle)?;
        if std::mem::replace(&mut sight.sees, sees) != sees {
            self.changes.change_sees(handle);
        }
        Ok(())
    }

    fn sight_mut(&mut self, handle: Handle) -> Result<&mut Sight, Gone> {
        let entity = self.slots.get(handle).ok_or(Gone)?;
        let sight = self.world.get_mut::<Sight>(entity);
        Ok(sight.expect("every entity has all components").into_inner())
    }

    // Properties.

    /// The value of a property.
    ///
    /// # Errors
    /// If the entity is gone or has no such property.
    pub fn property(&self, handle: Handle, index: PropertyIndex) -> Result<Value, PropertyError> {
        let entity = self.entity(handle).ok_or(PropertyError::Gone)?;
        let kind = self.kind(handle).ok_or(PropertyError::Gone)?;
        let property = kind
            .property(index)
            .ok_or_else(|| no_such_property(kind, &index.to_string()))?;
        Ok(columns::get(
            &entity,
            property.domain.value_type(),
            kind.cell(index),
        ))
    }

    /// Gives a property a value. Nothing changes if it has that value already.
    ///
    /// # Errors
    /// If the entity is gone, has no such property, or the declaration does not allow the value. Then nothing
    /// changes either.
    pub fn set_property(
        &mut self,
        handle: Handle,
        index: PropertyIndex,
        value: Value,
    ) -> Result<(), PropertyError> {
        let entity = self.slots.get(handle).ok_or(PropertyError::Gone)?;
        let kind = self.kind(handle).ok_or(PropertyError::Gone)?;
        checked(kind, Some(index), &index.to_string(), &value)?;
        let cell = kind.cell(index);
        if columns::set(&mut self.world.entity_mut(entity), cell, value) {
            self.changes.change(handle, index);
        }
        Ok(())
    }

    /// Those of an entity's properties that `mask` names, ascending; none if it is gone.
    #[must_use]
    pub fn properties(&self, handle: Handle, mask: PropertyMask) -> PropertyList {
        let (Some(entity), Some(kind)) = (self.entity(handle), self.kind(handle)) else {
            return PropertyList::new();
        };
        let value = |index| {
            let property = kind.property(index)?;
            let value_type = property.domain.value_type();
            Some((index, columns::get(&entity, value_type, kind.cell(index))))
        };
        mask.iter().filter_map(value).collect()
    }

    // Motion.

    /// Where it goes by itself.
    #[must_use]
    pub fn motion(&self, handle: Handle) -> Option<Motion> {
        self.entity(handle)?.get::<Leg>().map(Leg::motion)
    }

    /// Begins a motion, in place of the one under way. A target out of bounds becomes the nearest within. When the
    /// entity is there, [`Self::next_arrived`] says so once.
    ///
    /// # Errors
    /// If the entity is gone, or the speed is zero or beyond the kind's.
    pub fn set_motion(&mut self, handle: Handle, motion: Motion) -> Result<(), MotionError> {
        let entity = self.slots.get(handle).ok_or(MotionError::Gone)?;
        let kind = self.kind(handle).ok_or(MotionError::Gone)?;
        let position = self.position(handle).ok_or(MotionError::Gone)?;
        let speed_max = speed_max(kind);
        let motion = match motion {
            Motion::Idle => Motion::Idle,
            Motion::MoveTo { speed, .. } if !(1..=speed_max).contains(&speed) => {
                return Err(MotionError::BadSpeed { speed_max });
            }
            Motion::MoveTo { x, z, speed } => self.bounded(x, z, speed),
        };
        let leg = self.world.get_mut::<Leg>(entity);
        *leg.expect("every entity has all components") = Leg::new(motion, position);
        Ok(())
    }

    fn bounded(&self, x: i32, z: i32, speed: u32) -> Motion {
        let Pos { x, z, .. } = self.clamped(Pos { x, y: 0, z });
        Motion::MoveTo { x, z, speed }
    }

    /// Moves everyone who goes by himself by one tick. Positions are committed here, once.
    pub fn simulate(&mut self) {
        let rate_mhz = self.config.rate_mhz;
        let start = self.arrived.len();
        for (identity, mut position, mut leg) in self.moving.iter_mut(&mut self.world) {
            if leg.motion() == Motion::Idle {
                continue;
            }
            if leg.advance(&mut position.0, rate_mhz) {
                self.arrived.push_back(identity.handle);
            }
        }
        // The walk is in the ECS's order, which depends on history; what follows from it must not.
        self.arrived.make_contiguous()[start..].sort_unstable();
    }

    /// Takes the next entity that arrived and still exists, ascending by slot within a tick.
    pub fn next_arrived(&mut self) -> Option<Handle> {
        loop {
            let handle = self.arrived.pop_front()?;
            if self.alive(handle) {
                return Some(handle);
            }
        }
    }

    // Timers.

    /// Sets a timer, in place of the same one set before.
    ///
    /// # Errors
    /// If the entity is gone, has no such timer, or `due` is not after the tick being computed.
    pub fn set_timer(&mut self, handle: Handle, name: &str, due: Tick) -> Result<(), TimerError> {
        if due <= self.tick {
            return Err(TimerError::NotLater);
        }
        self.change_timer(handle, name, Some(due))
    }

    /// Cancels a timer, if it is set.
    ///
    /// # Errors
    /// If the entity is gone or has no such timer.
    pub fn cancel_timer(&mut self, handle: Handle, name: &str) -> Result<(), TimerError> {
        self.change_timer(handle, name, None)
    }

    /// When a timer is due, if it is set.
    ///
    /// # Errors
    /// If the entity is gone or has no such timer.
    pub fn timer(&self, handle: Handle, name: &str) -> Result<Option<Tick>, TimerError> {
        let index = self.timer_index(handle, name)?;
        let entity = self.entity(handle).ok_or(TimerError::Gone)?;
        let timers: &Timers = entity.get().expect("every entity has all components");
        Ok(timers.due[usize::from(index.0)])
    }

    /// Takes the next timer that is due, in the order of (due tick, slot, name). One that is set meanwhile is due in
    /// a later tick, so this ends.
    pub fn next_due(&mut self) -> Option<DueTimer> {
        let &(due, slot, timer) = self.due.first()?;
        if due > self.tick {
            return None;
        }
        self.due.pop_first();
        let handle = self.slots.at(slot).expect("only the living have timers");
        let timers = self.timers_mut(handle).expect("it is alive");
        let taken = timers.due[usize::from(timer.0)].take();
        assert_eq!(taken, Some(due), "the index says what the entities say");
        Some(DueTimer { handle, timer })
    }

    fn timer_index(&self, handle: Handle, name: &str) -> Result<TimerIndex, TimerError> {
        let kind = self.kind(handle).ok_or(TimerError::Gone)?;
        kind.timer_index(name).ok_or_else(|| TimerError::NoSuchTimer {
            kind: kind.spec().name.clone(),
            timer: name.to_owned(),
        })
    }

    fn timers_mut(&mut self, handle: Handle) -> Option<&mut Timers> {
        let entity = self.slots.get(handle)?;
        let timers = self.world.get_mut::<Timers>(entity);
        Some(timers.expect("every entity has all components").into_inner())
    }

    fn change_timer(&mut self, handle: Handle, name: &str, due: Option<Tick>) -> Result<(), TimerError> {
        let index = self.timer_index(handle, name)?;
        let timers = self.timers_mut(handle).ok_or(TimerError::Gone)?;
        let before = std::mem::replace(&mut timers.due[usize::from(index.0)], due);
        if let Some(before) = before {
            self.due.remove(&(before, handle.slot, index));
        }
        if let Some(due) = due {
            self.due.insert((due, handle.slot, index));
        }
        Ok(())
    }

    // What changed.

    /// Something happened to an entity; those who have it in view are told.
    ///
    /// # Errors
    /// If the entity is gone, or name and arguments exceed their limits.
    pub fn emit(&mut self, subject: Handle, name: &str, arguments: Vec<Value>) -> Result<(), EmitError> {
        if !self.alive(subject) {
            return Err(EmitError::Gone);
        }
        self.changes.emit(SpaceEvent {
            subject,
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

/// The fastest a kind goes, in position units per second.
fn speed_max(kind: &Kind) -> u32 {
    (kind.spec().speed_max_m_s * f64::from(UNITS_PER_METRE)).round() as u32
}

fn no_such_property(kind: &Kind, property: &str) -> PropertyError {
    PropertyError::NoSuchProperty {
        kind: kind.spec().name.clone(),
        property: property.to_owned(),
    }
}

/// That the kind has this property and allows it this value.
fn checked(
    kind: &Kind,
    index: Option<PropertyIndex>,
    name: &str,
    value: &Value,
) -> Result<PropertyIndex, PropertyError> {
    let found = index.and_then(|index| Some((index, kind.property(index)?)));
    let (index, property) = found.ok_or_else(|| no_such_property(kind, name))?;
    property
        .domain
        .check(value)
        .map_err(|error| PropertyError::Domain {
            property: property.name.clone(),
            error,
        })?;
    Ok(index)
}
