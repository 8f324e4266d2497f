//! Who lives, by which name, and which lane has authority over it.
//!
//! A subject has an id, dense over all issuers and lanes, for as long as it lives; the interest engine and the views know
//! it by that. An id is given again in the next turn at the earliest, when no view knows its last owner any more.
//!
//! Authority goes from lane to lane by [`Lives::claim`]. A life that its lane has let go is *in transit* until another
//! claims it: it stays where it is, and under nobody's authority.

use super::issuers::{Issuer, Issuers};
use crate::config::LANES_MAX;
use crate::records::{Ended, Records};
use myriad_aoi::{Engine, SubjectId};
use myriad_wire::fabric::JoinRecord;
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, EntityName, Generation, Hop, KindId, LaneHandle, Slot, SubjectRef, WirePos};
use std::collections::{BTreeMap, VecDeque};

/// Ticks of the gateway after which a life in transit that no lane has claimed is over; and for which a life that was
/// handed off is remembered when it is.
const TRANSIT_TICKS: u64 = 64;

/// One life of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subject {
    /// Its name on the wire.
    pub(crate) name: SubjectRef,
    pub(crate) entity: EntityId,
    pub(crate) kind: KindId,
    pub(crate) layers: u32,
    pub(crate) position: WirePos,
    /// Public ones, ascending by number.
    pub(crate) properties: PropertyList,
    /// Counts the ticks in which its public properties changed, wrapping.
    pub(crate) version: u8,
    /// The tick of the gateway in which `version` was told or last rose: it rises once a tick.
    pub(crate) versioned: u64,
    /// The tick of the gateway in which it came: until that tick's end no client knows it.
    pub(crate) born: u64,
    /// How often it has been handed off.
    pub(crate) hop: Hop,
    /// In transit: the tick of the gateway in which it ends if nobody claims it.
    pub(crate) claimed_until: u64,
}

/// Of the subject in a slot what is read for every state of it and for every member of every crowd track. Of an empty
/// slot: of no class, and nobody's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// In AOI units.
    pub(crate) at: [i32; 3],
    pub(crate) layers: u32,
    pub(crate) id: SubjectId,
    pub(crate) generation: Generation,
    pub(crate) holder: Holder,
}

/// Which lane has authority over a life, or had it before the life went into transit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(u8);

/// All lives, by name and by id.
#[derive(Debug)]
pub(super) struct Lives {
    pub(super) issuers: Issuers,
    /// By id.
    subjects: Vec<Option<Subject>>,
    free: Vec<SubjectId>,
    /// Ids of those that ended in this turn.
    resting: Vec<SubjectId>,
    /// By lane number: over how many lives it has authority.
    held: Vec<u32>,
    /// Who went into transit when, oldest first: until when it must be claimed. It may have been since, and have gone.
    transits: VecDeque<(u64, SubjectId)>,
    /// Who was handed off and ended lately, after how many hand-offs: a lane that is late may still say that it came.
    graves: BTreeMap<EntityName, Hop>,
    /// Until when these are remembered, oldest first.
    graves_until: VecDeque<(u64, EntityName)>,
    /// Slots of one issuer.
    slots_max: u32,
    subjects_max: u32,
}

impl Holder {
    const NOBODY: Self = Self(u8::MAX);
    const IN_TRANSIT: u8 = 0x80;

    fn lane(number: usize) -> Self {
        Self(number as u8)
    }

    /// Whether this lane has authority.
    #[inline]
    pub(crate) fn is(self, lane: usize) -> bool {
        usize::from(self.0) == lane
    }

    fn is_in_transit(self) -> bool {
        self.0 & Self::IN_TRANSIT != 0
    }
}

// Nobody is no lane's number, in transit or not.
const _: () = assert!(LANES_MAX < (Holder::NOBODY.0 & !Holder::IN_TRANSIT) as usize);

impl Life {
    const NOBODY: Self = Self {
        at: [0; 3],
        layers: 0,
        id: SubjectId(u32::MAX),
        generation: Generation(0),
        holder: Holder::NOBODY,
    };

    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        self.holder != Holder::NOBODY
    }
}

impl Lives {
    pub(super) fn new(lanes: usize, slots_max: u32, subjects_max: u32) -> Self {
        Self {
            issuers: Issuers::new(),
            subjects: Vec::new(),
            free: Vec::new(),
            resting: Vec::new(),
            held: vec![0; lanes],
            transits: VecDeque::new(),
            graves: BTreeMap::new(),
            graves_until: VecDeque::new(),
            slots_max,
            subjects_max,
        }
    }

    /// There is a lane of this number.
    pub(super) fn set_lane(&mut self, lane: usize) {
        assert!(
            lane < usize::from(Holder::IN_TRANSIT) - 1,
            "numbers of lanes have seven bits"
        );
        if self.held.len() <= lane {
            self.held.resize(lane + 1, 0);
        }
    }

    /// A turn begins, in tick `now` of the gateway: no view knows those who ended in the last one.
    pub(super) fn begin(&mut self, now: u64) {
        self.free.append(&mut self.resting);
        while let Some((_, name)) = self.graves_until.pop_front_if(|(until, _)| *until <= now) {
            self.graves.remove(&name);
        }
    }

    /// Whether the life that a join would begin is over already: it ended after as many hand-offs, or more.
    pub(super) fn is_over(&self, name: EntityName, hop: Hop) -> bool {
        self.graves.get(&name).is_some_and(|last| hop <= *last)
    }

    /// Whether somebody of this name was handed off and ended lately.
    pub(super) fn is_buried(&self, subject: SubjectRef) -> bool {
        let issuer = self.issuers.get(subject.lane);
        issuer.is_some_and(|issuer| {
            self.graves.contains_key(&EntityName {
                issuer: issuer.epoch,
                slot: subject.slot,
                generation: subject.generation,
            })
        })
    }

    /// Over how many lives the lane has authority.
    pub(super) fn held(&self, lane: usize) -> u32 {
        self.held[lane]
    }

    pub(super) fn subject(&self, id: SubjectId) -> Option<&Subject> {
        self.subjects.get(id.0 as usize)?.as_ref()
    }

    /// The subject of a life.
    pub(super) fn of(&self, life: &Life) -> &Subject {
        self.subject(life.id).expect("a life is a subject's")
    }

    pub(super) fn of_mut(&mut self, life: &Life) -> &mut Subject {
        self.subjects[life.id.0 as usize]
            .as_mut()
            .expect("a life is a subject's")
    }

    /// The life in a slot.
    #[inline]
    pub(super) fn find(&self, issuer: LaneHandle, slot: Slot) -> Option<Life> {
        self.issuers.get(issuer)?.life(slot).copied()
    }

    /// The lives that a lane has authority over, by id.
    pub(super) fn held_by(&self, lane: usize) -> impl Iterator<Item = Life> {
        let lives = self.subjects.iter().flatten().map(|subject| {
            self.find(subject.name.lane, subject.name.slot)
                .expect("a subject has a life")
        });
        lives.filter(move |life| life.holder.is(lane))
    }

    fn life_mut(&mut self, name: SubjectRef) -> &mut Life {
        let issuer = self.issuers.get_mut(name.lane);
        issuer
            .and_then(|issuer| issuer.life_mut(name.slot))
            .expect("a subject has a life")
    }

    /// A life begins in an empty slot, under the authority of `lane`. `false` if there is no room for it.
    pub(super) fn start(
        &mut self,
        lane: usize,
        issuer: LaneHandle,
        join: JoinRecord,
        now: u64,
        engine: &mut Engine,
    ) -> bool {
        let next = SubjectId(self.subjects.len() as u32);
        if join.slot.0 >= self.slots_max || self.free.is_empty() && next.0 >= self.subjects_max {
            return false;
        }
        let id = self.free.pop().unwrap_or(next);
        if id == next {
            self.subjects.push(None);
        }
        let life = Life {
            at: join.position.to_aoi(),
            layers: join.layers,
            id,
            generation: join.generation,
            holder: Holder::lane(lane),
        };
        let Issuer { lives, living, .. } = self.issuers.get_mut(issuer).expect("it was admitted");
        let index = join.slot.0 as usize;
        if lives.len() <= index {
            lives.resize(index + 1, Life::NOBODY);
        }
        assert!(!lives[index].is_there(), "a life begins in an empty slot");
        lives[index] = life;
        *living += 1;
        self.held[lane] += 1;
        let subject = myriad_aoi::Subject {
            position: life.at,
            layers: life.layers,
            appeal: 0,
        };
        engine.insert_subject(id, subject);
        self.subjects[id.0 as usize] = Some(Subject {
            name: SubjectRef {
                lane: issuer,
                slot: join.slot,
                generation: join.generation,
            },
            entity: join.entity,
            kind: join.kind,
            layers: join.layers,
            position: join.position,
            properties: join.properties,
            version: join.version,
            versioned: now,
            born: now,
            hop: join.hop,
            claimed_until: 0,
        });
        true
    }

    /// A life is over.
    pub(super) fn end(&mut self, life: &Life, now: u64, engine: &mut Engine, records: &mut Records) {
        let subject = self.subjects[life.id.0 as usize]
            .take()
            .expect("a life ends once");
        *self.life_mut(subject.name) = Life::NOBODY;
        let issuer = self.issuers.get_mut(subject.name.lane);
        let issuer = issuer.expect("it has a life");
        issuer.living -= 1;
        if subject.hop > Hop(0) {
            let SubjectRef { slot, generation, .. } = subject.name;
            let name = EntityName {
                issuer: issuer.epoch,
                slot,
                generation,
            };
            self.graves.insert(name, subject.hop);
            self.graves_until.push_back((now + TRANSIT_TICKS, name));
        }
        self.let_go(life.holder);
        self.resting.push(life.id);
        engine.remove_subject(life.id);
        if subject.born != now {
            records.put_ended(Ended {
                id: life.id,
                subject: subject.name,
                entity: subject.entity,
                layers: subject.layers,
            });
        }
    }

    /// `lane` has authority over a life from now on. Answers the life as it is then.
    pub(super) fn claim(&mut self, life: &Life, lane: usize, hop: Hop) -> Life {
        let subject = self.of_mut(life);
        assert!(hop > subject.hop, "a claim was not refused");
        subject.hop = hop;
        let name = subject.name;
        self.let_go(life.holder);
        self.held[lane] += 1;
        let life = self.life_mut(name);
        life.holder = Holder::lane(lane);
        *life
    }

    /// The lane that has authority over a life has let it go, for another one to claim.
    pub(super) fn depart(&mut self, life: &Life, now: u64) {
        assert!(!life.holder.is_in_transit(), "a life departs from a lane");
        let until = now + TRANSIT_TICKS;
        let subject = self.of_mut(life);
        subject.claimed_until = until;
        let name = subject.name;
        self.let_go(life.holder);
        self.life_mut(name).holder.0 |= Holder::IN_TRANSIT;
        self.transits.push_back((until, life.id));
    }

    /// Who is in transit.
    pub(super) fn in_transit(&self) -> impl Iterator<Item = &Subject> {
        self.transits.iter().filter_map(|(until, id)| {
            let subject = self
                .subject(*id)
                .filter(|subject| subject.claimed_until == *until)?;
            let life = self.find(subject.name.lane, subject.name.slot)?;
            life.holder.is_in_transit().then_some(subject)
        })
    }

    /// A life that should have been claimed by tick `now` of the gateway, for the caller to end: one after the other.
    pub(super) fn pop_unclaimed(&mut self, now: u64) -> Option<Life> {
        while let Some(&(until, id)) = self.transits.front().filter(|(until, _)| *until <= now) {
            self.transits.pop_front();
            let Some(subject) = self.subject(id).filter(|subject| subject.claimed_until == until) else {
                continue;
            };
            let life = self.find(subject.name.lane, subject.name.slot);
            let life = life.expect("a subject has a life");
            if life.holder.is_in_transit() {
                return Some(life);
            }
        }
        None
    }

    fn let_go(&mut self, holder: Holder) {
        if !holder.is_in_transit() {
            self.held[usize::from(holder.0)] -= 1;
        }
    }

    pub(super) fn set_layers(&mut self, life: &Life, layers: u32, engine: &mut Engine) {
        let subject = self.of_mut(life);
        if subject.layers != layers {
            subject.layers = layers;
            let name = subject.name;
            self.life_mut(name).layers = layers;
            engine.set_layers(life.id, layers);
        }
    }

    /// Whoever lives in the slot is at `position` now, if `lane` says so with authority. Answers who that is: of another
    /// lane it is taken as it was.
    #[inline]
    pub(super) fn set_position(
        &mut self,
        lane: usize,
        (issuer, slot): (LaneHandle, Slot),
        position: WirePos,
        engine: &mut Engine,
    ) -> Option<Life> {
        let life = self.issuers.get_mut(issuer)?.life_mut(slot)?;
        if life.holder.is(lane) {
            let now = position.to_aoi();
            let subject = self.subjects[life.id.0 as usize].as_mut();
            subject.expect("a life is a subject's").position = position;
            if life.at != now {
                life.at = now;
                engine.move_subject(life.id, now);
            }
        }
        Some(*life)
    }
}
