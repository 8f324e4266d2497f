//! What a session has in the world: its avatar at a lane, the intents and commands on their way there, and the
//! answers on their way back.
//!
//! A lane may be restarted or lose its sessions; the presence outlives that. It is attached anew, and unanswered
//! commands go out again. If the avatar has another name on the wire by then the client is told so by another
//! `Joined`, and what was sent is not sent again: a command takes effect at most once.
//!
//! The avatar may be handed off to another lane: then the presence moves there, and all else goes on. What was sent to
//! the old lane the new one has with the avatar, or takes no second time when it is sent again, by its number.
//! It does not know what the client sees; read [`crate::view`] for that.

use crate::counters::Counters;
use myriad_wire::client::{Command, CommandResult};
use myriad_wire::fabric::{AttachedRoute, Avatar, Report, SessionCommand, SessionIntents};
use myriad_wire::payload::{Intents, OwnRecord};
use myriad_wire::value::PropertyList;
use myriad_wire::{CloseReason, CommandSeq, EntityName, IntentSeq, SessionId, SubjectRef, Tick};
use std::collections::VecDeque;

/// Most commands of a session without an answer; one more is refused.
const COMMANDS_OPEN_MAX: usize = 32;
/// Most answers that wait for a client to read; one more, and it is closed as `Flood`.
const RESULTS_HELD_MAX: usize = 256;

/// Former names of an avatar that are remembered: more never come while one intent is under way.
const FORMER_MAX: usize = 8;

/// What a client is told of a command whose answer did not come.
const ANSWER_LOST: &str = "the answer was lost; the command may have had its effect";

/// A session's presence in its lane.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// Number of the lane that has the avatar, or is asked for it.
    pub(crate) lane: usize,
    /// `None` until the lane says it is attached, and again when the lane has a new epoch.
    avatar: Option<Avatar>,
    /// By which name the client knows its avatar, by the last `Joined`. `None`: it must be sent one.
    told: Option<Told>,
    /// By which names it knew its avatar before, the oldest first: intents may still be under way under these.
    former: VecDeque<SubjectRef>,
    /// The tick of the gateway in which it was sent elsewhere last.
    sent_elsewhere_at: u64,
    /// Intents of a client that has seen no payload of this tick are numbered as before its last `Joined`.
    rejoined: Tick,
    own: OwnRecord,
    /// The tick of the gateway in which `own` came.
    own_at: u64,
    /// The last intent passed on to the lane.
    forwarded: IntentSeq,
    /// The last command taken from the client.
    taken: CommandSeq,
    /// Taken and unanswered, ascending.
    commands: VecDeque<OpenCommand>,
    /// For the client, as soon as it reads.
    results: Vec<CommandResult>,
    /// For the client, as soon as it reads: ascending by number.
    owner: PropertyList,
}

/// A name of the avatar.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// As lanes call it.
    name: EntityName,
    /// As the client calls it.
    subject: SubjectRef,
}

#[derive(Debug)]
struct OpenCommand {
    command: Command,
    /// It is on its way to the lane.
    sent: bool,
    /// It has been on its way before, so it may have had its effect.
    tried: bool,
}

impl Presence {
    /// A presence that is to be had in lane number `lane`.
    pub(crate) fn new(lane: usize) -> Self {
        Self {
            lane,
            ..Self::default()
        }
    }

    /// The avatar, while attached.
    pub(crate) fn avatar(&self) -> Option<&Avatar> {
        self.avatar.as_ref()
    }

    /// The own record, if it came in tick `now` of the gateway.
    pub(crate) fn own(&self, now: u64) -> Option<OwnRecord> {
        (self.own_at == now).then_some(self.own)
    }

    /// By which name the client knows its avatar, if it does.
    pub(crate) fn told(&self) -> Option<SubjectRef> {
        Some(self.told?.subject)
    }

    /// Clients call the avatar by this name. It is another one than before only if nobody by a name of the same issuer
    /// was known for a while.
    pub(crate) fn confirm(&mut self, subject: SubjectRef) {
        if self.told.is_some_and(|told| told.subject != subject) {
            self.rename();
        }
    }

    /// The client is being told that its avatar is called `subject`, in `tick`. Answers the last intent applied.
    pub(crate) fn tell(&mut self, subject: SubjectRef, tick: Tick) -> IntentSeq {
        let avatar = self.avatar.as_ref().expect("who has none is told none");
        assert!(self.told.is_none(), "a client is told its avatar once");
        let name = avatar.name;
        self.told = Some(Told { name, subject });
        self.forwarded = self.own.intent_seq;
        if !self.former.is_empty() {
            self.rejoined = tick;
        }
        self.own.intent_seq
    }

    /// The lane has forgotten this session, and will be asked to attach it again.
    pub(crate) fn detach(&mut self) {
        self.avatar = None;
    }

    /// Another lane has the avatar from now on, or is to be asked for it.
    pub(crate) fn move_to(&mut self, lane: usize) {
        self.lane = lane;
    }

    /// The lane says that another has the avatar, in tick `now` of the gateway. Answers whether that one is to be asked:
    /// at most once in a tick, or two lanes that do not know better could send it to and fro.
    pub(crate) fn send_elsewhere(&mut self, lane: usize, now: u64) -> bool {
        let first = self.sent_elsewhere_at != now;
        if first {
            self.sent_elsewhere_at = now;
            self.detach();
            self.move_to(lane);
        }
        first
    }

    /// Whether what another lane announces is this presence's avatar, after a later hand-off than is known here.
    pub(crate) fn is_outdated_by(&self, announced: &Avatar) -> bool {
        self.avatar
            .is_none_or(|avatar| avatar.name == announced.name && avatar.hop < announced.hop)
    }

    /// The lane has a new epoch: it never knew this session, and the avatar's name means nothing any more.
    pub(crate) fn void(&mut self) {
        self.detach();
        self.rename();
    }

    /// The avatar has another name from now on, as far as it has one. Whether commands that were sent had their effect
    /// on the one before can't be known any more, so they are not sent again.
    fn rename(&mut self) {
        if let Some(told) = self.told.take() {
            if self.former.len() >= FORMER_MAX {
                self.former.pop_front();
            }
            self.former.push_back(told.subject);
        }
        let (tried, untried) = std::mem::take(&mut self.commands)
            .into_iter()
            .partition(|open| open.tried);
        self.commands = untried;
        self.lose_answers(tried);
    }

    /// What the lane says of this session in tick `now` of the gateway.
    pub(crate) fn take_route(&mut self, route: AttachedRoute, now: u64) {
        for result in route.results {
            self.answer(result.seq, result.refused);
        }
        if let Some(avatar) = route.avatar {
            self.attach(avatar, route.own.intent_seq);
        } else if self.avatar.is_none() {
            // Said before the lane took the attachment that it will answer with the avatar.
            return;
        }
        self.own = route.own;
        self.own_at = now;
        for (index, value) in route.properties {
            match self.owner.binary_search_by_key(&index, |property| property.0) {
                Ok(place) => self.owner[place].1 = value,
                Err(place) => self.owner.insert(place, (index, value)),
            }
        }
    }

    /// The lane has attached the session to `avatar`, of which it has applied intents up to `applied`.
    fn attach(&mut self, avatar: Avatar, applied: IntentSeq) {
        let before = self.avatar.replace(avatar);
        if self.told.is_some_and(|told| told.name != avatar.name) {
            self.rename();
        }
        if before.is_none_or(|before| before.epoch != avatar.epoch) {
            // What was sent under another attachment was not taken.
            self.send_commands_again();
            self.forwarded = self.forwarded.min(applied);
        }
        // What the lane has answered is no longer open here, unless the answer was lost on the way.
        let answered = self
            .commands
            .iter()
            .take_while(|open| open.command.seq <= avatar.command_seq)
            .count();
        let lost = self.commands.drain(..answered).collect();
        self.lose_answers(lost);
    }

    fn lose_answers(&mut self, lost: VecDeque<OpenCommand>) {
        self.results.extend(lost.into_iter().map(|open| CommandResult {
            seq: open.command.seq,
            refused: Some(ANSWER_LOST.to_owned()),
        }));
    }

    fn answer(&mut self, seq: CommandSeq, refused: Option<String>) {
        if let Some(place) = self.commands.iter().position(|open| open.command.seq == seq) {
            self.commands.remove(place);
            self.results.push(CommandResult { seq, refused });
        }
    }

    fn send_commands_again(&mut self) {
        for open in &mut self.commands {
            open.sent = false;
        }
    }

    /// A datagram of intents arrived: passes on those that are new.
    pub(crate) fn take_intents(
        &mut self,
        session: SessionId,
        mut intents: Intents,
        report: &mut Report,
        counters: &mut Counters,
    ) -> Result<(), CloseReason> {
        let names = |name: &SubjectRef| (name.slot, name.generation) == (intents.slot, intents.generation);
        let (Some(avatar), Some(told)) = (&self.avatar, &self.told()) else {
            counters.datagrams_early += 1;
            return Ok(());
        };
        if intents.seen_tick < self.rejoined || !names(told) && self.former.iter().any(names) {
            counters.datagrams_early += 1;
            return Ok(());
        }
        if !names(told) {
            return Err(CloseReason::NotYours);
        }
        let new = (intents.newest.0.saturating_sub(self.forwarded.0) as usize).min(intents.steps.len());
        let repeated = intents.steps.len() - new;
        counters.intents_repeated += repeated as u64;
        counters.intents_forwarded += new as u64;
        if new > 0 {
            intents.steps.drain(..repeated);
            self.forwarded = intents.newest;
            let (epoch, newest, steps) = (avatar.epoch, intents.newest, intents.steps);
            report.intents.push(SessionIntents {
                session,
                epoch,
                newest,
                steps,
            });
        }
        Ok(())
    }

    /// A command arrived, well-formed.
    pub(crate) fn take_command(
        &mut self,
        command: Command,
        counters: &mut Counters,
    ) -> Result<(), CloseReason> {
        if command.seq <= self.taken {
            counters.commands_repeated += 1;
            return Ok(());
        }
        self.taken = command.seq;
        if self.results.len() >= RESULTS_HELD_MAX {
            return Err(CloseReason::Flood);
        }
        if self.commands.len() >= COMMANDS_OPEN_MAX {
            counters.commands_refused += 1;
            let refused = Some("too many commands are waiting for their answers".to_owned());
            self.results.push(CommandResult {
                seq: command.seq,
                refused,
            });
        } else {
            self.commands.push_back(OpenCommand {
                command,
                sent: false,
                tried: false,
            });
        }
        Ok(())
    }

    /// The next report tells the lane everything: what was lost with the ones before goes out again.
    pub(crate) fn resend(&mut self) {
        self.send_commands_again();
        self.forwarded = self.forwarded.min(self.own.intent_seq);
    }

    /// Puts what is new into the report.
    pub(crate) fn report(&mut self, session: SessionId, report: &mut Report, counters: &mut Counters) {
        let Some(avatar) = &self.avatar else { return };
        for open in self.commands.iter_mut().filter(|open| !open.sent) {
            open.sent = true;
            open.tried = true;
            counters.commands_forwarded += 1;
            report.commands.push(SessionCommand {
                session,
                epoch: avatar.epoch,
                seq: open.command.seq,
                name: open.command.name.clone(),
                arguments: open.command.arguments.clone(),
            });
        }
    }

    /// The answers for the client.
    pub(crate) fn take_results(&mut self) -> std::vec::Drain<'_, CommandResult> {
        self.results.drain(..)
    }

    /// The owner properties for the client.
    pub(crate) fn take_owner(&mut self) -> PropertyList {
        std::mem::take(&mut self.owner)
    }
}
