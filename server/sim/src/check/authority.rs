//! Watches a lane: nobody moves but by the authority, no intent or command takes effect twice, no account has two
//! avatars, an avatar outlives its session by its grace period and no longer, slots rest.

use super::{Checked, demand};
use crate::book::Name;
use crate::truth::{Life, Snapshot};
use myriad_storage::SavedEntity;
use myriad_wire::fabric::{AttachedRoute, Route, RouteState};
use myriad_wire::limits::SLOT_REST_TICKS;
use myriad_wire::payload::Step;
use myriad_wire::{EntityId, Generation, LaneEpoch, Pos, SessionId, Slot, Tick, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Position units by which rounding may add to a movement.
const ROUNDING: f64 = 3.0;

/// What the players have done, as far as the lane's acts are checked against it.
pub(crate) trait Deeds {
    /// The steps that the client of a session took under this name of its avatar, the first one numbered 1.
    fn steps(&self, session: SessionId, avatar: Name) -> Option<&[Step]>;
    /// Whether the session's player keeps to the speed limit.
    fn is_honest(&self, session: SessionId) -> bool;
    /// Whether a player of this account has said goodbye lately.
    fn said_goodbye(&self, account: &str) -> bool;
}

/// The laws of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Laws {
    pub(crate) period_us: u64,
    pub(crate) grace_ticks: u64,
    pub(crate) burst_ms: u32,
    pub(crate) bounds_min: Pos,
    pub(crate) bounds_max: Pos,
}

/// What was noticed in a tick, for the table.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    pub(crate) grace_over: u64,
    pub(crate) restored: u64,
    pub(crate) reattached: u64,
    pub(crate) slots_reused: u64,
    pub(crate) crossed: u64,
    pub(crate) stepped: u64,
}

/// Watches one life of a lane.
#[derive(Debug)]
pub(crate) struct Authority {
    laws: Laws,
    epoch: LaneEpoch,
    last_tick: Tick,
    /// When the last life of a slot ended, and which it was.
    ended: BTreeMap<Slot, (Generation, Tick)>,
    avatars: BTreeMap<EntityId, AvatarWatch>,
    /// Avatars that are not in the world, as they were last seen or loaded.
    absent: BTreeMap<String, Absent>,
    sessions: BTreeMap<SessionId, SessionWatch>,
    /// The sessions of the last tick's routes, and how many the lane had attached by then.
    routed: BTreeSet<SessionId>,
    attached: u64,
}

#[derive(Debug)]
struct AvatarWatch {
    /// Since when it has been without a session: at the earliest, and at the latest.
    alone_since: Option<(Tick, Tick)>,
    /// What it may still move, in position units.
    allowance: f64,
}

#[derive(Clone, Debug)]
struct Absent {
    entity: EntityId,
    position: Pos,
    done: i64,
}

#[derive(Clone, Copy, Debug)]
struct SessionWatch {
    avatar: (Slot, Generation),
    applied: u32,
}

impl Authority {
    pub(crate) fn new(laws: Laws, epoch: LaneEpoch, last_tick: Tick) -> Self {
        Self {
            laws,
            epoch,
            last_tick,
            ended: BTreeMap::new(),
            avatars: BTreeMap::new(),
            absent: BTreeMap::new(),
            sessions: BTreeMap::new(),
            routed: BTreeSet::new(),
            attached: 0,
        }
    }

    /// Storage told the lane what it has of an account.
    pub(crate) fn loaded(&mut self, account: &str, saved: Option<&SavedEntity>) {
        if let Some(saved) = saved {
            let absent = Absent {
                entity: saved.entity,
                position: saved.position,
                done: done_of(saved),
            };
            self.absent.insert(account.to_owned(), absent);
        }
    }

    /// A tick was computed.
    pub(crate) fn check(
        &mut self,
        before: Option<&Snapshot>,
        now: &Snapshot,
        routes: &[Route],
        sessions_attached: u64,
        deeds: &impl Deeds,
    ) -> Result<Noticed, String> {
        let mut noticed = Noticed::default();
        demand!(
            now.tick > self.last_tick,
            "the lane computed tick {} after tick {}",
            now.tick,
            self.last_tick
        );
        let ticks = now.tick.since(self.last_tick);
        self.last_tick = now.tick;
        check_unique(now)?;
        self.check_slots(before, now, &mut noticed)?;
        let attached = self.check_routes(now, routes)?;
        self.note_unseen(attached.values().map(|(id, _)| *id).collect(), sessions_attached);
        for life in now.lives.values() {
            let earlier = before.and_then(|before| before.named(life.slot, life.generation));
            if let Some(earlier) = earlier {
                noticed.crossed += u64::from(earlier.layers != life.layers);
            }
            if let Some((account, done)) = &life.avatar {
                let session = attached.get(&life.slot).copied();
                self.check_avatar(account, *done, earlier, life, session, ticks, deeds, &mut noticed)?;
            } else if let Some(earlier) = earlier {
                self.check_walk(earlier, life)?;
            }
        }
        self.check_departures(now, deeds, &mut noticed)?;
        Ok(noticed)
    }

    fn check_slots(&mut self, before: Option<&Snapshot>, now: &Snapshot, noticed: &mut Noticed) -> Checked {
        for died in now.died.values() {
            self.ended.insert(died.slot, (died.generation, now.tick));
        }
        for life in now.lives.values() {
            let is_new = before.is_none_or(|before| before.named(life.slot, life.generation).is_none());
            let Some((generation, ended)) = self.ended.get(&life.slot).filter(|_| is_new) else {
                continue;
            };
            let rested = now.tick.since(*ended);
            demand!(
                rested >= SLOT_REST_TICKS && life.generation != *generation,
                "slot {} is given to entity {} as generation {} after a rest of {rested} ticks from generation {generation}",
                life.slot,
                life.entity,
                life.generation
            );
            noticed.slots_reused += 1;
        }
        Ok(())
    }

    /// A session that comes and goes within one tick is in no routes, and begins its avatar's grace period anew.
    fn note_unseen(&mut self, routed: BTreeSet<SessionId>, sessions_attached: u64) {
        let came = routed.difference(&self.routed).count() as u64;
        if sessions_attached - self.attached > came {
            let alone = self.avatars.values_mut();
            for (_, latest) in alone.filter_map(|watch| watch.alone_since.as_mut()) {
                *latest = self.last_tick;
            }
        }
        self.routed = routed;
        self.attached = sessions_attached;
    }

    /// Routes say where avatars truly are. Answers which slots have a session.
    fn check_routes<'a>(
        &mut self,
        now: &Snapshot,
        routes: &'a [Route],
    ) -> Result<BTreeMap<Slot, (SessionId, &'a AttachedRoute)>, String> {
        let mut attached = BTreeMap::new();
        for route in routes {
            let RouteState::Attached(state) = &route.state else {
                self.sessions.remove(&route.session);
                continue;
            };
            let named = state
                .avatar
                .map(|avatar| (avatar.name.slot, avatar.name.generation));
            let known = self.sessions.get(&route.session).map(|watch| watch.avatar);
            let Some(avatar) = named.or(known) else {
                return Err(format!(
                    "session {} is told of no avatar but its own record",
                    route.session
                ));
            };
            let life = now
                .lives
                .get(&avatar.0)
                .filter(|life| life.generation == avatar.1);
            let Some(life) = life else {
                return Err(format!(
                    "session {}'s avatar in slot {} is not alive",
                    route.session, avatar.0
                ));
            };
            demand!(
                life.position == state.own.position,
                "session {} is told that its avatar is at {:?}, it is at {:?}",
                route.session,
                state.own.position,
                life.position
            );
            let other = attached.insert(avatar.0, (route.session, &**state));
            demand!(
                other.is_none(),
                "two sessions steer the avatar in slot {} at once",
                avatar.0
            );
        }
        Ok(attached)
    }

    #[expect(clippy::too_many_arguments, reason = "one avatar's tick, from all sides")]
    fn check_avatar(
        &mut self,
        account: &str,
        done: i64,
        earlier: Option<&Life>,
        life: &Life,
        session: Option<(SessionId, &AttachedRoute)>,
        ticks: u64,
        deeds: &impl Deeds,
        noticed: &mut Noticed,
    ) -> Checked {
        let from = match earlier {
            Some(earlier) => earlier.position,
            None => match self.absent.remove(account) {
                Some(absent) => {
                    noticed.restored += 1;
                    demand!(
                        absent.entity == life.entity,
                        "account {account} had the avatar {}, now it has {}",
                        absent.entity,
                        life.entity
                    );
                    demand!(
                        done >= absent.done,
                        "account {account} had done {} commands when it went, {done} when it came back",
                        absent.done
                    );
                    absent.position
                }
                None => life.position,
            },
        };
        let burst = life.speed_max * f64::from(self.laws.burst_ms) / 1000.0;
        let last_tick = self.last_tick;
        let watch = self.avatars.entry(life.entity).or_insert(AvatarWatch {
            alone_since: None,
            allowance: burst,
        });
        if session.is_some() {
            noticed.reattached += u64::from(watch.alone_since.take().is_some());
        } else {
            let (_, latest) = *watch.alone_since.get_or_insert((last_tick, last_tick));
            demand!(
                last_tick.since(latest) < self.laws.grace_ticks,
                "the avatar of {account} is still in the world {} ticks after its session ended",
                last_tick.since(latest)
            );
        }
        let earned = life.speed_max * (self.laws.period_us * ticks) as f64 / 1e6;
        watch.allowance = (watch.allowance + earned).min(burst);
        let moved = length(from, life.position);
        let is_new_session = session.is_some_and(|(id, _)| !self.sessions.contains_key(&id));
        if is_new_session {
            watch.allowance = burst;
        }
        demand!(
            moved <= watch.allowance + ROUNDING,
            "the avatar of {account} went {moved:.0} units in a tick, {:.0} were allowed",
            watch.allowance
        );
        watch.allowance = (watch.allowance - moved).max(0.0);
        match session {
            Some((id, route)) => self.check_steps(account, from, life, id, route, deeds, noticed),
            None if life.position != from => Err(format!("the avatar of {account} moved without a session")),
            None => Ok(()),
        }
    }

    /// The avatar is where the steps of its client took it that were applied since the last tick, each once.
    #[expect(clippy::too_many_arguments, reason = "one avatar's steps, from all sides")]
    fn check_steps(
        &mut self,
        account: &str,
        from: Pos,
        life: &Life,
        session: SessionId,
        route: &AttachedRoute,
        deeds: &impl Deeds,
        noticed: &mut Noticed,
    ) -> Checked {
        let name = (life.slot, life.generation);
        let applied = route.own.intent_seq.0;
        let known = self.sessions.get(&session).filter(|watch| watch.avatar == name);
        // Nothing can have been applied under a name that was not told yet; the numbers may go on from another one.
        let before = known.map_or(applied, |watch| watch.applied);
        self.sessions.insert(
            session,
            SessionWatch {
                avatar: name,
                applied,
            },
        );
        demand!(
            applied >= before,
            "{account}: the last step applied for session {session} was {before}, now it is {applied}"
        );
        noticed.stepped += u64::from(applied - before);
        if !deeds.is_honest(session) {
            return Ok(());
        }
        if applied == before {
            demand!(
                life.position == from,
                "the avatar of {account} moved without a step"
            );
            return Ok(());
        }
        let taken = deeds
            .steps(session, (self.epoch, life.slot, life.generation))
            .unwrap_or_default();
        demand!(
            applied as usize <= taken.len(),
            "{account}: step {applied} is applied of session {session}, which took {}",
            taken.len()
        );
        let mut at = from;
        for step in &taken[before as usize..applied as usize] {
            at = self.stepped(at, *step);
        }
        demand!(
            at == life.position,
            "the avatar of {account} is at {:?}; steps {} to {applied} of session {session} ({:?}) lead from {from:?} to {at:?}",
            life.position,
            before + 1,
            &taken[before as usize..applied as usize]
        );
        Ok(())
    }

    fn stepped(&self, at: Pos, step: Step) -> Pos {
        let (low, high) = (self.laws.bounds_min, self.laws.bounds_max);
        Pos {
            x: (at.x + step.dx).clamp(low.x, high.x),
            y: at.y,
            z: (at.z + step.dz).clamp(low.z, high.z),
        }
    }

    fn check_walk(&self, earlier: &Life, life: &Life) -> Checked {
        let moved = length(earlier.position, life.position);
        let most = life.speed_max * self.laws.period_us as f64 / 1e6 + ROUNDING;
        demand!(
            moved <= most,
            "entity {} of kind {} went {moved:.0} units in a tick, {most:.0} are its speed",
            life.entity,
            life.kind
        );
        Ok(())
    }

    fn check_departures(&mut self, now: &Snapshot, deeds: &impl Deeds, noticed: &mut Noticed) -> Checked {
        for life in now.died.values() {
            let Some((account, done)) = &life.avatar else {
                continue;
            };
            let watch = self.avatars.remove(&life.entity);
            let alone = watch.and_then(|watch| watch.alone_since);
            let alone_ticks = alone.map_or(0, |(earliest, _)| now.tick.since(earliest));
            let is_over = alone_ticks >= self.laws.grace_ticks;
            demand!(
                is_over || deeds.said_goodbye(account),
                "the avatar of {account} left the world {alone_ticks} ticks after its session ended, without a goodbye"
            );
            noticed.grace_over += u64::from(is_over);
            let absent = Absent {
                entity: life.entity,
                position: life.position,
                done: *done,
            };
            self.absent.insert(account.clone(), absent);
            self.sessions
                .retain(|_, watch| watch.avatar != (life.slot, life.generation));
        }
        Ok(())
    }
}

/// What a lane wants saved is what was.
pub(crate) fn check_saved(
    saved: &SavedEntity,
    epoch: LaneEpoch,
    before: Option<&Snapshot>,
    now: &Snapshot,
) -> Checked {
    let account = saved.account.as_deref().unwrap_or("nobody");
    demand!(
        saved.epoch.era == epoch.0,
        "{account} is saved under era {}, the lane's epoch is {epoch}",
        saved.epoch.era
    );
    // One that departs is saved as it was before the tick in which it went, however late.
    let lives = now
        .find(saved.entity)
        .map(|life| (life.position, life.avatar.clone()));
    let Some((position, avatar)) = lives else {
        return Ok(());
    };
    let earlier = before.and_then(|before| before.find(saved.entity));
    let is_it = |position: Pos| position == saved.position;
    demand!(
        is_it(position) || earlier.is_some_and(|life| is_it(life.position)),
        "{account} is saved at {:?}, it is at {position:?}",
        saved.position
    );
    let done = avatar.map_or(0, |(_, done)| done);
    demand!(
        done_of(saved) <= done,
        "{account} is saved with {} commands done, it has done {done}",
        done_of(saved)
    );
    Ok(())
}

/// At the end, when storage is well: what it holds of an avatar is the present, but for one save interval.
pub(crate) fn check_durable(
    saved: Option<&SavedEntity>,
    account: &str,
    now: &Snapshot,
    interval_ticks: u64,
) -> Checked {
    let Some(saved) = saved else {
        return Err(format!("{account} is in the world, storage has nothing of it"));
    };
    let life = now.avatar_of(account);
    let done = life
        .and_then(|life| life.avatar.as_ref())
        .map_or(0, |(_, done)| *done);
    let is_it = life.is_some_and(|life| life.entity == saved.entity);
    let age = now.tick.since(saved.tick);
    demand!(
        is_it && saved.epoch.era == now.epoch.0 && done_of(saved) == done && age <= interval_ticks,
        "{account} is entity {:?} and has done {done} commands; storage has entity {} and {} from {age} ticks ago, under era {}",
        life.map(|life| life.entity),
        saved.entity,
        done_of(saved),
        saved.epoch.era
    );
    Ok(())
}

fn done_of(saved: &SavedEntity) -> i64 {
    let done = saved.properties.iter().find(|(name, _)| name == "done");
    match done {
        Some((_, Value::Int(done))) => *done,
        _ => 0,
    }
}

fn check_unique(now: &Snapshot) -> Checked {
    let mut entities = BTreeSet::new();
    let mut accounts = BTreeSet::new();
    for life in now.lives.values() {
        demand!(
            entities.insert(life.entity),
            "entity {} is in the world twice",
            life.entity
        );
        if let Some((account, _)) = &life.avatar {
            demand!(accounts.insert(account), "{account} has two avatars in the world");
        }
    }
    Ok(())
}

fn length(a: Pos, b: Pos) -> f64 {
    f64::from(a.x - b.x).hypot(f64::from(a.z - b.z))
}
