//! One end of a link between two roles: finds out what the network lost, repeated or reordered, and asks for a
//! fresh start when something is missing.
//!
//! Each direction is a *stream* of numbered messages. A receiver takes only the next number. An older one is a
//! repetition and is dropped; a later one means that something is missing: from then on the receiver drops all of
//! that stream and says so in the header of whatever it sends, until the sender starts a new stream with a full
//! copy of what the receiver must know (a keyframe, or all sessions). A role that restarts begins with a higher
//! stream than its last incarnation, so nothing of the dead one is taken.
//!
//! Calls: [`Link::stamp`] for every message sent, [`Link::handle`] for every header received. When `handle`
//! answers `resync`, send the full copy next. The link itself sends nothing, so each side must send something
//! regularly (both send once a tick).

use crate::id::Incarnation;
use bincode::{Decode, Encode};

/// Goes before every message between roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LinkHeader {
    /// The sender's stream.
    pub stream: u64,
    /// The message's number in its stream, from 0.
    pub seq: u64,
    /// The receiver's stream that the sender can't follow any more, if so.
    pub broken: Option<u64>,
}

/// What to do about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The message is the next one: take it. Else drop it.
    pub deliver: bool,
    /// The message is the first of a new stream: forget what the old one said, this one begins with a full copy.
    pub fresh: bool,
    /// The other side has lost something: the own stream has been restarted, send a full copy first.
    pub resync: bool,
}

/// One end of a link.
#[derive(Clone, Debug)]
pub struct Link {
    send_stream: u64,
    send_seq: u64,
    /// The stream being received, and the next number in it. `None` before the first.
    receive: Option<(u64, u64)>,
    /// The stream being received has a hole; all of it is dropped.
    receive_broken: bool,
}

impl Link {
    /// A new link of a role whose node is in `incarnation`, to a peer that it has not spoken to in it. To one that
    /// it has, and forgot, see [`Self::after`].
    #[must_use]
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            send_stream: u64::from(incarnation.0) << 32,
            send_seq: 0,
            receive: None,
            receive_broken: false,
        }
    }

    /// A new link to a peer that may have been spoken to before in the same incarnation. `stream` is the highest
    /// [`Self::stream`] of that link, or of all that were forgotten. The peer still knows it, and would take the
    /// messages of a lower one for repetitions.
    #[must_use]
    pub fn after(incarnation: Incarnation, stream: u64) -> Self {
        let mut link = Self::new(incarnation);
        link.send_stream = link.send_stream.max(stream + 1);
        link
    }

    /// The stream being sent, for [`Self::after`].
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.send_stream
    }

    /// The header for the next message.
    pub fn stamp(&mut self) -> LinkHeader {
        let header = LinkHeader {
            stream: self.send_stream,
            seq: self.send_seq,
            broken: if self.receive_broken {
                self.receive.map(|(stream, _)| stream)
            } else {
                None
            },
        };
        self.send_seq += 1;
        header
    }

    /// A message with this header arrived.
    pub fn handle(&mut self, header: LinkHeader) -> Verdict {
        let resync = header.broken == Some(self.send_stream);
        if resync {
            self.restart();
        }
        let fresh = self.receive.is_none_or(|(stream, _)| header.stream > stream);
        if fresh {
            self.receive = Some((header.stream, 0));
            self.receive_broken = false;
        }
        let (stream, next) = self.receive.as_mut().expect("set above if it was empty");
        if header.stream < *stream || self.receive_broken || header.seq < *next {
            return Verdict {
                deliver: false,
                fresh: false,
                resync,
            };
        }
        if header.seq > *next {
            self.receive_broken = true;
            return Verdict {
                deliver: false,
                fresh: false,
                resync,
            };
        }
        *next += 1;
        Verdict {
            deliver: true,
            fresh: header.seq == 0,
            resync,
        }
    }

    /// What was received is of no use, though it came whole: as if something were missing, asks for a fresh start.
    pub fn lose(&mut self) {
        self.receive_broken = self.receive.is_some();
    }

    /// Starts a new stream: the next message must be a full copy. For when the transport under the link was cut.
    pub fn restart(&mut self) {
        self.send_stream += 1;
        self.send_seq = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the network does to one message.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Arrives,
        Lost,
        Late(u64),
        Twice(u64),
    }

    /// What happens to one side before it sends.
    #[derive(Clone, Copy, Debug)]
    enum Mishap {
        None,
        Crash,
        Cut,
        /// It takes the other for gone and drops all it knows of it.
        Forgets,
    }

    /// The state that the sender has, whole or as a step from the one before.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Body {
        Full(u64),
        Step(u64),
    }

    /// A role as the link's user is meant to write it: one number that grows, copied to the other side.
    struct Role {
        link: Link,
        incarnation: u32,
        owes_full: bool,
        state: u64,
        /// What it has been told of the other side's state.
        heard: Option<u64>,
    }

    impl Role {
        fn new(incarnation: u32, state: u64) -> Self {
            Self {
                link: Link::new(Incarnation(incarnation)),
                incarnation,
                owes_full: true,
                state,
                heard: None,
            }
        }

        fn suffer(&mut self, mishap: Mishap) {
            match mishap {
                Mishap::None => {}
                Mishap::Crash => *self = Self::new(self.incarnation + 1, self.state),
                Mishap::Forgets => {
                    self.link = Link::after(Incarnation(self.incarnation), self.link.stream());
                    self.owes_full = true;
                    self.heard = None;
                }
                Mishap::Cut => {
                    self.link.restart();
                    self.owes_full = true;
                }
            }
        }

        fn send(&mut self) -> (LinkHeader, Body) {
            self.state += 1;
            let body = if std::mem::take(&mut self.owes_full) {
                Body::Full(self.state)
            } else {
                Body::Step(self.state)
            };
            (self.link.stamp(), body)
        }

        fn receive(&mut self, (header, body): (LinkHeader, Body)) {
            let verdict = self.link.handle(header);
            self.owes_full |= verdict.resync;
            assert!(verdict.deliver || !verdict.fresh, "only what is taken is fresh");
            if !verdict.deliver {
                return;
            }
            match body {
                Body::Full(state) => {
                    assert!(verdict.fresh, "a full copy begins a stream");
                    assert!(self.heard.is_none_or(|heard| heard < state), "nothing goes back");
                    self.heard = Some(state);
                }
                Body::Step(state) => {
                    assert!(!verdict.fresh, "a stream begins with a full copy");
                    assert_eq!(
                        self.heard,
                        Some(state - 1),
                        "each step follows the one before, once"
                    );
                    self.heard = Some(state);
                }
            }
        }
    }

    /// Two roles and the messages under way between them, by the time at which they arrive.
    struct Pair {
        roles: [Role; 2],
        under_way: Vec<(u64, usize, (LinkHeader, Body))>,
        now: u64,
    }

    impl Pair {
        fn new() -> Self {
            Self {
                roles: [Role::new(1, 0), Role::new(2, 1000)],
                under_way: Vec::new(),
                now: 0,
            }
        }

        fn tick(&mut self, mishaps: [Mishap; 2], fates: [Fate; 2]) {
            self.now += 1;
            for from in 0..2 {
                self.roles[from].suffer(mishaps[from]);
                let message = self.roles[from].send();
                let mut arrive = |after: u64| self.under_way.push((self.now + after, 1 - from, message));
                match fates[from] {
                    Fate::Arrives => arrive(0),
                    Fate::Lost => {}
                    Fate::Late(ticks) => arrive(ticks),
                    Fate::Twice(ticks) => {
                        arrive(0);
                        arrive(ticks);
                    }
                }
            }
            let (due, later) = self.under_way.iter().partition(|(at, ..)| *at <= self.now);
            self.under_way = later;
            let due: Vec<_> = due;
            for (_, to, message) in due {
                self.roles[to].receive(message);
            }
        }

        fn tick_without_faults(&mut self) {
            self.tick([Mishap::None; 2], [Fate::Arrives; 2]);
        }
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => Just(Fate::Arrives),
            1 => Just(Fate::Lost),
            1 => (0..8u64).prop_map(Fate::Late),
            1 => (0..8u64).prop_map(Fate::Twice),
        ]
    }

    fn mishap() -> impl Strategy<Value = Mishap> {
        prop_oneof![
            20 => Just(Mishap::None),
            1 => Just(Mishap::Crash),
            1 => Just(Mishap::Cut),
            1 => Just(Mishap::Forgets),
        ]
    }

    /// Ticks in which both sides must be in step after the last fault: the late ones are in after 8, and what they
    /// stir up is repaired by one complaint and one full copy each way.
    const REPAIR_TICKS: u64 = 8 + 4;

    proptest! {
        #[test]
        fn whatever_the_network_does_nothing_is_taken_twice_or_out_of_order_and_both_sides_recover(
            ticks in prop::collection::vec((prop::array::uniform2(mishap()), prop::array::uniform2(fate())), 0..200),
        ) {
            let mut pair = Pair::new();
            for (mishaps, fates) in ticks {
                pair.tick(mishaps, fates);
            }
            for _ in 0..REPAIR_TICKS {
                pair.tick_without_faults();
            }
            for (role, other) in [(0, 1), (1, 0)] {
                prop_assert_eq!(pair.roles[role].heard, Some(pair.roles[other].state));
                prop_assert!(!pair.roles[role].link.receive_broken);
            }
        }

        #[test]
        fn no_header_stops_a_link(headers in prop::collection::vec((any::<u64>(), any::<u64>(), any::<Option<u64>>()), 0..20)) {
            let mut link = Link::new(Incarnation(1));
            for (stream, seq, broken) in headers {
                link.handle(LinkHeader { stream, seq, broken });
                link.stamp();
            }
        }
    }

    #[test]
    fn one_lost_message_is_answered_with_one_full_copy() {
        let mut pair = Pair::new();
        pair.tick_without_faults();
        let streams = pair.roles.each_ref().map(|role| role.link.send_stream);
        pair.tick([Mishap::None; 2], [Fate::Lost, Fate::Arrives]);
        for _ in 0..20 {
            pair.tick_without_faults();
        }
        assert_eq!(pair.roles[0].link.send_stream, streams[0] + 1);
        assert_eq!(pair.roles[1].link.send_stream, streams[1]);
    }

    #[test]
    fn a_peer_that_was_forgotten_hears_at_once_when_it_is_spoken_to_again() {
        let mut pair = Pair::new();
        for _ in 0..100 {
            pair.tick_without_faults();
        }
        pair.tick([Mishap::Forgets, Mishap::None], [Fate::Arrives; 2]);
        assert_eq!(pair.roles[1].heard, Some(pair.roles[0].state));
    }

    #[test]
    fn a_restarted_role_is_heard_at_once_and_its_dead_life_no_more() {
        let mut pair = Pair::new();
        pair.tick_without_faults();
        pair.tick([Mishap::None; 2], [Fate::Late(3), Fate::Arrives]);
        pair.tick([Mishap::Crash, Mishap::None], [Fate::Arrives; 2]);
        assert_eq!(pair.roles[1].heard, Some(pair.roles[0].state));
        for _ in 0..5 {
            pair.tick_without_faults();
            assert_eq!(pair.roles[1].heard, Some(pair.roles[0].state));
        }
    }
}
