//! The end: faults have stopped, the cells have come to rest. Everybody is where he belongs, nothing is lost, and every client
//! sees what there is to be seen.

use super::checks::{AVATAR_RADIUS_M, SPEED_M, Seen, Watch, distance, gold};
use super::nodes::LaneNode;
use super::players::Connection;
use super::{Cells, Checked, QUIET_STEPS, demand};
use myriad_wire::{EntityId, EntityName, Generation, Pos, Slot, Tick, Value};
use std::collections::BTreeSet;

/// Who has been within the radius by this much, in metres, in all of the last ticks is in view: of a crowd cells are known
/// that are a period old, and the observer's own place is a tick newer or two.
const BAND_M: f64 = 3.0;
/// Who is beyond the leave radius by so much, in metres, is not: in as many ticks as a client is behind, two who run apart
/// get so far. First of a client that is told subject by subject, then of one in a crowd.
const BEYOND_M: [f64; 2] = [4.0, 9.0];
/// For how many ticks an entity may be out of its cell while it is being handed off: some to offer and accept, and some
/// for those that begin in that moment.
const OUTSIDE_TICKS: u64 = 14;
/// How far behind the truth a client is, in ticks.
const BEHIND_TICKS: u64 = 6;

/// An entity at the end.
struct Last {
    entity: EntityId,
    name: EntityName,
    position: Pos,
    layers: u32,
    sees: u32,
    properties: Vec<(myriad_wire::PropertyIndex, Value)>,
}

impl Cells {
    /// The end: everybody is where he belongs, nothing is lost, and every client sees what there is to be seen.
    pub(super) fn prove(&mut self) -> Checked {
        let (sum, avatars) = gold(&self.lanes);
        demand!(
            Some(sum) == self.watch.gold,
            "there was {:?} gold, and is {sum}",
            self.watch.gold
        );
        demand!(
            avatars.iter().all(|gold| *gold == 100),
            "avatars have {avatars:?} gold"
        );
        self.prove_layout()?;
        self.prove_places()?;
        let world = self.world();
        for number in 0..self.players.len() {
            let player = &self.players[number];
            let connection = player
                .connections
                .last()
                .filter(|connection| connection.is_present());
            let Some(connection) = connection else {
                return Err(format!("{} is not in the world at the end", player.account));
            };
            let crowd = connection.client.view().is_crowd();
            self.watch
                .prove_view(&player.account, connection, &world, self.tick())?;
            self.table.note(if crowd {
                "crowds within the band at the end"
            } else {
                "views equal to brute force at the end"
            });
        }
        Ok(())
    }

    fn prove_places(&self) -> Checked {
        let refused = |lane: &LaneNode| lane.core.counters().handoffs_refused;
        // Where there was no room somebody may wait for ever.
        if self.lanes.iter().map(refused).sum::<u64>() == 0 {
            for (entity, since) in &self.watch.outside {
                demand!(
                    self.tick().since(*since) <= OUTSIDE_TICKS + QUIET_STEPS,
                    "entity {entity} has been out of its lane's cell since tick {since}"
                );
            }
        }
        for (entity, seen) in self.watch.seen.iter().filter(|(_, seen)| seen.kind == "walker") {
            let (last, ..) = *seen.places.back().expect("it was seen");
            demand!(
                last + 1 >= self.tick(),
                "entity {entity} was last published by lane {} in tick {last}",
                seen.lane
            );
        }
        Ok(())
    }

    fn world(&self) -> Vec<Last> {
        let mut world = Vec::new();
        for lane in &self.lanes {
            let space = lane.core.space();
            for handle in space.handles() {
                let living = "the space lists the living";
                let kind = space.kind(handle).expect(living);
                let sight = space.sight(handle).expect(living);
                let public = kind.audience(myriad_wire::schema::Audience::All);
                world.push(Last {
                    entity: space.id(handle).expect(living),
                    name: space.life(handle).expect(living).name,
                    position: space.position(handle).expect(living),
                    layers: sight.layers,
                    sees: sight.sees,
                    properties: space.properties(handle, public.and(myriad_world::PropertyMask::ALL)),
                });
            }
        }
        world
    }
}

impl Watch {
    /// Whether an entity was within `reach_m` of the observer in each of the last ticks.
    fn stayed_within(&self, entity: EntityId, own: EntityId, reach_m: f64, now: Tick) -> bool {
        let (Some(seen), Some(observer)) = (self.seen.get(&entity), self.seen.get(&own)) else {
            return false;
        };
        let at = |seen: &Seen, tick: Tick| {
            seen.places
                .iter()
                .find(|(at, ..)| *at == tick)
                .map(|(_, at, _)| *at)
        };
        (now.0 - BEHIND_TICKS..=now.0).map(Tick).all(|tick| {
            let both = at(seen, tick).zip(at(observer, tick));
            both.is_some_and(|(a, b)| distance(a, b) <= reach_m)
        })
    }

    fn prove_view(&self, account: &str, connection: &Connection, world: &[Last], now: Tick) -> Checked {
        let client = &connection.client;
        let entity = client.joined().map(|joined| joined.entity);
        let own = world.iter().find(|last| Some(last.entity) == entity);
        let own = own.ok_or_else(|| {
            let seen = entity.and_then(|entity| self.seen.get(&entity));
            let last = seen.and_then(|seen| Some((seen.lane, seen.places.back()?)));
            format!("{account} is online, its avatar {entity:?} is in no lane; it was last seen at {last:?}")
        })?;
        demand!(
            client
                .own_authoritative()
                .is_some_and(|(_, position)| distance(position, own.position) <= 2.0 * 0.6 * 2.0),
            "{account} believes at last that it is at {:?}, it is at {:?}",
            client.own_authoritative(),
            own.position
        );
        let view = client.view();
        let names: BTreeSet<(Slot, Generation)> = view
            .iter()
            .map(|held| (held.subject().slot, held.subject().generation))
            .collect();
        demand!(
            names.len() == connection.told.in_view.len(),
            "{account} told enters and leaves that leave {} in view, it has {}",
            connection.told.in_view.len(),
            names.len()
        );
        for last in world {
            let has = names.contains(&(last.name.slot, last.name.generation));
            let meets = own.sees & last.layers != 0;
            let beyond_m = BEYOND_M[usize::from(view.is_crowd())];
            let far = distance(own.position, last.position);
            let must = meets && self.stayed_within(last.entity, own.entity, AVATAR_RADIUS_M - BAND_M, now);
            let may = far <= 1.1 * AVATAR_RADIUS_M + beyond_m;
            demand!(
                has || !must,
                "{account} does not see at last entity {} ({:?}), {far:.2} m away",
                last.entity,
                last.name
            );
            demand!(
                may || !has,
                "{account} sees at last entity {} ({:?}), {far:.2} m away",
                last.entity,
                last.name
            );
        }
        for held in view.iter() {
            let name = held.subject();
            let last = world
                .iter()
                .find(|last| (last.name.slot, last.name.generation) == (name.slot, name.generation));
            let Some(last) = last else {
                let named = self.names.get(&(name.slot, name.generation));
                let lately = |entity: &EntityId| {
                    let last = self.seen.get(entity).and_then(|seen| seen.places.back());
                    last.is_some_and(|(last, ..)| now.since(*last) <= BEHIND_TICKS)
                };
                demand!(
                    named.is_some_and(|named| named.iter().any(lately)),
                    "{account} sees at last {name:?}, who is in no lane"
                );
                continue;
            };
            let far = distance(held.position(), last.position);
            demand!(
                far <= 2.0 * SPEED_M * 0.1 * 10.0,
                "{account} has entity {} at last {far:.2} m from where it is, of tick {}",
                last.entity,
                held.state_tick()
            );
            if !view.is_crowd() {
                demand!(
                    held.entity() == Some(last.entity),
                    "{account} takes {name:?} for {:?}, it is {}",
                    held.entity(),
                    last.entity
                );
                let stale = |(index, value): &(myriad_wire::PropertyIndex, Value)| {
                    index.0 == 0 && held.property(*index) != Some(value)
                };
                demand!(
                    !last.properties.iter().any(stale),
                    "{account} knows entity {} as {:?}, it is {:?}",
                    last.entity,
                    held.properties(),
                    last.properties
                );
            }
        }
        Ok(())
    }
}
