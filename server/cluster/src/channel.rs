//! One end of the channel between two lanes: parcels, each taken exactly once, in the order in which they were sent.
//!
//! The network may lose, repeat and reorder; [`Link`] notices, and what is not known to be taken is sent again. A parcel
//! is meant for one life of the other lane, its epoch: if that ends first, the parcel comes back.
//!
//! Calls: [`Channel::push`] for what is to go; [`Channel::handle`] for what came; once a tick [`Channel::poll`].
//! Cost: nothing in a tick in which both have nothing to say, unless they are neighbours.

use bytes::Bytes;
use myriad_wire::codec::{CodecError, encode_into};
use myriad_wire::lane::{LaneMessage, Parcel};
use myriad_wire::link::{Link, LinkHeader};
use myriad_wire::{Incarnation, LaneEpoch};
use std::collections::VecDeque;

/// Most parcels in one message; more wait for the next.
const PARCELS_PER_MESSAGE_MAX: usize = 1024;

/// One lane's end of its channel to another.
#[derive(Debug)]
pub struct Channel {
    link: Link,
    /// Of the lane at this end.
    epoch: LaneEpoch,
    /// The highest heard of the other; zero before it was heard.
    peer: LaneEpoch,
    /// Not known to be taken.
    outbox: VecDeque<Parcel>,
    /// The number of the first in the outbox.
    first: u64,
    /// The number of the last that was sent in the present stream.
    sent: u64,
    /// Up to this number the other's parcels were taken.
    taken: u64,
    /// Says something in every tick.
    is_neighbour: bool,
    /// Something came that must be answered.
    owes_answer: bool,
    /// What the other lane said last of its load, in its present life.
    load: Option<u32>,
}

/// What came of a message.
#[derive(Debug, Default)]
pub struct Arrived {
    /// To be taken, in this order.
    pub parcels: Vec<Parcel>,
    /// The other lane has begun a new life: whatever it had from here is gone with the old one.
    pub renewed: bool,
    /// Parcels that the old life of the other lane is not known to have taken, and the new one will not.
    pub returned: Vec<Parcel>,
    /// The message was of an old life of the other lane.
    pub fenced: bool,
}

impl Channel {
    /// A channel of the lane in `epoch`, whose node is in `incarnation`, to one that it has not spoken to in it.
    #[must_use]
    pub fn new(incarnation: Incarnation, epoch: LaneEpoch, is_neighbour: bool) -> Self {
        Self {
            link: Link::new(incarnation),
            epoch,
            peer: LaneEpoch(0),
            outbox: VecDeque::new(),
            first: 1,
            sent: 0,
            taken: 0,
            is_neighbour,
            owes_answer: false,
            load: None,
        }
    }

    /// The other lane's load, once it has said so in its present life.
    #[must_use]
    pub fn load(&self) -> Option<u32> {
        self.load
    }

    /// The other lane's epoch; zero before it was heard.
    #[must_use]
    pub fn peer(&self) -> LaneEpoch {
        self.peer
    }

    /// The parcels that are not known to be taken, in their order.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &Parcel> {
        self.outbox.iter()
    }

    /// How many parcels are not known to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// This is to go to the other lane.
    pub fn push(&mut self, parcel: Parcel) {
        self.outbox.push_back(parcel);
    }

    /// A message came.
    ///
    /// # Errors
    /// If the bytes are none. It is then as if it had been lost.
    pub fn handle(&mut self, header: LinkHeader, body: &[u8]) -> Result<Arrived, CodecError> {
        let message = LaneMessage::from_bytes(body)?;
        if message.epoch < self.peer {
            return Ok(Arrived {
                fenced: true,
                ..Arrived::default()
            });
        }
        let verdict = self.link.handle(header);
        if verdict.resync {
            self.sent = self.first - 1;
        }
        self.owes_answer |= message.asks || !verdict.deliver;
        if !verdict.deliver {
            return Ok(Arrived::default());
        }
        let mut arrived = Arrived::default();
        if message.epoch > self.peer {
            self.renew(message.epoch, &mut arrived);
        }
        self.load = Some(message.load);
        if message.to_epoch != self.epoch {
            self.owes_answer = true;
            return Ok(arrived);
        }
        self.acknowledge(message.taken);
        self.take(message.first, message.parcels, &mut arrived);
        Ok(arrived)
    }

    fn renew(&mut self, epoch: LaneEpoch, arrived: &mut Arrived) {
        if self.peer != LaneEpoch(0) {
            arrived.renewed = true;
            arrived.returned = self.outbox.drain(..).collect();
        }
        self.peer = epoch;
        self.load = None;
        (self.first, self.sent, self.taken) = (1, 0, 0);
    }

    fn acknowledge(&mut self, taken: u64) {
        while self.first <= taken && self.outbox.pop_front().is_some() {
            self.first += 1;
        }
        self.sent = self.sent.max(self.first - 1);
    }

    fn take(&mut self, first: u64, parcels: Vec<Parcel>, arrived: &mut Arrived) {
        for (number, parcel) in (first..).zip(parcels) {
            if number <= self.taken {
                continue;
            }
            if number > self.taken + 1 {
                // Its sender believes something taken that was not: nothing fits until it begins anew.
                self.link.lose();
                self.owes_answer = true;
                return;
            }
            self.taken = number;
            self.owes_answer = true;
            arrived.parcels.push(parcel);
        }
    }

    /// What is to be sent in this tick, if anything; `load` is this lane's.
    pub fn poll(&mut self, load: u32) -> Option<(LinkHeader, Bytes)> {
        let asks = !self.outbox.is_empty();
        if !asks && !self.is_neighbour && !std::mem::take(&mut self.owes_answer) {
            return None;
        }
        self.owes_answer = false;
        let first = self.sent + 1;
        let skipped = (first - self.first) as usize;
        let count = if self.peer == LaneEpoch(0) {
            0
        } else {
            self.outbox
                .len()
                .saturating_sub(skipped)
                .min(PARCELS_PER_MESSAGE_MAX)
        };
        let fields = (self.epoch, self.peer, self.taken, asks, load, first, count as u64);
        let mut body = Vec::new();
        encode_into(&fields, &mut body);
        for parcel in self.outbox.iter().skip(skipped).take(count) {
            encode_into(parcel, &mut body);
        }
        self.sent += count as u64;
        Some((self.link.stamp(), body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::{EntityId, codec};
    use proptest::prelude::*;

    const A: LaneEpoch = LaneEpoch(3);

    #[test]
    fn what_is_sent_is_a_message_of_the_plain_codec() {
        let mut channel = Channel::new(Incarnation(1), A, false);
        channel.peer = LaneEpoch(9);
        channel.taken = 4;
        channel.push(Parcel::Offer(EntityId(7)));
        channel.push(Parcel::Accept(EntityId(8)));
        let message = LaneMessage {
            epoch: A,
            to_epoch: LaneEpoch(9),
            taken: 4,
            asks: true,
            load: 40,
            first: 1,
            parcels: vec![Parcel::Offer(EntityId(7)), Parcel::Accept(EntityId(8))],
        };
        assert_eq!(
            channel.poll(40).expect("something to say").1,
            codec::encode(&message)
        );
    }

    #[test]
    fn lanes_that_are_no_neighbours_fall_silent() {
        let mut ends = [
            Channel::new(Incarnation(1), A, false),
            Channel::new(Incarnation(2), LaneEpoch(4), false),
        ];
        ends[0].push(Parcel::Offer(EntityId(7)));
        let mut said = 0;
        for _ in 0..20 {
            for from in 0..2 {
                if let Some((header, body)) = ends[from].poll(0) {
                    said += 1;
                    ends[1 - from].handle(header, &body).expect("sound");
                }
            }
        }
        assert_eq!(ends[0].waiting(), 0);
        assert!(said < 8, "{said} messages for one parcel");
        assert!(ends[0].poll(0).is_none() && ends[1].poll(0).is_none());
    }

    #[test]
    fn nonsense_is_an_error_and_an_old_life_is_fenced() {
        let mut channel = Channel::new(Incarnation(1), A, true);
        let peer = |epoch| {
            let mut peer = Channel::new(Incarnation(epoch as u32), LaneEpoch(epoch), true);
            peer.poll(0).expect("a neighbour speaks")
        };
        let (old, new) = (peer(5), peer(6));
        assert!(channel.handle(old.0, &[255; 9]).is_err());
        assert!(!channel.handle(new.0, &new.1).unwrap().fenced);
        assert!(channel.handle(old.0, &old.1).unwrap().fenced);
        assert_eq!(channel.peer(), LaneEpoch(6));
    }

    /// What happens in one step.
    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        /// This end sends; the message arrives `late` steps later, so many times.
        Tick {
            end: usize,
            late: usize,
            times: usize,
        },
        Restart(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..2usize).prop_map(Step::Push),
            8 => (0..2usize, 0..4usize, 0..3usize).prop_map(|(end, late, times)| Step::Tick { end, late, times }),
            1 => (0..2usize).prop_map(Step::Restart),
        ]
    }

    /// Two ends, and what a checker knows of them. Parcels are offers of ascending numbers.
    struct Pair {
        ends: [Channel; 2],
        incarnation: u32,
        pushed: u64,
        /// By end: what it took in its present life, of the other's present life.
        took: [Vec<u64>; 2],
        /// By end: what it pushed in its present life and neither was returned nor is known to be taken.
        owed: [Vec<u64>; 2],
    }

    impl Pair {
        fn receive(&mut self, end: usize, header: LinkHeader, body: &[u8]) {
            let arrived = self.ends[end].handle(header, body).expect("sound");
            if arrived.renewed {
                self.took[end].clear();
                let returned: Vec<u64> = arrived.returned.iter().map(number).collect();
                self.owed[end].retain(|owed| !returned.contains(owed));
            }
            for parcel in &arrived.parcels {
                let number = number(parcel);
                let last = self.took[end].last().copied().unwrap_or(0);
                assert!(number > last, "{number} after {last}");
                self.took[end].push(number);
            }
        }
    }

    fn number(parcel: &Parcel) -> u64 {
        match parcel {
            Parcel::Offer(EntityId(number)) => *number,
            other => panic!("{other:?} was not pushed"),
        }
    }

    proptest! {
        #[test]
        fn all_is_taken_once_and_in_order_whatever_the_network_does(steps in prop::collection::vec(step(), 0..120)) {
            let ends = [1u32, 2].map(|i| Channel::new(Incarnation(i), LaneEpoch(u64::from(i)), true));
            let mut pair = Pair { ends, incarnation: 2, pushed: 0, took: Default::default(), owed: Default::default() };
            let mut flying: Vec<(usize, usize, LinkHeader, Bytes)> = Vec::new();
            let calm = (0..12).flat_map(|_| [0, 1].map(|end| Step::Tick { end, late: 0, times: 1 }));
            for step in steps.into_iter().chain(calm) {
                match step {
                    Step::Push(end) => {
                        pair.pushed += 1;
                        pair.ends[end].push(Parcel::Offer(EntityId(pair.pushed)));
                        pair.owed[end].push(pair.pushed);
                    }
                    Step::Tick { end, late, times } => {
                        let (header, body) = pair.ends[end].poll(0).expect("a neighbour speaks");
                        for copy in 0..times {
                            flying.push((late + copy, 1 - end, header, body.clone()));
                        }
                    }
                    Step::Restart(end) => {
                        pair.incarnation += 1;
                        pair.ends[end] = Channel::new(Incarnation(pair.incarnation), LaneEpoch(u64::from(pair.incarnation)), true);
                        let took = std::mem::take(&mut pair.took[end]);
                        pair.owed[end].clear();
                        // The old life took them, whether the other end heard so or gets them back.
                        pair.owed[1 - end].retain(|owed| !took.contains(owed));
                    }
                }
                let mut landing = Vec::new();
                flying.retain_mut(|(late, to, header, body)| {
                    if *late == 0 {
                        landing.push((*to, *header, body.clone()));
                        false
                    } else {
                        *late -= 1;
                        true
                    }
                });
                for (to, header, body) in landing {
                    pair.receive(to, header, &body);
                }
            }
            for end in 0..2 {
                prop_assert_eq!(pair.ends[end].waiting(), 0, "all is known to be taken in the end");
                // What the other end owed in its present life, and this one's present life was told.
                let took = &pair.took[1 - end];
                prop_assert!(pair.owed[end].iter().all(|owed| took.contains(owed)), "{:?} of {:?}", took, pair.owed[end]);
            }
        }
    }
}
