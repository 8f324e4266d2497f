//! Where a track's members were told to be, in lines by field, so that a telling of all of them is a few passes over
//! arrays that the compiler turns into vector instructions.
//!
//! 20 bytes a member in one allocation: of [`SAMPLES`] cells three axes of 16 bits each, and its habit. To push a cell
//! for everybody overwrites the oldest row and calls it the newest. Where nobody climbs, cells told one after the other
//! share their heights, so that six bytes of the twenty are left alone. Almost all members are told in the same ticks,
//! so those are kept once; who differs, having joined lately, is *odd* and has its own. [`super::telling`] is the hot
//! part.

use super::{Habit, SAMPLES};
use crate::Tick;

/// Members that a pass takes at once. Lines are padded to whole blocks, with zeros.
pub(super) const BLOCK: usize = 16;
/// One field of the members of a block.
pub(super) type Line = [i16; BLOCK];

const AXES: usize = 3;
/// A row has two lines: x and z. Behind the rows come the habits, and then as many lines of heights.
const HABITS: usize = SAMPLES * 2;
const HEIGHTS: usize = HABITS + 1;
const LINES: usize = HEIGHTS + SAMPLES;

/// The motions of all members of a track, by place.
#[derive(Clone, Debug)]
pub(super) struct Motions {
    /// [`LINES`] of `stride` numbers each. Cells are less the origin; those that a member does not have are zero, but
    /// for heights in a shared line, and so is what lies behind the last member.
    lines: Vec<i16>,
    /// A multiple of [`BLOCK`].
    stride: usize,
    len: usize,
    /// The row of the newest cells. The others follow, and behind the last row comes the first.
    newest: usize,
    /// Which line of heights the cells have, newest first.
    heights: [usize; SAMPLES],
    /// Lowest and highest of the newest ones, if they have been looked for since they changed.
    height_ends: Option<[i16; 2]>,
    /// Of members that are not odd.
    usual: Stamps,
    /// Ascending by place, no duplicates; each differs from `usual`.
    odd: Vec<Odd>,
}

/// How many cells are known of a member, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Stamps {
    /// 1 to [`SAMPLES`]; 0 in a track that never had a member.
    pub(super) count: u8,
    /// The low 16 bits of the ticks in which its cells were told, newest first. The first `count` are valid, the others
    /// zero.
    pub(super) ticks: [u16; SAMPLES],
}

/// A member with stamps of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) place: u8,
    pub(super) stamps: Stamps,
}

/// All that is known of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Motion {
    /// Newest first, less the origin. The first `stamps.count` are valid, the others zero.
    pub(super) cells: [[i16; AXES]; SAMPLES],
    pub(super) stamps: Stamps,
    pub(super) habit: Habit,
}

/// The lines of all blocks that a telling needs: the cells of now and before, and where to write what comes next.
pub(super) struct Rows<'a> {
    pub(super) now: [&'a [Line]; AXES],
    /// Only x and z.
    pub(super) before: [&'a [Line]; 2],
    pub(super) next: [&'a mut [Line]; AXES],
    pub(super) habits: &'a mut [Line],
    pub(super) usual: Stamps,
    pub(super) odd: &'a [Odd],
}

impl Default for Motions {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            stride: 0,
            len: 0,
            newest: 0,
            heights: [0, 1, 2],
            height_ends: None,
            usual: Stamps::default(),
            odd: Vec::new(),
        }
    }
}

impl Stamps {
    fn push(&mut self, tick: u16) {
        self.count = (self.count + 1).min(SAMPLES as u8);
        self.ticks = [tick, self.ticks[0], self.ticks[1]];
    }

    /// Whether somebody was told in `tick`.
    pub(super) fn is_of(&self, tick: Tick) -> bool {
        self.count > 0 && self.ticks[0] == tick.0 as u16
    }
}

impl Motion {
    pub(super) fn new(cell: [i16; AXES], tick: u16) -> Self {
        Self {
            cells: [cell, [0; AXES], [0; AXES]],
            stamps: Stamps {
                count: 1,
                ticks: [tick, 0, 0],
            },
            habit: Habit::UNKNOWN,
        }
    }

    pub(super) fn set_before(&mut self, cell: [i16; AXES], ago: u16) {
        self.cells[1] = cell;
        self.stamps.ticks[1] = self.stamps.ticks[0].wrapping_sub(ago);
        self.stamps.count = 2;
    }
}

impl Motions {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the axes of everybody's `i`-th newest cell begin.
    #[inline]
    fn axes(&self, i: usize) -> [usize; AXES] {
        let row = (self.newest + i) % SAMPLES * 2;
        [row, HEIGHTS + self.heights[i], row + 1].map(|line| line * self.stride)
    }

    #[inline]
    pub(super) fn offset(&self, place: usize, i: usize) -> [i16; AXES] {
        assert!(place < self.len, "there is such a member");
        self.axes(i).map(|from| self.lines[from + place])
    }

    #[inline]
    pub(super) fn stamps(&self, place: usize) -> &Stamps {
        debug_assert!(place < self.len, "there is such a member");
        if self.odd.is_empty() {
            return &self.usual;
        }
        let odd = self.odd.binary_search_by_key(&place, |odd| odd.place.into());
        odd.map_or(&self.usual, |at| &self.odd[at].stamps)
    }

    pub(super) fn habit(&self, place: usize) -> Habit {
        assert!(place < self.len, "there is such a member");
        Habit::from_line(self.lines[HABITS * self.stride + place])
    }

    /// The newest cells of all members, per axis.
    pub(super) fn newest(&self) -> [&[i16]; AXES] {
        self.axes(0).map(|from| &self.lines[from..from + self.len])
    }

    /// Lowest and highest of each axis of the newest cells, if there is one.
    pub(super) fn ends(&self) -> Option<[[i16; 2]; AXES]> {
        let [x, y, z] = self.newest();
        let height = || self.height_ends.or_else(|| ends_of(y));
        Some([ends_of(x)?, height()?, ends_of(z)?])
    }

    pub(super) fn get(&self, place: usize) -> Motion {
        Motion {
            cells: std::array::from_fn(|i| {
                let is_known = i < usize::from(self.stamps(place).count);
                if is_known {
                    self.offset(place, i)
                } else {
                    [0; AXES]
                }
            }),
            stamps: *self.stamps(place),
            habit: self.habit(place),
        }
    }

    /// The ages of all newest cells, each with how many have it.
    pub(super) fn ages(&self, now: Tick) -> impl Iterator<Item = (u16, usize)> {
        let age = move |stamps: &Stamps| (now.0 as u16).wrapping_sub(stamps.ticks[0]);
        let usual = self.len - self.odd.len();
        let usual = (usual > 0).then(|| (age(&self.usual), usual));
        let odd = self.odd.iter().map(move |odd| (age(&odd.stamps), 1));
        usual.into_iter().chain(odd)
    }

    /// The age of the oldest of all newest cells.
    pub(super) fn age_max(&self, now: Tick) -> Option<u16> {
        self.ages(now).map(|(age, _)| age).max()
    }

    /// Makes place for `more` members.
    pub(super) fn reserve(&mut self, more: usize) {
        let stride = (self.len + more).next_multiple_of(BLOCK);
        if stride <= self.stride {
            return;
        }
        let mut lines = Vec::with_capacity(stride * LINES);
        for line in 0..LINES {
            let from = line * self.stride;
            lines.extend_from_slice(&self.lines[from..from + self.len]);
            lines.resize((line + 1) * stride, 0);
        }
        (self.lines, self.stride) = (lines, stride);
    }

    pub(super) fn insert(&mut self, place: usize, motion: &Motion) {
        self.reserve(1);
        let known = &motion.cells[..usize::from(motion.stamps.count)];
        if known.iter().any(|cell| cell[1] != known[0][1]) {
            self.unshare();
        }
        self.height_ends = None;
        for line in self.lines.chunks_exact_mut(self.stride) {
            line.copy_within(place..self.len, place + 1);
        }
        if self.len == 0 {
            self.usual = motion.stamps;
        }
        self.len += 1;
        self.put(place, motion);
        let at = self.odd.partition_point(|odd| usize::from(odd.place) < place);
        for odd in &mut self.odd[at..] {
            odd.place += 1;
        }
        if motion.stamps != self.usual {
            let odd = Odd {
                place: place as u8,
                stamps: motion.stamps,
            };
            self.odd.insert(at, odd);
        }
    }

    /// Everything but the stamps. Cells that share their heights have the same one, if the member has them at all: the
    /// newest, which it has, is written last.
    fn put(&mut self, place: usize, motion: &Motion) {
        for (i, cell) in motion.cells.iter().enumerate().rev() {
            for (from, value) in self.axes(i).into_iter().zip(cell) {
                self.lines[from + place] = *value;
            }
        }
        self.lines[HABITS * self.stride + place] = motion.habit.to_line();
    }

    /// Gives every cell heights of its own.
    fn unshare(&mut self) {
        let [newest, before, oldest] = self.heights;
        if newest == before || before == oldest {
            let lines = &self.lines[HEIGHTS * self.stride..];
            let apart: Vec<i16> = self
                .heights
                .iter()
                .flat_map(|line| &lines[line * self.stride..][..self.stride])
                .copied()
                .collect();
            self.lines[HEIGHTS * self.stride..].copy_from_slice(&apart);
            self.heights = [0, 1, 2];
        }
    }

    /// Those at the places `gone`, ascending, go.
    pub(super) fn remove(&mut self, gone: &[u8]) {
        self.height_ends = None;
        for line in self.lines.chunks_exact_mut(self.stride.max(1)) {
            let kept = close_gaps(&mut line[..self.len], gone);
            line[kept..self.len].fill(0);
        }
        self.odd.retain_mut(|odd| match gone.binary_search(&odd.place) {
            Ok(_) => false,
            Err(before) => {
                odd.place -= before as u8;
                true
            }
        });
        self.len -= gone.len();
    }

    /// The stamps that most members have become the usual ones. So it does not matter in which order they came.
    pub(super) fn count_usual(&mut self) {
        let all: Vec<Stamps> = (0..self.len).map(|place| *self.stamps(place)).collect();
        // If more than half are equal, they outlast the others.
        let (mut candidate, mut lead) = (self.usual, 0);
        for stamps in &all {
            if lead == 0 {
                candidate = *stamps;
            }
            lead = if *stamps == candidate { lead + 1 } else { lead - 1 };
        }
        self.usual = candidate;
        let odd = (0..=u8::MAX)
            .zip(all)
            .map(|(place, stamps)| Odd { place, stamps });
        self.odd = odd.filter(|odd| odd.stamps != candidate).collect();
    }

    /// What is known of those who were told in `tick` already, with their places.
    pub(super) fn told_in(&mut self, tick: Tick) -> Vec<(usize, Motion)> {
        if self.usual.is_of(tick) {
            // Twice in a tick, or 65,536 ticks later: everybody has stamps of its own from here on.
            let all = (0..self.len).map(|place| Odd {
                place: place as u8,
                stamps: *self.stamps(place),
            });
            self.odd = all.collect();
        }
        let told = self.odd.iter().filter(|odd| odd.stamps.is_of(tick));
        let told: Vec<_> = told
            .map(|odd| (usize::from(odd.place), self.get(odd.place.into())))
            .collect();
        if !told.is_empty() {
            self.unshare();
        }
        told
    }

    /// Looks at every cache line that a telling needs. Of many tracks' lines none is in a cache any more, and they come
    /// much sooner if all of them are asked for at once than while each pass waits for its own.
    pub(super) fn touch(&self) {
        const APART: usize = 64 / size_of::<i16>();
        let is_level = self.heights[0] == self.heights[1];
        let lines = if is_level { HEIGHTS } else { LINES };
        let all = self.lines[..lines * self.stride].iter().step_by(APART);
        std::hint::black_box(all.fold(0, |sum, number| sum | number));
    }

    /// The line of heights that is free once the oldest cells are gone.
    fn free_height(&self) -> usize {
        let [newest, before, _] = self.heights;
        (0..SAMPLES)
            .find(|line| *line != newest && *line != before)
            .expect("two are not three")
    }

    /// For a telling; [`Self::push`] ends it.
    pub(super) fn rows(&mut self) -> Rows<'_> {
        let used = self.len.div_ceil(BLOCK);
        let [now, before, next] = [0, 1, 2].map(|i| (self.newest + i) % SAMPLES * 2);
        let [height, next_height] = [self.heights[0], self.free_height()].map(|line| HEIGHTS + line);
        let (blocks, rest) = self.lines.as_chunks_mut::<BLOCK>();
        debug_assert!(rest.is_empty(), "lines are whole blocks");
        let mut lines = blocks.chunks_exact_mut((self.stride / BLOCK).max(1));
        let mut lines: [Option<&mut [Line]>; LINES] =
            std::array::from_fn(|_| Some(&mut lines.next().unwrap_or_default()[..used]));
        let mut line = |i: usize| lines[i].take().expect("each line is asked for once");
        Rows {
            now: [line(now), line(height), line(now + 1)].map(|line| &*line),
            before: [line(before), line(before + 1)].map(|line| &*line),
            next: [line(next), line(next_height), line(next + 1)],
            habits: line(HABITS),
            usual: self.usual,
            odd: &self.odd,
        }
    }

    /// What was written where the rows said are the newest cells, told in `tick`, but of `kept`, who are as they were.
    /// If `is_level`, no heights were written, and nobody is kept.
    pub(super) fn push(&mut self, tick: Tick, is_level: bool, kept: &[(usize, Motion)]) {
        debug_assert!(
            !is_level || kept.is_empty(),
            "heights of those who are kept have lines of their own"
        );
        let [newest, before, _] = self.heights;
        let next = if is_level { newest } else { self.free_height() };
        self.heights = [next, newest, before];
        let low = tick.0 as u16;
        self.newest = (self.newest + SAMPLES - 1) % SAMPLES;
        self.usual.push(low);
        let usual = self.usual;
        self.odd.retain_mut(|odd| {
            if !odd.stamps.is_of(tick) {
                odd.stamps.push(low);
            }
            odd.stamps != usual
        });
        for (place, motion) in kept {
            self.put(*place, motion);
        }
        if !is_level || self.height_ends.is_none() {
            self.height_ends = ends_of(self.newest()[1]);
        }
    }
}

/// Moves together what is not at the places `gone`, ascending. Answers how much that is.
pub(super) fn close_gaps<T: Copy>(items: &mut [T], gone: &[u8]) -> usize {
    let mut kept = gone.first().map_or(items.len(), |first| usize::from(*first));
    for (i, place) in gone.iter().enumerate() {
        let from = usize::from(*place) + 1;
        let until = gone.get(i + 1).map_or(items.len(), |next| usize::from(*next));
        items.copy_within(from..until, kept);
        kept += until - from;
    }
    kept
}

/// The lowest and highest, if there is one.
fn ends_of(line: &[i16]) -> Option<[i16; 2]> {
    // Two numbers and not an array of them: that would not become a loop of vectors.
    let (mut low, mut high) = (i16::MAX, i16::MIN);
    for number in line {
        low = low.min(*number);
        high = high.max(*number);
    }
    (!line.is_empty()).then_some([low, high])
}

impl PartialEq for Motions {
    /// Whether the same is known of the members, however it is kept.
    fn eq(&self, other: &Self) -> bool {
        let is_line_same = |from: usize, other_from: usize| {
            self.lines[from..from + self.len] == other.lines[other_from..other_from + self.len]
        };
        let are_cells_same = |i: usize| {
            let [[x, y, z], [other_x, other_y, other_z]] = [self.axes(i), other.axes(i)];
            let is_height_same = |place: usize| {
                usize::from(self.stamps(place).count) <= i
                    || self.lines[y + place] == other.lines[other_y + place]
            };
            is_line_same(x, other_x)
                && is_line_same(z, other_z)
                && (is_line_same(y, other_y) || (0..self.len).all(is_height_same))
        };
        let are_stamps_same = || {
            self.usual == other.usual && self.odd == other.odd
                || (0..self.len).all(|place| self.stamps(place) == other.stamps(place))
        };
        self.len == other.len
            && (0..SAMPLES).all(are_cells_same)
            && is_line_same(HABITS * self.stride, HABITS * other.stride)
            && are_stamps_same()
    }
}

impl Eq for Motions {}
