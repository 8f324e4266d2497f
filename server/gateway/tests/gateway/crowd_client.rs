//! What a client makes of crowd messages, with the real [`Track`].

use bytes::Bytes;
use myriad_wire::codec::{self, LENGTH_BYTES};
use myriad_wire::crowd::message::{CrowdHead, Form, Happening, take_head, take_record};
use myriad_wire::crowd::{Name, Track, TrackId};
use myriad_wire::limits::SERVER_MESSAGE_BYTES_MAX;
use myriad_wire::{LaneHandle, Slot, SubjectRef, Tick};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct CrowdModel {
    pub(crate) tracks: BTreeMap<(LaneHandle, TrackId), Track>,
    /// Who is in two tracks: the same life in both.
    pub(crate) in_two: BTreeSet<SubjectRef>,
    /// Has all tracks in reach since it began.
    pub(crate) complete: bool,
    pub(crate) begins: u32,
    // Of the last step only.
    pub(crate) head: Option<CrowdHead>,
    pub(crate) message: Option<Bytes>,
    /// Form and track of each record, and the bytes it takes in the message.
    pub(crate) records: Vec<(Form, TrackId, usize)>,
    pub(crate) happenings: Vec<Happening>,
}

impl CrowdModel {
    pub(crate) fn begin_step(&mut self) {
        self.head = None;
        self.message = None;
        self.records.clear();
        self.happenings.clear();
    }

    /// Whether it begins.
    pub(crate) fn take(&mut self, framed: &Bytes) -> bool {
        assert!(self.message.replace(framed.clone()).is_none(), "one a tick");
        let mut rest = &framed[LENGTH_BYTES..];
        let head = take_head(&mut rest).unwrap();
        self.head = Some(head);
        if head.begins {
            self.tracks.clear();
            self.complete = false;
            self.begins += 1;
        }
        assert!(self.begins > 0, "records before it began");
        loop {
            let before = rest.len();
            let Some(record) = take_record(&mut rest).unwrap() else {
                break;
            };
            self.records
                .push((record.form, record.track, before - rest.len()));
            let key = (record.lane, record.track);
            match record.form {
                Form::Keyframe => {
                    let track = Track::from_keyframe(head.tick, record.bytes).unwrap();
                    assert!(self.tracks.insert(key, track).is_none(), "{key:?} begins twice");
                }
                Form::Delta => {
                    let track = self.tracks.get_mut(&key).expect("a delta of a track it knows");
                    track.apply(head.tick, record.bytes).unwrap();
                }
                Form::Drop => assert!(self.tracks.remove(&key).is_some(), "{key:?} ends twice"),
                Form::Events => {
                    assert!(self.tracks.contains_key(&key), "events of a track it knows");
                    let happenings: Vec<Happening> =
                        codec::decode(record.bytes, SERVER_MESSAGE_BYTES_MAX).unwrap();
                    assert!(!happenings.is_empty());
                    self.happenings.extend(happenings);
                }
            }
        }
        self.complete |= head.complete;
        self.in_two.clear();
        let mut named = BTreeMap::new();
        for ((lane, _), track) in &self.tracks {
            for name in track.names() {
                let Some(other) = named.insert((*lane, name.slot), *name) else {
                    continue;
                };
                assert_eq!(other, *name, "two lives of a slot are in view");
                self.in_two.insert(subject(*lane, *name));
            }
        }
        let told = self.forms(Form::Delta);
        let ends = self.forms(Form::Drop);
        assert!(
            ends.iter().all(|track| !told.contains(track)),
            "what changed in a track is not told to whom it is dropped for: it may be hidden"
        );
        head.begins
    }

    pub(crate) fn track(&self, id: TrackId) -> &Track {
        let mut tracks = self.tracks.iter();
        tracks.find(|((_, other), _)| *other == id).unwrap().1
    }

    /// Who is in some track.
    pub(crate) fn names(&self) -> BTreeSet<SubjectRef> {
        let tracks = self.tracks.iter();
        let names = tracks.flat_map(|((lane, _), track)| track.names().iter().map(|name| (*lane, *name)));
        names.map(|(lane, name)| subject(lane, name)).collect()
    }

    /// The tracks that hold a life.
    pub(crate) fn tracks_of(&self, who: SubjectRef) -> Vec<TrackId> {
        let holds =
            |lane: LaneHandle, track: &Track| track.names().iter().any(|name| subject(lane, *name) == who);
        let tracks = self
            .tracks
            .iter()
            .filter(|((lane, _), track)| holds(*lane, track));
        tracks.map(|((_, id), _)| *id).collect()
    }

    pub(crate) fn has(&self, slot: u32) -> bool {
        self.tracks
            .values()
            .any(|track| track.place(Slot(slot)).is_some())
    }

    pub(crate) fn forms(&self, form: Form) -> Vec<TrackId> {
        let of_form = self.records.iter().filter(|record| record.0 == form);
        of_form.map(|record| record.1).collect()
    }
}

fn subject(lane: LaneHandle, name: Name) -> SubjectRef {
    SubjectRef {
        lane,
        slot: name.slot,
        generation: name.generation,
    }
}

/// Whether a reader that may have begun with a keyframe knows the same as `truth`: the newest two cells decide what is
/// foreseen, and only they are in a keyframe.
pub(crate) fn same(track: &Track, truth: &Track, now: Tick) -> bool {
    let known = |track: &Track, place: usize| {
        let samples = track.samples(place).min(2);
        (0..samples)
            .map(|i| (track.cell(place, i), track.age(place, i, now)))
            .collect::<Vec<_>>()
    };
    track.names() == truth.names() && (0..truth.len()).all(|place| known(track, place) == known(truth, place))
}
