//! Where the avatars are that are not here: those of accounts whose home is this lane, and those that this lane has
//! handed on.
//!
//! Whoever looks for an avatar asks the home lane of its account, which sends it on. Each lane that handed an avatar on
//! remembers where it went until the home lane knows at least as much, so the chain from the home lane to the avatar
//! never breaks, however late the messages are. When homes change, several lanes may tell a new home lane where an avatar
//! was, late; so it is remembered for a while of whom it is known that they have ended.

use myriad_wire::lane::AvatarPlace;
use myriad_wire::{EntityId, Hop, LaneEpoch, LaneId, SessionId};
use std::collections::{BTreeMap, VecDeque};

/// How many sessions are remembered after their avatars went to another lane, and how many avatars after they ended.
const REMEMBERED_MAX: usize = 4096;

/// Which of several words on an avatar is the latest: of one entity that with the higher (era, hop).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AvatarLife {
    pub(crate) entity: EntityId,
    pub(crate) era: LaneEpoch,
    pub(crate) hop: Hop,
}

impl AvatarLife {
    /// That a place tells of.
    pub(crate) fn of(place: &AvatarPlace) -> Self {
        Self {
            entity: place.entity,
            era: place.era,
            hop: place.hop,
        }
    }

    /// Whether storage is still asked for the avatar.
    fn is_to_come(self) -> bool {
        self.entity == EntityId(0)
    }

    fn is_at_least(self, other: Self) -> bool {
        self.entity == other.entity && (self.era, self.hop) >= (other.era, other.hop)
    }

    /// Whether this tells more than `other`. Of another entity with the account that began later.
    fn is_later(self, other: Self) -> bool {
        if self.is_to_come() || other.is_to_come() {
            return !self.is_to_come();
        }
        if self.entity == other.entity {
            (self.era, self.hop) > (other.era, other.hop)
        } else {
            (self.era, self.entity) > (other.era, other.entity)
        }
    }
}

/// Where an avatar went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabout {
    pub(crate) lane: LaneId,
    pub(crate) life: AvatarLife,
    /// This lane has handed it on, and the home lane is not known to know so.
    pub(crate) is_owed: bool,
}

/// Where the avatars are that are not here.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    by_account: BTreeMap<String, Whereabout>,
    /// Whose avatars have ended, and which life that was.
    ended: BTreeMap<String, AvatarLife>,
    /// Those, the first of whom ended first; one may have come and ended again since.
    ended_order: VecDeque<String>,
    /// Sessions whose avatars went from here, oldest first.
    sessions: VecDeque<(SessionId, LaneId)>,
}

impl Whereabouts {
    /// Which lane to ask for the avatar of `account`, as far as this one knows.
    pub(crate) fn of(&self, account: &str) -> Option<LaneId> {
        self.by_account.get(account).map(|there| there.lane)
    }

    /// All that is known, by account.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Whereabout)> {
        self.by_account.iter()
    }

    /// Whether the home lanes know of all that this lane has handed on.
    pub(crate) fn owes_nothing(&self) -> bool {
        !self.by_account.values().any(|there| there.is_owed)
    }

    /// The avatar of `account` went from here to a lane.
    pub(crate) fn insert(&mut self, account: &str, lane: LaneId, life: AvatarLife) {
        let is_owed = true;
        self.by_account
            .insert(account.to_owned(), Whereabout { lane, life, is_owed });
    }

    /// The avatar of `account` is here.
    pub(crate) fn forget(&mut self, account: &str) {
        self.by_account.remove(account);
    }

    /// At the home lane: some lane says where the avatar is. What is older than what is known counts nothing.
    pub(crate) fn note(&mut self, place: &AvatarPlace) {
        let life = AvatarLife::of(place);
        if self
            .ended
            .get(&place.account)
            .is_some_and(|ended| ended.is_at_least(life))
        {
            return;
        }
        let there = Whereabout {
            lane: place.at,
            life,
            is_owed: false,
        };
        match self.by_account.get_mut(&place.account) {
            None => {
                self.by_account.insert(place.account.clone(), there);
            }
            Some(known) if life.is_later(known.life) => *known = there,
            // It is there, as this lane itself has said.
            Some(known) if known.life == life && known.lane == place.at => known.is_owed = false,
            Some(_) => {}
        }
    }

    /// The avatar of `account` has ended, as which life is known, here or in another lane: later words of earlier lives
    /// count nothing.
    pub(crate) fn note_end(&mut self, account: &str, life: AvatarLife) {
        if life.is_to_come() {
            return;
        }
        if self.ended.insert(account.to_owned(), life).is_none() {
            self.ended_order.push_back(account.to_owned());
            if self.ended_order.len() > REMEMBERED_MAX
                && let Some(first) = self.ended_order.pop_front()
            {
                self.ended.remove(&first);
            }
        }
    }

    /// As which life the avatar of `account` ended, if it did so not long ago.
    pub(crate) fn ended(&self, account: &str) -> Option<AvatarLife> {
        self.ended.get(account).copied()
    }

    /// At the home lane: some lane says that the avatar is in no lane any more.
    pub(crate) fn forget_gone(&mut self, place: &AvatarPlace) {
        let life = AvatarLife::of(place);
        self.note_end(&place.account, life);
        let gone = |known: &Whereabout| {
            life.is_at_least(known.life) || known.life.is_to_come() && known.lane == place.at
        };
        if self.by_account.get(&place.account).is_some_and(gone) {
            self.by_account.remove(&place.account);
        }
    }

    /// At a lane that handed an avatar on: the home lane knows where it went from here, or better.
    pub(crate) fn forget_known(&mut self, place: &AvatarPlace) {
        let known = |there: &Whereabout| there.is_owed && AvatarLife::of(place).is_at_least(there.life);
        if self.by_account.get(&place.account).is_some_and(known) {
            self.by_account.remove(&place.account);
        }
    }

    /// Forgets what it knows as the home lane of accounts for which `is_home` does not hold any more.
    pub(crate) fn leave_homes(&mut self, is_home: impl Fn(&str) -> bool) {
        self.by_account
            .retain(|account, there| there.is_owed || is_home(account));
    }

    /// A lane has begun a new life, or has ended: whoever it had is not there any more.
    pub(crate) fn forget_lane(&mut self, lane: LaneId) {
        self.by_account.retain(|_, there| there.lane != lane);
    }

    /// The avatar of a session went to `to`.
    pub(crate) fn note_session(&mut self, session: SessionId, to: LaneId) {
        if self.sessions.len() >= REMEMBERED_MAX {
            self.sessions.pop_front();
        }
        self.sessions.push_back((session, to));
    }

    /// Where a session went whose avatar was here, if that is not long ago. The last time counts.
    pub(crate) fn session(&self, session: SessionId) -> Option<LaneId> {
        let of = |(other, lane): &(SessionId, LaneId)| (*other == session).then_some(*lane);
        self.sessions.iter().rev().find_map(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EAST: LaneId = LaneId(2);
    const WEST: LaneId = LaneId(3);

    fn place(at: LaneId, hop: u32) -> AvatarPlace {
        AvatarPlace {
            account: "ada".into(),
            entity: EntityId(1),
            era: LaneEpoch(5),
            hop: Hop(hop),
            at,
            from: LaneId(1),
            layout: 0,
        }
    }

    fn life(hop: u32) -> AvatarLife {
        AvatarLife::of(&place(EAST, hop))
    }

    #[test]
    fn the_latest_word_counts_in_whichever_order_it_comes() {
        let mut home = Whereabouts::default();
        home.insert("ada", EAST, life(1));
        home.note(&place(WEST, 3));
        home.note(&place(LaneId(4), 2));
        assert_eq!(home.of("ada"), Some(WEST));
        home.forget_gone(&place(LaneId(4), 2));
        assert_eq!(home.of("ada"), Some(WEST), "it had gone on");
        home.forget_gone(&place(WEST, 3));
        assert_eq!(home.of("ada"), None);
        home.note(&place(WEST, 3));
        assert_eq!(home.of("ada"), None, "it has ended since");
        home.note(&place(EAST, 4));
        assert_eq!(home.of("ada"), Some(EAST), "and has come again");
    }

    #[test]
    fn who_handed_it_on_remembers_until_the_home_lane_knows_as_much() {
        let mut there = Whereabouts::default();
        there.insert("ada", EAST, life(3));
        assert!(!there.owes_nothing());
        there.forget_known(&place(EAST, 2));
        there.leave_homes(|_| false);
        assert_eq!(there.of("ada"), Some(EAST));
        there.forget_known(&place(EAST, 3));
        assert_eq!(there.of("ada"), None);
        assert!(there.owes_nothing());
    }

    #[test]
    fn who_is_no_home_lane_any_more_forgets_what_others_told_it() {
        let mut home = Whereabouts::default();
        home.insert("ada", EAST, life(3));
        home.note(&place(EAST, 3));
        assert!(home.owes_nothing(), "the lane where it is has said so");
        home.leave_homes(|account| account == "ada");
        assert_eq!(home.of("ada"), Some(EAST));
        home.leave_homes(|_| false);
        assert_eq!(home.of("ada"), None);
    }

    #[test]
    fn an_avatar_that_storage_is_asked_for_is_where_it_is_asked_for() {
        let to_come = AvatarPlace {
            entity: EntityId(0),
            era: LaneEpoch(0),
            hop: Hop(0),
            ..place(EAST, 0)
        };
        let mut home = Whereabouts::default();
        home.note(&to_come);
        assert_eq!(home.of("ada"), Some(EAST));
        home.note(&place(WEST, 1));
        home.note(&to_come);
        home.forget_gone(&to_come);
        assert_eq!(home.of("ada"), Some(WEST), "it has come since");
        home.forget_gone(&place(WEST, 1));
        home.note(&to_come);
        home.forget_gone(&to_come);
        assert_eq!(home.of("ada"), None);
    }

    #[test]
    fn sessions_are_remembered_the_last_ones_best() {
        let mut there = Whereabouts::default();
        there.note_session(SessionId(1), EAST);
        there.note_session(SessionId(1), WEST);
        assert_eq!(there.session(SessionId(1)), Some(WEST));
        for session in 2..2 + REMEMBERED_MAX as u64 {
            there.note_session(SessionId(session), EAST);
        }
        assert_eq!(there.session(SessionId(1)), None);
        assert_eq!(there.sessions.len(), REMEMBERED_MAX);
    }
}
