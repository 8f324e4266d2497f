//! What can be done to an engine, as data.

use myriad_aoi::{Observer, Subject};

/// One change, one question, or the update. What makes no sense at the moment, such as moving somebody who is not
/// there, is skipped by [`Trial::apply`](crate::drive::trial::Trial::apply); so is what a shape does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    InsertSubject(u32, Subject),
    RemoveSubject(u32),
    /// Removed and inserted again before anybody looks. A mutual observer observes again, with the same `sees`.
    ReplaceSubject(u32, Subject),
    MoveSubject(u32, [i32; 3]),
    SetLayers(u32, u32),
    SetAppeal(u32, u32),
    /// Of a mutual observer only `sees` counts.
    InsertObserver(u32, Observer),
    RemoveObserver(u32),
    ReplaceObserver(u32, Observer),
    MoveObserver(u32, [i32; 3]),
    SetRadius(u32, u32),
    SetSees(u32, u32),
    SetManual(u32, u32, bool),
    InsertTrap(u32, [i32; 3], u32, u32),
    MoveTrap(u32, [i32; 3]),
    RemoveTrap(u32),
    /// Everybody steps by a little, each in its own direction, wrapping at the ends of `i32`.
    Drift(i32),
    /// Everybody is put where the next one was.
    Rotate,
    /// Everybody is put in one place.
    Gather([i32; 3]),
    RemoveAllSubjects,
    RemoveAllObservers,
    Update,
    Circle([i32; 3], u32, u32),
    Box([i32; 3], [i32; 3], u32),
    Nearest([i32; 3], usize, u32, u32),
    /// Centre, direction, cosine of half the angle, radius, layers.
    Sector([i32; 3], [i32; 2], i32, u32, u32),
}

impl Op {
    /// The subject that it is about, if it is about one.
    pub(crate) fn subject(&self) -> Option<u32> {
        match *self {
            Self::InsertSubject(id, _)
            | Self::RemoveSubject(id)
            | Self::ReplaceSubject(id, _)
            | Self::MoveSubject(id, _)
            | Self::SetLayers(id, _)
            | Self::SetAppeal(id, _)
            | Self::SetManual(_, id, _) => Some(id),
            _ => None,
        }
    }

    /// The observer that it is about, if it is about one.
    pub(crate) fn observer(&self) -> Option<u32> {
        match *self {
            Self::InsertObserver(id, _)
            | Self::RemoveObserver(id)
            | Self::ReplaceObserver(id, _)
            | Self::MoveObserver(id, _)
            | Self::SetRadius(id, _)
            | Self::SetSees(id, _)
            | Self::SetManual(id, _, _) => Some(id),
            _ => None,
        }
    }
}
