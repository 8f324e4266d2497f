//! The ways between roles: each message lost, doubled or late by chance, each way cut for a while.

use super::Cells;
use bytes::Bytes;
use myriad_wire::fabric::{Envelope, RoleId};
use std::collections::BTreeMap;

/// Messages under way, and ways that are cut.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// By the step in which each arrives, and then in the order in which they were sent.
    flying: BTreeMap<(u64, u64), (Envelope, Bytes)>,
    sent: u64,
    /// From whom to whom nothing gets through, until which step.
    cuts: Vec<(RoleId, RoleId, u64)>,
}

impl Network {
    /// The next message for which `is_for` that has arrived by `step`.
    pub(super) fn take(&mut self, step: u64, is_for: impl Fn(RoleId) -> bool) -> Option<(Envelope, Bytes)> {
        let mut due = self.flying.range(..=(step, u64::MAX));
        let key = *due.find(|(_, (envelope, _))| is_for(envelope.to))?.0;
        self.flying.remove(&key)
    }

    /// All ways are whole again.
    pub(super) fn heal(&mut self) {
        self.cuts.clear();
    }

    fn is_cut(&self, from: RoleId, to: RoleId, step: u64) -> bool {
        let is_it = |cut: &&(RoleId, RoleId, u64)| (cut.0, cut.1) == (from, to) && step < cut.2;
        self.cuts.iter().any(|cut| is_it(&cut))
    }
}

/// For how long after a way is whole again a gateway may still go by what it knew before.
pub(super) const STALE_STEPS: u64 = 10;

/// The rows of what happens between lanes, and between lanes and gateways.
const LOST: [&str; 2] = [
    "between lanes: messages lost",
    "between lanes and gateways: messages lost",
];
const CUT: [&str; 2] = ["between lanes: ways cut", "between lanes and gateways: ways cut"];

fn row(rows: [&'static str; 2], from: RoleId, to: RoleId) -> &'static str {
    let lanes = matches!((from, to), (RoleId::Lane(_), RoleId::Lane(_)));
    rows[usize::from(!lanes)]
}

impl Cells {
    /// A role sends. A lane's frame reaches gateways in the same step, everything else in the next.
    pub(super) fn send(&mut self, envelope: Envelope, body: &Bytes) {
        let Envelope { from, to, .. } = envelope;
        if self.network.is_cut(from, to, self.step) || self.dice.chance(self.strength.lost) {
            self.table.note(row(LOST, from, to));
            return;
        }
        let lanes = matches!((from, to), (RoleId::Lane(_), RoleId::Lane(_)));
        let usual = u64::from(!matches!(to, RoleId::Gateway(_)));
        let copies = 1 + u64::from(self.dice.chance(self.strength.doubled));
        for copy in 0..copies {
            let mut steps = usual;
            if self.dice.chance(self.strength.late) {
                steps += self.dice.within(1..=8);
                if lanes {
                    self.table.note("between lanes: messages late");
                }
            }
            if lanes && copy > 0 {
                self.table.note("between lanes: messages doubled");
            }
            self.network.sent += 1;
            let key = (self.step + steps, self.network.sent);
            self.network.flying.insert(key, (envelope, body.clone()));
        }
    }

    /// Nothing gets through between two roles for a while, one way or both.
    pub(super) fn cut_some_way(&mut self) {
        let lanes: Vec<RoleId> = self.lanes.iter().map(|node| RoleId::Lane(node.lane)).collect();
        let gateways = self.gateways.iter().filter_map(|gateway| gateway.role());
        let all: Vec<RoleId> = lanes.iter().copied().chain(gateways).collect();
        let from = self.dice.pick(&lanes);
        let to = self.dice.pick(&all);
        if from == to {
            return;
        }
        let steps = self.dice.within(2..=40);
        let until = self.step + steps;
        let both = self.dice.chance(500);
        let (from, to) = if self.dice.chance(500) {
            (from, to)
        } else {
            (to, from)
        };
        self.network.cuts.retain(|(_, _, until)| *until > self.step);
        self.network.cuts.push((from, to, until));
        if both {
            self.network.cuts.push((to, from, until));
        }
        if !matches!((from, to), (RoleId::Lane(_), RoleId::Lane(_))) {
            self.watch.be_stale_until(until + STALE_STEPS);
        }
        self.table.note(row(CUT, from, to));
        self.note(format_args!(
            "from {from:?} to {to:?} nothing gets through for {steps} steps, both ways: {both}"
        ));
    }
}
