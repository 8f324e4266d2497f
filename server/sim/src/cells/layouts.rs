//! Lanes that come and go: the directory changes the layout, and each role hears of it in its own time.

use super::nodes::LaneNode;
use super::{Cells, network};
use myriad_wire::directory::{Duty, LaneClaim, LayoutChange};
use myriad_wire::{GatewayId, LaneId};

/// The nodes that take lanes. Where a lane is makes no difference here, but only what is elsewhere can be moved.
pub(super) const NODES: [&str; 3] = ["a", "b", "c"];
/// A lane that opened serves after so many steps, whoever reads it: a gateway may have crashed.
const OPENING_STEPS_MAX: u64 = 20;
/// A lane that has ended runs on for as many steps, for gateways that have not heard so.
const LINGER_STEPS: u64 = 12;
/// So many lanes there are at most, those included that come or go.
const LANES_MAX: usize = 12;

/// A role's way to the directory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hearing {
    /// The version that it goes by.
    version: u64,
    /// It hears nothing before this step.
    deaf_until: u64,
}

impl Cells {
    /// Lanes are to come, go or move, if they may.
    pub(super) fn change_layout(&mut self) {
        let lane = self
            .dice
            .pick(&self.layout.lanes.keys().copied().collect::<Vec<LaneId>>());
        let cell = self.layout.lanes[&lane].cell;
        let node = self.dice.pick(&NODES).to_owned();
        let (change, row) = match self.dice.below(3) {
            0 => (LayoutChange::Split { cell, node }, "cells split"),
            1 => (LayoutChange::Merge(lane), "lanes told to retire"),
            _ => (LayoutChange::Move { lane, node }, "lanes to be moved"),
        };
        let adds = !matches!(change, LayoutChange::Merge(_));
        if adds && self.layout.lanes.len() >= LANES_MAX {
            return;
        }
        if self.layout.change(&change).is_ok() {
            self.table.note(row);
            self.relayed(&format!("{change:?}"));
        }
    }

    /// The directory has another version of the layout.
    fn relayed(&mut self, what: &str) {
        self.partition = self.layout.partition(&self.grid).expect("lanes of this grid");
        let version = self.layout.version;
        self.note(format_args!("layout {version}: {what}"));
    }

    /// The node of a lane claims and starts it.
    pub(super) fn start_lane(&mut self, lane: LaneId) {
        self.epoch.0 += 1;
        let incarnation = self.next_incarnation();
        let epoch = self.epoch;
        self.layout
            .claim(lane, LaneClaim { incarnation, epoch })
            .expect("a lane of the layout");
        let mut node = LaneNode::start(self, lane, epoch, incarnation);
        node.hearing.version = self.partition.version();
        node.since = self.step;
        self.lanes.push(node);
        self.note(format_args!("lane {lane} starts in {epoch:?}"));
    }

    /// Nodes start the lanes that they are to run, say when these are read or have nothing any more, and stop those that
    /// have ended.
    pub(super) fn lanes_come_and_go(&mut self) {
        let records: Vec<_> = self.layout.lanes.values().cloned().collect();
        for record in records {
            let lane = record.lane;
            let Some(place) = self.lanes.iter().position(|node| node.lane == lane) else {
                // A node starts it when it has heard of it and has loaded the scripts.
                if self.calm || self.dice.chance(300) {
                    self.start_lane(lane);
                }
                continue;
            };
            let epoch = record.claim.expect("it runs").epoch;
            let node = &self.lanes[place];
            let change = match record.duty {
                Duty::Opening => {
                    let gateways = self.gateways.iter().filter(|node| node.core.is_some());
                    let mut gateways = gateways.map(|node| GatewayId(node.node.0));
                    let is_read = node.core.is_read_by(&mut gateways);
                    if !is_read && self.step - node.since < OPENING_STEPS_MAX {
                        continue;
                    }
                    self.table.note("lanes that began to serve");
                    if !is_read {
                        // Some gateway does not know it: whom it has is in no view there for a while.
                        self.watch.be_stale_until(self.step + network::STALE_STEPS);
                        self.table
                            .note("lanes that began to serve before all gateways read them");
                    }
                    LayoutChange::Serve { lane, epoch }
                }
                Duty::Retiring if node.core.is_over() => {
                    self.table.note("lanes that ended");
                    LayoutChange::End { lane, epoch }
                }
                Duty::Serving | Duty::Retiring => continue,
            };
            self.layout.change(&change).expect("it may");
            self.relayed(&format!("{change:?}"));
        }
        let step = self.step;
        for place in (0..self.lanes.len()).rev() {
            let node = &mut self.lanes[place];
            if self.layout.lanes.contains_key(&node.lane) {
                continue;
            }
            let since = *node.ended_at.get_or_insert(step);
            if step - since >= LINGER_STEPS {
                let node = self.lanes.remove(place);
                self.note(format_args!("lane {} is stopped", node.lane));
                self.count_lane(&node);
            }
        }
    }

    /// Each role asks the directory now and then.
    pub(super) fn hear_of_layouts(&mut self) {
        let version = self.partition.version();
        let mut adopted = 0;
        let mut passed = 0;
        let hearings = self.lanes.iter_mut().map(|node| &mut node.hearing);
        for hearing in hearings.chain(self.gateways.iter_mut().map(|node| &mut node.hearing)) {
            if hearing.version == version || self.step < hearing.deaf_until {
                continue;
            }
            if !self.calm && self.strength.cut > 0 && self.dice.chance(40) {
                hearing.deaf_until = self.step + self.dice.within(2..=25);
            } else if self.calm || self.dice.chance(500) {
                adopted += 1;
                passed += u64::from(version - hearing.version > 1);
                hearing.version = version;
                hearing.deaf_until = 0;
            }
        }
        for node in &mut self.lanes {
            if node.hearing.version == version {
                node.core.adopt(self.partition.clone());
            }
        }
        let lanes: Vec<LaneId> = self.partition.lanes().collect();
        let homes: Vec<LaneId> = self.partition.homes().collect();
        for node in &mut self.gateways {
            if let Some(core) = node.core.as_mut().filter(|_| node.hearing.version == version) {
                core.adopt(&lanes, &homes);
            }
        }
        self.table.add("layouts adopted", adopted);
        self.table.add("layouts passed over", passed);
    }

    /// Every lane has done what it is there for.
    pub(super) fn prove_layout(&self) -> super::Checked {
        let version = self.partition.version();
        for node in self
            .lanes
            .iter()
            .filter(|node| self.layout.lanes.contains_key(&node.lane))
        {
            let (lane, duty) = (node.lane, self.layout.lanes[&node.lane].duty);
            super::demand!(
                node.core.config().partition.version() == version,
                "lane {lane} goes by another layout at the end"
            );
            super::demand!(duty != Duty::Opening, "lane {lane} has not opened");
            let left = node.core.entities();
            super::demand!(
                duty != Duty::Retiring || left == 0 || self.is_crowded(),
                "lane {lane} retires, and has {left} entities at the end"
            );
        }
        Ok(())
    }

    /// Whether lanes may have no room for all who would come.
    pub(super) fn is_crowded(&self) -> bool {
        self.seed.is_multiple_of(3)
    }
}
