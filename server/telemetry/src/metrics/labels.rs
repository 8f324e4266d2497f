//! The values that labels may have: closed enums, so that the number of time series is known.

use myriad_wire::CloseReason;

/// A label of a metric: its name, and a closed set of values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// Its values, in the order of their indices.
    const ALL: &'static [Self];

    /// The value's place in [`Self::ALL`].
    fn index(self) -> usize;
    /// The value's text.
    fn label(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident as $key:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $name {
                $($(#[$variant_doc])* $variant,)*
            }

            impl Label for $name {
                const KEY: &'static str = $key;
                const ALL: &'static [Self] = &[$(Self::$variant,)*];

                fn index(self) -> usize {
                    self as usize
                }

                fn label(self) -> &'static str {
                    match self { $(Self::$variant => $text,)* }
                }
            }
        )*
    };
}

labels! {
    /// The stages of a lane's tick, in their order.
    LaneStage as "stage" {
        /// Messages from gateways are read.
        Ingest = "ingest",
        /// Entities move between lanes.
        Handoff = "handoff",
        /// Commands and timers run scripts.
        Commands = "commands",
        /// Everything moves.
        Simulate = "simulate",
        /// Who is near whom, for scripts.
        Interest = "interest",
        /// Copies at neighbours are refreshed.
        Ghosts = "ghosts",
        /// The frame is encoded and sent.
        Publish = "publish",
        /// Saves are handed to storage.
        Persist = "persist",
    }
    /// The stages of a gateway's tick, in their order.
    GatewayStage as "stage" {
        /// Frames and client messages are read.
        Ingest = "ingest",
        /// Views are recomputed.
        Interest = "interest",
        /// Each client's messages and payloads are put together.
        Assemble = "assemble",
        /// They are handed to the edge.
        Send = "send",
    }
    /// Why the fabric dropped a message.
    FabricDrop as "cause" {
        /// Nobody hosts the role.
        NoRoute = "no_route",
        /// The role's inbox was full.
        InboxFull = "inbox_full",
        /// The link's queue was full.
        QueueFull = "queue_full",
        /// The message was too large.
        Oversized = "oversized",
    }
    /// Why a node was refused a link.
    FabricRefusal as "cause" {
        /// Its certificate is missing or not of this cluster.
        Stranger = "stranger",
        /// It speaks another version of the node protocol.
        Version = "version",
        /// Its name is not in its certificate, or is this node's own.
        Name = "name",
        /// It is linked already.
        Duplicate = "duplicate",
        /// Its greeting failed in another way, or too many were at it.
        Greeting = "greeting",
    }
    /// What a store is asked to do.
    StorageOperation as "operation" {
        /// Read an avatar.
        Load = "load",
        /// Write a batch.
        Save = "save",
    }
}

impl Label for CloseReason {
    const KEY: &'static str = "reason";
    const ALL: &'static [Self] = CloseReason::ALL;

    fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|&reason| reason == self)
            .expect("ALL holds every reason")
    }

    fn label(self) -> &'static str {
        CloseReason::label(self)
    }
}
