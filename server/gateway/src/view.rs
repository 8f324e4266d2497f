//! What one client has been told, and what it must be told next.
//!
//! The *known* set holds exactly the subjects of which the client was told the enter and not the leave. Each tick
//! it is compared with the view that the interest engine says, word by word: what is in view and not known enters,
//! what is known and not in view leaves. So an edge is told once, whatever happened in between: a frozen client,
//! a keyframe, a restarted lane, a slot in its next life. What did not fit or could not be told is simply still
//! different in the next tick.
//!
//! Changes that could not be told are remembered as one bit per subject (*dirty*) and told as all of the subject's
//! properties later. Lives that ended while they could not be told are remembered by name (*owed*), at most as many
//! as were known.
//!
//! Cost per client and tick: subjects / 64 words, plus this tick's edges, changes and events in view.

use crate::counters::Counters;
use crate::idset::{IdSet, ids_of};
use crate::mirror::Mirror;
use crate::records::{Encoded, Records};
use bytes::Bytes;
use myriad_aoi::SubjectId;
use myriad_wire::client::{Leave, LeaveReason};
use myriad_wire::codec::{LENGTH_BYTES, encode_into};
use myriad_wire::limits::SERVER_MESSAGE_BYTES_MAX;
use myriad_wire::{EntityId, SubjectRef, Tick};

/// Most bytes of changes in one view; more wait, as dirty.
const CHANGE_BYTES_MAX: usize = 192 * 1024;
/// Most bytes of events in one view; more are dropped.
const EVENT_BYTES_MAX: usize = 128 * 1024;
/// Most leaves in one view, of at most 11 bytes each; more wait.
const LEAVES_MAX: u32 = 8192;
/// The place of `View` among the variants of [`myriad_wire::client::ServerMessage`].
const VIEW_VARIANT: u32 = 3;
/// The place of `Identity` among them.
const IDENTITY_VARIANT: u32 = 7;

/// One client's view.
#[derive(Debug, Default)]
pub(crate) struct ClientView {
    known: IdSet,
    /// Known subjects with changes that the client was not told.
    dirty: IdSet,
    /// Known lives that are over, and of which the client was not told the leave. Not in `known` any more.
    owed: Vec<Owed>,
    /// How many views the client was sent, and how many crowds began.
    sent: u64,
    frozen: bool,
    /// See [`Self::is_misled`].
    misled: bool,
}

/// A life of which a client was not told the leave.
#[derive(Clone, Copy, Debug)]
struct Owed {
    subject: SubjectRef,
    entity: EntityId,
}

/// What all views of one tick have in common.
pub(crate) struct ViewTick<'a> {
    pub(crate) tick: Tick,
    pub(crate) mirror: &'a Mirror,
    pub(crate) records: &'a mut Records,
    pub(crate) counters: &'a mut Counters,
    /// Bytes of enters in one view.
    pub(crate) enter_bytes_max: usize,
    pub(crate) draft: &'a mut Draft,
}

/// Whose view it is, as far as it matters here.
pub(crate) struct Observer<'a> {
    /// The view that the engine says: bit `i` of word `w` is subject `64 w + i`.
    pub(crate) words: &'a [u64],
    /// Enters first, so that a client knows itself before the crowd. `None` while it has no avatar.
    pub(crate) avatar: Option<SubjectId>,
    pub(crate) sees: u32,
    /// The lane says where the avatar is and what it sees. Else both may be wrong, and the view stands still.
    pub(crate) attached: bool,
}

/// The sections of a view that is being put together. Reused from client to client.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    enters: Section,
    changes: Section,
    events: Section,
    leaves: Section,
    deferred_enters: bool,
    identities: Section,
    message: Vec<u8>,
}

#[derive(Debug, Default)]
struct Section {
    bytes: Vec<u8>,
    count: u32,
}

impl ClientView {
    /// How many views the client was sent, and how many crowds began.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// A crowd begins: states behind it are not for those whom the client has in view before it.
    pub(crate) fn count_begin(&mut self) {
        self.sent += 1;
    }

    /// The client is told its view another way from now on: it knows nobody by this one.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.dirty.clear();
        self.owed.clear();
        self.misled = false;
    }

    /// Whether the client is told nothing, because it does not read.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Whether states of this tick would mislead the client: a life that it knows until behind them is over, and its
    /// slot has the next one, whose states it would take for those of the life that it knows.
    pub(crate) fn is_misled(&self) -> bool {
        self.misled
    }

    /// Freezes the view while more than `max` bytes wait for the client to read, until half of that.
    pub(crate) fn set_backlog(&mut self, bytes: usize, max: usize, counters: &mut Counters) {
        if self.frozen && bytes <= max / 2 {
            self.frozen = false;
            counters.catch_ups += 1;
        } else if !self.frozen && bytes > max {
            self.frozen = true;
            counters.freezes += 1;
        }
    }

    /// Brings the client's knowledge up to this tick: the message to send, with its length prefix, if there is
    /// something to say.
    pub(crate) fn update(&mut self, observer: &Observer, at: &mut ViewTick) -> Option<Bytes> {
        at.draft.clear();
        self.end_lives(observer, at);
        self.find_again(at);
        let is_misled = |owed: &Owed| at.mirror.is_named(owed.subject);
        self.misled = self.owed.iter().any(is_misled);
        if self.frozen || !observer.attached {
            self.remember(observer, at);
            return None;
        }
        let owed = self.owed.len().min(LEAVES_MAX as usize);
        for owed in self.owed.drain(..owed) {
            at.draft.leave(owed.subject, LeaveReason::Despawned);
        }
        let first = observer
            .avatar
            .filter(|id| observer.has(*id) && !self.known.contains(*id));
        if let Some(avatar) = first {
            self.enter(avatar, at);
        }
        for w in 0..observer.words.len().max(self.known.words()) {
            self.update_word(w, observer.word(w), first, at);
        }
        if at.draft.deferred_enters {
            at.counters.enters_deferred += 1;
        }
        let message = at.draft.message(at.tick)?;
        at.draft.count(at.counters);
        self.sent += 1;
        Some(message)
    }

    /// What this tick's ended lives mean for the client: their last events, and a leave that is owed.
    fn end_lives(&mut self, observer: &Observer, at: &mut ViewTick) {
        for index in 0..at.records.ended().len() {
            let ended = at.records.ended()[index];
            if !self.known.remove(ended.id) {
                continue;
            }
            self.dirty.remove(ended.id);
            self.owed.push(Owed {
                subject: ended.subject,
                entity: ended.entity,
            });
            let last_words = at.records.evented().contains(ended.id);
            if last_words && ended.layers & observer.sees != 0 {
                if self.frozen || !observer.attached {
                    at.counters.events_dropped += u64::from(at.records.events(ended.id).count);
                } else {
                    self.tell_events(ended.id, at);
                }
            }
        }
    }

    /// Whoever was taken for dead and turns up again by the same name, at another lane, was in view all the time: to the
    /// client nothing has happened, save what changed meanwhile.
    fn find_again(&mut self, at: &ViewTick) {
        self.owed.retain(|owed| match at.mirror.named(owed.subject) {
            Some((id, subject)) if subject.entity == owed.entity => {
                let new = self.known.insert(id);
                assert!(new, "a life that is over is not known");
                self.dirty.insert(id);
                false
            }
            _ => true,
        });
    }

    /// A client whose view stands still is told nothing: remembers what it must be told later, counts what it never
    /// will.
    fn remember(&mut self, observer: &Observer, at: &mut ViewTick) {
        let (changed, evented) = (at.records.changed(), at.records.evented());
        for w in 0..self.known.words() {
            let known = self.known.word(w);
            self.dirty
                .set_word(w, self.dirty.word(w) | known & changed.word(w));
            for id in ids_of(w, known & observer.word(w) & evented.word(w)) {
                at.counters.events_dropped += u64::from(at.records.events(id).count);
            }
        }
    }

    /// Brings word `w` up to the engine's `view`; `first` has just entered.
    fn update_word(&mut self, w: usize, view: u64, first: Option<SubjectId>, at: &mut ViewTick) {
        let known = self.known.word(w);
        for id in ids_of(w, known & !view) {
            self.leave(id, at);
        }
        let changed = known & view & (at.records.changed().word(w) | self.dirty.word(w));
        // An enter tells all properties, so only those who stay are told changes.
        for id in ids_of(w, changed).filter(|id| Some(*id) != first) {
            self.tell_change(id, at);
        }
        for id in ids_of(w, view & !known) {
            self.enter(id, at);
        }
        for id in ids_of(w, view & self.known.word(w) & at.records.evented().word(w)) {
            self.tell_events(id, at);
        }
    }

    fn enter(&mut self, id: SubjectId, at: &mut ViewTick) {
        if at.draft.deferred_enters {
            return;
        }
        let subject = at
            .mirror
            .subject(id)
            .expect("whom the engine sees is alive in the mirror");
        let record = at.records.enter(id, subject);
        let bytes = at.draft.enters.bytes.len();
        if bytes > 0 && bytes + record.bytes.len() > at.enter_bytes_max {
            at.draft.deferred_enters = true;
            return;
        }
        at.draft.enters.put(record);
        let new = self.known.insert(id);
        assert!(new, "a subject enters a view that it is in already");
    }

    fn leave(&mut self, id: SubjectId, at: &mut ViewTick) {
        if at.draft.leaves.count >= LEAVES_MAX {
            return;
        }
        let subject = at
            .mirror
            .subject(id)
            .expect("an ended life is not known any more");
        at.draft.leave(subject.name, LeaveReason::OutOfView);
        self.known.remove(id);
        self.dirty.remove(id);
    }

    fn tell_change(&mut self, id: SubjectId, at: &mut ViewTick) {
        let record = if self.dirty.contains(id) {
            let subject = at
                .mirror
                .subject(id)
                .expect("whom the engine sees is alive in the mirror");
            at.records.refresh(id, subject)
        } else {
            at.records.change(id)
        };
        if at.draft.changes.bytes.len() + record.bytes.len() > CHANGE_BYTES_MAX {
            self.dirty.insert(id);
            at.counters.changes_deferred += 1;
            return;
        }
        at.draft.changes.put(record);
        self.dirty.remove(id);
    }

    fn tell_events(&self, id: SubjectId, at: &mut ViewTick) {
        let records = at.records.events(id);
        if at.draft.events.bytes.len() + records.bytes.len() > EVENT_BYTES_MAX {
            at.counters.events_dropped += u64::from(records.count);
            return;
        }
        at.draft.events.put(records);
    }
}

impl Observer<'_> {
    fn word(&self, w: usize) -> u64 {
        self.words.get(w).copied().unwrap_or(0)
    }

    fn has(&self, id: SubjectId) -> bool {
        self.word((id.0 / u64::BITS) as usize) >> (id.0 % u64::BITS) & 1 != 0
    }
}

impl Draft {
    fn clear(&mut self) {
        for section in [
            &mut self.enters,
            &mut self.changes,
            &mut self.events,
            &mut self.leaves,
        ] {
            section.bytes.clear();
            section.count = 0;
        }
        self.deferred_enters = false;
    }

    fn leave(&mut self, subject: SubjectRef, reason: LeaveReason) {
        encode_into(&Leave { subject, reason }, &mut self.leaves.bytes);
        self.leaves.count += 1;
    }

    /// The last view that was put together left enters for the next one.
    pub(crate) fn has_deferred_enters(&self) -> bool {
        self.deferred_enters
    }

    /// The whole message, if any section has something.
    fn message(&mut self, tick: Tick) -> Option<Bytes> {
        let sections = [&self.enters, &self.changes, &self.events, &self.leaves];
        message(VIEW_VARIANT, tick, &sections, &mut self.message)
    }

    /// Begins an answer of identities.
    pub(crate) fn begin_identities(&mut self) {
        self.identities.bytes.clear();
        self.identities.count = 0;
    }

    /// Adds one; `false` if it does not fit. The first always does.
    pub(crate) fn put_identity(&mut self, record: Encoded, bytes_max: usize) -> bool {
        let bytes = self.identities.bytes.len();
        let fits = bytes == 0 || bytes + record.bytes.len() <= bytes_max;
        if fits {
            self.identities.put(record);
        }
        fits
    }

    /// The answer, if there is one.
    pub(crate) fn identities(&mut self, tick: Tick) -> Option<Bytes> {
        message(IDENTITY_VARIANT, tick, &[&self.identities], &mut self.message)
    }

    fn count(&self, counters: &mut Counters) {
        counters.views_sent += 1;
        counters.enters_sent += u64::from(self.enters.count);
        counters.changes_sent += u64::from(self.changes.count);
        counters.events_sent += u64::from(self.events.count);
        counters.leaves_sent += u64::from(self.leaves.count);
    }
}

/// A message of these sections, if any has something. A section is a count and its records.
fn message(variant: u32, tick: Tick, sections: &[&Section], out: &mut Vec<u8>) -> Option<Bytes> {
    if sections.iter().all(|section| section.count == 0) {
        return None;
    }
    out.clear();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    encode_into(&(variant, tick), out);
    for section in sections {
        encode_into(&u64::from(section.count), out);
        out.extend_from_slice(&section.bytes);
    }
    let length = out.len() - LENGTH_BYTES;
    assert!(
        length <= SERVER_MESSAGE_BYTES_MAX,
        "the limits of the sections add up to less than a message's"
    );
    out[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    Some(Bytes::copy_from_slice(out))
}

impl Section {
    fn put(&mut self, records: Encoded) {
        self.bytes.extend_from_slice(records.bytes);
        self.count += records.count;
    }
}
