//! The vocabulary of the engine: ids, what is put in, what comes out.

/// A subject's dense index, chosen by the caller (a slot). Small numbers: tables are as long as the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId(pub u32);

/// An observer's dense index, chosen by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(pub u32);

/// The greatest radius or appeal in AOI units; greater ones count as this one.
///
/// At 1/32 m per unit it is 33,554 km. It keeps sums of squares within 64 bits.
pub const RADIUS_MAX: u32 = 1 << 30;

/// Who may observe whom, which decides how much work pairs share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Observers and subjects are two sets, each observer with a place and a radius of its own: a gateway's clients
    /// before everybody mirrored, or the few entities of a lane whose scripts notice others.
    #[default]
    Directed,
    /// One set of entities with one radius, each of which may observe: subject `i` and observer `i` are one and the
    /// same entity at one place, so that a distance is computed once for both directions. What differs is said at
    /// [`Engine::insert_observer`](crate::Engine::insert_observer).
    Mutual {
        /// Of every observer, in AOI units. At most [`RADIUS_MAX`].
        radius: u32,
    },
}

/// Which instructions the innermost loops use. The outcome is the same to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    /// Whatever the compiler may assume of every machine. Outside the innermost loops, transposing a tile and fitting a
    /// block's box still use AVX2 where the machine has it.
    Portable,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

impl Kernel {
    /// All, the slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Whether this machine has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The fastest that this machine has.
    pub fn best() -> Self {
        let mut available = Self::ALL.into_iter().filter(|kernel| kernel.is_available());
        available.next_back().unwrap_or(Self::Portable)
    }

    /// As it is written on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// How an engine is set up. Fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who may observe whom. Default [`Shape::Directed`].
    pub shape: Shape,
    /// Greatest difference in height at which a subject comes into view, in AOI units; it stays up to 1.1 times
    /// that. Default `None`: height counts only as part of the distance.
    pub dy_limit: Option<u32>,
    /// Whether to keep account of who is observed by anybody. Costs a count per event. Default `true`.
    pub watched: bool,
    /// The instructions to use; `None`, the default, for the fastest that the machine has.
    pub kernel: Option<Kernel>,
    /// Subject ids are below this, which is at most 2^31. Default 2^20.
    pub subjects_max: u32,
    /// Observer ids are below this. Default 2^20.
    pub observers_max: u32,
    /// Trap ids are below this. Default 2^16.
    pub traps_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shape: Shape::Directed,
            dy_limit: None,
            watched: true,
            kernel: None,
            subjects_max: 1 << 20,
            observers_max: 1 << 20,
            traps_max: 1 << 16,
        }
    }
}

/// Bytes that an engine has allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What grows with the entities.
    pub entities_bytes: usize,
    /// What grows with the pairs in view, and the lists of events.
    pub pairs_bytes: usize,
}

/// What can be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `[x, y, z]` in AOI units, y up. Any value of `i32`.
    pub position: [i32; 3],
    /// Seen only by observers whose `sees` has one of these bits; 0 is seen by nobody.
    pub layers: u32,
    /// Seen from at least this far, in AOI units, whatever the observer's radius; 0 for none. At most
    /// [`RADIUS_MAX`].
    pub appeal: u32,
}

/// Who sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observer {
    /// `[x, y, z]` in AOI units, y up. Any value of `i32`.
    pub position: [i32; 3],
    /// How far it sees, in AOI units. At most [`RADIUS_MAX`].
    pub radius: u32,
    /// Sees only subjects whose `layers` has one of these bits; 0 sees nothing.
    pub sees: u32,
    /// The subject that moves with this observer, if any. A hint that never changes the outcome: an observer
    /// sees its own avatar like any other subject.
    pub avatar: Option<SubjectId>,
}

/// The two things that can happen between an observer and a subject. `Leave` sorts before `Enter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// The subject quit the view, or was removed.
    Leave,
    /// The subject joined the view.
    Enter,
}

/// An edge of one observer's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// Whose view.
    pub observer: ObserverId,
    /// Who joined or quit it.
    pub subject: SubjectId,
    /// Which of the two.
    pub edge: Edge,
}
