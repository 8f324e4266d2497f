//! What a client and a gateway say to each other on the session's one bidirectional stream.
//!
//! The client opens the stream and speaks first. In order: `Hello` -> `Welcome`, `Login` -> `LoggedIn`,
//! `Join` -> `Joined`; then commands one way and the view the other, while movement intents and states travel in
//! datagrams (see [`crate::payload`]). A message at the wrong time closes with `OutOfOrder`.

use crate::id::{CommandSeq, EntityId, IntentSeq, KindId, SessionId, SpaceId, SubjectRef};
use crate::schema::KindSchema;
use crate::value::{PropertyList, Value};
use crate::{Pos, SpaceClock, Tick, WirePos};
use bincode::{Decode, Encode};

/// From a client, on its stream.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ClientMessage {
    /// First of all.
    Hello(Hello),
    /// Who the player is.
    Login(Login),
    /// Into which space.
    Join(Join),
    /// A named, typed request that a script handles.
    Command(Command),
    /// Goodbye: the avatar leaves the world at once, without the grace period.
    Leave,
    /// Who are these? Answered by [`ServerMessage::Identity`].
    Identify(Identify),
}

/// The versions and features a client speaks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Oldest version of these messages it speaks.
    pub version_min: u16,
    /// Newest version of these messages it speaks.
    pub version_max: u16,
    /// Feature bits it asks for. None is defined yet.
    pub features: u64,
    /// The client's software, for the operator's eyes: at most [`crate::limits::AGENT_BYTES_MAX`] bytes
    /// without control characters.
    pub agent: String,
}

/// Who the player is.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Login {
    /// Account name: 1 to [`crate::limits::ACCOUNT_BYTES_MAX`] bytes of UTF-8 without control characters.
    pub account: String,
    /// The login key that the server's configuration asks for; empty if it asks for none.
    pub key: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret; it must not reach a log.
        f.debug_struct("Login")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// Into which space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Join {
    /// The space.
    pub space: SpaceId,
}

/// A named, typed request that a script handles.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Command {
    /// Counts from 1 within the session. Each is answered by one [`CommandResult`].
    pub seq: CommandSeq,
    /// The command's name: at most [`crate::limits::NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// At most [`crate::limits::ARGUMENTS_MAX`] values, each text at most [`crate::limits::TEXT_BYTES_MAX`] bytes,
    /// each float finite.
    pub arguments: Vec<Value>,
}

/// A client in a crowd asks for the identity of subjects in its view: because it has none, or because a near state
/// says that it has changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Identify {
    /// At most [`crate::limits::IDENTIFY_MAX`]. Who is not in view by now is passed over.
    pub subjects: Vec<SubjectRef>,
}

/// To a client, on its stream. A message may also be a [`crate::crowd::message`], which is packed by hand.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ServerMessage {
    /// Answer to `Hello`.
    Welcome(Welcome),
    /// Answer to `Login`.
    LoggedIn(LoggedIn),
    /// Answer to `Join`: the avatar is in the world. Comes again when the avatar has got another name on the wire,
    /// because its lane was replaced; intents are then numbered anew.
    Joined(Box<Joined>),
    /// What changed in the view in one tick, other than states. Sent only for ticks in which something did.
    View(ViewUpdate),
    /// What only the avatar's owner is told.
    Owner(OwnerUpdate),
    /// What became of a command.
    CommandResult(CommandResult),
    /// From here on `View` messages tell the view, or they have told all of it.
    Listed(Listed),
    /// Who some subjects are.
    Identity(Identity),
}

/// From here on [`ServerMessage::View`] tells the view, subject by subject: the client is not in a crowd (any more).
///
/// First comes one with `complete` false. What the client has in view by then stays there until it is told again, by
/// an enter which is none then, or until one with `complete` true has come: who has not been told again leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Listed {
    /// The tick.
    pub tick: Tick,
    /// All of the view has been told.
    pub complete: bool,
}

/// Who some subjects are.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub struct Identity {
    /// The tick as of which it is told.
    pub tick: Tick,
    /// One for each subject asked for that is in view.
    pub records: Vec<IdentityRecord>,
}

/// Who one subject is.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct IdentityRecord {
    /// The subject.
    pub subject: SubjectRef,
    /// Its identity.
    pub entity: EntityId,
    /// Its kind.
    pub kind: KindId,
    /// Counts the changes of its public properties, wrapping. Near states tell it now and then.
    pub version: u8,
    /// All its public properties.
    pub properties: PropertyList,
}

/// The version that will be spoken.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// The newest version that both speak.
    pub version: u16,
    /// The feature bits that both know.
    pub features: u64,
}

/// The login was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LoggedIn {
    /// The session, for logs and support.
    pub session: SessionId,
}

/// The avatar is in the world.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Joined {
    /// The space.
    pub space: SpaceId,
    /// When each of its ticks is due.
    pub clock: SpaceClock,
    /// The avatar's place on the wire. The avatar is in its own view like any other subject.
    pub avatar: SubjectRef,
    /// The avatar's identity.
    pub entity: EntityId,
    /// Where the avatar is.
    pub position: Pos,
    /// The last intent of this session that was applied: number the next one after it.
    pub intent_seq: IntentSeq,
    /// The space's laws of movement and sight.
    pub rules: Rules,
    /// The entity kinds; a kind's number is its place in this list.
    pub kinds: Vec<KindSchema>,
}

/// The laws of movement and sight that the server enforces and a client predicts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Rules {
    /// Lowest position per axis.
    pub bounds_min: Pos,
    /// Highest position per axis.
    pub bounds_max: Pos,
    /// Fastest an avatar may go, in position units per second, over any time longer than the burst.
    pub speed_max: u32,
    /// How much unused movement an avatar saves up for later, in milliseconds at full speed.
    pub burst_ms: u32,
    /// The avatar's enter radius, in interest units (1/32 m). The leave radius is 1.1 times it.
    pub radius_aoi: u32,
    /// Ticks between two states of a subject in the crowd tier, at least 1.
    pub crowd_period: u32,
}

/// What changed in the view in one tick, in the order in which it is to be told: enters, properties, (the states
/// of that tick, from datagrams,) events, leaves.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub struct ViewUpdate {
    /// The tick of the frame that it comes from.
    pub tick: Tick,
    /// Subjects that came into view.
    pub enters: Vec<Enter>,
    /// Public properties that changed, of subjects in view.
    pub changes: Vec<Change>,
    /// What happened to subjects in view.
    pub events: Vec<Event>,
    /// Subjects that left the view.
    pub leaves: Vec<Leave>,
}

/// A subject came into view.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Enter {
    /// Its name on the wire from here to its leave.
    pub subject: SubjectRef,
    /// Its identity.
    pub entity: EntityId,
    /// Its kind.
    pub kind: KindId,
    /// Where it is.
    pub position: WirePos,
    /// All its public properties.
    pub properties: PropertyList,
}

/// Public properties of a subject changed.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Change {
    /// The subject.
    pub subject: SubjectRef,
    /// Those that changed, with their new values.
    pub properties: PropertyList,
}

/// Something happened to, or was done by, a subject.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Event {
    /// The subject.
    pub subject: SubjectRef,
    /// The event's name: at most [`crate::limits::NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Its arguments: at most [`crate::limits::ARGUMENTS_MAX`] values.
    pub arguments: Vec<Value>,
}

/// A subject left the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Leave {
    /// The subject. Its slot may later come back with another generation.
    pub subject: SubjectRef,
    /// Why.
    pub reason: LeaveReason,
}

/// Why a subject left the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum LeaveReason {
    /// It is too far away now, or hidden.
    OutOfView,
    /// It is no more.
    Despawned,
}

/// What only the avatar's owner is told.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub struct OwnerUpdate {
    /// The tick.
    pub tick: Tick,
    /// Properties for [`crate::schema::Audience::Owner`] that changed; all of them right after the join.
    pub properties: PropertyList,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CommandResult {
    /// The command's number.
    pub seq: CommandSeq,
    /// `None` if a script accepted it, else why not, for people.
    pub refused: Option<String>,
}
