//! Handoff: entities come under this lane's authority and leave it.
//!
//! By [`sessions`], avatars come from storage when their player comes, and go there when the player is gone. By
//! [`lanes`], entities come from other lanes and go there; whom this lane would not have, [`offers`] says. Which lane is
//! asked for an avatar, and who tells it where that is, is the matter of [`homes`]. What scripts
//! [call](calls) goes the same ways.

mod calls;
pub(crate) mod homes;
mod lanes;
mod offers;
mod sessions;

use crate::lane::Lane;
use myriad_storage::StorageRequest;
use myriad_wire::Tick;

pub(crate) use calls::send as send_call;
pub(crate) use lanes::{choose_departures, give_names_back, hand_over, take_message, take_parcels};
pub(crate) use sessions::forget_avatar;

pub(crate) fn handoff(lane: &mut Lane, now: Tick, requests: &mut Vec<StorageRequest>) {
    sessions::take_wishes(lane, now, requests);
    sessions::remove_despawned(lane);
    sessions::depart(lane, now);
    offers::offer(lane, now);
}
