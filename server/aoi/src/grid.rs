//! The subjects as of the last update, in an order in which neighbours stand together.
//!
//! A uniform grid over x and z without a table of cells: the subjects are sorted by (row, cell in the row, id),
//! so that a stretch of cells in one row is one run of the sorted array, and nothing depends on how far apart the
//! cells are. The array is cut into blocks of 64 positions. A search takes, for each row that the circle
//! touches, the run of cells within the circle's chord there, and scans the blocks that hold it, whole: the
//! strangers in a block's ends are refused by the exact test like any other candidate.
//!
//! When a third of all subjects are candidates, a search scans the second copy of the positions instead, which
//! stands in the order of ids: there a block is a word of the view and nothing is scattered.

use std::ops::Range;

use crate::points::{Points, Reach};
use crate::types::Subject;
use crate::view::{WORD_BITS, bits, contains, insert};

/// From one candidate in this many subjects on, all subjects are scanned in the order of ids. Setting bits one by
/// one costs about as much again as computing them.
const DENSE_SHARE: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    cell_size: u32,
    /// By id: block `w` holds the subjects `64 w ..`, with nobody where there is none.
    by_id: Vec<Points>,
    /// Who stands where: sorted, no duplicates.
    places: Vec<Place>,
    /// The same order as `places`, the last block padded with nobody.
    by_place: Vec<Points>,
    /// Sorted by `row`, no duplicates; together all of `places`.
    rows: Vec<Row>,
    /// Subjects with an appeal, the greatest first, then by id.
    appealing: Vec<(u32, Subject)>,
}

/// A subject's cell. The derived order is the order of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    row: i32,
    cell: i32,
    id: u32,
}

/// The subjects of one row of cells: `places[first..end]`.
#[derive(Clone, Copy, Debug)]
struct Row {
    row: i32,
    first: u32,
    end: u32,
}

impl Grid {
    pub(crate) fn new(cell_size: u32) -> Self {
        assert!(cell_size > 0, "a grid cell has a size");
        Self {
            cell_size,
            ..Self::default()
        }
    }

    /// Takes in where everybody is now. `subjects` is indexed by id.
    pub(crate) fn rebuild(&mut self, subjects: &[Option<Subject>]) {
        self.by_id.clear();
        self.by_id
            .resize(subjects.len().div_ceil(WORD_BITS), Points::EMPTY);
        self.places.clear();
        self.appealing.clear();
        for (subject, id) in subjects.iter().zip(0_u32..) {
            let Some(subject) = subject else { continue };
            self.by_id[id as usize / WORD_BITS].insert(
                id as usize % WORD_BITS,
                subject.position,
                subject.layers,
            );
            let [x, _, z] = subject.position;
            self.places.push(Place {
                row: self.cell_of(z.into()),
                cell: self.cell_of(x.into()),
                id,
            });
            if subject.appeal > 0 {
                self.appealing.push((id, *subject));
            }
        }
        self.places.sort_unstable();
        self.appealing
            .sort_unstable_by_key(|(id, subject)| (std::cmp::Reverse(subject.appeal), *id));
        self.index_places();
    }

    /// Derives `by_place` and `rows` from `places`.
    fn index_places(&mut self) {
        self.by_place.clear();
        self.by_place
            .resize(self.places.len().div_ceil(WORD_BITS), Points::EMPTY);
        self.rows.clear();
        for (place, at) in self.places.iter().zip(0_u32..) {
            let (source, from) = (
                &self.by_id[place.id as usize / WORD_BITS],
                place.id as usize % WORD_BITS,
            );
            let target = &mut self.by_place[at as usize / WORD_BITS];
            target.insert(
                at as usize % WORD_BITS,
                source.position(from),
                source.layers(from),
            );
            match self.rows.last_mut() {
                Some(last) if last.row == place.row => last.end = at + 1,
                _ => self.rows.push(Row {
                    row: place.row,
                    first: at,
                    end: at + 1,
                }),
            }
        }
    }

    /// The number of words in a bitset over subject ids.
    pub(crate) fn words_len(&self) -> usize {
        self.by_id.len()
    }

    /// The subject as the last update found it, without its appeal.
    pub(crate) fn position(&self, id: u32) -> [i32; 3] {
        self.by_id[id as usize / WORD_BITS].position(id as usize % WORD_BITS)
    }

    /// Adds to `next` every subject that comes within `reach`, or was in `old` and stays. Appeal is ignored.
    pub(crate) fn search(&self, reach: &Reach, old: &[u64], next: &mut [u64]) {
        let mut candidates = 0;
        self.runs(reach, |run| candidates += run.len());
        if candidates * DENSE_SHARE >= self.by_id.len() * WORD_BITS {
            for ((points, old), next) in self.by_id.iter().zip(old).zip(next) {
                let within = reach.scan(points);
                *next |= within.enter | within.leave & old;
            }
            return;
        }
        self.scan_runs(reach, |id, enters| {
            if enters || contains(old, id) {
                insert(next, id);
            }
        });
    }

    /// Adds to `next` every subject that its appeal brings within `reach`, or that was in `old` and stays so.
    pub(crate) fn search_appealing(&self, reach: &Reach, radius: u32, old: &[u64], next: &mut [u64]) {
        // The others are seen no further than the observer sees by itself.
        for (id, subject) in self
            .appealing
            .iter()
            .take_while(|(_, subject)| subject.appeal > radius)
        {
            let (enters, stays) = reach.at_least(subject.appeal).admits(subject);
            if enters || stays && contains(old, *id) {
                insert(next, *id);
            }
        }
    }

    /// Calls `found(id, enters)` once for every subject within the outer limit of `reach`; `enters` says whether
    /// it is within the inner one too.
    pub(crate) fn scan_runs(&self, reach: &Reach, mut found: impl FnMut(u32, bool)) {
        // The next block to scan: runs ascend, and two of them may share a block.
        let mut unscanned = 0;
        self.runs(reach, |run| {
            let blocks = (run.start / WORD_BITS).max(unscanned)..run.end.div_ceil(WORD_BITS);
            unscanned = blocks.end.max(unscanned);
            for block in blocks {
                let within = reach.scan(&self.by_place[block]);
                for bit in bits(within.leave) {
                    let id = self.places[block * WORD_BITS + bit as usize].id;
                    found(id, within.enter >> bit & 1 != 0);
                }
            }
        });
    }

    /// Calls `found` once for every subject in a box, its sides included, that has one of the layers.
    pub(crate) fn scan_box(&self, low: [i32; 3], high: [i32; 3], layers: u32, mut found: impl FnMut(u32)) {
        let (lowest, highest) = (self.cell_of(low[2].into()), self.cell_of(high[2].into()));
        let (left, right) = (self.cell_of(low[0].into()), self.cell_of(high[0].into()));
        let first_row = self.rows.partition_point(|row| row.row < lowest);
        for row in self.rows[first_row..].iter().take_while(|row| row.row <= highest) {
            for at in self.run(row, left, right) {
                let points = &self.by_place[at / WORD_BITS];
                let position = points.position(at % WORD_BITS);
                let inside = (0..3).all(|axis| (low[axis]..=high[axis]).contains(&position[axis]));
                if inside && points.layers(at % WORD_BITS) & layers != 0 {
                    found(self.places[at].id);
                }
            }
        }
    }

    /// Calls `found` for ascending runs of `places` which together hold everybody within `reach`.
    fn runs(&self, reach: &Reach, mut found: impl FnMut(Range<usize>)) {
        let [x, _, z] = reach.centre.map(i64::from);
        let outermost =
            i64::from(u32::try_from(reach.outermost2().isqrt()).expect("a root has half the bits"));
        let lowest = self.cell_of(z - outermost);
        let highest = self.cell_of(z + outermost);
        let first_row = self.rows.partition_point(|row| row.row < lowest);
        for row in self.rows[first_row..].iter().take_while(|row| row.row <= highest) {
            let Some(half_chord) = self.half_chord(row.row, z, reach.outermost2()) else {
                continue;
            };
            let (left, right) = (self.cell_of(x - half_chord), self.cell_of(x + half_chord));
            let run = self.run(row, left, right);
            if !run.is_empty() {
                found(run);
            }
        }
    }

    /// The part of `places` that is in the cells `left` to `right`, inclusive, of a row.
    fn run(&self, row: &Row, left: i32, right: i32) -> Range<usize> {
        let first = row.first as usize;
        let places = &self.places[first..row.end as usize];
        let skipped = places.partition_point(|place| place.cell < left);
        let len = places[skipped..].partition_point(|place| place.cell <= right);
        first + skipped..first + skipped + len
    }

    /// Half the length of the longest chord that a circle around a point at `z` has within `row`, if they meet.
    fn half_chord(&self, row: i32, z: i64, outermost2: u64) -> Option<i64> {
        let low = i64::from(row) * i64::from(self.cell_size);
        let high = low + i64::from(self.cell_size) - 1;
        let gap = (low - z).max(z - high).max(0).unsigned_abs();
        let rest = outermost2.checked_sub(gap.checked_mul(gap)?)?;
        Some(i64::from(
            u32::try_from(rest.isqrt()).expect("a root has half the bits"),
        ))
    }

    /// The number of the row or cell that holds a coordinate. Beyond the ends of `i32` it is the last one there:
    /// nobody stands further out.
    fn cell_of(&self, coordinate: i64) -> i32 {
        let inside = coordinate.clamp(i32::MIN.into(), i32::MAX.into());
        i32::try_from(inside.div_euclid(self.cell_size.into()))
            .expect("a quotient is no longer than its dividend")
    }
}
