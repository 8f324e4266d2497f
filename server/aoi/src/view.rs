//! Views, and how they are read.

use crate::bits::bits;
use crate::block::{Block as Members, SLOTS};
use crate::engine::Engine;
use crate::field::Field;
use crate::side::Side;
use crate::types::{ObserverId, SubjectId};

/// What one observer sees, as of the last update.
///
/// [`View::iter`] is for people and sparse use; [`View::blocks`] is the form to broadcast by: it expands nothing.
#[derive(Clone, Copy)]
pub struct View<'a> {
    engine: &'a Engine,
    /// The observer and its slot; `None` if it has no view.
    seat: Option<(ObserverId, u32)>,
}

/// Up to 32 subjects with fixed membership within an update, of which an observer sees some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The block's number: the same number is the same block in every view of this update. A block with subjects
    /// of manual interest may come more than once in a view, with others of its members each time.
    pub index: u32,
    /// Bit `i` says that member `i` is in view. Never 0.
    pub mask: u32,
    /// Every member of the block is in view.
    pub is_whole: bool,
    ids: &'a [u32; SLOTS],
}

/// Blocks of subjects with an appeal are numbered from here.
const APPEALING: u32 = 1 << 31;

impl<'a> Block<'a> {
    /// The members that are in view, in the block's order.
    pub fn iter(&self) -> impl Iterator<Item = SubjectId> + use<'a> {
        let ids = self.ids;
        bits(self.mask.into()).map(move |bit| SubjectId(ids[bit as usize]))
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(engine: &'a Engine, seat: Option<(ObserverId, u32)>) -> Self {
        Self { engine, seat }
    }

    /// How many subjects are in view. Costs one look at each block.
    pub fn len(&self) -> usize {
        self.blocks().map(|block| block.mask.count_ones() as usize).sum()
    }

    /// Whether nobody is in view.
    pub fn is_empty(&self) -> bool {
        self.blocks().next().is_none()
    }

    /// Whether `subject` is in view. Any id may be asked for.
    pub fn contains(&self, subject: SubjectId) -> bool {
        self.seat
            .is_some_and(|(observer, slot)| self.engine.was_visible(observer.0, slot, subject.0))
    }

    /// The subjects in view. Their order is the engine's.
    pub fn iter(&self) -> impl Iterator<Item = SubjectId> + use<'a> {
        self.blocks().flat_map(|block| block.iter())
    }

    /// The blocks in which something is in view; every subject in view is in one of them. Their order is the
    /// engine's.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let engine = self.engine;
        self.seat.into_iter().flat_map(move |(observer, slot)| {
            let near = blocks_of(&engine.near, engine.rows(), &engine.subjects, slot, 0);
            let appealing = blocks_of(&engine.appeal, engine.rows(), &engine.appealing, slot, APPEALING);
            near.chain(appealing)
                .chain(engine.manual_blocks(observer.0, slot))
        })
    }
}

/// The members of `members` among `near` that meet `sees`.
pub(crate) fn seen(members: &Members, near: u32, sees: u32) -> u32 {
    if members.layers_of_all & sees != 0 {
        return near;
    }
    let meets = |bit: &u32| members.layers[*bit as usize] & sees != 0;
    bits(near.into())
        .filter(meets)
        .fold(0, |mask, bit| mask | 1 << bit)
}

/// The members of `members` among `near` that see one of `layers`.
pub(crate) fn seeing(members: &Members, near: u32, layers: u32) -> u32 {
    let meets = |bit: &u32| members.sees[*bit as usize] & layers != 0;
    bits(near.into())
        .filter(meets)
        .fold(0, |mask, bit| mask | 1 << bit)
}

fn blocks_of<'a>(
    field: &'a Field,
    rows: &'a Side,
    columns: &'a Side,
    slot: u32,
    first: u32,
) -> impl Iterator<Item = Block<'a>> + use<'a> {
    let (block, at) = rows.at(slot);
    let sees = block.sees[at as usize];
    field.near_blocks(columns, slot).filter_map(move |(b, near)| {
        let members = columns.block(b);
        let mask = seen(members, near, sees);
        (mask != 0).then_some(Block {
            index: first | b,
            mask,
            is_whole: mask == members.members,
            ids: &members.id,
        })
    })
}

impl Engine {
    /// Subjects that are in view for manual interest only, each in a block of its own.
    fn manual_blocks(&self, observer: u32, slot: u32) -> impl Iterator<Item = Block<'_>> {
        let records = self.manuals.of(observer).iter();
        records.filter_map(move |record| {
            if !record.was_visible || self.was_near(slot, record.subject) {
                return None;
            }
            let appealing = self.appealing.slot_of(record.subject);
            let (side, first, subject) = match appealing {
                Some(subject) => (&self.appealing, APPEALING, subject),
                None => (&self.subjects, 0, self.subjects.slot_of(record.subject)?),
            };
            let (members, at) = side.at(subject);
            Some(Block {
                index: first | (subject / SLOTS as u32),
                mask: 1 << at,
                is_whole: members.members == 1 << at,
                ids: &members.id,
            })
        })
    }
}
