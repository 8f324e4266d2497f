//! Lanes that come and go: a gateway gives each a number, which it gives again when the lane has ended.

use super::Gateway;
use crate::lanes::{Lane, LaneState};
use crate::sessions::Sessions;
use myriad_wire::LaneId;

impl Gateway {
    /// The space has these lanes from now on; accounts may have their home at these of them. What a lane that has ended said
    /// before is told still.
    pub fn adopt(&mut self, lanes: &[LaneId], homes: &[LaneId]) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_open()) {
            if !lanes.contains(&lane.id) {
                lane.state = LaneState::Closing;
            }
        }
        for id in lanes {
            if !self.lanes.iter().any(|lane| lane.is_open() && lane.id == *id) {
                self.open_lane(*id);
            }
        }
        self.homes = homes.to_vec();
    }

    fn open_lane(&mut self, id: LaneId) {
        let vacant = self.lanes.iter().position(|lane| lane.state == LaneState::Vacant);
        let number = vacant.unwrap_or(self.lanes.len());
        let lane = Lane::new(id, self.config.incarnation);
        if number == self.lanes.len() {
            self.lanes.push(lane);
            self.frames.push(None);
        } else {
            self.lanes[number] = lane;
        }
        self.mirror.set_lane(number, id);
        self.crowd.set_lane(number);
    }
}

/// Lanes that have ended, and of which nothing waits to be told, give up their numbers; `drop_lane` forgets what they said.
/// Whose avatar was there, as far as is known here, asks the home lane of its account for it.
pub(super) fn close_lanes(
    lanes: &mut [Lane],
    homes: &[LaneId],
    sessions: &mut Sessions,
    mut drop_lane: impl FnMut(usize),
) {
    for number in 0..lanes.len() {
        if lanes[number].state != LaneState::Closing || lanes[number].waiting() > 0 {
            continue;
        }
        lanes[number].vacate();
        drop_lane(number);
        for (_, session) in sessions.iter_mut().filter(|(_, session)| session.is_at(number)) {
            let home = session.home(homes, lanes);
            session.presence.detach();
            session.presence.move_to(home);
            lanes[home].report.attach.push(session.attach());
        }
    }
}
