//! What a client tells in a crowd, or while it changes between the two ways: enters that name nobody, identities, and the
//! view once a tick has been told whole.

use super::{Subject, Told};
use crate::check::notes::{SentNotes, Way, epoch_of};
use crate::check::sent::decoded;
use crate::check::{Checked, demand};
use crate::truth::{History, Life};
use myriad_client::{Client, Subject as Held, Tier};
use myriad_wire::crowd::{cell_of, middle_of};
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, KindId, LaneEpoch, Pos, SubjectRef, Tick};

impl Told {
    /// All that has arrived was told.
    pub(crate) fn settle(&mut self, client: &Client, notes: &SentNotes, history: &History) -> Checked {
        self.look(client, notes, history)?;
        let tick = client.told_tick();
        if tick == self.settled && !self.heard {
            return Ok(());
        }
        (self.settled, self.heard) = (tick, false);
        match notes.way(tick) {
            (since, Way::Listed) if since < tick => {
                for (name, subject) in &mut self.view {
                    let held = client.view().get(*name).filter(|_| subject.properties.is_none());
                    subject.properties = held
                        .map(|held| held.properties().to_vec())
                        .or(subject.properties.take());
                }
                self.check_balance(client)
            }
            (_, Way::Listed | Way::Listing) => Ok(()),
            (_, Way::Crowd { epoch, complete }) => {
                self.check_balance(client)?;
                let period = client
                    .joined()
                    .map_or(1, |joined| u64::from(joined.rules.crowd_period));
                let at = client.own_authoritative().map(|(_, position)| position);
                self.band.note(tick, at.unwrap_or_default(), 2 * period);
                if complete && self.band.is_due(tick, period) {
                    self.check_band(client, (epoch, tick), notes, history)?;
                    self.counts.bands += 1;
                }
                Ok(())
            }
        }
    }

    /// The view as of this tick of that lane is what the rule says, within the band.
    pub(crate) fn check_band(
        &self,
        client: &Client,
        (epoch, tick): (LaneEpoch, Tick),
        notes: &SentNotes,
        history: &History,
    ) -> Checked {
        let period = client
            .joined()
            .map_or(1, |joined| u64::from(joined.rules.crowd_period));
        let deferred = notes.deferred + 2 * period >= tick;
        for held in client.view().iter() {
            demand!(
                epoch_of(held.subject(), notes)? == epoch,
                "{} sees in tick {tick} {:?} of a lane that is gone",
                self.account,
                held.subject()
            );
        }
        self.band
            .check(&self.account, client, (epoch, tick), deferred, history)
    }

    /// Whoever was told to enter and not to leave is in view, and nobody else.
    pub(super) fn check_balance(&self, client: &Client) -> Checked {
        let view = client.view();
        demand!(
            self.view.len() == view.len() && view.iter().all(|held| self.view.contains_key(&held.subject())),
            "{}: {} subjects were told, the view has {}",
            self.account,
            self.view.len(),
            view.len()
        );
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "an enter, from all sides")]
    pub(super) fn enter(
        &mut self,
        tick: Tick,
        name: SubjectRef,
        (entity, kind, position): (Option<EntityId>, KindId, Pos),
        life: Option<&Life>,
        client: &Client,
        notes: &SentNotes,
        history: &History,
    ) -> Checked {
        let held = client.view().get(name);
        let is_listed = held.is_none_or(|held| is_listed(held.tier()));
        let state = match told_by_track(client, name) {
            Some(state) if !is_listed => state,
            _ => tick,
        };
        if let Some(life) = life {
            let truth = history.demand(epoch_of(name, notes)?, state)?;
            let there = truth.named(name.slot, name.generation).map(|life| life.position);
            let expected = there.map(|there| match is_listed {
                true => there.to_wire().centre(),
                false => middle_of(cell_of(there)),
            });
            demand!(
                entity.is_none_or(|entity| entity == life.entity)
                    && kind == life.kind
                    && expected == Some(position),
                "{}: {name:?} enters in tick {tick} as entity {entity:?} at {position:?}, it is {} and was at {there:?} in tick {state}",
                self.account,
                life.entity
            );
        }
        let entity = life.map(|life| life.entity).or(entity);
        let entering = Subject {
            entity: entity.ok_or_else(|| format!("{name:?} enters as nobody"))?,
            properties: held.map(|held| held.properties().to_vec()),
            state: tick,
            is_listed,
            near_since: None,
            floor: if is_listed { tick } else { Tick(0) },
            last_event: 0,
        };
        let twice = self.view.insert(name, entering);
        demand!(
            twice.is_none(),
            "{}: {name:?} enters a view that it is in",
            self.account
        );
        if is_listed {
            self.check_properties(tick, name, client, life)?;
        }
        self.counts.enters += 1;
        Ok(())
    }

    /// A client is told who somebody in its view is.
    pub(super) fn identify(
        &mut self,
        tick: Tick,
        name: SubjectRef,
        (entity, properties): (EntityId, &PropertyList),
        notes: &SentNotes,
        history: &History,
    ) -> Checked {
        self.reach(tick, notes, history)?;
        let account = self.account.clone();
        let subject = self.known(name, "is identified")?;
        subject.properties = Some(properties.clone());
        let known = subject.entity;
        if !notes.behind.contains(&tick) {
            let truth = history.demand(epoch_of(name, notes)?, tick)?;
            let life = truth.named(name.slot, name.generation);
            let own = truth.avatar_of(&account);
            demand!(
                life.is_some_and(|life| life.entity == entity && life.properties == *properties),
                "{account} is told in tick {tick} that {name:?} is {entity} with {properties:?}, it is {life:?}"
            );
            demand!(
                own.zip(life).is_none_or(|(own, life)| own.meets(life)),
                "{account} is told who entity {entity} is in tick {tick}, whose layers it does not meet"
            );
        }
        demand!(
            known == entity,
            "{account}: {name:?} is told to be entity {entity}, it entered as {known}"
        );
        self.counts.identities += 1;
        Ok(())
    }

    /// Since when near states of somebody in a crowd have come.
    pub(crate) fn near_since(&self, name: SubjectRef) -> Option<Tick> {
        self.view.get(&name)?.near_since
    }
}

pub(super) fn is_listed(tier: Tier) -> bool {
    matches!(tier, Tier::Listed(_))
}

/// Where one who is at `position` is said to be.
pub(super) fn seen_at(held: &Held<'_>, position: Pos) -> Pos {
    match (held.tier(), held.level()) {
        (Tier::Crowd, _) => middle_of(cell_of(position)),
        (_, Some(level)) => decoded(position, level),
        (_, None) => position.to_wire().centre(),
    }
}

/// The tick of the newest cell that a track tells of somebody in view.
fn told_by_track(client: &Client, name: SubjectRef) -> Option<Tick> {
    let mut tracks = client.view().tracks().filter(|track| track.lane() == name.lane);
    tracks.find_map(|track| {
        let place = track.state().track().place(name.slot)?;
        let is_it = track.state().track().names()[place].generation == name.generation;
        (is_it && track.in_view().contains(place)).then(|| track.state().state_tick(place))
    })
}
