//! What gateways have sent, as the simulator saw it go out: what the checkers of clients go by.

use super::crowd::Reader;
use myriad_wire::{LaneEpoch, LaneHandle, SubjectRef, Tick};
use std::collections::{BTreeMap, BTreeSet};

/// What the client's gateway has sent it: notes of the simulator, none of the client.
#[derive(Debug, Default)]
pub(crate) struct SentNotes {
    /// How many `Joined` were sent.
    pub(crate) joins: u32,
    /// Which lane the gateway means by a handle.
    pub(crate) lanes: BTreeMap<LaneHandle, LaneEpoch>,
    /// By tick: the `View` messages sent.
    pub(crate) views: BTreeMap<Tick, ViewNote>,
    /// The frames that the gateway took, one after the other.
    pub(crate) frames: Vec<FrameNote>,
    /// From which tick on the view is told how, in the order in which it was said. Before the first: listed.
    pub(crate) ways: Vec<(Tick, Way)>,
    /// Ticks under which something of a lane was told that is a little behind them.
    pub(crate) behind: BTreeSet<Tick>,
    /// When keyframes of tracks last had to wait.
    pub(crate) deferred: Tick,
    /// What the client must know of the crowd, if it has read all.
    pub(crate) reader: Reader,
}

/// How a view is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Subject by subject.
    Listed,
    /// The same, and not all of it has been told yet.
    Listing,
    /// By tracks of the lane of this epoch.
    Crowd { epoch: LaneEpoch, complete: bool },
}

impl SentNotes {
    /// How the view of `tick` is told, and since when.
    pub(crate) fn way(&self, tick: Tick) -> (Tick, Way) {
        let last = self.ways.iter().rev().find(|(since, _)| *since <= tick);
        last.copied().unwrap_or((Tick(0), Way::Listed))
    }

    /// How the view is told now.
    pub(crate) fn way_now(&self) -> Way {
        self.ways.last().map_or(Way::Listed, |(_, way)| *way)
    }

    pub(crate) fn set_way(&mut self, tick: Tick, way: Way) {
        if self.way_now() != way {
            self.ways.push((tick, way));
        }
    }
}

/// One frame that the client's gateway took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameNote {
    pub(crate) epoch: LaneEpoch,
    pub(crate) tick: Tick,
    /// The client was told states of it, so its avatar was where this frame has it.
    pub(crate) told: bool,
}

/// One tick's `View` messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViewNote {
    pub(crate) epoch: LaneEpoch,
    /// The gateway has joined the session to its avatar at that lane.
    pub(crate) joined: bool,
    /// Its frame was of an earlier tick than was told already: of a new lane that is a little behind the one before.
    pub(crate) is_behind: bool,
    /// The view stood still since the message before: edges may be of the ticks between.
    pub(crate) catches_up: bool,
    /// Not all enters may have fitted into this message or the one before.
    pub(crate) crowded: bool,
}

/// Of which lane a subject is.
pub(crate) fn epoch_of(subject: SubjectRef, notes: &SentNotes) -> Result<LaneEpoch, String> {
    let epoch = notes.lanes.get(&subject.lane).copied();
    epoch.ok_or_else(|| format!("{subject:?} is of a lane that its gateway never named"))
}
