//! The end: faults have stopped, the cluster has come to rest and is watched for a while by brute force over the
//! whole space. Then every client must know exactly whom the rule says, with equal properties and a recent state.

use super::told::{SentNotes, Told, epoch_of};
use super::{Checked, demand};
use crate::truth::Snapshot;
use myriad_client::Client;
use myriad_wire::track::Level;
use myriad_wire::{Generation, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// Whom each player's avatar sees, by account, reckoned from the truth alone but for where it began.
#[derive(Debug, Default)]
pub(crate) struct Finale {
    views: BTreeMap<String, BTreeSet<(Slot, Generation)>>,
}

impl Finale {
    /// From here on it reckons for itself. What the client knows now decides only between the two radii.
    pub(crate) fn begin(&mut self, account: &str, told: &Told) {
        let known = told
            .view()
            .map(|(name, _)| (name.slot, name.generation))
            .collect();
        self.views.insert(account.to_owned(), known);
    }

    /// A tick was computed.
    pub(crate) fn step(&mut self, now: &Snapshot) {
        for (account, view) in &mut self.views {
            let Some(own) = now.avatar_of(account) else {
                continue;
            };
            let sees = |name: (Slot, Generation), life| own.sees(life, view.contains(&name));
            *view = now
                .lives
                .values()
                .map(|life| ((life.slot, life.generation), life))
                .filter(|(name, life)| sees(*name, life))
                .map(|(name, _)| name)
                .collect();
        }
    }

    /// Everything of `now` has been told: nothing is missing, nothing is left over, nothing is old.
    pub(crate) fn prove(
        &self,
        account: &str,
        client: &Client,
        notes: &SentNotes,
        honest: bool,
        now: &Snapshot,
    ) -> Checked {
        let expected = self
            .views
            .get(account)
            .ok_or_else(|| format!("{account} had not joined when the cluster should have come to rest"))?;
        let own = now
            .avatar_of(account)
            .ok_or_else(|| format!("{account} is online, its avatar is not in the world"))?;
        let view = client.view();
        let known: BTreeSet<_> = view
            .iter()
            .map(|held| (held.subject().slot, held.subject().generation))
            .collect();
        demand!(
            known == *expected && view.len() == expected.len(),
            "{account} sees at last {known:?}, brute force says {expected:?}"
        );
        for held in view.iter() {
            let name = held.subject();
            demand!(
                epoch_of(name, notes)? == now.epoch,
                "{account} sees at last {name:?} of a lane that is gone"
            );
            let life = &now.lives[&name.slot];
            demand!(
                held.entity() == life.entity && held.properties() == life.properties,
                "{account} knows at last entity {} with {:?}, it is {} with {:?}",
                held.entity(),
                held.properties(),
                life.entity,
                life.properties
            );
            let age = now.tick.since(held.state_tick());
            // One that has just entered may still wait for its turn.
            let oldest = held.level().unwrap_or(Level::LAST).period_ticks();
            demand!(
                age <= oldest,
                "{account} has of entity {} a state that is {age} ticks old at level {:?}",
                life.entity,
                held.level()
            );
        }
        if honest {
            demand!(
                client.own_authoritative().map(|(_, position)| position) == Some(own.position),
                "{account} believes at last that it is at {:?}, it is at {:?}",
                client.own_authoritative(),
                own.position
            );
        }
        Ok(())
    }
}
