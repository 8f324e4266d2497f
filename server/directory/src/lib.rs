//! Ownership records: node incarnations, lane epochs, space clocks.
//!
//! The directory is where it is decided who may act. It deliberately knows no network and no clock: time is an
//! argument. [`LocalDirectory`] keeps its records in a [`myriad_storage::Storage`] and serves one process or a
//! few that ask it over the fabric; a cluster's directory stands behind the same [`Directory`] trait.

mod clock;
mod local;

pub use clock::CLOCK_NOTE_SECONDS_MAX;
pub use local::LocalDirectory;

use bincode::{Decode, Encode};
use myriad_storage::StorageError;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceClock, SpaceId, Tick};
use thiserror::Error;

/// Where ownership is recorded. Every method blocks until its effect is durable: never call one in a tick.
pub trait Directory: Send {
    /// A node starts: gives it an incarnation that no node ever had. The first is 1.
    ///
    /// # Errors
    /// If the record can't be kept, or all 2^24 - 1 incarnations are used up.
    fn register_node(&mut self, name: &str) -> Result<Incarnation, DirectoryError>;

    /// The last incarnation of the node called `name`, if it ever started. An older one has been replaced.
    ///
    /// # Errors
    /// If the record can't be read.
    fn node(&mut self, name: &str) -> Result<Option<Incarnation>, DirectoryError>;

    /// The node in `incarnation` takes a lane over. The epoch is higher than that of every claim before it, of
    /// any lane; from now on readers refuse the lane's earlier epochs.
    ///
    /// # Errors
    /// If the record can't be kept, or no node ever had that incarnation.
    fn claim_lane(&mut self, lane: LaneId, incarnation: Incarnation) -> Result<LaneEpoch, DirectoryError>;

    /// The claim on a lane that stands, if it was ever claimed.
    ///
    /// # Errors
    /// If the record can't be read.
    fn lane(&mut self, lane: LaneId) -> Result<Option<LaneClaim>, DirectoryError>;

    /// The clock of a space that is to run at `hz`, at `now_us` microseconds since the Unix epoch.
    ///
    /// A space keeps its clock over restarts. It gets a new base, above every tick that may have run, if the
    /// rate changed or if the wall clock went back over a restart. All lanes of a space must ask for one rate.
    ///
    /// # Errors
    /// If the record can't be kept, or `hz` is not in `0.1..=1000`.
    fn space_clock(&mut self, space: SpaceId, hz: f64, now_us: u64) -> Result<SpaceClock, DirectoryError>;

    /// The space has reached `tick`. To be told at least every [`CLOCK_NOTE_SECONDS_MAX`] while it runs, so that
    /// numbers never go back, even if the wall clock does so over a crash.
    ///
    /// # Errors
    /// If the record can't be kept, or the space has no clock yet.
    fn note_tick(&mut self, space: SpaceId, tick: Tick) -> Result<(), DirectoryError>;

    /// The space has stopped cleanly after `tick`: the next start needs no margin for ticks that were not noted.
    ///
    /// # Errors
    /// If the record can't be kept, or the space has no clock yet.
    fn close_space(&mut self, space: SpaceId, tick: Tick) -> Result<(), DirectoryError>;
}

/// Who has authority over a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LaneClaim {
    /// Which start of which node.
    pub incarnation: Incarnation,
    /// The claim's epoch.
    pub epoch: LaneEpoch,
}

/// Why the directory could not answer.
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
    /// A claim by a node that never registered here.
    #[error("incarnation {0} was never given to a node by this directory")]
    UnknownIncarnation(Incarnation),
    /// A tick rate out of bounds.
    #[error("a tick rate of {0} Hz is not between 0.1 and 1000")]
    Rate(f64),
    /// A tick was noted for a space that never had a clock.
    #[error("space {0} has no clock yet")]
    UnknownSpace(SpaceId),
}
