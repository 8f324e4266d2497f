//! Short histories of weird operations: from a property test, which shrinks, and from bytes as a fuzzer makes them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::drive::bytes::{RECORD_LEN, decode, run};
use crate::drive::op::Op;
use crate::walks::Random;

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, max_shrink_iters: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_the_same_events_views_and_answers(
        records in vec(any::<[u8; RECORD_LEN]>(), 1..160)
    ) {
        let bytes = records.concat();
        run("a history", &bytes, true);
    }
}

/// Runs bytes; if that fails, cuts out what is not needed for a failure and panics with the rest.
fn run_or_shrink(seed: u64, bytes: &[u8]) -> u64 {
    let attempt =
        |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| run(&format!("seed {seed}"), bytes, false)));
    if let Ok(events) = attempt(bytes) {
        return events;
    }
    let mut records: Vec<&[u8]> = bytes.chunks(RECORD_LEN).collect();
    let mut len = records.len() / 2;
    while len > 0 {
        let mut from = 1;
        while from < records.len() {
            let mut fewer = records.clone();
            fewer.drain(from..records.len().min(from + len));
            match attempt(&fewer.concat()) {
                Ok(_) => from += len,
                Err(_) => records = fewer,
            }
        }
        len /= 2;
    }
    let bytes = records.concat();
    let (plan, ops) = decode("", &bytes, false);
    panic!(
        "seed {seed} fails with {bytes:?}, which is {:?} and\n{ops:#?}",
        plan.config
    );
}

/// Histories that earlier ones bred: as a fuzzer does it, though blind.
fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len() as u32) as usize].clone();
    for _ in 0..1 + random.below(8) {
        let record = random.below((bytes.len() / RECORD_LEN) as u32) as usize * RECORD_LEN;
        match random.below(4) {
            0 => bytes[record + random.below(RECORD_LEN as u32) as usize] = random.below(256) as u8,
            1 => {
                let copy = bytes[record..][..RECORD_LEN].to_vec();
                let to = random.below((bytes.len() / RECORD_LEN) as u32) as usize * RECORD_LEN;
                bytes.splice(to..to, copy);
            }
            2 if bytes.len() > 2 * RECORD_LEN => {
                bytes.drain(record..record + RECORD_LEN);
            }
            _ => {
                let other = &corpus[random.below(corpus.len() as u32) as usize];
                let from = random.below((other.len() / RECORD_LEN) as u32) as usize * RECORD_LEN;
                bytes.splice(record.max(RECORD_LEN)..bytes.len(), other[from..].iter().copied());
            }
        }
    }
    bytes.truncate(400 * RECORD_LEN);
    bytes
}

#[test]
fn histories_from_random_bytes_and_their_mutations_agree() {
    let mut random = Random::new(0xa01);
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    let mut events = 0;
    for seed in 0..400 {
        let bytes = if corpus.len() < 24 || random.below(4) == 0 {
            let records = 2 + random.below(120) as usize;
            (0..records * RECORD_LEN)
                .map(|_| random.below(256) as u8)
                .collect()
        } else {
            mutate(&mut random, &corpus)
        };
        let told = run_or_shrink(seed, &bytes);
        events += told;
        // Whoever makes much happen has descendants.
        if told > 1_000 || corpus.is_empty() {
            let old = random.below(24) as usize;
            if corpus.len() < 24 {
                corpus.push(bytes)
            } else {
                corpus[old] = bytes
            }
        }
    }
    assert!(events > 500_000, "only {events} events compared");
}

#[test]
fn bytes_decode_to_every_operation_in_both_shapes() {
    let mut random = Random::new(7);
    let bytes: Vec<u8> = (0..4_000 * RECORD_LEN).map(|_| random.below(256) as u8).collect();
    let mut names = std::collections::BTreeSet::new();
    let mut mutual = 0;
    for piece in bytes.chunks(40 * RECORD_LEN) {
        let (plan, ops) = decode("", piece, false);
        mutual += u32::from(plan.is_mutual());
        assert_eq!(ops.last(), Some(&Op::Update));
        let name = |op: &Op| format!("{op:?}").split('(').next().map(str::to_owned);
        names.extend(ops.iter().filter_map(name));
    }
    assert_eq!(names.len(), 26, "{names:?}");
    assert!((20..80).contains(&mutual), "{mutual} of 100");
}
