//! Where the avatars are that are not here: those of accounts whose home is this lane, and those that this lane has
//! handed on.
//!
//! Whoever looks for an avatar asks the home lane of its account, which sends it on. Each lane that handed an avatar on
//! remembers where it went until the home lane knows at least as much, so the chain from the home lane to the avatar
//! never breaks, however late the messages are.

use myriad_wire::lane::AvatarPlace;
use myriad_wire::{EntityId, Hop, LaneEpoch, LaneId, SessionId};
use std::collections::{BTreeMap, VecDeque};

/// How many sessions are remembered after their avatars went to another lane.
const SESSIONS_REMEMBERED: usize = 4096;

/// Where an avatar went. Of two the one with the higher (era, hop) is the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabout {
    pub(crate) lane: LaneId,
    pub(crate) entity: EntityId,
    pub(crate) era: LaneEpoch,
    pub(crate) hop: Hop,
}

/// Where the avatars are that are not here.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    by_account: BTreeMap<String, Whereabout>,
    /// Sessions whose avatars went from here, oldest first.
    sessions: VecDeque<(SessionId, LaneId)>,
}

impl Whereabouts {
    /// Which lane to ask for the avatar of `account`, as far as this one knows.
    pub(crate) fn of(&self, account: &str) -> Option<LaneId> {
        self.by_account.get(account).map(|there| there.lane)
    }

    /// The avatar of `account` went from here.
    pub(crate) fn insert(&mut self, account: &str, there: Whereabout) {
        self.by_account.insert(account.to_owned(), there);
    }

    /// The avatar of `account` is here.
    pub(crate) fn forget(&mut self, account: &str) {
        self.by_account.remove(account);
    }

    /// At the home lane: the lane `at` says that it has the avatar. What is older than what is known counts nothing.
    pub(crate) fn note(&mut self, place: &AvatarPlace, at: LaneId) {
        let Some(known) = self.by_account.get_mut(&place.account) else {
            // The home lane brought it into the world: if it knows nothing of it now, it has heard of its end.
            return;
        };
        if known.entity == place.entity && (place.era, place.hop) > (known.era, known.hop) {
            *known = Whereabout {
                lane: at,
                entity: place.entity,
                era: place.era,
                hop: place.hop,
            };
        }
    }

    /// At the home lane: the lane `at` says that the avatar is in no lane any more.
    pub(crate) fn forget_gone(&mut self, place: &AvatarPlace, at: LaneId) {
        let gone = |known: &Whereabout| {
            known.lane == at
                || known.entity == place.entity && (place.era, place.hop) >= (known.era, known.hop)
        };
        if self.by_account.get(&place.account).is_some_and(gone) {
            self.by_account.remove(&place.account);
        }
    }

    /// At a lane that handed an avatar on: the home lane knows where it went from here, or better.
    pub(crate) fn forget_known(&mut self, place: &AvatarPlace) {
        let known = |there: &Whereabout| {
            there.entity == place.entity && (place.era, place.hop) >= (there.era, there.hop)
        };
        if self.by_account.get(&place.account).is_some_and(known) {
            self.by_account.remove(&place.account);
        }
    }

    /// A lane has begun a new life: whoever it had is not there any more.
    pub(crate) fn forget_lane(&mut self, lane: LaneId) {
        self.by_account.retain(|_, there| there.lane != lane);
    }

    /// The avatar of a session went to `to`.
    pub(crate) fn note_session(&mut self, session: SessionId, to: LaneId) {
        if self.sessions.len() >= SESSIONS_REMEMBERED {
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

    fn place(hop: u32) -> AvatarPlace {
        AvatarPlace {
            account: "ada".into(),
            entity: EntityId(1),
            era: LaneEpoch(5),
            hop: Hop(hop),
            from: LaneId(1),
        }
    }

    fn at(lane: LaneId, hop: u32) -> Whereabout {
        Whereabout {
            lane,
            entity: EntityId(1),
            era: LaneEpoch(5),
            hop: Hop(hop),
        }
    }

    #[test]
    fn the_latest_word_counts_in_whichever_order_it_comes() {
        let mut home = Whereabouts::default();
        home.note(&place(4), WEST);
        assert_eq!(home.of("ada"), None, "of nobody that it brought into the world");
        home.insert("ada", at(EAST, 1));
        home.note(&place(3), WEST);
        home.note(&place(2), LaneId(4));
        assert_eq!(home.of("ada"), Some(WEST));
        home.forget_gone(&place(2), LaneId(4));
        assert_eq!(home.of("ada"), Some(WEST), "it had gone on");
        home.forget_gone(&place(3), WEST);
        assert_eq!(home.of("ada"), None);
    }

    #[test]
    fn who_handed_it_on_remembers_until_the_home_lane_knows_as_much() {
        let mut there = Whereabouts::default();
        there.insert("ada", at(EAST, 3));
        there.forget_known(&place(2));
        assert_eq!(there.of("ada"), Some(EAST));
        there.forget_known(&place(3));
        assert_eq!(there.of("ada"), None);
    }

    #[test]
    fn sessions_are_remembered_the_last_ones_best() {
        let mut there = Whereabouts::default();
        there.note_session(SessionId(1), EAST);
        there.note_session(SessionId(1), WEST);
        assert_eq!(there.session(SessionId(1)), Some(WEST));
        for session in 2..2 + SESSIONS_REMEMBERED as u64 {
            there.note_session(SessionId(session), EAST);
        }
        assert_eq!(there.session(SessionId(1)), None);
        assert_eq!(there.sessions.len(), SESSIONS_REMEMBERED);
    }
}
