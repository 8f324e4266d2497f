//! The end: faults have stopped, the cluster has come to rest and is watched for a while by brute force over the
//! whole space. Then every client must know exactly whom the rule says, with equal properties and a recent state.

use super::nearness::{Name, Nearness, name_of};
use super::notes::{SentNotes, Way, epoch_of};
use super::told::Told;
use super::{Checked, demand};
use crate::truth::{History, Life, Snapshot};
use myriad_client::{Client, Subject, Tier};
use myriad_wire::track::Level;
use std::collections::{BTreeMap, BTreeSet};

/// Who is near to each player's avatar, by account, reckoned from the truth alone but for where it began.
#[derive(Debug, Default)]
pub(crate) struct Finale {
    near: BTreeMap<String, Nearness>,
}

/// How long a view may take to be told another way.
const CHANGE_TICKS: u64 = 60;
/// How much later than a period a track may have been told.
const SLACK_TICKS: u64 = 2;
/// So many ticks after its last state one who was near is one of the crowd.
const NEAR_TICKS: u64 = 4;
/// How old a near subject's properties may be: until its version is told, it is asked for, and asked for again, maybe
/// in vain because two questions came in one tick.
const SURE_TICKS: u64 = 80;
/// How old any properties may be: beyond 128 ticks without a version a client forgets them.
const UNSURE_TICKS: u64 = 160;

/// One player at the end.
#[derive(Clone, Copy)]
pub(crate) struct Proof<'a> {
    pub(crate) account: &'a str,
    pub(crate) client: &'a Client,
    pub(crate) told: &'a Told,
    pub(crate) notes: &'a SentNotes,
    pub(crate) honest: bool,
    /// Its gateway answers all that it asks in a tick.
    pub(crate) answers_all: bool,
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

    /// Everything of `now` has been told: nothing is missing, nothing is left over, nothing is old. Whether all of the
    /// view could be proven: not if it has just begun to be told another way.
    pub(crate) fn prove(
        &self,
        player: &Proof<'_>,
        now: &Snapshot,
        history: &History,
    ) -> Result<bool, String> {
        let Proof {
            account,
            client,
            notes,
            ..
        } = *player;
        let own = now
            .avatar_of(account)
            .ok_or_else(|| format!("{account} is online, its avatar is not in the world"))?;
        if player.honest {
            demand!(
                client.own_authoritative().map(|(_, position)| position) == Some(own.position),
                "{account} believes at last that it is at {:?}, it is at {:?}",
                client.own_authoritative(),
                own.position
            );
        }
        let (since, way) = notes.way(client.told_tick());
        match way {
            Way::Listed => self.prove_listed(player, own, now)?,
            Way::Crowd {
                epoch,
                complete: true,
            } => {
                demand!(
                    epoch == now.epoch,
                    "{account} is at last in a crowd of a lane that is gone"
                );
                prove_crowd(player, now, history)?;
            }
            Way::Listing | Way::Crowd { .. } => {
                demand!(
                    now.tick.since(since) <= CHANGE_TICKS,
                    "{account} has been told {way:?} since tick {since}, now it is tick {}",
                    now.tick
                );
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn prove_listed(&self, player: &Proof<'_>, own: &Life, now: &Snapshot) -> Checked {
        let Proof {
            account,
            client,
            notes,
            ..
        } = *player;
        let near = self
            .near
            .get(account)
            .ok_or_else(|| format!("{account} had not joined when the cluster should have come to rest"))?;
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
                held.entity() == Some(life.entity) && held.properties() == life.properties,
                "{account} knows at last entity {:?} with {:?}, it is {} with {:?}",
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
        Ok(())
    }
}

fn prove_crowd(player: &Proof<'_>, now: &Snapshot, history: &History) -> Checked {
    let Proof { account, client, .. } = *player;
    let period = client
        .joined()
        .map_or(1, |joined| u64::from(joined.rules.crowd_period));
    let told = client.told_tick();
    demand!(
        now.tick.since(told) <= period + SLACK_TICKS,
        "{account} was told its crowd last in tick {told}, now it is tick {}",
        now.tick
    );
    player
        .told
        .check_band(client, (now.epoch, told), player.notes, history)?;
    for held in client.view().iter() {
        let name = held.subject();
        if client.joined().is_some_and(|joined| joined.avatar == name) {
            // Where it is its own record says.
            continue;
        }
        let age = now.tick.since(held.state_tick());
        let oldest = match held.tier() {
            Tier::Listed(_) => Level::LAST.period_ticks(),
            Tier::Near => NEAR_TICKS,
            Tier::Crowd => period + SLACK_TICKS,
        };
        demand!(
            age <= oldest,
            "{account} has of {name:?} a state that is {age} ticks old as {:?}",
            held.tier()
        );
        let since = player.told.near_since(name);
        let is_sure = player.answers_all && since.is_some_and(|since| since + SURE_TICKS < now.tick);
        let known_ticks = if is_sure { SURE_TICKS } else { UNSURE_TICKS };
        let mut lately = history.between(now.epoch, now.tick - known_ticks, now.tick);
        demand!(
            held.entity().is_none() || lately.any(|then| is_known(&held, then)),
            "{account} knows at last {name:?} as {:?} with {:?}, it was none of that within {known_ticks} ticks",
            held.entity(),
            held.properties()
        );
    }
    Ok(())
}

/// What is known of somebody's identity was so.
fn is_known(held: &Subject<'_>, then: &Snapshot) -> bool {
    let name = held.subject();
    let life = then
        .lives
        .get(&name.slot)
        .filter(|life| life.generation == name.generation);
    life.is_some_and(|life| {
        Some(life.entity) == held.entity()
            && (held.properties().is_empty() || held.properties() == life.properties)
    })
}
