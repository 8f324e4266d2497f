//! The issuers of the names in one tick's frame.

use myriad_wire::LaneEpoch;
use myriad_wire::fabric::Issuer;

/// The table that a frame's records refer to. Made anew for each tick, as records ask.
#[derive(Debug)]
pub(crate) struct Issuers(Vec<LaneEpoch>);

impl Issuers {
    /// The lane's own names are the most.
    pub(crate) fn of(own: LaneEpoch) -> Self {
        Self(vec![own])
    }

    /// Where `issuer` stands in the table.
    pub(crate) fn index(&mut self, issuer: LaneEpoch) -> Issuer {
        let place = self.0.iter().position(|known| *known == issuer);
        let place = place.unwrap_or_else(|| {
            self.0.push(issuer);
            self.0.len() - 1
        });
        Issuer(u16::try_from(place).expect("a space has far fewer lanes"))
    }

    /// The table.
    pub(crate) fn table(&self) -> Vec<LaneEpoch> {
        self.0.clone()
    }
}
