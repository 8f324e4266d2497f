//! What goes wrong once: links cut, streams stalled, nodes crashed. And the end of it all.

use super::{Cluster, Event, GATEWAYS};
use crate::check::Checked;
use crate::coverage::Exercise;
use crate::scenario::{Mishap, Strength};
use myriad_gateway::ConnId;

impl Cluster {
    /// Something goes wrong, and again later.
    pub(super) fn mishap_strikes(&mut self) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        let after_us = self.dice.mishaps.within(self.strength.mishap_ms.clone()) * 1000;
        self.agenda.put(self.now_us + after_us, Event::MishapStrikes);
        let gateway = self.dice.mishaps.below(GATEWAYS as u64) as usize;
        match self.strength.mishap(&mut self.dice.mishaps) {
            None => {}
            Some(Mishap::FabricCut) => {
                let cut_us = self.dice.mishaps.pick(&[100_000, 500_000, 1_500_000, 4_000_000]);
                self.gateways[gateway].cut_until_us = self.now_us + cut_us;
                self.coverage.note(Exercise::FabricCut);
                self.note(format_args!("gateway {gateway} is cut off for {cut_us} us"));
            }
            Some(Mishap::StreamStalls) => self.stream_stalls(),
            Some(Mishap::ConnectionLost) => {
                if let Some(conn) = self.some_connection() {
                    self.connection_is_lost(conn);
                }
            }
            Some(Mishap::ReaderPauses) => self.reader_pauses(),
            Some(Mishap::GatewayCrashes) => self.gateway_crashes(gateway),
            Some(Mishap::LaneCrashes) => self.lane_crashes(),
            Some(Mishap::LaneIsReplaced) => return self.lane_is_replaced(),
            Some(Mishap::LaneIsLate) => {
                let late_us = self.dice.mishaps.within(20_000..=700_000);
                if let Some(lane) = &mut self.lane {
                    lane.late_until_us = self.now_us + late_us;
                }
            }
            Some(Mishap::StorageFails) => {
                let fails_us = self.dice.mishaps.within(100_000..=2_000_000);
                self.storage_fails_until_us = self.now_us + fails_us;
                self.note(format_args!("storage fails for {fails_us} us"));
            }
        }
        Ok(())
    }

    fn some_connection(&mut self) -> Option<ConnId> {
        let open: Vec<ConnId> = self.connections.keys().copied().collect();
        (!open.is_empty()).then(|| self.dice.mishaps.pick(&open))
    }

    fn stream_stalls(&mut self) {
        let stall_us = self.dice.mishaps.within(50_000..=1_500_000);
        let Some(conn) = self.some_connection() else {
            return;
        };
        let now_us = self.now_us;
        if let Some(connection) = self.connections.get_mut(&conn) {
            let up = self.dice.mishaps.chance(500);
            let pipe = if up {
                &mut connection.to_gateway
            } else {
                &mut connection.to_client
            };
            pipe.not_before_us = pipe.not_before_us.max(now_us) + stall_us;
            self.coverage.note(Exercise::StreamStalled);
        }
    }

    fn reader_pauses(&mut self) {
        let pause_us = self.dice.mishaps.within(500_000..=7_000_000);
        let Some(conn) = self.some_connection() else {
            return;
        };
        let until_us = self.now_us + pause_us;
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.reads_from_us = until_us;
        }
        self.agenda.put(until_us, Event::StreamToClient(conn));
        self.coverage.note(Exercise::ReaderPaused);
        self.note(format_args!("{conn:?} does not read for {pause_us} us"));
    }

    /// Nothing goes wrong any more: what is cut is whole again, what is down starts, who paused reads.
    pub(super) fn trouble_ends(&mut self) -> Checked {
        self.is_calm = true;
        self.strength = Strength::none();
        self.storage_fails_until_us = 0;
        let now_us = self.now_us;
        for gateway in 0..GATEWAYS {
            self.gateways[gateway].cut_until_us = 0;
            self.gateway_starts(gateway)?;
        }
        if let Some(lane) = &mut self.lane {
            lane.late_until_us = 0;
        }
        for (conn, connection) in &mut self.connections {
            if connection.reads_from_us > now_us {
                connection.reads_from_us = now_us;
                self.agenda.put(now_us, Event::StreamToClient(*conn));
            }
        }
        self.players_settle();
        self.note(format_args!("the faults stop"));
        Ok(())
    }
}
