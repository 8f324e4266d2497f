//! The vocabulary of the engine: ids, what is put in, what comes out.

/// A subject's dense index, chosen by the caller (a slot). Small numbers: bitsets are as long as the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId(pub u32);

/// An observer's dense index, chosen by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(pub u32);

/// The greatest radius or appeal in AOI units; greater ones count as this one.
///
/// At 1/32 m per unit it is 33,554 km. It keeps sums of squares within 64 bits.
pub const RADIUS_MAX: u32 = 1 << 30;

/// How an engine is set up. Fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Edge of a grid cell in AOI units, at least 1. Only speed depends on it: a third of the usual radius is
    /// good. Default 1,024 (32 m at 1/32 m per unit).
    pub cell_size: u32,
    /// Greatest difference in height at which a subject comes into view, in AOI units; it stays up to 1.1 times
    /// that. Default `None`: height counts only as part of the distance.
    pub dy_limit: Option<u32>,
    /// Subject ids are below this. Every observer needs a quarter of a byte for each id up to the greatest in
    /// use. Default 2^20.
    pub subjects_max: u32,
    /// Observer ids are below this. Default 2^17.
    pub observers_max: u32,
    /// Trap ids are below this. Default 2^16.
    pub traps_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cell_size: 1 << 10,
            dy_limit: None,
            subjects_max: 1 << 20,
            observers_max: 1 << 17,
            traps_max: 1 << 16,
        }
    }
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
