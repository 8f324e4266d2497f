//! What one entity is: where, seen by whom, with which properties.

use super::Space;
use crate::components::columns;
use crate::components::motion::Leg;
use crate::components::position::Position;
use crate::components::sight::Sight;
use crate::components::subject::Life;
use crate::error::{Gone, PropertyError};
use crate::kinds::{Kind, PropertyMask};
use crate::slots::Handle;
use myriad_wire::payload::Step;
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, Pos, PropertyIndex, Value};

impl Space {
    /// Its id.
    #[must_use]
    pub fn id(&self, handle: Handle) -> Option<EntityId> {
        self.identity(handle).map(|identity| identity.entity)
    }

    /// Which life of it this is.
    #[must_use]
    pub fn life(&self, handle: Handle) -> Option<Life> {
        self.identity(handle).map(|identity| identity.life)
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

    pub(super) fn clamped(&self, p: Pos) -> Pos {
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
}

fn no_such_property(kind: &Kind, property: &str) -> PropertyError {
    PropertyError::NoSuchProperty {
        kind: kind.spec().name.clone(),
        property: property.to_owned(),
    }
}

/// That the kind has this property and allows it this value.
pub(super) fn checked(
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
