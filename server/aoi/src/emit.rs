//! From bits that changed to edges of views.
//!
//! Nearness knows no masks: whether an observer sees a subject that is near it is asked here, once per bit that
//! changes, and wherever a view is read.

use crate::bits::bits;
use crate::block::{Block, SLOTS};
use crate::field::is_same;
use crate::kernel::{DyLimit, Tile};
use crate::manual::Manuals;
use crate::side::Side;
use crate::types::{Edge, Event, Kernel, ObserverId, SubjectId};

/// What a field's update reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) rows: &'a Side,
    pub(crate) columns: &'a Side,
    pub(crate) dy_limit: DyLimit,
    pub(crate) kernel: Kernel,
    pub(crate) manuals: &'a Manuals,
}

/// An event in a word: the observer, the subject in 31 bits, and 1 for an enter.
pub(crate) fn pack(observer: u32, subject: u32, enters: bool) -> u64 {
    u64::from(observer) << 32 | u64::from(subject) << 1 | u64::from(enters)
}

/// The event of a word.
pub(crate) fn unpack(word: u64) -> Event {
    Event {
        observer: ObserverId((word >> 32) as u32),
        subject: SubjectId(word as u32 >> 1),
        edge: if word & 1 != 0 { Edge::Enter } else { Edge::Leave },
    }
}

/// Adds the edges of a tile of which the bits `changes`, in the rows `changed`, have changed to what they are in
/// `tile`. If the field is mutual, each is an edge for both, but on the diagonal, where both have a bit.
#[expect(
    clippy::too_many_arguments,
    reason = "the innermost call of the update: all of it in registers"
)]
pub(crate) fn emit(
    events: &mut Vec<u64>,
    ground: &Ground,
    is_mutual: bool,
    (_, rows): (u32, &Block),
    columns: &Block,
    changed: u32,
    changes: &Tile,
    tile: &Tile,
) {
    let both = is_mutual && !is_same(rows, columns);
    let meets = rows.seen_by_all & columns.layers_of_all != 0;
    let meets_back = !both || columns.seen_by_all & rows.layers_of_all != 0;
    let special = rows.careful | rows.muted_observers | columns.muted_subjects;
    let special_back = columns.careful | columns.muted_observers | rows.muted_subjects;
    if meets && meets_back && special == 0 && (!both || special_back == 0) {
        tell_all(events, both, rows, columns, changed, changes, tile);
        return;
    }
    if special == 0 && (!both || special_back == 0) {
        tell_meeting(events, both, rows, columns, changed, changes, tile);
        return;
    }
    for r in bits(changed.into()) {
        let now = tile.0[r as usize];
        for c in bits(changes.0[r as usize].into()) {
            let enters = now >> c & 1 != 0;
            tell(events, ground.manuals, (rows, r), (columns, c), enters);
            if both {
                tell(events, ground.manuals, (columns, c), (rows, r), enters);
            }
        }
    }
}

/// Adds every edge of a tile, of blocks whose members all see all of each other.
fn tell_all(
    events: &mut Vec<u64>,
    both: bool,
    rows: &Block,
    columns: &Block,
    changed: u32,
    changes: &Tile,
    tile: &Tile,
) {
    for r in bits(changed.into()) {
        let (row, now) = (rows.id[r as usize], tile.0[r as usize]);
        // Nearly every changed row has one or two changed bits: two are written without asking, and the second
        // is overwritten by the next row's if there is none.
        let mut change = changes.0[r as usize];
        events.reserve(4 * SLOTS);
        while change != 0 {
            let rest = change & (change - 1);
            let edge = |c: u32| {
                let (column, enters) = (columns.id[c as usize], now >> c & 1 != 0);
                (pack(row, column, enters), pack(column, row, enters))
            };
            let ((a, a_back), (b, b_back)) =
                (edge(change.trailing_zeros()), edge(rest.trailing_zeros() % 32));
            let (end, count) = (events.len(), 1 + usize::from(rest != 0));
            // SAFETY: room for 128 words is reserved for a row; with 32 bits it tells at most 64, and writes two beyond.
            unsafe {
                let out = events.as_mut_ptr().add(end);
                if both {
                    out.write(a);
                    out.add(1).write(a_back);
                    out.add(2).write(b);
                    out.add(3).write(b_back);
                    events.set_len(end + 2 * count);
                } else {
                    out.write(a);
                    out.add(1).write(b);
                    events.set_len(end + count);
                }
            }
            change = rest & rest.wrapping_sub(1);
        }
    }
}

/// Adds the edges of a tile of those whose masks meet.
fn tell_meeting(
    events: &mut Vec<u64>,
    both: bool,
    rows: &Block,
    columns: &Block,
    changed: u32,
    changes: &Tile,
    tile: &Tile,
) {
    for r in bits(changed.into()) {
        let (now, r) = (tile.0[r as usize], r as usize);
        events.reserve(2 * SLOTS);
        for c in bits(changes.0[r].into()) {
            let (enters, c) = (now >> c & 1 != 0, c as usize);
            let end = events.len();
            let meets = rows.sees[r] & columns.layers[c] != 0;
            let meets_back = both && columns.sees[c] & rows.layers[r] != 0;
            // SAFETY: a row has 32 bits, and there is room for two words for each; a word that is written and not
            // counted is overwritten by the next.
            unsafe {
                let out = events.as_mut_ptr().add(end);
                out.write(pack(rows.id[r], columns.id[c], enters));
                out.add(usize::from(meets))
                    .write(pack(columns.id[c], rows.id[r], enters));
                events.set_len(end + usize::from(meets) + usize::from(meets_back));
            }
        }
    }
}

/// Adds one edge, unless the masks do not meet or somebody else tells it.
fn tell(
    events: &mut Vec<u64>,
    manuals: &Manuals,
    observer: (&Block, u32),
    subject: (&Block, u32),
    enters: bool,
) {
    let ((observers, o), (subjects, s)) = (observer, subject);
    let meets = observers.sees[o as usize] & subjects.layers[s as usize] != 0;
    let muted = observers.muted_observers >> o | subjects.muted_subjects >> s;
    if !meets || muted & 1 != 0 {
        return;
    }
    let (observer, subject) = (observers.id[o as usize], subjects.id[s as usize]);
    if observers.careful >> o & 1 != 0 && manuals.has(observer, subject) {
        return;
    }
    events.push(pack(observer, subject, enters));
}
