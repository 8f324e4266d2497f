//! The fabric: messages between roles, each lost, doubled or late by chance, and links that are cut for a while.

use super::{Cluster, Event};
use crate::check::Checked;
use crate::coverage::Exercise;
use bytes::Bytes;
use myriad_wire::fabric::{Envelope, RoleId};
use std::ops::RangeInclusive;

/// How long a message is under way, in microseconds.
const JOURNEY_US: RangeInclusive<u64> = 100..=1500;
/// How much later one is that is late: younger ones overtake it.
const LATE_US: RangeInclusive<u64> = 2_000..=400_000;

impl Cluster {
    /// A role sends.
    pub(super) fn fabric_send(&mut self, envelope: Envelope, body: Bytes) {
        self.digest.put(self.now_us, &body);
        let dice = &mut self.dice.fabric;
        let gateway = match (envelope.from, envelope.to) {
            (RoleId::Gateway(id), _) | (_, RoleId::Gateway(id)) => id,
            _ => return, // One lane, which has nobody else to speak to.
        };
        let node = self.gateways.iter().find(|node| node.is(gateway));
        let is_cut = node.is_some_and(|node| self.now_us < node.cut_until_us);
        if is_cut || dice.chance(self.strength.fabric_lost) {
            self.coverage.note(Exercise::FabricLost);
            return;
        }
        let copies = 1 + u64::from(dice.chance(self.strength.fabric_doubled));
        self.coverage.add(Exercise::FabricDoubled, copies - 1);
        for _ in 0..copies {
            // In its order, as on a stream, unless something goes wrong.
            let last_us = self
                .fabric_last_us
                .entry((envelope.from, envelope.to))
                .or_default();
            let mut at_us = (self.now_us + dice.within(JOURNEY_US)).max(*last_us);
            *last_us = at_us;
            if dice.chance(self.strength.fabric_late) {
                at_us += dice.within(LATE_US);
                self.coverage.note(Exercise::FabricLate);
            }
            self.agenda
                .put(at_us, Event::FabricArrives(envelope, body.clone()));
        }
    }

    /// A message arrives, if its receiver is still there.
    pub(super) fn fabric_arrives(&mut self, envelope: &Envelope, body: Bytes) -> Checked {
        match envelope.to {
            RoleId::Lane(_) => {
                if let Some(lane) = &mut self.lane {
                    lane.core.handle_message(envelope, body);
                }
                Ok(())
            }
            RoleId::Gateway(id) => {
                let Some(gateway) = self.gateways.iter().position(|node| node.is(id)) else {
                    return Ok(());
                };
                self.gateway_hears(gateway, envelope, body)
            }
            RoleId::Directory | RoleId::Store | RoleId::Caller(_) => Ok(()),
        }
    }
}
