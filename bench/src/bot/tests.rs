//! A bot on a stage, with a server that is honest or not.

use super::*;
use crate::options::{Decode, Trust};
use crate::stage::{self, MOOD, Stage};
use myriad_client::quic::Fingerprint;
use myriad_wire::client::{Leave, LeaveReason, ServerMessage, ViewUpdate};
use myriad_wire::track::Level;
use std::net::{Ipv4Addr, SocketAddr};

/// Ten entities stand in a row, a metre apart.
pub(super) const STANDING: [(f64, f64); 10] = [
    (0.0, 0.0),
    (1.0, 0.0),
    (2.0, 0.0),
    (3.0, 0.0),
    (4.0, 0.0),
    (5.0, 0.0),
    (6.0, 0.0),
    (7.0, 0.0),
    (8.0, 0.0),
    (9.0, 0.0),
];

pub(super) struct Run {
    pub(super) stage: Stage,
    pub(super) bot: Bot,
    pub(super) tally: Tally,
    pub(super) tracks: Tracks,
}

impl Run {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(configure: impl FnOnce(&mut BotsOptions)) -> Self {
        let mut options = BotsOptions::new(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            Trust::Fingerprint(Fingerprint([0; 32])),
        );
        options.truth = vec![crate::AdminServer {
            url: String::new(),
            token: None,
        }];
        configure(&mut options);
        let mut stage = Stage::new(&STANDING);
        let joined = stage.client.joined().expect("it has joined").clone();
        let mut bot = Bot::new(0, &options, &joined);
        let mut tracks = Tracks::new(options.decode() == Decode::Interned, &options);
        bot.take_events(&mut stage.client, &mut tracks);
        assert!(bot.begin_walk(&stage.truth));
        Self {
            stage,
            bot,
            tally: Tally::default(),
            tracks,
        }
    }

    pub(super) fn check(&mut self) {
        self.bot.take_events(&mut self.stage.client, &mut self.tracks);
        let now_us = self.stage.now_us();
        let (client, truth) = (&self.stage.client, &self.stage.truth);
        self.bot.check(
            client,
            now_us,
            truth,
            true,
            None,
            &mut self.tracks,
            &mut self.tally,
        );
    }

    /// A tick of an honest server, the avatar `off` metres from where its client took it.
    fn tick(&mut self, off: f64) {
        self.bot.walk(&mut self.stage.client);
        self.stage.take_intents();
        let own = self.bot.position.to_metres();
        let mut metres = STANDING;
        metres[0] = (own.x + off, own.z);
        self.stage.honest_tick(&metres, Level::NEAR);
        self.check();
    }

    pub(super) fn finish(mut self) -> (BotCounts, Tally) {
        let now_us = self.stage.now_us();
        let (client, truth) = (&self.stage.client, &self.stage.truth);
        let counts = self.bot.finish(client, now_us, truth, false, &mut self.tally);
        (counts, self.tally)
    }
}

#[test]
fn with_an_honest_server_nothing_is_found_wrong() {
    let mut run = Run::new();
    (0..50).for_each(|_| run.tick(0.0));
    let (counts, tally) = run.finish();
    assert_eq!(counts.view, ViewCounts::default());
    assert_eq!(
        (counts.entered, counts.inconsistent, counts.unchecked),
        (10, 0, 0)
    );
    assert_eq!(
        (counts.corrections, counts.intents_sent, counts.intents_lost),
        (0, 50, 0)
    );
    assert_eq!((counts.obedience_checked, counts.disobeyed), (51, 0));
    assert_eq!(counts.coverage.expect("measured").min, 1.0);
    // From when it has held all of its view once.
    assert_eq!((tally.client_ticks, tally.pairs), (49, 490));
    assert_eq!(tally.properties_wrong, 0);
    assert!(tally.properties > 0);
}

#[test]
fn an_avatar_beside_its_way_is_disobedience_and_a_correction() {
    let mut run = Run::new();
    (0..5).for_each(|_| run.tick(0.0));
    run.tick(0.5);
    let (counts, _) = run.finish();
    assert_eq!(
        (counts.disobeyed, counts.corrections),
        (0, 1),
        "the own record is read first"
    );

    let mut run = Run::new();
    run.bot.walk(&mut run.stage.client);
    run.stage.take_intents();
    // The truth is elsewhere while the client is told what it expects.
    let mut metres = STANDING;
    metres[0].0 += 3.0;
    let told = run.stage.next_tick(&metres);
    run.stage.tell_truth(&told);
    run.check();
    assert_eq!(run.finish().0.disobeyed, 1);
}

#[test]
fn intents_never_applied_are_lost() {
    let mut run = Run::new();
    (0..5).for_each(|_| run.tick(0.0));
    (0..3).for_each(|_| run.bot.walk(&mut run.stage.client));
    assert!(!run.bot.is_settled(&run.stage.client, &run.stage.truth, None));
    assert_eq!(run.finish().0.intents_lost, 3);
}

#[test]
fn a_leave_that_is_not_true_is_found() {
    let mut run = Run::new();
    (0..5).for_each(|_| run.tick(0.0));
    run.stage.send_view(ViewUpdate {
        leaves: vec![Leave {
            subject: stage::subject(7),
            reason: LeaveReason::OutOfView,
        }],
        ..ViewUpdate::default()
    });
    (0..5).for_each(|_| run.tick(0.0));
    let (counts, _) = run.finish();
    assert_eq!(
        (counts.left, counts.view.edges_extra, counts.view.missing),
        (1, 1, 1)
    );
}

#[test]
fn a_mood_that_is_not_true_any_more_is_wrong_after_three_seconds() {
    let mut run = Run::new();
    run.tick(0.0);
    let mut told = run.stage.next_tick(&STANDING);
    told.changes = vec![(stage::entity(4), vec![(MOOD, Value::Int(7))])];
    run.stage.tell_truth(&told);
    // The client is never told of it.
    (0..29).for_each(|_| run.tick(0.0));
    assert_eq!(run.tally.properties_wrong, 0);
    run.tick(0.0);
    run.tick(0.0);
    assert_eq!(run.finish().1.properties_wrong, 1);
}

#[test]
fn a_mood_that_is_news_to_the_truth_is_not_judged() {
    let mut run = Run::new();
    (0..40).for_each(|_| run.tick(0.0));
    let compared = run.tally.properties;
    let _untold = run.stage.next_tick(&STANDING);
    run.stage.send_mood(4, 7);
    run.bot.take_events(&mut run.stage.client, &mut run.tracks);
    let (_, tally) = run.finish();
    assert_eq!((tally.properties, tally.properties_wrong), (compared, 0));
}

#[test]
fn a_mood_told_in_time_is_right() {
    let mut run = Run::new();
    run.tick(0.0);
    let mut told = run.stage.next_tick(&STANDING);
    told.changes = vec![(stage::entity(4), vec![(MOOD, Value::Int(7))])];
    run.stage.tell_truth(&told);
    run.stage.send_mood(4, 7);
    (0..60).for_each(|_| run.tick(0.0));
    assert_eq!(run.finish().1.properties_wrong, 0);
}

#[test]
fn refused_commands_are_counted_and_moods_change_every_five_seconds() {
    let mut run = Run::new();
    let mut moods = 0;
    for _ in 0..500 {
        run.tick(0.0);
        while let Some(bytes) = run.stage.client.poll_stream() {
            moods += bytes.windows(4).filter(|window| window == b"mood").count();
        }
        // Unanswered commands would fill up the SDK's queue.
        for seq in 1..=64 {
            let result = myriad_wire::client::CommandResult {
                seq: myriad_wire::CommandSeq(seq),
                refused: Some("no".into()),
            };
            run.stage.send(&ServerMessage::CommandResult(result));
        }
    }
    assert_eq!(moods, 10);
    let refused = run.bot.refusals.clone();
    let counts = run.finish().0;
    assert!(counts.commands_refused >= 10);
    assert_eq!(refused, [("no".to_owned(), counts.commands_refused as u32)]);
}
