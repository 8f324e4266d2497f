//! Home lanes: where the avatar of an account is asked for first, and who tells them where it is.
//!
//! Which lane is an account's home goes by the layout, so it changes when lanes come and go. A lane that adopts a layout
//! tells the new homes of the avatars that it has or has handed on, and then every lane that it has adopted it. Until all
//! have said so of the same layout, a home lane brings no avatar into the world that it does not know of: whoever has not
//! said so may have it. What reaches a lane that is not the home any more goes on to the one that is.

use crate::lane::Lane;
use crate::whereabouts::AvatarLife;
use myriad_cluster::Partition;
use myriad_wire::LaneId;
use myriad_wire::lane::{AvatarPlace, Parcel};

/// The lanes of the space are these from now on.
pub(crate) fn adopt(lane: &mut Lane, partition: Partition) {
    let before = std::mem::replace(&mut lane.config.partition, partition);
    let partition = &lane.config.partition;
    lane.peers.adopt(partition);
    // A home lane that adopted a version which this one passed over may have had the account no more, and have it again.
    let passed_over = partition.version() > before.version() + 1;
    let moved: Vec<AvatarPlace> = known_here(lane)
        .filter(|place| passed_over || before.home_of(&place.account) != lane.home_of(&place.account))
        .collect();
    let own = lane.config.lane;
    lane.whereabouts
        .leave_homes(|account| lane.config.partition.home_of(account) == own);
    send_all(lane, moved);
    lane.peers.tell_adopted(lane.config.partition.version());
}

/// Another lane has begun a new life: whoever it had is not there any more, and it knows nothing.
pub(super) fn tell_anew(lane: &mut Lane, other: LaneId) {
    lane.whereabouts.forget_lane(other);
    let its: Vec<AvatarPlace> = known_here(lane)
        .filter(|place| lane.home_of(&place.account) == other)
        .collect();
    send_all(lane, its);
    lane.peers
        .send(other, Parcel::Adopted(lane.config.partition.version()));
}

fn send_all(lane: &mut Lane, places: Vec<AvatarPlace>) {
    for place in places {
        let home = lane.home_of(&place.account);
        if home != lane.config.lane {
            lane.peers.send(home, Parcel::AvatarHere(place));
        }
    }
}

/// Where the avatars are that this lane has, or has handed on: of these the home lane will hear from the lane where they
/// arrive, but perhaps late.
fn known_here(lane: &Lane) -> impl Iterator<Item = AvatarPlace> {
    let own = lane.config.lane;
    let here = lane
        .avatars
        .iter()
        .map(move |(account, avatar)| (account, avatar.life, own));
    let owed = lane.whereabouts.iter().filter(|(_, there)| there.is_owed);
    let there = owed.map(|(account, there)| (account, there.life, there.lane));
    here.chain(there)
        .map(|(account, life, at)| place(lane, account, life, (at, at)))
}

/// What the home lane is told: where the avatar is, and which lane is to hear that it knows so.
fn place(lane: &Lane, account: &str, life: AvatarLife, (at, from): (LaneId, LaneId)) -> AvatarPlace {
    AvatarPlace {
        account: account.to_owned(),
        entity: life.entity,
        era: life.era,
        hop: life.hop,
        at,
        from,
        layout: lane.config.partition.version(),
    }
}

/// An avatar has come here, from another lane or, where that is this one, from storage: tells its home lane so, or, if that is
/// this lane, the lane that it came from.
pub(super) fn note_came(lane: &mut Lane, account: &str, life: AvatarLife, from: LaneId) {
    lane.whereabouts.forget(account);
    let own = lane.config.lane;
    let home = lane.home_of(account);
    let place = place(lane, account, life, (own, from));
    if home != own {
        lane.peers.send(home, Parcel::AvatarHere(place));
    } else if from != own {
        lane.peers.send(from, Parcel::AvatarKnown(place));
    }
}

/// An avatar has ended here, as which life is known: tells its home lane so.
pub(super) fn note_ended(lane: &mut Lane, account: &str, life: AvatarLife) {
    lane.whereabouts.note_end(account, life);
    let own = lane.config.lane;
    let home = lane.home_of(account);
    if home != own {
        let place = place(lane, account, life, (own, own));
        lane.peers.send(home, Parcel::AvatarGone(place));
    }
}

/// To which other lane a word for a home lane goes on, if this is not the one. By a layout that it has not adopted yet it is,
/// if the sender says so: what it is told then it needs when it adopts it, and nobody tells it again.
fn goes_on(lane: &Lane, place: &mut AvatarPlace) -> Option<LaneId> {
    let version = lane.config.partition.version();
    let home = lane.home_of(&place.account);
    let goes_on = home != lane.config.lane && place.layout <= version;
    place.layout = place.layout.max(version);
    goes_on.then_some(home)
}

/// Some lane says where an avatar is.
pub(super) fn note_here(lane: &mut Lane, mut place: AvatarPlace) {
    if let Some(home) = goes_on(lane, &mut place) {
        lane.peers.send(home, Parcel::AvatarHere(place));
        return;
    }
    if !lane.avatars.is_here(&place.account) {
        lane.whereabouts.note(&place);
    }
    // Who had it before need not remember where it went: sessions come here first, and this lane knows as much now.
    let from = place.from;
    if from != place.at {
        lane.peers.send(from, Parcel::AvatarKnown(place));
    }
}

/// Some lane says that an avatar has ended there.
pub(super) fn note_gone(lane: &mut Lane, mut place: AvatarPlace) {
    match goes_on(lane, &mut place) {
        Some(home) => lane.peers.send(home, Parcel::AvatarGone(place)),
        None => lane.whereabouts.forget_gone(&place),
    }
}

/// The home lane of an account believes that its avatar is here, and it is not. If it is known that it has ended, the home
/// lane has not heard so: it is told. If not, it is still to come.
pub(super) fn deny(lane: &mut Lane, account: &str, home: LaneId) {
    if let Some(life) = lane.whereabouts.ended(account) {
        let own = lane.config.lane;
        let place = place(lane, account, life, (own, own));
        lane.peers.send(home, Parcel::AvatarGone(place));
    }
}
