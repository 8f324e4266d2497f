//! This tick's shared bytes: records framed once, and messages put together of them once.
//!
//! A *piece* is one or more whole records of a crowd message. A client's message is a head and a list of pieces; whoever
//! has the same head and the same list gets the same allocation. Most clients of a crowd do.
//!
//! Cost: a message that was built this tick already is a hash and a comparison of its list, four bytes a piece.

use bytes::Bytes;
use myriad_wire::crowd::message::{CrowdHead, Record, finish};
use std::ops::Range;

/// One piece, of this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceId(u32);

/// This tick's pieces.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    ranges: Vec<Range<u32>>,
}

impl Pieces {
    /// Forgets the last tick's.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }

    /// Frames a record.
    pub(crate) fn put(&mut self, record: &Record<'_>) -> PieceId {
        let start = self.bytes.len() as u32;
        record.encode(&mut self.bytes);
        self.ranges.push(start..self.bytes.len() as u32);
        PieceId(self.ranges.len() as u32 - 1)
    }

    /// Bytes of a piece.
    pub(crate) fn len(&self, piece: PieceId) -> usize {
        self.ranges[piece.0 as usize].len()
    }

    fn bytes(&self, piece: PieceId) -> &[u8] {
        let Range { start, end } = self.ranges[piece.0 as usize];
        &self.bytes[start as usize..end as usize]
    }
}

/// This tick's messages.
#[derive(Debug)]
pub(crate) struct Messages {
    /// By the lowest bits of the hash: the place of the newest of its messages, plus one.
    buckets: Vec<u32>,
    built: Vec<Built>,
    /// The lists of all of them, one behind the other.
    lists: Vec<PieceId>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Built {
    hash: u64,
    head: CrowdHead,
    list: Range<usize>,
    bytes: Bytes,
    /// The next one in the bucket, plus one.
    next: u32,
}

/// Buckets of the table. Clients that all get different messages make chains a few long.
const BUCKETS: usize = 4096;

impl Default for Messages {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            built: Vec::new(),
            lists: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl Messages {
    /// Forgets the last tick's.
    pub(crate) fn clear(&mut self) {
        if !self.built.is_empty() {
            self.buckets.fill(0);
        }
        self.built.clear();
        self.lists.clear();
    }

    /// The message, with its length prefix, and whether somebody else has it.
    pub(crate) fn message(&mut self, head: CrowdHead, list: &[PieceId], pieces: &Pieces) -> (Bytes, bool) {
        let hash = hash(head, list);
        let bucket = hash as usize % BUCKETS;
        let mut place = self.buckets[bucket];
        while place != 0 {
            let built = &self.built[place as usize - 1];
            // The hash only saves comparisons: what is handed out is what was asked for.
            if built.hash == hash && built.head == head && self.lists[built.list.clone()] == *list {
                return (built.bytes.clone(), true);
            }
            place = built.next;
        }
        self.scratch.clear();
        head.encode(&mut self.scratch);
        for piece in list {
            self.scratch.extend_from_slice(pieces.bytes(*piece));
        }
        finish(0, &mut self.scratch);
        let bytes = Bytes::copy_from_slice(&self.scratch);
        let start = self.lists.len();
        self.lists.extend_from_slice(list);
        self.built.push(Built {
            hash,
            head,
            list: start..self.lists.len(),
            bytes: bytes.clone(),
            next: self.buckets[bucket],
        });
        self.buckets[bucket] = self.built.len() as u32;
        (bytes, false)
    }
}

/// FNV-like, a word at a time: nobody outside chooses what is hashed.
fn hash(head: CrowdHead, list: &[PieceId]) -> u64 {
    let flags = u64::from(head.begins) | u64::from(head.complete) << 1;
    let mixed = list.iter().fold(flags ^ 0xcbf2_9ce4_8422_2325, |hash, piece| {
        (hash ^ u64::from(piece.0))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23)
    });
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::crowd::TrackId;
    use myriad_wire::crowd::message::{Form, take_head, take_record};
    use myriad_wire::{LaneHandle, Tick};

    #[test]
    fn equal_lists_share_an_allocation_and_others_do_not_even_with_one_bucket() {
        let (mut pieces, mut messages) = (Pieces::default(), Messages::default());
        let record = |track| Record {
            lane: LaneHandle(1),
            track: TrackId(track),
            form: Form::Delta,
            bytes: &[7, 8, 9],
        };
        let list: Vec<PieceId> = (0..3).map(|track| pieces.put(&record(track))).collect();
        let head = CrowdHead {
            tick: Tick(5),
            begins: false,
            complete: true,
        };
        let (first, shared) = messages.message(head, &list, &pieces);
        assert!(!shared);
        let (second, shared) = messages.message(head, &list, &pieces);
        assert!(shared);
        assert_eq!(first.as_ptr(), second.as_ptr());
        // As if every hash fell together: the lists still decide.
        for built in &mut messages.built {
            built.hash = hash(head, &list[..2]);
        }
        let newest = messages.buckets.iter().position(|place| *place != 0).unwrap();
        messages
            .buckets
            .swap(newest, hash(head, &list[..2]) as usize % BUCKETS);
        let (other, shared) = messages.message(head, &list[..2], &pieces);
        assert!(!shared);
        let mut rest = &other[4..];
        assert_eq!(take_head(&mut rest), Ok(head));
        for track in 0..2 {
            assert_eq!(take_record(&mut rest), Ok(Some(record(track))));
        }
        assert_eq!(take_record(&mut rest), Ok(None));
        let begins = CrowdHead { begins: true, ..head };
        assert!(!messages.message(begins, &list, &pieces).1);
        messages.clear();
        assert!(!messages.message(head, &list, &pieces).1);
    }
}
