//! What must hold at every step; [`super::finale`] is what must hold in the end. Nothing here believes a message: the truth is the lanes'
//! own worlds, and what players did.

use super::calls::AreaCalls;
use super::nodes::LaneNode;
use super::players::Connection;
use super::{CellsTable, Checked, METRE, demand};
use myriad_client::ClientEvent;
use myriad_lane::Lane;
use myriad_wire::client::LeaveReason;
use myriad_wire::truth::{TruthEntity, TruthTick};
use myriad_wire::{EntityId, EntityName, Generation, LaneId, Pos, Slot, SubjectRef, Tick, Value};
use myriad_world::Handle;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// For how many ticks it is remembered where everybody was.
const REMEMBERED_TICKS: u64 = 64;
/// A leave is told of whom nobody near could be: who was within this share of the radius in all of the last ticks has not
/// left.
const STAYED_TICKS: u64 = 40;
const STAYED_SHARE: f64 = 0.9;
pub(super) const AVATAR_RADIUS_M: f64 = 30.0;
pub(super) const SPEED_M: f64 = 6.0;

/// What is known of an entity from the lanes' truths.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) name: EntityName,
    pub(super) lane: LaneId,
    issuer_lane: LaneId,
    pub(super) kind: String,
    /// The last of these is the last tick in which it was published.
    pub(super) places: VecDeque<(Tick, Pos, u32)>,
}

/// Watches the whole of the cells.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) seen: BTreeMap<EntityId, Seen>,
    /// Who has, or had lately, this slot and generation: names of different issuers rarely share them.
    pub(super) names: BTreeMap<(Slot, Generation), Vec<EntityId>>,
    avatars: BTreeMap<String, EntityId>,
    /// Who is out of its lane's cell, and since when.
    pub(super) outside: BTreeMap<EntityId, Tick>,
    /// Commands by number: that they ran.
    ran: BTreeSet<i64>,
    calls: AreaCalls,
    numbers: i64,
    /// The gold of all who are no avatars.
    pub(super) gold: Option<i64>,
    /// Until then some gateway may not have heard for long of what some lane has: it tells where everybody was.
    pub(super) stale_until: u64,
    /// Walkers change their layers. Where one does so in its new lane while its old one is late, its track there must be
    /// withheld as a whole: who is in it leaves crowds for a moment.
    pub(super) crossing: bool,
    /// In words, for the trail.
    pub(super) news: Vec<String>,
    avatars_handed_off: u64,
    came_home: u64,
    strangers: u64,
    names_freed: u64,
    restored: u64,
    departed_elsewhere: u64,
    went_with_avatar: u64,
    enters: u64,
    leaves: u64,
}

/// What one client told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) in_view: BTreeSet<SubjectRef>,
    events: BTreeSet<i64>,
    tick: Tick,
}

impl Watch {
    pub(super) fn new(crossing: bool) -> Self {
        Self {
            crossing,
            ..Self::default()
        }
    }

    /// Until this step some gateway may not have heard for long of what some lane has.
    pub(super) fn be_stale_until(&mut self, step: u64) {
        self.stale_until = self.stale_until.max(step);
    }

    /// A number that was not given before.
    pub(super) fn next_number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }

    /// A script said something in the log, in tick `now`: that a command ran, or what it called, or that it was called.
    pub(super) fn ran(&mut self, line: &str, now: Tick) -> Checked {
        let words: Vec<&str> = line.split([' ', '\t']).collect();
        let number = |place: usize| {
            let number = words.get(place).and_then(|word| word.parse::<f64>().ok());
            number.ok_or_else(|| format!("a line of the log says nothing known: {line:?}"))
        };
        match words.first() {
            Some(&"did") => {
                let number = number(2)? as i64;
                demand!(self.ran.insert(number), "command {number} ran twice");
                Ok(())
            }
            Some(&"poke") => {
                let place = [number(1)?, number(2)?];
                self.calls.called(now, place, number(3)?, number(4)? as i64);
                Ok(())
            }
            Some(&"poked") => self.calls.ran(number(1)? as i64, number(2)? as i64),
            _ => Err(format!("a line of the log says nothing known: {line:?}")),
        }
    }

    /// A client was answered that a command was taken.
    pub(super) fn accepted(&self, number: i64) -> Checked {
        demand!(
            self.ran.contains(&number),
            "command {number} is answered and did not run"
        );
        Ok(())
    }

    /// The lane that has the avatar of an account.
    pub(super) fn lane_of_avatar(&self, account: &str, lanes: &[LaneNode]) -> Option<LaneId> {
        let entity = *self.avatars.get(account)?;
        let has = |lane: &&LaneNode| lane.core.space().find(entity).is_some();
        lanes.iter().find(has).map(|lane| lane.lane)
    }

    /// A lane has published a tick.
    pub(super) fn take_truth(&mut self, truth: &TruthTick, lane: &Lane) -> Checked {
        for told in &truth.entities {
            self.take_entity(told, truth, lane).map_err(|wrong| {
                format!(
                    "lane {} in tick {}: entity {}: {wrong}",
                    truth.lane, truth.tick, told.entity
                )
            })?;
        }
        Ok(())
    }

    fn take_entity(&mut self, told: &TruthEntity, truth: &TruthTick, lane: &Lane) -> Checked {
        let here = (truth.tick, told.position, told.layers);
        let Some(seen) = self.seen.get_mut(&told.entity) else {
            let handle = lane
                .space()
                .find(told.entity)
                .ok_or("it is published and not there")?;
            let kind = lane
                .space()
                .kind(handle)
                .ok_or("it has no kind")?
                .spec()
                .name
                .clone();
            if kind == "avatar" {
                self.avatars.insert(account_of(lane, handle)?, told.entity);
            }
            self.name(told.name, told.entity);
            let seen = Seen {
                name: told.name,
                lane: truth.lane,
                issuer_lane: truth.lane,
                kind,
                places: VecDeque::from([here]),
            };
            self.seen.insert(told.entity, seen);
            return Ok(());
        };
        let (last, from, _) = *seen.places.back().expect("it was seen");
        demand!(
            last < truth.tick,
            "lane {} published it in tick {last}, and not before that tick",
            seen.lane
        );
        if seen.name != told.name {
            demand!(
                seen.kind == "avatar",
                "it was {:?} and is {:?}",
                seen.name,
                told.name
            );
            self.restored += 1;
            seen.name = told.name;
            seen.issuer_lane = truth.lane;
            seen.places.clear();
            let (name, entity) = (told.name, told.entity);
            self.name(name, entity);
        } else {
            let far = distance(from, told.position);
            let ticks = truth.tick.since(last) as f64;
            // An avatar goes as its client's steps come: what it saved up, at once.
            let saved_up = if seen.kind == "avatar" { 2.5 } else { 0.0 };
            let most = SPEED_M * (ticks * 0.1 + saved_up) + 0.01;
            demand!(far <= most, "it went {far:.2} m in {ticks} ticks");
        }
        let seen = self.seen.get_mut(&told.entity).expect("as above");
        if seen.lane != truth.lane {
            if seen.kind == "avatar" {
                let (entity, from, to) = (told.entity, seen.lane, truth.lane);
                let news = format!(
                    "avatar {entity} goes from lane {from} to {to} in tick {}",
                    truth.tick
                );
                self.news.push(news);
            }
            self.avatars_handed_off += u64::from(seen.kind == "avatar");
            self.went_with_avatar += u64::from(seen.kind == "avatar" && told.intent_seq.0 > 0);
            self.came_home += u64::from(seen.issuer_lane == truth.lane);
            let neighbours = lane.config().partition.neighbours(truth.lane);
            self.strangers += u64::from(!neighbours.contains(&seen.lane));
            seen.lane = truth.lane;
        }
        seen.places.push_back(here);
        while seen
            .places
            .front()
            .is_some_and(|(tick, ..)| truth.tick.since(*tick) > REMEMBERED_TICKS)
        {
            seen.places.pop_front();
        }
        Ok(())
    }

    fn name(&mut self, name: EntityName, entity: EntityId) {
        self.names
            .entry((name.slot, name.generation))
            .or_default()
            .push(entity);
    }

    /// All lanes have computed what they could.
    pub(super) fn end_step(&mut self, lanes: &[LaneNode], now: Tick, calm: bool) -> Checked {
        let mut present: BTreeMap<EntityId, LaneId> = BTreeMap::new();
        let mut outside = BTreeMap::new();
        for lane in lanes {
            let space = lane.core.space();
            for handle in space.handles() {
                let entity = space.id(handle).expect("a living one");
                let position = space.position(handle).expect("a living one");
                let partition = &lane.core.config().partition;
                let cell = partition.cell_of(lane.lane);
                let cell =
                    cell.ok_or_else(|| format!("lane {} has ended, and has entity {entity}", lane.lane))?;
                if !partition.is_near(cell, position, 2 * METRE as u32) {
                    let since = self.outside.get(&entity).copied().unwrap_or(now);
                    outside.insert(entity, since);
                }
                let other = present.insert(entity, lane.lane);
                demand!(
                    other.is_none(),
                    "entity {entity} is in lanes {other:?} and {} at once",
                    lane.lane
                );
            }
        }
        self.outside = outside;
        if self.gold.is_none() {
            self.gold = Some(gold(lanes).0);
        }
        if calm {
            for (entity, seen) in self.seen.iter().filter(|(_, seen)| seen.kind == "walker") {
                let (last, ..) = *seen.places.back().expect("it was seen");
                demand!(last == now, "nobody published entity {entity} in tick {now}");
            }
            self.calls.all_ran(now, lanes, &self.seen)?;
        }
        for (entity, seen) in &self.seen {
            let gone =
                !present.contains_key(entity) && seen.places.back().is_some_and(|(tick, ..)| *tick == now);
            let elsewhere = gone && seen.lane != seen.issuer_lane;
            self.names_freed += u64::from(elsewhere && seen.kind == "mayfly");
            self.departed_elsewhere += u64::from(elsewhere && seen.kind == "avatar");
        }
        Ok(())
    }

    /// A client tells something.
    pub(super) fn hear(
        &mut self,
        event: &ClientEvent,
        account: &str,
        connection: &mut Connection,
    ) -> Checked {
        let joined = connection.client.joined().map(|joined| joined.entity);
        let told = &mut connection.told;
        match event {
            ClientEvent::Enter { tick, subject, .. } => {
                demand!(
                    *tick >= told.tick,
                    "{account} is told of tick {tick} after {}",
                    told.tick
                );
                told.tick = *tick;
                demand!(
                    told.in_view.insert(*subject),
                    "{account} is told twice that {subject:?} enters"
                );
                self.enters += 1;
            }
            ClientEvent::Leave {
                tick,
                subject,
                reason,
                ..
            } => {
                demand!(
                    *tick >= told.tick,
                    "{account} is told of tick {tick} after {}",
                    told.tick
                );
                told.tick = *tick;
                demand!(
                    told.in_view.remove(subject),
                    "{account} is told that {subject:?} leaves, which never entered"
                );
                self.leaves += 1;
                let crowd = connection.client.view().is_crowd();
                let is_sure = tick.0 > self.stale_until && !(crowd && self.crossing);
                if let Some(own) = joined.filter(|_| is_sure) {
                    self.check_leave(account, own, *subject, *tick, (*reason, crowd))?;
                }
            }
            ClientEvent::Event { arguments, .. } => {
                let Some(Value::Int(number)) = arguments.first() else {
                    return Err(format!(
                        "{account} is told of an event without a number: {arguments:?}"
                    ));
                };
                demand!(
                    told.events.insert(*number),
                    "{account} is told twice of event {number}"
                );
            }
            ClientEvent::Corrected {
                tick,
                predicted,
                actual,
            } => {
                // A datagram may bring the place of an avatar that was restored before the stream brings its name.
                let joined = connection.client.joined();
                let is_known = joined.is_none_or(|joined| {
                    let seen = self.seen.get(&joined.entity);
                    let name = (joined.avatar.slot, joined.avatar.generation);
                    seen.is_none_or(|seen| (seen.name.slot, seen.name.generation) == name)
                });
                if !is_known {
                    return Ok(());
                }
                return Err(format!(
                    "{account} is honest, and corrected in tick {tick} from {predicted:?} to {actual:?}"
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// Who has been near all the time has not left.
    fn check_leave(
        &self,
        account: &str,
        own: EntityId,
        subject: SubjectRef,
        tick: Tick,
        (reason, crowd): (LeaveReason, bool),
    ) -> Checked {
        let named = self.names.get(&(subject.slot, subject.generation));
        let [entity] = named.map_or(&[][..], Vec::as_slice) else {
            return Ok(());
        };
        let (Some(seen), Some(observer)) = (self.seen.get(entity), self.seen.get(&own)) else {
            return Ok(());
        };
        // Another life of the same avatar has another name.
        if (seen.name.slot, seen.name.generation) != (subject.slot, subject.generation) {
            return Ok(());
        }
        let is_alive = seen.places.back().is_some_and(|(last, ..)| *last > tick);
        let at = |seen: &Seen, tick: Tick| {
            let before = seen.places.iter().rev().find(|(at, ..)| *at <= tick);
            before.copied()
        };
        let first = tick.0.saturating_sub(STAYED_TICKS);
        let stayed = (first..=tick.0).all(|tick| {
            let (Some((_, a, layers)), Some((_, b, _))) = (at(seen, Tick(tick)), at(observer, Tick(tick)))
            else {
                return false;
            };
            layers != 0 && distance(a, b) <= STAYED_SHARE * AVATAR_RADIUS_M
        });
        demand!(
            !(is_alive && stayed),
            "{account} is told in tick {tick} that {subject:?} leaves ({reason:?}, in a crowd: {crowd}): entity {entity} of lane {} is alive, and was near for {STAYED_TICKS} ticks",
            seen.lane
        );
        Ok(())
    }

    pub(super) fn count(&self, table: &mut CellsTable) {
        for (row, times) in [
            ("avatars handed off", self.avatars_handed_off),
            (
                "entities handed off to lanes that are no neighbours",
                self.strangers,
            ),
            ("entities that came home", self.came_home),
            ("names given back by another lane", self.names_freed),
            ("sessions that went with their avatar", self.went_with_avatar),
            ("avatars that departed elsewhere", self.departed_elsewhere),
            ("avatars restored", self.restored),
            ("commands run", self.ran.len() as u64),
            ("area calls", self.calls.count()),
            ("entities called by area", self.calls.called_count()),
            ("enters told", self.enters),
            ("leaves told", self.leaves),
        ] {
            table.add(row, times);
        }
    }
}

pub(super) fn distance(a: Pos, b: Pos) -> f64 {
    (a.to_metres() - b.to_metres()).length()
}

pub(super) fn value(lane: &Lane, handle: Handle, name: &str) -> Option<Value> {
    let space = lane.space();
    let index = space.kind(handle)?.property_index(name)?;
    space.property(handle, index).ok()
}

fn account_of(lane: &Lane, handle: Handle) -> Result<String, String> {
    match value(lane, handle, "name") {
        Some(Value::Text(name)) => Ok(name),
        other => Err(format!("an avatar is called {other:?}")),
    }
}

/// The gold of all who are no avatars, and of each avatar.
pub(super) fn gold(lanes: &[LaneNode]) -> (i64, Vec<i64>) {
    let (mut sum, mut avatars) = (0, Vec::new());
    for lane in lanes {
        let space = lane.core.space();
        for handle in space.handles() {
            let Some(Value::Int(gold)) = value(&lane.core, handle, "gold") else {
                continue;
            };
            let is_avatar = space.kind(handle).is_some_and(|kind| kind.spec().avatar);
            if is_avatar {
                avatars.push(gold);
            } else {
                sum += gold;
            }
        }
    }
    (sum, avatars)
}
