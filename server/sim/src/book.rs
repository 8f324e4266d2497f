//! What the players have done, as the simulator saw them do it: steps, commands, goodbyes.

use crate::check::authority::Deeds;
use crate::check::{Checked, demand};
use myriad_wire::payload::Step;
use myriad_wire::{Generation, LaneEpoch, SessionId, Slot};
use std::collections::BTreeMap;

/// For how long after a goodbye an avatar may leave at once, in microseconds: longer than any message is under way.
const GOODBYE_US: u64 = 10_000_000;

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) now_us: u64,
    sessions: BTreeMap<SessionId, Deed>,
    goodbyes: BTreeMap<String, u64>,
    commands: BTreeMap<i64, Command>,
    numbers: i64,
}

/// An avatar, as one life of the lane names it.
pub(crate) type Name = (LaneEpoch, Slot, Generation);

/// What was done in one session.
#[derive(Debug)]
struct Deed {
    honest: bool,
    steps: BTreeMap<Name, Vec<Step>>,
}

/// A command and what became of it.
#[derive(Debug)]
struct Command {
    account: String,
    /// Under which epoch of the lane it ran.
    ran: Option<LaneEpoch>,
}

impl Book {
    pub(crate) fn open_session(&mut self, session: SessionId, honest: bool) {
        let steps = BTreeMap::new();
        self.sessions.insert(session, Deed { honest, steps });
    }

    /// The client numbers its steps anew, under this name of its avatar, behind `taken`.
    pub(crate) fn number_anew(&mut self, session: SessionId, avatar: Name, taken: u32) {
        if let Some(deed) = self.sessions.get_mut(&session) {
            deed.steps.insert(avatar, vec![Step::default(); taken as usize]);
        }
    }

    /// The client took a step.
    pub(crate) fn step(&mut self, session: SessionId, avatar: Name, step: Step) {
        let deed = self.sessions.get_mut(&session);
        if let Some(steps) = deed.and_then(|deed| deed.steps.get_mut(&avatar)) {
            steps.push(step);
        }
    }

    /// How many steps it took under that name.
    pub(crate) fn taken(&self, session: SessionId, avatar: Name) -> u32 {
        self.steps(session, avatar).map_or(0, |steps| steps.len() as u32)
    }

    pub(crate) fn goodbye(&mut self, account: &str) {
        self.goodbyes.insert(account.to_owned(), self.now_us);
    }

    /// A number for a command of `account` that no other command has.
    pub(crate) fn next_command(&mut self, account: &str) -> i64 {
        self.numbers += 1;
        let account = account.to_owned();
        self.commands.insert(self.numbers, Command { account, ran: None });
        self.numbers
    }

    /// A script says in its log that it ran a command.
    pub(crate) fn ran(&mut self, line: &str, epoch: LaneEpoch) -> Checked {
        let mut words = line.split_whitespace();
        let (Some("did"), Some(account), Some(number)) = (words.next(), words.next(), words.next()) else {
            return Ok(());
        };
        let command = number
            .parse()
            .ok()
            .and_then(|number: i64| self.commands.get_mut(&number));
        let Some(command) = command.filter(|command| command.account == account) else {
            return Err(format!("{account} did command {number}, which it never gave"));
        };
        demand!(
            command.ran.is_none(),
            "command {number} of {account} ran twice, under epoch {:?} and {epoch}",
            command.ran
        );
        command.ran = Some(epoch);
        Ok(())
    }

    /// A client was told that its command was accepted.
    pub(crate) fn accepted(&self, number: i64) -> Checked {
        let command = self.commands.get(&number);
        demand!(
            command.is_some_and(|command| command.ran.is_some()),
            "command {number} is said to be accepted, but did not run"
        );
        Ok(())
    }
}

impl Deeds for Book {
    fn steps(&self, session: SessionId, avatar: Name) -> Option<&[Step]> {
        self.sessions.get(&session)?.steps.get(&avatar).map(Vec::as_slice)
    }

    fn is_honest(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|deed| deed.honest)
    }

    fn said_goodbye(&self, account: &str) -> bool {
        let last = self.goodbyes.get(account);
        last.is_some_and(|last_us| self.now_us - last_us <= GOODBYE_US)
    }
}
