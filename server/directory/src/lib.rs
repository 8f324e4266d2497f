//! Who is there, whose is which lane, what time is it in a space: node incarnations, placements, lane epochs, clocks.
//!
//! The directory is where it is decided who may act. It deliberately knows no network and no clock: time is an
//! argument, and to a node that is elsewhere its words travel in calls that somebody else carries. [`LocalDirectory`]
//! keeps its records in a [`myriad_storage::Storage`]; [`remote`] has both ends for the other nodes of a small cluster.
//!
//! What is durable: incarnations, epochs, placements, claims and clocks. Who is there is not: after a restart of the
//! directory the nodes announce themselves again.

mod clock;
mod local;
pub mod remote;

pub use clock::CLOCK_NOTE_SECONDS_MAX;
pub use local::LocalDirectory;
pub use myriad_wire::directory::{ClusterView, Duty, LaneClaim, LaneRecord, LayoutChange, NodeRecord};

use myriad_cluster::LayoutError;
use myriad_storage::StorageError;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceClock, SpaceId, Tick};
use thiserror::Error;

/// Where ownership is recorded. Every method blocks until its effect is durable: never call one in a tick.
pub trait Directory: Send {
    /// A node is there, with what others should know of it. To be said again whenever the view lacks it.
    ///
    /// # Errors
    /// If its incarnation is not the last one of its name, or its settings contradict the cluster's.
    fn announce(&mut self, node: &NodeRecord) -> Result<(), DirectoryError>;

    /// The node in `incarnation` goes. Its lanes keep their places, for when it comes again.
    ///
    /// # Errors
    /// If the directory can't be asked.
    fn withdraw(&mut self, incarnation: Incarnation) -> Result<(), DirectoryError>;

    /// The lanes of the space change, or not at all. What may change how is [`myriad_cluster::Layout`]'s to say.
    ///
    /// # Errors
    /// If they can't change so, or the record can't be kept.
    fn change(&mut self, change: &LayoutChange) -> Result<(), DirectoryError>;

    /// The node in `incarnation` takes a lane over. The epoch is higher than that of every claim before it, of
    /// any lane; from now on readers refuse the lane's earlier epochs.
    ///
    /// # Errors
    /// If the node is not there (any more), the lane has its place elsewhere, or the record can't be kept.
    fn claim_lane(&mut self, lane: LaneId, incarnation: Incarnation) -> Result<LaneEpoch, DirectoryError>;

    /// What nodes watch: the view, if its revision is not `known`.
    ///
    /// # Errors
    /// If the directory can't be asked.
    fn view(&mut self, known: u64) -> Result<Option<ClusterView>, DirectoryError>;

    /// The clock of a space that the node in `incarnation` is to run at `hz`, at `now_us` microseconds since the Unix
    /// epoch.
    ///
    /// A space keeps its clock over restarts, and while any other node runs it. It gets a new base, above every tick
    /// that may have run, if the rate changed or if the wall clock went back over a restart.
    ///
    /// # Errors
    /// If the record can't be kept, `hz` is not in `0.1..=1000`, or another node runs the space at another rate.
    /// [`DirectoryError::NotYet`] while it is not known who runs the space: ask again.
    fn space_clock(
        &mut self,
        space: SpaceId,
        hz: f64,
        now_us: u64,
        incarnation: Incarnation,
    ) -> Result<SpaceClock, DirectoryError>;

    /// The space has reached `tick` at the node in `incarnation`. To be told at least every
    /// [`CLOCK_NOTE_SECONDS_MAX`] by each node that runs it, so that numbers never go back, even if the wall clock does
    /// so over a crash.
    ///
    /// # Errors
    /// If the record can't be kept, or the space has no clock yet.
    fn note_tick(
        &mut self,
        space: SpaceId,
        tick: Tick,
        incarnation: Incarnation,
    ) -> Result<(), DirectoryError>;

    /// The node in `incarnation` has stopped cleanly after `tick`. If it was the last that ran the space, the next start
    /// needs no margin for ticks that were not noted.
    ///
    /// # Errors
    /// If the record can't be kept, or the space has no clock yet.
    fn close_space(
        &mut self,
        space: SpaceId,
        tick: Tick,
        incarnation: Incarnation,
    ) -> Result<(), DirectoryError>;
}

/// Why the directory could not answer, or would not.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// The records' store failed.
    #[error("the directory's records: {0}")]
    Storage(#[from] StorageError),
    /// A record is damaged or was written by a newer version.
    #[error("the directory's record {key} can't be read: {detail}")]
    Record {
        /// The record.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// All incarnations have been given out.
    #[error("all 2^24 - 1 node incarnations are used up")]
    IncarnationsExhausted,
    /// The node started again, or somebody started another of its name.
    #[error(
        "a newer node is called {name:?} ({newer}, this one is {incarnation}); each name is for one node"
    )]
    Replaced {
        /// The name.
        name: String,
        /// Who asked.
        incarnation: Incarnation,
        /// Who has the name.
        newer: Incarnation,
    },
    /// Who asks has not announced itself, or has withdrawn.
    #[error("no node in incarnation {0} is there")]
    UnknownIncarnation(Incarnation),
    /// Nodes were told different things.
    #[error(
        "{key} is {theirs} at the node called {node:?} and {ours} in this cluster; all its nodes need the same"
    )]
    Setting {
        /// The key of the configuration.
        key: String,
        /// Who has another.
        node: String,
        /// What it has.
        theirs: String,
        /// What the directory's node has.
        ours: String,
    },
    /// The lanes can't change so.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A claim of a lane that is to run elsewhere.
    #[error("lane {lane} has its place at {place}, not at {node}")]
    Elsewhere {
        /// The lane.
        lane: LaneId,
        /// Where it belongs.
        place: String,
        /// Who wanted it.
        node: String,
    },
    /// A tick rate out of bounds.
    #[error("a tick rate of {0} Hz is not between 0.1 and 1000")]
    Rate(f64),
    /// Another node runs the space at another rate.
    #[error("{runner} runs space {space} at {theirs} Hz, not at {ours}")]
    OtherRate {
        /// The space.
        space: SpaceId,
        /// Who.
        runner: String,
        /// At which rate.
        theirs: f64,
        /// The one asked for.
        ours: f64,
    },
    /// A tick was noted for a space that never had a clock.
    #[error("space {0} has no clock yet")]
    UnknownSpace(SpaceId),
    /// It can't be said yet; ask again soon.
    #[error("not yet: {0}")]
    NotYet(String),
    /// The node that serves the directory did not answer. What was asked may have taken effect.
    #[error("the directory: {0}")]
    Unreachable(String),
    /// The node that serves the directory refused, for one of the reasons above.
    #[error("{0}")]
    Refused(String),
}

impl DirectoryError {
    /// Asking again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NotYet(_) | Self::Unreachable(_))
    }
}
