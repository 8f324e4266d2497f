//! What the lanes of a space say to each other: parcels, each taken exactly once, in the order in which they were sent.
//!
//! A lane that has something for another sends it a [`LaneMessage`] a tick until all is taken; neighbours send one in
//! every tick. Parcels are numbered from 1 for each pair of lane epochs. A message names the number up to which its
//! sender has taken the other's; what is beyond that is sent again in a message that begins a stream of
//! [`crate::link`]. So parcels survive whatever the network does, and die with the epoch that they were meant for.
//!
//! # Hand-off
//!
//! ```text
//! source                                    destination
//!   real ──Offer──►                            keeps room
//!   real                       ◄──Accept──     or Refuse: the source keeps the entity
//!   real, last frame ──Commit──►               real, first frame one tick later
//! ```
//! The source gives its authority up before the commit leaves. It may [`Parcel::Withdraw`] an offer until then.
//!
//! # Homes
//!
//! Each account has a home lane ([`home_lane`]), which is asked for its avatar by whoever does not know better. When the
//! lanes of a space change, so do some homes. Each lane then tells the new home lanes of the avatars that it has or has
//! handed on, and after that every lane that it goes by the new layout ([`Parcel::Adopted`]). A lane that has not been told
//! so by all others brings nobody into the world: some lane may have that avatar.

use crate::codec::{CodecError, decode};
use crate::fabric::{Detach, SessionCommand};
use crate::id::{
    CommandSeq, EntityId, EntityName, GatewayId, Hop, IntentSeq, LaneEpoch, LaneId, SessionEpoch, SessionId,
};
use crate::limits::NODE_MESSAGE_BYTES_MAX;
use crate::payload::Step;
use crate::value::Value;
use crate::{Pos, Tick};
use bincode::{Decode, Encode};

/// From a lane to another of its space.
#[derive(Clone, Debug, PartialEq, Default, Encode, Decode)]
pub struct LaneMessage {
    /// The sender's epoch. A receiver refuses a lower one than it has heard.
    pub epoch: LaneEpoch,
    /// The receiver's epoch as the sender knows it; zero before it has heard it. A receiver of another epoch takes
    /// nothing but `epoch`.
    pub to_epoch: LaneEpoch,
    /// The receiver's parcels are taken up to this number.
    pub taken: u64,
    /// The sender has parcels that it does not know to be taken, and waits for an answer.
    pub asks: bool,
    /// How many entities the sender has or keeps room for, less those that it has offered to others.
    pub load: u32,
    /// The number of the first of `parcels`.
    pub first: u64,
    /// What the sender has for the receiver.
    pub parcels: Vec<Parcel>,
}

impl LaneMessage {
    /// The message that `bytes` are.
    ///
    /// # Errors
    /// If they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes, NODE_MESSAGE_BYTES_MAX)
    }
}

/// Something that one lane has for another.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Parcel {
    /// The sender would hand this entity off to the receiver.
    Offer(EntityId),
    /// The receiver of an offer has room for the entity.
    Accept(EntityId),
    /// It has none, or will not have it.
    Refuse(EntityId, Refusal),
    /// An offer, accepted or not, is void.
    Withdraw(EntityId),
    /// The entity is the receiver's from now on.
    Commit(Box<Transfer>),
    /// The life with this name, given by the receiver, is over.
    Freed(EntityName),
    /// To the home lane of an account: where its avatar is.
    AvatarHere(AvatarPlace),
    /// To the home lane of an account: its avatar was there, and is in no lane any more.
    AvatarGone(AvatarPlace),
    /// From the home lane of an account, to a lane that handed its avatar on: sessions are not sent there any more.
    AvatarKnown(AvatarPlace),
    /// A session that the receiver has, or is about to have, is over.
    Detach(Detach),
    /// A script of the sender's calls an entity of the receiver's.
    Call(Box<EntityCall>),
    /// A script of the sender's calls all entities in a part of the space.
    CallArea(Box<AreaCall>),
    /// The sender goes by the layout of this version, and has told the receiver of every avatar whose home it is by that.
    Adopted(u64),
}

/// Why an offer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// There is no room.
    Full,
    /// The lane is stopping, or is to be empty.
    Draining,
}

/// Where an account's avatar is. Of two the one with the higher epoch, (era, hop), is the later. Of an avatar that storage
/// is still asked for, entity and epoch are zero.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AvatarPlace {
    /// Whose.
    pub account: String,
    /// Who it is.
    pub entity: EntityId,
    /// The era of its epoch there.
    pub era: LaneEpoch,
    /// How often it has been handed off in that era.
    pub hop: Hop,
    /// The lane that has it.
    pub at: LaneId,
    /// The lane that handed it over to that one, if it is to hear that the home lane knows so; else the same lane.
    pub from: LaneId,
    /// The version of the layout by which the receiver is its home lane.
    pub layout: u64,
}

/// The home lane of an account among the `lanes` of a space that serve: the same for everybody who asks. When one comes or
/// goes, only the accounts that it has or had change theirs (rendezvous hashing).
///
/// # Panics
/// If there are none.
#[must_use]
pub fn home_lane(account: &str, lanes: impl IntoIterator<Item = LaneId>) -> LaneId {
    // FNV-1a, written out because it must never change with a library.
    let hash = account.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    lane_by_weight(hash, lanes).expect("a space has a lane that serves")
}

/// Which of `lanes` a hash falls to, if there are any: they get even shares, and when one is added, only what falls to that
/// one changes (rendezvous hashing).
#[must_use]
pub fn lane_by_weight(hash: u64, lanes: impl IntoIterator<Item = LaneId>) -> Option<LaneId> {
    let weight = |lane: &LaneId| mix(hash ^ mix(u64::from(lane.0)));
    lanes.into_iter().max_by_key(weight)
}

/// Spreads all bits of a number over all bits (the finaliser of MurmurHash3).
fn mix(mut v: u64) -> u64 {
    v = (v ^ v >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    v = (v ^ v >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    v ^ v >> 33
}

/// An entity on its way from lane to lane: all that there is of it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Transfer {
    /// The last tick of the source. The destination's first is a later one, even if it is late itself.
    pub tick: Tick,
    /// Its name, which it keeps.
    pub name: EntityName,
    /// The lane that gave the name, and gets it back in the end.
    pub issuer: LaneId,
    /// The era of its epoch, which it keeps.
    pub era: LaneEpoch,
    /// How often it has been handed off, this time included.
    pub hop: Hop,
    /// Who it is.
    pub entity: EntityId,
    /// Its kind's name.
    pub kind: String,
    /// Where it is.
    pub position: Pos,
    /// It has arrived where it went, and its script was not told yet.
    pub arrived: bool,
    /// Its properties and the engine's attributes, by name.
    pub attributes: Vec<(String, Value)>,
    /// See [`crate::fabric::JoinRecord::version`].
    pub version: u8,
    /// What was told of it last in a crowd track, so that those who watch see it go on.
    pub told: Option<ToldCell>,
    /// Whose avatar it is, if anybody's.
    pub avatar: Option<Box<AvatarTransfer>>,
}

/// The cell last told of a member of a crowd track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ToldCell {
    /// The cell.
    pub cell: [i32; 3],
    /// When.
    pub tick: Tick,
}

/// What goes with an avatar.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AvatarTransfer {
    /// Whose it is.
    pub account: String,
    /// The session epoch of its last attachment.
    pub epoch: SessionEpoch,
    /// The session that steers it, if any.
    pub session: Option<SessionTransfer>,
    /// The last session that was detached, which may come back.
    pub detached: Option<SessionTransfer>,
    /// The last sessions that newer ones replaced, oldest first.
    pub replaced: Vec<SessionId>,
    /// Since when it has been without a session.
    pub detached_since: Tick,
    /// The player said goodbye.
    pub left: bool,
    /// The position last sent to storage.
    pub saved_position: Option<Pos>,
    /// A property that is saved has changed since.
    pub properties_changed: bool,
}

/// A script calls an entity, wherever that is: at most once.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct EntityCall {
    /// Whom.
    pub entity: EntityId,
    /// Its name when it was called: whoever handed it on knows where to by that.
    pub entity_name: EntityName,
    /// Which of the calls that its kind declares.
    pub name: String,
    /// At most [`crate::limits::ARGUMENTS_MAX`].
    pub arguments: Vec<Value>,
    /// How often it was sent on.
    pub sent_on: u8,
}

/// A script calls all entities within a distance from a place, whichever lanes have them: each at most once.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AreaCall {
    /// In which tick. A lane that is late calls those who were its own in that tick.
    pub tick: Tick,
    /// The place on the ground: x and z, in position units.
    pub center: [i32; 2],
    /// In position units.
    pub radius: u32,
    /// Which of the calls that kinds declare.
    pub name: String,
    /// At most [`crate::limits::ARGUMENTS_MAX`].
    pub arguments: Vec<Value>,
}

/// A session on its way with its avatar.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SessionTransfer {
    /// Which.
    pub session: SessionId,
    /// Through which gateway.
    pub gateway: GatewayId,
    /// The last intent that was applied.
    pub applied: IntentSeq,
    /// How often its intents were cut short.
    pub corrections: u32,
    /// What it may still move, in millionths of a position unit.
    pub balance: i64,
    /// The last command that was answered.
    pub answered: CommandSeq,
    /// Intents that were not applied yet, ascending.
    pub intents: Vec<(IntentSeq, Step)>,
    /// Commands that were not run yet, ascending.
    pub commands: Vec<SessionCommand>,
}
