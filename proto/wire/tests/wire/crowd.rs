//! Golden bytes of crowd tracks and crowd messages: a short history of one track, each of its records, and the two
//! messages that `proto/PROTOCOL.md` reads bit by bit.

use crate::{hex, unhex};
use myriad_wire::codec::{LENGTH_BYTES, encode};
use myriad_wire::crowd::message::{CrowdHead, Form, Happening, Record, finish, take_head, take_record};
use myriad_wire::crowd::{Applied, Join, Name, Track, TrackId};
use myriad_wire::{Generation, KindId, LaneHandle, Slot, Tick, Value};

/// The sample track's records by what they show, in the order in which a reader takes them.
pub(crate) const RECORDS: [(&str, &str); 7] = [
    ("an empty track's keyframe", "90030000070000"),
    ("joins", "02028919862500022e230000e1b16900c0c413"),
    ("a telling on the level", "040f003e00"),
    (
        "a keyframe",
        "90030000070003c68cf25818049d1ac0d810440000c2eb0440a2c26100c0c5ad13361a1d",
    ),
    (
        "a leave, a join with a cell before, and a telling off the level",
        "0700214002008909260120f0ffff0120",
    ),
    ("nothing", "00"),
    ("a leave", "010001"),
];

/// The messages of the document, without their lengths.
pub(crate) const MESSAGES: [(&str, &str); 2] = [
    (
        "crowd that begins",
        "08f0a204030205012490030000070003c68cf25818049d1ac0d810440000c2eb0440a2c26100c0c5ad13361a1d02f403010790030000070000",
    ),
    (
        "crowd that goes on",
        "08f5a20400020500100700214002008909260120f0ffff01200205030d01fb2c0107047761766501010202f4030200",
    ),
];

const TRACK: TrackId = TrackId(5);
const ORIGIN: [i32; 3] = [200, 0, 0];

fn name(slot: u32, generation: u16, kind: u16) -> Name {
    Name {
        slot: Slot(slot),
        generation: Generation(generation),
        kind: KindId(kind),
    }
}

fn join(name: Name, cell: [i32; 3]) -> Join {
    Join {
        name,
        cell,
        before: None,
    }
}

fn empty_track() -> Track {
    Track::new(ORIGIN, Generation(7), KindId(0))
}

/// A step of the sample history: its tick, and what is told.
struct Step {
    tick: Tick,
    leaves: Vec<Slot>,
    joins: Vec<Join>,
    told: Option<Vec<[i32; 3]>>,
}

fn steps() -> [Step; 5] {
    let step = |tick, leaves: &[u32], joins: &[Join], told: Option<&[[i32; 3]]>| Step {
        tick: Tick(tick),
        leaves: leaves.iter().copied().map(Slot).collect(),
        joins: joins.to_vec(),
        told: told.map(<[_]>::to_vec),
    };
    let three = [
        join(name(300, 7, 0), [200, 0, -1]),
        join(name(302, 8, 0), [216, 0, 15]),
        join(name(310, 7, 1), [190, 2, -20]),
    ];
    let newcomer = Join {
        before: Some(([199, 0, 4], 2)),
        ..join(name(305, 7, 0), [200, 0, 4])
    };
    [
        step(69_985, &[], &three, None),
        step(
            69_995,
            &[],
            &[],
            Some(&[[206, 0, -1], [216, 0, 15], [188, 2, -14]]),
        ),
        step(
            70_005,
            &[302],
            &[newcomer],
            Some(&[[212, 0, -2], [200, 0, 4], [186, 3, -40]]),
        ),
        step(70_006, &[], &[], None),
        step(70_007, &[300], &[], None),
    ]
}

fn tell(track: &mut Track, step: &Step) -> Vec<u8> {
    let mut out = Vec::new();
    track.tell(
        step.tick,
        &step.leaves,
        &step.joins,
        step.told.as_deref(),
        &mut out,
    );
    out
}

fn keyframe(track: &Track, tick: Tick) -> Vec<u8> {
    let mut out = Vec::new();
    track.keyframe(tick, &mut out);
    out
}

/// The records of [`RECORDS`] as they are written.
fn records() -> Vec<Vec<u8>> {
    let mut track = empty_track();
    let mut records = vec![keyframe(&track, Tick(69_985))];
    for (i, step) in steps().iter().enumerate() {
        if i == 2 {
            records.push(keyframe(&track, Tick(70_000)));
        }
        records.push(tell(&mut track, step));
    }
    records
}

/// The track in tick 70,000, with three members.
pub(crate) fn sample_track() -> Track {
    Track::from_keyframe(Tick(70_000), &unhex(RECORDS[3].1)).expect("a golden keyframe")
}

/// The document's messages by the name of the example, with their lengths.
pub(crate) fn messages() -> [(&'static str, Vec<u8>); 2] {
    let record = |track, form, bytes: &[u8], out: &mut Vec<u8>| {
        Record {
            lane: LaneHandle(2),
            track,
            form,
            bytes,
        }
        .encode(out);
    };
    let records = records();
    let mut first = Vec::new();
    CrowdHead {
        tick: Tick(70_000),
        begins: true,
        complete: true,
    }
    .encode(&mut first);
    record(TRACK, Form::Keyframe, &records[3], &mut first);
    record(
        TrackId(500),
        Form::Keyframe,
        &keyframe(&empty_track(), Tick(70_000)),
        &mut first,
    );
    finish(0, &mut first);

    let mut second = Vec::new();
    CrowdHead {
        tick: Tick(70_005),
        ..CrowdHead::default()
    }
    .encode(&mut second);
    record(TRACK, Form::Delta, &records[4], &mut second);
    let wave = Happening {
        slot: Slot(300),
        generation: Generation(7),
        name: "wave".into(),
        arguments: vec![Value::Int(1)],
    };
    record(TRACK, Form::Events, &encode(&vec![wave]), &mut second);
    record(TrackId(500), Form::Drop, &[], &mut second);
    finish(0, &mut second);
    [(MESSAGES[0].0, first), (MESSAGES[1].0, second)]
}

#[test]
fn each_record_of_a_track_has_its_golden_bytes() {
    let written: Vec<_> = records().iter().map(|bytes| hex(bytes)).collect();
    let expected = RECORDS.map(|(_, bytes)| hex(&unhex(bytes)));
    assert_eq!(written, expected);
}

#[test]
fn readers_of_the_golden_records_hold_what_was_told() {
    let bytes = RECORDS.map(|(_, bytes)| unhex(bytes));
    let [first, second, third, fourth, fifth] = steps();
    let mut reader = Track::from_keyframe(first.tick, &bytes[0]).expect("a keyframe");
    assert_eq!(reader, empty_track());
    let apply = |reader: &mut Track, step: &Step, bytes: &[u8], expected: Applied| {
        let mut applied = reader.apply(step.tick, bytes).expect("a record");
        let is_membership = !(applied.left.is_empty() && applied.joined.is_empty());
        assert_eq!(std::mem::take(&mut applied.membership_bits) > 0, is_membership);
        assert_eq!(applied, expected, "{}", step.tick.0);
        if let Some(cells) = &step.told {
            let read: Vec<_> = (0..reader.len()).map(|place| reader.cell(place, 0)).collect();
            assert_eq!(&read, cells);
        }
    };
    let (three, nobody) = (
        vec![name(300, 7, 0), name(302, 8, 0), name(310, 7, 1)],
        Applied::default(),
    );
    apply(
        &mut reader,
        &first,
        &bytes[1],
        Applied {
            joined: three,
            states: 3,
            ..nobody.clone()
        },
    );
    apply(
        &mut reader,
        &second,
        &bytes[2],
        Applied {
            states: 3,
            told: true,
            ..nobody.clone()
        },
    );
    let mut newcomer = Track::from_keyframe(Tick(70_000), &bytes[3]).expect("a keyframe");
    for reader in [&mut reader, &mut newcomer] {
        apply(
            reader,
            &third,
            &bytes[4],
            Applied {
                left: vec![name(302, 8, 0)],
                joined: vec![name(305, 7, 0)],
                states: 3,
                told: true,
                ..nobody.clone()
            },
        );
        apply(reader, &fourth, &bytes[5], nobody.clone());
        apply(
            reader,
            &fifth,
            &bytes[6],
            Applied {
                left: vec![name(300, 7, 0)],
                ..nobody.clone()
            },
        );
    }
}

#[test]
fn the_messages_of_the_document_have_their_golden_bytes_and_read_back() {
    for ((name, expected), (_, written)) in MESSAGES.iter().zip(messages()) {
        assert_eq!(hex(&written[LENGTH_BYTES..]), hex(&unhex(expected)), "{name}");
        let mut rest = &written[LENGTH_BYTES..];
        let head = take_head(&mut rest).expect("a head");
        assert_eq!(head.begins, head.complete);
        let mut forms = Vec::new();
        while let Some(record) = take_record(&mut rest).expect("a record") {
            forms.push(record.form);
            if record.form == Form::Events {
                let list = Happening::list_from_bytes(record.bytes).expect("a list");
                assert_eq!(list.len(), 1);
            }
        }
        let expected: &[Form] = if head.begins {
            &[Form::Keyframe, Form::Keyframe]
        } else {
            &[Form::Delta, Form::Events, Form::Drop]
        };
        assert_eq!(forms, expected);
    }
}
