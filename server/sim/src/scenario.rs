//! What may happen in a run, and how strong it is under one seed.

use crate::dice::Dice;
use std::ops::RangeInclusive;

/// What may happen in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// How many players there are.
    pub players: RangeInclusive<u64>,
    /// How long faults go on, in milliseconds of virtual time.
    pub trouble_ms: u64,
    /// How long the cluster then has to come to rest, in milliseconds: longer than any delay, grace period and
    /// login timeout together.
    pub settle_ms: u64,
    /// How long it is then watched, in milliseconds.
    pub watch_ms: u64,
    /// Fabric messages are lost, doubled, late; links are cut.
    pub fabric: bool,
    /// Datagrams are lost, doubled, late; streams stall; connections are lost; clients stop reading.
    pub clients: bool,
    /// Storage is slow and fails.
    pub storage: bool,
    /// Gateways crash.
    pub gateways: bool,
    /// Lanes crash, are late, and go on after another has taken over.
    pub lanes: bool,
    /// Some players move faster than they may.
    pub cheaters: bool,
    /// In most runs a few in view are a crowd already.
    pub crowds: bool,
}

impl Default for Scenario {
    /// Everything happens.
    fn default() -> Self {
        Self {
            players: 5..=12,
            trouble_ms: 18_000,
            settle_ms: 9_000,
            watch_ms: 3_000,
            fabric: true,
            clients: true,
            storage: true,
            gateways: true,
            lanes: true,
            cheaters: true,
            crowds: true,
        }
    }
}

impl Scenario {
    /// Nothing goes wrong.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            fabric: false,
            clients: false,
            storage: false,
            gateways: false,
            lanes: false,
            cheaters: false,
            ..Self::default()
        }
    }
}

/// How strong each fault is under one seed: per thousand, if nothing else is said. Some are off in every run, so that
/// each is also seen without the others.
#[derive(Clone, Debug)]
pub(crate) struct Strength {
    pub(crate) fabric_lost: u32,
    pub(crate) fabric_late: u32,
    pub(crate) fabric_doubled: u32,
    pub(crate) datagram_lost: u32,
    pub(crate) datagram_late: u32,
    pub(crate) datagram_doubled: u32,
    pub(crate) storage_slow: u32,
    pub(crate) storage_failed: u32,
    /// Weights of the mishaps against each other.
    pub(crate) mishaps: [(Mishap, u32); Mishap::ALL.len()],
    /// Time between two mishaps, in milliseconds.
    pub(crate) mishap_ms: RangeInclusive<u64>,
}

/// Something that goes wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    FabricCut,
    StreamStalls,
    ConnectionLost,
    ReaderPauses,
    GatewayCrashes,
    LaneCrashes,
    LaneIsReplaced,
    LaneIsLate,
    StorageFails,
}

impl Mishap {
    pub(crate) const ALL: [Self; 9] = [
        Self::FabricCut,
        Self::StreamStalls,
        Self::ConnectionLost,
        Self::ReaderPauses,
        Self::GatewayCrashes,
        Self::LaneCrashes,
        Self::LaneIsReplaced,
        Self::LaneIsLate,
        Self::StorageFails,
    ];

    fn is_in(self, scenario: &Scenario) -> bool {
        match self {
            Self::FabricCut => scenario.fabric,
            Self::StreamStalls | Self::ConnectionLost | Self::ReaderPauses => scenario.clients,
            Self::GatewayCrashes => scenario.gateways,
            Self::LaneCrashes | Self::LaneIsReplaced | Self::LaneIsLate => scenario.lanes,
            Self::StorageFails => scenario.storage,
        }
    }

    /// Rarer ones weigh less: after the restart of a lane nothing is left of what went wrong before.
    fn weight(self) -> u64 {
        match self {
            Self::LaneCrashes | Self::LaneIsReplaced => 1,
            Self::GatewayCrashes => 2,
            Self::FabricCut | Self::StreamStalls | Self::ConnectionLost => 5,
            Self::ReaderPauses | Self::LaneIsLate | Self::StorageFails => 5,
        }
    }
}

impl Strength {
    /// Draws it.
    pub(crate) fn draw(scenario: &Scenario, dice: &mut Dice) -> Self {
        let mut strength = |on: bool, most: u64| {
            let often = dice.pick(&[0, most / 8, most]);
            if on { often as u32 } else { 0 }
        };
        let (fabric, clients, storage) = (scenario.fabric, scenario.clients, scenario.storage);
        let (fabric_lost, fabric_late, fabric_doubled) =
            (strength(fabric, 40), strength(fabric, 60), strength(fabric, 60));
        let (datagram_lost, datagram_late, datagram_doubled) = (
            strength(clients, 200),
            strength(clients, 200),
            strength(clients, 100),
        );
        let (storage_slow, storage_failed) = (strength(storage, 300), strength(storage, 150));
        let mishaps = Mishap::ALL.map(|mishap| {
            let weight = dice.pick(&[0, 1, 3]) * mishap.weight();
            (mishap, if mishap.is_in(scenario) { weight as u32 } else { 0 })
        });
        let longest = dice.pick(&[300, 1000, 3000]);
        Self {
            fabric_lost,
            fabric_late,
            fabric_doubled,
            datagram_lost,
            datagram_late,
            datagram_doubled,
            storage_slow,
            storage_failed,
            mishaps,
            mishap_ms: longest / 4..=longest,
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn none() -> Self {
        Self {
            fabric_lost: 0,
            fabric_late: 0,
            fabric_doubled: 0,
            datagram_lost: 0,
            datagram_late: 0,
            datagram_doubled: 0,
            storage_slow: 0,
            storage_failed: 0,
            mishaps: Mishap::ALL.map(|mishap| (mishap, 0)),
            mishap_ms: 1000..=1000,
        }
    }

    /// The next mishap, if any is on.
    pub(crate) fn mishap(&self, dice: &mut Dice) -> Option<Mishap> {
        let total: u32 = self.mishaps.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut at = dice.below(u64::from(total)) as u32;
        for (mishap, weight) in self.mishaps {
            if at < weight {
                return Some(mishap);
            }
            at -= weight;
        }
        None
    }
}
