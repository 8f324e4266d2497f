//! Entities that lanes hand off to each other: clients notice nothing, in whichever order frames come.

use crate::client::TestClient;
use crate::crowd_check::{alone, from};
use crate::lane::at;
use crate::rig::Rig;
use myriad_wire::crowd::message::Form;
use myriad_wire::{LaneId, Pos, SubjectRef, Value};
use std::collections::BTreeSet;

/// How clients are told: subject by subject, or as a crowd.
pub(crate) const LISTED: u32 = u32::MAX;
pub(crate) const CROWD: u32 = 0;

/// Source and destination, so that the source's frame is the first of a turn, or the last.
pub(crate) const ORDERS: [[LaneId; 2]; 2] = [[LaneId(2), LaneId(4)], [LaneId(4), LaneId(2)]];

/// A slot that only the source gives.
pub(crate) const NPC: u32 = 6;

/// Two lanes with a few entities each, and a client at either. The source, which is the rig's first lane, has [`NPC`].
pub(crate) struct Space {
    pub(crate) rig: Rig,
    pub(crate) client: usize,
    crowd_from: u32,
    /// Whom the client has in view.
    pub(crate) names: BTreeSet<SubjectRef>,
}

fn names(client: &TestClient, crowd_from: u32) -> BTreeSet<SubjectRef> {
    if crowd_from == CROWD {
        client.crowd.names()
    } else {
        client.view.keys().copied().collect()
    }
}

impl Space {
    pub(crate) fn new(lanes: [LaneId; 2], crowd_from: u32) -> Self {
        let mut rig = Rig::of_two(lanes, from(crowd_from));
        for i in 0..=NPC as i32 {
            assert_eq!(rig.lane.spawn(at(i, 3), 1), i as u32);
        }
        for i in 0..3 {
            rig.others[0].spawn(at(i, 5), 1);
        }
        let client = rig.join("ada");
        rig.steps(3);
        let names = names(&rig.clients[client], crowd_from);
        assert_eq!(names.len(), 11);
        Self {
            rig,
            client,
            crowd_from,
            names,
        }
    }

    pub(crate) fn each(mut check: impl FnMut(Self)) {
        for lanes in ORDERS {
            for crowd_from in [LISTED, CROWD] {
                check(Self::new(lanes, crowd_from));
            }
        }
    }

    fn is_crowd(&self) -> bool {
        self.crowd_from == CROWD
    }

    pub(crate) fn told(&self) -> &TestClient {
        &self.rig.clients[self.client]
    }

    /// Whom the client has in view now.
    pub(crate) fn in_view(&self) -> BTreeSet<SubjectRef> {
        names(self.told(), self.crowd_from)
    }

    pub(crate) fn npc(&self) -> SubjectRef {
        *self.names.iter().find(|name| name.slot.0 == NPC).unwrap()
    }

    /// The source hands it off; answers where the destination has it.
    pub(crate) fn hand_off(&mut self) -> u32 {
        self.rig.lane.hand_off(NPC, &mut self.rig.others[0])
    }

    /// The client has in view whom it had, and was told of no edge.
    pub(crate) fn check(&self) {
        let told = self.told();
        assert_eq!(self.in_view(), self.names);
        if let Some(update) = &told.update {
            assert_eq!((&update.enters[..], &update.leaves[..]), (&[][..], &[][..]));
        }
        assert_eq!((told.joins, told.closed), (1, None));
    }

    /// Steps, and checks after each.
    pub(crate) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.rig.step();
            self.check();
        }
    }

    /// Takes the frames that wait, and checks after each turn.
    pub(crate) fn catch_up(&mut self) {
        while self.rig.gateway.frames_ready() {
            self.rig.tick();
            self.check();
        }
    }

    fn position(&self) -> Option<Pos> {
        let states = self.told().payload.iter().flat_map(|payload| &payload.states);
        let of_npc: Vec<Pos> = states
            .filter(|(lane, _, state)| (*lane, state.slot) == (self.npc().lane, self.npc().slot))
            .map(|(.., state)| state.position)
            .collect();
        assert!(of_npc.len() <= 1, "told twice");
        of_npc.first().copied()
    }

    pub(crate) fn subjects(&self) -> Vec<u32> {
        let status = self.rig.gateway.status();
        let of = |lane: LaneId| status.lanes.iter().find(|status| status.lane == lane).unwrap();
        self.rig.lanes().map(|lane| of(lane.id).subjects).collect()
    }
}

#[test]
fn a_hand_off_there_and_back_is_no_edge() {
    Space::each(|mut space| {
        let before = space.subjects();
        let mut there = space.hand_off();
        for tick in 0..6 {
            let position = at(tick, 7);
            let other = &mut space.rig.others[0];
            other.entities.get_mut(&there).unwrap().position = position;
            space.steps(1);
            let told = space.position().expect("it is among the nearest");
            assert_eq!(told, position.to_wire().centre());
        }
        assert_eq!(space.subjects(), [before[0] - 1, before[1] + 1]);
        space.rig.others[0].hand_off(there, &mut space.rig.lane);
        space.steps(3);
        assert_eq!(space.subjects(), before);
        there = space.hand_off();
        space.steps(3);
        space.rig.others[0].despawn(there);
        space.rig.step();
        space.names.remove(&space.npc());
        assert_eq!(space.in_view(), space.names);
        let counters = space.rig.gateway.counters();
        assert_eq!((counters.entities_fenced, counters.records_foreign), (0, 0));
        assert_eq!((counters.records_refused, counters.transits_ended), (0, 0));
        assert_eq!((counters.chunks_refused, counters.crowd_withheld), (0, 0));
    });
}

#[test]
fn what_happens_to_it_is_told_by_its_name_whichever_lane_has_it() {
    for lanes in ORDERS {
        let mut space = Space::new(lanes, LISTED);
        // In the tick of the hand-off both lanes have something to say of it.
        space.rig.lane.event(NPC, "wave");
        let there = space.hand_off();
        space.rig.others[0].event(0, "wave");
        space.rig.others[0].event(there, "bow");
        space.rig.others[0].entities.get_mut(&there).unwrap().properties[0].1 = Value::Int(4);
        space.steps(1);
        let seen = &space.told().view[&space.npc()];
        assert_eq!(seen.properties[0].1, Value::Int(4), "the join says how it is now");
        assert_eq!(space.told().events("bow"), [space.npc()]);
        // The source's word comes too late if the destination's frame is the first.
        let late = usize::from(lanes[0] > lanes[1]);
        assert_eq!(space.told().events("wave").len(), 2 - late);
        assert_eq!(space.rig.gateway.counters().records_foreign, late as u64);
        space.rig.others[0].change(there, Value::Int(5));
        space.steps(1);
        assert_eq!(space.told().view[&space.npc()].properties[0].1, Value::Int(5));
    }
    for lanes in ORDERS {
        let mut space = Space::new(lanes, CROWD);
        let there = space.hand_off();
        space.rig.others[0].event(there, "bow");
        space.steps(1);
        space.rig.others[0].event(there, "bow");
        space.steps(1);
        assert_eq!(space.told().crowd.happenings.len(), 1);
        assert_eq!(space.rig.gateway.counters().events_untold, 0);
    }
}

#[test]
fn while_the_destination_is_late_it_stays_where_it_was() {
    for ticks in [1, 9] {
        Space::each(|mut space| {
            space.rig.late.insert(space.rig.others[0].id);
            space.hand_off();
            space.steps(ticks);
            space.rig.late.clear();
            space.steps(1);
            space.catch_up();
            space.steps(2);
            assert!(space.position().is_some());
        });
    }
}

#[test]
fn while_the_source_is_late_the_destination_is_believed() {
    for lanes in ORDERS {
        for ticks in [1, 9] {
            let mut space = Space::new(lanes, LISTED);
            space.rig.late.insert(lanes[0]);
            let there = space.hand_off();
            space.steps(ticks);
            let position = at(3, 9);
            let other = &mut space.rig.others[0];
            other.entities.get_mut(&there).unwrap().position = position;
            space.steps(1);
            // Without a word of its avatar a client is told no states.
            let told = space.told().payload.is_some();
            assert_eq!(space.position(), told.then(|| position.to_wire().centre()));
            space.rig.late.clear();
            space.steps(1);
            space.catch_up();
            space.steps(2);
            assert_eq!(space.rig.gateway.counters().transits_ended, 0);

            // In a crowd both tracks hold it until the source has said that it went.
            let mut space = Space::new(lanes, CROWD);
            space.rig.late.insert(lanes[0]);
            let there = space.hand_off();
            let npc = space.npc();
            let twice = BTreeSet::from([npc]);
            let source = space.told().crowd.tracks_of(npc)[0];
            for _ in 0..ticks {
                space.steps(1);
                assert_eq!(space.told().crowd.in_two, twice);
            }
            // What happens to it is told by the track that it joined last.
            space.rig.others[0].event(there, "bow");
            space.steps(1);
            assert_eq!(space.told().crowd.happenings.len(), 1);
            let told_by = space.told().crowd.forms(Form::Events);
            assert!(told_by.len() == 1 && told_by[0] != source);
            space.rig.late.clear();
            space.steps(1);
            space.catch_up();
            assert!(!space.told().crowd.tracks_of(npc).contains(&source));
            assert_eq!(space.rig.gateway.counters().crowd_withheld, 0);
        }
    }
}

#[test]
fn what_happens_to_it_is_told_after_a_late_source_has_told_that_it_had_it() {
    for lanes in ORDERS {
        let mut space = Space::new(lanes, CROWD);
        space.rig.late.insert(lanes[0]);
        space.rig.lane.wants_full = true;
        space.steps(1);
        let there = space.hand_off();
        space.steps(3);
        space.rig.late.clear();
        space.steps(1);
        space.catch_up();
        space.rig.others[0].event(there, "bow");
        space.steps(1);
        assert_eq!(space.told().crowd.happenings.len(), 1);
        assert_eq!(space.rig.gateway.counters().events_untold, 0);
    }
}

#[test]
fn keyframes_around_a_hand_off_are_no_edges_either() {
    // Which lane tells everything, and so many ticks after the hand-off.
    for (source, after) in [
        (true, 0),
        (true, 1),
        (true, 5),
        (false, 0),
        (false, 1),
        (false, 5),
    ] {
        Space::each(|mut space| {
            let there = space.hand_off();
            space.steps(after);
            let lanes = (&mut space.rig.lane, &mut space.rig.others[0]);
            let lane = if source { lanes.0 } else { lanes.1 };
            lane.wants_full = true;
            space.steps(4);
            space.rig.others[0].hand_off(there, &mut space.rig.lane);
            let lanes = (&mut space.rig.lane, &mut space.rig.others[0]);
            let lane = if source { lanes.0 } else { lanes.1 };
            lane.wants_full = true;
            space.steps(4);
        });
    }
}

#[test]
fn who_came_back_without_a_word_is_not_the_late_lanes_that_had_it_meanwhile() {
    for lanes in ORDERS {
        let mut space = Space::new(lanes, LISTED);
        space.rig.late.insert(lanes[1]);
        space.rig.lose_of = Some(lanes[0]);
        let there = space.hand_off();
        space.steps(1);
        space.rig.others[0].hand_off(there, &mut space.rig.lane);
        space.steps(1);
        space.rig.lose_of = None;
        // The link notices, and the source tells everything.
        space.steps(4);
        assert!(space.rig.gateway.counters().keyframes_applied > 2);
        space.rig.late.clear();
        space.steps(1);
        space.catch_up();
        space.steps(2);
        assert_eq!(space.rig.gateway.counters().entities_fenced, 1);
    }
}

#[test]
fn who_died_at_the_destination_does_not_come_back_with_the_late_source() {
    for (lanes, crowd_from) in [(ORDERS[0], LISTED), (ORDERS[1], LISTED), (ORDERS[0], CROWD)] {
        let mut space = Space::new(lanes, crowd_from);
        space.rig.late.insert(lanes[0]);
        let new = space.rig.lane.spawn(at(9, 9), 1);
        space.steps(1);
        // One that was seen at the source, one that was not.
        for npc in [NPC, new] {
            let there = space.rig.lane.hand_off(npc, &mut space.rig.others[0]);
            space.rig.step();
            space.rig.others[0].despawn(there);
        }
        space.rig.step();
        let npc = space.npc();
        space.names.remove(&npc);
        space.rig.late.clear();
        // A crowd has it until the source's track has not.
        let mut was = space.in_view();
        assert_eq!(was.contains(&npc), crowd_from == CROWD);
        space.rig.step();
        loop {
            let is = space.in_view();
            assert!(!is.contains(&npc) || was.contains(&npc), "it is back");
            was = is;
            if !space.rig.gateway.frames_ready() {
                break;
            }
            space.rig.tick();
        }
        assert_eq!(space.in_view(), space.names);
        space.rig.steps(2);
        assert_eq!(space.in_view(), space.names);
        assert_eq!(space.rig.gateway.counters().entities_fenced, 1);
    }
}

#[test]
fn who_came_and_died_in_one_tick_is_told_by_its_leave_alone() {
    for source_is_late in [false, true] {
        Space::each(|mut space| {
            if source_is_late {
                space.rig.late.insert(space.rig.lane.id);
            }
            let there = space.hand_off();
            space.rig.others[0].despawn(there);
            let npc = space.npc();
            space.names.remove(&npc);
            space.rig.step();
            let told = space.told();
            if space.is_crowd() {
                // As long as the source's track has it.
                assert_eq!(told.crowd.names().contains(&npc), source_is_late);
            } else {
                let leaves = &told.update.as_ref().unwrap().leaves;
                assert_eq!((leaves.len(), leaves[0].subject), (1, npc));
            }
            space.rig.late.clear();
            space.rig.steps(2);
            while space.rig.gateway.frames_ready() {
                space.rig.tick();
            }
            assert_eq!(space.in_view(), space.names);
            space.rig.steps(70);
            assert_eq!(space.in_view(), space.names);
            let counters = space.rig.gateway.counters();
            assert_eq!((counters.transits_ended, counters.entities_fenced), (0, 0));
            assert_eq!((counters.records_refused, counters.records_foreign), (0, 0));
        });
    }
}

#[test]
fn a_keyframe_of_the_source_leaves_whom_it_let_go_to_the_late_destination() {
    for lanes in ORDERS {
        let mut space = Space::new(lanes, LISTED);
        space.rig.late.insert(lanes[1]);
        // The word that it left is in no other frame; and the next keyframe does not end it either.
        space.rig.lane.wants_full = true;
        space.hand_off();
        space.steps(2);
        space.rig.lane.wants_full = true;
        space.steps(2);
        space.rig.late.clear();
        space.steps(1);
        space.catch_up();
        space.steps(2);
    }
}

#[test]
fn a_lane_that_did_not_notice_that_it_lost_an_entity_is_fenced() {
    Space::each(|mut space| {
        space.rig.lane.crowd.tile_of = Some(alone);
        space.steps(2);
        let stale = space.rig.lane.entities[&NPC].clone();
        let there = space.hand_off();
        space.steps(2);
        let position = at(1, 9);
        let other = &mut space.rig.others[0];
        other.entities.get_mut(&there).unwrap().position = position;
        space.rig.lane.adopt(stale);
        // In a crowd its track holds the entity as if it were late; the client has it once all the same.
        space.rig.is_stale = true;
        space.steps(1);
        for keyframe in [false, true, false] {
            space.rig.lane.wants_full = keyframe;
            let lane = &mut space.rig.lane;
            lane.change(NPC, Value::Int(99));
            lane.set_layers(NPC, 2);
            lane.set_layers(NPC, 1);
            lane.event(NPC, "wave");
            space.steps(1);
            assert_eq!(space.position(), Some(position.to_wire().centre()));
            let told = space.told();
            assert_eq!((told.events("wave").len(), told.crowd.happenings.len()), (0, 0));
            if !space.is_crowd() {
                assert_eq!(told.view[&space.npc()].properties[0].1, Value::Int(0));
            }
        }
        let counters = space.rig.gateway.counters();
        assert_eq!(counters.entities_fenced, 2, "in its frame and in its keyframe");
        let foreign = counters.records_foreign;
        assert_eq!(foreign, 2 * 3 + 2 + 1);
        space.rig.others[0].event(there, "bow");
        space.steps(1);
        let told = space.told();
        assert_eq!(told.events("bow").len() + told.crowd.happenings.len(), 1);
        // What it ends goes on, too.
        space.rig.lane.despawn(NPC);
        space.steps(3);
        assert_eq!(space.rig.gateway.counters().records_foreign, foreign + 1);
    });
}

#[test]
fn whom_nobody_claims_is_over_after_a_while() {
    for lanes in ORDERS {
        let mut space = Space::new(lanes, LISTED);
        let to = space.rig.others[0].id;
        space.rig.lane.let_go(NPC, to);
        let lost = space.rig.lane.entities.remove(&NPC).unwrap();
        space.steps(64);
        let subjects = space.subjects();
        assert_eq!(subjects.iter().sum::<u32>(), 10, "no lane has authority over it");
        space.rig.step();
        let leaves = &space.told().update.as_ref().unwrap().leaves;
        assert_eq!((leaves.len(), leaves[0].subject), (1, space.npc()));
        assert_eq!(space.rig.gateway.counters().transits_ended, 1);
        // If it turns up after all it comes into view like anybody.
        let mut back = lost;
        back.hop.0 += 1;
        space.rig.others[0].adopt(back);
        space.rig.step();
        assert_eq!(space.told().update.as_ref().unwrap().enters.len(), 1);
        assert_eq!(space.in_view(), space.names);
    }
}

#[test]
fn whom_a_restarted_source_does_not_know_goes_on_at_the_destination() {
    for lanes in ORDERS {
        for frozen in [false, true] {
            let mut space = Space::new(lanes, LISTED);
            let own = space.told().joined.as_ref().unwrap().entity;
            let is_own = |entity: &crate::lane::Entity| entity.entity == own;
            if space.rig.lane.entities.values().any(is_own) {
                // Then the whole session would be another one.
                let seat = space.rig.lane.slot_of("ada").unwrap();
                space.rig.publish_moves("ada");
                space.rig.lane.hand_off(seat, &mut space.rig.others[0]);
                space.rig.tick();
                space.check();
                space.steps(2);
            }
            let backlog = if frozen { 1 << 20 } else { 0 };
            space.rig.set_backlog(space.client, backlog);
            // The lane dies with the word that it handed the entity off, and the next one begins in the tick in which the
            // destination's frame comes.
            space.hand_off();
            space.rig.lane = {
                let mut next = crate::lane::TestLane::new(lanes[0], 20);
                next.tick = space.rig.lane.tick;
                next
            };
            space.rig.step();
            space.rig.set_backlog(space.client, 0);
            space.rig.steps(2);
            let npc = space.npc();
            let gone: Vec<SubjectRef> = space
                .names
                .iter()
                .copied()
                .filter(|name| name.lane == npc.lane)
                .collect();
            let kept: Vec<SubjectRef> = space
                .in_view()
                .into_iter()
                .filter(|name| name.lane == npc.lane)
                .collect();
            assert_eq!(gone.len() - 6, kept.len());
            assert!(kept.contains(&npc));
            assert_eq!(space.rig.gateway.counters().leaves_sent, 6);
            let there = space.rig.others[0]
                .entities
                .iter()
                .find(|(_, entity)| entity.slot == NPC)
                .unwrap();
            let there = *there.0;
            space.rig.others[0].change(there, Value::Int(8));
            space.rig.step();
            assert_eq!(space.told().view[&npc].properties[0].1, Value::Int(8));
        }
    }
}
