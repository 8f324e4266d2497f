//! Watches what one client tells: every enter once and every leave once, in the order of ticks, within a tick in the
//! order enter, properties, state, events, leave; nothing that is not the truth of its tick; nobody whom the client
//! must not see; and after each tick the view that the rule says.

use super::nearness::Nearness;
use super::sent::decoded;
use super::{Checked, demand};
use crate::truth::{History, Life, Snapshot};
use myriad_client::{Client, ClientEvent};
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, LaneEpoch, LaneHandle, SubjectRef, Tick, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What the client of one connection has told so far.
#[derive(Debug)]
pub(crate) struct Told {
    account: String,
    /// Whose enter was told and whose leave was not.
    view: BTreeMap<SubjectRef, Subject>,
    /// The view before the first event of `tick`.
    before: BTreeSet<SubjectRef>,
    tick: Tick,
    phase: Phase,
    /// The lane of the last event: its order within a tick is its own.
    lane: LaneHandle,
    /// How many of the frames noted are in `near`.
    frames: usize,
    near: Nearness,
    /// Numbers of the events told in `tick`.
    happened: BTreeSet<i64>,
    /// What was counted since it was last asked.
    pub(crate) counts: Counts,
}

/// How much was told, for the table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) enters: u64,
    pub(crate) changes: u64,
    pub(crate) events: u64,
    pub(crate) leaves: u64,
    pub(crate) states: u64,
    pub(crate) views: u64,
}

#[derive(Debug)]
struct Subject {
    entity: EntityId,
    /// As last told.
    properties: PropertyList,
    /// The tick of its newest state.
    state: Tick,
    /// States of earlier ticks come too late.
    floor: Tick,
    /// The number of the last event told of it.
    last_event: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Enters,
    Changes,
    Events,
    Leaves,
}

/// What the client's gateway has sent it: notes of the simulator, none of the client.
#[derive(Debug, Default)]
pub(crate) struct SentNotes {
    /// How many `Joined` were sent.
    pub(crate) joins: u32,
    /// Which lane the gateway means by a handle.
    pub(crate) lanes: BTreeMap<LaneHandle, LaneEpoch>,
    /// By tick: the `View` messages sent.
    pub(crate) views: BTreeMap<Tick, ViewNote>,
    /// The frames that the gateway took, one after the other.
    pub(crate) frames: Vec<FrameNote>,
}

/// One frame that the client's gateway took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameNote {
    pub(crate) epoch: LaneEpoch,
    pub(crate) tick: Tick,
    /// The client was told states of it, so its avatar was where this frame has it.
    pub(crate) told: bool,
}

/// One tick's `View` messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViewNote {
    pub(crate) epoch: LaneEpoch,
    /// The gateway has joined the session to its avatar at that lane.
    pub(crate) joined: bool,
    /// Its frame was of an earlier tick than was told already: of a new lane that is a little behind the one before.
    pub(crate) is_behind: bool,
    /// The view stood still since the message before: edges may be of the ticks between.
    pub(crate) catches_up: bool,
    /// Not all enters may have fitted into this message or the one before.
    pub(crate) crowded: bool,
}

impl Told {
    pub(crate) fn new(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            view: BTreeMap::new(),
            before: BTreeSet::new(),
            tick: Tick(0),
            phase: Phase::Enters,
            lane: LaneHandle(0),
            frames: 0,
            near: Nearness::default(),
            happened: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// The client has told `event`.
    pub(crate) fn hear(
        &mut self,
        event: &ClientEvent,
        client: &Client,
        notes: &SentNotes,
        history: &History,
    ) -> Checked {
        self.look(client, notes, history)?;
        match event {
            ClientEvent::Enter {
                tick,
                subject,
                entity,
                position,
                ..
            } => {
                let life = self.begin(*tick, Phase::Enters, *subject, notes, history)?;
                if let Some(life) = life {
                    demand!(
                        life.entity == *entity && life.position.to_wire().centre() == *position,
                        "{}: {subject:?} enters in tick {tick} as entity {entity} at {position:?}, it is {} at {:?}",
                        self.account,
                        life.entity,
                        life.position
                    );
                }
                let held = client.view().get(*subject);
                let entering = Subject {
                    entity: *entity,
                    properties: held.map(|held| held.properties().to_vec()).unwrap_or_default(),
                    state: *tick,
                    floor: *tick,
                    last_event: 0,
                };
                let twice = self.view.insert(*subject, entering);
                demand!(
                    twice.is_none(),
                    "{}: {subject:?} enters a view that it is in",
                    self.account
                );
                self.check_properties(*tick, *subject, client, life)?;
                self.counts.enters += 1;
            }
            ClientEvent::Change { tick, subject, .. } => {
                let life = self.begin(*tick, Phase::Changes, *subject, notes, history)?;
                let known = self.known(*subject, "changes")?;
                known.floor = known.floor.max(*tick);
                let held = client.view().get(*subject);
                known.properties = held.map(|held| held.properties().to_vec()).unwrap_or_default();
                self.check_properties(*tick, *subject, client, life)?;
                self.counts.changes += 1;
            }
            ClientEvent::Event {
                tick,
                subject,
                name,
                arguments,
            } => {
                if self
                    .begin(*tick, Phase::Events, *subject, notes, history)?
                    .is_some()
                {
                    let snapshot = history.demand(epoch_of(*subject, notes)?, *tick)?;
                    self.check_event(*tick, *subject, name, arguments, snapshot)?;
                }
                self.counts.events += 1;
            }
            ClientEvent::Leave {
                tick,
                subject,
                entity,
                ..
            } => {
                self.turn(*tick, Phase::Leaves, *subject, notes, history)?;
                let left = self.view.remove(subject);
                demand!(
                    left.as_ref().is_some_and(|left| left.entity == *entity),
                    "{}: {subject:?} leaves as entity {entity} a view that has {left:?}",
                    self.account
                );
                self.counts.leaves += 1;
            }
            ClientEvent::Joined
            | ClientEvent::Owner { .. }
            | ClientEvent::CommandResult { .. }
            | ClientEvent::Corrected { .. }
            | ClientEvent::Closed(_) => {}
        }
        demand!(
            self.view.len() == client.view().len(),
            "{}: {} subjects were told, the view has {}",
            self.account,
            self.view.len(),
            client.view().len()
        );
        Ok(())
    }

    /// Something is told of a subject that is alive in that tick, or ended in it, and that the client may see. `None`
    /// if it is told under the tick of another lane.
    fn begin<'a>(
        &mut self,
        tick: Tick,
        phase: Phase,
        subject: SubjectRef,
        notes: &SentNotes,
        history: &'a History,
    ) -> Result<Option<&'a Life>, String> {
        self.turn(tick, phase, subject, notes, history)?;
        if notes.views.get(&tick).is_some_and(|note| note.is_behind) {
            return Ok(None);
        }
        let snapshot = history.demand(epoch_of(subject, notes)?, tick)?;
        let life = snapshot.named(subject.slot, subject.generation).ok_or_else(|| {
            format!(
                "{} is told {phase:?} of {subject:?} in tick {tick}, who does not exist",
                self.account
            )
        })?;
        if let Some(own) = snapshot.avatar_of(&self.account) {
            demand!(
                own.meets(life),
                "{} is told {phase:?} of entity {} in tick {tick}, whose layers {:#b} its {:#b} does not meet",
                self.account,
                life.entity,
                life.layers,
                own.sees
            );
        }
        Ok(Some(life))
    }

    /// Ticks rise, and the phases within a tick.
    fn turn(
        &mut self,
        tick: Tick,
        phase: Phase,
        subject: SubjectRef,
        notes: &SentNotes,
        history: &History,
    ) -> Checked {
        demand!(
            tick >= self.tick,
            "{}: tick {tick} is told after tick {}",
            self.account,
            self.tick
        );
        if tick > self.tick {
            self.complete(notes, history)?;
            self.tick = tick;
            self.before = self.view.keys().copied().collect();
            self.happened.clear();
        } else {
            // Two views of one tick come only of two lanes.
            demand!(
                phase >= self.phase || subject.lane != self.lane,
                "{}: {phase:?} of tick {tick} are told after {:?}",
                self.account,
                self.phase
            );
        }
        self.phase = phase;
        self.lane = subject.lane;
        Ok(())
    }

    fn known(&mut self, subject: SubjectRef, does: &str) -> Result<&mut Subject, String> {
        let account = &self.account;
        self.view
            .get_mut(&subject)
            .ok_or_else(|| format!("{account}: {subject:?} {does}, but is not in view"))
    }

    fn check_properties(
        &self,
        tick: Tick,
        name: SubjectRef,
        client: &Client,
        life: Option<&Life>,
    ) -> Checked {
        let Some(life) = life else { return Ok(()) };
        let held = client.view().get(name);
        let properties = held.map(|held| held.properties());
        demand!(
            properties == Some(&life.properties),
            "{}: after tick {tick} entity {} has the properties {properties:?}, they are {:?}",
            self.account,
            life.entity,
            life.properties
        );
        Ok(())
    }

    fn check_event(
        &mut self,
        tick: Tick,
        name: SubjectRef,
        event: &str,
        arguments: &[Value],
        snapshot: &Snapshot,
    ) -> Checked {
        let is_it = |one: &crate::truth::Happening| {
            one.slot == name.slot && one.name == event && one.arguments == arguments
        };
        demand!(
            snapshot.happened.iter().any(is_it),
            "{} is told in tick {tick} that {name:?} did '{event}' {arguments:?}, which it did not",
            self.account
        );
        let number = number_of(arguments)?;
        let subject = self.known(name, "does something")?;
        let last = std::mem::replace(&mut subject.last_event, number);
        subject.floor = tick + 1;
        demand!(
            number > last,
            "{}: event {number} of {name:?} is told after its event {last}",
            self.account
        );
        self.happened.insert(number);
        Ok(())
    }

    /// All of the last tick has been told: the view is what the rule says.
    pub(crate) fn complete(&mut self, notes: &SentNotes, history: &History) -> Checked {
        let tick = self.tick;
        let entities: BTreeSet<EntityId> = self.view.values().map(|subject| subject.entity).collect();
        demand!(
            entities.len() == self.view.len(),
            "{}: an entity is in view twice after tick {tick}",
            self.account
        );
        let Some(note) = notes.views.get(&tick) else {
            return Ok(());
        };
        let snapshot = history.demand(note.epoch, tick)?;
        let Some(own) = snapshot
            .avatar_of(&self.account)
            .filter(|_| note.joined && !note.is_behind)
        else {
            return Ok(());
        };
        let waiting = &notes.frames[self.frames..];
        let is_it = |frame: &FrameNote| (frame.epoch, frame.tick, frame.told) == (note.epoch, tick, true);
        let last = waiting.iter().position(is_it).ok_or_else(|| {
            format!(
                "{} is told a view of tick {tick} and no states with it",
                self.account
            )
        })?;
        self.frames += last + 1;
        for frame in &waiting[..=last] {
            take_frame(&mut self.near, *frame, &self.account, history)?;
        }
        for (name, subject) in &self.view {
            let life = snapshot.lives.get(&name.slot);
            let life =
                life.filter(|life| life.entity == subject.entity && epoch_of(*name, notes) == Ok(note.epoch));
            demand!(
                life.is_some_and(|life| self.near.may_see(own, life)),
                "{}: after tick {tick} entity {} is in view, but {}",
                self.account,
                subject.entity,
                whereabouts(own, life)
            );
            let properties = life.map(|life| &life.properties);
            demand!(
                properties == Some(&subject.properties),
                "{}: after tick {tick} entity {} is known with {:?}, it has {properties:?}",
                self.account,
                subject.entity,
                subject.properties
            );
        }
        if !note.catches_up {
            self.check_edges(own, note, snapshot)?;
        }
        let names: BTreeSet<_> = self
            .view
            .keys()
            .map(|name| (name.slot, name.generation))
            .collect();
        self.near
            .settle(own, snapshot, |name| names.contains(name), note.crowded);
        self.counts.views += 1;
        Ok(())
    }

    /// Who is near after all frames that the gateway took, for all that is known.
    pub(crate) fn near(&self, notes: &SentNotes, history: &History) -> Result<Nearness, String> {
        let mut near = self.near.clone();
        for frame in &notes.frames[self.frames..] {
            take_frame(&mut near, *frame, &self.account, history)?;
        }
        Ok(near)
    }

    /// Who left went beyond the leave radius or out of sight, nobody who is near is missing, and nothing that happened
    /// to those who stayed was kept back. That nobody is in view who is not near was looked at before.
    fn check_edges(&self, own: &Life, note: &ViewNote, snapshot: &Snapshot) -> Checked {
        for life in snapshot.lives.values() {
            let is_it = |name: &SubjectRef| name.slot == life.slot && name.generation == life.generation;
            if self.view.keys().any(is_it) {
                continue;
            }
            let wrong = match self.before.iter().any(is_it) {
                // Who was in view was near.
                true if own.meets(life) && own.is_near(life, true) => "left",
                false if self.near.must_see(own, life) && !note.crowded => "is missing",
                _ => continue,
            };
            return Err(format!(
                "{}: in tick {} entity {} {wrong}, but {}",
                self.account,
                self.tick,
                life.entity,
                whereabouts(own, Some(life))
            ));
        }
        for one in &snapshot.happened {
            let stays = |name: &&SubjectRef| name.slot == one.slot && self.view.contains_key(name);
            let number = number_of(&one.arguments)?;
            demand!(
                !self.before.iter().any(|name| stays(&name)) || self.happened.contains(&number),
                "{} was not told in tick {} that slot {} in its view did '{}'",
                self.account,
                self.tick,
                one.slot,
                one.name
            );
        }
        Ok(())
    }

    /// Looks at every state that is new in the client's view.
    pub(crate) fn look(&mut self, client: &Client, notes: &SentNotes, history: &History) -> Checked {
        for held in client.view().iter() {
            let name = held.subject();
            let Some(subject) = self.view.get_mut(&name) else {
                // Its enter is the event being told.
                continue;
            };
            let tick = held.state_tick();
            if tick == subject.state {
                continue;
            }
            demand!(
                tick >= subject.floor && tick > subject.state,
                "{}: the state of tick {tick} is applied to entity {} after that of tick {}, and after something of it was told that comes before tick {}",
                self.account,
                subject.entity,
                subject.state,
                subject.floor
            );
            subject.state = tick;
            self.counts.states += 1;
            let level = held.level();
            let truth = history.demand(epoch_of(name, notes)?, tick)?;
            let life = truth.named(name.slot, name.generation);
            demand!(
                life.is_some_and(
                    |life| level.is_some_and(|level| decoded(life.position, level) == held.position())
                ),
                "{}: in tick {tick} entity {} is seen at {:?} ({level:?}), it is at {:?}",
                self.account,
                subject.entity,
                held.position(),
                life.map(|life| life.position)
            );
        }
        let counters = client.counters();
        demand!(
            counters.malformed == 0 && counters.contradictions == 0,
            "{}: its server told {} things that can't be, and {} that can't be read",
            self.account,
            counters.contradictions,
            counters.malformed
        );
        Ok(())
    }
}

/// The gateway of `account` has taken a frame.
fn take_frame(near: &mut Nearness, frame: FrameNote, account: &str, history: &History) -> Checked {
    let snapshot = history.demand(frame.epoch, frame.tick)?;
    match snapshot.avatar_of(account).filter(|_| frame.told) {
        Some(own) => near.step(own, snapshot),
        None => near.lose(),
    }
    Ok(())
}

/// Of which lane a subject is.
pub(crate) fn epoch_of(subject: SubjectRef, notes: &SentNotes) -> Result<LaneEpoch, String> {
    let epoch = notes.lanes.get(&subject.lane).copied();
    epoch.ok_or_else(|| format!("{subject:?} is of a lane that its gateway never named"))
}

/// Events of the simulator's game begin with a number of their own.
fn number_of(arguments: &[Value]) -> Result<i64, String> {
    match arguments.first() {
        Some(Value::Int(number)) => Ok(*number),
        Some(Value::Float(number)) => Ok(*number as i64),
        other => Err(format!("an event begins with {other:?}, not with its number")),
    }
}

fn whereabouts(own: &Life, life: Option<&Life>) -> String {
    match life {
        None => "is not alive".to_owned(),
        Some(life) => format!(
            "is {:.3} m away (enters at {:.3} m) on layers {:#b}, of which {:#b} are seen",
            own.distance(life),
            f64::from(own.radius_aoi) / 32.0,
            life.layers,
            own.sees
        ),
    }
}
