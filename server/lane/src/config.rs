//! What a lane is told at its start.

use myriad_cluster::{Ground, Partition};
use myriad_wire::{Incarnation, LaneEpoch, LaneId, Pos, SpaceClock, SpaceId};
use myriad_world::Share;

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
    /// How the space is cut. The lane is one of its lanes. Another with each layout that the lane adopts.
    pub partition: Partition,
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
    /// Which places of the space the lane is to populate at its start: none, if it is added to a cell whose other lanes have
    /// done so.
    #[must_use]
    pub fn share(&self) -> Share {
        let share = |ground: Ground| Share {
            low: ground.low,
            high: ground.high,
            lane: ground.lane,
            lanes: ground.lanes,
        };
        self.partition.ground_of(self.lane).map_or(Share::NOTHING, share)
    }

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
/// How many sessions an avatar remembers that newer ones replaced.
pub(crate) const REPLACED_REMEMBERED: usize = 8;
/// Most save requests under way. While storage is that far behind, what changed waits in the world.
pub(crate) const SAVES_IN_FLIGHT_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(partition: &Partition, lane: LaneId) -> Config {
        Config {
            lane,
            epoch: LaneEpoch(1),
            incarnation: Incarnation(1),
            space: SpaceId(1),
            partition: partition.clone(),
            clock: SpaceClock::new(0, 10.0),
            bounds_min: Pos::default(),
            bounds_max: Pos::default(),
            spawn_side: 0,
            seed: 1,
            burst_ms: 1000,
            grace_s: 1.0,
            gateway_silence_s: 1.0,
            save_interval_s: 1.0,
            crowd_period_s: 1.0,
            sessions_max: 1,
            inbox_max: 1,
            truth: false,
        }
    }

    proptest! {
        #[test]
        fn each_place_is_owned_by_one_lane_of_its_cell(
            (low, high) in (-5000..0i32, 1..5000i32),
            (side, lanes) in (3_000..20_000u32, 1..4u32),
            places in proptest::collection::vec((any::<i32>(), any::<i32>()), 1..20),
            near in proptest::collection::vec((-6000..6000i32, -6000..6000i32), 1..20),
        ) {
            let corner = |at: i32| Pos { x: at, y: 0, z: at };
            let partition = Partition::grid(corner(low), corner(high), side, lanes).expect("few cells");
            for (x, z) in places.into_iter().chain(near) {
                let place = Pos { x, y: 3, z };
                let owners: Vec<LaneId> = partition
                    .lanes()
                    .filter(|lane| config(&partition, *lane).share().owns(place))
                    .collect();
                prop_assert_eq!(owners.len(), 1, "{:?}", owners);
                prop_assert_eq!(partition.cell_of(owners[0]), Some(partition.cell_at(place)));
            }
        }
    }

    #[test]
    fn the_only_lane_of_a_space_owns_all_of_it() {
        let lane = LaneId(4);
        let whole = Partition::whole(lane);
        assert_eq!(config(&whole, lane).share(), Share::WHOLE);
        assert_eq!(config(&whole, LaneId(5)).share(), Share::NOTHING);
    }
}
