use super::*;
use crate::domain::Domain;
use crate::kinds::{KindSpec, PropertySpec};
use myriad_wire::schema::Audience;
use std::any::TypeId;
use std::collections::BTreeSet;

fn space_with_one_entity() -> (Space, Handle) {
    let kind = KindSpec {
        name: "dog".to_owned(),
        avatar: false,
        layers: 1,
        sees: 1,
        radius_m: 1.0,
        notice_m: 0.0,
        speed_max_m_s: 1.0,
        properties: vec![PropertySpec {
            name: "age".to_owned(),
            domain: Domain::Int { min: 0, max: 9 },
            default: Value::Int(1),
            audience: Audience::All,
            saved: true,
        }],
        timers: vec!["bark".to_owned()],
    };
    let config = SpaceConfig {
        bounds_min: Pos::default(),
        bounds_max: Pos::default(),
        rate_mhz: 10_000,
        entities_max: 10,
        share: crate::Share::WHOLE,
    };
    let kinds = Kinds::new(vec![kind]).expect("the declaration is right");
    let origin = Origin {
        incarnation: Incarnation(1),
        share: 0,
        spawned: 0,
        epoch: LaneEpoch(1),
    };
    let mut space = Space::new(config, kinds, origin);
    let handle = space.spawn(KindId(0), Spawn::default()).expect("there is room");
    (space, handle)
}

#[test]
fn every_component_of_an_entity_stands_in_the_table_and_no_other() {
    let (space, handle) = space_with_one_entity();
    let entity = space.entity(handle).expect("it was spawned");
    let components = entity.archetype().iter_components();
    let carried: BTreeSet<TypeId> = components
        .map(|id| space.world.components().get_info(id).expect("it is registered"))
        .map(|info| info.type_id().expect("our components are types"))
        .collect();
    let table: BTreeSet<TypeId> = TABLE.iter().map(|row| row.type_id()).collect();
    assert_eq!(carried, table);
    assert_eq!(table.len(), TABLE.len(), "each once");
}

#[test]
fn no_component_is_registered_that_is_not_in_the_table() {
    let of = |world: &World| -> BTreeSet<TypeId> {
        world
            .components()
            .iter_registered()
            .filter_map(|(_, info)| info.type_id())
            .collect()
    };
    let (mut space, handle) = space_with_one_entity();
    space.simulate();
    space.collect_subjects(&mut Vec::new());
    space.despawn(handle).expect("it is there");
    let table: BTreeSet<TypeId> = TABLE.iter().map(|row| row.type_id()).collect();
    let ours: BTreeSet<TypeId> = of(&space.world).difference(&of(&World::new())).copied().collect();
    assert_eq!(ours, table);
}
