//! A bot in a crowd, on a stage.

use super::tests::{Run, STANDING};
use super::*;
use crate::bits::Bits;
use crate::options::Decode;
use myriad_wire::truth::TruthTick;

impl Run {
    /// The client is in the crowd, at tick 1.
    fn crowd(decode: Decode, plant: Option<Plant>) -> Self {
        let mut run = Self::with(|options| {
            options.decode = Some(decode);
            options.plant = plant;
        });
        let told = run.honest_truth(&STANDING);
        run.stage.begin_crowd(&told);
        run.check();
        run
    }

    /// The next tick's truth, in which everybody is at `metres` but the avatar where its client takes it.
    fn honest_truth(&mut self, metres: &[(f64, f64)]) -> TruthTick {
        self.bot.walk(&mut self.stage.client);
        self.stage.take_intents();
        let own = self.bot.position.to_metres();
        let mut metres = metres.to_vec();
        metres[0] = (own.x, own.z);
        let told = self.stage.next_tick(&metres);
        self.stage.tell_truth(&told);
        told
    }

    /// A tick of an honest server.
    fn crowd_tick(&mut self, metres: &[(f64, f64)]) {
        let told = self.honest_truth(metres);
        self.stage.send_track(&told);
        self.check();
        let truth = &self.stage.truth;
        self.tracks.verify(truth, true, &mut self.tally);
    }
}

/// Ten who walk east at 4 m/s.
fn walking(tick: u64) -> Vec<(f64, f64)> {
    STANDING
        .iter()
        .map(|(x, z)| (x + 0.4 * tick as f64, *z))
        .collect()
}

fn walked(decode: Decode, plant: Option<Plant>, ticks: u64) -> (BotCounts, Tally) {
    let mut run = Run::crowd(decode, plant);
    (2..ticks).for_each(|tick| run.crowd_tick(&walking(tick)));
    run.finish()
}

#[test]
fn an_honest_crowd_is_without_fault_however_it_is_decoded() {
    for decode in [Decode::Own, Decode::Interned] {
        let (counts, tally) = walked(decode, None, 60);
        assert_eq!(counts.view, ViewCounts::default());
        assert_eq!((counts.entered, counts.left, counts.inconsistent), (10, 0, 0));
        assert_eq!(counts.coverage.expect("measured").min, 1.0);
        assert_eq!(tally.pairs, 580);
        assert_eq!(tally.all_ms.max(), 403.0, "told every five ticks");
        assert!(tally.codec.compared > 0 && tally.codec.unknown == 0);
        // An eighth of a metre per axis, and height is in the middle of its cell, too.
        assert!(tally.codec.crowd <= 3 * 128 * 128, "{}", tally.codec.crowd);
        assert!(tally.shown_all.total() > 0);
        assert_eq!(tally.decode.differences, 0);
        assert_eq!(tally.decode.compared > 0, decode == Decode::Interned);
    }
}

#[test]
fn a_wrong_bit_is_a_codec_error_and_a_difference() {
    let (_, tally) = walked(Decode::Interned, Some(Plant::Decoder), 800);
    assert!(tally.decode.differences > 0);
    assert!(tally.codec.crowd > 256 * 256);
    let (_, tally) = walked(Decode::Own, Some(Plant::Decoder), 800);
    assert!(tally.codec.crowd > 256 * 256);
}

#[test]
fn a_skipped_update_is_found() {
    let (_, tally) = walked(Decode::Interned, Some(Plant::Skip), 800);
    assert!(tally.decode.differences > 0);
    let (_, tally) = walked(Decode::Own, Some(Plant::Skip), 800);
    assert!(tally.codec.crowd > 256 * 256 || tally.all_ms.max() > 800.0);
}

#[test]
fn a_silent_track_is_found_stale_and_then_uncovered() {
    let mut run = Run::crowd(Decode::Own, None);
    (2..11).for_each(|tick| run.crowd_tick(&walking(tick)));
    for tick in 11..60 {
        run.honest_truth(&walking(tick));
        run.check();
    }
    let (counts, tally) = run.finish();
    assert!(tally.all_ms.max() > 4000.0);
    assert_eq!(counts.coverage.expect("measured").min, 0.0);
}

#[test]
fn who_appears_and_goes_is_told_in_time() {
    let mut run = Run::crowd(Decode::Own, None);
    let mut more = STANDING.to_vec();
    more.push((20.0, 0.0));
    (2..40u64).for_each(|tick| {
        run.crowd_tick(if (10..30).contains(&tick) {
            &more
        } else {
            &STANDING
        })
    });
    let (counts, tally) = run.finish();
    assert_eq!(counts.view, ViewCounts::default());
    assert_eq!((counts.entered, counts.left), (11, 1));
    assert_eq!(tally.pairs, 10 * 38 + 20);
}

#[test]
fn who_is_never_told_is_missing_and_ages() {
    let mut run = Run::crowd(Decode::Own, None);
    (2..10).for_each(|_| run.crowd_tick(&STANDING));
    let mut more = STANDING.to_vec();
    more.push((20.0, 0.0));
    for _ in 10..40 {
        let mut told = run.honest_truth(&more);
        told.entities.truncate(STANDING.len());
        run.stage.send_track(&told);
        run.check();
    }
    let (counts, tally) = run.finish();
    assert_eq!(
        (counts.view.missing, counts.view.extra, counts.view.late),
        (1, 0, 0)
    );
    assert_eq!(tally.all_ms.max(), 2903.0);
}

#[test]
fn who_is_about_as_far_as_the_radius_need_not_be_told() {
    let mut run = Run::crowd(Decode::Own, None);
    (2..10).for_each(|_| run.crowd_tick(&STANDING));
    for _ in 10..40 {
        let own = run.bot.position.to_metres();
        let mut more = STANDING.to_vec();
        more.push((own.x + 98.5, own.z));
        let mut told = run.honest_truth(&more);
        told.entities.truncate(STANDING.len());
        run.stage.send_track(&told);
        run.check();
    }
    let members = run.bot.view.truth.members();
    assert_eq!(
        members.count_without(&Bits::default()),
        11,
        "within the radius of 100 m"
    );
    let (counts, tally) = run.finish();
    assert_eq!(counts.view, ViewCounts::default());
    assert_eq!(tally.all_ms.max(), 403.0, "as without it");
}

#[test]
fn who_is_told_far_too_late_is_late() {
    let mut run = Run::crowd(Decode::Own, None);
    (2..10).for_each(|_| run.crowd_tick(&STANDING));
    let mut more = STANDING.to_vec();
    more.push((20.0, 0.0));
    for _ in 10..25 {
        let mut told = run.honest_truth(&more);
        told.entities.truncate(STANDING.len());
        run.stage.send_track(&told);
        run.check();
    }
    (25..40).for_each(|_| run.crowd_tick(&more));
    let late = ViewCounts {
        late: 1,
        late_crowd: 1,
        ..ViewCounts::default()
    };
    assert_eq!(run.finish().0.view, late);
}

#[test]
fn who_is_no_more_and_still_in_view_is_a_ghost() {
    let mut run = Run::crowd(Decode::Own, None);
    (2..10).for_each(|_| run.crowd_tick(&STANDING));
    let honest = run.honest_truth(&STANDING);
    run.stage.send_track(&honest);
    for _ in 10..40 {
        let mut told = run.honest_truth(&STANDING[..9]);
        told.entities.push(honest.entities[9]);
        run.stage.send_track(&told);
        run.check();
    }
    let (counts, _) = run.finish();
    assert_eq!((counts.view.extra, counts.view.ghosts), (1, 1));
}

#[test]
fn a_leave_that_is_not_true_is_extra_and_its_enter_too() {
    let mut run = Run::crowd(Decode::Own, None);
    (2..10).for_each(|_| run.crowd_tick(&STANDING));
    let mut told = run.honest_truth(&STANDING);
    told.entities.remove(4);
    run.stage.send_track(&told);
    run.check();
    (11..20).for_each(|_| run.crowd_tick(&STANDING));
    let (counts, _) = run.finish();
    assert_eq!((counts.left, counts.entered), (1, 11));
    assert_eq!((counts.view.edges_extra, counts.view.missing), (1, 0));
}

#[test]
fn an_enter_told_twice_is_doubled() {
    let mut run = Run::crowd(Decode::Own, Some(Plant::Double));
    let many: Vec<_> = (0..200).map(|i| (f64::from(i % 20), f64::from(i / 20))).collect();
    (2..10).for_each(|_| run.crowd_tick(&many));
    assert_eq!(run.finish().0.view.doubled, 2);
}
