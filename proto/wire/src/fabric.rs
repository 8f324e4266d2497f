//! What gateways and lanes say to each other over the fabric.
//!
//! Both sides speak once a tick, so silence is a sign. A gateway's first report subscribes it to the lane's
//! frames. Whatever is lost is noticed by [`crate::link`] and answered with a full copy: a lane sends a keyframe
//! and all routes of that gateway (`full`), a gateway all its attachments and unanswered commands (`full`).

use crate::client::CommandResult;
use crate::client::Rules;
use crate::crowd::TrackId;
use crate::crowd::message::Form;
use crate::id::{
    CallerId, CommandSeq, EntityId, EntityName, GatewayId, Generation, Hop, IntentSeq, KindId, LaneEpoch,
    LaneId, SessionEpoch, SessionId, Slot, SpaceId,
};
use crate::link::LinkHeader;
use crate::payload::{OwnRecord, Step};
use crate::schema::KindSchema;
use crate::value::{PropertyList, Value};
use crate::{CloseReason, SpaceClock, Tick, WirePos};
use bincode::{Decode, Encode};

/// A role that can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum RoleId {
    /// A lane.
    Lane(LaneId),
    /// A gateway.
    Gateway(GatewayId),
    /// The directory, at the node that serves it to the others. What is said to it stands in [`crate::directory`].
    Directory,
    /// The store, at the node that serves it to the others.
    Store,
    /// A thread that asks one of these services and waits for the answer.
    Caller(CallerId),
}

/// Goes before every message over the fabric. The body follows in the same message, so that a body which many
/// read is encoded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Envelope {
    /// To whom.
    pub to: RoleId,
    /// From whom.
    pub from: RoleId,
    /// The link's header.
    pub link: LinkHeader,
}

/// From a gateway to a lane, once a tick.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub struct Report {
    /// This holds all attachments and unanswered commands: sessions of this gateway that it does not name are gone.
    pub full: bool,
    /// The lane epoch that the gateway knows, zero before the first frame. A lane of another epoch takes only
    /// `attach`, which names what must be attached anew.
    pub epoch: LaneEpoch,
    /// Sessions that want an avatar, each told once and in every full report until it is detached.
    pub attach: Vec<Attach>,
    /// Sessions that are over.
    pub detach: Vec<Detach>,
    /// Movement intents since the last report.
    pub intents: Vec<SessionIntents>,
    /// Commands since the last report (in a full one: all that are unanswered).
    pub commands: Vec<SessionCommand>,
}

/// A session wants its avatar: found if it is in the world or in storage, else spawned.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Attach {
    /// The session.
    pub session: SessionId,
    /// The account, checked by the gateway.
    pub account: String,
}

/// A session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Detach {
    /// The session.
    pub session: SessionId,
    /// The player said goodbye: no grace period.
    pub left: bool,
}

/// New movement intents of one session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionIntents {
    /// The session.
    pub session: SessionId,
    /// The session epoch that the lane gave it.
    pub epoch: SessionEpoch,
    /// The number of the last of `steps`.
    pub newest: IntentSeq,
    /// The steps, oldest first, consecutive.
    pub steps: Vec<Step>,
}

/// A command of one session.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SessionCommand {
    /// The session.
    pub session: SessionId,
    /// The session epoch that the lane gave it.
    pub epoch: SessionEpoch,
    /// The command's number.
    pub seq: CommandSeq,
    /// The command's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
}

/// From a lane to a gateway. In each tick `Routes` precedes `Frame`.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ToGateway {
    /// What only this gateway's sessions are told.
    Routes(Routes),
    /// What everyone may see: the same bytes for every reader.
    Frame(Box<Frame>),
}

/// What only one gateway's sessions are told in one tick.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub struct Routes {
    /// The lane's epoch.
    pub epoch: LaneEpoch,
    /// The tick.
    pub tick: Tick,
    /// All attached sessions of this gateway are named, with all their owner properties: a session that the
    /// gateway believes attached and that is not named is over.
    pub full: bool,
    /// One entry for each attached session, and for each that ended.
    pub sessions: Vec<Route>,
}

/// What one session is told in one tick.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Route {
    /// The session.
    pub session: SessionId,
    /// How it stands.
    pub state: RouteState,
}

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum RouteState {
    /// It has its avatar.
    Attached(Box<AttachedRoute>),
    /// It has none (any more).
    Ended(CloseReason),
    /// Its avatar is at another lane, or that lane knows where it is: the session is to be attached there.
    Elsewhere(LaneId),
}

/// What an attached session is told in one tick.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AttachedRoute {
    /// Right after the attachment, and in full routes: who the avatar is.
    pub avatar: Option<Avatar>,
    /// The own record.
    pub own: OwnRecord,
    /// Owner properties that changed; all of them where `avatar` is set.
    pub properties: PropertyList,
    /// Commands that were answered in this tick.
    pub results: Vec<CommandResult>,
    /// From the next tick on this lane has the avatar: intents and commands are to go there from now on.
    pub moves_to: Option<LaneId>,
}

/// A session's avatar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Avatar {
    /// Its name.
    pub name: EntityName,
    /// How often it has been handed off.
    pub hop: Hop,
    /// Its identity.
    pub entity: EntityId,
    /// The session epoch of this attachment: intents and commands must carry it.
    pub epoch: SessionEpoch,
    /// The last command that was answered: lower ones are not applied again.
    pub command_seq: CommandSeq,
    /// The avatar's enter radius in interest units (1/32 m).
    pub radius_aoi: u32,
    /// Which layers the avatar sees: a subject is visible only if its layers meet these.
    pub sees: u32,
}

/// What a lane publishes in one tick.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub struct Frame {
    /// The lane.
    pub lane: LaneId,
    /// The lane's epoch: readers refuse a lower one than they have seen.
    pub epoch: LaneEpoch,
    /// The tick.
    pub tick: Tick,
    /// Ticks that the lane had to jump over so far, because it was late.
    pub skipped_ticks: u64,
    /// Who gave the names of the entities in this frame: records say where in this list. No two are the same.
    pub issuers: Vec<LaneEpoch>,
    /// `Some` in a keyframe: then `joins` names every entity, and whatever the reader had of the lane is void.
    pub keyframe: Option<Keyframe>,
    /// Entities that came into the world, or under this lane's authority.
    pub joins: Vec<JoinRecord>,
    /// Public properties that changed.
    pub changes: Vec<ChangeRecord>,
    /// Entities whose layers changed.
    pub layers: Vec<LayersRecord>,
    /// What happened.
    pub events: Vec<EventRecord>,
    /// Entities that are no more, or that another lane has now. In a keyframe: those that went to another lane lately.
    pub leaves: Vec<LeaveRecord>,
    /// The states of the near tier, encoded once.
    pub tracks: Vec<TrackRecord>,
    /// The crowd tracks that were told, changed, began or ended in this tick, ascending by number; in a keyframe all of
    /// them, as keyframes.
    pub crowd: Vec<CrowdRecord>,
}

/// Where in [`Frame::issuers`] the issuer of a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Issuer(pub u16);

/// What a reader must know of a lane beside its entities.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Keyframe {
    /// The space that the lane is a part of.
    pub space: SpaceId,
    /// The space's clock.
    pub clock: SpaceClock,
    /// The space's laws. `radius_aoi` is the default; each avatar has its own.
    pub rules: Rules,
    /// The entity kinds.
    pub kinds: Vec<KindSchema>,
}

/// An entity came into the world, or under this lane's authority: then it goes by the name that it had, and readers who
/// know it tell nobody of a new one.
///
/// It is as it is after this frame's tick. A frame in which an entity joins names it in no [`ChangeRecord`] and no
/// [`LayersRecord`]; a keyframe, in which everybody joins, has none at all.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct JoinRecord {
    /// Who gave the name.
    pub issuer: Issuer,
    /// Its slot.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
    /// How often it has been handed off. A reader refuses a lower one than it has seen of this life.
    pub hop: Hop,
    /// Its identity.
    pub entity: EntityId,
    /// Its kind.
    pub kind: KindId,
    /// Its layers.
    pub layers: u32,
    /// Where it is in this frame's tick.
    pub position: WirePos,
    /// Its public properties.
    pub properties: PropertyList,
    /// Counts the ticks since its spawn in which they changed, this frame's included, wrapping. A reader adds one for
    /// each [`ChangeRecord`] of a later frame, and so holds the same as one who reads a keyframe.
    pub version: u8,
}

/// Public properties of an entity changed.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ChangeRecord {
    /// Who gave the name.
    pub issuer: Issuer,
    /// The entity.
    pub slot: Slot,
    /// Those that changed.
    pub properties: PropertyList,
}

/// An entity's layers changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LayersRecord {
    /// Who gave the name.
    pub issuer: Issuer,
    /// The entity.
    pub slot: Slot,
    /// Its layers now.
    pub layers: u32,
}

/// Something happened to an entity; those who have it in view are told.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct EventRecord {
    /// Who gave the name.
    pub issuer: Issuer,
    /// The entity.
    pub slot: Slot,
    /// The event's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
}

/// What became of one crowd track in one tick. A track begins with a keyframe. Every entity of the lane is in exactly
/// one track, from the frame of its join to that of its leave.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CrowdRecord {
    /// Who gave the names of all members.
    pub issuer: Issuer,
    /// The track.
    pub track: TrackId,
    /// The visibility class: the layers that all its members have.
    pub layers: u32,
    /// A delta, a keyframe, or a drop: the track is no more.
    pub form: Form,
    /// See [`crate::crowd`].
    pub bytes: Vec<u8>,
}

/// An entity is no more, or goes on at another lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeaveRecord {
    /// Who gave the name.
    pub issuer: Issuer,
    /// Its slot.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
    /// How often it had been handed off. One that came here and ended in the same tick is told by its leave alone.
    pub hop: Hop,
    /// The lane that has it now.
    pub to: Option<LaneId>,
}

/// The states of one track in one tick.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TrackRecord {
    /// Who gave the names of all members.
    pub issuer: Issuer,
    /// The visibility class: the layers that all its members have.
    pub layers: u32,
    /// How many entities it has.
    pub members: u32,
    /// Lowest member position per axis.
    pub low: WirePos,
    /// Highest member position per axis.
    pub high: WirePos,
    /// The chunks of each level (see [`crate::track`]); level 0 holds every member.
    pub levels: [Vec<Vec<u8>>; crate::track::LEVELS],
}
