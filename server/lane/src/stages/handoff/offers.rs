//! Who is offered to other lanes: those who have strayed out of the cell, and those that this lane has too many of.

use crate::lane::Lane;
use myriad_cluster::{Cell, Sister, gifts};
use myriad_wire::directory::Duty;
use myriad_wire::lane::Parcel;
use myriad_wire::{EntityId, LaneId, Pos, Tick};

/// How far outside of its cell an entity must be to be offered, in position units: 2 m. Less would hand those who walk
/// along a border back and forth.
const STRAY_SLACK: u32 = 2 * myriad_wire::grid::UNITS_PER_METRE as u32;
/// Most entities that are under way to other lanes at a time. More stay until these have gone.
const OFFERS_MAX: usize = 1024;

/// Offers whom this lane should not have, as all stood after the last tick, and calls off the offers that no longer hold.
pub(super) fn offer(lane: &mut Lane, now: Tick) {
    lane.departures.prune(now);
    if lane.peers.is_alone() || lane.draining {
        return;
    }
    withdraw(lane);
    let partition = &lane.config.partition;
    // A lane that has ended is still here until it is stopped.
    let Some(cell) = partition.cell_of(lane.config.lane) else {
        return;
    };
    offer_strays(lane, cell, now);
    offer_surplus(lane, cell, now);
}

fn withdraw(lane: &mut Lane) {
    let partition = &lane.config.partition;
    for (entity, to) in lane.peers.offers.iter().collect::<Vec<_>>() {
        let handle = lane.space.find(entity);
        let position = handle.and_then(|handle| lane.space.position(handle));
        let is_there = |position: Pos| Some(partition.cell_at(position)) == partition.cell_of(to);
        let holds = partition.duty_of(to) == Some(Duty::Serving) && position.is_some_and(is_there);
        if !holds {
            lane.peers.offers.remove(entity);
            lane.peers.send(to, Parcel::Withdraw(entity));
            lane.counters.handoffs_withdrawn += 1;
        }
    }
}

fn offer_to(lane: &mut Lane, entity: EntityId, to: LaneId) {
    lane.peers.offers.offer(entity, to);
    lane.peers.send(to, Parcel::Offer(entity));
}

/// Who is out of the cell belongs to a lane of another.
fn offer_strays(lane: &mut Lane, cell: Cell, now: Tick) {
    let slack = if lane.is_serving() { STRAY_SLACK } else { 0 };
    let partition = &lane.config.partition;
    let mut strays = Vec::new();
    let room = OFFERS_MAX.saturating_sub(lane.peers.offers.len());
    for subject in &lane.subjects {
        if partition.is_near(cell, subject.position, slack) {
            continue;
        }
        if strays.len() >= room {
            break;
        }
        if lane.space.alive(subject.handle) && lane.peers.offers.may_offer(subject.entity, now) {
            let to = partition.lane_for(partition.cell_at(subject.position), subject.entity);
            strays.push((subject.entity, to));
        }
    }
    for (entity, to) in strays {
        offer_to(lane, entity, to);
    }
}

/// Gives to the other lanes of the cell what this one has too much of: whole crowd tracks as far as that goes, so that those
/// who are told of together stay so.
fn offer_surplus(lane: &mut Lane, cell: Cell, now: Tick) {
    let own = lane.config.lane;
    let partition = &lane.config.partition;
    let room = OFFERS_MAX.saturating_sub(lane.peers.offers.len());
    let others = partition.serving(cell).iter().filter(|other| **other != own);
    let sisters: Vec<Sister> = others
        .filter_map(|&sister| {
            let load = lane.peers.load(sister)? + lane.peers.offers.count_to(sister) as u32;
            Some(Sister { lane: sister, load })
        })
        .collect();
    let gifts = gifts(lane.load(), &sisters, !lane.is_serving());
    if gifts.is_empty() || room == 0 {
        return;
    }
    let mut candidates: Vec<_> = lane
        .subjects
        .iter()
        .filter(|subject| {
            partition.cell_at(subject.position) == cell
                && lane.space.alive(subject.handle)
                && lane.peers.offers.may_offer(subject.entity, now)
        })
        .map(|subject| (lane.crowd.track_of(subject.name), subject.entity))
        .collect();
    // Of one track they stay in the order of their names.
    candidates.sort_by_key(|(track, _)| *track);
    let receivers = gifts
        .iter()
        .flat_map(|(to, count)| std::iter::repeat_n(*to, *count as usize));
    let given: Vec<(EntityId, LaneId)> = candidates
        .iter()
        .map(|(_, entity)| *entity)
        .zip(receivers)
        .take(room)
        .collect();
    lane.counters.entities_given += given.len() as u64;
    for (entity, to) in given {
        offer_to(lane, entity, to);
    }
}
