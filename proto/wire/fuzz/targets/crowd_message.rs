//! Any bytes as the crowd messages of a stream, each behind two bytes of its length, read as a client does that keeps
//! a track for each record: nothing panics, and a message that is taken is written again as the same bytes.

#![no_main]

use myriad_wire::LaneHandle;
use myriad_wire::crowd::message::{Form, Happening, Record, finish, is_crowd, take_head, take_record};
use myriad_wire::crowd::{TRACK_MEMBERS_MAX, Track, TrackId};
use std::collections::BTreeMap;

type Tracks = BTreeMap<(LaneHandle, TrackId), Track>;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut tracks = Tracks::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (message, behind) = behind.split_at(length);
        read(message, &mut tracks);
        rest = behind;
    }
    // The seeds are messages without a length.
    read(bytes, &mut tracks);
});

fn read(message: &[u8], tracks: &mut Tracks) {
    let mut rest = message;
    let Ok(head) = take_head(&mut rest) else { return };
    assert!(is_crowd(message));
    if head.begins {
        tracks.clear();
    }
    let mut again = Vec::new();
    head.encode(&mut again);
    loop {
        match take_record(&mut rest) {
            Ok(None) => break,
            Err(_) => return,
            Ok(Some(record)) => {
                record.encode(&mut again);
                take(record, head.tick, tracks);
            }
        }
    }
    finish(0, &mut again);
    let (length, again) = again.split_at(4);
    assert_eq!(length, (again.len() as u32).to_le_bytes());
    assert_eq!(again, message);
}

fn take(record: Record<'_>, tick: myriad_wire::Tick, tracks: &mut Tracks) {
    let key = (record.lane, record.track);
    match record.form {
        Form::Delta => {
            let Some(track) = tracks.get_mut(&key) else { return };
            if track.apply(tick, record.bytes).is_err() {
                // What is then known of it is of no use.
                tracks.remove(&key);
                return;
            }
            look_at(track);
        }
        Form::Keyframe => {
            if let Ok(track) = Track::from_keyframe(tick, record.bytes) {
                look_at(&track);
                tracks.insert(key, track);
            }
        }
        Form::Drop => {
            tracks.remove(&key);
        }
        Form::Events => {
            let _ = Happening::list_from_bytes(record.bytes);
        }
    }
}

/// As whoever decides on the view does.
fn look_at(track: &Track) {
    assert!(track.len() <= TRACK_MEMBERS_MAX && track.names().is_sorted_by(|a, b| a.slot < b.slot));
    assert_eq!(track.bounds().is_some(), !track.is_empty());
    for place in 0..track.len() {
        for i in 0..track.samples(place) {
            let _ = track.position(place, i);
        }
    }
}
