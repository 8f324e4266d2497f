//! The seeds of the fuzz targets are the golden bytes: `proto/wire/fuzz/seeds/<target>/<name>`, small files that stand
//! in the repository, so that a fuzzer begins with every message there is.

use crate::golden::{Golden, Visit, visit_all};
use crate::{crowd, hand_packed, unhex};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use std::path::Path;

/// Set it to write the seeds instead of comparing them.
const WRITE: &str = "MYRIAD_WRITE_SEEDS";

/// Target and name, and the bytes.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

struct Messages(Seeds);

impl Visit for Messages {
    fn visit<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(&mut self, samples: Vec<Golden<M>>) {
        for Golden { name, hex, .. } in samples {
            if name.starts_with("ClientMessage::") || name.starts_with("ServerMessage::") {
                self.0.insert(("messages", file_name(name)), unhex(hex));
            }
        }
    }
}

fn file_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("_").to_lowercase()
}

fn seeds() -> Seeds {
    let mut messages = Messages(Seeds::new());
    visit_all(&mut messages);
    let mut seeds = messages.0;
    seeds.insert(("payload", "intents".into()), unhex(hand_packed::INTENTS));
    seeds.insert(("payload", "payload".into()), unhex(hand_packed::PAYLOAD));
    for (level, chunk) in hand_packed::CHUNKS.iter().enumerate() {
        seeds.insert(("payload", format!("chunk_{level}")), unhex(chunk));
    }
    for (name, message) in crowd::MESSAGES {
        seeds.insert(("crowd_message", file_name(name)), unhex(message));
    }
    // Both, as a stream: each behind two bytes of its length.
    let stream = crowd::MESSAGES.iter().flat_map(|(_, message)| {
        let message = unhex(message);
        let length = u16::try_from(message.len()).expect("a short message");
        [length.to_le_bytes().to_vec(), message].concat()
    });
    seeds.insert(("crowd_message", "stream".into()), stream.collect());
    // The target's operation 7 takes a keyframe behind its length, and what is left as a delta of it.
    let keyframe = unhex(crowd::RECORDS[3].1);
    let length = u8::try_from(keyframe.len()).expect("a short keyframe");
    for (name, record) in crowd::RECORDS {
        let bytes = [&[0, 0, 0, 0, 7, length], &keyframe[..], &unhex(record)].concat();
        seeds.insert(("crowd_track", file_name(name)), bytes);
    }
    seeds
}

#[test]
fn the_seeds_of_the_fuzz_targets_are_the_golden_bytes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for ((target, name), bytes) in seeds() {
        let path = root.join(target).join(&name);
        if std::env::var_os(WRITE).is_some() {
            std::fs::create_dir_all(root.join(target)).expect("a folder for seeds");
            std::fs::write(&path, &bytes).expect("a seed");
        }
        let found = std::fs::read(&path).ok();
        assert_eq!(
            found,
            Some(bytes),
            "{target}/{name}: write the seeds with {WRITE}=1"
        );
    }
}
