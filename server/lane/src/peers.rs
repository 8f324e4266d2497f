//! The other lanes of the space: the channels to them, and what stands between this lane and each.

use crate::counters::Counters;
use bytes::Bytes;
use myriad_cluster::{Arrived, Channel, Offers, Partition, Rooms};
use myriad_wire::fabric::{Envelope, RoleId};
use myriad_wire::lane::Parcel;
use myriad_wire::link::LinkHeader;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, Tick};
use std::collections::{BTreeMap, VecDeque};

/// The other lanes, as this one knows them.
#[derive(Debug)]
pub(crate) struct Peers {
    own: LaneId,
    epoch: LaneEpoch,
    incarnation: Incarnation,
    /// Neighbours, and others with whom there was something to say.
    channels: BTreeMap<LaneId, Channel>,
    neighbours: Vec<LaneId>,
    /// All lanes of the space, ascending: nobody else is spoken to.
    all: Vec<LaneId>,
    /// What this lane has offered.
    pub(crate) offers: Offers,
    /// What it has accepted.
    pub(crate) rooms: Rooms,
    /// What came from each lane and has not taken effect yet.
    held: BTreeMap<LaneId, VecDeque<Parcel>>,
    /// Which lane gave names under which epoch, of those whose entities came here.
    issuers: BTreeMap<LaneEpoch, LaneId>,
    /// By which version of the layout each of the others goes, as far as it has said so in its present life.
    adopted: BTreeMap<LaneId, u64>,
}

impl Peers {
    /// For the lane `own` of `partition`.
    pub(crate) fn new(
        partition: &Partition,
        own: LaneId,
        epoch: LaneEpoch,
        incarnation: Incarnation,
    ) -> Self {
        let mut peers = Self {
            own,
            epoch,
            incarnation,
            channels: BTreeMap::new(),
            neighbours: Vec::new(),
            all: Vec::new(),
            offers: Offers::default(),
            rooms: Rooms::default(),
            held: BTreeMap::new(),
            issuers: BTreeMap::from([(epoch, own)]),
            adopted: BTreeMap::new(),
        };
        peers.adopt(partition);
        peers.tell_adopted(partition.version());
        peers
    }

    /// These are the lanes from now on. What was for one that has ended is for nobody; what it had sent takes effect still.
    pub(crate) fn adopt(&mut self, partition: &Partition) {
        self.all = partition.lanes().collect();
        self.neighbours = partition.neighbours(self.own);
        let ended: Vec<LaneId> = self
            .channels
            .keys()
            .copied()
            .filter(|lane| !self.is_peer(*lane))
            .collect();
        for lane in ended {
            self.channels.remove(&lane);
            self.adopted.remove(&lane);
            self.offers.forget_lane(lane);
            self.rooms.forget_lane(lane);
        }
        for lane in self.neighbours.clone() {
            self.channel(lane);
        }
    }

    /// All others are told that this lane goes by a version of the layout.
    pub(crate) fn tell_adopted(&mut self, version: u64) {
        for lane in self.all.clone() {
            self.send(lane, Parcel::Adopted(version));
        }
    }

    /// `lane` goes by this version of the layout.
    pub(crate) fn note_adopted(&mut self, lane: LaneId, version: u64) {
        self.adopted.insert(lane, version);
    }

    /// Whether all other lanes go by this version of the layout, and have told this one all that they have to by that.
    pub(crate) fn all_adopted(&self, version: u64) -> bool {
        let mut others = self.all.iter().filter(|lane| **lane != self.own);
        others.all(|lane| self.adopted.get(lane) == Some(&version))
    }

    /// Whether nothing is under way between this lane and any other.
    pub(crate) fn is_idle(&self) -> bool {
        let waits = self.channels.values().any(|channel| channel.waiting() > 0);
        let holds = self.held.values().any(|held| !held.is_empty());
        !waits && !holds && self.offers.is_empty() && self.rooms.is_empty()
    }

    /// The load of `lane`, once it has said so in its present life.
    pub(crate) fn load(&self, lane: LaneId) -> Option<u32> {
        self.channels.get(&lane)?.load()
    }

    /// Whether there is no other lane.
    pub(crate) fn is_alone(&self) -> bool {
        self.all.len() <= 1
    }

    /// Whether `lane` is another lane of the space.
    pub(crate) fn is_peer(&self, lane: LaneId) -> bool {
        lane != self.own && self.all.binary_search(&lane).is_ok()
    }

    fn channel(&mut self, lane: LaneId) -> &mut Channel {
        let (incarnation, epoch) = (self.incarnation, self.epoch);
        let is_neighbour = self.neighbours.binary_search(&lane).is_ok();
        self.channels
            .entry(lane)
            .or_insert_with(|| Channel::new(incarnation, epoch, is_neighbour))
    }

    /// This is to go to `lane`: to nobody, if that is no other lane of the space, any more.
    pub(crate) fn send(&mut self, lane: LaneId, parcel: Parcel) {
        if self.is_peer(lane) {
            self.channel(lane).push(parcel);
        }
    }

    /// A message came from `lane`, which is a peer.
    pub(crate) fn handle(
        &mut self,
        lane: LaneId,
        header: LinkHeader,
        body: &[u8],
        counters: &mut Counters,
    ) -> Option<Arrived> {
        let Ok(arrived) = self.channel(lane).handle(header, body) else {
            counters.malformed += 1;
            return None;
        };
        counters.lanes_fenced += u64::from(arrived.fenced);
        if arrived.renewed {
            counters.parcels_returned += arrived.returned.len() as u64;
            self.offers.forget_lane(lane);
            self.rooms.forget_lane(lane);
            // What it had adopted in its old life its new one may not have.
            self.adopted.remove(&lane);
            if let Some(held) = self.held.get_mut(&lane) {
                held.retain(|parcel| !matches!(parcel, Parcel::Adopted(_)));
            }
        }
        Some(arrived)
    }

    /// These came from `lane`.
    pub(crate) fn hold(&mut self, lane: LaneId, parcels: Vec<Parcel>) {
        if !parcels.is_empty() {
            self.held.entry(lane).or_default().extend(parcels);
        }
    }

    /// What takes effect next in the tick `now`, with the lane that it is from.
    pub(crate) fn next_parcel(&mut self, now: Tick) -> Option<(LaneId, Parcel)> {
        let is_early = |parcel: &Parcel| matches!(parcel, Parcel::Commit(transfer) if transfer.tick >= now);
        for (lane, held) in &mut self.held {
            if let Some(parcel) = held.pop_front_if(|parcel| !is_early(parcel)) {
                return Some((*lane, parcel));
            }
        }
        None
    }

    /// The messages of this tick, in which this lane has `load`.
    pub(crate) fn poll(&mut self, load: u32, messages: &mut Vec<(Envelope, Bytes)>, counters: &mut Counters) {
        let from = RoleId::Lane(self.own);
        for (lane, channel) in &mut self.channels {
            if let Some((link, body)) = channel.poll(load) {
                let to = RoleId::Lane(*lane);
                counters.lane_messages += 1;
                counters.lane_message_bytes += body.len() as u64;
                messages.push((Envelope { to, from, link }, body));
            }
        }
    }

    /// What came and has not taken effect yet.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Parcel> {
        self.held.values().flatten()
    }

    /// Parcels that are not known to have been taken, with the lane that each is for.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = &Parcel> {
        self.channels.values().flat_map(Channel::unacknowledged)
    }

    /// The lane that gave names under `epoch`, if entities of it ever came here.
    pub(crate) fn issuer(&self, epoch: LaneEpoch) -> Option<LaneId> {
        self.issuers.get(&epoch).copied()
    }

    /// `lane` gave names under `epoch`.
    pub(crate) fn note_issuer(&mut self, epoch: LaneEpoch, lane: LaneId) {
        self.issuers.insert(epoch, lane);
    }
}
