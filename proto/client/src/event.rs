//! What a client is made with, what it tells, and why it refuses what it is asked.

use crate::crowd::TrackState;
use crate::crowd::mask::Mask;
use myriad_wire::client::LeaveReason;
use myriad_wire::crowd::message::Happening;
use myriad_wire::limits::{ARGUMENTS_MAX, INTENT_STEP_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use myriad_wire::value::PropertyList;
use myriad_wire::{
    CloseReason, CommandSeq, EntityId, KindId, LaneHandle, Pos, SpaceId, SubjectRef, Tick, Value,
};
use std::sync::Arc;
use thiserror::Error;

/// Who logs in, and into which space.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Account name, at most [`myriad_wire::limits::ACCOUNT_BYTES_MAX`] bytes without control characters.
    pub account: String,
    /// The login key that the server asks for; empty if it asks for none.
    pub key: String,
    /// The space to join.
    pub space: SpaceId,
    /// This software's name, for the operator's eyes, at most [`myriad_wire::limits::AGENT_BYTES_MAX`] bytes.
    pub agent: String,
    /// About how many near subjects of a crowd to ask in a second, to learn their identity and properties: as many more
    /// in a tick as ticks are rarer. 0: none are asked for. Usually [`DEFAULT_IDENTITIES_PER_S`].
    pub identities_per_s: u32,
    /// How enters and leaves of a crowd are told.
    pub crowd_edges: CrowdEdges,
}

/// How a client tells who enters and leaves, and what happens, while tracks tell its view. However it does, they take effect and are
/// counted ([`crate::Counters::entered`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CrowdEdges {
    /// As elsewhere: [`ClientEvent::Enter`] and [`ClientEvent::Leave`], one by one.
    #[default]
    OneByOne,
    /// Who enters with a track is told at once, by [`ClientEvent::EnterTogether`]: a first view of 10,000 is some fifty
    /// events. What happens is told by [`ClientEvent::EventOf`], who leaves one by one.
    Together,
    /// Not at all.
    Untold,
}

/// See [`ClientConfig::identities_per_s`]. Enough for a hundred near subjects whose properties change every five
/// seconds; some 22 bytes each.
pub const DEFAULT_IDENTITIES_PER_S: u32 = 20;

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret; it must not reach a log.
        f.debug_struct("ClientConfig")
            .field("account", &self.account)
            .field("space", &self.space)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// What a client tells. Enter, Change, Event and Leave come in the order of their ticks, and within one tick in
/// this order, with the states of the tick taking effect between changes and events. In a crowd a tick takes effect
/// whole, right before the first of its events is told: who enters, and who leaves, does so in the view at once.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The avatar is in the world; [`crate::Client::joined`] has the particulars.
    Joined,
    /// A subject came into view; its properties are in the view.
    Enter {
        /// When.
        tick: Tick,
        /// The subject.
        subject: SubjectRef,
        /// Its identity. In a crowd `None`, unless it is known from before; [`Self::Identity`] may tell it later.
        entity: Option<EntityId>,
        /// Its kind.
        kind: KindId,
        /// Where it is, in the middle of its cell of the wire grid, or of its track's grid in a crowd.
        position: Pos,
    },
    /// Members of a track of a crowd came into view: in place of [`Self::Enter`] for each, if
    /// [`ClientConfig::crowd_edges`] asks for it.
    EnterTogether {
        /// When.
        tick: Tick,
        /// The lane of all of them.
        lane: LaneHandle,
        /// The track after this tick: it has their slots, lives, kinds and cells.
        track: Arc<TrackState>,
        /// Which of its members.
        places: Mask,
    },
    /// Public properties of a subject changed.
    Change {
        /// When.
        tick: Tick,
        /// The subject.
        subject: SubjectRef,
        /// Those that changed, with their new values.
        properties: PropertyList,
    },
    /// Something happened to, or was done by, a subject.
    Event {
        /// When.
        tick: Tick,
        /// The subject.
        subject: SubjectRef,
        /// The event's name.
        name: String,
        /// Its arguments.
        arguments: Vec<Value>,
    },
    /// The same in a crowd: in place of [`Self::Event`], if [`ClientConfig::crowd_edges`] asks for it. Clients share the
    /// lists.
    EventOf {
        /// When.
        tick: Tick,
        /// The subject.
        subject: SubjectRef,
        /// What happened to members of its track.
        list: Arc<[Happening]>,
        /// Which of these.
        index: usize,
    },
    /// A subject left the view.
    Leave {
        /// When.
        tick: Tick,
        /// The subject.
        subject: SubjectRef,
        /// Its identity, if it was known.
        entity: Option<EntityId>,
        /// Why. In a crowd it is not told apart: [`LeaveReason::OutOfView`].
        reason: LeaveReason,
    },
    /// Who a subject of a crowd is, or what its properties are, was told or told anew.
    Identity {
        /// When.
        tick: Tick,
        /// The subject.
        subject: SubjectRef,
        /// Its identity.
        entity: EntityId,
        /// All its public properties.
        properties: PropertyList,
    },
    /// Properties that only the avatar's owner is told changed.
    Owner {
        /// When.
        tick: Tick,
        /// Those that changed, with their new values.
        properties: PropertyList,
    },
    /// What became of a command.
    CommandResult {
        /// The number that [`crate::Client::command`] gave.
        seq: CommandSeq,
        /// `None` if it was accepted, else why not, for people.
        refused: Option<String>,
    },
    /// The own avatar is not where it was predicted. The prediction already goes on from the truth. Told as soon
    /// as it is known, ahead of the other events of its tick.
    Corrected {
        /// When.
        tick: Tick,
        /// Where the prediction had it after the last acknowledged step.
        predicted: Pos,
        /// Where it is.
        actual: Pos,
    },
    /// The session is over. The last of all events.
    Closed(CloseReason),
}

/// Why a step was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IntentError {
    /// There is no avatar to move: not joined yet, or no more.
    #[error("no avatar to move: the session has not joined or is over")]
    NotJoined,
    /// Longer than any step may be.
    #[error("a step is at most {INTENT_STEP_MAX} units per axis")]
    TooFar,
    /// The session's four billion step numbers are used up.
    #[error("no step numbers are left in this session")]
    Exhausted,
}

/// Why a command was refused before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Not joined yet, or no more.
    #[error("the session has not joined or is over")]
    NotJoined,
    /// Too many commands wait for their answers.
    #[error("{} commands are unanswered", crate::limits::COMMANDS_MAX)]
    Unanswered,
    /// The name is empty or too long.
    #[error("a command's name has 1 to {NAME_BYTES_MAX} bytes")]
    Name,
    /// Too many arguments, a text too long, or a number that is not finite.
    #[error(
        "a command has at most {ARGUMENTS_MAX} arguments, texts of at most {TEXT_BYTES_MAX} bytes, finite numbers"
    )]
    Arguments,
    /// Too long in all.
    #[error("the command exceeds the largest message")]
    TooLong,
    /// The session's four billion command numbers are used up.
    #[error("no command numbers are left in this session")]
    Exhausted,
}
