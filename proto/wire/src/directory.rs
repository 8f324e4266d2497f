//! What nodes ask the directory, where one of them serves it to the others: who is there, which lane is whose, and
//! what time it is in a space.
//!
//! A call carries one [`DirectoryRequest`] and is answered with one [`DirectoryReply`]. What a call is, and how it
//! survives a network that loses and repeats, is the fabric's affair.

use crate::id::{Incarnation, LaneEpoch, LaneId, SpaceId};
use crate::{SpaceClock, Tick};
use bincode::{Decode, Encode};

/// Largest request or reply, in bytes: the view of a cluster of a thousand nodes.
pub const DIRECTORY_BYTES_MAX: usize = 1024 * 1024;

/// A node that is there, as it told the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Where other nodes connect to it (`host:port`), if they may.
    pub link: Option<String>,
    /// Where clients connect to it, if it is a gateway.
    pub client: Option<String>,
    /// Where its admin HTTP answers.
    pub admin: String,
    /// It takes lanes.
    pub takes_lanes: bool,
    /// What all nodes of a cluster must be told alike: keys of the configuration with their values, ascending.
    pub settings: Vec<(String, String)>,
}

/// Who has authority over a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LaneClaim {
    /// Which start of which node.
    pub incarnation: Incarnation,
    /// The claim's epoch.
    pub epoch: LaneEpoch,
}

/// What a lane is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum Duty {
    /// It has been added and takes nobody yet: it starts, and waits until those who read lanes read it.
    Opening,
    /// It takes its part of what its cell has.
    #[default]
    Serving,
    /// It hands off all that it has, and ends when it has nothing.
    Retiring,
}

/// A lane, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct LaneRecord {
    /// The lane. A number is never given to another.
    pub lane: LaneId,
    /// The number of its cell.
    pub cell: u32,
    /// What it is there for.
    pub duty: Duty,
    /// The lane that retires when this one begins to serve.
    pub replaces: Option<LaneId>,
    /// The name of the node that is to run it.
    pub node: String,
    /// The claim that stands, once there was one.
    pub claim: Option<LaneClaim>,
}

/// Everything that nodes watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ClusterView {
    /// Another with every change.
    pub revision: u64,
    /// The nodes that are there, ascending by name.
    pub nodes: Vec<NodeRecord>,
    /// The version of the layout: which lanes there are, and what each is there for. Rises with every change of that; zero
    /// before there are lanes.
    pub layout: u64,
    /// The lanes, ascending.
    pub lanes: Vec<LaneRecord>,
}

/// How the lanes of a space are to change. Whether it may be is the layout's to say.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LayoutChange {
    /// The space gets its first lanes. Of no effect if it has lanes of as many cells and as many per cell.
    Found {
        /// How many cells there are.
        cells: u32,
        /// How many lanes each gets.
        lanes_per_cell: u32,
        /// The names of the nodes that run them.
        nodes: Vec<String>,
    },
    /// A cell gets one lane more.
    Split {
        /// The number of the cell.
        cell: u32,
        /// The name of the node that is to run it.
        node: String,
    },
    /// A lane hands all that it has to the other lanes of its cell, and ends.
    Merge(LaneId),
    /// Another node gets a lane of the same cell, which takes all that this one has.
    Move {
        /// The lane.
        lane: LaneId,
        /// The name of the node.
        node: String,
    },
    /// A lane that opened begins to serve. Said by who runs it.
    Serve {
        /// The lane.
        lane: LaneId,
        /// Of its claim.
        epoch: LaneEpoch,
    },
    /// A lane that retired has nothing any more. Said by who runs it.
    End {
        /// The lane.
        lane: LaneId,
        /// Of its claim.
        epoch: LaneEpoch,
    },
}

/// One question to the directory.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum DirectoryRequest {
    /// A node is there, with what the others should know of it.
    Announce(NodeRecord),
    /// The node in this incarnation goes.
    Withdraw(Incarnation),
    /// The lanes of the space are to change.
    Change(LayoutChange),
    /// The node in this incarnation takes a lane over.
    Claim {
        /// The lane.
        lane: LaneId,
        /// Which start of which node.
        incarnation: Incarnation,
    },
    /// The view, if its revision is not this one.
    View {
        /// What the asker has; zero: nothing yet.
        known: u64,
    },
    /// The clock of a space.
    Clock {
        /// The space.
        space: SpaceId,
        /// Ticks per second.
        hz: f64,
        /// The asker's wall clock, in microseconds since the Unix epoch.
        now_us: u64,
        /// Who asks.
        incarnation: Incarnation,
    },
    /// A space has come so far.
    Note {
        /// The space.
        space: SpaceId,
        /// The last tick that was computed.
        tick: Tick,
        /// By whom.
        incarnation: Incarnation,
    },
    /// A node runs no lane of a space any more.
    Close {
        /// The space.
        space: SpaceId,
        /// The last tick that it computed.
        tick: Tick,
        /// The node.
        incarnation: Incarnation,
    },
}

/// The directory's answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DirectoryReply {
    /// It is recorded.
    Done,
    /// To [`DirectoryRequest::Claim`].
    Claimed(LaneEpoch),
    /// To [`DirectoryRequest::View`]; nothing if the asker has it.
    View(Option<ClusterView>),
    /// To [`DirectoryRequest::Clock`].
    Clock(SpaceClock),
    /// Not yet, with the reason: ask again soon.
    NotYet(String),
    /// No, with the reason.
    Refused(String),
}
