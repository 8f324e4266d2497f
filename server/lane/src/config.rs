//! What a lane is told at its start.

use myriad_wire::{Incarnation, LaneEpoch, LaneId, Pos, SpaceClock, SpaceId};

/// How a lane runs. Times are in seconds and become ticks by the clock's rate, rounded up if nothing else is said.
#[derive(Clone, Debug)]
pub struct Config {
    /// The lane.
    pub lane: LaneId,
    /// The directory's revision of this node's claim to the lane.
    pub epoch: LaneEpoch,
    /// The node's incarnation: new entities are numbered under it.
    pub incarnation: Incarnation,
    /// The space that the lane is (a part of).
    pub space: SpaceId,
    /// When each tick is due.
    pub clock: SpaceClock,
    /// Lowest position per axis.
    pub bounds_min: Pos,
    /// Highest position per axis.
    pub bounds_max: Pos,
    /// Side of the square around the origin in which new avatars appear, in position units.
    pub spawn_side: u32,
    /// Seed of the places where new avatars appear.
    pub seed: u64,
    /// How much unused movement an avatar saves up, in milliseconds at full speed. At least two tick periods, or
    /// honest clients are corrected for the network's jitter.
    pub burst_ms: u32,
    /// How long an avatar stays in the world without a session, in seconds.
    pub grace_s: f64,
    /// After how long without a report a gateway is taken for dead, in seconds.
    pub gateway_silence_s: f64,
    /// How often an avatar that changed is saved, in seconds.
    pub save_interval_s: f64,
    /// How often each member of a crowd track is told, in seconds. Becomes ticks rounded to the nearest, at least one.
    pub crowd_period_s: f64,
    /// Most sessions; one more is refused as `Full`.
    pub sessions_max: u32,
    /// Most messages that wait for the next tick; one more is dropped, and the link asks for it anew.
    pub inbox_max: usize,
    /// Whether each tick's truth is put out, for the load harness.
    pub truth: bool,
}

impl Config {
    /// Ticks between two tellings of a crowd track.
    pub(crate) fn crowd_period_ticks(&self) -> u64 {
        let ticks = (self.crowd_period_s * self.clock.hz()).round() as u64;
        ticks.clamp(1, crate::crowd::PERIOD_TICKS_MAX)
    }
}

/// Most movement intents of one session that wait for a tick; beyond it the newest are dropped and counted.
pub(crate) const INTENTS_QUEUED_MAX: usize = 32;
/// Most commands of one session that wait for a tick; beyond it the newest are refused.
pub(crate) const COMMANDS_QUEUED_MAX: usize = 32;
/// How many sessions are remembered after the lane ended them, in case their gateway missed it and asks again.
pub(crate) const ENDED_SESSIONS_REMEMBERED: usize = 1024;
/// Most save requests under way. While storage is that far behind, what changed waits in the world.
pub(crate) const SAVES_IN_FLIGHT_MAX: usize = 4;
