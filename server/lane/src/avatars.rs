//! Avatars and the sessions that steer them.
//!
//! An avatar belongs to an account and outlives its sessions: a lost client leaves it standing for the grace
//! period, a new login of the account takes it over. So there is one record per account, from the first wish to
//! load it until its last save is acknowledged; loading a stale copy meanwhile is impossible.

mod transfer;

use crate::config::{
    COMMANDS_QUEUED_MAX, ENDED_SESSIONS_REMEMBERED, INTENTS_QUEUED_MAX, REPLACED_REMEMBERED,
};
use crate::counters::Counters;
use crate::whereabouts::AvatarLife;
use myriad_storage::SavedEntity;
use myriad_wire::client::CommandResult;
use myriad_wire::fabric::{RouteState, SessionCommand, SessionIntents};
use myriad_wire::payload::Step;
use myriad_wire::{
    CloseReason, CommandSeq, GatewayId, IntentSeq, LaneId, Pos, SessionEpoch, SessionId, Tick,
};
use myriad_world::{Handle, MovementBudget};
use std::collections::{BTreeMap, VecDeque};

/// An account's avatar.
#[derive(Debug)]
pub(crate) struct Avatar {
    /// Where it is in its life.
    pub(crate) place: Place,
    /// Who it is, and its epoch; of nobody as long as storage is asked for it.
    pub(crate) life: AvatarLife,
    /// The session that steers it, if any.
    pub(crate) session: Option<Session>,
    /// The last session that was detached. Its gateway may only have been out of reach; if it asks again, the numbers
    /// go on, so that nothing is applied twice.
    pub(crate) detached: Option<Session>,
    /// The last sessions that newer ones replaced, oldest first: a gateway that has not heard so may ask for the avatar again,
    /// wherever that is by then.
    pub(crate) replaced: VecDeque<SessionId>,
    /// That of its last attachment.
    pub(crate) epoch: SessionEpoch,
    /// Since when it has been without a session.
    pub(crate) detached_since: Tick,
    /// The player said goodbye: it departs without the grace period.
    pub(crate) left: bool,
    /// What storage holds or has been asked to hold.
    pub(crate) saved: Saved,
}

/// Where an avatar is in its life.
#[derive(Debug)]
pub(crate) enum Place {
    /// Storage has been asked for it.
    Loading {
        /// The request.
        request: u64,
    },
    /// In the world.
    InWorld(Handle),
    /// Out of the world, its last save under way. A login brings it back from here.
    Departing {
        /// Its last state.
        last: Box<SavedEntity>,
        /// The save request, once storage had room for it.
        request: Option<u64>,
    },
}

/// What storage holds of an avatar, as far as the lane knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saved {
    /// The position last sent to storage; `None` if nothing was, or if it failed.
    pub(crate) position: Option<Pos>,
    /// A property that is saved has changed since.
    pub(crate) properties_changed: bool,
}

/// A session attached, or about to be attached, to an avatar.
#[derive(Debug)]
pub(crate) struct Session {
    /// Which.
    pub(crate) id: SessionId,
    /// Through which gateway.
    pub(crate) gateway: GatewayId,
    /// The gateway must be told who the avatar is, with all owner properties.
    pub(crate) announce: bool,
    /// The last intent that was applied.
    pub(crate) applied: IntentSeq,
    /// How often its intents were cut short.
    pub(crate) corrections: u32,
    /// What it may still move.
    pub(crate) budget: MovementBudget,
    /// The last command that was answered.
    pub(crate) answered: CommandSeq,
    /// Answers not yet told.
    pub(crate) results: Vec<CommandResult>,
    /// The session epoch in the lane that the avatar came from, until the gateway speaks under the present one.
    former: Option<SessionEpoch>,
    intents: VecDeque<(IntentSeq, Step)>,
    commands: VecDeque<SessionCommand>,
    newest_intent: IntentSeq,
    newest_command: CommandSeq,
}

impl Avatar {
    fn note_replaced(&mut self, session: SessionId) {
        if self.replaced.len() >= REPLACED_REMEMBERED {
            self.replaced.pop_front();
        }
        self.replaced.push_back(session);
    }
}

impl Session {
    pub(crate) fn new(id: SessionId, gateway: GatewayId, budget: MovementBudget) -> Self {
        Self {
            id,
            gateway,
            announce: true,
            applied: IntentSeq(0),
            corrections: 0,
            budget,
            answered: CommandSeq(0),
            results: Vec::new(),
            former: None,
            intents: VecDeque::new(),
            commands: VecDeque::new(),
            newest_intent: IntentSeq(0),
            newest_command: CommandSeq(0),
        }
    }

    /// Attached again after its gateway was out of reach. What was taken and not applied comes again.
    fn resume(&mut self, gateway: GatewayId) {
        self.gateway = gateway;
        self.announce = true;
        self.intents.clear();
        self.newest_intent = self.applied;
        self.commands.clear();
        self.newest_command = self.answered;
        self.results.clear();
    }

    /// Queues those intents that have not been seen before.
    pub(crate) fn queue_intents(&mut self, arrived: &SessionIntents, counters: &mut Counters) {
        self.former = None;
        self.queue(arrived, counters);
    }

    /// Queues intents that the gateway sent before it had heard that the avatar is here, if they go on where the last one
    /// ended. Others may have come too early and were dropped: the gateway sends them again.
    pub(crate) fn queue_early_intents(&mut self, arrived: &SessionIntents, counters: &mut Counters) {
        let goes_on =
            u64::from(arrived.newest.0) <= u64::from(self.newest_intent.0) + arrived.steps.len() as u64;
        if goes_on {
            self.queue(arrived, counters);
        } else {
            counters.repeated += arrived.steps.len() as u64;
        }
    }

    fn queue(&mut self, arrived: &SessionIntents, counters: &mut Counters) {
        let count = arrived.steps.len() as u32;
        let Some(first) = (arrived.newest.0 + 1)
            .checked_sub(count)
            .filter(|first| *first > 0)
        else {
            counters.malformed += 1;
            return;
        };
        for (seq, step) in (first..).zip(&arrived.steps) {
            if seq <= self.newest_intent.0 {
                counters.repeated += 1;
                continue;
            }
            counters.intents_missing += u64::from(seq - self.newest_intent.0 - 1);
            self.newest_intent = IntentSeq(seq);
            if self.intents.len() >= INTENTS_QUEUED_MAX {
                counters.intents_dropped += 1;
                continue;
            }
            self.intents.push_back((IntentSeq(seq), *step));
        }
    }

    /// The next intent to apply.
    pub(crate) fn next_intent(&mut self) -> Option<(IntentSeq, Step)> {
        self.intents.pop_front()
    }

    /// Queues a command that has not been seen before.
    pub(crate) fn queue_command(&mut self, command: SessionCommand, counters: &mut Counters) {
        if command.seq <= self.newest_command {
            counters.repeated += 1;
            return;
        }
        self.newest_command = command.seq;
        if self.commands.len() >= COMMANDS_QUEUED_MAX {
            self.answer(command.seq, Some("too many commands at once".into()), counters);
            return;
        }
        self.commands.push_back(command);
    }

    /// The next command to run.
    pub(crate) fn next_command(&mut self) -> Option<SessionCommand> {
        self.commands.pop_front()
    }

    /// Answers a command.
    pub(crate) fn answer(&mut self, seq: CommandSeq, refused: Option<String>, counters: &mut Counters) {
        if refused.is_some() {
            counters.commands_refused += 1;
        } else {
            counters.commands_accepted += 1;
        }
        self.answered = self.answered.max(seq);
        self.results.push(CommandResult { seq, refused });
    }
}

/// All avatars, in the order of their account names, so that every run is alike.
#[derive(Debug, Default)]
pub(crate) struct Avatars {
    by_account: BTreeMap<String, Avatar>,
    accounts: BTreeMap<SessionId, String>,
    /// The last one given. Rises with every attachment of any avatar, so that what was meant for one that has
    /// departed is not taken for the next.
    last_epoch: SessionEpoch,
    /// Sessions that this lane has no more, or never had, since the last routes: for their gateways.
    dismissed: Vec<(GatewayId, SessionId, RouteState)>,
    /// The last sessions that this lane ended, oldest first.
    remembered: VecDeque<(SessionId, CloseReason)>,
}

impl Avatars {
    /// The record of `account`.
    pub(crate) fn get_mut(&mut self, account: &str) -> Option<&mut Avatar> {
        self.by_account.get_mut(account)
    }

    /// All records, by account.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Avatar)> {
        self.by_account.iter()
    }

    /// All records, by account.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Avatar)> {
        self.by_account.iter_mut()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    /// Number of sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.accounts.len()
    }

    /// The session's avatar, if the session is its present one and carries its present epoch.
    pub(crate) fn steered_by(&mut self, session: SessionId, epoch: SessionEpoch) -> Option<&mut Session> {
        let avatar = self.by_account.get_mut(self.accounts.get(&session)?)?;
        if avatar.epoch == epoch {
            avatar.session.as_mut()
        } else {
            None
        }
    }

    /// The session, if it came from another lane and carries the epoch that it had there: its gateway has not heard yet
    /// that its avatar is here.
    pub(crate) fn steered_before(&mut self, session: SessionId, epoch: SessionEpoch) -> Option<&mut Session> {
        let avatar = self.by_account.get_mut(self.accounts.get(&session)?)?;
        let session = avatar.session.as_mut()?;
        (session.former == Some(epoch)).then_some(session)
    }

    /// Makes a record for an account that has none.
    pub(crate) fn insert_loading(&mut self, account: &str, request: u64, now: Tick) -> &mut Avatar {
        let fresh = Avatar {
            place: Place::Loading { request },
            life: AvatarLife::default(),
            session: None,
            detached: None,
            replaced: VecDeque::new(),
            epoch: SessionEpoch(0),
            detached_since: now,
            left: false,
            saved: Saved::default(),
        };
        let replaced = self.by_account.insert(account.to_owned(), fresh);
        assert!(replaced.is_none(), "one record per account");
        self.by_account.get_mut(account).expect("just inserted")
    }

    /// Attaches `session` to the record of `account`, ending the session that it had. If it was detached before, it
    /// goes on where it was.
    pub(crate) fn attach(&mut self, account: &str, session: Session) {
        let avatar = self
            .by_account
            .get_mut(account)
            .expect("attached to a record that exists");
        self.last_epoch = SessionEpoch(self.last_epoch.0 + 1);
        avatar.epoch = self.last_epoch;
        avatar.left = false;
        let detached = avatar.detached.take();
        let session = match detached {
            Some(mut detached) if detached.id == session.id => {
                detached.resume(session.gateway);
                detached
            }
            Some(other) => {
                // Its gateway may come back and name it, but this login is the newer one.
                avatar.note_replaced(other.id);
                session
            }
            None => session,
        };
        self.accounts.insert(session.id, account.to_owned());
        let avatar = self.by_account.get_mut(account).expect("found above");
        if let Some(old) = avatar.session.replace(session) {
            avatar.note_replaced(old.id);
            self.end(&old, CloseReason::Replaced);
        }
    }

    /// Detaches a session without telling its gateway, which asked for it or is gone. Answers whether it was attached.
    pub(crate) fn detach(&mut self, session: SessionId, left: bool, now: Tick) -> bool {
        let Some(account) = self.accounts.remove(&session) else {
            return false;
        };
        let avatar = self
            .by_account
            .get_mut(&account)
            .expect("a session's account has a record");
        avatar.detached = avatar.session.take();
        avatar.detached_since = now;
        avatar.left = left;
        true
    }

    /// The sessions that come through `gateway`.
    pub(crate) fn sessions_of(&self, gateway: GatewayId) -> Vec<SessionId> {
        self.by_account
            .values()
            .filter_map(|avatar| avatar.session.as_ref())
            .filter(|session| session.gateway == gateway)
            .map(|session| session.id)
            .collect()
    }

    /// Whether this session is attached or about to be.
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        self.accounts.contains_key(&session)
    }

    /// Asks for the announcement of a session that its gateway names again.
    pub(crate) fn announce_again(&mut self, session: SessionId) {
        let avatar = self
            .accounts
            .get(&session)
            .and_then(|account| self.by_account.get_mut(account));
        if let Some(session) = avatar.and_then(|avatar| avatar.session.as_mut()) {
            session.announce = true;
        }
    }

    /// Removes a record; its session, if it has one, ends for `reason`. Answers who the avatar was.
    pub(crate) fn remove(&mut self, account: &str, reason: CloseReason) -> AvatarLife {
        let Some(avatar) = self.by_account.remove(account) else {
            return AvatarLife::default();
        };
        if let Some(session) = avatar.session {
            self.end(&session, reason);
        }
        avatar.life
    }

    fn end(&mut self, session: &Session, reason: CloseReason) {
        self.accounts.remove(&session.id);
        let state = RouteState::Ended(reason);
        self.dismissed.push((session.gateway, session.id, state));
        self.remember(session.id, reason);
    }

    fn remember(&mut self, session: SessionId, reason: CloseReason) {
        if self.remembered.len() >= ENDED_SESSIONS_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back((session, reason));
    }

    /// Why the session of `account` was ended, if that was not long ago: by this lane, or by one that had the avatar before.
    pub(crate) fn ended_before(&self, account: &str, session: SessionId) -> Option<CloseReason> {
        let avatar = self.by_account.get(account);
        if avatar.is_some_and(|avatar| avatar.replaced.contains(&session)) {
            return Some(CloseReason::Replaced);
        }
        self.remembered
            .iter()
            .find(|(ended, _)| *ended == session)
            .map(|(_, reason)| *reason)
    }

    /// Tells `gateway` that a session which never was attached is over.
    pub(crate) fn refuse(&mut self, gateway: GatewayId, session: SessionId, reason: CloseReason) {
        self.dismissed.push((gateway, session, RouteState::Ended(reason)));
    }

    /// Tells `gateway` that the avatar of a session is to be looked for at another lane.
    pub(crate) fn redirect(&mut self, gateway: GatewayId, session: SessionId, to: LaneId) {
        self.dismissed.push((gateway, session, RouteState::Elsewhere(to)));
    }

    /// The sessions that were dismissed since the last call, in that order.
    pub(crate) fn take_dismissed(&mut self) -> Vec<(GatewayId, SessionId, RouteState)> {
        std::mem::take(&mut self.dismissed)
    }

    /// Whether the avatar of `account` is here: in the world, or on its way from or to storage.
    pub(crate) fn is_here(&self, account: &str) -> bool {
        self.by_account.contains_key(account)
    }

    /// The avatar of `account` goes to another lane, with its sessions.
    ///
    /// # Panics
    /// If it has no record.
    pub(crate) fn take_out(&mut self, account: &str) -> Avatar {
        let avatar = self.by_account.remove(account).expect("only who is here goes");
        if let Some(session) = &avatar.session {
            self.accounts.remove(&session.id);
        }
        avatar
    }

    /// The avatar of `account` comes from another lane, with its sessions. It gets another session epoch: what was sent
    /// under the one before may be lost, so the gateway is to send again what is not known to be applied.
    ///
    /// # Panics
    /// If it has a record: it would be in two lanes.
    pub(crate) fn put_in(&mut self, account: &str, mut avatar: Avatar) {
        let former = avatar.epoch;
        self.last_epoch = SessionEpoch(self.last_epoch.max(former).0 + 1);
        avatar.epoch = self.last_epoch;
        if let Some(session) = &mut avatar.session {
            session.former = Some(former);
            self.accounts.insert(session.id, account.to_owned());
        }
        let before = self.by_account.insert(account.to_owned(), avatar);
        assert!(
            before.is_none(),
            "the avatar of {account:?} is in one lane at a time"
        );
    }
}
