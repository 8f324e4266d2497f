//! What a run has really exercised: a simulator that never cuts a link proves nothing about cuts.

macro_rules! exercises {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Something that a run can exercise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Exercise {
            $($(#[$doc])* $name,)*
        }

        impl Exercise {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// In words, for the table.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

exercises! {
    /// A message between roles was lost.
    FabricLost = "fabric: messages lost",
    /// A message between roles came late, behind younger ones.
    FabricLate = "fabric: messages late and out of order",
    /// A message between roles came twice.
    FabricDoubled = "fabric: messages doubled",
    /// A link between roles was cut for a while.
    FabricCut = "fabric: links cut",
    /// A lane took a gateway for dead.
    GatewaySilent = "lane: gateways taken for dead",
    /// A link was made anew with a full copy, by a lane.
    Resynced = "lane: full copies sent",
    /// A client's stream stood still for a while.
    StreamStalled = "client: streams stalled",
    /// A client's connection was lost.
    ConnectionLost = "client: connections lost",
    /// A datagram was lost.
    DatagramLost = "client: datagrams lost",
    /// A datagram came late, behind younger ones.
    DatagramLate = "client: datagrams late and out of order",
    /// A datagram came twice.
    DatagramDoubled = "client: datagrams doubled",
    /// A client stopped reading for a while.
    ReaderPaused = "client: readers paused",
    /// A gateway froze the view of a client that did not read.
    ViewFrozen = "gateway: views frozen",
    /// A frozen view caught up.
    CaughtUp = "gateway: frozen views caught up",
    /// A gateway crashed.
    GatewayCrashed = "gateway: crashes",
    /// A lane crashed and was restarted with a higher epoch.
    LaneCrashed = "lane: crashes",
    /// A lane went on for a while after another had taken over.
    LaneLingered = "lane: dead owners that went on",
    /// A gateway that knew the new lane heard the one before.
    DeadOwnerHeard = "gateway: messages of dead owners heard",
    /// A lane was late and jumped over ticks.
    LaneJumped = "lane: ticks jumped over",
    /// A storage answer took long.
    StorageSlow = "storage: slow answers",
    /// A storage request failed.
    StorageFailed = "storage: errors",
    /// A save was fenced off.
    StorageFenced = "storage: saves of dead owners fenced off",
    /// A session was given its avatar.
    Joined = "session: joins",
    /// A session was given its avatar anew, after its lane had been replaced.
    JoinedAgain = "session: joins again after a new lane",
    /// An account logged in while it was logged in.
    Replaced = "session: replaced by a second login",
    /// A player said goodbye.
    Left = "session: goodbyes",
    /// An avatar was attached again within its grace period.
    Reattached = "avatar: attached again within the grace period",
    /// An avatar left the world after its grace period.
    GraceOver = "avatar: grace periods over",
    /// An avatar came back from storage, or from its departure.
    Restored = "avatar: restored",
    /// A slot got its next life.
    SlotReused = "lane: slots reused",
    /// A movement intent was applied.
    Stepped = "intents: applied",
    /// A cheater's intent was cut short.
    Clipped = "intents: cut short",
    /// A command was run by a script.
    Commanded = "commands: run",
    /// A command was refused.
    Refused = "commands: refused",
    /// An entity changed its layers.
    Crossed = "layers changed",
    /// A client was told an enter.
    Entered = "told: enters",
    /// A client was told a change.
    Changed = "told: changes",
    /// A client was told an event.
    Happened = "told: events",
    /// A client was told a leave.
    Vanished = "told: leaves",
    /// A state was checked against the truth.
    State = "told: states",
    /// A client was sent a crowd message.
    CrowdMessage = "crowd: messages sent",
    /// A client whose view was listed began to be told it by tracks.
    CrowdEntered = "crowd: switches to it",
    /// A client in a crowd began to be told its view subject by subject.
    CrowdLeft = "crowd: switches back",
    /// A crowd began, or began anew.
    CrowdBegun = "crowd: begins",
    /// All tracks in reach were told.
    CrowdCompleted = "crowd: completes",
    /// A crowd began anew when its client read again.
    CrowdThawed = "crowd: thaws",
    /// A crowd began anew with the tracks of the lane's next life.
    CrowdOtherLane = "crowd: lane restarts seen",
    /// A keyframe of a track was sent.
    CrowdKeyframe = "crowd: keyframes",
    /// Keyframes of tracks had to wait for want of budget.
    KeyframesDeferred = "crowd: keyframes that had to wait",
    /// A delta of a track was sent.
    CrowdDelta = "crowd: deltas",
    /// A client was told no more of a track.
    CrowdDrop = "crowd: drops",
    /// A member went from one track to another in one message.
    CrowdMove = "crowd: moves between tracks",
    /// An event was sent in a crowd.
    CrowdEvent = "crowd: events sent",
    /// Events were not told, for want of budget or because the view stood still.
    CrowdEventsDropped = "gateway: events dropped",
    /// A client asked who somebody is.
    IdentityAsked = "crowd: identities asked for",
    /// A client was answered who somebody is.
    IdentitySent = "crowd: identities answered",
    /// A client told an identity, or properties that were not known.
    Identified = "told: identities",
    /// A view told by tracks was held against the band.
    BandChecked = "crowds held against the band",
    /// A view told by tracks was held against brute force at the end.
    CrowdProven = "crowds within the band at the end",
    /// A whole view was held against the rule after a tick.
    ViewChecked = "views held against the rule",
    /// A whole view was held against brute force at the end.
    ViewProven = "views equal to brute force at the end",
}

/// How often each was exercised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    counts: [u64; Exercise::ALL.len()],
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            counts: [0; Exercise::ALL.len()],
        }
    }
}

impl Coverage {
    /// Once.
    pub(crate) fn note(&mut self, exercise: Exercise) {
        self.add(exercise, 1);
    }

    /// So often.
    pub(crate) fn add(&mut self, exercise: Exercise, times: u64) {
        self.counts[exercise as usize] += times;
    }

    /// How often.
    #[must_use]
    pub fn count(&self, exercise: Exercise) -> u64 {
        self.counts[exercise as usize]
    }

    /// Adds what another run exercised.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }
}
