//! The stages of a lane's tick. Each is one file with one function; the same word is its span, its metric label
//! and its bench.

pub(crate) mod commands;
pub(crate) mod ghosts;
pub(crate) mod handoff;
pub(crate) mod ingest;
pub(crate) mod interest;
pub(crate) mod persist;
pub(crate) mod publish;
pub(crate) mod simulate;

/// A stage of the tick, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// What arrived takes effect: reports of gateways, answers of storage.
    Ingest,
    /// Entities come under this lane's authority and leave it.
    Handoff,
    /// Scripts run: commands of players, timers, arrivals.
    Commands,
    /// Everything moves.
    Simulate,
    /// Scripts' own interests are computed.
    Interest,
    /// Neighbours' copies are brought up to date.
    Ghosts,
    /// The frame and the routes are encoded.
    Publish,
    /// What changed goes to storage.
    Persist,
}

impl Stage {
    /// All stages in their order.
    pub const ALL: [Self; 8] = [
        Self::Ingest,
        Self::Handoff,
        Self::Commands,
        Self::Simulate,
        Self::Interest,
        Self::Ghosts,
        Self::Publish,
        Self::Persist,
    ];

    /// The word for spans and metric labels.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Handoff => "handoff",
            Self::Commands => "commands",
            Self::Simulate => "simulate",
            Self::Interest => "interest",
            Self::Ghosts => "ghosts",
            Self::Publish => "publish",
            Self::Persist => "persist",
        }
    }
}
