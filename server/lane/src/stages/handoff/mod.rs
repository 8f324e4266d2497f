//! Handoff: entities come under this lane's authority and leave it.
//!
//! By [`sessions`], avatars come from storage when their player comes, and go there when the player is gone. By
//! [`lanes`], entities come from other lanes and go there, wherever they have come to be.

mod lanes;
mod sessions;

use crate::lane::Lane;
use myriad_storage::StorageRequest;
use myriad_wire::Tick;

pub(crate) use lanes::{choose_departures, give_names_back, hand_over, take_message, take_parcels};
pub(crate) use sessions::forget_avatar;

pub(crate) fn handoff(lane: &mut Lane, now: Tick, requests: &mut Vec<StorageRequest>) {
    sessions::take_wishes(lane, now, requests);
    sessions::remove_despawned(lane);
    sessions::depart(lane, now);
    lanes::offer_strays(lane, now);
}
