//! The end: faults have stopped, the cluster has come to rest and is watched for a while by brute force over the
//! whole space. Then every client must know exactly whom the rule says, with equal properties and a recent state.

use super::nearness::{Name, Nearness, name_of};
use super::told::{SentNotes, epoch_of};
use super::{Checked, demand};
use crate::truth::{Life, Snapshot};
use myriad_client::Client;
use myriad_wire::track::Level;
use std::collections::{BTreeMap, BTreeSet};

/// Who is near to each player's avatar, by account, reckoned from the truth alone but for where it began.
#[derive(Debug, Default)]
pub(crate) struct Finale {
    near: BTreeMap<String, Nearness>,
}

impl Finale {
    /// From here on it reckons for itself. What is known now decides only between the two radii.
    pub(crate) fn begin(&mut self, account: &str, near: Nearness) {
        self.near.insert(account.to_owned(), near);
    }

    /// A tick was computed.
    pub(crate) fn step(&mut self, now: &Snapshot) {
        for (account, near) in &mut self.near {
            if let Some(own) = now.avatar_of(account) {
                near.step(own, now);
            }
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
        let near = self
            .near
            .get(account)
            .ok_or_else(|| format!("{account} had not joined when the cluster should have come to rest"))?;
        let own = now
            .avatar_of(account)
            .ok_or_else(|| format!("{account} is online, its avatar is not in the world"))?;
        let view = client.view();
        let known: BTreeSet<Name> = view
            .iter()
            .map(|held| (held.subject().slot, held.subject().generation))
            .collect();
        let those = |which: &dyn Fn(&Life) -> bool| -> BTreeSet<Name> {
            now.lives
                .values()
                .filter(|life| which(life))
                .map(name_of)
                .collect()
        };
        // Who may be seen and need not has hovered between the two radii, hidden, ever since the observer was placed.
        let (must, may) = (
            those(&|life| near.must_see(own, life)),
            those(&|life| near.may_see(own, life)),
        );
        demand!(
            known.is_superset(&must) && known.is_subset(&may) && view.len() == known.len(),
            "{account} sees at last {known:?}, brute force says {must:?}, {may:?} at most"
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
